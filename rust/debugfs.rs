// SPDX-License-Identifier: GPL-2.0

//! The tree under `/sys/kernel/debug/softclock/`.
//!
//! Every file begins with `format=1 abi=... now_ns=...` and has one record a line. Listing is
//! weakly consistent: a timer that exists throughout is shown exactly once, one that is made meanwhile need
//! not be.

mod liveness;
mod route;
mod route_fib;

use self::{
    route::{Entries, Queues},
    route_fib::{Namespaces, Watched}, //
};
use crate::{
    beats::Beat,
    control::Control,
    inflight::{now, Node},
    policy::{levels::start_of, text::Line},
    registry::Client,
    route_fib::Fibs,
    sys::{
        debugfs::{Dir, File, Operations, Out, Table, BATCH},
        wheel::{ids, Counts, Reader, Seen},
    },
    Hub,
};
use core::{
    ops::Range,
    sync::atomic::Ordering::Relaxed, //
};
use kernel::{prelude::*, sync::Arc};

/// The files; they go away when it is dropped.
pub(crate) struct Tree {
    _callouts: File<Callouts>,
    _periodics: File<Periodics>,
    _clients: File<Clients>,
    _cpus: File<Cpus>,
    _queues: File<Queues>,
    _entries: File<Entries>,
    _namespaces: File<Namespaces>,
    _watched: File<Watched>,
    _routes: Dir,
    _liveness: liveness::Files,
    _control: File<Control>,
    // After the files: a directory goes when it is empty.
    _dir: Dir,
}

impl Tree {
    /// Makes the tree. Without debugfs in the kernel it is empty.
    pub(crate) fn new(hub: &Arc<Hub>, fibs: &Arc<Fibs>) -> Result<Self> {
        let callouts = Arc::new(Callouts(hub.clone()), GFP_KERNEL)?;
        let clients = Arc::new(Clients(hub.clone()), GFP_KERNEL)?;
        let cpus = Arc::new(Cpus(hub.clone()), GFP_KERNEL)?;
        let periodics = Arc::new(Periodics(hub.clone()), GFP_KERNEL)?;
        let (list_callouts, list_clients) = (Operations::new()?, Operations::new()?);
        let queues = Arc::new(Queues(hub.clone()), GFP_KERNEL)?;
        let entries = Arc::new(Entries(hub.clone()), GFP_KERNEL)?;
        let (list_cpus, list_periodics) = (Operations::new()?, Operations::new()?);
        let (list_queues, list_entries) = (Operations::new()?, Operations::new()?);
        let (control, commands) = (Control::new(fibs.clone())?, Operations::with_commands()?);
        let namespaces = Arc::new(Namespaces(fibs.clone()), GFP_KERNEL)?;
        let watched = Arc::new(Watched(fibs.clone()), GFP_KERNEL)?;
        let (list_namespaces, list_watched) = (Operations::new()?, Operations::new()?);
        let liveness = liveness::Prepared::new(hub)?;
        let dir = Dir::new(c"softclock");
        let routes = dir.dir(c"route");
        Ok(Self {
            _callouts: dir.file(c"callouts", callouts, list_callouts),
            _periodics: dir.file(c"periodics", periodics, list_periodics),
            _clients: dir.file(c"clients", clients, list_clients),
            _cpus: dir.file(c"cpus", cpus, list_cpus),
            _queues: routes.file(c"queues", queues, list_queues),
            _entries: routes.file(c"entries", entries, list_entries),
            _namespaces: routes.file(c"namespaces", namespaces, list_namespaces),
            _watched: routes.file(c"watched", watched, list_watched),
            _routes: routes,
            _liveness: liveness.place(&dir),
            _control: dir.file(c"control", control, commands),
            _dir: dir,
        })
    }
}

/// Writes the first line of a file.
pub(crate) fn header(out: &mut Out) {
    out.write(Line::header(crate::ABI, now().as_nanos()).end());
}

struct Callouts(Arc<Hub>);

/// A callout, as it was when its batch was read.
enum Row {
    Node(Arc<Node>),
    Entry(Seen),
}

/// How far a reader has come: all nodes, then the entries of one client after the other.
struct Place {
    nodes: Range<u64>,
    nodes_done: bool,
    clients: Range<u64>,
    reader: Option<Reader>,
}

impl Table for Callouts {
    type Row = Row;
    type Place = Place;

    fn header(&self, out: &mut Out) {
        header(out);
    }

    fn begin(&self) -> Place {
        Place {
            nodes: ids::used(),
            nodes_done: false,
            clients: ids::used(),
            reader: None,
        }
    }

    fn fetch(&self, place: &mut Place, rows: &mut KVec<Row>) -> Result {
        if !place.nodes_done {
            let mut nodes = KVec::with_capacity(BATCH, GFP_KERNEL)?;
            self.0.registry().nodes_in(&place.nodes, &mut nodes);
            place.nodes_done = nodes.len() < BATCH;
            if let Some(last) = nodes.last() {
                place.nodes.start = last.id().saturating_add(1);
            }
            for node in nodes {
                rows.push_within_capacity(Row::Node(node))
                    .map_err(|_| ENOMEM)?;
            }
        }
        while rows.is_empty() {
            if place.reader.is_none() {
                let mut clients = KVec::with_capacity(1, GFP_KERNEL)?;
                self.0.registry().clients_in(&place.clients, &mut clients);
                let Some((key, client)) = clients.pop() else {
                    return Ok(());
                };
                place.clients.start = key.saturating_add(1);
                place.reader = Some(Reader::new(client.owned().clone())?);
            }
            if let Some(reader) = &mut place.reader {
                reader.read(BATCH, |seen| {
                    let _ = rows.push_within_capacity(Row::Entry(seen));
                });
            }
            if rows.is_empty() {
                place.reader = None;
            }
        }
        Ok(())
    }

