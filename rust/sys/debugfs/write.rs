// SPDX-License-Identifier: GPL-2.0

//! debugfs files that take commands, and show what came of them.

use super::{super::bindings as b, super::net::Held, Functions, Operations, Table};
use core::marker::PhantomData;
use kernel::{
    bindings,
    ffi::c_char,
    prelude::*,
    sync::ArcBorrow,
    uaccess::{UserPtr, UserSlice}, //
};

/// What can be told by lines.
pub(crate) trait Commands: Table {
    /// The longest line, without its end.
    const LINE_MAX: usize;

    /// Executes one line, without its end. Task context.
    fn command(&self, line: &[u8], writer: &Writer<'_>) -> Result;
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
    /// the answer, and else the caller writes again from there. Bytes behind the last line's end are a line
    /// when nothing stands before them; else they are left for the caller to write again.
    fn commands(table: &T, bytes: &[u8], writer: &Writer<'_>) -> Result<usize> {
        let mut done: usize = 0;
        while let Some(rest) = bytes.get(done..).filter(|rest| !rest.is_empty()) {
            let end = rest.iter().position(|byte| *byte == b'\n');
            if end.is_none() && done > 0 {
                break;
            }
            let line = rest.get(..end.unwrap_or(rest.len())).unwrap_or(rest);
            match table.command(line, writer) {
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
        let writer = Writer {
            file,
            _file: PhantomData,
        };
        // A line that is too long is seen to be so.
        let most = len.min(T::LINE_MAX.saturating_add(1).max(PAGE));
        let source = UserSlice::new(UserPtr::from_ptr(from.cast_mut().cast()), most);
        let mut bytes = KVec::new();
        let done = source
            .read_all(&mut bytes, GFP_KERNEL)
            .and_then(|()| Self::commands(&table, &bytes, &writer));
        match done {
            Ok(done) => isize::try_from(done).unwrap_or(isize::MAX),
            Err(why) => why.to_errno() as isize,
        }
    }
}

/// What is taken at a time.
const PAGE: usize = 4096;
