// SPDX-License-Identifier: GPL-2.0

//! The grids of periodics, against plain arithmetic in wider numbers.

use crate::{
    policy::{
        deadline::{Delta, Instant},
        grid::*,
    },
    random::Random,
};

const US: i64 = 1_000;
const MS: i64 = 1_000 * US;
const NEVER: i64 = i64::MAX;

fn period(ns: i64) -> Period {
    Period::new(Delta::from_nanos(ns)).unwrap()
}

fn at(ns: i64) -> Instant {
    Instant::from_nanos(ns)
}

/// Spans around every border there is.
fn spans() -> Vec<i64> {
    let borders = [
        0,
        Period::SHORTEST,
        Period::TICK,
        2 * Period::TICK,
        1_000 * Period::TICK,
        Period::LONGEST,
        Period::LONGEST / Period::TICK * Period::TICK,
        i64::MAX - 1,
        i64::MIN + 1,
    ];
    let around = |border: i64| [border - 1, border, border + 1];
    borders.into_iter().flat_map(around).collect()
}

/// Periods and instants of every size, and instants around the points of their grids.
fn trials() -> Vec<(i64, i64, i64)> {
    let mut random = Random(1);
    let mut all = Vec::new();
    for size in 0..46 {
        for _ in 0..200 {
            let ns = Period::SHORTEST + random.below((1 << size) + 1) as i64;
            let (long, many) = (random.below(60), random.below(16));
            let point = random.below(1 << long) as i64;
            let count = random.below(1 << many) as i64;
            for slip in [-1, 0, 1, random.below(ns as u64) as i64] {
                let now = i128::from(point) + i128::from(count) * i128::from(ns) + i128::from(slip);
                all.push((ns, point, now.clamp(0, NEVER as i128 - 1) as i64));
            }
        }
    }
    all
}

#[test]
fn every_span_is_judged() {
    for ns in spans() {
        let want = match ns {
            i64::MIN..=0 => Err(BadPeriod::NotPositive),
            1..=99_999 => Err(BadPeriod::TooShort),
            100_000..=4_611_686_018_427_387_903 => Ok(Delta::from_nanos(ns)),
            _ => Err(BadPeriod::TooLong),
        };
        assert_eq!(
            Period::new(Delta::from_nanos(ns)).map(Period::as_delta),
            want,
            "{ns}"
        );
    }
    // What was too long to be written down.
    assert_eq!(
        Period::new(Delta::from_secs(i64::MAX)),
        Err(BadPeriod::TooLong)
    );
}

#[test]
fn illumos_rounds_up_to_ten_milliseconds() {
    for ns in spans().into_iter().chain([1, 15 * MS, 20 * MS, 25 * MS]) {
        let ticks = (i128::from(ns) + 9_999_999).div_euclid(10_000_000);
        let want = ticks * 10_000_000;
        match Period::rounded(Delta::from_nanos(ns)) {
            Ok(got) => assert_eq!(i128::from(got.as_delta().as_nanos()), want, "{ns}"),
            Err(BadPeriod::NotPositive) => assert!(ns <= 0, "{ns}"),
            Err(BadPeriod::TooLong) => assert!(want > i128::from(Period::LONGEST), "{ns}"),
            Err(BadPeriod::TooShort) => panic!("{ns}: it was to be 10 ms"),
        }
    }
}

#[test]
fn every_refusal_has_words() {
    use BadPeriod::*;
    for why in [NotPositive, TooShort, TooLong] {
        assert!(why.what().starts_with("is "));
    }
}

#[test]
fn a_full_start_is_one_period_away() {
    for (ns, _, now) in trials() {
        let first = first(Start::Full, period(ns), at(now)).as_nanos();
        assert_eq!(
            i128::from(first),
            (i128::from(now) + i128::from(ns)).min(NEVER as i128)
        );
    }
}

#[test]
fn an_aligned_start_is_the_next_multiple_since_boot() {
    for (ns, _, now) in trials() {
        let first = first(Start::Aligned, period(ns), at(now)).as_nanos();
        let want = (i128::from(now / ns) + 1) * i128::from(ns);
        assert_eq!(i128::from(first), want.min(NEVER as i128), "{ns} {now}");
    }
}

#[test]
fn a_spread_start_is_within_a_period_and_its_phase_does_not_depend_on_when_it_is_made() {
    for (index, (ns, other, now)) in trials().into_iter().enumerate() {
        let start = Start::Spread(index as u64);
        let one = first(start, period(ns), at(now)).as_nanos();
        if one == NEVER {
            continue;
        }
        assert!(
            one > now && i128::from(one) <= i128::from(now) + i128::from(ns),
            "{ns} {now}"
        );
        let another = first(start, period(ns), at(other)).as_nanos();
        assert!(
            another == NEVER || (one - another) % ns == 0,
            "{ns} {now} {other}"
        );
    }
}

