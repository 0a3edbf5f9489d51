# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=dash disable=SC1091
# test: a failing test fails the run
# wants: FAILED control: two is not one
. /lib.sh
ktap_plan 2
t "one is one" equal 1 1
t "two is not one" equal 1 2
exit 0
