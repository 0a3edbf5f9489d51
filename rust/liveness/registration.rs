// SPDX-License-Identifier: GPL-2.0

//! What a driver does with entities.

use super::{
    entity::{Entity, Shared, Then, ENDING, TELLING, TRIGGERED},
    portals::Watched,
    service::Service,
    terms::{
        checked_eid, checked_portal, Checked, EntityTerms, Granted, Portal, PortalTerms,
        MOST_PORTALS,
    },
    Liveness,
};
use crate::{
    policy::{
        esi::entity::{Event, Origin, State as Phase},
        life::CannotWait,
        pdu::address::{self, Eid},
    },
    sys::context::Task,
};
use kernel::{prelude::*, sync::Arc};

/// How far a removal got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Removed {
    /// It is gone, and nothing of it is told any more.
    Now,
    /// A probe or an expiry is in flight, or something of it is being told: it is gone as soon as that is
    /// over. Nothing more is told.
    Soon,
}

/// What came of asking for a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Triggered {
    /// One begins, as soon as the window has a place for it. The next one comes an interval after its
    /// answer.
    Begins,
    /// One is in flight already.
    InFlight,
    /// The entity has no monitored portal, or expires.
    NoPortal,
}

impl Liveness {
    /// Registers an entity, or registers it again: with these portals and no others, and as if none had
    /// died. What is known of portals that stay is kept. Its first round comes one interval later. Task
    /// context; may block.
    ///
    /// # Errors
    ///
    /// The first two are told in the log, with what is allowed; nothing was changed.
    ///
    /// - `EINVAL`: a name that is empty or has other than printable characters; port 0; an address that is
    ///   not that of one host; a portal that comes twice.
    /// - `ERANGE`: a name of more than 255 bytes; a port beyond 65535 (in wire form: with other bits than
    ///   `0x10000`); more than 64 portals.
    /// - `EWOULDBLOCK` (`EAGAIN`): this context may not block. `ENOMEM`. `ENOSPC`: there are 16 million.
    ///   `ENODEV`: the service has ended.
    #[inline(never)]
    pub fn register(&self, terms: &EntityTerms<'_>) -> Result<Granted> {
        Service::register(&self.service, terms, Origin::Registered)
    }

    /// As [`register`](Self::register), for one of many entities that were registered before and are loaded
    /// together: its first round comes at a random moment of its first interval.
    ///
    /// # Errors
    ///
    /// As for [`register`](Self::register).
    #[inline(never)]
    pub fn load(&self, terms: &EntityTerms<'_>) -> Result<Granted> {
        Service::register(&self.service, terms, Origin::Loaded)
    }

    /// The entity was heard of: its registration period begins anew. Answers do that as well. An entity
    /// whose portals have all died has to register again. Task context; may block.
    ///
    /// # Errors
    ///
    /// `ENOENT`: no entity has this name.
    #[inline(never)]
    pub fn refresh(&self, eid: &[u8]) -> Result {
        Service::refresh(&self.service, eid)
    }

    /// Removes an entity. Nothing more is told of it, but for what is being told now. It waits for no probe;
    /// task context.
    ///
    /// # Errors
    ///
    /// `ENOENT`: no entity has this name.
    #[inline(never)]
    pub fn deregister(&self, eid: &[u8]) -> Result<Removed> {
        Service::deregister(&self.service, eid).map(|(_, removed)| removed)
    }

    /// As [`deregister`](Self::deregister), and waits until nothing of the entity is in flight and nothing is
    /// told, be it that somebody has registered it again meanwhile. Task context; blocks for the rest of a
    /// callback at most.
    ///
    /// # Errors
    ///
    /// `ENOENT`: no entity has this name. `EDEADLK`: the caller is a callback of this service; the entity
    /// is removed all the same.
    #[inline(never)]
    pub fn deregister_and_wait(&self, eid: &[u8], task: &Task) -> Result {
        let (entity, removed) = Service::deregister(&self.service, eid)?;
        match removed {
            Removed::Now => Ok(()),
            Removed::Soon => {
                let done = self.service.wait(task, || Service::is_silent(&entity));
                done.map_err(|why: CannotWait| why.into())
            }
        }
    }

