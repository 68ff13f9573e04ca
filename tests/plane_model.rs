//! The plane against models and statistics: the flow table against a map, Drop's shares over 100,000 attempts, and
//! arbitrary and damaged frames, which must neither panic nor leave anything behind.

#![allow(missing_docs, unreachable_pub, dead_code)]

#[path = "packet_table/rig.rs"]
mod rig;

use std::collections::HashMap;
use std::net::SocketAddr;

use acm_switch::acm::words::{DropMode, DropPolicy, Refusal};
use acm_switch::base::addr::Protocol;
use acm_switch::base::fraction::Fraction;
use acm_switch::plane::Verdict;
use acm_switch::plane::flow_table::{Endpoint, Flow, FlowTable, Side};
use proptest::prelude::*;
use rig::*;

const V: &str = "10.0.0.100:80";
const ATTEMPTS: u32 = 100_000;

/// Client `n`: 100,000 different addresses and ports.
fn client(n: u32) -> String {
    format!("10.1.{}.{}:{}", n / 50 / 250, 1 + n / 50 % 250, 1024 + n % 50)
}

fn with_drop(fraction: f64, mode: DropMode) -> Rig {
    let mut rig = Rig::with_flows(1 << 17);
    rig.service(V, |service| {
        let fraction = Fraction::new(fraction).unwrap();
        service.drops.push_back(DropPolicy {
            from: None,
            fraction,
            mode,
            refusal: Refusal::Silent,
            until: None,
            salt: 7,
        });
    });
    rig.bind(V, "10.0.0.11:8080", 1, |_| {});
    rig
}

fn syn(rig: &mut Rig, from: &str) -> bool {
    rig.sent.clear();
    rig.client(tcp(from, V, "S", 100, 0, 0)) == Verdict::Forwarded
}

#[test]
fn shed_admits_its_share_and_keeps_its_verdicts() {
    for fraction in [0.1, 0.5, 0.9] {
        let mut rig = with_drop(fraction, DropMode::Shed);
        let mut admitted = 0;
        for n in 0..ATTEMPTS {
            let from = client(n);
            let verdict = syn(&mut rig, &from);
            admitted += u32::from(verdict);
            if n % 10 == 0 {
                assert!((0..3).all(|_| syn(&mut rig, &from) == verdict), "a retried SYN meets the same verdict");
            }
        }
        let share = f64::from(admitted) / f64::from(ATTEMPTS);
        assert!((share - (1.0 - fraction)).abs() <= 0.005, "fraction {fraction}: admitted {share}");
    }
}

#[test]
fn queue_tosses_a_coin_for_each_syn() {
    for fraction in [0.1, 0.5, 0.9] {
        let mut rig = with_drop(fraction, DropMode::Queue);
        let dropped = (0..ATTEMPTS).filter(|n| !syn(&mut rig, &client(*n))).count();
        let share = dropped as f64 / f64::from(ATTEMPTS);
        assert!((share - fraction).abs() <= 0.005, "fraction {fraction}: dropped {share}");
        // Whoever keeps trying gets in: the coins of one client are independent.
        let stubborn = (0..100).filter(|n| (0..200).any(|_| syn(&mut rig, &format!("10.9.0.1:{}", 2000 + n)))).count();
        assert_eq!(stubborn, 100);
    }
}

#[test]
fn admitted_connections_never_lose_a_packet() {
    for mode in [DropMode::Shed, DropMode::Queue] {
        let mut rig = with_drop(0.9, mode);
        let admitted: Vec<String> = (0..5_000).map(client).filter(|from| syn(&mut rig, from)).collect();
        assert!(admitted.len() > 300);
        for from in &admitted {
            let answer = rig.server(1, tcp("10.0.0.11:8080", from, "SA", 500, 101, 0));
            assert_eq!(answer, Verdict::Forwarded);
            for seq in [101, 201, 301] {
                assert_eq!(rig.client(tcp(from, V, "PA", seq, 501, 100)), Verdict::Forwarded);
            }
            assert!(syn(&mut rig, from), "its own SYN again");
        }
    }
}

