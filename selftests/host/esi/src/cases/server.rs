// SPDX-License-Identifier: GPL-2.0

//! A server made of the rules and the messages, with simulated clients and time: that the parts fit.

use super::{
    life::{laws, ASKED, EXPIRES},
    random::Random,
};
use crate::policy::{
    deadline::{Delta, Instant},
    esi::{
        attempts::{Attempts, Spacing, Step},
        entity::{Action, Cause, Entity, Event, Moment, Origin, State},
        jitter::Jitter,
        pace::{Punctual, Then, Window},
        record::Record,
        round::{Probe, Round},
        terms::{Terms, Wish},
        xids::{Xids, IDS},
        Coverage, Settings,
    },
    pdu::{
        address::{Eid, Ip, Peer, Port, Portal},
        header::Sender,
        inquiry::{xid_of, Expected, Inquiry, Request, Response},
        MAX_REQUEST, MAX_RESPONSE,
    },
};
use proptest::prelude::*;
use std::collections::{BTreeMap, VecDeque};

fn ms(n: i64) -> Delta {
    Delta::from_millis(n)
}

fn at(n: i64) -> Instant {
    Instant::BOOT + ms(n)
}

/// How a portal's client behaves.
#[derive(Clone, Copy, Debug)]
enum Client {
    /// Answers after so many milliseconds.
    Answers(i64),
    /// Does nothing until this instant, and then answers all it was sent.
    Paused(Instant),
    Silent,
    /// Sending to it fails.
    Unreachable,
}

struct Monitored {
    client: Client,
    interval_s: u32,
    portal: Portal,
    record: Record,
    dead: Option<Instant>,
}

struct Registered {
    eid: String,
    entity: Entity,
    portals: Vec<Monitored>,
    round: Option<Round>,
    timer: Option<Instant>,
    expired: Vec<(Instant, Cause)>,
}

/// A probe in flight.
struct Flight {
    entity: usize,
    portal: usize,
    xid: u16,
    request: Vec<u8>,
    attempts: Attempts,
    due: Instant,
}

enum Happens {
    Timer(usize),
    Attempt(u16),
    Answer(Vec<u8>, Peer),
    /// The expiry action of an entity has ended.
    Expired(usize),
}

struct Server {
    now: Instant,
    settings: Settings,
    random: Random,
    all: Vec<Registered>,
    agenda: BTreeMap<(Instant, u64), Happens>,
    number: u64,
    window: Window,
    xids: Xids<Vec<u16>>,
    slots: Vec<Option<Flight>>,
    waiting: VecDeque<(usize, usize)>,
    starts: Punctual,
    sent: u64,
    stray: u64,
    most: u16,
}

impl Server {
    fn new(settings: Settings) -> Self {
        Self {
            now: at(0),
            settings,
            random: Random::new(7),
            all: vec![],
            agenda: BTreeMap::new(),
            number: 0,
            window: Window::new(Window::DEFAULT.into()),
            xids: Xids::new(vec![0; IDS]).unwrap(),
            slots: vec![],
            waiting: VecDeque::new(),
            starts: Punctual::NONE,
            sent: 0,
            stray: 0,
            most: 0,
        }
    }

    fn at(&mut self, when: Instant, what: Happens) {
        self.number += 1;
        self.agenda.insert((when, self.number), what);
    }

    fn register(&mut self, origin: Origin, clients: &[(Client, u32)]) -> usize {
        let id = self.all.len();
        let portals = clients
            .iter()
            .enumerate()
            .map(|(n, &(client, interval_s))| Monitored {
                client,
                interval_s,
                portal: Portal {
                    ip: Ip::v4([10, 0, (id >> 8) as u8, id as u8]),
                    port: Port::tcp(3260 + n as u32).unwrap(),
                },
                record: Record::NEW,
                dead: None,
            });
        let portals: Vec<_> = portals.collect();
        let terms = terms_of(&portals);
        let settings = self.settings;
        let moment = Moment {
            now: self.now,
            random: self.random.next(),
            settings: &settings,
        };
        let (entity, action) = Entity::new(terms, origin, &moment);
        self.all.push(Registered {
            eid: format!("entity-{id}"),
            entity,
            portals,
            round: None,
            timer: None,
            expired: vec![],
        });
        self.act(id, action);
        id
    }

