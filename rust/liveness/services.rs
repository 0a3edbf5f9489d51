// SPDX-License-Identifier: GPL-2.0

//! All services: for inspection, for operators, and for what a leaving module forgot.
//!
//! The list has a service from its begin until it has ended. Task context throughout, but for
//! [`Services::reap`].

use super::service::Service;
use crate::{
    registry::Client,
    sys::{context::Task, module::ModuleId},
    Hub,
};
use kernel::{
    new_mutex,
    prelude::*,
    static_lock_class,
    sync::{Arc, Mutex},
    workqueue::{impl_has_work, Work, WorkItem},
};

/// The list, in the order of their ids.
#[pin_data]
pub(crate) struct Services {
    #[pin]
    list: Mutex<KVec<Arc<Service>>>,
    #[pin]
    reap: Work<Services>,
}

impl_has_work! {
    impl HasWork<Self> for Services { self.reap }
}

impl Services {
    /// Task context; may block.
    pub(crate) fn new() -> Result<Arc<Self>> {
        Arc::pin_init(
            pin_init!(Self {
                list <- new_mutex!(KVec::new()),
                reap <- Work::new(c"softclock_services", static_lock_class!()),
            }),
            GFP_KERNEL,
        )
    }

    /// Lists a service.
    ///
    /// # Errors
    ///
    /// `ENOMEM`; `ENODEV`: its module is leaving.
    pub(super) fn insert(&self, service: Arc<Service>) -> Result {
        let mut list = self.list.lock();
        // Under the lock: a module found leaving makes no more services.
        if service.client().is_leaving() {
            return Err(ENODEV);
        }
        list.push(service, GFP_KERNEL)?;
        Ok(())
    }

    /// The first service from id `from` on that fits. The list is in the order they were listed in, which may
    /// be another where two are made at a time.
    pub(crate) fn first(
        &self,
        from: u64,
        mut fits: impl FnMut(&Service) -> bool,
    ) -> Option<Arc<Service>> {
        let list = self.list.lock();
        let fitting = list.iter().filter(|one| one.id() >= from && fits(one));
        fitting.min_by_key(|one| one.id()).cloned()
    }

    /// Has the services freed that nobody wants any more. Any context but NMI; never blocks.
    pub(super) fn reap(this: &Arc<Self>) {
        if let Ok(hub) = Hub::get() {
            // Enqueued before: that run will find them.
            let _ = hub.teardown().enqueue(this.clone());
        }
    }

    /// Ends what `client`, which is leaving, has left behind; says how many services that were.
    pub(crate) fn leave(&self, client: &Arc<Client>, module: ModuleId, task: &Task) -> u64 {
        let mut left: u64 = 0;
        while let Some(service) = self.first(0, |one| one.is_of(module)) {
            let forgotten = !service.is_let_go();
            // No callback calls this, so it does wait.
            let entities = Service::end(&service, task).unwrap_or(0);
            if forgotten {
                left = left.saturating_add(1);
                pr_warn!(
                    "client {} left liveness service {} (id {}, {} entities) behind\n",
                    client.name(),
                    service.name(),
                    service.id(),
                    entities,
                );
            }
            self.forget(&service);
        }
        left
    }

    /// Takes a service off the list that has ended.
    fn forget(&self, service: &Arc<Service>) {
        let mut list = self.list.lock();
        let index = list.iter().position(|one| Arc::ptr_eq(one, service));
        let gone = index.map(|index| list.remove(index));
        drop(list);
        drop(gone);
    }
}

impl WorkItem for Services {
    type Pointer = Arc<Self>;

    fn run(this: Arc<Self>) {
        let task = Task::by_contract();
        while let Some(service) = this.first(0, |one| one.is_let_go()) {
            // No callback calls this, so it does wait.
            let _ = Service::end(&service, &task);
            this.forget(&service);
        }
    }
}
