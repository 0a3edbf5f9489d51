// SPDX-License-Identifier: GPL-2.0

//! The arithmetic of the timer wheel: which bucket a granule belongs to, and which comes next.
//!
//! Time is counted in *granules* of 2^16 ns (65.5 us). The wheel has 8 levels of 64 buckets; a bucket
//! of level `l` spans 64^l granules. A granule's level is that of the highest 6-bit digit in which it
//! differs from the granule *visited* last, and its bucket that digit's value:
//!
//! ```text
//!   visited  0 3 17 50        granule 0 3 17 52 -> level 0, bucket 52
//!                             granule 0 3 20  1 -> level 1, bucket 20
//! ```
//!
//! So on each level only buckets after the visited digit are in use, everything on a lower level
//! comes before everything on a higher one, and the next bucket is the first one in use on the lowest
//! level in use: two find-first-set, no scan, however far away. When the wheel comes to a bucket of
//! level 1 or higher, its entries move to lower levels.

#![forbid(unsafe_code)]

use super::{
    deadline::{Delta, Instant},
    word::LAST_GRANULE,
};

/// log2 of the nanoseconds in a granule.
pub(crate) const GRANULE_SHIFT: u32 = 16;
/// Levels: together they span every granule there is.
pub(crate) const LEVELS: usize = 8;
/// Buckets on a level.
pub(crate) const SLOTS: usize = 1 << SLOT_BITS;
/// Buckets of a wheel.
pub(crate) const BUCKETS: usize = LEVELS * SLOTS;

const SLOT_BITS: u32 = 6;
const ROUND_UP: u64 = (1 << GRANULE_SHIFT) - 1;

/// The first granule that begins at `due` or later: what runs in it is never early.
pub(crate) const fn granule_of(due: Instant) -> u64 {
    if due.as_nanos() > LAST_DUE {
        LAST_GRANULE
    } else {
        near_granule_of(due)
    }
}

/// The last deadline that has a granule of its own.
pub(crate) const LAST_DUE: i64 = (LAST_GRANULE << GRANULE_SHIFT) as i64;

/// As [`granule_of`], for deadlines up to [`LAST_DUE`].
#[inline(always)]
pub(crate) const fn near_granule_of(due: Instant) -> u64 {
    (due.as_nanos() as u64).wrapping_add(ROUND_UP) >> GRANULE_SHIFT
}

/// When a granule begins.
pub(crate) const fn start_of(granule: u64) -> Instant {
    Instant::from_nanos((granule << GRANULE_SHIFT) as i64)
}

/// The granule in progress at `now`.
pub(crate) const fn granule_at(now: Instant) -> u64 {
    (now.as_nanos() as u64) >> GRANULE_SHIFT
}

/// The granule of `due..=due + window` that most others share: the one whose number has most zeros
/// at its end. Callouts with the same window meet there, and cost one wake-up together.
pub(crate) const fn granule_within(due: Instant, window: Delta) -> u64 {
    let first = granule_of(due);
    if window.as_nanos() <= 0 {
        return first;
    }
    let last = granule_at(Instant::from_nanos(
        due.as_nanos().saturating_add(window.as_nanos()),
    ));
    let last = if last > LAST_GRANULE {
        LAST_GRANULE
    } else {
        last
    };
    if last <= first {
        return first;
    }
    // The highest digit in which the two differ: everything below it can be zero in `last`.
    let differ = (first.wrapping_sub(1)) ^ last;
    let below = 63 - differ.leading_zeros();
    (last >> below) << below
}

/// For each number of leading zeros of a difference: how far the level's digit is shifted, and the number
/// of the level's first bucket. A division by 6, looked up.
const LEVEL_OF: [(u8, u16); 64] = {
    let mut table = [(0, 0); 64];
    let mut zeros = 0;
    while zeros < 64 {
        let level = (63 - zeros as u32) / SLOT_BITS;
        // Differences of more than 48 bits do not happen: a granule has 44.
        let level = if level < LEVELS as u32 {
            level
        } else {
            LEVELS as u32 - 1
        };
        table[zeros] = ((level * SLOT_BITS) as u8, (level * SLOTS as u32) as u16);
        zeros += 1;
    }
    table
};

/// One bucket of the wheel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bucket(u16);

impl Bucket {
    /// The bucket of `granule`, when `visited` is the granule visited last.
    #[inline(always)]
    pub(crate) const fn of(granule: u64, visited: u64) -> Self {
        let zeros = ((granule ^ visited) | 1).leading_zeros();
        let (shift, first) = LEVEL_OF[(zeros & 63) as usize];
        let slot = (granule >> (shift & 63)) & (SLOTS as u64 - 1);
        Self(first | slot as u16)
    }

    /// The bucket with this number.
    pub(crate) const fn from_index(index: u16) -> Self {
        Self(index % BUCKETS as u16)
    }

    /// Its number, less than [`BUCKETS`].
    pub(crate) const fn index(self) -> usize {
        self.0 as usize % BUCKETS
    }

    /// Its level.
    pub(crate) const fn level(self) -> usize {
        self.index() / SLOTS
    }

    const fn bit(self) -> u64 {
        1 << (self.0 % SLOTS as u16)
    }
}

/// Which buckets are in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Occupied([u64; LEVELS]);

impl Occupied {
    /// None.
    pub(crate) const NONE: Self = Self([0; LEVELS]);

    pub(crate) fn set(&mut self, bucket: Bucket) {
        self.0[bucket.level()] |= bucket.bit();
    }

    pub(crate) fn clear(&mut self, bucket: Bucket) {
        self.0[bucket.level()] &= !bucket.bit();
    }

    /// The next bucket in use, and the granule at which it begins.
    pub(crate) fn next(&self, visited: u64) -> Option<(Bucket, u64)> {
        let level = self.0.iter().position(|map| *map != 0)?;
        let slot = self.0[level].trailing_zeros();
        let shift = level as u32 * SLOT_BITS;
        let above = shift + SLOT_BITS;
        let granule = ((visited >> above) << above) + (u64::from(slot) << shift);
        Some((Bucket((level * SLOTS) as u16 + slot as u16), granule))
    }
}
