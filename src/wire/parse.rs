//! What a frame says. In: bytes from anywhere. Out: [`Parsed`], plain values and offsets, or why not.
//!
//! Every length is checked against what is really there, and IP's own length rules, not the frame's, because short
//! frames arrive padded. Called once per frame, so it reads only what a switch decides by: no options, no checksums
//! (`checksum` has those, for frames that are for us). Frames we only bridge are [`Payload::Other`].
//!
//! Stricter than RFC 791 and 9293 demand of a receiver, because a lie here is a lie to the host behind us: a transport
//! header must be whole in the first fragment (RFC 1858), and UDP's length must not exceed IP's.

use std::net::Ipv4Addr;

use super::ip;
pub use super::ip::{Fragment, Ip};
use crate::base::addr::{Mac, Protocol};
use crate::base::seq::Seq;

/// Bytes of an Ethernet header without tags.
pub const ETHERNET: usize = 14;
/// EtherType of IPv4.
pub const ETHERTYPE_IPV4: u16 = 0x0800;
/// EtherType of ARP.
pub const ETHERTYPE_ARP: u16 = 0x0806;
/// EtherType of IPv6.
pub const ETHERTYPE_IPV6: u16 = 0x86dd;

/// Why a frame is not one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Malformed {
    /// The bytes end before a header does.
    Truncated,
    /// The source address is a group address or all zeroes (IEEE 802.3, 3.2.3).
    SourceMac,
    /// The version nibble contradicts the EtherType.
    IpVersion,
    /// An IPv4 header length below 20 bytes or beyond the packet.
    IpHeaderLength,
    /// IP's length exceeds the frame, or does not cover its own header.
    IpTotalLength,
    /// An IPv6 header chain that is too long, out of order, or longer than the packet.
    Ipv6Extension,
    /// A TCP data offset below 20 bytes or beyond the segment.
    TcpHeaderLength,
    /// A UDP length below 8 or beyond the IP payload.
    UdpLength,
    /// An ICMP message of less than 8 bytes.
    IcmpLength,
    /// ARP for other hardware or protocols than Ethernet and IPv4, or with a sender no station can be.
    ArpFormat,
}

impl Malformed {
    /// All of them, in the order of `as usize`: for arrays of counters.
    pub const ALL: [Malformed; 10] = [
        Malformed::Truncated,
        Malformed::SourceMac,
        Malformed::IpVersion,
        Malformed::IpHeaderLength,
        Malformed::IpTotalLength,
        Malformed::Ipv6Extension,
        Malformed::TcpHeaderLength,
        Malformed::UdpLength,
        Malformed::IcmpLength,
        Malformed::ArpFormat,
    ];

    /// The counter's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Malformed::Truncated => "truncated",
            Malformed::SourceMac => "source_mac",
            Malformed::IpVersion => "ip_version",
            Malformed::IpHeaderLength => "ip_header_length",
            Malformed::IpTotalLength => "ip_total_length",
            Malformed::Ipv6Extension => "ipv6_extension",
            Malformed::TcpHeaderLength => "tcp_header_length",
            Malformed::UdpLength => "udp_length",
            Malformed::IcmpLength => "icmp_length",
            Malformed::ArpFormat => "arp_format",
        }
    }
}

/// A frame, understood as far as a switch needs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parsed {
    /// Destination link address.
    pub dst_mac: Mac,
    /// Source link address: a station's.
    pub src_mac: Mac,
    /// What it carries.
    pub payload: Payload,
}

/// What a frame carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Payload {
    /// An IP packet.
    Ip(Ip),
    /// An ARP request or reply.
    Arp(Arp),
    /// Something we only bridge, with its EtherType (or its length, in IEEE 802.3 frames): VLAN-tagged frames, LLDP,
    /// ARP operations other than request and reply.
    Other(u16),
}

