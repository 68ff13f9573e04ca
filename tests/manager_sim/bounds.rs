//! Promises with a number in them: how soon, how long not, how many never.

use std::collections::BTreeSet;
use std::time::Duration;

use acm_switch::acm::primitive::{Add, Caller, ForceRemove, Primitive, Remove};
use acm_switch::acm::switch::AcmSwitch as _;
use acm_switch::acm::words::BindingKey;
use acm_switch::base::time::Time;
use acm_switch::manager::timing::Timing;

use super::world::{Node, Plan, World, owner, ready, real_of};

fn plan(seed: u64, timing: Timing, managers: usize, agents: usize, switches: usize) -> Plan {
    Plan { seed, managers, agents, switches, timing, one_is_unfenced: false, chaos: 0.0 }
}

/// A world in which everybody runs and all is as wanted.
fn settled(plan: Plan) -> World {
    let timing = plan.timing.clone();
    let mut world = World::new(plan);
    (0..world.managers.len()).for_each(|m| world.start_manager(m));
    (0..world.agents.len()).for_each(|a| world.start_agent(a));
    world.run_until(Time::ZERO + timing.heartbeat * 8 + timing.beacon * 2);
    assert_eq!(world.leaders().len(), 1, "seed {}", world.plan.seed);
    is_as_wanted(&world);
    world
}

fn is_right(world: &World) -> bool {
    (0..world.switches.len()).all(|switch| world.table(switch) == world.live())
}

fn is_as_wanted(world: &World) {
    assert!(is_right(world), "seed {}", world.plan.seed);
}

/// Lets time pass until it holds; how long that took.
fn until(world: &mut World, patience: Duration, mut holds: impl FnMut(&World) -> bool) -> Duration {
    let begin = world.now;
    while !holds(world) {
        let passed = world.now.since(begin);
        assert!(passed < patience, "seed {}: not within {patience:?}", world.plan.seed);
        world.run_until(world.now + Duration::from_millis(5));
    }
    world.now.since(begin)
}

/// What an operator does behind the managers' backs.
fn by_hand(world: &mut World, switch: usize, list: Vec<Primitive>) {
    for outcome in ready(world.switches[switch].model.apply(&Caller::default(), list)).unwrap() {
        outcome.unwrap();
    }
    world.tell_events(switch);
}

/// From the leader's death at any moment to the acknowledgement of an Add that was made at that moment.
fn takeover(timing: &Timing, bound: Duration) {
    let mut worst = Duration::ZERO;
    for seed in 0..300 {
        let mut world = settled(plan(seed, timing.clone(), 3, 2, 2));
        let more = Duration::from_micros(world.coins.u64(0..timing.beacon.as_micros() as u64));
        world.run_until(world.now + more);
        let leader = world.leaders()[0];
        match seed % 3 {
            0 => world.kill_manager(leader),
            1 => world.stop_manager(leader, timing.heartbeat * 40, false),
            _ => cut_off(&mut world, leader),
        }
        let before: Vec<_> = (0..2).map(|switch| world.table(switch)).collect();
        world.kill_agent(1, false);
        world.start_agent(1);
        let took = until(&mut world, bound * 2, |world| {
            world.agents[1].agent.as_ref().is_some_and(|agent| agent.acknowledged.is_some())
        });
        for (switch, before) in before.iter().enumerate() {
            assert!(world.table(switch).is_superset(before), "seed {seed}: its death took something");
        }
        world.truth.must_hold();
        worst = worst.max(took);
    }
    println!("a new Add is accepted within {worst:?} of the leader's death; the bound is {bound:?}");
    assert!(worst <= bound, "{worst:?}");
}

/// Nobody hears this manager, and it hears nobody; its switches it reaches.
fn cut_off(world: &mut World, leader: usize) {
    let managers = (0..world.managers.len()).map(Node::Manager);
    let others = managers.chain((0..world.agents.len()).map(Node::Agent)).filter(|node| *node != Node::Manager(leader));
    for other in others.collect::<Vec<_>>() {
        world.cut.insert((Node::Manager(leader), other));
        world.cut.insert((other, Node::Manager(leader)));
    }
}

#[test]
fn a_takeover_takes_at_most_twelve_seconds() {
    takeover(&Timing::normal(), Duration::from_secs(12));
}

#[test]
fn a_fast_takeover_takes_at_most_one_and_a_half() {
    takeover(&Timing::fast(), Duration::from_millis(1500));
}

/// A thousand starts with an empty cache, in a network that loses a fifth, some agents dead beside living servers.
#[test]
fn a_thousand_starts_remove_nothing_healthy() {
    let mut starts = 0;
    for seed in 0..100 {
        let mut setup = plan(seed, Timing::fast(), 1, 5, 2);
        setup.one_is_unfenced = seed % 2 == 0;
        let mut world = settled(setup);
        let all = world.table(0);
        // Of these nobody speaks any more, but they serve.
        world.kill_agent(3, false);
        world.kill_agent(4, false);
        world.loss = 0.2;
        for _ in 0..10 {
            starts += 1;
            world.kill_manager(0);
            world.start_manager(0);
            let lives = Duration::from_millis(world.coins.u64(500..8000));
            world.run_until(world.now + lives);
            for switch in 0..2 {
                assert_eq!(world.table(switch), all, "seed {seed}, sw-{switch}");
            }
        }
        world.truth.must_hold();
        assert_eq!(world.truth.removed_healthy, 0);
    }
    assert_eq!(starts, 1000);
}

