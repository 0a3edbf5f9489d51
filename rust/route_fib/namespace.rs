// SPDX-License-Identifier: GPL-2.0

//! One network namespace: its watched routes, and the worker that hears and asks.

use super::{
    holder::Holder,
    reconcile::Compared,
    route::{FibRoute, RouteEnd, Timing},
    table::{NextOf, Route, Table},
    wire::{Deletion, Wire},
    with_queue,
    TRIES, //
};
use crate::{
    policy::{
        rtnl::{Family, Heard, Messages, RouteKey, Wanted},
        text::Line, //
    },
    sys::{
        context::{breathe, Task},
        lock::RawLock,
        net::{self, Held, Net, NetId},
        netlink::{OnNews, Received},
        stack::{Node, Stack},
        target::Timed, //
    },
};
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use kernel::{
    impl_has_work,
    new_mutex,
    new_work,
    prelude::*,
    static_lock_class,
    sync::{Arc, ArcBorrow, Mutex},
    workqueue::{Work, WorkItem}, //
};

/// In how many listings in a row a route must be missing to count as gone while routes change.
pub(super) const PATIENCE: u32 = 8;

/// How many messages are heard before others get their turn.
const HEARING: usize = 4096;

/// How many routes are deleted before the news is heard, which each of them is.
const BATCH: usize = 64;

/// How many routes are looked at with the table locked.
const ROWS: usize = 64;

/// A namespace.
#[pin_data]
pub(crate) struct Namespace {
    id: NetId,
    inum: u32,
    net: Arc<Net>,
    /// The worker's, and of those who ask it for something. Taken first.
    #[pin]
    io: Mutex<Io>,
    #[pin]
    pub(super) table: RawLock<Table>,
    doomed: Stack<RouteKey>,
    /// By family: the table may have routes that are gone.
    stale: [AtomicBool; 2],
    /// By family: how often a route was heard of.
    news: [AtomicU64; 2],
    pub(super) listings: AtomicU64,
    leaving: AtomicBool,
    counts: Counts,
    #[pin]
    work: Work<Self>,
}

impl_has_work! { impl HasWork<Self> for Namespace { self.work } }

/// The way to the kernel.
enum Io {
    /// No route is watched: nothing is heard.
    Closed,
    /// Open.
    Open(Wire),
    /// The namespace is leaving: for ever.
    Left,
}

#[derive(Default)]
struct Counts {
    watched: AtomicU64,
    deleted: AtomicU64,
    gone: AtomicU64,
    forgotten: AtomicU64,
    failed: AtomicU64,
    restored: AtomicU64,
    lost: AtomicU64,
    listed: AtomicU64,
}

/// What debugfs shows of a namespace.
pub(crate) struct Counted {
    /// Routes that are watched.
    pub(crate) watching: u64,
    /// Routes that ever were.
    pub(crate) watched: u64,
    /// Deleted because their time had come.
    pub(crate) deleted: u64,
    /// Gone by themselves, or by another hand.
    pub(crate) gone: u64,
    /// Forgotten.
    pub(crate) forgotten: u64,
    /// Deletions that failed, and were or will be tried again.
    pub(crate) failed: u64,
    /// Routes deleted by mistake, and put back.
    pub(crate) restored: u64,
    /// How often messages were lost.
    pub(crate) lost: u64,
    /// Listings.
    pub(crate) listed: u64,
}

/// A route as the log shows it.
fn told(key: &RouteKey) -> Line {
    let mut line = Line::record("route");
    line.shown("dst", &key.prefix)
        .count("metric", key.priority.into());
    line
}

fn bump(counter: &AtomicU64) {
    counter.fetch_add(1, Relaxed);
}

impl Namespace {
    /// Of a namespace that is held; [`end`](Self::end) is called when it leaves.
    pub(super) fn new(net: &Held) -> Result<Arc<Self>> {
        let theirs = Net::of(net)?;
        Arc::pin_init(
            pin_init!(Self {
                id: net.id(),
                inum: net.inum(),
                net: theirs,
                io <- new_mutex!(Io::Closed),
                table <- RawLock::new(Table::new(), c"softclock_routes", static_lock_class!()),
                doomed: Stack::new(),
                stale: Default::default(),
                news: Default::default(),
                listings: AtomicU64::new(0),
                leaving: AtomicBool::new(false),
                counts: Counts::default(),
                work <- new_work!("softclock_routes"),
            }),
            GFP_KERNEL,
        )
    }

    pub(crate) fn id(&self) -> NetId {
        self.id
    }

    /// The namespace, for the length of a call.
    ///
    /// # Errors
    ///
    /// `ENODEV`: it leaves, or has left.
    pub(crate) fn hold(&self) -> Result<Held> {
        self.net.hold()
    }

