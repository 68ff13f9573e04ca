//! From a primitive and the box's configuration to commands. Pure: it reads nothing and types nothing.
//!
//! | contract | ServerIron |
//! |---|---|
//! | service `VIP:P` | `server virtual acm-v-VIP` with `port P`; UDP if `server port P` says `udp` |
//! | real `IP:RP` | `server real acm-r-IP` with `port RP` |
//! | binding | `bind P acm-r-IP RP` |
//! | weight, max-conns | `weight`, `max-conn` of the real server, which has one of each for all its ports |
//! | scheduler | `predictor` of the virtual server, which has one for all its ports |
//! | the default health check | `port RP keepalive` |
//! | `--no-health` | no `keepalive`: the box checks once, when it binds, which nothing turns off |
//! | Remove | `port RP disable`; once it is empty, `no bind` and `no server real` (or `no port`) |
//! | Remove of a port that serves others too | `no bind`: the box lets its connections finish |
//! | Force Remove (not on the XL) | `port RP disable`, `clear server session`, `no bind`, `no server real` |
//!
//! | content, rules, what groups hash | the words of [`ironware`](crate::ironware), written by `content` |
//! | group of a binding | `port RP group-id N N`, while the service switches by content |
//!
//! What the box has one of and two bindings want differently is `Unsupported`, by name. So are leases, Drop, deadlines,
//! weight 0, health checks of other kinds, what rules have no words for, and owners other than the one this driver
//! stands for, since nothing on the box can hold them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use super::command::{Command, Pair, Predictor, Protocol, ServerName};
use super::config::{BoxConfig, Holder, RealServer, VirtualServer};
use super::name::{self, Kind};
use super::personality::Personality;
use super::port_name;
use crate::acm::error::{AcmError, Feature};
use crate::acm::primitive::{Add, Primitive, Remove, RemoveService, SetService};
use crate::acm::validate;
use crate::acm::words::{BindingKey, HealthProfile, Refusal, Scheduler, ServiceKey, default_group};
use crate::base::id::Name;

/// The owner of what is not ours.
pub(super) const FOREIGN: &str = "foreign";

/// What does not change from call to call.
#[derive(Debug, Clone)]
pub(super) struct Rules {
    /// Whose everything is whose name is ours.
    pub(super) owner: Name,
    pub(super) personality: Personality,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Plan {
    pub(super) commands: Vec<Command>,
    /// Bindings taken out while their real's port serves others: their connections cannot be told apart.
    pub(super) lingers: Vec<BindingKey>,
    /// Ports whose connections are to be counted before anything is done; present if connections may be cut.
    pub(super) ends: Option<Vec<Ending>>,
}

/// A port whose connections end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ending {
    pub(super) pair: Pair,
    /// The plan cuts what is left. If it does not, nothing may be left.
    pub(super) cuts: bool,
}

/// Plans a primitive.
///
/// # Errors
/// `Invalid`, `NotFound`, `Exists`, `Forbidden`, `Unsupported`.
pub(super) fn plan(config: &BoxConfig, rules: &Rules, primitive: &Primitive) -> Result<Plan, AcmError> {
    validate::check(primitive)?;
    let planner = Planner { config, rules, plan: Plan::default() };
    match primitive {
        Primitive::Add(add) => planner.add(add),
        Primitive::Remove(remove) => planner.remove(remove),
        Primitive::ForceRemove(remove) => planner.force_remove(&remove.key()),
        Primitive::Drop(_) => unsupported(Feature::Drop, "a ServerIron refuses no connections on request"),
        Primitive::SetService(set) => planner.set_service(set),
        Primitive::RemoveService(remove) => planner.remove_service(remove),
    }
}

/// The commands that finish a drain: the port is disabled and empty.
pub(super) fn finish(config: &BoxConfig, service: &(ServerName, u16), pair: &Pair) -> Vec<Command> {
    let mut commands = vec![Command::NoBind(Arc::clone(&service.0), service.1, pair.clone())];
    commands.extend(drop_port(config, pair, 1));
    commands
}

