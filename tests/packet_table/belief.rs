//! What the plane believes of segments that may be forged: numbers, checksums, and where they came from.

use std::time::Duration;

use acm_switch::acm::words::*;
use acm_switch::base::addr::Mac;
use acm_switch::base::fraction::Fraction;
use acm_switch::base::id::PortId;
use acm_switch::plane::Verdict;
use acm_switch::wire::frame::Egress;

use crate::Row;
use crate::hostile::fix_ip_checksum;
use crate::rig::*;

const C: &str = "10.0.0.1:40000";
const V: &str = "10.0.0.100:80";
const R: &str = "10.0.0.11:8080";
const FORGER: Mac = Mac([2, 6, 6, 6, 6, 6]);
const ROUTER: Mac = Mac([2, 5, 5, 5, 5, 5]);

/// A web rig with a connection whose client's next byte is 101 and whose server's is 501.
fn connected() -> Rig {
    let mut rig = Rig::web(1);
    rig.established(C);
    rig
}

/// The connection is there after five minutes of silence, and its ends still hear each other.
fn lives_on(rig: &mut Rig) {
    rig.pass(Duration::from_secs(300));
    rig.sent.clear();
    rig.client(tcp(C, V, "PA", 101, 501, 10));
    rig.one_tcp(1, tcp(C, R, "PA", 101, 501, 10), CLIENT, server_mac(1));
    rig.server(1, tcp(R, C, "PA", 501, 111, 10));
    rig.one_tcp(0, tcp(V, C, "PA", 501, 111, 10), SWITCH, CLIENT);
    assert_eq!(rig.live(1), 1);
}

fn spoil(mut frame: Vec<u8>) -> Vec<u8> {
    frame[50] ^= 1;
    frame
}

