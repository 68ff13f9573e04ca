//! ICMP errors about packets of flows: translated like the packets they are about, so that path MTU discovery and
//! refusals reach the host that sent the packet, about the packet that it sent (RFC 5508, section 4.2).
//!
//! ```text
//! client's side: a router or the client says why a packet of the virtual address did not arrive -> to the real
//! server's side: a router or the real says why a packet to the real did not arrive              -> to the client
//! ```
//!
//! An error is easily forged, so it is passed on only about a packet that is under way now: its TCP sequence number
//! must be sent and not acknowledged (RFC 5927, section 4.1). It never ages, shortens or ends a flow: whether to
//! believe it is for the host to decide. What they mean for content connections, whose numbers are others on either side,
//! is in `splice/errors.rs`.

use std::net::{IpAddr, SocketAddr};

use super::counters::Counter;
use super::flow_table::{Endpoint, FlowId, Side};
use super::forward::Rewrite;
use super::process::FlowKey;
use super::tcp::TcpState;
use super::{Out, Plane, Verdict};
use crate::base::seq::Seq;
use crate::base::time::Time;
use crate::wire::checksum;
use crate::wire::frame::{Egress, FrameBuf};
use crate::wire::icmp::{self, Quoted};
use crate::wire::parse::{Fragment, Icmp, Ip, Parsed, Transport};
use crate::wire::rewrite::{self, End};

impl Plane {
    /// An ICMP error to a virtual address, or one that passes; `None` if it is of the latter and about no flow.
    pub(super) fn carry_error(
        &mut self,
        frame: &mut FrameBuf,
        parsed: &Parsed,
        ip: &Ip,
        now: Time,
        out: &mut Out,
    ) -> Option<Verdict> {
        let Transport::Icmp(Icmp::Error { kind, .. }) = ip.transport else { return None };
        let to_virtual = parsed.dst_mac == self.config.mac && self.table.is_vip(ip.dst);
        let found = self.flow_quoted(frame, ip, to_virtual);
        if found.is_none() && !to_virtual {
            return None;
        }
        self.learn(parsed.src_mac, frame.ingress, now);
        checksum::finish(frame);
        if let Some(fault) = Self::checksum_fault(frame, ip) {
            return Some(Verdict::Dropped(fault));
        }
        let passable = icmp::is_about_delivery(ip.family(), kind) && ip.fragment == Fragment::Whole;
        let Some((id, quoted)) = found.filter(|_| passable) else { return Some(Verdict::Dropped(Counter::IcmpError)) };
        if self.flows.get(id).state == TcpState::Content {
            return Some(self.splice_error(frame, parsed, ip, id, &quoted, now, out));
        }
        if !self.is_under_way(id, &quoted, to_virtual) {
            return Some(Verdict::Dropped(Counter::IcmpError));
        }
        Some(match to_virtual {
            true => {
                let Some(rewrite) = self.rewrite_of(id, Side::Client) else {
                    return Some(Verdict::Dropped(Counter::RealPortUnknown));
                };
                self.error_to_real(frame, ip, &rewrite, &quoted)
            }
            false => {
                let service = self.services.service(self.flows.get(id).service).socket;
                self.error_to_client(frame, parsed, ip, service, &quoted, now)
            }
        })
    }

    /// The flow that the quoted packet is of, and that packet. Its sender is whom the error is for.
    fn flow_quoted(&self, frame: &FrameBuf, ip: &Ip, to_virtual: bool) -> Option<(FlowId, Quoted)> {
        let quoted = icmp::quoted(frame.bytes(), ip).filter(|quoted| quoted.src.ip() == ip.dst)?;
        let (src, dst) = (Endpoint::from(quoted.src), Endpoint::from(quoted.dst));
        let (side, client, other) = match to_virtual {
            true => (Side::Client, dst, src),
            false => (Side::Server, src, dst),
        };
        let key = FlowKey { side, client, other, protocol: quoted.protocol };
        let hash = self.flows.hash(side, client, other, quoted.protocol);
        self.find_flow(hash, &key).map(|id| (id, quoted))
    }

    /// Sent, and not acknowledged yet. Datagrams have no numbers to tell by.
    fn is_under_way(&self, id: FlowId, quoted: &Quoted, by_server: bool) -> bool {
        let flow = self.flows.get(id);
        let (acked, next) = match by_server {
            true => (flow.tcp.client_ack, flow.tcp.server_next),
            // Until the SYN is answered it is what is under way.
            false if flow.state == TcpState::SynSent => (flow.tcp.client_next.wrapping_sub(1), flow.tcp.client_next),
            false => (flow.tcp.server_ack, flow.tcp.client_next),
        };
        flow.state != TcpState::Tombstone && quoted.seq.is_none_or(|seq| seq >= Seq(acked) && seq < Seq(next))
    }

    /// To the real that sent the quoted packet: as its flow's packets are rewritten.
    pub(super) fn error_to_real(
        &mut self,
        frame: &mut FrameBuf,
        ip: &Ip,
        rewrite: &Rewrite,
        quoted: &Quoted,
    ) -> Verdict {
        if rewrite.egress == frame.ingress {
            return Verdict::Dropped(Counter::SameSegment);
        }
        let real = rewrite.endpoint;
        icmp::set_quoted(frame, ip, quoted, End::Source, real);
        rewrite::set_destination(frame, ip, real);
        rewrite::set_macs(frame, rewrite.dst_mac, None);
        self.pass_error(frame, ip, (ip.src, real.ip()), Egress::Port(rewrite.egress))
    }

    /// To the client that sent the quoted packet, to this service.
    pub(super) fn error_to_client(
        &mut self,
        frame: &mut FrameBuf,
        parsed: &Parsed,
        ip: &Ip,
        service: SocketAddr,
        quoted: &Quoted,
        now: Time,
    ) -> Verdict {
        let way = self.bridge.way_to(parsed.dst_mac, frame.ingress, now);
        if way == Egress::None {
            return Verdict::Dropped(Counter::SamePort);
        }
        icmp::set_quoted(frame, ip, quoted, End::Destination, service);
        // What the real says comes from the virtual address; a router speaks for itself.
        let mut src = ip.src;
        if src == quoted.dst.ip() {
            src = service.ip();
            rewrite::set_source(frame, ip, service);
            rewrite::set_macs(frame, None, Some(self.config.mac));
        }
        self.pass_error(frame, ip, (src, ip.dst), way)
    }

    fn pass_error(&mut self, frame: &mut FrameBuf, ip: &Ip, (src, dst): (IpAddr, IpAddr), way: Egress) -> Verdict {
        icmp::seal(frame, ip, src, dst);
        frame.egress = way;
        self.counters.add(Counter::IcmpTranslated);
        Verdict::Forwarded
    }
}
