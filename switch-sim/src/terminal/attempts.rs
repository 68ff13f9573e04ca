//! How often a peer may guess: a few tries at once, then slower and slower.
//!
//! An answer to an attempt, good or bad, waits the longer the more attempts of that peer have failed lately, up to
//! [`DELAY_MAX`]: a guess cannot be abandoned early to make the next one sooner, and an administrator at the same
//! address still gets in. The listener bounds how many connections of a peer wait at once.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::time::Time;

/// So many failures cost nothing: people mistype.
const FREE: u32 = 3;
/// Each further one costs this.
const STEP: Duration = Duration::from_millis(100);
/// An administrator at the address that guesses must be in within two seconds.
pub const DELAY_MAX: Duration = Duration::from_secs(1);
/// A failure is forgotten after this.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(5);
/// Peers remembered. Full: the one whose last failure is oldest is forgotten.
const PEERS_MAX: usize = 1024;

/// The failed attempts of every peer. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Attempts {
    peers: Arc<Mutex<BTreeMap<IpAddr, Record>>>,
}

#[derive(Debug, Clone, Copy)]
struct Record {
    failures: u32,
    last: Time,
}

impl Record {
    fn failures_at(&self, now: Time) -> u32 {
        let forgotten = now.since(self.last).as_millis() / FORGOTTEN_AFTER.as_millis();
        self.failures.saturating_sub(u32::try_from(forgotten).unwrap_or(u32::MAX))
    }
}

impl Attempts {
    /// How long the answer to an attempt made now has to wait.
    pub fn delay(&self, peer: Option<IpAddr>, now: Time) -> Duration {
        let peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
        let failures = peers.get(&who(peer)).map_or(0, |record| record.failures_at(now));
        DELAY_MAX.min(STEP * failures.saturating_sub(FREE))
    }

    /// An attempt has failed.
    pub fn failed(&self, peer: Option<IpAddr>, now: Time) {
        let mut peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
        let peer = who(peer);
        if peers.len() >= PEERS_MAX && !peers.contains_key(&peer) {
            let oldest = peers.iter().min_by_key(|(_, record)| record.last).map(|(peer, _)| *peer);
            oldest.and_then(|oldest| peers.remove(&oldest));
        }
        let record = peers.entry(peer).or_insert(Record { failures: 0, last: now });
        *record = Record { failures: record.failures_at(now).saturating_add(1).min(1_000), last: now };
    }
}

/// Whom an address stands for: one host of IPv4, one network of IPv6, where a host has 2^64 addresses to guess from.
pub(crate) fn who(peer: Option<IpAddr>) -> IpAddr {
    match peer.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)).to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(text: &str) -> Option<IpAddr> {
        Some(text.parse().expect("an address"))
    }

    fn secs(n: u64) -> Time {
        Time::after(Duration::from_secs(n))
    }

    #[test]
    fn failures_slow_a_peer_down_and_are_forgotten() {
        let attempts = Attempts::default();
        let (guesser, other) = (peer("192.0.2.1"), peer("192.0.2.2"));
        (0..3).for_each(|_| attempts.failed(guesser, secs(0)));
        assert_eq!(attempts.delay(guesser, secs(0)), Duration::ZERO);
        (0..2).for_each(|_| attempts.failed(guesser, secs(0)));
        assert_eq!(attempts.delay(guesser, secs(0)), Duration::from_millis(200));
        (0..100).for_each(|_| attempts.failed(guesser, secs(0)));
        assert_eq!(attempts.delay(guesser, secs(0)), DELAY_MAX);
        assert_eq!(attempts.delay(other, secs(0)), Duration::ZERO);
        assert_eq!(attempts.delay(guesser, secs(600)), Duration::ZERO);
    }

    #[test]
    fn a_network_of_ipv6_is_one_peer() {
        let attempts = Attempts::default();
        (1..20).for_each(|n| attempts.failed(peer(&format!("2001:db8::{n}")), secs(0)));
        assert_eq!(attempts.delay(peer("2001:db8::ffff"), secs(0)), DELAY_MAX);
        assert_eq!(attempts.delay(peer("2001:db8:0:1::1"), secs(0)), Duration::ZERO);
        assert_eq!(who(peer("::ffff:192.0.2.1")), peer("192.0.2.1").expect("some"));
    }

    #[test]
    fn peers_are_bounded() {
        let attempts = Attempts::default();
        for n in 0..3 * PEERS_MAX {
            let octet = |shift: usize| u8::try_from((n >> shift) & 0xff).expect("a byte");
            attempts.failed(Some(IpAddr::from([10, 0, octet(8), octet(0)])), secs(n as u64));
        }
        assert_eq!(attempts.peers.lock().expect("whole").len(), PEERS_MAX);
    }
}
