// SPDX-License-Identifier: GPL-2.0

//! Which route is meant.

use super::uapi;
use core::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr}, //
};

/// Whose routes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Family {
    V4,
    V6,
}

impl Family {
    /// The families there are, each at its [`index`](Self::index).
    pub(crate) const ALL: [Self; 2] = [Self::V4, Self::V6];

    pub(crate) const fn index(self) -> usize {
        match self {
            Self::V4 => 0,
            Self::V6 => 1,
        }
    }

    pub(crate) const fn of(number: u8) -> Option<Self> {
        match number {
            uapi::AF_INET => Some(Self::V4),
            uapi::AF_INET6 => Some(Self::V6),
            _ => None,
        }
    }

    pub(crate) const fn number(self) -> u8 {
        match self {
            Self::V4 => uapi::AF_INET,
            Self::V6 => uapi::AF_INET6,
        }
    }

    /// The length of an address.
    pub(crate) const fn octets(self) -> usize {
        match self {
            Self::V4 => 4,
            Self::V6 => 16,
        }
    }

    /// The longest prefix.
    pub(crate) const fn bits(self) -> u8 {
        match self {
            Self::V4 => 32,
            Self::V6 => 128,
        }
    }
}

/// An address.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Address {
    family: Family,
    /// Of IPv4 the first four, then zeroes.
    octets: [u8; 16],
}

impl Address {
    /// The address that is all zeroes.
    pub(crate) const fn any(family: Family) -> Self {
        Self {
            family,
            octets: [0; 16],
        }
    }

    /// The address in `bytes`, if that is as long as one of `family`.
    pub(crate) fn new(family: Family, bytes: &[u8]) -> Option<Self> {
        let mut address = Self::any(family);
        if bytes.len() != family.octets() {
            return None;
        }
        address
            .octets
            .get_mut(..bytes.len())?
            .copy_from_slice(bytes);
        Some(address)
    }

    pub(crate) const fn family(&self) -> Family {
        self.family
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        self.octets.get(..self.family.octets()).unwrap_or(&[])
    }
}

impl From<Ipv4Addr> for Address {
    fn from(address: Ipv4Addr) -> Self {
        let [a, b, c, d] = address.octets();
        let mut this = Self::any(Family::V4);
        if let Some(head) = this.octets.first_chunk_mut() {
            *head = [a, b, c, d];
        }
        this
    }
}

impl From<Ipv6Addr> for Address {
    fn from(address: Ipv6Addr) -> Self {
        Self {
            family: Family::V6,
            octets: address.octets(),
        }
    }
}

impl From<IpAddr> for Address {
    fn from(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => address.into(),
            IpAddr::V6(address) => address.into(),
        }
    }
}

impl From<&Address> for IpAddr {
    fn from(address: &Address) -> Self {
        match address.family {
            Family::V4 => {
                let head = address.octets.first_chunk::<4>();
                Self::V4(head.copied().unwrap_or_default().into())
            }
            Family::V6 => Self::V6(address.octets.into()),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        IpAddr::from(self).fmt(f)
    }
}

/// Addresses that begin alike.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Prefix {
    address: Address,
    len: u8,
}

impl Prefix {
    /// The first `len` bits of `address`; none if it has fewer.
    pub(crate) const fn new(address: Address, len: u8) -> Option<Self> {
        if len > address.family().bits() {
            return None;
        }
        Some(Self { address, len })
    }

    pub(crate) const fn address(&self) -> &Address {
        &self.address
    }

    pub(crate) const fn len(&self) -> u8 {
        self.len
    }

    pub(crate) const fn family(&self) -> Family {
        self.address.family()
    }

    /// Whether the address has bits beyond the prefix, which no route's has.
    pub(crate) fn has_host_bits(&self) -> bool {
        let mut left = u32::from(self.len);
        self.address.bytes().iter().any(|octet| {
            let kept = left.min(8);
            left = left.saturating_sub(8);
            u32::from(*octet).wrapping_shl(kept) & 0xff != 0
        })
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.address.fmt(f)?;
        f.write_str("/")?;
        self.len.fmt(f)
    }
}

/// Where a route leads.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Hop {
    /// To a device, number 0 if to none, and there to a gateway.
    Device { oif: u32, gateway: Option<Address> },
    /// Where a nexthop object says.
    Object(u32),
    /// To one of several, of which this is a digest. Only of IPv4: the hops of such a route of IPv6
    /// come and go one by one, and each counts as a route.
    Many(u64),
}

/// What makes a route of a namespace the one it is. It is all that news of it says, and more than a
/// request to delete it can: two routes that are alike in it are one route here.
///
/// The order is that of prefixes, so those that compete for a prefix stand together.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct RouteKey {
    pub(crate) table: u32,
    pub(crate) prefix: Prefix,
    pub(crate) tos: u8,
    /// The metric.
    pub(crate) priority: u32,
    pub(crate) hop: Hop,
    /// Of IPv4; zero if none.
    pub(crate) prefsrc: u32,
    /// `RTN_UNICAST` and so on; zero, which is any, where a nexthop object decides.
    pub(crate) kind: u8,
    pub(crate) protocol: u8,
    pub(crate) scope: u8,
}

impl RouteKey {
    pub(crate) const fn family(&self) -> Family {
        self.prefix.family()
    }

    /// Whether one of these, added in place of another, may have replaced the other.
    pub(crate) fn competes_with(&self, other: &Self) -> bool {
        self.seat() == other.seat()
    }

    fn seat(&self) -> (u32, Prefix, u8, u32) {
        (self.table, self.prefix, self.tos, self.priority)
    }

    /// The least key that competes with this one.
    pub(crate) const fn first_of_seat(&self) -> Self {
        Self {
            hop: Hop::Device {
                oif: 0,
                gateway: None,
            },
            prefsrc: 0,
            kind: 0,
            protocol: 0,
            scope: 0,
            ..*self
        }
    }

    /// The least key of all.
    pub(crate) const FIRST: Self = Self {
        table: 0,
        prefix: Prefix {
            address: Address::any(Family::V4),
            len: 0,
        },
        tos: 0,
        priority: 0,
        hop: Hop::Device {
            oif: 0,
            gateway: None,
        },
        prefsrc: 0,
        kind: 0,
        protocol: 0,
        scope: 0,
    };
}

/// A route as somebody names it who does not know all of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Wanted {
    pub(crate) prefix: Prefix,
    pub(crate) table: u32,
    pub(crate) tos: u8,
    pub(crate) priority: Option<u32>,
    pub(crate) oif: Option<u32>,
}

impl Wanted {
    pub(crate) fn fits(&self, key: &RouteKey) -> bool {
        let through = match key.hop {
            Hop::Device { oif, .. } => Some(oif),
            _ => None,
        };
        self.prefix == key.prefix
            && self.table == key.table
            && self.tos == key.tos
            && self
                .priority
                .is_none_or(|priority| priority == key.priority)
            && (self.oif.is_none() || self.oif == through)
    }
}