/// Takes a port of a real server away that serves nobody any more; the last of its `gone` ports takes the server along.
fn drop_port(config: &BoxConfig, pair: &Pair, gone: usize) -> Option<Command> {
    let real = config.reals.get(&pair.real)?;
    Some(match real.ports.len() <= gone {
        true => Command::NoReal(Arc::clone(&pair.real)),
        false => Command::NoRealPort(pair.clone(), real.ip),
    })
}

pub(super) fn unsupported<T>(feature: Feature, why: impl Into<String>) -> Result<T, AcmError> {
    Err(AcmError::unsupported(feature, why))
}

/// Whether a server is one of ours: its name decodes to the address that it has.
pub(super) fn is_ours(kind: Kind, name: &str, ip: IpAddr) -> bool {
    name::decode(kind, name) == Some(ip)
}

/// The weight in the contract's terms: absent and 0 are the box's default, which is 1.
pub(super) fn weight_of(real: &RealServer) -> u32 {
    real.weight.filter(|weight| *weight > 0).unwrap_or(1)
}

/// The scheduler in the contract's terms.
pub(super) fn scheduler_of(predictor: Predictor) -> Scheduler {
    match predictor {
        Predictor::RoundRobin => Scheduler::RoundRobin,
        Predictor::Weighted => Scheduler::Weighted,
        Predictor::LeastConn | Predictor::Other => Scheduler::LeastConn,
    }
}

fn predictor_for(scheduler: Scheduler) -> Result<Predictor, AcmError> {
    match scheduler {
        Scheduler::RoundRobin => Ok(Predictor::RoundRobin),
        Scheduler::Weighted => Ok(Predictor::Weighted),
        Scheduler::LeastConn => Ok(Predictor::LeastConn),
        Scheduler::Random | Scheduler::SourceHash | Scheduler::UrlHash | Scheduler::CookieHash => {
            unsupported(Feature::Option, format!("scheduler {scheduler}: a ServerIron has no such predictor"))
        }
    }
}

/// The health profile of a port: what is checked again and again, or not.
pub(super) fn profile_of(keepalive: bool) -> HealthProfile {
    if keepalive { HealthProfile::default() } else { HealthProfile::link_only() }
}

fn keepalive_for(profile: &HealthProfile) -> Result<bool, AcmError> {
    match [true, false].into_iter().find(|keepalive| profile_of(*keepalive) == *profile) {
        Some(keepalive) => Ok(keepalive),
        None => {
            let why =
                "health: a ServerIron checks in its own way and at its own pace; use the default profile, or none";
            unsupported(Feature::Option, why)
        }
    }
}

pub(super) struct Planner<'a> {
    pub(super) config: &'a BoxConfig,
    pub(super) rules: &'a Rules,
    pub(super) plan: Plan,
}

/// Who stands at a virtual address.
pub(super) enum VirtualAt<'a> {
    Nobody,
    Ours(&'a ServerName, &'a VirtualServer),
}

impl<'a> Planner<'a> {
    pub(super) fn push(&mut self, command: Command) {
        self.plan.commands.push(command);
    }

