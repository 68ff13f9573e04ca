//! A running capture as a stream of pcap bytes.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_core::Stream;
use tokio::sync::mpsc::{Receiver, channel};

use crate::acm::error::AcmError;
use crate::acm::switch::CaptureStream;
use crate::port::pcap::{Capture, Running};

/// Pieces of up to 128 KiB that may wait for a slow reader; more are dropped and counted by the port.
const PIECES: usize = 64;

/// Ends the capture when dropped.
struct Capturing {
    pieces: Receiver<Vec<u8>>,
    _running: Running,
}

impl Stream for Capturing {
    type Item = Vec<u8>;
    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Vec<u8>>> {
        self.pieces.poll_recv(context)
    }
}

/// Starts a capture; `epoch` is the wall clock at the switch's start.
///
/// # Errors
/// `Unreachable`, if it ended before it began.
pub(super) fn start(capture: &Capture, epoch: Duration) -> Result<CaptureStream, AcmError> {
    let (sink, pieces) = channel(PIECES);
    let running =
        capture.start(sink, epoch).map_err(|_| AcmError::Unreachable { why: "the capture ended at once".into() })?;
    Ok(Box::pin(Capturing { pieces, _running: running }))
}
