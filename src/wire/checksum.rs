//! The Internet checksum (RFC 1071): whole, incrementally (RFC 1624), and left to be finished (`Partial`).
//!
//! One's complement sums of 16-bit words are sums modulo 0xffff, and 2^16 = 1 modulo 0xffff. So words may be added in
//! wider integers, high and low halves of 32-bit words may stay together, and the carries are folded in at the end.
//! The two zeroes matter only to UDP, where a stored 0 means "not computed" (RFC 768).

use std::net::IpAddr;

use super::frame::{Checksum, FrameBuf};
use super::ip::{self, Fragment, Ip};
use super::parse::Transport;

/// Where TCP keeps its checksum, from the start of its header.
pub const TCP_OFFSET: u16 = 16;
/// Where UDP keeps it.
pub const UDP_OFFSET: u16 = 6;
/// Where ICMP and ICMPv6 keep it.
pub const ICMP_OFFSET: u16 = 2;

/// The sum of `bytes` as big-endian 16-bit words, an odd last byte padded with zero; not folded. Sums of pieces may
/// be added as long as every piece but the last has even length. Exact up to 2^33 bytes.
pub fn sum(bytes: &[u8]) -> u64 {
    // Swapping the bytes of every word swaps those of the sum (RFC 1071, 2(B)), so native order will do until the end.
    let mut words = bytes.chunks_exact(4);
    let mut total: u64 = 0;
    for word in words.by_ref() {
        total += u64::from(u32::from_ne_bytes([word[0], word[1], word[2], word[3]]));
    }
    let mut last = [0; 4];
    last[..words.remainder().len()].copy_from_slice(words.remainder());
    total += u64::from(u32::from_ne_bytes(last));
    u64::from(u16::from_be_bytes(fold(total).to_ne_bytes()))
}

/// Folds the carries in: 16 bits congruent to `sum` modulo 0xffff. 0 only for 0.
#[inline]
pub fn fold(sum: u64) -> u16 {
    // a * 2^32 + b = a + b modulo 0xffff; after the first step at most 33 bits are left, then 18, 17, 16.
    let sum = (sum >> 32) + (sum & 0xffff_ffff);
    let sum = (sum >> 16) + (sum & 0xffff);
    let sum = (sum >> 16) + (sum & 0xffff);
    let sum = (sum >> 16) + (sum & 0xffff);
    sum as u16
}

/// What replacing the 32-bit word `old` by `new` adds to a sum: ~m + m' of RFC 1624, two 16-bit words at once.
#[inline]
pub fn replace32(old: u32, new: u32) -> u64 {
    u64::from(!old) + u64::from(new)
}

/// What replacing the 16-bit word `old` by `new` adds to a sum.
#[inline]
pub fn replace16(old: u16, new: u16) -> u64 {
    u64::from(!old) + u64::from(new)
}

/// What replacing address `old` by `new` adds to a sum.
#[inline]
pub fn replace128(old: [u8; 16], new: [u8; 16]) -> u64 {
    let words =
        |octets: [u8; 16]| octets.as_chunks::<4>().0.iter().map(|w| u64::from(u32::from_be_bytes(*w))).sum::<u64>();
    // Four words of 32 bits: ~m is 4 * (2^32 - 1) less their sum.
    4 * u64::from(u32::MAX) - words(old) + words(new)
}

/// The checksum after a change whose replaced words add up to `delta`.
///
/// RFC 1624, eqn. 3: HC' = ~(~HC + ~m + m'). Not eqn. 2 of RFC 1141, which turns some sums into the other zero:
/// here ~HC' is 0 only if ~HC and all of the delta are, so for a right HC the result is bit for bit what summing the
/// changed words gives. The exception is words that have all become 0, whose sum is the other zero; IP, TCP and UDP
/// always sum a protocol or version that is not 0, an ICMP echo reply may not ([`never_zero`]).
#[inline]
pub fn update(checksum: u16, delta: u64) -> u16 {
    !fold(u64::from(!checksum) + delta)
}

/// The other zero for 0. As one's complement numbers they are the same, and a receiver's sum comes out right with 0xffff
/// whatever the data. UDP needs it because a stored 0 means "not computed" (RFC 768), and a message of nothing but
/// zeroes because it sums to the zero that no receiver takes.
#[inline]
pub fn never_zero(computed: u16) -> u16 {
    if computed == 0 { 0xffff } else { computed }
}

