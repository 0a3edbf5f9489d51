// SPDX-License-Identifier: GPL-2.0

//! The raw spinlock that drivers take: interrupts are off until the last of its guards on a CPU is dropped,
//! in whatever order that happens.
//!
//! A guard that restored what it found itself would turn interrupts on while another one is held, and that one
//! would leave them off. softclock's own [`RawLock`](super::lock::RawLock) has no such guards: all of them are
//! dropped in the reverse order.
//!
//! INVARIANT 1: a CPU's nest is used on that CPU only, with interrupts off, and not in an NMI.

use super::{
    bindings as b,
    lock::{assert_raw_is_held, raw},
};
use kernel::{
    bindings,
    ffi::{c_char, c_ulong},
    sync::lock::Backend,
};

/// The lock backend: `raw_spin_lock_irqsave`, with the flags of the first guard for all.
pub enum HardIrq {}

// SAFETY: A raw spinlock admits one owner at a time; `relock` is the default, which locks again.
unsafe impl Backend for HardIrq {
    type State = bindings::raw_spinlock_t;
    type GuardState = c_ulong;

    unsafe fn init(ptr: *mut Self::State, name: *const c_char, key: *mut bindings::lock_class_key) {
        // SAFETY: `ptr` is valid for writes, `name` and `key` for ever: the contract of `init`.
        unsafe { b::softclock_raw_lock_init(ptr, name, key) }
    }

    unsafe fn lock(ptr: *mut Self::State) -> c_ulong {
        // SAFETY: The lock was initialised: the contract of `lock`.
        enter(unsafe { raw::lock_irqsave(ptr) })
    }

    unsafe fn try_lock(ptr: *mut Self::State) -> Option<c_ulong> {
        let mut flags = 0;
        // SAFETY: The lock was initialised: the contract of `try_lock`.
        unsafe { b::softclock_raw_trylock_irqsave(ptr, &mut flags) }.then(|| enter(flags))
    }

    unsafe fn unlock(ptr: *mut Self::State, guard_state: &c_ulong) {
        match leave(*guard_state) {
            // SAFETY: The caller owns the lock, and so has interrupts off; `flags` are those of the first guard.
            Some(flags) => unsafe { raw::unlock_irqrestore(ptr, flags) },
            // SAFETY: The caller owns the lock.
            None => unsafe { b::softclock_raw_unlock(ptr) },
        }
    }

    #[inline(always)]
    unsafe fn assert_is_held(ptr: *mut Self::State) {
        if cfg!(CONFIG_LOCKDEP) {
            // SAFETY: The contract of this function.
            unsafe { assert_raw_is_held(ptr) }
        }
    }
}

/// Counts a guard, before which interrupts were as `flags` say; gives these.
#[inline(always)]
fn enter(flags: c_ulong) -> c_ulong {
    // SAFETY: Invariant 1: the caller has locked.
    let nest = unsafe { &mut *b::softclock_nest() };
    // They were on: then no guard is held here, and what is counted was forgotten or slept under.
    if nest.depth == 0 || were_on(flags) {
        nest.depth = 1;
        nest.flags = flags;
    } else {
        nest.depth = nest.depth.wrapping_add(1);
    }
    flags
}

/// Counts a guard less, which found `own`; gives the flags to restore where it was the last.
#[inline(always)]
fn leave(own: c_ulong) -> Option<c_ulong> {
    // SAFETY: Invariant 1: the caller has not unlocked yet.
    let nest = unsafe { &mut *b::softclock_nest() };
    if nest.depth == 0 {
        // The count was lost, for interrupts were on meanwhile: somebody slept, or had softirqs on again.
        return were_on(own).then_some(own);
    }
    let last = nest.depth == 1;
    nest.depth = nest.depth.saturating_sub(1);
    last.then_some(nest.flags)
}

/// Interrupts were on when they were turned off.
fn were_on(flags: c_ulong) -> bool {
    // SAFETY: The function only looks at its argument.
    unsafe { b::softclock_irqs_were_on(flags) }
}
