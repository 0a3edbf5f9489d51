// SPDX-License-Identifier: GPL-2.0

//! `ddi_periodic_add(9F)` and `ddi_periodic_delete(9F)`: for porting drivers of illumos line by line. New
//! code wants [`Periodic`].
//!
//! A [`Table`] belongs to a driver, and has as many requests as memory allows.
//!
//! | illumos | here |
//! |---|---|
//! | `ddi_periodic_add(func, arg, interval, level)` | [`Table::ddi_periodic_add`] |
//! | `ddi_periodic_delete(request)` | [`Table::ddi_periodic_delete`] |
//! | `ddi_periodic_t`, `NULL` | [`Request`], [`Request::NULL`] |
//! | `DDI_IPL_0` | level 0: a worker thread; may sleep |
//! | `DDI_IPL_1` to `DDI_IPL_10` | softirq context: Linux has one level of it |
//! | a null function, or another level, panics | does not compile; `EINVAL` |
//! | 1,024 requests; the next one waits for ever | no limit |
//! | ids are used again: a stale one hits a stranger | never |
//! | the second of two deleters returns at once | both wait |
//! | delete in the own handler panics | `EDEADLK` or `EAGAIN`; the run in progress is the last |
//!
//! The interval is rounded up to a multiple of 10 ms, and the first call is at the next multiple of it
//! since boot, as on illumos; [`Table::native`] takes it as it is.
//!
//! # Examples
//!
//! ```
//! # use softclock::periodic::ddi::Table;
//! # struct MyState;
//! # const CHECK_INTERVAL: i64 = 10_000_000;
//! # let table = Table::new(softclock::owner!(), c"mine")?;
//! # let statep = Arc::new(MyState, GFP_KERNEL)?;
//! // void my_periodic_func(void *arg) { struct my_state *statep = arg; ... }
//! fn my_periodic_func(statep: &MyState) { /* ... */ }
//!
//! // statep->periodic_id = ddi_periodic_add(my_periodic_func, statep, CHECK_INTERVAL, DDI_IPL_0);
//! let id = table.ddi_periodic_add(my_periodic_func, statep.clone(), CHECK_INTERVAL, 0)?;
//! // ddi_periodic_delete(statep->periodic_id);
//! table.ddi_periodic_delete(id)?;
//! ```

use super::{mark_of, Making, Periodic, Rate, Then, Tick};
use crate::{
    context::Soft,
    policy::{
        deadline::Delta,
        life::{CannotWait, Drain, Stop},
    },
    slab::{Key, Slab},
    sys::{context::Task, module::Owner},
};
use kernel::{prelude::*, sync::Arc};

/// A function that is called at regular times with the argument it was added with.
pub type Func<T> = fn(&T);

/// It and its argument.
type Bound = KBox<dyn FnMut() + Send>;

/// Names one request, for ever: it is never that of another one. `ddi_periodic_t`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request(Key);

impl Request {
    /// Names none. `NULL`.
    pub const NULL: Self = Self(Key::NONE);
}

/// What a delete found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deleted {
    /// The request: nothing of it runs any more.
    Deleted,
    /// None: it was deleted before, or is [`Request::NULL`], or of another table.
    Stale,
}

enum Beating {
    Task(Periodic<Task>),
    Soft(Periodic<Soft>),
}

impl Beating {
    fn delete(&self, task: &Task) -> Result<Drain, CannotWait> {
        match self {
            Self::Task(periodic) => periodic.delete(task),
            Self::Soft(periodic) => periodic.delete(task),
        }
    }

    fn stop(&self) -> Stop {
        match self {
            Self::Task(periodic) => periodic.stop(),
            Self::Soft(periodic) => periodic.stop(),
        }
    }
}

/// A driver's requests. Dropping it, in task context, ends those that were not deleted, and says so in the
/// log; that waits for none of them.
pub struct Table {
    owner: Owner,
    name: &'static CStr,
    strict: bool,
    requests: Pin<KBox<Slab<Arc<Beating>>>>,
}

impl Table {
    /// An empty table; `name` is that of its periodics in debugfs and in the log. Task context; may block.
    ///
    /// # Errors
    ///
    /// `EWOULDBLOCK` (`EAGAIN`): this context may not block. `ENOMEM`.
    #[inline(never)]
    pub fn new(owner: Owner, name: &'static CStr) -> Result<Self> {
        Task::new()?;
        Ok(Self {
            owner,
            name,
            strict: true,
            requests: KBox::pin_init(Slab::new(), GFP_KERNEL)?,
        })
    }

