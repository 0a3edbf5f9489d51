// SPDX-License-Identifier: GPL-2.0

//! What a driver that uses softclock needs: `use softclock::prelude::*;`

pub use crate::{
    impl_has_callout, Arm, Callout, CalloutOf, CannotWait, Closure, Delta, Drain, Expiry, Instant,
    Next, Nth, OnExpire, Refusal, Soft, Stop, Task, Timed,
};
pub use kernel::{
    prelude::*,
    sync::{
        atomic::{Acquire, Atomic, Relaxed, Release},
        Arc,
        ArcBorrow, //
    },
};
