//! ICMP errors about packets of flows: who hears of them, about which packet, and who does not.

use std::net::Ipv4Addr;
use std::time::Duration;

use acm_switch::base::addr::Mac;
use acm_switch::base::id::PortId;
use acm_switch::plane::Verdict;
use acm_switch::wire::frame::Egress;
use etherparse::{IpNumber, Ipv4Header, PacketBuilder, SlicedPacket};

use crate::Row;
use crate::rig::*;

const C: &str = "10.0.0.1:40000";
const V: &str = "10.0.0.100:80";
const R: &str = "10.0.0.11:8080";
pub const CLIENT_IP: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
pub const REAL_IP: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 11);
pub const ROUTER_IP: Ipv4Addr = Ipv4Addr::new(10, 9, 9, 9);
pub const ROUTER: Mac = Mac([2, 5, 5, 5, 5, 5]);

/// Fragmentation needed, next hop's MTU 1280.
pub const TOO_BIG: [u8; 8] = [3, 4, 0, 0, 0, 0, 5, 0];
pub const PORT_UNREACHABLE: [u8; 8] = [3, 3, 0, 0, 0, 0, 0, 0];

fn sum(bytes: &[u8]) -> u16 {
    let mut sum: u32 = bytes.chunks(2).map(|w| u32::from(u16::from_be_bytes([w[0], *w.get(1).unwrap_or(&0)]))).sum();
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    !(sum as u16)
}

/// An error from one address to another about a packet: the IP packet of `about`, cut to so many bytes.
pub fn error(
    stations: (Mac, Mac),
    ends: (Ipv4Addr, Ipv4Addr),
    header: [u8; 8],
    about: &[u8],
    quoted: usize,
) -> Vec<u8> {
    let mut message = header.to_vec();
    message.extend(&about[14..about.len().min(14 + quoted)]);
    let checksum = sum(&message);
    message[2..4].copy_from_slice(&checksum.to_be_bytes());
    let mut frame = Vec::new();
    PacketBuilder::ethernet2(stations.0.0, stations.1.0)
        .ip(etherparse::IpHeaders::Ipv4(
            Ipv4Header::new(0, 64, IpNumber::ICMP, ends.0.octets(), ends.1.octets()).unwrap(),
            Default::default(),
        ))
        .write(&mut frame, IpNumber::ICMP, &message)
        .unwrap();
    frame
}

/// The error that left has these ends, quotes `about` as its sender knows it, and right checksums.
pub fn check(
    frame: &[u8],
    stations: (Mac, Mac),
    ends: (Ipv4Addr, Ipv4Addr),
    header: [u8; 8],
    about: &[u8],
    quoted: usize,
) {
    let expected = error(stations, ends, header, about, quoted);
    // The outer header's checksum depends on nothing that is not compared here.
    assert_eq!(frame, expected);
    SlicedPacket::from_ethernet(frame).unwrap();
    assert_eq!(sum(&frame[14..34]), 0, "IP checksum");
}

/// A connection with 1,460 bytes under way each way: the client's from 101, the server's from 501.
fn busy() -> Rig {
    let mut rig = Rig::web(1);
    rig.established(C);
    rig.client(tcp(C, V, "PA", 101, 501, 1460));
    rig.server(1, tcp(R, C, "PA", 501, 101, 1460));
    rig.settle();
    rig
}

/// The server's segment, as the client's side sees it and as the server knows it.
fn from_virtual() -> Vec<u8> {
    build_tcp(SWITCH, CLIENT, tcp(V, C, "PA", 501, 101, 1460))
}
fn from_real() -> Vec<u8> {
    build_tcp(server_mac(1), CLIENT, tcp(R, C, "PA", 501, 101, 1460))
}
/// The client's segment, as the server's side sees it and as the client knows it.
fn to_real() -> Vec<u8> {
    build_tcp(CLIENT, server_mac(1), tcp(C, R, "PA", 101, 501, 1460))
}
fn to_virtual() -> Vec<u8> {
    build_tcp(CLIENT, SWITCH, tcp(C, V, "PA", 101, 501, 1460))
}

