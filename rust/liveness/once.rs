// SPDX-License-Identifier: GPL-2.0

//! One question, for whoever waits for the answer.

use super::{
    ask::{Ask, End, Judge, Prober, Whom, Why},
    sockets::Sockets,
    terms::errno,
};
use crate::{
    policy::{
        deadline::Delta,
        esi::{attempts::Spacing, Settings, Threshold},
        pdu::address::{Eid, Ip, Port, Portal, Unusable},
    },
    sys::context::Task,
};
use core::net::IpAddr;
use kernel::{
    new_condvar, new_mutex,
    prelude::*,
    sync::{
        atomic::{Atomic, Relaxed},
        Arc,
        CondVar,
        Mutex, //
    },
};

/// What is asked, of whom, and how patiently.
///
/// # Examples
///
/// ```
/// use core::net::{IpAddr, Ipv4Addr};
/// use softclock::liveness::{ask, Question, Reply};
///
/// let question = Question {
///     // The portal at 192.0.2.7:860, which wants to be asked at UDP port 5000.
///     ip: IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7)),
///     port: 860,
///     at: Question::UDP | 5000,
///     ..Question::about("iqn.2026-01.org.example:disk")
/// };
/// match ask(&question, &Task::new()?)? {
///     Reply::Alive { round_trip, .. } => pr_info!("alive, {} ns\n", round_trip.as_nanos()),
///     Reply::Silent { attempts, why } => pr_info!("dead: {why}, {attempts} attempts\n"),
///     Reply::Unknown => pr_info!("it could not be asked\n"),
/// }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// The name of the entity: 1 to 255 printable characters of ASCII, no blank.
    pub eid: &'a str,
    /// The portal's address: of one host.
    pub ip: IpAddr,
    /// The interface's number, for an address of its link only (`fe80::/10`); else 0.
    pub scope: u32,
    /// The portal's port, as iSNS writes it: a number, and [`UDP`](Self::UDP).
    pub port: u32,
    /// The port at which it is asked, as iSNS writes it: 1 to 65535, and [`UDP`](Self::UDP).
    pub at: u32,
    /// How long an attempt waits for its answer: 1 ms to 1 min.
    pub patience: Delta,
    /// How many attempts there are: 1 to 10.
    pub attempts: u8,
}

impl<'a> Question<'a> {
    /// The bit of a port that means UDP; without it, it is one of TCP. RFC 4171, 6.3.2.
    pub const UDP: u32 = 0x1_0000;

    /// About this entity, with what isnsd does: three attempts of two seconds. The portal is missing.
    pub const fn about(eid: &'a str) -> Self {
        Self {
            eid,
            ip: IpAddr::V4(core::net::Ipv4Addr::UNSPECIFIED),
            scope: 0,
            port: 0,
            at: 0,
            patience: Delta::from_secs(2),
            attempts: 3,
        }
    }

    /// As a prober wants it.
    pub(super) fn checked(&self) -> Result<Checked<'a>> {
        let eid = Eid::new(self.eid.as_bytes()).map_err(|bad| refuse("eid", bad))?;
        let ip = match self.ip {
            IpAddr::V4(ip) => Ip::v4(ip.octets()),
            IpAddr::V6(ip) => Ip::from_wire(ip.octets()),
        };
        let portal = Portal {
            ip: ip.check().map_err(|bad| refuse("ip", bad))?,
            port: Port::from_wire(self.port).map_err(|bad| refuse("port", bad))?,
        };
        let at = Port::monitored(self.at)
            .and_then(|at| at.ok_or(Unusable::NoPort))
            .map_err(|bad| refuse("at", bad))?;
        if ip.is_link_local() != (self.scope != 0) {
            pr_err!("liveness: an address of a link goes with its interface's number as scope, any other with 0\n");
            return Err(EINVAL);
        }
        Ok(Checked {
            eid,
            portal,
            at,
            scope: self.scope,
            spacing: self.spacing()?,
        })
    }

    fn spacing(&self) -> Result<Spacing> {
        if self.patience < Delta::from_millis(1) || self.patience > Delta::from_secs(60) {
            pr_err!(
                "liveness: patience of {} ns; it is 1 ms to 1 min\n",
                self.patience.as_nanos()
            );
            return Err(ERANGE);
        }
        if self.attempts == 0 || self.attempts > Threshold::MAX.get() {
            pr_err!("liveness: {} attempts; they are 1 to 10\n", self.attempts);
            return Err(ERANGE);
        }
        let settings = Settings {
            threshold: Threshold::from_count(self.attempts.into()),
            patience: self.patience,
            ..Settings::DEFAULT
        };
        Ok(Spacing::of(&settings, Delta::MAX, 1))
    }
}

