//! The simulated box: a load balancer that forwards nothing, but whose servers come up, fail, and have connections.

use crate::slb::balancer::{Ability, Event, SlbBox, Submitted, Ticket};
use crate::slb::change::{Change, Refusal};
use crate::slb::config::Config;
use crate::slb::report::{Counters, PortReport, PortState, RealReport, ServerState, Totals};
use crate::slb::words::{Name, Port};
use crate::time::Time;

/// See the module.
#[derive(Debug, Default)]
pub struct SimulatedBox {
    events: Vec<Event>,
}

impl SimulatedBox {
    /// A box without anything configured.
    pub fn new() -> SimulatedBox {
        SimulatedBox::default()
    }
}

impl SlbBox for SimulatedBox {
    fn able(&self, _ability: Ability) -> bool {
        true
    }

    fn submit(&mut self, change: &Change, _config: &Config, _now: Time) -> Submitted {
        match change {
            Change::RemoveReal { name } => self.events.push(Event::RealDeleted(name.clone())),
            Change::RemoveRealPort { real, port } => self.events.push(Event::RealPortDeleted(real.clone(), *port)),
            _ => {}
        }
        Submitted::Done(Ok(()))
    }

    fn poll(&mut self, _ticket: Ticket, _now: Time) -> Option<Result<(), Refusal>> {
        None
    }

    fn events(&mut self, _now: Time) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }

    fn real(&self, _name: &Name) -> RealReport {
        RealReport { state: ServerState::Active, mac: None, failed_for: 0 }
    }

    fn real_port(&self, _name: &Name, _port: Port) -> PortReport {
        PortReport { state: PortState::Active, counters: Counters::default() }
    }

    fn virtual_port(&self, _server: &Name, _port: Port) -> PortReport {
        PortReport { state: PortState::Enabled, counters: Counters::default() }
    }

    fn totals(&self) -> Totals {
        Totals::default()
    }

    fn restart(&mut self, _config: &Config, _now: Time) -> Submitted {
        Submitted::Done(Ok(()))
    }

    fn next_deadline(&self) -> Option<Time> {
        None
    }
}
