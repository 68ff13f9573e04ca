//! What a ServerIron's configuration wants of the switch, in the contract's words.

use std::net::SocketAddr;

use switch_sim::slb::change::Place;
use switch_sim::slb::config::{Config, Real, RealPort, Virtual};
use switch_sim::slb::words::{Admin, Name, Port, Predictor, Protocol};

use super::content;
use crate::acm::primitive::Add;
use crate::acm::words::{BindingKey, HealthProfile, HttpCheck, Scheduler, ServiceKey};

/// A binding as the command line names it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Bind {
    pub(super) server: Name,
    pub(super) port: Port,
    pub(super) real: Name,
    pub(super) real_port: Port,
}

impl Bind {
    pub(super) fn real_port_place(&self) -> Place {
        Place::RealPort(self.real.clone(), self.real_port)
    }

    pub(super) fn virtual_port_place(&self) -> Place {
        Place::VirtualPort(self.server.clone(), self.port)
    }
}

/// The service a virtual server's port stands for.
pub(super) fn service(config: &Config, server: &Virtual, port: Port) -> ServiceKey {
    let addr = SocketAddr::new(server.address, port.number());
    match config.protocol(port) {
        Protocol::Tcp => ServiceKey::tcp(addr),
        Protocol::Udp => ServiceKey::udp(addr),
    }
}

/// The contract's binding of a bind, whether or not it is in service; `None` if one of the servers is not there.
pub(super) fn key(config: &Config, bind: &Bind) -> Option<BindingKey> {
    let server = config.virtual_server(&bind.server)?;
    let real = config.real(&bind.real)?;
    let real = SocketAddr::new(real.address, bind.real_port.number());
    Some(BindingKey { service: service(config, server, bind.port), real })
}

/// Whether both ends of a bind, and their servers, are enabled.
pub(super) fn is_in_service(config: &Config, bind: &Bind) -> bool {
    config.real(&bind.real).is_some_and(|real| !real.leaving) && disabled_places(config, bind).is_empty()
}

/// Which of a bind's ends and their servers are disabled; the more particular place first.
pub(super) fn disabled_places(config: &Config, bind: &Bind) -> Vec<Place> {
    let (server, real) = (config.virtual_server(&bind.server), config.real(&bind.real));
    let places = [
        (real.and_then(|real| real.ports.get(&bind.real_port)).map(|port| port.admin), bind.real_port_place()),
        (real.map(|real| real.admin), Place::Real(bind.real.clone())),
        (server.and_then(|server| server.ports.get(&bind.port)).map(|port| port.admin), bind.virtual_port_place()),
        (server.map(|server| server.admin), Place::Virtual(bind.server.clone())),
    ];
    places.into_iter().filter(|(admin, _)| *admin == Some(Admin::Disabled)).map(|(_, place)| place).collect()
}

/// The binds a real server's port has.
pub(super) fn binds_of_port(real: &Name, port: Port, row: &RealPort) -> Vec<Bind> {
    let bind =
        |(server, at): (&Name, Port)| Bind { server: server.clone(), port: at, real: real.clone(), real_port: port };
    row.bound_to().map(bind).collect()
}

/// The binds a real server has.
pub(super) fn binds_of_real(config: &Config, name: &Name) -> Vec<Bind> {
    let ports = config.real(name).into_iter().flat_map(|real| &real.ports);
    ports.flat_map(|(port, row)| binds_of_port(name, *port, row)).collect()
}

/// The binds a virtual server's port has, in their order.
pub(super) fn binds_of_virtual_port(config: &Config, name: &Name, port: Port) -> Vec<Bind> {
    let row = config.virtual_server(name).and_then(|server| server.ports.get(&port));
    let binds = row.into_iter().flat_map(|row| row.binds.iter());
    let bind = |((real, real_port), ()): (&(Name, Port), &())| Bind {
        server: name.clone(),
        port,
        real: real.clone(),
        real_port: *real_port,
    };
    binds.map(bind).collect()
}

/// The binds a virtual server has.
pub(super) fn binds_of_virtual(config: &Config, name: &Name) -> Vec<Bind> {
    let ports = config.virtual_server(name).into_iter().flat_map(|server| server.ports.keys());
    ports.flat_map(|port| binds_of_virtual_port(config, name, *port)).collect()
}

/// Whether the configuration binds this key and has it in service.
pub(super) fn has(config: &Config, key: &BindingKey) -> bool {
    bind_of(config, key).is_some_and(|bind| is_in_service(config, &bind))
}

