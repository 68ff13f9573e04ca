//! One real, every depth, every answer: what is said, when, and what the real saw.

use std::time::Duration;

use acm_switch::acm::words::{Health, HealthDepth, HealthProfile, HttpCheck, TcpAbilities};
use acm_switch::base::addr::{Mac, Protocol};
use acm_switch::base::id::BindingId;
use acm_switch::base::span::Span;
use acm_switch::base::time::Time;
use etherparse::TcpOptionElement;

use crate::world::{Port, Real, World};

const MS: Duration = Duration::from_millis(1);
const SEC: Duration = Duration::from_secs(1);

fn depth(depth: HealthDepth) -> HealthProfile {
    HealthProfile { depth, ..HealthProfile::default() }
}

fn http(contains: Option<&str>) -> HealthProfile {
    let check = HttpCheck { path: "/health".into(), host: None, status: 200, contains: contains.map(Into::into) };
    HealthProfile { http: Some(check), ..HealthProfile::default() }
}

fn answering(answer: &str) -> Port {
    Port::Http { answer: answer.as_bytes().to_vec(), segment: 400, fin: true }
}

#[test]
fn the_first_check_runs_at_once_and_one_success_activates() {
    let mut world = World::with(Port::Open);
    world.watch(1, Protocol::Tcp, &HealthProfile::default());
    assert_eq!(world.checks.next_deadline(), Some(Time::ZERO));
    world.run(2 * MS);
    assert_eq!(world.says(1), "passing");
    assert_eq!(world.mac(1), Some(Mac([2, 0, 0, 1, 0, 1])));
    let texts: Vec<_> = world.findings.iter().map(|(_, finding)| &finding.health).collect();
    assert_eq!(texts, [&Health::Unknown("waiting for an ARP reply from 10.1.0.1".into()), &Health::Passing]);
    let real = world.real(1);
    assert_eq!((real.saw("arp-broadcast"), real.saw("echo"), real.saw("syn"), real.saw("rst")), (1, 1, 1, 1));
    assert_eq!(real.saw("ack"), 0, "the handshake is never completed");
}

#[test]
fn each_depth_goes_no_deeper() {
    for (profile, echo, syn) in
        [(depth(HealthDepth::L2), 0, 0), (depth(HealthDepth::L3), 1, 0), (depth(HealthDepth::L4), 1, 1)]
    {
        let mut world = World::with(Port::Open);
        world.watch(1, Protocol::Tcp, &profile);
        world.run(10 * MS);
        assert_eq!(world.says(1), "passing");
        assert_eq!((world.real(1).saw("echo"), world.real(1).saw("syn")), (echo, syn), "{:?}", profile.depth);
    }
}

#[test]
fn what_a_reals_tcp_has_is_learnt_from_its_answer() {
    let mut world = World::with(Port::Open);
    world.watch(1, Protocol::Tcp, &HealthProfile::default());
    world.run(2 * MS);
    let tcp = |world: &World| world.told[&BindingId(1)].tcp;
    let nothing = TcpAbilities { mss: 536, scale: false, sack: false, timestamps: false };
    assert_eq!(tcp(&world), Some(nothing));
    world.real(1).options = vec![
        TcpOptionElement::MaximumSegmentSize(1400),
        TcpOptionElement::WindowScale(7),
        TcpOptionElement::SelectiveAcknowledgementPermitted,
        TcpOptionElement::Timestamp(1, 2),
    ];
    world.run(2 * SEC);
    assert_eq!(tcp(&world), Some(TcpAbilities { mss: 1400, scale: true, sack: true, timestamps: true }));
    world.real(1).port = Port::Silent;
    world.run(20 * SEC);
    assert!(world.says(1).starts_with("failing"));
    assert!(world.findings.iter().all(|(_, finding)| (finding.health == Health::Passing) == finding.tcp.is_some()));
    assert_eq!(world.real(1).offered, ["mss 1460", "sack", "clocks", "scale"]);
}

