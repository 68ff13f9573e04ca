//! A small switch for tests of what stands in front of a switch: the service table of the contract, connections that
//! a test sets, and a record of events. Bindings with a health profile beyond the MAC stay pending until a test says
//! that they pass. It forwards nothing.

#![allow(dead_code, reason = "each test program uses its own part")]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};

use acm_switch::acm::error::AcmError;
use acm_switch::acm::event::{Event, EventId, EventKind};
use acm_switch::acm::list::{BindingRow, DropRow, Filter, GroupRow, Listing, RuleRow, ServiceRow, State};
use acm_switch::acm::primitive::{Add, Caller, Done, DropNew, Outcome, Primitive, SetService, Tenure};
use acm_switch::acm::switch::{AcmSwitch, Answer, CaptureStream, EventStream, Inspect, PortStatistics, Statistics};
use acm_switch::acm::table::ServiceTable;
use acm_switch::acm::validate;
use acm_switch::acm::words::{
    AdminState, Binding, BindingKey, DropPolicy, Group, Health, HealthDepth, HealthProfile, Observed, Service,
    ServiceKey, Will, default_group,
};
use acm_switch::base::id::{BindingId, Generation, Name, ServiceId};
use acm_switch::base::limits::BATCH_MAX;
use acm_switch::base::time::Time;

const BOOT: u32 = 0x5f0c_21aa;

#[derive(Default)]
struct Inner {
    table: ServiceTable,
    connections: BTreeMap<SocketAddr, u64>,
    events: Vec<Event>,
    wakers: Vec<Waker>,
    epoch: u64,
    ids: u64,
}

/// The switch.
#[derive(Clone, Default)]
pub(crate) struct SmallSwitch(Arc<Mutex<Inner>>);

impl SmallSwitch {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Gives a real this many live connections; a draining binding without any is gone.
    pub(crate) fn set_connections(&self, real: SocketAddr, count: u64) {
        let mut inner = self.lock();
        inner.connections.insert(real, count);
        let all: Vec<_> = inner
            .table
            .services()
            .flat_map(|service| {
                let key = service.key;
                service.bindings.values().map(move |binding| (key, Arc::clone(binding))).collect::<Vec<_>>()
            })
            .collect();
        for (service, binding) in all {
            if binding.real == real && binding.is_draining() && count == 0 {
                inner.drained(BindingKey { service, real }, binding.id);
            }
        }
    }

    /// Says that the checks of a binding pass.
    pub(crate) fn pass(&self, key: BindingKey) {
        let mut inner = self.lock();
        let mut binding = Binding::clone(inner.table.binding(&key).expect("a binding that exists"));
        binding.observed.health = Health::Passing;
        binding.observed.mac = Some("02:00:00:00:00:0b".parse().unwrap());
        let id = binding.id;
        let mut draft = inner.table.edit();
        draft.put_binding(&key.service, binding).unwrap();
        inner.table = draft.finish();
        inner.tell(EventKind::State { binding: key, id, from: State::Pending, to: State::Active, reason: None });
    }

    /// How many events there were.
    pub(crate) fn event_count(&self) -> u64 {
        self.lock().events.len() as u64
    }
}

impl Inner {
    fn tell(&mut self, kind: EventKind) {
        let id = EventId { boot: BOOT, number: self.events.len() as u64 + 1 };
        self.events.push(Event { id, at: 1_700_000_000_000, generation: self.table.generation(), kind });
        self.wakers.drain(..).for_each(Waker::wake);
    }

    fn next_id(&mut self) -> u64 {
        self.ids += 1;
        self.ids
    }

    fn done(&self, before: Generation, binding: Option<BindingId>) -> Done {
        let generation = self.table.generation();
        Done { generation, binding, changed: generation != before, cut: None }
    }

    fn drained(&mut self, key: BindingKey, id: BindingId) {
        let mut draft = self.table.edit();
        draft.remove_binding(&key);
        self.table = draft.finish();
        self.tell(EventKind::Drained { binding: key, id });
    }

