#!/bin/busybox sh
# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=dash disable=SC1091
#
# A driver has a timeout call what is no function of its own. Fault: that is accepted, and called when
# the module that has the function may be gone. (Safe code gets such a function from another module.)
# And what a driver gave to another module is dropped when the driver is gone: the callback in it would be
# dropped by code that is not there.

. /lib.sh
ktap_plan 6

insmod /softclock.ko || ktap_bail "softclock.ko does not load"
refused() {
	fails insmod /softclock_broken.ko stranger=1 >/tmp/.said 2>&1 || return
	grep -qi 'invalid' /tmp/.said || { cat /tmp/.said; return 1; }
}
t "a timeout with a function of another module is EINVAL" refused
said() { dmesg | grep -q "softclock: a timeout's function is not part of the module that owns its table"; }
t "the log says what was wrong" said
t "nothing is left of it" equal 0 "$(value leaked name=softclock_broken </sys/kernel/debug/softclock/clients)"

there() { dmesg | sed -n "s/.*left closure=\([0-9]*\) periodic=\([0-9]*\).*/closure=\1 periodic=\2/p" | tail -n 1; }
insmod /softclock_broken.ko left=1 && rmmod softclock_broken
left=$(there)
# Where its code was is something else now.
insmod /heartbeat.ko
t "a driver leaves a closure and a periodic to another" expr "$left" : 'closure=[1-9].* periodic=[1-9]'
# shellcheck disable=SC2086 # Two words.
t "who drops them when it is gone runs none of its code" insmod /softclock_broken.ko $left
dropped() { dmesg | grep -c 'a callback is dropped'; }
t "its callbacks are not dropped" equal 0 "$(dropped)"
rmmod softclock_broken
rmmod heartbeat
rmmod softclock
