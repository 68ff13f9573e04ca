//! The fast path, in memory, on one core: `cargo bench --bench fast_path`.
//!
//! Established-flow packets through the plane in batches of 64, parse to rewritten frame, with 1,000 flows and with
//! 1,000,000 flows touched at random; new flows; the memory of a million flows; and, where valgrind is installed,
//! instructions per packet counted by callgrind (this program run again under it, with and without the packets).

#![allow(missing_docs, clippy::disallowed_methods)]

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::time::Instant;

use acm_switch::acm::table::ServiceTable;
use acm_switch::acm::words::*;
use acm_switch::base::addr::Mac;
use acm_switch::base::id::{BindingId, PortId, ServiceId};
use acm_switch::base::seq::Seq;
use acm_switch::base::time::Time;
use acm_switch::plane::prepare::Prepared;
use acm_switch::plane::{Out, Plane, PlaneConfig, Verdict};
use acm_switch::wire::build::{self, Link, Segment};
use acm_switch::wire::frame::{Batch, Egress, FrameBuf};
use acm_switch::wire::parse::TcpFlags;

const SWITCH: Mac = Mac([2, 0xac, 0, 0, 0, 1]);
const CLIENT: Mac = Mac([2, 0, 0, 0, 0, 1]);
const VIP: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::new(10, 0, 0, 100), 80));
const REALS: usize = 3;
const BATCH: usize = 64;
const ROUNDS: usize = 7;

/// Set in the environment of the copy that runs under callgrind: packets to copy in, and how many to process.
const COUNTED: &str = "ACM_FAST_PATH_PACKETS";

fn real(n: usize) -> SocketAddr {
    SocketAddr::new(Ipv4Addr::new(10, 0, 0, 11 + n as u8).into(), 8080)
}

fn real_mac(n: usize) -> Mac {
    Mac([2, 0, 0, 0, 1, n as u8])
}

fn client(n: usize) -> SocketAddr {
    let ip = Ipv4Addr::from_bits(0xc612_0000 + (n / 60_000) as u32);
    SocketAddr::new(ip.into(), 1024 + (n % 60_000) as u16)
}

fn table() -> ServiceTable {
    let key = ServiceKey::tcp(VIP);
    let mut draft = ServiceTable::default().edit();
    let service = Service::new(ServiceId(1), key);
    draft.put_service(service).expect("a valid service");
    for n in 0..REALS {
        let binding = Binding {
            id: BindingId(n as u64),
            real: real(n),
            will: Will {
                admin: AdminState::Up,
                group: default_group(),
                weight: 1,
                max_conns: None,
                owner: operator(),
                identity: None,
                lease: None,
                health: Arc::default(),
            },
            observed: Observed { health: Health::Passing, mac: Some(real_mac(n)), lapsed: false, tcp: None },
        };
        draft.put_binding(&key, binding).expect("a valid binding");
    }
    draft.finish()
}

fn segment(link: Link, from: SocketAddr, to: SocketAddr, flags: TcpFlags, seq: u32, ack: u32) -> Vec<u8> {
    let mut frame = FrameBuf::with_capacity(128);
    let payload = if flags.contains(TcpFlags::SYN) { &[][..] } else { &[0x55; 6][..] };
    let segment = Segment { from, to, seq: Seq(seq), ack: Seq(ack), flags, window: 1000, mss: None, payload };
    assert!(build::tcp(&mut frame, link, &segment));
    frame.bytes().to_vec()
}

/// A plane with this many established flows, and the data packet of each, client to server.
struct Rig {
    plane: Plane,
    out: Out,
    flows: usize,
    batch: Batch,
    verdicts: Vec<Verdict>,
    random: fastrand::Rng,
}

