//! What is answered here: ARP and echo for virtual addresses and the switch's own, and what goes to the health
//! checks.

use std::net::IpAddr;

use super::counters::Counter;
use super::{Out, Plane, Verdict};
use crate::base::addr::Mac;
use crate::base::time::Time;
use crate::wire::build;
use crate::wire::checksum::l4_is_correct;
use crate::wire::frame::{Egress, FrameBuf};
use crate::wire::parse::{Arp, ArpOp, Fragment, Icmp, Ip, Parsed, Transport};

impl Plane {
    /// ARP: answered for our addresses with the switch's MAC, on every port; a claim to one of them is not passed on.
    pub(super) fn decide_arp(&mut self, frame: &mut FrameBuf, parsed: &Parsed, arp: &Arp, now: Time) -> Verdict {
        if self.is_own(IpAddr::V4(arp.sender_ip)) {
            return Verdict::Dropped(Counter::ArpSpoof);
        }
        let target_is_own = self.is_own(IpAddr::V4(arp.target_ip));
        match arp.op {
            ArpOp::Request if target_is_own => {
                self.learn(parsed.src_mac, frame.ingress, now);
                build::answer_arp_in_place(frame, arp, self.config.mac);
                frame.egress = Egress::Port(frame.ingress);
                self.counters.add(Counter::ArpAnswered);
                Verdict::Answered
            }
            ArpOp::Reply if parsed.dst_mac == self.config.mac && target_is_own => {
                self.learn(parsed.src_mac, frame.ingress, now);
                self.deliver_from(IpAddr::V4(arp.sender_ip))
            }
            _ => self.bridge_or_drop(frame, parsed, now),
        }
    }

    /// A packet for the switch's own address.
    pub(super) fn decide_own(&mut self, frame: &mut FrameBuf, ip: &Ip) -> Verdict {
        match ip.transport {
            Transport::Icmp(Icmp::EchoRequest { .. }) if ip.fragment == Fragment::Whole => self.answer_echo(frame, ip),
            _ => self.deliver_from(ip.src),
        }
    }

    /// The health checks ask reals only, so only reals have anything to tell them; a flood by others shall not take the
    /// place of what they say.
    fn deliver_from(&self, host: IpAddr) -> Verdict {
        match self.table.is_real(host) {
            true => Verdict::Delivered,
            false => Verdict::Dropped(Counter::Unasked),
        }
    }

    /// Echo for one of our addresses. Whoever asks with a wrong checksum hears nothing, as from any host.
    pub(super) fn answer_echo(&mut self, frame: &mut FrameBuf, ip: &Ip) -> Verdict {
        if !l4_is_correct(frame, ip) {
            return Verdict::Dropped(Counter::L4Checksum);
        }
        build::answer_echo_in_place(frame, ip, self.config.mac);
        frame.egress = Egress::Port(frame.ingress);
        self.counters.add(Counter::EchoAnswered);
        Verdict::Answered
    }

    /// Sends a frame of the switch's own (a health check): where its destination is known to be, else everywhere.
    pub fn originate(&mut self, frame: &[u8], now: Time, out: &mut Out) {
        let Some(dst) = frame.first_chunk::<6>() else { return };
        let egress = self.bridge.port_of(Mac(*dst), now).map_or(Egress::All, Egress::Port);
        match out.frames.push(frame, egress) {
            true => self.counters.add(Counter::Originated),
            false => self.counters.add(Counter::OutFull),
        }
    }
}
