// SPDX-License-Identifier: GPL-2.0

//! debugfs files that list records.
//!
//! The kernel crate's debugfs renders a whole file in one go, again and again until it fits, and
//! lets its module be unloaded under an open file. These are seq_files: a cursor walks the records
//! in batches, and `owner` is set, so an open file pins the module.
//!
//! INVARIANT 1: `seq_file::private` of an open file is a `KBox<Opened<T>>`, made by `open` and
//! taken back by `release`. seq_file serialises all calls that read one open file, and only those use its
//! cursor; what writes to it shares the rest.
//! INVARIANT 2: `inode::i_private` is the `Arc<T>` of a [`File`], which outlives every `open`:
//! removing the file waits for calls in progress and refuses new ones.

mod write;

pub(crate) use self::write::{Commands, Writer};

use core::ptr;
use kernel::{
    bindings,
    ffi::{c_int, c_void},
    prelude::*,
    sync::{Arc, ArcBorrow},
    types::Opaque,
};

/// Rows fetched at a time; a table holds its lock for this many.
pub(crate) const BATCH: usize = 64;

/// Records in some order.
pub(crate) trait Table: Send + Sync + 'static {
    /// What is copied under the table's lock.
    type Row;
    /// How far a reader has come, and up to where it goes.
    type Place;

    /// Writes the first line.
    fn header(&self, out: &mut Out);

    /// Where a reader begins, when the file is opened or read from its start again. What is made from here
    /// on need not be listed, and where it comes last it is not: or a reader that is slower than who makes
    /// records would never end.
    fn begin(&self) -> Self::Place;

    /// Puts up to [`BATCH`] rows from `place` on into `rows`, which is empty and has room for them, and
    /// moves the place behind them. None: that is all.
    fn fetch(&self, place: &mut Self::Place, rows: &mut KVec<Self::Row>) -> Result;

    /// Writes one row. No lock held.
    fn show(&self, row: &Self::Row, out: &mut Out);
}

/// Where lines go.
pub(crate) struct Out(*mut bindings::seq_file);

impl Out {
    /// Writes bytes. When the buffer is full, seq_file shows the row again into a larger one.
    pub(crate) fn write(&mut self, bytes: &[u8]) {
        // SAFETY: The file is open during `show` (invariant 1), and the slice is valid.
        unsafe { bindings::seq_write(self.0, bytes.as_ptr().cast(), bytes.len()) };
    }
}

/// An open file.
struct Opened<T: Table> {
    cursor: Cursor<T>,
    written: write::Written,
}

struct Cursor<T: Table> {
    table: Arc<T>,
    place: T::Place,
    rows: KVec<T::Row>,
    at: usize,
    header: bool,
}

impl<T: Table> Cursor<T> {
    fn rewind(&mut self) {
        self.rows.clear();
        self.place = self.table.begin();
        self.at = 0;
        self.header = true;
    }

    /// The current record as seq_file's token; null at the end.
    fn token(&mut self) -> *mut c_void {
        if self.header || self.at < self.rows.len() {
            ptr::from_mut(self).cast()
        } else {
            ptr::null_mut()
        }
    }

    fn advance(&mut self) {
        self.at = if self.header {
            0
        } else {
            self.at.saturating_add(1)
        };
        self.header = false;
        if self.at >= self.rows.len() {
            self.rows.clear();
            self.at = 0;
            if self.table.fetch(&mut self.place, &mut self.rows).is_err() {
                // What is missing is better than what is wrong: the file ends here.
                self.rows.clear();
            }
        }
    }

    fn show(&self, out: &mut Out) {
        if self.header {
            self.table.header(out);
        } else if let Some(row) = self.rows.get(self.at) {
            self.table.show(row, out);
        }
    }
}

/// The functions of the files that list a `T`.
struct Functions<T>(core::marker::PhantomData<T>);

impl<T: Table> Functions<T> {
    const SEQ: bindings::seq_operations = bindings::seq_operations {
        start: Some(Self::start),
        stop: Some(Self::stop),
        next: Some(Self::next),
        show: Some(Self::show),
    };

