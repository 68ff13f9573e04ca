//! The short way: a plain packet of an established flow.
//!
//! In: what [`wire::plain`](crate::wire::plain) read, and where the flow most likely is. Out: the packet rewritten and
//! forwarded, or `false`, nothing having been touched: then it takes the long way (`process.rs`), which is right for
//! every packet. Whatever needs a decision goes the long way; the two agree on the rest, which a property test checks.

use std::net::{IpAddr, SocketAddr};

use super::flow_table::{Endpoint, Flow, FlowId, Side, Whereabouts};
use super::tcp::{TcpState, follow_in_order};
use super::{Plane, tick, ticks};
use crate::base::addr::Protocol;
use crate::base::time::Time;
use crate::wire::frame::{Egress, FrameBuf};
use crate::wire::plain::Plain;
use crate::wire::rewrite;

/// A plain packet with the hash its flow is found under.
#[derive(Debug, Clone, Copy)]
pub(super) struct Quick {
    packet: Plain,
    side: Side,
    pub(super) hash: u64,
    /// Where its flow most likely is.
    pub(super) place: Option<FlowId>,
}

impl Plane {
    /// Clients speak to our MAC; what reals answer is addressed to the client's station.
    #[inline]
    pub(super) fn quick(&self, packet: Plain) -> Quick {
        let side = if packet.dst_mac == self.config.mac.bits() { Side::Client } else { Side::Server };
        let (client, other) = ends(&packet, side);
        Quick { packet, side, hash: self.flows.hash(side, client, other, packet.protocol), place: None }
    }

    /// Forwards the packet if it needs no decision. False, and nothing is changed, if it does.
    #[inline(always)] // into the loop over a batch
    pub(super) fn forward_quick(&mut self, frame: &mut FrameBuf, quick: &Quick, now: Time) -> bool {
        let Quick { packet, side, hash, place } = quick;
        let (side, (client, other)) = (*side, ends(packet, *side));
        let is_it = |flow: &Flow| {
            flow.client() == client
                && flow.protocol == packet.protocol
                && match side {
                    Side::Client => self.services.service(flow.service).addr == other,
                    Side::Server => self.services.binding(flow.binding).real == other,
                }
        };
        let Some(id) = self.flows.check(*place, is_it).or_else(|| self.flows.find_slowly(*hash, is_it)) else {
            return false;
        };
        let flow = self.flows.get(id);
        let binding = self.services.binding(flow.binding);
        let from = flow.whereabouts();
        let (egress, socket) = match side {
            Side::Client => (binding.port, binding.socket),
            Side::Server => (Some(from.port()), self.services.service(flow.service).socket),
        };
        let (Some(egress), Some(real_mac), SocketAddr::V4(socket)) = (egress, binding.mac, socket) else {
            return false;
        };
        // Whoever speaks from elsewhere, or to another station than the one that asked; also whoever has our own MAC,
        // since the long way has never taken it for a client's or a real's.
        let is_astray = match side {
            Side::Client => from != Whereabouts::new(packet.src_mac, frame.ingress),
            Side::Server => {
                !from.is_of(packet.dst_mac) || real_mac.bits() != packet.src_mac || binding.port != Some(frame.ingress)
            }
        };
        let needs_decision = is_astray
            || binding.cutting.is_some()
            || egress == frame.ingress
            || match flow.state {
                TcpState::Established | TcpState::ClientClosed | TcpState::ServerClosed => false,
                // A datagram may find its flow worn out, or its real failed.
                TcpState::NotTcp => {
                    let idle = tick(now).wrapping_sub(flow.seen);
                    binding.draining.is_some() || binding.is_failing || idle > ticks(self.config.timeouts.udp)
                }
                TcpState::SynSent
                | TcpState::SynReceived
                | TcpState::Closed
                | TcpState::Content
                | TcpState::Tombstone => true,
            };
        if needs_decision {
            return false;
        }
        let flow = self.flows.get_mut(id);
        let Plain { seq, ack, payload, .. } = *packet;
        if packet.protocol == Protocol::Tcp && !follow_in_order(&mut flow.tcp, side, seq, ack, payload) {
            return false;
        }
        flow.seen = tick(now);
        match side {
            Side::Client => {
                rewrite::set_plain_destination(frame, packet.protocol, socket);
                rewrite::set_macs(frame, Some(real_mac), None);
            }
            Side::Server => {
                rewrite::set_plain_source(frame, packet.protocol, socket);
                rewrite::set_macs(frame, None, Some(self.config.mac));
            }
        }
        frame.egress = Egress::Port(egress);
        true
    }
}

/// The client's end and the other one.
#[inline]
fn ends(packet: &Plain, side: Side) -> (Endpoint, Endpoint) {
    let src = Endpoint::new(IpAddr::V4(packet.src), packet.src_port);
    let dst = Endpoint::new(IpAddr::V4(packet.dst), packet.dst_port);
    match side {
        Side::Client => (src, dst),
        Side::Server => (dst, src),
    }
}