impl Rig {
    fn new(flows: usize) -> Rig {
        let config = PlaneConfig { flows_max: flows.max(1024), ..PlaneConfig::new(SWITCH, vec![], 41) };
        let mut rig = Rig {
            plane: Plane::new(config),
            out: Out::new(),
            flows,
            batch: Batch::new(BATCH, 128),
            verdicts: Vec::with_capacity(BATCH),
            random: fastrand::Rng::with_seed(41),
        };
        rig.plane.take_table(&Prepared::default().after(Arc::new(table())), Time::ZERO, &mut rig.out);
        for n in 0..REALS {
            rig.one(1 + n, &segment(Link { src: real_mac(n), dst: CLIENT }, real(n), client(0), TcpFlags::RST, 1, 1));
        }
        for n in 0..flows {
            rig.one(0, &rig.client_segment(n, TcpFlags::SYN, 100, 0));
            let chosen = n % REALS;
            rig.one(
                1 + chosen,
                &segment(
                    Link { src: real_mac(chosen), dst: CLIENT },
                    real(chosen),
                    client(n),
                    TcpFlags::SYN | TcpFlags::ACK,
                    500,
                    101,
                ),
            );
            rig.one(0, &rig.client_segment(n, TcpFlags::ACK, 101, 501));
        }
        assert_eq!(rig.plane.flows(), flows);
        rig
    }

    fn client_segment(&self, n: usize, flags: TcpFlags, seq: u32, ack: u32) -> Vec<u8> {
        segment(Link { src: CLIENT, dst: SWITCH }, client(n), VIP, flags, seq, ack)
    }

    fn one(&mut self, port: usize, bytes: &[u8]) {
        self.batch.clear();
        self.batch.push(bytes, Egress::None);
        self.run_batch(port);
    }

    fn run_batch(&mut self, port: usize) {
        for frame in self.batch.frames_mut() {
            frame.ingress = PortId(port as u16);
        }
        self.verdicts.clear();
        self.plane.process_batch(&mut self.batch, Time::ZERO, &mut self.verdicts, &mut self.out);
        self.out.frames.clear();
        self.out.notices.clear();
    }

    /// Batches of packets of random flows, built beforehand so that only the plane is measured.
    fn packets(&mut self, batches: usize, side: usize) -> Vec<Vec<Vec<u8>>> {
        let mut batch = || {
            let flow = |rig: &mut fastrand::Rng| rig.usize(..self.flows);
            (0..BATCH)
                .map(|_| {
                    let n = flow(&mut self.random);
                    let flags = TcpFlags::ACK | TcpFlags::PSH;
                    match side {
                        0 => segment(Link { src: CLIENT, dst: SWITCH }, client(n), VIP, flags, 101, 501),
                        _ => segment(
                            Link { src: real_mac(n % REALS), dst: CLIENT },
                            real(n % REALS),
                            client(n),
                            flags,
                            501,
                            101,
                        ),
                    }
                })
                .collect()
        };
        (0..batches).map(|_| batch()).collect()
    }

    /// Nanoseconds a packet; copying the frames in is measured apart and taken off.
    fn measure(&mut self, packets: &[Vec<Vec<u8>>], port: usize) -> f64 {
        let count = (packets.len() * BATCH) as f64;
        let mut run = |process: bool| {
            let start = Instant::now();
            for batch in packets {
                self.batch.clear();
                for bytes in batch {
                    self.batch.push(bytes, Egress::None);
                }
                if process {
                    self.run_batch(port);
                    assert!(self.verdicts.iter().all(|verdict| *verdict == Verdict::Forwarded));
                }
            }
            start.elapsed().as_nanos() as f64 / count
        };
        run(true) - run(false)
    }
}

fn median(mut values: Vec<f64>) -> (f64, f64, f64) {
    values.sort_by(f64::total_cmp);
    (values[values.len() / 2], values[0], values[values.len() - 1])
}

fn report(what: &str, values: Vec<f64>, bar: Option<f64>) {
    let (median, low, high) = median(values);
    let bar =
        bar.map_or(String::new(), |bar| format!("bar {bar:.0} ns: {}", if median <= bar { "met" } else { "MISSED" }));
    println!("{what:<52} {median:7.1} ns  ({low:.1}-{high:.1})  {bar}");
}

fn established(flows: usize, bar: f64) {
    let mut rig = Rig::new(flows);
    for (side, name) in [(0, "client to server"), (1, "server to client")] {
        let packets = rig.packets(4096, side);
        // A server's packet must come in by that server's port for its binding to stay there; any port forwards.
        let values = (0..ROUNDS).map(|_| rig.measure(&packets, if side == 0 { 0 } else { 1 })).collect();
        report(&format!("established, {flows} flows, {name}"), values, Some(bar));
    }
}