/// What an IP packet carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// A TCP segment.
    Tcp(Tcp),
    /// A UDP datagram.
    Udp(Udp),
    /// An ICMP or ICMPv6 message.
    Icmp(Icmp),
    /// Another protocol, by number.
    Other(u8),
    /// A later fragment: no transport header in it.
    Fragment,
}

/// TCP's control bits (RFC 9293, 3.1), the low eight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct TcpFlags(pub u8);

impl TcpFlags {
    /// No more data from sender.
    pub const FIN: TcpFlags = TcpFlags(0x01);
    /// Synchronise sequence numbers.
    pub const SYN: TcpFlags = TcpFlags(0x02);
    /// Reset the connection.
    pub const RST: TcpFlags = TcpFlags(0x04);
    /// Push.
    pub const PSH: TcpFlags = TcpFlags(0x08);
    /// The acknowledgement number is significant.
    pub const ACK: TcpFlags = TcpFlags(0x10);
    /// The urgent pointer is significant.
    pub const URG: TcpFlags = TcpFlags(0x20);
    /// ECN echo (RFC 3168).
    pub const ECE: TcpFlags = TcpFlags(0x40);
    /// Congestion window reduced (RFC 3168).
    pub const CWR: TcpFlags = TcpFlags(0x80);

    /// True if all bits of `other` are set.
    pub const fn contains(self, other: TcpFlags) -> bool {
        self.0 & other.0 == other.0
    }

    /// True if any bit of `other` is set.
    pub const fn intersects(self, other: TcpFlags) -> bool {
        self.0 & other.0 != 0
    }

    /// The bits of both.
    pub const fn union(self, other: TcpFlags) -> TcpFlags {
        TcpFlags(self.0 | other.0)
    }

    /// True for what opens a connection: SYN without ACK, RST or FIN.
    pub const fn is_initial_syn(self) -> bool {
        let opening = TcpFlags::SYN.0 | TcpFlags::ACK.0 | TcpFlags::RST.0 | TcpFlags::FIN.0;
        self.0 & opening == TcpFlags::SYN.0
    }
}

impl std::ops::BitOr for TcpFlags {
    type Output = TcpFlags;
    fn bitor(self, other: TcpFlags) -> TcpFlags {
        self.union(other)
    }
}

/// A TCP header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tcp {
    /// Source port.
    pub src_port: u16,
    /// Destination port.
    pub dst_port: u16,
    /// Sequence number of the first byte (of the SYN, if set).
    pub seq: Seq,
    /// Acknowledgement number; means something only with ACK set.
    pub ack: Seq,
    /// Control bits.
    pub flags: TcpFlags,
    /// Bytes of payload; of a super-frame, of all its segments together.
    pub payload: u32,
    /// The window field, unscaled.
    pub window: u16,
}

impl Tcp {
    /// How much sequence space the segment takes: its payload, and one each for SYN and FIN (RFC 9293, 3.4).
    pub fn seq_len(&self) -> u32 {
        self.payload + u32::from(self.flags.contains(TcpFlags::SYN)) + u32::from(self.flags.contains(TcpFlags::FIN))
    }
}

/// A UDP header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Udp {
    /// Source port.
    pub src_port: u16,
    /// Destination port.
    pub dst_port: u16,
    /// Bytes of payload, by UDP's own length; in a first fragment that is more than the fragment holds.
    pub payload: u32,
}

/// An ICMP (RFC 792) or ICMPv6 (RFC 4443) message.
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
    /// A message about a packet that met trouble: unreachable, too big, time exceeded, parameter problem, redirect.
    Error {
        /// Type.
        kind: u8,
        /// Code.
        code: u8,
        /// The packet it is about, if that was the beginning of TCP or UDP and enough of it is quoted.
        embedded: Option<Embedded>,
    },
    /// Any other message.
    Other,
}

