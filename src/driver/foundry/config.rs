//! The box's SLB configuration: read from `show running-config`, and kept up to date by the driver's own commands.
//!
//! Reading is tolerant of what it does not know (options, other blocks, comments) and strict about what it does: a
//! configuration that breaks off, is shorter than announced or contradicts itself is not believed at all, because a
//! missing line would look like a binding that somebody removed.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use super::command::{BlockKind, Command, Pair, Predictor, Protocol, ServerName};
use super::csw;
use super::name::{self, Kind};
use super::port_name::{self, PortWord};
use crate::ironware::PortLines;
use crate::ironware::book::Book;

/// A port of a virtual server.
pub(super) type ServicePlace = (ServerName, u16);

/// A port of a real server.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct RealPort {
    /// No new connections: it drains.
    pub(super) disabled: bool,
    /// Checked again and again, not only at bind.
    pub(super) keepalive: bool,
    /// The first of the groups it is in.
    pub(super) group: Option<u16>,
    /// The virtual servers' ports that it serves.
    pub(super) bound_to: BTreeSet<ServicePlace>,
}

/// A real server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RealServer {
    pub(super) ip: IpAddr,
    /// The whole server takes no new connections.
    pub(super) disabled: bool,
    /// As configured; absent and 0 are the device's default.
    pub(super) weight: Option<u32>,
    /// As configured; absent is the device's default.
    pub(super) max_conn: Option<u32>,
    pub(super) ports: BTreeMap<u16, RealPort>,
}

impl RealServer {
    fn new(ip: IpAddr) -> RealServer {
        RealServer { ip, disabled: false, weight: None, max_conn: None, ports: BTreeMap::new() }
    }

    /// How many bindings it serves.
    pub(super) fn bindings(&self) -> usize {
        self.ports.values().map(|port| port.bound_to.len()).sum()
    }
}

/// A virtual server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct VirtualServer {
    pub(super) ip: IpAddr,
    pub(super) predictor: Option<Predictor>,
    /// Its ports, each with the pairs bound to it.
    pub(super) ports: BTreeMap<u16, BTreeSet<Pair>>,
    /// What its ports say of content.
    pub(super) content: BTreeMap<u16, PortLines>,
}

/// What `server port N` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Profile {
    pub(super) tcp: bool,
    pub(super) udp: bool,
}

/// All of it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct BoxConfig {
    pub(super) reals: BTreeMap<ServerName, RealServer>,
    pub(super) virtuals: BTreeMap<ServerName, VirtualServer>,
    pub(super) profiles: BTreeMap<u16, Profile>,
    /// Rules, policies and maps of content switching.
    pub(super) book: Book,
    /// `server predictor`, for virtual servers that name none.
    pub(super) predictor: Option<Predictor>,
    /// Whose an address is.
    pub(super) addresses: HashMap<IpAddr, Holder>,
    /// How many ports of real and virtual servers have this number.
    users: HashMap<u16, usize>,
}

/// Who has an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Holder {
    Real(ServerName),
    Virtual(ServerName),
}

/// Why a configuration is not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("its running-config cannot be believed: {0}")]
pub(super) struct Unbelievable(String);

fn unbelievable<T>(why: impl Into<String>) -> Result<T, Unbelievable> {
    Err(Unbelievable(why.into()))
}

impl BoxConfig {
    /// How a virtual server chooses.
    pub(super) fn predictor_of(&self, server: &VirtualServer) -> Predictor {
        server.predictor.or(self.predictor).unwrap_or(Predictor::LeastConn)
    }

    /// The protocol of a port, which on a ServerIron is one for the whole box: TCP unless its profile says UDP alone.
    pub(super) fn protocol(&self, port: u16) -> Protocol {
        match self.profiles.get(&port) {
            Some(Profile { udp: true, tcp: false }) => Protocol::Udp,
            _ => Protocol::Tcp,
        }
    }

    /// Whether any server has a port of this number.
    pub(super) fn uses_port(&self, port: u16) -> bool {
        self.users.get(&port).is_some_and(|users| *users > 0)
    }

    /// A port of a real server.
    pub(super) fn real_port(&self, pair: &Pair) -> Option<&RealPort> {
        self.reals.get(&pair.real)?.ports.get(&pair.port)
    }

