//! The miss path: may a new connection come in, and where does it go?

use super::counters::Counter;
use super::flow_table::{Endpoint, Flow, Side};
use super::process::FlowKey;
use super::schedule::Choice;
use super::tcp::{TcpState, first_syn};
use super::{Out, Plane, Verdict, tick};
use crate::acm::words::{DropMode, DropPolicy, Refusal, ServiceKey};
use crate::base::addr::{Mac, is_host_address};
use crate::base::id::{Name, PortId};
use crate::base::seq::Seq;
use crate::base::time::Time;
use crate::wire::build::{self, Link, Segment};
use crate::wire::frame::{Egress, FrameBuf};
use crate::wire::parse::{Ip, Parsed, Tcp, TcpFlags, Transport};

/// A real chosen for a connection; only [`Plane::choose`] makes one.
struct Chosen {
    service: u32,
    binding: u32,
    _chosen: (),
}

/// A new connection's ends.
pub(super) struct Arrival<'a> {
    pub(super) key: &'a FlowKey,
    pub(super) client_hash: u64,
    pub(super) mac: Mac,
    pub(super) port: PortId,
}

impl Plane {
    /// A packet for a virtual address that belongs to no flow: admits it, or says why not.
    #[allow(clippy::too_many_arguments)] // see Plane::forward
    pub(super) fn admit(
        &mut self,
        frame: &mut FrameBuf,
        parsed: &Parsed,
        ip: &Ip,
        key: &FlowKey,
        client_hash: u64,
        now: Time,
        out: &mut Out,
    ) -> Verdict {
        let address = ServiceKey { addr: key.other.socket(), protocol: key.protocol };
        let Some(service) = self.services.find(&address) else { return Verdict::Dropped(Counter::NoService) };
        let tcp = match &ip.transport {
            Transport::Tcp(segment) => Some(segment),
            _ => None,
        };
        if let Some(segment) = tcp.filter(|segment| !segment.flags.is_initial_syn()) {
            // A SYN may have been answered before the service ceased to look into requests.
            return match self.services.service(service).rules.is_some() {
                true => self.accept(service, frame, parsed, ip, segment, (key, client_hash), now, out),
                false => Verdict::Dropped(Counter::NoFlow),
            };
        }
        let client = key.client;
        let nobody = !is_host_address(client.ip()) || self.is_own(client.ip());
        if nobody || (tcp.is_some() && client.socket().port() == 0) {
            return Verdict::Dropped(Counter::SourceAddress);
        }
        if let Some(fault) = Self::checksum_fault(frame, ip) {
            return Verdict::Dropped(fault);
        }
        if let Some(refusal) = self.refused_by_policy(service, key, tcp) {
            self.services.service_mut(service).dropped += 1;
            self.refuse(refusal, frame, parsed, ip, out);
            return Verdict::Dropped(Counter::Policy);
        }
        if let Some(segment) = tcp.filter(|_| self.services.service(service).looks_into_new()) {
            return self.answer_syn(service, frame, parsed, ip, segment, now, out);
        }
        let arrival = Arrival { key, client_hash, mac: parsed.src_mac, port: frame.ingress };
        let id = self.choose(service, &arrival, now).and_then(|chosen| self.insert(&chosen, &arrival, ip, now, out));
        match id {
            Ok(rewrite) => {
                rewrite.apply(frame, ip);
                frame.egress = Egress::Port(rewrite.egress);
                Verdict::Forwarded
            }
            Err(why) => {
                let slot = self.services.service_mut(service);
                slot.refused += 1;
                let refusal = slot.row.when_none;
                self.refuse(refusal, frame, parsed, ip, out);
                Verdict::Dropped(why)
            }
        }
    }

    /// Drop: refused, and how the client shall hear of it.
    fn refused_by_policy(&mut self, service: u32, key: &FlowKey, tcp: Option<&Tcp>) -> Option<Refusal> {
        let row = &self.services.service(service).row;
        if row.drops.is_empty() {
            return None;
        }
        let DropPolicy { fraction, mode, refusal, salt, .. } = *row.drop_for(key.client.ip())?;
        let uniform = match mode {
            DropMode::Queue => self.coins.u32(..),
            // The same for every SYN of the attempt while the policy is unchanged, and nothing to remember. SYNs sent
            // again keep their number; the next attempt from the same port has another (RFC 9293, section 3.4.1).
            DropMode::Shed => {
                let tuple = self.flows.hash(Side::Client, key.client, key.other, key.protocol);
                let attempt = tcp.map_or(0, |syn| u64::from(syn.seq.0));
                (self.flows.hash_words([tuple, salt, row.id.0, attempt]) >> 32) as u32
            }
        };
        fraction.hits(uniform).then_some(refusal)
    }

    /// Chooses a real for a new connection.
    fn choose(&mut self, service: u32, arrival: &Arrival<'_>, now: Time) -> Result<Chosen, Counter> {
        let binding = self.choose_from(service, None, arrival, (None, None), (&[], &[]), now)?;
        Ok(Chosen { service, binding, _chosen: () })
    }

    /// Chooses a member of a group for a request: the one its cookie leads to (`led`), if that one will do; one of those that
    /// are connected already (`own`) will, one that was `tried` will not.
    pub(super) fn choose_among(
        &mut self,
        service: u32,
        group: &Name,
        arrival: &Arrival<'_>,
        (led, content_hash): (Option<u32>, Option<u64>),
        (own, tried): (&[u32], &[u32]),
        now: Time,
    ) -> Result<u32, Counter> {
        self.choose_from(service, Some(group), arrival, (led, content_hash), (own, tried), now)
    }

