// SPDX-License-Identifier: GPL-2.0

//! The loaded module's one object: queues, tables, teardown.

use crate::{
    inflight::Reaper,
    registry::Registry,
    sys::{
        context::Task,
        global::{Global, Published},
        module::{ModuleId, OnLeave},
        work::WorkQueue,
    },
};
use kernel::{
    prelude::*,
    static_lock_class,
    sync::Arc,
    workqueue::{impl_has_work, Queue, Work, WorkItem},
};

static HUB: Global<Hub> = Global::new();

/// What all timers share.
#[pin_data]
pub(crate) struct Hub {
    #[pin]
    registry: Registry,
    #[pin]
    reaper: Reaper,
    #[pin]
    reap: Work<Hub>,
    /// Callbacks in task context.
    callbacks: WorkQueue,
    /// Teardown. A queue of its own, so that waiting for it waits for no callback.
    teardown: WorkQueue,
}

impl_has_work! { impl HasWork<Self> for Hub { self.reap } }

impl Hub {
    /// Allocates everything and makes it reachable until the guard drops.
    pub(crate) fn publish() -> Result<Loaded> {
        let callbacks = WorkQueue::new(c"softclock")?;
        let teardown = WorkQueue::new(c"softclock_teardown")?;
        let hub = Arc::pin_init(
            pin_init!(Self {
                registry <- Registry::new(),
                reaper <- Reaper::new(),
                reap <- Work::new(c"softclock_reap", static_lock_class!()),
                callbacks,
                teardown,
            }),
            GFP_KERNEL,
        )?;
        Ok(Loaded {
            _published: HUB.publish(hub.clone()),
            hub,
        })
    }

    /// The hub. It is there whenever a client can call: softclock cannot leave before them.
    ///
    /// # Errors
    ///
    /// `ENODEV` while softclock itself is loading or leaving.
    pub(crate) fn get() -> Result<Arc<Self>> {
        HUB.get().ok_or(ENODEV)
    }

    pub(crate) fn registry(&self) -> &Registry {
        &self.registry
    }

    pub(crate) fn reaper(&self) -> &Reaper {
        &self.reaper
    }

    /// Where callbacks in task context execute.
    pub(crate) fn queue(&self) -> &Queue {
        self.callbacks.queue()
    }

    /// Lets the reaper run. Any context but NMI; never blocks.
    pub(crate) fn reap_soon(this: &Arc<Self>) {
        // Already enqueued: that run will see what is to be reaped now.
        let _ = this.teardown.queue().enqueue(this.clone());
    }

    /// Waits until the reaper has seen everything taken before. Task context.
    pub(crate) fn reap_now(self: &Arc<Self>) {
        Self::reap_soon(self);
        self.teardown.flush();
    }
}

/// The hub while softclock is loaded. Dropped last, when no client is left.
pub(crate) struct Loaded {
    pub(crate) hub: Arc<Hub>,
    _published: Published<Hub>,
}

impl Drop for Loaded {
    fn drop(&mut self) {
        // Work that is pending or about to return holds references. Were one of them the last, the
        // hub would die in a worker, and wait there for that very worker.
        self.hub.callbacks.flush();
        self.hub.teardown.flush();
    }
}

impl WorkItem for Hub {
    type Pointer = Arc<Self>;

    fn run(this: Arc<Self>) {
        Reaper::run(&this, &Task::by_contract());
    }
}

impl OnLeave for Hub {
    fn on_leave(module: ModuleId) {
        // Published before the notifier was registered, and until after it is gone.
        if let Ok(hub) = Hub::get() {
            // The kernel unloads modules, and undoes failed loads, in a task that may sleep.
            hub.registry.leave(&hub, module, &Task::by_contract());
        }
    }
}
