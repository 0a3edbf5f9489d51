// SPDX-License-Identifier: GPL-2.0

//! One entity: its state, its portals, and the callout that says when something is due.
//!
//! 192 bytes with one portal. Its lock is raw and held briefly: nothing is called, allocated or freed
//! under it, but for arming and stopping its callout, so that what is armed is what the state says.

use super::{
    fifo::Linked, flight::Flight, portals::Portals, service::Service, table::Table, terms::terms_of,
};
use crate::{
    callout::{Callout, CalloutOf, OnExpire},
    context::{Expiry, Soft},
    policy::{
        esi::{
            entity::{Action, Entity as Life, Event, Moment, Origin},
            terms::Terms,
        },
        life::Next,
        pdu::address,
    },
    sys::{lock::RawLock, module::Owner, target::Timed},
};
use kernel::{
    prelude::*,
    static_lock_class,
    sync::{Arc, ArcBorrow}, //
};

/// A reference to an entity.
pub(super) type Shared = Arc<Timed<Entity>>;

/// An entity.
#[pin_data]
pub(crate) struct Entity {
    #[pin]
    alarm: Callout<Self, Soft>,
    service: Arc<Service>,
    #[pin]
    state: RawLock<State>,
}

crate::impl_has_callout! { impl HasCallout<Soft> for Entity { self.alarm } }

/// The wheel entry, the references in front of and in it, and what the lock protects.
#[cfg(not(any(CONFIG_DEBUG_SPINLOCK, CONFIG_DEBUG_LOCK_ALLOC)))]
const _: () = assert!(size_of::<Entity>() == 192 - size_of::<usize>());

pub(super) struct State {
    pub(super) life: Life,
    pub(super) portals: Portals,
    /// The round in flight.
    pub(super) flight: Option<Arc<Flight>>,
    next: Option<Shared>,
    pub(super) period_s: u32,
    place: [u8; 3],
    marks: u8,
}

/// In the marks: an operator wants a round now.
pub(super) const TRIGGERED: u8 = 1;
/// In the marks: its expiry is to be done.
pub(super) const EXPIRES: u8 = 2;
/// In the marks: the driver is being told something of it.
pub(super) const TELLING: u8 = 4;
/// In the marks: the driver is being asked to deregister it.
pub(super) const ENDING: u8 = 8;

impl State {
    pub(super) fn is(&self, mark: u8) -> bool {
        self.marks & mark != 0
    }

    pub(super) fn mark(&mut self, mark: u8) {
        self.marks |= mark;
    }

    /// Takes a mark back, and says whether it was there.
    pub(super) fn unmark(&mut self, mark: u8) -> bool {
        let was = self.is(mark);
        self.marks &= !mark;
        was
    }

    /// The row of the table it is in.
    pub(super) fn place(&self) -> u32 {
        let [a, b, c] = self.place;
        u32::from_le_bytes([a, b, c, 0])
    }

    pub(super) fn terms(&self) -> Terms {
        terms_of(self.period_s, &self.portals)
    }
}

/// What is left to do when the entity's lock is given back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(super) enum Then {
    Nothing,
    /// Start the round.
    Probe,
    /// Probes in flight are not wanted any more.
    Sweep,
    /// Its expiry is to be done: it was marked so.
    Expire,
    /// It is gone: take it out of the table.
    Forget,
}

impl Linked for Timed<Entity> {
    fn with_next<R>(this: &Shared, f: impl FnOnce(&mut Option<Shared>) -> R) -> R {
        f(&mut this.state.lock().next)
    }
}

impl OnExpire<Soft> for Entity {
    fn expire(this: ArcBorrow<'_, Timed<Self>>, _run: &Expiry<'_, Soft>) -> Next {
        this.service.is_due(this.into());
        Next::Stop
    }
}

impl Entity {
    /// A new entity of a service, in its table. Task context; may block.
    pub(super) fn register(
        service: &Arc<Service>,
        table: &mut Table,
        eid: address::Eid<'_>,
        mut state: State,
        origin: Origin,
    ) -> Result<Shared> {
        let settings = service.settings();
        let at = Service::moment_of(&settings.rules, true);
        let (life, action) = Life::new(state.terms(), origin, &at);
        state.life = life;
        let entity = Timed::new(try_pin_init!(Self {
            // Its callback is ours.
            alarm <- Callout::ours(ourselves(), c"entity"),
            service: service.clone(),
            state <- RawLock::new(state, c"softclock_entity", static_lock_class!()),
        }))?;
        let [a, b, c, _] = table.insert(eid.as_bytes(), entity.clone())?.to_le_bytes();
        let mut state = entity.state.lock();
        state.place = [a, b, c];
        // A new entity waits.
        let _ = Self::obey(&entity, &mut state, action);
        drop(state);
        Ok(entity)
    }

    /// What a new entity is made from.
    pub(super) fn blank(period_s: u32, portals: Portals, at: &Moment<'_>) -> State {
        let (life, _) = Life::new(terms_of(period_s, &portals), Origin::Registered, at);
        State {
            life,
            portals,
            flight: None,
            next: None,
            period_s,
            place: [0; 3],
            marks: 0,
        }
    }

    pub(super) fn service(&self) -> &Arc<Service> {
        &self.service
    }

    /// What it is, under its lock. Any context but NMI; `f` allocates and frees nothing.
    pub(super) fn with<R>(&self, f: impl FnOnce(&mut State) -> R) -> R {
        f(&mut self.state.lock())
    }

    /// The callout's number.
    pub(crate) fn id(&self) -> u64 {
        self.alarm.id()
    }

    /// Something has happened to it.
    pub(super) fn step(this: &Shared, event: Event, at: &Moment<'_>) -> Then {
        Self::change(this, at, |_| Some(event)).unwrap_or(Then::Nothing)
    }

    /// Something happens to it that `f` does, under its lock; `None`: nothing has.
    pub(super) fn change(
        this: &Shared,
        at: &Moment<'_>,
        f: impl FnOnce(&mut State) -> Option<Event>,
    ) -> Option<Then> {
        let mut state = this.state.lock();
        let event = f(&mut state)?;
        let (life, action) = state.life.step(event, at);
        state.life = life;
        Some(Self::obey(this, &mut state, action))
    }

    fn obey(this: &Shared, state: &mut State, action: Action) -> Then {
        match action {
            Action::Nothing => Then::Nothing,
            Action::Wait(due) => {
                // Not refused: it is shut down when nobody has it any more.
                let _ = this.callout::<Soft>().arm_at(due);
                Then::Nothing
            }
            Action::Probe => {
                this.alarm.stop();
                Then::Probe
            }
            Action::Abandon => Then::Sweep,
            Action::Expire(_) => {
                this.alarm.stop();
                state.mark(EXPIRES);
                Then::Expire
            }
            Action::Release => {
                this.alarm.stop();
                Then::Forget
            }
        }
    }

    /// Whether a probe of the portal still matters.
    pub(super) fn wants(&self, key: &address::Portal) -> bool {
        !self.service.is_let_go()
            && self.with(|state| state.life.counts() && state.portals.has(key))
    }
}

/// softclock owns the callouts of entities: their callbacks call nothing of a driver's.
#[inline(never)]
pub(super) fn ourselves() -> Owner {
    crate::owner!()
}
