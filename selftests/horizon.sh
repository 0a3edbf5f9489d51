#!/bin/busybox sh
# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=dash disable=SC1091
#
# Long spans of time, in guests where they are short. Faults: a callout that stops or runs away after
# minutes or days, and one that drifts although it is armed for absolute times.

. /lib.sh
ktap_plan 5

tree=/sys/kernel/debug/softclock
get() { value "$1" client=heartbeat "name=$2"; }
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
# And ten thousand others, at random within that time.
insmod /softclock_swarm.ko n=10000 spread_ms=$((span * 980)) || ktap_bail "softclock_swarm.ko does not load"
# Counted from here, to make the others takes a while; and at one look, for they are many to read.
look() { grep client=heartbeat <$tree/callouts >"$1"; }
look /tmp/before
sleep $span
look /tmp/after
start=$(get due_ns report </tmp/before) end=$(get due_ns report </tmp/after)
fired=$(($(get fired report </tmp/after) - $(get fired report </tmp/before)))
beats=$(($(get fired beat </tmp/after) - $(get fired beat </tmp/before)))
t "the report, armed once a second, ran in each of $span s" between "$((span - 1))" "$fired" "$((span + 1))"
t "its deadlines lie on the second: no drift" equal 0 "$(((end - start) % 1000000000))"
t "the beat ran about ten times a second" between $((span * 99 / 10)) $beats $((span * 10 + 10))
t "no bucket of the wheel waited for 100 ms" between 0 "$(value late_max_ns cpu=0 <$tree/cpus)" 100000000
rmmod softclock_swarm
t "of ten thousand others none was early, lost or run twice" sh -c \
	"dmesg | grep -q 'softclock_swarm: ran 10000 twice 0 early 0 lost 0 refused 0'"
rmmod heartbeat
rmmod softclock
