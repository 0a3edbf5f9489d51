#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Usage: selftests/faults.sh [--long]
#
# Faults that the conformance cases must see: whether they still fit the code, and every case has one.
# --long plants them, each in a build of its own, takes hours, and runs the cases. Fault: a case that
# cannot fail.

set -euo pipefail
cd "$(dirname -- "${BASH_SOURCE[0]}")/.."
case ${1:-} in
--long) exec scripts/faults ;;
*) exec scripts/faults --check ;;
esac
