// SPDX-License-Identifier: GPL-2.0

//! Reader/writer locks with the kernel crate's own lock type, which has none: a writer has the ordinary
//! guard, readers have one of their own.
//!
//! INVARIANT 1: the lock's data is written through its ordinary guard only, which its writer has; a
//! [`ReadGuard`] exists only while its lock is held for reading, and gives shared references only.
//! INVARIANT 2: a `Lock` begins with its state: it is `repr(C)` with that as its first field, which its
//! `from_raw` promises.

use super::bindings as b;
use core::{mem::ManuallyDrop, ops::Deref};
use kernel::{
    bindings,
    ffi::c_char,
    sync::lock::{Backend, Guard, Lock},
};

/// A lock that several may have at once, to read.
///
/// # Safety
///
/// While `lock` of the [`Backend`] is owned nobody reads, and while anybody reads nobody owns it. The
/// guard's state is empty, so that a reader can do without.
pub unsafe trait ReadBackend: Backend<GuardState = ()> {
    /// Waits until the lock can be read under.
    ///
    /// # Safety
    ///
    /// The lock was initialised.
    unsafe fn read_lock(ptr: *mut Self::State);

    /// Does not wait.
    ///
    /// # Safety
    ///
    /// The lock was initialised.
    unsafe fn read_trylock(ptr: *mut Self::State) -> bool;

    /// Gives it back.
    ///
    /// # Safety
    ///
    /// The caller has it for reading, and was the one to take it.
    unsafe fn read_unlock(ptr: *mut Self::State);
}

/// Reading under a reader/writer lock.
pub trait ReadLock {
    /// What it protects.
    type Data;
    /// How it works.
    type Backend: ReadBackend;

    /// Waits for the writer, if there is one. The context is that of `lock`.
    fn read(&self) -> ReadGuard<'_, Self::Data, Self::Backend>;

    /// `None`: a writer has it, or waits for it. Never blocks; otherwise the context is that of `lock`.
    fn try_read(&self) -> Option<ReadGuard<'_, Self::Data, Self::Backend>>;
}

impl<T: Sync, B: ReadBackend> ReadLock for Lock<T, B> {
    type Data = T;
    type Backend = B;

    fn read(&self) -> ReadGuard<'_, T, B> {
        // SAFETY: The lock's constructor has initialised it; invariant 2.
        unsafe { B::read_lock(state_of(self)) };
        ReadGuard::new(self)
    }

    fn try_read(&self) -> Option<ReadGuard<'_, T, B>> {
        // SAFETY: As for `read`.
        unsafe { B::read_trylock(state_of(self)) }.then(|| ReadGuard::new(self))
    }
}

fn state_of<T, B: Backend>(lock: &Lock<T, B>) -> *mut B::State {
    core::ptr::from_ref(lock).cast::<B::State>().cast_mut()
}

/// What a reader has while it reads.
#[must_use = "the lock unlocks immediately when the guard is unused"]
pub struct ReadGuard<'a, T, B: ReadBackend> {
    /// Never dropped: that would unlock as a writer does.
    held: ManuallyDrop<Guard<'a, T, B>>,
}

impl<'a, T: Sync, B: ReadBackend> ReadGuard<'a, T, B> {
    /// The caller has the lock for reading.
    fn new(lock: &'a Lock<T, B>) -> Self {
        // SAFETY: The lock is held, and nobody writes; invariant 1: only `deref` of it is used.
        let held = unsafe { Guard::new(lock, ()) };
        Self {
            held: ManuallyDrop::new(held),
        }
    }

    /// The lock that this is a guard of. Any context; never blocks.
    pub fn lock_ref(&self) -> &'a Lock<T, B> {
        self.held.lock_ref()
    }
}

impl<T, B: ReadBackend> Deref for ReadGuard<'_, T, B> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.held
    }
}

impl<T, B: ReadBackend> Drop for ReadGuard<'_, T, B> {
    fn drop(&mut self) {
        // SAFETY: Invariants 1 and 2; guards do not change threads.
        unsafe { B::read_unlock(state_of(self.held.lock_ref())) }
    }
}

/// The lock backend: `rwlock_t`, with softirqs off.
pub enum SoftRw {}

