// SPDX-License-Identifier: GPL-2.0

//! A raw spinlock taken with interrupts off, with the kernel crate's own guard.
//!
//! Timers are armed and stopped from any context, on PREEMPT_RT too, so their lock must never sleep:
//! the kernel crate's `SpinLock` does there, and it leaves interrupts on.

use super::bindings as b;
use kernel::{
    bindings,
    ffi::{c_char, c_ulong},
    sync::lock::{Backend, Lock},
};

/// The kernel's functions, without a wrapper in between where they are functions and not macros.
#[cfg(all(CONFIG_UNINLINE_SPIN_UNLOCK, any(CONFIG_SMP, CONFIG_DEBUG_SPINLOCK)))]
pub(super) mod raw {
    pub(in crate::sys) use kernel::bindings::{
        _raw_spin_lock_irq as lock_irq, _raw_spin_lock_irqsave as lock_irqsave,
        _raw_spin_unlock_irq as unlock_irq, _raw_spin_unlock_irqrestore as unlock_irqrestore,
    };
}

/// The kernel's functions, wrapped.
#[cfg(not(all(CONFIG_UNINLINE_SPIN_UNLOCK, any(CONFIG_SMP, CONFIG_DEBUG_SPINLOCK))))]
pub(super) mod raw {
    pub(in crate::sys) use crate::sys::bindings::{
        softclock_raw_lock_irq as lock_irq, softclock_raw_lock_irqsave as lock_irqsave,
        softclock_raw_unlock_irq as unlock_irq,
        softclock_raw_unlock_irqrestore as unlock_irqrestore,
    };
}

/// The lock backend: `raw_spin_lock_irqsave`. Its guards are dropped in the reverse order of locking: what drivers
/// get is [`HardIrq`](super::hard_lock::HardIrq).
pub(crate) enum RawIrq {}

/// The lock backend: `spin_lock_bh`.
pub enum SoftBh {}

/// Data behind a raw spinlock. Hold it briefly: nothing under it may allocate, sleep, wake a task or
/// call a client.
pub(crate) type RawLock<T> = Lock<T, RawIrq>;

// SAFETY: A raw spinlock admits one owner at a time; `relock` is the default, which locks again.
unsafe impl Backend for RawIrq {
    type State = bindings::raw_spinlock_t;
    type GuardState = c_ulong;

    unsafe fn init(ptr: *mut Self::State, name: *const c_char, key: *mut bindings::lock_class_key) {
        // SAFETY: `ptr` is valid for writes, `name` and `key` for ever: the contract of `init`.
        unsafe { b::softclock_raw_lock_init(ptr, name, key) }
    }

    unsafe fn lock(ptr: *mut Self::State) -> Self::GuardState {
        // SAFETY: The lock was initialised: the contract of `lock`.
        unsafe { raw::lock_irqsave(ptr) }
    }

    unsafe fn try_lock(ptr: *mut Self::State) -> Option<Self::GuardState> {
        let mut flags = 0;
        // SAFETY: The lock was initialised: the contract of `try_lock`.
        unsafe { b::softclock_raw_trylock_irqsave(ptr, &mut flags) }.then_some(flags)
    }

    unsafe fn unlock(ptr: *mut Self::State, guard_state: &Self::GuardState) {
        // SAFETY: The caller owns the lock and `guard_state` came from taking it.
        unsafe { raw::unlock_irqrestore(ptr, *guard_state) }
    }

    #[inline(always)]
    unsafe fn assert_is_held(ptr: *mut Self::State) {
        // Asked whenever the lock is taken; without lockdep nobody could tell.
        if cfg!(CONFIG_LOCKDEP) {
            // SAFETY: The contract of this function.
            unsafe { assert_raw_is_held(ptr) }
        }
    }
}

/// # Safety
///
/// The lock was initialised.
#[inline(never)]
pub(super) unsafe fn assert_raw_is_held(ptr: *mut bindings::raw_spinlock_t) {
    // SAFETY: The contract of this function.
    unsafe { b::softclock_raw_assert_held(ptr) }
}

// SAFETY: A spinlock admits one owner at a time; `relock` is the default, which locks again.
unsafe impl Backend for SoftBh {
    type State = bindings::spinlock_t;
    type GuardState = ();

    unsafe fn init(ptr: *mut Self::State, name: *const c_char, key: *mut bindings::lock_class_key) {
        // SAFETY: `ptr` is valid for writes, `name` and `key` for ever: the contract of `init`.
        unsafe { bindings::__spin_lock_init(ptr, name, key) }
    }

    unsafe fn lock(ptr: *mut Self::State) {
        // SAFETY: The lock was initialised: the contract of `lock`.
        unsafe { b::softclock_spin_lock_bh(ptr) }
    }

    unsafe fn try_lock(ptr: *mut Self::State) -> Option<()> {
        // SAFETY: The lock was initialised: the contract of `try_lock`.
        unsafe { b::softclock_spin_trylock_bh(ptr) }.then_some(())
    }

    unsafe fn unlock(ptr: *mut Self::State, _guard_state: &()) {
        // SAFETY: The caller owns the lock.
        unsafe { b::softclock_spin_unlock_bh(ptr) }
    }

    unsafe fn assert_is_held(ptr: *mut Self::State) {
        // SAFETY: The lock was initialised: the contract of `assert_is_held`.
        unsafe { bindings::spin_assert_is_held(ptr) }
    }
}
