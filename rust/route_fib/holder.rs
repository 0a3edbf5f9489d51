// SPDX-License-Identifier: GPL-2.0

//! A driver's part in watched routes: which are its, and the function that is told of their ends.
//!
//! A holder is driven by a callout of the driver's, in task context: so whatever ends callouts ends the telling,
//! too, and waits for what executes.

use super::{
    namespace::Namespace,
    route::{End, KernelRoute, RouteEnd}, //
};
use crate::{
    callout::{Callout, CalloutOf, OnExpire},
    context::Expiry,
    policy::{
        deadline::Delta,
        life::{CannotWait, Next},
        name::Name, //
    },
    registry::Client,
    sys::{
        context::{wait_for_interrupts, Task},
        lock::RawLock,
        module::{ModuleId, Owner},
        stack::{Node, Stack},
        target::Timed,
        wheel::ids, //
    },
    Hub,
};
use kernel::{
    new_mutex,
    prelude::*,
    static_lock_class,
    sync::{
        atomic::{Acquire, Atomic, Relaxed, Release},
        Arc,
        ArcBorrow,
        Mutex, //
    },
    workqueue::{impl_has_work, Work, WorkItem},
};

/// What a driver does when a route it has watched is gone.
pub trait OnRouteEnd: Send + Sync + 'static {
    /// `route` is gone, as `end` says. Task context, no lock held; it may block, and call everything of its
    /// [`Fib`](crate::fib::Fib) but [`shutdown`](crate::fib::Fib::shutdown), which answers that it cannot
    /// wait. The ends of the routes of one `Fib` are told one after the other, in the order in which they were
    /// heard of.
    fn ended(&self, route: &KernelRoute, end: RouteEnd);
}

/// A holder.
#[pin_data]
pub(crate) struct Holder {
    #[pin]
    tell: Callout<Self, Task>,
    namespace: Arc<Namespace>,
    news: Stack<End>,
    /// The driver, until the holder has ended.
    #[pin]
    driver: RawLock<Option<Arc<dyn OnRouteEnd>>>,
    client: Arc<Client>,
    module: ModuleId,
    name: Name,
    id: u64,
    watching: Atomic<u64>,
    /// Nothing is watched for it any more.
    closed: Atomic<bool>,
    /// Its driver has dropped it.
    let_go: Atomic<bool>,
}

crate::impl_has_callout! { impl HasCallout<Task> for Holder { self.tell } }

impl OnExpire<Task> for Holder {
    fn expire(this: ArcBorrow<'_, Timed<Self>>, _run: &Expiry<'_, Task>) -> Next {
        for node in this.news.take() {
            let driver = this.driver.lock().clone();
            // Without one everything is over.
            if let Some(driver) = driver {
                driver.ended(&node.item.route, node.item.end());
            }
        }
        Next::Stop
    }
}

impl Holder {
    /// One that holds nothing. Task context; may block.
    ///
    /// # Errors
    ///
    /// `ENOMEM`; `ENODEV`: the owner's module is being unloaded.
    pub(super) fn new(
        owner: Owner,
        label: &'static CStr,
        name: Name,
        namespace: Arc<Namespace>,
        driver: Arc<dyn OnRouteEnd>,
    ) -> Result<Arc<Timed<Self>>> {
        let client = Hub::get()?.registry().client(owner)?;
        Timed::new(try_pin_init!(Self {
            // Its callback is ours.
            tell <- Callout::ours(owner, label),
            namespace,
            news: Stack::new(),
            driver <- RawLock::new(Some(driver), c"softclock_holder", static_lock_class!()),
            client,
            module: owner.id(),
            name,
            id: ids::next(),
            watching: Atomic::new(0),
            closed: Atomic::new(false),
            let_go: Atomic::new(false),
        }))
    }

    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    pub(crate) fn name(&self) -> &str {
        self.name.as_str()
    }

    /// The name of its module.
    pub(crate) fn client(&self) -> &str {
        self.client.name()
    }

    pub(crate) fn namespace(&self) -> &Arc<Namespace> {
        &self.namespace
    }

    /// How many routes are watched for it.
    pub(crate) fn watching(&self) -> u64 {
        self.watching.load(Relaxed)
    }

    pub(super) fn has_one_more(&self) {
        self.watching.fetch_add(1, Relaxed);
    }

    pub(super) fn has_one_less(&self) {
        self.watching.fetch_sub(1, Relaxed);
    }

