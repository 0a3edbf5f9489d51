#!/bin/busybox sh
# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=dash disable=SC1091,SC2016
# needs: ip setpriv tee perl
#
# Routes of the kernel, by its own tools. Faults: a route that outlives its time, or goes before; another
# route deleted in its place; an end that is not heard; a namespace kept alive, or looked into when it is
# gone; a mistake with the wrong errno; a lie that is believed.

. /lib.sh
ktap_plan 121

tree=/sys/kernel/debug/softclock
N=10000
case $SC_GUEST in uml-*) N=2000 ;; esac

# Busybox has an applet of that name, which it prefers.
ip() { /usr/sbin/ip "$@"; }
# tell COMMAND...: one command; its answer is the status, its errno what control says.
tell() { echo "$*" >$tree/control; }
# tell_all FILE: its lines, one at a time, and on after one that is refused.
tell_all() { while read -r line; do echo "$line"; done <"$1" >$tree/control; }
errno() { value errno result=refused <$tree/control; }
# deadlines: what is watched, and until when.
deadlines() { sed -n 's/ in_ns=.*//p' $tree/route/watched; }
# refused ERRNO COMMAND...: it is, and nothing has changed. refused_to WHO...: the same, to WHO instead of tell.
refused() {
	local want=$1
	shift
	refused_to tell "$want" "$@"
}
refused_to() {
	local who=$1 want=$2 before after
	shift 2
	before=$(deadlines)
	fails "$who" "$@" || return
	after=$(deadlines)
	equal "$want" "$(errno)" && equal "$before" "$after" &&
		sed -n 3p $tree/control | grep '^# .'
}
# here: the number of this namespace. count KEY: of its record.
here() { readlink /proc/self/ns/net | tr -dc 0-9; }
count() { value "$1" net="${2:-$(here)}" <$tree/route/namespaces; }
watched() { value dst net="$(here)" <$tree/route/watched; }
# watches DST...: these are watched and no others.
watches() { equal "$*" "$(watched | tr '\n' ' ' | sed 's/ $//')"; }
# routes ARGUMENT...: what `ip route` shows, with single blanks between words.
routes() { ip route show "$@" | tr -s ' ' | sed 's/ $//'; }
routes6() { ip -6 route show "$@" | tr -s ' ' | sed 's/ $//'; }
none() { [ -z "$("$@")" ]; }
# now_ms: uptime, in steps of 10 ms.
now_ms() { awk '{ printf "%d", $1 * 1000 }' /proc/uptime; }

insmod /softclock.ko || ktap_bail "softclock.ko does not load"
ip link set lo up

# ---- one route -------------------------------------------------------------------------------------

t "without routes there are no records" equal "1 1" \
	"$(wc -l <$tree/route/watched) $(wc -l <$tree/route/namespaces)"
t "only root reads and writes control" equal -rw------- "$(stat -c %A $tree/control)"

ip route add 10.1.2.0/24 dev lo
ip -6 route add 2001:db8:1::/48 dev lo
t "a route of IPv4 is added" tell "route add dst=10.1.2.0/24 dev=lo timeout=1h"
t "a route of IPv6 is added" tell "route add dst=2001:db8:1::/48 timeout=3600000ms"
t "both are listed" watches 10.1.2.0/24 2001:db8:1::/48
t "they are there before their time" equal "10.1.2.0/24 dev lo scope link" "$(routes 10.1.2.0/24)"
began=$(now_ms)
tell route add dst=10.1.2.0/24 timeout=1s
tell route add dst=2001:db8:1::/48 timeout=1000ms
t "added again with another time, the later one counts: gone after it, of IPv4" wait_for 30 none routes 10.1.2.0/24
t "no sooner" test $(($(now_ms) - began)) -ge 990
t "gone after it, of IPv6" wait_for 30 none routes6 2001:db8:1::/48
t "nothing is watched any more" wait_for 30 watches
t "both were deleted by softclock" equal "2 0" "$(count deleted) $(count gone)"

ip route add 10.1.2.0/24 dev lo
tell route add dst=10.1.2.0/24 timeout=60s
t "a longer time counts, too" tell route add dst=10.1.2.0/24 timeout=1h
t "it is listed once" equal 10.1.2.0/24 "$(watched)"
t "with that time" test "$(value in_ns dst=10.1.2.0/24 <$tree/route/watched)" -gt 3000000000000
t "forgotten, it lives on" tell route forget dst=10.1.2.0/24
t "and is not listed" equal "/10.1.2.0/24" "$(watched)/$(routes 10.1.2.0/24 | cut -d ' ' -f 1)"
ip route del 10.1.2.0/24

