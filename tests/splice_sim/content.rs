//! Worlds with a content service: each request to the server its rule names, through any trouble.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Duration;

use acm_switch::acm::rules::*;
use acm_switch::acm::words::*;
use acm_switch::base::fraction::Fraction;
use acm_switch::base::time::Time;

use super::changes::Change;
use super::client::Carrier;
use super::dialogue::{Ending, Errand};
use super::raw::{Raw, Style};
use super::road::Trouble;
use super::seeds::{
    PATIENT, all_seeds, ask, carrier, changes, errand, manner, narrow, place, run, seed_to_replay, style, trouble,
};
use super::talk::{Ask, AskId, Body, Due};
use super::world::{PORT, Place, Plan, VIP, World, client_mac, plain_service};

/// Groups, and paths whose requests belong to them; `members` by a cookie.
const GROUPS: [&str; 5] = ["default", "shop", "images", "members", "hashed"];

/// The group of a path, said in another way than by rules.
fn group_of(path: &str) -> &'static str {
    let plain = path.replace("/./", "/").replace("%73", "s").replace("//", "/");
    match plain {
        path if path.starts_with("/shop/") => "shop",
        path if path.ends_with(".jpg") => "images",
        path if path.contains("/hash/") => "hashed",
        path if path == "/account" => "members",
        _ => "default",
    }
}

fn rules() -> Vec<Rule> {
    let rule = |name: &str, when: Condition, then: Action| Rule {
        name: name.parse().expect("a name"),
        when: vec![when],
        case: Case::Sensitive,
        then,
    };
    let group = |name: &str| Action::Group(name.parse().expect("a name"));
    let path = |is: TextMatch| Condition::Path(is);
    let all = Fraction::new(1.0).expect("a share");
    let turned = |refusal| Action::Drop(DropShare { fraction: all, mode: DropMode::Shed, refusal });
    let moved = Redirect { to: "https://{host}/elsewhere".into(), status: 302 };
    let cookie = Named { name: "sid".into(), is: TextMatch::Prefix("m-".into()) };
    vec![
        rule("moved", path(TextMatch::Exact("/moved".into())), Action::Redirect(moved)),
        rule("gone", path(TextMatch::Exact("/gone".into())), Action::Reset),
        rule("full", path(TextMatch::Exact("/full".into())), turned(Turned::Unavailable)),
        rule("shut", path(TextMatch::Exact("/shut".into())), turned(Turned::Reset)),
        rule("shop", path(TextMatch::Prefix("/shop/".into())), group("shop")),
        rule("images", path(TextMatch::Suffix(".jpg".into())), group("images")),
        rule("members", Condition::Cookie(cookie), group("members")),
        rule("hashed", path(TextMatch::Contains("/hash/".into())), group("hashed")),
    ]
}

fn service(switching: Switching) -> Service {
    let mut service = plain_service();
    service.content = Content::Http;
    service.switching = switching;
    service.rules = rules().into();
    for name in GROUPS {
        let scheduler = if name == "hashed" { Scheduler::UrlHash } else { Scheduler::RoundRobin };
        let hash = HashOptions { url: UrlPart::PathOnly, ..HashOptions::default() };
        service.groups.insert(name.parse().expect("a name"), Group { hash, ..Group::scheduled_by(scheduler) });
    }
    service
}

/// The servers of a path's group that are there.
fn alive(group: &str, places: &[Place]) -> Vec<u32> {
    let of_group = |(n, place): (usize, &Place)| {
        (place.group == group && !place.is_absent && !place.is_shut).then_some(n as u32 + 1)
    };
    places.iter().enumerate().filter_map(of_group).collect()
}

/// A request for one of the groups that have a server.
fn switched(id: AskId, places: &[Place], coins: &mut fastrand::Rng) -> Ask {
    let groups: Vec<&str> = GROUPS.into_iter().filter(|group| !alive(group, places).is_empty()).collect();
    let group = groups[coins.usize(0..groups.len())];
    let n = coins.u8(0..6);
    let path = match group {
        "shop" => ["/shop/", "/./shop/", "//shop/", "/%73hop/"][coins.usize(0..4)].to_owned() + &n.to_string(),
        "images" => format!("/{n}.jpg"),
        "hashed" => format!("/x/hash/{n}"),
        "members" => "/account".to_owned(),
        _ => format!("/other/{n}"),
    };
    let mut ask = ask(id, Due::From(alive(group, places)), path, coins);
    let cookie = if group == "members" { "Cookie: a=b; sid=m-7\r\n" } else { "Cookie: sid=x-7\r\n" };
    if group == "members" || coins.bool() {
        ask.headers.push_str(cookie);
    }
    ask
}

