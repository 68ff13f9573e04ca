//! Many reals: loss and flapping against a plain count of rise and fall, sharing, bursts, and what silence costs.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use acm_switch::acm::words::{Health, HealthDepth, HealthProfile, HttpCheck};
use acm_switch::base::addr::Protocol;
use acm_switch::base::id::BindingId;
use acm_switch::base::span::Span;
use acm_switch::health::Target;

use crate::world::{Port, Real, World};

const MS: Duration = Duration::from_millis(1);
const SEC: Duration = Duration::from_secs(1);

/// The obvious reference: counts results in a row.
#[derive(Clone, Copy)]
struct Count {
    up: Option<bool>,
    row: u32,
}

impl Count {
    fn after(mut self, passed: bool, rise: u32, fall: u32) -> Count {
        let needed = match (self.up, passed) {
            (None, true) => 1,
            (Some(false), true) => rise,
            (_, false) => fall,
            (Some(true), true) => u32::MAX,
        };
        let against = self.up != Some(passed);
        self.row = if against { self.row + 1 } else { 0 };
        if self.up.is_none() && passed {
            self.row = 1;
        }
        if against && self.row >= needed {
            self = Count { up: Some(passed), row: 0 };
        }
        self
    }
}

/// 1,000 reals that open and close their port at random between checks. Each SYN a real sees is one check whose result
/// the real decides, so every verdict can be counted independently.
#[test]
fn rise_and_fall_are_exact_for_a_thousand_flapping_reals() {
    const REALS: u16 = 1000;
    let (rise, fall) = (2u32, 3u32);
    for seed in [3, 4] {
        let mut world = World::new(seed);
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut counts = BTreeMap::new();
        for n in 1..=REALS {
            world.add(Real::new(n, Port::Open));
            world.watch(n, Protocol::Tcp, &HealthProfile::default());
            counts.insert(n, (Count { up: None, row: 0 }, 0, 0));
        }
        let mut changes = 0u64;
        // Shorter than half an interval, so that no real sees two checks within one slice.
        for _ in 0..120 {
            for n in 1..=REALS {
                if rng.f64() < 0.3 {
                    let open = rng.bool();
                    world.real(n).port = if open { Port::Open } else { Port::Closed };
                }
            }
            world.run(250 * MS);
            for n in 1..=REALS {
                let real = world.real(n);
                let (syns, passed) = (real.saw("syn"), matches!(real.port, Port::Open));
                let (count, seen, _) = counts.get_mut(&n).unwrap();
                assert!(syns - *seen <= 1);
                if syns > *seen {
                    *seen = syns;
                    let before = count.up;
                    *count = count.after(passed, rise, fall);
                    changes += u64::from(before != count.up);
                }
                let said = match world.health(u64::from(n)) {
                    Health::Passing => Some(true),
                    Health::Failing(_) => Some(false),
                    Health::Unknown(_) => None,
                };
                assert_eq!(said, counts[&n].0.up, "real {n} at {:?}, seed {seed}", world.now);
            }
        }
        assert!(changes > 2000, "{changes} changes, seed {seed}");
        let told = world.findings.iter().filter(|(_, finding)| !matches!(finding.health, Health::Unknown(_))).count();
        assert_eq!(told as u64, changes, "one finding for each change, and none without");
    }
}

#[test]
fn loss_delays_and_decides_nothing_for_long() {
    for seed in 0..4 {
        let mut world = World::new(seed);
        world.loss = 0.1;
        for n in 1..=250 {
            world.add(Real::new(n, Port::Open));
            world.watch(n, Protocol::Tcp, &HealthProfile::default());
        }
        world.run(60 * SEC);
        let up = (1..=250).filter(|&n| *world.health(n) == Health::Passing).count();
        assert!(up >= 248, "{up} of 250 with a tenth of the frames lost, seed {seed}");
        world.loss = 0.0;
        for n in 1..=125 {
            world.real(n).port = Port::Silent;
        }
        world.run(30 * SEC);
        for n in 1..=250 {
            let right = match n {
                ..=125 => world.says(n) == format!("failing: TCP connect to 10.1.0.{n}:8080 got no answer within 1s"),
                _ => *world.health(n) == Health::Passing,
            };
            assert!(right, "real {n}: {}, seed {seed}", world.says(n));
        }
    }
}

#[test]
fn bindings_of_one_target_share_its_check() {
    let mut world = World::with(Port::Open);
    let target = Target {
        real: world.real(1).addr(),
        protocol: Protocol::Tcp,
        profile: Arc::new(HealthProfile { interval: Span::secs(2), ..HealthProfile::default() }),
    };
    for id in 0..1000 {
        world.checks.watch(BindingId(id), target.clone(), world.now);
    }
    world.run(20 * SEC);
    assert!((0..1000).all(|id| *world.health(id) == Health::Passing));
    let syns = world.real(1).saw("syn");
    assert!((10..=11).contains(&syns), "{syns} probes for all of them");
    // A late comer takes the verdict there is.
    world.checks.watch(BindingId(5000), target.clone(), world.now);
    world.run(Duration::ZERO);
    assert_eq!(*world.health(5000), Health::Passing);
    world.real(1).port = Port::Closed;
    world.run(10 * SEC);
    assert!((0..1000).chain([5000]).all(|id| matches!(world.health(id), Health::Failing(_))));
    for id in (0..1000).chain([5000]) {
        assert!(world.checks.next_deadline().is_some());
        world.checks.forget(BindingId(id));
    }
    world.run(SEC);
    assert_eq!(world.checks.next_deadline(), None, "nothing is left");
}

