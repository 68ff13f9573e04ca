//! Plain packets, read in one go: data segments and datagrams whole in IPv4 without options, which is what nearly
//! every packet of an established connection is.
//!
//! Says nothing that [`parse`](super::parse::parse) would not say: for every frame taken here `parse` reads the same
//! values, and what is not plain (handshakes, resets, the last FIN, options, fragments, IPv6, anything malformed) is
//! left to it. A property test holds the two against one another. Called once a frame by the plane's short way.

use std::net::Ipv4Addr;

use super::ip;
use super::parse::{ETHERNET, ETHERTYPE_IPV4, TcpFlags};
use crate::base::addr::{Mac, Protocol};
use crate::base::seq::Seq;

/// Where the transport header of a plain packet begins.
pub const L4: usize = ETHERNET + 20;
/// The headers of a plain TCP segment without options, and the shortest frame taken here.
pub const HEADERS: usize = L4 + 20;

/// A plain packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plain {
    /// Destination link address, as [`Mac::bits`]: six bytes would be moved one by one.
    pub dst_mac: u64,
    /// Source link address, a station's, likewise.
    pub src_mac: u64,
    /// TCP or UDP.
    pub protocol: Protocol,
    /// Source address.
    pub src: Ipv4Addr,
    /// Destination address.
    pub dst: Ipv4Addr,
    /// Source port.
    pub src_port: u16,
    /// Destination port.
    pub dst_port: u16,
    /// Of TCP: the number of the first byte.
    pub seq: Seq,
    /// Of TCP: the acknowledgement, which a plain segment always has.
    pub ack: Seq,
    /// Bytes of payload.
    pub payload: u32,
}

/// Reads a plain packet; `None` for every other frame.
#[inline]
pub fn read(frame: &[u8]) -> Option<Plain> {
    /// The bit of a link address that makes it a group's.
    const GROUP: u64 = 1;
    const MORE_FRAGMENTS_AND_OFFSET: u16 = 0x3fff;
    let h = frame.first_chunk::<HEADERS>()?;
    let word = |at: usize| u16::from_be_bytes([h[at], h[at + 1]]);
    let long = |at: usize| u32::from_be_bytes([h[at], h[at + 1], h[at + 2], h[at + 3]]);
    let total = usize::from(word(16));
    let is_ipv4_without_options = word(12) == ETHERTYPE_IPV4 && h[14] == 0x45;
    if !is_ipv4_without_options || word(20) & MORE_FRAGMENTS_AND_OFFSET != 0 || ETHERNET + total > frame.len() {
        return None;
    }
    let [d0, d1, d2, d3, d4, d5, s0, s1, s2, s3, s4, s5, ..] = *h;
    let (dst_mac, src_mac) = (Mac([d0, d1, d2, d3, d4, d5]).bits(), Mac([s0, s1, s2, s3, s4, s5]).bits());
    if src_mac == 0 || src_mac & GROUP != 0 {
        return None;
    }
    let (protocol, payload) = match h[23] {
        ip::TCP => (Protocol::Tcp, tcp_payload(h[46], TcpFlags(h[47]), total)?),
        ip::UDP => (Protocol::Udp, udp_payload(word(38), total)?),
        _ => return None,
    };
    Some(Plain {
        dst_mac,
        src_mac,
        protocol,
        src: Ipv4Addr::from_bits(long(26)),
        dst: Ipv4Addr::from_bits(long(30)),
        src_port: word(34),
        dst_port: word(36),
        seq: Seq(long(38)),
        ack: Seq(long(42)),
        payload,
    })
}

/// Of a segment that carries an acknowledgement and opens or ends nothing.
#[inline]
fn tcp_payload(offset: u8, flags: TcpFlags, total: usize) -> Option<u32> {
    let telling = TcpFlags::FIN | TcpFlags::SYN | TcpFlags::RST | TcpFlags::ACK;
    let header = usize::from(offset >> 4) * 4;
    if flags.0 & telling.0 != TcpFlags::ACK.0 || header < 20 {
        return None;
    }
    total.checked_sub(20 + header).map(|payload| payload as u32)
}

#[inline]
fn udp_payload(length: u16, total: usize) -> Option<u32> {
    (usize::from(length) + 20 <= total).then_some(u32::from(length.checked_sub(8)?))
}
