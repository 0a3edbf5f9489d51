// SPDX-License-Identifier: GPL-2.0

//! `route/namespaces` and `route/watched`: routes of the kernel that softclock has to do with.

use super::header;
use crate::{
    inflight::now,
    policy::{
        rtnl::{Hop, RouteKey},
        text::Line, //
    },
    route_fib::{FibRoute, Fibs, Namespace, Timing},
    sys::{
        debugfs::{Out, Table, BATCH},
        net::NetId,
        target::Timed, //
    },
};
use kernel::{prelude::*, sync::Arc};

/// Each namespace that has, or had, watched routes.
pub(super) struct Namespaces(pub(super) Arc<Fibs>);

impl Table for Namespaces {
    type Row = Arc<Namespace>;
    type Place = Option<NetId>;

    fn header(&self, out: &mut Out) {
        header(out);
    }

    fn begin(&self) -> Option<NetId> {
        None
    }

    fn fetch(&self, place: &mut Option<NetId>, rows: &mut KVec<Self::Row>) -> Result {
        self.0.namespaces_from(*place, rows);
        *place = rows.last().map(|last| last.id());
        Ok(())
    }

    fn show(&self, namespace: &Self::Row, out: &mut Out) {
        let counted = namespace.counted();
        out.write(
            Line::record("namespace")
                .count("net", namespace.inum().into())
                .count("watching", counted.watching)
                .count("watched", counted.watched)
                .count("deleted", counted.deleted)
                .count("gone", counted.gone)
                .count("forgotten", counted.forgotten)
                .count("failed", counted.failed)
                .count("restored", counted.restored)
                .count("lost", counted.lost)
                .count("listed", counted.listed)
                .end(),
        );
    }
}

/// Each watched route.
pub(super) struct Watched(pub(super) Arc<Fibs>);

/// How far a reader has come: in which namespace, behind which route.
#[derive(Default)]
pub(super) struct Place {
    left: Option<NetId>,
    here: Option<Arc<Namespace>>,
    after: Option<RouteKey>,
}

impl Table for Watched {
    type Row = (u32, Arc<Timed<FibRoute>>);
    type Place = Place;

    fn header(&self, out: &mut Out) {
        header(out);
    }

    fn begin(&self) -> Place {
        Place::default()
    }

    fn fetch(&self, place: &mut Place, rows: &mut KVec<Self::Row>) -> Result {
        let mut routes = KVec::with_capacity(BATCH, GFP_KERNEL)?;
        while rows.is_empty() {
            let Some(namespace) = place.here.take() else {
                let mut next = KVec::with_capacity(1, GFP_KERNEL)?;
                self.0.namespaces_from(place.left, &mut next);
                let Some(namespace) = next.pop() else {
                    return Ok(());
                };
                place.left = Some(namespace.id());
                place.after = None;
                place.here = Some(namespace);
                continue;
            };
            namespace.routes_after(place.after.as_ref(), &mut routes);
            if let Some(last) = routes.last() {
                place.after = Some(*last.key());
                place.here = Some(namespace.clone());
            }
            for route in routes.drain_all() {
                rows.push_within_capacity((namespace.inum(), route))
                    .map_err(|_| ENOMEM)?;
            }
        }
        Ok(())
    }

    fn show(&self, (net, route): &Self::Row, out: &mut Out) {
        let key = route.key();
        let mut line = Line::record("route");
        line.count("net", (*net).into())
            .shown("dst", &key.prefix)
            .count("table", key.table.into())
            .count("metric", key.priority.into())
            .count("tos", key.tos.into())
            .count("proto", key.protocol.into());
        match &key.hop {
            Hop::Device { oif, gateway } => {
                line.count("oif", (*oif).into());
                if let Some(gateway) = gateway {
                    line.shown("via", gateway);
                }
            }
            Hop::Object(id) => {
                line.count("nhid", (*id).into());
            }
            Hop::Many(_) => {
                line.word("via", "several");
            }
        }
        if let Some(holder) = route.holder() {
            line.word("client", holder.client())
                .word("name", holder.name());
        }
        if let Some(due) = route.due() {
            line.number("due_ns", due.as_nanos())
                .number("in_ns", (due - now()).as_nanos());
        }
        out.write(line.end());
    }
}
