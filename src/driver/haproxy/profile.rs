//! Where an HAProxy is and which of its backends stand for which virtual services:
//! `unix:/run/haproxy.sock?driver=haproxy&vip=10.0.0.100:80=web&vip=10.0.0.101:443=shop`, or `tcp://HOST:PORT?...`.

use std::path::PathBuf;

use crate::acm::error::AcmError;
use crate::acm::table::check_endpoint;
use crate::acm::words::ServiceKey;
use crate::base::addr::Protocol;
use crate::base::text::quoted;
use crate::driver::url::{DriverUrl, Place};

/// What an address of an HAProxy says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Profile {
    /// Where its runtime API listens (`stats socket ... level admin`).
    pub(super) place: SocketPlace,
    /// Which backend stands for which service, in order of the services. No backend stands for two.
    pub(super) vips: Vec<Mapped>,
    /// How Remove keeps new connections away.
    pub(super) removal: Removal,
}

/// Where the runtime API listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum SocketPlace {
    /// A Unix socket.
    Unix(PathBuf),
    /// TCP.
    Tcp(String, u16),
}

/// A backend that stands for a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mapped {
    /// The service.
    pub(super) service: ServiceKey,
    /// The backend's name.
    pub(super) backend: String,
}

/// How Remove keeps new connections away from a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Removal {
    /// `state drain`. What is in maintenance was put there by HAProxy's operator and stays.
    Drain,
    /// `state maint`, for backends that keep clients with their servers (stick tables, dynamic cookies): drain lets
    /// such clients in. Then everything of ours that is in maintenance counts as removed.
    Maintenance,
}

impl Removal {
    /// HAProxy's word for the state.
    pub(super) fn state(self) -> &'static str {
        match self {
            Removal::Drain => "drain",
            Removal::Maintenance => "maint",
        }
    }
}

/// Options of the address.
const OPTIONS: &[&str] = &["vip", "persistence"];

impl TryFrom<&DriverUrl> for Profile {
    type Error = AcmError;

    fn try_from(url: &DriverUrl) -> Result<Profile, AcmError> {
        url.only_options(OPTIONS)?;
        let wrong = |why: &str| AcmError::invalid("switch", format!("{}: {why}", quoted(&url.to_string())));
        let place = match (url.scheme(), url.place()) {
            ("unix", Place::Path(path)) => SocketPlace::Unix(path.clone()),
            ("tcp", Place::Host { user: None, host, port: Some(port) }) => SocketPlace::Tcp(host.clone(), *port),
            _ => return Err(wrong("HAProxy's socket is unix:PATH or tcp://HOST:PORT")),
        };
        let removal = match url.option("persistence") {
            None | Some("no") => Removal::Drain,
            Some("yes") => Removal::Maintenance,
            Some(_) => return Err(wrong("persistence is yes or no")),
        };
        let mut vips = url.options("vip").map(mapped).collect::<Result<Vec<_>, _>>()?;
        if vips.is_empty() {
            return Err(wrong("no virtual service is mapped to a backend; add ?vip=VIP:PORT=BACKEND"));
        }
        vips.sort_by_key(|vip| vip.service);
        for (n, vip) in vips.iter().enumerate() {
            if vips[..n].iter().any(|other| other.service == vip.service || other.backend == vip.backend) {
                return Err(AcmError::invalid(
                    "vip",
                    format!("{}={} comes twice; a backend stands for one service", vip.service, vip.backend),
                ));
            }
        }
        Ok(Profile { place, vips, removal })
    }
}

/// Reads `VIP:PORT=BACKEND`.
fn mapped(text: &str) -> Result<Mapped, AcmError> {
    let wrong = |why: String| AcmError::invalid("vip", why);
    let (service, backend) = text
        .split_once('=')
        .ok_or_else(|| wrong(format!("{} is not VIP:PORT=BACKEND, for example 10.0.0.100:80=web", quoted(text))))?;
    let service: ServiceKey = service.parse().map_err(|why| wrong(format!("{why}")))?;
    check_endpoint("vip", service.addr)?;
    if service.protocol != Protocol::Tcp {
        return Err(wrong(format!("{service}: HAProxy balances TCP")));
    }
    // What HAProxy allows in a proxy's name; nothing of it can end a command.
    let legal = |b: u8| b.is_ascii_alphanumeric() || b"-_.:".contains(&b);
    if backend.is_empty() || !backend.bytes().all(legal) {
        return Err(wrong(format!("{} is not the name of a backend (A-Z a-z 0-9 - _ . :)", quoted(backend))));
    }
    Ok(Mapped { service, backend: backend.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn profile(text: &str) -> Result<Profile, AcmError> {
        Profile::try_from(&text.parse::<DriverUrl>().unwrap())
    }

    #[test]
    fn an_address_says_everything() {
        let found = profile("unix:/run/haproxy.sock?driver=haproxy&vip=10.0.0.101:80=b&vip=10.0.0.100:80=a").unwrap();
        assert_eq!(found.place, SocketPlace::Unix("/run/haproxy.sock".into()));
        let names: Vec<_> = found.vips.iter().map(|vip| (vip.service.to_string(), vip.backend.as_str())).collect();
        assert_eq!(names, [("10.0.0.100:80".to_owned(), "a"), ("10.0.0.101:80".to_owned(), "b")]);
        assert_eq!(found.removal, Removal::Drain);
        let over_tcp = profile("tcp://[::1]:9999?vip=[2001:db8::1]:80=a&persistence=yes").unwrap();
        assert_eq!((over_tcp.place, over_tcp.removal), (SocketPlace::Tcp("::1".into(), 9999), Removal::Maintenance));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (bad, says) in [
            ("unix:/s?driver=haproxy", "?vip="),
            ("http://h:1?driver=haproxy&vip=10.0.0.1:80=a", "unix:PATH"),
            ("tcp://h?vip=10.0.0.1:80=a", "tcp://HOST:PORT"),
            ("tcp://u@h:1?vip=10.0.0.1:80=a", "tcp://HOST:PORT"),
            ("unix:/s?vip=10.0.0.1:80", "VIP:PORT=BACKEND"),
            ("unix:/s?vip=10.0.0.1=a", "not a virtual service"),
            ("unix:/s?vip=10.0.0.1:0=a", "port 0"),
            ("unix:/s?vip=10.0.0.1:53/udp=a", "TCP"),
            ("unix:/s?vip=10.0.0.1:80=a;b", "name of a backend"),
            ("unix:/s?vip=10.0.0.1:80=a%20b", "name of a backend"),
            ("unix:/s?vip=10.0.0.1:80=", "name of a backend"),
            ("unix:/s?vip=10.0.0.1:80=a&vip=10.0.0.1:80=b", "comes twice"),
            ("unix:/s?vip=10.0.0.1:80=a&vip=10.0.0.2:80=a", "comes twice"),
            ("unix:/s?vip=10.0.0.1:80=a&persistence=maybe", "yes or no"),
            ("unix:/s?vip=10.0.0.1:80=a&wip=1", "no option `wip`"),
        ] {
            let refused = profile(bad).unwrap_err();
            assert!(
                matches!(refused, AcmError::Invalid { .. }) && refused.to_string().contains(says),
                "{bad}: {refused}"
            );
        }
    }
}
