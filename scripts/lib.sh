# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# Shared shell library. Sourced by the scripts beside it, never run.
#
# Two places matter to every script: TOP, the checkout, and CACHE, where all
# that is downloaded or built once is kept. Inside the toolchain root both
# have fixed names (/mnt/softclock and IN_CACHE), because prepared kernel
# trees hold absolute paths.

# chroot, unshare's friends and mmdebstrap live where an ordinary user's PATH may not lead.
PATH=$PATH:/usr/sbin:/sbin

TOP=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd -P)
CACHE=${SOFTCLOCK_CACHE:-${HOME:-/root}/.cache/softclock}
case $CACHE in /*) ;; *) CACHE=$PWD/$CACHE ;; esac
IN_CACHE=/mnt/cache

# What a person sees: one line each, on stderr, so that stdout stays usable.
say() { printf 'softclock: %s\n' "$*" >&2; }

# die MESSAGE REMEDY: every failure names what the reader can do about it.
die() {
	printf 'softclock: error: %s\n' "$1" >&2
	if [ -n "${2:-}" ]; then printf 'softclock: remedy: %s\n' "$2" >&2; fi
	exit 1
}

# The name of a path on the host, for messages printed inside the root.
shown() {
	local host=${SOFTCLOCK_CACHE_SHOWN:-$CACHE}
	case $1 in
	"$CACHE"*) printf '%s%s' "$host" "${1#"$CACHE"}" ;;
	*) printf '%s' "$1" ;;
	esac
}

# Where a path of the cache is found inside the root.
in_root() { printf '%s%s\n' "$IN_CACHE" "${1#"$CACHE"}"; }

# slowness GUEST: limits count that many times longer there.
slowness() { case $1 in dbg-*) echo 6 ;; *) echo 1 ;; esac; }

# cargo_offline HOME ARGUMENT...: cargo, in the root. The crates are there: neither the network nor the home of a
# cargo is needed.
cargo_offline() {
	local home=$1 crates
	crates=$("$TOP/scripts/setup" where crates)
	shift
	CARGO_HOME=$home command cargo "$@" --release --locked --offline \
		--config 'source.crates-io.replace-with="softclock"' \
		--config "source.softclock.directory=\"$crates\""
}

# ---- keys --------------------------------------------------------------

# key: 12 hex digits that stand for everything read from stdin.
key() {
	local sum
	sum=$(sha256sum)
	printf '%s\n' "${sum:0:12}"
}

# recipe FUNCTION FILE: the text of a function without its comments. Part of
# the key of what the function builds, so that a changed recipe means a new
# product and a changed comment does not. Read from the file, not from
# "declare -f", whose layout differs between versions of bash.
recipe() {
	sed -n "/^$1() {/,/^}/{/^[[:space:]]*#/d;p}" "$2"
}

# ---- the host -----------------------------------------------------------

# choose_unshare: sets UNSHARE, the command that gives this user a mount
# namespace of his own, all of which ends when the command is killed.
choose_unshare() {
	local me
	me=$(id -un)
	UNSHARE=(unshare --mount --pid --fork --kill-child)
	if [ "$(id -u)" != 0 ]; then UNSHARE+=(--user --map-root-user); fi
	if "${UNSHARE[@]}" true 2>/dev/null; then return; fi
	# In a chroot / is not a mount point and cannot be made private.
	UNSHARE+=(--propagation unchanged)
	if "${UNSHARE[@]}" true 2>/dev/null; then return; fi
	[ "$me" != root ] || die \
		"root may not mount anything here (a container without that right?)" \
		"start the container with --privileged, or work outside of it"
	die "user namespaces are not available to user $me" \
		"as root: sysctl -w kernel.unprivileged_userns_clone=1 user.max_user_namespaces=10000, on Ubuntu also kernel.apparmor_restrict_unprivileged_userns=0; or run the same command as root"
}

# ---- the cache ---------------------------------------------------------

# cache_ready: makes the cache directory, or says why it cannot be used.
cache_ready() {
	local bad="SOFTCLOCK_CACHE=/another/directory make ..."
	case $CACHE$TOP in
	*$'\n'*) die "a path with a line break cannot be used: $CACHE, $TOP" "move it" ;;
	esac
	mkdir -p "$CACHE/lock" "$CACHE/log" 2>/dev/null ||
		die "user $(id -un) cannot make or write the cache directory $(shown "$CACHE")" \
			"free some space, make it writable (chown), or choose another place: $bad"
	if ! [ -w "$CACHE" ] || ! [ -w "$CACHE/lock" ] || ! [ -w "$CACHE/log" ]; then
		die "user $(id -un) cannot write in the cache directory $(shown "$CACHE")" \
			"make it yours (chown -R), or choose another place: $bad"
	fi
}

# outputs_ready: .build must be ours to write, in all of it that matters.
outputs_ready() {
	local other
	mkdir -p "$TOP/.build" 2>/dev/null || die "user $(id -un) cannot write in the checkout $TOP" \
		"make it yours (chown -R), or clone it anew"
	other=$(find "$TOP/.build" -maxdepth 2 ! -type l ! -writable -print -quit 2>/dev/null)
	[ -z "$other" ] || die "user $(id -un) cannot write $other, the output of another user's run" \
		"as that user, or root: rm -rf $TOP/.build"
}

free_mb() { df -Pk -- "$1" | awk 'END { print int($4 / 1024) }'; }

# need_space DIRECTORY MEGABYTES WHAT-FOR
need_space() {
	local have
	have=$(free_mb "$1")
	[ "$have" -ge "$2" ] || die \
		"$3 needs $2 MB in $(shown "$1"), only $have MB are free" \
		"free some space, or keep the cache on another disk: SOFTCLOCK_CACHE=/another/directory make ..."
}

# with_lock NAME COMMAND...: one at a time, over all runs that share the cache.
# The lock is inherited by the children on purpose: when a run is killed and a
# child of it still writes, the next run waits until that child has gone.
with_lock() {
	local name=$1 file=$CACHE/lock/$1 patience=0 LOCK_FD
	shift
	while :; do
		mkdir -p "$CACHE/lock"
		exec {LOCK_FD}>>"$file"
		until flock -w "$patience" "$LOCK_FD"; do
			if [ "$patience" = 0 ]; then
				say "another run is making $name right now; waiting for it"
				patience=15
			else
				say "  ... still waiting for the other run"
			fi
		done
		# Was the cache deleted meanwhile? Then this lock guards nothing.
		[ "$file" -ef "/proc/self/fd/$LOCK_FD" ] && break
		exec {LOCK_FD}>&-
	done
	"$@"
	exec {LOCK_FD}>&-
}

# wipe PATH...: removes what a killed run has left. --one-file-system: should a
# mount ever be left inside, it is not followed.
wipe() { rm -rf --one-file-system -- "$@"; }

# fresh_dir PATH: an empty directory to build in.
fresh_dir() {
	wipe "$1"
	mkdir -p -- "$1"
}

# publish TMP FINAL: a finished product appears under its name at once.
publish() {
	wipe "$2"
	mv -T -- "$1" "$2"
}

# ---- packages and programs (inside the root) ------------------------------

# apt_in DIR: what makes apt keep its state in DIR, because the root is shared and
# read-only; in APT_OPTS. Its sources are those that apt_update reads from stdin.
apt_in() {
	APT_DIR=$1
	APT_OPTS=(
		-o "Dir::Etc::sourcelist=$1/sources.list" -o Dir::Etc::sourceparts=-
		-o "Dir::State=$1/state" -o "Dir::State::status=$1/status"
		-o "Dir::Cache=$1/cache" -o APT::Sandbox::User=root
		-o Acquire::Languages=none -o Acquire::Retries=3
		-o APT::Update::Error-Mode=any
	)
}

# apt_update: the lists of what there is, verified by apt as on any machine.
apt_update() {
	mkdir -p "$APT_DIR/state/lists/partial" "$APT_DIR/cache/archives/partial"
	: >"$APT_DIR/status"
	cat >"$APT_DIR/sources.list"
	apt-get "${APT_OPTS[@]}" update
}

# programs DIR NAME...: copies what a guest is to have beside busybox, from the toolchain root or the
# peers, with the libraries it is linked to. DIR is the guest's /.
programs() {
	local files=$1 peers name from
	shift
	peers=$("$TOP/scripts/setup" where peers)
	for name; do
		from=$(PATH=$PATH:$peers/usr/sbin:$peers/usr/bin command -v "$name") ||
			die "neither the toolchain root nor the peers have $name" "scripts/setup root peers"
		while read -r from; do
			mkdir -p "$(dirname "$files${from#"$peers"}")"
			cp -L "$from" "$files${from#"$peers"}"
		done < <(echo "$from"
			LD_LIBRARY_PATH=$peers/usr/lib/x86_64-linux-gnu ldd "$from" | grep -o '/[^ ]*')
	done
}

# ---- long steps --------------------------------------------------------

# heartbeat PARENT LOG: a line now and then, so that nobody thinks it hangs.
heartbeat() {
	local parent=$1 log=$2 last s=0 fd
	# Hold no lock of ours or of our callers: sleep may outlive the run.
	for fd in /proc/self/fd/*; do
		fd=${fd##*/}
		if [ "$fd" -gt 2 ] && [ "$fd" -lt 255 ]; then exec {fd}>&-; fi
	done
	while sleep 1 >/dev/null 2>&1 && kill -0 "$parent" 2>/dev/null; do
		s=$((s + 1))
		[ $((s % 15)) = 0 ] || continue
		last=$(tail -c 400 -- "$log" 2>/dev/null | tr '\r' '\n' | grep -v '^ *$' | tail -n 1) || :
		printf 'softclock:   ... %d s  %.60s\n' "$s" "$last" >&2
	done
}

