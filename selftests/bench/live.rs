// SPDX-License-Identifier: GPL-2.0

//! The entities whose liveness is measured: their names, and how each is asked.

use core::net::{IpAddr, Ipv4Addr};
use kernel::time::delay::fsleep;
use softclock::{liveness::*, prelude::*};

/// The bit of a port that means UDP.
const UDP: u32 = 0x1_0000;
/// The ports of `softclock_peer` that answer, and that never do.
const GOOD: u32 = 7001;
const SILENT: u32 = 7011;

/// How an entity is asked.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum How {
    /// By an inquiry over UDP or TCP, of `softclock_peer` in the same guest.
    Udp,
    Tcp,
    /// By a probe of the bench's own.
    Own,
}

/// Who is asked.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Whom {
    /// Somebody who answers at once, or who never does.
    Lively,
    Silent,
    /// Nobody: the address is not there.
    Nobody,
}

/// A name of 30 bytes, as long as those of iSCSI often are.
pub(crate) struct Eid([u8; 30]);

impl Eid {
    /// Number `n` of the entities that are watched.
    pub(crate) fn watched(n: usize) -> Self {
        Self::numbered(*b"iqn.2026-11.org.example:000000", n)
    }

    /// Number `n` of those that come and go.
    pub(crate) fn passing(n: usize) -> Self {
        Self::numbered(*b"eui.2026-11.org.example:000000", n)
    }

    fn numbered(mut name: [u8; 30], n: usize) -> Self {
        let mut rest = n;
        for digit in name.iter_mut().skip(24).rev() {
            *digit = b'0' + (rest % 10) as u8;
            rest /= 10;
        }
        Self(name)
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

/// The number of one that is watched, by its name.
pub(crate) fn number_of(eid: &str) -> Option<usize> {
    let digits = eid.strip_prefix("iqn.2026-11.org.example:")?;
    digits.parse().ok()
}

/// What entity number `n` registers with, for an inquiry every `every_s` seconds.
pub(crate) fn portal(n: usize, how: How, whom: Whom, every_s: u32) -> PortalTerms {
    let (address, port) = match whom {
        Whom::Lively => (Ipv4Addr::LOCALHOST, GOOD),
        Whom::Silent => (Ipv4Addr::LOCALHOST, SILENT),
        Whom::Nobody => (Ipv4Addr::new(192, 0, 2, 2), GOOD),
    };
    let here = IpAddr::V4(address);
    let terms = match how {
        How::Udp => PortalTerms::new(Portal::tcp(here, 860)).asked_at(UDP | port),
        How::Tcp => PortalTerms::new(Portal::tcp(here, 860)).asked_at(port),
        How::Own => PortalTerms::new(Portal::numbered(n as u64)).monitored(),
    };
    terms.every_secs(every_s)
}

pub(crate) fn terms<'a>(eid: &'a Eid, portals: &'a [PortalTerms]) -> EntityTerms<'a> {
    EntityTerms {
        eid: eid.bytes(),
        period_s: 0,
        portals,
    }
}

/// Sleeps until an instant. Often enough that nobody believes this task to hang.
pub(crate) fn sleep_until(end: Instant) {
    loop {
        let left = (end - softclock::now()).as_nanos();
        if left <= 0 {
            return;
        }
        fsleep(kernel::time::Delta::from_nanos(left.min(1_000_000_000)));
    }
}
