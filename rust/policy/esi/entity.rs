// SPDX-License-Identifier: GPL-2.0

//! The life of one entity, as a function: state, event and now give a state and an action.
//!
//! See [`esi`](super) for the states. One value belongs to one entity and changes under its lock,
//! which nobody holds while something is in flight; so removing and registering never wait for a
//! probe.

#![forbid(unsafe_code)]

use super::{
    round::Outcome,
    terms::{Kind, Terms},
    Removal, Settings, RETRY_EXPIRY,
};
use crate::policy::deadline::{Delta, Instant};

/// Where an entity is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Its next round is due at an instant.
    Waiting,
    /// A round is in flight.
    Probing,
    /// It has no monitored portal: its registration expires at an instant.
    Registered,
    /// Its last portal has died: it expires at an instant.
    Lingering,
    /// Its expiry is in flight.
    Expiring,
    /// Its expiry failed: it is tried again at an instant.
    Retrying,
    /// Nothing refers to it any more.
    Gone,
}

impl State {
    /// The word shown in debugfs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Probing => "probing",
            Self::Registered => "registered",
            Self::Lingering => "lingering",
            Self::Expiring => "expiring",
            Self::Retrying => "retrying",
            Self::Gone => "gone",
        }
    }
}

/// What came over an entity while something was in flight: how that ends does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Meanwhile {
    Nothing,
    RegisteredAgain,
    Removed,
}

/// Why an entity expires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Its registration was not refreshed for its period.
    Period,
    /// Its last portal has died.
    Silence,
}

impl Cause {
    /// The word shown in debugfs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Period => "period",
            Self::Silence => "silence",
        }
    }
}

/// How an entity comes to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// It registers now.
    Registered,
    /// It is one of many that were registered before, and are loaded together.
    Loaded,
}

/// What can happen to an entity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// It registers again, on these terms.
    Register(Terms),
    /// Its client was heard of otherwise: that refreshes the registration (RFC 4171, 6.2.6).
    Refresh,
    /// A portal was removed, not because it died. These are the terms without it.
    Portals(Terms),
    /// An operator wants a round now.
    Trigger,
    /// Its instant has come, or so it seems.
    Due,
    /// The round in flight has ended. These are the terms without the portals that died or were
    /// removed in the meantime.
    Ended(Outcome, Terms),
    /// The expiry in flight has ended: `true`, the entity is deregistered.
    Expired(bool),
    /// It is removed, not because it expires.
    Remove,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Nothing; in particular, what is armed stays armed.
    Nothing,
    /// Arm the entity's timer for this instant, in place of whatever it was armed for.
    Wait(Instant),
    /// Start a round, and tell with [`Event::Ended`] how it ended. The timer is not armed.
    Probe,
    /// The round in flight does not count any more: end it soon. [`Event::Ended`] still has to come.
    Abandon,
    /// Expire the entity, and tell with [`Event::Expired`] whether that succeeded. The timer is not
    /// armed.
    Expire(Cause),
    /// Stop the timer and forget the entity.
    Release,
}

/// What a decision depends on, beside the entity and the event.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment<'a> {
    pub(crate) now: Instant,
    /// 64 random bits, other ones each time.
    pub(crate) random: u64,
    pub(crate) settings: &'a Settings,
}

/// One entity's state: 24 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entity {
    /// When its timer is due, in the states that have one.
    due: Instant,
    /// When it was last registered, or has last answered.
    refreshed: Instant,
    interval_s: u32,
    kind: Kind,
    state: State,
    meanwhile: Meanwhile,
    cause: Cause,
}

impl Entity {
    /// A new entity, and when to arm its timer for the first time.
    ///
    /// One that registers now is probed after a full interval. Those that are loaded are spread over
    /// their first interval; a registration period is never cut short.
    pub(crate) fn new(terms: Terms, origin: Origin, at: &Moment<'_>) -> (Self, Action) {
        let blank = Self {
            due: at.now,
            refreshed: at.now,
            interval_s: terms.interval_s,
            kind: terms.kind,
            state: State::Waiting,
            meanwhile: Meanwhile::Nothing,
            cause: Cause::Period,
        };
        match (terms.kind, origin) {
            (Kind::Inquiry, Origin::Loaded) => {
                let first = at.settings.jitter.first(terms.interval(), at.random);
                blank.wait(State::Waiting, at.now + first)
            }
            _ => blank.resume(at.now, at),
        }
    }

