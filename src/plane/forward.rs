//! The hit path: a packet of a flow that exists.

use std::net::SocketAddr;

use super::counters::Counter;
use super::flow_table::{Flow, FlowId, Side};
use super::process::FlowKey;
use super::reopen::OPENS_OR_ENDS;
use super::tcp::{Meaning, TcpState, follow};
use super::{Out, Plane, Verdict, tick};
use crate::base::addr::{Mac, Protocol};
use crate::base::id::PortId;
use crate::base::time::Time;
use crate::wire::frame::{Egress, FrameBuf};
use crate::wire::parse::{Ip, Parsed, Tcp, Transport};
use crate::wire::rewrite;

/// A flow's translation in one direction, as plain data: what is written over a packet, and where it leaves. It can
/// be handed to another forwarder as it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rewrite {
    /// Which end of the packet is replaced: the destination towards the real, the source on the way back.
    pub side: Side,
    /// By what.
    pub endpoint: SocketAddr,
    /// The station it is for, if that changes.
    pub dst_mac: Option<Mac>,
    /// The station it is from, if that changes.
    pub src_mac: Option<Mac>,
    /// The port it leaves by, unless the station it is for is known to be behind another.
    pub egress: PortId,
}

impl Rewrite {
    /// Writes it over a packet. Where the frame leaves is the caller's to set.
    #[inline]
    pub fn apply(&self, frame: &mut FrameBuf, ip: &Ip) {
        let to = self.endpoint;
        match self.side {
            Side::Client => rewrite::set_destination(frame, ip, to),
            Side::Server => rewrite::set_source(frame, ip, to),
        }
        rewrite::set_macs(frame, self.dst_mac, self.src_mac);
    }
}

impl Plane {
    /// The flow a packet belongs to.
    pub(super) fn find_flow(&self, hash: u64, key: &FlowKey) -> Option<FlowId> {
        self.flows.find(hash, |flow: &Flow| {
            flow.client() == key.client
                && flow.protocol == key.protocol
                && match key.side {
                    Side::Client => self.services.service(flow.service).addr == key.other,
                    Side::Server => self.services.binding(flow.binding).real == key.other,
                }
        })
    }

    /// The translation of a flow in one direction; `None` while it is not known where the real is.
    #[inline]
    pub(super) fn rewrite_of(&self, id: FlowId, side: Side) -> Option<Rewrite> {
        let flow = self.flows.get(id);
        Some(match side {
            Side::Client => {
                let binding = self.services.binding(flow.binding);
                let (dst_mac, egress) = (Some(binding.mac?), binding.port?);
                Rewrite { side, endpoint: binding.socket, dst_mac, src_mac: None, egress }
            }
            Side::Server => Rewrite {
                side,
                endpoint: self.services.service(flow.service).socket,
                dst_mac: None,
                src_mac: Some(self.config.mac),
                egress: flow.whereabouts().port(),
            },
        })
    }

    /// Forwards a packet of a flow.
    #[allow(clippy::too_many_arguments)] // the hit path: everything is at hand, nothing is packed and unpacked
    #[inline]
    pub(super) fn forward(
        &mut self,
        frame: &mut FrameBuf,
        parsed: &Parsed,
        ip: &Ip,
        id: FlowId,
        side: Side,
        now: Time,
        out: &mut Out,
    ) -> Verdict {
        let flow = self.flows.get_mut(id);
        let binding = flow.binding;
        if flow.state == TcpState::Content {
            return self.splice(frame, parsed, ip, id, side, now, out);
        }
        if flow.state == TcpState::Tombstone {
            return self.knock_on_tombstone(frame, parsed, ip, id, side, now, out);
        }
        let is_believed = match &ip.transport {
            Transport::Tcp(segment) => {
                if segment.flags.intersects(OPENS_OR_ENDS)
                    && let Some(verdict) = self.open_or_end(frame, parsed, ip, segment, id, side, now, out)
                {
                    return verdict;
                }
                self.follow_segment(id, side, segment, now, out)
            }
            _ if self.is_worn_out(id, now) => {
                self.remove_flow(id, out);
                return match side {
                    Side::Client => self.readmit(frame, parsed, ip, now, out),
                    Side::Server => Verdict::Dropped(Counter::NoFlow),
                };
            }
            _ if side == Side::Client && self.is_forsaken(id) => return self.move_on(frame, parsed, ip, id, now, out),
            _ => {
                self.flows.get_mut(id).seen = tick(now);
                true
            }
        };
        if is_believed {
            self.note_place(frame, parsed, id, side);
        }
        if self.services.binding(binding).cutting.is_some() {
            self.cut_flow(id, now, out);
            return Verdict::Dropped(Counter::BeingCut);
        }
        let Some(rewrite) = self.rewrite_of(id, side) else { return Verdict::Dropped(Counter::RealPortUnknown) };
        let way = match side {
            // A server answers by a router of its own choice, which need not be the one the client's packets come from.
            Side::Server if !self.flows.get(id).whereabouts().is_of(parsed.dst_mac.bits()) => {
                self.bridge.way_to(parsed.dst_mac, frame.ingress, now)
            }
            Side::Server | Side::Client => Egress::Port(rewrite.egress),
        };
        if way == Egress::None || way == Egress::Port(frame.ingress) {
            return Verdict::Dropped(Counter::SameSegment);
        }
        rewrite.apply(frame, ip);
        frame.egress = way;
        Verdict::Forwarded
    }

    /// Follows a segment. False if it is not believed to be of this connection.
    fn follow_segment(&mut self, id: FlowId, side: Side, segment: &Tcp, now: Time, out: &mut Out) -> bool {
        let flow = self.flows.get_mut(id);
        let (binding, was_live) = (flow.binding, flow.state.is_live());
        let meaning = follow(&mut flow.state, &mut flow.tcp, side, segment);
        if meaning != Meaning::InexactReset {
            // Also for the implausible: ours may be the wrong numbers (`tcp.rs`), and then that is all there is.
            flow.seen = tick(now);
        }
        let ended = was_live && !flow.state.is_live();
        match meaning {
            Meaning::Ordinary => {}
            Meaning::Reset => self.counters.add(Counter::FlowReset),
            Meaning::InexactReset => self.counters.add(Counter::InexactRst),
            Meaning::Implausible => self.counters.add(Counter::Implausible),
        }
        if ended {
            self.ended(binding, out);
        }
        matches!(meaning, Meaning::Ordinary | Meaning::Reset)
    }

    /// Notes where a packet of a flow came from: the client, by its station and port; the real, by its port, if it is
    /// the real's own station that speaks.
    #[inline]
    fn note_place(&mut self, frame: &FrameBuf, parsed: &Parsed, id: FlowId, side: Side) {
        match side {
            Side::Client => self.flows.get_mut(id).seen_from(parsed.src_mac, frame.ingress),
            Side::Server => {
                let binding = self.flows.get(id).binding;
                let slot = self.services.binding_mut(binding);
                if slot.mac == Some(parsed.src_mac) {
                    slot.port = Some(frame.ingress);
                }
            }
        }
    }

    /// A datagram flow that may not live on: too old, or its binding has been draining for too long.
    fn is_worn_out(&self, id: FlowId, now: Time) -> bool {
        let flow = self.flows.get(id);
        flow.protocol == Protocol::Udp && self.is_over(id, now)
    }
}
