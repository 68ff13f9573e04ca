//! Consistent hashing with a Maglev table (Eisenbud et al., "Maglev: A Fast and Reliable Software Network Load
//! Balancer", NSDI 2016, section 3.4), with weights.
//!
//! Every member has its own permutation of the slots, made from its share, a number that is the same on every switch with
//! the same bindings (`acm::rules::share`); so are the tables, if the members are given in order of shares. Members take turns (`turns`, so in exact
//! proportion to weights), and each claims the next slot of its permutation that is still free. The slots of a member
//! are its share to within one, and a change of members moves little more than it must.
//!
//! Filling takes about M ln M probes for M slots, milliseconds for the smallest table. So a table is built in steps, a
//! bounded number of probes each, while the one before it serves. Called by `schedule` only.

use super::turns::Turns;

/// Table sizes, prime so that every skip visits every slot. At least a hundred slots a member keep a member's share
/// within 1 %. Few sizes on purpose: a change of size moves every client. The last one is for the 32,768 members
/// a service can have.
const SIZES: [u32; 3] = [65_537, 655_373, 3_276_803];

/// Slots a member should have at least.
const SLOTS_PER_MEMBER: usize = 100;

/// Members a table can tell apart; more are left out. Twice what a service can have.
const MEMBERS_MAX: usize = u16::MAX as usize;

const FREE: u16 = u16::MAX;

/// A finished table: slots, each owned by one of `shares`.
#[derive(Debug, Clone)]
pub(super) struct Table {
    slots: Box<[u16]>,
    shares: Box<[u64]>,
}

impl Table {
    /// The members it was built for, in the order it was given them.
    pub(super) fn shares(&self) -> &[u64] {
        &self.shares
    }

    /// The owners of the slots that belong to `hash`: the first choice, then others in an order of its own, without
    /// end. Empty for a table without members.
    pub(super) fn owners(&self, hash: u64) -> impl Iterator<Item = usize> + '_ {
        let size = self.slots.len() as u64;
        let (mut slot, step) = place(hash, size);
        std::iter::from_fn(move || {
            let owner = *self.slots.get(slot as usize)?;
            slot = (slot + step) % size;
            (owner != FREE).then_some(usize::from(owner))
        })
    }
}

/// A table that is being filled.
#[derive(Debug, Clone)]
pub(super) struct Building {
    table: Table,
    /// Of each member, where its permutation has come to, and its skip.
    at: Vec<(u32, u32)>,
    turns: Turns,
    /// Whose claim the last step left unfinished.
    claiming: Option<usize>,
    free: usize,
}

/// Whether a table is filled.
#[derive(Debug)]
pub(super) enum Progress {
    /// Not yet.
    Unfinished(Building),
    /// It is.
    Finished(Table),
}

impl Building {
    /// An empty table for members with these shares and weights; those of weight 0 get no slot.
    pub(super) fn new(members: &[(u64, u16)]) -> Building {
        let members = &members[..members.len().min(MEMBERS_MAX)];
        let size = size_for(members.len());
        let mut turns = Turns::default();
        turns.set_members(members.iter().copied());
        let permutation = |share: u64| {
            let (offset, skip) = place(share, u64::from(size));
            (offset as u32, skip as u32)
        };
        Building {
            table: Table {
                slots: vec![FREE; size as usize].into_boxed_slice(),
                shares: members.iter().map(|(share, _)| *share).collect(),
            },
            at: members.iter().map(|(share, _)| permutation(*share)).collect(),
            turns,
            claiming: None,
            free: size as usize,
        }
    }

    /// Looks at up to `probes` slots and claims those that are free.
    pub(super) fn step(mut self, mut probes: usize) -> Progress {
        while self.free > 0 {
            let Some(member) = self.claiming.take().or_else(|| self.turns.take(|_| true)) else {
                // Nobody has any weight: an empty table is all there is to build.
                break;
            };
            if self.claim(member, &mut probes) {
                self.free -= 1;
            } else {
                self.claiming = Some(member);
                return Progress::Unfinished(self);
            }
        }
        Progress::Finished(self.table)
    }

