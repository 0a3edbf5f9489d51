// SPDX-License-Identifier: GPL-2.0

//! How many probes are started, and when: a window of probes in flight, filled a few at a time.
//!
//! Starting a probe costs far more than handling its answer. A worker that starts all it may before
//! it looks at answers makes every answer wait for every start. So each pass over its work handles
//! what has happened first, and then starts [`Window::PER_PASS`] probes at most; what is still to be
//! started then waits for the next pass, which comes at once.

#![forbid(unsafe_code)]

use crate::policy::deadline::{Delta, Instant};

/// The probes in flight, and how many there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Window {
    limit: u16,
    flying: u16,
}

/// Starts that are left in one pass.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Pass(u16);

/// What a worker does after a pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Then {
    /// Another pass at once: more can be started.
    Again,
    /// Nothing until a probe ends: the window is full.
    WhenOneEnds,
    /// Nothing until something happens.
    Rest,
}

impl Window {
    /// Probes in flight, unless the operator says otherwise.
    pub(crate) const DEFAULT: u16 = 1024;
    /// The most there can be: with more, transaction ids could not be kept apart
    /// ([`Xids`](super::xids::Xids)).
    pub(crate) const MAX: u16 = 16_384;
    /// Probes started in one pass.
    pub(crate) const PER_PASS: u16 = 64;

    /// An empty window; `limit` is taken to the nearest number of 1 to [`MAX`](Self::MAX).
    pub(crate) fn new(limit: u32) -> Self {
        Self {
            limit: u16::try_from(limit)
                .unwrap_or(Self::MAX)
                .clamp(1, Self::MAX),
            flying: 0,
        }
    }

    /// Changes the limit. Probes in flight beyond it go on to their end.
    pub(crate) fn set_limit(&mut self, limit: u32) {
        self.limit = Self::new(limit).limit;
    }

    /// How many there may be.
    pub(crate) const fn limit(&self) -> u16 {
        self.limit
    }

    /// How many there are.
    pub(crate) const fn flying(&self) -> u16 {
        self.flying
    }

    /// What may be started in a pass that begins now.
    pub(crate) const fn pass(&self) -> Pass {
        Pass(Self::PER_PASS)
    }

    /// A probe is to be started in this pass. `false`: not now.
    #[must_use]
    pub(crate) fn start(&mut self, pass: &mut Pass) -> bool {
        if self.is_full() || pass.0 == 0 {
            return false;
        }
        self.flying = self.flying.saturating_add(1);
        pass.0 = pass.0.saturating_sub(1);
        true
    }

    /// A probe has ended.
    pub(crate) fn end(&mut self) {
        self.flying = self.flying.saturating_sub(1);
    }

    /// After a pass: `waiting`, there are probes to be started.
    pub(crate) const fn then(&self, waiting: bool) -> Then {
        match (waiting, self.is_full()) {
            (false, _) => Then::Rest,
            (true, true) => Then::WhenOneEnds,
            (true, false) => Then::Again,
        }
    }

    const fn is_full(&self) -> bool {
        self.flying >= self.limit
    }
}

/// How punctual the starts were.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Punctual {
    /// Rounds that began no more than [`Punctual::GRACE`] after they were due.
    pub(crate) on_time: u64,
    /// The others.
    pub(crate) late: u64,
    /// The latest of all.
    pub(crate) worst: Delta,
}

impl Punctual {
    /// What counts as on time: the unit in which intervals are given.
    pub(crate) const GRACE: Delta = Delta::from_secs(1);

    /// No rounds.
    pub(crate) const NONE: Self = Self {
        on_time: 0,
        late: 0,
        worst: Delta::ZERO,
    };

    /// A round that was due then began now.
    pub(crate) fn count(&mut self, due: Instant, now: Instant) {
        let late = now.since(due);
        if late <= Self::GRACE {
            self.on_time = self.on_time.saturating_add(1);
        } else {
            self.late = self.late.saturating_add(1);
        }
        self.worst = self.worst.max(late);
    }
}
