// SPDX-License-Identifier: GPL-2.0

//! Which context this is, and who is executing.

use super::bindings as b;
use core::marker::PhantomData;
use kernel::{bindings, prelude::*};

/// Proof that the holder executes in a task that may sleep.
///
/// Whatever may block in softclock asks for a `&Task`. A callback in softirq context is given none,
/// so waiting for a timer there does not compile. It cannot be sent to another thread.
///
/// # Examples
///
/// ```ignore
/// let task = Task::new()?;                     // init and exit of a module, ioctl, kthread ...
/// heartbeat.callout::<Soft>().drain(&task)?;
/// ```
pub struct Task(PhantomData<*mut ()>);

impl Task {
    /// The current context, where it is a task and may sleep.
    ///
    /// # Errors
    ///
    /// `EWOULDBLOCK` (`EAGAIN`) in an interrupt, a softirq, or with interrupts off; on kernels that
    /// count it, as distributions' do, also with preemption off, under a spinlock and in an RCU reader.
    #[inline(never)]
    pub fn new() -> Result<Self> {
        // SAFETY: The function only reads the current context.
        if unsafe { b::softclock_may_sleep() } {
            Ok(Self(PhantomData))
        } else {
            Err(EAGAIN)
        }
    }

    /// Reports, on kernels that look for it, that this context may not sleep after all: the proof was
    /// taken before a lock was.
    pub(crate) fn may_sleep_now(&self) {
        // SAFETY: The function only reads the current context.
        unsafe { b::softclock_might_sleep() }
    }

    /// Whether this context may still sleep, as far as that can be seen.
    pub(crate) fn may_sleep_still(&self) -> bool {
        // SAFETY: The function only reads the current context.
        unsafe { b::softclock_may_sleep() }
    }

    /// The context of a work item, or of another callback that the kernel calls in a task by contract.
    pub(crate) const fn by_contract() -> Self {
        Self(PhantomData)
    }
}

/// Identifies what executes a callback: a task, or a softirq on top of it. Only good for comparing.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Runner {
    task: usize,
    softirq: bool,
}

impl Runner {
    /// Whatever executes this. A softirq belongs to the task it has interrupted, which cannot move
    /// meanwhile; on PREEMPT_RT it is a task of its own.
    pub(crate) fn current() -> Self {
        Self {
            task: kernel::task::Task::current_raw() as usize,
            // SAFETY: The function only reads the current context.
            softirq: unsafe { b::softclock_in_softirq() },
        }
    }

    /// Whether this code executes inside what `self` recorded. An interrupt on top of it is not
    /// inside: it came from elsewhere.
    pub(crate) fn is_here(self) -> bool {
        // SAFETY: The function only reads the current context.
        self == Self::current() && !unsafe { b::softclock_in_hardirq() }
    }
}

/// `CLOCK_MONOTONIC` in nanoseconds. Any context but NMI.
pub(crate) fn monotonic_ns() -> i64 {
    // SAFETY: `ktime_get` may be called from any context but NMI and has no other precondition.
    unsafe { bindings::ktime_get() }
}