/// The sum of the pseudo-header (RFC 9293, 3.1; RFC 8200, 8.1) before the transport's `length` bytes. Zero for
/// addresses of different families, which no packet has.
pub fn pseudo(src: IpAddr, dst: IpAddr, protocol: u8, length: u32) -> u64 {
    let addresses = match (src, dst) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => u64::from(src.to_bits()) + u64::from(dst.to_bits()),
        (IpAddr::V6(src), IpAddr::V6(dst)) => sum(&src.octets()) + sum(&dst.octets()),
        _ => 0,
    };
    addresses + u64::from(protocol) + u64::from(length)
}

/// True if the IPv4 header's checksum is right. IPv6 has none: true.
pub fn ipv4_header_ok(frame: &[u8], ip: &Ip) -> bool {
    if ip.family() == ip::Family::V6 {
        return true;
    }
    let header_ends = frame.get(usize::from(ip.l3)).map_or(0, |b| usize::from(ip.l3) + usize::from(b & 0x0f) * 4);
    frame.get(usize::from(ip.l3)..header_ends).is_some_and(|header| fold(sum(header)) == 0xffff)
}

/// True if the transport checksum is right: for a complete one, if everything adds up; for a partial one, if the
/// pseudo-header's part does. Verified ones, fragments (whose sum spans packets) and protocols without one are true.
/// Reads the whole packet: for frames that are for us, not for those that pass.
pub fn l4_is_correct(frame: &FrameBuf, ip: &Ip) -> bool {
    if ip.fragment != Fragment::Whole || frame.offload.checksum == Checksum::Verified {
        return true;
    }
    let Some(segment) = frame.bytes().get(usize::from(ip.l4)..ip.end as usize) else { return false };
    let (protocol, covered, at) = match ip.transport {
        Transport::Tcp(_) => (ip::TCP, segment.len(), TCP_OFFSET),
        Transport::Udp(udp) => (ip::UDP, udp.payload as usize + 8, UDP_OFFSET),
        Transport::Icmp(_) => return icmp_is_correct(segment, ip),
        Transport::Other(_) | Transport::Fragment => return true,
    };
    let stored = segment.get(usize::from(at)..).and_then(|field| field.first_chunk::<2>());
    let (Some(covered), Some(&stored)) = (segment.get(..covered), stored) else { return false };
    let stored = u16::from_be_bytes(stored);
    let pseudo = pseudo(ip.src, ip.dst, protocol, covered.len() as u32);
    if is_partial(frame, ip.l4) {
        return fold(u64::from(stored)) == fold(pseudo);
    }
    if protocol == ip::UDP && stored == 0 {
        // Not computed: legal over IPv4, not over IPv6 (RFC 8200, 8.1).
        return ip.family() == ip::Family::V4;
    }
    fold(pseudo + sum(covered)) == 0xffff
}

fn icmp_is_correct(message: &[u8], ip: &Ip) -> bool {
    let pseudo = match ip.family() {
        ip::Family::V4 => 0,
        ip::Family::V6 => pseudo(ip.src, ip.dst, ip::ICMPV6, message.len() as u32),
    };
    fold(pseudo + sum(message)) == 0xffff
}

/// True if the transport checksum of the packet whose header is at `l4` is the one left to be finished; in a tunnel it may be an inner one.
#[inline]
pub(super) fn is_partial(frame: &FrameBuf, l4: u16) -> bool {
    matches!(frame.offload.checksum, Checksum::Partial { start, .. } if start == l4)
}

/// Turns a partial checksum into a complete one, as a network card would (Virtio 1.2, 5.1.6.2): sums from `start` to
/// the end of the frame, pseudo-header included by what the field holds. Nothing else is changed, and nothing at all if
/// the checksum is complete or the offload points outside the frame. A super-frame gets the sum of itself as one packet.
pub fn finish(frame: &mut FrameBuf) {
    let Checksum::Partial { start, offset } = frame.offload.checksum else { return };
    let Some(segment) = frame.bytes_mut().get_mut(usize::from(start)..) else { return };
    let checksum = !fold(sum(segment));
    let Some(field) = segment.get_mut(usize::from(offset)..).and_then(|b| b.first_chunk_mut::<2>()) else { return };
    let checksum = if offset == UDP_OFFSET { never_zero(checksum) } else { checksum };
    *field = checksum.to_be_bytes();
    frame.offload.checksum = Checksum::Complete;
}
