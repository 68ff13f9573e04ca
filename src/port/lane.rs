//! A bounded queue of frames between two threads that can be waited for as a port is: by its descriptor.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::PortCounters;
use super::wait::Signal;
use crate::wire::frame::{Batch, Offload};

/// A frame on its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemoryFrame {
    /// The frame.
    pub bytes: Vec<u8>,
    /// What its sender left to be done.
    pub offload: Offload,
}

/// One direction of a cable: a bounded queue whose descriptor is readable while it is not empty.
#[derive(Debug)]
pub(super) struct Lane {
    depth: usize,
    frames: Mutex<VecDeque<MemoryFrame>>,
    arrived: Condvar,
    signal: Signal,
}

/// What a full queue does with a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fit {
    Taken,
    Full,
}

impl Lane {
    /// A queue of at most `depth` frames.
    pub(super) fn new(depth: usize) -> io::Result<Arc<Lane>> {
        let frames = Mutex::new(VecDeque::new());
        Ok(Arc::new(Lane { depth, frames, arrived: Condvar::new(), signal: Signal::new()? }))
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<MemoryFrame>> {
        // Whoever panicked while holding the lock left a whole queue behind: push and pop do not stop half-way.
        self.frames.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Appends a copy of a frame.
    pub(super) fn push(&self, bytes: &[u8], offload: Offload) -> Fit {
        let mut frames = self.lock();
        if frames.len() >= self.depth {
            return Fit::Full;
        }
        frames.push_back(MemoryFrame { bytes: bytes.to_vec(), offload });
        if frames.len() == 1 {
            self.signal.raise();
        }
        self.arrived.notify_one();
        Fit::Taken
    }

    /// Moves frames into the free buffers of a batch, as many as fit, and counts them; returns how many. A frame
    /// longer than its buffer is lost and counted as missed.
    pub(super) fn drain_into(&self, batch: &mut Batch, counters: &mut PortCounters) -> usize {
        let before = batch.len();
        let mut frames = self.lock();
        while batch.room() > 0
            && let Some(frame) = frames.pop_front()
        {
            if frames.is_empty() {
                self.signal.lower();
            }
            let Some(free) = batch.free_mut().first_mut().filter(|free| frame.bytes.len() <= free.capacity()) else {
                counters.rx_missed += 1;
                continue;
            };
            free.fill(&frame.bytes);
            free.offload = frame.offload;
            batch.extend(1);
            counters.rx_frames += 1;
            counters.rx_bytes += frame.bytes.len() as u64;
        }
        batch.len() - before
    }

    /// Everything in it.
    pub(super) fn take(&self) -> Vec<MemoryFrame> {
        let mut frames = self.lock();
        if !frames.is_empty() {
            self.signal.lower();
        }
        frames.drain(..).collect()
    }

    /// Waits until there is a frame, at most this long.
    pub(super) fn wait(&self, timeout: Duration) {
        let waited = self.arrived.wait_timeout_while(self.lock(), timeout, |frames| frames.is_empty());
        drop(waited);
    }

    /// How many frames wait.
    pub(super) fn len(&self) -> usize {
        self.lock().len()
    }

    /// Readable while frames wait.
    pub(super) fn readable(&self) -> BorrowedFd<'_> {
        self.signal.as_fd()
    }
}
