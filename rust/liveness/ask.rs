// SPDX-License-Identifier: GPL-2.0

//! Asking a portal whether it lives: what who asks and who is asked agree on.
//!
//! A [`Prober`] makes probes, all attempts of them; a [`Judge`] is told how each has ended.

use crate::{
    policy::{
        deadline::Instant,
        esi::{
            attempts::{Made, Spacing},
            round,
        },
        pdu::{
            address::{Eid, Port, Portal},
            Fault,
        },
    },
    sys::net::Held,
};
use kernel::{bindings, prelude::*, sync::Arc};

/// Who wants to know. One object for each entity, as a rule.
pub(crate) trait Judge: Send + Sync {
    /// The name of the entity that is asked about; always the same one.
    fn eid(&self) -> Eid<'_>;

    /// Whether the answer still matters. Asked before a probe is started, and of all probes after
    /// [`Prober::sweep`]; `false` ends it, void. Task context, no lock held; does not block.
    fn wants(&self, tag: u32) -> bool;

    /// Attempt `attempt` (from 1) of `of` has come to nothing, by the end of its time or before; another
    /// one follows. Task context, no lock held.
    fn missed(&self, tag: u32, attempt: u8, of: u8) {
        let _ = (tag, attempt, of);
    }

    /// An answer came that is none. Task context, no lock held.
    fn refused(&self, tag: u32, fault: Fault) {
        let _ = (tag, fault);
    }

    /// The probe is over: told once for each that was begun. Task context, no lock held; may begin
    /// others, and may block, but holds up all probes of its prober meanwhile. The prober lets go of
    /// the judge right after it.
    fn ended(&self, tag: u32, end: End);
}

/// Makes probes: one over sockets for each network namespace, one for each way to ask of a driver's.
pub(crate) trait Prober: Send + Sync {
    /// Begins a probe, which may have to wait for its turn, and for [`go`](Self::go). Its end is told to
    /// `ask.judge`, never from within this call. Task or softirq context, no raw lock held; never blocks.
    ///
    /// # Errors
    ///
    /// Nothing has begun, and nothing will be told. `ESHUTDOWN`: nothing is begun any more.
    /// `ENOMEM`.
    fn begin(&self, ask: Ask) -> Result;

    /// Makes the first attempts of probes that were begun, as far as the window allows it. To be called
    /// after some [`begin`](Self::begin), by a worker. Task context, no lock held; blocks for no peer. Judges
    /// may be told of other probes meanwhile.
    fn go(&self) {}

    /// Some answers do not matter any more: probes, waiting or in flight, whose judge does not
    /// [want](Judge::wants) them end soon, void. Any context but NMI; never blocks.
    fn sweep(&self);

    /// What it has done so far. Any context but NMI.
    fn counts(&self) -> Counts;

    /// Whether operators command those who ask here from this namespace. Any context but NMI.
    fn is_in(&self, net: &Held) -> bool;

    /// The number user space sees of the namespace it asks from, if there is one. Any context but NMI.
    fn net(&self) -> Option<u32> {
        None
    }

    /// As many probes as this may be in flight at once, at least, from now on. Any context but NMI.
    fn widen(&self, window: u32) {
        let _ = window;
    }
}

/// A question, and how often it is put.
pub(crate) struct Ask {
    pub(crate) whom: Whom,
    pub(crate) spacing: Spacing,
}

/// Who is asked about what, and who wants to know.
pub(crate) struct Whom {
    /// What is asked about.
    pub(crate) portal: Portal,
    /// The port, at the portal's address, where it is asked.
    pub(crate) at: Port,
    /// The index of the interface that a link-local address belongs to; else 0.
    pub(crate) scope: u32,
    pub(crate) judge: Arc<dyn Judge>,
    /// The judge's own: what tells its questions apart.
    pub(crate) tag: u32,
}

/// How a probe ended.
#[derive(Clone, Copy, Debug)]
pub(crate) enum End {
    /// The portal lives: its answer was read at this instant.
    Answered { at: Instant, attempts: Made },
    /// No attempt was answered: it is dead. `why` is what became of the last one.
    Silent { attempts: Made, why: Why },
    /// Nothing is known: not wanted any more, shut down, or the fault was ours, as where there was no room
    /// for answers. `attempts`: if it was started.
    Void { attempts: Option<Made> },
}

