//! Simulated reals on a simulated segment, and the clock. Frames are read and written with etherparse, not with the
//! code under test, and every frame the checks send is verified to the last checksum.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use acm_switch::acm::words::{Health, HealthProfile};
use acm_switch::base::addr::{Mac, Protocol};
use acm_switch::base::id::BindingId;
use acm_switch::base::time::Time;
use acm_switch::health::{BURST, Checks, Finding, HealthConfig, Target};
use etherparse::icmpv4::DestUnreachableHeader;
use etherparse::{
    ArpHardwareId, ArpOperation, ArpPacket, EtherType, Icmpv4Type, LinkSlice, NetSlice, PacketBuilder, SlicedPacket,
    TcpOptionElement, TcpSlice, TransportSlice,
};

pub(crate) const SWITCH_MAC: Mac = Mac([2, 0xac, 0, 0, 0, 1]);
pub(crate) const SWITCH_IP: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);

/// What a real does when its port is spoken to.
#[derive(Debug, Clone)]
pub(crate) enum Port {
    /// Completes handshakes; datagrams are swallowed.
    Open,
    /// RST, or port-unreachable.
    Closed,
    /// Nothing.
    Silent,
    /// SYN-ACKs that acknowledge the wrong number, and RSTs that do.
    Lying,
    /// A firewall: ICMP administratively prohibited.
    Filtered,
    /// Answers any request with these bytes, cut into segments of this many, then FIN if told so.
    Http { answer: Vec<u8>, segment: usize, fin: bool },
}

/// One simulated host.
#[derive(Debug, Clone)]
pub(crate) struct Real {
    pub(crate) ip: Ipv4Addr,
    pub(crate) mac: Mac,
    pub(crate) arp: bool,
    pub(crate) echo: bool,
    pub(crate) port: Port,
    pub(crate) delay: Duration,
    /// What its SYN-ACKs say.
    pub(crate) options: Vec<TcpOptionElement>,
    /// Frames seen, by kind.
    pub(crate) seen: BTreeMap<&'static str, u32>,
    /// What the last SYN offered.
    pub(crate) offered: Vec<&'static str>,
    /// The client ports whose request was answered.
    answered: HashSet<u16>,
}

impl Real {
    pub(crate) fn new(n: u16, port: Port) -> Real {
        let [high, low] = n.to_be_bytes();
        Real {
            ip: Ipv4Addr::new(10, 1, high, low),
            mac: Mac([2, 0, 0, 1, high, low]),
            arp: true,
            echo: true,
            port,
            delay: Duration::from_micros(200),
            options: vec![],
            seen: BTreeMap::new(),
            offered: vec![],
            answered: HashSet::new(),
        }
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        (self.ip, 8080).into()
    }

    pub(crate) fn saw(&self, kind: &str) -> u32 {
        self.seen.get(kind).copied().unwrap_or(0)
    }

    fn note(&mut self, kind: &'static str) {
        *self.seen.entry(kind).or_default() += 1;
    }

    fn eth(&self) -> etherparse::PacketBuilderStep<etherparse::Ethernet2Header> {
        PacketBuilder::ethernet2(self.mac.0, SWITCH_MAC.0)
    }

    fn ip(&self) -> etherparse::PacketBuilderStep<etherparse::IpHeaders> {
        self.eth().ipv4(self.ip.octets(), SWITCH_IP.octets(), 64)
    }

    pub(crate) fn arp_reply(&self) -> Vec<u8> {
        arp(ArpOperation::REPLY, self.mac, self.ip, SWITCH_MAC, SWITCH_IP, SWITCH_MAC)
    }

