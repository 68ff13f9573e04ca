//! The simulated world: one queue of events in simulated time.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use acm_switch::acm::chaos::Chaos;
use acm_switch::acm::error::{AcmError, Feature};
use acm_switch::acm::event::{EventId, EventKind};
use acm_switch::acm::list::{Filter, Listing, State};
use acm_switch::acm::model::ModelSwitch;
use acm_switch::acm::primitive::{Caller, Outcome, Primitive, Tenure};
use acm_switch::acm::switch::{AcmSwitch, Answer, EventStream};
use acm_switch::acm::words::{BindingKey, default_group};
use acm_switch::base::fraction::Fraction;
use acm_switch::base::id::Name;
use acm_switch::base::time::Time;
use acm_switch::beacon::key::{Grant, Key, KeyId, KeyRing};
use acm_switch::beacon::message::{NodeId, Role};
use acm_switch::manager::desk::{Done, Job};
use acm_switch::manager::machine::{Action, Manager, Setup, To};
use acm_switch::manager::probe::{Finding, Target};
use acm_switch::manager::timing::Timing;

use super::agent::{Agent, Intent};
use super::truth::Truth;

/// Somebody who can be cut off from somebody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Node {
    Manager(usize),
    Agent(usize),
    Switch(usize),
}

/// What happens.
enum Event {
    Deliver(Node, SocketAddr, Arc<Vec<u8>>),
    Wake(Node, u32),
    /// A manager's job is begun in its process, or reaches the switch.
    Perform {
        is_there: bool,
        manager: usize,
        run: u32,
        switch: usize,
        job: Job,
    },
    Answer {
        manager: usize,
        run: u32,
        switch: usize,
        done: Done,
    },
    Probe {
        manager: usize,
        run: u32,
        target: Target,
    },
    Found {
        manager: usize,
        run: u32,
        target: Target,
        finding: Finding,
    },
    Told {
        manager: usize,
        run: u32,
        switch: usize,
        event: EventKind,
    },
    Then(Box<dyn FnOnce(&mut World)>),
}

/// How a world is.
#[derive(Clone)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) managers: usize,
    pub(crate) agents: usize,
    pub(crate) switches: usize,
    pub(crate) timing: Timing,
    /// Does the last switch keep no epoch and report no events?
    pub(crate) one_is_unfenced: bool,
    /// Do switches lose calls and answers?
    pub(crate) chaos: f64,
}

pub(crate) struct ManagerHost {
    pub(crate) machine: Option<Manager>,
    run: u32,
    stopped: bool,
    woken_at: Time,
    /// When it went on after it was frozen with its clock.
    thawed: Option<Time>,
    pub(crate) clock: Clock,
    streams: BTreeMap<usize, EventStream>,
}

pub(crate) struct AgentHost {
    pub(crate) agent: Option<Agent>,
    pub(crate) server_up: bool,
    pub(crate) host_up: bool,
    frozen: bool,
    /// Since when agent, server and host are well, and the agent wants to serve.
    well_since: Time,
    run: u32,
    woken_at: Time,
    pub(crate) clock: Clock,
}

/// A node's own clock: an offset, a drift, and the time it stood still.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    offset: u64,
    /// Millionths faster.
    drift: i64,
    stood: Duration,
}

impl Clock {
    pub(crate) fn read(&self, at: Time) -> Time {
        let micros = at.micros() as i64;
        let drifted = micros + micros / 1_000_000 * self.drift;
        Time::from_micros(self.offset + drifted as u64) - self.stood
    }

    /// When it will show this.
    fn when(&self, shows: Time, now: Time) -> Time {
        let left = shows.since(self.read(now)).as_micros() as i64;
        Time::from_micros(now.micros() + (left - left / 1_000_000 * self.drift).max(0) as u64)
    }
}

/// A switch as managers see it.
pub(crate) struct SwitchHost {
    pub(crate) model: ModelSwitch,
    face: Box<dyn AcmSwitch>,
    at: Time,
    pub(crate) latency: Duration,
    is_unfenced: bool,
    chaos: f64,
}

