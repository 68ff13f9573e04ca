//! A box that is judged is somebody's: the suite sees and touches only the services it was given, and leaves the box as
//! it was.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::acm::conformance::{Bench, Plan, Subject, Testbed};
use crate::acm::error::{AcmError, Feature};
use crate::acm::event::EventId;
use crate::acm::list::{Filter, Listing};
use crate::acm::primitive::{Add, Caller, ForceRemove, Outcome, Primitive, Remove, RemoveService, Tenure};
use crate::acm::recent::Recent;
use crate::acm::switch::{AcmSwitch, Answer, EventStream, perform};
use crate::acm::wait::until_drained;
use crate::acm::words::{BindingKey, HealthProfile, ServiceKey};
use crate::base::id::Name;

/// How long a box gets to let go of a binding between two cases.
const PATIENCE: Duration = Duration::from_secs(10);
/// Primitives and rows of a call that are shown in a transcript.
const SHOWN_MAX: usize = 6;

/// Whose the services of a box are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Services {
    /// Made and removed by the primitives.
    Ours,
    /// Given by the box's configuration.
    Fixed,
}

/// The box as the suite sees it. It keeps a transcript of the calls, beside the lines the driver adds.
pub(super) struct Guest {
    target: Box<dyn AcmSwitch>,
    plan: Plan,
    services: Services,
    recent: Recent,
    /// Bindings of the suite's services that were there before.
    there_before: BTreeSet<BindingKey>,
}

/// What else is on the box.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Company {
    /// Nothing.
    Alone,
    /// Somebody's services.
    Shared,
}

impl Guest {
    /// Looks around and tries the suite's addresses.
    ///
    /// # Errors
    /// `Invalid`, naming the option to change, when they are in use or refused; and the box's own.
    pub(super) async fn enter(
        target: Box<dyn AcmSwitch>,
        plan: Plan,
        services: Services,
        recent: Recent,
    ) -> Result<(Guest, Company), AcmError> {
        let mut guest = Guest { target, plan, services, recent, there_before: BTreeSet::new() };
        let found = guest.target.list(&Filter::default()).await?;
        let company = guest.look_around(&found)?;
        guest.try_addresses().await?;
        guest.clean().await?;
        Ok((guest, company))
    }

    /// Services the suite's cases are about.
    fn own(&self) -> [ServiceKey; 4] {
        let [first, second] = self.plan.services;
        [first, second, ServiceKey::udp(first.addr), ServiceKey::tcp(SocketAddr::new(self.plan.reals[0].ip(), 80))]
    }

    fn look_around(&mut self, found: &Listing) -> Result<Company, AcmError> {
        let own = self.own();
        let is_own = |service: &ServiceKey| own.contains(service);
        if self.services == Services::Ours
            && let Some(row) = found.services.iter().find(|row| is_own(&row.service))
        {
            let why = format!("{} is on the target already and would be changed; choose others", row.service);
            return Err(AcmError::invalid("--vip", why));
        }
        self.there_before = found.bindings.iter().map(|row| row.key).filter(|key| is_own(&key.service)).collect();
        if let Some(key) = self.there_before.iter().find(|key| self.plan.reals.contains(&key.real)) {
            let why = format!("{key} is on the target already and would be changed; choose other servers");
            return Err(AcmError::invalid("--real", why));
        }
        let is_somebodys = found.services.iter().any(|row| !is_own(&row.service)) || !self.there_before.is_empty();
        Ok(if is_somebodys { Company::Shared } else { Company::Alone })
    }

    /// One Add and its undoing. If even that is refused, every case would only say so again.
    async fn try_addresses(&self) -> Result<(), AcmError> {
        let add =
            Add { health: Some(HealthProfile::link_only()), ..Add::new(self.plan.services[0], self.plan.reals[0]) };
        match perform(&*self.target, &Caller::default(), Primitive::Add(add)).await {
            Ok(_) => Ok(()),
            Err(AcmError::Unsupported { why, .. }) => Err(refused_addresses(&self.plan, &why)),
            Err(AcmError::Invalid { field, why }) => Err(refused_addresses(&self.plan, &format!("{field}: {why}"))),
            Err(other) => Err(other),
        }
    }

    /// Removes whatever the suite has made.
    ///
    /// # Errors
    /// The box's own, `Timeout` when it does not let go.
    pub(super) async fn clean(&self) -> Result<(), AcmError> {
        let left = self.list(&Filter::default()).await?;
        for row in &left.bindings {
            self.remove(&row.key).await?;
        }
        if self.services == Services::Ours {
            for row in &left.services {
                let gone = Primitive::RemoveService(RemoveService { service: row.service });
                match perform(&*self.target, &Caller::default(), gone).await {
                    Ok(_) | Err(AcmError::NotFound { .. } | AcmError::Unsupported { .. }) => {}
                    Err(other) => return Err(other),
                }
            }
        }
        Ok(())
    }

