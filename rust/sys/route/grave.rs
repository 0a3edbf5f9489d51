// SPDX-License-Identifier: GPL-2.0

//! Routes whose last reference an action held: they are dropped in task context.
//!
//! INVARIANT G1: `GRAVES` is null or points to the [`Graves`] that are published, which outlive every
//! entry: they are taken down when no client is left.

use super::{Entry, Links};
use crate::sys::{bindings as b, target::Ops, work::WorkQueue};
use core::{
    ptr,
    sync::atomic::{AtomicPtr, Ordering::*},
};
use kernel::{bindings, prelude::*, types::Opaque};

static GRAVES: AtomicPtr<Graves> = AtomicPtr::new(ptr::null_mut());

/// Routes that wait to be dropped: each by one of its entries, which nobody uses any more.
#[pin_data(PinnedDrop)]
pub(crate) struct Graves {
    first: AtomicPtr<Links>,
    queue: *mut bindings::workqueue_struct,
    #[pin]
    work: Opaque<bindings::work_struct>,
}

// SAFETY: The queue's pointer is only used to enqueue, which any thread may; the kernel serialises
// operations on the work.
unsafe impl Send for Graves {}
// SAFETY: As above.
unsafe impl Sync for Graves {}

impl Graves {
    /// Makes them reachable. The caller keeps `queue` until this is dropped, and flushes it before.
    pub(crate) fn publish(queue: &WorkQueue) -> Result<Pin<KBox<Self>>> {
        let graves = KBox::pin_init(
            pin_init!(Self {
                first: AtomicPtr::new(ptr::null_mut()),
                queue: queue.raw(),
                work <- Opaque::ffi_init(|slot| {
                    // SAFETY: `slot` is valid for writes and will not move.
                    unsafe { b::softclock_init_work(slot, Some(on_work)) }
                }),
            }),
            GFP_KERNEL,
        )?;
        GRAVES.store(ptr::from_ref::<Self>(&graves).cast_mut(), Release);
        Ok(graves)
    }
}

#[pinned_drop]
impl PinnedDrop for Graves {
    fn drop(self: Pin<&mut Self>) {
        GRAVES.store(ptr::null_mut(), Release);
    }
}

/// Gives a reference to an entry's object back.
pub(super) fn put(entry: &Entry) {
    put_object(entry, &entry.kin.ops, entry.object());
}

/// The same, of an entry with these operations, in this object.
#[inline(always)]
pub(super) fn put_object(entry: &Entry, ops: &Ops, object: *const ()) {
    // SAFETY: Invariant 4, or that of `Kept`; the caller forgets the reference.
    if unsafe { ops.put(object) } {
        bury(entry);
    }
}

/// The entry's object has no reference left: has it dropped. Any context but NMI.
#[cold]
#[inline(never)]
fn bury(entry: &Entry) {
    // The action may have added it again.
    entry.remove();
    entry.kin.owner.owned.comes();
    // SAFETY: Invariant G1.
    let graves = unsafe { &*GRAVES.load(Acquire) };
    let this = ptr::from_ref(&entry.links).cast_mut();
    let mut first = graves.first.load(Relaxed);
    loop {
        entry.links.next.store(first, Relaxed);
        match graves.first.compare_exchange(first, this, Release, Relaxed) {
            Ok(_) => break,
            Err(now) => first = now,
        }
    }
    // SAFETY: Work and queue live as long as the graves. Enqueued before: that run will find it.
    unsafe {
        bindings::queue_work_on(
            bindings::wq_misc_consts_WORK_CPU_UNBOUND as i32,
            graves.queue,
            graves.work.get(),
        );
    }
}

/// Drops what waits for it. Task context.
///
/// # Safety
///
/// Called by the workqueue only, for the work of [`Graves`].
unsafe extern "C" fn on_work(_work: *mut bindings::work_struct) {
    // SAFETY: Invariant G1: the queue is flushed before they go.
    let graves = unsafe { &*GRAVES.load(Acquire) };
    let mut next = graves.first.swap(ptr::null_mut(), Acquire);
    while !next.is_null() {
        // SAFETY: Links are at the beginning of an entry, and `bury` was called when the count of its
        // object became zero: it is there until it is dropped here.
        let entry = unsafe { &*next.cast::<Entry>() };
        next = entry.links.next.load(Relaxed);
        let owner = entry.kin.owner.owned.clone();
        let (ops, object) = (entry.kin.ops, entry.object());
        // SAFETY: As above.
        unsafe { ops.bury(object) };
        owner.came();
    }
}