    fn real_port_mut(&mut self, pair: &Pair) -> Option<&mut RealPort> {
        let real = self.reals.get_mut(&pair.real)?;
        if !real.ports.contains_key(&pair.port) {
            *self.users.entry(pair.port).or_default() += 1;
        }
        Some(real.ports.entry(pair.port).or_default())
    }

    fn release(&mut self, port: u16) {
        if let Some(users) = self.users.get_mut(&port) {
            *users = users.saturating_sub(1);
        }
    }

    fn add_real(&mut self, name: &ServerName, ip: IpAddr) {
        self.addresses.insert(ip, Holder::Real(Arc::clone(name)));
        self.reals.entry(Arc::clone(name)).or_insert_with(|| RealServer::new(ip));
    }

    fn add_virtual(&mut self, name: &ServerName, ip: IpAddr) {
        self.addresses.insert(ip, Holder::Virtual(Arc::clone(name)));
        let new = || VirtualServer { ip, predictor: None, ports: BTreeMap::new(), content: BTreeMap::new() };
        self.virtuals.entry(Arc::clone(name)).or_insert_with(new);
    }

    fn add_virtual_port(&mut self, name: &ServerName, port: u16) {
        let Some(server) = self.virtuals.get_mut(name) else { return };
        if !server.ports.contains_key(&port) {
            *self.users.entry(port).or_default() += 1;
        }
        server.ports.entry(port).or_default();
    }

    fn bind(&mut self, name: &ServerName, port: u16, pair: &Pair) {
        self.add_virtual_port(name, port);
        if let Some(pairs) = self.virtuals.get_mut(name).and_then(|server| server.ports.get_mut(&port)) {
            pairs.insert(pair.clone());
        }
        if let Some(row) = self.real_port_mut(pair) {
            row.bound_to.insert((Arc::clone(name), port));
        }
    }

    fn unbind(&mut self, name: &ServerName, port: u16, pair: &Pair) {
        if let Some(pairs) = self.virtuals.get_mut(name).and_then(|server| server.ports.get_mut(&port)) {
            pairs.remove(pair);
        }
        if let Some(row) = self.reals.get_mut(&pair.real).and_then(|real| real.ports.get_mut(&pair.port)) {
            row.bound_to.remove(&(Arc::clone(name), port));
        }
    }

    fn remove_real_port(&mut self, pair: &Pair) {
        let gone = self.reals.get_mut(&pair.real).and_then(|real| real.ports.remove(&pair.port));
        let Some(gone) = gone else { return };
        self.release(pair.port);
        for (name, port) in gone.bound_to {
            if let Some(pairs) = self.virtuals.get_mut(&name).and_then(|server| server.ports.get_mut(&port)) {
                pairs.remove(pair);
            }
        }
    }

    fn remove_real(&mut self, name: &ServerName) {
        let ports: Vec<u16> = self.reals.get(name).map(|real| real.ports.keys().copied().collect()).unwrap_or_default();
        for port in ports {
            self.remove_real_port(&Pair { real: Arc::clone(name), port });
        }
        if let Some(gone) = self.reals.remove(name) {
            self.addresses.remove(&gone.ip);
        }
    }

    fn remove_virtual_port(&mut self, name: &ServerName, port: u16) {
        let gone = self.virtuals.get_mut(name).and_then(|server| {
            server.content.remove(&port);
            server.ports.remove(&port)
        });
        let Some(pairs) = gone else { return };
        self.release(port);
        for pair in pairs {
            if let Some(row) = self.reals.get_mut(&pair.real).and_then(|real| real.ports.get_mut(&pair.port)) {
                row.bound_to.remove(&(Arc::clone(name), port));
            }
        }
    }

    fn remove_virtual(&mut self, name: &ServerName) {
        let ports: Vec<u16> =
            self.virtuals.get(name).map(|server| server.ports.keys().copied().collect()).unwrap_or_default();
        for port in ports {
            self.remove_virtual_port(name, port);
        }
        if let Some(gone) = self.virtuals.remove(name) {
            self.addresses.remove(&gone.ip);
        }
    }

