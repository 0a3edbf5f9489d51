#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Usage: selftests/fuzz.sh [--long | --keep | --planted]
#
# libFuzzer searches for bytes that the kernel must not be given: as an answer to an inquiry, as a line of
# control, as a message of rtnetlink. It is guided by which code of rust/policy is executed, begins with
# selftests/host/esi/{corpus,fuzz/seeds}, and fails by a panic or by what fuzz/fuzz_targets/ holds against.
#
# --long tries 10^9 answers, and plants one fault for each target, which must be found from no seeds at all;
# --planted does only that. --keep puts what was found and leads somewhere new into the seeds.

set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/../scripts/lib.sh"

if [ "${SOFTCLOCK_INSIDE:-}" != 1 ]; then
	"$TOP/scripts/setup" crates
	exec "$TOP/scripts/enter" selftests/fuzz.sh "$@"
fi

cd "$TOP"
OUT=$TOP/.build/fuzz
FUZZ=selftests/host/esi/fuzz
TARGETS=(message command netlink)
mode=${1:-}
case $mode in '' | --long | --keep | --planted) ;; *)
	die "selftests/fuzz.sh does not know $mode" "selftests/fuzz.sh [--long | --keep | --planted]" ;;
esac

# runs_of TARGET: in a short run a few seconds each.
runs_of() {
	case $mode$1 in
	--longmessage) echo 1000000000 ;;
	--long*) echo 100000000 ;;
	*) echo 2000000 ;;
	esac
}

# What cargo-fuzz asks of the compiler, less a sanitizer: there is no unsafe code in rust/policy.
flags() {
	local part
	printf -- '-Cpasses=sancov-module --cfg fuzzing -Aunused_imports'
	for part in level=4 inline-8bit-counters pc-table trace-compares; do
		printf -- ' -Cllvm-args=-sanitizer-coverage-%s' "$part"
	done
}

# build TREE INTO: its programs. With --target what only builds is not instrumented.
build() {
	CC=clang CXX=clang++ RUSTFLAGS=$(flags) cargo_offline "$OUT/home" build --quiet \
		--manifest-path "$1/$FUZZ/Cargo.toml" --target x86_64-unknown-linux-gnu --target-dir "$2" \
		>"$OUT/build.log" 2>&1 || {
		cat "$OUT/build.log" >&2
		die "the fuzz targets do not build" "read .build/fuzz/build.log"
	}
}
# program TARGET [INTO]
program() { echo "${2:-$OUT}/x86_64-unknown-linux-gnu/release/$1"; }

# unhex DIR: a file in DIR for each line of hexadecimal digits.
unhex() {
	DIR=$1 perl -ne 'next if /^#/; chomp; open my $file, ">", "$ENV{DIR}/seed-$." or die; print $file pack("H*", $_)'
}

# seeds TARGET DIR: the samples, and what earlier searches have found.
seeds() {
	local sample
	rm -rf "$2"
	mkdir -p "$2"
	unhex "$2" <"$FUZZ/seeds/$1.hex"
	[ "$1" = message ] || return 0
	for sample in selftests/host/esi/corpus/*.hex; do
		sed '/^#/d; /^expect /d' "$sample" | tr -d ' \n' |
			perl -0777 -ne 'print pack("H*", $_)' >"$2/$(basename "$sample" .hex)"
	done
}

# search PROGRAM RUNS FOUND SEEDS...: libFuzzer; what is new goes to FOUND.
search() {
	local program=$1 runs=$2 target=${1##*/}
	local dict=$FUZZ/$target.dict
	shift 2
	mkdir -p "$1"
	[ ! -e "$dict" ] || set -- -dict="$TOP/$dict" "$@"
	"$program" -runs="$runs" -seed="${FUZZ_SEED:-1}" -max_len=700 \
		-print_final_stats=1 -artifact_prefix="$OUT/$target-" "$@" >"$OUT/$target.log" 2>&1
}

