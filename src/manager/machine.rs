//! The manager as one machine: datagrams, results, findings, events and the time go in, [`Action`]s come out.
//!
//! It joins the parts: what the gate lets through goes to the election or, while we lead, to the cache; what changes
//! there goes to the desks of the switches concerned; what they answer goes back to the agents that wait. It has no
//! socket, clock or task: `task` has them, and the simulation has its own.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::cache::{Absence, Cache, Said, Want};
use super::desk::{Context, Desk, Done, Job, News};
use super::election::{Act, Election, Why, Word};
use super::probe::{Finding, Target};
use super::prober::Prober;
use super::reconcile::{Rules, Unknown};
use super::requests::{Request, Requests};
use super::timing::Timing;
use crate::acm::error::AcmError;
use crate::acm::event::EventKind;
use crate::acm::primitive::{Primitive, Tenure};
use crate::acm::words::BindingKey;
use crate::base::id::Name;
use crate::base::span::Span;
use crate::base::time::Time;
use crate::beacon::codec::Kind;
use crate::beacon::counters::Counters;
use crate::beacon::datagram::{DATAGRAM_MAX, peek_kind};
use crate::beacon::gate::{self, Gate, Heard, Sender};
use crate::beacon::key::{KeyError, KeyId, KeyRing, VipRange};
use crate::beacon::message::{
    AckRow, Answer, Condition, Envelope, Message, NodeId, PeerRow, Role, Stamp, Statement, Status, Withdrawal,
};
use crate::beacon::sealer::Sealer;
use crate::beacon::words::Words;

/// Switches of one manager; as many rows of one binding fit an acknowledgement.
pub const SWITCHES_MAX: usize = 16;

/// Datagrams are never taken for a backlog sooner, however fast the beacons: a busy machine is no old recording.
const LATE_AFTER_MIN: Duration = Duration::from_secs(2);

/// What a manager is told at its start.
#[derive(Debug, Clone)]
pub struct Setup {
    /// Its number; the lowest of those that claim at once leads.
    pub node: NodeId,
    /// Whom it believes.
    pub ring: Arc<KeyRing>,
    /// The key it signs with.
    pub sign_with: KeyId,
    /// Whose bindings it looks after: the owner that its Adds name.
    pub owner: Name,
    /// How fast it is.
    pub timing: Timing,
    /// The switches, and the virtual addresses of each.
    pub switches: Vec<(Name, Vec<VipRange>)>,
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
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Send this.
    Send(To, Vec<u8>),
    /// Do this at the switch of this number; tell [`Manager::job_done`].
    Job(usize, Box<Job>),
    /// Let go of every switch: what is under way may end, nothing more begins.
    Disconnect,
    /// Look at this server; tell [`Manager::probed`].
    Probe(Target),
    /// Tell people.
    Notice(Box<Notice>),
}

/// What people may want to know.
#[derive(Debug, Clone, PartialEq)]
pub enum Notice {
    /// It leads.
    Leads(u64),
    /// It leads no more.
    StepsDown(Why),
    /// Another manager uses its number.
    Twin(NodeId),
    /// A switch granted a tenure.
    Granted(usize, Tenure),
    /// A switch keeps no epoch.
    Unfenced(usize),
    /// A switch has granted a newer epoch.
    Fenced(usize, AcmError),
    /// A switch is out of reach.
    Lost(usize, AcmError),
    /// A switch is reached.
    Reached(usize),
    /// This was done at a switch without an agent waiting.
    Repaired(usize, Box<Primitive>),
    /// A switch refused.
    Refused(usize, Box<Primitive>, AcmError),
    /// A server is dead, or lives again.
    Probed(Target, Finding),
    /// An agent announced what its key does not grant.
    NotGranted(Sender, String),
}

/// What was done, for metrics.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Totals {
    /// Beacons and requests taken up.
    pub beacons: u64,
    /// Statements in them.
    pub statements: u64,
    /// Statements that changed something.
    pub changes: u64,
    /// Statements that the sender's key does not grant.
    pub not_granted: u64,
    /// Datagrams of agents thrown away unread, because another leads.
    pub not_leading: u64,
    /// Times it began to lead.
    pub tenures: u64,
}

