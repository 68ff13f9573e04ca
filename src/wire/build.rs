//! Whole frames of our own: ARP, echo, TCP segments, UDP datagrams, ICMP errors; and answers made of the question.
//!
//! Each is written into a buffer of the caller's, with complete checksums and padded to Ethernet's minimum. A function
//! returns false, with the buffer's frame unchanged, if the frame does not fit or the two addresses are of
//! different families. IPv4 and IPv6 are one code path. Callers: `plane` (answers, resets, port-unreachables), `health` (probes).

use std::net::{IpAddr, SocketAddr};

use super::checksum::{self, fold, pseudo, sum};
use super::frame::{Checksum, FrameBuf, Offload};
use super::ip::{self, Family, Ip};
use super::parse::{Arp, ArpOp, ETHERNET, ETHERTYPE_ARP, ETHERTYPE_IPV4, ETHERTYPE_IPV6, Icmp, TcpFlags, Transport};
use super::rewrite::set_macs;
use crate::base::addr::Mac;
use crate::base::seq::Seq;

/// The shortest frame without its check sequence (IEEE 802.3, 4A.4.2).
pub const SHORTEST: usize = 60;

/// Time to live of packets we originate (RFC 1700's default).
const TTL: u8 = 64;

/// An ICMPv6 error must not exceed IPv6's minimum MTU (RFC 4443, 2.4c).
const ICMPV6_ERROR_MAX: usize = 1280;

/// An ICMP error must not exceed 576 bytes with its IP header (RFC 1812, 4.3.2.3).
const ICMP_ERROR_MAX: usize = 576;

/// The link header of a frame we originate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Link {
    /// Our address.
    pub src: Mac,
    /// The next hop's.
    pub dst: Mac,
}

/// A TCP segment we originate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segment<'a> {
    /// Source endpoint.
    pub from: SocketAddr,
    /// Destination endpoint, of the same family.
    pub to: SocketAddr,
    /// Sequence number.
    pub seq: Seq,
    /// Acknowledgement number; write 0 if the flags have no ACK.
    pub ack: Seq,
    /// Control bits.
    pub flags: TcpFlags,
    /// Window, unscaled.
    pub window: u16,
    /// Maximum segment size option; only in SYNs.
    pub mss: Option<u16>,
    /// Payload.
    pub payload: &'a [u8],
}

/// An ARP packet. The link addresses are the frame's; the packet's own are in `arp`.
pub fn arp(out: &mut FrameBuf, link: Link, arp: &Arp) -> bool {
    let Some(body) = start(out, link, ETHERTYPE_ARP, 28) else { return false };
    body[..6].copy_from_slice(&[0, 1, 8, 0, 6, 4]);
    body[6..8].copy_from_slice(&arp_op(arp.op).to_be_bytes());
    body[8..14].copy_from_slice(&arp.sender_mac.0);
    body[14..18].copy_from_slice(&arp.sender_ip.octets());
    body[18..24].copy_from_slice(&arp.target_mac.0);
    body[24..28].copy_from_slice(&arp.target_ip.octets());
    true
}

fn arp_op(op: ArpOp) -> u16 {
    match op {
        ArpOp::Request => 1,
        ArpOp::Reply => 2,
    }
}

/// A TCP segment.
pub fn tcp(out: &mut FrameBuf, link: Link, segment: &Segment) -> bool {
    tcp_with(out, link, segment, &[])
}

/// A TCP segment with options beyond its maximum segment size, written already and of whole words.
pub fn tcp_with(out: &mut FrameBuf, link: Link, segment: &Segment, options: &[u8]) -> bool {
    let mss = if segment.mss.is_some() { 4 } else { 0 };
    let header = 20 + mss + options.len();
    if header > 60 || !header.is_multiple_of(4) {
        return false;
    }
    let addresses = (segment.from.ip(), segment.to.ip());
    let Some(body) = packet(out, link, addresses, ip::TCP, header + segment.payload.len()) else { return false };
    body[0..2].copy_from_slice(&segment.from.port().to_be_bytes());
    body[2..4].copy_from_slice(&segment.to.port().to_be_bytes());
    body[4..8].copy_from_slice(&segment.seq.0.to_be_bytes());
    body[8..12].copy_from_slice(&segment.ack.0.to_be_bytes());
    body[12] = (header as u8 / 4) << 4;
    body[13] = segment.flags.0;
    body[14..16].copy_from_slice(&segment.window.to_be_bytes());
    if let Some(mss) = segment.mss {
        // Kind 2, length 4 (RFC 9293, 3.2).
        body[20..22].copy_from_slice(&[2, 4]);
        body[22..24].copy_from_slice(&mss.to_be_bytes());
    }
    body[20 + mss..header].copy_from_slice(options);
    body[header..].copy_from_slice(segment.payload);
    seal(body, addresses, ip::TCP, checksum::TCP_OFFSET);
    true
}

