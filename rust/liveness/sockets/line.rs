// SPDX-License-Identifier: GPL-2.0

//! One connection over TCP, and the answer that comes over it.

use super::{ready::place_of, room::Room};
use crate::{
    liveness::ask::Why,
    policy::pdu::{
        reader::{whole, Progress, Reader},
        MAX_RESPONSE,
    },
    sys::socket::{Address, Socket, Sort},
};
use kernel::{prelude::*, sync::Arc};

/// A connection. Dropping it resets it.
pub(super) struct Line {
    socket: Socket<Room>,
    /// Once a part of the answer has come.
    reader: Option<KBox<Reader>>,
}

/// How far it has come.
pub(super) enum Heard {
    /// Nothing more for now.
    Nothing,
    /// Nothing, for the inquiry has only now gone out.
    Asked,
    /// A whole message.
    Message(Message),
}

/// Where a message is: as a rule it comes as a whole.
pub(super) enum Message {
    /// So many bytes at the front of the space it was received into.
    Received(usize),
    Read(KBox<Reader>),
}

impl Message {
    pub(super) fn bytes<'a>(&'a self, room: &'a [u8]) -> &'a [u8] {
        match self {
            Self::Received(len) => room.get(..*len).unwrap_or(&[]),
            Self::Read(reader) => reader.message(),
        }
    }
}

impl Line {
    /// Begins to connect.
    pub(super) fn open(room: &Arc<Room>, slot: u32, to: Address, v6: bool) -> Result<Self, Why> {
        let mut socket = Socket::open(room.net(), v6, Sort::Stream, room.clone(), place_of(slot))
            .map_err(Why::of_opening)?;
        socket.connect(to)?;
        Ok(Self {
            socket,
            reader: None,
        })
    }

    /// Sends the inquiry again. The peer may have lost its connection since, and then says so.
    pub(super) fn repeat(&mut self, request: &[u8]) -> Result<(), Why> {
        match self.socket.send(request) {
            Ok(sent) if sent == request.len() => Ok(()),
            // It has not even taken the first ones.
            Ok(_) => Err(Why::Timeout),
            Err(error) => Err(error.into()),
        }
    }

    /// Does what can be done now, when the inquiry was sent already (`asked`) or not; `request` makes the inquiry, and `room` is space for an answer.
    pub(super) fn advance<'a>(
        &mut self,
        asked: bool,
        xid: u16,
        request: impl FnOnce() -> &'a [u8],
        room: &mut [u8; MAX_RESPONSE],
    ) -> Result<Heard, Why> {
        if asked {
            return self.hear(xid, room);
        }
        // What comes after that is told.
        self.ask(request())
    }

    /// Sends the inquiry, if it is connected.
    fn ask(&mut self, request: &[u8]) -> Result<Heard, Why> {
        match self.socket.send(request) {
            // A connection without anything in it has room for an inquiry.
            Ok(sent) if sent != request.len() => Err(Why::Resources),
            Ok(_) => Ok(Heard::Asked),
            Err(error) if error == EAGAIN => Ok(Heard::Nothing),
            Err(error) => Err(error.into()),
        }
    }

    fn hear(&mut self, xid: u16, room: &mut [u8]) -> Result<Heard, Why> {
        loop {
            let bytes = match self.socket.receive(room) {
                Ok(0) => return Err(Why::Eof),
                Ok(bytes) => room.get(..bytes).unwrap_or(&[]),
                Err(error) if error == EAGAIN => return Ok(Heard::Nothing),
                Err(error) => return Err(error.into()),
            };
            if let Some(message) = self.take_in(xid, bytes)? {
                return Ok(Heard::Message(message));
            }
        }
    }

    /// Some bytes have come: are they a message, together with those before?
    fn take_in(&mut self, xid: u16, bytes: &[u8]) -> Result<Option<Message>, Why> {
        let mut reader = match self.reader.take() {
            Some(reader) => reader,
            None => match whole(bytes, xid).map_err(Why::Fault)? {
                Some(len) => return Ok(Some(Message::Received(len))),
                None => {
                    let new = KBox::new(Reader::new(xid), GFP_KERNEL);
                    new.map_err(|_| Why::Resources)?
                }
            },
        };
        match feed(&mut reader, bytes) {
            Progress::Refused(fault) => Err(Why::Fault(fault)),
            Progress::Done => Ok(Some(Message::Read(reader))),
            Progress::More(_) => {
                self.reader = Some(reader);
                Ok(None)
            }
        }
    }
}

/// Gives a reader what it asks for of some bytes. What comes after the answer is nobody's.
fn feed(reader: &mut Reader, mut bytes: &[u8]) -> Progress {
    while !bytes.is_empty() {
        let room = reader.room();
        let Some((now, later)) = bytes.split_at_checked(room.len().min(bytes.len())) else {
            break;
        };
        if now.is_empty() {
            break;
        }
        for (to, from) in room.iter_mut().zip(now) {
            *to = *from;
        }
        reader.took(now.len());
        bytes = later;
    }
    reader.progress()
}
