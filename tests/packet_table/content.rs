//! Content services: the handshake with a cookie, the choice, the splice, and what comes back.

use std::time::Duration;

use acm_switch::acm::rules::{Action, Condition, Content, Rule, Strangers, Switching, TextMatch};
use acm_switch::acm::words::{Refusal, TcpAbilities};
use acm_switch::plane::Verdict;
use acm_switch::plane::counters::Counter;

use crate::Row;
use crate::rig::*;
use crate::talk::*;

pub const R1: &str = "10.0.0.11:8080";
pub const R2: &str = "10.0.0.12:8080";
pub const GET: &str = "GET /a HTTP/1.1\r\nHost: x\r\n\r\n";

fn to_group(name: &str, prefix: &str) -> Rule {
    Rule {
        name: name.parse().unwrap(),
        when: vec![Condition::Path(TextMatch::Prefix(prefix.into()))],
        case: Default::default(),
        then: Action::Group(name.parse().unwrap()),
    }
}

/// Server 1 in group `one` for /1, server 2 in group `two` for /2.
pub fn two_groups() -> Rig {
    let mut rig = Rig::content(2);
    for (n, real, group) in [(1, R1, "one"), (2, R2, "two")] {
        rig.bind(VIP80, real, n, |binding| binding.will.group = group.parse().unwrap());
    }
    rig.service(VIP80, |service| service.rules = vec![to_group("one", "/1"), to_group("two", "/2")].into());
    rig.settle();
    rig
}

/// A client with number 100 that has asked for this; returns the switch's first number and the SYN a server got.
pub fn asked(rig: &mut Rig, request: &str) -> (u32, u16, Seg) {
    let answer = rig.shake(seg(C, VIP80, "S", 100, 0, ""));
    let first = answer.seq.wrapping_add(1);
    rig.c(seg(C, VIP80, "A", 101, first, ""));
    assert!(rig.sent.is_empty());
    assert_eq!(rig.c(seg(C, VIP80, "PA", 101, first, request)), Verdict::Held);
    let mut heard = rig.heard();
    assert_eq!(heard.len(), 1, "{heard:#?}");
    let (port, syn) = heard.remove(0);
    (first, port, syn)
}

/// A server's numbers begin at 7000 and the request was passed on.
pub fn spliced(rig: &mut Rig, request: &str) -> (u32, u8) {
    let (first, port, syn) = asked(rig, request);
    assert_eq!((syn.flags.as_str(), syn.seq, syn.from.as_str()), ("S", 100, C));
    let real = syn.to.clone();
    rig.s(port as u8, seg(&real, C, "SA", 6999, 101, ""));
    let replay = rig.heard_one(port);
    assert_eq!((replay.flags.as_str(), replay.seq, replay.ack, replay.text()), ("PA", 101, 7000, request));
    let end = 101 + request.len() as u32;
    rig.s(port as u8, seg(&real, C, "A", 7000, end, ""));
    let ack = rig.heard_one(0);
    assert_eq!((ack.flags.as_str(), ack.seq, ack.ack), ("A", first, end));
    rig.settle();
    (first, port as u8)
}

