// SPDX-License-Identifier: GPL-2.0

//! Where callbacks execute, as types.

use crate::{
    engine::Engine,
    inflight::Precisely,
    policy::deadline::{Delta, Instant},
    sys::{
        context::Task,
        firing::Firing,
        wheel::{Entry, Worked}, //
    },
};
use core::marker::PhantomData;

pub use crate::policy::place::Place;

mod sealed {
    pub trait Sealed {}
}

/// A context callbacks execute in: [`Hard`], [`Soft`] or [`Task`].
pub trait Context: sealed::Sealed + 'static {
    /// The same, as a value.
    #[doc(hidden)]
    const PLACE: Place;
}

/// Hard interrupt context: within a microsecond or two of the deadline, and with interrupts off. For
/// work of a few hundred instructions that takes no lock but [`HardLock`](crate::HardLock).
/// `C_DIRECT_EXEC` of `callout(9)`.
pub enum Hard {}

/// Softirq context: prompt, and may not sleep. The default for short work.
///
/// On PREEMPT_RT it is a thread per CPU of the lowest real-time priority.
pub enum Soft {}

impl sealed::Sealed for Hard {}
impl sealed::Sealed for Soft {}
impl sealed::Sealed for Task {}

impl Context for Hard {
    const PLACE: Place = Place::Hard;
}

impl Context for Soft {
    const PLACE: Place = Place::Soft;
}

impl Context for Task {
    const PLACE: Place = Place::Task;
}

/// What a callout is: where its callback executes, how exact it is, which lock it takes, and, where an
/// object has several alike, which of them.
///
/// | kind | callback in | granularity | costs |
/// |---|---|---|---|
/// | [`Soft`] | softirq | 65.5 us | 64 bytes |
/// | [`Task`] | a worker thread | 65.5 us | 96 bytes, and a thread's time |
/// | [`Precise<Soft>`](Precise), [`Precise<Task>`](Precise) | as above | 1 ns | a timer of the kernel |
/// | [`Hard`] | hard interrupt | 1 ns | a timer of the kernel |
/// | [`Locked<K>`](crate::Locked), [`Locked<K, Shared>`](Shared) | as `K`, with the object's lock held | as `K` | as `K` |
/// | [`Nth<K, N>`](Nth) | as `K` | as `K` | as `K` |
///
/// These are all there are.
pub trait Kind: sealed::Sealed + 'static {
    /// Where the callback executes.
    type Context: Context;
    /// What the callout stands on.
    #[doc(hidden)]
    type Engine: Engine;
    /// The context, as a value.
    #[doc(hidden)]
    const PLACE: Place = <Self::Context as Context>::PLACE;
}

/// The kinds whose callback takes no lock before it begins: all but [`Locked`].
pub trait Unlocked: Kind {}

impl Unlocked for Hard {}
impl Unlocked for Soft {}
impl Unlocked for Task {}
impl<C: Context> Unlocked for Precise<C> {}
impl<K: Unlocked, const N: usize> Unlocked for Nth<K, N> {}

impl Kind for Hard {
    type Context = Self;
    type Engine = Precisely;
}

impl Kind for Soft {
    type Context = Self;
    type Engine = Entry;
}

impl Kind for Task {
    type Context = Self;
    type Engine = Worked;
}

/// A callout in context `C` with a timer of its own: exact to the microsecond or two that an interrupt
/// takes. Arming and stopping costs several times what it costs on the wheel, and grows with the number
/// of such timers: at most thousands. [`Plan::on`](crate::Plan::on) can name only the CPU that arms.
///
/// # Examples
///
/// ```
/// #[pin_data]
/// struct Generator {
///     #[pin]
///     pulse: Callout<Self, Precise<Soft>>,
/// }
/// ```
pub struct Precise<C>(PhantomData<C>);

impl<C: Context> sealed::Sealed for Precise<C> {}

impl<C: Context> Kind for Precise<C> {
    type Context = C;
    type Engine = Precisely;
}

/// Callout number `N` of an object that has several of kind `K`.
///
/// # Examples
///
/// ```
/// type Transmit = Nth<Soft, 1>;
/// type Receive = Nth<Soft, 2>;
///
/// #[pin_data]
/// struct Port {
///     #[pin]
///     transmit: Callout<Self, Transmit>,
///     #[pin]
///     receive: Callout<Self, Receive>,
/// }
/// ```
pub struct Nth<K, const N: usize>(PhantomData<K>);

impl<K: Unlocked, const N: usize> sealed::Sealed for Nth<K, N> {}

impl<K: Unlocked, const N: usize> Kind for Nth<K, N> {
    type Context = K::Context;
    type Engine = K::Engine;
}

/// A callout of kind `K` whose callback runs with a lock of the object held, which makes
/// a stop under it exact. `callout_init_mtx(9)`; see
/// [`OnExpireLocked`](crate::OnExpireLocked).
///
/// `M` is how the callback has the lock: [`Exclusive`], or [`Shared`] with other readers.
pub struct Locked<K, M = Exclusive>(PhantomData<(K, M)>);

/// How a callback has its lock: [`Exclusive`] or [`Shared`].
pub trait Mode: sealed::Sealed + 'static {}

/// The callback has its lock for itself; a reader/writer lock as a writer. `callout_init_mtx(9)`,
/// `callout_init_rw(9)`.
pub enum Exclusive {}

/// The callback has its reader/writer lock as a reader, beside others: see
/// [`OnExpireShared`](crate::OnExpireShared). `CALLOUT_SHAREDLOCK` of `callout(9)`.
pub enum Shared {}

impl sealed::Sealed for Exclusive {}
impl sealed::Sealed for Shared {}

impl Mode for Exclusive {}
impl Mode for Shared {}

impl<K: Unlocked, M: Mode> sealed::Sealed for Locked<K, M> {}

impl<K: Unlocked, M: Mode> Kind for Locked<K, M> {
    type Context = K::Context;
    type Engine = K::Engine;
}

/// One run of a callback: what it may ask, and what it may do.
pub struct Expiry<'a, C> {
    firing: &'a Firing<'a>,
    context: PhantomData<C>,
}

impl<'a, C: Context> Expiry<'a, C> {
    pub(crate) fn new(firing: &'a Firing<'a>) -> Self {
        Self {
            firing,
            context: PhantomData,
        }
    }

    /// The deadline of this run: what it was armed for last, or what the callback returned last.
    ///
    /// Of a callout on the wheel ([`Kind`]) it can be another one's, though the run is that of the arm which won:
    /// where two CPUs arm it at the same moment, or one does while the callback returns another deadline. Then it
    /// may be the loser's.
    pub fn due(&self) -> Instant {
        self.firing.due
    }

    /// When the callback was called: more exactly, when it asked this first, or for the
    /// [`lateness`](Self::lateness). A callback that asks neither pays for no clock. Never blocks, as all here.
    pub fn began(&self) -> Instant {
        self.firing.began()
    }

    /// How long after the deadline the callback was called. Not negative, unless [`due`](Self::due) is that of a
    /// later arm which lost.
    pub fn lateness(&self) -> Delta {
        self.firing.began().since(self.firing.due)
    }
}

impl Expiry<'_, Task> {
    /// Proof that this callback may sleep, for calls that block.
    pub fn task(&self) -> Task {
        Task::by_contract()
    }
}
