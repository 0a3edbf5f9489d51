#!/bin/busybox sh
# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=dash disable=SC1091
#
# The machine is suspended, as far as the kernel can be told to come back by itself: devices, the other CPUs and
# the clock stop for five seconds. Faults: runs for the time that nobody saw, all at once; a point off the grid; a
# periodic that does not go on, or not where it was; a CPU's callouts lost with it.

. /lib.sh
ktap_plan 8

tree=/sys/kernel/debug/softclock
[ -w /sys/power/pm_test ] || ktap_skip_all "this kernel cannot be suspended for a test"
insmod /softclock.ko || ktap_bail "softclock.ko does not load"
insmod /softclock_periodics.ko n=40 period_us=20000 || ktap_bail "softclock_periodics.ko does not load"

all_fired() { [ "$(value fired client=softclock_periodics <$tree/periodics | awk '$1 > 2' | wc -l)" = 40 ]; }
t "forty periodics run" wait_for 10 all_fired
boottime_ms() { awk '{ print int($1 * 1000) }' /proc/uptime; }
now_ms() { sed -n '1s/.* now_ns=\([0-9]*\)[0-9]\{6\}$/\1/p' "$1"; }
suspend() { echo core >/sys/power/pm_test && echo mem >/sys/power/state; }

boot=$(boottime_ms)
cat $tree/periodics >/tmp/before
t "the machine is suspended" suspend
cat $tree/periodics >/tmp/after
slept=$(($(boottime_ms) - boot - $(now_ms /tmp/after) + $(now_ms /tmp/before)))
t "its clock stood for that long" test $slept -ge 4000
diag "it stood for $slept ms"

# Per periodic, from before to after: runs, points told of, points that have passed, and how far off the grid.
points() {
	awk '
	{ for (i = 2; i <= NF; i++) { split($i, part, "="); is[part[1]] = part[2] } }
	!/^periodic/ { next }
	FILENAME == "/tmp/before" { fired[is["id"]] = is["fired"]; missed[is["id"]] = is["missed"]; due[is["id"]] = is["due_ns"]; next }
	{
		runs = is["fired"] - fired[is["id"]]
		ns = is["due_ns"] - due[is["id"]]
		print is["id"], runs, runs + is["missed"] - missed[is["id"]], int(ns / 20000000), ns % 20000000
	}' /tmp/before /tmp/after
}
passed=$((($(now_ms /tmp/after) - $(now_ms /tmp/before)) / 20))
points >/tmp/points
t "each of them is still there" equal 40 "$(wc -l </tmp/points)"
t "none has run for the time that nobody saw" equal 0 "$(awk '$3 > '$((passed + 2)) /tmp/points | wc -l)"
# One more or less, for a run in progress.
t "no point is off the grid, and none is forgotten" equal 0 \
	"$(awk '$5 != 0 || $3 - $4 > 1 || $4 - $3 > 1' /tmp/points | wc -l)"
go_on() {
	cp /tmp/after /tmp/before
	cat $tree/periodics >/tmp/after
	[ "$(points | awk '$2 > 2' | wc -l)" = 40 ]
}
t "all go on" wait_for 10 go_on
rmmod softclock_periodics
clean() { equal "early 0 astray 0 overlaps 0" "$(dmesg | sed -n 's/.*softclock_periodics: ran .*\(early .*\)/\1/p' | tail -n 1)"; }
t "no run was early, off its grid, or began during another" clean
rmmod softclock
