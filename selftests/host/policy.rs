// SPDX-License-Identifier: GPL-2.0

//! The policy layer, tested on the host: the very files that are compiled into the kernel.

// What only the kernel uses is not used here.
#![allow(dead_code)]

#[path = "../../rust/policy"]
mod policy {
    pub(crate) mod deadline;
    pub(crate) mod life;
    pub(crate) mod name;
    pub(crate) mod text;
}

mod deadline {
    use crate::policy::deadline::{Delta, Instant};

    const EDGES: [i64; 7] = [i64::MIN, -1, 0, 1, 1_000_000_007, i64::MAX - 1, i64::MAX];

    #[test]
    fn constructors_saturate() {
        for n in EDGES {
            let wide = i128::from(n);
            let clamp = |x: i128| x.clamp(i64::MIN.into(), i64::MAX.into()) as i64;
            assert_eq!(Delta::from_nanos(n).as_nanos(), n);
            assert_eq!(Delta::from_micros(n).as_nanos(), clamp(wide * 1_000));
            assert_eq!(Delta::from_millis(n).as_nanos(), clamp(wide * 1_000_000));
            assert_eq!(Delta::from_secs(n).as_nanos(), clamp(wide * 1_000_000_000));
        }
    }

    #[test]
    fn sums_stay_between_boot_and_never() {
        for a in EDGES {
            for b in EDGES {
                let sum = Instant::from_nanos(a) + Delta::from_nanos(b);
                let exact = i128::from(a.max(0)) + i128::from(b);
                assert_eq!(i128::from(sum.as_nanos()), exact.clamp(0, i64::MAX.into()));
            }
        }
    }

    #[test]
    fn differences_are_exact_and_since_is_never_negative() {
        for a in EDGES {
            for b in EDGES {
                let (x, y) = (Instant::from_nanos(a), Instant::from_nanos(b));
                assert_eq!((x - y).as_nanos(), a.max(0) - b.max(0));
                assert_eq!(x.since(y).as_nanos(), (a.max(0) - b.max(0)).max(0));
            }
        }
    }
}

mod life {
    use crate::policy::life::*;
    use std::collections::BTreeSet;

    /// Everything that can happen to a timer.
    #[derive(Clone, Copy, Debug)]
    enum Event {
        Arm,
        Stop(bool),
        Drain(bool),
        Shut,
        Expire,
        Begin,
        End(bool),
    }

    const EVENTS: [Event; 10] = [
        Event::Arm,
        Event::Stop(false),
        Event::Stop(true),
        Event::Drain(false),
        Event::Drain(true),
        Event::Shut,
        Event::Expire,
        Event::Begin,
        Event::End(false),
        Event::End(true),
    ];

    /// Whether the machine around it can produce `event` in this state.
    fn possible(life: Life, event: Event) -> bool {
        match event {
            Event::Stop(own) | Event::Drain(own) => !own || life.is_running(),
            Event::End(_) => life.is_running(),
            // One timer's expiries and runs are serial.
            Event::Begin => !life.is_running(),
            _ => true,
        }
    }

    fn apply(life: &mut Life, event: Event) {
        match event {
            Event::Arm => drop(life.arm()),
            Event::Stop(own) => drop(life.stop(own)),
            Event::Drain(own) => drop(life.drain(own)),
            Event::Shut => life.shut(),
            Event::Expire => drop(life.expire()),
            Event::Begin => drop(life.begin()),
            Event::End(again) => drop(life.end(again)),
        }
    }

    /// All states that any history leads to, each with one history.
    fn reachable() -> Vec<(Life, Vec<Event>)> {
        let mut seen = BTreeSet::new();
        let mut all = vec![(Life::new(), vec![])];
        let mut next = 0;
        seen.insert(format!("{:?}", Life::new()));
        while next < all.len() {
            let (life, history) = all[next].clone();
            next += 1;
            for event in EVENTS.into_iter().filter(|&e| possible(life, e)) {
                let mut after = life;
                apply(&mut after, event);
                if seen.insert(format!("{after:?}")) {
                    let mut longer = history.clone();
                    longer.push(event);
                    all.push((after, longer));
                }
            }
        }
        all
    }

