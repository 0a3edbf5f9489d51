// SPDX-License-Identifier: GPL-2.0

//! Weak pointers to objects: a timer has one where its own memory lies outside of the object.
//!
//! The invariants are those of `target`.

use super::{Ops, Part};
use crate::{
    policy::life::Next,
    sys::{firing::Firing, lock::RawLock},
};
use kernel::{
    prelude::*,
    sync::{
        atomic::{Acquire, Atomic, Release},
        Arc,
        LockClassKey, //
    },
};

struct Bound {
    object: *const (),
}

// SAFETY: The pointer is only used through `Ops`, whose `T` is `Send + Sync` (supertraits of `Run`).
unsafe impl Send for Bound {}

/// The weak pointer to an object, kept outside of it.
#[pin_data]
pub(crate) struct Weak {
    #[pin]
    bound: RawLock<Bound>,
    ops: &'static Ops,
}

impl Weak {
    /// A pointer to nothing yet.
    pub(crate) fn new(
        ops: &'static Ops,
        name: &'static CStr,
        key: Pin<&'static LockClassKey>,
    ) -> impl PinInit<Self> {
        pin_init!(Self {
            bound <- RawLock::new(Bound { object: core::ptr::null() }, name, key),
            ops,
        })
    }

    /// Takes a reference to the object, unless it is gone. Any context.
    pub(crate) fn get(&self) -> Option<Held> {
        let bound = self.bound.lock();
        let object = bound.object;
        if object.is_null() {
            return None;
        }
        // SAFETY: Invariants 1 and 2: under the lock a non-null object's allocation is there.
        let got = unsafe { self.ops.get(object) };
        drop(bound);
        // Invariant 3.
        got.then_some(Held {
            object,
            ops: self.ops,
        })
    }

    /// The callback takes a lock before it begins.
    pub(crate) fn locks(&self) -> bool {
        self.ops.locks
    }

    fn bind(&self, object: *const ()) {
        self.bound.lock().object = object;
    }
}

/// One reference to an object whose type is forgotten. It is put, not dropped.
#[must_use]
pub(crate) struct Held {
    object: *const (),
    ops: &'static Ops,
}

impl Held {
    /// No owner is left: this reference is the only one.
    pub(crate) fn is_alone(&self) -> bool {
        // SAFETY: Invariant 3.
        unsafe { self.ops.is_alone(self.object) }
    }

    /// Calls the driver.
    pub(crate) fn run(&self, firing: &Firing<'_>) -> Next {
        // SAFETY: Invariant 3.
        unsafe { self.ops.run(self.object, firing) }
    }

    /// Tells the driver that a run is over.
    pub(crate) fn drained(&self) {
        // SAFETY: Invariant 3.
        unsafe { self.ops.drained(self.object) }
    }

    /// Gives the reference back. If it was the last one, the object is dead: nobody can take a
    /// reference any more. Its drop is left to the caller, for this context may be wrong for it.
    pub(crate) fn put(self) -> Option<Remains> {
        // SAFETY: Invariants 2 and 3; `self` is consumed, so the reference is given up once.
        unsafe { self.ops.put(self.object) }.then(|| Remains {
            object: self.object,
            ops: self.ops,
        })
    }
}

/// An object without references that is still to be dropped, which dropping this does.
pub(crate) struct Remains {
    object: *const (),
    ops: &'static Ops,
}

// SAFETY: As for `Bound`.
unsafe impl Send for Remains {}

impl Drop for Remains {
    fn drop(&mut self) {
        // SAFETY: Made only by `put`, where the object's count became zero.
        unsafe { self.ops.bury(self.object) }
    }
}

/// What owns the weak pointer. Use [`impl_has_weak!`] to implement it.
///
/// # Safety
///
/// `weak` always returns the same one.
pub(crate) unsafe trait HasWeak {
    /// The weak pointer.
    fn weak(&self) -> &Weak;
}

/// Implements [`HasWeak`] for a type and one of its fields.
macro_rules! impl_has_weak {
    ($ty:ty { self.$field:ident }) => {
        // SAFETY: It is always the same field.
        unsafe impl $crate::sys::target::HasWeak for $ty {
            fn weak(&self) -> &$crate::sys::target::Weak {
                &self.$field
            }
        }
    };
}
pub(crate) use impl_has_weak;

/// The end of a weak pointer that lies inside the object.
pub(crate) struct Anchor<N: HasWeak> {
    node: Arc<N>,
    bound: Atomic<bool>,
}

impl<N: HasWeak> Anchor<N> {
    /// Ties `node` to whatever object this will be part of.
    pub(crate) fn new(node: Arc<N>) -> Self {
        Self {
            node,
            bound: Atomic::new(false),
        }
    }

    /// What is tied to the object.
    pub(crate) fn node(&self) -> &Arc<N> {
        &self.node
    }
}

// SAFETY: The drop below clears the pointer.
unsafe impl<N: HasWeak> Part for Anchor<N> {
    fn is_bound(&self) -> bool {
        self.bound.load(Acquire)
    }

    unsafe fn bind(&self, object: *const ()) {
        self.node.weak().bind(object);
        self.bound.store(true, Release);
    }
}

/// Implements [`Part`] for a type that is an anchor, and nothing else that moves.
macro_rules! impl_part_of_anchor {
    ($ty:ty) => {
        // SAFETY: It is what its anchor is.
        unsafe impl $crate::sys::target::Part for $ty {
            #[inline(always)]
            fn is_bound(&self) -> bool {
                $crate::sys::target::Part::is_bound(&self.0)
            }

            unsafe fn bind(&self, object: *const ()) {
                // SAFETY: The contract of this function.
                unsafe { $crate::sys::target::Part::bind(&self.0, object) }
            }
        }
    };
}
pub(crate) use impl_part_of_anchor;

impl<N: HasWeak> Drop for Anchor<N> {
    fn drop(&mut self) {
        // Invariant 1: from here on nobody finds the object.
        self.node.weak().bind(core::ptr::null());
    }
}