    /// One step of an entity, and what it asks for.
    fn step(&mut self, id: usize, event: Event) {
        let settings = self.settings;
        let moment = Moment {
            now: self.now,
            random: self.random.next(),
            settings: &settings,
        };
        let before = self.all[id].entity;
        let (after, action) = before.step(event, &moment);
        laws(&before, event, &moment, &after, action);
        if action == Action::Probe && event == Event::Due {
            self.starts.count(before.next().unwrap(), self.now);
        }
        self.all[id].entity = after;
        self.act(id, action);
    }

    fn act(&mut self, id: usize, action: Action) {
        match action {
            Action::Nothing => {}
            Action::Wait(due) => {
                self.all[id].timer = Some(due);
                self.at(due, Happens::Timer(id));
            }
            Action::Probe => {
                assert!(self.all[id].round.is_none(), "two rounds");
                self.all[id].timer = None;
                let alive = self.alive(id);
                let count = alive.len() as u16;
                self.all[id].round = Some(Round::new(self.settings.coverage, count));
                self.waiting
                    .extend(alive.into_iter().map(|portal| (id, portal)));
            }
            Action::Abandon => {
                let round = self.all[id].round.as_mut().unwrap();
                round.abandon();
                self.waiting.retain(|&(entity, _)| entity != id);
                for slot in 0..self.slots.len() {
                    if self.slots[slot]
                        .as_ref()
                        .is_some_and(|flight| flight.entity == id)
                    {
                        self.finish(slot, Probe::Void);
                    }
                }
            }
            Action::Expire(cause) => {
                self.all[id].timer = None;
                let now = self.now;
                self.all[id].expired.push((now, cause));
                self.at(now + ms(1), Happens::Expired(id));
            }
            Action::Release => self.all[id].timer = None,
        }
    }

    fn alive(&self, id: usize) -> Vec<usize> {
        let portals = &self.all[id].portals;
        (0..portals.len())
            .filter(|&n| portals[n].dead.is_none())
            .collect()
    }

    /// A worker: starts what may be started, pass after pass.
    fn work(&mut self) {
        loop {
            self.end_rounds();
            let mut pass = self.window.pass();
            let mut put_off = VecDeque::new();
            while let Some((id, portal)) = self.waiting.pop_front() {
                if self.all[id]
                    .round
                    .is_none_or(|round| round.may_start() == 0)
                {
                    put_off.push_back((id, portal));
                } else if self.window.start(&mut pass) {
                    assert!(self.all[id].round.as_mut().unwrap().start());
                    self.start(id, portal);
                } else {
                    put_off.push_front((id, portal));
                    break;
                }
            }
            put_off.append(&mut self.waiting);
            self.waiting = put_off;
            // What the round does not want any more does not wait.
            let all = &self.all;
            self.waiting.retain(|&(id, _)| all[id].round.is_some());
            let ready = self.waiting.iter().any(|&(id, _)| {
                self.all[id]
                    .round
                    .is_some_and(|round| round.may_start() > 0)
            });
            self.end_rounds();
            if self.window.then(ready) != Then::Again {
                break;
            }
        }
        self.most = self.most.max(self.window.flying());
        assert!(self.window.flying() <= self.window.limit());
        assert_eq!(self.window.flying(), self.xids.flying());
    }

    fn end_rounds(&mut self) {
        for id in 0..self.all.len() {
            let Some(outcome) = self.all[id].round.and_then(|round| round.outcome()) else {
                continue;
            };
            self.all[id].round = None;
            self.waiting.retain(|&(entity, _)| entity != id);
            let terms = terms_of(&self.all[id].portals);
            self.step(id, Event::Ended(outcome, terms));
        }
    }