#[test]
fn ports_of_one_host_share_arp_and_echo() {
    let mut world = World::with(Port::Open);
    let ip = world.real(1).ip;
    for port in 1..=500u16 {
        world.watch_as(u64::from(port), (ip, port).into(), Protocol::Udp, &HealthProfile::default());
    }
    world.run(990 * MS);
    let real = world.real(1);
    assert_eq!((real.saw("arp-broadcast"), real.saw("echo"), real.saw("udp")), (1, 1, 500));
    world.run(20 * MS);
    assert!((1..=500).all(|id| *world.health(id) == Health::Passing));
    world.run(20 * SEC);
    let (arp, echo) = (world.real(1).saw("arp-unicast"), world.real(1).saw("echo"));
    assert!(arp <= 3 && (10..=25).contains(&echo), "{arp} ARP requests and {echo} echoes in 20 s for 500 checks");
}

/// Ten thousand bindings without health checks whose hosts never answer.
#[test]
fn silence_costs_little() {
    let mut world = World::new(1);
    for n in 0..10_000u32 {
        let ip = std::net::Ipv4Addr::from_bits(0x0a02_0000 + n);
        world.watch_as(u64::from(n), (ip, 80).into(), Protocol::Tcp, &HealthProfile::link_only());
    }
    let polls_before = world.polls;
    world.run(Duration::ZERO);
    assert_eq!(world.sent, 10_000, "every first check ran at once");
    assert!(world.polls - polls_before >= 10_000 / 256, "in bounded bursts");
    world.run(60 * SEC);
    let (sent, polls) = (world.sent, world.polls);
    world.run(60 * SEC);
    let each_second = (world.sent - sent) / 60;
    assert!(each_second < 1000, "{each_second} frames a second");
    assert!((world.polls - polls) < 60_000 * 2, "a poll costs what is due");
    assert!((0..10_000).all(|n| matches!(world.health(n), Health::Failing(_))));
    for n in 0..10_000 {
        world.checks.forget(BindingId(n));
    }
    assert_eq!(world.checks.next_deadline(), None);
}

/// More conversations than may go on at once, among them servers that accept and then say nothing.
#[test]
fn conversations_queue_for_their_turn() {
    let mut world = World::new(1);
    let check = HttpCheck { path: "/".into(), host: None, status: 200, contains: None };
    let profile = HealthProfile { http: Some(check), ..HealthProfile::default() };
    for n in 1..=300 {
        let talks = Port::Http { answer: b"HTTP/1.1 200 OK\r\n\r\n".to_vec(), segment: 1400, fin: true };
        world.add(Real::new(n, if n % 2 == 0 { talks } else { Port::Open }));
        world.watch(n, Protocol::Tcp, &profile);
    }
    world.run(5 * SEC);
    for n in 1..=300 {
        assert_eq!(*world.health(n) == Health::Passing, n % 2 == 0, "real {n}: {}", world.says(n));
    }
    // Forgetting some while they talk or wait loses no place for the others.
    for n in 1..=200 {
        world.checks.forget(BindingId(n));
    }
    world.run(20 * SEC);
    for n in 201..=300 {
        assert_eq!(*world.health(n) == Health::Passing, n % 2 == 0, "real {n}: {}", world.says(n));
    }
}

/// Random orders of watching, re-watching, forgetting, breaking and mending leave nothing behind and end right.
#[test]
fn churn_ends_right() {
    for seed in 0..8 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut world = World::new(seed);
        for n in 1..=40 {
            world.add(Real::new(n, Port::Open));
        }
        let profiles: Vec<_> = [HealthDepth::L2, HealthDepth::L3, HealthDepth::L4]
            .map(|depth| HealthProfile {
                depth,
                interval: Span::millis(500),
                timeout: Span::millis(200),
                ..Default::default()
            })
            .into();
        let mut watched = BTreeMap::new();
        for _ in 0..600 {
            let (binding, n) = (rng.u64(0..80), rng.u16(1..=40));
            match rng.u8(0..4) {
                0 => {
                    world.checks.forget(BindingId(binding));
                    world.told.remove(&BindingId(binding));
                    watched.remove(&binding);
                }
                1 => {
                    let real = world.real(n);
                    (real.arp, real.echo) = (rng.bool(), rng.bool());
                    real.port = if rng.bool() { Port::Open } else { Port::Closed };
                }
                _ => {
                    let addr = world.real(n).addr();
                    let protocol = if rng.bool() { Protocol::Tcp } else { Protocol::Udp };
                    world.watch_as(binding, addr, protocol, rng.choice(&profiles).unwrap());
                    watched.insert(binding, n);
                }
            }
            world.run(rng.u32(0..100) * MS);
        }
        for n in 1..=40 {
            let real = world.real(n);
            (real.arp, real.echo, real.port) = (true, true, Port::Open);
        }
        world.run(30 * SEC);
        for binding in watched.keys() {
            assert_eq!(world.says(*binding), "passing", "binding {binding}, seed {seed}");
        }
        for binding in watched.into_keys() {
            world.checks.forget(BindingId(binding));
        }
        world.run(SEC);
        assert_eq!(world.checks.next_deadline(), None, "seed {seed}");
    }
}