pub(crate) struct World {
    pub(crate) plan: Plan,
    pub(crate) now: Time,
    queue: BinaryHeap<Reverse<(Time, u64)>>,
    events: BTreeMap<u64, Event>,
    next: u64,
    pub(crate) coins: fastrand::Rng,
    ring: Arc<KeyRing>,
    pub(crate) managers: Vec<ManagerHost>,
    pub(crate) agents: Vec<AgentHost>,
    pub(crate) switches: Vec<SwitchHost>,
    pub(crate) loss: f64,
    pub(crate) duplicates: f64,
    /// The longest way of a datagram.
    pub(crate) way: Duration,
    /// Servers that answer and have no agent here.
    pub(crate) others: BTreeSet<SocketAddr>,
    /// Pairs of which the first is not heard by the second.
    pub(crate) cut: BTreeSet<(Node, Node)>,
    pub(crate) truth: Truth,
    pub(crate) trace: bool,
    /// Changing calls that reached a switch.
    pub(crate) writes: u64,
}

/// Owner of the managers' bindings.
pub(crate) fn owner() -> Name {
    "comics".parse().unwrap()
}

fn ring(managers: usize) -> Arc<KeyRing> {
    let secret = |n: u16| format!("0123456789abcdef0123456789abcde{n}").into();
    let manager = Grant { managers: (1..=managers as u64).map(NodeId).collect(), ..Grant::default() };
    let agent = Grant { vips: vec!["10.0.0.0/24".parse().unwrap()], ..Grant::default() };
    let keys = [(1, manager), (2, agent)].map(|(id, grant)| Key::new(KeyId(id), &secret(id), grant).unwrap());
    Arc::new(KeyRing::new(&owner(), keys).unwrap())
}

/// What each agent announces: agent 0 is bound to two services.
fn bindings_of(agent: usize) -> Vec<BindingKey> {
    let real = real_of(agent);
    let services: &[&str] = if agent == 0 { &["10.0.0.100:80", "10.0.0.101:80"] } else { &["10.0.0.100:80"] };
    services.iter().map(|service| BindingKey { service: service.parse().unwrap(), real }).collect()
}

pub(crate) fn real_of(agent: usize) -> SocketAddr {
    SocketAddr::from(([10, 1, (agent / 200) as u8, 11 + (agent % 200) as u8], 8080))
}

fn address(node: Node) -> SocketAddr {
    match node {
        Node::Manager(n) => SocketAddr::from(([10, 9, 0, 1 + n as u8], 7946)),
        Node::Agent(n) => SocketAddr::new(real_of(n).ip(), 5000),
        Node::Switch(n) => SocketAddr::from(([10, 9, 1, 1 + n as u8], 8800)),
    }
}

impl World {
    pub(crate) fn new(plan: Plan) -> World {
        let mut coins = fastrand::Rng::with_seed(plan.seed);
        let mut clock = || Clock { offset: coins.u64(0..1 << 48), drift: coins.i64(-200..200), stood: Duration::ZERO };
        let managers = (0..plan.managers).map(|_| ManagerHost {
            machine: None,
            run: 0,
            stopped: false,
            woken_at: Time::NEVER,
            thawed: None,
            clock: clock(),
            streams: BTreeMap::new(),
        });
        let managers = managers.collect();
        let agents = (0..plan.agents).map(|_| AgentHost {
            agent: None,
            server_up: false,
            host_up: true,
            frozen: false,
            well_since: Time::ZERO,
            run: 0,
            woken_at: Time::NEVER,
            clock: clock(),
        });
        let agents = agents.collect();
        let switches = (0..plan.switches).map(|n| {
            let is_unfenced = plan.one_is_unfenced && n + 1 == plan.switches;
            SwitchHost::new(plan.seed * 31 + n as u64, is_unfenced, plan.chaos, Time::ZERO)
        });
        let switches = switches.collect();
        World {
            now: Time::ZERO,
            queue: BinaryHeap::new(),
            events: BTreeMap::new(),
            next: 0,
            ring: ring(plan.managers),
            managers,
            agents,
            switches,
            loss: 0.0,
            duplicates: 0.0,
            way: Duration::from_millis(5),
            others: BTreeSet::new(),
            cut: BTreeSet::new(),
            truth: Truth::new(plan.seed, plan.switches),
            trace: false,
            writes: 0,
            coins,
            plan,
        }
    }

