// SPDX-License-Identifier: GPL-2.0

//! The protocol of wheel entries once more, in the plainest way: one lock for all bases, and every
//! operation from its first look at the word to its last step under it.
//!
//! Nobody ships this. `SC_LOCKED=1 scripts/build` puts it in the place of [`protocol`](super::protocol),
//! and the selftests hold one against the other: what was answered and what ran must be the same
//! (`selftests/oracle.sh`). So nothing here looks at a word before it has the lock, and nothing is tried
//! again: under the lock there is nobody else.

#![forbid(unsafe_code)]

pub(crate) use super::protocol::{Drained, Load, Machine, Visit};

use super::{
    life::{Arm, Refusal, Stop},
    protocol::{met, put_off},
    word::{Place, Word, LAST_GRANULE},
};

/// A machine all of whose bases have the same lock.
pub(crate) trait OneLock: Machine {
    /// The lock that is held, as that of another base.
    fn turn<'a>(&'a self, locked: Self::Locked<'a>, base: usize) -> Self::Locked<'a>;
}

/// Locks everything; the base is that of the entry.
fn enter<M: OneLock>(m: &M, entry: M::Entry) -> (M::Locked<'_>, Word) {
    let locked = m.lock(m.here());
    let word = m.load(entry, Load::Relaxed);
    (m.turn(locked, word.base()), word)
}

/// Changes the word from what it is.
fn set<M: OneLock>(m: &M, entry: M::Entry, old: Word, new: Word) {
    assert!(
        m.exchange(entry, old, new).is_ok(),
        "softclock: a word was changed without the lock"
    );
}

/// Links an entry, as `word` says but not in the past.
fn link<'a, M: OneLock>(m: &'a M, locked: M::Locked<'a>, entry: M::Entry, old: Word, word: Word) {
    let mut locked = m.turn(locked, word.base());
    let soonest = m.visited(&locked).wrapping_add(1);
    let granule = word.granule().max(soonest).min(LAST_GRANULE);
    set(m, entry, old, word.at(granule).linked());
    m.link(&mut locked, entry, granule);
}

/// As [`protocol::arm`](super::protocol::arm).
pub(crate) fn arm<M: OneLock>(m: &M, entry: M::Entry, granule: u64, on: Option<usize>) -> Arm {
    let (mut locked, old) = enter(m, entry);
    if old.is_shut() {
        return Arm::Refused(Refusal::Shutdown);
    }
    if old.is_draining() {
        return Arm::Refused(Refusal::Draining);
    }
    let base = match (on, old.place()) {
        (Some(base), _) => base,
        (None, Place::Idle) => m.here(),
        (None, _) => old.base(),
    };
    let new = old.armed(granule).with_base(base);
    match old.place() {
        Place::Idle => link(m, locked, entry, old, new),
        // Later: it stays in its bucket, and goes on from there when that has come.
        Place::Linked if base == old.base() && granule >= old.granule() => set(m, entry, old, new),
        Place::Linked => {
            m.unlink(&mut locked, entry);
            link(m, locked, entry, old, new);
        }
        Place::Queued | Place::Running => {
            let granule = put_off(m, old, granule, base);
            set(m, entry, old, new.at(granule));
        }
    }
    if old.is_armed() {
        Arm::Replaced
    } else {
        Arm::New
    }
}

/// Never: see [`arm`].
pub(crate) fn arm_quickly<M: OneLock>(_: &M, _: M::Entry, _: u64) -> Option<Arm> {
    None
}

/// As [`arm`].
pub(crate) fn arm_slowly<M: OneLock>(
    m: &M,
    entry: M::Entry,
    granule: u64,
    on: Option<usize>,
) -> Arm {
    arm(m, entry, granule, on)
}

/// Never: see [`stop_slowly`].
pub(crate) fn stop_quickly<M: OneLock>(_: &M, _: M::Entry) -> Option<Stop> {
    None
}

/// As [`protocol::stop`](super::protocol::stop).
pub(crate) fn stop_slowly<M: OneLock>(m: &M, entry: M::Entry, own: impl Fn() -> bool) -> Stop {
    let (_locked, old) = enter(m, entry);
    set(m, entry, old, old.stopped(old.is_running() && own()));
    met(old)
}

/// As [`protocol::deactivate`](super::protocol::deactivate).
pub(crate) fn deactivate<M: OneLock>(m: &M, entry: M::Entry) {
    let (_locked, old) = enter(m, entry);
    set(m, entry, old, old.deactivated());
}

