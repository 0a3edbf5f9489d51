// SPDX-License-Identifier: GPL-2.0

//! What is heard.

use super::{
    aligned, array_at,
    attr::Attrs,
    key::{Address, Family, Hop, Prefix, RouteKey},
    u16_at, u32_at, u8_at, uapi, Malformed,
};

/// The length of `struct nlmsghdr`.
const HEADER: usize = 16;
/// The length of `struct rtmsg`.
const RTMSG: usize = 12;
/// The length of `struct rtnexthop`.
const RTNEXTHOP: usize = 8;

/// One message, as far as it matters here.
pub(crate) enum Heard<'a> {
    /// A route is there; it is new, was listed, or is no longer what it was.
    There {
        route: RouteMessage<'a>,
        /// It may stand in place of another one, of which nothing else is said.
        replaces: bool,
    },
    /// A route is gone.
    Gone(RouteMessage<'a>),
    /// Something is new with a device: what led there may be gone, and nothing else said.
    Link { index: u32 },
    /// An address of IPv4 is gone: what was sent from there may be gone.
    AddressGone,
    /// A nexthop object is gone, and what it led.
    ObjectGone,
    /// The end of a listing, or the answer to a request: 0, or an error as a negative number.
    Answer(i32),
    /// None of these.
    Other,
}

/// The messages in what was received at once, each with the bytes it was read from.
pub(crate) struct Messages<'a> {
    rest: &'a [u8],
    /// Others are left out.
    seq: Option<u32>,
}

impl<'a> Messages<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self {
            rest: bytes,
            seq: None,
        }
    }

    /// Those that answer request number `seq`, and what is malformed.
    pub(crate) const fn answering(seq: u32, bytes: &'a [u8]) -> Self {
        Self {
            rest: bytes,
            seq: Some(seq),
        }
    }
}

impl<'a> Iterator for Messages<'a> {
    type Item = Result<(Heard<'a>, &'a [u8]), Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.rest.is_empty() {
            let Some((whole, rest)) = split(self.rest) else {
                self.rest = &[];
                return Some(Err(Malformed));
            };
            self.rest = rest;
            if self.seq.is_some() && self.seq != u32_at(whole, 8) {
                continue;
            }
            let heard = Heard::parse(whole).ok_or(Malformed);
            return Some(heard.map(|heard| (heard, whole)));
        }
        None
    }
}

fn split(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let len = usize::try_from(u32_at(bytes, 0)?).ok()?;
    if len < HEADER {
        return None;
    }
    let whole = bytes.get(..len)?;
    let rest = bytes.get(aligned(len)..).unwrap_or(&[]);
    Some((whole, rest))
}

impl<'a> Heard<'a> {
    fn parse(whole: &'a [u8]) -> Option<Self> {
        let kind = u16_at(whole, 4)?;
        let flags = u16_at(whole, 6)?;
        let body = whole.get(HEADER..)?;
        Some(match kind {
            uapi::RTM_NEWROUTE => Self::There {
                route: RouteMessage::parse(body)?,
                replaces: flags & uapi::NLM_F_REPLACE != 0,
            },
            uapi::RTM_DELROUTE => Self::Gone(RouteMessage::parse(body)?),
            uapi::RTM_NEWLINK | uapi::RTM_DELLINK => Self::Link {
                index: u32_at(body, 4)?,
            },
            uapi::RTM_DELADDR => Self::AddressGone,
            uapi::RTM_DELNEXTHOP => Self::ObjectGone,
            uapi::NLMSG_DONE | uapi::NLMSG_ERROR => {
                Self::Answer(i32::from_ne_bytes(array_at(body, 0)?))
            }
            _ => Self::Other,
        })
    }
}

/// A route in a message: one, or several that differ in their hop only.
pub(crate) struct RouteMessage<'a> {
    /// None if no route of ours: of another family, by source, or a cached exception.
    common: Option<RouteKey>,
    multipath: &'a [u8],
}

impl<'a> RouteMessage<'a> {
    fn parse(body: &'a [u8]) -> Option<Self> {
        let fixed = body.get(..RTMSG)?;
        let mut parts = Parts::default();
        for attr in Attrs::new(body.get(RTMSG..)?) {
            let (kind, payload) = attr.ok()?;
            parts.take(kind, payload);
        }
        let Some(family) = Family::of(u8_at(fixed, 0)?) else {
            return Some(Self::STRANGE);
        };
        let by_source = u8_at(fixed, 2)? != 0;
        if by_source || u32_at(fixed, 8)? & uapi::RTM_F_CLONED != 0 {
            return Some(Self::STRANGE);
        }
        let common = parts.key(family, fixed)?;
        let route = Self {
            common: Some(common),
            multipath: parts.multipath.unwrap_or(&[]),
        };
        // All of it is sound, or nothing is believed.
        route.keys().all(|key| key.is_ok()).then_some(route)
    }

    const STRANGE: Self = Self {
        common: None,
        multipath: &[],
    };

    /// The routes it tells of.
    pub(crate) fn keys(&self) -> Keys<'a> {
        let by_hop = self.common.is_some_and(|key| {
            key.family() == Family::V6
                && !matches!(key.hop, Hop::Object(_))
                && !self.multipath.is_empty()
        });
        Keys {
            common: self.common,
            hops: if by_hop { Some(self.multipath) } else { None },
        }
    }
}

