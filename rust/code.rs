// SPDX-License-Identifier: GPL-2.0

//! The code of a client, which may be gone while others still have what calls it, or drops by it: a closure whose
//! type nobody knows any more.

use crate::{
    sys::{module::Owner, wheel::Owned},
    Hub,
};
use kernel::{prelude::*, sync::Arc};

/// The code of a client, in one of its turns.
pub(crate) struct Code {
    owned: Arc<Owned>,
    turn: u64,
}

impl Code {
    /// Task context; may block.
    ///
    /// # Errors
    ///
    /// `ENODEV`: that module, or softclock, is leaving. `ENOMEM`.
    #[inline(never)]
    pub(crate) fn of(owner: Owner) -> Result<Self> {
        let owned = Hub::get()?.registry().client(owner)?.owned().clone();
        let turn = owned.roster.turn();
        Ok(Self { owned, turn })
    }

    /// Drops what has been made there; forgets it when the code is gone. Where `T` may be dropped.
    pub(crate) fn drop_there<T>(&self, mut made: Option<T>) {
        if self.enter() {
            drop(made.take());
        }
        self.exit();
        core::mem::forget(made);
    }

    /// Whether the code is there; it stays until [`exit`](Self::exit). Any context.
    #[inline(never)]
    fn enter(&self) -> bool {
        // Before the look: who says that it goes waits for this after that.
        self.owned.comes();
        !self.owned.roster.is_gone(self.turn)
    }

    #[inline(never)]
    fn exit(&self) {
        self.owned.does_not_come();
    }
}
