// SPDX-License-Identifier: GPL-2.0

//! Routes of the kernel: delete one after a time, and hear of it when somebody else does.
//!
//! A route here is one of IPv4 or IPv6 in one network namespace: a prefix in a table with a metric, a
//! device, a gateway and what else tells it from others for the same prefix. It is *watched* from the
//! moment somebody gives it a time until it is gone, and it is gone
//!
//! - when its time has come: a worker asks the kernel to delete it, and nothing but it;
//! - when anybody else deletes it, its device goes down or away, its address goes, or its namespace ends.
//!
//! ```text
//!                time has come               worker: RTM_DELROUTE
//!   watched ----------------------> doomed ------------------------> gone
//!      |                                                              ^
//!      +--- RTM_DELROUTE heard, or missing in a listing --------------+
//! ```
//!
//! The time is that of a [`RouteTimerQueue`](crate::RouteTimerQueue), with the action
//! [`DeleteRoute`](crate::DeleteRoute); the end of a route removes its timers.
//!
//! # How it is heard
//!
//! Each namespace with a watched route has two sockets of `rtnetlink(7)`: one hears the groups of
//! routes, links, addresses and nexthop objects, the other asks. There is no thread: a message queues a
//! work item. The kernel does not say everything. When a link goes down, or an address or a nexthop object
//! goes, the IPv4 routes through it vanish without a word; a replaced route of either family does, too;
//! and what finds no room in the socket is lost. After any of these the worker waits until the change is
//! complete, lists the routes of the kernel, and compares. A listing is not a snapshot: a route counts as
//! gone when it is missing in a listing during which no route changed, or in [`PATIENCE`] in a row.
//!
//! # What is deleted
//!
//! A request names what a [`RouteKey`] has, but to the kernel what it does not have means any: a metric of
//! 0, no preferred source, no gateway; and the hops of a route of IPv4 with several are not named at all. It
//! deletes the first route that fits. So it is asked to say which that was. Was it another one, because ours
//! had gone a moment before or stood behind it, then it is put back at once, behind its like, and that is
//! logged. Ours is tried again a second later, unless the news or a listing says that it is gone.
//!
//! # Namespaces
//!
//! None is kept alive. Before a namespace is taken down all of it that is here ends: its sockets are
//! closed, its routes count as gone.
//!
//! [`PATIENCE`]: namespace::PATIENCE

mod holder;
mod namespace;
mod reconcile;
mod route;
mod table;
mod timeouts;
mod wire;

use crate::{
    hub::Hub,
    policy::{
        deadline::Delta,
        name::Name,
        rtnl::{RouteKey, Wanted}, //
    },
    registry::Client,
    route::RouteTimerQueue,
    sys::{
        context::Task,
        global::{Global, Published},
        module::{OnLeave, Owner},
        net::{Held, Leaving, Listener, NetId, OnNetLeave},
        target::Timed,
        work::WorkQueue, //
    },
};
use kernel::{
    new_mutex,
    prelude::*,
    rbtree::{RBTree, RBTreeNode},
    sync::{Arc, Completion, Mutex}, //
};

pub(crate) use self::{
    holder::Holder,
    namespace::Namespace,
    route::{FibRoute, Timing}, //
};
use self::{holder::Holders, timeouts::Timeouts};
pub use self::{
    holder::OnRouteEnd,
    route::{KernelRoute, RouteEnd}, //
};

static FIBS: Global<Fibs> = Global::new();

/// How often a route is looked for that goes while it is looked for, or before it has its time.
const TRIES: usize = 8;

/// All namespaces that have, or had, watched routes.
#[pin_data]
pub(crate) struct Fibs {
    #[pin]
    namespaces: Mutex<RBTree<NetId, Arc<Namespace>>>,
    #[pin]
    timeouts: Timeouts,
    holders: Arc<Holders>,
    queue: WorkQueue,
    /// What each namespace's socket keeps of unread messages, in bytes.
    room: i32,
}

