//! The plane's own view of the service table: services and bindings in slots, so that a flow names them by number
//! and the hit path reads them without a hash table.
//!
//! A slot outlives its row in the table for as long as flows point to it: counters and the way back stay right while
//! the last segments pass. Scheduling state is rebuilt when it is next needed, not when it changes, so that a burst
//! of changes costs one rebuild.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use ahash::AHashMap;

use super::flow_table::Endpoint;
use super::keeping::Keeper;
use super::prepare::Rules;
use super::schedule::{Chooser, Manner, Member};
use crate::acm::rules::share::shares;
use crate::acm::rules::{Content, Persistence};
use crate::acm::words::{AdminState, Binding, Health, Scheduler, Service, ServiceKey, TcpAbilities, default_group};
use crate::base::addr::Mac;
use crate::base::id::{BindingId, Name, PortId, ServiceId};
use crate::base::time::Time;
use crate::content::token::Keys;

/// A service's slot.
#[derive(Debug)]
pub(super) struct ServiceSlot {
    /// Its address, as flows compare it.
    pub(super) addr: Endpoint,
    /// The same, as it is written over packets.
    pub(super) socket: SocketAddr,
    /// Its identity.
    pub(super) id: ServiceId,
    /// The row in the table; what it was last, once the row is gone.
    pub(super) row: Arc<Service>,
    /// Flows that point here.
    pub(super) flows: u32,
    /// Connections admitted.
    pub(super) admitted: u64,
    /// SYNs and datagrams refused by Drop.
    pub(super) dropped: u64,
    /// Connections refused for want of a real.
    pub(super) refused: u64,
    /// Its rules made ready, if it looks into what clients send or did so since it is there.
    pub(super) rules: Option<Arc<Rules>>,
    /// Requests that each rule decided about.
    pub(super) hits: Vec<u64>,
    /// What every real has that new connections may go to; `None`: to be found out anew.
    offer: Option<TcpAbilities>,
    /// Of each group that was chosen from, its chooser; the first is the one of the default group.
    choosers: Vec<GroupChooser>,
    gone: bool,
}

/// The scheduler of one group.
#[derive(Debug)]
struct GroupChooser {
    group: Name,
    chooser: Option<Chooser>,
    /// Leads clients back, if the group does.
    keeper: Option<Keeper>,
    /// The row has changed since the chooser was built.
    is_stale: bool,
}

impl GroupChooser {
    fn new(group: Name) -> GroupChooser {
        GroupChooser { group, chooser: None, keeper: None, is_stale: true }
    }
}

/// The slot of no service, and of no binding: for flows that are found from one side only. Never freed.
pub(super) const NOBODY: u32 = 0;

/// A binding's slot.
#[derive(Debug)]
pub(super) struct BindingSlot {
    /// The real, as flows compare it.
    pub(super) real: Endpoint,
    /// The same, as it is written over packets.
    pub(super) socket: SocketAddr,
    /// The real's station.
    pub(super) mac: Option<Mac>,
    /// The port the real was last heard on.
    pub(super) port: Option<PortId>,
    /// It sends timestamps to those who do, as far as is known.
    pub(super) has_clock: Option<bool>,
    /// Its identity.
    pub(super) id: BindingId,
    /// Live connections.
    pub(super) live: u32,
    /// Flows that point here, live or not.
    pub(super) flows: u32,
    /// Connections given to it.
    pub(super) total: u64,
    /// Connection limit.
    pub(super) max_conns: u32,
    /// Since when it has been draining.
    pub(super) draining: Option<Time>,
    /// Its checks found it failed.
    pub(super) is_failing: bool,
    /// How many were cut so far, once it has left the table.
    pub(super) cutting: Option<u64>,
    gone: bool,
}

/// All slots.
#[derive(Debug)]
pub(super) struct Services {
    services: Vec<Option<ServiceSlot>>,
    bindings: Vec<Option<BindingSlot>>,
    free_services: Vec<u32>,
    free_bindings: Vec<u32>,
    by_key: AHashMap<ServiceKey, u32>,
    by_id: AHashMap<BindingId, u32>,
    /// Make cookies of our own, and hash those of others.
    keys: (Keys, [u64; 2]),
}

