// SPDX-License-Identifier: GPL-2.0

//! Sockets of UDP and TCP that never wait, and being told when there is something to do about one.
//!
//! The kernel's own sockets do not keep their namespace alive; theirs is kept from leaving by what they
//! have [entered](Inside) it with.
//!
//! INVARIANT 1: `raw` of a [`Raw`] came from `softclock_socket`, and is released by its drop only.
//! INVARIANT 2: the entry of a [`Watched`] is in the wait queue of its socket from the constructor to the
//! drop, and does not move. The queue calls it under its lock, so after the removal it is not being
//! called and never will be.
//! INVARIANT 3: a socket is used by one thread at a time, and in task context: all functions take
//! `&mut self`, and it is dropped there.

use super::{
    bindings as b,
    net::{Inside, Net},
};
use core::{
    ffi::c_void,
    ptr::{self, NonNull}, //
};
use kernel::{
    bindings,
    error::to_result,
    ffi::{c_int, c_uint},
    prelude::*,
    sync::Arc,
    types::Opaque, //
};

/// An end of a conversation: the address (IPv4 as `::ffff:a.b.c.d`), the interface that a link-local
/// address belongs to, and the port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    pub(crate) ip: [u8; 16],
    pub(crate) scope: u32,
    pub(crate) port: u16,
}

impl Address {
    const NOWHERE: Self = Self {
        ip: [0; 16],
        scope: 0,
        port: 0,
    };

    const fn raw(self) -> b::softclock_peer {
        b::softclock_peer {
            ip: self.ip,
            scope: self.scope,
            port: self.port,
        }
    }

    const fn of(raw: b::softclock_peer) -> Self {
        Self {
            ip: raw.ip,
            scope: raw.scope,
            port: raw.port,
        }
    }
}

/// Is told that something has happened.
pub(crate) trait Bell: Send + Sync + 'static {
    /// Something may be there for the socket at `place`. Any context, with interrupts off and the lock
    /// of a wait queue held: it may queue work, and little else.
    fn ring(this: &Arc<Self>, place: u32);
}

/// What a socket is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sort {
    /// Many conversations over UDP.
    Datagrams,
    /// One connection of TCP.
    Stream,
}

impl Sort {
    /// How many bytes may lie there unread, as far as they are not the kernel's own.
    const fn room(self) -> c_int {
        match self {
            // The answers to a full window, and a flood beside them.
            Self::Datagrams => 4 << 20,
            // More than any answer; a peer that sends more waits.
            Self::Stream => 4096,
        }
    }
}

struct Raw(NonNull<bindings::socket>);

impl Drop for Raw {
    fn drop(&mut self) {
        // SAFETY: Invariants 1 and 3.
        unsafe { bindings::sock_release(self.0.as_ptr()) }
    }
}

/// What the wait queue of a socket knows.
#[pin_data(PinnedDrop)]
struct Watched<B: Bell> {
    #[pin]
    entry: Opaque<bindings::wait_queue_entry>,
    bell: Arc<B>,
    place: u32,
    /// Before what keeps its namespace.
    raw: Raw,
    _inside: Inside,
}

// SAFETY: Sockets may be used and released from any thread, and the `B` is `Send + Sync`.
unsafe impl<B: Bell> Send for Watched<B> {}

impl<B: Bell> Watched<B> {
    fn queue(&self) -> *mut bindings::wait_queue_head {
        // SAFETY: Invariant 1.
        unsafe { &raw mut (*self.raw.0.as_ptr()).wq.wait }
    }
}

/// A socket that tells a `B` when something has happened. Dropping it ends that; a connection is reset.
pub(crate) struct Socket<B: Bell> {
    watched: Pin<KBox<Watched<B>>>,
}

impl<B: Bell> Socket<B> {
    /// Opens one in `net`, for IPv6 or IPv4. Task context, of the kernel's own: what opens it pays for
    /// its memory.
    pub(crate) fn open(
        net: &Arc<Net>,
        v6: bool,
        sort: Sort,
        bell: Arc<B>,
        place: u32,
    ) -> Result<Self> {
        let inside = net.enter()?;
        let mut raw = ptr::null_mut();
        let udp = sort == Sort::Datagrams;
        // SAFETY: The namespace is there, and `raw` is valid for a write.
        to_result(unsafe { b::softclock_socket(inside.raw(), v6, udp, sort.room(), &mut raw) })?;
        // Invariant 1.
        let raw = Raw(NonNull::new(raw).ok_or(ENOMEM)?);
        let entry = bindings::wait_queue_entry {
            func: Some(woken::<B>),
            ..Default::default()
        };
        let watched = KBox::pin_init(
            pin_init!(Watched {
                entry: Opaque::new(entry),
                bell,
                place,
                raw,
                _inside: inside,
            }),
            GFP_KERNEL,
        )?;
        // SAFETY: The socket is open, and the entry is in no queue; it is pinned. Invariant 2.
        unsafe { bindings::add_wait_queue(watched.queue(), watched.entry.get()) };
        Ok(Self { watched })
    }

    fn raw(&mut self) -> *mut bindings::socket {
        self.watched.raw.0.as_ptr()
    }

    /// Begins to connect. It is rung for when that is done, or has failed: sending tells which.
    pub(crate) fn connect(&mut self, to: Address) -> Result {
        let to = to.raw();
        // SAFETY: Invariants 1 and 3, and the address is valid.
        let done = unsafe { b::softclock_connect(self.raw(), &to) };
        if done == -(bindings::EINPROGRESS as c_int) {
            return Ok(());
        }
        to_result(done)
    }

