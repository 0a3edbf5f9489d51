// SPDX-License-Identifier: GPL-2.0

//! What can be seen of a service and its entities.

use super::{
    entity,
    portals::Watched,
    service::{self, Service},
    table::Text,
    terms::{Portal, MOST_PORTALS},
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
    sys::{context::Task, debugfs::BATCH},
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

fn seen(state: &entity::State) -> EntitySeen {
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

    /// The portals of the entities of some places from `from` on, as far as `rows` has room for all of an
    /// entity: what is numbered anew when one goes is no place to go on from. Where to go on. Task context;
    /// may block.
    pub(crate) fn portals_from(&self, from: u32, rows: &mut KVec<PortalRow>) -> Option<u32> {
        let mut full = None;
        let next = self.each(from, |entity, name| {
            let first = rows.len();
            let (place, copied) = entity.with(|state| (state.place(), copy_portals(state, rows)));
            if !copied {
                full = Some(place);
                return false;
            }
            let named = name_all(rows.get_mut(first..).unwrap_or(&mut []), name);
            if named.is_err() {
                rows.truncate(first);
            }
            named.is_ok()
        });
        full.or(next)
    }
}

/// All portals of one entity fit where there are none yet.
const _: () = assert!(MOST_PORTALS <= BATCH);

/// Copies all portals of an entity, without its name; `false`: there is no room for all, and none was. Under
/// the entity's lock: allocates and frees nothing.
fn copy_portals(state: &entity::State, rows: &mut KVec<PortalRow>) -> bool {
    let room = rows.capacity().saturating_sub(rows.len());
    if state.portals.len() > room {
        return false;
    }
    for portal in state.portals.iter() {
        let eid = Text::NONE;
        let _ = rows.push_within_capacity(PortalRow { eid, portal });
    }
    true
}

fn name_all(rows: &mut [PortalRow], name: &Text) -> Result {
    for row in rows {
        row.eid = Text::new(name.bytes())?;
    }
    Ok(())
}
