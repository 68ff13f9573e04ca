//! What a List showed, arranged for the screens.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};

use switch_sim::slb::config::Config;
use switch_sim::slb::report::{Counters, PortReport, PortState, RealReport, ServerState, Totals};
use switch_sim::slb::words::{Admin, Name, Port};

use super::content::{self, Wants};
use super::wants;
use crate::acm::list::{BindingRow, GroupRow, Listing, RuleRow, ServiceRow, State};
use crate::acm::rules::{Case, Content, Strangers};
use crate::acm::words::{BindingKey, ServiceKey, default_group, operator};
use crate::base::id;
use crate::ironware::say::says_as;

/// One List.
#[derive(Debug, Default)]
pub(super) struct Seen {
    rows: HashMap<BindingKey, BindingRow>,
    by_real: HashMap<IpAddr, Vec<BindingKey>>,
    services: HashMap<ServiceKey, ServiceRow>,
    /// The addresses of names, when the List was taken.
    reals: HashMap<Name, IpAddr>,
    /// The services of virtual servers' ports, then.
    ports: HashMap<(Name, Port), ServiceKey>,
    /// Real servers' ports that were bound, then, and what they are while no binding says anything better.
    bound: HashMap<(Name, Port), PortState>,
    /// What the command line wants of services that switch by content, then.
    wanted: HashMap<ServiceKey, Wants>,
    /// And in which group it wants their bindings; the others belong in the default one.
    groups: HashMap<BindingKey, id::Name>,
}

impl Seen {
    pub(super) fn new(listing: Listing) -> Seen {
        let mut seen = Seen::default();
        for row in listing.bindings {
            seen.by_real.entry(row.key.real.ip()).or_default().push(row.key);
            seen.rows.insert(row.key, row);
        }
        seen.services.extend(listing.services.into_iter().map(|row| (row.service, row)));
        seen
    }

    /// Learns the names that the command line has for all that.
    pub(super) fn name(&mut self, config: &Config) {
        self.reals = config.reals().map(|(name, real)| (name.clone(), real.address)).collect();
        self.bound.clear();
        for (name, real) in config.reals() {
            for (port, row) in real.ports.iter().filter(|(_, row)| row.is_bound()) {
                let is_disabled = [real.admin, row.admin].contains(&Admin::Disabled);
                let state = if is_disabled { PortState::Disabled } else { PortState::Enabled };
                self.bound.insert((name.clone(), *port), state);
            }
        }
        self.ports.clear();
        self.wanted.clear();
        self.groups.clear();
        for (name, server) in config.virtuals() {
            for port in server.ports.keys() {
                let key = wants::service(config, server, *port);
                self.ports.insert((name.clone(), *port), key);
                // What cannot be said in the contract's words was never accepted.
                if let Ok(Some(wanted)) = content::wants(config, name, *port) {
                    let is_on = wanted.content == Content::Http;
                    self.wanted.insert(key, wanted);
                    if !is_on {
                        continue;
                    }
                    let binds = wants::binds_of_virtual_port(config, name, *port);
                    let group = |bind| Some((wants::key(config, &bind)?, content::group_of(config, &bind)));
                    self.groups.extend(binds.into_iter().filter_map(group));
                }
            }
        }
    }

    /// Every binding.
    pub(super) fn bindings(&self) -> impl Iterator<Item = &BindingRow> {
        self.rows.values()
    }

    /// Every service.
    pub(super) fn services(&self) -> impl Iterator<Item = &ServiceRow> {
        self.services.values()
    }

    /// One binding.
    pub(super) fn row(&self, key: &BindingKey) -> Option<&BindingRow> {
        self.rows.get(key)
    }

    /// Whether a real server has a binding, in or out of service.
    pub(super) fn has_real(&self, real: IpAddr) -> bool {
        self.by_real.contains_key(&real)
    }

    /// Whether a real server's port has one.
    pub(super) fn has_real_port(&self, real: IpAddr, port: Port) -> bool {
        self.by_real.get(&real).into_iter().flatten().any(|key| key.real.port() == port.number())
    }

