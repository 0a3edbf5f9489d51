// SPDX-License-Identifier: GPL-2.0

//! The rules of route timers: the state of one, the order of many, how long a pass may take.
//!
//! A timer remembers when it was added, its *stamp*, and not when it is due: that is the stamp and its
//! queue's timeout, which may change. So one order holds for a queue whatever its timeout is, and a
//! change touches no timer.
//!
//! ```text
//!           add                      due                        return
//!   idle --------> LINKED --------------------> RUNNING -----------------> idle
//!    ^               | ^ add: a later stamp        |
//!    +--- remove ----+ |                           +--- add ---> LINKED and RUNNING
//!                      +-- (lock-free: MOVED)
//! ```

#![forbid(unsafe_code)]

use super::deadline::{Delta, Instant};

/// What an add did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a refused add has armed nothing"]
pub enum Added {
    /// No timer was pending; one is now.
    New,
    /// The timer was pending in this queue, and counts from now.
    Refreshed,
    /// The timer was pending in another queue, and is in this one now.
    Moved,
    /// Nothing was changed.
    Refused(NotAdded),
}

/// Why an add was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotAdded {
    /// The queue is destroyed, or its module is leaving (`ENODEV`).
    Destroyed,
    /// Somebody removes the timer and waits for its action; once that has returned, adding works again
    /// (`EBUSY`).
    Removing,
    /// Timer and queue belong to different modules (`EINVAL`). A timer's action is code of the first,
    /// and runs as long as the second is there.
    Stranger,
    /// There was no memory for a timer (`ENOMEM`).
    NoMemory,
}

/// When a changed timeout is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// At once: every timer is due when the new timeout says so.
    Now,
    /// When the queue would have woken by the old one: what is due by the new one runs then, and not
    /// before. This is how `rt_timer_queue_change(9)` words it.
    AtNextWake,
}

/// What becomes of the timers in a queue that is destroyed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pending {
    /// They are removed.
    Remove,
    /// The action of each runs, in order.
    Run,
}

/// It is in a queue.
const LINKED: u64 = 1 << 0;
/// Its action executes.
const RUNNING: u64 = 1 << 1;
/// It was refreshed since it was put where it is in the queue.
const MOVED: u64 = 1 << 2;
/// Somebody waits for the action to return: adds are refused until then.
const DRAIN: u64 = 1 << 3;
/// It knows its route.
const BOUND: u64 = 1 << 4;
const STAMP_SHIFT: u32 = 5;

/// The last stamp there is: 18 years of uptime.
pub(crate) const LAST_STAMP: u64 = u64::MAX >> STAMP_SHIFT;

/// The state of one timer, in one word that changes by compare-exchange only: while it is linked by
/// anyone, but for `LINKED` itself, which belongs to whoever has locked the queue.
///
/// A stamp never repeats with another link of the same timer ([`linked`](Self::linked)), so a word that
/// is the same belongs to the same queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Word(u64);

impl Word {
    /// Never added.
    pub(crate) const NEW: Self = Self(0);

    pub(crate) const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    pub(crate) const fn bits(self) -> u64 {
        self.0
    }

    /// When it was added last, in nanoseconds of uptime.
    #[inline(always)]
    pub(crate) const fn stamp(self) -> u64 {
        self.0 >> STAMP_SHIFT
    }

    #[inline(always)]
    pub(crate) const fn is_linked(self) -> bool {
        self.0 & LINKED != 0
    }

    pub(crate) const fn is_running(self) -> bool {
        self.0 & RUNNING != 0
    }

    pub(crate) const fn is_moved(self) -> bool {
        self.0 & MOVED != 0
    }

    pub(crate) const fn is_draining(self) -> bool {
        self.0 & DRAIN != 0
    }

    /// Its action executes, or whoever waits for that is still to be told: no other one begins before, or
    /// the wait for one would end the wait for the next.
    pub(crate) const fn is_busy(self) -> bool {
        self.0 & (RUNNING | DRAIN) != 0
    }

    #[inline(always)]
    pub(crate) const fn is_bound(self) -> bool {
        self.0 & BOUND != 0
    }

    pub(crate) const fn bound(self) -> Self {
        Self(self.0 | BOUND)
    }

    /// Added again while linked. An older time changes nothing: a timer never goes back.
    #[inline(always)]
    pub(crate) const fn refreshed(self, now: u64) -> Self {
        if now <= self.stamp() {
            return self;
        }
        self.at(now).with(MOVED)
    }