#[test]
fn a_thousand_equal_periods_are_spread_over_every_part_of_the_period() {
    for from in [0, 1, 77, u64::MAX - 500] {
        let mut tenths = [0; 10];
        let mut phases = Vec::new();
        for number in 0..1_000 {
            let start = Start::Spread(from.wrapping_add(number));
            let phase = first(start, period(10 * MS), at(0)).as_nanos() % (10 * MS);
            tenths[(phase / MS) as usize] += 1;
            phases.push(phase);
        }
        assert!(
            tenths.iter().all(|count| (95..=105).contains(count)),
            "{tenths:?}"
        );
        phases.sort();
        // 10 us would be the mean.
        assert!(phases
            .windows(2)
            .all(|two| (3 * US..30 * US).contains(&(two[1] - two[0]))));
    }
}

#[test]
fn a_run_stands_for_the_last_point_that_has_come() {
    for (ns, due, now) in trials() {
        let step = reached(at(due), period(ns), at(now));
        let missed = (i128::from(now) - i128::from(due)).max(0) / i128::from(ns);
        assert_eq!(i128::from(step.missed), missed, "{ns} {due} {now}");
        assert_eq!(
            i128::from(step.point.as_nanos()),
            i128::from(due) + missed * i128::from(ns)
        );
    }
}

#[test]
fn the_next_point_is_the_first_that_has_not_passed() {
    for (ns, point, now) in trials() {
        let step = next(at(point), period(ns), at(now));
        // By counting, where that is short, and from near the end where it is not.
        let mut missed = (i128::from(now) - i128::from(point)) / i128::from(ns) - 2;
        missed = missed.max(0);
        while i128::from(point) + (missed + 1) * i128::from(ns) < i128::from(now) {
            missed += 1;
        }
        assert_eq!(i128::from(step.missed), missed, "{ns} {point} {now}");
        let want = i128::from(point) + (missed + 1) * i128::from(ns);
        assert_eq!(i128::from(step.point.as_nanos()), want.min(NEVER as i128));
    }
}

#[test]
fn the_manuals_example_of_a_handler_that_takes_two_and_a_half_periods() {
    let ten = period(10 * MS);
    let mut point = at(10 * MS);
    for number in [4, 7, 10, 13] {
        let step = next(point, ten, point + Delta::from_millis(25));
        assert_eq!((step.point, step.missed), (at(number * 10 * MS), 2));
        point = step.point;
    }
    // And of one that takes 0.9.
    assert_eq!(next(at(0), ten, at(9 * MS)).missed, 0);
    // At the very end of the period the next point has not passed.
    assert_eq!(
        next(at(0), ten, at(10 * MS)),
        Step {
            point: at(10 * MS),
            missed: 0
        }
    );
    assert_eq!(
        next(at(0), ten, at(10 * MS + 1)),
        Step {
            point: at(20 * MS),
            missed: 1
        }
    );
}

/// Whatever the latencies and run times are: every point is on the grid, and each was run for or missed.
#[test]
fn a_million_periods_do_not_drift_and_each_is_accounted_for() {
    let mut random = Random(7);
    for ns in [100 * US, MS, 10 * MS + 1, 1_000 * MS] {
        let start = random.below(1 << 40) as i64;
        let mut due = first(Start::Full, period(ns), at(start));
        let (mut fired, mut missed): (i64, i64) = (0, 0);
        while fired + missed < 1_000_000 {
            // Mostly short; now and then many periods.
            let mut some = || match random.below(50) {
                0 => random.below(20 * ns as u64) as i64,
                _ => random.below(ns as u64 / 2) as i64,
            };
            let (late, took) = (some(), some());
            let began = due + Delta::from_nanos(late);
            let run = reached(due, period(ns), began);
            assert!(run.point <= began && (began - run.point).as_nanos() < ns);
            missed += run.missed as i64;
            fired += 1;
            assert_eq!(run.point.as_nanos(), start + (fired + missed) * ns);
            let ended = began + Delta::from_nanos(took);
            let step = next(run.point, period(ns), ended);
            assert!(step.point >= ended && step.point > run.point);
            missed += step.missed as i64;
            due = step.point;
        }
        assert!(missed > 10_000);
    }
}

#[test]
fn a_point_beyond_the_end_of_time_never_comes() {
    let longest = period(Period::LONGEST);
    let late = at(NEVER - 1);
    assert_eq!(first(Start::Full, longest, late), Instant::NEVER);
    assert_eq!(first(Start::Aligned, longest, late), Instant::NEVER);
    assert_eq!(next(late, longest, late).point, Instant::NEVER);
    assert_eq!(reached(Instant::NEVER, longest, late).missed, 0);
}