impl Fibs {
    /// Allocates everything, and makes it reachable until the guard drops.
    ///
    /// # Errors
    ///
    /// `EINVAL`: no room for messages. `ENOMEM`.
    pub(crate) fn publish(room_kib: u32) -> Result<Loaded> {
        let room = room_kib.checked_mul(1024).and_then(|b| b.try_into().ok());
        let Some(room) = room.filter(|bytes| *bytes > 0 && *bytes <= i32::MAX / 2) else {
            pr_err!("route_room_kib is {}; it may be 1 to 1048575\n", room_kib);
            return Err(EINVAL);
        };
        let queue = WorkQueue::new(c"softclock_routes")?;
        let holders = Holders::new()?;
        let fibs = Arc::pin_init(
            pin_init!(Self {
                namespaces <- new_mutex!(RBTree::new()),
                timeouts <- Timeouts::new(),
                holders,
                queue,
                room,
            }),
            GFP_KERNEL,
        )?;
        let published = FIBS.publish(fibs.clone());
        Ok(Loaded {
            // Published before: a namespace may leave at once.
            leaving: Some(Leaving::new::<Self>()?),
            fibs,
            _published: published,
        })
    }

    /// The routes, while softclock is loaded.
    ///
    /// # Errors
    ///
    /// `ENODEV`: it is being loaded or unloaded.
    pub(crate) fn get() -> Result<Arc<Self>> {
        FIBS.get().ok_or(ENODEV)
    }

    /// A holder of routes of the namespace `net`. Task context; may block.
    ///
    /// # Errors
    ///
    /// `ENOMEM`; `ENODEV`: the owner's module is being unloaded.
    pub(crate) fn hold(
        &self,
        net: &Held,
        owner: Owner,
        label: &'static CStr,
        name: Name,
        driver: Arc<dyn OnRouteEnd>,
    ) -> Result<Arc<Timed<Holder>>> {
        let namespace = self.namespace(net)?;
        let holder = Holder::new(owner, label, name, namespace, driver)?;
        self.holders.insert(holder.clone())?;
        Ok(holder)
    }

    /// Deletes the route `wanted` of the namespace `net` after `timeout`, and forgets what was said of it
    /// before, by the same `holder` (`None`: operators). Task context; blocks for as long as the kernel's
    /// configuration is being changed.
    ///
    /// # Errors
    ///
    /// `ENOENT`: there is no such route. `EEXIST`: it is watched on behalf of somebody else. `EBUSY`: it
    /// comes and goes all the time. `ENODEV`: softclock is being unloaded, or the namespace taken down, or
    /// the holder has ended. `ENOMEM`, and what else sockets may answer.
    pub(crate) fn expire_after(
        &self,
        net: Held,
        wanted: Wanted,
        timeout: Delta,
        holder: Option<&Arc<Timed<Holder>>>,
        task: &Task,
    ) -> Result<(Arc<Timed<FibRoute>>, Arc<RouteTimerQueue>)> {
        let net = Arc::new(net, GFP_KERNEL)?;
        let namespace = self.namespace(&net)?;
        let mut tries = TRIES;
        loop {
            let route = namespace.watch(&wanted, holder, task)?;
            if let Some(route) = route {
                let added = self.timeouts.add(&route, timeout);
                let late = holder.is_some_and(|holder| holder.is_closed());
                // It went, or was about to, after it was found; another one may be there.
                if added.is_err() && !late && route.is_leaving() {
                    tries = tries.checked_sub(1).ok_or(EBUSY)?;
                    continue;
                }
                // Whoever closes it forgets what is there then.
                if late || added.is_err() && route.due().is_none() {
                    namespace.unwatch(route.key(), holder.map(|holder| &***holder));
                }
                return if late {
                    Err(ENODEV)
                } else {
                    added.map(|queue| (route, queue))
                };
            }
            let (opened, net, room) = (namespace.clone(), net.clone(), self.room);
            self.in_worker(task, move || opened.open(&net, room))?;
        }
    }

    /// Forgets the first watched route that is `wanted`, which lives on. Task context; blocks shortly.
    ///
    /// # Errors
    ///
    /// `ENOENT`: none is watched on behalf of operators.
    pub(crate) fn forget(&self, net: &Held, wanted: &Wanted) -> Result<RouteKey> {
        let namespace = self.namespaces.lock().get(&net.id()).cloned();
        namespace.ok_or(ENOENT)?.forget(wanted, None)
    }

