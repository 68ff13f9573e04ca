//! A command and its agent: started, announced, restarted, ended.

use std::time::Duration;

use acm_switch::agent::sidecar::{Action, Exit, Restarts, Sidecar, Treatment};
use acm_switch::base::time::Time;
use acm_switch::beacon::message::{Answer, Condition, Message, Phase, Standing};
use acm_switch::beacon::words::Words;

use super::world::{Peer, agent, from, restart, secs, statement};

fn treatment() -> Treatment {
    Treatment {
        restarts: Restarts::OnFailure,
        drain: Duration::from_secs(30),
        grace: Duration::from_secs(10),
        start_within: Duration::from_secs(60),
        watched: true,
        interval: Duration::from_secs(2),
        fall: 2,
    }
}

/// A sidecar, the manager, an operator, and processes that do what a test says.
struct World {
    sidecar: Sidecar,
    manager: Peer,
    operator: Peer,
    /// What was done to processes: `start 0`, `check 0`, `terminate 0`, `kill 0`.
    did: Vec<String>,
    /// Health checks pass.
    healthy: bool,
    /// The manager acknowledges everything, and finds nothing left of what was removed.
    obliging: bool,
    now: Time,
}

impl World {
    /// One instance, and its first check has not come yet.
    fn starting() -> World {
        let mut world = World::with(&treatment(), 0);
        let serves = vec![vec![statement(80)]];
        world.sidecar = Sidecar::new(agent(Time::ZERO), &treatment(), serves, Time::ZERO).unwrap();
        world.healthy = false;
        world
    }

    fn with(treatment: &Treatment, instances: u16) -> World {
        let serves = (0..instances).map(|n| vec![statement(80 + n)]).collect();
        let mut world = World {
            sidecar: Sidecar::new(agent(Time::ZERO), treatment, serves, Time::ZERO).unwrap(),
            manager: Peer::manager(),
            operator: Peer::operator(3),
            did: Vec::new(),
            healthy: true,
            obliging: true,
            now: Time::ZERO,
        };
        world.settle();
        world
    }

    fn new(instances: u16) -> World {
        World::with(&treatment(), instances)
    }

    fn settle(&mut self) {
        for round in 0.. {
            assert!(round < 200, "they never stop");
            if self.sidecar.next_deadline() <= self.now {
                self.sidecar.tick(self.now);
            }
            let actions = self.sidecar.actions();
            if actions.is_empty() && self.manager.out.is_empty() && self.operator.out.is_empty() {
                return;
            }
            for action in actions {
                self.perform(action);
            }
            for bytes in self.manager.out.drain(..).chain(self.operator.out.drain(..)).collect::<Vec<_>>() {
                self.sidecar.datagram(&bytes, from(), self.now);
            }
        }
    }

    fn perform(&mut self, action: Action) {
        match action {
            Action::Send(_, bytes) => {
                self.operator.hear(&bytes, self.now);
                let before = self.manager.heard.len();
                self.manager.hear(&bytes, self.now);
                let said = self.manager.heard.last().filter(|_| self.manager.heard.len() > before);
                let answer = match said.map(|(_, message)| message.clone()) {
                    Some(Message::Add { bindings, .. }) => {
                        Some((bindings.iter().map(|one| one.key.real.port()).collect::<Vec<_>>(), Answer::Done))
                    }
                    Some(Message::Remove { bindings, .. }) => {
                        Some((bindings.iter().map(|key| key.real.port()).collect(), Answer::NotFound))
                    }
                    _ => None,
                };
                if let Some((ports, answer)) = answer.filter(|_| self.obliging) {
                    self.manager.ack(&ports, answer, self.now);
                }
            }
            Action::Notice(_) | Action::Told(..) => {}
            Action::Start(n) => self.did.push(format!("start {n}")),
            Action::Terminate(n) => self.did.push(format!("terminate {n}")),
            Action::Kill(n) => self.did.push(format!("kill {n}")),
            Action::Check(n) => {
                let health = if self.healthy { Ok(()) } else { Err(Words::clip("no answer")) };
                self.sidecar.checked(n, health, self.now);
            }
        }
    }

    fn until(&mut self, at: Time) {
        loop {
            self.settle();
            let next = self.sidecar.next_deadline();
            if next > at {
                break;
            }
            self.now = next.max(self.now);
        }
        self.now = at;
        self.settle();
    }

    fn exited(&mut self, n: usize, exit: Exit) {
        self.sidecar.exited(n, exit, self.now);
        self.settle();
    }

    fn did(&mut self) -> Vec<String> {
        std::mem::take(&mut self.did)
    }

    fn ask(&mut self, message: Message) -> Vec<acm_switch::beacon::message::StandingRow> {
        self.operator.messages();
        self.operator.say(message.clone(), self.now);
        self.settle();
        let mut rows = self.operator.rows();
        if rows.is_empty() {
            // It was asked for proof first.
            self.operator.say(message, self.now);
            self.settle();
            rows = self.operator.rows();
        }
        rows
    }

