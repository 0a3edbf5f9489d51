// SPDX-License-Identifier: GPL-2.0

//! The protocol of wheel entries: arming, stopping, draining and expiring at the same time.
//!
//! This file is compiled twice, into the kernel module and into a model checker that runs it in
//! every interleaving (`selftests/loom`): the checked text is the shipped text.
//!
//! # Ground rules
//!
//! 1. A word changes by compare-exchange only, also under a lock.
//! 2. *Value bits* (armed, granule, shut, drain, ...) change by anyone. *Structure* (the place, and
//!    the base of a linked entry) changes by its owner only: of a linked entry, whoever has locked its
//!    base; of a held one (queued, running), the one thread that holds it. An idle entry becomes
//!    linked by whoever has locked the base and wins the exchange.
//! 3. While a lock is held or an entry is held, its structure is frozen, and its value bits are not.
//! 4. To link: first the word, then the node. To unlink: first the node, then the word; where the
//!    entry is held then, in any order. Both under the lock of the base.
//! 5. A bucket's granule is never after that of an entry in it: a visit may come too soon, and then
//!    the entry is put where its word says; it never comes too late.
//! 6. Who holds an entry has a reference to its object; a linked entry has none, and its object's
//!    drop takes it off the wheel. So an object is never dropped while its entry is held.
//! 7. After the exchange that ends holding, the former holder touches the entry only under the
//!    reference it still has; after giving that up, not at all.
//!
//! # Memory order
//!
//! The winning exchange is `AcqRel`, a failed one `Acquire`, and so is the load that decides "nothing
//! to do" or "it is over". An arm that changes nothing in the word must exchange it all the same: that
//! is what publishes the caller's data to the callback. A stop that finds nothing is only a load: to
//! exclude arms for good is what [`shut`] is for.

#![forbid(unsafe_code)]

use super::{
    life::{Arm, Refusal, Stop},
    word::{Place, Word, LAST_GRANULE},
};

/// How strong a load is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Load {
    /// Of a value that an exchange will confirm.
    Relaxed,
    /// Of a value that decides.
    Acquire,
}

/// What the protocol runs on: the kernel's memory, locks and lists, or a model of them.
pub(crate) trait Machine {
    /// Names an entry. The caller keeps its memory valid.
    type Entry: Copy;
    /// A base that is locked, until this is dropped.
    type Locked<'a>
    where
        Self: 'a;

    /// Reads the word of an entry.
    fn load(&self, entry: Self::Entry, how: Load) -> Word;

    /// Replaces the word, if it still is `old`: `AcqRel`, or `Acquire` and the present word.
    fn exchange(&self, entry: Self::Entry, old: Word, new: Word) -> Result<(), Word>;

    /// The base of this CPU, where one is as good as another.
    fn here(&self) -> usize;

    /// The first granule that no walk, and no worker, has come to yet.
    fn ahead(&self) -> u64;

    /// Locks a base.
    fn lock(&self, base: usize) -> Self::Locked<'_>;