    fn rows_of(&self, name: &Name) -> impl Iterator<Item = &BindingRow> {
        let keys = self.reals.get(name).and_then(|ip| self.by_real.get(ip)).into_iter().flatten();
        keys.filter_map(|key| self.rows.get(key))
    }

    pub(super) fn real(&self, name: &Name) -> RealReport {
        let mac = self.rows_of(name).find_map(|row| row.mac).map(|mac| mac.0);
        let states: Vec<State> = self.rows_of(name).map(|row| row.state).collect();
        let state = match () {
            () if states.iter().any(|state| matches!(state, State::Active | State::Lapsed)) => ServerState::Active,
            () if states.contains(&State::Failed) && mac.is_none() => ServerState::Failed,
            () if states.contains(&State::Draining) && states.iter().all(|state| *state == State::Draining) => {
                ServerState::Shutdown
            }
            () if mac.is_some() => ServerState::Active,
            () if states.contains(&State::Pending) => ServerState::Testing,
            () => ServerState::Enabled,
        };
        RealReport { state, mac, failed_for: 0 }
    }

    pub(super) fn real_port(&self, name: &Name, port: Port) -> PortReport {
        let rows: Vec<&BindingRow> = self.rows_of(name).filter(|row| row.key.real.port() == port.number()).collect();
        let counters = rows.iter().fold(Counters::default(), |sum, row| sum.plus(counters(row)));
        // The best of what its bindings say.
        let rank =
            [PortState::Active, PortState::Testing, PortState::Failed, PortState::AwaitUnbind, PortState::Unbound];
        let states: Vec<PortState> = rows.iter().map(|row| port_state(row.state)).collect();
        let known = rank.into_iter().find(|state| states.contains(state));
        let bound = || self.bound.get(&(name.clone(), port)).copied();
        let state = known.or_else(bound).unwrap_or(PortState::Unbound);
        PortReport { state, counters }
    }

    pub(super) fn binding(&self, server: &Name, port: Port, real: &Name, real_port: Port) -> PortState {
        let key = self
            .ports
            .get(&(server.clone(), port))
            .zip(self.reals.get(real))
            .map(|(service, ip)| BindingKey { service: *service, real: SocketAddr::new(*ip, real_port.number()) });
        key.and_then(|key| self.rows.get(&key)).map_or(PortState::Disabled, |row| port_state(row.state))
    }

    pub(super) fn virtual_port(&self, server: &Name, port: Port) -> PortReport {
        let service = self.ports.get(&(server.clone(), port));
        let rows = self.rows.values().filter(|row| Some(&row.key.service) == service);
        let counters = rows.fold(Counters::default(), |sum, row| sum.plus(counters(row)));
        let total = service.and_then(|key| self.services.get(key)).map_or(counters.total, |row| row.admitted);
        PortReport { state: PortState::Enabled, counters: Counters { total, ..counters } }
    }

    pub(super) fn totals(&self) -> Totals {
        let counters = self.rows.values().fold(Counters::default(), |sum, row| sum.plus(counters(row)));
        let unsuccessful = self.services.values().map(|row| row.refused).sum();
        let sessions_max = 1 << 20;
        let sessions_free = u64::saturating_sub(sessions_max, counters.current);
        Totals { sessions_max, sessions_free, counters, unsuccessful }
    }

    /// What the command line has no words for, about a real server.
    pub(super) fn remarks_of_real(&self, name: &Name) -> Vec<String> {
        let mut remarks: Vec<String> =
            self.rows_of(name).filter_map(|row| remark(row, self.groups.get(&row.key))).collect();
        remarks.sort();
        remarks
    }

    /// The same about a virtual server.
    pub(super) fn remarks_of_virtual(&self, name: &Name) -> Vec<String> {
        let services = self.ports.iter().filter(|((of, _), _)| of == name).map(|(_, key)| key);
        let mut remarks: Vec<String> = services
            .filter_map(|key| self.services.get(key))
            .flat_map(|row| service_remarks(row, self.wanted.get(&row.service)))
            .collect();
        remarks.sort();
        remarks
    }

