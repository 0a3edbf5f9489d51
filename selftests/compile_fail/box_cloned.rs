// SPDX-License-Identifier: GPL-2.0

//! A box has one owner: it cannot be cloned.
// error: E0599.*no method named .clone. found for struct .softclock::TimedBox<
// cure: s/object\.clone()/object/

use softclock::prelude::*;

#[pin_data]
struct Object {
    #[pin]
    timer: Callout<Self, Soft>,
}

impl_has_callout! { impl HasCallout<Soft> for Object { self.timer } }

/// Holds it.
pub struct Holder(TimedBox<Object>);

/// Makes a second one.
pub fn second(Holder(object): Holder) -> Holder {
    Holder(object.clone())
}
