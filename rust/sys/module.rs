// SPDX-License-Identifier: GPL-2.0

//! The modules that own timers, and the moment they leave.
//!
//! INVARIANT 1: the notifier block is registered by the constructor and unregistered by drop, and
//! does not move in between.

mod here;

pub(crate) use self::here::Here;

use super::bindings as b;
use kernel::{
    bindings,
    ffi::{c_char, c_int, c_ulong, c_void},
    prelude::*,
    types::Opaque,
};

/// The module that owns a timer. Made by [`owner!`](crate::owner). Kept for longer than the module is
/// loaded it names nobody: what takes it answers `ENODEV` or `EINVAL`.
#[derive(Clone, Copy)]
pub struct Owner(*mut bindings::module);

// SAFETY: It is an address, of something that is only read.
unsafe impl Send for Owner {}
// SAFETY: As above.
unsafe impl Sync for Owner {}

/// Identifies a module while it is loaded. Only good for comparing.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct ModuleId(usize);

impl ModuleId {
    /// No module.
    pub(crate) const NONE: Self = Self(0);
}

/// The most bytes in a module's name, as in the kernel.
const NAME_MAX: usize = 56;

/// The name of a module.
pub(crate) struct ModuleName {
    buf: [u8; NAME_MAX],
    len: usize,
}

impl ModuleName {
    /// That of a module which is not there any more.
    const UNKNOWN: Self = Self {
        buf: [b'?'; NAME_MAX],
        len: 1,
    };

    /// # Safety
    ///
    /// `module` is valid for reads.
    unsafe fn of(module: *const bindings::module) -> Self {
        // SAFETY: The contract of this function.
        let name = unsafe { &raw const (*module).name };
        // SAFETY: It is NUL-terminated within its array.
        let name = unsafe { CStr::from_char_ptr(name.cast::<c_char>()) }.to_bytes();
        let mut buf = [0; NAME_MAX];
        let len = name.len().min(NAME_MAX);
        buf[..len].copy_from_slice(&name[..len]);
        Self { buf, len }
    }

    pub(crate) fn as_str(&self) -> &str {
        let bytes = self.buf.get(..self.len).unwrap_or(&[]);
        core::str::from_utf8(bytes).unwrap_or("?")
    }
}

impl Owner {
    /// The owner `module`. Use [`owner!`](crate::owner), which cannot name a stranger.
    pub const fn new(module: &'static ThisModule) -> Self {
        Self(module.as_ptr())
    }

    pub(crate) fn id(self) -> ModuleId {
        ModuleId(self.0 as usize)
    }

    /// Whether its module is there, loaded or about to be initialised, and is the one of this name: others
    /// may come to lie at its address. Any context but NMI.
    pub(crate) fn is_still(self, name: &str) -> bool {
        // SAFETY: Invariant 1 of `here`: it is a module that is there.
        let now = here::read(self.0, |module| unsafe { ModuleName::of(module) });
        now.is_some_and(|now| now.as_str() == name)
    }

    /// Whether `address` (code or data) is part of the module; a module that was unloaded has none. Any
    /// context but NMI.
    pub(crate) fn contains(self, address: usize) -> bool {
        let within = here::read(self.0, |module| {
            // SAFETY: Invariant 1 of `here`: it is a module that is there.
            unsafe { b::softclock_within_module(address, module) }
        });
        within.unwrap_or(false)
    }

    /// The module's name, as long as it is loaded. Any context but NMI.
    pub(crate) fn name(self) -> ModuleName {
        // SAFETY: Invariant 1 of `here`: it is a module that is there.
        let name = here::read(self.0, |module| unsafe { ModuleName::of(module) });
        name.unwrap_or(ModuleName::UNKNOWN)
    }
}

