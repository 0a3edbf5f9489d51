// SPDX-License-Identifier: GPL-2.0

//! A route's timer cannot be used when the route may be gone.
// error: E0505.*cannot move out of .peer. because it is borrowed
// cure: /drop(peer);/d

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

fn keep(peer: Arc<Timed<Peer>>) -> Stop {
    let timer = peer.timer::<Forget>();
    drop(peer);
    timer.remove()
}
