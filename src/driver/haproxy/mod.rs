//! HAProxy 2.6 and newer, through its runtime API (`stats socket ... level admin`).
//!
//! * **Services** are backends, mapped in the address: `unix:/run/haproxy.sock?driver=haproxy&vip=10.0.0.100:80=web`.
//!   They belong to HAProxy's configuration: they are always there, and their settings cannot be changed. A service
//!   that is not mapped is `Unsupported`.
//! * **Bindings** are dynamic servers of those backends (which need a dynamic `balance`: `roundrobin`, `leastconn`,
//!   `random`, or a consistent hash). Their names say whose they are and how they are checked (`name`). Servers of
//!   other names are listed with the owner `foreign` and never touched.
//! * **Add** creates a server and lets it in when its first `rise` checks passed; **Remove** is `state drain`
//!   (with `persistence=yes`, `state maint`: see `profile`). A removed server that has no session
//!   left is deleted by the call that sees it, be it Remove itself, a later call or List; HAProxy tells of nothing by
//!   itself. **Force Remove** cuts its sessions (`shutdown sessions server`), the client's side with a FIN, any further
//!   data with a RST.
//! * **Not here**, and refused as `Unsupported`: Drop, leases, fencing, events, deadlines, groups, content rules, UDP,
//!   weights above 256, another check for a server that exists.
//!
//! What `state drain` by HAProxy's operator does to a server of ours is a Remove; maintenance is respected. HAProxy
//! forgets dynamic servers when it is reloaded: what was added must be added again. It has no way to compare and set,
//! so two drivers that change the same server in the same millisecond may undo each other's work; one manager leads.
//!
//! Who is who: `profile` reads the address, `socket` asks, `answer` reads, `backend` turns that into rows, `change`
//! decides, `batch` carries out.

mod answer;
mod backend;
mod batch;
mod change;
mod name;
mod profile;
mod socket;

use std::collections::BTreeMap;
use std::sync::PoisonError;

use tokio::sync::Mutex;

use super::url::DriverUrl;
use crate::acm::connect::SwitchProfile;
use crate::acm::error::{AcmError, Feature};
use crate::acm::list::{Filter, Listing};
use crate::acm::primitive::{Caller, Outcome, Primitive};
use crate::acm::switch::{AcmSwitch, Answer};
use crate::acm::words::ServiceKey;
use crate::base::addr::Protocol;
use crate::base::id::Generation;
use crate::base::limits::BATCH_MAX;
use backend::Backend;
use batch::Batch;
use profile::{Mapped, Profile};
use socket::Socket;

/// How often a backend is read again when its two tables disagree, because something changed between them.
const READS_MAX: u32 = 4;

/// A HAProxy.
#[derive(Debug)]
pub struct HaproxySwitch {
    socket: Socket,
    profile: Profile,
    /// The numbers of its backends, since a frontend may have a backend's name and statistics are asked for by either.
    /// They change when HAProxy is configured anew; then they are read again.
    numbers: std::sync::Mutex<BTreeMap<String, u32>>,
    /// Counts this driver's own changes; HAProxy counts none. Held by a call for as long as it lasts: one at a time.
    generation: Mutex<Generation>,
}

/// Reaches a HAProxy and makes sure that it can do what is needed.
///
/// # Errors
/// `Invalid` (the address, a backend that is not there, HAProxy before 2.6), `Unreachable`, `Forbidden`.
pub(super) async fn connect(url: &DriverUrl, profile: &SwitchProfile) -> Result<Box<dyn AcmSwitch>, AcmError> {
    let (place, recent) = (Profile::try_from(url)?, profile.recent.clone());
    let socket = Socket::new(place.place.clone(), recent);
    let generation = Mutex::new(Generation(1));
    let switch = HaproxySwitch { socket, profile: place, numbers: Default::default(), generation };
    switch.check_version().await?;
    switch.read_numbers().await?;
    Ok(Box::new(switch))
}

/// The services that an address maps.
///
/// # Errors
/// `Invalid`, naming what is wrong.
pub(crate) fn mapped_services(url: &DriverUrl) -> Result<Vec<ServiceKey>, AcmError> {
    Ok(Profile::try_from(url)?.vips.into_iter().map(|vip| vip.service).collect())
}

impl HaproxySwitch {
    async fn info(&self) -> Result<answer::Info, AcmError> {
        let said = self.socket.ask("show info").await?;
        answer::info(&said).ok_or_else(|| self.nonsense("show info", &said, "that is not HAProxy"))
    }

    async fn check_version(&self) -> Result<(), AcmError> {
        let info = self.info().await?;
        if info.version >= answer::OLDEST {
            return Ok(());
        }
        let (socket, version) = (&self.socket, info.version_text);
        let why = format!("{socket} is version {version}; servers are added at run time from 2.6 on, so upgrade it");
        Err(AcmError::invalid("switch", why))
    }

