//! One datagram: a head of fixed size, fields, a tag over both.
//!
//! ```text
//!   0  magic "ACMB"                          4
//!   4  version                               1
//!   5  kind                                  1
//!   6  key id                                2
//!   8  group: SHA-256 of its name, cut       4
//!  12  node                                  8
//!  20  boot                                  8
//!  28  counter                               8
//!  36  written: milliseconds since the boot  8
//!  44  fields                                n
//!  44+n  tag: HMAC-SHA256 of all before, cut 16
//! ```
//!
//! What is here knows nothing of the past: replay and age are judged in [`gate`](super::gate).

use super::codec::{self, Kind, Proof};
use super::field::{Malformed, Writer};
use super::key::{Key, KeyId, KeyRing, TAG_LEN};
use super::message::{Envelope, Message, NodeId, Stamp};

/// The longest datagram, in bytes: it fits an Ethernet frame with room for a tunnel's headers, so it is never
/// fragmented. A longer one is not sent, and refused when received.
pub const DATAGRAM_MAX: usize = 1400;

/// Bytes before the fields.
pub const HEAD_LEN: usize = 44;

/// The first bytes of every datagram.
pub const MAGIC: [u8; 4] = *b"ACMB";

/// The version of the layout. Another one is refused: what may change without a new version are fields and kinds.
pub const VERSION: u8 = 1;

/// Who wrote a datagram, and which one it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// The number of its kind; perhaps one we do not know.
    pub kind: u8,
    /// The key it is signed with.
    pub key: KeyId,
    /// Who says to have written it.
    pub node: NodeId,
    /// Which one it is.
    pub stamp: Stamp,
    /// When it was written, in milliseconds of the sender's monotonic clock since its boot.
    pub written: u64,
}

/// Why bytes are not a datagram of somebody we know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotOurs {
    /// Shorter than a head and a tag.
    #[error("too short")]
    Short,
    /// Longer than [`DATAGRAM_MAX`].
    #[error("too long")]
    Long,
    /// Another protocol.
    #[error("not of this protocol")]
    Magic,
    /// Another version.
    #[error("another version")]
    Version,
    /// Another group.
    #[error("another group")]
    Group,
    /// Signed with a key we do not have.
    #[error("unknown key")]
    Key,
    /// The tag is not what the key gives.
    #[error("bad tag")]
    Tag,
}

/// A datagram that does not fit [`DATAGRAM_MAX`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a message of {0} bytes does not fit a datagram of {DATAGRAM_MAX}")]
pub struct TooLong(pub usize);

/// A datagram whose tag is right.
#[derive(Debug, Clone, Copy)]
pub(super) struct Authentic<'a> {
    pub(super) head: Head,
    fields: &'a [u8],
}

/// Reads the kind without believing anything, for a receiver that wants to throw some away unread.
pub fn peek_kind(bytes: &[u8]) -> Option<Kind> {
    bytes.get(5).copied().and_then(Kind::from_number)
}

/// Checks everything that can be checked without memory of the past. The tag last, because it costs most.
pub(super) fn authenticate<'a>(ring: &KeyRing, bytes: &'a [u8]) -> Result<Authentic<'a>, NotOurs> {
    if bytes.len() > DATAGRAM_MAX {
        return Err(NotOurs::Long);
    }
    let (signed, tag) = bytes.split_last_chunk::<TAG_LEN>().ok_or(NotOurs::Short)?;
    let (head, fields) = signed.split_first_chunk::<HEAD_LEN>().ok_or(NotOurs::Short)?;
    if head[..4] != MAGIC {
        return Err(NotOurs::Magic);
    }
    if head[4] != VERSION {
        return Err(NotOurs::Version);
    }
    if head[8..12] != ring.group() {
        return Err(NotOurs::Group);
    }
    let key = ring.key(KeyId(u16::from_be_bytes([head[6], head[7]]))).ok_or(NotOurs::Key)?;
    if !key.verifies(signed, tag) {
        return Err(NotOurs::Tag);
    }
    let number = |at: usize| head[at..at + 8].iter().fold(0, |sum, byte| (sum << 8) | u64::from(*byte));
    let stamp = Stamp { boot: number(20), counter: number(28) };
    let head = Head { kind: head[5], key: key.id, node: NodeId(number(12)), stamp, written: number(36) };
    Ok(Authentic { head, fields })
}

impl Authentic<'_> {
    pub(super) fn proof(&self) -> Result<Proof, Malformed> {
        codec::read_proof(self.fields)
    }

    pub(super) fn message(&self, kind: Kind) -> Result<Message, Malformed> {
        codec::read(kind, self.fields)
    }
}

/// Writes a datagram.
pub(super) fn seal(ring: &KeyRing, key: &Key, head: Head, envelope: &Envelope) -> Result<Vec<u8>, TooLong> {
    let mut out = Writer { bytes: Vec::with_capacity(256) };
    out.bytes.extend_from_slice(&MAGIC);
    out.bytes.extend_from_slice(&[VERSION, head.kind]);
    out.bytes.extend_from_slice(&head.key.0.to_be_bytes());
    out.bytes.extend_from_slice(&ring.group());
    for number in [head.node.0, head.stamp.boot, head.stamp.counter, head.written] {
        out.bytes.extend_from_slice(&number.to_be_bytes());
    }
    codec::write(envelope, &mut out);
    let tag = key.tag(&out.bytes);
    out.bytes.extend_from_slice(&tag);
    if out.bytes.len() > DATAGRAM_MAX { Err(TooLong(out.bytes.len())) } else { Ok(out.bytes) }
}
