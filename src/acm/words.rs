//! The words of the contract. Addresses are dual-stack everywhere: IPv4 and IPv6 are one code path.
//!
//! The operator's *will* (what was asked for) and the *observed* facts (what checks and packets showed) are
//! separate structs, so that no code can confuse "shall be up" with "is up".

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::sync::Arc;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::rules::share::Claim;
use super::rules::{Action, Content, HashOptions, Persistence, Rule, Strangers, Switching};
use crate::base::addr::{Mac, Protocol, serde_as_text};
use crate::base::fraction::Fraction;
use crate::base::id::{BindingId, Name, ServiceId};
use crate::base::span::Span;
use crate::base::text::{cut, quoted};
use crate::base::time::Time;

/// A virtual service's address: `VIP:PORT` for TCP, `VIP:PORT/udp` for UDP.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceKey {
    /// The virtual address and port that clients connect to.
    pub addr: SocketAddr,
    /// TCP or UDP.
    pub protocol: Protocol,
}

impl ServiceKey {
    /// The TCP service at this address.
    pub fn tcp(addr: SocketAddr) -> ServiceKey {
        ServiceKey { addr, protocol: Protocol::Tcp }
    }

    /// The UDP service at this address.
    pub fn udp(addr: SocketAddr) -> ServiceKey {
        ServiceKey { addr, protocol: Protocol::Udp }
    }

    /// The virtual address.
    pub fn vip(&self) -> IpAddr {
        self.addr.ip()
    }
}

impl fmt::Display for ServiceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.protocol {
            Protocol::Tcp => f.pad(&self.addr.to_string()),
            Protocol::Udp => f.pad(&format!("{}/udp", self.addr)),
        }
    }
}

impl fmt::Debug for ServiceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What was wrong with a text that should have named a service.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a virtual service; write VIP:PORT or VIP:PORT/udp, for example 10.0.0.100:80 or [2001:db8::1]:53/udp"
)]
pub struct NotAService(pub String);

impl FromStr for ServiceKey {
    type Err = NotAService;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || NotAService(cut(text));
        let (addr, protocol) = match text.rsplit_once('/') {
            None => (text, Protocol::Tcp),
            Some((addr, "tcp")) => (addr, Protocol::Tcp),
            Some((addr, "udp")) => (addr, Protocol::Udp),
            Some(_) => return Err(wrong()),
        };
        let addr: SocketAddr = addr.parse().map_err(|_| wrong())?;
        Ok(ServiceKey { addr: plain(addr).ok_or_else(wrong)?, protocol })
    }
}

serde_as_text!(ServiceKey);

/// Strips nothing and invents nothing: an address with an IPv6 scope or flow label names no single host on a
/// switch with many ports, so it is refused.
fn plain(addr: SocketAddr) -> Option<SocketAddr> {
    match addr {
        SocketAddr::V6(v6) if v6.scope_id() != 0 || v6.flowinfo() != 0 => None,
        _ => Some(addr),
    }
}

/// A binding's address: one real behind one virtual service. The same real may be bound to many services.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema)]
pub struct BindingKey {
    /// The virtual service.
    #[schema(value_type = String, example = "10.0.0.100:80")]
    pub service: ServiceKey,
    /// The real server: address and port.
    #[schema(value_type = String, example = "10.0.0.11:8080")]
    pub real: SocketAddr,
}

impl fmt::Display for BindingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} -> {}", self.service, self.real)
    }
}

impl fmt::Debug for BindingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The group a binding is in when none is named, and the only one that receives traffic without rules.
pub fn default_group() -> Name {
    // A literal that satisfies the name's rule; the test below keeps it so.
    "default".parse().expect("`default` is a legal name")
}

/// The owner of what a person or a service without a manager adds.
pub fn operator() -> Name {
    "operator".parse().expect("`operator` is a legal name")
}

