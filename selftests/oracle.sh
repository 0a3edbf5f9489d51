#!/bin/busybox sh
# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=dash disable=SC1091
#
# Usage: oracle.sh [--long]
#
# The shipped protocol against the one that takes a lock for every operation (rust/policy/locked.rs), where
# one CPU and simulated time leave nothing to chance: from the same seed both must give the same answers,
# runs and counters, in the same order. Faults: an answer, a run or its time that is another one without
# the lock; an entry that stays linked, or a wheel that wakes for nothing. --long tries hundreds of seeds.

. /lib.sh
ktap_plan 6

seeds=8
[ "$1" != --long ] || seeds=200

# both MODULE PARAMETER...: what each softclock says of the same, in /tmp/free and /tmp/locked.
both() {
	played '' free "$@" && played /locked locked "$@"
}
played() {
	local dir=$1 to=/tmp/$2 name=$3
	shift 3
	dmesg -c >/dev/null
	insmod "$dir/softclock.ko" && insmod "$dir/$name.ko" "$@" && rmmod "$name" || return
	dmesg | sed -n "s/.*$name: //p" >"$to"
	sed 's/ [a-z_]*_ns=.*//; 1d' /sys/kernel/debug/softclock/cpus >>"$to"
	sed -n 's/.* \(abi=[^ ]*\).*/\1/p' /sys/kernel/debug/softclock/cpus >"$to.abi"
	rmmod softclock
}
same() { cmp /tmp/free /tmp/locked || { diff /tmp/free /tmp/locked | head -n 20; return 1; }; }
hashes_agree() { both "$@" && grep -q '^hash ' /tmp/free && same; }
# thrice COMMAND...: until it succeeds. The kernel's tick is not where it was in the other play; where it
# meets an expiry it may let another worker go first, and whoever reads the clock in it moves times by
# 256 ns, which now and then is a step. So what differs is played again: the protocol would differ again.
thrice() { "$@" || "$@" || "$@"; }
# agree MODULE PARAMETER...: over all seeds, each from a hash over all that was said; all of it for the
# first that differs.
agree() {
	local seed=0
	while [ $seed -lt $seeds ]; do
		seed=$((seed + 1))
		thrice hashes_agree "$@" seed=$seed && continue
		echo "seed $seed differs:"
		both "$@" seed=$seed log=1 && same
		return 1
	done
}
logs_agree() { both softclock_oracle n=5000 seed=99 log=1 && same; }

t "what the threads and the callbacks are told is the same, from $seeds seeds" agree softclock_oracle n=5000
t "so it is for callouts of every kind, from $seeds seeds" agree softclock_stress n=5000

t "one log, line by line, is the same" thrice logs_agree
enough() { [ "$(wc -l </tmp/free)" -gt 5000 ] && [ "$(grep -c ' run ' /tmp/free)" -gt 1000 ]; }
t "in it are thousands of answers and runs" enough
every() {
	for word in New Replaced Draining Shutdown Refused Cancelled Running Idle Finished Deadlock drained slept; do
		grep -q " $word " /tmp/free || { echo "no $word"; return 1; }
	done
}
t "and every answer there is" every
t "two protocols were compared, not one with itself" equal "$(cat /tmp/free.abi)-locked" "$(cat /tmp/locked.abi)"