/// What holds while it leads.
#[derive(Debug)]
struct Lead {
    /// The cache is empty before this.
    since: Time,
    /// What of the unknown may go, as of the last look.
    unknown: Unknown,
    /// When agents are asked again, and how often still.
    solicit: Option<(Time, u32)>,
    /// When to look after the rest.
    tidy_at: Time,
}

/// See the module's documentation.
#[derive(Debug)]
pub struct Manager {
    setup: Setup,
    election: Election,
    gate: Gate,
    sealer: Sealer,
    cache: Cache,
    desks: Vec<Desk>,
    requests: Requests,
    prober: Prober,
    lead: Option<Lead>,
    peers: std::collections::BTreeMap<NodeId, (Role, Time)>,
    twin_told: Option<Time>,
    actions: Vec<Action>,
    totals: Totals,
}

/// Times agents are asked at a takeover; one is lost, three are not.
const SOLICITS: u32 = 3;

impl Manager {
    /// A manager that starts now.
    ///
    /// # Errors
    /// [`KeyError::NoSuchKey`].
    pub fn new(setup: Setup, now: Time) -> Result<Manager, KeyError> {
        let late_after = setup.timing.beacon.max(LATE_AFTER_MIN);
        let config = gate::Config { own: (setup.node, setup.boot), late_after, seed: setup.seed };
        Ok(Manager {
            election: Election::new(setup.node, &setup.timing, setup.seed ^ setup.node.0, now),
            gate: Gate::new(Arc::clone(&setup.ring), config),
            sealer: Sealer::new(Arc::clone(&setup.ring), setup.node, setup.boot, setup.sign_with, now)?,
            cache: Cache::new(setup.seed),
            desks: setup.switches.iter().map(|(name, vips)| Desk::new(name.clone(), vips.clone())).collect(),
            requests: Requests::default(),
            prober: Prober::default(),
            lead: None,
            peers: Default::default(),
            twin_told: None,
            actions: Vec::new(),
            totals: Totals::default(),
            setup,
        })
    }

    /// Uses other keys from now on.
    ///
    /// # Errors
    /// [`KeyError::NoSuchKey`]; nothing is changed then.
    pub fn rotate(&mut self, ring: Arc<KeyRing>, sign_with: KeyId) -> Result<(), KeyError> {
        self.sealer.rotate(Arc::clone(&ring), sign_with)?;
        self.gate.rotate(Arc::clone(&ring));
        self.setup.ring = ring;
        Ok(())
    }

    /// What is to be done, in order.
    pub fn actions(&mut self) -> Vec<Action> {
        std::mem::take(&mut self.actions)
    }

    /// What it is.
    pub fn role(&self) -> Role {
        self.election.role()
    }

    /// The newest term it knows.
    pub fn term(&self) -> u64 {
        self.election.term()
    }

    /// Until when a write that was handed out may begin; `None` if it does not lead.
    pub fn may_write_until(&self) -> Option<Time> {
        self.election.may_write_until()
    }

    /// What is wanted about a binding, as far as it knows.
    pub fn want(&self, key: &BindingKey) -> Option<Want> {
        self.cache.want(key)
    }

    /// What became of every datagram that was read.
    pub fn counters(&self) -> &Counters {
        self.gate.counters()
    }

    /// What was done.
    pub fn totals(&self) -> &Totals {
        &self.totals
    }

    /// The name of a switch.
    pub fn switch_name(&self, switch: usize) -> &Name {
        &self.desks[switch].name
    }

    /// When it wants to be called next.
    pub fn next_deadline(&self, now: Time) -> Time {
        let mut due = self.election.next_deadline();
        if let Some(lead) = &self.lead {
            let solicit = lead.solicit.map_or(Time::NEVER, |(at, _)| at);
            due = due.min(solicit).min(lead.tidy_at).min(self.cache.next_deadline()).min(self.requests.next_deadline());
            due = self.desks.iter().map(|desk| desk.next_deadline(now)).fold(due, Time::min);
        }
        due
    }

