// SPDX-License-Identifier: GPL-2.0

//! The two messages: an inquiry, and the answer to it (RFC 4171, 5.6.5.13 and 5.7.5.13).

#![forbid(unsafe_code)]

use super::{
    address::{Eid, Ip, Peer, Port, Portal},
    header::{Function, Header, Sender},
    status::{self, Status},
    tlv, Fault,
};

/// Bytes of the longest set of attributes.
pub(crate) const MAX_SIZE: usize =
    (tlv::HEAD + 8) + (tlv::HEAD + Eid::MAX + 1) + (tlv::HEAD + Ip::SIZE) + (tlv::HEAD + 4);

/// Who is asked about, and when: the four attributes of both messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Inquiry<'a> {
    /// Seconds since 1970, UTC, of the first attempt.
    pub(crate) stamp: u64,
    pub(crate) eid: Eid<'a>,
    pub(crate) portal: Portal,
}

impl<'a> Inquiry<'a> {
    /// Bytes it takes, without header and status.
    pub(crate) fn size(&self) -> usize {
        let name = self.eid.as_bytes().len();
        // MAX_SIZE has room for it: a name has 255 bytes at most.
        MAX_SIZE
            .saturating_sub(Eid::MAX + 1)
            .saturating_add(name)
            .saturating_add(zeros_after(name))
    }

    fn put(&self, out: &mut tlv::Out<'_>) -> Option<()> {
        let name = self.eid.as_bytes();
        out.put_tlv(tlv::TIMESTAMP, &self.stamp.to_be_bytes(), 0)?;
        out.put_tlv(tlv::ENTITY, name, zeros_after(name.len()))?;
        out.put_tlv(tlv::PORTAL_IP, &self.portal.ip.bytes(), 0)?;
        out.put_tlv(tlv::PORTAL_PORT, &self.portal.port.raw().to_be_bytes(), 0)
    }

    /// Reads the attributes: these four, in this order, and nothing after them.
    fn read(bytes: &'a [u8]) -> Option<Self> {
        let (stamp, rest) = tlv::take_exactly(bytes, tlv::TIMESTAMP)?;
        let (name, rest) = tlv::take(rest, tlv::ENTITY)?;
        let (ip, rest) = tlv::take_exactly(rest, tlv::PORTAL_IP)?;
        let (port, rest) = tlv::take_exactly(rest, tlv::PORTAL_PORT)?;
        if !rest.is_empty() {
            return None;
        }
        Some(Self {
            stamp: u64::from_be_bytes(*stamp),
            eid: name_in(name)?,
            portal: Portal {
                ip: Ip::from_wire(*ip),
                port: Port::from_wire(u32::from_be_bytes(*port)).ok()?,
            },
        })
    }
}

/// Zeros that follow a name of `len` bytes: the one that ends it, and what makes a multiple of 4.
const fn zeros_after(len: usize) -> usize {
    4 - len % 4
}

/// The name in an attribute: what is before the zeros at its end, of which there is one at least. A name
/// has none in it.
fn name_in(value: &[u8]) -> Option<Eid<'_>> {
    let name = value.strip_suffix(&[0])?;
    let end = name.iter().rposition(|&b| b != 0)?;
    Eid::new(name.get(..=end)?).ok()
}

/// What a server sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Request<'a> {
    pub(crate) xid: u16,
    pub(crate) about: Inquiry<'a>,
}

impl<'a> Request<'a> {
    /// Writes it to the front of `room` and says how many bytes it has; `None` when they do not fit.
    /// [`MAX_REQUEST`](super::MAX_REQUEST) bytes are always enough.
    pub(crate) fn encode(&self, room: &mut [u8]) -> Option<usize> {
        let mut out = tlv::Out::new(room);
        let header = Header {
            function: Function::Inquiry,
            sender: Sender::Server,
            length: u16::try_from(self.about.size()).ok()?,
            xid: self.xid,
        };
        out.put(&header.encode())?;
        self.about.put(&mut out)?;
        Some(out.len())
    }

    /// Reads what another server sent, as a client does. open-isns sends it with the flag of a client.
    pub(crate) fn parse(message: &'a [u8]) -> Result<Self, Fault> {
        let (header, payload) = Header::split(message, Function::Inquiry)?;
        Ok(Self {
            xid: header.xid,
            about: Inquiry::read(payload).ok_or(Fault::Attributes)?,
        })
    }
}

/// What a client answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Response<'a> {
    pub(crate) xid: u16,
    pub(crate) result: Result<Inquiry<'a>, Status>,
}

impl<'a> Response<'a> {
    /// Writes it to the front of `room`, and says how many bytes it has; `None` when they do not fit.
    /// [`MAX_RESPONSE`](super::MAX_RESPONSE) bytes are always enough.
    pub(crate) fn encode(&self, sender: Sender, room: &mut [u8]) -> Option<usize> {
        let mut out = tlv::Out::new(room);
        let (code, size) = match &self.result {
            Ok(about) => (Status::OK, about.size()),
            Err(status) => (*status, 0),
        };
        let header = Header {
            function: Function::Answer,
            sender,
            length: u16::try_from(size.saturating_add(status::SIZE)).ok()?,
            xid: self.xid,
        };
        out.put(&header.encode())?;
        out.put(&code.code().to_be_bytes())?;
        if let Ok(about) = &self.result {
            about.put(&mut out)?;
        }
        Some(out.len())
    }

    /// Reads a whole message. What follows a status other than 0 is not looked at: clients differ in
    /// how much of the inquiry they repeat then.
    pub(crate) fn parse(message: &'a [u8]) -> Result<Self, Fault> {
        let (header, payload) = Header::split(message, Function::Answer)?;
        let (code, rest) = payload.split_first_chunk::<4>().ok_or(Fault::Length)?;
        let result = match Status::from_code(u32::from_be_bytes(*code)) {
            Status::OK => Ok(Inquiry::read(rest).ok_or(Fault::Attributes)?),
            status => Err(status),
        };
        Ok(Self {
            xid: header.xid,
            result,
        })
    }
}

/// What the answer to an inquiry in flight has to be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Expected<'a> {
    pub(crate) xid: u16,
    pub(crate) eid: Eid<'a>,
    pub(crate) portal: Portal,
    /// Where the inquiry was sent to: the portal's address, and the port at which it is asked.
    pub(crate) peer: Peer,
}

impl Expected<'_> {
    /// Whether `response`, which came from `from`, says that this portal is alive. It does not matter
    /// which attempt it answers.
    pub(crate) fn is_met_by(&self, response: &Response<'_>, from: Peer) -> Result<(), Fault> {
        if from != self.peer {
            return Err(Fault::Source);
        }
        if response.xid != self.xid {
            return Err(Fault::Xid);
        }
        let about = response.result.map_err(Fault::Status)?;
        if about.eid != self.eid {
            return Err(Fault::Entity);
        }
        if about.portal != self.portal {
            return Err(Fault::Portal);
        }
        Ok(())
    }
}

/// The transaction id of a whole message, judged by its header alone: for finding what waits for it.
pub(crate) fn xid_of(message: &[u8]) -> Result<u16, Fault> {
    let header = Header::judge(message, Function::Answer)?.ok_or(Fault::Short)?;
    Ok(header.xid)
}
