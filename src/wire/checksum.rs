//! The Internet checksum (RFC 1071) and its incremental update (RFC 1624).

use std::net::IpAddr;

use super::frame::{Checksum, FrameBuf};
use super::parse::{Ip, Transport};

/// The ones-complement sum of 16-bit words, not inverted; an odd last byte counts as the high half of a word.
pub fn sum(bytes: &[u8]) -> u16 {
    // Ones-complement addition commutes with byte order and with word size (RFC 1071, section 2), so eight bytes go
    // at a time, with the carries collected and folded at the end.
    let mut total: u64 = 0;
    let (words, rest) = bytes.as_chunks::<8>();
    for word in words {
        let (next, carried) = total.overflowing_add(u64::from_ne_bytes(*word));
        total = next + u64::from(carried);
    }
    let mut last = [0u8; 8];
    last[..rest.len()].copy_from_slice(rest);
    let (next, carried) = total.overflowing_add(u64::from_ne_bytes(last));
    total = next + u64::from(carried);
    let total = (total >> 32) + (total & 0xffff_ffff);
    let total = (total >> 32) + (total & 0xffff_ffff);
    u16::from_be(fold(total as u32))
}

/// Adds the carries back in until 16 bits remain.
pub fn fold(total: u32) -> u16 {
    let total = (total >> 16) + (total & 0xffff);
    ((total >> 16) + total) as u16
}

/// A change of some words a checksum covers: what to add to the inverted checksum.
#[derive(Debug, Clone, Copy, Default)]
pub struct Delta(u32);

impl Delta {
    /// `old` is replaced by `new`.
    #[inline]
    pub fn word(self, old: u16, new: u16) -> Delta {
        // RFC 1624, equation 3: HC' = ~(~HC + ~m + m'). The sum of a few words stays far below 2^32.
        Delta(self.0 + u32::from(!old) + u32::from(new))
    }

    /// `old` is replaced by `new`, both of even length.
    #[inline]
    pub fn bytes(mut self, old: &[u8], new: &[u8]) -> Delta {
        for (old, new) in old.as_chunks::<2>().0.iter().zip(new.as_chunks::<2>().0) {
            self = self.word(u16::from_be_bytes(*old), u16::from_be_bytes(*new));
        }
        self
    }

    /// The checksum after the change.
    #[inline]
    pub fn apply(self, checksum: u16) -> u16 {
        !fold(u32::from(!checksum) + u32::from(fold(self.0)))
    }

    /// A sum that was not inverted (the pseudo-header part of an unfinished checksum) after the change.
    #[inline]
    pub fn apply_to_sum(self, sum: u16) -> u16 {
        fold(u32::from(sum) + u32::from(fold(self.0)))
    }
}

/// The sum over the pseudo-header (RFC 9293 section 3.1, RFC 768, RFC 8200 section 8.1), not inverted.
pub fn pseudo_header(src: IpAddr, dst: IpAddr, protocol: u8, l4_len: u32) -> u16 {
    let address = |ip: IpAddr| match ip {
        IpAddr::V4(ip) => sum(&ip.octets()),
        IpAddr::V6(ip) => sum(&ip.octets()),
    };
    // The length is 16 bits for IPv4 and 32 for IPv6; the high half of a 16-bit length is zero.
    let words = [address(src), address(dst), u16::from(protocol), (l4_len >> 16) as u16, l4_len as u16];
    fold(words.into_iter().map(u32::from).sum())
}

/// Where an L4 protocol keeps its checksum, from the start of its header.
pub fn field_offset(transport: &Transport) -> Option<u16> {
    match transport {
        Transport::Tcp(_) => Some(16),
        Transport::Udp(_) => Some(6),
        Transport::Icmp(_) => Some(2),
        Transport::Other(_) | Transport::Fragment => None,
    }
}

fn protocol_number(transport: &Transport) -> Option<u8> {
    match transport {
        Transport::Tcp(_) => Some(6),
        Transport::Udp(_) => Some(17),
        _ => None,
    }
}

/// Whether the L4 checksum is right as far as it is there: a complete one over everything, an unfinished one in its
/// pseudo-header part. Protocols we do not know count as right, as does a UDP checksum of 0 over IPv4 (none sent).
pub fn l4_is_correct(frame: &FrameBuf, ip: &Ip) -> bool {
    let Some(l4) = frame.bytes().get(usize::from(ip.l4)..ip.end as usize) else { return false };
    let pseudo = |number| pseudo_header(ip.src, ip.dst, number, l4.len() as u32);
    match (frame.offload.checksum, &ip.transport) {
        (Checksum::Verified, _) | (_, Transport::Other(_) | Transport::Fragment) => true,
        (Checksum::Complete, Transport::Udp(_)) if ip.src.is_ipv4() && l4[6..8] == [0, 0] => true,
        (Checksum::Complete, Transport::Icmp(_)) if ip.src.is_ipv4() => sum(l4) == 0xffff,
        (Checksum::Complete, Transport::Icmp(_)) => fold(u32::from(sum(l4)) + u32::from(pseudo(58))) == 0xffff,
        (Checksum::Complete, transport) => {
            let pseudo = protocol_number(transport).map_or(0, pseudo);
            fold(u32::from(sum(l4)) + u32::from(pseudo)) == 0xffff
        }
        (Checksum::Partial { offset, .. }, transport) => {
            let at = usize::from(offset);
            let field = l4.get(at..at + 2).map(|field| u16::from_be_bytes([field[0], field[1]]));
            protocol_number(transport).is_some_and(|number| field == Some(pseudo(number)))
        }
    }
}

/// Finishes an unfinished checksum in place, for readers that see only bytes. A no-op for complete ones. Segmentation
/// stays to be done: the sum of a super-frame is that of the whole.
pub fn finish(frame: &mut FrameBuf) {
    let Checksum::Partial { start, offset } = frame.offload.checksum else { return };
    frame.offload.checksum = Checksum::Complete;
    let end = ip_end(frame.bytes());
    let Some(covered) = frame.bytes_mut().get_mut(usize::from(start)..end) else { return };
    let whole = !sum(covered);
    // RFC 768: a computed 0 is sent as all ones, since 0 means none. For TCP both are the same number.
    let whole = if offset == 6 && whole == 0 { 0xffff } else { whole };
    if let Some(field) = covered.get_mut(usize::from(offset)..usize::from(offset) + 2) {
        field.copy_from_slice(&whole.to_be_bytes());
    }
}

/// Where the IP packet in a frame ends; link padding is not summed.
fn ip_end(frame: &[u8]) -> usize {
    match super::parse::parse(frame) {
        Ok(super::parse::Parsed { payload: super::parse::Payload::Ip(ip), .. }) => ip.end as usize,
        _ => frame.len(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_of_known_bytes() {
        // RFC 1071, section 3.
        assert_eq!(sum(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]), 0xddf2);
        assert_eq!(sum(&[]), 0);
        assert_eq!(sum(&[0xab]), 0xab00);
        assert_eq!(sum(&[0xff; 17]), 0xff00);
    }

    #[test]
    fn an_update_is_a_recomputation() {
        let mut bytes: Vec<u8> = (0..64u32).map(|n| (n * 7 + 3) as u8).collect();
        for new in 0..=u16::MAX {
            let before = !sum(&bytes);
            let old = u16::from_be_bytes([bytes[10], bytes[11]]);
            bytes[10..12].copy_from_slice(&new.to_be_bytes());
            assert_eq!(Delta::default().word(old, new).apply(before), !sum(&bytes), "{old:#06x} -> {new:#06x}");
        }
    }
}
