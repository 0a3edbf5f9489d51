// SPDX-License-Identifier: GPL-2.0

//! The state of one wheel entry, in one 64-bit word that changes by compare-exchange only.
//!
//! | bits | field | meaning |
//! |---|---|---|
//! | 0 | `ARMED` | a run is owed |
//! | 1-2 | place | who has the entry's node: see [`Place`] |
//! | 3 | `SHUT` | every arm is refused, for ever |
//! | 4 | `DRAIN` | somebody waits for this run to end: arms are refused until then |
//! | 5 | `NO_NEXT` | stopped from outside: what the callback returns does not arm |
//! | 6 | `ACTIVE` | armed, and neither stopped nor deactivated since (`callout_active(9)`) |
//! | 7-19 | base | the wheel the node is on, or is to be put on by whoever holds it |
//! | 20 | `REPORT` | with `DRAIN`: the end of this run is told by a call |
//! | 21-63 | granule | the first granule in which the callback may run |
//!
//! The granule is on top, so that *later* is one shift and compare. Every decision is a function of
//! the word and the word is compared whole, so a word that changed and changed back is the same
//! state: no generation is needed.

#![forbid(unsafe_code)]

const ARMED: u64 = 1 << 0;
const PLACE: u64 = 3 << 1;
const SHUT: u64 = 1 << 3;
const DRAIN: u64 = 1 << 4;
const NO_NEXT: u64 = 1 << 5;
const ACTIVE: u64 = 1 << 6;
const BASE_SHIFT: u32 = 7;
const BASE: u64 = 0x1fff << BASE_SHIFT;
const REPORT: u64 = 1 << 20;
const GRANULE_SHIFT: u32 = 21;
const BELOW_GRANULE: u64 = (1 << GRANULE_SHIFT) - 1;

/// The most wheels there can be.
pub(crate) const BASES: usize = 1 << 13;

/// What is said of the present run, and of no other.
const OF_RUN: u64 = DRAIN | NO_NEXT | REPORT;

/// The last granule: 18 years of uptime.
pub(crate) const LAST_GRANULE: u64 = u64::MAX >> GRANULE_SHIFT;

/// Who has an entry's node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Nobody: it is on no list.
    Idle,
    /// The wheel: it is on the list of one of its buckets, live or as a tombstone.
    Linked,
    /// One thread holds it, and the callback has not begun: an expiry on its way to its lock or
    /// worker, or a move between wheels.
    Queued,
    /// One thread holds it, and executes the callback.
    Running,
}

const IDLE: u64 = 0;
const LINKED: u64 = 1 << 1;
const QUEUED: u64 = 2 << 1;
const RUNNING: u64 = 3 << 1;
/// In both values of a held entry, and in no other.
const HELD: u64 = QUEUED & RUNNING;

/// A value of the word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Word(u64);

impl Word {
    /// Never armed.
    pub(crate) const NEW: Self = Self(IDLE);

    /// The word as it is in memory.
    pub(crate) const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// The bits to put into memory.
    pub(crate) const fn bits(self) -> u64 {
        self.0
    }

    pub(crate) const fn place(self) -> Place {
        match self.0 & PLACE {
            IDLE => Place::Idle,
            LINKED => Place::Linked,
            QUEUED => Place::Queued,
            _ => Place::Running,
        }
    }

    /// A run is owed.
    pub(crate) const fn is_armed(self) -> bool {
        self.0 & ARMED != 0
    }

    pub(crate) const fn is_shut(self) -> bool {
        self.0 & SHUT != 0
    }

    /// The end of the present run is waited for.
    pub(crate) const fn is_draining(self) -> bool {
        self.0 & DRAIN != 0
    }

    /// The end of the present run is told by a call.
    pub(crate) const fn is_reported(self) -> bool {
        self.0 & REPORT != 0
    }

    pub(crate) const fn is_active(self) -> bool {
        self.0 & ACTIVE != 0
    }

    pub(crate) const fn is_running(self) -> bool {
        self.0 & PLACE == RUNNING
    }

    /// One thread has the node: it alone changes the place.
    pub(crate) const fn is_held(self) -> bool {
        self.0 & HELD != 0
    }

    pub(crate) const fn refuses_arms(self) -> bool {
        self.0 & (SHUT | DRAIN) != 0
    }

