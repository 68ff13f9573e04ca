//! The primitives, with the semantics of the contract. Each either does all it says or changes nothing.

use std::net::IpAddr;
use std::sync::Arc;

use super::{Control, Cutting, Sight};
use crate::acm::error::{AcmError, Feature};
use crate::acm::event::EventKind;
use crate::acm::primitive::{
    Add, Caller, Done, DropNew, ForceRemove, Primitive, Remove, RemoveService, SetService, Tenure,
};
use crate::acm::rules::Content;
use crate::acm::rules::check::check_group;
use crate::acm::rules::edit::edited;
use crate::acm::validate;
use crate::acm::words::{
    AdminState, Binding, BindingKey, DropPolicy, Health, HealthProfile, Lease, Observed, Service, ServiceKey, Will,
    default_group,
};
use crate::base::id::{BindingId, Name, ServiceId};
use crate::base::time::Time;

impl Control {
    /// May this caller change anything?
    ///
    /// # Errors
    /// `StaleEpoch` for a manager whose tenure is over.
    pub fn admit(&mut self, caller: &Caller) -> Result<(), AcmError> {
        let Some(tenure) = &caller.tenure else { return Ok(()) };
        // A restarted switch has forgotten its epochs; the highest it sees is in force, and an epoch that is granted
        // again is not also that of who had it before.
        let is_taken = self.holder.as_ref().is_some_and(|holder| *holder != tenure.manager);
        if tenure.epoch < self.epoch || (tenure.epoch == self.epoch && is_taken) {
            return Err(AcmError::StaleEpoch { given: tenure.epoch, current: self.epoch });
        }
        if tenure.epoch > self.epoch || self.holder.is_none() {
            (self.epoch, self.holder) = (tenure.epoch, Some(tenure.manager.clone()));
        }
        Ok(())
    }

    /// Grants leadership.
    pub fn claim(&mut self, manager: &Name) -> Tenure {
        self.epoch += 1;
        self.holder = Some(manager.clone());
        Tenure { epoch: self.epoch, manager: manager.clone() }
    }

    /// Performs one primitive. The outcome's `cut` is not known yet when `Effects::cuts` says there are cuts to
    /// wait for.
    ///
    /// # Errors
    /// As the contract says; nothing has changed then.
    pub fn perform(&mut self, primitive: &Primitive, now: Time) -> Result<Done, AcmError> {
        validate::check(primitive)?;
        self.check_forwardable(primitive.service().vip(), "service")?;
        match primitive {
            Primitive::Add(add) => self.add(add, now),
            Primitive::Remove(remove) => self.remove(remove, now),
            Primitive::ForceRemove(remove) => self.force_remove(remove),
            Primitive::Drop(drop) => self.drop_new(drop, now),
            Primitive::SetService(set) => self.set_service(set),
            Primitive::RemoveService(remove) => self.remove_service(remove),
        }
    }

    /// An address that can be forwarded to or from: IPv4 for now, and not the switch's own.
    fn check_forwardable(&self, ip: IpAddr, field: &str) -> Result<(), AcmError> {
        if ip.is_ipv6() {
            return Err(AcmError::unsupported(Feature::Ipv6, format!("{ip} is IPv6; this version forwards IPv4")));
        }
        if self.own_addresses.contains(&ip) {
            return Err(AcmError::invalid(field, format!("{ip} is the switch's own address")));
        }
        Ok(())
    }

    fn done(&self, binding: Option<BindingId>, changed: bool) -> Done {
        Done { generation: self.generation(), binding, changed, cut: None }
    }

    fn add(&mut self, add: &Add, now: Time) -> Result<Done, AcmError> {
        self.check_forwardable(add.real.ip(), "real")?;
        let key = add.key();
        match self.table().binding(&key).cloned() {
            Some(binding) => self.add_again(add, key, &binding, now),
            None => self.add_new(add, key, now),
        }
    }

