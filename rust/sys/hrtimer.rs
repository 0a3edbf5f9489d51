// SPDX-License-Identifier: GPL-2.0

//! A high-resolution timer of the kernel.
//!
//! The kernel crate's hrtimer has no non-blocking cancel, no way to ask whether it is queued, and
//! one timer per type. This is the part softclock needs, on an object held by an `Arc`.
//!
//! INVARIANT 1: `raw` is set up by the constructor and never moves.
//! INVARIANT 2: while `raw` is queued or its callback executes, some `Arc` to the container exists
//! (contract of [`HasTimer`]); [`Timer::quiesce`] ends that span.
//! INVARIANT 3: [`Timer::start`] and [`Timer::start_again`] of one timer are never called at the same
//! time (contract of [`HasTimer`]).

use super::bindings as b;
use kernel::{bindings, prelude::*, sync::ArcBorrow, types::Opaque};

/// An absolute `CLOCK_MONOTONIC` timer inside a `T`.
#[pin_data]
pub(crate) struct Timer {
    mode: bindings::hrtimer_mode,
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
/// `Arc` to it until `quiesce` has returned after the last start, and has a lock of the object's, the same
/// for all. Only `on_timer` calls `start_again`, and ends with [`Then::Again`] then.
pub(crate) unsafe trait HasTimer: Send + Sync + Sized {
    /// The container of the timer that holds `raw`.
    ///
    /// # Safety
    ///
    /// `raw` is inside the timer of a `Self`.
    unsafe fn container(raw: *mut bindings::hrtimer) -> *const Self;

    /// The deadline has come. Softirq or hard interrupt context, no lock held.
    fn on_timer(this: ArcBorrow<'_, Self>) -> Then;
}

/// How an expiry ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Then {
    /// The timer is queued if somebody has started it, and else it is not.
    Rest,
    /// It is queued in any case: as [`Timer::start_again`] said, unless somebody has started it since.
    Again,
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

            fn on_timer(this: ::kernel::sync::ArcBorrow<'_, Self>) -> $crate::sys::hrtimer::Then {
                $on_timer(this)
            }
        }
    };
}
pub(crate) use impl_has_timer;

impl Timer {
    /// A timer whose expiry calls `T::on_timer` of the container: in hard interrupt, or in softirq.
    pub(crate) fn new<T: HasTimer>(hard: bool) -> impl PinInit<Self> {
        let mode = if hard {
            bindings::hrtimer_mode_HRTIMER_MODE_ABS_HARD
        } else {
            bindings::hrtimer_mode_HRTIMER_MODE_ABS_SOFT
        };
        pin_init!(Self {
            mode,
            raw <- Opaque::ffi_init(|slot| {
                // SAFETY: `slot` is valid for writes and will not move.
                unsafe {
                    bindings::hrtimer_setup(
                        slot,
                        Some(trampoline::<T>),
                        bindings::CLOCK_MONOTONIC as i32,
                        *mode,
                    )
                }
            }),
        })
    }

    /// Queues the timer for `due_ns`, or moves it there: up to `window_ns` later, never before. `pinned`: on this
    /// CPU, where [`comes_here`](Self::comes_here) has said so. Any context; raw locks may be held.
    pub(crate) fn start(&self, due_ns: i64, window_ns: i64, pinned: bool) {
        let window = window_ns.max(0) as u64;
        let mode = if pinned {
            self.mode | bindings::hrtimer_mode_HRTIMER_MODE_PINNED
        } else {
            self.mode
        };
        // SAFETY: Invariant 1.
        unsafe { bindings::hrtimer_start_range_ns(self.raw.get(), due_ns, window, mode) }
    }

    /// Whether the timer is queued on this CPU when it is started next, pinned: not where its callback executes
    /// on another, for there it stays. Dequeues it in that case, for it may begin to expire at any moment. Under
    /// the lock of who starts it, with preemption off.
    pub(crate) fn comes_here(&self) -> bool {
        // SAFETY: Invariant 1. What is neither queued nor executing stays so under the lock.
        let executes = unsafe { bindings::hrtimer_try_to_cancel(self.raw.get()) } < 0;
        // SAFETY: Invariant 1.
        !executes || unsafe { b::softclock_hrtimer_is_here(self.raw.get()) }
    }

    /// As [`start`](Self::start), for the end of an expiry: the kernel queues the timer when that is over, which
    /// is cheaper. Unless somebody starts it before: then it is as they say.
    pub(crate) fn start_again(&self, due_ns: i64) {
        if self.is_queued() {
            return self.start(due_ns, 0, false);
        }
        // SAFETY: Invariant 1. When a timer expires that is not queued only matters to who starts it, and
        // nobody does (invariant 3).
        unsafe { b::softclock_hrtimer_set_expires(self.raw.get(), due_ns) };
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
    match T::on_timer(unsafe { ArcBorrow::from_raw(container) }) {
        Then::Rest => bindings::hrtimer_restart_HRTIMER_NORESTART,
        Then::Again => bindings::hrtimer_restart_HRTIMER_RESTART,
    }
}
