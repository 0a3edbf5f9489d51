/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What rust/helpers.c wraps for Rust: inline functions, macros, and C signatures that differ
 * between kernel versions. bindgen reads these prototypes.
 */
#ifndef _SOFTCLOCK_HELPERS_H
#define _SOFTCLOCK_HELPERS_H

#include <linux/lockdep_types.h>
#include <linux/module.h>
#include <linux/refcount.h>
#include <linux/rwsem.h>
#include <linux/smp.h>
#include <linux/spinlock_types.h>
#include <linux/types.h>
#include <linux/workqueue.h>

struct file;
struct hrtimer;
struct net;
struct socket;

void softclock_raw_lock_init(raw_spinlock_t *lock, const char *name,
			     struct lock_class_key *key);
unsigned long softclock_raw_lock_irqsave(raw_spinlock_t *lock);
bool softclock_raw_trylock_irqsave(raw_spinlock_t *lock, unsigned long *flags);
void softclock_raw_unlock_irqrestore(raw_spinlock_t *lock, unsigned long flags);
void softclock_raw_lock_irq(raw_spinlock_t *lock);
void softclock_raw_unlock_irq(raw_spinlock_t *lock);
void softclock_raw_assert_held(raw_spinlock_t *lock);
raw_spinlock_t *softclock_raw_lock_named(raw_spinlock_t **name,
					 unsigned long *flags);
void softclock_raw_unlock(raw_spinlock_t *lock);

/* How many drivers' locks a CPU holds, and how interrupts were before the first. */
struct softclock_nest {
	unsigned int depth;
	unsigned long flags;
};

struct softclock_nest *softclock_nest(void);
bool softclock_irqs_were_on(unsigned long flags);
unsigned long softclock_irq_save(void);
void softclock_irq_restore(unsigned long flags);

void softclock_spin_lock_bh(spinlock_t *lock);
bool softclock_spin_trylock_bh(spinlock_t *lock);
void softclock_spin_unlock_bh(spinlock_t *lock);

void softclock_rwlock_init(rwlock_t *lock, const char *name,
			   struct lock_class_key *key);
void softclock_read_lock_bh(rwlock_t *lock);
bool softclock_read_trylock_bh(rwlock_t *lock);
void softclock_read_unlock_bh(rwlock_t *lock);
void softclock_write_lock_bh(rwlock_t *lock);
bool softclock_write_trylock_bh(rwlock_t *lock);
void softclock_write_unlock_bh(rwlock_t *lock);
void softclock_rwlock_assert_held(rwlock_t *lock);
void softclock_rwsem_assert_held(struct rw_semaphore *sem);

void softclock_map_init(void *map, unsigned long class);
void softclock_map_enter(void *map);
void softclock_map_leave(void *map);
void softclock_map_wait(void *map);

bool softclock_hrtimer_is_queued(struct hrtimer *timer);
bool softclock_hrtimer_is_here(struct hrtimer *timer);
void softclock_hrtimer_set_expires(struct hrtimer *timer, s64 ns);

bool softclock_refcount_inc_not_zero(refcount_t *count);

bool softclock_in_hardirq(void);
bool softclock_in_softirq(void);
bool softclock_may_sleep(void);
void softclock_might_sleep(void);
void softclock_cond_resched(void);
void softclock_wait_until(bool (*done)(const void *arg), const void *arg);
bool softclock_wait_seconds(bool (*done)(const void *arg), const void *arg,
			    unsigned int seconds);
void softclock_wake_waiters(void);
void softclock_wake_waiters_soon(void);
void softclock_settle_wakes(void);

unsigned int softclock_this_cpu(void);
bool softclock_cpu_online(unsigned int cpu);
void softclock_init_call(call_single_data_t *call, smp_call_func_t func,
			 void *info);
void softclock_init_work(struct work_struct *work, work_func_t func);

bool softclock_within_module(unsigned long addr, const struct module *mod);

struct net *softclock_net_of_this_task(void);
struct net *softclock_net_of_process(pid_t pid);
struct net *softclock_net_first(void);
struct net *softclock_net_get(struct net *net);
void softclock_net_put(struct net *net);
unsigned int softclock_net_inum(const struct net *net);
bool softclock_net_may_change(struct net *net, const struct file *file);
int softclock_net_device(struct net *net, const char *name);
int softclock_pernet_register(unsigned int who, void (*leaves)(struct net *net));
void softclock_pernet_unregister(unsigned int who);
void softclock_set_rcvbuf(struct socket *sock, int bytes);
void softclock_rtnl_wait(void);

/* An end of a conversation: IPv4 addresses as ::ffff:a.b.c.d, the port as a number. */
struct softclock_peer {
	u8 ip[16];
	u32 scope;
	u16 port;
};

int softclock_socket(struct net *net, bool v6, bool udp, int rcvbuf,
		     struct socket **made);
int softclock_connect(struct socket *sock, const struct softclock_peer *peer);
int softclock_send(struct socket *sock, const void *bytes, size_t len,
		   const struct softclock_peer *peer);
int softclock_way_to(struct socket *sock, const struct softclock_peer *peer);
int softclock_receive(struct socket *sock, void *bytes, size_t len);
int softclock_receive_from(struct socket *sock, void *bytes, size_t len,
			   struct softclock_peer *peer);
u32 softclock_dropped(struct socket *sock);
bool softclock_is_full(struct socket *sock);
int softclock_receive_error(struct socket *sock, void *bytes, size_t len,
			    struct softclock_peer *peer, int *why);
unsigned int softclock_noio_begin(void);
void softclock_noio_end(unsigned int before);

#endif /* _SOFTCLOCK_HELPERS_H */
