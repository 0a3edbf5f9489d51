// SPDX-License-Identifier: GPL-2.0

//! What readers see of entries, and how they keep one.

use super::{
    kin::{Kin, Owned},
    machine::Ptr,
    walk, Entry,
};
use crate::{
    policy::{
        deadline::Instant,
        place::Place,
        word::{Place as Seat, Word},
    },
    sys::roster::{Link, Mark},
};
use core::{mem::offset_of, sync::atomic::Ordering::Relaxed};
use kernel::{prelude::*, sync::Arc, types::Opaque};

/// What a reader sees of an entry.
pub(crate) struct Seen {
    pub(crate) id: u64,
    pub(crate) kin: Arc<Kin>,
    pub(crate) word: Word,
    pub(crate) due: Instant,
}

impl Seen {
    /// The state in one word, for people.
    pub(crate) fn state(&self) -> &'static str {
        STATES[match (self.word.place(), self.word.is_armed()) {
            (_, false) if self.word.is_shut() && !self.word.is_running() => 5,
            (Seat::Running, true) => 4,
            (Seat::Running, false) => 3,
            (Seat::Queued, true) => 2,
            (_, true) => 1,
            (_, false) => 0,
        }]
    }
}

/// What [`Seen::state`] can be.
pub(super) const STATES: [&str; 6] = ["idle", "armed", "dispatched", "running", "rearmed", "shut"];

/// A reference to an entry's object. Dropping the last one leaves the object's drop to a worker.
pub(crate) struct Kept(pub(super) Ptr);

impl Kept {
    pub(crate) fn entry(&self) -> &Entry {
        self.0.entry()
    }

    /// The thread that executes the callback in a worker, as long as somebody waits for that.
    pub(crate) fn runner(&self) -> Option<usize> {
        self.runner_while(Entry::is_waited_for)
    }

    /// The thread that executes the callback in a worker.
    pub(crate) fn worker(&self) -> Option<usize> {
        self.runner_while(|entry| entry.word().is_running())
    }

    fn runner_while(&self, holds: impl Fn(&Entry) -> bool) -> Option<usize> {
        let entry = self.entry();
        let runner = entry.prev.load(Relaxed) as usize;
        (holds(entry) && entry.kin.place == Place::Task).then_some(runner)
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        walk::put(self.0);
    }
}

/// A reader of a roster.
pub(crate) struct Reader {
    owner: Arc<Owned>,
    mark: Pin<KBox<Opaque<Mark>>>,
}

// SAFETY: The mark is used under the roster's lock only.
unsafe impl Send for Reader {}

impl Reader {
    /// Begins to read. Task context; may block.
    pub(crate) fn new(owner: Arc<Owned>) -> Result<Self> {
        let mark = KBox::pin(Opaque::new(Mark::new()), GFP_KERNEL)?;
        // SAFETY: The mark is pinned, and taken back by drop.
        unsafe { owner.roster.place(mark.get()) };
        Ok(Self { owner, mark })
    }

    /// Copies up to `most` entries.
    pub(crate) fn read(&mut self, most: usize, mut f: impl FnMut(Seen)) {
        self.each(most, |entry| {
            f(entry.seen());
            true
        });
    }

    /// The next entry whose object is not going.
    pub(crate) fn next_kept(&mut self) -> Option<Kept> {
        loop {
            let (mut found, mut more) = (None, false);
            self.each(64, |entry| {
                more = true;
                found = entry.keep();
                found.is_none()
            });
            if found.is_some() || !more {
                return found;
            }
        }
    }

    /// Goes back to the beginning.
    pub(crate) fn rewind(&mut self) {
        // SAFETY: The mark is valid; it is registered again.
        unsafe {
            self.owner.roster.take_back(self.mark.get());
            self.owner.roster.place(self.mark.get());
        }
    }

    fn each(&mut self, most: usize, mut f: impl FnMut(&Entry) -> bool) {
        let mark = self.mark.get();
        let each = |link: *mut Link| {
            let entry = link.wrapping_byte_sub(offset_of!(Entry, link));
            // SAFETY: Every link on a roster is part of an entry that is there under the lock.
            f(unsafe { &*entry.cast::<Entry>() })
        };
        // SAFETY: The mark is registered.
        unsafe { self.owner.roster.read(mark, most, each) };
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        // SAFETY: It is valid.
        unsafe { self.owner.roster.take_back(self.mark.get()) };
    }
}
