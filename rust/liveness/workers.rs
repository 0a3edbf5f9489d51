// SPDX-License-Identifier: GPL-2.0

//! What the three workers of a service do.
//!
//! * `STEP` takes what is due: it begins rounds, as many as the window has room for, and hands over what
//!   expires. It calls the driver only to have it ask.
//! * `TELL` takes the news of rounds in flight: it tells the driver, and ends the rounds.
//! * `EXPIRE` has the driver deregister entities, one after the other.

use super::{
    ask::End,
    asked::{News, Row},
    entity::{Entity, Shared, Then, ENDING, EXPIRES, TELLING, TRIGGERED},
    flight::Flight,
    service::{Service, EXPIRE, STEP, TELL},
    table::{Table, Text},
    terms::{Portal, Settings},
    Deregistered, OnVerdict, Verdict,
};
use crate::policy::{
    esi::{
        entity::{Event, State as Phase},
        pace,
        round::{Outcome, Probe},
    },
    pdu::address,
};
use kernel::{prelude::*, sync::Arc, workqueue::WorkItem};

impl WorkItem<STEP> for Service {
    type Pointer = Arc<Self>;

    fn run(this: Arc<Self>) {
        this.at_work(STEP as usize, || step(&this));
    }
}

impl WorkItem<TELL> for Service {
    type Pointer = Arc<Self>;

    fn run(this: Arc<Self>) {
        this.at_work(TELL as usize, || {
            let driver = this.driver();
            while let Some(flight) = this.news.pop() {
                tell(&this, driver.as_deref(), &flight);
            }
        });
    }
}

impl WorkItem<EXPIRE> for Service {
    type Pointer = Arc<Self>;

    fn run(this: Arc<Self>) {
        this.at_work(EXPIRE as usize, || {
            while let Some(entity) = this.expiring.pop() {
                expire(&this, &entity);
            }
        });
    }
}

/// Who is told, until the service has ended.
type Driver<'a> = Option<&'a dyn OnVerdict>;

/// Entities that are looked at before others get the worker.
const AT_ONCE: usize = 1024;

fn step(this: &Arc<Service>) {
    let settings = this.settings();
    for _ in 0..AT_ONCE {
        let Some(entity) = this.due.pop() else {
            break;
        };
        sort(this, entity, &settings);
    }
    if this.is_let_go() {
        // Nobody has a round any more. Who is taken out here is in the table until the service ends.
        while this.ready.pop().is_some() {}
    }
    let mut pass = this.pace.lock().window.pass();
    let mut some = false;
    while this.pace.lock().window.start(&mut pass) {
        let begun = this
            .ready
            .pop()
            .is_some_and(|entity| begin(this, entity, &settings));
        some |= begun;
        if !begun {
            this.pace.lock().window.end();
            if this.ready.is_empty() {
                break;
            }
        }
    }
    if some {
        this.prober().go();
    }
    let then = this.pace.lock().window.then(!this.ready.is_empty());
    if then == pace::Then::Again || !this.due.is_empty() {
        Service::kick::<STEP>(this);
    }
}

/// What is to be done about an entity that was due, or seemed to be.
fn sort(this: &Arc<Service>, entity: Shared, settings: &Settings) {
    let at = Service::moment(&settings.rules);
    let mut expires = false;
    let then = Entity::change(&entity, &at, |state| {
        expires = state.is(EXPIRES);
        let waits = state.life.state() == Phase::Waiting;
        let round = waits && (state.is(TRIGGERED) || state.life.next() <= Some(at.now));
        if !waits {
            state.unmark(TRIGGERED);
        }
        (!round && !expires).then_some(Event::Due)
    });
    match then {
        Some(then) => Service::follow(this, &entity, then),
        None if expires => Service::expires(this, &entity),
        None => {
            this.ready.push(entity);
        }
    }
}

