#!/bin/busybox sh
# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=dash disable=SC1091
#
# Periodics as an operator sees them, and those that a driver forgets. Faults: a periodic listed twice or
# not at all, wrong counts; one that outlives its module, or is not named when that leaves.

. /lib.sh
ktap_plan 26

tree=/sys/kernel/debug/softclock
N=10000
get() { value "$@" client=softclock_periodics <$tree/periodics; }
listed() { grep -c "^periodic .* client=$1 " "$2"; }
ids() { sed -n 's/^periodic id=\([0-9]*\) .*/\1/p' "$1"; }
sum() { ids "$1" | md5sum; }
ran() { dmesg | sed -n 's/.*softclock_periodics: \(ran .*\)/\1/p' | tail -n 1; }
# clean: of the last module that has left.
clean() { equal "early 0 astray 0 overlaps 0" "$(ran | sed 's/.*\(early .*\)/\1/')"; }

insmod /softclock.ko || ktap_bail "softclock.ko does not load"
header='^format=1 abi=[0-9a-f]\{16\} now_ns=[0-9]\{1,\}$'
t "periodics begins with format, abi and time" sh -c "head -n 1 $tree/periodics | grep -qx '$header'"
t "without clients there are no records" equal 1 "$(wc -l <$tree/periodics)"
t "only root reads" equal "-r--------" "$(stat -c %A $tree/periodics)"
t "nobody writes" fails sh -c "echo x >$tree/periodics"

# --- one of each mode --------------------------------------------------------------------------------
insmod /softclock_periodics.ko n=5 period_us=20000 || ktap_bail "softclock_periodics.ko does not load"
all_fired() { [ "$(get fired | awk '$1 > 2' | wc -l)" = 5 ]; }
t "one of each mode runs" wait_for 10 all_fired
cat $tree/periodics >/tmp/five
record='^periodic id=[0-9]* client=softclock_periodics name=[a-z-]* ctx=[a-z]* class=[a-z]* state=[a-z]* period_ns=20000000 due_ns=[0-9]* in_ns=-\{0,1\}[0-9]* fired=[0-9]* missed=[0-9]* late_max_ns=[0-9]* run_last_ns=[0-9]* run_max_ns=[0-9]*$'
t "periodic-31 every record has the documented form" equal 5 "$(grep -c "$record" /tmp/five)"
t "each says where it runs, and what on" equal "hard precise soft precise soft wheel task precise task wheel" \
	"$(sed -n 's/^periodic .* ctx=\([a-z]*\) class=\([a-z]*\) .*/\1 \2/p' /tmp/five | sort | xargs)"
on_grid() {
	local name first last points
	for name in task soft hard coarse-soft coarse-task; do
		# How far it has come and how often it was called, at one moment.
		first=$(value due_ns "name=$name" </tmp/five)
		cat $tree/periodics >/tmp/later
		last=$(value due_ns "name=$name" </tmp/later)
		points=$(($(value fired "name=$name" </tmp/later) + $(value missed "name=$name" </tmp/later) -
			$(value fired "name=$name" </tmp/five) - $(value missed "name=$name" </tmp/five)))
		[ $(((last - first) % 20000000)) = 0 ] || { echo "$name: off the grid"; return 1; }
		# One more or less, for a run in progress.
		points=$((points - (last - first) / 20000000))
		if [ $points -gt 1 ] || [ $points -lt -1 ]; then
			echo "$name: $points points too many in $((last - first)) ns"
			return 1
		fi
	done
}
sleep 0.5
t "periodic-8 runs and missed points are as many as periods have passed" on_grid
t "each is a callout, too" equal 5 "$(grep -c '^callout .* client=softclock_periodics ' $tree/callouts)"
rmmod softclock_periodics
t "no run was early, off its grid, or began during another" clean
t "periodics go with their client" equal 1 "$(wc -l <$tree/periodics)"

