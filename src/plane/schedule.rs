//! Choosing a member of a group for a new connection.
//!
//! A [`Chooser`] is built from the members that take new connections, whenever they change; picking asks the caller
//! which members are acceptable for this connection (not full, not on the client's segment, tuple free) and tries
//! the next best until one is. Not here: who is a member, and what a connection is.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::maglev::Maglev;
use crate::acm::words::Scheduler;

/// A member, as the schedulers see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Member {
    /// The caller's name for it.
    pub slot: u32,
    /// Its stable identity, for consistent hashing.
    pub id: u64,
    /// Its share, at least 1.
    pub weight: u16,
}

/// What a choice may depend on.
#[derive(Debug, Clone, Copy)]
pub struct Choice {
    /// A keyed hash of the client's address.
    pub source_hash: u64,
    /// Uniform random bits.
    pub random: u64,
}

/// A scheduler over a set of members.
#[derive(Debug)]
pub struct Chooser {
    members: Vec<Member>,
    way: Way,
    cursor: usize,
}

#[derive(Debug)]
enum Way {
    InTurn,
    /// Stride scheduling: the member with the least pass is next, and its pass grows by `STRIDE / weight`.
    Stride(BinaryHeap<Reverse<(u64, u32)>>),
    LeastConn,
    /// Running sums of weights.
    Random(Vec<u64>),
    Source(Maglev),
}

/// Divisible by every weight up to 16 and fine enough for the rest.
const STRIDE: u64 = 720_720 << 20;

/// Draws before `random` falls back to going round from the last draw.
const DRAWS: u32 = 4;

impl Chooser {
    /// A chooser over these members; those with weight 0 take none and are to be left out by the caller.
    pub fn new(scheduler: Scheduler, members: Vec<Member>, cursor: usize) -> Chooser {
        let way = match scheduler {
            Scheduler::RoundRobin => Way::InTurn,
            Scheduler::Weighted => {
                // Staggered starts: the first round is in proportion too.
                let pass = |(index, member): (usize, &Member)| {
                    Reverse((STRIDE / u64::from(member.weight.max(1)) / 2, index as u32))
                };
                Way::Stride(members.iter().enumerate().map(pass).collect())
            }
            Scheduler::LeastConn => Way::LeastConn,
            Scheduler::Random => {
                let mut sum = 0;
                Way::Random(
                    members
                        .iter()
                        .map(|member| {
                            sum += u64::from(member.weight);
                            sum
                        })
                        .collect(),
                )
            }
            Scheduler::SourceHash => {
                Way::Source(Maglev::build(members.iter().map(|member| (member.id, member.weight))))
            }
        };
        let cursor = if members.is_empty() { 0 } else { cursor % members.len() };
        Chooser { members, way, cursor }
    }

    /// Where the round is, so that a chooser built after a change goes on there.
    pub fn cursor(&self) -> usize {
        self.cursor
    }

    /// True if nobody takes new connections.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// The member for a connection, or `None` if none is acceptable. `live` tells a member's live connections.
    pub fn pick(
        &mut self,
        choice: Choice,
        live: impl Fn(u32) -> u32,
        mut acceptable: impl FnMut(u32) -> bool,
    ) -> Option<u32> {
        if self.members.is_empty() {
            return None;
        }
        match &mut self.way {
            Way::InTurn => self.next_acceptable(self.cursor, acceptable),
            Way::LeastConn => self.least_loaded(live, acceptable),
            Way::Stride(heap) => stride(heap, &self.members, acceptable),
            Way::Random(sums) => {
                let total = sums.last().copied().unwrap_or(0).max(1);
                let mut draw = choice.random;
                let mut index = 0;
                for _ in 0..DRAWS {
                    index = sums.partition_point(|sum| *sum <= draw % total);
                    if acceptable(self.members[index].slot) {
                        return Some(self.members[index].slot);
                    }
                    draw = draw.rotate_left(21).wrapping_mul(0x9e37_79b9_7f4a_7c15);
                }
                self.next_acceptable(index, acceptable)
            }
            Way::Source(table) => {
                let index = table.lookup(choice.source_hash)?;
                if acceptable(self.members[index].slot) {
                    return Some(self.members[index].slot);
                }
                self.next_acceptable(index + 1, acceptable)
            }
        }
    }

    /// The first acceptable member from `start` on, going round once.
    fn next_acceptable(&mut self, start: usize, mut acceptable: impl FnMut(u32) -> bool) -> Option<u32> {
        let count = self.members.len();
        for step in 0..count {
            let index = (start + step) % count;
            if acceptable(self.members[index].slot) {
                self.cursor = (index + 1) % count;
                return Some(self.members[index].slot);
            }
        }
        None
    }

