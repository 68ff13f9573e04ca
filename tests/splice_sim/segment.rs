//! TCP segments in untagged IPv4 frames: where their parts are, what their options say, their checksums. Written for the
//! simulation, so that it does not believe what the plane believes.

/// Where the parts of a TCP segment in an untagged IPv4 frame are.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Parts {
    pub(crate) tcp: usize,
    pub(crate) payload: usize,
    pub(crate) end: usize,
    pub(crate) flags: u8,
}

pub(crate) const FIN: u8 = 1;
pub(crate) const SYN: u8 = 2;
pub(crate) const RST: u8 = 4;
pub(crate) const PSH: u8 = 8;
pub(crate) const ACK: u8 = 16;

pub(crate) fn be16(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

pub(crate) fn be32(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

/// The parts of a frame, if it is a whole TCP segment.
pub(crate) fn parts(frame: &[u8]) -> Option<Parts> {
    if frame.len() < 54 || frame[12..14] != [8, 0] || frame[23] != 6 {
        return None;
    }
    let tcp = 14 + 4 * usize::from(frame[14] & 15);
    let end = 14 + usize::from(be16(frame, 16));
    let payload = tcp + 4 * usize::from(*frame.get(tcp + 12)? >> 4);
    (payload <= end && end <= frame.len()).then(|| Parts { tcp, payload, end, flags: frame[tcp + 13] })
}

/// One's complement sum, not inverted.
pub(crate) fn sum(bytes: &[u8], start: u32) -> u16 {
    let words = bytes.chunks(2).map(|word| u32::from(word[0]) << 8 | u32::from(word.get(1).copied().unwrap_or(0)));
    let mut sum = words.fold(start, |sum, word| sum + word);
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

/// The sum a card finds in an unfinished checksum.
pub(crate) fn pseudo(frame: &[u8], tcp: usize, end: usize) -> u16 {
    sum(&frame[26..34], 6 + (end - tcp) as u32)
}

/// Makes length and checksums right after a change.
pub(crate) fn seal(frame: &mut [u8], tcp: usize) {
    let end = frame.len();
    frame[16..18].copy_from_slice(&((end - 14) as u16).to_be_bytes());
    frame[24..26].fill(0);
    let ip = !sum(&frame[14..tcp], 0);
    frame[24..26].copy_from_slice(&ip.to_be_bytes());
    frame[tcp + 16..tcp + 18].fill(0);
    let l4 = !sum(&frame[tcp..end], u32::from(pseudo(frame, tcp, end)));
    frame[tcp + 16..tcp + 18].copy_from_slice(&l4.to_be_bytes());
}

/// True if a whole TCP segment's checksums are right.
pub(crate) fn is_right(frame: &[u8]) -> bool {
    let Some(at) = parts(frame) else { return true };
    sum(&frame[14..at.tcp], 0) == 0xffff
        && sum(&frame[at.tcp..at.end], u32::from(pseudo(frame, at.tcp, at.end))) == 0xffff
}

/// What the options of a segment say.
#[derive(Debug, Default)]
pub(crate) struct Options {
    pub(crate) scale: Option<u8>,
    pub(crate) sack: bool,
    /// Its clock, and the clock it echoes.
    pub(crate) clock: Option<(u32, u32)>,
    pub(crate) blocks: Vec<(u32, u32)>,
}

/// Reads options; garbage ends them.
pub(crate) fn read_options(mut bytes: &[u8]) -> Options {
    let mut found = Options::default();
    while let [kind, rest @ ..] = bytes {
        match kind {
            0 => break,
            1 => {
                bytes = rest;
                continue;
            }
            _ => {}
        }
        let Some(option) = rest.first().and_then(|len| bytes.get(..usize::from(*len))).filter(|all| all.len() >= 2)
        else {
            break;
        };
        match (kind, &option[2..]) {
            (3, [scale]) => found.scale = Some(*scale),
            (4, []) => found.sack = true,
            (5, blocks) if blocks.len().is_multiple_of(8) => {
                found.blocks = blocks.chunks(8).map(|block| (be32(block, 0), be32(block, 4))).collect();
            }
            (8, clocks) if clocks.len() == 8 => found.clock = Some((be32(clocks, 0), be32(clocks, 4))),
            _ => {}
        }
        bytes = &bytes[option.len()..];
    }
    found
}

/// What no receiver could make sense of, in what a host whose clock shows `clock` is sent: selective acknowledgements of
/// nothing, or the echo of a time that never was.
pub(crate) fn nonsense(frame: &[u8], clock: Option<u32>) -> Option<String> {
    const FAR: u32 = 1 << 20;
    let at = parts(frame)?;
    let options = read_options(&frame[at.tcp + 20..at.payload]);
    let ack = be32(frame, at.tcp + 8);
    for (left, right) in options.blocks {
        if !(1..FAR).contains(&left.wrapping_sub(ack)) || right.wrapping_sub(left) >= FAR {
            return Some(format!("{left} to {right} received, {ack} acknowledged"));
        }
    }
    let (_, echo) = options.clock.filter(|_| at.flags & (ACK | RST) == ACK)?;
    // A clock ticks a thousand times a second; no world lives for three hours.
    clock.filter(|clock| clock.wrapping_sub(echo) > 10_000_000).map(|clock| format!("time {echo} echoed at {clock}"))
}

/// A frame in a line, for people.
pub(crate) fn describe(frame: &[u8]) -> String {
    let Some(at) = parts(frame) else { return "no TCP".into() };
    let ip = |from: usize| format!("{}.{}", frame[from + 2], frame[from + 3]);
    let flags: String = [(SYN, 'S'), (FIN, 'F'), (RST, 'R'), (PSH, 'P'), (ACK, 'A')]
        .into_iter()
        .filter_map(|(bit, name)| (at.flags & bit != 0).then_some(name))
        .collect();
    let payload = &frame[at.payload..at.end];
    let text: String = payload.iter().take(60).map(|byte| char::from(*byte)).collect();
    format!(
        "{}:{} > {}:{} {flags} seq {} ack {} win {} opt {:02x?} len {} {:?}",
        ip(26),
        be16(frame, at.tcp),
        ip(30),
        be16(frame, at.tcp + 2),
        be32(frame, at.tcp + 4),
        be32(frame, at.tcp + 8),
        be16(frame, at.tcp + 14),
        &frame[at.tcp + 20..at.payload],
        payload.len(),
        text
    )
}
