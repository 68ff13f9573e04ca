//! What the driver types, as data: each command knows its line, where it is typed, and what takes it back.
//!
//! The words are those that real boxes were seen to accept. Ports are typed as numbers. `server ...` lines are accepted
//! in every configuration mode, so that going from one server to another costs one line.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

/// A name on the box.
pub(super) type ServerName = Arc<str>;

/// Where a command is typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// `#` or any configuration mode.
    Anywhere,
    /// Any configuration mode.
    Config,
    /// `server real NAME IP`.
    Real(ServerName, IpAddr),
    /// `server virtual NAME`, which exists.
    Virtual(ServerName),
    /// `server port N`.
    PortProfile(u16),
    /// `csw-policy NAME`, `url-map NAME`.
    Block(BlockKind, String),
}

/// Blocks about content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BlockKind {
    /// `csw-policy`.
    Policy,
    /// `url-map`, of the older boxes.
    Map,
}

impl BlockKind {
    fn keyword(self) -> &'static str {
        match self {
            BlockKind::Policy => "csw-policy",
            BlockKind::Map => "url-map",
        }
    }
}

/// Which transport protocol a port profile names.
pub(super) use crate::base::addr::Protocol;

/// How a virtual server chooses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Predictor {
    /// `least-conn`, the device's default.
    LeastConn,
    /// `round-robin`.
    RoundRobin,
    /// `weighted`.
    Weighted,
    /// Any other; foreign configuration has them.
    Other,
}

impl Predictor {
    /// Reads a keyword.
    pub(super) fn read(word: &str) -> Predictor {
        match word {
            "least-conn" => Predictor::LeastConn,
            "round-robin" => Predictor::RoundRobin,
            "weighted" => Predictor::Weighted,
            _ => Predictor::Other,
        }
    }

    fn keyword(self) -> &'static str {
        match self {
            Predictor::RoundRobin => "round-robin",
            Predictor::Weighted => "weighted",
            Predictor::LeastConn | Predictor::Other => "least-conn",
        }
    }
}

/// A pair of `bind`: a real server and its port.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Pair {
    pub(super) real: ServerName,
    pub(super) port: u16,
}

/// One line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Command {
    ConfigureTerminal,
    ShowVersion,
    ShowRunningConfig,
    /// Every real server, or one.
    ShowReal(Option<ServerName>),
    ShowVirtual,
    /// Ends every connection of a real server.
    ClearSessions(ServerName),
    /// Creates a real server, or enters one; its address is repeated either way.
    Real(ServerName, IpAddr),
    /// Asynchronous: the server is gone some time later.
    NoReal(ServerName),
    CreateVirtual(ServerName, IpAddr),
    /// Without its address, because with it the box takes it for a new one.
    EnterVirtual(ServerName),
    NoVirtual(ServerName),
    PortProfile(u16),
    NoPortProfile(u16),
    ProfileSays(u16, Protocol),
    ProfileSaysNot(u16, Protocol),
    RealPort(Pair, IpAddr),
    NoRealPort(Pair, IpAddr),
    /// Graceful: no new connection, existing ones finish.
    Disable(Pair, IpAddr),
    Enable(Pair, IpAddr),
    Keepalive(Pair, IpAddr),
    NoKeepalive(Pair, IpAddr),
    /// The handshake only: no HTTP request.
    L4CheckOnly(Pair, IpAddr),
    Weight(ServerName, IpAddr, u32),
    MaxConn(ServerName, IpAddr, u32),
    NoMaxConn(ServerName, IpAddr, u32),
    /// `port default disable` of a virtual server: what is not configured is not forwarded.
    DefaultPortOff(ServerName),
    VirtualPort(ServerName, u16),
    NoVirtualPort(ServerName, u16),
    SetPredictor(ServerName, Predictor, Predictor),
    Bind(ServerName, u16, Pair),
    NoBind(ServerName, u16, Pair),
    /// The rules of a policy with how often they decided.
    ShowPolicy(String),
    /// A rule as a whole, in the place of what it was.
    CswRule {
        name: String,
        words: String,
        was: Option<String>,
    },
    NoCswRule(String, String),
    /// Creates a policy or a map, or enters one.
    Block(BlockKind, String),
    NoBlock(BlockKind, String),
    BlockLine(BlockKind, String, String),
    /// What stands behind `port P` of a virtual server, in the place of what stood there.
    PortLine {
        server: ServerName,
        port: u16,
        line: String,
        was: Option<String>,
    },
    NoPortLine {
        server: ServerName,
        port: u16,
        line: String,
    },
    /// A port of a real server is in this group, instead of that one.
    GroupId(Pair, IpAddr, u16, Option<u16>),
    NoGroupId(Pair, IpAddr, u16),
}

