// SPDX-License-Identifier: GPL-2.0
/*
 * Portals to be asked: each port has manners of its own, over UDP and TCP, IPv4 and IPv6. In the
 * kernel, so that it is there in every guest. The RFC's layout is written down here once more, and
 * shares nothing with what is tested.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/delay.h>
#include <linux/hex.h>
#include <linux/icmp.h>
#include <linux/in.h>
#include <linux/in6.h>
#include <linux/ip.h>
#include <linux/kthread.h>
#include <linux/module.h>
#include <linux/net.h>
#include <linux/nsproxy.h>
#include <linux/random.h>
#include <linux/slab.h>
#include <linux/udp.h>
#include <linux/unaligned.h>
#include <net/checksum.h>
#include <net/sock.h>
#include <net/tcp.h>

#define HEADER	12
#define ROOM	2048
#define BIG	65536
#define LATE_MS	600
#define AT_ONCE	64

enum manner {
	GOOD = 7001,
	BYTES,		/* one at a time */
	RESET,		/* as soon as it is connected */
	GARBAGE,
	OTHER_XID,
	HOLE,		/* connections do not come about */
	HALF,		/* and the end */
	LATE,
	STATUS,
	HALF_RESET,
	SILENT,
	OTHER_SOURCE,	/* from another port, and over IPv4 from another address */
	TWICE,
	OTHER_EID,
	HUGE,
	OTHER_PORTAL,
	THIRD,		/* answers the third inquiry of a probe, if it is the same as the first */
	FRAGMENT,
	OTHER_FUNCTION,
	SERVER,		/* the flag of a server, as open-isns has it */
	COMPATIBLE,	/* IPv4 as ::a.b.c.d */
	FLOOD,		/* ten thousand others before the answer */
	LONGER,		/* bytes after the answer */
	NOTHING,	/* an empty datagram, before the answer */
	FLAP,		/* answers one probe, and the next one not */
	BAD_TLV,	/* an attribute that ends behind the answer */
	VERSION_2,
	WRONG_FIRST,	/* a status before the answer, over UDP */
	ISOLATED,	/* ICMP in place of an answer: the host is isolated; over UDP and IPv4 */
	DELUGE,		/* over UDP a status, more than there is room for, and the answer */
	LAST
};

struct spot {
	struct task_struct *thread;
	struct socket *sock;
	struct socket *filling[4];
	struct socket *elsewhere[2];
	enum manner manner;
	bool v6;
	bool udp;
	int probes;
	u16 xid;
	/* Inquiries of the present probe, and the first of them. */
	int asked;
	int len;
	u8 asked_first[ROOM];
	u8 in[ROOM];
	u8 out[ROOM];
};

/* What comes after an answer that claims to be long. */
static u8 big[BIG];

static struct spot *spots[4 * (LAST - GOOD)];
static unsigned int places;

static char seen[2 * 400 + 1];
module_param_string(seen, seen, sizeof(seen), 0400);
MODULE_PARM_DESC(seen, "the last inquiry that a good port was asked, in hexadecimal digits");

static unsigned int inquiries;
module_param(inquiries, uint, 0400);
MODULE_PARM_DESC(inquiries, "how many inquiries came, to all ports");

static bool is_whole(const u8 *q, int n)
{
	return n >= HEADER && n >= HEADER + get_unaligned_be16(q + 4);
}

/* Where the value of an attribute begins; 0 if it is not there. */
static int attribute(const u8 *m, int n, int at, u32 tag)
{
	while (at + 8 <= n) {
		if (get_unaligned_be32(m + at) == tag)
			return at + 8;
		at += 8 + get_unaligned_be32(m + at + 4);
	}
	return 0;
}