    /// The number user space sees of it.
    pub(crate) fn inum(&self) -> u32 {
        self.inum
    }

    pub(crate) fn counted(&self) -> Counted {
        let counts = &self.counts;
        Counted {
            watching: self.table.lock().len(),
            watched: counts.watched.load(Relaxed),
            deleted: counts.deleted.load(Relaxed),
            gone: counts.gone.load(Relaxed),
            forgotten: counts.forgotten.load(Relaxed),
            failed: counts.failed.load(Relaxed),
            restored: counts.restored.load(Relaxed),
            lost: counts.lost.load(Relaxed),
            listed: counts.listed.load(Relaxed),
        }
    }

    /// Up to `rows.capacity()` watched routes behind the key `after`.
    pub(crate) fn routes_after(&self, after: Option<&RouteKey>, rows: &mut KVec<Route>) {
        self.table.lock().read(after, rows);
    }

    /// Has a route deleted. Any context.
    pub(super) fn doom(self: &Arc<Self>, node: Arc<Node<RouteKey>>) {
        self.doomed.push(node);
        self.enqueue();
    }

    pub(super) fn enqueue(self: &Arc<Self>) {
        with_queue(|queue| {
            // Queued already: that pass sees what this one would.
            let _ = queue.enqueue(self.clone());
        });
    }

    /// Opens the way to the kernel. In a worker.
    pub(super) fn open(self: &Arc<Self>, net: &Held, room: i32) -> Result {
        let mut io = self.io.lock();
        if matches!(*io, Io::Closed) {
            *io = Io::Open(Wire::open(net, room, self.clone())?);
        }
        Ok(())
    }

    /// Watches the route that is `wanted`, on behalf of `holder`; nothing if there is no way to the kernel.
    /// Errors as for [`Fibs::expire_after`](super::Fibs).
    pub(super) fn watch(
        self: &Arc<Self>,
        wanted: &Wanted,
        holder: Option<&Arc<Timed<Holder>>>,
        task: &Task,
    ) -> Result<Option<Route>> {
        let mut io = self.io.lock();
        let wire = match &mut *io {
            Io::Open(wire) => wire,
            Io::Closed => return Ok(None),
            Io::Left => return Err(ENODEV),
        };
        for _ in 0..TRIES {
            // An end that was told, and is not complete, is when the change is.
            self.hear_all(wire, None)?;
            net::wait_for_changes(task);
            let Some(key) = wire.find(wanted, task)? else {
                self.close_if_idle(&mut io);
                return Err(ENOENT);
            };
            // What is told from here on is told to the route in the table.
            if !self.hear_all(wire, Some(&key))? {
                return self.insert(key, holder).map(Some);
            }
        }
        Err(EBUSY)
    }

    fn insert(
        self: &Arc<Self>,
        key: RouteKey,
        holder: Option<&Arc<Timed<Holder>>>,
    ) -> Result<Route> {
        let known = self.table.lock().find(&key).cloned();
        if let Some(known) = known {
            return if known.is_of(holder.map(|holder| &***holder)) {
                Ok(known)
            } else {
                Err(EEXIST)
            };
        }
        // Nobody else inserts: that takes `io`.
        let route = FibRoute::new(key, self.clone(), holder)?;
        let row = Table::row(route.clone())?;
        route.begin();
        self.table.lock().insert(&key, row);
        bump(&self.counts.watched);
        Ok(route)
    }

    /// Forgets the first route that is `wanted`, of those that are watched on behalf of `holder`. Waits for the
    /// worker.
    pub(crate) fn forget(
        self: &Arc<Self>,
        wanted: &Wanted,
        holder: Option<&Holder>,
    ) -> Result<RouteKey> {
        // No route is being deleted, and told to live, at the same time.
        let io = self.io.lock();
        let key = self.table.lock().first(wanted, holder).ok_or(ENOENT)?;
        let was = self.unwatch(&key, holder);
        drop(io);
        if !was {
            return Err(ENOENT);
        }
        bump(&self.counts.forgotten);
        Ok(key)
    }

    /// Forgets all that are watched on behalf of `holder`, others being let in now and then; says how many.
    pub(super) fn forget_all(self: &Arc<Self>, holder: &Holder, task: &Task) -> u64 {
        let mut forgotten: u64 = 0;
        let mut from = RouteKey::FIRST;
        loop {
            // As for one that is forgotten.
            let io = self.io.lock();
            let next = self.table.lock().next_of(holder, &from, ROWS);
            match next {
                NextOf::Found(key) => {
                    if self.drop_route_of(&key, Some(holder)) {
                        bump(&self.counts.forgotten);
                        forgotten = forgotten.saturating_add(1);
                    }
                    from = key;
                }
                NextOf::GoOn(key) => from = key,
                NextOf::End => break,
            }
            drop(io);
            breathe(task);
        }
        self.enqueue();
        forgotten
    }