impl Command {
    /// Where it is typed.
    pub(super) fn place(&self) -> Place {
        use Command as C;
        match self {
            C::ConfigureTerminal
            | C::ShowVersion
            | C::ShowRunningConfig
            | C::ShowReal(_)
            | C::ShowVirtual
            | C::ShowPolicy(_) => Place::Anywhere,
            C::ClearSessions(_)
            | C::Real(..)
            | C::NoReal(_)
            | C::CreateVirtual(..)
            | C::EnterVirtual(_)
            | C::NoVirtual(_)
            | C::PortProfile(_)
            | C::NoPortProfile(_)
            | C::CswRule { .. }
            | C::NoCswRule(..)
            | C::Block(..)
            | C::NoBlock(..) => Place::Config,
            C::BlockLine(kind, name, _) => Place::Block(*kind, name.clone()),
            C::ProfileSays(port, _) | C::ProfileSaysNot(port, _) => Place::PortProfile(*port),
            C::RealPort(pair, ip)
            | C::NoRealPort(pair, ip)
            | C::Disable(pair, ip)
            | C::Enable(pair, ip)
            | C::Keepalive(pair, ip)
            | C::NoKeepalive(pair, ip)
            | C::L4CheckOnly(pair, ip)
            | C::GroupId(pair, ip, ..)
            | C::NoGroupId(pair, ip, _) => Place::Real(Arc::clone(&pair.real), *ip),
            C::Weight(name, ip, _) | C::MaxConn(name, ip, _) | C::NoMaxConn(name, ip, _) => {
                Place::Real(Arc::clone(name), *ip)
            }
            C::DefaultPortOff(name)
            | C::VirtualPort(name, _)
            | C::NoVirtualPort(name, _)
            | C::SetPredictor(name, ..)
            | C::Bind(name, ..)
            | C::NoBind(name, ..)
            | C::PortLine { server: name, .. }
            | C::NoPortLine { server: name, .. } => Place::Virtual(Arc::clone(name)),
        }
    }

    /// The mode that the prompt shows afterwards, if the command changes it: what is between its parentheses.
    pub(super) fn leads_to(&self) -> Option<String> {
        match self {
            Command::ConfigureTerminal => Some("config".to_owned()),
            Command::Real(name, _) => Some(format!("config-rs-{name}")),
            Command::CreateVirtual(name, _) | Command::EnterVirtual(name) => Some(format!("config-vs-{name}")),
            Command::PortProfile(port) => Some(format!("config-port-{port}")),
            Command::Block(BlockKind::Policy, name) => Some(format!("config-csw-{name}")),
            Command::Block(BlockKind::Map, name) => Some(format!("config-url-map-{name}")),
            _ => None,
        }
    }

    /// Whether a prompt shows the mode that the command leads to. The manuals disagree about that of a policy.
    pub(super) fn has_led_to(&self, mode: &str) -> bool {
        match self {
            Command::Block(BlockKind::Policy, name) if mode == format!("config-csw-policy-{name}") => true,
            _ => self.leads_to().is_none_or(|wanted| wanted == mode),
        }
    }

    /// What takes it back, if it had an effect worth taking back.
    pub(super) fn undo(&self) -> Option<Command> {
        use Command as C;
        Some(match self.clone() {
            C::Real(name, _) => C::NoReal(name),
            C::CreateVirtual(name, _) => C::NoVirtual(name),
            C::PortProfile(port) => C::NoPortProfile(port),
            C::ProfileSays(port, protocol) => C::ProfileSaysNot(port, protocol),
            C::ProfileSaysNot(port, protocol) => C::ProfileSays(port, protocol),
            C::RealPort(pair, ip) => C::NoRealPort(pair, ip),
            C::Disable(pair, ip) => C::Enable(pair, ip),
            C::Enable(pair, ip) => C::Disable(pair, ip),
            C::Keepalive(pair, ip) => C::NoKeepalive(pair, ip),
            C::NoKeepalive(pair, ip) => C::Keepalive(pair, ip),
            C::MaxConn(name, ip, max) => C::NoMaxConn(name, ip, max),
            C::NoMaxConn(name, ip, max) => C::MaxConn(name, ip, max),
            C::VirtualPort(name, port) => C::NoVirtualPort(name, port),
            C::SetPredictor(name, was, is) => C::SetPredictor(name, is, was),
            C::Bind(name, port, pair) => C::NoBind(name, port, pair),
            C::NoBind(name, port, pair) => C::Bind(name, port, pair),
            C::CswRule { name, words, was: Some(was) } => C::CswRule { name, words: was, was: Some(words) },
            C::CswRule { name, words, was: None } => C::NoCswRule(name, words),
            C::NoCswRule(name, words) => C::CswRule { name, words, was: None },
            // Nothing leads to it before the lines behind it were taken back.
            C::Block(kind, name) => C::NoBlock(kind, name),
            C::PortLine { server, port, line, was: Some(was) } => {
                C::PortLine { server, port, line: was, was: Some(line) }
            }
            C::PortLine { server, port, line, was: None } => C::NoPortLine { server, port, line },
            C::NoPortLine { server, port, line } => C::PortLine { server, port, line, was: None },
            C::GroupId(pair, ip, is, Some(was)) => C::GroupId(pair, ip, was, Some(is)),
            C::GroupId(pair, ip, is, None) => C::NoGroupId(pair, ip, is),
            C::NoGroupId(pair, ip, was) => C::GroupId(pair, ip, was, None),
            _ => return None,
        })
    }

