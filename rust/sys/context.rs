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
/// ```
/// # let heartbeat = Closure::<Soft>::new(softclock::owner!(), c"beat", |_run| Next::Stop)?;
/// let task = Task::new()?;                     // init and exit of a module, ioctl, kthread ...
/// heartbeat.callout::<Soft>().drain(&task)?;
/// ```
pub struct Task(PhantomData<*mut ()>);

impl Task {
    /// The current context, where it is a task and may sleep. Any context; never blocks.
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
    #[inline(always)]
    pub(crate) fn may_sleep_now(&self) {
        if !cfg!(CONFIG_DEBUG_ATOMIC_SLEEP) {
            return;
        }
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

/// Identifies what executes a callback: a task, or an interrupt on top of it. Only good for comparing.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Runner {
    task: usize,
    softirq: bool,
    hardirq: bool,
}

impl Runner {
    /// Whatever executes this. An interrupt belongs to the task it has interrupted, which cannot move
    /// meanwhile; on PREEMPT_RT a softirq is a task of its own.
    pub(crate) fn current() -> Self {
        Self {
            task: kernel::task::Task::current_raw() as usize,
            softirq: Self::in_softirq(),
            hardirq: Self::in_hardirq(),
        }
    }

    /// Whatever executes this, where that is known to be a softirq.
    #[inline(always)]
    pub(crate) fn of_softirq() -> Self {
        Self {
            task: kernel::task::Task::current_raw() as usize,
            softirq: true,
            hardirq: false,
        }
    }

    /// A task, where it executes callbacks as such.
    pub(crate) const fn of_task(task: usize) -> Self {
        Self {
            task,
            softirq: false,
            hardirq: false,
        }
    }

    pub(crate) fn in_hardirq() -> bool {
        // SAFETY: The function only reads the current context.
        unsafe { b::softclock_in_hardirq() }
    }

    pub(crate) fn in_softirq() -> bool {
        // SAFETY: The function only reads the current context.
        unsafe { b::softclock_in_softirq() }
    }

    /// Whether this code executes inside what `self` recorded. An interrupt on top of it is not
    /// inside: it came from elsewhere.
    pub(crate) fn is_here(self) -> bool {
        self == Self::current()
    }
}

/// Waits for every interrupt and softirq that is being handled now. Task context; blocks.
pub(crate) fn wait_for_interrupts(_task: &Task) {
    // SAFETY: The caller may sleep.
    unsafe { bindings::synchronize_rcu() }
}

/// `CLOCK_MONOTONIC` in nanoseconds. Any context but NMI.
#[inline]
pub(crate) fn monotonic_ns() -> i64 {
    // SAFETY: `ktime_get` may be called from any context but NMI and has no other precondition.
    unsafe { bindings::ktime_get() }
}

/// Seconds since 1970, UTC. Any context but NMI.
pub(crate) fn real_seconds() -> u64 {
    // SAFETY: The function may be called from any context but NMI and has no other precondition.
    u64::try_from(unsafe { bindings::ktime_get_real_seconds() }).unwrap_or(0)
}

/// A number nobody can guess. Any context.
pub(crate) fn random() -> u32 {
    // SAFETY: The function has no precondition.
    unsafe { bindings::get_random_u32() }
}

/// Lets others run. For loops in a task.
pub(crate) fn breathe(_task: &Task) {
    // SAFETY: The caller may sleep.
    unsafe { b::softclock_cond_resched() }
}

/// While this exists, what its thread allocates does not wait for memory by writing to files: what the
/// thread does may be waited for by whoever writes them.
pub(crate) struct NoIo {
    before: u32,
    /// The thread's own.
    _here: PhantomData<*mut ()>,
}

impl NoIo {
    /// From now on. Task context.
    pub(crate) fn begin(_task: &Task) -> Self {
        Self {
            // SAFETY: It changes a flag of the current task.
            before: unsafe { b::softclock_noio_begin() },
            _here: PhantomData,
        }
    }
}

impl Drop for NoIo {
    fn drop(&mut self) {
        // SAFETY: This is the thread that `begin` was called in, for this is not `Send`.
        unsafe { b::softclock_noio_end(self.before) }
    }
}
