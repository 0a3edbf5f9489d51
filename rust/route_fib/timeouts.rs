// SPDX-License-Identifier: GPL-2.0

//! The timeouts that operators and drivers have given: a queue for each.

use super::{
    ourselves,
    route::Timing,
    table::Route, //
};
use crate::{
    policy::{
        deadline::Delta,
        route::{Added, NotAdded}, //
    },
    route::RouteTimerQueue,
};
use kernel::{
    new_mutex,
    prelude::*,
    sync::{Arc, Mutex}, //
};

/// All queues. Those without timers go when another is made.
#[pin_data]
pub(super) struct Timeouts {
    #[pin]
    queues: Mutex<KVec<Arc<RouteTimerQueue>>>,
}

impl Timeouts {
    pub(super) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            queues <- new_mutex!(KVec::new()),
        })
    }

    /// Has `route` deleted after `timeout`. Task context; may block.
    ///
    /// # Errors
    ///
    /// `ENOMEM`. `ENODEV`: softclock is being unloaded, or the route is not watched any more. Nothing is
    /// changed then.
    pub(super) fn add(&self, route: &Route, timeout: Delta) -> Result<Arc<RouteTimerQueue>> {
        let mut queues = self.queues.lock();
        // Under the lock, so that nobody takes an empty queue for an unused one.
        if let Some(queue) = queues.iter().find(|queue| queue.timeout() == timeout) {
            return done(route.expire_in(queue)).map(|()| queue.clone());
        }
        queues.retain(|queue| queue.count() > 0);
        queues.reserve(1, GFP_KERNEL)?;
        let queue = RouteTimerQueue::new(ourselves(), c"routes", timeout)?;
        let queue = Arc::new(queue, GFP_KERNEL)?;
        let added = done(route.expire_in(&queue));
        queues
            .push_within_capacity(queue.clone())
            .map_err(|_| ENOMEM)?;
        added.map(|()| queue)
    }

    /// Drops all queues: no route is deleted by them any more.
    pub(super) fn clear(&self) {
        let queues = core::mem::replace(&mut *self.queues.lock(), KVec::new());
        drop(queues);
    }
}

fn done(added: Added) -> Result {
    match added {
        Added::Refused(NotAdded::NoMemory) => Err(ENOMEM),
        Added::Refused(_) => Err(ENODEV),
        _ => Ok(()),
    }
}
