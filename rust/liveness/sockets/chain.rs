// SPDX-License-Identifier: GPL-2.0

//! Questions that wait for their turn.

use crate::liveness::ask::Ask;
use core::mem::ManuallyDrop;
use kernel::{
    alloc::flags::{GFP_NOWAIT, __GFP_NOWARN},
    prelude::*, //
};

/// A question in a chain.
pub(super) struct Link {
    ask: Ask,
    /// Never dropped with the link: a chain is taken apart one by one.
    next: ManuallyDrop<Option<KBox<Link>>>,
}

impl Link {
    /// For a question. Never blocks.
    pub(super) fn new(ask: Ask) -> Result<KBox<Self>> {
        let next = ManuallyDrop::new(None);
        Ok(KBox::new(Self { ask, next }, GFP_NOWAIT | __GFP_NOWARN)?)
    }
}

/// A stack of questions.
#[derive(Default)]
pub(super) struct Chain {
    top: Option<KBox<Link>>,
}

impl Chain {
    pub(super) const fn new() -> Self {
        Self { top: None }
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.top.is_none()
    }

    pub(super) fn push(&mut self, mut link: KBox<Link>) {
        link.next = ManuallyDrop::new(self.top.take());
        self.top = Some(link);
    }

    fn pop_link(&mut self) -> Option<KBox<Link>> {
        let mut link = self.top.take()?;
        self.top = link.next.take();
        Some(link)
    }

    pub(super) fn pop(&mut self) -> Option<Ask> {
        self.pop_link().map(|link| KBox::into_inner(link).ask)
    }

    /// The same the other way round.
    pub(super) fn reversed(mut self) -> Self {
        let mut other = Self::new();
        while let Some(link) = self.pop_link() {
            other.push(link);
        }
        other
    }

    /// These, and `later` after them.
    pub(super) fn followed_by(self, later: Self) -> Self {
        let (mut mine, mut all) = (self.reversed(), later);
        while let Some(link) = mine.pop_link() {
            all.push(link);
        }
        all
    }

    /// Takes those out that `keep` does not want, and gives them to `out`, in order.
    pub(super) fn sift(&mut self, keep: impl Fn(&Ask) -> bool, mut out: impl FnMut(Ask)) {
        let mut kept = Self::new();
        while let Some(link) = self.pop_link() {
            if keep(&link.ask) {
                kept.push(link);
            } else {
                out(KBox::into_inner(link).ask);
            }
        }
        *self = kept.reversed();
    }
}

impl Drop for Chain {
    fn drop(&mut self) {
        // One by one: a chain may be longer than a stack is deep.
        while self.pop_link().is_some() {}
    }
}
