//! Ports made of memory, for tests: what the far end puts in is received, what is sent is taken at the far end.
//!
//! [`MemoryPort::new`] gives a port and its [`FarEnd`], which a test holds as if it were the machine at the other end of
//! the cable; [`MemoryPort::pair`] connects two ports to each other. Offloads travel with the frames as they do on a
//! veth. Both directions are bounded queues, and a port says it is readable the way every port does, so that a real
//! worker thread runs on memory ports unchanged.

use std::io;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::time::Duration;

pub use super::lane::MemoryFrame;
use super::lane::{Fit, Lane};
use super::{Port, PortCounters};
use crate::base::time::Time;
use crate::wire::frame::{Batch, Offload};

/// A port in memory.
#[derive(Debug)]
pub struct MemoryPort {
    name: String,
    incoming: Arc<Lane>,
    outgoing: Arc<Lane>,
    counters: PortCounters,
}

impl MemoryPort {
    /// A port and the far end of its cable, with room for `depth` frames each way.
    ///
    /// # Errors
    /// The system's, when it has no descriptors left.
    pub fn new(name: &str, depth: usize) -> io::Result<(MemoryPort, FarEnd)> {
        let (incoming, outgoing) = (Lane::new(depth)?, Lane::new(depth)?);
        let far = FarEnd { towards: Arc::clone(&incoming), from: Arc::clone(&outgoing) };
        Ok((MemoryPort::on(name, incoming, outgoing), far))
    }

    /// Two ports connected to each other, with room for `depth` frames each way.
    ///
    /// # Errors
    /// The system's, when it has no descriptors left.
    pub fn pair(names: [&str; 2], depth: usize) -> io::Result<(MemoryPort, MemoryPort)> {
        let (there, back) = (Lane::new(depth)?, Lane::new(depth)?);
        let first = MemoryPort::on(names[0], Arc::clone(&back), Arc::clone(&there));
        Ok((first, MemoryPort::on(names[1], there, back)))
    }

    fn on(name: &str, incoming: Arc<Lane>, outgoing: Arc<Lane>) -> MemoryPort {
        MemoryPort { name: name.to_owned(), incoming, outgoing, counters: PortCounters::default() }
    }
}

impl Port for MemoryPort {
    fn name(&self) -> &str {
        &self.name
    }

    fn recv(&mut self, batch: &mut Batch, _now: Time) -> io::Result<usize> {
        Ok(self.incoming.drain_into(batch, &mut self.counters))
    }

    fn send(&mut self, batch: &mut Batch, which: &[u16], _now: Time) -> io::Result<()> {
        for index in which {
            let Some(frame) = batch.frames().get(usize::from(*index)) else { continue };
            match self.outgoing.push(frame.bytes(), frame.offload) {
                Fit::Full => self.counters.tx_dropped += 1,
                Fit::Taken => {
                    self.counters.tx_frames += 1;
                    self.counters.tx_bytes += frame.len() as u64;
                }
            }
        }
        Ok(())
    }

    fn readable(&self) -> Option<BorrowedFd<'_>> {
        Some(self.incoming.readable())
    }

    fn counters(&mut self) -> PortCounters {
        self.counters
    }
}

/// The machine at the other end of a [`MemoryPort`]'s cable; may be used from another thread, and cloned.
#[derive(Debug, Clone)]
pub struct FarEnd {
    towards: Arc<Lane>,
    from: Arc<Lane>,
}

impl FarEnd {
    /// Sends a complete frame to the port. False if the queue is full and the frame was lost.
    pub fn push(&self, bytes: &[u8]) -> bool {
        self.push_with(bytes, Offload::NONE)
    }

    /// Sends a frame with work left to be done. False if the queue is full and the frame was lost.
    pub fn push_with(&self, bytes: &[u8], offload: Offload) -> bool {
        self.towards.push(bytes, offload) == Fit::Taken
    }

    /// Everything the port has sent since it was last asked.
    pub fn take(&self) -> Vec<MemoryFrame> {
        self.from.take()
    }

