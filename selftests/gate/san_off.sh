# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=dash disable=SC1091
# test: a guest that ends without its lockdep fails the run
# guest: uml-tt dbg-kasan
# modules: yes
# wants: log gate: .*lockdep has switched itself off
. /lib.sh
ktap_plan 1
gate_expect "possible circular locking"
insmod /softclock.ko || ktap_bail "softclock.ko does not load"
t "makes lockdep report, which ends it" insmod /softclock_broken.ko order=1
rmmod softclock_broken
rmmod softclock
