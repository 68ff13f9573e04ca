//! Carries out a list of primitives: what [`change`](super::change) decides, one command line after the other.
//!
//! A backend is read once a list, when the first primitive about it comes; what is done to it is done to that picture
//! too. When HAProxy shows that the picture is wrong, it is read again. The list is one generation.

use std::collections::BTreeMap;
use std::time::Duration;

use super::backend::{Backend, Server};
use super::change::{self, Addition};
use super::{HaproxySwitch, answer};
use crate::acm::error::{AcmError, Feature};
use crate::acm::primitive::{Add, Done, ForceRemove, Outcome, Primitive, Remove, SetService};
use crate::acm::validate::check;
use crate::acm::words::ServiceKey;
use crate::base::id::{BindingId, Generation};

/// How often an Add or a Remove begins anew because somebody else changed the server.
const ATTEMPTS_MAX: u32 = 4;
/// How often HAProxy is asked to delete a server whose sessions were just cut, and how long it gets in between: it ends
/// sessions when their turn comes, which takes milliseconds.
const DELETIONS_MAX: u32 = 100;
const DELETION_PAUSE: Duration = Duration::from_millis(20);

/// The first number given to a server, far above those that HAProxy gives to the servers of its configuration.
const NUMBERS_BEGIN: u64 = 1 << 20;
/// HAProxy's numbers are below this.
const NUMBERS_END: u64 = 1 << 31;

/// A list under way.
pub(super) struct Batch<'a> {
    switch: &'a HaproxySwitch,
    generation: &'a mut Generation,
    /// Backends as they are known to be.
    known: BTreeMap<ServiceKey, Backend>,
    /// Counts upward from what HAProxy was asked for, once it was asked.
    number: Option<u64>,
}

/// What one primitive did.
struct Did {
    binding: BindingId,
    changed: bool,
    cut: Option<u64>,
}

/// How one attempt ended.
enum Attempt {
    Done(Did),
    /// The server is not what it seemed to be.
    Outdated,
}

