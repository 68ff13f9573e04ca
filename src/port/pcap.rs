//! A capture of everything that passes a port, in both directions, switched on and off while it runs.
//!
//! [`CapturePort`] wraps any port; its [`Capture`] is the switch, usable from any thread and any number of times, also
//! at once. While nobody captures, a batch costs one atomic load and no lock. A running capture writes a pcap file (the
//! classic format, microseconds, Ethernet) in pieces to a bounded [`Sink`]; when that is full, records are dropped and
//! counted rather than the worker held up.
//!
//! Choices a reader of the file should know:
//! * Unfinished checksums are finished in the copy, so that no analyser calls them wrong; super-frames stay whole.
//! * Received frames are as the port gave them, sent ones as they were handed to the port; one that the system then
//!   refuses is in the file all the same. The classic format has no word for the direction.

use std::io;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError};
use std::time::Duration;

use arc_swap::ArcSwap;

use super::{Port, PortCounters};
use crate::base::time::Time;
use crate::wire::checksum;
use crate::wire::frame::{Batch, FrameBuf};

/// Longest frame a record holds whole, as tcpdump has it.
const SNAP_LEN: u32 = 262_144;

/// Pieces are closed at about this size.
const PIECE: usize = 128 << 10;

/// The head of a pcap file (`pcap-savefile(5)`): little-endian, microseconds, link type Ethernet.
pub fn file_header() -> [u8; 24] {
    const MAGIC: u32 = 0xa1b2_c3d4;
    const VERSION: u32 = 2 | 4 << 16;
    const LINKTYPE_ETHERNET: u32 = 1;
    let mut header = [0; 24];
    for (at, word) in [MAGIC, VERSION, 0, 0, SNAP_LEN, LINKTYPE_ETHERNET].into_iter().enumerate() {
        header[4 * at..4 * at + 4].copy_from_slice(&word.to_le_bytes());
    }
    header
}

/// The head of a record: `since_epoch` is the wall-clock time, `len` the frame's length.
pub fn record_header(since_epoch: Duration, len: usize) -> [u8; 16] {
    // The format has 32 bits for the seconds, enough until 2106, and for lengths.
    let len = u32::try_from(len).unwrap_or(u32::MAX);
    let words = [since_epoch.as_secs() as u32, since_epoch.subsec_micros(), len.min(SNAP_LEN), len];
    let mut header = [0; 16];
    for (at, word) in words.into_iter().enumerate() {
        header[4 * at..4 * at + 4].copy_from_slice(&word.to_le_bytes());
    }
    header
}

/// What a sink did with a piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Offered {
    /// It took it.
    Taken,
    /// It has no room for now; the piece is lost.
    Full,
    /// Nobody reads any more; the capture ends.
    Closed,
}

/// Where a capture goes. Must not block.
pub trait Sink: Send + Sync {
    /// Takes a piece of the file if there is room.
    fn offer(&self, piece: Vec<u8>) -> Offered;
}

impl Sink for SyncSender<Vec<u8>> {
    fn offer(&self, piece: Vec<u8>) -> Offered {
        match self.try_send(piece) {
            Ok(()) => Offered::Taken,
            Err(TrySendError::Full(_)) => Offered::Full,
            Err(TrySendError::Disconnected(_)) => Offered::Closed,
        }
    }
}

impl Sink for tokio::sync::mpsc::Sender<Vec<u8>> {
    fn offer(&self, piece: Vec<u8>) -> Offered {
        use tokio::sync::mpsc::error::TrySendError;
        match self.try_send(piece) {
            Ok(()) => Offered::Taken,
            Err(TrySendError::Full(_)) => Offered::Full,
            Err(TrySendError::Closed(_)) => Offered::Closed,
        }
    }
}

/// One running capture.
struct Tap {
    sink: Box<dyn Sink>,
    /// The wall clock at [`Time::ZERO`].
    epoch: Duration,
    lost: AtomicU64,
}

type Taps = ArcSwap<Vec<Arc<Tap>>>;

/// Starts captures of one port, from any thread.
#[derive(Clone, Default)]
pub struct Capture(Arc<Taps>);

impl Capture {
    /// Starts a capture: the file's head at once, then every frame until the [`Running`] is dropped or the sink is
    /// closed. `epoch` is the wall-clock time (since 1970) at [`Time::ZERO`] of the worker's clock.
    ///
    /// # Errors
    /// The sink, which ought to be empty, had no room for the head: `Full` or `Closed`.
    pub fn start(&self, sink: impl Sink + 'static, epoch: Duration) -> Result<Running, Offered> {
        match sink.offer(file_header().to_vec()) {
            Offered::Taken => {}
            refused => return Err(refused),
        }
        let tap = Arc::new(Tap { sink: Box::new(sink), epoch, lost: AtomicU64::new(0) });
        self.0.rcu(|taps| taps.iter().chain([&tap]).cloned().collect::<Vec<_>>());
        Ok(Running { tap, taps: Arc::clone(&self.0) })
    }
}

