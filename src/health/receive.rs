//! What comes in: which check or host a frame answers, if any.
//!
//! Everything here is hostile until it matches something we asked: ARP replies from the asked address while the question
//! is open; echo replies with our identifier, sequence number and payload; TCP segments of our 4-tuple with an exact
//! acknowledgement of our random sequence number; ICMP errors of the real itself that quote our own packet. All else is
//! ignored, except that a TCP segment which no check wants any more (a late SYN-ACK) is answered by a RST.

use std::net::{IpAddr, SocketAddr};

use crate::acm::words::TcpAbilities;
use crate::base::addr::Protocol;
use crate::base::time::Time;
use crate::wire::checksum;
use crate::wire::frame::FrameBuf;
use crate::wire::icmp;
use crate::wire::parse::{
    self, Arp, ArpOp, Embedded, Fragment, Icmp, Ip, Parsed, Payload, Tcp, TcpFlags, Transport, Udp,
};
use crate::wire::tcp_options::{self, Options};

use super::CheckId;
use super::checks::Checks;
use super::host::ArpAnswer;
use super::ports::Ports;
use super::reason::Failure;
use super::steps::{Step, Turn};
use super::verdict::Standing;

/// ICMP destination unreachable (RFC 792).
const UNREACHABLE: u8 = 3;

impl Checks {
    /// Takes a frame that arrived for the switch's own address, its checksums finished. Anything may be in it.
    pub fn handle(&mut self, frame: &[u8], now: Time) {
        self.now = self.now.max(now);
        let Ok(parsed) = parse::parse(frame) else { return };
        if parsed.dst_mac != self.out.mac() || parsed.src_mac == self.out.mac() {
            return;
        }
        match parsed.payload {
            Payload::Arp(arp) => self.arp(&parsed, &arp),
            Payload::Ip(ip) if self.is_sound(frame, &ip) => self.ip(frame, &ip),
            Payload::Ip(_) | Payload::Other(_) => {}
        }
    }

    fn arp(&mut self, parsed: &Parsed, arp: &Arp) {
        let honest = arp.op == ArpOp::Reply
            && arp.sender_mac == parsed.src_mac
            && arp.sender_mac.is_station()
            && arp.target_mac == self.out.mac()
            && self.out.is_own(arp.target_ip.into());
        let Some(host) = self.hosts.get_mut(&IpAddr::V4(arp.sender_ip)) else { return };
        if !honest {
            return;
        }
        let waited = match host.arp_reply(arp.sender_mac, self.now) {
            ArpAnswer::Ignored => return,
            ArpAnswer::Same(waited) => waited,
            ArpAnswer::Changed(waited) => {
                // Who forwards to the old address must know at once; the others are told with their check's result.
                let up =
                    |id: &&CheckId| self.checks.get(id).is_some_and(|check| check.verdict.standing() == Standing::Up);
                self.changed.extend(host.checks.iter().filter(up));
                waited
            }
        };
        waited.into_iter().for_each(|id| self.go_on(id, Step::Resolved));
    }

    /// Its time has come again: the next poll continues it at this step.
    fn go_on(&mut self, id: CheckId, step: Step) {
        if let Some(check) = self.checks.get_mut(&id) {
            check.step = step;
            self.timers.set(id, self.now);
        }
    }

    fn is_sound(&mut self, frame: &[u8], ip: &Ip) -> bool {
        ip.fragment == Fragment::Whole && self.out.is_own(ip.dst) && checksums_ok(frame, ip)
    }

    fn ip(&mut self, frame: &[u8], ip: &Ip) {
        match ip.transport {
            Transport::Icmp(Icmp::EchoReply { id, seq }) => {
                let payload = frame.get(usize::from(ip.l4) + 8..ip.end as usize).unwrap_or_default();
                let Some(host) = self.hosts.get_mut(&ip.src) else { return };
                let waited = host.echo_reply(id, seq, payload, self.now);
                waited.into_iter().for_each(|id| self.go_on(id, Step::Reached));
            }
            Transport::Icmp(Icmp::Error { kind: UNREACHABLE, code, embedded: Some(embedded) }) => {
                self.unreachable(frame, ip, code, &embedded);
            }
            Transport::Tcp(tcp) => self.tcp(frame, ip, &tcp),
            Transport::Udp(udp) => self.udp(ip, &udp),
            Transport::Icmp(_) | Transport::Other(_) | Transport::Fragment => {}
        }
    }

