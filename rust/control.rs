// SPDX-License-Identifier: GPL-2.0

//! The file `control`: an operator's commands, executed one by one.
//!
//! Written to, it takes a command a line and answers with the errno of the first that is refused; lines
//! before that were executed, and what `write(2)` returns says how far it got. A last line without its end
//! is one where it is all that was ever written to the open file, and else refused: what a program writes
//! through a buffer is cut off anywhere. Read, it says what was wrong with the last one, and what is allowed.

mod liveness;

use crate::{
    policy::{
        command::{Command, Named, Refused, Wrong, ALLOWED, LINE_MAX},
        rtnl::Wanted,
        text::Line, //
    },
    route_fib::Fibs,
    sys::{
        context::Task,
        debugfs::{Commands, Out, Table, Writer},
        net::Held, //
    },
};
use kernel::{
    new_mutex,
    prelude::*,
    str::CString,
    sync::{Arc, Mutex}, //
};

/// The file.
#[pin_data]
pub(crate) struct Control {
    fibs: Arc<Fibs>,
    #[pin]
    last: Mutex<Last>,
}

/// How the last command ended, and what there is to say of it.
struct Last {
    outcome: Option<Result<(), Error>>,
    told: Line,
}

/// Why a command was not executed.
struct Failure<'a> {
    errno: Error,
    /// The word it is about, or nothing.
    word: &'a str,
    why: &'static str,
}

impl Control {
    pub(crate) fn new(fibs: Arc<Fibs>) -> Result<Arc<Self>> {
        Arc::pin_init(
            pin_init!(Self {
                fibs,
                last <- new_mutex!(Last {
                    outcome: None,
                    told: Line::record("#"),
                }),
            }),
            GFP_KERNEL,
        )
    }

    fn execute<'a>(&self, line: &'a [u8], writer: &Writer<'_>) -> Result<(), Failure<'a>> {
        let command = Command::parse(line).map_err(|refused| not_understood(&refused))?;
        match command {
            None => Ok(()),
            Some(Command::RouteAdd { route, timeout }) => {
                let (net, wanted) = self.place(&route, writer)?;
                let task = Task::new().map_err(|e| failed(e, "this is no context for it"))?;
                let done = self.fibs.expire_after(net, wanted, timeout, None, &task);
                done.map(drop).map_err(no_route)
            }
            Some(Command::Liveness { service, pid, what }) => {
                liveness::execute(service, what, &namespace(pid, writer)?)
            }
            Some(Command::RouteForget { route }) => {
                let (net, wanted) = self.place(&route, writer)?;
                let done = self.fibs.forget(&net, &wanted);
                done.map(drop)
                    .map_err(|e| failed(e, "no operator has added such a route here"))
            }
        }
    }

    /// The namespace a route is in, and the route with its device's number.
    fn place<'a>(
        &self,
        route: &Named<'a>,
        writer: &Writer<'_>,
    ) -> Result<(Held, Wanted), Failure<'a>> {
        let net = namespace(route.pid, writer)?;
        let mut wanted = route.wanted;
        if let Some(name) = route.dev {
            let name = CString::try_from_fmt(fmt!("{name}"))
                .map_err(|e| failed(e, "there is no memory"))?;
            let index = net.device(&name);
            wanted.oif = Some(index.ok_or(failed(ENOENT, "there is no device dev="))?);
        }
        Ok((net, wanted))
    }
}

/// The namespace of the process `pid`, or of this one, if the writer may change it.
fn namespace<'a>(pid: Option<u32>, writer: &Writer<'_>) -> Result<Held, Failure<'a>> {
    let net = match pid {
        None => Held::of_this_task(),
        Some(pid) => Held::of_process(pid),
    };
    let net = net.map_err(|_| failed(ENOENT, "there is no process pid=, or it is exiting"))?;
    if !writer.may_change(&net) {
        return Err(failed(EPERM, "this needs CAP_NET_ADMIN in the namespace"));
    }
    Ok(net)
}