/// Names the module this is written in as the owner of a timer.
///
/// # Examples
///
/// ```
/// # #[pin_data]
/// # struct Heartbeat {
/// #     #[pin]
/// #     beat: Callout<Self, Soft>,
/// # }
/// # impl_has_callout! { impl HasCallout<Soft> for Heartbeat { self.beat } }
/// # impl OnExpire<Soft> for Heartbeat {
/// #     fn expire(_: ArcBorrow<'_, Timed<Self>>, _: &Expiry<'_, Soft>) -> Next { Next::Stop }
/// # }
/// let heart = Timed::new(try_pin_init!(Heartbeat {
///     beat <- Callout::new(softclock::owner!(), c"beat"),
/// }))?;
/// ```
#[macro_export]
macro_rules! owner {
    () => {
        $crate::Owner::new($crate::this_module!())
    };
}

/// The `ThisModule` of the crate this is written in, on every supported kernel.
#[cfg(kver_ge_7_3)]
#[expect(
    clippy::crate_in_macro_def,
    reason = "it means the crate of the caller"
)]
#[doc(hidden)]
#[macro_export]
macro_rules! this_module {
    () => {
        ::kernel::module::this_module::<crate::LocalModule>()
    };
}

/// The `ThisModule` of the crate this is written in, on every supported kernel.
#[cfg(not(kver_ge_7_3))]
#[expect(
    clippy::crate_in_macro_def,
    reason = "it means the crate of the caller"
)]
#[doc(hidden)]
#[macro_export]
macro_rules! this_module {
    () => {
        &crate::THIS_MODULE
    };
}

/// Told when a module is about to leave: its exit has run, its code is still there.
pub(crate) trait OnLeave: 'static {
    /// Task context; the module is freed when this returns.
    fn on_leave(module: ModuleId);
}

/// A registration for [`OnLeave`]; dropping it ends it.
#[pin_data(PinnedDrop)]
pub(crate) struct Notifier {
    #[pin]
    block: Opaque<bindings::notifier_block>,
}

// SAFETY: The block is only touched by the kernel, under the chain's own lock.
unsafe impl Send for Notifier {}
// SAFETY: As above.
unsafe impl Sync for Notifier {}

impl Notifier {
    /// Registers `L`. Task context; may block.
    pub(crate) fn new<L: OnLeave>() -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            block <- Opaque::try_ffi_init(|slot: *mut bindings::notifier_block| {
                // SAFETY: `slot` is valid for writes.
                unsafe {
                    slot.write(bindings::notifier_block {
                        notifier_call: Some(notified::<L>),
                        ..pin_init::zeroed()
                    })
                };
                // SAFETY: `slot` was just initialised; invariant 1.
                kernel::error::to_result(unsafe { bindings::register_module_notifier(slot) })
            }),
        })
    }
}

#[pinned_drop]
impl PinnedDrop for Notifier {
    fn drop(self: Pin<&mut Self>) {
        // SAFETY: Invariant 1. It waits for callbacks in progress.
        unsafe { bindings::unregister_module_notifier(self.block.get()) };
    }
}

/// # Safety
///
/// Called by the kernel only, with a module as `data`.
unsafe extern "C" fn notified<L: OnLeave>(
    _block: *mut bindings::notifier_block,
    state: c_ulong,
    data: *mut c_void,
) -> c_int {
    let module = data as usize;
    match state as bindings::module_state {
        bindings::module_state_MODULE_STATE_COMING => answer(here::comes(module)),
        bindings::module_state_MODULE_STATE_GOING => {
            // Before its records go: who asks from here on gets no new ones.
            here::goes(module);
            L::on_leave(ModuleId(module));
            NOTIFY_DONE
        }
        _ => NOTIFY_DONE,
    }
}

const NOTIFY_DONE: c_int = bindings::NOTIFY_DONE as c_int;

/// As `notifier_from_errno()`: an error refuses the load.
fn answer(result: Result) -> c_int {
    const STOP: c_int = bindings::NOTIFY_STOP_MASK as c_int;
    const OK: c_int = bindings::NOTIFY_OK as c_int;
    match result {
        Ok(()) => NOTIFY_DONE,
        Err(errno) => STOP | (OK - errno.to_errno()),
    }
}
