// SPDX-License-Identifier: GPL-2.0

//! callout-17: a callout that never got a function cannot be scheduled: it cannot even be made.
// error: E0277.*the trait bound .Object: OnExpire<softclock::Soft>. is not satisfied
// cure: s,^/// Nothing says.*,impl OnExpire<Soft> for Object { fn expire(_: ArcBorrow<'_\, Timed<Self>>\, _: \&Expiry<'_\, Soft>) -> Next { Next::Stop } }\n&,

use softclock::{prelude::*, Owner};

#[pin_data]
struct Object {
    #[pin]
    timer: Callout<Self, Soft>,
    count: u64,
}

impl_has_callout! { impl HasCallout<Soft> for Object { self.timer } }

/// Nothing says what it does when its time comes.
pub fn schedule(owner: Owner) -> Result {
    let object = Timed::new(try_pin_init!(Object {
        timer <- Callout::new(owner, c"none"),
        count: 0,
    }))?;
    object.callout::<Soft>().arm_after(Delta::ZERO);
    Ok(())
}
