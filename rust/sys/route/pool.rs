// SPDX-License-Identifier: GPL-2.0

//! Timers that are not part of their route: in boxes, which the route's pool keeps until it is dropped.
//!
//! INVARIANT P1: the list of a pool only grows, at its front, until the pool is dropped; its boxes do not
//! move. So who may use the pool may use its timers.
//! INVARIANT P2: `Pool::object` is null, or the data pointer of the `Arc<Timed<R>>` that the pool lies
//! in ([`Pool::bind`]); a [`Pooled`] is made with the same pointer, by a pool that has one.
//! INVARIANT P3: the entry of a [`Pooled`] has the operations of [`PoolKin::new`], with [`APART`] in
//! place of an offset, and no other entry has such. Its action is of the type they expect.

use super::{Entry, Kin};
use crate::{
    policy::life::Next,
    sys::{
        firing::Firing,
        target::{bury, Ops, Part, Timed},
    },
};
use core::{
    marker::PhantomData,
    ptr,
    sync::atomic::{
        AtomicPtr,
        Ordering::{AcqRel, Acquire, Release},
    },
};
use kernel::{
    alloc::Flags,
    prelude::*,
    sync::{Arc, ArcBorrow},
};

/// In place of an offset: the entry is not part of its object.
pub(super) const APART: usize = usize::MAX;

/// A route whose timers may have actions of kind `K` that are chosen at run time.
pub(crate) trait Apart<K>: Send + Sync + Sized + 'static {
    /// An action. Its address tells it from others.
    type Action: Sync + 'static;

    /// Calls the driver.
    fn run(this: ArcBorrow<'_, Timed<Self>>, action: &'static Self::Action, firing: &Firing<'_>);
}

/// What the timers of kind `K` in a pool share.
pub(crate) struct PoolKin<R, K> {
    kin: Arc<Kin>,
    of: PhantomData<fn(R, K)>,
}

impl<R: Apart<K>, K> PoolKin<R, K> {
    const OPS: Ops = Ops {
        count_offset: Arc::<Timed<R>>::DATA_OFFSET,
        entry_offset: APART,
        locks: false,
        run: Self::run,
        drained: Self::drained,
        bury: bury::<R>,
    };

    /// `make` gives a kin with the operations it is given.
    pub(crate) fn new(make: impl FnOnce(&'static Ops) -> Result<Arc<Kin>>) -> Result<Self> {
        let ops = &Self::OPS;
        let kin = make(ops)?;
        // Invariant P3.
        if kin.ops.entry_offset != APART || kin.ops.run as usize != ops.run as usize {
            return Err(EINVAL);
        }
        let of = PhantomData;
        Ok(Self { kin, of })
    }

    /// # Safety
    ///
    /// `pooled` is a [`Pooled`] with these operations, to whose object the caller has a reference.
    unsafe fn run(pooled: *const (), firing: &Firing<'_>) -> Next {
        let pooled = pooled.cast::<Pooled>();
        // SAFETY: The contract of this function, and invariants P2 and P3.
        let (route, action) = unsafe {
            (
                ArcBorrow::from_raw((*pooled).object.cast()),
                &*(*pooled).key.action.cast(),
            )
        };
        R::run(route, action, firing);
        Next::Stop
    }

    /// # Safety
    ///
    /// None: there is nothing to do.
    unsafe fn drained(_object: *const ()) {}
}

/// What tells the timers of a pool apart.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Key {
    action: *const (),
    /// The queue it is for; 0: any.
    queue: u64,
}

/// A timer of a pool.
#[repr(C)]
pub(super) struct Pooled {
    /// First: its address is that of the box.
    entry: Entry,
    object: *const (),
    key: Key,
    next: *mut Pooled,
}

/// The timers of a route of type `R` that are not part of it.
#[doc(hidden)]
pub struct Pool<R> {
    first: AtomicPtr<Pooled>,
    object: AtomicPtr<()>,
    of: PhantomData<fn(R)>,
}

