// SPDX-License-Identifier: GPL-2.0

//! Names of timers, as shown in debugfs and logs.

#![forbid(unsafe_code)]

/// The name of one timer: 1 to 31 bytes of `A-Z a-z 0-9 _ . : -`, so that it is one word in every
/// record format and cannot forge a line of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Name {
    bytes: [u8; Name::MAX],
    len: usize,
}

/// Why a name was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BadName {
    /// It has no bytes.
    Empty,
    /// It has more than [`Name::MAX`] bytes.
    TooLong,
    /// It has a byte outside the allowed set.
    BadByte,
}

impl BadName {
    /// What was wrong, for a message to the driver's author.
    pub(crate) const fn what(self) -> &'static str {
        match self {
            Self::Empty => "is empty",
            Self::TooLong => "is longer than 31 bytes",
            Self::BadByte => "has a byte outside A-Z a-z 0-9 _ . : -",
        }
    }
}

impl Name {
    /// The most bytes a name may have.
    pub(crate) const MAX: usize = 31;

    /// Checks `bytes` and copies them.
    pub(crate) fn new(bytes: &[u8]) -> Result<Self, BadName> {
        if bytes.is_empty() {
            return Err(BadName::Empty);
        }
        let mut copy = [0; Self::MAX];
        let room = copy.get_mut(..bytes.len()).ok_or(BadName::TooLong)?;
        if !bytes.iter().all(|&b| Self::allows(b)) {
            return Err(BadName::BadByte);
        }
        room.copy_from_slice(bytes);
        Ok(Self {
            bytes: copy,
            len: bytes.len(),
        })
    }

    /// The name's bytes.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or(&[])
    }

    /// The name as text.
    pub(crate) fn as_str(&self) -> &str {
        core::str::from_utf8(self.as_bytes()).unwrap_or("?")
    }

    const fn allows(byte: u8) -> bool {
        byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b':' | b'-')
    }
}
