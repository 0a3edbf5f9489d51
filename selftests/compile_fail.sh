#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Drivers that must not compile, each for the reason it names and for no other, and one that must.
# Fault: an API that lets a mistake through which the types are there to catch.
#
# A driver says, each in a line of its own:
#	// error: REGEX		an error of the compiler; each one given must match one of these
#	// note: REGEX		something else the compiler has to say
#	// cure: SED		what makes it right: without its mistake it must compile

set -euo pipefail
cd "$(dirname -- "${BASH_SOURCE[0]}")/.."
cured=.build/host/cured.rs

lines() { sed -n "s,^// $1: ,,p" "$2"; }

# refused FILE: what is wrong with that is in $said.
refused() {
	local errors regex
	said='it names no error, or no cure'
	[ -n "$(lines error "$1")" ] && [ -n "$(lines cure "$1")" ] || return
	if said=$(scripts/client-rustc "$1" 2>&1); then
		said='it compiles'
		return 1
	fi
	errors=$(grep '^error' <<<"$said" | grep -v '^error: aborting due to')
	while read -r regex; do
		grep -qE "$regex" <<<"$errors" || { said+=$'\n'"no error matches: $regex"; return 1; }
	done < <(lines error "$1")
	errors=$(grep -vE "$(lines error "$1")" <<<"$errors") && { said+=$'\n'"unexpected: $errors"; return 1; }
	while read -r regex; do
		grep -qE "$regex" <<<"$said" || { said+=$'\n'"nothing matches: $regex"; return 1; }
	done < <(lines note "$1")
	sed -e '/^\/\/ cure: /d' -e "$(lines cure "$1")" "$1" >"$cured"
	said=$(scripts/client-rustc "$cured" 2>&1) || { said+=$'\n'"it does not compile when cured either"; return 1; }
}

mkdir -p .build/host
tests=(selftests/compile_fail/*.rs)
echo "KTAP version 1"
[ -z "${KTAP_NAME:-}" ] || echo "# Subtest: $KTAP_NAME"
echo "1..${#tests[@]}"
n=0 status=0 said=
for file in "${tests[@]}"; do
	n=$((n + 1)) verdict=ok
	about=$(sed -n 's,^//! ,,p' "$file" | head -n 1)
	case $file in
	*/control.rs) said=$(scripts/client-rustc "$file" 2>&1) || verdict='not ok' ;;
	*) refused "$file" || verdict='not ok' ;;
	esac
	if [ "$verdict" != ok ]; then
		status=1
		echo "# ${said//$'\n'/$'\n'# }"
	fi
	name=${file##*/}
	echo "$verdict $n compile_fail ${name%.rs}: $about"
done
exit $status
