// SPDX-License-Identifier: GPL-2.0

//! The proof cannot be made up.
// error: E0423.*cannot initialize a tuple struct which contains private fields
// cure: s/-> Task/-> Result<Task>/; s/Task(core::marker::PhantomData)/Task::new()/

use softclock::prelude::*;

/// Forges it.
pub fn forge() -> Task {
    Task(core::marker::PhantomData)
}