/// How a group chooses a real for a new connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Scheduler {
    /// Each eligible real in turn, weights ignored.
    #[default]
    RoundRobin,
    /// In turn, in proportion to weights (smooth weighted round-robin).
    Weighted,
    /// The fewest live connections per weight; ties in turn.
    LeastConn,
    /// Uniformly at random, in proportion to weights.
    Random,
    /// By a consistent hash of the client's address (Maglev table, weights respected): one client address
    /// always meets the same real while the group's members stay.
    SourceHash,
    /// By a consistent hash of the URL, or of the part of it that [`HashOptions`] names: one URL meets one real, from
    /// any client, on any switch with the same bindings.
    UrlHash,
    /// The same by the value of a cookie that [`HashOptions`] names.
    CookieHash,
}

impl Scheduler {
    /// Every scheduler, for help texts and tests.
    pub const ALL: [Scheduler; 7] = [
        Scheduler::RoundRobin,
        Scheduler::Weighted,
        Scheduler::LeastConn,
        Scheduler::Random,
        Scheduler::SourceHash,
        Scheduler::UrlHash,
        Scheduler::CookieHash,
    ];

    /// The name used on the command line and in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Scheduler::RoundRobin => "round-robin",
            Scheduler::Weighted => "weighted",
            Scheduler::LeastConn => "least-conn",
            Scheduler::Random => "random",
            Scheduler::SourceHash => "source-hash",
            Scheduler::UrlHash => "url-hash",
            Scheduler::CookieHash => "cookie-hash",
        }
    }

    /// True for those that need a request to choose for. Where there is none the group's fallback chooses.
    pub fn needs_content(self) -> bool {
        matches!(self, Scheduler::UrlHash | Scheduler::CookieHash)
    }

    /// True for those that give each key one member, so that [`HashOptions::bounded_load`] has something to bound.
    pub fn hashes(self) -> bool {
        matches!(self, Scheduler::SourceHash | Scheduler::UrlHash | Scheduler::CookieHash)
    }
}

impl fmt::Display for Scheduler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Scheduler {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Scheduler::ALL.into_iter().find(|s| s.as_str() == text).ok_or_else(|| {
            let known: Vec<_> = Scheduler::ALL.iter().map(|s| s.as_str()).collect();
            format!("{} is not a scheduler; choose one of {}", quoted(text), known.join(", "))
        })
    }
}

/// An HTTP check: `GET path`, expecting a status and perhaps a text in the body.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct HttpCheck {
    /// Request path, beginning with `/`, at most 1,024 visible ASCII characters.
    pub path: String,
    /// `Host` header; the real's address if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// The status that passes, 100 to 599.
    #[serde(default = "status_ok")]
    pub status: u16,
    /// Text that must occur in the first 4 KiB of the body, at most 256 bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contains: Option<String>,
}

fn status_ok() -> u16 {
    200
}

/// How deep a health check goes; each depth includes those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum HealthDepth {
    /// ARP (IPv4) or neighbour discovery (IPv6) resolves the real's MAC address. Needed to forward at all.
    L2,
    /// ICMP echo is answered.
    L3,
    /// TCP: SYN is answered by SYN-ACK, then reset. UDP: no port-unreachable.
    L4,
}

/// What must hold before a binding receives connections, and how it is watched afterwards.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct HealthProfile {
    /// How deep the check goes. `L2` is what `--no-health` asks for: the MAC must be known, no more; once active,
    /// such a binding is never failed by a check.
    pub depth: HealthDepth,
    /// An HTTP check after the others, for TCP services (L7).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http: Option<HttpCheck>,
    /// From the start of one check to the start of the next, 100 ms to 1 hour.
    pub interval: Span,
    /// How long one step of a check may take, 10 ms to the interval.
    pub timeout: Span,
    /// Passing checks in a row that bring a *failed* binding back, 1 to 100. The first check of a new binding
    /// needs one.
    pub rise: u8,
    /// Failing checks in a row that take an active binding out, 1 to 100.
    pub fall: u8,
}

impl Default for HealthProfile {
    fn default() -> Self {
        HealthProfile {
            depth: HealthDepth::L4,
            http: None,
            interval: Span::secs(2),
            timeout: Span::secs(1),
            rise: 2,
            fall: 3,
        }
    }
}

impl HealthProfile {
    /// No check beyond the MAC address (`--no-health`).
    pub fn link_only() -> HealthProfile {
        HealthProfile { depth: HealthDepth::L2, ..HealthProfile::default() }
    }
}

