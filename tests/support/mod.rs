//! Hosts on the wires of a switch under test: what a client machine and server machines do, and no more.
//!
//! They parse and build with etherparse, an implementation that shares nothing with the switch's own wire room.

pub mod fabric;
pub mod hosts;
