//! An emulated Foundry ServerIron: a conformance target for whoever drives one.
//!
//! ```text
//!  telnet, SSH -> terminal -> Shell ... chassis -> grammar, commands -> Change -> SlbBox ... simbox, or a real plane
//!                                               -> screens (template file)
//! ```
//!
//! It shares no code with any driver: an emulator that shares the driver's parser only proves that the driver agrees
//! with itself.

pub mod chassis;
mod commands;
pub mod connection;
pub mod grammar;
pub mod personality;
pub mod quirk;
pub mod scenario;
pub mod screens;
pub mod server;
pub mod shell;
pub mod simbox;
pub mod slb;
pub mod telnet;
pub mod terminal;
pub mod time;
