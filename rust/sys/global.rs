// SPDX-License-Identifier: GPL-2.0

//! One shared object, reachable from everywhere while the module is loaded.

use core::{
    ptr,
    sync::atomic::{AtomicPtr, Ordering},
};
use kernel::sync::{Arc, ArcBorrow};

/// A place that holds an `Arc<T>` from [`publish`](Global::publish) to the drop of its guard.
///
/// INVARIANT 1: a non-null `slot` came from `Arc::into_raw`, and owns one reference.
/// INVARIANT 2: the slot is emptied only when no other code of the module can execute: the guard
/// lives in the module's own object, which is dropped last, and a module is unloaded only when no
/// client depends on it.
pub(crate) struct Global<T> {
    slot: AtomicPtr<T>,
}

/// Keeps the object published; dropping it takes the object back.
pub(crate) struct Published<T: 'static> {
    global: &'static Global<T>,
}

impl<T: Send + Sync + 'static> Global<T> {
    /// An empty place.
    pub(crate) const fn new() -> Self {
        Self {
            slot: AtomicPtr::new(ptr::null_mut()),
        }
    }

    /// Makes `value` reachable. The caller keeps the guard in the module's own object.
    pub(crate) fn publish(&'static self, value: Arc<T>) -> Published<T> {
        let raw = Arc::into_raw(value).cast_mut();
        // Invariant 1 holds for `raw`. A second publisher would leak the first value, nothing worse.
        self.slot.store(raw, Ordering::Release);
        Published { global: self }
    }

    /// The object, while it is published.
    pub(crate) fn get(&self) -> Option<Arc<T>> {
        let raw = self.slot.load(Ordering::Acquire);
        if raw.is_null() {
            return None;
        }
        // SAFETY: Invariants 1 and 2: the slot's reference outlives this borrow.
        let borrow = unsafe { ArcBorrow::from_raw(raw) };
        Some(borrow.into())
    }
}

impl<T: 'static> Drop for Published<T> {
    fn drop(&mut self) {
        let raw = self.global.slot.swap(ptr::null_mut(), Ordering::AcqRel);
        if !raw.is_null() {
            // SAFETY: Invariant 1: `raw` owns one reference, and the slot has forgotten it.
            drop(unsafe { Arc::from_raw(raw) });
        }
    }
}
