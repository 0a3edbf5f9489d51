// SPDX-License-Identifier: GPL-2.0

//! The deadline of a probe: a callout that marks its place.

use super::{ready::place_of, room::Room};
use crate::{
    callout::{Callout, OnExpire},
    context::{Expiry, Soft},
    policy::life::Next,
    sys::{
        socket::Bell,
        target::Timed, //
    },
    timed_box::TimedBox,
};
use kernel::{
    prelude::*,
    sync::{Arc, ArcBorrow}, //
};

/// One for each slot; it stays when the probe goes.
#[pin_data]
pub(super) struct Alarm {
    #[pin]
    due: Callout<Self, Soft>,
    room: Arc<Room>,
    /// The number of its slot.
    slot: u32,
}

crate::impl_has_callout! { impl HasCallout<Soft> for Alarm { self.due } }

impl Alarm {
    /// Idle. Task context; may block.
    #[inline(never)]
    pub(super) fn new(room: &Arc<Room>, slot: u32) -> Result<TimedBox<Self>> {
        let room = room.clone();
        TimedBox::new(try_pin_init!(Self {
            due <- Callout::new(crate::owner!(), c"probe"),
            room,
            slot,
        }))
    }
}

impl OnExpire<Soft> for Alarm {
    fn expire(this: ArcBorrow<'_, Timed<Self>>, _run: &Expiry<'_, Soft>) -> Next {
        Room::ring(&this.room, place_of(this.slot));
        Next::Stop
    }
}
