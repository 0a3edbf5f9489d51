// SPDX-License-Identifier: GPL-2.0

//! The loaded module's one object: queues, tables, teardown.

use crate::{
    beats::Beats,
    inflight::Waits,
    liveness::Services,
    registry::Registry,
    route::Table,
    route_fib,
    sys::{
        context::Task,
        global::{Global, Published},
        module::{ModuleId, OnLeave},
        route::Graves,
        wait,
        wheel::Wheels,
        work::WorkQueue,
    },
};
use kernel::{
    new_mutex,
    prelude::*,
    sync::{Arc, Mutex},
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
    #[pin]
    beats: Beats,
    giant: Arc<Mutex<()>>,
    routes: Arc<Table>,
    liveness: Arc<Services>,
    _graves: Pin<KBox<Graves>>,
    /// Before the queues they use.
    wheels: Wheels,
    /// Callbacks in task context.
    callbacks: WorkQueue,
    /// Rounds of liveness, from their begin to their verdict.
    rounds: WorkQueue,
    /// Teardown: each node by itself, so that a slow drop of one client holds up no other.
    teardown: WorkQueue,
}

impl Hub {
    /// Allocates everything and makes it reachable until the guard drops.
    pub(crate) fn publish() -> Result<Loaded> {
        let callbacks = WorkQueue::with_rescuer(c"softclock")?;
        let rounds = WorkQueue::of_each_cpu(c"softclock_rounds")?;
        let teardown = WorkQueue::new(c"softclock_teardown")?;
        let giant = Arc::pin_init(new_mutex!(()), GFP_KERNEL)?;
        let routes = Table::new()?;
        let liveness = Services::new()?;
        let graves = Graves::publish(&teardown)?;
        let wheels = Wheels::publish(&callbacks, &teardown)?;
        let hub = Arc::pin_init(
            pin_init!(Self {
                registry <- Registry::new(),
                waits <- Waits::new(),
                beats <- Beats::new(),
                giant,
                routes,
                liveness,
                _graves: graves,
                wheels,
                callbacks,
                rounds,
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

    /// The lock old code is called under.
    pub(crate) fn giant(&self) -> &Arc<Mutex<()>> {
        &self.giant
    }

    /// All route queues.
    pub(crate) fn routes(&self) -> &Arc<Table> {
        &self.routes
    }

    /// All liveness services.
    pub(crate) fn liveness(&self) -> &Arc<Services> {
        &self.liveness
    }

    /// The wheels, to look at.
    pub(crate) fn wheels(&self) -> &Wheels {
        &self.wheels
    }

    /// Who waits for which run.
    pub(crate) fn waits(&self) -> &Waits {
        &self.waits
    }

    /// All periodics.
    pub(crate) fn beats(&self) -> &Beats {
        &self.beats
    }

    /// Where callbacks in task context execute.
    pub(crate) fn callbacks(&self) -> &Queue {
        self.callbacks.queue()
    }

    /// Where rounds of liveness are begun and their verdicts told.
    pub(crate) fn rounds(&self) -> &Queue {
        self.rounds.queue()
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
        self.hub.rounds.flush();
        self.hub.teardown.flush();
        wait::settle();
    }
}

impl OnLeave for Hub {
    fn on_leave(module: ModuleId) {
        // Published before the notifier was registered, and until after it is gone.
        if let Ok(hub) = Hub::get() {
            // The kernel unloads modules, and undoes failed loads, in a task that may sleep.
            let task = Task::by_contract();
            if let Some(client) = hub.registry.leaving(module) {
                let left = hub.routes.leave(&client, &task);
                client.has_left(left);
                let left = hub.liveness.leave(&client, module, &task);
                client.has_left(left);
                client.has_left(route_fib::leave(&client, &task));
            }
            hub.registry.leave(module, &task);
            // Their callouts are shut down by now.
            hub.beats.leave(module);
        }
    }
}
