//! TCP options: read, written, and changed in place. Those that matter to whoever stands between two ends: maximum segment
//! size, window scale (RFC 7323, section 2), selective acknowledgements (RFC 2018) and timestamps (RFC 7323, section 3).
//!
//! In: the bytes of a TCP header, from its first byte to the end of its options. Lengths are checked; what is malformed
//! ends the list, as hosts do it. Callers: the plane's delayed binding.

use super::ip::Ip;
use crate::base::seq::Seq;

const END: u8 = 0;
const NOTHING: u8 = 1;
const MSS: u8 = 2;
const SCALE: u8 = 3;
const SACK_PERMITTED: u8 = 4;
const SACK: u8 = 5;
const TIMESTAMPS: u8 = 8;

/// Bytes of options that a header can have.
pub const OPTIONS_MAX: usize = 40;

/// The largest window scale (RFC 7323, section 2.3).
pub const SCALE_MAX: u8 = 14;

/// A timestamps option.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timestamps {
    /// TSval: the sender's clock.
    pub value: u32,
    /// TSecr: what it last heard of the other's.
    pub echo: u32,
}

/// What a header's options say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Options {
    /// Maximum segment size.
    pub mss: Option<u16>,
    /// Window scale, at most [`SCALE_MAX`].
    pub scale: Option<u8>,
    /// Selective acknowledgements are understood.
    pub sack_permitted: bool,
    /// The clocks.
    pub timestamps: Option<Timestamps>,
    /// There are selective acknowledgements.
    pub has_sack: bool,
}

/// The TCP header of a packet in its frame; empty if it is none.
#[inline]
pub fn header_of<'a>(frame: &'a [u8], ip: &Ip) -> &'a [u8] {
    let segment = frame.get(usize::from(ip.l4)..ip.end as usize).unwrap_or_default();
    let len = segment.get(12).map_or(0, |offset| usize::from(offset >> 4) * 4);
    segment.get(..len).unwrap_or_default()
}

/// Reads them.
#[inline]
pub fn read(header: &[u8]) -> Options {
    // Nearly every segment has nothing or exactly this.
    if let [1, 1, 8, 10, a, b, c, d, e, f, g, h] = header.get(20..).unwrap_or_default() {
        let timestamps =
            Timestamps { value: u32::from_be_bytes([*a, *b, *c, *d]), echo: u32::from_be_bytes([*e, *f, *g, *h]) };
        return Options { timestamps: Some(timestamps), ..Options::default() };
    }
    let mut found = Options::default();
    walk(header, |kind, at, len| {
        let body = &header[at..at + len];
        match (kind, body) {
            (MSS, [_, _, a, b]) => found.mss = Some(u16::from_be_bytes([*a, *b])),
            (SCALE, [_, _, scale]) => found.scale = Some((*scale).min(SCALE_MAX)),
            (SACK_PERMITTED, [_, _]) => found.sack_permitted = true,
            (SACK, _) => found.has_sack = true,
            (TIMESTAMPS, [_, _, a, b, c, d, e, f, g, h]) => {
                let (value, echo) = (u32::from_be_bytes([*a, *b, *c, *d]), u32::from_be_bytes([*e, *f, *g, *h]));
                found.timestamps = Some(Timestamps { value, echo });
            }
            _ => {}
        }
    });
    found
}

/// Visits each option that is more than filling: its kind, place and length.
fn walk(header: &[u8], mut visit: impl FnMut(u8, usize, usize)) {
    let mut at = 20;
    while let Some(kind) = header.get(at) {
        match *kind {
            END => return,
            NOTHING => at += 1,
            kind => {
                let Some(len) = header.get(at + 1).map(|len| usize::from(*len)) else { return };
                if len < 2 || at + len > header.len() {
                    return;
                }
                visit(kind, at, len);
                at += len;
            }
        }
    }
}

