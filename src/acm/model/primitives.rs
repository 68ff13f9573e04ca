//! The calls. Each first finds every reason to refuse, then does what it says.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use super::world::{End, Service, World};
use crate::acm::error::AcmError;
use crate::acm::event::EventKind;
use crate::acm::primitive::{Add, Done, DropNew, ForceRemove, Outcome, Primitive, Remove, RemoveService, SetService};
use crate::acm::rules::check::check_group;
use crate::acm::rules::edit::edited;
use crate::acm::validate;
use crate::acm::words::{
    AdminState, Binding, BindingKey, DropPolicy, Health, Lease, Observed, ServiceKey, Will, default_group,
};
use crate::base::id::{BindingId, Name, ServiceId};
use crate::base::limits::{
    BINDINGS_MAX, BINDINGS_PER_SERVICE_MAX, DROPS_PER_SERVICE_MAX, GROUPS_PER_SERVICE_MAX, RULES_PER_SERVICE_MAX,
    SERVICES_MAX,
};

impl World {
    /// Performs one primitive.
    pub(super) fn perform(&mut self, primitive: &Primitive) -> Outcome {
        validate::check(primitive)?;
        match primitive {
            Primitive::Add(add) => self.add(add),
            Primitive::Remove(remove) => self.remove(remove),
            Primitive::ForceRemove(remove) => self.force_remove(remove),
            Primitive::Drop(drop) => self.drop_new(drop),
            Primitive::SetService(set) => self.set_service(set),
            Primitive::RemoveService(remove) => self.remove_service(remove),
        }
    }

    fn done(&self, binding: Option<BindingId>, changed: bool, cut: Option<u64>) -> Outcome {
        Ok(Done { generation: self.generation_now(), binding, changed, cut })
    }

    fn add(&mut self, add: &Add) -> Outcome {
        match self.binding(&add.key()).cloned() {
            None => self.add_new(add),
            Some(old) if old.will.owner != add.owner => {
                let what = format!("binding {}", add.key());
                Err(AcmError::Exists { what, owner: old.will.owner.to_string() })
            }
            Some(old) => self.add_again(add, &old),
        }
    }

    fn add_new(&mut self, add: &Add) -> Outcome {
        let group = add.group.clone().unwrap_or_else(default_group);
        self.check_group(&add.service, &group)?;
        self.check_real(&add.service, add.real)?;
        self.ensure_group(&add.service, &group);
        let id = BindingId(self.new_id());
        let lease = self.lease_of(add);
        let service = self.service(&add.service);
        let will = Will {
            admin: AdminState::Up,
            group,
            weight: add.weight.unwrap_or(1),
            max_conns: add.max_conns,
            owner: add.owner.clone(),
            identity: add.identity.clone(),
            lease,
            health: Arc::new(add.health.clone().unwrap_or_else(|| service.health.clone())),
        };
        let observed = Observed { health: not_checked(), mac: None, lapsed: false, tcp: None };
        service.bindings.insert(add.real, Binding { id, real: add.real, will, observed });
        self.touched = true;
        self.news.push(EventKind::Added { binding: add.key(), id });
        self.done(Some(id), true, None)
    }

    /// An Add of one's own binding: what it names is changed, the lease starts anew, a drain ends.
    fn add_again(&mut self, add: &Add, old: &Binding) -> Outcome {
        let key = add.key();
        if let Some(group) = &add.group {
            self.check_group(&add.service, group)?;
            self.ensure_group(&add.service, group);
        }
        let mut new = old.clone();
        let will = &mut new.will;
        will.admin = AdminState::Up;
        will.group = add.group.clone().unwrap_or_else(|| old.will.group.clone());
        will.weight = add.weight.unwrap_or(old.will.weight);
        will.max_conns = add.max_conns.or(old.will.max_conns);
        will.identity = add.identity.clone().or_else(|| old.will.identity.clone());
        will.health = add.health.clone().map_or_else(|| Arc::clone(&old.will.health), Arc::new);
        will.lease = self.lease_of(add);
        new.observed.lapsed = false;
        if old.is_draining() || new.will.health != old.will.health {
            new.observed.health = not_checked();
        }
        let changed = !is_refresh_only(old, &new);
        if changed {
            self.news.push(match old.is_draining() {
                true => EventKind::Added { binding: key, id: old.id },
                false => EventKind::Changed { binding: key, id: old.id },
            });
        }
        self.change(&key, None, |binding| *binding = new);
        self.release_lapsed();
        self.done(Some(old.id), changed, None)
    }

