#!/bin/busybox sh
# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=dash disable=SC1091
# needs: chrt
#
# A thread of real-time priority drains a callout whose callback executes on the only CPU there is, with a
# lower priority. Fault: the drain spins, and so keeps the callback from ending.

. /lib.sh
ktap_plan 9

cpu1=/sys/devices/system/cpu/cpu1/online
[ -w $cpu1 ] || ktap_bail "no second CPU to take offline"
insmod /softclock.ko || ktap_bail "softclock.ko does not load"
echo 0 >$cpu1 || ktap_bail "CPU 1 stays"

# used_ms: of the CPU, in what `times` says of a shell's children: user and system.
used_ms() { tail -n 1 | tr 'ms' '  ' | awk '{ print int(($1 * 60 + $2 + $3 * 60 + $4) * 1000) }'; }
# drains KIND: leaves what the module has said, and how much of the CPU the drainer took.
drains() {
	dmesg -c >/dev/null
	used=$(chrt -f 50 sh -c "insmod /softclock_fifo.ko kind=$1; times" | used_ms)
	rmmod softclock_fifo || return
	said=$(dmesg | sed -n 's/.*softclock_fifo: //p')
}
met() { drains "$1" && equal "met 1 finished 1 over 1" "$said"; }
# The callback takes 300 ms; to load a module takes some, too.
slept() {
	if [ "${used:-999}" -ge 150 ]; then
		echo "the drainer took $used ms of the CPU"
		return 1
	fi
}

t "the thread has a real-time priority" sh -c "chrt -f 50 sh -c 'chrt -p \$\$' | grep -q FIFO"
for kind in 1:task "3:precise task" 0:soft "2:precise soft"; do
	name=${kind#*:}
	used=
	if [ "$SC_GUEST" = rt ] || [ "${kind%%:*}" = 1 ] || [ "${kind%%:*}" = 3 ]; then
		t "a drain ends that meets a callback of its CPU, which it has interrupted ($name)" met "${kind%%:*}"
		t "and slept until then ($name)" slept
	else
		# Softirqs are not interrupted by threads.
		skip "a drain ends that meets a callback of its CPU, which it has interrupted ($name)" "only with PREEMPT_RT"
		skip "and slept until then ($name)" "only with PREEMPT_RT"
	fi
done
echo 1 >$cpu1
rmmod softclock