    /// Checks `law` in every reachable state.
    fn always(law: impl Fn(Life) -> bool) {
        for (life, history) in reachable() {
            assert!(law(life), "{life:?} after {history:?}");
        }
    }

    #[test]
    fn a_state_more_or_less_is_a_change_of_the_rules() {
        assert_eq!(reachable().len(), 16);
    }

    #[test]
    fn an_arm_takes_back_a_run_whose_deadline_has_passed() {
        let mut life = Life::new();
        life.arm();
        life.expire();
        assert_eq!(life.arm(), Arm::Replaced);
        assert!(!life.begin());
    }

    #[test]
    fn an_arm_ends_what_an_earlier_stop_said_of_the_run() {
        let mut life = Life::new();
        life.arm();
        life.expire();
        life.begin();
        life.stop(false);
        life.arm();
        life.stop(true);
        assert!(life.end(true).rearm);
    }

    #[test]
    fn a_run_leaves_nothing_behind_for_the_next() {
        let mut life = Life::new();
        for _ in 0..2 {
            life.arm();
            life.expire();
            assert!(life.begin());
            life.stop(false);
            life.end(true);
        }
        assert_eq!(life, Life::new());
    }

    #[test]
    fn no_end_re_arms_what_is_shut() {
        always(|mut life| {
            life.shut();
            !life.is_running() || !life.end(true).rearm
        });
    }

    #[test]
    fn an_arm_makes_it_pending_or_says_why_not() {
        always(|before| {
            let mut life = before;
            match life.arm() {
                Arm::New => !before.is_pending() && life.is_armed(),
                Arm::Replaced => before.is_pending() && life.is_armed(),
                Arm::Refused(Refusal::Shutdown) => before.is_shut() && life == before,
                Arm::Refused(Refusal::Draining) => before.is_running() && life == before,
            }
        });
    }

    #[test]
    fn a_stop_leaves_nothing_pending_and_tells_what_was() {
        always(|before| {
            [false, true].into_iter().all(|own| {
                let mut life = before;
                let answer = life.stop(own && before.is_running());
                let told = match answer {
                    Stop::Running => before.is_running(),
                    Stop::Cancelled => !before.is_running() && before.is_pending(),
                    Stop::Idle => !before.is_running() && !before.is_pending(),
                };
                told && !life.is_pending() && life.is_running() == before.is_running()
            })
        });
    }

    #[test]
    fn after_a_stop_from_outside_no_return_value_re_arms() {
        always(|mut life| {
            life.stop(false);
            !life.is_running() || (!life.end(true).rearm && !life.is_pending())
        });
    }

    #[test]
    fn after_its_own_stop_the_return_value_counts() {
        let mut life = Life::new();
        life.arm();
        life.expire();
        life.begin();
        assert_eq!(life.stop(true), Stop::Running);
        assert!(life.end(true).rearm);
    }

    #[test]
    fn a_drain_ends_with_the_run_whatever_the_callback_does() {
        always(|before| {
            if !before.is_running() {
                return true;
            }
            let mut life = before;
            let waits = life.drain(false) == Draining::Wait;
            let refused = matches!(life.arm(), Arm::Refused(_));
            let end = life.end(true);
            waits && refused && end.wake && !end.rearm && !life.is_pending() && !life.is_running()
        });
    }

    #[test]
    fn a_drain_of_what_does_not_run_is_done_at_once() {
        always(|before| {
            let mut life = before;
            before.is_running() || matches!(life.drain(false), Draining::Done(_))
        });
    }

    #[test]
    fn a_drain_by_the_own_callback_never_waits() {
        always(|before| {
            let mut life = before;
            !before.is_running() || life.drain(true) == Draining::Own
        });
    }