    fn lease_of(&self, add: &Add) -> Option<Lease> {
        add.lease.map(|period| Lease { period, until: self.now + period.0 })
    }

    fn remove(&mut self, remove: &Remove) -> Outcome {
        let key = remove.key();
        let binding = self.known(&key)?;
        let asked = remove.deadline.map(|span| self.now + span.0);
        match binding.will.admin {
            AdminState::Up => self.drain(&key, asked, None),
            AdminState::Draining { since, deadline } => {
                let deadline = asked.or(deadline);
                self.change(&key, None, |binding| binding.will.admin = AdminState::Draining { since, deadline });
            }
        }
        self.done(Some(binding.id), !binding.is_draining(), None)
    }

    fn known(&self, key: &BindingKey) -> Result<Binding, AcmError> {
        self.binding(key).cloned().ok_or_else(|| AcmError::not_found(format!("binding {key}")))
    }

    fn force_remove(&mut self, remove: &ForceRemove) -> Outcome {
        let binding = self.known(&remove.key())?;
        let cut = self.cut(&remove.key());
        self.done(Some(binding.id), true, Some(cut))
    }

    /// Ends a binding and its flows now; the number of flows.
    pub(super) fn cut(&mut self, key: &BindingKey) -> u64 {
        let Some(service) = self.services.get_mut(&key.service) else { return 0 };
        let Some(gone) = service.bindings.remove(&key.real) else { return 0 };
        let mut cut = 0;
        for flow in self.flows.values_mut().filter(|flow| flow.binding == gone.id && flow.end.is_none()) {
            flow.end = Some(End::Cut);
            cut += 1;
        }
        self.touched = true;
        self.news.push(EventKind::ForceRemoved { binding: *key, id: gone.id, cut });
        cut
    }

    fn drop_new(&mut self, drop: &DropNew) -> Outcome {
        let until = drop.lasts.map(|span| self.now + span.0);
        let salt = self.new_id();
        let missing = || AcmError::not_found(format!("service {}", drop.service));
        let service = self.services.get_mut(&drop.service).ok_or_else(missing)?;
        let old = service.drops.get(&drop.from).cloned();
        let mut policy = DropPolicy {
            from: drop.from,
            fraction: drop.fraction,
            mode: drop.mode,
            refusal: drop.refusal,
            until,
            salt,
        };
        if let Some(old) = &old {
            let as_before = DropPolicy { until: old.until, salt: old.salt, ..policy.clone() };
            if as_before == *old {
                // The same policy, perhaps for longer: verdicts stand.
                policy.salt = old.salt;
            }
        }
        let wanted = (!drop.fraction.is_zero()).then_some(policy);
        if wanted == old {
            return self.done(None, false, None);
        }
        match wanted {
            Some(policy) => {
                full("drop policies", service.drops.len() + usize::from(old.is_none()), DROPS_PER_SERVICE_MAX)?;
                service.drops.insert(drop.from, policy);
            }
            None => {
                service.drops.remove(&drop.from);
            }
        }
        self.touched = true;
        self.news.push(EventKind::Drop { service: drop.service, from: drop.from, fraction: drop.fraction });
        self.done(None, true, None)
    }

    fn set_service(&mut self, set: &SetService) -> Outcome {
        let known = self.services.get(&set.service);
        let mut group = known.and_then(|service| service.groups.get(&set.group)).cloned().unwrap_or_default();
        assign(&mut group.scheduler, set.scheduler);
        assign(&mut group.hash, set.hash.clone());
        assign(&mut group.persist, set.persist.clone());
        check_group(&group)?;
        let rules = match (&set.rules, &set.edit) {
            (None, Some(edit)) => Some(edited(known.map_or(&[], |service| &service.rules[..]), edit)?),
            (rules, _) => rules.clone(),
        };
        let is_new = known.is_none();
        self.check_group(&set.service, &set.group)?;
        full("rules of a service", rules.as_ref().map_or(0, Vec::len), RULES_PER_SERVICE_MAX)?;

        let mut changed = self.ensure_group(&set.service, &set.group);
        let service = self.service(&set.service);
        changed |= assign(service.groups.entry(set.group.clone()).or_default(), Some(group));
        changed |= assign(&mut service.health, set.health.clone());
        changed |= assign(&mut service.when_none, set.when_none);
        changed |= assign(&mut service.content, set.content);
        changed |= assign(&mut service.switching, set.switching);
        changed |= assign(&mut service.default_action, set.default_action.clone());
        changed |= assign(&mut service.strangers, set.strangers);
        let has_other_rules = assign(&mut service.rules, rules);
        let rules = service.rules.len();
        let kept: Vec<_> = service.rules.iter().map(|rule| rule.name.clone()).collect();
        service.hits.retain(|name, _| kept.contains(name));
        self.touched |= changed || has_other_rules;
        if changed && !is_new {
            self.news.push(EventKind::ServiceChanged { service: set.service });
        }
        if has_other_rules {
            self.news.push(EventKind::RulesChanged { service: set.service, rules });
        }
        self.done(None, changed || has_other_rules, None)
    }

