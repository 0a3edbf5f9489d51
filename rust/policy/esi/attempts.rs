// SPDX-License-Identifier: GPL-2.0

//! The attempts of one probe: when to send, when to send again, when to give up.
//!
//! ```text
//!   sent ---------- sent ---------- sent ---------- dead
//!    0    spacing    1    spacing    2    spacing             threshold 3
//!    |<------------- an answer to any of them: alive ------>|
//! ```
//!
//! An attempt that fails at once (nothing could be sent, the connection was refused or reset) is an
//! attempt all the same, and is followed by the next one after a second, if that is sooner.

#![forbid(unsafe_code)]

use super::{Settings, Threshold};
use crate::policy::deadline::{Delta, Instant};

/// How long after an attempt that failed at once the next one comes.
const AFTER_FAILURE: Delta = Delta::from_secs(1);

/// How many attempts, and how far apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Spacing {
    apart: Delta,
    count: Threshold,
}

impl Spacing {
    /// For one of `in_sequence` portals that are probed one after the other in this interval: all
    /// their attempts fit in it.
    pub(crate) fn of(settings: &Settings, interval: Delta, in_sequence: u16) -> Self {
        let count = settings.threshold;
        let attempts = i64::from(count.get()).saturating_mul(i64::from(in_sequence.max(1)));
        let share = interval.as_nanos().checked_div(attempts).unwrap_or(0);
        Self {
            apart: Delta::from_nanos(settings.patience.as_nanos().min(share).max(1)),
            count,
        }
    }

    /// How many attempts there are at most.
    pub(crate) const fn count(self) -> u8 {
        self.count.get()
    }

    /// From one attempt to the next.
    pub(crate) const fn apart(self) -> Delta {
        self.apart
    }
}

/// What is to be done about a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Make the next attempt: send the same bytes, and look again at this instant.
    Send(Instant),
    /// Nothing, until this instant.
    Wait(Instant),
    /// The portal is dead.
    Dead,
}

/// A probe's attempts so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Attempts {
    began: Instant,
    /// When the present attempt is over.
    due: Instant,
    // The parts of a spacing, which would leave space between itself and what follows.
    apart: Delta,
    count: Threshold,
    made: u8,
}

/// What is said of attempts that are over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Made {
    began: Instant,
    made: u8,
}

impl Made {
    /// How many were made: 1 to the threshold.
    pub(crate) const fn made(&self) -> u8 {
        self.made
    }

    /// From the first attempt until now. When there was only one, this is the round-trip time of its
    /// answer.
    pub(crate) const fn took(&self, now: Instant) -> Delta {
        now.since(self.began)
    }
}

impl Attempts {
    /// The first attempt is made now.
    pub(crate) fn begin(spacing: Spacing, now: Instant) -> (Self, Step) {
        let due = now + spacing.apart;
        let new = Self {
            began: now,
            due,
            apart: spacing.apart,
            count: spacing.count,
            made: 1,
        };
        (new, Step::Send(due))
    }

    /// The present attempt came to nothing before its time was over.
    ///
    /// Answers to earlier ones still count, so even the last one's failure is no verdict yet.
    pub(crate) fn failed(&mut self, now: Instant) -> Step {
        self.due = self.due.min(now + AFTER_FAILURE);
        Step::Wait(self.due)
    }

    /// The question of the present attempt has only now gone out. If its time is over, for somebody is late
    /// who is not the peer, it has its time from now on: until this instant.
    pub(crate) fn asked(&mut self, now: Instant) -> Option<Instant> {
        let late = now >= self.due;
        if late {
            self.due = now + self.apart;
        }
        late.then_some(self.due)
    }

    /// The instant has come, or so it seems: a timer that is too early changes nothing.
    pub(crate) fn due(&mut self, now: Instant) -> Step {
        if now < self.due {
            return Step::Wait(self.due);
        }
        if self.made >= self.count.get() {
            return Step::Dead;
        }
        self.made = self.made.saturating_add(1);
        // From now, not from when it should have been: the peer has its full time to answer.
        self.due = now + self.apart;
        Step::Send(self.due)
    }

    /// How many there are at most.
    pub(crate) const fn count(&self) -> u8 {
        self.count.get()
    }

    /// How many were made: 1 to the threshold.
    pub(crate) const fn made(&self) -> u8 {
        self.made
    }

    /// When the first one was made.
    pub(crate) const fn began_at(&self) -> Instant {
        self.began
    }

    /// When the present attempt is over.
    pub(crate) const fn over_at(&self) -> Instant {
        self.due
    }

    /// What they have come to.
    pub(crate) const fn so_far(&self) -> Made {
        Made {
            began: self.began,
            made: self.made,
        }
    }
}
