// SPDX-License-Identifier: GPL-2.0

//! The life of an entity: every event in every state, held against a table written by hand.

use crate::policy::{
    deadline::{Delta, Instant},
    esi::{
        entity::{Action, Cause, Entity, Event, Moment, Origin, State},
        jitter::Jitter,
        round::Outcome,
        terms::{Kind, Terms, NO_PERIOD_S},
        Removal, Settings, RETRY_EXPIRY,
    },
};

pub(crate) fn secs(s: i64) -> Instant {
    Instant::from_nanos(0) + Delta::from_secs(s)
}

pub(crate) const ASKED: Terms = Terms {
    kind: Kind::Inquiry,
    interval_s: 60,
};

pub(crate) const EXPIRES: Terms = Terms {
    kind: Kind::Expiry,
    interval_s: 86_400,
};

pub(crate) fn moment(now: Instant, settings: &Settings) -> Moment<'_> {
    Moment {
        now,
        random: 0x1234_5678_9abc_def0,
        settings,
    }
}

/// An entity, its settings, and what was done last.
pub(crate) struct Subject {
    pub(crate) entity: Entity,
    pub(crate) settings: Settings,
    pub(crate) action: Action,
}

impl Subject {
    pub(crate) fn new(terms: Terms) -> Self {
        Self::with(terms, Settings::DEFAULT)
    }

    pub(crate) fn with(terms: Terms, settings: Settings) -> Self {
        let at = moment(secs(0), &settings);
        let (entity, action) = Entity::new(terms, Origin::Registered, &at);
        Self {
            entity,
            settings,
            action,
        }
    }

    /// Lets `event` happen `s` seconds after boot.
    pub(crate) fn at(&mut self, s: i64, event: Event) -> Action {
        let at = moment(secs(s), &self.settings);
        (self.entity, self.action) = self.entity.step(event, &at);
        self.action
    }
}

pub(crate) fn answered(s: i64) -> Outcome {
    Outcome {
        answered: Some(secs(s)),
        silent: false,
    }
}

pub(crate) const SILENT: Outcome = Outcome {
    answered: None,
    silent: true,
};

pub(crate) const VOID: Outcome = Outcome {
    answered: None,
    silent: false,
};

/// One row for each state, one column for each event: the state after it and what is done.
///
/// States: W waiting, P probing, R registered, L lingering, E expiring, T retrying, G gone; P and E
/// followed by `'` were registered again since, by `-` removed. Actions: w wait, p probe, a abandon, x
/// expire, r release, a dot for nothing.
const TABLE: &str = "
      again again refre other last  trigg due   early ended: silent silent ended expi- expi  remove
      asked expir sh    gone  gone  er                answer left  none  void  red   failed
  W   Ww    Rw    W.    W.    Rw    Pp    Pp    Ww    W.    W.    W.    W.    W.    W.    Gr
  P   P'a   P'a   P.    P.    P.    P.    P.    P.    Ww    Ww    Lw    Ww    P.    P.    P-a
  P'  P'a   P'a   P'.   P'.   P'.   P'.   P'.   P'.   Ww    Ww    Rw    Ww    P'.   P'.   P-a
  P-  P'a   P'a   P-.   P-.   P-.   P-.   P-.   P-.   Gr    Gr    Gr    Gr    P-.   P-.   P-a
  R   Ww    Rw    Rw    R.    R.    R.    Ex    Rw    R.    R.    R.    R.    R.    R.    Gr
  L   Ww    Rw    L.    L.    L.    L.    Ex    Lw    L.    L.    L.    L.    L.    L.    Gr
  E   E'.   E'.   E.    E.    E.    E.    E.    E.    E.    E.    E.    E.    Gr    Tw    E-.
  E'  E'.   E'.   E'.   E'.   E'.   E'.   E'.   E'.   E'.   E'.   E'.   E'.   Ww    Ww    E-.
  E-  E'.   E'.   E-.   E-.   E-.   E-.   E-.   E-.   E-.   E-.   E-.   E-.   Gr    Gr    E-.
  T   Ww    Rw    T.    T.    T.    T.    Ex    Tw    T.    T.    T.    T.    T.    T.    Gr
  G   G.    G.    G.    G.    G.    G.    G.    G.    G.    G.    G.    G.    G.    G.    G.
