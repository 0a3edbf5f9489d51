#!/bin/busybox sh
# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=dash disable=SC1091
#
# Thirty days, where they are short: a callout that runs every second, and ten thousand whose deadlines lie
# anywhere in that time. Faults: one that is lost, early or runs twice after it has come down from the
# upper levels of the wheel; a deadline that drifts from the one before, by however little.

. /lib.sh
ktap_plan 6

days=30
span=$((days * 86400))
tree=/sys/kernel/debug/softclock
between() {
	if [ "$2" -lt "$1" ] || [ "$2" -gt "$3" ]; then
		echo "$2 is not within $1..$3"
		return 1
	fi
}

insmod /softclock.ko || ktap_bail "softclock.ko does not load"
insmod /softclock_swarm.ko n=10000 tick=1 spread_ms=$((span * 1000 - 5000)) ||
	ktap_bail "softclock_swarm.ko does not load"
sleep $span
late=$(value late_max_ns cpu=0 <$tree/cpus)
rmmod softclock_swarm
said=$(dmesg | sed -n 's/.*softclock_swarm: \(ticks.*\)/\1/p')
after() { echo "$said" | tr ' ' '\n' | grep -A 1 -x "$1" | tail -n 1; }
t "in $days days the callout of every second ran in each" \
	between $((span - 2)) "$(after ticks)" $((span + 2))
t "and has run as often as seconds have passed" equal "$(($(after span_s) + 1))" "$(after ticks)"
t "never early, and each deadline a second after the last: no drift" equal "0 0" "$(after early) $(after off)"
t "never late by more than a granule" between 0 "$(after late_max_ns)" 70000
t "of ten thousand others none was early, lost or run twice" sh -c \
	"dmesg | grep -q 'softclock_swarm: ran 10000 twice 0 early 0 lost 0 refused 0'"
t "no bucket of the wheel waited for 10 ms" between 0 "$late" 10000000
rmmod softclock
