// SPDX-License-Identifier: GPL-2.0

//! The planted defects: textual changes of the shipped files, each with the scenarios that catch it.

#![forbid(unsafe_code)]

// Said in full: this file is part of the build script too, which looks for them elsewhere.
#[path = "defects/arm.rs"]
mod arm;
#[path = "defects/drain.rs"]
mod drain;
#[path = "defects/let_go.rs"]
mod let_go;
#[path = "defects/moves.rs"]
mod moves;
#[path = "defects/stop.rs"]
mod stop;
#[path = "defects/walk.rs"]
mod walk;

/// Which shipped file an edit changes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum File {
    Word,
    Protocol,
}

/// One change; `old` must be found exactly once.
pub(crate) struct Edit {
    pub(crate) file: File,
    pub(crate) old: &'static str,
    pub(crate) new: &'static str,
}

/// A planted defect.
pub(crate) struct Defect {
    pub(crate) name: &'static str,
    pub(crate) edits: &'static [Edit],
    /// Each of these must catch it.
    pub(crate) caught_by: &'static [&'static str],
}

const fn edit(file: File, old: &'static str, new: &'static str) -> Edit {
    Edit { file, old, new }
}

/// All of them, by what they hit.
pub(crate) const DEFECTS: [&[Defect]; 6] = [
    arm::DEFECTS,
    moves::DEFECTS,
    stop::DEFECTS,
    drain::DEFECTS,
    walk::DEFECTS,
    let_go::DEFECTS,
];
