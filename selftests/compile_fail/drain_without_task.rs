// SPDX-License-Identifier: GPL-2.0

//! Waiting wants proof that this context may sleep.
// error: E0061.*this method takes 1 argument but 0 arguments were supplied
// cure: s/drain();/drain(\&Task::new()?);/; s/Object2) {/Object2) -> Result {/; s/^    let _ = .*/&\n    Ok(())/

use softclock::prelude::*;

#[pin_data]
struct Object {
    #[pin]
    timer: Callout<Self, Soft>,
    count: u64,
}

/// Drains.
pub fn drain(object: &Object2) {
    let _ = object.0.timer.drain();
}

/// Holds it.
pub struct Object2(Arc<Timed<Object>>);
