//! Link addresses, transport protocols and the little arithmetic on IP addresses that several rooms need.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::text::quoted;

/// A 48-bit link-layer address (IEEE 802), in transmission order.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, utoipa::ToSchema)]
#[schema(value_type = String, example = "02:00:00:00:00:01")]
pub struct Mac(pub [u8; 6]);

impl Mac {
    /// `ff:ff:ff:ff:ff:ff`.
    pub const BROADCAST: Mac = Mac([0xff; 6]);
    /// `00:00:00:00:00:00`, which no station may use.
    pub const ZERO: Mac = Mac([0; 6]);

    /// A locally administered unicast address made from a seed: bit 1 of the first octet set, bit 0 clear
    /// (IEEE 802-2014, 8.2.2). The same seed always gives the same address.
    pub fn locally_administered(seed: u64) -> Mac {
        let [a, b, c, d, e, f, ..] = seed.to_be_bytes();
        Mac([(a & 0xfc) | 0x02, b, c, d, e, f])
    }

    /// The 48 bits as a number, the first octet lowest: on the machines there are, how they lie in memory.
    #[inline]
    pub fn bits(self) -> u64 {
        let [a, b, c, d, e, f] = self.0;
        u64::from_le_bytes([a, b, c, d, e, f, 0, 0])
    }

    /// The address with these 48 bits; higher ones are ignored.
    #[inline]
    pub fn from_bits(bits: u64) -> Mac {
        let [a, b, c, d, e, f, _, _] = bits.to_le_bytes();
        Mac([a, b, c, d, e, f])
    }

    /// True for group addresses (multicast and broadcast): bit 0 of the first octet.
    pub fn is_multicast(self) -> bool {
        self.0[0] & 1 == 1
    }

    /// True for an address one station can own: neither a group address nor all zeroes.
    pub fn is_station(self) -> bool {
        !self.is_multicast() && self.bits() != 0
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Debug for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What was wrong with a text that should have been an address or a protocol.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct AddrParseError(pub String);

impl FromStr for Mac {
    type Err = AddrParseError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || AddrParseError(format!("{} is not a MAC address such as 02:00:00:00:00:01", quoted(text)));
        let mut octets = [0u8; 6];
        let mut parts = text.split(':');
        for octet in &mut octets {
            let part = parts.next().ok_or_else(wrong)?;
            if part.len() != 2 || !part.bytes().all(|b| b.is_ascii_hexdigit()) {
                return Err(wrong());
            }
            *octet = u8::from_str_radix(part, 16).map_err(|_| wrong())?;
        }
        if parts.next().is_some() {
            return Err(wrong());
        }
        Ok(Mac(octets))
    }
}

/// The transport protocol of a virtual service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// TCP, IP protocol 6.
    Tcp,
    /// UDP, IP protocol 17.
    Udp,
}

impl Protocol {
    /// The number in the IPv4 protocol or IPv6 next-header field.
    pub fn number(self) -> u8 {
        match self {
            Protocol::Tcp => 6,
            Protocol::Udp => 17,
        }
    }

    /// The protocol with this IP protocol number, if it is one we balance.
    pub fn from_number(number: u8) -> Option<Protocol> {
        match number {
            6 => Some(Protocol::Tcp),
            17 => Some(Protocol::Udp),
            _ => None,
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
        })
    }
}

/// True if a host can own this address and be spoken to: not unspecified, multicast, broadcast or loopback,
/// and not an IPv4-mapped IPv6 address (write the IPv4 address instead, so that one host has one name).
pub fn is_host_address(ip: IpAddr) -> bool {
    let special = ip.is_unspecified() || ip.is_multicast() || ip.is_loopback();
    let other = match ip {
        IpAddr::V4(v4) => v4.is_broadcast() || v4.octets()[0] == 0 || v4.octets()[0] >= 240,
        IpAddr::V6(v6) => v6.to_ipv4_mapped().is_some(),
    };
    !special && !other
}

macro_rules! serde_as_text {
    ($($type:ty),*) => {$(
        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.collect_str(self)
            }
        }
        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str>>::deserialize(from)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    )*};
}
pub(crate) use serde_as_text;

serde_as_text!(Mac);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mac_survives_its_text() {
        let mac: Mac = "02:00:5e:00:01:ff".parse().unwrap();
        assert_eq!(mac.to_string(), "02:00:5e:00:01:ff");
        for bad in ["", "02:00:5e:00:01", "02:00:5e:00:01:ff:00", "2:0:5e:0:1:ff", "+2:00:5e:00:01:ff"] {
            assert!(bad.parse::<Mac>().is_err(), "{bad}");
        }
    }

    #[test]
    fn local_macs_are_stations() {
        for seed in [0, 1, u64::MAX, 0x0100_0000_0000_0000] {
            let mac = Mac::locally_administered(seed);
            assert!(mac.is_station() && mac.0[0] & 2 == 2, "{mac}");
        }
    }

    #[test]
    fn host_addresses() {
        for good in ["10.0.0.1", "192.0.2.7", "2001:db8::1", "fe80::1"] {
            assert!(is_host_address(good.parse().unwrap()), "{good}");
        }
        for bad in [
            "0.0.0.0",
            "255.255.255.255",
            "224.0.0.1",
            "127.0.0.1",
            "::",
            "::1",
            "ff02::1",
            "::ffff:10.0.0.1",
            "240.1.1.1",
        ] {
            assert!(!is_host_address(bad.parse().unwrap()), "{bad}");
        }
    }
}