/* The answer to the inquiry q, as these manners have it. */
static int answer(enum manner manner, const u8 *q, int n, u8 *r)
{
	int len = get_unaligned_be16(q + 4);
	int at;

	memcpy(r, q, HEADER);
	put_unaligned_be16(0x800d, r + 2);
	put_unaligned_be16(len + 4, r + 4);
	put_unaligned_be16(0x8c00, r + 6);
	put_unaligned_be32(0, r + HEADER);
	memcpy(r + HEADER + 4, q + HEADER, len);
	n = HEADER + 4 + len;
	switch (manner) {
	case OTHER_XID:
		put_unaligned_be16(get_unaligned_be16(q + 8) + 1, r + 8);
		break;
	case STATUS:
		put_unaligned_be32(8, r + HEADER);
		break;
	case OTHER_EID:
		at = attribute(r, n, HEADER + 4, 1);
		r[at] ^= 1;
		break;
	case OTHER_PORTAL:
		at = attribute(r, n, HEADER + 4, 17);
		r[at + 3] ^= 1;
		break;
	case FRAGMENT:
		put_unaligned_be16(0x8400, r + 6);
		break;
	case OTHER_FUNCTION:
		put_unaligned_be16(0x800e, r + 2);
		break;
	case SERVER:
		put_unaligned_be16(0x4c00, r + 6);
		break;
	case COMPATIBLE:
		at = attribute(r, n, HEADER + 4, 16);
		if (r[at + 10] == 0xff)
			memset(r + at + 10, 0, 2);
		break;
	case HUGE:
		put_unaligned_be16(0xfffc, r + 4);
		break;
	case BAD_TLV:
		at = attribute(r, n, HEADER + 4, 17);
		put_unaligned_be32(8, r + at - 4);
		break;
	case VERSION_2:
		put_unaligned_be16(2, r);
		break;
	case GARBAGE:
		get_random_bytes(r, n);
		r[0] = 0xff;
		break;
	case LONGER:
		memset(r + n, 0, 8);
		n += 8;
		break;
	default:
		break;
	}
	return n;
}

static void note(struct spot *spot, int n)
{
	u16 xid = get_unaligned_be16(spot->in + 8);

	inquiries++;
	/* All attempts of a probe have the same. */
	if (spot->asked == 0 || xid != spot->xid) {
		spot->probes++;
		spot->asked = 0;
	}
	spot->xid = xid;
	if (spot->manner == GOOD && n < (int)sizeof(seen) / 2)
		*bin2hex(seen, spot->in, n) = 0;
	if (spot->asked++ == 0) {
		memcpy(spot->asked_first, spot->in, n);
		spot->len = n;
	}
}

/* Whether this inquiry is left without an answer. */
static bool is_ignored(struct spot *spot, int n)
{
	switch (spot->manner) {
	case SILENT:
	case RESET:
	case HOLE:
	case ISOLATED:
		return true;
	case THIRD:
		if (n != spot->len || memcmp(spot->in, spot->asked_first, n))
			return true;
		return spot->asked % 3 != 0;
	case FLAP:
		return spot->probes % 2 == 0;
	default:
		return false;
	}
}

static int put(struct socket *sock, void *bytes, size_t len,
	       struct sockaddr_storage *to)
{
	struct kvec vec = { .iov_base = bytes, .iov_len = len };
	struct msghdr msg = { .msg_flags = MSG_NOSIGNAL };

	if (to) {
		msg.msg_name = to;
		msg.msg_namelen = to->ss_family == AF_INET6 ?
			sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);
	}
	return kernel_sendmsg(sock, &msg, &vec, 1, len);
}

static int get(struct socket *sock, void *bytes, size_t len,
	       struct sockaddr_storage *from)
{
	struct kvec vec = { .iov_base = bytes, .iov_len = len };
	struct msghdr msg = { .msg_name = from };

	return kernel_recvmsg(sock, &msg, &vec, 1, len, 0);
}

static struct socket *open_at(bool v6, bool udp, u32 v4_address, u16 port)
{
	struct sockaddr_storage any = { };
	struct sockaddr_in *v4_at = (struct sockaddr_in *)&any;
	struct socket *sock;
	int err;

