//! New addresses, ports and MACs in a frame, in place, with the checksums they enter brought up to date.
//!
//! On the path of every packet of every connection: nothing is summed, only what changes is (RFC 1624). A frame and
//! an [`Ip`] that do not belong together, or an address of the other family, change nothing. Time to live, options and
//! payload are untouched; a wrong checksum stays exactly as wrong, so that the receiver still finds out.

use std::net::{IpAddr, SocketAddr, SocketAddrV4};

use super::checksum::{self, is_partial};
use super::frame::{FrameBuf, Gso};
use super::ip::Ip;
use super::parse::{ETHERNET, Transport};
use super::plain;
use crate::base::addr::{Mac, Protocol};

/// Which end of the packet is rewritten.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Where it is from.
    Source,
    /// Where it goes.
    Destination,
}

/// Where a packet's headers are, from the start of its frame, and whose checksum covers its addresses.
#[derive(Clone, Copy)]
struct Layout {
    l3: u16,
    l4: u16,
    covering: Covering,
}

/// The transport whose checksum a rewrite brings up to date.
#[derive(Clone, Copy)]
enum Covering {
    Tcp,
    Udp,
    Icmpv6,
    Nothing,
}

impl Layout {
    /// `None` if packet and address are of different families.
    #[inline]
    fn of(ip: &Ip, to: &SocketAddr) -> Option<Layout> {
        let covering = match ip.transport {
            Transport::Tcp(_) => Covering::Tcp,
            Transport::Udp(_) => Covering::Udp,
            // ICMPv6 sums a pseudo-header too (RFC 4443, 2.3); ICMP does not.
            Transport::Icmp(_) if to.is_ipv6() => Covering::Icmpv6,
            Transport::Icmp(_) | Transport::Other(_) | Transport::Fragment => Covering::Nothing,
        };
        (ip.dst.is_ipv4() == to.is_ipv4()).then_some(Layout { l3: ip.l3, l4: ip.l4, covering })
    }

    #[inline]
    fn of_plain(protocol: Protocol) -> Layout {
        let covering = match protocol {
            Protocol::Tcp => Covering::Tcp,
            Protocol::Udp => Covering::Udp,
        };
        Layout { l3: ETHERNET as u16, l4: plain::L4 as u16, covering }
    }
}

/// Gives the packet a new destination address and, if TCP or UDP, port.
#[inline]
pub fn set_destination(frame: &mut FrameBuf, ip: &Ip, to: SocketAddr) {
    if let Some(layout) = Layout::of(ip, &to) {
        set(frame, layout, End::Destination, to);
    }
}

/// Gives the packet a new source address and, if TCP or UDP, port.
#[inline]
pub fn set_source(frame: &mut FrameBuf, ip: &Ip, to: SocketAddr) {
    if let Some(layout) = Layout::of(ip, &to) {
        set(frame, layout, End::Source, to);
    }
}

/// [`set_destination`] of a plain packet: its headers are where they always are.
#[inline]
pub fn set_plain_destination(frame: &mut FrameBuf, protocol: Protocol, to: SocketAddrV4) {
    set(frame, Layout::of_plain(protocol), End::Destination, SocketAddr::V4(to));
}

/// [`set_source`] of a plain packet.
#[inline]
pub fn set_plain_source(frame: &mut FrameBuf, protocol: Protocol, to: SocketAddrV4) {
    set(frame, Layout::of_plain(protocol), End::Source, SocketAddr::V4(to));
}

/// Changes a TCP header in place: `edit` is given all of it, options included, and must leave the checksum alone.
#[inline]
pub fn edit_tcp(frame: &mut FrameBuf, ip: &Ip, edit: impl FnOnce(&mut [u8])) {
    let is_left_open = is_partial(frame, ip.l4);
    let segment = frame.bytes_mut().get_mut(usize::from(ip.l4)..ip.end as usize).unwrap_or_default();
    let len = segment.get(12).map_or(0, |offset| usize::from(offset >> 4) * 4);
    let Some(header) = segment.get_mut(..len).filter(|header| header.len() >= 20) else { return };
    if is_left_open {
        // Whoever finishes the sum adds the header then.
        edit(header);
        return;
    }
    let before = checksum::fold(checksum::sum(header));
    edit(header);
    let field = [header[16], header[17]];
    [header[16], header[17]] = wholly(field, u64::from(!before) + checksum::sum(header));
}