# ---- the right one ---------------------------------------------------------------------------------

for metric in 0 55 77; do ip route add 10.1.3.0/24 dev lo metric $metric; done
for metric in 55 77; do ip -6 route add 2001:db8:3::/48 dev lo metric $metric; done
tell route add dst=10.1.3.0/24 metric=55 timeout=100ms
tell route add dst=2001:db8:3::/48 metric=77 timeout=100ms
wait_for 30 watches
t "of three with a prefix the one with that metric goes" equal \
	"10.1.3.0/24 dev lo scope link,10.1.3.0/24 dev lo scope link metric 77," "$(routes 10.1.3.0/24 | tr '\n' ,)"
t "of two of IPv6, too" equal "2001:db8:3::/48 dev lo metric 55" "$(routes6 2001:db8:3::/48 | sed 's/ pref.*//')"
tell route add dst=10.1.3.0/24 timeout=100ms
wait_for 30 watches
t "without a metric it is the one the kernel would take" equal \
	"10.1.3.0/24 dev lo scope link metric 77" "$(routes 10.1.3.0/24)"
tell route add dst=10.1.3.0/24 timeout=1h
tell route add dst=2001:db8:3::/48 timeout=1h
ip route add 10.1.3.0/24 dev lo
ip route del 10.1.3.0/24 metric 77
t "deleted by hand, exactly that one is no longer watched" wait_for 30 watches 2001:db8:3::/48
ip route del 10.1.3.0/24
ip -6 route del 2001:db8:3::/48
t "and so is one of IPv6" wait_for 30 watches

