// SPDX-License-Identifier: GPL-2.0
/*
 * Hears the inquiries and answers that go over UDP and IPv4 in this machine, whoever sends them,
 * and shows them in debugfs, the oldest first:
 *
 *   inquiry at_ns=6361008435 from=3205 to=975 bytes=0001000d...
 *   answer at_ns=6361391034 from=975 to=3205 bytes=0001800d...
 */
#include <linux/debugfs.h>
#include <linux/if_ether.h>
#include <linux/ip.h>
#include <linux/ktime.h>
#include <linux/module.h>
#include <linux/netdevice.h>
#include <linux/seq_file.h>
#include <linux/spinlock.h>
#include <linux/udp.h>
#include <linux/unaligned.h>

#define HEADER	12
#define ROOM	400	/* an answer about the longest name has 348 bytes */
#define PLACES	128

struct heard {
	u64 at_ns;
	u16 from;
	u16 to;
	u16 function;
	u16 len;
	u8 bytes[ROOM];
};

static struct heard heard[PLACES];
static unsigned int count;	/* what there is no place for is not heard */
static DEFINE_SPINLOCK(lock);
static struct dentry *file;

static void note(struct sk_buff *skb)
{
	struct heard *new = &heard[count];
	const struct iphdr *ip;
	const struct udphdr *udp;
	struct udphdr udp_room;
	struct iphdr ip_room;
	int at, len;

	ip = skb_header_pointer(skb, 0, sizeof(ip_room), &ip_room);
	if (!ip || ip->protocol != IPPROTO_UDP || count == PLACES)
		return;
	at = ip->ihl * 4;
	udp = skb_header_pointer(skb, at, sizeof(udp_room), &udp_room);
	if (!udp)
		return;
	len = ntohs(udp->len) - (int)sizeof(*udp);
	if (len < HEADER || len > ROOM || skb_copy_bits(skb, at + sizeof(*udp), new->bytes, len))
		return;
	new->function = get_unaligned_be16(new->bytes + 2);
	if (new->function != 0x000d && new->function != 0x800d)
		return;
	new->at_ns = ktime_get_ns();
	new->from = ntohs(udp->source);
	new->to = ntohs(udp->dest);
	new->len = len;
	count++;
}

static int hear(struct sk_buff *skb, struct net_device *dev, struct packet_type *type,
		struct net_device *orig_dev)
{
	spin_lock_bh(&lock);
	note(skb);
	spin_unlock_bh(&lock);
	consume_skb(skb);
	return 0;
}

/* What comes in; in this machine that is everything, once. */
static struct packet_type type = { .type = htons(ETH_P_IP), .func = hear };

static int tap_show(struct seq_file *out, void *unused)
{
	unsigned int i, k, there;

	spin_lock_bh(&lock);
	there = count;
	spin_unlock_bh(&lock);
	/* What is there stays as it is. */
	for (i = 0; i < there; i++) {
		seq_printf(out, "%s at_ns=%llu from=%u to=%u bytes=",
			   heard[i].function == 0x000d ? "inquiry" : "answer", heard[i].at_ns,
			   heard[i].from, heard[i].to);
		for (k = 0; k < heard[i].len; k++)
			seq_printf(out, "%02x", heard[i].bytes[k]);
		seq_putc(out, '\n');
	}
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(tap);

static int __init tap_init(void)
{
	file = debugfs_create_file("softclock_tap", 0400, NULL, NULL, &tap_fops);
	dev_add_pack(&type);
	return 0;
}

static void __exit tap_exit(void)
{
	dev_remove_pack(&type);
	debugfs_remove(file);
}

module_init(tap_init);
module_exit(tap_exit);
MODULE_AUTHOR("softclock maintainers");
MODULE_DESCRIPTION("Hears inquiries and their answers, for the selftests");
MODULE_LICENSE("GPL");