";

/// The events of the columns. `now` is when they happen.
fn columns(kind: Kind) -> [(Event, bool); 15] {
    let same = if kind == Kind::Inquiry {
        ASKED
    } else {
        EXPIRES
    };
    [
        (Event::Register(ASKED), true),
        (Event::Register(EXPIRES), true),
        (Event::Refresh, true),
        (Event::Portals(same), true),
        (Event::Portals(EXPIRES), true),
        (Event::Trigger, true),
        (Event::Due, true),
        (Event::Due, false),
        (Event::Ended(answered(1), ASKED), true),
        (Event::Ended(SILENT, ASKED), true),
        (Event::Ended(SILENT, EXPIRES), true),
        (Event::Ended(VOID, ASKED), true),
        (Event::Expired(true), true),
        (Event::Expired(false), true),
        (Event::Remove, true),
    ]
}

/// Later than any instant that the entities of the table wait for.
const LATE: i64 = 1_000_000;

/// How each row's entity came to be there.
fn row(name: &str) -> Subject {
    let again = Event::Register(ASKED);
    let history: &[Event] = match name {
        "W" => &[],
        "P" => &[Event::Due],
        "P'" => &[Event::Due, again],
        "P-" => &[Event::Due, Event::Remove],
        "R" => &[Event::Register(EXPIRES)],
        "L" => &[Event::Due, Event::Ended(SILENT, EXPIRES)],
        "E" => &[Event::Register(EXPIRES), Event::Due],
        "E'" => &[Event::Register(EXPIRES), Event::Due, again],
        "E-" => &[Event::Register(EXPIRES), Event::Due, Event::Remove],
        "T" => &[Event::Register(EXPIRES), Event::Due, Event::Expired(false)],
        "G" => &[Event::Remove],
        other => panic!("no row {other}"),
    };
    let mut subject = Subject::new(ASKED);
    for (at, event) in history.iter().enumerate() {
        subject.at((at as i64 + 1) * 100_000, *event);
    }
    subject
}

fn name(entity: &Entity) -> String {
    let letter = match entity.state() {
        State::Waiting => "W",
        State::Probing => "P",
        State::Registered => "R",
        State::Lingering => "L",
        State::Expiring => "E",
        State::Retrying => "T",
        State::Gone => "G",
    };
    let shown = format!("{entity:?}");
    let mark = match () {
        () if shown.contains("meanwhile: RegisteredAgain") => "'",
        () if shown.contains("meanwhile: Removed") => "-",
        () => "",
    };
    format!("{letter}{mark}")
}

fn letter(action: Action) -> char {
    match action {
        Action::Nothing => '.',
        Action::Wait(_) => 'w',
        Action::Probe => 'p',
        Action::Abandon => 'a',
        Action::Expire(_) => 'x',
        Action::Release => 'r',
    }
}

fn cell(entity: &Entity, action: Action) -> String {
    format!("{}{}", name(entity), letter(action))
}

fn rows() -> impl Iterator<Item = (&'static str, Vec<&'static str>)> {
    TABLE.lines().skip(3).map(|line| {
        let mut words = line.split_whitespace();
        (words.next().unwrap(), words.collect())
    })
}

#[test]
fn every_event_in_every_state_is_as_in_the_table() {
    let mut cells = 0;
    for (from, wants) in rows() {
        let subject = row(from);
        assert_eq!(name(&subject.entity), from);
        let events = columns(subject.entity.terms().kind);
        assert_eq!(wants.len(), events.len(), "row {from}");
        for ((event, late), want) in events.into_iter().zip(wants) {
            let now = match (late, subject.entity.next()) {
                (false, Some(due)) => Instant::from_nanos(due.as_nanos() - 1),
                _ => secs(LATE),
            };
            let at = moment(now, &subject.settings);
            let (after, action) = subject.entity.step(event, &at);
            assert_eq!(cell(&after, action), want, "{event:?} in {from}");
            laws(&subject.entity, event, &at, &after, action);
            cells += 1;
        }
    }
    assert_eq!(cells, 11 * 15);
}

