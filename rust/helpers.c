// SPDX-License-Identifier: GPL-2.0
/*
 * Wrappers for what Rust cannot call: inline functions and macros. No rule of softclock's own
 * lives here, and every difference between kernel versions does.
 */
#include <linux/cpumask.h>
#include <linux/build_bug.h>
#include <linux/hrtimer.h>
#include <linux/irq_work.h>
#include <linux/lockdep.h>
#include <linux/module.h>
#include <linux/percpu.h>
#include <linux/preempt.h>
#include <linux/rcupdate.h>
#include <linux/refcount.h>
#include <linux/rwsem.h>
#include <linux/sched.h>
#include <linux/smp.h>
#include <linux/spinlock.h>
#include <linux/wait.h>
#include <linux/workqueue.h>
#include <softclock/helpers.h>

void softclock_raw_lock_init(raw_spinlock_t *lock, const char *name,
			     struct lock_class_key *key)
{
#ifdef CONFIG_DEBUG_SPINLOCK
	__raw_spin_lock_init(lock, name, key, LD_WAIT_SPIN);
#else
	raw_spin_lock_init(lock);
#endif
}

unsigned long softclock_raw_lock_irqsave(raw_spinlock_t *lock)
{
	unsigned long flags;

	raw_spin_lock_irqsave(lock, flags);
	return flags;
}

bool softclock_raw_trylock_irqsave(raw_spinlock_t *lock, unsigned long *flags)
{
	unsigned long saved;
	bool got = raw_spin_trylock_irqsave(lock, saved);

	*flags = saved;
	return got;
}

void softclock_raw_unlock_irqrestore(raw_spinlock_t *lock, unsigned long flags)
{
	raw_spin_unlock_irqrestore(lock, flags);
}

void softclock_raw_lock_irq(raw_spinlock_t *lock)
{
	raw_spin_lock_irq(lock);
}

void softclock_raw_unlock_irq(raw_spinlock_t *lock)
{
	raw_spin_unlock_irq(lock);
}

void softclock_raw_unlock(raw_spinlock_t *lock)
{
	raw_spin_unlock(lock);
}

static DEFINE_PER_CPU(struct softclock_nest, softclock_nests);

/* This CPU's. */
struct softclock_nest *softclock_nest(void)
{
	return this_cpu_ptr(&softclock_nests);
}

bool softclock_irqs_were_on(unsigned long flags)
{
	return !irqs_disabled_flags(flags);
}

void softclock_raw_assert_held(raw_spinlock_t *lock)
{
	lockdep_assert_held(lock);
}

/*
 * Takes the lock that *name points to, or returns NULL where it points to none.
 * Whoever holds a lock may let *name point elsewhere; a lock is freed an RCU
 * grace period after nothing names it, and interrupts are off meanwhile.
 */
raw_spinlock_t *softclock_raw_lock_named(raw_spinlock_t **name,
					 unsigned long *flags)
{
	raw_spinlock_t *lock;

	local_irq_save(*flags);
	/* Pairs with the exchange that made it point there. */
	while ((lock = smp_load_acquire(name))) {
		raw_spin_lock(lock);
		if (likely(lock == READ_ONCE(*name)))
			return lock;
		raw_spin_unlock(lock);
	}
	local_irq_restore(*flags);
	return NULL;
}

unsigned long softclock_irq_save(void)
{
	unsigned long flags;

	local_irq_save(flags);
	return flags;
}

void softclock_irq_restore(unsigned long flags)
{
	local_irq_restore(flags);
}

void softclock_spin_lock_bh(spinlock_t *lock)
{
	spin_lock_bh(lock);
}

bool softclock_spin_trylock_bh(spinlock_t *lock)
{
	return spin_trylock_bh(lock);
}

void softclock_spin_unlock_bh(spinlock_t *lock)
{
	spin_unlock_bh(lock);
}

void softclock_rwlock_init(rwlock_t *lock, const char *name,
			   struct lock_class_key *key)
{
#if defined(CONFIG_PREEMPT_RT)
	init_rwbase_rt(&lock->rwbase);
	__rt_rwlock_init(lock, (char *)name, key);
#elif defined(CONFIG_DEBUG_SPINLOCK)
	__rwlock_init(lock, name, key);
#else
	rwlock_init(lock);
#endif
}

void softclock_read_lock_bh(rwlock_t *lock)
{
	read_lock_bh(lock);
}

/* The kernel has no such macro. */
bool softclock_read_trylock_bh(rwlock_t *lock)
{
	local_bh_disable();
	if (read_trylock(lock))
		return true;
	local_bh_enable();
	return false;
}

void softclock_read_unlock_bh(rwlock_t *lock)
{
	read_unlock_bh(lock);
}

