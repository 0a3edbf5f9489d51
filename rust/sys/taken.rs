// SPDX-License-Identifier: GPL-2.0

//! A value that one can take for a while; whoever comes meanwhile is told so, and does not wait.
//!
//! INVARIANT 1: `value` is used only by who holds the one [`Hold`], and there is one only while `taken`.

use core::{
    cell::UnsafeCell,
    ops::{Deref, DerefMut},
    sync::atomic::{
        AtomicBool,
        Ordering::{Acquire, Release}, //
    },
};

/// The value.
pub(crate) struct Taken<T> {
    taken: AtomicBool,
    value: UnsafeCell<T>,
}

// SAFETY: Invariant 1: the value goes from thread to thread, and is never in two.
unsafe impl<T: Send> Sync for Taken<T> {}

impl<T> Taken<T> {
    /// A value that nobody has taken.
    pub(crate) const fn new(value: T) -> Self {
        Self {
            taken: AtomicBool::new(false),
            value: UnsafeCell::new(value),
        }
    }

    /// Takes it, unless somebody has. Any context.
    #[inline]
    pub(crate) fn take(&self) -> Option<Hold<'_, T>> {
        (!self.taken.swap(true, Acquire)).then(|| Hold(self))
    }
}

/// Whoever has taken the value: until this is dropped.
pub(crate) struct Hold<'a, T>(&'a Taken<T>);

impl<T> Deref for Hold<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: Invariant 1.
        unsafe { &*self.0.value.get() }
    }
}

impl<T> DerefMut for Hold<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: Invariant 1.
        unsafe { &mut *self.0.value.get() }
    }
}

impl<T> Drop for Hold<'_, T> {
    #[inline]
    fn drop(&mut self) {
        self.0.taken.store(false, Release);
    }
}
