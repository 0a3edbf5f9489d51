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
#include <linux/spinlock_types.h>
#include <linux/types.h>

struct hrtimer;

void softclock_raw_lock_init(raw_spinlock_t *lock, const char *name,
			     struct lock_class_key *key);
unsigned long softclock_raw_lock_irqsave(raw_spinlock_t *lock);
bool softclock_raw_trylock_irqsave(raw_spinlock_t *lock, unsigned long *flags);
void softclock_raw_unlock_irqrestore(raw_spinlock_t *lock, unsigned long flags);
void softclock_raw_assert_held(raw_spinlock_t *lock);

bool softclock_hrtimer_is_queued(struct hrtimer *timer);

bool softclock_refcount_inc_not_zero(refcount_t *count);

bool softclock_in_hardirq(void);
bool softclock_in_softirq(void);
bool softclock_may_sleep(void);
void softclock_might_sleep(void);
void softclock_wait_until(bool (*done)(const void *arg), const void *arg);
void softclock_wake_waiters(void);

bool softclock_within_module(unsigned long addr, const struct module *mod);

#endif /* _SOFTCLOCK_HELPERS_H */