    /// Whoever has it watched does not want to have it deleted after all. Answers whether it was watched.
    pub(super) fn unwatch(self: &Arc<Self>, key: &RouteKey, holder: Option<&Holder>) -> bool {
        let was = self.drop_route_of(key, holder);
        // It may have been the last.
        self.enqueue();
        was
    }

    fn drop_route_of(&self, key: &RouteKey, holder: Option<&Holder>) -> bool {
        let row = self.table.lock().remove_of(key, holder);
        let Some(row) = row else {
            return false;
        };
        row.to_key_value().1.route.let_go(None);
        true
    }

    /// Takes a route out of the table that has ended, and lets go of it.
    fn drop_route(&self, key: &RouteKey, end: RouteEnd) -> bool {
        let row = self.table.lock().remove(key);
        let Some(row) = row else {
            return false;
        };
        row.to_key_value().1.route.let_go(Some(end));
        true
    }

    /// The route is gone, and not by us.
    pub(super) fn is_gone(&self, key: &RouteKey) {
        if self.drop_route(key, RouteEnd::Gone) {
            bump(&self.counts.gone);
        }
    }

    /// Ends it, for ever. Task context; waits for the worker, and for whoever holds the namespace.
    pub(super) fn end(&self, task: &Task) {
        self.leaving.store(true, Relaxed);
        self.net.close(task);
        let io = core::mem::replace(&mut *self.io.lock(), Io::Left);
        drop(io);
        loop {
            let row = self.table.lock().pop();
            let Some(row) = row else {
                break;
            };
            row.to_key_value()
                .1
                .route
                .let_go(Some(RouteEnd::NamespaceGone));
            bump(&self.counts.gone);
        }
        drop(self.doomed.take());
    }

    /// Stops hearing when there is nothing to hear of.
    fn close_if_idle(&self, io: &mut Io) {
        if matches!(io, Io::Open(_)) && self.table.lock().len() == 0 {
            *io = Io::Closed;
        }
    }

    /// What the worker does.
    fn pass(self: &Arc<Self>, task: &Task) {
        let mut io = self.io.lock();
        let Io::Open(wire) = &mut *io else {
            return;
        };
        let mut all = self.hear(wire, None).1;
        for (n, node) in self.doomed.take().enumerate() {
            // Its namespace takes it along.
            if self.leaving.load(Relaxed) {
                return;
            }
            self.delete(wire, &node);
            if n.wrapping_add(1) & (BATCH - 1) == 0 {
                all &= self.hear(wire, None).1;
                breathe(task);
            }
        }
        for family in Family::ALL {
            all &= self.freshen(wire, family, task);
        }
        self.close_if_idle(&mut io);
        if !all {
            self.enqueue();
        }
    }

    /// Compares with the kernel what may be stale. Answers whether nothing is left to do now.
    fn freshen(&self, wire: &mut Wire, family: Family, task: &Task) -> bool {
        if !self.take_stale(family) {
            return true;
        }
        match self.reconcile(wire, family, task) {
            // What was heard after the listing may be a reason for another one.
            Compared::Settled => !self.is_stale(family),
            Compared::Unsettled => {
                self.set_stale(family);
                false
            }
            Compared::Failed => {
                self.set_stale(family);
                wire.try_again();
                true
            }
        }
    }

    fn delete(&self, wire: &mut Wire, node: &Arc<Node<RouteKey>>) {
        let key = &node.item;
        let found = self.table.lock().find(key).cloned();
        let Some(route) = found.filter(|route| route.is(node)) else {
            return;
        };
        if !route.goes() {
            return;
        }
        match wire.delete(key) {
            Deletion::Done => {
                if self.drop_route(key, RouteEnd::Expired) {
                    bump(&self.counts.deleted);
                }
            }
            Deletion::NotThere => self.is_gone(key),
            Deletion::Mistaken(put_back) => {
                self.report_mistake(key, put_back);
                // Had it gone, the news was there before the answer.
                self.hear(wire, None);
                if !route.is_over() {
                    // It was behind the other one, and is before it now; or it went without a word.
                    self.set_stale(key.family());
                    route.stays();
                    wire.retry(&route);
                }
            }
            Deletion::Failed(why) => {
                if self.counts.failed.fetch_add(1, Relaxed) == 0 {
                    let told = told(key);
                    let errno = why.to_errno();
                    pr_warn!(
                        "{} cannot be deleted (error {}): trying on\n",
                        told.as_str(),
                        errno
                    );
                }
                route.stays();
                wire.retry(&route);
            }
        }
    }

