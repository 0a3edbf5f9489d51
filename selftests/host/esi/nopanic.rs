// SPDX-License-Identifier: GPL-2.0

//! Everything the kernel calls, compiled as the kernel is: selftests/esi.sh looks for panics in the
//! object. An overflow or an index out of bounds would stop the machine, so none may be possible.

#![no_std]
#![forbid(unsafe_code)]
#![allow(dead_code, reason = "what only the kernel uses is not used here")]

#[path = "../../../rust/policy"]
mod policy {
    pub(crate) mod deadline;
    pub(crate) mod esi;
    pub(crate) mod pdu;
}

use policy::{
    deadline::{Delta, Instant},
    esi::{
        attempts::{Attempts, Spacing, Step},
        entity::{Action, Entity, Event, Moment, Origin},
        jitter::Jitter,
        pace::{Punctual, Window},
        record::Record,
        round::{Probe, Round},
        terms::{Limits, Terms, Wish},
        xids::Xids,
        Coverage, Settings, Threshold,
    },
    pdu::{
        address::{Eid, Ip, Port},
        header::Sender,
        inquiry::{xid_of, Expected, Request, Response},
        reader::{Progress, Reader},
        status::Status,
        Fault,
    },
};

macro_rules! outer {
    ($($name:ident($($arg:ident: $type:ty),*) $(-> $result:ty)? $body:block)*) => {
        $(#[inline(never)] #[allow(private_interfaces, reason = "to be looked at, not called")] pub fn $name($($arg: $type),*) $(-> $result)? $body)*
    };
}

outer! {
    eid(bytes: &[u8]) -> Option<&str> { Eid::new(bytes).ok().map(Eid::as_str) }
    ip(bytes: [u8; 16]) -> Option<[u8; 4]> { Ip::from_wire(bytes).check().ok()?.as_v4() }
    local(bytes: [u8; 16]) -> bool { Ip::from_wire(bytes).is_link_local() }
    port(raw: u32) -> Option<u16> { Some(Port::monitored(raw).ok()??.number()) }
    ports(raw: u32) -> bool { Port::udp(raw).is_ok() }
    encode(request: &Request<'_>, room: &mut [u8]) -> Option<usize> { request.encode(room) }
    ask(bytes: &[u8]) -> bool { Request::parse(bytes).is_ok() }
    answer(response: &Response<'_>, room: &mut [u8]) -> Option<usize> { response.encode(Sender::Client, room) }
    parse(bytes: &[u8], want: &Expected<'_>) -> Result<(), Fault> { want.is_met_by(&Response::parse(bytes)?, want.peer) }
    xid(bytes: &[u8]) -> Result<u16, Fault> { xid_of(bytes) }
    words(fault: Fault, status: Status) -> [&'static str; 2] { [fault.as_str(), status.as_str()] }
    room(reader: &mut Reader) -> &mut [u8] { reader.room() }
    took(reader: &mut Reader, bytes: usize) -> Progress { reader.took(bytes) }
    message(reader: &Reader) -> &[u8] { reader.message() }
    entity(terms: Terms, origin: Origin, at: &Moment<'_>) -> (Entity, Action) { Entity::new(terms, origin, at) }
    step(entity: Entity, event: Event, at: &Moment<'_>) -> (Entity, Action) { entity.step(event, at) }
    jitter(jitter: Jitter, span: Delta, random: u64) -> (Delta, Delta) { (jitter.first(span, random), jitter.next(span, random)) }
    terms(period: u32, portals: &[Wish]) -> Terms { Terms::of(period, portals.iter().copied()) }
    limits(limits: Limits, asked: u32) -> [u32; 2] { [limits.interval(asked), limits.period(asked)] }
    threshold(count: u32) -> Threshold { Threshold::from_count(count) }
    spacing(settings: &Settings, interval: Delta, portals: u16) -> Spacing { Spacing::of(settings, interval, portals) }
    begin(spacing: Spacing, now: Instant) -> (Attempts, Step) { Attempts::begin(spacing, now) }
    due(attempts: &mut Attempts, now: Instant) -> Step { attempts.due(now) }
    failed(attempts: &mut Attempts, now: Instant) -> Step { attempts.failed(now) }
    record(record: &mut Record, attempts: &Attempts, probe: Probe) { record.probed(&attempts.so_far(), probe) }
    round(coverage: Coverage, portals: u16) -> Round { Round::new(coverage, portals) }
    start(round: &mut Round) -> bool { round.start() }
    end(round: &mut Round, probe: Probe) -> bool { round.end(probe); round.outcome().is_some() }
    window(limit: u32) -> Window { Window::new(limit) }
    starts(window: &mut Window) -> bool { let mut pass = window.pass(); window.start(&mut pass) }
    ends(window: &mut Window) { window.end() }
    count(starts: &mut Punctual, due: Instant, now: Instant) { starts.count(due, now) }
    take(xids: &mut Xids<&mut [u16]>, slot: u16, random: u32) -> Option<u16> { xids.take(slot, random) }
    slot(xids: &Xids<&mut [u16]>, id: u16) -> Option<u16> { xids.slot(id) }
    give_back(xids: &mut Xids<&mut [u16]>, id: u16, slot: u16) -> bool { xids.give_back(id, slot) }
    table(table: &mut [u16]) -> Option<Xids<&mut [u16]>> { Xids::new(table) }
}
