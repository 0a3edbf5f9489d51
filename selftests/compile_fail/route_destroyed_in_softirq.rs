// SPDX-License-Identifier: GPL-2.0

//! A softirq action has no proof that it may wait for the end of its queue.
// error: E0599.*no method named .task. found for reference .*Expiry<'_, softclock::Soft>
// cure: s/Soft/Task/g

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

    fn act(peer: ArcBorrow<'_, Timed<Peer>>, run: &Expiry<'_, Soft>) {
        let _ = peer.remove_all(&run.task());
    }
}