#[test]
fn a_changed_policy_tosses_anew() {
    let mut rig = with_drop(0.5, DropMode::Shed);
    let first: Vec<bool> = (0..1000).map(|n| syn(&mut rig, &client(n))).collect();
    let mut other = with_drop(0.5, DropMode::Shed);
    other.service(V, |service| service.drops.iter_mut().for_each(|policy| policy.salt = 8));
    let second: Vec<bool> = (0..1000).map(|n| syn(&mut other, &client(n))).collect();
    let same = first.iter().zip(&second).filter(|(first, second)| first == second).count();
    assert!((400..600).contains(&same), "{same} of 1000 verdicts are the same");
}

/// What a test does to a flow table.
#[derive(Debug, Clone)]
enum Step {
    Insert(u8),
    Remove(u8),
    Find(u8),
}

fn step() -> impl Strategy<Value = Step> {
    // Few keys, so that they meet; the capacity is smaller still.
    prop_oneof![
        any::<u8>().prop_map(Step::Insert),
        any::<u8>().prop_map(Step::Remove),
        any::<u8>().prop_map(Step::Find)
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_flow_table_is_a_map(steps in proptest::collection::vec(step(), 0..400), secret: [u64; 2]) {
        const CAPACITY: usize = 96;
        let mut table = FlowTable::new(CAPACITY, secret);
        let mut map = HashMap::new();
        let endpoint = |n: u8| Endpoint::from(SocketAddr::from(([10, 0, 0, n], 1000)));
        let other = Endpoint::from(SocketAddr::from(([10, 0, 1, 1], 80)));
        for step in steps {
            let (Step::Insert(n) | Step::Remove(n) | Step::Find(n)) = step;
            let client = endpoint(n);
            let hashes = [Side::Client, Side::Server].map(|side| table.hash(side, client, other, Protocol::Tcp));
            let found = hashes.map(|hash| table.find(hash, |flow| flow.client() == client));
            prop_assert_eq!(found, [map.get(&n).copied(); 2]);
            let touched = table.touch_flow(hashes[0]);
            let checked = table.check(touched, |flow| flow.client() == client);
            prop_assert!(checked.is_none() || checked == found[0]);
            match (step, map.get(&n).copied()) {
                (Step::Insert(_), None) => {
                    match table.insert(Flow::new(client, Protocol::Tcp, 0, 0, u32::from(n)), hashes[0], hashes[1]) {
                        Ok(id) => drop(map.insert(n, id)),
                        Err(_) => prop_assert_eq!(map.len(), CAPACITY),
                    }
                }
                (Step::Remove(_), Some(id)) => {
                    table.remove(id, hashes[0], hashes[1]);
                    map.remove(&n);
                }
                _ => {}
            }
            prop_assert_eq!(table.len(), map.len());
        }
        for (n, id) in map {
            prop_assert_eq!(table.get(id).seen, u32::from(n));
        }
    }

    #[test]
    fn arbitrary_frames_do_no_harm(frames in proptest::collection::vec((0u16..4, proptest::collection::vec(any::<u8>(), 0..200)), 1..50)) {
        let mut rig = Rig::web(2);
        for (port, frame) in frames {
            rig.hear(port, &frame);
        }
        prop_assert_eq!(rig.plane.flows(), 0);
        prop_assert!(rig.client(tcp("10.0.0.1:9", V, "S", 1, 0, 0)) == Verdict::Forwarded, "and the service is served");
    }

    #[test]
    fn damaged_segments_do_no_harm(damages in proptest::collection::vec((0usize..80, any::<u8>(), 0usize..90, any::<bool>()), 1..60)) {
        let mut rig = Rig::web(2);
        rig.established("10.0.0.1:40000");
        for (at, byte, length, from_client) in damages {
            let mut frame = match from_client {
                true => build_tcp(CLIENT, SWITCH, tcp("10.0.0.1:40000", V, "PA", 101, 501, 20)),
                false => build_tcp(server_mac(1), CLIENT, tcp("10.0.0.11:8080", "10.0.0.1:40000", "PA", 501, 101, 20)),
            };
            let at = at % frame.len();
            frame[at] = byte;
            frame.truncate(length.max(1));
            rig.hear(u16::from(!from_client), &frame);
            rig.poll();
        }
        prop_assert!(rig.plane.flows() <= 61);
        prop_assert!(rig.client(tcp("10.0.0.1:9", V, "S", 1, 0, 0)) == Verdict::Forwarded);
    }
}