pub const ROWS: &[Row] = &[
    ("bytes from ahead do not make the RST behind them exact", || {
        for ahead in [1u32, 5000, 1 << 20, 1 << 23] {
            let mut rig = connected();
            rig.client(tcp(C, V, "A", 101 + ahead, 501, 10));
            rig.client(tcp(C, V, "R", 111 + ahead, 0, 0));
            rig.moved(&["verdict.forwarded", "verdict.forwarded", "flow.inexact_rst"]);
            lives_on(&mut rig);
        }
    }),
    ("a segment far from the window is forwarded and says nothing", || {
        let mut rig = connected();
        for far in [1u32 << 25, 1 << 30, u32::MAX - (1 << 28)] {
            rig.client(tcp(C, V, "FA", 101u32.wrapping_add(far), 501, 0));
            rig.server(1, tcp(R, C, "FA", 501u32.wrapping_add(far), 101, 0));
            rig.moved(&["verdict.forwarded", "flow.implausible", "verdict.forwarded", "flow.implausible"]);
        }
        lives_on(&mut rig);
    }),
    ("a connection that lost a segment before us still ends by its FINs", || {
        let mut rig = connected();
        rig.client(tcp(C, V, "FPA", 1561, 501, 100));
        rig.client(tcp(C, V, "A", 101, 501, 1460));
        rig.server(1, tcp(R, C, "FA", 501, 1662, 0));
        assert_eq!(rig.live(1), 0);
    }),
    ("and by an exact RST", || {
        let mut rig = connected();
        rig.client(tcp(C, V, "A", 1561, 501, 100));
        rig.client(tcp(C, V, "A", 101, 501, 1460));
        rig.server(1, tcp(R, C, "A", 501, 1661, 0));
        rig.settle();
        rig.client(tcp(C, V, "R", 1661, 0, 0));
        rig.moved(&["verdict.forwarded", "flow.reset"]);
        assert_eq!(rig.live(1), 0);
    }),
    ("a wrong checksum ends nothing", || {
        let mut rig = connected();
        for flags in ["R", "FA", "SA"] {
            rig.hear(0, &spoil(build_tcp(CLIENT, SWITCH, tcp(C, V, flags, 101, 501, 0))));
            rig.hear(1, &spoil(build_tcp(server_mac(1), CLIENT, tcp(R, C, flags, 501, 101, 0))));
            rig.nothing_sent();
            rig.moved(&["verdict.dropped", "drop.l4_checksum", "verdict.dropped", "drop.l4_checksum"]);
        }
        let mut frame = build_tcp(CLIENT, SWITCH, tcp(C, V, "R", 101, 501, 0));
        frame[24] ^= 1;
        rig.hear(0, &frame);
        rig.moved(&["verdict.dropped", "drop.ip_checksum"]);
        lives_on(&mut rig);
    }),
    ("a SYN-ACK to another SYN does not begin a connection", || {
        let mut rig = Rig::web(1);
        rig.client(tcp(C, V, "S", 100, 0, 0));
        rig.settle();
        rig.server(1, tcp(R, C, "SA", 500, 101 + (1 << 25), 0));
        rig.moved(&["verdict.forwarded", "flow.implausible"]);
        rig.server(1, tcp(R, C, "SA", 700, 101, 0));
        rig.client(tcp(C, V, "A", 101, 701, 0));
        rig.pass(Duration::from_secs(120));
        assert_eq!(rig.live(1), 1, "established, by the SYN-ACK that answers");
    }),
    ("a forged segment of a client moves the answers nowhere", || {
        let mut rig = connected();
        rig.hear(2, &build_tcp(FORGER, SWITCH, tcp(C, V, "A", 101, 501, 0)));
        rig.settle();
        rig.server(1, tcp(R, C, "PA", 501, 101, 10));
        rig.one_tcp(0, tcp(V, C, "PA", 501, 101, 10), SWITCH, CLIENT);
    }),
    ("a forged segment of a real moves its requests nowhere", || {
        let mut rig = connected();
        rig.hear(2, &build_tcp(FORGER, CLIENT, tcp(R, C, "A", 501, 101, 0)));
        rig.settle();
        rig.client(tcp(C, V, "PA", 101, 501, 10));
        rig.one_tcp(1, tcp(C, R, "PA", 101, 501, 10), CLIENT, server_mac(1));
    }),
    ("a real that answers by another router is heard there", || {
        let mut rig = connected();
        rig.hear(3, &build_udp(ROUTER, Mac::BROADCAST, "10.0.0.254:1", "10.0.0.255:2", b"hello"));
        rig.settle();
        rig.hear(1, &build_tcp(server_mac(1), ROUTER, tcp(R, C, "PA", 501, 101, 10)));
        rig.one_tcp(3, tcp(V, C, "PA", 501, 101, 10), SWITCH, ROUTER);
        rig.client(tcp(C, V, "PA", 101, 511, 10));
        rig.one_tcp(1, tcp(C, R, "PA", 101, 511, 10), CLIENT, server_mac(1));
    }),
    ("a router that is not known is looked for everywhere else", || {
        let mut rig = connected();
        rig.hear(1, &build_tcp(server_mac(1), ROUTER, tcp(R, C, "PA", 501, 101, 10)));
        check_tcp(&rig.one(Egress::AllBut(PortId(1))), tcp(V, C, "PA", 501, 101, 10), SWITCH, ROUTER);
        rig.moved(&["verdict.forwarded"]);
    }),
    ("a router on the real's own port cannot be reached through us", || {
        let mut rig = connected();
        rig.hear(1, &build_udp(ROUTER, Mac::BROADCAST, "10.0.0.254:1", "10.0.0.255:2", b"hello"));
        rig.settle();
        rig.hear(1, &build_tcp(server_mac(1), ROUTER, tcp(R, C, "PA", 501, 101, 10)));
        rig.nothing_sent();
        rig.moved(&["verdict.dropped", "drop.same_segment"]);
    }),
    ("a fragment of a flow goes nowhere, either way", || {
        let mut rig = Rig::dns();
        let ask = build_udp(CLIENT, SWITCH, C, "10.0.0.100:53", b"question");
        rig.hear(0, &ask);
        rig.settle();
        for (port, mut frame) in [(0, ask), (1, build_udp(server_mac(1), CLIENT, "10.0.0.11:5353", C, b"answer"))] {
            frame[20] = 0x20;
            fix_ip_checksum(&mut frame);
            rig.hear(port, &frame);
            rig.nothing_sent();
            rig.moved(&["verdict.dropped", "drop.fragment"]);
        }
    }),
    ("the next attempt from a port that was shed is tossed anew, a SYN sent again is not", || {
        let admitted = (0..200u32).filter(|isn| {
            let mut rig = Rig::web(1);
            rig.service(V, |service| {
                service.drops.push_back(DropPolicy {
                    from: None,
                    fraction: Fraction::new(0.5).unwrap(),
                    mode: DropMode::Shed,
                    refusal: Refusal::Silent,
                    until: None,
                    salt: 1,
                });
            });
            let verdicts = [0; 3].map(|_| rig.client(tcp(C, V, "S", *isn, 0, 0)) == Verdict::Forwarded);
            assert!(verdicts[0] == verdicts[1] && verdicts[1] == verdicts[2]);
            verdicts[0]
        });
        let admitted = admitted.count();
        assert!((60..=140).contains(&admitted), "{admitted} of 200");
    }),
];