    /// The granule a base has visited last: nothing is linked there, or before.
    fn visited(&self, base: &Self::Locked<'_>) -> u64;

    /// Puts the node on the base's wheel for `granule`, and sees to it that the base is woken for it.
    fn link(&self, base: &mut Self::Locked<'_>, entry: Self::Entry, granule: u64);

    /// Takes the node off the base's wheel.
    fn unlink(&self, base: &mut Self::Locked<'_>, entry: Self::Entry);

    /// Takes a reference to the entry's object, unless the last one is gone.
    fn get(&self, entry: Self::Entry) -> bool;
}

/// What became of an entry that a walk visited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Visit {
    /// The caller holds it now, and a reference to its object.
    Held,
    /// It is linked still, in another bucket.
    Moved,
    /// It is on no list, and owes nothing.
    Dropped,
}

/// How a drain goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Drained {
    /// It is over. What was owed is cancelled.
    Cancelled,
    /// It is over: there was nothing to cancel.
    Idle,
    /// The callback is executing: wait while [`is_waited_for`].
    Wait,
    /// The callback is executing, and is the caller.
    Own,
}

/// Arms an entry for `granule`; `on` is the base to put it on, where the caller minds.
///
/// Lock-free unless the entry is idle, or linked for a later granule or on another base than `on`.
pub(crate) fn arm<M: Machine>(m: &M, entry: M::Entry, granule: u64, on: Option<usize>) -> Arm {
    let quick = match on {
        None => arm_quickly(m, entry, granule),
        Some(_) => None,
    };
    quick.unwrap_or_else(|| arm_slowly(m, entry, granule, on))
}

/// The most frequent case of [`arm`], small enough to be part of the caller: the entry is linked, and
/// stays where it is. `None`: it is another case.
#[inline(always)]
pub(crate) fn arm_quickly<M: Machine>(m: &M, entry: M::Entry, granule: u64) -> Option<Arm> {
    let mut old = m.load(entry, Load::Relaxed);
    while old.can_stay(granule) {
        match m.exchange(entry, old, old.armed(granule)) {
            Ok(()) => return Some(answer(old)),
            Err(now) => old = now,
        }
    }
    None
}

/// As [`arm`], for all that needs more than one exchange.
#[inline(always)]
pub(crate) fn arm_slowly<M: Machine>(
    m: &M,
    entry: M::Entry,
    granule: u64,
    on: Option<usize>,
) -> Arm {
    loop {
        let seen = m.load(entry, Load::Relaxed);
        if seen.refuses_arms() {
            return Arm::Refused(why(seen));
        }
        let done = match seen.place() {
            Place::Idle => {
                let base = on.unwrap_or_else(|| m.here());
                arm_idle(m, entry, granule, base)
            }
            Place::Linked => match on {
                Some(to) if to != seen.base() => arm_moving(m, entry, granule, seen.base(), to),
                _ => arm_linked(m, entry, granule, seen.base()),
            },
            Place::Queued | Place::Running => arm_held(m, entry, seen, granule, on),
        };
        if let Some(answer) = done {
            return answer;
        }
        // Somebody was faster: look again.
    }
}

/// First arm: links the entry.
#[inline(always)]
fn arm_idle<M: Machine>(m: &M, entry: M::Entry, granule: u64, base: usize) -> Option<Arm> {
    let mut locked = m.lock(base);
    let granule = granule.max(m.visited(&locked).wrapping_add(1));
    let mut old = m.load(entry, Load::Relaxed);
    loop {
        if old.refuses_arms() || old.place() != Place::Idle {
            return None;
        }
        let new = old.armed(granule).with_base(base).linked();
        match m.exchange(entry, old, new) {
            Ok(()) => break,
            Err(now) => old = now,
        }
    }
    m.link(&mut locked, entry, granule);
    Some(Arm::New)
}

/// Sooner: the entry changes its bucket, on the base it is on.
#[inline(always)]
fn arm_linked<M: Machine>(m: &M, entry: M::Entry, granule: u64, base: usize) -> Option<Arm> {
    let mut locked = m.lock(base);
    let granule = granule.max(m.visited(&locked).wrapping_add(1));
    let mut old = m.load(entry, Load::Relaxed);
    loop {
        if old.refuses_arms() || !old.is_on(base) {
            return None;
        }
        match m.exchange(entry, old, old.armed(granule)) {
            Ok(()) => break,
            Err(now) => old = now,
        }
    }
    if granule < old.granule() {
        m.unlink(&mut locked, entry);
        m.link(&mut locked, entry, granule);
    }
    Some(answer(old))
}

/// To another base: takes the entry off this one, holds it on the way, and lets it go there. What
/// happens to it meanwhile counts, as for any held entry.
fn arm_moving<M: Machine>(
    m: &M,
    entry: M::Entry,
    granule: u64,
    from: usize,
    to: usize,
) -> Option<Arm> {
    let mut locked = m.lock(from);
    let mut old = m.load(entry, Load::Relaxed);
    if old.refuses_arms() || !old.is_on(from) {
        return None;
    }
    m.unlink(&mut locked, entry);
    loop {
        // Shut down since: the node is in our hand already.
        let new = if old.refuses_arms() {
            old.idle()
        } else {
            old.armed(granule).with_base(to).queued()
        };
        match m.exchange(entry, old, new) {
            Ok(()) => break,
            Err(now) => old = now,
        }
    }
    drop(locked);
    if old.refuses_arms() {
        return Some(Arm::Refused(why(old)));
    }
    let_go(m, entry, None);
    Some(answer(old))
}

/// Whoever holds the entry will see to it when letting go.
fn arm_held<M: Machine>(
    m: &M,
    entry: M::Entry,
    seen: Word,
    granule: u64,
    on: Option<usize>,
) -> Option<Arm> {
    let base = on.unwrap_or(seen.base());
    let granule = put_off(m, seen, granule, base);
    let new = seen.armed(granule).with_base(base);
    m.exchange(entry, seen, new).ok().map(|()| answer(seen))
}

/// The granule for an entry that is held, and goes to `base` then.
///
/// A run that is due when its turn comes begins where its holder is. So what goes to another base is put
/// off until nobody takes it for due, and an earlier deadline does not undo that.
#[inline(always)]
pub(crate) fn put_off<M: Machine>(m: &M, seen: Word, granule: u64, base: usize) -> u64 {
    if seen.is_running() {
        granule
    } else if base != seen.base() {
        granule.max(m.ahead())
    } else if granule < seen.granule() {
        granule.max(seen.granule().min(m.ahead()))
    } else {
        granule
    }
}

/// What an arm that replaced `old` has done.
const fn answer(old: Word) -> Arm {
    if old.is_armed() {
        Arm::Replaced
    } else {
        Arm::New
    }
}

const fn why(word: Word) -> Refusal {
    if word.is_shut() {
        Refusal::Shutdown
    } else {
        Refusal::Draining
    }
}

/// Cancels what is owed. `own` tells whether the caller is the entry's own callback; it is asked
/// only while a callback is executing. Lock-free.
#[allow(
    dead_code,
    reason = "the model checker calls it; the kernel calls its two parts"
)]
pub(crate) fn stop<M: Machine>(m: &M, entry: M::Entry, own: impl Fn() -> bool) -> Stop {
    stop_quickly(m, entry).unwrap_or_else(|| stop_slowly(m, entry, own))
}

