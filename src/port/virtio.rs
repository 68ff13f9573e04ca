//! The 10 bytes of a `virtio_net_hdr` (Virtio 1.2, section 5.1.6; Linux `include/uapi/linux/virtio_net.h`), with which
//! the kernel says what is left to be done with a frame, and we say it back.
//!
//! Pure: bytes in, [`Offload`] out, and the other way. `AF_PACKET` uses the legacy header, whose fields are in the
//! machine's own byte order.

use crate::wire::frame::{Checksum, Gso, Offload};

/// Length of the header.
pub(super) const LEN: usize = 10;

const NEEDS_CSUM: u8 = 1;
const DATA_VALID: u8 = 2;

const GSO_NONE: u8 = 0;
/// TCP over IPv4, UDP fragments, TCP over IPv6, UDP segments: `VIRTIO_NET_HDR_GSO_*`.
const GSO_KINDS: [u8; 4] = [1, 3, 4, 5];
const GSO_ECN: u8 = 0x80;

/// What the kernel said of a frame of `len` bytes; `None` if it makes no sense for such a frame, so that nobody
/// above computes with offsets that point outside.
pub(super) fn parse(header: [u8; LEN], len: usize) -> Option<Offload> {
    let word = |at: usize| u16::from_ne_bytes([header[at], header[at + 1]]);
    let [flags, gso_type, ..] = header;
    let (hdr_len, gso_size, csum_start, csum_offset) = (word(2), word(4), word(6), word(8));
    let checksum = if flags & NEEDS_CSUM != 0 {
        if usize::from(csum_start) + usize::from(csum_offset) + 2 > len {
            return None;
        }
        Checksum::Partial { start: csum_start, offset: csum_offset }
    } else if flags & DATA_VALID != 0 {
        Checksum::Verified
    } else {
        Checksum::Complete
    };
    let gso = match gso_type & !GSO_ECN {
        GSO_NONE => Gso::None,
        kind if GSO_KINDS.contains(&kind) && gso_size > 0 => {
            // The kernel counts whatever lies in the head of its buffer; more than the frame is no hint.
            Gso::Segments {
                kind: gso_type,
                size: gso_size,
                header: hdr_len.min(u16::try_from(len).unwrap_or(u16::MAX)),
            }
        }
        _ => return None,
    };
    Some(Offload { checksum, gso })
}

/// How to tell the kernel what is left to be done with a frame. It checks for itself that this makes sense, and
/// refuses the frame otherwise.
pub(super) fn emit(offload: Offload) -> [u8; LEN] {
    let mut header = [0; LEN];
    let mut put = |at: usize, word: u16| header[at..at + 2].copy_from_slice(&word.to_ne_bytes());
    if let Gso::Segments { size, header, .. } = offload.gso {
        put(2, header);
        put(4, size);
    }
    if let Checksum::Partial { start, offset } = offload.checksum {
        put(6, start);
        put(8, offset);
        header[0] = NEEDS_CSUM;
    }
    // `Verified` has no word on the way out: the receiver of a frame without NEEDS_CSUM checks or trusts as it likes.
    if let Gso::Segments { kind, .. } = offload.gso {
        header[1] = kind;
    }
    header
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn header(flags: u8, kind: u8, words: [u16; 4]) -> [u8; LEN] {
        let mut bytes = [flags, kind, 0, 0, 0, 0, 0, 0, 0, 0];
        for (at, word) in words.into_iter().enumerate() {
            bytes[2 + 2 * at..4 + 2 * at].copy_from_slice(&word.to_ne_bytes());
        }
        bytes
    }

    #[test]
    fn a_super_frame_of_a_veth() {
        let offload = parse(header(1, 1, [66, 1448, 34, 16]), 64_000).unwrap();
        assert_eq!(offload.checksum, Checksum::Partial { start: 34, offset: 16 });
        assert_eq!(offload.gso, Gso::Segments { kind: 1, size: 1448, header: 66 });
        assert_eq!(emit(offload), header(1, 1, [66, 1448, 34, 16]));
    }

    #[test]
    fn ordinary_frames() {
        assert_eq!(parse([0; LEN], 60), Some(Offload::NONE));
        assert_eq!(parse(header(2, 0, [0; 4]), 60).unwrap().checksum, Checksum::Verified);
        assert_eq!(emit(Offload::NONE), [0; LEN]);
    }

    #[test]
    fn nonsense_is_refused() {
        assert_eq!(parse(header(1, 0, [0, 0, 34, 16]), 51), None, "the sum would lie outside the frame");
        assert_eq!(parse(header(1, 0, [0, 0, u16::MAX, u16::MAX]), 60), None);
        assert_eq!(parse(header(0, 1, [66, 0, 0, 0]), 3000), None, "segments of no bytes");
        assert_eq!(parse(header(0, 2, [66, 1448, 0, 0]), 3000), None, "unknown kind");
        assert!(parse(header(1, 0, [0, 0, 34, 16]), 52).is_some());
    }

    proptest! {
        #[test]
        fn what_is_said_back_means_the_same(bytes: [u8; LEN], len in 0usize..70_000) {
            if let Some(offload) = parse(bytes, len) {
                if let Checksum::Partial { start, offset } = offload.checksum {
                    prop_assert!(usize::from(start) + usize::from(offset) + 2 <= len);
                }
                let again = parse(emit(offload), len).unwrap();
                let verified = offload.checksum == Checksum::Verified && again.checksum == Checksum::Complete;
                prop_assert!(again.checksum == offload.checksum || verified);
                prop_assert_eq!(again.gso, offload.gso);
            }
        }
    }
}
