//! From one change of the command line's configuration to primitives.

use std::net::IpAddr;

use switch_sim::slb::change::{Change, Place, Refusal};
use switch_sim::slb::config::Config;
use switch_sim::slb::words::{Admin, Name, Port, Predictor};

use super::content;
use super::wants::{self, Bind};
use crate::acm::primitive::{Add, ForceRemove, Primitive, Remove, RemoveService, SetService};
use crate::acm::words::{BindingKey, ServiceKey};

/// The most the contract takes for a weight.
const WEIGHT_MAX: u32 = 1000;

/// What a change comes to.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Plan {
    /// To be performed in this order, all of them or none.
    pub(super) primitives: Vec<Primitive>,
    /// What these services are to leave behind once their last connection has ended: nothing.
    pub(super) leaving: Vec<ServiceKey>,
    /// The real server whose connections are to be cut first, in and out of service.
    pub(super) cut: Option<IpAddr>,
    /// Whether its Adds make bindings that were not there: when one is refused, those before it are taken back.
    pub(super) is_new: bool,
    /// Performed first; if refused, nothing else is.
    pub(super) first: Vec<Primitive>,
    /// Performed if anything of `primitives` is refused.
    pub(super) undo: Vec<Primitive>,
}

impl Plan {
    fn of(primitives: Vec<Primitive>) -> Plan {
        Plan { primitives, ..Plan::default() }
    }

    /// Nothing to do: the change is the configuration's own affair.
    pub(super) fn is_empty(&self) -> bool {
        self.primitives.is_empty() && self.first.is_empty() && self.leaving.is_empty() && self.cut.is_none()
    }
}

/// The plan of a change.
///
/// # Errors
/// The switch has no equivalent.
pub(super) fn plan(change: &Change, config: &Config) -> Result<Plan, Refusal> {
    if content::is_about(change) {
        let content::Turn { first, then, undo } = content::turn(change, config)?;
        return Ok(Plan { first, undo, ..Plan::of(then) });
    }
    let removals = |binds: Vec<Bind>| Plan::of(removals(config, &binds));
    Ok(match change {
        Change::Bind { server, port, to } => Plan { is_new: true, ..Plan::of(bind(config, server, *port, to)) },
        Change::Unbind { server, port, from } => {
            let bind = |(real, real_port): &(Name, Port)| Bind {
                server: server.clone(),
                port: *port,
                real: real.clone(),
                real_port: *real_port,
            };
            removals(from.iter().map(bind).collect())
        }
        Change::RemoveReal { name } => removals(wants::binds_of_real(config, name)),
        Change::RemoveRealPort { real, port } => removals(binds_of_real_port(config, real, *port)),
        Change::AddVirtualPort { server, port } => Plan::of(create(config, server, *port)?),
        Change::RemoveVirtualPort { server, port } => remove_services(config, server, &[*port]),
        Change::RemoveVirtual { name } => {
            let ports: Vec<Port> =
                config.virtual_server(name).into_iter().flat_map(|server| server.ports.keys().copied()).collect();
            remove_services(config, name, &ports)
        }
        Change::SetAdmin { place, admin } => Plan::of(set_admin(config, place, *admin)),
        Change::SetWeight { real, weight } => Plan::of(set_weight(config, real, *weight)?),
        Change::SetMaxConn { place, max } => Plan::of(set_max_conn(config, place, *max)),
        Change::SetPredictor { server, predictor } => {
            let mut primitives = set_predictor(config, server.as_ref(), *predictor)?;
            primitives.extend(content::retold(change, config)?);
            Plan::of(primitives)
        }
        Change::ClearSessions { real } => Plan {
            primitives: in_service(config, wants::binds_of_real(config, real)).map(Primitive::Add).collect(),
            cut: config.real(real).map(|real| real.address),
            ..Plan::default()
        },
        Change::AddReal { .. }
        | Change::ForgetReal { .. }
        | Change::AddRealPort { .. }
        | Change::ForgetRealPort { .. }
        | Change::AddVirtual { .. }
        | Change::SetSticky { .. }
        | Change::SetLine { .. }
        | Change::AddBlock { .. }
        | Change::RemoveBlock { .. } => Plan::default(),
    })
}

fn binds_of_real_port(config: &Config, real: &Name, port: Port) -> Vec<Bind> {
    let row = config.real(real).and_then(|real| real.ports.get(&port));
    row.map_or_else(Vec::new, |row| wants::binds_of_port(real, port, row))
}

/// The Adds of those binds that are in service.
fn in_service(config: &Config, binds: Vec<Bind>) -> impl Iterator<Item = Add> {
    let binds = binds.into_iter().filter(|bind| wants::is_in_service(config, bind));
    binds.filter_map(|bind| wants::add(config, &bind))
}

fn removals(config: &Config, binds: &[Bind]) -> Vec<Primitive> {
    // One that is disabled has been removed already.
    let binds = binds.iter().filter(|bind| wants::is_in_service(config, bind));
    let remove = |BindingKey { service, real }| Primitive::Remove(Remove { service, real, deadline: None });
    binds.filter_map(|bind| wants::key(config, bind)).map(remove).collect()
}

