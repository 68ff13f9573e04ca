//! The map of the ACM switch. Documentation and module list only.

pub mod acm;
pub mod api;
pub mod base;
pub mod cli;
pub mod driver;
pub mod health;
pub mod plane;
pub mod port;
pub mod wire;