    /// The same table without the rules of illumos' clock: intervals from 100 us up, to the nanosecond, and
    /// the first call one interval after the request is added.
    #[must_use]
    pub fn native(mut self) -> Self {
        self.strict = false;
        self
    }

    /// Calls `func(arg)` every `interval_ns`, from now on, until the request is deleted. Task context; may
    /// block. `ddi_periodic_add(9F)`.
    ///
    /// # Errors
    ///
    /// - `EINVAL`: `level` is not within 0 to 10; the interval is zero or less; `func`, or the code that
    ///   calls this, is not part of the module that owns the table; a bad name.
    /// - `ERANGE`: the interval is above 146 years; of a native table: or below 100 us.
    /// - `EWOULDBLOCK` (`EAGAIN`): this context may not block. `ENOMEM`. `ENODEV`: the owner's module is
    ///   being unloaded.
    pub fn ddi_periodic_add<T: Send + Sync + 'static>(
        &self,
        func: Func<T>,
        arg: Arc<T>,
        interval_ns: i64,
        level: i32,
    ) -> Result<Request> {
        let bound = move || func(&arg);
        // The function may be another module's than this, which calls it.
        let caller = mark_of(&bound) as usize;
        let making = self.check(interval_ns, level, [func as usize, caller])?;
        self.add(making, KBox::new(bound, GFP_KERNEL)?, level)
    }

    #[inline(never)]
    fn check(&self, interval_ns: i64, level: i32, [func, caller]: [usize; 2]) -> Result<Making> {
        if !(0..=10).contains(&level) {
            pr_err!(
                "periodic {}: there is no level {}; 0 to 10 are allowed\n",
                self.name,
                level
            );
            return Err(EINVAL);
        }
        let interval = Delta::from_nanos(interval_ns);
        let rate = if self.strict {
            Rate::illumos(interval)
        } else {
            Rate::every(interval)
        };
        let code = if self.owner.contains(func) {
            caller
        } else {
            func
        };
        Making::new(self.owner, self.name, rate, code)
    }

    #[inline(never)]
    fn add(&self, making: Making, mut bound: Bound, level: i32) -> Result<Request> {
        let beating = if level == 0 {
            let call = move |_: &Tick<'_, Task>| {
                bound();
                Then::Repeat
            };
            Beating::Task(Periodic::play(making, KBox::new(call, GFP_KERNEL)?)?)
        } else {
            let call = move |_: &Tick<'_, Soft>| {
                bound();
                Then::Repeat
            };
            Beating::Soft(Periodic::play(making, KBox::new(call, GFP_KERNEL)?)?)
        };
        let beating = Arc::new(beating, GFP_KERNEL)?;
        Ok(Request(self.requests.insert(beating)?))
    }

    /// Ends a request, and waits until its function does not execute any more; so does everybody who
    /// deletes it at the same time. Task context; blocks for the rest of the call in progress.
    /// `ddi_periodic_delete(9F)`.
    ///
    /// Hold no lock that the function takes.
    ///
    /// # Errors
    ///
    /// In all these cases the call in progress is the last one; the request stays, and can be deleted where
    /// waiting is possible.
    ///
    /// - `EDEADLK`: from the function itself, at level 0; or callbacks would wait for each other in a circle.
    /// - `EWOULDBLOCK` (`EAGAIN`): this context may not block; so also from the function itself at other
    ///   levels.
    #[inline(never)]
    pub fn ddi_periodic_delete(&self, request: Request) -> Result<Deleted> {
        let Some(beating) = self.requests.get(request.0) else {
            return Ok(Deleted::Stale);
        };
        let Ok(task) = Task::new() else {
            beating.stop();
            return Err(EAGAIN);
        };
        beating.delete(&task)?;
        // Another one may have done this already.
        drop(self.requests.remove(request.0));
        Ok(Deleted::Deleted)
    }
}

impl Drop for Table {
    fn drop(&mut self) {
        let mut left: u64 = 0;
        let mut from = 0;
        // Each is dropped here, outside the lock.
        while self.requests.pop(&mut from).is_some() {
            left = left.saturating_add(1);
        }
        if left > 0 {
            pr_warn!(
                "client {} left {} periodics {} in their table: all ended\n",
                self.owner.name().as_str(),
                left,
                self.name,
            );
        }
    }
}
