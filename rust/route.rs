// SPDX-License-Identifier: GPL-2.0

//! Route timers: have something done to a route some time after it was last used. `rt_timer(9)`.
//!
//! # Vocabulary
//!
//! A *route* is a driver's object in an `Arc<Timed<R>>`. A *queue* holds timers that have their timeout in
//! common: ten minutes for path MTUs, twenty for ARP. A *timer* belongs to one route and one *action*; it
//! is in one queue at most. To *add* it is to have the action run one timeout from now; to add it again
//! is to have it run one timeout from then instead (*refresh*).
//!
//! ```text
//!              add                      timeout                    return
//!     idle ----------> pending in q ---------------> running -----------------> idle
//!      ^                 |  ^   |                      |
//!      +-- remove -------+  |   | add to q2            +-- add --> pending (and running)
//!      +-- route dropped    |   v
//!      +-- q destroyed      +-- pending in q2
//! ```
//!
//! # Guarantees
//!
//! - Every add ends in exactly one of these: the action runs, once; the add is replaced by another one of
//!   the same timer; the timer is removed; its queue is destroyed.
//! - An action runs never before its time, never twice at once for a timer, and in the order of the
//!   adds. All due timers of a queue run in one pass, or, where that takes more than a millisecond, in several.
//!   In softirq context the millisecond is that of the wheel's walk, of which the pass is a callback.
//! - A timer never keeps its route alive, and a route that is dropped takes its timers off their queues,
//!   in any context. While an action executes its route is alive; where the action had the last
//!   reference, the route is dropped soon after, in task context.
//! - A module can be unloaded at any time. What it forgot is destroyed, and named in the log.
//! - An add, a refresh, a removal and an expiry are O(1), and so is a change of the timeout. Nothing is
//!   allocated for a timer that is part of the route, and a queue without timers costs nothing.
//!
//! # Who holds what
//!
//! ```text
//!   Arc<Timed<R>> --contains--> RouteTimer <---- on a list, no reference ----> queue
//!        ^                                                                       ^
//!        +---- held by an action while it executes      RouteTimerQueue, Table --+
//! ```
//!
//! # How exact, and at what cost
//!
//! A queue has one callout, for its first timer, so an action runs in the granule of 65.5 us that begins
//! at its deadline or later. A [`RouteTimer`] is 64 bytes. A refresh is one compare-exchange without a
//! lock, and touches nothing but its own timer; that timer is put in its new place when its old turn
//! comes, once in a timeout at most.
//!
//! # BSD names
//!
//! | rt_timer(9) | here |
//! |---|---|
//! | `rt_timer_queue_create(t)` | [`RouteTimerQueue::new`], [`with_secs`](RouteTimerQueue::with_secs) |
//! | `rt_timer_queue_change(q, t)` | [`RouteTimerQueue::change`], as the manual words it: [`Change::AtNextWake`](crate::Change) |
//! | `rt_timer_queue_destroy(q, 0)`, `(q, 1)` | [`RouteTimerQueue::destroy`] with [`Pending::Remove`](crate::Pending), [`Pending::Run`](crate::Pending) |
//! | `rt_timer_add(rt, f, q)` | [`RouteTimerQueue::add`] of [`RouteOf::timer`] |
//! | the same, `f` chosen at run time | of [`Timers::of`] |
//! | the same, `f` NULL | the action [`DeleteRoute`], which calls [`Route::delete`] |
//! | `rt_timer_remove_all(rt)` | [`RouteOf::remove_all`], [`RouteOf::remove_all_async`] |
//! | `rt_timer_count(q)` | [`RouteTimerQueue::count`] |
//! | `rt_timer_get_expire(rt)` (OpenBSD) | [`RouteOf::earliest`] |
//! | one timer for each route and queue (OpenBSD) | [`Timers::in_queue`] |
//!
//! # Examples
//!
//! ```
//! use softclock::prelude::*;
//!
//! #[pin_data]
//! struct Peer {
//!     mtu: Atomic<u32>,
//!     #[pin]
//!     pmtu: RouteTimer<Self, ForgetMtu>,
//!     #[pin]
//!     arp: RouteTimer<Self, DeleteRoute>,
//! }
//!
//! impl_has_route_timers! { impl HasRouteTimers for Peer { ForgetMtu: self.pmtu, DeleteRoute: self.arp } }
//!
//! struct ForgetMtu;
//!
//! impl RouteAction<Peer> for ForgetMtu {
//!     type Kind = Soft;
//!     fn act(peer: ArcBorrow<'_, Timed<Peer>>, _run: &Expiry<'_, Soft>) {
//!         peer.mtu.store(1500, Relaxed);
//!     }
//! }
//!
//! # impl Route for Peer { fn delete(_: ArcBorrow<'_, Timed<Self>>) {} }
//! # let task = Task::new()?;
//! # let peer = Timed::new(try_pin_init!(Peer {
//! #     mtu: Atomic::new(1500),
//! #     pmtu <- RouteTimer::new(softclock::owner!(), c"pmtu"),
//! #     arp <- RouteTimer::new(softclock::owner!(), c"arp"),
//! # }))?;
//! let pmtu = RouteTimerQueue::<Soft>::with_secs(softclock::owner!(), c"pmtu", 600)?;
//! let _ = pmtu.add(peer.timer::<ForgetMtu>());    // now, and again for each packet that was too big
//! peer.remove_all(&task)?;                        // the route is gone: so are its timers
//! ```