    pub(crate) fn say(&self, what: impl FnOnce() -> String) {
        if self.trace {
            eprintln!("{:>10.3} {}", self.now.micros() as f64 / 1e6, what());
        }
    }

    fn push(&mut self, at: Time, event: Event) {
        self.next += 1;
        self.queue.push(Reverse((at.max(self.now), self.next)));
        self.events.insert(self.next, event);
    }

    /// Lets something happen later.
    pub(crate) fn at(&mut self, at: Time, what: impl FnOnce(&mut World) + 'static) {
        self.push(at, Event::Then(Box::new(what)));
    }

    /// Lets time pass.
    pub(crate) fn run_until(&mut self, end: Time) {
        while let Some(Reverse((at, id))) = self.queue.peek().copied()
            && at <= end
        {
            self.queue.pop();
            self.now = self.now.max(at);
            if let Some(event) = self.events.remove(&id) {
                self.happen(event);
            }
        }
        self.now = end;
    }

    fn happen(&mut self, event: Event) {
        if let Event::Answer { manager, run, .. } | Event::Found { manager, run, .. } | Event::Told { manager, run, .. } =
            &event
            && self.managers[*manager].stopped
            && self.managers[*manager].run == *run
        {
            // It waits in the process until that goes on.
            let at = self.now + Duration::from_millis(100);
            return self.push(at, event);
        }
        match event {
            Event::Then(what) => what(self),
            Event::Wake(node, run) => self.wake(node, run),
            Event::Deliver(to, from, bytes) => self.deliver(to, from, &bytes),
            Event::Perform { is_there: false, manager, run, switch, job } => self.begin(manager, run, switch, job),
            Event::Perform { is_there: true, manager, run, switch, job } => self.perform(manager, run, switch, job),
            Event::Answer { manager, run, switch, done } => {
                self.with_manager(manager, run, |machine, now| machine.job_done(switch, done, now));
            }
            Event::Probe { manager, run, target } => self.probe(manager, run, target),
            Event::Found { manager, run, target, finding } => {
                self.with_manager(manager, run, |machine, now| machine.probed(target, finding, now));
            }
            Event::Told { manager, run, switch, event } => {
                self.with_manager(manager, run, |machine, now| machine.event(switch, &event, now));
            }
        }
    }

    // --- managers ---

    pub(crate) fn start_manager(&mut self, n: usize) {
        let (boot, seed) = (self.coins.u64(..), self.coins.u64(..));
        let vips = || vec!["10.0.0.0/24".parse().unwrap()];
        let setup = Setup {
            node: NodeId(n as u64 + 1),
            ring: Arc::clone(&self.ring),
            sign_with: KeyId(1),
            owner: owner(),
            timing: self.plan.timing.clone(),
            switches: (0..self.plan.switches).map(|s| (format!("sw-{s}").parse().unwrap(), vips())).collect(),
            boot,
            seed,
        };
        let host = &mut self.managers[n];
        host.machine = Some(Manager::new(setup, host.clock.read(self.now)).unwrap());
        host.run += 1;
        host.stopped = false;
        host.woken_at = Time::NEVER;
        host.streams.clear();
        let run = host.run;
        self.say(|| format!("manager {} starts", n + 1));
        self.with_manager(n, run, |machine, now| machine.tick(now));
    }

    pub(crate) fn kill_manager(&mut self, n: usize) {
        self.say(|| format!("manager {} is killed", n + 1));
        let host = &mut self.managers[n];
        host.machine = None;
        host.run += 1;
    }

    pub(crate) fn stop_manager(&mut self, n: usize, for_: Duration, clock_stands: bool) {
        self.say(|| format!("manager {} is stopped for {for_:?}", n + 1));
        self.managers[n].stopped = true;
        if clock_stands {
            self.managers[n].clock.stood += for_;
        }
        self.at(self.now + for_, move |world| {
            world.managers[n].stopped = false;
            if clock_stands {
                world.managers[n].thawed = Some(world.now);
            }
            let run = world.managers[n].run;
            world.say(|| format!("manager {} goes on", n + 1));
            world.with_manager(n, run, |machine, now| machine.tick(now));
        });
    }

