// SPDX-License-Identifier: GPL-2.0

//! Any bytes, as what rtnetlink says. Faults: a place in the kernel that panics, a listing without an end, a
//! message that is believed in part.

#![no_main]
#![allow(dead_code, reason = "what only the kernel uses is not used here")]

#[path = "../../../../../rust/policy"]
mod policy {
    pub(crate) mod rtnl;
}

use policy::rtnl::{Heard, Messages};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let mut left = bytes.len();
    for message in Messages::new(bytes) {
        let Ok((heard, whole)) = message else {
            continue;
        };
        assert!(whole.len() >= 16 && whole.len() <= left);
        left -= whole.len();
        if let Heard::There { route, .. } | Heard::Gone(route) = heard {
            let keys = route.keys().count();
            assert!(route.keys().all(|key| key.is_ok()));
            // A hop has eight bytes at least.
            assert!(keys <= 1 + whole.len() / 8);
        }
    }
});
