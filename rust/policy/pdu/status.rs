// SPDX-License-Identifier: GPL-2.0

//! The status with which an answer begins (RFC 4171, 5.4).

#![forbid(unsafe_code)]

/// Bytes of a status.
pub(crate) const SIZE: usize = 4;

/// A status code, known or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Status(u32);

impl Status {
    /// All is well.
    pub(crate) const OK: Self = Self(0);
    /// What was asked could not be read.
    pub(crate) const FORMAT: Self = Self(2);
    /// The client does not take messages from us.
    pub(crate) const UNAUTHORIZED: Self = Self(8);
    /// The client has no such function.
    pub(crate) const UNSUPPORTED: Self = Self(15);
    /// A server refuses to monitor; a client has no use for it.
    pub(crate) const NO_ESI: Self = Self(21);

    /// The status with this number.
    pub(crate) const fn from_code(code: u32) -> Self {
        Self(code)
    }

    /// Its number.
    pub(crate) const fn code(self) -> u32 {
        self.0
    }

    /// The word shown in debugfs.
    pub(crate) const fn as_str(self) -> &'static str {
        match self.0 {
            0 => "successful",
            1 => "unknown-error",
            2 => "message-format-error",
            3 => "invalid-registration",
            5 => "invalid-query",
            6 => "source-unknown",
            7 => "source-absent",
            8 => "source-unauthorized",
            9 => "no-such-entry",
            10 => "version-not-supported",
            11 => "internal-error",
            12 => "busy",
            13 => "option-not-understood",
            14 => "invalid-update",
            15 => "message-not-supported",
            16 => "scn-event-rejected",
            17 => "scn-registration-rejected",
            18 => "attribute-not-implemented",
            19 => "domain-id-not-available",
            20 => "domain-id-not-allocated",
            21 => "esi-not-available",
            22 => "invalid-deregistration",
            23 => "registration-feature-not-supported",
            _ => "reserved",
        }
    }
}