    fn show(&self, row: &Row, out: &mut Out) {
        match row {
            Row::Node(node) => show_node(node, out),
            Row::Entry(seen) => show_entry(seen, out),
        }
    }
}

fn show_node(node: &Node, out: &mut Out) {
    let Some(seen) = node.snapshot() else {
        return;
    };
    let mut line = Line::record("callout");
    line.count("id", node.id())
        .word("client", node.client().name())
        .word("name", node.name().as_str())
        .word("ctx", node.place().as_str())
        .word("class", "precise")
        .word("state", seen.shown.as_str());
    if let Some(due) = seen.due {
        line.number("due_ns", due.as_nanos())
            .number("in_ns", (due - now()).as_nanos());
    }
    line.count("armed", seen.stats.armed)
        .count("fired", seen.stats.fired)
        .count("cancelled", seen.stats.cancelled)
        .count("refused", seen.stats.refused)
        .number("late_max_ns", seen.stats.late_max_ns);
    out.write(line.end());
}

fn show_entry(seen: &Seen, out: &mut Out) {
    let mut line = Line::record("callout");
    line.count("id", seen.id)
        .word("client", seen.kin.owner.name.as_str())
        .word("name", seen.kin.name.as_str())
        .word("ctx", seen.kin.place.as_str())
        .word("class", "wheel")
        .word("state", seen.state());
    if seen.word.is_armed() {
        line.count("cpu", seen.word.base() as u64)
            .number("due_ns", seen.due.as_nanos())
            .number("in_ns", (seen.due - now()).as_nanos());
    }
    // Of all callouts of this name: an entry has no room for counters.
    line.count("fired", seen.kin.fired.load(Relaxed));
    out.write(line.end());
}

struct Periodics(Arc<Hub>);

impl Table for Periodics {
    type Row = Arc<Beat>;
    /// The places that are still to be looked at.
    type Place = Range<u32>;

    fn header(&self, out: &mut Out) {
        header(out);
    }

    fn begin(&self) -> Range<u32> {
        0..self.0.beats().places()
    }

    fn fetch(&self, place: &mut Range<u32>, rows: &mut KVec<Self::Row>) -> Result {
        while rows.len() < BATCH && place.start < place.end {
            let next = self.0.beats().rows_from(place.start, rows);
            place.start = next.unwrap_or(place.end);
        }
        Ok(())
    }

    fn show(&self, beat: &Self::Row, out: &mut Out) {
        let seen = beat.now();
        let mut line = Line::record("periodic");
        line.count("id", beat.id)
            .word("client", beat.client.as_str())
            .word("name", beat.name.as_str())
            .word("ctx", beat.place.as_str())
            .word("class", if beat.exact { "precise" } else { "wheel" })
            .word("state", seen.state())
            .number("period_ns", seen.period.as_delta().as_nanos());
        if !seen.over {
            line.number("due_ns", seen.due.as_nanos())
                .number("in_ns", (seen.due - now()).as_nanos());
        }
        line.count("fired", seen.counts.fired)
            .count("missed", seen.counts.missed)
            .number("late_max_ns", seen.counts.late_max_ns)
            .number("run_last_ns", seen.counts.last_run_ns)
            .number("run_max_ns", seen.counts.max_run_ns);
        out.write(line.end());
    }
}

/// What each CPU's wheel has done: see [`Counts`].
struct Cpus(Arc<Hub>);

impl Table for Cpus {
    type Row = (usize, Counts, u64);
    type Place = usize;

    fn header(&self, out: &mut Out) {
        header(out);
    }

    fn begin(&self) -> usize {
        0
    }

    fn fetch(&self, place: &mut usize, rows: &mut KVec<Self::Row>) -> Result {
        while rows.len() < BATCH {
            let Some((counts, next)) = self.0.wheels().counts(*place) else {
                return Ok(());
            };
            rows.push_within_capacity((*place, counts, next))
                .map_err(|_| ENOMEM)?;
            *place += 1;
        }
        Ok(())
    }

    fn show(&self, (cpu, counts, next): &Self::Row, out: &mut Out) {
        let mut line = Line::record("cpu");
        line.count("cpu", *cpu as u64)
            .count("linked", counts.linked);
        if *next != u64::MAX {
            line.number("next_ns", start_of(*next).as_nanos());
        }
        line.count("fired", counts.fired)
            .count("tombstones", counts.tombstones)
            .count("moved", counts.moved)
            .count("wakes", counts.wakes)
            .count("slices", counts.slices)
            .count("batch_max", counts.batch_max)
            .number("slice_max_ns", counts.slice_max_ns)
            .count("kicks", counts.kicks)
            .number("late_max_ns", counts.late_max_ns);
        out.write(line.end());
    }
}

struct Clients(Arc<Hub>);

impl Table for Clients {
    type Row = (u64, Arc<Client>);
    type Place = Range<u64>;

    fn header(&self, out: &mut Out) {
        header(out);
    }

    fn begin(&self) -> Range<u64> {
        ids::used()
    }

    fn fetch(&self, place: &mut Range<u64>, rows: &mut KVec<Self::Row>) -> Result {
        self.0.registry().clients_in(place, rows);
        if let Some((key, _)) = rows.last() {
            place.start = key.saturating_add(1);
        }
        Ok(())
    }

    fn show(&self, (_, client): &Self::Row, out: &mut Out) {
        let (loaded, counts) = client.shown();
        out.write(
            Line::record("client")
                .word("name", client.name())
                .word("state", if loaded { "loaded" } else { "gone" })
                .count("objects", counts.objects)
                .count("made", counts.made)
                .count("leaked", counts.leaked)
                .end(),
        );
    }
}
