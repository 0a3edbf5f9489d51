# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=dash disable=SC1091
# test: a driver that may sleep under a spinlock fails the run
# guest: uml-tt uml-kasan dbg-kasan
# modules: yes
# wants: log gate: BUG: sleeping function called from invalid context
. /lib.sh
ktap_plan 1
insmod /softclock.ko || ktap_bail "softclock.ko does not load"
t "passes, but the kernel has complained" insmod /softclock_broken.ko atomic=1
rmmod softclock_broken
rmmod softclock
