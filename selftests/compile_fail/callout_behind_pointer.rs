// SPDX-License-Identifier: GPL-2.0

//! The callout is the field, not something the field points to and may share.
// error: E0308.*mismatched types
// cure: s/timer: Arc<Callout<Object, Soft>>/timer: Callout<Object, Soft>/

use softclock::prelude::*;

struct Object {
    timer: Arc<Callout<Object, Soft>>,
}

impl OnExpire<Soft> for Object {
    fn expire(_this: ArcBorrow<'_, Timed<Self>>, _run: &Expiry<'_, Soft>) -> Next {
        Next::Stop
    }
}

impl_has_callout! { impl HasCallout<Soft> for Object { self.timer } }
