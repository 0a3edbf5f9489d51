// SPDX-License-Identifier: GPL-2.0

//! Not even who believes to hold the last reference: a timer may take one at any moment.
// error: E0277.*.PhantomPinned. cannot be unpinned
// cure: s/unique.as_mut().get_mut();/let _ = unique.as_mut();/

use softclock::prelude::*;

#[pin_data]
struct Object {
    #[pin]
    timer: Callout<Self, Soft>,
    count: u64,
}

/// Writes.
pub fn write(object: Holder) {
    if let Some(mut unique) = Arc::into_unique_or_drop(object.0) {
        unique.as_mut().get_mut();
    }
}

/// Holds it.
pub struct Holder(Arc<Timed<Object>>);
