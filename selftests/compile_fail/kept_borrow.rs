// SPDX-License-Identifier: GPL-2.0

//! What the callback is lent it cannot keep without taking a reference.
// error: E0521.*borrowed data escapes outside of
// cure: s/keep(this)/keep(Arc::from(this))/; s/_object: ArcBorrow<'static, Timed<Object>>/_object: Arc<Timed<Object>>/

use softclock::prelude::*;

#[pin_data]
struct Object {
    #[pin]
    timer: Callout<Self, Soft>,
    count: u64,
}

impl OnExpire<Soft> for Object {
    fn expire(this: ArcBorrow<'_, Timed<Self>>, _run: &Expiry<'_, Soft>) -> Next {
        keep(this);
        Next::Stop
    }
}

fn keep(_object: ArcBorrow<'static, Timed<Object>>) {}