/// A running capture; ends when dropped.
pub struct Running {
    tap: Arc<Tap>,
    taps: Arc<Taps>,
}

impl Running {
    /// Frames lost because the sink was full.
    pub fn lost(&self) -> u64 {
        self.tap.lost.load(Ordering::Relaxed)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        remove(&self.taps, &self.tap);
    }
}

fn remove(taps: &Taps, gone: &Arc<Tap>) {
    taps.rcu(|taps| taps.iter().filter(|tap| !Arc::ptr_eq(tap, gone)).cloned().collect::<Vec<_>>());
}

/// Any port, with a capture that can be switched on.
pub struct CapturePort<P> {
    port: P,
    taps: Arc<Taps>,
    /// A copy whose checksum can be finished; made when the first frame is captured.
    copy: Option<FrameBuf>,
}

impl<P: Port> CapturePort<P> {
    /// Wraps a port; nothing is captured until [`Capture::start`].
    pub fn new(port: P) -> CapturePort<P> {
        CapturePort { port, taps: Arc::default(), copy: None }
    }

    /// The switch.
    pub fn capture(&self) -> Capture {
        Capture(Arc::clone(&self.taps))
    }

    fn record<'a>(&mut self, frames: impl Iterator<Item = &'a FrameBuf> + Clone, now: Time) {
        let taps = self.taps.load_full();
        let copy = self.copy.get_or_insert_with(|| FrameBuf::with_capacity(FrameBuf::LARGEST));
        for tap in taps.iter() {
            if tap.write(frames.clone(), now, copy) == Offered::Closed {
                remove(&self.taps, tap);
            }
        }
    }
}

impl Tap {
    fn write<'a>(&self, frames: impl Iterator<Item = &'a FrameBuf>, now: Time, copy: &mut FrameBuf) -> Offered {
        let at = self.epoch + Duration::from_micros(now.micros());
        let (mut piece, mut records) = (Vec::new(), 0);
        for frame in frames {
            if !copy.fill(frame.bytes()) {
                self.lost.fetch_add(1, Ordering::Relaxed);
                continue;
            }
            copy.offload = frame.offload;
            checksum::finish(copy);
            piece.extend_from_slice(&record_header(at, copy.len()));
            piece.extend_from_slice(copy.bytes());
            records += 1;
            if piece.len() >= PIECE
                && self.offer(std::mem::take(&mut piece), std::mem::take(&mut records)) == Offered::Closed
            {
                return Offered::Closed;
            }
        }
        if records > 0 { self.offer(piece, records) } else { Offered::Taken }
    }

    fn offer(&self, piece: Vec<u8>, records: u64) -> Offered {
        let offered = self.sink.offer(piece);
        if offered == Offered::Full {
            self.lost.fetch_add(records, Ordering::Relaxed);
        }
        offered
    }
}

impl<P: Port> Port for CapturePort<P> {
    fn name(&self) -> &str {
        self.port.name()
    }

    fn recv(&mut self, batch: &mut Batch, now: Time) -> io::Result<usize> {
        let before = batch.len();
        let count = self.port.recv(batch, now)?;
        if count > 0 && !self.taps.load().is_empty() {
            self.record(batch.frames()[before..].iter(), now);
        }
        Ok(count)
    }

    fn send(&mut self, batch: &mut Batch, which: &[u16], now: Time) -> io::Result<()> {
        if !which.is_empty() && !self.taps.load().is_empty() {
            let frames = batch.frames();
            self.record(which.iter().filter_map(|index| frames.get(usize::from(*index))), now);
        }
        self.port.send(batch, which, now)
    }

