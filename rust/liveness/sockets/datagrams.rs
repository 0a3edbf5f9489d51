// SPDX-License-Identifier: GPL-2.0

//! Inquiries and answers in datagrams: one socket for each family, however many probes there are.

use super::{
    desk::Desk,
    ready::{OVER_V4, OVER_V6},
    room::Room,
};
use crate::{
    liveness::ask::Why,
    policy::{deadline::Instant, pdu::Fault},
    sys::{
        context::{breathe, Task},
        socket::{Address, Bell, Report, Socket, Sort},
    },
};
use kernel::{bindings, prelude::*, sync::Arc};

/// How many datagrams are received before something else is done.
const AT_ONCE: usize = 256;

/// How often that many are received, where all are wanted that have come: the space of a socket, 8 MiB, holds
/// no more of the smallest.
const OFTEN: usize = (8 << 20) / 768 / AT_ONCE + 1;

/// A send is told what became of an earlier datagram, anyone's, and nothing is sent then.
const TRIES: usize = 16;

/// How much of a datagram that was sent tells which one it was: the function and the transaction id.
const QUOTED: usize = 10;

const fn place_over(v6: bool) -> u32 {
    if v6 {
        OVER_V6
    } else {
        OVER_V4
    }
}

impl Desk {
    /// Sends the inquiry of the probe at `place`.
    pub(super) fn send_datagram(&mut self, room: &Arc<Room>, place: u32) -> Result<(), Why> {
        let Some(flight) = self.flight(place) else {
            return Ok(());
        };
        let (to, v6) = (flight.to(), flight.is_v6());
        let mut socket = self.open(room, v6).map_err(Why::of_opening)?;
        let sent = self.talking(place).map_or(Ok(()), |(flight, rooms)| {
            send(&mut socket, flight.request(&mut rooms.request), to)
        });
        self.put(v6, socket);
        sent
    }

    /// Takes the socket, which is opened when it is needed first.
    fn open(&mut self, room: &Arc<Room>, v6: bool) -> Result<Socket<Room>> {
        let there = self.udp.get_mut(usize::from(v6)).and_then(Option::take);
        there.map_or_else(
            || {
                let room = room.clone();
                let net = room.net().clone();
                Socket::open(&net, v6, Sort::Datagrams, room, place_over(v6))
            },
            Ok,
        )
    }

    fn put(&mut self, v6: bool, socket: Socket<Room>) {
        if let Some(there) = self.udp.get_mut(usize::from(v6)) {
            *there = Some(socket);
        }
    }

    /// Receives what there is: answers, and reports of what could not be delivered. `false`: there may be
    /// more, which is looked at soon.
    pub(super) fn receive(&mut self, room: &Arc<Room>, v6: bool) -> bool {
        let there = self.udp.get_mut(usize::from(v6)).and_then(Option::take);
        let Some(mut socket) = there else {
            return true;
        };
        self.losses(room, v6, &mut socket);
        // Many reports hold up no answer.
        let told = self.reports(room, &mut socket);
        let all = self.datagrams(room, v6, &mut socket) && told;
        self.put(v6, socket);
        if !all {
            Room::ring(room, place_over(v6));
        }
        all
    }

    /// Looks whether datagrams were dropped. Before some are received: afterwards there is room.
    fn losses(&mut self, room: &Arc<Room>, v6: bool, socket: &mut Socket<Room>) {
        let dropped = socket.dropped();
        let Some((before, deaf_at)) = self.dropped.get_mut(usize::from(v6)) else {
            return;
        };
        let more = dropped.wrapping_sub(*before);
        if more == 0 {
            return;
        }
        *before = dropped;
        room.tally.dropped.bump_by(more);
        if socket.is_full() {
            *deaf_at = crate::now();
        }
    }

    /// Whether an answer may have been among datagrams for which there was no room, since then.
    pub(super) fn was_deaf(&self, v6: bool, since: Instant) -> bool {
        let dropped = self.dropped.get(usize::from(v6));
        dropped.is_some_and(|(_, deaf_at)| *deaf_at >= since)
    }

