//! [`AcmBox`]: the seam itself. It holds no state of the switch but what the last List showed.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use switch_sim::slb::balancer::{Ability, Event, SlbBox, Submitted, Ticket, Waker};
use switch_sim::slb::change::{Change, Place, Refusal};
use switch_sim::slb::config::Config;
use switch_sim::slb::report::{PortReport, PortState, RealReport, Totals};
use switch_sim::slb::words::{Name, Port};
use switch_sim::time::Time;
use tokio::runtime::Handle;

use super::amend::{Amendments, amendments};
use super::plan::{Plan, plan};
use super::seen::Seen;
use super::task::{Answer, Hands};
use super::wants;
use crate::acm::error::AcmError;
use crate::acm::event::EventKind;
use crate::acm::list::{Listing, State};
use crate::acm::primitive::{Primitive, RemoveService};
use crate::acm::switch::AcmSwitch;
use crate::acm::words::{BindingKey, ServiceKey};

/// How often everything is looked at, at the most, because of what others do.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// A switch behind the ServerIron's command line.
pub struct AcmBox {
    hands: Hands,
    seen: Seen,
    nameless: Vec<BindingKey>,
    /// The change being performed, and what it was.
    changing: Option<u64>,
    refreshing: Option<u64>,
    /// A List that has arrived and whose differences have not been told.
    fresh: Option<Listing>,
    /// What others have done, as far as events tell: whether the binding is in service now.
    suspects: HashMap<BindingKey, InService>,
    /// Something happened that only a List explains.
    must_look: bool,
    looking: Option<Look>,
    look_at: Time,
    /// Changes of our own begun so far.
    own_changes: u64,
    /// Removed here, connections finishing.
    leaving_services: HashSet<ServiceKey>,
    leaving_reals: HashMap<Name, IpAddr>,
    leaving_ports: HashSet<(Name, IpAddr, Port)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum InService {
    Yes,
    No,
}

/// A List under way, and how many changes of our own there were when it began.
struct Look {
    errand: u64,
    own_changes: u64,
}

impl AcmBox {
    /// This switch behind a command line; `runtime` performs what is asked of it.
    pub fn new(switch: Arc<dyn AcmSwitch>, runtime: Handle) -> AcmBox {
        AcmBox {
            hands: Hands::new(switch, runtime),
            seen: Seen::default(),
            nameless: Vec::new(),
            changing: None,
            refreshing: None,
            fresh: None,
            suspects: HashMap::new(),
            must_look: true,
            looking: None,
            look_at: Time::ZERO,
            own_changes: 0,
            leaving_services: HashSet::new(),
            leaving_reals: HashMap::new(),
            leaving_ports: HashSet::new(),
        }
    }

    /// Notes what is on its way out with a change that was accepted.
    fn note_leaving(&mut self, change: &Change, config: &Config) {
        match change {
            Change::RemoveReal { name } => {
                if let Some(real) = config.real(name) {
                    self.leaving_reals.insert(name.clone(), real.address);
                }
            }
            Change::RemoveRealPort { real, port } => {
                if let Some(row) = config.real(real) {
                    self.leaving_ports.insert((real.clone(), row.address, *port));
                }
            }
            _ => return,
        }
        self.must_look = true;
    }

    /// Takes in what happened, and decides whether to look.
    fn hear(&mut self, config: &Config) {
        let news = self.hands.news();
        self.must_look |= news.is_lost;
        for event in news.events {
            self.hear_one(event);
        }
        if self.changing.is_none() {
            let agrees =
                |(key, state): (&BindingKey, &InService)| wants::has(config, key) == (*state == InService::Yes);
            self.must_look |= !self.suspects.iter().all(agrees);
            self.suspects.clear();
        }
    }

