// SPDX-License-Identifier: GPL-2.0

//! A high-resolution timer whose callback executes in softirq context.
//!
//! The kernel crate's hrtimer has no non-blocking cancel, no way to ask whether it is queued, and
//! one timer per type. This is the part softclock needs, on an object held by an `Arc`.
//!
//! INVARIANT 1: `raw` is set up by the constructor and never moves.
//! INVARIANT 2: while `raw` is queued or its callback executes, some `Arc` to the container exists
//! (contract of [`HasTimer`]); [`Timer::quiesce`] ends that span.

use super::bindings as b;
use kernel::{bindings, prelude::*, sync::ArcBorrow, types::Opaque};

const MODE: bindings::hrtimer_mode = bindings::hrtimer_mode_HRTIMER_MODE_ABS_SOFT;

/// An absolute `CLOCK_MONOTONIC` softirq timer inside a `T`.
#[pin_data]
pub(crate) struct Timer {
    #[pin]
    raw: Opaque<bindings::hrtimer>,
}

// SAFETY: The kernel serialises all operations on an hrtimer with its base lock.
unsafe impl Send for Timer {}
// SAFETY: As above.
unsafe impl Sync for Timer {}

/// An object with a [`Timer`] in it. Use [`impl_has_timer!`] to implement it.
///
/// # Safety
///
/// `timer` and `container` are inverse to each other. Whoever starts the timer of an object keeps an
/// `Arc` to it until `quiesce` has returned after the last start.
pub(crate) unsafe trait HasTimer: Send + Sync + Sized {
    /// The container of the timer that holds `raw`.
    ///
    /// # Safety
    ///
    /// `raw` is inside the timer of a `Self`.
    unsafe fn container(raw: *mut bindings::hrtimer) -> *const Self;

    /// The deadline has come. Softirq context, no lock held.
    fn on_timer(this: ArcBorrow<'_, Self>);
}

/// Implements [`HasTimer`] for a type and one of its fields.
macro_rules! impl_has_timer {
    ($ty:ty { self.$field:ident }, $on_timer:path) => {
        // SAFETY: The offset is the field's own. The keep-alive rule is stated beside the use.
        unsafe impl $crate::sys::hrtimer::HasTimer for $ty {
            unsafe fn container(raw: *mut ::kernel::bindings::hrtimer) -> *const Self {
                let timer = raw.cast::<$crate::sys::hrtimer::Timer>();
                // SAFETY: By the contract, `timer` is the field of a `Self`.
                unsafe { ::kernel::container_of!(timer, $ty, $field) }
            }

            fn on_timer(this: ::kernel::sync::ArcBorrow<'_, Self>) {
                $on_timer(this)
            }
        }
    };
}
pub(crate) use impl_has_timer;

impl Timer {
    /// A timer whose expiry calls `T::on_timer` of the container.
    pub(crate) fn new<T: HasTimer>() -> impl PinInit<Self> {
        pin_init!(Self {
            raw <- Opaque::ffi_init(|slot| {
                // SAFETY: `slot` is valid for writes and will not move.
                unsafe {
                    bindings::hrtimer_setup(
                        slot,
                        Some(trampoline::<T>),
                        bindings::CLOCK_MONOTONIC as i32,
                        MODE,
                    )
                }
            }),
        })
    }

    /// Queues the timer for `due_ns`, or moves it there. Any context; raw locks may be held.
    pub(crate) fn start(&self, due_ns: i64) {
        // SAFETY: Invariant 1. A range of 0 means exactly `due_ns`, and never before.
        unsafe { bindings::hrtimer_start_range_ns(self.raw.get(), due_ns, 0, MODE) }
    }

    /// Dequeues the timer where it is queued; never waits for a callback. Any context.
    pub(crate) fn unqueue(&self) {
        // SAFETY: Invariant 1.
        unsafe { bindings::hrtimer_try_to_cancel(self.raw.get()) };
    }

    /// Whether an expiry lies ahead.
    pub(crate) fn is_queued(&self) -> bool {
        // SAFETY: Invariant 1.
        unsafe { b::softclock_hrtimer_is_queued(self.raw.get()) }
    }

    /// Dequeues the timer and waits for its callback. Blocks on PREEMPT_RT and spins elsewhere, for
    /// the length of the callback at most. Task context, never the callback itself.
    pub(crate) fn quiesce(&self) {
        // SAFETY: Invariant 1.
        unsafe { bindings::hrtimer_cancel(self.raw.get()) };
    }
}

/// # Safety
///
/// Called by the kernel only, for the timer of a `T`.
unsafe extern "C" fn trampoline<T: HasTimer>(
    raw: *mut bindings::hrtimer,
) -> bindings::hrtimer_restart {
    // SAFETY: `Timer::new::<T>` installed this function for the timer of a `T`.
    let container = unsafe { T::container(raw) };
    // SAFETY: Invariant 2: an `Arc` to the container exists during this call.
    T::on_timer(unsafe { ArcBorrow::from_raw(container) });
    bindings::hrtimer_restart_HRTIMER_NORESTART
}
