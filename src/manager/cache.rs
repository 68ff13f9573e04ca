//! What services want, as far as the leader has heard: the binding cache. It filters what is said again without
//! change, and says what each switch should have.
//!
//! Soft state: a new leader begins with an empty one. A binding leaves it in three ways. Its agent withdraws it. It says
//! itself that it fails, and comes back when it says otherwise. Or it is silent, or a peer reports it, *and* a direct
//! probe fails: silence alone withdraws nothing, because beacons are lost and agents die while their service lives.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::net::SocketAddr;
use std::time::Duration;

use ahash::{AHashMap, RandomState};

use super::probe::{Evidence, Finding, Target};
use crate::acm::words::{BindingKey, HealthDepth, ServiceKey};
use crate::base::id::Name;
use crate::base::limits::BINDINGS_MAX;
use crate::base::time::Time;
use crate::beacon::gate::Sender;
use crate::beacon::message::{Condition, Stamp, Statement, Withdrawal};
use crate::beacon::words::Words;

/// What is wanted of a switch about one binding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Want {
    /// It shall be there, like this.
    Present(Wish),
    /// It shall not.
    Absent(Absence),
}

/// The options of a binding that is wanted. An absent one is the switch's default.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Wish {
    /// Group.
    pub group: Option<Name>,
    /// Weight.
    pub weight: Option<u16>,
    /// Limit of connections.
    pub max_conns: Option<u32>,
    /// How deep it is to be checked.
    pub depth: Option<HealthDepth>,
}

/// Everything wanted of one switch.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// By binding.
    pub bindings: BTreeMap<BindingKey, Want>,
    /// Services of which some agent is heard: we are not deaf to them.
    pub heard: BTreeSet<ServiceKey>,
}

/// Why a binding is not wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Absence {
    /// Its agent withdrew it. The only reason that may take the last member of a service.
    Asked(Withdrawal),
    /// Its agent says that it fails.
    Failing(Words),
    /// It is silent, or a peer reported it, and the probe failed too.
    Dead(Evidence),
}

/// A binding's death, as far as known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Death {
    evidence: Evidence,
    /// A peer saw it while its agent spoke for it: the agent's word alone does not bring it back, a probe does.
    reported: bool,
}

#[derive(Debug)]
struct Entry {
    agent: Sender,
    said: Stamp,
    heard: Time,
    /// Silent after this long.
    patience: Duration,
    statement: Statement,
    withdrawn: Option<Withdrawal>,
    death: Option<Death>,
    /// A peer complains of it, and it has not been probed since.
    reported: bool,
    /// Its agent has left.
    left: bool,
}

impl Entry {
    fn want(&self) -> Want {
        match (&self.withdrawn, self.death, &self.statement.condition) {
            (Some(how), _, _) => Want::Absent(Absence::Asked(*how)),
            (None, Some(death), _) => Want::Absent(Absence::Dead(death.evidence)),
            (None, None, Condition::Failing(why)) => Want::Absent(Absence::Failing(why.clone())),
            // `Leaving` without a Remove that we heard: another leader heard it.
            (None, None, Condition::Leaving) => Want::Absent(Absence::Asked(Withdrawal::Drain { deadline: None })),
            (None, None, Condition::Serving) => {
                let Statement { group, weight, max_conns, depth, .. } = &self.statement;
                let (weight, max_conns, depth) = (*weight, *max_conns, *depth);
                Want::Present(Wish { group: group.clone(), weight, max_conns, depth })
            }
        }
    }

    fn spoke(&mut self, said: Said, now: Time) {
        (self.agent, self.said, self.heard, self.patience) = (said.agent, said.stamp, now, said.patience);
        self.left = false;
    }

    fn is_silent(&self, now: Time) -> bool {
        self.left || now >= self.heard + self.patience
    }

    fn target(&self) -> Target {
        Target { real: self.statement.key.real, protocol: self.statement.key.service.protocol }
    }
}

/// What was said, and by whom.
#[derive(Debug, Clone, Copy)]
pub struct Said {
    /// Who.
    pub agent: Sender,
    /// In which datagram.
    pub stamp: Stamp,
    /// It is silent when nothing of it is heard for this long.
    pub patience: Duration,
}

/// The cache is full: at most [`BINDINGS_MAX`] bindings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the manager knows {BINDINGS_MAX} bindings already")]
pub struct CacheFull;

