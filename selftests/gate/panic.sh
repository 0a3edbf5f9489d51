# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=dash disable=SC1091
# test: a guest that panics fails the run
# guest: amd64
# wants: log gate: Kernel panic - not syncing: sysrq triggered crash
. /lib.sh
ktap_plan 2
ok "before the panic"
echo c >/proc/sysrq-trigger
ok "after the panic"