# A request to delete the one behind fits the one before, too: it has no more than that, or hops that cannot be named.
# behind TWIN ROUTE: of a prefix with both, TWIN before ROUTE and added later, ROUTE goes and TWIN stays.
behind() {
	local twin=$1 route=$2 was
	was=$(count restored)
	ip route flush root 10.1.4.0/24
	# shellcheck disable=SC2086
	add_behind $route && tell route add dst=10.1.4.0/24 timeout=300ms && prepend $twin || return
	wait_for 30 watches || return
	equal "10.1.4.0/24 $twin" "$(routes 10.1.4.0/24 | sed 's/ metric 5//' | tr -s '\n\t ' ' ' | cut -c "1-$((${#twin} + 12))")" &&
		equal 1 "$(routes 10.1.4.0/24 | grep -c '^10')" && equal $((was + 1)) "$(count restored)" && ip route del 10.1.4.0/24
}
# Nor does each kernel know routes with several hops.
add_behind() { ip route add 10.1.4.0/24 metric 5 scope global "$@" 2>&1 || return 4; }
prepend() { ip route prepend 10.1.4.0/24 metric 5 scope global "$@" 2>&1 || { ip route del 10.1.4.0/24; return 4; }; }
t "one behind another that has a source goes" behind "dev lo src 127.0.0.1" "dev lo"
t "one with several hops behind one with one" behind "dev lo" "nexthop dev lo weight 1 nexthop dev lo weight 2"
t "one behind another that has several hops, of which the first is its own" \
	behind "nexthop dev lo weight 1 nexthop dev lo weight 2" "dev lo"
ip nexthop add id 7 dev lo
t "one with several hops behind one through an object" behind "nhid 7" "nexthop dev lo weight 1 nexthop dev lo weight 2"
ip route flush root 10.1.4.0/24
ip nexthop del id 7

# The same for thousands at a time, while another hand deletes them. To the kernel a metric of 0 is any:
# that other hand says which it means by the MTU.
twins=500
seq $twins | awk '{ dst = "10.2." int($1 / 250) "." $1 % 250
	print "route add " dst " dev lo mtu 1400\nroute add " dst " dev lo metric 55" >"/tmp/twins"
	print "route del " dst " dev lo mtu 1400" >"/tmp/doom"
	print "route add dst=" dst " metric=0 timeout=1h" >"/tmp/watch"
	print "route add dst=" dst " metric=0 timeout=0" >"/tmp/expire" }'
ip -batch /tmp/twins
t "routes with twins are watched" tell_all /tmp/watch
t "as many as there are" equal $twins "$(count watching)"
deleted=$(count deleted)
ip -force -batch /tmp/doom 2>/tmp/doom.log &
tell_all /tmp/expire 2>/dev/null
wait $!
wait_for 30 watches
diag "of $twins routes softclock deleted $(($(count deleted) - deleted)), put back $(count restored) twins"
t "whoever deleted them, their twins live" equal $twins "$(ip route show metric 55 | wc -l)"
t "and they themselves do not" equal $twins "$(ip route show table main | grep -c '^10\.2\.')"
ip route flush metric 55

# ---- what goes without a word ----------------------------------------------------------------------

ip route add 10.3.1.0/24 dev lo
ip -6 route add 2001:db8:31::/48 dev lo
tell route add dst=10.3.1.0/24 timeout=1h
tell route add dst=2001:db8:31::/48 timeout=1h
ip link set lo down
t "a link that goes down takes its routes along" wait_for 30 watches
ip link set lo up

ip addr add 10.4.0.1/32 dev lo
ip addr add 10.4.0.2/32 dev lo
ip route add 10.3.2.0/24 dev lo src 10.4.0.1
ip route add 10.3.3.0/24 dev lo src 10.4.0.2
tell route add dst=10.3.2.0/24 timeout=1h
tell route add dst=10.3.3.0/24 timeout=1h
ip addr del 10.4.0.1/32 dev lo
t "an address takes those along that are sent from it" wait_for 30 watches 10.3.3.0/24
ip addr del 10.4.0.2/32 dev lo
wait_for 30 watches

ip nexthop add id 5 dev lo
ip nexthop add id 6 dev lo
ip route add 10.3.4.0/24 nhid 5
ip route add 10.3.5.0/24 nhid 6
tell route add dst=10.3.4.0/24 timeout=1h
tell route add dst=10.3.5.0/24 timeout=1h
ip nexthop del id 5
t "a nexthop object takes its routes along" wait_for 30 watches 10.3.5.0/24
tell route add dst=10.3.5.0/24 timeout=0
t "a route through an object is deleted" wait_for 30 none routes 10.3.5.0/24
ip nexthop del id 6

ip route add 10.3.6.0/24 dev lo proto 77
tell route add dst=10.3.6.0/24 timeout=1h
ip route replace 10.3.6.0/24 dev lo proto 78
t "a route that was replaced is gone" wait_for 30 watches
t "what replaced it is not" equal "10.3.6.0/24 dev lo proto 78 scope link" "$(routes 10.3.6.0/24)"
tell route add dst=10.3.6.0/24 timeout=1h
ip route replace 10.3.6.0/24 dev lo proto 78 mtu 1400
sleep 0.3
t "replaced by its like it is still watched" equal 10.3.6.0/24 "$(watched)"
tell route add dst=10.3.6.0/24 timeout=0
t "and deleted in time" wait_for 30 none routes 10.3.6.0/24

# ---- other shapes ----------------------------------------------------------------------------------

ip route add 10.5.1.0/24 nexthop dev lo weight 1 nexthop dev lo weight 2 2>/dev/null ||
	ip route add 10.5.1.0/24 dev lo	# a kernel that knows no such routes
ip route add 10.5.2.0/24 dev lo table 1000
ip route add blackhole 10.5.3.0/24
ip route add 10.5.4.0/24 dev lo tos 0x10
ip route add 10.5.4.0/24 dev lo
for route in dst=10.5.1.0/24 "dst=10.5.2.0/24 table=1000" dst=10.5.3.0/24 "dst=10.5.4.0/24 tos=16"; do
	tell "route add $route timeout=200ms" || diag "refused: $route"
done
wait_for 30 watches
t "one with several hops goes" none routes 10.5.1.0/24
t "one in another table goes" none routes table 1000
t "one that leads nowhere goes" none routes 10.5.3.0/24
t "one of two that differ in tos goes" equal "10.5.4.0/24 dev lo scope link" "$(routes 10.5.4.0/24)"
ip route del 10.5.4.0/24

# A device with neighbours, where the kernel has one without a module.
dummy() { ip link add d0 type dummy 2>/dev/null && ip link set d0 up && ip -6 addr add 2001:db8:f::1/64 dev d0 nodad; }
hops() {
	dummy || return 4
	ip -6 route add 2001:db8:51::/48 nexthop via 2001:db8:f::2 dev d0 nexthop via 2001:db8:f::3 dev d0 &&
		tell route add dst=2001:db8:51::/48 timeout=100ms && wait_for 30 watches || return
	equal 1 "$(routes6 2001:db8:51::/48 | wc -l)"
}
t "one of two hops of IPv6 goes" hops
second_hop() {
	[ -e /sys/class/net/d0 ] || return 4
	tell route add dst=2001:db8:51::/48 timeout=1h && ip -6 route append 2001:db8:51::/48 via 2001:db8:f::4 dev d0 &&
		sleep 0.3 && watches 2001:db8:51::/48
}
t "another hop beside it changes nothing" second_hop
vanish() {
	[ -e /sys/class/net/d0 ] || return 4
	ip route add 10.5.5.0/24 dev d0 && tell route add dst=10.5.5.0/24 timeout=1h && ip link del d0
	wait_for 30 watches
}
t "a device that is removed takes its routes along" vanish

# ---- mistakes --------------------------------------------------------------------------------------

ip route add 10.6.1.0/24 dev lo
tell route add dst=10.6.1.0/24 timeout=1h
t "a route that does not exist: ENOENT" refused ENOENT route add dst=10.6.2.0/24 timeout=1
t "a longer prefix than is there: ENOENT" refused ENOENT route add dst=10.6.1.0/25 timeout=1
t "a table that does not exist: ENOENT" refused ENOENT route add dst=10.6.1.0/24 table=99 timeout=1
t "a device that does not exist: ENOENT" refused ENOENT route add dst=10.6.1.0/24 dev=nope timeout=1
t "forgetting what was not added: ENOENT" refused ENOENT route forget dst=10.6.2.0/24
t "a command there is not: EINVAL" refused EINVAL route delete dst=10.6.1.0/24
t "bits beyond the prefix: EINVAL" refused EINVAL route add dst=10.6.1.1/24 timeout=1
t "no time: EINVAL" refused EINVAL route add dst=10.6.1.0/24
t "a prefix longer than an address: ERANGE" refused ERANGE route add dst=10.6.1.0/33 timeout=1
t "a time longer than a year: ERANGE" refused ERANGE route add dst=10.6.1.0/24 timeout=9000h
t "a line too long: EINVAL" refused EINVAL "route add dst=10.6.1.0/24 timeout=1 $(seq -s ' ' 200)"
# Its first process waits for nobody: what it started, and what has ended, is a zombie.
sh -c 'sleep 0.1 & exec sleep 60' &
parent=$!
zombie() { awk -v p=$parent '$4 == p && $3 == "Z" { print $1 }' /proc/[0-9]*/stat; }
has_zombie() { [ -n "$(zombie 2>/dev/null)" ]; }
wait_for 30 has_zombie
zombie=$(zombie 2>/dev/null)
t "a process that has left its namespace: ENOENT" refused ENOENT "route add dst=10.6.1.0/24 timeout=1 pid=$zombie"
kill $parent
t "after all this the one is watched that was" watches 10.6.1.0/24
t "several lines are executed up to the one that fails" sh -c "
	! printf 'route forget dst=10.6.1.0/24\nroute nonsense\n' >$tree/control"
t "what came before it has happened" equal "" "$(watched)"

# Both who writes and who has opened the file need CAP_NET_ADMIN. Faults: only one of them is asked; a program
# of root's that writes what its caller tells it, to where he tells it, commands for him.
as_nobody() { /usr/bin/setpriv --reuid=65534 --clear-groups "$@"; }
# What opens the file has the right to open any, but no other.
opener() { as_nobody --inh-caps=-all,+dac_override --ambient-caps=+dac_override "$@"; }
# The busybox gives up what it got from its file's owner.
cp /usr/bin/tee /tmp/roots-tee
chmod 4755 /tmp/roots-tee
writer_powerless() { as_nobody sh -c 'echo "$0" >&3' "$*" 3>$tree/control; }
opener_powerless() { opener sh -c "exec 3>$tree/control; echo \"\$0\" | /tmp/roots-tee >&3" "$*"; }
neither_powerless() { as_nobody sh -c 'echo "$0" | /tmp/roots-tee >&3' "$*" 3>$tree/control; }
ip route add 10.6.3.0/24 dev lo
tell route add dst=10.6.1.0/24 timeout=1h
t "written without CAP_NET_ADMIN to a file of root's: EPERM" refused_to writer_powerless EPERM route add dst=10.6.3.0/24 timeout=1
t "nor is a route forgotten for such a one" refused_to writer_powerless EPERM route forget dst=10.6.1.0/24
t "written by root to a file that was opened without it: EPERM" refused_to opener_powerless EPERM route add dst=10.6.3.0/24 timeout=1
t "nor is a route forgotten there" refused_to opener_powerless EPERM route forget dst=10.6.1.0/24
t "by that program to a file of root's it is done" neither_powerless route forget dst=10.6.1.0/24
ip route del 10.6.3.0/24
ip route del 10.6.1.0/24

# One that comes and goes while it is given a time: there is one, or none, or that is what it does.
seq 400 | awk '{ print "route add 10.6.6.0/24 dev lo\nroute del 10.6.6.0/24" }' >/tmp/flip
seq 400 | sed 's,.*,route add dst=10.6.6.0/24 timeout=1h,' >/tmp/watch
coming_and_going() {
	ip -batch /tmp/flip &
	while read -r line; do echo "$line" >$tree/control || errno; done </tmp/watch >/tmp/errnos 2>/dev/null
	wait $!
	sort /tmp/errnos | uniq -c
	fails grep -v 'ENOENT\|EBUSY' /tmp/errnos
}
t "a route that comes and goes has a time, or not, but its namespace is there" coming_and_going
t "gone for good, it is not watched" wait_for 30 watches

# ---- lies ------------------------------------------------------------------------------------------

# Whoever may configure a namespace may send to its groups and sockets what only the kernel should say.
ip route add 10.6.4.0/24 dev lo
tell route add dst=10.6.4.0/24 timeout=1h
# lie GROUPS PORT...: says to these that the route is gone, in no request; prints what became of each.
lie() {
	/usr/bin/perl -e '
		my $body = pack("C8L", 2, 24, 0, 0, 254, 3, 253, 1, 0) . pack("S2C4", 8, 1, 10, 6, 4, 0)
			. pack("S2L", 8, 15, 254) . pack("S2L", 8, 4, 1);
		my $news = pack("LS2L2", 16 + length $body, 25, 0, 0, 0) . $body;
		my $groups = shift;
		socket(my $socket, 16, 3, 0) or die;
		for my $port (@ARGV) {
			my $to = pack("S2L2", 16, 0, $port, $groups);
			print send($socket, $news, 0, $to) ? "sent " : "errno=" . ($! + 0) . " ";
		}' "$@" | sed 's/ $//'
}
# The sockets of softclock; it has one group at least.
ports() { awk '$2 == 0 && $3 != 0 { print $3 }' /proc/net/netlink; }
t "a lie is sent to the group" equal sent "$(lie 64 0)"
# The truth that follows has come when this is known.
ip route add 10.6.5.0/24 dev lo
tell route add dst=10.6.5.0/24 timeout=1h
ip route del 10.6.5.0/24
t "and is not believed" wait_for 30 watches 10.6.4.0/24
# shellcheck disable=SC2046
t "a lie to its sockets is refused: ECONNREFUSED" equal "errno=111 errno=111" "$(lie 0 $(ports))"
t "the route is watched" watches 10.6.4.0/24
tell route add dst=10.6.4.0/24 timeout=0
t "and deleted in time" wait_for 30 none routes 10.6.4.0/24

# ---- namespaces ------------------------------------------------------------------------------------

# at NAME COMMAND...: in the namespace of that name.
at() { local name=$1; shift; nsenter --net="/run/netns/$name" "$@"; }
mkdir -p /run/netns
exec 3>$tree/control
ip netns add one
ip netns add two
for name in one two; do
	at $name /usr/sbin/ip link set lo up
	at $name /usr/sbin/ip route add 10.7.1.0/24 dev lo
	at $name sh -c 'echo "route add dst=10.7.1.0/24 timeout=1h" >&3'
done
inum_one=$(at one readlink /proc/self/ns/net | tr -dc 0-9)
inum_two=$(at two readlink /proc/self/ns/net | tr -dc 0-9)
t "the same route of two namespaces is two" equal "1 1" "$(count watching "$inum_one") $(count watching "$inum_two")"
at one /usr/sbin/ip route del 10.7.1.0/24
watching() { equal "$1" "$(count watching "$2")"; }
t "deleted in one, it is no longer watched there" wait_for 30 watching 0 "$inum_one"
t "and in the other it is" watching 1 "$inum_two"
nsenter --net=/run/netns/two sleep 60 &
sleeper=$!
inside() { [ "$(readlink "/proc/$sleeper/ns/net")" = "net:[$1]" ]; }
wait_for 30 inside "$inum_two"
t "a namespace is named by a process in it" tell "route add dst=10.7.1.0/24 timeout=100ms pid=$sleeper"
t "and its route deleted" wait_for 30 none at two /usr/sbin/ip route show 10.7.1.0/24
kill $sleeper

# fill NAME N: N routes there, all watched.
fill() {
	seq "$2" | awk '{ print "route add 10.8." int($1 / 250) "." $1 % 250 " dev lo" }' >/tmp/fill
	at "$1" /usr/sbin/ip -batch /tmp/fill
	sed 's,route add \(.*\) dev lo,route add dst=\1 timeout=1h,' /tmp/fill >/tmp/watch
	at "$1" sh -c 'while read -r line; do echo "$line"; done </tmp/watch >&3'
}
t "1000 routes of a namespace are watched" fill one 1000
t "the kernel agrees" equal 1000 "$(at one /usr/sbin/ip route | grep -c ^10.8)"
t "so does debugfs" equal "1000 1000" \
	"$(count watching "$inum_one") $(grep -c "^route net=$inum_one " $tree/route/watched)"
known() { [ "$(value net <$tree/route/namespaces | grep -cx "$1")" = "$2" ]; }
ip netns del one
t "a namespace with watched routes is kept alive by nobody" wait_for 30 known "$inum_one" 0
t "and nothing of it is left" equal "" "$(value dst net="$inum_one" <$tree/route/watched)"
ip netns del two
wait_for 30 known "$inum_two" 0
# Created, filled and deleted, again and again; a deletion may come while routes expire. Who still adds
# routes then is told so, with one of two errors, and control says why.
cat >/tmp/writer <<-'END'
	while read -r line; do
		echo "$line" 2>/dev/null >&3 && continue
		{ read -r _ && read -r result && read -r why; } <"$1"
		case "$result,$why" in
		"last result=refused errno=ENODEV,# "?* | "last result=refused errno=ENOENT,# "?*) echo "refused: $why" ;;
		*) echo "$line: $result: $why" ;;
		esac
	done </tmp/watch
