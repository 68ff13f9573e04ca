//! `acm manager` and `acm managers` as processes, over loopback: two managers, a served model switch, an agent.

#![allow(missing_docs, clippy::disallowed_methods)]

#[path = "../manager_sim/agent.rs"]
mod agent;
#[path = "../support/agents.rs"]
mod agents;
mod hostile;
mod rig;

use std::time::Duration;

use acm_switch::beacon::message::Withdrawal;
use rig::{Network, Rig};
use serde_json::Value;

/// Waits until it holds.
fn until(what: &str, patience: Duration, mut holds: impl FnMut() -> bool) {
    let end = std::time::Instant::now() + patience;
    while !holds() {
        assert!(std::time::Instant::now() < end, "not within {patience:?}: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

const PATIENCE: Duration = Duration::from_secs(20);

fn leader(rig: &Rig) -> Option<u64> {
    let report = rig.managers()?;
    let leads = |one: &&Value| one["role"] == "leading";
    let mut leaders = report["managers"].as_array()?.iter().filter(leads).filter_map(|one| one["node"].as_u64());
    leaders.next().filter(|_| leaders.next().is_none())
}

fn leads_alone(rig: &Rig) -> u64 {
    let mut found = None;
    until("one manager leads", PATIENCE, || {
        found = leader(rig);
        found.is_some()
    });
    found.expect("it was found")
}

/// A service comes, its manager dies, the switch forgets, the service goes.
fn a_life(network: Network) {
    let mut rig = Rig::start(network);
    let first = leads_alone(&rig);
    let web = rig.agent(0);
    until("the agent is answered", PATIENCE, || web.is_acknowledged());
    assert_eq!(rig.table(), ["10.0.0.100:80 -> 10.1.0.11:8080"]);

    rig.kill(first);
    let second = leads_alone(&rig);
    assert_ne!(first, second);
    assert_eq!(rig.table(), ["10.0.0.100:80 -> 10.1.0.11:8080"], "its death moved nothing");
    let more = rig.agent(1);
    until("the successor answers", PATIENCE, || more.is_acknowledged());
    assert_eq!(rig.table().len(), 2);

    rig.forget();
    until("the switch is filled again", PATIENCE, || rig.table().len() == 2);

    more.withdraw(Withdrawal::Drain { deadline: Some(Duration::from_secs(5)) });
    until("the agent's farewell is answered", PATIENCE, || more.is_acknowledged());
    assert_eq!(rig.table(), ["10.0.0.100:80 -> 10.1.0.11:8080"]);
    let report = rig.managers().expect("it answers");
    let leading = report["managers"].as_array().unwrap().iter().find(|one| one["role"] == "leading").unwrap();
    assert_eq!(leading["switches"][0]["name"], "sw-1");
    assert!(leading["switches"][0]["epoch"].as_u64().unwrap() >= 1, "{leading}");
    assert_eq!(leading["bindings"], 2);
    assert!(rig.ends_well(second), "SIGTERM ends it in the orderly way");
}

#[test]
fn a_life_by_unicast() {
    a_life(Network::Peers);
}

#[test]
fn a_life_by_multicast() {
    match Network::multicast() {
        Ok(network) => a_life(network),
        Err(why) => println!("SKIPPED: no multicast on loopback here: {why}"),
    }
}

#[test]
fn enemies_change_nothing_and_are_counted() {
    let mut rig = Rig::start(Network::Peers);
    rig.kill(2);
    leads_alone(&rig);
    let web = rig.agent(0);
    until("the agent is answered", PATIENCE, || web.is_acknowledged());
    let before = rig.table();
    let recorded = web.recorded();
    rig.shout(&[0; 1401]);
    rig.shout(b"short");
    rig.shout(&[7; 300]);
    for bytes in &recorded {
        // Once more is what the network may do to any datagram, also to one that did not arrive; twice is a replay.
        rig.shout(bytes);
        rig.shout(bytes);
        rig.shout(&bytes[..bytes.len() - 1]);
        let mut forged = bytes.clone();
        forged[60] ^= 1;
        rig.shout(&forged);
    }
    let counter = |name: &str| {
        let report = rig.managers()?;
        report["managers"][0]["counters"][name].as_u64()
    };
    for (cause, least) in [
        ("refused.short", 1),
        ("refused.long", 1),
        ("refused.magic", 1),
        ("refused.bad-tag", 2 * recorded.len() as u64),
        ("refused.replayed", recorded.len() as u64),
    ] {
        until(cause, PATIENCE, || counter(cause).is_some_and(|count| count >= least));
    }
    assert_eq!(rig.table(), before);
}

#[test]
fn keys_rotate_without_a_gap() {
    let mut rig = Rig::start(Network::Peers);
    rig.kill(2);
    leads_alone(&rig);
    let web = rig.agent(0);
    until("the agent is answered", PATIENCE, || web.is_acknowledged());
    rig.add_key();
    let new = rig.agent_with_key(1, 4);
    until("the new key is believed", PATIENCE, || new.is_acknowledged());
    assert_eq!(rig.table().len(), 2);
    assert_eq!(leads_alone(&rig), 1, "it led all the time");
}
