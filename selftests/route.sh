#!/bin/busybox sh
# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=dash disable=SC1091
#
# Route timers from outside. Faults: wakes without work, a timer that is lost among many or late, a list
# that does not agree with the count, an add without memory that loses what was armed, a queue that
# outlives its module.

. /lib.sh
ktap_plan 41

tree=/sys/kernel/debug/softclock
queues=$tree/route/queues
entries=$tree/route/entries
of() { value "$1" client=softclock_routes "name=$2" <$queues; }
listed() { grep -c "^entry .*client=$1 " $entries; }
said() { dmesg | sed -n "s/.*softclock_routes: $1/\1/p" | tail -n 1; }

insmod /softclock.ko || ktap_bail "softclock.ko does not load"
header='^format=1 abi=[0-9a-f]\{16\} now_ns=[0-9]\{1,\}$'
t "queues and entries begin with format, abi and time" sh -c "
	head -n 1 $queues | grep -qx '$header' && head -n 1 $entries | grep -qx '$header'"
t "without clients there are no records" equal "1 1" "$(wc -l <$queues) $(wc -l <$entries)"
t "only root reads" equal "-r-------- -r--------" "$(stat -c %A $queues) $(stat -c %A $entries)"

# --- the list and the count -----------------------------------------------------------------------
insmod /softclock_routes.ko n=5000 refresh=1 || ktap_bail "softclock_routes.ko does not load"
t "rt_timer-24 the list is as long as the count" equal "5000 5000" "$(of count routes) $(listed softclock_routes)"
record='^queue id=[0-9]* client=softclock_routes name=routes ctx=soft state=armed timeout_ns=600000000000 count=5000 wake_ns=[0-9]* in_ns=[0-9]* added=5000 fired=0 replaced=0 removed=0 refreshed=[0-9]* wakes=0 slices=0 batch_max=0$'
t "a queue has the documented form" equal 1 "$(grep -c "$record" $queues)"
record="^entry queue=$(of id routes) client=softclock_routes name=note ctx=soft state=armed due_ns=[0-9]* in_ns=[0-9]* fired=0\$"
t "an entry has the documented form" equal 5000 "$(grep -c "$record" $entries)"
dues() { sed -n 's/^entry .* due_ns=\([0-9]*\) .*/\1/p' "$1" | sort | md5sum; }
dd if=$entries of=/tmp/small bs=100 2>/dev/null
t "reads of 100 bytes show the same entries" equal "$(dues $entries)" "$(dues /tmp/small)"
# Fault: a reader is shown what is made while it reads, and never ends where that is faster.
exec 4<$queues 5<$entries
for fd in 4 5; do dd bs=10 count=1 <&$fd >/dev/null 2>&1; done
insmod /route_expiry.ko || ktap_bail "route_expiry.ko does not load"
cat <&4 >/tmp/begun
cat <&5 >>/tmp/begun
exec 4<&- 5<&-
rmmod route_expiry
t "what comes while they are read is not waited for" equal "5000 0" \
	"$(grep -c '^entry .*client=softclock_routes ' /tmp/begun) $(grep -c client=route_expiry /tmp/begun)"

# --- none for empty queues, one for others --------------------------------------------------------
armed() { grep "^callout .*client=softclock_routes .*state=armed" $tree/callouts | grep -c "name=$1 "; }
t "rt_timer-29 a queue has one callout, however many timers" equal 1 "$(armed routes)"
t "rt_timer-28 an empty queue has none" equal "0 0" "$(armed empty) $(of wakes empty)"
sleep 2
t "rt_timer-28 an empty queue does not wake, nor does one that is not due" equal "0 0" "$(of wakes empty) $(of wakes routes)"
rmmod softclock_routes
t "dropped: none of them runs" equal 0 "$(said 'runs \([0-9]*\) .*')"
gone() { equal "1 1" "$(wc -l <$queues) $(wc -l <$entries)"; }
t "they go with their client" wait_for 60 gone

# --- how timers end --------------------------------------------------------------------------------
# Faults: an end that is counted as another one, or with the queue that the timer went to.
insmod /softclock_routes.ko n=10 moved=3 removed=2 || ktap_bail "softclock_routes.ko does not load"
ends() { echo "$(of count "$1") $(of added "$1") $(of fired "$1") $(of replaced "$1") $(of removed "$1")"; }
t "of ten timers three are replaced by an add to another queue, and two are removed" equal "5 10 0 3 2" "$(ends routes)"
t "to the other queue the three are new" equal "3 3 0 0 0" "$(ends other)"
rmmod softclock_routes
t "they go with their client, wherever they were" wait_for 60 gone

# --- many ------------------------------------------------------------------------------------------
# All are due at once when the last was added, however long that takes.
n=100000
case $SC_GUEST in uml-kasan | dbg-*) n=10000 ;; esac
insmod /softclock_routes.ko n=$n then_ms=0 || ktap_bail "softclock_routes.ko does not load"
fired() { [ "$(of fired routes)" = $n ]; }
t "rt_timer-27 a crowd of timers with one timeout: all run" wait_for 60 fired
t "rt_timer-27 in slices, none with more than 8192 actions" sh -c "
	[ $(of slices routes) -ge $((n / 8192)) ] && [ $(of batch_max routes) -le 8192 ]"
t "an empty queue has no callout, emptied or never filled" equal "0 0" "$(armed routes) $(armed empty)"
rmmod softclock_routes
last() { dmesg | sed -n 's/.*softclock_routes: runs \([0-9]*\) early \([0-9]*\) back \([0-9]*\) .*/\1 \2 \3/p' | tail -n 1; }
t "rt_timer-3 each once, none early, none out of order" equal "$n 0 0" "$(last)"

