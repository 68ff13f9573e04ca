//! Fields: type, length, value, big-endian, without padding. Whoever does not know a field skips it, unless the
//! sender marked it critical.
//!
//! ```text
//!   0                   1                   2                   3
//!  +-+-------------------------------+-------------------------------+
//!  |C|            type               |            length             |  value ...
//!  +-+-------------------------------+-------------------------------+
//! ```

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::words::Words;
use crate::acm::words::{BindingKey, ServiceKey};
use crate::base::addr::Protocol;
use crate::base::id::Name;

/// Set in a field's type by a sender to whom it would be wrong to skip the field.
pub const CRITICAL: u16 = 0x8000;

/// Why authentic bytes are no message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// A length, a value or a combination that the layout does not allow.
    #[error("{0}")]
    Layout(&'static str),
    /// A field we do not know and must not skip.
    #[error("unknown critical field {0:#06x}")]
    Critical(u16),
}

pub(super) type Read<T> = Result<T, Malformed>;

/// One field.
#[derive(Debug, Clone, Copy)]
pub(super) struct Field<'a> {
    /// Its type without the critical bit.
    pub(super) tag: u16,
    critical: bool,
    pub(super) value: &'a [u8],
}

/// The fields in these bytes.
pub(super) struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    pub(super) fn of(bytes: &'a [u8]) -> Fields<'a> {
        Fields(bytes)
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Read<Field<'a>>;

    fn next(&mut self) -> Option<Read<Field<'a>>> {
        if self.0.is_empty() {
            return None;
        }
        let cut = |bytes: &'a [u8]| {
            let (head, rest) = bytes.split_first_chunk::<4>()?;
            let length = usize::from(u16::from_be_bytes([head[2], head[3]]));
            let (value, rest) = rest.split_at_checked(length)?;
            let tag = u16::from_be_bytes([head[0], head[1]]);
            Some((Field { tag: tag & !CRITICAL, critical: tag & CRITICAL != 0, value }, rest))
        };
        match cut(self.0) {
            Some((field, rest)) => {
                self.0 = rest;
                Some(Ok(field))
            }
            None => {
                self.0 = &[];
                Some(Err(Malformed::Layout("a field is cut short")))
            }
        }
    }
}

impl Field<'_> {
    /// For a field we do not know.
    pub(super) fn skip(&self) -> Read<()> {
        if self.critical { Err(Malformed::Critical(self.tag)) } else { Ok(()) }
    }

    fn array<const N: usize>(&self) -> Read<[u8; N]> {
        self.value.try_into().map_err(|_| Malformed::Layout("a field has another length"))
    }

    pub(super) fn u8(&self) -> Read<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    pub(super) fn u16(&self) -> Read<u16> {
        self.array().map(u16::from_be_bytes)
    }

    pub(super) fn u32(&self) -> Read<u32> {
        self.array().map(u32::from_be_bytes)
    }

    pub(super) fn u64(&self) -> Read<u64> {
        self.array().map(u64::from_be_bytes)
    }

    /// Milliseconds, 32 bits: up to 49 days.
    pub(super) fn millis(&self) -> Read<Duration> {
        self.u32().map(|millis| Duration::from_millis(millis.into()))
    }

    pub(super) fn name(&self) -> Read<Name> {
        let text = std::str::from_utf8(self.value).map_err(|_| Malformed::Layout("a name is not ASCII"))?;
        text.parse().map_err(|_| Malformed::Layout("a name is not 1 to 64 of A-Z a-z 0-9 _ . -"))
    }

    pub(super) fn words(&self) -> Read<Words> {
        Words::from_bytes(self.value).ok_or(Malformed::Layout("a text is too long or no text"))
    }

    /// Port, then address: 6 bytes (IPv4) or 18 (IPv6).
    pub(super) fn endpoint(&self) -> Read<SocketAddr> {
        endpoint(self.value)
    }

    /// IP protocol number, port, address.
    pub(super) fn service(&self) -> Read<ServiceKey> {
        let (number, rest) = self.value.split_first().ok_or(Malformed::Layout("a service is empty"))?;
        let protocol = Protocol::from_number(*number).ok_or(Malformed::Layout("a service is neither TCP nor UDP"))?;
        Ok(ServiceKey { addr: endpoint(rest)?, protocol })
    }

    /// A service's length in one byte, the service, the real.
    pub(super) fn binding(&self) -> Read<BindingKey> {
        let cut = || {
            let (length, rest) = self.value.split_first()?;
            rest.split_at_checked(usize::from(*length))
        };
        let (service, real) = cut().ok_or(Malformed::Layout("a binding is cut short"))?;
        let service = Field { value: service, ..*self }.service()?;
        Ok(BindingKey { service, real: endpoint(real)? })
    }
}

