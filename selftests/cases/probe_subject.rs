// SPDX-License-Identifier: GPL-2.0

//! The portals of softclock_peer, and asking them.

use crate::harness::{in_time, Fault, Verdict};
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use kernel::time::delay::fsleep;
use softclock::{
    liveness::{ask, drill::Drill, Question, Reply},
    prelude::*,
};

/// What each port of the peer does: see there.
pub(crate) const GOOD: u32 = 7001;
pub(crate) const BYTES: u32 = 7002;
pub(crate) const RESET: u32 = 7003;
pub(crate) const GARBAGE: u32 = 7004;
pub(crate) const OTHER_XID: u32 = 7005;
pub(crate) const HOLE: u32 = 7006;
pub(crate) const HALF: u32 = 7007;
pub(crate) const LATE: u32 = 7008;
pub(crate) const STATUS: u32 = 7009;
pub(crate) const HALF_RESET: u32 = 7010;
pub(crate) const SILENT: u32 = 7011;
pub(crate) const OTHER_SOURCE: u32 = 7012;
pub(crate) const TWICE: u32 = 7013;
pub(crate) const OTHER_EID: u32 = 7014;
pub(crate) const HUGE: u32 = 7015;
pub(crate) const OTHER_PORTAL: u32 = 7016;
pub(crate) const THIRD: u32 = 7017;
pub(crate) const FRAGMENT: u32 = 7018;
pub(crate) const OTHER_FUNCTION: u32 = 7019;
pub(crate) const SERVER: u32 = 7020;
pub(crate) const COMPATIBLE: u32 = 7021;
pub(crate) const FLOOD: u32 = 7022;
pub(crate) const LONGER: u32 = 7023;
pub(crate) const NOTHING: u32 = 7024;
pub(crate) const FLAP: u32 = 7025;
pub(crate) const BAD_TLV: u32 = 7026;
pub(crate) const VERSION_2: u32 = 7027;
pub(crate) const ISOLATED: u32 = 7029;
pub(crate) const DELUGE: u32 = 7030;
/// Nobody listens there.
pub(crate) const CLOSED: u32 = 7999;

pub(crate) const EID: &str = "iqn.2026-01.org.example:disk";

/// The address of this machine.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Family {
    V4,
    V6,
}

pub(crate) const BOTH: [Family; 2] = [Family::V4, Family::V6];

impl Family {
    pub(crate) fn ip(self) -> IpAddr {
        match self {
            Self::V4 => IpAddr::V4(Ipv4Addr::LOCALHOST),
            Self::V6 => IpAddr::V6(Ipv6Addr::LOCALHOST),
        }
    }
}

/// Two attempts, half a second each.
pub(crate) fn question(family: Family, at: u32) -> Question<'static> {
    Question {
        ip: family.ip(),
        port: 860,
        at,
        patience: Delta::from_millis(500),
        attempts: 2,
        ..Question::about(EID)
    }
}

/// With patience that a crowd on a slow machine does not exhaust.
pub(crate) fn patient(family: Family, at: u32) -> Question<'static> {
    Question {
        patience: Delta::from_secs(30),
        ..question(family, at)
    }
}

pub(crate) fn udp(port: u32) -> u32 {
    Question::UDP | port
}

/// Every port of a list, over both families, answers, to the first attempt.
pub(crate) fn all_live(ports: &[u32], task: &Task) -> Result<(), Fault> {
    each(ports, patient, task, |reply| {
        matches!(reply, Reply::Alive { attempts: 1, .. })
    })
}

/// Every port of a list, over both families, is found dead after all attempts, for this reason.
pub(crate) fn all_dead(ports: &[u32], reason: &str, task: &Task) -> Result<(), Fault> {
    each(
        ports,
        question,
        task,
        |reply| matches!(reply, Reply::Silent { attempts: 2, why } if why == reason),
    )
}

fn each(
    ports: &[u32],
    question: fn(Family, u32) -> Question<'static>,
    task: &Task,
    good: impl Fn(Reply) -> bool,
) -> Result<(), Fault> {
    for at in ports {
        for family in BOTH {
            let reply = ask(&question(family, *at), task)?;
            if !good(reply) {
                pr_info!("# {:?}, port {:#x}: {:?}\n", family, at, reply);
                return Err(Fault::Broken("another reply", line!()));
            }
        }
    }
    Ok(())
}

/// How late this machine lets a thread run that wants to every 10 ms.
struct Watch {
    _beat: Periodic<Task>,
    latest_ns: Arc<Atomic<i64>>,
}

impl Watch {
    fn begin() -> Result<Self> {
        let latest_ns = Arc::new(Atomic::new(0), GFP_KERNEL)?;
        let note = latest_ns.clone();
        let beat = Periodic::new(
            softclock::owner!(),
            c"watch",
            Delta::from_millis(10),
            move |tick| {
                let late = tick.lateness().as_nanos();
                note.store(note.load(Relaxed).max(late), Relaxed);
            },
        )?;
        Ok(Self {
            _beat: beat,
            latest_ns,
        })
    }

    fn latest(&self) -> Delta {
        Delta::from_nanos(self.latest_ns.load(Relaxed))
    }
}

/// What a case says that counts on answers within their patience. A machine that lets threads wait for a good
/// part of it lets answers wait as well: the case is then tried again, when those are through.
pub(crate) fn timely(case: impl FnOnce() -> Verdict) -> Verdict {
    let watch = Watch::begin()?;
    let verdict = case();
    if !in_time(verdict.is_ok() || watch.latest() < Delta::from_millis(100)) {
        fsleep(kernel::time::Delta::from_secs(2));
    }
    verdict
}

pub(crate) fn count(what: &str, task: &Task) -> Result<u64, Fault> {
    Ok(Drill::count(what, task)?)
}