	err = sock_create_kern(current->nsproxy->net_ns, v6 ? AF_INET6 : AF_INET,
			       udp ? SOCK_DGRAM : SOCK_STREAM,
			       udp ? IPPROTO_UDP : IPPROTO_TCP, &sock);
	if (err)
		return ERR_PTR(err);
	any.ss_family = v6 ? AF_INET6 : AF_INET;
	v4_at->sin_port = htons(port);	/* that of IPv6 is there, too */
	if (v6)
		sock->sk->sk_ipv6only = true;
	else
		v4_at->sin_addr.s_addr = htonl(v4_address);
	sock_set_reuseaddr(sock->sk);
	sock->sk->sk_rcvtimeo = HZ / 2;
	sock_set_rcvbuf(sock->sk, 8 << 20);
	WRITE_ONCE(sock->sk->sk_sndbuf, 8 << 20);
	err = kernel_bind(sock, (struct sockaddr_unsized *)&any,
			  v6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in));
	if (err) {
		sock_release(sock);
		return ERR_PTR(err);
	}
	return sock;
}

static struct socket *open(bool v6, bool udp, u16 port)
{
	return open_at(v6, udp, INADDR_ANY, port);
}

/* Answers that nobody waits for. */
static void flood(struct spot *spot, int n, struct sockaddr_storage *to, int many)
{
	u16 xid = get_unaligned_be16(spot->out + 8);
	int i;

	for (i = 0; i < many; i++) {
		put_unaligned_be16(xid ^ (i % 0xffff + 1), spot->out + 8);
		put(spot->sock, spot->out, n, to);
		if (i % 64 == 0)
			cond_resched();
	}
	put_unaligned_be16(xid, spot->out + 8);
}

/* From another port; and from another address, and the port that was asked. */
static void put_from_elsewhere(struct spot *spot, int n, struct sockaddr_storage *to)
{
	unsigned int i;

	if (!spot->elsewhere[0])
		spot->elsewhere[0] = open(spot->v6, true, 0);
	if (!spot->elsewhere[1] && !spot->v6)
		spot->elsewhere[1] = open_at(false, true, INADDR_LOOPBACK + 1, spot->manner);
	for (i = 0; i < ARRAY_SIZE(spot->elsewhere); i++)
		if (!IS_ERR_OR_NULL(spot->elsewhere[i]))
			put(spot->elsewhere[i], spot->out, n, to);
}

/* What a router says of the inquiry that came from there. */
static void put_isolated(struct spot *spot, int n, struct sockaddr_storage *from)
{
	struct sockaddr_in *v4 = (struct sockaddr_in *)from;
	struct {
		struct icmphdr icmp;
		struct iphdr ip;
		struct udphdr udp;
		u8 inquiry[HEADER];
	} __packed report = {
		.icmp.type = ICMP_DEST_UNREACH,
		.icmp.code = ICMP_HOST_ISOLATED,
		.ip.version = 4,
		.ip.ihl = 5,
		.ip.ttl = 1,
		.ip.protocol = IPPROTO_UDP,
		.ip.tot_len = htons(sizeof(struct iphdr) + sizeof(struct udphdr) + n),
		.ip.saddr = v4->sin_addr.s_addr,
		.ip.daddr = htonl(INADDR_LOOPBACK),
		.udp.source = v4->sin_port,
		.udp.dest = htons(spot->manner),
		.udp.len = htons(sizeof(struct udphdr) + n),
	};
	struct socket *raw;

	if (from->ss_family != AF_INET ||
	    sock_create_kern(current->nsproxy->net_ns, AF_INET, SOCK_RAW, IPPROTO_ICMP, &raw))
		return;
	memcpy(report.inquiry, spot->in, HEADER);
	report.ip.check = ip_compute_csum(&report.ip, sizeof(report.ip));
	report.icmp.checksum = ip_compute_csum(&report, sizeof(report));
	put(raw, &report, sizeof(report), from);
	sock_release(raw);
}

