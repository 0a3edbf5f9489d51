// SPDX-License-Identifier: GPL-2.0

//! The header of a message: six numbers of 16 bits (RFC 4171, 5.1).

#![forbid(unsafe_code)]

use super::{status, Fault, MAX_REQUEST, MAX_RESPONSE};

/// Bytes of a header.
pub(crate) const SIZE: usize = 12;

const VERSION: u16 = 1;

const CLIENT: u16 = 0x8000;
const SERVER: u16 = 0x4000;
const AUTHENTICATED: u16 = 0x2000;
const REPLACE: u16 = 0x1000;
const LAST: u16 = 0x0800;
const FIRST: u16 = 0x0400;

const WHOLE: u16 = FIRST | LAST;

/// Who sends a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sender {
    Client,
    Server,
}

/// Which of the two messages it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Function {
    /// A server's inquiry.
    Inquiry,
    /// A client's answer.
    Answer,
}

impl Function {
    const fn code(self) -> u16 {
        match self {
            Self::Inquiry => 0x000d,
            Self::Answer => 0x800d,
        }
    }

    /// The fewest bytes that follow the header of such a message.
    const fn shortest(self) -> usize {
        match self {
            Self::Inquiry => 0,
            Self::Answer => status::SIZE,
        }
    }

    const fn longest(self) -> usize {
        match self {
            Self::Inquiry => MAX_REQUEST - SIZE,
            Self::Answer => MAX_RESPONSE - SIZE,
        }
    }
}

/// A header that was found to be good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) function: Function,
    pub(crate) sender: Sender,
    /// Bytes that follow the header.
    pub(crate) length: u16,
    /// The transaction id.
    pub(crate) xid: u16,
}

impl Header {
    /// Its bytes.
    pub(crate) fn encode(self) -> [u8; SIZE] {
        let sender = match self.sender {
            Sender::Client => CLIENT,
            Sender::Server => SERVER,
        };
        let words = [
            VERSION,
            self.function.code(),
            self.length,
            sender | WHOLE,
            self.xid,
            0,
        ];
        let mut bytes = [0; SIZE];
        for (to, word) in bytes.chunks_exact_mut(2).zip(words) {
            to.copy_from_slice(&word.to_be_bytes());
        }
        bytes
    }

    /// Judges as much of a header as there is in `seen`: a number as soon as its last byte is there.
    /// `None`: no fault yet, but not all of it either. What follows the header is not looked at.
    pub(crate) fn judge(seen: &[u8], function: Function) -> Result<Option<Self>, Fault> {
        let mut words = seen.chunks_exact(2).map(number);
        let mut next = || words.next();

        let Some(version) = next() else {
            return Ok(None);
        };
        refuse_if(version != VERSION, Fault::Version)?;
        let Some(code) = next() else { return Ok(None) };
        refuse_if(code != function.code(), Fault::Function)?;
        let Some(length) = next() else {
            return Ok(None);
        };
        refuse_if(!fits(length, function), Fault::Length)?;
        let Some(flags) = next() else { return Ok(None) };
        let sender = sender(flags)?;
        let Some(xid) = next() else { return Ok(None) };
        let Some(sequence) = next() else {
            return Ok(None);
        };
        refuse_if(sequence != 0, Fault::Sequence)?;
        Ok(Some(Self {
            function,
            sender,
            length,
            xid,
        }))
    }

    /// Takes a whole message apart, as it comes in a datagram: no byte less, and no byte more.
    pub(crate) fn split(message: &[u8], function: Function) -> Result<(Self, &[u8]), Fault> {
        let header = Self::judge(message, function)?.ok_or(Fault::Short)?;
        let payload = message.get(SIZE..).unwrap_or(&[]);
        match payload.len().cmp(&usize::from(header.length)) {
            core::cmp::Ordering::Less => Err(Fault::Short),
            core::cmp::Ordering::Equal => Ok((header, payload)),
            core::cmp::Ordering::Greater => Err(Fault::Length),
        }
    }
}

/// The big-endian number in two bytes.
fn number(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |sum, &b| (sum << 8) | u16::from(b))
}

fn fits(length: u16, function: Function) -> bool {
    let length = usize::from(length);
    length % 4 == 0 && (function.shortest()..=function.longest()).contains(&length)
}

/// Who the flags say has sent it. Exactly one of the two has; the lower 10 bits are reserved, and
/// ignored as the RFC has it.
fn sender(flags: u16) -> Result<Sender, Fault> {
    refuse_if(flags & WHOLE != WHOLE, Fault::Fragment)?;
    refuse_if(flags & (AUTHENTICATED | REPLACE) != 0, Fault::Flags)?;
    match flags & (CLIENT | SERVER) {
        CLIENT => Ok(Sender::Client),
        SERVER => Ok(Sender::Server),
        _ => Err(Fault::Flags),
    }
}

const fn refuse_if(wrong: bool, fault: Fault) -> Result<(), Fault> {
    if wrong {
        Err(fault)
    } else {
        Ok(())
    }
}
