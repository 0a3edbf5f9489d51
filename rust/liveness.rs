// SPDX-License-Identifier: GPL-2.0

//! Liveness: know when somebody is dead. The entity status inquiries of iSNS (RFC 4171), for a hundred
//! thousand of them, and for whatever else a driver can ask.
//!
//! # Vocabulary
//!
//! An *entity* is registered with a service, under a name, with some *portals*. A portal that wants to
//! be asked is *monitored*. In every interval the entity has a *round*, in which its monitored portals are
//! *probed*: asked, and asked again if need be, up to the *threshold*. A portal that does not answer to any
//! of these *attempts* is *dead*, and is not part of the entity any more. When the last monitored portal has
//! died, the entity is *pending*; unless it registers again it *expires* after two more intervals, which
//! means that the driver is to deregister it. An entity without monitored portals expires when nothing was
//! heard of it for its registration period.
//!
//! ```text
//!               interval          answered: Alive
//!   register ------------> round -----------------> next interval, from the answer on
//!                            |  attempts missed: Suspect 1 of 3, 2 of 3
//!                            |  portal dead: Dead -----------------> next interval, if others are left
//!                            +- the last one dead: Dead, Pending --> two intervals --> expired
//! ```
//!
//! # Guarantees
//!
//! - A portal is dead only when as many attempts as the threshold says, one after the other, went
//!   unanswered. What is our own fault (no memory, no socket, a probe that was stopped) is no death.
//! - A round begins one interval after the last answer, or after the registration, and all its attempts
//!   fit into one more. Setting the wall clock changes nothing.
//! - At most a window of entities is asked at the same time. A portal that does not answer keeps nobody
//!   waiting but itself.
//! - Registering, removing and finding an entity take the same time however many there are, and wait for
//!   no probe. An entity is in one state and has one timer, so nothing is left over and nothing is lost.
//! - The driver is told in task context, without a lock, and may call whatever is here that does not
//!   wait, registering and removing included. What is told of one entity is told in order.
//! - After [`deregister`](Liveness::deregister) has answered [`Removed::Now`], nothing of the entity is
//!   told any more. [`deregister_and_wait`](Liveness::deregister_and_wait) waits until that is so.
//! - A module can be unloaded at any time, however many probes are in flight. What it forgot is ended, and
//!   named in the log.
//!
//! # What is told when, and what holds up what
//!
//! | worker | does | calls |
//! |---|---|---|
//! | steps | begins rounds | [`Probe::ask`], in a worker of its own |
//! | news | ends rounds | [`OnVerdict::verdict`] |
//! | expiry | | [`OnVerdict::expired`] |
//!
//! A service has one of each, so a verdict that blocks delays other verdicts of the same service, but no
//! expiry and no round that has a place in the window; a deregistration that blocks delays others.
//!
//! # At what cost
//!
//! An idle entity with one portal takes 192 bytes, and 48 in the table for a name of up to 30 bytes, plus
//! 4 to 8 for finding it. It has one callout on the wheel. A round allocates memory; if there is none, the
//! next one comes an interval later.
//!
//! # iSNS names
//!
//! | RFC 4171, isnsd | here |
//! |---|---|
//! | DevAttrReg | [`Liveness::register`]; from the data store at start: [`Liveness::load`] |
//! | DevDereg of an entity, of a portal | [`Liveness::deregister`], [`Liveness::remove_portal`] |
//! | ESI interval, ESI port | [`PortalTerms::every_secs`], [`PortalTerms::asked_at`] |
//! | registration period | [`EntityTerms::period_s`] |
//! | `ESI_retry_threshold_count` | [`Settings::threshold`] |
//! | query of a client | [`Liveness::refresh`] |
//! | the server deregisters the entity | [`OnVerdict::expired`] |
//!
//! # Examples
//!
//! ```
//! use softclock::{liveness::*, prelude::*};
//!
//! struct Log;
//!
//! impl OnVerdict for Log {
//!     fn verdict(&self, eid: &str, verdict: &Verdict) {
//!         if let Verdict::Dead { portal, why } = verdict {
//!             pr_warn!("{}: {} is dead: {}\n", eid, portal, why);
//!         }
//!     }
//!
//!     fn expired(&self, eid: &str, cause: Cause) -> Deregistered {
//!         pr_warn!("{}: gone, {}\n", eid, cause.as_str());
//!         Deregistered::Yes
//!     }
//! }
//!
//! # struct Ping;
//! # impl Probe for Ping { fn ask(&self, asking: Asking) { asking.alive(); } }
//! let service = Liveness::with_probe(softclock::owner!(), c"disks", Settings::new(), Log, Ping)?;
//! service.register(&EntityTerms {
//!     eid: b"shelf-1",
//!     period_s: 0,
//!     portals: &[PortalTerms::new(Portal::numbered(7)).monitored().every_secs(30)],
//! })?;
//! ```

