//! One direction of a troubled port: frames enter, some leave at once, some later, some never. No I/O.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::{FaultCounts, Faults};
use crate::base::fraction::Fraction;
use crate::base::time::Time;
use crate::wire::checksum;
use crate::wire::frame::{Batch, Checksum, Egress, FrameBuf, Gso, Offload};

/// Bytes of frames held back in one direction. At the bound a frame is neither delayed nor reordered.
pub(super) const HELD_MAX: usize = 16 << 20;

/// Frames held back for others to overtake, in one direction. Each waits for at most `OVERTAKERS_MAX` others.
pub(super) const REORDERING_MAX: usize = 16;

/// A reordered frame lets 1 to this many others pass.
const OVERTAKERS_MAX: u8 = 3;

/// A reordered frame that nobody overtakes comes out after this long: less than any retransmission timer.
pub(super) const OVERTAKEN_WITHIN: Duration = Duration::from_millis(10);

/// A frame taken out of its batch.
#[derive(Debug, Clone)]
pub(super) struct Kept {
    bytes: Vec<u8>,
    offload: Offload,
}

/// A frame others shall overtake.
#[derive(Debug)]
struct Overtaken {
    frame: Kept,
    by: u8,
    until: Time,
}

/// One direction.
#[derive(Debug)]
pub(super) struct Road {
    pub(super) faults: Faults,
    rng: fastrand::Rng,
    /// By when they are due; the number keeps those due together in order.
    delayed: BTreeMap<(Time, u64), Kept>,
    delays: u64,
    reordering: VecDeque<Overtaken>,
    /// What may go now, in order.
    pub(super) ready: VecDeque<Kept>,
    pub(super) held: usize,
    pub(super) counts: FaultCounts,
}

impl Road {
    pub(super) fn new(seed: u64) -> Road {
        Road {
            faults: Faults::NONE,
            rng: fastrand::Rng::with_seed(seed),
            delayed: BTreeMap::new(),
            delays: 0,
            reordering: VecDeque::new(),
            ready: VecDeque::new(),
            held: 0,
            counts: FaultCounts::default(),
        }
    }

    pub(super) fn is_clear(&self) -> bool {
        self.faults == Faults::NONE && self.held == 0 && self.ready.is_empty()
    }

    fn chance(&mut self, of: Fraction) -> bool {
        of.hits(self.rng.u32(..))
    }

    /// A frame enters the road.
    pub(super) fn enter(&mut self, frame: &mut FrameBuf, now: Time) {
        self.counts.seen += 1;
        // Every draw is made for every frame, so that one kind of trouble does not change when another strikes.
        let lost = self.chance(self.faults.lose);
        let duplicated = self.chance(self.faults.duplicate);
        let reordered = self.chance(self.faults.reorder);
        let corrupted = self.chance(self.faults.corrupt);
        if lost {
            self.counts.lost += 1;
            return;
        }
        if corrupted {
            self.counts.corrupted += 1;
            if self.damage(frame) == Damaged::BeyondUse {
                return;
            }
        }
        let kept = Kept { bytes: frame.bytes().to_vec(), offload: frame.offload };
        if duplicated {
            self.counts.duplicated += 1;
            self.delay(kept.clone(), now);
        }
        if reordered && self.may_hold(&kept) && self.reordering.len() < REORDERING_MAX {
            self.counts.reordered += 1;
            self.held += kept.bytes.len();
            let by = self.rng.u8(1..=OVERTAKERS_MAX);
            self.reordering.push_back(Overtaken { frame: kept, by, until: now + OVERTAKEN_WITHIN });
            return;
        }
        self.counts.spared += u64::from(reordered);
        self.delay(kept, now);
        self.overtake();
    }

    fn damage(&mut self, frame: &mut FrameBuf) -> Damaged {
        if frame.offload.gso != Gso::None || frame.is_empty() {
            return Damaged::BeyondUse;
        }
        checksum::finish(frame);
        frame.offload.checksum = Checksum::Complete;
        let bit = self.rng.usize(..frame.len() * 8);
        frame.bytes_mut()[bit / 8] ^= 1 << (bit % 8);
        Damaged::OneBit
    }

    fn may_hold(&self, frame: &Kept) -> bool {
        self.held + frame.bytes.len() <= HELD_MAX
    }

    fn delay(&mut self, frame: Kept, now: Time) {
        let (least, most) = self.faults.delay;
        if most.is_zero() {
            self.ready.push_back(frame);
            return;
        }
        let micros = self.rng.u64(least.as_micros() as u64..=most.as_micros() as u64);
        if !self.may_hold(&frame) {
            self.counts.spared += 1;
            self.ready.push_back(frame);
            return;
        }
        self.counts.delayed += 1;
        self.held += frame.bytes.len();
        self.delays += 1;
        self.delayed.insert((now + Duration::from_micros(micros), self.delays), frame);
    }

    /// Somebody overtook everyone who waits for that.
    fn overtake(&mut self) {
        self.reordering.iter_mut().for_each(|waiting| waiting.by = waiting.by.saturating_sub(1));
        self.let_go(|waiting| waiting.by == 0);
    }

    fn let_go(&mut self, which: impl Fn(&Overtaken) -> bool) {
        while let Some(at) = self.reordering.iter().position(&which) {
            if let Some(done) = self.reordering.remove(at) {
                self.held -= done.frame.bytes.len();
                self.ready.push_back(done.frame);
            }
        }
    }

    /// Moves what is due to `ready`.
    pub(super) fn pass(&mut self, now: Time) {
        self.let_go(|waiting| waiting.until <= now);
        while let Some(first) = self.delayed.first_entry()
            && first.key().0 <= now
        {
            let frame = first.remove();
            self.held -= frame.bytes.len();
            self.ready.push_back(frame);
        }
    }

    pub(super) fn next_deadline(&self) -> Option<Time> {
        if !self.ready.is_empty() {
            return Some(Time::ZERO);
        }
        let delayed = self.delayed.first_key_value().map(|((due, _), _)| *due);
        self.reordering.iter().map(|waiting| waiting.until).chain(delayed).min()
    }

    /// Moves what may go into the batch, as much as fits.
    pub(super) fn leave(&mut self, batch: &mut Batch) {
        while let Some(frame) = self.ready.front() {
            let Some(free) = batch.free_mut().first_mut() else { return };
            if free.fill(&frame.bytes) {
                free.offload = frame.offload;
                free.egress = Egress::None;
                batch.extend(1);
            }
            self.ready.pop_front();
        }
    }
}

#[derive(PartialEq, Eq)]
enum Damaged {
    OneBit,
    BeyondUse,
}
