//! The client module: what makes an ordinary service a managed one.
//!
//! A service binds an anonymous port, says so to the connection managers, and they bind it to its virtual service on every
//! switch concerned. When it ends it is taken back first, and ends when its connections have.
//!
//! In a service, two lines instead of one, and one line of configuration (`web = "10.0.0.100:80"` in `agent.toml`):
//!
//! ```no_run
//! let listener = acm_switch::agent::bind("web")?;
//! for stream in listener.incoming() {
//!     // as with every std::net::TcpListener
//! #   drop(stream?);
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! For services in other languages: `acm run --bind web -- ./server`, or `examples/python/acm.py`, or the protocol in
//! `docs/wire-protocol.md`.
//!
//! * [`listener`]: the face of the library: [`bind`], [`bind_udp`], health, failures of peers; [`task`]: its thread, with
//!   socket, clock and signals;
//! * [`sidecar`]: the agent of a command in a process of its own, behind `acm run`;
//! * [`machine`]: what both are: bindings, announced, acknowledged, beaconed, taken back. Pure;
//! * `failures`: what was seen of peers; [`config`]: what an agent is told.
//!
//! Not here: which switch gets what, and when (`manager`). An agent holds no switch and knows none. Callers: services,
//! `cli`.

pub mod config;
mod failures;
pub mod listener;
pub mod machine;
pub mod sidecar;
pub mod task;

pub use listener::{Datagrams, Listener, bind, bind_udp, report_peer_failure};