    fn report_mistake(&self, key: &RouteKey, put_back: Result) {
        let told = told(key);
        let route = told.as_str();
        match put_back {
            Ok(()) => {
                bump(&self.counts.restored);
                pr_info!("{}: its twin was deleted instead, and put back\n", route);
            }
            Err(why) => {
                let errno = why.to_errno();
                pr_err!(
                    "{}: its twin was deleted instead, and cannot be put back (error {})\n",
                    route,
                    errno
                );
            }
        }
    }

    /// Hears until there is nothing left. Answers whether the end of `about` was heard.
    fn hear_all(&self, wire: &mut Wire, about: Option<&RouteKey>) -> Result<bool> {
        let mut struck = false;
        for _ in 0..TRIES {
            let (more_struck, all) = self.hear(wire, about);
            struck |= more_struck;
            if all {
                return Ok(struck);
            }
        }
        Err(EBUSY)
    }

    /// Hears what there is, up to a limit. Answers whether the end of `about` was heard, and whether that
    /// was all.
    pub(super) fn hear(&self, wire: &mut Wire, about: Option<&RouteKey>) -> (bool, bool) {
        let mut struck = false;
        for _ in 0..HEARING {
            match wire.hear() {
                Ok(Received::Bytes(len)) => struck |= self.heard(wire.received(len), about),
                Ok(Received::Strange) => {}
                Ok(Received::Nothing) => {
                    if wire.was_lossy() {
                        struck = true;
                        self.doubt_all();
                    }
                    return (struck, true);
                }
                Ok(Received::Lost) | Err(_) => {
                    bump(&self.counts.lost);
                    // It may have been about anything.
                    struck = true;
                    self.doubt_all();
                }
            }
        }
        (struck, false)
    }

    fn heard(&self, bytes: &[u8], about: Option<&RouteKey>) -> bool {
        let mut struck = false;
        for heard in Messages::new(bytes) {
            match heard.map(|(heard, _)| heard) {
                Ok(Heard::Gone(route)) => {
                    for key in route.keys().flatten() {
                        self.news_of(key.family());
                        struck |= Some(&key) == about;
                        self.is_gone(&key);
                    }
                }
                Ok(Heard::There { route, replaces }) => {
                    for key in route.keys().flatten() {
                        self.news_of(key.family());
                        if replaces {
                            struck |= about.is_some_and(|about| key.competes_with(about));
                            self.doubt_rivals_of(&key);
                        }
                    }
                }
                Ok(Heard::Link { index }) => {
                    // One that is about to be watched is in no table: it may lead through that one.
                    if about.is_some() || self.table.lock().leads_through(index) {
                        self.doubt_all();
                    }
                }
                Ok(Heard::AddressGone | Heard::ObjectGone) | Err(_) => self.doubt_all(),
                Ok(Heard::Answer(_) | Heard::Other) => {}
            }
        }
        struck
    }

    fn doubt_rivals_of(&self, key: &RouteKey) {
        if self.table.lock().may_have_lost(key) {
            self.set_stale(key.family());
        }
    }

    fn doubt_all(&self) {
        for family in Family::ALL {
            self.set_stale(family);
        }
    }

    pub(super) fn set_stale(&self, family: Family) {
        if let Some(stale) = self.stale.get(family.index()) {
            stale.store(true, Relaxed);
        }
    }

    fn take_stale(&self, family: Family) -> bool {
        let stale = self.stale.get(family.index());
        stale.is_some_and(|stale| stale.swap(false, Relaxed))
    }

    pub(super) fn is_stale(&self, family: Family) -> bool {
        let stale = self.stale.get(family.index());
        stale.is_some_and(|stale| stale.load(Relaxed))
    }

    fn news_of(&self, family: Family) {
        if let Some(news) = self.news.get(family.index()) {
            bump(news);
        }
    }

    pub(super) fn news(&self, family: Family) -> u64 {
        let news = self.news.get(family.index());
        news.map_or(0, |news| news.load(Relaxed))
    }

    pub(super) fn listed(&self) {
        bump(&self.counts.listed);
    }
}

impl WorkItem for Namespace {
    type Pointer = Arc<Self>;

    fn run(this: Arc<Self>) {
        this.pass(&Task::by_contract());
    }
}

impl OnNews for Namespace {
    fn on_news(this: ArcBorrow<'_, Self>) {
        Arc::from(this).enqueue();
    }
}
