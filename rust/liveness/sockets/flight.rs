// SPDX-License-Identifier: GPL-2.0

//! A probe in flight.

use super::line::Line;
use crate::{
    liveness::ask::{Whom, Why},
    policy::{
        esi::attempts::Attempts,
        pdu::{
            address::{Ip, Peer},
            inquiry::{Expected, Inquiry, Request, Response},
            Fault,
        },
    },
    sys::socket::Address,
};

/// What is known of it, beside its deadline.
pub(super) struct Flight {
    pub(super) whom: Whom,
    pub(super) attempts: Attempts,
    /// The time in the inquiry: all its repetitions have the same bytes.
    pub(super) stamp: u64,
    pub(super) xid: u16,
    /// What became of the present attempt, as far as that is known.
    pub(super) why: Why,
    /// The present attempt has come to nothing already.
    pub(super) failed: bool,
    /// An attempt has failed for a reason of ours.
    pub(super) doubt: bool,
    /// The inquiry has gone out over the connection there is, over TCP.
    pub(super) asked: bool,
    /// The connection, over TCP.
    pub(super) line: Option<Line>,
}

impl Flight {
    pub(super) fn is_udp(&self) -> bool {
        self.whom.at.is_udp()
    }

    pub(super) fn is_v6(&self) -> bool {
        self.whom.portal.ip.as_v4().is_none()
    }

    /// Where it is asked.
    pub(super) fn to(&self) -> Address {
        Address {
            ip: self.whom.portal.ip.bytes(),
            scope: self.whom.scope,
            port: self.whom.at.number(),
        }
    }

    /// Writes the inquiry to the front of `room`, which has space for any.
    pub(super) fn request<'r>(&self, room: &'r mut [u8]) -> &'r [u8] {
        let request = Request {
            xid: self.xid,
            about: Inquiry {
                stamp: self.stamp,
                eid: self.whom.judge.eid(),
                portal: self.whom.portal,
            },
        };
        let len = request.encode(room).unwrap_or(0);
        room.get(..len).unwrap_or(&[])
    }

    /// Whether `message`, which came from `from`, says that the portal lives.
    pub(super) fn judge(&self, message: &[u8], from: Address) -> Result<(), Fault> {
        let peer = Peer {
            ip: self.whom.portal.ip,
            port: self.whom.at.number(),
        };
        let expected = Expected {
            xid: self.xid,
            eid: self.whom.judge.eid(),
            portal: self.whom.portal,
            peer,
        };
        let came_from = Peer {
            ip: Ip::from_wire(from.ip),
            port: from.port,
        };
        if self.whom.portal.ip.is_link_local() && from.scope != self.whom.scope {
            return Err(Fault::Source);
        }
        expected.is_met_by(&Response::parse(message)?, came_from)
    }

    /// It is this one that a datagram was sent for.
    pub(super) fn is_to(&self, to: Address) -> bool {
        self.whom.at.number() == to.port && self.whom.portal.ip == Ip::from_wire(to.ip)
    }
}