# step WHAT HOW-LONG PRODUCT COMMAND...: says what it does, runs the command
# with its output in a log, and explains a failure. The command dies with us,
# and has a session of its own: mmdebstrap hangs up its process group when it
# fails, which must not be ours. In the background, because the shell would
# keep a Ctrl-C until a foreground command has ended.
step() {
	local what=$1 long=$2 product=$3 log beat pid rc=0 start=$SECONDS
	shift 3
	log=$CACHE/log/$(printf '%s' "$what" | tr -cs 'A-Za-z0-9.+-' '-').log
	say "$what ($long; kept in $(shown "$product"))"
	heartbeat $$ "$log" &
	beat=$!
	setpriv --pdeathsig KILL setsid "$@" >"$log" 2>&1 </dev/null &
	pid=$!
	{ wait "$pid" || rc=$?; } 2>/dev/null
	kill "$beat" 2>/dev/null || :
	wait "$beat" 2>/dev/null || :
	if [ "$rc" = 0 ]; then
		say "  done in $((SECONDS - start)) s"
		return
	fi
	explain_failure "$what" "$log" "$rc"
}

# explain_failure WHAT LOG STATUS: the end of the log, and the likely cause.
explain_failure() {
	local what=$1 log=$2 rc=$3 where
	where=$(shown "$log")
	[ -d "$CACHE/log" ] || die "$what: the cache was deleted meanwhile" "run the same command again"
	if [ -s "$log" ]; then
		say "the last lines of $where:"
		tail -n 20 -- "$log" | tr '\r' '\n' | sed 's/^/    /' >&2
	fi
	if grep -qs 'No space left on device\|enough free space' "$log" || [ "$(free_mb "$CACHE" 2>/dev/null || echo 0)" -lt 20 ]; then
		die "$what: the disk is full" \
			"free some space, or keep the cache on another disk: SOFTCLOCK_CACHE=/another/directory make ..."
	fi
	if grep -qsi 'could not resolve\|temporary failure\|could not connect\|unable to connect\|network is unreachable\|connection timed out\|connection failed\|failed to fetch' "$log"; then
		die "$what: the Debian mirror cannot be reached" \
			"check the network (http_proxy is honoured; DEBIAN_MIRROR=URL names another mirror) and run the same command again"
	fi
	if grep -qs '^checksum mismatch' "$log"; then
		die "$what: a package is not the one named in scripts/kernel.lock" \
			"run the same command again; if it happens again, try another mirror: DEBIAN_MIRROR=URL make ..."
	fi
	if [ "$rc" -gt 128 ] && [ "$rc" -le 165 ]; then
		die "$what: stopped by signal $((rc - 128))" "run the same command again, it starts over by itself"
	fi
	die "$what failed (status $rc)" "read the log, $where; then run the same command again"
}
