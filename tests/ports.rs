//! The ports on real interfaces: veth pairs between network namespaces that the test makes itself.
//!
//! ```text
//! client 10.9.0.1 ──c0 veth m0── middle: two ports under test, bridged ──m1 veth s0── server 10.9.0.2
//! ```
//!
//! Where namespaces cannot be made, every test here is reported as ignored, with the reason.

// Real ports run in real time.
#![allow(clippy::disallowed_methods)]

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use acm_switch::base::time::Time;
use acm_switch::port::af_packet::{AfPacket, Options, WhenDown};
use acm_switch::port::fault::{FaultPort, Faults};
use acm_switch::port::offload::{Offloads, set_offloads};
use acm_switch::port::pcap::CapturePort;
use acm_switch::port::pnet::PnetPort;
use acm_switch::port::wait::{Waiter, Waker};
use acm_switch::port::{Port, PortCounters};
use acm_switch::wire::checksum;
use acm_switch::wire::frame::{Batch, Checksum, Egress, FrameBuf, Gso, Offload};
use acm_switch::wire::parse::{Parsed, Payload, parse};
use libtest_mimic::{Arguments, Failed, Trial};

#[path = "support/netns.rs"]
mod netns;

use netns::Namespace;

type Outcome = Result<(), Failed>;
type Test = fn() -> Outcome;

const TESTS: &[(&str, Test)] = &[
    ("af_packet_bulk_with_offloads", || bulk(Offloads::On)),
    ("af_packet_bulk_without_offloads", || bulk(Offloads::Off)),
    ("af_packet_datagrams_with_offloads", || datagrams(Offloads::On)),
    ("af_packet_datagrams_without_offloads", || datagrams(Offloads::Off)),
    ("af_packet_bad_frames_do_not_stop_the_rest", bad_frames_do_not_stop_the_rest),
    ("af_packet_keeps_vlan_tags", keeps_vlan_tags),
    ("af_packet_does_not_hear_itself", does_not_hear_itself),
    ("af_packet_counts_what_it_missed", counts_what_it_missed),
    ("af_packet_survives_its_interface", survives_its_interface),
    ("af_packet_says_why_it_cannot_open", says_why_it_cannot_open),
    ("an_idle_bridge_sleeps", an_idle_bridge_sleeps),
    ("fault_port_loses_and_tcp_does_not", fault_port_loses_and_tcp_does_not),
    ("fault_port_damages_and_checksums_notice", fault_port_damages_and_checksums_notice),
    ("capture_holds_what_passed", capture_holds_what_passed),
    ("pnet_passes_complete_frames", pnet_passes_complete_frames),
    ("pnet_cannot_see_unfinished_checksums", pnet_cannot_see_unfinished_checksums),
    ("pnet_says_why_it_cannot_open", pnet_says_why_it_cannot_open),
];

fn main() -> std::process::ExitCode {
    let mut arguments = Arguments::from_args();
    // One at a time by default: they measure processor time and fill queues on a machine that may have two cores.
    arguments.test_threads.get_or_insert(1);
    let hindrance = netns::prepare().err();
    let trial = |(name, test): &(&str, Test)| {
        let trial = Trial::test(*name, *test);
        match &hindrance {
            Some(why) => trial.with_kind(why.clone()).with_ignored_flag(true),
            None => trial,
        }
    };
    libtest_mimic::run(&arguments, TESTS.iter().map(trial).collect()).exit_code()
}

const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 1);
const SERVER: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 2);

/// Three namespaces in a row.
struct Net {
    client: Namespace,
    middle: Namespace,
    server: Namespace,
}

impl Net {
    fn new() -> io::Result<Net> {
        let net = Net { client: Namespace::new()?, middle: Namespace::new()?, server: Namespace::new()? };
        net.middle.cable("m0", &net.client, "c0")?;
        net.middle.cable("m1", &net.server, "s0")?;
        net.client.address("c0", CLIENT.octets(), 24)?;
        net.server.address("s0", SERVER.octets(), 24)?;
        Ok(net)
    }

