// SPDX-License-Identifier: GPL-2.0

//! The entries of a queue in the order of their stamps.
//!
//! Most are on one list, in the order they were added, which is that of their stamps. A refresh changes
//! the stamp and nothing else. When such an entry comes to the front it is put into a bucket by its new
//! stamp (`policy::route::Places`), and comes out in its turn.

use super::{batch::Slot, Entry, Links};
use crate::policy::route::{Bucket, Places, Word, BUCKETS};
use core::{
    ptr::{self, NonNull},
    sync::atomic::{AtomicPtr, Ordering::Relaxed},
};
use kernel::{prelude::*, types::Opaque};

/// Entries that change their place before others are let in.
const MOST_MOVES: u32 = 64;

/// The heads of all lists: first that of those never refreshed, then the buckets'.
#[repr(transparent)]
pub(super) struct Heads([Links; 1 + BUCKETS]);

impl Heads {
    /// Empty lists. They are not moved any more.
    pub(super) fn init() -> impl PinInit<Opaque<Self>> {
        Opaque::ffi_init(|slot: *mut Self| {
            for index in 0..=BUCKETS {
                let head = slot.cast::<Links>().wrapping_add(index);
                let link = || AtomicPtr::new(head);
                // SAFETY: `head` is one of the links in `slot`, which is valid for writes.
                unsafe {
                    head.write(Links {
                        next: link(),
                        prev: link(),
                    });
                }
            }
        })
    }
}

/// What comes first.
pub(super) enum First {
    /// This one; its stamp is its place, if it is not refreshed right now.
    Entry(NonNull<Entry>),
    /// Many have changed their places: others are to be let in first.
    Pause,
    /// Nothing.
    Empty,
}

/// The order. Used under the seat's lock only (invariant 5).
pub(super) struct Order {
    places: Places,
    /// The bucket whose entries are being moved to lower ones.
    cascade: Option<Bucket>,
    /// How many entries were found refreshed.
    pub(super) moved: u64,
}

impl Order {
    pub(super) const NEW: Self = Self {
        places: Places::NONE,
        cascade: None,
        moved: 0,
    };

    /// Adds an entry that is on no list, with the largest stamp.
    #[inline(always)]
    pub(super) fn push(&mut self, heads: &Opaque<Heads>, entry: &Entry) {
        append(head(heads, 0), entry);
    }

    /// Adds an entry that is on no list, and came first before it was taken off one.
    pub(super) fn push_front(&mut self, heads: &Opaque<Heads>, entry: &Entry) {
        prepend(head(heads, 0), entry);
    }

    /// Puts an entry that is on no list, and was refreshed, where its stamp says.
    pub(super) fn place_moved(&mut self, heads: &Opaque<Heads>, entry: &Entry) {
        let was = entry.change(Word::placed);
        if was.is_moved() {
            self.moved = self.moved.wrapping_add(1);
        }
        self.place(heads, entry, was.stamp());
    }

    /// Puts an entry that is on no list where its stamp says.
    pub(super) fn place(&mut self, heads: &Opaque<Heads>, entry: &Entry, stamp: u64) {
        let bucket = self.places.put(stamp);
        append(head(heads, 1 + bucket), entry);
    }

    /// Finds the entry with the smallest stamp.
    #[inline(always)]
    pub(super) fn first(&mut self, heads: &Opaque<Heads>) -> First {
        if self.cascade.is_none() && self.places.is_empty() {
            match first_of(head(heads, 0)) {
                None => return First::Empty,
                Some(entry) if !word(entry).is_moved() => return First::Entry(entry),
                Some(_) => {}
            }
        }
        self.first_of_all(heads)
    }

    /// Moves entries from the front into slots, as long as they come first whatever else there is and `ripe`
    /// says so. Answers how many.
    #[inline(always)]
    pub(super) fn shift_into(
        &mut self,
        heads: &Opaque<Heads>,
        slots: &[Slot],
        ripe: impl Fn(Word) -> bool,
    ) -> usize {
        if self.cascade.is_some() || !self.places.is_empty() {
            return 0;
        }
        let head = head(heads, 0);
        let mut count = 0;
        // SAFETY: Invariant 5: from the head on all are entries on the list, up to the head again. Invariant
        // B1: what is in slots is cut off.
        unsafe {
            let mut next = (*head).next.load(Relaxed);
            for slot in slots {
                if next == head || !ripe((*next.cast::<Entry>()).word()) {
                    break;
                }
                slot.take(NonNull::new_unchecked(next.cast()));
                next = (*next).next.load(Relaxed);
                count += 1;
            }
            (*head).next.store(next, Relaxed);
            (*next).prev.store(head, Relaxed);
        }
        count
    }