n=10000
insmod /softclock_routes.ko n=$n refresh=3 then_ms=0
t "refreshed in another order: all run" wait_for 60 fired
t "refreshed in another order: one place for each, however often refreshed" sh -c "
	[ $(of refreshed routes) -ge $((n / 2)) ] && [ $(of refreshed routes) -le $n ]"
rmmod softclock_routes
t "refreshed in another order: none early, none out of order" equal "$n 0 0" "$(last)"

for end in 1 2; do
	runs=0
	[ $end = 1 ] || runs=$n
	insmod /softclock_routes.ko n=$n refresh=1 end=$end
	rmmod softclock_routes
	t "rt_timer-1$((end + 3)) a crowd is destroyed, with $runs actions" equal "$n" "$(said 'destroyed \([0-9]*\) .*')"
	t "rt_timer-1$((end + 3)) with end=$end each that runs runs once, in order" equal "$runs 0 0" "$(last)"
done

# --- the clock on the wall -------------------------------------------------------------------------
insmod /softclock_routes.ko n=10
date -s "2031-01-01 00:00:00" >/dev/null
sleep 1
t "rt_timer-32 a jump of the wall clock ahead fires nothing" equal 0 "$(of fired routes)"
rmmod softclock_routes
insmod /softclock_routes.ko n=10 timeout_ms=1000
date -s "2001-01-01 00:00:00" >/dev/null
ten() { [ "$(of fired routes)" = 10 ]; }
t "rt_timer-32 a jump back holds up nothing" wait_for 60 ten
rmmod softclock_routes
# Where a clock runs on while the machine under it does something else, late says nothing.
prompt() {
	[ "$SC_GUEST" = uml-tt ] || { echo "its time is not simulated"; return 4; }
	test "$(said 'runs 10 .* late_max_ns \([0-9]*\)')" -le 131072
}
t "rt_timer-1 an action is late by two granules at most" prompt

# --- no memory -------------------------------------------------------------------------------------
# fails_at N: the Nth allocation that may not wait fails, in the unload.
fails_at() {
	insmod /softclock_routes.ko n=1 end=5
	dmesg -c >/dev/null
	sh -c "echo $1 >/proc/self/fail-nth; exec rmmod softclock_routes"
}
# A kernel that looks for leaks makes an allocation of its own with each, now and then in a new page.
second_fails() {
	local nth tries=2
	[ ! -e /sys/kernel/debug/kmemleak ] || tries="3 4 5 6"
	for nth in $tries; do
		fails_at "$nth"
		! heard 'second add: ENOMEM, the first still armed: true' || return 0
	done
	return 1
}
# Where the kernel does not know the names of errors, it is 12.
heard() { dmesg | sed 's/Error(12)/ENOMEM/' | grep -q "softclock_routes: $1"; }
if [ -e /proc/self/fail-nth ] && [ -e /sys/kernel/debug/failslab ]; then
	echo 0 >/sys/kernel/debug/failslab/verbose
	fails_at 1
	t "rt_timer-25 without memory a first add is refused, and nothing has changed" heard 'first add: ENOMEM, 0 more'
	t "rt_timer-25 the next one is not" heard 'second add: New'
	t "rt_timer-26 without memory for a second timer the first stays armed" second_fails
	t "rt_timer-26 and it is refreshed without memory" heard 'again: Refreshed'
else
	for name in "rt_timer-25 without memory a first add is refused, and nothing has changed" \
		"rt_timer-25 the next one is not" \
		"rt_timer-26 without memory for a second timer the first stays armed" \
		"rt_timer-26 and it is refreshed without memory"; do
		skip "$name" "this kernel injects no failures"
	done
fi

# --- what a driver forgets -------------------------------------------------------------------------
rmmod softclock
forgetful on
insmod /softclock.ko || ktap_bail "softclock.ko does not load again"
insmod /softclock_routes.ko n=1000 end=3
t "a module that forgets queues and routes can be unloaded" rmmod softclock_routes
named() { dmesg | grep -c "softclock: client softclock_routes left route queue $1 (id [0-9]*, 1 timers) behind"; }
t "each queue is named in the log" equal "1 1" "$(named forgotten) $(named forgotten-too)"
t "nothing of it is listed any more" gone
t "the client's record says so" equal 2 "$(value leaked name=softclock_routes <$tree/clients)"
insmod /softclock_routes.ko n=1000 end=4
t "forgotten queues alone, too" rmmod softclock_routes
t "no callout is named: they are the queues'" fails sh -c 'dmesg | grep -q "softclock_routes left callout"'
forgetful off
# --- two CPUs --------------------------------------------------------------------------------------
ms=3000
case $SC_GUEST in
uml-smp) ms=30000 ;;
amd64 | rt) ms=10000 ;;
esac
insmod /softclock_route_race.ko ms=$ms && rmmod softclock_route_race
diag "$(dmesg | sed -n 's/.*softclock_route_race: //p')"
t "rt_timer-33 every add ends in exactly one of run, replaced, removed, destroyed, dropped" equal "0 0 0 0 0" \
	"$(dmesg | sed -n 's/.*softclock_route_race: lost \([-0-9]*\) wrong \([0-9]*\) early \([0-9]*\) overlaps \([0-9]*\) dropped_in_run \([0-9]*\)/\1 \2 \3 \4 \5/p')"
rmmod softclock