    /// Sends bytes over a connection; how many were taken.
    ///
    /// # Errors
    ///
    /// `EAGAIN`: it is not connected yet. `ENOBUFS`: there was no memory. What has become of the connection.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> Result<usize> {
        // SAFETY: Invariants 1 and 3; the bytes are valid, and only read.
        count(unsafe {
            let bytes = (bytes.as_ptr().cast::<c_void>(), bytes.len());
            b::softclock_send(self.raw(), bytes.0, bytes.1, ptr::null())
        })
    }

    /// Sends a datagram.
    ///
    /// # Errors
    ///
    /// Also what has become of an earlier datagram, anyone's, once for each.
    pub(crate) fn send_to(&mut self, bytes: &[u8], to: Address) -> Result {
        let to = to.raw();
        // SAFETY: Invariants 1 and 3; bytes and address are valid, and only read.
        count(unsafe {
            let bytes = (bytes.as_ptr().cast::<c_void>(), bytes.len());
            b::softclock_send(self.raw(), bytes.0, bytes.1, &to)
        })
        .map(|_| ())
    }

    /// Whether there is a way to where datagrams are to be sent. Nothing is sent, and nobody who sends reports
    /// has a say in it.
    ///
    /// # Errors
    ///
    /// Why there is none.
    pub(crate) fn way_to(&mut self, to: Address) -> Result {
        let to = to.raw();
        // SAFETY: Invariants 1 and 3, and the address is valid.
        to_result(unsafe { b::softclock_way_to(self.raw(), &to) })
    }

    /// Receives what has come over a connection; 0: it has ended.
    ///
    /// # Errors
    ///
    /// `EAGAIN`: nothing. What has become of the connection.
    pub(crate) fn receive(&mut self, room: &mut [u8]) -> Result<usize> {
        // SAFETY: Invariants 1 and 3; the room is valid for writes.
        count(unsafe {
            let room = (room.as_mut_ptr().cast::<c_void>(), room.len());
            b::softclock_receive(self.raw(), room.0, room.1)
        })
    }

    /// Receives a datagram: how long it is, also where there is less room, and from where it came.
    ///
    /// # Errors
    ///
    /// `EAGAIN`: there is none. Also what has become of a datagram that was sent.
    pub(crate) fn receive_from(&mut self, room: &mut [u8]) -> Result<(usize, Address)> {
        let mut from = Address::NOWHERE.raw();
        // SAFETY: Invariants 1 and 3; room and address are valid for writes.
        let got = count(unsafe {
            let room = (room.as_mut_ptr().cast::<c_void>(), room.len());
            b::softclock_receive_from(self.raw(), room.0, room.1, &mut from)
        })?;
        Ok((got, Address::of(from)))
    }

    /// How many datagrams were dropped that came for it, modulo 2^32.
    pub(crate) fn dropped(&mut self) -> u32 {
        // SAFETY: Invariants 1 and 3.
        unsafe { b::softclock_dropped(self.raw()) }
    }

    /// Whether that may have been for want of room: there is little, as nobody has received anything since.
    pub(crate) fn is_full(&mut self) -> bool {
        // SAFETY: Invariants 1 and 3.
        unsafe { b::softclock_is_full(self.raw()) }
    }

    /// The next report, if there is one.
    pub(crate) fn receive_report(&mut self, room: &mut [u8]) -> Option<Report> {
        let mut to = Address::NOWHERE.raw();
        let mut why: c_int = 0;
        // SAFETY: Invariants 1 and 3; what it writes to is valid for that.
        let len = count(unsafe {
            let room = (room.as_mut_ptr().cast::<c_void>(), room.len());
            b::softclock_receive_error(self.raw(), room.0, room.1, &mut to, &mut why)
        });
        Some(Report {
            len: len.ok()?,
            to: Address::of(to),
            why: Error::from_errno(why.saturating_neg()),
        })
    }
}

/// What has become of a datagram that was sent.
pub(crate) struct Report {
    /// How many of its first bytes there are.
    pub(crate) len: usize,
    /// Where it was sent to; port 0: that is not known.
    pub(crate) to: Address,
    pub(crate) why: Error,
}

fn count(done: c_int) -> Result<usize> {
    usize::try_from(done).map_err(|_| Error::from_errno(done))
}

#[pinned_drop]
impl<B: Bell> PinnedDrop for Watched<B> {
    fn drop(self: Pin<&mut Self>) {
        // SAFETY: Invariant 2: it is in that queue. Nobody has it afterwards.
        unsafe { bindings::remove_wait_queue(self.queue(), self.entry.get()) };
    }
}

/// # Safety
///
/// Called by the wait queue only, with the entry of a [`Watched`].
unsafe extern "C" fn woken<B: Bell>(
    entry: *mut bindings::wait_queue_entry,
    _mode: c_uint,
    _flags: c_int,
    _events: *mut c_void,
) -> c_int {
    let entry = entry.cast::<Opaque<bindings::wait_queue_entry>>();
    // SAFETY: Invariant 2: the entry is the field of a `Watched` that is there.
    let watched = unsafe { &*kernel::container_of!(entry, Watched<B>, entry) };
    B::ring(&watched.bell, watched.place);
    0
}
