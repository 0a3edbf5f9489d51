// SPDX-License-Identifier: GPL-2.0

//! The life of one timer as a table of (state, event) -> (state, answer).
//!
//! ```text
//!                 arm                     expire                 begin
//!        IDLE ----------> ARMED ----------------> DISPATCHED ----------> RUNNING --+
//!          ^                |  ^                      |                     |  ^   |
//!          |     stop,      |  | arm                  | stop, drain         |  |   | arm (again):
//!          +---- drain -----+  +----------------------+                     |  +---+ RUNNING+ARMED
//!          ^                                                                |
//!          +-------------------------- end ---------------------------------+
//!
//!        shut: from any state; refuses every later arm, for ever.
//! ```
//!
//! `DISPATCHED` lies between the deadline and the start of the callback (for a callback in task
//! context: while the work item waits for a worker). To the owner it is still *pending*: a stop
//! there cancels the run.
//!
//! One value of [`Life`] belongs to one timer and is changed under that timer's lock.

#![forbid(unsafe_code)]

/// A run is owed: the deadline lies ahead.
const ARMED: u8 = 1 << 0;
/// The deadline has passed, the callback has not begun.
const DISPATCHED: u8 = 1 << 1;
/// The callback is executing.
const RUNNING: u8 = 1 << 2;
/// No arm succeeds any more.
const SHUT: u8 = 1 << 3;
/// Somebody waits for the current run to end; arms are refused until then.
const DRAIN: u8 = 1 << 4;
/// The current run was stopped from outside: what it returns does not re-arm.
const NO_NEXT: u8 = 1 << 5;

/// What an attempt to arm a timer did.
///
/// FreeBSD's `callout_reset` answers 0 or 1, and answers 0 or 1 as well when it did nothing because
/// another thread was draining; here that is its own answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arm {
    /// Nothing was pending; the timer is now.
    New,
    /// A pending run was replaced by this one.
    Replaced,
    /// Nothing was changed.
    Refused(Refusal),
}

/// Why an arm was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The timer was shut down; it will never run again.
    Shutdown,
    /// Another thread is draining it: once the run it waits for has ended, arming works again.
    Draining,
    /// The CPU asked for does not exist or is offline, or the callout cannot be put there now.
    NoCpu,
    /// The guard shown is not that of the callout's lock.
    NotTheLock,
}

/// What a stop found. It never waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// A run was pending; it will not happen.
    Cancelled,
    /// The callback is executing. The current run goes on, but it is the last one: a re-arm made
    /// before this stop is gone, and what the callback returns does not re-arm.
    Running,
    /// Nothing was pending and nothing is running.
    Idle,
}

/// What a drain found. When it returns, what was pending is cancelled and the run it met is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drain {
    /// A run was pending; it will not happen.
    Cancelled,
    /// The callback was executing; it has ended.
    Finished,
    /// Nothing was pending and nothing was running.
    Idle,
}

impl Drain {
    /// Of a drain that has met nothing more since a stop: what that one has met is over.
    pub(crate) const fn since(met: Stop) -> Self {
        match met {
            Stop::Cancelled => Self::Cancelled,
            Stop::Running => Self::Finished,
            Stop::Idle => Self::Idle,
        }
    }
}

/// Why a drain or shutdown did not wait. What was pending is cancelled all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CannotWait {
    /// The caller is the very callback it would wait for, or that callback waits, directly or through
    /// others, for the caller (`EDEADLK`). In the own callback, return [`Next::Stop`] instead.
    Deadlock,
    /// The caller may not sleep after all (`EWOULDBLOCK`): it holds a spinlock, say, taken after the
    /// proof that it may.
    Atomic,
}

/// What a callback wants next, in terms of its own timer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Nothing: the timer is idle, unless somebody armed it during the run.
    Stop,
    /// Run again, this long after the callback has returned.
    After(super::deadline::Delta),
    /// Run again at this instant.
    At(super::deadline::Instant),
}

/// What a reader of the state sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shown {
    /// Neither pending nor running.
    Idle,
    /// Waiting for its deadline.
    Armed,
    /// Its deadline has passed; it waits for a worker.
    Dispatched,
    /// Executing.
    Running,
    /// Executing, and armed again.
    Rearmed,
    /// Shut down, for ever.
    Shut,
}

impl Shown {
    /// The word shown in debugfs.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Armed => "armed",
            Self::Dispatched => "dispatched",
            Self::Running => "running",
            Self::Rearmed => "rearmed",
            Self::Shut => "shut",
        }
    }
}