mod pool;
mod queue;
mod table;

pub use self::{
    pool::{Act, Function, RouteTimers, Timers, TimersOf},
    queue::{AlarmRef, Now, Queue, QueueKind, RouteTimerQueue},
};
pub(crate) use self::{queue::AnyQueue, table::Table};

use crate::{
    context::{Context, Expiry, Soft},
    engine::Asked,
    policy::{
        deadline::Instant,
        life::{CannotWait, Drain, Next, Stop},
    },
    registry::checked,
    sys::{
        context::{Runner, Task},
        firing::Firing,
        module::Owner,
        route::{Entry, Kin},
        target::{bound, impl_embeds, operations, Contains, Ops, Run, Timed},
        wait,
    },
    Hub,
};
use core::marker::{PhantomData, PhantomPinned};
use kernel::{
    prelude::*,
    sync::{Arc, ArcBorrow}, //
};

/// A route: what a timer without an action of its own does to it.
pub trait Route: Send + Sync + Sized + 'static {
    /// Deletes the route: the NULL action of `rt_timer_add(9)`. In the context of the queue the timer was
    /// in: where that is [`Soft`] it may not sleep. Not called where the last [`Arc`] is gone already.
    fn delete(this: ArcBorrow<'_, Timed<Self>>);
}

/// What is done to a route of type `R` when its time has come. The type names the action: a route has one
/// timer for each.
pub trait RouteAction<R>: 'static {
    /// Where it executes; only queues of this kind take its timers.
    type Kind: QueueKind;

    /// Does it. `route` is alive throughout, and may be kept: `Arc::from(route)`. Its timer is not
    /// pending any more, and may be added again, to any queue. What [`OnExpire`](crate::OnExpire) says of
    /// contexts and locks goes for this too.
    fn act(route: ArcBorrow<'_, Timed<R>>, run: &Expiry<'_, Self::Kind>);
}

/// The action that deletes the route: [`Route::delete`].
pub struct DeleteRoute<K = Soft>(PhantomData<K>);

impl<R: Route, K: QueueKind> RouteAction<R> for DeleteRoute<K> {
    type Kind = K;

    fn act(route: ArcBorrow<'_, Timed<R>>, _run: &Expiry<'_, K>) {
        R::delete(route);
    }
}

/// The timer of a route for action `A`, inside the route. It allocates nothing, ever.
#[pin_data]
pub struct RouteTimer<R, A> {
    #[pin]
    entry: Entry,
    of: PhantomData<fn(R, A)>,
    #[pin]
    _pin: PhantomPinned,
}

// A `RouteTimer<R, _>` is pinned, and made by `RouteTimer::new` alone, with the operations of `R`.
impl_embeds! {
    impl {R, A} Embeds<Entry> for RouteTimer<R, A>, part of R { self.entry }
}

/// The kind of run that is action `A`.
struct Acts<A>(PhantomData<A>);

impl<R: Send + Sync + 'static, A: RouteAction<R>> Run<Acts<A>> for R {
    const LOCKS: bool = false;

    #[inline(always)]
    fn run(this: ArcBorrow<'_, Timed<Self>>, firing: &Firing<'_>) -> Next {
        A::act(this, &Expiry::new(firing));
        Next::Stop
    }

    fn drained(_this: ArcBorrow<'_, Timed<Self>>) {}
}

