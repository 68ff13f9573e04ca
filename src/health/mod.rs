//! Health before traffic: L2, L3, L4 and L7 checks as one pure machine.
//!
//! The machine [`Checks`](checks::Checks) is told which bindings to watch, is given the frames that arrive for the switch's own address,
//! and gives back frames to send and [`Finding`]s. Time and randomness are arguments. Rise, fall, first-check and reason
//! wording live here; what a verdict means for a binding is the switch's.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::acm::words::{Health, HealthProfile};
use crate::base::addr::{Mac, Protocol};
use crate::base::id::BindingId;

/// What to check for a binding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The real server.
    pub real: SocketAddr,
    /// TCP or UDP.
    pub protocol: Protocol,
    /// How.
    pub profile: Arc<HealthProfile>,
}

/// A change in what is known about a binding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Which.
    pub binding: BindingId,
    /// The verdict now.
    pub health: Health,
    /// The real's link address, once known.
    pub mac: Option<Mac>,
}

mod fetch;
mod host;
mod http;
mod ports;
mod reason;
mod timers;
mod verdict;

/// A check's identity within the machine; never reused, so that a stale one finds nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct CheckId(u64);