/// Begins a round of an entity, if it is still to have one.
fn begin(this: &Arc<Service>, entity: Shared, settings: &Settings) -> bool {
    let at = Service::moment(&settings.rules);
    let mut due = None;
    // Held until the entity has its round: nobody registers it again, or adds a portal, in between.
    let table = this.table.lock();
    let prepared = prepare(&table, &entity, settings);
    let ready = prepared.is_ok();
    let mut flight = prepared.ok();
    let then = Entity::change(&entity, &at, |state| {
        let triggered = state.unmark(TRIGGERED);
        let next = state.life.next();
        if state.life.state() != Phase::Waiting || !(triggered || next <= Some(at.now)) {
            // Its timer may have expired meanwhile for something else, which nobody has looked at.
            return Some(Event::Due);
        }
        due = next.filter(|_| !triggered);
        state.flight = flight.clone();
        Some(Event::Trigger)
    });
    drop(table);
    if then != Some(Then::Probe) {
        Service::follow(this, &entity, then.unwrap_or(Then::Nothing));
        return false;
    }
    this.count_round(due, at.now);
    if let Some(flight) = flight.take() {
        Flight::start(&flight);
    } else {
        no_round(this, &entity, settings);
    }
    ready
}

/// A round of the entity as it is now: whoever adds portals has the table.
fn prepare(table: &Table, entity: &Shared, settings: &Settings) -> Result<Arc<Flight>> {
    let mut portals = Row::One(None);
    let (place, interval, count) = entity.with(|state| {
        let interval = state.life.terms().interval();
        (state.place(), interval, portals.fill(&state.portals))
    });
    let name = match table.at(place) {
        Some((there, name)) if Arc::ptr_eq(there, entity) => Text::new(name.bytes())?,
        _ => return Err(ENOENT),
    };
    if count > 1 {
        portals = Row::with_room(count)?;
        // Fewer than there were, if one was removed meanwhile.
        if entity.with(|state| portals.fill(&state.portals)) > count {
            return Err(EAGAIN);
        }
    }
    Flight::new(entity.clone(), name, portals, &settings.rules, interval)
}

/// A round could not be begun: the next one comes an interval later.
fn no_round(this: &Arc<Service>, entity: &Shared, settings: &Settings) {
    this.count(|counts| &mut counts.no_memory);
    let at = Service::moment(&settings.rules);
    let nothing = Outcome {
        answered: None,
        silent: false,
    };
    let then = Entity::change(entity, &at, |state| {
        Some(Event::Ended(nothing, state.terms()))
    });
    Service::follow(this, entity, then.unwrap_or(Then::Nothing));
}

/// Tells what is new of a round, and ends it if it is over.
fn tell(this: &Arc<Service>, driver: Driver<'_>, flight: &Arc<Flight>) {
    while let Some(news) = flight.news() {
        match news {
            News::Missed { key, attempt, of } => missed(this, driver, flight, &key, attempt, of),
            News::Ended { key, end, faults } => {
                let counts = ended(this, driver, flight, &key, &end, faults);
                let probe = match end.probe() {
                    // The silence of a portal that was removed before that was told is nobody's death.
                    Probe::Silent if !counts => Probe::Void,
                    probe => probe,
                };
                // The next one's turn, if they are asked one after the other.
                if flight.told(probe) {
                    Flight::go_on(flight);
                    this.prober().go();
                }
            }
        }
    }
    if let Some(outcome) = flight.outcome() {
        over(this, driver, flight, outcome);
    }
}

fn missed(
    this: &Arc<Service>,
    driver: Driver<'_>,
    flight: &Arc<Flight>,
    key: &address::Portal,
    attempt: u8,
    of: u8,
) {
    let counts = flight.entity.with(|state| {
        let counts = state.life.counts() && state.portals.has(key);
        if counts {
            state.mark(TELLING);
        }
        counts
    });
    if counts {
        this.count(|counts| &mut counts.suspect);
        let portal = Portal::of(key);
        say(
            this,
            driver,
            flight,
            Verdict::Suspect {
                portal,
                attempt,
                of,
            },
        );
    }
}

