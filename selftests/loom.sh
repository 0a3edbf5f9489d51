#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Usage: selftests/loom.sh [--long]
#
# The protocol of wheel entries in every interleaving, and the planted defects that must be caught:
# see selftests/loom/README.md. --long explores deeper, takes about half an hour, and plants nothing.

set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/../scripts/lib.sh"

if [ "${SOFTCLOCK_INSIDE:-}" != 1 ]; then
	"$TOP/scripts/setup" crates
	exec "$TOP/scripts/enter" selftests/loom.sh "$@"
fi

cd "$TOP"
out=.build/loom
mkdir -p "$out"
cargo_offline "$PWD/$out/home" build --quiet --manifest-path selftests/loom/Cargo.toml --target-dir "$out" >"$out/build.log" 2>&1 || {
	cat "$out/build.log" >&2
	die "the loom model does not build" "read .build/loom/build.log"
}

echo "KTAP version 1"
[ -z "${KTAP_NAME:-}" ] || echo "# Subtest: $KTAP_NAME"
exec "$out/release/softclock-loom" "$@"
