//! UDP services.

use std::time::Duration;

use acm_switch::acm::words::*;
use acm_switch::base::addr::Protocol;
use acm_switch::base::fraction::Fraction;
use acm_switch::base::id::BindingId;
use acm_switch::base::id::PortId;
use acm_switch::plane::Notice;
use acm_switch::wire::frame::Egress;
use etherparse::{NetSlice, SlicedPacket, TransportSlice};

use crate::Row;
use crate::rig::*;

const C: &str = "10.0.0.1:40000";
const V: &str = "10.0.0.100:53";
const KEY: &str = "10.0.0.100:53/udp";
const R: &str = "10.0.0.11:5353";

fn ask(rig: &mut Rig, from: &str) {
    rig.hear(0, &build_udp(CLIENT, SWITCH, from, V, b"question"));
}

fn check_udp(frame: &[u8], from: &str, to: &str) {
    let packet = SlicedPacket::from_ethernet(frame).unwrap();
    let (Some(NetSlice::Ipv4(ip)), Some(TransportSlice::Udp(udp))) = (&packet.net, &packet.transport) else {
        panic!("UDP over IPv4")
    };
    assert_eq!((ip.header().source_addr(), udp.source_port()), (*at(from).ip(), at(from).port()));
    assert_eq!((ip.header().destination_addr(), udp.destination_port()), (*at(to).ip(), at(to).port()));
    let header = udp.to_header();
    let sum = header.calc_checksum_ipv4_raw(ip.header().source(), ip.header().destination(), udp.payload()).unwrap();
    assert!(udp.checksum() == sum || udp.checksum() == 0, "UDP checksum");
}

