//! `ModelSwitch`: the contract in its most obvious form, to be compared with real switches and to be built against
//! where there is none.
//!
//! It is written to be checked against the contract by reading: sorted maps, one lock, every question answered by
//! looking at everything. It is not fast, forwards no packet and reads no clock: time, health and flows are simulated
//! by whoever holds it. Like every switch it starts empty; health checks pass at once unless told otherwise.
//! Callers: the conformance suite, tests of everything that talks to switches, and driver authors.
//!
//! * `world`: what there is; `primitives`: the calls; `moments`: health, leases, deadlines, expiry, drained rows;
//!   `flows`: new connections and their ends; `requests`: content services; `choose`: the schedulers; `keeping`: clients that come back; `rows`: List.

mod choose;
mod flows;
mod keeping;
mod moments;
mod primitives;
mod requests;
mod rows;
mod world;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::error::{AcmError, Feature};
use super::event::EventId;
use super::event_log::EventLog;
use super::list::{Filter, Listing};
use super::primitive::{Caller, Outcome, Primitive, Tenure};
use super::rules::request::{Reply, Request, Served};
use super::switch::{AcmSwitch, Answer, CaptureStream, EventStream, Inspect, Statistics};
use super::words::{Refusal, ServiceKey};
use crate::base::id::Name;
use crate::base::limits::BATCH_MAX;
use world::World;

/// A connection of the model. Never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FlowId(u64);

/// What became of an attempt to connect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opened {
    /// Connected to this real.
    To(FlowId, SocketAddr),
    /// Refused, and this is what the client heard.
    Refused(Refusal),
}

/// When the simulation's time 0 is on the wall: 2023-11-14.
const WALL_AT_ZERO: u64 = 1_700_000_000_000;

/// The reference switch. Clones are the same switch.
#[derive(Clone, Debug)]
pub struct ModelSwitch {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    world: Mutex<World>,
    events: EventLog,
}

impl Default for ModelSwitch {
    fn default() -> ModelSwitch {
        ModelSwitch::new(1)
    }
}

impl ModelSwitch {
    /// An empty switch. The seed is for Drop's coins, the `random` scheduler, and the start's number in event ids.
    pub fn new(seed: u64) -> ModelSwitch {
        let events = EventLog::new(seed as u32);
        ModelSwitch { shared: Arc::new(Shared { world: Mutex::new(World::new(seed)), events }) }
    }

    /// One step: does something, lets everything follow that follows at once, and tells the events.
    fn step<T>(&self, act: impl FnOnce(&mut World) -> T) -> T {
        let mut world = self.world();
        let result = act(&mut world);
        self.tell(&mut world);
        world.settle();
        self.tell(&mut world);
        result
    }

    /// A panic in a step leaves a world that is at least readable.
    fn world(&self) -> MutexGuard<'_, World> {
        self.shared.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The changes so far become a generation, and their events are told.
    fn tell(&self, world: &mut World) {
        world.commit();
        let at = WALL_AT_ZERO + world.now.millis();
        for kind in std::mem::take(&mut world.news) {
            self.shared.events.push(at, world.generation, kind);
        }
    }

    /// Lets time pass. Everything that is due happens in its order, each at its moment.
    pub fn advance(&self, time: Duration) {
        let until = self.world().now + time;
        while self.world().next_due().is_some_and(|at| at <= until) {
            self.step(World::reach_next_due);
        }
        self.world().now = until;
    }

    /// Makes checks of a real pass, or fail with this reason, from now on. `rise` and `fall` are not simulated:
    /// one finding decides. A binding that never passed stays pending, as does the contract.
    pub fn set_health(&self, real: SocketAddr, health: Result<(), String>) {
        self.step(|world| world.set_health(real, health));
    }

    /// A SYN, or a datagram. One of an existing flow belongs to it; one from the address and port of a refused
    /// attempt is that attempt's retry, for on the wire there is no telling them apart.
    pub fn open(&self, client: SocketAddr, service: ServiceKey) -> Opened {
        self.step(|world| world.open(client, service))
    }

    /// A request on the connection from this address and port, which is opened if there is none. The service's Drop
    /// policies decide about connections, its rules about requests.
    pub fn request(&self, client: SocketAddr, service: ServiceKey, request: &Request) -> Reply {
        self.step(|world| world.request(client, service, request))
    }

    /// What is neither HTTP nor TLS, on the connection from this address and port, which is opened if there is none.
    pub fn stranger(&self, client: SocketAddr, service: ServiceKey) -> Served {
        self.step(|world| world.stranger(client, service))
    }

    /// Ends a flow in the orderly way. Nothing happens if it has ended already.
    pub fn close(&self, flow: FlowId) {
        self.step(|world| world.close(flow));
    }

    /// Data both ways: true if the flow is alive. A UDP flow is fresh again.
    pub fn exchange(&self, flow: FlowId) -> bool {
        self.step(|world| world.exchange(flow))
    }

    /// True if a TCP flow was cut: both ends were reset then. A UDP flow is cut in silence.
    pub fn is_reset(&self, flow: FlowId) -> bool {
        self.world().is_reset(flow)
    }
}

impl AcmSwitch for ModelSwitch {
    fn apply<'a>(&'a self, caller: &'a Caller, list: Vec<Primitive>) -> Answer<'a, Result<Vec<Outcome>, AcmError>> {
        Box::pin(async move {
            if list.len() > BATCH_MAX {
                let why = format!("{} primitives; at most {BATCH_MAX} in one list", list.len());
                return Err(AcmError::invalid("list", why));
            }
            self.step(|world| {
                world.admit(caller)?;
                Ok(list.iter().map(|primitive| world.perform(primitive)).collect())
            })
        })
    }

    fn list<'a>(&'a self, filter: &'a Filter) -> Answer<'a, Result<Listing, AcmError>> {
        Box::pin(async move { Ok(self.world().listing(filter)) })
    }

    fn events(&self, after: Option<EventId>) -> Answer<'_, Result<EventStream, AcmError>> {
        Box::pin(async move { Ok(self.shared.events.subscribe(after)) })
    }

    fn claim<'a>(&'a self, manager: &'a Name) -> Answer<'a, Result<Tenure, AcmError>> {
        Box::pin(async move { Ok(self.world().claim(manager)) })
    }
}

impl Inspect for ModelSwitch {
    fn statistics(&self) -> Answer<'_, Result<Statistics, AcmError>> {
        Box::pin(async move { Ok(self.world().statistics()) })
    }

    fn capture<'a>(&'a self, port: &'a str) -> Answer<'a, Result<CaptureStream, AcmError>> {
        Box::pin(async move { Err(AcmError::unsupported(Feature::Capture, format!("a model has no port {port}"))) })
    }
}
