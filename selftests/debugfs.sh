#!/bin/busybox sh
# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=dash disable=SC1091
#
# What an operator reads. Faults: a record missing or shown twice, a file that changes with the size
# of the read, a module that leaves under an open file (an Oops when it is closed).

. /lib.sh
ktap_plan 21

tree=/sys/kernel/debug/softclock
N=10000
ids() { sed -n 's/^callout id=\([0-9]*\) .*/\1/p' "$1"; }
# The ids as read in one way, to compare with another.
sum() { ids "$1" | md5sum; }

insmod /softclock.ko || ktap_bail "softclock.ko does not load"
header='^format=1 abi=[0-9a-f]\{16\} now_ns=[0-9]\{1,\}$'
t "callouts begins with format, abi and time" sh -c "head -n 1 $tree/callouts | grep -qx '$header'"
t "clients begins with format, abi and time" sh -c "head -n 1 $tree/clients | grep -qx '$header'"
t "without clients there are no records" equal "1 1" "$(wc -l <$tree/callouts) $(wc -l <$tree/clients)"
t "only root reads" equal "-r-------- -r--------" \
	"$(stat -c %A $tree/callouts) $(stat -c %A $tree/clients)"
t "nobody writes" fails sh -c "echo x >$tree/callouts"

count='[0-9]\{1,\}'
cpu="^cpu cpu=$count linked=0 fired=$count tombstones=$count moved=$count wakes=$count slices=$count batch_max=$count slice_max_ns=$count kicks=$count late_max_ns=$count\$"
t "the record of a wheel has the documented form" equal 0 "$(sed 1d $tree/cpus | grep -vc "$cpu")"
insmod /softclock_many.ko n=$N || ktap_bail "softclock_many.ko does not load"
cat $tree/callouts >/tmp/all
t "each of $N callouts is listed" equal $N "$(ids /tmp/all | wc -l)"
t "each once, in ascending order" sh -c "
	sed -n 's/^callout id=\([0-9]*\) .*/\1/p' /tmp/all | sort -n -u >/tmp/sorted
	sed -n 's/^callout id=\([0-9]*\) .*/\1/p' /tmp/all | cmp - /tmp/sorted"
record='^callout id=[0-9]* client=softclock_many name=one ctx=soft class=wheel state=armed cpu=[0-9]* due_ns=[0-9]* in_ns=[0-9]* fired=0$'
t "every record has the documented form" equal $N "$(grep -c "$record" /tmp/all)"
dd if=$tree/callouts of=/tmp/small bs=100 2>/dev/null
t "reads of 100 bytes show the same callouts" equal "$(sum /tmp/all)" "$(sum /tmp/small)"
# shellcheck disable=SC2094
# Two files at once, each with a place of its own.
{ head -c 5000 <&4 >/tmp/a4; cat $tree/callouts >/tmp/a5; cat <&4 >>/tmp/a4; } 4<$tree/callouts
t "two readers do not disturb each other" equal "$(sum /tmp/all) $(sum /tmp/all)" "$(sum /tmp/a4) $(sum /tmp/a5)"
# Fault: a reader is shown what is made while it reads, and never ends where that is faster.
exec 4<$tree/callouts 5<$tree/clients
for fd in 4 5; do dd bs=10 count=1 <&$fd >/dev/null 2>&1; done
insmod /heartbeat.ko || ktap_bail "heartbeat.ko does not load"
cat <&4 >/tmp/begun
cat <&5 >>/tmp/begun
exec 4<&- 5<&-
rmmod heartbeat
t "what comes while they are read is not waited for" equal "$N 0" "$(ids /tmp/begun | wc -l) $(grep -c heartbeat /tmp/begun)"
t "the client's record counts them" equal $N "$(value objects name=softclock_many <$tree/clients)"
rmmod softclock_many
t "they go with their client" equal 0 "$(ids $tree/callouts | wc -l)"

insmod /softclock_counts.ko || ktap_bail "softclock_counts.ko does not load"
counts() {
	grep " name=$1 " $tree/callouts | sed 's/.* class=precise \(state=[a-z]*\) \(armed=.*\) late_max_ns=.*/\1 \2/'
}
t "a callout that ran three times says so" \
	equal "state=idle armed=3 fired=3 cancelled=0 refused=0" "$(counts thrice)"
t "one that was armed four times and stopped twice says so" \
	equal "state=idle armed=4 fired=0 cancelled=1 refused=0" "$(counts stopped)"
t "one that was shut down and armed twice after that says so" \
	equal "state=shut armed=1 fired=0 cancelled=1 refused=2" "$(counts shut)"
t "what was stopped or shut down is in no queue of the kernel" fails grep -q softclock /proc/timer_list
rmmod softclock_counts

insmod /heartbeat.ko
# Its clocks 0 to 3 expire in the hard interrupt, 4 to 7 in the softirq.
in_softirq() {
	awk '/^ clock [0-9]/ { clock = $2 + 0 } /softclock/ { seen = 1; if (clock < 4) hard = 1 }
		END { exit !seen || hard }' /proc/timer_list
}
# While the wheel is walked none is queued.
t "callouts expire in the softirq, says the kernel" wait_for 10 in_softirq
rmmod heartbeat

exec 5<$tree/callouts
t "an open file keeps softclock loaded" fails rmmod softclock
read -r first <&5
exec 5<&-
t "read and closed, it lets go" sh -c "echo '$first' | grep -q '^format=1' && rmmod softclock"