    fn start(&mut self, id: usize, portal: usize) {
        let slot = self
            .slots
            .iter()
            .position(Option::is_none)
            .unwrap_or(self.slots.len());
        if slot == self.slots.len() {
            self.slots.push(None);
        }
        let xid = self
            .xids
            .take(slot as u16, self.random.next() as u32)
            .unwrap();
        let entity = &self.all[id];
        let mut room = [0; MAX_REQUEST];
        let request = Request {
            xid,
            about: Inquiry {
                stamp: 1,
                eid: Eid::new(entity.eid.as_bytes()).unwrap(),
                portal: entity.portals[portal].portal,
            },
        };
        let bytes = request.encode(&mut room).unwrap();
        let count = Round::in_sequence(self.settings.coverage, entity.portals.len() as u16);
        let interval = entity.entity.terms().interval();
        let (attempts, step) =
            Attempts::begin(Spacing::of(&self.settings, interval, count), self.now);
        self.slots[slot] = Some(Flight {
            entity: id,
            portal,
            xid,
            request: room[..bytes].to_vec(),
            attempts,
            due: self.now,
        });
        self.follow(slot, step);
    }

    fn follow(&mut self, slot: usize, step: Step) {
        match step {
            Step::Dead => self.finish(slot, Probe::Silent),
            Step::Wait(due) => self.rearm(slot, due),
            Step::Send(due) => {
                self.rearm(slot, due);
                self.send(slot);
            }
        }
    }

    fn rearm(&mut self, slot: usize, due: Instant) {
        self.slots[slot].as_mut().unwrap().due = due;
        self.at(due, Happens::Attempt(slot as u16));
    }

    fn send(&mut self, slot: usize) {
        self.sent += 1;
        let flight = self.slots[slot].as_ref().unwrap();
        let portal = &self.all[flight.entity].portals[flight.portal];
        let when = match portal.client {
            Client::Silent => return,
            Client::Answers(after) => self.now + ms(after),
            Client::Paused(until) => self.now.max(until) + ms(1),
            Client::Unreachable => {
                let now = self.now;
                let step = self.slots[slot].as_mut().unwrap().attempts.failed(now);
                return self.follow(slot, step);
            }
        };
        // The client's side of it.
        let asked = Request::parse(&flight.request).unwrap();
        let answer = Response {
            xid: asked.xid,
            result: Ok(asked.about),
        };
        let mut room = [0; MAX_RESPONSE];
        let bytes = answer.encode(Sender::Client, &mut room).unwrap();
        let from = peer_of(portal.portal);
        self.at(when, Happens::Answer(room[..bytes].to_vec(), from));
    }

    fn receive(&mut self, bytes: &[u8], from: Peer) {
        let Some(slot) = xid_of(bytes).ok().and_then(|xid| self.xids.slot(xid)) else {
            self.stray += 1;
            return;
        };
        let flight = self.slots[usize::from(slot)].as_ref().unwrap();
        let entity = &self.all[flight.entity];
        let portal = entity.portals[flight.portal].portal;
        let want = Expected {
            xid: flight.xid,
            eid: Eid::new(entity.eid.as_bytes()).unwrap(),
            portal,
            peer: peer_of(portal),
        };
        match Response::parse(bytes).and_then(|response| want.is_met_by(&response, from)) {
            Ok(()) => self.finish(slot.into(), Probe::Answered(self.now)),
            Err(_) => self.stray += 1,
        }
    }

    fn finish(&mut self, slot: usize, probe: Probe) {
        let flight = self.slots[slot].take().unwrap();
        assert!(self.xids.give_back(flight.xid, slot as u16));
        self.window.end();
        let now = self.now;
        let entity = &mut self.all[flight.entity];
        let portal = &mut entity.portals[flight.portal];
        portal.record.probed(&flight.attempts.so_far(), probe);
        if probe == Probe::Silent && entity.entity.counts() {
            portal.dead = Some(now);
        }
        entity.round.as_mut().unwrap().end(probe);
    }

