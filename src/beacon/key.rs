//! Keys, and what each may say. Identity is bound to the key: a number in a datagram means nothing without one that
//! grants it.
//!
//! Rotation without a gap: a ring holds several keys, each datagram names its own. Add the new key to every ring, then
//! let senders sign with it, then take the old one out. A receiver meets each sender anew under the new key and asks
//! it for proof (see [`gate`](super::gate)), which costs one round trip and no beacon of an established binding.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::str::FromStr;

use hmac::{Hmac, KeyInit, Mac};
use ipnet::IpNet;
use sha2::{Digest, Sha256};

use super::message::NodeId;
use crate::acm::words::{BindingKey, ServiceKey};
use crate::base::id::Name;
use crate::base::secret::Secret;
use crate::base::text::cut;

/// Fewest bytes of a secret: as many as HMAC-SHA256 gives out (RFC 2104, section 3).
pub const SECRET_MIN: usize = 32;

/// Keys in a ring. At the bound: the ring is refused.
pub const KEYS_MAX: usize = 64;

/// Which key, on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct KeyId(pub u16);

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What a kind of message asks of its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Speaker {
    /// A manager of this number.
    Manager,
    /// An agent.
    Agent,
    /// An operator.
    Operator,
    /// Any holder of the key.
    Anyone,
}

/// What the holder of a key may say.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Grant {
    /// The numbers under which it may be a manager.
    pub managers: BTreeSet<NodeId>,
    /// The virtual services it may announce; none: it is no agent's key.
    pub vips: Vec<VipRange>,
    /// The reals it may announce; none: those at the address its datagrams come from.
    pub reals: Vec<IpNet>,
    /// May it cut connections (Force Remove)?
    pub force: bool,
    /// May it ask and command as an operator?
    pub operator: bool,
}

impl Grant {
    /// May this node say what needs this speaker?
    pub fn allows(&self, speaker: Speaker, node: NodeId) -> bool {
        match speaker {
            Speaker::Manager => self.managers.contains(&node),
            Speaker::Agent => !self.vips.is_empty(),
            Speaker::Operator => self.operator,
            Speaker::Anyone => true,
        }
    }

    /// May a datagram from this address speak for this binding?
    ///
    /// # Errors
    /// What is not granted, in plain words.
    pub fn covers(&self, key: &BindingKey, from: IpAddr) -> Result<(), String> {
        if !self.vips.iter().any(|range| range.holds(&key.service)) {
            return Err(format!("the key grants no {}", key.service));
        }
        let real = key.real.ip();
        match self.reals.is_empty() {
            true if real == from => Ok(()),
            true => Err(format!("{from} may announce only its own address, not {real}")),
            false if self.reals.iter().any(|net| net.contains(&real)) => Ok(()),
            false => Err(format!("the key grants no server at {real}")),
        }
    }
}

/// Virtual addresses and ports: `10.0.0.100:80`, `10.0.0.0/24:8000-8099`, `[2001:db8::1]:80`, or all ports of
/// `10.0.0.100` or `2001:db8::/64`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VipRange {
    net: IpNet,
    ports: RangeInclusive<u16>,
}

impl VipRange {
    /// True if the service is one of these.
    pub fn holds(&self, service: &ServiceKey) -> bool {
        self.net.contains(&service.vip()) && self.ports.contains(&service.addr.port())
    }
}

/// What was wrong with a text that should have been virtual addresses.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a range of virtual services; write VIP, VIP:PORT, VIP:PORT-PORT, NET/LEN or NET/LEN:PORT")]
pub struct NotAVipRange(String);

impl FromStr for VipRange {
    type Err = NotAVipRange;

    fn from_str(text: &str) -> Result<VipRange, NotAVipRange> {
        let wrong = || NotAVipRange(cut(text));
        let (net, ports) = match text.strip_prefix('[') {
            Some(rest) => {
                let (net, ports) = rest.split_once(']').ok_or_else(wrong)?;
                (net, if ports.is_empty() { None } else { Some(ports.strip_prefix(':').ok_or_else(wrong)?) })
            }
            // A colon more than one is an IPv6 address without brackets, which has no port.
            None if text.matches(':').count() == 1 => text.split_once(':').map_or((text, None), |(n, p)| (n, Some(p))),
            None => (text, None),
        };
        let net = match net.contains('/') {
            true => net.parse::<IpNet>().map_err(|_| wrong())?,
            false => IpNet::from(net.parse::<IpAddr>().map_err(|_| wrong())?),
        };
        let ports = match ports {
            None => 0..=u16::MAX,
            Some(ports) => {
                let (first, last) = ports.split_once('-').unwrap_or((ports, ports));
                first.parse().map_err(|_| wrong())?..=last.parse().map_err(|_| wrong())?
            }
        };
        if ports.is_empty() {
            return Err(wrong());
        }
        Ok(VipRange { net, ports })
    }
}

