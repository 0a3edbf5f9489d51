// SPDX-License-Identifier: GPL-2.0

//! The rules of entity status inquiries and their messages, tested on the host: the very files that
//! are compiled into the kernel. See selftests/esi.sh.

#![forbid(unsafe_code)]
#![allow(dead_code, reason = "what only the kernel uses is not used here")]

#[path = "../../../../rust/policy"]
mod policy {
    pub(crate) mod deadline;
    pub(crate) mod esi;
    pub(crate) mod pdu;
}

#[cfg(test)]
mod cases;
