//! The bars for hashing: how even, how little moves, how bounded, and that switches agree.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use acm_switch::acm::rules::share::{Claim, shares};
use acm_switch::acm::rules::{HashOptions, LoadFactor};
use acm_switch::acm::words::{Group, Scheduler};
use acm_switch::base::hash::fixed;
use acm_switch::base::id::BindingId;
use acm_switch::plane::schedule::{Choice, Chooser, Member};
use proptest::prelude::*;

/// A switch's group of these reals, which it numbers in the order they came.
struct Switch {
    chooser: Chooser,
    reals: Vec<SocketAddr>,
}

fn url_hash(bound: Option<f64>) -> Group {
    let bounded_load = bound.map(|factor| LoadFactor::new(factor).unwrap());
    let hash = HashOptions { bounded_load, ..HashOptions::default() };
    Group { hash, ..Group::scheduled_by(Scheduler::UrlHash) }
}

impl Switch {
    fn new(came: &[SocketAddr], group: &Group) -> Switch {
        let ids: BTreeMap<_, _> = came.iter().zip(0..).map(|(real, id)| (*real, BindingId(id))).collect();
        let claims = ids.keys().map(|real| Claim { real: *real, identity: None, stays: true });
        let members: Vec<_> = ids
            .values()
            .zip(shares(claims))
            .zip(0u32..)
            .map(|((id, share), slot)| Member { id: *id, share, weight: 1, slot })
            .collect();
        Switch { chooser: Chooser::build(&members, group), reals: ids.into_keys().collect() }
    }

    fn pick(&mut self, key: u64, live: impl Fn(u32) -> u32) -> SocketAddr {
        let choice = Choice { source_hash: 0, content_hash: Some(key), random: 3 };
        self.reals[self.chooser.pick(choice, live, |_| true).unwrap() as usize]
    }

    fn owners(&mut self) -> Vec<SocketAddr> {
        keys().map(|key| self.pick(key, |_| 0)).collect()
    }
}

const KEYS: u64 = 400_000;

fn keys() -> impl Iterator<Item = u64> {
    (0..KEYS).map(|n| fixed(format!("/item/{n}?size=large").as_bytes()))
}

fn hosts(count: u8) -> Vec<SocketAddr> {
    (1..=count).map(|n| SocketAddr::new([10, 0, 0, n].into(), 8080)).collect()
}

/// Several instances on each of a few hosts.
fn instances(hosts: u8, each: u16) -> Vec<SocketAddr> {
    (1..=hosts).flat_map(|n| (0..each).map(move |at| SocketAddr::new([10, 0, 0, n].into(), 8000 + at))).collect()
}

#[test]
fn shares_are_even_to_a_hundredth() {
    // The table itself: every slot once. Keys spread over slots as chance has it, and more keys come closer.
    for reals in [hosts(3), hosts(10), hosts(50), instances(5, 2)] {
        let mut switch = Switch::new(&reals, &url_hash(None));
        let mut counts = BTreeMap::new();
        for slot in 0..65_537u64 {
            *counts.entry(switch.pick(slot_key(slot), |_| 0)).or_insert(0u32) += 1;
        }
        let due = 65_537.0 / reals.len() as f64;
        let worst = counts.values().map(|count| (f64::from(*count) / due - 1.0).abs()).fold(0.0, f64::max);
        assert!(worst <= 0.01, "{} reals: {worst:.4} off", reals.len());
        let mut counts = BTreeMap::new();
        switch.owners().into_iter().for_each(|real| *counts.entry(real).or_insert(0u32) += 1);
        let due = KEYS as f64 / reals.len() as f64;
        // Four standard deviations of a binomial count beside the hundredth.
        let tolerance = 0.01 + 4.0 / due.sqrt();
        assert!(counts.values().all(|count| (f64::from(*count) / due - 1.0).abs() <= tolerance), "{counts:?}");
    }
}

/// A key whose first slot is this one: found by trying, once for all slots.
fn slot_key(slot: u64) -> u64 {
    use std::sync::OnceLock;
    static KEYS_OF: OnceLock<Vec<u64>> = OnceLock::new();
    KEYS_OF.get_or_init(|| {
        let mut of = vec![None; 65_537];
        let mut left = of.len();
        // The same finaliser as the table's (SplitMix64), written out: the test would notice another one as unevenness.
        let mix = |key: u64| {
            let z = key.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^ (z >> 31)
        };
        for key in 0.. {
            let place = &mut of[(mix(key) % 65_537) as usize];
            if place.is_none() {
                *place = Some(key);
                left -= 1;
                if left == 0 {
                    break;
                }
            }
        }
        of.into_iter().flatten().collect()
    })[slot as usize]
}

fn moved(before: &[SocketAddr], after: &[SocketAddr]) -> f64 {
    before.iter().zip(after).filter(|(old, new)| old != new).count() as f64 / before.len() as f64
}