/// What holds for every step, whatever the table says.
pub(crate) fn laws(before: &Entity, event: Event, at: &Moment<'_>, after: &Entity, action: Action) {
    let context = format!(
        "{event:?} at {:?}: {before:?} -> {after:?}, {action:?}",
        at.now
    );
    match action {
        // What is armed stays armed, and for the same instant.
        Action::Nothing => assert_eq!(before.next(), after.next(), "{context}"),
        Action::Wait(due) => {
            assert_eq!(after.next(), Some(due), "{context}");
            assert!(due >= at.now, "{context}");
        }
        Action::Probe => assert_eq!(after.state(), State::Probing, "{context}"),
        Action::Abandon => assert_eq!(after.state(), State::Probing, "{context}"),
        Action::Expire(_) => assert_eq!(after.state(), State::Expiring, "{context}"),
        Action::Release => assert_eq!(after.state(), State::Gone, "{context}"),
    }
    // Something in flight begins once and ends once.
    let in_flight = |entity: &Entity| matches!(entity.state(), State::Probing | State::Expiring);
    let begins = matches!(action, Action::Probe | Action::Expire(_));
    let swaps = matches!(event, Event::Ended(..)) && matches!(action, Action::Expire(_));
    assert_eq!(
        begins,
        in_flight(after) && (!in_flight(before) || swaps),
        "{context}"
    );
    assert!(!begins || after.counts(), "{context}");
    let released = before.state() != State::Gone && after.state() == State::Gone;
    assert_eq!(action == Action::Release, released, "{context}");
    assert_eq!(
        after.next().is_some(),
        !in_flight(after) && after.state() != State::Gone
    );
}

// Whatever happens leads to a row of the table: no history makes a state that nobody thought of.
#[test]
fn the_table_has_all_states() {
    let known: Vec<&str> = rows().map(|(name, _)| name).collect();
    let mut seen: Vec<Entity> = vec![Subject::new(ASKED).entity, Subject::new(EXPIRES).entity];
    let mut found = std::collections::BTreeSet::new();
    let mut next = 0;
    let shape = |entity: &Entity| {
        // All but the times.
        let text = format!("{entity:?}");
        text[text.find("interval_s").unwrap()..].to_string()
    };
    while next < seen.len() {
        let entity = seen[next];
        next += 1;
        for removal in [Removal::AtOnce, Removal::After(2)] {
            let settings = Settings {
                removal,
                ..Settings::DEFAULT
            };
            for (event, late) in columns(Kind::Inquiry)
                .into_iter()
                .chain(columns(Kind::Expiry))
            {
                let now = match (late, entity.next()) {
                    (true, Some(due)) => due,
                    (true, None) => entity.refreshed() + Delta::from_secs(1),
                    (false, _) => entity.refreshed(),
                };
                let at = moment(now, &settings);
                let (after, action) = entity.step(event, &at);
                laws(&entity, event, &at, &after, action);
                assert!(known.contains(&name(&after).as_str()), "{after:?}");
                if found.insert(shape(&after)) {
                    seen.push(after);
                }
            }
        }
    }
    assert_eq!(
        found.len(),
        32,
        "a state more or less is a change of the rules"
    );
}

#[test]
fn esi_1_a_new_entity_is_probed_after_one_interval() {
    let mut subject = Subject::new(ASKED);
    assert_eq!(subject.action, Action::Wait(secs(60)));
    assert_eq!(subject.at(59, Event::Due), Action::Wait(secs(60)));
    assert_eq!(subject.at(60, Event::Due), Action::Probe);
}

