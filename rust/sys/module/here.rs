// SPDX-License-Identifier: GPL-2.0

//! The modules that are there.
//!
//! An [`Owner`](super::Owner) is an address, and may be kept, or lent to another module, for longer
//! than the module is loaded. So what it points to is read only while the module is in this list.
//!
//! INVARIANT 1: what is in the list is a module whose memory stays for as long as the lock is held: the
//! notification that it is going takes it out, under the lock, before the kernel frees it.

use crate::sys::{
    global::{Global, Published},
    lock::RawLock,
};
use kernel::{bindings, prelude::*, static_lock_class, sync::Arc};

static HERE: Global<Here> = Global::new();

/// The addresses of the modules that were loaded since softclock, and its own: others cannot be clients.
#[pin_data]
pub(crate) struct Here {
    #[pin]
    modules: RawLock<KVec<usize>>,
}

impl Here {
    /// The list, with softclock's own module in it. Keep the guard until nobody can ask any more.
    pub(crate) fn publish(ourselves: &'static ThisModule) -> Result<Published<Self>> {
        let here = Arc::pin_init(
            pin_init!(Self {
                modules <- RawLock::new(KVec::new(), c"softclock_here", static_lock_class!()),
            }),
            GFP_KERNEL,
        )?;
        here.add(ourselves.as_ptr() as usize)?;
        Ok(HERE.publish(here))
    }

    /// Task context; may block.
    fn add(&self, module: usize) -> Result {
        loop {
            let room = {
                let mut modules = self.modules.lock();
                if modules.push_within_capacity(module).is_ok() {
                    return Ok(());
                }
                modules.len().saturating_mul(2).max(16)
            };
            self.grow(KVec::with_capacity(room, GFP_KERNEL)?);
        }
    }

    /// Has the list in `larger`, unless others have made it grow meanwhile. The old one is freed after the
    /// lock.
    fn grow(&self, mut larger: KVec<usize>) {
        let mut modules = self.modules.lock();
        if modules.capacity() < larger.capacity() {
            for module in modules.iter() {
                let _ = larger.push_within_capacity(*module);
            }
            core::mem::swap(&mut *modules, &mut larger);
        }
        drop(modules);
    }

    fn remove(&self, module: usize) {
        self.modules.lock().retain(|known| *known != module);
    }
}

/// A module is about to be initialised. Task context; may block.
///
/// # Errors
///
/// `ENOMEM`: it must not be loaded.
pub(super) fn comes(module: usize) -> Result {
    HERE.get().map_or(Ok(()), |here| here.add(module))
}

/// A module is about to be freed.
pub(super) fn goes(module: usize) {
    if let Some(here) = HERE.get() {
        here.remove(module);
    }
}

/// What `read` says of `module`, if that is there, and stays valid for reads until it has said so. Any
/// context but NMI; `read` must be short.
pub(super) fn read<R>(
    module: *mut bindings::module,
    read: impl FnOnce(*const bindings::module) -> R,
) -> Option<R> {
    let here = HERE.get()?;
    let modules = here.modules.lock();
    if !modules.contains(&(module as usize)) {
        return None;
    }
    // Invariant 1: the lock is held until `read` has returned.
    let said = read(module);
    drop(modules);
    Some(said)
}