/// The most frequent cases of [`stop`], small enough to be part of the caller: nobody holds the entry.
/// `None`: somebody does, or was faster.
#[inline(always)]
pub(crate) fn stop_quickly<M: Machine>(m: &M, entry: M::Entry) -> Option<Stop> {
    let old = m.load(entry, Load::Acquire);
    if old.is_quiet() {
        return Some(Stop::Idle);
    }
    if old.is_held() || m.exchange(entry, old, old.stopped(true)).is_err() {
        return None;
    }
    Some(if old.is_armed() {
        Stop::Cancelled
    } else {
        Stop::Idle
    })
}

/// As [`stop`], in every case.
pub(crate) fn stop_slowly<M: Machine>(m: &M, entry: M::Entry, own: impl Fn() -> bool) -> Stop {
    let mut old = m.load(entry, Load::Acquire);
    loop {
        let own = old.is_running() && own();
        let new = old.stopped(own);
        if new == old && !old.is_running() {
            return Stop::Idle;
        }
        match m.exchange(entry, old, new) {
            Ok(()) => return met(old),
            Err(now) => old = now,
        }
    }
}

/// What a stop answers that replaced `old`.
pub(crate) const fn met(old: Word) -> Stop {
    if old.is_running() {
        Stop::Running
    } else if old.is_armed() {
        Stop::Cancelled
    } else {
        Stop::Idle
    }
}

/// Forgets that it was armed; the run that is owed stays so. Lock-free.
pub(crate) fn deactivate<M: Machine>(m: &M, entry: M::Entry) {
    let mut old = m.load(entry, Load::Relaxed);
    while old.is_active() {
        match m.exchange(entry, old, old.deactivated()) {
            Ok(()) => return,
            Err(now) => old = now,
        }
    }
}

/// Refuses every later arm, and stops it; answers as [`stop`] does. Lock-free.
pub(crate) fn shut<M: Machine>(m: &M, entry: M::Entry) -> Stop {
    let mut old = m.load(entry, Load::Relaxed);
    loop {
        match m.exchange(entry, old, old.shut()) {
            Ok(()) => return met(old),
            Err(now) => old = now,
        }
    }
}

/// Cancels what is owed, takes the entry off the wheel, and says whether a run is to be waited for.
pub(crate) fn drain<M: Machine>(m: &M, entry: M::Entry, own: impl Fn() -> bool) -> Drained {
    drain_quickly(m, entry).unwrap_or_else(|| drain_slowly(m, entry, own, Word::drained))
}

