// SPDX-License-Identifier: GPL-2.0

//! The shipped rules that no defect changes. The word is for the specification.

#[path = "../../../rust/policy/deadline.rs"]
pub(crate) mod deadline;
#[path = "../../../rust/policy/life.rs"]
pub(crate) mod life;
#[path = "../../../rust/policy/word.rs"]
pub(crate) mod word;
