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
//! 4. What a worker will do for a node is counted with its client from the moment it is enqueued until it
//!    has been done: before a run begins, and after it has ended, it still uses the client's operations,
//!    and may tell it of that end. The unload waits for the count; for what interrupts do it waits anyhow.

mod precisely;
mod run;
mod waits;

pub use self::precisely::Precisely;
pub(crate) use self::waits::{Awaited, Waits};

use crate::{
    policy::{
        deadline::{Delta, Instant},
        life::{Arm, CannotWait, Drain, Draining, Life, Refusal, Shown, Stop},
        name::Name,
        place::Place,
    },
    registry::Client,
    sys::{
        context::{monotonic_ns, Runner, Task},
        hrtimer::{impl_has_timer, Timer},
        lock::RawLock,
        target::{impl_has_weak, Ops, Remains, Weak},
        wait,
        wheel::When,
    },
    Hub,
};
use kernel::{
    prelude::*,
    static_lock_class,
    sync::Arc,
    workqueue::{impl_has_work, Work},
};

/// The time now. Any context but NMI.
#[inline]
pub fn now() -> Instant {
    Instant::of_clock(monotonic_ns())
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
    /// Armed, and neither stopped, drained nor deactivated since.
    active: bool,
    /// The end of the present run is to be reported.
    report: bool,
    /// The client's object is going: the node can be reaped.
    detached: bool,
    /// Rule 3.
    remains: Option<Remains>,
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
    target: Weak,
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
impl_has_weak!(Node { self.target });
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
        ops: &'static Ops,
        place: Place,
        name: Name,
        id: u64,
    ) -> Result<Arc<Self>> {
        let state = State {
            life: Life::new(),
            due: Instant::NEVER,
            runner: None,
            active: false,
            report: false,
            detached: false,
            remains: None,
            left: Shown::Idle,
            stats: Stats::default(),
        };
        Arc::pin_init(
            pin_init!(Self {
                state <- RawLock::new(state, c"softclock_node", static_lock_class!()),
                target <- Weak::new(ops, c"softclock_target", static_lock_class!()),
                timer <- Timer::new::<Self>(place == Place::Hard),
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

    /// Arms the timer, replacing a pending run. Any context but NMI; never blocks.
    fn arm(&self, when: When, now: Instant) -> Arm {
        let mut state = self.state.lock();
        if !self.fits(when) {
            bump(&mut state.stats.refused);
            return Arm::Refused(Refusal::NoCpu);
        }
        let answer = state.life.arm();
        if matches!(answer, Arm::Refused(_)) {
            bump(&mut state.stats.refused);
        } else {
            state.active = true;
            self.start(&mut state, when, now);
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
        state.active = false;
        self.forget_pending(&mut state, before);
        answer
    }

    /// Cancels a pending run, and has the end of a run in progress reported.
    #[inline(never)]
    fn report_end(&self) -> Stop {
        let mut state = self.state.lock();
        let before = state.life;
        // By the own callback as by any other: until its end arms are refused, and nothing it returns counts.
        let answer = match state.life.drain(false) {
            Draining::Done(Drain::Cancelled) => Stop::Cancelled,
            Draining::Done(_) => Stop::Idle,
            Draining::Wait | Draining::Own => Stop::Running,
        };
        state.active = false;
        state.report |= answer == Stop::Running;
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

    /// Refuses every later arm, and cancels a pending run.
    #[inline(never)]
    fn close(&self) {
        let mut state = self.state.lock();
        self.shut(&mut state);
    }

    fn shut(&self, state: &mut State) {
        state.life.shut();
        let before = state.life;
        state.life.stop(false);
        state.active = false;
        self.forget_pending(state, before);
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
        this.shut(&mut state);
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

    /// Whether it would expire where `when` wants it. Under the lock of the state, which keeps this thread where it
    /// is. What is refused hereafter had nothing queued.
    fn fits(&self, when: When) -> bool {
        when.cpu.is_none() || when.is_for_here() && self.timer.comes_here()
    }

    fn start(&self, state: &mut State, when: When, now: Instant) {
        state.due = when.due;
        bump(&mut state.stats.armed);
        let due = not_before(when.due, now);
        let window = when.window.as_nanos();
        self.timer.start(due, window, when.cpu.is_some());
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
        state.active = false;
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
            hub.waits().begin(me, Awaited::Node(this.clone(), run))?;
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
}

/// `due`, but after `now`. Not at an instant that is already being expired: a softirq callback that arms
/// itself for one would be called again by the same loop, for ever.
fn not_before(due: Instant, now: Instant) -> i64 {
    due.max(now + Delta::from_nanos(1)).as_nanos()
}

/// Counts one more.
fn bump(counter: &mut u64) {
    *counter = counter.saturating_add(1);
}
