# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=dash disable=SC1091
# test: a script that fails although its tests passed fails the run
# wants: the script returned 1
. /lib.sh
ktap_plan 1
ok "passes"
exit 3
