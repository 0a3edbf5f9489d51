# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=dash
#
# What every guest script sources (busybox ash):
#
#	. /lib.sh
#	ktap_plan 3
#	insmod /softclock.ko		|| ktap_bail "softclock.ko does not load"
#	t "the debugfs tree is there"	test -d /sys/kernel/debug/softclock
#	t "a bad command is refused"	fails sh -c 'echo nonsense >/sys/kernel/debug/softclock/control'
#	ktap_module cases.ko
#
# Output is KTAP; the exit status is kselftest's: 0 passed, 1 failed, 4 skipped. Nobody has to call
# an end function: ktap_plan sets a trap, so a script that stops early fails by its plan.

KSFT_PASS=0 KSFT_FAIL=1 KSFT_SKIP=4

_plan=0 _num=0 _passed=0 _failed=0 _skipped=0
_log=/tmp/.ktap.$$

# ktap_plan N: the header and the number of tests that must follow.
ktap_plan() {
	_plan=$1
	echo "KTAP version 1"
	# A runner that nests this script names it; the parser needs the name to find a short plan.
	[ -z "$KTAP_NAME" ] || echo "# Subtest: $KTAP_NAME"
	echo "1..$_plan"
	trap _ktap_end EXIT
}

# ktap_skip_all WHY: this script has nothing to test here.
ktap_skip_all() {
	echo "KTAP version 1"
	[ -z "$KTAP_NAME" ] || echo "# Subtest: $KTAP_NAME"
	echo "1..0 # SKIP $1"
	exit $KSFT_SKIP
}

# ktap_bail WHY: nothing that follows makes sense.
ktap_bail() {
	echo "Bail out! $1"
	exit $KSFT_FAIL
}

_ktap_end() {
	local rc=$?
	trap - EXIT
	rm -f "$_log" "$_log".*
	[ $_num = "$_plan" ] || echo "# planned $_plan tests, ran $_num"
	[ $rc = 0 ] || [ $_failed != 0 ] || echo "# the script itself ended with status $rc"
	echo "# Totals: pass:$_passed fail:$_failed xfail:0 xpass:0 skip:$_skipped error:0"
	[ $_failed = 0 ] && [ $_num = "$_plan" ] && [ $rc = 0 ] || exit $KSFT_FAIL
	[ $_passed != 0 ] || [ $_skipped = 0 ] || exit $KSFT_SKIP
	exit $KSFT_PASS
}

# A test's name must not look like a directive or a comment to a KTAP parser.
_result() {
	_num=$((_num + 1))
	echo "$1 $_num $(echo "$2" | tr -d '#')${3:+ # $3}"
}

ok()		{ _passed=$((_passed + 1));	_result ok "$1"; }
not_ok()	{ _failed=$((_failed + 1));	_result "not ok" "$1"; return 1; }
skip()		{ _skipped=$((_skipped + 1));	_result ok "$1" "SKIP $2"; }

# diag TEXT...: a line for the reader.
diag() { echo "$*" | sed 's/^/# /'; }

# t NAME COMMAND...: one test, passed when COMMAND returns 0, skipped when it returns 4. COMMAND runs
# in this shell; what it prints is shown when it fails.
t() {
	local name=$1 rc=0
	shift
	"$@" >"$_log" 2>&1 || rc=$?
	case $rc in
	0)		ok "$name" ;;
	"$KSFT_SKIP")	skip "$name" "$(tail -n 1 "$_log")" ;;
	*)		diag "failed with status $rc: $*"
			tail -n 20 "$_log" | sed 's/^/#   /'
			not_ok "$name" ;;
	esac
}

# fails COMMAND...: for t, when a refusal is what is wanted.
fails() {
	! "$@" || { echo "succeeded, though it must not: $*"; return 1; }
}

# equal WANT GOT: for t.
equal() {
	[ "$1" = "$2" ] || { echo "wanted '$1', got '$2'"; return 1; }
}

# gate_expect REGEX: this script makes the kernel print a line that the log gate would refuse.
# The gate then excuses lines with this text, and fails when none comes.
gate_expect() { echo "# gate-expect: $1"; }

# wait_for SECONDS COMMAND...: until COMMAND returns 0, at most that long, and longer in slow guests.
wait_for() {
	local up end
	read -r up _ </proc/uptime
	end=$((${up%.*} + $1 * ${SC_SLOW:-1}))
	shift
	until "$@" >/dev/null 2>&1; do
		read -r up _ </proc/uptime
		[ "${up%.*}" -le $end ] || { echo "gave up waiting for: $*"; return 1; }
		sleep 0.1
	done
}