// SAFETY: Entries are used from any CPU; the rest of a box is constant.
unsafe impl<R> Send for Pool<R> {}
// SAFETY: As above.
unsafe impl<R> Sync for Pool<R> {}

impl<R> Pool<R> {
    pub(crate) const fn new() -> Self {
        Self {
            first: AtomicPtr::new(ptr::null_mut()),
            object: AtomicPtr::new(ptr::null_mut()),
            of: PhantomData,
        }
    }

    /// The timer for an action and a queue (0: any), made where there is none yet and `may` allows it. Bound
    /// pools only; any context but NMI that `flags` fit.
    pub(crate) fn timer<K>(
        &self,
        action: &'static R::Action,
        queue: u64,
        kin: &PoolKin<R, K>,
        flags: Flags,
        may: impl FnOnce() -> Result,
    ) -> Result<&Entry>
    where
        R: Apart<K>,
    {
        let action = ptr::from_ref(action).cast();
        let key = Key { action, queue };
        match self.find(key) {
            Some(entry) => Ok(entry),
            None => {
                may()?;
                self.make(key, &kin.kin, flags)
            }
        }
    }

    fn find(&self, key: Key) -> Option<&Entry> {
        let found = self.iter().find(|pooled| pooled.key == key);
        found.map(|pooled| &pooled.entry)
    }

    /// Makes a timer, unless somebody was faster.
    #[inline(never)]
    fn make(&self, key: Key, kin: &Arc<Kin>, flags: Flags) -> Result<&Entry> {
        let object = self.object.load(Acquire);
        let fresh = Pooled {
            entry: Entry::new(kin.clone()),
            object,
            key,
            next: ptr::null_mut(),
        };
        let fresh = KBox::into_raw(KBox::new(fresh, flags)?);
        let mut first = self.first.load(Acquire);
        loop {
            if let Some(known) = self.find(key) {
                // SAFETY: It came from `into_raw`, and nobody has seen it.
                drop(unsafe { KBox::from_raw(fresh) });
                return Ok(known);
            }
            // SAFETY: Nobody else has seen it.
            unsafe { (*fresh).next = first };
            match self.first.compare_exchange(first, fresh, AcqRel, Acquire) {
                Ok(_) => break,
                Err(now) => first = now,
            }
        }
        // SAFETY: Invariant P1.
        let entry = unsafe { &(*fresh).entry };
        // SAFETY: Invariant P2; the box stays until the pool is dropped, which is part of the object.
        unsafe { entry.bind(object) };
        Ok(entry)
    }

    /// All its timers.
    pub(crate) fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.iter().map(|pooled| &pooled.entry)
    }

    fn iter(&self) -> impl Iterator<Item = &Pooled> {
        let mut next = self.first.load(Acquire);
        core::iter::from_fn(move || {
            // SAFETY: Invariant P1.
            let here = unsafe { next.as_ref() }?;
            next = here.next;
            Some(here)
        })
    }
}

// SAFETY: The drop of the pool drops its boxes, and so ends the use of the object.
unsafe impl<R> Part for Pool<R> {
    fn is_bound(&self) -> bool {
        !self.object.load(Acquire).is_null()
    }

    unsafe fn bind(&self, object: *const ()) {
        self.object.store(object.cast_mut(), Release);
    }
}

impl<R> Drop for Pool<R> {
    fn drop(&mut self) {
        let mut next = *self.first.get_mut();
        while !next.is_null() {
            // SAFETY: It came from `into_raw`; the pool is going, so nobody uses it but a queue it may be
            // in, which its drop takes it off.
            let here = unsafe { KBox::from_raw(next) };
            next = here.next;
        }
    }
}

/// The object of a pooled entry.
///
/// # Safety
///
/// The entry is that of a [`Pooled`].
pub(super) unsafe fn object_of(entry: &Entry) -> *const () {
    // SAFETY: The contract of this function.
    unsafe { (*ptr::from_ref(entry).cast::<Pooled>()).object }
}
