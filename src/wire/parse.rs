//! Parsing, once per frame: where the headers are and what they say that anybody asks for.
//!
//! Every length is checked against the bytes that are there, and the IP packet's own length decides where it ends:
//! what follows is link padding. A frame that lies about a length is [`Malformed`], with the reason as a counter. Not
//! here: whether checksums are right, and what is to be done with a frame.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::base::addr::{Mac, Protocol};
use crate::base::seq::Seq;

/// Length of an Ethernet II header.
pub const ETHERNET: usize = 14;

const ETHERTYPE_IPV4: u16 = 0x0800;
const ETHERTYPE_ARP: u16 = 0x0806;
const ETHERTYPE_IPV6: u16 = 0x86dd;

/// Extension headers walked before an IPv6 packet is taken for something we do not understand.
const IPV6_EXTENSIONS_MAX: usize = 8;

/// A frame's headers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parsed {
    /// Destination station.
    pub dst_mac: Mac,
    /// Source station.
    pub src_mac: Mac,
    /// What it carries.
    pub payload: Payload,
}

/// What a frame carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Payload {
    /// An IPv4 or IPv6 packet.
    Ip(Ip),
    /// ARP for IPv4 over Ethernet (RFC 826).
    Arp(Arp),
    /// Anything else, by its EtherType; tagged frames too. It is bridged as it is.
    Other(u16),
}

/// An IP packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ip {
    /// Source address.
    pub src: IpAddr,
    /// Destination address.
    pub dst: IpAddr,
    /// Offset of the IP header in the frame.
    pub l3: u16,
    /// Offset of the L4 header.
    pub l4: u16,
    /// Where the packet ends, exclusive.
    pub end: u32,
    /// TTL or hop limit.
    pub ttl: u8,
    /// Whether it is a fragment.
    pub fragment: Fragment,
    /// What it carries.
    pub transport: Transport,
}

/// Whether an IP packet is whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fragment {
    /// Not a fragment.
    Whole,
    /// The first fragment: it has the L4 header, not all of the payload.
    First,
    /// A later fragment: no L4 header.
    Later,
}

/// What an IP packet carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// TCP.
    Tcp(Tcp),
    /// UDP.
    Udp(Udp),
    /// ICMP or ICMPv6.
    Icmp(Icmp),
    /// Another protocol, by number.
    Other(u8),
    /// A later fragment.
    Fragment,
}

/// TCP flags, the low eight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TcpFlags(pub u8);

impl TcpFlags {
    /// No more data from the sender.
    pub const FIN: TcpFlags = TcpFlags(0x01);
    /// Synchronise sequence numbers.
    pub const SYN: TcpFlags = TcpFlags(0x02);
    /// Reset the connection.
    pub const RST: TcpFlags = TcpFlags(0x04);
    /// Push.
    pub const PSH: TcpFlags = TcpFlags(0x08);
    /// The acknowledgement field is significant.
    pub const ACK: TcpFlags = TcpFlags(0x10);

    /// True if all of `flags` are set.
    #[inline]
    pub fn contains(self, flags: TcpFlags) -> bool {
        self.0 & flags.0 == flags.0
    }
}

impl std::ops::BitOr for TcpFlags {
    type Output = TcpFlags;
    fn bitor(self, other: TcpFlags) -> TcpFlags {
        TcpFlags(self.0 | other.0)
    }
}

/// A TCP header (RFC 9293).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tcp {
    /// Source port.
    pub src_port: u16,
    /// Destination port.
    pub dst_port: u16,
    /// Sequence number.
    pub seq: Seq,
    /// Acknowledgement number; meaningful with `ACK`.
    pub ack: Seq,
    /// Flags.
    pub flags: TcpFlags,
    /// Payload bytes.
    pub payload: u32,
    /// Window, unscaled.
    pub window: u16,
}

impl Tcp {
    /// How much sequence space the segment takes: its payload, and one each for SYN and FIN.
    #[inline]
    pub fn seq_len(&self) -> u32 {
        let flag = |flag| u32::from(self.flags.contains(flag));
        self.payload + flag(TcpFlags::SYN) + flag(TcpFlags::FIN)
    }
}

/// A UDP header (RFC 768).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Udp {
    /// Source port.
    pub src_port: u16,
    /// Destination port.
    pub dst_port: u16,
    /// Payload bytes.
    pub payload: u32,
}

