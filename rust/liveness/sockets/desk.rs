// SPDX-License-Identifier: GPL-2.0

//! What the worker of a room has before it: all probes, and how one goes from start to end.
//!
//! ```text
//!   take in --> waiting --> start --> attempt --> look --> end
//!                                        ^          |
//!                                        +----------+  no answer in time, and not the last attempt
//! ```

use super::{
    alarm::Alarm,
    chain::Chain,
    flight::Flight,
    ready::{OVER_V4, OVER_V6, SLOTS_FROM},
    room::Room,
};
use crate::{
    callout::CalloutOf,
    context::Soft,
    liveness::ask::{Ask, End, Whom, Why},
    policy::{
        deadline::Instant,
        esi::{
            attempts::{Attempts, Step},
            pace::{Then, Window},
            xids::{Xids, IDS},
        },
        pdu::{inquiry::xid_of, Fault, MAX_REQUEST, MAX_RESPONSE},
    },
    sys::{
        context::{breathe, random, real_seconds, Task},
        socket::Socket,
    },
    timed_box::TimedBox,
};
use kernel::{prelude::*, sync::Arc};

/// Slots of a chunk: they fit into a page.
const CHUNK: usize = 32;

/// A place for a probe.
pub(super) struct Slot {
    pub(super) alarm: TimedBox<Alarm>,
    flight: Option<Flight>,
}

/// The table of transaction ids.
struct Table(KVVec<u16>);

impl AsRef<[u16]> for Table {
    fn as_ref(&self) -> &[u16] {
        &self.0
    }
}

impl AsMut<[u16]> for Table {
    fn as_mut(&mut self) -> &mut [u16] {
        &mut self.0
    }
}

/// The worker's own.
pub(super) struct Desk {
    /// As many as there were probes in flight at once, in chunks: one vector has room for twice as many as it
    /// needs, now and then.
    slots: KVVec<KVec<Slot>>,
    /// Those without a probe.
    idle: KVVec<u16>,
    window: Window,
    xids: Xids<Table>,
    /// The first one on top.
    waiting: Chain,
    /// For datagrams: over IPv4, and over IPv6.
    pub(super) udp: [Option<Socket<Room>>; 2],
    /// All that had come there by then was received.
    pub(super) drained: [Instant; 2],
    /// How many were dropped there, and when there was last no room for some.
    pub(super) dropped: [(u32, Instant); 2],
    pub(super) rooms: Rooms,
}

/// Space for what goes out, and what comes in.
pub(super) struct Rooms {
    pub(super) request: [u8; MAX_REQUEST],
    pub(super) answer: [u8; MAX_RESPONSE],
}

fn slot_at(slots: &mut [KVec<Slot>], place: u32) -> Option<&mut Slot> {
    let place = place as usize;
    slots.get_mut(place / CHUNK)?.get_mut(place % CHUNK)
}

impl Desk {
    /// Task context; may block.
    pub(super) fn new() -> Result<KBox<Self>> {
        let table = Table(KVVec::from_elem(0, IDS, GFP_KERNEL)?);
        Ok(KBox::new(
            Self {
                slots: KVVec::new(),
                idle: KVVec::new(),
                window: Window::new(0),
                xids: Xids::new(table).ok_or(EINVAL)?,
                waiting: Chain::new(),
                udp: [None, None],
                drained: [Instant::from_nanos(0); 2],
                dropped: [(0, Instant::from_nanos(0)); 2],
                rooms: Rooms {
                    request: [0; MAX_REQUEST],
                    answer: [0; MAX_RESPONSE],
                },
            },
            GFP_KERNEL,
        )?)
    }

    /// Looks at what has happened, and then starts a few probes; `true`: there is more to start.
    pub(super) fn pass(&mut self, room: &Arc<Room>, task: &Task) -> bool {
        for place in room.ready.take() {
            if room.is_shut() {
                return false;
            }
            match place {
                // What is left rings again.
                OVER_V4 => drop(self.receive(room, false)),
                OVER_V6 => drop(self.receive(room, true)),
                place => self.look(room, place.wrapping_sub(SLOTS_FROM), task),
            }
            breathe(task);
        }
        self.window.set_limit(room.window());
        if room.is_to_sweep() {
            self.sweep(room, task);
        }
        self.start_some(room, task)
    }

    /// Ends all that there is, void.
    pub(super) fn clear(&mut self, room: &Arc<Room>, task: &Task) {
        for place in 0..self.slots_in_all() {
            self.void(room, place);
            breathe(task);
        }
        while let Some(ask) = self.next(room) {
            Self::refuse(room, ask.whom);
            breathe(task);
        }
    }

    /// The probe at `place`, and space for its messages.
    pub(super) fn talking(&mut self, place: u32) -> Option<(&mut Flight, &mut Rooms)> {
        let slot = slot_at(&mut self.slots, place)?;
        Some((slot.flight.as_mut()?, &mut self.rooms))
    }

    /// The message of `len` bytes that came in, and the probe with its transaction id.
    pub(super) fn answering(&mut self, len: usize) -> Result<(u32, &mut Flight, &[u8]), Fault> {
        let message = self.rooms.answer.get(..len).ok_or(Fault::Length)?;
        let place = self.xids.slot(xid_of(message)?).ok_or(Fault::Xid)?;
        let slot = slot_at(&mut self.slots, place.into());
        let flight = slot.and_then(|slot| slot.flight.as_mut());
        Ok((place.into(), flight.ok_or(Fault::Xid)?, message))
    }

    pub(super) fn slot(&mut self, place: u32) -> Option<&mut Slot> {
        slot_at(&mut self.slots, place)
    }

