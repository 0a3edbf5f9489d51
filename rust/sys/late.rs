// SPDX-License-Identifier: GPL-2.0

//! A value in a static that is made when the first one needs it, and stays.
//!
//! A lock cannot be made by a constant. The value is never dropped: a static never is.
//!
//! INVARIANT 1: `value` is written by the one who has changed `state` from `NOT_YET`, and by nobody
//! once it is `THERE`; then it is initialised, and pinned, for it lies in a static.

use core::{
    cell::UnsafeCell,
    mem::MaybeUninit,
    sync::atomic::{
        AtomicU8,
        Ordering::{Acquire, Relaxed, Release}, //
    },
};
use kernel::prelude::*;

const NOT_YET: u8 = 0;
const BEING_MADE: u8 = 1;
const THERE: u8 = 2;

/// A place for a `T` in a static.
pub(crate) struct Late<T> {
    state: AtomicU8,
    value: UnsafeCell<MaybeUninit<T>>,
}

// SAFETY: All share the value (`T: Sync`), and one thread makes it for the others (`T: Send`).
unsafe impl<T: Send + Sync> Sync for Late<T> {}

impl<T> Late<T> {
    /// A place where nothing is yet.
    pub(crate) const fn new() -> Self {
        Self {
            state: AtomicU8::new(NOT_YET),
            value: UnsafeCell::new(MaybeUninit::uninit()),
        }
    }

    /// The value, if it was made.
    pub(crate) fn get(&'static self) -> Option<&'static T> {
        if self.state.load(Acquire) != THERE {
            return None;
        }
        // SAFETY: Invariant 1.
        Some(unsafe { (*self.value.get()).assume_init_ref() })
    }

    /// The value, made now if it was not. `None`: somebody else is making it.
    pub(crate) fn make(&'static self, init: impl PinInit<T>) -> Option<&'static T> {
        let first = self
            .state
            .compare_exchange(NOT_YET, BEING_MADE, Relaxed, Relaxed);
        if first.is_ok() {
            // SAFETY: Invariant 1: nobody else writes, and nobody reads yet; it does not move.
            let Ok(()) = unsafe { init.__pinned_init(self.value.get().cast()) };
            self.state.store(THERE, Release);
        }
        self.get()
    }
}
