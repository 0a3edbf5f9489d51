#!/bin/busybox sh
# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=dash disable=SC1091
#
# Probes over sockets: UDP and TCP, IPv4 and IPv6, of portals with good and bad manners. Each case in
# the module names its fault. Then what cannot be seen from inside: the bytes, unloading in the middle of
# it all, and a network namespace that leaves. Faults: another layout than the RFC's; an unload that waits
# for peers, or leaves a callback or a socket behind; a namespace that is kept alive, or leaves sockets behind.

. /lib.sh
ktap_plan 42

tree=/sys/kernel/debug/softclock
HOLE=7006 SILENT=7011 UDP=65536
SC_SLOW=${SC_SLOW:-1}
said() { dmesg | sed -n 's/.*softclock_drill: //p' | tail -n 1; }
sockets() { awk '$1 == "'"$1"':" { print $3 }' /proc/net/sockstat; }
seen() { cat /sys/module/softclock_peer/parameters/seen; }
inquiries() { cat /sys/module/softclock_peer/parameters/inquiries; }
now_ms() { awk '{ print int($1 * 1000) }' /proc/uptime; }
drill() { insmod /softclock_drill.ko "$@"; }
ended() { rmmod softclock_drill && equal "$1" "$(said)"; }

ifconfig lo 127.0.0.1 up
insmod /softclock.ko || ktap_bail "softclock.ko does not load"
insmod /softclock_peer.ko || ktap_bail "softclock_peer.ko does not load"
# Where every packet takes a hundredth of a second a thousand probes would take all their patience.
many=1000
case $SC_GUEST in dbg-*) many=100 ;; esac
ktap_module /softclock_probe.ko "many=$many" "simulated=$(simulated)"

# --- what came in and was no answer --------------------------------------------------------------------
# Faults: an operator is not shown what was refused, or is told another reason; the sum is that of something else.
here=$(readlink /proc/self/ns/net | tr -dc 0-9)
counts() { grep "^sockets net=$here " $tree/liveness/sockets; }
strays() { counts | tr ' ' '\n' | sed -n 's/^stray_//p'; }
hostile() {
	local word
	for word in short version function length fragment xid status attributes entity portal source; do
		[ "$(counts | value "stray_$word")" -gt 0 ] || { echo "none: $word"; return 1; }
	done
}
t "esi-12 esi-36 what the cases sent is seen, under its reasons" hostile
t "strays= is their sum" equal "$(counts | value strays)" "$(strays | awk -F = '{ n += $2 } END { print n }')"
# grown: which of them, compared with before.
grown() { strays | grep -vxFf /tmp/before | sed 's/=.*//'; }
no_other() {
	local at word
	while read -r at word; do
		strays >/tmp/before
		drill wait=1 "at=$at" patience_ms=5000 && rmmod softclock_drill && equal "$word" "$(grown)" || return
	done <<-'END'
		7004 version
		7005 xid
		7009 status
		7014 entity
		7015 length
		7016 portal
		7018 fragment
		7019 function
		7026 attributes
	END
}
t "esi-12 one kind of answer makes one number grow, and no other" no_other

