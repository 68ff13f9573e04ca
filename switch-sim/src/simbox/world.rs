//! The servers behind the simulated box.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::net::IpAddr;

use super::health::{self, HealthTimes, Life};
use super::traffic::Flow;
use crate::slb::report::{Counters, PortState, ServerState};
use crate::slb::words::{Admin, Name, Port};
use crate::time::Time;

/// A port of a virtual server.
pub(super) type Front = (Name, Port);

/// A port of a real server.
#[derive(Debug, Clone)]
pub(super) struct SimPort {
    pub(super) admin: Admin,
    pub(super) disabled_at: Option<Time>,
    pub(super) max_conn: Option<u32>,
    /// `port P keepalive`: checked more than once.
    pub(super) keepalive: bool,
    pub(super) life: Life,
    /// Per virtual port, the connections; kept while there are any, bound or not.
    pub(super) flows: BTreeMap<Front, Bound>,
    pub(super) leaving: bool,
    /// Not gone before then, whatever its connections.
    pub(super) lingers_until: Time,
    /// Put back into service while its old connections were still finishing: it shows this until they have.
    pub(super) reversed: Option<PortState>,
    /// When it first could be checked.
    pub(super) bound_at: Time,
    /// Counters of bindings that are gone.
    pub(super) past: Counters,
}

/// One binding.
#[derive(Debug, Clone)]
pub(super) struct Bound {
    pub(super) flow: Flow,
    /// `None` while it is bound; since when it is not.
    pub(super) unbound_at: Option<Time>,
}

/// A real server.
#[derive(Debug, Clone)]
pub(super) struct SimReal {
    pub(super) address: IpAddr,
    pub(super) admin: Admin,
    pub(super) max_conn: Option<u32>,
    pub(super) life: Life,
    pub(super) ports: BTreeMap<Port, SimPort>,
    pub(super) leaving: bool,
}

impl SimPort {
    pub(super) fn new(life: Life, now: Time) -> SimPort {
        SimPort {
            admin: Admin::Enabled,
            disabled_at: None,
            max_conn: None,
            keepalive: false,
            life,
            flows: BTreeMap::new(),
            leaving: false,
            lingers_until: now,
            reversed: None,
            bound_at: now,
            past: Counters::default(),
        }
    }

    pub(super) fn is_bound(&self) -> bool {
        self.flows.values().any(|bound| bound.unbound_at.is_none())
    }

    pub(super) fn current(&self) -> u64 {
        self.flows.values().map(|bound| bound.flow.counters.current).sum()
    }

    pub(super) fn counters(&self) -> Counters {
        self.flows.values().fold(self.past, |sum, bound| sum.plus(bound.flow.counters))
    }

    /// Whether an unbound or deleted port still has to finish.
    pub(super) fn is_finishing(&self, now: Time) -> bool {
        self.current() > 0 || now < self.lingers_until
    }
}

impl SimReal {
    pub(super) fn state(&self, times: &HealthTimes, now: Time) -> ServerState {
        match (self.leaving, self.admin) {
            (true, _) => ServerState::Shutdown,
            (false, Admin::Disabled) => ServerState::Disabled,
            (false, Admin::Enabled) => health::server(self.life, times, now),
        }
    }

    pub(super) fn port_state(&self, number: Port, times: &HealthTimes, now: Time) -> PortState {
        let Some(port) = self.ports.get(&number) else { return PortState::Unbound };
        if port.leaving || self.leaving {
            return PortState::AwaitDelete;
        }
        if !port.is_bound() {
            let waits = !port.flows.is_empty() && port.is_finishing(now);
            return if waits { PortState::AwaitUnbind } else { PortState::Unbound };
        }
        match (port.admin, port.reversed) {
            (Admin::Disabled, _) => return PortState::Disabled,
            (Admin::Enabled, Some(state)) => return state,
            (Admin::Enabled, None) => {}
        }
        let server = self.state(times, now);
        let active = health::active_at(self.life, times).unwrap_or(Time::ZERO);
        health::port(port.life, server, active.max(port.bound_at), times, now)
    }

    /// Whether new connections may come to a port, and how many there may be.
    pub(super) fn room(&self, number: Port, times: &HealthTimes, now: Time) -> Option<u64> {
        let state = self.port_state(number, times, now);
        let max = self.ports.get(&number).and_then(|port| port.max_conn).or(self.max_conn);
        matches!(state, PortState::Active | PortState::Suspect).then(|| max.map_or(u64::MAX, u64::from))
    }
}

/// A port of a virtual server.
#[derive(Debug, Clone, Default)]
pub(super) struct FrontRow {
    pub(super) members: BTreeSet<(Name, Port)>,
    /// Counters of bindings that are gone.
    past: Counters,
}

/// Everything behind the box.
#[derive(Debug, Clone, Default)]
pub(super) struct World {
    pub(super) reals: HashMap<Name, SimReal>,
    pub(super) by_address: HashMap<IpAddr, Name>,
    pub(super) fronts: HashMap<Front, FrontRow>,
    /// Machines and services that do not answer, configured or not.
    pub(super) down: HashSet<(IpAddr, Option<Port>)>,
}

impl World {
    pub(super) fn life(&self, address: IpAddr, port: Option<Port>, now: Time) -> Life {
        if self.down.contains(&(address, port)) { Life::Down { since: now, seen: false } } else { Life::Up(now) }
    }

    /// A real server's port, created if it is not there.
    pub(super) fn port(&mut self, real: &Name, number: Port, now: Time) -> Option<&mut SimPort> {
        let address = self.reals.get(real)?.address;
        let life = self.life(address, Some(number), now);
        Some(self.reals.get_mut(real)?.ports.entry(number).or_insert_with(|| SimPort::new(life, now)))
    }

    /// Forgets the bindings of a port that have finished.
    pub(super) fn tidy(&mut self, real: &Name, number: Port, now: Time) {
        let Some(port) = self.reals.get_mut(real).and_then(|real| real.ports.get_mut(&number)) else { return };
        if now < port.lingers_until {
            return;
        }
        let (past, fronts) = (&mut port.past, &mut self.fronts);
        port.flows.retain(|front, bound| {
            let gone = bound.unbound_at.is_some() && bound.flow.counters.current == 0;
            if gone {
                *past = past.plus(bound.flow.counters);
                if let Some(row) = fronts.get_mut(front) {
                    row.past = row.past.plus(bound.flow.counters);
                    row.members.remove(&(real.clone(), number));
                }
            }
            !gone
        });
        if port.reversed.is_some() && port.flows.values().all(|bound| bound.flow.counters.current == 0) {
            port.reversed = None;
            port.bound_at = now;
        }
    }

    /// The counters of a port of a virtual server.
    pub(super) fn front_counters(&self, front: &Front) -> Counters {
        let Some(row) = self.fronts.get(front) else { return Counters::default() };
        let flows = row.members.iter().filter_map(|(real, port)| {
            let port = self.reals.get(real)?.ports.get(port)?;
            Some(port.flows.get(front)?.flow.counters)
        });
        flows.fold(row.past, Counters::plus)
    }
}
