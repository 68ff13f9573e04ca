//! The simulated box: a load balancer that forwards nothing, but whose servers come up and fail, whose connections come and
//! go, and which takes its time if it is asked to.
//!
//! Health follows a [`Script`] and pulled [`Levers`], or real TCP checks ([`checks`]). Time is an argument; chance is seeded.
//! Not here: the configuration (the chassis'), quirks of the command line.

pub mod checks;
mod health;
mod obey;
mod script;
pub mod task;
mod traffic;
mod world;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::SocketAddr;
use std::time::Duration;

pub use health::HealthTimes;
pub use script::{Action, Levers, Script};
pub use traffic::{STEP, Traffic};

use checks::Checks;
use health::Life;
use world::World;

use crate::personality::Personality;
use crate::quirk::Quirks;
use crate::slb::balancer::{Ability, Event, SlbBox, Submitted, Ticket, Waker};
use crate::slb::change::{Change, Refusal};
use crate::slb::config::Config;
use crate::slb::report::{PortReport, PortState, RealReport, ServerState, Totals};
use crate::slb::words::{Name, Port, Protocol};
use crate::time::Time;

/// How long the box takes for a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Pace {
    /// No time.
    #[default]
    None,
    /// As measured on a real ServerIron XL: [`Pace::BIND`] for each added and [`Pace::UNBIND`] for each removed binding.
    Device,
}

impl Pace {
    /// For each binding added, at [`Pace::Device`].
    pub const BIND: Duration = Duration::from_millis(26);
    /// For each binding removed, at [`Pace::Device`].
    pub const UNBIND: Duration = Duration::from_millis(20);
}

/// What a simulated box is like.
pub struct SimSettings {
    /// Whose manners it has.
    pub personality: Personality,
    /// How long changes take.
    pub pace: Pace,
    /// How long health takes.
    pub times: HealthTimes,
    /// How busy the clients are at the start.
    pub traffic: Traffic,
    /// What happens, and when.
    pub script: Script,
    /// Real checks in the place of scripted health of ports.
    pub checks: Option<Box<dyn Checks>>,
    /// What goes wrong; the box looks at `aw-states`.
    pub quirks: Quirks,
    /// For everything left to chance.
    pub seed: u64,
}

impl SimSettings {
    /// A quick box without clients.
    pub fn new(personality: Personality) -> SimSettings {
        SimSettings {
            personality,
            pace: Pace::None,
            times: HealthTimes::BRISK,
            traffic: Traffic::NONE,
            script: Script::default(),
            checks: None,
            quirks: Quirks::none(),
            seed: 0,
        }
    }
}

/// Sessions that the table could hold: what the vendor's screens show.
const SESSIONS_MAX: u64 = 524_288;

/// With `server force-delete` connections of deleted and disabled ports end within this (vendor's manual: two minutes).
const FORCE_DELETE_AFTER: Duration = Duration::from_secs(120);

/// How late a timer may wake: its grain is a millisecond.
const LATENESS: Duration = Duration::from_millis(4);

/// Of a hundred connections that `clear server session` should end on the XL, so many stay. Its Force Remove is known to
/// be unreliable, not by how much.
const XL_UNCLEARED_PERCENT: u32 = 20;

/// See the module.
pub struct SimulatedBox {
    settings: SimSettings,
    chance: fastrand::Rng,
    world: World,
    levers: Levers,
    /// The moment up to which everything has happened.
    now: Time,
    /// The last step of the traffic.
    stepped: Time,
    /// Ports that are unbound or deleted, or were reversed, and still finish.
    finishing: BTreeSet<(Name, Port)>,
    /// Connections there are, roughly: whether steps are worth while.
    busy: bool,
    tickets: BTreeMap<u64, (Time, Result<(), Refusal>)>,
    next_ticket: u64,
    /// When the last change that took time was due.
    paced_until: Time,
    events: Vec<Event>,
    amendments: Vec<Change>,
    refuse_next: Option<Refusal>,
    force_delete: bool,
    profiles: HashMap<Port, Protocol>,
    checking: BTreeSet<(Time, SocketAddr)>,
    found: HashMap<SocketAddr, Found>,
}