static int serve_datagrams(void *data)
{
	struct spot *spot = data;
	struct sockaddr_storage from;
	int i, n;

	while (!kthread_should_stop()) {
		memset(&from, 0, sizeof(from));
		n = get(spot->sock, spot->in, ROOM, &from);
		if (n <= 0 || !is_whole(spot->in, n)) {
			if (n != -EAGAIN)
				schedule_timeout_interruptible(1);
			continue;
		}
		note(spot, n);
		if (spot->manner == ISOLATED)
			put_isolated(spot, n, &from);
		if (is_ignored(spot, n))
			continue;
		n = answer(spot->manner, spot->in, n, spot->out);
		switch (spot->manner) {
		case LATE:
			msleep(LATE_MS);
			break;
		case WRONG_FIRST:
			put_unaligned_be32(8, spot->out + HEADER);
			put(spot->sock, spot->out, n, &from);
			put_unaligned_be32(0, spot->out + HEADER);
			break;
		case HALF:
			n /= 2;
			break;
		case HUGE:
			memset(spot->out + n, 0, ROOM - n);
			n = ROOM;
			break;
		case TWICE:
			put(spot->sock, spot->out, n, &from);
			break;
		case NOTHING:
			put(spot->sock, spot->out, 0, &from);
			break;
		case DELUGE:
			put_unaligned_be32(8, spot->out + HEADER);
			put(spot->sock, spot->out, n, &from);
			put_unaligned_be32(0, spot->out + HEADER);
			for (i = 0; i < 200; i++)
				put(spot->sock, big, 60000, &from);
			/* What these leave has room for small ones. */
			flood(spot, n, &from, 200);
			break;
		case FLOOD:
			flood(spot, n, &from, 10000);
			break;
		case OTHER_SOURCE:
			put_from_elsewhere(spot, n, &from);
			continue;
		default:
			break;
		}
		put(spot->sock, spot->out, n, &from);
	}
	return 0;
}

/* Until the peer closes. */
static void wait_for_end(struct socket *conn)
{
	u8 byte[64];
	int n;

	do {
		n = get(conn, byte, sizeof(byte), NULL);
	} while (!kthread_should_stop() && (n > 0 || n == -EAGAIN));
}

/* Inquiries of one connection, until it ends. */
static void converse(struct spot *spot, struct socket *conn)
{
	int have = 0, n, i;

	tcp_sock_set_nodelay(conn->sk);
	if (spot->manner == RESET)
		return;
	for (;;) {
		n = get(conn, spot->in + have, ROOM - have, NULL);
		if (kthread_should_stop() || (n <= 0 && n != -EAGAIN))
			return;
		have += max(n, 0);
		if (!is_whole(spot->in, have))
			continue;
		/* What comes after it is a repetition. */
		n = HEADER + get_unaligned_be16(spot->in + 4);
		have -= n;
		note(spot, n);
		if (!is_ignored(spot, n)) {
			n = answer(spot->manner, spot->in, n, spot->out);
			break;
		}
		memmove(spot->in, spot->in + HEADER + get_unaligned_be16(spot->in + 4), have);
	}
	switch (spot->manner) {
	case BYTES:
		for (i = 0; i < n; i++) {
			put(conn, spot->out + i, 1, NULL);
			usleep_range(100, 200);
		}
		break;
	case HALF:
		put(conn, spot->out, n / 2, NULL);
		kernel_sock_shutdown(conn, SHUT_WR);
		break;
	case HALF_RESET:
		put(conn, spot->out, n / 2, NULL);
		msleep(20);
		return;
	case HUGE:
	case GARBAGE:
		memcpy(big, spot->out, n);
		put(conn, big, BIG, NULL);
		break;
	case LATE:
		msleep(LATE_MS);
		fallthrough;
	default:
		put(conn, spot->out, n, NULL);
	}
	wait_for_end(conn);
}

