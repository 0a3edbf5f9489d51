// SPDX-License-Identifier: GPL-2.0

//! softclock's own workqueue: callbacks in task context, and deferred teardown.
//!
//! INVARIANT 1: `raw` came from `alloc_workqueue` and is destroyed only by drop.

use core::ptr::NonNull;
use kernel::{bindings, error::code::ENOMEM, prelude::*, workqueue::Queue};

/// A workqueue that is drained and destroyed when dropped.
pub(crate) struct WorkQueue {
    raw: NonNull<bindings::workqueue_struct>,
}

// SAFETY: Workqueues may be used and destroyed from any thread.
unsafe impl Send for WorkQueue {}
// SAFETY: The kernel serialises all operations on a workqueue.
unsafe impl Sync for WorkQueue {}

impl WorkQueue {
    /// A queue not bound to CPUs. Its work may wait for any other.
    pub(crate) fn new(name: &'static CStr) -> Result<Self> {
        Self::with_flags(name, bindings::wq_flags_WQ_UNBOUND)
    }

    /// As [`new`](Self::new), with a rescuer, so that its work runs under memory pressure too. It may
    /// not wait for work of a queue that has none.
    pub(crate) fn with_rescuer(name: &'static CStr) -> Result<Self> {
        Self::with_flags(
            name,
            bindings::wq_flags_WQ_UNBOUND | bindings::wq_flags_WQ_MEM_RECLAIM,
        )
    }

    /// As [`with_rescuer`](Self::with_rescuer); work is done by the CPU that enqueues it. What one such work
    /// enqueues begins when it ends or sleeps, without anybody being woken. One that takes long and does
    /// not sleep holds up the others until the kernel notices, ten milliseconds later.
    pub(crate) fn of_each_cpu(name: &'static CStr) -> Result<Self> {
        Self::with_flags(
            name,
            bindings::wq_flags_WQ_PERCPU | bindings::wq_flags_WQ_MEM_RECLAIM,
        )
    }

    fn with_flags(name: &'static CStr, flags: bindings::wq_flags) -> Result<Self> {
        // SAFETY: The format takes one string, which lives for ever; 0 means the default limit.
        let raw = unsafe {
            bindings::alloc_workqueue_noprof(c"%s".as_char_ptr(), flags, 0, name.as_char_ptr())
        };
        // Invariant 1.
        Ok(Self {
            raw: NonNull::new(raw).ok_or(ENOMEM)?,
        })
    }

    /// The kernel crate's view of it, to enqueue work.
    pub(crate) fn queue(&self) -> &Queue {
        // SAFETY: Invariant 1: the queue is valid as long as `self`.
        unsafe { Queue::from_raw(self.raw.as_ptr()) }
    }

    pub(super) fn raw(&self) -> *mut bindings::workqueue_struct {
        self.raw.as_ptr()
    }

    /// Waits for all work enqueued before. Task context, not from work of this queue.
    pub(crate) fn flush(&self) {
        // SAFETY: Invariant 1.
        unsafe { bindings::__flush_workqueue(self.raw.as_ptr()) }
    }
}

impl Drop for WorkQueue {
    fn drop(&mut self) {
        // SAFETY: Invariant 1. It drains the queue first.
        unsafe { bindings::destroy_workqueue(self.raw.as_ptr()) }
    }
}
