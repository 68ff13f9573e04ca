//! Random worlds: faults for a while, then quiet, then everything must be right.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use acm_switch::base::time::Time;
use acm_switch::manager::timing::Timing;

use super::agent::Intent;
use super::world::{Node, Plan, World};

/// How long faults happen.
const TROUBLE: Duration = Duration::from_secs(60);

fn plan(seed: u64) -> Plan {
    let mut coins = fastrand::Rng::with_seed(seed ^ 0x5eed);
    let timing = if coins.u8(0..4) == 0 { Timing::normal() } else { Timing::fast() };
    // What answers and is not claimed stays for the whole run; `bounds` has a test of its own for its end.
    let timing = Timing { unclaimed_after: 1_000_000, ..timing };
    Plan {
        seed,
        managers: coins.usize(1..=3),
        agents: coins.usize(1..=4),
        switches: coins.usize(1..=2),
        timing,
        one_is_unfenced: coins.u8(0..3) == 0,
        chaos: if coins.bool() { 0.05 } else { 0.0 },
    }
}

/// One fault, and its end.
fn fault(world: &mut World) {
    let (managers, agents, switches) = (world.managers.len(), world.agents.len(), world.switches.len());
    let (m, a, s) = (world.coins.usize(0..managers), world.coins.usize(0..agents), world.coins.usize(0..switches));
    let lasts = Duration::from_millis(world.coins.u64(100..20_000));
    match world.coins.u8(0..17) {
        0 => world.kill_manager(m),
        1 if world.managers[m].machine.is_none() => world.start_manager(m),
        2 => {
            let clock_stands = world.coins.bool();
            world.stop_manager(m, lasts, clock_stands);
        }
        3 => world.kill_agent(a, true),
        4 => world.kill_agent(a, false),
        5 if world.agents[a].agent.is_none() => world.start_agent(a),
        6 => {
            world.set_host(a, false);
            world.at(world.now + lasts, move |world| world.set_host(a, true));
        }
        7 => world.intend(a, Intent::Withdrawn),
        8 => world.intend(a, Intent::Failing),
        9 => world.intend(a, Intent::Serving),
        10 => world.reset_switch(s),
        11 => {
            world.loss = [0.0, 0.05, 0.2, 0.5][world.coins.usize(0..4)];
            world.duplicates = [0.0, 0.1][world.coins.usize(0..2)];
            world.way = Duration::from_millis([1, 20, 3000][world.coins.usize(0..3)]);
        }
        12 => world.switches[s].latency = Duration::from_millis([1, 100, 2000][world.coins.usize(0..3)]),
        13 => {
            // A clock that was wrong is set right, or a machine is restored from a picture of itself.
            let by = Duration::from_secs([1, 30, 3600, 86_400][world.coins.usize(0..4)]);
            let node = [Node::Manager(m), Node::Agent(a)][world.coins.usize(0..2)];
            world.step_clock(node, by);
        }
        14 => world.freeze_agent(a, lasts),
        _ => cut(world, lasts),
    }
}

/// A partition: some against the others, both ways or one.
fn cut(world: &mut World, lasts: Duration) {
    let managers = (0..world.managers.len()).map(Node::Manager);
    let agents = (0..world.agents.len()).map(Node::Agent);
    let switches = (0..world.switches.len()).map(Node::Switch);
    let all: Vec<_> = managers.chain(agents).chain(switches).collect();
    let one_way = world.coins.bool();
    let inside: Vec<_> = all.iter().copied().filter(|_| world.coins.bool()).collect();
    let mut cuts = Vec::new();
    for a in &inside {
        for b in all.iter().filter(|b| !inside.contains(b)) {
            cuts.push((*a, *b));
            if !one_way {
                cuts.push((*b, *a));
            }
        }
    }
    world.say(|| format!("cut for {lasts:?}, one way: {one_way}: {inside:?}"));
    world.cut.extend(cuts.iter().copied());
    world.at(world.now + lasts, move |world| {
        world.say(|| "a cut heals".into());
        cuts.iter().for_each(|pair| {
            world.cut.remove(pair);
        });
    });
}

