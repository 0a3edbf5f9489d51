# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=dash disable=SC1091
# test: a declared warning that never comes fails the run
# wants: log gate: expected line never came: WARNING: a promise
. /lib.sh
ktap_plan 1
gate_expect "WARNING: a promise"
ok "does not provoke what it declared"
