//! What happened behind the command line's back, as changes of its configuration.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::net::IpAddr;

use switch_sim::slb::block::BlockKind;
use switch_sim::slb::change::{Change, Place};
use switch_sim::slb::config::Config;
use switch_sim::slb::words::{Admin, Name, Port, Protocol, RealKind};

use super::reword;
use super::seen::Seen;
use super::wants::{self, Bind};
use crate::acm::list::{BindingRow, State};
use crate::acm::words::{BindingKey, ServiceKey, default_group};
use crate::base::addr;

/// Changes, and what has no words.
pub(super) struct Amendments {
    pub(super) changes: Vec<Change>,
    /// The configuration with the changes.
    pub(super) config: Config,
    pub(super) nameless: Vec<BindingKey>,
}

/// Compares what there is with what is configured. `leaving` are services that the command line has removed and whose
/// connections are still finishing.
pub(super) fn amendments(seen: &Seen, config: &Config, leaving: &HashSet<ServiceKey>) -> Amendments {
    let mut writer = Writer { config: config.clone(), changes: Vec::new(), nameless: Vec::new() };
    let mut services: Vec<_> = seen.services().filter(|row| !leaving.contains(&row.service)).collect();
    services.sort_by_key(|row| row.service);
    for row in &services {
        if writer.virtual_port(&row.service).is_some() {
            writer.set_predictor(row.service, row);
        }
    }
    let mut rows: Vec<_> = seen.bindings().filter(|row| row.state != State::Draining).collect();
    rows.sort_by_key(|row| row.key);
    rows.iter().filter(|row| !leaving.contains(&row.key.service)).for_each(|row| writer.put(row));
    writer.set_options(&rows);
    writer.unbind_missing(seen);
    // Their groups' ways to choose are judged beside the predictors, which are set by now.
    for row in &services {
        reword::service(&mut writer, row);
    }
    let staying: Vec<_> = rows.into_iter().filter(|row| !leaving.contains(&row.key.service)).collect();
    staying.iter().for_each(|row| reword::binding(&mut writer, row, &staying));
    let Writer { config, changes, nameless } = writer;
    Amendments { changes, config, nameless }
}

/// Writes changes into a copy of the configuration as it goes, so that each is checked against those before it.
pub(super) struct Writer {
    pub(super) config: Config,
    changes: Vec<Change>,
    nameless: Vec<BindingKey>,
}

impl Writer {
    pub(super) fn change(&mut self, change: Change) {
        use switch_sim::slb::change::Checked;
        if self.config.check(&change) == Ok(Checked::Needed) {
            self.config.apply(&change);
            self.changes.push(change);
        }
    }

    /// Puts a line in its place; `None` takes it away.
    pub(super) fn line(&mut self, place: &Place, key: &str, line: Option<&str>) {
        let line = line.map(str::to_owned);
        self.change(Change::SetLine { place: place.clone(), key: key.to_owned(), line });
    }

    fn put(&mut self, row: &BindingRow) {
        if let Some(bind) = wants::bind_of(&self.config, &row.key) {
            self.put_in_service(&bind);
            return;
        }
        let Some(bind) = self.name(&row.key) else {
            self.nameless.push(row.key);
            return;
        };
        let Bind { server, port, real, real_port } = bind.clone();
        self.change(Change::AddRealPort { real: real.clone(), port: real_port });
        self.change(Change::Bind { server, port, to: vec![(real, real_port)] });
        if wants::bind_of(&self.config, &row.key).is_none() {
            self.nameless.push(row.key);
            return;
        }
        self.put_in_service(&bind);
    }

    fn put_in_service(&mut self, bind: &Bind) {
        for place in wants::disabled_places(&self.config, bind) {
            self.change(Change::SetAdmin { place, admin: Admin::Enabled });
        }
    }

    /// The names of a binding's ends, made if need be; `None` if the command line cannot name them.
    fn name(&mut self, key: &BindingKey) -> Option<Bind> {
        let (server, port) = self.virtual_port(&key.service)?;
        let real = match self.config.at_address(key.real.ip()).cloned() {
            Some(name) => self.config.real(&name).filter(|real| !real.leaving).map(|_| name)?,
            None => {
                let name = self.free_name("rs", key.real.ip())?;
                self.change(Change::AddReal { name: name.clone(), address: key.real.ip(), kind: RealKind::Local });
                self.config.real(&name)?;
                name
            }
        };
        Some(Bind { server, port, real, real_port: Port::new(key.real.port()) })
    }

