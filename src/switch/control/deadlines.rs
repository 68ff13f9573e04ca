//! What ends by itself: leases, drain deadlines, Drop policies.

use std::collections::BTreeSet;

use ahash::AHashMap;
use ipnet::IpNet;

use super::Control;
use crate::acm::event::EventKind;
use crate::acm::words::{AdminState, Binding, BindingKey, ServiceKey};
use crate::base::fraction::Fraction;
use crate::base::id::BindingId;
use crate::base::time::Time;

/// What is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Due {
    /// A binding's lease or drain deadline; the binding says which.
    Binding(BindingId),
    /// The Drop policy of these clients.
    Drop(ServiceKey, Option<IpNet>),
}

/// Each thing has at most one deadline.
#[derive(Debug, Default)]
pub(super) struct Deadlines {
    order: BTreeSet<(Time, Due)>,
    at: AHashMap<Due, Time>,
}

impl Deadlines {
    fn set(&mut self, due: Due, at: Option<Time>) {
        if let Some(old) = self.at.remove(&due) {
            self.order.remove(&(old, due));
        }
        if let Some(at) = at {
            self.at.insert(due, at);
            self.order.insert((at, due));
        }
    }

    /// A binding's next deadline, or none.
    pub(super) fn set_binding(&mut self, id: BindingId, at: Option<Time>) {
        self.set(Due::Binding(id), at);
    }

    pub(super) fn forget_binding(&mut self, id: BindingId) {
        self.set(Due::Binding(id), None);
    }

    /// When a Drop policy ends, or never.
    pub(super) fn set_drop(&mut self, service: ServiceKey, from: Option<IpNet>, at: Option<Time>) {
        self.set(Due::Drop(service, from), at);
    }

    fn pop(&mut self, now: Time) -> Option<Due> {
        let &(at, due) = self.order.first()?;
        if at > now {
            return None;
        }
        self.set(due, None);
        Some(due)
    }
}

impl Control {
    /// When [`Control::tick`] has something to do.
    pub fn next_deadline(&self) -> Option<Time> {
        self.deadlines.order.first().map(|&(at, _)| at)
    }

    /// Does everything that is due.
    pub fn tick(&mut self, now: Time) {
        while let Some(due) = self.deadlines.pop(now) {
            match due {
                Due::Drop(service, from) => self.end_drop(&service, from),
                Due::Binding(id) => {
                    let Some((key, binding)) = self.find(id) else { continue };
                    match binding.will.admin {
                        AdminState::Draining { .. } => self.force_out(&key),
                        AdminState::Up => self.lapse(key, &binding, now),
                    }
                }
            }
        }
    }

    /// A lease ran out. The binding drains if another healthy member of its service remains, else it stays, lapsed.
    fn lapse(&mut self, key: BindingKey, binding: &Binding, now: Time) {
        if self.has_other_healthy(&key) {
            self.drain(key, binding, now, None, Some("its lease ran out"));
            return;
        }
        let from = binding.state();
        let mut lapsed = binding.clone();
        lapsed.observed.lapsed = true;
        self.lapsed.insert(binding.id, key);
        self.changed_state(key, from, &lapsed);
        self.replace(&key.service, lapsed);
    }

    /// Somebody became healthy: lapsed members of the service can go now.
    pub(super) fn release_lapsed(&mut self, service: &ServiceKey, now: Time) {
        if self.lapsed.is_empty() {
            return;
        }
        let waiting: Vec<_> =
            self.lapsed.iter().filter(|(_, key)| key.service == *service).map(|(id, _)| *id).collect();
        for id in waiting {
            let Some((key, binding)) = self.find(id) else { continue };
            if self.has_other_healthy(&key) {
                self.drain(key, &binding, now, None, Some("its lease ran out"));
            }
        }
    }

    /// True if a member other than this one takes new connections under a will that stands (not lapsed itself).
    fn has_other_healthy(&self, key: &BindingKey) -> bool {
        let Some(service) = self.table().service(&key.service) else { return false };
        service
            .bindings
            .values()
            .any(|other| other.real != key.real && other.takes_new() && !other.observed.lapsed && other.will.weight > 0)
    }

    fn end_drop(&mut self, key: &ServiceKey, from: Option<IpNet>) {
        let Some(service) = self.table().service(key) else { return };
        let mut service = (**service).clone();
        service.drops.retain(|policy| policy.from != from);
        if self.draft.put_service(service).is_ok() {
            self.happened(EventKind::Drop { service: *key, from, fraction: Fraction::ZERO });
        }
    }
}
