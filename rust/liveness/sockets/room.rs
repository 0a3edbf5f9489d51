// SPDX-License-Identifier: GPL-2.0

//! What is shared in one network namespace: who wants something from the worker, and who it is.
//!
//! ```text
//!   begin --> inbox, go +
//!   sweep, shut --------+          a work item, or who has begun something
//!   socket --> ready ---+--> rung ------------------------------------------------> Desk
//!   alarm ---> ready ---+          takes the desk, works at it, and gives it back
//! ```
//!
//! Everything there is to know about probes lies on the [`Desk`], which only one has at a time: the worker.
//! So nothing of it needs a lock. Sockets and alarms only mark a place to look at. That may be done once too
//! often, but never once too seldom: the worker takes the mark first, and looks afterwards; and one that was
//! rung for meanwhile has the work item enqueued when it gives the bell back.

use super::{
    chain::{Chain, Link},
    desk::Desk,
    ready::Ready,
    tally::Tally,
    Sockets, //
};
use crate::{
    liveness::ask::{Ask, Counts},
    policy::esi::pace::Window,
    sys::{
        context::{NoIo, Task},
        lock::RawLock,
        net::Net,
        socket::Bell,
        taken::Taken,
        wait, //
    },
};
use core::sync::atomic::{AtomicU8, Ordering};
use kernel::{
    prelude::*,
    static_lock_class,
    sync::{
        atomic::{Acquire, Atomic, Relaxed, Release},
        Arc, //
    },
    workqueue::{impl_has_work, Work, WorkItem},
};

struct Inbox {
    /// The last one on top.
    asks: Chain,
    shut: bool,
}

/// In the bell: somebody is to look at everything; the work item is enqueued, if nobody is busy.
const RUNG: u8 = 1;
/// In the bell: a worker has the desk, and will see whether it was rung for. For ever, when it is cleared.
const BUSY: u8 = 2;

/// The shared part.
#[pin_data]
pub(super) struct Room {
    net: Arc<Net>,
    pub(super) ready: Ready,
    /// [`RUNG`] and [`BUSY`].
    bell: AtomicU8,
    /// Some answers do not matter any more.
    sweep: Atomic<bool>,
    shut: Atomic<bool>,
    /// All probes have ended, and the desk is cleared.
    over: Atomic<bool>,
    window: Atomic<u32>,
    #[pin]
    inbox: RawLock<Inbox>,
    /// The worker's, while it works; empty when it is cleared.
    desk: Taken<Option<KBox<Desk>>>,
    #[pin]
    work: Work<Self>,
    pub(super) tally: Tally,
}

impl_has_work! {
    impl HasWork<Self> for Room { self.work }
}

impl Room {
    /// For a namespace. Task context; may block.
    pub(super) fn new(net: Arc<Net>) -> Result<Arc<Self>> {
        let inbox = Inbox {
            asks: Chain::new(),
            shut: false,
        };
        let desk = Some(Desk::new()?);
        Arc::pin_init(
            pin_init!(Self {
                net,
                ready: Ready::new(),
                bell: AtomicU8::new(0),
                sweep: Atomic::new(false),
                shut: Atomic::new(false),
                over: Atomic::new(false),
                window: Atomic::new(Window::DEFAULT.into()),
                inbox <- RawLock::new(inbox, c"softclock_inbox", static_lock_class!()),
                desk: Taken::new(desk),
                work <- Work::new(c"softclock_probes", static_lock_class!()),
                tally: Tally::new(),
            }),
            GFP_KERNEL,
        )
    }

    pub(super) fn net(&self) -> &Arc<Net> {
        &self.net
    }

    /// See [`Prober::begin`](crate::liveness::ask::Prober::begin).
    pub(super) fn begin(this: &Arc<Self>, ask: Ask) -> Result {
        let link = Link::new(ask)?;
        let mut inbox = this.inbox.lock();
        if inbox.shut {
            drop(inbox);
            return Err(Error::from_errno(-(kernel::bindings::ESHUTDOWN as i32)));
        }
        this.tally.begun.add();
        inbox.asks.push(link);
        Ok(())
    }

    /// See [`Prober::sweep`](crate::liveness::ask::Prober::sweep).
    pub(super) fn sweep(this: &Arc<Self>) {
        this.sweep.store(true, Release);
        Self::call(this);
    }

