// SPDX-License-Identifier: GPL-2.0

//! What a registration asks for: which kind of event an entity has, and how often.

#![forbid(unsafe_code)]

use crate::policy::deadline::Delta;

/// The interval of a portal that names none, in seconds.
pub(crate) const DEFAULT_INTERVAL_S: u32 = 180;

/// The period of a registration that names none, in seconds: 136 years. All ones mean infinity on
/// the wire, so this is isnsd's "one second before the end of the world".
pub(crate) const NO_PERIOD_S: u32 = u32::MAX - 1;

/// What happens to an entity when its interval is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Its portals are probed.
    Inquiry,
    /// It has no monitored portal: its registration expires.
    Expiry,
}

/// What a portal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wish {
    /// It names a port at which it wants to be asked.
    pub(crate) monitored: bool,
    /// Seconds; 0 when it does not say.
    pub(crate) interval_s: u32,
}

/// The kind of an entity's event, and its interval.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Terms {
    pub(crate) kind: Kind,
    /// Seconds, 1 at least.
    pub(crate) interval_s: u32,
}

impl Terms {
    /// The terms of an entity with these portals and this registration period, 0 being none. The
    /// interval is the least of them all; a portal that is not monitored does not count.
    pub(crate) fn of(period_s: u32, portals: impl IntoIterator<Item = Wish>) -> Self {
        let none = Self {
            kind: Kind::Expiry,
            interval_s: if period_s == 0 { NO_PERIOD_S } else { period_s },
        };
        portals
            .into_iter()
            .filter(|portal| portal.monitored)
            .fold(none, |terms, portal| Self {
                kind: Kind::Inquiry,
                interval_s: terms.interval_s.min(or_default(portal.interval_s)),
            })
    }

    /// The interval as a span.
    pub(crate) fn interval(self) -> Delta {
        Delta::from_secs(self.interval_s.into())
    }
}

const fn or_default(interval_s: u32) -> u32 {
    if interval_s == 0 {
        DEFAULT_INTERVAL_S
    } else {
        interval_s
    }
}

/// What a server grants to those who register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    least_s: u32,
    most_s: u32,
    least_period_s: u32,
}

impl Limits {
    /// Whatever is asked for.
    pub(crate) const NONE: Self = Self {
        least_s: 1,
        most_s: u32::MAX,
        least_period_s: 1,
    };

    /// isnsd's: 20 s to a day, and a day at least.
    pub(crate) const DEFAULT: Self = Self {
        least_s: 20,
        most_s: 86_400,
        least_period_s: 86_400,
    };

    /// Limits of an operator's choice, in seconds. `None`: the least interval is 0 or above the most.
    pub(crate) const fn new(least_s: u32, most_s: u32, least_period_s: u32) -> Option<Self> {
        if least_s == 0 || least_s > most_s {
            return None;
        }
        Some(Self {
            least_s,
            most_s,
            least_period_s,
        })
    }

    /// The interval that is granted to a portal, in seconds, when it asks for this one; 0 is the
    /// default. A server that grants another one says so in its response (RFC 4171, 6.3.4).
    pub(crate) fn interval(self, asked_s: u32) -> u32 {
        or_default(asked_s).max(self.least_s).min(self.most_s)
    }

    /// The registration period that is granted to an entity, in seconds; 0 is none.
    pub(crate) fn period(self, asked_s: u32) -> u32 {
        if asked_s == 0 {
            0
        } else {
            asked_s.max(self.least_period_s)
        }
    }
}
