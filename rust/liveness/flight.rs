// SPDX-License-Identifier: GPL-2.0

//! One round of an entity, from its begin until all of it was told.

use super::{
    ask::{Ask, End, Judge, Whom},
    asked::{Asked, News, Row, Status},
    entity::{Entity, Shared},
    fifo::Linked,
    table::Text,
};
use crate::{
    policy::{
        deadline::Delta,
        esi::{
            attempts::Spacing,
            round::{Outcome, Probe, Round},
            Settings,
        },
        pdu::{
            address::{Eid, Portal},
            Fault,
        },
    },
    sys::lock::RawLock,
};
use kernel::{prelude::*, static_lock_class, sync::Arc};

/// A round in flight. It is the judge of its probes; their tags count its portals.
#[pin_data]
pub(super) struct Flight {
    pub(super) entity: Shared,
    pub(super) name: Text,
    #[pin]
    inner: RawLock<Inner>,
}

struct Inner {
    round: Round,
    spacing: Spacing,
    asked: Row,
    next: Option<Arc<Flight>>,
    /// Its end was taken notice of.
    over: bool,
}

/// With its count of references it fits into 192 bytes.
#[cfg(not(any(CONFIG_DEBUG_SPINLOCK, CONFIG_DEBUG_LOCK_ALLOC)))]
const _: () = assert!(size_of::<Flight>() <= 192 - size_of::<usize>());

impl Linked for Flight {
    fn with_next<R>(this: &Arc<Self>, f: impl FnOnce(&mut Option<Arc<Self>>) -> R) -> R {
        f(&mut this.inner.lock().next)
    }
}

impl Flight {
    /// A round that asks these portals, within so long an interval. Task context; may block.
    pub(super) fn new(
        entity: Shared,
        name: Text,
        mut asked: Row,
        rules: &Settings,
        interval: Delta,
    ) -> Result<Arc<Self>> {
        // As many as are asked: one that is waited for and never asked would keep the round for ever.
        let count = u16::try_from(asked.all().len()).unwrap_or(u16::MAX);
        let inner = Inner {
            round: Round::new(rules.coverage, count),
            spacing: Spacing::of(rules, interval, Round::in_sequence(rules.coverage, count)),
            asked,
            next: None,
            over: false,
        };
        Arc::pin_init(
            pin_init!(Self {
                entity,
                name,
                inner <- RawLock::new(inner, c"softclock_flight", static_lock_class!()),
            }),
            GFP_KERNEL,
        )
    }

    /// Starts the probes that may be started now. Task context, no lock held.
    pub(super) fn start(this: &Arc<Self>) {
        Self::go_on(this);
        // Otherwise the end of a probe brings it there.
        if this.inner.lock().round.outcome().is_some() {
            this.entity.service().has_news(this.clone());
        }
    }

    /// The same where its outcome is looked at afterwards.
    pub(super) fn go_on(this: &Arc<Self>) {
        let service = this.entity.service();
        while let Some(ask) = Self::next_ask(this) {
            let tag = ask.whom.tag;
            if service.prober().begin(ask).is_err() {
                service.count(|counts| &mut counts.not_begun);
                this.is_void(tag);
            }
        }
    }

    fn next_ask(this: &Arc<Self>) -> Option<Ask> {
        let mut guard = this.inner.lock();
        let inner = &mut *guard;
        if !inner.round.start() {
            return None;
        }
        let mut all = (0_u32..).zip(inner.asked.all().iter_mut());
        let (tag, one) = all.find(|(_, one)| matches!(one.status, Status::NotYet))?;
        one.status = Status::Flying;
        let whom = Whom {
            portal: one.key,
            at: one.at,
            scope: one.scope,
            judge: this.clone(),
            tag,
        };
        Some(Ask {
            whom,
            spacing: inner.spacing,
        })
    }

    /// Nothing comes of the probe of a portal.
    fn is_void(&self, tag: u32) {
        let mut inner = self.inner.lock();
        if let Some(one) = inner.one(tag) {
            one.status = Status::Told;
        }
        inner.round.end(Probe::Void);
    }

    /// What is to be told next.
    pub(super) fn news(&self) -> Option<News> {
        let mut inner = self.inner.lock();
        inner.asked.all().iter_mut().find_map(Asked::news)
    }

    /// What was told of the end of a probe counts for the round; `true`: there is another one to start.
    pub(super) fn told(&self, probe: Probe) -> bool {
        let mut inner = self.inner.lock();
        inner.round.end(probe);
        inner.round.may_start() > 0
    }

    /// How the round has ended, if it has, and nobody was told so before.
    pub(super) fn outcome(&self) -> Option<Outcome> {
        let mut inner = self.inner.lock();
        let outcome = inner.round.outcome()?;
        (!core::mem::replace(&mut inner.over, true)).then_some(outcome)
    }

    /// There is something to be told.
    fn has_news(&self) {
        // The entity has its round until that is over.
        let flight = self.entity.with(|state| state.flight.clone());
        if let Some(flight) = flight.filter(|flight| core::ptr::eq(&**flight, self)) {
            self.entity.service().has_news(flight);
        }
    }

    fn key(&self, tag: u32) -> Option<Portal> {
        self.inner.lock().one(tag).map(|one| one.key)
    }
}

impl Inner {
    fn one(&mut self, tag: u32) -> Option<&mut Asked> {
        self.asked.all().get_mut(usize::try_from(tag).ok()?)
    }
}

impl Judge for Flight {
    fn eid(&self) -> Eid<'_> {
        Eid::of_checked(self.name.bytes())
    }

    fn wants(&self, tag: u32) -> bool {
        self.key(tag)
            .is_some_and(|key| Entity::wants(&self.entity, &key))
    }

    fn missed(&self, tag: u32, attempt: u8, of: u8) {
        if let Some(one) = self.inner.lock().one(tag) {
            one.missed = Some((attempt, of));
        }
        self.has_news();
    }

    fn refused(&self, tag: u32, _fault: Fault) {
        if let Some(one) = self.inner.lock().one(tag) {
            one.faults = one.faults.saturating_add(1);
        }
    }

    fn ended(&self, tag: u32, end: End) {
        if let Some(one) = self.inner.lock().one(tag) {
            if matches!(one.status, Status::Flying) {
                one.status = Status::Ended(end);
            }
        }
        self.has_news();
    }
}
