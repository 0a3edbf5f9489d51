// SPDX-License-Identifier: GPL-2.0
/*
 * Wrappers for what Rust cannot call of the network: inline functions, and structures it has no
 * binding of.
 */
#include <linux/capability.h>
#include <linux/net.h>
#include <linux/netdevice.h>
#include <linux/nsproxy.h>
#include <linux/rtnetlink.h>
#include <net/net_namespace.h>
#include <net/sock.h>
#include <softclock/helpers.h>

/* Held: the caller puts it. */
struct net *softclock_net_of_this_task(void)
{
	struct nsproxy *proxy = current->nsproxy;

	return get_net(proxy ? proxy->net_ns : &init_net);
}

/* Held, or an error pointer. */
struct net *softclock_net_of_process(pid_t pid)
{
	return get_net_ns_by_pid(pid);
}

/* Held: the caller puts it. */
struct net *softclock_net_first(void)
{
	return get_net(&init_net);
}

/* Held, or NULL where it is on its way out. */
struct net *softclock_net_get(struct net *net)
{
	return maybe_get_net(net);
}

void softclock_net_put(struct net *net)
{
	put_net(net);
}

unsigned int softclock_net_inum(const struct net *net)
{
	return net->ns.inum;
}

/* Both who opened the file and who uses it, as netlink asks. */
bool softclock_net_may_change(struct net *net, const struct file *file)
{
	return file_ns_capable(file, net->user_ns, CAP_NET_ADMIN) &&
	       ns_capable(net->user_ns, CAP_NET_ADMIN);
}

/* The number of a device, or 0. */
int softclock_net_device(struct net *net, const char *name)
{
	struct net_device *dev;
	int index = 0;

	rcu_read_lock();
	dev = dev_get_by_name_rcu(net, name);
	if (dev)
		index = dev->ifindex;
	rcu_read_unlock();
	return index;
}

/* What is registered is not told to pre_exit: one function for each of two. */
static void (*softclock_net_leaves[2])(struct net *net);

static void softclock_first_pre_exit(struct net *net)
{
	softclock_net_leaves[0](net);
}

static void softclock_second_pre_exit(struct net *net)
{
	softclock_net_leaves[1](net);
}

static struct pernet_operations softclock_pernet[2] = {
	{ .pre_exit = softclock_first_pre_exit },
	{ .pre_exit = softclock_second_pre_exit },
};

int softclock_pernet_register(unsigned int who,
			      void (*leaves)(struct net *net))
{
	if (who >= ARRAY_SIZE(softclock_pernet))
		return -EINVAL;
	softclock_net_leaves[who] = leaves;
	return register_pernet_subsys(&softclock_pernet[who]);
}

void softclock_pernet_unregister(unsigned int who)
{
	unregister_pernet_subsys(&softclock_pernet[who]);
}

void softclock_set_rcvbuf(struct socket *sock, int bytes)
{
	sock_set_rcvbuf(sock->sk, bytes);
}

/* Waits for whoever is changing the network's configuration now. */
void softclock_rtnl_wait(void)
{
	rtnl_lock();
	rtnl_unlock();
}