/// Puts options into a TCP header, in front of those that are there; they must be of whole words. Returns the packet as it
/// is then; `None`, and nothing is changed, if header, packet or frame would be too long.
pub fn insert_tcp_options(frame: &mut FrameBuf, ip: &Ip, options: &[u8]) -> Option<Ip> {
    let (l3, at, end) = (usize::from(ip.l3), usize::from(ip.l4) + 20, ip.end as usize);
    let (more, is_left_open) = (options.len(), is_partial(frame, ip.l4));
    let offset = *frame.bytes().get(at - 8)?;
    let header = usize::from(offset >> 4) * 4 + more;
    if header > 60 || !more.is_multiple_of(4) || end - l3 + more > usize::from(u16::MAX) || end < at {
        return None;
    }
    if end + more > frame.capacity() {
        return None;
    }
    frame.set_len(end + more);
    let bytes = frame.bytes_mut();
    bytes.copy_within(at..end, at + more);
    bytes[at..at + more].copy_from_slice(options);
    // The IP length, and the pseudo-header's, which is in every sum.
    let field = if ip.dst.is_ipv4() { l3 + 2 } else { l3 + 4 };
    let length = u16::from_be_bytes([bytes[field], bytes[field + 1]]);
    bytes[field..field + 2].copy_from_slice(&(length + more as u16).to_be_bytes());
    if ip.dst.is_ipv4() {
        let sum = [bytes[l3 + 10], bytes[l3 + 11]];
        let sum = wholly(sum, checksum::replace16(length, length + more as u16));
        bytes[l3 + 10..l3 + 12].copy_from_slice(&sum);
    }
    let new_offset = (header as u8 / 4) << 4 | offset & 0x0f;
    bytes[at - 8] = new_offset;
    let sum = [bytes[at - 4], bytes[at - 3]];
    let sum = match is_left_open {
        true => partly(sum, more as u64),
        false => {
            let offset = checksum::replace16(u16::from(offset) << 8, u16::from(new_offset) << 8);
            wholly(sum, more as u64 + offset + checksum::sum(options))
        }
    };
    bytes[at - 4..at - 2].copy_from_slice(&sum);
    if let Gso::Segments { header, .. } = &mut frame.offload.gso {
        *header += more as u16;
    }
    Some(Ip { end: ip.end + more as u32, ..*ip })
}

/// Puts bytes into a TCP segment's payload, behind the first `count` of it. Returns the packet as it is then; `None`, and
/// nothing is changed, if packet or frame would be too long, or there is not so much payload.
pub fn insert_tcp_payload(frame: &mut FrameBuf, ip: &Ip, count: usize, more: &[u8]) -> Option<Ip> {
    let (l3, end) = (usize::from(ip.l3), ip.end as usize);
    if end + more.len() > frame.capacity() || end - l3 + more.len() > usize::from(u16::MAX) {
        return None;
    }
    let at = payload_of(frame, ip)? + count;
    if at > end {
        return None;
    }
    frame.set_len(end + more.len());
    change_payload(frame, ip, end + more.len(), 0, |bytes| {
        bytes.copy_within(at..end, at + more.len());
        bytes[at..at + more.len()].copy_from_slice(more);
    })
}

/// Takes `count` bytes away from the front of a TCP segment's payload, so that it begins so much later. Returns the packet
/// as it is then; `None`, and nothing is changed, if there is not so much payload.
pub fn cut_tcp_payload(frame: &mut FrameBuf, ip: &Ip, count: usize) -> Option<Ip> {
    let (start, end) = (payload_of(frame, ip)?, ip.end as usize);
    if end - start < count {
        return None;
    }
    let shorter = change_payload(frame, ip, end - count, count as u32, |bytes| {
        bytes.copy_within(start + count..end, start);
    });
    frame.set_len(end - count);
    shorter
}

/// Where a TCP segment's payload begins in its frame.
fn payload_of(frame: &FrameBuf, ip: &Ip) -> Option<usize> {
    let (l4, end) = (usize::from(ip.l4), ip.end as usize);
    let start = l4 + usize::from(*frame.bytes().get(l4 + 12)? >> 4) * 4;
    (l4 + 20 <= start && start <= end && end <= frame.bytes().len()).then_some(start)
}

