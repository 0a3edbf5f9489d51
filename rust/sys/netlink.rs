// SPDX-License-Identifier: GPL-2.0

//! Sockets of `rtnetlink(7)`, and being told when there is something to receive.
//!
//! The kernel's own sockets do not keep their namespace alive: whoever has one closes it when the
//! namespace leaves ([`net`](super::net)).
//!
//! Whoever may configure a namespace may send to all of its sockets and groups, and what he says is not
//! true. So a socket here is connected to the kernel, which refuses what others send to it alone; and what
//! others send to its groups is not believed: [`Received::Strange`].
//!
//! INVARIANT 1: `raw` of a [`Socket`] came from `sock_create_kern`, and is released by its drop only.
//! INVARIANT 2: the entry of an [`Ear`] is in the wait queue of its socket from the constructor to the
//! drop, and does not move. The queue calls it under its lock, so that after the removal it is not being
//! called and never will be.

use super::{
    bindings as b,
    net::Held, //
};
use core::{
    mem::size_of,
    ptr::{self, NonNull}, //
};
use kernel::{
    bindings,
    error::to_result,
    ffi::{c_int, c_uint, c_void},
    prelude::*,
    sync::{Arc, ArcBorrow}, //
};

const AF_NETLINK: u16 = 16;
const SOCK_RAW: i32 = 3;
const NETLINK_ROUTE: i32 = 0;
const MSG_TRUNC: u32 = 0x20;
const MSG_DONTWAIT: i32 = 0x40;

/// A socket to the kernel's configuration of one namespace.
pub(crate) struct Socket {
    raw: NonNull<bindings::socket>,
}

// SAFETY: Sockets may be used and released from any thread; the kernel serialises what must be.
unsafe impl Send for Socket {}

/// What came of a [`Socket::receive`].
pub(crate) enum Received {
    /// So many bytes, in the buffer.
    Bytes(usize),
    /// Nothing is there now.
    Nothing,
    /// Something was there and is lost: there was no room for it.
    Lost,
    /// Something was there that the kernel has not said.
    Strange,
}

impl Socket {
    /// Opens one in `net`, which hears the kernel's answers only. Task context, of the kernel's own: what
    /// opens it pays for its memory.
    pub(crate) fn open(net: &Held) -> Result<Self> {
        let this = Self::create(net)?;
        this.connect()?;
        Ok(this)
    }

    fn create(net: &Held) -> Result<Self> {
        let mut raw = ptr::null_mut();
        // SAFETY: The namespace is held, and `raw` is valid for a write.
        to_result(unsafe {
            bindings::sock_create_kern(
                net.raw(),
                i32::from(AF_NETLINK),
                SOCK_RAW,
                NETLINK_ROUTE,
                &mut raw,
            )
        })?;
        // Invariant 1.
        Ok(Self {
            raw: NonNull::new(raw).ok_or(ENOMEM)?,
        })
    }

    /// From here on nobody but the kernel can send to it alone.
    fn connect(&self) -> Result {
        let mut kernel = kernel();
        // SAFETY: Invariant 1, and the address is as long as is said.
        to_result(unsafe {
            bindings::kernel_connect(
                self.raw.as_ptr(),
                (&raw mut kernel).cast(),
                size_of::<bindings::sockaddr_nl>() as c_int,
                0,
            )
        })
    }

    /// Hears the groups of the mask `groups` from now on, and keeps up to `room` bytes of it.
    fn join(&self, groups: u32, room: i32) -> Result {
        let mut address = bindings::sockaddr_nl {
            nl_groups: groups,
            ..kernel()
        };
        // SAFETY: Invariant 1.
        unsafe { b::softclock_set_rcvbuf(self.raw.as_ptr(), room) };
        // SAFETY: Invariant 1, and the address is as long as is said.
        to_result(unsafe {
            bindings::kernel_bind(
                self.raw.as_ptr(),
                (&raw mut address).cast(),
                size_of::<bindings::sockaddr_nl>() as c_int,
            )
        })
    }

    /// Sends a request to the kernel, which executes it before this returns. Task context; may block.
    pub(crate) fn send(&self, request: &[u8]) -> Result {
        // Without an address the kernel would look at the rights of the socket's file, and there is
        // none.
        let mut kernel = kernel();
        let mut message = bindings::msghdr {
            msg_name: (&raw mut kernel).cast(),
            msg_namelen: size_of::<bindings::sockaddr_nl>() as c_int,
            ..Default::default()
        };
        let mut bytes = bindings::kvec {
            iov_base: request.as_ptr().cast_mut().cast::<c_void>(),
            iov_len: request.len(),
        };
        // SAFETY: Invariant 1; address and bytes are valid for the call, which only reads them.
        to_result(unsafe {
            bindings::kernel_sendmsg(
                self.raw.as_ptr(),
                &mut message,
                &mut bytes,
                1,
                request.len(),
            )
        })
    }