# --- registered ----------------------------------------------------------------------------------------
# Ports that answer over one of the two only: 7023 over TCP, 7010 over UDP. Faults: what is registered is asked over
# UDP, or IPv4, whatever was said; verdicts of probes over sockets do not reach their portal, or their driver.
insmod /liveness_portal.ko port=7001 every_s=3600 || ktap_bail "liveness_portal.ko does not load"
# register EID IP ESI SECONDS
register() { echo "register eid=$1 portal=$2:860/tcp esi=$3 interval=$4 in=portal" >$tree/control; }
verdict() { value verdict "eid=$1" <$tree/liveness/portals; }
is() { equal "$1" "$(verdict "$2")"; }
told() { dmesg | grep -qF "liveness_portal: $1"; }
alive() {
	register "$1" "$2" "$3" 3600 && echo "probe eid=$1 in=portal" >$tree/control &&
		wait_for 30 is alive "$1" && wait_for 5 told "$1 lives"
}
t "esi-29 a registered portal is alive over TCP" alive four-tcp 127.0.0.1 7023/tcp
t "esi-29 another one over UDP" alive four-udp 127.0.0.1 7010/udp
t "esi-11 esi-29 one of IPv6 over TCP" alive six-tcp '[::1]' 7023/tcp
t "esi-11 esi-29 one of IPv6 over UDP" alive six-udp '[::1]' 7010/udp
# Faults: what came of a probe is not what is shown of it; what was no answer is counted nowhere.
portal() { value "$1" "eid=$2" <$tree/liveness/portals; }
wrong_first() { alive wrong 127.0.0.1 7028/udp && [ "$(portal faults wrong)" -ge 1 ] && equal "1 1" "$(portal probes wrong) $(portal answered wrong)"; }
t "a wrong answer before the right one is counted" wrong_first
# The answer comes after 600 ms.
slow_one() {
	local rtt
	alive slow 127.0.0.1 7008/udp || return
	rtt=$(portal rtt_us slow)
	echo "rtt $rtt us, faults $(portal faults slow)"
	[ "$rtt" -ge 500000 ] && [ "$rtt" -le "$(portal rtt_max_us slow)" ] && [ "$(portal faults slow)" = 0 ]
}
t "how long an answer took is shown" slow_one
# A busy machine must not be late for all three attempts, which are made within an interval.
soon=$((3 * SC_SLOW))
register dead-four-tcp 127.0.0.1 $SILENT/tcp $soon
register dead-four-udp 127.0.0.1 $SILENT/udp $soon
register dead-six-tcp '[::1]' $SILENT/tcp $soon
register dead-six-udp '[::1]' $SILENT/udp $soon
# dies EID IP
dies() {
	wait_for 30 told "$1 is silent: 1 of 3" && wait_for 30 told "$1 is silent: 2 of 3" &&
		wait_for 30 told "$1: $2:860/tcp is dead: timeout" && wait_for 60 told "$1 is gone: silence"
}
t "esi-15 a silent one is suspect, then dead, and its entity goes: over TCP" dies dead-four-tcp 127.0.0.1
t "esi-15 over UDP" dies dead-four-udp 127.0.0.1
t "esi-15 of IPv6 over TCP" dies dead-six-tcp '[::1]'
t "esi-15 of IPv6 over UDP" dies dead-six-udp '[::1]'
t "the others are alive" equal "alive alive alive alive" "$(verdict four-tcp) $(verdict four-udp) $(verdict six-tcp) $(verdict six-udp)"
# One probe of it is answered, and the next one not.
again() {
	local many
	many=$(dmesg | grep -c "liveness_portal: flap lives")
	register flap 127.0.0.1 7025/tcp $soon && wait_for 30 lives $((many + 1)) && wait_for 30 dead $((many + 1))
}
lives() { [ "$(dmesg | grep -c "liveness_portal: flap lives")" -ge "$1" ]; }
dead() { [ "$(dmesg | grep -c "liveness_portal: flap: .* is dead")" -ge "$1" ]; }
t "esi-20 flapping: alive, then dead" again
t "esi-20 flapping: registered again it is alive again, then dead" again
rmmod liveness_portal

# --- the bytes ---------------------------------------------------------------------------------------
# Header; timestamp; entity id with its end, filled up; address; port. The transaction id is random.
layout='^0001000d005c4c00[0-9a-f]\{4\}0000'
layout=$layout'0000000400000008\([0-9a-f]\{16\}\)'
layout=$layout'0000000100000020'$(printf 'iqn.2026-01.org.example:disk' | hexdump -ve '1/1 "%02x"')'00000000'
layout=$layout'000000100000001000000000000000000000ffff7f000001'
layout=$layout'00000011000000040000035c$'
about_now() {
	local stamp now
	stamp=$((0x$(seen | sed "s/$layout/\1/")))
	now=$(date +%s)
	echo "$stamp, and it is $now"
	[ $((now - stamp)) -ge 0 ] && [ $((now - stamp)) -le $((5 * SC_SLOW)) ]
}
drill wait=1 at=$((UDP | 7001))
t "esi-7 an inquiry has the bytes of RFC 4171, and the flags of a server" sh -c "echo $(seen) | grep -q '$layout'"
t "esi-7 its time is the time" about_now
rmmod softclock_drill
tell_time() { date -s "@$(($(date +%s) + 86400))" >/dev/null && drill wait=1 at=7001 && about_now; }
t "esi-40 it is the wall clock's, also after that was set" tell_time
rmmod softclock_drill

# --- whoever waits -----------------------------------------------------------------------------------
interrupted() {
	local before rc=0
	before=$(inquiries)
	timeout -s INT 4 insmod /softclock_drill.ko wait=1 at=$((UDP | SILENT)) || rc=$?
	[ $rc != 0 ] && [ ! -e /sys/module/softclock_drill ] && equal $((before + 1)) "$(inquiries)"
}
t "a signal ends the wait for an answer" interrupted

# --- unloading ---------------------------------------------------------------------------------------
# leaves PORT N: softclock is unloaded with N probes in flight, whose attempts have half a minute.
leaves() {
	local began took
	[ -e /sys/module/softclock ] || insmod /softclock.ko || return
	drill "at=$1" "n=$2" window=16384 || return
	sleep 0.5
	ended "answered 0 silent 0 void 0" || return
	began=$(now_ms)
	rmmod softclock || return
	took=$(($(now_ms) - began))
	echo "took $took ms"
	[ $took -lt $((5000 * SC_SLOW)) ]
}
# At most: the peer's own connections to the port where none come about give up after two minutes.
none_left() {
	echo "$(sockets TCP) of TCP, $(sockets UDP) of UDP"
	[ "$(sockets TCP)" -le "$1" ] && [ "$(sockets UDP)" -le "$2" ]
}
tcp=$(sockets TCP) udp=$(sockets UDP)
rmmod softclock
tcp_before=$(sockets TCP) udp_before=$(sockets UDP)
# The peer's own connections may go meanwhile.
t "the socket of datagrams goes with softclock" test "$tcp_before" -le "$tcp" -a "$udp_before" = $((udp - 1))
t "esi-39 unload with 1,000 over UDP in flight" leaves $((UDP | SILENT)) 1000
t "esi-39 unload with 1,000 connections that do not come about" leaves $HOLE 1000
t "esi-39 unload with 1,000 connections without an answer" leaves $SILENT 1000
t "esi-39 unload with 5,000 over UDP in flight" leaves $((UDP | SILENT)) 5000
in_the_act() {
	local i
	for i in 1 2 3 4 5 6 7 8; do
		insmod /softclock.ko && drill at=$((i % 2 * UDP | 7001)) n=3000 || return
		sleep 0.0$i
		rmmod softclock_drill && rmmod softclock || return
	done
}
t "esi-39 unload in the middle of answers" in_the_act
# The peer's own connections end when it reads the reset.
t "no socket is left" wait_for 60 none_left "$tcp_before" "$udp_before"