END
# write_from COMMAND...: has it written, and what comes of it noted; what nsenter has to say, too.
write_from() { "$@" sh /tmp/writer $tree/control >>/tmp/churn 2>&1; }
# From inside, which keeps the namespace alive, if it comes in at all; and from outside, by a process that ends.
within() { write_from nsenter --net="/run/netns/$1" & }
beside() {
	nsenter --net="/run/netns/$1" sleep 60 &
	sleeper=$!
	wait_for 30 inside "$(at "$1" readlink /proc/self/ns/net | tr -dc 0-9)"
	sed -i "s/$/ pid=$sleeper/" /tmp/watch
	# Or by one that is gone, which is refused each time.
	[ "$2" != 0 ] || { kill "$sleeper"; wait "$sleeper"; }
	write_from env &
}
churn() {
	local round writer pause sleeper
	: >/tmp/churn
	for round in 1 2 3 4 5 6; do
		ip netns add "n$round" && at "n$round" /usr/sbin/ip link set lo up && fill "n$round" 100 || return
		sed -i 's/=1h/=0/' /tmp/watch
		pause=$((round / 2))
		sleeper=
		if [ $((round % 2)) = 0 ]; then beside "n$round" $((pause - 1)); else within "n$round"; fi
		writer=$!
		[ $pause = 0 ] || sleep 0.0$pause
		[ -z "$sleeper" ] || kill "$sleeper" 2>/dev/null
		ip netns del "n$round"
		wait $writer
	done
	fails grep -v '^refused: \|^nsenter: .*\(No such\|setns()\)' /tmp/churn || return
	grep -q '^refused: ' /tmp/churn || { echo "nobody was refused"; return 1; }
}
t "namespaces go while their routes expire: who adds some is told why not" churn
diag "$(grep -c '^refused: ' /tmp/churn) of 600 commands were refused"
left() { [ "$(value watching <$tree/route/namespaces | grep -cvx 0)" = 0 ]; }
t "no route of them is left" wait_for 30 left

