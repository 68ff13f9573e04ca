//! Whose turn it is, by weight: smooth weighted round-robin with exact proportions at O(log n) a turn.
//!
//! In every round of virtual time a member of weight w has w turns, at (2k + 1) / 2w for k = 0 ... w - 1, spread evenly;
//! turns are taken in order of time, and of id at the same time. So after each round everyone had exactly its weight,
//! and with equal weights this is plain round-robin. Times are compared as fractions, by cross-multiplication: no
//! rounding adds up over the years.
//!
//! A member's turns depend on its weight and id alone. So the whole state is the last turn taken: when members
//! change, everybody continues behind it, nobody is owed a backlog and nobody starts over.
//! Called by `schedule` (scheduler `weighted`) and `maglev` (who claims the next slot).

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

/// A point in virtual time at which some member has its turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Turn {
    round: u64,
    /// 2k + 1; the turn is at `odd / (2 * weight)` of the round.
    odd: u32,
    weight: u16,
    id: u64,
    /// Which member, as the caller counts.
    position: u32,
}

impl Turn {
    /// This member's first turn later than `last`.
    fn after(self, last: Turn) -> Turn {
        // odd / weight > last.odd / last.weight, with the same time allowed to those with a later id.
        let scaled = last.odd * u32::from(self.weight);
        let (floor, rest) = (scaled / u32::from(last.weight), scaled % u32::from(last.weight));
        let shares_the_time = rest == 0 && floor % 2 == 1 && self.id > last.id;
        let odd = if shares_the_time { floor } else { (floor + 1) | 1 };
        if odd < 2 * u32::from(self.weight) {
            Turn { round: last.round, odd, ..self }
        } else {
            Turn { round: last.round + 1, odd: 1, ..self }
        }
    }
}

impl Ord for Turn {
    fn cmp(&self, other: &Turn) -> Ordering {
        let time = |odd: u32, other_weight: u16| odd * u32::from(other_weight);
        self.round
            .cmp(&other.round)
            .then_with(|| time(self.odd, other.weight).cmp(&time(other.odd, self.weight)))
            .then_with(|| self.id.cmp(&other.id))
    }
}

impl PartialOrd for Turn {
    fn partial_cmp(&self, other: &Turn) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// The turns of a set of members.
#[derive(Debug, Clone, Default)]
pub(super) struct Turns {
    next: BinaryHeap<Reverse<Turn>>,
    last: Option<Turn>,
    /// Kept between calls for its memory.
    passed_over: Vec<Turn>,
}

impl Turns {
    /// The same point in time with other members: their ids and weights (1 to 32,767; others are left out), whose
    /// positions are counted from 0.
    pub(super) fn set_members(&mut self, members: impl Iterator<Item = (u64, u16)>) {
        self.next = (0u32..)
            .zip(members)
            .filter(|(_, (_, weight))| (1..=0x7fff).contains(weight))
            .map(|(position, (id, weight))| {
                let first = Turn { round: 0, odd: 1, weight, id, position };
                Reverse(self.last.map_or(first, |last| first.after(last)))
            })
            .collect();
    }

    /// Takes the next turn of a member that is acceptable; whoever is passed over loses that turn only. `None` if
    /// nobody is, and nothing changed. Asks about nobody twice.
    pub(super) fn take(&mut self, mut acceptable: impl FnMut(usize) -> bool) -> Option<usize> {
        let taken = loop {
            match self.next.pop() {
                Some(Reverse(turn)) if acceptable(turn.position as usize) => break Some(turn),
                Some(Reverse(turn)) => self.passed_over.push(turn),
                None => break None,
            }
        };
        let Some(turn) = taken else {
            self.next.extend(self.passed_over.drain(..).map(Reverse));
            return None;
        };
        self.last = Some(turn);
        self.next.push(Reverse(turn.after(turn)));
        self.next.extend(self.passed_over.drain(..).map(|passed| Reverse(passed.after(turn))));
        Some(turn.position as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(turns: &mut Turns, count: usize) -> Vec<usize> {
        (0..count).map(|_| turns.take(|_| true).unwrap()).collect()
    }

    fn turns_of(weights: &[u16]) -> Turns {
        let mut turns = Turns::default();
        turns.set_members((0..).zip(weights.iter().copied()));
        turns
    }

    #[test]
    fn turns_are_spread() {
        assert_eq!(taken(&mut turns_of(&[5, 1, 1]), 7), [0, 0, 0, 1, 2, 0, 0]);
        assert_eq!(taken(&mut turns_of(&[1, 1, 1]), 6), [0, 1, 2, 0, 1, 2]);
        assert_eq!(taken(&mut turns_of(&[3, 0, 1]), 8), [0, 0, 2, 0, 0, 0, 2, 0]);
    }

    #[test]
    fn proportions_are_exact_every_round() {
        let weights = [1000, 999, 7, 1, 0, 333, 500];
        let round: usize = weights.iter().map(|w| usize::from(*w)).sum();
        let mut turns = turns_of(&weights);
        for _ in 0..5 {
            let mut counts = [0u16; 7];
            taken(&mut turns, round).into_iter().for_each(|p| counts[p] += 1);
            assert_eq!(counts, weights);
        }
    }

    #[test]
    fn nobody_is_ever_far_from_its_share() {
        let weights = [97, 13, 5, 1];
        let total: f64 = weights.iter().map(|w| f64::from(*w)).sum();
        let mut counts = [0.0f64; 4];
        for (n, position) in taken(&mut turns_of(&weights), 116 * 3).into_iter().enumerate() {
            counts[position] += 1.0;
            for (count, weight) in counts.iter().zip(weights) {
                let due = (n + 1) as f64 * f64::from(weight) / total;
                assert!((count - due).abs() < 2.0, "after {n}: {count} of {due}");
            }
        }
    }

    #[test]
    fn a_change_of_members_is_no_advantage() {
        // Rebuilt before every turn: the order must be that of an undisturbed set.
        let weights = [5, 3, 3, 1];
        let undisturbed = taken(&mut turns_of(&weights), 48);
        let mut turns = turns_of(&weights);
        let rebuilt: Vec<_> = (0..48)
            .map(|_| {
                turns.set_members((0..).zip(weights));
                turns.take(|_| true).unwrap()
            })
            .collect();
        assert_eq!(rebuilt, undisturbed);
    }

    #[test]
    fn who_is_passed_over_is_owed_nothing() {
        let mut turns = turns_of(&[1, 1, 1]);
        for _ in 0..1000 {
            assert_ne!(turns.take(|p| p != 2), Some(2));
        }
        assert_eq!(turns.take(|_| false), None);
        let after = taken(&mut turns, 30);
        assert_eq!(after.iter().filter(|p| **p == 2).count(), 10, "{after:?}");
    }
}
