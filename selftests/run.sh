#!/bin/busybox sh
# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=dash disable=SC2016
#
# Runs, inside a guest, the scripts that /plan names (one a line: script, seconds it may take, argument), each
# as one top-level KTAP test with its own tests nested in it. scripts/test writes /plan. Where the
# guest's clock runs ahead of ours the seconds are 0: then only the limit of the whole guest holds.

count=$(grep -c . /plan)
echo "KTAP version 1"
echo "1..$count"

# In a session of its own, so that what it leaves behind can be ended with it.
run() {
	KTAP_NAME=${1%.sh} LIMIT=$2 setsid sh -c '
		echo $$ >/tmp/.session
		[ "$LIMIT" != 0 ] || exec sh "/selftests/$0" "$@"
		exec timeout -s KILL "$LIMIT" sh "/selftests/$0" "$@"' "$1" ${3:+"$3"} </dev/null 2>&1
	echo $? >/tmp/.status
	read -r session </tmp/.session
	kill -KILL "-$session" 2>/dev/null
}

num=0 failed=0
while read -r script limit argument; do
	num=$((num + 1)) name=${script%.sh} verdict=ok why=''
	# Line by line: what was said before a panic must be out.
	run "$script" "$limit" "$argument" | while IFS= read -r line; do echo "    $line"; done
	read -r status </tmp/.status
	case $status in
	0)	;;
	4)	why='SKIP' ;;
	137)	verdict='not ok'; echo "# $name: killed, still running after $limit s" ;;
	*)	verdict='not ok' ;;
	esac
	left=$(cut -d ' ' -f 1 /proc/modules)
	if [ "$left" ]; then
		verdict='not ok'
		echo "# $name: left loaded: $(echo "$left" | tr '\n' ' ')"
		for module in $left; do rmmod "$module" 2>/dev/null; done	# newest first
	fi
	[ "$verdict" = ok ] || failed=1
	echo "$verdict $num $name${why:+ # $why}"
done </plan
exit $failed
