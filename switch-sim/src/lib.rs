//! An emulated Foundry ServerIron: a conformance target for whoever drives one.
//!
//! It shares no code with any driver: an emulator that shares the driver's parser only proves that the driver agrees
//! with itself.

pub mod quirk;
pub mod shell;
pub mod slb;
pub mod time;
