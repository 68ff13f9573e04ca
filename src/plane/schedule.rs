//! Which member of a group a new connection, or a request, goes to.
//!
//! A [`Chooser`] is one worker's scheduler for one group. In: the members that may take new connections, and for each
//! pick some hashes and what the plane knows of the moment: live connections, and who is acceptable to this client (a
//! member may be full, on the client's own segment, or its tuple occupied). Out: a member, or `None` when not one is
//! acceptable. Members of weight 0 take none, whatever the scheduler.
//!
//! `url-hash` and `cookie-hash` choose by the hash of the request; without one the group's fallback chooses. The hashing
//! schedulers may be bounded: a member that has its factor of the average load or more is passed over for the next of
//! the key's own sequence of members, as long as there is another.
//!
//! A pick costs O(1) or O(log n) while most members are acceptable, and never asks about more than every member once
//! or, for `random` and the hashes, a few of them twice. Least-conn and a bounded load look at up to [`SCAN_MAX`]
//! members. Not here: who is eligible (`acm`, `Binding::takes_new`) and what becomes of the choice.

use super::maglev::{self, Building, Progress, Table};
use super::turns::Turns;
use crate::acm::rules::LoadFactor;
use crate::acm::words::{Group, Scheduler};
use crate::base::id::BindingId;

/// Members least-conn compares for one connection. Groups up to this size get the exact minimum; of a larger one, a
/// window of so many members beginning at a random place, whose minimum is close to the whole group's and costs
/// microseconds, not a hundred of them.
pub const SCAN_MAX: usize = 1024;

/// Slots of a Maglev table probed with each pick while a new table is being built: a few microseconds of work, and the
/// smallest table is ready after some 400 picks.
const PROBES_PER_PICK: usize = 2048;

/// Draws before `random` stops trying its luck and goes through the members.
const DRAWS: u64 = 8;

/// Slots looked at before a hash goes through the members.
const SLOTS: usize = 32;

/// A member of a group that may take new connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Member {
    /// The binding's stable identity on this switch.
    pub id: BindingId,
    /// What consistent hashing knows it by, the same on every switch ([`share`](crate::acm::rules::share)).
    pub share: u64,
    /// Its weight, 0 to [`WEIGHT_MAX`](crate::base::limits::WEIGHT_MAX).
    pub weight: u16,
    /// The caller's number for it: what closures are asked with, and what a pick returns.
    pub slot: u32,
}

/// The numbers a choice may depend on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Choice {
    /// A hash of the client's address, the same for each of its connections.
    pub source_hash: u64,
    /// The hash of what the group hashes of the request, if there is a request that has it.
    pub content_hash: Option<u64>,
    /// Uniformly random.
    pub random: u64,
}

/// How a group chooses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Manner {
    /// Its scheduler.
    pub scheduler: Scheduler,
    /// Who chooses when that one needs a request and there is none.
    pub fallback: Scheduler,
    /// The bound of each member's load, for the hashing schedulers.
    pub bound: Option<LoadFactor>,
}

impl From<&Group> for Manner {
    fn from(group: &Group) -> Manner {
        Manner { scheduler: group.scheduler, fallback: group.hash.fallback, bound: group.hash.bounded_load }
    }
}

impl From<Scheduler> for Manner {
    fn from(scheduler: Scheduler) -> Manner {
        Manner { scheduler, ..Manner::from(&Group::default()) }
    }
}

/// A group's scheduler.
#[derive(Debug, Clone)]
pub struct Chooser {
    manner: Manner,
    /// Those of weight 1 and more, in order of their ids.
    members: Vec<Member>,
    /// The last member chosen in turn.
    last: Option<BindingId>,
    /// Where the turn is: the first member behind `last`.
    cursor: usize,
    way: Way,
}

/// What a scheduler needs beyond the members.
#[derive(Debug, Clone)]
enum Way {
    Turn,
    Weighted(Turns),
    LeastConn,
    /// Running totals of the weights.
    Random(Vec<u64>),
    /// By the client's address.
    Source(Box<Consistent>),
    /// By the request; another way for what has none.
    Content(Box<Consistent>, Box<Way>),
}

impl Chooser {
    /// A scheduler for these members, from the beginning.
    pub fn build(members: &[Member], manner: impl Into<Manner>) -> Chooser {
        let manner = manner.into();
        let mut chooser = Chooser { manner, members: Vec::new(), last: None, cursor: 0, way: Way::of(manner) };
        chooser.rebuild(members, manner);
        chooser
    }

