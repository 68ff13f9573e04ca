//! A rolling restart as one machine: what agents tell and the time go in, questions, commands and news come out.
//!
//! ```text
//!  Finding ----------> Rolling ---------------------------------------> Over
//!   who is bound        a server at a time:                              ^
//!   as SERVICE?         Waiting -> Told -> Under(phase) -> Settling -> Done
//!                                            \ failed                    |
//!                                             +-> Stopping: what is under way is waited for, nothing more is begun
//! ```
//!
//! # What it keeps to
//!
//! * No more servers are out of service than [`Plan::at_once`](super::plan::Plan::at_once), whatever the reason: one that
//!   fails by itself counts, and one that is not heard of. Only a server that is out anyway is restarted beyond that.
//! * The last server of a virtual service that serves is never taken out, unless it is the only one there is and
//!   [`Plan::force`](super::plan::Plan::force) says so.
//! * After the first failure nothing more is begun.
//! * It remembers nothing that is needed: agents remember which roll they have been through. A second operator with the
//!   same roll's number goes on where the first one died; commands may be lost, doubled and come late.
//!
//! Managers are not asked: agents tell that they were acknowledged.

mod server;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

pub use self::server::{Change, Failure, Server, ServerId, State};
use super::plan::{Drain, Plan};
use crate::base::span::Span;
use crate::base::time::Time;
use crate::beacon::gate::Sender;
use crate::beacon::message::{Message, Phase, Restart, Standings};

/// Servers of one roll. At the bound it is not begun.
pub const SERVERS_MAX: usize = 4096;

/// Agents are looked for this long at least: at one datagram in ten lost, one in 10,000 is missed, and met later.
const FIND: Duration = Duration::from_millis(1500);
/// Until none was found anew for this long,
const FIND_QUIET: Duration = Duration::from_millis(500);
/// but not longer than this.
const FIND_MAX: Duration = Duration::from_secs(10);
/// While they are looked for, everybody is asked this often,
const FIND_AGAIN: Duration = Duration::from_millis(200);
/// and later this often.
const ASK_ALL: Duration = Duration::from_secs(1);
/// One that is under way is asked this often,
const ASK: Duration = Duration::from_millis(20);
/// and this often when it has been in a phase for
const ASK_LATER: Duration = Duration::from_millis(500);
/// this long.
const LATER: Duration = Duration::from_secs(10);

/// An agent under way that is silent for this long has failed.
const SILENT: Duration = Duration::from_secs(10);
/// An agent that does not begin within this does not want to.
const BEGIN_WITHIN: Duration = Duration::from_secs(10);
/// Switches acknowledge within this; a new manager with the slowest timers takes 12 s.
const ADD_WITHIN: Duration = Duration::from_secs(30);
/// What an agent may take longer than it is allowed to, before it says so.
const GRACE: Duration = Duration::from_secs(10);
/// An agent that forgets the roll under way, because it was started anew, is told again, but not more often than this.
const TELLS_MAX: u32 = 3;

/// Which roll.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// A new one of this number, chosen at random.
    New(u64),
    /// This one goes on.
    Resume(u64),
    /// The one goes on that agents say was the latest.
    ResumeLatest,
}

/// To whom something is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum To {
    /// Every agent.
    All,
    /// One, under the key it speaks with.
    One(Sender, SocketAddr),
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Say this.
    Say(To, Message),
    /// Tell people.
    Tell(News),
}

/// What people may want to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum News {
    /// It begins: so many servers, so many at once, connections cut after this long (none: as agents are configured).
    Begins {
        /// Which.
        roll: u64,
        /// Servers.
        servers: usize,
        /// At once.
        at_once: usize,
        /// The drain.
        drain: Option<Duration>,
    },
    /// Something has changed about a server.
    Changed(ServerId, Change),
    /// A server is told to restart.
    Told(ServerId),
    /// A server is back for good.
    Back(ServerId),
    /// Nothing can be begun now, and why.
    Waits(String),
    /// Nothing more is begun, and why.
    Stops(String),
}

