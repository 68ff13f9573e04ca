//! What is observed: health findings and the workers' notices.

use std::sync::Arc;

use super::{Control, HealthOrder};
use crate::acm::event::EventKind;
use crate::acm::list::State;
use crate::acm::words::{AdminState, Binding, BindingKey};
use crate::base::id::{BindingId, Generation};
use crate::base::time::Time;
use crate::health::Finding;

impl Control {
    /// A health check learnt something about a binding.
    pub fn observe(&mut self, finding: &Finding, now: Time) {
        let Some((key, binding)) = self.find(finding.binding) else { return };
        let known = &binding.observed;
        if (&known.health, known.mac, known.tcp) == (&finding.health, finding.mac, finding.tcp) {
            return;
        }
        let from = binding.state();
        let mut seen = (*binding).clone();
        seen.observed.health = finding.health.clone();
        seen.observed.mac = finding.mac;
        seen.observed.tcp = finding.tcp;
        let became_healthy = seen.takes_new() && !binding.takes_new();
        self.changed_state(key, from, &seen);
        self.replace(&key.service, seen);
        if became_healthy {
            self.release_lapsed(&key.service, now);
        }
    }

    /// Every worker reported a draining binding empty, the last under table `seen`. The row goes, unless the
    /// binding was added again meanwhile or the report is about an earlier drain.
    pub fn drained(&mut self, id: BindingId, seen: Generation) {
        let Some((key, binding)) = self.find(id) else { return };
        let since = self.drains.get(&id).copied();
        if !binding.is_draining() || since.is_none_or(|since| seen < since) {
            return;
        }
        self.take_out(&key);
        self.happened(EventKind::Drained { binding: key, id });
    }

    /// Turns a binding to draining.
    pub(super) fn drain(
        &mut self,
        key: BindingKey,
        binding: &Binding,
        now: Time,
        deadline: Option<Time>,
        why: Option<&str>,
    ) {
        let from = binding.state();
        let mut draining = binding.clone();
        draining.will.admin = AdminState::Draining { since: now, deadline };
        draining.will.lease = None;
        draining.observed.lapsed = false;
        self.lapsed.remove(&binding.id);
        self.replace(&key.service, draining.clone());
        self.drains.insert(binding.id, self.generation());
        self.deadlines.set_binding(binding.id, deadline);
        // Nothing new goes there, so its health decides nothing any more.
        self.effects.health.push(HealthOrder::Forget(binding.id));
        self.effects.urgent = true;
        self.happened(EventKind::State {
            binding: key,
            id: binding.id,
            from,
            to: State::Draining,
            reason: why.map(str::to_owned).or_else(|| draining.reason()),
        });
    }

    /// Reports a change of state, if there is one.
    pub(super) fn changed_state(&mut self, key: BindingKey, from: State, binding: &Binding) {
        let to = binding.state();
        if from != to {
            self.happened(EventKind::State { binding: key, id: binding.id, from, to, reason: binding.reason() });
        }
    }

    /// What a binding's health shall be watched by.
    pub(super) fn watch(&mut self, key: &BindingKey, binding: &Binding) {
        let target = crate::health::Target {
            real: key.real,
            protocol: key.service.protocol,
            profile: Arc::clone(&binding.will.health),
        };
        self.effects.health.push(HealthOrder::Watch(binding.id, target));
    }
}