/// `false`: that was of no account, for the entity does not have the portal any more.
fn ended(
    this: &Arc<Service>,
    driver: Driver<'_>,
    flight: &Arc<Flight>,
    key: &address::Portal,
    end: &End,
    faults: u32,
) -> bool {
    let counts = flight.entity.with(|state| {
        let counts = state.life.counts();
        if let Some(record) = state.portals.record(key).filter(|_| counts) {
            record.faults = record.faults.saturating_add(faults);
            if let Some(attempts) = end.attempts() {
                record.probed(attempts, end.probe());
            }
        } else {
            return false;
        }
        if matches!(end, End::Silent { .. }) {
            state.portals.remove(key);
        }
        if !matches!(end, End::Void { .. }) {
            state.mark(TELLING);
        }
        true
    });
    let portal = Portal::of(key);
    match *end {
        End::Answered { at, ref attempts } if counts => {
            this.count(|counts| &mut counts.alive);
            let rtt = attempts.took(at);
            say(this, driver, flight, Verdict::Alive { portal, rtt });
        }
        End::Silent { why, .. } if counts => {
            this.count(|counts| &mut counts.dead);
            let why = why.as_str();
            say(this, driver, flight, Verdict::Dead { portal, why });
        }
        _ => {}
    }
    counts
}

/// All probes of a round are over, and were told.
fn over(this: &Arc<Service>, driver: Driver<'_>, flight: &Arc<Flight>, outcome: Outcome) {
    let entity = &flight.entity;
    let settings = this.settings();
    let at = Service::moment(&settings.rules);
    let mut round = None;
    let mut counted = true;
    let then = Entity::change(entity, &at, |state| {
        round = state.flight.take();
        counted = state.life.counts();
        let terms = state.terms();
        Some(Event::Ended(outcome, terms))
    });
    drop(round);
    if !counted {
        // Somebody may wait for the end of what was removed.
        this.wake();
    }
    this.pace.lock().window.end();
    if outcome.silent {
        pending(this, driver, flight);
    }
    Service::follow(this, entity, then.unwrap_or(Then::Nothing));
    if !this.ready.is_empty() {
        Service::kick::<STEP>(this);
    }
}

/// Tells of the end of an entity that is to come, if its last portal has died.
fn pending(this: &Arc<Service>, driver: Driver<'_>, flight: &Arc<Flight>) {
    let due = flight.entity.with(|state| {
        let lingers = state.life.state() == Phase::Lingering;
        if lingers {
            state.mark(TELLING);
        }
        state.life.next().filter(|_| lingers)
    });
    if let Some(due) = due {
        this.count(|counts| &mut counts.pending);
        say(this, driver, flight, Verdict::Pending { due });
    }
}

/// Tells the driver, unless the service was let go; the entity was marked so before.
fn say(this: &Arc<Service>, driver: Driver<'_>, flight: &Arc<Flight>, verdict: Verdict) {
    if let Some(driver) = driver.filter(|_| !this.is_let_go()) {
        driver.verdict(flight.name.as_str(), &verdict);
    }
    flight.entity.with(|state| state.unmark(TELLING));
    // Others may be told of at length before the worker rests.
    this.wake();
}

/// Has the driver deregister an entity; not of a service that was let go.
fn expire(this: &Arc<Service>, entity: &Shared) {
    let cause = entity.with(|state| {
        let expires = state.unmark(EXPIRES)
            && state.life.state() == Phase::Expiring
            && state.life.counts()
            && !this.is_let_go();
        if expires {
            state.mark(ENDING);
        }
        expires.then(|| state.life.cause())
    });
    let done = match (cause, this.driver(), name_of(this, entity)) {
        (Some(cause), Some(driver), Ok(name)) => {
            driver.expired(name.as_str(), cause) == Deregistered::Yes
        }
        _ => false,
    };
    if cause.is_some() {
        this.count(|counts| {
            if done {
                &mut counts.expired
            } else {
                &mut counts.failed
            }
        });
    }
    let settings = this.settings();
    let at = Service::moment(&settings.rules);
    let then = Entity::change(entity, &at, |state| {
        state.unmark(ENDING);
        Some(Event::Expired(done))
    });
    this.wake();
    Service::follow(this, entity, then.unwrap_or(Then::Nothing));
    if cause.is_none() {
        // It stood in the row for nothing. What its timer or somebody wanted meanwhile found it there.
        Service::is_due(this, entity.clone());
    }
}

fn name_of(this: &Service, entity: &Shared) -> Result<Text> {
    let table = this.table.lock();
    let place = entity.with(|state| state.place());
    match table.at(place) {
        Some((there, name)) if Arc::ptr_eq(there, entity) => Text::new(name.bytes()),
        _ => Err(ENOENT),
    }
}