# forgetful on|off: what is allocated in between is leaked, on purpose, by whoever: a record that a module finds
# there was made when it first came, so softclock is loaded in between, too. Where kmemleak is there it must find
# some of it at the end of the run; that is then no fault. It may find it late, because of old copies of a pointer,
# so what counts is when it was allocated.
forgetful() {
	[ -e /sys/kernel/debug/kmemleak ] || return 0
	[ "$1" = on ] && gate_expect "kmemleak: [0-9]+ new suspected memory leaks"
	sed -n "s/^jiffies: /$1 /p" /proc/timer_list | head -n 1 >>/tmp/.forgetful
}

# leak_scan: what nothing in the kernel points to any more, says kmemleak. Its first scan remembers
# what each object looks like; the second reports those that have not changed and are older than 5 s.
# Read three times, because a reading misses some when others come and go meanwhile.
leak_scan() {
	echo scan >/sys/kernel/debug/kmemleak && sleep 6 && echo scan >/sys/kernel/debug/kmemleak || return
	touch /tmp/.forgetful
	awk 'FILENAME == "/tmp/.forgetful" { if ($1 == "on") on[++n] = $2; else off[n] = $2; next }
		/^unreferenced object/ { head = $0; next }
		head != "" {
			at = $0; sub(/.*, jiffies /, "", at)
			tell = 1
			for (i = 1; i <= n; i++) if (at >= on[i] && (!(i in off) || at <= off[i])) tell = 0
			if (tell) print head
			head = ""
		}
		tell' /tmp/.forgetful /sys/kernel/debug/kmemleak /sys/kernel/debug/kmemleak /sys/kernel/debug/kmemleak
}

# simulated: 1 in a guest whose time costs nothing, where nothing is late but softclock.
simulated() { if [ "$SC_GUEST" = uml-tt ]; then echo 1; else echo 0; fi; }

# value KEY [KEY=VALUE...]: from records on stdin (one a line, key=value words), the value of KEY in
# each record that has all the given words.
value() {
	awk -v key="$1" -v want="$(shift; echo "$*")" '
	BEGIN { n = split(want, must, " ") }
	{
		hit = 0; found = ""
		for (i = 1; i <= NF; i++) {
			for (j = 1; j <= n; j++) if ($i == must[j]) hit++
			if (index($i, key "=") == 1) { found = substr($i, length(key) + 2); has = NR }
		}
		if (hit == n && has == NR) print found
	}'
}

# ktap_module FILE [PARAMETER...]: loads an in-kernel test module, which prints KTAP to the log
# under its own name ("cases: ok 1 ..."), shows that as a subtest, and unloads the module. Passed
# when it loads, every planned test is there and passed or was skipped, and it unloads.
ktap_module() {
	local file=$1 name mark rc=0 bad
	shift
	name=$(basename "$file" .ko)
	file=${file%.ko}.ko
	case $file in /*) ;; *) file=/$file ;; esac
	mark="selftests: $name begins ($_num)"
	echo "$mark" >/dev/kmsg

	insmod "$file" "$@" >"$_log" 2>&1 || { rc=1; diag "insmod $name: $(cat "$_log")"; }
	dmesg | sed "1,/$mark/d" | sed -n "s/^\(\[[^]]*\] *\)*$(echo "$name" | tr - _): //p" >"$_log.sub"
	# The parser knows a subtest by this header; a module may leave it out.
	{
		echo "KTAP version 1"
		echo "# Subtest: $name"
		grep -v -e '^KTAP version' -e '^# Subtest:' "$_log.sub"
	} | sed 's/^/    /'
	[ $rc != 0 ] || rmmod "$name" || { rc=1; diag "rmmod $name failed"; }

	bad=$(_judge "$_log.sub")
	[ -z "$bad" ] || { rc=1; diag "$name: $bad"; }
	if [ $rc = 0 ]; then ok "$name"; else not_ok "$name"; fi
}

# What is wrong with a module's KTAP, or nothing. Nested results are judged by their parent's line.
_judge() {
	awk '
	/^1\.\.[0-9]+/		{ plan = substr($1, 4) + 0; planned = 1 }
	/^ok [0-9]+/		{ seen++ }
	/^not ok [0-9]+/	{ seen++; bad++ }
	/^ *Bail out!/		{ bail = $0 }
	END {
		if (bail != "") print bail
		else if (!planned) print "no plan"
		else if (seen + 0 != plan) print "planned " plan " tests, saw " seen + 0
		else if (plan == 0) print "no tests"
		else if (bad) print bad " failed"
	}' "$1"
}
