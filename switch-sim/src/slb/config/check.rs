//! Whether a change can be applied, and if not, why.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::{Config, Real, RealPort, Virtual, VirtualPort};
use crate::slb::change::{Change, Checked, Place, Refusal};
use crate::slb::lines::Lines;
use crate::slb::words::{Admin, Name, Port};

fn room(what: &'static str, now: usize, max: usize) -> Result<Checked, Refusal> {
    if now < max { Ok(Checked::Needed) } else { Err(Refusal::Full { what, max }) }
}

impl Config {
    /// Whether `change` can be applied. Says everything that [`Config::apply`] would stumble over.
    ///
    /// # Errors
    /// The first reason why not.
    pub fn check(&self, change: &Change) -> Result<Checked, Refusal> {
        let needed = |already: bool| if already { Checked::AlreadySo } else { Checked::Needed };
        match change {
            Change::AddReal { name, address, kind } => match self.reals.get(name) {
                Some(real) if real.leaving => Err(Refusal::RealLeaving { name: name.clone() }),
                Some(real) if real.address == *address && real.kind == *kind => Ok(Checked::AlreadySo),
                Some(_) => Err(Refusal::RealExists { name: name.clone() }),
                None => {
                    self.free(*address)?;
                    room("real servers", self.reals.len(), self.limits.reals)?;
                    room("real server ports", self.real_ports, self.limits.ports)
                }
            },
            Change::RemoveReal { name } => Ok(needed(self.known_real(name)?.leaving)),
            Change::ForgetReal { name } => Ok(needed(!self.known_real(name)?.leaving)),
            Change::AddRealPort { real, port } => self.check_real_port(real, *port),
            Change::RemoveRealPort { real, port } => {
                if *port == Port::DEFAULT {
                    return Err(Refusal::DefaultPort);
                }
                self.staying(real)?;
                Ok(needed(self.known_real_port(real, *port)?.leaving))
            }
            Change::ForgetRealPort { real, port } => {
                self.known_real(real)?;
                Ok(needed(!self.known_real_port(real, *port)?.leaving))
            }
            Change::AddVirtual { name, address } => {
                if self.virtuals.contains(name) {
                    return Err(Refusal::VirtualExists { name: name.clone() });
                }
                self.free(*address)?;
                room("virtual servers", self.virtuals.len(), self.limits.virtuals)?;
                room("virtual server ports", self.virtual_ports, self.limits.ports)
            }
            Change::RemoveVirtual { name } => self.known_virtual(name).map(|_| Checked::Needed),
            Change::AddVirtualPort { server, port } => self.check_virtual_port(server, *port),
            Change::RemoveVirtualPort { server, port } => {
                if *port == Port::DEFAULT {
                    return Err(Refusal::DefaultPort);
                }
                self.known_virtual_port(server, *port).map(|_| Checked::Needed)
            }
            Change::Bind { server, port, to } => self.check_bind(server, *port, to),
            Change::Unbind { server, port, from } => {
                let bound = &self.known_virtual_port(server, *port)?.binds;
                let mut seen = BTreeSet::new();
                match from.iter().find(|pair| !bound.contains(*pair) || !seen.insert(*pair)) {
                    Some((real, port)) => Err(Refusal::NotBound { real: real.clone(), port: *port }),
                    None => Ok(needed(from.is_empty())),
                }
            }
            Change::SetAdmin { place, admin } => {
                self.check_place(place)?;
                Ok(needed(self.admin(place) == Some(*admin)))
            }
            Change::SetWeight { real, weight } => Ok(needed(self.staying(real)?.weight == *weight)),
            Change::SetMaxConn { place, max } => {
                self.check_place(place)?;
                let now = match place {
                    Place::Real(name) => self.reals.get(name).map(|real| real.max_conn),
                    Place::RealPort(name, port) => {
                        self.reals.get(name).and_then(|real| real.ports.get(port)).map(|port| port.max_conn)
                    }
                    _ => None,
                };
                Ok(needed(now == Some(*max)))
            }
            Change::SetPredictor { server: None, predictor } => Ok(needed(self.predictor == *predictor)),
            Change::SetPredictor { server: Some(name), predictor } => {
                Ok(needed(self.known_virtual(name)?.predictor == *predictor))
            }
            Change::SetSticky { server, port, sticky } => {
                self.check_virtual_port(server, *port)?;
                let now = self.virtuals.get(server).and_then(|server| server.ports.get(port));
                Ok(needed(now.is_some_and(|port| port.sticky == *sticky)))
            }
            Change::SetLine { place, key, line } => {
                self.check_place(place)?;
                let lines = self.lines(place);
                let now = lines.and_then(|lines| lines.get(key));
                if now.is_none() && line.is_some() {
                    room("lines", lines.map_or(0, Lines::len), self.limits.lines)?;
                }
                Ok(needed(now == line.as_deref()))
            }
            Change::AddBlock { kind, name, header } => match self.block(*kind, name) {
                Some(block) => Ok(needed(block.header == *header)),
                None => room("entries", self.blocks.len(), self.limits.blocks),
            },
            Change::RemoveBlock { kind, name } => match self.block(*kind, name) {
                Some(_) => Ok(Checked::Needed),
                None => Err(Refusal::NoSuchBlock { kind: *kind, name: name.clone() }),
            },
            Change::ClearSessions { real } => self.known_real(real).map(|_| Checked::Needed),
        }
    }

