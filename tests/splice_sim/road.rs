//! The network: what it does to frames between a host and the switch. It loses, doubles and delays them (unequal delays
//! reorder), cuts segments in two as a middlebox would, and joins neighbours into super-frames as a kernel does on
//! receipt, checksum unfinished.

use acm_switch::wire::frame::{Checksum, Gso, Offload};

use super::segment::{FIN, PSH, Parts, RST, SYN, be16, be32, parts, pseudo, seal};

/// A frame on its way.
#[derive(Debug, Clone)]
pub(crate) struct Packet {
    pub(crate) bytes: Vec<u8>,
    pub(crate) offload: Offload,
}

impl Packet {
    pub(crate) fn plain(bytes: Vec<u8>) -> Packet {
        Packet { bytes, offload: Offload::NONE }
    }
}

/// How bad one direction is; shares from 0 to 1.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Trouble {
    pub(crate) loss: f64,
    pub(crate) duplicates: f64,
    /// Frames that take up to ten times as long as others.
    pub(crate) late: f64,
    pub(crate) split: f64,
    pub(crate) merge: f64,
    /// Microseconds a frame takes, at least and at most.
    pub(crate) way: (u64, u64),
}

/// The longest super-frame made.
const SUPER_MAX: usize = 16_000;

impl Trouble {
    pub(crate) const NONE: Trouble =
        Trouble { loss: 0.0, duplicates: 0.0, late: 0.0, split: 0.0, merge: 0.0, way: (100, 100) };

    /// What becomes of frames sent at one instant: each copy that arrives, and after how many microseconds.
    pub(crate) fn carry(&self, burst: Vec<Packet>, coins: &mut fastrand::Rng) -> Vec<(u64, Packet)> {
        let mut arriving = Vec::with_capacity(burst.len());
        for packet in self.cut_and_join(burst, coins) {
            // Address resolution is not what is tested, and its losses only take time.
            let is_ip = packet.bytes[12..14] == [8, 0];
            if is_ip && coins.f64() < self.loss {
                continue;
            }
            let copies = if is_ip && coins.f64() < self.duplicates { 2 } else { 1 };
            for _ in 0..copies {
                let mut way = coins.u64(self.way.0..=self.way.1);
                if coins.f64() < self.late {
                    way += coins.u64(0..=9 * self.way.1);
                }
                arriving.push((way, packet.clone()));
            }
        }
        arriving
    }

    fn cut_and_join(&self, burst: Vec<Packet>, coins: &mut fastrand::Rng) -> Vec<Packet> {
        if self.split == 0.0 && self.merge == 0.0 {
            return burst;
        }
        let mut sent: Vec<Packet> = Vec::with_capacity(burst.len());
        for packet in burst {
            if let Some(last) = sent.last_mut()
                && coins.f64() < self.merge
                && join(last, &packet)
            {
                continue;
            }
            let cut = (coins.f64() < self.split).then(|| split(&packet, coins)).flatten();
            match cut {
                Some((first, second)) => sent.extend([first, second]),
                None => sent.push(packet),
            }
        }
        sent
    }
}

/// Cuts a segment in two.
fn split(packet: &Packet, coins: &mut fastrand::Rng) -> Option<(Packet, Packet)> {
    let at = parts(&packet.bytes)?;
    let length = at.end - at.payload;
    if packet.offload != Offload::NONE || length < 2 || at.flags & (SYN | RST) != 0 {
        return None;
    }
    let cut = coins.usize(1..length);
    let mut first = packet.bytes[..at.payload + cut].to_vec();
    first[at.tcp + 13] &= !(FIN | PSH);
    seal(&mut first, at.tcp);
    let mut second = packet.bytes[..at.payload].to_vec();
    second.extend(&packet.bytes[at.payload + cut..at.end]);
    let seq = be32(&packet.bytes, at.tcp + 4).wrapping_add(cut as u32);
    second[at.tcp + 4..at.tcp + 8].copy_from_slice(&seq.to_be_bytes());
    seal(&mut second, at.tcp);
    Some((Packet::plain(first), Packet::plain(second)))
}

