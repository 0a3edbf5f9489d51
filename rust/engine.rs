// SPDX-License-Identifier: GPL-2.0

//! What a callout stands on: an entry of a wheel, or a timer of its own.

use crate::{
    policy::{
        deadline::{Delta, Instant},
        life::{Arm, CannotWait, Drain, Stop},
        place::Place,
    },
    sys::{
        context::Task,
        module::Owner,
        target::{Ops, Part},
        wheel::When,
    },
};
use kernel::prelude::*;

/// What a callout is made from.
#[doc(hidden)]
pub struct Asked {
    pub(crate) owner: Owner,
    pub(crate) name: &'static CStr,
    pub(crate) ops: &'static Ops,
    pub(crate) place: Place,
    /// The callback is softclock's, which calls nothing but functions of the owner's.
    pub(crate) ours: bool,
}

/// The part of a callout that is in the client's object. [`Callout`](crate::Callout) says what the
/// functions promise.
#[doc(hidden)]
pub trait Engine: Part + Send + Sync + Sized {
    /// Idle, and part of no object yet.
    fn make(asked: Asked) -> Result<impl PinInit<Self>>;
    fn arm(&self, due: Instant) -> Arm;
    fn arm_after(&self, after: Delta) -> Arm;
    fn arm_when(&self, when: When) -> Arm;
    fn stop(&self) -> Stop;
    fn drain(&self, task: &Task) -> Result<Drain, CannotWait>;
    fn shutdown(&self, task: &Task) -> Result<Drain, CannotWait>;
    fn report_end(&self) -> Stop;
    /// Refuses every later arm and cancels a pending run. Any context but NMI; never blocks.
    fn close(&self);
    fn is_pending(&self) -> bool;
    fn is_active(&self) -> bool;
    fn deactivate(&self);
    fn is_shut(&self) -> bool;
    fn id(&self) -> u64;
}