    /// Nothing is watched for it any more.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Acquire)
    }

    fn is_let_go(&self) -> bool {
        self.let_go.load(Acquire)
    }

    /// Its driver has dropped it: nothing more is told. Any context in which memory can be freed.
    pub(crate) fn let_go(this: &Arc<Timed<Self>>) {
        this.closed.store(true, Release);
        let driver = this.driver.lock().take();
        drop(driver);
        this.let_go.store(true, Release);
        super::with_holders(Holders::reap);
    }

    /// Tells the driver, soon, that a route of its is gone. Any context but NMI.
    pub(super) fn tell(this: &Arc<Timed<Self>>, end: Arc<Node<End>>) {
        this.news.push(end);
        // Refused once it has ended.
        let _ = this.callout::<Task>().arm_after(Delta::ZERO);
    }

    /// Ends it: its routes are forgotten, nothing more is told, and nothing of the driver's executes when this
    /// returns. Answers how many routes there were.
    ///
    /// # Errors
    ///
    /// [`CannotWait`]: the caller is its own callback, or may not sleep. It ends all the same.
    pub(crate) fn end(this: &Arc<Timed<Self>>, task: &Task) -> Result<u64, CannotWait> {
        this.closed.store(true, Release);
        let forgotten = this.namespace.forget_all(this, task);
        let ended = this.tell.shutdown(task);
        let driver = this.driver.lock().take();
        drop(driver);
        drop(this.news.take());
        ended.map(|_| forgotten)
    }

    /// Takes its callout off the list of what its client leaves behind.
    fn strike(&self) {
        self.tell.engine.entry().strike();
    }
}

/// All holders: for what a leaving module forgot. Task context throughout, but for [`Holders::reap`].
#[pin_data]
pub(super) struct Holders {
    #[pin]
    list: Mutex<KVec<Arc<Timed<Holder>>>>,
    #[pin]
    reap: Work<Holders>,
}

impl_has_work! {
    impl HasWork<Self> for Holders { self.reap }
}

impl Holders {
    /// Task context; may block.
    pub(super) fn new() -> Result<Arc<Self>> {
        Arc::pin_init(
            pin_init!(Self {
                list <- new_mutex!(KVec::new()),
                reap <- Work::new(c"softclock_holders", static_lock_class!()),
            }),
            GFP_KERNEL,
        )
    }

    /// Lists a holder.
    ///
    /// # Errors
    ///
    /// `ENOMEM`; `ENODEV`: its module is leaving.
    pub(super) fn insert(&self, holder: Arc<Timed<Holder>>) -> Result {
        let mut list = self.list.lock();
        // Under the lock: a module found leaving makes no more of them.
        if holder.client.is_leaving() {
            return Err(ENODEV);
        }
        list.push(holder, GFP_KERNEL)?;
        Ok(())
    }

    fn first(&self, fits: impl Fn(&Holder) -> bool) -> Option<Arc<Timed<Holder>>> {
        let list = self.list.lock();
        let found = list.iter().find(|holder| fits(holder));
        found.cloned()
    }

    /// Has those freed that nobody wants any more. Any context but NMI; never blocks.
    fn reap(this: &Arc<Self>) {
        if let Ok(hub) = Hub::get() {
            // Enqueued before: that run will find them.
            let _ = hub.teardown().enqueue(this.clone());
        }
    }

    /// Ends what `client`, which is leaving, has left behind; says how many holders that were.
    pub(super) fn leave(&self, client: &Arc<Client>, task: &Task) -> u64 {
        let mut left: u64 = 0;
        while let Some(holder) = self.first(|one| Arc::ptr_eq(&one.client, client)) {
            let forgotten = !holder.is_let_go();
            // No callback calls this, so it does wait.
            let routes = Holder::end(&holder, task).unwrap_or(0);
            if forgotten {
                left = left.saturating_add(1);
                pr_warn!(
                    "client {} left routes {} (id {}, {} watched) behind\n",
                    client.name(),
                    holder.name(),
                    holder.id(),
                    routes,
                );
            }
            self.forget(&holder, task);
        }
        left
    }

    /// Takes a holder off the list that has ended. Somebody else may have it for a little longer.
    fn forget(&self, holder: &Arc<Timed<Holder>>, task: &Task) {
        holder.strike();
        wait_for_interrupts(task);
        let mut list = self.list.lock();
        let index = list.iter().position(|one| Arc::ptr_eq(one, holder));
        let gone = index.map(|index| list.remove(index));
        drop(list);
        drop(gone);
    }
}

impl WorkItem for Holders {
    type Pointer = Arc<Self>;

    fn run(this: Arc<Self>) {
        let task = Task::by_contract();
        while let Some(holder) = this.first(Holder::is_let_go) {
            // No callback calls this, so it does wait.
            let _ = Holder::end(&holder, &task);
            this.forget(&holder, &task);
        }
    }
}
