// SPDX-License-Identifier: GPL-2.0

//! Random numbers that nobody can guess.

use kernel::bindings;

/// 64 random bits. Any context but NMI, no raw lock held.
pub(crate) fn bits() -> u64 {
    // SAFETY: The function has no precondition beyond the context.
    unsafe { bindings::get_random_u64() }
}
