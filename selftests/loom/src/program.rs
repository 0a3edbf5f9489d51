// SPDX-License-Identifier: GPL-2.0

//! A protocol as a table of calls, so that scenarios are compiled once for all programs.

#![forbid(unsafe_code)]

use crate::{
    machine::{Cpu, Locked},
    policy::life::{Arm, Stop},
};

/// What a program's letting go has answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct LetGo {
    /// Somebody may wait for it.
    pub(crate) awaited: bool,
    /// It is to be told by a call.
    pub(crate) reported: bool,
}

/// `Drained` of a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    Cancelled,
    Idle,
    Wait,
    Own,
}

/// `Visit` of a program.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Visited {
    Held,
    Moved,
    Dropped,
}

/// What a protocol offers.
pub(crate) struct Calls {
    pub(crate) arm: fn(&Cpu, usize, u64, Option<usize>) -> Arm,
    pub(crate) stop: fn(&Cpu, usize, bool) -> Stop,
    pub(crate) deactivate: fn(&Cpu, usize),
    pub(crate) shut: fn(&Cpu, usize) -> Stop,
    pub(crate) drain: fn(&Cpu, usize, bool) -> Found,
    pub(crate) report: fn(&Cpu, usize) -> Found,
    pub(crate) is_waited_for: fn(&Cpu, usize) -> bool,
    pub(crate) retire: fn(&Cpu, usize),
    pub(crate) visit: fn(&Cpu, &mut Locked<'_>, usize, u64) -> Visited,
    /// Gives the word, for `let_go`.
    pub(crate) begin: fn(&Cpu, usize, u64, Option<usize>) -> Option<u64>,
    pub(crate) let_go: fn(&Cpu, usize, Option<u64>, Option<u64>) -> LetGo,
}

/// The shipped protocol, or one with a planted defect.
pub(crate) struct Program {
    /// Empty for the shipped one.
    pub(crate) defect: &'static str,
    pub(crate) calls: &'static Calls,
}

include!(concat!(env!("OUT_DIR"), "/programs.rs"));