fn not_understood<'a>(refused: &Refused<'a>) -> Failure<'a> {
    Failure {
        errno: match refused.wrong {
            Wrong::Form => EINVAL,
            Wrong::Range => ERANGE,
        },
        word: refused.word,
        why: refused.why,
    }
}

fn failed<'a>(errno: Error, why: &'static str) -> Failure<'a> {
    Failure {
        errno,
        word: "",
        why,
    }
}

fn no_route<'a>(errno: Error) -> Failure<'a> {
    match errno {
        e if e == ENOENT => failed(e, "the kernel has no such route"),
        e if e == EEXIST => failed(e, "a driver has it watched: see route/watched"),
        e if e == EBUSY => failed(e, "the route comes and goes all the time"),
        e if e == ENODEV => failed(e, "the namespace is leaving, or softclock is"),
        e if e == ENOMEM => failed(e, "there is no memory"),
        _ => failed(EIO, "the kernel did not say which routes there are"),
    }
}

impl Commands for Control {
    const LINE_MAX: usize = LINE_MAX;

    fn command(&self, line: &[u8], writer: &Writer<'_>) -> Result {
        let done = self.execute(line, writer);
        let mut last = self.last.lock();
        last.told = Line::record("#");
        let done = done.map_err(|Failure { errno, word, why }| {
            if !word.is_empty() {
                last.told.foreign(word);
            }
            last.told.text(why);
            errno
        });
        last.outcome = Some(done);
        done
    }

    fn cut_off(&self) -> Error {
        let why = "this line has no end, or no beginning: write whole lines";
        *self.last.lock() = Last {
            outcome: Some(Err(EINVAL)),
            told: *Line::record("#").text(why),
        };
        EINVAL
    }
}

/// What is read: a line of it.
pub(crate) enum Row {
    Outcome(Option<Result<(), Error>>),
    Told(KBox<Line>),
    Allowed(&'static str),
}

impl Table for Control {
    type Row = Row;
    type Place = bool;

    fn header(&self, out: &mut Out) {
        crate::debugfs::header(out);
    }

    fn begin(&self) -> bool {
        false
    }

    fn fetch(&self, done: &mut bool, rows: &mut KVec<Row>) -> Result {
        if core::mem::replace(done, true) {
            return Ok(());
        }
        let last = self.last.lock();
        let mut push = |row| rows.push_within_capacity(row).map_err(|_| ENOMEM);
        push(Row::Outcome(last.outcome))?;
        if matches!(last.outcome, Some(Err(_))) {
            push(Row::Told(KBox::new(last.told, GFP_KERNEL)?))?;
        }
        for line in ALLOWED {
            push(Row::Allowed(line))?;
        }
        Ok(())
    }

    fn show(&self, row: &Row, out: &mut Out) {
        match row {
            Row::Outcome(outcome) => {
                let mut line = Line::record("last");
                match outcome {
                    None => line.word("result", "none"),
                    Some(Ok(())) => line.word("result", "done"),
                    Some(Err(errno)) => line
                        .word("result", "refused")
                        .word("errno", errno_name(*errno)),
                };
                out.write(line.end());
            }
            Row::Told(told) => {
                let mut line = **told;
                out.write(line.end());
            }
            Row::Allowed(text) => out.write(Line::record("# allowed:").text(text).end()),
        }
    }
}

/// The kernel knows names of errors only if it was built to.
fn errno_name(errno: Error) -> &'static str {
    match errno {
        e if e == EINVAL => "EINVAL",
        e if e == ERANGE => "ERANGE",
        e if e == ENOENT => "ENOENT",
        e if e == EBUSY => "EBUSY",
        e if e == EEXIST => "EEXIST",
        e if e == ENOSPC => "ENOSPC",
        e if e == EPERM => "EPERM",
        e if e == ENODEV => "ENODEV",
        e if e == ENOMEM => "ENOMEM",
        _ => "EIO",
    }
}
