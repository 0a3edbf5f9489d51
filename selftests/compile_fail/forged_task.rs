// SPDX-License-Identifier: GPL-2.0

//! The proof cannot be made up.
// expect: cannot (initialize a tuple struct which contains private fields|call .* private)|E0423

use softclock::prelude::*;

/// Forges it.
pub fn forge() -> Task {
    Task(core::marker::PhantomData)
}
