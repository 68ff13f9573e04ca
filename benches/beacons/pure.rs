//! In memory: the machine alone, with a switch that does everything at once.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use acm_switch::acm::list::Listing;
use acm_switch::acm::primitive::{Done as Outcome, Tenure};
use acm_switch::base::id::Generation;
use acm_switch::base::time::Time;
use acm_switch::beacon::key::{Grant, KeyId};
use acm_switch::beacon::message::{NodeId, Role};
use acm_switch::manager::desk::{Done, Job};
use acm_switch::manager::machine::{Action, Manager, Setup, To};
use acm_switch::manager::timing::Timing;

use super::crowd::{Crowd, ring};
use super::{micros, report};

const AGENTS: usize = 10_000;

fn manager() -> Manager {
    let managers = Grant { managers: [NodeId(1)].into(), ..Grant::default() };
    let vips = || vec!["10.0.0.0/16".parse().expect("a range")];
    let agents = Grant { vips: vips(), reals: vec!["10.0.0.0/8".parse().expect("a net")], ..Grant::default() };
    let setup = Setup {
        node: NodeId(1),
        ring: ring([(1, managers), (2, agents)]),
        sign_with: KeyId(1),
        owner: "comics".parse().expect("a name"),
        timing: Timing::normal(),
        switches: vec![("sw-1".parse().expect("a name"), vips())],
        boot: 1,
        seed: 1,
    };
    Manager::new(setup, Time::ZERO).expect("its key is there")
}

/// Does what the manager wants, at once; what it says to all goes to the crowd.
fn serve(manager: &mut Manager, crowd: &mut Crowd, now: Time) {
    loop {
        let actions = manager.actions();
        if actions.is_empty() {
            return;
        }
        for action in actions {
            match action {
                Action::Job(switch, job) => manager.job_done(switch, done(*job), now),
                Action::Send(To::All, bytes) => crowd.hear(&bytes, now),
                _ => {}
            }
        }
    }
}

fn done(job: Job) -> Done {
    let outcome = || Ok(Outcome { generation: Generation(1), binding: None, changed: true, cut: None });
    match job {
        Job::Connect => Done::Connect(Ok(())),
        Job::Claim => Done::Claim(Ok(Tenure { epoch: 1, manager: "manager-1".parse().expect("a name") })),
        Job::List(_) => {
            Done::List(Ok(Listing { generation: Generation(1), services: Vec::new(), bindings: Vec::new() }))
        }
        Job::Apply { list, .. } => Done::Apply(Ok(list.iter().map(|_| outcome()).collect())),
    }
}

/// A leader and a crowd that it does not know yet.
fn leader(each: usize) -> (Manager, Crowd, Time) {
    let mut manager = manager();
    let mut now = Time::ZERO;
    let mut crowd = Crowd::new(AGENTS, each, Duration::from_secs(10), now);
    while manager.role() != Role::Leading || !crowd.is_heard() {
        now = manager.next_deadline(now).max(now + Duration::from_micros(1));
        manager.tick(now);
        serve(&mut manager, &mut crowd, now);
    }
    (manager, crowd, now)
}

/// One beacon of each agent; the time for each, sealing left out.
fn round(manager: &mut Manager, crowd: &mut Crowd, now: Time) -> Duration {
    let from = SocketAddr::from(([127, 0, 0, 1], 5000));
    let beacons: Vec<_> = (0..crowd.agents()).map(|agent| crowd.beacon(agent, now)).collect();
    let before = manager.totals().beacons;
    let begin = Instant::now();
    for beacon in &beacons {
        manager.datagram(beacon, from, now);
        serve(manager, crowd, now);
    }
    let took = begin.elapsed() / beacons.len() as u32;
    assert_eq!(manager.totals().beacons - before, beacons.len() as u64, "all are taken up: {:?}", manager.counters());
    took
}

pub(crate) fn run() {
    println!("In memory, {AGENTS} agents");
    for each in [1, 8] {
        let (mut manager, mut crowd, now) = leader(each);
        let cold = round(&mut manager, &mut crowd, now + Duration::from_millis(1));
        let what = format!("a first beacon, {each} to it, with the Adds");
        let bar = |most: u64| (each == 1).then(|| cold <= Duration::from_micros(most)).map(|met| (met, "20 us"));
        report(&what, &micros(cold), bar(20));
        let rounds = (1..=5).map(|n| round(&mut manager, &mut crowd, now + Duration::from_millis(1 + n)));
        let busy = rounds.min().expect("some");
        report(
            &format!("a beacon that repeats, {each} to it"),
            &micros(busy),
            Some((busy <= Duration::from_micros(10), "10 us")),
        );
    }
    junk();
}

/// What a datagram costs that is refused.
fn junk() {
    let (mut manager, mut crowd, now) = leader(1);
    let from = SocketAddr::from(([127, 0, 0, 1], 5000));
    let good = crowd.beacon(0, now);
    manager.datagram(&good, from, now);
    let mut forged = good.clone();
    forged[60] ^= 1;
    for (what, bytes) in [("foreign bytes", &vec![7; 300]), ("a forged tag", &forged), ("a replay", &good)] {
        let begin = Instant::now();
        for _ in 0..100_000 {
            manager.datagram(bytes, from, now);
        }
        report(&format!("refused: {what}"), &micros(begin.elapsed() / 100_000), None);
    }
}
