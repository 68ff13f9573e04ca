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

use tokio::sync::Mutex;

use super::url::DriverUrl;
use crate::acm::connect::SwitchProfile;
use crate::acm::error::{AcmError, Feature};
use crate::acm::list::{Filter, Listing};
use crate::acm::primitive::{Caller, Outcome, Primitive};
use crate::acm::switch::{AcmSwitch, Answer};
use crate::acm::words::ServiceKey;
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
    /// One call at a time.
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Counts this driver's own changes; HAProxy counts none.
    generation: Generation,
    /// The number last given to a server. Numbers come from HAProxy's clock, one after the other, so that none is given
    /// twice, by this driver or a later one.
    last_id: u32,
}

/// Reaches a HAProxy and makes sure that it can do what is needed.
///
/// # Errors
/// `Invalid` (the address, a backend that is not there, HAProxy before 2.6), `Unreachable`, `Forbidden`.
pub(super) async fn connect(url: &DriverUrl, profile: &SwitchProfile) -> Result<Box<dyn AcmSwitch>, AcmError> {
    let (place, recent) = (Profile::try_from(url)?, profile.recent.clone());
    let socket = Socket::new(place.place.clone(), recent);
    let state = Mutex::new(State { generation: Generation(1), last_id: 0 });
    let switch = HaproxySwitch { socket, profile: place, state };
    switch.check_version().await?;
    switch.check_backends().await?;
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
        answer::info(&said).ok_or_else(|| self.nonsense("show info", &said))
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

    async fn check_backends(&self) -> Result<(), AcmError> {
        let said = self.socket.ask("show backend").await?;
        let there = answer::backends(&said);
        match self.profile.vips.iter().find(|vip| !there.contains(&vip.backend.as_str())) {
            None => Ok(()),
            Some(vip) => {
                let why = format!("{} has no backend `{}`; it has: {}", self.socket, vip.backend, there.join(", "));
                Err(AcmError::invalid("vip", why.chars().take(500).collect::<String>()))
            }
        }
    }

    fn mapped(&self, service: ServiceKey) -> Result<&Mapped, AcmError> {
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
        let question = format!("show servers state {0};show stat {0} 6 -1", mapped.backend);
        for read in 1.. {
            let said = self.socket.ask(&question).await?;
            match answer::backend(&mapped.backend, &said) {
                Ok(seen) => return Ok(Backend::new(mapped, self.profile.removal, seen)),
                Err(_)
                    if answer::complaint(said.lines().find(|line| line.starts_with('[')).unwrap_or("")).is_some() =>
                {
                    return Err(self.nonsense(&question, &said));
                }
                Err(why) if read == READS_MAX => {
                    let why = format!("{}: the table of `{}`: {why}", self.socket, mapped.backend);
                    return Err(AcmError::Unreachable { why });
                }
                Err(_) => {}
            }
        }
        unreachable!("the last read returns")
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
            "No such server." => AcmError::not_found(why),
            "No such backend." | "Can't find backend." | "No such proxy." => AcmError::invalid("vip", why),
            _ => AcmError::unsupported(Feature::Option, why),
        }
    }

    /// An answer that is not what was asked for.
    fn nonsense(&self, question: &str, said: &str) -> AcmError {
        match answer::complaint(said) {
            Some(words) => self.refusal(question, &words),
            None => AcmError::Unreachable { why: format!("{}: `{question}` was answered with nonsense", self.socket) },
        }
    }

    async fn apply_all(&self, list: Vec<Primitive>) -> Result<Vec<Outcome>, AcmError> {
        if list.len() > BATCH_MAX {
            let why = format!("{} primitives; at most {BATCH_MAX} in one list", list.len());
            return Err(AcmError::invalid("list", why));
        }
        let mut state = self.state.lock().await;
        Batch::new(self, &mut state).perform(list).await
    }

    async fn list_all(&self, filter: &Filter) -> Result<Listing, AcmError> {
        let mut state = self.state.lock().await;
        let mut listing = Listing::default();
        for mapped in self.profile.vips.iter().filter(|vip| filter.service.is_none_or(|key| key == vip.service)) {
            let mut backend = self.backend(mapped).await?;
            if batch::delete_drained(self, &mut backend).await > 0 {
                state.generation = state.generation.next();
            }
            listing.services.push(backend.service_row());
            listing.bindings.extend(backend.rows().into_iter().filter(|row| filter.wants(row)));
        }
        listing.generation = state.generation;
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
