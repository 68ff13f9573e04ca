//! One server of a roll, as the operator sees it: what its agent says of it, and how far it is.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use serde::Serialize;

use crate::acm::words::{BindingKey, ServiceKey};
use crate::base::time::Time;
use crate::beacon::gate::Sender;
use crate::beacon::message::{BINDINGS_PER_MESSAGE_MAX, NodeId, Phase, Standing, StandingRow};
use crate::beacon::words::Words;

/// A server that was not heard of for this long counts as out of service: three questions in a row had no answer.
pub(super) const STALE: Duration = Duration::from_secs(3);

/// One instance of one agent's command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct ServerId {
    /// The agent.
    pub agent: NodeId,
    /// Which of its instances.
    pub instance: u16,
}

/// How far a server is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// Its turn has not come.
    Waiting,
    /// It was told to restart, and has not said that it does.
    Told,
    /// It is under way. `Failed`: it failed in an earlier run of the operator, and its agent goes on trying.
    Under(Phase),
    /// It is back, and switches have a moment to check it.
    Settling,
    /// It is back.
    Done,
    /// It is not back, and why.
    Failed(Failure),
}

/// Where a server failed, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The step it was in; none: it never began.
    pub step: Option<Phase>,
    /// In plain words.
    pub why: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.step {
            Some(step) => write!(f, "while {step}: {}", self.why),
            None => write!(f, "before it began: {}", self.why),
        }
    }
}

/// What has changed about a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// It came to this phase.
    Came(Phase),
    /// It had been done before this operator asked.
    WasDone,
    /// Its agent has started anew, and remembers nothing.
    Forgot,
    /// It failed.
    Failed,
}

/// See the module's documentation.
#[derive(Debug)]
pub struct Server {
    /// Under which key and number its agent speaks, and from where.
    pub(super) sender: Sender,
    pub(super) from: SocketAddr,
    /// How each binding stands, and when that was said.
    bindings: BTreeMap<BindingKey, (Standing, Time)>,
    why: Option<Words>,
    /// The roll its agent tells of, and for how long it has been in its phase.
    pub(super) told_of: Option<(u64, Phase, Duration)>,
    /// It has no command that could be restarted.
    pub(super) is_embedded: bool,
    pub(super) heard: Time,
    pub(super) state: State,
    pub(super) since: Time,
    /// When it was told to restart, the first time.
    pub(super) began: Option<Time>,
    /// How long it took.
    pub(super) took: Option<Duration>,
    /// How long it was in each phase, as far as the operator saw.
    spent: BTreeMap<Phase, Duration>,
    /// How often it has begun.
    pub(super) tells: u32,
    pub(super) ask_at: Time,
}

impl Server {
    pub(super) fn new(sender: Sender, from: SocketAddr, now: Time) -> Server {
        Server {
            sender,
            from,
            bindings: BTreeMap::new(),
            why: None,
            told_of: None,
            is_embedded: false,
            heard: now,
            state: State::Waiting,
            since: now,
            began: None,
            took: None,
            spent: BTreeMap::new(),
            tells: 0,
            ask_at: now,
        }
    }

    /// How far it is.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// How long its restart took.
    pub fn took(&self) -> Option<Duration> {
        self.took
    }

    /// How long it was in each phase, as far as the operator saw.
    pub fn spent(&self) -> &BTreeMap<Phase, Duration> {
        &self.spent
    }

    /// What it serves under the service's name.
    pub fn bindings(&self) -> impl Iterator<Item = &BindingKey> {
        self.bindings.keys()
    }

    /// Where it listens, for people.
    pub fn address(&self) -> Option<SocketAddr> {
        self.bindings.keys().next().map(|key| key.real)
    }

    /// How it stands: in force if all of it is.
    pub fn standing(&self) -> Standing {
        let mut standings = self.bindings.values().map(|(standing, _)| *standing);
        standings.find(|standing| *standing != Standing::Bound).unwrap_or(Standing::Bound)
    }

    /// Why it stands so, as its agent says.
    pub fn why(&self) -> Option<&Words> {
        self.why.as_ref()
    }

    /// True from the command to the end.
    pub(super) fn is_under_way(&self) -> bool {
        matches!(self.state, State::Told | State::Under(_) | State::Settling)
    }

    /// True if its agent is silent for this long.
    pub(super) fn is_silent(&self, than: Duration, now: Time) -> bool {
        now.since(self.heard) > than
    }

