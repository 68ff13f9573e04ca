//! Rolls of simulated agents over a network that loses, doubles and reorders, with operators that die.

use std::collections::BTreeMap;

use super::*;
use crate::acm::words::BindingKey;
use crate::base::id::Name;
use crate::beacon::key::KeyId;
use crate::beacon::message::{NodeId, Standing, StandingRow};
use crate::beacon::words::Words;
use crate::operator::plan::AtOnce;

const STEP: Duration = Duration::from_millis(10);

/// One instance of an agent's command, by the rules of the wire protocol.
struct Instance {
    key: BindingKey,
    standing: Standing,
    roll: Option<(u64, Phase)>,
    since: Time,
    until: Time,
    within: Duration,
    remembered: BTreeMap<u64, Phase>,
    /// Why it does not become healthy, if it does not.
    broken: Option<&'static str>,
    /// How long it takes to be healthy.
    boot: Duration,
    starts: u32,
    silent: bool,
    embedded: bool,
}

impl Instance {
    fn new(n: u8, boot: Duration) -> Instance {
        let key = BindingKey {
            service: "10.0.0.100:80".parse().unwrap(),
            real: SocketAddr::from(([10, 0, 0, 10 + n], 8080)),
        };
        Instance {
            key,
            standing: Standing::Bound,
            roll: None,
            since: Time::ZERO,
            until: Time::NEVER,
            within: Duration::ZERO,
            remembered: BTreeMap::new(),
            broken: None,
            boot,
            starts: 0,
            silent: false,
            embedded: false,
        }
    }

    fn come_to(&mut self, phase: Phase, lasts: Duration, now: Time) {
        let Some((roll, before)) = &mut self.roll else { return };
        *before = phase;
        self.remembered.insert(*roll, phase);
        (self.since, self.until) = (now, now + lasts);
    }

    fn command(&mut self, restart: &Restart, coins: &mut fastrand::Rng, now: Time) {
        let under_way = self.roll.is_some_and(|(_, phase)| !phase.is_over());
        if under_way || self.remembered.contains_key(&restart.roll) {
            return;
        }
        (self.roll, self.within) = (Some((restart.roll, Phase::Draining)), restart.within);
        self.standing = Standing::Drains;
        let drain = restart.drain.unwrap_or(Duration::from_secs(30));
        self.come_to(Phase::Draining, drain.mul_f64(coins.f64()), now);
    }

    fn tick(&mut self, now: Time) {
        while now >= self.until {
            match self.roll {
                Some((_, Phase::Draining)) => {
                    self.standing = Standing::Absent;
                    self.come_to(Phase::Restarting, Duration::from_millis(50), now);
                }
                Some((_, Phase::Restarting)) => {
                    self.starts += 1;
                    let lasts = if self.broken.is_some() { self.within } else { self.boot };
                    self.come_to(Phase::Checking, lasts, now);
                }
                Some((_, Phase::Checking)) if self.broken.is_some() => self.come_to(Phase::Failed, self.boot, now),
                Some((_, Phase::Checking)) => {
                    self.standing = Standing::Announced;
                    self.come_to(Phase::Adding, Duration::from_millis(30), now);
                }
                Some((_, Phase::Adding)) => {
                    self.standing = Standing::Bound;
                    self.come_to(Phase::Done, Duration::from_secs(1_000_000), now);
                }
                // It goes on trying.
                Some((_, Phase::Failed)) if self.broken.is_none() => {
                    self.standing = Standing::Bound;
                    self.until = Time::NEVER;
                }
                _ => self.until = now + self.boot,
            }
        }
    }

    /// Its agent is started anew: it remembers nothing, and the command runs again.
    fn forget(&mut self) {
        self.remembered.clear();
        (self.roll, self.until, self.standing) = (None, Time::NEVER, Standing::Bound);
    }

    fn row(&self, asked: Option<u64>, now: Time) -> StandingRow {
        let known = asked.and_then(|id| self.remembered.get(&id).map(|phase| (id, *phase)));
        StandingRow {
            key: self.key,
            name: Some(web()),
            standing: self.standing,
            instance: (!self.embedded).then_some(0),
            roll: known.or(self.roll),
            age: now.since(self.since),
            why: self.broken.filter(|_| matches!(self.roll, Some((_, Phase::Failed)))).map(Words::clip),
        }
    }
}

fn web() -> Name {
    "web".parse().unwrap()
}

/// Something on its way to somebody.
enum Flight {
    All(Message),
    Agent(usize, Message),
    Operator(usize, StandingRow),
}