    /// What the callback returns counts.
    pub(crate) const fn takes_next(self) -> bool {
        self.0 & (SHUT | DRAIN | NO_NEXT | ARMED) == 0
    }

    /// Nobody holds it, and a stop has nothing to change.
    pub(crate) const fn is_quiet(self) -> bool {
        self.0 & (ARMED | ACTIVE | HELD) == 0
    }

    pub(crate) const fn granule(self) -> u64 {
        self.0 >> GRANULE_SHIFT
    }

    pub(crate) const fn base(self) -> usize {
        ((self.0 & BASE) >> BASE_SHIFT) as usize
    }

    /// On the wheel of some base, and `granule` is not before the one it is there for: such an arm
    /// needs no lock.
    pub(crate) const fn can_stay(self, granule: u64) -> bool {
        (self.0 ^ LINKED) & (PLACE | SHUT | DRAIN) == 0 && granule >= self.granule()
    }

    /// Owes a run in `granule`, or before.
    #[inline(always)]
    pub(crate) const fn is_due(self, granule: u64) -> bool {
        // The granule is on top: whatever is below it makes no later word of it.
        self.is_armed() && self.0 <= (granule << GRANULE_SHIFT) | BELOW_GRANULE
    }

    /// In the same place as `other`, and of the same base.
    pub(crate) const fn sits_with(self, other: Self) -> bool {
        (self.0 ^ other.0) & (PLACE | BASE) == 0
    }

    /// On the wheel of `base`.
    pub(crate) const fn is_on(self, base: usize) -> bool {
        self.0 & PLACE == LINKED && self.base() == base
    }

    /// Owes a run in `granule`. Where somebody holds the node, an earlier stop no longer counts.
    #[must_use]
    pub(crate) const fn armed(self, granule: u64) -> Self {
        Self((granule << GRANULE_SHIFT) | (self.0 & BELOW_GRANULE & !NO_NEXT) | ARMED | ACTIVE)
    }

    /// Owes its run in `granule` instead.
    #[must_use]
    pub(crate) const fn at(self, granule: u64) -> Self {
        Self((granule << GRANULE_SHIFT) | (self.0 & BELOW_GRANULE))
    }

    /// Owes nothing; in the middle of a run, what that returns does not count either.
    #[must_use]
    pub(crate) const fn stopped(self, own: bool) -> Self {
        let bits = self.0 & !(ARMED | ACTIVE);
        if self.is_running() && !own {
            Self(bits | NO_NEXT)
        } else {
            Self(bits)
        }
    }

    /// Owes nothing, and refuses arms until the present run has ended, if there is one.
    #[must_use]
    pub(crate) const fn drained(self) -> Self {
        let bits = self.0 & !(ARMED | ACTIVE);
        if self.is_running() {
            Self(bits | DRAIN)
        } else {
            Self(bits)
        }
    }

    /// As [`drained`](Self::drained), by who is told of the end of the present run by a call.
    #[must_use]
    pub(crate) const fn reported(self) -> Self {
        let word = self.drained();
        if word.is_running() {
            Self(word.0 | REPORT)
        } else {
            word
        }
    }

    #[must_use]
    pub(crate) const fn shut(self) -> Self {
        Self((self.0 & !(ARMED | ACTIVE)) | SHUT)
    }

    #[must_use]
    pub(crate) const fn deactivated(self) -> Self {
        Self(self.0 & !ACTIVE)
    }

    #[must_use]
    pub(crate) const fn with_base(self, base: usize) -> Self {
        Self((self.0 & !BASE) | (((base as u64) << BASE_SHIFT) & BASE))
    }

    /// On its base's wheel.
    #[must_use]
    pub(crate) const fn linked(self) -> Self {
        Self((self.0 & !(PLACE | OF_RUN)) | LINKED)
    }

    /// Held by one thread, and not begun.
    #[must_use]
    pub(crate) const fn queued(self) -> Self {
        Self((self.0 & !PLACE) | QUEUED)
    }

    /// The run that was owed has begun.
    #[must_use]
    pub(crate) const fn running(self) -> Self {
        Self((self.0 & !(PLACE | ARMED)) | RUNNING)
    }

    /// Nobody has the node; a run in progress, and what waited for it, is over. It owes nothing.
    #[must_use]
    pub(crate) const fn idle(self) -> Self {
        Self((self.0 & !(PLACE | ARMED | OF_RUN)) | IDLE)
    }
}