/// As [`protocol::shut`](super::protocol::shut).
pub(crate) fn shut<M: OneLock>(m: &M, entry: M::Entry) -> Stop {
    let (_locked, old) = enter(m, entry);
    set(m, entry, old, old.shut());
    met(old)
}

/// Never: see [`drain`].
pub(crate) fn drain_quickly<M: OneLock>(_: &M, _: M::Entry) -> Option<Drained> {
    None
}

/// As [`protocol::drain`](super::protocol::drain).
pub(crate) fn drain<M: OneLock>(m: &M, entry: M::Entry, own: impl Fn() -> bool) -> Drained {
    drain_by(m, entry, own, Word::drained)
}

/// As [`protocol::report`](super::protocol::report).
pub(crate) fn report<M: OneLock>(m: &M, entry: M::Entry) -> Drained {
    drain_by(m, entry, || false, Word::reported)
}

fn drain_by<M: OneLock>(
    m: &M,
    entry: M::Entry,
    own: impl Fn() -> bool,
    mark: fn(Word) -> Word,
) -> Drained {
    let (mut locked, old) = enter(m, entry);
    match old.place() {
        Place::Running if own() => {
            set(m, entry, old, old.stopped(true));
            return Drained::Own;
        }
        Place::Running => {
            set(m, entry, old, mark(old));
            return Drained::Wait;
        }
        Place::Linked => {
            m.unlink(&mut locked, entry);
            set(m, entry, old, old.drained().idle());
        }
        // Whoever has it queued will find that nothing is owed.
        Place::Queued | Place::Idle => set(m, entry, old, old.drained()),
    }
    if old.is_armed() {
        Drained::Cancelled
    } else {
        Drained::Idle
    }
}

/// As [`protocol::is_waited_for`](super::protocol::is_waited_for).
pub(crate) fn is_waited_for<M: OneLock>(m: &M, entry: M::Entry) -> bool {
    let (_locked, now) = enter(m, entry);
    now.is_running() && now.is_draining()
}

/// As [`protocol::retire`](super::protocol::retire).
pub(crate) fn retire<M: OneLock>(m: &M, entry: M::Entry) {
    let (mut locked, old) = enter(m, entry);
    if old.place() == Place::Linked {
        m.unlink(&mut locked, entry);
        set(m, entry, old, old.idle());
    }
}

/// As [`protocol::take`](super::protocol::take): the walk has the lock.
pub(crate) fn take<M: OneLock>(m: &M, entry: M::Entry, granule: u64) -> bool {
    let old = m.load(entry, Load::Relaxed);
    let taken = old.is_armed() && old.granule() <= granule && m.get(entry);
    if taken {
        set(m, entry, old, old.queued());
    }
    taken
}

/// As [`protocol::visit`](super::protocol::visit): the walk has the lock.
pub(crate) fn visit<M: OneLock>(
    m: &M,
    locked: &mut M::Locked<'_>,
    entry: M::Entry,
    granule: u64,
) -> Visit {
    let old = m.load(entry, Load::Relaxed);
    m.unlink(locked, entry);
    if old.is_armed() && old.granule() > granule {
        m.link(locked, entry, old.granule());
        return Visit::Moved;
    }
    if old.is_armed() && m.get(entry) {
        set(m, entry, old, old.queued());
        return Visit::Held;
    }
    set(m, entry, old, old.idle());
    Visit::Dropped
}

/// As [`protocol::begin`](super::protocol::begin).
pub(crate) fn begin<M: OneLock>(
    m: &M,
    entry: M::Entry,
    now: u64,
    here: Option<usize>,
) -> Option<Word> {
    let (_locked, old) = enter(m, entry);
    if !old.is_armed() || old.granule() > now {
        return None;
    }
    let new = old.running().with_base(here.unwrap_or(old.base()));
    set(m, entry, old, new);
    Some(new)
}

/// Never: see [`let_go`].
pub(crate) fn let_go_quickly<M: OneLock>(_: &M, _: M::Entry, _: Word) -> bool {
    false
}

/// As [`protocol::let_go`](super::protocol::let_go).
pub(crate) fn let_go<M: OneLock>(m: &M, entry: M::Entry, next: Option<u64>) -> Option<Word> {
    let (locked, old) = enter(m, entry);
    let owed = match next {
        // Armed already is not armed again: it may have been deactivated since.
        _ if old.is_armed() => old,
        Some(granule) if old.takes_next() => old.armed(granule),
        _ => {
            set(m, entry, old, old.idle());
            return (old.is_shut() || old.is_draining()).then_some(old);
        }
    };
    link(m, locked, entry, old, owed);
    None
}
