// SPDX-License-Identifier: GPL-2.0

//! The modules that own timers, and the moment they leave.
//!
//! INVARIANT 1: the notifier block is registered by the constructor and unregistered by drop, and
//! does not move in between.

use super::bindings as b;
use kernel::{
    bindings,
    ffi::{c_char, c_int, c_ulong, c_void},
    prelude::*,
    types::Opaque,
};

/// The module that owns a timer. Made by [`owner!`](crate::owner).
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

    /// Whether `address` (code or data) is part of the module.
    pub(crate) fn contains(self, address: usize) -> bool {
        // SAFETY: The module is loaded: its own code passed its `ThisModule` here.
        !self.0.is_null() && unsafe { b::softclock_within_module(address, self.0) }
    }

    /// The module's name.
    pub(crate) fn name(self) -> ModuleName {
        let mut buf = [0; NAME_MAX];
        let len = self.copy_name(&mut buf);
        ModuleName { buf, len }
    }

    fn copy_name(self, buf: &mut [u8; NAME_MAX]) -> usize {
        if self.0.is_null() {
            return 0;
        }
        // SAFETY: The module is loaded, and its name is NUL-terminated within its array.
        let name = unsafe { CStr::from_char_ptr((&raw const (*self.0).name).cast::<c_char>()) };
        let bytes = name.to_bytes();
        let len = bytes.len().min(NAME_MAX);
        buf[..len].copy_from_slice(&bytes[..len]);
        len
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
    if state == bindings::module_state_MODULE_STATE_GOING as c_ulong {
        L::on_leave(ModuleId(data as usize));
    }
    0
}
