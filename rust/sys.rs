// SPDX-License-Identifier: GPL-2.0

//! The machine: the only files that may contain `unsafe`.
//!
//! Each file wraps one thing of the kernel into something safe to use and knows nothing of timers'
//! rules. Invariants are numbered per file; every SAFETY comment cites one, or the contract of the
//! function it calls.

pub(crate) mod bindings;
pub(crate) mod context;
pub(crate) mod debugfs;
pub(crate) mod global;
pub(crate) mod hrtimer;
pub(crate) mod lock;
pub(crate) mod module;
pub(crate) mod target;
pub(crate) mod wait;
pub(crate) mod work;
