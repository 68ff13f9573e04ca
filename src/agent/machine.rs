//! An agent as one machine: what its services want, datagrams and the time go in, [`Action`]s come out.
//!
//! It says its bindings until they are acknowledged, says them again in every beacon, answers whoever asks, and takes
//! them back. It has no socket, clock or task. Callers: [`task`](super::task), for services that have an agent inside,
//! and [`sidecar`](super::sidecar), for commands that have one beside them. What an operator asks is handed on to them
//! ([`Action::Asked`]), since only they know what can be restarted.
//!
//! ```text
//!            add             acknowledged
//!   (none) ------> Announced ------------> Bound <---> Failing
//!                     |  \ refused            |
//!                     |   +-> Refused         | withdraw
//!                     +------------+----------+
//!                                  v   acknowledged        nothing left
//!                               Leaving ----------> Drains ------------> Gone
//! ```

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::failures::Failures;
use crate::acm::words::BindingKey;
use crate::base::id::Name;
use crate::base::time::Time;
use crate::beacon::codec::Kind;
use crate::beacon::counters::Counters;
use crate::beacon::datagram::peek_kind;
use crate::beacon::gate::{Config, Gate, Heard, Sender, Unproven};
use crate::beacon::key::{KeyError, KeyId, KeyRing};
use crate::beacon::message::{
    AckRow, Answer, BINDINGS_PER_MESSAGE_MAX, Condition, Envelope, Facts, Message, NodeId, Restart, Stamp, Standing,
    StandingRow, Standings, Statement, Withdrawal,
};
use crate::beacon::sealer::Sealer;
use crate::beacon::words::Words;

/// No agent beacons faster.
pub const PERIOD_MIN: Duration = Duration::from_millis(50);

/// Bindings of one agent. At the bound an Add is refused: 1,024 need 40 beacons a period already.
pub const BINDINGS_MAX: usize = 1024;

/// A request is repeated this often at first,
const REPEAT: Duration = Duration::from_millis(250);
/// this many times,
const REPEATS_FAST: u32 = 8;
/// then this often,
const REPEAT_LATER: Duration = Duration::from_secs(1);
/// and this often when it was refused: what is refused may be granted tomorrow.
const REPEAT_REFUSED: Duration = Duration::from_secs(10);

/// A withdrawal that no manager acknowledges is given up after this long: a new one takes 12 s with the slowest timers,
pub(super) const NOBODY_ANSWERS: Duration = Duration::from_secs(15);
/// or after this long, if no manager was ever heard.
const NOBODY_EVER: Duration = Duration::from_secs(1);
/// A switch cuts what is left at the deadline; that it has done so is learnt a little later.
const AFTER_DEADLINE: Duration = Duration::from_secs(2);

/// Rows of one answer to an operator: each has at most 4 + 42 + 68 + 5 + 6 + 12 + 5 + 8 + 164 bytes.
const ROWS_PER_PART: usize = 4;

/// What others make us say is not closer than this, whoever asks, and however often.
const BEACON_GAP: Duration = Duration::from_millis(20);
/// Who must prove himself hears what he needs for it within this, or a tenth of a period if that is less: spread,
/// because it is a new leader, and all agents answer him.
const PROVE_WITHIN: Duration = Duration::from_secs(1);

/// That a service fails is said this often, since nobody acknowledges it and the next beacon may be far,
const FAILING_TOLD: u32 = 3;
/// this far apart.
const FAILING_GAP: Duration = Duration::from_millis(40);

/// What an agent is told at its start.
#[derive(Debug, Clone)]
pub struct Setup {
    /// Its number, unique among the holders of its key.
    pub node: NodeId,
    /// Whom it believes.
    pub ring: Arc<KeyRing>,
    /// The key it signs with.
    pub sign_with: KeyId,
    /// From one beacon to the next, at least [`PERIOD_MIN`].
    pub period: Duration,
    /// Which run this is: another number at each start.
    pub boot: u64,
    /// Bits that nobody outside knows.
    pub seed: u64,
}

