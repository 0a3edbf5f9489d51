// SPDX-License-Identifier: GPL-2.0

//! What entries share: their kind and name, and their client.

use crate::{
    policy::{name::Name, place::Place},
    sys::{module::ModuleName, roster::Roster, target::Ops, wait},
};
use core::sync::atomic::{
    AtomicU64,
    Ordering::{Acquire, Relaxed, Release}, //
};
use kernel::{prelude::*, sync::Arc};

/// What all entries of one kind, name and owner share.
pub(crate) struct Kin {
    pub(crate) ops: Ops,
    pub(crate) owner: Arc<Owned>,
    pub(crate) name: Name,
    pub(crate) place: Place,
    /// When of its client's turns it was made.
    pub(crate) turn: u64,
    /// Callbacks begun, or sent to a worker or a lock.
    pub(crate) fired: AtomicU64,
}

impl Kin {
    /// Task context; may block. Where the client is known not to leave meanwhile.
    pub(crate) fn new(
        ops: &'static Ops,
        owner: Arc<Owned>,
        name: Name,
        place: Place,
    ) -> Result<Arc<Self>> {
        let turn = owner.roster.turn();
        let kin = Self {
            ops: *ops,
            owner,
            name,
            place,
            turn,
            fired: AtomicU64::new(0),
        };
        Ok(Arc::new(kin, GFP_KERNEL)?)
    }

    /// The callback begins where the expiry is: no worker, no lock comes first.
    pub(super) fn is_direct(&self) -> bool {
        matches!(self.place, Place::Soft) && !self.ops.locks
    }
}

/// The entries of one client.
#[pin_data]
pub(crate) struct Owned {
    /// The client's name.
    pub(crate) name: ModuleName,
    #[pin]
    pub(crate) roster: Roster,
    /// Objects, or runs in a worker, that will still call the client's code.
    pub(crate) coming: AtomicU64,
    pub(crate) objects: AtomicU64,
    pub(crate) made: AtomicU64,
}

impl Owned {
    pub(crate) fn new(name: ModuleName) -> impl PinInit<Self> {
        pin_init!(Self {
            name,
            roster <- Roster::new(),
            coming: AtomicU64::new(0),
            objects: AtomicU64::new(0),
            made: AtomicU64::new(0),
        })
    }

    /// Something that calls the client's code is on its way. Any context.
    pub(crate) fn comes(&self) {
        self.coming.fetch_add(1, Relaxed);
    }

    /// Whether nothing is on its way.
    pub(crate) fn is_settled(&self) -> bool {
        self.coming.load(Acquire) == 0
    }

    /// It is over. Softirq or task context.
    pub(crate) fn came(&self) {
        if self.coming.fetch_sub(1, Release) == 1 {
            wait::wake();
        }
    }

    /// As [`came`](Self::came), in any context.
    pub(crate) fn does_not_come(&self) {
        if self.coming.fetch_sub(1, Release) == 1 {
            wait::wake_soon();
        }
    }
}
