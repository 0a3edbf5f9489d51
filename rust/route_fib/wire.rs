// SPDX-License-Identifier: GPL-2.0

//! The two sockets of a namespace: one hears, one asks.

use super::{
    namespace::Namespace,
    ourselves,
    route::Timing,
    table::Route, //
};
use crate::{
    callout::CalloutOf,
    closure::Closure,
    context::Soft,
    policy::{
        deadline::Delta,
        life::Next,
        rtnl::{uapi, Family, Heard, Hop, Messages, Request, RouteKey, Wanted}, //
    },
    route::RouteTimerQueue,
    sys::{
        context::{breathe, Task},
        net::Held,
        netlink::{Ear, Received, Socket},
        target::Timed, //
    },
};
use core::ops::Range;
use kernel::{prelude::*, sync::Arc};

/// Longer than any message about routes, and what the kernel fills at a time when it lists.
const BUFFER: usize = 32 * 1024;

pub(super) struct Wire {
    ear: Ear<Namespace>,
    asking: Socket,
    again: Arc<Timed<Closure<Soft>>>,
    retries: RouteTimerQueue,
    buf: KVVec<u8>,
    seq: u32,
    /// Something was lost since all was heard.
    lossy: bool,
}

/// How long after the kernel could not list its routes it is asked again.
const PAUSE: Delta = Delta::from_millis(100);

/// How long after a deletion failed it is tried again.
const RETRY: Delta = Delta::from_secs(1);

/// What came of a deletion.
pub(super) enum Deletion {
    /// The route is deleted.
    Done,
    /// It was not there.
    NotThere,
    /// Another was deleted in its place and put back, or could not be. It may be there, behind that one.
    Mistaken(Result),
    /// It may still be there.
    Failed(Error),
}

/// What the kernel said to a request.
struct Reply {
    /// Nothing if it said so, or why not.
    answer: Result,
    /// Whether the route that was asked for was named.
    named: bool,
    /// Where in the buffer another route is that was.
    other: Option<Range<usize>>,
}

impl Wire {
    /// Opens the sockets; `namespace` is told when there is something to hear. In a worker.
    pub(super) fn open(net: &Held, room: i32, namespace: Arc<Namespace>) -> Result<Self> {
        let worker = namespace.clone();
        let again = Closure::<Soft>::new(ourselves(), c"routes_again", move |_run| {
            worker.enqueue();
            Next::Stop
        })?;
        Ok(Self {
            again,
            retries: RouteTimerQueue::new(ourselves(), c"routes_again", RETRY)?,
            buf: KVVec::from_elem(0, BUFFER, GFP_KERNEL)?,
            asking: Socket::open(net)?,
            ear: Ear::new(net, uapi::GROUPS, room, namespace)?,
            seq: 0,
            lossy: false,
        })
    }

    /// Hears the next message.
    pub(super) fn hear(&mut self) -> Result<Received> {
        let heard = self.ear.receive(&mut self.buf);
        self.lossy |= matches!(heard, Ok(Received::Lost) | Err(_));
        heard
    }

    /// All was heard. Answers whether something was lost before: from the first loss until then the kernel
    /// throws away whatever it has to say, and does not say so again.
    pub(super) fn was_lossy(&mut self) -> bool {
        core::mem::replace(&mut self.lossy, false)
    }

    /// What was received last.
    pub(super) fn received(&self, len: usize) -> &[u8] {
        self.buf.get(..len).unwrap_or(&[])
    }

    /// Has the worker try again in a while what it could not do.
    pub(super) fn try_again(&self) {
        let _ = self.again.callout::<Soft>().arm_after(PAUSE);
    }

    /// Has a route deleted later, unless its time has begun anew.
    pub(super) fn retry(&self, route: &Route) {
        if route.due().is_some() {
            return;
        }
        // Refused while softclock is unloaded: then it stays.
        let _ = route.expire_in(&self.retries);
    }

    /// Deletes one route.
    pub(super) fn delete(&mut self, key: &RouteKey) -> Deletion {
        let reply = match self.ask(key) {
            Ok(reply) => reply,
            Err(why) => return Deletion::Failed(why),
        };
        match reply {
            Reply { named: true, .. } => Deletion::Done,
            Reply {
                other: Some(other), ..
            } => Deletion::Mistaken(self.put_back(other)),
            Reply { answer, .. } => match answer {
                Err(why) if why == ESRCH || why == ENOENT => Deletion::NotThere,
                // What it says of a nexthop object that does not exist.
                Err(why) if why == EINVAL && matches!(key.hop, Hop::Object(_)) => {
                    Deletion::NotThere
                }
                Err(why) => Deletion::Failed(why),
                // It had no memory to say which.
                Ok(()) => Deletion::Done,
            },
        }
    }