impl<R, A> RouteTimer<R, A>
where
    R: Contains<Self> + Send + Sync + 'static,
    A: RouteAction<R>,
{
    /// A timer that is idle. Task context; may block (`GFP_KERNEL`).
    ///
    /// `owner` is [`owner!()`](crate::owner); `name` is what debugfs shows, one word of at most 31 bytes.
    ///
    /// # Errors
    ///
    /// `EINVAL`: a bad name, or the action is not part of the owner's module (the log says which).
    /// `EWOULDBLOCK` (`EAGAIN`): this context may not block. `ENOMEM`. `ENODEV`: the owner's module is
    /// being unloaded.
    pub fn new(owner: Owner, name: &'static CStr) -> impl PinInit<Self, Error> {
        let ops = operations::<R, Acts<A>, Self>();
        let asked = asked::<A::Kind>(owner, name, ops);
        try_pin_init!(Self {
            entry: entry(asked)?,
            of: PhantomData,
            _pin: PhantomPinned,
        })
    }

    /// For [`impl_has_route_timers!`](crate::impl_has_route_timers).
    #[doc(hidden)]
    pub fn each(&self, visit: &mut impl FnMut(EntryRef<'_>)) {
        visit(EntryRef(&self.entry));
    }
}

fn asked<K: Context>(owner: Owner, name: &'static CStr, ops: &'static Ops) -> Asked {
    Asked {
        owner,
        name,
        ops,
        place: K::PLACE,
        ours: false,
    }
}

#[inline(never)]
fn kin(asked: Asked) -> Result<Arc<Kin>> {
    let spec = checked(asked)?;
    Hub::get()?.registry().route_kin(spec)
}

#[inline(never)]
fn entry(asked: Asked) -> Result<Entry> {
    Ok(Entry::new(kin(asked)?))
}

/// A timer, as softclock knows it.
#[doc(hidden)]
pub struct EntryRef<'a>(&'a Entry);

/// A route whose timers softclock can enumerate. Use
/// [`impl_has_route_timers!`](crate::impl_has_route_timers) to implement it.
pub trait HasRouteTimers: Send + Sync + Sized + 'static {
    /// Calls `visit` for each timer.
    #[doc(hidden)]
    fn each_timer(&self, visit: &mut impl FnMut(EntryRef<'_>));
}

/// A timer of a route whose actions execute in kind `K`: what a queue takes.
pub struct TimerRef<'a, K> {
    entry: &'a Entry,
    kind: PhantomData<K>,
}

impl<K> Clone for TimerRef<'_, K> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<K> Copy for TimerRef<'_, K> {}

impl<K> TimerRef<'_, K> {
    /// Takes the timer out of its queue. [`Stop::Running`]: its action executes, and ends in its own time.
    /// Any context but NMI; never blocks.
    pub fn remove(&self) -> Stop {
        remove(self.entry)
    }

    /// Takes the timer out of its queue, and waits for its action where that executes; adds are refused
    /// until then. Task context; blocks. Hold no lock that the action takes.
    ///
    /// # Errors
    ///
    /// [`CannotWait`]: in that very action, where actions would wait for each other in a circle, and where
    /// sleeping has become wrong. What was pending is removed all the same.
    pub fn drain(&self, task: &Task) -> Result<Drain, CannotWait> {
        drain(self.entry, task)
    }

    /// Whether it is in a queue. Any context but NMI.
    pub fn is_pending(&self) -> bool {
        self.entry.is_pending()
    }

    /// When its action is due; `None`: it is in no queue. Any context but NMI.
    pub fn due(&self) -> Option<Instant> {
        self.entry.due()
    }
}

/// What [`RouteOf::remove_all_async`] found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Removal {
    /// Timers that were pending; their actions will not run.
    pub removed: usize,
    /// Actions that execute, and end in their own time.
    pub running: usize,
}

/// The timers of a route that is held by an [`Arc`].
pub trait RouteOf<R> {
    /// The timer for action `A`. Any context.
    fn timer<A>(&self) -> TimerRef<'_, A::Kind>
    where
        A: RouteAction<R>,
        R: Contains<RouteTimer<R, A>>;

    /// Removes all timers of the route, runs none, and waits for actions that execute: when it returns
    /// there is no reference to the route in softclock. Says how many were pending. Task context; blocks.
    /// `rt_timer_remove_all(9)`.
    ///
    /// # Errors
    ///
    /// Those of [`TimerRef::drain`]. All timers are removed all the same.
    fn remove_all(&self, task: &Task) -> Result<usize, CannotWait>
    where
        R: HasRouteTimers;

    /// Removes all timers of the route, runs none, and waits for nothing. Any context but NMI, the own
    /// action included.
    fn remove_all_async(&self) -> Removal
    where
        R: HasRouteTimers;

    /// When the first of its timers is due; `None`: none is pending. Any context but NMI.
    /// `rt_timer_get_expire` of OpenBSD.
    fn earliest(&self) -> Option<Instant>
    where
        R: HasRouteTimers;
}

impl<R> RouteOf<R> for Arc<Timed<R>> {
    fn timer<A>(&self) -> TimerRef<'_, A::Kind>
    where
        A: RouteAction<R>,
        R: Contains<RouteTimer<R, A>>,
    {
        timer::<R, A>(self.as_arc_borrow())
    }

