//! Deciding what a frame is. One at a time, or a batch whose memory look-ups overlap.

use super::bridge::Learnt;
use super::counters::Counter;
use super::flow_table::{Endpoint, Side};
use super::quick::Quick;
use super::{Out, Plane, Verdict};
use crate::base::addr::{Mac, Protocol};
use crate::base::id::PortId;
use crate::base::time::Time;
use crate::wire::checksum::{ipv4_header_ok, l4_is_correct};
use crate::wire::frame::{Batch, Egress, FrameBuf};
use crate::wire::parse::{Fragment, Icmp, Ip, Malformed, Parsed, Payload, Transport, parse};
use crate::wire::plain;

/// The key a packet's flow is looked up by.
#[derive(Debug, Clone, Copy)]
pub(super) struct FlowKey {
    pub(super) side: Side,
    pub(super) client: Endpoint,
    pub(super) other: Endpoint,
    pub(super) protocol: Protocol,
}

impl FlowKey {
    /// The key of a packet taken as going this way; `None` if it is neither TCP nor UDP or has no ports.
    #[inline]
    pub(super) fn of(ip: &Ip, side: Side) -> Option<FlowKey> {
        let (protocol, src_port, dst_port) = match &ip.transport {
            Transport::Tcp(tcp) => (Protocol::Tcp, tcp.src_port, tcp.dst_port),
            Transport::Udp(udp) => (Protocol::Udp, udp.src_port, udp.dst_port),
            _ => return None,
        };
        let (src, dst) = (Endpoint::new(ip.src, src_port), Endpoint::new(ip.dst, dst_port));
        Some(match side {
            Side::Client => FlowKey { side, client: src, other: dst, protocol },
            Side::Server => FlowKey { side, client: dst, other: src, protocol },
        })
    }
}

impl Plane {
    /// Decides about one frame, by the long way: rewrites it in place and sets its `egress`. Its `ingress` is the
    /// caller's to set.
    pub fn process(&mut self, frame: &mut FrameBuf, now: Time, out: &mut Out) -> Verdict {
        self.take(frame, None, now, out)
    }

    /// [`Plane::process`] for each frame of a batch, by the short way where that will do; verdicts are appended in
    /// order. Reads all and touches their index
    /// lines and entries first: those loads do not depend on one another, so the misses overlap.
    pub fn process_batch(&mut self, batch: &mut Batch, now: Time, verdicts: &mut Vec<Verdict>, out: &mut Out) {
        let mut quick = std::mem::take(&mut self.quick);
        quick.clear();
        quick.extend(batch.frames().iter().map(|frame| plain::read(frame.bytes()).map(|packet| self.quick(packet))));
        let touched = quick.iter().flatten().fold(0u8, |sum, frame| sum ^ self.flows.touch_index(frame.hash));
        std::hint::black_box(touched);
        quick.iter_mut().flatten().for_each(|frame| frame.place = self.flows.touch_flow(frame.hash));
        let frames = batch.frames_mut().iter_mut().zip(&quick);
        verdicts.extend(frames.map(|(frame, quick)| self.take(frame, quick.as_ref(), now, out)));
        self.quick = quick;
    }

    #[inline(always)] // the loop over a batch is the short way
    fn take(&mut self, frame: &mut FrameBuf, quick: Option<&Quick>, now: Time, out: &mut Out) -> Verdict {
        let verdict = match quick {
            Some(quick) if self.forward_quick(frame, quick, now) => Verdict::Forwarded,
            _ => self.decide(frame, now, out),
        };
        self.count(verdict);
        verdict
    }

    /// The long way, for every frame.
    #[inline(never)]
    fn decide(&mut self, frame: &mut FrameBuf, now: Time, out: &mut Out) -> Verdict {
        frame.egress = Egress::None;
        match &parse(frame.bytes()) {
            Err(why) => Verdict::Dropped(malformed(*why)),
            Ok(parsed) if parsed.src_mac == self.config.mac => Verdict::Dropped(Counter::OwnMacSource),
            Ok(parsed) => match &parsed.payload {
                Payload::Ip(ip) => self.decide_ip(frame, parsed, ip, now, out),
                Payload::Arp(arp) => self.decide_arp(frame, parsed, arp, now),
                Payload::Other(_) => self.bridge_or_drop(frame, parsed, now),
            },
        }
    }