    /// Lets time go by.
    fn run(&mut self, until: Instant) {
        self.work();
        while let Some((&(when, number), _)) = self.agenda.first_key_value() {
            if when > until {
                break;
            }
            let what = self.agenda.remove(&(when, number)).unwrap();
            self.now = when;
            match what {
                Happens::Timer(id) if self.all[id].timer == Some(when) => self.step(id, Event::Due),
                Happens::Timer(_) => {}
                Happens::Expired(id) => self.step(id, Event::Expired(true)),
                Happens::Answer(bytes, from) => self.receive(&bytes, from),
                Happens::Attempt(slot) => {
                    let slot = usize::from(slot);
                    if let Some(flight) = &mut self.slots[slot] {
                        if flight.due == when {
                            let step = flight.attempts.due(when);
                            self.follow(slot, step);
                        }
                    }
                }
            }
            // Everything of one instant, then the starts.
            if self
                .agenda
                .first_key_value()
                .is_none_or(|(&(next, _), _)| next > when)
            {
                self.work();
            }
        }
        self.now = until;
        self.work();
    }

    /// Nothing is left of anything: no timer, no probe, no id.
    fn is_empty(&self) -> bool {
        self.all
            .iter()
            .all(|entity| entity.timer.is_none() && entity.round.is_none())
            && self.slots.iter().all(Option::is_none)
            && (self.window.flying(), self.xids.flying()) == (0, 0)
            && self.waiting.is_empty()
    }
}

fn peer_of(portal: Portal) -> Peer {
    Peer {
        ip: portal.ip,
        port: 1000 + portal.port.number(),
    }
}

fn terms_of(portals: &[Monitored]) -> Terms {
    let alive = portals.iter().filter(|portal| portal.dead.is_none());
    Terms::of(
        EXPIRES.interval_s,
        alive.map(|portal| Wish {
            monitored: true,
            interval_s: portal.interval_s,
        }),
    )
}

const GOOD: Client = Client::Answers(1);

// A verdict that is early, late, or wrong: what an operator sees when a client stops and goes on.
#[test]
fn esi_41_a_client_is_dead_and_alive_at_the_computed_second() {
    let mut server = Server::new(Settings::DEFAULT);
    let id = server.register(Origin::Registered, &[(GOOD, 60)]);
    server.run(at(60_000));
    assert_eq!(server.all[id].entity.state(), State::Probing);
    server.run(at(61_000));
    assert_eq!(server.all[id].timer, Some(at(120_001)));
    // Stopped before the second probe, and going on before the threshold.
    server.all[id].portals[0].client = Client::Paused(at(125_900));
    server.run(at(130_000));
    assert_eq!(server.all[id].timer, Some(at(185_901)));
    assert_eq!(server.all[id].portals[0].record.attempts, 3);
    assert_eq!(server.stray, 2, "the answers to the other two attempts");
    // Going on after it.
    server.all[id].portals[0].client = Client::Paused(at(192_000));
    server.run(at(191_900));
    assert_eq!(server.all[id].portals[0].dead, None);
    server.run(at(191_901));
    assert_eq!(server.all[id].portals[0].dead, Some(at(191_901)));
    assert_eq!(server.all[id].entity.state(), State::Lingering);
    server.run(at(400_000));
    assert_eq!(server.all[id].expired, [(at(311_901), Cause::Silence)]);
    assert_eq!(server.all[id].entity.state(), State::Gone);
    assert!(server.is_empty());
}