/// The operator's will about a binding: shall it take connections?
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AdminState {
    /// It shall.
    Up,
    /// It was Removed: nothing new, existing connections finish; at the deadline, if any, they are cut.
    Draining {
        /// When Remove was accepted.
        since: Time,
        /// When draining turns into Force Remove.
        deadline: Option<Time>,
    },
}

/// A binding's life without refreshment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Lease {
    /// How long one refreshment (an Add) lasts.
    pub period: Span,
    /// When the binding lapses.
    pub until: Time,
}

/// Everything that was asked for about a binding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Will {
    /// Up or draining.
    pub admin: AdminState,
    /// The group it is in.
    pub group: Name,
    /// Share of new connections, 0 to [`WEIGHT_MAX`](crate::base::limits::WEIGHT_MAX); 0 takes none.
    pub weight: u16,
    /// Live connections above which no new one is given; `None`: no limit.
    pub max_conns: Option<u32>,
    /// Who added it.
    pub owner: Name,
    /// The service's own name for this instance, by which consistent hashing and persistence know it
    /// ([`share`](super::rules::share)).
    pub identity: Option<Name>,
    /// Its lease, if it has one.
    pub lease: Option<Lease>,
    /// Its health profile.
    pub health: Arc<HealthProfile>,
}

/// What checks have shown about a binding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Health {
    /// No check has ended yet; the text says what is awaited ("waiting for an ARP reply from 10.0.0.11").
    Unknown(Arc<str>),
    /// The last verdict is good.
    Passing,
    /// The last verdict is bad, and why, in plain words ("TCP connect to 10.0.0.11:8080 refused").
    Failing(Arc<str>),
}

/// Everything observed about a binding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observed {
    /// The checks' verdict.
    pub health: Health,
    /// The real's link address, once resolved.
    pub mac: Option<Mac>,
    /// The lease ran out while no other healthy member could take over.
    pub lapsed: bool,
    /// What its TCP has, once a check has been answered by a SYN-ACK.
    pub tcp: Option<TcpAbilities>,
}

/// What a host's TCP has, as its answer to a SYN that offered everything says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TcpAbilities {
    /// The largest segment it takes, in bytes (RFC 9293, section 3.7.1).
    pub mss: u16,
    /// Window scale (RFC 7323, section 2).
    pub scale: bool,
    /// Selective acknowledgements (RFC 2018).
    pub sack: bool,
    /// Timestamps (RFC 7323, section 3).
    pub timestamps: bool,
}

/// A real bound to a virtual service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binding {
    /// Stable identity.
    pub id: BindingId,
    /// The real server.
    pub real: SocketAddr,
    /// What was asked for.
    pub will: Will,
    /// What was seen.
    pub observed: Observed,
}

impl Binding {
    /// True if new connections may go there: willed up, passing, MAC known. (Weight, max-conns and the client's
    /// segment are judged per connection.)
    pub fn takes_new(&self) -> bool {
        self.will.admin == AdminState::Up && self.observed.health == Health::Passing && self.observed.mac.is_some()
    }

    /// What its share is made from.
    pub fn claim(&self) -> Claim<'_> {
        Claim { real: self.real, identity: self.will.identity.as_ref(), stays: !self.is_draining() }
    }

    /// True after Remove.
    pub fn is_draining(&self) -> bool {
        matches!(self.will.admin, AdminState::Draining { .. })
    }
}

/// How Drop treats the SYNs of one connection attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum DropMode {
    /// A fresh coin for each SYN: TCP's retries delay clients, few are refused.
    Queue,
    /// One verdict per connection attempt, kept over its SYN retries: load is really shed.
    #[default]
    Shed,
}

impl fmt::Display for DropMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            DropMode::Queue => "queue",
            DropMode::Shed => "shed",
        })
    }
}

/// What a refused client hears.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Refusal {
    /// Nothing: TCP retries.
    #[default]
    Silent,
    /// A RST (TCP) or a port-unreachable (UDP).
    Reset,
}

