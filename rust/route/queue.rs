// SPDX-License-Identifier: GPL-2.0

//! Queues of route timers.

use super::{pool, Act, RouteTimers, Table, TimerRef};
use crate::{
    callout::{Callout, CalloutOf, OnExpire},
    context::{Context, Expiry, Kind, Soft, Unlocked},
    inflight::{now, Awaited},
    policy::{
        deadline::{Delta, Instant},
        life::{CannotWait, Next},
        name::Name,
        route::{timeout_of, Added, Change, Pending},
    },
    registry::Client,
    sys::{
        context::{Runner, Task},
        module::Owner,
        route::{Counts, Seat},
        target::Timed,
        wait,
        wheel::{ids, Entry as Alarm, Worked},
    },
    Hub,
};
use kernel::{
    alloc::Flags,
    prelude::*,
    sync::{
        atomic::{Acquire, Atomic, Release},
        Arc,
        ArcBorrow, //
    },
};

/// Where the actions of a queue execute: [`Soft`] or [`Task`].
pub trait QueueKind: Unlocked + Context + Kind<Context = Self> + Sized {
    /// The wheel entry of a queue's callout.
    #[doc(hidden)]
    fn alarm(engine: &Self::Engine) -> AlarmRef<'_>;

    /// Makes the queue: softclock's own code.
    #[doc(hidden)]
    fn make(owner: Owner, name: &'static CStr, timeout: Delta) -> Result<Arc<Timed<Queue<Self>>>>;

    /// A timer of a pool.
    #[doc(hidden)]
    fn pooled<'a, R: Send + Sync + 'static>(
        timers: &'a RouteTimers<R>,
        action: &'static Act<R, Self>,
        queue: u64,
        flags: Flags,
    ) -> Result<TimerRef<'a, Self>>;
}

/// A wheel entry, as softclock knows it.
#[doc(hidden)]
pub struct AlarmRef<'a>(&'a Alarm);

impl QueueKind for Soft {
    fn alarm(engine: &Alarm) -> AlarmRef<'_> {
        AlarmRef(engine)
    }

    #[inline(never)]
    fn make(owner: Owner, name: &'static CStr, timeout: Delta) -> Result<Arc<Timed<Queue<Self>>>> {
        make(owner, name, timeout)
    }

    fn pooled<'a, R: Send + Sync + 'static>(
        timers: &'a RouteTimers<R>,
        action: &'static Act<R, Self>,
        queue: u64,
        flags: Flags,
    ) -> Result<TimerRef<'a, Self>> {
        pool::soft(timers, action, queue, flags)
    }
}

impl QueueKind for Task {
    fn alarm(engine: &Worked) -> AlarmRef<'_> {
        AlarmRef(engine.entry())
    }

    #[inline(never)]
    fn make(owner: Owner, name: &'static CStr, timeout: Delta) -> Result<Arc<Timed<Queue<Self>>>> {
        make(owner, name, timeout)
    }

    fn pooled<'a, R: Send + Sync + 'static>(
        timers: &'a RouteTimers<R>,
        action: &'static Act<R, Self>,
        queue: u64,
        flags: Flags,
    ) -> Result<TimerRef<'a, Self>> {
        pool::task(timers, action, queue, flags)
    }
}

/// A queue, as softclock keeps it: the one callout of all its timers, and their order.
#[doc(hidden)]
#[pin_data]
pub struct Queue<K: Kind> {
    #[pin]
    alarm: Callout<Self, K>,
    #[pin]
    seat: Seat,
    client: Arc<Client>,
    name: Name,
    let_go: Atomic<bool>,
}

crate::impl_has_callout! { impl {K: Kind} HasCallout<K> for Queue<K> { self.alarm } }

impl<K: QueueKind> OnExpire<K> for Queue<K> {
    fn expire(this: ArcBorrow<'_, Timed<Self>>, _run: &Expiry<'_, K>) -> Next {
        // It sets its alarm itself, under its lock.
        this.seat.pass();
        Next::Stop
    }
}

fn make<K: QueueKind>(
    owner: Owner,
    name: &'static CStr,
    timeout: Delta,
) -> Result<Arc<Timed<Queue<K>>>> {
    Task::new()?;
    let hub = Hub::get()?;
    let client = hub.registry().client(owner)?;
    let routes = client.routes()?;
    let queue = Timed::new(try_pin_init!(Queue {
        // Its callback is ours.
        alarm <- Callout::ours(owner, name),
        seat <- Seat::new(routes, ids::next(), <K as Kind>::PLACE, timeout),
        client,
        name: Name::new(name.to_bytes()).map_err(|_| EINVAL)?,
        let_go: Atomic::new(false),
    }))?;
    queue
        .seat
        .tie(&queue, K::alarm(&queue.callout::<K>().engine).0)?;
    hub.routes().insert(queue.clone())?;
    Ok(queue)
}

