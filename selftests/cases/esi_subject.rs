// SPDX-License-Identifier: GPL-2.0

//! A service under test: its driver asks portals that behave as a case wants, and writes everything down.

use crate::{
    harness::{in_time, simulate},
    subject::sleep_until,
};
use kernel::{new_mutex, sync::Mutex};
use softclock::{liveness::*, prelude::*};

/// How many seconds a case's unit of time has, and how late something may be.
static UNIT_S: Atomic<u32> = Atomic::new(1);
static SLACK_MS: Atomic<u32> = Atomic::new(400);

pub(crate) fn set_unit(unit_s: u32, slack_ms: u32) {
    UNIT_S.store(unit_s, Relaxed);
    SLACK_MS.store(slack_ms, Relaxed);
    simulate(slack_ms <= 1);
}

/// So many units, in seconds.
pub(crate) fn units(n: u32) -> u32 {
    n * UNIT_S.load(Relaxed)
}

/// The same as a span.
pub(crate) fn span(n: u32) -> Delta {
    Delta::from_secs(units(n).into())
}

/// A thousandth of them.
pub(crate) fn millis(n: u32) -> Delta {
    Delta::from_millis(units(n).into())
}

fn slack() -> Delta {
    Delta::from_millis(SLACK_MS.load(Relaxed).into())
}

/// Something happened at this instant, or as little later as the guest allows.
pub(crate) fn is_at(seen: Instant, due: Instant) -> bool {
    seen >= due && in_time(seen - due <= slack())
}

/// One thing was seen so long after another one, give or take what the guest allows: both are seen a little
/// later than they happen.
pub(crate) fn is_near(seen: Instant, due: Instant) -> bool {
    is_at(seen.max(due), seen.min(due))
}

/// Sleeps that long.
pub(crate) fn rest(span: Delta) {
    let end = softclock::now() + span;
    while softclock::now() < end {
        crate::subject::sleep_ms(((end - softclock::now()).as_nanos() / 1_000_000).clamp(1, 1_000));
    }
    in_time(softclock::now() - end <= slack());
}

/// What a portal does when it is asked.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    /// Answers.
    Lively,
    /// Answers after this long.
    Slow(Delta),
    /// Does not answer.
    Silent,
    /// Says at once that there is nobody.
    Absent,
    /// Cannot be asked.
    Unaskable,
    /// Answers to the first attempt when the second is made.
    OneBehind,
    /// The driver sleeps this long before it is silent.
    Blocking(Delta),
    /// Answers the last attempt.
    AtLast,
    /// Answers one probe, and the next one not.
    Flapping,
    /// The driver answers before it returns, and once more with a token it kept from an earlier round.
    Stale,
}

/// What was seen.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Seen {
    Asked {
        portal: u64,
        attempt: u8,
        of: u8,
    },
    Told(Verdict),
    Expired(Cause),
    /// A token of an earlier round counted.
    LateCounted,
}

/// When, of which entity, what.
#[derive(Clone, Copy)]
pub(crate) struct Entry {
    pub(crate) at: Instant,
    pub(crate) eid: u64,
    pub(crate) seen: Seen,
}

type OnTold = KBox<dyn Fn(&Log, &str, &Verdict) + Send + Sync>;

/// What the driver has written down, and what it does.
#[pin_data]
pub(crate) struct Log {
    #[pin]
    entries: Mutex<KVec<Entry>>,
    #[pin]
    manners: Mutex<KVec<(u64, Manner)>>,
    #[pin]
    tokens: Mutex<KVec<(u64, Asking)>>,
    /// Tokens that are answered later.
    #[pin]
    later: Mutex<KVec<Arc<Timed<Closure<Task>>>>>,
    #[pin]
    on_told: Mutex<Option<OnTold>>,
    pub(crate) refuse_expiry: Atomic<bool>,
    pub(crate) block_expiry_ms: Atomic<u32>,
    pub(crate) asked: Atomic<u64>,
    pub(crate) dropped: Atomic<u64>,
    quiet: Atomic<bool>,
}