    fn free(&self, address: IpAddr) -> Result<(), Refusal> {
        if address.is_unspecified() || address.is_multicast() {
            return Err(Refusal::BadAddress { address });
        }
        match self.at_address(address) {
            Some(by) => Err(Refusal::AddressInUse { address, by: by.clone() }),
            None => Ok(()),
        }
    }

    fn known_real(&self, name: &Name) -> Result<&Real, Refusal> {
        self.reals.get(name).ok_or_else(|| Refusal::NoSuchReal { name: name.clone() })
    }

    /// A real server that is not on its way out.
    fn staying(&self, name: &Name) -> Result<&Real, Refusal> {
        let real = self.known_real(name)?;
        if real.leaving { Err(Refusal::RealLeaving { name: name.clone() }) } else { Ok(real) }
    }

    fn known_real_port(&self, name: &Name, port: Port) -> Result<&RealPort, Refusal> {
        let missing = || Refusal::NoSuchPort { server: name.clone(), port };
        self.known_real(name)?.ports.get(&port).ok_or_else(missing)
    }

    fn known_virtual(&self, name: &Name) -> Result<&Virtual, Refusal> {
        self.virtuals.get(name).ok_or_else(|| Refusal::NoSuchVirtual { name: name.clone() })
    }

    fn known_virtual_port(&self, name: &Name, port: Port) -> Result<&VirtualPort, Refusal> {
        let missing = || Refusal::NoSuchPort { server: name.clone(), port };
        self.known_virtual(name)?.ports.get(&port).ok_or_else(missing)
    }

    /// Whether a port is there, or could be.
    fn check_real_port(&self, real: &Name, port: Port) -> Result<Checked, Refusal> {
        match self.staying(real)?.ports.get(&port) {
            Some(row) if row.leaving => Err(Refusal::RealLeaving { name: real.clone() }),
            Some(_) => Ok(Checked::AlreadySo),
            None => room("real server ports", self.real_ports, self.limits.ports),
        }
    }

    fn check_virtual_port(&self, server: &Name, port: Port) -> Result<Checked, Refusal> {
        match self.known_virtual(server)?.ports.get(&port) {
            Some(_) => Ok(Checked::AlreadySo),
            None => room("virtual server ports", self.virtual_ports, self.limits.ports),
        }
    }

    fn check_bind(&self, server: &Name, port: Port, to: &[(Name, Port)]) -> Result<Checked, Refusal> {
        let bound = &self.known_virtual_port(server, port)?.binds;
        if port == Port::DEFAULT && to.iter().any(|(_, real_port)| *real_port != Port::DEFAULT) {
            return Err(Refusal::DefaultPort);
        }
        let mut seen = BTreeSet::new();
        for (real, real_port) in to {
            let row = self.staying(real)?.ports.get(real_port);
            match row {
                None => return Err(Refusal::NoSuchPort { server: real.clone(), port: *real_port }),
                Some(row) if row.leaving => return Err(Refusal::RealLeaving { name: real.clone() }),
                Some(_) => {}
            }
            if bound.contains(&(real.clone(), *real_port)) || !seen.insert((real, *real_port)) {
                return Err(Refusal::AlreadyBound { real: real.clone(), port: *real_port });
            }
        }
        room("bindings", self.binds + to.len().saturating_sub(1), self.limits.binds)?;
        Ok(if to.is_empty() { Checked::AlreadySo } else { Checked::Needed })
    }

    /// Whether a place is there, or would be created by a change to it.
    fn check_place(&self, place: &Place) -> Result<Checked, Refusal> {
        match place {
            Place::System => Ok(Checked::AlreadySo),
            Place::Real(name) => self.staying(name).map(|_| Checked::AlreadySo),
            Place::RealPort(name, port) => self.check_real_port(name, *port),
            Place::Virtual(name) => self.known_virtual(name).map(|_| Checked::AlreadySo),
            Place::VirtualPort(name, port) => self.check_virtual_port(name, *port),
            Place::Block(kind, name) => match self.block(*kind, name) {
                Some(_) => Ok(Checked::AlreadySo),
                None => Err(Refusal::NoSuchBlock { kind: *kind, name: name.clone() }),
            },
        }
    }

    fn admin(&self, place: &Place) -> Option<Admin> {
        match place {
            Place::Real(name) => self.reals.get(name).map(|real| real.admin),
            Place::RealPort(name, port) => self.reals.get(name)?.ports.get(port).map(|port| port.admin),
            Place::Virtual(name) => self.virtuals.get(name).map(|server| server.admin),
            Place::VirtualPort(name, port) => self.virtuals.get(name)?.ports.get(port).map(|port| port.admin),
            Place::System | Place::Block(..) => None,
        }
    }

    /// The other lines of a place that is there.
    pub fn lines(&self, place: &Place) -> Option<&Lines> {
        match place {
            Place::System => Some(&self.system),
            Place::Real(name) => self.reals.get(name).map(|real| &real.lines),
            Place::RealPort(name, port) => self.reals.get(name)?.ports.get(port).map(|port| &port.lines),
            Place::Virtual(name) => self.virtuals.get(name).map(|server| &server.lines),
            Place::VirtualPort(name, port) => self.virtuals.get(name)?.ports.get(port).map(|port| &port.lines),
            Place::Block(kind, name) => self.block(*kind, name).map(|block| &block.lines),
        }
    }
}
