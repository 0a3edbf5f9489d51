# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=dash disable=SC1091
# test: a guest whose kernel warns fails the run
# wants: log gate: WARNING: CPU: 0 PID: 1
. /lib.sh
ktap_plan 1
echo "WARNING: CPU: 0 PID: 1 at a/line/of/a/test.c:1 control+0x0/0x0" >/dev/kmsg
ok "passes, but the kernel has warned"
