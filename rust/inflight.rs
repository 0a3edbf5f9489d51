// SPDX-License-Identifier: GPL-2.0

//! A timer in flight: arming, expiring, running and stopping at the same time.
//!
//! This is the only place where these meet. The facilities above (callout today) decide what to run
//! and when; the rules are `policy::life`; the machine is `sys`.
//!
//! # Who holds what
//!
//! ```text
//!   client:   Arc<Timed<T>> --contains--> Anchor ----+           weak, upgraded for each run
//!                 ^                                  v                      |
//!                 +---------------------------- Arc<Node> <-- registry      |
//!                                   weak            |                       |
//!                                                   +-- hrtimer, work item -+
//! ```
//!
//! A [`Node`] is softclock's own memory, not the client's: an expiry that has already left the
//! kernel's timer queue cannot be taken back, only waited for, and waiting is not possible wherever
//! an owner may drop its object. So dropping detaches the node, and a worker reaps it later.
//!
//! # Lifetime rules
//!
//! 1. The registry keeps an `Arc` to a node from its creation until its reaping has quiesced its
//!    timer, after which nobody starts it again. This is the keep-alive rule of `HasTimer`.
//! 2. A client's callback runs only between `Life::begin` and `Life::end`, and never after `begin` was
//!    refused; its object's drop, where it is left to us, only in the reaping. So when all is drained
//!    and reaped, the client's module may go.
//! 3. An object whose last reference a run held is not dropped inside the run, but by the reaping.

mod waits;

pub(crate) use self::waits::Waits;

use crate::{
    policy::{
        deadline::{Delta, Instant},
        life::{Arm, CannotWait, Drain, Draining, Life, Next, Shown, Stop},
        name::Name,
    },
    registry::Client,
    sys::{
        context::{monotonic_ns, Runner, Task},
        hrtimer::{impl_has_timer, Timer},
        lock::RawLock,
        target::{impl_has_weak, Held, Ops, Remains, Weak},
        wait,
    },
    Hub,
};
use kernel::{
    prelude::*,
    static_lock_class,
    sync::{Arc, ArcBorrow},
    workqueue::{impl_has_work, Work, WorkItem},
};

/// The time now. Any context but NMI.
#[inline(never)]
pub fn now() -> Instant {
    Instant::from_nanos(monotonic_ns())
}

/// Where a callback executes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In softirq context: it may not sleep.
    Soft,
    /// In a worker thread: it may sleep.
    Task,
}

impl Place {
    /// The word shown in debugfs.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Soft => "soft",
            Self::Task => "task",
        }
    }
}

/// What a callback is told about its run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Firing {
    /// The deadline it was armed for.
    pub(crate) due: Instant,
    /// When the run began.
    pub(crate) began: Instant,
}

/// Counters of one timer, in the order debugfs shows them.
#[derive(Clone, Copy, Default)]
pub(crate) struct Stats {
    pub(crate) armed: u64,
    pub(crate) fired: u64,
    pub(crate) cancelled: u64,
    pub(crate) refused: u64,
    pub(crate) late_max_ns: i64,
}

struct State {
    life: Life,
    due: Instant,
    runner: Option<Runner>,
    /// The client's object is going: the node can be reaped.
    detached: bool,
    /// Rule 3.
    remains: Option<Remains<Firing, Next>>,
    /// The state it was in when its module had left.
    left: Shown,
    stats: Stats,
}

/// One timer.
#[pin_data]
pub(crate) struct Node {
    #[pin]
    state: RawLock<State>,
    #[pin]
    target: Weak<Firing, Next>,
    #[pin]
    timer: Timer,
    #[pin]
    call: Work<Node, CALL>,
    #[pin]
    reap: Work<Node, REAP>,
    client: Arc<Client>,
    place: Place,
    name: Name,
    id: u64,
}

impl_has_timer!(Node { self.timer }, Node::on_timer);
impl_has_weak!(Node { self.target }, Firing, Next);
impl_has_work! {
    impl HasWork<Self, CALL> for Node { self.call }
    impl HasWork<Self, REAP> for Node { self.reap }
}

/// The work item that calls the client.
const CALL: u64 = 0;
/// The work item that finishes what an interrupt cannot.
const REAP: u64 = 1;

/// What a reader sees of a timer, taken at one moment.
pub(crate) struct Snapshot {
    pub(crate) shown: Shown,
    pub(crate) due: Option<Instant>,
    pub(crate) stats: Stats,
}

impl Node {
    /// A timer that is idle. The registry calls this, and keeps rule 1.
    #[inline(never)]
    pub(crate) fn new(
        client: Arc<Client>,
        ops: &'static Ops<Firing, Next>,
        place: Place,
        name: Name,
        id: u64,
    ) -> Result<Arc<Self>> {
        let state = State {
            life: Life::new(),
            due: Instant::NEVER,
            runner: None,
            detached: false,
            remains: None,
            left: Shown::Idle,
            stats: Stats::default(),
        };
        Arc::pin_init(
            pin_init!(Self {
                state <- RawLock::new(state, c"softclock_node", static_lock_class!()),
                target <- Weak::new(ops, c"softclock_target", static_lock_class!()),
                timer <- Timer::new::<Self>(),
                call <- Work::new(c"softclock_call", static_lock_class!()),
                reap <- Work::new(c"softclock_reap", static_lock_class!()),
                client,
                place,
                name,
                id,
            }),
            GFP_KERNEL,
        )
    }

