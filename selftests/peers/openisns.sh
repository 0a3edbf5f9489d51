# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=dash
#
# Starts open-isns in a guest: isnsd, a server, and isnsdd, a client that has one portal and answers inquiries
# about it. For scripts that source it after /lib.sh, and have isnsd and isnsdd in the guest:
#
#	openisns_up 4			# isnsd asks every four seconds
#	kill -STOP "$ISNSDD"
#	echo "its portal $PORTAL is asked at port $(openisns_port)"

PORTAL=127.0.0.1:860/tcp

# openisns_up SECONDS: between isnsd's inquiries. Sets ISNSD and ISNSDD, the process ids.
openisns_up() {
	ifconfig lo 127.0.0.1 up
	# Names are looked up only where there is an address beside 127.0.0.1; without one isnsdd crashes.
	ip addr add 127.0.0.2/8 dev lo
	hostname disk.example.org
	mkdir -p /etc/isns /var/lib/isns /var/run /run
	echo 'root:x:0:0::/:/bin/sh' >/etc/passwd
	printf '%s\n' '127.0.0.2 disk.example.org disk' '127.0.0.1 localhost' >/etc/hosts
	# isnsdd: without BindAddress. With one it spins after its second connection.
	cat >/etc/isns/isnsd.conf <<-END
		SourceName = iqn.2026-01.org.example:server
		Security = 0
		Database = /var/lib/isns
		BindAddress = 127.0.0.1
		ESIRetries = 3
		ESIMinInterval = ${1}s
		ESIMaxInterval = 20s
		SLPRegister = 0
		PIDFile = /run/isnsd.pid
		ControlSocket = /run/isnsctl
	END
	cat >/etc/isns/isnsdd.conf <<-END
		HostName = disk.example.org
		SourceName = iqn.2026-01.org.example:disk
		Security = 0
		ServerAddress = 127.0.0.1:3205
		ESIMinInterval = ${1}s
		LocalRegistry = /run/registry
		PIDFile = /run/isnsdd.pid
	END
	printf '%s\n' 'iscsi-name=iqn.2026-01.org.example:disk iscsi-node-type=target owner=probe' \
		"portal-addr=${PORTAL%%:*} portal-port=${PORTAL#*:} owner=probe" >/run/registry
	isnsd -f -d esi -c /etc/isns/isnsd.conf >/tmp/isnsd.log 2>&1 &
	# shellcheck disable=SC2034	# for who sources this
	ISNSD=$!
	wait_for 30 listens tcp 0C85
	isnsdd -4 -f -d esi -c /etc/isns/isnsdd.conf >/tmp/isnsdd.log 2>&1 &
	ISNSDD=$!
}

# listens PROTOCOL PORT: somebody does, at the port in hexadecimal.
listens() { grep -q ":$2 00000000:0000 " "/proc/net/$1"; }

# openisns_port: where isnsdd waits for inquiries; nothing as long as it does not.
openisns_port() {
	local fd hex
	for fd in /proc/"$ISNSDD"/fd/*; do
		fd=$(readlink "$fd")
		case $fd in socket:*) ;; *) continue ;; esac
		fd=${fd#*[} fd=${fd%]}
		hex=$(awk -v inode="$fd" '$10 == inode { print substr($2, 10) }' /proc/net/udp)
		[ -z "$hex" ] || { echo $((0x$hex)); return; }
	done
	return 1
}