fn endpoint(bytes: &[u8]) -> Read<SocketAddr> {
    let (port, ip) = bytes.split_first_chunk::<2>().ok_or(Malformed::Layout("an address is cut short"))?;
    let ip = match ip.len() {
        4 => <[u8; 4]>::try_from(ip).ok().map(IpAddr::from),
        16 => <[u8; 16]>::try_from(ip).ok().map(IpAddr::from),
        _ => None,
    };
    let ip = ip.ok_or(Malformed::Layout("an address has neither 4 nor 16 bytes"))?;
    Ok(SocketAddr::new(ip, u16::from_be_bytes(*port)))
}

/// Fills a place once: a field that may stand once and stands twice is refused, lest two readers choose differently.
pub(super) fn once<T>(place: &mut Option<T>, value: T) -> Read<()> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(Malformed::Layout("a field stands twice")),
    }
}

/// A place that had to be filled.
pub(super) fn needed<T>(place: Option<T>) -> Read<T> {
    place.ok_or(Malformed::Layout("a field is missing"))
}

/// Writes fields.
#[derive(Debug, Default)]
pub(super) struct Writer {
    pub(super) bytes: Vec<u8>,
}

impl Writer {
    pub(super) fn bytes(&mut self, tag: u16, value: &[u8]) {
        self.nested(tag, |inner| inner.bytes.extend_from_slice(value));
    }

    /// A field whose value is written by `write`, which may write fields.
    pub(super) fn nested(&mut self, tag: u16, write: impl FnOnce(&mut Writer)) {
        self.bytes.extend_from_slice(&tag.to_be_bytes());
        let at = self.bytes.len();
        self.bytes.extend_from_slice(&[0, 0]);
        write(self);
        // No value of ours comes near 64 KiB; a datagram that long is refused when it is sealed.
        let length = u16::try_from(self.bytes.len() - at - 2).unwrap_or(u16::MAX);
        self.bytes[at..at + 2].copy_from_slice(&length.to_be_bytes());
    }

    pub(super) fn u8(&mut self, tag: u16, value: u8) {
        self.bytes(tag, &[value]);
    }

    pub(super) fn u16(&mut self, tag: u16, value: u16) {
        self.bytes(tag, &value.to_be_bytes());
    }

    pub(super) fn u32(&mut self, tag: u16, value: u32) {
        self.bytes(tag, &value.to_be_bytes());
    }

    pub(super) fn u64(&mut self, tag: u16, value: u64) {
        self.bytes(tag, &value.to_be_bytes());
    }

    pub(super) fn millis(&mut self, tag: u16, value: Duration) {
        self.u32(tag, u32::try_from(value.as_millis()).unwrap_or(u32::MAX));
    }

    pub(super) fn text(&mut self, tag: u16, value: &str) {
        self.bytes(tag, value.as_bytes());
    }

    pub(super) fn endpoint(&mut self, tag: u16, value: SocketAddr) {
        self.nested(tag, |inner| inner.push_endpoint(value));
    }

    pub(super) fn binding(&mut self, tag: u16, value: &BindingKey) {
        self.nested(tag, |inner| {
            inner.bytes.push(if value.service.addr.is_ipv4() { 7 } else { 19 });
            inner.push_service(&value.service);
            inner.push_endpoint(value.real);
        });
    }

    fn push_service(&mut self, value: &ServiceKey) {
        self.bytes.push(value.protocol.number());
        self.push_endpoint(value.addr);
    }

    fn push_endpoint(&mut self, value: SocketAddr) {
        self.bytes.extend_from_slice(&value.port().to_be_bytes());
        match value.ip() {
            IpAddr::V4(ip) => self.bytes.extend_from_slice(&ip.octets()),
            IpAddr::V6(ip) => self.bytes.extend_from_slice(&ip.octets()),
        }
    }
}
