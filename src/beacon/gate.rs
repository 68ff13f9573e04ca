//! The receiving side: from bytes to a message that is authentic, fresh, said for the first time, and by somebody who
//! may say it. Everything else is refused and counted by its cause.
//!
//! # Freshness without clocks that agree
//!
//! No wall clock is compared, so one that is a day off, steps or leaps changes nothing.
//!
//! * **The first datagram of a run of a sender** is believed only if it echoes a challenge of ours that is at most
//!   [`CHALLENGE_LIFE`] old, and newer than the last datagram of the run we knew before. So a recording is refused,
//!   also after we restarted and forgot everything. A sender that lacks it is [`Unproven`]: the caller sends it a
//!   `Prove`, which holds our challenge and the echo of its own, and its next datagram is proof.
//! * **Later datagrams of that run** must have a counter not seen yet, and must not be late: `written` is on the
//!   sender's monotonic clock, the fastest way a datagram of this run ever took is remembered (and forgotten slowly,
//!   because clocks drift), and one that took longer than that by [`Config::late_after`] is a backlog and refused.
//!   A sender whose clock stood still while its machine slept would look late for ever; an echo of a recent challenge
//!   proves that it is not, and sets the measure anew.
//!
//! # Order
//!
//! Head, key and tag are checked before anything that is remembered is looked at, and nothing is remembered of a
//! datagram that is refused, except the challenge of one that is unproven: what is said next echoes it, so that the
//! other side can believe us while we still wait to believe it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use ahash::{AHashMap, RandomState};

use super::challenges::{CHALLENGE_LIFE, Challenges};
use super::codec::{Kind, Proof};
use super::counters::{Cause, Counters};
use super::datagram::{self, Head};
use super::key::{Grant, KeyId, KeyRing};
use super::message::{ECHOES_MAX, Message, NodeId, Stamp};
use super::window::Window;
use crate::base::time::Time;

/// Senders remembered. At the bound: those not heard for [`CHALLENGE_LIFE`] are forgotten, which opens no door, since
/// they must prove themselves anew; if all are younger, the newcomer is refused and counted.
pub const SENDERS_MAX: usize = 131_072;

/// `Prove` messages a second that refused datagrams may cause, whoever sends them.
const PROVES_PER_SECOND: u32 = 5_000;

/// A sender: the same number under two keys is two senders.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sender {
    /// Its key.
    pub key: KeyId,
    /// Its number.
    pub node: NodeId,
}

/// How a gate judges.
#[derive(Debug, Clone, Copy)]
pub struct Config {
    /// Our own number and run, to know our own voice.
    pub own: (NodeId, u64),
    /// A datagram that took this much longer than the fastest of its sender is late. One beacon period is right: what
    /// is older has been said again since.
    pub late_after: Duration,
    /// For challenges and hash tables: bits that nobody outside knows.
    pub seed: u64,
}

/// An accepted message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heard {
    /// Who said it.
    pub sender: Sender,
    /// Which datagram it was.
    pub stamp: Stamp,
    /// What was said.
    pub message: Message,
    /// The sender's challenge, to be echoed in what is sent to it.
    pub challenge: Option<u64>,
}

/// A datagram that was not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refused {
    /// Why.
    pub cause: Cause,
    /// Who is to be sent a `Prove`, if somebody is.
    pub prove: Option<Unproven>,
}

/// An authentic sender that could be a recording. Send it `Prove` with this challenge and this echo, under its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unproven {
    /// Who.
    pub sender: Sender,
    /// Our challenge to it.
    pub challenge: u64,
    /// Its challenge to us.
    pub echo: Option<u64>,
}

/// What is remembered of a sender.
#[derive(Debug)]
struct Seen {
    boot: u64,
    window: Window,
    /// When something of it was accepted last.
    heard: Time,
    /// Our clock minus its clock in microseconds, as of `least_at`, for the fastest datagram.
    least: i64,
    least_at: Time,
}

/// See the module's documentation.
#[derive(Debug)]
pub struct Gate {
    ring: Arc<KeyRing>,
    config: Config,
    challenges: Challenges,
    senders: AHashMap<Sender, Seen>,
    /// The latest challenges of others, one a sender, newest last: what everything we say to all echoes.
    owed: VecDeque<(Sender, u64)>,
    counters: Counters,
    swept: Option<Time>,
    proves: (Time, u32),
}