pub const ROWS: &[Row] = &[
    ("a router towards the client says too big: the real hears of its own packet", || {
        // All that RFC 792 promises, a part of the TCP header's rest, and all of the headers.
        for quoted in [28, 34, 36, 40, 548] {
            let mut rig = busy();
            let frame = error((ROUTER, SWITCH), (ROUTER_IP, VIP), TOO_BIG, &from_virtual(), quoted);
            assert_eq!(rig.hear(0, &frame), Verdict::Forwarded);
            let sent = rig.one(Egress::Port(PortId(1)));
            check(&sent, (ROUTER, server_mac(1)), (ROUTER_IP, REAL_IP), TOO_BIG, &from_real(), quoted);
            rig.moved(&["verdict.forwarded", "icmp.translated", "bridge.learnt"]);
        }
    }),
    ("a router towards the server says too big: the client hears of its own packet", || {
        for quoted in [28, 548] {
            let mut rig = busy();
            let frame = error((ROUTER, CLIENT), (ROUTER_IP, CLIENT_IP), TOO_BIG, &to_real(), quoted);
            assert_eq!(rig.hear(1, &frame), Verdict::Forwarded);
            let sent = rig.one(Egress::Port(PortId(0)));
            check(&sent, (ROUTER, CLIENT), (ROUTER_IP, CLIENT_IP), TOO_BIG, &to_virtual(), quoted);
        }
    }),
    ("what the real says comes from the virtual address", || {
        let mut rig = Rig::dns();
        let ask = build_udp(CLIENT, SWITCH, C, "10.0.0.100:53", b"question");
        rig.hear(0, &ask);
        let asked = rig.one(Egress::Port(PortId(1)));
        rig.settle();
        let frame = error((server_mac(1), CLIENT), (REAL_IP, CLIENT_IP), PORT_UNREACHABLE, &asked, 548);
        rig.hear(1, &frame);
        let sent = rig.one(Egress::Port(PortId(0)));
        check(&sent, (SWITCH, CLIENT), (VIP, CLIENT_IP), PORT_UNREACHABLE, &ask, 548);
        rig.moved(&["verdict.forwarded", "icmp.translated"]);
    }),
    ("a SYN that cannot be delivered", || {
        let mut rig = Rig::web(1);
        let syn = build_tcp(CLIENT, SWITCH, tcp(C, V, "S", 100, 0, 0));
        rig.hear(0, &syn);
        let sent = rig.one(Egress::Port(PortId(1)));
        rig.settle();
        let host_unreachable = [3, 1, 0, 0, 0, 0, 0, 0];
        rig.hear(1, &error((server_mac(1), CLIENT), (REAL_IP, CLIENT_IP), host_unreachable, &sent, 28));
        let sent = rig.one(Egress::Port(PortId(0)));
        check(&sent, (SWITCH, CLIENT), (VIP, CLIENT_IP), host_unreachable, &syn, 28);
        assert_eq!(rig.live(1), 1, "what it means is for the client to decide");
    }),
    ("an error about a packet that is not under way is forged or late", || {
        let mut rig = busy();
        for seq in [500, 1961, 1 << 30] {
            let about = build_tcp(SWITCH, CLIENT, tcp(V, C, "PA", seq, 101, 100));
            rig.hear(0, &error((CLIENT, SWITCH), (ROUTER_IP, VIP), TOO_BIG, &about, 548));
            rig.nothing_sent();
            rig.moved(&["verdict.dropped", "drop.icmp_error"]);
            let about = build_tcp(CLIENT, server_mac(1), tcp(C, R, "PA", seq - 400, 101, 100));
            rig.hear(1, &error((server_mac(1), CLIENT), (ROUTER_IP, CLIENT_IP), TOO_BIG, &about, 548));
            rig.nothing_sent();
            rig.moved(&["verdict.dropped", "drop.icmp_error"]);
        }
    }),
    ("ten thousand forged errors end nothing and age nothing", || {
        let mut rig = busy();
        for n in 0..10_000u32 {
            let about = build_tcp(SWITCH, CLIENT, tcp(V, C, "PA", 501 + n % 1460, 101, 100));
            let kind = [PORT_UNREACHABLE, TOO_BIG, [11, 0, 0, 0, 0, 0, 0, 0]][n as usize % 3];
            rig.hear(0, &error((CLIENT, SWITCH), (ROUTER_IP, VIP), kind, &about, 28));
            rig.sent.clear();
        }
        rig.pass(Duration::from_secs(29 * 60));
        assert_eq!(rig.live(1), 1);
    }),
    ("an error for a virtual address about no flow, or about nothing", || {
        let mut rig = busy();
        let stranger = build_tcp(SWITCH, CLIENT, tcp(V, "10.0.0.1:40001", "PA", 501, 101, 100));
        let not_ours = build_tcp(SWITCH, CLIENT, tcp("10.0.0.77:80", C, "PA", 501, 101, 100));
        let echo = build_echo(SWITCH, CLIENT, VIP, CLIENT_IP);
        for (about, quoted) in
            [(stranger, 548), (not_ours, 548), (echo, 548), (from_virtual(), 27), (from_virtual(), 0)]
        {
            rig.hear(0, &error((CLIENT, SWITCH), (ROUTER_IP, VIP), TOO_BIG, &about, quoted));
            rig.nothing_sent();
            rig.moved(&["verdict.dropped", "drop.icmp_error"]);
        }
    }),
    ("redirects and source quenches are not passed on", || {
        let mut rig = busy();
        for kind in [4, 5] {
            let frame = error((CLIENT, SWITCH), (ROUTER_IP, VIP), [kind, 1, 0, 0, 10, 0, 0, 66], &from_virtual(), 548);
            rig.hear(0, &frame);
            rig.nothing_sent();
            rig.moved(&["verdict.dropped", "drop.icmp_error"]);
        }
    }),
    ("an error with a wrong checksum is not passed on", || {
        let mut rig = busy();
        let mut frame = error((CLIENT, SWITCH), (ROUTER_IP, VIP), TOO_BIG, &from_virtual(), 548);
        frame[36] ^= 1;
        rig.hear(0, &frame);
        rig.moved(&["verdict.dropped", "drop.l4_checksum"]);
    }),
    ("an error between others is bridged as it is", || {
        let mut rig = busy();
        let about = build_tcp(CLIENT, server_mac(1), tcp("10.0.0.1:50000", R, "PA", 1, 1, 10));
        let frame = error((server_mac(1), CLIENT), (REAL_IP, CLIENT_IP), PORT_UNREACHABLE, &about, 548);
        rig.hear(1, &frame);
        assert_eq!(rig.one(Egress::Port(PortId(0))), frame);
        rig.moved(&["verdict.bridged"]);
    }),
    ("an error of a cut connection goes nowhere", || {
        let mut rig = busy();
        rig.unbind(V, R);
        rig.poll();
        rig.settle();
        rig.hear(0, &error((CLIENT, SWITCH), (ROUTER_IP, VIP), TOO_BIG, &from_virtual(), 548));
        rig.nothing_sent();
        rig.moved(&["verdict.dropped", "drop.icmp_error"]);
    }),
];
