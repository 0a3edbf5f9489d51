// SPDX-License-Identifier: GPL-2.0

//! The run of a timer in flight, from its expiry to its end, and what an interrupt leaves to a worker.

use super::{bump, not_before, now, Node, State, CALL, REAP};
use crate::{
    policy::{
        deadline::{Delta, Instant},
        life::Next,
        place::Place,
    },
    sys::{
        context::Runner,
        firing::{Begin, Firing},
        hrtimer::Then,
        target::Held,
        wait,
        wheel::When,
    },
    Hub,
};
use core::cell::Cell;
use kernel::{
    sync::{Arc, ArcBorrow},
    workqueue::WorkItem, //
};

impl Node {
    /// The deadline has come: hard interrupt or softirq context, from `sys::hrtimer`.
    pub(super) fn on_timer(this: ArcBorrow<'_, Self>) -> Then {
        if this.place == Place::Task {
            if this.is_due(&mut this.state.lock()) {
                Self::call(this);
            }
            Then::Rest
        } else if this.target.locks() {
            if !this.is_due(&mut this.state.lock()) {
                return Then::Rest;
            }
            Self::execute(this)
        } else {
            Self::execute_at_once(this)
        }
    }

    /// Leaves the call to a worker. Rule 4.
    fn call(this: ArcBorrow<'_, Self>) {
        let Ok(hub) = Hub::get() else {
            return;
        };
        this.client.comes();
        // Enqueued before: then it will find the run that is owed now.
        if hub.callbacks().enqueue::<_, CALL>(Arc::from(this)).is_err() {
            this.client.does_not_come();
        }
    }

    /// This expiry is that of a run which is owed.
    fn is_due(&self, state: &mut State) -> bool {
        // Queued again since: somebody re-armed while this expiry was on its way here.
        !self.timer.is_queued() && state.life.expire()
    }

    /// Calls the client in the expiry itself: neither a worker nor a lock comes first.
    fn execute_at_once(this: ArcBorrow<'_, Self>) -> Then {
        let Some(held) = this.target.get() else {
            Self::give_up(this);
            return Then::Rest;
        };
        let mut state = this.state.lock();
        if !this.is_due(&mut state) || !state.life.begin() {
            drop(state);
            Self::let_go(this, held);
            return Then::Rest;
        }
        let runner = match this.place {
            Place::Soft => Runner::of_softirq(),
            Place::Hard | Place::Task => Runner::current(),
        };
        let (due, began) = (state.due, Self::begin(&mut state, runner));
        drop(state);
        let next = held.run(&Firing::begun_at(due, began));
        let end = this.end(next, &held, began, Inside::Expiry);
        Self::let_go(this, held);
        this.finish(end)
    }

    /// Calls the client, if a run is still owed, in a worker or where the client's lock comes first.
    fn execute(this: ArcBorrow<'_, Self>) -> Then {
        let Some(held) = this.target.get() else {
            Self::give_up(this);
            return Then::Rest;
        };
        let turn = Turn {
            node: &this,
            held: &held,
            begun: Cell::new(None),
        };
        let (due, owed) = {
            let state = this.state.lock();
            (state.due, state.life.is_pending())
        };
        let locks = this.target.locks();
        let next = if locks && owed {
            held.run(&Firing::waiting(due, &turn))
        } else if !locks && turn.begin() {
            held.run(&Firing::begun(due))
        } else {
            // Stopped since: not even its lock is touched.
            Next::Stop
        };
        let inside = match this.place {
            Place::Task => Inside::Worker,
            Place::Hard | Place::Soft => Inside::Expiry,
        };
        let end = match turn.begun.get() {
            Some(began) => this.end(next, &held, began, inside),
            None => this.come_again(inside),
        };
        Self::let_go(this, held);
        this.finish(end)
    }

    /// The object is going; its drop is about to detach this node.
    fn give_up(this: ArcBorrow<'_, Self>) {
        let mut state = this.state.lock();
        this.is_due(&mut state);
        if state.life.begin() {
            state.life.end(false);
        }
    }

    /// Rule 2: from here on nothing is the client's code.
    fn let_go(this: ArcBorrow<'_, Self>, held: Held) {
        if let Some(remains) = held.put() {
            // Rule 3.
            this.state.lock().remains = Some(remains);
            Self::reap(this);
        }
    }

