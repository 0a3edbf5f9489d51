#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Drivers that must not compile, each with the reason the compiler must give, and one that must.
# Fault: an API that lets a mistake through which the types are there to catch.

set -euo pipefail
cd "$(dirname -- "${BASH_SOURCE[0]}")/.."
TOP=$PWD
build=.build/$(cat "$(scripts/setup where kdir:amd64)/include/config/kernel.release")
recorded=$build/rust/samples/.heartbeat.o.cmd
[ -e "$recorded" ] || scripts/build amd64 >&2

# The compiler as the kernel's build called it for a client, with another file to compile.
command=$(sed -n 's/^savedcmd_[^ ]* := //p' "$recorded" | sed -e 's/ ; .*//' -e 's/--emit=[^ ]*//g' \
	-e 's/--out-dir [^ ]*//' -e "s,[^ ]*/heartbeat\.rs,,")
# RUSTC_BOOTSTRAP, as in the kernel: it builds with unstable features of a stable compiler.
compile() { (export RUSTC_BOOTSTRAP=1; cd "$build" && eval "$command --emit=metadata=$TOP/.build/host/compile_fail.rmeta \"$TOP/$1\""); }

# Every reason must be in what the compiler says.
refused() {
	local reason
	if said=$(compile "$1" 2>&1); then
		said="it compiles"
		return 1
	fi
	while read -r reason; do
		grep -qE "$reason" <<<"$said" || return 1
	done < <(sed -n 's,^// expect: ,,p' "$1")
	grep -q '^// expect: ' "$1"
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
	*/control.rs) said=$(compile "$file" 2>&1) || verdict='not ok' ;;
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
