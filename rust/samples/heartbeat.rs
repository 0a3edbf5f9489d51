// SPDX-License-Identifier: GPL-2.0

//! A heart that beats ten times a second in softirq context and reports once a second from a task.
//!
//! ```text
//! insmod softclock.ko; insmod heartbeat.ko
//! cat /sys/kernel/debug/softclock/callouts
//! ```

use softclock::prelude::*;

module! {
    type: Module,
    name: "heartbeat",
    authors: ["softclock maintainers"],
    description: "softclock sample: one callout in softirq context, one in task context",
    license: "GPL",
    imports_ns: ["SOFTCLOCK"],
}

#[pin_data]
struct Heart {
    #[pin]
    beat: Callout<Self, Soft>,
    #[pin]
    report: Callout<Self, Task>,
    beats: Atomic<u64>,
}

impl_has_callout! {
    impl HasCallout<Soft> for Heart { self.beat }
    impl HasCallout<Task> for Heart { self.report }
}

impl OnExpire<Soft> for Heart {
    fn expire(this: ArcBorrow<'_, Timed<Self>>, _run: &Expiry<'_, Soft>) -> Next {
        this.beats.fetch_add(1, Relaxed);
        Next::After(Delta::from_millis(100))
    }
}

impl OnExpire<Task> for Heart {
    fn expire(this: ArcBorrow<'_, Timed<Self>>, run: &Expiry<'_, Task>) -> Next {
        pr_info!("{} beats\n", this.beats.load(Relaxed));
        Next::At(run.due() + Delta::from_secs(1))
    }
}

impl Heart {
    fn new() -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            beat <- Callout::new(softclock::owner!(), c"beat"),
            report <- Callout::new(softclock::owner!(), c"report"),
            beats: Atomic::new(0),
        })
    }
}

// Dropping the last reference ends the callouts: there is nothing to undo at unload.
struct Module {
    _heart: Arc<Timed<Heart>>,
}

impl kernel::Module for Module {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        let heart = Timed::new(Heart::new())?;
        heart.callout::<Soft>().arm_after(Delta::from_millis(100));
        heart.callout::<Task>().arm_after(Delta::from_secs(1));
        Ok(Self { _heart: heart })
    }
}
