#!/bin/busybox sh
# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=dash disable=SC1091
#
# The conformance cases, run by a module inside the kernel. Each names the fault it catches.

. /lib.sh
ktap_plan 5

insmod /softclock.ko || ktap_bail "softclock.ko does not load"
ktap_module softclock_cases.ko "simulated=$(simulated)"

# Every subject was dropped, so a record that stays was leaked by softclock itself.
no_records() { [ "$(grep -c '^callout ' /sys/kernel/debug/softclock/callouts)" = 0 ]; }
t "no callout is left when the cases are gone" no_records
no_periodics() { [ "$(grep -c '^periodic ' /sys/kernel/debug/softclock/periodics)" = 0 ]; }
t "no periodic is left when the cases are gone" no_periodics
said() { dmesg | grep -c "softclock: $1"; }
t "periodic-5 that an interval was made 10 ms is said once" equal 1 \
	"$(said 'periodic ddi-quick of client softclock_cases: its interval of 1000000 ns is below 10 ms')"
t "periodic-19 a delete that waits for a callback that waits for it says so" equal 1 \
	"$(said 'thread [0-9]* has waited 5 s for a callback to end')"
rmmod softclock