# ---- a driver ----------------------------------------------------------------------------------------

# Faults: a driver that is not told, or twice, or of another's route; a leaked one that is told after its end.
said() { [ "$(dmesg | grep -c "softclock_fibs: $1\$")" = "${2:-1}" ]; }
seq 1 6 | sed 's,.*,route add 10.1.&.0/24 dev lo,' >/tmp/fibs
seq 16 20 | sed 's,.*,route add 10.1.&.0/24 dev lo,' >/tmp/held
ip -batch /tmp/fibs
t "a driver has routes watched" insmod /softclock_fibs.ko checks=1
t "none of its checks fails" said 'failed .*' 0
t "and all were made" equal 37 "$(dmesg | grep -c 'softclock_fibs: ok ')"
t "what it has forgotten lives" equal "3 5" "$(ip route | awk -F. '/^10[.]1[.][1-6][.]/ { printf "%s%s", n++ ? " " : "", $3 }')"
rmmod softclock_fibs
ip route flush root 10.1.0.0/16
ip -batch /tmp/held
insmod /softclock_fibs.ko watch=5 end=2
t "a driver's routes are listed with its name" equal 5 \
	"$(grep -c 'dst=10.1.*/24 .* client=softclock_fibs name=fibs ' $tree/route/watched)"
t "an operator is refused what a driver has: EEXIST" refused EEXIST route add dst=10.1.16.0/24 timeout=1
t "nor does he make it forget" refused ENOENT route forget dst=10.1.16.0/24
ip route del 10.1.16.0/24
t "the driver is told of a route that another hand has deleted" wait_for 30 said '10.1.16.0/24 Gone'
rmmod softclock_fibs
t "what it has left behind is named" equal 1 \
	"$(dmesg | grep -c 'client softclock_fibs left routes fibs (id [0-9]*, 4 watched) behind')"
