// SPDX-License-Identifier: GPL-2.0

//! Commands about liveness, executed.

use super::{failed, Failure};
use crate::{
    liveness::{EntityTerms, Portal, PortalTerms, Service, Settings},
    policy::command::{At, Change, Liveness, Watch},
    sys::net::Held,
    Hub,
};
use kernel::{prelude::*, sync::Arc};

/// Executes `what` in the service of that name, or the only one there is, of a namespace.
pub(super) fn execute<'a>(
    service: Option<&'a str>,
    what: Liveness<'a>,
    net: &Held,
) -> Result<(), Failure<'a>> {
    let service = find(service, net)?;
    match what {
        Liveness::Register {
            eid,
            period_s,
            portal,
        } => {
            let portal = portal.map(terms);
            let terms = EntityTerms {
                eid: eid.as_bytes(),
                period_s,
                portals: portal.as_slice(),
            };
            sound(&terms, eid)?;
            let done = Service::admit(&service, &terms);
            done.map_err(|e| not_taken(e, eid))
        }
        Liveness::AddPortal { eid, portal } => {
            let portal = terms(portal);
            let more = EntityTerms {
                eid: eid.as_bytes(),
                period_s: 0,
                portals: &[portal],
            };
            sound(&more, eid)?;
            let done = Service::add_portal(&service, eid.as_bytes(), &portal);
            done.map(drop).map_err(|e| not_taken(e, eid))
        }
        Liveness::RemovePortal { eid, portal } => {
            let done = Service::remove_portal(&service, eid.as_bytes(), &key(portal));
            done.map_err(|e| match e {
                e if e == ENOENT => failed(e, "there is no such entity, or no such portal of it"),
                e => failed(e, "that is no portal: an address of one host"),
            })
        }
        Liveness::Deregister { eid } => {
            let done = Service::deregister(&service, eid.as_bytes());
            done.map(drop).map_err(|e| no_entity(e, eid))
        }
        Liveness::Refresh { eid } => {
            Service::refresh(&service, eid.as_bytes()).map_err(|e| no_entity(e, eid))
        }
        Liveness::Probe { eid } => match Service::trigger_by_name(&service, eid.as_bytes()) {
            Ok(true) => Ok(()),
            Ok(false) => Err(failed(
                EBUSY,
                "it is being asked, or has no portal to be asked",
            )),
            Err(e) => Err(no_entity(e, eid)),
        },
        Liveness::ProbeAll => {
            Service::trigger_all(&service);
            Ok(())
        }
        Liveness::Change(change) => {
            Service::update(&service, |settings| changed(settings, change));
            Ok(())
        }
    }
}

fn find<'a>(name: Option<&'a str>, net: &Held) -> Result<Arc<Service>, Failure<'a>> {
    let none = Failure {
        errno: ENOENT,
        word: name.unwrap_or(""),
        why: "there is no such service in this namespace",
    };
    let Ok(hub) = Hub::get() else {
        return Err(none);
    };
    let fits = |service: &Service| {
        let named = name.is_none_or(|name| service.name() == name);
        named && !service.is_let_go() && service.is_in(net)
    };
    let Some(service) = hub.liveness().first(0, fits) else {
        return Err(none);
    };
    let more = service.id().saturating_add(1);
    if hub.liveness().first(more, fits).is_some() {
        return Err(Failure {
            errno: EBUSY,
            word: name.unwrap_or(""),
            why: match name {
                None => "there are several services: say which by in=",
                Some(_) => "there are several services of that name: see liveness/services",
            },
        });
    }
    Ok(service)
}

fn key(at: At) -> Portal {
    if at.udp {
        Portal::udp(at.ip, at.port)
    } else {
        Portal::tcp(at.ip, at.port)
    }
}

fn terms(watch: Watch) -> PortalTerms {
    PortalTerms::new(key(watch.at))
        .asked_at(watch.esi)
        .every_secs(watch.interval_s)
        .on_device(watch.scope)
}

fn changed(mut settings: Settings, change: Change) -> Settings {
    if let Some(threshold) = change.threshold {
        settings = settings.threshold(threshold);
    }
    if let Some(patience) = change.patience {
        settings = settings.patience(patience);
    }
    if let Some(coverage) = change.coverage {
        settings = settings.coverage(coverage);
    }
    if let Some(jitter) = change.jitter {
        settings = settings.jitter(jitter);
    }
    if let Some(removal) = change.removal {
        settings = settings.removal(removal);
    }
    if let Some(window) = change.window {
        settings = settings.window(window);
    }
    settings
}

fn no_entity<'a>(errno: Error, eid: &'a str) -> Failure<'a> {
    Failure {
        errno,
        word: eid,
        why: "is no entity of this service",
    }
}

/// Whether the name and the portals can be used; else what is wrong.
fn sound<'a>(terms: &EntityTerms<'_>, eid: &'a str) -> Result<(), Failure<'a>> {
    terms.mistake().map_or(Ok(()), |(errno, why)| {
        Err(Failure {
            errno,
            word: eid,
            why,
        })
    })
}

/// Why terms that are sound were not taken.
fn not_taken<'a>(errno: Error, eid: &'a str) -> Failure<'a> {
    let why = match errno {
        e if e == ERANGE => "has 64 portals, and no entity has more",
        e if e == ENOENT => "is no entity of this service",
        e if e == EEXIST => "has that portal already",
        e if e == ENODEV => "the service has ended",
        e if e == ENOSPC => "there are too many entities",
        _ => "there is no memory",
    };
    Failure {
        errno,
        word: eid,
        why,
    }
}
