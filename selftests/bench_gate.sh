#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# The check of the cost goals, tried with made-up rows. Faults: a goal that is missed and passes, one
# that is met and fails, one that nobody measured and passes; two runs that differ and pass; outputs that lack
# something and pass.

set -euo pipefail
cd "$(dirname -- "${BASH_SOURCE[0]}")/.."
out=.build/host/bench_gate
mkdir -p "$out"
controls=0 results='' status=0 options=()

# A row is "FACILITY OP N INSTRUMENT VALUE [P99]"; its other fields are the value.
json() {
	local row sep='' f o n i v p
	printf '{"format": 1, "rows": ['
	for row; do
		read -r f o n i v p <<<"$row"
		printf '%s{"facility": "%s", "op": "%s", "n": %s, "instrument": "%s", ' "$sep" "$f" "$o" "$n" "$i"
		printf '"value": %s, "min": %s, "p50": %s, "p99": %s, "max": %s}' "$v" "$v" "$v" "${p:-$v}" "$v"
		sep=,
	done
	printf ']}'
}

# control NAME STATUS REGEX GATE ROW...: the check of GATE against the rows ends with STATUS and says
# REGEX.
control() {
	local name=$1 want=$2 says=$3 gate=$4 rc=0 verdict=ok
	shift 4
	printf '# a comment\n\n%b\n' "$gate" >"$out/gates.tsv"
	json "$@" >"$out/rows.json"
	scripts/bench-report gates ${options[@]+"${options[@]}"} "$out/rows.json" "$out/gates.tsv" >"$out/said" 2>&1 || rc=$?
	controls=$((controls + 1))
	if [ "$rc" != "$want" ] || ! grep -qE "$says" "$out/said"; then
		verdict='not ok' status=1
		results+=$(echo "# status $rc, wanted $want and '$says'"; sed 's/^/# /' "$out/said")$'\n'
	fi
	results+="$verdict $controls bench_gate $name"$'\n'
}

# refused NAME GATE: a line of the goals that cannot be read is an error, not a goal that is met.
refused() { control "$1" 1 'not a goal' "$2" "callout stop 1000 icount 1"; }

stop='stop * icount value'
control "a figure that is met passes" 0 '^ok 1 ' "$stop <=30 1" \
	"callout stop 1000 icount 30"
control "within the tolerance passes" 0 '^ok 1 ' "$stop <=30 1" \
	"callout stop 1000 icount 30.29"
control "beyond the tolerance fails" 1 'N 1000: 30.31, not <= 30' "$stop <=30 1" \
	"callout stop 1000 icount 30.31"
control "one bad row among good ones fails" 1 'N 100000: 40, ' "$stop <=30 1" \
	"callout stop 1000 icount 10" "callout stop 100000 icount 40" "callout stop 1000000 icount 10"
control "the case that it shows is in its name" 0 '^ok 1 callout-41 stop ' "$stop <=30 1 case=callout-41" \
	"callout stop 1000 icount 30"
control "a zero that must be one" 1 'N 1000: 1, not <= 0' "early * icount value <=0 0" \
	"callout early 1000 icount 1"
control "never less" 1 'N 10: -1, not >= 0' "late * icount min >=0 0" \
	"callout late 10 icount -1"
control "a goal without rows fails" 1 'it names no row' "$stop <=30 1" \
	"callout drain 1000 icount 1"
control "a goal without rows of its N fails" 1 'it names no row' "stop 1000000 icount value <=30 1" \
	"callout stop 1000 icount 1"
control "from an N on: those below do not count" 0 '^ok 1 ' "stop 1000+ icount value <=30 1" \
	"callout stop 1 icount 99" "callout stop 1000 icount 10"
control "from an N on: that one counts" 1 'N 1000: 99' "stop 1000+ icount value <=30 1" \
	"callout stop 1 icount 10" "callout stop 1000 icount 99"
control "another instrument's row does not count" 1 'it names no row' "$stop <=30 1" \
	"callout stop 1000 uml-smp 1" "callout drain 1000 icount 1"
control "an instrument that was not run is skipped" 0 '^ok 1 .*# SKIP uml-tt' \
	"late * uml-tt p99 <=70000 0" "callout stop 1000 icount 1"
control "the kernel's own row is no row of ours" 1 'it names no row' "$stop <=30 1" \
	"hrtimer stop 1000 icount 1"
control "better than the kernel's passes" 0 '^ok 1 ' "$stop <1.00*hrtimer/stop 0" \
	"callout stop 1000 icount 190" "hrtimer stop 1000 icount 191"