#[test]
fn a_first_check_that_fails_stays_unknown_until_fall() {
    let mut world = World::with(Port::Closed);
    world.watch(1, Protocol::Tcp, &HealthProfile::default());
    world.run(10 * MS);
    assert_eq!(world.says(1), "unknown: TCP connect to 10.1.0.1:8080 refused");
    world.run(3 * SEC);
    assert_eq!(world.real(1).saw("syn"), 2);
    assert_eq!(world.says(1), "unknown: TCP connect to 10.1.0.1:8080 refused");
    world.run(2 * SEC);
    assert_eq!(world.real(1).saw("syn"), 3);
    assert_eq!(world.says(1), "failing: TCP connect to 10.1.0.1:8080 refused");
    assert_eq!(world.findings.len(), 3, "waiting, refused, down: {:?}", world.findings);
    // Down now: `rise` passes bring it back, one does not.
    world.real(1).port = Port::Open;
    world.run(2 * SEC);
    assert_eq!((world.real(1).saw("syn"), world.says(1).starts_with("failing")), (4, true));
    world.run(2 * SEC);
    assert_eq!((world.real(1).saw("syn"), world.says(1).as_str()), (5, "passing"));
}

#[test]
fn reasons_name_the_step() {
    let gone = |real: &mut Real| real.arp = false;
    let mute = |real: &mut Real| real.echo = false;
    let none = |_: &mut Real| {};
    let l4 = HealthProfile::default();
    type Row = (Port, Protocol, HealthProfile, fn(&mut Real), &'static str);
    let rows: Vec<Row> = vec![
        (Port::Open, Protocol::Tcp, l4.clone(), gone, "no ARP reply from 10.1.0.1 within 1s"),
        (Port::Open, Protocol::Tcp, depth(HealthDepth::L2), gone, "no ARP reply from 10.1.0.1 within 1s"),
        (Port::Open, Protocol::Tcp, l4.clone(), mute, "no echo reply from 10.1.0.1 within 1s"),
        (Port::Silent, Protocol::Tcp, l4.clone(), none, "TCP connect to 10.1.0.1:8080 got no answer within 1s"),
        (Port::Lying, Protocol::Tcp, l4.clone(), none, "TCP connect to 10.1.0.1:8080 got no answer within 1s"),
        (
            Port::Filtered,
            Protocol::Tcp,
            l4.clone(),
            none,
            "TCP connect to 10.1.0.1:8080 refused: administratively prohibited",
        ),
        (Port::Closed, Protocol::Udp, l4.clone(), none, "UDP to 10.1.0.1:8080 refused: port unreachable"),
        (Port::Open, Protocol::Tcp, http(None), none, "HTTP GET /health on 10.1.0.1:8080 got no answer within 1s"),
        (
            answering("HTTP/1.1 503 Busy\r\n\r\n"),
            Protocol::Tcp,
            http(None),
            none,
            "HTTP GET /health on 10.1.0.1:8080 answered 503, expected 200",
        ),
        (
            answering("HTTP/1.1 200 OK\r\n\r\nbusy"),
            Protocol::Tcp,
            http(Some("ready")),
            none,
            "HTTP GET /health on 10.1.0.1:8080 answered 200, but the body lacks \"ready\"",
        ),
        (
            answering("HTTP/1.1 200"),
            Protocol::Tcp,
            http(None),
            none,
            "HTTP GET /health on 10.1.0.1:8080 was cut off: the server ended the connection",
        ),
        (
            answering("\0\u{1}garbage"),
            Protocol::Tcp,
            http(None),
            none,
            "HTTP GET /health on 10.1.0.1:8080 was answered by something that is not HTTP/1",
        ),
        (
            answering(&"HTTP/1.1 200 OK\r\n".chars().chain("X: y\r\n".chars().cycle()).take(6000).collect::<String>()),
            Protocol::Tcp,
            http(None),
            none,
            "HTTP GET /health on 10.1.0.1:8080 answered with a head longer than 4096 bytes",
        ),
        (
            Port::Http { answer: b"HTTP/1.1 200 OK\r\nContent-Le".to_vec(), segment: 1, fin: false },
            Protocol::Tcp,
            http(None),
            none,
            "HTTP GET /health on 10.1.0.1:8080 got no complete answer within 1s",
        ),
    ];
    for (port, protocol, profile, spoil, reason) in rows {
        let mut world = World::with(port);
        spoil(world.real(1));
        world.watch(1, protocol, &profile);
        world.run(1100 * MS);
        assert_eq!(world.says(1), format!("unknown: {reason}"));
        world.run(60 * SEC);
        assert_eq!(world.says(1), format!("failing: {reason}"));
    }
}

#[test]
fn udp_passes_when_nothing_objects() {
    for port in [Port::Open, Port::Silent] {
        let mut world = World::with(port);
        world.watch(1, Protocol::Udp, &HealthProfile::default());
        world.run(900 * MS);
        assert!(world.says(1).starts_with("unknown"), "the timeout is not over");
        world.run(200 * MS);
        assert_eq!(world.says(1), "passing");
    }
}

#[test]
fn http_passes_whole_chunked_and_in_crumbs() {
    let large = format!("HTTP/1.1 200 OK\r\n\r\n{}ready{}", "x".repeat(3000), "y".repeat(20_000));
    for (answer, segment) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nready".to_owned(), 1400),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nrea\r\n2\r\ndy\r\n0\r\n\r\n".to_owned(), 1),
        (large, 1400),
    ] {
        for fin in [true, false] {
            let mut world = World::with(Port::Http { answer: answer.clone().into_bytes(), segment, fin });
            world.watch(1, Protocol::Tcp, &http(Some("ready")));
            world.run(50 * MS);
            assert_eq!(world.says(1), "passing", "{answer:.60} in {segment}");
            assert_eq!(world.real(1).saw("request"), 1);
            assert!(world.real(1).saw("rst") >= 2, "both the probe and the conversation were reset");
        }
    }
}