/// A Drop policy in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DropPolicy {
    /// Client prefix it applies to; `None`: the service's own policy, for every client without a longer match.
    pub from: Option<IpNet>,
    /// Fraction of new connections refused.
    pub fraction: Fraction,
    /// Per SYN or per attempt.
    pub mode: DropMode,
    /// Silent or reset.
    pub refusal: Refusal,
    /// When it ends by itself.
    pub until: Option<Time>,
    /// Distinguishes this policy from an earlier one for the same clients, so that `shed` tosses anew when the
    /// policy changes.
    pub salt: u64,
}

/// A group of a service: how it chooses. Its members are the bindings whose will names it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Group {
    /// How it chooses.
    pub scheduler: Scheduler,
    /// What the hashing schedulers hash.
    pub hash: HashOptions,
    /// Whether a client that comes back meets the same real.
    pub persist: Persistence,
}

impl Group {
    /// A group that chooses so, everything else at its default.
    pub fn scheduled_by(scheduler: Scheduler) -> Group {
        Group { scheduler, ..Group::default() }
    }
}

/// A virtual service with everything bound to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// Stable identity.
    pub id: ServiceId,
    /// Its address.
    pub key: ServiceKey,
    /// Groups whose scheduler was set, or that have members.
    pub groups: imbl::OrdMap<Name, Group>,
    /// Profile of bindings that name none.
    pub health: Arc<HealthProfile>,
    /// What a new connection hears when no real is eligible; for content services see
    /// [`SetService::when_none`](super::primitive::SetService::when_none).
    pub when_none: Refusal,
    /// Drop policies, at most one per `from`.
    pub drops: imbl::Vector<DropPolicy>,
    /// How far it looks into what clients send.
    pub content: Content,
    /// What is chosen for on a keep-alive connection.
    pub switching: Switching,
    /// What is done with what no rule decides.
    pub default_action: Action,
    /// What becomes of clients that speak something else than the service reads.
    pub strangers: Strangers,
    /// Ordered content rules; in force while `content` is not `none`.
    pub rules: Arc<[Rule]>,
    /// The bindings, by real.
    pub bindings: imbl::OrdMap<SocketAddr, Arc<Binding>>,
}

impl Service {
    /// A service as it is when nothing was said about it.
    pub fn new(id: ServiceId, key: ServiceKey) -> Service {
        Service {
            id,
            key,
            groups: imbl::OrdMap::unit(default_group(), Group::default()),
            health: Arc::new(HealthProfile::default()),
            when_none: Refusal::Silent,
            drops: imbl::Vector::new(),
            content: Content::None,
            switching: Switching::PerRequest,
            default_action: Action::default_action(),
            strangers: Strangers::Default,
            rules: Arc::from([]),
            bindings: imbl::OrdMap::new(),
        }
    }

    /// The Drop policy for this client: the longest matching prefix wins over the service's own.
    pub fn drop_for(&self, client: IpAddr) -> Option<&DropPolicy> {
        self.drops
            .iter()
            .filter(|policy| policy.from.is_none_or(|prefix| prefix.contains(&client)))
            .max_by_key(|policy| policy.from.map_or(0, |prefix| 1 + u16::from(prefix.prefix_len())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fixed_names_are_legal() {
        assert_eq!(default_group().as_str(), "default");
        assert_eq!(operator().as_str(), "operator");
    }

    #[test]
    fn services_survive_their_text() {
        for text in ["10.0.0.100:80", "10.0.0.100:53/udp", "[2001:db8::1]:443", "[2001:db8::1]:53/udp"] {
            assert_eq!(text.parse::<ServiceKey>().unwrap().to_string(), text);
        }
        assert_eq!("10.0.0.100:80/tcp".parse::<ServiceKey>().unwrap().to_string(), "10.0.0.100:80");
        for bad in [
            "",
            "10.0.0.100",
            "10.0.0.100:80/sctp",
            "10.0.0.100:99999",
            "host:80",
            "[fe80::1%3]:80",
            "10.0.0.100:80/udp/udp",
        ] {
            assert!(bad.parse::<ServiceKey>().is_err(), "{bad}");
        }
    }
}
