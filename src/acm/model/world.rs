//! What there is: services, bindings, flows, health, time. Nothing is stored that can be counted.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;

use super::FlowId;
use super::keeping::{Kept, Said};
use crate::acm::error::AcmError;
use crate::acm::event::EventKind;
use crate::acm::primitive::{Caller, Tenure};
use crate::acm::rules::{Action, Content, DropShare, Rule, Strangers, Switching};
use crate::acm::words::{Binding, BindingKey, DropPolicy, Group, HealthProfile, Refusal, ServiceKey, default_group};
use crate::base::id::{BindingId, Generation, Name, ServiceId};
use crate::base::time::Time;

/// Everything.
#[derive(Debug)]
pub(super) struct World {
    pub(super) now: Time,
    pub(super) generation: Generation,
    /// True if the table changed since the last generation.
    pub(super) touched: bool,
    /// What happened since it was last told.
    pub(super) news: Vec<EventKind>,
    pub(super) services: BTreeMap<ServiceKey, Service>,
    pub(super) flows: BTreeMap<FlowId, Flow>,
    /// Reals whose checks fail, and why.
    pub(super) down: BTreeMap<SocketAddr, String>,
    /// Verdicts of `shed` by attempt, with the salt of the policy that gave them.
    pub(super) shed: BTreeMap<(SocketAddr, ServiceKey), (u64, bool)>,
    /// The same for rules that drop a share, by connection.
    pub(super) rule_shed: BTreeMap<(SocketAddr, ServiceKey, Name), (DropShare, bool)>,
    /// Whom cookies lead to.
    pub(super) kept: BTreeMap<Said, Kept>,
    /// Makes our own cookies.
    pub(super) token_key: u64,
    pub(super) coins: fastrand::Rng,
    epoch: u64,
    /// Whose epoch that is.
    holder: Option<Name>,
    last_id: u64,
}

/// A service.
#[derive(Debug)]
pub(super) struct Service {
    pub(super) id: ServiceId,
    pub(super) groups: BTreeMap<Name, Group>,
    pub(super) health: HealthProfile,
    pub(super) when_none: Refusal,
    pub(super) drops: BTreeMap<Option<IpNet>, DropPolicy>,
    pub(super) content: Content,
    pub(super) switching: Switching,
    pub(super) default_action: Action,
    pub(super) strangers: Strangers,
    pub(super) rules: Vec<Rule>,
    /// Requests each rule decided, by its name.
    pub(super) hits: BTreeMap<Name, u64>,
    pub(super) bindings: BTreeMap<SocketAddr, Binding>,
    pub(super) admitted: u64,
    pub(super) dropped: u64,
    pub(super) refused: u64,
    /// For the schedulers that go in turn: the last real chosen, and how much each has to its credit.
    pub(super) last: Option<SocketAddr>,
    pub(super) credit: BTreeMap<BindingId, i64>,
}

impl Service {
    pub(super) fn new(id: ServiceId) -> Service {
        Service {
            id,
            groups: BTreeMap::from([(default_group(), Group::default())]),
            health: HealthProfile::default(),
            when_none: Refusal::default(),
            drops: BTreeMap::new(),
            content: Content::None,
            switching: Switching::PerRequest,
            default_action: Action::default_action(),
            strangers: Strangers::Default,
            rules: Vec::new(),
            hits: BTreeMap::new(),
            bindings: BTreeMap::new(),
            admitted: 0,
            dropped: 0,
            refused: 0,
            last: None,
            credit: BTreeMap::new(),
        }
    }
}

/// A flow that was forwarded; kept after its end, so that its fate can be asked.
#[derive(Debug)]
pub(super) struct Flow {
    pub(super) client: SocketAddr,
    pub(super) key: BindingKey,
    pub(super) binding: BindingId,
    pub(super) fresh_at: Time,
    pub(super) end: Option<End>,
}

/// How a flow ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// In the orderly way, or by being idle.
    Closed,
    /// Cut: with resets if it was TCP, else silently.
    Cut,
}

