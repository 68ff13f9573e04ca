//! The agent beside a command, behind `acm run`: it starts the command, announces what it serves, and takes that back
//! before the command ends. Pure; [`task`] has the processes, sockets, signals and the clock.
//!
//! * `instance`: one process of the command, from its start to its end; `roll`: which restarts it has been through;
//! * [`task`]: performs it; [`pass`]: how a process is given its sockets or ports.
//!
//! A command has N instances, for servers that use one core only; each has ports of its own, which it keeps over
//! restarts, so that its bindings stay the same. Instances know nothing of each other.

mod instance;
pub mod pass;
mod roll;
pub mod task;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use self::instance::{Act, Instance, Seen};
pub use self::instance::{Exit, Restarts, Treatment};
use super::machine::{self, Agent, AgentFull, Asker, Notice, Question, To};
use crate::acm::words::BindingKey;
use crate::base::time::Time;
use crate::beacon::key::{KeyError, KeyId, KeyRing};
use crate::beacon::message::{Standing, StandingRow, Statement, Withdrawal};
use crate::beacon::words::Words;

/// Instances of one command. More cores than that are more machines.
pub const INSTANCES_MAX: u16 = 256;

/// What is to be done; instances are numbered from 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Send this.
    Send(To, Vec<u8>),
    /// Tell people.
    Notice(Notice),
    /// Tell people about an instance.
    Told(usize, Event),
    /// Start the instance's process; its end comes to [`Sidecar::exited`].
    Start(usize),
    /// Tell it to end.
    Terminate(usize),
    /// End it.
    Kill(usize),
    /// Look whether it is healthy; tell [`Sidecar::checked`].
    Check(usize),
}

/// What happened to an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// It is healthy.
    Healthy,
    /// It fails, and is taken out of service.
    Fails(Words),
    /// It is taken back.
    Withdrawn,
    /// It restarts for this roll.
    Rolls(u64),
}

struct Place {
    bindings: Vec<Statement>,
    instance: Instance,
}

/// See the module's documentation.
pub struct Sidecar {
    agent: Agent,
    places: Vec<Place>,
    actions: Vec<Action>,
}

impl Sidecar {
    /// Instances that start now, each with what it serves.
    ///
    /// # Errors
    /// [`AgentFull`].
    pub fn new(
        agent: Agent,
        treatment: &Treatment,
        serves: Vec<Vec<Statement>>,
        now: Time,
    ) -> Result<Sidecar, AgentFull> {
        if serves.iter().map(Vec::len).sum::<usize>() > machine::BINDINGS_MAX {
            return Err(AgentFull);
        }
        let place = |bindings| Place { bindings, instance: Instance::new(treatment.clone(), now) };
        let mut sidecar = Sidecar { agent, places: serves.into_iter().map(place).collect(), actions: Vec::new() };
        sidecar.tick(now);
        Ok(sidecar)
    }

    /// What is to be done, in order.
    pub fn actions(&mut self) -> Vec<Action> {
        std::mem::take(&mut self.actions)
    }

    /// What an instance serves.
    pub fn bindings(&self, instance: usize) -> &[Statement] {
        &self.places[instance].bindings
    }

    /// The exit code, when every instance has come to its end: the first that is not 0.
    pub fn over(&self) -> Option<i32> {
        let codes: Option<Vec<_>> = self.places.iter().map(|place| place.instance.over()).collect();
        codes.map(|codes| codes.into_iter().find(|code| *code != 0).unwrap_or(0))
    }

    /// When it wants to be called next.
    pub fn next_deadline(&self) -> Time {
        self.places.iter().map(|place| place.instance.next_deadline()).fold(self.agent.next_deadline(), Time::min)
    }

    /// Time has passed.
    pub fn tick(&mut self, now: Time) {
        self.places.iter_mut().for_each(|place| place.instance.tick(now));
        self.settle(now);
    }

    /// A datagram has come.
    pub fn datagram(&mut self, bytes: &[u8], from: SocketAddr, now: Time) {
        self.agent.datagram(bytes, from, now);
        self.settle(now);
    }

    /// The process of an instance has ended.
    pub fn exited(&mut self, instance: usize, exit: Exit, now: Time) {
        self.places[instance].instance.exited(exit, now);
        self.settle(now);
    }

    /// A check of an instance has ended.
    pub fn checked(&mut self, instance: usize, health: Result<(), Words>, now: Time) {
        self.places[instance].instance.checked(health, now);
        self.settle(now);
    }

    /// Uses other keys from now on.
    ///
    /// # Errors
    /// [`KeyError::NoSuchKey`]; nothing is changed then.
    pub fn rotate(&mut self, ring: Arc<KeyRing>, sign_with: KeyId) -> Result<(), KeyError> {
        self.agent.rotate(ring, sign_with)
    }

    /// It ends and takes nothing back: managers look at once.
    pub fn leave(&mut self, now: Time) {
        self.agent.leave(now);
        self.settle(now);
    }

