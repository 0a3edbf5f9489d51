// SPDX-License-Identifier: GPL-2.0

//! What a callback is told about its run.

use super::context::monotonic_ns;
use crate::policy::deadline::Instant;
use core::cell::Cell;

/// Decides, when a callback that waited for its lock has it, whether it still is to run.
pub(crate) trait Begin {
    /// `true`: the run begins here. Asked once.
    fn begin(&self) -> bool;
}

/// One run.
pub(crate) struct Firing<'a> {
    /// The deadline it was armed for.
    pub(crate) due: Instant,
    began: Cell<Option<Instant>>,
    /// The run has not begun: the client's lock comes first.
    waiting: Option<&'a dyn Begin>,
}

impl<'a> Firing<'a> {
    /// A run that has begun.
    pub(crate) const fn begun(due: Instant) -> Self {
        Self {
            due,
            began: Cell::new(None),
            waiting: None,
        }
    }

    /// A run that has begun at `began`.
    pub(crate) const fn begun_at(due: Instant, began: Instant) -> Self {
        Self {
            due,
            began: Cell::new(Some(began)),
            waiting: None,
        }
    }

    /// A run that will begin where `begin` says so.
    pub(crate) const fn waiting(due: Instant, begin: &'a dyn Begin) -> Self {
        Self {
            due,
            began: Cell::new(None),
            waiting: Some(begin),
        }
    }

    /// The callback's locks are taken: whether it is to run.
    #[inline(never)]
    pub(crate) fn begin(&self) -> bool {
        self.waiting.is_none_or(Begin::begin)
    }

    /// When the callback was called: the clock is read when this is asked first.
    #[inline(never)]
    pub(crate) fn began(&self) -> Instant {
        let now = self
            .began
            .get()
            .unwrap_or_else(|| Instant::from_nanos(monotonic_ns()));
        self.began.set(Some(now));
        now
    }
}
