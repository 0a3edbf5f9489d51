#!/bin/busybox sh
# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=dash disable=SC1091
# needs: isnsd isnsdd
#
# Peers that nobody here wrote: isnsdd of open-isns is asked by softclock, and by isnsd, about the same entity,
# and what goes over the wire is compared. Then isnsdd is stopped, and goes on in time, or too late, or never.
# Faults: an inquiry that other implementations do not understand; an answer of theirs that is not taken; a
# verdict too early, too late, or wrong.

. /lib.sh
. /openisns.sh
ktap_plan 22

tree=/sys/kernel/debug/softclock tap=/sys/kernel/debug/softclock_tap
EID=disk.example.org:probe

# How late something may be, in milliseconds. On a busy machine it is later now and then, so what is late is
# tried again; what is early is not.
# The log's clock has steps of so many microseconds.
case $SC_GUEST in uml-tt) slack=30 step=10000 ;; *) slack=1000 step=1 ;; esac
TRIES=5

tell() { echo "$*" >$tree/control; }
entity() { value "$1" "eid=$EID" <$tree/liveness/entities; }
portal() { value "$1" "eid=$EID" <$tree/liveness/portals; }
service() { value "$1" name=portal <$tree/liveness/services; }
# register INTERVAL PATIENCE: both in seconds. A new interval begins.
register() { tell "policy patience=${2}s" && tell "register eid=$EID portal=$PORTAL esi=$port/udp interval=$1"; }
probe() { tell "probe eid=$EID"; }
answered() { [ "$(portal answered)" = "$1" ] && equal alive "$(portal verdict)"; }

