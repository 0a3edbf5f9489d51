# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=dash disable=SC1091
# test: a guest without a single test fails the run
# wants: no tests
exit 0
