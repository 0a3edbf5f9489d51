// SPDX-License-Identifier: GPL-2.0

//! What is known of one portal: the last probe, and how many there were.

#![forbid(unsafe_code)]

use super::{attempts::Made, round::Probe};
use crate::policy::deadline::{Delta, Instant};

/// How the last probe of a portal ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// There was none yet.
    Unknown,
    /// It was answered.
    Alive,
    /// It was not.
    Dead,
    /// It could not be made, or was stopped.
    Void,
}

impl Verdict {
    /// The word shown in debugfs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Alive => "alive",
            Self::Dead => "dead",
            Self::Void => "void",
        }
    }
}

/// One portal's history: 28 bytes. Counters stop at their greatest value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    /// Probes that have ended.
    pub(crate) probes: u32,
    /// Those that were answered.
    pub(crate) answered: u32,
    /// Those that were answered by a later attempt than the first, or after it was sent.
    pub(crate) retried: u32,
    /// Answers to its inquiries that were refused.
    pub(crate) faults: u32,
    /// From the first attempt to the answer, of the last probe that was answered, in microseconds.
    pub(crate) round_trip_us: u32,
    /// The longest of all.
    pub(crate) worst_us: u32,
    pub(crate) verdict: Verdict,
    /// Attempts of the last probe.
    pub(crate) attempts: u8,
}

impl Record {
    /// Of a portal that was never probed.
    pub(crate) const NEW: Self = Self {
        probes: 0,
        answered: 0,
        retried: 0,
        faults: 0,
        round_trip_us: 0,
        worst_us: 0,
        verdict: Verdict::Unknown,
        attempts: 0,
    };

    /// A probe has ended.
    pub(crate) fn probed(&mut self, attempts: &Made, probe: Probe) {
        self.probes = self.probes.saturating_add(1);
        self.attempts = attempts.made();
        self.verdict = match probe {
            Probe::Answered(at) => {
                self.alive(attempts, at);
                Verdict::Alive
            }
            Probe::Silent => Verdict::Dead,
            Probe::Void => Verdict::Void,
        };
    }

    /// An answer to one of its inquiries was refused.
    pub(crate) fn fault(&mut self) {
        self.faults = self.faults.saturating_add(1);
    }

    fn alive(&mut self, attempts: &Made, at: Instant) {
        self.answered = self.answered.saturating_add(1);
        if attempts.made() > 1 {
            self.retried = self.retried.saturating_add(1);
        }
        self.round_trip_us = micros(attempts.took(at));
        self.worst_us = self.worst_us.max(self.round_trip_us);
    }
}

fn micros(span: Delta) -> u32 {
    u32::try_from(span.as_nanos() / 1_000).unwrap_or(u32::MAX)
}
