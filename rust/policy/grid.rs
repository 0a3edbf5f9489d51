// SPDX-License-Identifier: GPL-2.0

//! The grid a periodic runs on: its deadlines are `start + n * period`, and nothing else.
//!
//! No deadline is derived from when a callback ran or ended, so there is no drift to correct. A point
//! that had passed before a run could begin is *missed*: it is counted, and not made up for. Of every
//! grid holds: points passed = runs begun + points missed.
//!
//! ```text
//!   points    0         1         2         3         4         5
//!   runs      +----+    +------------------------+    +----+    +--
//!                                 ^ missed  ^ missed
//! ```

#![forbid(unsafe_code)]

use super::deadline::{Delta, Instant};

/// How long it is from one run to the next: [`Period::SHORTEST`] to [`Period::LONGEST`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Period(i64);

/// Why a span is no period.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BadPeriod {
    /// It is zero or negative.
    NotPositive,
    /// It is shorter than [`Period::SHORTEST`].
    TooShort,
    /// It is longer than [`Period::LONGEST`], or was too long to be written down at all.
    TooLong,
}

impl BadPeriod {
    /// What was wrong, for a message to the driver's author.
    pub(crate) const fn what(self) -> &'static str {
        match self {
            Self::NotPositive => "is not positive",
            Self::TooShort => "is shorter than 100 us",
            Self::TooLong => "is longer than 146 years",
        }
    }
}

impl Period {
    /// 100 us.
    pub(crate) const SHORTEST: i64 = 100_000;
    /// 146 years: a sum that saturated on its way here is longer.
    pub(crate) const LONGEST: i64 = i64::MAX / 2;
    /// What illumos counts periods in, and the shortest it has: 10 ms.
    pub(crate) const TICK: i64 = 10_000_000;

    /// The period `span`, to the nanosecond.
    pub(crate) const fn new(span: Delta) -> Result<Self, BadPeriod> {
        let ns = span.as_nanos();
        if ns <= 0 {
            Err(BadPeriod::NotPositive)
        } else if ns < Self::SHORTEST {
            Err(BadPeriod::TooShort)
        } else if ns > Self::LONGEST {
            Err(BadPeriod::TooLong)
        } else {
            Ok(Self(ns))
        }
    }

    /// The period illumos makes of `span`: the next multiple of 10 ms.
    pub(crate) const fn rounded(span: Delta) -> Result<Self, BadPeriod> {
        let ns = span.as_nanos();
        if ns <= 0 {
            return Err(BadPeriod::NotPositive);
        }
        // Not zero, and below i64::MAX / TICK + 2.
        let ticks = (ns - 1) / Self::TICK + 1;
        Self::new(Delta::from_nanos(ticks.saturating_mul(Self::TICK)))
    }

    pub(crate) const fn as_delta(self) -> Delta {
        Delta::from_nanos(self.0)
    }

    /// How many whole periods are in `span`, which is not negative.
    fn in_span(self, span: Delta) -> i64 {
        // A period is not zero; the compiler cannot see that.
        span.as_nanos().checked_div(self.0).unwrap_or(0)
    }

    /// The point `count` periods after `point`.
    fn after(self, point: Instant, count: i64) -> Instant {
        point + Delta::from_nanos(self.0.saturating_mul(count))
    }
}

/// Where a grid begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Start {
    /// One period from now.
    Full,
    /// On the multiples of the period since boot; the first of them after now.
    Aligned,
    /// As `Aligned`, moved by a part of the period that is its own for each number, and such that the
    /// first so many numbers are spread evenly.
    Spread(u64),
}

/// The first point of a grid that is made at `now`.
pub(crate) fn first(start: Start, period: Period, now: Instant) -> Instant {
    let offset = match start {
        Start::Full => return period.after(now, 1),
        Start::Aligned => 0,
        Start::Spread(number) => share(period, number),
    };
    let origin = Instant::from_nanos(offset);
    if now < origin {
        return origin;
    }
    let passed = period.in_span(now.since(origin));
    period.after(origin, passed.saturating_add(1))
}

/// 2^64 divided by the golden ratio: multiples of it, without what overflows, fill a circle as evenly
/// as any sequence does that has no end.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// The part of a period that number `number` is moved by: less than the period.
fn share(period: Period, number: u64) -> i64 {
    let turn = u128::from(number.wrapping_mul(GOLDEN));
    let wide = u128::from(period.0.unsigned_abs()).wrapping_mul(turn) >> 64;
    // Less than the period, so it fits.
    i64::try_from(wide).unwrap_or(0)
}

/// A point of a grid, and how many were missed on the way there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) point: Instant,
    pub(crate) missed: u64,
}

/// Which point a run stands for that was armed for `due` and begins at `now`: the last one that has
/// come.
pub(crate) fn reached(due: Instant, period: Period, now: Instant) -> Step {
    let missed = period.in_span(now.since(due));
    Step {
        point: period.after(due, missed),
        missed: missed.unsigned_abs(),
    }
}

/// The point after `point`, of those that have not passed at `now`.
pub(crate) fn next(point: Instant, period: Period, now: Instant) -> Step {
    // One that comes just now has not passed.
    let passed = Delta::from_nanos(now.since(point).as_nanos().saturating_sub(1));
    let missed = period.in_span(passed).max(0);
    Step {
        point: period.after(point, missed.saturating_add(1)),
        missed: missed.unsigned_abs(),
    }
}