/// What real checks have found of an endpoint.
#[derive(Debug, Clone, Copy)]
struct Found {
    /// Failures in a row; `None` before the first outcome.
    failures: Option<u32>,
    users: u32,
}

impl SimulatedBox {
    /// A box without anything configured.
    pub fn new(settings: SimSettings) -> SimulatedBox {
        SimulatedBox {
            chance: fastrand::Rng::with_seed(settings.seed),
            settings,
            world: World::default(),
            levers: Levers::default(),
            now: Time::ZERO,
            stepped: Time::ZERO,
            finishing: BTreeSet::new(),
            busy: false,
            tickets: BTreeMap::new(),
            next_ticket: 0,
            paced_until: Time::ZERO,
            events: Vec::new(),
            amendments: Vec::new(),
            refuse_next: None,
            force_delete: false,
            profiles: HashMap::new(),
            checking: BTreeSet::new(),
            found: HashMap::new(),
        }
    }

    /// Levers of this box, for whoever hands it to a chassis.
    pub fn levers(&self) -> Levers {
        self.levers.clone()
    }

    /// Lets the time pass up to `now`.
    fn pass(&mut self, now: Time) {
        self.now = self.now.max(now);
        let mut actions = self.settings.script.due(self.now);
        actions.extend(self.levers.take());
        for action in actions {
            self.happen(action);
        }
        self.check();
        let steps = self.now.since(self.stepped).as_micros() / STEP.as_micros();
        if steps > 0 {
            let steps = u32::try_from(steps).unwrap_or(u32::MAX);
            self.stepped = self.stepped + STEP * steps;
            self.step(steps);
        }
        self.finish();
    }

    /// The traffic moves.
    fn step(&mut self, steps: u32) {
        let traffic = self.settings.traffic;
        if traffic.per_second == 0 && !self.busy {
            return;
        }
        let (now, times) = (self.now, self.settings.times);
        self.busy = false;
        // In the order of names, so that a seed gives the same numbers again.
        let mut names: Vec<&Name> = self.world.reals.keys().collect();
        names.sort_unstable();
        let names: Vec<Name> = names.into_iter().cloned().collect();
        for name in names {
            let Some(real) = self.world.reals.get_mut(&name) else { continue };
            let rooms: Vec<(Port, Option<u64>)> =
                real.ports.keys().map(|port| (*port, real.room(*port, &times, now))).collect();
            for (number, room) in rooms {
                let Some(port) = real.ports.get_mut(&number) else { continue };
                let shares = port.flows.len() as u64;
                for bound in port.flows.values_mut() {
                    let open = room.filter(|_| bound.unbound_at.is_none()).map(|room| room / shares.max(1));
                    bound.flow.pass(steps, traffic, open, &mut self.chance);
                    self.busy |= bound.flow.counters.current > 0;
                }
            }
        }
    }

    /// What has finished, is told.
    fn finish(&mut self) {
        let now = self.now;
        let finishing: Vec<(Name, Port)> = self.finishing.iter().cloned().collect();
        for (name, number) in finishing {
            if self.force_delete {
                self.force_out(&name, number);
            }
            self.world.tidy(&name, number, now);
            let Some(real) = self.world.reals.get(&name) else {
                self.finishing.remove(&(name, number));
                continue;
            };
            let port = real.ports.get(&number);
            if port.is_some_and(|port| port.is_finishing(now) || port.reversed.is_some()) {
                continue;
            }
            self.finishing.remove(&(name.clone(), number));
            if real.leaving {
                let waits = real.ports.iter().any(|(_, port)| port.is_finishing(now));
                if !waits {
                    self.world.by_address.remove(&real.address);
                    self.world.reals.remove(&name);
                    self.events.push(Event::RealDeleted(name));
                }
            } else if port.is_some_and(|port| port.leaving) {
                if let Some(real) = self.world.reals.get_mut(&name) {
                    real.ports.remove(&number);
                }
                self.events.push(Event::RealPortDeleted(name, number));
            }
        }
    }

    fn force_out(&mut self, name: &Name, number: Port) {
        let now = self.now;
        let Some(port) = self.world.reals.get_mut(name).and_then(|real| real.ports.get_mut(&number)) else { return };
        let disabled_at = port.disabled_at;
        for bound in port.flows.values_mut() {
            if bound.unbound_at.or(disabled_at).is_some_and(|since| now.since(since) >= FORCE_DELETE_AFTER) {
                bound.flow.counters.current = 0;
                bound.flow.held = 0;
            }
        }
    }