    /// Calls a manager, if it is the same run still, and does what it wants.
    fn with_manager(&mut self, n: usize, run: u32, call: impl FnOnce(&mut Manager, Time)) {
        let host = &mut self.managers[n];
        let Some(machine) = host.machine.as_mut().filter(|_| host.run == run) else { return };
        if host.stopped {
            // Its sockets and timers hold it until it goes on; most is dropped by then, as full buffers drop it.
            return;
        }
        let now = host.clock.read(self.now);
        call(machine, now);
        let (actions, due) = (machine.actions(), machine.next_deadline(now));
        let due = host.clock.when(due, self.now);
        if due < host.woken_at || host.woken_at <= self.now {
            host.woken_at = due;
            self.push(due, Event::Wake(Node::Manager(n), run));
        }
        for action in actions {
            self.act(n, run, action);
        }
    }

    fn act(&mut self, n: usize, run: u32, action: Action) {
        match action {
            Action::Send(to, bytes) => self.send(Node::Manager(n), to, bytes),
            Action::Job(switch, job) => {
                self.push(self.now, Event::Perform { is_there: false, manager: n, run, switch, job: *job });
            }
            Action::Disconnect => self.managers[n].streams.clear(),
            Action::Probe(target) => {
                let at = self.now + Duration::from_millis(1);
                self.push(at, Event::Probe { manager: n, run, target });
            }
            Action::Notice(notice) => self.say(|| format!("manager {}: {notice:?}", n + 1)),
        }
    }

    fn switch_way(&mut self, switch: usize) -> Duration {
        self.switches[switch].latency.mul_f64(0.5 + self.coins.f64())
    }

    /// A job leaves the process, if it may still be begun.
    fn begin(&mut self, n: usize, run: u32, switch: usize, job: Job) {
        if self.managers[n].run != run {
            return;
        }
        if self.managers[n].stopped {
            // Not begun before the stop: it is begun after it, if it may be.
            let at = self.now + Duration::from_millis(100);
            return self.push(at, Event::Perform { is_there: false, manager: n, run, switch, job });
        }
        let mine = self.managers[n].clock.read(self.now);
        if matches!(job, Job::Apply { start_by, .. } if mine > start_by) {
            let done = failed(&job, AcmError::Timeout { waited_for: "this process".into() });
            return self.push(self.now, Event::Answer { manager: n, run, switch, done });
        }
        let at = self.now + self.switch_way(switch);
        self.push(at, Event::Perform { is_there: true, manager: n, run, switch, job });
    }

    /// A job at a switch: half of its time has passed, it takes effect now or not at all.
    fn perform(&mut self, n: usize, run: u32, switch: usize, job: Job) {
        let (me, there) = (Node::Manager(n), Node::Switch(switch));
        let (lost, back) = (self.cut.contains(&(me, there)), self.cut.contains(&(there, me)));
        let failed = failed(&job, AcmError::Unreachable { why: "cut off".into() });
        let patience = self.now + Duration::from_secs(1);
        if lost {
            return self.push(patience, Event::Answer { manager: n, run, switch, done: failed });
        }
        let done = self.do_job(n, switch, job);
        self.tell_events(switch);
        match back {
            true => self.push(patience, Event::Answer { manager: n, run, switch, done: failed }),
            false => {
                let at = self.now + self.switch_way(switch);
                self.push(at, Event::Answer { manager: n, run, switch, done });
            }
        }
    }

