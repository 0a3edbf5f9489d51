// SPDX-License-Identifier: GPL-2.0

//! The cases. What is named `esi_N` is a case of the specification's list; `s`, `o` and a number are
//! faults that isnsd and open-isns have.

use proptest::test_runner::Config;

/// So many random runs of a property, in a short run and in a long one. What fails is printed; it is
/// not kept in a file.
fn runs(short: u32, long: u32) -> Config {
    Config {
        cases: fuzz::scale(short, long),
        failure_persistence: None,
        ..Config::default()
    }
}

mod any;
mod attempts;
mod corpus;
mod fuzz;
mod life;
mod oracle;
mod random;
mod server;
mod stream;
mod terms;
mod window;
mod wire;