    /// Gives `member` the next free slot of its permutation; false if `probes` ran out before. Some slot is free, and
    /// as the size is prime every permutation comes to every slot.
    fn claim(&mut self, member: usize, probes: &mut usize) -> bool {
        let slots = &mut self.table.slots;
        let size = slots.len() as u32;
        let (at, skip) = &mut self.at[member];
        while *probes > 0 {
            *probes -= 1;
            let slot = &mut slots[*at as usize];
            *at += *skip;
            if *at >= size {
                *at -= size;
            }
            if *slot == FREE {
                *slot = member as u16;
                return true;
            }
        }
        false
    }
}

fn size_for(members: usize) -> u32 {
    let wanted = members * SLOTS_PER_MEMBER;
    SIZES.into_iter().find(|size| *size as usize >= wanted).unwrap_or(SIZES[SIZES.len() - 1])
}

/// Where a permutation of `size` (a prime) begins, and its skip, from 1 to `size - 1`.
fn place(key: u64, size: u64) -> (u64, u64) {
    (mix(key) % size, mix(!key) % (size - 1) + 1)
}

/// Spreads the bits of consecutive numbers (the finaliser of SplitMix64: Steele et al., OOPSLA 2014).
pub(super) fn mix(key: u64) -> u64 {
    let z = key.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(count: u64) -> Vec<(u64, u16)> {
        (0..count).map(|share| (share + 1, 1)).collect()
    }

    fn filled(members: &[(u64, u16)]) -> Table {
        match Building::new(members).step(usize::MAX) {
            Progress::Finished(table) => table,
            Progress::Unfinished(_) => panic!("no table takes 2^64 probes"),
        }
    }

    fn slots_of(table: &Table) -> Vec<usize> {
        let mut counts = vec![0; table.shares.len()];
        for owner in &table.slots {
            counts[usize::from(*owner)] += 1;
        }
        counts
    }

    #[test]
    fn sizes_are_primes_and_large_enough() {
        for size in SIZES {
            assert!((2..).take_while(|d| d * d <= size).all(|d| size % d != 0), "{size}");
        }
        assert_eq!(size_for(655), SIZES[0]);
        assert_eq!(size_for(656), SIZES[1]);
        assert!(SIZES[2] as usize >= crate::base::limits::BINDINGS_PER_SERVICE_MAX * SLOTS_PER_MEMBER);
    }

    #[test]
    fn shares_are_equal_to_within_one_slot() {
        for count in [1, 2, 3, 10, 100, 655] {
            let slots = slots_of(&filled(&members(count)));
            assert!(slots.iter().max().unwrap() - slots.iter().min().unwrap() <= 1, "{count}: {slots:?}");
        }
    }

    #[test]
    fn shares_follow_weights() {
        let weighted: Vec<_> =
            [1u16, 10, 100, 1000, 0].into_iter().zip(1..).map(|(weight, share)| (share, weight)).collect();
        let slots = slots_of(&filled(&weighted));
        for (slots, (_, weight)) in slots.iter().zip(&weighted) {
            let due = f64::from(SIZES[0]) * f64::from(*weight) / 1111.0;
            assert!((*slots as f64 - due).abs() <= 2.0, "weight {weight}: {slots} slots of {due}");
        }
    }

    #[test]
    fn a_removal_moves_little_more_than_it_must() {
        for count in [3, 10, 50, 100] {
            let all = members(count);
            let before = filled(&all);
            for gone in [0, count as usize / 2, count as usize - 1] {
                let mut rest = all.clone();
                rest.remove(gone);
                let after = filled(&rest);
                let owner = |table: &Table, slot: usize| table.shares[usize::from(table.slots[slot])];
                let moved = (0..before.slots.len()).filter(|s| owner(&before, *s) != owner(&after, *s)).count();
                let share = moved as f64 / before.slots.len() as f64;
                assert!(share <= 2.2 / count as f64, "{count} members, without {gone}: {share:.4} moved");
            }
        }
    }

    #[test]
    fn steps_come_to_the_same_table() {
        let whole = filled(&members(7));
        let mut building = Building::new(&members(7));
        let stepped = loop {
            match building.step(1000) {
                Progress::Finished(table) => break table,
                Progress::Unfinished(more) => building = more,
            }
        };
        assert_eq!(whole.slots, stepped.slots);
    }

    #[test]
    fn nobody_to_choose_is_no_table() {
        for none in [vec![], vec![(1, 0)]] {
            assert_eq!(filled(&none).owners(7).next(), None);
        }
    }
}
