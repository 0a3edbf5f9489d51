// SPDX-License-Identifier: GPL-2.0

//! Tells lockdep that to wait for a callback is to wait for every lock the callback takes.
//!
//! Whoever waits for a callback while holding a lock of its deadlocks one day, when the two meet. Kernels
//! with lockdep report that before it happens, when both have been seen once.
//!
//! INVARIANT 1: `raw` is a `lockdep_map` that the constructor has initialised, and does not move.

#[cfg(CONFIG_LOCKDEP)]
use super::bindings as b;
use kernel::prelude::*;
#[cfg(CONFIG_LOCKDEP)]
use kernel::types::Opaque;

/// Stands for a callback, as a lock that it holds while it executes. Nothing on kernels without lockdep.
#[pin_data]
pub(crate) struct Map {
    /// As large as a `lockdep_map` at least: C checks that.
    #[cfg(CONFIG_LOCKDEP)]
    #[pin]
    raw: Opaque<[u64; 8]>,
}

// SAFETY: lockdep has a lock of its own.
#[cfg(CONFIG_LOCKDEP)]
unsafe impl Send for Map {}
// SAFETY: As above.
#[cfg(CONFIG_LOCKDEP)]
unsafe impl Sync for Map {}

#[cfg(CONFIG_LOCKDEP)]
impl Map {
    /// For a callback. All with the same `class`, an address in the callback's module, are alike to lockdep.
    pub(crate) fn new(class: usize) -> impl PinInit<Self> {
        pin_init!(Self {
            raw <- Opaque::ffi_init(move |slot: *mut [u64; 8]| {
                // SAFETY: `slot` is valid for writes and will not move; the class is only compared.
                unsafe { b::softclock_map_init(slot.cast(), class) }
            }),
        })
    }

    /// The callback begins. Any context.
    pub(crate) fn enter(&self) {
        // SAFETY: Invariant 1.
        unsafe { b::softclock_map_enter(self.raw.get().cast()) }
    }

    /// It has ended, in the same context.
    pub(crate) fn leave(&self) {
        // SAFETY: Invariant 1; `enter` came before.
        unsafe { b::softclock_map_leave(self.raw.get().cast()) }
    }

    /// The calling thread, which is not the callback, may have to wait for its end.
    pub(crate) fn wait(&self) {
        // SAFETY: Invariant 1.
        unsafe { b::softclock_map_wait(self.raw.get().cast()) }
    }
}

#[cfg(not(CONFIG_LOCKDEP))]
impl Map {
    pub(crate) fn new(_class: usize) -> impl PinInit<Self> {
        pin_init!(Self {})
    }

    #[inline(always)]
    pub(crate) fn enter(&self) {}

    #[inline(always)]
    pub(crate) fn leave(&self) {}

    #[inline(always)]
    pub(crate) fn wait(&self) {}
}