/// See the module's documentation.
#[derive(Debug)]
pub struct Cache {
    entries: AHashMap<BindingKey, Entry>,
    /// Which bindings a server has.
    by_target: AHashMap<Target, Vec<BindingKey>>,
    /// When to look whether a binding is silent. Lazy: at that moment, not at each beacon.
    looks: BinaryHeap<Reverse<(Time, BindingKey)>>,
    agents: AHashMap<Sender, Time>,
}

/// A dead binding is remembered this many patiences, so that its agent's return is no surprise.
const DEAD_FOR: u32 = 10;

impl Cache {
    /// An empty cache. The seed is for its hash tables.
    pub fn new(seed: u64) -> Cache {
        let mut seeds = fastrand::Rng::with_seed(seed);
        let mut hasher = || RandomState::with_seeds(seeds.u64(..), seeds.u64(..), seeds.u64(..), seeds.u64(..));
        Cache {
            entries: AHashMap::with_hasher(hasher()),
            by_target: AHashMap::with_hasher(hasher()),
            looks: BinaryHeap::new(),
            agents: AHashMap::with_hasher(hasher()),
        }
    }

    /// How many bindings it knows.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// True if it knows none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// How many agents it hears.
    pub fn agents(&self) -> usize {
        self.agents.len()
    }

    /// What is wanted about a binding; `None` if nothing was ever heard of it.
    pub fn want(&self, key: &BindingKey) -> Option<Want> {
        self.entries.get(key).map(Entry::want)
    }

    /// Everything wanted of the services that `owns` picks.
    pub fn wanted(&self, owns: impl Fn(&ServiceKey) -> bool, now: Time) -> Wanted {
        let mut wanted = Wanted::default();
        for (key, entry) in self.entries.iter().filter(|(key, _)| owns(&key.service)) {
            wanted.bindings.insert(*key, entry.want());
            if !entry.is_silent(now) {
                wanted.heard.insert(key.service);
            }
        }
        wanted
    }

    /// A statement of a beacon or an Add. True if it changes what is wanted.
    ///
    /// # Errors
    /// [`CacheFull`]; the binding is not known then.
    pub fn hear(&mut self, said: Said, statement: Statement, now: Time) -> Result<bool, CacheFull> {
        let key = statement.key;
        self.agents.insert(said.agent, now);
        let Some(entry) = self.entries.get_mut(&key) else {
            self.insert(said, statement, None, now)?;
            return Ok(true);
        };
        if is_overtaken(entry, said) {
            return Ok(false);
        }
        let before = entry.want();
        entry.spoke(said, now);
        entry.death = entry.death.filter(|death| death.reported);
        entry.withdrawn = entry.withdrawn.filter(|_| statement.condition == Condition::Leaving);
        entry.statement = statement;
        Ok(entry.want() != before)
    }

    /// An agent withdraws a binding. True if that changes what is wanted.
    ///
    /// # Errors
    /// [`CacheFull`].
    pub fn withdraw(&mut self, said: Said, key: BindingKey, how: Withdrawal, now: Time) -> Result<bool, CacheFull> {
        self.agents.insert(said.agent, now);
        let Some(entry) = self.entries.get_mut(&key) else {
            self.insert(said, Statement::new(key), Some(how), now)?;
            return Ok(true);
        };
        if is_overtaken(entry, said) {
            return Ok(false);
        }
        let before = entry.want();
        entry.spoke(said, now);
        entry.withdrawn = Some(how);
        Ok(entry.want() != before)
    }

    fn insert(
        &mut self,
        said: Said,
        statement: Statement,
        withdrawn: Option<Withdrawal>,
        now: Time,
    ) -> Result<(), CacheFull> {
        if self.entries.len() >= BINDINGS_MAX {
            return Err(CacheFull);
        }
        let key = statement.key;
        let Said { agent, stamp, patience } = said;
        let (said, heard) = (stamp, now);
        let entry =
            Entry { agent, said, heard, patience, statement, withdrawn, death: None, reported: false, left: false };
        self.looks.push(Reverse((now + patience, key)));
        self.by_target.entry(entry.target()).or_default().push(key);
        self.entries.insert(key, entry);
        Ok(())
    }

    /// An agent ends and speaks for its bindings no more: they are looked at now.
    pub fn leave(&mut self, agent: Sender) -> Vec<Target> {
        self.agents.remove(&agent);
        let left = self.entries.values_mut().filter(|entry| entry.agent == agent);
        let mut targets: Vec<_> = left
            .map(|entry| {
                entry.left = true;
                entry.target()
            })
            .collect();
        targets.sort();
        targets.dedup();
        targets
    }

