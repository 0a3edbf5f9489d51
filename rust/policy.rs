// SPDX-License-Identifier: GPL-2.0

//! Rules without a machine: what should happen, never how.
//!
//! Nothing below this module imports the kernel, allocates, reads a clock or uses `unsafe`; whoever
//! needs the time passes `now`. The same files are compiled for the host, where they are tested
//! exhaustively (`selftests/host`). All arithmetic saturates: an integer overflow is a BUG on the
//! kernels softclock runs on.

pub(crate) mod command;
pub(crate) mod deadline;
// Not used yet by what carries inquiries over the network.
#[expect(dead_code)]
pub(crate) mod esi;
pub(crate) mod grid;
pub(crate) mod hash;
pub(crate) mod levels;
pub(crate) mod life;
#[cfg(softclock_locked)]
pub(crate) mod locked;
pub(crate) mod name;
#[expect(dead_code)]
pub(crate) mod pdu;
pub(crate) mod place;
#[cfg_attr(
    softclock_locked,
    allow(dead_code, reason = "`locked` is in its place")
)]
pub(crate) mod protocol;
pub(crate) mod route;
pub(crate) mod rtnl;
pub(crate) mod text;
pub(crate) mod word;

/// The protocol the module is built with.
#[cfg(softclock_locked)]
pub(crate) use locked as operations;
#[cfg(not(softclock_locked))]
pub(crate) use protocol as operations;