fn insert<T>(slots: &mut Vec<Option<T>>, free: &mut Vec<u32>, value: T) -> u32 {
    match free.pop() {
        Some(slot) => {
            slots[slot as usize] = Some(value);
            slot
        }
        None => {
            slots.push(Some(value));
            slots.len() as u32 - 1
        }
    }
}

impl Services {
    /// None but [`NOBODY`]. The keys make persistence cookies, the numbers hash those that are learnt.
    pub(super) fn new(keys: Keys, hash: [u64; 2]) -> Services {
        let nowhere = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 0);
        let row = Arc::new(Service::new(ServiceId(u64::MAX), ServiceKey::tcp(nowhere)));
        Services {
            services: vec![Some(ServiceSlot::new(&row))],
            bindings: vec![Some(BindingSlot::new(BindingId(u64::MAX), nowhere))],
            free_services: Vec::new(),
            free_bindings: Vec::new(),
            by_key: AHashMap::new(),
            by_id: AHashMap::new(),
            keys: (keys, hash),
        }
    }

    /// The slot of the service at this address.
    pub(super) fn find(&self, key: &ServiceKey) -> Option<u32> {
        self.by_key.get(key).copied()
    }

    /// The slot of a binding.
    pub(super) fn find_binding(&self, id: BindingId) -> Option<u32> {
        self.by_id.get(&id).copied()
    }

    /// A service.
    ///
    /// # Panics
    /// If nothing is in the slot: slots are freed only when no flow and no row points to them.
    #[inline]
    pub(super) fn service(&self, slot: u32) -> &ServiceSlot {
        self.services[slot as usize].as_ref().expect("a slot in use")
    }

    /// A service, to be changed. Panics as [`Services::service`] does.
    #[inline]
    pub(super) fn service_mut(&mut self, slot: u32) -> &mut ServiceSlot {
        self.services[slot as usize].as_mut().expect("a slot in use")
    }

    /// A binding. Panics as [`Services::service`] does.
    #[inline]
    pub(super) fn binding(&self, slot: u32) -> &BindingSlot {
        self.bindings[slot as usize].as_ref().expect("a slot in use")
    }

    /// A binding, to be changed. Panics as [`Services::service`] does.
    #[inline]
    pub(super) fn binding_mut(&mut self, slot: u32) -> &mut BindingSlot {
        self.bindings[slot as usize].as_mut().expect("a slot in use")
    }

    /// Every service in use.
    pub(super) fn services(&self) -> impl Iterator<Item = &ServiceSlot> {
        self.services.iter().skip(1).flatten()
    }

    /// Every binding in use.
    pub(super) fn bindings(&self) -> impl Iterator<Item = &BindingSlot> {
        self.bindings.iter().skip(1).flatten()
    }

    /// A service is new or changed, with its rules if it needs them.
    pub(super) fn put_service(&mut self, row: &Arc<Service>, rules: Option<&Arc<Rules>>) {
        let slot = match self.find(&row.key) {
            Some(slot) => {
                self.service_mut(slot).take_row(row);
                slot
            }
            None => {
                let slot = insert(&mut self.services, &mut self.free_services, ServiceSlot::new(row));
                self.by_key.insert(row.key, slot);
                slot
            }
        };
        if let Some(rules) = rules {
            self.service_mut(slot).take_rules(rules);
        }
    }

    /// A service has left the table.
    pub(super) fn remove_service(&mut self, key: &ServiceKey) {
        let Some(slot) = self.by_key.remove(key) else { return };
        let service = self.service_mut(slot);
        service.gone = true;
        service.choosers.iter_mut().for_each(|chooser| chooser.is_stale = true);
        self.free_service(slot);
    }

    /// A binding is new or changed. Returns its slot.
    pub(super) fn put_binding(&mut self, row: &Binding) -> u32 {
        let slot = match self.find_binding(row.id) {
            Some(slot) => slot,
            None => {
                let binding = BindingSlot::new(row.id, row.real);
                let slot = insert(&mut self.bindings, &mut self.free_bindings, binding);
                self.by_id.insert(row.id, slot);
                slot
            }
        };
        let binding = self.binding_mut(slot);
        // A MAC once known stays for the flows there are, also while checks run anew.
        binding.mac = row.observed.mac.or(binding.mac);
        binding.has_clock = row.observed.tcp.map(|tcp| tcp.timestamps).or(binding.has_clock);
        binding.max_conns = row.will.max_conns.unwrap_or(u32::MAX);
        binding.draining = match row.will.admin {
            AdminState::Draining { since, .. } => Some(since),
            AdminState::Up => None,
        };
        binding.is_failing = matches!(row.observed.health, Health::Failing(_));
        slot
    }

    /// A binding has left the table: its flows are to be cut. Returns its slot if it has any.
    pub(super) fn remove_binding(&mut self, id: BindingId) -> Option<u32> {
        let slot = self.by_id.remove(&id)?;
        let binding = self.binding_mut(slot);
        binding.gone = true;
        if binding.live > 0 {
            binding.cutting = Some(0);
            return Some(slot);
        }
        self.free_binding(slot);
        None
    }

    /// A flow points to these slots from now on.
    pub(super) fn hold(&mut self, service: u32, binding: u32) {
        let slot = self.service_mut(service);
        slot.flows += 1;
        slot.admitted += 1;
        let slot = self.binding_mut(binding);
        slot.flows += 1;
        slot.live += 1;
        slot.total += 1;
    }

    /// A content connection's own flow points to this service from now on.
    pub(super) fn hold_client(&mut self, service: u32) {
        let slot = self.service_mut(service);
        slot.flows += 1;
        slot.admitted += 1;
        self.binding_mut(NOBODY).flows += 1;
    }

    /// The flow of a content connection's server connection points to this binding from now on.
    pub(super) fn hold_server(&mut self, binding: u32) {
        self.service_mut(NOBODY).flows += 1;
        let slot = self.binding_mut(binding);
        slot.flows += 1;
        slot.live += 1;
        slot.total += 1;
    }

    /// A flow does not point to these slots any more. Its end as a live connection was told before, if it had one.
    pub(super) fn release(&mut self, service: u32, binding: u32) {
        self.service_mut(service).flows -= 1;
        self.binding_mut(binding).flows -= 1;
        self.free_service(service);
        self.free_binding(binding);
    }

    fn free_service(&mut self, slot: u32) {
        let service = self.service(slot);
        if service.gone && service.flows == 0 {
            self.services[slot as usize] = None;
            self.free_services.push(slot);
        }
    }

    fn free_binding(&mut self, slot: u32) {
        let binding = self.binding(slot);
        if binding.gone && binding.flows == 0 {
            self.bindings[slot as usize] = None;
            self.free_bindings.push(slot);
        }
    }

    /// A group's chooser, brought up to date if it must be. Give it back with [`Services::return_chooser`].
    pub(super) fn take_chooser(&mut self, slot: u32, group: Option<&Name>) -> (usize, Chooser) {
        let service = self.service_mut(slot);
        let at = group.map_or(0, |group| service.chooser_of(group));
        let entry = &mut service.choosers[at];
        let is_stale = std::mem::take(&mut entry.is_stale);
        let chooser = entry.chooser.take();
        match chooser {
            Some(chooser) if !is_stale => return (at, chooser),
            _ => {}
        }
        let service = self.service(slot);
        let (row, group) = (&service.row, &service.choosers[at].group);
        let manner = row.groups.get(group).map_or(Manner::from(Scheduler::default()), Manner::from);
        let of_group = || row.bindings.values().filter(|binding| binding.will.group == *group);
        let members: Vec<_> = of_group()
            .zip(shares(of_group().map(|binding| binding.claim())))
            .filter(|(binding, _)| binding.takes_new())
            .filter_map(|(binding, share)| {
                let slot = *self.by_id.get(&binding.id)?;
                Some(Member { slot, id: binding.id, share, weight: binding.will.weight })
            })
            .collect();
        let persist = row.groups.get(group).map_or(&Persistence::None, |group| &group.persist);
        let keeper = service.choosers[at].keeper.as_ref();
        let keeper = match keeper.is_some_and(|keeper| keeper.is_for(persist)) {
            true => None,
            false => Some(Keeper::new(persist, &row.key, &self.keys.0, self.keys.1)),
        };
        let entry = &mut self.service_mut(slot).choosers[at];
        if let Some(keeper) = keeper {
            entry.keeper = keeper;
        }
        if let Some(keeper) = &mut entry.keeper {
            keeper.set_members(&members);
        }
        let chooser = match chooser {
            Some(mut chooser) => {
                chooser.rebuild(&members, manner);
                chooser
            }
            None => Chooser::build(&members, manner),
        };
        (at, chooser)
    }

    /// What leads the clients of a group back, brought up to date; `None` if nothing does.
    pub(super) fn keeper(&mut self, slot: u32, group: &Name) -> Option<&mut Keeper> {
        let row = &self.service(slot).row;
        if row.groups.get(group).is_none_or(|group| group.persist == Persistence::None) {
            return None;
        }
        let at = self.service_mut(slot).chooser_of(group);
        if self.service(slot).choosers[at].is_stale {
            let taken = self.take_chooser(slot, Some(group));
            self.return_chooser(slot, taken);
        }
        self.service_mut(slot).choosers[at].keeper.as_mut()
    }

    /// Keeps a chooser until something changes.
    pub(super) fn return_chooser(&mut self, slot: u32, (at, chooser): (usize, Chooser)) {
        self.service_mut(slot).choosers[at].chooser = Some(chooser);
    }
}

