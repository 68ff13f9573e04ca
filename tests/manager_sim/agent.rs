//! An agent in the small: Adds with repetition, beacons, answers Solicit and Prove, Removes. And the server it speaks
//! for.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use acm_switch::acm::words::BindingKey;
use acm_switch::base::id::Name;
use acm_switch::base::time::Time;
use acm_switch::beacon::gate::{Config, Gate};
use acm_switch::beacon::key::{KeyId, KeyRing};
use acm_switch::beacon::message::{AckRow, Condition, Envelope, Message, NodeId, Stamp, Statement, Withdrawal};
use acm_switch::beacon::sealer::Sealer;
use acm_switch::beacon::words::Words;

/// What the agent wants now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(dead_code, reason = "each of the tests that share this uses some")]
pub(crate) enum Intent {
    Serving,
    Failing,
    Withdrawn,
}

pub(crate) struct Agent {
    pub(crate) bindings: Vec<BindingKey>,
    pub(crate) intent: Intent,
    /// When the request it makes now was acknowledged for all bindings.
    pub(crate) acknowledged: Option<Time>,
    /// What each switch answered about each binding to the request it makes now: the latest, but a note is kept.
    pub(crate) answers: BTreeMap<(BindingKey, Option<Name>), AckRow>,
    /// How it withdraws.
    pub(crate) how: Withdrawal,
    sealer: Sealer,
    gate: Gate,
    period: Duration,
    beacon_at: Time,
    repeat_at: Option<Time>,
    stamps: BTreeSet<Stamp>,
    open: BTreeSet<BindingKey>,
    coins: fastrand::Rng,
}

impl Agent {
    /// `now` is its own clock.
    #[allow(clippy::too_many_arguments, reason = "an agent is all of these")]
    pub(crate) fn new(
        ring: &Arc<KeyRing>,
        node: u64,
        key: u16,
        boot: u64,
        bindings: Vec<BindingKey>,
        period: Duration,
        seed: u64,
        now: Time,
    ) -> Agent {
        let config = Config { own: (NodeId(node), boot), late_after: period.max(Duration::from_secs(2)), seed };
        let mut agent = Agent {
            intent: Intent::Serving,
            acknowledged: None,
            answers: BTreeMap::new(),
            how: Withdrawal::Drain { deadline: Some(Duration::from_secs(5)) },
            sealer: Sealer::new(Arc::clone(ring), NodeId(node), boot, KeyId(key), now).unwrap(),
            gate: Gate::new(Arc::clone(ring), config),
            period,
            beacon_at: now,
            repeat_at: None,
            stamps: BTreeSet::new(),
            open: BTreeSet::new(),
            coins: fastrand::Rng::with_seed(seed),
            bindings,
        };
        agent.request(now);
        agent
    }

    /// Wants something else from now on.
    pub(crate) fn intend(&mut self, intent: Intent, now: Time) {
        (self.intent, self.acknowledged) = (intent, None);
        self.beacon_at = now;
        match intent {
            Intent::Serving | Intent::Withdrawn => self.request(now),
            Intent::Failing => self.repeat_at = None,
        }
    }

    fn request(&mut self, now: Time) {
        self.repeat_at = Some(now);
        self.stamps.clear();
        self.answers.clear();
        self.open = self.bindings.iter().copied().collect();
    }

    pub(crate) fn next_deadline(&self) -> Time {
        self.beacon_at.min(self.repeat_at.unwrap_or(Time::NEVER))
    }

    pub(crate) fn tick(&mut self, now: Time) -> Vec<Vec<u8>> {
        let mut out = Vec::new();
        if self.repeat_at.is_some_and(|at| now >= at) {
            self.repeat_at = Some(now + Duration::from_millis(250));
            self.stamps.insert(self.sealer.next_stamp());
            let message = match self.intent {
                Intent::Withdrawn => Message::Remove { bindings: self.open.iter().copied().collect(), how: self.how },
                _ => Message::Add { period: self.period, bindings: self.statements(Condition::Serving) },
            };
            out.push(self.seal(message, now));
        }
        if now >= self.beacon_at {
            self.beacon_at = now + self.period.mul_f64(0.9 + 0.1 * self.coins.f64());
            let condition = match self.intent {
                Intent::Serving => Condition::Serving,
                Intent::Failing => Condition::Failing(Words::clip("disk is failing")),
                Intent::Withdrawn => Condition::Leaving,
            };
            let message = Message::Beacon { period: self.period, bindings: self.statements(condition) };
            out.push(self.seal(message, now));
        }
        out
    }

    pub(crate) fn datagram(&mut self, bytes: &[u8], simulated: Time, now: Time) {
        let message = match self.gate.open(bytes, now) {
            Ok(heard) => heard.message,
            Err(refused) => {
                if refused.prove.is_some() {
                    self.soon(Duration::from_millis(50), now);
                }
                return;
            }
        };
        match message {
            Message::Solicit { within } => self.soon(within, now),
            Message::Prove => self.soon(Duration::from_millis(1), now),
            Message::Ack { of, rows } if self.stamps.contains(&of) => {
                for row in &rows {
                    let before = self.answers.remove(&(row.key, row.switch.clone()));
                    let note = row.note.clone().or(before.and_then(|before| before.note));
                    self.answers.insert((row.key, row.switch.clone()), AckRow { note, ..row.clone() });
                }
                for rows in rows.chunk_by(|a, b| a.key == b.key) {
                    if !rows.iter().any(|row| row.answer.is_temporary()) {
                        self.open.remove(&rows[0].key);
                    }
                }
                if self.open.is_empty() && self.repeat_at.take().is_some() {
                    self.acknowledged = Some(simulated);
                }
            }
            _ => {}
        }
    }

    fn soon(&mut self, within: Duration, now: Time) {
        self.beacon_at = self.beacon_at.min(now + within.mul_f64(self.coins.f64()));
        self.repeat_at = self.repeat_at.map(|_| now);
    }

    fn statements(&self, condition: Condition) -> Vec<Statement> {
        let one = |key: &BindingKey| Statement { condition: condition.clone(), ..Statement::new(*key) };
        self.bindings.iter().map(one).collect()
    }

    fn seal(&mut self, message: Message, now: Time) -> Vec<u8> {
        let (challenge, echoes) = (Some(self.gate.challenge(now)), self.gate.echoes());
        self.sealer.seal(&Envelope { challenge, echoes, message }, now).unwrap()
    }
}
