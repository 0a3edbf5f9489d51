#!/bin/busybox sh
# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=dash disable=SC1091
#
# A driver has a timeout call what is no function of its own. Fault: that is accepted, and called when
# the module that has the function may be gone. (Safe code gets such a function from another module.)

. /lib.sh
ktap_plan 3

insmod /softclock.ko || ktap_bail "softclock.ko does not load"
refused() {
	fails insmod /softclock_broken.ko stranger=1 >/tmp/.said 2>&1 || return
	grep -qi 'invalid' /tmp/.said || { cat /tmp/.said; return 1; }
}
t "a timeout with a function of another module is EINVAL" refused
said() { dmesg | grep -q "softclock: a timeout's function is not part of the module that owns its table"; }
t "the log says what was wrong" said
t "nothing is left of it" equal 0 "$(value leaked name=softclock_broken </sys/kernel/debug/softclock/clients)"
rmmod softclock
