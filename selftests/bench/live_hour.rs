// SPDX-License-Identifier: GPL-2.0

//! Many entities for a long time: are they asked on time, is anybody taken for dead who lives, is
//! everybody found who is dead, and how even is the load?
//!
//! Every tenth entity is dead. Those over sockets never answer; those of the bench's own probe answer for
//! some minutes, and then no more, all from the same moment on. Who has expired registers again, so that a
//! tenth stays dead to the end. In the third minute a thousand more register each second, and a thousand
//! deregister.

use crate::{
    live::{number_of, portal, sleep_until, terms, Eid, How, Whom},
    meter::report_100_of,
};
use kernel::{new_mutex, sync::Mutex};
use softclock::{liveness::*, prelude::*};

/// How often each is asked.
const EVERY_S: u32 = 60;
/// From the last answer to the verdict: the interval, and three attempts of 2 s.
const DEAD_AFTER: Delta = Delta::from_secs(EVERY_S as i64 + 6);
/// When those of the own probe die, and when others come and go.
const DYING_MINUTE: u32 = 1;
const PASSING_MINUTE: u32 = 2;
/// How many come and go, each second, and in how many steps.
const PASSING: usize = 1_000;
const STEPS: usize = 50;

/// How many, and for how long.
pub(crate) struct Plan {
    pub(crate) entities: usize,
    pub(crate) udp: usize,
    pub(crate) tcp: usize,
    pub(crate) minutes: u32,
}

impl Plan {
    fn how(&self, n: usize) -> How {
        if n < self.udp {
            How::Udp
        } else if n < self.udp + self.tcp {
            How::Tcp
        } else {
            How::Own
        }
    }
}

const fn is_dead(n: usize) -> bool {
    n % 10 == 3
}

/// That of the bench's own probe is asked all the same.
const fn whom(n: usize) -> Whom {
    if is_dead(n) {
        Whom::Silent
    } else {
        Whom::Lively
    }
}

/// What became known of each.
#[pin_data]
struct Known {
    all: KVVec<One>,
    /// Those of the own probe that are to die have done so.
    dying: Atomic<bool>,
    false_deaths: Atomic<u64>,
    false_lives: Atomic<u64>,
    /// By how much a death was told later than it could be.
    latest_death_ns: Atomic<i64>,
    #[pin]
    expired: Mutex<KVVec<usize>>,
    /// What nobody answers.
    #[pin]
    unanswered: Mutex<Unanswered>,
}

struct One {
    alive_ns: Atomic<i64>,
    deaths: Atomic<u32>,
}

/// The last questions to the dead: longer than an attempt waits, they need not be kept.
struct Unanswered {
    ring: KVVec<Option<Asking>>,
    next: usize,
}

/// Three attempts of each who dies, all within a minute.
const KEPT: usize = 4_096;

impl Known {
    fn new(count: usize) -> Result<Arc<Self>> {
        let mut all = KVVec::with_capacity(count, GFP_KERNEL)?;
        for _ in 0..count {
            let one = One {
                alive_ns: Atomic::new(0),
                deaths: Atomic::new(0),
            };
            all.push(one, GFP_KERNEL)?;
        }
        let mut ring = KVVec::with_capacity(KEPT, GFP_KERNEL)?;
        for _ in 0..KEPT {
            ring.push(None, GFP_KERNEL)?;
        }
        let unanswered = Unanswered { ring, next: 0 };
        Arc::pin_init(
            pin_init!(Self {
                all,
                dying: Atomic::new(false),
                false_deaths: Atomic::new(0),
                false_lives: Atomic::new(0),
                latest_death_ns: Atomic::new(0),
                expired <- new_mutex!(KVVec::new()),
                unanswered <- new_mutex!(unanswered),
            }),
            GFP_KERNEL,
        )
    }

    fn died(&self, n: usize, one: &One, eid: &str, why: &str) {
        if !is_dead(n) {
            pr_err!("{} is not dead: {}\n", eid, why);
            self.false_deaths.fetch_add(1, Relaxed);
        }
        let alive_ns = one.alive_ns.load(Relaxed);
        if one.deaths.fetch_add(1, Relaxed) == 0 && alive_ns > 0 {
            let late = softclock::now().as_nanos() - alive_ns - DEAD_AFTER.as_nanos();
            self.latest_death_ns
                .store(late.max(self.latest_death_ns.load(Relaxed)), Relaxed);
        }
    }
}

