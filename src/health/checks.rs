//! The machine's face and its tables: who is watched, which checks that takes, when they run, and what was told.
//!
//! One *check* serves every binding with the same target (real, protocol and profile); one *host* serves
//! every check of the same IP address. Each check has at most one wake-up in `Timers`, which is also the queue of
//! work: to be continued at once is to be woken now. So a poll costs the work that is due, never a walk over what is not.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::net::IpAddr;

use crate::acm::words::{Health, TcpAbilities};
use crate::base::addr::Mac;
use crate::base::id::BindingId;
use crate::base::time::Time;

use super::check::{Check, Told};
use super::host::Host;
use super::outbox::Outbox;
use super::ports::Ports;
use super::reason::Awaited;
use super::steps::Step;
use super::timers::Timers;
use super::verdict::{Standing, Verdict};
use super::{CheckId, Finding, Target};

/// Frames handed over by one poll. More wait for the next one, so that ten thousand bindings added at once are
/// ten thousand first checks without one long pause of whoever forwards packets in between.
pub const BURST: usize = 256;

/// Checks continued, and checks reported, by one poll: for those that send nothing.
const WAKES: usize = 4 * BURST;

/// Who checks.
#[derive(Debug, Clone)]
pub struct HealthConfig {
    /// The switch's link address; checks are sent from it.
    pub mac: Mac,
    /// The switch's own addresses, at least one of each family that reals have. A check is sent from the one
    /// that shares the longest prefix with the real. Reals are taken to be on the link: there is no gateway.
    pub addresses: Vec<IpAddr>,
    /// Makes sequence numbers, source ports, echo payloads and the spreading of start times. Different for each
    /// start of the switch and not guessable from outside.
    pub seed: u64,
}

/// All checks of a switch. Pure: frames and the time go in, frames and findings come out.
#[derive(Debug)]
pub struct Checks {
    pub(super) checks: HashMap<CheckId, Check, ahash::RandomState>,
    by_target: HashMap<Target, CheckId, ahash::RandomState>,
    by_binding: HashMap<BindingId, CheckId, ahash::RandomState>,
    pub(super) hosts: HashMap<IpAddr, Host, ahash::RandomState>,
    /// Whose probe a source port is in use for.
    pub(super) by_port: HashMap<u16, CheckId, ahash::RandomState>,
    pub(super) timers: Timers,
    /// Checks whose health or link address may differ from what was told.
    pub(super) changed: BTreeSet<CheckId>,
    /// Checks that wait for a free HTTP conversation.
    pub(super) fetch_queue: VecDeque<CheckId>,
    /// HTTP conversations going on.
    pub(super) fetching: usize,
    pub(super) ports: Ports,
    pub(super) out: Outbox,
    pub(super) rng: fastrand::Rng,
    next_id: u64,
    /// The latest time heard of.
    pub(super) now: Time,
}

impl Checks {
    /// A machine that watches nothing yet.
    pub fn new(config: HealthConfig, now: Time) -> Checks {
        let mut rng = fastrand::Rng::with_seed(config.seed);
        Checks {
            checks: HashMap::default(),
            by_target: HashMap::default(),
            by_binding: HashMap::default(),
            hosts: HashMap::default(),
            by_port: HashMap::default(),
            timers: Timers::default(),
            changed: BTreeSet::new(),
            fetch_queue: VecDeque::new(),
            fetching: 0,
            ports: Ports::new(&mut rng),
            out: Outbox::new(config.mac, config.addresses),
            rng,
            next_id: 0,
            now,
        }
    }

