//! Where a switch is and what speaks to it: `unix:PATH`, `http://HOST:PORT`, `telnet://USER@HOST?driver=foundry`.
//!
//! One grammar for every driver. The scheme names the way there, `?driver=NAME` who speaks; further options belong to
//! that driver, which names those it knows. A password has no place in an address, since command lines and logs show
//! addresses.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::acm::error::AcmError;
use crate::base::text::quoted;

/// The longest address accepted, in bytes.
const LENGTH_MAX: usize = 4096;

/// The address of a switch.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct DriverUrl {
    scheme: String,
    place: Place,
    query: Vec<(String, String)>,
}

/// Where.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Place {
    /// A socket or file of this machine.
    Path(PathBuf),
    /// A host.
    Host {
        /// Who logs in.
        user: Option<String>,
        /// Name or address, IPv6 without brackets.
        host: String,
        /// Port; absent: the driver's.
        port: Option<u16>,
    },
}

impl DriverUrl {
    /// The word before the colon, in lower case.
    pub fn scheme(&self) -> &str {
        &self.scheme
    }

    /// Where.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// The driver asked for, if one is.
    pub fn driver(&self) -> Option<&str> {
        self.option("driver")
    }

    /// The same address, spoken to by this driver.
    ///
    /// # Errors
    /// `Invalid` if it names another.
    pub fn through(mut self, driver: &str) -> Result<DriverUrl, AcmError> {
        match self.driver() {
            Some(named) if named == driver => {}
            Some(named) => {
                let why = format!("{} names the driver {}, not `{driver}`", quoted(&self.to_string()), quoted(named));
                return Err(AcmError::invalid("driver", why));
            }
            None => self.query.insert(0, ("driver".to_owned(), driver.to_owned())),
        }
        Ok(self)
    }

    /// The same address with this user.
    ///
    /// # Errors
    /// `Invalid` for a path, another user, or a name that cannot be typed.
    pub fn as_user(mut self, name: &str) -> Result<DriverUrl, AcmError> {
        let is_typable = !name.is_empty() && !name.chars().any(|c| c.is_control() || c == ':');
        match &mut self.place {
            Place::Host { user, .. } if is_typable && user.as_deref().is_none_or(|user| user == name) => {
                *user = Some(name.to_owned());
                Ok(self)
            }
            _ => Err(AcmError::invalid(
                "user",
                format!("nobody can log in to {} as {}", quoted(&self.to_string()), quoted(name)),
            )),
        }
    }

    /// An option's value, the last one if it is repeated.
    pub fn option(&self, name: &str) -> Option<&str> {
        self.query.iter().rev().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Every value of an option that may be repeated, in order.
    pub fn options<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.query.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Refuses options that are not among these (`driver` always is).
    ///
    /// # Errors
    /// `Invalid`, naming the option and those there are.
    pub fn only_options(&self, known: &[&str]) -> Result<(), AcmError> {
        match self.query.iter().find(|(key, _)| key != "driver" && !known.contains(&key.as_str())) {
            None => Ok(()),
            Some((key, _)) => {
                let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
                Err(AcmError::invalid(
                    "switch",
                    format!("{} has no option {}; there are: {known}", quoted(&self.to_string()), quoted(key)),
                ))
            }
        }
    }
}

impl fmt::Display for DriverUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.scheme)?;
        match &self.place {
            Place::Path(path) => write!(f, "{}", encode(&path.to_string_lossy(), b"/:+,="))?,
            Place::Host { user, host, port } => {
                f.write_str("//")?;
                if let Some(user) = user {
                    write!(f, "{}@", encode(user, b""))?;
                }
                if host.contains(':') {
                    write!(f, "[{host}]")?
                } else {
                    f.write_str(host)?
                }
                if let Some(port) = port {
                    write!(f, ":{port}")?;
                }
            }
        }
        for (n, (key, value)) in self.query.iter().enumerate() {
            write!(f, "{}{}={}", if n == 0 { '?' } else { '&' }, encode(key, b""), encode(value, b"/:+,=[]"))?;
        }
        Ok(())
    }
}

impl FromStr for DriverUrl {
    type Err = AcmError;

    fn from_str(text: &str) -> Result<DriverUrl, AcmError> {
        let (scheme, rest) = text.split_once(':').ok_or_else(|| wrong(text, ""))?;
        let is_scheme = !scheme.is_empty() && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'+');
        if !is_scheme || text.len() > LENGTH_MAX || text.chars().any(char::is_control) {
            return Err(wrong(text, ""));
        }
        let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
        let place = match place.strip_prefix("//") {
            Some(authority) => host_of(authority).ok_or_else(|| refuse_authority(scheme, authority))?,
            None => Place::Path(path_of(place).ok_or_else(|| wrong(text, ""))?),
        };
        let query = query.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
            let (key, value) = pair.split_once('=')?;
            Some((decode(key)?, decode(value)?)).filter(|(key, _)| !key.is_empty())
        });
        let query = query.collect::<Option<_>>().ok_or_else(|| wrong(text, "; an option is NAME=VALUE"))?;
        Ok(DriverUrl { scheme: scheme.to_ascii_lowercase(), place, query })
    }
}

fn wrong(text: &str, why: &str) -> AcmError {
    AcmError::invalid(
        "switch",
        format!(
            "{} is not the address of a switch{why}; write unix:PATH, http://HOST:PORT or \
             SCHEME://[USER@]HOST[:PORT][?driver=NAME]",
            quoted(text)
        ),
    )
}

