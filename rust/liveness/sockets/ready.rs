// SPDX-License-Identifier: GPL-2.0

//! Places that somebody has to look at: marked from anywhere, taken by one worker.

use crate::policy::esi::xids::SLOTS;
use core::sync::atomic::{
    AtomicU64,
    Ordering::{AcqRel, Release}, //
};

/// The place of the socket of datagrams over IPv4. First, for what has come is looked at before deadlines.
pub(super) const OVER_V4: u32 = 0;
/// The one over IPv6.
pub(super) const OVER_V6: u32 = 1;
/// The places of the slots begin here.
pub(super) const SLOTS_FROM: u32 = 2;

/// The place of a slot.
pub(super) const fn place_of(slot: u32) -> u32 {
    SLOTS_FROM.wrapping_add(slot)
}

const PLACES: u32 = SLOTS_FROM + SLOTS as u32;
const BITS: u32 = u64::BITS;
const WORDS: usize = PLACES.div_ceil(BITS) as usize;
const GROUPS: usize = WORDS.div_ceil(BITS as usize);

/// A bit for each place, and one for each word of these that is not empty: 2 KiB.
pub(super) struct Ready {
    words: [AtomicU64; WORDS],
    groups: [AtomicU64; GROUPS],
}

impl Ready {
    pub(super) const fn new() -> Self {
        Self {
            words: [const { AtomicU64::new(0) }; WORDS],
            groups: [const { AtomicU64::new(0) }; GROUPS],
        }
    }

    /// Marks a place. What was done before is seen by who takes it. `false`: it was marked already. Any
    /// context.
    pub(super) fn mark(&self, place: u32) -> bool {
        let word = place / BITS;
        let Some(there) = self.words.get(word as usize) else {
            return false;
        };
        let bit = 1 << (place % BITS);
        if there.fetch_or(bit, AcqRel) & bit != 0 {
            return false;
        }
        if let Some(group) = self.groups.get((word / BITS) as usize) {
            group.fetch_or(1 << (word % BITS), Release);
        }
        true
    }

    /// Takes the marked places away, each at most once, in order.
    pub(super) fn take(&self) -> impl Iterator<Item = u32> + '_ {
        (0..).zip(&self.groups).flat_map(move |(at, group)| {
            // First this: whoever marks a place of a word from now on marks the word again.
            let words = bits_of(at, group.swap(0, AcqRel));
            words.flat_map(move |word| {
                let there = self.words.get(word as usize);
                bits_of(word, there.map_or(0, |there| there.swap(0, AcqRel)))
            })
        })
    }
}

/// The numbers of the bits of word number `at`.
fn bits_of(at: u32, bits: u64) -> impl Iterator<Item = u32> {
    let first = at.wrapping_mul(BITS);
    core::iter::successors(Some(bits), |bits| Some(bits & bits.wrapping_sub(1)))
        .take_while(|bits| *bits != 0)
        .map(move |bits| first.wrapping_add(bits.trailing_zeros()))
}
