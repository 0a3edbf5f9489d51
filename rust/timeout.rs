// SPDX-License-Identifier: GPL-2.0

//! `timeout(9)` and `untimeout(9)`: for porting old code line by line. New code wants
//! [`Callout`].
//!
//! A [`Table`] has a fixed number of slots, made in advance, as the BSDs had. [`Table::timeout`] takes
//! one and calls a function with an argument when the time has come; [`Table::untimeout`] takes that
//! back.
//!
//! | `timeout(9)` | here |
//! |---|---|
//! | `timeout(f, arg, ticks)` | [`Table::timeout`] |
//! | `untimeout(f, arg, handle)` | [`Table::untimeout`] |
//! | `callout_handle_init`, `CALLOUT_HANDLE_INITIALIZER` | [`Handle::INITIALIZER`] |
//! | `struct callout_handle` | [`Handle`] |
//! | a full table panics | `ENOSPC` |
//! | a stale handle hits whoever has the slot now | [`Untimeout::Stale`] |
//! | Giant is held around the function | [`Table::with_giant`] |
//!
//! # Examples
//!
//! ```
//! use softclock::timeout::{Handle, Table};
//!
//! fn mydev_poll(unit: usize) {
//!     pr_info!("mydev{}: polled\n", unit);
//! }
//!
//! # let unit = 0;
//! let table = Table::new(softclock::owner!(), c"mydev", 16)?;
//! // struct callout_handle h = CALLOUT_HANDLE_INITIALIZER(&h);
//! let mut h = Handle::INITIALIZER;
//! // h = timeout(mydev_poll, sc, hz / 10);
//! h = table.timeout(mydev_poll, unit, table.hz() / 10)?;
//! // untimeout(mydev_poll, sc, h);
//! table.untimeout(mydev_poll, unit, h);
//! ```

use crate::{
    callout::{Callout, CalloutOf, OnExpire},
    context::Expiry,
    policy::{
        deadline::{Delta, Instant},
        life::{Arm, Next},
    },
    sys::{
        context::{Runner, Task},
        lock::RawLock,
        module::Owner,
        target::Timed, //
    },
    Hub,
};
use kernel::{
    prelude::*,
    static_lock_class,
    sync::{
        atomic::{Atomic, Relaxed},
        Arc,
        ArcBorrow,
        Mutex, //
    },
};

/// A function that a timeout calls, in task context, with the argument it was given.
pub type Func = fn(usize);

/// Names one timeout; for ever, also when its slot is used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Handle {
    /// 0: of none.
    table: u32,
    slot: u32,
    turn: u64,
}

impl Handle {
    /// Names no timeout. `CALLOUT_HANDLE_INITIALIZER`.
    pub const INITIALIZER: Self = Self {
        table: 0,
        slot: 0,
        turn: 0,
    };
}

/// What an untimeout found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Untimeout {
    /// The function will not be called.
    Cancelled,
    /// The function has been called, or is about to be, or was cancelled before.
    Stale,
    /// The handle is that of another function or argument, of another table, or the initialiser:
    /// nothing was done.
    Mismatch,
}

/// Timeouts.
///
/// Dropping it waits for nothing: a function that executes ends in its own time, and no other is
/// called.
pub struct Table {
    id: u32,
    /// Whose functions it calls.
    owner: Owner,
    slots: KVec<Arc<Timed<Slot>>>,
    /// Where to look for a free slot next.
    next: Atomic<usize>,
    hz: u32,
}

struct State {
    /// Counts the uses of the slot.
    turn: u64,
    call: Option<(Func, usize)>,
    due: Instant,
    /// Who executes the function.
    busy: Option<Runner>,
}

#[pin_data]
struct Slot {
    #[pin]
    callout: Callout<Self, Task>,
    #[pin]
    state: RawLock<State>,
    giant: Option<Giant>,
}

crate::impl_has_callout! { impl HasCallout<Task> for Slot { self.callout } }

impl OnExpire<Task> for Slot {
    fn expire(this: ArcBorrow<'_, Timed<Self>>, _run: &Expiry<'_, Task>) -> Next {
        let (func, arg) = {
            let mut state = this.state.lock();
            if crate::now() < state.due {
                // Taken back in the last moment, and the slot has a call again that is not due.
                return Next::At(state.due);
            }
            // From here on the handle is stale.
            let Some(call) = state.call.take() else {
                return Next::Stop;
            };
            state.busy = Some(Runner::current());
            call
        };
        {
            let _giant = this.giant.as_ref().map(|giant| giant.lock());
            func(arg);
        }
        this.state.lock().busy = None;
        Next::Stop
    }
}

/// The lock that old code is called under, all of it.
pub type Giant = Arc<Mutex<()>>;

/// Giant. Any context but NMI; never blocks, as long as nobody locks it. A callout of one's own follows the Giant rule by keeping this in its object, and naming it as
/// its lock: `impl HasLock<Locked<Task>>`.
///
/// # Errors
///
/// `ENODEV` while softclock itself is loading or leaving.
#[inline(never)]
pub fn giant() -> Result<Giant> {
    Ok(Hub::get()?.giant().clone())
}

/// How often a second BSD's clock ticks, unless somebody says otherwise.
pub const HZ: u32 = 100;

impl Table {
    /// A table of `slots` timeouts with ticks of a 100th of a second. Task context; may block.
    ///
    /// # Errors
    ///
    /// `EINVAL`: no slots, or more than 65536. Those of [`Callout::new`].
    pub fn new(owner: Owner, name: &'static CStr, slots: usize) -> Result<Self> {
        Self::make(owner, name, slots, None)
    }

