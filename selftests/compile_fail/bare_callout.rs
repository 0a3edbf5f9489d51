// SPDX-License-Identifier: GPL-2.0

//! A callout beside no `Timed` cannot be armed: nobody would know which object it calls.
// error: E0061.*takes 2 arguments but 1 argument was supplied
// cure: s/Engine::arm(Embeds::part(&bare\.beat), softclock::now())/bare.beat.stop()/

use softclock::internal::{Embeds, Engine};
use softclock::prelude::*;

#[pin_data]
struct Bare {
    #[pin]
    beat: Callout<Self, Soft>,
}

impl_has_callout! { impl HasCallout<Soft> for Bare { self.beat } }

impl OnExpire<Soft> for Bare {
    fn expire(_this: ArcBorrow<'_, Timed<Self>>, _run: &Expiry<'_, Soft>) -> Next {
        Next::Stop
    }
}

fn arm(bare: &Bare) {
    let _ = Engine::arm(Embeds::part(&bare.beat), softclock::now());
}
