//! What a box reports of what is the case: states and counters.

use std::fmt;

/// The state of a real server (layers 2 and 3 only). The numbers are those of the MIB and of some screens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ServerState {
    /// `disable` was entered.
    Disabled = 0,
    /// No link, or no answer to ARP yet.
    Enabled = 1,
    /// No answer to repeated pings.
    Failed = 2,
    /// Answers ARP, not yet a ping.
    Testing = 3,
    /// One ping was not answered.
    Suspect = 4,
    /// Leaving gracefully.
    Shutdown = 5,
    /// Serves.
    Active = 6,
}

/// The state of a real server's port. The numbers are those of the MIB.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PortState {
    /// `port P disable` was entered.
    Disabled = 0,
    /// Bound, not checked yet.
    Enabled = 1,
    /// Its checks fail.
    Failed = 2,
    /// Its check is under way.
    Testing = 3,
    /// A check has failed, another try is due.
    Suspect = 4,
    /// Leaving gracefully with its server.
    Shutdown = 5,
    /// Serves.
    Active = 6,
    /// No virtual server uses it.
    Unbound = 7,
    /// `aw_unbnd`: unbound, connections are finishing.
    AwaitUnbind = 8,
    /// `aw_del`: deleted, connections are finishing.
    AwaitDelete = 9,
}

impl ServerState {
    /// The word on screens.
    pub fn word(self) -> &'static str {
        match self {
            ServerState::Disabled => "Disabled",
            ServerState::Enabled => "Enabled",
            ServerState::Failed => "Failed",
            ServerState::Testing => "Testing",
            ServerState::Suspect => "Suspect",
            ServerState::Shutdown => "grace_dn",
            ServerState::Active => "Active",
        }
    }
}

impl PortState {
    /// The word on the older screens.
    pub fn word(self) -> &'static str {
        match self {
            PortState::Disabled => "disabled",
            PortState::Enabled => "enabled",
            PortState::Failed => "failed",
            PortState::Testing => "testing",
            PortState::Suspect => "suspect",
            PortState::Shutdown => "grace_dn",
            PortState::Active => "active",
            PortState::Unbound => "unbnd",
            PortState::AwaitUnbind => "aw_unbnd",
            PortState::AwaitDelete => "aw_del",
        }
    }

    /// The code of three letters on the newer screens.
    pub fn code(self) -> &'static str {
        match self {
            PortState::Disabled => "DIS",
            PortState::Enabled => "ENB",
            PortState::Failed => "FAL",
            PortState::Testing => "TST",
            PortState::Suspect => "SUS",
            PortState::Shutdown => "GDN",
            PortState::Active => "ACT",
            PortState::Unbound => "UNB",
            PortState::AwaitUnbind => "AWU",
            PortState::AwaitDelete => "AWD",
        }
    }
}

/// Connections and traffic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// Connections now.
    pub current: u64,
    /// Connections since the device started or the object was created.
    pub total: u64,
    /// The most connections at one time.
    pub peak: u64,
    /// Packets from the real server.
    pub rx_packets: u64,
    /// Packets to the real server.
    pub tx_packets: u64,
    /// Bytes from the real server.
    pub rx_octets: u64,
    /// Bytes to the real server.
    pub tx_octets: u64,
    /// Connections that were given to another server because this one did not answer.
    pub reassigned: u64,
}

impl Counters {
    /// The sum; `peak` is added too, which is an upper bound.
    pub fn plus(self, other: Counters) -> Counters {
        Counters {
            current: self.current.saturating_add(other.current),
            total: self.total.saturating_add(other.total),
            peak: self.peak.saturating_add(other.peak),
            rx_packets: self.rx_packets.saturating_add(other.rx_packets),
            tx_packets: self.tx_packets.saturating_add(other.tx_packets),
            rx_octets: self.rx_octets.saturating_add(other.rx_octets),
            tx_octets: self.tx_octets.saturating_add(other.tx_octets),
            reassigned: self.reassigned.saturating_add(other.reassigned),
        }
    }
}

/// A real server's report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RealReport {
    /// Its state.
    pub state: ServerState,
    /// Its hardware address, once known.
    pub mac: Option<[u8; 6]>,
    /// How long ago its state last became failed; seconds.
    pub failed_for: u64,
}

/// A real server's port's report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PortReport {
    /// Its state.
    pub state: PortState,
    /// Its counters.
    pub counters: Counters,
}

/// The device's counters as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Totals {
    /// Sessions the table could hold.
    pub sessions_max: u64,
    /// Sessions free.
    pub sessions_free: u64,
    /// Connections and traffic of all real servers.
    pub counters: Counters,
    /// Connections refused because no server was there.
    pub unsuccessful: u64,
}

/// A hardware address as the device writes it: `0010.db12.3456`.
#[derive(Debug, Clone, Copy)]
pub struct Mac(pub [u8; 6]);

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        f.pad(&format!("{a:02x}{b:02x}.{c:02x}{d:02x}.{e:02x}{g:02x}"))
    }
}
