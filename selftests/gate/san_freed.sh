# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=dash disable=SC1091
# test: a driver that reads freed memory fails the run
# guest: uml-kasan dbg-kasan
# modules: yes
# wants: log gate: BUG: KASAN: slab-use-after-free in .*softclock_broken
. /lib.sh
ktap_plan 1
insmod /softclock.ko || ktap_bail "softclock.ko does not load"
t "passes, but the kernel has complained" insmod /softclock_broken.ko freed=1
rmmod softclock_broken
rmmod softclock