/// A UDP datagram.
pub fn udp(out: &mut FrameBuf, link: Link, from: SocketAddr, to: SocketAddr, payload: &[u8]) -> bool {
    let addresses = (from.ip(), to.ip());
    let length = 8 + payload.len();
    let Some(body) = packet(out, link, addresses, ip::UDP, length) else { return false };
    body[0..2].copy_from_slice(&from.port().to_be_bytes());
    body[2..4].copy_from_slice(&to.port().to_be_bytes());
    // `packet` refuses what IP's own 16-bit length cannot say.
    body[4..6].copy_from_slice(&(length as u16).to_be_bytes());
    body[8..].copy_from_slice(payload);
    seal(body, addresses, ip::UDP, checksum::UDP_OFFSET);
    true
}

/// An echo request (ICMP type 8, ICMPv6 type 128).
pub fn echo_request(
    out: &mut FrameBuf,
    link: Link,
    from: IpAddr,
    to: IpAddr,
    id: u16,
    seq: u16,
    payload: &[u8],
) -> bool {
    let (protocol, kind) = if to.is_ipv4() { (ip::ICMP, 8) } else { (ip::ICMPV6, 128) };
    let Some(body) = packet(out, link, (from, to), protocol, 8 + payload.len()) else { return false };
    body[0] = kind;
    body[4..6].copy_from_slice(&id.to_be_bytes());
    body[6..8].copy_from_slice(&seq.to_be_bytes());
    body[8..].copy_from_slice(payload);
    seal(body, (from, to), protocol, checksum::ICMP_OFFSET);
    true
}

/// A port-unreachable (ICMP type 3 code 3, ICMPv6 type 1 code 4) to the source of `offending`, an IP packet from its
/// first byte to its last, of which as much is quoted as the rules allow. False also if `offending` is no IP packet of
/// `from`'s family. Whether an error may be sent at all (never about errors, groups or later fragments, RFC 1122,
/// 3.2.2) is for the caller to know.
pub fn port_unreachable(out: &mut FrameBuf, link: Link, from: IpAddr, offending: &[u8]) -> bool {
    let (protocol, kind, code, most, to) = match (from, offending) {
        (IpAddr::V4(_), [first, ..]) if first >> 4 == 4 => {
            let Some(src) = offending.get(12..).and_then(|b| b.first_chunk::<4>()) else { return false };
            (ip::ICMP, 3, 3, ICMP_ERROR_MAX - 28, IpAddr::from(*src))
        }
        (IpAddr::V6(_), [first, ..]) if first >> 4 == 6 => {
            let Some(src) = offending.get(8..).and_then(|b| b.first_chunk::<16>()) else { return false };
            (ip::ICMPV6, 1, 4, ICMPV6_ERROR_MAX - 48, IpAddr::from(*src))
        }
        _ => return false,
    };
    let quoted = &offending[..offending.len().min(most)];
    let Some(body) = packet(out, link, (from, to), protocol, 8 + quoted.len()) else { return false };
    body[..2].copy_from_slice(&[kind, code]);
    body[8..].copy_from_slice(quoted);
    seal(body, (from, to), protocol, checksum::ICMP_OFFSET);
    true
}

/// Turns an ARP request in its frame into the reply "the target address is at `mac`".
pub fn answer_arp_in_place(frame: &mut FrameBuf, asked: &Arp, mac: Mac) {
    let Some(body) = frame.bytes_mut().get_mut(ETHERNET..).and_then(|b| b.first_chunk_mut::<28>()) else { return };
    body[6..8].copy_from_slice(&arp_op(ArpOp::Reply).to_be_bytes());
    body[8..14].copy_from_slice(&mac.0);
    body[14..18].copy_from_slice(&asked.target_ip.octets());
    body[18..24].copy_from_slice(&asked.sender_mac.0);
    body[24..28].copy_from_slice(&asked.sender_ip.octets());
    set_macs(frame, Some(asked.sender_mac), Some(mac));
    frame.offload = Offload::NONE;
}