    fn add_new(&mut self, add: &Add, key: BindingKey, now: Time) -> Result<Done, AcmError> {
        // A refused step must leave nothing behind; drafts are persistent values, so the way back is a copy.
        let before = self.draft.clone();
        let created = !self.table_has(&key.service);
        let put = self.put_new(add, key, now);
        let binding = match put {
            Ok(binding) => binding,
            Err(why) => {
                self.draft = before;
                return Err(why);
            }
        };
        if created {
            self.happened(EventKind::ServiceCreated { service: key.service });
            self.effects.urgent = true;
        }
        self.keys.insert(binding.id, key);
        self.deadlines.set_binding(binding.id, binding.will.lease.map(|lease| lease.until));
        self.happened(EventKind::Added { binding: key, id: binding.id });
        self.watch(&key, &binding);
        Ok(self.done(Some(binding.id), true))
    }

    fn table_has(&self, key: &ServiceKey) -> bool {
        self.table().service(key).is_some()
    }

    fn put_new(&mut self, add: &Add, key: BindingKey, now: Time) -> Result<Binding, AcmError> {
        let group = add.group.clone().unwrap_or_else(default_group);
        let service = self.ensure_group(&key.service, &group)?;
        let binding = Binding {
            id: BindingId(self.next_binding),
            real: add.real,
            will: Will {
                admin: AdminState::Up,
                group,
                weight: add.weight.unwrap_or(1),
                max_conns: add.max_conns,
                owner: add.owner.clone(),
                identity: add.identity.clone(),
                lease: lease(add, now),
                health: shared(add.health.as_ref(), &service.health),
            },
            observed: Observed {
                health: Health::Unknown("not checked yet".into()),
                mac: None,
                lapsed: false,
                tcp: None,
            },
        };
        self.draft.put_binding(&key.service, binding.clone())?;
        self.next_binding += 1;
        Ok(binding)
    }

    /// The service with this group in it, both created if new.
    fn ensure_group(&mut self, key: &ServiceKey, group: &Name) -> Result<Arc<Service>, AcmError> {
        let known = self.table().service(key).cloned();
        if let Some(service) = known.as_ref().filter(|service| service.groups.contains_key(group)) {
            return Ok(Arc::clone(service));
        }
        let mut service = match known {
            Some(service) => (*service).clone(),
            None => {
                self.next_service += 1;
                Service::new(ServiceId(self.next_service - 1), *key)
            }
        };
        service.groups.entry(group.clone()).or_default();
        self.draft.put_service(service.clone())?;
        Ok(Arc::new(service))
    }

    /// Add of a binding that exists: changes options, refreshes the lease, ends a drain.
    fn add_again(&mut self, add: &Add, key: BindingKey, old: &Binding, now: Time) -> Result<Done, AcmError> {
        if old.will.owner != add.owner {
            return Err(AcmError::Exists { what: format!("binding {key}"), owner: old.will.owner.to_string() });
        }
        let mut new = old.clone();
        if let Some(group) = &add.group {
            self.ensure_group(&key.service, group)?;
            new.will.group = group.clone();
        }
        new.will.admin = AdminState::Up;
        new.will.weight = add.weight.unwrap_or(old.will.weight);
        new.will.max_conns = add.max_conns.or(old.will.max_conns);
        new.will.identity = add.identity.clone().or_else(|| old.will.identity.clone());
        new.will.lease = lease(add, now);
        new.will.health = shared(add.health.as_ref(), &old.will.health);
        new.observed.lapsed = false;
        let returns = old.is_draining();
        let rechecked = returns || new.will.health != old.will.health;
        if rechecked {
            new.observed.health = Health::Unknown("not checked yet".into());
        }
        self.lapsed.remove(&old.id);
        self.drains.remove(&old.id);
        self.deadlines.set_binding(old.id, new.will.lease.map(|lease| lease.until));
        if new == *old {
            return Ok(self.done(Some(old.id), false));
        }
        self.replace(&key.service, new.clone());
        if rechecked {
            self.watch(&key, &new);
        }
        let changed = self.report_add_again(key, old, &new);
        // Refreshed, or of weight again, it can take over from lapsed members.
        self.release_lapsed(&key.service, now);
        Ok(self.done(Some(old.id), changed))
    }

