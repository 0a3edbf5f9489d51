#!/bin/busybox sh
# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=dash disable=SC1091
#
# Liveness, as far as it needs no network: the conformance cases, what operators see and do, and the end of
# drivers in the middle of it. Faults: a file that lies or loses records, a mistake with the wrong errno, a
# command that did half of what it says, freed code that runs, memory that grows.

. /lib.sh
ktap_plan 70

tree=/sys/kernel/debug/softclock

# A unit of time, in seconds, and how many milliseconds late something may be in this guest.
case $SC_GUEST in
uml-tt)		unit=60 slack=1 ;;
uml-smp)	unit=1 slack=400 ;;
uml-kasan)	unit=1 slack=600 ;;
rt)		unit=3 slack=1700 ;;
dbg-*)		unit=4 slack=1900 ;;
*)		unit=2 slack=900 ;;
esac
N=10000
case $SC_GUEST in uml-kasan | dbg-*) N=2000 ;; esac

services() { value "$1" name=entities <$tree/liveness/services; }
entity() { value "$1" "eid=$2" <$tree/liveness/entities; }
portal() { value "$1" "eid=$2" <$tree/liveness/portals; }
records() { grep -c "^$1 " "$tree/liveness/$2"; }
named() { dmesg | grep -c "softclock: client softclock_entities left liveness service entities (id [0-9]*, $1 entities) behind"; }
# tell COMMAND...: one command.
tell() { echo "$*" >$tree/control; }
errno() { value errno result=refused <$tree/control; }
# refused ERRNO COMMAND...: it is, says what is wrong, and nothing has changed.
shown() { cat $tree/liveness/entities $tree/liveness/portals | grep -v '^format' | sed 's/ in_ns=[-0-9]*//'; }
refused() {
	local want=$1 before
	shift
	before=$(shown)
	fails tell "$@" 2>/dev/null || return
	equal "$want" "$(errno)" && equal "$before" "$(shown)" && sed -n 3p $tree/control | grep -q '^# .'
}

insmod /softclock.ko || ktap_bail "softclock.ko does not load"
ktap_module softclock_esi.ko unit_s=$unit slack_ms=$slack
none() { equal "0 0 0" "$(records service services) $(records entity entities) $(records portal portals)"; }
t "nothing is left of the cases" wait_for 10 none
callouts() { grep -c '^callout .*client=softclock .*name=\(entity\|probe\)' "${1:-$tree/callouts}"; }
t "esi-34 no callout of an entity or a probe is left" equal 0 "$(callouts)"

# --- what is seen -------------------------------------------------------------------------------------
# Loaded entities are first asked at some point of their interval: of a long one, or one comes meanwhile.
interval=10000000
insmod /softclock_entities.ko n=10 interval_s=$interval || ktap_bail "softclock_entities.ko does not load"
first=qn.2026-11.org.example:0000000
t "esi-38 only root reads" equal -r-------- "$(stat -c %A $tree/liveness/entities)"
t "esi-38 each entity is listed" equal 10 "$(records entity entities)"
t "esi-38 each portal is listed" equal 10 "$(records portal portals)"
t "esi-38 state, interval, period, portals" equal "waiting $interval 0 1 1" \
	"$(entity state $first) $(entity interval_s $first) $(entity period_s $first) $(entity portals $first) $(entity monitored $first)"
t "esi-38 a portal that was never asked" equal "unknown 0 0 fd73:6f66:7463:: 1 tcp" \
	"$(portal verdict $first) $(portal probes $first) $(portal rtt_us $first) $(portal ip $first) $(portal esi_port $first) $(portal esi_proto $first)"
t "esi-37 a round on demand" tell "probe eid=$first"
answered() { equal "alive 1 1 1" "$(portal verdict $first) $(portal probes $first) $(portal answered $first) $(portal attempts $first)"; }
t "esi-38 verdict and counters after it" wait_for 5 answered
t "esi-37 the next one comes an interval later" test \
	"$(entity in_ns $first)" -gt $((interval - 60))000000000 -a "$(entity in_ns $first)" -le ${interval}000000000
t "esi-37 a round of all" tell "probe all"
all_alive() { equal 10 "$(value verdict verdict=alive <$tree/liveness/portals | wc -l)"; }
t "esi-37 each has answered" wait_for 5 all_alive
t "the service has counted them" equal "10 11 11 0" "$(services entities) $(services rounds) $(services alive) $(services dead)"