    /// Whether success is silent: everything but `show` and `clear` says something only when it fails.
    pub(super) fn is_silent(&self) -> bool {
        use Command as C;
        !matches!(
            self,
            C::ShowVersion
                | C::ShowRunningConfig
                | C::ShowReal(_)
                | C::ShowVirtual
                | C::ShowPolicy(_)
                | C::ClearSessions(_)
        )
    }
}

/// The line, without its end.
impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use Command as C;
        match self {
            C::ConfigureTerminal => f.write_str("configure terminal"),
            C::ShowVersion => f.write_str("show version"),
            C::ShowRunningConfig => f.write_str("show running-config"),
            C::ShowReal(None) => f.write_str("show server real"),
            C::ShowReal(Some(name)) => write!(f, "show server real {name}"),
            C::ShowVirtual => f.write_str("show server virtual"),
            C::ClearSessions(name) => write!(f, "clear server session {name}"),
            C::Real(name, ip) => write!(f, "server real {name} {ip}"),
            C::NoReal(name) => write!(f, "no server real {name}"),
            C::CreateVirtual(name, ip) => write!(f, "server virtual {name} {ip}"),
            C::EnterVirtual(name) => write!(f, "server virtual {name}"),
            C::NoVirtual(name) => write!(f, "no server virtual {name}"),
            C::PortProfile(port) => write!(f, "server port {port}"),
            C::NoPortProfile(port) => write!(f, "no server port {port}"),
            C::ProfileSays(_, protocol) => write!(f, "{protocol}"),
            C::ProfileSaysNot(_, protocol) => write!(f, "no {protocol}"),
            C::RealPort(pair, _) => write!(f, "port {}", pair.port),
            C::NoRealPort(pair, _) => write!(f, "no port {}", pair.port),
            C::Disable(pair, _) => write!(f, "port {} disable", pair.port),
            C::Enable(pair, _) => write!(f, "no port {} disable", pair.port),
            C::Keepalive(pair, _) => write!(f, "port {} keepalive", pair.port),
            C::NoKeepalive(pair, _) => write!(f, "no port {} keepalive", pair.port),
            C::L4CheckOnly(pair, _) => write!(f, "port {} l4-check-only", pair.port),
            C::Weight(_, _, weight) => write!(f, "weight {weight}"),
            C::MaxConn(_, _, max) => write!(f, "max-conn {max}"),
            C::NoMaxConn(_, _, max) => write!(f, "no max-conn {max}"),
            C::DefaultPortOff(_) => f.write_str("port default disable"),
            C::VirtualPort(_, port) => write!(f, "port {port}"),
            C::NoVirtualPort(_, port) => write!(f, "no port {port}"),
            C::SetPredictor(_, _, predictor) => write!(f, "predictor {}", predictor.keyword()),
            C::Bind(_, port, pair) => write!(f, "bind {port} {} {}", pair.real, pair.port),
            C::NoBind(_, port, pair) => write!(f, "no bind {port} {} {}", pair.real, pair.port),
            C::ShowPolicy(name) => write!(f, "show csw-policy \"{name}\""),
            C::CswRule { name, words, .. } => write!(f, "csw-rule \"{name}\" {words}"),
            C::NoCswRule(name, _) => write!(f, "no csw-rule \"{name}\""),
            C::Block(kind, name) => write!(f, "{} \"{name}\"", kind.keyword()),
            C::NoBlock(kind, name) => write!(f, "no {} \"{name}\"", kind.keyword()),
            C::BlockLine(_, _, line) => f.write_str(line),
            C::PortLine { port, line, .. } => write!(f, "port {port} {line}"),
            C::NoPortLine { port, line, .. } => write!(f, "no port {port} {line}"),
            C::GroupId(pair, _, number, _) => write!(f, "port {} group-id {number} {number}", pair.port),
            C::NoGroupId(pair, _, number) => write!(f, "no port {} group-id {number} {number}", pair.port),
        }
    }
}