struct World {
    now: Time,
    coins: fastrand::Rng,
    loss: f64,
    servers: Vec<Instance>,
    operator: Option<Roll>,
    plan: Plan,
    flights: Vec<(Time, Flight)>,
    news: Vec<News>,
    most_out: usize,
    fewest_bound: usize,
}

impl World {
    fn new(servers: u8, seed: u64) -> World {
        let mut coins = fastrand::Rng::with_seed(seed);
        let servers = (1..=servers).map(|n| Instance::new(n, Duration::from_millis(coins.u64(10..800)))).collect();
        let plan = Plan {
            service: web(),
            at_once: AtOnce::Count(1),
            drain: Drain::Fixed(Duration::from_secs(2)),
            wait_healthy: Duration::from_secs(3),
            settle: Duration::from_millis(100),
            force: false,
        };
        World {
            now: Time::ZERO,
            coins,
            loss: 0.0,
            servers,
            operator: None,
            plan,
            flights: Vec::new(),
            news: Vec::new(),
            most_out: 0,
            fewest_bound: usize::MAX,
        }
    }

    fn start(&mut self, start: Start) {
        self.operator = Some(Roll::new(self.plan.clone(), start, self.now));
    }

    fn send(&mut self, make: impl Fn() -> Flight) {
        for _ in 0..if self.coins.f64() < self.loss { 2 } else { 1 } {
            if self.coins.f64() >= self.loss {
                let at = self.now + Duration::from_millis(self.coins.u64(0..40));
                self.flights.push((at, make()));
            }
        }
    }

    fn arrive(&mut self, flight: Flight) {
        let answer = |world: &mut World, n: usize, roll: Option<u64>| {
            let row = world.servers[n].row(roll, world.now);
            if !world.servers[n].silent {
                world.send(|| Flight::Operator(n, row.clone()));
            }
        };
        match flight {
            Flight::All(Message::Who { roll, .. }) => (0..self.servers.len()).for_each(|n| answer(self, n, roll)),
            Flight::Agent(n, Message::Who { roll, .. }) => answer(self, n, roll),
            Flight::Agent(n, Message::Restart(restart)) => {
                assert_eq!(restart.bindings, [self.servers[n].key]);
                if !self.servers[n].silent {
                    self.servers[n].command(&restart, &mut self.coins, self.now);
                }
                answer(self, n, Some(restart.roll));
            }
            Flight::Operator(n, row) => {
                let said = Standings { part: 0, parts: 1, rows: vec![row] };
                let sender = Sender { key: KeyId(3), node: NodeId(n as u64 + 1) };
                if let Some(operator) = &mut self.operator {
                    operator.standings(sender, SocketAddr::from(([10, 0, 0, 1], 1)), &said, self.now);
                }
            }
            Flight::All(other) | Flight::Agent(_, other) => panic!("{other:?}"),
        }
    }

    fn step(&mut self) {
        self.now = self.now + STEP;
        let now = self.now;
        self.servers.iter_mut().for_each(|server| server.tick(now));
        let due: Vec<_> = {
            let (due, later) = std::mem::take(&mut self.flights).into_iter().partition(|(at, _)| *at <= now);
            self.flights = later;
            due
        };
        due.into_iter().for_each(|(_, flight)| self.arrive(flight));
        let Some(operator) = &mut self.operator else { return };
        if now >= operator.next_deadline() {
            operator.tick(now);
        }
        for action in operator.actions() {
            match action {
                Action::Say(To::All, message) => self.send(|| Flight::All(message.clone())),
                Action::Say(To::One(sender, _), message) => {
                    self.send(|| Flight::Agent(sender.node.0 as usize - 1, message.clone()));
                }
                Action::Tell(news) => self.news.push(news),
            }
        }
        let bound = self.servers.iter().filter(|server| server.standing == Standing::Bound).count();
        self.most_out = self.most_out.max(self.servers.len() - bound);
        self.fewest_bound = self.fewest_bound.min(bound);
    }

    fn run(&mut self, time: Duration) -> Option<Outcome> {
        let end = self.now + time;
        while self.now < end {
            self.step();
            if let Some(outcome) = self.operator.as_ref().and_then(|operator| operator.outcome()) {
                return Some(outcome.clone());
            }
        }
        None
    }

    fn starts(&self) -> Vec<u32> {
        self.servers.iter().map(|server| server.starts).collect()
    }
}

const LONG: Duration = Duration::from_secs(600);

