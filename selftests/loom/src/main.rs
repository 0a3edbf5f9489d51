// SPDX-License-Identifier: GPL-2.0

//! The protocol of wheel entries in every interleaving: see README.md.

#![forbid(unsafe_code)]
#![allow(
    dead_code,
    reason = "a planted defect leaves code unused, also of the shipped text"
)]

mod cpu;
mod defects;
mod explore;
mod machine;
mod policy;
mod program;
mod scenarios;
mod spec;
mod stage;
mod suite;

use std::process::exit;

const USAGE: &str = "usage: softclock-loom [--long] [--only TEXT] [--seconds N]\n       \
                     softclock-loom one TEST newest|any PREEMPTIONS|none SECONDS [trace]";

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let ok = match words[..] {
        ["one", test, loads, bound, seconds] => suite::one(test, loads, bound, seconds, false),
        ["one", test, loads, bound, seconds, "trace"] => {
            suite::one(test, loads, bound, seconds, true)
        }
        _ => match suite::Options::from(&words) {
            Some(options) => suite::run(&options),
            None => {
                eprintln!("{USAGE}");
                exit(2);
            }
        },
    };
    exit(i32::from(!ok));
}