/// To whom a datagram goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum To {
    /// The group, or every peer where there is no multicast.
    All,
    /// One.
    One(SocketAddr),
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Send this.
    Send(To, Vec<u8>),
    /// Tell people.
    Notice(Notice),
    /// An operator asks; [`Agent::reply`] answers.
    Asked(Asker, Question),
}

/// Who asks, and where the answer goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asker {
    to: SocketAddr,
    sender: Sender,
}

/// What an operator asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Question {
    /// How the services of this name stand, and how far this roll is.
    Who(Option<Name>, Option<u64>),
    /// A restart, of bindings that the operator's key covers.
    Restart(Restart),
}

/// What people may want to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// Every switch has it, or has said what it cannot do.
    Bound(BindingKey, Vec<AckRow>),
    /// No switch has it.
    Refused(BindingKey, AckRow),
    /// No new connection goes there any more.
    Withdrawn(BindingKey),
    /// Nothing is left of it.
    Gone(BindingKey),
    /// Nobody said that nothing is left of it, and the time is over.
    GivenUp(BindingKey),
    /// Nobody answers; it goes on asking. Said once, until somebody answers.
    NobodyAnswers,
    /// A manager answers, and a switch does not yet; it goes on asking. Said once, as before.
    Open(AckRow),
}

/// There is no room for another binding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an agent has at most {BINDINGS_MAX} bindings; run another beside it")]
pub struct AgentFull;

/// A request that is repeated until it is answered.
#[derive(Debug, Clone, Copy)]
struct Request {
    /// Answers to datagrams before this one are about something else.
    from: u64,
    repeat_at: Time,
    tries: u32,
}

/// One binding.
#[derive(Debug)]
struct Local {
    statement: Statement,
    standing: Standing,
    /// Why it is refused or fails.
    why: Option<Words>,
    request: Option<Request>,
    withdrawal: Option<(Withdrawal, Time)>,
    /// While it leaves: when to stop waiting.
    give_up_at: Time,
}

/// See the module's documentation.
#[derive(Debug)]
pub struct Agent {
    period: Duration,
    sealer: Sealer,
    gate: Gate,
    locals: BTreeMap<BindingKey, Local>,
    failures: Failures,
    beacon_at: Time,
    beaconed: Option<Time>,
    /// When requests were repeated because somebody asked for it.
    hurried: Option<Time>,
    /// Beacons to be said soon, because what they say must not be lost.
    urgent: u32,
    /// Some manager has answered.
    heard: bool,
    told_unheard: bool,
    /// The latest answer that was none.
    open_because: Option<AckRow>,
    coins: fastrand::Rng,
    actions: Vec<Action>,
}

impl Agent {
    /// An agent without bindings.
    ///
    /// # Errors
    /// [`KeyError::NoSuchKey`].
    pub fn new(setup: Setup, now: Time) -> Result<Agent, KeyError> {
        let late_after = setup.period.max(Duration::from_secs(2));
        let config = Config { own: (setup.node, setup.boot), late_after, seed: setup.seed };
        Ok(Agent {
            period: setup.period.max(PERIOD_MIN),
            sealer: Sealer::new(Arc::clone(&setup.ring), setup.node, setup.boot, setup.sign_with, now)?,
            gate: Gate::new(setup.ring, config),
            locals: BTreeMap::new(),
            failures: Failures::default(),
            beacon_at: Time::NEVER,
            beaconed: None,
            hurried: None,
            urgent: 0,
            heard: false,
            told_unheard: false,
            open_because: None,
            coins: fastrand::Rng::with_seed(setup.seed),
            actions: Vec::new(),
        })
    }

    /// Uses other keys from now on.
    ///
    /// # Errors
    /// [`KeyError::NoSuchKey`]; nothing is changed then.
    pub fn rotate(&mut self, ring: Arc<KeyRing>, sign_with: KeyId) -> Result<(), KeyError> {
        self.sealer.rotate(Arc::clone(&ring), sign_with)?;
        self.gate.rotate(ring);
        Ok(())
    }

