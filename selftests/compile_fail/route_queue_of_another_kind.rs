// SPDX-License-Identifier: GPL-2.0

//! A queue whose actions may sleep takes no timer whose action is for softirqs.
// error: E0308.*mismatched types
// cure: s/RouteTimerQueue<Task>/RouteTimerQueue<Soft>/

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

fn add(queue: &RouteTimerQueue<Task>, peer: &Arc<Timed<Peer>>) {
    let _ = queue.add(peer.timer::<Forget>());
}
