//! A plane with a client behind port 0 and servers behind ports 1 to 3, and words to say what goes in and what must
//! come out. Frames are built and taken apart with etherparse, which shares no code with the plane.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::Arc;
use std::time::Duration;

use acm_switch::acm::table::ServiceTable;
use acm_switch::acm::words::*;
use acm_switch::base::addr::{Mac, Protocol};
use acm_switch::base::id::{BindingId, PortId, ServiceId};
use acm_switch::base::time::Time;
use acm_switch::plane::prepare::Prepared;
use acm_switch::plane::{Notice, Out, Plane, PlaneConfig, Verdict};
use acm_switch::wire::frame::{Batch, Checksum, Egress, FrameBuf, Gso, Offload};
use etherparse::{NetSlice, PacketBuilder, SlicedPacket, TransportSlice};

pub const SWITCH: Mac = Mac([2, 0xac, 0, 0, 0, 1]);
pub const CLIENT: Mac = Mac([2, 0, 0, 0, 0, 1]);
pub const VIP: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 100);
pub const OWN: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);

pub fn server_mac(n: u8) -> Mac {
    Mac([2, 0, 0, 0, 1, n])
}

pub fn at(text: &str) -> SocketAddrV4 {
    match text.parse().unwrap() {
        SocketAddr::V4(addr) => addr,
        SocketAddr::V6(_) => panic!("IPv4 here"),
    }
}

/// What left the switch.
#[derive(Debug, Clone)]
pub struct Sent {
    pub egress: Egress,
    pub bytes: Vec<u8>,
    pub offload: Offload,
}

/// A TCP segment as a test says it.
#[derive(Debug, Clone, Copy)]
pub struct Tcp<'a> {
    pub from: &'a str,
    pub to: &'a str,
    pub flags: &'a str,
    pub seq: u32,
    pub ack: u32,
    pub len: usize,
}

pub fn tcp<'a>(from: &'a str, to: &'a str, flags: &'a str, seq: u32, ack: u32, len: usize) -> Tcp<'a> {
    Tcp { from, to, flags, seq, ack, len }
}

pub fn build_tcp(src: Mac, dst: Mac, segment: Tcp<'_>) -> Vec<u8> {
    let (from, to) = (at(segment.from), at(segment.to));
    let mut builder = PacketBuilder::ethernet2(src.0, dst.0).ipv4(from.ip().octets(), to.ip().octets(), 64).tcp(
        from.port(),
        to.port(),
        segment.seq,
        1000,
    );
    for flag in segment.flags.chars() {
        builder = match flag {
            'S' => builder.syn(),
            'A' => builder.ack(segment.ack),
            'F' => builder.fin(),
            'R' => builder.rst(),
            'P' => builder.psh(),
            other => panic!("no flag {other}"),
        };
    }
    let payload: Vec<u8> = (0..segment.len).map(|n| n as u8).collect();
    let mut frame = Vec::new();
    builder.write(&mut frame, &payload).unwrap();
    frame
}

pub fn build_udp(src: Mac, dst: Mac, from: &str, to: &str, payload: &[u8]) -> Vec<u8> {
    let (from, to) = (at(from), at(to));
    let mut frame = Vec::new();
    PacketBuilder::ethernet2(src.0, dst.0)
        .ipv4(from.ip().octets(), to.ip().octets(), 64)
        .udp(from.port(), to.port())
        .write(&mut frame, payload)
        .unwrap();
    frame
}

pub fn build_arp(src: Mac, dst: Mac, op: u8, sender: (Mac, Ipv4Addr), target: (Mac, Ipv4Addr)) -> Vec<u8> {
    let mut frame = Vec::new();
    frame.extend(dst.0);
    frame.extend(src.0);
    frame.extend([8, 6, 0, 1, 8, 0, 6, 4, 0, op]);
    frame.extend(sender.0.0);
    frame.extend(sender.1.octets());
    frame.extend(target.0.0);
    frame.extend(target.1.octets());
    frame.resize(60, 0);
    frame
}

pub fn build_echo(src: Mac, dst: Mac, from: Ipv4Addr, to: Ipv4Addr) -> Vec<u8> {
    let mut frame = Vec::new();
    PacketBuilder::ethernet2(src.0, dst.0)
        .ipv4(from.octets(), to.octets(), 64)
        .icmpv4_echo_request(7, 9)
        .write(&mut frame, b"are you there?")
        .unwrap();
    frame
}

/// The same plane, fed by batches: whatever goes in, the short way must come to what the long way comes to.
struct Twin {
    plane: Plane,
    out: Out,
}