fn new_flows() {
    let values = (0..ROUNDS)
        .map(|_| {
            let mut rig = Rig::new(1000);
            let config = PlaneConfig { flows_max: 1 << 20, ..PlaneConfig::new(SWITCH, vec![], 41) };
            let mut warm = Plane::new(config);
            std::mem::swap(&mut rig.plane, &mut warm);
            rig.plane.take_table(&Prepared::default().after(Arc::new(table())), Time::ZERO, &mut rig.out);
            for n in 0..REALS {
                rig.one(
                    1 + n,
                    &segment(Link { src: real_mac(n), dst: CLIENT }, real(n), client(0), TcpFlags::RST, 1, 1),
                );
            }
            let syns: Vec<Vec<Vec<u8>>> = (0..2048)
                .map(|batch| (0..BATCH).map(|n| rig.client_segment(batch * BATCH + n, TcpFlags::SYN, 1, 0)).collect())
                .collect();
            let start = Instant::now();
            for batch in &syns {
                rig.batch.clear();
                for bytes in batch {
                    rig.batch.push(bytes, Egress::None);
                }
                rig.run_batch(0);
            }
            start.elapsed().as_nanos() as f64 / (syns.len() * BATCH) as f64
        })
        .collect();
    report("new flow (SYN, round-robin, copy included)", values, None);
}

/// Runs under callgrind: the same set-up, then this many packets copied in, and processed or not.
fn counted(packets: usize, process: bool) {
    let mut rig = Rig::new(1000);
    let batches = rig.packets(16, 0);
    for batch in batches.iter().cycle().take(packets / BATCH) {
        rig.batch.clear();
        for bytes in batch {
            rig.batch.push(bytes, Egress::None);
        }
        if process {
            rig.run_batch(0);
        }
    }
}

fn instructions() {
    if Command::new("valgrind").arg("--version").output().is_err() {
        println!("instructions per packet: skipped, valgrind is not installed");
        return;
    }
    let count = |packets: usize, process: bool| -> Option<f64> {
        let own = std::env::current_exe().ok()?;
        let mut valgrind = Command::new("valgrind");
        valgrind
            .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
            .arg(own)
            .env(COUNTED, format!("{packets} {}", if process { "process" } else { "copy" }));
        let said = String::from_utf8_lossy(&valgrind.output().ok()?.stderr).into_owned();
        let line = said.lines().find(|line| line.contains("Collected"))?;
        line.split(':').nth(1)?.split_whitespace().next()?.parse().ok()
    };
    let packets = 64_000;
    match (count(0, false), count(packets, false), count(packets, true)) {
        (Some(none), Some(copied), Some(processed)) => {
            let copy = (copied - none) / packets as f64;
            let each = (processed - copied) / packets as f64;
            let bar = if each <= 500.0 { "met" } else { "MISSED" };
            println!(
                "instructions per established packet {each:28.1}      bar 500: {bar} (copying it in: {copy:.1} more)"
            );
        }
        _ => println!("instructions per packet: skipped, callgrind said no count"),
    }
}

fn main() -> ExitCode {
    if let Ok(text) = std::env::var(COUNTED) {
        let (packets, mode) = text.split_once(' ').unwrap_or((&text, "process"));
        counted(packets.parse().expect("a number of packets"), mode == "process");
        return ExitCode::SUCCESS;
    }
    established(1_000, 100.0);
    established(1_000_000, 200.0);
    new_flows();
    let bytes = Plane::new(PlaneConfig { flows_max: 1_000_000, ..PlaneConfig::new(SWITCH, vec![], 41) }).flow_bytes();
    let mib = bytes as f64 / f64::from(1 << 20);
    println!(
        "memory of 1,000,000 flows, all in: {mib:.1} MiB  bar 128 MiB: {}",
        if mib <= 128.0 { "met" } else { "MISSED" }
    );
    instructions();
    ExitCode::SUCCESS
}
