//! Applying a change that was found good.

use std::collections::BTreeMap;

use super::{Config, HTTP_CHECK, Real, RealPort, Virtual, VirtualPort};
use crate::slb::block::Block;
use crate::slb::change::{Change, Checked, Place};
use crate::slb::lines::Lines;
use crate::slb::words::{Admin, Name, Port, RealKind};

impl Config {
    /// Applies a change that [`Config::check`] has found good; one that it has not is left alone.
    pub fn apply(&mut self, change: &Change) {
        if self.check(change) != Ok(Checked::Needed) {
            return;
        }
        match change {
            Change::AddReal { name, address, kind } => {
                let ports = BTreeMap::from([(Port::DEFAULT, RealPort::default())]);
                self.real_ports += 1;
                self.addresses.insert(*address, name.clone());
                self.reals.or_insert_with(name, || Real {
                    address: *address,
                    kind: *kind,
                    admin: Admin::Enabled,
                    weight: None,
                    max_conn: None,
                    lines: Lines::default(),
                    ports,
                    leaving: false,
                });
            }
            Change::RemoveReal { name } => {
                let ports: Vec<Port> =
                    self.reals.get(name).into_iter().flat_map(|real| real.ports.keys().copied()).collect();
                for port in ports {
                    self.unbind_real_port(name, port);
                }
                if let Some(real) = self.reals.get_mut(name) {
                    real.leaving = true;
                }
            }
            Change::ForgetReal { name } => {
                if let Some(real) = self.reals.remove(name) {
                    self.real_ports -= real.ports.len();
                    self.addresses.remove(&real.address);
                }
            }
            Change::AddRealPort { real, port } => drop(self.real_port(real, *port)),
            Change::RemoveRealPort { real, port } => {
                self.unbind_real_port(real, *port);
                if let Some(port) = self.real_port(real, *port) {
                    port.leaving = true;
                }
            }
            Change::ForgetRealPort { real, port } => {
                if self.reals.get_mut(real).and_then(|real| real.ports.remove(port)).is_some() {
                    self.real_ports -= 1;
                }
            }
            Change::AddVirtual { name, address } => {
                self.virtual_ports += 1;
                self.addresses.insert(*address, name.clone());
                self.virtuals.or_insert_with(name, || Virtual {
                    address: *address,
                    admin: Admin::Enabled,
                    predictor: None,
                    lines: Lines::default(),
                    ports: BTreeMap::from([(Port::DEFAULT, VirtualPort::default())]),
                });
            }
            Change::RemoveVirtual { name } => {
                if let Some(server) = self.virtuals.remove(name) {
                    self.addresses.remove(&server.address);
                    self.virtual_ports -= server.ports.len();
                    for (port, row) in &server.ports {
                        self.forget_binds(name, *port, row);
                    }
                }
            }
            Change::AddVirtualPort { server, port } => drop(self.virtual_port(server, *port)),
            Change::RemoveVirtualPort { server, port } => {
                if let Some(row) = self.virtuals.get_mut(server).and_then(|server| server.ports.remove(port)) {
                    self.virtual_ports -= 1;
                    self.forget_binds(server, *port, &row);
                }
            }
            Change::Bind { server, port, to } => {
                for (real, real_port) in to {
                    if let Some(row) = self.real_port(real, *real_port) {
                        row.bound_to.insert((server.clone(), *port));
                    }
                    if let Some(row) = self.virtual_port(server, *port) {
                        row.binds.or_insert_with(&(real.clone(), *real_port), || ());
                        self.binds += 1;
                    }
                }
            }
            Change::Unbind { server, port, from } => {
                for (real, real_port) in from {
                    if let Some(row) = self.real_port(real, *real_port) {
                        row.bound_to.remove(&(server.clone(), *port));
                    }
                    if let Some(row) = self.virtual_port(server, *port) {
                        row.binds.remove(&(real.clone(), *real_port));
                        self.binds -= 1;
                    }
                }
            }
            Change::SetAdmin { place, admin } => self.set_admin(place, *admin),
            Change::SetWeight { real, weight } => {
                if let Some(real) = self.reals.get_mut(real) {
                    real.weight = *weight;
                }
            }
            Change::SetMaxConn { place, max } => match place {
                Place::Real(name) => {
                    if let Some(real) = self.reals.get_mut(name) {
                        real.max_conn = *max;
                    }
                }
                Place::RealPort(name, port) => {
                    if let Some(port) = self.real_port(name, *port) {
                        port.max_conn = *max;
                    }
                }
                _ => {}
            },
            Change::SetPredictor { server: None, predictor } => self.predictor = *predictor,
            Change::SetPredictor { server: Some(name), predictor } => {
                if let Some(server) = self.virtuals.get_mut(name) {
                    server.predictor = *predictor;
                }
            }
            Change::SetSticky { server, port, sticky } => {
                if let Some(port) = self.virtual_port(server, *port) {
                    port.sticky = *sticky;
                }
            }
            Change::SetLine { place, key, line } => self.set_line(place, key, line.as_deref()),
            Change::AddBlock { kind, name, header } => {
                let block = self.blocks.or_insert_with(&(*kind, name.clone()), || Block {
                    header: String::new(),
                    lines: Lines::default(),
                });
                block.header.clone_from(header);
            }
            Change::RemoveBlock { kind, name } => drop(self.blocks.remove(&(*kind, name.clone()))),
            Change::ClearSessions { .. } => {}
        }
    }

