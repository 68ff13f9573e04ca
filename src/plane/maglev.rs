//! The Maglev table: consistent hashing with one look-up (Eisenbud et al., "Maglev", NSDI 2016, section 3.4).
//!
//! Every member fills the table in the order of its own permutation, in turn and in proportion to its weight, so that
//! shares are even and few keys move when a member comes or goes.

/// Entries of the table: prime, and at least 100 for each member up to 650 members, which keeps shares within 1 %.
const SMALL: usize = 65_537;
/// For more members: prime, 20 for each of the largest service's.
const LARGE: usize = 655_373;
/// Members from which the large table is used.
const MANY: usize = 656;

/// A built table.
#[derive(Debug)]
pub struct Maglev {
    table: Vec<u32>,
}

/// Mixes an identity into well-spread bits (the finaliser of SplitMix64).
fn mix(id: u64) -> u64 {
    let id = (id ^ (id >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let id = (id ^ (id >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    id ^ (id >> 31)
}

impl Maglev {
    /// The table of these members, by stable identity and weight.
    pub fn build(members: impl Iterator<Item = (u64, u16)>) -> Maglev {
        let members: Vec<(u64, u16)> = members.collect();
        if members.is_empty() {
            return Maglev { table: Vec::new() };
        }
        let size = if members.len() < MANY { SMALL } else { LARGE };
        let heaviest = members.iter().map(|(_, weight)| u64::from(*weight)).max().unwrap_or(1).max(1);
        // (next place in its permutation, skip, credit)
        let mut turns: Vec<(usize, usize, u64)> = members
            .iter()
            .map(|(id, _)| {
                let offset = mix(id.wrapping_add(0x9e37_79b9_7f4a_7c15)) % size as u64;
                let skip = mix(id ^ 0x5851_f42d_4c95_7f2d) % (size as u64 - 1) + 1;
                (offset as usize, skip as usize, 0)
            })
            .collect();
        let mut table = vec![u32::MAX; size];
        let mut filled = 0;
        while filled < size {
            for (member, (next, skip, credit)) in turns.iter_mut().enumerate() {
                *credit += u64::from(members[member].1.max(1));
                if *credit < heaviest || filled == size {
                    continue;
                }
                *credit -= heaviest;
                while table[*next] != u32::MAX {
                    *next = (*next + *skip) % size;
                }
                table[*next] = member as u32;
                filled += 1;
            }
        }
        Maglev { table }
    }

    /// The member for a key; `None` if there are none.
    pub fn lookup(&self, hash: u64) -> Option<usize> {
        if self.table.is_empty() {
            return None;
        }
        // The high bits of the product spread as well as a remainder and cost less (Lemire, 2016).
        let place = (u128::from(hash) * self.table.len() as u128) >> 64;
        Some(self.table[place as usize] as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owners(ids: &[u64]) -> Vec<u64> {
        let table = Maglev::build(ids.iter().map(|id| (*id, 1)));
        (0..200_000u64).map(|key| ids[table.lookup(mix(key)).unwrap()]).collect()
    }

    #[test]
    fn shares_are_even_and_few_keys_move() {
        let all: Vec<u64> = (1..=10).collect();
        let before = owners(&all);
        for id in &all {
            let share = before.iter().filter(|owner| *owner == id).count() as f64 / before.len() as f64;
            assert!((share - 0.1).abs() < 0.003, "{id}: {share}");
        }
        let after = owners(&all[..9]);
        let moved = before.iter().zip(&after).filter(|(before, after)| before != after).count() as f64;
        assert!(moved / (before.len() as f64) < 2.2 / 10.0, "{moved}");
    }

    #[test]
    fn none_is_none() {
        assert_eq!(Maglev::build(std::iter::empty()).lookup(7), None);
    }
}