    /// Arms the timer for `due`, replacing a pending run. Any context but NMI; never blocks.
    #[inline(never)]
    pub(crate) fn arm(&self, due: Instant) -> Arm {
        self.arm_at(due, now())
    }

    /// Arms the timer for `after` from now.
    #[inline(never)]
    pub(crate) fn arm_after(&self, after: Delta) -> Arm {
        let now = now();
        self.arm_at(now + after, now)
    }

    fn arm_at(&self, due: Instant, now: Instant) -> Arm {
        let mut state = self.state.lock();
        let answer = state.life.arm();
        if matches!(answer, Arm::Refused(_)) {
            bump(&mut state.stats.refused);
        } else {
            self.start(&mut state, due, now);
        }
        answer
    }

    /// Cancels a pending run. Any context but NMI; never blocks.
    #[inline(never)]
    pub(crate) fn stop(&self) -> Stop {
        let mut state = self.state.lock();
        let own = Self::is_own(&state);
        let before = state.life;
        let answer = state.life.stop(own);
        self.forget_pending(&mut state, before);
        answer
    }

    /// Cancels a pending run and waits for one in progress.
    #[inline(never)]
    pub(crate) fn drain(this: &Arc<Self>, task: &Task) -> Result<Drain, CannotWait> {
        Self::end_runs(this, task, false)
    }

    /// As [`drain`](Self::drain), and refuses every later arm.
    #[inline(never)]
    pub(crate) fn shutdown(this: &Arc<Self>, task: &Task) -> Result<Drain, CannotWait> {
        Self::end_runs(this, task, true)
    }

    /// Whether a run is owed.
    #[inline(never)]
    pub(crate) fn is_pending(&self) -> bool {
        self.state.lock().life.is_pending()
    }

    /// Whether arming is refused for ever.
    #[inline(never)]
    pub(crate) fn is_shut(&self) -> bool {
        self.state.lock().life.is_shut()
    }

    /// Gives the node up: the client's object, or its code, is going. Any context but NMI; never
    /// blocks. Where the object is being dropped, a run in progress has no client's code left to
    /// execute, as it would hold a reference.
    #[inline(never)]
    pub(crate) fn detach(this: &Arc<Self>) {
        let mut state = this.state.lock();
        state.life.shut();
        let before = state.life;
        state.life.stop(false);
        this.forget_pending(&mut state, before);
        state.detached = true;
        drop(state);
        Self::reap(this.as_arc_borrow());
    }

    /// A view for debugfs; `None` when the owner has let go.
    pub(crate) fn snapshot(&self) -> Option<Snapshot> {
        let state = self.state.lock();
        (!state.detached).then(|| Snapshot {
            shown: state.life.shown(),
            due: state.life.is_armed().then_some(state.due),
            stats: state.stats,
        })
    }

    /// The owner's module has left: nothing of it runs when this returns.
    pub(crate) fn owner_left(this: &Arc<Self>, task: &Task) {
        let mut state = this.state.lock();
        state.left = state.life.shown();
        drop(state);
        // No callback calls this, so it does wait.
        let _ = Self::shutdown(this, task);
    }

    /// Says in the log that the owner's module has left this timer behind, and in which state.
    pub(crate) fn report_leak(&self) {
        let left = self.state.lock().left;
        pr_warn!(
            "client {} left callout {} (id {}, {}) behind\n",
            self.client.name(),
            self.name.as_str(),
            self.id,
            left.as_str(),
        );
    }

    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    pub(crate) fn name(&self) -> &Name {
        &self.name
    }

    pub(crate) fn client(&self) -> &Arc<Client> {
        &self.client
    }

    pub(crate) fn place(&self) -> Place {
        self.place
    }

    pub(crate) fn is_detached(&self) -> bool {
        self.state.lock().detached
    }

    fn start(&self, state: &mut State, due: Instant, now: Instant) {
        state.due = due;
        bump(&mut state.stats.armed);
        // Not in the past, and not at an instant that is already being expired: a softirq callback
        // that arms itself for those would be called again by the same loop, for ever.
        let next = now + Delta::from_nanos(1);
        self.timer.start(due.max(next).as_nanos());
    }

    /// What `before` still owed is gone: the queue entry too, so that an idle timer costs nothing.
    fn forget_pending(&self, state: &mut State, before: Life) {
        if before.is_pending() {
            bump(&mut state.stats.cancelled);
        }
        if before.is_armed() {
            self.timer.unqueue();
        }
    }

    fn is_own(state: &State) -> bool {
        state.runner.is_some_and(Runner::is_here)
    }

