//! Who leads. Pure: messages and the time come in, what is to be said and done comes out.
//!
//! One leader beats. Whoever misses its heartbeats waits a random moment and claims; whoever hears a claim meanwhile
//! keeps quiet, so a thousand candidates make a handful of claims. Of two that claim at once the lower number prevails;
//! a living leader prevails over both, so a lower number that returns changes nothing. If two lead all the same, after
//! a partition or by loss, the one of the higher term prevails and of equal ones the lower number, as soon as one hears
//! the other. Until then both act: **that is normal and harmless**, because what they do is idempotent and switches
//! refuse the older epoch. A leader whom a switch refuses steps down, whatever it hears.
//!
//! ```text
//!             silence: misses x heartbeat            random moment over              claim not contested
//!  Watching ------------------------------> Waiting --------------------> Claiming ---------------------> Leading
//!     ^  ^          heartbeat or claim heard |  heartbeat or lower claim     |                               |
//!     |  +-----------------------------------+-------------------------------+                               |
//!     +------------------- outranked, refused by a switch, stopped for a heartbeat, told to end -------------+
//! ```
//!
//! A machine that was stopped (SIGSTOP, a suspended VM) sees on its next call that more than a heartbeat has passed
//! since the last one; it then listens for one heartbeat period before it acts again.

use std::time::Duration;

use super::timing::Timing;
use crate::base::time::Time;
use crate::beacon::message::{NodeId, Role};

/// A leadership's rank: the higher term, then the lower number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Leadership {
    /// Its term.
    pub term: u64,
    /// Who.
    pub node: NodeId,
}

impl Leadership {
    fn outranks(self, other: Leadership) -> bool {
        (self.term, std::cmp::Reverse(self.node)) > (other.term, std::cmp::Reverse(other.node))
    }
}

/// What a manager said about leading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Word {
    /// I lead.
    Heartbeat(u64),
    /// I am about to.
    Claim(u64),
    /// I end.
    Resign,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// Say this to all managers.
    Say(Word),
    /// We lead from now on.
    Lead(u64),
    /// We lead no more.
    StepDown(Why),
    /// We still lead, but another did for a while and may have claimed the switches: claim them again.
    Reclaim,
}

/// Why a leader stopped leading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// It heard one that prevails.
    Outranked(NodeId),
    /// A switch has granted a newer epoch.
    Fenced,
    /// It was stopped for longer than a heartbeat.
    Paused,
    /// It was told to end.
    Told,
}

impl std::fmt::Display for Why {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Why::Outranked(node) => write!(f, "manager {node} leads"),
            Why::Fenced => f.write_str("a switch has granted a newer epoch"),
            Why::Paused => f.write_str("this process was stopped for longer than a heartbeat"),
            Why::Told => f.write_str("it was told to end"),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Until `until` somebody is believed to lead, or to be about to.
    Watching {
        leader: Option<Leadership>,
        until: Time,
    },
    /// Nobody leads; claims at this moment unless somebody else does.
    Waiting {
        claim_at: Time,
    },
    Claiming {
        term: u64,
        say_at: Time,
        lead_at: Time,
    },
    Leading {
        term: u64,
        since: Time,
        beat_at: Time,
        said_at: Time,
    },
}

/// One manager's view of who leads.
#[derive(Debug)]
pub struct Election {
    me: NodeId,
    heartbeat: Duration,
    patience: Duration,
    state: State,
    /// The highest term heard of; a claim is for the next.
    term: u64,
    /// When it was last called, to notice that it was stopped.
    called: Time,
    /// How often in a row it was refused by a switch. Two managers that do not hear each other would otherwise take the
    /// switches from each other for ever at full speed.
    fenced: u32,
    coins: fastrand::Rng,
}

/// Claims are spread so that only few of this many candidates are early: a truncated exponential distribution, as in
/// RFC 5740, section 5.1.
const CANDIDATES: f64 = 1000.0;

/// Who has led for this many heartbeats has no rival, and what a switch refused before is forgotten.
const IN_PEACE: u32 = 200;

impl Election {
    /// A manager that starts now and first listens for as long as a leader may be silent.
    pub fn new(me: NodeId, timing: &Timing, seed: u64, now: Time) -> Election {
        let patience = timing.heartbeat * timing.misses;
        Election {
            me,
            heartbeat: timing.heartbeat,
            patience,
            state: State::Watching { leader: None, until: now + patience },
            term: 0,
            called: now,
            fenced: 0,
            coins: fastrand::Rng::with_seed(seed),
        }
    }

    /// What it is.
    pub fn role(&self) -> Role {
        match self.state {
            State::Watching { .. } | State::Waiting { .. } => Role::Watching,
            State::Claiming { .. } => Role::Claiming,
            State::Leading { .. } => Role::Leading,
        }
    }