static int serve_connections(void *data)
{
	struct spot *spot = data;
	struct socket *conn;
	int err;

	while (!kthread_should_stop()) {
		err = kernel_accept(spot->sock, &conn, 0);
		if (err) {
			if (err != -EAGAIN)
				schedule_timeout_interruptible(1);
			continue;
		}
		conn->sk->sk_rcvtimeo = HZ / 2;
		conn->sk->sk_sndtimeo = HZ / 2;
		converse(spot, conn);
		/* Every end is a reset, if the other side has not ended before. */
		sock_no_linger(conn->sk);
		sock_release(conn);
	}
	return 0;
}

/* Connections that nobody accepts, until no more come about. */
static int fill(struct spot *spot)
{
	struct sockaddr_storage to = { };
	struct sockaddr_in *v4 = (struct sockaddr_in *)&to;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&to;
	unsigned int i;
	int err;

	to.ss_family = spot->v6 ? AF_INET6 : AF_INET;
	v4->sin_port = htons(spot->manner);
	if (spot->v6)
		v6->sin6_addr = in6addr_loopback;
	else
		v4->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	for (i = 0; i < ARRAY_SIZE(spot->filling); i++) {
		spot->filling[i] = open(spot->v6, false, 0);
		if (IS_ERR(spot->filling[i]))
			return PTR_ERR(spot->filling[i]);
		err = kernel_connect(spot->filling[i], (struct sockaddr_unsized *)&to,
				     spot->v6 ? sizeof(*v6) : sizeof(*v4), O_NONBLOCK);
		if (err && err != -EINPROGRESS)
			return err;
	}
	return 0;
}

static void to_good(struct sockaddr_storage *to)
{
	struct sockaddr_in *v4 = (struct sockaddr_in *)to;

	memset(to, 0, sizeof(*to));
	v4->sin_family = AF_INET;
	v4->sin_port = htons(GOOD);
	v4->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
}

/* Asks the good port, without anything that is not needed for it. */
static int inquire(struct socket **conn, struct socket *udp)
{
	u8 request[HEADER + 92] = { 0, 1, 0, 0xd, 0, 92, 0x4c };
	struct sockaddr_storage to;
	int err;

	to_good(&to);
	if (udp)
		return put(udp, request, sizeof(request), &to);
	err = sock_create_kern(current->nsproxy->net_ns, AF_INET, SOCK_STREAM,
			       IPPROTO_TCP, conn);
	if (err)
		return err;
	sock_set_rcvbuf((*conn)->sk, 4096);
	sock_no_linger((*conn)->sk);
	err = kernel_connect(*conn, (struct sockaddr_unsized *)&to,
			     sizeof(struct sockaddr_in), 0);
	return err ?: put(*conn, request, sizeof(request), NULL);
}

/* So many inquiries, and then the answers to them. */
static int exchange(struct socket *udp, unsigned int at_once)
{
	static struct socket *conns[AT_ONCE];
	static u8 reply[ROOM];
	unsigned int i;
	int err = 0;

	memset(conns, 0, sizeof(conns));
	for (i = 0; i < at_once && err >= 0; i++)
		err = inquire(&conns[i], udp);
	for (i = 0; i < at_once && err >= 0; i++) {
		err = get(udp ?: conns[i], reply, ROOM, NULL);
		if (err >= 0 && err <= HEADER)
			err = -EIO;
		if (!udp)
			sock_release(conns[i]);
		conns[i] = NULL;
	}
	for (i = 0; i < at_once; i++)
		if (conns[i])
			sock_release(conns[i]);
	return min(err, 0);
}

