//! Force Remove: ending a binding's connections, in slices, with resets that both ends accept.
//!
//! A host accepts a RST whose sequence number is exactly the next byte it expects (RFC 5961, section 3.2). What that is,
//! the switch knows only nearly: each side is sent one RST at that side's last ACK and one at the highest SEQ forwarded
//! to it. Afterwards the flow stays for a while as a tombstone that answers every further segment with a RST at its ACK
//! number, which is exact by definition.

use super::admit::reset_for;
use super::counters::Counter;
use super::flow_table::{FlowId, Side};
use super::tcp::TcpState;
use super::{Out, Plane, Verdict, tick};
use crate::base::addr::Protocol;
use crate::base::id::PortId;
use crate::base::seq::Seq;
use crate::base::time::Time;
use crate::wire::build::{self, Link, Segment};
use crate::wire::frame::{Egress, FrameBuf};
use crate::wire::parse::{Ip, Parsed, TcpFlags, Transport};

/// Places walked in one slice: a megabyte of entries, well below a millisecond.
const CUT_SLICE: usize = 16_384;

/// Frames one cut connection may need.
const RESETS: usize = 4;

impl Plane {
    /// A binding with live flows has left the table, or content connections of it are to be left: the whole table is walked once from here on.
    pub(super) fn begin_cutting(&mut self) {
        self.cut_left = self.flows.places();
    }

    /// Cuts for a while: until the slice is walked or there is no room for more resets.
    pub(super) fn cut_slice(&mut self, now: Time, out: &mut Out) {
        let places = self.flows.places().max(1);
        for _ in 0..CUT_SLICE {
            if self.cut_left == 0 || out.frames.room() < RESETS {
                return;
            }
            self.cut_at = if self.cut_at + 1 >= places { 0 } else { self.cut_at + 1 };
            self.cut_left -= 1;
            if let Some(id) = self.flows.at(self.cut_at) {
                let flow = self.flows.get(id);
                let binding = self.services.binding(flow.binding);
                if flow.state.is_live() && binding.cutting.is_some() {
                    self.cut_flow(id, now, out);
                } else if flow.state == TcpState::Content && binding.draining.is_some() {
                    self.leave_idle(id, now, out);
                }
            }
        }
    }

    /// Cuts one live flow.
    pub(super) fn cut_flow(&mut self, id: FlowId, now: Time, out: &mut Out) {
        let flow = *self.flows.get(id);
        if flow.state == TcpState::Content {
            self.cut_splice(id, now, out);
            return;
        }
        if let Some(cut) = &mut self.services.binding_mut(flow.binding).cutting {
            *cut += 1;
        }
        self.counters.add(Counter::FlowCut);
        if flow.protocol == Protocol::Udp {
            self.remove_flow(id, out);
            return;
        }
        self.send_resets(id, out);
        let entry = self.flows.get_mut(id);
        entry.state = TcpState::Tombstone;
        entry.seen = tick(now);
        self.ended(flow.binding, out);
    }

    fn send_resets(&mut self, id: FlowId, out: &mut Out) {
        let flow = *self.flows.get(id);
        let numbers = flow.tcp;
        // Before the SYN-ACK the client expects nothing but an acknowledgement of its SYN.
        let to_client = match flow.state {
            TcpState::SynSent => [0, 0],
            _ => [numbers.client_ack, numbers.server_next],
        };
        self.send_reset_pair(id, Side::Server, to_client, numbers.client_next, out);
        self.send_reset_pair(id, Side::Client, [numbers.server_ack, numbers.client_next], numbers.server_next, out);
    }

    /// RSTs in the direction of `side`'s packets: from the real to the client, or from the client to the real.
    pub(super) fn send_reset_pair(&mut self, id: FlowId, side: Side, seqs: [u32; 2], ack: u32, out: &mut Out) {
        let [first, second] = seqs;
        for seq in [Some(first), (second != first).then_some(second)].into_iter().flatten() {
            self.send_reset(id, side, Seq(seq), Some(Seq(ack)), out);
        }
    }

    fn send_reset(&mut self, id: FlowId, side: Side, seq: Seq, ack: Option<Seq>, out: &mut Out) {
        let Some((link, port)) = self.way_of(id, side) else { return };
        let flow = self.flows.get(id);
        let client = flow.client().socket();
        let (from, to) = match side {
            Side::Server => (self.services.service(flow.service).addr.socket(), client),
            Side::Client => (client, self.services.binding(flow.binding).real.socket()),
        };
        let flags = if ack.is_some() { TcpFlags::RST | TcpFlags::ACK } else { TcpFlags::RST };
        let ack = ack.unwrap_or(Seq(0));
        let reset = Segment { from, to, seq, ack, flags, window: 0, mss: None, payload: &[] };
        self.send_built(|frame| build::tcp(frame, link, &reset), port, out);
    }

    fn send_built(&mut self, write: impl FnOnce(&mut FrameBuf) -> bool, port: PortId, out: &mut Out) {
        let Some(frame) = out.frames.next_free() else {
            self.counters.add(Counter::OutFull);
            return;
        };
        let built = write(frame);
        frame.egress = if built { Egress::Port(port) } else { Egress::None };
        self.counters.add(Counter::ResetSent);
    }

    /// Stations and port for a frame of ours in the direction of `side`'s packets.
    fn way_of(&self, id: FlowId, side: Side) -> Option<(Link, PortId)> {
        let flow = self.flows.get(id);
        Some(match side {
            Side::Server => (Link { src: self.config.mac, dst: flow.whereabouts().mac() }, flow.whereabouts().port()),
            Side::Client => {
                let binding = self.services.binding(flow.binding);
                (Link { src: flow.whereabouts().mac(), dst: binding.mac? }, binding.port?)
            }
        })
    }

    /// A segment of a connection that was cut: answered with a RST at its ACK number. A SYN begins a new connection.
    #[allow(clippy::too_many_arguments)] // see Plane::forward
    pub(super) fn knock_on_tombstone(
        &mut self,
        frame: &mut FrameBuf,
        parsed: &Parsed,
        ip: &Ip,
        id: FlowId,
        side: Side,
        now: Time,
        out: &mut Out,
    ) -> Verdict {
        let Transport::Tcp(segment) = &ip.transport else { return Verdict::Dropped(Counter::BeingCut) };
        if segment.flags.contains(TcpFlags::RST) {
            return Verdict::Dropped(Counter::BeingCut);
        }
        if side == Side::Client && segment.flags.is_initial_syn() {
            self.remove_flow(id, out);
            return self.readmit(frame, parsed, ip, now, out);
        }
        // The answer goes the way the other side's packets go.
        let back = match side {
            Side::Client => Side::Server,
            Side::Server => Side::Client,
        };
        let Some((link, port)) = self.way_of(id, back) else { return Verdict::Dropped(Counter::BeingCut) };
        let (from, to) = ((ip.dst, segment.dst_port).into(), (ip.src, segment.src_port).into());
        let reset = reset_for(segment, from, to);
        self.send_built(|frame| build::tcp(frame, link, &reset), port, out);
        Verdict::Answered
    }
}
