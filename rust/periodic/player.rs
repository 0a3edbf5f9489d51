// SPDX-License-Identifier: GPL-2.0

//! The callout under a periodic: it takes the callback out, calls it, and puts it back.

use super::{checked, ContextOf, First, Mode, Rate, Then, Tick};
use crate::{
    beats::{Listed, Score},
    callout::{Callout, OnExpire},
    code::Code,
    context::{Expiry, Kind},
    policy::{
        grid::{self, Period, Start},
        life::Next,
        name::Name,
    },
    sys::{
        context::Task,
        module::Owner,
        taken::Taken,
        target::Timed, //
    },
    Hub,
};
use kernel::{
    prelude::*,
    sync::{Arc, ArcBorrow}, //
};

/// A callback.
pub type Call<C> = KBox<dyn FnMut(&Tick<'_, C>) -> Then + Send>;

/// What a periodic is made from, checked.
pub struct Making {
    owner: Owner,
    label: &'static CStr,
    code: usize,
    name: Name,
    period: Period,
    first: First,
}

impl Making {
    /// `code` is something of the callback's that must be in the owner's module.
    #[inline(never)]
    pub(crate) fn new(owner: Owner, label: &'static CStr, rate: Rate, code: usize) -> Result<Self> {
        // Before anything is allocated.
        Task::new()?;
        let name = Name::new(label.to_bytes()).map_err(|bad| {
            pr_err!("periodic name \"{}\" {}\n", label, bad.what());
            EINVAL
        })?;
        if !owner.contains(code) {
            pr_err!(
                "periodic {}: its callback is not compiled into the module that owner!() names; \
                 mark the function that makes it #[inline(never)]\n",
                name.as_str(),
            );
            return Err(EINVAL);
        }
        let period = checked(name.as_str(), rate.period(), rate.period)?;
        if rate.is_strict() && rate.period.as_nanos() < Period::TICK {
            pr_warn!(
                "periodic {} of client {}: its interval of {} ns is below 10 ms, and was made 10 ms\n",
                name.as_str(),
                owner.name().as_str(),
                rate.period.as_nanos(),
            );
        }
        Ok(Self {
            owner,
            label,
            code,
            name,
            period,
            first: rate.first,
        })
    }
}

/// A callback and its callout.
#[pin_data(PinnedDrop)]
pub struct Player<M: Mode> {
    #[pin]
    pub(super) callout: Callout<Self, M::Kind>,
    /// Taken while it runs. There until the drop.
    call: Taken<Option<Call<ContextOf<M>>>>,
    /// That of the callback.
    code: Code,
    pub(super) beat: Listed,
}

crate::impl_has_callout! { impl {M: Mode} HasCallout<M::Kind> for Player<M> { self.callout } }

impl<M: Mode> Player<M> {
    /// Idle. Task context; may block.
    pub(super) fn make(making: Making, call: Call<ContextOf<M>>) -> Result<Arc<Timed<Self>>> {
        let Making {
            owner,
            label,
            code,
            name,
            period,
            first,
        } = making;
        let hub = Hub::get()?;
        let start = match first {
            First::Full => Start::Full,
            First::Aligned | First::Illumos => Start::Aligned,
            First::Spread => Start::Spread(hub.beats().next_spread()),
        };
        let beat = hub.beats().list(Score {
            owner,
            class: code,
            name,
            place: <M::Kind as Kind>::PLACE,
            exact: M::EXACT,
            period,
            first: grid::first(start, period, crate::now()),
        })?;
        Timed::new(try_pin_init!(Self {
            // The callback was checked.
            callout <- Callout::ours(owner, label),
            call: Taken::new(Some(call)),
            code: Code::of(owner)?,
            beat,
        }))
    }
}

#[pinned_drop]
impl<M: Mode> PinnedDrop for Player<M> {
    fn drop(self: Pin<&mut Self>) {
        // Another module may have kept the periodic for longer than there is code to drop its callback by.
        let call = self.call.take().and_then(|mut call| call.take());
        self.code.drop_there(call);
    }
}

impl<M: Mode> OnExpire<M::Kind> for Player<M> {
    fn expire(this: ArcBorrow<'_, Timed<Self>>, run: &Expiry<'_, ContextOf<M>>) -> Next {
        // Runs do not overlap, so it is there.
        let Some(mut taken) = this.call.take() else {
            return Next::Stop;
        };
        let Some(call) = taken.as_mut() else {
            return Next::Stop;
        };
        let begun = this.beat.begin(run.began());
        let then = call(&Tick::new(&this.beat, begun));
        drop(taken);
        let next = this.beat.end(crate::now(), then == Then::Repeat);
        next.map_or(Next::Stop, Next::At)
    }
}