impl Twin {
    fn hear(&mut self, frame: &FrameBuf, now: Time) -> (FrameBuf, Verdict) {
        let mut batch = Batch::new(1, frame.capacity());
        assert!(batch.push(frame.bytes(), Egress::None));
        batch.frames_mut()[0].offload = frame.offload;
        batch.frames_mut()[0].ingress = frame.ingress;
        let mut verdicts = vec![];
        self.plane.process_batch(&mut batch, now, &mut verdicts, &mut self.out);
        (batch.frames()[0].clone(), verdicts[0])
    }

    fn assert_same(&mut self, plane: &Plane, out: &Out) {
        assert_eq!(self.out.notices, out.notices, "the short way and the long one");
        let frames = |out: &Out| -> Vec<_> {
            out.frames.frames().iter().map(|frame| (frame.bytes().to_vec(), frame.egress, frame.offload)).collect()
        };
        if self.out.frames.len() + out.frames.len() > 0 {
            assert_eq!(frames(&self.out), frames(out), "the short way and the long one");
        }
        assert!(self.plane.counters().iter().eq(plane.counters().iter()), "the short way and the long one");
        self.out.frames.clear();
        self.out.notices.clear();
    }
}

pub struct Rig {
    /// Decides by the long way.
    pub plane: Plane,
    twin: Twin,
    pub now: Time,
    pub table: ServiceTable,
    prepared: Prepared,
    pub notices: Vec<Notice>,
    pub sent: Vec<Sent>,
    /// Kept, so that a hundred thousand frames do not make a hundred thousand.
    out: Option<Out>,
    before: BTreeMap<&'static str, u64>,
    next_id: u64,
}

impl Rig {
    /// Stations known, nothing else.
    pub fn new() -> Rig {
        Rig::with_flows(1024)
    }

    pub fn with_flows(flows_max: usize) -> Rig {
        Rig::with_config(|config| config.flows_max = flows_max)
    }

    pub fn with_config(set: impl FnOnce(&mut PlaneConfig)) -> Rig {
        let mut config = PlaneConfig { flows_max: 1024, ..PlaneConfig::new(SWITCH, vec![OWN.into()], 41) };
        set(&mut config);
        let mut rig = Rig {
            plane: Plane::new(config.clone()),
            twin: Twin { plane: Plane::new(config), out: Out::new() },
            now: Time::from_secs(1),
            table: ServiceTable::default(),
            prepared: Prepared::default(),
            notices: vec![],
            sent: vec![],
            out: None,
            before: BTreeMap::new(),
            next_id: 1,
        };
        let hello = |mac: Mac| {
            build_arp(
                mac,
                Mac::BROADCAST,
                1,
                (mac, Ipv4Addr::new(10, 0, 0, 250)),
                (Mac::ZERO, Ipv4Addr::new(10, 0, 0, 251)),
            )
        };
        rig.hear(0, &hello(CLIENT));
        for n in 1..=3 {
            rig.hear(n, &hello(server_mac(n as u8)));
        }
        rig.settle();
        rig
    }

    /// A TCP service 10.0.0.100:80 with this many servers, 10.0.0.11:8080 and so on, behind ports 1, 2, ...
    pub fn web(servers: u8) -> Rig {
        Rig::new().serving_web(servers)
    }

    pub fn serving_web(self, servers: u8) -> Rig {
        let mut rig = self;
        rig.service("10.0.0.100:80", |_| {});
        for n in 1..=servers {
            rig.bind("10.0.0.100:80", &format!("10.0.0.{}:8080", 10 + n), n, |_| {});
        }
        rig.settle();
        rig
    }

    /// A UDP service 10.0.0.100:53 with one server.
    pub fn dns() -> Rig {
        let mut rig = Rig::new();
        rig.service("10.0.0.100:53/udp", |_| {});
        rig.bind("10.0.0.100:53/udp", "10.0.0.11:5353", 1, |_| {});
        rig.settle();
        rig
    }

    /// Forgets what was sent and counted so far.
    pub fn settle(&mut self) {
        self.sent.clear();
        self.notices.clear();
        self.before = self.plane.counters().iter().collect();
    }

    pub fn service(&mut self, key: &str, set: impl FnOnce(&mut Service)) {
        let key: ServiceKey = key.parse().unwrap();
        let mut service = match self.table.service(&key) {
            Some(service) => (**service).clone(),
            None => Service { groups: Default::default(), ..Service::new(ServiceId(self.next_id), key) },
        };
        self.next_id += 1;
        set(&mut service);
        let mut draft = self.table.edit();
        draft.put_service(service).unwrap();
        self.publish(draft.finish());
    }