#[test]
fn a_slow_host_fails_by_its_timeout_and_a_late_syn_ack_is_reset() {
    let mut world = World::with(Port::Open);
    world.watch(1, Protocol::Tcp, &HealthProfile { timeout: Span::millis(300), ..HealthProfile::default() });
    world.run(MS * 50);
    assert_eq!(world.says(1), "passing");
    world.real(1).delay = 400 * MS;
    world.run(20 * SEC);
    assert_eq!(world.says(1), "failing: no ARP reply from 10.1.0.1 within 300ms");
    world.real(1).delay = 200 * MS;
    world.run(20 * SEC);
    assert_eq!(world.says(1), "passing", "slow, but within its time");

    let mut world = World::with(Port::Silent);
    world.watch(1, Protocol::Tcp, &depth(HealthDepth::L4));
    world.run(50 * MS);
    let resets = world.real(1).saw("rst");
    world.real(1).port = Port::Open;
    world.real(1).delay = 1200 * MS;
    world.run(SEC * 2);
    assert_eq!(world.real(1).saw("syn"), 3, "asked three times within the second");
    assert_eq!(world.real(1).saw("rst"), resets + 2, "the two SYN-ACKs that came too late are reset");
    assert!(world.says(1).ends_with("got no answer within 1s"), "{}", world.says(1));
}

#[test]
fn link_only_is_never_failed_and_follows_a_moved_address() {
    let mut world = World::with(Port::Closed);
    world.watch(1, Protocol::Tcp, &HealthProfile::link_only());
    world.run(MS);
    assert_eq!(world.says(1), "passing");
    world.real(1).arp = false;
    world.run(600 * SEC);
    assert_eq!(world.says(1), "passing");
    let asked = world.real(1).saw("arp-unicast") + world.real(1).saw("arp-broadcast");
    assert!((30..150).contains(&asked), "{asked} requests in ten silent minutes");
    let moved = Mac([2, 0, 0, 0, 9, 9]);
    (world.real(1).arp, world.real(1).mac) = (true, moved);
    world.run(60 * SEC);
    assert_eq!((world.mac(1), world.says(1).as_str()), (Some(moved), "passing"));
    assert_eq!(world.findings.len(), 3, "waiting, passing, moved");
}

