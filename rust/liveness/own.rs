// SPDX-License-Identifier: GPL-2.0

//! Asking by functions of a driver's own: [`Probe`].

use super::{
    ask::{Ask, Counts, End, Judge, Prober, Why},
    entity::ourselves,
    fifo::{Fifo, Linked},
    service::{Service, ASK},
    table::Text,
    terms::Portal,
};
use crate::{
    callout::{Callout, CalloutOf, OnExpire},
    context::{Expiry, Soft},
    inflight::now,
    policy::{
        deadline::{Delta, Instant},
        esi::attempts::{Attempts, Made, Spacing, Step},
        life::Next,
        pdu::address,
    },
    slab::{Key, Slab},
    sys::{lock::RawLock, net::Held, target::Timed},
    Hub,
};
use kernel::{
    prelude::*,
    static_lock_class,
    sync::{
        atomic::{Atomic, Full, Relaxed},
        Arc,
        ArcBorrow, //
    },
    workqueue::{impl_has_work, Work, WorkItem},
};

/// A driver's own way to find out whether a portal lives.
///
/// # Examples
///
/// ```
/// # use softclock::liveness::{Asking, Probe};
/// # struct Bus;
/// # impl Bus { fn sends(&self, _number: u64, _asking: Asking) -> bool { true } }
/// struct Controllers(Bus);
///
/// impl Probe for Controllers {
///     fn ask(&self, asking: Asking) {
///         // Its interrupt handler calls asking.alive() when the controller has answered.
///         if let Some(number) = asking.portal().number() {
///             self.0.sends(number, asking);
///         }
///     }
/// }
/// ```
pub trait Probe: Send + Sync + 'static {
    /// Makes one attempt to ask a portal. Task context; it should send the question and return, for all
    /// probes of the service are asked one after the other.
    ///
    /// `asking` is answered when the answer comes, from wherever that is; see [`Asking`]. How many
    /// attempts there are, and how long one waits, is the service's affair: an attempt that is not
    /// answered in time is followed by another call of this, or by the portal's death.
    fn ask(&self, asking: Asking);
}

/// One attempt to ask a portal. It is answered once, now or later, from any context in which memory can
/// be freed: by [`alive`](Self::alive) or [`failed`](Self::failed).
///
/// An answer to an earlier attempt counts as long as the probe goes on. To drop it before the attempt is
/// over means that the portal could not be asked: that is no reason to believe that it is dead, so the
/// probe, if nothing else is heard, ends without a verdict. After that it means nothing.
pub struct Asking {
    asked: Arc<Timed<Asked>>,
    attempt: u8,
    answered: bool,
}

impl Asking {
    /// The entity's name. Any context.
    pub fn eid(&self) -> &str {
        self.asked.name.as_str()
    }

    /// The portal that is asked about. Any context.
    pub fn portal(&self) -> Portal {
        Portal::of(&self.asked.portal)
    }

    /// The port at which it wants to be asked, in wire form. Any context.
    pub fn port(&self) -> u32 {
        self.asked.at.raw()
    }

    /// The index of the device that a link-local address is on, else 0. Any context.
    pub fn device(&self) -> u32 {
        self.asked.scope
    }

    /// Which attempt of the probe it is, from 1 on. Any context.
    pub fn attempt(&self) -> u8 {
        self.attempt
    }

    /// How many there will be if none is answered. Any context.
    pub fn attempts(&self) -> u8 {
        self.asked.spacing.count()
    }

    /// How long this one waits for its answer. Any context.
    pub fn patience(&self) -> Delta {
        self.asked.spacing.apart()
    }

    /// The portal has answered: it lives. `false`: too late, the probe is over. Any context in which
    /// memory can be freed.
    pub fn alive(mut self) -> bool {
        self.answer(Answer::Alive)
    }

    /// The attempt has failed, which is as if it had not been answered, but known sooner: the next one
    /// follows within a second. `false`: the probe is over. Any context in which memory can be freed.
    pub fn failed(mut self) -> bool {
        self.answer(Answer::Failed)
    }

