// SPDX-License-Identifier: GPL-2.0

//! An object whose last owner goes while its callback runs, and which is owned again when that has ended.

use crate::{
    harness::{check, Case, Verdict},
    subject::sleep_until,
};
use softclock::{new_hard_lock, prelude::*, Unlocked};

pub(crate) const CASES: &[&[Case]] = &[&[
    Case {
        name: "callout-38 who is told of a drain's end may keep the object, and arm it (task)",
        run: kept_at_the_end::<Task>,
    },
    Case {
        name:
            "callout-38 who is told of a drain's end may keep the object, and arm it (precise task)",
        run: kept_at_the_end::<Precise<Task>>,
    },
]];

/// What is left of it.
#[pin_data]
struct Ashes<K: Unlocked> {
    entered: Atomic<bool>,
    release: Atomic<bool>,
    runs: Atomic<u64>,
    armed: Atomic<u64>,
    #[pin]
    kept: HardLock<Option<PhoenixOf<K>>>,
}

#[pin_data]
struct Phoenix<K: Unlocked> {
    #[pin]
    timer: Callout<Self, K>,
    ashes: Arc<Ashes<K>>,
}

type PhoenixOf<K> = Arc<Timed<Phoenix<K>>>;

impl_has_callout! { impl {K: Unlocked} HasCallout<K> for Phoenix<K> { self.timer } }

impl<K: Unlocked> OnExpire<K> for Phoenix<K> {
    fn expire(this: ArcBorrow<'_, Timed<Self>>, _run: &Expiry<'_, K::Context>) -> Next {
        let ashes = &this.ashes;
        if ashes.runs.fetch_add(1, Relaxed) == 0 {
            ashes.entered.store(true, Release);
            sleep_until(5_000, || ashes.release.load(Acquire));
        }
        Next::Stop
    }

    fn drained(this: ArcBorrow<'_, Timed<Self>>) {
        let kept = PhoenixOf::from(this);
        let new = kept.callout::<K>().arm_after(Delta::from_millis(1)) == Arm::New;
        kept.ashes.armed.fetch_add(u64::from(new), Relaxed);
        *kept.ashes.kept.lock() = Some(kept.clone());
    }
}

/// Fault: what nobody owns when its callback ends is shut down, whoever is told of that end.
fn kept_at_the_end<K: Unlocked>(_: &Task) -> Verdict {
    let ashes = Arc::pin_init(
        pin_init!(Ashes {
            entered: Atomic::new(false),
            release: Atomic::new(false),
            runs: Atomic::new(0),
            armed: Atomic::new(0),
            kept <- new_hard_lock!(None),
        }),
        GFP_KERNEL,
    )?;
    let his = ashes.clone();
    let phoenix = Timed::new(try_pin_init!(Phoenix {
        timer <- Callout::new(softclock::owner!(), c"phoenix"),
        ashes: his,
    }))?;
    check!(phoenix.callout::<K>().arm_after(Delta::ZERO) == Arm::New);
    check!(sleep_until(2_000, || ashes.entered.load(Acquire)));
    check!(phoenix.timer.drain_async() == Stop::Running);
    drop(phoenix);
    ashes.release.store(true, Release);
    let again = sleep_until(2_000, || ashes.runs.load(Acquire) == 2);
    // Before anything is said of it: it and its ashes have each other.
    let kept = ashes.kept.lock().take();
    check!(ashes.armed.load(Relaxed) == 1);
    check!(again);
    check!(kept.is_some_and(|kept| !kept.timer.is_shut()));
    Ok(())
}
