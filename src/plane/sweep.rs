//! Ends: flows that aged, were evicted or removed, and the work that is spread over time.

use std::time::Duration;

use super::counters::Counter;
use super::flow_table::{FlowId, Side};
use super::services::NOBODY;
use super::tcp::TcpState;
use super::{Notice, Out, Plane, tick, ticks};
use crate::base::addr::Protocol;
use crate::base::time::Time;

/// A slice of the sweep, and how often one is due: the whole table in two seconds.
const SWEEP_EVERY: Duration = Duration::from_millis(50);
const SWEEP_SLICES: usize = 40;
const SWEEP_LEAST: usize = 256;

impl Plane {
    /// Does what is due: cutting, sweeping, announcing. Call it once a batch and at [`Plane::next_deadline`].
    pub fn poll(&mut self, now: Time, out: &mut Out) {
        if self.cut_left > 0 {
            self.cut_slice(now, out);
        }
        if now >= self.sweep_time && !self.flows.is_empty() {
            self.sweep_slice(now, out);
            self.sweep_time = now + SWEEP_EVERY;
        }
        self.poll_splices(now, out);
        self.announce(now, out);
    }

    /// When [`Plane::poll`] must be called at the latest; a time that has passed means at once.
    pub fn next_deadline(&self) -> Option<Time> {
        let cutting = (self.cut_left > 0).then_some(Time::ZERO);
        let sweeping = (!self.flows.is_empty()).then_some(self.sweep_time);
        let announcing = self.announcements.front().map(|(at, _)| *at);
        [cutting, sweeping, announcing, self.splices_deadline()].into_iter().flatten().min()
    }

    fn sweep_slice(&mut self, now: Time, out: &mut Out) {
        let places = self.flows.places();
        let slice = (places / SWEEP_SLICES).max(SWEEP_LEAST).min(places);
        for _ in 0..slice {
            self.sweep_at = if self.sweep_at + 1 >= places { 0 } else { self.sweep_at + 1 };
            if let Some(id) = self.flows.at(self.sweep_at)
                && self.is_over(id, now)
            {
                self.counters.add(Counter::FlowExpired);
                self.remove_flow(id, out);
            }
        }
    }

    /// Whether a flow has been silent for too long, or its binding has been draining for too long (UDP).
    pub(super) fn is_over(&self, id: FlowId, now: Time) -> bool {
        let flow = self.flows.get(id);
        let idle = tick(now).wrapping_sub(flow.seen);
        let timeouts = &self.config.timeouts;
        if idle > ticks(timeouts.of(flow.state)) {
            return true;
        }
        if flow.protocol != Protocol::Udp {
            return false;
        }
        self.services
            .binding(flow.binding)
            .draining
            .is_some_and(|since| idle > ticks(timeouts.udp_draining_idle) || now.since(since) > timeouts.udp_draining)
    }

    /// A connection stopped being live.
    pub(super) fn ended(&mut self, binding: u32, out: &mut Out) {
        let slot = self.services.binding_mut(binding);
        slot.live -= 1;
        if slot.live > 0 {
            return;
        }
        if let Some(cut) = slot.cutting.take() {
            out.notices.push(Notice::Cut { binding: slot.id, cut });
        } else if slot.draining.is_some() {
            out.notices.push(Notice::Drained { binding: slot.id });
        }
    }

    /// Takes a flow out of the table.
    pub(super) fn remove_flow(&mut self, id: FlowId, out: &mut Out) {
        let flow = *self.flows.get(id);
        if flow.service == NOBODY || flow.binding == NOBODY {
            self.forget_flow(id);
            return;
        }
        let client = flow.client();
        let service = self.services.service(flow.service).addr;
        let real = self.services.binding(flow.binding).real;
        let client_hash = self.flows.hash(Side::Client, client, service, flow.protocol);
        let server_hash = self.flows.hash(Side::Server, client, real, flow.protocol);
        self.flows.remove(id, client_hash, server_hash);
        if flow.state.is_live() {
            self.ended(flow.binding, out);
        }
        self.services.release(flow.service, flow.binding);
    }

    /// Remembers a flow whose handshake is not complete, as one that may be evicted.
    pub(super) fn remember_embryonic(&mut self, id: FlowId, since: u32) {
        while self.embryonic.front().is_some_and(|(id, since)| !self.is_still_embryonic(*id, *since)) {
            self.embryonic.pop_front();
        }
        if self.embryonic.len() >= self.flows.capacity() {
            self.embryonic.pop_front();
        }
        self.embryonic.push_back((id, since));
    }

    /// The place may hold another flow by now, or the same one grown up. One that was seen again since is younger
    /// than it looks; it is passed over once and ages out like any other.
    fn is_still_embryonic(&self, id: FlowId, since: u32) -> bool {
        self.flows.holds(id) && {
            let flow = self.flows.get(id);
            matches!(flow.state, TcpState::SynSent | TcpState::SynReceived)
                && flow.seen.wrapping_sub(since) < ticks(self.config.timeouts.embryonic)
        }
    }

    /// Makes room by ending the oldest flow whose handshake is not complete. False if there is none.
    pub(super) fn evict_embryonic(&mut self, out: &mut Out) -> bool {
        while let Some((id, since)) = self.embryonic.pop_front() {
            if self.is_still_embryonic(id, since) {
                self.counters.add(Counter::FlowEvicted);
                self.remove_flow(id, out);
                return true;
            }
        }
        false
    }
}