/// A queue of any kind.
pub(crate) trait AnyQueue: Send + Sync {
    fn seat(&self) -> &Seat;
    fn client(&self) -> &Arc<Client>;
    fn name(&self) -> &str;
    /// Its owner has dropped it.
    fn is_let_go(&self) -> bool;
    /// Destroys it: no action executes when this returns. Says how many timers it had.
    fn end(&self, task: &Task) -> u64;
    /// Takes its callout off the list of what its client leaves behind.
    fn strike(&self);
}

impl<K: QueueKind> AnyQueue for Timed<Queue<K>> {
    fn seat(&self) -> &Seat {
        &self.seat
    }

    fn client(&self) -> &Arc<Client> {
        &self.client
    }

    fn name(&self) -> &str {
        self.name.as_str()
    }

    fn is_let_go(&self) -> bool {
        self.let_go.load(Acquire)
    }

    fn end(&self, task: &Task) -> u64 {
        self.seat.kill(false);
        // No action calls this, so it does wait.
        let _ = self.alarm.shutdown(task);
        let removed = self.seat.clear(task);
        // Whoever waited for the actions of all.
        wait::wake();
        removed
    }

    fn strike(&self) {
        K::alarm(&self.alarm.engine).0.strike();
    }
}

/// Timers of routes that have one timeout in common. `rt_timer_queue(9)`.
///
/// Dropping it destroys it, without running any action: what is pending is removed, an action that
/// executes ends in its own time. That never waits, and may be done in any context, the own action
/// included.
///
/// # Examples
///
/// See the [module's](super).
pub struct RouteTimerQueue<K: QueueKind = Soft> {
    queue: Arc<Timed<Queue<K>>>,
}

impl<K: QueueKind> RouteTimerQueue<K> {
    /// A queue whose timers run their actions `timeout` after they were added; zero: as soon as
    /// possible, but never inside the add; [`Delta::MAX`]: never. Task context; may block
    /// (`GFP_KERNEL`). `rt_timer_queue_create(9)`.
    ///
    /// `owner` is [`owner!()`](crate::owner); `name` is what debugfs and the log show, one word of at
    /// most 31 bytes.
    ///
    /// # Errors
    ///
    /// `EINVAL`: a bad name, or a negative timeout (the log says which). `EWOULDBLOCK` (`EAGAIN`): this
    /// context may not block. `ENOMEM`. `ENODEV`: the owner's module is being unloaded.
    pub fn new(owner: Owner, name: &'static CStr, timeout: Delta) -> Result<Self> {
        let timeout = checked(name.to_str().unwrap_or("?"), timeout)?;
        Ok(Self {
            queue: K::make(owner, name, timeout)?,
        })
    }

    /// As [`new`](Self::new) with a timeout in seconds, as `rt_timer_queue_create(9)` has it; more than
    /// 292 years: never.
    ///
    /// # Errors
    ///
    /// As for [`new`](Self::new).
    pub fn with_secs(owner: Owner, name: &'static CStr, secs: i64) -> Result<Self> {
        Self::new(owner, name, Delta::from_secs(secs))
    }

    /// Adds a timer of a route, or has it count from now on where it is pending already; one that is
    /// pending in another queue is moved here. Any context but NMI; never blocks. `rt_timer_add(9)`.
    #[inline]
    pub fn add(&self, timer: TimerRef<'_, K>) -> Added {
        self.add_at(timer, Now::read())
    }

    /// As [`add`](Self::add), with the time read before: for many adds at once. The time may be old, and
    /// the timer is due accordingly, but it never overtakes one that was added before it.
    #[inline(always)]
    pub fn add_at(&self, timer: TimerRef<'_, K>, now: Now) -> Added {
        let seat = &self.queue.seat;
        seat.refresh(timer.entry, now.0)
            .unwrap_or_else(|| seat.add(timer.entry, now.0))
    }

    /// The timeout. Any context.
    pub fn timeout(&self) -> Delta {
        self.queue.seat.timeout()
    }

