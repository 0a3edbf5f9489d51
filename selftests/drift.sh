#!/bin/busybox sh
# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=dash disable=SC1091
#
# A million periods, and thirty days, in guests where they are short. Faults: a periodic that drifts, stops
# or runs away after a long time, or whose arithmetic does not bear large numbers.

. /lib.sh
ktap_plan 8

tree=/sys/kernel/debug/softclock
insmod /softclock.ko || ktap_bail "softclock.ko does not load"

list() { grep client=softclock_periodics <$tree/periodics; }
of() { value "$1" "name=$2" <"$3"; }
# pass POINTS PERIOD_US PARAMETER...: so many periods pass; /tmp/before and /tmp/after tell what happened.
pass() {
	local points=$1 period_us=$2
	shift 2
	insmod /softclock_periodics.ko "period_us=$period_us" "$@" || ktap_bail "softclock_periodics.ko does not load"
	list >/tmp/before
	sleep $((points * period_us / 1000000))
	list >/tmp/after
	rmmod softclock_periodics
}
# exact PERIOD_US NAME...: as much time lies between two deadlines as points were run for or missed.
exact() {
	local period_us=$1 name periods
	shift
	for name in "$@"; do
		periods=$(($(of fired "$name" /tmp/after) + $(of missed "$name" /tmp/after) -
			$(of fired "$name" /tmp/before) - $(of missed "$name" /tmp/before)))
		equal "$name $((periods * period_us * 1000))" \
			"$name $(($(of due_ns "$name" /tmp/after) - $(of due_ns "$name" /tmp/before)))" || return
	done
}
# enough POINTS NAME...: they have come as far as they were to.
enough() {
	local points=$1 name fired
	shift
	for name in "$@"; do
		fired=$(of fired "$name" /tmp/after)
		if [ "$fired" -lt $((points - 2)) ] || [ "$fired" -gt $((points + 2)) ]; then
			echo "$name ran $fired times"
			return 1
		fi
	done
}
clean() {
	equal "missed 0 early 0 astray 0 overlaps 0" \
		"$(dmesg | sed -n 's/.*softclock_periodics: ran [0-9]* \(missed .*\)/\1/p' | tail -n 1)"
}
prompt() { [ "$(of late_max_ns "$1" /tmp/after)" -lt "$2" ]; }

# Thirty days where time is simulated, else ten minutes.
many=60000 many_us=10000 few=6000 few_us=100000
if grep -q 'User Mode Linux' /proc/cpuinfo; then
	many=1000000 many_us=2592000 few=100000 few_us=25920000
fi
pass $many $many_us n=1 soft=1
t "periodic-8 after $many periods the deadline is where it belongs: drift 0" exact $many_us soft
t "periodic-8 all of them were run for" enough $many soft
t "none was missed, early or off its grid" clean
t "none was later than 100 us" prompt soft 100000

pass $few $few_us n=5
all='task soft hard coarse-soft coarse-task'
# shellcheck disable=SC2086
t "periodic-8 nor do those of other modes drift, over as long a time" exact $few_us $all
# shellcheck disable=SC2086
t "periodic-8 and all of their $few were run for" enough $few $all
t "none of those was missed, early, off its grid or twice at once" clean
t "none of the coarse ones was later than 200 us" prompt coarse-soft 200000
rmmod softclock
