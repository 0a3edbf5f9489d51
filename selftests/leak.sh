#!/bin/busybox sh
# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=dash disable=SC1091
#
# A driver that forgets forty live callouts. Faults: rmmod hangs or is refused, freed code runs
# (an Oops, which the log gate sees), the log does not say who forgot what.

. /lib.sh
ktap_plan 9

tree=/sys/kernel/debug/softclock
named() { dmesg | grep -c "softclock: client softclock_leak left callout leak-$1 (id [0-9]*, [a-z]*) behind"; }
fired() { value fired client=softclock_leak <$tree/callouts | awk '{ n += $1 } END { print n + 0 }'; }
firing() { [ "$(fired)" -gt 100 ]; }

insmod /softclock.ko || ktap_bail "softclock.ko does not load"
grep -qs '^kworker/R-softc' /proc/[0-9]*/comm || ktap_bail "the rescuers are called otherwise now"
insmod /softclock_leak.ko || ktap_bail "softclock_leak.ko does not load"
t "forty callouts are live" wait_for 10 firing
t "callout-46 a module that leaks live callouts can be unloaded" rmmod softclock_leak
t "each of the forty is named in the log" equal "20 20" "$(named soft) $(named task)"
t "none of them is listed any more" equal 0 "$(grep -c '^callout ' $tree/callouts)"
t "the client's record says forty leaked" equal 40 "$(value leaked name=softclock_leak <$tree/clients)"
# Freed text would be executed within a millisecond.
sleep 1
t "callout-46 nothing runs after the unload" equal gone "$(value state name=softclock_leak <$tree/clients)"

five_times() {
	for _ in 1 2 3 4 5; do
		insmod /softclock_leak.ko && sleep 0.05 && rmmod softclock_leak || return
	done
	equal 240 "$(value leaked name=softclock_leak <$tree/clients)"
}
t "it can come back and leak again, five times" five_times

tidy() {
	for _ in 1 2 3 4 5; do
		insmod /softclock_leak.ko tidy=1 && sleep 0.05 && rmmod softclock_leak || return
	done
	equal 240 "$(value leaked name=softclock_leak <$tree/clients)"
}
t "unloading a driver in the middle of its callbacks is no leak" tidy

rmmod softclock
# A queue for times of memory pressure has a rescuer thread of its name.
no_rescuer() { ! grep -qs '^kworker/R-softc' /proc/[0-9]*/comm; }
t "softclock takes its queues along, whatever was leaked" wait_for 5 no_rescuer