    /// Time has passed.
    pub fn tick(&mut self, now: Time) {
        let acts = self.election.tick(now);
        self.act(acts, now);
        self.attend(now);
        self.work(now);
    }

    /// It is told to end: others take over at once.
    pub fn resign(&mut self, now: Time) {
        let acts = self.election.resign(now);
        self.act(acts, now);
    }

    /// A datagram has come.
    pub fn datagram(&mut self, bytes: &[u8], from: SocketAddr, now: Time) {
        let is_agents =
            matches!(peek_kind(bytes), Some(Kind::Beacon | Kind::Add | Kind::Remove | Kind::Failure | Kind::Leave));
        if is_agents && self.lead.is_none() {
            self.totals.not_leading += 1;
            return;
        }
        match self.gate.open(bytes, now) {
            Ok(heard) => self.heard(heard, from, now),
            Err(refused) => {
                if let Some(unproven) = refused.prove {
                    let echoes = unproven.echo.into_iter().collect();
                    let envelope = Envelope { challenge: Some(unproven.challenge), echoes, message: Message::Prove };
                    self.send(unproven.sender.key, To::One(from), &envelope, now);
                }
            }
        }
    }

    fn heard(&mut self, heard: Heard, from: SocketAddr, now: Time) {
        let Heard { sender, stamp, message, challenge } = heard;
        match message {
            Message::Heartbeat { term } => self.heard_manager(sender.node, Word::Heartbeat(term), now),
            Message::Claim { term } => self.heard_manager(sender.node, Word::Claim(term), now),
            Message::Resign => self.heard_manager(sender.node, Word::Resign, now),
            Message::Prove => self.prove(sender, challenge, from, now),
            Message::Query => self.report_status(sender, from, now),
            Message::Beacon { period, bindings } => {
                self.take_up(sender, stamp, period, bindings, from, None, now);
            }
            Message::Add { period, bindings } => {
                let request = Request::new(from, sender, stamp, now + self.setup.timing.ack);
                self.take_up(sender, stamp, period, bindings, from, Some(request), now);
            }
            Message::Remove { bindings, how } => self.withdraw(sender, stamp, bindings, how, from, now),
            Message::Failure { real, .. } => {
                let targets = self.cache.report(real);
                self.probe(targets);
            }
            Message::Leave => {
                let targets = self.cache.leave(sender);
                self.probe(targets);
            }
            // What managers say to agents and operators, and these to each other.
            Message::Solicit { .. }
            | Message::Ack { .. }
            | Message::Status(_)
            | Message::Who { .. }
            | Message::Standings(_)
            | Message::Restart(_) => {}
        }
    }

    /// Somebody we know asks whether we are who he thinks.
    fn prove(&mut self, sender: Sender, challenge: Option<u64>, from: SocketAddr, now: Time) {
        if let Some(challenge) = challenge {
            let envelope = Envelope { challenge: None, echoes: vec![challenge], message: Message::Prove };
            self.send(sender.key, To::One(from), &envelope, now);
        }
    }

    fn heard_manager(&mut self, node: NodeId, word: Word, now: Time) {
        if node == self.setup.node {
            if self.twin_told.is_none_or(|at| now.since(at) > Duration::from_secs(60)) {
                self.twin_told = Some(now);
                self.actions.push(Action::Notice(Box::new(Notice::Twin(node))));
            }
            return;
        }
        match word {
            Word::Heartbeat(_) => self.peers.insert(node, (Role::Leading, now)),
            Word::Claim(_) => self.peers.insert(node, (Role::Claiming, now)),
            Word::Resign => self.peers.remove(&node),
        };
        let acts = self.election.heard(node, word, now);
        self.act(acts, now);
        self.work(now);
    }