    /// The configuration after a command that succeeded.
    pub(super) fn apply(&mut self, command: &Command) {
        use Command as C;
        match command {
            C::Real(name, ip) => self.add_real(name, *ip),
            C::NoReal(name) => self.remove_real(name),
            C::CreateVirtual(name, ip) => self.add_virtual(name, *ip),
            C::NoVirtual(name) => self.remove_virtual(name),
            C::PortProfile(port) => drop(self.profiles.entry(*port).or_default()),
            C::NoPortProfile(port) => drop(self.profiles.remove(port)),
            C::ProfileSays(port, protocol) => self.profile_says(*port, *protocol, true),
            C::ProfileSaysNot(port, protocol) => self.profile_says(*port, *protocol, false),
            C::RealPort(pair, _) => drop(self.real_port_mut(pair).is_some()),
            C::NoRealPort(pair, _) => self.remove_real_port(pair),
            C::Disable(pair, _) => self.change_port(pair, |port| port.disabled = true),
            C::Enable(pair, _) => self.change_port(pair, |port| port.disabled = false),
            C::Keepalive(pair, _) => self.change_port(pair, |port| port.keepalive = true),
            C::NoKeepalive(pair, _) => self.change_port(pair, |port| port.keepalive = false),
            C::Weight(name, _, weight) => self.change_real(name, |real| real.weight = Some(*weight)),
            C::MaxConn(name, _, max) => self.change_real(name, |real| real.max_conn = Some(*max)),
            C::NoMaxConn(name, ..) => self.change_real(name, |real| real.max_conn = None),
            C::VirtualPort(name, port) => self.add_virtual_port(name, *port),
            C::NoVirtualPort(name, port) => self.remove_virtual_port(name, *port),
            C::SetPredictor(name, _, predictor) => {
                if let Some(server) = self.virtuals.get_mut(name) {
                    server.predictor = Some(*predictor);
                }
            }
            C::Bind(name, port, pair) => self.bind(name, *port, pair),
            C::NoBind(name, port, pair) => self.unbind(name, *port, pair),
            C::CswRule { .. }
            | C::NoCswRule(..)
            | C::Block(..)
            | C::NoBlock(..)
            | C::BlockLine(..)
            | C::PortLine { .. }
            | C::NoPortLine { .. }
            | C::GroupId(..)
            | C::NoGroupId(..) => self.apply_content(command),
            C::ConfigureTerminal
            | C::ShowPolicy(_)
            | C::ShowVersion
            | C::ShowRunningConfig
            | C::ShowReal(_)
            | C::ShowVirtual
            | C::ClearSessions(_)
            | C::EnterVirtual(_)
            | C::L4CheckOnly(..)
            | C::DefaultPortOff(_) => {}
        }
    }

    fn profile_says(&mut self, port: u16, protocol: Protocol, says: bool) {
        let profile = self.profiles.entry(port).or_default();
        match protocol {
            Protocol::Tcp => profile.tcp = says,
            Protocol::Udp => profile.udp = says,
        }
    }

    pub(super) fn change_port(&mut self, pair: &Pair, change: impl FnOnce(&mut RealPort)) {
        if let Some(port) = self.real_port_mut(pair) {
            change(port);
        }
    }

    fn change_real(&mut self, name: &ServerName, change: impl FnOnce(&mut RealServer)) {
        if let Some(real) = self.reals.get_mut(name) {
            change(real);
        }
    }
}

/// The block that a line belongs to.
enum Block {
    Other,
    Real(ServerName),
    Virtual(ServerName),
    Profile(u16),
    Content(BlockKind, String),
}

/// A `bind` line's pair, kept until every real server is known.
struct Bound {
    server: ServerName,
    port: u16,
    pair: Pair,
}

struct Reader {
    config: BoxConfig,
    block: Block,
    bound: Vec<Bound>,
}

/// Reads the answer of `show running-config`.
///
/// # Errors
/// If it is not whole, or contradicts itself.
pub(super) fn read(answer: &str) -> Result<BoxConfig, Unbelievable> {
    check_whole(answer)?;
    let mut reader = Reader { config: BoxConfig::default(), block: Block::Other, bound: Vec::new() };
    for line in answer.lines() {
        reader.line(line.trim())?;
    }
    reader.finish()
}