#[test]
fn one_after_the_other() {
    let mut world = World::new(3, 1);
    world.start(Start::New(7));
    assert_eq!(world.run(LONG), Some(Outcome::Done));
    assert_eq!((world.starts(), world.most_out, world.fewest_bound), (vec![1, 1, 1], 1, 2));
    let told = world.news.iter().filter(|news| matches!(news, News::Told(_))).count();
    assert_eq!((told, world.operator.unwrap().next_deadline()), (3, Time::NEVER));
}

#[test]
fn several_at_once_and_no_more() {
    for (at_once, most) in [(AtOnce::Count(2), 2), (AtOnce::Percent(25), 2), (AtOnce::Count(100), 9)] {
        let mut world = World::new(10, 3);
        world.plan.at_once = at_once;
        world.start(Start::New(7));
        assert_eq!(world.run(LONG), Some(Outcome::Done), "{at_once:?}");
        assert_eq!(world.starts(), vec![1; 10]);
        assert_eq!(world.most_out, most, "{at_once:?}");
    }
}

/// Loss, doubling, reordering; operators that die at any moment and are followed by others.
#[test]
fn whatever_is_lost_and_whoever_dies() {
    for seed in 0..300 {
        let mut world = World::new(2 + (seed % 4) as u8, seed);
        world.loss = [0.0, 0.05, 0.3][(seed % 3) as usize];
        world.plan.at_once = [AtOnce::Count(1), AtOnce::Count(2), AtOnce::Percent(50)][(seed / 3 % 3) as usize];
        world.start(Start::New(7));
        let mut outcome = None;
        for _ in 0..4 {
            let lives = Duration::from_millis(world.coins.u64(100..12_000));
            outcome = world.run(lives);
            if outcome.is_some() {
                break;
            }
            world.operator = None;
            let pause = Duration::from_millis(world.coins.u64(0..4000));
            world.run(pause);
            let begun = world.servers.iter().any(|server| server.roll.is_some());
            let start = match (begun, world.coins.bool()) {
                (true, true) => Start::ResumeLatest,
                _ => Start::Resume(7),
            };
            world.start(start);
        }
        let outcome = outcome.or_else(|| world.run(LONG));
        assert_eq!(outcome, Some(Outcome::Done), "seed {seed}: {:?}", world.news);
        assert_eq!(world.starts(), vec![1; world.servers.len()], "seed {seed}: each exactly once");
        let at_once = world.plan.at_once.of(world.servers.len());
        assert!(world.most_out <= at_once && world.fewest_bound >= 1, "seed {seed}: {} out", world.most_out);
    }
}

#[test]
fn the_first_failure_stops_it_and_it_goes_on_when_that_is_mended() {
    let mut world = World::new(4, 5);
    world.servers[1].broken = Some("exit code 1: no such library");
    world.start(Start::New(7));
    let Some(Outcome::Stopped(why)) = world.run(LONG) else { panic!("{:?}", world.news) };
    assert!(why.contains("10.0.0.12:8080") && why.contains("checking") && why.contains("no such library"), "{why}");
    assert_eq!(world.starts(), [1, 1, 0, 0], "nothing is begun after a failure");
    // Resumed while it is still broken, it waits for it, and stops again.
    world.start(Start::ResumeLatest);
    let Some(Outcome::Stopped(why)) = world.run(LONG) else { panic!("{:?}", world.news) };
    assert!(why.contains("10.0.0.12:8080"), "{why}");
    assert_eq!(world.starts()[2..], [0, 0]);
    // Mended: its agent has brought it back by itself, and the others follow.
    world.servers[1].broken = None;
    world.start(Start::ResumeLatest);
    assert_eq!(world.run(LONG), Some(Outcome::Done), "{:?}", world.news);
    assert_eq!(world.starts(), [1, 1, 1, 1]);
}

#[test]
fn a_server_that_fails_by_itself_counts() {
    // Restarted first, since it costs nothing; and nothing else leaves while it is away.
    let mut world = World::new(3, 6);
    world.servers[2].standing = Standing::Failing;
    world.start(Start::New(7));
    assert_eq!(world.run(LONG), Some(Outcome::Done));
    let first = world.news.iter().find_map(|news| match news {
        News::Told(id) => Some(id.agent),
        _ => None,
    });
    assert_eq!((first, world.most_out), (Some(NodeId(3)), 1));
    // One that was rolled and fails later: the roll waits, and then stops.
    let mut world = World::new(3, 6);
    world.start(Start::New(7));
    while world.starts() != [1, 1, 0] || world.servers[1].standing != Standing::Drains {
        world.step();
        if world.starts()[0] == 1 && world.servers[0].roll == Some((7, Phase::Done)) && world.servers[1].roll.is_some()
        {
            break;
        }
    }
    world.servers[0].standing = Standing::Failing;
    let Some(Outcome::Stopped(why)) = world.run(LONG) else { panic!("{:?}", world.news) };
    assert!(why.contains("out of service already: 10.0.0.11:8080") && why.contains("failing"), "{why}");
    assert_eq!(world.starts(), [1, 1, 0]);
}

