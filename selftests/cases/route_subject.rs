// SPDX-License-Identifier: GPL-2.0

//! A route under test: its actions do what a case tells them, and record what they saw.

use crate::{
    harness::{Fault, Verdict},
    subject::{pause_us, sleep_ms, sleep_until, spin_until},
};
use core::any::TypeId;
use kernel::cpu::{nr_cpu_ids, CpuId};
use softclock::{new_hard_lock, prelude::*};

/// How many peers were dropped so far, how many of them while their action executed, and how many
/// where sleeping is allowed.
pub(crate) static DROPPED: Atomic<u64> = Atomic::new(0);
pub(crate) static DROPPED_IN_RUN: Atomic<u64> = Atomic::new(0);
pub(crate) static DROPPED_IN_TASK: Atomic<u64> = Atomic::new(0);

pub(crate) type Queue<K> = RouteTimerQueue<K>;

/// What the first action does.
pub(crate) enum Act1<K: QueueKind> {
    Nothing,
    /// Stay for 20 ms.
    Stay,
    /// Stay for so many microseconds, busily.
    Pause(i64),
    /// Add this timer again.
    Readd(Arc<Queue<K>>),
    /// Add this timer to that queue, and stay for 20 ms.
    ReaddAndStay(Arc<Queue<K>>),
    /// Add the first timer of that peer.
    Add(Arc<Queue<K>>, Arc<Timed<Peer<K>>>),
    /// Destroy that queue, and wait.
    Destroy(Arc<Queue<K>>),
    /// Drop that queue.
    DropQueue(Option<KBox<Queue<K>>>),
    /// Remove all timers of these peers, of this one too.
    RemoveAll(KVec<Arc<Timed<Peer<K>>>>),
    /// Remove all timers of this peer, and wait.
    RemoveAllAndWait,
    /// Remove all timers of that peer, and wait, when it is acting.
    WaitFor(Arc<Timed<Peer<K>>>),
    /// Destroy that queue, with the actions, when that peer is acting.
    Flush(Arc<Queue<K>>, Arc<Timed<Peer<K>>>),
    /// Add this timer to that queue, and destroy it, with the actions.
    ReaddAndFlush(Arc<Queue<K>>),
    /// Drop that reference.
    DropMe(Option<Arc<Timed<Peer<K>>>>),
    /// Have the timers of that queue due in an hour.
    Lengthen(Arc<Queue<K>>),
    /// Note how many timers the queue has.
    Count(Arc<Queue<K>>),
}

#[pin_data(PinnedDrop)]
pub(crate) struct Peer<K: QueueKind> {
    pub(crate) id: u64,
    #[pin]
    pub(crate) first: RouteTimer<Self, First<K>>,
    #[pin]
    pub(crate) second: RouteTimer<Self, Second<K>>,
    #[pin]
    pub(crate) delete: RouteTimer<Self, DeleteRoute<K>>,
    #[pin]
    pub(crate) others: RouteTimers<Self>,
    #[pin]
    pub(crate) act: HardLock<Act1<K>>,
    pub(crate) log: Option<Arc<Log>>,
    pub(crate) runs: Atomic<u64>,
    pub(crate) ended: Atomic<u64>,
    pub(crate) seconds: Atomic<u64>,
    pub(crate) pooled: Atomic<u64>,
    pub(crate) deleted: Atomic<u64>,
    pub(crate) early: Atomic<u64>,
    /// Runs that began during another one.
    pub(crate) overlaps: Atomic<u64>,
    pub(crate) began_ns: Atomic<i64>,
    pub(crate) due_ns: Atomic<i64>,
    pub(crate) cpu: Atomic<u32>,
    /// What the action counted, or was answered.
    pub(crate) saw: Atomic<u64>,
    calm: Atomic<bool>,
    /// The last field: the timers are gone when it is.
    _dropped: Dropped,
}

/// Counts those that were dropped.
struct Dropped;

impl Drop for Dropped {
    fn drop(&mut self) {
        DROPPED.fetch_add(1, Release);
    }
}

/// Its own drain or destroy was refused as a deadlock.
pub(crate) const SAW_DEADLOCK: u64 = 1 << 32;
/// Its wait ended.
pub(crate) const SAW_END: u64 = 1 << 33;

impl_has_route_timers! {
    impl {K: QueueKind} HasRouteTimers for Peer<K> {
        First<K>: self.first, Second<K>: self.second, DeleteRoute<K>: self.delete; self.others
    }
}

pub(crate) struct First<K>(K);
pub(crate) struct Second<K>(K);

/// Who ran, in order, and when that was due.
#[pin_data]
pub(crate) struct Log {
    #[pin]
    runs: HardLock<KVVec<(u64, Instant)>>,
}

