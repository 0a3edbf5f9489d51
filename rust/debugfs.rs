// SPDX-License-Identifier: GPL-2.0

//! The tree under `/sys/kernel/debug/softclock/`.
//!
//! Every file begins with `format=1 abi=... now_ns=...` and has one record a line. Listing is
//! weakly consistent: a timer that exists throughout is shown exactly once.

use crate::{
    inflight::{now, Node},
    policy::text::Line,
    registry::Client,
    sys::debugfs::{Dir, File, Operations, Out, Table},
    Hub,
};
use kernel::{prelude::*, sync::Arc};

/// The files; they go away when it is dropped.
pub(crate) struct Tree {
    _callouts: File<Callouts>,
    _clients: File<Clients>,
    // After the files: a directory goes when it is empty.
    _dir: Dir,
}

impl Tree {
    /// Makes the tree. Without debugfs in the kernel it is empty.
    pub(crate) fn new(hub: &Arc<Hub>) -> Result<Self> {
        let callouts = Arc::new(Callouts(hub.clone()), GFP_KERNEL)?;
        let clients = Arc::new(Clients(hub.clone()), GFP_KERNEL)?;
        let (list_callouts, list_clients) = (Operations::new()?, Operations::new()?);
        let dir = Dir::new(c"softclock");
        Ok(Self {
            _callouts: dir.file(c"callouts", callouts, list_callouts),
            _clients: dir.file(c"clients", clients, list_clients),
            _dir: dir,
        })
    }
}

fn header(out: &mut Out) {
    out.write(Line::header(crate::ABI, now().as_nanos()).end());
}

struct Callouts(Arc<Hub>);

impl Table for Callouts {
    type Row = Arc<Node>;

    fn header(&self, out: &mut Out) {
        header(out);
    }

    fn fetch(&self, from: u64, rows: &mut KVec<Self::Row>) {
        self.0.registry().nodes_from(from, rows);
    }

    fn key(row: &Self::Row) -> u64 {
        row.id()
    }

    fn show(&self, node: &Self::Row, out: &mut Out) {
        let Some(seen) = node.snapshot() else {
            return;
        };
        let mut line = Line::record("callout");
        line.count("id", node.id())
            .word("client", node.client().name())
            .word("name", node.name().as_str())
            .word("ctx", node.place().as_str())
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
}

struct Clients(Arc<Hub>);

impl Table for Clients {
    type Row = (u64, Arc<Client>);

    fn header(&self, out: &mut Out) {
        header(out);
    }

    fn fetch(&self, from: u64, rows: &mut KVec<Self::Row>) {
        self.0.registry().clients_from(from, rows);
    }

    fn key(row: &Self::Row) -> u64 {
        row.0
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
