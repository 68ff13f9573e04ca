//! The arrays `recvmmsg` and `sendmmsg` work on, made once.
//!
//! One vector per frame: the `virtio_net_hdr` lies in the frame's headroom right before its first byte, so that header
//! and frame are received and sent in one piece, straight into and out of the batch's own buffers.

#![allow(unsafe_code)]

use std::io;
use std::mem;
use std::ops::Range;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;

use super::vlan::Tag;
use crate::port::virtio;
use crate::wire::frame::FrameBuf;

/// Frames of one system call.
pub(super) const MESSAGES: usize = 64;

/// Where the header begins in a frame's buffer.
const HEADER_AT: usize = FrameBuf::HEADROOM - virtio::LEN;

/// What the kernel tells beside a received frame (`PACKET_AUXDATA`): one control message.
#[repr(C)]
#[derive(Clone, Copy)]
struct Aux {
    header: libc::cmsghdr,
    data: libc::tpacket_auxdata,
}

const NO_AUX: Aux = Aux {
    header: libc::cmsghdr { cmsg_len: 0, cmsg_level: 0, cmsg_type: 0 },
    data: libc::tpacket_auxdata {
        tp_status: 0,
        tp_len: 0,
        tp_snaplen: 0,
        tp_mac: 0,
        tp_net: 0,
        tp_vlan_tci: 0,
        tp_vlan_tpid: 0,
    },
};

/// What arrived in one buffer.
pub(super) struct Arrival {
    /// Bytes, with the header.
    pub(super) len: usize,
    /// Whether it was all there was.
    pub(super) fit: Fit,
    /// The VLAN tag the kernel took out.
    pub(super) tag: Option<Tag>,
}

/// Whether a frame fitted its buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fit {
    Whole,
    Cut,
}

/// The arrays of one direction.
pub(super) struct Messages {
    vectors: Box<[libc::iovec]>,
    aux: Box<[Aux]>,
    headers: Box<[libc::mmsghdr]>,
}

// SAFETY: the raw pointers in `headers` point into `vectors` and `aux`, which this value owns and never moves out of
// their boxes; those in `vectors` are written anew by `aim` before every system call and never followed by us.
unsafe impl Send for Messages {}

impl Messages {
    pub(super) fn new() -> Messages {
        // SAFETY: all fields of these C structures are integers and pointers, for which zero is a legal value.
        let (vector, header) = unsafe { (mem::zeroed::<libc::iovec>(), mem::zeroed::<libc::mmsghdr>()) };
        let mut messages = Messages {
            vectors: vec![vector; MESSAGES].into(),
            aux: vec![NO_AUX; MESSAGES].into(),
            headers: vec![header; MESSAGES].into(),
        };
        for (header, vector) in messages.headers.iter_mut().zip(&mut messages.vectors) {
            header.msg_hdr.msg_iov = vector;
            header.msg_hdr.msg_iovlen = 1;
        }
        messages
    }

    /// Lets message `slot` work on `len` bytes of this frame, the header included.
    fn aim(&mut self, slot: usize, frame: &mut FrameBuf, len: usize) {
        let buffer = &mut frame.raw_mut()[HEADER_AT..];
        self.vectors[slot] = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: len.min(buffer.len()) };
    }

    /// Receives into the buffers, at most [`MESSAGES`] of them, without blocking; returns how many arrived.
    pub(super) fn receive(&mut self, socket: BorrowedFd<'_>, frames: &mut [FrameBuf]) -> io::Result<usize> {
        let count = frames.len().min(MESSAGES);
        for (slot, frame) in frames[..count].iter_mut().enumerate() {
            self.aim(slot, frame, usize::MAX);
            let header = &mut self.headers[slot].msg_hdr;
            header.msg_control = ptr::from_mut(&mut self.aux[slot]).cast();
            header.msg_controllen = mem::size_of::<Aux>() as _;
        }
        // SAFETY: the first `count` headers point at vectors and control buffers owned by `self`, and each vector at
        // a buffer of `frames`, exclusively borrowed until this call returns; the kernel writes within their lengths.
        let got = unsafe {
            let headers = self.headers.as_mut_ptr();
            libc::recvmmsg(socket.as_raw_fd(), headers, count as _, libc::MSG_DONTWAIT, ptr::null_mut())
        };
        if got < 0 { Err(io::Error::last_os_error()) } else { Ok(got as usize) }
    }

    /// What the last [`Messages::receive`] put into the buffer with this number.
    pub(super) fn arrival(&self, slot: usize) -> Arrival {
        let header = &self.headers[slot];
        let aux = &self.aux[slot];
        let told = header.msg_hdr.msg_controllen > 0
            && aux.header.cmsg_level == libc::SOL_PACKET
            && aux.header.cmsg_type == libc::PACKET_AUXDATA;
        let tagged = told && aux.data.tp_status & libc::TP_STATUS_VLAN_VALID != 0;
        let named = aux.data.tp_status & libc::TP_STATUS_VLAN_TPID_VALID != 0;
        let tpid = if named { aux.data.tp_vlan_tpid } else { libc::ETH_P_8021Q as u16 };
        Arrival {
            len: header.msg_len as usize,
            fit: if header.msg_hdr.msg_flags & libc::MSG_TRUNC == 0 { Fit::Whole } else { Fit::Cut },
            tag: tagged.then_some(Tag { tpid, tci: aux.data.tp_vlan_tci }),
        }
    }

    /// Makes a frame, its header written, the message with this number.
    pub(super) fn load(&mut self, slot: usize, frame: &mut FrameBuf) {
        let len = frame.len();
        let header = virtio::emit(frame.offload);
        frame.raw_mut()[HEADER_AT..FrameBuf::HEADROOM].copy_from_slice(&header);
        self.aim(slot, frame, virtio::LEN + len);
    }

    /// Sends the loaded messages with these numbers without blocking; returns how many left. The frames they were
    /// loaded from must still be borrowed: hence their batch.
    pub(super) fn transmit(
        &mut self,
        socket: BorrowedFd<'_>,
        _loaded_from: &mut [FrameBuf],
        slots: Range<usize>,
    ) -> io::Result<usize> {
        let headers = &mut self.headers[slots];
        // SAFETY: these headers point at vectors owned by `self`, and each vector, since it was loaded, at a buffer
        // of the batch that the caller still borrows exclusively; `sendmmsg` only reads those.
        let sent =
            unsafe { libc::sendmmsg(socket.as_raw_fd(), headers.as_mut_ptr(), headers.len() as _, libc::MSG_DONTWAIT) };
        if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(sent as usize) }
    }

    /// Bytes of the frame loaded as the message with this number, without the header.
    pub(super) fn loaded_len(&self, slot: usize) -> usize {
        self.vectors[slot].iov_len - virtio::LEN
    }
}

/// The header the kernel wrote before a received frame.
pub(super) fn received_header(frame: &mut FrameBuf) -> [u8; virtio::LEN] {
    let mut header = [0; virtio::LEN];
    header.copy_from_slice(&frame.raw_mut()[HEADER_AT..FrameBuf::HEADROOM]);
    header
}
