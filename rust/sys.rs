// SPDX-License-Identifier: GPL-2.0

//! The machine: the only files that may contain `unsafe`.
//!
//! Each file wraps one thing of the kernel into something safe to use and knows nothing of timers'
//! rules. Invariants are numbered per file; every SAFETY comment cites one, or the contract of the
//! function it calls.

pub(crate) mod bindings;
pub(crate) mod context;
pub(crate) mod debugfs;
pub(crate) mod firing;
pub(crate) mod global;
pub(crate) mod hard_lock;
pub(crate) mod hrtimer;
pub(crate) mod late;
pub(crate) mod lock;
pub(crate) mod lockdep;
pub(crate) mod module;
pub(crate) mod net;
pub(crate) mod netlink;
pub(crate) mod random;
pub(crate) mod roster;
pub(crate) mod route;
pub(crate) mod rwlock;
pub(crate) mod socket;
pub(crate) mod stack;
pub(crate) mod taken;
pub(crate) mod target;
pub(crate) mod wait;
pub(crate) mod wheel;
pub(crate) mod work;
