# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=dash disable=SC1091
# test: a driver with a data race fails the run
# guest: dbg-kcsan
# modules: yes
# wants: log gate: BUG: KCSAN: data-race in .*softclock_broken
. /lib.sh
ktap_plan 1
insmod /softclock.ko || ktap_bail "softclock.ko does not load"
t "passes, but the kernel has complained" insmod /softclock_broken.ko race=1
rmmod softclock_broken
rmmod softclock
