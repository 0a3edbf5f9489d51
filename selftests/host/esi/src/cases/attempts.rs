// SPDX-License-Identifier: GPL-2.0

//! The attempts of a probe, and the probes of a round.

use crate::policy::{
    deadline::{Delta, Instant},
    esi::{
        attempts::{Attempts, Spacing, Step},
        record::{Record, Verdict},
        round::{Outcome, Probe, Round},
        Coverage, Settings, Threshold,
    },
};
use proptest::prelude::*;

fn at(ms: i64) -> Instant {
    Instant::from_nanos(ms * 1_000_000)
}

fn settings(threshold: u32) -> Settings {
    Settings {
        threshold: Threshold::from_count(threshold),
        ..Settings::DEFAULT
    }
}

fn spacing(threshold: u32, interval_s: i64, in_sequence: u16) -> Spacing {
    Spacing::of(
        &settings(threshold),
        Delta::from_secs(interval_s),
        in_sequence,
    )
}

#[test]
fn attempts_are_two_seconds_apart_unless_the_interval_is_short() {
    let ms = |spacing: Spacing| spacing.apart().as_nanos() / 1_000_000;
    assert_eq!(ms(spacing(3, 180, 1)), 2000);
    assert_eq!(ms(spacing(3, 6, 1)), 2000);
    assert_eq!(ms(spacing(3, 3, 1)), 1000);
    assert_eq!(ms(spacing(10, 4, 1)), 400);
    assert_eq!(ms(spacing(3, 180, 60)), 1000);
    assert_eq!(ms(spacing(3, 180, 0)), 2000);
    // Never no time at all, which would be a burst.
    assert_eq!(spacing(10, 0, u16::MAX).apart(), Delta::from_nanos(1));
    let mut rushed = settings(3);
    rushed.patience = Delta::from_nanos(-5);
    assert_eq!(
        Spacing::of(&rushed, Delta::MAX, 1).apart(),
        Delta::from_nanos(1)
    );
}

#[test]
fn esi_15_a_silent_portal_gets_as_many_attempts_as_the_threshold_says() {
    for threshold in 1..=10 {
        for interval_s in [1, 4, 20, 180, 86_400] {
            let (mut attempts, step) = Attempts::begin(spacing(threshold, interval_s, 1), at(0));
            let mut sent = 0;
            let mut next = step;
            let dead = loop {
                match next {
                    Step::Send(due) | Step::Wait(due) => {
                        sent += u32::from(matches!(next, Step::Send(_)));
                        assert_eq!(u32::from(attempts.made()), sent);
                        let before = Instant::from_nanos(due.as_nanos() - 1);
                        assert_eq!(attempts.due(before), Step::Wait(due), "too early");
                        next = attempts.due(due);
                        if next == Step::Dead {
                            break due;
                        }
                    }
                    Step::Dead => unreachable!(),
                }
            };
            assert_eq!(sent, threshold);
            // It began one interval after the last answer: two in all.
            assert!(
                dead <= at(interval_s * 1000),
                "{threshold} in {interval_s} s: {dead:?}"
            );
        }
    }
}

#[test]
fn esi_16_an_attempt_that_fails_is_one_and_is_tried_again_after_a_second() {
    let (mut attempts, step) = Attempts::begin(spacing(3, 180, 1), at(0));
    assert_eq!(step, Step::Send(at(2000)));
    assert_eq!(attempts.failed(at(5)), Step::Wait(at(1005)));
    // A second failure of the same attempt (the error, then the reset) does not put it off.
    assert_eq!(attempts.failed(at(900)), Step::Wait(at(1005)));
    assert_eq!(attempts.due(at(1004)), Step::Wait(at(1005)));
    assert_eq!(attempts.due(at(1005)), Step::Send(at(3005)));
    // Late in its time it does not get more than that.
    assert_eq!(attempts.failed(at(2500)), Step::Wait(at(3005)));
    assert_eq!(attempts.due(at(3005)), Step::Send(at(5005)));
    // The failure of the last one is no verdict before its time: an earlier one may be answered.
    assert_eq!(attempts.failed(at(3006)), Step::Wait(at(4006)));
    assert_eq!(attempts.due(at(4006)), Step::Dead);
    assert_eq!(attempts.made(), 3);
}

