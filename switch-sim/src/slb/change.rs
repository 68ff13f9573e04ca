//! What may change in a configuration, and why a change may be refused. One [`Change`] is one command: all of it
//! happens or none.

use std::net::IpAddr;

use super::block::BlockKind;
use super::words::{Admin, Name, Port, Predictor, RealKind, Sticky};

/// A place in the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Place {
    /// The device as a whole.
    System,
    /// A real server.
    Real(Name),
    /// A port of a real server; a change to a port that is not there creates it.
    RealPort(Name, Port),
    /// A virtual server.
    Virtual(Name),
    /// A port of a virtual server; a change to a port that is not there creates it.
    VirtualPort(Name, Port),
    /// A block of another kind.
    Block(BlockKind, Name),
}

/// One command's change.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "fields carry the names of the device's words")]
pub enum Change {
    /// `server real NAME IP` and its sisters.
    AddReal { name: Name, address: IpAddr, kind: RealKind },
    /// `no server real NAME`: unbinds all its ports at once. It stays, leaving, until [`Change::ForgetReal`].
    RemoveReal { name: Name },
    /// The box says that nothing is left of a leaving real.
    ForgetReal { name: Name },
    /// `port P` under a real server.
    AddRealPort { real: Name, port: Port },
    /// `no port P` under a real server. It stays, leaving, until [`Change::ForgetRealPort`].
    RemoveRealPort { real: Name, port: Port },
    /// The box says that nothing is left of a leaving port.
    ForgetRealPort { real: Name, port: Port },
    /// `server virtual NAME IP` and its sisters.
    AddVirtual { name: Name, address: IpAddr },
    /// `no server virtual NAME`, with its bindings.
    RemoveVirtual { name: Name },
    /// `port P` under a virtual server.
    AddVirtualPort { server: Name, port: Port },
    /// `no port P` under a virtual server, with its bindings.
    RemoveVirtualPort { server: Name, port: Port },
    /// `bind P REAL RP [REAL RP]...`
    Bind { server: Name, port: Port, to: Vec<(Name, Port)> },
    /// `no bind P REAL RP [REAL RP]...`: no new connections; what there is ends by itself.
    Unbind { server: Name, port: Port, from: Vec<(Name, Port)> },
    /// `disable` and `no disable` of a server or a port.
    SetAdmin { place: Place, admin: Admin },
    /// `weight N`; `None` is the default.
    SetWeight { real: Name, weight: Option<u32> },
    /// `max-conn N` of a real server or one of its ports; `None` is the default.
    SetMaxConn { place: Place, max: Option<u32> },
    /// `predictor P` of a virtual server, or of the device if `server` is `None`; `None` is the default.
    SetPredictor { server: Option<Name>, predictor: Option<Predictor> },
    /// `port P sticky` and `no port P sticky`; `None` is the default of the port.
    SetSticky { server: Name, port: Port, sticky: Option<Sticky> },
    /// Any other line of the configuration. `key` says which line it replaces; `None` takes it away.
    SetLine { place: Place, key: String, line: Option<String> },
    /// `csw-policy NAME`, `server port N` and other blocks. `header` is the first line as it is printed.
    AddBlock { kind: BlockKind, name: Name, header: String },
    /// The `no` form of a block's first line.
    RemoveBlock { kind: BlockKind, name: Name },
    /// `clear server session NAME`: the real's connections end now.
    ClearSessions { real: Name },
}

/// Whether a change does anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Checked {
    /// It does.
    Needed,
    /// All is so already.
    AlreadySo,
}

/// Why the device refuses a change. How it says so is in the template file (`error.*`).
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "fields carry the names of the device's words")]
pub enum Refusal {
    /// A name with too many characters.
    NameTooLong { name: String },
    /// A name with a character that cannot stand in a configuration.
    BadName { name: String },
    /// A real server of that name has another address.
    RealExists { name: Name },
    /// A virtual server of that name is there: it is entered again without an address.
    VirtualExists { name: Name },
    /// The address is another server's.
    AddressInUse { address: IpAddr, by: Name },
    /// An address of the other family than the device's, or not a host's.
    BadAddress { address: IpAddr },
    /// No real server of that name.
    NoSuchReal { name: Name },
    /// The real server is being deleted.
    RealLeaving { name: Name },
    /// No virtual server of that name.
    NoSuchVirtual { name: Name },
    /// A server has no such port.
    NoSuchPort { server: Name, port: Port },
    /// That pair is bound already.
    AlreadyBound { real: Name, port: Port },
    /// That pair is not bound.
    NotBound { real: Name, port: Port },
    /// The default port cannot be bound or deleted.
    DefaultPort,
    /// No such block.
    NoSuchBlock { kind: BlockKind, name: Name },
    /// No room for another one.
    Full { what: &'static str, max: usize },
    /// The box cannot do this.
    Unsupported { what: String },
    /// The box did not do it, in its own words: one line.
    Failed { why: String },
}
