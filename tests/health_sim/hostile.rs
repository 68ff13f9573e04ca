//! Neighbours that lie, flood and forge; frames that are no frames; and a server that is not ours.

use std::net::SocketAddr;
use std::time::Duration;

use acm_switch::acm::words::{Health, HealthDepth, HealthProfile, HttpCheck};
use acm_switch::base::addr::{Mac, Protocol};
use acm_switch::base::id::BindingId;
use acm_switch::base::time::Time;
use etherparse::{ArpOperation, PacketBuilder};
use proptest::prelude::*;

use crate::world::{Port, Real, SWITCH_IP, SWITCH_MAC, World, arp, written};

const MS: Duration = Duration::from_millis(1);
const SEC: Duration = Duration::from_secs(1);
const EVIL: Mac = Mac([2, 0xe, 0xe, 0, 0, 0]);

#[test]
fn nobody_else_moves_a_healthy_address() {
    let mut world = World::with(Port::Open);
    world.watch(1, Protocol::Tcp, &HealthProfile::default());
    world.run(MS);
    let (real, own) = (world.real(1).mac, world.real(1).ip);
    // A spoofer that claims the address all the time, in every form, right through the refreshes.
    for _ in 0..3000 {
        world.inject(&arp(ArpOperation::REPLY, EVIL, own, SWITCH_MAC, SWITCH_IP, SWITCH_MAC));
        world.inject(&arp(ArpOperation::REPLY, EVIL, own, EVIL, own, Mac::BROADCAST));
        world.inject(&arp(ArpOperation::REQUEST, EVIL, own, Mac::ZERO, SWITCH_IP, SWITCH_MAC));
        world.run(10 * MS);
    }
    assert_eq!((world.mac(1), world.says(1).as_str()), (Some(real), "passing"));
    assert!(world.real(1).saw("arp-unicast") >= 2, "it was asked again meanwhile");
}

#[test]
fn an_address_that_is_not_a_station_is_not_believed() {
    for mac in [Mac::BROADCAST, Mac::ZERO, SWITCH_MAC, Mac([1, 0, 0x5e, 0, 0, 1])] {
        let mut world = World::with(Port::Open);
        world.real(1).mac = mac;
        world.watch(1, Protocol::Tcp, &HealthProfile::link_only());
        world.run(5 * SEC);
        assert!(world.says(1).starts_with("unknown"), "{mac}: {}", world.says(1));
    }
    // Nor one whose frame says something else than its ARP.
    let mut world = World::with(Port::Open);
    world.real(1).arp = false;
    world.watch(1, Protocol::Tcp, &HealthProfile::link_only());
    world.run(MS);
    let mut lie = world.real(1).arp_reply();
    lie[6..12].copy_from_slice(&EVIL.0);
    world.inject(&lie);
    world.run(MS);
    assert!(world.says(1).starts_with("unknown"));
}

#[test]
fn blind_forgeries_pass_and_fail_nothing() {
    let mut world = World::with(Port::Silent);
    world.real(1).echo = true;
    world.watch(1, Protocol::Tcp, &HealthProfile::default());
    world.run(5 * MS);
    let (mac, ip) = (world.real(1).mac.0, world.real(1).ip.octets());
    let eth = || PacketBuilder::ethernet2(mac, SWITCH_MAC.0).ipv4(ip, SWITCH_IP.octets(), 64);
    let before = world.sent;
    // Every port, but the acknowledgement can only be guessed.
    for port in 32_768..=65_535u16 {
        let ack = u32::from(port).wrapping_mul(0x9e37_79b9);
        world.inject(&written(eth().tcp(8080, port, 1, 512).syn().ack(ack), &[]));
        world.inject(&written(eth().tcp(8080, port, 1, 512).rst().ack(ack), &[]));
        world.inject(&written(eth().tcp(8080, port, 1, 512).rst(), &[]));
    }
    world.run(200 * MS);
    assert!(world.says(1).starts_with("unknown: waiting"), "{}", world.says(1));
    assert!(world.sent - before <= 32_768 + 5, "one RST for each SYN-ACK, none for a RST");
}

#[test]
fn what_a_checksum_does_not_vouch_for_does_not_count() {
    let http = HttpCheck { path: "/".into(), host: None, status: 200, contains: None };
    let ok = Port::Http { answer: b"HTTP/1.1 200 OK\r\n\r\n".to_vec(), segment: 1400, fin: true };
    for seed in 0..20 {
        for (depth, http, port) in [
            (HealthDepth::L3, None, Port::Open),
            (HealthDepth::L4, None, Port::Closed),
            (HealthDepth::L4, Some(http.clone()), ok.clone()),
        ] {
            let mut world = World::new(seed);
            world.add(Real::new(1, port));
            world.watch(1, Protocol::Tcp, &HealthProfile { depth, http, ..HealthProfile::default() });
            world.bent = true;
            world.run(20 * SEC);
            assert_eq!(world.says(1), "failing: no echo reply from 10.1.0.1 within 1s", "seed {seed}");
        }
    }
}