    fn with_offloads(offloads: Offloads) -> io::Result<Net> {
        let net = Net::new()?;
        net.client.run(|| set_offloads("c0", offloads))?;
        net.server.run(|| set_offloads("s0", offloads))?;
        Ok(net)
    }

    fn af_packet(&self, name: &str) -> Box<dyn Port> {
        Box::new(self.middle.run(|| AfPacket::open(name, Options::default())).expect("the port opens"))
    }

    fn bridge(&self) -> Bridge {
        Bridge::start([self.af_packet("m0"), self.af_packet("m1")])
    }
}

/// A thread that passes whatever comes in on one port out of the other.
struct Bridge {
    stop: Arc<AtomicBool>,
    waker: Waker,
    thread: Option<JoinHandle<[PortCounters; 2]>>,
}

impl Bridge {
    fn start(mut ports: [Box<dyn Port>; 2]) -> Bridge {
        let mut waiter = Waiter::new(ports.iter().map(|port| port.readable())).expect("a waiter");
        let (waker, stop) = (waiter.waker(), Arc::new(AtomicBool::new(false)));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let start = Instant::now();
            let clock = || Time::from_micros(start.elapsed().as_micros() as u64);
            let mut batch = Batch::new(64, FrameBuf::LARGEST);
            while !stopped.load(Ordering::SeqCst) {
                if pass(&mut ports, &mut batch, clock()) == 0 {
                    let deadline = ports.iter().filter_map(|port| port.next_deadline()).min();
                    waiter.wait(deadline.map(|at| at.since(clock())));
                }
            }
            ports.each_mut().map(|port| port.counters())
        });
        Bridge { stop, waker, thread: Some(thread) }
    }

    fn stop(mut self) -> [PortCounters; 2] {
        self.end().expect("not stopped before")
    }

    fn end(&mut self) -> Option<[PortCounters; 2]> {
        self.stop.store(true, Ordering::SeqCst);
        self.waker.wake();
        self.thread.take().map(|thread| thread.join().expect("the bridge does not panic"))
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        self.end();
    }
}

/// One batch each way; returns how many frames passed.
fn pass(ports: &mut [Box<dyn Port>; 2], batch: &mut Batch, now: Time) -> usize {
    let mut passed = 0;
    for index in 0..2 {
        batch.clear();
        let count = ports[index].recv(batch, now).expect("receive");
        let all: Vec<u16> = (0..count as u16).collect();
        // Also with nothing to send: a port may have frames of its own to let go.
        ports[1 - index].send(batch, &all, now).expect("send");
        passed += count;
    }
    passed
}

/// Bytes that never repeat within reach of a TCP window, so that a piece out of place is seen.
fn pattern(len: usize) -> Vec<u8> {
    let mut rng = fastrand::Rng::with_seed(0x5eed);
    let mut bytes = vec![0; len];
    rng.fill(&mut bytes);
    bytes
}

/// Sends `sent` from client to server, which sends it back; both at once. Returns what came back, and how long it took.
fn echo_over_tcp(net: &Net, sent: &[u8]) -> io::Result<(Vec<u8>, Duration)> {
    let listener = net.server.run(|| TcpListener::bind((SERVER, 7)))?;
    let start = Instant::now();
    std::thread::scope(|scope| {
        scope.spawn(move || -> io::Result<()> {
            let (mut stream, _) = listener.accept()?;
            stream.set_read_timeout(Some(Duration::from_secs(10)))?;
            let mut back = stream.try_clone()?;
            io::copy(&mut stream, &mut back)?;
            back.shutdown(std::net::Shutdown::Write)
        });
        let target = SocketAddr::from((SERVER, 7));
        let mut stream = net.client.run(|| TcpStream::connect_timeout(&target, Duration::from_secs(5)))?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        let mut out = stream.try_clone()?;
        scope.spawn(move || out.write_all(sent).and_then(|()| out.shutdown(std::net::Shutdown::Write)));
        let mut received = Vec::with_capacity(sent.len());
        stream.read_to_end(&mut received)?;
        Ok((received, start.elapsed()))
    })
}

