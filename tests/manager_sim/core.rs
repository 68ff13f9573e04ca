//! Every course of three faults, in a small world: three managers, two switches that keep epochs, three bindings.
//! Where `seeds` draws, this enumerates: no course is missed because nobody drew it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use acm_switch::base::time::Time;
use acm_switch::manager::timing::Timing;

use super::agent::Intent;
use super::seeds::quiet;
use super::world::{Node, Plan, World};

/// What can happen. "The leader" is whoever leads at that moment, or manager 1.
#[derive(Debug, Clone, Copy)]
enum Fault {
    LeaderKilled,
    LeaderStopped,
    LeaderFrozenWithItsClock,
    LeaderDeaf,
    LeaderMute,
    LeaderCutFromFirstSwitch,
    FirstSwitchMuteToLeader,
    Partition,
    FirstSwitchForgets,
    SecondSwitchSlow,
    DatagramsLate,
    AgentWithdraws,
    AgentAndServerDie,
    Heal,
}

const FAULTS: [Fault; 14] = [
    Fault::LeaderKilled,
    Fault::LeaderStopped,
    Fault::LeaderFrozenWithItsClock,
    Fault::LeaderDeaf,
    Fault::LeaderMute,
    Fault::LeaderCutFromFirstSwitch,
    Fault::FirstSwitchMuteToLeader,
    Fault::Partition,
    Fault::FirstSwitchForgets,
    Fault::SecondSwitchSlow,
    Fault::DatagramsLate,
    Fault::AgentWithdraws,
    Fault::AgentAndServerDie,
    Fault::Heal,
];

/// Faults in one course.
const COURSE: u32 = 3;
/// From one to the next: time enough for others to notice and take over, not enough to settle.
const BETWEEN: Duration = Duration::from_millis(1300);

fn happen(world: &mut World, fault: Fault) {
    let m = world.leaders().first().copied().unwrap_or(0);
    let leader = Node::Manager(m);
    let cut = |world: &mut World, from: &[Node], to: &[Node]| {
        for a in from {
            world.cut.extend(to.iter().map(|b| (*a, *b)));
        }
    };
    let managers = (0..world.managers.len()).map(Node::Manager).filter(|node| *node != leader);
    let rest: Vec<_> = managers.chain((0..world.agents.len()).map(Node::Agent)).collect();
    match fault {
        Fault::LeaderKilled => world.kill_manager(m),
        Fault::LeaderStopped => world.stop_manager(m, Duration::from_secs(2), false),
        Fault::LeaderFrozenWithItsClock => world.stop_manager(m, Duration::from_secs(2), true),
        Fault::LeaderDeaf => cut(world, &rest, &[leader]),
        Fault::LeaderMute => cut(world, &[leader], &rest),
        Fault::LeaderCutFromFirstSwitch => {
            cut(world, &[leader], &[Node::Switch(0)]);
            cut(world, &[Node::Switch(0)], &[leader]);
        }
        Fault::FirstSwitchMuteToLeader => cut(world, &[Node::Switch(0)], &[leader]),
        Fault::Partition => {
            let here = [leader, Node::Agent(0), Node::Switch(0)];
            let there: Vec<_> =
                rest.into_iter().filter(|node| *node != Node::Agent(0)).chain([Node::Switch(1)]).collect();
            cut(world, &here, &there);
            cut(world, &there, &here);
        }
        Fault::FirstSwitchForgets => world.reset_switch(0),
        Fault::SecondSwitchSlow => world.switches[1].latency = Duration::from_millis(1500),
        Fault::DatagramsLate => world.way = Duration::from_secs(3),
        Fault::AgentWithdraws => world.intend(0, Intent::Withdrawn),
        Fault::AgentAndServerDie => world.kill_agent(1, true),
        Fault::Heal => world.heal(),
    }
}

fn run(course: usize) {
    let faults: Vec<_> = (0..COURSE).map(|n| FAULTS[course / FAULTS.len().pow(n) % FAULTS.len()]).collect();
    // What answers and is not claimed stays for the whole run.
    let timing = Timing { unclaimed_after: 1_000_000, ..Timing::fast() };
    let (seed, one_is_unfenced, chaos) = (course as u64, false, 0.0);
    let mut world = World::new(Plan { seed, managers: 3, agents: 2, switches: 2, timing, one_is_unfenced, chaos });
    (0..3).for_each(|m| world.start_manager(m));
    (0..2).for_each(|a| world.start_agent(a));
    world.run_until(Time::from_secs(3));
    for fault in &faults {
        happen(&mut world, *fault);
        world.run_until(world.now + BETWEEN);
    }
    world.heal();
    quiet(&mut world);
    let wrong = &world.truth.wrong;
    assert!(wrong.is_empty(), "course {course}, {faults:?}:\n  {}", wrong.join("\n  "));
}

#[test]
fn every_course_of_three_faults() {
    let courses = FAULTS.len().pow(COURSE);
    let next = AtomicUsize::new(0);
    let worker = || {
        loop {
            let course = next.fetch_add(1, Ordering::Relaxed);
            if course >= courses {
                return;
            }
            run(course);
        }
    };
    std::thread::scope(|scope| {
        let other = scope.spawn(worker);
        worker();
        other.join().unwrap_or_else(|why| std::panic::resume_unwind(why));
    });
    println!("{courses} courses");
}
