//! A frame in its buffer, with what the sender left unfinished, and batches of them.
//!
//! On veth and virtio a TCP frame may be a 64 KB super-frame whose checksum is not computed yet. The kernel
//! describes that in a `virtio_net_hdr` (Virtio 1.2, section 5.1.6); [`Offload`] is that description, and it travels
//! with the frame from ingress to egress so that bulk traffic crosses us in few, large steps.
//!
//! Buffers are allocated once, with a batch; receiving, processing and sending allocate nothing.

use crate::base::id::PortId;

/// Whether the L4 checksum in a frame can be read as it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Checksum {
    /// The field holds the sum over pseudo-header, header and payload, as on a wire; it may be wrong, as on a wire.
    #[default]
    Complete,
    /// `VIRTIO_NET_HDR_F_DATA_VALID`: as `Complete`, and the kernel vouches for it.
    Verified,
    /// `VIRTIO_NET_HDR_F_NEEDS_CSUM`: the field holds only the (not inverted) sum of the pseudo-header; whoever
    /// puts the frame on a wire adds the rest, from `start` to the end, and stores it at `start + offset`.
    Partial {
        /// Where summing begins: the first byte of the L4 header, from the start of the frame.
        start: u16,
        /// Where the sum is stored, from `start`: 16 for TCP, 6 for UDP.
        offset: u16,
    },
}

/// How the kernel will cut a super-frame into segments; `gso_type` of the virtio header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Gso {
    /// An ordinary frame.
    #[default]
    None,
    /// To be cut into segments of `size` payload bytes. `kind` is the header's `gso_type` (`1` TCP over IPv4, `4`
    /// TCP over IPv6, `3` and `5` UDP, with `0x80` for ECN); `header` is its `hdr_len`.
    Segments {
        /// `gso_type`, unchanged.
        kind: u8,
        /// Payload bytes of a segment.
        size: u16,
        /// Length of all headers together, a hint of the kernel.
        header: u16,
    },
}

/// What the sender left to be done when the frame leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Offload {
    /// State of the L4 checksum.
    pub checksum: Checksum,
    /// Segmentation.
    pub gso: Gso,
}

impl Offload {
    /// Nothing left to do: an ordinary, complete frame.
    pub const NONE: Offload = Offload { checksum: Checksum::Complete, gso: Gso::None };
}

/// Where a frame shall go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Egress {
    /// Nowhere.
    #[default]
    None,
    /// Out of this port.
    Port(PortId),
    /// Out of every port but this one.
    AllBut(PortId),
    /// Out of every port.
    All,
}

/// One frame in a buffer of its own.
#[derive(Debug, Clone)]
pub struct FrameBuf {
    buf: Box<[u8]>,
    len: usize,
    /// What the sender left to be done.
    pub offload: Offload,
    /// Where it came in.
    pub ingress: PortId,
    /// Where it shall go; set by whoever processes it.
    pub egress: Egress,
}

impl FrameBuf {
    /// Bytes reserved in front of every frame, where a port may put a header of its own (a `virtio_net_hdr` has 10)
    /// so that a frame is sent and received in one piece. With 18, the IP header of an untagged frame is aligned to 16.
    pub const HEADROOM: usize = 18;
    /// The largest frame: an Ethernet header, a VLAN tag, and the largest IP packet.
    pub const LARGEST: usize = 14 + 4 + 65_535;

    /// An empty frame in a buffer for frames of up to `capacity` bytes.
    pub fn with_capacity(capacity: usize) -> FrameBuf {
        FrameBuf {
            buf: vec![0; Self::HEADROOM + capacity].into_boxed_slice(),
            len: 0,
            offload: Offload::NONE,
            ingress: PortId(0),
            egress: Egress::None,
        }
    }

    /// How long a frame the buffer can hold.
    #[inline]
    pub fn capacity(&self) -> usize {
        self.buf.len() - Self::HEADROOM
    }

