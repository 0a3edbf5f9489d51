// SPDX-License-Identifier: GPL-2.0

//! One watched route.

use super::{holder::Holder, namespace::Namespace, ourselves};
use crate::{
    policy::{
        deadline::Instant,
        route::{Added, NotAdded},
        rtnl::{Hop, RouteKey}, //
    },
    route::{DeleteRoute, Route, RouteOf, RouteTimer, RouteTimerQueue},
    sys::{
        stack::Node,
        target::Timed, //
    },
};
use core::{
    net::IpAddr,
    sync::atomic::{
        fence,
        AtomicBool,
        AtomicU8,
        Ordering::{Relaxed, SeqCst}, //
    },
};
use kernel::{
    fmt,
    prelude::*,
    sync::{Arc, ArcBorrow}, //
};

/// Why a route is not watched any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RouteEnd {
    /// Its time had come: it was deleted by softclock.
    Expired,
    /// Somebody else has deleted it, or it went with its device, its address or its nexthop object.
    Gone,
    /// Its network namespace is being taken down.
    NamespaceGone,
}

impl RouteEnd {
    const fn number(self) -> u8 {
        match self {
            Self::Expired => 0,
            Self::Gone => 1,
            Self::NamespaceGone => 2,
        }
    }

    const fn of(number: u8) -> Self {
        match number {
            0 => Self::Expired,
            1 => Self::Gone,
            _ => Self::NamespaceGone,
        }
    }
}

/// A route as the kernel has it. Shown as `10.1.2.0/24`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct KernelRoute(RouteKey);

impl KernelRoute {
    pub(crate) const fn of(key: RouteKey) -> Self {
        Self(key)
    }

    /// The prefix's address.
    pub fn address(&self) -> IpAddr {
        self.0.prefix.address().into()
    }

    /// The prefix's length in bits.
    pub const fn prefix_len(&self) -> u8 {
        self.0.prefix.len()
    }

    /// The table it is in: 254 is the main one.
    pub const fn table(&self) -> u32 {
        self.0.table
    }

    /// Its metric.
    pub const fn metric(&self) -> u32 {
        self.0.priority
    }

    /// Its type of service, as a number.
    pub const fn tos(&self) -> u8 {
        self.0.tos
    }

    /// Who has added it: `RTPROT_STATIC` and so on, see `rtnetlink(7)`.
    pub const fn protocol(&self) -> u8 {
        self.0.protocol
    }

    /// The number of the device it leads through; `None`: through none, or through several.
    pub const fn device(&self) -> Option<u32> {
        match self.0.hop {
            Hop::Device { oif, .. } if oif != 0 => Some(oif),
            _ => None,
        }
    }

    /// The gateway it leads to, where that is one.
    pub fn gateway(&self) -> Option<IpAddr> {
        match &self.0.hop {
            Hop::Device {
                gateway: Some(gateway),
                ..
            } => Some(gateway.into()),
            _ => None,
        }
    }
}

impl fmt::Display for KernelRoute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_fmt(core::format_args!("{}", self.0.prefix))
    }
}

/// The end of a route, on its way to whoever had it watched.
pub(super) struct End {
    pub(super) route: KernelRoute,
    end: AtomicU8,
}

impl End {
    pub(super) fn end(&self) -> RouteEnd {
        RouteEnd::of(self.end.load(Relaxed))
    }
}

/// On whose behalf a route is watched.
struct Held {
    holder: Arc<Timed<Holder>>,
    /// Made before it is needed: an end must not be lost for want of memory.
    end: Arc<Node<End>>,
}

/// A route of the kernel that is to be deleted at some time.
#[pin_data]
pub(crate) struct FibRoute {
    /// Its key, and its place among the doomed.
    doom: Arc<Node<RouteKey>>,
    namespace: Arc<Namespace>,
    /// Nobody: the operator.
    held: Option<Held>,
    /// It is not watched any more.
    over: AtomicBool,
    /// It is being deleted.
    going: AtomicBool,
    #[pin]
    expiry: RouteTimer<Self, DeleteRoute>,
}

crate::impl_has_route_timers! { impl HasRouteTimers for FibRoute { DeleteRoute: self.expiry } }

impl Route for FibRoute {
    /// Has the kernel delete it, by a worker. Any context but NMI; never blocks.
    fn delete(this: ArcBorrow<'_, Timed<Self>>) {
        this.namespace.doom(this.doom.clone());
    }
}