/// A thousand bindings of which the new leader knows nothing: ninety of a hundred serve.
#[test]
fn a_new_leader_deletes_nothing_on_ignorance() {
    let timing = Timing::normal();
    let mut world = World::new(plan(1, timing.clone(), 1, 1, 1));
    let service = "10.0.0.100:80".parse().unwrap();
    let reals: Vec<_> = (1000..2000).map(real_of).collect();
    let add = |real| Primitive::Add(Add { owner: owner(), ..Add::new(service, real) });
    by_hand(&mut world, 0, reals.iter().map(|real| add(*real)).collect());
    let key = |real| BindingKey { service, real };
    let (dead, alive): (Vec<(usize, _)>, Vec<_>) = reals.iter().copied().enumerate().partition(|(n, _)| n % 10 == 0);
    let alive: BTreeSet<_> = alive.into_iter().map(|(_, real)| real).collect();
    world.others.extend(&alive);
    for (_, real) in &dead {
        world.switches[0].model.set_health(*real, Err("no answer".into()));
    }
    world.start_manager(0);
    let led = until(&mut world, Duration::from_secs(12), |world| !world.leaders().is_empty());
    world.run_until(Time::ZERO + led + timing.hold_down() - Duration::from_millis(10));
    assert_eq!(world.table(0).len(), 1000, "in the hold-down nothing goes");
    world.run_until(world.now + Duration::from_secs(120));
    let table = world.table(0);
    assert_eq!(table.len(), alive.len(), "then what is dead goes");
    assert!(alive.iter().all(|real| table.contains(&key(*real))));
    world.run_until(Time::ZERO + timing.unclaimed() * 2);
    assert_eq!(world.table(0), table, "while nobody is heard of the service, what serves stays");
    world.start_agent(0);
    world.run_until(world.now + timing.reconcile * 30);
    assert_eq!(
        world.table(0),
        world.live(),
        "an agent is heard: what is unclaimed for so long goes, a share at a time"
    );
    world.truth.must_hold();
}

/// An hour in which one datagram in twenty is lost, and one probe in ten.
#[test]
fn an_hour_of_loss_removes_nothing_healthy() {
    for (seed, timing) in [(1, Timing::normal()), (2, Timing::fast())] {
        let mut setup = plan(seed, timing.clone(), 2, 6, 2);
        setup.one_is_unfenced = true;
        let mut world = settled(setup);
        world.loss = 0.05;
        let (end, mut changes, mut leader) = (world.now + Duration::from_secs(3600), 0, world.leaders());
        while world.now < end {
            world.run_until(world.now + timing.heartbeat);
            is_as_wanted(&world);
            let now = world.leaders();
            changes += u32::from(now != leader);
            leader = now;
        }
        assert_eq!(world.truth.removed_healthy, 0);
        world.truth.must_hold();
        println!("an hour at 5 % loss, beats of {:?}: leaders changed {changes} times", timing.heartbeat);
    }
}

/// A switch that restarts is right again within two seconds, whether its connection broke or not.
#[test]
fn a_switch_that_forgot_is_right_within_two_seconds() {
    for timing in [Timing::normal(), Timing::fast()] {
        for seed in 0..50 {
            let mut world = settled(plan(seed, timing.clone(), 2, 4, 2));
            let leader = world.leaders()[0];
            let gone = Duration::from_millis(world.coins.u64(0..20_000));
            let way = [(Node::Manager(leader), Node::Switch(0)), (Node::Switch(0), Node::Manager(leader))];
            if seed % 2 == 0 {
                world.cut.extend(way);
                world.run_until(world.now + gone);
                world.cut.retain(|pair| !way.contains(pair));
            }
            world.reset_switch(0);
            until(&mut world, Duration::from_secs(2), is_right);
            world.truth.must_hold();
        }
    }
}

/// What an operator's slip does is undone within one period, also at a box that reports no events.
#[test]
fn what_changes_behind_its_back_is_repaired_within_one_period() {
    for timing in [Timing::normal(), Timing::fast()] {
        for seed in 0..30 {
            let mut setup = plan(seed, timing.clone(), 2, 3, 1);
            setup.one_is_unfenced = seed % 2 == 0;
            let mut world = settled(setup);
            let key = *world.live().iter().nth(seed as usize % 3).unwrap();
            let BindingKey { service, real } = key;
            let slip = match seed % 3 {
                0 => Primitive::ForceRemove(ForceRemove { service, real }),
                1 => Primitive::Remove(Remove { service, real, deadline: None }),
                _ => Primitive::Add(Add {
                    group: Some("attic".parse().unwrap()),
                    owner: owner(),
                    ..Add::new(service, real)
                }),
            };
            by_hand(&mut world, 0, vec![slip]);
            // A period, and the way there and back.
            let bound = timing.reconcile + Duration::from_millis(100);
            until(&mut world, bound, |world| world.is_plain(0, &key));
            world.truth.must_hold();
        }
    }
}

/// A switch that takes five seconds for everything delays its own rows only.
#[test]
fn a_slow_switch_delays_nobody_else() {
    for timing in [Timing::normal(), Timing::fast()] {
        let mut world = settled(plan(1, timing.clone(), 1, 3, 2));
        world.switches[1].latency = Duration::from_secs(5);
        world.run_until(world.now + timing.reconcile * 2);
        world.kill_agent(2, false);
        let key = BindingKey { service: "10.0.0.100:80".parse().unwrap(), real: real_of(2) };
        for switch in 0..2 {
            by_hand(
                &mut world,
                switch,
                vec![Primitive::ForceRemove(ForceRemove { service: key.service, real: key.real })],
            );
        }
        world.start_agent(2);
        let took = until(&mut world, Duration::from_millis(100), |world| world.table(0).contains(&key));
        let both = until(&mut world, Duration::from_secs(40), |world| world.table(1).contains(&key));
        println!("the quick switch has it after {took:?}, the slow one after {both:?} more");
        world.truth.must_hold();
    }
}
