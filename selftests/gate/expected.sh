# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=dash disable=SC1091
# test: a warning that a test declares is excused
# wants: ^1 passed, 0 failed
. /lib.sh
ktap_plan 1
gate_expect "WARNING: CPU: 0 PID: 1 at a/declared/line"
echo "WARNING: CPU: 0 PID: 1 at a/declared/line" >/dev/kmsg
ok "provokes what it declared"
