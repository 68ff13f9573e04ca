//! `ModelSwitch`: the contract in the most obvious way, to compare real switches with.
//!
//! Plain maps, one lock, simulated time, health and connections; shares no code with the local switch. Slow on
//! purpose wherever speed would cost a reader a second look. Not here: packets, threads, a clock. Callers: tests,
//! and whoever wants a switch that can do everything and forwards nothing.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::error::{AcmError, Feature};
use super::event::{EventId, EventKind};
use super::event_log::EventLog;
use super::list::{BindingRow, DropRow, Filter, GroupRow, Listing, ServiceRow, State};
use super::primitive::{Add, Caller, Done, DropNew, ForceRemove, Outcome, Primitive, Remove, SetService, Tenure};
use super::switch::{AcmSwitch, Answer, CaptureStream, EventStream, Inspect, Statistics};
use super::table::check_endpoint;
use super::validate;
use super::words::{BindingKey, DropMode, HealthProfile, Refusal, Rule, Scheduler, ServiceKey, default_group};
use crate::base::addr::Mac;
use crate::base::fraction::Fraction;
use crate::base::id::{BindingId, Generation, Name, ServiceId};
use crate::base::limits::BATCH_MAX;
use crate::base::span::Span;
use crate::base::time::Time;

/// A connection of the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FlowId(u64);

/// What became of an attempt to connect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opened {
    /// Connected to this real.
    To(FlowId, SocketAddr),
    /// Refused.
    Refused(Refusal),
}

/// The reference.
#[derive(Debug)]
pub struct ModelSwitch {
    state: Mutex<Model>,
    events: EventLog,
}

#[derive(Debug, Default)]
struct Model {
    now: Time,
    generation: u64,
    changed: bool,
    services: BTreeMap<ServiceKey, Service>,
    flows: BTreeMap<FlowId, Flow>,
    sick: BTreeMap<SocketAddr, String>,
    happened: Vec<EventKind>,
    epoch: u64,
    next_id: u64,
    seed: u64,
}

#[derive(Debug)]
struct Service {
    id: ServiceId,
    groups: BTreeMap<Name, Scheduler>,
    health: HealthProfile,
    when_none: Refusal,
    rules: Vec<Rule>,
    drops: Vec<Policy>,
    bindings: BTreeMap<SocketAddr, Binding>,
    turn: usize,
    admitted: u64,
    dropped: u64,
    refused: u64,
}

#[derive(Debug, Clone, PartialEq)]
struct Policy {
    from: Option<ipnet::IpNet>,
    fraction: Fraction,
    mode: DropMode,
    refusal: Refusal,
    until: Option<Time>,
    salt: u64,
}

#[derive(Debug, Clone, PartialEq)]
struct Binding {
    id: BindingId,
    group: Name,
    weight: u16,
    max_conns: Option<u32>,
    owner: Name,
    lease: Option<(Span, Time)>,
    health: HealthProfile,
    draining: bool,
    deadline: Option<Time>,
    lapsed: bool,
    total: u64,
}

#[derive(Debug)]
struct Flow {
    client: SocketAddr,
    key: BindingKey,
    is_reset: bool,
}

impl ModelSwitch {
    /// An empty switch whose coins come from `seed`.
    pub fn new(seed: u64) -> ModelSwitch {
        let model = Model { seed, next_id: 1, ..Model::default() };
        ModelSwitch { state: Mutex::new(model), events: EventLog::new(seed as u32) }
    }

    /// Lets time pass; what is due happens.
    pub fn advance(&self, time: Duration) {
        self.with(|model| {
            let end = model.now + time;
            while model.now < end {
                model.now = (model.now + Duration::from_millis(10)).min(end);
                model.tick();
            }
        });
    }

    /// The checks' verdict on a real; they pass unless told otherwise.
    pub fn set_health(&self, real: SocketAddr, health: Result<(), String>) {
        self.with(|model| {
            let before = model.states();
            match health {
                Ok(()) => model.sick.remove(&real),
                Err(why) => model.sick.insert(real, why),
            };
            model.report_states(before);
            model.release_lapsed();
        });
    }

    /// A client tries to connect.
    pub fn open(&self, client: SocketAddr, service: ServiceKey) -> Opened {
        self.with(|model| model.open(client, service))
    }

