// SPDX-License-Identifier: GPL-2.0
/*
 * Wrappers for sockets over IPv4 and IPv6: addresses in C's own structures, and
 * what is inside of struct sock. None of these waits for the network.
 */
#include <linux/errqueue.h>
#include <linux/in.h>
#include <linux/in6.h>
#include <linux/net.h>
#include <linux/sched/mm.h>
#include <linux/skbuff.h>
#include <linux/udp.h>
#include <net/ip.h>
#include <net/ipv6.h>
#include <net/sock.h>
#include <softclock/helpers.h>

union softclock_address {
	struct sockaddr_storage any;
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;
};

static bool softclock_is_v6(const struct socket *sock)
{
	return sock->sk->sk_family == AF_INET6;
}

/* The length of what was written. */
static int softclock_to_address(const struct socket *sock,
				const struct softclock_peer *peer,
				union softclock_address *to)
{
	if (softclock_is_v6(sock)) {
		to->v6 = (struct sockaddr_in6){
			.sin6_family = AF_INET6,
			.sin6_port = htons(peer->port),
			.sin6_scope_id = peer->scope,
		};
		memcpy(&to->v6.sin6_addr, peer->ip, sizeof(peer->ip));
		return sizeof(to->v6);
	}
	to->v4 = (struct sockaddr_in){
		.sin_family = AF_INET,
		.sin_port = htons(peer->port),
	};
	memcpy(&to->v4.sin_addr, peer->ip + 12, 4);
	return sizeof(to->v4);
}

static void softclock_from_v4(struct softclock_peer *peer, const void *ip)
{
	memset(peer->ip, 0, 10);
	memset(peer->ip + 10, 0xff, 2);
	memcpy(peer->ip + 12, ip, 4);
	peer->scope = 0;
}

static void softclock_from_v6(struct softclock_peer *peer, const void *ip,
			      u32 scope)
{
	memcpy(peer->ip, ip, sizeof(peer->ip));
	peer->scope = scope;
}

/*
 * A socket that never waits for memory by writing to files, for whoever waits
 * for an answer may be in the way of that. What it sends may use the fragment
 * of the current task, which is a thread of the kernel's and in the middle of
 * no other message.
 */
int softclock_socket(struct net *net, bool v6, bool udp, int rcvbuf,
		     struct socket **made)
{
	int family = v6 ? AF_INET6 : AF_INET;
	struct socket *sock;
	unsigned int noio = memalloc_noio_save();
	int err = udp ?
		sock_create_kern(net, family, SOCK_DGRAM, IPPROTO_UDP, &sock) :
		sock_create_kern(net, family, SOCK_STREAM, IPPROTO_TCP, &sock);

	memalloc_noio_restore(noio);
	if (err)
		return err;
	sock->sk->sk_allocation = GFP_NOIO | __GFP_NOWARN;
	sock_set_rcvbuf(sock->sk, rcvbuf);
	if (udp) {
		/* Datagrams to hosts that do not answer ARP lie here for seconds. */
		WRITE_ONCE(sock->sk->sk_sndbuf, 16 << 20);
		/* Nobody waits for one to leave, so nobody is woken then. */
		sock_set_flag(sock->sk, SOCK_USE_WRITE_QUEUE);
	}
	if (!udp)
		/* Closing resets the connection: nothing of it stays. */
		sock_no_linger(sock->sk);
	else if (!v6)
		ip_sock_set_recverr(sock->sk);
#if IS_ENABLED(CONFIG_IPV6)
	if (v6)
		ip6_sock_set_v6only(sock->sk);
	if (v6 && udp)
		ip6_sock_set_recverr(sock->sk);
#endif
	*made = sock;
	return 0;
}

/* -EINPROGRESS is the usual answer. */
int softclock_connect(struct socket *sock, const struct softclock_peer *peer)
{
	union softclock_address to;
	int len = softclock_to_address(sock, peer, &to);

	return kernel_connect(sock, (struct sockaddr_unsized *)&to, len,
			      O_NONBLOCK);
}

static bool softclock_is_connected(const struct socket *sock)
{
	return (1 << inet_sk_state_load(sock->sk)) &
	       (TCPF_ESTABLISHED | TCPF_CLOSE_WAIT);
}

/*
 * To where it is connected, or to peer. Returns how many bytes were taken;
 * -EAGAIN if it is not connected yet.
 */
int softclock_send(struct socket *sock, const void *bytes, size_t len,
		   const struct softclock_peer *peer)
{
	/* Before it is tried: it may be connected right after that. */
	bool connected = !peer && softclock_is_connected(sock);
	struct kvec vec = { .iov_base = (void *)bytes, .iov_len = len };
	struct msghdr msg = { .msg_flags = MSG_DONTWAIT | MSG_NOSIGNAL };
	union softclock_address to;
	int sent;

	if (peer) {
		msg.msg_name = &to;
		msg.msg_namelen = softclock_to_address(sock, peer, &to);
	}
	sent = kernel_sendmsg(sock, &msg, &vec, 1, len);
	/* There is room for some inquiries, so there was no memory. */
	return connected && sent == -EAGAIN ? -ENOBUFS : sent;
}

