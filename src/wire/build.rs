//! Building the frames we originate or answer with: whole frames, complete checksums, padded to Ethernet's least
//! length. IPv4; what IPv6 needs is added where IPv6 is forwarded.
//!
//! Every builder writes into a buffer given to it and answers whether the frame fitted.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::checksum::{Delta, fold, pseudo_header, sum};
use super::frame::{FrameBuf, Offload};
use super::parse::{Arp, ArpOp, ETHERNET, Ip, TcpFlags};
use crate::base::addr::Mac;
use crate::base::seq::Seq;

/// The least length of an Ethernet frame without its check sequence (IEEE 802.3, 3.2.8).
const LEAST: usize = 60;
const IPV4: usize = 20;
/// TTL of packets we originate (RFC 1700's recommended default).
const TTL: u8 = 64;

/// The link-layer ends of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Link {
    /// Who sends it.
    pub src: Mac,
    /// Whom it is for.
    pub dst: Mac,
}

/// A TCP segment to build.
#[derive(Debug, Clone, Copy)]
pub struct Segment<'a> {
    /// Source.
    pub from: SocketAddr,
    /// Destination.
    pub to: SocketAddr,
    /// Sequence number.
    pub seq: Seq,
    /// Acknowledgement number.
    pub ack: Seq,
    /// Flags.
    pub flags: TcpFlags,
    /// Window.
    pub window: u16,
    /// Maximum segment size option, if any.
    pub mss: Option<u16>,
    /// Payload.
    pub payload: &'a [u8],
}

/// Starts a frame of this many bytes: link header written, the rest zero. `None` if it does not fit.
fn begin(out: &mut FrameBuf, link: Link, ethertype: u16, len: usize) -> Option<&mut [u8]> {
    if len > out.capacity() {
        return None;
    }
    out.set_len(len.max(LEAST));
    out.offload = Offload::NONE;
    let frame = out.bytes_mut();
    frame.fill(0);
    frame[..6].copy_from_slice(&link.dst.0);
    frame[6..12].copy_from_slice(&link.src.0);
    frame[12..14].copy_from_slice(&ethertype.to_be_bytes());
    Some(frame)
}

/// Starts an IPv4 frame with `l4_len` bytes after the IP header, which is complete.
fn begin_ipv4(
    out: &mut FrameBuf,
    link: Link,
    from: Ipv4Addr,
    to: Ipv4Addr,
    protocol: u8,
    l4_len: usize,
) -> Option<&mut [u8]> {
    let total = u16::try_from(IPV4 + l4_len).ok()?;
    let frame = begin(out, link, 0x0800, ETHERNET + usize::from(total))?;
    let header = &mut frame[ETHERNET..ETHERNET + IPV4];
    header[0] = 0x45;
    header[2..4].copy_from_slice(&total.to_be_bytes());
    header[6] = 0x40; // don't fragment: with DF set the identification may be zero (RFC 6864, section 4.1)
    header[8] = TTL;
    header[9] = protocol;
    header[12..16].copy_from_slice(&from.octets());
    header[16..20].copy_from_slice(&to.octets());
    let checksum = !sum(header);
    header[10..12].copy_from_slice(&checksum.to_be_bytes());
    Some(&mut frame[ETHERNET + IPV4..ETHERNET + usize::from(total)])
}

fn both_ipv4(from: IpAddr, to: IpAddr) -> Option<(Ipv4Addr, Ipv4Addr)> {
    match (from, to) {
        (IpAddr::V4(from), IpAddr::V4(to)) => Some((from, to)),
        _ => None,
    }
}

/// An ARP packet.
#[must_use]
pub fn arp(out: &mut FrameBuf, link: Link, arp: &Arp) -> bool {
    let Some(frame) = begin(out, link, 0x0806, ETHERNET + 28) else { return false };
    write_arp(&mut frame[ETHERNET..], arp);
    true
}

fn write_arp(body: &mut [u8], arp: &Arp) {
    let op: u8 = match arp.op {
        ArpOp::Request => 1,
        ArpOp::Reply => 2,
    };
    body[..8].copy_from_slice(&[0, 1, 8, 0, 6, 4, 0, op]);
    body[8..14].copy_from_slice(&arp.sender_mac.0);
    body[14..18].copy_from_slice(&arp.sender_ip.octets());
    body[18..24].copy_from_slice(&arp.target_mac.0);
    body[24..28].copy_from_slice(&arp.target_ip.octets());
}

/// A TCP segment.
#[must_use]
pub fn tcp(out: &mut FrameBuf, link: Link, segment: &Segment<'_>) -> bool {
    let Some((from, to)) = both_ipv4(segment.from.ip(), segment.to.ip()) else { return false };
    let header_len = 20 + if segment.mss.is_some() { 4 } else { 0 };
    let l4_len = header_len + segment.payload.len();
    let Some(l4) = begin_ipv4(out, link, from, to, 6, l4_len) else { return false };
    l4[..2].copy_from_slice(&segment.from.port().to_be_bytes());
    l4[2..4].copy_from_slice(&segment.to.port().to_be_bytes());
    l4[4..8].copy_from_slice(&segment.seq.0.to_be_bytes());
    l4[8..12].copy_from_slice(&segment.ack.0.to_be_bytes());
    l4[12] = (header_len as u8 / 4) << 4;
    l4[13] = segment.flags.0;
    l4[14..16].copy_from_slice(&segment.window.to_be_bytes());
    if let Some(mss) = segment.mss {
        l4[20..22].copy_from_slice(&[2, 4]);
        l4[22..24].copy_from_slice(&mss.to_be_bytes());
    }
    l4[header_len..].copy_from_slice(segment.payload);
    let checksum = !fold(u32::from(pseudo_header(from.into(), to.into(), 6, l4_len as u32)) + u32::from(sum(l4)));
    l4[16..18].copy_from_slice(&checksum.to_be_bytes());
    true
}

