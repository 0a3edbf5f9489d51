# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=dash disable=SC1091
# test: a guest that spins is killed and fails the run
# limit: 2
# wants: the guest hung: killed at its limit of 2 s
. /lib.sh
ktap_plan 2
ok "before the spin"
while :; do :; done
