//! List: from the box's configuration and tables to rows of the contract.
//!
//! What the box has no place for is remembered here, for as long as the driver lives: identities, generations, and
//! bindings that were taken out while their real's port serves others (*lingering*: the box lets their connections
//! finish and counts them with the others', so a lingering row shows an upper bound and goes when the port is empty).

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;

use super::command::Pair;
use super::config::BoxConfig;
use super::name::Kind;
use super::plan::{self, FOREIGN, Rules, is_ours, key_of, profile_of, weight_of};
use super::screen::{PortRow, PortState, Table};
use crate::acm::list::{BindingRow, Filter, GroupRow, Listing, RuleRow, ServiceRow, State};
use crate::acm::rules::{Rule, Strangers, Switching};
use crate::acm::words::{BindingKey, Group, HealthProfile, Refusal, ServiceKey, default_group};
use crate::base::id::{BindingId, Generation, Name, ServiceId};

/// What the driver remembers.
#[derive(Debug, Default)]
pub(super) struct Memory {
    pub(super) generation: Generation,
    next: u64,
    bindings: HashMap<BindingKey, BindingId>,
    services: HashMap<ServiceKey, ServiceId>,
    lingering: BTreeMap<BindingKey, Pair>,
}

impl Memory {
    fn fresh(next: &mut u64) -> u64 {
        *next += 1;
        *next
    }

    /// A binding's identity, which it has from now on.
    pub(super) fn binding(&mut self, key: &BindingKey) -> BindingId {
        *self.bindings.entry(*key).or_insert_with(|| BindingId(Memory::fresh(&mut self.next)))
    }

    fn service(&mut self, key: &ServiceKey) -> ServiceId {
        *self.services.entry(*key).or_insert_with(|| ServiceId(Memory::fresh(&mut self.next)))
    }

    /// The binding is gone; should it come again, it is another.
    pub(super) fn forget(&mut self, key: &BindingKey) {
        self.bindings.remove(key);
        self.lingering.remove(key);
    }

    /// The service is gone, with its bindings.
    pub(super) fn forget_service(&mut self, service: &ServiceKey) {
        self.services.remove(service);
        self.bindings.retain(|key, _| key.service != *service);
        self.lingering.retain(|key, _| key.service != *service);
    }

    /// The binding was taken out and its connections finish.
    pub(super) fn linger(&mut self, key: BindingKey, pair: Pair) {
        self.lingering.insert(key, pair);
    }

    /// The binding is back.
    pub(super) fn no_longer_lingers(&mut self, key: &BindingKey) {
        self.lingering.remove(key);
    }

    pub(super) fn lingers(&self, key: &BindingKey) -> bool {
        self.lingering.contains_key(key)
    }

    /// Forgets what is not there any more.
    fn keep_only(&mut self, listing: &Listing) {
        let rows: std::collections::HashSet<_> = listing.bindings.iter().map(|row| row.key).collect();
        self.bindings.retain(|key, _| rows.contains(key));
        self.lingering.retain(|key, _| rows.contains(key));
        let services: std::collections::HashSet<_> = listing.services.iter().map(|row| row.service).collect();
        self.services.retain(|key, _| services.contains(key));
    }
}

/// What the box has and how it fares, read in one go.
#[derive(Debug)]
pub(super) struct Snapshot<'a> {
    pub(super) config: &'a BoxConfig,
    pub(super) reals: &'a Table,
    pub(super) virtuals: &'a Table,
    pub(super) hits: &'a Hits,
}

/// How often the rules of a virtual server's port decided.
pub(super) type Hits = HashMap<(String, u16), HashMap<Name, u64>>;

/// A drain that has ended: the box still has the binding, and nothing goes there.
pub(super) type Drained = ((std::sync::Arc<str>, u16), Pair);

