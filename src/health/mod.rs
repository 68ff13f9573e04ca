//! Health before traffic: L2, L3, L4 and L7 checks as one pure machine.
//!
//! The machine [`Checks`] is told which bindings to watch, is given the frames that arrive for the switch's own address,
//! and gives back frames to send and [`Finding`]s. Time and randomness are arguments. Rise, fall, first-check and reason
//! wording live here; what a verdict means for a binding is the switch's.
//!
//! A check goes as deep as its profile says, each depth after those before it: ARP (L2), echo (L3), SYN answered by
//! SYN-ACK and then reset, or a datagram that no port-unreachable answers (L4), HTTP over a connection of its own (L7).
//!
//! * The first check of a binding runs at once and one success activates it. One that fails leaves it
//!   [`Health::Unknown`] with the reason, until it passes or has failed `fall` times; then it is failing, and
//!   comes back after `rise` passes in a row.
//! * Depth L2 is `--no-health`: passing as soon as the address is known, never failed by a check afterwards; it is asked
//!   for again every minute.
//! * A changed link address of a passing binding is a finding of its own; so is a SYN-ACK with other options than before.
//!   SYNs offer everything, so that their answers say what the real has.
//! * Bindings with the same real, protocol and profile share one check; checks of one host share ARP and echo.
//!   An echo reply serves half an interval, an ARP reply ten seconds or until a deeper step meets silence.
//! * IPv4 in this version; an IPv6 real is failing and says so.
//!
//! What is believed of a hostile segment is in `receive.rs` and `host.rs`.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::acm::words::{Health, HealthProfile, TcpAbilities};
use crate::base::addr::{Mac, Protocol};
use crate::base::id::BindingId;

/// What to check for a binding.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
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
    /// What the real's TCP has, as its last SYN-ACK said; only of one that passes.
    pub tcp: Option<TcpAbilities>,
}

mod check;
pub mod checks;
mod fetch;
mod host;
mod http;
mod outbox;
mod ports;
mod reason;
mod receive;
mod steps;
mod timers;
mod verdict;

pub use checks::{BURST, Checks, HealthConfig};

/// A check's identity within the machine; never reused, so that a stale one finds nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct CheckId(u64);

#[cfg(test)]
mod tests {
    /// A worker or a task may own the machine.
    #[test]
    fn the_machine_can_move_between_threads() {
        fn moves<T: Send>() {}
        moves::<super::Checks>();
    }
}
