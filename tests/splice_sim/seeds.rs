//! Random worlds.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use acm_switch::base::time::Time;

use super::changes::Change;
use super::client::Carrier;
use super::dialogue::{Cookies, Ending, Errand};
use super::host::Manner;
use super::raw::Style;
use super::road::Trouble;
use super::talk::{Ask, AskId, Body, Due};
use super::world::{Place, Plan, World, plain_service};

/// Where no deadline shall be met: even the slowest have their turn.
pub(crate) const PATIENT: Duration = Duration::from_secs(900);

/// How a network is: fine, or bad in some ways.
pub(crate) fn trouble(coins: &mut fastrand::Rng) -> Trouble {
    if coins.u8(0..5) == 0 {
        return Trouble::NONE;
    }
    let share = |coins: &mut fastrand::Rng, shares: [f64; 3]| shares[coins.usize(0..3)];
    let slow = [500, 5_000, 60_000][coins.usize(0..3)];
    Trouble {
        loss: share(coins, [0.0, 0.02, 0.1]),
        duplicates: share(coins, [0.0, 0.02, 0.1]),
        late: share(coins, [0.0, 0.05, 0.3]),
        split: share(coins, [0.0, 0.1, 0.5]),
        merge: share(coins, [0.0, 0.3, 0.9]),
        way: (slow / 2, slow),
    }
}

pub(crate) fn manner(coins: &mut fastrand::Rng) -> Manner {
    let sizes = [600, 3_000, 20_000, 100_000];
    let wraps = coins.bool();
    let first_isn = if wraps { u32::MAX - coins.u32(0..3000) } else { coins.u32(..) };
    Manner {
        frame_max: [400, 576, 1000, 1514, 1514][coins.usize(0..5)],
        receive: sizes[coins.usize(0..4)],
        send: sizes[coins.usize(0..4)],
        scale: coins.u8(0..4) > 0,
        timestamps: coins.bool(),
        clock: clock(coins),
        first_isn,
    }
}

/// A clock somewhere, often about to wrap.
fn clock(coins: &mut fastrand::Rng) -> u32 {
    if coins.bool() { u32::MAX - coins.u32(0..3000) } else { coins.u32(..) }
}

pub(crate) fn style(coins: &mut fastrand::Rng) -> Style {
    Style {
        isn: if coins.bool() { u32::MAX - coins.u32(0..3000) } else { coins.u32(..) },
        mss: [536, 1000, 1460][coins.usize(0..3)],
        scale: [None, Some(0), Some(7)][coins.usize(0..3)],
        sack: coins.bool(),
        timestamps: coins.bool(),
        clock: clock(coins),
        window: [600, 5_000, 65_535][coins.usize(0..3)],
        piece: [1, 5, 100, 500][coins.usize(0..4)],
        spread: Duration::from_millis([0, 1, 300][coins.usize(0..3)]),
        again: [2, 5, 255][coins.usize(0..3)],
        lies: false,
        eager: coins.bool(),
    }
}

/// Most clients are smoltcp's.
pub(crate) fn carrier(coins: &mut fastrand::Rng) -> Carrier {
    if coins.u8(0..3) == 0 { Carrier::Raw(style(coins)) } else { Carrier::Smoltcp(manner(coins)) }
}

pub(crate) fn size(coins: &mut fastrand::Rng) -> usize {
    match coins.u8(0..8) {
        0 => 0,
        1..=4 => coins.usize(0..300),
        5 | 6 => coins.usize(0..6_000),
        _ => coins.usize(0..30_000),
    }
}

pub(crate) fn body(coins: &mut fastrand::Rng) -> Body {
    if coins.bool() { Body::Length(size(coins)) } else { Body::Chunked(size(coins)) }
}

pub(crate) fn ask(id: AskId, due: Due, path: String, coins: &mut fastrand::Rng) -> Ask {
    let method = ["GET", "GET", "POST", "HEAD"][coins.usize(0..4)];
    let padding = "x".repeat(if coins.u8(0..6) == 0 { coins.usize(0..3000) } else { 0 });
    Ask {
        id,
        method,
        path,
        headers: if padding.is_empty() { String::new() } else { format!("Padding: {padding}\r\n") },
        upload: if method == "POST" { body(coins) } else { Body::None },
        answer: if coins.u8(0..6) == 0 { Body::None } else { body(coins) },
        interim: coins.u8(0..8) == 0,
        closes: false,
        due,
    }
}

pub(crate) fn errand(client: u32, asks: Vec<Ask>, coins: &mut fastrand::Rng) -> Errand {
    let mut asks = asks;
    if let Some(last) = asks.last_mut()
        && coins.u8(0..4) == 0
    {
        last.closes = true;
        if last.method != "HEAD" && coins.bool() {
            last.answer = Body::UntilClose(size(coins));
        }
    }
    let ending = match coins.u8(0..12) {
        0 | 1 => Ending::Aborts(Duration::from_micros(coins.u64(0..3_000_000))),
        2 => Ending::Vanishes,
        3 | 4 => Ending::HalfCloses,
        _ => Ending::Closes,
    };
    Errand {
        hello: None,
        asks,
        stalls: None,
        pipeline: [1, 1, 1, 2, 5][coins.usize(0..5)],
        thinks: Duration::from_micros([0, 0, 10_000, 700_000][coins.usize(0..4)]),
        starts: Time::from_millis(1010 + u64::from(client) * coins.u64(0..300)),
        ending,
        may_be_reset: false,
        may_hear_nothing: false,
        may_be_refused: false,
        may_be_late: false,
        anything_goes: false,
        cookies: Cookies::None,
        leaving: vec![],
    }
}

