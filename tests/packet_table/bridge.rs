//! Bridging, ARP, echo.

use std::net::Ipv4Addr;
use std::time::Duration;

use acm_switch::base::addr::Mac;
use acm_switch::base::id::PortId;
use acm_switch::plane::{Out, Verdict};
use acm_switch::wire::frame::{Egress, Offload};

use crate::Row;
use crate::rig::*;

fn to(port: u16) -> Egress {
    Egress::Port(PortId(port))
}

const STRANGER: Mac = Mac([2, 7, 7, 7, 7, 7]);
const IP: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);

pub const ROWS: &[Row] = &[
    ("a known station is reached by its port alone", || {
        let mut rig = Rig::new();
        let frame = build_udp(CLIENT, server_mac(2), "10.0.0.1:1", "10.0.0.12:2", b"x");
        assert_eq!(rig.hear(0, &frame), Verdict::Bridged);
        assert_eq!(rig.one(to(2)), frame);
        rig.moved(&["verdict.bridged"]);
    }),
    ("an unknown station is looked for everywhere else", || {
        let mut rig = Rig::new();
        let frame = build_udp(CLIENT, STRANGER, "10.0.0.1:1", "10.0.0.50:2", b"x");
        rig.hear(0, &frame);
        assert_eq!(rig.one(Egress::AllBut(PortId(0))), frame);
        rig.moved(&["verdict.bridged"]);
    }),
    ("broadcast goes everywhere else", || {
        let mut rig = Rig::new();
        rig.hear(1, &build_udp(server_mac(1), Mac::BROADCAST, "10.0.0.11:1", "10.0.0.255:2", b"x"));
        rig.one(Egress::AllBut(PortId(1)));
        rig.moved(&["verdict.bridged"]);
    }),
    ("a frame is never sent back where it came from", || {
        let mut rig = Rig::new();
        rig.hear(0, &build_udp(STRANGER, CLIENT, "10.0.0.9:1", "10.0.0.1:2", b"x"));
        rig.nothing_sent();
        rig.moved(&["verdict.dropped", "drop.same_port", "bridge.learnt"]);
    }),
    ("a station that moved is found at its new port", || {
        let mut rig = Rig::new();
        rig.hear(3, &build_udp(CLIENT, server_mac(2), "10.0.0.1:1", "10.0.0.12:2", b"x"));
        rig.settle();
        rig.hear(2, &build_udp(server_mac(2), CLIENT, "10.0.0.12:2", "10.0.0.1:1", b"x"));
        rig.one(to(3));
        rig.moved(&["verdict.bridged"]);
    }),
    ("a silent station is forgotten after 300 s", || {
        let mut rig = Rig::new();
        rig.now = rig.now + Duration::from_secs(301);
        rig.hear(0, &build_udp(CLIENT, server_mac(2), "10.0.0.1:1", "10.0.0.12:2", b"x"));
        rig.one(Egress::AllBut(PortId(0)));
        rig.moved(&["verdict.bridged"]);
    }),
    ("a frame with our own MAC as source is dropped", || {
        let mut rig = Rig::new();
        rig.hear(0, &build_udp(SWITCH, server_mac(1), "10.0.0.1:1", "10.0.0.11:2", b"x"));
        rig.nothing_sent();
        rig.moved(&["verdict.dropped", "drop.own_mac_source"]);
    }),
    ("a multicast source is not a station", || {
        let mut rig = Rig::new();
        rig.hear(0, &build_udp(Mac([3, 0, 0, 0, 0, 1]), CLIENT, "10.0.0.1:1", "10.0.0.11:2", b"x"));
        rig.moved(&["verdict.dropped", "drop.source_mac"]);
    }),
    ("frames we do not understand are bridged as they are", || {
        let mut rig = Rig::new();
        let mut frame = server_mac(1).0.to_vec();
        frame.extend(CLIENT.0);
        frame.extend([0x81, 0x00, 0, 5, 8, 0, 1, 2, 3]);
        rig.hear(0, &frame);
        assert_eq!(rig.one(to(1)), frame);
        rig.moved(&["verdict.bridged"]);
    }),
    ("IPv6 is bridged", || {
        let mut rig = Rig::web(1);
        let mut frame = Vec::new();
        etherparse::PacketBuilder::ethernet2(CLIENT.0, server_mac(1).0)
            .ipv6([0x20; 16], [0x21; 16], 64)
            .tcp(1, 2, 3, 4)
            .write(&mut frame, b"six")
            .unwrap();
        rig.hear(0, &frame);
        assert_eq!(rig.one(to(1)), frame);
        rig.moved(&["verdict.bridged"]);
    }),
    ("a fragment between strangers is bridged", || {
        let mut rig = Rig::web(1);
        let mut frame = build_udp(CLIENT, server_mac(1), "10.0.0.1:1", "10.0.0.11:2", &[0; 64]);
        frame[20] = 0x20;
        rig.hear(0, &frame);
        rig.one(to(1));
        rig.moved(&["verdict.bridged"]);
    }),
    ("ARP for a virtual address is answered with our MAC, and not passed on", || {
        let mut rig = Rig::web(1);
        assert_eq!(
            rig.hear(0, &build_arp(CLIENT, Mac::BROADCAST, 1, (CLIENT, IP), (Mac::ZERO, VIP))),
            Verdict::Answered
        );
        let reply = rig.one(to(0));
        assert_eq!(reply[..42], build_arp(SWITCH, CLIENT, 2, (SWITCH, VIP), (CLIENT, IP))[..42]);
        rig.moved(&["verdict.answered", "arp.answered"]);
    }),
    ("ARP for our own address is answered on every port", || {
        let mut rig = Rig::new();
        for port in 1..=3u8 {
            let mac = server_mac(port);
            rig.hear(
                port.into(),
                &build_arp(mac, Mac::BROADCAST, 1, (mac, Ipv4Addr::new(10, 0, 0, 11)), (Mac::ZERO, OWN)),
            );
            rig.one(to(port.into()));
            rig.moved(&["verdict.answered", "arp.answered"]);
        }
    }),
    ("ARP between others is bridged", || {
        let mut rig = Rig::web(1);
        rig.hear(0, &build_arp(CLIENT, Mac::BROADCAST, 1, (CLIENT, IP), (Mac::ZERO, Ipv4Addr::new(10, 0, 0, 11))));
        rig.one(Egress::AllBut(PortId(0)));
        rig.moved(&["verdict.bridged"]);
    }),
    ("an ARP reply to our own address goes to the health checks", || {
        let mut rig = Rig::web(1);
        let reply = build_arp(server_mac(1), SWITCH, 2, (server_mac(1), Ipv4Addr::new(10, 0, 0, 11)), (SWITCH, OWN));
        assert_eq!(rig.hear(1, &reply), Verdict::Delivered);
        rig.nothing_sent();
        rig.moved(&["verdict.delivered"]);
        let answer = build_tcp(server_mac(1), SWITCH, tcp("10.0.0.11:8080", "10.0.0.2:40000", "SA", 1, 1, 0));
        assert_eq!(rig.hear(1, &answer), Verdict::Delivered);
    }),
    ("nobody but a real has anything to tell the health checks", || {
        let mut rig = Rig::web(1);
        let stranger = Ipv4Addr::new(10, 0, 0, 66);
        for frame in [
            build_arp(CLIENT, SWITCH, 2, (CLIENT, stranger), (SWITCH, OWN)),
            build_tcp(CLIENT, SWITCH, tcp("10.0.0.66:1", "10.0.0.2:22", "S", 1, 0, 0)),
            build_udp(CLIENT, SWITCH, "10.0.0.66:1", "10.0.0.2:161", b"public"),
        ] {
            rig.hear(0, &frame);
            rig.nothing_sent();
            rig.moved(&["verdict.dropped", "drop.unasked"]);
        }
    }),
    ("a claim to a virtual address by another station is dropped", || {
        let mut rig = Rig::web(1);
        for op in [1, 2] {
            rig.hear(2, &build_arp(server_mac(2), Mac::BROADCAST, op, (server_mac(2), VIP), (Mac::ZERO, VIP)));
            rig.nothing_sent();
            rig.moved(&["verdict.dropped", "drop.arp_spoof"]);
        }
    }),
    ("a claim to our own address is dropped too", || {
        let mut rig = Rig::new();
        rig.hear(2, &build_arp(server_mac(2), CLIENT, 2, (server_mac(2), OWN), (CLIENT, IP)));
        rig.moved(&["verdict.dropped", "drop.arp_spoof"]);
    }),
    ("a new virtual address is announced twice, a second apart, on every port", || {
        let mut rig = Rig::new();
        rig.service("10.0.0.100:80", |_| {});
        let gratuitous = build_arp(SWITCH, Mac::BROADCAST, 1, (SWITCH, VIP), (Mac::ZERO, VIP));
        assert_eq!(rig.one(Egress::All)[..42], gratuitous[..42]);
        rig.moved(&["arp.announced"]);
        rig.pass(Duration::from_millis(900));
        rig.nothing_sent();
        rig.pass(Duration::from_millis(200));
        rig.one(Egress::All);
        rig.moved(&["arp.announced"]);
        rig.pass(Duration::from_secs(5));
        rig.nothing_sent();
    }),
    ("a second port on the same address is not announced again", || {
        let mut rig = Rig::web(1);
        rig.pass(Duration::from_secs(2));
        rig.settle();
        rig.service("10.0.0.100:443", |_| {});
        rig.nothing_sent();
        rig.moved(&[]);
    }),
    ("echo to a virtual address is answered", || {
        let mut rig = Rig::web(1);
        let request = build_echo(CLIENT, SWITCH, IP, VIP);
        rig.hear(0, &request);
        let mut expected = Vec::new();
        etherparse::PacketBuilder::ethernet2(SWITCH.0, CLIENT.0)
            .ipv4(VIP.octets(), IP.octets(), 64)
            .icmpv4_echo_reply(7, 9)
            .write(&mut expected, b"are you there?")
            .unwrap();
        assert_eq!(rig.one(to(0)), expected);
        rig.moved(&["verdict.answered", "echo.answered"]);
    }),
    ("echo to our own address is answered", || {
        let mut rig = Rig::new();
        rig.hear(0, &build_echo(CLIENT, SWITCH, IP, OWN));
        rig.one(to(0));
        rig.moved(&["verdict.answered", "echo.answered"]);
    }),
    ("echo with a wrong checksum is not answered", || {
        let mut rig = Rig::web(1);
        let mut request = build_echo(CLIENT, SWITCH, IP, VIP);
        request[36] ^= 1;
        rig.hear(0, &request);
        rig.nothing_sent();
        rig.moved(&["verdict.dropped", "drop.l4_checksum"]);
    }),
    ("echo to a server passes by", || {
        let mut rig = Rig::web(1);
        rig.hear(0, &build_echo(CLIENT, server_mac(1), IP, Ipv4Addr::new(10, 0, 0, 11)));
        rig.one(to(1));
        rig.moved(&["verdict.bridged"]);
    }),
    ("a frame of our own goes where its station is, else everywhere", || {
        let mut rig = Rig::new();
        for (mac, egress) in [(server_mac(3), to(3)), (STRANGER, Egress::All)] {
            let frame = build_echo(SWITCH, mac, OWN, Ipv4Addr::new(10, 0, 0, 13));
            let mut out = Out::new();
            rig.plane.originate(&frame, rig.now, &mut out);
            assert_eq!((out.frames.frames()[0].bytes(), out.frames.frames()[0].egress), (&frame[..], egress));
            assert_eq!(out.frames.frames()[0].offload, Offload::NONE);
            rig.moved(&["originated"]);
        }
    }),
];
