//! Where a switch is, and the connection to it.

use std::path::PathBuf;
use std::pin::Pin;
use std::str::FromStr;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};

use super::url::{DriverUrl, Place};
use crate::acm::error::AcmError;

/// How long a connection may take to be made.
pub const CONNECT_PATIENCE: Duration = Duration::from_secs(3);

/// The address of a switch's API: `unix:PATH` or `http://HOST:PORT`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Target {
    /// A Unix socket.
    Unix(PathBuf),
    /// TCP: a host's name or address, and a port.
    Tcp {
        /// Name or address, IPv6 without brackets.
        host: String,
        /// Port.
        port: u16,
    },
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Target::Unix(path) => write!(f, "unix:{}", path.display()),
            Target::Tcp { .. } => write!(f, "http://{}", self.authority()),
        }
    }
}

impl TryFrom<&DriverUrl> for Target {
    type Error = AcmError;

    fn try_from(url: &DriverUrl) -> Result<Target, AcmError> {
        url.only_options(&[])?;
        match (url.scheme(), url.place()) {
            ("unix", Place::Path(path)) => Ok(Target::Unix(path.clone())),
            ("http", Place::Host { user: None, host, port: Some(port) }) => {
                Ok(Target::Tcp { host: host.clone(), port: *port })
            }
            _ => {
                let why = format!("`{url}` is not the address of a switch's API; write unix:PATH or http://HOST:PORT");
                Err(AcmError::invalid("switch", why))
            }
        }
    }
}

impl FromStr for Target {
    type Err = AcmError;

    fn from_str(text: &str) -> Result<Target, AcmError> {
        Target::try_from(&text.parse::<DriverUrl>()?)
    }
}

/// A byte stream to a switch.
pub trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Wire for T {}

impl Target {
    /// The value of the `Host` header (RFC 9110, section 7.2).
    pub(super) fn authority(&self) -> String {
        match self {
            Target::Unix(_) => "localhost".to_owned(),
            Target::Tcp { host, port } if host.contains(':') => format!("[{host}]:{port}"),
            Target::Tcp { host, port } => format!("{host}:{port}"),
        }
    }

    /// Connects.
    ///
    /// # Errors
    /// `Unreachable`, in the system's words.
    pub(super) async fn connect(&self) -> Result<Pin<Box<dyn Wire>>, AcmError> {
        let connecting = async {
            Ok::<Pin<Box<dyn Wire>>, std::io::Error>(match self {
                Target::Unix(path) => Box::pin(tokio::net::UnixStream::connect(path).await?),
                Target::Tcp { host, port } => {
                    let stream = tokio::net::TcpStream::connect((host.as_str(), *port)).await?;
                    // A request is one small write whose answer is awaited.
                    stream.set_nodelay(true)?;
                    Box::pin(stream)
                }
            })
        };
        match tokio::time::timeout(CONNECT_PATIENCE, connecting).await {
            Ok(Ok(wire)) => Ok(wire),
            Ok(Err(why)) => Err(AcmError::Unreachable { why: format!("{self}: {why}") }),
            Err(_) => Err(AcmError::Unreachable { why: format!("{self}: no answer within {CONNECT_PATIENCE:?}") }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_survive_their_text() {
        for text in
            ["unix:/run/acm/switch.sock", "http://10.0.0.2:8800", "http://[2001:db8::1]:80", "http://sw-1.lab:8800"]
        {
            assert_eq!(text.parse::<Target>().unwrap().to_string(), text);
        }
        for bad in [
            "",
            "unix:",
            "http://",
            "http://:80",
            "http://a",
            "http://a b:80",
            "http://a:99999",
            "ftp://a:1",
            "http://u@h:80",
            "http://h/x:80",
            "http://[x]:80",
        ] {
            assert!(
                matches!(bad.parse::<Target>(), Err(AcmError::Invalid { field, .. }) if field == "switch"),
                "{bad}"
            );
        }
    }
}