    /// The fewest live connections per weight; ties in turn. Looks at every member.
    fn least_loaded(&mut self, live: impl Fn(u32) -> u32, mut acceptable: impl FnMut(u32) -> bool) -> Option<u32> {
        let count = self.members.len();
        let mut best: Option<(usize, u64, u64)> = None;
        for step in 0..count {
            let index = (self.cursor + step) % count;
            let member = self.members[index];
            let (load, weight) = (u64::from(live(member.slot)), u64::from(member.weight));
            // load / weight < best_load / best_weight, without dividing.
            let better = best.is_none_or(|(_, best_load, best_weight)| load * best_weight < best_load * weight);
            if better && acceptable(member.slot) {
                best = Some((index, load, weight));
            }
        }
        let (index, ..) = best?;
        self.cursor = (index + 1) % count;
        Some(self.members[index].slot)
    }
}

/// The acceptable member with the least pass; those passed over keep theirs.
fn stride(
    heap: &mut BinaryHeap<Reverse<(u64, u32)>>,
    members: &[Member],
    mut acceptable: impl FnMut(u32) -> bool,
) -> Option<u32> {
    let mut passed_over = Vec::new();
    let mut chosen = None;
    while let Some(Reverse((pass, index))) = heap.pop() {
        let member = members[index as usize];
        if acceptable(member.slot) {
            heap.push(Reverse((pass + STRIDE / u64::from(member.weight.max(1)), index)));
            chosen = Some(member.slot);
            break;
        }
        passed_over.push(Reverse((pass, index)));
    }
    heap.extend(passed_over);
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(weights: &[u16]) -> Vec<Member> {
        weights
            .iter()
            .enumerate()
            .map(|(slot, weight)| Member { slot: slot as u32, id: slot as u64 + 7, weight: *weight })
            .collect()
    }

    fn counts(scheduler: Scheduler, weights: &[u16], picks: u64) -> Vec<u64> {
        let mut chooser = Chooser::new(scheduler, members(weights), 0);
        let mut random = fastrand::Rng::with_seed(41);
        let mut counts = vec![0; weights.len()];
        for _ in 0..picks {
            let choice = Choice { source_hash: random.u64(..), random: random.u64(..) };
            let slot = chooser.pick(choice, |_| 0, |_| true).unwrap();
            counts[slot as usize] += 1;
        }
        counts
    }

    #[test]
    fn proportions() {
        assert_eq!(counts(Scheduler::RoundRobin, &[1, 5, 1], 300), [100, 100, 100], "weights are ignored");
        assert_eq!(counts(Scheduler::Weighted, &[1, 2, 7], 1000), [100, 200, 700]);
        assert_eq!(counts(Scheduler::LeastConn, &[1, 1, 1], 300), [100, 100, 100], "ties in turn");
        for scheduler in [Scheduler::Random, Scheduler::SourceHash] {
            let counts = counts(scheduler, &[1, 2, 7], 100_000);
            for (count, share) in counts.iter().zip([0.1, 0.2, 0.7]) {
                assert!((*count as f64 / 100_000.0 - share).abs() < 0.01, "{scheduler}: {counts:?}");
            }
        }
    }

    #[test]
    fn weighted_is_smooth() {
        let mut chooser = Chooser::new(Scheduler::Weighted, members(&[1, 1, 2]), 0);
        let choice = Choice { source_hash: 0, random: 0 };
        let picks: Vec<_> = (0..8).map(|_| chooser.pick(choice, |_| 0, |_| true).unwrap()).collect();
        for four in picks.chunks(4) {
            assert_eq!(four.iter().filter(|slot| **slot == 2).count(), 2, "{picks:?}");
        }
    }

    #[test]
    fn least_conn_counts_by_weight() {
        let mut chooser = Chooser::new(Scheduler::LeastConn, members(&[1, 4]), 0);
        let live = |slot: u32| [3, 8][slot as usize];
        assert_eq!(chooser.pick(Choice { source_hash: 0, random: 0 }, live, |_| true), Some(1), "8/4 is less than 3/1");
    }

    #[test]
    fn the_unacceptable_are_passed_over_and_none_is_none() {
        for scheduler in Scheduler::ALL {
            let mut chooser = Chooser::new(scheduler, members(&[1, 1, 1, 1]), 0);
            for random in 0..50u64 {
                let choice = Choice { source_hash: random.wrapping_mul(0x1234_5678_9abc_def1), random };
                assert_eq!(chooser.pick(choice, |_| 0, |slot| slot == 2), Some(2), "{scheduler}");
                assert_eq!(chooser.pick(choice, |_| 0, |_| false), None, "{scheduler}");
            }
        }
    }
}
