// SPDX-License-Identifier: GPL-2.0

//! The loaded module's one object: queues, tables, teardown.

use crate::{
    inflight::Waits,
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
    sync::Arc,
    workqueue::Queue, //
};

static HUB: Global<Hub> = Global::new();

/// What all timers share.
#[pin_data]
pub(crate) struct Hub {
    #[pin]
    registry: Registry,
    #[pin]
    waits: Waits,
    /// Callbacks in task context.
    callbacks: WorkQueue,
    /// Teardown: each node by itself, so that a slow drop of one client holds up no other.
    teardown: WorkQueue,
}

impl Hub {
    /// Allocates everything and makes it reachable until the guard drops.
    pub(crate) fn publish() -> Result<Loaded> {
        let callbacks = WorkQueue::with_rescuer(c"softclock")?;
        let teardown = WorkQueue::new(c"softclock_teardown")?;
        let hub = Arc::pin_init(
            pin_init!(Self {
                registry <- Registry::new(),
                waits <- Waits::new(),
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

    /// Who waits for which run.
    pub(crate) fn waits(&self) -> &Waits {
        &self.waits
    }

    /// Where callbacks in task context execute.
    pub(crate) fn callbacks(&self) -> &Queue {
        self.callbacks.queue()
    }

    /// Where what an interrupt cannot do is finished.
    pub(crate) fn teardown(&self) -> &Queue {
        self.teardown.queue()
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

impl OnLeave for Hub {
    fn on_leave(module: ModuleId) {
        // Published before the notifier was registered, and until after it is gone.
        if let Ok(hub) = Hub::get() {
            // The kernel unloads modules, and undoes failed loads, in a task that may sleep.
            hub.registry.leave(module, &Task::by_contract());
        }
    }
}