# The wall clock does not matter: neither to what is due, nor to what is asked.
due=$(entity due_ns $first)
now=$(date +%s)
date -s "@$((now + 100000000))" >/dev/null
t "esi-40 the wall clock goes on by three years: the same is due" equal "$due" "$(entity due_ns $first)"
date -s "@$now" >/dev/null
t "esi-40 and nothing else was asked" equal 11 "$(services rounds)"

# --- what operators do --------------------------------------------------------------------------------
t "register" tell "register eid=disk-1 period=500 portal=192.0.2.1:3260/tcp esi=860/udp interval=77"
t "it is there as it was said" equal "77 500 192.0.2.1 3260 860 udp" \
	"$(entity interval_s disk-1) $(entity period_s disk-1) $(portal ip disk-1) $(portal port disk-1) $(portal esi_port disk-1) $(portal esi_proto disk-1)"
t "a portal more" tell "portal add eid=disk-1 portal=[2001:db8::1]:3260/tcp esi=860/tcp interval=33"
t "the shorter interval counts" equal "33 2" "$(entity interval_s disk-1) $(entity portals disk-1)"
t "a portal less" tell "portal remove eid=disk-1 portal=[2001:db8::1]:3260/tcp"
t "the other one is left" equal "77 192.0.2.1" "$(entity interval_s disk-1) $(portal ip disk-1)"
t "refresh" tell "refresh eid=disk-1"
t "deregister" tell "deregister eid=disk-1"
t "it is gone" equal "" "$(entity state disk-1)"
t "a threshold" tell "threshold count=7"
t "a policy" tell "policy patience=250ms coverage=any jitter=always removal=at-once window=5"
t "all of it is in force" equal "7 250000000 any always at-once 5" "$(services threshold) $(services patience_ns) $(services coverage) $(services jitter) $(services removal) $(services window)"

# Fault: what one operator changes is written back by another one, who has read it before. Only where there
# are several CPUs; the last command of each is seen to be in force.
lines() { local n=0; while [ $((n += 1)) -le "$1" ]; do echo "$2"; done; }
both() {
	local round=0 tries=40
	case $SC_GUEST in uml-tt) tries=1 ;; esac
	{ lines 200 "threshold count=1"; echo "threshold count=9"; } >/tmp/one
	{ lines 200 "policy window=1"; echo "policy window=99"; } >/tmp/other
	while [ $((round += 1)) -le $tries ]; do
		dd if=/tmp/one of=$tree/control bs=4096 2>/dev/null &
		dd if=/tmp/other of=$tree/control bs=4096 2>/dev/null
		wait $! && equal "9 99" "$(services threshold) $(services window)" || return
	done
}
t "two operators at a time: both changes are in force" both
tell "threshold count=7"

# Fault: a program that writes through a buffer of 4096 bytes is cut off in the middle of a line, and what it writes
# next, the rest of the buffer, is taken for a command: another one than it says. Here it is the wrong disk's.
cut_off() {
	local size
	tell "register eid=disk-1" && tell "register eid=disk-10" || return
	{
		lines 203 "refresh eid=disk-10"
		echo "# 34567890123x"
		echo "deregister eid=disk-10"
		lines 60 "refresh eid=disk-1"
	} >/tmp/long
	size=$(wc -c </tmp/long)
	equal "deregister eid=disk-1 1" "$(head -c 4096 /tmp/long | tail -n 1) $((size > 5120))" || return
	fails dd if=/tmp/long of=$tree/control bs=4096 2>/dev/null || return
	equal "EINVAL registered registered" "$(errno) $(entity state disk-1) $(entity state disk-10)" || return
	sed -n 3p $tree/control | grep -q "this line has no end" || return
	# All of it at once, and by the line, it is executed.
	dd if=/tmp/long of=$tree/control bs=65536 2>/dev/null && equal "registered " "$(entity state disk-1) $(entity state disk-10)"
}
t "a part of a line, cut off by a buffer, is not executed" cut_off
# all BYTES...: each is one write, all to the same open file; whether none was refused.
all() {
	local bytes bad=0
	for bytes; do printf %b "$bytes" 2>/dev/null || bad=1; done >$tree/control
	return $bad
}
no_end() {
	tell "threshold count=7" && all "threshold count=8" && equal 8 "$(services threshold)" &&
		fails all "# first\\n" "threshold count=9\\nthreshold count=10" && equal "9 EINVAL" "$(services threshold) $(errno)"
}
t "a line without its end is one where nothing was written before it, and is refused elsewhere" no_end
# Fault: the end of a line whose beginning was refused is taken for a line.
rest() {
	tell "threshold count=7" && fails all "# first\\n" "# the others do not want " "threshold count=8\\n" &&
		equal "7 EINVAL" "$(services threshold) $(errno)"
}
t "nor is what comes behind it in the same open file" rest
tell "threshold count=7"