    /// The newest term it knows.
    pub fn term(&self) -> u64 {
        self.term
    }

    /// Who leads, as far as it knows.
    pub fn leader(&self) -> Option<NodeId> {
        match self.state {
            State::Watching { leader, .. } => leader.map(|leadership| leadership.node),
            State::Leading { .. } => Some(self.me),
            State::Waiting { .. } | State::Claiming { .. } => None,
        }
    }

    /// A leader may begin to write until then, and then must have been called again.
    pub fn may_write_until(&self) -> Option<Time> {
        matches!(self.state, State::Leading { .. }).then(|| self.called + self.heartbeat)
    }

    /// When it wants to be called next.
    pub fn next_deadline(&self) -> Time {
        let due = match self.state {
            State::Watching { until, .. } => until,
            State::Waiting { claim_at } => claim_at,
            State::Claiming { say_at, lead_at, .. } => say_at.min(lead_at),
            State::Leading { beat_at, .. } => beat_at,
        };
        // Often enough to tell a pause from quiet.
        due.min(self.called + self.heartbeat / 2)
    }

    /// Time has passed.
    pub fn tick(&mut self, now: Time) -> Vec<Act> {
        let mut acts = self.wake(now);
        match self.state {
            State::Watching { until, .. } if now >= until => self.wait(now),
            State::Waiting { claim_at } if now >= claim_at => acts.extend(self.claim(now)),
            State::Claiming { term, lead_at, .. } if now >= lead_at => acts.extend(self.lead(term, now)),
            State::Claiming { term, say_at, lead_at } if now >= say_at => {
                self.state = State::Claiming { term, say_at: now + self.claim_wait() / 3, lead_at };
                acts.push(Act::Say(Word::Claim(term)));
            }
            State::Leading { term, since, beat_at, .. } if now >= beat_at => {
                self.state = State::Leading { term, since, beat_at: now + self.heartbeat, said_at: now };
                acts.push(Act::Say(Word::Heartbeat(term)));
            }
            _ => {}
        }
        acts
    }

    /// Another manager said something.
    pub fn heard(&mut self, from: NodeId, word: Word, now: Time) -> Vec<Act> {
        let mut acts = self.wake(now);
        if from == self.me {
            return acts;
        }
        match word {
            Word::Heartbeat(term) => acts.extend(self.heard_leader(Leadership { term, node: from }, now)),
            Word::Claim(term) => {
                self.term = self.term.max(term);
                acts.extend(self.heard_claim(from, now));
            }
            Word::Resign => {
                if matches!(self.state, State::Watching { leader: Some(leader), .. } if leader.node == from) {
                    self.wait(now);
                }
            }
        }
        acts
    }

    /// A switch has granted a newer epoch than ours.
    pub fn fenced(&mut self, now: Time) -> Vec<Act> {
        let mut acts = self.wake(now);
        if let State::Leading { since, .. } = self.state {
            let in_peace = now.since(since) > self.heartbeat * IN_PEACE;
            self.fenced = if in_peace { 1 } else { (self.fenced + 1).min(6) };
            let listen = self.heartbeat * (1 << self.fenced);
            self.state = State::Watching { leader: None, until: now + listen };
            acts.push(Act::StepDown(Why::Fenced));
        }
        acts
    }

    /// It is told to end.
    pub fn resign(&mut self, now: Time) -> Vec<Act> {
        let was = self.role();
        self.state = State::Watching { leader: None, until: now + self.patience };
        match was {
            Role::Leading => vec![Act::Say(Word::Resign), Act::StepDown(Why::Told)],
            _ => Vec::new(),
        }
    }

    /// Notices a pause: then nothing that was known is believed, and the ears come first.
    fn wake(&mut self, now: Time) -> Vec<Act> {
        let paused = now.since(self.called) > self.heartbeat;
        self.called = self.called.max(now);
        if !paused {
            return Vec::new();
        }
        let listen = now + self.heartbeat;
        let was_leading = self.role() == Role::Leading;
        self.state = match self.state {
            State::Watching { leader, until } => State::Watching { leader, until: until.max(listen) },
            _ => State::Watching { leader: None, until: listen },
        };
        if was_leading { vec![Act::StepDown(Why::Paused)] } else { Vec::new() }
    }

    /// Nobody leads: a random moment is awaited.
    fn wait(&mut self, now: Time) {
        let window = (self.heartbeat * 2 / 3).as_secs_f64();
        let lambda = CANDIDATES.ln() + 1.0;
        let share = (self.coins.f64() * (lambda.exp() - 1.0) + 1.0).ln() / lambda;
        self.state = State::Waiting { claim_at: now + Duration::from_secs_f64(window * share) };
    }

