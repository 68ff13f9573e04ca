//! Where frames enter and leave.
//!
//! One trait, [`Port`], several ports: `af_packet` (Linux, with offloads), `pnet` (portable), `memory` (tests),
//! and two wrappers of any port: `fault` (seeded trouble) and `pcap` (a capture of everything that passes).
//! A port is used by one worker thread and never blocks; waiting for several ports at once is [`wait`]'s.
//!
//! `unsafe` is allowed in this room and nowhere else but the lab, each block with a `SAFETY:` line.

#[cfg(target_os = "linux")]
pub mod af_packet;
pub mod error;
pub mod fault;
mod lane;
pub mod memory;
#[cfg(target_os = "linux")]
pub mod offload;
pub mod pcap;
pub mod pnet;
mod virtio;
pub mod wait;

use std::io;
use std::os::fd::BorrowedFd;

use crate::base::time::Time;
use crate::wire::frame::Batch;

/// What a port has counted since it was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PortCounters {
    /// Frames received.
    pub rx_frames: u64,
    /// Bytes received, without link-layer framing the kernel hides.
    pub rx_bytes: u64,
    /// Frames sent.
    pub tx_frames: u64,
    /// Bytes sent.
    pub tx_bytes: u64,
    /// Frames lost before we could read them (the kernel's count, or a full queue).
    pub rx_missed: u64,
    /// Frames given to `send` that did not leave.
    pub tx_dropped: u64,
}

/// A place where frames enter and leave.
pub trait Port: Send {
    /// The name people know it by, such as `eth1`.
    fn name(&self) -> &str;

    /// Takes waiting frames into the free buffers of `batch`, as many as fit, without blocking, and returns how
    /// many. Each frame's `offload` is set; its `ingress` is the caller's to set.
    ///
    /// # Errors
    /// The system's, when the port itself is broken (the interface is gone). Never for want of frames.
    fn recv(&mut self, batch: &mut Batch, now: Time) -> io::Result<usize>;

    /// Sends the frames of `batch` with these indices, in order, without blocking. Frames that the system will not
    /// take are dropped and counted, as a switch does.
    ///
    /// # Errors
    /// The system's, when the port itself is broken.
    fn send(&mut self, batch: &mut Batch, which: &[u16], now: Time) -> io::Result<()>;

    /// What to wait for until `recv` has something; `None` for ports that have nothing to wait for.
    fn readable(&self) -> Option<BorrowedFd<'_>>;

    /// When `recv` or an empty `send` must be called next even if nothing becomes readable (delayed frames).
    fn next_deadline(&self) -> Option<Time> {
        None
    }

    /// What it has counted.
    fn counters(&mut self) -> PortCounters;
}

impl<P: Port + ?Sized> Port for Box<P> {
    fn name(&self) -> &str {
        (**self).name()
    }

    fn recv(&mut self, batch: &mut Batch, now: Time) -> io::Result<usize> {
        (**self).recv(batch, now)
    }

    fn send(&mut self, batch: &mut Batch, which: &[u16], now: Time) -> io::Result<()> {
        (**self).send(batch, which, now)
    }

    fn readable(&self) -> Option<BorrowedFd<'_>> {
        (**self).readable()
    }

    fn next_deadline(&self) -> Option<Time> {
        (**self).next_deadline()
    }

    fn counters(&mut self) -> PortCounters {
        (**self).counters()
    }
}