    /// Has another timeout, for the timers it has as well: they are due that long after they were added.
    /// `how` says when this is looked at. Zero and [`Delta::MAX`] as in [`new`](Self::new). Any context
    /// but NMI; however many timers there are. `rt_timer_queue_change(9)`.
    ///
    /// # Errors
    ///
    /// `EINVAL`: a negative timeout. `ENODEV`: the queue is destroyed. Nothing is changed then.
    #[inline(never)]
    pub fn change(&self, timeout: Delta, how: Change) -> Result {
        let timeout = checked(self.queue.name.as_str(), timeout)?;
        if self.queue.seat.change(timeout, how == Change::Now) {
            Ok(())
        } else {
            Err(ENODEV)
        }
    }

    /// How many timers are pending. One whose action executes is not, unless it was added again. Any
    /// context but NMI. `rt_timer_count(9)`.
    pub fn count(&self) -> u64 {
        self.counts().count
    }

    fn counts(&self) -> Counts {
        self.queue.seat.counts()
    }

    /// Destroys the queue: adds are refused from here on, and when it returns no action executes.
    /// `pending` says whether the actions of the timers run: then they do so in order, in the context of
    /// the queue and a millisecond at a time, before this returns. Says how many timers it ended. Task
    /// context; blocks. `rt_timer_queue_destroy(9)`.
    ///
    /// # Errors
    ///
    /// [`CannotWait::Deadlock`]: the caller is an action of this queue, and nothing is changed; drop the
    /// queue instead. [`CannotWait::Atomic`]: sleeping has become wrong, and nothing is changed. Where
    /// actions would wait for each other in a circle, or the caller is the action of a timer that it has added
    /// here, the queue is destroyed, and only the wait is refused ([`CannotWait::Deadlock`]): the actions that
    /// have not run by then do not.
    pub fn destroy(&self, pending: Pending, task: &Task) -> Result<u64, CannotWait> {
        let fired = begin_end(&self.queue.seat, pending, task)?;
        let flushed = match pending {
            Pending::Run => wait_flushed(&self.queue.seat, task),
            Pending::Remove => Ok(()),
        };
        let ended = self.queue.alarm.shutdown(task);
        let removed = self.queue.seat.clear(task);
        flushed?;
        ended?;
        Ok(match pending {
            Pending::Run => self.queue.seat.counts().fired.saturating_sub(fired),
            Pending::Remove => removed,
        })
    }

    /// Whether it was destroyed. Any context but NMI.
    pub fn is_destroyed(&self) -> bool {
        self.queue.seat.is_dead()
    }

    /// The number debugfs shows for it; never used twice while softclock is loaded.
    pub fn id(&self) -> u64 {
        self.queue.seat.id()
    }
}

impl<K: QueueKind> Drop for RouteTimerQueue<K> {
    fn drop(&mut self) {
        let_go(&self.queue.seat, &self.queue.let_go);
    }
}

/// Refuses adds from here on, where the caller may wait for the rest; says how many actions had begun.
#[inline(never)]
fn begin_end(seat: &Seat, pending: Pending, task: &Task) -> Result<u64, CannotWait> {
    task.may_sleep_now();
    if seat.is_own() {
        return Err(CannotWait::Deadlock);
    }
    if !task.may_sleep_still() {
        return Err(CannotWait::Atomic);
    }
    Ok(seat.kill(pending == Pending::Run))
}

/// Waits until the actions of all have run.
#[inline(never)]
fn wait_flushed(seat: &Seat, task: &Task) -> Result<(), CannotWait> {
    let Ok(hub) = Hub::get() else {
        return Ok(());
    };
    let me = Runner::current();
    while let Some(kept) = seat.keep() {
        let before = seat.held_up();
        hub.waits().begin(me, Awaited::Flush(kept))?;
        wait::until(task, || seat.is_flushed() || seat.held_up() != before);
        hub.waits().end(me);
        if seat.is_flushed() {
            break;
        }
        // An action for another queue is in the way: it may wait for this.
    }
    Ok(())
}

/// Has a queue freed: no action begins from here on.
#[inline(never)]
fn let_go(seat: &Seat, flag: &Atomic<bool>) {
    seat.kill(false);
    flag.store(true, Release);
    if let Ok(hub) = Hub::get() {
        Table::reap(hub.routes());
    }
}

/// A time that was read from the clock, so that it is not in the future.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Now(Instant);

impl Now {
    /// The time now. Any context but NMI.
    #[inline]
    pub fn read() -> Self {
        Self(now())
    }

    /// The same as an instant.
    pub const fn instant(self) -> Instant {
        self.0
    }
}

#[inline(never)]
fn checked(name: &str, timeout: Delta) -> Result<Delta> {
    timeout_of(timeout).ok_or_else(|| {
        pr_err!(
            "route queue {}: a timeout of {} ns; zero and more are allowed\n",
            name,
            timeout.as_nanos()
        );
        EINVAL
    })
}