    fn who(&mut self, roll: Option<u64>) -> Vec<(Standing, Option<(u64, Phase)>)> {
        let rows = self.ask(Message::Who { name: None, roll });
        rows.into_iter().map(|row| (row.standing, row.roll)).collect()
    }
}

#[test]
fn started_announced_and_ended() {
    let mut world = World::new(2);
    assert_eq!(world.did(), ["start 0", "start 1"]);
    assert_eq!(world.who(None), [(Standing::Bound, None); 2]);
    world.sidecar.end(world.now);
    world.settle();
    assert_eq!(world.did(), ["terminate 0", "terminate 1"], "nothing is left of them");
    assert_eq!(world.sidecar.over(), None);
    world.exited(0, Exit::Signal(15));
    world.until(secs(10));
    assert_eq!(world.did(), ["kill 1"], "after the grace");
    world.exited(1, Exit::Signal(9));
    assert_eq!(world.sidecar.over(), Some(0));
}

#[test]
fn announced_when_it_is_healthy_and_taken_out_when_it_is_not() {
    let mut world = World::starting();
    world.until(secs(1));
    assert_eq!(world.who(None), [(Standing::Absent, None)]);
    world.healthy = true;
    world.until(secs(2));
    assert_eq!(world.who(None), [(Standing::Bound, None)]);
    world.healthy = false;
    world.until(Time::from_millis(3950));
    assert_eq!(world.who(None), [(Standing::Bound, None)], "one check may fail");
    world.until(secs(6));
    assert_eq!(world.who(None), [(Standing::Failing, None)]);
    world.healthy = true;
    world.until(secs(8) + Duration::from_millis(100));
    assert_eq!(world.who(None), [(Standing::Bound, None)]);
    assert_eq!(world.did(), ["start 0"], "it was never restarted");
}

#[test]
fn who_is_never_healthy_is_started_anew() {
    let mut world = World::starting();
    world.until(secs(61));
    assert_eq!(world.did(), ["start 0", "kill 0"]);
    world.exited(0, Exit::Signal(9));
    world.until(secs(62));
    assert_eq!(world.did(), ["start 0"]);
}

#[test]
fn a_crash_is_told_at_once_and_restarts_wait_longer_each_time() {
    let mut world = World::new(1);
    world.manager.messages();
    world.did();
    world.healthy = false;
    world.now = secs(1);
    world.exited(0, Exit::Code(3));
    let told = world.manager.messages();
    let why = Words::clip("the command ended with exit code 3");
    assert!(
        matches!(&told[..], [Message::Beacon { bindings, .. }] if bindings[0].condition == Condition::Failing(why)),
        "{told:?}"
    );
    let mut pauses = Vec::new();
    for _ in 0..10 {
        let crashed = world.now;
        while world.did().is_empty() {
            world.now = world.sidecar.next_deadline().max(world.now);
            world.settle();
        }
        pauses.push(world.now.since(crashed).as_millis());
        world.exited(0, Exit::Code(3));
    }
    assert_eq!(pauses, [100, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000, 10_000]);
    world.healthy = true;
    let crashed = world.now;
    world.until(crashed + Duration::from_millis(19_900));
    assert_eq!(world.who(None), [(Standing::Failing, None)], "it may crash again");
    world.until(crashed + Duration::from_secs(22));
    assert_eq!(world.who(None), [(Standing::Bound, None)]);
    world.did();
    let at = world.now + Duration::from_secs(20);
    world.until(at);
    world.exited(0, Exit::Signal(11));
    let at = world.now + Duration::from_millis(100);
    world.until(at);
    assert_eq!(world.did(), ["start 0"], "it had run well, so it is the first again");
}

#[test]
fn a_command_that_is_finished_or_cannot_start_ends_all() {
    for (exit, code) in [(Exit::Code(0), 0), (Exit::NotStarted(127), 127)] {
        let mut world = World::starting();
        world.settle();
        world.exited(0, exit);
        assert_eq!(world.sidecar.over(), Some(code));
    }
    let never = Treatment { restarts: Restarts::Never, ..treatment() };
    let mut world = World::with(&never, 1);
    world.exited(0, Exit::Code(4));
    assert_eq!(world.sidecar.over(), Some(4));
    let always = Treatment { restarts: Restarts::Always, ..treatment() };
    let mut world = World::with(&always, 1);
    world.exited(0, Exit::Code(0));
    assert_eq!(world.sidecar.over(), None);
    // What was installed and is gone for a moment, during an update, is no typing mistake.
    world.until(secs(1));
    assert_eq!(world.did(), ["start 0", "start 0"]);
    world.exited(0, Exit::NotStarted(127));
    assert_eq!(world.sidecar.over(), None);
}

