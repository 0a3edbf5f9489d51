#!/bin/busybox sh
# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=dash disable=SC1091
#
# The conformance cases, run by a module inside the kernel. Each names the fault it catches.

. /lib.sh
ktap_plan 2

insmod /softclock.ko || ktap_bail "softclock.ko does not load"
ktap_module softclock_cases.ko

# Every subject was dropped, so a record that stays was leaked by softclock itself.
no_records() { [ "$(grep -c '^callout ' /sys/kernel/debug/softclock/callouts)" = 0 ]; }
t "no callout is left when the cases are gone" no_records
rmmod softclock