t "and forgotten" watches
t "its routes live" equal 4 "$(ip route | grep -c '^10.1.1[6-9].\|^10.1.20.')"
tell route add dst=10.1.17.0/24 timeout=1h
ip route add 10.1.16.0/24 dev lo
loads() { insmod /softclock_fibs.ko watch=5; grep -q '^softclock_fibs ' /proc/modules; }
t "a driver is refused what an operator has" fails loads
t "and what it had watched till then is forgotten" wait_for 30 watches 10.1.17.0/24
tell route forget dst=10.1.17.0/24
ip route flush root 10.1.0.0/16
# Its namespace goes while it is loaded.
ip netns add three
at three /usr/sbin/ip link set lo up
at three /usr/sbin/ip -batch /tmp/held
at three insmod /softclock_fibs.ko watch=5
ip netns del three
t "the driver is told of a namespace that is gone" wait_for 30 said '10.1.*.0/24 NamespaceGone' 5
t "and refused in it: ENODEV" wait_for 30 said 'a namespace that is gone is refused'
t "it unloads after its namespace" rmmod softclock_fibs

# ---- ten thousand ------------------------------------------------------------------------------------

# agree N: so many routes of ours says the kernel, and so many debugfs, in both its files; and each that is watched, in
# any namespace, has a timer.
agree() {
	local shown
	shown="$(ip route show proto 99 | wc -l) $(count watching) $(grep -c "^route net=$(here) .* proto=99 " $tree/route/watched)"
	equal "$1 $1 $1 $(all_watched)" "$shown $(timers)"
}
all_watched() { value watching <$tree/route/namespaces | awk '{ sum += $1 } END { print sum + 0 }'; }
timers() { grep -c '^entry .* client=softclock name=expiry ' $tree/route/entries; }
seq $N | awk '{ print "route add 10." 16 + int($1 / 65000) "." int($1 % 65000 / 250) "." $1 % 250 " dev lo proto 99" }' >/tmp/many
sed 's,route add \([^ ]*\) .*,route add dst=\1 timeout=1h,' /tmp/many >/tmp/watch
ip -batch /tmp/many
began=$(cut -d . -f 1 /proc/uptime)
tell_all /tmp/watch
diag "$N commands took $(($(cut -d . -f 1 /proc/uptime) - began)) s"
t "$N routes are watched" agree $N
# Two namespaces with a tenth of that each; one of them goes in the middle.
# agree_in NAME INUM N: the same in that namespace.
agree_in() {
	local shown
	shown="$(at "$1" /usr/sbin/ip route show | grep -c '^10\.8\.') $(count watching "$2") $(grep -c "^route net=$2 " $tree/route/watched)"
	equal "$3 $3 $3" "$shown"
}
for name in five six; do
	ip netns add $name
	at $name /usr/sbin/ip link set lo up
	fill $name $((N / 10))