    /// True unless it serves, as far as one knows, and goes on serving.
    pub(super) fn is_out(&self, now: Time) -> bool {
        self.is_under_way() || self.standing() != Standing::Bound || self.is_silent(STALE, now)
    }

    /// True if new connections to this virtual service may come here.
    pub(super) fn serves(&self, service: &ServiceKey, now: Time) -> bool {
        let is_bound = |(key, (standing, _)): (&BindingKey, &(Standing, Time))| {
            key.service == *service && *standing == Standing::Bound
        };
        !self.is_under_way() && !self.is_silent(STALE, now) && self.bindings.iter().any(is_bound)
    }

    /// Its agent tells of one of its bindings.
    pub(super) fn take(&mut self, row: &StandingRow, now: Time) {
        self.heard = now;
        // What it tells of no more, it had before it was started anew.
        self.bindings.retain(|_, (_, said)| now.since(*said) <= STALE);
        if self.bindings.len() < BINDINGS_PER_MESSAGE_MAX || self.bindings.contains_key(&row.key) {
            self.bindings.insert(row.key, (row.standing, now));
        }
        self.why = row.why.clone();
        self.told_of = row.roll.map(|(id, phase)| (id, phase, row.age));
        self.is_embedded = row.instance.is_none();
    }

    pub(super) fn come_to(&mut self, state: State, now: Time) {
        if let State::Under(phase) = self.state {
            *self.spent.entry(phase).or_default() += now.since(self.since);
        }
        if matches!(state, State::Told) {
            self.tells += 1;
            self.began = self.began.or(Some(now));
        }
        if matches!(state, State::Done | State::Failed(_)) {
            self.took = self.began.map(|began| now.since(began));
        }
        (self.state, self.since, self.ask_at) = (state, now, now);
    }

    pub(super) fn fail(&mut self, why: String, now: Time) -> Change {
        let step = match self.state {
            State::Under(phase) => Some(phase),
            State::Settling => Some(Phase::Adding),
            _ => None,
        };
        self.come_to(State::Failed(Failure { step, why }), now);
        Change::Failed
    }

    /// Draws the conclusions from what its agent told last.
    pub(super) fn judge(&mut self, roll: u64, now: Time) -> Option<Change> {
        let is_bound = self.standing() == Standing::Bound;
        let ours = self.told_of.filter(|(id, ..)| *id == roll).map(|(_, phase, _)| phase);
        match (&self.state, ours) {
            (State::Done | State::Failed(_), _) | (State::Waiting, None) => None,
            (State::Waiting, Some(Phase::Done)) => {
                self.come_to(State::Done, now);
                Some(Change::WasDone)
            }
            (State::Settling, Some(Phase::Done | Phase::Failed)) if !is_bound => {
                let why = self.why.as_ref().map_or(String::new(), |why| format!(": {why}"));
                Some(self.fail(format!("it was back, and is {} again{why}", self.standing()), now))
            }
            (State::Settling, Some(_)) => None,
            // Failed and in force: its agent went on, and it came back.
            (_, Some(Phase::Done)) | (State::Under(Phase::Failed), Some(Phase::Failed))
                if ours == Some(Phase::Done) || is_bound =>
            {
                self.come_to(State::Settling, now);
                Some(Change::Came(Phase::Done))
            }
            (State::Under(Phase::Failed), Some(Phase::Failed)) => None,
            (State::Waiting, Some(Phase::Failed)) => {
                self.come_to(State::Under(Phase::Failed), now);
                Some(Change::Came(Phase::Failed))
            }
            (_, Some(Phase::Failed)) => {
                let why = self.why.as_ref().map_or("its agent does not say why".to_owned(), Words::to_string);
                Some(self.fail(why, now))
            }
            (State::Under(before), Some(phase)) if *before == phase => None,
            (_, Some(phase)) => {
                self.began = self.began.or(Some(now));
                self.come_to(State::Under(phase), now);
                Some(Change::Came(phase))
            }
            (State::Told, None) => {
                let (other, phase, _) = self.told_of.filter(|(_, phase, _)| !phase.is_over())?;
                Some(self.fail(format!("roll {other:016x} is {phase} there"), now))
            }
            (State::Under(_) | State::Settling, None) => {
                self.come_to(State::Waiting, now);
                Some(Change::Forgot)
            }
        }
    }
}
