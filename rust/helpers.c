// SPDX-License-Identifier: GPL-2.0
/*
 * Wrappers for what Rust cannot call: inline functions and macros. No rule of softclock's own
 * lives here, and every difference between kernel versions does.
 */
#include <linux/hrtimer.h>
#include <linux/module.h>
#include <linux/preempt.h>
#include <linux/rcupdate.h>
#include <linux/refcount.h>
#include <linux/sched.h>
#include <linux/spinlock.h>
#include <linux/wait.h>
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

void softclock_raw_assert_held(raw_spinlock_t *lock)
{
	lockdep_assert_held(lock);
}

bool softclock_hrtimer_is_queued(struct hrtimer *timer)
{
	return hrtimer_is_queued(timer);
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

/* Drains wait here: all timers share one queue, because drains that wait are rare. */
static DECLARE_WAIT_QUEUE_HEAD(softclock_waiters);

void softclock_wait_until(bool (*done)(const void *arg), const void *arg)
{
	wait_event(softclock_waiters, done(arg));
}

void softclock_wake_waiters(void)
{
	wake_up_all(&softclock_waiters);
}

bool softclock_within_module(unsigned long addr, const struct module *mod)
{
	return within_module(addr, mod);
}