/// How a drain or shutdown goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Draining {
    /// Finished; this is the answer.
    Done(Drain),
    /// The callback is executing elsewhere: wait for the end of this run.
    Wait,
    /// The callback is executing right here.
    Own,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct End {
    /// The callback's wish to run again counts: the timer is armed now.
    pub(crate) rearm: bool,
    /// Somebody waits for this end.
    pub(crate) wake: bool,
}

/// The state of one timer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Life(u8);

impl Life {
    /// A timer that was never armed.
    pub(crate) const fn new() -> Self {
        Self(0)
    }

    /// The owner wants a run.
    pub(crate) fn arm(&mut self) -> Arm {
        if self.has(SHUT) {
            return Arm::Refused(Refusal::Shutdown);
        }
        if self.has(DRAIN) {
            return Arm::Refused(Refusal::Draining);
        }
        let pending = self.is_pending();
        self.clear(DISPATCHED | NO_NEXT);
        self.set(ARMED);
        if pending {
            Arm::Replaced
        } else {
            Arm::New
        }
    }

    /// The owner wants no further run. `own`: the caller is the callback itself, whose return value
    /// comes after this stop and so still counts.
    pub(crate) fn stop(&mut self, own: bool) -> Stop {
        let pending = self.is_pending();
        self.clear(ARMED | DISPATCHED);
        if self.is_running() {
            if !own {
                self.set(NO_NEXT);
            }
            Stop::Running
        } else if pending {
            Stop::Cancelled
        } else {
            Stop::Idle
        }
    }

    /// As [`stop`](Self::stop), and the caller means to wait for a run in progress.
    pub(crate) fn drain(&mut self, own: bool) -> Draining {
        match self.stop(own) {
            Stop::Cancelled => Draining::Done(Drain::Cancelled),
            Stop::Idle => Draining::Done(Drain::Idle),
            Stop::Running if own => Draining::Own,
            Stop::Running => {
                self.set(DRAIN);
                Draining::Wait
            }
        }
    }

    /// No arm succeeds from here on.
    pub(crate) fn shut(&mut self) {
        self.set(SHUT);
    }

    /// The deadline has come. `false`: stale, nothing is owed.
    pub(crate) fn expire(&mut self) -> bool {
        let owed = self.has(ARMED);
        if owed {
            self.clear(ARMED);
            self.set(DISPATCHED);
        }
        owed
    }

    /// The callback could not begin: the run is still owed, later. `false`: it is not.
    pub(crate) fn postpone(&mut self) -> bool {
        let owed = self.has(DISPATCHED);
        if owed {
            self.clear(DISPATCHED);
            self.set(ARMED);
        }
        owed
    }

    /// The callback is about to be called. `false`: it must not be.
    pub(crate) fn begin(&mut self) -> bool {
        let owed = self.has(DISPATCHED) && !self.is_running();
        if owed {
            self.clear(DISPATCHED);
            self.set(RUNNING);
        }
        owed
    }

    /// The callback has returned; `again` says whether it asked for another run.
    ///
    /// An arm made by anyone during the run counts more than what the callback returns.
    pub(crate) fn end(&mut self, again: bool) -> End {
        let wake = self.has(DRAIN);
        let rearm = again && !self.has(SHUT | DRAIN | NO_NEXT | ARMED | DISPATCHED);
        self.clear(RUNNING | DRAIN | NO_NEXT);
        if rearm {
            self.set(ARMED);
        }
        End { rearm, wake }
    }

    /// A run is owed: armed, or past the deadline and not begun.
    pub(crate) const fn is_pending(self) -> bool {
        self.has(ARMED | DISPATCHED)
    }

    /// A deadline lies ahead.
    pub(crate) const fn is_armed(self) -> bool {
        self.has(ARMED)
    }

    /// The callback is executing.
    pub(crate) const fn is_running(self) -> bool {
        self.has(RUNNING)
    }

    /// Arms are refused for ever.
    pub(crate) const fn is_shut(self) -> bool {
        self.has(SHUT)
    }

    /// The state in one word, for people.
    pub(crate) const fn shown(self) -> Shown {
        match (self.is_running(), self.has(ARMED), self.has(DISPATCHED)) {
            (true, false, false) => Shown::Running,
            (true, _, _) => Shown::Rearmed,
            (false, _, true) => Shown::Dispatched,
            (false, true, false) => Shown::Armed,
            (false, false, false) if self.is_shut() => Shown::Shut,
            (false, false, false) => Shown::Idle,
        }
    }

    const fn has(self, any: u8) -> bool {
        self.0 & any != 0
    }

    fn set(&mut self, bits: u8) {
        self.0 |= bits;
    }

    fn clear(&mut self, bits: u8) {
        self.0 &= !bits;
    }
}