# Fault: a reader is shown what is made while it reads, and never ends where that is faster. Periodics in hard
# and soft interrupts are callouts of the kind that is listed first. Full batches: it looks for more.
insmod /softclock_periodics.ko n=128 soft=1 period_us=1000000 || ktap_bail "softclock_periodics.ko does not load"
exec 4<$tree/periodics 5<$tree/callouts
for fd in 4 5; do dd bs=10 count=1 <&$fd >/dev/null 2>&1; done
insmod /periodic_watchdog.ko || ktap_bail "periodic_watchdog.ko does not load"
cat <&4 >/tmp/periodics
cat <&5 >/tmp/callouts
exec 4<&- 5<&-
rmmod periodic_watchdog
rmmod softclock_periodics
t "what comes while they are read is not waited for" equal "128 0 128 0" \
	"$(listed softclock_periodics /tmp/periodics) $(grep -c watchdog /tmp/periodics) $(grep -c 'client=softclock_periodics ' /tmp/callouts) $(grep -c watchdog /tmp/callouts)"

# --- slow ones ---------------------------------------------------------------------------------------
insmod /softclock_periodics.ko n=1 period_us=2000 busy_us=5000
missing() { [ "$(get missed)" -gt 10 ] && [ "$(get fired)" -gt 3 ]; }
t "periodic-31 a callback that takes several periods has missed some" wait_for 10 missing
# Both from one look: a longer run may come between two.
cp $tree/periodics /tmp/periodics
figure() { value "$1" client=softclock_periodics </tmp/periodics; }
t "periodic-31 its longest run is not shorter than it says" test "$(figure run_max_ns)" -ge 10000000 -a \
	"$(figure run_max_ns)" -ge "$(figure run_last_ns)"
t "a driver unloads in the middle of a callback" rmmod softclock_periodics
t "periodic-9 no run began during another" clean

# --- many --------------------------------------------------------------------------------------------
insmod /softclock_periodics.ko n=$N soft=1 period_us=4000000000 spread=1 || ktap_bail "ten thousand do not load"
cat $tree/periodics >/tmp/all
t "each of $N periodics is listed" equal $N "$(ids /tmp/all | sort -u | wc -l)"
t "each once" equal $N "$(ids /tmp/all | wc -l)"
dd if=$tree/periodics of=/tmp/small bs=100 2>/dev/null
t "reads of 100 bytes show the same periodics" equal "$(sum /tmp/all)" "$(sum /tmp/small)"
rmmod softclock_periodics
t "they go with their client, all of them" equal 1 "$(wc -l <$tree/periodics)"

# --- forgotten ones ----------------------------------------------------------------------------------
# Twenty-four of forty run in interrupts, most of them on one CPU, for 100 us: their periods leave it time
# for others, or the kernel reports a stall.
rmmod softclock
forgetful on
insmod /softclock.ko || ktap_bail "softclock.ko does not load again"
insmod /softclock_periodics.ko n=40 period_us=10000 busy_us=100 forget=1 || ktap_bail "it does not load"
wait_for 10 sh -c "[ \$(grep -c ' fired=0 ' $tree/periodics) = 0 ]"
t "periodic-30 a driver that forgets its periodics can be unloaded" rmmod softclock_periodics
named() { dmesg | grep -c 'softclock: client softclock_periodics left periodic [a-z-]* (id [0-9]*, every 10000000 ns, ran [0-9]* times) behind'; }
t "periodic-30 each of the forty is named in the log" equal 40 "$(named)"
t "none of them is listed any more" equal 1 "$(wc -l <$tree/periodics)"
forgetful off
# Freed text would be executed within ten milliseconds.
sleep 1
t "periodic-30 the client's record says forty leaked" equal 40 "$(value leaked name=softclock_periodics <$tree/clients)"

tidy() {
	for _ in 1 2 3 4 5; do
		insmod /softclock_periodics.ko n=40 period_us=5000 busy_us=100 && sleep 0.05 && rmmod softclock_periodics &&
			clean || return
	done
	equal 40 "$(value leaked name=softclock_periodics <$tree/clients)"
}
t "periodic-30 unloading in the middle of forty callbacks is no leak, five times" tidy

insmod /periodic_watchdog.ko || ktap_bail "periodic_watchdog.ko does not load"
exec 5<$tree/periodics
rmmod periodic_watchdog
read -r first <&5
exec 5<&-
t "a reader may be slower than the client" sh -c "echo '$first' | grep -q '^format=1' && rmmod softclock"
