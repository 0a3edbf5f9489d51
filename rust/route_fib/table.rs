// SPDX-License-Identifier: GPL-2.0

//! The watched routes of a namespace, in the order of their keys.

use super::{holder::Holder, route::FibRoute};
use crate::{
    policy::rtnl::{Family, Hop, RouteKey, Wanted},
    sys::target::Timed, //
};
use kernel::{
    prelude::*,
    rbtree::{RBTree, RBTreeNode},
    sync::Arc, //
};

/// A shared [`FibRoute`].
pub(super) type Route = Arc<Timed<FibRoute>>;

/// A watched route.
pub(super) struct Watched {
    pub(super) route: Route,
    /// The last listing that had it.
    seen: u64,
    /// In how many listings it was missing since.
    missed: u32,
}

/// A row of the table, made before it is needed.
pub(super) type Row = RBTreeNode<RouteKey, Watched>;

/// What [`Table::next_of`] has found.
pub(super) enum NextOf {
    /// This one.
    Found(RouteKey),
    /// Nothing so far: this is the next key.
    GoOn(RouteKey),
    /// Nothing.
    End,
}

/// How many devices are told apart.
const DEVICES: u32 = 256;

/// The table. A raw lock protects it: rows are allocated before, and dropped after.
pub(super) struct Table {
    rows: RBTree<RouteKey, Watched>,
    of_family: [u64; 2],
    /// How many lead through devices whose number ends like this; some lead elsewhere or nowhere.
    through: [u32; DEVICES as usize],
    elsewhere: u64,
}

impl Table {
    pub(super) fn new() -> Self {
        Self {
            rows: RBTree::new(),
            of_family: [0; 2],
            through: [0; DEVICES as usize],
            elsewhere: 0,
        }
    }

    pub(super) fn row(route: Route) -> Result<Row> {
        let key = *route.key();
        let watched = Watched {
            route,
            seen: 0,
            missed: 0,
        };
        RBTreeNode::new(key, watched, GFP_KERNEL)
    }

    pub(super) fn find(&self, key: &RouteKey) -> Option<&Route> {
        Some(&self.rows.get(key)?.route)
    }

    /// Puts a row in whose key is not there.
    pub(super) fn insert(&mut self, key: &RouteKey, row: Row) {
        self.count(key, true);
        self.rows.insert(row);
    }

    /// Takes the row out that has `key`.
    pub(super) fn remove(&mut self, key: &RouteKey) -> Option<Row> {
        let row = self.rows.remove_node(key)?;
        self.count(key, false);
        Some(row)
    }

    /// Takes any row out.
    pub(super) fn pop(&mut self) -> Option<Row> {
        let key = *self.rows.cursor_front()?.current().0;
        self.remove(&key)
    }

    /// How many are of `family`.
    pub(super) fn of(&self, family: Family) -> u64 {
        self.of_family.get(family.index()).copied().unwrap_or(0)
    }

    /// How many there are.
    pub(super) fn len(&self) -> u64 {
        self.of_family
            .iter()
            .fold(0, |sum, n| sum.saturating_add(*n))
    }

    /// Whether a route may lead through the device `index`. Often right, and never wrong in saying no.
    pub(super) fn leads_through(&self, index: u32) -> bool {
        self.elsewhere > 0 || self.slot(index).is_some_and(|n| *n > 0)
    }

    /// Whether a route is here that one `like` this, added in place of another, may have replaced.
    pub(super) fn may_have_lost(&mut self, like: &RouteKey) -> bool {
        let mut cursor = self.rows.cursor_lower_bound_mut(&like.first_of_seat());
        while let Some(here) = cursor {
            let key = here.current().0;
            if !key.competes_with(like) {
                return false;
            }
            if key != like {
                return true;
            }
            cursor = here.move_next();
        }
        false
    }

    /// Takes the row out that has `key`, if it is watched on behalf of `holder`.
    pub(super) fn remove_of(&mut self, key: &RouteKey, holder: Option<&Holder>) -> Option<Row> {
        self.find(key).filter(|route| route.is_of(holder))?;
        self.remove(key)
    }

