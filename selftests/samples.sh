#!/bin/busybox sh
# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=dash disable=SC1091
#
# The samples do what they say. Fault: a newcomer copies something that does not work.

. /lib.sh
ktap_plan 38

tree=/sys/kernel/debug/softclock
said() { [ "$(dmesg | grep -c "$1")" = "${2:-1}" ]; }
insmod /softclock.ko || ktap_bail "softclock.ko does not load"

insmod /callout_minimal.ko || ktap_bail "callout_minimal.ko does not load"
t "callout_minimal: its closure is called" wait_for 10 said 'callout_minimal: called'
sleep 0.3
t "callout_minimal: once" said 'callout_minimal: called'
t "callout_minimal: it unloads" rmmod callout_minimal

insmod /callout_lock.ko || ktap_bail "callout_lock.ko does not load"
t "callout_lock: the silent link is declared dead" wait_for 10 said 'callout_lock: the link is dead'
t "callout_lock: it unloads" rmmod callout_lock

insmod /callout_precise.ko || ktap_bail "callout_precise.ko does not load"
# Its clocks 0 to 3 expire in the hard interrupt, 4 to 7 in the softirq.
in_hardirq() {
	awk '/^ clock [0-9]/ { clock = $2 + 0 } /softclock/ { if (clock < 4) hard = 1; else soft = 1 }
		END { exit !hard || soft }' /proc/timer_list
}
t "callout-31 callout_precise: the kernel has its timer among the hard ones" wait_for 10 in_hardirq
flashing() { [ "$(value fired client=callout_precise <$tree/callouts)" -gt 5 ]; }
t "callout_precise: it flashes" wait_for 10 flashing
on_time() { [ $(($(value due_ns client=callout_precise <$tree/callouts) - due)) -ge 0 ] &&
	[ $((($(value due_ns client=callout_precise <$tree/callouts) - due) % 10000000)) = 0 ]; }
due=$(value due_ns client=callout_precise <$tree/callouts)
sleep 0.1
t "callout_precise: its deadlines are whole periods apart" wait_for 5 on_time
rmmod callout_precise
t "callout_precise: at the end it says how often it flashed" said 'callout_precise: [0-9]* flashes'

insmod /periodic_watchdog.ko || ktap_bail "periodic_watchdog.ko does not load"
t "periodic_watchdog: a device that hangs is reset" wait_for 20 said 'periodic_watchdog: silent after [0-9]* signs of life: reset'
revived() { [ "$(value fired client=periodic_watchdog name=interrupt <$tree/periodics)" -gt 60 ]; }
t "periodic_watchdog: its interrupt goes on" wait_for 10 revived
t "periodic_watchdog: it unloads" rmmod periodic_watchdog

insmod /timeout_port.ko || ktap_bail "timeout_port.ko does not load"
t "timeout_port: the watchdog of unit 0 barks" wait_for 10 said 'timeout_port: mydev0: watchdog timeout'
rmmod timeout_port
t "timeout_port: at detach its handle is stale" said 'timeout_port: mydev0: Stale'
t "timeout_port: that of unit 1 never barks" said 'timeout_port: mydev1' 0

insmod /route_expiry.ko || ktap_bail "route_expiry.ko does not load"
of() { value "$1" client=route_expiry "name=$2" <$tree/route/queues; }
t "route_expiry: one of two MTUs is on its way to be forgotten, in ten minutes" equal "1 600000000000" "$(of count pmtu) $(of timeout_ns pmtu)"
t "route_expiry: two of three neighbours are to be deleted, in twenty" equal "2 1200000000000" "$(of count arp) $(of timeout_ns arp)"
t "rt_timer-29 route_expiry: one callout for each queue" equal 2 "$(grep -c '^callout .*client=route_expiry .*state=armed' $tree/callouts)"
# Faults: what was removed is counted as replaced, or with the other queue's.
ends() { echo "$(of added "$1") $(of fired "$1") $(of replaced "$1") $(of removed "$1")"; }
t "route_expiry: of three neighbours and of two MTUs one each was removed" equal "3 0 0 1, 2 0 0 1" "$(ends arp), $(ends pmtu)"
if [ "$SC_GUEST" = uml-tt ]; then
	# Simulated minutes.
	sleep 601
	t "rt_timer-29 route_expiry: after ten minutes the MTU is forgotten" said 'route_expiry: neighbour 1: packets of 1500 again'
	t "route_expiry: and nobody is deleted" said 'route_expiry: neighbour [0-9]: deleted' 0
	sleep 600
	t "rt_timer-29 route_expiry: after twenty two are" said 'route_expiry: neighbour [01]: deleted' 2
