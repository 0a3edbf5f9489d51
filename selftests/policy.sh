#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# The rules, compiled for the host and tested exhaustively: every state with every event.

set -euo pipefail
out=.build/host
mkdir -p "$out"
rustc --edition 2021 --test -Dwarnings -O -o "$out/policy" selftests/host/policy.rs
"$out/policy" --test-threads=1 >"$out/policy.log" 2>&1 || failed=1

echo "KTAP version 1"
[ -z "${KTAP_NAME:-}" ] || echo "# Subtest: $KTAP_NAME"
awk '
/^test .* \.\.\. / {
	verdict[++n] = ($NF == "ok") ? "ok" : "not ok"
	name[n] = $2
}
END {
	print "1.." n
	for (i = 1; i <= n; i++) print verdict[i] " " i " policy " name[i]
}' "$out/policy.log"
[ -z "${failed:-}" ] || { sed 's/^/# /' "$out/policy.log"; exit 1; }
