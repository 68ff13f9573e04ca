//! Trouble on purpose: a wrapper of any port that loses, duplicates, reorders, corrupts and delays frames.
//!
//! ```
//! # use acm_switch::port::{fault::{FaultPort, Faults}, memory::MemoryPort};
//! # let (port, _far) = MemoryPort::new("m0", 16).unwrap();
//! let port = FaultPort::new(port, 7).both_ways(Faults::NONE.lose_percent(5.0).reorder_percent(5.0));
//! ```
//!
//! All chance comes from the seed and all time from the `now` of the calls, so the same calls meet the same trouble.
//!
//! * **Reorder** holds a frame back until a few others have overtaken it, or a bounded time has passed: it comes out
//!   even if nothing follows.
//!   It is not delayed as well.
//! * **Delay** draws a time for each frame, so unequal delays reorder too, as on a real network.
//! * **Corruption** flips one bit, after finishing an unfinished checksum, because otherwise whoever finishes it later
//!   would sign the damage. A super-frame has no such place: its segments get their checksums when it is cut; it is
//!   left out whole, which is what the receiver of damaged segments would do with them, and counted as corrupted.
//!
//! What is held is bounded; a frame for which there is no room passes untroubled.

mod road;

use std::io;
use std::os::fd::BorrowedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::{Port, PortCounters};
use crate::base::fraction::Fraction;
use crate::base::time::Time;
use crate::wire::frame::{Batch, FrameBuf};
use road::Road;

/// Batches of which nothing is left to deliver that one `recv` goes through before it says so.
const EMPTY_ROUNDS_MAX: usize = 16;

/// Longer delays are cut to this.
const DELAY_MAX: Duration = Duration::from_secs(60);

/// What happens to the frames of one direction, and how often.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Faults {
    lose: Fraction,
    duplicate: Fraction,
    reorder: Fraction,
    corrupt: Fraction,
    delay: (Duration, Duration),
}

impl Faults {
    /// Nothing at all.
    pub const NONE: Faults = Faults {
        lose: Fraction::ZERO,
        duplicate: Fraction::ZERO,
        reorder: Fraction::ZERO,
        corrupt: Fraction::ZERO,
        delay: (Duration::ZERO, Duration::ZERO),
    };

    /// Loses this many frames of a hundred. Percentages outside 0 to 100 are moved to the nearer end.
    pub fn lose_percent(self, percent: f64) -> Faults {
        Faults { lose: of_a_hundred(percent), ..self }
    }

    /// Delivers this many frames of a hundred twice.
    pub fn duplicate_percent(self, percent: f64) -> Faults {
        Faults { duplicate: of_a_hundred(percent), ..self }
    }

    /// Lets others overtake this many frames of a hundred.
    pub fn reorder_percent(self, percent: f64) -> Faults {
        Faults { reorder: of_a_hundred(percent), ..self }
    }

    /// Flips a bit in this many frames of a hundred.
    pub fn corrupt_percent(self, percent: f64) -> Faults {
        Faults { corrupt: of_a_hundred(percent), ..self }
    }

    /// Delays every frame by a time between these two, at most a minute.
    pub fn delay(self, least: Duration, most: Duration) -> Faults {
        let least = least.min(DELAY_MAX);
        Faults { delay: (least, most.clamp(least, DELAY_MAX)), ..self }
    }
}

fn of_a_hundred(percent: f64) -> Fraction {
    // NaN, which `clamp` lets through, means never.
    Fraction::new((percent / 100.0).clamp(0.0, 1.0)).unwrap_or(Fraction::ZERO)
}

/// What was done to the frames of one direction so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FaultCounts {
    /// Frames that came by.
    pub seen: u64,
    /// Frames lost.
    pub lost: u64,
    /// Frames delivered twice.
    pub duplicated: u64,
    /// Frames held back for others to overtake.
    pub reordered: u64,
    /// Frames with a bit flipped, or left out as their receiver would.
    pub corrupted: u64,
    /// Frames delayed.
    pub delayed: u64,
    /// Frames that should have been held back and were not, for want of room.
    pub spared: u64,
}

/// Reads what a [`FaultPort`] has done, from any thread.
#[derive(Debug, Clone, Default)]
pub struct FaultReport(Arc<Mutex<[FaultCounts; 2]>>);