/// Changes the payload with `edit`, the packet's end to `new_end`, and the sequence number by `later`. Of bytes that move by
/// an odd count each changes its place in its word, so the payload is summed anew; a wrong checksum stays wrong.
fn change_payload(
    frame: &mut FrameBuf,
    ip: &Ip,
    new_end: usize,
    later: u32,
    edit: impl FnOnce(&mut [u8]),
) -> Option<Ip> {
    let (l3, l4, end) = (usize::from(ip.l3), usize::from(ip.l4), ip.end as usize);
    let (start, is_left_open) = (payload_of(frame, ip)?, is_partial(frame, ip.l4));
    let bytes = frame.bytes_mut();
    let before = checksum::fold(checksum::sum(&bytes[start..end]));
    edit(bytes);
    let payload = u64::from(!before) + checksum::sum(&bytes[start..new_end]);
    let old = u32::from_be_bytes([bytes[l4 + 4], bytes[l4 + 5], bytes[l4 + 6], bytes[l4 + 7]]);
    let new = old.wrapping_add(later);
    bytes[l4 + 4..l4 + 8].copy_from_slice(&new.to_be_bytes());
    let field = if ip.dst.is_ipv4() { l3 + 2 } else { l3 + 4 };
    let length = u16::from_be_bytes([bytes[field], bytes[field + 1]]);
    let new_length = (usize::from(length) + new_end - end) as u16;
    let longer = checksum::replace16(length, new_length);
    bytes[field..field + 2].copy_from_slice(&new_length.to_be_bytes());
    if ip.dst.is_ipv4() {
        let sum = wholly([bytes[l3 + 10], bytes[l3 + 11]], longer);
        bytes[l3 + 10..l3 + 12].copy_from_slice(&sum);
    }
    let sum = [bytes[l4 + 16], bytes[l4 + 17]];
    let sum = match is_left_open {
        true => partly(sum, longer),
        false => wholly(sum, longer + payload + checksum::replace32(old, new)),
    };
    bytes[l4 + 16..l4 + 18].copy_from_slice(&sum);
    Some(Ip { end: new_end as u32, ..*ip })
}

/// Gives the frame new link addresses; `None` keeps the old one.
#[inline(always)] // who calls knows which of the two it sets
pub fn set_macs(frame: &mut FrameBuf, dst: Option<Mac>, src: Option<Mac>) {
    let Some(header) = frame.bytes_mut().first_chunk_mut::<12>() else { return };
    if let Some(Mac(mac)) = dst {
        header[..6].copy_from_slice(&mac);
    }
    if let Some(Mac(mac)) = src {
        header[6..].copy_from_slice(&mac);
    }
}

#[inline(always)] // two layouts: one known when this is compiled, one not
fn set(frame: &mut FrameBuf, layout: Layout, end: End, to: SocketAddr) {
    let partial = is_partial(frame, layout.l4);
    let bytes = frame.bytes_mut();
    let Some(address) = set_address(bytes, layout.l3, end, to.ip()) else { return };
    let Some(segment) = bytes.get_mut(usize::from(layout.l4)..) else { return };
    match layout.covering {
        Covering::Tcp => {
            let Some(header) = segment.first_chunk_mut::<18>() else { return };
            let port = set_port(header, end, to.port());
            let field = [header[16], header[17]];
            [header[16], header[17]] = if partial { partly(field, address) } else { wholly(field, address + port) };
        }
        Covering::Udp => {
            let Some(header) = segment.first_chunk_mut::<8>() else { return };
            let port = set_port(header, end, to.port());
            let field = [header[6], header[7]];
            [header[6], header[7]] = match field {
                _ if partial => partly(field, address),
                [0, 0] => field,
                _ => checksum::never_zero(u16::from_be_bytes(wholly(field, address + port))).to_be_bytes(),
            };
        }
        Covering::Icmpv6 => {
            let Some(header) = segment.first_chunk_mut::<4>() else { return };
            [header[2], header[3]] = wholly([header[2], header[3]], address);
        }
        Covering::Nothing => {}
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
#[inline(always)] // see `set`
pub(super) fn set_address(bytes: &mut [u8], l3: u16, end: End, to: IpAddr) -> Option<u64> {
    let header = bytes.get_mut(usize::from(l3)..)?;
    match to {
        IpAddr::V4(to) => {
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
        IpAddr::V6(to) => {
            let h = header.first_chunk_mut::<40>()?;
            let field = match end {
                End::Source => &mut h[8..24],
                End::Destination => &mut h[24..40],
            };
            let field: &mut [u8; 16] = field.try_into().ok()?;
            let old = std::mem::replace(field, to.octets());
            Some(checksum::replace128(old, to.octets()))
        }
    }
}

/// Writes the port; TCP and UDP keep ports at the same place. Returns what that adds to the transport's sum.
#[inline(always)] // see `set`
pub(super) fn set_port(header: &mut [u8], end: End, to: u16) -> u64 {
    let field = match end {
        End::Source => header.first_chunk_mut::<2>(),
        End::Destination => header.get_mut(2..).and_then(|h| h.first_chunk_mut::<2>()),
    };
    let Some(field) = field else { return 0 };
    let old = u16::from_be_bytes(std::mem::replace(field, to.to_be_bytes()));
    checksum::replace16(old, to)
}
