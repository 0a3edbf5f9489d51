// SPDX-License-Identifier: GPL-2.0

//! A table whose rows keep their places: to add, find and remove one takes the same time however many
//! there are.
//!
//! Places are used again, keys are not: a key names one row for ever, in one table, so a stale one finds
//! nothing.

use crate::sys::lock::RawLock;
use kernel::{
    prelude::*,
    static_lock_class,
    sync::atomic::{Atomic, Relaxed}, //
};

/// Names a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Key {
    place: u32,
    /// 0: of no row.
    turn: u64,
}

impl Key {
    /// Names no row of any table.
    pub(crate) const NONE: Self = Self { place: 0, turn: 0 };
}

/// Tells rows apart that have had the same place, and tables.
static TURNS: Atomic<u64> = Atomic::new(1);

struct Slot<T> {
    /// 0: free.
    turn: u64,
    row: Option<T>,
    /// While it is free, the next free place.
    next: Option<u32>,
}

/// Slots of the first chunk; each one after it has twice as many, so none is ever moved.
const FIRST: u32 = 64;
/// Together a billion slots.
const CHUNKS: usize = 24;

struct Rows<T> {
    chunks: [KVVec<Slot<T>>; CHUNKS],
    free: Option<u32>,
    /// No place from here on was ever used.
    fresh: u32,
}

/// The table.
#[pin_data]
pub(crate) struct Slab<T> {
    #[pin]
    rows: RawLock<Rows<T>>,
}

/// The chunk of a place, and where in it.
fn split(place: u32) -> (usize, usize) {
    let number = (place / FIRST).wrapping_add(1);
    let chunk = 31_u32.wrapping_sub(number.leading_zeros());
    let first = (1_u32 << (chunk & 31)).wrapping_sub(1).wrapping_mul(FIRST);
    (chunk as usize, place.wrapping_sub(first) as usize)
}

impl<T> Rows<T> {
    fn slot(&mut self, place: u32) -> Option<&mut Slot<T>> {
        let (chunk, at) = split(place);
        self.chunks.get_mut(chunk)?.get_mut(at)
    }

    /// A place for one more row; otherwise the chunk that is missing.
    fn room(&mut self) -> Result<u32, usize> {
        if let Some(place) = self.free {
            self.free = self.slot(place).and_then(|slot| slot.next);
            return Ok(place);
        }
        let place = self.fresh;
        if self.slot(place).is_none() {
            return Err(split(place).0);
        }
        self.fresh = place.saturating_add(1);
        Ok(place)
    }

    fn find(&mut self, key: Key) -> Option<&mut Slot<T>> {
        let slot = self.slot(key.place)?;
        (slot.turn == key.turn && key != Key::NONE).then_some(slot)
    }
}

impl<T> Slab<T> {
    /// An empty table.
    pub(crate) fn new() -> impl PinInit<Self> {
        let rows = Rows {
            chunks: [const { KVVec::new() }; CHUNKS],
            free: None,
            fresh: 0,
        };
        pin_init!(Self {
            rows <- RawLock::new(rows, c"softclock_slab", static_lock_class!()),
        })
    }

    /// Adds a row. Task context; may block.
    ///
    /// # Errors
    ///
    /// `ENOMEM`; `ENOSPC` after a billion.
    pub(crate) fn insert(&self, row: T) -> Result<Key> {
        loop {
            let missing = {
                let mut rows = self.rows.lock();
                match rows.room() {
                    Ok(place) => return rows.put(place, row).ok_or(ENOSPC),
                    Err(chunk) => chunk,
                }
            };
            let mut chunk = new_chunk(missing)?;
            // Somebody else may have been here; then this one is dropped, after the lock.
            let mut rows = self.rows.lock();
            if let Some(there) = rows.chunks.get_mut(missing) {
                if there.is_empty() {
                    core::mem::swap(there, &mut chunk);
                }
            }
            drop(rows);
        }
    }

    /// Removes a row; `None` when the key is stale. Any context but NMI.
    pub(crate) fn remove(&self, key: Key) -> Option<T> {
        let mut rows = self.rows.lock();
        let free = rows.free;
        let slot = rows.find(key)?;
        slot.turn = 0;
        slot.next = free;
        let row = slot.row.take();
        rows.free = Some(key.place);
        row
    }

    /// Takes out any row there is from the place `from` on, which moves on: the next look begins there.
    pub(crate) fn pop(&self, from: &mut u32) -> Option<T> {
        loop {
            let mut key = Key::NONE;
            *from = self.each(*from, |at, _| {
                key = at;
                false
            })?;
            if key != Key::NONE {
                return self.remove(key);
            }
        }
    }

    /// How many places there are: all rows are in them, until others are added.
    pub(crate) fn places(&self) -> u32 {
        self.rows.lock().fresh
    }

    /// Calls `f` under the lock for the rows of some places from `from` on, and says where to go on;
    /// `None` at the end. `f` ends it by `false`.
    pub(crate) fn each(&self, from: u32, mut f: impl FnMut(Key, &T) -> bool) -> Option<u32> {
        let mut rows = self.rows.lock();
        for place in from..from.saturating_add(AT_ONCE) {
            if place >= rows.fresh {
                return None;
            }
            let Some(Slot {
                turn,
                row: Some(row),
                ..
            }) = rows.slot(place)
            else {
                continue;
            };
            let key = Key { place, turn: *turn };
            if !f(key, row) {
                return Some(place.saturating_add(1));
            }
        }
        Some(from.saturating_add(AT_ONCE))
    }
}

impl<T: Clone> Slab<T> {
    /// A copy of a row; `None` when the key is stale. Any context but NMI.
    pub(crate) fn get(&self, key: Key) -> Option<T> {
        self.rows.lock().find(key)?.row.clone()
    }
}

impl<T> Rows<T> {
    fn put(&mut self, place: u32, row: T) -> Option<Key> {
        let turn = TURNS.fetch_add(1, Relaxed);
        let slot = self.slot(place)?;
        slot.turn = turn;
        slot.row = Some(row);
        Some(Key { place, turn })
    }
}

/// Places looked at under one hold of the lock.
const AT_ONCE: u32 = 64;

fn new_chunk<T>(number: usize) -> Result<KVVec<Slot<T>>> {
    if number >= CHUNKS {
        return Err(ENOSPC);
    }
    let count = (FIRST as usize) << number;
    let mut chunk = KVVec::with_capacity(count, GFP_KERNEL)?;
    for _ in 0..count {
        let slot = Slot {
            turn: 0,
            row: None,
            next: None,
        };
        chunk.push(slot, GFP_KERNEL)?;
    }
    Ok(chunk)
}
