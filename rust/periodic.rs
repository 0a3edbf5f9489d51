// SPDX-License-Identifier: GPL-2.0

//! Periodics: call a function at regular times, until it is let go. `ddi_periodic_add(9F)`.
//!
//! # Vocabulary
//!
//! A periodic has a *grid* of deadlines, its *points*: `start + n * period`, exactly, for ever. Its
//! callback runs once for a point. A point that has passed before a run could begin, because the one
//! before took too long or the machine stood still, is *missed*: it is counted and the callback is told,
//! and nothing makes up for it. A periodic runs from when it is made until it is *over*: deleted, stopped,
//! dropped, or ended by what its callback returned.
//!
//! # Guarantees
//!
//! - Drift is exactly 0: no deadline is derived from when a callback ran. The number of a run's point is
//!   the number of runs so far and of points missed so far, together.
//! - The callback never runs before its point, and never twice at once, so it may be an `FnMut`.
//! - No burst: after a stall of a thousand periods it runs once, and is told of 999. Time spent in suspend
//!   does not count (`CLOCK_MONOTONIC`), and the phase is the same after it.
//! - A slow callback in a worker delays no other periodic's. (A thousand that block at once do: that is how
//!   many workers the kernel has for one queue.) In softirq and hard interrupt context it delays what else is due
//!   on its CPU.
//! - [`delete`](Periodic::delete) waits for a callback in progress, for each of those who call it; after
//!   it nothing runs. In the own callback it is an error, and the current run is the last.
//! - Dropping a [`Periodic`] never waits, and works wherever memory can be freed, the own callback
//!   included. What the callback has captured is dropped when the run in progress is over.
//! - A driver can be unloaded at any time. What it leaked is ended, and named in the log.
//! - There is no limit to their number. To make one allocates; nothing else does. To delete one takes
//!   the same time however many there are.
//!
//! # How exact, and at what cost
//!
//! | periodic | callback in | late by, on an idle CPU | illumos level |
//! |---|---|---|---|
//! | `Periodic<Task>` | a worker thread, may sleep | some microseconds | 0 |
//! | `Periodic<Soft>` | softirq | a microsecond or two | 1 to 10: Linux has one level |
//! | `Periodic<Hard>` | hard interrupt | a microsecond | none |
//! | [`Periodic<Coarse<Soft>>`](Coarse), [`Coarse<Task>`](Coarse) | as above | up to 65.5 us more | none |
//!
//! Each has a timer of the kernel, but for the coarse ones: these share their CPU's timer wheel, and one
//! wake-up with whatever else is due within the same 65.5 us. So thousands that run together, as those do
//! that are [`aligned`](Rate::aligned), cost a fraction; one that runs alone costs a little more.
//!
//! # The first run
//!
//! | rate | first run |
//! |---|---|
//! | a [`Delta`], [`Rate::every`] | one full period after it is made |
//! | [`Rate::aligned`] | at the next multiple of the period since boot, so within one period; all with the same period run together |
//! | [`Rate::spread`] | within one period; a thousand equal ones are spread evenly over it |
//! | [`Rate::illumos`] | as `aligned`, and the period is rounded up to a multiple of 10 ms |
//!
//! # illumos names
//!
//! | `ddi_periodic_add(9F)`, `ddi_periodic_delete(9F)` | here |
//! |---|---|
//! | both, for porting line by line | [`ddi::Table`] |
//! | `func`, `arg` | a closure and what it captures |
//! | `interval` | a [`Rate`] |
//! | `level` | a type: see above |
//! | `ddi_periodic_t` | [`Periodic`], which owns it |
//! | a skipped tick leaves no trace | [`Tick::missed`] |
//! | delete in the own callback panics | [`CannotWait::Deadlock`], or [`Then::Stop`] |
//!
//! # Examples
//!
//! ```
//! use softclock::prelude::*;
//!
//! # struct Port;
//! # impl Port { fn take_activity(&self) -> bool { true } }
//! # let port = Port;
//! let mut silent = 0;
//! let watchdog = Periodic::<Task>::new(
//!     softclock::owner!(),
//!     c"watchdog",
//!     Delta::from_millis(250),
//!     move |tick| {
//!         silent = if port.take_activity() { 0 } else { silent + 1 + tick.missed() };
//!         if silent >= 4 {
//!             pr_warn!("no sign of life for a second\n");
//!         }
//!     },
//! )?;
//! ```

pub mod ddi;
mod player;
mod tick;

#[doc(hidden)]
pub use self::player::{Call, Making, Player};
pub use self::tick::{Changed, Then, Tick};

use crate::{
    callout::CalloutOf,
    context::{Hard, Kind, Precise, Soft, Unlocked},
    policy::{
        deadline::{Delta, Instant},
        grid::{BadPeriod, Period},
        life::{CannotWait, Drain, Stop},
    },
    sys::{
        context::Task,
        module::Owner,
        target::Timed, //
    },
};
use core::{any::TypeId, marker::PhantomData};
use kernel::{prelude::*, sync::Arc};