/// The packet an ICMP error is about, as it was sent: its source is usually the error's receiver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Embedded {
    /// Who had sent it.
    pub src: std::net::SocketAddr,
    /// To whom.
    pub dst: std::net::SocketAddr,
    /// TCP or UDP.
    pub protocol: Protocol,
}

/// What an ARP packet does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ArpOp {
    /// Who has the target address?
    Request,
    /// The sender has it.
    Reply,
}

/// An ARP packet for IPv4 over Ethernet (RFC 826).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arp {
    /// Request or reply.
    pub op: ArpOp,
    /// The sender's link address: a station's.
    pub sender_mac: Mac,
    /// The sender's address; unspecified in a probe (RFC 5227).
    pub sender_ip: Ipv4Addr,
    /// The target's link address; without meaning in a request.
    pub target_mac: Mac,
    /// The address asked for or answered to.
    pub target_ip: Ipv4Addr,
}

/// The link header alone: destination, source, EtherType. For frames that `parse` refuses but a bridge may pass on.
/// `None` for less than 14 bytes.
#[inline]
pub fn link(frame: &[u8]) -> Option<(Mac, Mac, u16)> {
    let &[d0, d1, d2, d3, d4, d5, s0, s1, s2, s3, s4, s5, t0, t1] = frame.first_chunk::<ETHERNET>()?;
    Some((Mac([d0, d1, d2, d3, d4, d5]), Mac([s0, s1, s2, s3, s4, s5]), u16::from_be_bytes([t0, t1])))
}

/// Reads a frame.
///
/// # Errors
/// Why it is malformed; nothing is known about it then but what [`link`] says.
#[inline]
pub fn parse(frame: &[u8]) -> Result<Parsed, Malformed> {
    let (dst_mac, src_mac, ethertype) = link(frame).ok_or(Malformed::Truncated)?;
    if !src_mac.is_station() {
        return Err(Malformed::SourceMac);
    }
    // TCP and UDP over IPv4 return on their own: joined with the rest, every field would take a detour over the stack,
    // because what an ICMP error quotes is several times larger.
    if ethertype == ETHERTYPE_IPV4 {
        let (head, segment) = ip::v4(frame)?;
        if head.fragment != Fragment::Later && head.protocol == ip::TCP {
            let ip = head.carrying(Transport::Tcp(tcp(segment)?));
            return Ok(Parsed { dst_mac, src_mac, payload: Payload::Ip(ip) });
        }
        if head.fragment != Fragment::Later && head.protocol == ip::UDP {
            let ip = head.carrying(Transport::Udp(udp(segment, head.fragment)?));
            return Ok(Parsed { dst_mac, src_mac, payload: Payload::Ip(ip) });
        }
    }
    Ok(Parsed { dst_mac, src_mac, payload: payload(frame, ethertype)? })
}

/// What frames carry that are not on the path of every packet; also right for those that are.
#[inline(never)]
fn payload(frame: &[u8], ethertype: u16) -> Result<Payload, Malformed> {
    let (head, segment) = match ethertype {
        ETHERTYPE_IPV4 => ip::v4(frame)?,
        ETHERTYPE_IPV6 => ip::v6(frame)?,
        ETHERTYPE_ARP => return arp(frame.get(ETHERNET..).unwrap_or_default()),
        other => return Ok(Payload::Other(other)),
    };
    Ok(Payload::Ip(head.carrying(transport(&head, segment)?)))
}

/// The transport header at the front of `segment`, which ends where IP says.
fn transport(head: &ip::Head, segment: &[u8]) -> Result<Transport, Malformed> {
    match (head.protocol, head.family()) {
        _ if head.fragment == Fragment::Later => Ok(Transport::Fragment),
        (ip::TCP, _) => tcp(segment).map(Transport::Tcp),
        (ip::UDP, _) => udp(segment, head.fragment).map(Transport::Udp),
        (ip::ICMP, ip::Family::V4) | (ip::ICMPV6, ip::Family::V6) => icmp(segment, head.family()).map(Transport::Icmp),
        (other, _) => Ok(Transport::Other(other)),
    }
}