    fn perform(&mut self, primitive: Primitive) -> Outcome {
        validate::check(&primitive)?;
        match primitive {
            Primitive::Add(add) => self.add(&add),
            Primitive::Remove(remove) => self.remove(remove.key()),
            Primitive::ForceRemove(remove) => self.force_remove(remove.key()),
            Primitive::Drop(policy) => self.drop_new(&policy),
            Primitive::SetService(set) => self.set_service(&set),
            Primitive::RemoveService(remove) => self.remove_service(remove.service),
        }
    }

    fn new_service(&mut self, key: ServiceKey) -> Service {
        Service { groups: imbl::OrdMap::new(), ..Service::new(ServiceId(self.next_id()), key) }
    }

    fn add(&mut self, add: &Add) -> Outcome {
        let (key, before) = (add.key(), self.table.generation());
        let old = self.table.binding(&key).cloned();
        if let Some(old) = old.as_ref().filter(|old| old.will.owner != add.owner) {
            return Err(AcmError::Exists { what: key.to_string(), owner: old.will.owner.to_string() });
        }
        let mut draft = self.table.edit();
        let is_new_service = self.table.service(&key.service).is_none();
        if is_new_service {
            let service = self.new_service(key.service);
            draft.put_service(service)?;
        }
        let health = add.health.clone().unwrap_or_default();
        let passes = health.depth == HealthDepth::L2;
        let will = Will {
            admin: AdminState::Up,
            group: add.group.clone().unwrap_or_else(default_group),
            weight: add.weight.unwrap_or(1),
            max_conns: add.max_conns,
            owner: add.owner.clone(),
            identity: add.identity.clone(),
            lease: None,
            health: Arc::new(health),
        };
        let observed = Observed {
            health: if passes { Health::Passing } else { Health::Unknown("waiting for an ARP reply".into()) },
            mac: passes.then(|| "02:00:00:00:00:0b".parse().unwrap()),
            lapsed: false,
            tcp: None,
        };
        let id = old.as_ref().map_or_else(|| BindingId(self.next_id()), |old| old.id);
        let binding = match &old {
            Some(old) => Binding { will, ..Binding::clone(old) },
            None => Binding { id, real: add.real, will, observed },
        };
        if old.as_deref() != Some(&binding) {
            draft.put_binding(&key.service, binding)?;
            self.table = draft.finish();
            if is_new_service {
                self.tell(EventKind::ServiceCreated { service: key.service });
            }
            self.tell(EventKind::Added { binding: key, id });
        }
        Ok(self.done(before, Some(id)))
    }

    fn remove(&mut self, key: BindingKey) -> Outcome {
        let before = self.table.generation();
        let mut binding =
            Binding::clone(self.table.binding(&key).ok_or_else(|| AcmError::not_found(format!("binding {key}")))?);
        let id = binding.id;
        if !binding.is_draining() {
            binding.will.admin = AdminState::Draining { since: Time::ZERO, deadline: None };
            let mut draft = self.table.edit();
            draft.put_binding(&key.service, binding)?;
            self.table = draft.finish();
            self.tell(EventKind::State { binding: key, id, from: State::Active, to: State::Draining, reason: None });
        }
        let done = self.done(before, Some(id));
        if self.connections.get(&key.real).is_none_or(|count| *count == 0) {
            self.drained(key, id);
        }
        Ok(done)
    }

    fn force_remove(&mut self, key: BindingKey) -> Outcome {
        let before = self.table.generation();
        let mut draft = self.table.edit();
        let gone = draft.remove_binding(&key).ok_or_else(|| AcmError::not_found(format!("binding {key}")))?;
        self.table = draft.finish();
        let cut = self.connections.remove(&key.real).unwrap_or(0);
        self.tell(EventKind::ForceRemoved { binding: key, id: gone.id, cut });
        Ok(Done { cut: Some(cut), ..self.done(before, Some(gone.id)) })
    }

    fn drop_new(&mut self, policy: &DropNew) -> Outcome {
        let before = self.table.generation();
        let service = policy.service;
        let mut changed = Service::clone(
            self.table.service(&service).ok_or_else(|| AcmError::not_found(format!("service {service}")))?,
        );
        changed.drops.retain(|known| known.from != policy.from);
        if !policy.fraction.is_zero() {
            changed.drops.push_back(DropPolicy {
                from: policy.from,
                fraction: policy.fraction,
                mode: policy.mode,
                refusal: policy.refusal,
                until: None,
                salt: self.next_id(),
            });
        }
        let mut draft = self.table.edit();
        draft.put_service(changed)?;
        self.table = draft.finish();
        self.tell(EventKind::Drop { service, from: policy.from, fraction: policy.fraction });
        Ok(self.done(before, None))
    }

