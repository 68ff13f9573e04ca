//! The bridge's memory: which station is behind which port.
//!
//! Learns from the source of every bridged frame (IEEE 802.1Q, 8.7), forgets after [`AGEING`], and holds a bounded
//! number of stations: a flood of made-up sources stops here, and then costs flooding, not memory.

use ahash::{AHashMap, RandomState};
use std::time::Duration;

use crate::base::addr::Mac;
use crate::base::id::PortId;
use crate::base::time::Time;
use crate::wire::frame::Egress;

/// How long a silent station is remembered (the recommended value of IEEE 802.1Q, table 8-7).
pub const AGEING: Duration = Duration::from_secs(300);

/// Stations remembered. Full: new ones are not learnt, their frames are flooded.
pub const STATIONS_MAX: usize = 16_384;

/// What learning did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Learnt {
    /// The station was known there.
    Known,
    /// The station is new, or moved.
    News,
    /// There is no room.
    Full,
}

#[derive(Debug, Clone, Copy)]
struct Station {
    port: PortId,
    seen: Time,
}

/// The table.
#[derive(Debug)]
pub struct Bridge {
    stations: AHashMap<Mac, Station>,
    sweep_at: Time,
}

impl Bridge {
    /// An empty table, hashed under a secret.
    pub fn new(secret: [u64; 2]) -> Bridge {
        let state = RandomState::with_seeds(secret[0], secret[1], !secret[0], !secret[1]);
        Bridge { stations: AHashMap::with_hasher(state), sweep_at: Time::ZERO }
    }

    /// A station spoke on a port.
    pub fn learn(&mut self, mac: Mac, port: PortId, now: Time) -> Learnt {
        if let Some(station) = self.stations.get_mut(&mac) {
            station.seen = now;
            if station.port == port {
                return Learnt::Known;
            }
            station.port = port;
            return Learnt::News;
        }
        if self.stations.len() >= STATIONS_MAX && !self.sweep(now) {
            return Learnt::Full;
        }
        self.stations.insert(mac, Station { port, seen: now });
        Learnt::News
    }

    /// Where a station is, if it was heard lately.
    pub fn port_of(&self, mac: Mac, now: Time) -> Option<PortId> {
        let station = self.stations.get(&mac)?;
        (now.since(station.seen) < AGEING).then_some(station.port)
    }

    /// Where a frame for a station goes that came in on `ingress`: to its port, nowhere if that is the same, and
    /// everywhere else if the station is not known.
    pub fn way_to(&self, mac: Mac, ingress: PortId, now: Time) -> Egress {
        match self.port_of(mac, now) {
            Some(port) if port == ingress => Egress::None,
            Some(port) => Egress::Port(port),
            None => Egress::AllBut(ingress),
        }
    }

    /// Forgets the old ones, at most once a second. True if there is room now.
    fn sweep(&mut self, now: Time) -> bool {
        if now < self.sweep_at {
            return false;
        }
        self.sweep_at = now + Duration::from_secs(1);
        self.stations.retain(|_, station| now.since(station.seen) < AGEING);
        self.stations.len() < STATIONS_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stations_are_learnt_moved_and_forgotten() {
        let mut bridge = Bridge::new([1, 2]);
        let mac = Mac([2, 0, 0, 0, 0, 1]);
        assert_eq!(bridge.learn(mac, PortId(1), Time::ZERO), Learnt::News);
        assert_eq!(bridge.learn(mac, PortId(1), Time::ZERO), Learnt::Known);
        assert_eq!(bridge.learn(mac, PortId(2), Time::from_secs(1)), Learnt::News);
        assert_eq!(bridge.port_of(mac, Time::from_secs(300)), Some(PortId(2)));
        assert_eq!(bridge.port_of(mac, Time::from_secs(301)), None);
    }

    #[test]
    fn a_flood_of_sources_stops_at_the_bound() {
        let mut bridge = Bridge::new([1, 2]);
        for n in 0..STATIONS_MAX as u64 {
            bridge.learn(Mac::locally_administered(n << 20), PortId(0), Time::ZERO);
        }
        let late = Mac([2, 9, 9, 9, 9, 9]);
        assert_eq!(bridge.learn(late, PortId(0), Time::from_secs(2)), Learnt::Full);
        assert_eq!(bridge.learn(late, PortId(0), Time::from_secs(400)), Learnt::News, "the old ones are gone");
    }
}