/// Turns an echo request in its frame into the reply, from its destination address and from `own`, with a fresh time
/// to live. Identifier, sequence number, payload and whether the checksums are right stay. Anything else than an echo
/// request is left alone.
pub fn answer_echo_in_place(frame: &mut FrameBuf, ip: &Ip, own: Mac) {
    let Transport::Icmp(Icmp::EchoRequest { .. }) = ip.transport else { return };
    let bytes = frame.bytes_mut();
    let (l3, l4) = (usize::from(ip.l3), usize::from(ip.l4));
    if bytes.len() < l4 + 8 || l3 < ETHERNET {
        return;
    }
    let (headers, message) = bytes.split_at_mut(l4);
    let (link, header) = headers.split_at_mut(l3);
    // Swapping two addresses changes neither the header's sum nor a pseudo-header's.
    match ip.family() {
        Family::V4 if header.len() >= 20 => {
            swap(&mut header[12..20]);
            let delta = checksum::replace16(u16::from(header[8]) << 8, u16::from(TTL) << 8);
            header[8] = TTL;
            let field = checksum::update(u16::from_be_bytes([header[10], header[11]]), delta);
            header[10..12].copy_from_slice(&field.to_be_bytes());
        }
        Family::V6 if header.len() >= 40 => {
            swap(&mut header[8..40]);
            header[7] = TTL;
        }
        _ => return,
    }
    let (asked, reply) = (message[0], if ip.family() == Family::V4 { 0 } else { 129 });
    message[0] = reply;
    let delta = checksum::replace16(u16::from(asked) << 8, u16::from(reply) << 8);
    let field = checksum::update(u16::from_be_bytes([message[2], message[3]]), delta);
    // Type, code, identifier, sequence number and payload of a reply can all be 0.
    message[2..4].copy_from_slice(&checksum::never_zero(field).to_be_bytes());
    link.copy_within(6..12, 0);
    link[6..12].copy_from_slice(&own.0);
    frame.offload.checksum = Checksum::Complete;
}

/// Swaps the halves.
fn swap(bytes: &mut [u8]) {
    let half = bytes.len() / 2;
    bytes.rotate_left(half);
}

/// Makes `out` a zeroed frame with this link header and returns the `length` bytes behind it.
fn start(out: &mut FrameBuf, link: Link, ethertype: u16, length: usize) -> Option<&mut [u8]> {
    let frame = (ETHERNET + length).max(SHORTEST);
    if frame > out.capacity() {
        return None;
    }
    out.set_len(frame);
    out.offload = Offload::NONE;
    let bytes = out.bytes_mut();
    bytes.fill(0);
    bytes[..6].copy_from_slice(&link.dst.0);
    bytes[6..12].copy_from_slice(&link.src.0);
    bytes[12..14].copy_from_slice(&ethertype.to_be_bytes());
    Some(&mut bytes[ETHERNET..ETHERNET + length])
}

/// Makes `out` an IP packet and returns the `length` zeroed bytes of its payload.
fn packet(
    out: &mut FrameBuf,
    link: Link,
    addresses: (IpAddr, IpAddr),
    protocol: u8,
    length: usize,
) -> Option<&mut [u8]> {
    match addresses {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            let total = u16::try_from(20 + length).ok()?;
            let (h, body) = start(out, link, ETHERTYPE_IPV4, 20 + length)?.split_first_chunk_mut::<20>()?;
            h[0] = 0x45;
            h[2..4].copy_from_slice(&total.to_be_bytes());
            // Don't Fragment, and so no identification is needed (RFC 6864, 4.1).
            h[6] = 0x40;
            h[8] = TTL;
            h[9] = protocol;
            h[12..16].copy_from_slice(&from.octets());
            h[16..20].copy_from_slice(&to.octets());
            let checksum = !fold(sum(h));
            h[10..12].copy_from_slice(&checksum.to_be_bytes());
            Some(body)
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            let payload = u16::try_from(length).ok()?;
            let (h, body) = start(out, link, ETHERTYPE_IPV6, 40 + length)?.split_first_chunk_mut::<40>()?;
            h[0] = 0x60;
            h[4..6].copy_from_slice(&payload.to_be_bytes());
            h[6] = protocol;
            h[7] = TTL;
            h[8..24].copy_from_slice(&from.octets());
            h[24..40].copy_from_slice(&to.octets());
            Some(body)
        }
        _ => None,
    }
}