impl ServiceSlot {
    fn new(row: &Arc<Service>) -> ServiceSlot {
        ServiceSlot {
            addr: row.key.addr.into(),
            socket: row.key.addr,
            id: row.id,
            row: Arc::clone(row),
            flows: 0,
            admitted: 0,
            dropped: 0,
            refused: 0,
            rules: None,
            hits: Vec::new(),
            offer: None,
            // Without rules only the group `default` receives traffic.
            choosers: vec![GroupChooser::new(default_group())],
            gone: false,
        }
    }

    fn take_row(&mut self, row: &Arc<Service>) {
        self.row = Arc::clone(row);
        self.offer = None;
        self.choosers.iter_mut().for_each(|chooser| chooser.is_stale = true);
        self.choosers.retain(|chooser| row.groups.contains_key(&chooser.group) || chooser.group == default_group());
    }

    /// True if new connections are looked into.
    pub(super) fn looks_into_new(&self) -> bool {
        self.row.content != Content::None
    }

    /// What every real has that new connections may go to, whichever its group: the switch can promise no more before it
    /// knows which it will be. Of a real that no check has asked everything is assumed.
    pub(super) fn offer(&mut self) -> TcpAbilities {
        let row = &self.row;
        *self.offer.get_or_insert_with(|| {
            let all = TcpAbilities { mss: u16::MAX, scale: true, sack: true, timestamps: true };
            let reals = row.bindings.values().filter(|binding| binding.takes_new());
            reals.filter_map(|binding| binding.observed.tcp).fold(all, |all, real| TcpAbilities {
                mss: all.mss.min(real.mss),
                scale: all.scale && real.scale,
                sack: all.sack && real.sack,
                timestamps: all.timestamps && real.timestamps,
            })
        })
    }