fn no_checksum_errors(net: &Net) -> Outcome {
    for (side, namespace) in [("client", &net.client), ("server", &net.server)] {
        for protocol in ["Tcp", "Udp", "Icmp"] {
            let errors = namespace.snmp(protocol, "InCsumErrors");
            ensure(errors == 0, || format!("{side}: {errors} wrong {protocol} checksums"))?;
        }
    }
    Ok(())
}

fn ensure(holds: bool, otherwise: impl FnOnce() -> String) -> Outcome {
    if holds { Ok(()) } else { Err(otherwise().into()) }
}

fn bulk(offloads: Offloads) -> Outcome {
    const BYTES: usize = 32 << 20;
    let net = Net::with_offloads(offloads)?;
    let bridge = net.bridge();
    let sent = pattern(BYTES);
    let (received, _) = echo_over_tcp(&net, &sent)?;
    ensure(received == sent, || format!("{} of {BYTES} bytes came back, or others", received.len()))?;
    no_checksum_errors(&net)?;
    let [left, right] = bridge.stop();
    let frame = left.rx_bytes / left.rx_frames.max(1);
    match offloads {
        Offloads::On => ensure(frame > 3000, || format!("no super-frames: {frame} bytes a frame, {left:?}")),
        Offloads::Off => ensure(frame <= 1514, || format!("super-frames: {frame} bytes a frame, {left:?}")),
    }?;
    let moved = (BYTES as u64)..;
    ensure(moved.contains(&left.tx_bytes) && moved.contains(&right.tx_bytes), || format!("{left:?} {right:?}"))
}

/// Datagrams of all kinds of lengths, fragmented ones among them, echoed by the server.
fn datagrams(offloads: Offloads) -> Outcome {
    let net = Net::with_offloads(offloads)?;
    let _bridge = net.bridge();
    let server = net.server.run(|| UdpSocket::bind((SERVER, 7)))?;
    let client = net.client.run(|| UdpSocket::bind((CLIENT, 0)))?;
    client.connect((SERVER, 7))?;
    for socket in [&server, &client] {
        socket.set_read_timeout(Some(Duration::from_secs(5)))?;
    }
    let bytes = pattern(65_507);
    let lengths: Vec<usize> = (0..40).chain([500, 1471, 1472, 1473, 2000, 8973, 30_000, 65_507]).collect();
    let mut buffer = vec![0; 65_536];
    for len in &lengths {
        client.send(&bytes[..*len])?;
        let (got, from) = server.recv_from(&mut buffer)?;
        server.send_to(&buffer[..got], from)?;
        let back = client.recv(&mut buffer)?;
        ensure(buffer[..back] == bytes[..*len], || format!("a datagram of {len} bytes came back as {back} others"))?;
    }
    no_checksum_errors(&net)?;
    let heard = net.server.snmp("Udp", "InDatagrams");
    ensure(heard == lengths.len() as u64, || format!("the server heard {heard} of {} datagrams", lengths.len()))
}

/// Opens the two ends of one cable as ports: what one sends the other receives.
fn two_ends(options: Options) -> io::Result<(Net, AfPacket, AfPacket)> {
    let net = Net::new()?;
    let near = net.middle.run(|| AfPacket::open("m0", options))?;
    let far = net.client.run(|| AfPacket::open("c0", options))?;
    Ok((net, near, far))
}

/// Everything that arrives within a short while, up to the first pause.
fn arrivals(port: &mut AfPacket) -> io::Result<Vec<FrameBuf>> {
    let mut waiter = Waiter::new([port.readable()])?;
    let mut batch = Batch::new(64, FrameBuf::LARGEST);
    while waiter.wait(Some(Duration::from_millis(100))).port(0) && batch.room() > 0 {
        port.recv(&mut batch, Time::ZERO)?;
    }
    // Frames of our own making only: the kernel at either end may announce itself at any time.
    Ok(batch
        .frames()
        .iter()
        .filter(|frame| frame.bytes()[12..14] == TEST_TYPE || frame.bytes()[12] == 0x81)
        .cloned()
        .collect())
}

