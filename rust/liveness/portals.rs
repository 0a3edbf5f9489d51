// SPDX-License-Identifier: GPL-2.0

//! The portals of an entity.

use crate::policy::{
    esi::{record::Record, terms::Wish},
    pdu::address::{Eid, Port, Portal},
};
use kernel::prelude::*;

/// A portal, and what is known of it.
#[derive(Clone, Copy)]
pub(crate) struct Watched {
    pub(crate) key: Portal,
    /// Where it is asked, in wire form; 0: it is not monitored.
    at: u32,
    pub(crate) interval_s: u32,
    pub(crate) record: Record,
    /// See [`PortalTerms::on_device`](super::PortalTerms::on_device).
    pub(crate) scope: u32,
}

impl Watched {
    pub(super) const fn new(key: Portal, at: Option<Port>, interval_s: u32, scope: u32) -> Self {
        Self {
            key,
            at: match at {
                Some(port) => port.raw(),
                None => 0,
            },
            interval_s,
            record: Record::NEW,
            scope,
        }
    }

    /// Where it is asked; `None`: it is not monitored.
    pub(crate) fn at(&self) -> Option<Port> {
        Port::monitored(self.at).ok().flatten()
    }

    fn wish(&self) -> Wish {
        Wish {
            monitored: self.at != 0,
            interval_s: self.interval_s,
        }
    }
}

/// One portal without a scope, as nearly all have it: 56 bytes.
#[derive(Clone, Copy)]
pub(super) struct Only {
    key: Portal,
    at: u32,
    interval_s: u32,
    record: Record,
}

const _: () = assert!(size_of::<Portals>() == 56);

/// The portals of an entity, in the order they were registered. One is part of it, more are in memory
/// of their own, which is allocated before and freed after the entity's lock.
pub(super) enum Portals {
    Only(Only),
    Many(KVec<Watched>),
}

impl Portals {
    /// None yet, and room for so many. Task context; may block.
    pub(super) fn with_capacity(count: usize) -> Result<Self> {
        Ok(Self::Many(match count {
            0 | 1 => KVec::new(),
            _ => KVec::with_capacity(count, GFP_KERNEL)?,
        }))
    }

    /// Adds one to the end. Task context; may block.
    pub(super) fn push(&mut self, portal: Watched, eid: Eid<'_>) -> Result {
        if self.find(&portal.key).is_some() {
            pr_err!("entity {}: one of its portals comes twice\n", eid.as_str());
            return Err(EINVAL);
        }
        if self.len() == 0 && portal.scope == 0 {
            *self = Self::Only(Only {
                key: portal.key,
                at: portal.at,
                interval_s: portal.interval_s,
                record: portal.record,
            });
            return Ok(());
        }
        if let (Self::Only(_), Some(only)) = (&*self, self.get(0)) {
            let mut many = KVec::with_capacity(2, GFP_KERNEL)?;
            many.push(only, GFP_KERNEL)?;
            *self = Self::Many(many);
        }
        if let Self::Many(many) = self {
            many.push(portal, GFP_KERNEL)?;
        }
        Ok(())
    }

    /// These and one more, in `room`, which has place for them; nothing is allocated or freed.
    pub(super) fn and(&self, one: Watched, room: KVec<Watched>) -> Self {
        let mut all = room;
        for portal in self.iter() {
            let _ = all.push_within_capacity(portal);
        }
        let _ = all.push_within_capacity(one);
        Self::Many(all)
    }

    pub(super) fn len(&self) -> usize {
        match self {
            Self::Only(_) => 1,
            Self::Many(many) => many.len(),
        }
    }

    /// How many are monitored; there are few.
    pub(super) fn monitored(&self) -> u16 {
        let count = self.wishes().filter(|wish| wish.monitored).count();
        u16::try_from(count).unwrap_or(u16::MAX)
    }

    pub(super) fn get(&self, index: usize) -> Option<Watched> {
        match self {
            Self::Only(only) => (index == 0).then_some(Watched {
                key: only.key,
                at: only.at,
                interval_s: only.interval_s,
                record: only.record,
                scope: 0,
            }),
            Self::Many(many) => many.get(index).copied(),
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = Watched> + '_ {
        (0..self.len()).filter_map(|index| self.get(index))
    }

    pub(super) fn wishes(&self) -> impl Iterator<Item = Wish> + '_ {
        self.iter().map(|portal| portal.wish())
    }

    /// Whether it is one of them.
    pub(super) fn has(&self, key: &Portal) -> bool {
        self.find(key).is_some()
    }

    pub(super) fn find(&self, key: &Portal) -> Option<usize> {
        match self {
            Self::Only(only) => (only.key == *key).then_some(0),
            Self::Many(many) => many.iter().position(|portal| portal.key == *key),
        }
    }

    pub(super) fn record(&mut self, key: &Portal) -> Option<&mut Record> {
        let index = self.find(key)?;
        match self {
            Self::Only(only) => Some(&mut only.record),
            Self::Many(many) => many.get_mut(index).map(|portal| &mut portal.record),
        }
    }

    /// Takes one out; frees nothing.
    pub(super) fn remove(&mut self, key: &Portal) -> Option<Watched> {
        let index = self.find(key)?;
        let gone = self.get(index);
        match self {
            Self::Only(_) => *self = Self::Many(KVec::new()),
            Self::Many(many) => drop(many.remove(index)),
        }
        gone
    }

    /// Takes over what is known of those that `old` has as well.
    pub(super) fn remember(&mut self, old: &Self) {
        for portal in old.iter() {
            if let Some(record) = self.record(&portal.key) {
                *record = portal.record;
            }
        }
    }
}