    /// Binds a server behind a port, or changes the binding.
    pub fn bind(&mut self, key: &str, real: &str, port: u8, set: impl FnOnce(&mut Binding)) {
        let key: ServiceKey = key.parse().unwrap();
        let real: SocketAddr = real.parse().unwrap();
        let known = self.table.binding(&BindingKey { service: key, real }).map(|binding| (**binding).clone());
        let mut binding = known.unwrap_or_else(|| Binding {
            id: BindingId(u64::from(port)),
            real,
            will: Will {
                admin: AdminState::Up,
                group: default_group(),
                weight: 1,
                max_conns: None,
                owner: operator(),
                identity: None,
                lease: None,
                health: Arc::default(),
            },
            observed: Observed { health: Health::Passing, mac: Some(server_mac(port)), lapsed: false, tcp: None },
        });
        set(&mut binding);
        let mut draft = self.table.edit();
        draft.put_binding(&key, binding).unwrap();
        self.publish(draft.finish());
    }

    pub fn drain(&mut self, key: &str, real: &str, port: u8) {
        let since = self.now;
        self.bind(key, real, port, |binding| binding.will.admin = AdminState::Draining { since, deadline: None });
    }

    pub fn unbind(&mut self, key: &str, real: &str) {
        let key = BindingKey { service: key.parse().unwrap(), real: real.parse().unwrap() };
        let mut draft = self.table.edit();
        draft.remove_binding(&key).unwrap();
        self.publish(draft.finish());
    }

    fn publish(&mut self, table: ServiceTable) {
        self.table = table.clone();
        let mut out = self.out.take().unwrap_or_default();
        self.prepared = self.prepared.after(Arc::new(table));
        self.twin.plane.take_table(&self.prepared, self.now, &mut self.twin.out);
        self.plane.take_table(&self.prepared, self.now, &mut out);
        self.collect(out);
    }

    fn collect(&mut self, mut out: Out) {
        self.twin.assert_same(&self.plane, &out);
        for frame in out.frames.frames().iter().filter(|frame| frame.egress != Egress::None) {
            self.sent.push(Sent { egress: frame.egress, bytes: frame.bytes().to_vec(), offload: frame.offload });
        }
        self.notices.append(&mut out.notices);
        out.frames.clear();
        self.out = Some(out);
    }

    pub fn poll(&mut self) {
        for _ in 0..10_000 {
            let mut out = self.out.take().unwrap_or_default();
            self.twin.plane.poll(self.now, &mut self.twin.out);
            self.plane.poll(self.now, &mut out);
            self.collect(out);
            if self.plane.next_deadline().is_none_or(|at| at > self.now) {
                return;
            }
        }
        panic!("the plane never rests");
    }

    /// Lets time pass in steps of 50 ms.
    pub fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            self.now = (self.now + Duration::from_millis(50)).min(end);
            self.poll();
        }
    }

    pub fn hear(&mut self, port: u16, frame: &[u8]) -> Verdict {
        self.hear_with(port, frame, Offload::NONE)
    }

    pub fn hear_with(&mut self, port: u16, bytes: &[u8], offload: Offload) -> Verdict {
        let mut frame = FrameBuf::with_capacity((bytes.len() + 16).max(64));
        assert!(frame.fill(bytes));
        frame.offload = offload;
        frame.ingress = PortId(port);
        let mut out = self.out.take().unwrap_or_default();
        let (twins, same) = self.twin.hear(&frame, self.now);
        let verdict = self.plane.process(&mut frame, self.now, &mut out);
        let what = |frame: &FrameBuf| (frame.bytes().to_vec(), frame.egress, frame.offload);
        assert_eq!((what(&twins), same), (what(&frame), verdict), "the short way and the long one");
        if frame.egress != Egress::None {
            self.sent.push(Sent { egress: frame.egress, bytes: frame.bytes().to_vec(), offload: frame.offload });
        }
        self.collect(out);
        verdict
    }

    /// The client's segment, to the switch.
    pub fn client(&mut self, segment: Tcp<'_>) -> Verdict {
        self.hear(0, &build_tcp(CLIENT, SWITCH, segment))
    }

    /// A server's segment, to the client's station.
    pub fn server(&mut self, n: u8, segment: Tcp<'_>) -> Verdict {
        self.hear(u16::from(n), &build_tcp(server_mac(n), CLIENT, segment))
    }

    /// An established connection through server 1 of a web rig; the client's next byte is 101, the server's 501.
    pub fn established(&mut self, client: &str) {
        self.client(tcp(client, "10.0.0.100:80", "S", 100, 0, 0));
        self.server(1, tcp("10.0.0.11:8080", client, "SA", 500, 101, 0));
        self.client(tcp(client, "10.0.0.100:80", "A", 101, 501, 0));
        self.settle();
    }

    /// Exactly one frame was sent, this way; returns it.
    pub fn one(&mut self, egress: Egress) -> Vec<u8> {
        assert_eq!(self.sent.len(), 1, "{:?}", self.sent);
        let sent = self.sent.remove(0);
        assert_eq!(sent.egress, egress);
        sent.bytes
    }

    /// Exactly one TCP segment was sent, with these ends, numbers, stations and right checksums.
    pub fn one_tcp(&mut self, port: u16, segment: Tcp<'_>, src: Mac, dst: Mac) {
        let frame = self.one(Egress::Port(PortId(port)));
        check_tcp(&frame, segment, src, dst);
    }

    /// Exactly these counters moved, by one each time they are named; all others stood still.
    pub fn moved(&mut self, names: &[&str]) {
        let mut expected: BTreeMap<&str, u64> = BTreeMap::new();
        for name in names {
            assert!(self.before.contains_key(name), "no counter {name}");
            *expected.entry(name).or_default() += 1;
        }
        let moved: BTreeMap<&str, u64> = self
            .plane
            .counters()
            .iter()
            .filter_map(|(name, count)| {
                Some((name, count - self.before.get(name).copied().unwrap_or(0))).filter(|(_, by)| *by > 0)
            })
            .collect();
        assert_eq!(moved, expected);
        self.before = self.plane.counters().iter().collect();
    }

    pub fn nothing_sent(&self) {
        assert!(self.sent.is_empty(), "{:?}", self.sent);
    }

    pub fn live(&self, n: u64) -> u64 {
        self.plane.binding_counts().find(|(id, _)| *id == BindingId(n)).map_or(0, |(_, (live, _))| live)
    }
}