    /// The frames this host answers with.
    fn receive(&mut self, frame: &[u8]) -> Vec<Vec<u8>> {
        let packet = SlicedPacket::from_ethernet(frame).expect("the checks send whole frames");
        let Some(LinkSlice::Ethernet2(link)) = &packet.link else { panic!("no Ethernet header") };
        assert_eq!(Mac(link.source()), SWITCH_MAC);
        match (&packet.net, &packet.transport) {
            (Some(NetSlice::Arp(request)), _) => {
                let request = request.to_packet().try_eth_ipv4().expect("ARP for IPv4");
                assert_eq!((request.operation, Ipv4Addr::from(request.target_ipv4)), (ArpOperation::REQUEST, self.ip));
                self.note(if Mac(link.destination()) == Mac::BROADCAST { "arp-broadcast" } else { "arp-unicast" });
                if self.arp { vec![self.arp_reply()] } else { vec![] }
            }
            (Some(NetSlice::Ipv4(ip)), Some(transport)) => {
                let header = ip.header();
                assert_eq!(header.header_checksum(), header.to_header().calc_header_checksum());
                assert_eq!(Mac(link.destination()), self.mac, "sent to the resolved address");
                let quoted = &frame[14..14 + usize::from(header.total_len())];
                self.transport(transport, quoted)
            }
            _ => panic!("an unexpected frame: {frame:02x?}"),
        }
    }

    fn transport(&mut self, transport: &TransportSlice<'_>, quoted: &[u8]) -> Vec<Vec<u8>> {
        match transport {
            TransportSlice::Icmpv4(icmp) => {
                assert_eq!(icmp.icmp_type().calc_checksum(icmp.payload()), icmp.checksum());
                let Icmpv4Type::EchoRequest(echo) = icmp.icmp_type() else { panic!("not an echo request") };
                self.note("echo");
                if !self.echo {
                    return vec![];
                }
                vec![written(self.ip().icmpv4_echo_reply(echo.id, echo.seq), icmp.payload())]
            }
            TransportSlice::Udp(udp) => {
                let sum = udp.to_header().calc_checksum_ipv4_raw(SWITCH_IP.octets(), self.ip.octets(), udp.payload());
                assert_eq!(udp.checksum(), sum.unwrap());
                self.note("udp");
                match self.port {
                    Port::Closed => vec![self.unreachable(quoted, DestUnreachableHeader::Port)],
                    Port::Filtered => vec![self.unreachable(quoted, DestUnreachableHeader::FilterProhibited)],
                    _ => vec![],
                }
            }
            TransportSlice::Tcp(tcp) => {
                assert_eq!(
                    tcp.checksum(),
                    tcp.calc_checksum_ipv4(SWITCH_IP.octets(), self.ip.octets()).unwrap(),
                    "TCP checksum"
                );
                self.tcp(tcp, quoted)
            }
            other => panic!("an unexpected packet: {other:?}"),
        }
    }

    fn unreachable(&self, quoted: &[u8], why: DestUnreachableHeader) -> Vec<u8> {
        written(self.ip().icmpv4(Icmpv4Type::DestinationUnreachable(why)), quoted)
    }

    fn tcp(&mut self, tcp: &TcpSlice<'_>, quoted: &[u8]) -> Vec<Vec<u8>> {
        let (client, next) = (tcp.source_port(), tcp.sequence_number().wrapping_add(1));
        if tcp.syn() {
            let name = |option| match option {
                TcpOptionElement::MaximumSegmentSize(1460) => Some("mss 1460"),
                TcpOptionElement::WindowScale(_) => Some("scale"),
                TcpOptionElement::SelectiveAcknowledgementPermitted => Some("sack"),
                TcpOptionElement::Timestamp(..) => Some("clocks"),
                _ => None,
            };
            self.offered = tcp.options_iterator().filter_map(|option| name(option.expect("sound options"))).collect();
        }
        let segment = |seq: u32| self.ip().tcp(8080, client, seq, 4096);
        const ISN: u32 = 0xffff_fff0;
        if tcp.rst() {
            self.note("rst");
            self.answered.remove(&client);
            return vec![];
        }
        if tcp.syn() {
            let answer = match self.port {
                Port::Open | Port::Http { .. } => {
                    vec![written(segment(ISN).syn().ack(next).options(&self.options).unwrap(), &[])]
                }
                Port::Closed => vec![written(segment(0).rst().ack(next), &[])],
                Port::Silent => vec![],
                Port::Lying => vec![
                    written(segment(ISN).syn().ack(next.wrapping_add(7)), &[]),
                    written(segment(0).rst().ack(next.wrapping_sub(1)), &[]),
                    written(segment(next).rst(), &[]),
                ],
                Port::Filtered => vec![self.unreachable(quoted, DestUnreachableHeader::FilterProhibited)],
            };
            self.note("syn");
            return answer;
        }
        if tcp.payload().is_empty() {
            self.note("ack");
            return vec![];
        }
        self.note("request");
        let Port::Http { answer, segment: size, fin } = self.port.clone() else { return vec![] };
        if !self.answered.insert(client) {
            return vec![];
        }
        assert!(tcp.payload().starts_with(b"GET /") && tcp.payload().ends_with(b"\r\n\r\n"));
        let ack = tcp.sequence_number().wrapping_add(tcp.payload().len() as u32);
        let segment = |at: usize| self.ip().tcp(8080, client, ISN.wrapping_add(1 + at as u32), 4096).ack(ack);
        let parts = answer.chunks(size).enumerate();
        let mut frames: Vec<_> = parts.map(|(i, part)| written(segment(i * size).psh(), part)).collect();
        if fin {
            frames.push(written(segment(answer.len()).fin(), &[]));
        }
        frames
    }
}

