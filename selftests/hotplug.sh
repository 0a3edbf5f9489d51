#!/bin/busybox sh
# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=dash disable=SC1091
#
# A CPU goes offline with callouts pending on it. Fault: they never run, or cannot be stopped.

. /lib.sh
ktap_plan 4

tree=/sys/kernel/debug/softclock
cpu1=/sys/devices/system/cpu/cpu1/online
[ -w $cpu1 ] || ktap_bail "no second CPU to take offline"
fired() { value fired client=heartbeat "name=$1" <$tree/callouts; }
more() { [ "$(fired "$1")" -gt "$2" ]; }

insmod /softclock.ko || ktap_bail "softclock.ko does not load"
t "a client arms on CPU 1" taskset 2 insmod /heartbeat.ko
beat=$(fired beat) report=$(fired report)
echo 0 >$cpu1
t "callout-34 a soft callout of a CPU that went offline still runs" wait_for 10 more beat "$((beat + 3))"
t "callout-34 a task callout of a CPU that went offline still runs" wait_for 10 more report "$report"
t "its client unloads while the CPU is away" rmmod heartbeat
echo 1 >$cpu1
rmmod softclock