fn bind(config: &Config, server: &Name, port: Port, to: &[(Name, Port)]) -> Vec<Primitive> {
    let bind = |(real, real_port): &(Name, Port)| Bind {
        server: server.clone(),
        port,
        real: real.clone(),
        real_port: *real_port,
    };
    in_service(config, to.iter().map(bind).collect()).map(Primitive::Add).collect()
}

/// A port of a virtual server is a service from now on, with the server's way to choose.
fn create(config: &Config, name: &Name, port: Port) -> Result<Vec<Primitive>, Refusal> {
    let Some(server) = config.virtual_server(name).filter(|_| port != Port::DEFAULT) else { return Ok(Vec::new()) };
    let scheduler = scheduler(wants::predictor_of(config, server))?;
    let set = SetService { scheduler: Some(scheduler), ..SetService::new(wants::service(config, server, port)) };
    Ok(vec![Primitive::SetService(set)])
}

/// Services end when their connections have; without any, at once.
fn remove_services(config: &Config, name: &Name, ports: &[Port]) -> Plan {
    let Some(server) = config.virtual_server(name) else { return Plan::default() };
    let mut plan = Plan::default();
    for port in ports.iter().filter(|port| **port != Port::DEFAULT) {
        let service = wants::service(config, server, *port);
        let binds = wants::binds_of_virtual_port(config, name, *port);
        if binds.is_empty() {
            plan.primitives.push(Primitive::RemoveService(RemoveService { service }));
        } else {
            plan.primitives.extend(removals(config, &binds));
            plan.leaving.push(service);
        }
    }
    plan
}

fn set_admin(config: &Config, place: &Place, admin: Admin) -> Vec<Primitive> {
    let binds = match place {
        Place::Real(name) => wants::binds_of_real(config, name),
        Place::RealPort(name, port) => binds_of_real_port(config, name, *port),
        Place::Virtual(name) => wants::binds_of_virtual(config, name),
        Place::VirtualPort(name, port) => wants::binds_of_virtual_port(config, name, *port),
        Place::System | Place::Block(..) => return Vec::new(),
    };
    match admin {
        Admin::Disabled => removals(config, &binds),
        Admin::Enabled => {
            // Those for which this place alone stood in the way.
            let freed = binds.iter().filter(|bind| wants::disabled_places(config, bind) == [place.clone()]);
            freed.filter_map(|bind| wants::add(config, bind)).map(Primitive::Add).collect()
        }
    }
}

fn set_weight(config: &Config, real: &Name, weight: Option<u32>) -> Result<Vec<Primitive>, Refusal> {
    if weight.is_some_and(|weight| weight > WEIGHT_MAX) {
        return Err(Refusal::Unsupported { what: format!("a weight above {WEIGHT_MAX}") });
    }
    let weight = Some(weight.map_or(1, wants::weight));
    let adds = in_service(config, wants::binds_of_real(config, real));
    Ok(adds.map(|add| Primitive::Add(Add { weight, ..add })).collect())
}

fn set_max_conn(config: &Config, place: &Place, max: Option<u32>) -> Vec<Primitive> {
    let (name, binds) = match place {
        Place::Real(name) => (name, wants::binds_of_real(config, name)),
        Place::RealPort(name, port) => (name, binds_of_real_port(config, name, *port)),
        _ => return Vec::new(),
    };
    let Some(real) = config.real(name) else { return Vec::new() };
    let limit = |add: &Add| match place {
        Place::RealPort(..) => max.or(real.max_conn),
        _ => real.ports.get(&Port::new(add.real.port())).and_then(|row| row.max_conn).or(max),
    };
    in_service(config, binds).map(|add| Primitive::Add(Add { max_conns: limit(&add), ..add })).collect()
}

fn set_predictor(config: &Config, server: Option<&Name>, wanted: Option<Predictor>) -> Result<Vec<Primitive>, Refusal> {
    let mut primitives = Vec::new();
    let servers = config.virtuals().filter(|(name, row)| match server {
        Some(server) => *name == server,
        None => row.predictor.is_none(),
    });
    for (_, row) in servers {
        let predictor = match server {
            Some(_) => wanted.or(config.predictor()).unwrap_or_default(),
            None => wanted.unwrap_or_default(),
        };
        let scheduler = scheduler(predictor)?;
        for port in row.ports.keys().filter(|port| **port != Port::DEFAULT) {
            let service = wants::service(config, row, *port);
            primitives
                .push(Primitive::SetService(SetService { scheduler: Some(scheduler), ..SetService::new(service) }));
        }
    }
    // Without a virtual server to refuse for, an unknown way to choose is refused all the same.
    wanted.map_or(Ok(()), |wanted| scheduler(wanted).map(drop))?;
    Ok(primitives)
}

fn scheduler(predictor: Predictor) -> Result<crate::acm::words::Scheduler, Refusal> {
    wants::scheduler(predictor).ok_or_else(|| Refusal::Unsupported { what: format!("predictor {predictor}") })
}

/// What takes back an Add that made a binding.
pub(super) fn undo(done: &Primitive) -> Option<Primitive> {
    match done {
        Primitive::Add(Add { service, real, .. }) => {
            Some(Primitive::ForceRemove(ForceRemove { service: *service, real: *real }))
        }
        _ => None,
    }
}
