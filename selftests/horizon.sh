#!/bin/busybox sh
# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=dash disable=SC1091
#
# Long spans of time, in guests where they are short. Faults: a callout that stops or runs away after
# minutes or days, and one that drifts although it is armed for absolute times.

. /lib.sh
ktap_plan 4

tree=/sys/kernel/debug/softclock
get() { value "$1" client=heartbeat "name=$2" <$tree/callouts; }
between() {
	if [ "$2" -lt "$1" ] || [ "$2" -gt "$3" ]; then
		echo "$2 is not within $1..$3"
		return 1
	fi
}

span=600
grep -q 'User Mode Linux' /proc/cpuinfo && span=86400

insmod /softclock.ko || ktap_bail "softclock.ko does not load"
insmod /heartbeat.ko || ktap_bail "heartbeat.ko does not load"
start=$(get due_ns report)
sleep $span
end=$(get due_ns report)
fired=$(get fired report)
t "the report, armed once a second, ran in each of $span s" between "$((span - 1))" "$fired" "$((span + 1))"
t "its deadlines lie on the second: no drift" equal 0 "$(((end - start) % 1000000000))"
t "the beat ran about ten times a second" between $((span * 99 / 10)) "$(get fired beat)" $((span * 10 + 10))
t "no run was later than 100 ms" between 0 "$(get late_max_ns beat)" 100000000
rmmod heartbeat
rmmod softclock