    #[inline(never)]
    fn first_of_all(&mut self, heads: &Opaque<Heads>) -> First {
        for _ in 0..MOST_MOVES {
            if let Some(bucket) = self.cascade {
                match first_of(head(heads, 1 + bucket.index())) {
                    Some(entry) => self.put_anew(heads, entry),
                    None => self.cascade = None,
                }
                continue;
            }
            let oldest = first_of(head(heads, 0));
            if let Some(entry) = oldest.filter(|entry| word(*entry).is_moved()) {
                self.put_anew(heads, entry);
                continue;
            }
            let Some(bucket) = self.places.next() else {
                return oldest.map_or(First::Empty, First::Entry);
            };
            if let Some(entry) = oldest.filter(|entry| word(*entry).stamp() <= bucket.start) {
                return First::Entry(entry);
            }
            if let Some(entry) = self.first_in(heads, bucket) {
                return First::Entry(match oldest {
                    Some(other) if word(other).stamp() <= word(entry).stamp() => other,
                    _ => entry,
                });
            }
        }
        First::Pause
    }

    /// The first entry of the next bucket, if it is clear which one that is; otherwise one step is made
    /// towards that.
    fn first_in(&mut self, heads: &Opaque<Heads>, bucket: Bucket) -> Option<NonNull<Entry>> {
        let head = head(heads, 1 + bucket.index());
        let Some(entry) = first_of(head) else {
            self.places.clear(bucket);
            return None;
        };
        if word(entry).is_moved() {
            self.put_anew(heads, entry);
            return None;
        }
        if bucket.is_exact() || is_alone(entry) {
            return Some(entry);
        }
        self.places.reach(bucket);
        self.places.clear(bucket);
        self.cascade = Some(bucket);
        None
    }

    /// Puts an entry of one list into the bucket of its present stamp.
    fn put_anew(&mut self, heads: &Opaque<Heads>, entry: NonNull<Entry>) {
        // SAFETY: It is on a list (invariant 2).
        let entry = unsafe { entry.as_ref() };
        unlink(entry);
        self.place_moved(heads, entry);
    }

    /// Some entry; none: there is none.
    pub(super) fn any(&mut self, heads: &Opaque<Heads>) -> Option<NonNull<Entry>> {
        if let Some(entry) = first_of(head(heads, 0)) {
            return Some(entry);
        }
        if let Some(bucket) = self.cascade {
            if let Some(entry) = first_of(head(heads, 1 + bucket.index())) {
                return Some(entry);
            }
            self.cascade = None;
        }
        while let Some(bucket) = self.places.next() {
            if let Some(entry) = first_of(head(heads, 1 + bucket.index())) {
                return Some(entry);
            }
            self.places.clear(bucket);
        }
        None
    }
}

fn word(entry: NonNull<Entry>) -> Word {
    // SAFETY: It is on a list (invariant 2).
    unsafe { entry.as_ref() }.word()
}

#[inline(always)]
fn head(heads: &Opaque<Heads>, index: usize) -> *mut Links {
    heads.get().cast::<Links>().wrapping_add(index)
}

/// The first entry of a list.
#[inline(always)]
fn first_of(head: *mut Links) -> Option<NonNull<Entry>> {
    // SAFETY: Invariant 5.
    let first = unsafe { (*head).next.load(Relaxed) };
    if first == head {
        return None;
    }
    // Links are at the beginning of an entry.
    NonNull::new(first.cast())
}

/// Its list has no other entry.
fn is_alone(entry: NonNull<Entry>) -> bool {
    // SAFETY: It is on a list (invariant 2).
    let links = unsafe { &entry.as_ref().links };
    links.next.load(Relaxed) == links.prev.load(Relaxed)
}

#[inline(always)]
fn append(head: *mut Links, entry: &Entry) {
    let this = ptr::from_ref(&entry.links).cast_mut();
    // SAFETY: Invariant 5: the head, and the last entry (or the head again), are there.
    unsafe {
        let last = (*head).prev.load(Relaxed);
        entry.links.prev.store(last, Relaxed);
        entry.links.next.store(head, Relaxed);
        (*last).next.store(this, Relaxed);
        (*head).prev.store(this, Relaxed);
    }
}

fn prepend(head: *mut Links, entry: &Entry) {
    let this = ptr::from_ref(&entry.links).cast_mut();
    // SAFETY: Invariant 5: the head, and the first entry (or the head again), are there.
    unsafe {
        let first = (*head).next.load(Relaxed);
        entry.links.next.store(first, Relaxed);
        entry.links.prev.store(head, Relaxed);
        (*first).prev.store(this, Relaxed);
        (*head).next.store(this, Relaxed);
    }
}

/// Takes an entry off its list, whichever that is.
#[inline(always)]
pub(super) fn unlink(entry: &Entry) {
    let (next, prev) = (
        entry.links.next.load(Relaxed),
        entry.links.prev.load(Relaxed),
    );
    // SAFETY: Invariant 5: both neighbours are entries on that list, or its head.
    unsafe {
        (*next).prev.store(prev, Relaxed);
        (*prev).next.store(next, Relaxed);
    }
}
