//! The seam between the command line and a load balancer: [`SlbBox`].
//!
//! ```text
//!  command -> Change -> Config::check -> SlbBox::submit -> (poll) -> Config::apply -> prompt
//!  screen  -> SlbBox::refresh -> (poll) -> amendments -> Config + reports -> text
//! ```
//!
//! Two boxes stand behind the same command line: the simulated one of this crate, and a real forwarding plane elsewhere. A
//! box never blocks: what takes time is handed in (`submit`) and asked for later (`poll`). The chassis gives it one change at a
//! time and waits for the answer before the next, so a box needs no queue of its own.

use std::sync::Arc;

use super::change::{Change, Place, Refusal};
use super::config::Config;
use super::report::{PortReport, PortState, RealReport, Totals};
use super::words::{Name, Port};
use crate::time::Time;

/// What has been handed in and is not done yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Ticket(pub u64);

/// What came of handing something in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Submitted {
    /// It is done, or refused.
    Done(Result<(), Refusal>),
    /// [`SlbBox::poll`] will say.
    Later(Ticket),
}

/// What a box may be able to do. The commands of an ability that a box lacks are not in the grammar: the device then
/// answers them as it answers any word it does not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Ability {
    /// Choosing by what a request says: csw-rule, csw-policy, url-map, cookies, hashes.
    ContentSwitching,
    /// Transparent caches: `server cache-name`, `server cache-group`.
    CacheSwitching,
    /// `source-nat`, `dest-nat`, `server source-ip`.
    SourceNat,
    /// `port P dsr`.
    DirectServerReturn,
    /// `ip tcp syn-proxy`, `server syn-limit`, connection rate limits.
    SynDefence,
    /// Health checks other than the default ones: port profiles, port policies, element checks.
    HealthChecks,
    /// TLS ends at the device: `ssl-proxy`.
    TlsProxy,
    /// A pair of devices: `server backup`, symmetric SLB.
    Redundancy,
    /// Stickiness and application grouping: `sticky`, `track`.
    Persistence,
    /// Everything that only shapes details of forwarding: ages, limits, reassignment, hold-down.
    Tuning,
}

/// What a box has to tell without being asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Nothing is left of a deleted real server. The chassis writes `Server NAME successfully deleted.` some time later.
    RealDeleted(Name),
    /// Nothing is left of a deleted port of a real server.
    RealPortDeleted(Name, Port),
    /// The state of a server changed; a line for the log.
    Log(String),
}

/// Wakes whoever runs the chassis: it should call [`Shell::poll`](crate::shell::Shell::poll) and ask for the next deadline again.
pub type Waker = Arc<dyn Fn() + Send + Sync>;

/// The load balancer behind the command line.
pub trait SlbBox: Send {
    /// Whether this box can do a thing at all.
    fn able(&self, ability: Ability) -> bool;

    /// A change that [`Config::check`] found good and necessary. `config` is the configuration before it.
    fn submit(&mut self, change: &Change, config: &Config, now: Time) -> Submitted;

    /// What became of a ticket, once; `None` while it is not done.
    fn poll(&mut self, ticket: Ticket, now: Time) -> Option<Result<(), Refusal>>;

    /// Brings up to date what the reports below say. Called before every screen. A box whose reports are always right says
    /// `Done(Ok(()))`, which is the default; an error is shown instead of the screen.
    fn refresh(&mut self, _config: &Config, _now: Time) -> Submitted {
        Submitted::Done(Ok(()))
    }

    /// Changes that happened to the box behind the command line's back; called after every refresh and when the chassis
    /// is idle. They are applied to the configuration if it can take them, and not submitted again.
    fn amendments(&mut self, _config: &Config, _now: Time) -> Vec<Change> {
        Vec::new()
    }

    /// What has happened since the last call.
    fn events(&mut self, now: Time) -> Vec<Event>;

    /// The state of a real server.
    fn real(&self, name: &Name) -> RealReport;

    /// The state and counters of a port of a real server.
    fn real_port(&self, name: &Name, port: Port) -> PortReport;

    /// The state of one binding: that of the real server's port, unless the box can tell bindings apart.
    fn binding(&self, _server: &Name, _port: Port, real: &Name, real_port: Port) -> PortState {
        self.real_port(real, real_port).state
    }

    /// The state and counters of a port of a virtual server.
    fn virtual_port(&self, server: &Name, port: Port) -> PortReport;

    /// How many requests a rule of content switching has decided. A box that passes no requests says 0.
    fn rule_hits(&self, _rule: &str) -> u64 {
        0
    }

    /// The counters of the device.
    fn totals(&self) -> Totals;

    /// What the configuration has no words for: lines that `show running-config` prints as comments (`! text`) at a place.
    fn remarks(&self, _place: &Place) -> Vec<String> {
        Vec::new()
    }

    /// `reload`: forgets everything that came through the command line. `config` is what was configured.
    fn restart(&mut self, config: &Config, now: Time) -> Submitted;

    /// When `poll`, `events` or `amendments` may have news.
    fn next_deadline(&self) -> Option<Time>;

    /// Hands over the waker: a box whose news come at no foreseeable time calls it.
    fn set_waker(&mut self, _waker: Waker) {}
}
