// SPDX-License-Identifier: GPL-2.0

//! Intervals: the least of all, defaults, clamps, and chance.

use crate::policy::{
    deadline::Delta,
    esi::{
        jitter::Jitter,
        terms::{Kind, Limits, Terms, Wish, NO_PERIOD_S},
        Threshold,
    },
};
use proptest::prelude::*;

fn asks(interval_s: u32) -> Wish {
    Wish {
        monitored: true,
        interval_s,
    }
}

const UNMONITORED: Wish = Wish {
    monitored: false,
    interval_s: 1,
};

fn inquiry(interval_s: u32) -> Terms {
    Terms {
        kind: Kind::Inquiry,
        interval_s,
    }
}

fn expiry(interval_s: u32) -> Terms {
    Terms {
        kind: Kind::Expiry,
        interval_s,
    }
}

#[test]
fn esi_3_a_portal_that_names_no_interval_has_180_s() {
    assert_eq!(Terms::of(0, [asks(0)]), inquiry(180));
    assert_eq!(Terms::of(0, [asks(0), asks(200)]), inquiry(180));
    assert_eq!(Terms::of(0, [asks(0), asks(170)]), inquiry(170));
    assert_eq!(Limits::DEFAULT.interval(0), 180);
}

#[test]
fn esi_4_the_interval_is_the_least_of_portals_and_period() {
    let portals = [asks(30), asks(60), asks(90)];
    assert_eq!(Terms::of(40, portals), inquiry(30));
    assert_eq!(Terms::of(20, portals), inquiry(20));
    assert_eq!(Terms::of(0, [asks(90), UNMONITORED, asks(60)]), inquiry(60));
}

#[test]
fn esi_5_without_a_monitored_portal_there_is_the_period() {
    assert_eq!(Terms::of(86_400, []), expiry(86_400));
    assert_eq!(
        Terms::of(86_400, [UNMONITORED, UNMONITORED]),
        expiry(86_400)
    );
}

#[test]
fn esi_6_without_portal_and_period_there_is_nearly_no_end() {
    assert_eq!(Terms::of(0, []), expiry(NO_PERIOD_S));
    assert_eq!(NO_PERIOD_S, 0xffff_fffe);
    assert_eq!(
        expiry(NO_PERIOD_S).interval(),
        Delta::from_secs(0xffff_fffe)
    );
    assert_eq!(Terms::of(0, [asks(u32::MAX)]), inquiry(0xffff_fffe));
}

#[test]
fn what_is_asked_for_is_granted_within_limits() {
    let isnsd = Limits::DEFAULT;
    for (asked, granted) in [
        (1, 20),
        (19, 20),
        (20, 20),
        (86_400, 86_400),
        (86_401, 86_400),
    ] {
        assert_eq!(isnsd.interval(asked), granted);
    }
    assert_eq!(isnsd.interval(u32::MAX), 86_400);
    for (asked, granted) in [(0, 0), (1, 86_400), (86_400, 86_400), (86_401, 86_401)] {
        assert_eq!(isnsd.period(asked), granted);
    }
    let own = Limits::new(1, 4, 2).unwrap();
    assert_eq!(
        (own.interval(0), own.interval(1), own.interval(9)),
        (4, 1, 4)
    );
    assert_eq!((own.period(0), own.period(1), own.period(9)), (0, 2, 9));
    assert_eq!(Limits::new(0, 4, 0), None);
    assert_eq!(Limits::new(5, 4, 0), None);
    assert!(Limits::new(4, 4, 0).is_some());
}

#[test]
fn esi_17_the_threshold_is_1_to_10_and_3_when_none_is_given() {
    for (count, want) in [
        (0, 3),
        (1, 1),
        (2, 2),
        (9, 9),
        (10, 10),
        (11, 10),
        (255, 10),
        (256, 10),
    ] {
        assert_eq!(Threshold::from_count(count).get(), want);
    }
    assert_eq!(Threshold::from_count(u32::MAX).get(), 10);
    assert_eq!(Threshold::DEFAULT.get(), 3);
    assert_eq!(Threshold::MAX.get(), 10);
}