#[test]
fn a_roll_goes_through_its_phases_once() {
    let mut world = World::new(2);
    world.did();
    world.obliging = false;
    let rows = world.ask(restart(7, 81));
    assert_eq!(rows.len(), 1, "only what is concerned is told");
    assert_eq!((rows[0].instance, rows[0].roll), (Some(1), Some((7, Phase::Draining))));
    world.manager.ack(&[81], Answer::Done, world.now);
    world.settle();
    assert_eq!(world.who(Some(7))[1], (Standing::Drains, Some((7, Phase::Draining))));
    assert!(world.did().is_empty(), "connections finish");
    world.until(secs(1));
    world.manager.ack(&[81], Answer::NotFound, world.now);
    world.settle();
    assert_eq!(world.did(), ["terminate 1"]);
    assert_eq!(world.who(None)[1], (Standing::Absent, Some((7, Phase::Restarting))));
    world.healthy = false;
    world.exited(1, Exit::Signal(15));
    assert_eq!(world.did(), ["start 1"]);
    assert_eq!(world.who(None)[1], (Standing::Absent, Some((7, Phase::Checking))));
    world.healthy = true;
    world.until(secs(2));
    assert_eq!(world.who(None)[1], (Standing::Announced, Some((7, Phase::Adding))));
    assert_eq!(world.ask(restart(8, 81))[0].roll, Some((7, Phase::Adding)), "one at a time");
    world.obliging = true;
    world.until(secs(3));
    assert_eq!(world.who(None), [(Standing::Bound, None), (Standing::Bound, Some((7, Phase::Done)))]);
    assert_eq!(world.ask(restart(7, 81))[0].roll, Some((7, Phase::Done)), "it is over");
    assert!(world.did().is_empty());
    assert_eq!(world.ask(restart(8, 81))[0].roll.unwrap().0, 8);
    assert_eq!(world.did(), ["terminate 1"]);
}

#[test]
fn a_roll_that_does_not_come_back_fails_and_says_why() {
    let mut world = World::new(1);
    world.ask(restart(7, 80));
    world.healthy = false;
    world.exited(0, Exit::Signal(15));
    world.until(secs(6));
    assert_eq!(world.did(), ["start 0", "terminate 0", "start 0", "kill 0"]);
    let rows = world.ask(restart(7, 80));
    assert_eq!(rows[0].roll, Some((7, Phase::Failed)));
    assert_eq!(rows[0].why.as_ref().unwrap().as_str(), "not healthy within 5s");
    // Another one, and now it crashes.
    world.exited(0, Exit::Signal(9));
    world.ask(restart(8, 80));
    world.exited(0, Exit::Code(1));
    let rows = world.ask(restart(8, 80));
    assert_eq!(rows[0].roll, Some((8, Phase::Failed)));
    assert_eq!(rows[0].why.as_ref().unwrap().as_str(), "the command ended with exit code 1");
    // And it goes on as after any crash.
    world.healthy = true;
    let at = world.now + Duration::from_secs(11);
    world.until(at);
    assert_eq!(world.who(None), [(Standing::Bound, Some((8, Phase::Failed)))]);
}

#[test]
fn a_crash_while_it_drains_does_not_wait_for_the_drain() {
    let mut world = World::new(1);
    world.did();
    world.obliging = false;
    world.ask(restart(7, 80));
    world.exited(0, Exit::Signal(11));
    assert!(world.did().is_empty(), "not before nothing new comes");
    world.manager.ack(&[80], Answer::Done, world.now);
    world.settle();
    assert_eq!(world.did(), ["start 0"]);
}

#[test]
fn an_operator_commands_only_what_his_key_covers() {
    let mut world = World::new(1);
    world.operator = Peer::operator(4);
    assert!(world.ask(restart(7, 80)).is_empty());
    assert_eq!(world.who(None), [(Standing::Bound, None)], "but he may look");
    let Message::Restart(mut other) = restart(7, 80) else { unreachable!() };
    other.agent = acm_switch::beacon::message::NodeId(78);
    world.operator = Peer::operator(3);
    assert!(world.ask(Message::Restart(other)).is_empty(), "for another agent");
    assert!(world.ask(restart(7, 99)).is_empty(), "not ours");
    // An agent's key commands nobody.
    let Message::Restart(command) = restart(7, 80) else { unreachable!() };
    world.manager.say(Message::Restart(command), world.now);
    world.settle();
    assert_eq!(world.did(), ["start 0"]);
}

#[test]
fn a_roll_of_many_bindings_is_told_in_parts() {
    let mut world = World::new(9);
    let all = (80..89).map(super::world::binding).collect();
    let Message::Restart(command) = restart(7, 80) else { unreachable!() };
    let rows = world.ask(Message::Restart(acm_switch::beacon::message::Restart { bindings: all, ..command }));
    assert_eq!(rows.len(), 9);
    assert!(rows.iter().all(|row| row.roll.is_some_and(|(roll, _)| roll == 7)));
}