control "as dear as the kernel's fails" 1 'N 1000: 191, not < 191' "$stop <1.00*hrtimer/stop 0" \
	"callout stop 1000 icount 191" "hrtimer stop 1000 icount 191"
control "the kernel's row of another N does not count" 1 'a row that is missing' \
	"$stop <1.00*hrtimer/stop 0" "callout stop 1000 icount 1" "hrtimer stop 10000 icount 191"
control "the kernel's row of another instrument does not count" 1 'a row that is missing' \
	"$stop <1.00*hrtimer/stop 0" "callout stop 1000 icount 1" "hrtimer stop 1000 uml-smp 191"
control "so much more than another passes" 0 '^ok 1 ' "$stop <=30+2.00*hrtimer/stop 0" \
	"callout stop 1000 icount 430" "hrtimer stop 1000 icount 200"
control "more than that fails" 1 'N 1000: 431, not <= 430' "$stop <=30+2.00*hrtimer/stop 0" \
	"callout stop 1000 icount 431" "hrtimer stop 1000 icount 200"
control "so much more than a row that is missing fails" 1 'a row that is missing' \
	"$stop <=30+2.00*hrtimer/stop 0" "callout stop 1000 icount 1"
control "flat passes" 0 '^ok 1 ' "stop 10000+ icount value <=1.03*@1000 0" \
	"callout stop 1000 icount 100" "callout stop 1000000 icount 103"
control "a cost that grows fails" 1 'N 1000000: 104, not <= 103' \
	"stop 10000+ icount value <=1.03*@1000 0" \
	"callout stop 1000 icount 100" "callout stop 1000000 icount 104"
control "of two goals the bad one fails" 1 '^not ok 2 ' "$stop <=30 1\nstop * icount p99 <=20 0" \
	"callout stop 1000 icount 25"
control "of two goals the bad one fails, also before a good one" 1 '^ok 2 ' \
	"$stop <=20 1\nstop * icount p99 <=30 0" "callout stop 1000 icount 25"
control "a field is held against the same field" 1 'N 1000: 25, not < 20' \
	"stop * icount p99 <1.00*hrtimer/stop 0" \
	"callout stop 1000 icount 10 25" "hrtimer stop 1000 icount 30 20"
control "a goal that is missed as is known passes, and says so" 0 '40, not <= 30, as is known' \
	"$stop <=30 1 held=40" "callout stop 1000 icount 40"
control "missed as is known, within the tolerance" 0 '^ok 1 ' "$stop <=30 1 held=40" \
	"callout stop 1000 icount 40.39"
control "missed by more than is known fails" 1 'N 10: 40.41, not <= 30, nor <= 40' "$stop <=30 1 held=40" \
	"callout stop 1000 icount 40" "callout stop 10 icount 40.41"
control "a ratio that is missed by more than is known fails" 1 'not < 30, nor < 40' \
	"$stop <1.00*hrtimer/stop 0 held=40" "callout stop 1000 icount 41" "hrtimer stop 1000 icount 30"
control "a goal that is met after all passes, and says so" 0 'need not be held' "$stop <=30 1 held=40" \
	"callout stop 1000 icount 30"
control "one that is held without a row fails" 1 'it names no row' "$stop <=30 1 held=40" \
	"callout drain 1000 icount 1"
refused "a figure to be held at that is none" "$stop <=30 1 held=much"
refused "a word too many" "$stop <=30 1 40"
refused "a line with a word too few" "stop * icount <=30 1"
refused "a relation that is none" "$stop =30 1"
refused "a figure more than nothing" "stop * icount value <=30+*hrtimer/stop 1"
refused "a field that is none" "stop * icount mean <=30 1"
refused "a limit that is no figure" "$stop <=hrtimer/stop 1"
control "no goals at all fail" 1 '^1\.\.0' "# nothing" "callout stop 1000 icount 1"

# counted DIR ROW...: what a run in a guest has left.
counted() {
	local row
	mkdir -p "$out/$1"
	for row in "${@:2}"; do echo "row $row"; done >"$out/$1/results.ktap"
}

# twice NAME STATUS REGEX: the goals are met, and both runs compared.
twice() {
	options=(--twice "$out/first" "$out/again")
	control "$1" "$2" "$3" "$stop <=30 1" "callout stop 1000 icount 30"
	options=()
}

counted first "callout stop 1000 20000 0 16.01 16 16 16 20" "callout late 1 400 0 9.00 9 9 9 9" \
	"callout storm_gap 1000 1 0 5.00 5 5 5 5"
counted again "callout stop 1000 20000 0 16.02 16 16 16 99" "callout late 1 400 0 8.00 8 8 8 8" \
	"callout storm_gap 1000 1 0 6.00 6 6 6 6"
