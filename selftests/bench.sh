#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# The goals of selftests/bench/gates.tsv for callouts, periodics and route timers that counted instructions can
# show, with up to 10000 callouts. Those for probes need --long.
# Faults: an operation that has become dearer, also one whose goal is missed as it is; a cost that grows
# with the number of callouts; one that is dearer than the kernel's own timers'; JSON or plots that lack what
# they promise.
#
# The modules are those that scripts/test has built. --long: all goals, in all guests, and what icount
# counts twice: up to a million callouts, a day of delay, and an hour of liveness.

set -euo pipefail
cd "$(dirname -- "${BASH_SOURCE[0]}")/.."
rm -rf .build/test/bench
export SC_BUILT=1
[ "${1:-}" != --long ] || SC_BENCH=.build/test/bench/all exec scripts/bench --gates --twice
SC_BENCH=.build/test/bench/quick exec scripts/bench --quick --gates --guest icount --guest icount-smp
