// SPDX-License-Identifier: GPL-2.0

//! Instants and durations, in nanoseconds, that never wrap.

#![forbid(unsafe_code)]

/// Nanoseconds in a second.
const NSEC_PER_SEC: i64 = 1_000_000_000;

/// A span of time in nanoseconds; may be zero or negative.
///
/// Constructors and sums saturate at [`Delta::MAX`] (292 years) instead of wrapping. Any context, as for all
/// that is a number.
///
/// # Examples
///
/// ```
/// use softclock::prelude::*;
///
/// assert_eq!(Delta::from_millis(3).as_nanos(), 3_000_000);
/// assert_eq!(Delta::from_secs(i64::MAX), Delta::MAX);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Delta(i64);

impl Delta {
    /// No time at all: "as soon as possible".
    pub const ZERO: Self = Self(0);
    /// The longest span; a deadline that far away never comes.
    pub const MAX: Self = Self(i64::MAX);

    /// A span of `ns` nanoseconds.
    pub const fn from_nanos(ns: i64) -> Self {
        Self(ns)
    }

    /// A span of `us` microseconds.
    pub const fn from_micros(us: i64) -> Self {
        Self(us.saturating_mul(1_000))
    }

    /// A span of `ms` milliseconds.
    pub const fn from_millis(ms: i64) -> Self {
        Self(ms.saturating_mul(1_000_000))
    }

    /// A span of `s` seconds.
    pub const fn from_secs(s: i64) -> Self {
        Self(s.saturating_mul(NSEC_PER_SEC))
    }

    /// The span in nanoseconds.
    pub const fn as_nanos(self) -> i64 {
        self.0
    }
}

/// A point of the monotonic clock: nanoseconds since boot, not counting suspend.
///
/// It is `CLOCK_MONOTONIC`: setting the wall clock does not touch it.
///
/// # Examples
///
/// ```
/// use softclock::prelude::*;
///
/// let soon = softclock::now() + Delta::from_millis(5);
/// assert!(soon - softclock::now() <= Delta::from_millis(5));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Instant(i64);

impl Instant {
    /// Boot. A deadline here is due at once.
    pub const BOOT: Self = Self(0);
    /// The end of time: a deadline here never comes.
    pub const NEVER: Self = Self(i64::MAX);

    /// The instant `ns` nanoseconds after boot; a negative value means boot.
    pub const fn from_nanos(ns: i64) -> Self {
        if ns < 0 {
            Self::BOOT
        } else {
            Self(ns)
        }
    }

    /// What a clock shows that is never negative.
    pub(crate) const fn of_clock(ns: i64) -> Self {
        Self(ns)
    }

    /// Nanoseconds since boot.
    #[inline(always)]
    pub const fn as_nanos(self) -> i64 {
        self.0
    }

    /// How far this instant lies behind `earlier`; zero when it does not.
    pub const fn since(self, earlier: Self) -> Delta {
        if self.0 > earlier.0 {
            // No overflow, and no check for one: both are in 0..=i64::MAX.
            Delta(self.0.wrapping_sub(earlier.0))
        } else {
            Delta::ZERO
        }
    }
}

impl core::ops::Add<Delta> for Instant {
    type Output = Self;

    #[inline(always)]
    fn add(self, delta: Delta) -> Self {
        Self::from_nanos(self.0.saturating_add(delta.0))
    }
}

impl core::ops::Sub for Instant {
    type Output = Delta;

    fn sub(self, other: Self) -> Delta {
        Delta(self.0.saturating_sub(other.0))
    }
}