/// An EtherType for local experiments (IEEE 802), which no stack answers.
const TEST_TYPE: [u8; 2] = [0x88, 0xb5];

fn frame(len: usize, fill: u8) -> Vec<u8> {
    let mut bytes = vec![fill; len];
    bytes[..14].copy_from_slice(&[0x02, 0, 0, 0, 0, 9, 0x02, 0, 0, 0, 0, 8, TEST_TYPE[0], TEST_TYPE[1]]);
    bytes
}

fn bad_frames_do_not_stop_the_rest() -> Outcome {
    let (_net, mut near, mut far) = two_ends(Options::default())?;
    let mut batch = Batch::new(8, FrameBuf::LARGEST);
    for bytes in [frame(60, 1), frame(9000, 2), frame(60, 3), frame(60, 4), vec![5; 5], frame(60, 6)] {
        assert!(batch.push(&bytes, Egress::None));
    }
    let outside = Checksum::Partial { start: 5000, offset: 16 };
    batch.frames_mut()[2].offload = Offload { checksum: outside, gso: Gso::None };
    let odd = Gso::Segments { kind: 77, size: 0, header: 4000 };
    batch.frames_mut()[3].offload = Offload { checksum: Checksum::Complete, gso: odd };
    near.send(&mut batch, &[0, 1, 2, 3, 4, 5, 200], Time::ZERO)?;
    let fills: Vec<u8> = arrivals(&mut far)?.iter().map(|frame| frame.bytes()[20]).collect();
    ensure(fills == [1, 6], || format!("arrived: {fills:?}"))?;
    let counted = near.counters();
    ensure((counted.tx_frames, counted.tx_dropped) == (2, 4), || format!("{counted:?}"))
}

fn keeps_vlan_tags() -> Outcome {
    let (_net, mut near, mut far) = two_ends(Options::default())?;
    let mut tagged = frame(100, 7);
    // Priority 3, VLAN 42; behind it a second tag and then the type.
    tagged.splice(12..12, [0x81, 0x00, 0x60, 42, 0x81, 0x00, 0x00, 9]);
    let mut batch = Batch::new(4, FrameBuf::LARGEST);
    assert!(batch.push(&frame(100, 7), Egress::None) && batch.push(&tagged, Egress::None));
    near.send(&mut batch, &[0, 1, 0], Time::ZERO)?;
    let got = arrivals(&mut far)?;
    let got: Vec<&[u8]> = got.iter().map(|frame| frame.bytes()).collect();
    ensure(got == [&frame(100, 7)[..], &tagged, &frame(100, 7)], || format!("{got:02x?}"))
}

fn does_not_hear_itself() -> Outcome {
    let (net, mut near, mut far) = two_ends(Options::default())?;
    let mut batch = Batch::new(1, FrameBuf::LARGEST);
    assert!(batch.push(&frame(60, 1), Egress::None));
    near.send(&mut batch, &[0], Time::ZERO)?;
    // And a second socket on the same interface, as another program would have.
    let mut other = net.middle.run(|| AfPacket::open("m0", Options::default()))?;
    other.send(&mut batch, &[0], Time::ZERO)?;
    ensure(arrivals(&mut far)?.len() == 2, || "the far end hears both".into())?;
    let heard = arrivals(&mut near)?;
    ensure(heard.is_empty(), || format!("it heard {:02x?}", heard[0].bytes()))
}