mod sealed {
    pub trait Sealed {}
}

/// Where a periodic's callback executes, and how exact it is: [`Task`], [`Soft`], [`Hard`], or
/// [`Coarse`] of the first two. These are all there are.
pub trait Mode: sealed::Sealed + Sized + 'static {
    /// The callout it stands on.
    type Kind: Unlocked;

    /// It has a timer of its own.
    #[doc(hidden)]
    const EXACT: bool;

    #[doc(hidden)]
    fn make(making: Making, call: Call<ContextOf<Self>>) -> Result<Arc<Timed<Player<Self>>>>;
}

/// The context of a mode.
pub type ContextOf<M> = <<M as Mode>::Kind as Kind>::Context;

/// A periodic in context `C` on its CPU's timer wheel: up to 65.5 us later than the others, never earlier,
/// and without a timer of its own. Its grid is as exact.
///
/// # Examples
///
/// ```
/// # struct Table;
/// # impl Table { fn age(&self) {} }
/// # let table = Table;
/// let aging = Periodic::<Coarse<Soft>>::new(softclock::owner!(), c"aging",
///     Rate::every(Delta::from_secs(1)).spread(), move |_| table.age())?;
/// ```
pub struct Coarse<C>(PhantomData<C>);

macro_rules! modes {
    ($($mode:ty: $kind:ty, exact: $exact:literal;)*) => {$(
        impl sealed::Sealed for $mode {}

        impl Mode for $mode {
            type Kind = $kind;
            const EXACT: bool = $exact;

            // Compiled here, and not in each client.
            #[inline(never)]
            fn make(making: Making, call: Call<ContextOf<Self>>) -> Result<Arc<Timed<Player<Self>>>> {
                Player::make(making, call)
            }
        }
    )*};
}

modes! {
    Task: Precise<Task>, exact: true;
    Soft: Precise<Soft>, exact: true;
    Hard: Hard, exact: true;
    Coarse<Task>: Task, exact: false;
    Coarse<Soft>: Soft, exact: false;
}

/// How often, and from when on. A [`Delta`] is one too: [`Rate::every`].
#[derive(Clone, Copy, Debug)]
pub struct Rate {
    period: Delta,
    first: First,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum First {
    Full,
    Aligned,
    Spread,
    Illumos,
}

impl Rate {
    /// Every `period`, 100 us to 146 years, to the nanosecond; the first time one period after the
    /// periodic is made.
    pub const fn every(period: Delta) -> Self {
        Self {
            period,
            first: First::Full,
        }
    }

    /// As `ddi_periodic_add(9F)` does it: the period is rounded up to a multiple of 10 ms (which is said
    /// in the log where it was shorter than that), the first run is at the next multiple of it since boot.
    pub const fn illumos(interval: Delta) -> Self {
        Self {
            period: interval,
            first: First::Illumos,
        }
    }

    /// At the multiples of the period since boot, from the next one on.
    #[must_use]
    pub const fn aligned(mut self) -> Self {
        if !self.is_strict() {
            self.first = First::Aligned;
        }
        self
    }

    /// At a phase of its own, so that many periodics of one period do not run all at once. Those made one
    /// after the other are spread evenly.
    #[must_use]
    pub const fn spread(mut self) -> Self {
        if !self.is_strict() {
            self.first = First::Spread;
        }
        self
    }

    const fn is_strict(self) -> bool {
        matches!(self.first, First::Illumos)
    }

