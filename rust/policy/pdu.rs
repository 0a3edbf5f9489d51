// SPDX-License-Identifier: GPL-2.0

//! The Entity Status Inquiry of iSNS on the wire (RFC 4171): what a server asks, what a client answers.
//!
//! ```text
//!   header, 12 bytes          version 1 | function | length | flags | transaction id | sequence 0
//!   inquiry, 0x000D           timestamp | entity id | portal's address | portal's port
//!   answer,  0x800D  status | timestamp | entity id | portal's address | portal's port
//! ```
//!
//! All numbers are big endian. An attribute is a tag and a length of 32 bits each, and a value that
//! zeros fill up to a multiple of 4; the length counts them. `length` in the header counts what
//! follows the header.
//!
//! # What is sent, and what is taken
//!
//! What is sent is as the RFC has it: these attributes in this order (5.6.5.13), `SERVER | FIRST |
//! LAST` in the flags (5.1.4), IPv4 addresses as `::ffff:a.b.c.d` (6.3.1), one transaction id for an
//! inquiry and all its repetitions (5.1.5).
//!
//! What is taken as an answer has to say that it is one: function, transaction id, status 0, the
//! entity and the portal that were asked about, from where they were asked. isnsd takes any datagram
//! at all. Two things differ between implementations and are taken in both forms: open-isns answers
//! with the flag `SERVER`, and writes IPv4 addresses as `::a.b.c.d`. The timestamp has to be there,
//! and is not compared: it tells nothing about who answers.
//!
//! Nothing here keeps what it was shown: the structures borrow from the bytes they were read from.

#![forbid(unsafe_code)]

pub(crate) mod address;
pub(crate) mod header;
pub(crate) mod inquiry;
pub(crate) mod reader;
pub(crate) mod status;
pub(crate) mod tlv;

use self::status::Status;

/// Bytes of the longest inquiry: one about an entity with a name of 255 bytes.
pub(crate) const MAX_REQUEST: usize = header::SIZE + inquiry::MAX_SIZE;

/// Bytes of the longest answer: the same, and a status.
pub(crate) const MAX_RESPONSE: usize = MAX_REQUEST + status::SIZE;

/// Why bytes are not the answer that is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Less than its header says, or less than a header.
    Short,
    /// Not version 1 of iSNSP.
    Version,
    /// Another message than the one expected.
    Function,
    /// No multiple of 4, more than any such message has, or not what was received.
    Length,
    /// Neither from a server nor from a client, or with an authentication block.
    Flags,
    /// One of several pieces: not first and last.
    Fragment,
    /// A number in a series, where there is none.
    Sequence,
    /// Not of an inquiry that is waited for.
    Xid,
    /// The client says that something is wrong.
    Status(Status),
    /// Attributes that are not those of an inquiry, in their order and of their lengths.
    Attributes,
    /// About another entity.
    Entity,
    /// About another portal.
    Portal,
    /// From elsewhere than the inquiry went to.
    Source,
}

impl Fault {
    /// How many kinds there are.
    pub(crate) const KINDS: usize = 13;

    /// The words shown in debugfs, by [`Fault::index`].
    pub(crate) const WORDS: [&'static str; Self::KINDS] = [
        "short",
        "version",
        "function",
        "length",
        "flags",
        "fragment",
        "sequence",
        "xid",
        "status",
        "attributes",
        "entity",
        "portal",
        "source",
    ];

    /// The word shown in debugfs.
    pub(crate) const fn as_str(self) -> &'static str {
        // A kind's place is in the table.
        Self::WORDS[self.index()]
    }

    /// The place of its kind in a table of [`Fault::KINDS`] counters.
    pub(crate) const fn index(self) -> usize {
        match self {
            Self::Short => 0,
            Self::Version => 1,
            Self::Function => 2,
            Self::Length => 3,
            Self::Flags => 4,
            Self::Fragment => 5,
            Self::Sequence => 6,
            Self::Xid => 7,
            Self::Status(_) => 8,
            Self::Attributes => 9,
            Self::Entity => 10,
            Self::Portal => 11,
            Self::Source => 12,
        }
    }
}