impl Log {
    fn write(&self, eid: &str, seen: Seen) {
        if self.quiet.load(Relaxed) {
            return;
        }
        let entry = Entry {
            at: softclock::now(),
            eid: number_of(eid),
            seen,
        };
        let _ = self.entries.lock().push(entry, GFP_KERNEL);
    }

    /// Writes nothing down any more.
    pub(crate) fn hush(&self) {
        self.quiet.store(true, Relaxed);
    }

    /// From now on the portal behaves like this.
    pub(crate) fn set(&self, portal: u64, manner: Manner) -> Result {
        let mut manners = self.manners.lock();
        manners.retain(|one| one.0 != portal);
        manners.push((portal, manner), GFP_KERNEL)?;
        Ok(())
    }

    fn manner(&self, portal: u64) -> Manner {
        let manners = self.manners.lock();
        let found = manners.iter().find(|one| one.0 == portal);
        found.map_or(Manner::Lively, |one| one.1)
    }

    /// Called for each verdict, in the place of the driver.
    pub(crate) fn on_told(
        &self,
        f: impl Fn(&Log, &str, &Verdict) + Send + Sync + 'static,
    ) -> Result {
        let f: OnTold = KBox::new(f, GFP_KERNEL)?;
        *self.on_told.lock() = Some(f);
        Ok(())
    }

    /// Calls nothing for verdicts any more.
    pub(crate) fn forget_told(&self) {
        let f = self.on_told.lock().take();
        drop(f);
    }

    /// Lets go of every token.
    pub(crate) fn drop_tokens(&self) {
        let tokens = core::mem::replace(&mut *self.tokens.lock(), KVec::new());
        drop(tokens);
    }

    pub(crate) fn count(&self, mut which: impl FnMut(&Entry) -> bool) -> usize {
        self.entries.lock().iter().filter(|one| which(one)).count()
    }

    /// Entry number `nth`, from 0, of those that fit.
    pub(crate) fn nth(&self, nth: usize, mut which: impl FnMut(&Entry) -> bool) -> Option<Entry> {
        self.entries
            .lock()
            .iter()
            .filter(|one| which(one))
            .nth(nth)
            .copied()
    }

    /// Waits for entry number `nth` of those that fit, at most `most`.
    pub(crate) fn wait(
        &self,
        most: Delta,
        nth: usize,
        mut which: impl FnMut(&Entry) -> bool,
    ) -> Option<Entry> {
        let end = softclock::now() + most + Delta::from_secs(2);
        loop {
            if let Some(entry) = self.nth(nth, &mut which) {
                return Some(entry);
            }
            if softclock::now() > end {
                return None;
            }
            let before = softclock::now();
            crate::subject::sleep_ms(1);
            in_time(softclock::now() - before <= slack());
        }
    }

    fn answer_later(&self, asking: Asking, after: Delta) -> Result {
        let token = Arc::pin_init(new_mutex!(Some(asking)), GFP_KERNEL)?;
        let later = Closure::<Task>::new(softclock::owner!(), c"answer", move |_run| {
            let asking = token.lock().take();
            if let Some(asking) = asking {
                asking.alive();
            }
            Next::Stop
        })?;
        later.callout::<Task>().arm_after(after);
        self.later.lock().push(later, GFP_KERNEL)?;
        Ok(())
    }
}

/// An entry of this entity that is an attempt to ask it.
pub(crate) fn asked(eid: u64) -> impl FnMut(&Entry) -> bool {
    move |one| one.eid == eid && matches!(one.seen, Seen::Asked { .. })
}

/// The first attempt of a probe.
pub(crate) fn first(eid: u64) -> impl FnMut(&Entry) -> bool {
    move |one| one.eid == eid && matches!(one.seen, Seen::Asked { attempt: 1, .. })
}

pub(crate) fn alive(eid: u64) -> impl FnMut(&Entry) -> bool {
    move |one| one.eid == eid && matches!(one.seen, Seen::Told(Verdict::Alive { .. }))
}

