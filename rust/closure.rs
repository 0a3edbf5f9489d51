// SPDX-License-Identifier: GPL-2.0

//! A callout that calls a closure, for drivers with nothing to keep but what the closure captures.

use crate::{
    callout::{Callout, OnExpire},
    code::Code,
    context::{Expiry, Kind, Unlocked},
    policy::life::Next,
    sys::{module::Owner, target::Timed},
};
use kernel::{
    prelude::*,
    sync::{Arc, ArcBorrow}, //
};

type Call<K> = KBox<dyn Fn(&Expiry<'_, <K as Kind>::Context>) -> Next + Send + Sync>;

/// An object that is one closure and the callout that calls it.
///
/// # Examples
///
/// ```
/// let tick = Closure::<Task>::new(softclock::owner!(), c"tick", |run| {
///     pr_info!("{} ns late\n", run.lateness().as_nanos());
///     Next::After(Delta::from_millis(500))
/// })?;
/// tick.callout().arm_after(Delta::ZERO);
/// ```
///
/// Another module may keep the object when the one that made it has left: then it calls nothing, and what the
/// closure has captured is never dropped.
#[pin_data(PinnedDrop)]
pub struct Closure<K: Kind> {
    #[pin]
    callout: Callout<Self, K>,
    /// Until the drop.
    call: Option<Call<K>>,
    /// That of the closure.
    code: Code,
}

crate::impl_has_callout! { impl {K: Kind} HasCallout<K> for Closure<K> { self.callout } }

impl<K: Unlocked> Closure<K> {
    /// A callout that calls `call`, idle; in the context of `K`, never twice at once. Dropping the
    /// last [`Arc`] ends it. Task context; may block (`GFP_KERNEL`).
    ///
    /// # Errors
    ///
    /// `ENOMEM`, and those of [`Callout::new`].
    pub fn new<F>(owner: Owner, name: &'static CStr, call: F) -> Result<Arc<Timed<Self>>>
    where
        F: Fn(&Expiry<'_, K::Context>) -> Next + Send + Sync + 'static,
    {
        let call: Call<K> = KBox::new(call, GFP_KERNEL)?;
        Timed::new(try_pin_init!(Self {
            callout <- Callout::new(owner, name),
            call: Some(call),
            code: Code::of(owner)?,
        }))
    }
}

#[pinned_drop]
impl<K: Kind> PinnedDrop for Closure<K> {
    fn drop(self: Pin<&mut Self>) {
        let this = self.project();
        this.code.drop_there(this.call.take());
    }
}

impl<K: Unlocked> OnExpire<K> for Closure<K> {
    fn expire(this: ArcBorrow<'_, Timed<Self>>, run: &Expiry<'_, K::Context>) -> Next {
        this.call.as_ref().map_or(Next::Stop, |call| call(run))
    }
}