    /// Wakes who waits for the end of this run.
    fn finish(&self, end: Ended) -> Then {
        if end.wake && self.place == Place::Hard {
            // Waking takes locks that sleep on PREEMPT_RT.
            wait::wake_soon();
        } else if end.wake {
            wait::wake();
        }
        end.then
    }

    /// The callback's lock was not to be had: tries again soon, if a run is still owed.
    fn come_again(&self, inside: Inside) -> Ended {
        let mut state = self.state.lock();
        let mut then = Then::Rest;
        if state.life.postpone() {
            let now = now();
            let due = state.due;
            then = self.start_again(&mut state, now + RETRY, now, inside);
            state.due = due;
        }
        Ended { wake: false, then }
    }

    /// Arms it for the next run, at the end of one.
    fn start_again(&self, state: &mut State, due: Instant, began: Instant, inside: Inside) -> Then {
        if inside == Inside::Worker {
            self.start(state, When::at(due), began);
            return Then::Rest;
        }
        state.due = due;
        bump(&mut state.stats.armed);
        self.timer.start_again(not_before(due, began));
        Then::Again
    }

    /// Leaves the rest to a worker. Any context but NMI; never blocks, never allocates.
    pub(super) fn reap(this: ArcBorrow<'_, Self>) {
        // The hub outlives every client, and so every node that has something to reap.
        let Ok(hub) = Hub::get() else {
            return;
        };
        this.client.comes();
        // Enqueued before: that run will see the node as it is by then.
        if hub.teardown().enqueue::<_, REAP>(Arc::from(this)).is_err() {
            this.client.does_not_come();
        }
    }

    /// A run begins now.
    fn begin(state: &mut State, runner: Runner) -> Instant {
        let began = now();
        state.runner = Some(runner);
        bump(&mut state.stats.fired);
        let late = began.since(state.due).as_nanos();
        state.stats.late_max_ns = state.stats.late_max_ns.max(late);
        began
    }

    /// Ends a run.
    fn end(&self, next: Next, held: &Held, began: Instant, inside: Inside) -> Ended {
        let due = match next {
            // Nobody is left that it could run for; its timer could come before this reference is given back.
            _ if held.is_alone() => None,
            Next::Stop => None,
            Next::After(delta) => Some(now() + delta),
            Next::At(due) => Some(due),
        };
        let mut state = self.state.lock();
        state.runner = None;
        let end = state.life.end(due.is_some());
        let mut then = Then::Rest;
        if let (true, Some(due)) = (end.rearm, due) {
            state.active = true;
            then = self.start_again(&mut state, due, began, inside);
        }
        let report = core::mem::take(&mut state.report);
        drop(state);
        if report {
            held.drained();
        }
        Ended {
            wake: end.wake,
            then,
        }
    }
}

/// Where a run is executed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Inside {
    /// In the expiry of its timer.
    Expiry,
    Worker,
}

/// What there is to do at the end of a run.
struct Ended {
    /// Somebody waits for it.
    wake: bool,
    then: Then,
}

/// How long a callback waits whose lock was not to be had.
const RETRY: Delta = Delta::from_micros(65);

/// An expiry whose callback has not begun.
struct Turn<'a> {
    node: &'a Node,
    held: &'a Held,
    /// When the run has begun.
    begun: Cell<Option<Instant>>,
}

impl Begin for Turn<'_> {
    fn begin(&self) -> bool {
        // The last owner has gone meanwhile. What is owed goes with the object, or comes again if it gets another.
        if self.held.is_alone() {
            return false;
        }
        let mut state = self.node.state.lock();
        if !state.life.begin() {
            return false;
        }
        self.begun
            .set(Some(Node::begin(&mut state, Runner::current())));
        true
    }
}

impl WorkItem<CALL> for Node {
    type Pointer = Arc<Self>;

    fn run(this: Arc<Self>) {
        let client = this.client.clone();
        // In a worker nothing is left to do for the timer.
        let _ = Self::execute(this.as_arc_borrow());
        client.came();
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
        this.client.came();
    }
}