impl<'a> Batch<'a> {
    pub(super) fn new(switch: &'a HaproxySwitch, generation: &'a mut Generation) -> Batch<'a> {
        Batch { switch, generation, known: BTreeMap::new(), number: None }
    }

    /// Performs the list, then deletes what it removed and what was empty already.
    ///
    /// # Errors
    /// `Unreachable` when HAProxy is lost on the way: whatever was not answered may have been done.
    pub(super) async fn perform(mut self, list: Vec<Primitive>) -> Result<Vec<Outcome>, AcmError> {
        let mut outcomes = Vec::with_capacity(list.len());
        let mut removed_from = Vec::new();
        for primitive in &list {
            let outcome = match check(primitive) {
                Ok(()) => self.one(primitive).await,
                Err(refused) => Err(refused),
            };
            match (&outcome, primitive) {
                (Err(lost @ AcmError::Unreachable { .. }), _) => return Err(lost.clone()),
                (Ok(_), Primitive::Remove(_)) => removed_from.push(primitive.service()),
                _ => {}
            }
            outcomes.push(outcome);
        }
        removed_from.sort();
        removed_from.dedup();
        for service in removed_from {
            // What cannot be deleted now is deleted by a later call.
            if let Ok(mut backend) = self.switch.backend(self.switch.mapped(service)?).await {
                delete_drained(self.switch, &mut backend).await;
            }
        }
        if outcomes.iter().flatten().flatten().any(|did: &Did| did.changed) {
            *self.generation = self.generation.next();
        }
        let generation = *self.generation;
        let done = |did: Option<Did>| match did {
            Some(did) => Done { generation, binding: Some(did.binding), changed: did.changed, cut: did.cut },
            None => Done { generation, binding: None, changed: false, cut: None },
        };
        Ok(outcomes.into_iter().map(|outcome| outcome.map(done)).collect())
    }

    /// One primitive; `None`: it is about no binding and there was nothing to do.
    async fn one(&mut self, primitive: &Primitive) -> Result<Option<Did>, AcmError> {
        match primitive {
            Primitive::SetService(set) => self.set_service(set).await.map(|()| None),
            Primitive::Drop(_) => {
                Err(AcmError::unsupported(Feature::Drop, "HAProxy refuses by its configuration alone (`tcp-request`)"))
            }
            Primitive::RemoveService(remove) => {
                let backend = &self.switch.mapped(remove.service)?.backend;
                let why = format!("the backend `{backend}` belongs to HAProxy's configuration; Remove its bindings");
                Err(AcmError::unsupported(Feature::Services, why))
            }
            Primitive::Add(_) | Primitive::Remove(_) | Primitive::ForceRemove(_) => {
                self.about_a_binding(primitive).await.map(Some)
            }
        }
    }

    async fn about_a_binding(&mut self, primitive: &Primitive) -> Result<Did, AcmError> {
        for _ in 0..ATTEMPTS_MAX {
            let attempt = match primitive {
                Primitive::Add(add) => self.add(add).await?,
                Primitive::Remove(remove) => self.remove(remove).await?,
                Primitive::ForceRemove(force) => self.force_remove(force).await?,
                _ => unreachable!("about a service"),
            };
            match attempt {
                Attempt::Done(did) => return Ok(did),
                Attempt::Outdated => {
                    self.known.remove(&primitive.service());
                }
            }
        }
        let waited_for = format!("{}: somebody else changes this server all the time", self.switch.socket);
        Err(AcmError::Timeout { waited_for })
    }

    /// The backend of a service, as it is known.
    async fn backend(&mut self, service: ServiceKey) -> Result<&mut Backend, AcmError> {
        use std::collections::btree_map::Entry;
        match self.known.entry(service) {
            Entry::Occupied(known) => Ok(known.into_mut()),
            Entry::Vacant(place) => Ok(place.insert(self.switch.backend(self.switch.mapped(service)?).await?)),
        }
    }

    async fn add(&mut self, add: &Add) -> Result<Attempt, AcmError> {
        let id = match self.backend(add.service).await?.at(add.real) {
            None => self.next_number().await?,
            Some(known) => known.seen.id,
        };
        let switch = self.switch;
        let backend = self.backend(add.service).await?;
        let (changed, after) = match change::add(backend, add, id)? {
            Addition::Known { commands: None, after } => (false, after),
            Addition::Known { commands: Some(commands), after } => match switch.tell(&commands).await {
                Ok(()) => (true, after),
                // It had drained and was deleted.
                Err(AcmError::NotFound { .. }) => return Ok(Attempt::Outdated),
                Err(refused) => return Err(refused),
            },
            Addition::New { create, admit, take_back, after } => {
                if let Created::Outdated = switch.create(&create).await? {
                    return Ok(Attempt::Outdated);
                }
                if let Err(refused) = switch.tell(&admit).await {
                    // Best effort: what stays behind is in maintenance and takes nothing.
                    let _ = switch.tell(&take_back).await;
                    return Err(refused);
                }
                (true, after)
            }
        };
        let binding = backend.binding_id(after.seen.id);
        backend.put(after);
        Ok(Attempt::Done(Did { binding, changed, cut: None }))
    }

    async fn remove(&mut self, remove: &Remove) -> Result<Attempt, AcmError> {
        let switch = self.switch;
        let backend = self.backend(remove.service).await?;
        let removing = change::remove(backend, remove)?;
        let binding = backend.binding_id(removing.after.seen.id);
        let changed = removing.command.is_some();
        if let Some(command) = removing.command {
            match switch.tell(&command).await {
                Ok(()) => backend.put(removing.after),
                Err(AcmError::NotFound { .. }) => return Ok(Attempt::Outdated),
                Err(refused) => return Err(refused),
            }
        }
        Ok(Attempt::Done(Did { binding, changed, cut: None }))
    }

    /// In maintenance it gets nothing new, so the sessions counted there are those that are cut.
    async fn force_remove(&mut self, force: &ForceRemove) -> Result<Attempt, AcmError> {
        let (switch, key) = (self.switch, force.key());
        let backend = self.backend(force.service).await?;
        let (server, _) = change::ours(backend, &key)?;
        let (id, path) = (server.seen.id, backend.path(server));
        match switch.tell(&format!("set server {path} state maint")).await {
            Ok(()) => {}
            Err(AcmError::NotFound { .. }) => return Ok(Attempt::Outdated),
            Err(refused) => return Err(refused),
        }
        *backend = switch.backend(switch.mapped(force.service)?).await?;
        let Some(server) = backend.at(force.real).filter(|server| server.seen.id == id) else {
            return Ok(Attempt::Outdated);
        };
        let (cut, name) = (server.seen.sessions, server.seen.name.clone());
        switch.cut_off(&path).await?;
        backend.forget(&name);
        Ok(Attempt::Done(Did { binding: backend.binding_id(id), changed: true, cut: Some(cut) }))
    }

    async fn set_service(&mut self, set: &SetService) -> Result<(), AcmError> {
        change::set_service(self.backend(set.service).await?, set)
    }

    /// A number for a new server that no server had since HAProxy started: HAProxy counts the connections it accepts,
    /// each Add takes at least two of those, and one number.
    async fn next_number(&mut self) -> Result<u32, AcmError> {
        let number = match self.number {
            Some(last) => last + 1,
            None => self.switch.info().await?.connections,
        };
        self.number = Some(number);
        let number = NUMBERS_BEGIN + number % (NUMBERS_END - NUMBERS_BEGIN);
        // Below 2^31.
        Ok(number as u32)
    }
}