    fn act(&mut self, acts: Vec<Act>, now: Time) {
        for act in acts {
            match act {
                Act::Say(word) => {
                    let message = match word {
                        Word::Heartbeat(term) => Message::Heartbeat { term },
                        Word::Claim(term) => Message::Claim { term },
                        Word::Resign => Message::Resign,
                    };
                    self.say(self.setup.sign_with, message, now);
                }
                Act::Lead(term) => self.begin(term, now),
                Act::StepDown(why) => self.end(why),
                Act::Reclaim => self.desks.iter_mut().for_each(Desk::reclaim),
            }
        }
    }

    fn begin(&mut self, term: u64, now: Time) {
        self.cache = Cache::new(self.setup.seed ^ term);
        self.requests = Requests::default();
        self.prober = Prober::default();
        self.totals.tenures += 1;
        self.lead = Some(Lead {
            since: now,
            unknown: Unknown::Kept,
            solicit: Some((now, SOLICITS)),
            tidy_at: now + self.setup.timing.hold_down(),
        });
        self.desks.iter_mut().for_each(|desk| desk.begin(now));
        self.actions.push(Action::Notice(Box::new(Notice::Leads(term))));
        self.attend(now);
        self.work(now);
    }

    fn end(&mut self, why: Why) {
        self.lead = None;
        self.desks.iter_mut().for_each(Desk::end);
        self.requests = Requests::default();
        self.cache = Cache::new(self.setup.seed);
        self.actions.push(Action::Notice(Box::new(Notice::StepsDown(why))));
        self.actions.push(Action::Disconnect);
    }

    /// Looks after everything that has its time, while it leads.
    fn attend(&mut self, now: Time) {
        let Some(lead) = &mut self.lead else { return };
        let within = self.setup.timing.solicit_within();
        if let Some((at, left)) = lead.solicit
            && now >= at
        {
            lead.solicit = (left > 1).then_some((now + within * 2, left - 1));
            self.solicit(within, now);
        }
        let targets = self.cache.look(now);
        self.probe(targets);
        for request in self.requests.overdue(now) {
            self.acknowledge(request, now);
        }
        self.tidy(now);
    }

    fn tidy(&mut self, now: Time) {
        let Some(lead) = &mut self.lead else { return };
        let timing = &self.setup.timing;
        let led = now.since(lead.since);
        let unknown = match led {
            _ if led >= timing.unclaimed() => Unknown::AllMayGo,
            _ if led >= timing.hold_down() => Unknown::DeadMayGo,
            _ => Unknown::Kept,
        };
        if unknown != lead.unknown {
            lead.unknown = unknown;
            self.desks.iter_mut().for_each(|desk| desk.relist(now));
        }
        if now >= lead.tidy_at {
            lead.tidy_at = now + timing.reconcile;
            self.prober.forget(now - timing.reconcile * 3);
            self.cache.forget_agents(timing.beacon * timing.silent_after, now);
        }
    }

    fn solicit(&mut self, within: Duration, now: Time) {
        let agents = self.setup.ring.keys().filter(|key| !key.grant.vips.is_empty()).map(|key| key.id);
        for key in agents.collect::<Vec<_>>() {
            self.say(key, Message::Solicit { within }, now);
        }
    }

    /// Statements of a beacon or an Add.
    #[allow(clippy::too_many_arguments, reason = "all that a datagram says of itself")]
    fn take_up(
        &mut self,
        sender: Sender,
        stamp: Stamp,
        period: Duration,
        bindings: Vec<Statement>,
        from: SocketAddr,
        mut request: Option<Request>,
        now: Time,
    ) {
        self.totals.beacons += 1;
        // An agent that promises a beacon in a year is not believed for a year.
        let period = period.clamp(Duration::from_millis(50), self.setup.timing.beacon.max(Duration::from_secs(60)));
        let said = Said { agent: sender, stamp, patience: period * self.setup.timing.silent_after };
        let mut stirred = false;
        for statement in bindings {
            self.totals.statements += 1;
            let key = statement.key;
            let waits = matches!(statement.condition, Condition::Serving);
            if !self.is_granted(sender, &key, from, request.as_mut()) {
                continue;
            }
            match self.cache.hear(said, statement, now) {
                Ok(changed) => {
                    self.totals.changes += u64::from(changed);
                    if changed || request.is_some() {
                        stirred = true;
                        self.stir(key, request.as_mut().filter(|_| waits), now);
                    }
                    if let Some(request) = request.as_mut().filter(|_| !waits) {
                        request.answer(key, Answer::Done, Some(Words::clip("known, and not added while it is so")));
                    }
                }
                Err(full) => answer(request.as_mut(), key, Answer::Full, &full.to_string()),
            }
        }
        self.wait_for(request, now);
        if stirred {
            self.work(now);
        }
    }

