// SPDX-License-Identifier: GPL-2.0

//! The kernel as the machine of the protocol: what names an entry, and its object.

use super::{
    base,
    shared::{self, shared},
    Entry, //
};
use crate::{
    policy::{
        deadline::Instant,
        levels::granule_at,
        life::Next,
        operations::{Load, Machine},
        word::Word,
    },
    sys::{context::monotonic_ns, firing::Firing, target::Ops},
};
use core::{
    ptr::{self, NonNull},
    sync::atomic::Ordering::{AcqRel, Acquire, Relaxed},
};

/// Names an entry. Invariant 1.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ptr(pub(super) NonNull<Entry>);

// SAFETY: Entries are used from any CPU; all their fields are atomic or constant.
unsafe impl Send for Ptr {}

impl Ptr {
    #[inline(always)]
    pub(super) fn entry<'a>(self) -> &'a Entry {
        // SAFETY: Invariant 1.
        unsafe { self.0.as_ref() }
    }

    /// The next one in the same bucket. Only while its base is locked.
    #[inline(always)]
    pub(super) fn next(self) -> Self {
        // SAFETY: Invariant 4: the entries of a bucket form a ring.
        Self(unsafe { NonNull::new_unchecked(self.entry().next.load(Relaxed)) })
    }

    #[inline(always)]
    pub(super) fn target(self) -> Target {
        Target {
            ops: &self.entry().kin.ops,
            object: self.object(),
        }
    }

    /// The object the entry lies in.
    #[inline(always)]
    pub(super) fn object(self) -> *const () {
        let address = self.0.as_ptr() as usize;
        let object = address.wrapping_sub(self.entry().kin.ops.entry_offset);
        // Exposed by `bind`.
        ptr::with_exposed_provenance(object)
    }
}

/// An entry's object, whose reference whoever holds the entry has: so its kin is there. Looked up once for each
/// run.
#[derive(Clone, Copy)]
pub(super) struct Target {
    ops: &'static Ops,
    object: *const (),
}

impl Target {
    #[inline(always)]
    pub(super) fn run(self, firing: &Firing<'_>) -> Next {
        // SAFETY: The caller has a reference (rule 6 of the protocol).
        unsafe { self.ops.run(self.object, firing) }
    }

    pub(super) fn drained(self) {
        // SAFETY: As for `run`.
        unsafe { self.ops.drained(self.object) }
    }

    /// Gives the reference back; `true`: it was the last.
    #[inline(always)]
    pub(super) fn put(self) -> bool {
        // SAFETY: As for `run`; the caller forgets it.
        unsafe { self.ops.put(self.object) }
    }

    /// No owner of the object is left.
    pub(super) fn is_alone(self) -> bool {
        // SAFETY: As for `run`.
        unsafe { self.ops.is_alone(self.object) }
    }

    pub(super) fn locks(self) -> bool {
        self.ops.locks
    }
}

/// The kernel as the protocol's machine.
pub(super) struct Kernel;

impl Machine for Kernel {
    type Entry = Ptr;
    type Locked<'a> = base::Hold;

    #[inline(always)]
    fn load(&self, entry: Ptr, how: Load) -> Word {
        Word::from_bits(match how {
            Load::Relaxed => entry.entry().word.load(Relaxed),
            Load::Acquire => entry.entry().word.load(Acquire),
        })
    }

    #[inline(always)]
    fn exchange(&self, entry: Ptr, old: Word, new: Word) -> Result<(), Word> {
        let word = &entry.entry().word;
        match word.compare_exchange(old.bits(), new.bits(), AcqRel, Acquire) {
            Ok(_) => Ok(()),
            Err(now) => Err(Word::from_bits(now)),
        }
    }

    fn here(&self) -> usize {
        shared::this_cpu()
    }

    #[inline(always)]
    fn ahead(&self) -> u64 {
        let now = Instant::from_nanos(monotonic_ns());
        granule_at(now).wrapping_add(1)
    }

    #[inline(always)]
    fn lock(&self, base: usize) -> base::Hold {
        shared().base(base).lock()
    }

    #[inline(always)]
    fn visited(&self, hold: &base::Hold) -> u64 {
        hold.visited()
    }

    #[inline(always)]
    fn link(&self, hold: &mut base::Hold, entry: Ptr, granule: u64) {
        hold.link(entry, granule);
    }

    #[inline(always)]
    fn unlink(&self, hold: &mut base::Hold, entry: Ptr) {
        hold.unlink(entry);
    }

    #[inline(always)]
    fn get(&self, entry: Ptr) -> bool {
        // SAFETY: Invariants 1 and 2: the object's memory is there.
        unsafe { entry.entry().kin.ops.get(entry.object()) }
    }
}

#[cfg(softclock_locked)]
impl crate::policy::operations::OneLock for Kernel {
    fn turn(&self, hold: base::Hold, base: usize) -> base::Hold {
        hold.turn(shared().base(base))
    }
}