#[allow(dead_code, reason = "a driver's own probes do not need all of it")]
pub(crate) mod ask;
mod asked;
#[doc(hidden)]
pub mod drill;
mod entity;
mod fifo;
mod flight;
mod look;
mod once;
mod own;
mod portals;
mod registration;
mod service;
mod services;
pub(crate) mod sockets;
mod table;
mod terms;
mod workers;

pub use self::once::{ask, Question, Reply};
pub use self::{
    look::{Counts, EntitySeen, PortalSeen},
    own::{Asking, Probe},
    registration::{Removed, Triggered},
    terms::{EntityTerms, Granted, Portal, PortalTerms, Protocol, Settings},
};
pub(crate) use self::{
    look::{EntityRow, PortalRow},
    service::Service,
    services::Services,
};
pub use crate::policy::esi::{
    entity::{Cause, State},
    jitter::Jitter,
    record::Verdict as Judged,
    Coverage, Removal,
};

use self::{own::Own, service::Making, sockets::Sockets};
use crate::{
    policy::{
        deadline::{Delta, Instant},
        life::CannotWait,
        name::Name,
    },
    sys::{context::Task, module::Owner},
    Hub,
};
use core::any::TypeId;
use kernel::{prelude::*, sync::Arc};

/// What became known of an entity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// The portal has answered.
    Alive {
        /// Which.
        portal: Portal,
        /// From the first attempt to the answer.
        rtt: Delta,
    },
    /// The portal has not answered to an attempt; another one is made. Not each of them is told where
    /// they follow each other faster than the driver takes them.
    Suspect {
        /// Which.
        portal: Portal,
        /// The attempt, from 1 on.
        attempt: u8,
        /// How many there will be.
        of: u8,
    },
    /// The portal has not answered to any attempt. It is not part of the entity any more.
    Dead {
        /// Which.
        portal: Portal,
        /// What became of the last attempt that failed, in one word.
        why: &'static str,
    },
    /// That was the last monitored portal: unless it registers again, the entity expires.
    Pending {
        /// When.
        due: Instant,
    },
}

/// Whether a driver could deregister an entity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deregistered {
    /// It could.
    Yes,
    /// It could not: it is asked again in 180 s.
    No,
}

/// What a driver does with verdicts.
pub trait OnVerdict: Send + Sync + 'static {
    /// Something became known of the entity `eid`. Task context, no lock held; it may call everything
    /// of the service that does not wait. It should not block for long: all verdicts of the service are
    /// told one after the other.
    fn verdict(&self, eid: &str, verdict: &Verdict);

    /// The entity `eid` has expired: deregister it. Task context, no lock held; it may block, which holds
    /// up other expiries of the service and nothing else. When this has answered [`Deregistered::Yes`],
    /// the service forgets the entity, unless that has registered again meanwhile.
    fn expired(&self, eid: &str, cause: Cause) -> Deregistered;
}

/// A service that asks entities whether they live, until this is dropped.
///
/// See the [module's](self) documentation for what is guaranteed, and for an example. Dropping it ends it
/// without waiting, in any context in which memory can be freed, its own callbacks included: what executes
/// ends in its own time, and nothing more is told after that. When the module's exit has returned,
/// nothing executes.
pub struct Liveness {
    service: Arc<Service>,
}

impl Liveness {
    /// A service without entities, which asks over the network, by inquiries (RFC 4171, 5.7.5.13), and tells
    /// `verdicts`. It does so from the network namespace of the calling task, and does not keep that alive:
    /// when it leaves, nobody can be asked any more, and nobody is dead for that. Task context; may block
    /// (`GFP_KERNEL`).
    ///
    /// `owner` and `name` are as for [`with_probe`](Self::with_probe).
    ///
    /// # Errors
    ///
    /// As for [`with_probe`](Self::with_probe).
    pub fn new<V: OnVerdict>(
        owner: Owner,
        name: &'static CStr,
        settings: Settings,
        verdicts: V,
    ) -> Result<Self> {
        // Compiled where the callbacks are.
        let name = checked(owner, name, &[mark::<V> as fn() -> TypeId as usize])?;
        let verdicts: Arc<dyn OnVerdict> = Arc::new(verdicts, GFP_KERNEL)?;
        Self::over_sockets(owner, name, settings, verdicts)
    }