    pub(super) fn counts(&self) -> Counts {
        self.tally.counts(self.window.load(Relaxed))
    }

    /// How many probes may be in flight.
    pub(super) fn window(&self) -> u32 {
        self.window.load(Relaxed)
    }

    pub(super) fn set_window(this: &Arc<Self>, limit: u32) {
        let inbox = this.inbox.lock();
        this.window
            .store(Window::new(limit).limit().into(), Relaxed);
        drop(inbox);
        Self::call(this);
    }

    /// At least so many probes may be in flight.
    pub(super) fn widen(this: &Arc<Self>, limit: u32) {
        let least = Window::new(limit).limit().into();
        let inbox = this.inbox.lock();
        let narrow = this.window.load(Relaxed) < least;
        if narrow {
            this.window.store(least, Relaxed);
        }
        drop(inbox);
        if narrow {
            Self::call(this);
        }
    }

    /// Nothing is begun any more.
    pub(super) fn is_shut(&self) -> bool {
        self.shut.load(Acquire)
    }

    /// Whether there is something to sweep away; there is not, afterwards.
    pub(super) fn is_to_sweep(&self) -> bool {
        self.sweep.load(Relaxed) && self.sweep.xchg(false, Acquire)
    }

    /// What has come in, the first one on top.
    pub(super) fn take_in(&self) -> Chain {
        let asks = core::mem::take(&mut self.inbox.lock().asks);
        asks.reversed()
    }

    /// Ends all probes, void, and waits until that is done: for no peer. When it returns no judge is being
    /// told anything, nor will be.
    pub(super) fn shutdown(this: &Arc<Self>, task: &Task) {
        this.inbox.lock().shut = true;
        this.shut.store(true, Release);
        Self::call(this);
        wait::until(task, || this.over.load(Acquire));
    }

    /// Has the worker look at everything, soon. Any context but NMI; under any lock.
    pub(super) fn call(this: &Arc<Self>) {
        if this.bell.fetch_or(RUNG, Ordering::AcqRel) == 0 {
            Self::enqueue(this);
        }
    }

    fn enqueue(this: &Arc<Self>) {
        // They are there as long as a room is used.
        if let Ok(sockets) = Sockets::get() {
            // Queued already: then it has not begun yet.
            let _ = sockets.queue().enqueue::<_, 0>(this.clone());
        }
    }
}

impl Bell for Room {
    fn ring(this: &Arc<Self>, place: u32) {
        if this.ready.mark(place) {
            Self::call(this);
        }
    }
}

impl WorkItem for Room {
    type Pointer = Arc<Self>;

    fn run(this: Arc<Self>) {
        // Somebody may have been here already.
        if this.bell.load(Ordering::Acquire) & RUNG != 0 {
            Self::work(&this, &Task::by_contract());
        }
    }
}

impl Room {
    /// Does what there is to do, unless somebody is at it: then that one does. Task context, no lock held;
    /// blocks for no peer.
    pub(super) fn work(this: &Arc<Self>, task: &Task) {
        if !this.take_bell() {
            return;
        }
        let _noio = NoIo::begin(task);
        // Nobody else is busy, so nobody has it.
        let Some(mut hold) = this.desk.take() else {
            return;
        };
        let Some(desk) = hold.as_mut() else {
            return;
        };
        let again = desk.pass(this, task);
        if this.is_shut() {
            desk.clear(this, task);
            *hold = None;
            drop(hold);
            this.over.store(true, Release);
            wait::wake();
            return;
        }
        drop(hold);
        this.give_bell_back(again);
    }

    /// Whether the caller is the worker from here on, until it gives the bell back: what rings from now on
    /// is for the next one. Otherwise whoever is has been rung for.
    fn take_bell(&self) -> bool {
        let was = self
            .bell
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |bell| {
                Some(if bell & BUSY == 0 { BUSY } else { BUSY | RUNG })
            });
        was.is_ok_and(|bell| bell & BUSY == 0)
    }

    fn give_bell_back(self: &Arc<Self>, again: bool) {
        let quiet = !again
            && self
                .bell
                .compare_exchange(BUSY, 0, Ordering::AcqRel, Ordering::Acquire)
                .is_ok();
        if !quiet {
            // It is rung for, so nobody else enqueues it.
            self.bell.store(RUNG, Ordering::Release);
            Self::enqueue(self);
        }
    }
}
