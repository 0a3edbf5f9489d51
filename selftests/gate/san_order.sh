# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=dash disable=SC1091
# test: a driver that takes locks in both orders fails the run
# guest: uml-tt dbg-kasan
# modules: yes
# wants: log gate: WARNING: possible circular locking
. /lib.sh
ktap_plan 1
insmod /softclock.ko || ktap_bail "softclock.ko does not load"
t "passes, but the kernel has complained" insmod /softclock_broken.ko order=1
rmmod softclock_broken
rmmod softclock
