# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=dash disable=SC1091
# test: an excuse covers its own line only
# wants: log gate: BUG: another line
. /lib.sh
ktap_plan 1
gate_expect "WARNING: a declared line"
echo "WARNING: a declared line" >/dev/kmsg
echo "BUG: another line" >/dev/kmsg
ok "provokes more than it declared"