impl End {
    /// The attempts, if there were any.
    pub(crate) const fn attempts(&self) -> Option<&Made> {
        match self {
            Self::Answered { attempts, .. } | Self::Silent { attempts, .. } => Some(attempts),
            Self::Void { attempts } => attempts.as_ref(),
        }
    }

    /// The same, for a [`Round`](round::Round).
    pub(crate) const fn probe(&self) -> round::Probe {
        match self {
            Self::Answered { at, .. } => round::Probe::Answered(*at),
            Self::Silent { .. } => round::Probe::Silent,
            Self::Void { .. } => round::Probe::Void,
        }
    }
}

/// Why an attempt came to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    /// Nothing came in time.
    Timeout,
    /// The host says that nobody listens there.
    Refused,
    /// The connection was cut.
    Reset,
    /// The connection was closed before all of an answer had come.
    Eof,
    /// What came is not the answer.
    Fault(Fault),
    /// There is no way to that host, or none that is open.
    Unreachable,
    /// We are not allowed to.
    Denied,
    /// We have no memory, no socket or no port.
    Resources,
    /// The kernel says something else: an errno, positive.
    Other(i32),
}

impl Why {
    /// The word shown in debugfs.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::Refused => "refused",
            Self::Reset => "reset",
            Self::Eof => "eof",
            Self::Fault(fault) => fault.as_str(),
            Self::Unreachable => "unreachable",
            Self::Denied => "denied",
            Self::Resources => "resources",
            Self::Other(_) => "error",
        }
    }

    /// It says nothing about the portal.
    pub(crate) const fn is_ours(self) -> bool {
        matches!(self, Self::Resources)
    }

    /// What is said where a socket is opened. Nobody on the network has a say in that.
    pub(crate) fn of_opening(error: Error) -> Self {
        match Self::from(error) {
            // The namespace leaves.
            Self::Unreachable => Self::Resources,
            why => why,
        }
    }
}

impl From<Error> for Why {
    /// What a socket says that is open. What the network can say by ICMP is no fault of ours: or anybody
    /// could keep a dead portal alive.
    fn from(error: Error) -> Self {
        let errno = error.to_errno().saturating_neg();
        match u32::try_from(errno).unwrap_or(0) {
            bindings::ETIMEDOUT => Self::Timeout,
            bindings::ECONNREFUSED => Self::Refused,
            bindings::ECONNRESET | bindings::ECONNABORTED | bindings::EPIPE => Self::Reset,
            // The last one is what ICMP calls an isolated host.
            bindings::ENETUNREACH
            | bindings::ENETDOWN
            | bindings::EHOSTUNREACH
            | bindings::EHOSTDOWN
            | bindings::ENONET => Self::Unreachable,
            bindings::EPERM | bindings::EACCES => Self::Denied,
            // Without memory for a socket the kernel says that there are too many.
            bindings::ENFILE
            | bindings::ENOMEM
            | bindings::ENOBUFS
            | bindings::EAGAIN
            | bindings::EADDRNOTAVAIL
            | bindings::EAFNOSUPPORT => Self::Resources,
            _ => Self::Other(errno),
        }
    }
}

/// What a prober counts. All but `in_flight` and `waiting` only grow.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    /// Probes that were begun.
    pub(crate) begun: u64,
    /// Attempts that were made.
    pub(crate) attempts: u64,
    /// Probes by their ends.
    pub(crate) answered: u64,
    pub(crate) silent: u64,
    pub(crate) void: u64,
    /// Attempts that were refused, reset or closed before an answer, or could not be made.
    pub(crate) failed: u64,
    /// Datagrams that came in and were dropped by the kernel: for want of room, or for a bad checksum.
    pub(crate) dropped: u64,
    /// What came in and is no answer, by [`Fault::index`].
    pub(crate) strays: [u64; Fault::KINDS],
    /// Probes that were started and are not over.
    pub(crate) in_flight: u64,
    /// Probes that were begun and not started.
    pub(crate) waiting: u64,
    /// The most that may be in flight.
    pub(crate) window: u64,
}
