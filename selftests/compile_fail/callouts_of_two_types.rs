// SPDX-License-Identifier: GPL-2.0

//! One call of the macro is for one type: the callouts of another would be nobody's.
// error: E0308.*mismatched types
// cure: s/for Other { self.timer }/for Object { self.other }/; s/^    timer: Callout<Self, Soft>,/&\n    #[pin] other: Callout<Self, Task>,/

use softclock::prelude::*;

#[pin_data]
struct Object {
    #[pin]
    timer: Callout<Self, Soft>,
}

#[pin_data]
struct Other {
    #[pin]
    timer: Callout<Self, Task>,
}

impl_has_callout! {
    impl HasCallout<Soft> for Object { self.timer }
    impl HasCallout<Task> for Other { self.timer }
}
