// SPDX-License-Identifier: GPL-2.0

//! Finding out what went without a word.

use super::{
    namespace::{Namespace, PATIENCE},
    wire::Wire,
};
use crate::{
    policy::rtnl::{Family, RouteKey},
    sys::{
        context::{breathe, Task},
        net, //
    },
};
use core::sync::atomic::Ordering::Relaxed;
use kernel::prelude::*;

/// How many rows are looked at with the table locked.
const ROWS: usize = 64;

/// What came of a comparison.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Compared {
    /// The table has no route that the kernel has not.
    Settled,
    /// It may have some, because routes have changed meanwhile.
    Unsettled,
    /// The kernel could not list its routes.
    Failed,
}

impl Namespace {
    /// Lists the kernel's routes of `family`, and lets go of those that are not there any more.
    pub(super) fn reconcile(&self, wire: &mut Wire, family: Family, task: &Task) -> Compared {
        if self.table.lock().of(family) == 0 {
            return Compared::Settled;
        }
        // The message comes first, and the change after it.
        net::wait_for_changes(task);
        let before = self.news(family);
        let listing = self.listings.fetch_add(1, Relaxed).wrapping_add(1);
        let listed = wire.list(family, task, |key| self.table.lock().mark(key, listing));
        self.listed();
        if listed.is_err() {
            return Compared::Failed;
        }
        // Whatever changed while the listing went on has been told by now.
        let (_, all) = self.hear(wire, None);
        let quiet = all && !self.is_stale(family) && self.news(family) == before;
        let patience = if quiet { 1 } else { PATIENCE };
        match self.sweep(family, listing, patience, task) {
            // What was not heard yet may be that something was lost.
            Ok(true) if all => Compared::Settled,
            Ok(_) => Compared::Unsettled,
            Err(_) => Compared::Failed,
        }
    }

    /// Lets go of all routes of `family` that were missing often enough. Answers whether none is left of
    /// which that is not certain.
    fn sweep(&self, family: Family, listing: u64, patience: u32, task: &Task) -> Result<bool> {
        let mut gone = KVec::with_capacity(ROWS, GFP_KERNEL)?;
        let mut certain = true;
        let mut from = Some(RouteKey::FIRST);
        while let Some(first) = from {
            let doubt;
            (from, doubt) = self
                .table
                .lock()
                .sweep(&first, family, listing, patience, ROWS, &mut gone);
            certain &= !doubt;
            for key in gone.drain_all() {
                self.is_gone(&key);
            }
            breathe(task);
        }
        Ok(certain)
    }
}
