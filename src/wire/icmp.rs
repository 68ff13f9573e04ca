//! ICMP errors (RFC 792, RFC 4443) about packets of translated flows: the packet an error quotes, found and rewritten
//! in place, as the sender of the quoted packet knows it (RFC 5508, section 4.2).
//!
//! Quotations are short and may be cut anywhere behind the first 8 transport bytes, so a checksum inside one is brought
//! up to date only if it is there. Rare packets: the error's own checksum is simply computed anew, so whoever calls
//! this has looked at the old one. Not here: which flow an error is about (`plane`).

use std::net::SocketAddr;

use super::checksum::{self, ICMP_OFFSET, TCP_OFFSET, UDP_OFFSET, fold, pseudo, sum};
use super::frame::{Checksum, FrameBuf};
use super::ip::{self, Family, Ip};
use super::parse::{Icmp, Transport};
use super::rewrite::{End, set_address, set_port};
use crate::base::addr::Protocol;
use crate::base::seq::Seq;

/// Bytes of an error before the packet it quotes.
const HEADER: usize = 8;

/// The packet that an ICMP error quotes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quoted {
    /// Who had sent it.
    pub src: SocketAddr,
    /// To whom.
    pub dst: SocketAddr,
    /// TCP or UDP.
    pub protocol: Protocol,
    /// The TCP sequence number it had.
    pub seq: Option<Seq>,
    /// Where its headers begin, from the start of the frame.
    l3: usize,
    l4: usize,
}

/// True for an error that ends at the sender of the packet it quotes and tells him why that did not arrive: unreachable
/// and too big, time exceeded, parameter problem. Not redirects and source quenches (RFC 6633).
pub fn is_about_delivery(family: Family, kind: u8) -> bool {
    match family {
        Family::V4 => matches!(kind, 3 | 11 | 12),
        Family::V6 => matches!(kind, 1..=4),
    }
}

/// The packet that the error in `frame` quotes; `None` if this is no error, or quotes no beginning of TCP or UDP.
pub fn quoted(frame: &[u8], ip: &Ip) -> Option<Quoted> {
    let Transport::Icmp(Icmp::Error { .. }) = ip.transport else { return None };
    let l3 = usize::from(ip.l4) + HEADER;
    let packet = frame.get(l3..ip.end as usize)?;
    let quote = ip::quote(packet, ip.family())?;
    let transport = packet.get(quote.l4..)?;
    let &[s0, s1, d0, d1] = transport.first_chunk::<4>()?;
    let number = transport.get(4..8).and_then(|bytes| bytes.first_chunk::<4>());
    let seq = match quote.protocol {
        Protocol::Tcp => Some(Seq(u32::from_be_bytes(*number?))),
        Protocol::Udp => None,
    };
    Some(Quoted {
        src: SocketAddr::new(quote.src, u16::from_be_bytes([s0, s1])),
        dst: SocketAddr::new(quote.dst, u16::from_be_bytes([d0, d1])),
        protocol: quote.protocol,
        seq,
        l3,
        l4: l3 + quote.l4,
    })
}

/// Gives the quoted packet another source or destination, and the error the checksum that goes with it.
pub fn set_quoted(frame: &mut FrameBuf, ip: &Ip, quoted: &Quoted, end: End, to: SocketAddr) {
    let bytes = frame.bytes_mut();
    if to.is_ipv4() != quoted.dst.is_ipv4() {
        return;
    }
    let Some(address) = u16::try_from(quoted.l3).ok().and_then(|l3| set_address(bytes, l3, end, to.ip())) else {
        return;
    };
    let Some(transport) = bytes.get_mut(quoted.l4..ip.end as usize) else { return };
    let delta = address + set_port(transport, end, to.port());
    update_quoted(transport, quoted, delta);
}

/// Gives the quoted TCP segment another sequence number, and the checksum that goes with it.
pub fn set_quoted_seq(frame: &mut FrameBuf, ip: &Ip, quoted: &Quoted, to: Seq) {
    let Some(transport) = frame.bytes_mut().get_mut(quoted.l4..ip.end as usize) else { return };
    let field = transport.get_mut(4..).and_then(|bytes| bytes.first_chunk_mut::<4>());
    if let (Some(old), Some(field)) = (quoted.seq, field) {
        *field = to.0.to_be_bytes();
        update_quoted(transport, quoted, checksum::replace32(old.0, to.0));
    }
}

/// Brings the checksum of a quoted packet up to date, if it is quoted.
fn update_quoted(transport: &mut [u8], quoted: &Quoted, delta: u64) {
    let offset = match quoted.protocol {
        Protocol::Tcp => TCP_OFFSET,
        Protocol::Udp => UDP_OFFSET,
    };
    let field = transport.get_mut(usize::from(offset)..).and_then(|bytes| bytes.first_chunk_mut::<2>());
    if let Some(field) = field {
        let old = u16::from_be_bytes(*field);
        *field = match (quoted.protocol, old) {
            (Protocol::Udp, 0) => old,
            (Protocol::Udp, _) => checksum::never_zero(checksum::update(old, delta)),
            (Protocol::Tcp, _) => checksum::update(old, delta),
        }
        .to_be_bytes();
    }
}

/// The largest packet that the next hop takes, if the error says that the one it quotes was larger (RFC 1191, section 4; RFC
/// 4443, section 3.2). 0 from a router that does not say.
pub fn next_hop_mtu(frame: &[u8], ip: &Ip) -> Option<u16> {
    let &[kind, code, _, _, a, b, c, d] = frame.get(usize::from(ip.l4)..ip.end as usize)?.first_chunk::<HEADER>()?;
    match (ip.family(), kind, code) {
        (Family::V4, 3, 4) => Some(u16::from_be_bytes([c, d])),
        (Family::V6, 2, _) => Some(u16::try_from(u32::from_be_bytes([a, b, c, d])).unwrap_or(u16::MAX)),
        _ => None,
    }
}

/// Makes an error that has it say another [`next_hop_mtu`].
pub fn set_next_hop_mtu(frame: &mut FrameBuf, ip: &Ip, mtu: u16) {
    let Some(field) = frame.bytes_mut().get_mut(usize::from(ip.l4) + 4..ip.end as usize) else { return };
    // In IPv4 the upper half is something else's (RFC 4884, section 4).
    let upper = if ip.family() == Family::V6 { field.first_chunk_mut::<2>() } else { None };
    upper.into_iter().for_each(|upper| *upper = [0; 2]);
    let lower = field.get_mut(2..).and_then(|bytes| bytes.first_chunk_mut::<2>());
    lower.into_iter().for_each(|lower| *lower = mtu.to_be_bytes());
}

/// Computes the checksum of an ICMP message anew, after its packet's addresses and its content are what they shall be.
pub fn seal(frame: &mut FrameBuf, ip: &Ip, src: std::net::IpAddr, dst: std::net::IpAddr) {
    let Some(message) = frame.bytes_mut().get_mut(usize::from(ip.l4)..ip.end as usize) else { return };
    let pseudo = match ip.family() {
        Family::V4 => 0,
        Family::V6 => pseudo(src, dst, ip::ICMPV6, message.len() as u32),
    };
    let offset = usize::from(ICMP_OFFSET);
    let Some(field) = message.get_mut(offset..offset + 2) else { return };
    field.fill(0);
    let computed = !fold(pseudo + sum(message));
    message[offset..offset + 2].copy_from_slice(&computed.to_be_bytes());
    frame.offload.checksum = Checksum::Complete;
}
