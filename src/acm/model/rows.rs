//! List and statistics: everything counted from what there is.

use std::time::Duration;

use super::world::{Service, World};
use crate::acm::list::{BindingRow, DropRow, Filter, GroupRow, Listing, RuleRow, ServiceRow};
use crate::acm::rules::Rule;
use crate::acm::switch::Statistics;
use crate::acm::words::{AdminState, Binding, BindingKey, DropPolicy, Group, ServiceKey};
use crate::base::id::Name;
use crate::base::span::Span;
use crate::base::time::Time;

impl World {
    /// List.
    pub(super) fn listing(&self, filter: &Filter) -> Listing {
        let wanted = self.services.iter().filter(|(key, _)| filter.service.is_none_or(|only| only == **key));
        let rows = self.keys().into_iter().filter_map(|key| Some(self.binding_row(key, self.binding(&key)?)));
        Listing {
            generation: self.generation,
            services: wanted.map(|(key, service)| self.service_row(*key, service)).collect(),
            bindings: rows.filter(|row| filter.wants(row)).collect(),
        }
    }

    fn service_row(&self, key: ServiceKey, service: &Service) -> ServiceRow {
        let drop = |policy: &DropPolicy| DropRow {
            from: policy.from,
            fraction: policy.fraction,
            mode: policy.mode,
            refusal: policy.refusal,
            left: policy.until.map(|until| self.left(until)),
        };
        let groups = service.groups.iter();
        ServiceRow {
            service: key,
            id: service.id,
            groups: groups.map(group_row).collect(),
            drops: service.drops.values().map(drop).collect(),
            content: service.content,
            switching: service.switching,
            default_action: service.default_action.clone(),
            strangers: service.strangers,
            rules: service.rules.iter().map(|rule| rule_row(rule, service)).collect(),
            health: service.health.clone(),
            when_none: service.when_none,
            admitted: service.admitted,
            dropped: service.dropped,
            refused: service.refused,
        }
    }

    fn binding_row(&self, key: BindingKey, binding: &Binding) -> BindingRow {
        let deadline = match binding.will.admin {
            AdminState::Draining { deadline, .. } => deadline,
            AdminState::Up => None,
        };
        BindingRow {
            key,
            id: binding.id,
            group: binding.will.group.clone(),
            state: binding.state(),
            reason: binding.reason(),
            connections: self.live(binding.id),
            total: self.flows.values().filter(|flow| flow.binding == binding.id).count() as u64,
            weight: binding.will.weight,
            max_conns: binding.will.max_conns,
            owner: binding.will.owner.clone(),
            identity: binding.will.identity.clone(),
            lease: binding.will.lease.map(|lease| lease.period),
            lease_left: binding.will.lease.map(|lease| self.left(lease.until)),
            deadline_left: deadline.map(|deadline| self.left(deadline)),
            mac: binding.observed.mac,
            health: (*binding.will.health).clone(),
        }
    }

    /// What is left until a moment, to the millisecond.
    fn left(&self, until: Time) -> Span {
        Span(Duration::from_millis(until.since(self.now).as_millis() as u64))
    }

    /// Counters of the whole switch.
    pub(super) fn statistics(&self) -> Statistics {
        let sum = |count: fn(&Service) -> u64| self.services.values().map(count).sum();
        let counters = [
            ("service.admitted", sum(|service| service.admitted)),
            ("service.dropped", sum(|service| service.dropped)),
            ("service.refused", sum(|service| service.refused)),
        ];
        Statistics {
            uptime_secs: self.now.micros() / 1_000_000,
            flows: self.flows.values().filter(|flow| flow.end.is_none()).count() as u64,
            flows_max: u64::MAX,
            counters: counters.into_iter().map(|(name, count)| (name.to_owned(), count)).collect(),
            ports: Vec::new(),
        }
    }
}

fn group_row((name, group): (&Name, &Group)) -> GroupRow {
    GroupRow {
        group: name.clone(),
        scheduler: group.scheduler,
        hash: group.hash.clone(),
        persist: group.persist.clone(),
    }
}

fn rule_row(rule: &Rule, service: &Service) -> RuleRow {
    RuleRow { rule: rule.clone(), hits: service.hits.get(&rule.name).copied().unwrap_or_default() }
}