impl Snapshot<'_> {
    /// Whether the tables speak of what the configuration has. A table that lacks a server of ours, or says that a
    /// port which is bound is not, is not believed.
    pub(super) fn check(&self) -> Result<(), String> {
        for (name, real) in &self.config.reals {
            if !is_ours(Kind::Real, name, real.ip) {
                continue;
            }
            let Some(row) = self.reals.get(&**name) else {
                return Err(format!("its table of real servers lacks `{name}`, which is configured"));
            };
            for (port, configured) in &real.ports {
                match row.ports.get(port) {
                    None => return Err(format!("its table of real servers lacks port {port} of `{name}`")),
                    Some(row) if row.state == PortState::Unbound && !configured.bound_to.is_empty() => {
                        return Err(format!("port {port} of `{name}` is bound, and its table says that it is not"));
                    }
                    Some(_) => {}
                }
            }
        }
        for (name, server) in &self.config.virtuals {
            if !is_ours(Kind::Virtual, name, server.ip) {
                continue;
            }
            let row = self.virtuals.get(&**name);
            if server.ports.keys().any(|port| row.is_none_or(|row| !row.ports.contains_key(port))) {
                return Err(format!("its table of virtual servers lacks `{name}` or a port of it"));
            }
        }
        Ok(())
    }

    /// Drains of ours that have ended.
    pub(super) fn drained(&self) -> Vec<Drained> {
        let mut drained = Vec::new();
        for (name, real) in self.config.reals.iter().filter(|(name, real)| is_ours(Kind::Real, name, real.ip)) {
            for (port, configured) in real.ports.iter().filter(|(_, port)| port.disabled) {
                let pair = Pair { real: name.clone(), port: *port };
                let is_empty = self.row(&pair).is_some_and(|row| row.current == 0);
                let ours = |server: &str| {
                    self.config.virtuals.get(server).is_some_and(|found| is_ours(Kind::Virtual, server, found.ip))
                };
                if is_empty && configured.bound_to.iter().all(|(server, _)| ours(server)) {
                    drained.extend(configured.bound_to.iter().map(|place| (place.clone(), pair.clone())));
                }
            }
        }
        drained
    }

    fn row(&self, pair: &Pair) -> Option<&PortRow> {
        self.reals.get(&*pair.real)?.ports.get(&pair.port)
    }

    /// The rows, all of them; `memory` learns of new ones and forgets those that are gone.
    pub(super) fn listing(&self, rules: &Rules, memory: &mut Memory) -> Listing {
        let mut listing = Listing { generation: memory.generation, ..Listing::default() };
        for (name, server) in &self.config.virtuals {
            for (port, pairs) in &server.ports {
                let key = ServiceKey { addr: SocketAddr::new(server.ip, *port), protocol: self.config.protocol(*port) };
                listing.services.push(self.service_row(name, key, memory.service(&key)));
                for pair in pairs {
                    let Some(key) = key_of(self.config, name, *port, pair) else { continue };
                    let ours =
                        is_ours(Kind::Virtual, name, server.ip) && is_ours(Kind::Real, &pair.real, key.real.ip());
                    let owner = if ours { rules.owner.clone() } else { foreign_owner() };
                    let id = memory.binding(&key);
                    let group = self.config.group_of(name, *port, pair);
                    let row = self.binding_row(key, pair, id, owner);
                    listing.bindings.extend(row.map(|row| BindingRow { group, ..row }));
                }
            }
        }
        let lingering: Vec<_> = memory.lingering.iter().map(|(key, pair)| (*key, pair.clone())).collect();
        for (key, pair) in lingering {
            let id = memory.binding(&key);
            let row = self.binding_row(key, &pair, id, rules.owner.clone()).filter(|row| row.connections > 0);
            listing.bindings.extend(row.map(|row| BindingRow {
                state: State::Draining,
                reason: Some("removed; existing connections finish, counted with those of other services".into()),
                ..row
            }));
        }
        listing.services.sort_by_key(|row| row.service);
        listing.bindings.sort_by_key(|row| row.key);
        memory.keep_only(&listing);
        listing
    }

    fn service_row(&self, name: &str, key: ServiceKey, id: ServiceId) -> ServiceRow {
        let row = self.virtuals.get(name).and_then(|row| row.ports.get(&key.addr.port()));
        let wants = self.config.wants(name, key.addr.port());
        let group = |(group, Group { scheduler, hash, persist })| GroupRow { group, scheduler, hash, persist };
        let counted = self.hits.get(&(name.to_owned(), key.addr.port()));
        let hits = |rule: &Rule| counted.and_then(|counted| counted.get(&rule.name)).copied().unwrap_or_default();
        ServiceRow {
            service: key,
            id,
            groups: wants.groups.into_iter().map(group).collect(),
            drops: Vec::new(),
            content: wants.content,
            switching: Switching::default(),
            default_action: wants.default_action,
            strangers: Strangers::Default,
            rules: wants.rules.into_iter().map(|rule| RuleRow { hits: hits(&rule), rule }).collect(),
            health: HealthProfile::default(),
            when_none: Refusal::Silent,
            admitted: row.map_or(0, |row| row.total),
            dropped: 0,
            refused: 0,
        }
    }

    fn binding_row(&self, key: BindingKey, pair: &Pair, id: BindingId, owner: Name) -> Option<BindingRow> {
        let real = self.config.reals.get(&pair.real)?;
        let port = real.ports.get(&pair.port)?;
        let row = self.row(pair);
        let (state, reason) = match port.disabled || real.disabled {
            true => (State::Draining, Some("removed; existing connections finish".to_owned())),
            false => state_of(row.map(|row| &row.state)),
        };
        let unlimited = plan::no_limit(real.max_conn);
        Some(BindingRow {
            key,
            id,
            group: default_group(),
            state,
            reason,
            connections: row.map_or(0, |row| row.current),
            total: row.map_or(0, |row| row.total),
            weight: u16::try_from(weight_of(real)).unwrap_or(u16::MAX),
            max_conns: real.max_conn.filter(|_| !unlimited),
            owner,
            identity: None,
            lease: None,
            lease_left: None,
            deadline_left: None,
            mac: self.reals.get(&*pair.real).and_then(|row| row.mac),
            health: profile_of(port.keepalive),
        })
    }
}