#[test]
fn esi_2_only_what_is_loaded_is_spread_and_no_registration_is_cut_short() {
    let settings = Settings::DEFAULT;
    let half = Moment {
        now: secs(1000),
        random: 1 << 63,
        settings: &settings,
    };
    let (_, action) = Entity::new(ASKED, Origin::Loaded, &half);
    assert_eq!(action, Action::Wait(Instant::from_nanos(1_030_000_000_001)));
    let (_, action) = Entity::new(ASKED, Origin::Registered, &half);
    assert_eq!(action, Action::Wait(secs(1060)));
    for origin in [Origin::Loaded, Origin::Registered] {
        let always = Settings {
            jitter: Jitter::Always,
            ..settings
        };
        let at = Moment {
            settings: &always,
            ..half
        };
        let (_, action) = Entity::new(EXPIRES, origin, &at);
        assert_eq!(action, Action::Wait(secs(87_400)));
    }
}

#[test]
fn esi_5_a_registration_without_a_monitored_portal_expires_at_its_period() {
    let mut subject = Subject::new(EXPIRES);
    assert_eq!(subject.action, Action::Wait(secs(86_400)));
    assert_eq!(
        subject.at(86_400, Event::Due),
        Action::Expire(Cause::Period)
    );
    assert_eq!(subject.at(86_401, Event::Expired(true)), Action::Release);
}

// The interval runs from the response, not from the end of the round that waits for other portals.
#[test]
fn esi_8_the_next_probe_is_one_interval_after_the_response() {
    let mut subject = Subject::new(ASKED);
    subject.at(60, Event::Due);
    assert_eq!(
        subject.at(66, Event::Ended(answered(61), ASKED)),
        Action::Wait(secs(121))
    );
    // However late that is told.
    subject.at(121, Event::Due);
    assert_eq!(
        subject.at(500, Event::Ended(answered(122), ASKED)),
        Action::Wait(secs(500))
    );
}

#[test]
fn esi_18_a_portal_dies_and_the_others_go_on() {
    let mut subject = Subject::new(ASKED);
    subject.at(60, Event::Due);
    assert!(subject.entity.counts());
    let mixed = Outcome {
        silent: true,
        ..answered(61)
    };
    // The one that died had the short interval.
    let slower = Terms {
        interval_s: 90,
        ..ASKED
    };
    assert_eq!(
        subject.at(66, Event::Ended(mixed, slower)),
        Action::Wait(secs(151))
    );
    assert_eq!(subject.entity.terms(), slower);
    // Another one is there, but was not asked: it is in the next interval.
    subject.at(151, Event::Due);
    assert_eq!(
        subject.at(157, Event::Ended(SILENT, slower)),
        Action::Wait(secs(247))
    );
}

#[test]
fn esi_19_an_entity_expires_two_intervals_after_its_last_portal_died() {
    let mut subject = Subject::new(ASKED);
    subject.at(60, Event::Due);
    assert_eq!(
        subject.at(66, Event::Ended(SILENT, EXPIRES)),
        Action::Wait(secs(66 + 120))
    );
    assert_eq!(subject.entity.state(), State::Lingering);
    // What is left of it does not bring it back, and does not end it sooner.
    subject.at(70, Event::Refresh);
    subject.at(71, Event::Portals(EXPIRES));
    subject.at(72, Event::Trigger);
    assert_eq!(subject.entity.next(), Some(secs(186)));
    assert_eq!(subject.at(186, Event::Due), Action::Expire(Cause::Silence));
    assert_eq!(
        subject.at(187, Event::Expired(false)),
        Action::Wait(secs(367))
    );
    assert_eq!(
        subject.at(367, Event::Due),
        Action::Expire(Cause::Silence),
        "still so"
    );
    assert_eq!(
        (Cause::Silence.as_str(), Cause::Period.as_str()),
        ("silence", "period")
    );
}

#[test]
fn esi_19_at_once_or_after_as_many_intervals_as_one_likes() {
    for (removal, want) in [
        (Removal::AtOnce, Action::Expire(Cause::Silence)),
        // Or it could be over before anybody is told that it is to come.
        (Removal::After(0), Action::Expire(Cause::Silence)),
        (Removal::After(3), Action::Wait(secs(66 + 180))),
        (Removal::After(255), Action::Wait(secs(66 + 255 * 60))),
    ] {
        let settings = Settings {
            removal,
            ..Settings::DEFAULT
        };
        let mut subject = Subject::with(ASKED, settings);
        subject.at(60, Event::Due);
        assert_eq!(subject.at(66, Event::Ended(SILENT, EXPIRES)), want);
    }
}

