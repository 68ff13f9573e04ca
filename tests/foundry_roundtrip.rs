//! Round trip: random primitives through driver, command line and emulated box, and back by List, equal to the model in
//! everything the command line can express. In memory and in virtual time; with and without quirks of the box.

#![allow(missing_docs, unreachable_pub, clippy::disallowed_methods)]

mod ironware;

use std::net::SocketAddr;
use std::time::Duration;

use acm_switch::acm::error::AcmError;
use acm_switch::acm::list::{Filter, Listing, State};
use acm_switch::acm::model::ModelSwitch;
use acm_switch::acm::primitive::{Add, Caller, ForceRemove, Outcome, Primitive, Remove, RemoveService, SetService};
use acm_switch::acm::switch::{AcmSwitch, perform};
use acm_switch::acm::words::{HealthProfile, Scheduler, ServiceKey};
use acm_switch::driver::foundry::switch::FoundrySwitch;
use ironware::Iron;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use switch_sim::personality::Personality;
use switch_sim::shell::Transport;

const SERVICES: [&str; 6] = [
    "10.0.0.100:80",
    "10.0.0.100:443",
    "10.0.0.101:80",
    "10.0.0.101:5353/udp",
    "[2001:db8::100]:80",
    "10.0.0.100:5353/udp",
];
const REALS: [&str; 7] = [
    "10.0.0.11:80",
    "10.0.0.11:8080",
    "10.0.0.12:8080",
    "10.0.0.13:5353",
    "10.0.0.13:443",
    "[2001:db8::11]:8080",
    "10.0.0.100:80",
];

fn service() -> impl Strategy<Value = ServiceKey> {
    prop::sample::select(&SERVICES[..]).prop_map(|text| text.parse().unwrap())
}

fn real() -> impl Strategy<Value = SocketAddr> {
    prop::sample::select(&REALS[..]).prop_map(|text| text.parse().unwrap())
}

fn add() -> impl Strategy<Value = Primitive> {
    let weight = prop::option::weighted(0.3, prop::sample::select(vec![0u16, 1, 2, 7, 1000]));
    let max_conns = prop::option::weighted(0.2, prop::sample::select(vec![1u32, 500, 2_000_000]));
    let health = prop::option::weighted(
        0.3,
        prop::sample::select(vec![
            HealthProfile::default(),
            HealthProfile::link_only(),
            HealthProfile { rise: 9, ..HealthProfile::default() },
        ]),
    );
    (service(), real(), weight, max_conns, health).prop_map(|(service, real, weight, max_conns, health)| {
        Primitive::Add(Add { weight, max_conns, health, ..Add::new(service, real) })
    })
}

fn primitive() -> impl Strategy<Value = Primitive> {
    let pair = || (service(), real());
    let scheduler = prop::option::of(prop::sample::select(&Scheduler::ALL[..]));
    prop_oneof![
        8 => add(),
        4 => pair().prop_map(|(service, real)| Primitive::Remove(Remove { service, real, deadline: None })),
        2 => pair().prop_map(|(service, real)| Primitive::ForceRemove(ForceRemove { service, real })),
        2 => (service(), scheduler).prop_map(|(service, scheduler)| {
            Primitive::SetService(SetService { scheduler, ..SetService::new(service) })
        }),
        1 => service().prop_map(|service| Primitive::RemoveService(RemoveService { service })),
    ]
}

/// What of a List the command line can express.
fn expressible(listing: &Listing) -> Vec<String> {
    let services = listing.services.iter().map(|row| {
        let groups: Vec<_> = row.groups.iter().map(|row| format!("{} {}", row.group, row.scheduler)).collect();
        format!("{} {groups:?}", row.service)
    });
    let bindings = listing.bindings.iter().map(|row| {
        format!(
            "{} {} w{} m{:?} {} {:?} {}",
            row.key, row.group, row.weight, row.max_conns, row.owner, row.health.depth, row.connections
        )
    });
    services.chain(bindings).collect()
}

/// The kind of an outcome: two switches need not use the same words.
fn kind(outcome: &Outcome) -> String {
    match outcome {
        Ok(done) => format!("ok, changed: {}, cut: {:?}", done.changed, done.cut),
        Err(AcmError::Invalid { field, .. }) => format!("invalid {field}"),
        Err(AcmError::NotFound { .. }) => "not found".into(),
        Err(AcmError::Exists { .. }) => "exists".into(),
        Err(other) => format!("{other:?}"),
    }
}

/// How a run went, so that the test can see that it tested something.
#[derive(Debug, Default)]
struct Tally {
    performed: usize,
    unsupported: usize,
    lost: usize,
}

/// Whether the box may lose calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Box {
    Sound,
    Faulty,
}

struct Trip {
    driver: FoundrySwitch,
    model: ModelSwitch,
    sort: Box,
    tally: Tally,
}

impl Trip {
    /// The driver's outcome. A call that was lost is made again, as a manager would after a List.
    async fn drive(&mut self, primitive: &Primitive) -> Outcome {
        let mut lost = false;
        for _ in 0..20 {
            let outcome = perform(&self.driver, &Caller::default(), primitive.clone()).await;
            match outcome {
                Err(AcmError::Unreachable { .. } | AcmError::Timeout { .. }) if self.sort == Box::Faulty => {
                    self.tally.lost += 1;
                    lost = true;
                    tokio::time::sleep(Duration::from_secs(31)).await;
                }
                // The lost call may have done it.
                Err(AcmError::NotFound { .. }) if lost => {
                    return Ok(acm_switch::acm::primitive::Done {
                        generation: Default::default(),
                        binding: None,
                        changed: true,
                        cut: None,
                    });
                }
                other => return other,
            }
        }
        panic!("lost twenty times: {primitive:?}");
    }