    /// What is to be done, in order.
    pub fn actions(&mut self) -> Vec<Action> {
        std::mem::take(&mut self.actions)
    }

    /// Its number.
    pub fn node(&self) -> NodeId {
        self.sealer.node()
    }

    /// How a binding stands; `None` when there is nothing left of it.
    pub fn standing(&self, key: &BindingKey) -> Option<Standing> {
        self.locals.get(key).map(|local| local.standing)
    }

    /// Why it is refused, or fails.
    pub fn why(&self, key: &BindingKey) -> Option<Words> {
        self.locals.get(key).and_then(|local| local.why.clone())
    }

    /// How every binding stands, as it is told to operators.
    pub fn rows(&self) -> impl Iterator<Item = StandingRow> + '_ {
        self.locals.iter().map(|(key, local)| StandingRow {
            key: *key,
            name: local.statement.name.clone(),
            standing: local.standing,
            instance: None,
            roll: None,
            age: Duration::ZERO,
            why: local.why.clone(),
        })
    }

    /// True if nothing is in force, and nothing is being taken back.
    pub fn is_idle(&self) -> bool {
        self.locals.is_empty()
    }

    /// What became of every datagram.
    pub fn counters(&self) -> &Counters {
        self.gate.counters()
    }

    /// A binding is to be in force from now on. Repeating it, also while it leaves, announces it anew.
    ///
    /// # Errors
    /// [`AgentFull`].
    pub fn add(&mut self, statement: Statement, now: Time) -> Result<(), AgentFull> {
        let key = statement.key;
        if self.locals.len() >= BINDINGS_MAX && !self.locals.contains_key(&key) {
            return Err(AgentFull);
        }
        let local = Local {
            statement: Statement { condition: Condition::Serving, ..statement },
            standing: Standing::Announced,
            why: None,
            request: Some(self.ask(now)),
            withdrawal: None,
            give_up_at: Time::NEVER,
        };
        self.locals.insert(key, local);
        // The Add says all that a beacon would.
        self.beacon_at = self.beacon_at.min(now + self.period);
        Ok(())
    }

    /// The service's own word about a binding's health. That it is well again announces it anew. Nothing happens to one
    /// that leaves.
    pub fn judge(&mut self, key: &BindingKey, health: Result<(), Words>, now: Time) {
        let request = self.ask(now);
        let Some(local) = self.locals.get_mut(key).filter(|local| local.withdrawal.is_none()) else { return };
        match (health, local.standing) {
            (Ok(()), Standing::Failing) => {
                (local.statement.condition, local.standing, local.why) =
                    (Condition::Serving, Standing::Announced, None);
                local.request = Some(request);
            }
            (Ok(()), _) => {}
            (Err(why), _) if local.why.as_ref() == Some(&why) => {}
            (Err(why), _) => {
                local.statement.condition = Condition::Failing(why.clone());
                (local.standing, local.why, local.request) = (Standing::Failing, Some(why), None);
                (self.urgent, self.beacon_at) = (FAILING_TOLD, now);
            }
        }
    }

    /// What the service tells about itself; part of the next beacon.
    pub fn tell(&mut self, key: &BindingKey, facts: Facts) {
        if let Some(local) = self.locals.get_mut(key) {
            local.statement.facts = facts;
        }
    }

    /// Takes a binding back. With a deadline the switch cuts what is left then. While it leaves already, an earlier
    /// deadline counts from now on; nothing else changes.
    pub fn withdraw(&mut self, key: &BindingKey, how: Withdrawal, now: Time) {
        let request = self.ask(now);
        let patience = if self.heard { NOBODY_ANSWERS } else { NOBODY_EVER };
        let Some(local) = self.locals.get_mut(key) else { return };
        let until = match how {
            Withdrawal::Drain { deadline } => deadline.map_or(Time::NEVER, |deadline| now + deadline),
            Withdrawal::Force => now,
        };
        // Until it is acknowledged; then the deadline counts.
        let give_up_at = match local.standing {
            Standing::Drains => until + AFTER_DEADLINE,
            _ => now + patience,
        };
        match &mut local.withdrawal {
            Some((_, before)) if *before <= until => {}
            Some(before) => {
                *before = (how, until);
                local.give_up_at = give_up_at;
                local.request = local.request.map(|asked| Request { repeat_at: now, tries: 0, ..asked });
            }
            None => {
                local.withdrawal = Some((how, until));
                local.give_up_at = give_up_at;
                (local.standing, local.why) = (Standing::Leaving, None);
                local.statement.condition = Condition::Leaving;
                local.request = Some(request);
            }
        }
    }

    /// A peer failed: its connection was reset, or it gave no answer. The manager looks itself.
    pub fn report(&mut self, real: SocketAddr, why: Words, now: Time) {
        self.failures.report(real, why, now);
    }

    /// The agent ends and the services live on, or end without being withdrawn: managers look at once.
    pub fn leave(&mut self, now: Time) {
        self.say(Message::Leave, now);
        self.say(Message::Leave, now);
    }

    /// When it wants to be called next.
    pub fn next_deadline(&self) -> Time {
        let local = |local: &Local| local.give_up_at.min(local.request.map_or(Time::NEVER, |asked| asked.repeat_at));
        let due = self.locals.values().map(local).fold(self.beacon_at, Time::min);
        due.min(self.failures.next_deadline())
    }

    /// Time has passed.
    pub fn tick(&mut self, now: Time) {
        self.give_up(now);
        self.repeat(now);
        for failure in self.failures.due(now) {
            self.say(failure, now);
        }
        if now >= self.beacon_at {
            self.beacon(now);
        }
    }

    /// A datagram has come. What it was is in the counters.
    pub fn datagram(&mut self, bytes: &[u8], from: SocketAddr, now: Time) {
        // Most of what is said to the group is not for agents: it is not worth the cost of its tag.
        let is_for_us =
            matches!(peek_kind(bytes), Some(Kind::Solicit | Kind::Prove | Kind::Ack | Kind::Who | Kind::Restart));
        if !is_for_us {
            return;
        }
        match self.gate.open(bytes, now) {
            Ok(heard) => self.hear(heard, from, now),
            Err(refused) => {
                if let Some(unproven) = refused.prove {
                    self.ask_for_proof(unproven, from, now);
                }
            }
        }
    }

    fn hear(&mut self, heard: Heard, from: SocketAddr, now: Time) {
        let asker = Asker { to: from, sender: heard.sender };
        match heard.message {
            Message::Solicit { within } => {
                self.beacon_within(within, now);
                self.repeat_soon(now);
            }
            // Whoever must know us before he believes us: a request that waits for it is repeated at once.
            Message::Prove if self.locals.values().any(|local| local.request.is_some()) => self.repeat_soon(now),
            Message::Prove => self.beacon_within(Duration::ZERO, now),
            Message::Ack { of, rows } => self.acknowledged(of, &rows, now),
            Message::Who { name, roll } => self.actions.push(Action::Asked(asker, Question::Who(name, roll))),
            Message::Restart(restart) if restart.agent == self.node() => self.restart(asker, restart),
            // What others say to managers, and managers to each other.
            _ => {}
        }
    }

    /// A command, without what the operator's key does not cover.
    fn restart(&mut self, asker: Asker, mut restart: Restart) {
        let Some(grant) = self.gate.grant(asker.sender.key) else { return };
        let vips = &grant.vips;
        restart.bindings.retain(|key| vips.is_empty() || vips.iter().any(|range| range.holds(&key.service)));
        self.actions.push(Action::Asked(asker, Question::Restart(restart)));
    }

    /// A sender that is new to us is to show that it is no recording. An operator is answered; what we tell managers
    /// holds the challenge they must echo.
    fn ask_for_proof(&mut self, unproven: Unproven, from: SocketAddr, now: Time) {
        let is_operator = self.gate.grant(unproven.sender.key).is_some_and(|grant| grant.operator);
        if is_operator {
            let echoes = unproven.echo.into_iter().collect();
            let envelope = Envelope { challenge: Some(unproven.challenge), echoes, message: Message::Prove };
            self.send_to(Asker { to: from, sender: unproven.sender }, &envelope, now);
        } else {
            self.beacon_within(PROVE_WITHIN.min(self.period / 10), now);
        }
    }

    /// Answers an operator, in as many datagrams as it needs.
    pub fn reply(&mut self, asker: Asker, rows: &[StandingRow], now: Time) {
        let parts: Vec<_> = rows.chunks(ROWS_PER_PART).collect();
        for (part, rows) in parts.iter().enumerate() {
            let echoes = self.gate.echo_for(asker.sender).into_iter().collect();
            let standings = Standings { part: part as u16, parts: parts.len() as u16, rows: rows.to_vec() };
            let envelope = Envelope { challenge: None, echoes, message: Message::Standings(standings) };
            self.send_to(asker, &envelope, now);
        }
    }

    fn send_to(&mut self, asker: Asker, envelope: &Envelope, now: Time) {
        // Cut to fit before; and whoever asks repeats it.
        if let Ok(bytes) = self.sealer.seal_with(asker.sender.key, envelope, now) {
            self.actions.push(Action::Send(To::One(asker.to), bytes));
        }
    }

    fn ask(&self, now: Time) -> Request {
        Request { from: self.sealer.next_stamp().counter, repeat_at: now, tries: 0 }
    }

    fn beacon_within(&mut self, within: Duration, now: Time) {
        let earliest = self.beaconed.map_or(now, |at| at + BEACON_GAP).max(now);
        let at = (now + within.mul_f64(self.coins.f64())).max(earliest);
        self.beacon_at = self.beacon_at.min(at);
    }

    fn repeat_soon(&mut self, now: Time) {
        let earliest = self.hurried.map_or(now, |at| at + BEACON_GAP).max(now);
        self.hurried = Some(earliest);
        for asked in self.locals.values_mut().filter_map(|local| local.request.as_mut()) {
            asked.repeat_at = asked.repeat_at.min(earliest);
        }
    }

    fn give_up(&mut self, now: Time) {
        let over: Vec<_> =
            self.locals.iter().filter(|(_, local)| local.give_up_at <= now).map(|(key, _)| *key).collect();
        for key in over {
            self.locals.remove(&key);
            self.actions.push(Action::Notice(Notice::GivenUp(key)));
        }
    }

    /// Requests whose time has come, together.
    fn repeat(&mut self, now: Time) {
        let (mut adds, mut removes) = (Vec::new(), BTreeMap::<_, Vec<_>>::new());
        let is_unheard = |local: &Local| local.request.is_some_and(|asked| asked.tries == REPEATS_FAST);
        if !self.told_unheard && self.locals.values().any(is_unheard) {
            self.told_unheard = true;
            let why = self.open_because.take().map_or(Notice::NobodyAnswers, Notice::Open);
            self.actions.push(Action::Notice(why));
        }
        for (key, local) in &mut self.locals {
            let Some(asked) = local.request.as_mut().filter(|asked| asked.repeat_at <= now) else { continue };
            let pause = match local.standing {
                Standing::Refused => REPEAT_REFUSED,
                _ if asked.tries < REPEATS_FAST => REPEAT,
                _ => REPEAT_LATER,
            };
            asked.tries = asked.tries.saturating_add(1);
            asked.repeat_at = now + pause;
            match local.withdrawal {
                None => adds.push(local.statement.clone()),
                Some((Withdrawal::Force, _)) => removes.entry(None).or_default().push(*key),
                // What is left of the time, so that repeating does not prolong it. At the end of it, cut.
                Some((Withdrawal::Drain { .. }, until)) => {
                    let left = (until != Time::NEVER).then(|| until.since(now).max(Duration::from_millis(1)));
                    removes.entry(Some(left)).or_default().push(*key);
                }
            }
        }
        let period = self.period;
        self.say_in_parts(&adds, &|bindings| Message::Add { period, bindings }, now);
        for (deadline, keys) in removes {
            let how = deadline.map_or(Withdrawal::Force, |deadline| Withdrawal::Drain { deadline });
            self.say_in_parts(&keys, &|bindings| Message::Remove { bindings, how }, now);
        }
    }

    fn beacon(&mut self, now: Time) {
        self.beaconed = Some(now);
        self.beacon_at = match self.locals.is_empty() {
            true => Time::NEVER,
            false if self.urgent > 1 => now + FAILING_GAP,
            false => now + self.period.mul_f64(0.9 + 0.1 * self.coins.f64()),
        };
        self.urgent = self.urgent.saturating_sub(1);
        let all: Vec<_> = self.locals.values().map(|local| local.statement.clone()).collect();
        let period = self.period;
        self.say_in_parts(&all, &|bindings| Message::Beacon { period, bindings }, now);
    }

    fn acknowledged(&mut self, of: Stamp, rows: &[AckRow], now: Time) {
        if of.boot != self.sealer.boot() {
            return;
        }
        self.heard = true;
        for rows in rows.chunk_by(|a, b| a.key == b.key) {
            let key = rows[0].key;
            let Some(local) = self.locals.get_mut(&key) else { continue };
            let is_asked = local.request.is_some_and(|asked| of.counter >= asked.from);
            if !is_asked {
                continue;
            }
            if let Some(open) = rows.iter().find(|row| row.answer.is_temporary()) {
                self.open_because = Some(open.clone());
                continue;
            }
            (self.told_unheard, self.open_because) = (false, None);
            let done = rows.iter().any(|row| row.answer == Answer::Done);
            let notice = match (local.withdrawal.is_some(), done) {
                (false, true) => {
                    (local.standing, local.why, local.request) = (Standing::Bound, None, None);
                    Notice::Bound(key, rows.to_vec())
                }
                (false, false) => {
                    let before = std::mem::replace(&mut local.standing, Standing::Refused);
                    local.why = Some(rows[0].note.clone().unwrap_or_else(|| Words::clip(rows[0].answer.as_str())));
                    if before == Standing::Refused {
                        continue;
                    }
                    if let Some(asked) = &mut local.request {
                        asked.repeat_at = now + REPEAT_REFUSED;
                    }
                    Notice::Refused(key, rows[0].clone())
                }
                // Existing connections finish; it is asked again until nothing is left.
                (true, true) if local.standing == Standing::Drains => continue,
                (true, true) => {
                    local.standing = Standing::Drains;
                    let until = local.withdrawal.map_or(Time::NEVER, |(_, until)| until);
                    local.give_up_at = until + AFTER_DEADLINE;
                    if let Some(asked) = &mut local.request {
                        asked.tries = 0;
                    }
                    Notice::Withdrawn(key)
                }
                (true, false) => {
                    self.locals.remove(&key);
                    Notice::Gone(key)
                }
            };
            self.actions.push(Action::Notice(notice));
        }
    }

    /// Says a list in as many datagrams as it needs.
    fn say_in_parts<T: Clone>(&mut self, list: &[T], message: &dyn Fn(Vec<T>) -> Message, now: Time) {
        for part in list.chunks(BINDINGS_PER_MESSAGE_MAX) {
            if !self.say(message(part.to_vec()), now) && part.len() > 1 {
                let (one, other) = part.split_at(part.len() / 2);
                self.say_in_parts(one, message, now);
                self.say_in_parts(other, message, now);
            }
        }
    }

    /// Says something to all, with our challenge and the echoes of theirs. False if it does not fit.
    fn say(&mut self, message: Message, now: Time) -> bool {
        let (challenge, echoes) = (Some(self.gate.challenge(now)), self.gate.echoes());
        let sealed = self.sealer.seal(&Envelope { challenge, echoes, message }, now);
        let fits = sealed.is_ok();
        self.actions.extend(sealed.map(|bytes| Action::Send(To::All, bytes)));
        fits
    }
}