    /// Watches a binding, or watches it by another target from now on; the same target again changes nothing.
    ///
    /// The first check runs at the next poll. A binding that joins a check which others share takes that check's
    /// verdict; if that is not good, the check runs at once. A binding that passes keeps passing when its
    /// profile changes, until the new checks have failed `fall` times: a change of options cuts nobody off.
    pub fn watch(&mut self, binding: BindingId, target: Target, now: Time) {
        self.now = self.now.max(now);
        let before = self.by_binding.get(&binding).and_then(|id| self.checks.get(id));
        if before.is_some_and(|check| check.target == target) {
            return;
        }
        let was_up =
            before.filter(|check| check.target.real == target.real && check.verdict.standing() == Standing::Up);
        let id = match self.by_target.get(&target) {
            Some(&id) => id,
            None => {
                let (verdict, tcp) = was_up.map_or((Verdict::NEW, None), |check| (Verdict::UP, check.tcp));
                self.create(target, verdict, tcp)
            }
        };
        // Only now, so that what is known of the host outlives a change of options.
        let told = self.leave(binding);
        if let Some(check) = self.checks.get_mut(&id) {
            check.told.insert(binding, told);
            if matches!(check.step, Step::Idle) && check.verdict.standing() != Standing::Up {
                self.timers.set(id, self.now);
            }
        }
        self.by_binding.insert(binding, id);
        self.changed.insert(id);
    }

    /// Watches a binding no longer. Unknown bindings are ignored.
    pub fn forget(&mut self, binding: BindingId) {
        self.leave(binding);
    }

    /// Does what is due, appends at most [`BURST`] frames to send, and what changed. What did
    /// not fit into one poll is due at once: see [`Checks::next_deadline`].
    pub fn poll(&mut self, now: Time, frames: &mut Vec<Vec<u8>>, findings: &mut Vec<Finding>) {
        self.now = self.now.max(now);
        for _ in 0..WAKES {
            let due = (self.out.queue.len() < BURST).then(|| self.timers.pop_due(self.now));
            let Some(id) = due.flatten() else { break };
            self.wake(id);
        }
        frames.extend(self.out.queue.drain(..self.out.queue.len().min(BURST)));
        self.report(findings);
    }

    /// When to poll next; a time that is not in the future means at once. `None`: nothing is watched.
    pub fn next_deadline(&self) -> Option<Time> {
        if !self.out.queue.is_empty() || !self.changed.is_empty() {
            return Some(self.now);
        }
        self.timers.next()
    }

    fn create(&mut self, target: Target, verdict: Verdict, tcp: Option<TcpAbilities>) -> CheckId {
        let id = CheckId(self.next_id);
        self.next_id += 1;
        let health = match verdict.standing() {
            Standing::Up => Health::Passing,
            Standing::New | Standing::Down => Health::Unknown(Awaited::Arp.text(target.real)),
        };
        self.hosts.entry(target.real.ip()).or_default().checks.insert(id);
        self.by_target.insert(target.clone(), id);
        self.timers.set(id, self.now);
        self.checks.insert(
            id,
            Check {
                target,
                told: BTreeMap::new(),
                verdict,
                health,
                tcp,
                step: Step::Idle,
                started: self.now,
                finished: 0,
                silent: 0,
            },
        );
        id
    }

    /// Takes a binding out of its check, and ends the check if it was the last. What its watcher was told last.
    fn leave(&mut self, binding: BindingId) -> Option<Told> {
        let id = self.by_binding.remove(&binding)?;
        let check = self.checks.get_mut(&id)?;
        let told = check.told.remove(&binding).flatten();
        if check.told.is_empty() {
            self.end(id);
        }
        told
    }

    fn end(&mut self, id: CheckId) {
        self.leave_step(id);
        self.timers.clear(id);
        self.changed.remove(&id);
        let Some(check) = self.checks.remove(&id) else { return };
        self.by_target.remove(&check.target);
        let ip = check.target.real.ip();
        if let Some(host) = self.hosts.get_mut(&ip) {
            host.checks.remove(&id);
            if host.checks.is_empty() {
                self.hosts.remove(&ip);
            }
        }
    }

    /// Tells each watcher what differs from what it was told last.
    fn report(&mut self, findings: &mut Vec<Finding>) {
        for _ in 0..WAKES {
            let Some(id) = self.changed.pop_first() else { break };
            let Some(check) = self.checks.get_mut(&id) else { continue };
            let mac = self.hosts.get(&check.target.real.ip()).and_then(|host| host.mac);
            for (&binding, told) in &mut check.told {
                let tcp = check.tcp.filter(|_| check.health == Health::Passing);
                let known = (check.health.clone(), mac, tcp);
                if told.as_ref() != Some(&known) {
                    *told = Some(known);
                    findings.push(Finding { binding, health: check.health.clone(), mac, tcp });
                }
            }
        }
    }
}