fn counts_what_it_missed() -> Outcome {
    const SENT: u64 = 2000;
    let (_net, mut near, mut far) = two_ends(Options { receive_buffer: 1 << 16, ..Options::default() })?;
    let mut batch = Batch::new(1, FrameBuf::LARGEST);
    assert!(batch.push(&frame(1000, 1), Egress::None));
    for _ in 0..SENT {
        near.send(&mut batch, &[0], Time::ZERO)?;
    }
    let mut inbox = Batch::new(SENT as usize, 2000);
    far.recv(&mut inbox, Time::ZERO)?;
    // A buffer too small for the frame loses it, and it is counted too.
    near.send(&mut batch, &[0], Time::ZERO)?;
    std::thread::sleep(Duration::from_millis(20));
    let cut = far.recv(&mut Batch::new(1, 500), Time::ZERO)?;
    let (sent, counted) = (near.counters(), far.counters());
    ensure(cut == 0 && sent.tx_frames == SENT + 1, || format!("{cut} {sent:?}"))?;
    ensure(counted.rx_missed > SENT / 2 && counted.rx_frames + counted.rx_missed > SENT, || format!("{counted:?}"))?;
    ensure(far.counters() == counted, || "reading the counters changed them".into())
}

fn survives_its_interface() -> Outcome {
    let (net, mut near, mut far) = two_ends(Options::default())?;
    let mut batch = Batch::new(1, FrameBuf::LARGEST);
    let mut out = Batch::new(1, FrameBuf::LARGEST);
    assert!(out.push(&frame(60, 1), Egress::None));
    let mut waiter = Waiter::new([near.readable()])?;
    // Time passes a second at a time, as for a worker that tries again every second.
    let mut now = Time::ZERO;
    let mut later = || {
        now = now + Duration::from_secs(1);
        now
    };
    let fails = |result: io::Result<usize>, words: &str| match result {
        Err(error) if error.to_string().contains(words) => Ok(()),
        other => Err(Failed::from(format!("expected `{words}`, got {other:?}"))),
    };

    net.middle.set_down("m0")?;
    ensure(waiter.wait(Some(Duration::from_secs(2))).port(0), || "no word of the interface going down".into())?;
    fails(near.recv(&mut batch, later()), "m0 is down: bring it up")?;
    fails(near.send(&mut out, &[0], later()).map(|()| 0), "m0 is down")?;
    net.middle.set_up("m0")?;
    ensure(near.recv(&mut batch, later()).is_ok(), || "up again, but not working".into())?;
    near.send(&mut out, &[0], later())?;
    ensure(!arrivals(&mut far)?.is_empty(), || "nothing left after it came up".into())?;

    net.middle.remove("m0")?;
    fails(near.recv(&mut batch, later()), "m0 is gone")?;
    fails(near.recv(&mut batch, later()), "m0 is gone")?;
    net.middle.cable("m0", &net.client, "c0")?;
    far = net.client.run(|| AfPacket::open("c0", Options::default()))?;
    near.recv(&mut batch, later())?;
    near.send(&mut out, &[0], later())?;
    ensure(!arrivals(&mut far)?.is_empty(), || "nothing left through the new interface".into())?;
    far.send(&mut out, &[0], later())?;
    ensure(waiter.wait(Some(Duration::from_secs(2))).port(0), || "the waiter lost the port".into())?;
    ensure(!arrivals(&mut near)?.is_empty(), || "nothing came in through the new interface".into())?;
    ensure(near.counters().tx_dropped >= 1, || "what was sent while it was down is not counted".into())
}

fn says_why_it_cannot_open() -> Outcome {
    let net = Net::new()?;
    let open = |name: &str, options: Options| match net.middle.run(|| AfPacket::open(name, options)) {
        Ok(_) => "it opened".to_owned(),
        Err(error) => error.to_string(),
    };
    let unknown = open("eth77", Options::default());
    ensure(unknown == "there is no interface `eth77` here; there are: lo, m0, m1", || unknown)?;
    for odd in ["", "a name far too long for one", "m0\0", "m0/../m0"] {
        let said = open(odd, Options::default());
        ensure(said.starts_with("there is no interface"), || said)?;
    }
    let loopback = open("lo", Options::default());
    ensure(loopback.contains("not an Ethernet interface"), || loopback)?;
    net.middle.set_down("m1")?;
    let down = open("m1", Options { when_down: WhenDown::Refuse, ..Options::default() });
    ensure(down.contains("m1 is down"), || down)?;
    let brought_up = open("m1", Options::default());
    ensure(brought_up == "it opened", || brought_up)
}