/// What both services tell.
struct Log(Arc<Known>);

impl OnVerdict for Log {
    fn verdict(&self, eid: &str, verdict: &Verdict) {
        let known = &self.0;
        let Some((n, one)) = number_of(eid).and_then(|n| Some((n, known.all.get(n)?))) else {
            return;
        };
        match verdict {
            Verdict::Alive { .. } => {
                one.alive_ns.store(softclock::now().as_nanos(), Relaxed);
                if one.deaths.load(Relaxed) > 0 {
                    known.false_lives.fetch_add(1, Relaxed);
                }
            }
            Verdict::Dead { why, .. } => known.died(n, one, eid, why),
            _ => {}
        }
    }

    fn expired(&self, eid: &str, _cause: Cause) -> Deregistered {
        if let Some(n) = number_of(eid) {
            // Without memory it stays away, which is counted.
            let _ = self.0.expired.lock().push(n, GFP_KERNEL);
        }
        Deregistered::Yes
    }
}

/// The bench's own probe.
struct Asker(Arc<Known>);

impl Probe for Asker {
    fn ask(&self, asking: Asking) {
        let known = &self.0;
        let n = asking.portal().number().unwrap_or(0) as usize;
        if !is_dead(n) || !known.dying.load(Relaxed) {
            asking.alive();
            return;
        }
        let mut unanswered = known.unanswered.lock();
        let at = unanswered.next;
        unanswered.next = (at + 1) % KEPT;
        let old = unanswered
            .ring
            .get_mut(at)
            .and_then(|slot| slot.replace(asking));
        drop(unanswered);
        drop(old);
    }
}

/// The two services: over sockets, and by the own probe.
struct Services {
    sockets: Liveness,
    own: Liveness,
}

impl Services {
    fn of(&self, how: How) -> &Liveness {
        match how {
            How::Own => &self.own,
            How::Udp | How::Tcp => &self.sockets,
        }
    }

    fn rounds(&self) -> u64 {
        self.sockets.counts().rounds + self.own.counts().rounds
    }
}

/// Runs it, and prints what came of it.
pub(crate) fn run(plan: &Plan) -> Result {
    let known = Known::new(plan.entities)?;
    let log = || Log(known.clone());
    let settings = Settings::new();
    let services = Services {
        sockets: Liveness::new(softclock::owner!(), c"sockets", settings, log())?,
        own: Liveness::with_probe(
            softclock::owner!(),
            c"own",
            settings,
            log(),
            Asker(known.clone()),
        )?,
    };
    let began = softclock::now();
    for n in 0..plan.entities {
        load(plan, &services, n)?;
    }
    let loaded = softclock::now();
    pr_info!(
        "loaded {} in {} ns\n",
        plan.entities,
        (loaded - began).as_nanos()
    );
    let mut load = Load::from(services.rounds());
    for minute in 0..plan.minutes {
        if minute == DYING_MINUTE {
            known.dying.store(true, Relaxed);
        }
        for second in 0..60 {
            let begin = loaded + Delta::from_secs(i64::from(minute * 60 + second));
            if minute == PASSING_MINUTE {
                pass(plan, &services, second as usize, begin)?;
            }
            sleep_until(begin + Delta::from_secs(1));
            load.take(services.rounds());
            again(plan, &services, &known)?;
        }
        load.minute();
    }
    tell(plan, &services, &known, &load);
    Ok(())
}

fn load(plan: &Plan, services: &Services, n: usize) -> Result {
    let how = plan.how(n);
    let portals = [portal(n, how, whom(n), EVERY_S)];
    let (eid, service) = (Eid::watched(n), services.of(how));
    service.load(&terms(&eid, &portals)).map(drop)
}