    /// Goes over up to `limit` routes from the key `from` on. Answers the first that is watched on behalf of
    /// `holder`, or where to go on, or that this was all.
    pub(super) fn next_of(&mut self, holder: &Holder, from: &RouteKey, limit: usize) -> NextOf {
        let mut left = limit;
        let mut cursor = self.rows.cursor_lower_bound_mut(from);
        while let Some(here) = cursor {
            let (key, watched) = here.current();
            if watched.route.is_of(Some(holder)) {
                return NextOf::Found(*key);
            }
            if left == 0 {
                return NextOf::GoOn(*key);
            }
            left = left.saturating_sub(1);
            cursor = here.move_next();
        }
        NextOf::End
    }

    /// The first route here that is `wanted`, of those that are watched on behalf of `holder`.
    pub(super) fn first(&mut self, wanted: &Wanted, holder: Option<&Holder>) -> Option<RouteKey> {
        let least = RouteKey {
            table: wanted.table,
            prefix: wanted.prefix,
            tos: wanted.tos,
            ..RouteKey::FIRST
        };
        let mut cursor = self.rows.cursor_lower_bound_mut(&least);
        while let Some(here) = cursor {
            let (key, watched) = here.current();
            if wanted.fits(key) && watched.route.is_of(holder) {
                return Some(*key);
            }
            if key.prefix != wanted.prefix || key.table != wanted.table {
                return None;
            }
            cursor = here.move_next();
        }
        None
    }

    /// Listing number `listing` has the route `key`.
    pub(super) fn mark(&mut self, key: &RouteKey, listing: u64) {
        if let Some(watched) = self.rows.get_mut(key) {
            watched.seen = listing;
            watched.missed = 0;
        }
    }

    /// Goes over up to `limit` routes of `family` from the key `from` on, after listing number `listing`:
    /// puts those that count as gone into `gone`, as far as it has room. Answers where to go on, and
    /// whether any is missing that does not count yet.
    pub(super) fn sweep(
        &mut self,
        from: &RouteKey,
        family: Family,
        listing: u64,
        patience: u32,
        limit: usize,
        gone: &mut KVec<RouteKey>,
    ) -> (Option<RouteKey>, bool) {
        let mut doubt = false;
        let mut left = limit;
        let mut cursor = self.rows.cursor_lower_bound_mut(from);
        while let Some(mut here) = cursor {
            let (key, watched) = here.current_mut();
            if left == 0 {
                return (Some(*key), doubt);
            }
            left = left.saturating_sub(1);
            if key.family() == family && watched.seen != listing {
                watched.missed = watched.missed.saturating_add(1);
                if watched.missed < patience {
                    doubt = true;
                } else if gone.push_within_capacity(*key).is_err() {
                    return (Some(*key), doubt);
                }
            }
            cursor = here.move_next();
        }
        (None, doubt)
    }

    /// Up to `rows.capacity()` routes behind the key `after`, or from the first on.
    pub(super) fn read(&mut self, after: Option<&RouteKey>, rows: &mut KVec<Route>) {
        let first = after.unwrap_or(&RouteKey::FIRST);
        let mut cursor = self.rows.cursor_lower_bound_mut(first);
        while let Some(here) = cursor {
            let (key, watched) = here.current();
            if Some(key) != after && rows.push_within_capacity(watched.route.clone()).is_err() {
                return;
            }
            cursor = here.move_next();
        }
    }

    fn slot(&self, index: u32) -> Option<&u32> {
        self.through.get((index & (DEVICES - 1)) as usize)
    }

    fn count(&mut self, key: &RouteKey, more: bool) {
        let add = |n: u64| {
            if more {
                n.saturating_add(1)
            } else {
                n.saturating_sub(1)
            }
        };
        if let Some(n) = self.of_family.get_mut(key.family().index()) {
            *n = add(*n);
        }
        match key.hop {
            Hop::Device { oif, .. } => {
                if let Some(n) = self.through.get_mut((oif & (DEVICES - 1)) as usize) {
                    *n = if more {
                        n.saturating_add(1)
                    } else {
                        n.saturating_sub(1)
                    };
                }
            }
            _ => self.elsewhere = add(self.elsewhere),
        }
    }
}