#[test]
fn the_only_server_needs_force() {
    let mut world = World::new(1, 1);
    world.start(Start::New(7));
    assert!(matches!(world.run(LONG), Some(Outcome::Stopped(why)) if why.contains("--force")));
    world.plan.force = true;
    world.start(Start::New(8));
    assert_eq!((world.run(LONG), world.starts()), (Some(Outcome::Done), vec![1]));
    // But not while others of its service exist and are away.
    let mut world = World::new(2, 1);
    world.plan.force = true;
    world.servers[1].broken = Some("x");
    world.servers[1].standing = Standing::Failing;
    world.start(Start::New(9));
    assert!(matches!(world.run(LONG), Some(Outcome::Stopped(_))));
    assert_eq!(world.servers[0].starts, 0);
}

#[test]
fn what_cannot_begin_does_not() {
    let mut world = World::new(0, 1);
    world.start(Start::New(7));
    assert_eq!(world.run(LONG), Some(Outcome::Nobody));
    let refused = |prepare: fn(&mut World), start, says: &str| {
        let mut world = World::new(3, 1);
        prepare(&mut world);
        world.start(start);
        let Some(Outcome::Stopped(why)) = world.run(LONG) else { panic!("{says}: {:?}", world.news) };
        assert!(why.contains(says), "{why}");
        assert!(world.starts().iter().all(|starts| *starts == 0));
    };
    refused(|world| world.servers[1].embedded = true, Start::New(7), "agent inside");
    refused(|_| {}, Start::ResumeLatest, "no agent remembers a roll");
    refused(|world| world.servers[1].roll = Some((0xab, Phase::Draining)), Start::New(7), "--resume=00000000000000ab");
    let target = |text: &str| crate::operator::plan::Target {
        availability: text.parse().unwrap(),
        reconnect: Duration::from_secs(1),
    };
    let mut world = World::new(3, 1);
    world.plan.drain = Drain::For(target("99.99999%"));
    world.start(Start::New(7));
    assert!(matches!(world.run(LONG), Some(Outcome::Stopped(why)) if why.contains("--availability")));
    world.plan.drain = Drain::For(target("90%"));
    world.start(Start::New(8));
    assert_eq!(world.run(LONG), Some(Outcome::Done));
    assert_eq!(world.operator.unwrap().drain(), Some(Duration::from_millis(6667)));
}

#[test]
fn agents_that_fall_silent_or_forget() {
    // Silent under way: it has failed, and nothing more is begun.
    let mut world = World::new(3, 4);
    world.start(Start::New(7));
    while world.servers[0].roll.is_none() {
        world.step();
    }
    world.servers[0].silent = true;
    let Some(Outcome::Stopped(why)) = world.run(LONG) else { panic!("{:?}", world.news) };
    assert!(why.contains("not answered"), "{why}");
    assert_eq!(world.starts()[1..], [0, 0]);
    // An agent that was started anew in the middle is told again.
    let mut world = World::new(3, 4);
    world.start(Start::New(7));
    while world.servers[0].roll.is_none() {
        world.step();
    }
    world.run(Duration::from_millis(200));
    world.servers[0].forget();
    assert_eq!(world.run(LONG), Some(Outcome::Done), "{:?}", world.news);
    assert!(world.news.iter().any(|news| matches!(news, News::Changed(_, Change::Forgot))));
}

#[test]
fn an_interruption_waits_for_what_is_under_way() {
    let mut world = World::new(3, 4);
    world.start(Start::New(7));
    while world.servers[0].roll.is_none() {
        world.step();
    }
    world.operator.as_mut().unwrap().interrupt();
    assert!(matches!(world.run(LONG), Some(Outcome::Stopped(why)) if why.contains("interrupted")));
    assert_eq!((world.starts(), world.servers[0].standing), (vec![1, 0, 0], Standing::Bound));
}