/// What became of a server's creation.
enum Created {
    Yes,
    /// Its name or its number is taken.
    Outdated,
}

impl HaproxySwitch {
    async fn create(&self, line: &str) -> Result<Created, AcmError> {
        match answer::complaint(&self.socket.ask(line).await?) {
            None => Ok(Created::Yes),
            Some(words) if words.contains("Already exists") || words.contains("already used") => Ok(Created::Outdated),
            Some(words) => Err(self.refusal(line, &words)),
        }
    }

    /// Ends the sessions of a server in maintenance and deletes it.
    async fn cut_off(&self, path: &str) -> Result<(), AcmError> {
        let line = format!("shutdown sessions server {path};del server {path}");
        let mut words = String::new();
        for _ in 0..DELETIONS_MAX {
            match answer::complaint(&self.socket.ask(&line).await?) {
                None => return Ok(()),
                Some(said) if said == "No such server." => return Ok(()),
                Some(said) if is_busy(&said) => words = said,
                Some(said) => return Err(self.refusal(&line, &said)),
            }
            tokio::time::sleep(DELETION_PAUSE).await;
        }
        Err(AcmError::Timeout { waited_for: format!("{} to let go of {path}: {words}", self.socket) })
    }

    /// Deletes a removed server that seemed empty; if HAProxy sees it otherwise, it drains on.
    async fn delete(&self, path: &str, state: &str) -> bool {
        let line = format!("set server {path} state maint;del server {path}");
        match self.socket.ask(&line).await.map(|said| answer::complaint(&said)) {
            Ok(None) => true,
            Ok(Some(_)) => {
                let _ = self.tell(&format!("set server {path} state {state}")).await;
                false
            }
            Err(_) => false,
        }
    }
}

/// The server has sessions or connections left: "Server still has connections attached to it, cannot remove it."
fn is_busy(words: &str) -> bool {
    words.contains("still has")
}

/// Deletes the servers that were removed and have nothing left; the number of them.
pub(super) async fn delete_drained(switch: &HaproxySwitch, backend: &mut Backend) -> usize {
    let drained: Vec<(String, String)> =
        backend.drained().map(|server: &Server| (server.seen.name.clone(), backend.path(server))).collect();
    let mut deleted = 0;
    for (name, path) in drained {
        if switch.delete(&path, backend.removal.state()).await {
            backend.forget(&name);
            deleted += 1;
        }
    }
    deleted
}
