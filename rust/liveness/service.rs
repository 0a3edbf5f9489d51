// SPDX-License-Identifier: GPL-2.0

//! A service: its entities, what is to be done about them, and the driver that is told.
//!
//! Three workers, none of which waits for another, take what is theirs from rows that need no memory
//! ([`Fifo`]): see [`workers`](super::workers).
//!
//! ```text
//!   timer ----> due ---+--> ready ----> a round begins ----> probes ----> news ---> verdicts
//!   trigger ----^      |    (the window)                                   |
//!                      +--> expiring ---> the driver deregisters <---------+
//! ```

use super::{
    ask::Prober,
    entity::{Entity, Shared, Then, ENDING, TELLING},
    fifo::Fifo,
    flight::Flight,
    own::Own,
    table::Table,
    terms::Settings,
    OnVerdict,
};
use crate::{
    inflight::now,
    policy::{
        deadline::Instant,
        esi::{
            self,
            entity::{Event, Moment, State as Phase},
            pace::{Punctual, Window},
        },
        life::CannotWait,
        name::Name,
    },
    registry::Client,
    sys::{
        context::{Runner, Task},
        lock::RawLock,
        module::{ModuleId, Owner},
        net::Held,
        random,
        target::Timed,
        wait,
        wheel::ids,
    },
    Hub,
};
use kernel::{
    new_mutex,
    prelude::*,
    static_lock_class,
    sync::{
        atomic::{Acquire, Atomic, Release},
        Arc,
        Mutex, //
    },
    workqueue::{impl_has_work, Work, WorkItem},
};

/// What is counted, in the order debugfs shows it.
#[derive(Clone, Copy, Default)]
pub(crate) struct Counts {
    pub(crate) registered: u64,
    pub(crate) rounds: u64,
    pub(crate) alive: u64,
    pub(crate) suspect: u64,
    pub(crate) dead: u64,
    pub(crate) pending: u64,
    pub(crate) expired: u64,
    pub(crate) failed: u64,
    /// Rounds that could not be begun.
    pub(crate) no_memory: u64,
    /// Probes that could not be begun.
    pub(crate) not_begun: u64,
}

/// How far the service is with its rounds.
pub(super) struct Pace {
    pub(super) window: Window,
    pub(super) punctual: Punctual,
    counts: Counts,
}

/// Who is at work, and whether there is to be more.
struct Gate {
    closed: bool,
    /// Workers that execute, and who does, by worker.
    runners: [Option<Runner>; WORKERS],
    /// Threads that wait for something that workers do.
    waiting: u32,
}

/// The workers of a service.
pub(super) const STEP: u64 = 0;
pub(super) const TELL: u64 = 1;
pub(super) const EXPIRE: u64 = 2;
/// That of the driver's own probes.
pub(super) const ASK: usize = 3;
/// Whoever lets go of the driver.
const PART: usize = 4;
const WORKERS: usize = 5;

/// A service.
#[pin_data]
pub(crate) struct Service {
    #[pin]
    step: Work<Service, STEP>,
    #[pin]
    tell: Work<Service, TELL>,
    #[pin]
    expire: Work<Service, EXPIRE>,
    #[pin]
    pub(super) table: Mutex<Table>,
    #[pin]
    pub(super) due: Fifo<Timed<Entity>>,
    #[pin]
    pub(super) ready: Fifo<Timed<Entity>>,
    #[pin]
    pub(super) expiring: Fifo<Timed<Entity>>,
    #[pin]
    pub(super) news: Fifo<Flight>,
    #[pin]
    settings: RawLock<Settings>,
    #[pin]
    pub(super) pace: RawLock<Pace>,
    #[pin]
    gate: RawLock<Gate>,
    /// The driver, until the service has ended.
    #[pin]
    driver: RawLock<Option<Arc<dyn OnVerdict>>>,
    prober: Arc<dyn Prober>,
    own: Option<Arc<Own>>,
    client: Arc<Client>,
    module: ModuleId,
    name: Name,
    id: u64,
    let_go: Atomic<bool>,
}

impl_has_work! {
    impl HasWork<Self, STEP> for Service { self.step }
    impl HasWork<Self, TELL> for Service { self.tell }
    impl HasWork<Self, EXPIRE> for Service { self.expire }
}