impl FibRoute {
    /// Not watched yet. Task context; may block.
    pub(super) fn new(
        key: RouteKey,
        namespace: Arc<Namespace>,
        holder: Option<&Arc<Timed<Holder>>>,
    ) -> Result<Arc<Timed<Self>>> {
        let doom = Arc::new(Node::new(key), GFP_KERNEL)?;
        let held = holder.map(|holder| Held::new(key, holder)).transpose()?;
        Timed::new(try_pin_init!(Self {
            doom,
            namespace,
            held,
            over: AtomicBool::new(false),
            going: AtomicBool::new(false),
            expiry <- RouteTimer::new(ourselves(), c"expiry"),
        }))
    }

    /// Which route it is.
    pub(crate) fn key(&self) -> &RouteKey {
        &self.doom.item
    }

    /// On whose behalf it is watched; `None`: an operator's.
    pub(crate) fn holder(&self) -> Option<&Arc<Timed<Holder>>> {
        self.held.as_ref().map(|held| &held.holder)
    }

    /// Whether it is watched on behalf of this one.
    pub(super) fn is_of(&self, holder: Option<&Holder>) -> bool {
        match (self.holder(), holder) {
            (Some(one), Some(other)) => one.id() == other.id(),
            (None, None) => true,
            _ => false,
        }
    }

    /// The same for those who are told of it.
    pub(crate) fn told(&self) -> KernelRoute {
        KernelRoute(*self.key())
    }

    pub(crate) fn is_over(&self) -> bool {
        self.over.load(Relaxed)
    }

    /// It is not watched any more, or is being deleted.
    pub(super) fn is_leaving(&self) -> bool {
        self.is_over() || self.going.load(Relaxed)
    }

    /// Whether this is the route that was doomed as `node`, and not one that looks like it.
    pub(super) fn is(&self, node: &Arc<Node<RouteKey>>) -> bool {
        Arc::ptr_eq(&self.doom, node)
    }
}

impl Held {
    fn new(key: RouteKey, holder: &Arc<Timed<Holder>>) -> Result<Self> {
        let end = End {
            route: KernelRoute(key),
            end: AtomicU8::new(0),
        };
        Ok(Self {
            holder: holder.clone(),
            end: Arc::new(Node::new(end), GFP_KERNEL)?,
        })
    }

    fn tell(&self, end: RouteEnd) {
        self.end.item.end.store(end.number(), Relaxed);
        Holder::tell(&self.holder, self.end.clone());
    }
}

/// What its timer does. Any context but NMI; never blocks.
pub(crate) trait Timing {
    /// Has it deleted when the timeout of `queue` is over, whatever was said before. Refused when it is
    /// not watched any more, or being deleted.
    fn expire_in(&self, queue: &RouteTimerQueue) -> Added;
    /// When it is to be deleted.
    fn due(&self) -> Option<Instant>;
    /// It is about to be deleted. `false`: its time has begun anew since it was doomed.
    fn goes(&self) -> bool;
    /// It could not be deleted.
    fn stays(&self);
    /// It is watched from here on.
    fn begin(&self);
    /// It is gone, or nobody's business any more (`None`): whatever was to happen to it does not. Once.
    fn let_go(&self, end: Option<RouteEnd>);
}

impl Timing for Arc<Timed<FibRoute>> {
    fn expire_in(&self, queue: &RouteTimerQueue) -> Added {
        let timer = self.timer::<DeleteRoute>();
        let added = queue.add(timer);
        // Pairs with the one in `let_go`: one of both sees the other's part.
        fence(SeqCst);
        if self.is_over() {
            let _ = timer.remove();
            return Added::Refused(NotAdded::Destroyed);
        }
        // What goes without a timer goes because that one has fired.
        if self.going.load(Relaxed) && timer.due().is_some() {
            // It stays: should the route, too, that is its time.
            return Added::Refused(NotAdded::Destroyed);
        }
        added
    }

    fn due(&self) -> Option<Instant> {
        self.timer::<DeleteRoute>().due()
    }

    fn goes(&self) -> bool {
        self.going.store(true, Relaxed);
        // Pairs with the one in `expire_in`, as that in `let_go`.
        fence(SeqCst);
        let anew = self.due().is_some();
        if anew {
            self.stays();
        }
        !anew
    }

    fn stays(&self) {
        self.going.store(false, Relaxed);
    }

    fn begin(&self) {
        if let Some(held) = &self.held {
            held.holder.has_one_more();
        }
    }

    fn let_go(&self, end: Option<RouteEnd>) {
        self.over.store(true, Relaxed);
        fence(SeqCst);
        // Where its action executes it dooms what is in no table any more, which is nothing.
        let _ = self.remove_all_async();
        if let Some(held) = &self.held {
            held.holder.has_one_less();
            if let Some(end) = end {
                held.tell(end);
            }
        }
    }
}