impl FaultReport {
    fn lock(&self) -> MutexGuard<'_, [FaultCounts; 2]> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// To received frames.
    pub fn received(&self) -> FaultCounts {
        self.lock()[0]
    }

    /// To sent frames.
    pub fn sent(&self) -> FaultCounts {
        self.lock()[1]
    }
}

/// Any port, with trouble.
pub struct FaultPort<P> {
    port: P,
    rx: Road,
    tx: Road,
    report: FaultReport,
    /// Frames between the port and the roads.
    passing: Batch,
    /// A sent frame, to be damaged: the original may leave through other ports, whole.
    copy: FrameBuf,
}

impl<P: Port> FaultPort<P> {
    /// Wraps a port; without [`FaultPort::on_receive`], [`FaultPort::on_send`] or [`FaultPort::both_ways`] it changes
    /// nothing.
    pub fn new(port: P, seed: u64) -> FaultPort<P> {
        FaultPort {
            port,
            rx: Road::new(seed),
            // The two directions are independent: another seed, and one that is not the next port's.
            tx: Road::new(seed ^ 0x9e37_79b9_7f4a_7c15),
            report: FaultReport::default(),
            passing: Batch::new(64, FrameBuf::LARGEST),
            copy: FrameBuf::with_capacity(FrameBuf::LARGEST),
        }
    }

    /// Troubles received frames.
    pub fn on_receive(mut self, faults: Faults) -> FaultPort<P> {
        self.rx.faults = faults;
        self
    }

    /// Troubles sent frames.
    pub fn on_send(mut self, faults: Faults) -> FaultPort<P> {
        self.tx.faults = faults;
        self
    }

    /// Troubles both.
    pub fn both_ways(self, faults: Faults) -> FaultPort<P> {
        self.on_receive(faults).on_send(faults)
    }

    /// What it has done so far.
    pub fn report(&self) -> FaultReport {
        self.report.clone()
    }

    /// The port inside.
    pub fn inner(&mut self) -> &mut P {
        &mut self.port
    }

    fn write_report(&self) {
        *self.report.lock() = [self.rx.counts, self.tx.counts];
    }

    /// Hands what may go to the port inside.
    fn flush(&mut self, now: Time) -> io::Result<()> {
        while !self.tx.ready.is_empty() {
            self.passing.clear();
            self.tx.leave(&mut self.passing);
            let all: Vec<u16> = (0..self.passing.len() as u16).collect();
            self.port.send(&mut self.passing, &all, now)?;
        }
        Ok(())
    }
}

impl<P: Port> Port for FaultPort<P> {
    fn name(&self) -> &str {
        self.port.name()
    }

    fn recv(&mut self, batch: &mut Batch, now: Time) -> io::Result<usize> {
        // Sent frames that became due leave now too: a worker with nothing to send still receives.
        self.tx.pass(now);
        self.flush(now)?;
        if self.rx.is_clear() {
            return self.port.recv(batch, now);
        }
        self.rx.pass(now);
        for _ in 0..EMPTY_ROUNDS_MAX {
            self.passing.clear();
            if !self.rx.ready.is_empty() || self.port.recv(&mut self.passing, now)? == 0 {
                break;
            }
            for frame in self.passing.frames_mut() {
                self.rx.enter(frame, now);
            }
        }
        let before = batch.len();
        self.rx.leave(batch);
        self.write_report();
        Ok(batch.len() - before)
    }

    fn send(&mut self, batch: &mut Batch, which: &[u16], now: Time) -> io::Result<()> {
        if self.tx.is_clear() {
            return self.port.send(batch, which, now);
        }
        self.tx.pass(now);
        for index in which {
            let Some(frame) = batch.frames().get(usize::from(*index)) else { continue };
            if self.copy.fill(frame.bytes()) {
                self.copy.offload = frame.offload;
                self.tx.enter(&mut self.copy, now);
            }
        }
        self.write_report();
        self.flush(now)
    }

    fn readable(&self) -> Option<BorrowedFd<'_>> {
        self.port.readable()
    }

    fn next_deadline(&self) -> Option<Time> {
        [self.rx.next_deadline(), self.tx.next_deadline(), self.port.next_deadline()].into_iter().flatten().min()
    }

    fn counters(&mut self) -> PortCounters {
        self.port.counters()
    }
}