    /// Receives what is there. Task context; does not wait.
    pub(crate) fn receive(&self, buf: &mut [u8]) -> Result<Received> {
        let mut sender = kernel();
        let mut message = bindings::msghdr {
            msg_name: (&raw mut sender).cast(),
            ..Default::default()
        };
        let mut bytes = bindings::kvec {
            iov_base: buf.as_mut_ptr().cast::<c_void>(),
            iov_len: buf.len(),
        };
        // SAFETY: Invariant 1; the address and the bytes are valid for writes for the call.
        let got = unsafe {
            bindings::kernel_recvmsg(
                self.raw.as_ptr(),
                &mut message,
                &mut bytes,
                1,
                buf.len(),
                MSG_DONTWAIT,
            )
        };
        match usize::try_from(got) {
            Ok(_) if sender.nl_pid != 0 => Ok(Received::Strange),
            Ok(_) if message.msg_flags & MSG_TRUNC != 0 => Ok(Received::Lost),
            Ok(len) => Ok(Received::Bytes(len)),
            Err(_) if got == EAGAIN.to_errno() => Ok(Received::Nothing),
            Err(_) if got == -(bindings::ENOBUFS as c_int) => Ok(Received::Lost),
            Err(_) => Err(Error::from_errno(got)),
        }
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // SAFETY: Invariant 1.
        unsafe { bindings::sock_release(self.raw.as_ptr()) }
    }
}

/// The address of the kernel, in every namespace.
fn kernel() -> bindings::sockaddr_nl {
    bindings::sockaddr_nl {
        nl_family: AF_NETLINK,
        ..Default::default()
    }
}

/// Is told when there may be something to receive.
pub(crate) trait OnNews: Send + Sync + 'static {
    /// Any context, with interrupts off: it may queue work, and little else.
    fn on_news(this: ArcBorrow<'_, Self>);
}

/// A socket that hears groups, and tells a `T` of it. Dropping it ends that, in task context.
pub(crate) struct Ear<T: OnNews> {
    socket: Socket,
    entry: NonNull<Entry<T>>,
}

#[repr(C)]
struct Entry<T: OnNews> {
    /// First: the queue knows the address of this.
    entry: bindings::wait_queue_entry,
    target: Arc<T>,
}

// SAFETY: What it owns may be sent: a socket, and a reference to a `T`, which is `Send + Sync`.
unsafe impl<T: OnNews> Send for Ear<T> {}

impl<T: OnNews> Ear<T> {
    /// Hears `groups` in `net` and keeps up to `room` bytes that are not received yet. As
    /// [`Socket::open`].
    pub(crate) fn new(net: &Held, groups: u32, room: i32, target: Arc<T>) -> Result<Self> {
        let socket = Socket::create(net)?;
        let entry = KBox::new(
            Entry {
                entry: bindings::wait_queue_entry {
                    func: Some(woken::<T>),
                    ..Default::default()
                },
                target,
            },
            GFP_KERNEL,
        )?;
        let entry = NonNull::from(KBox::leak(entry));
        // SAFETY: The socket is open, and the entry is not in a queue; it was leaked, so it stays where it
        // is. Invariant 2.
        unsafe {
            bindings::add_wait_queue(Self::queue(&socket), &raw mut (*entry.as_ptr()).entry);
        }
        let this = Self { socket, entry };
        // Only now: nothing is heard before somebody listens.
        this.socket.join(groups, room)?;
        // After that: it gets its number there.
        this.socket.connect()?;
        Ok(this)
    }

    /// As [`Socket::receive`].
    pub(crate) fn receive(&self, buf: &mut [u8]) -> Result<Received> {
        self.socket.receive(buf)
    }

    fn queue(socket: &Socket) -> *mut bindings::wait_queue_head {
        // SAFETY: Invariant 1.
        unsafe { &raw mut (*socket.raw.as_ptr()).wq.wait }
    }
}

impl<T: OnNews> Drop for Ear<T> {
    fn drop(&mut self) {
        // SAFETY: Invariant 2: it is in that queue, and nobody has it afterwards; it was a box.
        drop(unsafe {
            bindings::remove_wait_queue(
                Self::queue(&self.socket),
                &raw mut (*self.entry.as_ptr()).entry,
            );
            KBox::from_raw(self.entry.as_ptr())
        });
    }
}

/// # Safety
///
/// Called by the wait queue only, with the entry of an [`Ear`].
unsafe extern "C" fn woken<T: OnNews>(
    entry: *mut bindings::wait_queue_entry,
    _mode: c_uint,
    _flags: c_int,
    _key: *mut c_void,
) -> c_int {
    // SAFETY: Invariant 2: the entry is alive, and the first field of its `Entry<T>`.
    let target = unsafe { &(*entry.cast::<Entry<T>>()).target };
    T::on_news(target.as_arc_borrow());
    0
}
