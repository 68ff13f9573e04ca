//! IPv4 (RFC 791) and IPv6 (RFC 8200) headers and the way from them to the transport header.
//!
//! Called by `parse`; everyone else sees [`Ip`]. Offsets in it have been checked against the frame they came from, so
//! code that is handed both trusts them, but still indexes so that a mix-up can do no worse than nothing.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::parse::{ETHERNET, Embedded, Malformed, Transport};
use crate::base::addr::Protocol;

/// IP protocol number of ICMP.
pub const ICMP: u8 = 1;
/// IP protocol number of TCP.
pub const TCP: u8 = 6;
/// IP protocol number of UDP.
pub const UDP: u8 = 17;
/// IP protocol number of ICMPv6.
pub const ICMPV6: u8 = 58;

const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const DESTINATION_OPTIONS: u8 = 60;

/// Extension headers walked before a packet is refused. RFC 8200, 4.1 lists six that a packet has reason to carry,
/// one of them twice.
const EXTENSIONS_MAX: usize = 7;

/// Which IP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

/// Which part of a datagram a packet is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fragment {
    /// All of it.
    Whole,
    /// The first fragment, with the transport header.
    First,
    /// A later one, without.
    Later,
}

/// An IP packet in a frame. Offsets are from the start of the frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ip {
    /// Source address.
    pub src: IpAddr,
    /// Destination address.
    pub dst: IpAddr,
    /// Where the IP header begins.
    pub l3: u16,
    /// Where the transport header begins, behind options and extension headers.
    pub l4: u16,
    /// Where the packet ends, by its own length; the frame may go on (padding).
    pub end: u32,
    /// Time to live, or hop limit.
    pub ttl: u8,
    /// Part of a larger datagram?
    pub fragment: Fragment,
    /// What it carries.
    pub transport: Transport,
}

impl Ip {
    /// Source and destination with their ports; `None` unless TCP or UDP.
    #[inline]
    pub fn endpoints(&self) -> Option<(SocketAddr, SocketAddr)> {
        let (src, dst) = match self.transport {
            Transport::Tcp(tcp) => (tcp.src_port, tcp.dst_port),
            Transport::Udp(udp) => (udp.src_port, udp.dst_port),
            _ => return None,
        };
        Some((SocketAddr::new(self.src, src), SocketAddr::new(self.dst, dst)))
    }

    /// The family of both addresses.
    pub fn family(&self) -> Family {
        if self.dst.is_ipv4() { Family::V4 } else { Family::V6 }
    }
}

/// An IP header, walked to its end; offsets as in [`Ip`].
#[derive(Clone, Copy)]
pub(super) struct Head {
    src: IpAddr,
    dst: IpAddr,
    l4: u16,
    end: u32,
    ttl: u8,
    pub(super) fragment: Fragment,
    /// Of what follows the last extension header.
    pub(super) protocol: u8,
}

impl Head {
    /// The packet with what it carries.
    #[inline]
    pub(super) fn carrying(&self, transport: Transport) -> Ip {
        let Head { src, dst, l4, end, ttl, fragment, .. } = *self;
        Ip { src, dst, l3: ETHERNET as u16, l4, end, ttl, fragment, transport }
    }

    pub(super) fn family(&self) -> Family {
        if self.dst.is_ipv4() { Family::V4 } else { Family::V6 }
    }
}

/// The IPv4 header behind the Ethernet header of `frame`, and its payload.
#[inline]
pub(super) fn v4(frame: &[u8]) -> Result<(Head, &[u8]), Malformed> {
    let packet = frame.get(ETHERNET..).ok_or(Malformed::Truncated)?;
    let h = packet.first_chunk::<20>().ok_or(Malformed::Truncated)?;
    if h[0] >> 4 != 4 {
        return Err(Malformed::IpVersion);
    }
    let header = usize::from(h[0] & 0x0f) * 4;
    let total = usize::from(u16::from_be_bytes([h[2], h[3]]));
    if header < 20 {
        return Err(Malformed::IpHeaderLength);
    }
    let payload = packet.get(header..total).ok_or(Malformed::IpTotalLength)?;
    let head = Head {
        src: IpAddr::V4(Ipv4Addr::new(h[12], h[13], h[14], h[15])),
        dst: IpAddr::V4(Ipv4Addr::new(h[16], h[17], h[18], h[19])),
        l4: (ETHERNET + header) as u16,
        end: (ETHERNET + total) as u32,
        ttl: h[8],
        fragment: v4_fragment(u16::from_be_bytes([h[6], h[7]])),
        protocol: h[9],
    };
    Ok((head, payload))
}

/// By the word of flags and offset: bit 13 is More Fragments, the low 13 are the offset.
#[inline]
fn v4_fragment(word: u16) -> Fragment {
    match (word & 0x1fff, word & 0x2000) {
        (0, 0) => Fragment::Whole,
        (0, _) => Fragment::First,
        _ => Fragment::Later,
    }
}