    /// How many requests a content rule of this name has decided, on all services.
    pub(super) fn hits(&self, rule: &str) -> u64 {
        let rows = self.services.values().flat_map(|row| &row.rules);
        let is_it = |row: &&RuleRow| row.rule.name.as_str() == rule || says_as(&row.rule).as_deref() == Some(rule);
        rows.filter(is_it).map(|row| row.hits).sum()
    }

    /// What is about neither: services and bindings that the command line cannot name.
    pub(super) fn remarks_of_system(&self, nameless: &[BindingKey]) -> Vec<String> {
        let named: HashSet<&ServiceKey> = self.ports.values().collect();
        let bindings = nameless.iter().map(|key| format!("binding {key} has no words here"));
        let services = self.services.keys().filter(|key| !named.contains(key));
        let mut remarks: Vec<String> = bindings.collect();
        remarks.extend(services.map(|key| format!("service {key} has no words here")));
        remarks.sort();
        remarks
    }
}

fn counters(row: &BindingRow) -> Counters {
    Counters { current: row.connections, total: row.total, peak: row.connections, ..Counters::default() }
}

fn port_state(state: State) -> PortState {
    match state {
        State::Pending => PortState::Testing,
        State::Active | State::Lapsed => PortState::Active,
        State::Failed => PortState::Failed,
        State::Draining => PortState::AwaitUnbind,
    }
}

/// Everything about a binding that no ServerIron command says, on one line.
fn remark(row: &BindingRow, group: Option<&id::Name>) -> Option<String> {
    let mut parts = Vec::new();
    if row.owner != operator() {
        parts.push(format!("owner {}", row.owner));
    }
    if row.group != group.cloned().unwrap_or_else(default_group) {
        parts.push(format!("group {}", row.group));
    }
    if let Some(lease) = row.lease {
        parts.push(format!("lease {lease}"));
    }
    if let Some(left) = row.deadline_left {
        parts.push(format!("cut in {left}"));
    }
    if let (State::Failed | State::Pending, Some(reason)) = (row.state, &row.reason) {
        parts.push(format!("{}: {reason}", row.state));
    }
    (!parts.is_empty()).then(|| format!("{}: {}", row.key, parts.join(", ")))
}

fn service_remarks(row: &ServiceRow, wanted: Option<&Wants>) -> Vec<String> {
    let drops = row.drops.iter().map(|drop| {
        let from = drop.from.map_or(String::new(), |from| format!(" from {from}"));
        format!("{}: drop {} of new connections{from}, mode {}", row.service, drop.fraction, drop.mode)
    });
    let is_said = |group: &GroupRow| match wanted {
        Some(wanted) => content::agrees(wanted, row),
        None => group.group == default_group() && wants::predictor(group.scheduler).is_some(),
    };
    let unnamed = row.groups.iter().filter(|group| !is_said(group));
    let groups = unnamed.map(|group| format!("{}: group {} chooses by {}", row.service, group.group, group.scheduler));
    let reset = (row.strangers == Strangers::Reset).then(|| format!("{}: strangers are reset", row.service));
    drops.chain(groups).chain(content_remarks(row, wanted)).chain(reset).collect()
}

/// The rules in force where the command line's words do not say them: they were set elsewhere, and have none.
fn content_remarks(row: &ServiceRow, wanted: Option<&Wants>) -> Vec<String> {
    let is_said =
        wanted.map_or(row.content == Content::None && row.rules.is_empty(), |wanted| content::agrees(wanted, row));
    if is_said {
        return Vec::new();
    }
    let rules = row.rules.iter().zip(1..).map(|(RuleRow { rule, .. }, place)| {
        let when: Vec<_> = rule.when.iter().map(ToString::to_string).collect();
        let when = if when.is_empty() { "everything".to_owned() } else { when.join(", ") };
        let case = if rule.case == Case::Insensitive { " (in any case)" } else { "" };
        format!("{}: rule {place} {}: {when}{case}: {}", row.service, rule.name, rule.then)
    });
    let last = format!("{}: content {}, everything else: {}", row.service, row.content, row.default_action);
    rules.chain([last]).collect()
}
