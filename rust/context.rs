// SPDX-License-Identifier: GPL-2.0

//! Where callbacks execute, as types.

use crate::{
    inflight::Firing,
    policy::deadline::{Delta, Instant},
    sys::context::Task,
};
use core::marker::PhantomData;

pub use crate::inflight::Place;

mod sealed {
    pub trait Sealed {}
}

/// A context callbacks execute in: [`Soft`] or [`Task`].
pub trait Context: sealed::Sealed + 'static {
    /// The same, as a value.
    #[doc(hidden)]
    const PLACE: Place;
}

/// Softirq context: prompt, and may not sleep. The default for short work.
///
/// On PREEMPT_RT it is a thread per CPU of the lowest real-time priority.
pub enum Soft {}

impl sealed::Sealed for Soft {}
impl sealed::Sealed for Task {}

impl Context for Soft {
    const PLACE: Place = Place::Soft;
}

impl Context for Task {
    const PLACE: Place = Place::Task;
}

/// Tells the callouts of one object apart: by their context, and by a number where several have the
/// same. [`Soft`], [`Task`] and [`Nth`] of them are all there are.
pub trait Kind: sealed::Sealed + 'static {
    /// Where the callback executes.
    type Context: Context;
    /// The same, as a value.
    #[doc(hidden)]
    const PLACE: Place = <Self::Context as Context>::PLACE;
}

impl Kind for Soft {
    type Context = Self;
}

impl Kind for Task {
    type Context = Self;
}

/// Callout number `N` of an object that has several in context `C`.
///
/// # Examples
///
/// ```ignore
/// type Transmit = Nth<Soft, 1>;
/// type Receive = Nth<Soft, 2>;
/// ```
pub struct Nth<C, const N: usize>(PhantomData<C>);

impl<C: Context, const N: usize> sealed::Sealed for Nth<C, N> {}

impl<C: Context, const N: usize> Kind for Nth<C, N> {
    type Context = C;
}

/// One run of a callback: what it may ask, and what it may do.
pub struct Expiry<'a, C> {
    firing: Firing,
    context: PhantomData<(&'a (), C)>,
}

impl<C: Context> Expiry<'_, C> {
    pub(crate) fn new(firing: Firing) -> Self {
        Self {
            firing,
            context: PhantomData,
        }
    }

    /// The deadline of this run.
    pub fn due(&self) -> Instant {
        self.firing.due
    }

    /// When the callback was called.
    pub fn began(&self) -> Instant {
        self.firing.began
    }

    /// How long after the deadline the callback was called.
    pub fn lateness(&self) -> Delta {
        self.firing.began.since(self.firing.due)
    }
}

impl Expiry<'_, Task> {
    /// Proof that this callback may sleep, for calls that block.
    pub fn task(&self) -> Task {
        Task::by_contract()
    }
}