    /// The virtual server at an address, unless it is foreign.
    pub(super) fn virtual_at(&self, ip: IpAddr) -> Result<VirtualAt<'a>, AcmError> {
        match self.config.addresses.get(&ip) {
            None => Ok(VirtualAt::Nobody),
            Some(Holder::Real(_)) => Err(AcmError::invalid("service", format!("{ip} is the address of a real server"))),
            Some(Holder::Virtual(name)) => match self.config.virtuals.get_key_value(name) {
                Some((name, server)) if is_ours(Kind::Virtual, name, ip) => Ok(VirtualAt::Ours(name, server)),
                _ => Err(foreign(format!("virtual server {name} ({ip})"))),
            },
        }
    }

    /// The service's place on the box, if it is there.
    fn service(&self, key: &ServiceKey) -> Result<Option<(ServerName, &'a BTreeSet<Pair>)>, AcmError> {
        let port = key.addr.port();
        Ok(match self.virtual_at(key.vip())? {
            VirtualAt::Ours(name, server) if self.config.protocol(port) == key.protocol => {
                server.ports.get(&port).map(|pairs| (Arc::clone(name), pairs))
            }
            _ => None,
        })
    }

    /// The binding's place on the box: `NotFound` if there is none, `Exists` if it is foreign.
    fn binding(&self, key: &BindingKey) -> Result<(ServerName, Pair), AcmError> {
        let missing = || AcmError::not_found(format!("binding {key}"));
        let (server, pairs) = match self.service(&key.service) {
            Err(AcmError::Invalid { .. }) => return Err(missing()),
            other => other?.ok_or_else(missing)?,
        };
        let at = |pair: &&Pair| {
            pair.port == key.real.port()
                && self.config.reals.get(&pair.real).is_some_and(|real| real.ip == key.real.ip())
        };
        let pair = pairs.iter().find(at).ok_or_else(missing)?;
        match is_ours(Kind::Real, &pair.real, key.real.ip()) {
            true => Ok((server, pair.clone())),
            false => Err(foreign(format!("real server {} ({})", pair.real, key.real.ip()))),
        }
    }

    /// The same for a call that takes it out.
    fn own_binding(&self, key: &BindingKey) -> Result<(ServerName, Pair), AcmError> {
        self.binding(key).map_err(hands_off)
    }

    fn add(mut self, add: &Add) -> Result<Plan, AcmError> {
        if add.lease.is_some() {
            return unsupported(Feature::Leases, "a ServerIron keeps none");
        }
        if add.identity.is_some() {
            return unsupported(Feature::Option, "identity: a ServerIron knows servers by name and address");
        }
        if add.weight == Some(0) {
            return unsupported(Feature::Option, "weight 0: a ServerIron takes it for its default");
        }
        let max = self.rules.personality.max_conn_max();
        if let Some(wanted) = add.max_conns.filter(|wanted| *wanted > max || no_limit(Some(*wanted))) {
            return unsupported(
                Feature::Option,
                format!("max_conns {wanted}: {} has at most {max}", self.rules.personality),
            );
        }
        let keepalive = match &add.health {
            Some(profile) => Some(keepalive_for(profile)?),
            None => None,
        };
        self.check_family(add)?;
        match self.binding(&add.key()) {
            Ok((server, pair)) => self.add_again(add, &server, &pair, keepalive)?,
            Err(AcmError::NotFound { .. }) => self.add_new(add, keepalive.unwrap_or(true))?,
            Err(other) => return Err(other),
        }
        Ok(self.plan)
    }

    fn check_family(&self, add: &Add) -> Result<(), AcmError> {
        let (vip, real) = (add.service.vip(), add.real.ip());
        if matches!(self.config.addresses.get(&vip), Some(Holder::Real(_))) {
            return Err(AcmError::invalid("service", format!("{vip} is the address of a real server")));
        }
        if real == vip || matches!(self.config.addresses.get(&real), Some(Holder::Virtual(_))) {
            return Err(AcmError::invalid("real", format!("{real} is a virtual address")));
        }
        if real.is_ipv4() != vip.is_ipv4() {
            let why = format!("{} and {vip} are of different address families", add.real);
            return Err(AcmError::invalid("real", why));
        }
        self.check_ipv6(vip)
    }

    fn check_ipv6(&self, vip: IpAddr) -> Result<(), AcmError> {
        match vip.is_ipv6() && !self.rules.personality.knows_ipv6() {
            true => unsupported(Feature::Ipv6, format!("{} knows IPv4 only", self.rules.personality)),
            false => Ok(()),
        }
    }

    fn add_again(
        &mut self,
        add: &Add,
        server: &ServerName,
        pair: &Pair,
        keepalive: Option<bool>,
    ) -> Result<(), AcmError> {
        if add.owner != self.rules.owner {
            let what = format!("binding {}", add.key());
            return Err(AcmError::Exists { what, owner: self.rules.owner.to_string() });
        }
        let Some(real) = self.config.reals.get(&pair.real) else { return Ok(()) };
        let others = real.bindings() > 1;
        self.set_limits(add, pair, real, others)?;
        let Some(port) = real.ports.get(&pair.port) else { return Ok(()) };
        if let Some(keepalive) = keepalive {
            let shared =
                port.bound_to.iter().any(|(name, number)| (name, *number) != (server, add.service.addr.port()));
            self.set_keepalive(pair, real.ip, port.keepalive, keepalive, shared)?;
        }
        if let Some(group) = &add.group {
            self.set_group(&add.service, pair, Some(port), group)?;
            self.sweep();
        }
        if port.disabled {
            self.push(Command::Enable(pair.clone(), real.ip));
        }
        Ok(())
    }

    /// Weight and limit, which the box has once for a server: with other bindings there they must be as they are.
    fn set_limits(&mut self, add: &Add, pair: &Pair, real: &RealServer, others: bool) -> Result<(), AcmError> {
        let name = || Arc::clone(&pair.real);
        if let Some(weight) = add.weight.map(u32::from).filter(|weight| *weight != weight_of(real)) {
            if others {
                return shared_option("weight", real.ip, weight_of(real));
            }
            self.push(Command::Weight(name(), real.ip, weight));
        }
        if let Some(max) = add.max_conns.filter(|max| Some(*max) != real.max_conn) {
            if others {
                return shared_option(
                    "max_conns",
                    real.ip,
                    real.max_conn.map_or("none".to_owned(), |max| max.to_string()),
                );
            }
            self.push(Command::MaxConn(name(), real.ip, max));
        }
        Ok(())
    }

    fn set_keepalive(&mut self, pair: &Pair, ip: IpAddr, has: bool, wants: bool, shared: bool) -> Result<(), AcmError> {
        match (has, wants) {
            _ if has == wants => {}
            _ if shared => {
                let why = format!("health: port {} of {ip} serves another service, with another check", pair.port);
                return unsupported(Feature::Option, why);
            }
            (_, true) => self.push(Command::Keepalive(pair.clone(), ip)),
            (_, false) => self.push(Command::NoKeepalive(pair.clone(), ip)),
        }
        Ok(())
    }

    fn add_new(&mut self, add: &Add, keepalive: bool) -> Result<(), AcmError> {
        if add.owner != self.rules.owner {
            let why = format!(
                "owner {}: names on a ServerIron hold no owner; everything of ours there belongs to {}; connect with \
                 ?owner={}",
                add.owner, self.rules.owner, add.owner
            );
            return unsupported(Feature::Option, why);
        }
        let (port, protocol) = (add.service.addr.port(), add.service.protocol);
        self.ensure_protocol(add.real.port(), protocol, Role::Real)?;
        if port != add.real.port() {
            self.ensure_protocol(port, protocol, Role::Virtual)?;
        }
        // Both ends are judged before anything of either is planned to be made.
        let mut service = Planner { config: self.config, rules: self.rules, plan: Plan::default() };
        let server = service.ensure_service(&add.service, None)?;
        let pair = self.ensure_real(add, keepalive)?;
        self.plan.commands.append(&mut service.plan.commands);
        self.push(Command::Bind(server, port, pair));
        Ok(())
    }

    /// Makes a port number TCP's or UDP's, if nobody uses it otherwise.
    fn ensure_protocol(&mut self, port: u16, protocol: Protocol, role: Role) -> Result<(), AcmError> {
        let profile = self.config.profiles.get(&port);
        let (now, known) = (self.config.protocol(port), profile.copied().unwrap_or_default());
        if now != protocol && self.config.uses_port(port) {
            let why = format!("port {port} is {now}'s on this box: a ServerIron has one protocol for a port number");
            return unsupported(Feature::Udp, why);
        }
        let says = match protocol {
            Protocol::Udp => known.udp && !known.tcp,
            // Without a profile a virtual port is TCP's, and so is a real port that the box knows.
            Protocol::Tcp => known.tcp || (!known.udp && (role == Role::Virtual || port_name::is_known(port))),
        };
        if says {
            return Ok(());
        }
        if profile.is_none() {
            self.push(Command::PortProfile(port));
        }
        let (other, other_says) = match protocol {
            Protocol::Tcp => (Protocol::Udp, known.udp),
            Protocol::Udp => (Protocol::Tcp, known.tcp),
        };
        if other_says {
            self.push(Command::ProfileSaysNot(port, other));
        }
        self.push(Command::ProfileSays(port, protocol));
        Ok(())
    }

    /// Makes the service exist, scheduled as said, or as the contract's default for a new one.
    fn ensure_service(&mut self, key: &ServiceKey, scheduler: Option<Scheduler>) -> Result<ServerName, AcmError> {
        let (ip, port) = (key.vip(), key.addr.port());
        self.check_ipv6(ip)?;
        let wanted = scheduler.map(predictor_for).transpose()?;
        let VirtualAt::Ours(name, server) = self.virtual_at(ip)? else {
            let name: ServerName = name::encode(Kind::Virtual, ip).into();
            self.push(Command::CreateVirtual(Arc::clone(&name), ip));
            self.push(Command::DefaultPortOff(Arc::clone(&name)));
            let predictor = wanted.unwrap_or(Predictor::RoundRobin);
            self.push(Command::SetPredictor(Arc::clone(&name), Predictor::LeastConn, predictor));
            self.push(Command::VirtualPort(Arc::clone(&name), port));
            return Ok(name);
        };
        let is_new = !server.ports.contains_key(&port);
        let others = server.ports.keys().any(|other| *other != port);
        let now = self.config.predictor_of(server);
        let wanted = if is_new { Some(wanted.unwrap_or(Predictor::RoundRobin)) } else { wanted };
        if let Some(wanted) = wanted.filter(|wanted| *wanted != now) {
            if others {
                return shared_option("scheduler", ip, scheduler_of(now));
            }
            self.push(Command::SetPredictor(Arc::clone(name), now, wanted));
        }
        if is_new {
            self.push(Command::VirtualPort(Arc::clone(name), port));
        }
        Ok(Arc::clone(name))
    }

    /// Makes the real server and its port exist, with the options of an Add of a new binding.
    fn ensure_real(&mut self, add: &Add, keepalive: bool) -> Result<Pair, AcmError> {
        let (ip, port) = (add.real.ip(), add.real.port());
        let name: ServerName = name::encode(Kind::Real, ip).into();
        let pair = Pair { real: Arc::clone(&name), port };
        let old = match self.config.addresses.get(&ip) {
            Some(Holder::Real(holder)) if !is_ours(Kind::Real, holder, ip) => {
                return Err(foreign(format!("real server {holder} ({ip})")));
            }
            Some(_) => self.config.reals.get(&name),
            None => None,
        };
        let fresh = RealServer { ip, disabled: false, weight: None, max_conn: None, ports: Default::default() };
        let real = old.unwrap_or(&fresh);
        if old.is_none() {
            self.push(Command::Real(Arc::clone(&name), ip));
        }
        // Absent options of a new binding are the contract's defaults, not what a server left behind has.
        let full = Add { weight: Some(add.weight.unwrap_or(1)), ..add.clone() };
        self.set_limits(&full, &pair, real, real.bindings() > 0)?;
        if let Some(max) = real.max_conn.filter(|max| add.max_conns.is_none() && !no_limit(Some(*max))) {
            if real.bindings() > 0 {
                return shared_option("max_conns", ip, max);
            }
            self.push(Command::NoMaxConn(Arc::clone(&name), ip, max));
        }
        if add.max_conns.is_some() && real.bindings() > 0 {
            return shared_option("max_conns", ip, "for all of its bindings together");
        }
        self.ensure_real_port(&pair, real, keepalive)?;
        let group = add.group.clone().unwrap_or_else(default_group);
        self.set_group(&add.service, &pair, real.ports.get(&port), &group)?;
        Ok(pair)
    }

    fn ensure_real_port(&mut self, pair: &Pair, real: &RealServer, keepalive: bool) -> Result<(), AcmError> {
        let Some(port) = real.ports.get(&pair.port) else {
            self.push(Command::RealPort(pair.clone(), real.ip));
            if port_name::is_http(pair.port) {
                self.push(Command::L4CheckOnly(pair.clone(), real.ip));
            }
            if keepalive {
                self.push(Command::Keepalive(pair.clone(), real.ip));
            }
            return Ok(());
        };
        self.set_keepalive(pair, real.ip, port.keepalive, keepalive, !port.bound_to.is_empty())?;
        if port.disabled {
            // It drains for another service. That one is taken out now, or enabling the port would bring it back.
            for (server, number) in &port.bound_to {
                self.push(Command::NoBind(Arc::clone(server), *number, pair.clone()));
                self.plan.lingers.extend(self.key_of(server, *number, pair));
            }
            self.push(Command::Enable(pair.clone(), real.ip));
        }
        Ok(())
    }

    fn key_of(&self, server: &ServerName, port: u16, pair: &Pair) -> Option<BindingKey> {
        key_of(self.config, server, port, pair)
    }

    fn remove(mut self, remove: &Remove) -> Result<Plan, AcmError> {
        let (server, pair) = self.own_binding(&remove.key())?;
        if remove.deadline.is_some() {
            return unsupported(Feature::Option, "deadline: a ServerIron cuts nothing by itself");
        }
        let (Some(real), Some(port)) = (self.config.reals.get(&pair.real), self.config.real_port(&pair)) else {
            return Ok(self.plan);
        };
        if port.bound_to.len() > 1 {
            self.push(Command::NoBind(server, remove.service.addr.port(), pair));
            self.plan.lingers.push(remove.key());
        } else if !port.disabled {
            self.push(Command::Disable(pair, real.ip));
        }
        Ok(self.plan)
    }

    fn force_remove(mut self, key: &BindingKey) -> Result<Plan, AcmError> {
        let (server, pair) = self.own_binding(key)?;
        if !self.rules.personality.cuts_reliably() {
            let why = format!("{} ends connections unreliably; Remove lets them finish", self.rules.personality);
            return unsupported(Feature::ForceRemove, why);
        }
        let ending = self.end_binding(&server, key.service.addr.port(), &pair, &mut BTreeMap::new());
        self.plan.ends = Some(vec![ending]);
        Ok(self.plan)
    }

    /// Takes a binding out, with its connections where that touches no other binding. `gone` counts the ports of each
    /// real server that this plan takes away.
    fn end_binding(
        &mut self,
        server: &ServerName,
        port: u16,
        pair: &Pair,
        gone: &mut BTreeMap<ServerName, usize>,
    ) -> Ending {
        let real = self.config.reals.get(&pair.real);
        let alone = real.is_none_or(|real| real.bindings() <= 1);
        let cuts = alone && self.rules.personality.cuts_reliably();
        // The binding goes last: while it is there, a plan that broke off is found unfinished and is carried out again.
        if cuts && let Some(real) = real {
            self.push(Command::Disable(pair.clone(), real.ip));
            self.push(Command::ClearSessions(Arc::clone(&pair.real)));
        }
        self.push(Command::NoBind(Arc::clone(server), port, pair.clone()));
        let used_elsewhere = self.config.real_port(pair).is_some_and(|port| port.bound_to.len() > 1);
        if !used_elsewhere {
            let gone = gone.entry(Arc::clone(&pair.real)).or_default();
            *gone += 1;
            self.plan.commands.extend(drop_port(self.config, pair, *gone));
        }
        Ending { pair: pair.clone(), cuts }
    }

    fn set_service(mut self, set: &SetService) -> Result<Plan, AcmError> {
        self.check_content(set)?;
        if set.when_none == Some(Refusal::Reset) {
            return unsupported(Feature::Option, "when_none reset: a ServerIron stays silent");
        }
        if set.health.as_ref().is_some_and(|profile| *profile != HealthProfile::default()) {
            return unsupported(
                Feature::Option,
                "health: on a ServerIron it belongs to bindings; give it with each Add",
            );
        }
        self.ensure_protocol(set.service.addr.port(), set.service.protocol, Role::Virtual)?;
        // The default group's scheduler is the virtual server's, unless it hashes.
        let scheduler = set.scheduler.filter(|_| set.group == default_group()).filter(|wanted| !wanted.needs_content());
        let server = self.ensure_service(&set.service, scheduler).map_err(hands_off)?;
        let old = self.config.plain(&server);
        let new = self.plan.commands.iter().rev().find_map(|command| match command {
            Command::SetPredictor(_, _, predictor) => Some(scheduler_of(*predictor)),
            _ => None,
        });
        self.set_content(set, &server, (old, new.unwrap_or(old)))?;
        Ok(self.plan)
    }

    fn remove_service(mut self, remove: &RemoveService) -> Result<Plan, AcmError> {
        let missing = || AcmError::not_found(format!("service {}", remove.service));
        let (server, pairs) = match self.service(&remove.service) {
            Err(AcmError::Invalid { .. }) => return Err(missing()),
            other => other.map_err(hands_off)?.ok_or_else(missing)?,
        };
        let port = remove.service.addr.port();
        let (mut ends, mut gone) = (Vec::new(), BTreeMap::new());
        for pair in pairs {
            ends.push(self.end_binding(&server, port, pair, &mut gone));
        }
        let others = self.config.virtuals.get(&server).is_some_and(|server| server.ports.len() > 1);
        self.push(match others {
            true => Command::NoVirtualPort(server, port),
            false => Command::NoVirtual(server),
        });
        self.sweep();
        self.plan.ends = Some(ends);
        Ok(self.plan)
    }
}

