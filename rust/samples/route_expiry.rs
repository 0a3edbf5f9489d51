// SPDX-License-Identifier: GPL-2.0

//! Neighbours of a network driver: what was learned of a path is forgotten after ten minutes, a neighbour
//! that was not heard of for twenty is deleted.
//!
//! ```text
//! insmod softclock.ko; insmod route_expiry.ko
//! cat /sys/kernel/debug/softclock/route/queues /sys/kernel/debug/softclock/route/entries
//! ```

use softclock::prelude::*;

module! {
    type: Module,
    name: "route_expiry",
    authors: ["softclock maintainers"],
    description: "softclock sample: two timers of each route, path-MTU style and ARP style",
    license: "GPL",
    imports_ns: ["SOFTCLOCK"],
}

const ETHERNET_MTU: u32 = 1500;

/// A route. Its timers are part of it: nothing is allocated to add them.
#[pin_data(PinnedDrop)]
struct Neighbour {
    number: usize,
    mtu: Atomic<u32>,
    gone: Atomic<bool>,
    #[pin]
    pmtu: RouteTimer<Self, ForgetMtu>,
    #[pin]
    arp: RouteTimer<Self, DeleteRoute>,
}

impl_has_route_timers! {
    impl HasRouteTimers for Neighbour { ForgetMtu: self.pmtu, DeleteRoute: self.arp }
}

/// What is done ten minutes after a packet was too big.
struct ForgetMtu;

impl RouteAction<Neighbour> for ForgetMtu {
    type Kind = Soft;

    fn act(route: ArcBorrow<'_, Timed<Neighbour>>, _run: &Expiry<'_, Soft>) {
        route.mtu.store(ETHERNET_MTU, Relaxed);
        pr_info!(
            "neighbour {}: packets of {} again\n",
            route.number,
            ETHERNET_MTU
        );
    }
}

/// What is done twenty minutes after it was heard of.
impl Route for Neighbour {
    fn delete(this: ArcBorrow<'_, Timed<Self>>) {
        this.gone.store(true, Release);
        pr_info!("neighbour {}: deleted\n", this.number);
    }
}

#[pinned_drop]
impl PinnedDrop for Neighbour {
    fn drop(self: Pin<&mut Self>) {
        if !self.gone.load(Acquire) {
            pr_info!(
                "neighbour {}: mtu {} at the end\n",
                self.number,
                self.mtu.load(Relaxed)
            );
        }
    }
}

impl Neighbour {
    fn new(number: usize) -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            number,
            mtu: Atomic::new(ETHERNET_MTU),
            gone: Atomic::new(false),
            pmtu <- RouteTimer::new(softclock::owner!(), c"pmtu"),
            arp <- RouteTimer::new(softclock::owner!(), c"arp"),
        })
    }
}

/// One queue for each timeout, however many routes there are.
struct Module {
    _pmtu: RouteTimerQueue,
    _arp: RouteTimerQueue,
    _table: KVec<Arc<Timed<Neighbour>>>,
}

impl kernel::Module for Module {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        let pmtu = RouteTimerQueue::with_secs(softclock::owner!(), c"pmtu", 600)?;
        let arp = RouteTimerQueue::with_secs(softclock::owner!(), c"arp", 1200)?;
        let mut table = KVec::new();
        for number in 0..3 {
            let route = Timed::new(Neighbour::new(number))?;
            // It was heard of; and again, whenever it is. That is all a refresh takes.
            let _ = arp.add(route.timer::<DeleteRoute>());
            if number > 0 {
                // A router on the way to it wants smaller packets.
                route.mtu.store(1400, Relaxed);
                let _ = pmtu.add(route.timer::<ForgetMtu>());
            }
            table.push(route, GFP_KERNEL)?;
        }
        // This one turned out to be a mistake: all its timers are off.
        let removed = table[2].remove_all(&Task::new()?)?;
        pr_info!("neighbour 2: {} timers removed\n", removed);
        Ok(Self {
            _pmtu: pmtu,
            _arp: arp,
            _table: table,
        })
    }
}
