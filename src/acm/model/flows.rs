//! New connections and what becomes of them.

use std::net::SocketAddr;

use super::world::{End, Flow, World};
use super::{FlowId, Opened};
use crate::acm::words::{Binding, BindingKey, DropMode, DropPolicy, Health, Refusal, ServiceKey, default_group};
use crate::base::addr::Protocol;
use crate::base::id::Name;

impl World {
    /// A SYN, the first or a later one of its attempt.
    pub(super) fn open(&mut self, client: SocketAddr, key: ServiceKey) -> Opened {
        if let Some(opened) = self.existing(client, key) {
            // It belongs to a flow, so no coin is tossed.
            return opened;
        }
        if !self.services.contains_key(&key) {
            return Opened::Refused(Refusal::Silent);
        }
        if let Some(refusal) = self.refused_by_policy(client, key) {
            self.service(&key).dropped += 1;
            return Opened::Refused(refusal);
        }
        // A connection that is not looked into can only go to the default group.
        let group = default_group();
        let eligible = self.eligible(client, key, &group);
        let Some((real, binding)) = self.choose(client, key, &group, &eligible, None) else {
            let service = self.service(&key);
            service.refused += 1;
            return Opened::Refused(service.when_none);
        };
        self.service(&key).admitted += 1;
        let flow = FlowId(self.new_id());
        let key = BindingKey { service: key, real };
        self.flows.insert(flow, Flow { client, key, binding, fresh_at: self.now, end: None });
        Opened::To(flow, real)
    }

    /// The flow this client has with this service. Datagrams have nothing to lose by another real when theirs has failed;
    /// there the flow ends. (A handshake without an answer is no flow yet here.)
    pub(super) fn existing(&mut self, client: SocketAddr, service: ServiceKey) -> Option<Opened> {
        let now = self.now;
        let alive = |flow: &Flow| flow.end.is_none() && flow.client == client && flow.key.service == service;
        let (id, key) = self.flows.iter().find(|(_, flow)| alive(flow)).map(|(id, flow)| (*id, flow.key))?;
        let has_failed =
            |binding: &Binding| !binding.is_draining() && matches!(binding.observed.health, Health::Failing(_));
        let is_forsaken = service.protocol == Protocol::Udp && self.binding(&key).is_some_and(has_failed);
        let flow = self.flows.get_mut(&id)?;
        if is_forsaken {
            flow.end = Some(End::Closed);
            return None;
        }
        flow.fresh_at = now;
        Some(Opened::To(id, key.real))
    }

    /// Drop: the policy with the longest prefix that has this client decides, no other.
    pub(super) fn refused_by_policy(&mut self, client: SocketAddr, key: ServiceKey) -> Option<Refusal> {
        let length = |policy: &DropPolicy| policy.from.map(|prefix| prefix.prefix_len());
        let concerns = |policy: &&DropPolicy| policy.from.is_none_or(|prefix| prefix.contains(&client.ip()));
        let policies = self.services.get(&key)?.drops.values();
        let policy = policies.filter(concerns).max_by_key(|policy| length(policy))?.clone();
        let toss = policy.fraction.hits(self.coins.u32(..));
        let refused = match policy.mode {
            DropMode::Queue => toss,
            DropMode::Shed => match self.shed.get(&(client, key)) {
                Some((salt, verdict)) if *salt == policy.salt => *verdict,
                _ => {
                    self.shed.insert((client, key), (policy.salt, toss));
                    toss
                }
            },
        };
        refused.then_some(policy.refusal)
    }

    /// The bindings of a group that may have this client's new connection.
    pub(super) fn eligible(&self, client: SocketAddr, key: ServiceKey, group: &Name) -> Vec<Binding> {
        let Some(service) = self.services.get(&key) else { return Vec::new() };
        let may = |binding: &&Binding| {
            binding.takes_new()
                && binding.will.group == *group
                && binding.will.weight > 0
                && binding.will.max_conns.is_none_or(|max| self.live(binding.id) < u64::from(max))
                && !self.has_tuple(client, key.protocol, binding.real)
                && binding.real.ip() != client.ip()
        };
        service.bindings.values().filter(may).cloned().collect()
    }

    /// One server-side tuple cannot be two connections.
    fn has_tuple(&self, client: SocketAddr, protocol: Protocol, real: SocketAddr) -> bool {
        self.flows.values().any(|flow| {
            flow.end.is_none()
                && flow.client == client
                && flow.key.real == real
                && flow.key.service.protocol == protocol
        })
    }

    /// Data both ways.
    pub(super) fn exchange(&mut self, flow: FlowId) -> bool {
        let now = self.now;
        match self.flows.get_mut(&flow) {
            Some(flow) if flow.end.is_none() => {
                flow.fresh_at = now;
                true
            }
            _ => false,
        }
    }

    /// True if both ends were sent a reset.
    pub(super) fn is_reset(&self, flow: FlowId) -> bool {
        let flow = self.flows.get(&flow);
        flow.is_some_and(|flow| flow.end == Some(End::Cut) && flow.key.service.protocol == Protocol::Tcp)
    }
}