impl Gate {
    /// A gate that knows nobody yet.
    pub fn new(ring: Arc<KeyRing>, config: Config) -> Gate {
        let mut seeds = fastrand::Rng::with_seed(config.seed);
        let hasher = RandomState::with_seeds(seeds.u64(..), seeds.u64(..), seeds.u64(..), seeds.u64(..));
        Gate {
            ring,
            config,
            challenges: Challenges::new(seeds.u64(..)),
            senders: AHashMap::with_hasher(hasher),
            owed: VecDeque::with_capacity(ECHOES_MAX),
            counters: Counters::default(),
            swept: None,
            proves: (Time::ZERO, 0),
        }
    }

    /// Believes another ring from now on.
    pub fn rotate(&mut self, ring: Arc<KeyRing>) {
        self.senders.retain(|sender, _| ring.key(sender.key).is_some());
        self.owed.retain(|(sender, _)| ring.key(sender.key).is_some());
        self.ring = ring;
    }

    /// What became of every datagram.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// How many senders it remembers.
    pub fn senders(&self) -> usize {
        self.senders.len()
    }

    /// What a key allows.
    pub fn grant(&self, key: KeyId) -> Option<&Grant> {
        self.ring.key(key).map(|key| &key.grant)
    }

    /// The challenge to give in what we say to all.
    pub fn challenge(&mut self, now: Time) -> u64 {
        self.challenges.give(now, None)
    }

    /// The echoes that belong into everything we say to all.
    pub fn echoes(&self) -> Vec<u64> {
        self.owed.iter().rev().map(|(_, challenge)| *challenge).collect()
    }

    /// The echo that belongs into what we say to one.
    pub fn echo_for(&self, sender: Sender) -> Option<u64> {
        self.owed.iter().find(|(other, _)| *other == sender).map(|(_, challenge)| *challenge)
    }

    /// Judges a datagram.
    ///
    /// # Errors
    /// [`Refused`]; it is counted already, and nothing is remembered.
    pub fn open(&mut self, bytes: &[u8], now: Time) -> Result<Heard, Refused> {
        let judged = self.judge(bytes, now);
        match &judged {
            Ok(_) => self.counters.accepted += 1,
            Err(refused) => self.counters.count(refused.cause),
        }
        judged
    }

    fn judge(&mut self, bytes: &[u8], now: Time) -> Result<Heard, Refused> {
        let datagram = datagram::authenticate(&self.ring, bytes).map_err(|why| refuse(why.into()))?;
        let head = datagram.head;
        let sender = Sender { key: head.key, node: head.node };
        if (head.node, head.stamp.boot) == self.config.own {
            return Err(refuse(Cause::Own));
        }
        let kind = Kind::from_number(head.kind).ok_or(refuse(Cause::UnknownKind))?;
        let is_allowed = self.grant(head.key).is_some_and(|grant| grant.allows(kind.speaker(), head.node));
        if !is_allowed {
            return Err(refuse(Cause::NotAllowed));
        }
        let proof = datagram.proof().map_err(|why| refuse(why.into()))?;
        let least = self.is_fresh(sender, &head, &proof, now).map_err(|cause| {
            let prove = match cause {
                Cause::Unproven | Cause::Late => self.unproven(sender, &proof, now),
                _ => None,
            };
            Refused { cause, prove }
        })?;
        let message = datagram.message(kind).map_err(|why| refuse(why.into()))?;
        self.remember(sender, &head, least, now)?;
        if let Some(challenge) = proof.challenge {
            self.owe(sender, challenge);
        }
        Ok(Heard { sender, stamp: head.stamp, message, challenge: proof.challenge })
    }

