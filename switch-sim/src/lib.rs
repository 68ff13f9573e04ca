//! An emulated Foundry ServerIron: a conformance target for whoever drives one.
//!
//! It shares no code with any driver: an emulator that shares the driver's parser only proves that the driver agrees
//! with itself.

pub mod connection;
pub mod quirk;
pub mod server;
pub mod shell;
pub mod telnet;
pub mod terminal;
pub mod time;
