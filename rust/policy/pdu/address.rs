// SPDX-License-Identifier: GPL-2.0

//! Names and addresses, checked once: what entity, which portal, which port is probed.

#![forbid(unsafe_code)]

/// The name of a network entity: 1 to 255 printable characters of ASCII, and no blank (RFC 4171,
/// 6.2.1). So it is one word in every record format, and cannot forge a line of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Eid<'a>(&'a [u8]);

/// Why something that came from outside cannot be probed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unusable {
    /// An entity's name without bytes.
    NoName,
    /// An entity's name of more than 255 bytes.
    LongName,
    /// An entity's name with something else than printable characters.
    BadByte,
    /// Port 0.
    NoPort,
    /// A port number above 65535.
    BigPort,
    /// A port in wire form that has other bits than a number and the bit for UDP.
    ReservedBits,
    /// The address of no host in particular.
    NoHost,
    /// The address of many hosts.
    ManyHosts,
    /// The address of a link without the number of its interface, or such a number with another address.
    Scope,
}

impl Unusable {
    /// What was wrong and what is allowed, for a message to whoever asked.
    pub(crate) const fn what(self) -> &'static str {
        match self {
            Self::NoName => "the entity's name is empty; it has 1 to 255 bytes",
            Self::LongName => "the entity's name is longer than 255 bytes",
            Self::BadByte => {
                "the entity's name has a byte that is not a printable character of ASCII"
            }
            Self::NoPort => "the port is 0; it is 1 to 65535",
            Self::BigPort => "the port is above 65535",
            Self::ReservedBits => "the port has reserved bits; it is a number, and 0x10000 for UDP",
            Self::NoHost => "the address is unspecified; it has to be that of one host",
            Self::ManyHosts => {
                "the address is a multicast or broadcast address; it has to be that of one host"
            }
            Self::Scope => {
                "an address of a link (fe80::/10) goes with its interface's number as scope, any other with 0"
            }
        }
    }
}

impl<'a> Eid<'a> {
    /// The most bytes: 256 with the zero that ends it on the wire.
    pub(crate) const MAX: usize = 255;

    /// Bytes that [`new`](Self::new) has taken before, and that were kept since.
    pub(crate) const fn kept(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// Checks `bytes`.
    pub(crate) fn new(bytes: &'a [u8]) -> Result<Self, Unusable> {
        if bytes.is_empty() {
            Err(Unusable::NoName)
        } else if bytes.len() > Self::MAX {
            Err(Unusable::LongName)
        } else if !are_graphic(bytes) {
            Err(Unusable::BadByte)
        } else {
            Ok(Self(bytes))
        }
    }

    /// A name that was checked when it was stored.
    pub(crate) fn of_checked(bytes: &'a [u8]) -> Self {
        Self::new(bytes).unwrap_or(Self(b"?"))
    }

    /// The name's bytes.
    pub(crate) const fn as_bytes(self) -> &'a [u8] {
        self.0
    }

    /// The name as text.
    pub(crate) fn as_str(self) -> &'a str {
        core::str::from_utf8(self.0).unwrap_or("?")
    }
}

/// Whether all are printable characters of ASCII and no blanks. Every answer has a name, so they are looked at
/// eight at a time, the last eight of them whichever these are.
fn are_graphic(bytes: &[u8]) -> bool {
    match bytes.last_chunk() {
        Some(last) => {
            let mut words = bytes.chunks_exact(8).filter_map(<[u8]>::first_chunk);
            words.all(eight_are_graphic) && eight_are_graphic(last)
        }
        None => bytes.iter().all(u8::is_ascii_graphic),
    }
}

fn eight_are_graphic(bytes: &[u8; 8]) -> bool {
    const TOPS: u64 = u64::from_ne_bytes([0x80; 8]);
    // What is added takes no byte without its top bit over into the next one.
    let word = u64::from_ne_bytes(*bytes);
    let above = word | word.wrapping_add(u64::from_ne_bytes([0x7f - b'~'; 8]));
    let printed = word.wrapping_add(u64::from_ne_bytes([0x80 - b'!'; 8]));
    above & TOPS == 0 && printed & TOPS == TOPS
}

/// An IPv6 address, or an IPv4 address in the form `::ffff:a.b.c.d`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ip([u8; 16]);