void softclock_write_lock_bh(rwlock_t *lock)
{
	write_lock_bh(lock);
}

bool softclock_write_trylock_bh(rwlock_t *lock)
{
	local_bh_disable();
	if (write_trylock(lock))
		return true;
	local_bh_enable();
	return false;
}

void softclock_write_unlock_bh(rwlock_t *lock)
{
	write_unlock_bh(lock);
}

void softclock_rwlock_assert_held(rwlock_t *lock)
{
	lockdep_assert_held(lock);
}

void softclock_rwsem_assert_held(struct rw_semaphore *sem)
{
	lockdep_assert_held(sem);
}

void softclock_map_init(void *map, unsigned long class)
{
	BUILD_BUG_ON(sizeof(struct lockdep_map) > 8 * sizeof(u64));
	lockdep_init_map((struct lockdep_map *)map, "softclock_periodic",
			 (struct lock_class_key *)class, 0);
}

void softclock_map_enter(void *map)
{
	lock_map_acquire((struct lockdep_map *)map);
}

void softclock_map_leave(void *map)
{
	lock_map_release((struct lockdep_map *)map);
}

/* With interrupts off: callbacks in interrupts "hold" it, and this never spins for it. */
void softclock_map_wait(void *map)
{
	unsigned long flags;

	local_irq_save(flags);
	lock_map_acquire((struct lockdep_map *)map);
	lock_map_release((struct lockdep_map *)map);
	local_irq_restore(flags);
}

bool softclock_hrtimer_is_queued(struct hrtimer *timer)
{
	return hrtimer_is_queued(timer);
}

/* With preemption off. */
bool softclock_hrtimer_is_here(struct hrtimer *timer)
{
	return READ_ONCE(timer->base)->cpu_base->cpu == smp_processor_id();
}

void softclock_hrtimer_set_expires(struct hrtimer *timer, s64 ns)
{
	hrtimer_set_expires(timer, ns_to_ktime(ns));
}

bool softclock_refcount_inc_not_zero(refcount_t *count)
{
	return refcount_inc_not_zero(count);
}

bool softclock_in_hardirq(void)
{
	return in_hardirq();
}

bool softclock_in_softirq(void)
{
	return in_serving_softirq();
}

/*
 * True unless sleeping here is known to be wrong. Without CONFIG_PREEMPT_COUNT a spinlock section
 * cannot be told from plain task context.
 */
bool softclock_may_sleep(void)
{
	if (!in_task() || in_serving_softirq() || irqs_disabled())
		return false;
	if (IS_ENABLED(CONFIG_PREEMPT_COUNT) && preempt_count())
		return false;
	return !rcu_preempt_depth();
}

void softclock_might_sleep(void)
{
	might_sleep();
}

void softclock_cond_resched(void)
{
	cond_resched();
}

/* Drains wait here: all timers share one queue, because drains that wait are rare. */
static DECLARE_WAIT_QUEUE_HEAD(softclock_waiters);

void softclock_wait_until(bool (*done)(const void *arg), const void *arg)
{
	wait_event(softclock_waiters, done(arg));
}

/* As above, for so long at most: false if it is not done. */
bool softclock_wait_seconds(bool (*done)(const void *arg), const void *arg,
			    unsigned int seconds)
{
	return wait_event_timeout(softclock_waiters, done(arg),
				  (long)seconds * HZ) > 0;
}

void softclock_wake_waiters(void)
{
	/* Pairs with the barrier of wait_event(). */
	if (wq_has_sleeper(&softclock_waiters))
		wake_up_all(&softclock_waiters);
}

static void softclock_wake_work(struct irq_work *work)
{
	softclock_wake_waiters();
}

/* On PREEMPT_RT a thread runs it: there the queue's lock sleeps. */
static struct irq_work softclock_wake = IRQ_WORK_INIT(softclock_wake_work);

void softclock_wake_waiters_soon(void)
{
	irq_work_queue(&softclock_wake);
}

void softclock_settle_wakes(void)
{
	irq_work_sync(&softclock_wake);
}

unsigned int softclock_this_cpu(void)
{
	return raw_smp_processor_id();
}

bool softclock_cpu_online(unsigned int cpu)
{
	return cpu < nr_cpu_ids && cpu_online(cpu);
}

void softclock_init_call(call_single_data_t *call, smp_call_func_t func,
			 void *info)
{
	INIT_CSD(call, func, info);
}

void softclock_init_work(struct work_struct *work, work_func_t func)
{
	INIT_WORK(work, func);
}

bool softclock_within_module(unsigned long addr, const struct module *mod)
{
	return within_module(addr, mod);
}
