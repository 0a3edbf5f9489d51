// SPDX-License-Identifier: GPL-2.0

//! One round: the probes of one entity's portals, together or one after the other.

#![forbid(unsafe_code)]

use super::Coverage;
use crate::policy::deadline::Instant;

/// How a probe ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Probe {
    /// The portal has answered, at this instant.
    Answered(Instant),
    /// It has not, to any attempt: it is dead.
    Silent,
    /// Nothing is known: we had no memory or no socket, or somebody stopped it.
    Void,
}

/// How a round ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// When a portal has last answered, if one has.
    pub(crate) answered: Option<Instant>,
    /// At least one portal was found dead.
    pub(crate) silent: bool,
}

/// A round in progress.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Round {
    outcome: Outcome,
    /// Portals not probed yet.
    left: u16,
    /// Probes in flight.
    flying: u16,
    coverage: Coverage,
}

impl Round {
    /// Of an entity that has so many monitored portals.
    pub(crate) const fn new(coverage: Coverage, portals: u16) -> Self {
        Self {
            outcome: Outcome {
                answered: None,
                silent: false,
            },
            left: portals,
            flying: 0,
            coverage,
        }
    }

    /// How many more probes may be started now. The window may allow fewer: the rest come later.
    pub(crate) fn may_start(&self) -> u16 {
        match self.coverage {
            Coverage::Every => self.left,
            Coverage::AnyOne if self.flying > 0 || self.outcome.answered.is_some() => 0,
            Coverage::AnyOne => self.left.min(1),
        }
    }

    /// One of those was started. `false`: there was none to start.
    #[must_use]
    pub(crate) fn start(&mut self) -> bool {
        let may = self.may_start() > 0;
        if may {
            self.left = self.left.saturating_sub(1);
            self.flying = self.flying.saturating_add(1);
        }
        may
    }

    /// A portal that was to be probed is not there any more.
    pub(crate) fn skip(&mut self) {
        self.left = self.left.saturating_sub(1);
    }

    /// A probe in flight has ended.
    pub(crate) fn end(&mut self, probe: Probe) {
        self.flying = self.flying.saturating_sub(1);
        match probe {
            Probe::Answered(at) => {
                let last = self.outcome.answered.map_or(at, |earlier| earlier.max(at));
                self.outcome.answered = Some(last);
            }
            Probe::Silent => self.outcome.silent = true,
            Probe::Void => {}
        }
    }

    /// No further probe is to start; those in flight may go on to their end.
    pub(crate) fn abandon(&mut self) {
        self.left = 0;
    }

    /// How it ended, if it has.
    pub(crate) fn outcome(&self) -> Option<Outcome> {
        (self.flying == 0 && self.may_start() == 0).then_some(self.outcome)
    }

    /// Portals that are probed one after the other, for [`Spacing`](super::attempts::Spacing).
    pub(crate) const fn in_sequence(coverage: Coverage, portals: u16) -> u16 {
        match coverage {
            Coverage::Every => 1,
            Coverage::AnyOne => portals,
        }
    }
}