pub const ROWS: &[Row] = &[
    ("a datagram and its answer", || {
        let mut rig = Rig::dns();
        ask(&mut rig, C);
        check_udp(&rig.one(Egress::Port(PortId(1))), C, R);
        rig.moved(&["verdict.forwarded", "flow.inserted"]);
        rig.hear(1, &build_udp(server_mac(1), CLIENT, R, C, b"answer"));
        check_udp(&rig.one(Egress::Port(PortId(0))), V, C);
        rig.moved(&["verdict.forwarded"]);
    }),
    ("no checksum stays no checksum", || {
        let mut rig = Rig::dns();
        let mut frame = build_udp(CLIENT, SWITCH, C, V, b"question");
        frame[40..42].fill(0);
        rig.hear(0, &frame);
        assert_eq!(rig.one(Egress::Port(PortId(1)))[40..42], [0, 0]);
    }),
    ("an unfinished checksum stays unfinished", || {
        let mut rig = Rig::dns();
        let mut frame = build_udp(CLIENT, SWITCH, C, V, b"question");
        let offload = make_partial(&mut frame, Protocol::Udp);
        rig.hear_with(0, &frame, offload);
        let sent = rig.sent.remove(0);
        assert_eq!(sent.bytes[40..42], pseudo_sum(&sent.bytes, Protocol::Udp).to_be_bytes());
        assert_eq!(sent.offload, offload);
    }),
    ("a flow keeps its real", || {
        let mut rig = Rig::dns();
        rig.bind(KEY, "10.0.0.12:5353", 2, |_| {});
        for _ in 0..5 {
            ask(&mut rig, C);
        }
        assert_eq!(rig.live(1) + rig.live(2), 1);
    }),
    ("a flow leaves a real that has failed, with the client's next datagram", || {
        let mut rig = Rig::dns();
        ask(&mut rig, C);
        rig.bind(KEY, "10.0.0.12:5353", 2, |_| {});
        ask(&mut rig, C);
        assert_eq!((rig.live(1), rig.live(2)), (1, 0));
        rig.bind(KEY, R, 1, |binding| binding.observed.health = Health::Failing("down".into()));
        rig.settle();
        // It may answer what it was asked before.
        rig.hear(1, &build_udp(server_mac(1), CLIENT, R, C, b"answer"));
        rig.moved(&["verdict.forwarded"]);
        ask(&mut rig, C);
        rig.moved(&["verdict.forwarded", "flow.moved", "flow.inserted"]);
        assert_eq!((rig.live(1), rig.live(2)), (0, 1));
    }),
    ("a silent flow is forgotten after 5 minutes", || {
        let mut rig = Rig::dns();
        ask(&mut rig, C);
        rig.pass(Duration::from_secs(299));
        assert_eq!(rig.live(1), 1);
        rig.pass(Duration::from_secs(5));
        assert_eq!(rig.live(1), 0);
    }),
    ("no service, no real, in silence", || {
        let mut rig = Rig::new();
        rig.service(KEY, |_| {});
        rig.settle();
        ask(&mut rig, C);
        rig.moved(&["verdict.dropped", "drop.no_real"]);
        rig.hear(0, &build_udp(CLIENT, SWITCH, C, "10.0.0.100:54", b"x"));
        rig.moved(&["verdict.dropped", "drop.no_service"]);
        rig.nothing_sent();
    }),
    ("port unreachable, if so wished", || {
        let mut rig = Rig::new();
        rig.service(KEY, |service| service.when_none = Refusal::Reset);
        rig.settle();
        ask(&mut rig, C);
        let frame = rig.one(Egress::Port(PortId(0)));
        assert_eq!(frame[34..36], [3, 3], "ICMP destination unreachable, port unreachable");
        assert_eq!(frame[54..58], [10, 0, 0, 1], "quotes the datagram");
        rig.moved(&["verdict.dropped", "drop.no_real", "reset.sent"]);
    }),
    ("Drop in shed mode decides by flow", || {
        let mut rig = Rig::dns();
        rig.service(KEY, |service| {
            let fraction = Fraction::new(0.5).unwrap();
            let policy = DropPolicy {
                from: None,
                fraction,
                mode: DropMode::Shed,
                refusal: Refusal::Silent,
                until: None,
                salt: 3,
            };
            service.drops.push_back(policy);
        });
        for port in 1000..1100 {
            let from = format!("10.0.0.1:{port}");
            rig.settle();
            ask(&mut rig, &from);
            let first = rig.sent.len();
            ask(&mut rig, &from);
            assert_eq!(rig.sent.len(), first * 2, "the second datagram meets the verdict of the first");
        }
    }),
    ("after Remove a flow keeps its real until it is idle for 30 s", || {
        let mut rig = Rig::dns();
        ask(&mut rig, C);
        rig.drain(KEY, R, 1);
        rig.settle();
        ask(&mut rig, C);
        rig.moved(&["verdict.forwarded"]);
        ask(&mut rig, "10.0.0.1:9");
        rig.moved(&["verdict.dropped", "drop.no_real"]);
        rig.pass(Duration::from_secs(33));
        assert_eq!(rig.notices, [Notice::Drained { binding: BindingId(1) }]);
    }),
    ("after Remove a busy flow keeps its real for 60 s at most", || {
        let mut rig = Rig::dns();
        ask(&mut rig, C);
        rig.drain(KEY, R, 1);
        for _ in 0..11 {
            rig.pass(Duration::from_secs(5));
            ask(&mut rig, C);
            assert_eq!(rig.live(1), 1);
        }
        rig.pass(Duration::from_secs(8));
        assert_eq!(rig.live(1), 0);
        assert!(rig.notices.contains(&Notice::Drained { binding: BindingId(1) }));
    }),
    ("Force Remove deletes a flow in silence and counts it", || {
        let mut rig = Rig::dns();
        ask(&mut rig, C);
        rig.settle();
        rig.unbind(KEY, R);
        rig.poll();
        rig.nothing_sent();
        assert_eq!(rig.notices, [Notice::Cut { binding: BindingId(1), cut: 1 }]);
        rig.moved(&["flow.cut"]);
    }),
];
