// SPDX-License-Identifier: GPL-2.0

//! Waiting for the end of a run: one wait queue for all timers.

use super::{bindings as b, context::Task};
use core::ffi::c_void;
use kernel::prelude::*;

/// Who waits longer than this says so in the log, once: what it waits for may be waiting for it.
const LONG_S: u32 = 5;

/// Sleeps, uninterruptibly, until `done` says so. It is asked again after every [`wake`].
pub(crate) fn until<F: Fn() -> bool>(_task: &Task, done: F) {
    let arg = (&raw const done).cast::<c_void>();
    // SAFETY: `ask::<F>` gets back the `done` it is passed, which lives until the call returns.
    if unsafe { b::softclock_wait_seconds(Some(ask::<F>), arg, LONG_S) } {
        return;
    }
    report();
    // SAFETY: As above.
    unsafe { b::softclock_wait_until(Some(ask::<F>), arg) }
}

#[cold]
#[inline(never)]
fn report() {
    pr_warn!(
        "thread {} has waited {} s for a callback to end: does that callback wait for it, or for a lock of its?\n",
        kernel::current!().pid(),
        LONG_S,
    );
}

/// Makes every waiter ask again. Softirq or task context, no raw lock held.
pub(crate) fn wake() {
    // SAFETY: The function has no precondition beyond the context, which callers keep.
    unsafe { b::softclock_wake_waiters() }
}

/// As [`wake`], soon. Any context but NMI, under any lock.
pub(crate) fn wake_soon() {
    // SAFETY: The function may be called from anywhere.
    unsafe { b::softclock_wake_waiters_soon() }
}

/// Waits until nothing comes of [`wake_soon`] any more. Task context; when nobody calls it again.
pub(crate) fn settle() {
    // SAFETY: Task context.
    unsafe { b::softclock_settle_wakes() }
}

/// # Safety
///
/// `arg` points to a live `F`.
unsafe extern "C" fn ask<F: Fn() -> bool>(arg: *const c_void) -> bool {
    // SAFETY: The contract of this function.
    unsafe { (*arg.cast::<F>())() }
}