fn refuse(what: &str, bad: Unusable) -> Error {
    pr_err!("liveness: {}: {}\n", what, bad.what());
    errno(bad)
}

/// A question that can be asked.
pub(super) struct Checked<'a> {
    pub(super) eid: Eid<'a>,
    portal: Portal,
    at: Port,
    scope: u32,
    spacing: Spacing,
}

impl Checked<'_> {
    pub(super) fn ask(&self, judge: Arc<dyn Judge>, tag: u32) -> Ask {
        let whom = Whom {
            portal: self.portal,
            at: self.at,
            scope: self.scope,
            judge,
            tag,
        };
        Ask {
            whom,
            spacing: self.spacing,
        }
    }
}

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply {
    /// The portal has answered.
    Alive {
        /// From the first attempt to the answer.
        round_trip: Delta,
        /// How many attempts were made: 1, where it answered in time.
        attempts: u8,
    },
    /// It has not, to any attempt.
    Silent {
        /// How many were made.
        attempts: u8,
        /// What became of the last one, in a word: `timeout`, `refused`, `reset`, `eof`, `unreachable`,
        /// `denied`, or what was wrong with the answer.
        why: &'static str,
    },
    /// Nothing is known: we had no memory, no socket, no port, or no room for all that came in, or the
    /// network namespace has left.
    Unknown,
}

impl From<End> for Reply {
    fn from(end: End) -> Self {
        match end {
            End::Answered { at, attempts } => Self::Alive {
                round_trip: attempts.took(at),
                attempts: attempts.made(),
            },
            End::Silent { attempts, why } => Self::Silent {
                attempts: attempts.made(),
                why: Why::as_str(why),
            },
            End::Void { .. } => Self::Unknown,
        }
    }
}

/// Who waits.
#[pin_data]
struct Once {
    eid: KVec<u8>,
    unwanted: Atomic<bool>,
    #[pin]
    reply: Mutex<Option<Reply>>,
    #[pin]
    told: CondVar,
}

impl Judge for Once {
    fn eid(&self) -> Eid<'_> {
        Eid::kept(&self.eid)
    }

    fn wants(&self, _tag: u32) -> bool {
        !self.unwanted.load(Relaxed)
    }

    fn ended(&self, _tag: u32, end: End) {
        *self.reply.lock() = Some(end.into());
        self.told.notify_all();
    }
}

/// Asks one portal whether it lives, in the caller's network namespace, and waits for the answer or for all
/// attempts. Nothing else is touched: no schedule, no registration. Task context; blocks for `attempts`
/// times `patience` at most, and a little longer while many others are being asked.
///
/// # Errors
///
/// `EINVAL`, `ERANGE`: the question, as for a registration (the log says what of it). `EINTR`: a signal came. `ENOMEM`. `ESHUTDOWN`:
/// the network namespace leaves.
#[inline(never)]
pub fn ask(question: &Question<'_>, task: &Task) -> Result<Reply> {
    task.may_sleep_now();
    let checked = question.checked()?;
    let mut eid = KVec::new();
    eid.extend_from_slice(checked.eid.as_bytes(), GFP_KERNEL)?;
    let once = Arc::pin_init(
        pin_init!(Once {
            eid,
            unwanted: Atomic::new(false),
            reply <- new_mutex!(None),
            told <- new_condvar!(),
        }),
        GFP_KERNEL,
    )?;
    let outlet = Sockets::here(task)?;
    outlet.begin(checked.ask(once.clone(), 0))?;
    outlet.call();
    let mut reply = once.reply.lock();
    loop {
        if let Some(reply) = *reply {
            return Ok(reply);
        }
        if once.told.wait_interruptible(&mut reply) {
            break;
        }
    }
    drop(reply);
    once.unwanted.store(true, Relaxed);
    outlet.sweep();
    Err(EINTR)
}
