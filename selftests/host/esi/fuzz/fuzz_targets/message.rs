// SPDX-License-Identifier: GPL-2.0

//! Any bytes, as an answer to an inquiry. Faults: a place in the kernel that panics, an answer that is none, or
//! one that is not taken.

#![no_main]
#![allow(dead_code, reason = "what only the kernel uses is not used here")]

#[path = "../../../../../rust/policy"]
mod policy {
    pub(crate) mod pdu;
}

#[path = "../../src/cases"]
mod cases {
    pub(crate) mod any;
    mod corpus;
    mod oracle;
}

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    // How a stream is cut follows from the bytes: the same bytes are always the same case.
    let piece = 1 + data.last().map_or(0, |&last| usize::from(last) % 40);
    let _ = cases::any::check(data, piece);
});
