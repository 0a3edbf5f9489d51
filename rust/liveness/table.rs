// SPDX-License-Identifier: GPL-2.0

//! The entities of a service: found by name in constant time, listed in an order that stays.
//!
//! Each has a *place*, which is its row until it is gone, and is then used again. Rows are in chunks
//! that never move; a row knows its hash and the next row of its bucket, so the table grows without
//! looking at a name.

use super::entity::Shared;
use crate::{
    policy::hash::{hash, Key},
    sys::random, //
};
use kernel::prelude::*;

/// The most entities of one service: places have 24 bits.
pub(super) const MOST: u32 = (1 << 24) - 1;

/// Of no row.
const NONE: u32 = u32::MAX;

/// Rows of a chunk: as many as fit into 32 KiB.
const CHUNK: u32 = 32_768 / 48;

/// Bytes that need no memory of their own.
const SHORT: usize = 30;

/// The name of an entity. 32 bytes; one of up to 30 is in them.
#[derive(Debug)]
pub(crate) enum Text {
    Short(u8, [u8; SHORT]),
    Long(KVec<u8>),
}

impl Text {
    /// No name.
    pub(super) const NONE: Self = Self::Short(0, [0; SHORT]);

    /// A copy of `bytes`. Task context; may block.
    pub(super) fn new(bytes: &[u8]) -> Result<Self> {
        let mut short = [0; SHORT];
        if let (Some(room), Ok(len)) = (short.get_mut(..bytes.len()), u8::try_from(bytes.len())) {
            room.copy_from_slice(bytes);
            return Ok(Self::Short(len, short));
        }
        let mut long = KVec::with_capacity(bytes.len(), GFP_KERNEL)?;
        long.extend_from_slice(bytes, GFP_KERNEL)?;
        Ok(Self::Long(long))
    }

    pub(super) fn bytes(&self) -> &[u8] {
        match self {
            Self::Short(len, bytes) => bytes.get(..usize::from(*len)).unwrap_or(&[]),
            Self::Long(bytes) => bytes,
        }
    }

    pub(crate) fn as_str(&self) -> &str {
        core::str::from_utf8(self.bytes()).unwrap_or("?")
    }
}

struct Row {
    entity: Option<Shared>,
    name: Text,
    hash: u32,
    /// The next row of its bucket; of a free row, the next free one.
    next: u32,
}

const _: () = assert!(size_of::<Row>() == 48);

impl Row {
    const FREE: Self = Self {
        entity: None,
        name: Text::NONE,
        hash: 0,
        next: NONE,
    };
}

/// The table. A mutex of the service protects it.
pub(super) struct Table {
    chunks: KVec<KVVec<Row>>,
    free: u32,
    /// No row from here on was ever used.
    fresh: u32,
    len: u32,
    /// The first row of each bucket; a power of two of them, or none at all.
    buckets: KVVec<u32>,
    key: Key,
}

impl Table {
    pub(super) fn new() -> Self {
        Self {
            chunks: KVec::new(),
            free: NONE,
            fresh: 0,
            len: 0,
            buckets: KVVec::new(),
            key: Key(random::bits(), random::bits()),
        }
    }

    /// How many entities there are.
    pub(super) const fn len(&self) -> u32 {
        self.len
    }

    /// How many places there are: all entities are in them, until others are added.
    pub(super) const fn places(&self) -> u32 {
        self.fresh
    }

    /// The entity with this name.
    pub(super) fn find(&self, name: &[u8]) -> Option<&Shared> {
        let hash = hash(self.key, name);
        let mut place = self.first_of(hash);
        while let Some(row) = self.row(place) {
            if row.hash == hash && row.name.bytes() == name {
                return row.entity.as_ref();
            }
            place = row.next;
        }
        None
    }

    /// The entity in this place, and its name.
    pub(super) fn at(&self, place: u32) -> Option<(&Shared, &Text)> {
        let row = self.row(place)?;
        Some((row.entity.as_ref()?, &row.name))
    }

    /// Puts an entity in whose name is not there, and says where it is. Task context; may block.
    ///
    /// # Errors
    ///
    /// `ENOMEM`; `ENOSPC`: there are too many.
    pub(super) fn insert(&mut self, name: &[u8], entity: Shared) -> Result<u32> {
        let text = Text::new(name)?;
        self.grow()?;
        let place = self.room()?;
        let hash = hash(self.key, name);
        let next = self.first_of(hash);
        if let Some(row) = self.row_mut(place) {
            *row = Row {
                entity: Some(entity),
                name: text,
                hash,
                next,
            };
        }
        self.set_first_of(hash, place);
        self.len = self.len.saturating_add(1);
        Ok(place)
    }

