//! Worlds with a TLS service: the hello says where a connection goes, everything behind it passes as it is.

use std::time::Duration;

use acm_switch::acm::rules::*;
use acm_switch::acm::words::*;

use super::changes::Change;
use super::client::Carrier;
use super::dialogue::{Ending, Errand};
use super::hello::{Hello, NAMES};
use super::raw::Style;
use super::seeds::{
    PATIENT, all_seeds, ask, carrier, changes, errand, narrow, place, run, seed_to_replay, style, trouble,
};
use super::talk::{Ask, AskId, Due};
use super::world::{Place, Plan, plain_service};

/// Groups, as names in hellos.
const GROUPS: [&str; 3] = ["default", "shop", "images"];

fn service() -> Service {
    let rule = |name: &str, host: &str, then: Action| Rule {
        name: name.parse().expect("a name"),
        when: vec![Condition::Sni(host.into())],
        case: Case::Sensitive,
        then,
    };
    let group = |name: &str| Action::Group(name.parse().expect("a name"));
    let mut service = plain_service();
    service.content = Content::Tls;
    service.rules = [
        rule("gone", "gone.example", Action::Reset),
        rule("shop", "shop.example", group("shop")),
        rule("images", "*.example", group("images")),
    ]
    .into();
    // `*.example` is also default.example: that one comes first.
    service.rules = [&[rule("own", "default.example", group("default"))][..], &service.rules[..]].concat().into();
    for name in GROUPS {
        service.groups.insert(name.parse().expect("a name"), Group::default());
    }
    service
}

/// The group of a path's first part; a hello without a name, and none at all, belong to `default`.
fn alive(path: &str, places: &[Place]) -> Vec<u32> {
    let group = path.split('/').nth(1).unwrap_or_default();
    let is_its = |(n, place): (usize, &Place)| {
        (place.group == group && !place.is_absent && !place.is_shut).then_some(n as u32 + 1)
    };
    places.iter().enumerate().filter_map(is_its).collect()
}

/// What one client says, and to whom.
fn hello(client: u32, places: &[Place], coins: &mut fastrand::Rng) -> (Option<Hello>, String, Due) {
    let known = ["default", "shop", "images", ""];
    let name = known[coins.usize(0..4)];
    let path = format!("/{}/{}", if name.is_empty() { "default" } else { name }, client);
    let servers = alive(&path, places);
    let (name, due) = match coins.u8(0..8) {
        0 => ("gone", Due::Reset),
        1 => ("a b", Due::Alert),
        _ if servers.is_empty() => ("gone", Due::Reset),
        _ => (name, Due::From(servers)),
    };
    let padding = [0, 100, 1_000, 9_000][coins.usize(0..4)];
    let record = [40, 500, 16_000][coins.usize(0..3)];
    let name = NAMES.iter().position(|known| *known == name).expect("one of them");
    let hello = Hello { client, name, padding, record };
    // Who says none is a stranger, and goes where the default action says.
    let says = !(NAMES[name].is_empty() && coins.bool());
    (says.then_some(hello), path, due)
}

fn tls(seed: u64) -> Plan {
    let mut coins = fastrand::Rng::with_seed(seed ^ 0x0715_5eed);
    let coins = &mut coins;
    let (front, back) = (trouble(coins), trouble(coins));
    let mut places = vec![place("default", coins)];
    for _ in 0..coins.usize(1..=4) {
        places.push(place(GROUPS[coins.usize(0..3)], coins));
    }
    if coins.u8(0..10) == 0 {
        places[0].aborts = Some((1, coins.usize(0..5_000)));
    }
    let changes = if coins.u8(0..4) == 0 { changes(0, &places, coins) } else { vec![] };
    let is_cut = changes.iter().any(|(.., change)| *change == Change::Cut);
    // Where there is no server TLS has no words for it: it resets.
    let may_be_silent = !changes.is_empty() || back.loss > 0.0 || back.way.1.max(front.way.1) > 20_000;
    let may_be_reset = places[0].aborts.is_some() || is_cut || may_be_silent;
    let patience = if coins.u8(0..4) == 0 { Duration::from_secs(coins.u64(30..90)) } else { PATIENT };
    let may_be_late = patience < PATIENT && (front.loss > 0.0 || front.late > 0.0);
    let mut clients = vec![];
    for client in 0..coins.u32(1..=3) {
        let (hello, path, due) = hello(client, &places, coins);
        let asks: Vec<Ask> = (0..coins.u32(1..=4))
            .map(|number| ask(AskId { client, number }, due.clone(), path.clone(), coins))
            .collect();
        let mut errand = Errand { hello, may_be_reset, may_be_late, ..errand(client, asks, coins) };
        let is_refused = !matches!(due, Due::From(_));
        if is_refused && errand.ending == Ending::HalfCloses {
            errand.ending = Ending::Closes;
        }
        let mut carrier = carrier(coins);
        if coins.u8(0..12) == 0 {
            errand.anything_goes = true;
            carrier = Carrier::Raw(Style { lies: true, ..style(coins) });
        } else if patience < PATIENT && hello.is_some() && coins.bool() {
            let may_say_nothing = front.loss == 0.0 && matches!(carrier, Carrier::Smoltcp(_));
            // The shortest hello has 57.
            let bytes = coins.usize(usize::from(!may_say_nothing)..50);
            errand.asks.truncate(1);
            errand.asks[0].due = if bytes == 0 { Due::Closed } else { Due::Alert };
            (errand.stalls, errand.ending) = (Some((0, bytes)), Ending::Closes);
        }
        clients.push((errand, carrier));
    }
    Plan {
        seed,
        kind: "tls",
        front,
        back,
        clients,
        changes,
        patience,
        allowed: alive,
        hashes: |_| false,
        places,
        service: service(),
        narrow: narrow(coins),
        in_batches: coins.bool(),
        whole: coins.bool(),
    }
}

/// A quarter of the seeds.
#[test]
fn tls_seeds() {
    all_seeds(4, tls);
}

/// Replays the seed of `ACM_SIM_SEED`, telling what happens; else seed 1, quietly.
#[test]
fn one_tls_seed() {
    run(tls(seed_to_replay().unwrap_or(1)), seed_to_replay().is_some()).must_be_right();
}