    /// As [`new`](Self::new); functions are called with Giant held, one at a time in the whole kernel.
    ///
    /// # Errors
    ///
    /// As for [`new`](Self::new).
    pub fn with_giant(owner: Owner, name: &'static CStr, slots: usize) -> Result<Self> {
        Self::make(owner, name, slots, Some(giant()?))
    }

    /// The same table with another clock: `hz` ticks a second, at least 1. Any context; never blocks.
    #[must_use]
    pub fn ticking(mut self, hz: u32) -> Self {
        self.hz = hz.max(1);
        self
    }

    /// Ticks in a second. Any context; never blocks.
    pub fn hz(&self) -> i64 {
        i64::from(self.hz)
    }

    fn make(owner: Owner, name: &'static CStr, count: usize, giant: Option<Giant>) -> Result<Self> {
        if !(1..=MOST_SLOTS).contains(&count) {
            pr_err!(
                "timeout table {}: {} slots; 1 to {} are allowed\n",
                name,
                count,
                MOST_SLOTS
            );
            return Err(EINVAL);
        }
        let mut slots = KVec::with_capacity(count, GFP_KERNEL)?;
        for _ in 0..count {
            let giant = giant.clone();
            let slot = Timed::new(try_pin_init!(Slot {
                // It calls what `timeout` has let in.
                callout <- Callout::ours(owner, name),
                state <- RawLock::new(
                    State {
                        turn: 0,
                        call: None,
                        due: Instant::BOOT,
                        busy: None,
                    },
                    c"softclock_timeout",
                    static_lock_class!(),
                ),
                giant,
            }))?;
            slots.push(slot, GFP_KERNEL)?;
        }
        Ok(Self {
            id: TABLES.fetch_add(1, Relaxed),
            owner,
            slots,
            next: Atomic::new(0),
            hz: HZ,
        })
    }

    /// Calls `func(arg)` once, in task context, `ticks` ticks from now; zero and negative mean one tick.
    /// Any context but NMI; never blocks.
    ///
    /// # Errors
    ///
    /// `ENOSPC`: all slots are in use; that of a function which executes is, but not for itself: it may always
    /// name its successor. `EINVAL`: `func` is not part of the module that owns the table,
    /// and may be gone before it is called. `ENODEV`: that module is leaving.
    pub fn timeout(&self, func: Func, arg: usize, ticks: i64) -> Result<Handle> {
        if !self.owner.contains(func as usize) {
            complain();
            return Err(EINVAL);
        }
        let due = crate::now() + self.span(ticks);
        // A function's own slot is the last resort: what is in there waits until the function returns.
        for own in [None, Some(Runner::current())] {
            for (index, slot) in self.around() {
                let Some(turn) = take(slot, (func, arg), due, own) else {
                    continue;
                };
                if let Arm::Refused(_) = slot.callout::<Task>().arm_at(due) {
                    slot.state.lock().call = None;
                    return Err(ENODEV);
                }
                return Ok(Handle {
                    table: self.id,
                    slot: index as u32,
                    turn,
                });
            }
        }
        Err(ENOSPC)
    }

    /// All slots, from the one after the last that was taken.
    fn around(&self) -> impl Iterator<Item = (usize, &Arc<Timed<Slot>>)> {
        let first = self.next.fetch_add(1, Relaxed);
        let split = first.checked_rem(self.slots.len()).unwrap_or(0);
        let halves = self.slots.split_at_checked(split);
        let (before, after) = halves.unwrap_or((&[], &self.slots));
        let (before, after) = (before.iter().enumerate(), after.iter().enumerate());
        let after = after.map(move |(index, slot)| (index + split, slot));
        Iterator::chain(after, before)
    }

    /// Takes a timeout back, if it is the one that `func`, `arg` and `handle` name together, and is still
    /// to come. Any context but NMI; never blocks.
    pub fn untimeout(&self, func: Func, arg: usize, handle: Handle) -> Untimeout {
        let slot = match self.slots.get(handle.slot as usize) {
            Some(slot) if handle.table == self.id => slot,
            _ => return Untimeout::Mismatch,
        };
        let mut state = slot.state.lock();
        match state.call {
            None => Untimeout::Stale,
            Some(_) if handle.turn != state.turn => Untimeout::Stale,
            Some((f, a)) if f as usize != func as usize || a != arg => Untimeout::Mismatch,
            Some(_) => {
                state.call = None;
                slot.callout.stop();
                Untimeout::Cancelled
            }
        }
    }

    fn span(&self, ticks: i64) -> Delta {
        // Not zero: `ticking` sees to that, but not where the compiler could.
        let tick = NSEC_PER_SEC.checked_div(self.hz()).unwrap_or(NSEC_PER_SEC);
        Delta::from_nanos(ticks.max(1).saturating_mul(tick))
    }
}

/// The number of the next table.
static TABLES: Atomic<u32> = Atomic::new(1);

const NSEC_PER_SEC: i64 = 1_000_000_000;

/// The most slots of a table.
const MOST_SLOTS: usize = 1 << 16;

#[cold]
#[inline(never)]
fn complain() {
    pr_err!("a timeout's function is not part of the module that owns its table\n");
}

/// Takes a slot for a call, if it is free, or if `own` is who executes its function.
fn take(slot: &Slot, call: (Func, usize), due: Instant, own: Option<Runner>) -> Option<u64> {
    let mut state = slot.state.lock();
    if state.busy != own && state.busy.is_some() || state.call.is_some() {
        return None;
    }
    state.turn = state.turn.saturating_add(1);
    state.call = Some(call);
    state.due = due;
    Some(state.turn)
}
