#!/bin/busybox sh
# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=dash disable=SC1091
#
# Random operations on callouts of every kind, with and without locks, and on tables of timeouts, from seeds.
# Faults: an arm that is lost or counts twice, a run that is early or comes after the end, or after an exact stop;
# a timeout called after it was taken back, a handle that hits another's; chance where there is none.

. /lib.sh
ktap_plan 12

insmod /softclock.ko || ktap_bail "softclock.ko does not load"
# What one run says, in two lines.
stress() {
	dmesg -c >/dev/null
	insmod /softclock_stress.ko "$@" && rmmod softclock_stress || return
	dmesg | sed -n 's/.*softclock_stress: \(hash .*\|early .*\|wrong: .*\)/\1/p'
}
counted() { echo "$said" | tr ' ' '\n' | grep -A 1 -x "$1" | tail -n 1; }
holds() { equal "0 0 0" "$(counted early) $(counted wrong) $(counted late)" && return; echo "$said"; return 1; }
reported() {
	local least=1
	[ "$SC_GUEST" = uml-tt ] && least=0	# one CPU: no operation meets a run
	[ "$(counted drained)" -ge $least ] && [ "$(counted drained)" -le "$(counted asked)" ] && return
	echo "$said"
	return 1
}

n=20000
[ "$SC_GUEST" = uml-tt ] && n=100000
for seed in 1 2 3; do
	said=$(stress n=$n seed=$seed)
	t "seed $seed: there were thousands of runs" test "$(counted runs)" -gt 1000
	t "seed $seed: each arm ended once, none early, none after the end, each report came" holds
	t "seed $seed: ends were reported, and no more than asked for" reported
done

# Everything that was answered and that ran, without the kernel's time stamps: one stream after the other,
# for two workers that wake at once may begin in either order.
log() {
	dmesg -c >/dev/null
	insmod /softclock_stress.ko n=10000 log=1 "seed=$1" && rmmod softclock_stress || return
	dmesg | sed -n 's/.*softclock_stress: //p' | sort -k 1,1n -k 2,2n >"$2"
}
same() { cmp "$1" "$2" || { diff "$1" "$2" | head -n 60; return 1; }; }
if [ "$SC_GUEST" = uml-tt ]; then
	log 7 /tmp/first
	log 7 /tmp/second
	log 8 /tmp/other
	t "a log has a line for every answer and every run" test "$(wc -l </tmp/first)" -gt 10000
	t "the same seed gives the same log, byte for byte" same /tmp/first /tmp/second
	t "another seed gives another" fails cmp -s /tmp/first /tmp/other
else
	for name in "a log has a line for every answer and every run" \
		"the same seed gives the same log, byte for byte" "another seed gives another"; do
		skip "$name" "only where time is simulated"
	done
fi
rmmod softclock