impl World {
    pub(super) fn new(seed: u64) -> World {
        World {
            now: Time::ZERO,
            generation: Generation(0),
            touched: false,
            news: Vec::new(),
            services: BTreeMap::new(),
            flows: BTreeMap::new(),
            down: BTreeMap::new(),
            shed: BTreeMap::new(),
            rule_shed: BTreeMap::new(),
            kept: BTreeMap::new(),
            token_key: fastrand::Rng::with_seed(!seed).u64(..),
            coins: fastrand::Rng::with_seed(seed),
            epoch: 0,
            holder: None,
            last_id: 0,
        }
    }

    /// Calls without a tenure are always allowed; others must not be older than the newest seen, and an epoch is one
    /// manager's: after a start, which forgets epochs, the same one can be granted again.
    pub(super) fn admit(&mut self, caller: &Caller) -> Result<(), AcmError> {
        let Some(tenure) = &caller.tenure else { return Ok(()) };
        let is_taken = self.holder.as_ref().is_some_and(|holder| *holder != tenure.manager);
        if tenure.epoch < self.epoch || (tenure.epoch == self.epoch && is_taken) {
            return Err(AcmError::StaleEpoch { given: tenure.epoch, current: self.epoch });
        }
        (self.epoch, self.holder) = (tenure.epoch, Some(tenure.manager.clone()));
        Ok(())
    }

    pub(super) fn claim(&mut self, manager: &Name) -> Tenure {
        self.epoch += 1;
        self.holder = Some(manager.clone());
        Tenure { epoch: self.epoch, manager: manager.clone() }
    }

    /// A number never given before.
    pub(super) fn new_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }

    /// The generation that holds what has been changed up to now.
    pub(super) fn generation_now(&self) -> Generation {
        if self.touched { self.generation.next() } else { self.generation }
    }

    pub(super) fn commit(&mut self) {
        self.generation = self.generation_now();
        self.touched = false;
    }

    pub(super) fn binding(&self, key: &BindingKey) -> Option<&Binding> {
        self.services.get(&key.service)?.bindings.get(&key.real)
    }

    pub(super) fn binding_mut(&mut self, key: &BindingKey) -> Option<&mut Binding> {
        self.services.get_mut(&key.service)?.bindings.get_mut(&key.real)
    }

    /// A service that is known to exist.
    pub(super) fn service(&mut self, key: &ServiceKey) -> &mut Service {
        match self.services.get_mut(key) {
            Some(service) => service,
            None => unreachable!("{key} was found before"),
        }
    }

    /// Every binding's address, in order.
    pub(super) fn keys(&self) -> Vec<BindingKey> {
        let of = |(service, row): (&ServiceKey, &Service)| {
            let service = *service;
            row.bindings.keys().map(move |real| BindingKey { service, real: *real }).collect::<Vec<_>>()
        };
        self.services.iter().flat_map(of).collect()
    }

    pub(super) fn is_vip(&self, ip: IpAddr) -> bool {
        self.services.keys().any(|key| key.vip() == ip)
    }

    pub(super) fn is_real(&self, ip: IpAddr) -> bool {
        self.keys().iter().any(|key| key.real.ip() == ip)
    }

    /// Flows of a binding that have not ended.
    pub(super) fn live(&self, binding: BindingId) -> u64 {
        self.flows.values().filter(|flow| flow.binding == binding && flow.end.is_none()).count() as u64
    }

    /// Replaces a binding by what `change` makes of it, and tells if its state is another one then.
    pub(super) fn change(&mut self, key: &BindingKey, why: Option<&str>, change: impl FnOnce(&mut Binding)) {
        let Some(binding) = self.binding_mut(key) else { return };
        let before = binding.clone();
        change(binding);
        let after = binding.clone();
        if after == before {
            return;
        }
        self.touched = true;
        let (from, to) = (before.state(), after.state());
        if from != to {
            let reason = why.map(str::to_owned).or_else(|| after.reason());
            self.news.push(EventKind::State { binding: *key, id: after.id, from, to, reason });
        }
    }
}