#[inline]
fn tcp(bytes: &[u8]) -> Result<Tcp, Malformed> {
    let h = bytes.first_chunk::<20>().ok_or(Malformed::Truncated)?;
    let header = usize::from(h[12] >> 4) * 4;
    if header < 20 || header > bytes.len() {
        return Err(Malformed::TcpHeaderLength);
    }
    Ok(Tcp {
        src_port: u16::from_be_bytes([h[0], h[1]]),
        dst_port: u16::from_be_bytes([h[2], h[3]]),
        seq: Seq(u32::from_be_bytes([h[4], h[5], h[6], h[7]])),
        ack: Seq(u32::from_be_bytes([h[8], h[9], h[10], h[11]])),
        flags: TcpFlags(h[13]),
        payload: (bytes.len() - header) as u32,
        window: u16::from_be_bytes([h[14], h[15]]),
    })
}

#[inline]
fn udp(bytes: &[u8], fragment: Fragment) -> Result<Udp, Malformed> {
    let h = bytes.first_chunk::<8>().ok_or(Malformed::Truncated)?;
    let length = u16::from_be_bytes([h[4], h[5]]);
    let here = fragment == Fragment::First || usize::from(length) <= bytes.len();
    if length < 8 || !here {
        return Err(Malformed::UdpLength);
    }
    Ok(Udp {
        src_port: u16::from_be_bytes([h[0], h[1]]),
        dst_port: u16::from_be_bytes([h[2], h[3]]),
        payload: u32::from(length - 8),
    })
}

/// ICMP and ICMPv6 number the same messages differently (RFC 792; RFC 4443, 2.1: errors are below 128).
fn icmp(bytes: &[u8], family: ip::Family) -> Result<Icmp, Malformed> {
    let (h, quoted) = bytes.split_first_chunk::<8>().ok_or(Malformed::IcmpLength)?;
    let (id, seq) = (u16::from_be_bytes([h[4], h[5]]), u16::from_be_bytes([h[6], h[7]]));
    Ok(match (family, h[0]) {
        (ip::Family::V4, 8) | (ip::Family::V6, 128) => Icmp::EchoRequest { id, seq },
        (ip::Family::V4, 0) | (ip::Family::V6, 129) => Icmp::EchoReply { id, seq },
        (ip::Family::V4, 3 | 4 | 5 | 11 | 12) | (ip::Family::V6, 1..=4) => {
            Icmp::Error { kind: h[0], code: h[1], embedded: ip::embedded(quoted, family) }
        }
        _ => Icmp::Other,
    })
}

fn arp(bytes: &[u8]) -> Result<Payload, Malformed> {
    // Hardware type 1 (Ethernet), protocol type IPv4, address lengths 6 and 4.
    const ETHERNET_IPV4: [u8; 6] = [0, 1, 8, 0, 6, 4];
    let h = bytes.first_chunk::<28>().ok_or(Malformed::Truncated)?;
    let sender_mac = Mac([h[8], h[9], h[10], h[11], h[12], h[13]]);
    if h[..6] != ETHERNET_IPV4 || !sender_mac.is_station() {
        return Err(Malformed::ArpFormat);
    }
    let op = match u16::from_be_bytes([h[6], h[7]]) {
        1 => ArpOp::Request,
        2 => ArpOp::Reply,
        _ => return Ok(Payload::Other(ETHERTYPE_ARP)),
    };
    Ok(Payload::Arp(Arp {
        op,
        sender_mac,
        sender_ip: Ipv4Addr::new(h[14], h[15], h[16], h[17]),
        target_mac: Mac([h[18], h[19], h[20], h[21], h[22], h[23]]),
        target_ip: Ipv4Addr::new(h[24], h[25], h[26], h[27]),
    }))
}