    /// Has these rules from now on. Counts go with the names of rules.
    fn take_rules(&mut self, rules: &Arc<Rules>) {
        if self.rules.as_ref().is_some_and(|known| Arc::ptr_eq(known, rules)) {
            return;
        }
        let counted: AHashMap<&Name, u64> = self.rule_hits().collect();
        let hits = rules.source.0.iter().map(|rule| counted.get(&rule.name).copied().unwrap_or(0)).collect();
        self.rules = Some(Arc::clone(rules));
        self.hits = hits;
    }

    /// Each rule with the requests it decided about.
    pub(super) fn rule_hits(&self) -> impl Iterator<Item = (&Name, u64)> {
        self.rules.iter().flat_map(|rules| rules.source.0.iter()).map(|rule| &rule.name).zip(self.hits.iter().copied())
    }

    fn chooser_of(&mut self, group: &Name) -> usize {
        if let Some(at) = self.choosers.iter().position(|chooser| chooser.group == *group) {
            return at;
        }
        self.choosers.push(GroupChooser::new(group.clone()));
        self.choosers.len() - 1
    }
}

impl BindingSlot {
    fn new(id: BindingId, real: SocketAddr) -> BindingSlot {
        BindingSlot {
            real: real.into(),
            socket: real,
            mac: None,
            port: None,
            has_clock: None,
            id,
            live: 0,
            flows: 0,
            total: 0,
            max_conns: u32::MAX,
            draining: None,
            is_failing: false,
            cutting: None,
            gone: false,
        }
    }
}