    /// Something happens from outside.
    fn happen(&mut self, action: Action) {
        let now = self.now;
        match action {
            Action::ServerDown(address) => self.turn(address, None, false),
            Action::ServerUp(address) => self.turn(address, None, true),
            Action::PortDown(address, port) => self.turn(address, Some(port), false),
            Action::PortUp(address, port) => self.turn(address, Some(port), true),
            Action::Open(name, port, connections) => {
                let times = self.settings.times;
                let Some(real) = self.world.reals.get_mut(&name) else { return };
                let room = real.room(port, &times, now);
                let Some(port) = real.ports.get_mut(&port) else { return };
                for bound in port.flows.values_mut().filter(|bound| bound.unbound_at.is_none()) {
                    let Some(room) = room else { continue };
                    let come = u64::from(connections).min(room.saturating_sub(bound.flow.counters.current));
                    bound.flow.arrive(come, come);
                    bound.flow.held += come;
                    self.busy = true;
                }
            }
            Action::Close(name, port) => {
                let port = self.world.reals.get_mut(&name).and_then(|real| real.ports.get_mut(&port));
                for bound in port.into_iter().flat_map(|port| port.flows.values_mut()) {
                    bound.flow.counters.current = 0;
                    bound.flow.held = 0;
                }
            }
            Action::Traffic(per_second) => self.settings.traffic.per_second = per_second,
            Action::Amend(change) => {
                self.obey(&change);
                self.amendments.push(change);
            }
            Action::RefuseNext(refusal) => self.refuse_next = Some(refusal),
        }
    }

    /// A machine or a service stops answering, or answers again. Without `keepalive` nobody looks at a port a second time.
    fn turn(&mut self, address: std::net::IpAddr, port: Option<Port>, up: bool) {
        let (now, times) = (self.now, self.settings.times);
        if up {
            self.world.down.remove(&(address, port));
        } else {
            self.world.down.insert((address, port));
        }
        let Some(real) = self.world.by_address.get(&address).cloned() else { return };
        let Some(real) = self.world.reals.get_mut(&real) else { return };
        match port {
            None => {
                let was_up = health::server(real.life, &times, now) == ServerState::Active;
                real.life.turn(up, was_up, now);
            }
            Some(number) => {
                let state = real.port_state(number, &times, now);
                let watched = watched(&self.settings, &self.profiles, number);
                if let Some(port) = real.ports.get_mut(&number)
                    && watched
                    && (port.keepalive || self.profiles.contains_key(&number) || state != PortState::Active || up)
                {
                    port.life.turn(up, state == PortState::Active, now);
                }
            }
        }
    }
}

/// Whether a TCP check of this port means anything: a port that the device knows neither by itself nor by a profile it takes
/// for UDP, and silence is then a good sign.
fn watched(settings: &SimSettings, profiles: &HashMap<Port, Protocol>, port: Port) -> bool {
    match profiles.get(&port) {
        Some(Protocol::Tcp) => true,
        Some(Protocol::Udp) => false,
        None => port.is_well_known() || settings.personality == Personality::Acm,
    }
}

impl SlbBox for SimulatedBox {
    fn able(&self, _ability: Ability) -> bool {
        true
    }

    fn submit(&mut self, change: &Change, _config: &Config, now: Time) -> Submitted {
        self.pass(now);
        let refused = self.refuse_next.take();
        let takes = match self.settings.pace {
            Pace::None => Duration::ZERO,
            Pace::Device => self.takes(change),
        };
        if refused.is_none() {
            self.obey(change);
            self.finish();
        }
        let outcome = refused.map_or(Ok(()), Err);
        if takes.is_zero() {
            return Submitted::Done(outcome);
        }
        // Whoever waits for this box is woken a little late, and the next change begins later by that. A pace is a pace:
        // what follows at once is counted from when the one before was due.
        let begins = if now.since(self.paced_until) <= LATENESS { self.paced_until.min(now) } else { now };
        self.paced_until = begins + takes;
        self.next_ticket += 1;
        self.tickets.insert(self.next_ticket, (self.paced_until, outcome));
        Submitted::Later(Ticket(self.next_ticket))
    }