/// Ends with `end`, and has as many bytes as its head says.
fn check_whole(answer: &str) -> Result<(), Unbelievable> {
    if answer.lines().map(str::trim).rfind(|line| !line.is_empty()) != Some("end") {
        return unbelievable("it does not end with `end`");
    }
    let mut rest = answer;
    while let Some((line, after)) = rest.split_once('\n') {
        rest = after;
        let Some(announced) = announced_bytes(line) else { continue };
        // Each line ended in CR LF on the wire; whether the box counts both or one, fewer than announced is too few.
        let received = after.len() + after.bytes().filter(|byte| *byte == b'\n').count();
        if received < announced {
            return unbelievable(format!("{announced} bytes are announced, {received} came"));
        }
        break;
    }
    Ok(())
}

/// N of `Current configuration : N bytes`.
fn announced_bytes(line: &str) -> Option<usize> {
    let rest = line.trim().strip_prefix("Current configuration")?;
    rest.trim_start().strip_prefix(':')?.trim().strip_suffix("bytes")?.trim().parse().ok()
}

impl Reader {
    fn line(&mut self, line: &str) -> Result<(), Unbelievable> {
        let mut words = line.split_ascii_whitespace();
        let Some(first) = words.next() else { return Ok(()) };
        match first {
            "server" => self.server_line(line),
            "csw-rule" | "csw-policy" | "url-map" => self.content_line(line),
            "!" if words.next().is_none() => {
                self.block = Block::Other;
                Ok(())
            }
            _ if first.starts_with('!') => Ok(()),
            _ => match &self.block {
                Block::Other => Ok(()),
                Block::Real(name) => {
                    let name = Arc::clone(name);
                    self.real_line(&name, line)
                }
                Block::Virtual(name) => {
                    let name = Arc::clone(name);
                    self.virtual_line(&name, line)
                }
                Block::Content(kind, name) => {
                    if !csw::block_line(&mut self.config, *kind, name, line) {
                        self.block = Block::Other;
                    }
                    Ok(())
                }
                Block::Profile(port) => {
                    let profile = self.config.profiles.entry(*port).or_default();
                    profile.tcp |= first == "tcp";
                    profile.udp |= first == "udp";
                    Ok(())
                }
            },
        }
    }

    /// A rule of content switching, or the head of a policy or a map.
    fn content_line(&mut self, line: &str) -> Result<(), Unbelievable> {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        let Some((name, rest)) = csw::name_and_rest(rest) else {
            return unbelievable(format!("`{line}` breaks off"));
        };
        self.block = match word {
            "csw-policy" => {
                self.config.book.policy_mut(name).any_case = rest == "case-insensitive";
                Block::Content(BlockKind::Policy, name.to_owned())
            }
            "url-map" => {
                self.config.book.map_mut(name);
                Block::Content(BlockKind::Map, name.to_owned())
            }
            _ => {
                self.config.book.set_rule(name, rest);
                Block::Other
            }
        };
        Ok(())
    }

    /// A line that begins with `server`: a block of its own, or a global option.
    fn server_line(&mut self, line: &str) -> Result<(), Unbelievable> {
        let words: Vec<&str> = line.split_ascii_whitespace().skip(1).collect();
        self.block = match words.as_slice() {
            ["real" | "real-name" | "remote" | "remote-name" | "cache-name", name, ip, ..] => {
                let (name, ip) = self.new_server(name, ip, line)?;
                self.config.add_real(&name, ip);
                Block::Real(name)
            }
            ["virtual" | "virtual-name" | "virtual-name-or-ip", name, ip, ..] => {
                let (name, ip) = self.new_server(name, ip, line)?;
                self.config.add_virtual(&name, ip);
                Block::Virtual(name)
            }
            ["real" | "real-name" | "virtual" | "virtual-name" | "virtual-name-or-ip", ..] => {
                return unbelievable(format!("`{line}` has no address"));
            }
            ["port", port] => match port_name::read(port) {
                Some(PortWord::Number(port)) => {
                    self.config.profiles.entry(port).or_default();
                    Block::Profile(port)
                }
                _ => Block::Other,
            },
            ["predictor", word, ..] => {
                self.config.predictor = Some(Predictor::read(word));
                Block::Other
            }
            _ => Block::Other,
        };
        Ok(())
    }

