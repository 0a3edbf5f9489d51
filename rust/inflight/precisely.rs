// SPDX-License-Identifier: GPL-2.0

//! Callouts that are timers of the kernel: a node each.

use super::{now, Node};
use crate::{
    engine::{Asked, Engine},
    policy::{
        deadline::{Delta, Instant},
        life::{Arm, CannotWait, Drain, Stop},
    },
    registry::checked,
    sys::{
        context::Task,
        target::{impl_part_of_anchor, Anchor},
        wheel::When,
    },
    Hub,
};
use kernel::{prelude::*, sync::Arc};

/// A callout with a node: the part of it that is in the client's object.
#[doc(hidden)]
pub struct Precisely(Anchor<Node>);

impl_part_of_anchor!(Precisely);

impl Drop for Precisely {
    fn drop(&mut self) {
        Node::detach(self.0.node());
    }
}

#[inline(never)]
fn make(asked: Asked) -> Result<Arc<Node>> {
    let spec = checked(asked)?;
    Hub::get()?.registry().make(spec)
}

impl Engine for Precisely {
    #[inline(always)]
    fn make(asked: Asked) -> Result<impl PinInit<Self>> {
        let node = make(asked)?;
        Ok(Self(Anchor::new(node)))
    }

    #[inline(never)]
    fn arm(&self, due: Instant) -> Arm {
        self.0.node().arm(When::at(due), now())
    }

    #[inline(never)]
    fn arm_after(&self, after: Delta) -> Arm {
        let now = now();
        self.0.node().arm(When::at(now + after), now)
    }

    #[inline(never)]
    fn arm_when(&self, when: When) -> Arm {
        self.0.node().arm(when, now())
    }

    #[inline(never)]
    fn stop(&self) -> Stop {
        self.0.node().stop()
    }

    #[inline(never)]
    fn drain(&self, task: &Task) -> Result<Drain, CannotWait> {
        Node::drain(self.0.node(), task)
    }

    #[inline(never)]
    fn shutdown(&self, task: &Task) -> Result<Drain, CannotWait> {
        Node::shutdown(self.0.node(), task)
    }

    #[inline(never)]
    fn report_end(&self) -> Stop {
        self.0.node().report_end()
    }

    #[inline(always)]
    fn close(&self) {
        self.0.node().close();
    }

    #[inline(never)]
    fn is_pending(&self) -> bool {
        self.0.node().is_pending()
    }

    #[inline(never)]
    fn is_active(&self) -> bool {
        self.0.node().state.lock().active
    }

    #[inline(never)]
    fn deactivate(&self) {
        self.0.node().state.lock().active = false;
    }

    #[inline(never)]
    fn is_shut(&self) -> bool {
        self.0.node().is_shut()
    }

    #[inline(never)]
    fn id(&self) -> u64 {
        self.0.node().id()
    }
}