    fn decide_ip(&mut self, frame: &mut FrameBuf, parsed: &Parsed, ip: &Ip, now: Time, out: &mut Out) -> Verdict {
        let to_us = parsed.dst_mac == self.config.mac;
        let side = if to_us { Side::Client } else { Side::Server };
        let key = FlowKey::of(ip, side);
        let hash = key.map_or(0, |key| self.flows.hash(key.side, key.client, key.other, key.protocol));
        if let Some(key) = &key
            && let Some(id) = self.find_flow(hash, key)
        {
            return match ip.fragment {
                Fragment::Whole => self.forward(frame, parsed, ip, id, side, now, out),
                // The others have no ports to be found by, and a first one alone is of no use.
                Fragment::First | Fragment::Later => Verdict::Dropped(Counter::Fragment),
            };
        }
        if matches!(ip.transport, Transport::Icmp(Icmp::Error { .. }))
            && let Some(verdict) = self.carry_error(frame, parsed, ip, now, out)
        {
            return verdict;
        }
        if !to_us {
            return self.bridge_or_drop(frame, parsed, now);
        }
        self.learn(parsed.src_mac, frame.ingress, now);
        if !self.is_own(ip.dst) {
            return Verdict::Dropped(Counter::NotOurs);
        }
        if !ipv4_header_ok(frame.bytes(), ip) {
            return Verdict::Dropped(Counter::IpChecksum);
        }
        match self.table.is_vip(ip.dst) {
            true => self.decide_virtual(frame, parsed, ip, hash, now, out),
            false => self.decide_own(frame, ip),
        }
    }

    /// A packet for a virtual address that belongs to no flow.
    fn decide_virtual(
        &mut self,
        frame: &mut FrameBuf,
        parsed: &Parsed,
        ip: &Ip,
        hash: u64,
        now: Time,
        out: &mut Out,
    ) -> Verdict {
        if ip.fragment != Fragment::Whole {
            return Verdict::Dropped(Counter::Fragment);
        }
        match (&ip.transport, FlowKey::of(ip, Side::Client)) {
            (Transport::Icmp(Icmp::EchoRequest { .. }), _) => self.answer_echo(frame, ip),
            (_, Some(key)) => self.admit(frame, parsed, ip, &key, hash, now, out),
            _ => Verdict::Dropped(Counter::Protocol),
        }
    }

    /// What is wrong with a packet's checksums. Looked at where a packet makes us remember or forget something, not on
    /// what merely passes: there a wrong checksum stays wrong, and the receiver finds out.
    #[cold]
    pub(super) fn checksum_fault(frame: &FrameBuf, ip: &Ip) -> Option<Counter> {
        if !ipv4_header_ok(frame.bytes(), ip) {
            return Some(Counter::IpChecksum);
        }
        (!l4_is_correct(frame, ip)).then_some(Counter::L4Checksum)
    }

    /// Not ours: learn where it came from, send it on, never back out of its port.
    pub(super) fn bridge_or_drop(&mut self, frame: &mut FrameBuf, parsed: &Parsed, now: Time) -> Verdict {
        self.learn(parsed.src_mac, frame.ingress, now);
        if parsed.dst_mac == self.config.mac {
            return Verdict::Dropped(Counter::NotOurs);
        }
        frame.egress = self.bridge.way_to(parsed.dst_mac, frame.ingress, now);
        match frame.egress {
            Egress::None => Verdict::Dropped(Counter::SamePort),
            _ => Verdict::Bridged,
        }
    }

    pub(super) fn learn(&mut self, mac: Mac, port: PortId, now: Time) {
        match self.bridge.learn(mac, port, now) {
            Learnt::Known => {}
            Learnt::News => self.counters.add(Counter::MacLearnt),
            Learnt::Full => self.counters.add(Counter::MacTableFull),
        }
    }

    fn count(&mut self, verdict: Verdict) {
        let counter = match verdict {
            Verdict::Forwarded => Counter::Forwarded,
            Verdict::Bridged => Counter::Bridged,
            Verdict::Answered => Counter::Answered,
            Verdict::Delivered => Counter::Delivered,
            Verdict::Held => Counter::Held,
            Verdict::Dropped(why) => {
                self.counters.add(why);
                Counter::Dropped
            }
        };
        self.counters.add(counter);
    }
}

fn malformed(why: Malformed) -> Counter {
    match why {
        Malformed::Truncated => Counter::Truncated,
        Malformed::SourceMac => Counter::SourceMac,
        Malformed::IpVersion => Counter::IpVersion,
        Malformed::IpHeaderLength => Counter::IpHeaderLength,
        Malformed::IpTotalLength => Counter::IpTotalLength,
        Malformed::Ipv6Extension => Counter::Ipv6Extension,
        Malformed::TcpHeaderLength => Counter::TcpHeaderLength,
        Malformed::UdpLength => Counter::UdpLength,
        Malformed::IcmpLength => Counter::IcmpLength,
        Malformed::ArpFormat => Counter::ArpFormat,
    }
}