# Fault: a reader goes on in the middle of an entity's portals, by a number that another one has by then.
several() {
	local n=1
	tell "register eid=several portal=192.0.2.1:1/tcp" || return
	# With the ten of the others more than are fetched at a time.
	while [ $((n += 1)) -le 60 ]; do
		tell "portal add eid=several portal=192.0.2.1:$n/tcp" || return
	done
	exec 4<$tree/liveness/portals
	dd bs=200 count=1 <&4 >/tmp/pieces 2>/dev/null
	tell "portal remove eid=several portal=192.0.2.1:1/tcp"
	dd bs=200 <&4 >>/tmp/pieces 2>/dev/null
	exec 4<&-
	tell "deregister eid=several"
	equal "$(seq 2 60)" "$(value port eid=several </tmp/pieces | grep -vx 1)"
}
t "a portal goes while they are read: each of the others is listed, once" several

mistakes() {
	local bad=0 want line
	while read -r want line; do
		refused "$want" "$line" || { echo "not $want: $line"; bad=1; }
	done <<-'END'
		EINVAL register
		EINVAL register eid=a portal=0.0.0.0:1/tcp
		EINVAL register eid=a portal=224.0.0.1:1/tcp esi=1/udp
		EINVAL register eid=a portal=1.2.3.4:1/tcp esi=0/udp
		ERANGE register eid=a portal=1.2.3.4:1/tcp esi=65536/udp
		ERANGE register eid=a portal=1.2.3.4:65536/tcp
		EINVAL register eid=
		EINVAL register eid= portal=1.2.3.4:1/tcp
		EINVAL register eid=a portal=[fe80::1]:1/tcp esi=1/tcp
		EINVAL register eid=a portal=[fe80::1%1]:1/tcp esi=1/tcp scope=1
		EINVAL register eid=a portal=1.2.3.4:1/tcp esi=1/tcp scope=1
		ERANGE policy patience=0
		ENOENT register eid=a in=nobody
		ENOENT deregister eid=nobody
		ENOENT refresh eid=nobody
		ENOENT probe eid=nobody
		ENOENT portal add eid=nobody portal=1.2.3.4:1/tcp
		ENOENT portal remove eid=nobody portal=1.2.3.4:1/tcp
		ERANGE threshold count=0
		ERANGE threshold count=11
		ERANGE policy window=16385
		EINVAL policy
		EINVAL probe everybody
		EEXIST portal add eid=one portal=1.2.3.4:1/tcp
		ERANGE portal add eid=full portal=1.2.3.4:65/tcp
		EBUSY probe eid=full
	END
	refused ERANGE "register eid=$(printf %256s '' | tr ' ' a)" || bad=1
	return $bad
}
# As many portals as there may be, and one; none of them is asked.
tell "register eid=one portal=1.2.3.4:1/tcp"
tell "register eid=full portal=1.2.3.4:1/tcp"
n=1
while [ $((n += 1)) -le 64 ]; do tell "portal add eid=full portal=1.2.3.4:$n/tcp"; done
t "each mistake has its errno, and changes nothing" mistakes
# Fault: the reason is only in the log, or it is that of something else.
reasons() {
	local why line
	while read -r why; do
		read -r line
		fails tell "$line" 2>/dev/null || return
		sed -n 3p $tree/control | grep -F "$why" || { sed -n 3p $tree/control; return 1; }
	done <<-'END'
		name is empty
		register eid=
		address is unspecified
		register eid=a portal=[::]:1/tcp
		multicast or broadcast
		portal add eid=full portal=224.0.0.1:1/tcp
		has port 0
		register eid=a portal=1.2.3.4:1/tcp esi=0/tcp
		its interface's number as scope
		register eid=a portal=1.2.3.4:1/tcp esi=1/tcp scope=1
		has that portal already
		portal add eid=one portal=1.2.3.4:1/tcp
		64 portals
		portal add eid=full portal=1.2.3.4:65/tcp
	END
	fails tell "register eid=$(printf %256s '' | tr ' ' a)" 2>/dev/null && sed -n 3p $tree/control | grep -q "longer than 255 bytes"
}
t "and control says what it was" reasons
for eid in one full; do tell "deregister eid=$eid"; done
beyond() { refused EINVAL "register eid=$(printf 'a\001b')" && refused EINVAL "register eid=$(printf '\303\244')"; }
t "names with bytes that are not printable are refused" beyond
# Fault: what somebody has written is a command to the terminal that control is read on, or ends its line.
told() { fails tell "$1" 2>/dev/null && sed -n 3p $tree/control; }
t "control shows bytes of a command that are not printable by their numbers" equal '# \x1b[2J\x0b\xc2\x85 is no command' \
	"$(told "$(printf '\033[2J\013\302\205')")"