fn an_idle_bridge_sleeps() -> Outcome {
    let net = Net::new()?;
    let _bridge = net.bridge();
    // Let the interfaces finish announcing themselves.
    std::thread::sleep(Duration::from_millis(200));
    let before = processor_time();
    std::thread::sleep(Duration::from_secs(1));
    let used = processor_time() - before;
    ensure(used < Duration::from_millis(10), || format!("{used:?} of processor time in an idle second"))
}

fn fault_port_loses_and_tcp_does_not() -> Outcome {
    const BYTES: usize = 4 << 20;
    let net = Net::new()?;
    let faults = Faults::NONE.lose_percent(5.0).duplicate_percent(5.0).reorder_percent(5.0);
    let port = FaultPort::new(net.af_packet("m0"), 0xacd).both_ways(faults);
    let report = port.report();
    let _bridge = Bridge::start([Box::new(port), net.af_packet("m1")]);
    let sent = pattern(BYTES);
    let (received, _) = echo_over_tcp(&net, &sent)?;
    ensure(received == sent, || format!("{} of {BYTES} bytes came back, or others", received.len()))?;
    no_checksum_errors(&net)?;
    for did in [report.received(), report.sent()] {
        ensure(did.lost > 0 && did.duplicated > 0 && did.reordered > 0, || format!("{did:?}"))?;
    }
    Ok(())
}

/// Every damaged datagram is thrown away by the receiver's checksums (or, if the bit was in an address, by its address
/// check); none reaches a program with other bytes.
fn fault_port_damages_and_checksums_notice() -> Outcome {
    const SENT: u64 = 400;
    let net = Net::new()?;
    let server = net.server.run(|| UdpSocket::bind((SERVER, 7)))?;
    let client = net.client.run(|| UdpSocket::bind((CLIENT, 0)))?;
    server.set_read_timeout(Some(Duration::from_millis(30)))?;
    let port = FaultPort::new(net.af_packet("m0"), 5).on_receive(Faults::NONE.corrupt_percent(50.0));
    let report = port.report();
    let _bridge = Bridge::start([Box::new(port), net.af_packet("m1")]);
    let bytes = pattern(1000);
    let (mut buffer, mut heard) = (vec![0; 2000], 0);
    for round in 1..=SENT {
        client.send_to(&bytes, (SERVER, 7))?;
        // A socket buffer does not hold them all, and UDP sums are checked when a datagram is read.
        while round % 20 == 0
            && let Ok((len, _)) = server.recv_from(&mut buffer)
        {
            ensure(buffer[..len] == bytes, || "damaged bytes reached the program".into())?;
            heard += 1;
        }
    }
    let damaged = report.received().corrupted;
    let noticed = net.server.snmp("Udp", "InCsumErrors");
    // A few bits hit the IP header, which IP's own sum notices, or the source's link address, which harms nobody.
    ensure(heard >= SENT - damaged && heard <= SENT - noticed && noticed > damaged * 9 / 10, || {
        format!("{heard} heard, {damaged} damaged, {noticed} noticed")
    })
}

