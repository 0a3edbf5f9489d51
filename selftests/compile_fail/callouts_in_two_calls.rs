// SPDX-License-Identifier: GPL-2.0

//! One call of the macro names all callouts of a type: none is left out when its box goes.
// error: E0119.*conflicting implementations of trait .HasCallouts. for type .Object.
// cure: /^} \/\/ Two/d; /^impl_has_callout! { \/\/ Two/d

use softclock::prelude::*;

#[pin_data]
struct Object {
    #[pin]
    timer: Callout<Self, Soft>,
    #[pin]
    other: Callout<Self, Task>,
}

impl_has_callout! {
    impl HasCallout<Soft> for Object { self.timer }
} // Two calls.
impl_has_callout! { // Two calls.
    impl HasCallout<Task> for Object { self.other }
}
