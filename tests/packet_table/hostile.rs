//! Malformed and hostile frames: each gets its counter, and nothing else happens.

use std::net::Ipv4Addr;

use acm_switch::base::addr::Protocol;
use acm_switch::plane::Verdict;

use crate::Row;
use crate::rig::*;

const C: &str = "10.0.0.1:40000";
const V: &str = "10.0.0.100:80";

/// A SYN to the service, damaged.
fn damaged(counter: &str, damage: impl Fn(&mut Vec<u8>)) {
    let mut rig = Rig::web(1);
    let mut frame = build_tcp(CLIENT, SWITCH, tcp(C, V, "S", 1, 0, 0));
    damage(&mut frame);
    assert!(matches!(rig.hear(0, &frame), Verdict::Dropped(_)));
    rig.nothing_sent();
    rig.moved(&["verdict.dropped", counter]);
    assert_eq!(rig.plane.flows(), 0);
}

pub const ROWS: &[Row] = &[
    ("an empty frame", || damaged("drop.truncated", |frame| frame.clear())),
    ("13 bytes", || damaged("drop.truncated", |frame| frame.truncate(13))),
    ("no IP header", || damaged("drop.truncated", |frame| frame.truncate(14))),
    ("half an IP header", || damaged("drop.truncated", |frame| frame.truncate(24))),
    ("no TCP header", || damaged("drop.ip_total_length", |frame| frame.truncate(34))),
    ("half a TCP header", || {
        damaged("drop.truncated", |frame| {
            frame.truncate(44);
            frame[16..18].copy_from_slice(&30u16.to_be_bytes());
        })
    }),
    ("an IP length beyond the frame", || damaged("drop.ip_total_length", |frame| frame[16..18].fill(0xff))),
    ("an IP length of zero", || damaged("drop.ip_total_length", |frame| frame[16..18].fill(0))),
    ("an IP header of 16 bytes", || damaged("drop.ip_header_length", |frame| frame[14] = 0x44)),
    ("IP version 5", || damaged("drop.ip_version", |frame| frame[14] = 0x55)),
    ("a TCP header longer than the packet", || damaged("drop.tcp_header_length", |frame| frame[46] = 0xf0)),
    ("a TCP header of 16 bytes", || damaged("drop.tcp_header_length", |frame| frame[46] = 0x40)),
    ("a wrong IP checksum", || damaged("drop.ip_checksum", |frame| frame[24] ^= 1)),
    ("a first fragment for a virtual address", || {
        damaged("drop.fragment", |frame| {
            frame[20] = 0x20;
            fix_ip_checksum(frame);
        })
    }),
    ("a later fragment for a virtual address", || {
        damaged("drop.fragment", |frame| {
            frame[20..22].copy_from_slice(&[0x00, 0x10]);
            fix_ip_checksum(frame);
        })
    }),
    ("a protocol we do not balance", || {
        damaged("drop.protocol", |frame| {
            frame[23] = 132;
            fix_ip_checksum(frame);
        })
    }),
    ("a UDP length that lies", || {
        let mut rig = Rig::dns();
        for length in [0u16, 7, 4000] {
            let mut frame = build_udp(CLIENT, SWITCH, C, "10.0.0.100:53", b"question");
            frame[38..40].copy_from_slice(&length.to_be_bytes());
            rig.hear(0, &frame);
            rig.moved(&["verdict.dropped", "drop.udp_length"]);
        }
    }),
    ("link padding is not payload", || {
        let mut rig = Rig::web(1);
        let mut frame = build_tcp(CLIENT, SWITCH, tcp(C, V, "S", 1, 0, 0));
        frame.extend([0xee; 6]);
        rig.hear(0, &frame);
        rig.server(1, tcp("10.0.0.11:8080", C, "SA", 5, 2, 0));
        rig.client(tcp(C, V, "A", 2, 6, 0));
        rig.settle();
        rig.client(tcp(C, V, "R", 2, 0, 0));
        rig.moved(&["verdict.forwarded", "flow.reset"]);
    }),
    ("to our MAC, but for somebody else", || {
        let mut rig = Rig::web(1);
        rig.hear(0, &build_tcp(CLIENT, SWITCH, tcp(C, "10.0.0.77:80", "S", 1, 0, 0)));
        rig.nothing_sent();
        rig.moved(&["verdict.dropped", "drop.not_ours"]);
    }),
    ("to our MAC, not IP at all", || {
        let mut rig = Rig::web(1);
        let mut frame = SWITCH.0.to_vec();
        frame.extend(CLIENT.0);
        frame.extend([0x88, 0xcc, 1, 2, 3]);
        rig.hear(0, &frame);
        rig.moved(&["verdict.dropped", "drop.not_ours"]);
    }),
    ("an ARP packet cut short", || {
        let mut rig = Rig::web(1);
        let mut frame = build_arp(CLIENT, SWITCH, 1, (CLIENT, Ipv4Addr::new(10, 0, 0, 1)), (SWITCH, VIP));
        frame.truncate(40);
        rig.hear(0, &frame);
        rig.moved(&["verdict.dropped", "drop.truncated"]);
    }),
    ("ARP for another kind of network", || {
        let mut rig = Rig::web(1);
        let mut frame = build_arp(CLIENT, SWITCH, 1, (CLIENT, Ipv4Addr::new(10, 0, 0, 1)), (SWITCH, VIP));
        frame[15] = 6;
        rig.hear(0, &frame);
        rig.moved(&["verdict.dropped", "drop.arp_format"]);
    }),
    ("a SYN with a wrong checksum opens nothing", || damaged("drop.l4_checksum", |frame| frame[50] ^= 1)),
    ("a SYN with a wrong unfinished checksum opens nothing", || {
        let mut rig = Rig::web(1);
        let mut frame = build_tcp(CLIENT, SWITCH, tcp(C, V, "S", 1, 0, 0));
        let offload = make_partial(&mut frame, Protocol::Tcp);
        frame[50] ^= 1;
        rig.hear_with(0, &frame, offload);
        rig.moved(&["verdict.dropped", "drop.l4_checksum"]);
        frame[50] ^= 1;
        assert_eq!(rig.hear_with(0, &frame, offload), Verdict::Forwarded);
    }),
    ("a datagram with a wrong checksum opens nothing", || {
        let mut rig = Rig::dns();
        let mut frame = build_udp(CLIENT, SWITCH, C, "10.0.0.100:53", b"question");
        frame[44] ^= 1;
        rig.hear(0, &frame);
        rig.moved(&["verdict.dropped", "drop.l4_checksum"]);
        assert_eq!(rig.plane.flows(), 0);
    }),
    ("SYN and FIN at once open nothing", || damaged("drop.no_flow", |frame| frame[47] = 0x03)),
    ("nobody connects from an address that no host can have, nor from one of ours, nor from port 0", || {
        let mut rig = Rig::web(1);
        let nobodies = ["0.0.0.0:9", "127.0.0.1:9", "224.0.0.9:9", "255.255.255.255:9", "10.0.0.2:9", V, "10.0.0.1:0"];
        for from in nobodies {
            rig.client(tcp(from, V, "S", 1, 0, 0));
            rig.nothing_sent();
            rig.moved(&["verdict.dropped", "drop.source_address"]);
        }
        assert_eq!(rig.plane.flows(), 0);
    }),
    ("SYN and RST at once open nothing", || damaged("drop.no_flow", |frame| frame[47] = 0x06)),
    ("ICMP that is neither echo nor an error is not for a virtual address", || {
        let mut rig = Rig::web(1);
        let mut frame = build_echo(CLIENT, SWITCH, Ipv4Addr::new(10, 0, 0, 1), VIP);
        // Timestamp (RFC 792).
        frame[34] = 13;
        rig.hear(0, &frame);
        rig.moved(&["verdict.dropped", "drop.protocol"]);
    }),
    ("a server that pretends to answer a stranger is bridged, not translated", || {
        let mut rig = Rig::web(1);
        rig.established(C);
        rig.server(1, tcp("10.0.0.11:8080", "10.0.0.1:40001", "PA", 501, 101, 10));
        rig.moved(&["verdict.bridged"]);
    }),
];

pub fn fix_ip_checksum(frame: &mut [u8]) {
    frame[24..26].fill(0);
    let mut sum: u32 = frame[14..34].chunks(2).map(|word| u32::from(u16::from_be_bytes([word[0], word[1]]))).sum();
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    frame[24..26].copy_from_slice(&(!(sum as u16)).to_be_bytes());
}