    /// The same scheduler with other members: turns go on behind the last one taken, and consistent hashes move only
    /// the clients they must. Another scheduler begins anew. Costs O(n log n); a Maglev table is rebuilt bit by
    /// bit with later picks, and until then the old one serves, passing over members that are gone.
    pub fn rebuild(&mut self, members: &[Member], manner: impl Into<Manner>) {
        let manner = manner.into();
        let unbounded = |manner: Manner| Manner { bound: None, ..manner };
        if unbounded(self.manner) != unbounded(manner) {
            self.way = Way::of(manner);
        }
        self.manner = manner;
        self.members.clear();
        self.members.extend(members.iter().filter(|member| member.weight > 0));
        self.members.sort_unstable_by_key(|member| member.id);
        self.cursor = self.last.map_or(0, |last| self.members.partition_point(|member| member.id <= last));
        self.way.set_members(&self.members);
    }

    /// How many members can be chosen.
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// True if none can.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Chooses an acceptable member and returns its slot; `None` only if no member is acceptable. `live` gives a
    /// member's live connections, `acceptable` whether this connection may go there; both are asked by slot.
    pub fn pick(
        &mut self,
        choice: Choice,
        live: impl Fn(u32) -> u32,
        mut acceptable: impl FnMut(u32) -> bool,
    ) -> Option<u32> {
        if self.members.is_empty() {
            return None;
        }
        let (members, cursor) = (&self.members, self.cursor);
        let mut ok = |position: usize| acceptable(members[position].slot);
        let position = match (&mut self.way, choice.content_hash) {
            (Way::Content(consistent, _), Some(hash)) => {
                consistent.pick_bounded(members, hash, self.manner.bound, choice.random, &live, &mut ok)
            }
            (Way::Content(_, fallback), None) => {
                fallback.pick(members, cursor, choice, self.manner.bound, &live, &mut ok)
            }
            (way, _) => way.pick(members, cursor, choice, self.manner.bound, &live, &mut ok),
        }?;
        self.last = Some(members[position].id);
        self.cursor = position + 1;
        Some(members[position].slot)
    }
}

impl Way {
    fn of(manner: Manner) -> Way {
        match manner.scheduler {
            Scheduler::RoundRobin => Way::Turn,
            Scheduler::Weighted => Way::Weighted(Turns::default()),
            Scheduler::LeastConn => Way::LeastConn,
            Scheduler::Random => Way::Random(Vec::new()),
            Scheduler::SourceHash => Way::Source(Box::default()),
            // A fallback that needs a request as well is refused by the contract; taking turns ends the chain.
            Scheduler::UrlHash | Scheduler::CookieHash if manner.fallback.needs_content() => Way::Turn,
            Scheduler::UrlHash | Scheduler::CookieHash => {
                Way::Content(Box::default(), Box::new(Way::of(Manner { scheduler: manner.fallback, ..manner })))
            }
        }
    }

    fn set_members(&mut self, members: &[Member]) {
        match self {
            Way::Turn | Way::LeastConn => {}
            Way::Weighted(turns) => turns.set_members(members.iter().map(|m| (m.id.0, m.weight))),
            Way::Random(totals) => {
                totals.clear();
                totals.extend(members.iter().scan(0u64, |total, member| {
                    *total += u64::from(member.weight);
                    Some(*total)
                }));
            }
            Way::Source(consistent) => consistent.members_changed(members),
            Way::Content(consistent, fallback) => {
                consistent.members_changed(members);
                fallback.set_members(members);
            }
        }
    }

    /// The position of the member chosen without a request.
    fn pick(
        &mut self,
        members: &[Member],
        cursor: usize,
        choice: Choice,
        bound: Option<LoadFactor>,
        live: &impl Fn(u32) -> u32,
        ok: &mut impl FnMut(usize) -> bool,
    ) -> Option<usize> {
        match self {
            // A fallback is never one of content itself.
            Way::Turn | Way::Content(..) => in_turn(cursor, members.len()).find(|position| ok(*position)),
            Way::LeastConn => least_conn(members, cursor, choice.random, live, ok),
            Way::Weighted(turns) => turns.take(ok),
            Way::Random(totals) => random(totals, choice.random, ok),
            Way::Source(consistent) => {
                consistent.pick_bounded(members, choice.source_hash, bound, choice.random, live, ok)
            }
        }
    }
}