// S12: all that were loaded together are probed together, for ever.
#[test]
fn esi_2_s12_the_first_probes_are_spread_over_the_interval() {
    let interval = Delta::from_secs(180);
    let nanos = interval.as_nanos();
    for jitter in [Jitter::AtLoad, Jitter::Always] {
        assert_eq!(jitter.first(interval, 0).as_nanos(), 1);
        assert_eq!(jitter.first(interval, u64::MAX).as_nanos(), nanos);
        assert_eq!(jitter.first(interval, 1 << 63).as_nanos(), nanos / 2 + 1);
    }
    assert_eq!(Jitter::Never.first(interval, 1), interval);

    // A thousand, in ten parts of the interval.
    let mut random = super::random::Random::new(2);
    let mut parts = [0; 10];
    for _ in 0..1000 {
        let first = Jitter::AtLoad.first(interval, random.next()).as_nanos();
        parts[usize::try_from((first - 1) * 10 / nanos).unwrap()] += 1;
    }
    assert!(parts.iter().all(|n| (60..=140).contains(n)), "{parts:?}");
}

#[test]
fn s12_later_probes_come_up_to_an_eighth_sooner_on_demand() {
    let interval = Delta::from_secs(8);
    for jitter in [Jitter::Never, Jitter::AtLoad] {
        assert_eq!(jitter.next(interval, 5), interval);
    }
    let nanos = |random| Jitter::Always.next(interval, random).as_nanos();
    assert_eq!(nanos(0), 8_000_000_000 - 1);
    assert_eq!(nanos(u64::MAX), 7_000_000_000);
    assert_eq!(nanos(1 << 63), 7_500_000_000 - 1);
}

// Numbers that are not drawn where they count: entities that were to be spread stay in step (S12).
#[test]
fn s12_numbers_are_drawn_where_they_are_looked_at() {
    let interval = Delta::from_secs(180);
    for jitter in [Jitter::Never, Jitter::AtLoad, Jitter::Always] {
        let counts = |f: fn(Jitter, Delta, u64) -> Delta| {
            f(jitter, interval, 0) != f(jitter, interval, u64::MAX)
        };
        assert_eq!(jitter.draws(true), counts(Jitter::first), "{jitter:?}");
        assert_eq!(jitter.draws(false), counts(Jitter::next), "{jitter:?}");
    }
}

proptest! {
    #![proptest_config(super::runs(1_000, 1_000_000))]

    // Chance makes nobody wait longer, and nobody be asked all the time.
    #[test]
    fn chance_only_shortens(s in 0i64..=0xffff_ffff, random: u64) {
        let interval = Delta::from_secs(s);
        for jitter in [Jitter::Never, Jitter::AtLoad, Jitter::Always] {
            let first = jitter.first(interval, random);
            prop_assert!(first <= interval);
            prop_assert!(first > Delta::ZERO || s == 0);
            let next = jitter.next(interval, random);
            prop_assert!(next <= interval);
            prop_assert!(next.as_nanos() >= interval.as_nanos() / 8 * 7);
        }
    }

    #[test]
    fn chance_takes_any_span(nanos: i64, random: u64) {
        let span = Delta::from_nanos(nanos);
        prop_assert!(Jitter::AtLoad.first(span, random) <= span.max(Delta::ZERO));
        Jitter::Always.next(span, random);
    }

    #[test]
    fn the_order_of_portals_does_not_matter(
        period: u32,
        mut portals in prop::collection::vec((any::<bool>(), any::<u32>()), 0..6),
    ) {
        let terms = |portals: &[(bool, u32)]| Terms::of(
            period,
            portals.iter().map(|&(monitored, interval_s)| Wish { monitored, interval_s }),
        );
        let forward = terms(&portals);
        portals.reverse();
        prop_assert_eq!(forward, terms(&portals));
        prop_assert!(forward.interval_s >= 1);
        // Nobody's wish is exceeded.
        for (monitored, interval_s) in portals {
            if monitored && interval_s != 0 {
                prop_assert!(forward.interval_s <= interval_s);
            }
        }
    }
}
