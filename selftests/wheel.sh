#!/bin/busybox sh
# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=dash disable=SC1091
#
# The wheels, as an operator sees them. Faults: a storm that keeps a CPU, loses or repeats a callout;
# stopped callouts that stay for ever; a wheel that wakes its CPU for nothing.

. /lib.sh
ktap_plan 22

tree=/sys/kernel/debug/softclock
N=20000 few=10000
case $SC_GUEST in
uml-smp)	N=100000 ;;
*kasan | *kcsan)	N=5000 few=2000 ;;	# every access costs more there
esac
total() { value "$1" <$tree/cpus | awk '{ n += $1 } END { print n + 0 }'; }
most() { value "$1" <$tree/cpus | sort -n | tail -n 1; }
reached() { [ "$(total "$1")" -ge "$2" ]; }
no_more_than() { [ "$2" -le "$1" ] || { echo "$2 is more than $1"; return 1; }; }
timers() { grep -c softclock /proc/timer_list; }
# Where time counts instructions nobody else takes any of it; with a clock that only ticks when all are
# idle, callbacks take none.
slice_in_time() {
	[ "$SC_GUEST" = icount ] || { echo "others take the processor from it"; return 4; }
	no_more_than 1000000 "$(most slice_max_ns)"
}
slice_taken() {
	[ "$SC_GUEST" != uml-tt ] || { echo "time stands still while it is walked"; return 4; }
	[ "$(most slice_max_ns)" -ge "$1" ]
}
# Where no host makes the guest late.
in_window() {
	case $SC_GUEST in icount | uml-tt) ;; *) echo "the host may make it late"; return 4 ;; esac
	no_more_than 70000 "$(dmesg | sed -n 's/.*softclock_swarm: over_max_ns //p' | tail -n 1)"
}
# What the last swarm said when it left.
verdict() { rmmod softclock_swarm && dmesg | sed -n 's/.*softclock_swarm: ran/ran/p' | tail -n 1; }
swarm() { insmod /softclock_swarm.ko "$@" || ktap_bail "softclock_swarm.ko does not load"; }

insmod /softclock.ko || ktap_bail "softclock.ko does not load"

fired=$(total fired)
swarm n=$N after_ms=3000
t "a storm of $N due in one granule passes" wait_for 60 reached fired $((fired + N))
t "each of them ran once, and none early" \
	equal "ran $N twice 0 early 0 lost 0 refused 0" "$(verdict)"
t "the storm was walked in slices" fails equal 0 "$(total slices)"
t "no walk called more than 8192" no_more_than 8192 "$(most batch_max)"
t "the longest slice was measured" slice_taken 1
t "no slice took longer than a millisecond" slice_in_time
t "nothing is left on the wheels" equal "0 0" "$(total linked) $(timers)"

# A batch of these takes a third of a millisecond.
fired=$(total fired)
swarm n=1000 busy_us=10
wait_for 60 reached fired $((fired + 1000))
t "a thousand callbacks of 10 us each ran once" equal "ran 1000 twice 0 early 0 lost 0 refused 0" "$(verdict)"
t "no slice took longer for them" slice_in_time

fired=$(total fired)
swarm n=$few after_ms=3000 stop=1
t "$few, armed and stopped, are tombstones at first" reached linked 1
gone() { [ "$(total linked)" = 0 ]; }
t "they go when their time comes" wait_for 30 gone
no_timer() { [ "$(timers)" = 0 ]; }
t "then no timer of softclock is queued" wait_for 10 no_timer
t "none of them has run" equal "$fired" "$(total fired)"
t "and each was cancelled" equal "ran 0 twice 0 early 0 lost 0 refused 0" "$(verdict)"

swarm n=$few after_s=86400 stop=1
t "tombstones far away stay" reached linked $few
t "until their objects go" equal "ran 0 twice 0 early 0 lost 0 refused 0" "$(verdict)"
t "and take their timer along" equal "0 0" "$(total linked) $(timers)"

wakes=$(total wakes)
sleep 2
t "an empty wheel wakes nobody" equal "$wakes" "$(total wakes)"

fired=$(total fired)
swarm n=100 spread_ms=10 window_us=10000
wait_for 20 reached fired $((fired + 100))
t "callout-28 a hundred with a window of 10 ms cost few wake-ups" \
	no_more_than 25 $(($(total wakes) - wakes))
t "callout-28 and none is early or lost" equal "ran 100 twice 0 early 0 lost 0 refused 0" "$(verdict)"
t "callout-28 nor later than a granule after its window" in_window

# Ten years ahead; where a day is short, for a day.
span=2
[ "$SC_GUEST" = uml-tt ] && span=86400
swarm n=1 after_s=315360000
wakes=$(total wakes)
sleep $span
far() {
	[ "$(value state name=bee <$tree/callouts)" = armed ] &&
		[ "$(value in_ns name=bee <$tree/callouts)" -gt 315000000000000000 ] &&
		no_more_than 3 $(($(total wakes) - wakes))
}
t "callout-27 a callout ten years ahead waits, and wakes nobody for $span s" far
rmmod softclock_swarm
rmmod softclock
