//! Putting a VLAN tag back where it was.
//!
//! The kernel takes the outer tag (IEEE 802.1Q) of every received frame out of the bytes and hands it over beside
//! them. A switch that lost it would bridge a frame of one VLAN into another.

use crate::wire::frame::{Checksum, FrameBuf, Gso};

/// Bytes of a tag.
const TAG: usize = 4;
/// Where it stands: after the two addresses.
const AT: usize = 12;

/// A tag as the kernel hands it over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tag {
    /// The tag's EtherType: 0x8100, or 0x88a8 for a service tag.
    pub(super) tpid: u16,
    /// Priority, drop eligibility and VLAN number.
    pub(super) tci: u16,
}

/// The frame did not leave room for its tag.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NoRoom;

/// Inserts the tag and moves what the offload points at along.
pub(super) fn restore(frame: &mut FrameBuf, tag: Tag) -> Result<(), NoRoom> {
    let len = frame.len();
    if len < AT || len + TAG > frame.capacity() {
        return Err(NoRoom);
    }
    frame.set_len(len + TAG);
    let bytes = frame.bytes_mut();
    bytes.copy_within(AT..len, AT + TAG);
    bytes[AT..AT + 2].copy_from_slice(&tag.tpid.to_be_bytes());
    bytes[AT + 2..AT + 4].copy_from_slice(&tag.tci.to_be_bytes());
    if let Checksum::Partial { start, .. } = &mut frame.offload.checksum {
        *start = start.saturating_add(TAG as u16);
    }
    if let Gso::Segments { header, .. } = &mut frame.offload.gso {
        *header = header.saturating_add(TAG as u16);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::frame::Offload;

    #[test]
    fn the_tag_is_between_addresses_and_ether_type() {
        let mut frame = FrameBuf::with_capacity(68);
        let mut bytes = [0u8; 64];
        bytes[..16].copy_from_slice(&[1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 8, 0, 0x45, 0]);
        assert!(frame.fill(&bytes));
        frame.offload = Offload {
            checksum: Checksum::Partial { start: 34, offset: 16 },
            gso: Gso::Segments { kind: 1, size: 1448, header: 54 },
        };
        restore(&mut frame, Tag { tpid: 0x8100, tci: 0x2007 }).unwrap();
        assert_eq!(frame.len(), 68);
        assert_eq!(frame.bytes()[6..20], [2, 2, 2, 2, 2, 2, 0x81, 0, 0x20, 7, 8, 0, 0x45, 0]);
        assert_eq!(frame.offload.checksum, Checksum::Partial { start: 38, offset: 16 });
        assert_eq!(frame.offload.gso, Gso::Segments { kind: 1, size: 1448, header: 58 });
        assert_eq!(restore(&mut frame, Tag { tpid: 0x8100, tci: 1 }), Err(NoRoom), "the buffer is full");
        assert_eq!(frame.len(), 68);
    }
}