/// Which end of a binding a port number is at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Virtual,
    Real,
}

/// The contract's key of a pair bound to a port of a virtual server.
pub(super) fn key_of(config: &BoxConfig, server: &str, port: u16, pair: &Pair) -> Option<BindingKey> {
    let (virtual_server, real) = (config.virtuals.get(server)?, config.reals.get(&pair.real)?);
    let service = ServiceKey { addr: SocketAddr::new(virtual_server.ip, port), protocol: config.protocol(port) };
    Some(BindingKey { service, real: SocketAddr::new(real.ip, pair.port) })
}

fn foreign(what: String) -> AcmError {
    AcmError::Exists { what, owner: FOREIGN.to_owned() }
}

/// Foreign configuration exists for whoever adds to it; whoever would change it may not.
pub(super) fn hands_off(error: AcmError) -> AcmError {
    match error {
        AcmError::Exists { what, owner } if owner == FOREIGN => {
            AcmError::Forbidden { why: format!("{what} was configured by somebody else, and is left alone") }
        }
        other => other,
    }
}

pub(super) fn shared_option<T>(option: &str, ip: IpAddr, now: impl std::fmt::Display) -> Result<T, AcmError> {
    let why = format!("{option}: a ServerIron has one for everything at {ip}, and it is {now}");
    unsupported(Feature::Option, why)
}

/// Whether a `max-conn` is the device's own maximum, which limits nothing. 1,000,000 is the XL's, 2,000,000 the ADX's.
pub(super) fn no_limit(max_conn: Option<u32>) -> bool {
    matches!(max_conn, None | Some(0 | 1_000_000 | 2_000_000))
}
