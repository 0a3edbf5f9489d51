#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Usage: selftests/esi.sh [--long | --mutants [FILE...]]
#
# Entity status inquiries, without a kernel: the rules with every event in every state, the messages
# with good, bad and random bytes. --long tries 10^9 random messages, which takes ten minutes; --mutants
# makes one mistake after the other in the shipped files, and prints those that no test notices.

set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/../scripts/lib.sh"

if [ "${SOFTCLOCK_INSIDE:-}" != 1 ]; then
	"$TOP/scripts/setup" crates
	exec "$TOP/scripts/enter" selftests/esi.sh "$@"
fi

cd "$TOP"
out=.build/esi
mkdir -p "$out"
crates=$(scripts/setup where crates)
case ${1:-} in
'') ;;
--long) export ESI_LONG=1 ;;
--mutants) exec selftests/host/esi/mutants "$crates" "$out/mutants" "${@:2}" ;;
*) die "selftests/esi.sh does not know $1" "selftests/esi.sh [--long | --mutants [FILE...]]" ;;
esac

cargo() {
	cargo_offline "$PWD/$out/home" "$@" --manifest-path selftests/host/esi/Cargo.toml --target-dir "$out"
}
cargo test --no-run >"$out/build.log" 2>&1 || {
	cat "$out/build.log" >&2
	die "the tests do not build" "read .build/esi/build.log"
}
cargo test >"$out/esi.log" 2>&1 || failed=1

# What the kernel gets has no place at which it could panic, other than by mistakes of ours that the
# compiler has proved away. Compiled as the kernel is, only faster.
panics() {
	rustc --edition 2021 --crate-type lib --emit obj -C opt-level=2 -C overflow-checks=on \
		-C panic=abort -o "$out/nopanic.o" selftests/host/esi/nopanic.rs || return
	nm "$out/nopanic.o" | grep -q ' T .*took' || { echo "nothing was compiled"; return 1; }
	! nm -u "$out/nopanic.o" | grep -E 'panic|unwrap_failed|expect_failed|slice_.*fail'
}
verdict=ok
panics >>"$out/esi.log" 2>&1 || { verdict="not ok"; failed=1; }
echo "test nopanic::no_place_can_panic ... $verdict" >>"$out/esi.log"

echo "KTAP version 1"
[ -z "${KTAP_NAME:-}" ] || echo "# Subtest: $KTAP_NAME"
# cases::wire::esi_9_both_flags is "esi-9 both flags", cases::wire::sizes is "wire: sizes".
awk '
/^test .* \.\.\. / {
	verdict[++n] = (/ ok$/ && !/ not ok$/) ? "ok" : "not ok"
	parts = split($2, part, "::")
	text = part[parts]
	if (text ~ /^esi_[0-9]+_/) sub(/^esi_/, "esi-", text)
	else text = part[parts - 1] ": " text
	gsub(/_/, " ", text)
	# Names of functions are in small letters.
	words = split(text, word, " ")
	text = ""
	for (i = 1; i <= words; i++) text = text (i > 1 ? " " : "") (word[i] ~ /^s[0-9]+$/ ? toupper(word[i]) : word[i])
	name[n] = text
}
END {
	print "1.." n
	for (i = 1; i <= n; i++) print verdict[i] " " i " " name[i]
}' "$out/esi.log"
[ -z "${failed:-}" ] || { sed 's/^/# /' "$out/esi.log"; exit 1; }