    /// What follows from `event`.
    pub(crate) fn step(self, event: Event, at: &Moment<'_>) -> (Self, Action) {
        match event {
            Event::Register(terms) => self.register(terms, at),
            Event::Refresh => self.refresh(at),
            Event::Portals(terms) => self.portals(terms, at),
            Event::Trigger => self.trigger(),
            Event::Due => self.due(at),
            Event::Ended(outcome, terms) => self.ended(outcome, terms, at),
            Event::Expired(done) => self.expired(done, at),
            Event::Remove => self.remove(),
        }
    }

    /// Where it is.
    pub(crate) const fn state(&self) -> State {
        self.state
    }

    /// Its interval and kind.
    pub(crate) const fn terms(&self) -> Terms {
        Terms {
            kind: self.kind,
            interval_s: self.interval_s,
        }
    }

    /// When its timer is due; `None` while something is in flight, and when it is gone.
    pub(crate) const fn next(&self) -> Option<Instant> {
        match self.state {
            State::Waiting | State::Registered | State::Lingering | State::Retrying => {
                Some(self.due)
            }
            State::Probing | State::Expiring | State::Gone => None,
        }
    }

    /// Why it expires, while it does or that is tried again.
    pub(crate) const fn cause(&self) -> Cause {
        self.cause
    }

    /// It was removed, and only what is in flight keeps it from being gone.
    pub(crate) fn is_removed(&self) -> bool {
        self.meanwhile == Meanwhile::Removed || self.state == State::Gone
    }

    /// When it was last registered, or has last answered.
    pub(crate) const fn refreshed(&self) -> Instant {
        self.refreshed
    }

    /// What is in flight, if anything is, counts: deaths of portals are to be told and acted upon.
    /// Otherwise the entity was removed or registered again after it began.
    pub(crate) fn counts(&self) -> bool {
        self.meanwhile == Meanwhile::Nothing && self.state != State::Gone
    }

    fn register(mut self, terms: Terms, at: &Moment<'_>) -> (Self, Action) {
        if self.state == State::Gone {
            return (self, Action::Nothing);
        }
        self.refreshed = at.now;
        self.kind = terms.kind;
        self.interval_s = terms.interval_s;
        if !self.is_in_flight() {
            return self.resume(at.now, at);
        }
        self.meanwhile = Meanwhile::RegisteredAgain;
        (self, self.abandon())
    }

    fn refresh(mut self, at: &Moment<'_>) -> (Self, Action) {
        match self.state {
            State::Registered => {
                self.refreshed = at.now;
                self.resume(at.now, at)
            }
            State::Waiting | State::Probing => {
                self.refreshed = at.now;
                (self, Action::Nothing)
            }
            // Only registering again brings these back (RFC 4171, 6.3.4).
            State::Lingering | State::Expiring | State::Retrying | State::Gone => {
                (self, Action::Nothing)
            }
        }
    }

    fn portals(mut self, terms: Terms, at: &Moment<'_>) -> (Self, Action) {
        match self.state {
            State::Waiting | State::Registered if terms.kind == self.kind => {
                // The instant stays: it is not later than the new interval has it, because an
                // interval does not get shorter when a portal goes.
                self.interval_s = terms.interval_s;
                (self, Action::Nothing)
            }
            State::Waiting | State::Registered => {
                self.kind = terms.kind;
                self.interval_s = terms.interval_s;
                self.resume(self.refreshed, at)
            }
            // It has registered again, and goes on by these terms when that has ended.
            State::Expiring if self.meanwhile == Meanwhile::RegisteredAgain => {
                self.kind = terms.kind;
                self.interval_s = terms.interval_s;
                (self, Action::Nothing)
            }
            // The end of a round brings the terms; the others have no portal to lose.
            _ => (self, Action::Nothing),
        }
    }

    fn trigger(self) -> (Self, Action) {
        match self.state {
            State::Waiting => self.go(State::Probing, Action::Probe),
            _ => (self, Action::Nothing),
        }
    }

