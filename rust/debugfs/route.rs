// SPDX-License-Identifier: GPL-2.0

//! `route/queues` and `route/entries`.

use super::header;
use crate::{
    inflight::now,
    policy::text::Line,
    route::AnyQueue,
    sys::{
        debugfs::{Out, Table, BATCH},
        route::{Reader, Seen},
        wheel::ids,
    },
    Hub,
};
use core::{
    ops::Range,
    sync::atomic::Ordering::Relaxed, //
};
use kernel::{prelude::*, sync::Arc};

/// The queues of route timers.
pub(super) struct Queues(pub(super) Arc<Hub>);

impl Table for Queues {
    type Row = Arc<dyn AnyQueue>;
    /// The ids that are still to be looked at.
    type Place = Range<u64>;

    fn header(&self, out: &mut Out) {
        header(out);
    }

    fn begin(&self) -> Range<u64> {
        ids::used()
    }

    fn fetch(&self, place: &mut Range<u64>, rows: &mut KVec<Self::Row>) -> Result {
        self.0.routes().listed(place, rows);
        if let Some(last) = rows.last() {
            place.start = last.seat().id().saturating_add(1);
        }
        Ok(())
    }

    fn show(&self, queue: &Self::Row, out: &mut Out) {
        let seat = queue.seat();
        let (counts, state, wake) = seat.snapshot();
        let mut line = Line::record("queue");
        line.count("id", seat.id())
            .word("client", queue.client().name())
            .word("name", queue.name())
            .word("ctx", seat.place().as_str())
            .word("state", state)
            .number("timeout_ns", seat.timeout().as_nanos())
            .count("count", counts.count);
        if let Some(wake) = wake {
            line.number("wake_ns", wake.as_nanos())
                .number("in_ns", (wake - now()).as_nanos());
        }
        line.count("added", counts.added)
            .count("fired", counts.fired)
            .count("replaced", counts.replaced)
            .count("removed", counts.removed)
            .count("refreshed", counts.refreshed)
            .count("wakes", counts.wakes)
            .count("slices", counts.slices)
            .count("batch_max", counts.batch_max);
        out.write(line.end());
    }
}

/// The timers in queues.
pub(super) struct Entries(pub(super) Arc<Hub>);

/// How far a reader has come: the timers of one client after the other.
pub(super) struct Place {
    clients: Range<u64>,
    /// The client's name is its record's.
    reader: Option<(Arc<crate::registry::Client>, Reader)>,
}

impl Table for Entries {
    type Row = (Arc<crate::registry::Client>, Seen);
    type Place = Place;

    fn header(&self, out: &mut Out) {
        header(out);
    }

    fn begin(&self) -> Place {
        Place {
            clients: ids::used(),
            reader: None,
        }
    }

    fn fetch(&self, place: &mut Place, rows: &mut KVec<Self::Row>) -> Result {
        while rows.is_empty() {
            let Some((client, reader)) = &mut place.reader else {
                if !self.next_client(place)? {
                    return Ok(());
                }
                continue;
            };
            let more = reader.read(BATCH, |seen| {
                let _ = rows.push_within_capacity((client.clone(), seen));
            });
            if !more {
                place.reader = None;
            }
        }
        Ok(())
    }

    fn show(&self, (client, seen): &Self::Row, out: &mut Out) {
        let mut line = Line::record("entry");
        line.count("queue", seen.queue)
            .word("client", client.name())
            .word("name", seen.kin.name.as_str())
            .word("ctx", seen.kin.place.as_str())
            .word("state", if seen.running { "rearmed" } else { "armed" })
            .number("due_ns", seen.due.as_nanos())
            .number("in_ns", (seen.due - now()).as_nanos())
            // Of all timers of this name: an entry has no room for counters.
            .count("fired", seen.kin.fired.load(Relaxed));
        out.write(line.end());
    }
}

impl Entries {
    /// Goes on with the next client; `false`: there is none.
    fn next_client(&self, place: &mut Place) -> Result<bool> {
        let mut clients = KVec::with_capacity(1, GFP_KERNEL)?;
        let registry = self.0.registry();
        registry.clients_in(&place.clients, &mut clients);
        let Some((key, client)) = clients.pop() else {
            return Ok(false);
        };
        place.clients.start = key.saturating_add(1);
        if let Some(routes) = client.known_routes() {
            place.reader = Some((client, Reader::new(routes)?));
        }
        Ok(true)
    }
}