/// An ARP frame to `to`.
pub(crate) fn arp(op: ArpOperation, mac: Mac, ip: Ipv4Addr, target: Mac, target_ip: Ipv4Addr, to: Mac) -> Vec<u8> {
    let arp = ArpPacket::new(
        ArpHardwareId::ETHERNET,
        EtherType::IPV4,
        op,
        &mac.0,
        &ip.octets(),
        &target.0,
        &target_ip.octets(),
    );
    let mut frame = Vec::new();
    PacketBuilder::ethernet2(mac.0, to.0).arp(arp.unwrap()).write(&mut frame).unwrap();
    frame
}

/// What can be written with a payload.
pub(crate) trait Written {
    fn to(self, frame: &mut Vec<u8>, payload: &[u8]);
}

macro_rules! written {
    ($($header:ty),*) => {$(
        impl Written for etherparse::PacketBuilderStep<$header> {
            fn to(self, frame: &mut Vec<u8>, payload: &[u8]) {
                self.write(frame, payload).unwrap();
            }
        }
    )*};
}
written!(etherparse::TcpHeader, etherparse::UdpHeader, etherparse::Icmpv4Header);

/// The frame's bytes.
pub(crate) fn written(step: impl Written, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    step.to(&mut frame, payload);
    frame
}

/// A segment with the checks at one end and reals at the other.
pub(crate) struct World {
    pub(crate) checks: Checks,
    pub(crate) now: Time,
    pub(crate) reals: HashMap<Ipv4Addr, Real>,
    /// Probability that a frame is lost, each way.
    pub(crate) loss: f64,
    /// One bit of every IP packet from a real is flipped.
    pub(crate) bent: bool,
    /// Every finding, with its time.
    pub(crate) findings: Vec<(Time, Finding)>,
    /// The latest finding of each binding.
    pub(crate) told: BTreeMap<BindingId, Finding>,
    /// Frames the checks sent, and polls.
    pub(crate) sent: u64,
    pub(crate) polls: u64,
    rng: fastrand::Rng,
    wire: BTreeMap<(Time, u64), Vec<u8>>,
    order: u64,
}

impl World {
    pub(crate) fn new(seed: u64) -> World {
        let config = HealthConfig { mac: SWITCH_MAC, addresses: vec![IpAddr::V4(SWITCH_IP)], seed };
        World {
            checks: Checks::new(config, Time::ZERO),
            now: Time::ZERO,
            reals: HashMap::new(),
            loss: 0.0,
            bent: false,
            findings: vec![],
            told: BTreeMap::new(),
            sent: 0,
            polls: 0,
            rng: fastrand::Rng::with_seed(seed ^ 0x5eed),
            wire: BTreeMap::new(),
            order: 0,
        }
    }

    /// A world with one real, number 1.
    pub(crate) fn with(port: Port) -> World {
        let mut world = World::new(1);
        world.add(Real::new(1, port));
        world
    }