/// All positions, beginning at `cursor`.
fn in_turn(cursor: usize, count: usize) -> impl Iterator<Item = usize> {
    (cursor.min(count)..count).chain(0..cursor.min(count))
}

/// The acceptable member with the fewest live connections per weight; the first of them in turn. In a large group,
/// of the window's; if nobody there is acceptable, the first one beyond it who is.
fn least_conn(
    members: &[Member],
    cursor: usize,
    random: u64,
    live: impl Fn(u32) -> u32,
    mut ok: impl FnMut(usize) -> bool,
) -> Option<usize> {
    let from = if members.len() <= SCAN_MAX { cursor } else { below(random, members.len() as u64) as usize };
    let mut best: Option<(usize, u64, u64)> = None;
    for (seen, position) in in_turn(from, members.len()).enumerate() {
        if seen >= SCAN_MAX && best.is_some() {
            break;
        }
        let (count, weight) = (u64::from(live(members[position].slot)), u64::from(members[position].weight));
        // count / weight < best_count / best_weight, without dividing.
        let fewer = best.is_none_or(|(_, best_count, best_weight)| count * best_weight < best_count * weight);
        if fewer && ok(position) {
            best = Some((position, count, weight));
        }
    }
    best.map(|(position, ..)| position)
}

/// Draws by weight until an acceptable member comes up. After a few draws in vain, goes through all members once and
/// chooses among the acceptable ones by weight: the same distribution.
fn random(totals: &[u64], random: u64, mut ok: impl FnMut(usize) -> bool) -> Option<usize> {
    let total = *totals.last()?;
    for draw in 0..DRAWS {
        let ticket = below(maglev::mix(random.wrapping_add(draw)), total);
        let position = totals.partition_point(|up_to| *up_to <= ticket);
        if ok(position) {
            return Some(position);
        }
    }
    // Reservoir of one: each newcomer of weight w displaces the one held with probability w / (weights so far).
    let (mut chosen, mut sum, mut before) = (None, 0, 0);
    for (position, up_to) in totals.iter().enumerate() {
        let weight = up_to - before;
        before = *up_to;
        if ok(position) {
            sum += weight;
            let toss = maglev::mix(random ^ maglev::mix(!(position as u64)));
            if below(toss, sum) < weight {
                chosen = Some(position);
            }
        }
    }
    chosen
}

/// Maps 64 random bits to 0 .. `bound` (Lemire, "Fast random integer generation in an interval", 2019, without the
/// rejection step: the bias is below bound / 2^64).
fn below(random: u64, bound: u64) -> u64 {
    ((u128::from(random) * u128::from(bound)) >> 64) as u64
}

/// How many live connections a member of weight 1 may have with one more among the members: the factor times the
/// average, as a fraction. Of a large group the average is that of a window.
fn allowance(members: &[Member], factor: LoadFactor, random: u64, live: impl Fn(u32) -> u32) -> (u64, u64) {
    let from = if members.len() <= SCAN_MAX { 0 } else { below(random, members.len() as u64) as usize };
    let (mut load, mut weight) = (0, 0);
    for position in in_turn(from, members.len()).take(SCAN_MAX) {
        load += u64::from(live(members[position].slot));
        weight += u64::from(members[position].weight);
    }
    (u64::from(factor.hundredths()) * (load + 1), 100 * weight)
}

/// A hashing scheduler: a Maglev table that serves and perhaps its successor.
#[derive(Debug, Clone, Default)]
struct Consistent {
    serving: Option<Table>,
    /// Of each of the serving table's members, where it is among the members now.
    now_at: Vec<Option<u32>>,
    building: Option<Building>,
    /// Shares and weights of the members now, in order: one table for one set of members.
    wanted: Vec<(u64, u16)>,
    /// Where each of them is among the members.
    positions: Vec<u32>,
    /// What `building` is for, or else `serving`.
    made_for: Vec<(u64, u16)>,
    /// The members are others than those.
    is_stale: bool,
}

impl Consistent {
    fn members_changed(&mut self, members: &[Member]) {
        let mut ordered: Vec<_> = members.iter().zip(0u32..).map(|(m, at)| (m.share, m.weight, at)).collect();
        ordered.sort_unstable();
        self.wanted.clear();
        self.wanted.extend(ordered.iter().map(|(share, weight, _)| (*share, *weight)));
        self.positions.clear();
        self.positions.extend(ordered.iter().map(|(.., at)| *at));
        self.find_members();
        let has_table = self.serving.is_some() || self.building.is_some();
        self.is_stale = !has_table || self.wanted != self.made_for;
    }

