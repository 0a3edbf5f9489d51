// SPDX-License-Identifier: GPL-2.0

//! Timers whose action is chosen at run time: made when they are first wanted, and kept with their route.

use super::{asked, kin, EntryRef, QueueKind, Route, RouteTimerQueue, TimerRef};
use crate::{
    context::{Expiry, Soft},
    sys::{
        context::Task,
        firing::Firing,
        module::Owner,
        route::{Apart, Entry, Pool, PoolKin},
        target::{bound, impl_embeds, Contains, Timed},
    },
};
use core::marker::{PhantomData, PhantomPinned};
use kernel::{
    alloc::Flags,
    prelude::*,
    sync::{Arc, ArcBorrow}, //
};

/// An action that can be chosen at run time: a function, and an identity. It is a `static` of the module
/// that owns the timers; two of them are two actions, be the function the same.
///
/// # Examples
///
/// ```
/// # #[pin_data]
/// # struct Peer {
/// #     mtu: Atomic<u32>,
/// #     #[pin]
/// #     others: RouteTimers<Self>,
/// # }
/// # impl_has_route_timers! { impl HasRouteTimers for Peer { ; self.others } }
/// # let pmtu = RouteTimerQueue::<Soft>::with_secs(softclock::owner!(), c"pmtu", 600)?;
/// # let peer = Timed::new(try_pin_init!(Peer {
/// #     mtu: Atomic::new(1500),
/// #     others <- RouteTimers::new(softclock::owner!(), c"others"),
/// # }))?;
/// static FORGET: Act<Peer> = Act::new(forget);
/// fn forget(peer: ArcBorrow<'_, Timed<Peer>>, _run: &Expiry<'_, Soft>) { peer.mtu.store(1500, Relaxed); }
///
/// let timer = peer.timers().of(&FORGET, GFP_ATOMIC)?;
/// let _ = pmtu.add(timer);
/// ```
pub struct Act<R, K: QueueKind = Soft> {
    function: Function<R, K>,
}

/// What an [`Act`] calls. [`RouteAction::act`](super::RouteAction::act) says how.
pub type Function<R, K> = fn(ArcBorrow<'_, Timed<R>>, &Expiry<'_, K>);

impl<R, K: QueueKind> Act<R, K> {
    /// The action that calls `function`.
    pub const fn new(function: Function<R, K>) -> Self {
        Self { function }
    }
}

impl<R: Route, K: QueueKind> Act<R, K> {
    /// The action that deletes the route: NULL in `rt_timer_add(9)`.
    pub const fn delete() -> Self {
        Self::new(|route, _run| R::delete(route))
    }
}

impl<R: Send + Sync + 'static, K: QueueKind> Apart<K> for R {
    type Action = Act<R, K>;

    fn run(this: ArcBorrow<'_, Timed<Self>>, action: &'static Act<R, K>, firing: &Firing<'_>) {
        (action.function)(this, &Expiry::new(firing));
    }
}

/// The timers of a route whose actions are chosen at run time. One is allocated when it is first wanted,
/// and stays with the route until that is dropped: adding it again allocates nothing, and cannot fail.
#[pin_data]
pub struct RouteTimers<R: Send + Sync + 'static> {
    pool: Pool<R>,
    soft: PoolKin<R, Soft>,
    task: PoolKin<R, Task>,
    owner: Owner,
    #[pin]
    _pin: PhantomPinned,
}

// Its pool is part of the route it was made for.
impl_embeds! {
    impl {R: Send + Sync + 'static} Embeds<Pool<R>> for RouteTimers<R>, part of R { self.pool }
}

impl<R: Contains<Self> + Send + Sync + 'static> RouteTimers<R> {
    /// No timers yet. Task context; may block (`GFP_KERNEL`). Owner, name and errors are as for
    /// [`RouteTimer::new`](super::RouteTimer::new).
    ///
    /// # Errors
    ///
    /// See there.
    pub fn new(owner: Owner, name: &'static CStr) -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            pool: Pool::new(),
            soft: PoolKin::new(|ops| kin(asked::<Soft>(owner, name, ops)))?,
            task: PoolKin::new(|ops| kin(asked::<Task>(owner, name, ops)))?,
            owner,
            _pin: PhantomPinned,
        })
    }

    /// For [`impl_has_route_timers!`](crate::impl_has_route_timers).
    #[doc(hidden)]
    pub fn each(&self, visit: &mut impl FnMut(EntryRef<'_>)) {
        for entry in self.pool.entries() {
            visit(EntryRef(entry));
        }
    }
}