/// Changes a header's options in place: timestamps by `clocks` (`None` takes them out), the two ends of each selective
/// acknowledgement by `edge` (`None` takes the whole option out).
pub fn change(
    header: &mut [u8],
    mut clocks: impl FnMut(Timestamps) -> Option<Timestamps>,
    mut edge: impl FnMut(Seq) -> Option<Seq>,
) {
    if header.len() <= 20 {
        return;
    }
    let mut places = [(0u8, 0usize, 0usize); 8];
    let mut count = 0;
    walk(header, |kind, at, len| {
        if matches!(kind, SACK | TIMESTAMPS) && count < places.len() {
            places[count] = (kind, at, len);
            count += 1;
        }
    });
    for (kind, at, len) in &places[..count] {
        let body = &mut header[*at..*at + *len];
        match (*kind, &mut *body) {
            (TIMESTAMPS, [_, _, a, b, c, d, e, f, g, h]) => {
                let value = u32::from_be_bytes([*a, *b, *c, *d]);
                match clocks(Timestamps { value, echo: u32::from_be_bytes([*e, *f, *g, *h]) }) {
                    Some(new) => {
                        [*a, *b, *c, *d] = new.value.to_be_bytes();
                        [*e, *f, *g, *h] = new.echo.to_be_bytes();
                    }
                    None => body.fill(NOTHING),
                }
            }
            _ => change_sack(body, &mut edge),
        }
    }
}

fn change_sack(body: &mut [u8], edge: &mut impl FnMut(Seq) -> Option<Seq>) {
    let mut is_whole = body.len() % 4 == 2;
    for word in body[2..].as_chunks_mut::<4>().0 {
        match edge(Seq(u32::from_be_bytes(*word))) {
            Some(new) => *word = new.0.to_be_bytes(),
            None => is_whole = false,
        }
    }
    if !is_whole {
        body.fill(NOTHING);
    }
}

/// Options as they are written: filled up to a multiple of four bytes.
#[derive(Debug, Clone, Copy)]
pub struct Written {
    bytes: [u8; OPTIONS_MAX],
    len: usize,
}

impl Written {
    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    fn push(&mut self, option: &[u8]) {
        self.bytes[self.len..self.len + option.len()].copy_from_slice(option);
        self.len += option.len();
    }
}

/// Writes options, in the order hosts write them. `has_sack` is not written.
pub fn write(options: &Options) -> Written {
    let mut written = Written { bytes: [NOTHING; OPTIONS_MAX], len: 0 };
    if let Some(mss) = options.mss {
        let [a, b] = mss.to_be_bytes();
        written.push(&[MSS, 4, a, b]);
    }
    match (options.sack_permitted, options.timestamps) {
        (true, Some(_)) => written.push(&[SACK_PERMITTED, 2]),
        (true, None) => written.push(&[NOTHING, NOTHING, SACK_PERMITTED, 2]),
        (false, Some(_)) => written.push(&[NOTHING, NOTHING]),
        (false, None) => {}
    }
    if let Some(Timestamps { value, echo }) = options.timestamps {
        let ([a, b, c, d], [e, f, g, h]) = (value.to_be_bytes(), echo.to_be_bytes());
        written.push(&[TIMESTAMPS, 10, a, b, c, d, e, f, g, h]);
    }
    if let Some(scale) = options.scale {
        written.push(&[NOTHING, SCALE, 3, scale]);
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn header(options: &[u8]) -> Vec<u8> {
        let mut header = vec![0; 20];
        header.extend_from_slice(options);
        header
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(mss: Option<u16>, scale in proptest::option::of(0..=14u8), sack_permitted: bool, clocks: Option<(u32, u32)>) {
            let timestamps = clocks.map(|(value, echo)| Timestamps { value, echo });
            let options = Options { mss, scale, sack_permitted, timestamps, has_sack: false };
            let written = write(&options);
            prop_assert!(written.bytes().len().is_multiple_of(4));
            prop_assert_eq!(read(&header(written.bytes())), options);
        }

        #[test]
        fn garbage_does_no_harm(options in proptest::collection::vec(any::<u8>(), 0..40)) {
            let mut bytes = header(&options);
            read(&bytes);
            change(&mut bytes, |clocks| (clocks.value % 2 == 0).then_some(clocks), |edge| Some(edge + 1));
            prop_assert_eq!(&bytes[..20], &[0; 20]);
        }
    }

    #[test]
    fn blocks_are_moved_and_taken_out() {
        let sack = [1, 1, SACK, 18, 0, 0, 0, 10, 0, 0, 0, 20, 0, 0, 0, 30, 0, 0, 0, 40];
        let mut moved = header(&sack);
        change(&mut moved, Some, |edge| Some(edge + 5));
        let edges: Vec<_> = moved[24..].as_chunks::<4>().0.iter().map(|word| u32::from_be_bytes(*word)).collect();
        assert_eq!(edges, [15, 25, 35, 45]);
        let mut gone = header(&sack);
        change(&mut gone, Some, |edge| (edge < Seq(30)).then_some(edge));
        assert_eq!(gone[20..], [NOTHING; 20]);
        assert!(read(&moved).has_sack && !read(&gone).has_sack);
    }
}