    fn readable(&self) -> Option<BorrowedFd<'_>> {
        self.port.readable()
    }

    fn next_deadline(&self) -> Option<Time> {
        self.port.next_deadline()
    }

    fn counters(&mut self) -> PortCounters {
        self.port.counters()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::port::memory::{FarEnd, MemoryPort};
    use crate::wire::frame::{Checksum, Egress, Gso, Offload};
    use std::sync::mpsc::{Receiver, sync_channel};

    const EPOCH: Duration = Duration::from_secs(1_700_000_000);

    fn port() -> (CapturePort<MemoryPort>, FarEnd) {
        let (port, far) = MemoryPort::new("m0", 1000).unwrap();
        (CapturePort::new(port), far)
    }

    /// The records of a capture file: seconds, microseconds, frame.
    fn records(mut file: &[u8]) -> Vec<(u32, u32, Vec<u8>)> {
        let word = |bytes: &[u8], at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
        assert_eq!(file[..24], file_header());
        file = &file[24..];
        let mut all = Vec::new();
        while !file.is_empty() {
            let (captured, original) = (word(file, 8), word(file, 12));
            assert_eq!(captured, original);
            let end = 16 + captured as usize;
            all.push((word(file, 0), word(file, 4), file[16..end].to_vec()));
            file = &file[end..];
        }
        all
    }

    fn read(from: &Receiver<Vec<u8>>) -> Vec<(u32, u32, Vec<u8>)> {
        records(&from.try_iter().flatten().collect::<Vec<u8>>())
    }

    #[test]
    fn the_head_is_what_libpcap_writes() {
        let expected = "d4c3b2a1020004000000000000000000000004000100000001";
        let header: String = file_header().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(header, expected[..48]);
    }

    #[test]
    fn both_ways_while_it_runs() {
        let (mut port, far) = port();
        let capture = port.capture();
        let mut batch = Batch::new(8, 128);
        let mut pass = |fill: u8, at: u64| {
            assert!(far.push(&[fill; 60]));
            batch.clear();
            port.recv(&mut batch, Time::from_millis(at)).unwrap();
            assert!(batch.push(&[fill + 100; 64], Egress::None));
            port.send(&mut batch, &[1], Time::from_millis(at + 1)).unwrap();
        };
        pass(1, 1000);
        let (to, from) = sync_channel(100);
        let running = capture.start(to, EPOCH).unwrap();
        pass(2, 2500);
        drop(running);
        pass(3, 3000);
        let second = 1_700_000_002;
        assert_eq!(read(&from), [(second, 500_000, vec![2; 60]), (second, 501_000, vec![102; 64])]);
        assert_eq!(far.take().len(), 3, "what passes is not changed");
    }

    #[test]
    fn several_at_once() {
        let (mut port, far) = port();
        let starts = |_| {
            let (to, from) = sync_channel(100);
            (port.capture().start(to, EPOCH).unwrap(), from)
        };
        let captures: Vec<_> = (0..3).map(starts).collect();
        assert!(far.push(&[1; 60]));
        port.recv(&mut Batch::new(1, 128), Time::ZERO).unwrap();
        assert!(captures.iter().all(|(_, from)| read(from).len() == 1));
    }

    #[test]
    fn unfinished_checksums_are_finished_in_the_copy_only() {
        let (mut port, far) = port();
        let (to, from) = sync_channel(10);
        let _running = port.capture().start(to, EPOCH).unwrap();
        let partial = Offload { checksum: Checksum::Partial { start: 20, offset: 10 }, gso: Gso::None };
        assert!(far.push_with(&[7; 60], partial));
        let mut batch = Batch::new(1, 128);
        port.recv(&mut batch, Time::ZERO).unwrap();
        assert_eq!((batch.frames()[0].bytes(), batch.frames()[0].offload), (&[7; 60][..], partial));
        let (_, _, captured) = read(&from).remove(0);
        let mut finished = FrameBuf::with_capacity(60);
        assert!(finished.fill(&[7; 60]));
        finished.offload = partial;
        checksum::finish(&mut finished);
        assert_eq!(captured, finished.bytes());
        assert_ne!(captured, [7; 60]);
    }

    #[test]
    fn a_full_sink_loses_records_and_a_closed_one_ends_the_capture() {
        let (mut port, far) = port();
        let (to, from) = sync_channel(2);
        let running = port.capture().start(to, EPOCH).unwrap();
        let mut receive = |frames: usize| {
            (0..frames).for_each(|_| assert!(far.push(&[1; 60])));
            assert_eq!(port.recv(&mut Batch::new(frames, 128), Time::ZERO).unwrap(), frames);
        };
        receive(3);
        receive(5);
        assert_eq!((running.lost(), read(&from).len()), (5, 3));
        drop(from);
        receive(1);
        assert!(port.taps.load().is_empty());
        let (to, from) = sync_channel(1);
        drop(from);
        assert_eq!(port.capture().start(to, EPOCH).err(), Some(Offered::Closed));
    }

    #[test]
    fn pieces_stay_small() {
        let (mut port, far) = port();
        let (to, from) = sync_channel(100);
        let _running = port.capture().start(to, EPOCH).unwrap();
        (0..20).for_each(|_| assert!(far.push(&[1; 60_000])));
        assert_eq!(port.recv(&mut Batch::new(20, 65_000), Time::ZERO).unwrap(), 20);
        let pieces: Vec<_> = from.try_iter().collect();
        assert!(pieces.iter().all(|piece| piece.len() < PIECE + 65_000), "{}", pieces.len());
        assert_eq!(records(&pieces.concat()).len(), 20);
    }
}