    fn do_job(&mut self, n: usize, switch: usize, job: Job) -> Done {
        let me: Name = format!("m{}", n + 1).parse().unwrap();
        let host = &mut self.switches[switch];
        host.advance(self.now);
        match job {
            Job::Connect => {
                if let Poll::Ready(Ok(stream)) = poll(host.face.events(None)) {
                    self.managers[n].streams.insert(switch, stream);
                }
                Done::Connect(Ok(()))
            }
            Job::Claim => Done::Claim(ready(host.face.claim(&me))),
            Job::List(filter) => Done::List(ready(host.face.list(&filter))),
            Job::Apply { caller, list, .. } => {
                self.writes += 1;
                let before: BTreeSet<_> = ready(host.model.list(&Filter::default()))
                    .unwrap()
                    .bindings
                    .into_iter()
                    .map(|row| row.key)
                    .collect();
                let result = ready(self.switches[switch].face.apply(&caller, list.clone()));
                let fenced = !self.switches[switch].is_unfenced;
                // A lost answer took effect, a lost call did not; the table tells.
                if let Ok(outcomes) = &result {
                    if fenced {
                        self.truth.accepted(switch, &caller, self.now);
                    }
                    for (primitive, outcome) in list.iter().zip(outcomes) {
                        self.say(|| format!("  sw-{switch} {} by m{}: {outcome:?}", text(primitive), n + 1));
                    }
                }
                for primitive in &list {
                    self.judge_removal(n, switch, primitive, &before);
                }
                Done::Apply(result)
            }
        }
    }

    /// Was a binding removed that should not have been?
    fn judge_removal(&mut self, n: usize, switch: usize, primitive: &Primitive, before: &BTreeSet<BindingKey>) {
        let key = match primitive {
            Primitive::Remove(remove) => remove.key(),
            Primitive::ForceRemove(force) => force.key(),
            _ => return,
        };
        let is_there = ready(self.switches[switch].model.list(&Filter::default())).unwrap().binding(&key).is_some();
        if is_there || !before.contains(&key) {
            return;
        }
        let Some(a) = (0..self.agents.len()).find(|a| real_of(*a) == key.real) else { return };
        let host = &self.agents[a];
        let serves = |agent: &Agent| agent.intent == Intent::Serving && agent.bindings.contains(&key);
        let is_well = host.agent.as_ref().is_some_and(serves) && host.server_up && host.host_up;
        // What was true when the manager looked may have changed while its call was on the way, and of what the agent
        // has said since, the manager may have missed all but the next beacon.
        let grace = self.plan.timing.heartbeat
            + self.plan.timing.beacon.mul_f64(1.1)
            + self.switches[switch].latency * 4
            + Duration::from_secs(5);
        // A machine that was frozen with its clock cannot know, and a box without fencing cannot refuse it.
        let thawed = self.managers[n].thawed.is_some_and(|at| self.now.since(at) < Duration::from_secs(2));
        let is_excused = thawed && self.switches[switch].is_unfenced;
        if is_well && !is_excused && self.now.since(host.well_since) > grace {
            self.truth.removed_healthy(n, switch, key, self.now, host.well_since);
        }
    }

    /// Managers that subscribed hear what happened.
    pub(crate) fn tell_events(&mut self, switch: usize) {
        let way = self.switch_way(switch);
        for n in 0..self.managers.len() {
            let mut told = Vec::new();
            if let Some(stream) = self.managers[n].streams.get_mut(&switch) {
                let mut context = Context::from_waker(Waker::noop());
                while let Poll::Ready(Some(event)) = stream.as_mut().poll_next(&mut context) {
                    told.push(event.kind);
                }
            }
            let run = self.managers[n].run;
            if self.cut.contains(&(Node::Switch(switch), Node::Manager(n))) {
                // The stream breaks; when it is back it says that something was lost.
                told.clear();
                continue;
            }
            for event in told {
                self.push(self.now + way, Event::Told { manager: n, run, switch, event });
            }
        }
    }

    fn probe(&mut self, n: usize, run: u32, target: Target) {
        let a = (0..self.agents.len()).find(|a| real_of(*a) == target.real);
        let cut = |a| self.cut.contains(&(Node::Manager(n), Node::Agent(a)));
        let finding = match a.map(|a| (&self.agents[a], cut(a))) {
            Some((host, false)) if host.host_up && host.server_up => Finding::Alive,
            Some((host, false)) if host.host_up => Finding::Refused,
            None if self.others.contains(&target.real) => Finding::Alive,
            _ => Finding::Silent,
        };
        let lost = self.coins.f64() < self.loss * 2.0;
        let finding = if lost { Finding::Silent } else { finding };
        let wait = if finding == Finding::Silent { self.plan.timing.probe } else { Duration::from_millis(1) };
        self.push(self.now + wait, Event::Found { manager: n, run, target, finding });
    }