    /// Learns the numbers of the backends.
    ///
    /// # Errors
    /// `Invalid` (vip) for a backend that is not there.
    async fn read_numbers(&self) -> Result<(), AcmError> {
        let question = "show stat -1 2 -1";
        let said = self.socket.ask(question).await?;
        let there = answer::backends(&said).map_err(|why| self.nonsense(question, &said, &why))?;
        if let Some(vip) = self.profile.vips.iter().find(|vip| !there.contains_key(&vip.backend)) {
            let names: Vec<_> = there.keys().map(String::as_str).collect();
            let why = format!("{} has no backend `{}`; it has: {}", self.socket, vip.backend, names.join(", "));
            return Err(AcmError::invalid("vip", why.chars().take(500).collect::<String>()));
        }
        *self.numbers.lock().unwrap_or_else(PoisonError::into_inner) = there;
        Ok(())
    }

    fn number(&self, backend: &str) -> u32 {
        self.numbers.lock().unwrap_or_else(PoisonError::into_inner).get(backend).copied().unwrap_or(0)
    }

    fn mapped(&self, service: ServiceKey) -> Result<&Mapped, AcmError> {
        if service.protocol == Protocol::Udp {
            return Err(AcmError::unsupported(Feature::Udp, "HAProxy balances TCP"));
        }
        self.profile.vips.iter().find(|vip| vip.service == service).ok_or_else(|| {
            let mapped: Vec<_> = self.profile.vips.iter().map(|vip| vip.service.to_string()).collect();
            let why = format!(
                "no backend of HAProxy stands for {service}; add vip={service}=BACKEND to the address (mapped: {})",
                mapped.join(", ")
            );
            AcmError::unsupported(Feature::Services, why)
        })
    }

    /// A backend as it is now.
    async fn backend(&self, mapped: &Mapped) -> Result<Backend, AcmError> {
        let mut wrong = AcmError::Timeout { waited_for: mapped.backend.clone() };
        for _ in 0..READS_MAX {
            let question =
                format!("show servers state {};show stat {} 6 -1", mapped.backend, self.number(&mapped.backend));
            let said = self.socket.ask(&question).await?;
            match answer::backend(&mapped.backend, &said) {
                Ok(seen) => return Ok(Backend::new(mapped, self.profile.removal, seen)),
                Err(why) => wrong = self.nonsense(&question, &said, &why),
            }
            self.read_numbers().await?;
        }
        Err(wrong)
    }

    /// A changing line.
    async fn tell(&self, line: &str) -> Result<(), AcmError> {
        let said = self.socket.ask(line).await?;
        match answer::complaint(&said) {
            None => Ok(()),
            Some(words) => Err(self.refusal(line, &words)),
        }
    }

    /// What HAProxy objects to, as an error of the contract with HAProxy's words in it.
    fn refusal(&self, line: &str, words: &str) -> AcmError {
        let why = format!("{} refused `{line}`: {words}", self.socket);
        if words.starts_with("Permission denied") {
            return AcmError::Forbidden { why: format!("{why}; its socket needs `level admin`") };
        }
        match words {
            "No such server." => AcmError::not_found(format!("{}: the server in `{line}`", self.socket)),
            "No such backend." | "Can't find backend." | "No such proxy." => AcmError::invalid("vip", why),
            _ => AcmError::unsupported(Feature::Option, why),
        }
    }

    /// An answer that is not what was asked for: HAProxy's complaint, if it is one.
    fn nonsense(&self, question: &str, said: &str, why: &str) -> AcmError {
        match answer::objection(said) {
            Some(words) => self.refusal(question, &words),
            None => AcmError::Unreachable { why: format!("{}: the answer to `{question}`: {why}", self.socket) },
        }
    }

    async fn apply_all(&self, list: Vec<Primitive>) -> Result<Vec<Outcome>, AcmError> {
        if list.len() > BATCH_MAX {
            let why = format!("{} primitives; at most {BATCH_MAX} in one list", list.len());
            return Err(AcmError::invalid("list", why));
        }
        let mut generation = self.generation.lock().await;
        Batch::new(self, &mut generation).perform(list).await
    }

    async fn list_all(&self, filter: &Filter) -> Result<Listing, AcmError> {
        let mut generation = self.generation.lock().await;
        let mut listing = Listing::default();
        for mapped in self.profile.vips.iter().filter(|vip| filter.service.is_none_or(|key| key == vip.service)) {
            let mut backend = self.backend(mapped).await?;
            if batch::delete_drained(self, &mut backend).await > 0 {
                *generation = generation.next();
            }
            listing.services.push(backend.service_row());
            listing.bindings.extend(backend.rows().into_iter().filter(|row| filter.wants(row)));
        }
        listing.generation = *generation;
        Ok(listing)
    }
}

impl AcmSwitch for HaproxySwitch {
    fn apply<'a>(&'a self, _caller: &'a Caller, list: Vec<Primitive>) -> Answer<'a, Result<Vec<Outcome>, AcmError>> {
        Box::pin(self.apply_all(list))
    }

    fn list<'a>(&'a self, filter: &'a Filter) -> Answer<'a, Result<Listing, AcmError>> {
        Box::pin(self.list_all(filter))
    }
}