/// What a service is made from.
pub(super) struct Making {
    pub(super) owner: Owner,
    pub(super) name: Name,
    pub(super) settings: Settings,
    pub(super) driver: Arc<dyn OnVerdict>,
    pub(super) prober: Arc<dyn Prober>,
    /// The same, if it asks by functions of the driver's.
    pub(super) own: Option<Arc<Own>>,
}

impl Service {
    /// A service without entities, listed. Task context; may block.
    pub(super) fn new(making: Making) -> Result<Arc<Self>> {
        let Making {
            owner,
            name,
            settings,
            driver,
            prober,
            own,
        } = making;
        let hub = Hub::get()?;
        let client = hub.registry().client(owner)?;
        let pace = Pace {
            window: Window::new(settings.window),
            punctual: Punctual::NONE,
            counts: Counts::default(),
        };
        let gate = Gate {
            closed: false,
            runners: [None; WORKERS],
            waiting: 0,
        };
        let service = Arc::pin_init(
            pin_init!(Self {
                step <- Work::new(c"softclock_step", static_lock_class!()),
                tell <- Work::new(c"softclock_tell", static_lock_class!()),
                expire <- Work::new(c"softclock_expire", static_lock_class!()),
                table <- new_mutex!(Table::new()),
                due <- Fifo::new(),
                ready <- Fifo::new(),
                expiring <- Fifo::new(),
                news <- Fifo::new(),
                settings <- RawLock::new(settings, c"softclock_settings", static_lock_class!()),
                pace <- RawLock::new(pace, c"softclock_pace", static_lock_class!()),
                gate <- RawLock::new(gate, c"softclock_gate", static_lock_class!()),
                driver <- RawLock::new(Some(driver), c"softclock_driver", static_lock_class!()),
                prober,
                own,
                client,
                module: owner.id(),
                name,
                id: ids::next(),
                let_go: Atomic::new(false),
            }),
            GFP_KERNEL,
        )?;
        if let Some(own) = &service.own {
            own.belongs_to(&service);
        }
        service.prober.widen(settings.window);
        if let Err(error) = hub.liveness().insert(service.clone()) {
            // The probes have the service, which has them.
            let _ = service.part();
            return Err(error);
        }
        Ok(service)
    }

    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    pub(crate) fn name(&self) -> &str {
        self.name.as_str()
    }

    pub(crate) fn client(&self) -> &Arc<Client> {
        &self.client
    }

    pub(super) fn is_of(&self, module: ModuleId) -> bool {
        self.module == module
    }

