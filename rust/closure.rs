// SPDX-License-Identifier: GPL-2.0

//! A callout that calls a closure, for drivers with nothing to keep but what the closure captures.

use crate::{
    callout::{Callout, OnExpire},
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
#[pin_data]
pub struct Closure<K: Kind> {
    #[pin]
    callout: Callout<Self, K>,
    call: Call<K>,
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
            call,
        }))
    }
}

impl<K: Unlocked> OnExpire<K> for Closure<K> {
    fn expire(this: ArcBorrow<'_, Timed<Self>>, run: &Expiry<'_, K::Context>) -> Next {
        (this.call)(run)
    }
}
