// SPDX-License-Identifier: GPL-2.0

//! Dropping objects whose last reference a run held, in task context.

use super::{machine::Kernel, shared::shared, Entry, Ptr};
use crate::{policy::operations as protocol, sys::wheel::walk::init_burial};
use core::{
    ptr::{self, NonNull},
    sync::atomic::{AtomicPtr, Ordering::*},
};
use kernel::{bindings, prelude::*, types::Opaque};

/// Objects that wait to be dropped: each by one of its entries, which nobody uses any more.
#[pin_data]
pub(super) struct Burial {
    first: AtomicPtr<Entry>,
    #[pin]
    work: Opaque<bindings::work_struct>,
}

impl Burial {
    pub(super) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            first: AtomicPtr::new(ptr::null_mut()),
            work <- Opaque::ffi_init(|slot| {
                // SAFETY: `slot` is valid for writes and will not move.
                unsafe { init_burial(slot) }
            }),
        })
    }
}

/// The entry's object has no reference left: has it dropped. Any context but NMI.
#[cold]
#[inline(never)]
pub(super) fn bury(entry: Ptr) {
    // What the callback returned may have linked it again.
    protocol::retire(&Kernel, entry);
    entry.entry().kin.owner.comes();
    let burial = &shared().burial;
    let mut first = burial.first.load(Relaxed);
    loop {
        entry.entry().next.store(first, Relaxed);
        let new = entry.0.as_ptr();
        match burial.first.compare_exchange(first, new, Release, Relaxed) {
            Ok(_) => break,
            Err(now) => first = now,
        }
    }
    // SAFETY: Work and queue live as long as the wheels. Enqueued before: that run will find it.
    unsafe {
        bindings::queue_work_on(
            bindings::wq_misc_consts_WORK_CPU_UNBOUND as i32,
            shared().teardown,
            burial.work.get(),
        );
    }
}

/// Drops what waits for it. Task context.
///
/// # Safety
///
/// Called by the workqueue only.
pub(super) unsafe extern "C" fn on_work(_work: *mut bindings::work_struct) {
    let mut next = shared().burial.first.swap(ptr::null_mut(), Acquire);
    while let Some(entry) = NonNull::new(next) {
        let ptr = Ptr(entry);
        next = ptr.entry().next.load(Relaxed);
        let (owner, ops) = (ptr.entry().kin.owner.clone(), ptr.entry().kin.ops);
        // SAFETY: `bury` was called when the count became zero.
        unsafe { ops.bury(ptr.object()) };
        owner.came();
    }
}