    /// As [`FarEnd::take`], but waits up to `timeout` for the first frame.
    pub fn wait(&self, timeout: Duration) -> Vec<MemoryFrame> {
        self.from.wait(timeout);
        self.from.take()
    }

    /// Frames the port has not taken yet.
    pub fn backlog(&self) -> usize {
        self.towards.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::port::wait::Waiter;
    use crate::wire::frame::{Checksum, Egress, Gso};

    const SUPER: Offload = Offload {
        checksum: Checksum::Partial { start: 34, offset: 16 },
        gso: Gso::Segments { kind: 1, size: 1448, header: 66 },
    };

    #[test]
    fn frames_and_offloads_travel_both_ways() {
        let (mut port, far) = MemoryPort::new("m0", 4).unwrap();
        let mut batch = Batch::new(4, 128);
        assert!(far.push_with(&[7; 100], SUPER) && far.push(&[8; 60]));
        assert_eq!(port.recv(&mut batch, Time::ZERO).unwrap(), 2);
        assert_eq!((batch.frames()[0].offload, batch.frames()[1].offload), (SUPER, Offload::NONE));
        port.send(&mut batch, &[1, 0], Time::ZERO).unwrap();
        let sent = far.take();
        assert_eq!(sent[0], MemoryFrame { bytes: vec![8; 60], offload: Offload::NONE });
        assert_eq!(sent[1], MemoryFrame { bytes: vec![7; 100], offload: SUPER });
        assert!(far.take().is_empty());
    }

    #[test]
    fn full_queues_and_small_buffers_lose_frames_and_count_them() {
        let (mut port, far) = MemoryPort::new("m0", 2).unwrap();
        assert!(far.push(&[1; 300]) && far.push(&[2; 60]));
        assert!(!far.push(&[3; 60]), "full");
        let mut batch = Batch::new(3, 128);
        assert_eq!(port.recv(&mut batch, Time::ZERO).unwrap(), 1, "the long one did not fit");
        assert!(batch.push(&[4; 60], Egress::None) && batch.push(&[5; 60], Egress::None));
        port.send(&mut batch, &[0, 1, 2, 9], Time::ZERO).unwrap();
        let counted = port.counters();
        assert_eq!((counted.rx_frames, counted.rx_missed, counted.tx_frames, counted.tx_dropped), (1, 1, 2, 1));
    }

    #[test]
    fn what_does_not_fit_the_batch_stays_readable() {
        let (mut port, far) = MemoryPort::new("m0", 8).unwrap();
        let waiter = Waiter::new([port.readable()]).unwrap();
        assert!(waiter.ready().timed_out());
        (0..3).for_each(|n| assert!(far.push(&[n; 60])));
        let mut batch = Batch::new(2, 128);
        for expected in [2, 1] {
            assert!(waiter.ready().port(0));
            batch.clear();
            assert_eq!(port.recv(&mut batch, Time::ZERO).unwrap(), expected);
        }
        assert!(waiter.ready().timed_out());
    }

    #[test]
    fn a_pair_is_a_cable() {
        let (mut left, mut right) = MemoryPort::pair(["l", "r"], 4).unwrap();
        let mut batch = Batch::new(2, 128);
        assert!(batch.push(&[1; 60], Egress::None));
        left.send(&mut batch, &[0], Time::ZERO).unwrap();
        batch.clear();
        assert_eq!(left.recv(&mut batch, Time::ZERO).unwrap(), 0);
        assert_eq!(right.recv(&mut batch, Time::ZERO).unwrap(), 1);
        assert_eq!(right.name(), "r");
    }

    #[test]
    fn the_far_end_can_wait() {
        let (mut port, far) = MemoryPort::new("m0", 4).unwrap();
        assert!(far.wait(Duration::from_millis(1)).is_empty());
        let other = std::thread::spawn(move || {
            let mut batch = Batch::new(1, 128);
            assert!(batch.push(&[9; 60], Egress::None));
            port.send(&mut batch, &[0], Time::ZERO).unwrap();
        });
        assert_eq!(far.wait(Duration::from_secs(10)).len(), 1);
        other.join().unwrap();
    }
}
