// SPDX-License-Identifier: GPL-2.0

//! A timer belongs to the type of route it lies in, and no other.
// error: E0308.*mismatched types
// error: E0599.*the method .each. exists for reference .&RouteTimer<Other, Forget>.
// cure: s/RouteTimer<Peer, Forget>/RouteTimer<Self, Forget>/; s/impl RouteAction<Peer> for Forget {/impl RouteAction<Other> for Forget { type Kind = Soft; fn act(_: ArcBorrow<'_, Timed<Other>>, _: \&Expiry<'_, Soft>) {} }\nimpl RouteAction<Peer> for Forget {/

use softclock::prelude::*;

#[pin_data]
struct Peer {
    #[pin]
    timer: RouteTimer<Self, Forget>,
    hits: Atomic<u64>,
}

impl_has_route_timers! { impl HasRouteTimers for Peer { Forget: self.timer } }

struct Forget;

impl RouteAction<Peer> for Forget {
    type Kind = Soft;

    fn act(peer: ArcBorrow<'_, Timed<Peer>>, _run: &Expiry<'_, Soft>) {
        peer.hits.store(0, Relaxed);
    }
}

#[pin_data]
struct Other {
    #[pin]
    timer: RouteTimer<Peer, Forget>,
}

impl_has_route_timers! { impl HasRouteTimers for Other { Forget: self.timer } }