t "and those of a name" equal '# a\x01b\\n' "$(told "$(printf 'register eid=a\001b\\n')" | cut -d ' ' -f 1-2)"

# Whose they are: a service over sockets is in the namespace it was made in, that of the module's own probes in
# the first. Faults: a namespace commands the services of another; one that has left is taken for a new one.
disk=iqn.2026-01.org.example:disk
exec 4<$tree/liveness/services
dd bs=10 count=1 <&4 >/dev/null 2>&1
unshare -n sh -c 'ifconfig lo 127.0.0.1 up && insmod /liveness_portal.ko && exec sleep 1000' &
apart=$!
net() { value net name=portal <$tree/liveness/services; }
in_place() { [ -n "$(net)" ]; }
wait_for 10 in_place
t "a service that comes while they are read is not waited for" equal 1 "$(grep -c '^service' <&4)"
exec 4<&-
t "a service over sockets names its namespace" equal "$(readlink /proc/$apart/ns/net | tr -dc 0-9)" "$(net)"
t "from another one it is not there" refused ENOENT "refresh eid=$disk"
t "nor by its name" refused ENOENT "refresh eid=$disk in=portal"
t "pid= names its namespace" tell "threshold count=9 pid=$apart"
t "the threshold is that service's" equal "9 7" "$(value threshold name=portal <$tree/liveness/services) $(services threshold)"
t "a process that is not there" refused ENOENT "refresh eid=$first pid=999999"
within() { nsenter -t $apart -n sh -c "echo '$1' >$tree/control"; }
t "from within it is there" within "deregister eid=$disk"
t "the command was executed" equal "" "$(entity state $disk)"
t "a driver's own means are not commanded from there" fails within "threshold count=2 in=entities"
t "that is ENOENT, and nothing has changed" equal "ENOENT 7" "$(errno) $(services threshold)"
# Who opened the file may, who writes may not.
powerless() {
	unshare -U true 2>/dev/null || { echo "this kernel has no user namespaces"; return 4; }
	fails unshare -U sh -c "echo 'threshold count=2 pid=$$' >&3" 3>$tree/control && equal "EPERM 7" "$(errno) $(services threshold)"
}
t "without CAP_NET_ADMIN in the namespace: EPERM" powerless
kill $apart
has_left() { equal none "$(net)"; }
t "a namespace that has left has no services" wait_for 30 has_left
rmmod liveness_portal

rmmod softclock_entities
t "it unloads" wait_for 5 none

# --- the end in the middle ----------------------------------------------------------------------------
insmod /softclock_entities.ko n=1000 silent=1 trigger=1 interval_s=3600 patience_ms=600000 || ktap_bail "it does not load"
flying() { equal 1000 "$(services in_flight)"; }
t "esi-39 a thousand probes are in flight" wait_for 20 flying
read -r begin _ </proc/uptime
t "esi-39 it unloads" rmmod softclock_entities
read -r end _ </proc/uptime
t "esi-39 at once, not at the end of an attempt" test $((${end%.*} - ${begin%.*})) -lt $((10 * ${SC_SLOW:-1}))
t "esi-39 nothing is left" wait_for 5 none

