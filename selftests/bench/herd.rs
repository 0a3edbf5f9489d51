// SPDX-License-Identifier: GPL-2.0

//! The callouts that are measured, and what their callbacks note.

use crate::meter::{opaque, report};
use kernel::time::delay::fsleep;
use softclock::prelude::*;

/// Callbacks since [`expect`].
pub(crate) static FIRED: Atomic<u64> = Atomic::new(0);
/// How many there will be.
static EXPECTED: Atomic<u64> = Atomic::new(0);
/// When the first and the last of them ran.
pub(crate) static FIRST_NS: Atomic<i64> = Atomic::new(0);
pub(crate) static LAST_NS: Atomic<i64> = Atomic::new(0);
/// Whether callbacks note how late they are; else they only count.
static WATCH: Atomic<bool> = Atomic::new(false);

/// Counts a callback, or an action of a route timer, and notes when the first and the last of those expected came.
#[inline(always)]
pub(crate) fn note() {
    let number = FIRED.fetch_add(1, Relaxed);
    if number == 0 {
        FIRST_NS.store(softclock::now().as_nanos(), Relaxed);
    }
    if number + 1 == EXPECTED.load(Relaxed) {
        LAST_NS.store(softclock::now().as_nanos(), Release);
    }
}

/// An object as a driver may have it.
#[pin_data]
pub(crate) struct Subject {
    #[pin]
    pub(crate) timer: Callout<Self, Soft>,
    pub(crate) due_ns: Atomic<i64>,
    pub(crate) late_ns: Atomic<i64>,
    pub(crate) runs: Atomic<u32>,
    /// Its callback notes nothing, so that what is measured is not the bench.
    silent: Atomic<bool>,
}

/// As large as a subject, for the memory that is not the callout's.
pub(crate) type Plain = [u8; core::mem::size_of::<Subject>() + core::mem::size_of::<usize>()];

impl_has_callout! { impl HasCallout<Soft> for Subject { self.timer } }

impl OnExpire<Soft> for Subject {
    #[inline(always)]
    fn expire(this: ArcBorrow<'_, Timed<Self>>, _run: &Expiry<'_, Soft>) -> Next {
        if !this.silent.load(Relaxed) {
            this.note();
        }
        Next::Stop
    }
}

impl Subject {
    #[inline(never)]
    fn note(&self) {
        if WATCH.load(Relaxed) {
            // By our own clock and our own note of the deadline: it is softclock that is measured.
            let late = softclock::now().as_nanos() - self.due_ns.load(Relaxed);
            self.late_ns.store(late, Relaxed);
            self.runs.fetch_add(1, Relaxed);
        }
        note();
    }

    fn new() -> Result<Arc<Timed<Self>>> {
        Timed::new(try_pin_init!(Self {
            timer <- Callout::new(softclock::owner!(), c"subject"),
            due_ns: Atomic::new(0),
            late_ns: Atomic::new(0),
            runs: Atomic::new(0),
            silent: Atomic::new(false),
        }))
    }
}

/// Starts counting: `count` callbacks will come.
pub(crate) fn expect(count: usize, watch: bool) {
    WATCH.store(watch, Relaxed);
    LAST_NS.store(0, Relaxed);
    EXPECTED.store(count as u64, Relaxed);
    FIRED.store(0, Release);
}

/// The same sequence in each run: victims and delays are random, and always the same.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number in `0..limit`.
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        ((u128::from(self.0 >> 32) * u128::from(limit)) >> 32) as u64
    }
}

/// Many callouts and where to find them.
pub(crate) struct Herd {
    pub(crate) all: KVVec<Arc<Timed<Subject>>>,
    /// The deadline of each: beside it, so that looking it up does not warm the object.
    pub(crate) due_ns: KVVec<i64>,
    pub(crate) random: Random,
}

impl Herd {
    pub(crate) fn new() -> Self {
        Self {
            all: KVVec::new(),
            due_ns: KVVec::new(),
            random: Random::new(1),
        }
    }

    /// Makes it `count` in all.
    pub(crate) fn grow(&mut self, count: usize) -> Result {
        self.all
            .reserve(count.saturating_sub(self.all.len()), GFP_KERNEL)?;
        while self.all.len() < count {
            self.all.push(Subject::new()?, GFP_KERNEL)?;
            breathe(self.all.len());
        }
        self.due_ns.resize(count, 0, GFP_KERNEL)?;
        Ok(())
    }

    /// All but the first and the last one note nothing; or all do again.
    pub(crate) fn silence(&self, silent: bool) {
        let last = self.all.len().saturating_sub(1);
        for (index, subject) in self.all.iter().enumerate() {
            let between = index > 0 && index < last;
            subject.silent.store(silent && between, Relaxed);
        }
    }

    /// The next victim.
    #[inline(always)]
    pub(crate) fn pick(&mut self) -> Result<usize> {
        Ok(opaque(self.random.below(self.all.len() as u64) as usize))
    }

    /// From one minute to a thousand seconds more: nothing expires while it is measured.
    pub(crate) fn delay(&mut self) -> Delta {
        let ms = 60_000 + self.random.below(1_000_000);
        opaque(Delta::from_nanos(
            ms as i64 * 1_000_000 + self.random.below(1_000_000) as i64,
        ))
    }
}

/// Lets others run now and then, so that nothing piles up that would be paid for in a sample.
pub(crate) fn breathe(count: usize) {
    if count % 1_000 == 0 {
        fsleep(kernel::time::Delta::from_millis(1));
    }
}

/// Sleeps until `count` callbacks have come; an error when they do not.
pub(crate) fn wait_fired(count: usize, seconds: i64) -> Result {
    let end = softclock::now() + Delta::from_secs(seconds);
    while FIRED.load(Acquire) < count as u64 {
        if softclock::now() > end {
            pr_err!("only {} of {} fired\n", FIRED.load(Relaxed), count);
            return Err(EIO);
        }
        fsleep(kernel::time::Delta::from_millis(10));
    }
    Ok(())
}

/// What a driver's object grows by.
pub(crate) fn report_size() {
    report(
        "size",
        1,
        core::mem::size_of::<Callout<Subject, Soft>>() as i64,
    );
}

/// Objects that have no callout, and what a [`Herd`] has beside them.
pub(crate) struct PlainHerd {
    _all: KVVec<KBox<Plain>>,
    _due_ns: KVVec<i64>,
}

impl PlainHerd {
    pub(crate) fn new(count: usize) -> Result<Self> {
        let mut all = KVVec::with_capacity(count, GFP_KERNEL)?;
        for _ in 0..count {
            all.push(
                KBox::new([0; core::mem::size_of::<Plain>()], GFP_KERNEL)?,
                GFP_KERNEL,
            )?;
        }
        let mut due_ns = KVVec::new();
        due_ns.resize(count, 0, GFP_KERNEL)?;
        Ok(Self {
            _all: all,
            _due_ns: due_ns,
        })
    }
}