/// An ICMP message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Icmp {
    /// Echo request.
    EchoRequest {
        /// Identifier.
        id: u16,
        /// Sequence number.
        seq: u16,
    },
    /// Echo reply.
    EchoReply {
        /// Identifier.
        id: u16,
        /// Sequence number.
        seq: u16,
    },
    /// Destination unreachable, time exceeded and the like, with the packet it is about.
    Error {
        /// Type.
        kind: u8,
        /// Code.
        code: u8,
        /// The packet it is about, if enough of a TCP or UDP packet is quoted.
        embedded: Option<Embedded>,
    },
    /// Anything else.
    Other,
}

/// The packet that an ICMP error is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Embedded {
    /// Its source.
    pub src: SocketAddr,
    /// Its destination.
    pub dst: SocketAddr,
    /// TCP or UDP.
    pub protocol: Protocol,
}

/// ARP operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ArpOp {
    /// Who has it?
    Request,
    /// I have it.
    Reply,
}

/// An ARP packet for IPv4 over Ethernet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arp {
    /// Request or reply.
    pub op: ArpOp,
    /// Who speaks.
    pub sender_mac: Mac,
    /// The address he claims.
    pub sender_ip: Ipv4Addr,
    /// Whom a reply is for.
    pub target_mac: Mac,
    /// The address asked for.
    pub target_ip: Ipv4Addr,
}

/// Why a frame cannot be understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Malformed {
    /// Shorter than an Ethernet header.
    ShortFrame,
    /// The source is a group address or zero.
    SourceMac,
    /// The IP version does not match the EtherType.
    IpVersion,
    /// The IP header length is impossible.
    IpHeaderLength,
    /// The IP total length is larger than the frame or smaller than the header.
    IpTotalLength,
    /// The IPv6 extension headers run past the end or are too many.
    IpExtensions,
    /// The TCP header length is impossible, or the header is cut off.
    TcpHeader,
    /// The UDP length is impossible, or the header is cut off.
    UdpHeader,
    /// The ICMP header is cut off.
    IcmpHeader,
    /// Not ARP for IPv4 over Ethernet, or cut off.
    ArpFormat,
}

impl Malformed {
    /// Every reason, for counters.
    pub const ALL: [Malformed; 10] = [
        Malformed::ShortFrame,
        Malformed::SourceMac,
        Malformed::IpVersion,
        Malformed::IpHeaderLength,
        Malformed::IpTotalLength,
        Malformed::IpExtensions,
        Malformed::TcpHeader,
        Malformed::UdpHeader,
        Malformed::IcmpHeader,
        Malformed::ArpFormat,
    ];

    /// The word for it in counters.
    pub fn as_str(self) -> &'static str {
        match self {
            Malformed::ShortFrame => "short_frame",
            Malformed::SourceMac => "source_mac",
            Malformed::IpVersion => "ip_version",
            Malformed::IpHeaderLength => "ip_header_length",
            Malformed::IpTotalLength => "ip_total_length",
            Malformed::IpExtensions => "ip_extensions",
            Malformed::TcpHeader => "tcp_header",
            Malformed::UdpHeader => "udp_header",
            Malformed::IcmpHeader => "icmp_header",
            Malformed::ArpFormat => "arp_format",
        }
    }
}