/// Appends a segment to the one before it if it follows directly and says the same, as receive offload does.
fn join(last: &mut Packet, next: &Packet) -> bool {
    let (Some(a), Some(b)) = (parts(&last.bytes), parts(&next.bytes)) else { return false };
    let (have, more) = (a.end - a.payload, b.end - b.payload);
    let header = |packet: &Packet, at: Parts| {
        let mut bytes = packet.bytes[..at.payload].to_vec();
        bytes[16..26].fill(0); // length, id, fragment, TTL, protocol, checksum
        bytes[at.tcp + 4..at.tcp + 8].fill(0);
        bytes[at.tcp + 13] = 0;
        bytes[at.tcp + 16..at.tcp + 18].fill(0);
        bytes
    };
    let follows = be32(&next.bytes, b.tcp + 4) == be32(&last.bytes, a.tcp + 4).wrapping_add(have as u32);
    let size = match last.offload.gso {
        Gso::None => have,
        Gso::Segments { size, .. } => usize::from(size),
    };
    let ordinary = (a.flags | b.flags) & (SYN | RST) == 0 && a.flags & (FIN | PSH) == 0;
    let fits = have > 0 && more > 0 && more <= size && have.is_multiple_of(size) && have + more <= SUPER_MAX;
    if !ordinary || !fits || !follows || next.offload != Offload::NONE || header(last, a) != header(next, b) {
        return false;
    }
    last.bytes.truncate(a.end);
    last.bytes.extend(&next.bytes[b.payload..b.end]);
    last.bytes[a.tcp + 13] |= b.flags;
    seal(&mut last.bytes, a.tcp);
    let partial = pseudo(&last.bytes, a.tcp, last.bytes.len());
    last.bytes[a.tcp + 16..a.tcp + 18].copy_from_slice(&partial.to_be_bytes());
    last.offload = Offload {
        checksum: Checksum::Partial { start: a.tcp as u16, offset: 16 },
        gso: Gso::Segments { kind: 1, size: size as u16, header: a.payload as u16 },
    };
    true
}

/// What a network card does with what the switch left to be done: frames as they are on a wire, or one long frame with
/// its checksum, as another kernel takes it.
///
/// # Panics
/// If the unfinished checksum is not what it must be, or the frame is not TCP.
pub(crate) fn finish(packet: Packet, cuts: bool) -> Vec<Packet> {
    let Checksum::Partial { start, offset } = packet.offload.checksum else { return vec![packet] };
    let at = parts(&packet.bytes).expect("only TCP is left unfinished");
    assert_eq!((usize::from(start), offset), (at.tcp, 16), "where the checksum is");
    let partial = be16(&packet.bytes, at.tcp + 16);
    assert_eq!(partial, pseudo(&packet.bytes, at.tcp, at.end), "the unfinished checksum");
    let length = at.end - at.payload;
    let size = match packet.offload.gso {
        Gso::Segments { size, .. } if cuts => usize::from(size),
        _ => length.max(1),
    };
    let count = length.div_ceil(size).max(1);
    let piece = |n: usize| {
        let (from, to) = (n * size, ((n + 1) * size).min(length));
        let mut bytes = packet.bytes[..at.payload].to_vec();
        bytes.extend(&packet.bytes[at.payload + from..at.payload + to]);
        let seq = be32(&packet.bytes, at.tcp + 4).wrapping_add(from as u32);
        bytes[at.tcp + 4..at.tcp + 8].copy_from_slice(&seq.to_be_bytes());
        if n + 1 < count {
            bytes[at.tcp + 13] &= !(FIN | PSH);
        }
        seal(&mut bytes, at.tcp);
        Packet::plain(bytes)
    };
    (0..count).map(piece).collect()
}
