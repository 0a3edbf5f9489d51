// SPDX-License-Identifier: GPL-2.0

//! debugfs files that take commands, and show what came of them.

use super::{super::bindings as b, super::net::Held, Functions, Opened, Operations, Table};
use core::marker::PhantomData;
use kernel::{
    bindings,
    ffi::c_char,
    prelude::*,
    sync::{
        atomic::{Atomic, Relaxed},
        ArcBorrow, //
    },
    uaccess::{UserPtr, UserSlice}, //
};

/// What can be told by lines.
pub(crate) trait Commands: Table {
    /// The longest line, without its end.
    const LINE_MAX: usize;

    /// Executes one line, without its end. Task context.
    fn command(&self, line: &[u8], writer: &Writer<'_>) -> Result;

    /// There is a line that nobody knows all of; says why it is not executed. Task context.
    fn cut_off(&self) -> Error;
}

/// Who wrote a line: the current task, through a file.
pub(crate) struct Writer<'a> {
    file: *const bindings::file,
    _file: PhantomData<&'a bindings::file>,
}

impl Writer<'_> {
    /// Whether both the current task and who opened the file may change the namespace's network.
    pub(crate) fn may_change(&self, net: &Held) -> bool {
        // SAFETY: The namespace is held, and the file is open during the call it came with.
        unsafe { b::softclock_net_may_change(net.raw(), self.file) }
    }
}

impl<T: Commands> Operations<T> {
    /// As [`new`](Self::new), for a file that can be written to.
    pub(crate) fn with_commands() -> Result<Self> {
        let mut this = Self::new()?;
        this.functions.write = Some(Functions::<T>::write);
        this.mode = 0o600;
        Ok(this)
    }
}

impl<T: Commands> Functions<T> {
    /// Executes the lines that are written, up to the first that fails: if that is the very first, it is
    /// the answer, and else the caller writes again from there. Bytes without a line's end are a line only
    /// where nothing stands before them, neither here nor, as it is the `first` write, in the file. Else they
    /// may be what a program's buffer had room for, and mean something else than the line does.
    fn commands(table: &T, bytes: &[u8], first: bool, writer: &Writer<'_>) -> Result<usize> {
        let mut done: usize = 0;
        while let Some(rest) = bytes.get(done..).filter(|rest| !rest.is_empty()) {
            let end = rest.iter().position(|byte| *byte == b'\n');
            // A line that is too long is told that.
            let part = end.is_none() && !first && rest.len() <= T::LINE_MAX;
            let line = rest.get(..end.unwrap_or(rest.len())).unwrap_or(rest);
            let executed = match end {
                None if done > 0 => break,
                None if part => Err(table.cut_off()),
                _ => table.command(line, writer),
            };
            match executed {
                Err(why) if done == 0 => return Err(why),
                Err(_) => break,
                Ok(()) => {}
            }
            done = done
                .saturating_add(line.len())
                .saturating_add(usize::from(end.is_some()));
        }
        Ok(done)
    }

    /// The same for one open file.
    fn take(
        table: &T,
        source: (UserPtr, usize),
        written: &Written,
        writer: &Writer<'_>,
    ) -> Result<usize> {
        let (from, len) = source;
        let first = !written.some.xchg(true, Relaxed);
        if written.cut_off.load(Relaxed) {
            return Err(table.cut_off());
        }
        // A line that is too long is seen to be so.
        let most = len.min(T::LINE_MAX.saturating_add(1).max(PAGE));
        let mut bytes = KVec::new();
        UserSlice::new(from, most).read_all(&mut bytes, GFP_KERNEL)?;
        let done = Self::commands(table, &bytes, first, writer);
        // A program that is refused something throws away what it has: the rest of the last line may follow.
        if done.is_err() && (most < len || bytes.last() != Some(&b'\n')) {
            written.cut_off.store(true, Relaxed);
        }
        done
    }

    /// Takes what is written.
    ///
    /// # Safety
    ///
    /// Called by the kernel only, for a file made with these functions.
    unsafe extern "C" fn write(
        file: *mut bindings::file,
        from: *const c_char,
        len: usize,
        _pos: *mut i64,
    ) -> isize {
        // SAFETY: The file is open, so it has an inode; invariant 2: a live `Arc<T>`.
        let table = unsafe {
            let inode = (*file).f_inode;
            ArcBorrow::from_raw((*inode).i_private.cast::<T>())
        };
        // SAFETY: Invariant 1. Nobody has the whole of an `Opened` for himself while the file is open.
        let written = unsafe {
            let seq = (*file).private_data.cast::<bindings::seq_file>();
            &(*(*seq).private.cast::<Opened<T>>()).written
        };
        let writer = Writer {
            file,
            _file: PhantomData,
        };
        let from = UserPtr::from_ptr(from.cast_mut().cast());
        match Self::take(&table, (from, len), written, &writer) {
            Ok(done) => isize::try_from(done).unwrap_or(isize::MAX),
            Err(why) => why.to_errno() as isize,
        }
    }
}

/// What is known of the writes to an open file.
pub(super) struct Written {
    /// There were some.
    some: Atomic<bool>,
    /// In the middle of a line, whose rest is not known when it comes.
    cut_off: Atomic<bool>,
}

impl Written {
    pub(super) const fn nothing() -> Self {
        Self {
            some: Atomic::new(false),
            cut_off: Atomic::new(false),
        }
    }
}

/// What is taken at a time.
const PAGE: usize = 4096;
