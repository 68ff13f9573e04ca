//! `trait AcmSwitch`: what a manager, a service or a person may ask of any switch. Object-safe, because a manager
//! holds unlike switches at once.

use std::future::Future;
use std::pin::Pin;

use futures_core::Stream;

use super::error::{AcmError, Feature};
use super::event::{Event, EventId};
use super::list::{Filter, Listing};
use super::primitive::{Caller, Outcome, Primitive, Tenure};
use crate::base::id::Name;

/// A boxed future, so that the trait is object-safe.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Events in order, without end while the switch lives.
pub type EventStream = Pin<Box<dyn Stream<Item = Event> + Send>>;

/// A switch that can be controlled by ACM primitives.
///
/// Implementors answer only when the change is in force for every packet (see
/// [`Done`](super::primitive::Done)); what they cannot do they refuse with `Unsupported`, changing nothing.
pub trait AcmSwitch: Send + Sync {
    /// Performs the primitives in order and answers each; one that is refused changes nothing and does not stop
    /// the rest. The list as a whole fails only if the switch cannot be reached, the caller is fenced off, or the
    /// list is longer than [`BATCH_MAX`](crate::base::limits::BATCH_MAX).
    fn apply<'a>(&'a self, caller: &'a Caller, list: Vec<Primitive>) -> Answer<'a, Result<Vec<Outcome>, AcmError>>;

    /// List: one consistent snapshot.
    fn list<'a>(&'a self, filter: &'a Filter) -> Answer<'a, Result<Listing, AcmError>>;

    /// Everything that happens from now on, or, with `after`, everything since that event. When that is not known
    /// any more, the first event is [`EventKind::Lost`](super::event::EventKind::Lost).
    fn events(&self, after: Option<EventId>) -> Answer<'_, Result<EventStream, AcmError>> {
        let _ = after;
        Box::pin(async { Err(AcmError::unsupported(Feature::Events, "this switch reports no events; List instead")) })
    }

    /// Grants leadership with an epoch above every epoch granted before; calls under older ones are refused with
    /// `StaleEpoch` from then on.
    fn claim<'a>(&'a self, manager: &'a Name) -> Answer<'a, Result<Tenure, AcmError>> {
        let _ = manager;
        Box::pin(async {
            Err(AcmError::unsupported(Feature::Fencing, "this switch stores no epoch; List before every write"))
        })
    }
}

/// One primitive as a call of its own.
pub async fn perform(switch: &dyn AcmSwitch, caller: &Caller, primitive: Primitive) -> Outcome {
    let mut outcomes = switch.apply(caller, vec![primitive]).await?;
    match outcomes.pop() {
        Some(outcome) if outcomes.is_empty() => outcome,
        _ => Err(AcmError::Unreachable {
            why: "the switch answered a list of one with another number of outcomes".into(),
        }),
    }
}

/// Counters of the whole switch, by name, in order: `("verdict.forwarded", 17)`.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize, utoipa::ToSchema)]
pub struct Statistics {
    /// Seconds since the switch started.
    pub uptime_secs: u64,
    /// Live flows of all services.
    pub flows: u64,
    /// How many flows the table holds.
    pub flows_max: u64,
    /// Every verdict and drop reason of the plane: dotted names.
    pub counters: std::collections::BTreeMap<String, u64>,
    /// Per port.
    pub ports: Vec<PortStatistics>,
}

/// Counters of one port. All are frames except where named bytes.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize, utoipa::ToSchema)]
pub struct PortStatistics {
    /// Interface name.
    pub port: String,
    /// Frames received.
    pub rx_frames: u64,
    /// Bytes received.
    pub rx_bytes: u64,
    /// Frames sent.
    pub tx_frames: u64,
    /// Bytes sent.
    pub tx_bytes: u64,
    /// Frames the kernel dropped before we read them.
    pub rx_missed: u64,
    /// Frames we could not send.
    pub tx_dropped: u64,
}

/// Bytes of a capture file (pcap), as they are written.
pub type CaptureStream = Pin<Box<dyn Stream<Item = Vec<u8>> + Send>>;

/// What only some switches can show.
pub trait Inspect: Send + Sync {
    /// Counters of the whole switch.
    fn statistics(&self) -> Answer<'_, Result<Statistics, AcmError>>;

    /// A running capture of everything that passes a port, both ways, as a pcap file; ends when dropped.
    fn capture<'a>(&'a self, port: &'a str) -> Answer<'a, Result<CaptureStream, AcmError>>;
}

/// A native switch: controllable and inspectable.
pub trait InspectableSwitch: AcmSwitch + Inspect {}
impl<S: AcmSwitch + Inspect + ?Sized> InspectableSwitch for S {}