    fn remove_service(&mut self, remove: &RemoveService) -> Outcome {
        let Some(service) = self.services.get(&remove.service) else {
            return Err(AcmError::not_found(format!("service {}", remove.service)));
        };
        let reals: Vec<_> = service.bindings.keys().copied().collect();
        let cut = reals.iter().map(|real| self.cut(&BindingKey { service: remove.service, real: *real })).sum();
        self.services.remove(&remove.service);
        self.touched = true;
        self.news.push(EventKind::ServiceRemoved { service: remove.service });
        self.done(None, true, Some(cut))
    }

    /// May this service have this group? Says nothing new about a service and group that exist.
    fn check_group(&self, key: &ServiceKey, group: &Name) -> Result<(), AcmError> {
        let Some(service) = self.services.get(key) else {
            if self.is_real(key.vip()) {
                return Err(AcmError::invalid("service", format!("{} is the address of a real server", key.vip())));
            }
            return full("services", self.services.len() + 1, SERVICES_MAX);
        };
        let more = usize::from(!service.groups.contains_key(group));
        full("groups of a service", service.groups.len() + more, GROUPS_PER_SERVICE_MAX)
    }

    /// Makes the service and its group exist. True if one of them is new.
    fn ensure_group(&mut self, key: &ServiceKey, group: &Name) -> bool {
        let is_new = !self.services.contains_key(key);
        if is_new {
            let id = ServiceId(self.new_id());
            self.services.insert(*key, Service::new(id));
            self.news.push(EventKind::ServiceCreated { service: *key });
        }
        let service = self.service(key);
        let more = !service.groups.contains_key(group);
        service.groups.entry(group.clone()).or_default();
        self.touched |= is_new || more;
        is_new || more
    }

    /// May this real be bound to this service, which may not exist yet?
    fn check_real(&self, key: &ServiceKey, real: SocketAddr) -> Result<(), AcmError> {
        let vip: IpAddr = key.vip();
        if real.ip() == vip || self.is_vip(real.ip()) {
            return Err(AcmError::invalid("real", format!("{} is a virtual address", real.ip())));
        }
        if real.is_ipv4() != vip.is_ipv4() {
            return Err(AcmError::invalid("real", format!("{real} and {vip} are of different address families")));
        }
        let members = self.services.get(key).map_or(0, |service| service.bindings.len());
        full("bindings of a service", members + 1, BINDINGS_PER_SERVICE_MAX)?;
        full("bindings", self.services.values().map(|service| service.bindings.len()).sum::<usize>() + 1, BINDINGS_MAX)
    }
}

fn not_checked() -> Health {
    Health::Unknown("not checked yet".into())
}

/// True if the two differ in nothing but when the lease ends.
fn is_refresh_only(old: &Binding, new: &Binding) -> bool {
    let mut same_end = new.clone();
    if let (Some(was), Some(is)) = (old.will.lease, &mut same_end.will.lease) {
        is.until = was.until;
    }
    same_end == *old
}

/// Sets what is named. True if that is news.
fn assign<T: PartialEq>(place: &mut T, value: Option<T>) -> bool {
    match value {
        Some(value) if value != *place => {
            *place = value;
            true
        }
        _ => false,
    }
}

fn full(what: &str, would_be: usize, max: usize) -> Result<(), AcmError> {
    match would_be > max {
        true => Err(AcmError::Full { what: what.to_owned(), max: max as u64 }),
        false => Ok(()),
    }
}