/*
 * Whether there is a way to peer: an error is that of the route, and of nothing
 * that was sent.
 */
int softclock_way_to(struct socket *sock, const struct softclock_peer *peer)
{
	union softclock_address to;
	struct msghdr msg = {
		.msg_name = &to,
		.msg_namelen = softclock_to_address(sock, peer, &to),
		.msg_flags = MSG_CONFIRM | MSG_PROBE | MSG_DONTWAIT,
	};
	struct kvec none = { };

	return min(kernel_sendmsg(sock, &msg, &none, 1, 0), 0);
}

/* Of a stream: returns how many bytes came, 0 at its end. */
int softclock_receive(struct socket *sock, void *bytes, size_t len)
{
	struct kvec vec = { .iov_base = bytes, .iov_len = len };
	struct msghdr msg = { };

	return kernel_recvmsg(sock, &msg, &vec, 1, len, MSG_DONTWAIT);
}

/*
 * Whether there is nothing to receive, nor to be told. To ask is cheaper than to
 * try. Who asks was woken, or will be: what comes is queued before that.
 */
static bool softclock_is_quiet(struct sock *sk)
{
	return skb_queue_empty_lockless(&udp_sk(sk)->reader_queue) &&
	       skb_queue_empty_lockless(&sk->sk_receive_queue) &&
	       !READ_ONCE(sk->sk_err);
}

/* Apart, for it needs room that who finds nothing does not. */
static int softclock_take_datagram(struct socket *sock, void *bytes, size_t len,
				   struct softclock_peer *peer)
{
	union softclock_address from = { };
	struct kvec vec = { .iov_base = bytes, .iov_len = len };
	struct msghdr msg = { .msg_name = &from };
	int got = kernel_recvmsg(sock, &msg, &vec, 1, len,
				 MSG_DONTWAIT | MSG_TRUNC);

	if (got < 0)
		return got;
	if (softclock_is_v6(sock))
		softclock_from_v6(peer, &from.v6.sin6_addr,
				  from.v6.sin6_scope_id);
	else
		softclock_from_v4(peer, &from.v4.sin_addr);
	/* sin6_port is in the same place. */
	peer->port = ntohs(from.v4.sin_port);
	return got;
}

/* A datagram: returns how long it is, even if there was no room for all of it. */
int softclock_receive_from(struct socket *sock, void *bytes, size_t len,
			   struct softclock_peer *peer)
{
	if (softclock_is_quiet(sock->sk))
		return -EAGAIN;
	return softclock_take_datagram(sock, bytes, len, peer);
}

/* How many datagrams were dropped that came for this socket, whatever the reason. */
u32 softclock_dropped(struct socket *sock)
{
	return sk_drops_read(sock->sk);
}

/*
 * Whether it is so full that some were dropped for want of room, if some were.
 * Those with a bad checksum are dropped at any time, and are no answers.
 */
bool softclock_is_full(struct socket *sock)
{
	return sk_rmem_alloc_get(sock->sk) > READ_ONCE(sock->sk->sk_rcvbuf) / 2;
}

/*
 * What became of a datagram that was sent to peer: its first bytes, as far as
 * the report has them. Returns how many these are, or -EAGAIN. Reports that do
 * not say where it was sent to give port 0.
 */
int softclock_receive_error(struct socket *sock, void *bytes, size_t len,
			    struct softclock_peer *peer, int *why)
{
	struct sock_exterr_skb *report;
	struct sk_buff *skb;
	const u8 *to;
	int got;

	if (skb_queue_empty_lockless(&sock->sk->sk_error_queue))
		return -EAGAIN;
	skb = sock_dequeue_err_skb(sock->sk);
	if (!skb)
		return -EAGAIN;
	report = SKB_EXT_ERR(skb);
	got = min_t(size_t, len, skb->len);
	to = skb_network_header(skb) + report->addr_offset;
	*why = report->ee.ee_errno;
	peer->port = ntohs(report->port);
	if (report->ee.ee_origin == SO_EE_ORIGIN_ICMP)
		softclock_from_v4(peer, to);
	else if (report->ee.ee_origin == SO_EE_ORIGIN_ICMP6)
		softclock_from_v6(peer, to, 0);
	else
		peer->port = 0;
	if (skb_copy_bits(skb, 0, bytes, got))
		got = 0;
	consume_skb(skb);
	return got;
}

/* What is allocated until the end does not wait for memory by writing to files. */
unsigned int softclock_noio_begin(void)
{
	return memalloc_noio_save();
}

void softclock_noio_end(unsigned int before)
{
	memalloc_noio_restore(before);
}