    #[inline(always)] // the two above differ in constants
    fn choose_from(
        &mut self,
        service: u32,
        group: Option<&Name>,
        arrival: &Arrival<'_>,
        (led, content_hash): (Option<u32>, Option<u64>),
        (own, tried): (&[u32], &[u32]),
        now: Time,
    ) -> Result<u32, Counter> {
        let (at, mut chooser) = self.services.take_chooser(service, group);
        let client = arrival.key.client;
        let choice = Choice {
            source_hash: self.flows.hash_words([client_bits(client).0, client_bits(client).1, 0, 1]),
            content_hash,
            random: self.coins.u64(..),
        };
        // Where the reals are is looked up for this connection, since stations move.
        let mut why = Counter::NoReal;
        let chosen = {
            let (services, flows, bridge) = (&self.services, &self.flows, &self.bridge);
            let mut acceptable = |slot: u32| {
                let binding = services.binding(slot);
                let port = binding.mac.and_then(|mac| bridge.port_of(mac, now)).or(binding.port);
                let server_hash = || flows.hash(Side::Server, client, binding.real, arrival.key.protocol);
                let is_connected = own.contains(&slot);
                let refused = if tried.contains(&slot) {
                    Counter::NoReal
                } else if is_connected {
                    return true;
                } else if binding.live >= binding.max_conns {
                    Counter::MaxConns
                } else if port.is_none() {
                    Counter::RealPortUnknown
                } else if port == Some(arrival.port) || binding.real.ip() == client.ip() {
                    Counter::SameSegment
                } else if flows
                    .find(server_hash(), |flow| {
                        flow.client() == client
                            && flow.protocol == arrival.key.protocol
                            && services.binding(flow.binding).real == binding.real
                    })
                    .is_some()
                {
                    Counter::TupleCollision
                } else {
                    return true;
                };
                why = refused;
                false
            };
            match led.filter(|slot| acceptable(*slot)) {
                None => chooser.pick(choice, |slot| services.binding(slot).live, acceptable),
                led => led,
            }
        };
        self.services.return_chooser(service, (at, chooser));
        let binding = chosen.ok_or(why)?;
        let slot = self.services.binding(binding);
        let port = slot.mac.and_then(|mac| self.bridge.port_of(mac, now)).or(slot.port);
        self.services.binding_mut(binding).port = port;
        Ok(binding)
    }

    /// Makes the flow of a chosen real.
    fn insert(
        &mut self,
        chosen: &Chosen,
        arrival: &Arrival<'_>,
        ip: &Ip,
        now: Time,
        out: &mut Out,
    ) -> Result<super::forward::Rewrite, Counter> {
        let key = arrival.key;
        let mut flow = Flow::new(key.client, key.protocol, chosen.service, chosen.binding, tick(now));
        flow.seen_from(arrival.mac, arrival.port);
        if let Transport::Tcp(segment) = &ip.transport {
            flow.state = TcpState::SynSent;
            flow.tcp = first_syn(segment);
        }
        let real = self.services.binding(chosen.binding).real;
        let server_hash = self.flows.hash(Side::Server, key.client, real, key.protocol);
        let inserted = self.flows.insert(flow, arrival.client_hash, server_hash).or_else(|full| {
            // Never an established flow: an embryonic one makes room, or the newcomer is refused.
            if self.evict_embryonic(out) {
                self.flows.insert(flow, arrival.client_hash, server_hash)
            } else {
                Err(full)
            }
        });
        let id = inserted.map_err(|_| Counter::FlowTableFull)?;
        self.services.hold(chosen.service, chosen.binding);
        self.counters.add(Counter::FlowInserted);
        if flow.state == TcpState::SynSent {
            self.remember_embryonic(id, flow.seen);
        }
        self.rewrite_of(id, Side::Client).ok_or(Counter::RealPortUnknown)
    }

    /// Tells a refused client, if it is to be told.
    fn refuse(&mut self, refusal: Refusal, frame: &FrameBuf, parsed: &Parsed, ip: &Ip, out: &mut Out) {
        if refusal == Refusal::Silent {
            return;
        }
        let link = Link { src: self.config.mac, dst: parsed.src_mac };
        let Some(answer) = out.frames.next_free() else {
            self.counters.add(Counter::OutFull);
            return;
        };
        let built = match &ip.transport {
            Transport::Tcp(segment) => {
                let (from, to) = ((ip.dst, segment.dst_port).into(), (ip.src, segment.src_port).into());
                build::tcp(answer, link, &reset_for(segment, from, to))
            }
            _ => frame
                .bytes()
                .get(usize::from(ip.l3)..ip.end as usize)
                .is_some_and(|packet| build::port_unreachable(answer, link, ip.dst, packet)),
        };
        answer.egress = if built { Egress::Port(frame.ingress) } else { Egress::None };
        self.counters.add(Counter::ResetSent);
    }
}

/// The RST a host without a connection would answer with (RFC 9293, section 3.5.2).
pub(super) fn reset_for(segment: &Tcp, from: std::net::SocketAddr, to: std::net::SocketAddr) -> Segment<'static> {
    let plain =
        Segment { from, to, seq: Seq(0), ack: Seq(0), flags: TcpFlags::RST, window: 0, mss: None, payload: &[] };
    match segment.flags.contains(TcpFlags::ACK) {
        true => Segment { seq: segment.ack, ..plain },
        false => Segment { ack: segment.seq + segment.seq_len(), flags: TcpFlags::RST | TcpFlags::ACK, ..plain },
    }
}

/// A client's address as two words, without its port: one client, one real.
fn client_bits(client: Endpoint) -> (u64, u64) {
    match client.ip() {
        std::net::IpAddr::V4(ip) => (u64::from(ip.to_bits()), 4),
        std::net::IpAddr::V6(ip) => ((ip.to_bits() >> 64) as u64, ip.to_bits() as u64),
    }
}
