//! Clients, a plane, servers and a bad network between them, simulated from a seed. Both ends are TCP implementations
//! that share nothing with the plane: smoltcp, and a hand-made sender of odd segments (`raw.rs`). Only the plane's
//! public face is used.
//!
//! Besides plain and content services there are TLS ones (`tls.rs`), bindings that are drained or cut in mid-connection
//! (`changes.rs`), clients that stall within a head, and paths with a smaller MTU (`narrow.rs`).
//!
//! What must hold is checked at the ends: a server notes which request it was asked and byte by byte what came with
//! it; a client checks which server answered and every byte of the answer. Afterwards nothing may be left in the plane.
//!
//! `ACM_SIM_SEEDS=100000` runs more seeds (of plain services a tenth of them, of TLS a quarter); `ACM_SIM_SEED=41` replays one
//! and prints every frame.

mod browser;
mod changes;
mod client;
mod content;
mod dialogue;
mod hello;
mod host;
mod narrow;
mod persist;
mod raw;
mod road;
mod seeds;
mod segment;
mod talk;
mod tls;
mod verdict;
mod web;
mod world;
