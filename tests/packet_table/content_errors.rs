//! ICMP errors about segments of content connections, which have other numbers on either side, or are the switch's own.

use std::net::Ipv4Addr;
use std::time::Duration;

use acm_switch::acm::rules::{Action, Redirect};
use acm_switch::base::id::PortId;
use acm_switch::plane::Verdict;
use acm_switch::wire::frame::Egress;

use crate::Row;
use crate::content::{GET, R1, R2, asked, spliced, two_groups};
use crate::errors::{CLIENT_IP, PORT_UNREACHABLE, REAL_IP, ROUTER, ROUTER_IP, TOO_BIG, check, error};
use crate::rig::*;
use crate::talk::*;

/// Fragmentation needed, and the next hop's MTU.
fn too_big(mtu: u16) -> [u8; 8] {
    let [a, b] = mtu.to_be_bytes();
    [3, 4, 0, 0, 0, 0, a, b]
}

/// From a router on the client's side, about this segment of the virtual address.
fn from_front(header: [u8; 8], about: &Seg) -> Vec<u8> {
    error((ROUTER, SWITCH), (ROUTER_IP, VIP), header, &about.build(SWITCH, CLIENT), 548)
}

/// From a router on a server's side, about this segment to it.
fn from_back(header: [u8; 8], about: &Seg) -> Vec<u8> {
    error((ROUTER, CLIENT), (ROUTER_IP, CLIENT_IP), header, &about.build(CLIENT, server_mac(1)), 548)
}

const RESPONSE: &str = "HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n";

/// A response of which something is under way: the client's first number, where the request ends, what the server sent.
fn answering() -> (Rig, u32, u32, String) {
    let mut rig = Rig::content(1);
    let (first, _) = spliced(&mut rig, GET);
    let end = 101 + GET.len() as u32;
    let text = format!("{RESPONSE}{}", "x".repeat(800));
    rig.s(1, seg(R1, C, "PA", 7000, end, &text));
    assert_eq!(rig.heard_one(0).text(), text);
    rig.settle();
    (rig, first, end, text)
}