    /// Finds the serving table's members among the present ones; if none is left, that table is of no more use.
    fn find_members(&mut self) {
        let shares = self.serving.as_ref().map_or(&[][..], |table| table.shares());
        let find = |share: &u64| self.wanted.binary_search_by_key(share, |(share, _)| *share).ok();
        self.now_at = shares.iter().map(|share| find(share).map(|at| self.positions[at])).collect();
        if self.now_at.iter().all(Option::is_none) {
            self.serving = None;
        }
    }

    /// Builds on, a step; a table that nothing could serve before in one go.
    fn build_on(&mut self) {
        let in_hand = self.building.take().filter(|_| self.serving.is_some() || !self.is_stale);
        let building = match in_hand {
            Some(building) => building,
            None if !self.is_stale => return,
            None => {
                self.is_stale = false;
                self.made_for.clone_from(&self.wanted);
                Building::new(&self.made_for)
            }
        };
        let probes = if self.serving.is_some() { PROBES_PER_PICK } else { usize::MAX };
        match building.step(probes) {
            Progress::Unfinished(building) => self.building = Some(building),
            Progress::Finished(table) => {
                self.serving = Some(table);
                self.find_members();
            }
        }
    }

    /// As [`Consistent::pick`], but passing over those whose load is at the bound, while there are others.
    fn pick_bounded(
        &mut self,
        members: &[Member],
        hash: u64,
        bound: Option<LoadFactor>,
        random: u64,
        live: &impl Fn(u32) -> u32,
        ok: &mut impl FnMut(usize) -> bool,
    ) -> Option<usize> {
        self.build_on();
        let Some(factor) = bound else { return self.pick(members, hash, ok) };
        let (most, of) = allowance(members, factor, random, live);
        let has_room = |position: usize| {
            let Member { weight, slot, .. } = members[position];
            u64::from(live(slot)) * of < most * u64::from(weight)
        };
        self.pick(members, hash, &mut |position| has_room(position) && ok(position))
            .or_else(|| self.pick(members, hash, ok))
    }

