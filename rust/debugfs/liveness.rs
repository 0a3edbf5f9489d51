// SPDX-License-Identifier: GPL-2.0

//! `liveness/services`, `liveness/entities`, `liveness/portals` and `liveness/sockets`.

use super::header;
use crate::{
    inflight::now,
    liveness::{
        ask::Prober,
        sockets::{Outlet, Sockets},
        EntityRow, Portal, PortalRow, Protocol, Service,
    },
    policy::{pdu::Fault, text::Line},
    sys::{
        debugfs::{Dir, File, Operations, Out, Table, BATCH},
        net::NetId,
        wheel::ids,
    },
    Hub,
};
use core::ops::Range;
use kernel::{prelude::*, sync::Arc};

/// The files, about to be made.
pub(super) struct Prepared {
    services: (Arc<Services>, Operations<Services>),
    entities: (Arc<Entities>, Operations<Entities>),
    portals: (Arc<Portals>, Operations<Portals>),
    probers: (Arc<Probers>, Operations<Probers>),
}

/// The files.
pub(super) struct Files {
    _services: File<Services>,
    _entities: File<Entities>,
    _portals: File<Portals>,
    _probers: File<Probers>,
    // After the files: a directory goes when it is empty.
    _dir: Dir,
}

impl Prepared {
    /// Task context; may block.
    pub(super) fn new(hub: &Arc<Hub>) -> Result<Self> {
        let services = Arc::new(Services(hub.clone()), GFP_KERNEL)?;
        let entities = Arc::new(Entities(hub.clone()), GFP_KERNEL)?;
        let portals = Arc::new(Portals(hub.clone()), GFP_KERNEL)?;
        let probers = Arc::new(Probers, GFP_KERNEL)?;
        Ok(Self {
            services: (services, Operations::new()?),
            entities: (entities, Operations::new()?),
            portals: (portals, Operations::new()?),
            probers: (probers, Operations::new()?),
        })
    }

    /// Makes them. It cannot fail.
    pub(super) fn place(self, parent: &Dir) -> Files {
        let dir = parent.dir(c"liveness");
        Files {
            _services: dir.file(c"services", self.services.0, self.services.1),
            _entities: dir.file(c"entities", self.entities.0, self.entities.1),
            _portals: dir.file(c"portals", self.portals.0, self.portals.1),
            _probers: dir.file(c"sockets", self.probers.0, self.probers.1),
            _dir: dir,
        }
    }
}

/// The next of the services with these ids, and from which id on there are more.
fn next(hub: &Hub, ids: &mut Range<u64>) -> Option<Arc<Service>> {
    let fits = |service: &Service| service.id() < ids.end && !service.is_let_go();
    let service = hub.liveness().first(ids.start, fits)?;
    ids.start = service.id().saturating_add(1);
    Some(service)
}

/// All services.
struct Services(Arc<Hub>);

impl Table for Services {
    type Row = (Arc<Service>, u32);
    /// The ids that are still to be looked at.
    type Place = Range<u64>;

    fn header(&self, out: &mut Out) {
        header(out);
    }

    fn begin(&self) -> Range<u64> {
        ids::used()
    }

    fn fetch(&self, place: &mut Range<u64>, rows: &mut KVec<Self::Row>) -> Result {
        while rows.len() < BATCH {
            let Some(service) = next(&self.0, place) else {
                return Ok(());
            };
            let entities = service.entities();
            rows.push_within_capacity((service, entities))
                .map_err(|_| ENOMEM)?;
        }
        Ok(())
    }

    fn show(&self, (service, entities): &Self::Row, out: &mut Out) {
        let seen = service.shown();
        let settings = service.settings();
        let mut line = Line::record("service");
        line.count("id", service.id())
            .word("client", service.client().name())
            .word("name", service.name())
            .word("asks", service.asks());
        match service.net() {
            Some(net) => line.count("net", net.into()),
            None => line.word("net", "none"),
        };
        line.count("entities", (*entities).into())
            .count("in_flight", seen.in_flight.into())
            .count("registered", seen.registered)
            .count("rounds", seen.rounds)
            .count("on_time", seen.on_time)
            .count("late", seen.late)
            .number("late_max_ns", seen.late_max.as_nanos())
            .count("alive", seen.alive)
            .count("suspect", seen.suspect)
            .count("dead", seen.dead)
            .count("pending", seen.pending)
            .count("expired", seen.expired)
            .count("failed", seen.failed)
            .count("no_memory", seen.no_memory)
            .count("not_begun", seen.not_begun);
        settings.show(&mut line);
        out.write(line.end());
    }
}

/// What is still to be looked at: which services, and which places of one of them.
struct Place {
    services: Range<u64>,
    here: Option<(Arc<Service>, Range<u32>)>,
}

impl Place {
    fn begin() -> Self {
        Self {
            services: ids::used(),
            here: None,
        }
    }

    /// Reads on with `read`, from one service to the next, until there are rows.
    fn read<R>(
        &mut self,
        hub: &Hub,
        rows: &mut KVec<R>,
        read: impl Fn(&Service, u32, &mut KVec<R>) -> Option<u32>,
    ) -> Option<Arc<Service>> {
        loop {
            let (service, places) = match self.here.take() {
                Some(here) => here,
                None => {
                    let service = next(hub, &mut self.services)?;
                    let places = 0..service.places();
                    (service, places)
                }
            };
            let on = read(&service, places.start, rows).filter(|on| *on < places.end);
            self.here = on.map(|on| (service.clone(), on..places.end));
            if !rows.is_empty() {
                return Some(service);
            }
        }
    }
}

