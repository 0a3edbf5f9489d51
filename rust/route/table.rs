// SPDX-License-Identifier: GPL-2.0

//! All route queues: for inspection, and for what a leaving module forgot.
//!
//! The table keeps a reference to a queue from its creation until it has no entry and nobody looks for
//! its lock any more (invariant 3 of `sys::route`). Task context throughout, but for [`Table::reap`].

use super::queue::AnyQueue;
use crate::{
    registry::Client,
    sys::context::{wait_for_interrupts, Task},
    Hub,
};
use core::ops::Range;
use kernel::{
    new_mutex,
    prelude::*,
    rbtree::{RBTree, RBTreeNode},
    static_lock_class,
    sync::{Arc, Mutex},
    workqueue::{impl_has_work, Work, WorkItem},
};

type Queues = RBTree<u64, Arc<dyn AnyQueue>>;

/// The table.
#[pin_data]
pub(crate) struct Table {
    #[pin]
    queues: Mutex<Queues>,
    #[pin]
    reap: Work<Table>,
}

impl_has_work! {
    impl HasWork<Self> for Table { self.reap }
}

impl Table {
    pub(crate) fn new() -> Result<Arc<Self>> {
        Arc::pin_init(
            pin_init!(Self {
                queues <- new_mutex!(RBTree::new()),
                reap <- Work::new(c"softclock_routes", static_lock_class!()),
            }),
            GFP_KERNEL,
        )
    }

    /// Keeps a queue.
    ///
    /// # Errors
    ///
    /// `ENOMEM`; `ENODEV`: its module is leaving.
    pub(super) fn insert(&self, queue: Arc<dyn AnyQueue>) -> Result {
        let node = RBTreeNode::new(queue.seat().id(), queue.clone(), GFP_KERNEL)?;
        let mut queues = self.queues.lock();
        // Under both locks: a module found leaving makes no more queues.
        if queue.client().is_leaving() {
            return Err(ENODEV);
        }
        queues.insert(node);
        Ok(())
    }

    /// Up to `rows.capacity()` queues with these ids, whose owners have not let go.
    pub(crate) fn listed(&self, ids: &Range<u64>, rows: &mut KVec<Arc<dyn AnyQueue>>) {
        let mut queues = self.queues.lock();
        let mut cursor = queues.cursor_lower_bound_mut(&ids.start);
        while let Some(here) = cursor {
            let (id, queue) = here.current();
            if *id >= ids.end {
                return;
            }
            if !queue.is_let_go() && rows.push_within_capacity(queue.clone()).is_err() {
                return;
            }
            cursor = here.move_next();
        }
    }

    /// Has the queues freed that nobody wants any more. Any context but NMI; never blocks.
    pub(super) fn reap(this: &Arc<Self>) {
        if let Ok(hub) = Hub::get() {
            // Enqueued before: that run will find them.
            let _ = hub.teardown().enqueue(this.clone());
        }
    }

    /// Ends what `client`, which is leaving, has left behind; says how many queues that were.
    pub(crate) fn leave(&self, client: &Arc<Client>, task: &Task) -> u64 {
        let mut left: u64 = 0;
        while let Some(queue) = self.first(|queue| Arc::ptr_eq(queue.client(), client)) {
            let timers = queue.end(task);
            if !queue.is_let_go() {
                left = left.saturating_add(1);
                pr_warn!(
                    "client {} left route queue {} (id {}, {} timers) behind\n",
                    client.name(),
                    queue.name(),
                    queue.seat().id(),
                    timers,
                );
            }
            self.forget(queue, task);
        }
        if left > 0 {
            pr_warn!(
                "client {} left {} route queues behind: all destroyed\n",
                client.name(),
                left,
            );
        }
        left
    }

    fn first(
        &self,
        mut wanted: impl FnMut(&Arc<dyn AnyQueue>) -> bool,
    ) -> Option<Arc<dyn AnyQueue>> {
        let queues = self.queues.lock();
        let found = queues.values().find(|queue| wanted(queue));
        found.cloned()
    }

    /// Drops a queue that was ended, when nobody looks for its lock any more. Somebody else may have it for
    /// a little longer, so it is taken off the list of what its module leaves behind.
    fn forget(&self, queue: Arc<dyn AnyQueue>, task: &Task) {
        queue.strike();
        wait_for_interrupts(task);
        let gone = self.queues.lock().remove(&queue.seat().id());
        drop(gone);
    }
}

impl WorkItem for Table {
    type Pointer = Arc<Self>;

    fn run(this: Arc<Self>) {
        let task = Task::by_contract();
        while let Some(queue) = this.first(|queue| queue.is_let_go()) {
            queue.end(&task);
            this.forget(queue, &task);
        }
    }
}
