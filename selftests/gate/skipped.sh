# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=dash disable=SC1091
# test: a test that is skipped wherever it is to run fails a run of everything
# report: --skips failed
# wants: skipped everywhere: nobody does this
. /lib.sh
ktap_plan 2
t "one is one" equal 1 1
skip "nobody does this" "on Sundays"
exit 0