    fn due(self, at: &Moment<'_>) -> (Self, Action) {
        match (self.next(), self.state) {
            (Some(due), _) if at.now < due => (self, Action::Wait(due)),
            (Some(_), State::Waiting) => self.go(State::Probing, Action::Probe),
            (Some(_), State::Registered) => self.expire(Cause::Period),
            (Some(_), State::Lingering) => self.expire(Cause::Silence),
            (Some(_), State::Retrying) => self.expire(self.cause),
            _ => (self, Action::Nothing),
        }
    }

    fn ended(mut self, outcome: Outcome, terms: Terms, at: &Moment<'_>) -> (Self, Action) {
        if self.state != State::Probing {
            return (self, Action::Nothing);
        }
        match self.meanwhile {
            Meanwhile::Removed => return self.release(),
            Meanwhile::RegisteredAgain => {
                self.kind = terms.kind;
                self.interval_s = terms.interval_s;
                return self.resume(self.refreshed, at);
            }
            Meanwhile::Nothing => {}
        }
        let died = outcome.silent && outcome.answered.is_none() && terms.kind == Kind::Expiry;
        if died {
            return self.linger(at);
        }
        self.kind = terms.kind;
        self.interval_s = terms.interval_s;
        if let Some(when) = outcome.answered {
            self.refreshed = self.refreshed.max(when);
        }
        match (terms.kind, outcome.answered) {
            (Kind::Inquiry, None) => self.resume(at.now, at),
            (Kind::Inquiry, Some(when)) => self.resume(when, at),
            (Kind::Expiry, _) => self.resume(self.refreshed, at),
        }
    }

    /// The last portal has died. The interval stays that of the inquiries: it is what counts now.
    fn linger(self, at: &Moment<'_>) -> (Self, Action) {
        match at.settings.removal {
            Removal::AtOnce | Removal::After(0) => self.expire(Cause::Silence),
            Removal::After(intervals) => {
                let interval = self.terms().interval().as_nanos();
                let grace = interval.saturating_mul(intervals.into());
                self.wait(State::Lingering, at.now + Delta::from_nanos(grace))
            }
        }
    }

    fn expired(self, done: bool, at: &Moment<'_>) -> (Self, Action) {
        match (self.state, self.meanwhile, done) {
            (State::Expiring, Meanwhile::RegisteredAgain, _) => self.resume(self.refreshed, at),
            (State::Expiring, Meanwhile::Removed, _) => self.release(),
            (State::Expiring, Meanwhile::Nothing, true) => self.release(),
            (State::Expiring, Meanwhile::Nothing, false) => {
                self.wait(State::Retrying, at.now + RETRY_EXPIRY)
            }
            _ => (self, Action::Nothing),
        }
    }

    fn remove(mut self) -> (Self, Action) {
        match self.state {
            State::Gone => (self, Action::Nothing),
            State::Probing | State::Expiring => {
                self.meanwhile = Meanwhile::Removed;
                (self, self.abandon())
            }
            _ => self.release(),
        }
    }

    /// Waits for what its kind says, one interval from `from`.
    fn resume(self, from: Instant, at: &Moment<'_>) -> (Self, Action) {
        let interval = self.terms().interval();
        let (state, wait) = match self.kind {
            Kind::Inquiry => (State::Waiting, at.settings.jitter.next(interval, at.random)),
            Kind::Expiry => (State::Registered, interval),
        };
        self.wait(state, (from + wait).max(at.now))
    }

    fn wait(mut self, state: State, due: Instant) -> (Self, Action) {
        self.due = due;
        self.go(state, Action::Wait(due))
    }

    fn expire(mut self, cause: Cause) -> (Self, Action) {
        self.cause = cause;
        self.go(State::Expiring, Action::Expire(cause))
    }

    fn release(self) -> (Self, Action) {
        self.go(State::Gone, Action::Release)
    }

    fn go(mut self, state: State, action: Action) -> (Self, Action) {
        self.state = state;
        self.meanwhile = Meanwhile::Nothing;
        (self, action)
    }

    const fn abandon(&self) -> Action {
        match self.state {
            State::Probing => Action::Abandon,
            _ => Action::Nothing,
        }
    }

    const fn is_in_flight(&self) -> bool {
        matches!(self.state, State::Probing | State::Expiring)
    }
}