#[test]
fn a_removal_moves_little_more_than_it_must() {
    for all in [hosts(2), hosts(3), hosts(10), hosts(50), instances(1, 10), instances(5, 2), instances(10, 4)] {
        let before = Switch::new(&all, &url_hash(None)).owners();
        for gone in [0, all.len() / 2, all.len() - 1] {
            let mut rest = all.clone();
            let removed = rest.remove(gone);
            let share = moved(&before, &Switch::new(&rest, &url_hash(None)).owners());
            let bar = 2.2 / all.len() as f64;
            // One that stood for a host with others passes its share on, and the next one's moves as well.
            let stood_for_others = all.iter().filter(|real| real.ip() == removed.ip()).min() == Some(&removed)
                && rest.iter().any(|real| real.ip() == removed.ip());
            let bar = if stood_for_others { bar + 1.1 / all.len() as f64 } else { bar };
            assert!(share <= bar, "{} reals without {removed}: {share:.4} moved, {bar:.4} allowed", all.len());
        }
    }
}

#[test]
fn a_server_that_comes_back_on_another_port_keeps_its_share() {
    let all = hosts(10);
    let before = Switch::new(&all, &url_hash(None)).owners();
    let mut other = all.clone();
    other[3].set_port(41_234);
    let after = Switch::new(&other, &url_hash(None)).owners();
    assert!(before.iter().zip(&after).all(|(old, new)| old.ip() == new.ip()));
}

#[test]
fn switches_agree_whatever_the_order_in_which_servers_came() {
    for reals in [hosts(7), instances(3, 3)] {
        let mut reversed = reals.clone();
        reversed.reverse();
        let (mut one, mut two) = (Switch::new(&reals, &url_hash(None)), Switch::new(&reversed, &url_hash(None)));
        assert_eq!(one.owners(), two.owners());
        // Unless somebody is at the bound, bounded switches make the same first choice as well.
        let mut bounded = Switch::new(&reals, &url_hash(Some(1.25)));
        for key in keys().take(10_000) {
            assert_eq!(bounded.pick(key, |_| 0), one.pick(key, |_| 0));
        }
    }
}

#[test]
fn a_hot_key_makes_no_hot_server_when_bounded() {
    for (count, factor) in [(4, 1.25), (10, 1.25), (10, 2.0)] {
        let mut switch = Switch::new(&hosts(count), &url_hash(Some(factor)));
        let mut live = vec![0u32; usize::from(count)];
        let hot = fixed(b"/hot");
        // Half of all requests are for one URL, none ends.
        for (n, key) in keys().take(10_000).enumerate() {
            let loads = live.clone();
            let real = switch.pick(if n % 2 == 0 { hot } else { key }, |slot| loads[slot as usize]);
            live[switch.reals.iter().position(|at| *at == real).unwrap()] += 1;
            let most = f64::from(*live.iter().max().unwrap());
            let average = (n + 1) as f64 / f64::from(count);
            assert!(most <= (average * factor).ceil(), "{live:?} after {}", n + 1);
        }
        // The hot key is on few servers, not on all.
        let unbounded = Switch::new(&hosts(count), &url_hash(None)).pick(hot, |_| 0);
        assert_eq!(switch.pick(hot, |_| 0), unbounded);
    }
}

#[test]
fn a_bound_refuses_nobody() {
    let mut switch = Switch::new(&hosts(3), &url_hash(Some(1.01)));
    let choice = Choice { source_hash: 0, content_hash: Some(7), random: 3 };
    // Only the most loaded one is acceptable: it is taken.
    assert_eq!(switch.chooser.pick(choice, |slot| if slot == 1 { 1000 } else { 0 }, |slot| slot == 1), Some(1));
}

#[test]
fn without_a_key_the_fallback_chooses() {
    let hash = HashOptions { fallback: Scheduler::RoundRobin, ..HashOptions::default() };
    let group = Group { hash, ..Group::scheduled_by(Scheduler::CookieHash) };
    let mut switch = Switch::new(&hosts(3), &group);
    let choice = Choice { source_hash: 0, content_hash: None, random: 3 };
    let taken: Vec<_> = (0..6).filter_map(|_| switch.chooser.pick(choice, |_| 0, |_| true)).collect();
    assert_eq!(taken, [0, 1, 2, 0, 1, 2]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20))]

    /// Any servers, added in any order on two switches: every key goes to the same one.
    #[test]
    fn any_two_switches_agree(
        reals in proptest::collection::btree_set((1..6u8, 8000..8004u16), 1..12),
        order in any::<proptest::sample::Index>(),
    ) {
        let reals: Vec<_> = reals.into_iter().map(|(host, port)| SocketAddr::new([10, 0, 0, host].into(), port)).collect();
        let mut rotated = reals.clone();
        rotated.rotate_left(order.index(reals.len()));
        let (mut one, mut two) = (Switch::new(&reals, &url_hash(None)), Switch::new(&rotated, &url_hash(None)));
        for key in keys().take(2000) {
            prop_assert_eq!(one.pick(key, |_| 0), two.pick(key, |_| 0));
        }
    }
}