    fn withdraw(
        &mut self,
        sender: Sender,
        stamp: Stamp,
        bindings: Vec<BindingKey>,
        how: Withdrawal,
        from: SocketAddr,
        now: Time,
    ) {
        let mut request = Request::new(from, sender, stamp, now + self.setup.timing.ack);
        let patience = self.setup.timing.beacon * self.setup.timing.silent_after;
        let said = Said { agent: sender, stamp, patience };
        let may_force = self.gate.grant(sender.key).is_some_and(|grant| grant.force);
        for key in bindings {
            if !self.is_granted(sender, &key, from, Some(&mut request)) {
                continue;
            }
            if how == Withdrawal::Force && !may_force {
                request.answer(key, Answer::Forbidden, Some(Words::clip("the key may not cut connections")));
                continue;
            }
            match self.cache.withdraw(said, key, how, now) {
                Ok(changed) => {
                    self.totals.changes += u64::from(changed);
                    self.stir(key, Some(&mut request), now);
                }
                Err(full) => answer(Some(&mut request), key, Answer::Full, &full.to_string()),
            }
        }
        self.wait_for(Some(request), now);
        self.work(now);
    }

    fn is_granted(
        &mut self,
        sender: Sender,
        key: &BindingKey,
        from: SocketAddr,
        request: Option<&mut Request>,
    ) -> bool {
        let covers = self.gate.grant(sender.key).map(|grant| grant.covers(key, from.ip()));
        let Some(Err(why)) = covers else { return covers.is_some() };
        answer(request, *key, Answer::Forbidden, &why);
        self.totals.not_granted += 1;
        self.actions.push(Action::Notice(Box::new(Notice::NotGranted(sender, why))));
        false
    }

    /// Something else is wanted about a binding, or somebody waits for it: the switches concerned are told.
    fn stir(&mut self, key: BindingKey, mut request: Option<&mut Request>, now: Time) {
        let explicit = !matches!(self.cache.want(&key), Some(Want::Absent(Absence::Failing(_) | Absence::Dead(_))));
        let owners: Vec<_> = (0..self.desks.len()).filter(|n| self.desks[*n].owns(&key.service)).collect();
        if owners.is_empty() {
            answer(request, key, Answer::NoSwitch, "no switch of this manager has this virtual address");
            return;
        }
        for switch in owners {
            if let Some(request) = request.as_deref_mut() {
                request.expect(key, switch);
            }
            match explicit {
                true => self.desks[switch].ask(key, now),
                false => self.desks[switch].look(key.service, now),
            }
        }
    }

    fn wait_for(&mut self, request: Option<Request>, now: Time) {
        if let Some(done) = request.and_then(|request| self.requests.open(request)) {
            self.acknowledge(done, now);
        }
    }

    /// Begins looks at servers.
    fn probe(&mut self, targets: impl IntoIterator<Item = Target>) {
        for target in targets {
            if self.prober.begin(target) {
                self.actions.push(Action::Probe(target));
            }
        }
    }

    /// A look at a server has ended.
    pub fn probed(&mut self, target: Target, found: Finding, now: Time) {
        self.prober.end(target, found, now);
        if self.lead.is_none() {
            return;
        }
        let changed = self.cache.probed(target, found, now);
        if !changed.is_empty() {
            self.actions.push(Action::Notice(Box::new(Notice::Probed(target, found))));
        }
        for key in changed {
            self.stir(key, None, now);
        }
        self.work(now);
    }

