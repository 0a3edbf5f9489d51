// SPDX-License-Identifier: GPL-2.0

//! An answer out of a stream, as its bytes come.
//!
//! A reader has room for one answer, and asks for no byte beyond it. It refuses what cannot become
//! the answer at the first byte that shows it, so that a peer that talks something else, or claims a
//! length no answer has, is neither waited for nor listened to.

#![forbid(unsafe_code)]

use super::{
    header::{Function, Header, SIZE},
    Fault, MAX_RESPONSE,
};

/// How far an answer has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// At least, and for now at most, so many bytes are missing.
    More(usize),
    /// It is all there.
    Done,
    /// It will never be the answer, whatever comes.
    Refused(Fault),
}

/// The bytes of an answer so far.
#[derive(Clone, Debug)]
pub(crate) struct Reader {
    seen: [u8; MAX_RESPONSE],
    have: usize,
    /// How many the part that is being read has: the header, then all of it.
    want: usize,
    /// The transaction id it must have.
    xid: u16,
    refused: Option<Fault>,
}

/// The length of the answer at the front of `bytes`, the first ones of a stream, if all of it is there: then
/// no reader is needed.
pub(crate) fn whole(bytes: &[u8], xid: u16) -> Result<Option<usize>, Fault> {
    let Some(header) = judge(bytes, xid)? else {
        return Ok(None);
    };
    let length = SIZE.saturating_add(usize::from(header.length));
    Ok((length <= bytes.len()).then_some(length))
}

/// Judges a header as far as it is there; `None`: not all of it is.
fn judge(seen: &[u8], xid: u16) -> Result<Option<Header>, Fault> {
    let header = Header::judge(seen, Function::Answer)?;
    match seen.get(8..10) {
        Some(seen) if seen != xid.to_be_bytes() => Err(Fault::Xid),
        _ => Ok(header),
    }
}

impl Reader {
    /// Will read the answer to the inquiry with this transaction id.
    pub(crate) const fn new(xid: u16) -> Self {
        Self {
            seen: [0; MAX_RESPONSE],
            have: 0,
            want: SIZE,
            xid,
            refused: None,
        }
    }

    /// Where the next bytes are to be put, from the front. Never empty while there is
    /// [`Progress::More`].
    pub(crate) fn room(&mut self) -> &mut [u8] {
        match self.refused {
            None => self.seen.get_mut(self.have..self.want).unwrap_or(&mut []),
            Some(_) => &mut [],
        }
    }

    /// So many bytes were put into the [`room`](Self::room).
    pub(crate) fn took(&mut self, bytes: usize) -> Progress {
        self.have = self.have.saturating_add(bytes).min(self.want);
        if self.refused.is_none() && self.want == SIZE {
            self.refused = self.judge().err();
        }
        self.progress()
    }

    /// How far it has come.
    pub(crate) fn progress(&self) -> Progress {
        match (self.refused, self.want.saturating_sub(self.have)) {
            (Some(fault), _) => Progress::Refused(fault),
            (None, 0) => Progress::Done,
            (None, missing) => Progress::More(missing),
        }
    }

    /// The bytes so far.
    pub(crate) fn message(&self) -> &[u8] {
        self.seen.get(..self.have).unwrap_or(&[])
    }

    /// Looks at the header as far as it is there; when all of it is, goes on to what follows.
    fn judge(&mut self) -> Result<(), Fault> {
        if let Some(header) = judge(self.message(), self.xid)? {
            self.want = SIZE.saturating_add(usize::from(header.length));
        }
        Ok(())
    }
}
