// SPDX-License-Identifier: GPL-2.0

//! What registrations ask for, and what a service makes of them.

use super::portals::{Portals, Watched};
use crate::policy::{
    deadline::Delta,
    esi::{
        self,
        jitter::Jitter,
        pace::Window,
        terms::{self, Limits},
        Coverage, Removal, Threshold,
    },
    pdu::address::{self, Eid, Ip, Unusable},
    text::Line,
};
use core::net::{IpAddr, Ipv6Addr, SocketAddr};
use kernel::{fmt, prelude::*};

/// The protocol of a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

/// What an entity offers its service at: an address and a port, which tell it from the entity's other
/// portals (RFC 4171, 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Portal {
    /// The address of one host. IPv4 addresses mapped into IPv6, or compatible with it, are IPv4.
    pub ip: IpAddr,
    /// The port's number; 0 stands for the protocol's usual one.
    pub port: u16,
    /// The port's protocol.
    pub protocol: Protocol,
}

/// `192.0.2.7:3260/tcp`, `[2001:db8::7]:3260/udp`.
impl fmt::Display for Portal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = SocketAddr::new(self.ip, self.port);
        let protocol = match self.protocol {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
        };
        f.write_fmt(core::format_args!("{at}/{protocol}"))
    }
}

/// The bit of a port in wire form that means UDP.
const UDP: u32 = 0x1_0000;

impl Portal {
    /// A portal at a port of TCP.
    pub const fn tcp(ip: IpAddr, port: u16) -> Self {
        Self {
            ip,
            port,
            protocol: Protocol::Tcp,
        }
    }

    /// A portal at a port of UDP.
    pub const fn udp(ip: IpAddr, port: u16) -> Self {
        Self {
            ip,
            port,
            protocol: Protocol::Udp,
        }
    }

    /// A portal that is no address: number `n` of whatever a driver asks by a [`Probe`](super::Probe) of
    /// its own. It is shown as the address `fd73:6f66:7463::` plus `n`.
    pub const fn numbered(n: u64) -> Self {
        let [a, b, c, d, e, f, g, h] = n.to_be_bytes();
        let ip = Ipv6Addr::new(
            0xfd73,
            0x6f66,
            0x7463,
            0,
            u16::from_be_bytes([a, b]),
            u16::from_be_bytes([c, d]),
            u16::from_be_bytes([e, f]),
            u16::from_be_bytes([g, h]),
        );
        Self::tcp(IpAddr::V6(ip), 1)
    }

    /// The number of a [`numbered`](Self::numbered) portal.
    pub fn number(&self) -> Option<u64> {
        let IpAddr::V6(ip) = self.ip else {
            return None;
        };
        let all = u128::from_be_bytes(ip.octets());
        let number = u64::try_from(all & u128::from(u64::MAX)).ok()?;
        (*self == Self::numbered(number)).then_some(number)
    }

    pub(crate) fn key(&self) -> Result<address::Portal, Unusable> {
        let ip = match self.ip {
            IpAddr::V4(ip) => Ip::v4(ip.octets()),
            IpAddr::V6(ip) => Ip::from_wire(ip.octets()),
        };
        Ok(address::Portal {
            ip: ip.check()?,
            port: address::Port::from_wire(self.wire_port())?,
        })
    }

    pub(crate) fn of(key: &address::Portal) -> Self {
        Self {
            ip: ip_of(key.ip),
            port: key.port.number(),
            protocol: if key.port.is_udp() {
                Protocol::Udp
            } else {
                Protocol::Tcp
            },
        }
    }

    const fn wire_port(&self) -> u32 {
        // A u16 fits.
        let number = self.port as u32;
        match self.protocol {
            Protocol::Tcp => number,
            Protocol::Udp => number | UDP,
        }
    }
}

fn ip_of(ip: Ip) -> IpAddr {
    match ip.as_v4() {
        Some(bytes) => IpAddr::from(bytes),
        None => IpAddr::from(ip.bytes()),
    }
}

/// A portal, and how it wants to be asked.
#[derive(Clone, Copy, Debug)]
pub struct PortalTerms {
    pub(super) portal: Portal,
    /// In wire form; 0: not at all.
    port: u32,
    interval_s: u32,
    scope: u32,
}

impl PortalTerms {
    /// A portal that is part of the entity, and is not monitored.
    pub const fn new(portal: Portal) -> Self {
        Self {
            portal,
            port: 0,
            interval_s: 0,
            scope: 0,
        }
    }