    /// Everything is to end.
    pub fn end(&mut self, now: Time) {
        self.places.iter_mut().for_each(|place| place.instance.end(now));
        self.settle(now);
    }

    /// Lets agent and instances hear of each other until none has anything to say.
    fn settle(&mut self, now: Time) {
        loop {
            self.agent.tick(now);
            let acts: Vec<_> = self.places.iter_mut().map(|place| place.instance.acts()).collect();
            let said = self.agent.actions();
            if said.is_empty() && acts.iter().all(Vec::is_empty) {
                return;
            }
            for (n, act) in acts.into_iter().enumerate().flat_map(|(n, acts)| acts.into_iter().map(move |act| (n, act)))
            {
                self.act(n, act, now);
            }
            for action in said {
                match action {
                    machine::Action::Send(to, bytes) => self.actions.push(Action::Send(to, bytes)),
                    machine::Action::Notice(notice) => self.actions.push(Action::Notice(notice)),
                    machine::Action::Asked(asker, question) => self.answer(asker, question, now),
                }
            }
            for n in 0..self.places.len() {
                let seen = self.seen(n);
                self.places[n].instance.see(seen, now);
            }
        }
    }

    fn act(&mut self, n: usize, act: Act, now: Time) {
        let action = match act {
            Act::Start => Action::Start(n),
            Act::Terminate => Action::Terminate(n),
            Act::Kill => Action::Kill(n),
            Act::Check => Action::Check(n),
            Act::Announce => {
                for statement in &self.places[n].bindings {
                    match self.agent.standing(&statement.key) {
                        Some(Standing::Failing) => self.agent.judge(&statement.key, Ok(()), now),
                        // There is room: it was counted at the start.
                        _ => drop(self.agent.add(statement.clone(), now)),
                    }
                }
                Action::Told(n, Event::Healthy)
            }
            Act::Fail(why) => {
                for statement in &self.places[n].bindings {
                    self.agent.judge(&statement.key, Err(why.clone()), now);
                }
                Action::Told(n, Event::Fails(why))
            }
            Act::Withdraw(drain) => {
                for statement in &self.places[n].bindings {
                    self.agent.withdraw(&statement.key, Withdrawal::Drain { deadline: Some(drain) }, now);
                }
                Action::Told(n, Event::Withdrawn)
            }
        };
        self.actions.push(action);
    }

    fn seen(&self, n: usize) -> Seen {
        let standings = || self.places[n].bindings.iter().map(|statement| self.agent.standing(&statement.key));
        match () {
            () if standings().all(|standing| standing.is_none()) => Seen::Gone,
            () if standings().all(|standing| matches!(standing, None | Some(Standing::Drains))) => Seen::Drains,
            () if standings().all(|standing| standing == Some(Standing::Bound)) => Seen::Bound,
            () => Seen::Between,
        }
    }

    fn answer(&mut self, asker: Asker, question: Question, now: Time) {
        let rows: Vec<_> = match question {
            Question::Who(name, roll) => {
                let rows = (0..self.places.len()).flat_map(|n| self.rows(n, roll, now));
                rows.filter(|row| name.is_none() || row.name == name).collect()
            }
            Question::Restart(command) => {
                let concerned: BTreeSet<usize> = command.bindings.iter().filter_map(|key| self.place_of(key)).collect();
                for n in &concerned {
                    let place = &mut self.places[*n];
                    let before = place.instance.roll(Some(command.roll)).map(|roll| roll.id);
                    place.instance.restart(command.roll, command.drain, command.within, now);
                    let after = place.instance.roll(Some(command.roll)).map(|roll| roll.id);
                    if before != after {
                        self.actions.push(Action::Told(*n, Event::Rolls(command.roll)));
                    }
                }
                concerned.into_iter().flat_map(|n| self.rows(n, Some(command.roll), now)).collect()
            }
        };
        self.agent.reply(asker, &rows, now);
    }

    fn place_of(&self, key: &BindingKey) -> Option<usize> {
        self.places.iter().position(|place| place.bindings.iter().any(|statement| statement.key == *key))
    }

    /// How the bindings of an instance stand.
    fn rows(&self, n: usize, roll: Option<u64>, now: Time) -> Vec<StandingRow> {
        let place = &self.places[n];
        let roll = place.instance.roll(roll);
        let row = |statement: &Statement| StandingRow {
            key: statement.key,
            name: statement.name.clone(),
            standing: self.agent.standing(&statement.key).unwrap_or(Standing::Absent),
            instance: Some(n as u16),
            roll: roll.map(|roll| (roll.id, roll.phase)),
            age: roll.map_or(Duration::ZERO, |roll| now.since(roll.since)),
            why: roll.and_then(|roll| roll.why.clone()).or_else(|| self.agent.why(&statement.key)),
        };
        place.bindings.iter().map(row).collect()
    }
}