pub const ROWS: &[Row] = &[
    ("a router towards the client says too big: the server hears of its own segment", || {
        for quoted in [28, 36, 548] {
            let (mut rig, first, end, text) = answering();
            let about = seg(VIP80, C, "PA", first, end, &text).build(SWITCH, CLIENT);
            let frame = error((ROUTER, SWITCH), (ROUTER_IP, VIP), too_big(600), &about, quoted);
            assert_eq!(rig.hear(0, &frame), Verdict::Forwarded);
            let sent = rig.one(Egress::Port(PortId(1)));
            let own = seg(R1, C, "PA", 7000, end, &text).build(server_mac(1), CLIENT);
            let ends = (ROUTER_IP, REAL_IP);
            check(&sent, (ROUTER, server_mac(1)), ends, too_big(600), &own, quoted);
            rig.moved(&["verdict.forwarded", "icmp.translated", "bridge.learnt"]);
        }
    }),
    ("where the switch adds clocks, the server hears of so much less room", || {
        let mut rig = Rig::content(1);
        let syn = Seg { clocks: Some((5000, 0)), ..seg(C, VIP80, "S", 100, 0, "") };
        let answer = rig.shake(syn);
        let (first, echo) = (answer.seq.wrapping_add(1), answer.clocks.unwrap().0);
        rig.c(Seg { clocks: Some((5001, echo)), ..seg(C, VIP80, "PA", 101, first, GET) });
        rig.heard_one(1);
        rig.s(1, seg(R1, C, "SA", 6999, 101, ""));
        rig.heard_one(1);
        let end = 101 + GET.len() as u32;
        rig.s(1, seg(R1, C, "PA", 7000, end, RESPONSE));
        let got = rig.heard_one(0);
        assert!(got.clocks.is_some());
        rig.hear(0, &from_front(TOO_BIG, &got));
        let sent = rig.one(Egress::Port(PortId(1)));
        assert_eq!(u16::from_be_bytes([sent[40], sent[41]]), 1280 - 12);
    }),
    ("a router towards the server says too big: the client hears of its own segment", || {
        let mut rig = two_groups();
        let (one, two) = ("GET /1 HTTP/1.1\r\nHost: x\r\n\r\n", "GET /2 HTTP/1.1\r\nHost: x\r\n\r\n");
        let (len, response) = (one.len() as u32, "HTTP/1.1 204 No\r\n\r\n");
        let part = response.len() as u32;
        let (first, _) = spliced(&mut rig, one);
        rig.s(1, seg(R1, C, "PA", 7000, 101 + len, response));
        rig.c(seg(C, VIP80, "PA", 101 + len, first.wrapping_add(part), two));
        rig.s(2, seg(R2, C, "SA", 900, 101 + len, ""));
        rig.s(2, seg(R2, C, "PA", 901, 101 + 2 * len, response));
        rig.settle();
        rig.c(seg(C, VIP80, "PA", 101 + 2 * len, first.wrapping_add(2 * part), one));
        let heard = rig.heard();
        let [(1, again), _] = &heard[..] else { panic!("{heard:#?}") };
        assert_eq!(again.seq, 101 + len, "the first server has not seen what the other got");
        assert_eq!(rig.hear(1, &from_back(TOO_BIG, again)), Verdict::Forwarded);
        let sent = rig.one(Egress::Port(PortId(0)));
        let own = Seg { seq: 101 + 2 * len, to: VIP80.into(), ..again.clone() }.build(CLIENT, SWITCH);
        check(&sent, (ROUTER, CLIENT), (ROUTER_IP, CLIENT_IP), TOO_BIG, &own, 548);
    }),
    ("what the server says comes from the virtual address, and ends nothing", || {
        let mut rig = Rig::content(1);
        let (first, _) = spliced(&mut rig, GET);
        let end = 101 + GET.len() as u32;
        rig.s(1, seg(R1, C, "PA", 7000, end, "HTTP/1.1 204 No\r\n\r\n"));
        rig.settle();
        rig.c(seg(C, VIP80, "PA", end, first.wrapping_add(19), GET));
        let sent = rig.heard_one(1);
        for n in 0..10_000 {
            let about = sent.build(CLIENT, server_mac(1));
            let header = [PORT_UNREACHABLE, TOO_BIG, [11, 0, 0, 0, 0, 0, 0, 0]][n % 3];
            rig.hear(1, &error((server_mac(1), CLIENT), (REAL_IP, CLIENT_IP), header, &about, 28));
            let told = rig.one(Egress::Port(PortId(0)));
            assert_eq!(told[26..30], VIP.octets());
        }
        assert_eq!((rig.live(1), rig.plane.content_connections()), (1, 1));
    }),
    ("a head that is too big for the way to its server is sent again in smaller pieces", || {
        let mut rig = Rig::content(1);
        let long = format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "a".repeat(1200));
        let (_, _, syn) = asked(&mut rig, &long);
        // About the SYN it says nothing that the SYN's own patience would not find out.
        assert_eq!(rig.hear(1, &from_back(PORT_UNREACHABLE, &syn)), Verdict::Held);
        rig.nothing_sent();
        rig.s(1, Seg { mss: Some(1460), window: 5000, ..seg(R1, C, "SA", 6999, 101, "") });
        let replay = rig.heard_one(1);
        assert_eq!(replay.text(), long);
        assert_eq!(rig.hear(1, &from_back(too_big(600), &replay)), Verdict::Held);
        rig.poll();
        let again: Vec<Seg> = rig.heard().into_iter().map(|(_, seg)| seg).collect();
        let sizes: Vec<usize> = again.iter().map(|seg| seg.data.len()).collect();
        assert_eq!((sizes, again.iter().map(Seg::text).collect::<String>()), (vec![560, 560, long.len() - 1120], long));
        // No router has so little room.
        rig.hear(1, &from_back(too_big(68), &again[0]));
        rig.poll();
        assert_eq!(rig.heard()[0].1.data.len(), 536);
        // And nothing is sent for what says nothing new.
        for mtu in [68, 600, 0] {
            rig.hear(1, &from_back(too_big(mtu), &again[0]));
            rig.poll();
            rig.nothing_sent();
        }
        rig.pass(Duration::from_secs(1));
        assert!(rig.heard().iter().all(|(_, seg)| seg.data.len() <= 536), "from now on");
    }),
    ("an answer that is too big for the way to the client is sent again in smaller pieces", || {
        let mut rig = Rig::content(1);
        let moved = Redirect { to: "https://elsewhere.example{uri}".into(), status: 302 };
        rig.service(VIP80, |service| service.default_action = Action::Redirect(moved));
        rig.settle();
        let first = rig.shake(Seg { mss: Some(1460), ..seg(C, VIP80, "S", 100, 0, "") }).seq.wrapping_add(1);
        let long = format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "a".repeat(1200));
        rig.c(seg(C, VIP80, "PA", 101, first, &long));
        let said = rig.heard_one(0);
        assert!(said.text().starts_with("HTTP/1.1 302 ") && said.data.len() > 1200, "{said:?}");
        assert_eq!(rig.hear(0, &from_front(PORT_UNREACHABLE, &said)), Verdict::Held);
        rig.poll();
        rig.nothing_sent();
        assert_eq!(rig.hear(0, &from_front(too_big(1000), &said)), Verdict::Held);
        rig.poll();
        let again: Vec<Seg> = rig.heard().into_iter().map(|(_, seg)| seg).collect();
        assert_eq!(again.iter().map(Seg::text).collect::<String>(), said.text());
        assert_eq!(again[0].data.len(), 960);
    }),
    ("an error about a segment that is not under way is forged or late", || {
        let (mut rig, first, end, text) = answering();
        let behind = first.wrapping_add(text.len() as u32);
        for seq in [first.wrapping_sub(1), behind, first.wrapping_add(1 << 30)] {
            rig.hear(0, &from_front(TOO_BIG, &seg(VIP80, C, "PA", seq, end, "x")));
            rig.nothing_sent();
            rig.hear(0, &error((ROUTER, SWITCH), (Ipv4Addr::new(10, 0, 0, 1), VIP), TOO_BIG, &[0; 60], 28));
            rig.nothing_sent();
        }
        for seq in [100, 101, end - 1, end, 1 << 30] {
            rig.hear(1, &from_back(TOO_BIG, &seg(C, R1, "PA", seq, 7000, "x")));
            rig.nothing_sent();
        }
        rig.c(seg(C, VIP80, "A", end, behind, ""));
        rig.sent.clear();
        rig.hear(0, &from_front(TOO_BIG, &seg(VIP80, C, "PA", first, end, &text)));
        rig.nothing_sent();
    }),
];
