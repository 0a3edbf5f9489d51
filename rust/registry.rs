// SPDX-License-Identifier: GPL-2.0

//! All timers and their owners: for inspection, and for what a leaving module forgot.
//!
//! Task context throughout; a mutex protects it, and the hot paths never come here.

use crate::{
    engine::Asked,
    inflight::Node,
    policy::{name::Name, place::Place},
    sys::{
        context::{wait_for_interrupts, Task},
        module::{ModuleId, Owner},
        route,
        target::Ops,
        wait,
        wheel::{ids, Entry, Kin, Owned, Reader},
    },
};
use core::{
    ops::Range,
    sync::atomic::AtomicU64, //
};
use kernel::{
    new_mutex,
    prelude::*,
    rbtree::{RBTree, RBTreeNode},
    sync::{
        atomic::{Atomic, Relaxed},
        Arc,
        Mutex, //
    },
};

/// A module that has, or had, timers.
#[pin_data]
pub(crate) struct Client {
    owned: Arc<Owned>,
    #[pin]
    state: Mutex<ClientState>,
    nodes: Atomic<u64>,
    nodes_made: Atomic<u64>,
}

struct ClientState {
    module: ModuleId,
    leaving: bool,
    leaked: u64,
    kins: RBTree<(usize, usize), Arc<Kin>>,
    /// Its route timers; made when it has the first one.
    routes: Option<Arc<route::Owner>>,
    route_kins: RBTree<(usize, usize), Arc<route::Kin>>,
    /// Made before it is needed: the end of a module must not fail for want of memory.
    last_reader: Option<Reader>,
}

/// What debugfs shows of a client.
#[derive(Clone, Copy, Default)]
pub(crate) struct Counts {
    /// Timers that exist.
    pub(crate) objects: u64,
    /// Timers ever made.
    pub(crate) made: u64,
    /// Timers it left behind when it was unloaded.
    pub(crate) leaked: u64,
}

impl Client {
    fn new(owner: Owner) -> Result<Arc<Self>> {
        let owned = Arc::pin_init(Owned::new(owner.name()), GFP_KERNEL)?;
        let last_reader = Some(Reader::new(owned.clone())?);
        Arc::pin_init(
            pin_init!(Self {
                owned,
                state <- new_mutex!(ClientState {
                    module: owner.id(),
                    leaving: false,
                    leaked: 0,
                    kins: RBTree::new(),
                    routes: None,
                    route_kins: RBTree::new(),
                    last_reader,
                }),
                nodes: Atomic::new(0),
                nodes_made: Atomic::new(0),
            }),
            GFP_KERNEL,
        )
    }

    /// The module's name.
    pub(crate) fn name(&self) -> &str {
        self.owned.name.as_str()
    }

    /// Its callouts on the wheel.
    pub(crate) fn owned(&self) -> &Arc<Owned> {
        &self.owned
    }

    /// Its route timers. Task context; may block.
    pub(crate) fn routes(&self) -> Result<Arc<route::Owner>> {
        self.routes_in(&mut self.state.lock())
    }

    fn routes_in(&self, state: &mut ClientState) -> Result<Arc<route::Owner>> {
        if let Some(routes) = &state.routes {
            return Ok(routes.clone());
        }
        let routes = Arc::pin_init(route::Owner::new(self.owned.clone()), GFP_KERNEL)?;
        state.routes = Some(routes.clone());
        Ok(routes)
    }

    /// Its route timers, if it has had any since it was loaded.
    pub(crate) fn known_routes(&self) -> Option<Arc<route::Owner>> {
        self.state.lock().routes.clone()
    }

    /// Its exit has run.
    pub(crate) fn is_leaving(&self) -> bool {
        self.state.lock().leaving
    }

    /// It has left something behind that is no callout: route queues, liveness services.
    pub(crate) fn has_left(&self, left: u64) {
        let mut state = self.state.lock();
        state.leaked = state.leaked.saturating_add(left);
    }

