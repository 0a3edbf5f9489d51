// SPDX-License-Identifier: GPL-2.0

//! What can be seen of a service and its entities.

use super::{
    portals::Watched,
    service::{self, Service},
    table::Text,
    terms::Portal,
    Liveness,
};
use crate::{
    policy::{
        deadline::{Delta, Instant},
        esi::{
            entity::State,
            record::Verdict, //
        },
    },
    sys::context::Task,
};
use kernel::prelude::*;

/// An entity, as it was at one moment.
#[derive(Clone, Copy, Debug)]
pub struct EntitySeen {
    /// Its state.
    pub state: State,
    /// It was removed, and is gone as soon as what is in flight is over.
    pub leaving: bool,
    /// Seconds between inquiries, or until the registration expires.
    pub interval_s: u32,
    /// Its registration period in seconds, 0: none.
    pub period_s: u32,
    /// When something is due; `None` while something is in flight.
    pub next: Option<Instant>,
    /// When it was last registered, or has last answered.
    pub refreshed: Instant,
    /// How many portals it has.
    pub portals: usize,
    /// How many of them are monitored.
    pub monitored: usize,
}

/// A portal, as it was at one moment.
#[derive(Clone, Copy, Debug)]
pub struct PortalSeen {
    /// How its last probe has ended.
    pub verdict: Verdict,
    /// Attempts of its last probe.
    pub attempts: u8,
    /// Its probes that have ended; those that were answered; those that were answered by a later attempt
    /// than the first.
    pub probes: u32,
    /// See `probes`.
    pub answered: u32,
    /// See `probes`.
    pub retried: u32,
    /// Answers to its probes that were none.
    pub faults: u32,
    /// From the first attempt to the answer of the last probe that was answered; and the longest of all.
    pub rtt: Delta,
    /// See `rtt`.
    pub rtt_max: Delta,
}

/// What a service has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counts {
    /// Registrations, those of entities that were registered before included.
    pub registered: u64,
    /// Rounds begun.
    pub rounds: u64,
    /// Verdicts by kind.
    pub alive: u64,
    /// See `alive`.
    pub suspect: u64,
    /// See `alive`.
    pub dead: u64,
    /// See `alive`.
    pub pending: u64,
    /// Expiries that the driver has done, and those it could not do.
    pub expired: u64,
    /// See `expired`.
    pub failed: u64,
    /// Rounds that could not begin for want of memory, and probes that could not.
    pub no_memory: u64,
    /// See `no_memory`.
    pub not_begun: u64,
    /// Rounds that are in flight now.
    pub in_flight: u16,
    /// Rounds that began within a second of when they were due, and those that did not.
    pub on_time: u64,
    /// See `on_time`.
    pub late: u64,
    /// How late the latest of them began.
    pub late_max: Delta,
}

/// A portal of an entity, and its names.
pub(crate) struct PortalRow {
    pub(crate) eid: Text,
    pub(crate) portal: Watched,
}

/// An entity, and its name.
pub(crate) struct EntityRow {
    pub(crate) eid: Text,
    pub(crate) id: u64,
    pub(crate) seen: EntitySeen,
}

impl Liveness {
    /// What an entity is doing. Task context.
    ///
    /// # Errors
    ///
    /// `ENOENT`: no entity has this name.
    #[inline(never)]
    pub fn look(&self, eid: &[u8]) -> Result<EntitySeen> {
        let entity = self.service.find(eid)?;
        Ok(entity.with(|state| seen(state)))
    }

    /// What is known of a portal. Task context.
    ///
    /// # Errors
    ///
    /// `ENOENT`: no entity has this name, or it does not have the portal. `EINVAL`: that is no portal.
    #[inline(never)]
    pub fn look_at_portal(&self, eid: &[u8], portal: &Portal) -> Result<PortalSeen> {
        let entity = self.service.find(eid)?;
        let key = portal.key().map_err(super::terms::errno)?;
        let record = entity.with(|state| state.portals.record(&key).copied());
        let record = record.ok_or(ENOENT)?;
        Ok(PortalSeen {
            verdict: record.verdict,
            attempts: record.attempts,
            probes: record.probes,
            answered: record.answered,
            retried: record.retried,
            faults: record.faults,
            rtt: Delta::from_micros(record.round_trip_us.into()),
            rtt_max: Delta::from_micros(record.worst_us.into()),
        })
    }

    /// What it has done so far. Any context but NMI.
    #[inline(never)]
    pub fn counts(&self) -> Counts {
        self.service.shown()
    }

    /// How many entities it has, those that are about to be gone included. Task context; may block.
    ///
    /// # Errors
    ///
    /// `EWOULDBLOCK` (`EAGAIN`): this context may not block.
    #[inline(never)]
    pub fn entities(&self) -> Result<u32> {
        Task::new()?;
        Ok(self.service.entities())
    }
}

fn seen(state: &super::entity::State) -> EntitySeen {
    let life = state.life;
    EntitySeen {
        state: life.state(),
        leaving: life.is_removed(),
        interval_s: life.terms().interval_s,
        period_s: state.period_s,
        next: life.next(),
        refreshed: life.refreshed(),
        portals: state.portals.len(),
        monitored: state.portals.monitored().into(),
    }
}

impl Service {
    pub(crate) fn shown(&self) -> Counts {
        let (counts, in_flight, punctual) = self.counts();
        let service::Counts {
            registered,
            rounds,
            alive,
            suspect,
            dead,
            pending,
            expired,
            failed,
            no_memory,
            not_begun,
        } = counts;
        Counts {
            registered,
            rounds,
            alive,
            suspect,
            dead,
            pending,
            expired,
            failed,
            no_memory,
            not_begun,
            in_flight,
            on_time: punctual.on_time,
            late: punctual.late,
            late_max: punctual.worst,
        }
    }

    /// The entities of some places from `from` on, as many as `rows` has room for; where to go on. Task
    /// context; may block.
    pub(crate) fn entities_from(&self, from: u32, rows: &mut KVec<EntityRow>) -> Option<u32> {
        self.each(from, |entity, name| {
            let Ok(eid) = Text::new(name.bytes()) else {
                return false;
            };
            let row = EntityRow {
                eid,
                id: entity.id(),
                seen: entity.with(|state| seen(state)),
            };
            rows.push_within_capacity(row).is_ok() && rows.len() < rows.capacity()
        })
    }

    /// The portal of number `index` of an entity in some place from `from` on; where to go on, and whether
    /// there are no more. Task context; may block.
    pub(crate) fn portals_from(
        &self,
        from: (u32, usize),
        rows: &mut KVec<PortalRow>,
    ) -> Option<(u32, usize)> {
        let (mut place, mut index) = from;
        let next = self.each(place, |entity, name| {
            let at = entity.with(|state| state.place());
            if at != place {
                (place, index) = (at, 0);
            }
            while let Some(portal) = entity.with(|state| state.portals.get(index)) {
                let Ok(eid) = Text::new(name.bytes()) else {
                    return false;
                };
                if rows.len() == rows.capacity() {
                    return false;
                }
                let _ = rows.push_within_capacity(PortalRow { eid, portal });
                index = index.saturating_add(1);
            }
            true
        });
        // Full in the middle of an entity: it goes on there.
        if rows.len() == rows.capacity() {
            return Some((place, index));
        }
        next.map(|place| (place, 0))
    }
}