    /// How long a claim may be contested. Together with the random moment: one heartbeat.
    fn claim_wait(&self) -> Duration {
        self.heartbeat / 3
    }

    fn claim(&mut self, now: Time) -> Option<Act> {
        self.term += 1;
        let wait = self.claim_wait();
        self.state = State::Claiming { term: self.term, say_at: now + wait / 3, lead_at: now + wait };
        Some(Act::Say(Word::Claim(self.term)))
    }

    fn lead(&mut self, term: u64, now: Time) -> [Act; 2] {
        self.state = State::Leading { term, since: now, beat_at: now + self.heartbeat, said_at: now };
        [Act::Lead(term), Act::Say(Word::Heartbeat(term))]
    }

    fn heard_leader(&mut self, other: Leadership, now: Time) -> Vec<Act> {
        self.term = self.term.max(other.term);
        let follow = State::Watching { leader: Some(other), until: now + self.patience };
        match self.state {
            State::Leading { term, .. } => {
                if other.outranks(Leadership { term, node: self.me }) {
                    self.state = follow;
                    return vec![Act::StepDown(Why::Outranked(other.node))];
                }
                return self.assert(now).into_iter().chain([Act::Reclaim]).collect();
            }
            // One that does not prevail over the leader we hear will hear it too.
            State::Watching { leader: Some(leader), .. } if leader.outranks(other) && leader.node != other.node => {}
            _ => {
                self.state = follow;
                self.fenced = 0;
            }
        }
        Vec::new()
    }

    fn heard_claim(&mut self, from: NodeId, now: Time) -> Option<Act> {
        // Time for the claimant to become leader and to be heard, once lost.
        let yielded = State::Watching { leader: None, until: now + self.heartbeat * 2 };
        match self.state {
            State::Leading { .. } => return self.assert(now),
            State::Claiming { term, lead_at, .. } if from > self.me => {
                self.state = State::Claiming { term, say_at: now, lead_at };
            }
            State::Claiming { .. } | State::Waiting { .. } => self.state = yielded,
            State::Watching { leader: None, until } if until < now + self.heartbeat * 2 => self.state = yielded,
            State::Watching { .. } => {}
        }
        None
    }