    fn slots_in_all(&self) -> u32 {
        let last = self.slots.last().map_or(0, |chunk| chunk.len());
        let full = self.slots.len().saturating_sub(1);
        // An id has 16 bits, and so has a place.
        full.saturating_mul(CHUNK).saturating_add(last) as u32
    }

    pub(super) fn flight(&mut self, place: u32) -> Option<&mut Flight> {
        self.slot(place)?.flight.as_mut()
    }

    /// The probe with this transaction id, and its place.
    pub(super) fn find(&mut self, xid: u16) -> Option<(u32, &mut Flight)> {
        let place = self.xids.slot(xid)?.into();
        Some((place, self.flight(place)?))
    }

    /// The next question, the first one that was asked.
    fn next(&mut self, room: &Room) -> Option<Ask> {
        if self.waiting.is_empty() {
            self.waiting = room.take_in();
        }
        self.waiting.pop()
    }

    fn start_some(&mut self, room: &Arc<Room>, task: &Task) -> bool {
        let mut pass = self.window.pass();
        loop {
            if self.waiting.is_empty() {
                self.waiting = room.take_in();
            }
            let waits = !self.waiting.is_empty() && !room.is_shut();
            if !waits || !self.window.start(&mut pass) {
                return self.window.then(waits) == Then::Again;
            }
            if let Some(ask) = self.waiting.pop() {
                self.start(room, ask);
            }
            breathe(task);
        }
    }

    /// Starts a probe that the window has a place for.
    fn start(&mut self, room: &Arc<Room>, ask: Ask) {
        let Ask { whom, spacing } = ask;
        if !whom.judge.wants(whom.tag) {
            self.window.end();
            return Self::refuse(room, whom);
        }
        let (attempts, step) = Attempts::begin(spacing, crate::now());
        let flight = Flight {
            whom,
            attempts,
            stamp: real_seconds(),
            xid: 0,
            why: Why::Timeout,
            failed: false,
            doubt: false,
            asked: false,
            line: None,
        };
        match self.seat(room, flight) {
            Ok(place) => {
                room.tally.started.bump();
                if let Step::Send(due) = step {
                    self.attempt(room, place, due);
                }
            }
            Err(flight) => {
                self.window.end();
                Self::refuse(room, flight.whom);
            }
        }
    }

    /// Gives a probe a slot and a transaction id.
    fn seat(&mut self, room: &Arc<Room>, mut flight: Flight) -> Result<u32, Flight> {
        let Some(place) = self.idle.pop().or_else(|| self.grow(room).ok()) else {
            return Err(flight);
        };
        let Some(xid) = self.xids.take(place, random()) else {
            self.give_back(place);
            return Err(flight);
        };
        flight.xid = xid;
        if let Some(slot) = self.slot(place.into()) {
            slot.flight = Some(flight);
        }
        Ok(place.into())
    }

    /// One more slot. There is never more than one for each that is in flight at once.
    fn grow(&mut self, room: &Arc<Room>) -> Result<u16> {
        let there = self.slots_in_all();
        let place = u16::try_from(there).map_err(|_| ENOSPC)?;
        // So that giving it back cannot fail.
        let most = (there as usize).saturating_add(1);
        self.idle
            .reserve(most.saturating_sub(self.idle.len()), GFP_KERNEL)?;
        let slot = Slot {
            alarm: Alarm::new(room, there)?,
            flight: None,
        };
        if self.slots.last().is_none_or(|chunk| chunk.len() >= CHUNK) {
            let chunk = KVec::with_capacity(CHUNK, GFP_KERNEL)?;
            self.slots.push(chunk, GFP_KERNEL)?;
        }
        let chunk = self.slots.last_mut().ok_or(ENOMEM)?;
        chunk.push_within_capacity(slot).map_err(|_| ENOMEM)?;
        Ok(place)
    }

    /// Takes the probe out of its slot; that, its transaction id and its place in the window are free.
    pub(super) fn vacate(&mut self, place: u32) -> Option<Flight> {
        let slot = self.slot(place)?;
        let flight = slot.flight.take()?;
        // An expiry that is on its way has the place looked at, for nothing.
        slot.alarm.callout::<Soft>().stop();
        let place = place as u16;
        // It had it.
        let _ = self.xids.give_back(flight.xid, place);
        self.give_back(place);
        self.window.end();
        Some(flight)
    }

    fn give_back(&mut self, place: u16) {
        // There is room.
        let _ = self.idle.push_within_capacity(place);
    }

    /// A question that is not asked.
    fn refuse(room: &Room, whom: Whom) {
        room.tally.unstarted.bump();
        whom.judge.ended(whom.tag, End::Void { attempts: None });
    }

    /// Ends what nobody wants any more.
    fn sweep(&mut self, room: &Arc<Room>, task: &Task) {
        for place in 0..self.slots_in_all() {
            let unwanted = |flight: &mut Flight| !flight.whom.judge.wants(flight.whom.tag);
            if self.flight(place).is_some_and(unwanted) {
                self.void(room, place);
                breathe(task);
            }
        }
        let waiting = core::mem::take(&mut self.waiting);
        self.waiting = waiting.followed_by(room.take_in());
        self.waiting.sift(
            |ask| ask.whom.judge.wants(ask.whom.tag),
            |ask| Self::refuse(room, ask.whom),
        );
    }
}

#[cfg(not(any(CONFIG_DEBUG_SPINLOCK, CONFIG_DEBUG_LOCK_ALLOC)))]
const _: () = assert!(size_of::<Slot>() * CHUNK <= 4096);