    async fn list(&mut self) -> Listing {
        for _ in 0..20 {
            match self.driver.list(&Filter::default()).await {
                Ok(listing) => return listing,
                Err(why) if self.sort == Box::Sound => panic!("List: {why}"),
                Err(_) => {
                    self.tally.lost += 1;
                    tokio::time::sleep(Duration::from_secs(31)).await;
                }
            }
        }
        panic!("List was lost twenty times");
    }

    async fn step(&mut self, primitive: &Primitive) -> Result<(), TestCaseError> {
        let ours = self.drive(primitive).await;
        if matches!(ours, Err(AcmError::Unsupported { .. })) {
            self.tally.unsupported += 1;
        } else {
            self.tally.performed += 1;
            let wanted = perform(&self.model, &Caller::default(), primitive.clone()).await;
            match self.sort {
                Box::Sound => prop_assert_eq!(kind(&ours), kind(&wanted), "{:?}", primitive),
                Box::Faulty => {
                    prop_assert_eq!(ours.is_ok(), wanted.is_ok(), "{:?}: {:?}, {:?}", primitive, ours, wanted)
                }
            }
        }
        let (ours, wanted) = (self.list().await, self.model.list(&Filter::default()).await.unwrap());
        prop_assert_eq!(expressible(&ours), expressible(&wanted), "after {:?}", primitive);
        Ok(())
    }
}

async fn trip(iron: Iron, sort: Box, primitives: Vec<Primitive>) -> Result<Tally, TestCaseError> {
    let running = iron.start();
    let (driver, model) = (running.driver(), ModelSwitch::default());
    let mut trip = Trip { driver, model, sort, tally: Tally::default() };
    for primitive in &primitives {
        trip.step(primitive).await?;
    }
    // Given time, checks end, and everything is in force.
    tokio::time::sleep(Duration::from_secs(60)).await;
    let listing = trip.list().await;
    prop_assert!(listing.bindings.iter().all(|row| row.state == State::Active), "{:?}", listing.bindings);
    // A driver that knows nothing reads the same from the box.
    let stranger = running.driver();
    if sort == Box::Sound {
        let read = stranger.list(&Filter::default()).await.map_err(|why| TestCaseError::fail(why.to_string()))?;
        prop_assert_eq!(expressible(&read), expressible(&listing));
    }
    Ok(trip.tally)
}

fn iron() -> impl Strategy<Value = Iron> {
    let personality = prop::sample::select(&Personality::ALL[..]);
    let transport = prop::sample::select(vec![Transport::Telnet, Transport::Ssh]);
    (personality, transport, any::<u64>())
        .prop_map(|(personality, transport, seed)| Iron { seed, ..Iron::new(personality).over(transport) })
}

/// Quirks that a driver must live with, a few at a time.
fn quirks() -> impl Strategy<Value = Vec<&'static str>> {
    prop::sample::subsequence(
        vec![
            "slow-output=5ms",
            "byte-wise-output=1ms@for=20s",
            "swallow-input=2%",
            "blank-lines=20%",
            "cr-and-lf",
            "pager-stuck",
            "half-open=20000@count=1",
            "disconnect-after=30000@count=2",
            "notice-in-prompt",
            "late-deletion=700ms",
            "config-session-busy@count=1",
            "config-warning=2",
            "truncated-table@chance=0.05",
            "aw-states=3s",
            "slow-command=2s@chance=0.05",
        ],
        0..=4,
    )
}

fn run(cases: u32, strategy: impl Strategy<Value = (Iron, Vec<Primitive>)>, sort: Box) -> Tally {
    let mut runner =
        TestRunner::new(Config { cases, failure_persistence: None, max_shrink_time: 20_000, ..Config::default() });
    let sum = std::cell::RefCell::new(Tally::default());
    let result = runner.run(&strategy, |(iron, primitives)| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        // An hour of the box's time is more than any of this takes; whoever waits longer waits for ever.
        let limit = Duration::from_secs(3600);
        let tally = runtime.block_on(async { tokio::time::timeout(limit, trip(iron, sort, primitives)).await });
        let tally = tally.map_err(|_| TestCaseError::fail("no end"))??;
        let mut sum = sum.borrow_mut();
        sum.performed += tally.performed;
        sum.unsupported += tally.unsupported;
        sum.lost += tally.lost;
        Ok(())
    });
    if let Err(why) = result {
        panic!("{why}");
    }
    sum.into_inner()
}

#[test]
fn random_primitives_come_back_as_the_model_has_them() {
    let tally = run(10_000, (iron(), prop::collection::vec(primitive(), 1..12)), Box::Sound);
    assert!(tally.performed > 20_000 && tally.unsupported > 1_000, "{tally:?}");
    println!("{tally:?}");
}

#[test]
fn random_primitives_survive_random_quirks() {
    let faulty = (iron(), quirks())
        .prop_map(|(iron, quirks)| Iron { quirks: quirks.into_iter().map(str::to_owned).collect(), ..iron });
    let tally = run(2_000, (faulty, prop::collection::vec(primitive(), 1..12)), Box::Faulty);
    assert!(tally.performed > 2_000 && tally.lost > 0, "{tally:?}");
    println!("{tally:?}");
}