/// A capture of a bridged TCP transfer holds every frame that passed, with right checksums, switched on while running.
fn capture_holds_what_passed() -> Outcome {
    let net = Net::new()?;
    let port = CapturePort::new(net.af_packet("m0"));
    let capture = port.capture();
    let bridge = Bridge::start([Box::new(port), net.af_packet("m1")]);
    let (to, pieces) = std::sync::mpsc::sync_channel(10_000);
    let running = capture.start(to, Duration::from_secs(1_700_000_000)).map_err(|why| format!("{why:?}"))?;
    let sent = pattern(1 << 20);
    let (received, _) = echo_over_tcp(&net, &sent)?;
    let [left, _] = bridge.stop();
    ensure(received == sent && running.lost() == 0, || format!("{} lost", running.lost()))?;
    let file: Vec<u8> = pieces.try_iter().flatten().collect();
    let (mut at, mut frames, mut wrong) = (24, 0, 0);
    while at < file.len() {
        let len = u32::from_le_bytes(file[at + 8..at + 12].try_into().expect("four bytes")) as usize;
        let mut frame = FrameBuf::with_capacity(len);
        frame.fill(&file[at + 16..at + 16 + len]);
        if let Ok(Parsed { payload: Payload::Ip(ip), .. }) = parse(frame.bytes()) {
            wrong += u32::from(!checksum::l4_is_correct(&frame, &ip));
        }
        frames += 1;
        at += 16 + len;
    }
    ensure(at == file.len() && wrong == 0, || format!("{wrong} wrong checksums in {frames} frames"))?;
    ensure(frames == left.rx_frames + left.tx_frames + left.tx_dropped, || format!("{frames} frames, {left:?}"))
}

fn pnet(net: &Net) -> io::Result<Bridge> {
    let open = |name| -> io::Result<Box<dyn Port>> {
        net.middle.run(|| set_offloads(name, Offloads::Off))?;
        Ok(Box::new(net.middle.run(|| PnetPort::open(name))?))
    };
    Ok(Bridge::start([open("m0")?, open("m1")?]))
}

fn pnet_passes_complete_frames() -> Outcome {
    const BYTES: usize = 2 << 20;
    let net = Net::with_offloads(Offloads::Off)?;
    let bridge = pnet(&net)?;
    let sent = pattern(BYTES);
    let (received, _) = echo_over_tcp(&net, &sent)?;
    ensure(received == sent, || format!("{} of {BYTES} bytes came back, or others", received.len()))?;
    no_checksum_errors(&net)?;
    let [left, right] = bridge.stop();
    // It must not hear what it sends, or the bridge would pass everything round and round.
    ensure(left.tx_frames == right.rx_frames && left.tx_dropped == 0, || format!("{left:?} {right:?}"))
}

/// What the module says of veth senders with offloads on: they do not work, and the receiver sees why.
fn pnet_cannot_see_unfinished_checksums() -> Outcome {
    let net = Net::with_offloads(Offloads::On)?;
    let _bridge = pnet(&net)?;
    let server = net.server.run(|| UdpSocket::bind((SERVER, 7)))?;
    let client = net.client.run(|| UdpSocket::bind((CLIENT, 0)))?;
    server.set_read_timeout(Some(Duration::from_millis(300)))?;
    client.send_to(b"unfinished", (SERVER, 7))?;
    let heard = server.recv_from(&mut [0; 100]).is_ok();
    let errors = net.server.snmp("Udp", "InCsumErrors");
    ensure(!heard && errors == 1, || format!("heard: {heard}, {errors} checksum errors: then say so in port/pnet.rs"))
}

fn pnet_says_why_it_cannot_open() -> Outcome {
    let net = Net::new()?;
    let open = |name: &str| match net.middle.run(|| PnetPort::open(name)) {
        Ok(_) => "it opened".to_owned(),
        Err(error) => error.to_string(),
    };
    let unknown = open("eth77");
    ensure(unknown == "there is no interface `eth77` here; there are: lo, m0, m1", || unknown)?;
    let loopback = open("lo");
    ensure(loopback.contains("not an Ethernet interface"), || loopback)?;
    net.middle.set_down("m1")?;
    let down = open("m1");
    ensure(down.contains("m1 is down"), || down)
}

/// What all threads of this process have used (`/proc/PID/task/TID/schedstat`, first number, nanoseconds).
fn processor_time() -> Duration {
    let tasks = std::fs::read_dir("/proc/self/task").expect("tasks").filter_map(|task| task.ok());
    let stat = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("schedstat")).ok());
    let nanos = stat.filter_map(|text| text.split_whitespace().next()?.parse::<u64>().ok());
    Duration::from_nanos(nanos.sum())
}
