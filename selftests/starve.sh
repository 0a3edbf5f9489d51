#!/bin/busybox sh
# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=dash disable=SC1091
#
# Liveness without memory: the kernel's workers get none, and have it again. Faults: what could not be
# allocated leaves an entity in flight for ever (S10), loses its next time, keeps its place in the window, or
# is taken for the silence of a portal.

. /lib.sh
ktap_plan 16

tree=/sys/kernel/debug/softclock
failslab=/sys/kernel/debug/failslab
if [ ! -e /proc/self/make-it-fail ] || [ ! -e $failslab ]; then
	for n in $(seq 16); do skip "without memory, $n" "this kernel injects no failures"; done
	exit
fi

# Allocations of all workers there are fail, also those that may wait.
echo 0 >$failslab/verbose
echo -1 >$failslab/times
echo N >$failslab/ignore-gfp-wait
echo Y >$failslab/task-filter
workers() { for pid in /proc/[0-9]*; do case $(cat "$pid/comm") in kworker/*) echo "$pid" ;; esac; done; }
starve() {
	local pid
	echo $((100 * $1)) >$failslab/probability
	for pid in $(workers); do echo "$1" >"$pid/make-it-fail"; done
}

sum() { value "$1" <$tree/liveness/services | awk '{ n += $1 } END { print n + 0 }'; }
is() { equal "$1" "$(sum "$2")"; }
tell() { echo "$*" >$tree/control; }
states() { value state <$tree/liveness/entities | sort | uniq -c | awk '{ printf "%s %s ", $1, $2 }'; }
# Each has its next time about an interval away.
ahead() { value in_ns <$tree/liveness/entities | awk -v least=$(((interval - 100) * 1000000000)) '$1 < least { bad++ } END { exit bad > 0 }'; }

insmod /softclock.ko || ktap_bail "softclock.ko does not load"
interval=100000
# What workers have allocated before, to be ready, is there.
insmod /softclock_entities.ko n=200 interval_s=$interval || ktap_bail "softclock_entities.ko does not load"
tell "probe all"
wait_for 20 is 200 alive

starve 1
tell "probe all"
tried() { is 400 rounds && is 0 in_flight; }
t "a round of each, and none is left in flight" wait_for 20 tried
starve 0
failed=$(($(sum no_memory) + $(sum not_begun)))
diag "$(sum no_memory) rounds could not be made, $(sum not_begun) probes not begun"
t "S10 memory was missing" test $failed -gt 0
# Workers that are new have some.
t "S10 each is accounted for, and nobody is dead" equal "200 0" "$((failed + $(sum alive) - 200)) $(sum dead)"
t "S10 each waits" equal "200 waiting " "$(states)"
t "S10 and for the next interval" ahead
alive=$(sum alive)
tell "probe all"
t "with memory each has its round" wait_for 20 is $((alive + 200)) alive

# Every second one fails: a round is there, and its probe is not.
before="$(sum no_memory) $(sum not_begun) $(sum alive)"
echo 2 >$failslab/interval
starve 1
tell "probe all"
halved() { is 800 rounds && is 0 in_flight; }
t "with half of it each has its round" wait_for 20 halved
starve 0
echo 1 >$failslab/interval
# shellcheck disable=SC2046,SC2086
set -- $before $(sum no_memory) $(sum not_begun) $(sum alive)
diag "$(($4 - $1)) rounds could not be made, $(($5 - $2)) probes not begun, $(($6 - $3)) answered"
t "S10 probes could not be begun" test $(($5 - $2)) -gt 0
t "S10 each is accounted for, and nobody is dead" equal "200 0" "$(($4 - $1 + $5 - $2 + $6 - $3)) $(sum dead)"
t "S10 each waits for its next interval" ahead
rmmod softclock_entities

# Over sockets, which are not there yet: those are missing, or what is sent.
ifconfig lo 127.0.0.1 up
insmod /softclock_peer.ko || ktap_bail "softclock_peer.ko does not load"
insmod /liveness_portal.ko port=7001 every_s=$interval || ktap_bail "the sample does not load"
eid=iqn.2026-01.org.example:disk
ended() { [ "$(sum rounds)" -gt "$rounds" ] && is 0 in_flight; }
# Each has some bytes more before there is none: for the round, the question, the socket, what is sent.
sooner_or_later() {
	local space
	for space in 0 256 512 768 1024 1536 2048 3072 4096; do
		rounds=$(sum rounds)
		echo $space >$failslab/space
		starve 1
		tell "probe eid=$eid"
		wait_for 60 ended || return
		starve 0
	done
}
t "over sockets, without memory sooner or later: each round ends" sooner_or_later
starve 0
diag "$(sum no_memory) rounds could not be made, $(sum not_begun) probes not begun, $(sum alive) answered"
t "that is no silence" equal 0 "$(sum dead)"
t "S10 the entity waits" equal waiting "$(value state "eid=$eid" <$tree/liveness/entities)"
rounds=$(sum rounds)
tell "probe eid=$eid"
again() { ended && [ "$(sum alive)" -gt 0 ]; }
t "with memory it is asked, and lives" wait_for 20 again
t "and unloads" rmmod liveness_portal
echo N >$failslab/task-filter
t "nothing is left" equal 0 "$(grep -c '^service ' $tree/liveness/services)"
rmmod softclock softclock_peer