/// As [`drain`], and the caller does not wait: [`let_go`] says that the end of the run is to be told.
pub(crate) fn report<M: Machine>(m: &M, entry: M::Entry) -> Drained {
    // By the own callback as by any other: its run is marked, which its end looks at.
    drain_quickly(m, entry).unwrap_or_else(|| drain_slowly(m, entry, || false, Word::reported))
}

/// The most frequent case of [`drain`]: the entry is on a wheel, and comes off. `None`: it is another case.
#[inline(always)]
pub(crate) fn drain_quickly<M: Machine>(m: &M, entry: M::Entry) -> Option<Drained> {
    let old = m.load(entry, Load::Acquire);
    if old.place() != Place::Linked {
        return None;
    }
    let was = take_off(m, entry, old)?;
    Some(if was.is_armed() {
        Drained::Cancelled
    } else {
        Drained::Idle
    })
}

/// As [`drain`], in every case; `mark` is what becomes of the word.
#[inline(never)]
pub(crate) fn drain_slowly<M: Machine>(
    m: &M,
    entry: M::Entry,
    own: impl Fn() -> bool,
    mark: fn(Word) -> Word,
) -> Drained {
    let mut answer = Drained::Idle;
    let mut old = m.load(entry, Load::Acquire);
    loop {
        let own = old.is_running() && own();
        let new = if own { old.stopped(true) } else { mark(old) };
        if new != old {
            match m.exchange(entry, old, new) {
                Ok(()) => {
                    if old.is_armed() && !old.is_running() {
                        answer = Drained::Cancelled;
                    }
                    old = new;
                }
                Err(now) => {
                    old = now;
                    continue;
                }
            }
        }
        match old.place() {
            Place::Linked => match take_off(m, entry, old) {
                Some(was) if was.is_armed() => return Drained::Cancelled,
                Some(_) => return answer,
                None => old = m.load(entry, Load::Acquire),
            },
            Place::Running if own => return Drained::Own,
            Place::Running => return Drained::Wait,
            // Whoever has it queued will find that nothing is owed.
            Place::Queued | Place::Idle => return answer,
        }
    }
}

/// Takes an entry off the wheel it was linked on when its word was `seen`, if it still is; gives what it
/// was.
#[inline(always)]
fn take_off<M: Machine>(m: &M, entry: M::Entry, seen: Word) -> Option<Word> {
    let mut locked = m.lock(seen.base());
    let mut old = m.load(entry, Load::Relaxed);
    if !old.sits_with(seen) {
        return None;
    }
    m.unlink(&mut locked, entry);
    loop {
        match m.exchange(entry, old, old.drained().idle()) {
            Ok(()) => return Some(old),
            Err(now) => old = now,
        }
    }
}

/// The run that a drain found has not ended.
pub(crate) fn is_waited_for<M: Machine>(m: &M, entry: M::Entry) -> bool {
    let now = m.load(entry, Load::Acquire);
    now.is_running() && now.is_draining()
}

/// Takes an entry off the wheel for good. Only where no reference to its object is left (rule 6).
pub(crate) fn retire<M: Machine>(m: &M, entry: M::Entry) {
    loop {
        let now = m.load(entry, Load::Acquire);
        if now.place() != Place::Linked {
            return;
        }
        take_off(m, entry, now);
    }
}

/// The walk of a base has come to an entry of the bucket for `granule`, and this is the most frequent
/// case of [`visit`]: the caller holds the entry, and unlinks it before it unlocks the base. `false`: it
/// is another case.
#[inline(always)]
pub(crate) fn take<M: Machine>(m: &M, entry: M::Entry, granule: u64) -> bool {
    let old = m.load(entry, Load::Relaxed);
    // The reference first: a linked entry's memory is there as long as its base is locked.
    let taken = old.is_due(granule) && m.get(entry);
    if taken {
        queue(m, entry, old);
    }
    taken
}

/// The walk of a base has come to an entry of the bucket for `granule`. Whether the callback begins,
/// [`begin`] decides later: when the base is unlocked, and the entry has its lock or worker.
#[inline(always)]
pub(crate) fn visit<M: Machine>(
    m: &M,
    locked: &mut M::Locked<'_>,
    entry: M::Entry,
    granule: u64,
) -> Visit {
    m.unlink(locked, entry);
    let mut old = m.load(entry, Load::Relaxed);
    loop {
        if old.is_armed() && old.granule() > granule {
            m.link(locked, entry, old.granule());
            return Visit::Moved;
        }
        if old.is_armed() && m.get(entry) {
            queue(m, entry, old);
            return Visit::Held;
        }
        match m.exchange(entry, old, old.idle()) {
            Ok(()) => return Visit::Dropped,
            Err(now) => old = now,
        }
    }
}