/// A UDP datagram.
#[must_use]
pub fn udp(out: &mut FrameBuf, link: Link, from: SocketAddr, to: SocketAddr, payload: &[u8]) -> bool {
    let Some((from_ip, to_ip)) = both_ipv4(from.ip(), to.ip()) else { return false };
    let l4_len = 8 + payload.len();
    let Some(l4) = begin_ipv4(out, link, from_ip, to_ip, 17, l4_len) else { return false };
    l4[..2].copy_from_slice(&from.port().to_be_bytes());
    l4[2..4].copy_from_slice(&to.port().to_be_bytes());
    l4[4..6].copy_from_slice(&(l4_len as u16).to_be_bytes());
    l4[8..].copy_from_slice(payload);
    let total = u32::from(pseudo_header(from.ip(), to.ip(), 17, l4_len as u32)) + u32::from(sum(l4));
    // RFC 768: a computed 0 is sent as all ones.
    let checksum = match !fold(total) {
        0 => 0xffff,
        checksum => checksum,
    };
    l4[6..8].copy_from_slice(&checksum.to_be_bytes());
    true
}

/// An ICMP echo request.
#[must_use]
pub fn echo_request(
    out: &mut FrameBuf,
    link: Link,
    from: IpAddr,
    to: IpAddr,
    id: u16,
    seq: u16,
    payload: &[u8],
) -> bool {
    let Some((from, to)) = both_ipv4(from, to) else { return false };
    let Some(l4) = begin_ipv4(out, link, from, to, 1, 8 + payload.len()) else { return false };
    l4[0] = 8;
    l4[4..6].copy_from_slice(&id.to_be_bytes());
    l4[6..8].copy_from_slice(&seq.to_be_bytes());
    l4[8..].copy_from_slice(payload);
    finish_icmp(l4);
    true
}

/// An ICMP port-unreachable about an IP packet, quoting its header and eight bytes more (RFC 792).
#[must_use]
pub fn port_unreachable(out: &mut FrameBuf, link: Link, from: IpAddr, offending: &[u8]) -> bool {
    let Some((header, rest)) = offending.split_first_chunk::<20>() else { return false };
    let header_len = usize::from(header[0] & 0x0f) * 4;
    let quoted = &offending[..(header_len + 8).min(20 + rest.len())];
    let to = Ipv4Addr::new(header[12], header[13], header[14], header[15]);
    let Some((from, to)) = both_ipv4(from, to.into()) else { return false };
    let Some(l4) = begin_ipv4(out, link, from, to, 1, 8 + quoted.len()) else { return false };
    l4[..2].copy_from_slice(&[3, 3]);
    l4[8..].copy_from_slice(quoted);
    finish_icmp(l4);
    true
}

fn finish_icmp(l4: &mut [u8]) {
    let checksum = !sum(l4);
    l4[2..4].copy_from_slice(&checksum.to_be_bytes());
}

/// Turns an ARP request into the reply "the address asked for is at `mac`".
pub fn answer_arp_in_place(frame: &mut FrameBuf, arp: &Arp, mac: Mac) {
    let bytes = frame.bytes_mut();
    if bytes.len() < ETHERNET + 28 {
        return;
    }
    bytes[..6].copy_from_slice(&arp.sender_mac.0);
    bytes[6..12].copy_from_slice(&mac.0);
    let reply = Arp {
        op: ArpOp::Reply,
        sender_mac: mac,
        sender_ip: arp.target_ip,
        target_mac: arp.sender_mac,
        target_ip: arp.sender_ip,
    };
    write_arp(&mut bytes[ETHERNET..], &reply);
}

/// Turns an IPv4 echo request for one of our addresses into its reply.
pub fn answer_echo_in_place(frame: &mut FrameBuf, ip: &Ip, own: Mac) {
    let (l3, l4) = (usize::from(ip.l3), usize::from(ip.l4));
    let bytes = frame.bytes_mut();
    if bytes.len() < l4 + 8 || l4 < l3 + IPV4 || ip.src.is_ipv6() {
        return;
    }
    bytes.copy_within(6..12, 0);
    bytes[6..12].copy_from_slice(&own.0);
    // Swapping two addresses leaves the header's sum as it was.
    let (source, destination) = bytes[l3 + 12..l3 + 20].split_at_mut(4);
    source.swap_with_slice(destination);
    let checksum = u16::from_be_bytes([bytes[l4 + 2], bytes[l4 + 3]]);
    let checksum = Delta::default().word(0x0800, 0).apply(checksum);
    bytes[l4] = 0;
    bytes[l4 + 2..l4 + 4].copy_from_slice(&checksum.to_be_bytes());
}
