// SPDX-License-Identifier: GPL-2.0

//! Due entries on their way from the lists of a seat to their actions.
//!
//! A pass takes several of them under one hold of the seat's lock, and begins one after the other
//! without it. Until it has begun, an entry is in the queue like any other: it may be refreshed, removed,
//! dropped, or added elsewhere, by an action before it or on another CPU, and then it does not run.
//!
//! ```text
//!            pass, locked            pass, interrupts off
//!   empty ----------------> taken ------------------------> claimed --+
//!     ^                       |  ^                            |       |
//!     +--- whoever has -------+  +---- refreshed meanwhile ---+       |
//!     |    locked the seat                                            |
//!     +------------------- begun: the pass is done with it -----------+
//! ```
//!
//! INVARIANT B1: a slot that names an entry is the only one that does, that entry is on no list of the seat,
//! and this is its seat. Only the pass fills slots, under the seat's lock.
//! INVARIANT B2: a slot that names an entry changes by exchange only: whoever empties it, or claims it, has the
//! entry for itself, as far as its place goes. Only the pass claims; others hold the seat's lock.
//! INVARIANT B3: whoever looks for an entry, to drop its object above all, waits while a slot is claimed that
//! may have named it. Between claiming a slot and leaving it the pass has interrupts off and waits for nothing,
//! so that wait is short, and nobody on the same CPU waits; and it touches the entry until then, or until it
//! has a reference to the object.

use super::Entry;
use crate::sys::bindings as b;
use core::{
    hint::spin_loop,
    marker::PhantomData,
    ptr::{self, NonNull},
    sync::atomic::{
        AtomicPtr, AtomicU64,
        Ordering::{AcqRel, Acquire, Relaxed, Release},
    },
};
use kernel::ffi::c_ulong;

/// Entries of one batch.
pub(super) const MOST: usize = 16;

/// In a slot: the pass is about to begin what was there. No entry has that address.
const CLAIMED: *mut Entry = ptr::without_provenance_mut(1);

/// Where an entry is between its list and its action.
pub(super) struct Slot(AtomicPtr<Entry>);

impl Slot {
    /// Takes an entry that is on no list. The pass, under the lock; the slot is empty.
    #[inline(always)]
    pub(super) fn take(&self, entry: NonNull<Entry>) {
        self.0.store(entry.as_ptr(), Relaxed);
    }

    /// Claims the entry for the pass, which [leaves](Batch::leave) the slot afterwards. `None`: somebody has
    /// it.
    #[inline(always)]
    pub(super) fn claim(&self, _quiet: &Quiet) -> Option<NonNull<Entry>> {
        let entry = NonNull::new(self.0.swap(CLAIMED, Acquire));
        if entry.is_none() {
            self.0.store(ptr::null_mut(), Release);
        }
        entry
    }

    /// The entry that was claimed stays in the queue after all.
    pub(super) fn unclaim(&self, entry: NonNull<Entry>) {
        self.0.store(entry.as_ptr(), Release);
    }

    /// Takes the entry back, unless it is about to begin or somebody has it. Under the lock.
    pub(super) fn take_back(&self) -> Option<NonNull<Entry>> {
        let entry = self.0.load(Relaxed);
        if entry == CLAIMED {
            return None;
        }
        self.0
            .compare_exchange(entry, ptr::null_mut(), AcqRel, Relaxed)
            .ok()
            .and_then(NonNull::new)
    }

    /// Takes this entry out, if it is the one. Under the lock.
    fn catch(&self, this: *mut Entry) -> bool {
        loop {
            let there = self.0.load(Acquire);
            if there == CLAIMED {
                // Invariant B3.
                spin_loop();
            } else if there != this {
                return false;
            } else if self
                .0
                .compare_exchange(this, ptr::null_mut(), AcqRel, Acquire)
                .is_ok()
            {
                return true;
            }
        }
    }
}

/// The slots of a seat, filled from the first on.
pub(super) struct Batch {
    slots: [Slot; MOST],
    /// How many entries have left the queue through their slot, and are not in its counts yet.
    begun: AtomicU64,
}

impl Batch {
    pub(super) const fn new() -> Self {
        Self {
            slots: [const { Slot(AtomicPtr::new(ptr::null_mut())) }; MOST],
            begun: AtomicU64::new(0),
        }
    }

    /// The first `count` slots.
    #[inline(always)]
    pub(super) fn slots(&self, count: usize) -> &[Slot] {
        self.slots.get(..count).unwrap_or(&self.slots)
    }

    /// An entry has left the queue through `slot`, which it had claimed: what was done to it comes before
    /// this.
    #[inline(always)]
    pub(super) fn leave(&self, slot: &Slot) {
        let begun = self.begun.load(Relaxed).wrapping_add(1);
        self.begun.store(begun, Relaxed);
        slot.0.store(ptr::null_mut(), Release);
    }

    /// Takes this entry out of the first `taken` slots; `false`: it is in none. Under the lock, so that
    /// afterwards its seat says where it is: here still means on a list.
    pub(super) fn catch(&self, taken: usize, entry: &Entry) -> bool {
        let this = ptr::from_ref(entry).cast_mut();
        self.slots(taken).iter().any(|slot| slot.catch(this))
    }

    /// How many have left since this was [settled](Self::settle). Under the lock, or in the pass.
    pub(super) fn begun(&self) -> u64 {
        self.begun.load(Relaxed)
    }

    /// The same, and from here on none. The pass, under the lock.
    #[inline(always)]
    pub(super) fn settle(&self) -> u64 {
        let begun = self.begun.load(Relaxed);
        self.begun.store(0, Relaxed);
        begun
    }
}

/// Interrupts are off on this CPU.
pub(super) struct Quiet {
    flags: c_ulong,
    _not_send: PhantomData<*mut ()>,
}

impl Quiet {
    #[inline(always)]
    pub(super) fn new() -> Self {
        Self {
            // SAFETY: It has no precondition; the drop undoes it, on this CPU.
            flags: unsafe { b::softclock_irq_save() },
            _not_send: PhantomData,
        }
    }
}

impl Drop for Quiet {
    #[inline(always)]
    fn drop(&mut self) {
        // SAFETY: `flags` came from the constructor, and these are nested as scopes are.
        unsafe { b::softclock_irq_restore(self.flags) }
    }
}