/// The timer of a soft action.
pub(super) fn soft<'a, R: Send + Sync + 'static>(
    timers: &'a RouteTimers<R>,
    action: &'static Act<R, Soft>,
    queue: u64,
    flags: Flags,
) -> Result<TimerRef<'a, Soft>> {
    let may = || timers.owned(action);
    let pool = &timers.pool;
    Ok(reference(pool.timer(
        action,
        queue,
        &timers.soft,
        flags,
        may,
    )?))
}

/// The timer of an action in a task.
pub(super) fn task<'a, R: Send + Sync + 'static>(
    timers: &'a RouteTimers<R>,
    action: &'static Act<R, Task>,
    queue: u64,
    flags: Flags,
) -> Result<TimerRef<'a, Task>> {
    let may = || timers.owned(action);
    let pool = &timers.pool;
    Ok(reference(pool.timer(
        action,
        queue,
        &timers.task,
        flags,
        may,
    )?))
}

fn reference<K>(entry: &Entry) -> TimerRef<'_, K> {
    TimerRef {
        entry,
        kind: PhantomData,
    }
}

impl<R: Send + Sync + 'static> RouteTimers<R> {
    /// An action is there as long as the owner's module is. Asked once for each timer.
    fn owned<K: QueueKind>(&self, action: &'static Act<R, K>) -> Result {
        is_of(self.owner, core::ptr::from_ref(action) as usize)
    }
}

#[inline(never)]
fn is_of(owner: Owner, action: usize) -> Result {
    if owner.contains(action) {
        Ok(())
    } else {
        pr_err!("a route timer's action is no static of the module that owner!() names\n");
        Err(EINVAL)
    }
}

/// The timers of a route that is held by an [`Arc`], to choose one from.
pub struct Timers<'a, R: Send + Sync + 'static>(&'a RouteTimers<R>);

impl<'a, R: Send + Sync + 'static> Timers<'a, R> {
    /// The timer of the route for `action`, whatever queue it is added to: one for each (route, action),
    /// as NetBSD has it. Allocated with `flags` when it is first wanted; any context but NMI that these
    /// allow.
    ///
    /// # Errors
    ///
    /// `ENOMEM`: nothing has changed; what is pending stays so. `EINVAL`: `action` is no static of the
    /// module that owns the timers.
    pub fn of<K: QueueKind>(
        &self,
        action: &'static Act<R, K>,
        flags: Flags,
    ) -> Result<TimerRef<'a, K>> {
        K::pooled(self.0, action, 0, flags)
    }

    /// The timer of the route for `action` and `queue`: one for each (route, queue), as OpenBSD has it.
    /// Add it to that queue.
    ///
    /// # Errors
    ///
    /// As for [`of`](Self::of).
    pub fn in_queue<K: QueueKind>(
        &self,
        queue: &RouteTimerQueue<K>,
        action: &'static Act<R, K>,
        flags: Flags,
    ) -> Result<TimerRef<'a, K>> {
        K::pooled(self.0, action, queue.id(), flags)
    }
}

/// Finds the timers of a route held by an [`Arc`].
pub trait TimersOf<R: Send + Sync + 'static> {
    /// Its timers whose actions are chosen at run time. Any context.
    fn timers(&self) -> Timers<'_, R>
    where
        R: Contains<RouteTimers<R>>;
}

impl<R: Send + Sync + 'static> TimersOf<R> for Arc<Timed<R>> {
    fn timers(&self) -> Timers<'_, R>
    where
        R: Contains<RouteTimers<R>>,
    {
        Timers(bound::<R, RouteTimers<R>>(self.as_arc_borrow()))
    }
}

impl<R: Send + Sync + 'static> TimersOf<R> for ArcBorrow<'_, Timed<R>> {
    fn timers(&self) -> Timers<'_, R>
    where
        R: Contains<RouteTimers<R>>,
    {
        Timers(bound::<R, RouteTimers<R>>(*self))
    }
}