    /// A peer reports a server: it is looked at now. Nothing if it is not known.
    pub fn report(&mut self, real: SocketAddr) -> Vec<Target> {
        use crate::base::addr::Protocol::{Tcp, Udp};
        let known = [Tcp, Udp].map(|protocol| Target { real, protocol });
        let known: Vec<_> = known.into_iter().filter(|target| self.by_target.contains_key(target)).collect();
        for key in known.iter().flat_map(|target| &self.by_target[target]) {
            if let Some(entry) = self.entries.get_mut(key) {
                entry.reported = true;
            }
        }
        known
    }

    /// A server was probed. Returns the bindings of which something else is wanted now.
    pub fn probed(&mut self, target: Target, found: Finding, now: Time) -> Vec<BindingKey> {
        let mut changed = Vec::new();
        for key in self.by_target.get(&target).into_iter().flatten() {
            let Some(entry) = self.entries.get_mut(key) else { continue };
            let before = entry.want();
            let reported = entry.reported;
            match found {
                Finding::Alive => entry.death = None,
                _ if entry.is_silent(now) || reported => {
                    let evidence = Evidence { found, at: now };
                    entry.death = Some(Death { evidence, reported });
                }
                // It spoke while we looked, and nobody complained.
                _ => {}
            }
            entry.reported = reported && entry.death.is_some();
            // Fresh evidence of a known death is news as well: what old evidence could not do, it may.
            if entry.want() != before {
                changed.push(*key);
            }
        }
        changed
    }

    /// When something may have become silent.
    pub fn next_deadline(&self) -> Time {
        self.looks.peek().map_or(Time::NEVER, |Reverse((at, _))| *at)
    }

    /// Looks for silent bindings; returns the servers to be probed. What was withdrawn, or is dead for long, is
    /// forgotten.
    pub fn look(&mut self, now: Time) -> Vec<Target> {
        let mut targets = Vec::new();
        while let Some(Reverse((at, key))) = self.looks.peek().copied()
            && at <= now
        {
            self.looks.pop();
            let Some(entry) = self.entries.get(&key) else { continue };
            let is_silent = entry.is_silent(now);
            let is_over = is_silent && matches!(entry.want(), Want::Absent(Absence::Asked(_)));
            let is_forgotten = entry.death.is_some() && now >= entry.heard + entry.patience * DEAD_FOR;
            if is_over || is_forgotten {
                self.forget(&key);
                continue;
            }
            if is_silent || entry.reported {
                targets.push(entry.target());
            }
            let again = if is_silent { now + entry.patience } else { entry.heard + entry.patience };
            self.looks.push(Reverse((again, key)));
        }
        targets.sort();
        targets.dedup();
        targets
    }

    fn forget(&mut self, key: &BindingKey) {
        let Some(entry) = self.entries.remove(key) else { return };
        if let Some(keys) = self.by_target.get_mut(&entry.target()) {
            keys.retain(|other| other != key);
            if keys.is_empty() {
                self.by_target.remove(&entry.target());
            }
        }
    }

    /// Forgets agents not heard for this long.
    pub fn forget_agents(&mut self, silent_for: Duration, now: Time) {
        self.agents.retain(|_, heard| now.since(*heard) < silent_for);
    }
}

