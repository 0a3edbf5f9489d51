// SPDX-License-Identifier: GPL-2.0

//! Network namespaces: which one, held for a moment, and the moment one leaves.
//!
//! Nothing of softclock keeps a namespace alive. What belongs to one ends when the kernel says that it
//! leaves, before anything of it is taken apart.
//!
//! INVARIANT 1: `raw` of a [`Held`] is a namespace, and the `Held` owns one counted reference to it.
//! INVARIANT 2: the kernel's list has the hook from the constructor of [`Leaving`] to its drop, and there
//! is one `Leaving` at a time for each [`Listener`]: the module's.
//! INVARIANT 3: `raw` of a [`Net`] is a namespace until [`Net::close`] has returned: whoever makes a
//! `Net` does so while the namespace is held and a [`Leaving`] is registered, and closes it when it is
//! told that the namespace leaves, or before that. So it is one while there is an [`Inside`], too, for
//! which closing waits.

use super::{
    bindings as b,
    context::Task,
    lock::RawLock,
    wait, //
};
use core::ptr::NonNull;
use kernel::{
    bindings,
    error::{from_err_ptr, to_result},
    prelude::*,
    static_lock_class,
    sync::Arc, //
};

/// Identifies a namespace while it exists. Only good for comparing.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct NetId(usize);

/// A namespace that cannot leave for as long as this exists: for the length of a call, no longer.
pub(crate) struct Held {
    raw: NonNull<bindings::net>,
}

// SAFETY: A namespace may be used, and a reference to it put, from any thread.
unsafe impl Send for Held {}
// SAFETY: As above.
unsafe impl Sync for Held {}

impl Held {
    /// The namespace of the current task.
    pub(crate) fn of_this_task() -> Result<Self> {
        // SAFETY: It only reads what belongs to the current task, and takes a reference.
        let raw = unsafe { b::softclock_net_of_this_task() };
        // Invariant 1.
        Ok(Self {
            raw: NonNull::new(raw).ok_or(ENODEV)?,
        })
    }

    /// The namespace of the process that the current task knows as `pid`.
    ///
    /// # Errors
    ///
    /// `ESRCH`: there is none, or it has left its namespace already.
    pub(crate) fn of_process(pid: u32) -> Result<Self> {
        let pid = i32::try_from(pid).map_err(|_| ESRCH)?;
        // SAFETY: Any number is accepted.
        let raw = from_err_ptr(unsafe { b::softclock_net_of_process(pid) })?;
        // Invariant 1.
        Ok(Self {
            raw: NonNull::new(raw).ok_or(ESRCH)?,
        })
    }

    /// The first namespace, which never leaves.
    pub(crate) fn first() -> Result<Self> {
        // SAFETY: It only takes a reference.
        let raw = unsafe { b::softclock_net_first() };
        // Invariant 1.
        Ok(Self {
            raw: NonNull::new(raw).ok_or(ENODEV)?,
        })
    }

    pub(crate) fn id(&self) -> NetId {
        NetId(self.raw.as_ptr() as usize)
    }

    /// It is the one that the machine has begun with.
    pub(crate) fn is_initial(&self) -> bool {
        core::ptr::eq(self.raw.as_ptr(), &raw const bindings::init_net)
    }

    /// The number user space sees of it: the inode of `/proc/PID/ns/net`.
    pub(crate) fn inum(&self) -> u32 {
        // SAFETY: Invariant 1.
        unsafe { b::softclock_net_inum(self.raw.as_ptr()) }
    }

    /// The number of the device `name`.
    pub(crate) fn device(&self, name: &CStr) -> Option<u32> {
        // SAFETY: Invariant 1, and the name is NUL-terminated.
        let index = unsafe { b::softclock_net_device(self.raw.as_ptr(), name.as_char_ptr()) };
        u32::try_from(index).ok().filter(|index| *index != 0)
    }

    pub(super) fn raw(&self) -> *mut bindings::net {
        self.raw.as_ptr()
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // SAFETY: Invariant 1.
        unsafe { b::softclock_net_put(self.raw.as_ptr()) }
    }
}

/// Who wants to be told.
#[derive(Clone, Copy)]
pub(crate) enum Listener {
    Routes = 0,
    Sockets = 1,
}