// O1: open-isns drops a client that answers after 1.5 s when attempts are 1 s apart.
#[test]
fn esi_13_an_answer_to_the_first_attempt_counts_after_the_second() {
    let (mut attempts, _) = Attempts::begin(spacing(3, 4, 1), at(10_000));
    let mut record = Record::NEW;
    assert!(matches!(attempts.due(at(11_334)), Step::Send(_)));
    record.probed(&attempts.so_far(), Probe::Answered(at(11_500)));
    assert_eq!(record.verdict, Verdict::Alive);
    assert_eq!((record.probes, record.answered, record.retried), (1, 1, 1));
    assert_eq!((record.attempts, record.round_trip_us), (2, 1_500_000));
}

// A timer that comes late takes from the peer's time to answer.
#[test]
fn a_late_timer_takes_no_time_from_the_peer() {
    let (mut attempts, _) = Attempts::begin(spacing(3, 180, 1), at(0));
    assert_eq!(attempts.due(at(3700)), Step::Send(at(5700)));
}

// The connection was there in time, and who was to ask was not: the peer is dead that was never asked.
#[test]
fn a_late_question_takes_no_time_from_the_peer() {
    let (mut attempts, _) = Attempts::begin(spacing(1, 180, 1), at(0));
    assert_eq!(attempts.asked(at(5)), None);
    assert_eq!(attempts.due(at(1999)), Step::Wait(at(2000)), "as before");
    assert_eq!(attempts.asked(at(1999)), None);
    assert_eq!(attempts.asked(at(2000)), Some(at(4000)));
    assert_eq!(attempts.due(at(3999)), Step::Wait(at(4000)));
    assert_eq!(attempts.made(), 1);
    assert_eq!(attempts.due(at(4000)), Step::Dead);
}

#[test]
fn a_record_keeps_the_last_probe_and_counts_all() {
    let mut record = Record::NEW;
    assert_eq!(record.verdict.as_str(), "unknown");
    let (first, _) = Attempts::begin(spacing(3, 180, 1), at(0));
    record.probed(&first.so_far(), Probe::Answered(at(7)));
    record.probed(&first.so_far(), Probe::Answered(at(3)));
    assert_eq!((record.round_trip_us, record.worst_us), (3000, 7000));
    record.probed(&first.so_far(), Probe::Silent);
    assert_eq!(record.verdict.as_str(), "dead");
    record.probed(&first.so_far(), Probe::Void);
    assert_eq!(record.verdict.as_str(), "void");
    record.fault();
    assert_eq!((record.probes, record.answered), (4, 2));
    assert_eq!((record.retried, record.faults, record.attempts), (0, 1, 1));
    assert_eq!(
        (record.round_trip_us, record.worst_us),
        (3000, 7000),
        "of answers only"
    );
    // At the end of the counters, and of time.
    record.probes = u32::MAX;
    record.faults = u32::MAX;
    record.answered = u32::MAX;
    record.retried = u32::MAX;
    let mut twice = first;
    assert!(matches!(twice.due(at(2000)), Step::Send(_)));
    record.probed(&twice.so_far(), Probe::Answered(Instant::NEVER));
    record.fault();
    assert_eq!((record.probes, record.faults), (u32::MAX, u32::MAX));
    assert_eq!((record.answered, record.retried), (u32::MAX, u32::MAX));
    assert_eq!(record.round_trip_us, u32::MAX);
    assert!(std::mem::size_of::<Record>() <= 28);
}

