#!/bin/busybox sh
# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=dash disable=SC1091
#
# A driver that forgets forty-two live callouts, one of them in a box and one in a static. Faults: rmmod hangs or is refused, freed code runs
# (an Oops, which the log gate sees), the log does not say who forgot what.

. /lib.sh
ktap_plan 13

tree=/sys/kernel/debug/softclock
named() { dmesg | grep -c "softclock: client softclock_leak left callout leak-$1 (id [0-9]*, [a-z]*) behind"; }
fired() { value fired <$tree/cpus | awk '{ n += $1 } END { print n + 0 }'; }
firing() { [ "$(fired)" -gt 100 ]; }

forgetful on
insmod /softclock.ko || ktap_bail "softclock.ko does not load"
grep -qs '^kworker/R-softc' /proc/[0-9]*/comm || ktap_bail "the rescuers are called otherwise now"
insmod /softclock_leak.ko || ktap_bail "softclock_leak.ko does not load"
t "forty-two callouts are live" wait_for 10 firing
t "callout-46 a module that leaks live callouts can be unloaded" rmmod softclock_leak
t "each of the forty-two is named in the log" \
	equal "20 20 1 1" "$(named soft) $(named task) $(named box) $(named static)"
t "none of them is listed any more" equal 0 "$(grep -c '^callout ' $tree/callouts)"
t "the client's record says forty-two leaked" equal 42 "$(value leaked name=softclock_leak <$tree/clients)"
# Freed text would be executed within a millisecond.
sleep 1
t "callout-46 nothing runs after the unload" equal gone "$(value state name=softclock_leak <$tree/clients)"

five_times() {
	for _ in 1 2 3 4 5; do
		insmod /softclock_leak.ko && sleep 0.05 && rmmod softclock_leak || return
	done
	equal 252 "$(value leaked name=softclock_leak <$tree/clients)"
}
t "it can come back and leak again, five times" five_times
forgetful off

tidy() {
	for _ in 1 2 3 4 5; do
		insmod /softclock_leak.ko tidy=1 && sleep 0.05 && rmmod softclock_leak || return
	done
	equal 252 "$(value leaked name=softclock_leak <$tree/clients)"
}
t "unloading a driver in the middle of its callbacks is no leak" tidy

# Its callback sleeps for 20 ms, and it is told of their end for 300 ms: freed text would be returned into.
farewell() {
	dmesg -c >/dev/null
	insmod /softclock_farewell.ko "precise=$1" && sleep 0.1 && rmmod softclock_farewell || return
	equal 1 "$(dmesg | grep -c 'softclock_farewell: farewell')"
}
t "an unload waits until the end of a run has been told" farewell 0
t "also of one that is not on the wheel" farewell 1
sleep 1
t "that is no leak" equal 0 "$(value leaked name=softclock_farewell <$tree/clients)"
rmmod softclock
forgetful on
insmod /softclock.ko || ktap_bail "softclock.ko does not load again"
late() {
	insmod /softclock_farewell.ko late=1 && rmmod softclock_farewell && sleep 0.2 || return
	dmesg | grep -q 'softclock_farewell: late: Refused(Shutdown)'
}
t "a callback that still runs then arms nothing for the first time" late
forgetful off

rmmod softclock
# A queue for times of memory pressure has a rescuer thread of its name.
no_rescuer() { ! grep -qs '^kworker/R-softc' /proc/[0-9]*/comm; }
t "softclock takes its queues along, whatever was leaked" wait_for 5 no_rescuer