    /// Events of a repeated Add. A refreshed lease is no news.
    fn report_add_again(&mut self, key: BindingKey, old: &Binding, new: &Binding) -> bool {
        let id = old.id;
        let mut without_refresh = new.clone();
        if let (Some(was), Some(is)) = (old.will.lease, &mut without_refresh.will.lease)
            && was.period == is.period
        {
            *is = was;
        }
        if without_refresh == *old {
            return false;
        }
        self.happened(match old.is_draining() {
            true => EventKind::Added { binding: key, id },
            false => EventKind::Changed { binding: key, id },
        });
        self.changed_state(key, old.state(), new);
        true
    }

    fn remove(&mut self, remove: &Remove, now: Time) -> Result<Done, AcmError> {
        let key = BindingKey { service: remove.service, real: remove.real };
        let binding = self.existing(&key)?;
        let deadline = remove.deadline.map(|span| now + span.0);
        let AdminState::Draining { since, .. } = binding.will.admin else {
            self.drain(key, &binding, now, deadline, None);
            return Ok(self.done(Some(binding.id), true));
        };
        if deadline.is_some() {
            let mut sooner = (*binding).clone();
            sooner.will.admin = AdminState::Draining { since, deadline };
            self.replace(&key.service, sooner);
            self.deadlines.set_binding(binding.id, deadline);
        }
        Ok(self.done(Some(binding.id), false))
    }

    fn existing(&self, key: &BindingKey) -> Result<Arc<Binding>, AcmError> {
        self.table().binding(key).cloned().ok_or_else(|| AcmError::not_found(format!("binding {key}")))
    }

    fn force_remove(&mut self, remove: &ForceRemove) -> Result<Done, AcmError> {
        let key = BindingKey { service: remove.service, real: remove.real };
        let id = self.existing(&key)?.id;
        self.force_out(&key);
        Ok(self.done(Some(id), true))
    }

    /// Ends a binding with its connections.
    pub(super) fn force_out(&mut self, key: &BindingKey) {
        if let Some(gone) = self.take_out(key) {
            self.effects.cuts.push(Cutting { binding: gone.id, key: *key });
        }
    }

    fn drop_new(&mut self, drop: &DropNew, now: Time) -> Result<Done, AcmError> {
        let known = self.table().service(&drop.service);
        let mut service = (**known.ok_or_else(|| AcmError::not_found(format!("service {}", drop.service)))?).clone();
        let old = service.drops.iter().find(|policy| policy.from == drop.from).cloned();
        service.drops.retain(|policy| policy.from != drop.from);
        let until = drop.lasts.map(|span| now + span.0);
        let mut is_news = old.is_some();
        if !drop.fraction.is_zero() {
            let same = |policy: &DropPolicy| {
                (policy.fraction, policy.mode, policy.refusal) == (drop.fraction, drop.mode, drop.refusal)
            };
            let unchanged = old.as_ref().filter(|policy| same(policy));
            is_news = unchanged.is_none_or(|policy| policy.until != until);
            service.drops.push_back(DropPolicy {
                from: drop.from,
                fraction: drop.fraction,
                mode: drop.mode,
                refusal: drop.refusal,
                until,
                salt: unchanged.map_or(self.next_salt, |policy| policy.salt),
            });
            self.next_salt += 1;
        }
        if !is_news {
            return Ok(self.done(None, false));
        }
        self.draft.put_service(service)?;
        self.deadlines.set_drop(drop.service, drop.from, until.filter(|_| !drop.fraction.is_zero()));
        self.happened(EventKind::Drop { service: drop.service, from: drop.from, fraction: drop.fraction });
        Ok(self.done(None, true))
    }

