//! What a change does to the simulated servers, and how long it takes.

use std::net::SocketAddr;
use std::time::Duration;

use super::checks::Outcome;
use super::world::{Bound, SimReal};
use super::{Found, Pace, SimulatedBox, XL_UNCLEARED_PERCENT, watched};
use crate::personality::Personality;
use crate::quirk::Quirk;
use crate::slb::block::BlockKind;
use crate::slb::change::{Change, Place};
use crate::slb::report::PortState;
use crate::slb::words::{Admin, Name, Port, Protocol};

impl SimulatedBox {
    /// How long the real box would take.
    pub(super) fn takes(&self, change: &Change) -> Duration {
        let times = |each: Duration, many: usize| each * u32::try_from(many).unwrap_or(u32::MAX);
        match change {
            Change::Bind { to, .. } => times(Pace::BIND, to.len()),
            Change::Unbind { from, .. } => times(Pace::UNBIND, from.len()),
            Change::RemoveReal { name } => {
                let ports = self.world.reals.get(name).into_iter().flat_map(|real| real.ports.values());
                let bound = |bound: &&Bound| bound.unbound_at.is_none();
                times(Pace::UNBIND, ports.map(|port| port.flows.values().filter(bound).count()).sum())
            }
            Change::RemoveVirtual { name } => {
                let rows = self.world.fronts.iter().filter(|((server, _), _)| server == name);
                times(Pace::UNBIND, rows.map(|(_, row)| row.members.len()).sum())
            }
            _ => Duration::ZERO,
        }
    }

    /// The change happens.
    pub(super) fn obey(&mut self, change: &Change) {
        let now = self.now;
        match change {
            Change::AddReal { name, address, .. } => {
                let life = self.world.life(*address, None, now);
                self.world.by_address.insert(*address, name.clone());
                let real = SimReal {
                    address: *address,
                    admin: Admin::Enabled,
                    max_conn: None,
                    life,
                    ports: Default::default(),
                    leaving: false,
                };
                self.world.reals.insert(name.clone(), real);
            }
            Change::RemoveReal { name } => {
                let Some(real) = self.world.reals.get_mut(name) else { return };
                real.leaving = true;
                real.ports.values_mut().for_each(|port| port.leaving = true);
                let mut ports: Vec<Port> = real.ports.keys().copied().collect();
                if ports.is_empty() {
                    ports.push(Port::DEFAULT);
                }
                for port in ports {
                    self.release(name, port, |_| true);
                    self.finishing.insert((name.clone(), port));
                }
            }
            Change::AddRealPort { real, port } => drop(self.world.port(real, *port, now)),
            Change::RemoveRealPort { real, port } => {
                if let Some(row) = self.world.port(real, *port, now) {
                    row.leaving = true;
                }
                self.release(real, *port, |_| true);
                self.finishing.insert((real.clone(), *port));
            }
            Change::RemoveVirtual { name } => {
                let fronts: Vec<Port> =
                    self.world.fronts.keys().filter(|(server, _)| server == name).map(|(_, port)| *port).collect();
                fronts.into_iter().for_each(|port| self.close_front(name, port));
            }
            Change::RemoveVirtualPort { server, port } => self.close_front(server, *port),
            Change::Bind { server, port, to } => {
                for (real, real_port) in to {
                    self.bind(server, *port, real, *real_port);
                }
            }
            Change::Unbind { server, port, from } => {
                let front = (server.clone(), *port);
                for (real, real_port) in from {
                    self.release(real, *real_port, |bound_to| *bound_to == front);
                }
            }
            Change::SetAdmin { place, admin } => self.set_admin(place, *admin),
            Change::SetMaxConn { place: Place::Real(name), max } => {
                if let Some(real) = self.world.reals.get_mut(name) {
                    real.max_conn = *max;
                }
            }
            Change::SetMaxConn { place: Place::RealPort(name, port), max } => {
                if let Some(port) = self.world.port(name, *port, now) {
                    port.max_conn = *max;
                }
            }
            Change::SetLine { place: Place::RealPort(name, port), key, line } if key == "keepalive" => {
                if let Some(port) = self.world.port(name, *port, now) {
                    port.keepalive = line.is_some();
                }
            }
            Change::SetLine { place: Place::System, key, line } if key == "server force-delete" => {
                self.force_delete = line.is_some();
            }
            Change::AddBlock { kind: BlockKind::PortProfile, name, .. } => {
                if let Ok(port) = name.as_str().parse() {
                    self.profiles.entry(port).or_insert(Protocol::Tcp);
                }
            }
            Change::RemoveBlock { kind: BlockKind::PortProfile, name } => {
                if let Ok(port) = name.as_str().parse::<Port>() {
                    self.profiles.remove(&port);
                }
            }
            Change::SetLine { place: Place::Block(BlockKind::PortProfile, name), key, line: Some(_) } => {
                let says = if key.starts_with("udp") { Some(Protocol::Udp) } else { None };
                let says = if key.starts_with("tcp") { Some(Protocol::Tcp) } else { says };
                if let (Ok(port), Some(protocol)) = (name.as_str().parse(), says) {
                    self.profiles.insert(port, protocol);
                }
            }
            Change::ClearSessions { real } => self.clear(real),
            _ => {}
        }
    }