    #[inline(never)]
    fn answer(&mut self, answer: Answer) -> bool {
        self.answered = true;
        let counts = self.asked.answer(self.attempt, answer);
        if counts {
            self.asked.own.wants(self.asked.clone());
        }
        counts
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        if !self.answered {
            self.answer(Answer::NotAsked);
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Answer {
    Alive,
    Failed,
    NotAsked,
}

/// A probe, until it is over and the last [`Asking`] of it is gone.
#[pin_data]
struct Asked {
    #[pin]
    alarm: Callout<Self, Soft>,
    own: Arc<Own>,
    portal: address::Portal,
    at: address::Port,
    scope: u32,
    name: Text,
    spacing: Spacing,
    tag: u32,
    #[pin]
    state: RawLock<State>,
}

crate::impl_has_callout! { impl HasCallout<Soft> for Asked { self.alarm } }

struct State {
    /// Until it is over.
    judge: Option<Arc<dyn Judge>>,
    attempts: Option<Attempts>,
    answered: Option<Instant>,
    /// The attempt that has failed and was not looked at; 0: none.
    failed: u8,
    /// Why the last one that failed did.
    why: Why,
    /// One could not be asked.
    doubt: bool,
    next: Option<Arc<Timed<Asked>>>,
    key: Key,
}

impl Linked for Timed<Asked> {
    fn with_next<R>(this: &Arc<Self>, f: impl FnOnce(&mut Option<Arc<Self>>) -> R) -> R {
        f(&mut this.state.lock().next)
    }
}

impl OnExpire<Soft> for Asked {
    fn expire(this: ArcBorrow<'_, Timed<Self>>, _run: &Expiry<'_, Soft>) -> Next {
        this.own.wants(this.into());
        Next::Stop
    }
}

impl State {
    /// The attempts, if there were any.
    fn so_far(&self) -> Option<Made> {
        self.attempts.as_ref().map(Attempts::so_far)
    }

    /// This attempt is the last so far.
    fn is_at(&self, attempt: u8) -> bool {
        self.attempts
            .is_some_and(|attempts| attempts.made() == attempt)
    }
}

/// What comes next in a probe.
enum Turn {
    Ask { due: Instant, attempt: u8 },
    Wait(Instant),
    End(End),
}

impl Asked {
    fn answer(&self, attempt: u8, answer: Answer) -> bool {
        let at = now();
        let mut state = self.state.lock();
        if state.judge.is_none() {
            return false;
        }
        match answer {
            Answer::Alive => {
                state.answered.get_or_insert(at);
            }
            Answer::Failed => {
                state.failed = attempt;
                state.why = Why::Other(0);
            }
            // One whose time is over was missed, whatever becomes of its token.
            Answer::NotAsked if state.is_at(attempt) => {
                state.failed = attempt;
                state.doubt = true;
            }
            Answer::NotAsked => return false,
        }
        true
    }

    /// What comes next, and which attempt was missed.
    fn turn(&self, now: Instant) -> (Turn, Option<u8>) {
        let mut state = self.state.lock();
        let Some(mut attempts) = state.attempts else {
            let (attempts, step) = Attempts::begin(self.spacing, now);
            state.attempts = Some(attempts);
            return (Self::after(&state, attempts, step), None);
        };
        if let Some(at) = state.answered {
            let attempts = attempts.so_far();
            return (Turn::End(End::Answered { at, attempts }), None);
        }
        let made = attempts.made();
        let step = if core::mem::take(&mut state.failed) == made {
            attempts.failed(now)
        } else {
            attempts.due(now)
        };
        state.attempts = Some(attempts);
        let missed = matches!(step, Step::Send(_)).then_some(made);
        (Self::after(&state, attempts, step), missed)
    }

    fn after(state: &State, attempts: Attempts, step: Step) -> Turn {
        match step {
            Step::Send(due) => Turn::Ask {
                due,
                attempt: attempts.made(),
            },
            Step::Wait(due) => Turn::Wait(due),
            Step::Dead if state.doubt => Turn::End(End::Void {
                attempts: Some(attempts.so_far()),
            }),
            Step::Dead => Turn::End(End::Silent {
                attempts: attempts.so_far(),
                why: state.why,
            }),
        }
    }
}

/// All probes of a service whose driver asks itself.
#[pin_data]
pub(crate) struct Own {
    #[pin]
    work: Work<Own>,
    #[pin]
    turns: Fifo<Timed<Asked>>,
    #[pin]
    flying: Slab<Arc<Timed<Asked>>>,
    sweep: Atomic<bool>,
    #[pin]
    counts: RawLock<Counts>,
    #[pin]
    driver: RawLock<Driver>,
}

/// What there is until the service ends.
struct Driver {
    probe: Option<Arc<dyn Probe>>,
    service: Option<Arc<Service>>,
}

impl_has_work! {
    impl HasWork<Self> for Own { self.work }
}

impl Own {
    /// Task context; may block.
    pub(super) fn new(probe: Arc<dyn Probe>) -> Result<Arc<Self>> {
        let driver = Driver {
            probe: Some(probe),
            service: None,
        };
        Arc::pin_init(
            pin_init!(Self {
                work <- Work::new(c"softclock_ask", static_lock_class!()),
                turns <- Fifo::new(),
                flying <- Slab::new(),
                sweep: Atomic::new(false),
                counts <- RawLock::new(Counts::default(), c"softclock_asked", static_lock_class!()),
                driver <- RawLock::new(driver, c"softclock_probe", static_lock_class!()),
            }),
            GFP_KERNEL,
        )
    }

    /// The service whose probes they are.
    pub(super) fn belongs_to(&self, service: &Arc<Service>) {
        self.driver.lock().service = Some(service.clone());
    }

    /// Nobody asks any more, and nothing executes: gives the driver away, to be dropped without a lock.
    pub(super) fn part(&self) -> impl Sized + use<> {
        let mut driver = self.driver.lock();
        (driver.probe.take(), driver.service.take())
    }

    /// A probe wants its turn. Any context but NMI.
    fn wants(self: &Arc<Self>, asked: Arc<Timed<Asked>>) {
        if self.turns.push(asked) {
            self.kick();
        }
    }

    fn kick(self: &Arc<Self>) {
        if let Ok(hub) = Hub::get() {
            let _ = hub.callbacks().enqueue::<_, 0>(self.clone());
        }
    }

    fn advance(&self, asked: &Arc<Timed<Asked>>) {
        let Some(judge) = asked.state.lock().judge.clone() else {
            return;
        };
        if !judge.wants(asked.tag) {
            let attempts = asked.state.lock().so_far();
            return self.finish(asked, End::Void { attempts });
        }
        let (turn, missed) = asked.turn(now());
        if let Some(attempt) = missed {
            judge.missed(asked.tag, attempt, asked.spacing.count());
        }
        drop(judge);
        match turn {
            Turn::Wait(due) => {
                let _ = asked.callout::<Soft>().arm_at(due);
            }
            Turn::Ask { due, attempt } => {
                let _ = asked.callout::<Soft>().arm_at(due);
                self.made();
                self.ask(asked, attempt);
            }
            Turn::End(end) => self.finish(asked, end),
        }
    }

    fn made(&self) {
        let mut counts = self.counts.lock();
        counts.attempts = counts.attempts.saturating_add(1);
    }

    /// Calls the driver.
    fn ask(&self, asked: &Arc<Timed<Asked>>, attempt: u8) {
        let probe = self.driver.lock().probe.clone();
        if let Some(probe) = probe {
            probe.ask(Asking {
                asked: asked.clone(),
                attempt,
                answered: false,
            });
        }
    }

    fn finish(&self, asked: &Arc<Timed<Asked>>, end: End) {
        let (judge, key) = {
            let mut state = asked.state.lock();
            (
                state.judge.take(),
                core::mem::replace(&mut state.key, Key::NONE),
            )
        };
        asked.alarm.stop();
        drop(self.flying.remove(key));
        let Some(judge) = judge else {
            return;
        };
        {
            let mut counts = self.counts.lock();
            let which = match end {
                End::Answered { .. } => &mut counts.answered,
                End::Silent { .. } => &mut counts.silent,
                End::Void { .. } => &mut counts.void,
            };
            *which = which.saturating_add(1);
            counts.in_flight = counts.in_flight.saturating_sub(1);
        }
        judge.ended(asked.tag, end);
    }

    /// Looks at all probes, whether they are still wanted.
    fn sweep_all(&self) {
        let mut from = Some(0);
        while let Some(place) = from {
            let mut found = None;
            from = self.flying.each(place, |_, asked| {
                found = Some(asked.clone());
                false
            });
            let Some(asked) = found else {
                continue;
            };
            let judge = {
                let state = asked.state.lock();
                // Before it has its key it is about to have its turn.
                state.judge.clone().filter(|_| state.key != Key::NONE)
            };
            if judge.is_some_and(|judge| !judge.wants(asked.tag)) {
                let attempts = asked.state.lock().so_far();
                self.finish(&asked, End::Void { attempts });
            }
        }
    }
}

impl WorkItem for Own {
    type Pointer = Arc<Self>;

    fn run(this: Arc<Self>) {
        let service = this.driver.lock().service.clone();
        let Some(service) = service else {
            // Everything is over. An alarm that went off meanwhile has put its probe here all the same, and that
            // has this object: together they would stay for ever.
            while this.turns.pop().is_some() {}
            return;
        };
        service.at_work(ASK, || loop {
            if this.sweep.xchg(false, Full) {
                this.sweep_all();
            }
            let Some(asked) = this.turns.pop() else {
                break;
            };
            this.advance(&asked);
        });
    }
}

impl Prober for Own {
    fn begin(&self, ask: Ask) -> Result {
        let this = {
            let driver = self.driver.lock();
            let service = driver.service.as_ref();
            service
                .and_then(|service| service.own())
                .ok_or(shut_down())?
        };
        let Ask { whom, spacing } = ask;
        let name = Text::new(whom.judge.eid().as_bytes())?;
        let state = State {
            judge: Some(whom.judge),
            attempts: None,
            answered: None,
            failed: 0,
            why: Why::Timeout,
            doubt: false,
            next: None,
            key: Key::NONE,
        };
        let asked = Timed::new(try_pin_init!(Asked {
            // Its callback is ours.
            alarm <- Callout::ours(ourselves(), c"probe"),
            own: this,
            portal: whom.portal,
            at: whom.at,
            scope: whom.scope,
            name,
            spacing,
            tag: whom.tag,
            state <- RawLock::new(state, c"softclock_asked", static_lock_class!()),
        }))?;
        let key = self.flying.insert(asked.clone())?;
        asked.state.lock().key = key;
        {
            let mut counts = self.counts.lock();
            counts.begun = counts.begun.saturating_add(1);
            counts.in_flight = counts.in_flight.saturating_add(1);
        }
        asked.own.wants(asked.clone());
        Ok(())
    }

    fn sweep(&self) {
        self.sweep.store(true, Relaxed);
        let driver = self.driver.lock();
        let this = driver.service.as_ref().and_then(|service| service.own());
        drop(driver);
        if let Some(this) = this {
            this.kick();
        }
    }

    fn counts(&self) -> Counts {
        *self.counts.lock()
    }

    /// A driver's own means have no namespace: whoever may command the machine commands them.
    fn is_in(&self, net: &Held) -> bool {
        net.is_initial()
    }
}

fn shut_down() -> Error {
    Error::from_errno(-(kernel::bindings::ESHUTDOWN as i32))
}