    /// By what it asks, in one word.
    pub(crate) fn asks(&self) -> &'static str {
        match self.own {
            Some(_) => "driver",
            None => "sockets",
        }
    }

    /// Whether operators command it from this namespace.
    pub(crate) fn is_in(&self, net: &Held) -> bool {
        self.prober.is_in(net)
    }

    /// The number of the namespace it asks from, if there is one.
    pub(crate) fn net(&self) -> Option<u32> {
        self.prober.net()
    }

    /// Its probes, if a driver asks itself.
    pub(super) fn own(&self) -> Option<Arc<Own>> {
        self.own.clone()
    }

    pub(super) fn prober(&self) -> &dyn Prober {
        &*self.prober
    }

    /// How it asks.
    pub(crate) fn settings(&self) -> Settings {
        *self.settings.lock()
    }

    /// Asks differently from the next rounds on: as `change` makes it of how it asks now. Two at a time both
    /// count. `change` is called under a raw lock.
    pub(crate) fn update(this: &Arc<Self>, change: impl FnOnce(Settings) -> Settings) {
        let mut settings = this.settings.lock();
        *settings = change(*settings);
        let window = settings.window;
        // Under the lock: what the settings say last is what counts last.
        this.pace.lock().window.set_limit(window);
        drop(settings);
        // It only ever grows, so the order does not matter.
        this.prober.widen(window);
        Self::kick::<STEP>(this);
    }

    /// What a decision about an entity depends on.
    pub(super) fn moment(rules: &esi::Settings) -> Moment<'_> {
        Self::moment_of(rules, false)
    }

    /// The same for one that is new. Numbers are drawn only where they are looked at: each takes 250
    /// instructions.
    pub(super) fn moment_of(rules: &esi::Settings, new: bool) -> Moment<'_> {
        Moment {
            now: now(),
            random: if rules.jitter.draws(new) {
                random::bits()
            } else {
                0
            },
            settings: rules,
        }
    }

    /// A round begins; it was due then, unless somebody has triggered it.
    pub(super) fn count_round(&self, due: Option<Instant>, now: Instant) {
        let mut pace = self.pace.lock();
        if let Some(due) = due {
            pace.punctual.count(due, now);
        }
        pace.counts.rounds = pace.counts.rounds.saturating_add(1);
    }

    pub(super) fn count(&self, which: impl FnOnce(&mut Counts) -> &mut u64) {
        let mut pace = self.pace.lock();
        let count = which(&mut pace.counts);
        *count = count.saturating_add(1);
    }

    /// What it has done; how many rounds are in flight, and how punctual they began.
    pub(crate) fn counts(&self) -> (Counts, u16, Punctual) {
        let pace = self.pace.lock();
        (pace.counts, pace.window.flying(), pace.punctual)
    }

    /// How many entities it has. Task context; may block.
    pub(crate) fn entities(&self) -> u32 {
        self.table.lock().len()
    }

    /// How many places its table has: see [`Table::places`]. Task context; may block.
    pub(crate) fn places(&self) -> u32 {
        self.table.lock().places()
    }

    /// Some places of its table from `from` on: see [`Table::each`]. Task context; may block.
    pub(super) fn each(
        &self,
        from: u32,
        f: impl FnMut(&Shared, &super::table::Text) -> bool,
    ) -> Option<u32> {
        self.table.lock().each(from, f)
    }

    /// The driver, as long as it may be told anything.
    pub(super) fn driver(&self) -> Option<Arc<dyn OnVerdict>> {
        self.driver.lock().clone()
    }

    /// The timer of an entity has expired, or somebody wants a round of it. Any context but NMI.
    pub(super) fn is_due(self: &Arc<Self>, entity: Shared) {
        if self.due.push(entity) {
            Self::kick::<STEP>(self);
        }
    }

    /// There is something to be told of a round. Any context but NMI.
    pub(super) fn has_news(self: &Arc<Self>, flight: Arc<Flight>) {
        if self.news.push(flight) {
            Self::kick::<TELL>(self);
        }
    }

    /// Has a worker run, once more if it is about to end. Any context but NMI.
    pub(super) fn kick<const WORKER: u64>(this: &Arc<Self>)
    where
        Self: WorkItem<WORKER, Pointer = Arc<Self>> + kernel::workqueue::HasWork<Self, WORKER>,
    {
        if let Ok(hub) = Hub::get() {
            let queue = match WORKER {
                // It waits for a driver that is at liberty to take long.
                EXPIRE => hub.callbacks(),
                _ => hub.rounds(),
            };
            // Enqueued before: that run will find it.
            let _ = queue.enqueue::<_, WORKER>(this.clone());
        }
    }

    /// Does what is left to do after a change of an entity. No lock held; task context, may block.
    pub(super) fn follow(this: &Arc<Self>, entity: &Shared, then: Then) {
        match then {
            // A round is begun by the worker only, which looks for itself.
            Then::Nothing | Then::Probe => {}
            Then::Sweep => this.prober.sweep(),
            Then::Expire => Self::expires(this, entity),
            Then::Forget => this.forget(entity),
        }
    }

    /// An entity is marked as one that expires.
    pub(super) fn expires(this: &Arc<Self>, entity: &Shared) {
        // If it is in another row, whoever takes it out there sees the mark.
        if this.expiring.push(entity.clone()) {
            Self::kick::<EXPIRE>(this);
        }
    }

    /// An entity is gone.
    fn forget(&self, entity: &Shared) {
        let gone = {
            let mut table = self.table.lock();
            let place = entity.with(|state| state.place());
            match table.at(place) {
                Some((there, _)) if Arc::ptr_eq(there, entity) => table.remove(place),
                // Somebody has registered under its name since.
                _ => None,
            }
        };
        drop(gone);
        self.wake();
    }

    /// Whether it takes no more registrations.
    pub(super) fn is_closed(&self) -> bool {
        self.gate.lock().closed
    }

    /// Executes a worker.
    pub(super) fn at_work(&self, worker: usize, work: impl FnOnce()) {
        self.enter(worker, Some(Runner::current()));
        work();
        self.enter(worker, None);
        self.wake();
    }

    fn enter(&self, worker: usize, runner: Option<Runner>) {
        if let Some(slot) = self.gate.lock().runners.get_mut(worker) {
            *slot = runner;
        }
    }

    /// Who waits for something asks again. Task context, no lock held.
    pub(super) fn wake(&self) {
        let waiting = self.gate.lock().waiting > 0;
        if waiting {
            wait::wake();
        }
    }

    /// Waits until `done`, which is asked again after each thing that a worker does.
    ///
    /// # Errors
    ///
    /// [`CannotWait`]: the caller is a callback of this service, or may not sleep.
    pub(super) fn wait(&self, task: &Task, done: impl Fn() -> bool) -> Result<(), CannotWait> {
        if done() {
            return Ok(());
        }
        let me = Some(Runner::current());
        if self.gate.lock().runners.contains(&me) {
            return Err(CannotWait::Deadlock);
        }
        if !task.may_sleep_still() {
            return Err(CannotWait::Atomic);
        }
        self.waits(1);
        wait::until(task, done);
        self.waits(-1);
        Ok(())
    }

    fn waits(&self, more: i32) {
        let mut gate = self.gate.lock();
        gate.waiting = gate.waiting.saturating_add_signed(more);
    }

    /// Ends it: nothing of the driver's executes when this returns, and nothing will. All its entities
    /// are removed; says how many there were. Probes in flight end void, so this takes no longer than a
    /// callback of the driver's.
    ///
    /// # Errors
    ///
    /// [`CannotWait`]: as for [`wait`](Self::wait). It ends all the same.
    pub(super) fn end(this: &Arc<Self>, task: &Task) -> Result<u32, CannotWait> {
        this.gate.lock().closed = true;
        // Whoever is registering has the table, and sees it closed afterwards.
        let left = this.table.lock().len();
        this.remove_all();
        this.prober.sweep();
        loop {
            this.wait(task, || this.is_idle())?;
            if this.part() {
                return Ok(left);
            }
        }
    }

    /// Lets go of the driver, if nothing executes; whatever begins from here on finds none. `false`: something
    /// does, be it somebody who lets go of the driver just now: that is code of its, so he is waited for, too.
    fn part(&self) -> bool {
        let mut gate = self.gate.lock();
        if gate.runners.iter().any(Option::is_some) {
            return false;
        }
        if let Some(slot) = gate.runners.get_mut(PART) {
            *slot = Some(Runner::current());
        }
        let driver = self.driver.lock().take();
        let own = self.own.as_ref().map(|own| own.part());
        drop(gate);
        drop((driver, own));
        self.enter(PART, None);
        self.wake();
        true
    }

    fn is_idle(&self) -> bool {
        let gate = self.gate.lock();
        let rests = gate.runners.iter().all(Option::is_none);
        drop(gate);
        rests && self.pace.lock().window.flying() == 0 && self.expiring.is_empty()
    }

    fn remove_all(self: &Arc<Self>) {
        let settings = self.settings();
        let mut from = Some(0);
        while let Some(place) = from {
            let mut found = None;
            from = self.each(place, |entity, _| {
                found = Some(entity.clone());
                false
            });
            if let Some(entity) = found {
                let at = Self::moment(&settings.rules);
                let then = Entity::step(&entity, Event::Remove, &at);
                // One sweep is enough for all.
                if then == Then::Forget {
                    self.forget(&entity);
                }
            }
        }
    }

    /// Nothing of an entity that was removed is in flight any more, and nothing is being told; it may be
    /// there again.
    pub(super) fn is_silent(entity: &Shared) -> bool {
        entity.with(|state| {
            let over = state.life.state() == Phase::Gone || state.life.counts();
            over && !state.is(TELLING) && !state.is(ENDING)
        })
    }

    /// Its driver is asked and told nothing any more; what it has is removed by the [end](Self::end) of it,
    /// which others may come before. Any context but NMI.
    pub(super) fn let_go(&self) {
        self.gate.lock().closed = true;
        self.let_go.store(true, Release);
        // Probes in flight end soon, void.
        self.prober.sweep();
    }

    pub(crate) fn is_let_go(&self) -> bool {
        self.let_go.load(Acquire)
    }
}
