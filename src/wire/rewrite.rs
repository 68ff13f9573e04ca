//! New addresses, ports and MACs in a frame, in place, with the checksums they enter brought up to date.
//!
//! On the path of every packet of every connection: nothing is summed, only what changes is (RFC 1624). A frame and
//! an [`Ip`] that do not belong together, or an address of the other family, change nothing. Time to live, options and
//! payload are untouched; a wrong checksum stays exactly as wrong, so that the receiver still finds out.

use std::net::{IpAddr, SocketAddr};

use super::checksum::{self, is_partial};
use super::frame::FrameBuf;
use super::ip::Ip;
use super::parse::Transport;
use crate::base::addr::Mac;

/// Which end of the packet is rewritten.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Where it is from.
    Source,
    /// Where it goes.
    Destination,
}

/// Gives the packet a new destination address and, if TCP or UDP, port.
#[inline]
pub fn set_destination(frame: &mut FrameBuf, ip: &Ip, to: SocketAddr) {
    set(frame, ip, End::Destination, to);
}

/// Gives the packet a new source address and, if TCP or UDP, port.
#[inline]
pub fn set_source(frame: &mut FrameBuf, ip: &Ip, to: SocketAddr) {
    set(frame, ip, End::Source, to);
}

/// Gives the frame new link addresses; `None` keeps the old one.
#[inline]
pub fn set_macs(frame: &mut FrameBuf, dst: Option<Mac>, src: Option<Mac>) {
    let Some(header) = frame.bytes_mut().first_chunk_mut::<12>() else { return };
    if let Some(Mac(mac)) = dst {
        header[..6].copy_from_slice(&mac);
    }
    if let Some(Mac(mac)) = src {
        header[6..].copy_from_slice(&mac);
    }
}

#[inline]
fn set(frame: &mut FrameBuf, ip: &Ip, end: End, to: SocketAddr) {
    let partial = is_partial(frame, ip);
    let bytes = frame.bytes_mut();
    let Some(address) = set_address(bytes, ip, end, to.ip()) else { return };
    let Some(segment) = bytes.get_mut(usize::from(ip.l4)..) else { return };
    match ip.transport {
        Transport::Tcp(_) => {
            let Some(header) = segment.first_chunk_mut::<18>() else { return };
            let port = set_port(header, end, to.port());
            let field = [header[16], header[17]];
            [header[16], header[17]] = if partial { partly(field, address) } else { wholly(field, address + port) };
        }
        Transport::Udp(_) => {
            let Some(header) = segment.first_chunk_mut::<8>() else { return };
            let port = set_port(header, end, to.port());
            let field = [header[6], header[7]];
            [header[6], header[7]] = match field {
                _ if partial => partly(field, address),
                [0, 0] => field,
                _ => checksum::never_zero(u16::from_be_bytes(wholly(field, address + port))).to_be_bytes(),
            };
        }
        // ICMPv6 sums a pseudo-header too (RFC 4443, 2.3); ICMP does not.
        Transport::Icmp(_) if to.is_ipv6() => {
            let Some(header) = segment.first_chunk_mut::<4>() else { return };
            [header[2], header[3]] = wholly([header[2], header[3]], address);
        }
        Transport::Icmp(_) | Transport::Other(_) | Transport::Fragment => {}
    }
}

/// The field of a complete checksum: the inverted sum of pseudo-header, header and payload.
#[inline]
fn wholly(field: [u8; 2], delta: u64) -> [u8; 2] {
    checksum::update(u16::from_be_bytes(field), delta).to_be_bytes()
}

/// The field of a partial checksum: the sum, not inverted, of the pseudo-header alone. Addresses are in it, ports
/// are not: whoever finishes the sum adds them with the header. So S' = S + ~m + m', and no complement.
#[inline]
fn partly(field: [u8; 2], delta: u64) -> [u8; 2] {
    checksum::fold(u64::from(u16::from_be_bytes(field)) + delta).to_be_bytes()
}

/// Writes the address and, for IPv4, the header checksum. Returns what that adds to sums over the pseudo-header;
/// `None`, and nothing changed, if there is no such packet.
#[inline]
pub(super) fn set_address(bytes: &mut [u8], ip: &Ip, end: End, to: IpAddr) -> Option<u64> {
    let header = bytes.get_mut(usize::from(ip.l3)..)?;
    match (to, ip.dst) {
        (IpAddr::V4(to), IpAddr::V4(_)) => {
            let h = header.first_chunk_mut::<20>()?;
            let at = match end {
                End::Source => 12,
                End::Destination => 16,
            };
            let old = u32::from_be_bytes([h[at], h[at + 1], h[at + 2], h[at + 3]]);
            [h[at], h[at + 1], h[at + 2], h[at + 3]] = to.octets();
            let delta = checksum::replace32(old, to.to_bits());
            [h[10], h[11]] = wholly([h[10], h[11]], delta);
            Some(delta)
        }
        (IpAddr::V6(to), IpAddr::V6(_)) => {
            let h = header.first_chunk_mut::<40>()?;
            let field = match end {
                End::Source => &mut h[8..24],
                End::Destination => &mut h[24..40],
            };
            let field: &mut [u8; 16] = field.try_into().ok()?;
            let old = std::mem::replace(field, to.octets());
            Some(checksum::replace128(old, to.octets()))
        }
        _ => None,
    }
}

/// Writes the port; TCP and UDP keep ports at the same place. Returns what that adds to the transport's sum.
#[inline]
pub(super) fn set_port(header: &mut [u8], end: End, to: u16) -> u64 {
    let field = match end {
        End::Source => header.first_chunk_mut::<2>(),
        End::Destination => header.get_mut(2..).and_then(|h| h.first_chunk_mut::<2>()),
    };
    let Some(field) = field else { return 0 };
    let old = u16::from_be_bytes(std::mem::replace(field, to.to_be_bytes()));
    checksum::replace16(old, to)
}
