//! The control: decides what a primitive, a health finding, a worker's notice or a moment does to the table. Pure.
//!
//! In: primitives, findings, notices, and the time. Out: a new table to publish, events, health orders, and
//! [`Cutting`]s to wait for. All changes of one step become one table: [`Control::commit`] gives it. Not here: who
//! calls, locks, publishing, clocks (`local.rs`, `task.rs`), and the meaning of the words (`acm`).
//!
//! * [`primitives`]: the calls; [`observation`]: findings and notices; [`deadlines`]: leases, drain deadlines, drop
//!   expiry; [`rows`]: List.

pub mod deadlines;
pub mod observation;
pub mod primitives;
pub mod rows;

use std::net::IpAddr;
use std::sync::Arc;

use ahash::AHashMap;

use crate::acm::event::EventKind;
use crate::acm::table::{Draft, ServiceTable};
use crate::acm::words::{Binding, BindingKey, ServiceKey};
use crate::base::id::{BindingId, Generation, Name};
use crate::health::Target;
use deadlines::Deadlines;

/// What the health checks are to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HealthOrder {
    /// Watch this binding, or watch it differently.
    Watch(BindingId, Target),
    /// Stop watching it.
    Forget(BindingId),
}

/// A binding that left the table with its connections: the workers report how many they cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cutting {
    /// Which.
    pub binding: BindingId,
    /// Its address, for the event.
    pub key: BindingKey,
}

/// Everything a step wants from the outside, besides the table.
#[derive(Debug, Default)]
pub struct Effects {
    /// What happened, in order.
    pub events: Vec<EventKind>,
    /// For the health checks, in order.
    pub health: Vec<HealthOrder>,
    /// Bindings to be reported cut.
    pub cuts: Vec<Cutting>,
    /// True if the workers have work at once (a drain, a cut, a new virtual address), so that a parked one must be
    /// woken; otherwise it takes the table up with its next frame.
    pub urgent: bool,
}

/// How far the workers behind a control look. Nothing else decides whether content services are accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sight {
    /// At addresses and ports. Rules are kept, and a service that would obey them is `Unsupported`.
    Packets,
    /// At HTTP requests and client hellos as well.
    Requests,
}

/// The state machine.
#[derive(Debug)]
pub struct Control {
    sight: Sight,
    draft: Draft,
    effects: Effects,
    deadlines: Deadlines,
    /// Where each binding id stands in the table.
    keys: AHashMap<BindingId, BindingKey>,
    /// When the drain of a binding was published, so that a notice about an earlier drain is not believed.
    drains: AHashMap<BindingId, Generation>,
    /// Lapsed bindings, which drain as soon as somebody healthy can take over.
    lapsed: AHashMap<BindingId, BindingKey>,
    own_addresses: Vec<IpAddr>,
    epoch: u64,
    /// Whose epoch that is.
    holder: Option<Name>,
    next_binding: u64,
    next_service: u64,
    next_salt: u64,
}

impl Control {
    /// An empty control for a switch that owns these addresses (no service and no real may have one of them) and whose
    /// workers look so far.
    pub fn new(own_addresses: Vec<IpAddr>, sight: Sight) -> Control {
        Control {
            sight,
            draft: ServiceTable::default().edit(),
            effects: Effects::default(),
            deadlines: Deadlines::default(),
            keys: AHashMap::new(),
            drains: AHashMap::new(),
            lapsed: AHashMap::new(),
            own_addresses,
            epoch: 0,
            holder: None,
            next_binding: 1,
            next_service: 1,
            next_salt: 1,
        }
    }

    /// The table as it stands, including what is not committed yet.
    pub fn table(&self) -> &ServiceTable {
        self.draft.table()
    }

    /// The generation that changes made now will have.
    pub fn generation(&self) -> Generation {
        let current = self.table().generation();
        if self.draft.is_changed() { current.next() } else { current }
    }

    /// How many cuts the step has asked for so far.
    pub fn cuts_so_far(&self) -> usize {
        self.effects.cuts.len()
    }

    /// Ends a step: the new table, if anything changed, and what else is to be done.
    pub fn commit(&mut self) -> (Option<Arc<ServiceTable>>, Effects) {
        let effects = std::mem::take(&mut self.effects);
        if !self.draft.is_changed() {
            return (None, effects);
        }
        let table = self.draft.clone().finish();
        self.draft = table.edit();
        (Some(Arc::new(table)), effects)
    }

    fn happened(&mut self, event: EventKind) {
        self.effects.events.push(event);
    }

    fn find(&self, id: BindingId) -> Option<(BindingKey, Arc<Binding>)> {
        let key = *self.keys.get(&id)?;
        Some((key, Arc::clone(self.table().binding(&key)?)))
    }

    /// Replaces a binding that exists. The table has no reason to refuse: nothing it validates changes.
    fn replace(&mut self, service: &ServiceKey, binding: Binding) {
        let put = self.draft.put_binding(service, binding);
        debug_assert!(put.is_ok(), "replacing an existing binding: {put:?}");
    }

    /// Takes a binding out of the table and forgets everything about it; its connections, if any, will be cut.
    fn take_out(&mut self, key: &BindingKey) -> Option<Arc<Binding>> {
        let gone = self.draft.remove_binding(key)?;
        self.keys.remove(&gone.id);
        self.drains.remove(&gone.id);
        self.lapsed.remove(&gone.id);
        self.deadlines.forget_binding(gone.id);
        self.effects.health.push(HealthOrder::Forget(gone.id));
        self.effects.urgent = true;
        Some(gone)
    }
}