    /// The port of a real server, created if it is not there.
    fn real_port(&mut self, real: &Name, port: Port) -> Option<&mut RealPort> {
        let real = self.reals.get_mut(real)?;
        let checks_http = port == Port::HTTP && real.kind != RealKind::Cache;
        let count = &mut self.real_ports;
        Some(real.ports.entry(port).or_insert_with(|| {
            *count += 1;
            let mut row = RealPort::default();
            if checks_http {
                row.lines.set(HTTP_CHECK.0, Some(HTTP_CHECK.1));
            }
            row
        }))
    }

    /// The port of a virtual server, created if it is not there.
    fn virtual_port(&mut self, server: &Name, port: Port) -> Option<&mut VirtualPort> {
        let count = &mut self.virtual_ports;
        Some(self.virtuals.get_mut(server)?.ports.entry(port).or_insert_with(|| {
            *count += 1;
            VirtualPort::default()
        }))
    }

    /// Takes a real server's port out of every binding.
    fn unbind_real_port(&mut self, real: &Name, port: Port) {
        let row = self.reals.get_mut(real).and_then(|real| real.ports.get_mut(&port));
        let bound_to = row.map(|row| std::mem::take(&mut row.bound_to)).unwrap_or_default();
        for (server, virtual_port) in bound_to {
            if let Some(row) = self.virtual_port(&server, virtual_port) {
                row.binds.remove(&(real.clone(), port));
                self.binds -= 1;
            }
        }
    }

    /// A port of a virtual server has gone: the real servers forget it.
    fn forget_binds(&mut self, server: &Name, port: Port, row: &VirtualPort) {
        for ((real, real_port), ()) in row.binds.iter() {
            self.binds -= 1;
            if let Some(row) = self.reals.get_mut(real).and_then(|real| real.ports.get_mut(real_port)) {
                row.bound_to.remove(&(server.clone(), port));
            }
        }
    }

    fn set_admin(&mut self, place: &Place, admin: Admin) {
        let slot = match place {
            Place::Real(name) => self.reals.get_mut(name).map(|real| &mut real.admin),
            Place::RealPort(name, port) => self.real_port(name, *port).map(|port| &mut port.admin),
            Place::Virtual(name) => self.virtuals.get_mut(name).map(|server| &mut server.admin),
            Place::VirtualPort(name, port) => self.virtual_port(name, *port).map(|port| &mut port.admin),
            Place::System | Place::Block(..) => None,
        };
        if let Some(slot) = slot {
            *slot = admin;
        }
    }

    fn set_line(&mut self, place: &Place, key: &str, line: Option<&str>) {
        // Without a check of its own, port 80 goes back to the one it came with.
        let is_http = matches!(place, Place::RealPort(_, Port::HTTP));
        let line = if is_http && key == HTTP_CHECK.0 { line.or(Some(HTTP_CHECK.1)) } else { line };
        let lines = match place {
            Place::System => Some(&mut self.system),
            Place::Real(name) => self.reals.get_mut(name).map(|real| &mut real.lines),
            Place::RealPort(name, port) => self.real_port(name, *port).map(|port| &mut port.lines),
            Place::Virtual(name) => self.virtuals.get_mut(name).map(|server| &mut server.lines),
            Place::VirtualPort(name, port) => self.virtual_port(name, *port).map(|port| &mut port.lines),
            Place::Block(kind, name) => self.blocks.get_mut(&(*kind, name.clone())).map(|block| &mut block.lines),
        };
        if let Some(lines) = lines {
            lines.set(key, line);
        }
    }
}
