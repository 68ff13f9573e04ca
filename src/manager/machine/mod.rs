//! The manager as one machine: datagrams, results, findings, events and the time go in, [`Action`]s come out.
//!
//! It joins the parts: what the gate lets through goes to the election or, while we lead, to the cache; what changes
//! there goes to the desks of the switches concerned; what they answer goes back to the agents that wait. It has no
//! socket, clock or task: `task` has them, and the simulation has its own.
//!
//! Here: its face, and what it does while it leads. `words`: what goes in and comes out; `hear`: what a datagram sets going;
//! `switches`: the desks and the looks at servers; `say`: answers, and everything that is signed.

mod hear;
mod say;
mod switches;
mod words;

use std::sync::Arc;
use std::time::Duration;

use super::cache::{Cache, Want};
use super::desk::Desk;
use super::election::{Act, Election, Why, Word};
use super::prober::Prober;
use super::reconcile::Unknown;
use super::requests::Requests;
use crate::acm::words::BindingKey;
use crate::base::id::Name;
use crate::base::time::Time;
use crate::beacon::counters::Counters;
use crate::beacon::gate::{self, Gate};
use crate::beacon::key::{KeyError, KeyId, KeyRing};
use crate::beacon::message::{Message, NodeId, Role};
use crate::beacon::sealer::Sealer;

pub use words::{Action, Notice, Setup, To, Totals};

/// Switches of one manager; as many rows of one binding fit an acknowledgement.
pub const SWITCHES_MAX: usize = 16;

/// Datagrams are never taken for a backlog sooner, however fast the beacons: a busy machine is no old recording.
const LATE_AFTER_MIN: Duration = Duration::from_secs(2);

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
}
