#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# The examples in the documentation, compiled as the drivers they are part of: each block a function
# with the prelude, all blocks of a file one module. Fault: an example that does not compile. And the whole of it
# as rustdoc sees it. Fault: a link that leads nowhere.
#
# An example may leave unused what it shows. As for rustdoc, lines that begin with "# " are compiled and not shown, and what is no Rust says so
# (```text). There is no ```ignore. Line numbers are those of the documented file.

set -euo pipefail
cd "$(dirname -- "${BASH_SOURCE[0]}")/.."
out=.build/host/docs

# module FILE: its examples, or nothing.
module() {
	awk '
	function emit(line) { text = text line "\n" }
	NR == 1 {
		emit("#![allow(unused, dead_code)] use softclock::prelude::*; struct Docs; " \
			"impl kernel::Module for Docs { fn init(_: &\047static ThisModule) -> Result<Self> { Ok(Self) } } " \
			"module! { type: Docs, name: \"docs\", authors: [\"softclock maintainers\"], " \
			"description: \"examples\", license: \"GPL\", }")
		next
	}
	match($0, /^ *\/\/[\/!] ?/) {
		line = substr($0, RLENGTH + 1)
		if (line !~ /^```/) { sub(/^# |^#$/, "", line); emit(inside == "rust" ? line : "") }
		else if (inside != "") { emit(inside == "rust" ? "; Ok(()) }" : ""); inside = "" }
		else if (line == "```") { emit("fn line_" NR "() -> Result {"); inside = "rust"; found++ }
		else { emit(""); inside = "other"; if (line != "```text") bad = NR ": " line }
		next
	}
	{ if (inside != "") { bad = NR ": a block without an end"; inside = "" } emit("") }
	END {
		if (bad != "") { print FILENAME ":" bad >"/dev/stderr"; exit 1 }
		if (found) printf "%s", text
	}' "$1"
}

rm -rf "$out"
mkdir -p "$out"
files=()
while read -r file; do
	to=$out/$(tr / _ <<<"${file#rust/}")
	if ! module "$file" >"$to" 2>"$to.err" || [ -s "$to" ]; then files+=("$file"); fi
done < <(find rust -name '*.rs' | LC_ALL=C sort)

echo "KTAP version 1"
[ -z "${KTAP_NAME:-}" ] || echo "# Subtest: $KTAP_NAME"
echo "1..$((${#files[@]} + 1))"
n=0 status=0
for file in "${files[@]}"; do
	n=$((n + 1)) verdict=ok
	to=$out/$(tr / _ <<<"${file#rust/}")
	said=$(cat "$to.err")
	[ -z "$said" ] && said=$(scripts/client-rustc "$to" 2>&1) || verdict='not ok'
	if [ "$verdict" != ok ]; then
		status=1
		echo "# ${said//$'\n'/$'\n'# }"
	fi
	echo "$verdict $n docs $file"
done
verdict=ok
said=$(scripts/doc 2>&1) || { verdict='not ok' status=1; echo "# ${said//$'\n'/$'\n'# }"; }
echo "$verdict $((n + 1)) docs as web pages"
exit $status