impl fmt::Display for VipRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}]:{}-{}", self.net, self.ports.start(), self.ports.end())
    }
}

impl<'de> serde::Deserialize<'de> for VipRange {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<VipRange, D::Error> {
        String::deserialize(from)?.parse().map_err(serde::de::Error::custom)
    }
}

/// A key. It prints without its secret.
#[derive(Clone)]
pub struct Key {
    /// Its number on the wire.
    pub id: KeyId,
    /// What it allows.
    pub grant: Grant,
    mac: Hmac<Sha256>,
}

/// Why a secret or a ring is not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Too short to be safe.
    #[error("key {0}: its secret has fewer than {SECRET_MIN} bytes; make one with: openssl rand -hex 32")]
    Short(KeyId),
    /// Two keys of one number.
    #[error("key {0} stands twice")]
    Twice(KeyId),
    /// Two keys of one secret: who holds one holds the other, and may all that either allows.
    #[error("keys {0} and {1} have the same secret; make each its own with: openssl rand -hex 32")]
    SameSecret(KeyId, KeyId),
    /// Too many.
    #[error("at most {KEYS_MAX} keys")]
    TooMany,
    /// None to sign with.
    #[error("there is no key {0} to sign with")]
    NoSuchKey(KeyId),
}

impl Key {
    /// A key from its secret, all of whose bytes count.
    ///
    /// # Errors
    /// [`KeyError::Short`].
    pub fn new(id: KeyId, secret: &Secret, grant: Grant) -> Result<Key, KeyError> {
        let bytes = secret.expose().as_bytes();
        if bytes.len() < SECRET_MIN {
            return Err(KeyError::Short(id));
        }
        // HMAC takes keys of every length (RFC 2104).
        let mac = Hmac::new_from_slice(bytes).map_err(|_| KeyError::Short(id))?;
        Ok(Key { id, grant, mac })
    }

    /// The tag of these bytes.
    pub(super) fn tag(&self, bytes: &[u8]) -> [u8; TAG_LEN] {
        let mut mac = self.mac.clone();
        mac.update(bytes);
        let whole = mac.finalize().into_bytes();
        let mut tag = [0; TAG_LEN];
        tag.copy_from_slice(&whole[..TAG_LEN]);
        tag
    }

    /// True if this is their tag. Takes the same time whatever differs.
    pub(super) fn verifies(&self, bytes: &[u8], tag: &[u8]) -> bool {
        let mut mac = self.mac.clone();
        mac.update(bytes);
        tag.len() == TAG_LEN && mac.verify_truncated_left(tag).is_ok()
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key").field("id", &self.id).field("grant", &self.grant).finish_non_exhaustive()
    }
}

/// Bytes of a tag: HMAC-SHA256 cut to its left half (RFC 2104, section 5).
pub const TAG_LEN: usize = 16;

/// The keys somebody believes, and the group they are for.
#[derive(Debug, Clone)]
pub struct KeyRing {
    group: [u8; 4],
    keys: BTreeMap<KeyId, Key>,
}

impl KeyRing {
    /// A ring. Groups share a network without hearing each other.
    ///
    /// # Errors
    /// [`KeyError::Twice`], [`KeyError::SameSecret`], [`KeyError::TooMany`].
    pub fn new(group: &Name, keys: impl IntoIterator<Item = Key>) -> Result<KeyRing, KeyError> {
        let mut ring = KeyRing { group: group_mark(group), keys: BTreeMap::new() };
        // What a key makes of nothing tells whether two are one, and nothing of either.
        let mut seen = BTreeMap::new();
        for key in keys {
            let id = key.id;
            if let Some(other) = seen.insert(key.tag(&[]), id).filter(|other| *other != id) {
                return Err(KeyError::SameSecret(other, id));
            }
            if ring.keys.insert(id, key).is_some() {
                return Err(KeyError::Twice(id));
            }
        }
        if ring.keys.len() > KEYS_MAX { Err(KeyError::TooMany) } else { Ok(ring) }
    }

