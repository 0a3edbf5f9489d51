# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=dash disable=SC1091
# test: a script that bails out fails the run
# wants: bail out: nothing to stand on
. /lib.sh
ktap_plan 1
ktap_bail "nothing to stand on"
