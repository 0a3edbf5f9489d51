#!/bin/busybox sh
# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=dash disable=SC1091
#
# A CPU goes offline with callouts pending on it. Faults: they never run, or before their
# time, or cannot be stopped.

. /lib.sh
ktap_plan 14

tree=/sys/kernel/debug/softclock
cpu1=/sys/devices/system/cpu/cpu1/online
[ -w $cpu1 ] || ktap_bail "no second CPU to take offline"
fired() { value fired client=heartbeat "name=$1" <$tree/callouts; }
more() { [ "$(fired "$1")" -gt "$2" ]; }

insmod /softclock.ko || ktap_bail "softclock.ko does not load"
t "a client arms on CPU 1" taskset 2 insmod /heartbeat.ko
beat=$(fired beat) report=$(fired report)
echo 0 >$cpu1
t "callout-34 a soft callout of a CPU that went offline still runs" wait_for 10 more beat "$((beat + 3))"
t "callout-34 a task callout of a CPU that went offline still runs" wait_for 10 more report "$report"
t "its client unloads while the CPU is away" rmmod heartbeat

verdict() { rmmod softclock_swarm && dmesg | sed -n 's/.*softclock_swarm: ran/ran/p' | tail -n 1; }
t "callout-33 arms on a CPU that is offline are refused" sh -c "
	insmod /softclock_swarm.ko n=10 cpu=1 && rmmod softclock_swarm &&
	dmesg | grep -q 'softclock_swarm: ran 0 twice 0 early 0 lost 0 refused 10'"
echo 1 >$cpu1

# It goes and comes back with five thousand pending on it.
insmod /softclock_swarm.ko n=5000 cpu=1 after_ms=200 spread_ms=4000 || ktap_bail "no swarm"
cycles() {
	for _ in 1 2 3 4 5; do
		echo 0 >$cpu1 && sleep 0.3 && echo 1 >$cpu1 && sleep 0.2 || return
	done
}
t "the CPU goes offline and comes back, five times" cycles
sleep 4
linked() { value linked <$tree/cpus | awk '{ n += $1 } END { print n + 0 }'; }
gone() { [ "$(linked)" = 0 ]; }
t "callout-34 none is left on a wheel" wait_for 20 gone
t "callout-34 of 5000 pending on it none was lost, early or run twice" \
	equal "ran 5000 twice 0 early 0 lost 0 refused 0" "$(verdict)"

# So do those with a timer of the kernel each, which are armed there.
own_timers() {
	taskset 2 insmod /softclock_swarm.ko n=1000 cpu=1 after_ms=200 spread_ms=4000 kind="$1" && cycles && sleep 4 &&
		all_told
}
told() { [ "$(value state name=bee <$tree/callouts | grep -cv '^idle$')" = 0 ]; }
all_told() { wait_for 20 told && equal "ran 1000 twice 0 early 0 lost 0 refused 0" "$(verdict)"; }
t "callout-34 of 1000 hard ones none was lost, early or run twice" own_timers 1
t "callout-34 of 1000 precise soft ones none was lost, early or run twice" own_timers 2
t "callout-34 of 1000 precise task ones none was lost, early or run twice" own_timers 3

# One periodic of each mode on the CPU that goes and comes back.
taskset 2 insmod /softclock_periodics.ko n=5 period_us=10000 || ktap_bail "no periodics"
all_beyond() { [ "$(value fired client=softclock_periodics <$tree/periodics | awk -v n="$1" '$1 > n' | wc -l)" = 5 ]; }
wait_for 10 all_beyond 5
# All at one look: on a loaded machine the next comes much later.
look() { cat $tree/periodics >"$1"; }
now_ns() { head -n 1 "$1" | value now_ns; }
points() { value "$2" client=softclock_periodics <"$1" | xargs; }
look /tmp/begin
t "the CPU of five periodics goes offline and comes back, five times" cycles
# Each point is run for or missed; a loaded machine misses many, an idle one hardly any.
cadence() {
	echo "$before; $missed; $after; $later; $span" | awk -F'; ' '{
		split($1, f0, " "); split($2, m0, " "); split($3, f1, " "); split($4, m1, " ")
		for (i = 1; i <= 5; i++) {
			points = f1[i] + m1[i] - f0[i] - m0[i]
			if (points < $5 - 40 || points > $5 + 40) { print "points", points, "of", $5; bad = 1 }
			if (f1[i] - f0[i] < $5 / 10) { print "runs", f1[i] - f0[i], "of", $5; bad = 1 }
		}
		exit bad
	}'
}
# What a busy machine has missed shows with the next run, and the file is not read in an instant.
keeps() {
	look /tmp/end
	span=$((($(now_ns /tmp/end) - $(now_ns /tmp/begin)) / 10000000))
	before=$(points /tmp/begin fired) missed=$(points /tmp/begin missed)
	after=$(points /tmp/end fired) later=$(points /tmp/end missed)
	cadence
}
t "periodic-27 they keep their cadence" wait_for 20 keeps
rmmod softclock_periodics
clean() { dmesg | grep -q 'softclock_periodics: ran [0-9]* missed [0-9]* early 0 astray 0 overlaps 0'; }
t "periodic-27 none ran early, off its grid or twice at once" clean
rmmod softclock