    // --- agents ---

    /// The agent and its server start.
    pub(crate) fn start_agent(&mut self, a: usize) {
        let (boot, seed) = (self.coins.u64(..), self.coins.u64(..));
        let host = &mut self.agents[a];
        let now = host.clock.read(self.now);
        let period = self.plan.timing.beacon;
        let agent = Agent::new(&self.ring, 100 + a as u64, 2, boot, bindings_of(a), period, seed, now);
        host.well_since = self.now;
        (host.agent, host.server_up, host.run) = (Some(agent), true, host.run + 1);
        host.woken_at = Time::NEVER;
        self.say(|| format!("agent {a} starts"));
        self.set_health(a);
        let run = self.agents[a].run;
        self.wake(Node::Agent(a), run);
    }

    pub(crate) fn kill_agent(&mut self, a: usize, server_too: bool) {
        self.say(|| format!("agent {a} is killed, server too: {server_too}"));
        let host = &mut self.agents[a];
        (host.agent, host.run) = (None, host.run + 1);
        host.server_up &= !server_too;
        self.set_health(a);
    }

    pub(crate) fn set_host(&mut self, a: usize, up: bool) {
        self.say(|| format!("host of agent {a} is up: {up}"));
        self.agents[a].host_up = up;
        self.agents[a].well_since = self.now;
        self.set_health(a);
    }

    /// The machine of an agent sleeps, its clock and its server with it.
    pub(crate) fn freeze_agent(&mut self, a: usize, lasts: Duration) {
        if !self.agents[a].host_up || self.agents[a].frozen {
            return;
        }
        self.set_host(a, false);
        self.agents[a].frozen = true;
        self.agents[a].clock.stood += lasts;
        self.at(self.now + lasts, move |world| {
            world.agents[a].frozen = false;
            world.set_host(a, true);
            let run = world.agents[a].run;
            world.wake(Node::Agent(a), run);
        });
    }

    /// The clock of a machine steps forward.
    pub(crate) fn step_clock(&mut self, node: Node, by: Duration) {
        self.say(|| format!("the clock of {node:?} steps by {by:?}"));
        let (run, clock) = match node {
            Node::Manager(n) => (self.managers[n].run, &mut self.managers[n].clock),
            Node::Agent(a) => (self.agents[a].run, &mut self.agents[a].clock),
            Node::Switch(_) => return,
        };
        clock.offset += by.as_micros() as u64;
        self.wake(node, run);
    }

    /// What the switches' own checks find, a moment later.
    fn set_health(&mut self, a: usize) {
        let after = self.plan.timing.health.as_ref().map_or(Duration::from_secs(6), |health| health.interval.0 * 2);
        self.at(self.now + after, move |world| {
            let host = &world.agents[a];
            let health = if host.host_up && host.server_up { Ok(()) } else { Err("no answer".to_owned()) };
            for switch in 0..world.switches.len() {
                world.switches[switch].model.set_health(real_of(a), health.clone());
                world.tell_events(switch);
            }
        });
    }

    pub(crate) fn intend(&mut self, a: usize, intent: Intent) {
        let now = self.agents[a].clock.read(self.now);
        self.agents[a].well_since = self.now;
        if let Some(agent) = &mut self.agents[a].agent {
            agent.intend(intent, now);
            self.say(|| format!("agent {a} intends {intent:?}"));
            let run = self.agents[a].run;
            self.wake(Node::Agent(a), run);
        }
    }

