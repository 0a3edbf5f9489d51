// SPDX-License-Identifier: GPL-2.0

//! Due entries on their way from a bucket to their callbacks.
//!
//! INVARIANT: the batch's owner holds `left` entries, each linked to the next one as it was in the
//! bucket: a held entry's node changes by its holder only. What the last one is linked to is nothing.

use super::{base::Hold, machine::Kernel, Entry, Ptr};
use crate::policy::{levels::Bucket, operations as protocol};
use core::{
    ptr::{self, NonNull},
    sync::atomic::Ordering::Relaxed,
};

/// Held entries, in the order of their callbacks.
pub(super) struct Batch {
    at: *mut Entry,
    left: usize,
}

impl Batch {
    /// Nothing.
    pub(super) const EMPTY: Self = Self {
        at: ptr::null_mut(),
        left: 0,
    };

    /// One entry, which the caller holds.
    pub(super) fn one(entry: Ptr) -> Self {
        Self {
            at: entry.0.as_ptr(),
            left: 1,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.left
    }

    /// Takes the entries at the front of a bucket that are due by `granule`, at most `most`.
    #[inline(always)]
    pub(super) fn take(hold: &mut Hold, bucket: Bucket, granule: u64, most: usize) -> Self {
        let Some(first) = hold.first(bucket) else {
            return Self::EMPTY;
        };
        let (mut at, mut left) = (first, 0);
        while left < most && protocol::take(&Kernel, at, granule) {
            left += 1;
            at = at.next();
            if at == first {
                break;
            }
        }
        if left > 0 {
            hold.cut(bucket, first, at, left as u64);
        }
        let at = first.0.as_ptr();
        Self { at, left }
    }
}

impl Iterator for Batch {
    type Item = Ptr;

    #[inline(always)]
    fn next(&mut self) -> Option<Ptr> {
        self.left = self.left.checked_sub(1)?;
        // SAFETY: The invariant: there is one more, so `at` is an entry that is held.
        let entry = Ptr(unsafe { NonNull::new_unchecked(self.at) });
        // Before the caller lets it go, and it is linked elsewhere.
        self.at = entry.entry().next.load(Relaxed);
        Some(entry)
    }
}
