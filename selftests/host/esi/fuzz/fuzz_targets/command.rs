// SPDX-License-Identifier: GPL-2.0

//! Any line that an operator may write. Faults: a place in the kernel that panics, blanks that matter, a refusal
//! about a word that was not written.

#![no_main]
#![allow(dead_code, reason = "what only the kernel uses is not used here")]

#[path = "../../../../../rust/policy"]
mod policy {
    pub(crate) mod command;
    pub(crate) mod deadline;
    pub(crate) mod esi;
    pub(crate) mod name;
    pub(crate) mod pdu;
    pub(crate) mod rtnl;
}

use policy::command::{Command, LINE_MAX};

libfuzzer_sys::fuzz_target!(|line: &[u8]| {
    let read = Command::parse(line);
    if line.len() > LINE_MAX {
        assert!(read.is_err());
        return;
    }
    if let Err(refused) = read {
        assert!(!refused.why.is_empty());
        let word = refused.word.as_bytes();
        assert!(word.is_empty() || line.windows(word.len()).any(|part| part == word));
    }
    if line.len() + 2 <= LINE_MAX {
        let blank = [b"\t", line, b" "].concat();
        assert_eq!(Command::parse(&blank), read);
    }
});