    /// It wants to be asked at this port of its address, in wire form (RFC 4171, 6.3.5): the number, and
    /// `0x10000` where it is UDP. 0 means not at all.
    #[must_use]
    pub const fn asked_at(mut self, port: u32) -> Self {
        self.port = port;
        self
    }

    /// It wants to be asked at its own port.
    #[must_use]
    pub const fn monitored(self) -> Self {
        let port = self.portal.wire_port();
        self.asked_at(port)
    }

    /// It wants to be asked every so many seconds. 0 means 180.
    #[must_use]
    pub const fn every_secs(mut self, interval_s: u32) -> Self {
        self.interval_s = interval_s;
        self
    }

    /// Its address is that of a link (`fe80::/10`), the one of the network device with this index.
    #[must_use]
    pub const fn on_device(mut self, index: u32) -> Self {
        self.scope = index;
        self
    }

    pub(super) fn checked(&self, limits: Limits) -> Result<Watched, Unusable> {
        let at = address::Port::monitored(self.port)?;
        let key = self.portal.key()?;
        if at.is_some() && key.ip.is_link_local() != (self.scope != 0) {
            return Err(Unusable::Scope);
        }
        Ok(Watched::new(
            key,
            at,
            limits.interval(self.interval_s),
            self.scope,
        ))
    }
}

/// What an entity asks for when it registers.
#[derive(Clone, Copy, Debug)]
pub struct EntityTerms<'a> {
    /// Its name: 1 to 255 printable characters of ASCII, and no blank.
    pub eid: &'a [u8],
    /// Without a sign of life for so many seconds its registration expires, where no portal is monitored;
    /// 0: never. Where some are, it is a limit to their interval.
    pub period_s: u32,
    /// Its portals, up to 64 of them.
    pub portals: &'a [PortalTerms],
}

/// The most portals of one entity.
pub(super) const MOST_PORTALS: usize = 64;

/// What a registration was granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Granted {
    /// It was not registered before.
    pub new: bool,
    /// Seconds between inquiries; or, where no portal is monitored, until the registration expires.
    pub interval_s: u32,
    /// The registration period in seconds, 0: none.
    pub period_s: u32,
}

/// Terms that were checked.
pub(super) struct Checked<'a> {
    pub(super) eid: Eid<'a>,
    pub(super) period_s: u32,
    pub(super) portals: Portals,
}

impl<'a> EntityTerms<'a> {
    /// What is wrong with its name, or the first of its portals with which something is; and its errno.
    pub(crate) fn mistake(&self) -> Option<(Error, &'static str)> {
        let mut portals = self.portals.iter();
        let portal = || portals.find_map(|terms| terms.checked(Limits::NONE).err());
        let why = Eid::new(self.eid).err().or_else(portal)?;
        Some((errno(why), why.what()))
    }

    /// Checks everything, and says in the log what is wrong. Task context; may block.
    pub(super) fn checked(&self, limits: Limits) -> Result<Checked<'a>> {
        let eid = checked_eid(self.eid)?;
        if self.portals.len() > MOST_PORTALS {
            pr_err!(
                "entity {}: it has {} portals; up to 64 are allowed\n",
                eid.as_str(),
                self.portals.len(),
            );
            return Err(ERANGE);
        }
        let mut portals = Portals::with_capacity(self.portals.len())?;
        for terms in self.portals {
            portals.push(checked_portal(eid, terms, limits)?, eid)?;
        }
        Ok(Checked {
            eid,
            period_s: limits.period(self.period_s),
            portals,
        })
    }
}

/// The name of an entity; says in the log what is wrong with it.
pub(super) fn checked_eid(bytes: &[u8]) -> Result<Eid<'_>> {
    Eid::new(bytes).map_err(|why| {
        // Not the name itself: it is what is wrong.
        pr_err!(
            "entity with a name of {} bytes: {}\n",
            bytes.len(),
            why.what()
        );
        errno(why)
    })
}

/// A portal of the entity; says in the log what is wrong with it.
pub(super) fn checked_portal(eid: Eid<'_>, terms: &PortalTerms, limits: Limits) -> Result<Watched> {
    terms.checked(limits).map_err(|why| {
        pr_err!(
            "entity {}: portal {:?} port {}, asked at {:#x}: {}\n",
            eid.as_str(),
            terms.portal.ip,
            terms.portal.port,
            terms.port,
            why.what(),
        );
        errno(why)
    })
}

