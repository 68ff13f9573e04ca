//! What happens by itself: health findings, leases, drain deadlines, the ends of Drop policies, drained rows.

use std::net::SocketAddr;
use std::time::Duration;

use ipnet::IpNet;

use super::FlowId;
use super::world::{End, World};
use crate::acm::event::EventKind;
use crate::acm::words::{AdminState, Binding, BindingKey, Health, HealthDepth, ServiceKey};
use crate::base::addr::{Mac, Protocol};
use crate::base::fraction::Fraction;
use crate::base::id::BindingId;
use crate::base::time::Time;

/// A UDP flow ends when it was idle this long.
const UDP_IDLE: Duration = Duration::from_secs(30);
/// A UDP flow of a removed binding ends after this, idle or not.
const UDP_DRAIN_MAX: Duration = Duration::from_secs(60);

/// Something with a moment. Of two at one moment, the first in this order comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    Lease(BindingId, BindingKey),
    Deadline(BindingId, BindingKey),
    Drop(ServiceKey, Option<IpNet>),
    Idle(FlowId),
}

impl World {
    /// When something happens by itself.
    pub(super) fn next_due(&self) -> Option<Time> {
        self.earliest().map(|(at, _)| at)
    }

    /// Goes to that moment and lets the first thing happen.
    pub(super) fn reach_next_due(&mut self) {
        let Some((at, due)) = self.earliest() else { return };
        self.now = self.now.max(at);
        match due {
            Due::Lease(_, key) => self.lapse(&key),
            Due::Deadline(_, key) => {
                self.cut(&key);
            }
            Due::Drop(service, from) => self.end_drop(service, from),
            Due::Idle(flow) => self.close(flow),
        }
    }

    fn earliest(&self) -> Option<(Time, Due)> {
        let bindings = self.keys().into_iter().filter_map(|key| self.due_of_binding(&key));
        let drops = self.services.iter().flat_map(|(key, service)| {
            let due = |policy: &crate::acm::words::DropPolicy| Some((policy.until?, Due::Drop(*key, policy.from)));
            service.drops.values().filter_map(due).collect::<Vec<_>>()
        });
        bindings.chain(drops).chain(self.idle_flows()).min()
    }

    fn due_of_binding(&self, key: &BindingKey) -> Option<(Time, Due)> {
        let binding = self.binding(key)?;
        match binding.will.admin {
            AdminState::Draining { deadline, .. } => Some((deadline?, Due::Deadline(binding.id, *key))),
            // A lapsed binding waits for a successor, no more for the clock.
            AdminState::Up if binding.observed.lapsed => None,
            AdminState::Up => Some((binding.will.lease?.until, Due::Lease(binding.id, *key))),
        }
    }

    fn idle_flows(&self) -> impl Iterator<Item = (Time, Due)> + '_ {
        let living = self.flows.iter().filter(|(_, flow)| flow.end.is_none());
        living.filter(|(_, flow)| flow.key.service.protocol == Protocol::Udp).map(|(id, flow)| {
            let idle = flow.fresh_at + UDP_IDLE;
            let removed = match self.binding(&flow.key).map(|binding| binding.will.admin) {
                Some(AdminState::Draining { since, .. }) => since + UDP_DRAIN_MAX,
                _ => Time::NEVER,
            };
            (idle.min(removed), Due::Idle(*id))
        })
    }

    /// A lease ran out: the binding drains if another can take over, else it stays, lapsed.
    fn lapse(&mut self, key: &BindingKey) {
        if self.has_successor(key) {
            self.drain(key, None, Some("its lease ran out"));
        } else {
            self.change(key, None, |binding| binding.observed.lapsed = true);
        }
    }

    /// Another member that takes new connections and has not lapsed itself.
    fn has_successor(&self, key: &BindingKey) -> bool {
        let can = |other: &Binding| other.takes_new() && !other.observed.lapsed && other.will.weight > 0;
        let Some(service) = self.services.get(&key.service) else { return false };
        service.bindings.values().any(|other| other.real != key.real && can(other))
    }

    /// Turns a binding to draining.
    pub(super) fn drain(&mut self, key: &BindingKey, deadline: Option<Time>, why: Option<&str>) {
        let since = self.now;
        self.change(key, why, |binding| {
            binding.will.admin = AdminState::Draining { since, deadline };
            binding.will.lease = None;
            binding.observed.lapsed = false;
        });
    }

    fn end_drop(&mut self, key: ServiceKey, from: Option<IpNet>) {
        let Some(service) = self.services.get_mut(&key) else { return };
        service.drops.remove(&from);
        self.touched = true;
        self.news.push(EventKind::Drop { service: key, from, fraction: Fraction::ZERO });
    }

    /// From now on checks of this real pass, or fail.
    pub(super) fn set_health(&mut self, real: SocketAddr, health: Result<(), String>) {
        match health {
            Ok(()) => self.down.remove(&real),
            Err(why) => self.down.insert(real, why),
        };
    }

    /// Everything that follows at once: checks find what is so, lapsed members go when somebody can take over, and
    /// removed bindings without connections disappear.
    pub(super) fn settle(&mut self) {
        for key in self.keys() {
            let finding = self.finding(&key);
            self.change(&key, None, |binding| {
                if let Some((health, mac)) = finding {
                    binding.observed.health = health;
                    binding.observed.mac = mac;
                }
            });
        }
        self.release_lapsed();
        for key in self.keys() {
            self.drop_if_drained(&key);
        }
    }

    /// Lapsed members drain once somebody else can take over.
    pub(super) fn release_lapsed(&mut self) {
        for key in self.keys() {
            if self.binding(&key).is_some_and(|binding| binding.observed.lapsed) && self.has_successor(&key) {
                self.drain(&key, None, Some("its lease ran out"));
            }
        }
    }

    /// What the checks of a binding say now; nothing about a draining one, which is not checked.
    fn finding(&self, key: &BindingKey) -> Option<(Health, Option<Mac>)> {
        let binding = self.binding(key).filter(|binding| !binding.is_draining())?;
        let mac = Some(Mac::locally_administered(u64::from(key.real.port())));
        let Some(why) = self.down.get(&key.real) else { return Some((Health::Passing, mac)) };
        let why = why.as_str().into();
        match binding.observed.health {
            // The first check has still to pass.
            Health::Unknown(_) => Some((Health::Unknown(why), binding.observed.mac)),
            // Once active, a binding that is only asked for its link address is never failed.
            _ if binding.will.health.depth == HealthDepth::L2 => None,
            _ => Some((Health::Failing(why), binding.observed.mac)),
        }
    }

    fn drop_if_drained(&mut self, key: &BindingKey) {
        let Some(binding) = self.binding(key) else { return };
        let id = binding.id;
        if !binding.is_draining() || self.live(id) > 0 {
            return;
        }
        if let Some(service) = self.services.get_mut(&key.service) {
            service.bindings.remove(&key.real);
        }
        self.touched = true;
        self.news.push(EventKind::Drained { binding: *key, id });
    }

    /// Ends a flow in the orderly way.
    pub(super) fn close(&mut self, flow: FlowId) {
        if let Some(flow) = self.flows.get_mut(&flow).filter(|flow| flow.end.is_none()) {
            flow.end = Some(End::Closed);
        }
    }
}