/// Most paths take what Ethernet takes.
pub(crate) fn narrow(coins: &mut fastrand::Rng) -> (Option<usize>, Option<usize>) {
    let mut side = || if coins.u8(0..6) == 0 { Some([600, 1000, 1400][coins.usize(0..3)]) } else { None };
    (side(), side())
}

/// Some bindings, from the one of this number on, are removed, by force or not, and most of them come back.
pub(crate) fn changes(first: usize, places: &[Place], coins: &mut fastrand::Rng) -> Vec<(Time, usize, Change)> {
    let mut changes = vec![];
    for _ in 0..coins.usize(1..=3) {
        let n = coins.usize(first..places.len());
        let within = [300, 3_000, 20_000][coins.usize(0..3)];
        let at = Time::from_millis(1000 + coins.u64(0..within));
        changes.push((at, n, if coins.bool() { Change::Drain } else { Change::Cut }));
        if coins.u8(0..3) > 0 {
            changes.push((at + Duration::from_millis(coins.u64(1..4_000)), n, Change::Add));
        }
    }
    changes.sort_by_key(|(at, ..)| *at);
    changes
}

pub(crate) fn place(group: &'static str, coins: &mut fastrand::Rng) -> Place {
    Place { group, manner: manner(coins), is_known: coins.bool(), is_absent: false, is_shut: false, aborts: None }
}

/// An L4 service: whoever answers first answers all.
fn plain(seed: u64) -> Plan {
    let mut coins = fastrand::Rng::with_seed(seed ^ 0x5eed);
    let coins = &mut coins;
    let mut places: Vec<Place> = (0..coins.usize(1..=3)).map(|_| place("default", coins)).collect();
    if coins.u8(0..8) == 0 {
        places[0].aborts = Some((1, coins.usize(0..5_000)));
    }
    // The first stays: who finds no server at all is not told so.
    let changes = if places.len() > 1 && coins.u8(0..4) == 0 { changes(1, &places, coins) } else { vec![] };
    let is_cut = changes.iter().any(|(.., change)| *change == Change::Cut);
    let may_be_reset = places[0].aborts.is_some() || is_cut;
    let (front, back) = (trouble(coins), trouble(coins));
    // A RST is said once to who is cut, and again only to who speaks soon.
    let may_hear_nothing = is_cut && (front.loss > 0.0 || front.late > 0.0);
    let everyone: Vec<u32> = (1..=places.len() as u32).collect();
    let clients = (0..coins.u32(1..=3)).map(|client| {
        let asks = (0..coins.u32(1..=5))
            .map(|number| ask(AskId { client, number }, Due::From(everyone.clone()), "/".into(), coins))
            .collect();
        (Errand { may_be_reset, may_hear_nothing, ..errand(client, asks, coins) }, carrier(coins))
    });
    Plan {
        seed,
        kind: "plain",
        clients: clients.collect(),
        allowed: |_, places| (1..=places.len() as u32).collect(),
        hashes: |_| false,
        front,
        back,
        places,
        changes,
        patience: PATIENT,
        service: plain_service(),
        narrow: narrow(coins),
        in_batches: coins.bool(),
        whole: coins.bool(),
    }
}

pub(crate) fn run(plan: Plan, trace: bool) -> World {
    let mut world = World::new(plan, trace);
    world.live();
    world
}

/// Runs the seeds of a test, or a share of them, and tells of every one that fails.
pub(crate) fn all_seeds(share: u64, plan: fn(u64) -> Plan) {
    let seeds: u64 = std::env::var("ACM_SIM_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(10_000);
    let next = AtomicU64::new(0);
    let worker = || {
        let mut faults = vec![];
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds / share {
                return faults;
            }
            faults.extend(run(plan(seed), false).fault());
        }
    };
    let faults = std::thread::scope(|scope| {
        let other = scope.spawn(worker);
        let mut faults = worker();
        faults.extend(other.join().unwrap_or_else(|why| std::panic::resume_unwind(why)));
        faults
    });
    assert!(faults.is_empty(), "{} of {} seeds\n{}", faults.len(), seeds / share, faults.join("\n"));
}

/// The harness itself, on what is known to work: a tenth of the seeds.
#[test]
fn plain_seeds() {
    all_seeds(10, plain);
}

/// The seed of `ACM_SIM_SEED`.
pub(crate) fn seed_to_replay() -> Option<u64> {
    std::env::var("ACM_SIM_SEED").ok().and_then(|text| text.parse().ok())
}

/// Replays the seed of `ACM_SIM_SEED`, telling what happens; else seed 1, quietly.
#[test]
fn one_plain_seed() {
    run(plain(seed_to_replay().unwrap_or(1)), seed_to_replay().is_some()).must_be_right();
}
