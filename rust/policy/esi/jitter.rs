// SPDX-License-Identifier: GPL-2.0

//! Keeping entities from being probed all at the same time.
//!
//! Random numbers come from outside. They move a probe to an earlier time only: nobody waits longer
//! than his interval.

#![forbid(unsafe_code)]

use crate::policy::deadline::Delta;

/// When intervals are cut short at random.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Jitter {
    /// Never.
    Never,
    /// The first interval of entities that are loaded in bulk (isnsd). The default.
    AtLoad,
    /// That one, and every later one by up to an eighth: entities that were in step do not stay so.
    Always,
}

impl Jitter {
    /// The word shown in debugfs, and typed by operators.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Never => "never",
            Self::AtLoad => "load",
            Self::Always => "always",
        }
    }

    /// Whether a number is drawn for an interval: [`first`](Self::first) and [`next`](Self::next) look at
    /// none otherwise.
    pub(crate) const fn draws(self, first: bool) -> bool {
        match self {
            Self::Never => false,
            Self::AtLoad => first,
            Self::Always => true,
        }
    }

    /// How long after it was loaded an entity is first probed: in `(0, interval]`, each nanosecond
    /// of it as likely as any other.
    pub(crate) fn first(self, interval: Delta, random: u64) -> Delta {
        match self {
            Self::Never => interval,
            Self::AtLoad | Self::Always => part_of(interval, random),
        }
    }

    /// How long after the last response, or its registration, it is probed next.
    pub(crate) fn next(self, interval: Delta, random: u64) -> Delta {
        match self {
            Self::Never | Self::AtLoad => interval,
            Self::Always => {
                let most = Delta::from_nanos(interval.as_nanos() >> 3);
                let sooner = part_of(most, random).as_nanos();
                Delta::from_nanos(interval.as_nanos().saturating_sub(sooner))
            }
        }
    }
}

/// A random part of `span`, from one nanosecond to all of it. Nothing of a span that is nothing.
fn part_of(span: Delta, random: u64) -> Delta {
    let wide = u128::from(span.as_nanos().max(0).unsigned_abs());
    // The product of two 64-bit numbers, less than 2^127: nothing overflows, and its upper half is
    // less than `span`.
    let below = wide.saturating_mul(u128::from(random)) >> 64;
    let part = below.saturating_add(1).min(wide);
    Delta::from_nanos(i64::try_from(part).unwrap_or(i64::MAX))
}
