// SPDX-License-Identifier: GPL-2.0

//! All scenarios. `a | b` is a and b at the same time, `a, b` one after the other.

#![forbid(unsafe_code)]

use crate::stage::Scenario;

mod basic;
mod drains;
mod locks;
mod nexts;
mod references;
mod targets;
mod workers;

static ALL: &[&[Scenario]] = &[
    basic::ALL,
    drains::ALL,
    nexts::ALL,
    targets::ALL,
    references::ALL,
    locks::ALL,
    workers::ALL,
];

pub(crate) fn all() -> impl Iterator<Item = &'static Scenario> {
    ALL.iter().flat_map(|part| part.iter())
}