# complete TARGET RUNS: the search has tried that many, and the seeds alone lead to many places: where the
# code is not instrumented they lead to none.
complete() {
	awk -v runs="$2" '
	/INITED/ { for (i = 1; i < NF; i++) if ($i == "ft:") begun = $(i + 1) }
	/number_of_executed_units/ { tried = $2 }
	END { exit !(tried >= runs && begun > 100) }' "$OUT/$1.log"
}

hunt() {
	local target=$1 runs
	runs=$(runs_of "$target")
	rm -rf "$OUT/new-$target"
	seeds "$target" "$OUT/seeds-$target"
	search "$(program "$target")" "$runs" "$OUT/new-$target" "$OUT/seeds-$target" && complete "$target" "$runs"
}

keep() {
	local target=$1 all=$OUT/all-$1
	rm -rf "$all"
	mkdir -p "$all"
	"$(program "$target")" -merge=1 -artifact_prefix="$OUT/" "$all" "$OUT/seeds-$target" "$OUT/new-$target" >"$OUT/merge.log" 2>&1
	{
		echo "# SPDX-License-Identifier: GPL-2.0"
		for file in "$all"/*; do perl -0777 -ne 'print unpack("H*", $_), "\n"' "$file"; done | sort -u
	} >"$FUZZ/seeds/$target.hex"
}

# One fault for each target: FILE@TEXT@what it becomes.
planted() {
	case $1 in
	message) echo 'pdu/tlv.rs@rest.split_at_checked(length)@Some(rest.split_at(length))' ;;
	command) echo 'command.rs@digits(word, count)?.saturating_mul(unit_ns)@digits(word, count)? * unit_ns' ;;
	netlink) echo 'rtnl/attr.rs@bytes.get(HEADER..len)?@&bytes[HEADER..len]' ;;
	esac
}

# Whether the search finds it, without a seed.
finds() {
	local target=$1 tree=$OUT/planted file from to
	IFS=@ read -r file from to < <(planted "$target")
	rm -rf "$tree/rust" "$tree/selftests"
	mkdir -p "$tree/rust" "$tree/selftests/host"
	cp -r rust/policy "$tree/rust/"
	cp -r selftests/host/esi "$tree/selftests/host/"
	FROM=$from TO=$to perl -0pi -e '$n = s/\Q$ENV{FROM}\E/$ENV{TO}/g; END { exit($n != 1) }' \
		"$tree/rust/policy/$file" || die "$file does not have the text of the planted fault once" "see selftests/fuzz.sh"
	build "$tree" "$tree/target"
	rm -rf "$OUT/none"
	! search "$(program "$target" "$tree/target")" 50000000 "$OUT/none" && grep -q 'panicked at' "$OUT/$target.log"
}

mkdir -p "$OUT"
echo "KTAP version 1"
[ -z "${KTAP_NAME:-}" ] || echo "# Subtest: $KTAP_NAME"
names=() verdicts=()
judge() {
	local name=$1
	shift
	names+=("$name")
	if "$@"; then verdicts+=(ok); else verdicts+=("not ok"); sed 's/^/# /' "$OUT/${*: -1}.log" | tail -n 40; fi
}
if [ "$mode" != --planted ]; then
	build "$TOP" "$OUT"
	for target in "${TARGETS[@]}"; do judge "esi-36 no bytes break the reader: $target" hunt "$target"; done
	# What breaks it belongs to the samples, with a name.
	if [ "$mode" = --keep ] && [[ " ${verdicts[*]} " != *" not "* ]]; then for target in "${TARGETS[@]}"; do keep "$target"; done; fi
fi
case $mode in --long | --planted)
	for target in "${TARGETS[@]}"; do judge "a planted fault is found: $target" finds "$target"; done ;;
esac
echo "1..${#names[@]}"
for ((i = 0; i < ${#names[@]}; i++)); do echo "${verdicts[i]} $((i + 1)) ${names[i]}"; done
[[ " ${verdicts[*]} " != *" not "* ]]