    /// The frame.
    #[inline]
    pub fn bytes(&self) -> &[u8] {
        &self.buf[Self::HEADROOM..Self::HEADROOM + self.len]
    }

    /// The frame, to be rewritten.
    #[inline]
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.buf[Self::HEADROOM..Self::HEADROOM + self.len]
    }

    /// The frame's length in bytes.
    #[inline]
    pub fn len(&self) -> usize {
        self.len
    }

    /// True for a frame without bytes.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Replaces the frame by a copy of `bytes`, complete and without offloads. False, and nothing changed, if it
    /// does not fit.
    pub fn fill(&mut self, bytes: &[u8]) -> bool {
        if bytes.len() > self.capacity() {
            return false;
        }
        self.buf[Self::HEADROOM..Self::HEADROOM + bytes.len()].copy_from_slice(bytes);
        self.len = bytes.len();
        self.offload = Offload::NONE;
        true
    }

    /// The whole buffer, headroom first, for ports that receive into it; [`FrameBuf::set_len`] afterwards.
    pub fn raw_mut(&mut self) -> &mut [u8] {
        &mut self.buf
    }

    /// Sets the frame's length, cut to the capacity.
    pub fn set_len(&mut self, len: usize) {
        self.len = len.min(self.capacity());
    }
}

/// A fixed number of frame buffers, filled from the front.
#[derive(Debug)]
pub struct Batch {
    frames: Box<[FrameBuf]>,
    len: usize,
}

impl Batch {
    /// `frames` empty buffers of `capacity` bytes each.
    pub fn new(frames: usize, capacity: usize) -> Batch {
        Batch { frames: (0..frames).map(|_| FrameBuf::with_capacity(capacity)).collect(), len: 0 }
    }

    /// The frames in it.
    #[inline]
    pub fn frames(&self) -> &[FrameBuf] {
        &self.frames[..self.len]
    }

    /// The frames in it, to be rewritten.
    #[inline]
    pub fn frames_mut(&mut self) -> &mut [FrameBuf] {
        &mut self.frames[..self.len]
    }

    /// The buffers not used yet, for ports that receive into them; [`Batch::extend`] afterwards.
    pub fn free_mut(&mut self) -> &mut [FrameBuf] {
        &mut self.frames[self.len..]
    }

    /// Takes the first `count` free buffers as filled.
    pub fn extend(&mut self, count: usize) {
        self.len = (self.len + count).min(self.frames.len());
    }

    /// The next free buffer, taken as filled; `None` when there is none left.
    pub fn next_free(&mut self) -> Option<&mut FrameBuf> {
        let frame = self.frames.get_mut(self.len)?;
        self.len += 1;
        Some(frame)
    }

    /// Appends a copy of a frame for `egress`. False if there is no room.
    pub fn push(&mut self, bytes: &[u8], egress: Egress) -> bool {
        let Some(frame) = self.frames.get_mut(self.len) else { return false };
        if !frame.fill(bytes) {
            return false;
        }
        frame.egress = egress;
        self.len += 1;
        true
    }

    /// How many frames are in it.
    #[inline]
    pub fn len(&self) -> usize {
        self.len
    }

    /// True if there are none.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// How many more frames fit.
    pub fn room(&self) -> usize {
        self.frames.len() - self.len
    }

    /// Empties it; the buffers stay.
    pub fn clear(&mut self) {
        self.len = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_holds_what_fits() {
        let mut batch = Batch::new(2, 64);
        assert!(!batch.push(&[0; 65], Egress::All), "too long");
        assert!(batch.push(&[1; 64], Egress::All) && batch.push(&[2; 3], Egress::None));
        assert!(!batch.push(&[3], Egress::All), "full");
        assert_eq!(batch.frames()[1].bytes(), [2; 3]);
        batch.clear();
        assert_eq!((batch.len(), batch.room()), (0, 2));
    }
}