    fn poll(&mut self, ticket: Ticket, now: Time) -> Option<Result<(), Refusal>> {
        self.pass(now);
        let due = self.tickets.get(&ticket.0).is_none_or(|(due, _)| *due <= now);
        due.then(|| self.tickets.remove(&ticket.0).map_or(Ok(()), |(_, outcome)| outcome))
    }

    fn refresh(&mut self, _config: &Config, now: Time) -> Submitted {
        self.pass(now);
        Submitted::Done(Ok(()))
    }

    fn amendments(&mut self, _config: &Config, now: Time) -> Vec<Change> {
        self.pass(now);
        std::mem::take(&mut self.amendments)
    }

    fn events(&mut self, now: Time) -> Vec<Event> {
        self.pass(now);
        std::mem::take(&mut self.events)
    }

    fn real(&self, name: &Name) -> RealReport {
        let Some(real) = self.world.reals.get(name) else {
            return RealReport { state: ServerState::Enabled, mac: None, failed_for: 0 };
        };
        let state = real.state(&self.settings.times, self.now);
        let failed_for = match (state, real.life) {
            (ServerState::Failed, Life::Down { since, .. }) => self.now.since(since).as_secs(),
            _ => 0,
        };
        RealReport { state, mac: (state != ServerState::Enabled).then(|| mac_of(real.address)), failed_for }
    }

    fn real_port(&self, name: &Name, port: Port) -> PortReport {
        let real = self.world.reals.get(name);
        let row = real.and_then(|real| real.ports.get(&port));
        let counters = row.map_or_else(Default::default, world::SimPort::counters);
        let state = real.map_or(PortState::Unbound, |real| self.port_state(real, port));
        PortReport { state, counters }
    }

    fn virtual_port(&self, server: &Name, port: Port) -> PortReport {
        let counters = self.world.front_counters(&(server.clone(), port));
        PortReport { state: PortState::Enabled, counters }
    }

    fn totals(&self) -> Totals {
        let ports = self.world.reals.values().flat_map(|real| real.ports.values());
        let counters =
            ports.fold(Default::default(), |sum: crate::slb::report::Counters, port| sum.plus(port.counters()));
        // A connection takes a session each way.
        let taken = (2 * counters.current).min(SESSIONS_MAX);
        Totals { sessions_max: SESSIONS_MAX, sessions_free: SESSIONS_MAX - taken, counters, unsuccessful: 0 }
    }

    fn restart(&mut self, _config: &Config, now: Time) -> Submitted {
        self.pass(now);
        let down = std::mem::take(&mut self.world.down);
        self.world = World { down, ..World::default() };
        self.finishing.clear();
        self.events.clear();
        self.amendments.clear();
        self.profiles.clear();
        self.force_delete = false;
        self.checking.clear();
        self.found.clear();
        Submitted::Done(Ok(()))
    }

    fn next_deadline(&self) -> Option<Time> {
        let tickets = self.tickets.values().map(|(due, _)| *due);
        // Steps matter to nobody who is not asking, but for what finishes.
        let step = (!self.finishing.is_empty()).then(|| self.stepped + STEP);
        let lingering = self.finishing.iter().filter_map(|(name, port)| {
            let port = self.world.reals.get(name)?.ports.get(port)?;
            (port.lingers_until > self.now).then_some(port.lingers_until)
        });
        let checks = self.checking.first().map(|(at, _)| *at);
        tickets.chain(step).chain(lingering).chain(checks).chain(self.settings.script.next()).min()
    }

    fn set_waker(&mut self, waker: Waker) {
        self.levers.set_waker(waker.clone());
        if let Some(checks) = &mut self.settings.checks {
            checks.set_waker(waker);
        }
    }
}

/// A hardware address that belongs to the network address and to nobody else.
fn mac_of(address: std::net::IpAddr) -> [u8; 6] {
    match address {
        std::net::IpAddr::V4(v4) => {
            let [a, b, c, d] = v4.octets();
            [0x02, 0xe0, a, b, c, d]
        }
        std::net::IpAddr::V6(v6) => {
            let octets = v6.octets();
            [0x02, 0xe1, octets[12], octets[13], octets[14], octets[15]]
        }
    }
}