/// Runs one world; the number of events at the switches.
pub(crate) fn run(seed: u64, trace: bool) -> World {
    let mut world = World::new(plan(seed));
    world.trace = trace;
    for m in 0..world.managers.len() {
        let at = Time::from_millis(world.coins.u64(0..2000));
        world.at(at, move |world| world.start_manager(m));
    }
    for a in 0..world.agents.len() {
        let at = Time::from_millis(world.coins.u64(0..20_000));
        world.at(at, move |world| world.start_agent(a));
    }
    let mut at = Time::from_secs(5);
    let end = Time::ZERO + TROUBLE;
    while at < end {
        world.at(at, fault);
        at = at + Duration::from_millis(world.coins.u64(100..8000));
    }
    world.run_until(end);
    world.heal();
    quiet(&mut world);
    world
}

/// After quiet there is one leader, and every switch has exactly what living agents want.
pub(crate) fn quiet(world: &mut World) {
    let timing = world.plan.timing.clone();
    // A fence makes a manager wait up to 64 heartbeats; then election, hold-down, and passes under the brake.
    let settle = timing.heartbeat * 80 + timing.hold_down() + timing.reconcile * 6 + Duration::from_secs(8);
    world.run_until(world.now + settle);
    let now = world.now;
    if world.leaders().len() != 1 {
        let leaders = world.leaders();
        world.truth.wrong(now, format!("after quiet {leaders:?} lead"));
    }
    for host in world.managers.iter().filter(|_| world.trace) {
        if let Some(machine) = &host.machine {
            let refused: Vec<_> = machine.counters().iter().filter(|(_, count)| *count > 0).collect();
            eprintln!("{:?}: {:?}, refused: {refused:?}", machine.role(), machine.totals());
        }
    }
    let live = world.live();
    for switch in 0..world.switches.len() {
        let table = world.table(switch);
        for key in live.difference(&table) {
            world.truth.wrong(now, format!("sw-{switch} lacks {key}"));
        }
        for key in table.difference(&live) {
            let agent = world.agents.iter().enumerate().find(|(a, _)| super::world::real_of(*a) == key.real);
            // A server that answers is kept though nobody speaks of it; the last member is kept, come what may.
            let answers = agent.is_some_and(|(_, host)| host.server_up && host.agent.is_none());
            let is_last = table.iter().filter(|other| other.service == key.service).count() == 1;
            let was_asked = agent
                .is_some_and(|(_, host)| host.agent.as_ref().is_some_and(|agent| agent.intent == Intent::Withdrawn));
            if !answers && (!is_last || was_asked) {
                world.truth.wrong(now, format!("sw-{switch} still has {key}"));
            }
        }
    }
    for a in 0..world.agents.len() {
        if let Some(agent) = &world.agents[a].agent
            && agent.intent != Intent::Failing
            && agent.acknowledged.is_none()
        {
            world.truth.wrong(now, format!("agent {a} was not answered"));
        }
    }
    let writes = world.writes;
    world.run_until(now + timing.reconcile * 3);
    if world.writes != writes {
        let more = world.writes - writes;
        world.truth.wrong(now, format!("{more} writes though all is as wanted"));
    }
}

#[test]
fn seeds() {
    let seeds: u64 = std::env::var("ACM_SIM_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(10_000);
    let next = AtomicU64::new(0);
    std::thread::scope(|scope| {
        let worker = || {
            loop {
                let seed = next.fetch_add(1, Ordering::Relaxed);
                if seed >= seeds {
                    return;
                }
                run(seed, false).truth.must_hold();
            }
        };
        let other = scope.spawn(worker);
        worker();
        other.join().unwrap_or_else(|why| std::panic::resume_unwind(why));
    });
}

/// Replays the seed of `ACM_SIM_SEED`, telling what happens; else seed 1, quietly.
#[test]
fn one_seed() {
    let seed = std::env::var("ACM_SIM_SEED").ok().and_then(|text| text.parse().ok());
    run(seed.unwrap_or(1), seed.is_some()).truth.must_hold();
}