/// Is told when a namespace leaves.
pub(crate) trait OnNetLeave: 'static {
    /// The only one that is called this.
    const LISTENER: Listener;

    /// Nobody can enter the namespace any more; all of it is still there, until this returns. Task
    /// context.
    fn on_net_leave(net: NetId, task: &Task);
}

/// A registration for [`OnNetLeave`]. Dropping it ends it, after telling of all namespaces that are
/// still there, as if they left.
pub(crate) struct Leaving(Listener);

impl Leaving {
    /// Registers `L`. Task context; may block.
    pub(crate) fn new<L: OnNetLeave>() -> Result<Self> {
        // SAFETY: The function is there until the drop unregisters it. Invariant 2.
        to_result(unsafe { b::softclock_pernet_register(L::LISTENER as u32, Some(left::<L>)) })?;
        Ok(Self(L::LISTENER))
    }
}

impl Drop for Leaving {
    fn drop(&mut self) {
        // SAFETY: Invariant 2. It waits for calls in progress.
        unsafe { b::softclock_pernet_unregister(self.0 as u32) }
    }
}

/// # Safety
///
/// Called by the kernel only.
unsafe extern "C" fn left<L: OnNetLeave>(net: *mut bindings::net) {
    // The kernel takes namespaces down in a task that may sleep.
    L::on_net_leave(NetId(net as usize), &Task::by_contract());
}

/// Waits until whoever is changing devices, addresses or routes now has done so. Messages about such a
/// change are sent in the middle of it.
pub(crate) fn wait_for_changes(_task: &Task) {
    // SAFETY: The caller may sleep, and holds nothing that such a change waits for: our locks are not
    // taken by it.
    unsafe { b::softclock_rtnl_wait() }
}

/// A namespace to work in for longer, which does not keep it from leaving.
#[pin_data]
pub(crate) struct Net {
    raw: NonNull<bindings::net>,
    #[pin]
    gate: RawLock<Gate>,
}

struct Gate {
    closed: bool,
    inside: usize,
}

// SAFETY: A namespace may be used from any thread.
unsafe impl Send for Net {}
// SAFETY: As above; the gate has a lock.
unsafe impl Sync for Net {}

impl Net {
    /// Whoever makes one keeps its part of invariant 3. Task context; may block.
    pub(crate) fn of(held: &Held) -> Result<Arc<Self>> {
        let gate = Gate {
            closed: false,
            inside: 0,
        };
        Arc::pin_init(
            pin_init!(Self {
                raw: held.raw,
                gate <- RawLock::new(gate, c"softclock_net", static_lock_class!()),
            }),
            GFP_KERNEL,
        )
    }

    pub(crate) fn id(&self) -> NetId {
        NetId(self.raw.as_ptr() as usize)
    }

    /// Keeps the namespace until the answer is dropped; that must not be long.
    ///
    /// # Errors
    ///
    /// `ENONET`: it leaves, or has left.
    pub(crate) fn enter(self: &Arc<Self>) -> Result<Inside> {
        let mut gate = self.gate.lock();
        if gate.closed {
            return Err(Error::from_errno(-(bindings::ENONET as i32)));
        }
        gate.inside = gate.inside.saturating_add(1);
        drop(gate);
        Ok(Inside { net: self.clone() })
    }

    /// Holds the namespace.
    ///
    /// # Errors
    ///
    /// `ENODEV`: it leaves, or has left.
    pub(crate) fn hold(self: &Arc<Self>) -> Result<Held> {
        let inside = self.enter().map_err(|_| ENODEV)?;
        // SAFETY: Invariant 3.
        let raw = unsafe { b::softclock_net_get(inside.raw()) };
        // Invariant 1.
        Ok(Held {
            raw: NonNull::new(raw).ok_or(ENODEV)?,
        })
    }

    /// Lets nobody enter any more, and waits until all have left.
    pub(crate) fn close(&self, task: &Task) {
        self.gate.lock().closed = true;
        wait::until(task, || self.gate.lock().inside == 0);
    }
}

/// Keeps the namespace of a [`Net`].
pub(crate) struct Inside {
    net: Arc<Net>,
}

impl Inside {
    pub(super) fn raw(&self) -> *mut bindings::net {
        self.net.raw.as_ptr()
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        let mut gate = self.net.gate.lock();
        gate.inside = gate.inside.saturating_sub(1);
        let last = gate.closed && gate.inside == 0;
        drop(gate);
        if last {
            wait::wake();
        }
    }
}