    fn remove_all(&self, task: &Task) -> Result<usize, CannotWait>
    where
        R: HasRouteTimers,
    {
        drain_all::<R>(self, task)
    }

    fn remove_all_async(&self) -> Removal
    where
        R: HasRouteTimers,
    {
        remove_all::<R>(self)
    }

    fn earliest(&self) -> Option<Instant>
    where
        R: HasRouteTimers,
    {
        earliest::<R>(self)
    }
}

impl<R> RouteOf<R> for ArcBorrow<'_, Timed<R>> {
    fn timer<A>(&self) -> TimerRef<'_, A::Kind>
    where
        A: RouteAction<R>,
        R: Contains<RouteTimer<R, A>>,
    {
        timer::<R, A>(*self)
    }

    fn remove_all(&self, task: &Task) -> Result<usize, CannotWait>
    where
        R: HasRouteTimers,
    {
        drain_all::<R>(self, task)
    }

    fn remove_all_async(&self) -> Removal
    where
        R: HasRouteTimers,
    {
        remove_all::<R>(self)
    }

    fn earliest(&self) -> Option<Instant>
    where
        R: HasRouteTimers,
    {
        earliest::<R>(self)
    }
}

#[inline(always)]
fn timer<'a, R, A>(route: ArcBorrow<'a, Timed<R>>) -> TimerRef<'a, A::Kind>
where
    A: RouteAction<R>,
    R: Contains<RouteTimer<R, A>>,
    RouteTimer<R, A>: 'a,
{
    TimerRef {
        entry: &bound::<R, RouteTimer<R, A>>(route).entry,
        kind: PhantomData,
    }
}

fn drain_all<R: HasRouteTimers>(route: &R, task: &Task) -> Result<usize, CannotWait> {
    // All are removed before the first wait.
    let mut removed = remove_all(route).removed;
    let mut waited = Ok(());
    route.each_timer(&mut |timer| {
        let ended = end(timer.0, task);
        removed = removed.saturating_add(ended.removed);
        if let Err(why) = ended.met {
            waited = Err(why);
        }
    });
    waited.map(|()| removed)
}

fn remove_all<R: HasRouteTimers>(route: &R) -> Removal {
    let mut all = Removal::default();
    route.each_timer(&mut |timer| {
        let removed = usize::from(timer.0.remove());
        let running = usize::from(timer.0.is_running());
        all.removed = all.removed.saturating_add(removed);
        all.running = all.running.saturating_add(running);
    });
    all
}

fn earliest<R: HasRouteTimers>(route: &R) -> Option<Instant> {
    let mut first: Option<Instant> = None;
    route.each_timer(&mut |timer| {
        if let Some(due) = timer.0.due() {
            first = Some(first.map_or(due, |first| first.min(due)));
        }
    });
    first
}

#[inline(never)]
fn remove(entry: &Entry) -> Stop {
    if entry.remove() {
        Stop::Cancelled
    } else if entry.is_running() {
        Stop::Running
    } else {
        Stop::Idle
    }
}

fn drain(entry: &Entry, task: &Task) -> Result<Drain, CannotWait> {
    let ended = end(entry, task);
    Ok(match (ended.met?, ended.removed) {
        (true, _) => Drain::Finished,
        (false, 0) => Drain::Idle,
        (false, _) => Drain::Cancelled,
    })
}

/// How a drain went.
struct Ended {
    /// How often the timer was taken out of a queue: it may be added again meanwhile.
    removed: usize,
    /// Whether its action was waited for.
    met: Result<bool, CannotWait>,
}

/// Removes a timer until it is idle.
#[inline(never)]
fn end(entry: &Entry, task: &Task) -> Ended {
    task.may_sleep_now();
    let mut ended = Ended {
        removed: 0,
        met: Ok(false),
    };
    loop {
        let executes = entry.drain();
        ended.removed = ended.removed.saturating_add(usize::from(entry.remove()));
        match executes {
            Ok(true) => ended.met = wait_for(entry, task).map(|()| true),
            Ok(false) if entry.is_running() => {}
            Ok(false) => return ended,
            Err(why) => ended.met = Err(why),
        }
        if ended.met.is_err() {
            return ended;
        }
    }
}

/// Waits for an action to return, unless that would be for ever.
#[cold]
fn wait_for(entry: &Entry, task: &Task) -> Result<(), CannotWait> {
    if !task.may_sleep_still() {
        return Err(CannotWait::Atomic);
    }
    // The caller's reference is one, so there is another.
    if let (Ok(hub), Some(kept)) = (Hub::get(), entry.keep()) {
        let me = Runner::current();
        hub.waits().begin(me, kept.into())?;
        wait::until(task, || !entry.is_waited_for());
        hub.waits().end(me);
    }
    Ok(())
}
