#!/bin/busybox sh
# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=dash disable=SC1091
#
# Modules come and go in every order. Faults: a client that loads without softclock, softclock that
# leaves under a client, a second load that finds remains of the first.

. /lib.sh
ktap_plan 12
gate_expect "heartbeat: Unknown symbol"

tree=/sys/kernel/debug/softclock
callouts() { grep -c "^callout .*client=$1 " $tree/callouts; }

t "a client without softclock is refused" fails insmod /heartbeat.ko
t "softclock loads" insmod /softclock.ko
t "its tree is there" test -r $tree/callouts -a -r $tree/clients
t "softclock unloads, and its tree goes" sh -c "rmmod softclock && ! test -e $tree"

ten_times() {
	for _ in 1 2 3 4 5 6 7 8 9 10; do
		insmod /softclock.ko && rmmod softclock || return
	done
}
t "softclock loads and unloads ten times" ten_times

both() { insmod /softclock.ko && insmod /heartbeat.ko && insmod /blink.ko; }
t "two clients load" both
t "each has its callouts" sh -c "
	[ \$(grep -c 'client=heartbeat ' $tree/callouts) = 2 ] &&
	[ \$(grep -c 'client=blink ' $tree/callouts) = 1 ]"
t "softclock does not leave under its clients" fails rmmod softclock

first_out() {
	rmmod "$1" && [ "$(callouts "$1")" = 0 ] && [ "$(callouts "$2")" != 0 ] &&
		! rmmod softclock 2>/dev/null && rmmod "$2" && rmmod softclock
}
t "the first client leaves first" first_out heartbeat blink
both
t "the last client leaves first" first_out blink heartbeat

again() {
	insmod /softclock.ko
	for _ in 1 2 3 4 5; do
		insmod /heartbeat.ko && rmmod heartbeat || return
	done
	equal 10 "$(value made name=heartbeat <$tree/clients)" &&
		equal 0 "$(value objects name=heartbeat <$tree/clients)" &&
		equal 0 "$(value leaked name=heartbeat <$tree/clients)" &&
		equal 1 "$(grep -c heartbeat $tree/clients)"
}
t "a client that comes back goes on with its record, and has leaked nothing" again
rmmod softclock
t "nothing is left loaded" sh -c '! grep -q -e softclock -e heartbeat -e blink /proc/modules'