/// Stores the checksum of a finished transport message whose checksum field is still 0.
fn seal(body: &mut [u8], (from, to): (IpAddr, IpAddr), protocol: u8, offset: u16) {
    let pseudo = match protocol {
        ip::ICMP => 0,
        _ => pseudo(from, to, protocol, body.len() as u32),
    };
    let checksum = match (protocol, !fold(pseudo + sum(body))) {
        (ip::UDP, computed) => checksum::never_zero(computed),
        (_, computed) => computed,
    };
    let offset = usize::from(offset);
    body[offset..offset + 2].copy_from_slice(&checksum.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::checksum::{ipv4_header_ok, l4_is_correct};
    use crate::wire::parse::{Payload, parse};

    const LINK: Link = Link { src: Mac([2, 0, 0, 0, 0, 1]), dst: Mac([2, 0, 0, 0, 0, 2]) };

    fn ip_of(frame: &FrameBuf) -> Ip {
        match parse(frame.bytes()).expect("what we build, we can read").payload {
            Payload::Ip(ip) => ip,
            other => panic!("not IP: {other:?}"),
        }
    }

    fn assert_right(frame: &FrameBuf) -> Ip {
        let ip = ip_of(frame);
        assert!(ipv4_header_ok(frame.bytes(), &ip) && l4_is_correct(frame, &ip), "{ip:?}");
        assert!(frame.len() >= SHORTEST);
        ip
    }

    #[test]
    fn an_echo_request_becomes_its_reply() {
        for (from, to) in [("10.0.0.1", "10.0.0.100"), ("2001:db8::1", "2001:db8::100")] {
            let (from, to) = (from.parse().unwrap(), to.parse().unwrap());
            let mut frame = FrameBuf::with_capacity(200);
            assert!(echo_request(&mut frame, LINK, from, to, 7, 9, b"abc"));
            let asked = assert_right(&frame);
            assert_eq!(asked.transport, Transport::Icmp(Icmp::EchoRequest { id: 7, seq: 9 }));
            answer_echo_in_place(&mut frame, &asked, LINK.dst);
            let reply = assert_right(&frame);
            assert_eq!(reply.transport, Transport::Icmp(Icmp::EchoReply { id: 7, seq: 9 }));
            assert_eq!((reply.src, reply.dst, reply.ttl), (to, from, TTL));
            let link = parse(frame.bytes()).unwrap();
            assert_eq!((link.dst_mac, link.src_mac), (LINK.src, LINK.dst));
            assert_eq!(&frame.bytes()[usize::from(reply.l4) + 8..reply.end as usize], b"abc");
        }
    }

    #[test]
    fn an_echo_reply_of_zeroes_has_a_checksum_that_is_taken() {
        let (from, to) = ("10.0.0.1".parse().unwrap(), "10.0.0.100".parse().unwrap());
        let mut frame = FrameBuf::with_capacity(200);
        assert!(echo_request(&mut frame, LINK, from, to, 0, 0, &[0; 56]));
        let asked = assert_right(&frame);
        answer_echo_in_place(&mut frame, &asked, LINK.dst);
        assert_right(&frame);
        assert_eq!(frame.bytes()[34..42], [0, 0, 0xff, 0xff, 0, 0, 0, 0]);
    }

    #[test]
    fn an_arp_request_becomes_its_reply() {
        let asked = Arp {
            op: ArpOp::Request,
            sender_mac: LINK.src,
            sender_ip: "10.0.0.1".parse().unwrap(),
            target_mac: Mac::ZERO,
            target_ip: "10.0.0.100".parse().unwrap(),
        };
        let mut frame = FrameBuf::with_capacity(64);
        assert!(arp(&mut frame, Link { src: LINK.src, dst: Mac::BROADCAST }, &asked));
        let own = Mac([2, 0, 0, 0, 0, 9]);
        answer_arp_in_place(&mut frame, &asked, own);
        let reply = parse(frame.bytes()).unwrap();
        assert_eq!((reply.dst_mac, reply.src_mac), (LINK.src, own));
        let wanted = Arp {
            op: ArpOp::Reply,
            sender_mac: own,
            sender_ip: asked.target_ip,
            target_mac: asked.sender_mac,
            target_ip: asked.sender_ip,
        };
        assert_eq!(reply.payload, Payload::Arp(wanted));
    }

    #[test]
    fn what_does_not_fit_is_not_built() {
        let mut frame = FrameBuf::with_capacity(64);
        assert!(frame.fill(b"before"));
        let (v4, v6): (SocketAddr, SocketAddr) = ("10.0.0.1:1".parse().unwrap(), "[2001:db8::1]:1".parse().unwrap());
        assert!(!udp(&mut frame, LINK, v4, v4, &[0; 23]));
        assert!(!udp(&mut frame, LINK, v4, v6, b""));
        assert!(!udp(&mut FrameBuf::with_capacity(70_000), LINK, v4, v4, &[0; 65_508]));
        assert!(!port_unreachable(&mut frame, LINK, v4.ip(), &[0x45; 3]));
        assert_eq!(frame.bytes(), b"before");
        assert!(udp(&mut frame, LINK, v4, v4, &[0; 22]));
        assert_right(&frame);
    }
}
