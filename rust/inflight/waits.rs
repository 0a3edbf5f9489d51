// SPDX-License-Identifier: GPL-2.0

//! Who waits for which run: to refuse a wait that would close a circle.

use super::Node;
use crate::{
    policy::life::CannotWait,
    sys::{context::Runner, route, wheel::Kept},
};
use kernel::{
    new_mutex,
    prelude::*,
    sync::{Arc, Mutex}, //
};

/// The table of all waits.
#[pin_data]
pub(crate) struct Waits {
    #[pin]
    table: Mutex<KVec<Wait>>,
}

/// A run somebody waits for.
pub(crate) enum Awaited {
    /// Run number so-and-so of a node.
    Node(Arc<Node>, u64),
    /// The present run of an entry.
    Entry(Kept),
    /// The actions of all timers in a queue.
    Flush(route::KeptSeat),
    /// The present run of a route timer.
    Route(route::Kept),
}

impl Awaited {
    /// Who executes that run; `None` when it is over, or cannot wait for anything.
    fn runner(&self) -> Option<Runner> {
        match self {
            Self::Node(node, run) => node.runner_of(*run),
            Self::Entry(kept) => kept.runner().map(Runner::of_task),
            Self::Flush(kept) => kept.runner(),
            Self::Route(kept) => kept.runner(),
        }
    }
}

impl From<Kept> for Awaited {
    fn from(kept: Kept) -> Self {
        Self::Entry(kept)
    }
}

impl From<route::Kept> for Awaited {
    fn from(kept: route::Kept) -> Self {
        Self::Route(kept)
    }
}

struct Wait {
    who: Runner,
    what: Awaited,
}

impl Waits {
    pub(crate) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            table <- new_mutex!(KVec::new()),
        })
    }

    /// `who` is about to wait for a run.
    pub(crate) fn begin(&self, who: Runner, what: Awaited) -> Result<(), CannotWait> {
        let mut table = self.table.lock();
        let mut next = Some(&what);
        // Who executes that run, and which run does that one wait for? No way is longer than the table.
        for _ in 0..=table.len() {
            let Some(runner) = next.and_then(Awaited::runner) else {
                break;
            };
            if runner == who {
                return Err(CannotWait::Deadlock);
            }
            next = table
                .iter()
                .find(|wait| wait.who == runner)
                .map(|wait| &wait.what);
        }
        // Without memory for it the wait goes on, and a circle through it is not seen.
        let _ = table.push(Wait { who, what }, GFP_KERNEL);
        Ok(())
    }

    pub(crate) fn end(&self, who: Runner) {
        self.table.lock().retain(|wait| wait.who != who);
    }
}