    /// Whether this is the loaded module `module`.
    pub(crate) fn is(&self, module: ModuleId) -> bool {
        self.state.lock().module == module
    }

    /// A timer is about to be called, or reaped, in a worker. Any context.
    pub(crate) fn comes(&self) {
        self.owned.comes();
    }

    /// That is over. Task or softirq context.
    pub(crate) fn came(&self) {
        self.owned.came();
    }

    /// Others do it. Any context.
    pub(crate) fn does_not_come(&self) {
        self.owned.does_not_come();
    }

    /// Waits until nothing is on its way to the client's code.
    fn settle(&self, task: &Task) {
        // Walks that were in progress: they say what they leave to others before they end.
        wait_for_interrupts(task);
        wait::until(task, || self.owned.is_settled());
    }

    /// The module is loaded (again, at another address).
    fn comes_back(&self, owner: Owner) -> Result {
        let mut state = self.state.lock();
        if state.module != owner.id() {
            state.last_reader = Some(Reader::new(self.owned.clone())?);
            state.module = owner.id();
            state.leaving = false;
        }
        Ok(())
    }

    /// Whether the module is loaded, and its counts.
    pub(crate) fn shown(&self) -> (bool, Counts) {
        let (module, leaked) = {
            let state = self.state.lock();
            (state.module, state.leaked)
        };
        let count = |entries: &AtomicU64, nodes: &Atomic<u64>| {
            entries.load(core::sync::atomic::Ordering::Relaxed) + nodes.load(Relaxed)
        };
        let counts = Counts {
            objects: count(&self.owned.objects, &self.nodes),
            made: count(&self.owned.made, &self.nodes_made),
            leaked,
        };
        (module != ModuleId::NONE, counts)
    }
}

struct Tables {
    nodes: RBTree<u64, Arc<Node>>,
    clients: RBTree<u64, Arc<Client>>,
}

/// The tables.
#[pin_data]
pub(crate) struct Registry {
    #[pin]
    tables: Mutex<Tables>,
}

/// How to make a timer.
pub(crate) struct Spec {
    pub(crate) owner: Owner,
    pub(crate) ops: &'static Ops,
    pub(crate) place: Place,
    pub(crate) name: Name,
    /// Where the name came from: tells names apart.
    label: &'static CStr,
}

impl Spec {
    /// Tells kins of one client apart.
    fn key(&self) -> (usize, usize) {
        (
            core::ptr::from_ref(self.ops) as usize,
            self.label.as_char_ptr() as usize,
        )
    }
}

/// Checks what a client asks for. Task context; may block.
pub(crate) fn checked(asked: Asked) -> Result<Spec> {
    let Asked {
        owner,
        name: label,
        ops,
        place,
        ours,
    } = asked;
    let name = Name::new(label.to_bytes()).map_err(|bad| {
        pr_err!("callout name \"{}\" {}\n", label, bad.what());
        EINVAL
    })?;
    if !ours && !owner.contains(core::ptr::from_ref(ops) as usize) {
        pr_err!(
            "callout {}: its callback is not compiled into the module that owner!() names; \
             mark the function that makes it #[inline(never)]\n",
            name.as_str(),
        );
        return Err(EINVAL);
    }
    Task::new()?;
    Ok(Spec {
        owner,
        ops,
        place,
        name,
        label,
    })
}