#[test]
fn esi_20_registering_again_in_the_meantime_forgets_that() {
    let mut subject = Subject::new(ASKED);
    subject.at(60, Event::Due);
    subject.at(66, Event::Ended(SILENT, EXPIRES));
    assert_eq!(
        subject.at(100, Event::Register(ASKED)),
        Action::Wait(secs(160))
    );
    assert_eq!(subject.at(160, Event::Due), Action::Probe);
    assert_eq!(
        subject.at(161, Event::Ended(answered(161), ASKED)),
        Action::Wait(secs(221))
    );
    // O6: a moment before it expires, and while it is being expired.
    subject.at(221, Event::Due);
    subject.at(227, Event::Ended(SILENT, EXPIRES));
    assert_eq!(subject.at(347, Event::Due), Action::Expire(Cause::Silence));
    assert_eq!(subject.at(348, Event::Register(ASKED)), Action::Nothing);
    assert_eq!(
        subject.at(349, Event::Expired(true)),
        Action::Wait(secs(408))
    );
    assert_eq!(subject.entity.state(), State::Waiting);
}

// S2: removing waits for the probe. S8: a removed entity's event goes on.
#[test]
fn esi_21_s2_s8_removing_is_at_once_and_ends_a_probe_without_a_verdict() {
    let mut subject = Subject::new(ASKED);
    assert_eq!(subject.at(10, Event::Remove), Action::Release);
    assert_eq!(subject.entity.next(), None);

    let mut subject = Subject::new(ASKED);
    subject.at(60, Event::Due);
    assert_eq!(subject.at(61, Event::Remove), Action::Abandon);
    assert!(!subject.entity.counts(), "no verdict");
    assert_eq!(
        subject.at(62, Event::Due),
        Action::Nothing,
        "no further probe"
    );
    assert_eq!(subject.at(62, Event::Trigger), Action::Nothing);
    assert_eq!(
        subject.at(66, Event::Ended(SILENT, EXPIRES)),
        Action::Release
    );
    assert!(!subject.entity.counts());
}

// S7: the event is lost, and the entity never expires.
#[test]
fn esi_22_s7_a_portal_that_was_not_monitored_takes_nothing_with_it() {
    let mut subject = Subject::new(EXPIRES);
    assert_eq!(subject.at(10, Event::Portals(EXPIRES)), Action::Nothing);
    assert_eq!(subject.entity.next(), Some(secs(86_400)));
    // Neither of an entity that has monitored ones.
    let mut subject = Subject::new(ASKED);
    assert_eq!(subject.at(10, Event::Portals(ASKED)), Action::Nothing);
    assert_eq!(subject.entity.next(), Some(secs(60)));
}

// The last monitored portal is taken away, by someone: no death, but no more probes either.
#[test]
fn s7_without_its_last_monitored_portal_an_entity_still_expires() {
    let mut subject = Subject::new(ASKED);
    subject.at(60, Event::Due);
    subject.at(60, Event::Ended(answered(60), ASKED));
    // The period runs from the last answer, not from now.
    assert_eq!(
        subject.at(90, Event::Portals(EXPIRES)),
        Action::Wait(secs(86_460))
    );
    assert_eq!(
        subject.at(86_460, Event::Due),
        Action::Expire(Cause::Period)
    );
    // In the middle of a round: silent, because it is gone, or answered before it went.
    for (outcome, due) in [(VOID, 86_400), (answered(61), 86_461)] {
        let mut subject = Subject::new(ASKED);
        subject.at(60, Event::Due);
        assert_eq!(subject.at(61, Event::Portals(EXPIRES)), Action::Nothing);
        assert_eq!(
            subject.at(66, Event::Ended(outcome, EXPIRES)),
            Action::Wait(secs(due))
        );
        assert_eq!(subject.entity.state(), State::Registered);
    }
    // One portal died, and the other one, which had answered, was taken away: it lives.
    let mut subject = Subject::new(ASKED);
    subject.at(60, Event::Due);
    let mixed = Outcome {
        silent: true,
        ..answered(61)
    };
    assert_eq!(
        subject.at(66, Event::Ended(mixed, EXPIRES)),
        Action::Wait(secs(86_461))
    );
}