    fn with_agent(&mut self, a: usize, run: u32, call: impl FnOnce(&mut Agent, Time) -> Vec<Vec<u8>>) {
        let host = &mut self.agents[a];
        let Some(agent) = host.agent.as_mut().filter(|_| host.run == run && !host.frozen) else { return };
        let said = call(agent, host.clock.read(self.now));
        let due = host.clock.when(agent.next_deadline(), self.now);
        if due < host.woken_at || host.woken_at <= self.now {
            host.woken_at = due;
            self.push(due, Event::Wake(Node::Agent(a), run));
        }
        for bytes in said {
            self.send(Node::Agent(a), To::All, bytes);
        }
    }

    fn wake(&mut self, node: Node, run: u32) {
        match node {
            Node::Manager(n) => self.with_manager(n, run, |machine, now| machine.tick(now)),
            Node::Agent(a) => self.with_agent(a, run, Agent::tick),
            Node::Switch(_) => {}
        }
    }

    // --- the network ---

    fn send(&mut self, from: Node, to: To, bytes: Vec<u8>) {
        if matches!(from, Node::Agent(a) if !self.agents[a].host_up) {
            return;
        }
        let bytes = Arc::new(bytes);
        let managers = (0..self.managers.len()).map(Node::Manager);
        let everybody: Vec<_> = managers.chain((0..self.agents.len()).map(Node::Agent)).collect();
        for node in everybody.into_iter().filter(|node| *node != from) {
            let meant = match to {
                To::All => true,
                To::One(one) => address(node) == one,
            };
            if !meant || self.cut.contains(&(from, node)) {
                continue;
            }
            let copies = 1 + usize::from(self.coins.f64() < self.duplicates);
            for _ in 0..copies {
                if self.coins.f64() >= self.loss {
                    let way = self.way.mul_f64(self.coins.f64());
                    self.push(self.now + way, Event::Deliver(node, address(from), Arc::clone(&bytes)));
                }
            }
        }
    }

    fn deliver(&mut self, to: Node, from: SocketAddr, bytes: &[u8]) {
        match to {
            Node::Manager(n) => {
                let run = self.managers[n].run;
                self.with_manager(n, run, |machine, now| machine.datagram(bytes, from, now));
            }
            Node::Agent(a) if self.agents[a].host_up => {
                let (run, simulated) = (self.agents[a].run, self.now);
                self.with_agent(a, run, |agent, now| {
                    agent.datagram(bytes, simulated, now);
                    Vec::new()
                });
            }
            _ => {}
        }
    }

    /// Everything heals.
    pub(crate) fn heal(&mut self) {
        self.say(|| "everything heals".into());
        (self.loss, self.duplicates) = (0.0, 0.0);
        self.way = Duration::from_millis(5);
        self.cut.clear();
        for switch in 0..self.switches.len() {
            self.switches[switch].behave();
            self.switches[switch].latency = Duration::from_millis(5);
        }
        for a in 0..self.agents.len() {
            if !self.agents[a].host_up && !self.agents[a].frozen {
                self.set_host(a, true);
            }
        }
        for n in 0..self.managers.len() {
            if self.managers[n].machine.is_none() {
                self.start_manager(n);
            }
        }
    }

    /// A switch forgets everything, its epoch too.
    pub(crate) fn reset_switch(&mut self, switch: usize) {
        self.say(|| format!("sw-{switch} forgets everything"));
        let seed = self.coins.u64(..);
        let old = &self.switches[switch];
        let (is_unfenced, chaos, latency) = (old.is_unfenced, old.chaos, old.latency);
        self.switches[switch] = SwitchHost { latency, ..SwitchHost::new(seed, is_unfenced, chaos, self.now) };
        for a in 0..self.agents.len() {
            if !(self.agents[a].server_up && self.agents[a].host_up) {
                self.switches[switch].model.set_health(real_of(a), Err("no answer".into()));
            }
        }
        self.truth.reset(switch);
        let way = self.switch_way(switch);
        for n in 0..self.managers.len() {
            let run = self.managers[n].run;
            if let Some(stream) = self.managers[n].streams.get_mut(&switch)
                && let Poll::Ready(Ok(new)) =
                    poll(self.switches[switch].face.events(Some(EventId { boot: 0, number: 0 })))
            {
                *stream = new;
                self.push(self.now + way, Event::Told { manager: n, run, switch, event: EventKind::Lost });
            }
        }
    }

    // --- what is ---