/// Holds an entry that was linked. What becomes of its run meanwhile, [`begin`] sees.
#[inline(always)]
fn queue<M: Machine>(m: &M, entry: M::Entry, old: Word) {
    if let Err(now) = m.exchange(entry, old, old.queued()) {
        queue_again(m, entry, now);
    }
}

/// The rest of [`queue`], where somebody was faster.
#[cold]
fn queue_again<M: Machine>(m: &M, entry: M::Entry, mut old: Word) {
    while let Err(now) = m.exchange(entry, old, old.queued()) {
        old = now;
    }
}

/// A queued entry's turn has come, `now` being the present granule; what it arms for itself goes to the
/// base `here`, where that is not the one it was on. `None`: it is not to run, and the holder lets it go.
/// Else the word it has now, for [`let_go`].
#[inline(always)]
pub(crate) fn begin<M: Machine>(
    m: &M,
    entry: M::Entry,
    now: u64,
    here: Option<usize>,
) -> Option<Word> {
    let old = m.load(entry, Load::Relaxed);
    let new = began(old, now, here)?;
    match m.exchange(entry, old, new) {
        Ok(()) => Some(new),
        Err(old) => begin_again(m, entry, now, here, old),
    }
}

/// What becomes of a queued entry whose turn has come, if it is to run.
#[inline(always)]
fn began(old: Word, now: u64, here: Option<usize>) -> Option<Word> {
    if !old.is_due(now) {
        return None;
    }
    let new = old.running();
    Some(here.map_or(new, |base| new.with_base(base)))
}

/// The rest of [`begin`], where somebody was faster.
#[cold]
fn begin_again<M: Machine>(
    m: &M,
    entry: M::Entry,
    now: u64,
    here: Option<usize>,
    mut old: Word,
) -> Option<Word> {
    loop {
        let new = began(old, now, here)?;
        match m.exchange(entry, old, new) {
            Ok(()) => return Some(new),
            Err(word) => old = word,
        }
    }
}

/// The most frequent case of [`let_go`]: nothing has happened to the entry in its run, and what the
/// callback has returned arms nothing. `began` is what [`begin`] has answered. `false`: it is another case.
#[inline(always)]
pub(crate) fn let_go_quickly<M: Machine>(m: &M, entry: M::Entry, began: Word) -> bool {
    // It was armed when the run began, so it refused nothing; it does not now, so nobody waits.
    m.exchange(entry, began, began.idle()).is_ok()
}

/// Lets a held entry go: onto a wheel where it owes a run, or would by `next`, the granule the
/// callback asks for. Gives what it was where somebody may wait for that.
#[inline(always)]
pub(crate) fn let_go<M: Machine>(m: &M, entry: M::Entry, next: Option<u64>) -> Option<Word> {
    let mut old = m.load(entry, Load::Relaxed);
    loop {
        if old.is_armed() || (next.is_some() && old.takes_next()) {
            match put_on(m, entry, old.base(), next) {
                Ok(()) => return None,
                Err(now) => old = now,
            }
        } else {
            match m.exchange(entry, old, old.idle()) {
                Ok(()) => return old.refuses_arms().then_some(old),
                Err(now) => old = now,
            }
        }
    }
}

/// Puts a held entry on the wheel of `base`, unless it is to go elsewhere, or nowhere, by now.
fn put_on<M: Machine>(m: &M, entry: M::Entry, base: usize, next: Option<u64>) -> Result<(), Word> {
    let mut locked = m.lock(base);
    let mut old = m.load(entry, Load::Relaxed);
    loop {
        // Armed already is not armed again: it may have been deactivated since.
        let wanted = match next {
            _ if old.is_armed() => old,
            Some(granule) if old.takes_next() => old.armed(granule),
            _ => return Err(old),
        };
        if old.base() != base {
            return Err(old);
        }
        let granule = wanted
            .granule()
            .max(m.visited(&locked).wrapping_add(1))
            .min(LAST_GRANULE);
        match m.exchange(entry, old, wanted.at(granule).linked()) {
            Ok(()) => {
                m.link(&mut locked, entry, granule);
                return Ok(());
            }
            Err(now) => old = now,
        }
    }
}