// SAFETY: `rwlock_t` admits one writer at a time; `relock` is the default, which locks again.
unsafe impl Backend for SoftRw {
    type State = bindings::rwlock_t;
    type GuardState = ();

    unsafe fn init(ptr: *mut Self::State, name: *const c_char, key: *mut bindings::lock_class_key) {
        // SAFETY: `ptr` is valid for writes, `name` and `key` for ever: the contract of `init`.
        unsafe { b::softclock_rwlock_init(ptr, name, key) }
    }

    unsafe fn lock(ptr: *mut Self::State) {
        // SAFETY: The lock was initialised: the contract of `lock`.
        unsafe { b::softclock_write_lock_bh(ptr) }
    }

    unsafe fn try_lock(ptr: *mut Self::State) -> Option<()> {
        // SAFETY: The lock was initialised: the contract of `try_lock`.
        unsafe { b::softclock_write_trylock_bh(ptr) }.then_some(())
    }

    unsafe fn unlock(ptr: *mut Self::State, _guard_state: &()) {
        // SAFETY: The caller owns the lock.
        unsafe { b::softclock_write_unlock_bh(ptr) }
    }

    unsafe fn assert_is_held(ptr: *mut Self::State) {
        // SAFETY: The lock was initialised: the contract of `assert_is_held`.
        unsafe { b::softclock_rwlock_assert_held(ptr) }
    }
}

// SAFETY: `rwlock_t` excludes readers and writers from each other.
unsafe impl ReadBackend for SoftRw {
    unsafe fn read_lock(ptr: *mut Self::State) {
        // SAFETY: The contract of this function.
        unsafe { b::softclock_read_lock_bh(ptr) }
    }

    unsafe fn read_trylock(ptr: *mut Self::State) -> bool {
        // SAFETY: The contract of this function.
        unsafe { b::softclock_read_trylock_bh(ptr) }
    }

    unsafe fn read_unlock(ptr: *mut Self::State) {
        // SAFETY: The contract of this function.
        unsafe { b::softclock_read_unlock_bh(ptr) }
    }
}

/// The lock backend: `rw_semaphore`.
pub enum TaskRw {}

// SAFETY: A semaphore admits one writer at a time; `relock` is the default, which locks again.
unsafe impl Backend for TaskRw {
    type State = bindings::rw_semaphore;
    type GuardState = ();

    unsafe fn init(ptr: *mut Self::State, name: *const c_char, key: *mut bindings::lock_class_key) {
        // SAFETY: `ptr` is valid for writes, `name` and `key` for ever: the contract of `init`.
        unsafe { bindings::__init_rwsem(ptr, name, key) }
    }

    unsafe fn lock(ptr: *mut Self::State) {
        // SAFETY: The lock was initialised: the contract of `lock`.
        unsafe { bindings::down_write(ptr) }
    }

    unsafe fn try_lock(ptr: *mut Self::State) -> Option<()> {
        // SAFETY: The lock was initialised: the contract of `try_lock`.
        (unsafe { bindings::down_write_trylock(ptr) } != 0).then_some(())
    }

    unsafe fn unlock(ptr: *mut Self::State, _guard_state: &()) {
        // SAFETY: The caller owns the lock.
        unsafe { bindings::up_write(ptr) }
    }

    unsafe fn assert_is_held(ptr: *mut Self::State) {
        // SAFETY: The lock was initialised: the contract of `assert_is_held`.
        unsafe { b::softclock_rwsem_assert_held(ptr) }
    }
}

// SAFETY: A semaphore excludes readers and writers from each other.
unsafe impl ReadBackend for TaskRw {
    unsafe fn read_lock(ptr: *mut Self::State) {
        // SAFETY: The contract of this function.
        unsafe { bindings::down_read(ptr) }
    }

    unsafe fn read_trylock(ptr: *mut Self::State) -> bool {
        // SAFETY: The contract of this function.
        unsafe { bindings::down_read_trylock(ptr) != 0 }
    }

    unsafe fn read_unlock(ptr: *mut Self::State) {
        // SAFETY: The contract of this function.
        unsafe { bindings::up_read(ptr) }
    }
}