#[test]
fn link_only_is_active_as_soon_as_the_address_is_known() {
    let mut world = World::with(Port::Closed);
    world.real(1).arp = false;
    world.watch(1, Protocol::Tcp, &HealthProfile::link_only());
    world.run(60 * SEC);
    assert_eq!(world.says(1), "failing: no ARP reply from 10.1.0.1 within 1s");
    world.real(1).arp = true;
    world.run(18 * SEC);
    assert_eq!(world.says(1), "passing", "one answer is enough, and backing off has a bound");
}

#[test]
fn a_host_that_moves_to_another_address_keeps_passing() {
    let mut world = World::with(Port::Open);
    world.watch(1, Protocol::Tcp, &HealthProfile::default());
    world.run(5 * SEC);
    // Fail-over: same IP address, other machine. The frames to the old one go nowhere.
    let mut other = Real::new(1, Port::Open);
    other.mac = Mac([2, 0, 0, 0, 9, 9]);
    world.real(1).arp = false;
    world.real(1).echo = false;
    world.run(2 * SEC);
    world.add(other);
    world.run(4 * SEC);
    assert_eq!(world.mac(1), Some(Mac([2, 0, 0, 0, 9, 9])));
    assert!(world.findings.iter().all(|(_, finding)| !matches!(finding.health, Health::Failing(_))));
}

#[test]
fn while_the_first_check_takes_long_it_says_what_it_waits_for() {
    let mut world = World::with(Port::Open);
    world.watch(1, Protocol::Udp, &HealthProfile::default());
    world.run(500 * MS);
    assert_eq!(world.says(1), "unknown: waiting whether UDP to 10.1.0.1:8080 is refused");

    let mut world = World::with(Port::Open);
    world.watch(1, Protocol::Tcp, &http(None));
    world.run(500 * MS);
    assert_eq!(world.says(1), "unknown: waiting for an HTTP answer from 10.1.0.1:8080");

    let mut world = World::with(Port::Silent);
    world.watch(1, Protocol::Tcp, &HealthProfile::default());
    world.run(500 * MS);
    assert_eq!(world.says(1), "unknown: waiting for a TCP connect to 10.1.0.1:8080");
}

#[test]
fn changing_options_interrupts_nobody() {
    let mut world = World::with(Port::Open);
    world.watch(1, Protocol::Tcp, &HealthProfile::default());
    world.run(SEC);
    let findings = world.findings.len();
    world.watch(1, Protocol::Tcp, &HealthProfile::default());
    world.watch(1, Protocol::Tcp, &HealthProfile { interval: Span::secs(3), ..HealthProfile::default() });
    world.run(10 * SEC);
    assert_eq!((world.says(1).as_str(), world.findings.len()), ("passing", findings));
    // Another real under the same id starts from nothing.
    world.add(Real::new(2, Port::Silent));
    let addr = world.real(2).addr();
    world.watch_as(1, addr, Protocol::Tcp, &HealthProfile::default());
    world.run(SEC / 2);
    assert!(world.says(1).starts_with("unknown"), "{}", world.says(1));
}

#[test]
fn ipv6_says_so() {
    let mut world = World::new(1);
    let profile = HealthProfile { fall: 1, ..HealthProfile::default() };
    world.watch_as(1, "[2001:db8::1]:80".parse().unwrap(), Protocol::Tcp, &profile);
    world.run(MS);
    assert_eq!(world.says(1), "failing: IPv6 checks are not built yet, so 2001:db8::1 cannot be checked");
}
