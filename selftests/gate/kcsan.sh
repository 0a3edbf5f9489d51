# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=dash disable=SC1091
# test: of data races, only those of the boot itself are excused
# wants: log gate: BUG: KCSAN: data-race in a / b
. /lib.sh
ktap_plan 1
echo "BUG: KCSAN: data-race in a / b" >/dev/kmsg
ok "passes, but the kernel has complained"