#[cfg(test)]
mod tests {
    use super::road::{HELD_MAX, OVERTAKEN_WITHIN, REORDERING_MAX};
    use super::*;
    use crate::port::memory::{FarEnd, MemoryPort};
    use crate::wire::checksum;
    use crate::wire::frame::{Checksum, Egress, Gso, Offload};
    use std::collections::BTreeSet;

    const SECOND: Time = Time::from_secs(1);

    fn port(faults: Faults, seed: u64) -> (FaultPort<MemoryPort>, FarEnd) {
        let (port, far) = MemoryPort::new("m0", 100_000).unwrap();
        (FaultPort::new(port, seed).both_ways(faults), far)
    }

    fn frame(number: u32) -> Vec<u8> {
        let mut bytes = vec![0; 60];
        bytes[56..].copy_from_slice(&number.to_be_bytes());
        bytes
    }

    fn number(bytes: &[u8]) -> u32 {
        u32::from_be_bytes(bytes[56..60].try_into().unwrap())
    }

    /// Everything the port has for us now.
    fn receive(port: &mut FaultPort<MemoryPort>, now: Time) -> Vec<FrameBuf> {
        let mut all = Vec::new();
        loop {
            let mut batch = Batch::new(7, 128);
            if port.recv(&mut batch, now).unwrap() == 0 {
                return all;
            }
            all.extend_from_slice(batch.frames());
        }
    }

    /// The numbers received of `count` frames that arrived at one second, before and after all deadlines.
    fn exchange(port: &mut FaultPort<MemoryPort>, far: &FarEnd, count: u32) -> (Vec<u32>, Vec<u32>) {
        (0..count).for_each(|n| assert!(far.push(&frame(n))));
        let numbers = |frames: Vec<FrameBuf>| frames.iter().map(|frame| number(frame.bytes())).collect();
        let at_once = numbers(receive(port, SECOND));
        (at_once, numbers(receive(port, Time::from_secs(100))))
    }

    #[test]
    fn without_faults_nothing_changes() {
        let (mut port, far) = port(Faults::NONE, 1);
        let (received, late) = exchange(&mut port, &far, 100);
        assert!(received.iter().copied().eq(0..100) && late.is_empty());
        assert_eq!(port.next_deadline(), None);
    }

    #[test]
    fn every_frame_is_accounted_for() {
        let faults = Faults::NONE.lose_percent(5.0).duplicate_percent(4.0).reorder_percent(3.0);
        let faults = faults.delay(Duration::from_millis(1), Duration::from_millis(20));
        let (mut port, far) = port(faults, 41);
        let (mut received, late) = exchange(&mut port, &far, 20_000);
        let did = port.report().received();
        assert!(received.len() as u64 <= did.reordered, "nothing else is due at once");
        received.extend(late);
        assert_eq!(did.seen, 20_000);
        assert_eq!(received.len() as u64, did.seen - did.lost + did.duplicated);
        // Five standard deviations of a binomial on either side.
        for (count, percent) in [(did.lost, 5.0), (did.duplicated, 4.0)] {
            let expected = 200.0 * percent;
            assert!((count as f64 - expected).abs() < 5.0 * f64::sqrt(expected), "{count} is not {percent} %: {did:?}");
        }
        let distinct: BTreeSet<_> = received.iter().collect();
        assert_eq!(distinct.len() as u64, did.seen - did.lost, "{did:?}");
    }

    #[test]
    fn reordering_reorders_and_loses_nothing() {
        let (mut port, far) = port(Faults::NONE.reorder_percent(10.0), 3);
        let (mut received, late) = exchange(&mut port, &far, 1000);
        assert!(late.len() <= REORDERING_MAX, "only the last few wait for others");
        received.extend(late);
        assert_ne!(received, (0..1000).collect::<Vec<_>>());
        let furthest = received.iter().enumerate().map(|(at, n)| (at as i64 - i64::from(*n)).abs()).max();
        assert!(furthest < Some(40), "{furthest:?}");
        received.sort_unstable();
        assert!(received.into_iter().eq(0..1000));
    }

    #[test]
    fn a_frame_nobody_overtakes_comes_out_all_the_same() {
        let (mut port, far) = port(Faults::NONE.reorder_percent(100.0), 3);
        assert!(far.push(&frame(1)));
        assert!(receive(&mut port, SECOND).is_empty());
        assert_eq!(port.next_deadline(), Some(SECOND + OVERTAKEN_WITHIN));
        assert!(receive(&mut port, SECOND + OVERTAKEN_WITHIN - Duration::from_micros(1)).is_empty());
        assert_eq!(receive(&mut port, SECOND + OVERTAKEN_WITHIN).len(), 1);
        assert_eq!(port.next_deadline(), None);
    }

