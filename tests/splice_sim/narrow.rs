//! Paths that take less than Ethernet's 1,500 bytes: a router drops what is too big and says so (RFC 1191), and hosts believe it.

use std::net::Ipv4Addr;

use super::segment::{FIN, PSH, be16, be32, parts, seal, sum};

/// A router, on either side; its station there.
const ROUTER: Ipv4Addr = Ipv4Addr::new(10, 9, 9, 9);
const STATION: [u8; 6] = [2, 0, 0, 0, 9, 9];

/// Where a router's error has the packet it is about: behind Ethernet, IP and ICMP headers.
const QUOTED: usize = 14 + 20 + 8;

/// What an error says, about a segment of whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TooBig {
    pub(crate) mtu: usize,
    pub(crate) from: ([u8; 4], u16),
    pub(crate) to: ([u8; 4], u16),
    pub(crate) seq: u32,
}

/// What the router says if this frame is too big for it.
pub(crate) fn refused(frame: &[u8], mtu: usize) -> Option<Vec<u8>> {
    let at = parts(frame).filter(|at| at.end - 14 > mtu)?;
    let quoted = &frame[14..(at.tcp + 20).min(at.end)];
    let mut error = [&frame[6..12], &STATION, &[8, 0, 0x45, 0][..]].concat();
    error.extend(((28 + quoted.len()) as u16).to_be_bytes());
    error.extend([0, 0, 0, 0, 64, 1, 0, 0]);
    error.extend(ROUTER.octets());
    error.extend(&frame[26..30]);
    error.extend([3, 4, 0, 0, 0, 0]);
    error.extend((mtu as u16).to_be_bytes());
    error.extend(quoted);
    let ip = !sum(&error[14..34], 0);
    error[24..26].copy_from_slice(&ip.to_be_bytes());
    let icmp = !sum(&error[34..], 0);
    error[36..38].copy_from_slice(&icmp.to_be_bytes());
    Some(error)
}

/// Reads an error; what has wrong checksums is none.
pub(crate) fn read(frame: &[u8]) -> Option<TooBig> {
    if frame.len() < QUOTED + 28 || frame[12..14] != [8, 0] || frame[23] != 1 || frame[34..36] != [3, 4] {
        return None;
    }
    let end = 14 + usize::from(be16(frame, 16));
    if sum(&frame[14..34], 0) != 0xffff || sum(frame.get(34..end)?, 0) != 0xffff {
        return None;
    }
    let ip = |at: usize| [frame[at], frame[at + 1], frame[at + 2], frame[at + 3]];
    let tcp = QUOTED + 4 * usize::from(frame[QUOTED] & 15);
    Some(TooBig {
        mtu: usize::from(be16(frame, 40)),
        from: (ip(QUOTED + 12), be16(frame, tcp)),
        to: (ip(QUOTED + 16), be16(frame, tcp + 2)),
        seq: be32(frame, tcp + 4),
    })
}

/// A frame as a host sends it on a path of which it has heard: in pieces that fit.
pub(crate) fn fitted(frame: Vec<u8>, mtu: usize) -> Vec<Vec<u8>> {
    let Some(at) = parts(&frame).filter(|at| at.end - 14 > mtu) else { return vec![frame] };
    let size = mtu - (at.payload - 14);
    let pieces: Vec<&[u8]> = frame[at.payload..at.end].chunks(size).collect();
    let piece = |(n, bytes): (usize, &&[u8])| {
        let mut piece = [&frame[..at.payload], bytes].concat();
        let seq = be32(&frame, at.tcp + 4).wrapping_add((n * size) as u32);
        piece[at.tcp + 4..at.tcp + 8].copy_from_slice(&seq.to_be_bytes());
        if n + 1 < pieces.len() {
            piece[at.tcp + 13] &= !(FIN | PSH);
        }
        seal(&mut piece, at.tcp);
        piece
    };
    pieces.iter().enumerate().map(piece).collect()
}