    fn set_service(&mut self, set: &SetService) -> Outcome {
        let before = self.table.generation();
        let known = self.table.service(&set.service).cloned();
        let mut service = match &known {
            Some(known) => Service::clone(known),
            None => self.new_service(set.service),
        };
        if let Some(scheduler) = set.scheduler {
            service.groups.insert(set.group.clone(), Group::scheduled_by(scheduler));
        }
        if let Some(health) = &set.health {
            service.health = Arc::new(health.clone());
        }
        service.when_none = set.when_none.unwrap_or(service.when_none);
        let mut draft = self.table.edit();
        draft.put_service(service)?;
        self.table = draft.finish();
        self.tell(match known {
            Some(_) => EventKind::ServiceChanged { service: set.service },
            None => EventKind::ServiceCreated { service: set.service },
        });
        Ok(self.done(before, None))
    }

    fn remove_service(&mut self, key: ServiceKey) -> Outcome {
        let before = self.table.generation();
        let reals: Vec<_> = match self.table.service(&key) {
            None => return Err(AcmError::not_found(format!("service {key}"))),
            Some(service) => service.bindings.keys().copied().collect(),
        };
        let mut cut = 0;
        for real in reals {
            cut += self.force_remove(BindingKey { service: key, real })?.cut.unwrap_or(0);
        }
        let mut draft = self.table.edit();
        draft.remove_service(&key)?;
        self.table = draft.finish();
        self.tell(EventKind::ServiceRemoved { service: key });
        Ok(Done { cut: Some(cut), ..self.done(before, None) })
    }

    fn row(&self, service: &Service, binding: &Binding) -> BindingRow {
        let (state, reason) = match (&binding.will.admin, &binding.observed.health) {
            (AdminState::Draining { .. }, _) => (State::Draining, Some("removed".to_owned())),
            (AdminState::Up, Health::Passing) => (State::Active, None),
            (AdminState::Up, Health::Unknown(why)) => (State::Pending, Some(why.to_string())),
            (AdminState::Up, Health::Failing(why)) => (State::Failed, Some(why.to_string())),
        };
        BindingRow {
            key: BindingKey { service: service.key, real: binding.real },
            id: binding.id,
            group: binding.will.group.clone(),
            state,
            reason,
            connections: self.connections.get(&binding.real).copied().unwrap_or(0),
            total: 0,
            weight: binding.will.weight,
            max_conns: binding.will.max_conns,
            owner: binding.will.owner.clone(),
            identity: binding.will.identity.clone(),
            lease: None,
            lease_left: None,
            deadline_left: None,
            mac: binding.observed.mac,
            health: HealthProfile::clone(&binding.will.health),
        }
    }

    fn service_row(service: &Service) -> ServiceRow {
        let drops = service.drops.iter().map(|policy| DropRow {
            from: policy.from,
            fraction: policy.fraction,
            mode: policy.mode,
            refusal: policy.refusal,
            left: None,
        });
        ServiceRow {
            service: service.key,
            id: service.id,
            groups: service
                .groups
                .iter()
                .map(|(group, set)| GroupRow {
                    group: group.clone(),
                    scheduler: set.scheduler,
                    hash: set.hash.clone(),
                    persist: set.persist.clone(),
                })
                .collect(),
            drops: drops.collect(),
            content: service.content,
            switching: service.switching,
            default_action: service.default_action.clone(),
            strangers: service.strangers,
            rules: service.rules.iter().map(|rule| RuleRow { rule: rule.clone(), hits: 0 }).collect(),
            health: HealthProfile::clone(&service.health),
            when_none: service.when_none,
            admitted: 30,
            dropped: 20,
            refused: 10,
        }
    }
}

