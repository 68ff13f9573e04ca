//! What people read when a check does not pass: which address, what was expected, what came.
//!
//! Nothing a real sends is quoted but a status number, so that no answer can put words into our logs.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use crate::acm::words::HttpCheck;
use crate::base::span::Span;

/// Why a check failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Failure {
    /// Nobody answered the ARP request.
    NoArp,
    /// Nobody answered the echo.
    NoEcho,
    /// Nobody answered the SYN.
    ConnectTimeout,
    /// A RST answered the SYN.
    ConnectRefused,
    /// An ICMP destination-unreachable with this code answered the SYN.
    ConnectUnreachable(u8),
    /// An ICMP destination-unreachable with this code answered the datagram.
    UdpUnreachable(u8),
    /// The HTTP check failed.
    Http(HttpFailure),
    /// The real's address family is not checked yet.
    Ipv6,
    /// The switch has no address of the real's family.
    NoOwnAddress,
}

/// Why an HTTP check failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HttpFailure {
    /// Not one byte of a response came.
    NoAnswer,
    /// Some of a response came, not enough to judge it.
    Unfinished,
    /// The connection was ended before the response could be judged.
    Closed,
    /// What came is not HTTP/1.
    NotHttp,
    /// The response's head does not end within this many bytes.
    HeadTooLong(usize),
    /// Another status than expected.
    Status(u16),
    /// The text is not in the body.
    BodyLacks,
}

/// What ICMP destination-unreachable codes mean (RFC 792; RFC 1812, section 5.2.7.1).
fn unreachable(code: u8) -> &'static str {
    match code {
        0 => "network unreachable",
        1 => "host unreachable",
        2 => "protocol unreachable",
        3 => "port unreachable",
        9 | 10 | 13 => "administratively prohibited",
        _ => "unreachable",
    }
}

/// A failure with what was checked, to be written out.
pub(super) struct Sentence<'a> {
    /// What went wrong.
    pub failure: Failure,
    /// The real.
    pub real: SocketAddr,
    /// How long each step was given.
    pub timeout: Span,
    /// The HTTP check, if there is one.
    pub http: Option<&'a HttpCheck>,
}

impl Sentence<'_> {
    /// As the contract carries it.
    pub(super) fn text(&self) -> Arc<str> {
        self.to_string().into()
    }

    fn http(&self, failure: HttpFailure, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(check) = self.http else { return f.write_str("HTTP check failed") };
        write!(f, "HTTP GET {} on {} ", check.path, self.real)?;
        match failure {
            HttpFailure::NoAnswer => write!(f, "got no answer within {}", self.timeout),
            HttpFailure::Unfinished => write!(f, "got no complete answer within {}", self.timeout),
            HttpFailure::Closed => f.write_str("was cut off: the server ended the connection"),
            HttpFailure::NotHttp => f.write_str("was answered by something that is not HTTP/1"),
            HttpFailure::HeadTooLong(max) => write!(f, "answered with a head longer than {max} bytes"),
            HttpFailure::Status(status) => write!(f, "answered {status}, expected {}", check.status),
            HttpFailure::BodyLacks => {
                write!(f, "answered {}, but the body lacks {:?}", check.status, check.contains.as_deref().unwrap_or(""))
            }
        }
    }
}

impl fmt::Display for Sentence<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (real, ip, timeout) = (self.real, self.real.ip(), self.timeout);
        match self.failure {
            Failure::NoArp => write!(f, "no ARP reply from {ip} within {timeout}"),
            Failure::NoEcho => write!(f, "no echo reply from {ip} within {timeout}"),
            Failure::ConnectTimeout => write!(f, "TCP connect to {real} got no answer within {timeout}"),
            Failure::ConnectRefused => write!(f, "TCP connect to {real} refused"),
            Failure::ConnectUnreachable(code) => write!(f, "TCP connect to {real} refused: {}", unreachable(code)),
            Failure::UdpUnreachable(code) => write!(f, "UDP to {real} refused: {}", unreachable(code)),
            Failure::Http(failure) => self.http(failure, f),
            Failure::NoOwnAddress => write!(f, "the switch has no IPv4 address to check {ip} from"),
            Failure::Ipv6 => write!(f, "IPv6 checks are not built yet, so {ip} cannot be checked"),
        }
    }
}

/// What the first check of a binding is waiting for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Awaited {
    /// L2.
    Arp,
    /// L3.
    Echo,
    /// L4, TCP.
    SynAck,
    /// L4, UDP: silence.
    NoRefusal,
    /// L7.
    Http,
}

impl Awaited {
    /// "waiting for an ARP reply from 10.0.0.11".
    pub(super) fn text(self, real: SocketAddr) -> Arc<str> {
        let ip: IpAddr = real.ip();
        match self {
            Awaited::Arp => format!("waiting for an ARP reply from {ip}"),
            Awaited::Echo => format!("waiting for an echo reply from {ip}"),
            Awaited::SynAck => format!("waiting for a TCP connect to {real}"),
            Awaited::NoRefusal => format!("waiting whether UDP to {real} is refused"),
            Awaited::Http => format!("waiting for an HTTP answer from {real}"),
        }
        .into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_words() {
        let http = HttpCheck { path: "/health".into(), host: None, status: 200, contains: Some("\"ready\"\n".into()) };
        let said = |failure| {
            let real = "10.0.0.11:8080".parse().unwrap();
            Sentence { failure, real, timeout: Span::secs(1), http: Some(&http) }.to_string()
        };
        assert_eq!(said(Failure::NoArp), "no ARP reply from 10.0.0.11 within 1s");
        assert_eq!(said(Failure::ConnectRefused), "TCP connect to 10.0.0.11:8080 refused");
        assert_eq!(said(Failure::UdpUnreachable(3)), "UDP to 10.0.0.11:8080 refused: port unreachable");
        assert_eq!(
            said(Failure::Http(HttpFailure::Status(503))),
            "HTTP GET /health on 10.0.0.11:8080 answered 503, expected 200"
        );
        assert_eq!(
            said(Failure::Http(HttpFailure::BodyLacks)),
            r#"HTTP GET /health on 10.0.0.11:8080 answered 200, but the body lacks "\"ready\"\n""#
        );
    }
}