    fn set_service(&mut self, set: &SetService) -> Result<Done, AcmError> {
        if self.sight == Sight::Packets && set.content.is_some_and(|content| content != Content::None) {
            return Err(AcmError::unsupported(Feature::ContentRules, "this version does not look into requests"));
        }
        let old = self.table().service(&set.service).cloned();
        let mut service = match &old {
            Some(service) => (**service).clone(),
            None => Service::new(ServiceId(self.next_service), set.service),
        };
        let rules_before = Arc::clone(&service.rules);
        set_group(&mut service, set)?;
        set_content(&mut service, set)?;
        service.health = shared(set.health.as_ref(), &service.health);
        service.when_none = set.when_none.unwrap_or(service.when_none);
        if old.as_deref() == Some(&service) {
            return Ok(self.done(None, false));
        }
        let news = (service.rules != rules_before)
            .then_some(EventKind::RulesChanged { service: set.service, rules: service.rules.len() });
        let only_rules = old.as_ref().is_some_and(|old| Service { rules: rules_before, ..service.clone() } == **old);
        self.draft.put_service(service)?;
        match old {
            None => {
                self.next_service += 1;
                self.effects.urgent = true;
                self.happened(EventKind::ServiceCreated { service: set.service });
            }
            Some(_) if only_rules => {}
            Some(_) => self.happened(EventKind::ServiceChanged { service: set.service }),
        }
        news.into_iter().for_each(|news| self.happened(news));
        Ok(self.done(None, true))
    }

    fn remove_service(&mut self, remove: &RemoveService) -> Result<Done, AcmError> {
        let key = remove.service;
        let service = self.table().service(&key).cloned();
        let service = service.ok_or_else(|| AcmError::not_found(format!("service {key}")))?;
        for real in service.bindings.keys() {
            self.force_out(&BindingKey { service: key, real: *real });
        }
        for policy in &service.drops {
            self.deadlines.set_drop(key, policy.from, None);
        }
        self.draft.remove_service(&key)?;
        self.effects.urgent = true;
        self.happened(EventKind::ServiceRemoved { service: key });
        Ok(self.done(None, true))
    }
}

/// What the call says about a group, merged into what there was and checked as a whole.
fn set_group(service: &mut Service, set: &SetService) -> Result<(), AcmError> {
    let group = service.groups.entry(set.group.clone()).or_default();
    group.scheduler = set.scheduler.unwrap_or(group.scheduler);
    if let Some(hash) = &set.hash {
        group.hash = hash.clone();
    }
    if let Some(persist) = &set.persist {
        group.persist = persist.clone();
    }
    check_group(group)
}

/// What the call says about content, merged into what there was.
fn set_content(service: &mut Service, set: &SetService) -> Result<(), AcmError> {
    service.content = set.content.unwrap_or(service.content);
    service.switching = set.switching.unwrap_or(service.switching);
    if let Some(action) = &set.default_action {
        service.default_action = action.clone();
    }
    service.strangers = set.strangers.unwrap_or(service.strangers);
    let rules = match (&set.rules, &set.edit) {
        (Some(rules), _) => rules.clone(),
        (None, Some(edit)) => edited(&service.rules, edit)?,
        (None, None) => return Ok(()),
    };
    if rules != *service.rules {
        service.rules = rules.into();
    }
    Ok(())
}

/// The lease an Add asks for.
fn lease(add: &Add, now: Time) -> Option<Lease> {
    add.lease.map(|period| Lease { period, until: now + period.0 })
}

/// The profile named, sharing `current` when it is the same.
fn shared(named: Option<&HealthProfile>, current: &Arc<HealthProfile>) -> Arc<HealthProfile> {
    match named {
        Some(profile) if *profile != **current => Arc::new(profile.clone()),
        _ => Arc::clone(current),
    }
}