/// A request that the switch answers itself, or resets.
fn refused(id: AskId, coins: &mut fastrand::Rng) -> Ask {
    let (path, due) = [
        ("/moved", Due::Switch(302)),
        ("/gone", Due::Reset),
        ("/full", Due::Switch(503)),
        ("/shut", Due::Reset),
        ("/a%2fb", Due::Switch(400)),
        ("/bad", Due::Switch(400)),
    ][coins.usize(0..6)]
    .clone();
    let mut ask = ask(id, due, path.into(), coins);
    (ask.method, ask.upload) = ("GET", Body::None);
    if path == "/bad" {
        ask.headers.push_str(
            ["Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "a : b\r\n", "a: b\nc: d\r\n"][coins.usize(0..3)],
        );
    }
    ask
}

/// The client says a part of the head of one of its requests, and no more.
fn stall(errand: &mut Errand, (first_only, may_say_nothing): (bool, bool), coins: &mut fastrand::Rng) {
    let number = if first_only { 0 } else { coins.usize(0..errand.asks.len()) };
    let ask = &mut errand.asks[number];
    let bytes = coins.usize(usize::from(number > 0 || !may_say_nothing)..20);
    ask.due = if bytes == 0 { Due::Closed } else { Due::Switch(408) };
    errand.asks.truncate(number + 1);
    (errand.stalls, errand.ending) = (Some((number, bytes)), Ending::Closes);
}

fn places(coins: &mut fastrand::Rng) -> Vec<Place> {
    let mut places = vec![place("default", coins)];
    for _ in 0..coins.usize(1..=4) {
        places.push(place(GROUPS[coins.usize(0..5)], coins));
    }
    if coins.u8(0..4) == 0 {
        // Beside one that is alive.
        let group = places.last().expect("two").group;
        let dead = place(group, coins);
        let is_absent = coins.bool();
        places.push(Place { is_absent, is_shut: !is_absent, ..dead });
    }
    places
}

pub(crate) fn content(seed: u64) -> Plan {
    let mut coins = fastrand::Rng::with_seed(seed ^ 0xc0_7e_47);
    let coins = &mut coins;
    let (front, back) = (trouble(coins), trouble(coins));
    let mut places = places(coins);
    if coins.u8(0..10) == 0 {
        places[0].aborts = Some((1, coins.usize(0..5_000)));
    }
    let switching = if coins.u8(0..5) == 0 { Switching::FirstRequest } else { Switching::PerRequest };
    let first_only = switching == Switching::FirstRequest;
    let changes = if coins.u8(0..5) == 0 { changes(0, &places, coins) } else { vec![] };
    let is_cut = changes.iter().any(|(.., change)| *change == Change::Cut);
    let may_be_reset = places[0].aborts.is_some() || is_cut;
    // The switch waits for a server not much longer than a second, before it takes another; and a server may have to ask
    // for the client's station first.
    let may_be_refused = !changes.is_empty() || back.loss > 0.0 || back.way.1.max(front.way.1) > 20_000;
    let patience = if coins.u8(0..6) == 0 { Duration::from_secs(coins.u64(30..90)) } else { PATIENT };
    let may_be_late = patience < PATIENT && (front.loss > 0.0 || front.late > 0.0);
    let mut clients = vec![];
    for client in 0..coins.u32(1..=3) {
        let number = |number| AskId { client, number };
        let mut asks: Vec<Ask> = (0..coins.u32(1..=5)).map(|n| switched(number(n), &places, coins)).collect();
        let refuses = coins.u8(0..6) == 0 && (!first_only || asks.len() == 1);
        let last = asks.len() as u32 - 1;
        if refuses {
            asks.pop();
            asks.push(refused(number(last), coins));
        } else if first_only {
            let due = asks[0].due.clone();
            asks.iter_mut().for_each(|ask| ask.due = due.clone());
        }
        let mut errand = Errand { may_be_reset, may_be_refused, may_be_late, ..errand(client, asks, coins) };
        if refuses && errand.ending == Ending::HalfCloses {
            errand.ending = Ending::Closes;
        }
        let mut carrier = carrier(coins);
        if coins.u8(0..12) == 0 {
            errand.anything_goes = true;
            carrier = Carrier::Raw(Style { lies: true, ..style(coins) });
        }
        if patience < PATIENT && !errand.anything_goes && coins.bool() {
            // An acknowledgement that carries the cookie and is lost was never sent, as far as the switch knows.
            let may_say_nothing = front.loss == 0.0 && matches!(carrier, Carrier::Smoltcp(_));
            stall(&mut errand, (first_only, may_say_nothing), coins);
        }
        clients.push((errand, carrier));
    }
    Plan {
        seed,
        kind: "content",
        changes,
        patience,
        front,
        back,
        clients,
        allowed: if first_only {
            |_, places| (1..=places.len() as u32).collect()
        } else {
            |path, places| alive(group_of(path), places)
        },
        // A server that did not answer in time is replaced, and then a path has two.
        hashes: if may_be_refused || first_only { |_| false } else { |path| path.contains("/hash/") },
        places,
        service: service(switching),
        narrow: narrow(coins),
        in_batches: coins.bool(),
        whole: coins.bool(),
    }
}

/// Ten thousand worlds, unless told otherwise.
#[test]
fn content_seeds() {
    all_seeds(1, content);
}

/// Replays the seed of `ACM_SIM_SEED`, telling what happens; else seed 1, quietly.
#[test]
fn one_content_seed() {
    run(content(seed_to_replay().unwrap_or(1)), seed_to_replay().is_some()).must_be_right();
}

/// The worlds are as rough as they are meant to be: whatever the splice does, some of them make it do.
#[test]
fn everything_happens_in_some_world() {
    let mut sums = BTreeMap::new();
    for seed in 0..600 {
        for (name, count) in run(content(seed), false).plane.counters().iter() {
            *sums.entry(name).or_insert(0) += count;
        }
    }
    for name in [
        "content.accepted",
        "content.rebound",
        "content.reused",
        "content.pipelined",
        "content.resent",
        "content.server_refused",
        "content.server_silent",
        "content.refused",
        "content.redirected",
        "content.dropped",
        "content.reset",
        "content.conflict",
        "drop.content_gap",
        "flow.expired",
        "icmp.translated",
        "content.made_smaller",
    ] {
        assert!(sums.get(name).is_some_and(|sum| *sum > 0), "{name} never happened");
    }
}

/// Clients that say half a head and stall cost what they said until the deadline, and then nothing; another is served as ever.
#[test]
fn half_a_head_is_held_until_the_deadline() {
    let deadline = Duration::from_secs(5);
    let mut coins = fastrand::Rng::with_seed(7);
    let coins = &mut coins;
    let places = vec![place("default", coins)];
    let mut clients = vec![];
    for client in 0..12 {
        let mut ask = switched(AskId { client, number: 0 }, &places, coins);
        let starts = Time::from_millis(1010);
        let plain = Errand { starts, ending: Ending::Closes, pipeline: 1, ..errand(client, vec![], coins) };
        let errand = match client {
            0 => Errand { asks: vec![ask], thinks: Duration::ZERO, ..plain },
            _ => {
                ask.due = Due::Switch(408);
                Errand { stalls: Some((0, 25)), asks: vec![ask], ..plain }
            }
        };
        clients.push((errand, Carrier::Smoltcp(manner(coins))));
    }
    let plan = Plan {
        patience: deadline,
        front: Trouble::NONE,
        narrow: (None, None),
        back: Trouble::NONE,
        clients,
        places,
        changes: vec![],
        ..content(7)
    };
    let mut world = World::new(plan, false);
    world.run_until(Time::from_millis(5_900), |_| false);
    let answered = |world: &World| world.clients.iter().filter(|client| client.dialogue().is_over()).count();
    assert_eq!((answered(&world), world.plane.content_connections()), (1, 12), "one is served, the others wait");
    assert!((11 * 25..11 * 200).contains(&world.plane.content_held()), "{} held", world.plane.content_held());
    world.run_until(Time::from_millis(6_100), |_| false);
    assert_eq!((answered(&world), world.plane.content_held()), (12, 0), "all are told at the deadline");
    world.live();
    world.must_be_right();
}

/// The switch's first number is a cookie and nobody's choice; a client is sought whose answers run over the end of all
/// numbers.
#[test]
fn answers_run_over_the_end_of_the_switchs_own_numbers() {
    let plan = |isn: u32| {
        let mut coins = fastrand::Rng::with_seed(77);
        let coins = &mut coins;
        let places = vec![place("default", coins), place("shop", coins)];
        let style = Style { isn, timestamps: false, spread: Duration::ZERO, ..style(coins) };
        let mut asks = vec![];
        for number in 0..4 {
            let mut ask = switched(AskId { client: 0, number }, &places, coins);
            (ask.method, ask.upload, ask.answer) = ("GET", Body::None, Body::Length(12_000));
            asks.push(ask);
        }
        let errand = Errand { ending: Ending::Closes, ..errand(0, asks, coins) };
        Plan {
            front: Trouble { loss: 0.03, ..trouble(coins) },
            clients: vec![(errand, Carrier::Raw(style))],
            places,
            allowed: |path, places| alive(group_of(path), places),
            hashes: |_| false,
            service: service(Switching::PerRequest),
            ..content(77)
        }
    };
    let mut scout = World::new(plan(0), false);
    scout.now = Time::from_millis(1010);
    let near_the_end = |isn: &u32| {
        let plan = plan(*isn);
        let (errand, Carrier::Raw(style)) = &plan.clients[0] else { panic!("a raw client") };
        let own = (client_mac(0), Ipv4Addr::new(10, 1, 0, 1), 40_000);
        let mut client = Raw::new(own, (VIP, PORT), errand.clone(), *style, 77);
        client.turn(errand.starts);
        let syn = client.sent().next().expect("a SYN");
        scout.cookie_for(&syn).is_some_and(|number| number > u32::MAX - 20_000)
    };
    let isn = (0..2_000_000).find(near_the_end).expect("one in two hundred thousand");
    run(plan(isn), false).must_be_right();
}
