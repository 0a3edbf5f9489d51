#!/bin/busybox sh
# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=dash disable=SC1091
#
# A client built against a softclock in which one public struct is larger. Fault: it loads, and reads
# memory by the wrong layout.

. /lib.sh
ktap_plan 3
gate_expect "heartbeat: Unknown symbol"

insmod /softclock.ko || ktap_bail "softclock.ko does not load"
t "a client of another interface is refused" fails insmod /stale_heartbeat.ko
t "the log says why" sh -c 'dmesg | grep -q "heartbeat: Unknown symbol _RN.*softclock"'
t "a client of this interface is accepted" insmod /heartbeat.ko
rmmod heartbeat
rmmod softclock