    /// Put into a queue.
    pub(crate) const fn linked(self, now: u64) -> Self {
        let again = self.stamp().saturating_add(1);
        let stamp = if now > again { now } else { again };
        self.at(stamp).with(LINKED).without(MOVED)
    }

    /// Put where its stamp says.
    pub(crate) const fn placed(self) -> Self {
        self.without(MOVED)
    }

    /// To be looked at again later, in a queue that could not run it.
    pub(crate) const fn postponed(self, stamp: u64) -> Self {
        let later = self.stamp().saturating_add(1);
        self.at(if stamp > later { stamp } else { later })
            .without(MOVED)
    }

    /// Taken out of its queue.
    pub(crate) const fn unlinked(self) -> Self {
        self.without(LINKED | MOVED)
    }

    /// Nothing is in the way of its action: it is due where its stamp is not later than `last`.
    #[inline(always)]
    pub(crate) const fn is_ripe(self, last: u64) -> bool {
        self.0 & (RUNNING | DRAIN | MOVED) == 0 && self.stamp() <= last
    }

    /// The same if it was not refreshed.
    #[inline(always)]
    pub(crate) const fn unmoved(self) -> Self {
        self.without(MOVED)
    }

    /// Taken out of its queue, for its action to execute.
    #[inline(always)]
    pub(crate) const fn begun(self) -> Self {
        self.unlinked().with(RUNNING)
    }

    /// What is subtracted from one that runs when its action has returned.
    pub(crate) const END: u64 = RUNNING;

    /// Whoever has waited for an action to return is told.
    pub(crate) const fn drained(self) -> Self {
        self.without(DRAIN)
    }

    /// Its action has returned.
    pub(crate) const fn ended(self) -> Self {
        self.without(RUNNING | DRAIN)
    }

    /// Somebody waits for its action to return.
    pub(crate) const fn draining(self) -> Self {
        self.with(DRAIN)
    }

    #[inline(always)]
    const fn at(self, stamp: u64) -> Self {
        let stamp = if stamp > LAST_STAMP {
            LAST_STAMP
        } else {
            stamp
        };
        Self((self.0 & ((1 << STAMP_SHIFT) - 1)) | (stamp << STAMP_SHIFT))
    }

    const fn with(self, bits: u64) -> Self {
        Self(self.0 | bits)
    }

    const fn without(self, bits: u64) -> Self {
        Self(self.0 & !bits)
    }
}

/// When a timer of this stamp is due.
pub(crate) fn due(stamp: u64, timeout: Delta) -> Instant {
    let stamp = i64::try_from(stamp).unwrap_or(i64::MAX);
    Instant::from_nanos(stamp) + timeout
}

/// The last stamp that is due at `now_ns`; `None`: none is.
pub(crate) fn last_due(now_ns: i64, timeout: Delta) -> Option<u64> {
    let last = now_ns.checked_sub(timeout.as_nanos())?;
    u64::try_from(last).ok()
}

/// The timeout `seconds` stand for; `None`: a queue cannot have it. Too many saturate: never.
pub(crate) const fn timeout_of(timeout: Delta) -> Option<Delta> {
    if timeout.as_nanos() < 0 {
        None
    } else {
        Some(timeout)
    }
}

const DIGIT_BITS: u32 = 4;
const DIGITS: usize = 1 << DIGIT_BITS;
const LEVELS: usize = 15;
/// Buckets of [`Places`].
pub(crate) const BUCKETS: usize = LEVELS * DIGITS;

/// Where the refreshed timers of a queue are: buckets by stamp, relative to the smallest stamp there can
/// be. A stamp's level is that of the highest 4-bit digit in which it differs from `floor`, its bucket
/// that digit. Everything on a lower level comes before everything on a higher one, so the next bucket
/// is the first in use on the lowest level in use.
///
/// A timer is put here once in a timeout at most, however often it is refreshed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Places {
    used: [u16; LEVELS],
    /// Levels with a bucket in use.
    levels: u16,
    floor: u64,
}

/// One bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bucket {
    index: u8,
    /// No stamp in it is smaller.
    pub(crate) start: u64,
}

impl Bucket {
    /// Its number, less than [`BUCKETS`].
    pub(crate) const fn index(self) -> usize {
        self.index as usize
    }

    /// All in it have one stamp.
    pub(crate) const fn is_exact(self) -> bool {
        (self.index as usize) < DIGITS
    }
}