pub(crate) fn suspect(eid: u64) -> impl FnMut(&Entry) -> bool {
    move |one| one.eid == eid && matches!(one.seen, Seen::Told(Verdict::Suspect { .. }))
}

pub(crate) fn dead(eid: u64) -> impl FnMut(&Entry) -> bool {
    move |one| one.eid == eid && matches!(one.seen, Seen::Told(Verdict::Dead { .. }))
}

pub(crate) fn pending(eid: u64) -> impl FnMut(&Entry) -> bool {
    move |one| one.eid == eid && matches!(one.seen, Seen::Told(Verdict::Pending { .. }))
}

pub(crate) fn expired(eid: u64) -> impl FnMut(&Entry) -> bool {
    move |one| one.eid == eid && matches!(one.seen, Seen::Expired(_))
}

struct Driver(Arc<Log>);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.dropped.fetch_add(1, Release);
    }
}

impl OnVerdict for Driver {
    fn verdict(&self, eid: &str, verdict: &Verdict) {
        self.0.write(eid, Seen::Told(*verdict));
        let on_told = self.0.on_told.lock();
        if let Some(f) = &*on_told {
            f(&self.0, eid, verdict);
        }
    }

    fn expired(&self, eid: &str, cause: Cause) -> Deregistered {
        self.0.write(eid, Seen::Expired(cause));
        let ms = self.0.block_expiry_ms.load(Relaxed);
        if ms > 0 {
            rest(Delta::from_millis(ms.into()));
        }
        if self.0.refuse_expiry.load(Relaxed) {
            Deregistered::No
        } else {
            Deregistered::Yes
        }
    }
}

struct Asker(Arc<Log>);

impl Probe for Asker {
    fn ask(&self, asking: Asking) {
        let log = &self.0;
        log.asked.fetch_add(1, Relaxed);
        let portal = asking.portal().number().unwrap_or(0);
        let seen = Seen::Asked {
            portal,
            attempt: asking.attempt(),
            of: asking.attempts(),
        };
        log.write(asking.eid(), seen);
        match log.manner(portal) {
            Manner::Lively => {
                asking.alive();
            }
            Manner::Slow(after) => {
                // What cannot be answered later is not answered.
                let _ = log.answer_later(asking, after);
            }
            Manner::Absent => {
                asking.failed();
            }
            Manner::Unaskable => drop(asking),
            Manner::Silent => log.keep(portal, asking),
            Manner::Blocking(span) => {
                rest(span);
                log.keep(portal, asking);
            }
            Manner::OneBehind => {
                if asking.attempt() == 2 {
                    let first = log.taken(portal);
                    log.keep(portal, asking);
                    if let Some(first) = first {
                        first.alive();
                    }
                } else {
                    log.keep(portal, asking);
                }
            }
            Manner::AtLast => {
                if asking.attempt() == asking.attempts() {
                    asking.alive();
                } else {
                    log.keep(portal, asking);
                }
            }
            Manner::Flapping => {
                // This one is in the log.
                if log.probes(portal) % 2 == 1 {
                    asking.alive();
                } else {
                    log.keep(portal, asking);
                }
            }
            Manner::Stale => {
                if let Some(old) = log.taken(portal) {
                    let eid = number_of(old.eid());
                    if old.alive() {
                        log.write(asking.eid(), Seen::LateCounted);
                        let _ = eid;
                    }
                }
                log.keep(portal, asking);
            }
        }
    }
}

impl Log {
    fn keep(&self, portal: u64, asking: Asking) {
        let _ = self.tokens.lock().push((portal, asking), GFP_KERNEL);
    }

    /// How many probes of a portal have begun.
    fn probes(&self, portal: u64) -> usize {
        self.count(
            |one| matches!(one.seen, Seen::Asked { portal: of, attempt: 1, .. } if of == portal),
        )
    }