    /// Receives all that had come at `until`, which is past: once for all whose time was over before that.
    pub(super) fn receive_until(
        &mut self,
        room: &Arc<Room>,
        v6: bool,
        until: Instant,
        task: &Task,
    ) {
        let drained = self.drained.get_mut(usize::from(v6));
        let Some(drained) = drained.filter(|at| **at < until) else {
            return;
        };
        *drained = crate::now();
        for _ in 0..OFTEN {
            if self.receive(room, v6) {
                return;
            }
            breathe(task);
        }
    }

    /// `false`: there may be more.
    fn datagrams(&mut self, room: &Arc<Room>, v6: bool, socket: &mut Socket<Room>) -> bool {
        for _ in 0..AT_ONCE {
            match socket.receive_from(&mut self.rooms.answer) {
                Ok((len, from)) => {
                    // More may have come than there is room for while somebody was told of a stray.
                    if !self.datagram(room, len, from) {
                        self.losses(room, v6, socket);
                    }
                }
                Err(error) if error == EAGAIN => return true,
                // What became of a datagram that was sent: the reports say of which.
                Err(_) => {}
            }
        }
        false
    }

    /// `false`: it is no answer.
    fn datagram(&mut self, room: &Arc<Room>, len: usize, from: Address) -> bool {
        match self.match_datagram(len, from) {
            Ok(place) => {
                self.answered(room, place);
                true
            }
            Err((fault, place)) => {
                room.tally.stray(fault);
                if let Some(flight) = place.and_then(|place| self.flight(place)) {
                    flight.whom.judge.refused(flight.whom.tag, fault);
                }
                false
            }
        }
    }

    /// The probe that a datagram answers; else what is wrong with it, and whose id it has.
    fn match_datagram(&mut self, len: usize, from: Address) -> Result<u32, (Fault, Option<u32>)> {
        let (place, flight, message) = self.answering(len).map_err(|fault| (fault, None))?;
        if !flight.is_udp() {
            return Err((Fault::Xid, None));
        }
        flight.judge(message, from).map_err(|fault| {
            // Others can only be counted.
            if flight.is_to(from) && !flight.failed {
                flight.why = Why::Fault(fault);
            }
            (fault, Some(place))
        })?;
        Ok(place)
    }

    /// `false`: there may be more.
    fn reports(&mut self, room: &Arc<Room>, socket: &mut Socket<Room>) -> bool {
        let mut quoted = [0; QUOTED];
        for _ in 0..AT_ONCE {
            match socket.receive_report(&mut quoted) {
                Some(report) => self.report(room, &quoted, &report),
                None => return true,
            }
        }
        false
    }

    /// A datagram was not delivered.
    fn report(&mut self, room: &Arc<Room>, quoted: &[u8; QUOTED], report: &Report) {
        let [.., high, low] = *quoted;
        if report.len < QUOTED {
            return;
        }
        let Some((place, flight)) = self.find(u16::from_be_bytes([high, low])) else {
            return;
        };
        if flight.is_udp() && flight.is_to(report.to) {
            self.fail(room, place, report.why.into());
        }
    }
}

/// Sends a datagram. Who is not asked is no deader for it: what reports of earlier ones can say is said of this one
/// only where there is no way for it. Where they come as fast as it is tried, it is no fault of the peer's.
fn send(socket: &mut Socket<Room>, request: &[u8], to: Address) -> Result<(), Why> {
    for tries in 1..=TRIES {
        match socket.send_to(request, to) {
            Ok(()) => return Ok(()),
            Err(error) if !is_reported(error) => return Err(error.into()),
            Err(_) if tries == 2 => socket.way_to(to)?,
            Err(_) => {}
        }
    }
    Err(Why::Resources)
}

/// Whether the kernel makes this error of messages of ICMP.
fn is_reported(error: Error) -> bool {
    matches!(
        error.to_errno().unsigned_abs(),
        bindings::ECONNREFUSED
            | bindings::ENETUNREACH
            | bindings::EHOSTUNREACH
            | bindings::EHOSTDOWN
            | bindings::ENONET
            | bindings::EACCES
            | bindings::EMSGSIZE
            | bindings::ENOPROTOOPT
            | bindings::EOPNOTSUPP
            | bindings::EPROTO
    )
}