    /// Finds the first route that is `wanted`.
    pub(super) fn find(&mut self, wanted: &Wanted, task: &Task) -> Result<Option<RouteKey>> {
        if let Some(key) = self.look_up(wanted) {
            return Ok(Some(key));
        }
        let mut found: Option<RouteKey> = None;
        self.list(wanted.prefix.family(), task, |key| {
            let better = found.is_none_or(|best| key.priority < best.priority);
            if better && wanted.fits(key) {
                found = Some(*key);
            }
        })?;
        Ok(found)
    }

    /// Calls `each` with all routes of `family`, as far as they stay what they are meanwhile.
    pub(super) fn list(
        &mut self,
        family: Family,
        task: &Task,
        mut each: impl FnMut(&RouteKey),
    ) -> Result {
        self.settle()?;
        let seq = self.number();
        let request = Request::list(family, seq);
        self.asking.send(request.bytes())?;
        loop {
            let len = match self.asking.receive(&mut self.buf)? {
                Received::Bytes(len) => len,
                Received::Strange => continue,
                Received::Nothing | Received::Lost => return Err(EIO),
            };
            for heard in Messages::answering(seq, self.received(len)) {
                match heard.map_err(|_| EIO)?.0 {
                    Heard::There { route, .. } => {
                        route.keys().flatten().for_each(|key| each(&key));
                    }
                    Heard::Answer(code) => return answer(code),
                    _ => {}
                }
            }
            breathe(task);
        }
    }

    /// The route taken to the first address of the prefix, if that is the one.
    fn look_up(&mut self, wanted: &Wanted) -> Option<RouteKey> {
        self.settle().ok()?;
        let seq = self.number();
        let request = Request::look_up(wanted, seq);
        self.asking.send(request.bytes()).ok()?;
        let Ok(Received::Bytes(len)) = self.asking.receive(&mut self.buf) else {
            return None;
        };
        let mut answers = Messages::answering(seq, self.received(len));
        let (heard, _) = answers.next()?.ok()?;
        let Heard::There { route, .. } = heard else {
            return None;
        };
        let mut keys = route.keys().flatten();
        keys.find(|key| wanted.fits(key))
    }

    /// Asks to have `key` deleted, and hears all that is said to it.
    fn ask(&mut self, key: &RouteKey) -> Result<Reply> {
        self.settle()?;
        let seq = self.number();
        self.asking.send(Request::delete(key, seq).bytes())?;
        let mut reply = Reply {
            answer: Err(EIO),
            named: false,
            other: None,
        };
        // What the other messages go behind.
        let mut kept = 0;
        loop {
            let room = self.buf.get_mut(kept..).ok_or(EIO)?;
            let len = match self.asking.receive(room)? {
                Received::Bytes(len) => len,
                Received::Nothing => return Ok(reply),
                Received::Lost | Received::Strange => continue,
            };
            let bytes = room.get(..len).unwrap_or(&[]);
            // The kernel puts several together in listings only.
            let Some(heard) = Messages::answering(seq, bytes).next() else {
                continue;
            };
            let (heard, whole) = heard.map_err(|_| EIO)?;
            match heard {
                Heard::Gone(route) if route.keys().flatten().any(|gone| gone == *key) => {
                    reply.named = true;
                }
                Heard::Gone(_) if whole.as_ptr() == bytes.as_ptr() => {
                    // This message, and nothing that came with it: it will be sent.
                    let end = kept.saturating_add(whole.len());
                    reply.other = Some(kept..end);
                    kept = end;
                }
                Heard::Answer(code) => reply.answer = answer(code),
                _ => {}
            }
        }
    }

    /// Adds the route again whose end is told in the buffer.
    fn put_back(&mut self, news: Range<usize>) -> Result {
        let seq = self.number();
        Request::restore(self.buf.get_mut(news.clone()).ok_or(EIO)?, seq);
        self.asking.send(self.buf.get(news).ok_or(EIO)?)?;
        match self.asking.receive(&mut self.buf)? {
            Received::Bytes(len) => match Messages::answering(seq, self.received(len)).next() {
                Some(Ok((Heard::Answer(code), _))) => answer(code),
                _ => Err(EIO),
            },
            _ => Err(EIO),
        }
    }

    /// Throws away what an earlier request has left, the rest of a listing above all.
    fn settle(&mut self) -> Result {
        while !matches!(self.asking.receive(&mut self.buf)?, Received::Nothing) {}
        Ok(())
    }

    fn number(&mut self) -> u32 {
        self.seq = self.seq.wrapping_add(1);
        self.seq
    }
}

fn answer(code: i32) -> Result {
    if code < 0 {
        Err(Error::from_errno(code))
    } else {
        Ok(())
    }
}