    /// The key of this number.
    pub fn key(&self, id: KeyId) -> Option<&Key> {
        self.keys.get(&id)
    }

    /// Every key, by number.
    pub fn keys(&self) -> impl Iterator<Item = &Key> {
        self.keys.values()
    }

    /// The group as it stands in datagrams.
    pub(super) fn group(&self) -> [u8; 4] {
        self.group
    }
}

/// The first four bytes of the SHA-256 of the group's name.
fn group_mark(group: &Name) -> [u8; 4] {
    let whole = Sha256::digest(group.as_str().as_bytes());
    [whole[0], whole[1], whole[2], whole[3]]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn binding(text: &str, real: &str) -> BindingKey {
        BindingKey { service: text.parse().unwrap(), real: real.parse().unwrap() }
    }

    #[test]
    fn ranges_of_virtual_services() {
        for (range, inside, outside) in [
            ("10.0.0.100:80", "10.0.0.100:80", "10.0.0.100:81"),
            ("10.0.0.100", "10.0.0.100:9", "10.0.0.101:9"),
            ("10.0.0.0/24:8000-8099", "10.0.0.7:8050", "10.0.0.7:8100"),
            ("[2001:db8::1]:80", "[2001:db8::1]:80", "[2001:db8::1]:81"),
            ("2001:db8::/64", "[2001:db8::5]:1", "[2001:db9::5]:1"),
        ] {
            let parsed: VipRange = range.parse().unwrap();
            assert_eq!(parsed.to_string().parse::<VipRange>().unwrap(), parsed);
            assert!(parsed.holds(&inside.parse().unwrap()), "{range} {inside}");
            assert!(!parsed.holds(&outside.parse().unwrap()), "{range} {outside}");
        }
        for bad in ["", "host", "10.0.0.1:", "10.0.0.1:9-8", "10.0.0.1:x", "[::1", "[::1]80", "10.0.0.0/33"] {
            assert!(bad.parse::<VipRange>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_grant_is_all_there_is() {
        let own = Grant { vips: vec!["10.0.0.100:80".parse().unwrap()], ..Grant::default() };
        let from: IpAddr = "10.1.0.1".parse().unwrap();
        assert!(own.covers(&binding("10.0.0.100:80", "10.1.0.1:8080"), from).is_ok());
        assert!(own.covers(&binding("10.0.0.100:80", "10.1.0.2:8080"), from).is_err());
        assert!(own.covers(&binding("10.0.0.101:80", "10.1.0.1:8080"), from).is_err());
        let delegated = Grant { reals: vec!["10.1.0.0/24".parse().unwrap()], ..own.clone() };
        assert!(delegated.covers(&binding("10.0.0.100:80", "10.1.0.2:8080"), from).is_ok());
        assert!(delegated.covers(&binding("10.0.0.100:80", "10.2.0.2:8080"), from).is_err());
        assert!(own.allows(Speaker::Agent, NodeId(7)) && !own.allows(Speaker::Manager, NodeId(7)));
        let manager = Grant { managers: [NodeId(7)].into(), ..Grant::default() };
        assert!(manager.allows(Speaker::Manager, NodeId(7)) && !manager.allows(Speaker::Manager, NodeId(0)));
        assert!(!manager.allows(Speaker::Agent, NodeId(7)) && !manager.allows(Speaker::Operator, NodeId(7)));
    }

    #[test]
    fn a_key_does_not_print_and_a_short_one_is_refused() {
        let secret = Secret::from("canary-canary-canary-canary-canary");
        let key = Key::new(KeyId(1), &secret, Grant::default()).unwrap();
        let ring = KeyRing::new(&"comics".parse().unwrap(), [key.clone()]).unwrap();
        assert!(!format!("{key:?} {ring:?}").contains("canary"));
        assert_eq!(Key::new(KeyId(1), &"short".into(), Grant::default()).unwrap_err(), KeyError::Short(KeyId(1)));
        assert_eq!(
            KeyRing::new(&"comics".parse().unwrap(), [key.clone(), key]).unwrap_err(),
            KeyError::Twice(KeyId(1))
        );
        let keys = [1, 2].map(|id| Key::new(KeyId(id), &secret, Grant::default()).unwrap());
        let refused = KeyRing::new(&"comics".parse().unwrap(), keys).unwrap_err();
        assert_eq!(refused, KeyError::SameSecret(KeyId(1), KeyId(2)));
        assert!(!refused.to_string().contains("canary"));
    }
}