    pub(crate) fn taken(&self, portal: u64) -> Option<Asking> {
        let mut tokens = self.tokens.lock();
        let index = tokens.iter().position(|one| one.0 == portal)?;
        tokens.remove(index).ok().map(|one| one.1)
    }
}

/// The number in a name like `e17`; of another one 0.
pub(crate) fn number_of(eid: &str) -> u64 {
    eid.strip_prefix('e')
        .and_then(|n| n.parse().ok())
        .unwrap_or(0)
}

/// A service and what its driver has written down.
pub(crate) struct Stage {
    pub(crate) service: Liveness,
    pub(crate) log: Arc<Log>,
    pub(crate) tidy: Tidy,
}

impl Stage {
    pub(crate) fn new(settings: Settings) -> Result<Self> {
        Self::named(c"stage", settings)
    }

    pub(crate) fn named(name: &'static CStr, settings: Settings) -> Result<Self> {
        let log = Arc::pin_init(
            pin_init!(Log {
                entries <- new_mutex!(KVec::new()),
                manners <- new_mutex!(KVec::new()),
                tokens <- new_mutex!(KVec::new()),
                later <- new_mutex!(KVec::new()),
                on_told <- new_mutex!(None),
                refuse_expiry: Atomic::new(false),
                block_expiry_ms: Atomic::new(0),
                asked: Atomic::new(0),
                dropped: Atomic::new(0),
                quiet: Atomic::new(false),
            }),
            GFP_KERNEL,
        )?;
        let service = Liveness::with_probe(
            softclock::owner!(),
            name,
            settings,
            Driver(log.clone()),
            Asker(log.clone()),
        )?;
        let tidy = Tidy(log.clone());
        Ok(Self { service, log, tidy })
    }

    /// Registers entity `e<n>` with portal `n`, which is monitored every so many units.
    pub(crate) fn register(&self, n: u64, every: u32) -> Result<Granted> {
        self.register_with(n, 0, &[watched(n, every)])
    }

    pub(crate) fn register_with(
        &self,
        n: u64,
        period_s: u32,
        portals: &[PortalTerms],
    ) -> Result<Granted> {
        let name = Name::of(n);
        self.service.register(&EntityTerms {
            eid: name.bytes(),
            period_s,
            portals,
        })
    }

    pub(crate) fn state(&self, n: u64) -> Option<State> {
        self.service
            .look(Name::of(n).bytes())
            .ok()
            .map(|seen| seen.state)
    }

    pub(crate) fn look(&self, n: u64) -> Result<EntitySeen> {
        self.service.look(Name::of(n).bytes())
    }

    pub(crate) fn deregister(&self, n: u64) -> Result<Removed> {
        self.service.deregister(Name::of(n).bytes())
    }

    /// Waits until the service has so many entities.
    pub(crate) fn has(&self, entities: u32) -> bool {
        sleep_until(10_000, || self.service.entities() == Ok(entities))
    }
}

/// What a case has left in the log refers to the log.
pub(crate) struct Tidy(Arc<Log>);

impl Drop for Tidy {
    fn drop(&mut self) {
        self.0.forget_told();
        self.0.drop_tokens();
        let later = core::mem::replace(&mut *self.0.later.lock(), KVec::new());
        drop(later);
    }
}

/// A portal that is monitored every so many units.
pub(crate) fn watched(n: u64, every: u32) -> PortalTerms {
    PortalTerms::new(Portal::numbered(n))
        .monitored()
        .every_secs(units(every))
}

/// The name `e<n>`.
pub(crate) struct Name {
    bytes: [u8; 21],
    first: usize,
}

impl Name {
    pub(crate) fn of(mut n: u64) -> Self {
        let mut bytes = [b'0'; 21];
        let mut first = bytes.len();
        loop {
            first -= 1;
            bytes[first] = b'0' + (n % 10) as u8;
            n /= 10;
            if n == 0 {
                break;
            }
        }
        first -= 1;
        bytes[first] = b'e';
        Self { bytes, first }
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes[self.first..]
    }
}