/// A RST is only for hosts that are watched; anybody else would make us a reflector.
#[test]
fn strangers_get_no_answer() {
    let mut world = World::with(Port::Open);
    world.watch(1, Protocol::Tcp, &HealthProfile::default());
    world.run(5 * MS);
    let before = world.sent;
    let stranger = PacketBuilder::ethernet2(EVIL.0, SWITCH_MAC.0)
        .ipv4([10, 9, 9, 9], SWITCH_IP.octets(), 64)
        .tcp(80, 40_000, 1, 9);
    world.inject(&written(stranger.syn().ack(7), &[]));
    world.run(5 * MS);
    assert_eq!(world.sent, before);
}

/// What a real sends, cut, bent and with wrong checksums, never makes it pass.
fn frames_of(real: &Real) -> Vec<Vec<u8>> {
    let ip = || PacketBuilder::ethernet2(real.mac.0, SWITCH_MAC.0).ipv4(real.ip.octets(), SWITCH_IP.octets(), 64);
    vec![
        real.arp_reply(),
        written(ip().icmpv4_echo_reply(0, 0), &[0; 8]),
        written(ip().tcp(8080, 40_000, 1, 512).syn().ack(1), &[]),
        written(ip().udp(8080, 40_000), b"x"),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Arbitrary frames, some of them nearly right, while every kind of check is waiting for its answer.
    #[test]
    fn no_frame_panics_or_passes(
        seed in any::<u64>(),
        frames in prop::collection::vec((0usize..5, prop::collection::vec(any::<u8>(), 0..120), any::<u16>(), any::<u8>()), 1..60),
    ) {
        let mut world = World::new(seed);
        let kinds = [
            (1, Protocol::Tcp, HealthDepth::L3),
            (2, Protocol::Tcp, HealthDepth::L4),
        ];
        for (n, protocol, depth) in kinds {
            let mut real = Real::new(n, Port::Silent);
            real.echo = n == 2;
            world.add(real);
            world.watch(n, protocol, &HealthProfile { depth, ..HealthProfile::default() });
        }
        world.run(2 * MS);
        for (kind, bytes, at, bent) in frames {
            let real = world.real(1 + u16::from(bent & 1)).clone();
            let mut frame = match frames_of(&real).get(kind) {
                Some(frame) => frame.clone(),
                None => bytes.clone(),
            };
            if !frame.is_empty() && bent & 2 == 0 {
                let at = usize::from(at) % frame.len();
                frame[at] ^= bent;
            }
            if bent & 4 == 4 {
                frame.truncate(usize::from(at) % (frame.len() + 1));
            }
            world.inject(&frame);
            world.run(MS);
        }
        for n in [1, 2] {
            prop_assert!(!matches!(world.health(n), Health::Passing), "{}", world.says(n));
        }
    }

    /// A server may answer anything, in any pieces: no panic, no endless check, and a pass only for HTTP with 200.
    #[test]
    fn no_answer_breaks_a_conversation(
        head in prop::sample::select(vec!["", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 200 OK\r\n\r\n", "HTTP/1.1 404 No\r\n\r\n"]),
        tail in prop::collection::vec(any::<u8>(), 0..3000),
        segment in 1usize..1400,
        fin in any::<bool>(),
    ) {
        let answer: Vec<u8> = head.bytes().chain(tail).collect();
        let is_ok = answer.starts_with(b"HTTP/1.") && answer.windows(4).any(|w| w == b" 200");
        let mut world = World::with(Port::Http { answer, segment, fin });
        let check = HttpCheck { path: "/".into(), host: None, status: 200, contains: None };
        world.watch(1, Protocol::Tcp, &HealthProfile { http: Some(check), fall: 1, ..HealthProfile::default() });
        world.run(2 * SEC);
        let passed = *world.health(1) == Health::Passing;
        prop_assert!(passed || world.says(1).starts_with("failing: HTTP GET / on"), "{}", world.says(1));
        prop_assert!(is_ok || !passed);
        prop_assert!(!head.ends_with("200 OK\r\n\r\n") || passed, "a whole head with 200 passes");
    }
}

/// A real whose TCP is smoltcp's, not this test's: the conversation works with somebody else's server too.
#[test]
fn http_against_an_independent_tcp() {
    use smoltcp::iface::{Config, Interface, SocketSet};
    use smoltcp::phy::{Device, Loopback, Medium, RxToken, TxToken};
    use smoltcp::socket::tcp;
    use smoltcp::time::Instant;
    use smoltcp::wire::{EthernetAddress, IpAddress, IpCidr};

    let mac = [2, 0, 0, 1, 0, 7];
    // What is put into a loopback's queue comes out of its other side: one for each direction.
    let (mut inbound, mut outbound) = (Loopback::new(Medium::Ethernet), Loopback::new(Medium::Ethernet));
    struct Both<'a>(&'a mut Loopback, &'a mut Loopback);
    impl Device for Both<'_> {
        type RxToken<'a>
            = <Loopback as Device>::RxToken<'a>
        where
            Self: 'a;
        type TxToken<'a>
            = <Loopback as Device>::TxToken<'a>
        where
            Self: 'a;
        fn receive(&mut self, now: Instant) -> Option<(Self::RxToken<'_>, Self::TxToken<'_>)> {
            let (rx, _) = self.0.receive(now)?;
            Some((rx, self.1.transmit(now)?))
        }
        fn transmit(&mut self, now: Instant) -> Option<Self::TxToken<'_>> {
            self.1.transmit(now)
        }
        fn capabilities(&self) -> smoltcp::phy::DeviceCapabilities {
            let mut capabilities = smoltcp::phy::DeviceCapabilities::default();
            capabilities.max_transmission_unit = 1514;
            capabilities
        }
    }

    let config = Config::new(EthernetAddress(mac).into());
    let mut interface = Interface::new(config, &mut Both(&mut inbound, &mut outbound), Instant::ZERO);
    interface.update_ip_addrs(|ips| ips.push(IpCidr::new(IpAddress::v4(10, 0, 0, 7), 24)).unwrap());
    let mut sockets = SocketSet::new(vec![]);
    let buffer = || tcp::SocketBuffer::new(vec![0; 4096]);
    let handles: Vec<_> = (0..4).map(|_| sockets.add(tcp::Socket::new(buffer(), buffer()))).collect();

    // The checks are driven by hand here: World's reals are not this server.
    let mut world = World::new(5);
    let check = HttpCheck { path: "/health".into(), host: None, status: 200, contains: Some("all ready".into()) };
    // smoltcp is built without echo replies, so this test answers those itself.
    let real: SocketAddr = "10.0.0.7:8080".parse().unwrap();
    world.watch_as(7, real, Protocol::Tcp, &HealthProfile { http: Some(check), ..HealthProfile::default() });
    let (mut passed, mut requests) = (false, 0);
    for ms in 0..5000 {
        let now = Time::from_millis(ms);
        let instant = Instant::from_millis(ms as i64);
        for &handle in &handles {
            let socket = sockets.get_mut::<tcp::Socket>(handle);
            if !socket.is_open() {
                socket.listen(8080).unwrap();
            }
            let asked = socket.can_recv() && socket.recv(|b| (b.len(), b.ends_with(b"\r\n\r\n"))).unwrap();
            if asked {
                requests += 1;
                socket.send_slice(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nall ready").unwrap();
                socket.close();
            }
        }
        let (mut frames, mut findings) = (vec![], vec![]);
        world.checks.poll(now, &mut frames, &mut findings);
        passed = findings.iter().fold(passed, |_, finding| finding.health == Health::Passing);
        for frame in frames {
            let is_echo = frame[12..14] == [8, 0] && frame[23] == 1;
            if is_echo {
                let ip = PacketBuilder::ethernet2(mac, SWITCH_MAC.0).ipv4([10, 0, 0, 7], SWITCH_IP.octets(), 64);
                let word = |at: usize| u16::from_be_bytes([frame[at], frame[at + 1]]);
                let total = usize::from(word(16));
                let reply = written(ip.icmpv4_echo_reply(word(38), word(40)), &frame[42..14 + total]);
                world.checks.handle(&reply, now);
            } else if let Some(tx) = inbound.transmit(instant) {
                tx.consume(frame.len(), |to| to.copy_from_slice(&frame));
            }
        }
        interface.poll(instant, &mut Both(&mut inbound, &mut outbound), &mut sockets);
        while let Some((rx, _)) = outbound.receive(instant) {
            rx.consume(|frame| world.checks.handle(frame, now));
        }
    }
    assert!(passed, "{requests} requests were answered");
    assert!(requests >= 2, "and again after the interval");
    world.checks.forget(BindingId(7));
}