impl Log {
    pub(crate) fn new(room: usize) -> Result<Arc<Self>> {
        let runs = KVVec::with_capacity(room, GFP_KERNEL)?;
        Arc::pin_init(pin_init!(Self { runs <- new_hard_lock!(runs) }), GFP_KERNEL)
    }

    fn add(&self, id: u64, due: Instant) {
        let _ = self.runs.lock().push_within_capacity((id, due));
    }

    pub(crate) fn len(&self) -> usize {
        self.runs.lock().len()
    }

    pub(crate) fn last(&self) -> Option<u64> {
        self.runs.lock().last().map(|(id, _)| *id)
    }

    /// They are 0, 1, 2 and so on.
    pub(crate) fn is_in_order(&self) -> bool {
        let runs = self.runs.lock();
        let mut runs = runs.iter().enumerate();
        runs.all(|(index, (id, _))| index as u64 == *id)
    }

    /// The same, but those that were due at one time may come in any order.
    pub(crate) fn is_in_due_order(&self) -> bool {
        let runs = self.runs.lock();
        runs.windows(2).all(|pair| {
            let ((a, due_a), (b, due_b)) = (pair[0], pair[1]);
            due_a == due_b || due_a < due_b && a < b
        })
    }

    /// How many had run when there was no more of one of two parties.
    pub(crate) fn until_one_is_through(&self, is_of_one: impl Fn(u64) -> bool) -> usize {
        let runs = self.runs.lock();
        let last = |party| runs.iter().rposition(|(id, _)| is_of_one(*id) == party);
        last(true).min(last(false)).map_or(0, |last| last + 1)
    }
}

impl<K: QueueKind> Peer<K> {
    pub(crate) fn new(act: Act1<K>) -> Result<Arc<Timed<Self>>> {
        Self::numbered(0, None, act)
    }

    pub(crate) fn numbered(
        id: u64,
        log: Option<Arc<Log>>,
        act: Act1<K>,
    ) -> Result<Arc<Timed<Self>>> {
        let owner = softclock::owner!();
        Timed::new(try_pin_init!(Self {
            id,
            first <- RouteTimer::new(owner, c"first"),
            second <- RouteTimer::new(owner, c"second"),
            delete <- RouteTimer::new(owner, c"delete"),
            others <- RouteTimers::new(owner, c"others"),
            act <- new_hard_lock!(act),
            log,
            runs: Atomic::new(0),
            ended: Atomic::new(0),
            seconds: Atomic::new(0),
            pooled: Atomic::new(0),
            deleted: Atomic::new(0),
            early: Atomic::new(0),
            overlaps: Atomic::new(0),
            began_ns: Atomic::new(0),
            due_ns: Atomic::new(0),
            cpu: Atomic::new(u32::MAX),
            saw: Atomic::new(0),
            calm: Atomic::new(false),
            _dropped: Dropped,
        }))
    }

    pub(crate) fn runs(&self) -> u64 {
        self.runs.load(Acquire)
    }

    fn see(&self, what: u64) {
        self.saw.store(self.saw.load(Acquire) | what, Release);
    }

    pub(crate) fn saw(&self) -> u64 {
        self.saw.load(Acquire)
    }

    /// Actions that begin later do nothing. Nothing may keep a cycle of references.
    pub(crate) fn calm(&self) {
        self.calm.store(true, Release);
        let act = core::mem::replace(&mut *self.act.lock(), Act1::Nothing);
        drop(act);
    }
}

#[pinned_drop]
impl<K: QueueKind> PinnedDrop for Peer<K> {
    fn drop(self: Pin<&mut Self>) {
        if self.runs.load(Acquire) != self.ended.load(Acquire) {
            DROPPED_IN_RUN.fetch_add(1, Relaxed);
        }
        if Task::new().is_ok() {
            DROPPED_IN_TASK.fetch_add(1, Relaxed);
        }
    }
}

impl<K: QueueKind> Route for Peer<K> {
    fn delete(this: ArcBorrow<'_, Timed<Self>>) {
        this.deleted.fetch_add(1, Release);
    }
}

impl<K: QueueKind> RouteAction<Peer<K>> for Second<K> {
    type Kind = K;

    fn act(peer: ArcBorrow<'_, Timed<Peer<K>>>, _run: &Expiry<'_, K>) {
        peer.seconds.fetch_add(1, Release);
    }
}

/// An action chosen at run time.
pub(crate) fn pooled<K: QueueKind>(peer: ArcBorrow<'_, Timed<Peer<K>>>, _run: &Expiry<'_, K>) {
    peer.pooled.fetch_add(1, Release);
}