// It registers again while it expires, and loses that portal before the expiry has ended: a round of nobody.
#[test]
fn s7_without_its_portal_of_the_meantime_an_entity_still_expires() {
    for done in [false, true] {
        let mut subject = Subject::new(EXPIRES);
        subject.at(86_400, Event::Due);
        subject.at(86_401, Event::Register(ASKED));
        assert_eq!(subject.at(86_402, Event::Portals(EXPIRES)), Action::Nothing);
        assert_eq!(
            subject.at(86_403, Event::Expired(done)),
            Action::Wait(secs(86_401 + 86_400))
        );
        assert_eq!(subject.entity.state(), State::Registered);
    }
    // Or it has another one.
    let mut subject = Subject::new(EXPIRES);
    subject.at(86_400, Event::Due);
    subject.at(86_401, Event::Register(ASKED));
    let slower = Terms {
        interval_s: 600,
        ..ASKED
    };
    subject.at(86_402, Event::Portals(slower));
    assert_eq!(
        subject.at(86_403, Event::Expired(false)),
        Action::Wait(secs(87_001))
    );
}

// A portal is gone that had the short interval: it is asked then, once more, and then less often.
#[test]
fn another_portal_gone_changes_the_next_interval() {
    let mut subject = Subject::new(ASKED);
    let slower = Terms {
        interval_s: 600,
        ..ASKED
    };
    assert_eq!(subject.at(10, Event::Portals(slower)), Action::Nothing);
    assert_eq!(subject.entity.terms(), slower);
    assert_eq!(subject.at(60, Event::Due), Action::Probe);
    assert_eq!(
        subject.at(61, Event::Ended(answered(61), slower)),
        Action::Wait(secs(661))
    );
}

// S8: the event of the first registration lives on beside that of the second.
#[test]
fn esi_23_s8_registered_again_and_removed_in_the_middle_of_a_probe_nothing_is_left() {
    let mut subject = Subject::new(ASKED);
    subject.at(60, Event::Due);
    assert_eq!(subject.at(61, Event::Register(ASKED)), Action::Abandon);
    assert_eq!(subject.at(62, Event::Remove), Action::Abandon);
    assert_eq!(subject.at(63, Event::Ended(VOID, ASKED)), Action::Release);
    for event in [
        Event::Due,
        Event::Ended(SILENT, EXPIRES),
        Event::Register(ASKED),
    ] {
        assert_eq!(subject.at(64, event), Action::Nothing);
        assert_eq!(subject.entity.state(), State::Gone);
    }
    // The other way round one is left.
    let mut subject = Subject::new(ASKED);
    subject.at(60, Event::Due);
    subject.at(61, Event::Remove);
    subject.at(62, Event::Register(ASKED));
    assert!(!subject.entity.counts(), "of what was in flight");
    assert_eq!(
        subject.at(66, Event::Ended(SILENT, ASKED)),
        Action::Wait(secs(122))
    );
    assert!(subject.entity.counts());
}

// S4: the whole server waits for the retry.
#[test]
fn esi_24_s4_an_expiry_that_failed_is_tried_again_after_180_s() {
    assert_eq!(RETRY_EXPIRY, Delta::from_secs(180));
    let mut subject = Subject::new(EXPIRES);
    let mut now = 86_400;
    for _ in 0..3 {
        assert_eq!(subject.at(now, Event::Due), Action::Expire(Cause::Period));
        assert_eq!(
            subject.at(now + 5, Event::Expired(false)),
            Action::Wait(secs(now + 185))
        );
        assert_eq!(subject.entity.state(), State::Retrying);
        now += 185;
    }
    assert_eq!(subject.at(now, Event::Remove), Action::Release);
}