done
inum_five=$(at five readlink /proc/self/ns/net | tr -dc 0-9)
inum_six=$(at six readlink /proc/self/ns/net | tr -dc 0-9)
both() { agree_in five "$inum_five" "$1" && agree_in six "$inum_six" "$1"; }
t "$((N / 10)) more in each of two namespaces" both $((N / 10))
ip netns del five
t "one of them is deleted: nothing of it is left" wait_for 30 known "$inum_five" 0
t "and the others are as they were" agree $N
t "also in the other one" agree_in six "$inum_six" $((N / 10))
sed -i 's/=1h/=100ms/' /tmp/watch
at six sh -c 'while read -r line; do echo "$line"; done </tmp/watch >&3'
t "where they time out" wait_for 30 agree_in six "$inum_six" 0
ip netns del six
t "and the others are as they were again" agree $N
awk 'NR % 10 == 1 { sub("add", "del"); print }' /tmp/many >/tmp/early
tenth=$(wc -l </tmp/early)
ip -batch /tmp/early
t "a tenth deleted early by hand" wait_for 30 agree $((N - tenth))
awk 'NR % 10 == 2 { print "route add dst=" $3 " timeout=0" }' /tmp/many >/tmp/watch
tell_all /tmp/watch
t "a tenth deleted by softclock" wait_for 30 agree $((N - 2 * tenth))
awk 'NR % 10 == 3 { print "route forget dst=" $3 }' /tmp/many >/tmp/watch
tell_all /tmp/watch
t "a tenth forgotten" equal "$((N - 2 * tenth)) $((N - 3 * tenth))" \
	"$(ip route show proto 99 | wc -l) $(count watching)"