// open-isns drops this client.
#[test]
fn o1_a_slow_client_stays_for_a_day() {
    let seconds = i64::from(super::fuzz::scale(86_400, 864_000));
    for delay in [1500, 1900, 2600, 3900] {
        let mut server = Server::new(Settings::DEFAULT);
        let id = server.register(Origin::Registered, &[(Client::Answers(delay), 4)]);
        server.run(at(seconds * 1000));
        assert_ne!(server.all[id].entity.state(), State::Gone, "{delay} ms");
        assert_eq!(server.all[id].expired, []);
        let answered = server.all[id].portals[0].record.answered;
        assert!(i64::from(answered) > seconds / 8 - 2, "{answered}");
    }
}

#[test]
fn esi_18_one_of_two_portals_dies_and_is_not_asked_again() {
    let mut server = Server::new(Settings::DEFAULT);
    let id = server.register(Origin::Registered, &[(GOOD, 60), (Client::Silent, 30)]);
    server.run(at(3_600_000));
    let portals = &server.all[id].portals;
    assert_eq!(portals[1].dead, Some(at(36_000)));
    assert_eq!(portals[1].record.probes, 1);
    assert_eq!(portals[0].dead, None);
    // From then on at the interval of the one that is left.
    assert_eq!(portals[0].record.probes, 1 + (3600 - 31) / 60);
}

#[test]
fn esi_27_with_any_one_the_second_portal_is_asked_when_the_first_is_silent() {
    let settings = Settings {
        coverage: Coverage::AnyOne,
        ..Settings::DEFAULT
    };
    let mut server = Server::new(settings);
    let id = server.register(Origin::Registered, &[(GOOD, 60), (GOOD, 60)]);
    server.run(at(200_000));
    assert_eq!(server.all[id].portals[0].record.probes, 3);
    assert_eq!(server.all[id].portals[1].record.probes, 0);
    server.all[id].portals[0].client = Client::Silent;
    server.run(at(300_000));
    assert!(server.all[id].portals[0].dead.is_some());
    assert_eq!(server.all[id].portals[1].record.probes, 1);
    assert_eq!(server.all[id].expired, []);
    // All silent, one after the other: within two intervals of the last answer all the same.
    let mut server = Server::new(settings);
    let id = server.register(Origin::Registered, &[(Client::Silent, 4); 8]);
    server.run(at(100_000));
    let last = server.all[id]
        .portals
        .iter()
        .map(|portal| portal.dead.unwrap())
        .max();
    assert!(last <= Some(at(8_000)), "{last:?}");
    assert_eq!(server.all[id].expired.len(), 1);
}

#[test]
fn esi_16_a_client_that_cannot_be_sent_to_dies_of_three_failures() {
    let mut server = Server::new(Settings::DEFAULT);
    let id = server.register(Origin::Registered, &[(Client::Unreachable, 60)]);
    server.run(at(70_000));
    assert_eq!(server.all[id].portals[0].dead, Some(at(63_000)));
    assert_eq!(server.sent, 3);
}

// S5: the clock stands still while clients register. S2: they wait for the probes.
#[test]
fn esi_31_s2_s5_a_thousand_registrations_a_second_put_nobody_off() {
    let mut server = Server::new(Settings::DEFAULT);
    let id = server.register(Origin::Registered, &[(GOOD, 2)]);
    let other = server.register(Origin::Registered, &[(GOOD, 20)]);
    for n in 1..=10_000 {
        server.run(at(n));
        server.step(other, Event::Register(ASKED));
    }
    assert_eq!(server.all[id].portals[0].record.answered, 4);
    assert_eq!(server.starts.late, 0);
}

// S3, S5, O4: one silent entity in a thousand, and all loaded at the same time.
#[test]
fn esi_33_s3_s5_many_are_probed_on_time_whoever_is_silent() {
    let mut server = Server::new(Settings::DEFAULT);
    for n in 0..1000 {
        let client = if n % 100 == 0 { Client::Silent } else { GOOD };
        server.register(Origin::Loaded, &[(client, 20)]);
    }
    server.run(at(100_000));
    assert_eq!(server.starts.late, 0, "{:?}", server.starts);
    let gone = |entity: &Registered| entity.entity.state() == State::Gone;
    assert_eq!(server.all.iter().filter(|entity| gone(entity)).count(), 10);
    // Spread over 20 s, those in flight are few; together they would all be.
    assert!(server.most < 30, "{} in flight", server.most);
    assert!(
        (4000..=5010).contains(&server.starts.on_time),
        "{:?}",
        server.starts
    );
}