/// True if this agent has said something newer about the binding already.
fn is_overtaken(entry: &Entry, said: Said) -> bool {
    entry.agent == said.agent && entry.said.boot == said.stamp.boot && entry.said.counter > said.stamp.counter
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::beacon::key::KeyId;
    use crate::beacon::message::NodeId;

    const PATIENCE: Duration = Duration::from_secs(40);

    fn key(real: &str) -> BindingKey {
        BindingKey { service: "10.0.0.100:80".parse().unwrap(), real: real.parse().unwrap() }
    }

    fn said(counter: u64) -> Said {
        let agent = Sender { key: KeyId(2), node: NodeId(77) };
        Said { agent, stamp: Stamp { boot: 1, counter }, patience: PATIENCE }
    }

    fn serving() -> Statement {
        Statement::new(key("10.1.0.11:80"))
    }

    fn target() -> Target {
        Target { real: "10.1.0.11:80".parse().unwrap(), protocol: crate::base::addr::Protocol::Tcp }
    }

    fn secs(secs: u64) -> Time {
        Time::from_secs(secs)
    }

    fn is_wanted(cache: &Cache) -> bool {
        matches!(cache.want(&key("10.1.0.11:80")), Some(Want::Present(_)))
    }

    #[test]
    fn repeats_are_filtered_and_changes_are_not() {
        let mut cache = Cache::new(1);
        assert_eq!(cache.hear(said(1), serving(), secs(0)), Ok(true));
        for n in 2..100 {
            assert_eq!(cache.hear(said(n), serving(), secs(n)), Ok(false));
        }
        let loaded = |load| {
            let mut statement = serving();
            statement.facts.load = Some(load);
            statement
        };
        assert_eq!(cache.hear(said(100), loaded(7), secs(100)), Ok(false), "facts are no wish");
        assert_eq!(cache.hear(said(101), Statement { weight: Some(3), ..serving() }, secs(101)), Ok(true));
    }

    #[test]
    fn a_late_add_does_not_undo_a_remove() {
        let mut cache = Cache::new(1);
        cache.hear(said(1), serving(), secs(0)).unwrap();
        let drain = Withdrawal::Drain { deadline: None };
        assert_eq!(cache.withdraw(said(3), key("10.1.0.11:80"), drain, secs(1)), Ok(true));
        assert_eq!(cache.hear(said(2), serving(), secs(2)), Ok(false));
        assert_eq!(cache.want(&key("10.1.0.11:80")), Some(Want::Absent(Absence::Asked(drain))));
        assert_eq!(cache.hear(said(4), Statement { condition: Condition::Leaving, ..serving() }, secs(3)), Ok(false));
        assert_eq!(cache.hear(said(5), serving(), secs(4)), Ok(true), "and a newer one does");
        assert!(is_wanted(&cache));
    }

    #[test]
    fn silence_asks_and_only_a_failed_probe_withdraws() {
        let mut cache = Cache::new(1);
        cache.hear(said(1), serving(), secs(0)).unwrap();
        assert!(cache.look(secs(39)).is_empty());
        assert_eq!(cache.look(secs(40)), [target()]);
        assert!(cache.probed(target(), Finding::Alive, secs(41)).is_empty() && is_wanted(&cache));
        assert_eq!(cache.look(secs(80)), [target()], "and is asked again");
        assert_eq!(cache.probed(target(), Finding::Refused, secs(81)), [key("10.1.0.11:80")]);
        assert!(!is_wanted(&cache));
        cache.hear(said(2), serving(), secs(90)).unwrap();
        assert!(is_wanted(&cache), "its own word brings it back");
    }

    #[test]
    fn who_speaks_while_probed_is_not_silent() {
        let mut cache = Cache::new(1);
        cache.hear(said(1), serving(), secs(0)).unwrap();
        cache.look(secs(40));
        cache.hear(said(2), serving(), secs(41)).unwrap();
        assert!(cache.probed(target(), Finding::Silent, secs(42)).is_empty() && is_wanted(&cache));
    }

    #[test]
    fn a_peers_report_acts_at_once_and_the_agents_word_alone_does_not_undo_it() {
        let mut cache = Cache::new(1);
        cache.hear(said(1), serving(), secs(0)).unwrap();
        assert!(cache.report("10.9.9.9:1".parse().unwrap()).is_empty());
        assert_eq!(cache.report(target().real), [target()]);
        assert_eq!(cache.probed(target(), Finding::Refused, secs(1)).len(), 1);
        cache.hear(said(2), serving(), secs(2)).unwrap();
        assert!(!is_wanted(&cache));
        assert_eq!(cache.look(secs(40)), [target()]);
        assert_eq!(cache.probed(target(), Finding::Alive, secs(43)).len(), 1);
        assert!(is_wanted(&cache));
    }

    #[test]
    fn who_leaves_is_looked_at_now() {
        let mut cache = Cache::new(1);
        cache.hear(said(1), serving(), secs(0)).unwrap();
        assert_eq!(cache.leave(said(1).agent), [target()]);
        assert!(is_wanted(&cache));
        assert_eq!(cache.probed(target(), Finding::Silent, secs(6)).len(), 1);
    }

    #[test]
    fn what_was_withdrawn_is_forgotten_when_it_is_silent() {
        let mut cache = Cache::new(1);
        cache.withdraw(said(1), key("10.1.0.11:80"), Withdrawal::Force, secs(0)).unwrap();
        assert_eq!(cache.len(), 1);
        assert!(cache.look(secs(40)).is_empty());
        assert_eq!((cache.len(), cache.by_target.len()), (0, 0));
    }
}
