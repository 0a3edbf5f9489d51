// SPDX-License-Identifier: GPL-2.0

//! All timers and their owners: for inspection, and for what a leaving module forgot.
//!
//! Task context throughout; a mutex protects it, and the hot paths never come here.

use crate::{
    inflight::{Firing, Node, Place},
    policy::{life::Next, name::Name},
    sys::{
        context::Task,
        module::{ModuleId, Owner, NAME_MAX},
        target::Ops,
        wait,
    },
};
use kernel::{
    new_mutex,
    prelude::*,
    rbtree::{RBTree, RBTreeNode},
    sync::{
        atomic::{Acquire, Atomic, Relaxed, Release},
        Arc,
        Mutex, //
    },
};

/// A module that has, or had, timers.
#[pin_data]
pub(crate) struct Client {
    name: [u8; NAME_MAX],
    name_len: usize,
    #[pin]
    state: Mutex<ClientState>,
    /// Timers being reaped.
    reaping: Atomic<u64>,
}

struct ClientState {
    module: ModuleId,
    leaving: bool,
    counts: Counts,
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
        let mut name = [0; NAME_MAX];
        let name_len = owner.name(&mut name);
        Arc::pin_init(
            pin_init!(Self {
                name,
                name_len,
                state <- new_mutex!(ClientState {
                    module: owner.id(),
                    leaving: false,
                    counts: Counts::default(),
                }),
                reaping: Atomic::new(0),
            }),
            GFP_KERNEL,
        )
    }

    /// The module's name.
    pub(crate) fn name(&self) -> &str {
        let bytes = self.name.get(..self.name_len).unwrap_or(&[]);
        core::str::from_utf8(bytes).unwrap_or("?")
    }

    /// Whether this is the loaded module `module`.
    pub(crate) fn is(&self, module: ModuleId) -> bool {
        self.state.lock().module == module
    }

    /// A timer is about to be reaped. Any context.
    pub(crate) fn reaping(&self) {
        self.reaping.fetch_add(1, Relaxed);
    }

    /// A timer was reaped. Task or softirq context.
    pub(crate) fn reaped(&self) {
        if self.reaping.fetch_sub(1, Release) == 1 {
            wait::wake();
        }
    }

    /// Waits until all that were about to be reaped are.
    fn settle(&self, task: &Task) {
        wait::until(task, || self.reaping.load(Acquire) == 0);
    }

    /// The module is loaded (again, at another address).
    fn comes_back(&self, owner: Owner) {
        let mut state = self.state.lock();
        if state.module != owner.id() {
            state.module = owner.id();
            state.leaving = false;
        }
    }

    /// Whether the module is loaded, and its counts.
    pub(crate) fn shown(&self) -> (bool, Counts) {
        let state = self.state.lock();
        (state.module != ModuleId::NONE, state.counts)
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
    next_id: Atomic<u64>,
}

/// How to make a timer.
pub(crate) struct Spec {
    pub(crate) owner: Owner,
    pub(crate) ops: &'static Ops<Firing, Next>,
    pub(crate) place: Place,
    pub(crate) name: Name,
}

impl Registry {
    pub(crate) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            tables <- new_mutex!(Tables {
                nodes: RBTree::new(),
                clients: RBTree::new(),
            }),
            next_id: Atomic::new(1),
        })
    }

    /// Makes a timer, and keeps it until it is removed. Everything is allocated before the lock.
    pub(crate) fn make(&self, spec: Spec) -> Result<Arc<Node>> {
        let client = self.client(spec.owner)?;
        let id = self.next_id.fetch_add(1, Relaxed);
        let node = Node::new(client.clone(), spec.ops, spec.place, spec.name, id)?;
        let entry = RBTreeNode::new(id, node.clone(), GFP_KERNEL)?;
        let mut tables = self.tables.lock();
        // Under both locks: a module found leaving makes no more timers.
        let mut state = client.state.lock();
        if state.leaving {
            return Err(ENODEV);
        }
        tables.nodes.insert(entry);
        state.counts.objects = state.counts.objects.saturating_add(1);
        state.counts.made = state.counts.made.saturating_add(1);
        Ok(node)
    }

    /// Forgets a timer whose owner has let go; harmless when that was done before.
    pub(crate) fn remove(&self, node: &Arc<Node>) {
        let gone = self.tables.lock().nodes.remove_node(&node.id());
        if gone.is_some() {
            let mut state = node.client().state.lock();
            state.counts.objects = state.counts.objects.saturating_sub(1);
        }
        // `gone` is dropped here, after the locks: it may be the last reference.
    }

    /// Up to `rows.capacity()` timers from id `from` on.
    pub(crate) fn nodes_from(&self, from: u64, rows: &mut KVec<Arc<Node>>) {
        let mut tables = self.tables.lock();
        let mut cursor = tables.nodes.cursor_lower_bound_mut(&from);
        while let Some(here) = cursor {
            if rows.push_within_capacity(here.current().1.clone()).is_err() {
                return;
            }
            cursor = here.move_next();
        }
    }

    /// Up to `rows.capacity()` clients from key `from` on, each with its key.
    pub(crate) fn clients_from(&self, from: u64, rows: &mut KVec<(u64, Arc<Client>)>) {
        let mut tables = self.tables.lock();
        let mut cursor = tables.clients.cursor_lower_bound_mut(&from);
        while let Some(here) = cursor {
            let (key, client) = here.current();
            if rows.push_within_capacity((*key, client.clone())).is_err() {
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
        client.state.lock().leaving = true;
        self.for_each_of(&client, |node| Node::owner_left(node, task));
        // What its exit has dropped is no leak, be it that a run held the last reference until now.
        client.settle(task);
        let mut leaked: u64 = 0;
        self.for_each_of(&client, |node| {
            leaked = leaked.saturating_add(1);
            if leaked <= NAMED {
                node.report_leak();
            }
            Node::detach(node);
        });
        client.settle(task);
        if leaked > 0 {
            pr_warn!(
                "client {} left {} callouts behind: all shut down and drained\n",
                client.name(),
                leaked,
            );
        }
        let mut state = client.state.lock();
        state.counts.leaked = state.counts.leaked.saturating_add(leaked);
        state.module = ModuleId::NONE;
    }

    /// The record of `owner`, made when it is new. A module loaded again goes on with its record.
    fn client(&self, owner: Owner) -> Result<Arc<Client>> {
        if let Some(client) = self.client_of(owner.id()) {
            return Ok(client);
        }
        let fresh = Client::new(owner)?;
        let key = self.next_id.fetch_add(1, Relaxed);
        let entry = RBTreeNode::new(key, fresh.clone(), GFP_KERNEL)?;
        let mut tables = self.tables.lock();
        let known = tables.clients.values().find(|c| c.name() == fresh.name());
        if let Some(client) = known.cloned() {
            client.comes_back(owner);
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

/// How many forgotten timers are named in the log, one by one.
const NAMED: u64 = 100;