impl<K: QueueKind> RouteAction<Peer<K>> for First<K> {
    type Kind = K;

    fn act(peer: ArcBorrow<'_, Timed<Peer<K>>>, run: &Expiry<'_, K>) {
        if run.began() < run.due() {
            peer.early.fetch_add(1, Relaxed);
        }
        peer.began_ns.store(run.began().as_nanos(), Relaxed);
        peer.due_ns.store(run.due().as_nanos(), Relaxed);
        peer.cpu.store(CpuId::current().as_u32(), Relaxed);
        if let Some(log) = &peer.log {
            log.add(peer.id, run.due());
        }
        if peer.runs() != peer.ended.load(Acquire) {
            peer.overlaps.fetch_add(1, Relaxed);
        }
        peer.runs.fetch_add(1, Release);
        let act = core::mem::replace(&mut *peer.act.lock(), Act1::Nothing);
        let mut act = perform(peer, act);
        {
            let mut slot = peer.act.lock();
            if !peer.calm.load(Acquire) {
                core::mem::swap(&mut *slot, &mut act);
            }
        }
        drop(act);
        peer.ended.fetch_add(1, Release);
    }
}

/// Does it; gives what to do the next time.
fn perform<K: QueueKind>(peer: ArcBorrow<'_, Timed<Peer<K>>>, mut act: Act1<K>) -> Act1<K> {
    match &mut act {
        Act1::Nothing => {}
        Act1::Stay => stay::<K>(20),
        Act1::Pause(us) => pause_us(*us),
        Act1::Readd(queue) => {
            if queue.add(peer.timer::<First<K>>()) == Added::New {
                peer.see(1);
            }
        }
        Act1::ReaddAndStay(queue) => {
            if peer.runs() == 1 {
                let _ = queue.add(peer.timer::<First<K>>());
                stay::<K>(20);
            }
        }
        Act1::Add(queue, other) => {
            let _ = queue.add(other.timer::<First<K>>());
            return Act1::Nothing;
        }
        Act1::Destroy(queue) => {
            if let Ok(task) = Task::new() {
                if queue.destroy(Pending::Remove, &task) == Err(CannotWait::Deadlock) {
                    peer.see(SAW_DEADLOCK);
                }
            }
        }
        Act1::DropQueue(queue) => drop(queue.take()),
        Act1::RemoveAll(others) => {
            let own = peer.remove_all_async();
            let mut removed = own.removed;
            for other in others.iter() {
                removed += other.remove_all_async().removed;
            }
            peer.see(removed as u64 | (own.running as u64) << 16);
        }
        Act1::RemoveAllAndWait => {
            if let Ok(task) = Task::new() {
                if peer.remove_all(&task) == Err(CannotWait::Deadlock) {
                    peer.see(SAW_DEADLOCK);
                }
            }
        }
        Act1::WaitFor(other) => {
            if let Ok(task) = Task::new() {
                wait(|| other.runs() > 0);
                match other.remove_all(&task) {
                    Err(CannotWait::Deadlock) => peer.see(SAW_DEADLOCK),
                    _ => peer.see(SAW_END),
                }
            }
        }
        Act1::Flush(queue, other) => {
            if let Ok(task) = Task::new() {
                wait(|| other.runs() > 0);
                match queue.destroy(Pending::Run, &task) {
                    Err(CannotWait::Deadlock) => peer.see(SAW_DEADLOCK),
                    _ => peer.see(SAW_END),
                }
            }
        }
        Act1::ReaddAndFlush(queue) => {
            if let Ok(task) = Task::new() {
                let _ = queue.add(peer.timer::<First<K>>());
                match queue.destroy(Pending::Run, &task) {
                    Err(CannotWait::Deadlock) => peer.see(SAW_DEADLOCK),
                    _ => peer.see(SAW_END),
                }
            }
        }
        Act1::DropMe(me) => drop(me.take()),
        Act1::Lengthen(queue) => {
            let _ = queue.change(Delta::from_secs(3_600), Change::Now);
        }
        Act1::Count(queue) => peer.see(1 + queue.count()),
    }
    act
}

/// Stays in an action.
fn stay<K: QueueKind>(ms: i64) {
    if is_task::<K>() {
        sleep_ms(ms);
    } else {
        spin_until(ms * 1_000_000, || false);
    }
}

/// Its actions may sleep.
fn is_task<K: QueueKind>() -> bool {
    TypeId::of::<K>() == TypeId::of::<Task>()
}

pub(crate) fn queue<K: QueueKind>(ms: i64) -> Result<Queue<K>> {
    RouteTimerQueue::new(softclock::owner!(), c"queue", Delta::from_millis(ms))
}

