// SPDX-License-Identifier: GPL-2.0

//! A callback executes where its type says: nobody can say one and do the other.
// error: E0277.*the trait bound .Liar: (softclock::)?context::sealed::Sealed. is not satisfied
// cure: s/^impl Kind/trait Kindly { type Context; type Engine; const PLACE: Place; }\nimpl Kindly/

use softclock::{context::Place, prelude::*, Kind};

struct Liar;

impl Kind for Liar {
    type Context = Task;
    type Engine = <Task as softclock::Kind>::Engine;
    const PLACE: Place = Place::Soft;
}