    /// # Safety
    ///
    /// `seq` is an open file of this type.
    unsafe fn cursor<'a>(seq: *mut bindings::seq_file) -> &'a mut Cursor<T> {
        // SAFETY: Invariant 1.
        unsafe { &mut (*(*seq).private.cast::<Opened<T>>()).cursor }
    }

    /// The record at `pos`.
    ///
    /// # Safety
    ///
    /// Called by the kernel only, for a file made with these functions.
    unsafe extern "C" fn start(seq: *mut bindings::seq_file, pos: *mut i64) -> *mut c_void {
        // SAFETY: Called by seq_file on an open file.
        let (cursor, pos) = unsafe { (Self::cursor(seq), *pos) };
        if pos == 0 {
            cursor.rewind();
        }
        cursor.token()
    }

    /// The record after `pos`.
    ///
    /// # Safety
    ///
    /// Called by the kernel only, for a file made with these functions.
    unsafe extern "C" fn next(
        seq: *mut bindings::seq_file,
        _token: *mut c_void,
        pos: *mut i64,
    ) -> *mut c_void {
        // SAFETY: Called by seq_file on an open file; `pos` is its own.
        let cursor = unsafe {
            *pos = (*pos).saturating_add(1);
            Self::cursor(seq)
        };
        cursor.advance();
        cursor.token()
    }

    /// Nothing is held between records.
    ///
    /// # Safety
    ///
    /// Called by the kernel only, for a file made with these functions.
    unsafe extern "C" fn stop(_seq: *mut bindings::seq_file, _token: *mut c_void) {}

    /// Writes the current record.
    ///
    /// # Safety
    ///
    /// Called by the kernel only, for a file made with these functions.
    unsafe extern "C" fn show(seq: *mut bindings::seq_file, _token: *mut c_void) -> c_int {
        // SAFETY: Called by seq_file on an open file.
        unsafe { Self::cursor(seq) }.show(&mut Out(seq));
        0
    }

    /// Opens the file with a cursor of its own.
    ///
    /// # Safety
    ///
    /// Called by the kernel only, for a file made with these functions.
    unsafe extern "C" fn open(inode: *mut bindings::inode, file: *mut bindings::file) -> c_int {
        // SAFETY: `inode` is the one being opened.
        let table = unsafe { (*inode).i_private }.cast::<T>();
        // SAFETY: Invariant 2: a live `Arc<T>`, whose count is left alone.
        let table = unsafe { ArcBorrow::from_raw(table) };
        kernel::error::from_result(|| {
            let cursor = Cursor {
                place: table.begin(),
                table: table.into(),
                rows: KVec::with_capacity(BATCH, GFP_KERNEL)?,
                at: 0,
                header: true,
            };
            let opened = Opened {
                cursor,
                written: write::Written::nothing(),
            };
            let opened = KBox::new(opened, GFP_KERNEL)?;
            // SAFETY: `file` is being opened; the operations live for ever.
            kernel::error::to_result(unsafe { bindings::seq_open(file, &Self::SEQ) })?;
            // SAFETY: `seq_open` succeeded, so the file's private data is a seq_file.
            // Invariant 1.
            unsafe {
                (*(*file).private_data.cast::<bindings::seq_file>()).private =
                    KBox::into_raw(opened).cast();
            }
            Ok(0)
        })
    }

    /// Closes the file.
    ///
    /// # Safety
    ///
    /// Called by the kernel only, for a file made with these functions.
    unsafe extern "C" fn release(inode: *mut bindings::inode, file: *mut bindings::file) -> c_int {
        // SAFETY: Invariant 1: `open` put the box there; nobody uses it any more.
        drop(unsafe {
            let seq = (*file).private_data.cast::<bindings::seq_file>();
            KBox::from_raw((*seq).private.cast::<Opened<T>>())
        });
        // SAFETY: The file was opened by `seq_open`.
        unsafe { bindings::seq_release(inode, file) }
    }
}