fn foreign_owner() -> Name {
    // A literal that satisfies the name's rule; the test below keeps it so.
    FOREIGN.parse().expect("`foreign` is a legal name")
}

/// The contract's state for the box's, and why it is not simply active.
fn state_of(state: Option<&PortState>) -> (State, Option<String>) {
    let (state, why) = match state {
        Some(PortState::Active) => return (State::Active, None),
        Some(PortState::Failed) => (State::Failed, "the switch says that its checks fail".to_owned()),
        // One check was missed; connections still go there.
        Some(PortState::Suspect) => return (State::Active, None),
        Some(PortState::Testing) => (State::Pending, "the switch is testing it".to_owned()),
        Some(PortState::Enabled) => (State::Pending, "the switch has not checked it yet".to_owned()),
        Some(PortState::Unbound) => (State::Pending, "the switch says that it is not bound yet".to_owned()),
        Some(PortState::Disabled | PortState::Leaving) => {
            (State::Draining, "the switch says that it is leaving".to_owned())
        }
        Some(PortState::Other(word)) => (State::Pending, format!("the switch says `{word}`")),
        None => (State::Pending, "the switch does not list it".to_owned()),
    };
    (state, Some(why))
}

/// The rows that are asked for.
pub(super) fn filtered(listing: Listing, filter: &Filter) -> Listing {
    let services = listing.services.into_iter().filter(|row| filter.service.is_none_or(|key| key == row.service));
    Listing {
        generation: listing.generation,
        services: services.collect(),
        bindings: listing.bindings.into_iter().filter(|row| filter.wants(row)).collect(),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_foreign_owner_is_a_name() {
        assert_eq!(super::foreign_owner().as_str(), "foreign");
    }
}
