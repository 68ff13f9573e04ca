//! Direct probes: the manager's own look at a server, as data. `task` performs them.

use std::fmt;
use std::net::SocketAddr;

use crate::base::addr::Protocol;
use crate::base::time::Time;

/// A server to look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Target {
    /// Where.
    pub real: SocketAddr,
    /// How: TCP connects, UDP sends a datagram and waits for a refusal.
    pub protocol: Protocol,
}

/// What a look showed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finding {
    /// It accepts (UDP: nothing refuses).
    Alive,
    /// Its host answers that nobody listens there: it is dead, whoever else says what.
    Refused,
    /// Nothing answers: it is dead, or we are cut off from it.
    Silent,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Finding::Alive => "alive",
            Finding::Refused => "refused",
            Finding::Silent => "silent",
        })
    }
}

/// A finding and when it was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Evidence {
    /// What.
    pub found: Finding,
    /// When.
    pub at: Time,
}
