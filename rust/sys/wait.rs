// SPDX-License-Identifier: GPL-2.0

//! Waiting for the end of a run: one wait queue for all timers.

use super::{bindings as b, context::Task};
use core::ffi::c_void;

/// Sleeps, uninterruptibly, until `done` says so. It is asked again after every [`wake`].
pub(crate) fn until<F: Fn() -> bool>(_task: &Task, done: F) {
    let arg = (&raw const done).cast::<c_void>();
    // SAFETY: `ask::<F>` gets back the `done` it is passed, which lives until the call returns.
    unsafe { b::softclock_wait_until(Some(ask::<F>), arg) }
}

/// Makes every waiter ask again. Softirq or task context, no raw lock held.
pub(crate) fn wake() {
    // SAFETY: The function has no precondition beyond the context, which callers keep.
    unsafe { b::softclock_wake_waiters() }
}

/// # Safety
///
/// `arg` points to a live `F`.
unsafe extern "C" fn ask<F: Fn() -> bool>(arg: *const c_void) -> bool {
    // SAFETY: The contract of this function.
    unsafe { (*arg.cast::<F>())() }
}