/// The IPv6 header behind the Ethernet header of `frame`, and its payload without extension headers.
pub(super) fn v6(frame: &[u8]) -> Result<(Head, &[u8]), Malformed> {
    let packet = frame.get(ETHERNET..).ok_or(Malformed::Truncated)?;
    let (h, rest) = packet.split_first_chunk::<40>().ok_or(Malformed::Truncated)?;
    if h[0] >> 4 != 6 {
        return Err(Malformed::IpVersion);
    }
    // A jumbogram says 0 here (RFC 2675); none fits our buffers, and it is refused for what follows: nothing does.
    let length = usize::from(u16::from_be_bytes([h[4], h[5]]));
    let body = rest.get(..length).ok_or(Malformed::IpTotalLength)?;
    let chain = walk(h[6], body)?;
    let head = Head {
        src: IpAddr::V6(v6_address(h, 8)),
        dst: IpAddr::V6(v6_address(h, 24)),
        l4: (ETHERNET + 40 + chain.length) as u16,
        end: (ETHERNET + 40 + length) as u32,
        ttl: h[7],
        fragment: chain.fragment,
        protocol: chain.protocol,
    };
    Ok((head, body.get(chain.length..).unwrap_or_default()))
}

fn v6_address(header: &[u8; 40], at: usize) -> Ipv6Addr {
    let mut octets = [0; 16];
    octets.copy_from_slice(&header[at..at + 16]);
    Ipv6Addr::from(octets)
}

/// Where a chain of extension headers leads.
struct Chain {
    protocol: u8,
    /// Bytes of extension headers.
    length: usize,
    fragment: Fragment,
}

/// Walks the extension headers at the front of `body`, never beyond its end. Stops at the first header that is not one, and behind the
/// fragment header of a later fragment: what follows there is payload.
fn walk(first: u8, body: &[u8]) -> Result<Chain, Malformed> {
    let mut chain = Chain { protocol: first, length: 0, fragment: Fragment::Whole };
    for index in 0..=EXTENSIONS_MAX {
        let length = match chain.protocol {
            HOP_BY_HOP if index > 0 => break,
            HOP_BY_HOP | ROUTING | DESTINATION_OPTIONS | FRAGMENT if chain.fragment != Fragment::Later => {
                let &[next, more, hi, lo, ..] =
                    body.get(chain.length..).and_then(|b| b.first_chunk::<8>()).ok_or(Malformed::Ipv6Extension)?;
                let is_fragment = chain.protocol == FRAGMENT;
                if is_fragment {
                    chain.fragment = v6_fragment(u16::from_be_bytes([hi, lo]));
                }
                chain.protocol = next;
                if is_fragment { 8 } else { 8 * (1 + usize::from(more)) }
            }
            _ => return Ok(chain),
        };
        chain.length += length;
        if chain.length > body.len() {
            break;
        }
    }
    // Too long, or hop-by-hop options elsewhere than in front (RFC 8200, 4.1).
    Err(Malformed::Ipv6Extension)
}

/// By the fragment header's second word: the high 13 bits are the offset, bit 0 is More Fragments. An atomic fragment
/// (neither) is a whole packet (RFC 6946).
fn v6_fragment(word: u16) -> Fragment {
    match (word >> 3, word & 1) {
        (0, 0) => Fragment::Whole,
        (0, _) => Fragment::First,
        _ => Fragment::Later,
    }
}

/// Endpoints of the packet that an ICMP error quotes. Only its first 8 transport bytes are promised (RFC 792), so
/// lengths inside it are not held against what is quoted.
pub(super) fn embedded(quoted: &[u8], family: Family) -> Option<Embedded> {
    let quote = quote(quoted, family)?;
    let &[s0, s1, d0, d1] = quoted.get(quote.l4..)?.first_chunk::<4>()?;
    Some(Embedded {
        src: SocketAddr::new(quote.src, u16::from_be_bytes([s0, s1])),
        dst: SocketAddr::new(quote.dst, u16::from_be_bytes([d0, d1])),
        protocol: quote.protocol,
    })
}

/// The quoted packet's header; `l4` from the start of the quotation.
pub(super) struct Quote {
    pub(super) src: IpAddr,
    pub(super) dst: IpAddr,
    pub(super) protocol: Protocol,
    pub(super) l4: usize,
}

pub(super) fn quote(quoted: &[u8], family: Family) -> Option<Quote> {
    match family {
        Family::V4 => {
            let h = quoted.first_chunk::<20>()?;
            let header = usize::from(h[0] & 0x0f) * 4;
            let is_first = v4_fragment(u16::from_be_bytes([h[6], h[7]])) != Fragment::Later;
            if h[0] >> 4 != 4 || header < 20 || !is_first {
                return None;
            }
            Some(Quote {
                src: IpAddr::V4(Ipv4Addr::new(h[12], h[13], h[14], h[15])),
                dst: IpAddr::V4(Ipv4Addr::new(h[16], h[17], h[18], h[19])),
                protocol: Protocol::from_number(h[9])?,
                l4: header,
            })
        }
        Family::V6 => {
            let (h, body) = quoted.split_first_chunk::<40>()?;
            let chain = walk(h[6], body).ok()?;
            if h[0] >> 4 != 6 || chain.fragment == Fragment::Later {
                return None;
            }
            Some(Quote {
                src: IpAddr::V6(v6_address(h, 8)),
                dst: IpAddr::V6(v6_address(h, 24)),
                protocol: Protocol::from_number(chain.protocol)?,
                l4: 40 + chain.length,
            })
        }
    }
}
