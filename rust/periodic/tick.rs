// SPDX-License-Identifier: GPL-2.0

//! What a periodic's callback is told, and what it may ask for.

use super::checked;
use crate::{
    beats::{Beat, Begun},
    policy::{
        deadline::{Delta, Instant},
        grid::Period,
    },
    sys::context::Task,
};
use core::marker::PhantomData;
use kernel::prelude::*;

/// What a callback wants: what it returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// To be called again at the next point. A callback that returns nothing wants this.
    Repeat,
    /// Not to be called any more: the periodic is over.
    Stop,
}

impl From<()> for Then {
    fn from((): ()) -> Self {
        Self::Repeat
    }
}

/// What a change of the period did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Changed {
    /// The new period counts from this point: the next one, or that of the run in progress.
    From(Instant),
    /// Nothing: the periodic is over.
    Over,
}

/// Gives a periodic another period.
#[inline(never)]
pub(super) fn change(beat: &Beat, period: Delta) -> Result<Changed> {
    let period = checked(beat.name.as_str(), Period::new(period), period)?;
    Ok(beat.change(period).map_or(Changed::Over, Changed::From))
}

/// One run of a periodic's callback.
pub struct Tick<'a, C> {
    beat: &'a Beat,
    begun: Begun,
    context: PhantomData<C>,
}

impl<'a, C> Tick<'a, C> {
    pub(super) fn new(beat: &'a Beat, begun: Begun) -> Self {
        Self {
            beat,
            begun,
            context: PhantomData,
        }
    }

    /// The point of this run: the last one that had come when it began.
    pub fn due(&self) -> Instant {
        self.begun.due
    }

    /// When the run began.
    pub fn began(&self) -> Instant {
        self.begun.began
    }

    /// How long after its point the run began; less than a period.
    pub fn lateness(&self) -> Delta {
        self.begun.began.since(self.begun.due)
    }

    /// How many points were missed since the run before.
    pub fn missed(&self) -> u64 {
        self.begun.missed
    }

    /// Which point this is, counted from 1: of the runs and the missed points, the how manieth.
    pub fn number(&self) -> u64 {
        self.begun.number
    }

    /// From one point to the next.
    pub fn period(&self) -> Delta {
        self.beat.now().period.as_delta()
    }

    /// Gives the periodic another period, counted from the point of this run. Never blocks.
    ///
    /// # Errors
    ///
    /// `EINVAL`: zero or less. `ERANGE`: below 100 us or above 146 years. Nothing was changed.
    pub fn change(&self, period: Delta) -> Result<Changed> {
        change(self.beat, period)
    }
}

impl Tick<'_, Task> {
    /// Proof that this callback may sleep, for calls that block.
    pub fn task(&self) -> Task {
        Task::by_contract()
    }
}