    /// Judges replay and age; changes nothing. Returns the sender's measure of lateness as it is to be remembered.
    fn is_fresh(&self, sender: Sender, head: &Head, proof: &Proof, now: Time) -> Result<(i64, Time), Cause> {
        let proven_at = self.challenges.newest(&proof.echoes, now);
        let way = way_of(head, now);
        match self.senders.get(&sender) {
            Some(seen) if seen.boot == head.stamp.boot => {
                if !seen.window.is_new(head.stamp.counter) {
                    return Err(Cause::Replayed);
                }
                let least = seen.least_now(now);
                let late = Duration::from_micros(way.saturating_sub(least).max(0) as u64);
                let is_proven = proven_at.is_some_and(|given| now.since(given) <= self.config.late_after);
                match (late <= self.config.late_after, is_proven) {
                    (true, _) if way > least => Ok((seen.least, seen.least_at)),
                    (true, _) | (false, true) => Ok((way, now)),
                    (false, false) => Err(Cause::Late),
                }
            }
            seen => {
                let after = seen.map(|seen| seen.heard);
                match proven_at {
                    Some(given) if after.is_none_or(|heard| given > heard) => Ok((way, now)),
                    _ => Err(Cause::Unproven),
                }
            }
        }
    }

    fn remember(&mut self, sender: Sender, head: &Head, least: (i64, Time), now: Time) -> Result<(), Refused> {
        if !self.has_place(sender, now) {
            return Err(refuse(Cause::SendersFull));
        }
        let boot = head.stamp.boot;
        let fresh = || Seen { boot, window: Window::default(), heard: now, least: least.0, least_at: least.1 };
        let seen = self.senders.entry(sender).or_insert_with(fresh);
        if seen.boot != boot {
            *seen = fresh();
        }
        (seen.least, seen.least_at) = least;
        seen.heard = now;
        seen.window.mark(head.stamp.counter);
        Ok(())
    }

    /// Is there a place for this sender? For a manager always: their numbers are named in the ring, so few.
    fn has_place(&mut self, sender: Sender, now: Time) -> bool {
        let is_manager = || self.grant(sender.key).is_some_and(|grant| grant.managers.contains(&sender.node));
        if self.senders.len() < SENDERS_MAX || self.senders.contains_key(&sender) || is_manager() {
            return true;
        }
        self.sweep(now);
        self.senders.len() < SENDERS_MAX
    }

    /// Forgets senders that are silent; at most once a second, since it looks at all of them.
    fn sweep(&mut self, now: Time) {
        if self.swept.is_some_and(|at| now.since(at) < Duration::from_secs(1)) {
            return;
        }
        self.swept = Some(now);
        self.senders.retain(|_, seen| now.since(seen.heard) <= CHALLENGE_LIFE);
    }

    fn owe(&mut self, sender: Sender, challenge: u64) {
        if self.owed.back() == Some(&(sender, challenge)) {
            return;
        }
        self.owed.retain(|(other, _)| *other != sender);
        if self.owed.len() == ECHOES_MAX {
            self.owed.pop_front();
        }
        self.owed.push_back((sender, challenge));
    }

    /// What to ask of a sender whose datagram proves nothing, unless too much was asked of others already.
    fn unproven(&mut self, sender: Sender, proof: &Proof, now: Time) -> Option<Unproven> {
        if now.since(self.proves.0) >= Duration::from_secs(1) {
            self.proves = (now, 0);
        }
        if self.proves.1 >= PROVES_PER_SECOND {
            return None;
        }
        self.proves.1 += 1;
        if let Some(challenge) = proof.challenge {
            self.owe(sender, challenge);
        }
        let heard = self.senders.get(&sender).map(|seen| seen.heard);
        Some(Unproven { sender, challenge: self.challenges.give(now, heard), echo: proof.challenge })
    }
}

impl Seen {
    /// The measure, risen by a thousandth of the time since: more than any two clocks drift apart.
    fn least_now(&self, now: Time) -> i64 {
        self.least.saturating_add((now.since(self.least_at).as_micros() / 1000) as i64)
    }
}

/// Our clock minus the sender's: the time on the way, plus a number that is the same for all datagrams of a run.
fn way_of(head: &Head, now: Time) -> i64 {
    let written = i64::try_from(head.written.saturating_mul(1000)).unwrap_or(i64::MAX);
    i64::try_from(now.micros()).unwrap_or(i64::MAX).saturating_sub(written)
}

fn refuse(cause: Cause) -> Refused {
    Refused { cause, prove: None }
}