    #[inline(never)]
    fn over_sockets(
        owner: Owner,
        name: Name,
        settings: Settings,
        driver: Arc<dyn OnVerdict>,
    ) -> Result<Self> {
        let service = Service::new(Making {
            owner,
            name,
            settings,
            driver,
            prober: Sockets::here(&Task::new()?)?,
            own: None,
        })?;
        Ok(Self { service })
    }

    /// A service without entities, which asks by the driver's own `probe` and tells `verdicts`. Task context;
    /// may block (`GFP_KERNEL`).
    ///
    /// `owner` is [`owner!()`](crate::owner); `name` is what debugfs and the log show, and what an operator
    /// types, one word of at most 31 bytes.
    ///
    /// # Errors
    ///
    /// `EINVAL`: a bad name, or `verdicts` or `probe` is not compiled into the owner's module (the log says
    /// which). `EWOULDBLOCK` (`EAGAIN`): this context may not block. `ENOMEM`. `ENODEV`: the owner's module
    /// is being unloaded.
    pub fn with_probe<V: OnVerdict, P: Probe>(
        owner: Owner,
        name: &'static CStr,
        settings: Settings,
        verdicts: V,
        probe: P,
    ) -> Result<Self> {
        // Compiled where the callbacks are.
        let code = [
            mark::<V> as fn() -> TypeId as usize,
            mark::<P> as fn() -> TypeId as usize,
        ];
        let name = checked(owner, name, &code)?;
        let verdicts: Arc<dyn OnVerdict> = Arc::new(verdicts, GFP_KERNEL)?;
        let probe: Arc<dyn Probe> = Arc::new(probe, GFP_KERNEL)?;
        Self::of_probe(owner, name, settings, verdicts, probe)
    }

    #[inline(never)]
    fn of_probe(
        owner: Owner,
        name: Name,
        settings: Settings,
        driver: Arc<dyn OnVerdict>,
        probe: Arc<dyn Probe>,
    ) -> Result<Self> {
        let own = Own::new(probe)?;
        let service = Service::new(Making {
            owner,
            name,
            settings,
            driver,
            prober: own.clone(),
            own: Some(own),
        })?;
        Ok(Self { service })
    }

    /// How it asks. Any context but NMI.
    pub fn settings(&self) -> Settings {
        self.service.settings()
    }

    /// Asks differently from the next rounds on. Task or softirq context.
    pub fn set(&self, settings: Settings) {
        Service::update(&self.service, |_| settings);
    }

    /// Ends it, and waits until nothing of the driver's executes. All entities are removed; nothing of them
    /// is told. Task context; blocks for the rest of a callback at most. Answers how many there were.
    ///
    /// # Errors
    ///
    /// [`CannotWait`]: the caller is a callback of this service, or may not sleep. It ends all the same.
    pub fn shutdown(&self, task: &Task) -> Result<u32, CannotWait> {
        Service::end(&self.service, task)
    }

    /// The number debugfs shows for it; never used twice while softclock is loaded.
    pub fn id(&self) -> u64 {
        self.service.id()
    }
}

impl Drop for Liveness {
    fn drop(&mut self) {
        let_go(&self.service);
    }
}

#[inline(never)]
fn let_go(service: &Service) {
    service.let_go();
    if let Ok(hub) = Hub::get() {
        Services::reap(hub.liveness());
    }
}

/// Checks what a driver asks for. Task context.
#[inline(never)]
fn checked(owner: Owner, label: &'static CStr, code: &[usize]) -> Result<Name> {
    Task::new()?;
    let name = Name::new(label.to_bytes()).map_err(|bad| {
        pr_err!("liveness service name \"{}\" {}\n", label, bad.what());
        EINVAL
    })?;
    if !code.iter().all(|code| owner.contains(*code)) {
        pr_err!(
            "liveness service {}: its callbacks are not compiled into the module that owner!() names; \
             mark the function that makes it #[inline(never)]\n",
            name.as_str(),
        );
        return Err(EINVAL);
    }
    Ok(name)
}

/// Something that is compiled into the same module as `F`, and is another thing for each `F`.
fn mark<F: 'static>() -> TypeId {
    TypeId::of::<F>()
}
