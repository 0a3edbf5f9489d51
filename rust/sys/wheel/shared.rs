// SPDX-License-Identifier: GPL-2.0

//! All wheels, while the module is loaded.

use super::{
    base::{Base, Counts},
    bury::Burial,
};
use crate::{
    policy::{
        deadline::Instant,
        levels::granule_at,
        word::BASES, //
    },
    sys::{bindings as b, context::monotonic_ns, work::WorkQueue},
};
use core::{
    ptr,
    sync::atomic::{AtomicPtr, Ordering::*},
};
use kernel::{bindings, prelude::*};

/// What all entries use.
#[pin_data]
pub(super) struct Shared {
    bases: KVec<Pin<KBox<Base>>>,
    /// Where callbacks in task context execute.
    pub(super) calls: *mut bindings::workqueue_struct,
    /// Where objects are dropped whose last reference a run held.
    pub(super) teardown: *mut bindings::workqueue_struct,
    #[pin]
    pub(super) burial: Burial,
}

static SHARED: AtomicPtr<Shared> = AtomicPtr::new(ptr::null_mut());

/// The wheels. Called only where an entry exists, or the walk of a base: invariant 3.
#[inline(always)]
pub(super) fn shared() -> &'static Shared {
    // SAFETY: Invariant 3: `Wheels` outlives every entry and every walk.
    unsafe { &*SHARED.load(Relaxed) }
}

impl Shared {
    #[inline(always)]
    pub(super) fn base(&self, cpu: usize) -> &'static Base {
        // SAFETY: Invariant 3: `cpu` is a CPU's number or came from a word. The bases live as long as
        // `self`, whose lifetime in turn is that of `shared`.
        unsafe { &*ptr::from_ref::<Base>(self.bases.get_unchecked(cpu)) }
    }
}

/// Keeps the wheels; dropping it takes them down.
pub(crate) struct Wheels {
    shared: Pin<KBox<Shared>>,
}

// SAFETY: The queues' pointers are only used to enqueue, which any thread may.
unsafe impl Send for Wheels {}
// SAFETY: As above.
unsafe impl Sync for Wheels {}

impl Wheels {
    /// A wheel for each CPU there may be. The caller keeps both queues until this is dropped, and
    /// makes it once at a time.
    pub(crate) fn publish(calls: &WorkQueue, teardown: &WorkQueue) -> Result<Self> {
        let count = kernel::cpu::nr_cpu_ids();
        if count as usize > BASES {
            pr_err!("{} CPUs: at most {} are supported\n", count, BASES);
            return Err(EOVERFLOW);
        }
        let now = granule_at(Instant::from_nanos(monotonic_ns()));
        let mut bases = KVec::with_capacity(count as usize, GFP_KERNEL)?;
        for cpu in 0..count {
            bases.push(KBox::pin_init(Base::new(cpu, now), GFP_KERNEL)?, GFP_KERNEL)?;
        }
        let shared = KBox::pin_init(
            pin_init!(Shared {
                bases,
                calls: calls.raw(),
                teardown: teardown.raw(),
                burial <- Burial::new(),
            }),
            GFP_KERNEL,
        )?;
        SHARED.store(ptr::from_ref::<Shared>(&shared).cast_mut(), Release);
        Ok(Self { shared })
    }

    /// What the base of `cpu` has done; `None` beyond the last.
    pub(crate) fn counts(&self, cpu: usize) -> Option<(Counts, u64)> {
        self.shared.bases.get(cpu)?;
        let hold = self.shared.base(cpu).lock();
        Some((hold.inner.counts, hold.inner.programmed))
    }
}

impl Drop for Wheels {
    fn drop(&mut self) {
        for base in &self.shared.bases {
            base.quiesce();
        }
        // A kick may be on its way to its CPU: it has arrived when every CPU has passed a switch.
        // SAFETY: Task context, no lock held.
        unsafe { bindings::synchronize_rcu() };
        for base in &self.shared.bases {
            base.quiesce();
        }
        SHARED.store(ptr::null_mut(), Release);
    }
}

/// The number of this CPU, where one is as good as another.
#[inline(always)]
pub(super) fn this_cpu() -> usize {
    // SAFETY: The function only reads the current context.
    unsafe { b::softclock_this_cpu() as usize }
}

pub(super) fn is_online(cpu: u32) -> bool {
    // SAFETY: The function only reads a mask, and checks its argument.
    unsafe { b::softclock_cpu_online(cpu) }
}

/// The base of `cpu`, if that exists and is online.
pub(super) fn usable_cpu(cpu: u32) -> Option<usize> {
    (cpu < kernel::cpu::nr_cpu_ids() && is_online(cpu)).then_some(cpu as usize)
}
