//! Rewriting addresses, ports and MACs in place, with the checksums.
//!
//! The frame must be the one that was parsed into the [`Ip`] given; nothing is written outside its headers, and a frame
//! that is not long enough for what `Ip` says is left alone.

use std::net::{IpAddr, SocketAddr};

use super::checksum::Delta;
use super::frame::{Checksum, FrameBuf};
use super::parse::{Ip, Transport};
use crate::base::addr::Mac;

/// Replaces destination address and port.
#[inline]
pub fn set_destination(frame: &mut FrameBuf, ip: &Ip, to: SocketAddr) {
    set_endpoint(frame, ip, End::Destination, to);
}

/// Replaces source address and port.
#[inline]
pub fn set_source(frame: &mut FrameBuf, ip: &Ip, to: SocketAddr) {
    set_endpoint(frame, ip, End::Source, to);
}

/// Replaces MAC addresses; `None` leaves one as it is.
#[inline]
pub fn set_macs(frame: &mut FrameBuf, dst: Option<Mac>, src: Option<Mac>) {
    let Some(ethernet) = frame.bytes_mut().first_chunk_mut::<12>() else { return };
    if let Some(dst) = dst {
        ethernet[..6].copy_from_slice(&dst.0);
    }
    if let Some(src) = src {
        ethernet[6..].copy_from_slice(&src.0);
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Source,
    Destination,
}

#[inline]
fn set_endpoint(frame: &mut FrameBuf, ip: &Ip, end: End, to: SocketAddr) {
    let checksum = frame.offload.checksum;
    let (l3, l4) = (usize::from(ip.l3), usize::from(ip.l4));
    let Some((head, l4_bytes)) = frame.bytes_mut().split_at_mut_checked(l4) else { return };
    let Some(header) = head.get_mut(l3..) else { return };
    let addresses = match to.ip() {
        IpAddr::V4(new) => set_ipv4(header, end, new.octets()),
        IpAddr::V6(new) => set_ipv6(header, end, new.octets()),
    };
    let Some(addresses) = addresses else { return };
    match ip.transport {
        Transport::Tcp(_) => set_tcp(l4_bytes, end, to.port(), addresses, checksum),
        Transport::Udp(_) => set_udp(l4_bytes, end, to.port(), addresses, checksum),
        _ => {}
    }
}

#[inline]
fn set_ipv4(header: &mut [u8], end: End, new: [u8; 4]) -> Option<Delta> {
    let header = header.first_chunk_mut::<20>()?;
    let at = if end == End::Source { 12 } else { 16 };
    let delta = Delta::default().bytes(&header[at..at + 4], &new);
    header[at..at + 4].copy_from_slice(&new);
    let checksum = delta.apply(u16::from_be_bytes([header[10], header[11]]));
    header[10..12].copy_from_slice(&checksum.to_be_bytes());
    Some(delta)
}

fn set_ipv6(header: &mut [u8], end: End, new: [u8; 16]) -> Option<Delta> {
    let at = if end == End::Source { 8 } else { 24 };
    let field = header.get_mut(at..at + 16)?;
    let delta = Delta::default().bytes(field, &new);
    field.copy_from_slice(&new);
    Some(delta)
}

/// Replaces a port and returns the change; ports are the first four bytes of TCP and UDP.
#[inline]
fn set_port(l4: &mut [u8], end: End, new: u16, delta: Delta) -> Delta {
    let at = if end == End::Source { 0 } else { 2 };
    let old = u16::from_be_bytes([l4[at], l4[at + 1]]);
    l4[at..at + 2].copy_from_slice(&new.to_be_bytes());
    delta.word(old, new)
}

#[inline]
fn set_tcp(l4: &mut [u8], end: End, port: u16, addresses: Delta, checksum: Checksum) {
    let Some(l4) = l4.first_chunk_mut::<20>() else { return };
    let whole = set_port(l4, end, port, addresses);
    let old = u16::from_be_bytes([l4[16], l4[17]]);
    let new = match checksum {
        // Only the pseudo-header has been summed so far: addresses count, ports will.
        Checksum::Partial { .. } => addresses.apply_to_sum(old),
        Checksum::Complete | Checksum::Verified => whole.apply(old),
    };
    l4[16..18].copy_from_slice(&new.to_be_bytes());
}

#[inline]
fn set_udp(l4: &mut [u8], end: End, port: u16, addresses: Delta, checksum: Checksum) {
    let Some(l4) = l4.first_chunk_mut::<8>() else { return };
    let whole = set_port(l4, end, port, addresses);
    let old = u16::from_be_bytes([l4[6], l4[7]]);
    let new = match checksum {
        Checksum::Partial { .. } => addresses.apply_to_sum(old),
        // RFC 768: 0 means that no checksum was sent; it stays so.
        Checksum::Complete | Checksum::Verified if old == 0 => 0,
        Checksum::Complete | Checksum::Verified => match whole.apply(old) {
            0 => 0xffff,
            sum => sum,
        },
    };
    l4[6..8].copy_from_slice(&new.to_be_bytes());
}