    /// The owner of the key's slot, or of the next of its slots; if none of a few is acceptable, the first acceptable
    /// member from a place that depends on the key only.
    fn pick(&self, members: &[Member], hash: u64, ok: &mut impl FnMut(usize) -> bool) -> Option<usize> {
        let by_slot = self
            .serving
            .iter()
            .flat_map(|table| table.owners(hash).take(SLOTS))
            .filter_map(|owner| self.now_at[owner])
            .map(|position| position as usize)
            .find(|position| ok(*position));
        let start = below(maglev::mix(hash), members.len() as u64) as usize;
        by_slot.or_else(|| {
            let rotated = in_turn(start, members.len());
            rotated.map(|at| self.positions[at] as usize).find(|position| ok(*position))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(weights: &[u16]) -> Vec<Member> {
        // Slots differ from positions, so that the two cannot be confused unnoticed.
        (0..)
            .zip(weights)
            .map(|(n, weight)| Member { id: BindingId(n + 1), share: n + 1, weight: *weight, slot: n as u32 + 100 })
            .collect()
    }

    fn picks(chooser: &mut Chooser, count: u64) -> Vec<u32> {
        (0..count).filter_map(|n| chooser.pick(pick(n), |_| 0, |_| true)).collect()
    }

    fn pick(n: u64) -> Choice {
        Choice { source_hash: maglev::mix(n), content_hash: Some(maglev::mix(n)), random: maglev::mix(n ^ 0xabcd) }
    }

    fn counts(picks: &[u32], members: usize) -> Vec<usize> {
        let mut counts = vec![0; members];
        picks.iter().for_each(|slot| counts[*slot as usize - 100] += 1);
        counts
    }

    /// Pearson's statistic against expectations in proportion to `weights`.
    fn chi_square(counts: &[usize], weights: &[u16]) -> f64 {
        let (n, total) = (counts.iter().sum::<usize>() as f64, weights.iter().map(|w| f64::from(*w)).sum::<f64>());
        let square = |(count, weight): (&usize, &u16)| {
            let due = n * f64::from(*weight) / total;
            (*count as f64 - due).powi(2) / due
        };
        counts.iter().zip(weights).map(square).sum()
    }

    #[test]
    fn every_scheduler_takes_whoever_is_acceptable_and_nobody_else() {
        for scheduler in Scheduler::ALL {
            for count in [1, 2, 40, 1500] {
                let mut chooser = Chooser::build(&members(&vec![3; count]), scheduler);
                for only in [100, 100 + count / 2, 99 + count].map(|slot| slot as u32) {
                    let chosen = chooser.pick(pick(u64::from(only)), |_| 1, |slot| slot == only);
                    assert_eq!(chosen, Some(only), "{scheduler} of {count}");
                }
                assert_eq!(chooser.pick(pick(5), |_| 0, |_| false), None, "{scheduler}");
                assert!(chooser.pick(pick(6), |_| 0, |_| true).is_some(), "{scheduler}");
            }
        }
    }

    #[test]
    fn weight_zero_takes_none() {
        for scheduler in Scheduler::ALL {
            let mut chooser = Chooser::build(&members(&[0, 1, 0, 2]), scheduler);
            let counts = counts(&picks(&mut chooser, 1000), 4);
            assert!(counts[0] + counts[2] == 0 && counts[1] > 0 && counts[3] > 0, "{scheduler} {counts:?}");
            assert_eq!(chooser.pick(pick(1), |_| 0, |slot| slot == 100), None, "{scheduler}");
            assert_eq!(picks(&mut Chooser::build(&members(&[0]), scheduler), 3), [0u32; 0], "{scheduler}");
            assert_eq!(picks(&mut Chooser::build(&[], scheduler), 3), [0u32; 0], "{scheduler}");
        }
    }

    #[test]
    fn round_robin_goes_on_over_changes() {
        let all = members(&[9, 1, 5, 1]);
        let mut chooser = Chooser::build(&all, Scheduler::RoundRobin);
        assert_eq!(picks(&mut chooser, 6), [100, 101, 102, 103, 100, 101]);
        // The one whose turn is next leaves; its successor is next. It comes back; it waits for its turn.
        chooser.rebuild(&[all[0], all[1], all[3]], Scheduler::RoundRobin);
        assert_eq!(picks(&mut chooser, 1), [103]);
        chooser.rebuild(&all, Scheduler::RoundRobin);
        assert_eq!(picks(&mut chooser, 4), [100, 101, 102, 103]);
        // Changes at every connection favour nobody.
        let taken: Vec<_> = (0..400)
            .map(|n| {
                chooser.rebuild(&all, Scheduler::RoundRobin);
                chooser.pick(pick(n), |_| 0, |_| true).unwrap()
            })
            .collect();
        assert_eq!(counts(&taken, 4), [100; 4]);
    }

    #[test]
    fn round_robin_stays_even_when_one_is_full() {
        let mut chooser = Chooser::build(&members(&[1; 4]), Scheduler::RoundRobin);
        let taken: Vec<_> = (0..300).filter_map(|n| chooser.pick(pick(n), |_| 0, |slot| slot != 102)).collect();
        assert_eq!(counts(&taken, 4), [100, 100, 0, 100]);
    }

    #[test]
    fn weighted_is_exact() {
        let weights = [1000, 10, 1, 250];
        let mut chooser = Chooser::build(&members(&weights), Scheduler::Weighted);
        assert_eq!(counts(&picks(&mut chooser, 1261 * 3), 4), [3000, 30, 3, 750]);
    }

    #[test]
    fn random_follows_weights() {
        let weights = [1, 2, 3, 10, 100];
        let mut chooser = Chooser::build(&members(&weights), Scheduler::Random);
        let fit = chi_square(&counts(&picks(&mut chooser, 200_000), 5), &weights);
        // 4 degrees of freedom: above 23.5 in one of 10,000 seeds, and the seed is fixed.
        assert!(fit < 23.5, "chi-square {fit}");
    }

    #[test]
    fn random_follows_weights_when_most_are_full() {
        let weights = vec![4; 997].into_iter().chain([1, 2, 3]).collect::<Vec<_>>();
        let mut chooser = Chooser::build(&members(&weights), Scheduler::Random);
        let taken: Vec<_> = (0..60_000).filter_map(|n| chooser.pick(pick(n), |_| 0, |slot| slot >= 1097)).collect();
        let fit = chi_square(&counts(&taken, 1000)[997..], &[1, 2, 3]);
        // 2 degrees of freedom, one of 10,000.
        assert!(fit < 18.4, "chi-square {fit}");
    }

    #[test]
    fn least_conn_is_the_minimum_and_ties_go_in_turn() {
        let weights = [1, 2, 4, 1, 3];
        let mut chooser = Chooser::build(&members(&weights), Scheduler::LeastConn);
        let mut live = [0u32; 5];
        for n in 0..5000u64 {
            // Any connection may end at any time.
            let ending = (maglev::mix(n) % 5) as usize;
            if maglev::mix(n) & 0x100 == 0 {
                live[ending] = live[ending].saturating_sub(1);
            }
            let chosen = chooser.pick(pick(n), |slot| live[slot as usize - 100], |_| true).unwrap() as usize - 100;
            let load = |m: usize| f64::from(live[m]) / f64::from(weights[m]);
            assert!((0..5).all(|m| load(chosen) <= load(m)), "{chosen} of {live:?}");
            live[chosen] += 1;
        }
        let mut even = Chooser::build(&members(&[1; 4]), Scheduler::LeastConn);
        assert_eq!(picks(&mut even, 6), [100, 101, 102, 103, 100, 101]);
    }

    #[test]
    fn least_conn_of_a_large_group_stays_even() {
        let count = 4 * SCAN_MAX;
        let mut chooser = Chooser::build(&members(&vec![1; count]), Scheduler::LeastConn);
        let mut live = vec![0u32; count];
        for n in 0..5 * count as u64 {
            let chosen = chooser.pick(pick(n), |slot| live[slot as usize - 100], |_| true).unwrap() as usize;
            live[chosen - 100] += 1;
        }
        let (most, least) = (live.iter().max().unwrap(), live.iter().min().unwrap());
        assert!(most - least <= 2, "{least} to {most}, mean 5");
    }

    #[test]
    fn a_client_meets_the_same_real_while_others_come_and_go() {
        let all = members(&[1; 20]);
        let owners = |chooser: &mut Chooser| picks(chooser, 5000);
        let mut chooser = Chooser::build(&all, Scheduler::SourceHash);
        let before = owners(&mut chooser);
        assert_eq!(owners(&mut chooser), before);
        let without: Vec<_> = all.iter().copied().filter(|member| member.slot != 107).collect();
        chooser.rebuild(&without, Scheduler::SourceHash);
        let (during, after) = (owners(&mut chooser), owners(&mut chooser));
        for (n, real) in before.iter().enumerate().take(300) {
            // The old table serves: only clients of the one that left move.
            assert!(during[n] == *real || *real == 107, "client {n} moved from {real} to {}", during[n]);
        }
        let moved = before.iter().zip(&after).filter(|(old, new)| old != new).count();
        assert!(!after.contains(&107) && moved as f64 <= 5000.0 * 2.2 / 20.0, "{moved} clients moved");
        let fresh = owners(&mut Chooser::build(&without, Scheduler::SourceHash));
        assert_eq!(after, fresh, "built bit by bit or at once, it is the same table");
        chooser.rebuild(&all, Scheduler::SourceHash);
        owners(&mut chooser);
        assert_eq!(owners(&mut chooser), before, "it came back");
    }

    #[test]
    fn source_hash_survives_the_loss_of_every_member() {
        let all = members(&[1; 4]);
        let (left, right) = all.split_at(2);
        let mut chooser = Chooser::build(left, Scheduler::SourceHash);
        assert_eq!(picks(&mut chooser, 100).len(), 100);
        for now in [right, &[], right, left, &all] {
            chooser.rebuild(now, Scheduler::SourceHash);
            let taken = picks(&mut chooser, 2000);
            assert_eq!(taken.len(), if now.is_empty() { 0 } else { 2000 });
            assert!(taken.iter().all(|slot| now.iter().any(|member| member.slot == *slot)));
        }
        let counts = counts(&picks(&mut chooser, 40_000), 4);
        assert!(counts.iter().all(|count| (9_600..10_400).contains(count)), "{counts:?}");
    }

    #[test]
    fn another_scheduler_takes_over() {
        let all = members(&[1, 3]);
        let mut chooser = Chooser::build(&all, Scheduler::RoundRobin);
        picks(&mut chooser, 3);
        chooser.rebuild(&all, Scheduler::Weighted);
        assert_eq!(counts(&picks(&mut chooser, 40), 2), [10, 30]);
    }
}
