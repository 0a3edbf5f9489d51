// SPDX-License-Identifier: GPL-2.0

//! The callout lies in the object, not in something the object dereferences to and may outlive it.
// error: E0609.*no field .timer. on type .Object.
// cure: s/^struct Object(Arc<Inner>);/#[pin_data] struct Object { #[pin] timer: Callout<Self, Soft>, inner: Arc<Inner> }/; s/&self\.0$/\&self.inner/

use softclock::prelude::*;

#[pin_data]
struct Inner {
    #[pin]
    timer: Callout<Object, Soft>,
}

struct Object(Arc<Inner>);

impl core::ops::Deref for Object {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.0
    }
}

impl OnExpire<Soft> for Object {
    fn expire(_this: ArcBorrow<'_, Timed<Self>>, _run: &Expiry<'_, Soft>) -> Next {
        Next::Stop
    }
}

impl_has_callout! { impl HasCallout<Soft> for Object { self.timer } }