/// What may happen to one of a few entities.
#[derive(Clone, Debug)]
enum Deed {
    Register(usize),
    Remove(usize),
    Trigger(usize),
    Refresh(usize),
    Becomes(usize, Client),
    Nothing,
}

fn deeds() -> impl Strategy<Value = Deed> {
    let who = 0usize..4;
    let client = prop_oneof![
        3 => (0i64..1900).prop_map(Client::Answers),
        1 => Just(Client::Silent),
        1 => Just(Client::Unreachable),
    ];
    prop_oneof![
        who.clone().prop_map(Deed::Register),
        who.clone().prop_map(Deed::Remove),
        who.clone().prop_map(Deed::Trigger),
        who.clone().prop_map(Deed::Refresh),
        (who, client).prop_map(|(who, client)| Deed::Becomes(who, client)),
        Just(Deed::Nothing),
    ]
}

proptest! {
    #![proptest_config(super::runs(300, 20_000))]

    // Whatever operators and clients do: one event for each entity that is there and none for others,
    // nothing left in the end, and no client that answers ever expires.
    #[test]
    fn s8_one_event_for_each_entity_and_none_is_left(
        deeds in prop::collection::vec((0i64..40_000, deeds()), 1..60),
        every: bool,
        always: bool,
    ) {
        let settings = Settings {
            coverage: if every { Coverage::Every } else { Coverage::AnyOne },
            jitter: if always { Jitter::Always } else { Jitter::AtLoad },
            ..Settings::DEFAULT
        };
        let mut server = Server::new(settings);
        let mut blameless = [true; 4];
        for id in 0..4 {
            let clients = [(Client::Answers(3), 20 + id), (Client::Answers(5), 30)];
            server.register(Origin::Loaded, &clients);
        }
        let mut now = 0;
        for (after, deed) in deeds {
            now += after;
            server.run(at(now));
            match deed {
                Deed::Register(id) => {
                    if server.all[id].entity.state() != State::Gone {
                        for portal in &mut server.all[id].portals {
                            portal.dead = None;
                        }
                        let terms = terms_of(&server.all[id].portals);
                        server.step(id, Event::Register(terms));
                    }
                }
                Deed::Remove(id) => server.step(id, Event::Remove),
                Deed::Trigger(id) => server.step(id, Event::Trigger),
                Deed::Refresh(id) => server.step(id, Event::Refresh),
                Deed::Becomes(id, client) => {
                    blameless[id] &= matches!(client, Client::Answers(_));
                    server.all[id].portals[0].client = client;
                }
                Deed::Nothing => {}
            }
            server.work();
            for (id, entity) in server.all.iter().enumerate() {
                prop_assert_eq!(entity.timer, entity.entity.next(), "entity {}", id);
                let probing = entity.entity.state() == State::Probing;
                prop_assert_eq!(entity.round.is_some(), probing, "entity {}", id);
                if blameless[id] {
                    prop_assert_eq!(&entity.expired, &[], "entity {}", id);
                    prop_assert!(entity.portals.iter().all(|portal| portal.dead.is_none()));
                }
            }
        }
        for id in 0..4 {
            server.step(id, Event::Remove);
        }
        server.run(at(now + 1000));
        prop_assert!(server.is_empty());
        prop_assert!(server.all.iter().all(|entity| entity.entity.state() == State::Gone));
        let sent = server.sent;
        server.run(at(now + 1_000_000));
        prop_assert_eq!(server.sent, sent, "a probe after the end");
    }
}