    /// A job at a switch has ended.
    pub fn job_done(&mut self, switch: usize, done: Done, now: Time) {
        self.with_desk(switch, now, |desk, context, news| desk.done(done, context, news, now));
        self.work(now);
    }

    /// Something happened at a switch.
    pub fn event(&mut self, switch: usize, event: &EventKind, now: Time) {
        if self.lead.is_some() {
            self.desks[switch].happened(event, &self.cache, now);
            self.work(now);
        }
    }

    /// Every desk that may have a job gets one.
    fn work(&mut self, now: Time) {
        for switch in 0..self.desks.len() {
            if self.lead.is_none() {
                return;
            }
            let job = self.with_desk(switch, now, |desk, context, news| desk.next(context, news, now));
            if let Some(job) = job {
                self.actions.push(Action::Job(switch, Box::new(job)));
            }
        }
    }

    /// Lets a desk do something, and hears its news.
    fn with_desk<T>(
        &mut self,
        switch: usize,
        now: Time,
        act: impl FnOnce(&mut Desk, &Context<'_>, &mut Vec<News>) -> T,
    ) -> T {
        let unknown = self.lead.as_ref().map_or(Unknown::Kept, |lead| lead.unknown);
        let rules = Rules {
            owner: &self.setup.owner,
            health: self.setup.timing.health.as_ref(),
            drain: Span(self.setup.timing.drain),
            unknown,
            found: self.prober.found(),
            refusals_since: now - self.setup.timing.heartbeat,
        };
        let may_write_until = self.election.may_write_until().unwrap_or(Time::ZERO);
        let (reconcile, heartbeat) = (self.setup.timing.reconcile, self.setup.timing.heartbeat);
        let context = Context { cache: &self.cache, rules, may_write_until, reconcile, heartbeat };
        let mut news = Vec::new();
        let result = act(&mut self.desks[switch], &context, &mut news);
        for one in news {
            self.hear_desk(switch, one, now);
        }
        result
    }

    fn hear_desk(&mut self, switch: usize, news: News, now: Time) {
        let notice = match news {
            News::Answered(key, answer, note) => {
                for request in self.requests.answered(key, switch, answer, note.as_ref()) {
                    self.acknowledge(request, now);
                }
                return;
            }
            News::Probe(targets) => return self.probe(targets),
            News::Fenced(why) => {
                self.actions.push(Action::Notice(Box::new(Notice::Fenced(switch, why))));
                let acts = self.election.fenced(now);
                return self.act(acts, now);
            }
            News::Granted(tenure) => Notice::Granted(switch, tenure),
            News::Unfenced => Notice::Unfenced(switch),
            News::Lost(why) => Notice::Lost(switch, why),
            News::Reached => Notice::Reached(switch),
            News::Repaired(primitive) => Notice::Repaired(switch, Box::new(primitive)),
            News::Refused(primitive, why) => Notice::Refused(switch, Box::new(primitive), why),
        };
        self.actions.push(Action::Notice(Box::new(notice)));
    }

    /// Sends the rows of an answer, in as many datagrams as they need; a binding's rows stay together.
    fn acknowledge(&mut self, request: Request, now: Time) {
        let (to, sender, of) = (request.to, request.sender, request.of);
        let rows = request.rows(|switch| self.desks[switch].name.clone());
        let size = |row: &AckRow| {
            60 + row.switch.as_ref().map_or(0, |name| name.as_str().len())
                + row.note.as_ref().map_or(0, |note| note.as_str().len())
        };
        let mut some = Vec::new();
        let mut bytes = 0;
        for whole in rows.chunk_by(|a, b| a.key == b.key) {
            let more: usize = whole.iter().map(size).sum();
            if bytes + more > DATAGRAM_MAX - 200 && !some.is_empty() {
                self.ack(sender, of, std::mem::take(&mut some), to, now);
                bytes = 0;
            }
            // So many switches that their notes do not fit: the answers do.
            let fits = more <= DATAGRAM_MAX - 200;
            some.extend(whole.iter().map(|row| AckRow { note: row.note.clone().filter(|_| fits), ..row.clone() }));
            bytes += more;
        }
        self.ack(sender, of, some, to, now);
    }

    fn ack(&mut self, sender: Sender, of: Stamp, rows: Vec<AckRow>, to: SocketAddr, now: Time) {
        let echoes = self.gate.echo_for(sender).into_iter().collect();
        let challenge = Some(self.gate.challenge(now));
        let envelope = Envelope { challenge, echoes, message: Message::Ack { of, rows } };
        self.send(sender.key, To::One(to), &envelope, now);
    }

    /// Tells an operator everything, in parts: first head, peers and counters, then the switches, some to a part.
    fn report_status(&mut self, sender: Sender, to: SocketAddr, now: Time) {
        const SWITCHES: usize = 4;
        const PEERS: usize = 8;
        let peer = |(node, (role, at)): (&NodeId, &(Role, Time))| {
            let (node, role, age) = (*node, *role, now.since(*at));
            PeerRow { node, role, age }
        };
        let parts = 1 + self.desks.len().div_ceil(SWITCHES) as u16;
        let head = Status {
            part: 0,
            parts,
            role: self.role(),
            term: self.term(),
            leader: self.election.leader(),
            agents: self.cache.agents() as u32,
            bindings: self.cache.len() as u32,
            peers: self.peers.iter().take(PEERS).map(peer).collect(),
            switches: Vec::new(),
            counters: self.counts(),
        };
        let switches: Vec<_> = self.desks.iter().map(|desk| desk.status(now)).collect();
        let some = switches.chunks(SWITCHES).enumerate().map(|(n, some)| Status {
            part: n as u16 + 1,
            switches: some.to_vec(),
            peers: Vec::new(),
            counters: Vec::new(),
            ..head.clone()
        });
        for status in std::iter::once(head.clone()).chain(some) {
            let echoes = self.gate.echo_for(sender).into_iter().collect();
            let envelope = Envelope { challenge: None, echoes, message: Message::Status(status) };
            self.send(sender.key, To::One(to), &envelope, now);
        }
    }

    /// Everything counted that is not zero, by name.
    fn counts(&self) -> Vec<(Name, u64)> {
        let gate = self.gate.counters();
        let refused = gate.iter().map(|(cause, count)| (format!("refused.{}", cause.as_str()), count));
        let Totals { beacons, statements, changes, not_granted, not_leading, tenures } = self.totals;
        let own = [
            ("accepted", gate.accepted),
            ("beacons", beacons),
            ("statements", statements),
            ("changes", changes),
            ("not-granted", not_granted),
            ("not-leading", not_leading),
            ("tenures", tenures),
        ];
        let all = own.into_iter().map(|(name, count)| (name.to_owned(), count)).chain(refused);
        all.filter(|(_, count)| *count > 0).filter_map(|(name, count)| Some((name.parse().ok()?, count))).collect()
    }

    /// Says something to all, with our challenge and the echoes of theirs.
    fn say(&mut self, key: KeyId, message: Message, now: Time) {
        let (challenge, echoes) = (Some(self.gate.challenge(now)), self.gate.echoes());
        self.send(key, To::All, &Envelope { challenge, echoes, message }, now);
    }

    fn send(&mut self, key: KeyId, to: To, envelope: &Envelope, now: Time) {
        // Everything we say is cut to fit before; what did not would be lost as a datagram can be.
        if let Ok(bytes) = self.sealer.seal_with(key, envelope, now) {
            self.actions.push(Action::Send(to, bytes));
        }
    }
}

fn answer(request: Option<&mut Request>, key: BindingKey, answer: Answer, note: &str) {
    if let Some(request) = request {
        request.answer(key, answer, Some(Words::clip(note)));
    }
}