    /// The check whose probe between these two ends is out.
    fn probe(&self, own: SocketAddr, real: SocketAddr, protocol: Protocol) -> Option<CheckId> {
        let id = *self.by_port.get(&own.port())?;
        let target = &self.checks.get(&id)?.target;
        let between = self.between(id).ok()?;
        let ours = target.real == real && target.protocol == protocol && IpAddr::V4(between.own) == own.ip();
        ours.then_some(id)
    }

    fn tcp(&mut self, frame: &[u8], ip: &Ip, tcp: &Tcp) {
        let (own, real) = (SocketAddr::new(ip.dst, tcp.dst_port), SocketAddr::new(ip.src, tcp.src_port));
        let Some(id) = self.probe(own, real, Protocol::Tcp) else { return self.stray(own, real, tcp) };
        let has = |flags| tcp.flags.contains(flags);
        match self.checks.get_mut(&id).map(|check| &mut check.step) {
            Some(Step::Fetch { fetch, .. }) => {
                fetch.receive(frame);
                self.turn_fetch(id, Turn::Next);
            }
            Some(&mut Step::Syn { isn, .. }) if has(TcpFlags::ACK) && tcp.ack == isn + 1 => {
                if has(TcpFlags::RST) {
                    self.conclude(id, Err(Failure::ConnectRefused));
                } else if has(TcpFlags::SYN) {
                    self.learn(id, &tcp_options::read(tcp_options::header_of(frame, ip)));
                    self.stray(own, real, tcp);
                    self.l4_passed(id);
                }
            }
            _ => self.stray(own, real, tcp),
        }
    }

    /// The real's answer to a SYN that offered everything.
    fn learn(&mut self, id: CheckId, options: &Options) {
        let Some(check) = self.checks.get_mut(&id) else { return };
        let tcp = TcpAbilities {
            // RFC 9293, section 3.7.1.
            mss: options.mss.unwrap_or(536),
            scale: options.scale.is_some(),
            sack: options.sack_permitted,
            timestamps: options.timestamps.is_some(),
        };
        check.tcp = Some(tcp);
    }

    /// A segment nobody waits for: a RST that its sender accepts (RFC 9293, section 3.10.7.1), but only to reals being
    /// watched, and never an answer to a RST or to a segment without ACK.
    fn stray(&mut self, own: SocketAddr, real: SocketAddr, tcp: &Tcp) {
        let answerable = tcp.flags.contains(TcpFlags::ACK) && !tcp.flags.contains(TcpFlags::RST);
        let mac = self.hosts.get(&real.ip()).and_then(|host| host.mac);
        if let Some(mac) = mac.filter(|_| answerable && own.port() >= Ports::FIRST) {
            self.out.reset(own, real, mac, tcp.ack);
        }
    }

    fn udp(&mut self, ip: &Ip, udp: &Udp) {
        let (own, real) = (SocketAddr::new(ip.dst, udp.dst_port), SocketAddr::new(ip.src, udp.src_port));
        // Somebody is there, which is all that was asked.
        if let Some(id) = self.probe(own, real, Protocol::Udp) {
            self.conclude(id, Ok(()));
        }
    }

    fn unreachable(&mut self, frame: &[u8], ip: &Ip, code: u8, embedded: &Embedded) {
        if embedded.dst.ip() != ip.src {
            return;
        }
        let Some(id) = self.probe(embedded.src, embedded.dst, embedded.protocol) else { return };
        match self.checks.get(&id).map(|check| &check.step) {
            // The quoted sequence number must be ours too (RFC 5927, section 4.1).
            Some(&Step::Syn { isn, .. }) if icmp::quoted(frame, ip).and_then(|quoted| quoted.seq) == Some(isn) => {
                self.conclude(id, Err(Failure::ConnectUnreachable(code)));
            }
            Some(Step::Datagram { .. }) => self.conclude(id, Err(Failure::UdpUnreachable(code))),
            _ => {}
        }
    }
}

/// IP and transport checksums, as a host would check them.
fn checksums_ok(frame: &[u8], ip: &Ip) -> bool {
    let mut buffer = FrameBuf::with_capacity(frame.len());
    buffer.fill(frame) && checksum::ipv4_header_ok(frame, ip) && checksum::l4_is_correct(&buffer, ip)
}
