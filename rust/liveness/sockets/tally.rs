// SPDX-License-Identifier: GPL-2.0

//! What a room counts. All but `begun` is written by its worker alone.

use crate::{
    liveness::ask::Counts,
    policy::pdu::Fault, //
};
use kernel::sync::atomic::{Atomic, Relaxed};

/// A number that grows.
pub(super) struct Count(Atomic<u64>);

impl Count {
    const fn new() -> Self {
        Self(Atomic::new(0))
    }

    /// One more, by the worker.
    pub(super) fn bump(&self) {
        self.0.store(self.get().wrapping_add(1), Relaxed);
    }

    /// Some more, by the worker.
    pub(super) fn bump_by(&self, more: u32) {
        self.0.store(self.get().wrapping_add(more.into()), Relaxed);
    }

    /// One more, by anybody.
    pub(super) fn add(&self) {
        self.0.fetch_add(1, Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// The numbers of [`Counts`].
pub(super) struct Tally {
    pub(super) begun: Count,
    pub(super) started: Count,
    pub(super) attempts: Count,
    pub(super) answered: Count,
    pub(super) silent: Count,
    /// Void after they were started, and before.
    pub(super) void: Count,
    pub(super) unstarted: Count,
    pub(super) failed: Count,
    pub(super) dropped: Count,
    strays: [Count; Fault::KINDS],
}

impl Tally {
    pub(super) const fn new() -> Self {
        Self {
            begun: Count::new(),
            started: Count::new(),
            attempts: Count::new(),
            answered: Count::new(),
            silent: Count::new(),
            void: Count::new(),
            unstarted: Count::new(),
            failed: Count::new(),
            dropped: Count::new(),
            strays: [const { Count::new() }; Fault::KINDS],
        }
    }

    /// Something came in that is no answer.
    pub(super) fn stray(&self, fault: Fault) {
        if let Some(count) = self.strays.get(fault.index()) {
            count.bump();
        }
    }

    pub(super) fn counts(&self, window: u32) -> Counts {
        let (begun, started, unstarted) =
            (self.begun.get(), self.started.get(), self.unstarted.get());
        let (answered, silent, void) = (self.answered.get(), self.silent.get(), self.void.get());
        let over = answered.wrapping_add(silent).wrapping_add(void);
        Counts {
            begun,
            attempts: self.attempts.get(),
            answered,
            silent,
            void: void.wrapping_add(unstarted),
            failed: self.failed.get(),
            dropped: self.dropped.get(),
            strays: self.strays.each_ref().map(Count::get),
            in_flight: started.saturating_sub(over),
            waiting: begun.saturating_sub(started.wrapping_add(unstarted)),
            window: window.into(),
        }
    }
}