    /// Takes the entity in this place out.
    pub(super) fn remove(&mut self, place: u32) -> Option<Shared> {
        let free = self.free;
        let row = self.row_mut(place)?;
        let entity = row.entity.take()?;
        let (hash, next) = (row.hash, row.next);
        *row = Row {
            next: free,
            ..Row::FREE
        };
        self.free = place;
        self.len = self.len.saturating_sub(1);
        self.unlink(hash, place, next);
        Some(entity)
    }

    /// Calls `f` with the entities of some places from `from` on, and says where to go on; `None` at
    /// the end. `f` ends it by `false`.
    pub(super) fn each(&self, from: u32, mut f: impl FnMut(&Shared, &Text) -> bool) -> Option<u32> {
        let end = from.saturating_add(AT_ONCE);
        for place in from..end {
            if place >= self.fresh {
                return None;
            }
            if let Some((entity, name)) = self.at(place) {
                if !f(entity, name) {
                    return Some(place.saturating_add(1));
                }
            }
        }
        Some(end)
    }

    /// Takes `place`, whose next row is `next`, out of the bucket of `hash`.
    fn unlink(&mut self, hash: u32, place: u32, next: u32) {
        let mut before = self.first_of(hash);
        if before == place {
            self.set_first_of(hash, next);
            return;
        }
        while let Some(row) = self.row_mut(before) {
            if row.next == place {
                row.next = next;
                return;
            }
            before = row.next;
        }
    }

    fn room(&mut self) -> Result<u32> {
        if let Some(row) = self.row(self.free) {
            let place = self.free;
            self.free = row.next;
            return Ok(place);
        }
        let place = self.fresh;
        if place >= MOST {
            return Err(ENOSPC);
        }
        if self.row(place).is_none() {
            self.chunks.push(new_chunk()?, GFP_KERNEL)?;
        }
        self.fresh = place.saturating_add(1);
        Ok(place)
    }

    /// Has at least as many buckets as there will be entities.
    fn grow(&mut self) -> Result {
        let have = self.buckets.len();
        if (self.len as usize) < have {
            return Ok(());
        }
        let count = have.saturating_mul(2).max(FEWEST);
        // The old ones stay until there are new ones.
        self.buckets = KVVec::from_elem(NONE, count, GFP_KERNEL)?;
        for place in 0..self.fresh {
            let Some((true, hash)) = self.row(place).map(|row| (row.entity.is_some(), row.hash))
            else {
                continue;
            };
            let next = self.first_of(hash);
            if let Some(row) = self.row_mut(place) {
                row.next = next;
            }
            self.set_first_of(hash, place);
        }
        Ok(())
    }

    fn row(&self, place: u32) -> Option<&Row> {
        let chunk = self.chunks.get((place / CHUNK) as usize)?;
        chunk.get((place % CHUNK) as usize)
    }

    fn row_mut(&mut self, place: u32) -> Option<&mut Row> {
        let chunk = self.chunks.get_mut((place / CHUNK) as usize)?;
        chunk.get_mut((place % CHUNK) as usize)
    }

    fn bucket(&self, hash: u32) -> usize {
        // The wrapped mask of no buckets finds none.
        hash as usize & self.buckets.len().wrapping_sub(1)
    }

    fn first_of(&self, hash: u32) -> u32 {
        let bucket = self.bucket(hash);
        self.buckets.get(bucket).copied().unwrap_or(NONE)
    }

    fn set_first_of(&mut self, hash: u32, place: u32) {
        let bucket = self.bucket(hash);
        if let Some(first) = self.buckets.get_mut(bucket) {
            *first = place;
        }
    }
}

/// Buckets of a table that has any.
const FEWEST: usize = 16;

/// Places looked at under one hold of the mutex.
const AT_ONCE: u32 = 64;

fn new_chunk() -> Result<KVVec<Row>> {
    let mut chunk = KVVec::with_capacity(CHUNK as usize, GFP_KERNEL)?;
    for _ in 0..CHUNK {
        chunk.push(Row::FREE, GFP_KERNEL)?;
    }
    Ok(chunk)
}