/// What is not of the right form is `EINVAL`, what is beyond a limit is `ERANGE`.
pub(crate) fn errno(why: Unusable) -> Error {
    match why {
        Unusable::LongName | Unusable::BigPort | Unusable::ReservedBits => ERANGE,
        Unusable::NoName
        | Unusable::BadByte
        | Unusable::NoPort
        | Unusable::NoHost
        | Unusable::ManyHosts
        | Unusable::Scope => EINVAL,
    }
}

/// How a service asks, and what it makes of silence.
///
/// # Examples
///
/// ```
/// # use softclock::liveness::{Coverage, Removal, Settings};
/// let settings = Settings::new()
///     .threshold(5)
///     .coverage(Coverage::AnyOne)
///     .removal(Removal::AtOnce);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    pub(super) rules: esi::Settings,
    pub(super) window: u32,
    pub(super) limits: Limits,
}

impl Settings {
    /// Three attempts of 2 s; each portal is asked; an entity whose last portal has died expires after
    /// two more of its intervals; 1,024 entities at a time; intervals and periods as they are asked for.
    pub const fn new() -> Self {
        Self {
            rules: esi::Settings::DEFAULT,
            window: Window::DEFAULT as u32,
            limits: Limits::NONE,
        }
    }

    /// How many attempts in a row go unanswered before a portal is dead: 1 to 10. 0 means 3, more than
    /// 10 mean 10, as for isnsd's `ESI_retry_threshold_count`.
    #[must_use]
    pub fn threshold(mut self, attempts: u32) -> Self {
        self.rules.threshold = Threshold::from_count(attempts);
        self
    }

    /// How long an attempt waits for its answer before the next one, at most: 1 ms to an hour. It is less
    /// where the attempts would not fit into one interval otherwise.
    #[must_use]
    pub fn patience(mut self, patience: Delta) -> Self {
        self.rules.patience = patience
            .max(Delta::from_millis(1))
            .min(Delta::from_secs(3_600));
        self
    }

    /// Which of an entity's portals are asked.
    #[must_use]
    pub fn coverage(mut self, coverage: Coverage) -> Self {
        self.rules.coverage = coverage;
        self
    }

    /// When an entity expires whose last portal has died.
    #[must_use]
    pub fn removal(mut self, removal: Removal) -> Self {
        self.rules.removal = removal;
        self
    }

    /// When intervals are cut short at random.
    #[must_use]
    pub fn jitter(mut self, jitter: Jitter) -> Self {
        self.rules.jitter = jitter;
        self
    }

    /// How many entities are asked at the same time: 1 to 16,384. Services over sockets that share a
    /// network namespace have as many probes in flight together as the largest of their windows.
    #[must_use]
    pub fn window(mut self, entities: u32) -> Self {
        self.window = entities;
        self
    }

    /// What is granted to those who register: intervals from `least_s` to `most_s`, and registration
    /// periods of `least_period_s` at least, in seconds. What isnsd grants is 20, 86400 and 86400.
    ///
    /// # Errors
    ///
    /// `EINVAL`: the least interval is 0, or above the most.
    pub fn limits(mut self, least_s: u32, most_s: u32, least_period_s: u32) -> Result<Self> {
        self.limits = Limits::new(least_s, most_s, least_period_s).ok_or_else(|| {
            pr_err!(
                "intervals of {} to {} s; 1 and more are allowed, the least first\n",
                least_s,
                most_s,
            );
            EINVAL
        })?;
        Ok(self)
    }
}

impl Settings {
    /// Adds them to a record.
    pub(crate) fn show(&self, line: &mut Line) {
        let rules = &self.rules;
        line.count("threshold", rules.threshold.get().into())
            .number("patience_ns", rules.patience.as_nanos())
            .count("window", Window::new(self.window).limit().into())
            .word("coverage", rules.coverage.as_str())
            .word("jitter", rules.jitter.as_str());
        match rules.removal {
            Removal::AtOnce => line.word("removal", "at-once"),
            Removal::After(intervals) => line.count("removal", intervals.into()),
        };
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self::new()
    }
}

/// The terms of an entity with these portals.
pub(super) fn terms_of(period_s: u32, portals: &Portals) -> terms::Terms {
    terms::Terms::of(period_s, portals.wishes())
}