// S11: only the first portal that answers is looked at.
#[test]
fn s11_every_portal_is_probed_at_once() {
    let mut round = Round::new(Coverage::Every, 3);
    assert_eq!(round.may_start(), 3);
    for left in [2, 1, 0] {
        assert!(round.start());
        assert_eq!(round.may_start(), left);
    }
    assert!(!round.start());
    round.end(Probe::Answered(at(5)));
    assert_eq!(round.outcome(), None);
    round.end(Probe::Silent);
    assert_eq!(round.outcome(), None);
    round.end(Probe::Answered(at(4)));
    let outcome = Outcome {
        answered: Some(at(5)),
        silent: true,
    };
    assert_eq!(round.outcome(), Some(outcome), "the last answer counts");
    assert_eq!(Round::in_sequence(Coverage::Every, 9), 1);
}

#[test]
fn esi_27_any_one_portal_is_enough_when_the_operator_says_so() {
    let mut round = Round::new(Coverage::AnyOne, 4);
    assert_eq!(Round::in_sequence(Coverage::AnyOne, 4), 4);
    assert_eq!(round.may_start(), 1);
    assert!(round.start());
    assert!(!round.start(), "one after the other");
    assert_eq!(round.outcome(), None);
    round.end(Probe::Silent);
    assert_eq!(round.outcome(), None);
    assert!(round.start());
    round.end(Probe::Answered(at(9)));
    let outcome = Outcome {
        answered: Some(at(9)),
        silent: true,
    };
    assert_eq!(
        round.outcome(),
        Some(outcome),
        "the other two are not asked"
    );
    assert!(!round.start());

    let mut round = Round::new(Coverage::AnyOne, 2);
    for _ in 0..2 {
        assert!(round.start());
        round.end(Probe::Void);
    }
    let outcome = Outcome {
        answered: None,
        silent: false,
    };
    assert_eq!(round.outcome(), Some(outcome));
    assert_eq!(Settings::DEFAULT.coverage, Coverage::Every);
}

#[test]
fn a_round_that_is_abandoned_ends_with_what_is_in_flight() {
    for coverage in [Coverage::Every, Coverage::AnyOne] {
        let mut round = Round::new(coverage, 5);
        assert!(round.start());
        round.abandon();
        assert_eq!(round.may_start(), 0);
        assert_eq!(round.outcome(), None);
        round.end(Probe::Void);
        assert!(round.outcome().is_some());
        // Without portals there is nothing to wait for.
        assert!(Round::new(coverage, 0).outcome().is_some());
        // A portal that went before its turn.
        let mut round = Round::new(coverage, 1);
        round.skip();
        assert!(round.outcome().is_some());
        round.skip();
        round.end(Probe::Void);
        assert!(round.outcome().is_some());
    }
}

proptest! {
    #![proptest_config(super::runs(1_000, 1_000_000))]

    // However failures and timers come: no attempt too many, none at the same time as another, and a
    // verdict within the interval if timers are punctual.
    #[test]
    fn attempts_end_in_time(
        threshold in 0u32..20,
        interval_s in 1i64..200,
        in_sequence in 1u16..9,
        failures in prop::collection::vec(prop::option::of(0u64..3000), 0..12),
    ) {
        let spacing = spacing(threshold, interval_s, in_sequence);
        let (mut attempts, mut step) = Attempts::begin(spacing, at(0));
        let mut now = at(0);
        let mut failures = failures.into_iter();
        let mut sent = 1;
        loop {
            let (Step::Send(due) | Step::Wait(due)) = step else { break };
            prop_assert!(due > now);
            if let Some(Some(after)) = failures.next() {
                let when = now + Delta::from_millis(after as i64);
                if when < due {
                    now = when;
                    step = attempts.failed(now);
                    continue;
                }
            }
            now = due;
            step = attempts.due(now);
            sent += i32::from(matches!(step, Step::Send(_)));
        }
        prop_assert_eq!(sent, i32::from(Threshold::from_count(threshold).get()));
        let share = Delta::from_nanos(Delta::from_secs(interval_s).as_nanos() / i64::from(in_sequence));
        prop_assert!(now.since(at(0)) <= share, "{:?} in {:?}", now, share);
    }
}
