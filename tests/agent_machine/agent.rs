//! Bindings: announced, acknowledged, beaconed, taken back.

use std::time::Duration;

use acm_switch::agent::machine::{Action, Agent, Notice};
use acm_switch::base::time::Time;
use acm_switch::beacon::message::{Answer, Condition, Message, Standing, Withdrawal};
use acm_switch::beacon::words::Words;

use super::world::{Peer, agent, binding, drain, from, secs, statement};

/// An agent and a manager, without delay between them.
struct Both {
    agent: Agent,
    manager: Peer,
    notices: Vec<Notice>,
    now: Time,
}

impl Both {
    fn new() -> Both {
        Both { agent: agent(Time::ZERO), manager: Peer::manager(), notices: Vec::new(), now: Time::ZERO }
    }

    /// What is to be said is said, and heard, until there is silence.
    fn settle(&mut self) {
        for round in 0.. {
            assert!(round < 100, "they never stop");
            if self.agent.next_deadline() <= self.now {
                self.agent.tick(self.now);
            }
            let actions = self.agent.actions();
            if actions.is_empty() && self.manager.out.is_empty() {
                return;
            }
            for action in actions {
                match action {
                    Action::Send(_, bytes) => self.manager.hear(&bytes, self.now),
                    Action::Notice(notice) => self.notices.push(notice),
                    Action::Asked(..) => {}
                }
            }
            for bytes in std::mem::take(&mut self.manager.out) {
                self.agent.datagram(&bytes, from(), self.now);
            }
        }
    }

    /// Time passes, every deadline is met.
    fn until(&mut self, at: Time) {
        loop {
            self.settle();
            let next = self.agent.next_deadline();
            if next > at {
                break;
            }
            self.now = next.max(self.now);
        }
        self.now = at;
        self.settle();
    }

    /// A binding that is in force.
    fn bound() -> Both {
        let mut both = Both::new();
        both.agent.add(statement(80), both.now).unwrap();
        both.settle();
        both.manager.ack(&[80], Answer::Done, both.now);
        both.settle();
        assert_eq!(both.standing(), Some(Standing::Bound));
        both.manager.messages();
        both
    }

    fn standing(&self) -> Option<Standing> {
        self.agent.standing(&binding(80))
    }
}

fn adds(messages: &[Message]) -> usize {
    messages.iter().filter(|message| matches!(message, Message::Add { .. })).count()
}

fn conditions(messages: &[Message]) -> Vec<Condition> {
    let bindings = messages.iter().filter_map(|message| match message {
        Message::Beacon { bindings, .. } => Some(bindings),
        _ => None,
    });
    bindings.flatten().map(|statement| statement.condition.clone()).collect()
}

#[test]
fn announced_until_it_is_acknowledged() {
    let mut both = Both::new();
    both.agent.add(statement(80), both.now).unwrap();
    both.settle();
    // The first is unproven, the second comes at once.
    assert_eq!((adds(&both.manager.messages()), both.now), (1, Time::ZERO));
    both.until(Time::from_millis(1100));
    assert_eq!(adds(&both.manager.messages()), 4);
    both.agent.add(statement(81), both.now).unwrap();
    both.settle();
    both.manager.ack(&[80], Answer::Done, both.now);
    both.settle();
    assert_eq!(both.standing(), Some(Standing::Bound));
    assert_eq!(both.agent.standing(&binding(81)), Some(Standing::Announced), "each for itself");
    both.manager.ack(&[81], Answer::Done, both.now);
    both.until(secs(100));
    let later = both.manager.messages();
    assert!(adds(&later) <= 2, "{later:?}");
    let beacons = conditions(&later).len() / 2;
    assert!((10..=12).contains(&beacons), "{beacons} beacons in 99 s");
}