pub fn check_tcp(frame: &[u8], segment: Tcp<'_>, src: Mac, dst: Mac) {
    assert_eq!((&frame[..6], &frame[6..12]), (&dst.0[..], &src.0[..]), "stations");
    let packet = SlicedPacket::from_ethernet(frame).unwrap();
    let Some(NetSlice::Ipv4(ip)) = &packet.net else { panic!("IPv4") };
    let Some(TransportSlice::Tcp(tcp)) = &packet.transport else { panic!("TCP") };
    let from = SocketAddrV4::new(ip.header().source_addr(), tcp.source_port());
    let to = SocketAddrV4::new(ip.header().destination_addr(), tcp.destination_port());
    assert_eq!((from, to), (at(segment.from), at(segment.to)), "ends");
    let mut flags = String::new();
    for (set, name) in [(tcp.syn(), 'S'), (tcp.fin(), 'F'), (tcp.rst(), 'R'), (tcp.psh(), 'P'), (tcp.ack(), 'A')] {
        if set {
            flags.push(name);
        }
    }
    let sorted = |text: &str| text.chars().collect::<std::collections::BTreeSet<_>>();
    assert_eq!(sorted(&flags), sorted(segment.flags), "flags");
    assert_eq!(tcp.sequence_number(), segment.seq, "seq");
    if segment.flags.contains('A') {
        assert_eq!(tcp.acknowledgment_number(), segment.ack, "ack");
    }
    assert_eq!(tcp.payload().len(), segment.len, "payload");
    let header = ip.header().to_header();
    assert_eq!(ip.header().header_checksum(), header.calc_header_checksum(), "IP checksum");
    let sum = tcp.calc_checksum_ipv4(ip.header().source(), ip.header().destination()).unwrap();
    assert_eq!(tcp.checksum(), sum, "TCP checksum");
}

/// An unfinished checksum, as the kernel hands it over: the field holds the pseudo-header's sum.
pub fn make_partial(frame: &mut [u8], protocol: Protocol) -> Offload {
    let offset = match protocol {
        Protocol::Tcp => 16,
        Protocol::Udp => 6,
    };
    let sum = pseudo_sum(frame, protocol);
    frame[34 + offset..36 + offset].copy_from_slice(&sum.to_be_bytes());
    Offload { checksum: Checksum::Partial { start: 34, offset: offset as u16 }, gso: Gso::None }
}

pub fn pseudo_sum(frame: &[u8], protocol: Protocol) -> u16 {
    let mut sum = 0u32;
    for word in frame[26..34].chunks(2) {
        sum += u32::from(u16::from_be_bytes([word[0], word[1]]));
    }
    let total = u32::from(u16::from_be_bytes([frame[16], frame[17]]));
    sum += u32::from(protocol.number()) + total - 20;
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    sum as u16
}
