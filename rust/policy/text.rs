// SPDX-License-Identifier: GPL-2.0

//! The record format of the debugfs files: one record a line, `kind key=value key=value`.
//!
//! Units stand in the keys (`due_ns`). Values are decimal numbers or single words, so a record
//! splits at blanks, and a word at its first `=`, with no quoting.

#![forbid(unsafe_code)]

use core::{
    ascii::escape_default,
    fmt, //
};

/// The version of the format, bumped when a key changes its meaning or goes away.
pub(crate) const FORMAT: u64 = 1;

/// One line under construction, in a fixed buffer: nothing is allocated to print.
#[derive(Clone, Copy)]
pub(crate) struct Line {
    buf: [u8; Line::MAX],
    len: usize,
}

impl Line {
    /// The longest line, its newline included: more than that of a portal with the longest names and numbers
    /// there are, of 644 bytes, and than 785 of a prober that has counted as far as it can. Longer ones are cut,
    /// never split.
    pub(crate) const MAX: usize = 800;

    /// The longest word of a stranger, as it is shown: what is said of it fits behind it.
    const FOREIGN_MAX: usize = 512;

    /// Begins a record of `kind`.
    pub(crate) fn record(kind: &str) -> Self {
        let mut line = Self {
            buf: [0; Self::MAX],
            len: 0,
        };
        line.push(kind.as_bytes());
        line
    }

    /// The first line of every file: format, ABI of the module, and the time it was read.
    pub(crate) fn header(abi: &str, now_ns: i64) -> Self {
        let mut line = Self {
            buf: [0; Self::MAX],
            len: 0,
        };
        line.push(b"format=");
        line.push_number(FORMAT);
        line.word("abi", abi).number("now_ns", now_ns);
        line
    }

    /// Adds `key=value` with a word for a value.
    pub(crate) fn word(&mut self, key: &str, value: &str) -> &mut Self {
        self.key(key);
        self.push(value.as_bytes());
        self
    }

    /// Adds `key=value` with a signed number for a value.
    pub(crate) fn number(&mut self, key: &str, value: i64) -> &mut Self {
        self.key(key);
        if value < 0 {
            self.push(b"-");
        }
        self.push_number(value.unsigned_abs());
        self
    }

    /// Adds `key=value` with a counter for a value.
    pub(crate) fn count(&mut self, key: &str, value: u64) -> &mut Self {
        self.key(key);
        self.push_number(value);
        self
    }

    /// Adds `key_part=value` with a counter for a value: that of one part of what `key` counts.
    pub(crate) fn part(&mut self, key: &str, part: &str, value: u64) -> &mut Self {
        self.push(b" ");
        self.push(key.as_bytes());
        self.push(b"_");
        self.push(part.as_bytes());
        self.push(b"=");
        self.push_number(value);
        self
    }

    /// Adds `key=value` with a value that is one word when shown.
    pub(crate) fn shown(&mut self, key: &str, value: &dyn fmt::Display) -> &mut Self {
        self.key(key);
        // What does not fit is cut, which is no error.
        let _ = fmt::write(self, format_args!("{value}"));
        self
    }

    /// Adds a word that anybody may have written. What is not printable ASCII is escaped: it could be a
    /// command to a terminal, or look like the end of the line.
    pub(crate) fn foreign(&mut self, word: &str) -> &mut Self {
        self.push(b" ");
        let end = self.len.saturating_add(Self::FOREIGN_MAX);
        for byte in word.bytes() {
            let shown = escape_default(byte);
            if self.len.saturating_add(shown.len()) > end {
                self.push(b"...");
                break;
            }
            for byte in shown {
                self.push(&[byte]);
            }
        }
        self
    }

    /// Adds words for a reader, as they are.
    pub(crate) fn text(&mut self, words: &str) -> &mut Self {
        self.push(b" ");
        self.push(words.as_bytes());
        self
    }

    /// The line so far.
    pub(crate) fn as_str(&self) -> &str {
        let bytes = self.buf.get(..self.len).unwrap_or(&[]);
        core::str::from_utf8(bytes).unwrap_or("?")
    }

    /// Ends the line and gives its bytes.
    pub(crate) fn end(&mut self) -> &[u8] {
        let last = self.len.min(Self::MAX - 1);
        if let Some(slot) = self.buf.get_mut(last) {
            *slot = b'\n';
        }
        self.len = last.saturating_add(1);
        self.buf.get(..self.len).unwrap_or(b"\n")
    }

    fn key(&mut self, key: &str) {
        self.push(b" ");
        self.push(key.as_bytes());
        self.push(b"=");
    }

    fn push(&mut self, bytes: &[u8]) {
        // The last byte belongs to the newline.
        let room = (Self::MAX - 1).saturating_sub(self.len);
        let take = bytes.len().min(room);
        let end = self.len.saturating_add(take);
        if let (Some(slot), Some(from)) = (self.buf.get_mut(self.len..end), bytes.get(..take)) {
            slot.copy_from_slice(from);
            self.len = end;
        }
    }

    fn push_number(&mut self, mut value: u64) {
        // 20 digits hold u64::MAX.
        let mut digits = [b'0'; 20];
        let mut first = digits.len();
        for (at, slot) in digits.iter_mut().enumerate().rev() {
            *slot = DIGITS.get((value % 10) as usize).copied().unwrap_or(b'?');
            first = at;
            value /= 10;
            if value == 0 {
                break;
            }
        }
        self.push(digits.get(first..).unwrap_or(&[]));
    }
}

impl fmt::Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.push(text.as_bytes());
        Ok(())
    }
}

const DIGITS: &[u8; 10] = b"0123456789";