    fn end_runs(this: &Arc<Self>, task: &Task, shut: bool) -> Result<Drain, CannotWait> {
        task.may_sleep_now();
        let mut state = this.state.lock();
        if shut {
            state.life.shut();
        }
        let own = Self::is_own(&state);
        let before = state.life;
        let how = state.life.drain(own);
        this.forget_pending(&mut state, before);
        let run = state.stats.fired;
        drop(state);
        match how {
            Draining::Done(answer) => Ok(answer),
            Draining::Own => Err(CannotWait::Deadlock),
            Draining::Wait => Self::wait_for(this, run, task),
        }
    }

    /// Waits for the end of run number `run`, unless that would be for ever.
    fn wait_for(this: &Arc<Self>, run: u64, task: &Task) -> Result<Drain, CannotWait> {
        if !task.may_sleep_still() {
            return Err(CannotWait::Atomic);
        }
        let hub = Hub::get().ok();
        let me = Runner::current();
        if let Some(hub) = &hub {
            hub.waits().begin(me, this, run)?;
        }
        wait::until(task, || this.has_ended(run));
        if let Some(hub) = &hub {
            hub.waits().end(me);
        }
        Ok(Drain::Finished)
    }

    /// Who executes run number `run`; `None` when it is over.
    fn runner_of(&self, run: u64) -> Option<Runner> {
        let state = self.state.lock();
        if state.stats.fired == run {
            state.runner
        } else {
            None
        }
    }

    /// Whether the run that was number `run` is over: another one may have begun since.
    fn has_ended(&self, run: u64) -> bool {
        let state = self.state.lock();
        !state.life.is_running() || state.stats.fired != run
    }

    /// The deadline has come: softirq context, from `sys::hrtimer`.
    fn on_timer(this: ArcBorrow<'_, Self>) {
        let mut state = this.state.lock();
        // Queued again since: somebody re-armed while this expiry was on its way here.
        if this.timer.is_queued() || !state.life.expire() {
            return;
        }
        drop(state);
        match this.place {
            Place::Soft => Self::execute(this),
            Place::Task => {
                // Already enqueued: then it will find the run that is owed now.
                if let Ok(hub) = Hub::get() {
                    let _ = hub.callbacks().enqueue::<_, CALL>(Arc::from(this));
                }
            }
        }
    }

    /// Calls the client, if a run is still owed.
    fn execute(this: ArcBorrow<'_, Self>) {
        let Some((held, firing)) = this.begin() else {
            return;
        };
        let next = held.run(firing);
        // Rule 2: from here on nothing is the client's code.
        if let Some(remains) = held.put() {
            // Rule 3. Before the end of the run, so that who waits for that finds it on its way.
            this.state.lock().remains = Some(remains);
            Self::reap(this);
        }
        if this.end(next) {
            wait::wake();
        }
    }

    /// Leaves the rest to a worker. Any context but NMI; never blocks, never allocates.
    fn reap(this: ArcBorrow<'_, Self>) {
        // The hub outlives every client, and so every node that has something to reap.
        let Ok(hub) = Hub::get() else {
            return;
        };
        this.client.reaping();
        // Enqueued before: that run will see the node as it is by then.
        if hub.teardown().enqueue::<_, REAP>(Arc::from(this)).is_err() {
            this.client.reaped();
        }
    }

    fn begin(&self) -> Option<(Held<Firing, Next>, Firing)> {
        let mut state = self.state.lock();
        if !state.life.begin() {
            return None;
        }
        let Some(held) = self.target.get() else {
            // The object is going; its drop is about to detach this node.
            state.life.end(false);
            return None;
        };
        let began = now();
        state.runner = Some(Runner::current());
        bump(&mut state.stats.fired);
        let late = began.since(state.due).as_nanos();
        state.stats.late_max_ns = state.stats.late_max_ns.max(late);
        let firing = Firing {
            due: state.due,
            began,
        };
        Some((held, firing))
    }

    /// Ends a run; says whether somebody waits for that.
    fn end(&self, next: Next) -> bool {
        let now = now();
        let due = match next {
            Next::Stop => None,
            Next::After(delta) => Some(now + delta),
            Next::At(due) => Some(due),
        };
        let mut state = self.state.lock();
        state.runner = None;
        let end = state.life.end(due.is_some());
        if let (true, Some(due)) = (end.rearm, due) {
            self.start(&mut state, due, now);
        }
        end.wake
    }
}

/// Counts one more.
fn bump(counter: &mut u64) {
    *counter = counter.saturating_add(1);
}

impl WorkItem<CALL> for Node {
    type Pointer = Arc<Self>;

    fn run(this: Arc<Self>) {
        Self::execute(this.as_arc_borrow());
    }
}

impl WorkItem<REAP> for Node {
    type Pointer = Arc<Self>;

    /// Finishes in task context what an interrupt cannot: drops a client's object whose last
    /// reference a run held, and frees a node whose object is gone.
    fn run(this: Arc<Self>) {
        let remains = this.state.lock().remains.take();
        // May call the client's drop, which detaches this node and others.
        drop(remains);
        if this.is_detached() {
            // Rule 1. A run that is about to end has left the client's code, and holds the node.
            this.timer.quiesce();
            if let Ok(hub) = Hub::get() {
                hub.registry().remove(&this);
            }
        }
        this.client.reaped();
    }
}