/// A queue whose timers are due in an hour, so that no guest is too slow for what is checked before they
/// are hurried.
pub(crate) fn idle<K: QueueKind>() -> Result<Queue<K>> {
    queue(3_600_000)
}

/// Has the timers of a queue due `ms` after they were added.
pub(crate) fn hurry<K: QueueKind>(queue: &Queue<K>, ms: i64) -> Result {
    queue.change(Delta::from_millis(ms), Change::Now)
}

/// Sleeps until `done`, for as long as the slowest guest may need.
pub(crate) fn wait(done: impl Fn() -> bool) -> bool {
    sleep_until(20_000, done)
}

/// Calls `case` again where the guest was too slow for it, which it then answers.
pub(crate) fn unhurried(case: impl Fn() -> Verdict) -> Verdict {
    for _ in 0..20 {
        let verdict = case();
        if !matches!(verdict, Err(Fault::Retry)) {
            return verdict;
        }
    }
    Err(Fault::Retry)
}

pub(crate) fn shared<K: QueueKind>(ms: i64) -> Result<Arc<Queue<K>>> {
    Ok(Arc::new(queue(ms)?, GFP_KERNEL)?)
}

/// Calls `then` while the first action of a new peer executes, which it does for 20 ms.
pub(crate) fn while_acting<K: QueueKind>(
    then: impl Fn(&Arc<Timed<Peer<K>>>, &Arc<Queue<K>>) -> Verdict,
) -> Verdict {
    if !is_task::<K>() && nr_cpu_ids() < 2 {
        return Err(Fault::Skip("needs two CPUs"));
    }
    for attempt in 0..100 {
        let queue = shared::<K>(0)?;
        let peer = Peer::<K>::new(Act1::Stay)?;
        let (to, whose) = (queue.clone(), peer.clone());
        // From a worker, so that it expires on that worker's CPU.
        let armer = Closure::<Task>::new(softclock::owner!(), c"armer", move |_run| {
            let _ = to.add(whose.timer::<First<K>>());
            Next::Stop
        })?;
        armer.callout().arm_after(Delta::ZERO);
        let entered = || peer.runs() > 0;
        // A busy thread keeps its CPU and sends the worker to the other one; where that fails, a
        // sleeping one may wake up there.
        if attempt % 2 == 0 && !is_task::<K>() {
            spin_until(100_000_000, entered);
        } else {
            sleep_until(100, entered);
        }
        if entered() && peer.ended.load(Acquire) == 0 {
            let verdict = then(&peer, &queue);
            if !matches!(verdict, Err(Fault::Retry)) {
                return verdict;
            }
        }
    }
    if is_task::<K>() {
        return Err(Fault::Retry);
    }
    Err(Fault::Skip(
        "its action and this thread never got a CPU each",
    ))
}

/// Actions chosen at run time, for each kind: statics cannot be generic.
pub(crate) trait Chosen: QueueKind {
    fn one() -> &'static Act<Peer<Self>, Self>;
    /// The same function, but another action.
    fn two() -> &'static Act<Peer<Self>, Self>;
    fn delete() -> &'static Act<Peer<Self>, Self>;
}

impl Chosen for Soft {
    fn one() -> &'static Act<Peer<Self>, Self> {
        static ONE: Act<Peer<Soft>, Soft> = Act::new(pooled);
        &ONE
    }

    fn two() -> &'static Act<Peer<Self>, Self> {
        static TWO: Act<Peer<Soft>, Soft> = Act::new(pooled);
        &TWO
    }

    fn delete() -> &'static Act<Peer<Self>, Self> {
        static DELETE: Act<Peer<Soft>, Soft> = Act::delete();
        &DELETE
    }
}

impl Chosen for Task {
    fn one() -> &'static Act<Peer<Self>, Self> {
        static ONE: Act<Peer<Task>, Task> = Act::new(pooled);
        &ONE
    }

    fn two() -> &'static Act<Peer<Self>, Self> {
        static TWO: Act<Peer<Task>, Task> = Act::new(pooled);
        &TWO
    }

    fn delete() -> &'static Act<Peer<Self>, Self> {
        static DELETE: Act<Peer<Task>, Task> = Act::delete();
        &DELETE
    }
}

/// The same case for actions in each context.
macro_rules! both {
    ($name:literal, $case:ident) => {
        [
            $crate::harness::Case {
                name: concat!($name, " (soft)"),
                run: $case::<softclock::Soft>,
            },
            $crate::harness::Case {
                name: concat!($name, " (task)"),
                run: $case::<softclock::Task>,
            },
        ]
    };
}
pub(crate) use both;
