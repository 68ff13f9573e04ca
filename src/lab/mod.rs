//! The lab: a client, servers, and the switch between them, each in a network namespace of its own on this machine.
//!
//! ```text
//!  client 10.0.0.1 ──veth── switch (own 10.0.0.2, VIP 10.0.0.100) ──veth── s1 10.0.0.11, s2 10.0.0.12, ...
//! ```
//!
//! * [`namespace`]: a named network namespace; [`links`]: cables and addresses in it.
//! * [`owner`]: whose a lab is, and what dead owners left behind; [`rootless`]: becoming root of one's own namespaces.
//! * [`rig`]: a running lab: nodes, processes in them, the switch.
//! * [`serve`], [`load`], [`ask`], [`hold`], [`transfer`], [`flood`]: the demo server and the clients, run as processes
//!   inside the nodes.
//! * [`story`]: what `acm lab` shows, controlled only through the primitives; [`content`]: the same for content switching;
//!   [`promises`]: their closing table.
//!
//! * [`control`]: managers and agents as processes of a lab, with their configuration and keys;
//! * [`experiment`]: a lab with managers and agents, and what is found in it; [`rolling`], [`failover`]: what `acm lab roll` and `acm lab failover` show; [`record`]: what happened when, as CSV and
//!   drawing ([`plot`]); [`peer`]: a service with its agent inside, that sees another one die.
//!
//! No other program is needed. `unsafe` is allowed here where namespaces need it. Callers: `cli`, end-to-end tests.

pub mod ask;
pub mod content;
pub mod control;
pub mod experiment;
pub mod failover;
pub mod flood;
pub mod hold;
pub mod links;
pub mod load;
pub mod namespace;
pub mod owner;
pub mod peer;
pub mod plot;
pub mod process;
pub mod promises;
pub mod record;
pub mod rig;
pub mod rolling;
pub mod rootless;
pub mod serve;
pub mod story;
pub mod transfer;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// The virtual service of every lab.
pub const VIP: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 100)), 80);

/// The port the demo servers listen on.
pub const SERVER_PORT: u16 = 8080;

/// Servers a lab may have: addresses 10.0.0.11 to 10.0.0.74, a port of the switch for each.
pub const SERVERS_MAX: u8 = 63;

/// The client's address.
pub const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);

/// The switch's own address, with its prefix, as `acm switch` takes it.
pub const SWITCH: &str = "10.0.0.2/24";

/// Managers a lab may have.
pub const MANAGERS_MAX: u8 = 5;

/// The address of manager `n`, from 1, on the servers' network.
pub fn manager(n: u8) -> IpAddr {
    Ipv4Addr::new(10, 0, 0, 2 + n).into()
}

/// The address of server `n`, from 1.
pub fn server(n: u8) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 10 + n)), SERVER_PORT)
}
