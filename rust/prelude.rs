// SPDX-License-Identifier: GPL-2.0

//! What a driver that uses softclock needs: `use softclock::prelude::*;`

pub use crate::{
    impl_has_callout, impl_has_route_timers, Act, Added, Arm, Callout, CalloutOf, CannotWait,
    Change, Changed, Closure, Coarse, DeleteRoute, Delta, Drain, Expiry, Hard, HardLock, HasLock,
    HasRouteTimers, Instant, Locked, Next, NotAdded, Now, Nth, OnExpire, OnExpireLocked,
    OnExpireShared, Pending, Periodic, Plan, Precise, QueueKind, Rate, ReadGuard, ReadLock,
    Refusal, Removal, Route, RouteAction, RouteOf, RouteTimer, RouteTimerQueue, RouteTimers,
    Shared, Soft, SoftLock, SoftRwLock, Stop, Task, TaskRwLock, Then, Tick, Timed, TimedBox,
    TimedStatic, TimedStaticGuard, TimersOf,
};
pub use kernel::{
    prelude::*,
    sync::{
        atomic::{Acquire, Atomic, Relaxed, Release},
        Arc,
        ArcBorrow, //
    },
};