    /// The virtual server's port of a service, made if need be.
    fn virtual_port(&mut self, key: &ServiceKey) -> Option<(Name, Port)> {
        if let Some(known) = wants::virtual_port_of(&self.config, key) {
            return Some(known);
        }
        let port = Port::new(key.addr.port());
        self.set_protocol(port, key)?;
        let server = match self.config.at_address(key.vip()).cloned() {
            Some(name) => self.config.virtual_server(&name).map(|_| name)?,
            None => {
                let name = self.free_name("vs", key.vip())?;
                self.change(Change::AddVirtual { name: name.clone(), address: key.vip() });
                self.config.virtual_server(&name)?;
                name
            }
        };
        self.change(Change::AddVirtualPort { server, port });
        wants::virtual_port_of(&self.config, key)
    }

    /// A port has one protocol on the whole device. `None` if it is the other one already.
    fn set_protocol(&mut self, port: Port, key: &ServiceKey) -> Option<()> {
        let wanted = match key.protocol {
            addr::Protocol::Tcp => Protocol::Tcp,
            addr::Protocol::Udp => Protocol::Udp,
        };
        if self.config.protocol(port) == wanted {
            return Some(());
        }
        let is_used = self.config.virtuals().any(|(_, server)| server.ports.contains_key(&port));
        if is_used || wanted == Protocol::Tcp {
            return None;
        }
        let number = port.number().to_string();
        let name = Name::new(&number).ok()?;
        let header = format!("server port {number}");
        self.change(Change::AddBlock { kind: BlockKind::PortProfile, name: name.clone(), header });
        let place = Place::Block(BlockKind::PortProfile, name);
        self.change(Change::SetLine { place, key: "udp".into(), line: Some("udp".into()) });
        (self.config.protocol(port) == wanted).then_some(())
    }

    /// A name made from an address, which nobody else bears.
    fn free_name(&self, prefix: &str, ip: IpAddr) -> Option<Name> {
        // An IPv6 address with its colons may be longer than a name.
        let text = match ip {
            IpAddr::V4(ip) => ip.to_string(),
            IpAddr::V6(ip) => ip.to_string().replace("::", ".."),
        };
        let candidates =
            std::iter::once(format!("{prefix}-{text}")).chain((2..10).map(|n| format!("{prefix}{n}-{text}")));
        let free = |name: &Name| self.config.real(name).is_none() && self.config.virtual_server(name).is_none();
        candidates.filter_map(|text| Name::new(&text).ok()).find(free)
    }

    /// A virtual server chooses as its services do, if they all do alike and the device has a word for it.
    fn set_predictor(&mut self, key: ServiceKey, row: &crate::acm::list::ServiceRow) {
        let group = row.groups.iter().find(|group| group.group == default_group());
        let Some(predictor) = group.and_then(|group| wants::predictor(group.scheduler)) else { return };
        let Some((name, _)) = wants::virtual_port_of(&self.config, &key) else { return };
        let Some(server) = self.config.virtual_server(&name) else { return };
        let in_force = wants::predictor_of(&self.config, server);
        if wants::scheduler(in_force) != wants::scheduler(predictor) {
            self.change(Change::SetPredictor { server: Some(name), predictor: Some(predictor) });
        }
    }

    /// Weights and limits, where all bindings of a real server agree.
    fn set_options(&mut self, rows: &[&BindingRow]) {
        let mut weights: BTreeMap<IpAddr, BTreeSet<u16>> = BTreeMap::new();
        for row in rows {
            weights.entry(row.key.real.ip()).or_default().insert(row.weight);
        }
        for (ip, weights) in weights {
            let Some(name) = self.config.at_address(ip).cloned() else { continue };
            let (Some(real), Some(weight)) = (self.config.real(&name), weights.first()) else { continue };
            if weights.len() == 1 && real.weight.map_or(1, wants::weight) != *weight {
                self.change(Change::SetWeight { real: name, weight: Some(u32::from(*weight)) });
            }
        }
        for row in rows {
            let Some(bind) = wants::bind_of(&self.config, &row.key) else { continue };
            let in_force = wants::add(&self.config, &bind).and_then(|add| add.max_conns);
            if in_force != row.max_conns {
                self.change(Change::SetMaxConn { place: bind.real_port_place(), max: row.max_conns });
            }
        }
    }

    /// What is configured to be in service and is not there has been removed by somebody.
    fn unbind_missing(&mut self, seen: &Seen) {
        let servers: Vec<Name> = self.config.virtuals().map(|(name, _)| name.clone()).collect();
        for server in servers {
            for bind in wants::binds_of_virtual(&self.config, &server) {
                let key = wants::key(&self.config, &bind);
                let is_there = key.is_some_and(|key| seen.row(&key).is_some_and(|row| row.state != State::Draining));
                if !is_there && wants::is_in_service(&self.config, &bind) {
                    let Bind { server, port, real, real_port } = bind;
                    self.change(Change::Unbind { server, port, from: vec![(real, real_port)] });
                }
            }
        }
    }
}