#[test]
fn an_answer_that_is_none_or_a_refusal_is_asked_again() {
    let mut both = Both::new();
    both.agent.add(statement(80), both.now).unwrap();
    both.settle();
    both.manager.ack(&[80], Answer::Unreachable, both.now);
    both.until(secs(9));
    assert_eq!(both.standing(), Some(Standing::Announced));
    assert!(adds(&both.manager.messages()) >= 14);
    assert!(
        matches!(&both.notices[..], [Notice::Open(row)] if row.answer == Answer::Unreachable),
        "{:?}",
        both.notices
    );
    both.until(secs(11));
    both.manager.ack(&[80], Answer::Forbidden, both.now);
    both.settle();
    assert_eq!(both.standing(), Some(Standing::Refused));
    assert_eq!(both.agent.why(&binding(80)), Some(Words::clip("in words")));
    both.manager.messages();
    both.until(secs(32));
    assert_eq!(adds(&both.manager.messages()), 2, "every ten seconds");
    both.agent.add(statement(80), both.now).unwrap();
    both.settle();
    both.manager.ack(&[80], Answer::Done, both.now);
    both.settle();
    assert_eq!(both.standing(), Some(Standing::Bound));
}

#[test]
fn an_answer_to_something_else_counts_nothing() {
    let mut both = Both::bound();
    both.agent.withdraw(&binding(80), drain(5), both.now);
    both.settle();
    // Of the Add, that is.
    let of = acm_switch::beacon::message::Stamp { boot: 9, counter: 1 };
    let row =
        acm_switch::beacon::message::AckRow { key: binding(80), switch: None, answer: Answer::NotFound, note: None };
    both.manager.say(Message::Ack { of, rows: vec![row] }, both.now);
    both.settle();
    assert_eq!(both.standing(), Some(Standing::Leaving));
}

#[test]
fn taken_back_and_drained() {
    let mut both = Both::bound();
    both.now = secs(1);
    both.agent.withdraw(&binding(80), drain(5), both.now);
    both.settle();
    assert_eq!(both.manager.heard.last().unwrap().1, Message::Remove { bindings: vec![binding(80)], how: drain(5) });
    both.manager.ack(&[80], Answer::Done, both.now);
    both.settle();
    assert_eq!(both.standing(), Some(Standing::Drains));
    both.manager.messages();
    both.until(secs(3));
    let asked = both.manager.messages();
    assert!(
        matches!(asked.last(), Some(Message::Remove { how: Withdrawal::Drain { deadline: Some(left) }, .. })
        if *left <= Duration::from_millis(3250)),
        "what is left of the time: {asked:?}"
    );
    both.agent.add(statement(81), both.now).unwrap();
    both.until(secs(4));
    both.manager.ack(&[80], Answer::NotFound, both.now);
    both.settle();
    assert_eq!(both.standing(), None);
    assert_eq!(both.notices.iter().filter(|notice| **notice == Notice::Gone(binding(80))).count(), 1);
    both.until(secs(5));
    assert!(both.agent.standing(&binding(81)).is_some(), "others are as they were");
}

#[test]
fn while_it_leaves_beacons_say_so() {
    let mut both = Both::bound();
    both.agent.withdraw(&binding(80), drain(30), both.now);
    both.settle();
    both.manager.ack(&[80], Answer::Done, both.now);
    both.until(secs(20));
    let said = conditions(&both.manager.messages());
    assert!(!said.is_empty() && said.iter().all(|condition| *condition == Condition::Leaving), "{said:?}");
    // And it may come back before it is gone.
    both.agent.add(statement(80), both.now).unwrap();
    both.settle();
    both.manager.ack(&[80], Answer::Done, both.now);
    both.settle();
    assert_eq!(both.standing(), Some(Standing::Bound));
}

#[test]
fn nobody_holds_up_the_end_for_ever() {
    // Nobody was ever there.
    let mut alone = agent(Time::ZERO);
    alone.add(statement(80), Time::ZERO).unwrap();
    alone.withdraw(&binding(80), drain(30), Time::ZERO);
    alone.tick(Time::from_millis(999));
    assert!(!alone.is_idle());
    alone.tick(secs(1));
    assert!(alone.is_idle());
    // The leader died: a new one needs twelve seconds.
    let mut both = Both::bound();
    both.agent.withdraw(&binding(80), drain(30), both.now);
    both.agent.tick(secs(14));
    assert!(!both.agent.is_idle());
    both.agent.tick(secs(15));
    assert!(both.agent.is_idle());
    // It was acknowledged, and then nobody said anything: the switch has cut what was left.
    let mut both = Both::bound();
    both.agent.withdraw(&binding(80), drain(30), both.now);
    both.settle();
    both.manager.ack(&[80], Answer::Done, both.now);
    both.until(secs(31));
    assert!(!both.agent.is_idle());
    both.until(secs(33));
    assert!(both.agent.is_idle());
    assert_eq!(both.notices.last(), Some(&Notice::GivenUp(binding(80))));
}