    fn bind(&mut self, server: &Name, port: Port, real: &Name, real_port: Port) {
        let now = self.now;
        let front = (server.clone(), port);
        self.world.fronts.entry(front.clone()).or_default().members.insert((real.clone(), real_port));
        let gentle = self.settings.personality == Personality::Acm;
        let Some(row) = self.world.port(real, real_port, now) else { return };
        // Bound again while the old connections are still finishing: they finish first, and until then nobody new comes.
        let finishing = !row.is_bound() && row.is_finishing(now);
        if !row.is_bound() {
            row.bound_at = now;
        }
        if finishing && !gentle {
            row.reversed = Some(PortState::AwaitUnbind);
        }
        row.flows.entry(front).or_insert_with(|| Bound { flow: Default::default(), unbound_at: None }).unbound_at =
            None;
        if row.reversed.is_some() {
            self.finishing.insert((real.clone(), real_port));
        }
        self.watch(real, real_port);
    }

    /// Unbinds a real server's port from the virtual ports that `which` names.
    fn release(&mut self, real: &Name, real_port: Port, which: impl Fn(&(Name, Port)) -> bool) {
        let now = self.now;
        let lingers = self.settings.quirks.fires(Quirk::AwStates, now);
        let span = self.settings.quirks.span(Quirk::AwStates);
        let Some(row) = self.world.port(real, real_port, now) else { return };
        let mut any = false;
        for (_, bound) in row.flows.iter_mut().filter(|(front, bound)| bound.unbound_at.is_none() && which(front)) {
            bound.unbound_at = Some(now);
            any = true;
        }
        if lingers && (any || row.leaving) {
            row.lingers_until = now + span;
        }
        if any {
            self.finishing.insert((real.clone(), real_port));
        }
    }

    fn close_front(&mut self, server: &Name, port: Port) {
        let front = (server.clone(), port);
        let Some(row) = self.world.fronts.remove(&front) else { return };
        for (real, real_port) in row.members {
            self.release(&real, real_port, |bound_to| *bound_to == front);
        }
    }

    fn set_admin(&mut self, place: &Place, admin: Admin) {
        let now = self.now;
        let gentle = self.settings.personality == Personality::Acm;
        match place {
            Place::Real(name) => {
                if let Some(real) = self.world.reals.get_mut(name) {
                    real.admin = admin;
                }
            }
            Place::RealPort(name, number) => {
                let Some(port) = self.world.port(name, *number, now) else { return };
                if admin == Admin::Enabled && port.current() > 0 && !gentle {
                    port.reversed = Some(PortState::Disabled);
                }
                port.admin = admin;
                port.disabled_at = (admin == Admin::Disabled).then_some(now);
                if port.reversed.is_some() || admin == Admin::Disabled {
                    self.finishing.insert((name.clone(), *number));
                }
            }
            Place::System | Place::Virtual(_) | Place::VirtualPort(..) | Place::Block(..) => {}
        }
    }

    /// `clear server session`.
    fn clear(&mut self, real: &Name) {
        let unreliable = self.settings.personality == Personality::Xl;
        let Some(real) = self.world.reals.get_mut(real) else { return };
        for bound in real.ports.values_mut().flat_map(|port| port.flows.values_mut()) {
            let connections = bound.flow.counters.current.min(10_000);
            let chance = &mut self.chance;
            let stays = |_: &u64| unreliable && chance.u32(..100) < XL_UNCLEARED_PERCENT;
            bound.flow.counters.current = (0..connections).filter(stays).count() as u64;
            bound.flow.held = bound.flow.held.min(bound.flow.counters.current);
        }
    }

    /// A port is checked from now on, if there are real checks.
    fn watch(&mut self, real: &Name, port: Port) {
        let Some(address) = self.world.reals.get(real).map(|real| real.address) else { return };
        if self.settings.checks.is_none() || port == Port::DEFAULT || !watched(&self.settings, &self.profiles, port) {
            return;
        }
        let target = SocketAddr::new(address, port.number());
        let found = self.found.entry(target).or_insert(Found { failures: None, users: 0 });
        found.users += 1;
        if found.users == 1 {
            self.checking.insert((self.now, target));
        }
    }

    /// Begins the checks that are due and takes what others have found.
    pub(super) fn check(&mut self) {
        let (now, interval) = (self.now, self.settings.times.check_interval);
        let Some(checks) = &mut self.settings.checks else { return };
        while let Some((at, target)) = self.checking.pop_first() {
            if at > now {
                self.checking.insert((at, target));
                break;
            }
            let bound = self.world.by_address.get(&target.ip()).and_then(|name| self.world.reals.get(name));
            let port = bound.and_then(|real| real.ports.get(&Port::new(target.port())));
            if port.is_none_or(|port| !port.is_bound()) {
                self.found.remove(&target);
                continue;
            }
            checks.begin(target);
            self.checking.insert((now + interval, target));
        }
        for (target, outcome) in checks.outcomes() {
            if let Some(found) = self.found.get_mut(&target) {
                found.failures = Some(match outcome {
                    Outcome::Accepts => 0,
                    Outcome::Refuses => found.failures.unwrap_or(self.settings.times.check_retries).saturating_add(1),
                });
            }
        }
    }

    /// The state of a port: as scripted, or as the checks have found.
    pub(super) fn port_state(&self, real: &SimReal, port: Port) -> PortState {
        let state = real.port_state(port, &self.settings.times, self.now);
        let serving = matches!(state, PortState::Testing | PortState::Active | PortState::Suspect | PortState::Failed);
        let found = self.found.get(&SocketAddr::new(real.address, port.number()));
        match found.filter(|_| serving && self.settings.checks.is_some()) {
            None => state,
            Some(Found { failures: None, .. }) => PortState::Testing,
            Some(Found { failures: Some(0), .. }) => PortState::Active,
            Some(Found { failures: Some(n), .. }) if *n <= self.settings.times.check_retries => PortState::Suspect,
            Some(_) => PortState::Failed,
        }
    }
}