    #[test]
    fn sent_frames_leave_when_due_though_nothing_more_is_sent() {
        let least = Duration::from_millis(5);
        let (mut port, far) = port(Faults::NONE.delay(least, least), 3);
        let mut batch = Batch::new(2, 128);
        (0..2).for_each(|n| assert!(batch.push(&frame(n), Egress::None)));
        port.send(&mut batch, &[0, 1], SECOND).unwrap();
        assert!(far.take().is_empty());
        assert_eq!(port.next_deadline(), Some(SECOND + least));
        port.recv(&mut Batch::new(1, 128), SECOND + least).unwrap();
        let sent: Vec<u32> = far.take().iter().map(|frame| number(&frame.bytes)).collect();
        assert_eq!(sent, [0, 1], "equal delays keep the order");
        assert_eq!(port.report().sent().delayed, 2);
    }

    #[test]
    fn damage_is_one_bit_and_visible_to_a_checksum() {
        let (mut port, far) = port(Faults::NONE.corrupt_percent(100.0), 9);
        // An unfinished checksum over bytes 20.. stored at 30: finishing makes the sum of the range 0xffff.
        let partial = Offload { checksum: Checksum::Partial { start: 20, offset: 10 }, gso: Gso::None };
        let segments = Offload { gso: Gso::Segments { kind: 1, size: 20, header: 54 }, ..partial };
        assert!(far.push_with(&frame(5), partial) && far.push_with(&frame(6), segments));
        let received = receive(&mut port, SECOND);
        let [damaged] = received.as_slice() else { panic!("{} frames", received.len()) };
        assert_eq!(damaged.offload, Offload::NONE);
        let mut finished = FrameBuf::with_capacity(128);
        assert!(finished.fill(&frame(5)));
        finished.offload = partial;
        checksum::finish(&mut finished);
        let flipped = damaged.bytes().iter().zip(finished.bytes()).map(|(a, b)| (a ^ b).count_ones()).sum::<u32>();
        assert_eq!(flipped, 1);
        assert_eq!(port.report().received().corrupted, 2, "the super-frame is left out");
    }

    #[test]
    fn what_was_sent_is_not_damaged_in_the_batch() {
        let (mut port, far) = port(Faults::NONE.corrupt_percent(100.0), 9);
        let mut batch = Batch::new(1, 128);
        assert!(batch.push(&frame(5), Egress::None));
        port.send(&mut batch, &[0], SECOND).unwrap();
        assert_eq!(batch.frames()[0].bytes(), frame(5));
        assert_ne!(far.take()[0].bytes, frame(5));
    }

    #[test]
    fn the_seed_decides() {
        let faults =
            Faults::NONE.lose_percent(10.0).duplicate_percent(10.0).reorder_percent(10.0).corrupt_percent(10.0);
        let run = |seed| {
            let (mut port, far) = port(faults, seed);
            (exchange(&mut port, &far, 500), port.report().received())
        };
        assert_eq!(run(1), run(1));
        assert_ne!(run(1), run(2));
    }

    #[test]
    fn what_is_held_is_bounded() {
        let (port, far) = MemoryPort::new("m0", 1000).unwrap();
        let minute = Duration::from_secs(60);
        let mut port = FaultPort::new(port, 1).on_receive(Faults::NONE.delay(minute, minute));
        let large = vec![0; 60_000];
        let mut passed = 0;
        for _ in 0..300 {
            assert!(far.push(&large));
            passed += port.recv(&mut Batch::new(1, 65_000), SECOND).unwrap();
            assert!(port.rx.held <= HELD_MAX);
        }
        let did = port.report().received();
        assert_eq!((passed as u64, did.delayed), (did.spared, 300 - did.spared));
        assert!(did.spared > 0, "{did:?}");
    }

    #[test]
    fn percentages_are_percentages() {
        assert_eq!(Faults::NONE.lose_percent(f64::NAN).lose_percent(-3.0), Faults::NONE);
        assert_eq!(Faults::NONE.lose_percent(300.0).lose, Fraction::ONE);
    }
}
