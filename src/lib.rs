//! The map of the ACM switch: a load-balancing switch in software, controlled by Active Connection Management.
//! Documentation only; the code is in the rooms.
//!
//! ```text
//!  clients ==> port ==> worker ==> plane ==> worker ==> port ==> real servers
//!                                   ^ ServiceTable: one immutable value, swapped whole
//!  service --> api --> AcmSwitch ---+ LocalSwitch  (this process)
//!  operator -> cli --> NativeClient --HTTP--> api
//! ```
//!
//! # Two paths
//!
//! **A packet**: [`port`] `recv` (a batch) → [`switch::worker`] → [`plane`] `process` → [`wire`] `parse` → flow look-up;
//! hit: the stored rewrite; miss: Drop? → schedule → insert → rewrite; not ours: learn and bridge → [`port`] `send`.
//!
//! **A primitive**: [`cli`] or [`api`] → [`acm::switch::AcmSwitch`] → [`switch::local`] → [`switch::control`] decides →
//! the table is validated whole and published → every worker has taken it up → the answer, and an event.
//!
//! # Rooms and layers
//!
//! A room imports only from layers below its own; `tests/layers.rs` holds the same table.
//!
//! | layer | room | what it is | may import |
//! |---|---|---|---|
//! | 0 | [`base`] | words everyone shares: addresses, time, identifiers, limits | |
//! | 1 | [`wire`] | bytes and headers: parse, rewrite, checksums, building frames | base |
//! | 1 | [`acm`] | the contract: primitives, `AcmSwitch`, `ServiceTable`, the model, the conformance suite | base |
//! | 2 | [`beacon`] | what managers and agents say to each other: codec, keys, freshness | base, acm |
//! | 2 | [`port`] | where frames enter and leave | base, wire |
//! | 2 | [`content`] | what a request says and what the rules make of it, pure | base, the data of acm |
//! | 2 | [`ironware`] | content switching in the ServerIron's words, both ways, pure | base, the data of acm |
//! | 2 | [`health`] | L2 to L7 checks, pure | base, wire, acm |
//! | 3 | [`plane`] | the forwarding plane, pure | base, wire, content, the data of acm |
//! | 4 | [`switch`] | the assembled switch: `LocalSwitch`, the worker loop | base, wire, acm, plane, port, health |
//! | 3 | [`api`] | the native API over HTTP | base, acm |
//! | 3 | [`manager`] | COMICS: election, binding cache, reconciliation; knows switches only as `AcmSwitch` | base, acm, beacon |
//! | 3 | [`agent`] | the client module: inside a service, or beside it in `acm run`; speaks only beacons | base, acm, beacon |
//! | 3 | [`operator`] | what operators have agents do: a rolling restart, pure; speaks only beacons | base, acm, beacon |
//! | 4 | [`driver`] | other switches behind the contract: the native client, Foundry ServerIrons, HAProxy | base, acm, ironware, the schema of api |
//! | 4 | [`console`] | the ServerIron's command line on our switch | base, acm, ironware, the crate `switch-sim` |
//! | 5 | [`lab`] | network namespaces, demo servers, load, the story | everything |
//! | 5 | [`cli`] | one file per subcommand | everything |
//!
//! Everything that decides is a state machine that takes bytes and the time as arguments. Sockets, clocks, threads and tasks live
//! in thin places: files named `task.rs`, `switch/worker.rs`, `port/`, `lab/`, `cli/`.

pub mod acm;
pub mod agent;
pub mod api;
pub mod base;
pub mod beacon;
pub mod cli;
pub mod console;
pub mod content;
pub mod driver;
pub mod health;
pub mod ironware;
pub mod lab;
pub mod manager;
pub mod operator;
pub mod plane;
pub mod port;
pub mod switch;
pub mod wire;
