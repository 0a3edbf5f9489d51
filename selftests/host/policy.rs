// SPDX-License-Identifier: GPL-2.0

//! The policy layer, tested on the host: the very files that are compiled into the kernel.

#![allow(dead_code, reason = "what only the kernel uses is not used here")]

#[path = "../../rust/policy"]
mod policy {
    pub(crate) mod command;
    pub(crate) mod deadline;
    pub(crate) mod esi;
    pub(crate) mod grid;
    pub(crate) mod hash;
    pub(crate) mod levels;
    pub(crate) mod life;
    pub(crate) mod name;
    pub(crate) mod route;
    pub(crate) mod rtnl;
    pub(crate) mod text;
    pub(crate) mod word;
}

mod command;
mod grid;
mod hash;
mod liveness;
mod rtnl;

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
                Arm::Refused(_) => false,
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
    use crate::policy::{command::LINE_MAX, text::Line};

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

    /// Fault: a part is taken for the whole, or for another one.
    #[test]
    fn a_part_is_named_after_its_whole() {
        let mut line = Line::record("sockets");
        line.count("strays", 7).part("stray", "xid", 5);
        assert_eq!(shown(&mut line), "sockets strays=7 stray_xid=5\n");
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

    /// Fault: a terminal obeys what somebody has written, or takes it for the end of a line.
    #[test]
    fn what_strangers_write_is_shown_in_printable_characters() {
        for (word, want) in [
            ("dev=eth0", "dev=eth0"),
            ("a~!#%", "a~!#%"),
            ("\u{1b}[2J\u{7}\u{8}\u{7f}\0", r"\x1b[2J\x07\x08\x7f\x00"),
            ("a\rb\u{b}c\u{c}d\ne", r"a\rb\x0bc\x0cd\ne"),
            // The end of a line in other alphabets, and a command of one byte to some terminals.
            ("\u{85}\u{2028}", r"\xc2\x85\xe2\x80\xa8"),
            ("\u{e9}", r"\xc3\xa9"),
            (r"\x1b", r"\\x1b"),
        ] {
            assert_eq!(
                shown(Line::record("#").foreign(word)),
                format!("# {want}\n")
            );
        }
    }

    /// Fault: a long word leaves no room for what is wrong with it.
    #[test]
    fn what_is_said_of_a_long_word_fits_behind_it() {
        for (one, want) in [
            ("w", "ww is no command"),
            ("\u{1b}", r"\x1b... is no command"),
        ] {
            let word = one.repeat(LINE_MAX);
            let line = shown(Line::record("#").foreign(&word).text("is no command"));
            assert!(line.trim_end().ends_with(want), "{line}");
        }
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

mod random {
    /// A small generator: the same numbers in every run.
    pub(crate) struct Random(pub(crate) u64);

    impl Random {
        pub(crate) fn below(&mut self, limit: u64) -> u64 {
            self.0 = self
                .0
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (self.0 >> 17) % limit
        }
    }
}

mod levels {
    use crate::{
        policy::{
            deadline::{Delta, Instant},
            levels::*,
            word::LAST_GRANULE,
        },
        random::Random,
    };
    use std::collections::BTreeMap;

    /// The wheel, with buckets that are plain vectors.
    struct Model {
        visited: u64,
        occupied: Occupied,
        buckets: Vec<Vec<u64>>,
    }

    impl Model {
        fn new(visited: u64) -> Self {
            Self {
                visited,
                occupied: Occupied::NONE,
                buckets: vec![vec![]; BUCKETS],
            }
        }

        fn link(&mut self, granule: u64) {
            let bucket = Bucket::of(granule, self.visited);
            self.occupied.set(bucket);
            self.buckets[bucket.index()].push(granule);
        }

        /// Visits what is due at `now`: which granules, each with when it was visited.
        fn walk(&mut self, now: u64) -> Vec<(u64, u64)> {
            let mut due = vec![];
            while let Some((bucket, granule)) = self.occupied.next(self.visited) {
                if granule > now {
                    break;
                }
                assert!(
                    granule >= self.visited,
                    "the wheel runs backwards: {granule} after {}",
                    self.visited
                );
                self.visited = granule;
                self.occupied.clear(bucket);
                for entry in std::mem::take(&mut self.buckets[bucket.index()]) {
                    if bucket.level() > 0 {
                        self.link(entry);
                        let lower = Bucket::of(entry, self.visited).level() < bucket.level();
                        assert!(lower, "a cascade must go down");
                    } else {
                        due.push((entry, granule));
                    }
                }
            }
            due
        }
    }

    /// Random entries up to 2^`bits` granules ahead, from a wheel at `visited`.
    fn trial(visited: u64, bits: u64, count: u64, seed: u64) {
        let mut random = Random(seed);
        let mut wheel = Model::new(visited);
        let mut want = BTreeMap::new();
        let mut now = visited;
        for _ in 0..count {
            let span = 1 << (random.below(bits) + 1);
            let granule = (wheel.visited + 1 + random.below(span)).min(LAST_GRANULE);
            wheel.link(granule);
            *want.entry(granule).or_insert(0) += 1;
            let step = 1 << (random.below(bits) + 1);
            now = now.max(wheel.visited) + random.below(step) / 4;
            for (granule, at) in wheel.walk(now) {
                assert_eq!(granule, at, "visited early or late");
                let left = want.get_mut(&granule).expect("visited twice");
                *left -= 1;
                if *left == 0 {
                    want.remove(&granule);
                }
            }
            if let Some((first, _)) = want.first_key_value() {
                assert!(*first > now, "{first} was not visited by {now}");
            }
        }
    }

    #[test]
    fn every_granule_is_visited_exactly_when_it_comes() {
        for seed in 0..300 {
            trial(seed * 7919, 30, 400, seed + 1);
            trial(seed, 42, 200, seed);
        }
    }

    #[test]
    fn the_borders_of_the_levels_are_no_borders() {
        for level in 1..LEVELS as u32 {
            for seed in 0..50 {
                trial((1 << (6 * level)) - seed, 20, 100, seed);
            }
        }
    }

    #[test]
    fn an_idle_century_is_a_handful_of_steps() {
        let mut wheel = Model::new(12_345);
        wheel.link(LAST_GRANULE - 7);
        let mut steps = 0;
        while let Some((bucket, granule)) = wheel.occupied.next(wheel.visited) {
            steps += 1;
            wheel.visited = granule;
            wheel.occupied.clear(bucket);
            for entry in std::mem::take(&mut wheel.buckets[bucket.index()]) {
                if bucket.level() > 0 {
                    wheel.link(entry);
                }
            }
        }
        assert!(steps <= LEVELS, "{steps} steps");
        assert_eq!(wheel.visited, LAST_GRANULE - 7);
    }

    #[test]
    fn a_granule_never_begins_before_its_deadline_nor_a_granule_after() {
        for ns in [0, 1, 65_535, 65_536, 65_537, 1 << 40, (1 << 58) + 1] {
            let granule = granule_of(Instant::from_nanos(ns));
            let late = start_of(granule).as_nanos() - ns;
            assert!((0..65_536).contains(&late), "{ns}: {late} ns late");
        }
    }

    #[test]
    fn endless_deadlines_are_in_the_last_granule() {
        for ns in [1 << 59, (1 << 59) + 1, i64::MAX - 1, i64::MAX] {
            assert_eq!(granule_of(Instant::from_nanos(ns)), LAST_GRANULE);
            assert_eq!(
                granule_within(Instant::from_nanos(ns), Delta::MAX),
                LAST_GRANULE
            );
        }
        assert!(start_of(LAST_GRANULE).as_nanos() > 1_000_000_000 * 3600 * 24 * 365 * 18);
    }

    #[test]
    fn a_window_is_kept_and_its_granule_is_the_roundest() {
        let mut random = Random(7);
        for _ in 0..20_000 {
            let bits = random.below(45);
            let due = Instant::from_nanos(random.below(1 << 50) as i64);
            let window = Delta::from_nanos(random.below(1 << bits) as i64 - 5);
            let first = granule_of(due);
            let chosen = granule_within(due, window);
            let end = due.as_nanos() + window.as_nanos();
            assert!(chosen >= first, "early");
            assert!(
                chosen == first || start_of(chosen).as_nanos() <= end,
                "after its window"
            );
            // No granule of the window has more zeros at its end.
            let rounder = 1_u64 << (chosen.trailing_zeros() + 1).min(63);
            let next = first.div_ceil(rounder) * rounder;
            assert!(
                next == chosen || start_of(next).as_nanos() > end.max(start_of(first).as_nanos()),
                "{next:#x} is rounder than {chosen:#x}"
            );
        }
    }

    #[test]
    fn equal_windows_meet() {
        // 100 deadlines spread over 10 ms, each with a window of 10 ms.
        let granules: std::collections::BTreeSet<u64> = (0..100)
            .map(|i| {
                granule_within(
                    Instant::from_nanos(1_000_000_000 + i * 100_000),
                    Delta::from_millis(10),
                )
            })
            .collect();
        assert!(granules.len() <= 4, "{} wake-ups", granules.len());
    }
}

mod route {
    use crate::policy::{
        deadline::{Delta, Instant},
        route::*,
    };
    use std::collections::BTreeMap;

    const STAMPS: [u64; 6] = [0, 1, 12_345, 1 << 40, LAST_STAMP - 1, LAST_STAMP];

    #[test]
    fn a_link_never_takes_a_stamp_again_that_a_timer_had() {
        for now in STAMPS {
            for then in STAMPS {
                let first = Word::NEW.linked(now);
                let again = first.unlinked().linked(then);
                assert!(first.is_linked() && again.is_linked() && !again.is_moved());
                // At the end of time there is nothing later.
                assert!(again.stamp() > first.stamp() || first.stamp() == LAST_STAMP);
                assert!(again.stamp() >= then.min(LAST_STAMP));
                assert!(first != again || first.stamp() == LAST_STAMP);
            }
        }
    }

    #[test]
    fn a_refresh_goes_forward_only_and_says_so() {
        for now in STAMPS {
            for then in STAMPS {
                let word = Word::NEW.linked(now);
                let after = word.refreshed(then);
                assert_eq!(after.stamp(), word.stamp().max(then));
                assert_eq!(after.is_moved(), then > word.stamp());
                assert!(after.is_linked());
                assert_eq!(after.placed().stamp(), after.stamp());
                assert!(!after.placed().is_moved());
            }
        }
    }

    #[test]
    fn the_flags_are_apart_and_the_stamp_keeps_off_them() {
        let word = Word::NEW.bound().linked(LAST_STAMP);
        assert!(word.is_bound() && word.is_linked() && !word.is_running());
        let run = word.begun();
        assert!(run.is_running() && !run.is_linked() && run.is_bound());
        let both = run.linked(7);
        assert!(both.is_running() && both.is_linked());
        let draining = both.draining();
        assert!(draining.is_draining() && draining.is_linked() && draining.is_running());
        let end = draining.ended();
        assert!(!end.is_running() && !end.is_draining() && end.is_linked() && end.is_bound());
        // Busy is what executes, and what somebody waits for still, each by itself.
        assert!(run.is_busy() && draining.is_busy() && !word.is_busy() && !end.is_busy());
        assert_eq!(end.stamp(), LAST_STAMP);
        assert!(end.refreshed(u64::MAX).stamp() == LAST_STAMP);
        assert_eq!(Word::from_bits(end.bits()), end);
        let later = Word::NEW.linked(10).postponed(5);
        assert!(later.stamp() == 11 && later.is_linked() && !later.is_moved());
        assert_eq!(Word::NEW.linked(10).postponed(50).stamp(), 50);
    }

    #[test]
    fn deadlines_saturate_and_negative_timeouts_are_refused() {
        assert_eq!(due(5, Delta::from_nanos(7)), Instant::from_nanos(12));
        assert_eq!(due(LAST_STAMP, Delta::MAX), Instant::NEVER);
        assert_eq!(due(0, Delta::ZERO), Instant::BOOT);
        assert_eq!(timeout_of(Delta::ZERO), Some(Delta::ZERO));
        assert_eq!(timeout_of(Delta::MAX), Some(Delta::MAX));
        assert_eq!(timeout_of(Delta::from_nanos(-1)), None);
    }

    #[test]
    fn what_is_ripe_is_due_and_has_nothing_in_its_way() {
        for stamp in STAMPS {
            for timeout in [0, 1, 7, 12_345, i64::MAX - 1, i64::MAX].map(Delta::from_nanos) {
                for now in [0, 1, 12_345, 12_352, 1 << 40, i64::MAX - 1] {
                    let due = due(stamp, timeout).as_nanos() <= now;
                    let last = last_due(now, timeout);
                    let ripe = |word: Word| last.is_some_and(|last| word.is_ripe(last));
                    let word = Word::from_bits(Word::NEW.bits()).linked(stamp);
                    // A stamp of 0 was given to none: the first is 1.
                    if word.stamp() == stamp {
                        assert_eq!(ripe(word), due, "{stamp} {timeout:?} {now}");
                        assert!(!ripe(word.begun().linked(stamp)));
                        // Its action has returned, and who waits for that is not told yet.
                        let told = word.begun().draining().linked(stamp).bits() - Word::END;
                        let told = Word::from_bits(told);
                        assert!(told.is_busy() && !ripe(told) && !told.drained().is_busy());
                    }
                    let moved = word.refreshed(word.stamp() + 1);
                    assert!(!ripe(moved) || stamp >= LAST_STAMP - 1);
                    assert!(word.is_ripe(u64::MAX));
                }
            }
        }
    }

    #[test]
    fn an_end_takes_the_run_away_and_nothing_else() {
        for word in [Word::NEW.bound(), Word::NEW.linked(5).draining()] {
            let run = word.linked(9).begun();
            let end = Word::from_bits(run.bits() - Word::END);
            assert!(run.is_running() && !end.is_running());
            assert_eq!(end.is_draining(), word.is_draining());
            assert_eq!(end.is_bound(), word.is_bound());
            assert_eq!(end.stamp(), run.stamp());
            // Begun again meanwhile, for another queue: that run goes on.
            let other = end.linked(11).begun().drained();
            assert!(other.is_running() && !other.is_draining());
        }
    }

    fn random(state: &mut u64) -> u64 {
        *state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        *state >> 33
    }

    /// What `sys::route::order` does with lists, with maps.
    #[derive(Default)]
    struct Model {
        buckets: BTreeMap<usize, Vec<u64>>,
    }

    impl Model {
        fn put(&mut self, places: &mut Places, stamp: u64) {
            self.buckets
                .entry(places.put(stamp))
                .or_default()
                .push(stamp);
        }

        /// The smallest, by cascades alone; counts these.
        fn pop(&mut self, places: &mut Places, moves: &mut u64) -> Option<u64> {
            loop {
                let bucket = places.next()?;
                let list = self.buckets.remove(&bucket.index()).unwrap_or_default();
                places.clear(bucket);
                for stamp in &list {
                    assert!(
                        *stamp >= bucket.start,
                        "{stamp} in a bucket from {}",
                        bucket.start
                    );
                }
                if bucket.is_exact() {
                    let mut list = list;
                    assert!(list.iter().all(|stamp| *stamp == list[0]));
                    let first = list.pop();
                    if !list.is_empty() {
                        places.put(list[0]);
                        self.buckets.insert(bucket.index(), list);
                    }
                    if first.is_some() {
                        return first;
                    }
                    continue;
                }
                places.reach(bucket);
                for stamp in list {
                    *moves += 1;
                    self.put(places, stamp);
                }
            }
        }
    }

    #[test]
    fn what_is_put_in_any_order_comes_out_in_order() {
        for seed in 0..50 {
            let (mut state, mut places, mut model) = (seed, Places::NONE, Model::default());
            let (mut pending, mut last, mut moves) = (BTreeMap::new(), 0_u64, 0);
            for step in 0..2_000 {
                if random(&mut state) % 3 > 0 || step < 50 {
                    // From the next nanosecond to many years; never before what came out.
                    let far = random(&mut state) % 55;
                    let stamp = (last + random(&mut state) % (1 << far)).min(LAST_STAMP);
                    model.put(&mut places, stamp);
                    *pending.entry(stamp).or_insert(0) += 1;
                } else if let Some(stamp) = model.pop(&mut places, &mut moves) {
                    let (&first, _) = pending.first_key_value().unwrap();
                    assert_eq!(stamp, first);
                    *pending.get_mut(&first).unwrap() -= 1;
                    pending.retain(|_, count| *count > 0);
                    last = stamp;
                } else {
                    assert!(pending.is_empty());
                }
            }
            // At most one move for each digit of a stamp.
            assert!(moves <= 2_000 * 15);
            while let Some(stamp) = model.pop(&mut places, &mut moves) {
                assert_eq!(
                    pending.first_key_value().map(|(first, _)| *first),
                    Some(stamp)
                );
                *pending.get_mut(&stamp).unwrap() -= 1;
                pending.retain(|_, count| *count > 0);
            }
            assert!(pending.is_empty() && places.is_empty());
        }
    }

    #[test]
    fn every_bucket_is_one() {
        let mut places = Places::NONE;
        for shift in 0..64 {
            assert!(places.put(1 << shift) < BUCKETS);
        }
        assert!(places.put(u64::MAX) < BUCKETS);
        // What is older than the floor is next, not lost.
        let bucket = places.next().unwrap();
        places.reach(bucket);
        let late = places.put(0);
        assert_eq!(places.next().map(|next| next.index()), Some(late));
    }

    #[test]
    fn a_slice_ends_after_a_millisecond_or_many_actions() {
        for cost in [0, 1, 100, 10_000, 300_000, 5_000_000] {
            let (mut now, mut actions) = (1_000, 0_i64);
            let mut reads = 0;
            let mut slice = Slice::new(now, now);
            loop {
                // As many as a batch may have.
                let ran = slice.room().min(16);
                now += cost * i64::from(ran);
                actions += i64::from(ran);
                let goes_on = slice.goes_on(ran, || {
                    reads += 1;
                    now
                });
                if !goes_on {
                    break;
                }
                assert!(actions < 100_000);
            }
            let took = now - 1_000;
            // What it takes too long is its last action.
            assert!(took <= 1_000_000 + cost, "{cost}: {took}");
            assert!(actions <= i64::from(Slice::MOST));
            assert!(
                cost > 100 || reads * 30 < actions,
                "{cost}: {reads} reads, {actions} actions"
            );
        }
    }

    #[test]
    fn a_slice_counts_what_was_done_before() {
        let mut slice = Slice::new(1_000, 951_000);
        assert_eq!(slice.room(), 1);
        assert!(!slice.goes_on(1, || 951_100));
    }

    #[test]
    fn a_slice_goes_on_when_time_stands_still() {
        let mut slice = Slice::new(7, 7);
        let actions = (0..).take_while(|_| slice.goes_on(1, || 7)).count();
        assert_eq!(actions + 1, Slice::MOST as usize);
    }
}