pub const ROWS: &[Row] = &[
    ("a SYN is answered, and nothing is remembered", || {
        let mut rig = Rig::content(1);
        let answer = rig.shake(seg(C, VIP80, "S", 100, 0, ""));
        assert_eq!((answer.ack, answer.mss, answer.scale, answer.clocks), (101, Some(1460), None, None));
        assert_eq!((rig.plane.flows(), rig.plane.content_connections()), (0, 0));
        rig.moved(&["verdict.answered", "content.cookie_sent"]);
    }),
    ("what a client has comes back with its clock", || {
        let mut rig = Rig::content(1);
        let syn = Seg {
            mss: Some(1300),
            scale: Some(9),
            sack_permitted: true,
            clocks: Some((5000, 0)),
            ..seg(C, VIP80, "S", 100, 0, "")
        };
        let answer = rig.shake(syn);
        assert_eq!((answer.mss, answer.scale, answer.sack_permitted), (Some(1460), Some(7), true));
        let (value, echo) = answer.clocks.unwrap();
        assert_eq!(echo, 5000);
        let first = answer.seq.wrapping_add(1);
        rig.c(Seg { clocks: Some((5001, value)), ..seg(C, VIP80, "PA", 101, first, GET) });
        let syn = rig.heard_one(1);
        assert_eq!((syn.mss, syn.scale, syn.sack_permitted), (Some(1288), Some(9), true), "room for timestamps");
        assert_eq!(syn.clocks, Some((5001, 0)));
    }),
    ("no more is offered than every server has", || {
        let all = TcpAbilities { mss: 1460, scale: true, sack: true, timestamps: true };
        let least = TcpAbilities { mss: 1000, ..all };
        let tiny = TcpAbilities { mss: 200, ..all };
        let no_scale = TcpAbilities { scale: false, ..all };
        let no_sack = TcpAbilities { sack: false, ..all };
        let no_clock = TcpAbilities { timestamps: false, ..all };
        let syn = Seg {
            mss: Some(1460),
            scale: Some(9),
            sack_permitted: true,
            clocks: Some((5000, 0)),
            ..seg(C, VIP80, "S", 100, 0, "")
        };
        // Of one server nothing is known.
        for (real, mss, scale, sack, has_clock) in [
            (None, 1460, true, true, true),
            (Some(all), 1460, true, true, true),
            (Some(least), 1000, true, true, true),
            (Some(tiny), 536, true, true, true),
            (Some(no_scale), 1460, false, true, true),
            (Some(no_sack), 1460, true, false, true),
            (Some(no_clock), 1460, false, false, false),
        ] {
            let mut rig = Rig::content(2);
            rig.bind(VIP80, R1, 1, |binding| binding.observed.tcp = real);
            rig.settle();
            let answer = rig.shake(syn.clone());
            let offered = (answer.mss, answer.scale, answer.sack_permitted, answer.clocks.is_some());
            assert_eq!(offered, (Some(mss), scale.then_some(7), sack, has_clock), "{real:?}");
            // Who takes no new connections does not count.
            rig.drain(VIP80, R1, 1);
            rig.settle();
            let again = rig.shake(Seg { seq: 500, ..syn.clone() });
            assert_eq!((again.mss, again.scale, again.sack_permitted), (Some(1460), Some(7), true), "{real:?}");
        }
    }),
    ("what a client was not offered it has not", || {
        let mut rig = Rig::content(1);
        let no_scale = TcpAbilities { mss: 1460, scale: false, sack: true, timestamps: true };
        rig.bind(VIP80, R1, 1, |binding| binding.observed.tcp = Some(no_scale));
        rig.settle();
        let syn = Seg { scale: Some(9), clocks: Some((5000, 0)), ..seg(C, VIP80, "S", 100, 0, "") };
        let answer = rig.shake(syn);
        let (first, echo) = (answer.seq.wrapping_add(1), answer.clocks.unwrap().0);
        rig.c(Seg { clocks: Some((5001, echo)), window: 1000, ..seg(C, VIP80, "PA", 101, first, GET) });
        let syn = rig.heard_one(1);
        assert_eq!((syn.scale, syn.window, syn.clocks), (None, 1000, Some((5001, 0))));
    }),
    ("only the next byte and a good cookie make a connection", || {
        let mut rig = Rig::content(1);
        let first = rig.shake(seg(C, VIP80, "S", 100, 0, "")).seq.wrapping_add(1);
        rig.settle();
        for (seq, ack) in [(102, first), (101, first.wrapping_add(1)), (101, first.wrapping_sub(1)), (100, first)] {
            assert_eq!(rig.c(seg(C, VIP80, "A", seq, ack, "")), Verdict::Dropped(Counter::Cookie));
        }
        assert_eq!(rig.plane.content_connections(), 0);
        rig.moved(&["verdict.dropped"; 4].iter().chain(&["drop.cookie"; 4]).copied().collect::<Vec<_>>());
        rig.c(seg(C, VIP80, "A", 101, first, ""));
        assert_eq!((rig.plane.content_connections(), rig.live(1)), (1, 0));
        rig.nothing_sent();
    }),
    ("a cookie is good for two minutes at most", || {
        let mut rig = Rig::content(1);
        let first = rig.shake(seg(C, VIP80, "S", 100, 0, "")).seq.wrapping_add(1);
        rig.pass(Duration::from_secs(129));
        assert_eq!(rig.c(seg(C, VIP80, "A", 101, first, "")), Verdict::Dropped(Counter::Cookie));
    }),
    ("a request meets its server, and the response its client", || {
        let mut rig = Rig::content(1);
        let (first, port) = spliced(&mut rig, GET);
        assert_eq!(rig.live(1), 1);
        let end = 101 + GET.len() as u32;
        let response = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
        rig.s(port, seg(R1, C, "PA", 7000, end, response));
        let got = rig.heard_one(0);
        assert_eq!((got.from.as_str(), got.seq, got.ack, got.text()), (VIP80, first, end, response));
        let behind = first.wrapping_add(response.len() as u32);
        rig.c(seg(C, VIP80, "A", end, behind, ""));
        let ack = rig.heard_one(1);
        assert_eq!((ack.to.as_str(), ack.seq, ack.ack), (R1, end, 7000 + response.len() as u32));
        rig.moved(&["verdict.forwarded", "verdict.forwarded"]);
    }),
    ("the next request passes in place", || {
        let mut rig = Rig::content(1);
        let (first, port) = spliced(&mut rig, GET);
        let end = 101 + GET.len() as u32;
        let response = "HTTP/1.1 204 No\r\n\r\n";
        rig.s(port, seg(R1, C, "PA", 7000, end, response));
        let behind = first.wrapping_add(response.len() as u32);
        rig.settle();
        assert_eq!(rig.c(seg(C, VIP80, "PA", end, behind, GET)), Verdict::Forwarded);
        let got = rig.heard_one(1);
        assert_eq!((got.seq, got.ack, got.text()), (end, 7000 + response.len() as u32, GET));
        rig.moved(&["verdict.forwarded", "content.requests"]);
    }),
    ("connections keep their mode when their service ceases to look into requests", || {
        let mut rig = Rig::content(1);
        let (first, port) = spliced(&mut rig, GET);
        let response = "HTTP/1.1 204 No\r\n\r\n";
        let end = 101 + GET.len() as u32;
        rig.s(port, seg(R1, C, "PA", 7000, end, response));
        rig.settle();
        rig.service(VIP80, |service| service.content = Content::None);
        rig.settle();
        let behind = first.wrapping_add(response.len() as u32);
        assert_eq!(rig.c(seg(C, VIP80, "PA", end, behind, GET)), Verdict::Forwarded);
        let got = rig.heard_one(1);
        assert_eq!((got.seq, got.text()), (end, GET));
        assert_eq!(
            rig.c(seg("10.0.0.1:40001", VIP80, "S", 100, 0, "")),
            Verdict::Forwarded,
            "new ones have the new one"
        );
    }),
    ("a client whose SYN was answered is heard after its service ceased to look into requests", || {
        let mut rig = Rig::content(1);
        let first = rig.shake(seg(C, VIP80, "S", 100, 0, "")).seq.wrapping_add(1);
        rig.service(VIP80, |service| service.content = Content::None);
        rig.settle();
        rig.c(seg(C, VIP80, "PA", 101, first, GET));
        assert_eq!(rig.heard_one(1).flags, "S");
    }),
    ("a head in pieces, out of order and again", || {
        let mut rig = Rig::content(1);
        let first = rig.shake(seg(C, VIP80, "S", 100, 0, "")).seq.wrapping_add(1);
        rig.c(seg(C, VIP80, "A", 101, first, ""));
        rig.settle();
        rig.c(seg(C, VIP80, "A", 105, first, &GET[4..10]));
        assert_eq!(rig.heard_one(0).ack, 101, "a gap");
        rig.c(seg(C, VIP80, "A", 101, first, &GET[..6]));
        assert_eq!(rig.heard_one(0).ack, 111);
        rig.c(seg(C, VIP80, "A", 101, first, &GET[..4]));
        assert_eq!(rig.heard_one(0).ack, 111, "again");
        rig.c(seg(C, VIP80, "A", 111, first, &GET[10..]));
        let syn = rig.heard_one(1);
        rig.s(1, seg(R1, C, "SA", 6999, syn.seq + 1, ""));
        assert_eq!(rig.heard_one(1).text(), GET);
    }),
    ("a segment that contradicts another ends it", || {
        let mut rig = Rig::content(1);
        let first = rig.shake(seg(C, VIP80, "S", 100, 0, "")).seq.wrapping_add(1);
        rig.c(seg(C, VIP80, "A", 101, first, "GET /a HT"));
        rig.settle();
        assert_eq!(rig.c(seg(C, VIP80, "A", 103, first, "T /b HTTP")), Verdict::Dropped(Counter::ContentOverlap));
        let reset = rig.heard_one(0);
        assert_eq!((reset.flags.as_str(), reset.seq), ("RA", first));
        assert_eq!(rig.plane.content_connections(), 0);
    }),
    ("a head that is too slow is refused, and one never begun is let go", || {
        let mut rig = Rig::content(1);
        let first = rig.shake(seg(C, VIP80, "S", 100, 0, "")).seq.wrapping_add(1);
        rig.c(seg(C, VIP80, "A", 101, first, "GET /a HT"));
        rig.settle();
        rig.pass(Duration::from_millis(4900));
        rig.nothing_sent();
        rig.pass(Duration::from_millis(200));
        let said = rig.heard_one(0);
        assert!(said.flags == "FPA" && said.text().starts_with("HTTP/1.1 408 "), "{said:?}");
        let idle = "10.0.0.1:40001";
        let first = rig.shake(seg(idle, VIP80, "S", 100, 0, "")).seq.wrapping_add(1);
        rig.c(seg(idle, VIP80, "A", 101, first, ""));
        rig.pass(Duration::from_secs(5));
        let heard = rig.heard();
        assert!(
            heard.iter().any(|(_, said)| said.to == idle && said.flags == "FPA" && said.data.is_empty()),
            "{heard:?}"
        );
    }),
    ("the switch sends again what it replayed", || {
        let mut rig = Rig::content(1);
        let (_, port, _) = asked(&mut rig, GET);
        rig.pass(Duration::from_millis(300));
        assert_eq!(rig.heard_one(1).flags, "S", "the SYN again");
        rig.s(port as u8, seg(R1, C, "SA", 6999, 101, ""));
        assert_eq!(rig.heard_one(1).text(), GET);
        rig.pass(Duration::from_millis(250));
        assert_eq!(rig.heard_one(1).text(), GET, "once more");
        rig.s(port as u8, seg(R1, C, "A", 7000, 101 + GET.len() as u32, ""));
        rig.settle();
        rig.pass(Duration::from_secs(5));
        rig.nothing_sent();
    }),
    ("a server that refuses is replaced, then there is none", || {
        let mut rig = Rig::content(2);
        let (first, port, _) = asked(&mut rig, GET);
        let real = |port: u16| if port == 1 { R1 } else { R2 };
        rig.s(port as u8, seg(real(port), C, "RA", 0, 101, ""));
        let syn = rig.heard_one(3 - port);
        assert_eq!((syn.flags.as_str(), syn.seq), ("S", 100));
        rig.s(3 - port as u8, seg(real(3 - port), C, "RA", 0, 101, ""));
        let said = rig.heard_one(0);
        assert!(said.text().starts_with("HTTP/1.1 503 ") && said.seq == first, "{said:?}");
        assert_eq!((rig.live(1), rig.live(2)), (0, 0));
    }),
    ("a server that does not answer is replaced", || {
        let mut rig = Rig::content(2);
        let (_, port, _) = asked(&mut rig, GET);
        rig.pass(Duration::from_secs(2));
        let heard = rig.heard();
        let to_other = heard.iter().filter(|(by, seg)| *by == 3 - port && seg.flags == "S").count();
        assert!(to_other >= 1 && heard.iter().filter(|(by, _)| *by == port).count() == 2, "{heard:#?}");
    }),
    ("an answer is sent again until it is acknowledged, and the client is heard out", || {
        let mut rig = Rig::content(1);
        let first = rig.shake(seg(C, VIP80, "S", 100, 0, "")).seq.wrapping_add(1);
        let bad = "GET /a HTTP/1.1\nHost: x\r\n\r\n";
        rig.c(seg(C, VIP80, "PA", 101, first, bad));
        let said = rig.heard_one(0);
        assert!(said.text().starts_with("HTTP/1.1 400 "), "{said:?}");
        assert_eq!((said.ack, said.flags.as_str()), (101 + bad.len() as u32, "FPA"));
        assert_eq!(rig.plane.counters().iter().find(|(name, _)| *name == "content.refused.bare-lf").unwrap().1, 1);
        rig.pass(Duration::from_millis(250));
        assert_eq!(rig.heard_one(0), said);
        let behind = first.wrapping_add(said.data.len() as u32 + 1);
        rig.c(seg(C, VIP80, "FA", said.ack, behind, ""));
        assert_eq!(rig.heard_one(0).ack, said.ack + 1);
        rig.pass(Duration::from_secs(15));
        rig.nothing_sent();
        assert_eq!((rig.plane.content_connections(), rig.plane.flows()), (0, 0));
    }),
    ("who was answered is heard out over gaps, and not for ever", || {
        let mut rig = Rig::content(1);
        let first = rig.shake(seg(C, VIP80, "S", 100, 0, "")).seq.wrapping_add(1);
        let bad = "POST /a HTTP/1.1\nHost: x\r\n\r\n";
        rig.c(seg(C, VIP80, "PA", 101, first, bad));
        let said = rig.heard_one(0);
        let behind = first.wrapping_add(said.data.len() as u32 + 1);
        // Nobody will look at what was lost before it.
        rig.c(seg(C, VIP80, "A", said.ack + 1000, behind, "more"));
        assert_eq!(rig.heard_one(0).ack, said.ack + 1004);
        for n in 0..59 {
            rig.pass(Duration::from_secs(1));
            rig.nothing_sent();
            rig.c(seg(C, VIP80, "A", said.ack + 1004 + n, behind, "x"));
            assert_eq!(rig.heard_one(0).ack, said.ack + 1005 + n);
        }
        rig.pass(Duration::from_millis(1100));
        let heard = rig.heard();
        assert!(heard.iter().any(|(port, said)| (*port, said.flags.as_str()) == (0, "RA")), "{heard:?}");
        rig.pass(Duration::from_secs(6));
        assert_eq!((rig.plane.content_connections(), rig.plane.flows()), (0, 0));
    }),
    ("a client that asks at a closed window whether its server is there hears that it is not", || {
        let mut rig = Rig::content(1);
        let (first, port) = spliced(&mut rig, GET);
        let mut end = 101 + GET.len() as u32;
        let part = "HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n";
        rig.s(port, seg(R1, C, "PA", 7000, end, part));
        let behind = first.wrapping_add(part.len() as u32);
        let more = "y".repeat(1024);
        for _ in 0..16 {
            rig.c(seg(C, VIP80, "A", end, behind, &more));
            end += 1024;
        }
        let told = rig.heard().pop().unwrap().1;
        assert_eq!((told.ack, told.window), (end, 0));
        // The server has reset meanwhile, and nobody has heard of it.
        rig.c(seg(C, VIP80, "A", end, behind, "y"));
        let asked = rig.heard().into_iter().find(|(by, _)| *by == u16::from(port)).unwrap().1;
        let next = 7000 + part.len() as u32;
        assert_eq!((asked.seq, asked.ack, asked.data.len()), (100 + GET.len() as u32, next, 0));
        rig.s(port, seg(R1, C, "R", next, 0, ""));
        assert!(rig.heard().iter().any(|(port, said)| *port == 0 && said.flags == "R" && said.seq == behind));
        assert_eq!(rig.live(1), 0);
    }),
    ("a bare acknowledgement from behind a gap is not answered", || {
        let mut rig = Rig::content(1);
        let first = rig.shake(seg(C, VIP80, "S", 100, 0, "")).seq.wrapping_add(1);
        rig.c(seg(C, VIP80, "A", 101, first, ""));
        assert_eq!(rig.c(seg(C, VIP80, "A", 121, first, "")), Verdict::Held);
        rig.c(seg(C, VIP80, "A", 101, first, GET));
        assert_eq!(rig.heard_one(1).flags, "S");
        assert_eq!(rig.c(seg(C, VIP80, "A", 201, first, "")), Verdict::Held);
        rig.nothing_sent();
    }),
    ("a response's bytes behind a gap are counted, and bounded in all", || {
        let mut rig = Rig::with_config(|config| config.content.held_max = 1).serving_content(1);
        let (_, port) = spliced(&mut rig, GET);
        let end = 101 + GET.len() as u32;
        let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        rig.s(port, seg(R1, C, "PA", 7000, end, head));
        let chunk = 7000 + head.len() as u32;
        rig.settle();
        assert_eq!(rig.plane.content_held(), 0);
        assert_eq!(rig.s(port, seg(R1, C, "PA", chunk + 3, end, "abc")), Verdict::Forwarded);
        assert!(rig.plane.content_held() >= 6);
        let further = rig.s(port, seg(R1, C, "PA", chunk + 8, end, "0\r\n"));
        assert_eq!(further, Verdict::Dropped(Counter::ContentHeldFull));
        assert_eq!(rig.s(port, seg(R1, C, "PA", chunk, end, "3\r\n")), Verdict::Forwarded, "what is missing has room");
        assert_eq!(rig.plane.content_held(), 0);
        assert_eq!(rig.s(port, seg(R1, C, "PA", chunk + 8, end, "0\r\n")), Verdict::Forwarded);
        assert!(rig.plane.content_held() > 0);
        rig.s(port, seg(R1, C, "RA", chunk + 11, end, ""));
        assert_eq!(rig.plane.content_held(), 0, "and none is left behind");
    }),
    ("requests go where their rules say, and servers are kept for later", || {
        let mut rig = two_groups();
        let one = "GET /1 HTTP/1.1\r\nHost: x\r\n\r\n";
        let two = "GET /2 HTTP/1.1\r\nHost: x\r\n\r\n";
        let (first, port) = spliced(&mut rig, one);
        assert_eq!(port, 1);
        let response = "HTTP/1.1 204 No\r\n\r\n";
        let (len, part) = (one.len() as u32, response.len() as u32);
        rig.s(1, seg(R1, C, "PA", 7000, 101 + len, response));
        rig.settle();
        // To the other server: a SYN numbered the client's next byte - 1; the first hears the acknowledgement.
        rig.c(seg(C, VIP80, "PA", 101 + len, first.wrapping_add(part), two));
        let heard = rig.heard();
        let [(1, ack), (2, syn)] = &heard[..] else { panic!("{heard:#?}") };
        assert_eq!((ack.flags.as_str(), ack.seq, ack.ack), ("A", 101 + len, 7000 + part));
        assert_eq!((syn.flags.as_str(), syn.seq), ("S", 100 + len));
        rig.s(2, seg(R2, C, "SA", 900, 101 + len, ""));
        let replay = rig.heard_one(2);
        assert_eq!((replay.seq, replay.ack, replay.text()), (101 + len, 901, two));
        rig.s(2, seg(R2, C, "PA", 901, 101 + 2 * len, response));
        let got = rig.heard_one(0);
        assert_eq!((got.seq, got.ack, got.text()), (first.wrapping_add(part), 101 + 2 * len, response));
        assert_eq!((rig.live(1), rig.live(2)), (1, 1));
        rig.settle();
        // Back to the first, in place: it has not seen what the other got.
        assert_eq!(rig.c(seg(C, VIP80, "PA", 101 + 2 * len, first.wrapping_add(2 * part), one)), Verdict::Forwarded);
        let heard = rig.heard();
        let [(1, again), (2, ack)] = &heard[..] else { panic!("{heard:#?}") };
        assert_eq!((again.seq, again.ack, again.text()), (101 + len, 7000 + part, one));
        assert_eq!((ack.flags.as_str(), ack.ack), ("A", 901 + part));
        rig.s(1, seg(R1, C, "PA", 7000 + part, 101 + 2 * len, response));
        let got = rig.heard_one(0);
        assert_eq!((got.seq, got.ack), (first.wrapping_add(2 * part), 101 + 3 * len));
        // The other repeats itself: it is told again, and the client hears nothing.
        rig.s(2, seg(R2, C, "PA", 901, 101 + 2 * len, response));
        let told = rig.heard_one(2);
        assert_eq!((told.seq, told.ack), (101 + 2 * len, 901 + part));
    }),
    ("pipelined requests wait for their turn", || {
        let mut rig = two_groups();
        let (one, two) = ("GET /1 HTTP/1.1\r\nHost: x\r\n\r\n", "GET /2 HTTP/1.1\r\nHost: x\r\n\r\n");
        let (first, port, _) = asked(&mut rig, &format!("{one}{two}"));
        assert_eq!(port, 1);
        rig.s(1, seg(R1, C, "SA", 6999, 101, ""));
        assert_eq!(rig.heard_one(1).text(), one, "the first alone");
        let response = "HTTP/1.1 204 No\r\n\r\n";
        let (len, part) = (one.len() as u32, response.len() as u32);
        rig.s(1, seg(R1, C, "PA", 7000, 101 + len, response));
        assert_eq!(rig.heard_one(0).text(), response);
        rig.c(seg(C, VIP80, "A", 101 + 2 * len, first.wrapping_add(part), ""));
        let heard = rig.heard();
        let syn = heard.iter().find(|(port, _)| *port == 2).unwrap();
        assert_eq!((syn.1.flags.as_str(), syn.1.seq), ("S", 100 + len));
        rig.s(2, seg(R2, C, "SA", 900, 101 + len, ""));
        assert_eq!(rig.heard_one(2).text(), two);
    }),
    ("in first-request mode everything follows the first", || {
        let mut rig = two_groups();
        rig.service(VIP80, |service| service.switching = Switching::FirstRequest);
        let (one, two) = ("GET /1 HTTP/1.1\r\nHost: x\r\n\r\n", "GET /2 HTTP/1.1\r\nHost: x\r\n\r\n");
        let (first, _) = spliced(&mut rig, one);
        assert_eq!(rig.c(seg(C, VIP80, "PA", 101 + one.len() as u32, first, two)), Verdict::Forwarded);
        assert_eq!(rig.heard_one(1).text(), two);
    }),
    ("windows, clocks and selective acknowledgements are translated", || {
        let mut rig = Rig::content(1);
        let syn = Seg {
            mss: Some(1460),
            scale: Some(3),
            sack_permitted: true,
            clocks: Some((5000, 0)),
            ..seg(C, VIP80, "S", 100, 0, "")
        };
        let answer = rig.shake(syn);
        let (first, own) = (answer.seq.wrapping_add(1), answer.clocks.unwrap().0);
        rig.c(Seg { clocks: Some((5001, own)), ..seg(C, VIP80, "PA", 101, first, GET) });
        rig.settle();
        let up = Seg {
            mss: Some(1460),
            scale: Some(9),
            sack_permitted: true,
            clocks: Some((77, 5001)),
            window: 1000,
            ..seg(R1, C, "SA", 6999, 101, "")
        };
        rig.s(1, up);
        let replay = rig.heard_one(1);
        assert_eq!((replay.clocks, replay.window), (Some((5001, 77)), 1000), "the client's own scale");
        let end = 101 + GET.len() as u32;
        let ack = Seg { window: 10, clocks: Some((78, 5001)), ..seg(R1, C, "A", 7000, end, "") };
        rig.s(1, ack);
        let got = rig.heard_one(0);
        assert_eq!(got.window, 40, "10 << 9 is 40 << 7");
        let (value, echo) = got.clocks.unwrap();
        assert!(echo == 5001 && value.wrapping_sub(own) < 1000, "{value} {own}");
        let sack = vec![(first.wrapping_add(1000), first.wrapping_add(2000))];
        rig.c(Seg { clocks: Some((5002, value)), sack, ..seg(C, VIP80, "A", end, first, "") });
        let told = rig.heard_one(1);
        assert_eq!((told.clocks, told.sack), (Some((5002, 78)), vec![(8000, 9000)]));
    }),
    ("a server with fewer options gets fewer", || {
        let mut rig = Rig::content(1);
        let syn =
            Seg { scale: Some(3), sack_permitted: true, clocks: Some((5000, 0)), ..seg(C, VIP80, "S", 100, 0, "") };
        let answer = rig.shake(syn);
        let (first, own) = (answer.seq.wrapping_add(1), answer.clocks.unwrap().0);
        rig.c(Seg { clocks: Some((5001, own)), ..seg(C, VIP80, "PA", 101, first, GET) });
        rig.settle();
        rig.s(1, seg(R1, C, "SA", 6999, 101, ""));
        assert_eq!(rig.heard_one(1).window, 8000, "not scaled");
        let end = 101 + GET.len() as u32;
        rig.s(1, Seg { window: 64_000, ..seg(R1, C, "PA", 7000, end, "HTTP") });
        let got = rig.heard_one(0);
        assert_eq!((got.window, got.text()), (500, "HTTP"));
        assert!(got.clocks.is_some_and(|(value, echo)| value.wrapping_sub(own) < 1000 && echo == 5001), "{got:?}");
        let sack = vec![(first.wrapping_add(1000), first.wrapping_add(2000))];
        rig.c(Seg { clocks: Some((5002, own)), sack, window: 1000, ..seg(C, VIP80, "A", end, first, "") });
        let told = rig.heard_one(1);
        assert_eq!((told.clocks, told.sack, told.window), (None, vec![], 8000));
    }),
    ("both close, and the last segments pass", || {
        let mut rig = Rig::content(1);
        let request = "GET /a HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        let (first, _) = spliced(&mut rig, request);
        let end = 101 + request.len() as u32;
        rig.s(1, seg(R1, C, "FPA", 7000, end, "HTTP/1.1 200 OK\r\n\r\nhello"));
        let got = rig.heard_one(0);
        assert_eq!(got.flags, "FPA");
        let behind = first.wrapping_add(got.data.len() as u32 + 1);
        rig.c(seg(C, VIP80, "FA", end, behind, ""));
        let fin = rig.heard_one(1);
        assert_eq!((fin.flags.as_str(), fin.ack), ("FA", 7000 + got.data.len() as u32 + 1));
        assert_eq!((rig.live(1), rig.plane.content_connections()), (0, 1));
        rig.s(1, seg(R1, C, "A", fin.ack, end + 1, ""));
        assert_eq!(rig.heard_one(0).ack, end + 1);
        rig.pass(Duration::from_secs(14));
        assert_eq!((rig.plane.content_connections(), rig.plane.flows()), (0, 0));
    }),
    ("TLS goes by the server name, and is opaque from there on", || {
        let mut rig = Rig::content(2);
        for (n, real, group) in [(1, R1, "default"), (2, R2, "shop")] {
            rig.bind(VIP80, real, n, |binding| binding.will.group = group.parse().unwrap());
        }
        let rule = Rule { when: vec![Condition::Sni("shop.example".into())], ..to_group("shop", "/") };
        rig.service(VIP80, |service| {
            service.content = Content::Tls;
            service.rules = vec![rule].into();
        });
        rig.settle();
        let name = b"shop.example";
        let mut extension = vec![0, 0, 0, name.len() as u8 + 5, 0, name.len() as u8 + 3, 0, 0, name.len() as u8];
        extension.extend(name);
        let mut body = vec![3, 3];
        body.extend([7; 32]);
        body.extend([0, 0, 2, 0x13, 1, 1, 0, 0, extension.len() as u8]);
        body.extend(extension);
        let mut hello = vec![22, 3, 1, 0, body.len() as u8 + 4, 1, 0, 0, body.len() as u8];
        hello.extend(body);
        let first = rig.shake(seg(C, VIP80, "S", 100, 0, "")).seq.wrapping_add(1);
        rig.c(Seg { data: hello[..40].to_vec(), ..seg(C, VIP80, "PA", 101, first, "") });
        assert_eq!(rig.heard_one(0).ack, 141);
        rig.c(Seg { data: hello[40..].to_vec(), ..seg(C, VIP80, "PA", 141, first, "") });
        let syn = rig.heard_one(2);
        rig.s(2, seg(R2, C, "SA", 6999, syn.seq + 1, ""));
        assert_eq!(rig.heard_one(2).data, hello);
        let end = 101 + hello.len() as u32;
        assert_eq!(rig.c(seg(C, VIP80, "PA", end, first, "anything")), Verdict::Forwarded);
        rig.settle();
        let other = "10.0.0.1:40001";
        let first = rig.shake(seg(other, VIP80, "S", 100, 0, "")).seq.wrapping_add(1);
        rig.c(Seg { data: vec![22, 3, 1, 0, 4, 2, 0, 0, 0], ..seg(other, VIP80, "PA", 101, first, "") });
        let alert = rig.heard_one(0);
        assert_eq!((alert.flags.as_str(), &alert.data[..]), ("FPA", &[21, 3, 1, 0, 2, 2, 50][..]));
    }),
    ("strangers are reset where the service says so, and only they", || {
        let mut rig = Rig::content(1);
        rig.service(VIP80, |service| service.strangers = Strangers::Reset);
        rig.settle();
        spliced(&mut rig, GET);
        rig.settle();
        for (content, port, strange) in [
            (Content::Http, 40_001, "\u{1}\u{2}\u{3}"),
            (Content::Http, 40_002, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
            (Content::Tls, 40_003, GET),
        ] {
            rig.service(VIP80, |service| service.content = content);
            let client = format!("10.0.0.1:{port}");
            let first = rig.shake(seg(&client, VIP80, "S", 100, 0, "")).seq.wrapping_add(1);
            rig.settle();
            rig.c(seg(&client, VIP80, "PA", 101, first, strange));
            let reset = rig.heard_one(0);
            assert_eq!(
                (reset.flags.as_str(), reset.seq, reset.to.as_str()),
                ("RA", first, client.as_str()),
                "{strange}"
            );
            rig.moved(&["verdict.held", "content.accepted", "content.strangers", "reset.sent"]);
        }
        assert_eq!(rig.live(1), 1, "who asked in HTTP goes on");
    }),
    ("a request without a server is reset where the service says so", || {
        let mut rig = Rig::content(1);
        rig.drain(VIP80, R1, 1);
        rig.service(VIP80, |service| service.when_none = Refusal::Reset);
        rig.settle();
        let first = rig.shake(seg(C, VIP80, "S", 100, 0, "")).seq.wrapping_add(1);
        rig.c(seg(C, VIP80, "PA", 101, first, GET));
        let reset = rig.heard_one(0);
        assert_eq!((reset.flags.as_str(), reset.seq), ("RA", first));
    }),
    ("one empty line before a request is passed over, and passed on", || {
        let mut rig = Rig::content(1);
        let early = format!("\r\n{GET}");
        let (first, port) = spliced(&mut rig, &early);
        let response = "HTTP/1.1 204 No\r\n\r\n";
        let (end, behind) = (101 + early.len() as u32, first.wrapping_add(response.len() as u32));
        rig.s(port, seg(R1, C, "PA", 7000, end, response));
        rig.settle();
        // Before the next request of the connection as well, also when it comes before it.
        rig.c(seg(C, VIP80, "PA", end, behind, "\r\n"));
        rig.settle();
        rig.c(seg(C, VIP80, "PA", end + 2, behind, GET));
        let got = rig.heard();
        let text: String = got.iter().filter(|(port, _)| *port == 1).map(|(_, seg)| seg.text()).collect();
        assert_eq!(text, early, "{got:#?}");
    }),
    ("an empty line behind a request is no head that is late", || {
        let mut rig = Rig::content(1);
        let (first, port) = spliced(&mut rig, GET);
        let response = "HTTP/1.1 204 No\r\n\r\n";
        let (end, behind) = (101 + GET.len() as u32, first.wrapping_add(response.len() as u32));
        rig.s(port, seg(R1, C, "PA", 7000, end, response));
        // As clients of old did behind a POST.
        rig.c(seg(C, VIP80, "PA", end, behind, "\r\n"));
        rig.settle();
        rig.pass(Duration::from_secs(60));
        rig.nothing_sent();
        rig.c(seg(C, VIP80, "PA", end + 2, behind, &GET[..5]));
        rig.settle();
        rig.pass(Duration::from_secs(6));
        let said = rig.heard();
        assert!(said.iter().any(|(port, seg)| *port == 0 && seg.text().starts_with("HTTP/1.1 408 ")), "{said:#?}");
    }),
    ("more than one empty line, or a bare line feed, is refused", || {
        for before in ["\r\n\r\n", "\n", "\r\r\n", " \r\n"] {
            let mut rig = Rig::content(1);
            let first = rig.shake(seg(C, VIP80, "S", 100, 0, "")).seq.wrapping_add(1);
            rig.c(seg(C, VIP80, "PA", 101, first, &format!("{before}{GET}")));
            let said = rig.heard_one(0);
            assert!(said.text().starts_with("HTTP/1.1 400 "), "{before:?}: {said:?}");
        }
    }),
    ("a drain ends with the last request, not with the last client", || {
        let mut rig = Rig::content(2);
        let (first, port) = spliced(&mut rig, GET);
        let real = if port == 1 { R1 } else { R2 };
        let end = 101 + GET.len() as u32;
        rig.drain(VIP80, real, port);
        rig.poll();
        assert!(rig.notices.is_empty(), "a response is under way");
        let response = "HTTP/1.1 204 No\r\n\r\n";
        rig.s(port, seg(real, C, "PA", 7000, end, response));
        rig.settle();
        let behind = first.wrapping_add(response.len() as u32);
        rig.c(seg(C, VIP80, "A", end, behind, ""));
        let heard = rig.heard();
        let is_reset = |(by, seg): &(u16, Seg)| *by == u16::from(port) && seg.flags == "RA" && seg.seq == end;
        assert!(heard.iter().any(is_reset), "{heard:#?}");
        assert_eq!(format!("{:?}", rig.notices), format!("[Drained {{ binding: BindingId({port}) }}]"));
        rig.c(seg(C, VIP80, "PA", end, behind, GET));
        let syn = rig.heard_one(u16::from(3 - port));
        assert_eq!((syn.flags.as_str(), syn.seq), ("S", end - 1));
    }),
    ("exact RSTs of either side end it", || {
        for by_client in [true, false] {
            let mut rig = Rig::content(1);
            let (first, _) = spliced(&mut rig, GET);
            let end = 101 + GET.len() as u32;
            match by_client {
                true => rig.c(seg(C, VIP80, "R", end, 0, "")),
                false => rig.s(1, seg(R1, C, "RA", 7000, end, "")),
            };
            let reset = rig.heard_one(u16::from(by_client));
            assert!(reset.flags.starts_with('R') && reset.seq == if by_client { end } else { first });
            assert_eq!(rig.live(1), 0);
        }
    }),
    ("Force Remove resets both sides, and Remove waits for the last one", || {
        let mut rig = Rig::content(1);
        let (first, _) = spliced(&mut rig, GET);
        rig.drain(VIP80, R1, 1);
        assert!(rig.notices.is_empty());
        rig.unbind(VIP80, R1);
        rig.poll();
        let heard = rig.heard();
        let end = 101 + GET.len() as u32;
        assert!(heard.iter().any(|(port, seg)| *port == 0 && seg.flags == "RA" && seg.seq == first), "{heard:#?}");
        assert!(heard.iter().any(|(port, seg)| *port == 1 && seg.flags == "RA" && seg.seq == end), "{heard:#?}");
        assert_eq!(format!("{:?}", rig.notices), "[Cut { binding: BindingId(1), cut: 1 }]");
        rig.c(seg(C, VIP80, "A", end, first, ""));
        assert_eq!(rig.heard_one(0).flags, "R", "a tombstone");
        rig.pass(Duration::from_secs(8));
        assert_eq!((rig.plane.content_connections(), rig.plane.flows()), (0, 0));
    }),
    ("the same ends again, after the end", || {
        let mut rig = Rig::content(1);
        let (_, _) = spliced(&mut rig, GET);
        rig.c(seg(C, VIP80, "R", 101 + GET.len() as u32, 0, ""));
        rig.settle();
        let answer = rig.shake(seg(C, VIP80, "S", 90_000, 0, ""));
        rig.c(seg(C, VIP80, "PA", 90_001, answer.seq.wrapping_add(1), GET));
        let syn = rig.heard_one(1);
        assert_eq!((syn.flags.as_str(), syn.seq), ("S", 90_000));
        assert_eq!(rig.plane.content_connections(), 1);
    }),
];