    #[test]
    fn shut_is_for_ever() {
        always(|before| {
            let mut shut = before;
            shut.shut();
            EVENTS
                .into_iter()
                .filter(|&e| possible(shut, e))
                .all(|event| {
                    let mut life = shut;
                    apply(&mut life, event);
                    life.is_shut() && matches!(life.arm(), Arm::Refused(Refusal::Shutdown))
                })
        });
    }

    #[test]
    fn only_what_is_owed_runs_and_never_twice_at_once() {
        always(|before| {
            let mut life = before;
            let began = life.begin();
            !began || (before.is_pending() && !before.is_running() && life.is_running())
        });
    }

    #[test]
    fn an_expiry_is_owed_once() {
        always(|before| {
            let mut life = before;
            life.expire() == before.is_armed() && !life.expire()
        });
    }

    #[test]
    fn an_arm_during_the_run_outlives_it() {
        always(|before| {
            let mut life = before;
            if !before.is_running() || !matches!(life.arm(), Arm::New | Arm::Replaced) {
                return true;
            }
            let end = life.end(true);
            life.is_armed() && !end.rearm
        });
    }

    #[test]
    fn every_state_has_a_word() {
        let words: BTreeSet<_> = reachable()
            .iter()
            .map(|(l, _)| l.shown().as_str())
            .collect();
        let all = ["armed", "dispatched", "idle", "rearmed", "running", "shut"];
        assert_eq!(words.into_iter().collect::<Vec<_>>(), all);
    }
}

mod name {
    use crate::policy::name::{BadName, Name};

    #[test]
    fn every_byte_is_judged() {
        for byte in 0..=255_u8 {
            let allowed = byte.is_ascii_alphanumeric() || b"_.:-".contains(&byte);
            let made = Name::new(&[b'a', byte]);
            assert_eq!(made.is_ok(), allowed, "byte {byte}");
        }
    }

    #[test]
    fn every_length_is_judged() {
        for len in 0..=70 {
            let text = vec![b'n'; len];
            match Name::new(&text) {
                Ok(name) => {
                    assert!((1..=31).contains(&len));
                    assert_eq!(name.as_bytes(), text);
                    assert_eq!(name.as_str().len(), len);
                }
                Err(BadName::Empty) => assert_eq!(len, 0),
                Err(BadName::TooLong) => assert!(len > 31),
                Err(BadName::BadByte) => panic!("length {len}"),
            }
        }
    }
}

mod text {
    use crate::policy::text::Line;

    fn shown(line: &mut Line) -> String {
        String::from_utf8(line.end().to_vec()).unwrap()
    }

    #[test]
    fn a_record_is_words_and_numbers() {
        let mut line = Line::record("callout");
        line.count("id", u64::MAX)
            .word("name", "beat")
            .number("in_ns", i64::MIN);
        let want = format!("callout id={} name=beat in_ns={}\n", u64::MAX, i64::MIN);
        assert_eq!(shown(&mut line), want);
    }

    #[test]
    fn numbers_are_decimal() {
        for n in [0, 1, 9, 10, 99, 100, 12_345, u64::MAX / 10, u64::MAX] {
            let mut line = Line::record("r");
            line.count("n", n);
            assert_eq!(shown(&mut line), format!("r n={n}\n"));
        }
    }

    #[test]
    fn a_header_has_format_abi_and_time() {
        assert_eq!(
            shown(&mut Line::header("0123abcd", 7)),
            "format=1 abi=0123abcd now_ns=7\n"
        );
    }

    #[test]
    fn a_line_too_long_is_cut_and_still_ends() {
        for len in 0..2 * Line::MAX {
            let word = "w".repeat(len);
            let mut line = Line::record("r");
            line.word("k", &word);
            let whole = format!("r k={word}\n");
            let line = shown(&mut line);
            assert!(line.ends_with('\n') && line.len() <= Line::MAX);
            assert_eq!(line.matches('\n').count(), 1);
            assert_eq!(line.len(), whole.len().min(Line::MAX));
        }
    }
}
