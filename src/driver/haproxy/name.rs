//! What our servers are called in HAProxy: `acm-10.0.0.11-8080`, `acm-2001:db8::1-80:web-1:200.1.2`.
//!
//! HAProxy keeps neither an owner nor the check interval where we could read it back, and a name is all it lets us
//! choose. So the name says everything that cannot be read elsewhere: `acm-ADDRESS-PORT[:OWNER[:CHECK]]`, with what is
//! at its default left out from the end. CHECK is `none`, or `MILLISECONDS.RISE.FALL`. A name is ours only if it is
//! exactly the one we would have given; every other server is foreign.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::acm::error::{AcmError, Feature};
use crate::acm::words::{HealthDepth, HealthProfile, operator};
use crate::base::id::Name;
use crate::base::span::Span;

const PREFIX: &str = "acm-";

/// How HAProxy checks a server of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Check {
    /// Not at all.
    None,
    /// By what its backend says, a connection at least.
    Connect {
        /// Milliseconds from one check to the next.
        interval: u32,
        /// Passing checks in a row that bring it in.
        rise: u8,
        /// Failing checks in a row that take it out.
        fall: u8,
    },
}

impl Default for Check {
    fn default() -> Check {
        // The contract's default is HAProxy's own: every 2 s, rise 2, fall 3.
        Check::Connect { interval: 2000, rise: 2, fall: 3 }
    }
}

impl Check {
    /// HAProxy's word for a profile.
    ///
    /// # Errors
    /// `Unsupported` for what a single server of HAProxy cannot have.
    pub(super) fn of(profile: &HealthProfile) -> Result<Check, AcmError> {
        let cannot = |why: &str| Err(AcmError::unsupported(Feature::Option, why));
        if profile.http.is_some() {
            return cannot("an HTTP check belongs to HAProxy's backend (`option httpchk`), not to one server");
        }
        match profile.depth {
            HealthDepth::L2 => Ok(Check::None),
            HealthDepth::L3 => cannot("HAProxy sends no echo requests; choose depth l4, or l2 for no check"),
            HealthDepth::L4 => {
                let interval = u32::try_from(profile.interval.0.as_millis()).unwrap_or(u32::MAX);
                Ok(Check::Connect { interval, rise: profile.rise, fall: profile.fall })
            }
        }
    }

    /// The profile it amounts to. HAProxy gives a check up after the backend's `timeout check`, and never later than
    /// the interval; that bound is what is listed as timeout.
    pub(super) fn profile(self) -> HealthProfile {
        match self {
            Check::None => HealthProfile::link_only(),
            Check::Connect { interval, rise, fall } => {
                let interval = Span(Duration::from_millis(interval.into()));
                HealthProfile { interval, timeout: interval, rise, fall, ..HealthProfile::default() }
            }
        }
    }
}

/// The name of a server of ours, as what it says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ServerName {
    /// Where the server is.
    pub(super) real: SocketAddr,
    /// Who added it.
    pub(super) owner: Name,
    /// How it is checked.
    pub(super) check: Check,
}

impl fmt::Display for ServerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{}-{}", self.real.ip(), self.real.port())?;
        if self.check != Check::default() || self.owner != operator() {
            write!(f, ":{}", self.owner)?;
        }
        match self.check {
            check if check == Check::default() => Ok(()),
            Check::None => f.write_str(":none"),
            Check::Connect { interval, rise, fall } => write!(f, ":{interval}.{rise}.{fall}"),
        }
    }
}

impl ServerName {
    /// Reads a name; `None`: not one of ours.
    pub(super) fn decode(text: &str) -> Option<ServerName> {
        let rest = text.strip_prefix(PREFIX)?;
        // An address has no `-`, so the first one ends it; a port has no `:`, so the next one ends that.
        let (ip, rest) = rest.split_once('-')?;
        let mut parts = rest.split(':');
        let (port, owner, check) = (parts.next()?, parts.next(), parts.next());
        let name = ServerName {
            real: SocketAddr::new(ip.parse::<IpAddr>().ok()?, port.parse().ok()?),
            owner: owner.map_or(Some(operator()), |owner| owner.parse().ok())?,
            check: check.map_or(Some(Check::default()), decode_check)?,
        };
        (parts.next().is_none() && name.to_string() == text).then_some(name)
    }
}

fn decode_check(text: &str) -> Option<Check> {
    if text == "none" {
        return Some(Check::None);
    }
    let mut numbers = text.split('.');
    let (interval, rise, fall) = (numbers.next()?, numbers.next()?, numbers.next()?);
    numbers.next().is_none().then_some(())?;
    Some(Check::Connect { interval: interval.parse().ok()?, rise: rise.parse().ok()?, fall: fall.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_are_what_a_person_expects() {
        for text in [
            "acm-10.0.0.11-8080",
            "acm-2001:db8::1-80",
            "acm-10.0.0.11-8080:web-1",
            "acm-10.0.0.11-8080:operator:none",
            "acm-10.0.0.11-8080:web-1.blue_A:200.1.2",
        ] {
            assert_eq!(ServerName::decode(text).map(|name| name.to_string()).as_deref(), Some(text));
        }
    }

    #[test]
    fn near_misses_are_foreign() {
        for text in [
            "web1",
            "acm-",
            "acm-1",
            "acm-10.0.0.11",
            "acm-10.0.0.11-8080:operator",
            "acm-10.0.0.11-8080:",
            "acm-10.0.0.11-08080",
            "acm-10.0.0.11-8080:web:2000.2.3",
            "acm-10.0.0.11-8080:web:none:x",
            "acm-10.0.0.11-8080:web:1.2",
            "acm-10.0.0.11-8080:web:1.2.3.4",
            "acm-2001:DB8::1-80",
            "ACM-10.0.0.11-8080",
        ] {
            assert_eq!(ServerName::decode(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn names_are_reversible(
            v6 in any::<bool>(), ip in any::<u128>(), port in any::<u16>(), owner in "[A-Za-z0-9_.-]{1,64}",
            check in proptest::option::of((any::<u32>(), any::<u8>(), any::<u8>())),
        ) {
            let ip = if v6 { IpAddr::V6(ip.into()) } else { IpAddr::V4((ip as u32).into()) };
            let check = check.map_or(Check::None, |(interval, rise, fall)| Check::Connect { interval, rise, fall });
            let name = ServerName { real: SocketAddr::new(ip, port), owner: owner.parse().unwrap(), check };
            let text = name.to_string();
            // What HAProxy allows in a server's name.
            prop_assert!(text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.:".contains(&b)));
            prop_assert_eq!(ServerName::decode(&text), Some(name));
        }

        #[test]
        fn any_text_is_ours_or_not(text in ".{0,80}") {
            if let Some(name) = ServerName::decode(&text) {
                prop_assert_eq!(name.to_string(), text);
            }
        }
    }
}
