//! Names of our servers on the box: deterministic, reversible, at most 32 characters, so that whoever reads the box's
//! configuration, this driver after a restart included, knows which servers are ours and what they stand for.
//!
//! | what | name |
//! |---|---|
//! | the real servers at 10.0.0.11 | `acm-r-10.0.0.11` |
//! | the virtual services at 10.0.0.100 | `acm-v-10.0.0.100` |
//! | the real servers at 2001:db8::1 | `acm-r-` and the address as 26 digits of base 32 |
//!
//! A ServerIron knows servers by address and ports below them, so a name holds an address and no port. IPv6 is written
//! as 26 digits `0-9a-v` (RFC 4648, "base32hex", in lower case), the most significant first, because its usual text can
//! be longer than a name. A name counts as ours only if it decodes *and* the server has that address.

use std::net::{IpAddr, Ipv6Addr};

/// What a name is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// `server real`.
    Real,
    /// `server virtual`.
    Virtual,
}

impl Kind {
    fn prefix(self) -> &'static str {
        match self {
            Kind::Real => "acm-r-",
            Kind::Virtual => "acm-v-",
        }
    }
}

const DIGITS: &[u8; 32] = b"0123456789abcdefghijklmnopqrstuv";
/// 128 bits in digits of 5.
const V6_LENGTH: usize = 26;

/// The name of a server with this address.
pub(super) fn encode(kind: Kind, ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(ip) => format!("{}{ip}", kind.prefix()),
        IpAddr::V6(ip) => {
            let bits = u128::from(ip);
            let digit = |place: usize| char::from(DIGITS[(bits >> (5 * place)) as usize & 31]);
            kind.prefix().chars().chain((0..V6_LENGTH).rev().map(digit)).collect()
        }
    }
}

/// The address in a name of ours. Only what [`encode`] makes decodes.
pub(super) fn decode(kind: Kind, name: &str) -> Option<IpAddr> {
    let rest = name.strip_prefix(kind.prefix())?;
    let ip = match rest.len() {
        V6_LENGTH => {
            let mut bits: u128 = 0;
            for byte in rest.bytes() {
                let digit = DIGITS.iter().position(|known| *known == byte)?;
                bits = bits.checked_mul(32)? | digit as u128;
            }
            IpAddr::V6(Ipv6Addr::from(bits))
        }
        _ => IpAddr::V4(rest.parse().ok()?),
    };
    (encode(kind, ip) == name).then_some(ip)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The longest name a ServerIron takes.
    const LENGTH_MAX: usize = 32;

    #[test]
    fn examples() {
        assert_eq!(encode(Kind::Real, "10.0.0.11".parse().unwrap()), "acm-r-10.0.0.11");
        assert_eq!(encode(Kind::Virtual, "2001:db8::1".parse().unwrap()), "acm-v-10046rg0000000000000000001");
        let longest = encode(Kind::Virtual, "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff".parse().unwrap());
        assert_eq!((longest.len(), decode(Kind::Virtual, &longest).is_some()), (LENGTH_MAX, true));
    }

    #[test]
    fn others_names_are_not_ours() {
        for name in [
            "",
            "rs1",
            "acm-r-",
            "acm-r-10.0.0",
            "acm-r-10.0.0.011",
            "acm-v-10.0.0.11",
            "ACM-R-10.0.0.11",
            "acm-r-2001:db8::1",
            "acm-r-g040mrg0000000000000000001",
            "acm-r-1040mrg000000000000000000z",
            "acm-r-10.0.0.11 ",
        ] {
            assert_eq!(decode(Kind::Real, name), None, "{name}");
        }
    }

    proptest! {
        #[test]
        fn names_are_one_to_one(bits: u128, v4: u32, kind in prop_oneof![Just(Kind::Real), Just(Kind::Virtual)]) {
            for ip in [IpAddr::V6(bits.into()), IpAddr::V4(v4.into())] {
                let name = encode(kind, ip);
                prop_assert!(name.len() <= LENGTH_MAX && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-.".contains(&b)));
                prop_assert_eq!(decode(kind, &name), Some(ip));
            }
        }

        #[test]
        fn what_decodes_is_what_would_be_written(name in "acm-[rv]-([0-9a-v]{24,28}|[0-9.]{5,16})") {
            for kind in [Kind::Real, Kind::Virtual] {
                if let Some(ip) = decode(kind, &name) {
                    prop_assert_eq!(encode(kind, ip), name.clone());
                }
            }
        }
    }
}