# --- the wire -----------------------------------------------------------------------------------------
SERVER=4c00 CLIENT=8c00	# senders, as they call themselves; both say first and last PDU
# heard WHAT FLAGS [COUNTED_FROM]: the bytes of each inquiry or answer with these flags, from one on.
heard() { awk -v flags="$2" -v from="${3:-1}" -v what="$1" '
	$1 == what && substr($5, 19, 4) == flags && ++n >= from { print substr($5, 7) }' $tap; }
# at WHAT FLAGS N: when the Nth of these was heard.
at() { awk -v flags="$2" -v nth="$3" -v what="$1" '
	$1 == what && substr($5, 19, 4) == flags && ++n == nth { print substr($2, 7) }' $tap; }
count() { heard "$@" | wc -l; }
at_least() { local n=$1; shift; [ "$(count "$@")" -ge "$n" ]; }
# What is another each time: the transaction id, and the time.
timeless() { sed 's/^\(.\{16\}\)....\(.\{20\}\).\{16\}/\1(id)\2(seconds 1970)/'; }
seconds() { echo $((0x$(echo "$1" | cut -c 41-56))); }
# In two ways an inquiry of isnsd's is not as RFC 4171 has it: it comes from a client (5.1.4), and it has a.b.c.d
# as ::a.b.c.d, not as ::ffff:a.b.c.d (6.3.1). A third is below: each repetition has another id (5.1.5).
mended() { sed 's/^\(.\{12\}\)8c00/\14c00/; s/\(0000001000000010\)\(0\{20\}\)0000/\1\2ffff/'; }
# answer_to BYTES: 5.7.5.13: the same attributes after a status. open-isns calls the client a server.
answer_to() {
	printf '0001800d%04x%s%s00000000%s\n' $((0x$(echo "$1" | cut -c 9-12) + 4)) $SERVER \
		"$(echo "$1" | cut -c 17-24)" "$(echo "$1" | cut -c 25-)"
}

# --- time ---------------------------------------------------------------------------------------------
# All in microseconds of the clock that deadlines have.
now_us() { echo $(($(value now_ns <$tree/clients) / 1000)); }
lines() { dmesg | grep -cF "$1"; }
# logged TEXT: when the last line of the log that has it was written, in microseconds of the log's clock.
logged() { dmesg | awk -v text="$1" 'index($0, text) { gsub(/^\[ *|\].*/, ""); sub(/\./, ""); us = $0 } END { print us }'; }
# calibrate: how far the log's clock is ahead, and how uncertain that is.
calibrate() {
	local before after try
	unsure=1000000000
	for try in 1 2 3 4 5 6 7 8; do
		before=$(now_us)
		echo "isns.sh: mark $try" >/dev/kmsg
		after=$(now_us)
		[ $((after - before)) -lt $unsure ] || continue
		unsure=$((after - before)) ahead=$(($(logged "isns.sh: mark $try") - before))
	done
	unsure=$((unsure + step))
	diag "the log's clock is $ahead us ahead, and up to $unsure less"
}
# between WANT GOT: it was when it was computed to be. 5: it was late.
between() {
	echo "computed: $1 us; it was $(($2 - $1)) us later, and up to $((slack * 1000)) are allowed"
	[ $(($2 - $1)) -ge 0 ] || return 1
	[ $(($2 - $1)) -le $((slack * 1000)) ] || return 5
}
# told_at WANT TEXT: the driver has said it then.
told_at() { between "$1" $(($(logged "liveness_portal: $2") - ahead + unsure)); }
# says N TEXT: the driver has said it N times.
says() { [ "$(lines "liveness_portal: $2")" = "$1" ]; }
# in_time COMMAND...: it is not late, in one of some tries.
in_time() {
	local try rc
	for try in $(seq $TRIES); do
		rc=0
		"$@" || rc=$?
		[ $rc = 5 ] || return $rc
	done
	return 1
}

# --- they among themselves ----------------------------------------------------------------------------
insmod /softclock_tap.ko || ktap_bail "softclock_tap.ko does not load"
openisns_up 4
t "isnsd asks isnsdd, and is answered" wait_for 90 at_least 1 answer $SERVER
[ "$(count answer $SERVER)" -ge 1 ] || ktap_bail "open-isns does not run: $(tail -n 3 /tmp/isnsd.log /tmp/isnsdd.log)"
theirs=$(heard inquiry $CLIENT | head -n 1)
diag "isnsd's inquiry  $theirs"
port=$(openisns_port)

# --- the same question --------------------------------------------------------------------------------
insmod /softclock.ko || ktap_bail "softclock.ko does not load"
# Its own entity is hardly ever asked.
insmod /liveness_portal.ko port="$port" every_s=1000000 || ktap_bail "liveness_portal.ko does not load"
calibrate
t "isnsdd's portal is registered" register 600 2
t "a round on demand" probe
t "esi-8 isnsdd answers: alive" wait_for 20 answered 1

ours=$(heard inquiry $SERVER | head -n 1)
diag "softclock's      $ours"
t "esi-7 isnsd calls itself a client, and softclock does not" equal "$CLIENT $SERVER" \
	"$(echo "$theirs" | cut -c 13-16) $(echo "$ours" | cut -c 13-16)"
ip_of() { echo "$1" | sed 's/.*0000001000000010\(.\{32\}\)00000011.*/\1/'; }
t "esi-10 isnsd writes ::127.0.0.1, and softclock ::ffff:127.0.0.1" \
	equal "0000000000000000000000007f000001 00000000000000000000ffff7f000001" "$(ip_of "$theirs") $(ip_of "$ours")"
t "esi-7 all other bytes are isnsd's" equal "$(echo "$theirs" | mended | timeless)" "$(echo "$ours" | timeless)"
clocks() {
	local apart passed
	passed=$((($(at inquiry $SERVER 1) - $(at inquiry $CLIENT 1)) / 1000000000))
	apart=$(($(seconds "$ours") - $(seconds "$theirs") - passed))
	echo "$passed s have passed, and $apart more by the times that were sent"
	[ $apart -ge -1 ] && [ $apart -le 1 ]
}
t "esi-7 both tell the same time" clocks
t "isnsdd's answer to isnsd is what it was asked" equal "$(answer_to "$theirs")" "$(heard answer $SERVER | head -n 1)"
our_answer() { heard answer $SERVER | grep "^.\{16\}$(echo "$ours" | cut -c 17-20)" | tail -n 1; }
t "so is its answer to softclock" equal "$(answer_to "$ours")" "$(our_answer)"

# --- alive --------------------------------------------------------------------------------------------
# answer_us NTH: when the answer to softclock's Nth inquiry was heard.
answer_us() { echo $(($(awk -v bytes="$(answer_to "$(heard inquiry $SERVER "$1" | head -n 1)")" '
	$1 == "answer" && substr($5, 7) == bytes { print substr($2, 7) }' $tap | head -n 1) / 1000)); }
inquiry_us() { echo $(($(at inquiry $SERVER "$1") / 1000)); }
next_due() {
	local n
	n=$(($(portal answered) + 1))
	probe && wait_for 20 answered $n || return 1
	between $(($(answer_us "$(count inquiry $SERVER)") + 600 * 1000000)) $(($(entity due_ns) / 1000))
}
t "esi-8 the next one is due an interval after the answer" in_time next_due
from=$(count inquiry $SERVER)
register 2 2
t "esi-8 it is asked, and answered, again and again" wait_for 30 at_least $((from + 4)) inquiry $SERVER
one_later() {
	from=$((from + 1))
	wait_for 20 at_least $((from + 1)) inquiry $SERVER || return 1
	# Not if the answer was so late that it was asked for again.
	[ "$(heard inquiry $SERVER "$from" | head -n 2 | sort -u | wc -l)" = 2 ] || return 5
	between $(($(answer_us $from) + 2 * 1000000)) "$(inquiry_us $((from + 1)))"
}
t "esi-8 each time an interval after the answer" in_time one_later

# --- stopped, and on again before the threshold -------------------------------------------------------
SUSPECT="$EID is silent: 1 of 3"
# interrupted: isnsdd is stopped, and goes on when it is suspect.
interrupted() {
	local n said
	register 600 5 || return 1
	sleep 1
	n=$(portal answered) said=$(lines "$SUSPECT")
	kill -STOP "$ISNSDD"
	first=$(($(count inquiry $SERVER) + 1))
	probe
	wait_for 60 says $((said + 1)) "$SUSPECT"
	kill -CONT "$ISNSDD"
	wait_for 60 answered $((n + 1)) || return 1
	told_at $(($(inquiry_us "$first") + 5 * 1000000)) "$SUSPECT"
}
t "esi-41 isnsdd is stopped, suspect at the computed second, goes on before the threshold: alive" in_time interrupted
t "esi-13 the attempts before it were not in vain" test "$(portal attempts)" -ge 2 -a "$(service dead)" = 0
same() { equal "$1 1" "$(heard inquiry $SERVER "$2" | wc -l) $(heard inquiry $SERVER "$2" | sort -u | wc -l)"; }
t "esi-14 the repeated inquiry has the bytes of the first" same "$(portal attempts)" "$first"

# --- stopped ------------------------------------------------------------------------------------------
DEAD="$EID: $PORTAL is dead: timeout" GONE="$EID is gone: silence"
stopped() {
	local said
	register 8 2 || return 1
	said=$(lines "$GONE")
	kill -STOP "$ISNSDD"
	first=$(($(count inquiry $SERVER) + 1))
	probe
	wait_for 120 says $((said + 1)) "$GONE"
	kill -CONT "$ISNSDD"
	told_at $(($(inquiry_us "$first") + 3 * 2 * 1000000)) "$DEAD"
}
t "esi-41 isnsdd is stopped: dead at the computed second" in_time stopped
t "esi-15 three inquiries, all the same" same 3 "$first"
later() { told_at $(($(inquiry_us "$first") + (3 * 2 + 2 * 8) * 1000000)) "$GONE"; }
again() { later || { [ $? = 5 ] && stopped && return 5; }; }
t "esi-19 it expires two intervals later" in_time again
# isnsd has repeated its inquiry as well.
new_ids() {
	equal "$(count inquiry $CLIENT)" "$(heard inquiry $CLIENT | cut -c 17-20 | sort -u | wc -l)" &&
		grep -q ' 1 retries left' /tmp/isnsd.log
}
t "esi-14 isnsd takes a new transaction id for each repetition, and softclock does not" new_ids

# --- killed -------------------------------------------------------------------------------------------
REFUSED="$EID: $PORTAL is dead: refused"
killed() {
	local said
	register 600 2 || return 1
	said=$(lines "$REFUSED")
	first=$(($(count inquiry $SERVER) + 1))
	probe
	wait_for 60 says $((said + 1)) "$REFUSED" || return 1
	told_at $(($(inquiry_us "$first") + 3 * 1000000)) "$REFUSED"
}
register 600 2
probe
t "it comes back" wait_for 20 answered 1
kill -KILL "$ISNSDD"
t "isnsdd is killed: refused, and dead after three attempts a second apart" in_time killed

kill -KILL "$ISNSD"
rmmod liveness_portal
rmmod softclock
rmmod softclock_tap