/// Says what is wrong with an authority. One that holds a password is not repeated.
fn refuse_authority(scheme: &str, authority: &str) -> AcmError {
    match authority.rsplit_once('@') {
        Some((user, _)) if user.contains(':') => {
            let why = "an address holds no password; put it into ACM_PASSWORD or a file (?password-file=PATH)";
            AcmError::invalid("switch", why)
        }
        _ => wrong(&format!("{scheme}://{authority}"), ""),
    }
}

fn path_of(text: &str) -> Option<PathBuf> {
    let path = decode(text)?;
    (!path.is_empty()).then(|| Path::new(&path).to_owned())
}

fn host_of(authority: &str) -> Option<Place> {
    let authority = authority.strip_suffix('/').unwrap_or(authority);
    let (user, address) = match authority.rsplit_once('@') {
        Some((user, address)) if !user.contains(':') => (Some(decode(user).filter(|user| !user.is_empty())?), address),
        Some(_) => return None,
        None => (None, authority),
    };
    let (host, port) = match address.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']')?;
            (host, if port.is_empty() { None } else { Some(port.strip_prefix(':')?) })
        }
        None => match address.rsplit_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (address, None),
        },
    };
    let in_host: fn(u8) -> bool = match address.starts_with('[') {
        true => |b| b.is_ascii_hexdigit() || b == b':' || b == b'.',
        false => |b| b.is_ascii_alphanumeric() || b == b'-' || b == b'.' || b == b'_',
    };
    if host.is_empty() || host.len() > 253 || !host.bytes().all(in_host) {
        return None;
    }
    let port = match port {
        Some(port) => Some(port.parse().ok()?),
        None => None,
    };
    Some(Place::Host { user, host: host.to_owned(), port })
}

/// Percent-decoding (RFC 3986, section 2.1); what comes out is text without control characters.
fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let (high, low) = (char::from(rest.next()?).to_digit(16)?, char::from(rest.next()?).to_digit(16)?);
                (high * 16 + low) as u8
            }
            plain => plain,
        });
    }
    String::from_utf8(bytes).ok().filter(|text| !text.chars().any(char::is_control))
}

/// Percent-encoding of everything but letters, digits, `-._~` and what else may stand here.
fn encode(text: &str, also: &[u8]) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~".contains(&b) || also.contains(&b);
    text.bytes().map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_survive_their_text() {
        for text in [
            "unix:/run/acm/switch.sock",
            "http://10.0.0.2:8800",
            "http://[2001:db8::1]:80",
            "telnet://10.0.0.2",
            "telnet://admin@lb-5.pdq:2323?driver=foundry",
            "ssh://admin@[2001:db8::1]:22?driver=foundry&hostkey=SHA256:abc+/d",
            "unix:/run/haproxy.sock?driver=haproxy&vip=10.0.0.100:80=web&vip=10.0.0.101:80=app",
        ] {
            assert_eq!(text.parse::<DriverUrl>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn parts() {
        let url: DriverUrl = "Telnet://a%40b@[::1]/?driver=foundry&x=1&x=2".parse().unwrap();
        assert_eq!((url.scheme(), url.driver()), ("telnet", Some("foundry")));
        assert_eq!(url.place(), &Place::Host { user: Some("a@b".into()), host: "::1".into(), port: None });
        assert_eq!(url.options("x").collect::<Vec<_>>(), ["1", "2"]);
        assert_eq!(url.option("x"), Some("2"));
        assert!(url.only_options(&["x"]).is_ok());
        let refused = url.only_options(&["y"]).unwrap_err().to_string();
        assert!(refused.contains("`x`") && refused.contains("there are: y"), "{refused}");
    }

    #[test]
    fn a_driver_and_a_user_can_be_added() {
        let url = |text: &str| text.parse::<DriverUrl>().unwrap();
        let added = url("telnet://lb-5?x=1").through("foundry").unwrap().as_user("admin").unwrap();
        assert_eq!(added.to_string(), "telnet://admin@lb-5?driver=foundry&x=1");
        assert_eq!(added.clone().through("foundry").unwrap().as_user("admin").unwrap(), added);
        assert!(added.clone().through("native").is_err());
        for (at, user) in
            [("telnet://other@lb-5", "admin"), ("unix:/s", "admin"), ("telnet://h", ""), ("telnet://h", "a:b")]
        {
            assert!(url(at).as_user(user).is_err(), "{at} {user}");
        }
    }

    #[test]
    fn nonsense_is_refused() {
        for bad in [
            "",
            "unix:",
            "nothing",
            "http://",
            "http://:80",
            "http://a b:80",
            "http://a:99999",
            "http://h/x:80",
            "http://[x]:80",
            "http://[::1",
            "telnet://@h",
            "telnet://h?x",
            "telnet://h?%zz=1",
            "telnet://h?x=%00",
            "telnet://h\n",
        ] {
            assert!(
                matches!(bad.parse::<DriverUrl>(), Err(AcmError::Invalid { field, .. }) if field == "switch"),
                "{bad}"
            );
        }
    }

    #[test]
    fn a_password_is_refused_and_not_repeated() {
        let refused = "telnet://admin:canary@host".parse::<DriverUrl>().unwrap_err().to_string();
        assert!(refused.contains("password-file") && !refused.contains("canary"), "{refused}");
    }
}
