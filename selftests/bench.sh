#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# The goals of selftests/bench/gates.tsv that counted instructions can show, with up to 10000 callouts.
# Faults: an operation that has become dearer, also one whose goal is missed as it is; a cost that grows
# with the number of callouts; one that is dearer than the kernel's own timers'.
#
# The modules are those that scripts/test has built.

set -euo pipefail
cd "$(dirname -- "${BASH_SOURCE[0]}")/.."
rm -rf .build/test/bench
SC_BENCH=.build/test/bench/quick SC_BUILT=1 \
	exec scripts/bench --quick --gates --guest icount --guest icount-smp