gone=$(count gone)
ip link set lo down
t "the rest goes with its link" wait_for 30 agree 0
t "and was counted as gone" equal $((gone + N - 3 * tenth)) "$(count gone)"
ip link set lo up
ip -batch /tmp/many
sed 's,route add \([^ ]*\) .*,route add dst=\1 timeout=2s,' /tmp/many >/tmp/watch
deleted=$(count deleted)
tell_all /tmp/watch
t "$N routes expire" wait_for 30 agree 0
t "all of them by softclock" equal $((deleted + N)) "$(count deleted)"
t "nothing was lost on the way" equal 0 "$(count lost)"
exec 3>&-
t "it unloads" rmmod softclock

# ---- attacks -----------------------------------------------------------------------------------------

# Room for a few messages only: the others are lost, and a listing finds out.
insmod /softclock.ko route_room_kib=1
head -n 2000 /tmp/many >/tmp/some
ip -batch /tmp/some
sed 's,route add \([^ ]*\) .*,route add dst=\1 timeout=1h,' /tmp/some >/tmp/watch
tell_all /tmp/watch
awk 'NR % 10 == 1 { sub("add", "del"); print }' /tmp/some >/tmp/early
ip -batch /tmp/early
t "one after the other deleted by hand, they are gone" wait_for 60 agree 1800
ip route flush proto 99
t "all at once, too" wait_for 30 agree 0
seq 300 | awk '{ printf "route add 2001:db8:%x::/48 dev lo\n", 4096 + $1 }' >/tmp/many6
sed 's,route add \([^ ]*\) .*,route add dst=\1 timeout=1h,' /tmp/many6 >/tmp/watch
ip -6 -batch /tmp/many6
tell_all /tmp/watch
lost=$(count lost)
# Deleted under one lock: nobody hears fast enough.
ip link set lo down
t "so are those of IPv6" wait_for 30 agree 0
t "and it was noticed that messages were lost" test "$(count lost)" -gt "$lost"
ip link set lo up
rmmod softclock

flood() {
	seq 500 | awk '{ d = "10.9." int($1 / 250) "." $1 % 250 " dev lo"
		print "route add " d "\nroute del " d }' >/tmp/flood
	# A pause, because in some guests time passes in pauses only.
	while [ -e /tmp/flooding ]; do ip -batch /tmp/flood && sleep 0.01; done
}
touch /tmp/flooding
flood &
unload() {
	local round
	for round in 1 2 3 4 5 6; do
		ip route add 10.9.9.0/24 dev lo proto 99
		insmod /softclock.ko && tell route add dst=10.9.9.0/24 timeout=0.$round 2>/dev/null
		tell route add dst=10.9.9.0/24 timeout=${round}0ms
		sleep 0.0$round
		rmmod softclock || return
		ip route del 10.9.9.0/24 2>/dev/null
	done
	return 0
}
t "it unloads while messages come and routes expire" unload
rm /tmp/flooding
wait
t "a room for no message is refused" fails insmod /softclock.ko route_room_kib=0