    /// Removes a binding, at once if the box can.
    async fn remove(&self, key: &BindingKey) -> Result<(), AcmError> {
        let BindingKey { service, real } = *key;
        let force = Primitive::ForceRemove(ForceRemove { service, real });
        match perform(&*self.target, &Caller::default(), force).await {
            Ok(_) | Err(AcmError::NotFound { .. }) => return Ok(()),
            Err(AcmError::Unsupported { .. }) => {}
            Err(other) => return Err(other),
        }
        let gently = Primitive::Remove(Remove { service, real, deadline: None });
        match perform(&*self.target, &Caller::default(), gently).await {
            Ok(_) => until_drained(&*self.target, key, PATIENCE).await,
            Err(AcmError::NotFound { .. }) => Ok(()),
            Err(other) => Err(other),
        }
    }

    fn note_calls(&self, list: &[Primitive]) {
        for primitive in list.iter().take(SHOWN_MAX) {
            self.recent.push(format!("call: {}", serde_json::to_string(primitive).unwrap_or_default()));
        }
        if list.len() > SHOWN_MAX {
            self.recent.push(format!("call: ({} primitives more)", list.len() - SHOWN_MAX));
        }
    }

    fn note_answer(&self, answer: &Result<Vec<Outcome>, AcmError>) {
        match answer {
            Err(error) => self.recent.push(format!("answer: {error}")),
            Ok(outcomes) => {
                for outcome in outcomes.iter().take(SHOWN_MAX) {
                    self.recent.push(match outcome {
                        Ok(done) => format!("answer: {}", serde_json::to_string(done).unwrap_or_default()),
                        Err(error) => format!("answer: {error}"),
                    });
                }
            }
        }
    }

    fn note_listing(&self, listing: &Result<Listing, AcmError>) {
        match listing {
            Err(error) => self.recent.push(format!("answer: {error}")),
            Ok(listing) => {
                let rows = listing.bindings.len();
                self.recent.push(format!("answer: {} services, {rows} bindings", listing.services.len()));
                for row in listing.bindings.iter().take(SHOWN_MAX) {
                    let reason = row.reason.as_deref().unwrap_or_default();
                    let counts = format!("{} connections of {}", row.connections, row.total);
                    self.recent.push(format!(
                        "  {} {} {}, weight {}, {counts} {reason}",
                        row.key, row.id, row.state, row.weight
                    ));
                }
            }
        }
    }
}

fn refused_addresses(plan: &Plan, why: &str) -> AcmError {
    let what = format!("the target refuses to bind {} to {}: {why}", plan.reals[0], plan.services[0]);
    AcmError::invalid("--vip, --real", format!("{what}; give addresses it can use"))
}

impl AcmSwitch for Guest {
    fn apply<'a>(&'a self, caller: &'a Caller, list: Vec<Primitive>) -> Answer<'a, Result<Vec<Outcome>, AcmError>> {
        Box::pin(async move {
            self.note_calls(&list);
            let answer = self.target.apply(caller, list).await;
            self.note_answer(&answer);
            answer
        })
    }

    fn list<'a>(&'a self, filter: &'a Filter) -> Answer<'a, Result<Listing, AcmError>> {
        Box::pin(async move {
            self.recent.push("call: list");
            let mut listing = self.target.list(filter).await;
            if let Ok(listing) = &mut listing {
                let own = self.own();
                listing.services.retain(|row| own.contains(&row.service));
                listing.bindings.retain(|row| own.contains(&row.key.service) && !self.there_before.contains(&row.key));
            }
            self.note_listing(&listing);
            listing
        })
    }

    fn events(&self, after: Option<EventId>) -> Answer<'_, Result<EventStream, AcmError>> {
        self.recent.push("call: events");
        self.target.events(after)
    }

    fn claim<'a>(&'a self, manager: &'a Name) -> Answer<'a, Result<Tenure, AcmError>> {
        self.recent.push(format!("call: claim for {manager}"));
        self.target.claim(manager)
    }
}

/// The guest as the suite's subject. Whoever runs the suite cleans between the cases.
pub(super) struct Judged(pub(super) Arc<Guest>);

impl Subject for Judged {
    fn name(&self) -> &str {
        "the target"
    }

    fn plan(&self) -> Plan {
        self.0.plan.clone()
    }

    fn lacks(&self) -> &[Feature] {
        &Feature::ALL
    }

    fn fresh(&self) -> Answer<'_, Box<dyn Bench>> {
        let bench: Box<dyn Bench> = Box::new(Judged(Arc::clone(&self.0)));
        Box::pin(std::future::ready(bench))
    }
}

impl Bench for Judged {
    fn switch(&self) -> &dyn AcmSwitch {
        &*self.0
    }

    fn testbed(&self) -> Option<&dyn Testbed> {
        None
    }
}
