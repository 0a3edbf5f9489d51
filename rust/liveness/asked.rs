// SPDX-License-Identifier: GPL-2.0

//! The portals of a round, and how far each has come.

use super::{
    ask::End,
    portals::{Portals, Watched},
};
use crate::policy::pdu::address::{Port, Portal};
use kernel::prelude::*;

/// A portal in a round.
pub(super) struct Asked {
    pub(super) key: Portal,
    pub(super) at: Port,
    pub(super) scope: u32,
    pub(super) status: Status,
    /// An attempt that was missed and not told.
    pub(super) missed: Option<(u8, u8)>,
    /// Answers that were none, and not counted.
    pub(super) faults: u32,
}

#[derive(Clone, Copy)]
pub(super) enum Status {
    NotYet,
    Flying,
    /// It is over, and that was not told.
    Ended(End),
    Told,
}

/// What is to be told.
#[derive(Clone, Copy)]
pub(super) enum News {
    Missed { key: Portal, attempt: u8, of: u8 },
    Ended { key: Portal, end: End, faults: u32 },
}

impl Asked {
    /// Of a portal that is monitored.
    fn of(portal: &Watched) -> Option<Self> {
        Some(Self {
            key: portal.key,
            at: portal.at()?,
            scope: portal.scope,
            status: Status::NotYet,
            missed: None,
            faults: 0,
        })
    }

    pub(super) fn news(&mut self) -> Option<News> {
        if let Some((attempt, of)) = self.missed.take() {
            return Some(News::Missed {
                key: self.key,
                attempt,
                of,
            });
        }
        let Status::Ended(end) = self.status else {
            return None;
        };
        self.status = Status::Told;
        Some(News::Ended {
            key: self.key,
            end,
            faults: core::mem::take(&mut self.faults),
        })
    }
}

/// The portals of a round, in order. Nearly always it is one, which needs no memory of its own.
pub(super) enum Row {
    One(Option<Asked>),
    Many(KVec<Asked>),
}

impl Row {
    /// Room for so many. Task context; may block.
    pub(super) fn with_room(count: usize) -> Result<Self> {
        Ok(Self::Many(KVec::with_capacity(count, GFP_KERNEL)?))
    }

    /// Takes in those that are monitored, as many as there is room for, and says how many there are;
    /// nothing is allocated.
    pub(super) fn fill(&mut self, portals: &Portals) -> usize {
        let mut count: usize = 0;
        for one in portals.iter().filter_map(|portal| Asked::of(&portal)) {
            count = count.saturating_add(1);
            match self {
                Self::One(place @ None) => *place = Some(one),
                Self::One(Some(_)) => {}
                Self::Many(all) => drop(all.push_within_capacity(one)),
            }
        }
        count
    }

    pub(super) fn all(&mut self) -> &mut [Asked] {
        match self {
            Self::One(one) => one.as_mut_slice(),
            Self::Many(all) => all,
        }
    }
}