    /// Up to `rows.capacity()` namespaces, from the one `from` on.
    pub(crate) fn namespaces_from(&self, from: Option<NetId>, rows: &mut KVec<Arc<Namespace>>) {
        let mut namespaces = self.namespaces.lock();
        let mut cursor = match from {
            Some(from) => namespaces.cursor_lower_bound_mut(&from),
            None => namespaces.cursor_front_mut(),
        };
        while let Some(here) = cursor {
            let namespace = here.current().1;
            if Some(namespace.id()) != from && rows.push_within_capacity(namespace.clone()).is_err()
            {
                return;
            }
            cursor = here.move_next();
        }
    }

    /// The record of `net`, made when it is new. It ends when the namespace leaves, which it cannot do
    /// while it is held.
    fn namespace(&self, net: &Held) -> Result<Arc<Namespace>> {
        if let Some(known) = self.namespaces.lock().get(&net.id()) {
            return Ok(known.clone());
        }
        let fresh = Namespace::new(net)?;
        let entry = RBTreeNode::new(net.id(), fresh.clone(), GFP_KERNEL)?;
        let mut namespaces = self.namespaces.lock();
        if let Some(known) = namespaces.get(&net.id()) {
            return Ok(known.clone());
        }
        namespaces.insert(entry);
        Ok(fresh)
    }

    /// Executes `job` in a worker, and waits for it. What sockets need is charged to whoever opens them,
    /// and the kernel asks whoever sends whether he may: that must not be some user's process.
    fn in_worker<R: Send + Unpin + 'static>(
        &self,
        _task: &Task,
        job: impl FnOnce() -> Result<R> + Send + 'static,
    ) -> Result<R> {
        let errand = Arc::pin_init(Errand::new(), GFP_KERNEL)?;
        let theirs = errand.clone();
        self.queue.queue().try_spawn(GFP_KERNEL, move || {
            let answer = job();
            *theirs.answer.lock() = Some(answer);
            theirs.done.complete_all();
        })?;
        errand.done.wait_for_completion();
        let answer = errand.answer.lock().take();
        answer.unwrap_or(Err(ENODEV))
    }
}

/// What a worker was sent to do.
#[pin_data]
struct Errand<R> {
    #[pin]
    done: Completion,
    #[pin]
    answer: Mutex<Option<Result<R>>>,
}

impl<R> Errand<R> {
    fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            done <- Completion::new(),
            answer <- new_mutex!(None),
        })
    }
}

impl OnNetLeave for Fibs {
    const LISTENER: Listener = Listener::Routes;

    fn on_net_leave(net: NetId, task: &Task) {
        let Some(fibs) = FIBS.get() else {
            return;
        };
        let gone = fibs.namespaces.lock().remove_node(&net);
        if let Some(node) = gone {
            node.to_key_value().1.end(task);
        }
    }
}

/// Calls `f` with the queue of workers, while there is one.
fn with_queue(f: impl FnOnce(&kernel::workqueue::Queue)) {
    if let Some(fibs) = FIBS.get() {
        f(fibs.queue.queue());
    }
}

fn with_holders(f: impl FnOnce(&Arc<Holders>)) {
    if let Some(fibs) = FIBS.get() {
        f(&fibs.holders);
    }
}

/// Ends what `client`, which is leaving, has left behind of routes of the kernel; says how many holders.
pub(crate) fn leave(client: &Arc<Client>, task: &Task) -> u64 {
    FIBS.get()
        .map_or(0, |fibs| fibs.holders.leave(client, task))
}

/// The owner of what softclock itself makes. Never inlined: elsewhere it would name another module.
#[inline(never)]
fn ourselves() -> Owner {
    crate::owner!()
}

/// The routes while softclock is loaded.
pub(crate) struct Loaded {
    pub(crate) fibs: Arc<Fibs>,
    leaving: Option<Leaving>,
    _published: Published<Fibs>,
}

impl Drop for Loaded {
    fn drop(&mut self) {
        // All namespaces end here.
        self.leaving = None;
        self.fibs.timeouts.clear();
        // What these were was softclock's own, which is no client that anybody waits for.
        Hub::on_leave(ourselves().id());
        self.fibs.queue.flush();
    }
}
