// SPDX-License-Identifier: GPL-2.0

//! A callback executes where its type says: nobody can say one and do the other.
// expect: the trait bound .Liar: (softclock::)?context::sealed::Sealed. is not satisfied

use softclock::{context::Place, prelude::*, Kind};

struct Liar;

impl Kind for Liar {
    type Context = Task;
    const PLACE: Place = Place::Soft;
}