#[test]
fn esi_25_a_round_that_could_not_begin_is_due_again_in_an_interval() {
    let mut subject = Subject::new(ASKED);
    subject.at(60, Event::Due);
    assert_eq!(
        subject.at(60, Event::Ended(VOID, ASKED)),
        Action::Wait(secs(120))
    );
    assert_eq!(subject.entity.refreshed(), secs(0));
}

// S12: an entity that answers all the time is not registered any more, says the clock.
#[test]
fn esi_26_s12_an_answer_refreshes_the_registration() {
    let mut subject = Subject::new(ASKED);
    subject.at(60, Event::Due);
    subject.at(66, Event::Ended(answered(61), ASKED));
    assert_eq!(subject.entity.refreshed(), secs(61));
    // Not by an answer from before it registered again.
    subject.at(121, Event::Due);
    subject.at(130, Event::Register(ASKED));
    subject.at(131, Event::Ended(answered(122), ASKED));
    assert_eq!(subject.entity.refreshed(), secs(130));
    assert_eq!(subject.entity.next(), Some(secs(190)));
    // By whatever else is heard of it.
    subject.at(140, Event::Refresh);
    assert_eq!(subject.entity.refreshed(), secs(140));
    assert_eq!(
        subject.entity.next(),
        Some(secs(190)),
        "a query is no answer"
    );
    let mut subject = Subject::new(EXPIRES);
    assert_eq!(subject.at(50, Event::Refresh), Action::Wait(secs(86_450)));
    assert_eq!(subject.entity.refreshed(), secs(50));
}

// S6: wrong beyond 248 days.
#[test]
fn esi_35_s6_long_intervals_do_not_wrap() {
    for interval_s in [21_427_200, 21_427_201, 1 << 31, NO_PERIOD_S] {
        let terms = Terms {
            interval_s,
            ..ASKED
        };
        let mut subject = Subject::new(terms);
        let due = i64::from(interval_s);
        assert_eq!(subject.action, Action::Wait(secs(due)));
        subject.at(due, Event::Due);
        let at = moment(secs(due), &subject.settings);
        let (lingers, _) = subject.entity.step(Event::Ended(SILENT, EXPIRES), &at);
        assert_eq!(lingers.next(), Some(secs(due.saturating_mul(3))));
        let far = Settings {
            removal: Removal::After(255),
            ..subject.settings
        };
        let at = moment(secs(due), &far);
        let (lingers, _) = subject.entity.step(Event::Ended(SILENT, EXPIRES), &at);
        assert!(lingers.next() >= Some(secs(due.saturating_mul(4))));
    }
    // At the end of time.
    let settings = Settings::DEFAULT;
    let at = moment(Instant::NEVER, &settings);
    let (entity, action) = Entity::new(ASKED, Origin::Registered, &at);
    assert_eq!(action, Action::Wait(Instant::NEVER));
    assert_eq!(entity.step(Event::Due, &at).1, Action::Probe);
}

#[test]
fn esi_37_a_round_on_demand_begins_at_once_and_the_interval_after_it() {
    let mut subject = Subject::new(ASKED);
    assert_eq!(subject.at(10, Event::Trigger), Action::Probe);
    assert_eq!(
        subject.at(10, Event::Trigger),
        Action::Nothing,
        "one is in flight"
    );
    assert_eq!(
        subject.at(11, Event::Ended(answered(11), ASKED)),
        Action::Wait(secs(71))
    );
    let mut subject = Subject::new(EXPIRES);
    assert_eq!(
        subject.at(10, Event::Trigger),
        Action::Nothing,
        "there is nobody to ask"
    );
}

#[test]
fn esi_38_states_have_names_of_their_own() {
    let names: std::collections::BTreeSet<_> = rows()
        .map(|(name, _)| row(name).entity.state().as_str())
        .collect();
    assert_eq!(names.len(), 7);
}

// 256 bytes an entity are for all of it.
#[test]
fn an_entity_is_small() {
    assert!(std::mem::size_of::<Entity>() <= 24);
}