    /// A leader that is overlooked speaks up, but not to everybody's every word.
    fn assert(&mut self, now: Time) -> Option<Act> {
        match &mut self.state {
            State::Leading { term, said_at, .. } if now.since(*said_at) >= self.heartbeat / 4 => {
                *said_at = now;
                Some(Act::Say(Word::Heartbeat(*term)))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manager(node: u64, seed: u64) -> Election {
        Election::new(NodeId(node), &Timing::normal(), seed, Time::ZERO)
    }

    /// Calls it when it wants to be called, until `end`; what it does and when.
    fn run(one: &mut Election, end: Time) -> Vec<(u64, Act)> {
        let mut acts = Vec::new();
        while one.next_deadline() <= end {
            let now = one.next_deadline();
            acts.extend(one.tick(now).into_iter().map(|act| (now.millis(), act)));
        }
        acts
    }

    fn leader(node: u64, seed: u64) -> (Election, Time) {
        let mut one = manager(node, seed);
        let acts = run(&mut one, Time::from_secs(13));
        let (at, _) = *acts.iter().find(|(_, act)| matches!(act, Act::Lead(_))).expect("it leads");
        (one, Time::from_millis(at))
    }

    #[test]
    fn alone_it_leads_within_twelve_seconds() {
        for seed in 0..200 {
            let (one, at) = leader(1, seed);
            assert!((10_000..=12_000).contains(&at.millis()), "seed {seed}: {at:?}");
            assert_eq!((one.role(), one.leader()), (Role::Leading, Some(NodeId(1))));
        }
    }

    #[test]
    fn heartbeats_keep_it_quiet_and_a_resignation_is_no_silence() {
        let mut one = manager(2, 1);
        for n in 1..20 {
            assert!(one.heard(NodeId(7), Word::Heartbeat(4), Time::from_secs(n * 3)).is_empty());
            assert!(run(&mut one, Time::from_secs(n * 3 + 2)).is_empty());
        }
        one.heard(NodeId(7), Word::Resign, Time::from_secs(59));
        let acts = run(&mut one, Time::from_secs(62));
        assert!(acts.iter().any(|(_, act)| *act == Act::Lead(5)), "{acts:?}");
    }

    #[test]
    fn a_claim_suppresses_those_that_wait_and_the_lower_number_prevails() {
        let until_claim = |one: &mut Election| loop {
            let now = one.next_deadline();
            if one.tick(now).contains(&Act::Say(Word::Claim(1))) {
                return now;
            }
        };
        let (mut two, mut waiting) = (manager(2, 1), manager(1, 2));
        let now = until_claim(&mut two);
        run(&mut waiting, Time::from_millis(9000));
        waiting.heard(NodeId(2), Word::Claim(1), Time::from_millis(9001));
        assert!(run(&mut waiting, Time::from_millis(14_000)).is_empty(), "suppressed, although lower");
        two.heard(NodeId(3), Word::Claim(1), now);
        assert_eq!(two.role(), Role::Claiming);
        two.heard(NodeId(1), Word::Claim(1), now);
        assert_eq!(two.role(), Role::Watching);
    }

    #[test]
    fn a_lower_number_that_returns_does_not_pre_empt() {
        let (mut seven, at) = leader(7, 1);
        assert_eq!(seven.heard(NodeId(1), Word::Claim(9), at + Duration::from_secs(1)), [Act::Say(Word::Heartbeat(1))]);
        assert_eq!(seven.role(), Role::Leading);
        let mut one = manager(1, 2);
        one.heard(NodeId(7), Word::Heartbeat(1), Time::from_secs(1));
        assert_eq!(one.leader(), Some(NodeId(7)));
        assert!(run(&mut one, Time::from_millis(9900)).is_empty());
    }

    #[test]
    fn of_two_leaders_the_higher_term_prevails_then_the_lower_number() {
        for (other, term, prevails) in [(1, 1, true), (9, 1, false), (9, 2, true), (1, 0, false)] {
            let (mut five, at) = leader(5, 1);
            let acts = five.heard(NodeId(other), Word::Heartbeat(term), at + Duration::from_secs(1));
            assert_eq!(acts.contains(&Act::StepDown(Why::Outranked(NodeId(other)))), prevails, "{other} {term}");
            assert_eq!(acts.contains(&Act::Say(Word::Heartbeat(1))), !prevails);
        }
    }

    #[test]
    fn a_stopped_leader_listens_before_it_acts() {
        let (mut one, at) = leader(1, 1);
        let woke = at + Duration::from_secs(40);
        assert_eq!(one.tick(woke), [Act::StepDown(Why::Paused)]);
        assert_eq!(one.may_write_until(), None);
        let acts = run(&mut one, woke + Duration::from_millis(2999));
        assert!(acts.is_empty(), "{acts:?}");
        // Somebody leads meanwhile: it stays with him.
        one.heard(NodeId(2), Word::Heartbeat(2), woke + Duration::from_secs(3));
        assert!(run(&mut one, woke + Duration::from_secs(11)).is_empty());
        assert_eq!(one.leader(), Some(NodeId(2)));
    }

    #[test]
    fn a_fenced_leader_steps_down_and_waits_longer_each_time() {
        let (mut one, mut now) = leader(1, 1);
        let mut waits = Vec::new();
        for _ in 0..4 {
            now = now + Duration::from_secs(1);
            assert_eq!(one.fenced(now), [Act::StepDown(Why::Fenced)]);
            assert!(one.fenced(now).is_empty());
            let acts = run(&mut one, now + Duration::from_secs(100));
            let (at, _) = acts.iter().find(|(_, act)| matches!(act, Act::Lead(_))).expect("it leads again");
            waits.push(at - now.millis());
            now = Time::from_secs(now.millis() / 1000 + 100);
        }
        assert!(waits.is_sorted() && waits[0] < 10_000 && waits[3] > 40_000, "{waits:?}");
    }

    #[test]
    fn a_thousand_candidates_make_few_claims() {
        let mut worst = 0;
        for seed in 0..50 {
            let mut all: Vec<_> = (0..1000).map(|node| manager(node, seed * 1000 + node)).collect();
            // All notice at once; whoever claims is heard by all a millisecond later.
            for one in &mut all {
                run(one, Time::from_millis(9000));
            }
            let mut claims: Vec<(Time, u64)> = Vec::new();
            for ms in 9000..12_100 {
                let now = Time::from_millis(ms);
                let heard: Vec<_> = claims.iter().filter(|(at, _)| at.millis() + 1 == ms).copied().collect();
                for (node, one) in all.iter_mut().enumerate() {
                    for (_, from) in heard.iter().filter(|(_, from)| *from != node as u64) {
                        one.heard(NodeId(*from), Word::Claim(1), now);
                    }
                    let said = one.tick(now);
                    claims.extend(
                        said.iter().filter(|act| matches!(act, Act::Say(Word::Claim(_)))).map(|_| (now, node as u64)),
                    );
                }
            }
            let leaders: Vec<_> = all.iter().filter(|one| one.role() == Role::Leading).collect();
            assert_eq!(leaders.len(), 1, "seed {seed}");
            worst = worst.max(claims.len());
        }
        assert!(worst <= 10, "{worst} claims");
    }
}