impl AcmSwitch for SmallSwitch {
    fn apply<'a>(&'a self, caller: &'a Caller, list: Vec<Primitive>) -> Answer<'a, Result<Vec<Outcome>, AcmError>> {
        Box::pin(async move {
            let mut inner = self.lock();
            if let Some(tenure) = caller.tenure.as_ref().filter(|tenure| tenure.epoch < inner.epoch) {
                return Err(AcmError::StaleEpoch { given: tenure.epoch, current: inner.epoch });
            }
            if list.len() > BATCH_MAX {
                return Err(AcmError::invalid("list", "too long"));
            }
            Ok(list.into_iter().map(|primitive| inner.perform(primitive)).collect())
        })
    }

    fn list<'a>(&'a self, filter: &'a Filter) -> Answer<'a, Result<Listing, AcmError>> {
        Box::pin(async move {
            // The group `panic` stands for a fault in the switch.
            assert!(filter.group.as_ref().is_none_or(|group| group.as_str() != "panic"), "asked to panic");
            let inner = self.lock();
            let mut listing = Listing { generation: inner.table.generation(), ..Listing::default() };
            for service in inner.table.services() {
                if filter.service.is_none_or(|key| key == service.key) {
                    listing.services.push(Inner::service_row(service));
                }
                let rows = service.bindings.values().map(|binding| inner.row(service, binding));
                listing.bindings.extend(rows.filter(|row| filter.wants(row)));
            }
            Ok(listing)
        })
    }

    fn events(&self, after: Option<EventId>) -> Answer<'_, Result<EventStream, AcmError>> {
        let told = self.event_count();
        let (next, lost) = match after {
            None => (told, false),
            Some(after) if after.boot == BOOT && after.number <= told => (after.number, false),
            Some(_) => (told, true),
        };
        let tail = Tail { switch: self.clone(), next, lost };
        Box::pin(async move { Ok(Box::pin(tail) as EventStream) })
    }

    fn claim<'a>(&'a self, manager: &'a Name) -> Answer<'a, Result<Tenure, AcmError>> {
        let mut inner = self.lock();
        inner.epoch += 1;
        let tenure = Tenure { epoch: inner.epoch, manager: manager.clone() };
        Box::pin(async move { Ok(tenure) })
    }
}

struct Tail {
    switch: SmallSwitch,
    next: u64,
    lost: bool,
}

impl futures_core::Stream for Tail {
    type Item = Event;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Event>> {
        let this = self.get_mut();
        let mut inner = this.switch.lock();
        if std::mem::take(&mut this.lost) {
            let id = EventId { boot: BOOT, number: this.next };
            return Poll::Ready(Some(Event { id, at: 0, generation: inner.table.generation(), kind: EventKind::Lost }));
        }
        if let Some(event) = inner.events.get(this.next as usize) {
            this.next += 1;
            return Poll::Ready(Some(event.clone()));
        }
        inner.wakers.push(cx.waker().clone());
        Poll::Pending
    }
}

/// The first bytes of a pcap file with nanosecond times, link type Ethernet.
pub(crate) const PCAP_HEAD: [u8; 24] =
    [0x4d, 0x3c, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 1, 0, 0, 0];

struct Pieces(u32);

impl futures_core::Stream for Pieces {
    type Item = Vec<u8>;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Vec<u8>>> {
        self.0 += 1;
        match self.0 {
            1 => Poll::Ready(Some(PCAP_HEAD.to_vec())),
            2 => Poll::Ready(Some(vec![7; 100])),
            // Nothing more passes: a running capture is silent, not ended.
            _ => Poll::Pending,
        }
    }
}

impl Inspect for SmallSwitch {
    fn statistics(&self) -> Answer<'_, Result<Statistics, AcmError>> {
        Box::pin(async {
            let port = PortStatistics { port: "eth1".into(), rx_frames: 5, ..PortStatistics::default() };
            let counters = [("verdict.forwarded".to_owned(), 17)].into();
            Ok(Statistics { uptime_secs: 61, flows: 2, flows_max: 1024, counters, ports: vec![port] })
        })
    }

    fn capture<'a>(&'a self, port: &'a str) -> Answer<'a, Result<CaptureStream, AcmError>> {
        Box::pin(async move {
            match port {
                "eth1" => Ok(Box::pin(Pieces(0)) as CaptureStream),
                other => Err(AcmError::not_found(format!("port {other}"))),
            }
        })
    }
}
