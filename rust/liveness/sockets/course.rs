// SPDX-License-Identifier: GPL-2.0

//! How a probe goes from its first attempt to its end.

use super::{
    desk::Desk,
    flight::Flight,
    line::{Heard, Line},
    room::Room,
};
use crate::{
    callout::CalloutOf,
    context::Soft,
    liveness::ask::{End, Why},
    policy::{deadline::Instant, esi::attempts::Step, pdu::Fault},
    sys::context::Task,
};
use kernel::sync::Arc;

impl Desk {
    /// Makes an attempt, whose time is over at `due`.
    pub(super) fn attempt(&mut self, room: &Arc<Room>, place: u32, due: Instant) {
        room.tally.attempts.bump();
        let made = self.send(room, place);
        let Some(flight) = self.flight(place) else {
            return;
        };
        flight.why = Why::Timeout;
        flight.failed = false;
        match made {
            Ok(()) => self.wake_at(place, due),
            Err(why) => self.fail(room, place, why),
        }
    }

    fn send(&mut self, room: &Arc<Room>, place: u32) -> Result<(), Why> {
        let Some((flight, rooms)) = self.talking(place) else {
            return Ok(());
        };
        if flight.is_udp() {
            return self.send_datagram(room, place);
        }
        // A connection that does not come about is tried anew, from another port.
        let line = match flight.line.take().filter(|_| flight.asked) {
            Some(mut line) => {
                line.repeat(flight.request(&mut rooms.request))?;
                line
            }
            None => {
                flight.asked = false;
                Line::open(room, place, flight.to(), flight.is_v6())?
            }
        };
        flight.line = Some(line);
        Ok(())
    }

    /// The present attempt has come to nothing; answers to earlier ones still count.
    pub(super) fn fail(&mut self, room: &Arc<Room>, place: u32, why: Why) {
        let Some(flight) = self.flight(place) else {
            return;
        };
        flight.line = None;
        if flight.failed {
            return;
        }
        flight.failed = true;
        flight.doubt |= why.is_ours();
        flight.why = why;
        room.tally.failed.bump();
        if let Step::Wait(due) = flight.attempts.failed(crate::now()) {
            self.wake_at(place, due);
        }
    }

    fn wake_at(&mut self, place: u32, due: Instant) {
        if let Some(slot) = self.slot(place) {
            slot.alarm.callout::<Soft>().arm_at(due);
        }
    }

    /// Something may have happened to the probe at `place`.
    pub(super) fn look(&mut self, room: &Arc<Room>, place: u32, task: &Task) {
        let asked = self.listen(room, place);
        let Some(flight) = self.flight(place) else {
            return;
        };
        let now = crate::now();
        if asked {
            if let Some(due) = flight.attempts.asked(now) {
                self.wake_at(place, due);
            }
            return;
        }
        match flight.attempts.due(now) {
            Step::Wait(_) => {}
            Step::Send(due) => {
                let Flight { whom, attempts, .. } = flight;
                let (judge, tag) = (whom.judge.clone(), whom.tag);
                let (before, all) = (attempts.made().saturating_sub(1), attempts.count());
                judge.missed(tag, before, all);
                self.attempt(room, place, due);
            }
            Step::Dead => self.give_up(room, place, task),
        }
    }

    /// All attempts have come to nothing.
    fn give_up(&mut self, room: &Arc<Room>, place: u32, task: &Task) {
        let Some(flight) = self.flight(place) else {
            return;
        };
        if flight.is_udp() {
            // We may be late: what came in time, and was not received yet, counts.
            let (v6, over_at) = (flight.is_v6(), flight.attempts.over_at());
            self.receive_until(room, v6, over_at, task);
        }
        let Some(flight) = self.flight(place) else {
            return;
        };
        let (attempts, why) = (flight.attempts.so_far(), flight.why);
        let (udp, v6) = (flight.is_udp(), flight.is_v6());
        let (doubt, began_at) = (flight.doubt, flight.attempts.began_at());
        // Dead is who was asked as often as the threshold says, and whose answers could have been heard.
        if doubt || (udp && self.was_deaf(v6, began_at)) {
            self.void(room, place);
        } else {
            self.end(room, place, End::Silent { attempts, why });
        }
    }

    /// Hears what has come over a connection; `true`: only now has the inquiry gone out.
    fn listen(&mut self, room: &Arc<Room>, place: u32) -> bool {
        let Some((flight, rooms)) = self.talking(place) else {
            return false;
        };
        let Some(mut line) = flight.line.take() else {
            return false;
        };
        match line.advance(
            flight.asked,
            flight.xid,
            || flight.request(&mut rooms.request),
            &mut rooms.answer,
        ) {
            Ok(Heard::Nothing) => flight.line = Some(line),
            Ok(Heard::Asked) => {
                flight.asked = true;
                flight.line = Some(line);
                return true;
            }
            Ok(Heard::Message(message)) => {
                match flight.judge(message.bytes(&rooms.answer), flight.to()) {
                    Ok(()) => self.answered(room, place),
                    Err(fault) => self.refused(room, place, fault),
                }
            }
            Err(Why::Fault(fault)) => self.refused(room, place, fault),
            Err(why) => self.fail(room, place, why),
        }
        false
    }

    /// What came over its connection is no answer.
    fn refused(&mut self, room: &Arc<Room>, place: u32, fault: Fault) {
        room.tally.stray(fault);
        if let Some(flight) = self.flight(place) {
            flight.whom.judge.refused(flight.whom.tag, fault);
        }
        self.fail(room, place, Why::Fault(fault));
    }

    pub(super) fn answered(&mut self, room: &Arc<Room>, place: u32) {
        let at = crate::now();
        if let Some(flight) = self.flight(place) {
            let attempts = flight.attempts.so_far();
            self.end(room, place, End::Answered { at, attempts });
        }
    }

    /// Ends the probe at `place`, if there is one, without a verdict.
    pub(super) fn void(&mut self, room: &Arc<Room>, place: u32) {
        if let Some(flight) = self.flight(place) {
            let attempts = Some(flight.attempts.so_far());
            self.end(room, place, End::Void { attempts });
        }
    }

    fn end(&mut self, room: &Arc<Room>, place: u32, end: End) {
        let Some(Flight { whom, line, .. }) = self.vacate(place) else {
            return;
        };
        // Closes the connection, if there is one.
        drop(line);
        let count = match end {
            End::Answered { .. } => &room.tally.answered,
            End::Silent { .. } => &room.tally.silent,
            End::Void { .. } => &room.tally.void,
        };
        count.bump();
        whom.judge.ended(whom.tag, end);
    }
}