rmmod softclock
forgetful on
insmod /softclock.ko || ktap_bail "softclock.ko does not load again"
# Fault: whoever ends a service takes its driver and drops it, and who unloads the module finds none and goes on.
dropped() { dmesg | grep -c 'softclock_entities: the driver is dropped'; }
last() {
	local before forget=$1
	before=$(dropped)
	insmod /softclock_entities.ko n=1 last_ms=1000 forget="$forget" && rmmod softclock_entities &&
		equal $((before + 1)) "$(dropped)"
}
t "esi-39 the module stays until its driver was dropped" last 0
t "esi-39 and so for one that was forgotten" last 1

again() {
	local forget
	for forget in 0 1 0 1; do
		insmod /softclock_entities.ko n=200 trigger=1 interval_s=1 slow_ms=3 window=50 forget=$forget && sleep 0.3 &&
			rmmod softclock_entities && none || return
	done
}
t "esi-39 unloaded in the middle of questions and verdicts, four times" again
forgetful off
t "the two services that were forgotten are named" equal 2 "$(named 200)"
t "the client's record says three leaked" equal 3 "$(value leaked name=softclock_entities <$tree/clients)"
# Freed text would be executed within a second.
sleep 2
t "esi-39 no callout is left" equal 0 "$(callouts)"

# --- many ---------------------------------------------------------------------------------------------
# slab: KiB of it, when all that is about to be freed was.
slab() { sleep 1; awk '/^(Slab|VmallocUsed):/ { n += $2 } END { print n }' /proc/meminfo; }
# load N: so many idle ones.
load() { insmod /softclock_entities.ko n="$1" interval_s=1000000 || ktap_bail "$1 do not load"; }
# Some are idle workers of what was before.
set -- /proc/[0-9]*
threads=$#
load "$N"
one=$(slab)
rmmod softclock_entities
load $((3 * N))
three=$(slab)
rmmod softclock_entities
each=$(((three - one) * 1024 / (2 * N)))
diag "$each bytes for each of $((2 * N)) more idle entities, with names of 30 bytes"
small() {
	# With lockdep or KASAN a lock or an allocation is larger.
	case $SC_GUEST in uml-tt | uml-kasan | dbg-*) echo "memory is not as it would be"; return 4 ;; esac
	[ "$each" -le 256 ]
}
t "an idle entity takes 256 bytes at most" small
load "$N"
cat $tree/liveness/entities >/tmp/all
t "each of $N is listed, once" equal "$N" "$(value eid <$tree/liveness/entities | sort -u | wc -l)"
dd if=$tree/liveness/entities of=/tmp/small bs=1000 2>/dev/null
t "reads of 1000 bytes show the same" equal "$(value eid </tmp/all | md5sum)" "$(value eid </tmp/small | md5sum)"
# Fault: a reader is shown what is made while it reads, and never ends where that is faster.
callouts >/tmp/before
exec 4<$tree/liveness/entities 5<$tree/callouts
for fd in 4 5; do dd bs=10 count=1 <&$fd >/dev/null 2>&1; done
n=0
while [ $((n += 1)) -le 200 ]; do tell "register eid=late-$n period=1000000"; done
cat <&4 >/tmp/entities
cat <&5 >/tmp/callouts
exec 4<&- 5<&-
# At most as many as are looked at in one go.
t "entities that come while they are read are not waited for" test "$(grep -c 'eid=late-' /tmp/entities)" -lt 64
t "nor are callouts" equal "$(cat /tmp/before)" "$(callouts /tmp/callouts)"
n=0
while [ $((n += 1)) -le 200 ]; do tell "deregister eid=late-$n"; done
# Of those that were loaded a few are due by themselves.
rounds() { [ "$(services alive)" -ge "$1" ]; }
for r in 1 2; do tell "probe all"; wait_for 60 rounds $((r * N)); done
warm=$(slab)
for r in 3 4 5 6 7 8; do tell "probe all"; wait_for 60 rounds $((r * N)); done
grown=$((($(slab) - warm) * 1024 / N))
diag "$grown bytes more for each after six more rounds of all"
nothing() {
	case $SC_GUEST in uml-kasan | dbg-*) echo "what was freed stays in a quarantine for a while"; return 4 ;; esac
	[ "$grown" -lt 100 ]
}
t "esi-34 rounds leave nothing behind" nothing
set -- /proc/[0-9]*
t "esi-33 and no threads" test $# -lt $((threads + 100))
late=$(services late)
diag "$late of $((8 * N)) rounds began more than a second late"
# A busy machine may be late for some.
t "they were on time" test "$late" -le $((N / 100))
rmmod softclock_entities
rmmod softclock