else
	for name in "rt_timer-29 route_expiry: after ten minutes the MTU is forgotten" \
		"route_expiry: and nobody is deleted" "rt_timer-29 route_expiry: after twenty two are"; do
		skip "$name" "only where time is simulated"
	done
fi
rmmod route_expiry
t "route_expiry: the one whose timers were removed is as it was" said 'route_expiry: neighbour 2: mtu 1400 at the end'

ifconfig lo 127.0.0.1 up
t "fib_expiry: without the route it does not load" fails insmod /fib_expiry.ko
ip route add 10.1.2.0/24 dev lo
insmod /fib_expiry.ko timeout_ms=200 || ktap_bail "fib_expiry.ko does not load"
t "fib_expiry: the route is deleted" wait_for 20 said 'fib_expiry: 10.1.2.0/24: its time was over'
t "fib_expiry: the kernel agrees" equal 0 "$(ip route | grep -c '^10.1.2.')"
rmmod fib_expiry
ip route add 10.1.2.0/24 dev lo
insmod /fib_expiry.ko || ktap_bail "fib_expiry.ko does not load"
ip route del 10.1.2.0/24
t "fib_expiry: somebody else's hand is heard of" wait_for 20 said 'fib_expiry: 10.1.2.0/24: somebody else has deleted it'
t "fib_expiry: it unloads" rmmod fib_expiry

insmod /liveness_custom.ko || ktap_bail "liveness_custom.ko does not load"
t "liveness_custom: the controller that hangs is dead" wait_for 30 said 'liveness_custom: shelf-b: controller 2 is dead: timeout'
t "liveness_custom: its shelf expires" wait_for 30 said 'liveness_custom: shelf-b is taken off the bus: silence'
t "liveness_custom: the other one lives" equal "alive shelf-a" \
	"$(value verdict service=bus <$tree/liveness/portals) $(value eid service=bus <$tree/liveness/entities)"
t "liveness_custom: it unloads" rmmod liveness_custom

ifconfig lo 127.0.0.1 up
# Port 7001 answers, and 7011 keeps silent.
insmod /softclock_peer.ko || ktap_bail "softclock_peer.ko does not load"
disk=iqn.2026-01.org.example:disk
insmod /liveness_portal.ko port=7001 every_s=1 || ktap_bail "liveness_portal.ko does not load"
lives() { [ "$(dmesg | grep -c "liveness_portal: $disk lives")" -ge 2 ]; }
t "liveness_portal: a portal that answers lives" wait_for 30 lives
t "liveness_portal: that is what an operator reads" equal "alive" "$(value verdict service=portal <$tree/liveness/portals)"
t "liveness_portal: it unloads" rmmod liveness_portal
insmod /liveness_portal.ko port=7011 every_s=1 || ktap_bail "liveness_portal.ko does not load"
t "liveness_portal: one that does not is suspect first" wait_for 30 said "liveness_portal: $disk is silent: 1 of 3"
t "liveness_portal: then it is dead" wait_for 60 said "liveness_portal: $disk: 127.0.0.1:7011/udp is dead: timeout"
t "liveness_portal: and so its entity expires" wait_for 60 said "liveness_portal: $disk is gone: silence"
rmmod liveness_portal
rmmod softclock_peer
rmmod softclock
