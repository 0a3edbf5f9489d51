// SPDX-License-Identifier: GPL-2.0

//! The rules of entity status inquiries: when who is asked, and what follows from answers and silence.
//!
//! An *entity* is registered with some *portals*. A portal that named a port for it is *monitored*:
//! in every interval there is a *round*, in which the entity's monitored portals are *probed*. A
//! probe is a series of *attempts*, each the same inquiry; any answer to any of them ends the probe
//! well. A probe whose attempts all went unanswered ends with the *death* of the portal, and the
//! death of the last one leads to the *expiry* of the entity. An entity without a monitored portal
//! expires when its registration was not refreshed for its registration period.
//!
//! ```text
//!                                    answered, or could not be tried
//!                    +---------------------------------------------------------------+
//!                    v                                                               |
//!   register ---> WAITING ----------------------- due ---------------------------> PROBING
//!      |             |                                                             |  |
//!      |             | last monitored portal removed       last one removed, alive |  | the last one died
//!      |             v                                                             |  v
//!      +------> REGISTERED <-------------------------------------------------------+  LINGERING
//!                    |                                                                   |
//!                    | due                                        due, two intervals later
//!                    +-------------------> EXPIRING <------------------------------------+
//!                                           |  ^  |
//!                                    failed |  |  | done
//!                                           v  |  +---------> GONE
//!                                         RETRYING (180 s)
//! ```
//!
//! * *Registering again*, from any state, is like registering, and forgets that portals died. What is
//!   in flight then, a round or an expiry, ends first and does not count any more.
//! * *Removing* leads to GONE at once, from any state where nothing is in flight; from the other two
//!   as soon as that has ended. Nothing more is done and nothing is told.
//! * While nothing is in flight exactly one deadline is armed; while something is, none is. So there
//!   is no second event that could be lost, or be left over.
//!
//! | | RFC 4171 | isnsd | here |
//! |---|---|---|---|
//! | interval | the portal's (6.3.4) | the least of all portals' and the registration period | the same |
//! | runs from | the last response (6.3.4) | the end of the round | the last response |
//! | attempts | within two intervals | 2 s each, as many as the threshold says | that, squeezed into one interval |
//! | several portals | each (2.9.2), or any (6.3.5) | until one answers | each; the other [`Coverage`] on demand |
//! | last portal dead | entity removed (5.6.5.13), after two intervals (6.3.4) | three | two; see [`Removal`] |
//! | an answer refreshes the registration | yes (6.2.6) | no | yes |
//!
//! An inquiry goes out one interval after the last response, and all attempts come within one more:
//! two intervals in all, however the RFC's words are read.
//!
//! # How the parts fit
//!
//! ```text
//!   entity::Entity    what to do with an entity, and when     24 bytes, idle or not
//!   record::Record    what is known of a portal               28 bytes, idle or not
//!   round::Round      which portals are to be probed          while a round is in flight
//!   attempts::Attempts, pdu::reader::Reader                   in the slot of a probe in flight
//!   pace::Window, xids::Xids                                  one each for all probes
//! ```
//!
//! [`Probe`](entity::Action::Probe) makes a [`Round`](round::Round); each portal that
//! [`may_start`](round::Round::may_start) and for which the [`Window`](pace::Window) has a place gets
//! a slot, an id and [`Attempts`](attempts::Attempts), which say when to send and when to give up.
//! What comes in is found by its id and held against what the slot
//! [expects](super::pdu::inquiry::Expected). The end of a probe goes to the record and to the round;
//! a death is told, and the portal taken away, only while the entity's probe still
//! [`counts`](entity::Entity::counts). The end of the round goes to the entity, with the
//! [`Terms`](terms::Terms) of the portals that are left. `selftests/host/esi` has a server that does
//! this with simulated clients.

#![forbid(unsafe_code)]

pub(crate) mod attempts;
pub(crate) mod entity;
pub(crate) mod jitter;
pub(crate) mod pace;
pub(crate) mod record;
pub(crate) mod round;
pub(crate) mod terms;
pub(crate) mod xids;

use self::jitter::Jitter;
use super::deadline::Delta;

/// An expiry that failed is tried again after this long.
pub(crate) const RETRY_EXPIRY: Delta = Delta::from_secs(180);

/// How many attempts in a row go unanswered before a portal is dead: 1 to 10.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Threshold(u8);

impl Threshold {
    /// What isnsd and open-isns have.
    pub(crate) const DEFAULT: Self = Self(3);
    /// The most there can be.
    pub(crate) const MAX: Self = Self(10);

    /// isnsd's reading of `ESI_retry_threshold_count`: 0 is the default, and above 10 is 10.
    pub(crate) fn from_count(count: u32) -> Self {
        match u8::try_from(count) {
            Ok(0) => Self::DEFAULT,
            Ok(count) if count <= Self::MAX.0 => Self(count),
            _ => Self::MAX,
        }
    }

    /// The number of attempts.
    pub(crate) const fn get(self) -> u8 {
        self.0
    }
}

/// Which of an entity's portals a round asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coverage {
    /// Each of them, at once (RFC 4171, 2.9.2): the default. A dead second path is noticed.
    Every,
    /// One after the other, until one answers (RFC 4171, 6.3.5; isnsd). Those after it are not asked,
    /// those before it are dead.
    AnyOne,
}

impl Coverage {
    /// The word shown in debugfs, and typed by operators.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Every => "every",
            Self::AnyOne => "any",
        }
    }
}

/// When an entity expires whose last portal has died.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Removal {
    /// At once (RFC 4171, 5.6.5.13; open-isns).
    AtOnce,
    /// After so many more of its intervals without a registration. 2 is the default (RFC 4171, 6.3.4);
    /// 3 is how long isnsd takes, which does nothing for the first. 0 is at once.
    After(u8),
}

/// What an operator can choose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Settings {
    pub(crate) threshold: Threshold,
    /// How long an attempt waits for its answer before the next one, at most.
    pub(crate) patience: Delta,
    pub(crate) jitter: Jitter,
    pub(crate) coverage: Coverage,
    pub(crate) removal: Removal,
}

impl Settings {
    /// What isnsd does, except that every portal is asked.
    pub(crate) const DEFAULT: Self = Self {
        threshold: Threshold::DEFAULT,
        patience: Delta::from_secs(2),
        jitter: Jitter::AtLoad,
        coverage: Coverage::Every,
        removal: Removal::After(2),
    };
}