    fn period(self) -> Result<Period, BadPeriod> {
        if self.is_strict() {
            Period::rounded(self.period)
        } else {
            Period::new(self.period)
        }
    }
}

impl From<Delta> for Rate {
    fn from(period: Delta) -> Self {
        Self::every(period)
    }
}

/// The period `span`, for the periodic `name`.
fn checked(name: &str, period: Result<Period, BadPeriod>, span: Delta) -> Result<Period> {
    period.map_err(|bad| {
        pr_err!(
            "periodic {}: its period of {} ns {}; 100 us to 146 years are allowed\n",
            name,
            span.as_nanos(),
            bad.what(),
        );
        match bad {
            BadPeriod::NotPositive => EINVAL,
            BadPeriod::TooShort | BadPeriod::TooLong => ERANGE,
        }
    })
}

/// A function that is called at regular times until this is dropped.
///
/// See the [module's](self) documentation for what is guaranteed, and for an example.
pub struct Periodic<M: Mode> {
    player: Arc<Timed<Player<M>>>,
}

impl<M: Mode> Periodic<M> {
    /// Calls `call` at the points of `rate`, from now on. It is an `FnMut(&Tick)` that returns nothing, or
    /// a [`Then`]. Task context; may block (`GFP_KERNEL`).
    ///
    /// `owner` is [`owner!()`](crate::owner); `name` is what debugfs and the log show, one word of at
    /// most 31 bytes.
    ///
    /// # Errors
    ///
    /// All but the last are told in the log as well; nothing is left of the attempt.
    ///
    /// - `EINVAL`: a bad name; a period of zero or less; or the callback is not part of the owner's module.
    /// - `ERANGE`: a period below 100 us or above 146 years.
    /// - `EWOULDBLOCK` (`EAGAIN`): this context may not block. `ENOMEM`. `ENODEV`: the owner's module is
    ///   being unloaded.
    pub fn new<F, R>(
        owner: Owner,
        name: &'static CStr,
        rate: impl Into<Rate>,
        call: F,
    ) -> Result<Self>
    where
        F: FnMut(&Tick<'_, ContextOf<M>>) -> R + Send + 'static,
        R: Into<Then>,
    {
        // Compiled where the callback is.
        let code = mark::<F> as fn() -> TypeId;
        let making = Making::new(owner, name, rate.into(), code as usize)?;
        let mut call = call;
        let call: Call<ContextOf<M>> = KBox::new(
            move |tick: &Tick<'_, ContextOf<M>>| call(tick).into(),
            GFP_KERNEL,
        )?;
        Self::play(making, call)
    }

    /// Starts it.
    fn play(making: Making, call: Call<ContextOf<M>>) -> Result<Self> {
        let player = M::make(making, call)?;
        let first = player.beat.now().due;
        player.callout::<M::Kind>().arm_at(first);
        Ok(Self { player })
    }

    /// Ends it and waits for a run in progress: when this returns, nothing of it runs, and nothing will.
    /// Several may call this at once, and all wait. Task context; blocks for the rest of the callback.
    /// `ddi_periodic_delete(9F)`.
    ///
    /// Hold no lock that the callback takes: kernels with lockdep report that, others say in the log that this
    /// has been waiting for long. What the callback has captured stays until this is dropped.
    ///
    /// # Errors
    ///
    /// [`CannotWait`]: in the own callback, where callbacks would wait for each other in a circle, and where
    /// sleeping has become wrong. It is ended all the same: a run in progress is the last.
    pub fn delete(&self, task: &Task) -> Result<Drain, CannotWait> {
        let was_over = self.player.beat.stop();
        self.player.beat.may_wait();
        match self.player.callout.shutdown(task) {
            // The run that the stop has met is over already.
            Ok(Drain::Idle) if !was_over => Ok(Drain::Finished),
            answer => answer,
        }
    }

    /// Ends it without waiting: after [`Stop::Running`] the run in progress is the last, otherwise nothing
    /// runs any more. Any context but NMI; never blocks; also in the own callback.
    pub fn stop(&self) -> Stop {
        let was_over = self.player.beat.stop();
        match self.player.callout.stop() {
            // As above.
            Stop::Idle if !was_over => Stop::Running,
            answer => answer,
        }
    }

    /// Gives it another period, from the next point on: that one stands, or, while the callback runs, the
    /// one of this run. Any context but NMI; never blocks; also in the own callback, which has
    /// [`Tick::change`] as well.
    ///
    /// # Errors
    ///
    /// As for the period in [`new`](Self::new); nothing was changed.
    pub fn change(&self, period: Delta) -> Result<Changed> {
        tick::change(&self.player.beat, period)
    }

    /// From one point to the next. Any context but NMI.
    pub fn period(&self) -> Delta {
        self.player.beat.now().period.as_delta()
    }

    /// The point it waits for, or the one it runs for; `None` when it is over. Any context but NMI.
    pub fn due(&self) -> Option<Instant> {
        let now = self.player.beat.now();
        (!now.over).then_some(now.due)
    }

    /// What it has done so far. Any context but NMI.
    pub fn counts(&self) -> Counts {
        let counts = self.player.beat.now().counts;
        Counts {
            fired: counts.fired,
            missed: counts.missed,
            late_max: Delta::from_nanos(counts.late_max_ns),
            run_last: Delta::from_nanos(counts.last_run_ns),
            run_max: Delta::from_nanos(counts.max_run_ns),
        }
    }

    /// The number debugfs shows for it; never used twice while softclock is loaded.
    pub fn id(&self) -> u64 {
        self.player.beat.id
    }
}

/// What a periodic has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counts {
    /// Runs begun.
    pub fired: u64,
    /// Points that were missed.
    pub missed: u64,
    /// The longest time from a point to the begin of its run.
    pub late_max: Delta,
    /// How long the last run that has ended took, and the longest one.
    pub run_last: Delta,
    /// See `run_last`.
    pub run_max: Delta,
}

/// Something that is compiled into the same module as `F`, and is another thing for each `F`.
fn mark<F: 'static>() -> TypeId {
    TypeId::of::<F>()
}

/// The same, of a callback.
fn mark_of<F: 'static>(_: &F) -> fn() -> TypeId {
    mark::<F>
}
