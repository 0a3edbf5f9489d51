// SPDX-License-Identifier: GPL-2.0

//! A stack of shared nodes that anybody may push to, in any context, and that is taken as a whole.
//!
//! No lock, and nothing is allocated: the link is in the node, which is on one stack at most.
//!
//! INVARIANT 1: `next` of a node is null while the node is on no stack, and only then. Whoever changes it
//! from null owns the node's link until it is null again: first who pushes it, then who took it.
//! INVARIANT 2: what `head`, or a node's `next` that is not null, points to came from `Arc::into_raw` and
//! stands for one reference, unless it is the end mark.

use core::{
    ptr,
    sync::atomic::{
        AtomicPtr,
        Ordering::{AcqRel, Acquire, Relaxed, Release}, //
    },
};
use kernel::sync::Arc;

/// Something that can be on a stack.
pub(crate) struct Node<T> {
    next: AtomicPtr<Node<T>>,
    pub(crate) item: T,
}

impl<T> Node<T> {
    /// On no stack.
    pub(crate) const fn new(item: T) -> Self {
        Self {
            next: AtomicPtr::new(ptr::null_mut()),
            item,
        }
    }
}

/// The end mark: no address of a node.
fn end<T>() -> *mut Node<T> {
    ptr::dangling_mut()
}

/// The stack.
pub(crate) struct Stack<T> {
    head: AtomicPtr<Node<T>>,
}

// SAFETY: It owns references to nodes, which are shared with other threads.
unsafe impl<T: Send + Sync> Send for Stack<T> {}
// SAFETY: As above; all access is atomic.
unsafe impl<T: Send + Sync> Sync for Stack<T> {}

impl<T> Stack<T> {
    /// Empty.
    pub(crate) fn new() -> Self {
        Self {
            head: AtomicPtr::new(end()),
        }
    }

    /// Pushes `node`, unless it is on a stack already. Any context.
    pub(crate) fn push(&self, node: Arc<Node<T>>) {
        let claimed = node
            .next
            .compare_exchange(ptr::null_mut(), end(), Acquire, Relaxed);
        if claimed.is_err() {
            return;
        }
        // Invariant 2; the link is ours by invariant 1.
        let raw = Arc::into_raw(node).cast_mut();
        let mut head = self.head.load(Relaxed);
        loop {
            // SAFETY: `raw` stands for a reference, which is ours until the exchange succeeds.
            unsafe { (*raw).next.store(head, Relaxed) };
            match self.head.compare_exchange_weak(head, raw, Release, Relaxed) {
                Ok(_) => return,
                Err(now) => head = now,
            }
        }
    }

    /// Takes all that is there, in the order in which it was pushed.
    pub(crate) fn take(&self) -> Taken<T> {
        let mut rest = self.head.swap(end(), AcqRel);
        let mut first = end();
        while rest != end() {
            // SAFETY: Invariant 2; the links of what was taken are ours.
            let next = unsafe { &(*rest).next };
            let after = next.load(Relaxed);
            next.store(first, Relaxed);
            first = rest;
            rest = after;
        }
        Taken { first }
    }
}

impl<T> Drop for Stack<T> {
    fn drop(&mut self) {
        drop(self.take());
    }
}

/// What was taken from a stack. Each node may be pushed again as soon as it was given out.
pub(crate) struct Taken<T> {
    first: *mut Node<T>,
}

impl<T> Iterator for Taken<T> {
    type Item = Arc<Node<T>>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.first == end() {
            return None;
        }
        // SAFETY: Invariant 2: it stands for a reference, which becomes this one.
        let node = unsafe { Arc::from_raw(self.first) };
        self.first = node.next.load(Relaxed);
        // Invariant 1: from here on anybody may push it.
        node.next.store(ptr::null_mut(), Release);
        Some(node)
    }
}

impl<T> Drop for Taken<T> {
    fn drop(&mut self) {
        for node in self.by_ref() {
            drop(node);
        }
    }
}