    pub(crate) fn leaders(&self) -> Vec<usize> {
        let leads =
            |n: &usize| self.managers[*n].machine.as_ref().is_some_and(|machine| machine.role() == Role::Leading);
        (0..self.managers.len()).filter(leads).collect()
    }

    /// The bindings that living agents want.
    pub(crate) fn live(&self) -> BTreeSet<BindingKey> {
        let serving = |host: &&AgentHost| host.agent.as_ref().is_some_and(|agent| agent.intent == Intent::Serving);
        let agents = self.agents.iter().filter(serving);
        agents.flat_map(|host| host.agent.iter().flat_map(|agent| agent.bindings.clone())).collect()
    }

    /// The managers' bindings on a switch.
    pub(crate) fn table(&self, switch: usize) -> BTreeSet<BindingKey> {
        let listing = ready(self.switches[switch].model.list(&Filter::default())).unwrap();
        listing.bindings.into_iter().filter(|row| row.owner == owner()).map(|row| row.key).collect()
    }
}

impl World {
    /// Whether a switch has this binding, as every agent here asks for it, and not draining.
    pub(crate) fn is_plain(&self, switch: usize, key: &BindingKey) -> bool {
        let listing = ready(self.switches[switch].model.list(&Filter::default())).unwrap();
        listing.binding(key).is_some_and(|row| row.state != State::Draining && row.group == default_group())
    }
}

impl SwitchHost {
    fn new(seed: u64, is_unfenced: bool, chaos: f64, at: Time) -> SwitchHost {
        let model = ModelSwitch::new(seed);
        let share = Fraction::new(chaos).unwrap();
        let chaotic = Chaos::wrap(model.clone(), seed).lose_calls(share).lose_answers(share).cut_lists(share);
        let face: Box<dyn AcmSwitch> = match is_unfenced {
            true => Box::new(Unfenced(chaotic)),
            false => Box::new(chaotic),
        };
        SwitchHost { model, face, at, latency: Duration::from_millis(5), is_unfenced, chaos }
    }

    fn behave(&mut self) {
        self.face = match self.is_unfenced {
            true => Box::new(Unfenced(self.model.clone())),
            false => Box::new(self.model.clone()),
        };
    }

    fn advance(&mut self, now: Time) {
        self.model.advance(now.since(self.at));
        self.at = now;
    }
}

/// A box that keeps no epoch and reports no events.
struct Unfenced<S>(S);

impl<S: AcmSwitch> AcmSwitch for Unfenced<S> {
    fn apply<'a>(&'a self, caller: &'a Caller, list: Vec<Primitive>) -> Answer<'a, Result<Vec<Outcome>, AcmError>> {
        assert_eq!(caller.tenure, None, "a box without fencing is told no tenure");
        self.0.apply(caller, list)
    }

    fn list<'a>(&'a self, filter: &'a Filter) -> Answer<'a, Result<Listing, AcmError>> {
        self.0.list(filter)
    }

    fn claim<'a>(&'a self, _manager: &'a Name) -> Answer<'a, Result<Tenure, AcmError>> {
        Box::pin(async { Err(AcmError::unsupported(Feature::Fencing, "it keeps no epoch")) })
    }
}

fn failed(job: &Job, why: AcmError) -> Done {
    match job {
        Job::Connect => Done::Connect(Err(why)),
        Job::Claim => Done::Claim(Err(why)),
        Job::List(_) => Done::List(Err(why)),
        Job::Apply { .. } => Done::Apply(Err(why)),
    }
}

fn poll<T>(mut answer: Answer<'_, T>) -> Poll<T> {
    answer.as_mut().poll(&mut Context::from_waker(Waker::noop()))
}

/// The model answers at once.
pub(crate) fn ready<T>(answer: Answer<'_, T>) -> T {
    match poll(answer) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("the model never waits"),
    }
}

fn text(primitive: &Primitive) -> String {
    match primitive {
        Primitive::Add(add) => format!("add {}", add.key()),
        Primitive::Remove(remove) => format!("remove {}", remove.key()),
        other => format!("{} {}", other.name(), other.service()),
    }
}