impl Registry {
    pub(crate) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            tables <- new_mutex!(Tables {
                nodes: RBTree::new(),
                clients: RBTree::new(),
            }),
        })
    }

    /// Makes a timer, and keeps it until it is removed. Everything is allocated before the lock.
    pub(crate) fn make(&self, spec: Spec) -> Result<Arc<Node>> {
        let client = self.client(spec.owner)?;
        let id = ids::next();
        let node = Node::new(client.clone(), spec.ops, spec.place, spec.name, id)?;
        let entry = RBTreeNode::new(id, node.clone(), GFP_KERNEL)?;
        let mut tables = self.tables.lock();
        // Under both locks: a module found leaving makes no more timers.
        if client.state.lock().leaving {
            return Err(ENODEV);
        }
        tables.nodes.insert(entry);
        client.nodes.fetch_add(1, Relaxed);
        client.nodes_made.fetch_add(1, Relaxed);
        Ok(node)
    }

    /// What callouts on the wheel of one kind and name share, made when it is new.
    pub(crate) fn kin(&self, spec: Spec) -> Result<Arc<Kin>> {
        let client = self.client(spec.owner)?;
        let key = spec.key();
        let mut state = client.state.lock();
        if state.leaving {
            return Err(ENODEV);
        }
        if let Some(kin) = state.kins.get(&key) {
            return Ok(kin.clone());
        }
        let kin = Kin::new(spec.ops, client.owned.clone(), spec.name, spec.place)?;
        state
            .kins
            .try_create_and_insert(key, kin.clone(), GFP_KERNEL)?;
        Ok(kin)
    }

    /// As [`kin`](Self::kin) for route timers.
    pub(crate) fn route_kin(&self, spec: Spec) -> Result<Arc<route::Kin>> {
        let client = self.client(spec.owner)?;
        let key = spec.key();
        let mut state = client.state.lock();
        if state.leaving {
            return Err(ENODEV);
        }
        if let Some(kin) = state.route_kins.get(&key) {
            return Ok(kin.clone());
        }
        let owner = client.routes_in(&mut state)?;
        let kin = route::Kin::new(spec.ops, owner, spec.name, spec.place)?;
        state
            .route_kins
            .try_create_and_insert(key, kin.clone(), GFP_KERNEL)?;
        Ok(kin)
    }

    /// The exit of `module` has run: from here on it makes nothing.
    pub(crate) fn leaving(&self, module: ModuleId) -> Option<Arc<Client>> {
        let client = self.client_of(module)?;
        client.state.lock().leaving = true;
        Some(client)
    }

    /// Forgets a timer whose owner has let go; harmless when that was done before.
    pub(crate) fn remove(&self, node: &Arc<Node>) {
        let gone = self.tables.lock().nodes.remove_node(&node.id());
        if gone.is_some() {
            node.client().nodes.fetch_sub(1, Relaxed);
        }
        // `gone` is dropped here, after the locks: it may be the last reference.
    }

    /// Up to `rows.capacity()` timers with these ids.
    pub(crate) fn nodes_in(&self, ids: &Range<u64>, rows: &mut KVec<Arc<Node>>) {
        let mut tables = self.tables.lock();
        let mut cursor = tables.nodes.cursor_lower_bound_mut(&ids.start);
        while let Some(here) = cursor {
            let (id, node) = here.current();
            if *id >= ids.end || rows.push_within_capacity(node.clone()).is_err() {
                return;
            }
            cursor = here.move_next();
        }
    }

    /// Up to `rows.capacity()` clients with these keys, each with its key.
    pub(crate) fn clients_in(&self, keys: &Range<u64>, rows: &mut KVec<(u64, Arc<Client>)>) {
        let mut tables = self.tables.lock();
        let mut cursor = tables.clients.cursor_lower_bound_mut(&keys.start);
        while let Some(here) = cursor {
            let (key, client) = here.current();
            if *key >= keys.end || rows.push_within_capacity((*key, client.clone())).is_err() {
                return;
            }
            cursor = here.move_next();
        }
    }

    /// Ends everything `module` has left: called when its exit has run and its code is still there.
    pub(crate) fn leave(&self, module: ModuleId, task: &Task) {
        let Some(client) = self.client_of(module) else {
            return;
        };
        let reader = {
            let mut state = client.state.lock();
            state.leaving = true;
            state.last_reader.take()
        };
        // A callout that is armed for the first time from here on, by a callback that runs still, is shut.
        client.owned.roster.turn_over();
        self.for_each_of(&client, |node| Node::owner_left(node, task));
        if let Some(mut reader) = reader {
            reader.rewind();
            while let Some(kept) = reader.next_kept() {
                end(kept.entry(), task);
            }
            // What its exit has dropped is no leak, be it that a run held the last reference until now.
            client.settle(task);
            self.report(&client, reader);
        }
        client.settle(task);
        // Others may still have what calls its code, or drops by it.
        client.owned.roster.code_goes();
        wait::until(task, || client.owned.is_settled());
        let mut state = client.state.lock();
        state.module = ModuleId::NONE;
        // Their keys are addresses in the module.
        state.kins = RBTree::new();
        state.route_kins = RBTree::new();
        // Readers of what it has forgotten may go on: that memory stays.
        state.routes = None;
    }

    /// Names what `client` has left behind, and forgets it.
    fn report(&self, client: &Arc<Client>, mut reader: Reader) {
        let mut leaked: u64 = 0;
        self.for_each_of(client, |node| {
            leaked = leaked.saturating_add(1);
            if leaked <= NAMED {
                node.report_leak();
            }
            Node::detach(node);
        });
        reader.rewind();
        while let Some(kept) = reader.next_kept() {
            leaked = leaked.saturating_add(1);
            if leaked <= NAMED {
                report_leak(client, kept.entry());
            }
            kept.entry().strike();
        }
        if leaked > 0 {
            pr_warn!(
                "client {} left {} callouts behind: all shut down and drained\n",
                client.name(),
                leaked,
            );
        }
        let mut state = client.state.lock();
        state.leaked = state.leaked.saturating_add(leaked);
    }

    /// The record of `owner`, made when it is new. A module loaded again goes on with its record.
    pub(crate) fn client(&self, owner: Owner) -> Result<Arc<Client>> {
        if let Some(client) = self.client_of(owner.id()) {
            return Ok(client);
        }
        let fresh = Client::new(owner)?;
        let key = ids::next();
        let entry = RBTreeNode::new(key, fresh.clone(), GFP_KERNEL)?;
        let mut tables = self.tables.lock();
        // Under the lock: one that goes from here on is found, and ended, by `leave`.
        if !owner.is_still(fresh.name()) {
            return Err(ENODEV);
        }
        let known = tables.clients.values().find(|c| c.name() == fresh.name());
        if let Some(client) = known.cloned() {
            client.comes_back(owner)?;
            return Ok(client);
        }
        tables.clients.insert(entry);
        Ok(fresh)
    }

    fn client_of(&self, module: ModuleId) -> Option<Arc<Client>> {
        let tables = self.tables.lock();
        let found = tables.clients.values().find(|client| client.is(module));
        found.cloned()
    }

    /// Calls `f` for each timer of `client` whose owner has not let go, without a lock.
    fn for_each_of(&self, client: &Arc<Client>, mut f: impl FnMut(&Arc<Node>)) {
        let mut from = 0;
        while let Some(node) = self.next_of(client, from) {
            from = node.id().saturating_add(1);
            f(&node);
        }
    }

    /// The first timer of `client` from id `from` on.
    fn next_of(&self, client: &Arc<Client>, from: u64) -> Option<Arc<Node>> {
        let mut tables = self.tables.lock();
        let mut cursor = tables.nodes.cursor_lower_bound_mut(&from);
        while let Some(here) = cursor {
            let node = here.current().1;
            if Arc::ptr_eq(node.client(), client) && !node.is_detached() {
                return Some(node.clone());
            }
            cursor = here.move_next();
        }
        None
    }
}

/// Shuts an entry down, and waits until nobody has it.
fn end(entry: &Entry, task: &Task) {
    entry.leave();
    entry.shut();
    entry.drain();
    wait::until(task, || !entry.is_held());
}

/// Says in the log that a module has left a callout behind, and in which state.
fn report_leak(client: &Client, entry: &Entry) {
    pr_warn!(
        "client {} left callout {} (id {}, {}) behind\n",
        client.name(),
        entry.kin().name.as_str(),
        entry.id(),
        entry.left(),
    );
}

/// How many forgotten timers are named in the log, one by one.
const NAMED: u64 = 100;
