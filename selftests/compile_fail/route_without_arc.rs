// SPDX-License-Identifier: GPL-2.0

//! Only a route in an Arc can be timed: softclock may have to keep it.
// error: E0599.*no method named .timer. found
// cure: s/peer: &Timed<Peer>/peer: \&Arc<Timed<Peer>>/

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

fn add(queue: &RouteTimerQueue, peer: &Timed<Peer>) {
    let _ = queue.add(peer.timer::<Forget>());
}
