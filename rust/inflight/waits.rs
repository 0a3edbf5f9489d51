// SPDX-License-Identifier: GPL-2.0

//! Who waits for which run: to refuse a wait that would close a circle.

use super::Node;
use crate::{policy::life::CannotWait, sys::context::Runner};
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

struct Wait {
    who: Runner,
    node: Arc<Node>,
    run: u64,
}

impl Waits {
    pub(crate) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            table <- new_mutex!(KVec::new()),
        })
    }

    /// `who` is about to wait for a run.
    pub(super) fn begin(&self, who: Runner, node: &Arc<Node>, run: u64) -> Result<(), CannotWait> {
        let mut table = self.table.lock();
        let mut next = Some((node, run));
        // Who executes that run, and which run does that one wait for? The table has no circle yet, so
        // this ends.
        while let Some(runner) = next.and_then(|(node, run)| node.runner_of(run)) {
            if runner == who {
                return Err(CannotWait::Deadlock);
            }
            let theirs = table.iter().find(|wait| wait.who == runner);
            next = theirs.map(|wait| (&wait.node, wait.run));
        }
        let wait = Wait {
            who,
            node: node.clone(),
            run,
        };
        // Without memory for it the wait goes on, and a circle through it is not seen.
        let _ = table.push(wait, GFP_KERNEL);
        Ok(())
    }

    pub(super) fn end(&self, who: Runner) {
        self.table.lock().retain(|wait| wait.who != who);
    }
}