/// The bind of a key, in service or not.
pub(super) fn bind_of(config: &Config, key: &BindingKey) -> Option<Bind> {
    let (server, port) = virtual_port_of(config, &key.service)?;
    let name = config.at_address(key.real.ip())?;
    let real_port = Port::new(key.real.port());
    let row = config.real(name)?.ports.get(&real_port)?;
    let is_bound = row.bound_to().any(|(to, at)| *to == server && at == port);
    is_bound.then(|| Bind { server, port, real: name.clone(), real_port })
}

/// The virtual server's port that stands for a service.
pub(super) fn virtual_port_of(config: &Config, key: &ServiceKey) -> Option<(Name, Port)> {
    let name = config.at_address(key.vip())?;
    let server = config.virtual_server(name)?;
    let port = Port::new(key.addr.port());
    (server.ports.contains_key(&port) && service(config, server, port) == *key).then(|| (name.clone(), port))
}

/// The Add a bind comes to.
pub(super) fn add(config: &Config, bind: &Bind) -> Option<Add> {
    let group = content::group_for(config, bind);
    add_anywhere(config, bind).map(|add| Add { group, ..add })
}

/// The same in the group where it is.
pub(super) fn add_anywhere(config: &Config, bind: &Bind) -> Option<Add> {
    let key = key(config, bind)?;
    let real = config.real(&bind.real)?;
    let row = real.ports.get(&bind.real_port);
    Some(Add {
        weight: Some(real.weight.map_or(1, weight)),
        max_conns: row.and_then(|row| row.max_conn).or(real.max_conn),
        health: Some(health(real, bind.real_port, row)),
        ..Add::new(key.service, key.real)
    })
}

/// A weight as the contract has it; what is too large for it was refused before.
pub(super) fn weight(weight: u32) -> u16 {
    u16::try_from(weight).unwrap_or(u16::MAX)
}

/// The checks of a real server's port: L2 to L4 always; the request of `port http url` once `keepalive` makes it
/// periodic, as on the device.
fn health(real: &Real, port: Port, row: Option<&RealPort>) -> HealthProfile {
    let profile = HealthProfile::default();
    let says = |word: &str| row.is_some_and(|row| row.lines.iter().any(|(_, line)| line == word));
    let url = row.and_then(|row| row.lines.iter().find_map(|(_, line)| line.strip_prefix("url ")));
    let path = url.and_then(|text| request_path(text.trim().trim_matches('"')));
    let is_plain_http = port != Port::SSL;
    match path {
        Some(path) if says("keepalive") && !says("l4-check-only") && is_plain_http && !real.leaving => {
            let http = HttpCheck { path: path.to_owned(), host: None, status: 200, contains: None };
            HealthProfile { http: Some(http), ..profile }
        }
        _ => profile,
    }
}

/// `/status.html` of `GET /status.html HTTP/1.0`. A HEAD has no body to look at, and the switch asks with GET.
fn request_path(request: &str) -> Option<&str> {
    request.split_whitespace().find(|word| word.starts_with('/'))
}

/// The contract's scheduler of a predictor; `None` for one it has no equivalent of.
pub(super) fn scheduler(predictor: Predictor) -> Option<Scheduler> {
    match predictor {
        Predictor::LeastConn | Predictor::LeastLocalConn | Predictor::LeastLocalSess => Some(Scheduler::LeastConn),
        Predictor::RoundRobin => Some(Scheduler::RoundRobin),
        Predictor::Weighted | Predictor::WeightedRoundRobin | Predictor::EnhancedWeighted => Some(Scheduler::Weighted),
        Predictor::ResponseTime | Predictor::DynamicWeightedDirect | Predictor::DynamicWeightedReverse => None,
    }
}

/// The predictor of a scheduler; `None` for one the device has no word for.
pub(super) fn predictor(scheduler: Scheduler) -> Option<Predictor> {
    match scheduler {
        Scheduler::LeastConn => Some(Predictor::LeastConn),
        Scheduler::RoundRobin => Some(Predictor::RoundRobin),
        Scheduler::Weighted => Some(Predictor::Weighted),
        Scheduler::Random | Scheduler::SourceHash | Scheduler::UrlHash | Scheduler::CookieHash => None,
    }
}

/// How a virtual server chooses: its own predictor, or the device's, or the default.
pub(super) fn predictor_of(config: &Config, server: &Virtual) -> Predictor {
    server.predictor.or(config.predictor()).unwrap_or_default()
}