impl Places {
    pub(crate) const NONE: Self = Self {
        used: [0; LEVELS],
        levels: 0,
        floor: 0,
    };

    /// The bucket of `stamp`, which is in use from now on.
    pub(crate) fn put(&mut self, stamp: u64) -> usize {
        // What is older than what came out already is next.
        let stamp = stamp.clamp(self.floor, LAST_STAMP);
        let differ = (stamp ^ self.floor) | 1;
        let level = ((63 - differ.leading_zeros()) / DIGIT_BITS) as usize;
        let digit = (stamp >> (level as u32 * DIGIT_BITS)) as usize % DIGITS;
        if let Some(used) = self.used.get_mut(level) {
            *used |= 1 << digit;
            self.levels |= 1 << level;
        }
        level * DIGITS + digit
    }

    /// A bucket was found empty.
    pub(crate) fn clear(&mut self, bucket: Bucket) {
        let level = bucket.index() / DIGITS;
        if let Some(used) = self.used.get_mut(level) {
            *used &= !(1 << (bucket.index() % DIGITS));
            if *used == 0 {
                self.levels &= !(1 << level);
            }
        }
    }

    /// The next bucket in use.
    #[inline(always)]
    pub(crate) fn next(&self) -> Option<Bucket> {
        if self.levels == 0 {
            return None;
        }
        let level = self.levels.trailing_zeros() as usize;
        let digit = self.used.get(level)?.trailing_zeros();
        let shift = level as u32 * DIGIT_BITS;
        let above = shift + DIGIT_BITS;
        let start = ((self.floor >> above) << above) | (u64::from(digit) << shift);
        Some(Bucket {
            index: (level * DIGITS) as u8 | digit as u8,
            start,
        })
    }

    /// Nothing smaller than the beginning of `bucket` comes any more.
    pub(crate) fn reach(&mut self, bucket: Bucket) {
        self.floor = self.floor.max(bucket.start);
    }

    /// No bucket is in use.
    #[inline(always)]
    pub(crate) fn is_empty(&self) -> bool {
        self.levels == 0
    }
}

/// How long a pass may go on: not quite a millisecond, or so many actions. The clock is read the less often the
/// less the actions take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Slice {
    end_ns: i64,
    read_ns: i64,
    /// Actions between two readings of the clock, and until the next one.
    every: u32,
    left: u32,
    /// Actions allowed so far.
    allowed: u32,
}

impl Slice {
    /// The longest a pass takes, but for what lies between two readings of the clock: together less than a
    /// millisecond where actions take about as long as those before, and so is the walk of the wheel that the pass
    /// is a callback of.
    pub(crate) const LONGEST_NS: i64 = 900_000;
    /// The most actions of a pass.
    pub(crate) const MOST: u32 = 8_192;
    const MOST_UNREAD: u32 = 64;
    /// What may pass between two readings.
    const UNREAD_NS: i64 = Self::LONGEST_NS / 32;

    /// A pass that begins at `now_ns`, as part of what has begun at `began_ns`.
    pub(crate) fn new(began_ns: i64, now_ns: i64) -> Self {
        Self {
            end_ns: began_ns.saturating_add(Self::LONGEST_NS),
            read_ns: now_ns,
            every: 1,
            left: 1,
            allowed: 1,
        }
    }

    /// How many actions may run before this is asked again.
    #[inline(always)]
    pub(crate) fn room(&self) -> u32 {
        self.left
    }

    /// So many actions have run: whether another one may, by a clock that is read where needed.
    #[inline(always)]
    pub(crate) fn goes_on(&mut self, ran: u32, clock: impl FnOnce() -> i64) -> bool {
        self.left = self.left.saturating_sub(ran);
        if self.left > 0 {
            return true;
        }
        self.look(clock())
    }

    /// Whether to go on, at `now_ns`.
    fn look(&mut self, now_ns: i64) -> bool {
        let took = now_ns.saturating_sub(self.read_ns);
        self.read_ns = now_ns;
        self.every = if took < Self::UNREAD_NS {
            self.every.saturating_mul(2).min(Self::MOST_UNREAD)
        } else {
            (self.every / 2).max(1)
        };
        self.left = self.every.min(Self::MOST.saturating_sub(self.allowed));
        self.allowed = self.allowed.saturating_add(self.left);
        now_ns < self.end_ns && self.left > 0
    }
}