    pub(crate) fn add(&mut self, real: Real) {
        self.reals.insert(real.ip, real);
    }

    /// Real number `n`.
    pub(crate) fn real(&mut self, n: u16) -> &mut Real {
        let [high, low] = n.to_be_bytes();
        self.reals.get_mut(&Ipv4Addr::new(10, 1, high, low)).expect("there is such a real")
    }

    /// Watches real `n` as binding `n`.
    pub(crate) fn watch(&mut self, n: u16, protocol: Protocol, profile: &HealthProfile) {
        let real = self.real(n).addr();
        self.watch_as(u64::from(n), real, protocol, profile);
    }

    pub(crate) fn watch_as(&mut self, binding: u64, real: SocketAddr, protocol: Protocol, profile: &HealthProfile) {
        let target = Target { real, protocol, profile: Arc::new(profile.clone()) };
        self.checks.watch(BindingId(binding), target, self.now);
    }

    /// A frame reaches the checks now.
    pub(crate) fn inject(&mut self, frame: &[u8]) {
        self.checks.handle(frame, self.now);
    }

    /// Runs for this long.
    pub(crate) fn run(&mut self, span: Duration) {
        let end = self.now + span;
        loop {
            let next = self.checks.next_deadline().into_iter().chain(self.wire.keys().next().map(|&(at, _)| at)).min();
            let Some(next) = next.filter(|&next| next <= end) else { break };
            self.now = self.now.max(next);
            while let Some(entry) = self.wire.first_entry().filter(|entry| entry.key().0 <= self.now) {
                let frame = entry.remove();
                self.checks.handle(&frame, self.now);
            }
            self.poll();
        }
        self.now = end;
    }

    fn poll(&mut self) {
        let (mut frames, mut findings) = (vec![], vec![]);
        let before = self.checks.next_deadline();
        self.checks.poll(self.now, &mut frames, &mut findings);
        self.polls += 1;
        assert!(frames.len() <= BURST, "a poll sends a bounded burst");
        let after = self.checks.next_deadline();
        if frames.is_empty() && findings.is_empty() && before == after {
            assert!(after.is_none_or(|at| at > self.now), "nothing done, and nothing to wait for");
        }
        for finding in findings {
            let before = self.told.insert(finding.binding, finding.clone());
            assert_ne!(before.as_ref(), Some(&finding), "a finding without a change");
            self.findings.push((self.now, finding));
        }
        for frame in frames {
            self.sent += 1;
            assert!((60..=1514).contains(&frame.len()), "{} bytes", frame.len());
            self.deliver(&frame);
        }
    }

    /// To the real it is for, and its answers onto the wire.
    fn deliver(&mut self, frame: &[u8]) {
        // ARP target or IP destination.
        let at = if frame[12..14] == [8, 6] { 38 } else { 30 };
        let ip = Ipv4Addr::new(frame[at], frame[at + 1], frame[at + 2], frame[at + 3]);
        let (lost, loss) = (self.rng.f64() < self.loss, self.loss);
        let Some(real) = self.reals.get_mut(&ip).filter(|_| !lost) else { return };
        let at = self.now + real.delay;
        for mut answer in real.receive(frame) {
            if self.bent && answer[12..14] == [8, 0] {
                let at = self.rng.usize(14..answer.len());
                answer[at] ^= 1 << self.rng.u8(0..8);
            }
            if self.rng.f64() >= loss {
                self.order += 1;
                self.wire.insert((at, self.order), answer);
            }
        }
    }

    /// What binding `n` was told last.
    pub(crate) fn health(&self, n: u64) -> &Health {
        &self.told.get(&BindingId(n)).expect("something was told").health
    }

    /// `passing`, or `unknown:`/`failing:` with the reason.
    pub(crate) fn says(&self, n: u64) -> String {
        match self.health(n) {
            Health::Passing => "passing".into(),
            Health::Unknown(why) => format!("unknown: {why}"),
            Health::Failing(why) => format!("failing: {why}"),
        }
    }

    pub(crate) fn mac(&self, n: u64) -> Option<Mac> {
        self.told[&BindingId(n)].mac
    }
}