/// How it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Every server has been restarted and is back.
    Done,
    /// No agent answered.
    Nobody,
    /// Not everything was done, and why.
    Stopped(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Stage {
    Finding { since: Time, newest: Time },
    Rolling { waits: Option<Time> },
    Stopping(String),
    Over(Outcome),
}

/// See the module's documentation.
#[derive(Debug)]
pub struct Roll {
    plan: Plan,
    start: Start,
    stage: Stage,
    servers: BTreeMap<ServerId, Server>,
    at_once: usize,
    drain: Option<Duration>,
    ask_at: Time,
    actions: Vec<Action>,
}

impl Roll {
    /// One that begins now.
    pub fn new(plan: Plan, start: Start, now: Time) -> Roll {
        let stage = Stage::Finding { since: now, newest: now };
        Roll { plan, start, stage, servers: BTreeMap::new(), at_once: 1, drain: None, ask_at: now, actions: Vec::new() }
    }

    /// What is to be done, in order.
    pub fn actions(&mut self) -> Vec<Action> {
        std::mem::take(&mut self.actions)
    }

    /// Its number, once it is known.
    pub fn id(&self) -> Option<u64> {
        match self.start {
            Start::New(id) | Start::Resume(id) => Some(id),
            Start::ResumeLatest => None,
        }
    }

    /// The servers, by agent and instance.
    pub fn servers(&self) -> &BTreeMap<ServerId, Server> {
        &self.servers
    }

    /// How it ended, when it has.
    pub fn outcome(&self) -> Option<&Outcome> {
        match &self.stage {
            Stage::Over(outcome) => Some(outcome),
            _ => None,
        }
    }

    /// The drain, once it is known; none: as agents are configured.
    pub fn drain(&self) -> Option<Duration> {
        self.drain
    }

    /// How many at once, once it is known.
    pub fn at_once(&self) -> usize {
        self.at_once
    }

    /// Nothing more is to be begun; what is under way is waited for.
    pub fn interrupt(&mut self) {
        self.stop("it was interrupted".into());
    }

    /// When it wants to be called next.
    pub fn next_deadline(&self) -> Time {
        let settled = |server: &Server| match server.state {
            State::Settling => server.since + self.plan.settle,
            _ => Time::NEVER,
        };
        let under_way = self.servers.values().filter(|server| server.is_under_way());
        under_way.map(|server| server.ask_at.min(settled(server))).fold(self.ask_at, Time::min)
    }

    /// An agent has told how its bindings stand.
    pub fn standings(&mut self, sender: Sender, from: SocketAddr, said: &Standings, now: Time) {
        let (service, mut is_news) = (self.plan.service.clone(), false);
        for row in said.rows.iter().filter(|row| row.name.as_ref() == Some(&service)) {
            let id = ServerId { agent: sender.node, instance: row.instance.unwrap_or(0) };
            if !self.servers.contains_key(&id) {
                if self.servers.len() >= SERVERS_MAX {
                    return self.stop(format!("there are more than {SERVERS_MAX} servers"));
                }
                if let Stage::Finding { newest, .. } = &mut self.stage {
                    *newest = now;
                }
            }
            let server = self.servers.entry(id).or_insert_with(|| Server::new(sender, from, now));
            (server.sender, server.from) = (sender, from);
            server.take(row, now);
            let is_planned = matches!(self.stage, Stage::Rolling { .. } | Stage::Stopping(_));
            if let (true, Some(roll)) = (is_planned, self.id()) {
                let change = self.servers.get_mut(&id).and_then(|server| server.judge(roll, now));
                is_news |= change.is_some();
                self.changed(id, change);
            }
        }
        // What is only as it was can wait for the next question.
        if is_news {
            self.tick(now);
        }
    }

    /// Time has passed.
    pub fn tick(&mut self, now: Time) {
        if let Stage::Finding { since, newest } = self.stage {
            let is_found = now.since(since) >= FIND && now.since(newest) >= FIND_QUIET;
            if is_found || now.since(since) >= FIND_MAX {
                self.begin(now);
            }
        }
        if matches!(self.stage, Stage::Rolling { .. } | Stage::Stopping(_)) {
            self.look_after(now);
            self.go_on(now);
        }
        self.ask(now);
    }

    fn say(&mut self, to: To, message: Message) {
        self.actions.push(Action::Say(to, message));
    }

    fn tell(&mut self, news: News) {
        self.actions.push(Action::Tell(news));
    }

    fn stop(&mut self, why: String) {
        match self.stage {
            Stage::Over(_) | Stage::Stopping(_) => {}
            Stage::Finding { .. } => self.stage = Stage::Over(Outcome::Stopped(why)),
            Stage::Rolling { .. } => {
                self.tell(News::Stops(why.clone()));
                self.stage = Stage::Stopping(why);
            }
        }
    }

    fn changed(&mut self, id: ServerId, change: Option<Change>) {
        let Some(change) = change else { return };
        let failed = self.servers.get(&id).and_then(|server| match &server.state {
            State::Failed(failure) => Some(format!("{} failed {failure}", name(id, server))),
            _ => None,
        });
        self.tell(News::Changed(id, change));
        if let Some(why) = failed {
            self.stop(why);
        }
    }

    /// Asks everybody, and those that are under way more often.
    fn ask(&mut self, now: Time) {
        if self.outcome().is_some() {
            self.ask_at = Time::NEVER;
            return;
        }
        if now >= self.ask_at {
            let is_finding = matches!(self.stage, Stage::Finding { .. });
            self.ask_at = now + if is_finding { FIND_AGAIN } else { ASK_ALL };
            let question = self.question();
            self.say(To::All, question);
        }
        let due = |server: &Server| server.is_under_way() && now >= server.ask_at;
        let mut said = Vec::new();
        for (id, server) in self.servers.iter_mut().map(|(id, server)| (*id, server)).filter(|(_, server)| due(server))
        {
            server.ask_at = now + if now.since(server.since) < LATER { ASK } else { ASK_LATER };
            said.push((id, To::One(server.sender, server.from)));
        }
        for (id, to) in said {
            // Only what has not begun is commanded: an agent that has forgotten would begin once more.
            let message = match self.servers[&id].state {
                State::Told => self.command(id),
                _ => self.question(),
            };
            self.say(to, message);
        }
    }

    /// What it asks agents; also for those that must first believe the operator.
    pub fn question(&self) -> Message {
        Message::Who { name: Some(self.plan.service.clone()), roll: self.id() }
    }

    fn command(&self, id: ServerId) -> Message {
        Message::Restart(Restart {
            agent: id.agent,
            roll: self.id().unwrap_or_default(),
            bindings: self.servers[&id].bindings().copied().collect(),
            drain: self.drain,
            within: self.plan.wait_healthy,
        })
    }

    /// Everybody who answers is known.
    fn begin(&mut self, now: Time) {
        if self.servers.is_empty() {
            self.stage = Stage::Over(Outcome::Nobody);
            return;
        }
        match self.prepare() {
            Err(why) => self.stop(why),
            // The latest roll was asked for, and is known now: ask about this one.
            Ok(Some(latest)) => {
                self.start = Start::Resume(latest);
                self.stage = Stage::Finding { since: now, newest: now };
                self.ask_at = now;
            }
            Ok(None) => {
                let (servers, roll) = (self.servers.len(), self.id().unwrap_or_default());
                self.tell(News::Begins { roll, servers, at_once: self.at_once, drain: self.drain });
                self.stage = Stage::Rolling { waits: None };
                for id in self.servers.keys().copied().collect::<Vec<_>>() {
                    let change = self.servers.get_mut(&id).and_then(|server| server.judge(roll, now));
                    self.changed(id, change);
                }
            }
        }
    }

    /// How many at once and how long, or the number of the roll to go on with, or why it cannot begin.
    fn prepare(&mut self) -> Result<Option<u64>, String> {
        if let Some((id, server)) = self.servers.iter().find(|(_, server)| server.is_embedded) {
            let name = name(*id, server);
            return Err(format!("{name} has its agent inside and no command to restart; restart it by its own means"));
        }
        if self.start == Start::ResumeLatest {
            let told = self.servers.values().filter_map(|server| server.told_of);
            let latest = told.min_by_key(|(id, phase, age)| (phase.is_over(), *age, *id));
            let (id, ..) = latest.ok_or("no agent remembers a roll; start one without --resume")?;
            return Ok(Some(id));
        }
        let own = self.id();
        let other = self.servers.iter().find_map(|(id, server)| {
            let (roll, phase, _) = server.told_of?;
            (Some(roll) != own && !phase.is_over()).then(|| (name(*id, server), roll, phase))
        });
        if let Some((name, roll, phase)) = other {
            return Err(format!(
                "roll {roll:016x} is {phase} at {name}; wait for it, or go on with --resume={roll:016x}"
            ));
        }
        let services = self.servers.values().flat_map(|server| server.bindings().map(|key| key.service));
        let mut count: BTreeMap<_, usize> = BTreeMap::new();
        services.for_each(|service| *count.entry(service).or_default() += 1);
        if let Some((service, _)) = count.iter().find(|(_, servers)| **servers == 1).filter(|_| !self.plan.force) {
            return Err(format!("{service} has one server only, and would be without any; --force restarts it anyway"));
        }
        self.at_once = self.plan.at_once.of(self.servers.len());
        self.drain = match self.plan.drain {
            Drain::Agents => None,
            Drain::Fixed(drain) => Some(drain),
            Drain::For(target) => Some(target.drain(self.servers.len(), self.at_once).map_err(|why| why.to_string())?),
        };
        Ok(None)
    }

    /// What those under way may not take longer for.
    fn look_after(&mut self, now: Time) {
        let (settle, within) = (self.plan.settle, self.plan.wait_healthy);
        for id in self.servers.keys().copied().collect::<Vec<_>>() {
            let Some(server) = self.servers.get_mut(&id).filter(|server| server.is_under_way()) else { continue };
            let since = now.since(server.since);
            let too_long = |limit: Duration, what: &str| (since > limit).then(|| format!("{what} for {}", Span(limit)));
            let failed = match server.state {
                _ if server.is_silent(SILENT, now) => Some(format!("its agent has not answered for {}", Span(SILENT))),
                State::Told => too_long(BEGIN_WITHIN, "its agent answers, and has not begun"),
                State::Under(Phase::Checking) => too_long(within + GRACE, "not healthy"),
                State::Under(Phase::Adding) => too_long(ADD_WITHIN, "no manager has acknowledged it"),
                State::Under(Phase::Failed) => too_long(within, "it failed before, and has not come back"),
                _ => None,
            };
            if let Some(why) = failed {
                let change = server.fail(why, now);
                self.changed(id, Some(change));
            } else if server.state == State::Settling && since >= settle {
                server.come_to(State::Done, now);
                self.tell(News::Back(id));
            }
        }
    }

    /// Begins what may begin, and sees whether it is over.
    fn go_on(&mut self, now: Time) {
        let under_way = self.servers.values().filter(|server| server.is_under_way()).count();
        if let Stage::Stopping(why) = &self.stage {
            if under_way == 0 {
                self.stage = Stage::Over(Outcome::Stopped(why.clone()));
            }
            return;
        }
        if self.servers.values().all(|server| server.state == State::Done) {
            self.stage = Stage::Over(Outcome::Done);
            return;
        }
        if under_way >= self.at_once {
            return;
        }
        let mut obstacle = None;
        let mut waiting: Vec<_> =
            self.servers.iter().filter(|(_, server)| server.state == State::Waiting).map(|(id, _)| *id).collect();
        // What is out of service anyway costs nothing, and shows first whether the new version is any good.
        waiting.sort_by_key(|id| (!self.servers[id].is_out(now), self.servers[id].address(), *id));
        for id in waiting {
            match self.may_begin(id, now) {
                Ok(()) => {
                    if let Some(server) = self.servers.get_mut(&id) {
                        server.come_to(State::Told, now);
                    }
                    self.tell(News::Told(id));
                }
                Err(why) => obstacle = obstacle.or(Some(why)),
            }
        }
        let Stage::Rolling { waits } = &mut self.stage else { return };
        match obstacle.filter(|_| self.servers.values().all(|server| !server.is_under_way())) {
            None => *waits = None,
            Some(why) => match *waits {
                None => {
                    *waits = Some(now);
                    self.tell(News::Waits(why));
                }
                Some(since) if now.since(since) > self.plan.wait_healthy => self.stop(why),
                Some(_) => {}
            },
        }
    }

    /// May this server leave now?
    fn may_begin(&self, id: ServerId, now: Time) -> Result<(), String> {
        let server = &self.servers[&id];
        if server.is_silent(server::STALE, now) {
            return Err(format!("{} does not answer", name(id, server)));
        }
        if server.tells >= TELLS_MAX {
            return Err(format!("the agent of {} forgets what it was told; does it run?", name(id, server)));
        }
        let others = || self.servers.iter().filter(|(other, _)| **other != id);
        if others().filter(|(_, other)| other.is_under_way()).count() >= self.at_once {
            return Err("as many as may are under way".into());
        }
        if server.is_out(now) {
            return Ok(());
        }
        let out: Vec<_> = others().filter(|(_, other)| other.is_out(now)).collect();
        if out.len() >= self.at_once {
            let of = |(id, server): &(&ServerId, &Server)| {
                let state =
                    if server.is_silent(server::STALE, now) { "silent".into() } else { server.standing().to_string() };
                let why = server.why().map_or(String::new(), |why| format!(" ({why})"));
                format!("{} is {state}{why}", name(**id, server))
            };
            return Err(format!("out of service already: {}", out.iter().map(of).collect::<Vec<_>>().join(", ")));
        }
        for key in server.bindings() {
            let is_only = others().all(|(_, other)| other.bindings().all(|theirs| theirs.service != key.service));
            if !is_only && !others().any(|(_, other)| other.serves(&key.service, now)) {
                return Err(format!("{} is the last one that serves {}", name(id, server), key.service));
            }
        }
        Ok(())
    }
}

/// A server's name for people.
pub fn name(id: ServerId, server: &Server) -> String {
    let ServerId { agent, instance } = id;
    match server.address() {
        Some(address) => format!("{address} (agent {agent}, instance {instance})"),
        None => format!("agent {agent}, instance {instance}"),
    }
}

#[cfg(test)]
mod tests;
