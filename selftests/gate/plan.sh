# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=dash disable=SC1091
# test: a test that is planned and does not come fails the run
# wants: test 3 of 3 is missing
. /lib.sh
ktap_plan 3
ok "one"
ok "two"
exit 0