/// Whoever has expired is there again.
fn again(plan: &Plan, services: &Services, known: &Known) -> Result {
    loop {
        let expired = known.expired.lock().pop();
        let Some(n) = expired else {
            return Ok(());
        };
        let how = plan.how(n);
        let portals = [portal(n, how, whom(n), EVERY_S)];
        let eid = Eid::watched(n);
        services.of(how).register(&terms(&eid, &portals))?;
    }
}

/// In this second many come, and those of the second before go.
fn pass(plan: &Plan, services: &Services, second: usize, begin: Instant) -> Result {
    let each = PASSING / STEPS;
    for step in 0..STEPS {
        for n in step * each..(step + 1) * each {
            let number = plan.entities + n;
            let how = if n % 2 == 0 { How::Udp } else { How::Own };
            let old = Eid::passing(second * PASSING + n);
            let new = Eid::passing((second + 1) * PASSING + n);
            let portals = [portal(number, how, Whom::Lively, EVERY_S)];
            services.of(how).register(&terms(&new, &portals))?;
            if second > 0 {
                services.of(how).deregister(old.bytes())?;
            }
        }
        let step_ns = (step + 1) as i64 * 1_000_000_000 / STEPS as i64;
        sleep_until(begin + Delta::from_nanos(step_ns));
    }
    for n in 0..if second == 59 { PASSING } else { 0 } {
        let how = if n % 2 == 0 { How::Udp } else { How::Own };
        let last = Eid::passing((second + 1) * PASSING + n);
        services.of(how).deregister(last.bytes())?;
    }
    Ok(())
}

/// How even the load is: rounds in each second.
struct Load {
    before: u64,
    seconds: KVec<u64>,
    /// The busiest second against the mean of its minute, of the worst minute, in hundredths.
    worst_100: u64,
}

impl Load {
    /// So many were begun before.
    fn from(rounds: u64) -> Self {
        Self {
            before: rounds,
            seconds: KVec::new(),
            worst_100: 0,
        }
    }

    fn take(&mut self, rounds: u64) {
        let _ = self.seconds.push(rounds - self.before, GFP_KERNEL);
        self.before = rounds;
    }

    fn minute(&mut self) {
        let (mut sum, mut most) = (0, 0);
        for &rounds in self.seconds.iter() {
            sum += rounds;
            most = most.max(rounds);
        }
        let count = self.seconds.len() as u64;
        // Nothing was asked: nobody was late either, which other rows show.
        let ratio_100 = (most * count * 100).checked_div(sum);
        self.worst_100 = self.worst_100.max(ratio_100.unwrap_or(0));
        self.seconds.clear();
    }
}

fn tell(plan: &Plan, services: &Services, known: &Known, load: &Load) {
    let counts = [services.sockets.counts(), services.own.counts()];
    let sum = |of: fn(&Counts) -> u64| counts.iter().map(of).sum::<u64>();
    let (on_time, late) = (sum(|c| c.on_time), sum(|c| c.late));
    let latest = counts.iter().map(|c| c.late_max.as_nanos()).max();
    let missed = known.all.iter().enumerate();
    let missed = missed.filter(|(n, one)| is_dead(*n) && one.deaths.load(Relaxed) == 0);
    pr_info!("sockets {:?}\nown {:?}\n", counts[0], counts[1]);
    let row = |op: &str, value: i64| report_100_of("liveness", op, plan.entities, value * 100);
    row("rounds", sum(|c| c.rounds) as i64);
    row("rounds_sockets", counts[0].rounds as i64);
    let share_100 = (on_time * 10_000).checked_div(on_time + late);
    report_100_of(
        "liveness",
        "on_time",
        plan.entities,
        share_100.unwrap_or(0) as i64,
    );
    row("rounds_late", late as i64);
    row("round_late", latest.unwrap_or(i64::MAX / 100));
    row("rounds_failed", sum(|c| c.no_memory + c.not_begun) as i64);
    row("deaths", sum(|c| c.dead) as i64);
    row("deaths_false", known.false_deaths.load(Relaxed) as i64);
    row("deaths_missed", missed.count() as i64);
    row("lives_false", known.false_lives.load(Relaxed) as i64);
    row("death_late", known.latest_death_ns.load(Relaxed));
    report_100_of(
        "liveness",
        "rate_peak",
        plan.entities,
        load.worst_100 as i64,
    );
}