# --- namespaces --------------------------------------------------------------------------------------
insmod /softclock.ko
# What is sent to this network comes back, is nobody's, and is dropped.
HERE='ifconfig lo 127.0.0.1 up && ip route add 192.0.2.0/24 dev lo && insmod /softclock_drill.ko'
DEAD=$((0xc0000202))
# apart COMMAND: in a network namespace of its own, which leaves when the command has ended.
apart() { unshare -n sh -c "$1"; }
all_void() { equal "answered 0 silent 0 void $1" "$(rmmod softclock_drill && said)"; }
# gone PORT: probes of a namespace that has left.
gone() {
	apart "$HERE ip=$DEAD at=$1 n=500 window=300" || return
	# The kernel takes it down when it gets to it.
	sleep $((5 * SC_SLOW))
	all_void 500
}
t "a namespace leaves with probes over UDP in flight, which end void" gone $((UDP | 7001))
t "a namespace leaves with connections in flight, which end void" gone 7001
t "a black hole is silence, over UDP" apart "$HERE ip=$DEAD at=$((UDP | 7001)) wait=1 patience_ms=300"
t "and the reason is timeout" equal 'Silent { attempts: 3, why: "timeout" }' "$(said)"
rmmod softclock_drill
apart "ifconfig lo 127.0.0.1 up && insmod /softclock_drill.ko at=7001 wait=1 patience_ms=300"
t "the peer of another namespace is not there" equal 'Silent { attempts: 3, why: "refused" }' "$(said)"
rmmod softclock_drill
drill at=7001 wait=1
t "in ours it is" sh -c "echo '$(said)' | grep -q '^Alive { '"
rmmod softclock_drill
# Faults: namespaces are counted together, or only the first one is listed; one that has left is.
each_its_own() {
	local there
	apart "readlink /proc/self/ns/net && ifconfig lo 127.0.0.1 up && insmod /softclock_drill.ko at=7001 wait=1 patience_ms=300 &&
		cat $tree/liveness/sockets" >/tmp/records && rmmod softclock_drill || return
	there=$(sed -n 's/^net:\[\(.*\)\]$/\1/p' /tmp/records)
	of() { value "$1" "net=$2" </tmp/records; }
	equal "2: 0 3, 1 0" "$(grep -c '^sockets ' /tmp/records): $(of answered "$there") $(of failed "$there"), $(of answered "$here") $(of failed "$here")"
}
t "each namespace has a record, and numbers of its own" each_its_own
only_ours() { equal "$here" "$(value net <$tree/liveness/sockets)"; }
t "when it has left it has none" wait_for 30 only_ours
link_local() {
	ip -6 addr add fe80::1/64 dev lo || return
	drill "scope=$(cat /sys/class/net/lo/ifindex)" "at=$1" wait=1 && rmmod softclock_drill || return
	ip -6 addr del fe80::1/64 dev lo
	said | grep -q '^Alive { ' || { said; return 1; }
}
t "an address of a link is asked over UDP, and the answer is known by its link" link_local $((UDP | 7001))
t "an address of a link is asked over TCP" link_local 7001
# Fault: who could be asked once is dead, although the other attempts were not made.
no_port() {
	local reserved=/proc/sys/net/ipv4/ip_local_reserved_ports
	drill at=$HOLE n=10 patience_ms=2000 || return
	sleep 0.5
	echo 1024-65535 >$reserved
	sleep 8
	echo >$reserved
	ended "answered 0 silent 0 void 10"
}
t "nobody is dead who could not be asked again, for there was no port" no_port
unload_apart() {
	apart "$HERE ip=$DEAD at=7001 n=500 && rmmod softclock_drill && rmmod softclock"
}
t "esi-39 unload with probes of a namespace that is still there" unload_apart
insmod /softclock.ko
many() {
	local i
	for i in 1 2 3 4 5 6 7 8 9 10; do
		apart "$HERE ip=$DEAD at=$((i % 2 * UDP | 7001)) n=50 && rmmod softclock_drill" || return
	done
}
t "ten namespaces, one after the other" many
rmmod softclock
rmmod softclock_peer
t "no socket is left at the end" wait_for 60 none_left 0 0
