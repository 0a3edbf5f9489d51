// SPDX-License-Identifier: GPL-2.0

//! Probes over UDP and TCP: one [`Prober`] for each network namespace that asks.
//!
//! No thread waits for a peer. Sockets are watched by entries in their wait queues, deadlines are callouts
//! on the wheel, and one work item for each namespace does what there is to do; see [`room`]. A probe
//! is made of
//!
//! ```text
//!   over UDP   a slot, and an alarm                           one socket for all
//!   over TCP   a slot, an alarm, and a connection of its own   closed by a reset, so nothing of it stays
//! ```
//!
//! Nothing here keeps a namespace alive: when it leaves, its probes end, void, and its sockets are closed.

mod alarm;
mod chain;
mod course;
mod datagrams;
mod desk;
mod flight;
mod line;
mod ready;
mod room;
mod tally;

use self::room::Room;
use super::ask::{Ask, Counts, Prober};
use crate::sys::{
    context::Task,
    global::{Global, Published},
    net::{Held, Leaving, Listener, Net, NetId, OnNetLeave},
    work::WorkQueue,
};
use kernel::{
    new_mutex,
    prelude::*,
    sync::{Arc, Mutex},
    workqueue::Queue, //
};

static SOCKETS: Global<Sockets> = Global::new();

/// The prober of one network namespace.
pub(crate) struct Outlet {
    room: Arc<Room>,
    inum: u32,
}

impl Outlet {
    fn new(held: &Held) -> Result<Arc<Self>> {
        let room = Room::new(Net::of(held)?)?;
        let inum = held.inum();
        Ok(Arc::new(Self { room, inum }, GFP_KERNEL)?)
    }

    /// The namespace it asks from.
    pub(crate) fn id(&self) -> NetId {
        self.room.net().id()
    }

    /// How many probes may be in flight at once: 1 to 16,384. Those beyond it that are go on. Any context
    /// but NMI.
    pub(crate) fn set_window(&self, limit: u32) {
        Room::set_window(&self.room, limit);
    }

    /// As [`go`](Prober::go), soon, and not in the caller's name: what a socket takes would be charged to
    /// the control group of a process that asks. Any context but NMI.
    pub(super) fn call(&self) {
        Room::call(&self.room);
    }

    /// Ends all probes, and closes all sockets. No peer is waited for.
    fn shutdown(&self, task: &Task) {
        Room::shutdown(&self.room, task);
        self.room.net().close(task);
    }
}

impl Prober for Outlet {
    fn begin(&self, ask: Ask) -> Result {
        Room::begin(&self.room, ask)
    }

    fn go(&self) {
        Room::work(&self.room, &Task::by_contract());
    }

    fn sweep(&self) {
        Room::sweep(&self.room);
    }

    fn counts(&self) -> Counts {
        self.room.counts()
    }

    /// One that has left is no more, and another may have its place.
    fn is_in(&self, net: &Held) -> bool {
        !self.room.is_shut() && self.id() == net.id()
    }

    fn net(&self) -> Option<u32> {
        (!self.room.is_shut()).then_some(self.inum)
    }

    fn widen(&self, window: u32) {
        Room::widen(&self.room, window);
    }
}

/// All outlets.
#[pin_data]
pub(crate) struct Sockets {
    #[pin]
    outlets: Mutex<KVec<Arc<Outlet>>>,
    work: WorkQueue,
}

impl Sockets {
    /// Makes them reachable until the guard drops.
    pub(crate) fn publish() -> Result<Loaded> {
        let work = WorkQueue::of_each_cpu(c"softclock_probes")?;
        let sockets = Arc::pin_init(
            pin_init!(Self {
                outlets <- new_mutex!(KVec::new()),
                work,
            }),
            GFP_KERNEL,
        )?;
        let published = SOCKETS.publish(sockets.clone());
        Ok(Loaded {
            leaving: Some(Leaving::new::<Sockets>()?),
            sockets,
            _published: published,
        })
    }

    /// They are there whenever a client can call.
    fn get() -> Result<Arc<Self>> {
        SOCKETS.get().ok_or(ENODEV)
    }

    fn queue(&self) -> &Queue {
        self.work.queue()
    }

    /// The prober of the caller's network namespace. May block.
    ///
    /// # Errors
    ///
    /// `ENOMEM`; `ENODEV` while softclock is loading or leaving.
    pub(crate) fn here(_task: &Task) -> Result<Arc<Outlet>> {
        let sockets = Self::get()?;
        let held = Held::of_this_task()?;
        let mut outlets = sockets.outlets.lock();
        let is_here = |outlet: &&Arc<Outlet>| outlet.id() == held.id();
        if let Some(outlet) = outlets.iter().find(is_here) {
            return Ok(outlet.clone());
        }
        let outlet = Outlet::new(&held)?;
        outlets.push(outlet.clone(), GFP_KERNEL)?;
        Ok(outlet)
    }

    /// The next outlet behind that of `after`, in the order of their namespaces' ids: the list changes while it
    /// is looked through. Task context; may block.
    pub(crate) fn next(after: Option<NetId>) -> Option<Arc<Outlet>> {
        let sockets = Self::get().ok()?;
        let outlets = sockets.outlets.lock();
        let behind = outlets.iter().filter(|one| Some(one.id()) > after);
        behind.min_by_key(|one| one.id()).cloned()
    }

    /// Takes out an outlet: that of a namespace, or any.
    fn take(&self, net: Option<NetId>) -> Option<Arc<Outlet>> {
        let mut outlets = self.outlets.lock();
        let is_it = |outlet: &Arc<Outlet>| net.is_none_or(|net| outlet.id() == net);
        let at = outlets.iter().position(is_it)?;
        outlets.remove(at).ok()
    }
}

impl OnNetLeave for Sockets {
    const LISTENER: Listener = Listener::Sockets;

    fn on_net_leave(net: NetId, task: &Task) {
        let Ok(sockets) = Self::get() else { return };
        while let Some(outlet) = sockets.take(Some(net)) {
            outlet.shutdown(task);
        }
    }
}

/// The sockets while softclock is loaded. Dropped before the hub, when no client is left.
pub(crate) struct Loaded {
    leaving: Option<Leaving>,
    sockets: Arc<Sockets>,
    _published: Published<Sockets>,
}

impl Drop for Loaded {
    fn drop(&mut self) {
        // Tells of all namespaces.
        self.leaving = None;
        let task = Task::by_contract();
        while let Some(outlet) = self.sockets.take(None) {
            outlet.shutdown(&task);
        }
        // Work that is about to return; nothing queues any more.
        self.sockets.work.flush();
    }
}