/* So many exchanges, as many at once as is said; how long they took is a row for scripts/bench. */
static int exchange_set(const char *val, const struct kernel_param *kp)
{
	unsigned int i, n, at_once;
	struct socket *udp = NULL;
	u64 began, each;
	char how[4];
	int err = 0;

	if (!places || sscanf(val, "%3s %u %u", how, &n, &at_once) != 3 ||
	    at_once < 1 || at_once > AT_ONCE)
		return -EINVAL;
	if (!strcmp(how, "udp"))
		udp = open(false, true, 0);
	if (IS_ERR(udp))
		return PTR_ERR(udp);
	/* Not the first ones, for which memory is found. */
	for (i = 0; i < AT_ONCE && !err; i += at_once)
		err = exchange(udp, at_once);
	began = ktime_get_ns();
	for (i = 0; i < n && !err; i += at_once)
		err = exchange(udp, at_once);
	each = div_u64(ktime_get_ns() - began, max(i, 1U));
	if (!err)
		pr_info("row socket exchange_%s %u %u 0 %llu.00 %llu %llu %llu %llu\n", how,
			at_once, i, each, each, each, each, each);
	if (udp)
		sock_release(udp);
	return err;
}

static const struct kernel_param_ops exchange_ops = { .set = exchange_set };
module_param_cb(exchange, &exchange_ops, NULL, 0200);
MODULE_PARM_DESC(exchange, "\"udp N M\" or \"tcp N M\": asks the good port N times, M at once, and logs how long it took");

static int start(enum manner manner, bool v6, bool udp)
{
	struct spot *spot;
	int err = 0;

	spot = kvzalloc_obj(*spot);
	if (!spot)
		return -ENOMEM;
	spots[places++] = spot;
	spot->manner = manner;
	spot->v6 = v6;
	spot->udp = udp;
	spot->sock = open(v6, udp, manner);
	if (IS_ERR(spot->sock))
		return PTR_ERR(spot->sock);
	if (!udp)
		err = kernel_listen(spot->sock, manner == HOLE ? 0 : 4096);
	if (!err && !udp && manner == HOLE)
		return fill(spot);
	if (err)
		return err;
	spot->thread = kthread_run(udp ? serve_datagrams : serve_connections, spot,
				   "peer/%d", manner);
	return PTR_ERR_OR_ZERO(spot->thread);
}

static void stop_all(void)
{
	unsigned int i, k;

	for (i = 0; i < places; i++)
		if (!IS_ERR_OR_NULL(spots[i]->sock) && spots[i]->thread)
			kernel_sock_shutdown(spots[i]->sock, SHUT_RDWR);
	for (i = 0; i < places; i++) {
		if (!IS_ERR_OR_NULL(spots[i]->thread))
			kthread_stop(spots[i]->thread);
		for (k = 0; k < ARRAY_SIZE(spots[i]->filling); k++)
			if (!IS_ERR_OR_NULL(spots[i]->filling[k]))
				sock_release(spots[i]->filling[k]);
		for (k = 0; k < ARRAY_SIZE(spots[i]->elsewhere); k++)
			if (!IS_ERR_OR_NULL(spots[i]->elsewhere[k]))
				sock_release(spots[i]->elsewhere[k]);
		if (!IS_ERR_OR_NULL(spots[i]->sock))
			sock_release(spots[i]->sock);
		kvfree(spots[i]);
	}
}

static int __init peer_init(void)
{
	int manner, kind, err;

	for (manner = GOOD; manner < LAST; manner++) {
		for (kind = 0; kind < 4; kind++) {
			err = start(manner, kind & 1, kind & 2);
			if (err) {
				pr_err("port %d, %s over %s: error %d\n", manner,
				       kind & 2 ? "UDP" : "TCP",
				       kind & 1 ? "IPv6" : "IPv4", err);
				stop_all();
				return err;
			}
		}
	}
	return 0;
}

static void __exit peer_exit(void)
{
	stop_all();
}

module_init(peer_init);
module_exit(peer_exit);
MODULE_AUTHOR("softclock maintainers");
MODULE_DESCRIPTION("Portals with good and bad manners, for the selftests");
MODULE_LICENSE("GPL");