    fn hear_one(&mut self, event: EventKind) {
        match event {
            EventKind::Added { binding, .. } => drop(self.suspects.insert(binding, InService::Yes)),
            EventKind::State { binding, to: State::Draining, .. } => {
                self.suspects.insert(binding, InService::No);
            }
            EventKind::Drained { binding, .. } | EventKind::ForceRemoved { binding, .. } => {
                self.suspects.insert(binding, InService::No);
                let real = binding.real.ip();
                self.must_look |= self.leaving_services.contains(&binding.service)
                    || self.leaving_reals.values().any(|ip| *ip == real)
                    || self.leaving_ports.iter().any(|(_, ip, _)| *ip == real);
            }
            EventKind::ServiceCreated { .. }
            | EventKind::ServiceChanged { .. }
            | EventKind::ServiceRemoved { .. }
            | EventKind::Changed { .. }
            | EventKind::RulesChanged { .. }
            | EventKind::Lost => self.must_look = true,
            EventKind::State { .. } | EventKind::Drop { .. } => {}
        }
    }

    /// Begins to look, if there is reason and nothing of our own is under way.
    fn look(&mut self, now: Time) {
        if self.must_look && self.looking.is_none() && self.changing.is_none() && now >= self.look_at {
            self.must_look = false;
            self.look_at = now + LOOK_EVERY;
            self.looking = Some(Look { errand: self.hands.list(), own_changes: self.own_changes });
        }
    }

    /// Takes in the List that was begun by [`AcmBox::look`].
    fn see(&mut self) {
        let Some(look) = &self.looking else { return };
        let Some(answer) = self.hands.take(look.errand) else { return };
        let is_current = look.own_changes == self.own_changes;
        self.looking = None;
        match answer {
            Answer::Listed(Ok(listing)) if is_current => self.fresh = Some(listing),
            // Older than a change of ours, or not to be had: once more.
            Answer::Listed(_) | Answer::Performed(_) => self.must_look = true,
        }
    }

    /// The services whose last connection has ended go.
    fn finish_leaving_services(&mut self) {
        let seen = &self.seen;
        let (back, out): (Vec<_>, Vec<_>) = self
            .leaving_services
            .iter()
            .copied()
            .partition(|service| seen.bindings().any(|row| row.key.service == *service));
        // One that somebody has put a binding into again stays.
        for service in back {
            let is_back = seen.bindings().any(|row| row.key.service == service && row.state != State::Draining);
            if is_back {
                self.leaving_services.remove(&service);
            }
        }
        let is_there = |service: &ServiceKey| seen.services().any(|row| row.service == *service);
        let removals: Vec<Primitive> = out
            .iter()
            .filter(|service| is_there(service))
            .map(|service| Primitive::RemoveService(RemoveService { service: *service }))
            .collect();
        for service in out {
            if !is_there(&service) {
                self.leaving_services.remove(&service);
            }
        }
        if !removals.is_empty() {
            // Its end comes as an event; nobody waits for the answer.
            self.hands.perform_unasked(Plan { primitives: removals, ..Plan::default() });
        }
    }
}

fn refusal(why: AcmError) -> Refusal {
    match why {
        AcmError::Unsupported { feature, why } => Refusal::Unsupported { what: format!("{feature}: {why}") },
        why => Refusal::Failed { why: why.to_string() },
    }
}

impl SlbBox for AcmBox {
    fn able(&self, ability: Ability) -> bool {
        match ability {
            Ability::ContentSwitching | Ability::HealthChecks | Ability::Tuning => true,
            Ability::CacheSwitching
            | Ability::SourceNat
            | Ability::DirectServerReturn
            | Ability::SynDefence
            | Ability::TlsProxy
            | Ability::Redundancy
            | Ability::Persistence => false,
        }
    }

