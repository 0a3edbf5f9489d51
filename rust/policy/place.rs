// SPDX-License-Identifier: GPL-2.0

//! Where a callback executes, as a value.

#![forbid(unsafe_code)]

/// Where a callback executes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In the timer interrupt: it takes nothing but raw locks.
    Hard,
    /// In softirq context: it may not sleep.
    Soft,
    /// In a worker thread: it may sleep.
    Task,
}

impl Place {
    /// The word shown in debugfs.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Hard => "hard",
            Self::Soft => "soft",
            Self::Task => "task",
        }
    }
}