twice "counted twice and the same passes, times apart" 0 '^ok 2 bench: what was counted twice'
counted again "callout stop 1000 20000 0 16.01 16 17 17 20"
twice "another middle fails" 1 'middle 16.0 and 17.0'
counted first "callout later_at 1000 20000 0 34.00 34 34 34 34"
counted again "callout later_at 1000 20000 0 35.00 35 35 35 35"
twice "a re-arm is counted, and no time" 1 'later_at.*middle 34.0 and 35.0'
counted first "callout stop 1000 20000 0 16.01 16 16 16 20" "callout late 1 400 0 9.00 9 9 9 9" \
	"callout storm_gap 1000 1 0 5.00 5 5 5 5"
counted again "callout stop 1000 20000 0 16.90 16 16 16 20"
twice "another mean fails" 1 'mean 16.01 and 16.9,'
counted again "callout drain 1000 20000 0 16.01 16 16 16 20"
twice "what only one of them has fails" 1 'only the second run has it'
counted again
twice "a second run that counted nothing fails" 1 'again has counted nothing'

# A whole result, as `rows` makes it: two N of each operation that is plotted, with the kernel's rows.
whole() {
	local op n plain=() rows=()
	for op in stop arm_after later_at sooner_at drain expire; do
		for n in 1 1000; do rows+=("callout $op $n 9 0 9.00 9 9 9 9"); done
	done
	for op in stop arm drain later sooner expire; do
		for n in 1 1000; do plain+=("timer_list $op $n 9 0 9.00 9 9 9 9" "delayed_work $op $n 9 0 9.00 9 9 9 9"); done
	done
	for op in stop arm_after drain later_at sooner_at expire; do
		for n in 1 1000; do plain+=("hrtimer $op $n 9 0 9.00 9 9 9 9"); done
	done
	counted icount "periodic delete 1 1 0 9.00 9 9 9 9" "${rows[@]}" "${plain[@]}"
	SC_BENCH=$out/whole scripts/bench-report rows "icount=$out/icount" >"$out/table"
}

# spoilt NAME STATUS REGEX COMMAND...: the outputs after COMMAND.
spoilt() {
	local rc=0 verdict=ok
	whole
	"${@:4}"
	scripts/bench-report gates --outputs "$out/whole" "$out/whole.json" "$out/gates.tsv" >"$out/said" 2>&1 || rc=$?
	controls=$((controls + 1))
	if [ "$rc" != "$2" ] || ! grep -qE "$3" "$out/said"; then
		verdict='not ok' status=1
		results+=$(echo "# status $rc, wanted $2 and '$3'"; sed 's/^/# /' "$out/said")$'\n'
	fi
	results+="$verdict $controls bench_gate $1"$'\n'
}

printf 'stop * icount value <=30 1\n' >"$out/gates.tsv"
svg=$out/whole-icount.svg
spoilt "whole outputs pass" 0 '^ok 4 .*the plot of icount' true
spoilt "JSON that is cut fails" 1 'JSONDecodeError' truncate -s -9 "$out/whole.json"
spoilt "a row without its unit fails" 1 'callout stop 1 has no unit' \
	sed -i '/"op": "stop"/,/"unit"/{/"unit"/d}' "$out/whole.json"
spoilt "a row without its goals fails" 1 'has no gate' sed -i 's/"gate"/"gates"/' "$out/whole.json"
spoilt "a row without the kernel's fails" 1 "has no the kernel's row" sed -i 's/"baseline": \[/&], "other": [/' "$out/whole.json"
spoilt "a facility without rows fails" 1 'icount has no periodic' sed -i 's/"periodic"/"callout"/' "$out/whole.json"
spoilt "a plot that is missing fails" 1 'No such file' rm -f "$svg"
spoilt "a plot that is no XML fails" 1 'whole-icount.svg: ' truncate -s -9 "$svg"
spoilt "a plot that lacks a line fails" 1 'has 5 lines of callout, not 6' sed -i '0,/<title>callout</s//<title>nobody</' "$svg"
spoilt "a plot that lacks a panel fails" 1 'has no panel drain' sed -i 's/>drain</>train</' "$svg"

# Those of the project, at least, can be read.
control "the project's goals are goals" 1 '^not ok .*stop' "$(grep -v '^#' selftests/bench/gates.tsv)" \
	"callout stop 1000 icount 1000"

echo "KTAP version 1"
[ -z "${KTAP_NAME:-}" ] || echo "# Subtest: $KTAP_NAME"
echo "1..$controls"
printf '%s' "$results"
exit $status
