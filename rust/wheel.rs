// SPDX-License-Identifier: GPL-2.0

//! Callouts on the wheel: what of them is not the machine's.

use crate::{
    engine::{Asked, Engine},
    inflight::now,
    policy::{
        deadline::{Delta, Instant},
        life::{Arm, CannotWait, Drain, Stop},
        protocol::Drained,
    },
    registry::checked,
    sys::{
        context::{Runner, Task},
        target::Part,
        wait,
        wheel::{Entry, Kin, When, Worked},
    },
    Hub,
};
use kernel::{prelude::*, sync::Arc};

/// An entry, or what has one.
pub(crate) trait OnWheel: Part + Send + Sync + Sized {
    /// Idle, and part of no object yet.
    fn made(kin: Arc<Kin>) -> impl PinInit<Self>;
    fn entry(&self) -> &Entry;
}

impl OnWheel for Entry {
    #[inline(always)]
    fn made(kin: Arc<Kin>) -> impl PinInit<Self> {
        made(kin)
    }

    #[inline(always)]
    fn entry(&self) -> &Entry {
        self
    }
}

impl OnWheel for Worked {
    #[inline(always)]
    fn made(kin: Arc<Kin>) -> impl PinInit<Self> {
        Worked::new(kin)
    }

    #[inline(always)]
    fn entry(&self) -> &Entry {
        Worked::entry(self)
    }
}

/// Part of the client as far as no lock is needed; else one call.
impl<E: OnWheel> Engine for E {
    #[inline(always)]
    fn make(asked: Asked) -> Result<impl PinInit<Self>> {
        Ok(E::made(kin(asked)?))
    }

    #[inline(always)]
    fn arm(&self, due: Instant) -> Arm {
        self.entry().arm(due)
    }

    #[inline(always)]
    fn arm_after(&self, after: Delta) -> Arm {
        self.entry().arm(now() + after)
    }

    #[inline(always)]
    fn arm_when(&self, when: When) -> Arm {
        self.entry().arm_when(when)
    }

    #[inline(always)]
    fn stop(&self) -> Stop {
        self.entry().stop()
    }

    #[inline(always)]
    fn drain(&self, task: &Task) -> Result<Drain, CannotWait> {
        drain(self.entry(), task)
    }

    #[inline(always)]
    fn shutdown(&self, task: &Task) -> Result<Drain, CannotWait> {
        shutdown(self.entry(), task)
    }

    #[inline(always)]
    fn report_end(&self) -> Stop {
        self.entry().report_end()
    }

    #[inline(always)]
    fn close(&self) {
        close(self.entry());
    }

    #[inline(always)]
    fn is_pending(&self) -> bool {
        self.entry().is_pending()
    }

    #[inline(always)]
    fn is_active(&self) -> bool {
        self.entry().is_active()
    }

    #[inline(always)]
    fn deactivate(&self) {
        self.entry().deactivate();
    }

    #[inline(always)]
    fn is_shut(&self) -> bool {
        self.entry().is_shut()
    }

    #[inline(always)]
    fn id(&self) -> u64 {
        self.entry().id()
    }
}

#[inline(never)]
fn kin(asked: Asked) -> Result<Arc<Kin>> {
    let spec = checked(asked)?;
    Hub::get()?.registry().kin(spec)
}

#[inline(never)]
fn made(kin: Arc<Kin>) -> Entry {
    Entry::new(kin)
}

#[inline(never)]
fn drain(entry: &Entry, task: &Task) -> Result<Drain, CannotWait> {
    task.may_sleep_now();
    match entry.drain_quickly() {
        Some(true) => Ok(Drain::Cancelled),
        Some(false) => Ok(Drain::Idle),
        None => finish(entry, task, Stop::Idle),
    }
}

#[inline(never)]
fn close(entry: &Entry) {
    entry.shut();
}

#[inline(never)]
fn shutdown(entry: &Entry, task: &Task) -> Result<Drain, CannotWait> {
    task.may_sleep_now();
    let met = entry.shut();
    finish(entry, task, met)
}

/// Takes the entry off the wheel, and waits for a run in progress; `met` is what a stop before has met:
/// that run may have ended since.
#[inline(never)]
fn finish(entry: &Entry, task: &Task, met: Stop) -> Result<Drain, CannotWait> {
    match entry.drain() {
        Drained::Cancelled => Ok(Drain::Cancelled),
        Drained::Idle => Ok(Drain::since(met)),
        Drained::Own => Err(CannotWait::Deadlock),
        Drained::Wait => wait_for(entry, task),
    }
}

/// Waits for the end of a run, unless that would be for ever.
#[cold]
#[inline(never)]
fn wait_for(entry: &Entry, task: &Task) -> Result<Drain, CannotWait> {
    if !task.may_sleep_still() {
        return Err(CannotWait::Atomic);
    }
    // The caller's reference is one, so there is another.
    if let (Ok(hub), Some(kept)) = (Hub::get(), entry.keep()) {
        let me = Runner::current();
        hub.waits().begin(me, kept.into())?;
        wait::until(task, || !entry.is_waited_for());
        hub.waits().end(me);
    }
    Ok(Drain::Finished)
}
