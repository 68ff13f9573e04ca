//! List: rows of the table, joined with what the workers counted.

use std::time::Duration;

use ahash::AHashMap;

use crate::acm::list::{BindingRow, DropRow, Filter, GroupRow, Listing, RuleRow, ServiceRow};
use crate::acm::table::ServiceTable;
use crate::acm::words::{AdminState, Binding, BindingKey, Service};
use crate::base::id::{BindingId, Name, ServiceId};
use crate::base::span::Span;
use crate::base::time::Time;

/// What the workers counted, summed.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    /// Live and total connections of each binding.
    pub bindings: AHashMap<BindingId, (u64, u64)>,
    /// Admitted, dropped and refused of each service.
    pub services: AHashMap<ServiceId, (u64, u64, u64)>,
    /// Requests each content rule decided, by its name.
    pub rules: AHashMap<(ServiceId, Name), u64>,
}

/// The listing of a table.
pub fn listing(table: &ServiceTable, tally: &Tally, filter: &Filter, now: Time) -> Listing {
    let mut listing = Listing { generation: table.generation(), ..Listing::default() };
    let one = filter.service.map(|key| table.service(&key));
    let services: Box<dyn Iterator<Item = _>> = match one {
        Some(service) => Box::new(service.into_iter()),
        None => Box::new(table.services()),
    };
    for service in services {
        listing.services.push(service_row(service, tally, now));
        let rows = service.bindings.values().map(|binding| binding_row(service, binding, tally, now));
        listing.bindings.extend(rows.filter(|row| filter.wants(row)));
    }
    listing
}

fn service_row(service: &Service, tally: &Tally, now: Time) -> ServiceRow {
    let (admitted, dropped, refused) = tally.services.get(&service.id).copied().unwrap_or_default();
    let drops = service.drops.iter().map(|policy| DropRow {
        from: policy.from,
        fraction: policy.fraction,
        mode: policy.mode,
        refusal: policy.refusal,
        left: policy.until.map(|until| left(until, now)),
    });
    let rules = service.rules.iter().map(|rule| RuleRow {
        rule: rule.clone(),
        hits: tally.rules.get(&(service.id, rule.name.clone())).copied().unwrap_or_default(),
    });
    ServiceRow {
        service: service.key,
        id: service.id,
        groups: service
            .groups
            .iter()
            .map(|(name, group)| GroupRow {
                group: name.clone(),
                scheduler: group.scheduler,
                hash: group.hash.clone(),
                persist: group.persist.clone(),
            })
            .collect(),
        drops: drops.collect(),
        content: service.content,
        switching: service.switching,
        default_action: service.default_action.clone(),
        strangers: service.strangers,
        rules: rules.collect(),
        health: (*service.health).clone(),
        when_none: service.when_none,
        admitted,
        dropped,
        refused,
    }
}

fn binding_row(service: &Service, binding: &Binding, tally: &Tally, now: Time) -> BindingRow {
    let (connections, total) = tally.bindings.get(&binding.id).copied().unwrap_or_default();
    let deadline = match binding.will.admin {
        AdminState::Draining { deadline, .. } => deadline,
        AdminState::Up => None,
    };
    BindingRow {
        key: BindingKey { service: service.key, real: binding.real },
        id: binding.id,
        group: binding.will.group.clone(),
        state: binding.state(),
        reason: binding.reason(),
        connections,
        total,
        weight: binding.will.weight,
        max_conns: binding.will.max_conns,
        owner: binding.will.owner.clone(),
        identity: binding.will.identity.clone(),
        lease: binding.will.lease.map(|lease| lease.period),
        lease_left: binding.will.lease.map(|lease| left(lease.until, now)),
        deadline_left: deadline.map(|deadline| left(deadline, now)),
        mac: binding.observed.mac,
        health: (*binding.will.health).clone(),
    }
}

/// What is left until a moment, to the millisecond.
fn left(until: Time, now: Time) -> Span {
    Span(Duration::from_millis(until.since(now).as_millis() as u64))
}