const MAPPED: [u8; 12] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff];

impl Ip {
    /// Bytes on the wire.
    pub(crate) const SIZE: usize = 16;

    /// The address in wire form. The old form `::a.b.c.d` of an IPv4 address means the same as
    /// `::ffff:a.b.c.d`, where `a` is not 0: `::` and `::1` are IPv6.
    pub(crate) fn from_wire(bytes: [u8; 16]) -> Self {
        match bytes.split_last_chunk() {
            Some((front, v4)) if *front == [0; 12] && v4[0] != 0 => Self::v4(*v4),
            _ => Self(bytes),
        }
    }

    /// An IPv4 address.
    pub(crate) fn v4(bytes: [u8; 4]) -> Self {
        let mut all = [0; 16];
        for (to, from) in all.iter_mut().zip(MAPPED.iter().chain(&bytes)) {
            *to = *from;
        }
        Self(all)
    }

    /// The four bytes of an IPv4 address.
    pub(crate) fn as_v4(self) -> Option<[u8; 4]> {
        let (front, rest) = self.0.split_last_chunk::<4>()?;
        (front == MAPPED).then_some(*rest)
    }

    /// The 16 bytes, as they go over the wire.
    pub(crate) const fn bytes(self) -> [u8; 16] {
        self.0
    }

    /// It names an interface's link, too: without that it means nothing.
    pub(crate) const fn is_link_local(self) -> bool {
        self.0[0] == 0xfe && self.0[1] & 0xc0 == 0x80
    }

    /// Refuses addresses that are not those of one host: an inquiry there would find nobody, or many.
    pub(crate) fn check(self) -> Result<Self, Unusable> {
        match (self.as_v4(), self.0) {
            (Some([0, ..]), _) | (None, [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]) => {
                Err(Unusable::NoHost)
            }
            (Some([224..=239, ..] | [255, 255, 255, 255]), _) | (None, [0xff, ..]) => {
                Err(Unusable::ManyHosts)
            }
            _ => Ok(self),
        }
    }
}

/// A port and its protocol, as iSNS writes it: 16 bits of number, and one bit that means UDP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Port(u32);

const UDP: u32 = 0x1_0000;
const NUMBER: u32 = 0xffff;

impl Port {
    /// The port in wire form. Number 0 stands for the protocol's usual port.
    pub(crate) const fn from_wire(raw: u32) -> Result<Self, Unusable> {
        if raw > UDP | NUMBER {
            Err(Unusable::ReservedBits)
        } else {
            Ok(Self(raw))
        }
    }

    /// The port at which a portal wants to be asked, in wire form (RFC 4171, 6.3.5). 0 means that it
    /// does not want to be.
    pub(crate) const fn monitored(raw: u32) -> Result<Option<Self>, Unusable> {
        match raw {
            0 => Ok(None),
            UDP => Err(Unusable::NoPort),
            _ => match Self::from_wire(raw) {
                Ok(port) => Ok(Some(port)),
                Err(why) => Err(why),
            },
        }
    }

    /// A port of TCP.
    pub(crate) const fn tcp(number: u32) -> Result<Self, Unusable> {
        match number {
            0 => Err(Unusable::NoPort),
            1..=NUMBER => Ok(Self(number)),
            _ => Err(Unusable::BigPort),
        }
    }

    /// A port of UDP.
    pub(crate) const fn udp(number: u32) -> Result<Self, Unusable> {
        match Self::tcp(number) {
            Ok(Self(number)) => Ok(Self(number | UDP)),
            Err(why) => Err(why),
        }
    }

    /// The 32 bits, as they go over the wire.
    pub(crate) const fn raw(self) -> u32 {
        self.0
    }

    /// UDP; else it is TCP.
    pub(crate) const fn is_udp(self) -> bool {
        self.0 & UDP != 0
    }

    /// The number without the protocol.
    pub(crate) fn number(self) -> u16 {
        u16::try_from(self.0 & NUMBER).unwrap_or(0)
    }
}

/// What an entity offers its service at: the key of a portal in iSNS (RFC 4171, 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Portal {
    pub(crate) ip: Ip,
    pub(crate) port: Port,
}

/// One end of a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Peer {
    pub(crate) ip: Ip,
    pub(crate) port: u16,
}
