//! TCP services: forwarding both ways, choosing, limits, Drop, ageing.

use std::time::Duration;

use acm_switch::acm::words::*;
use acm_switch::base::addr::Protocol;
use acm_switch::base::fraction::Fraction;
use acm_switch::plane::Verdict;
use acm_switch::wire::frame::{Checksum, Gso, Offload};

use crate::Row;
use crate::rig::*;

const C: &str = "10.0.0.1:40000";
const V: &str = "10.0.0.100:80";
const R: &str = "10.0.0.11:8080";

fn drop_all(rig: &mut Rig, mode: DropMode, refusal: Refusal) {
    rig.service(V, |service| {
        service.drops.push_back(DropPolicy {
            from: None,
            fraction: Fraction::ONE,
            mode,
            refusal,
            until: None,
            salt: 1,
        });
    });
    rig.settle();
}

pub const ROWS: &[Row] = &[
    ("a SYN goes to the real, its source untouched", || {
        let mut rig = Rig::web(1);
        assert_eq!(rig.client(tcp(C, V, "S", 100, 0, 0)), Verdict::Forwarded);
        rig.one_tcp(1, tcp(C, R, "S", 100, 0, 0), CLIENT, server_mac(1));
        rig.moved(&["verdict.forwarded", "flow.inserted"]);
        assert_eq!(rig.live(1), 1);
    }),
    ("what the real answers comes from the virtual address and our MAC", || {
        let mut rig = Rig::web(1);
        rig.client(tcp(C, V, "S", 100, 0, 0));
        rig.settle();
        rig.server(1, tcp(R, C, "SA", 500, 101, 0));
        rig.one_tcp(0, tcp(V, C, "SA", 500, 101, 0), SWITCH, CLIENT);
        rig.moved(&["verdict.forwarded"]);
    }),
    ("data flows both ways", || {
        let mut rig = Rig::web(1);
        rig.established(C);
        rig.client(tcp(C, V, "PA", 101, 501, 333));
        rig.one_tcp(1, tcp(C, R, "PA", 101, 501, 333), CLIENT, server_mac(1));
        rig.server(1, tcp(R, C, "PA", 501, 434, 1400));
        rig.one_tcp(0, tcp(V, C, "PA", 501, 434, 1400), SWITCH, CLIENT);
        rig.moved(&["verdict.forwarded", "verdict.forwarded"]);
    }),
    ("an odd number of bytes keeps its checksum right", || {
        let mut rig = Rig::web(1);
        rig.established(C);
        rig.client(tcp(C, V, "PA", 101, 501, 7));
        rig.one_tcp(1, tcp(C, R, "PA", 101, 501, 7), CLIENT, server_mac(1));
    }),
    ("a wrong checksum stays wrong: the receiver must notice", || {
        let mut rig = Rig::web(1);
        rig.established(C);
        let mut frame = build_tcp(CLIENT, SWITCH, tcp(C, V, "PA", 101, 501, 8));
        frame[50] ^= 0x40;
        rig.hear(0, &frame);
        let sent = rig.sent.remove(0).bytes;
        let checked =
            std::panic::catch_unwind(|| check_tcp(&sent, tcp(C, R, "PA", 101, 501, 8), CLIENT, server_mac(1)));
        assert!(checked.is_err());
    }),
    ("an unfinished checksum stays unfinished, its pseudo-header right", || {
        let mut rig = Rig::web(1);
        rig.established(C);
        let mut frame = build_tcp(CLIENT, SWITCH, tcp(C, V, "PA", 101, 501, 900));
        let offload = make_partial(&mut frame, Protocol::Tcp);
        rig.hear_with(0, &frame, offload);
        let sent = rig.sent.remove(0);
        assert_eq!(sent.offload, offload);
        assert_eq!(sent.bytes[50..52], pseudo_sum(&sent.bytes, Protocol::Tcp).to_be_bytes());
        rig.moved(&["verdict.forwarded"]);
    }),
    ("a super-frame passes as one", || {
        let mut rig = Rig::web(1);
        rig.established(C);
        let mut frame = build_tcp(server_mac(1), CLIENT, tcp(R, C, "PA", 501, 101, 60_000));
        let Offload { checksum, .. } = make_partial(&mut frame, Protocol::Tcp);
        let offload = Offload { checksum, gso: Gso::Segments { kind: 1, size: 1448, header: 54 } };
        rig.hear_with(1, &frame, offload);
        let sent = rig.sent.remove(0);
        assert_eq!((sent.offload, sent.bytes.len()), (offload, frame.len()));
        assert_eq!(sent.bytes[50..52], pseudo_sum(&sent.bytes, Protocol::Tcp).to_be_bytes());
    }),
    ("a checksum the kernel vouches for is updated like a complete one", || {
        let mut rig = Rig::web(1);
        rig.established(C);
        let frame = build_tcp(CLIENT, SWITCH, tcp(C, V, "PA", 101, 501, 5));
        rig.hear_with(0, &frame, Offload { checksum: Checksum::Verified, gso: Gso::None });
        rig.one_tcp(1, tcp(C, R, "PA", 101, 501, 5), CLIENT, server_mac(1));
    }),
    ("connections go round", || {
        let mut rig = Rig::web(3);
        for n in 0..6u16 {
            let client = format!("10.0.0.1:{}", 40_000 + n);
            rig.client(tcp(&client, V, "S", 1, 0, 0));
        }
        assert_eq!([1, 2, 3].map(|n| rig.live(n)), [2, 2, 2]);
    }),
    ("a connection keeps its real while others come", || {
        let mut rig = Rig::web(3);
        rig.client(tcp(C, V, "S", 100, 0, 0));
        rig.client(tcp("10.0.0.1:40001", V, "S", 1, 0, 0));
        rig.settle();
        rig.client(tcp(C, V, "S", 100, 0, 0));
        rig.one_tcp(1, tcp(C, R, "S", 100, 0, 0), CLIENT, server_mac(1));
        rig.moved(&["verdict.forwarded"]);
    }),
    ("no service on this port: silence, counted", || {
        let mut rig = Rig::web(1);
        rig.client(tcp(C, "10.0.0.100:81", "S", 1, 0, 0));
        rig.nothing_sent();
        rig.moved(&["verdict.dropped", "drop.no_service"]);
    }),
    ("TCP to a UDP service is no service", || {
        let mut rig = Rig::dns();
        rig.client(tcp(C, "10.0.0.100:53", "S", 1, 0, 0));
        rig.moved(&["verdict.dropped", "drop.no_service"]);
    }),
    ("a segment without a connection is dropped", || {
        let mut rig = Rig::web(1);
        for flags in ["A", "PA", "FA", "SA", "R"] {
            rig.client(tcp(C, V, flags, 1, 1, 0));
            rig.nothing_sent();
            rig.moved(&["verdict.dropped", "drop.no_flow"]);
        }
    }),
    ("no real takes connections: silence", || {
        let mut rig = Rig::web(0);
        rig.client(tcp(C, V, "S", 1, 0, 0));
        rig.nothing_sent();
        rig.moved(&["verdict.dropped", "drop.no_real"]);
    }),
    ("no real takes connections: a reset, if so wished", || {
        let mut rig = Rig::web(0);
        rig.service(V, |service| service.when_none = Refusal::Reset);
        rig.settle();
        rig.client(tcp(C, V, "S", 77, 0, 0));
        rig.one_tcp(0, tcp(V, C, "RA", 0, 78, 0), SWITCH, CLIENT);
        rig.moved(&["verdict.dropped", "drop.no_real", "reset.sent"]);
    }),
    ("a failing real gets nothing new and keeps what it has", || {
        let mut rig = Rig::web(1);
        rig.established(C);
        rig.bind(V, R, 1, |binding| binding.observed.health = Health::Failing("down".into()));
        rig.settle();
        rig.client(tcp("10.0.0.1:2", V, "S", 1, 0, 0));
        rig.moved(&["verdict.dropped", "drop.no_real"]);
        rig.client(tcp(C, V, "PA", 101, 501, 1));
        rig.moved(&["verdict.forwarded"]);
    }),
    ("a handshake that a failed real leaves without an answer goes to another", || {
        let mut rig = Rig::web(2);
        rig.client(tcp(C, V, "S", 1, 0, 0));
        let (first, other) = if rig.live(1) == 1 { (1u8, 2u8) } else { (2, 1) };
        let real = |n: u8| format!("10.0.0.{}:8080", 10 + n);
        rig.settle();
        rig.client(tcp(C, V, "S", 1, 0, 0));
        assert_eq!((rig.live(first.into()), rig.live(other.into())), (1, 0), "not before it has failed");
        rig.bind(V, &real(first), first, |binding| binding.observed.health = Health::Failing("down".into()));
        rig.settle();
        rig.client(tcp(C, V, "S", 1, 0, 0));
        rig.one_tcp(u16::from(other), tcp(C, &real(other), "S", 1, 0, 0), CLIENT, server_mac(other));
        rig.moved(&["verdict.forwarded", "flow.moved", "flow.inserted"]);
        assert_eq!((rig.live(first.into()), rig.live(other.into())), (0, 1));
        // It answers after all: that is nothing of ours any more, and the client's host tells it so.
        rig.hear(u16::from(first), &build_tcp(server_mac(first), CLIENT, tcp(&real(first), C, "SA", 500, 2, 0)));
        rig.moved(&["verdict.bridged"]);
        rig.settle();
        // And with nobody left, it is refused like any other.
        rig.bind(V, &real(other), other, |binding| binding.observed.health = Health::Failing("down".into()));
        rig.client(tcp(C, V, "S", 1, 0, 0));
        rig.moved(&["verdict.dropped", "drop.no_real", "flow.moved"]);
    }),
    ("a handshake that has its answer stays, and so does one of a real that is drained", || {
        let mut rig = Rig::web(2);
        rig.client(tcp(C, V, "S", 1, 0, 0));
        let (first, real) = if rig.live(1) == 1 { (1u8, R) } else { (2, "10.0.0.12:8080") };
        rig.drain(V, real, first);
        rig.bind(V, real, first, |binding| binding.observed.health = Health::Failing("down".into()));
        rig.settle();
        rig.client(tcp(C, V, "S", 1, 0, 0));
        rig.moved(&["verdict.forwarded"]);
        rig.bind(V, real, first, |binding| binding.will.admin = AdminState::Up);
        rig.hear(u16::from(first), &build_tcp(server_mac(first), CLIENT, tcp(real, C, "SA", 500, 2, 0)));
        rig.settle();
        rig.client(tcp(C, V, "S", 1, 0, 0));
        rig.moved(&["verdict.forwarded"]);
    }),
    ("weight 0 takes none", || {
        let mut rig = Rig::web(2);
        rig.bind(V, R, 1, |binding| binding.will.weight = 0);
        for n in 0..4u16 {
            rig.client(tcp(&format!("10.0.0.1:{}", 1000 + n), V, "S", 1, 0, 0));
        }
        assert_eq!((rig.live(1), rig.live(2)), (0, 4));
    }),
    ("only group default receives traffic without rules", || {
        let mut rig = Rig::web(2);
        rig.bind(V, R, 1, |binding| binding.will.group = "blue".parse().unwrap());
        for n in 0..4u16 {
            rig.client(tcp(&format!("10.0.0.1:{}", 1000 + n), V, "S", 1, 0, 0));
        }
        assert_eq!((rig.live(1), rig.live(2)), (0, 4));
    }),
    ("a full real passes the connection on, and a full service refuses", || {
        let mut rig = Rig::web(2);
        for (n, real) in [(1, R), (2, "10.0.0.12:8080")] {
            rig.bind(V, real, n, |binding| binding.will.max_conns = Some(1));
        }
        for n in 0..2u16 {
            rig.client(tcp(&format!("10.0.0.1:{}", 1000 + n), V, "S", 1, 0, 0));
        }
        rig.settle();
        rig.client(tcp(C, V, "S", 1, 0, 0));
        rig.moved(&["verdict.dropped", "drop.max_conns"]);
        assert_eq!((rig.live(1), rig.live(2)), (1, 1));
    }),
    ("least connections", || {
        let mut rig = Rig::web(2);
        rig.service(V, |service| {
            service.groups.insert(default_group(), Group::scheduled_by(Scheduler::LeastConn));
        });
        rig.established(C);
        let held = rig.live(1);
        assert_eq!(held, 1);
        rig.client(tcp("10.0.0.1:2", V, "S", 1, 0, 0));
        assert_eq!((rig.live(1), rig.live(2)), (1, 1));
    }),
    ("one client address, one real, by source hash", || {
        let mut rig = Rig::web(3);
        rig.service(V, |service| {
            service.groups.insert(default_group(), Group::scheduled_by(Scheduler::SourceHash));
        });
        for n in 0..20u16 {
            rig.client(tcp(&format!("10.0.0.1:{}", 1000 + n), V, "S", 1, 0, 0));
        }
        let mut live = [1, 2, 3].map(|n| rig.live(n));
        live.sort();
        assert_eq!(live, [0, 0, 20]);
    }),
    ("a real on the client's own segment would answer past us", || {
        let mut rig = Rig::web(1);
        rig.hear(1, &build_tcp(server_mac(9), SWITCH, tcp("10.0.0.9:1", V, "S", 1, 0, 0)));
        rig.nothing_sent();
        rig.moved(&["verdict.dropped", "drop.same_segment", "bridge.learnt"]);
    }),
    ("a real is never its own client's server", || {
        let mut rig = Rig::web(2);
        rig.hear(1, &build_tcp(server_mac(1), SWITCH, tcp("10.0.0.11:1", V, "S", 1, 0, 0)));
        rig.one_tcp(2, tcp("10.0.0.11:1", "10.0.0.12:8080", "S", 1, 0, 0), server_mac(1), server_mac(2));
        rig.moved(&["verdict.forwarded", "flow.inserted"]);
    }),
    ("two services on one real: the second connection of a tuple goes elsewhere", || {
        let mut rig = Rig::web(2);
        rig.service("10.0.0.100:443", |_| {});
        rig.bind("10.0.0.100:443", R, 1, |binding| binding.id = acm_switch::base::id::BindingId(11));
        rig.bind("10.0.0.100:443", "10.0.0.12:8080", 2, |binding| binding.id = acm_switch::base::id::BindingId(12));
        rig.client(tcp(C, V, "S", 1, 0, 0));
        rig.settle();
        rig.client(tcp(C, "10.0.0.100:443", "S", 1, 0, 0));
        rig.one_tcp(2, tcp(C, "10.0.0.12:8080", "S", 1, 0, 0), CLIENT, server_mac(2));
        rig.moved(&["verdict.forwarded", "flow.inserted"]);
    }),
    ("an occupied tuple with nowhere else to go is refused", || {
        let mut rig = Rig::web(1);
        rig.service("10.0.0.100:443", |_| {});
        rig.bind("10.0.0.100:443", R, 1, |binding| binding.id = acm_switch::base::id::BindingId(11));
        rig.client(tcp(C, V, "S", 1, 0, 0));
        rig.settle();
        rig.client(tcp(C, "10.0.0.100:443", "S", 1, 0, 0));
        rig.moved(&["verdict.dropped", "drop.tuple_collision"]);
    }),
    ("a client that talks to the real directly is bridged", || {
        let mut rig = Rig::web(1);
        rig.established(C);
        let direct = build_tcp(CLIENT, server_mac(1), tcp("10.0.0.1:50000", R, "S", 1, 0, 0));
        rig.hear(0, &direct);
        assert_eq!(rig.sent.remove(0).bytes, direct);
        let answer = build_tcp(server_mac(1), CLIENT, tcp(R, "10.0.0.1:50000", "SA", 1, 2, 0));
        rig.hear(1, &answer);
        assert_eq!(rig.sent.remove(0).bytes, answer);
        rig.moved(&["verdict.bridged", "verdict.bridged"]);
    }),
    ("Drop 1.0: every SYN is refused in silence, established ones pass", || {
        for mode in [DropMode::Shed, DropMode::Queue] {
            let mut rig = Rig::web(1);
            rig.established(C);
            drop_all(&mut rig, mode, Refusal::Silent);
            rig.client(tcp("10.0.0.1:5", V, "S", 1, 0, 0));
            rig.nothing_sent();
            rig.moved(&["verdict.dropped", "drop.policy"]);
            rig.client(tcp(C, V, "PA", 101, 501, 10));
            rig.moved(&["verdict.forwarded"]);
        }
    }),
    ("Drop with reset tells the client", || {
        let mut rig = Rig::web(1);
        drop_all(&mut rig, DropMode::Shed, Refusal::Reset);
        rig.client(tcp(C, V, "S", 9, 0, 0));
        rig.one_tcp(0, tcp(V, C, "RA", 0, 10, 0), SWITCH, CLIENT);
        rig.moved(&["verdict.dropped", "drop.policy", "reset.sent"]);
    }),
    ("a SYN of a connection that exists is never tossed again", || {
        let mut rig = Rig::web(1);
        rig.client(tcp(C, V, "S", 100, 0, 0));
        drop_all(&mut rig, DropMode::Queue, Refusal::Silent);
        rig.client(tcp(C, V, "S", 100, 0, 0));
        rig.moved(&["verdict.forwarded"]);
    }),
    ("the longest matching prefix decides", || {
        let mut rig = Rig::web(1);
        drop_all(&mut rig, DropMode::Shed, Refusal::Silent);
        rig.service(V, |service| {
            service.drops.push_back(DropPolicy {
                from: Some("10.0.0.0/30".parse().unwrap()),
                fraction: Fraction::ZERO,
                mode: DropMode::Shed,
                refusal: Refusal::Silent,
                until: None,
                salt: 2,
            });
        });
        rig.settle();
        rig.client(tcp(C, V, "S", 1, 0, 0));
        rig.moved(&["verdict.forwarded", "flow.inserted"]);
        rig.client(tcp("10.0.0.9:1", V, "S", 1, 0, 0));
        rig.moved(&["verdict.dropped", "drop.policy"]);
    }),
    ("an embryonic connection is forgotten after 60 s", || {
        let mut rig = Rig::web(1);
        rig.client(tcp(C, V, "S", 100, 0, 0));
        rig.pass(Duration::from_secs(59));
        assert_eq!(rig.live(1), 1);
        rig.pass(Duration::from_secs(4));
        assert_eq!((rig.live(1), rig.plane.flows()), (0, 0));
    }),
    ("an established connection lives through 29 silent minutes, not through 31", || {
        let mut rig = Rig::web(1);
        rig.established(C);
        rig.pass(Duration::from_secs(29 * 60));
        assert_eq!(rig.live(1), 1);
        rig.pass(Duration::from_secs(2 * 60));
        rig.moved(&["flow.expired", "arp.announced"]);
    }),
    ("both FINs end a connection; the last ACK still passes; then it is forgotten", || {
        let mut rig = Rig::web(1);
        rig.established(C);
        rig.client(tcp(C, V, "FA", 101, 501, 0));
        assert_eq!(rig.live(1), 1, "half closed");
        rig.server(1, tcp(R, C, "FA", 501, 102, 0));
        assert_eq!(rig.live(1), 0);
        rig.settle();
        rig.client(tcp(C, V, "A", 102, 502, 0));
        rig.moved(&["verdict.forwarded"]);
        rig.pass(Duration::from_secs(15));
        assert_eq!(rig.plane.flows(), 0);
    }),
    ("the tuple of a closed connection may be used anew", || {
        let mut rig = Rig::web(2);
        rig.established(C);
        rig.client(tcp(C, V, "FA", 101, 501, 0));
        rig.server(1, tcp(R, C, "FA", 501, 102, 0));
        rig.settle();
        rig.client(tcp(C, V, "S", 9000, 0, 0));
        rig.one_tcp(2, tcp(C, "10.0.0.12:8080", "S", 9000, 0, 0), CLIENT, server_mac(2));
        rig.moved(&["verdict.forwarded", "flow.reused", "flow.inserted"]);
    }),
    ("a SYN that comes late does not begin its connection anew", || {
        let mut rig = Rig::web(2);
        rig.established(C);
        rig.client(tcp(C, V, "PA", 101, 501, 1000));
        rig.client(tcp(C, V, "FA", 1101, 501, 0));
        rig.server(1, tcp(R, C, "FA", 501, 1102, 0));
        rig.settle();
        rig.client(tcp(C, V, "S", 100, 0, 0));
        rig.nothing_sent();
        rig.moved(&["verdict.dropped", "drop.old_syn"]);
        rig.client(tcp(C, V, "A", 1102, 502, 0));
        rig.one_tcp(1, tcp(C, R, "A", 1102, 502, 0), CLIENT, server_mac(1));
        // Another connection's number may be lower, too.
        rig.client(tcp(C, V, "S", 99, 0, 0));
        rig.one_tcp(2, tcp(C, "10.0.0.12:8080", "S", 99, 0, 0), CLIENT, server_mac(2));
    }),
    ("a client that begins anew on a connection its server has forgotten is given to another", || {
        let mut rig = Rig::web(2);
        rig.established(C);
        rig.client(tcp(C, V, "S", 9_000_000, 0, 0));
        rig.one_tcp(1, tcp(C, R, "S", 9_000_000, 0, 0), CLIENT, server_mac(1));
        rig.settle();
        rig.server(1, tcp(R, C, "RA", 0, 9_000_001, 0));
        rig.nothing_sent();
        rig.moved(&["verdict.dropped", "drop.stale_reset", "flow.stale"]);
        assert_eq!(rig.live(1), 0);
        rig.client(tcp(C, V, "S", 9_000_000, 0, 0));
        rig.one_tcp(2, tcp(C, "10.0.0.12:8080", "S", 9_000_000, 0, 0), CLIENT, server_mac(2));
    }),
    ("a new connection that its server takes on old ends is followed", || {
        let mut rig = Rig::web(1);
        rig.established(C);
        rig.client(tcp(C, V, "S", 900_000_000, 0, 0));
        rig.settle();
        rig.server(1, tcp(R, C, "SA", 70_000_000, 900_000_001, 0));
        rig.moved(&["verdict.forwarded", "flow.stale"]);
        rig.client(tcp(C, V, "A", 900_000_001, 70_000_001, 0));
        rig.client(tcp(C, V, "FA", 900_000_001, 70_000_001, 0));
        rig.server(1, tcp(R, C, "FA", 70_000_001, 900_000_002, 0));
        rig.moved(&["verdict.forwarded", "verdict.forwarded", "verdict.forwarded"]);
        assert_eq!(rig.live(1), 0);
    }),
    ("a server that knows the connection keeps it, whatever SYNs come", || {
        let mut rig = Rig::web(2);
        rig.established(C);
        rig.client(tcp(C, V, "S", 9_000_000, 0, 0));
        rig.server(1, tcp(R, C, "A", 501, 101, 0));
        rig.settle();
        rig.client(tcp(C, V, "PA", 101, 501, 10));
        rig.one_tcp(1, tcp(C, R, "PA", 101, 501, 10), CLIENT, server_mac(1));
        // A refusal of another number, of the connection's own SYN, or from elsewhere, is none.
        for (port, ack) in [(1, 9_000_002), (1, 101), (2, 9_000_001)] {
            rig.hear(port, &build_tcp(server_mac(port as u8), CLIENT, tcp(R, C, "RA", 0, ack, 0)));
            assert_eq!(rig.live(1), 1, "{port} {ack}");
        }
    }),
    ("who was refused may try again at once, with the same number", || {
        let mut rig = Rig::web(2);
        rig.client(tcp(C, V, "S", 100, 0, 0));
        rig.server(1, tcp(R, C, "RA", 0, 101, 0));
        rig.settle();
        rig.client(tcp(C, V, "S", 100, 0, 0));
        rig.one_tcp(2, tcp(C, "10.0.0.12:8080", "S", 100, 0, 0), CLIENT, server_mac(2));
    }),
    ("an exact RST ends a connection", || {
        let mut rig = Rig::web(1);
        rig.established(C);
        rig.client(tcp(C, V, "R", 101, 0, 0));
        rig.one_tcp(1, tcp(C, R, "R", 101, 0, 0), CLIENT, server_mac(1));
        rig.moved(&["verdict.forwarded", "flow.reset"]);
        assert_eq!(rig.live(1), 0);
    }),
    ("a RST that is not exact is forwarded and not believed", || {
        let mut rig = Rig::web(1);
        rig.established(C);
        for seq in [100, 102, 5000] {
            rig.client(tcp(C, V, "R", seq, 0, 0));
            rig.one_tcp(1, tcp(C, R, "R", seq, 0, 0), CLIENT, server_mac(1));
            rig.moved(&["verdict.forwarded", "flow.inexact_rst"]);
        }
        assert_eq!(rig.live(1), 1);
    }),
    ("a server that refuses the SYN ends the connection", || {
        let mut rig = Rig::web(1);
        rig.client(tcp(C, V, "S", 100, 0, 0));
        rig.settle();
        rig.server(1, tcp(R, C, "RA", 0, 101, 0));
        rig.one_tcp(0, tcp(V, C, "RA", 0, 101, 0), SWITCH, CLIENT);
        rig.moved(&["verdict.forwarded", "flow.reset"]);
        assert_eq!(rig.live(1), 0);
    }),
    ("a full table evicts the oldest embryonic connection", || {
        let mut rig = Rig::with_flows(2);
        rig.service(V, |_| {});
        rig.bind(V, R, 1, |_| {});
        rig.established(C);
        rig.client(tcp("10.0.0.1:5", V, "S", 1, 0, 0));
        rig.settle();
        rig.client(tcp("10.0.0.1:6", V, "S", 1, 0, 0));
        rig.moved(&["verdict.forwarded", "flow.evicted", "flow.inserted"]);
        rig.client(tcp(C, V, "A", 101, 501, 0));
        rig.moved(&["verdict.forwarded"]);
    }),
    ("a table full of established connections refuses newcomers", || {
        let mut rig = Rig::with_flows(1);
        rig.service(V, |_| {});
        rig.bind(V, R, 1, |_| {});
        rig.established(C);
        rig.client(tcp("10.0.0.1:6", V, "S", 1, 0, 0));
        rig.moved(&["verdict.dropped", "drop.flow_table_full"]);
        rig.client(tcp(C, V, "A", 101, 501, 0));
        rig.moved(&["verdict.forwarded"]);
    }),
    ("a client that moves to another port of the switch is answered there", || {
        let mut rig = Rig::web(1);
        rig.established(C);
        rig.hear(3, &build_tcp(CLIENT, SWITCH, tcp(C, V, "PA", 101, 501, 1)));
        rig.settle();
        rig.server(1, tcp(R, C, "A", 501, 102, 0));
        rig.one_tcp(3, tcp(V, C, "A", 501, 102, 0), SWITCH, CLIENT);
    }),
    ("the sequence numbers wrap", || {
        let mut rig = Rig::web(1);
        rig.client(tcp(C, V, "S", u32::MAX - 2, 0, 0));
        rig.server(1, tcp(R, C, "SA", u32::MAX, u32::MAX - 1, 0));
        rig.client(tcp(C, V, "PA", u32::MAX - 1, 0, 10));
        rig.settle();
        rig.client(tcp(C, V, "R", 8, 0, 0));
        rig.moved(&["verdict.forwarded", "flow.reset"]);
    }),
];