    /// A connection ends in order.
    pub fn close(&self, flow: FlowId) {
        self.with(|model| {
            model.flows.remove(&flow);
            model.drop_empty();
        });
    }

    /// Whether a connection was reset; one that was closed was not.
    pub fn is_reset(&self, flow: FlowId) -> bool {
        self.lock().flows.get(&flow).is_some_and(|flow| flow.is_reset)
    }

    fn lock(&self) -> MutexGuard<'_, Model> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does something, publishes it as one generation, and tells what happened.
    fn with<T>(&self, act: impl FnOnce(&mut Model) -> T) -> T {
        let mut model = self.lock();
        let result = act(&mut model);
        if std::mem::take(&mut model.changed) {
            model.generation += 1;
        }
        let (at, generation) = (model.now.millis(), Generation(model.generation));
        for event in std::mem::take(&mut model.happened) {
            self.events.push(at, generation, event);
        }
        result
    }
}

impl Model {
    fn id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id - 1
    }

    fn live(&self, key: &BindingKey) -> u64 {
        self.flows.values().filter(|flow| flow.key == *key && !flow.is_reset).count() as u64
    }

    fn state_of(&self, real: &SocketAddr, binding: &Binding) -> State {
        if binding.draining {
            State::Draining
        } else if self.sick.contains_key(real) {
            State::Failed
        } else if binding.lapsed {
            State::Lapsed
        } else {
            State::Active
        }
    }

    fn states(&self) -> BTreeMap<BindingKey, (BindingId, State)> {
        let mut states = BTreeMap::new();
        for (service, row) in &self.services {
            for (real, binding) in &row.bindings {
                let key = BindingKey { service: *service, real: *real };
                states.insert(key, (binding.id, self.state_of(real, binding)));
            }
        }
        states
    }

    /// Tells which states are others than before.
    fn report_states(&mut self, before: BTreeMap<BindingKey, (BindingId, State)>) {
        for (binding, (id, to)) in self.states() {
            match before.get(&binding) {
                Some((_, from)) if *from != to => {
                    self.changed = true;
                    let reason = self.reason(&binding.real, to);
                    self.happened.push(EventKind::State { binding, id, from: *from, to, reason });
                }
                _ => {}
            }
        }
    }

    fn reason(&self, real: &SocketAddr, state: State) -> Option<String> {
        match state {
            State::Active => None,
            State::Pending => Some("not checked yet".into()),
            State::Failed => self.sick.get(real).cloned(),
            State::Draining => Some("removed; existing connections finish".into()),
            State::Lapsed => Some("its lease ran out, but no other healthy member could take over".into()),
        }
    }

    fn perform(&mut self, primitive: &Primitive) -> Outcome {
        validate::check(primitive)?;
        match primitive {
            Primitive::Add(add) => self.add(add),
            Primitive::Remove(remove) => self.remove(remove),
            Primitive::ForceRemove(ForceRemove { service, real }) => {
                self.force(&BindingKey { service: *service, real: *real })
            }
            Primitive::Drop(drop) => self.drop_new(drop),
            Primitive::SetService(set) => self.set_service(set),
            Primitive::RemoveService(remove) => self.remove_service(&remove.service),
        }
    }

    fn done(&mut self, binding: Option<BindingId>, is_news: bool) -> Outcome {
        self.changed |= is_news;
        let generation = Generation(self.generation + u64::from(self.changed));
        Ok(Done { generation, binding, changed: is_news, cut: None })
    }

    /// A virtual address is nobody's real, and the other way round; a service is made if new.
    fn ensure_service(&mut self, key: &ServiceKey) -> Result<(), AcmError> {
        if self.services.contains_key(key) {
            return Ok(());
        }
        let is_real = self.services.values().any(|service| service.bindings.keys().any(|real| real.ip() == key.vip()));
        if is_real {
            return Err(AcmError::invalid("service", format!("{} is the address of a real server", key.vip())));
        }
        let service = Service {
            id: ServiceId(self.id()),
            groups: BTreeMap::from([(default_group(), Scheduler::default())]),
            health: HealthProfile::default(),
            when_none: Refusal::default(),
            rules: Vec::new(),
            drops: Vec::new(),
            bindings: BTreeMap::new(),
            turn: 0,
            admitted: 0,
            dropped: 0,
            refused: 0,
        };
        self.services.insert(*key, service);
        self.changed = true;
        self.happened.push(EventKind::ServiceCreated { service: *key });
        Ok(())
    }

    fn check_real(&self, service: &ServiceKey, real: SocketAddr) -> Result<(), AcmError> {
        check_endpoint("real", real)?;
        if real.ip() == service.vip() || self.services.keys().any(|key| key.vip() == real.ip()) {
            return Err(AcmError::invalid("real", format!("{} is a virtual address", real.ip())));
        }
        if real.is_ipv4() != service.addr.is_ipv4() {
            return Err(AcmError::invalid("real", "another address family"));
        }
        Ok(())
    }

    fn add(&mut self, add: &Add) -> Outcome {
        let key = add.key();
        let lease = add.lease.map(|period| (period, self.now + period.0));
        let known = self.services.get(&add.service).and_then(|service| service.bindings.get(&add.real)).cloned();
        let Some(old) = known else { return self.add_new(add, key, lease) };
        if old.owner != add.owner {
            return Err(AcmError::Exists { what: format!("binding {key}"), owner: old.owner.to_string() });
        }
        let before = self.states();
        let new = Binding {
            group: add.group.clone().unwrap_or_else(|| old.group.clone()),
            weight: add.weight.unwrap_or(old.weight),
            max_conns: add.max_conns.or(old.max_conns),
            health: add.health.clone().unwrap_or_else(|| old.health.clone()),
            lease,
            draining: false,
            deadline: None,
            lapsed: false,
            ..old.clone()
        };
        // That a lease is refreshed is no news.
        let same_lease = old.lease.map(|(period, _)| period) == lease.map(|(period, _)| period);
        let is_news = Binding { lease: None, ..new.clone() } != Binding { lease: None, ..old.clone() } || !same_lease;
        if let Some(service) = self.services.get_mut(&add.service) {
            service.groups.entry(new.group.clone()).or_default();
            service.bindings.insert(add.real, new);
        }
        if is_news {
            self.happened.push(match old.draining {
                true => EventKind::Added { binding: key, id: old.id },
                false => EventKind::Changed { binding: key, id: old.id },
            });
        }
        self.report_states(before);
        self.done(Some(old.id), is_news)
    }

    fn add_new(&mut self, add: &Add, key: BindingKey, lease: Option<(Span, Time)>) -> Outcome {
        self.check_real(&add.service, add.real)?;
        self.ensure_service(&add.service)?;
        let id = BindingId(self.id());
        let group = add.group.clone().unwrap_or_else(default_group);
        let Some(service) = self.services.get_mut(&add.service) else { return Err(AcmError::not_found(add.service)) };
        service.groups.entry(group.clone()).or_default();
        let binding = Binding {
            id,
            group,
            weight: add.weight.unwrap_or(1),
            max_conns: add.max_conns,
            owner: add.owner.clone(),
            lease,
            health: add.health.clone().unwrap_or_else(|| service.health.clone()),
            draining: false,
            deadline: None,
            lapsed: false,
            total: 0,
        };
        service.bindings.insert(add.real, binding);
        self.happened.push(EventKind::Added { binding: key, id });
        if !self.sick.contains_key(&add.real) {
            let (from, to) = (State::Pending, State::Active);
            self.happened.push(EventKind::State { binding: key, id, from, to, reason: None });
        }
        self.release_lapsed();
        self.done(Some(id), true)
    }

    fn existing(&mut self, key: &BindingKey) -> Result<&mut Binding, AcmError> {
        let service = self.services.get_mut(&key.service);
        service
            .and_then(|service| service.bindings.get_mut(&key.real))
            .ok_or_else(|| AcmError::not_found(format!("binding {key}")))
    }

    fn remove(&mut self, remove: &Remove) -> Outcome {
        let key = BindingKey { service: remove.service, real: remove.real };
        let deadline = remove.deadline.map(|span| self.now + span.0);
        let before = self.states();
        let binding = self.existing(&key)?;
        let (id, is_news) = (binding.id, !binding.draining);
        binding.deadline = deadline.or(binding.deadline);
        binding.draining = true;
        binding.lease = None;
        binding.lapsed = false;
        self.report_states(before);
        let done = self.done(Some(id), is_news);
        self.drop_empty();
        done
    }

    /// Rows of removed bindings without connections go.
    fn drop_empty(&mut self) {
        let empty: Vec<_> = self
            .states()
            .into_iter()
            .filter(|(key, (_, state))| *state == State::Draining && self.live(key) == 0)
            .collect();
        for (binding, (id, _)) in empty {
            if let Some(service) = self.services.get_mut(&binding.service) {
                service.bindings.remove(&binding.real);
            }
            self.changed = true;
            self.happened.push(EventKind::Drained { binding, id });
        }
    }

    fn force(&mut self, key: &BindingKey) -> Outcome {
        let id = self.existing(key)?.id;
        let cut = self.live(key);
        for flow in self.flows.values_mut().filter(|flow| flow.key == *key) {
            flow.is_reset = true;
        }
        if let Some(service) = self.services.get_mut(&key.service) {
            service.bindings.remove(&key.real);
        }
        self.happened.push(EventKind::ForceRemoved { binding: *key, id, cut });
        self.done(Some(id), true).map(|done| Done { cut: Some(cut), ..done })
    }

    fn drop_new(&mut self, drop: &DropNew) -> Outcome {
        let (until, salt) = (drop.lasts.map(|span| self.now + span.0), self.id());
        let service = self.services.get_mut(&drop.service);
        let service = service.ok_or_else(|| AcmError::not_found(format!("service {}", drop.service)))?;
        let old = service.drops.iter().position(|policy| policy.from == drop.from).map(|at| service.drops.remove(at));
        let mut is_news = old.is_some();
        if !drop.fraction.is_zero() {
            let mut policy = Policy {
                from: drop.from,
                fraction: drop.fraction,
                mode: drop.mode,
                refusal: drop.refusal,
                until,
                salt,
            };
            if let Some(old) = old
                .as_ref()
                .filter(|old| (old.fraction, old.mode, old.refusal) == (drop.fraction, drop.mode, drop.refusal))
            {
                policy.salt = old.salt;
            }
            is_news = old.as_ref() != Some(&policy);
            service.drops.push(policy);
        }
        if is_news {
            self.happened.push(EventKind::Drop { service: drop.service, from: drop.from, fraction: drop.fraction });
        }
        self.done(None, is_news)
    }

    fn set_service(&mut self, set: &SetService) -> Outcome {
        let is_new = !self.services.contains_key(&set.service);
        self.ensure_service(&set.service)?;
        let Some(service) = self.services.get_mut(&set.service) else { return Err(AcmError::not_found(set.service)) };
        let before = (service.groups.clone(), service.health.clone(), service.when_none, service.rules.clone());
        let scheduler = service.groups.entry(set.group.clone()).or_default();
        *scheduler = set.scheduler.unwrap_or(*scheduler);
        service.health = set.health.clone().unwrap_or_else(|| service.health.clone());
        service.when_none = set.when_none.unwrap_or(service.when_none);
        service.rules = set.rules.clone().unwrap_or_else(|| service.rules.clone());
        let is_changed =
            before != (service.groups.clone(), service.health.clone(), service.when_none, service.rules.clone());
        if is_changed && !is_new {
            self.happened.push(EventKind::ServiceChanged { service: set.service });
        }
        self.done(None, is_new || is_changed)
    }

    fn remove_service(&mut self, key: &ServiceKey) -> Outcome {
        let service = self.services.get(key).ok_or_else(|| AcmError::not_found(format!("service {key}")))?;
        let mut cut = 0;
        for real in service.bindings.keys().copied().collect::<Vec<_>>() {
            cut += self.force(&BindingKey { service: *key, real })?.cut.unwrap_or(0);
        }
        self.services.remove(key);
        self.happened.push(EventKind::ServiceRemoved { service: *key });
        self.done(None, true).map(|done| Done { cut: Some(cut), ..done })
    }

    fn tick(&mut self) {
        let now = self.now;
        for (key, (_, state)) in self.states() {
            let Ok(binding) = self.existing(&key) else { continue };
            let is_lapsing = binding.lease.is_some_and(|(_, until)| until <= now) && !binding.lapsed;
            let is_due = binding.deadline.is_some_and(|deadline| deadline <= now);
            if state == State::Draining && is_due {
                // Cannot fail: the binding was looked up just now.
                let _ = self.force(&key);
            } else if is_lapsing {
                self.lapse(&key);
            }
        }
        self.release_lapsed();
        for (service, row) in &mut self.services {
            let over: Vec<_> =
                row.drops.extract_if(.., |policy| policy.until.is_some_and(|until| until <= now)).collect();
            for policy in over {
                self.changed = true;
                self.happened.push(EventKind::Drop { service: *service, from: policy.from, fraction: Fraction::ZERO });
            }
        }
        self.drop_empty();
    }

    fn lapse(&mut self, key: &BindingKey) {
        let before = self.states();
        let can_go = self.has_other_healthy(key);
        if let Ok(binding) = self.existing(key) {
            binding.draining = can_go;
            binding.lapsed = !can_go;
            if can_go {
                binding.lease = None;
            }
        }
        self.report_states(before);
    }

    fn has_other_healthy(&self, key: &BindingKey) -> bool {
        self.services.get(&key.service).is_some_and(|service| {
            service.bindings.iter().any(|(real, other)| {
                *real != key.real && other.weight > 0 && self.state_of(real, other) == State::Active
            })
        })
    }

    fn release_lapsed(&mut self) {
        for key in self.states().into_keys() {
            let is_lapsed = self.existing(&key).is_ok_and(|binding| binding.lapsed);
            if is_lapsed && self.has_other_healthy(&key) {
                self.lapse(&key);
                self.drop_empty();
            }
        }
    }

    fn coin(&mut self) -> u32 {
        self.seed = self.seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        fastrand::Rng::with_seed(self.seed).u32(..)
    }

    fn open(&mut self, client: SocketAddr, key: ServiceKey) -> Opened {
        let coin = self.coin();
        if !self.services.contains_key(&key) {
            return Opened::Refused(Refusal::Silent);
        }
        if let Some(refusal) = self.drops(client, &key, coin) {
            return Opened::Refused(refusal);
        }
        let Some(service) = self.services.get(&key) else { return Opened::Refused(Refusal::Silent) };
        let takes = |real: &SocketAddr, binding: &Binding| {
            let has_room = binding
                .max_conns
                .is_none_or(|max| self.live(&BindingKey { service: key, real: *real }) < u64::from(max));
            let state = self.state_of(real, binding);
            matches!(state, State::Active | State::Lapsed)
                && binding.weight > 0
                && binding.group == default_group()
                && has_room
        };
        let eligible: Vec<SocketAddr> =
            service.bindings.iter().filter(|(real, binding)| takes(real, binding)).map(|(real, _)| *real).collect();
        let flow = FlowId(self.id());
        let Some(service) = self.services.get_mut(&key) else { return Opened::Refused(Refusal::Silent) };
        if eligible.is_empty() {
            service.refused += 1;
            return Opened::Refused(service.when_none);
        }
        // Which one is the scheduler's business; the model only promises that it is an eligible one.
        let real = eligible[service.turn % eligible.len()];
        service.turn += 1;
        service.admitted += 1;
        if let Some(binding) = service.bindings.get_mut(&real) {
            binding.total += 1;
        }
        self.flows.insert(flow, Flow { client, key: BindingKey { service: key, real }, is_reset: false });
        Opened::To(flow, real)
    }

    /// The longest matching prefix decides; `shed` by the attempt, `queue` by a coin.
    fn drops(&mut self, client: SocketAddr, key: &ServiceKey, coin: u32) -> Option<Refusal> {
        let service = self.services.get_mut(key)?;
        let matching = service.drops.iter().filter(|policy| policy.from.is_none_or(|from| from.contains(&client.ip())));
        let policy = matching.max_by_key(|policy| policy.from.map_or(-1, |from| i16::from(from.prefix_len())))?;
        let uniform = match policy.mode {
            DropMode::Queue => coin,
            DropMode::Shed => {
                let attempt = format!("{client} {key} {}", policy.salt);
                let seed =
                    attempt.bytes().fold(0u64, |seed, byte| seed.wrapping_mul(0x0100_0000_01b3) ^ u64::from(byte));
                fastrand::Rng::with_seed(seed).u32(..)
            }
        };
        let refusal = policy.fraction.hits(uniform).then_some(policy.refusal);
        service.dropped += u64::from(refusal.is_some());
        refusal
    }

    fn listing(&self, filter: &Filter) -> Listing {
        let left = |until: Time| Span(Duration::from_millis(until.since(self.now).as_millis() as u64));
        let mut listing = Listing { generation: Generation(self.generation), ..Listing::default() };
        for (key, service) in
            self.services.iter().filter(|(key, _)| filter.service.is_none_or(|wanted| wanted == **key))
        {
            listing.services.push(ServiceRow {
                service: *key,
                id: service.id,
                groups: service
                    .groups
                    .iter()
                    .map(|(group, scheduler)| GroupRow { group: group.clone(), scheduler: *scheduler })
                    .collect(),
                drops: service
                    .drops
                    .iter()
                    .map(|policy| DropRow {
                        from: policy.from,
                        fraction: policy.fraction,
                        mode: policy.mode,
                        refusal: policy.refusal,
                        left: policy.until.map(left),
                    })
                    .collect(),
                rules: service.rules.clone(),
                health: service.health.clone(),
                when_none: service.when_none,
                admitted: service.admitted,
                dropped: service.dropped,
                refused: service.refused,
            });
            for (real, binding) in &service.bindings {
                let key = BindingKey { service: *key, real: *real };
                let state = self.state_of(real, binding);
                let row = BindingRow {
                    key,
                    id: binding.id,
                    group: binding.group.clone(),
                    state,
                    reason: self.reason(real, state),
                    connections: self.live(&key),
                    total: binding.total,
                    weight: binding.weight,
                    max_conns: binding.max_conns,
                    owner: binding.owner.clone(),
                    lease: binding.lease.map(|(period, _)| period),
                    lease_left: binding.lease.map(|(_, until)| left(until)),
                    deadline_left: binding.deadline.map(left),
                    mac: Some(Mac([2, 0, 0, 0, 0, 1])),
                    health: binding.health.clone(),
                };
                if filter.wants(&row) {
                    listing.bindings.push(row);
                }
            }
        }
        listing
    }
}