    /// Adds a portal to an entity, which is a registration. Task context; may block.
    ///
    /// # Errors
    ///
    /// As for [`register`](Self::register); `ENOENT`: no entity has this name; `EEXIST`: it has the portal.
    #[inline(never)]
    pub fn add_portal(&self, eid: &[u8], portal: &PortalTerms) -> Result<Granted> {
        Service::add_portal(&self.service, eid, portal)
    }

    /// Removes a portal of an entity. If it was the last that is monitored, the entity expires when
    /// its registration period is over. Task context; waits for no probe.
    ///
    /// # Errors
    ///
    /// `ENOENT`: no entity has this name, or it does not have the portal. `EINVAL`: that is no portal.
    #[inline(never)]
    pub fn remove_portal(&self, eid: &[u8], portal: &Portal) -> Result {
        Service::remove_portal(&self.service, eid, portal)
    }

    /// Has a round of the entity now. Task context.
    ///
    /// # Errors
    ///
    /// `ENOENT`: no entity has this name.
    #[inline(never)]
    pub fn trigger(&self, eid: &[u8]) -> Result<Triggered> {
        let entity = self.service.find(eid)?;
        Ok(Service::trigger(&self.service, &entity))
    }

    /// Has a round of every entity now, a window of them at a time. Answers how many begin. Task context;
    /// may block.
    #[inline(never)]
    pub fn trigger_all(&self) -> u64 {
        Service::trigger_all(&self.service)
    }
}

impl Service {
    /// An entity by its name, which may be anything.
    pub(super) fn find(&self, eid: &[u8]) -> Result<Shared> {
        Task::new()?;
        let table = self.table.lock();
        let entity = table.find(eid).ok_or(ENOENT)?;
        if entity.with(|state| state.life.is_removed()) {
            return Err(ENOENT);
        }
        Ok(entity.clone())
    }

    /// As [`Liveness::register`].
    pub(crate) fn admit(this: &Arc<Self>, terms: &EntityTerms<'_>) -> Result {
        Self::register(this, terms, Origin::Registered).map(drop)
    }

    /// As [`Liveness::trigger`]: whether a round begins.
    pub(crate) fn trigger_by_name(this: &Arc<Self>, eid: &[u8]) -> Result<bool> {
        let entity = this.find(eid)?;
        Ok(Self::trigger(this, &entity) == Triggered::Begins)
    }

    fn register(this: &Arc<Self>, terms: &EntityTerms<'_>, origin: Origin) -> Result<Granted> {
        Task::new()?;
        let Checked {
            eid,
            period_s,
            mut portals,
        } = terms.checked(this.settings().limits)?;
        let settings = this.settings();
        let mut table = this.table.lock();
        if this.is_closed() {
            return Err(ENODEV);
        }
        let known = table.find(eid.as_bytes()).cloned();
        if let Some(entity) = known {
            let at = Self::moment(&settings.rules);
            let mut granted = None;
            let then = Entity::change(&entity, &at, |state| {
                if state.life.state() == Phase::Gone {
                    return None;
                }
                portals.remember(&state.portals);
                core::mem::swap(&mut portals, &mut state.portals);
                state.period_s = period_s;
                let terms = state.terms();
                granted = Some(Granted {
                    new: state.life.is_removed(),
                    interval_s: terms.interval_s,
                    period_s,
                });
                Some(Event::Register(terms))
            });
            if let (Some(then), Some(granted)) = (then, granted) {
                drop(table);
                this.count(|counts| &mut counts.registered);
                Self::follow(this, &entity, then);
                return Ok(granted);
            }
            // It is gone, and somebody is about to take it out.
            let place = entity.with(|state| state.place());
            let gone = table.remove(place);
            drop(gone);
        }
        let at = Self::moment(&settings.rules);
        let state = Entity::blank(period_s, portals, &at);
        let interval_s = state.terms().interval_s;
        let made = Entity::register(this, &mut table, eid, state, origin)?;
        drop(table);
        drop(made);
        this.count(|counts| &mut counts.registered);
        Ok(Granted {
            new: true,
            interval_s,
            period_s,
        })
    }

