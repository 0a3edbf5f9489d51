#!/bin/busybox sh
# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=dash disable=SC1091
#
# The README's driver, built outside the tree. Fault: a newcomer's first module does not work.

. /lib.sh
ktap_plan 4

tree=/sys/kernel/debug/softclock
insmod /softclock.ko || ktap_bail "softclock.ko does not load"
t "blink loads" insmod /blink.ko
t "it ticks, again and again" wait_for 10 sh -c "dmesg | grep -q 'blink: tick 2'"
t "its callout is listed under its name" equal task "$(value ctx client=blink name=tick <$tree/callouts)"
t "it unloads" rmmod blink
rmmod softclock
