// SPDX-License-Identifier: GPL-2.0

//! A driver that is unloaded while it is told, at length, of the end of a run. Its exit drops what it has:
//! what is in a worker still is its code, and the unload has to wait for that.

use kernel::time::delay::fsleep;
use softclock::{prelude::*, Unlocked};

module! {
    type: Module,
    name: "softclock_farewell",
    authors: ["softclock maintainers"],
    description: "softclock selftest: unloaded while it is told of an end",
    license: "GPL",
    imports_ns: ["SOFTCLOCK"],
    params: {
        precise: u8 {
            default: 0,
            description: "1: not on the wheel",
        },
        late: u8 {
            default: 0,
            description: "1: a callback arms another callout for the first time when the exit has run",
        },
    },
}

static BEGUN: Atomic<u64> = Atomic::new(0);

#[pin_data]
struct Parting<K: Unlocked> {
    #[pin]
    timer: Callout<Self, K>,
}

impl_has_callout! { impl {K: Unlocked} HasCallout<K> for Parting<K> { self.timer } }

impl<K: Unlocked> OnExpire<K> for Parting<K> {
    fn expire(_this: ArcBorrow<'_, Timed<Self>>, _run: &Expiry<'_, K::Context>) -> Next {
        BEGUN.fetch_add(1, Release);
        sleep_ms(20);
        Next::Stop
    }

    fn drained(_this: ArcBorrow<'_, Timed<Self>>) {
        sleep_ms(300);
        pr_info!("farewell\n");
    }
}

fn sleep_ms(ms: i64) {
    fsleep(kernel::time::Delta::from_millis(ms));
}

fn parting<K: Unlocked>() -> Result<Arc<Timed<Parting<K>>>> {
    let parting = Timed::new(try_pin_init!(Parting {
        timer <- Callout::new(softclock::owner!(), c"parting"),
    }))?;
    parting.callout::<K>().arm_after(Delta::ZERO);
    Ok(parting)
}

/// It is forgotten, and arms what nobody has seen yet when its module has left.
#[pin_data]
struct Late {
    #[pin]
    task: Callout<Self, Task>,
    #[pin]
    soft: Callout<Self, Soft>,
}

impl_has_callout! {
    impl HasCallout<Task> for Late { self.task }
    impl HasCallout<Soft> for Late { self.soft }
}

impl OnExpire<Task> for Late {
    fn expire(this: ArcBorrow<'_, Timed<Self>>, _run: &Expiry<'_, Task>) -> Next {
        BEGUN.fetch_add(1, Release);
        sleep_ms(300);
        let answer = this.callout::<Soft>().arm_after(Delta::from_millis(50));
        pr_info!("late: {:?}\n", answer);
        Next::Stop
    }
}

impl OnExpire<Soft> for Late {
    fn expire(_this: ArcBorrow<'_, Timed<Self>>, _run: &Expiry<'_, Soft>) -> Next {
        Next::After(Delta::from_millis(1))
    }
}

fn forget_late() -> Result {
    let late = Timed::new(try_pin_init!(Late {
        task <- Callout::new(softclock::owner!(), c"late-task"),
        soft <- Callout::new(softclock::owner!(), c"late-soft"),
    }))?;
    late.callout::<Task>().arm_after(Delta::ZERO);
    while BEGUN.load(Acquire) == 0 {
        sleep_ms(1);
    }
    core::mem::forget(late);
    Ok(())
}

/// Whatever its kind is.
type Any = KBox<dyn Send + Sync>;

/// One that executes, and whose end is to be told.
fn drained<K: Unlocked>() -> Result<Any>
where
    Parting<K>: Send + Sync + 'static,
{
    // On a busy machine the run may be over before this thread sees it: then another one.
    for _ in 0..100 {
        BEGUN.store(0, Release);
        let parting = parting::<K>()?;
        while BEGUN.load(Acquire) == 0 {
            sleep_ms(1);
        }
        if parting.timer.drain_async() == Stop::Running {
            return Ok(KBox::new(parting, GFP_KERNEL)?);
        }
    }
    Err(EAGAIN)
}

struct Module {
    _parting: Option<Any>,
}

impl kernel::Module for Module {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        if *module_parameters::late.value() != 0 {
            forget_late()?;
            return Ok(Self { _parting: None });
        }
        let parting = match *module_parameters::precise.value() {
            0 => drained::<Task>()?,
            _ => drained::<Precise<Task>>()?,
        };
        Ok(Self {
            _parting: Some(parting),
        })
    }
}