#[inline]
fn be16(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

#[inline]
fn be32(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

#[inline]
fn mac(bytes: &[u8], at: usize) -> Mac {
    Mac([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3], bytes[at + 4], bytes[at + 5]])
}

fn ipv4_at(bytes: &[u8], at: usize) -> Ipv4Addr {
    Ipv4Addr::from_bits(be32(bytes, at))
}

/// Parses an Ethernet frame.
///
/// # Errors
/// [`Malformed`], saying what about it cannot be.
#[inline]
pub fn parse(frame: &[u8]) -> Result<Parsed, Malformed> {
    let Some(ethernet) = frame.get(..ETHERNET) else { return Err(Malformed::ShortFrame) };
    let (dst_mac, src_mac) = (mac(ethernet, 0), mac(ethernet, 6));
    if !src_mac.is_station() {
        return Err(Malformed::SourceMac);
    }
    let payload = match be16(ethernet, 12) {
        ETHERTYPE_IPV4 => Payload::Ip(parse_ipv4(frame)?),
        ETHERTYPE_IPV6 => Payload::Ip(parse_ipv6(frame)?),
        ETHERTYPE_ARP => Payload::Arp(parse_arp(frame)?),
        other => Payload::Other(other),
    };
    Ok(Parsed { dst_mac, src_mac, payload })
}

#[inline]
fn parse_ipv4(frame: &[u8]) -> Result<Ip, Malformed> {
    let Some(header) = frame.get(ETHERNET..ETHERNET + 20) else { return Err(Malformed::IpTotalLength) };
    if header[0] >> 4 != 4 {
        return Err(Malformed::IpVersion);
    }
    let header_len = usize::from(header[0] & 0x0f) * 4;
    let total = usize::from(be16(header, 2));
    if header_len < 20 {
        return Err(Malformed::IpHeaderLength);
    }
    if total < header_len || ETHERNET + total > frame.len() {
        return Err(Malformed::IpTotalLength);
    }
    let flags = be16(header, 6);
    let fragment = match (flags & 0x1fff, flags & 0x2000) {
        (0, 0) => Fragment::Whole,
        (0, _) => Fragment::First,
        _ => Fragment::Later,
    };
    let (l4, end) = (ETHERNET + header_len, ETHERNET + total);
    Ok(Ip {
        src: IpAddr::V4(ipv4_at(header, 12)),
        dst: IpAddr::V4(ipv4_at(header, 16)),
        l3: ETHERNET as u16,
        l4: l4 as u16,
        end: end as u32,
        ttl: header[8],
        fragment,
        transport: parse_transport(header[9], &frame[l4..end], fragment)?,
    })
}

fn parse_ipv6(frame: &[u8]) -> Result<Ip, Malformed> {
    const HEADER: usize = 40;
    let Some(header) = frame.get(ETHERNET..ETHERNET + HEADER) else { return Err(Malformed::IpTotalLength) };
    if header[0] >> 4 != 6 {
        return Err(Malformed::IpVersion);
    }
    let end = ETHERNET + HEADER + usize::from(be16(header, 4));
    if end > frame.len() {
        return Err(Malformed::IpTotalLength);
    }
    let address = |at: usize| Ipv6Addr::from(<[u8; 16]>::try_from(&header[at..at + 16]).unwrap_or_default());
    let (protocol, l4, fragment) = walk_extensions(header[6], &frame[..end])?;
    Ok(Ip {
        src: IpAddr::V6(address(8)),
        dst: IpAddr::V6(address(24)),
        l3: ETHERNET as u16,
        l4: l4 as u16,
        end: end as u32,
        ttl: header[7],
        fragment,
        transport: parse_transport(protocol, &frame[l4..end], fragment)?,
    })
}

/// Steps over hop-by-hop, routing, destination and fragment headers (RFC 8200, section 4).
fn walk_extensions(first: u8, packet: &[u8]) -> Result<(u8, usize, Fragment), Malformed> {
    let (mut next, mut at, mut fragment) = (first, ETHERNET + 40, Fragment::Whole);
    for _ in 0..IPV6_EXTENSIONS_MAX {
        if !matches!(next, 0 | 43 | 44 | 60) || fragment == Fragment::Later {
            return Ok((next, at, fragment));
        }
        let Some(header) = packet.get(at..at + 8) else { return Err(Malformed::IpExtensions) };
        let len = match next {
            44 => {
                let field = be16(header, 2);
                fragment = match (field >> 3, field & 1) {
                    (0, 0) => Fragment::Whole,
                    (0, _) => Fragment::First,
                    _ => Fragment::Later,
                };
                8
            }
            _ => 8 + usize::from(header[1]) * 8,
        };
        next = header[0];
        at += len;
        if at > packet.len() {
            return Err(Malformed::IpExtensions);
        }
    }
    Err(Malformed::IpExtensions)
}

#[inline]
fn parse_transport(protocol: u8, l4: &[u8], fragment: Fragment) -> Result<Transport, Malformed> {
    if fragment == Fragment::Later {
        return Ok(Transport::Fragment);
    }
    match protocol {
        6 => parse_tcp(l4).map(Transport::Tcp),
        17 => parse_udp(l4, fragment).map(Transport::Udp),
        1 => parse_icmp(l4).map(Transport::Icmp),
        58 => parse_icmpv6(l4).map(Transport::Icmp),
        other => Ok(Transport::Other(other)),
    }
}

#[inline]
fn parse_tcp(l4: &[u8]) -> Result<Tcp, Malformed> {
    let Some(header) = l4.get(..20) else { return Err(Malformed::TcpHeader) };
    let header_len = usize::from(header[12] >> 4) * 4;
    if header_len < 20 || header_len > l4.len() {
        return Err(Malformed::TcpHeader);
    }
    Ok(Tcp {
        src_port: be16(header, 0),
        dst_port: be16(header, 2),
        seq: Seq(be32(header, 4)),
        ack: Seq(be32(header, 8)),
        flags: TcpFlags(header[13]),
        payload: (l4.len() - header_len) as u32,
        window: be16(header, 14),
    })
}

fn parse_udp(l4: &[u8], fragment: Fragment) -> Result<Udp, Malformed> {
    let Some(header) = l4.get(..8) else { return Err(Malformed::UdpHeader) };
    let len = usize::from(be16(header, 4));
    // A datagram fills its IP packet exactly, unless it continues in further fragments. A super-frame of UDP
    // segments has the length of the whole, or 0 when that does not fit.
    let fits = len == l4.len() || (len == 0 && l4.len() > 0xffff - 8);
    if !fits && (fragment == Fragment::Whole || len < l4.len()) {
        return Err(Malformed::UdpHeader);
    }
    Ok(Udp { src_port: be16(header, 0), dst_port: be16(header, 2), payload: (l4.len() - 8) as u32 })
}

fn parse_icmp(l4: &[u8]) -> Result<Icmp, Malformed> {
    let Some(header) = l4.get(..8) else { return Err(Malformed::IcmpHeader) };
    Ok(match header[0] {
        8 => Icmp::EchoRequest { id: be16(header, 4), seq: be16(header, 6) },
        0 => Icmp::EchoReply { id: be16(header, 4), seq: be16(header, 6) },
        kind @ (3 | 4 | 5 | 11 | 12) => Icmp::Error { kind, code: header[1], embedded: embedded_ipv4(&l4[8..]) },
        _ => Icmp::Other,
    })
}

fn parse_icmpv6(l4: &[u8]) -> Result<Icmp, Malformed> {
    let Some(header) = l4.get(..8) else { return Err(Malformed::IcmpHeader) };
    Ok(match header[0] {
        128 => Icmp::EchoRequest { id: be16(header, 4), seq: be16(header, 6) },
        129 => Icmp::EchoReply { id: be16(header, 4), seq: be16(header, 6) },
        kind @ 1..=127 => Icmp::Error { kind, code: header[1], embedded: None },
        _ => Icmp::Other,
    })
}

/// The quoted packet of an ICMP error (RFC 792): its IP header and at least eight bytes more.
fn embedded_ipv4(quoted: &[u8]) -> Option<Embedded> {
    let header_len = usize::from(quoted.first()? & 0x0f) * 4;
    if quoted[0] >> 4 != 4 || header_len < 20 || quoted.len() < header_len + 8 {
        return None;
    }
    let later_fragment = be16(quoted, 6) & 0x1fff != 0;
    let protocol = Protocol::from_number(quoted[9]).filter(|_| !later_fragment)?;
    Some(Embedded {
        src: SocketAddr::new(ipv4_at(quoted, 12).into(), be16(quoted, header_len)),
        dst: SocketAddr::new(ipv4_at(quoted, 16).into(), be16(quoted, header_len + 2)),
        protocol,
    })
}

fn parse_arp(frame: &[u8]) -> Result<Arp, Malformed> {
    let Some(arp) = frame.get(ETHERNET..ETHERNET + 28) else { return Err(Malformed::ArpFormat) };
    let op = match be16(arp, 6) {
        1 => ArpOp::Request,
        2 => ArpOp::Reply,
        _ => return Err(Malformed::ArpFormat),
    };
    // Ethernet, IPv4, six and four bytes of address.
    if arp[..6] != [0, 1, 8, 0, 6, 4] {
        return Err(Malformed::ArpFormat);
    }
    Ok(Arp {
        op,
        sender_mac: mac(arp, 8),
        sender_ip: ipv4_at(arp, 14),
        target_mac: mac(arp, 18),
        target_ip: ipv4_at(arp, 24),
    })
}

/// Whether an IPv4 header's own checksum is right; IPv6 has none.
pub fn ipv4_header_ok(frame: &[u8], ip: &Ip) -> bool {
    match ip.src {
        IpAddr::V6(_) => true,
        IpAddr::V4(_) => frame
            .get(usize::from(ip.l3)..usize::from(ip.l4))
            .is_some_and(|header| super::checksum::sum(header) == 0xffff),
    }
}
