# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=dash disable=SC1091
# test: a guest whose kernel reports a lock order fails the run
# wants: log gate: .*possible circular locking
. /lib.sh
ktap_plan 1
echo "WARNING: possible circular locking dependency detected" >/dev/kmsg
ok "passes, but the kernel has complained"
