//! Ends used again: a packet that finds a flow, and shall perhaps not be of it.
//!
//! A client may begin anew on the ends of a connection that is over, that only the switch believes in, or that has not
//! begun because its real has failed. The switch never ends a connection that may live: it lets the server say.

use super::counters::Counter;
use super::flow_table::{FlowId, Side};
use super::process::FlowKey;
use super::tcp::{Anew, TcpState, answer_anew, begun_anew, first_syn, is_of_the_past};
use super::{Out, Plane, Verdict};
use crate::base::time::Time;
use crate::wire::frame::FrameBuf;
use crate::wire::parse::{Ip, Parsed, Tcp, TcpFlags};

/// Segments that may open or end a flow. Before they do, their checksums are looked at: the receiver would throw away a
/// wrong one, and must not be forgotten for it.
pub(super) const OPENS_OR_ENDS: TcpFlags = TcpFlags(TcpFlags::SYN.0 | TcpFlags::FIN.0 | TcpFlags::RST.0);

impl Plane {
    /// A segment that may open or end a flow: the verdict, if it is not of the flow there is.
    #[allow(clippy::too_many_arguments)] // see Plane::forward
    pub(super) fn open_or_end(
        &mut self,
        frame: &mut FrameBuf,
        parsed: &Parsed,
        ip: &Ip,
        segment: &Tcp,
        id: FlowId,
        side: Side,
        now: Time,
        out: &mut Out,
    ) -> Option<Verdict> {
        if let Some(fault) = Self::checksum_fault(frame, ip) {
            return Some(Verdict::Dropped(fault));
        }
        if side == Side::Server {
            return self
                .is_refused_anew(frame, parsed, id, segment, out)
                .then_some(Verdict::Dropped(Counter::StaleReset));
        }
        if !segment.flags.is_initial_syn() {
            return None;
        }
        let flow = self.flows.get(id);
        match flow.state {
            // The last segments of the connection that is over still pass.
            TcpState::Closed if is_of_the_past(&flow.tcp, segment) => Some(Verdict::Dropped(Counter::OldSyn)),
            TcpState::Closed => Some(self.reuse(frame, parsed, ip, id, now, out)),
            _ if self.is_forsaken(id) => Some(self.move_on(frame, parsed, ip, id, now, out)),
            TcpState::SynSent => {
                // Never tossed again. A client that gave up and tries from the same port has other numbers.
                self.flows.get_mut(id).tcp = first_syn(segment);
                None
            }
            _ => {
                // Its server knows whether the connection lives.
                self.flows.get_mut(id).tcp.client_again = segment.seq.0;
                None
            }
        }
    }

    /// A flow that has nothing yet to lose by another real while its own has failed: a handshake without an answer, or
    /// datagrams. A real that was removed keeps what it has until it is drained, failed or not.
    pub(super) fn is_forsaken(&self, id: FlowId) -> bool {
        let flow = self.flows.get(id);
        let binding = self.services.binding(flow.binding);
        matches!(flow.state, TcpState::SynSent | TcpState::NotTcp) && binding.is_failing && binding.draining.is_none()
    }

    /// The client's packet goes to another real, if one takes it.
    pub(super) fn move_on(
        &mut self,
        frame: &mut FrameBuf,
        parsed: &Parsed,
        ip: &Ip,
        id: FlowId,
        now: Time,
        out: &mut Out,
    ) -> Verdict {
        self.counters.add(Counter::FlowMoved);
        self.remove_flow(id, out);
        self.readmit(frame, parsed, ip, now, out)
    }

    /// A server's answer to a client that has begun anew on the ends of a connection we thought alive. A new connection is
    /// followed from here on; if it is refused (true), the flow is over. Only the real's own station is believed.
    fn is_refused_anew(&mut self, frame: &FrameBuf, parsed: &Parsed, id: FlowId, segment: &Tcp, out: &mut Out) -> bool {
        let flow = self.flows.get(id);
        let Some(answer) = answer_anew(&flow.tcp, segment).filter(|_| flow.state.is_live()) else { return false };
        let (slot, binding) = (flow.binding, self.services.binding(flow.binding));
        if binding.mac != Some(parsed.src_mac) || binding.port != Some(frame.ingress) {
            return false;
        }
        self.counters.add(Counter::FlowStale);
        let flow = self.flows.get_mut(id);
        flow.tcp = begun_anew(&flow.tcp);
        match answer {
            Anew::Accepted => flow.state = TcpState::SynSent,
            Anew::Refused => {
                flow.state = TcpState::Closed;
                self.ended(slot, out);
            }
        }
        answer == Anew::Refused
    }

    /// A SYN on the tuple of a closed connection begins a new one.
    fn reuse(
        &mut self,
        frame: &mut FrameBuf,
        parsed: &Parsed,
        ip: &Ip,
        id: FlowId,
        now: Time,
        out: &mut Out,
    ) -> Verdict {
        self.counters.add(Counter::FlowReused);
        self.remove_flow(id, out);
        self.readmit(frame, parsed, ip, now, out)
    }

    /// What a packet to a virtual address meets whose old flow is gone.
    pub(super) fn readmit(
        &mut self,
        frame: &mut FrameBuf,
        parsed: &Parsed,
        ip: &Ip,
        now: Time,
        out: &mut Out,
    ) -> Verdict {
        let Some(key) = FlowKey::of(ip, Side::Client) else { return Verdict::Dropped(Counter::Protocol) };
        let hash = self.flows.hash(key.side, key.client, key.other, key.protocol);
        self.admit(frame, parsed, ip, &key, hash, now, out)
    }
}