/// Adds which service something is of.
macro_rules! labelled {
    ($rows:ident, $found:ident, $service:ident) => {
        for row in $found.drain_all() {
            $rows
                .push_within_capacity(($service.clone(), row))
                .map_err(|_| ENOMEM)?;
        }
    };
}

/// All entities.
struct Entities(Arc<Hub>);

impl Table for Entities {
    type Row = (Arc<Service>, EntityRow);
    type Place = Place;

    fn header(&self, out: &mut Out) {
        header(out);
    }

    fn begin(&self) -> Place {
        Place::begin()
    }

    fn fetch(&self, place: &mut Self::Place, rows: &mut KVec<Self::Row>) -> Result {
        let mut found = KVec::with_capacity(BATCH, GFP_KERNEL)?;
        if let Some(service) = place.read(&self.0, &mut found, Service::entities_from) {
            labelled!(rows, found, service);
        }
        Ok(())
    }

    fn show(&self, (service, row): &Self::Row, out: &mut Out) {
        let seen = &row.seen;
        let mut line = Line::record("entity");
        line.count("id", row.id)
            .word("client", service.client().name())
            .word("service", service.name())
            .word("eid", row.eid.as_str())
            .word("state", seen.state.as_str())
            .count("leaving", seen.leaving.into())
            .count("interval_s", seen.interval_s.into())
            .count("period_s", seen.period_s.into());
        if let Some(next) = seen.next {
            line.number("due_ns", next.as_nanos())
                .number("in_ns", (next - now()).as_nanos());
        }
        line.number("refreshed_ns", seen.refreshed.as_nanos())
            .count("portals", seen.portals as u64)
            .count("monitored", seen.monitored as u64);
        out.write(line.end());
    }
}

/// All portals.
struct Portals(Arc<Hub>);

impl Table for Portals {
    type Row = (Arc<Service>, PortalRow);
    type Place = Place;

    fn header(&self, out: &mut Out) {
        header(out);
    }

    fn begin(&self) -> Place {
        Place::begin()
    }

    fn fetch(&self, place: &mut Self::Place, rows: &mut KVec<Self::Row>) -> Result {
        let mut found = KVec::with_capacity(BATCH, GFP_KERNEL)?;
        if let Some(service) = place.read(&self.0, &mut found, Service::portals_from) {
            labelled!(rows, found, service);
        }
        Ok(())
    }

    fn show(&self, (service, row): &Self::Row, out: &mut Out) {
        let portal = Portal::of(&row.portal.key);
        let record = &row.portal.record;
        let mut line = Line::record("portal");
        line.word("client", service.client().name())
            .word("service", service.name())
            .word("eid", row.eid.as_str())
            .shown("ip", &portal.ip)
            .count("port", portal.port.into())
            .word("proto", word(portal.protocol));
        match row.portal.at() {
            Some(at) => {
                line.count("esi_port", at.number().into())
                    .word("esi_proto", if at.is_udp() { "udp" } else { "tcp" })
                    .count("interval_s", row.portal.interval_s.into());
            }
            None => {
                line.word("esi_port", "none");
            }
        }
        if row.portal.scope != 0 {
            line.count("scope", row.portal.scope.into());
        }
        line.word("verdict", record.verdict.as_str())
            .count("attempts", record.attempts.into())
            .count("rtt_us", record.round_trip_us.into())
            .count("rtt_max_us", record.worst_us.into())
            .count("probes", record.probes.into())
            .count("answered", record.answered.into())
            .count("retried", record.retried.into())
            .count("faults", record.faults.into());
        out.write(line.end());
    }
}

fn word(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Tcp => "tcp",
        Protocol::Udp => "udp",
    }
}

/// What asks over sockets, in each network namespace.
struct Probers;

impl Table for Probers {
    type Row = Arc<Outlet>;
    type Place = Option<NetId>;

    fn header(&self, out: &mut Out) {
        header(out);
    }

    fn begin(&self) -> Option<NetId> {
        None
    }

    fn fetch(&self, place: &mut Option<NetId>, rows: &mut KVec<Self::Row>) -> Result {
        while rows.len() < BATCH {
            let Some(outlet) = Sockets::next(*place) else {
                return Ok(());
            };
            *place = Some(outlet.id());
            rows.push_within_capacity(outlet).map_err(|_| ENOMEM)?;
        }
        Ok(())
    }

    fn show(&self, outlet: &Self::Row, out: &mut Out) {
        // Its namespace may have left meanwhile.
        let Some(net) = outlet.net() else { return };
        let counts = outlet.counts();
        let mut line = Line::record("sockets");
        line.count("net", net.into())
            .count("begun", counts.begun)
            .count("attempts", counts.attempts)
            .count("answered", counts.answered)
            .count("silent", counts.silent)
            .count("void", counts.void)
            .count("failed", counts.failed)
            .count("in_flight", counts.in_flight)
            .count("waiting", counts.waiting)
            .count("window", counts.window)
            .count("dropped", counts.dropped)
            .count(
                "strays",
                counts.strays.into_iter().fold(0, u64::wrapping_add),
            );
        for (word, count) in Fault::WORDS.iter().zip(counts.strays) {
            line.part("stray", word, count);
        }
        out.write(line.end());
    }
}
