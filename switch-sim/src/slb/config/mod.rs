//! The SLB configuration: what is wanted, checked whole before any of it is applied. What is the case (states,
//! connections) is the box's to say.
//!
//! A [`Change`](super::change::Change) goes through three hands, in this order: [`Config::check`], the box's `submit`, [`Config::apply`].
//! Nothing else changes a configuration, so a refused command leaves no trace.

mod apply;
mod check;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;

use super::block::{Block, BlockKind};
use super::lines::Lines;
use super::ordered::Ordered;
use super::words::{Admin, Name, Port, Predictor, Protocol, RealKind, Sticky};

/// How many of each a device holds. At the bound the device refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Real servers.
    pub reals: usize,
    /// Virtual servers.
    pub virtuals: usize,
    /// Ports of real servers, and of virtual servers, each.
    pub ports: usize,
    /// Bindings.
    pub binds: usize,
    /// Blocks of all other kinds together.
    pub blocks: usize,
    /// Other lines in one place.
    pub lines: usize,
}

impl Limits {
    /// The table sizes of the older platform (index ranges of the MIB).
    pub const XL: Limits = Limits { reals: 256, virtuals: 64, ports: 2048, binds: 2048, blocks: 512, lines: 1024 };

    /// More than any box had, and still a bound on what a session can make the emulator hold (some 100 MB).
    pub const ROOMY: Limits =
        Limits { reals: 65_536, virtuals: 16_384, ports: 131_072, binds: 131_072, blocks: 4_096, lines: 4_096 };
}

/// A port of a real server.
#[derive(Debug, Clone, Default)]
pub struct RealPort {
    /// `port P disable`.
    pub admin: Admin,
    /// `port P max-conn N`.
    pub max_conn: Option<u32>,
    /// Every other option; the words after `port P`.
    pub lines: Lines,
    /// Deleted, and kept by the box until its connections have ended.
    pub leaving: bool,
    bound_to: BTreeSet<(Name, Port)>,
}

impl RealPort {
    /// The ports of virtual servers that this port serves.
    pub fn bound_to(&self) -> impl Iterator<Item = (&Name, Port)> {
        self.bound_to.iter().map(|(server, port)| (server, *port))
    }

    /// Whether it serves any.
    pub fn is_bound(&self) -> bool {
        !self.bound_to.is_empty()
    }
}

/// A real server.
#[derive(Debug, Clone)]
pub struct Real {
    /// Its address.
    pub address: IpAddr,
    /// Where it stands.
    pub kind: RealKind,
    /// `disable`.
    pub admin: Admin,
    /// `weight N`.
    pub weight: Option<u32>,
    /// `max-conn N`.
    pub max_conn: Option<u32>,
    /// Every other option.
    pub lines: Lines,
    /// Its ports; [`Port::DEFAULT`] is always there.
    pub ports: BTreeMap<Port, RealPort>,
    /// Deleted, and kept by the box until its connections have ended.
    pub leaving: bool,
}

/// A port of a virtual server.
#[derive(Debug, Clone, Default)]
pub struct VirtualPort {
    /// `port P disable`.
    pub admin: Admin,
    /// `port P sticky`, `no port P sticky`.
    pub sticky: Option<Sticky>,
    /// Every other option; the words after `port P`.
    pub lines: Lines,
    /// The real servers' ports that serve it, in the order of their binding.
    pub binds: Ordered<(Name, Port), ()>,
}

impl VirtualPort {
    /// Whether clients stay with their real server: as configured, else only on `ssl`.
    pub fn sticky_in_force(&self, port: Port) -> Sticky {
        self.sticky.unwrap_or(if port == Port::SSL { Sticky::On } else { Sticky::Off })
    }
}

/// A virtual server.
#[derive(Debug, Clone)]
pub struct Virtual {
    /// Its address.
    pub address: IpAddr,
    /// `disable`.
    pub admin: Admin,
    /// `predictor P`.
    pub predictor: Option<Predictor>,
    /// Every other option.
    pub lines: Lines,
    /// Its ports; [`Port::DEFAULT`] is always there.
    pub ports: BTreeMap<Port, VirtualPort>,
}

/// The whole of it.
#[derive(Debug, Clone)]
pub struct Config {
    reals: Ordered<Name, Real>,
    virtuals: Ordered<Name, Virtual>,
    blocks: Ordered<(BlockKind, Name), Block>,
    system: Lines,
    predictor: Option<Predictor>,
    addresses: HashMap<IpAddr, Name>,
    real_ports: usize,
    virtual_ports: usize,
    binds: usize,
    limits: Limits,
}

/// What `port http` of a real server brings along: the check that the device makes unless told otherwise.
const HTTP_CHECK: (&str, &str) = ("url", "url \"HEAD /\"");

impl Config {
    /// An empty configuration.
    pub fn new(limits: Limits) -> Config {
        Config {
            reals: Ordered::default(),
            virtuals: Ordered::default(),
            blocks: Ordered::default(),
            system: Lines::default(),
            predictor: None,
            addresses: HashMap::new(),
            real_ports: 0,
            virtual_ports: 0,
            binds: 0,
            limits,
        }
    }

    /// A real server; also one that is leaving.
    pub fn real(&self, name: &Name) -> Option<&Real> {
        self.reals.get(name)
    }

    /// A virtual server.
    pub fn virtual_server(&self, name: &Name) -> Option<&Virtual> {
        self.virtuals.get(name)
    }

    /// A block.
    pub fn block(&self, kind: BlockKind, name: &Name) -> Option<&Block> {
        self.blocks.get(&(kind, name.clone()))
    }

    /// The real servers, first configured first, the leaving ones among them.
    pub fn reals(&self) -> impl Iterator<Item = (&Name, &Real)> {
        self.reals.iter()
    }

    /// The virtual servers, first configured first.
    pub fn virtuals(&self) -> impl Iterator<Item = (&Name, &Virtual)> {
        self.virtuals.iter()
    }

    /// The blocks of a kind, first configured first.
    pub fn blocks(&self, kind: BlockKind) -> impl Iterator<Item = (&Name, &Block)> {
        self.blocks.iter().filter(move |((of, _), _)| *of == kind).map(|((_, name), block)| (name, block))
    }

    /// The lines of the device as a whole.
    pub fn system(&self) -> &Lines {
        &self.system
    }

    /// How the device chooses where a virtual server does not say.
    pub fn predictor(&self) -> Option<Predictor> {
        self.predictor
    }

    /// The server that has this address.
    pub fn at_address(&self, address: IpAddr) -> Option<&Name> {
        self.addresses.get(&address)
    }

    /// How many bindings there are.
    pub fn bind_count(&self) -> usize {
        self.binds
    }

    /// The bounds.
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// The protocol of a port: TCP unless `server port N` says `udp` and nothing of TCP.
    pub fn protocol(&self, port: Port) -> Protocol {
        let profile =
            Name::new(&port.number().to_string()).ok().and_then(|name| self.block(BlockKind::PortProfile, &name));
        let says = |word: &str| profile.is_some_and(|block| block.lines.iter().any(|(key, _)| key.starts_with(word)));
        if says("udp") && !says("tcp") { Protocol::Udp } else { Protocol::Tcp }
    }
}

#[cfg(test)]
mod tests;
