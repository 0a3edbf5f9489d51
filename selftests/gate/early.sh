# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=dash disable=SC1091
# test: a guest that goes away before its end mark fails the run
# wants: the guest died before its end mark
. /lib.sh
ktap_plan 1
ok "all tests passed"
poweroff -f