/// The routes of a message.
pub(crate) struct Keys<'a> {
    common: Option<RouteKey>,
    /// What is left of the hops; none if the key has its hop.
    hops: Option<&'a [u8]>,
}

impl Iterator for Keys<'_> {
    type Item = Result<RouteKey, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        let common = self.common?;
        let Some(hops) = self.hops else {
            self.common = None;
            return Some(Ok(common));
        };
        if hops.is_empty() {
            return None;
        }
        let Some((hop, rest)) = split_hop(hops, common.family()) else {
            self.common = None;
            return Some(Err(Malformed));
        };
        self.hops = Some(rest);
        Some(Ok(RouteKey { hop, ..common }))
    }
}

fn split_hop(bytes: &[u8], family: Family) -> Option<(Hop, &[u8])> {
    let len = usize::from(u16_at(bytes, 0)?);
    let oif = u32_at(bytes, 4)?;
    let mut gateway = None;
    for attr in Attrs::new(bytes.get(RTNEXTHOP..len)?) {
        let (kind, payload) = attr.ok()?;
        if kind == uapi::RTA_GATEWAY {
            gateway = Some(Address::new(family, payload)?);
        }
    }
    let rest = bytes.get(aligned(len)..).unwrap_or(&[]);
    Some((Hop::Device { oif, gateway }, rest))
}

/// The attributes of a route that say which one it is.
#[derive(Default)]
struct Parts<'a> {
    dst: Option<&'a [u8]>,
    table: Option<&'a [u8]>,
    priority: Option<&'a [u8]>,
    prefsrc: Option<&'a [u8]>,
    oif: Option<&'a [u8]>,
    gateway: Option<&'a [u8]>,
    via: Option<&'a [u8]>,
    object: Option<&'a [u8]>,
    multipath: Option<&'a [u8]>,
}

impl<'a> Parts<'a> {
    fn take(&mut self, kind: u16, payload: &'a [u8]) {
        let part = match kind {
            uapi::RTA_DST => &mut self.dst,
            uapi::RTA_TABLE => &mut self.table,
            uapi::RTA_PRIORITY => &mut self.priority,
            uapi::RTA_PREFSRC => &mut self.prefsrc,
            uapi::RTA_OIF => &mut self.oif,
            uapi::RTA_GATEWAY => &mut self.gateway,
            uapi::RTA_VIA => &mut self.via,
            uapi::RTA_NH_ID => &mut self.object,
            uapi::RTA_MULTIPATH => &mut self.multipath,
            _ => return,
        };
        *part = Some(payload);
    }

    fn key(&self, family: Family, fixed: &[u8]) -> Option<RouteKey> {
        let address = match self.dst {
            Some(bytes) => Address::new(family, bytes)?,
            None => Address::any(family),
        };
        let hop = self.hop(family)?;
        let decided_elsewhere = matches!(hop, Hop::Object(_));
        Some(RouteKey {
            table: match self.table {
                Some(bytes) => number(bytes)?,
                None => u32::from(u8_at(fixed, 4)?),
            },
            prefix: Prefix::new(address, u8_at(fixed, 1)?)?,
            tos: u8_at(fixed, 3)?,
            priority: optional(self.priority)?,
            hop,
            prefsrc: match family {
                Family::V4 => optional(self.prefsrc)?,
                // It changes while the route stays.
                Family::V6 => 0,
            },
            kind: if decided_elsewhere {
                0
            } else {
                u8_at(fixed, 7)?
            },
            protocol: u8_at(fixed, 5)?,
            scope: u8_at(fixed, 6)?,
        })
    }

    fn hop(&self, family: Family) -> Option<Hop> {
        if let Some(id) = self.object {
            return Some(Hop::Object(number(id)?));
        }
        if let (Family::V4, Some(hops)) = (family, self.multipath) {
            return Some(Hop::Many(digest(hops)?));
        }
        let gateway = match (self.gateway, self.via) {
            (Some(bytes), _) => Some(Address::new(family, bytes)?),
            (None, Some(bytes)) => Some(via(bytes)?),
            (None, None) => None,
        };
        let oif = optional(self.oif)?;
        Some(Hop::Device { oif, gateway })
    }
}

fn number(bytes: &[u8]) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.try_into().ok()?))
}

/// Zero where there is none.
fn optional(bytes: Option<&[u8]>) -> Option<u32> {
    bytes.map_or(Some(0), number)
}

/// A gateway of another family than the route's.
fn via(bytes: &[u8]) -> Option<Address> {
    let family = Family::of(u8::try_from(u16_at(bytes, 0)?).ok()?)?;
    Address::new(family, bytes.get(2..)?)
}

/// FNV-1a of the hops, less the flags that say how they fare.
fn digest(hops: &[u8]) -> Option<u64> {
    let mut sum: u64 = 0xcbf2_9ce4_8422_2325;
    let mut rest = hops;
    while !rest.is_empty() {
        let len = usize::from(u16_at(rest, 0)?);
        let hop = rest.get(..len.max(RTNEXTHOP))?;
        for (at, byte) in hop.iter().enumerate() {
            let told = if at == 2 { 0 } else { u64::from(*byte) };
            sum = (sum ^ told).wrapping_mul(0x100_0000_01b3);
        }
        if len < RTNEXTHOP {
            return None;
        }
        rest = rest.get(aligned(len)..).unwrap_or(&[]);
    }
    Some(sum)
}