    fn submit(&mut self, change: &Change, config: &Config, _now: Time) -> Submitted {
        let plan = match plan(change, config) {
            Ok(plan) => plan,
            Err(refusal) => return Submitted::Done(Err(refusal)),
        };
        self.note_leaving(change, config);
        if plan.is_empty() {
            return Submitted::Done(Ok(()));
        }
        if let Change::AddVirtualPort { .. } | Change::Bind { .. } = change {
            let services = plan.primitives.iter().map(Primitive::service);
            services.for_each(|service| {
                self.leaving_services.remove(&service);
            });
        }
        self.leaving_services.extend(plan.leaving.iter().copied());
        self.own_changes += 1;
        let errand = self.hands.perform(plan);
        self.changing = Some(errand);
        Submitted::Later(Ticket(errand))
    }

    fn poll(&mut self, ticket: Ticket, _now: Time) -> Option<Result<(), Refusal>> {
        let answer = self.hands.take(ticket.0)?;
        if self.changing == Some(ticket.0) {
            self.changing = None;
        }
        if self.refreshing == Some(ticket.0) {
            self.refreshing = None;
        }
        Some(match answer {
            Answer::Performed(outcome) => outcome.map_err(refusal),
            Answer::Listed(Ok(listing)) => {
                self.fresh = Some(listing);
                Ok(())
            }
            Answer::Listed(Err(why)) => Err(refusal(why)),
        })
    }

    fn refresh(&mut self, _config: &Config, _now: Time) -> Submitted {
        let errand = self.hands.list();
        self.refreshing = Some(errand);
        Submitted::Later(Ticket(errand))
    }

    fn amendments(&mut self, config: &Config, now: Time) -> Vec<Change> {
        self.hear(config);
        self.see();
        self.look(now);
        let Some(listing) = self.fresh.take() else { return Vec::new() };
        self.seen = Seen::new(listing);
        self.finish_leaving_services();
        let Amendments { changes, config, nameless } = amendments(&self.seen, config, &self.leaving_services);
        self.nameless = nameless;
        self.seen.name(&config);
        changes
    }

    fn events(&mut self, _now: Time) -> Vec<Event> {
        let seen = &self.seen;
        let mut events = Vec::new();
        if self.must_look || self.looking.is_some() || self.fresh.is_some() {
            return events;
        }
        self.leaving_reals.retain(|name, ip| {
            let stays = seen.has_real(*ip);
            if !stays {
                events.push(Event::RealDeleted(name.clone()));
            }
            stays
        });
        self.leaving_ports.retain(|(name, ip, port)| {
            let stays = seen.has_real_port(*ip, *port);
            if !stays {
                events.push(Event::RealPortDeleted(name.clone(), *port));
            }
            stays
        });
        events
    }

    fn real(&self, name: &Name) -> RealReport {
        self.seen.real(name)
    }

    fn real_port(&self, name: &Name, port: Port) -> PortReport {
        self.seen.real_port(name, port)
    }

    fn binding(&self, server: &Name, port: Port, real: &Name, real_port: Port) -> PortState {
        self.seen.binding(server, port, real, real_port)
    }

    fn virtual_port(&self, server: &Name, port: Port) -> PortReport {
        self.seen.virtual_port(server, port)
    }

    fn rule_hits(&self, rule: &str) -> u64 {
        self.seen.hits(rule)
    }

    fn totals(&self) -> Totals {
        self.seen.totals()
    }

    fn remarks(&self, place: &Place) -> Vec<String> {
        match place {
            Place::System => self.seen.remarks_of_system(&self.nameless),
            Place::Real(name) => self.seen.remarks_of_real(name),
            Place::Virtual(name) => self.seen.remarks_of_virtual(name),
            Place::RealPort(..) | Place::VirtualPort(..) | Place::Block(..) => Vec::new(),
        }
    }

    fn restart(&mut self, _config: &Config, _now: Time) -> Submitted {
        // The switch goes on: its connections are not the command line's to end. What is there is read again.
        self.must_look = true;
        Submitted::Done(Ok(()))
    }

    fn next_deadline(&self) -> Option<Time> {
        (self.must_look && self.looking.is_none() && self.changing.is_none()).then_some(self.look_at)
    }

    fn set_waker(&mut self, waker: Waker) {
        self.hands.set_waker(waker);
    }
}