    pub(crate) fn refresh(this: &Arc<Self>, eid: &[u8]) -> Result {
        let entity = this.find(eid)?;
        let settings = this.settings();
        let at = Self::moment(&settings.rules);
        let then = Entity::step(&entity, Event::Refresh, &at);
        Self::follow(this, &entity, then);
        Ok(())
    }

    pub(crate) fn deregister(this: &Arc<Self>, eid: &[u8]) -> Result<(Shared, Removed)> {
        let entity = this.find(eid)?;
        let settings = this.settings();
        let at = Self::moment(&settings.rules);
        let mut told = false;
        let then = Entity::change(&entity, &at, |state| {
            told = state.is(TELLING) || state.is(ENDING);
            // Somebody else was faster.
            (!state.life.is_removed()).then_some(Event::Remove)
        });
        let then = then.ok_or(ENOENT)?;
        Self::follow(this, &entity, then);
        let removed = if then == Then::Forget && !told {
            Removed::Now
        } else {
            Removed::Soon
        };
        Ok((entity, removed))
    }

    pub(crate) fn add_portal(
        this: &Arc<Self>,
        eid: &[u8],
        portal: &PortalTerms,
    ) -> Result<Granted> {
        let settings = this.settings();
        let one = checked_portal(checked_eid(eid)?, portal, settings.limits)?;
        let entity = this.find(eid)?;
        // Nobody else adds portals while the table is held.
        let table = this.table.lock();
        if this.is_closed() {
            return Err(ENODEV);
        }
        let have = entity.with(|state| state.portals.len());
        if have >= MOST_PORTALS {
            pr_err!(
                "entity {}: it has {} portals; that is all it may have\n",
                Eid::of_checked(eid).as_str(),
                have,
            );
            return Err(ERANGE);
        }
        let mut room = Some(room_for(have, &one)?);
        let at = Self::moment(&settings.rules);
        let mut result = Err(ENOENT);
        let mut old = None;
        let then = Entity::change(&entity, &at, |state| {
            if state.life.is_removed() {
                return None;
            }
            if state.portals.find(&one.key).is_some() {
                result = Err(EEXIST);
                return None;
            }
            let more = state.portals.and(one, room.take()?);
            old = Some(core::mem::replace(&mut state.portals, more));
            let terms = state.terms();
            result = Ok(Granted {
                new: false,
                interval_s: terms.interval_s,
                period_s: state.period_s,
            });
            Some(Event::Register(terms))
        });
        drop(table);
        drop(old);
        Self::follow(this, &entity, then.unwrap_or(Then::Nothing));
        result
    }

    pub(crate) fn remove_portal(this: &Arc<Self>, eid: &[u8], portal: &Portal) -> Result {
        let entity = this.find(eid)?;
        let key: address::Portal = portal.key().map_err(super::terms::errno)?;
        let settings = this.settings();
        let at = Self::moment(&settings.rules);
        let mut flying = false;
        let then = Entity::change(&entity, &at, |state| {
            if state.life.is_removed() {
                return None;
            }
            state.portals.remove(&key)?;
            flying = state.flight.is_some();
            Some(Event::Portals(state.terms()))
        });
        let then = then.ok_or(ENOENT)?;
        Self::follow(this, &entity, if flying { Then::Sweep } else { then });
        Ok(())
    }

    fn trigger(this: &Arc<Self>, entity: &Shared) -> Triggered {
        let triggered = entity.with(|state| match state.life.state() {
            Phase::Waiting => {
                state.mark(TRIGGERED);
                Triggered::Begins
            }
            Phase::Probing => Triggered::InFlight,
            _ => Triggered::NoPortal,
        });
        if triggered == Triggered::Begins {
            this.is_due(entity.clone());
        }
        triggered
    }

    pub(crate) fn trigger_all(this: &Arc<Self>) -> u64 {
        let mut begun: u64 = 0;
        let mut from = Some(0);
        while let Some(place) = from {
            from = this.each(place, |entity, _| {
                if Self::trigger(this, entity) == Triggered::Begins {
                    begun = begun.saturating_add(1);
                }
                true
            });
        }
        begun
    }
}

fn room_for(have: usize, _one: &Watched) -> Result<KVec<Watched>> {
    Ok(KVec::with_capacity(have.saturating_add(1), GFP_KERNEL)?)
}