#[test]
fn that_it_fails_is_said_three_times_and_that_it_serves_is_announced() {
    let mut both = Both::bound();
    let why = Words::clip("disk is failing");
    both.now = secs(1);
    both.agent.judge(&binding(80), Err(why.clone()), both.now);
    both.until(Time::from_millis(1500));
    assert_eq!(conditions(&both.manager.messages()), vec![Condition::Failing(why.clone()); 3]);
    assert_eq!((both.standing(), both.agent.why(&binding(80))), (Some(Standing::Failing), Some(why.clone())));
    both.agent.judge(&binding(80), Err(why), both.now);
    both.settle();
    assert!(both.manager.messages().is_empty(), "no news");
    both.agent.judge(&binding(80), Ok(()), both.now);
    both.settle();
    assert_eq!(adds(&both.manager.messages()), 1);
    both.agent.judge(&binding(80), Ok(()), both.now);
    both.settle();
    assert_eq!(adds(&both.manager.messages()), 0);
}

#[test]
fn a_peers_failure_is_told_three_times_a_second_at_most() {
    let mut both = Both::bound();
    let failures = |both: &mut Both| {
        both.manager.messages().iter().filter(|message| matches!(message, Message::Failure { .. })).count()
    };
    for millis in 1000..2000 {
        both.now = Time::from_millis(millis);
        both.agent.report(binding(99).real, Words::clip("connection reset"), both.now);
        both.settle();
    }
    assert_eq!(failures(&mut both), 3);
    both.until(secs(4));
    assert_eq!(failures(&mut both), 0);
    both.agent.report(binding(99).real, Words::clip("connection reset"), both.now);
    both.until(secs(5));
    assert_eq!(failures(&mut both), 3);
}

#[test]
fn solicited_beacons_come_in_time_and_a_flood_of_questions_is_answered_in_moderation() {
    let mut both = Both::bound();
    both.now = secs(1);
    both.manager.say(Message::Solicit { within: Duration::from_millis(200) }, both.now);
    both.until(Time::from_millis(1200));
    assert_eq!(conditions(&both.manager.messages()).len(), 1);
    for micros in 0..10_000 {
        both.now = secs(2) + Duration::from_micros(micros * 100);
        both.manager.say(Message::Solicit { within: Duration::ZERO }, both.now);
        both.settle();
    }
    let beacons = conditions(&both.manager.messages()).len();
    assert!((30..=51).contains(&beacons), "{beacons} beacons in a second");
}

#[test]
fn what_others_say_makes_it_say_nothing() {
    let mut both = Both::bound();
    // Another agent of the same key, never met before: managers are asked for proof, agents are not.
    let mut other = Peer::manager();
    other.say(Message::Beacon { period: Duration::from_secs(10), bindings: vec![statement(90)] }, both.now);
    other.say(Message::Leave, both.now);
    for bytes in other.out {
        both.agent.datagram(&bytes, from(), both.now);
    }
    both.agent.datagram(b"ACMB nonsense", from(), both.now);
    both.agent.datagram(&[], from(), both.now);
    both.agent.tick(both.now);
    assert!(both.agent.actions().is_empty());
    assert!(both.agent.next_deadline() > secs(8));
}

#[test]
fn as_many_bindings_as_there_may_be_fit_their_beacons() {
    let mut both = Both::new();
    for port in 1..=1024 {
        both.agent.add(statement(port), both.now).unwrap();
    }
    assert!(both.agent.add(statement(1025), both.now).is_err());
    assert!(both.agent.add(statement(7), both.now).is_ok(), "again is not one more");
    both.settle();
    both.manager.messages();
    both.until(secs(11));
    let said = conditions(&both.manager.messages()).len();
    assert_eq!(said % 1024, 0, "{said}");
    assert!(said >= 1024);
}