    fn new_server(&self, name: &str, ip: &str, line: &str) -> Result<(ServerName, IpAddr), Unbelievable> {
        let Ok(ip) = ip.parse::<IpAddr>() else { return unbelievable(format!("`{line}` has no address")) };
        if self.config.reals.contains_key(name) || self.config.virtuals.contains_key(name) {
            return unbelievable(format!("`{name}` is there twice"));
        }
        if self.config.addresses.contains_key(&ip) {
            return unbelievable(format!("two servers have the address {ip}"));
        }
        // Nobody but us gives such names: a slip of the reading, not somebody else's server.
        if [Kind::Real, Kind::Virtual].iter().any(|kind| name::decode(*kind, name).is_some_and(|meant| meant != ip)) {
            return unbelievable(format!("`{name}` has the address {ip}, which is not the one in its name"));
        }
        Ok((name.into(), ip))
    }

    fn real_line(&mut self, name: &ServerName, line: &str) -> Result<(), Unbelievable> {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        match words.as_slice() {
            ["port", port, rest @ ..] => {
                let Some(port) = port_of(port, line, is_ours(Kind::Real, name))? else { return Ok(()) };
                let pair = Pair { real: Arc::clone(name), port };
                match rest {
                    ["disable"] => self.config.change_port(&pair, |port| port.disabled = true),
                    ["keepalive"] => self.config.change_port(&pair, |port| port.keepalive = true),
                    ["group-id", first, ..] => {
                        let first = number(first, line)?;
                        self.config.change_port(&pair, |port| port.group = u16::try_from(first).ok());
                    }
                    _ => self.config.change_port(&pair, |_| {}),
                }
            }
            ["disable"] => self.config.change_real(name, |real| real.disabled = true),
            ["weight", weight, ..] => {
                let weight = number(weight, line)?;
                self.config.change_real(name, |real| real.weight = Some(weight));
            }
            ["max-conn", max] => {
                let max = number(max, line)?;
                self.config.change_real(name, |real| real.max_conn = Some(max));
            }
            _ => {}
        }
        Ok(())
    }

    fn virtual_line(&mut self, name: &ServerName, line: &str) -> Result<(), Unbelievable> {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        let ours = is_ours(Kind::Virtual, name);
        match words.as_slice() {
            ["port", word, ..] => {
                if let Some(port) = port_of(word, line, ours)? {
                    self.config.add_virtual_port(name, port);
                    let behind = line.split_once(word).map_or("", |(_, behind)| behind.trim());
                    if let Some(server) = self.config.virtuals.get_mut(name) {
                        csw::put_line(server, port, behind);
                    }
                }
            }
            ["predictor", word, ..] => {
                if let Some(server) = self.config.virtuals.get_mut(name) {
                    server.predictor = Some(Predictor::read(word));
                }
            }
            ["bind", port, pairs @ ..] => {
                if pairs.is_empty() || pairs.len() % 2 != 0 {
                    return unbelievable(format!("`{line}` breaks off"));
                }
                let Some(port) = port_of(port, line, ours)? else { return Ok(()) };
                for pair in pairs.chunks_exact(2) {
                    let Some(real_port) = port_of(pair[1], line, ours)? else { continue };
                    let pair = Pair { real: pair[0].into(), port: real_port };
                    self.bound.push(Bound { server: Arc::clone(name), port, pair });
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn finish(mut self) -> Result<BoxConfig, Unbelievable> {
        for Bound { server, port, pair } in std::mem::take(&mut self.bound) {
            if self.config.real_port(&pair).is_none() {
                let Pair { real, port } = pair;
                return unbelievable(format!("`{server}` binds port {port} of `{real}`, which is not there"));
            }
            self.config.bind(&server, port, &pair);
        }
        Ok(self.config)
    }
}

/// Whether a server's name is one of ours.
fn is_ours(kind: Kind, name: &str) -> bool {
    name::decode(kind, name).is_some()
}

/// A port; `None` for `default`, which the contract has no word for, and for a name of foreign configuration that we
/// do not know: nothing of ours depends on it.
fn port_of(word: &str, line: &str, ours: bool) -> Result<Option<u16>, Unbelievable> {
    match port_name::read(word) {
        Some(PortWord::Number(port)) => Ok(Some(port)),
        Some(PortWord::Default) => Ok(None),
        None if ours => unbelievable(format!("`{line}`: `{word}` is no port we know")),
        None => Ok(None),
    }
}

fn number(word: &str, line: &str) -> Result<u32, Unbelievable> {
    word.parse().or_else(|_| unbelievable(format!("`{line}`: `{word}` is no number")))
}

#[cfg(test)]
#[path = "config_tests.rs"]
mod tests;