impl AcmSwitch for ModelSwitch {
    fn apply<'a>(&'a self, caller: &'a Caller, list: Vec<Primitive>) -> Answer<'a, Result<Vec<Outcome>, AcmError>> {
        Box::pin(async move {
            if list.len() > BATCH_MAX {
                return Err(AcmError::invalid("list", format!("at most {BATCH_MAX} primitives in one list")));
            }
            self.with(|model| {
                if let Some(tenure) = &caller.tenure {
                    if tenure.epoch < model.epoch {
                        return Err(AcmError::StaleEpoch { given: tenure.epoch, current: model.epoch });
                    }
                    model.epoch = tenure.epoch;
                }
                Ok(list.iter().map(|primitive| model.perform(primitive)).collect())
            })
        })
    }

    fn list<'a>(&'a self, filter: &'a Filter) -> Answer<'a, Result<Listing, AcmError>> {
        Box::pin(async move { Ok(self.lock().listing(filter)) })
    }

    fn events(&self, after: Option<EventId>) -> Answer<'_, Result<EventStream, AcmError>> {
        Box::pin(async move { Ok(self.events.subscribe(after)) })
    }

    fn claim<'a>(&'a self, manager: &'a Name) -> Answer<'a, Result<Tenure, AcmError>> {
        Box::pin(async move {
            Ok(self.with(|model| {
                model.epoch += 1;
                Tenure { epoch: model.epoch, manager: manager.clone() }
            }))
        })
    }
}

impl Inspect for ModelSwitch {
    fn statistics(&self) -> Answer<'_, Result<Statistics, AcmError>> {
        Box::pin(async move {
            let model = self.lock();
            let flows = model.flows.values().filter(|flow| !flow.is_reset).count() as u64;
            let clients: std::collections::BTreeSet<_> = model.flows.values().map(|flow| flow.client).collect();
            let counters = BTreeMap::from([("clients".to_owned(), clients.len() as u64)]);
            Ok(Statistics { uptime_secs: model.now.millis() / 1000, flows, counters, ..Statistics::default() })
        })
    }

    fn capture<'a>(&'a self, _port: &'a str) -> Answer<'a, Result<CaptureStream, AcmError>> {
        Box::pin(async { Err(AcmError::unsupported(Feature::Capture, "the model has no ports")) })
    }
}