extern "C" {
    #[expect(
        improper_ctypes,
        reason = "an empty struct of the kernel lies deep inside; C made it"
    )]
    static __this_module: Opaque<bindings::module>;
}

/// The module this code is in. Never inlined: elsewhere the symbol means another module.
#[inline(never)]
fn this_module() -> *mut bindings::module {
    // SAFETY: Only the address is taken.
    unsafe { __this_module.get() }
}

/// A directory in debugfs, removed with everything in it when dropped.
pub(crate) struct Dir(*mut bindings::dentry);

// SAFETY: debugfs may be used from any thread.
unsafe impl Send for Dir {}
// SAFETY: As above.
unsafe impl Sync for Dir {}

impl Dir {
    /// Makes a directory at the root. Without debugfs it is an error value that every call below accepts.
    pub(crate) fn new(name: &CStr) -> Self {
        // SAFETY: The name is NUL-terminated; a null parent is the root.
        Self(unsafe { bindings::debugfs_create_dir(name.as_char_ptr(), ptr::null_mut()) })
    }

    /// Makes a directory in this one, which the caller keeps longer.
    pub(crate) fn dir(&self, name: &CStr) -> Self {
        // SAFETY: The name is NUL-terminated, and `self.0` came from debugfs.
        Self(unsafe { bindings::debugfs_create_dir(name.as_char_ptr(), self.0) })
    }

    /// Adds a file that lists `table`, readable by root. It cannot fail: whoever opened the first of
    /// several files must not see the module's init give up at the second.
    pub(crate) fn file<T: Table>(
        &self,
        name: &CStr,
        table: Arc<T>,
        operations: Operations<T>,
    ) -> File<T> {
        // SAFETY: The name is NUL-terminated, `self.0` came from debugfs, and what the file uses
        // lives in the `File` (invariant 2) and, while it is open, in this module.
        let dentry = unsafe {
            bindings::debugfs_create_file_full(
                name.as_char_ptr(),
                operations.mode,
                self.0,
                Arc::as_ptr(&table).cast_mut().cast(),
                ptr::null(),
                &*operations.functions,
            )
        };
        File {
            dentry,
            _table: table,
            _operations: operations,
        }
    }
}

/// The kernel's description of a file that lists a `T`.
pub(crate) struct Operations<T> {
    functions: KBox<bindings::file_operations>,
    mode: bindings::umode_t,
    _table: core::marker::PhantomData<fn(T)>,
}

impl<T: Table> Operations<T> {
    /// Allocates the description. Task context; may block.
    pub(crate) fn new() -> Result<Self> {
        let functions = KBox::new(
            bindings::file_operations {
                owner: this_module(),
                open: Some(Functions::<T>::open),
                read: Some(bindings::seq_read),
                llseek: Some(bindings::seq_lseek),
                release: Some(Functions::<T>::release),
                ..pin_init::zeroed()
            },
            GFP_KERNEL,
        )?;
        Ok(Self {
            functions,
            mode: 0o400,
            _table: core::marker::PhantomData,
        })
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        // SAFETY: `self.0` came from debugfs; error values are accepted.
        unsafe { bindings::debugfs_remove(self.0) }
    }
}

/// A file in debugfs, removed when dropped.
pub(crate) struct File<T: Table> {
    dentry: *mut bindings::dentry,
    _table: Arc<T>,
    _operations: Operations<T>,
}

// SAFETY: debugfs may be used from any thread, and `T` is `Send + Sync`.
unsafe impl<T: Table> Send for File<T> {}
// SAFETY: As above.
unsafe impl<T: Table> Sync for File<T> {}

impl<T: Table> Drop for File<T> {
    fn drop(&mut self) {
        // SAFETY: `dentry` came from debugfs; error values are accepted. This waits for calls in
        // progress (invariant 2). The operations stay valid for files still open, because such a
        // file pins the module and this is only dropped when the module leaves.
        unsafe { bindings::debugfs_remove(self.dentry) }
    }
}
