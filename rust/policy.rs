// SPDX-License-Identifier: GPL-2.0

//! Rules without a machine: what should happen, never how.
//!
//! Nothing below this module imports the kernel, allocates, reads a clock or uses `unsafe`; whoever
//! needs the time passes `now`. The same files are compiled for the host, where they are tested
//! exhaustively (`selftests/host`). All arithmetic saturates: an integer overflow is a BUG on the
//! kernels softclock runs on.

pub(crate) mod deadline;
pub(crate) mod life;
pub(crate) mod name;
pub(crate) mod text;
