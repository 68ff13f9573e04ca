//! Add and Remove to acknowledgement: `cargo bench --bench control_operations`.
//!
//! The whole path: native client, Unix socket, API, local switch, worker, with 10,000 bindings present (100 services of
//! 100, no health checks beyond the MAC). One connection, one call at a time; then lists; then one call at a time again
//! while the worker forwards as fast as it can.

#![allow(missing_docs, clippy::disallowed_methods)]

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use acm_switch::acm::primitive::{Add, Caller, ForceRemove, Primitive, Remove};
use acm_switch::acm::switch::{AcmSwitch, perform};
use acm_switch::acm::words::{HealthProfile, ServiceKey};
use acm_switch::api::listen::{Endpoint, Listener};
use acm_switch::api::task::serve;
use acm_switch::base::addr::Mac;
use acm_switch::driver::native::NativeClient;
use acm_switch::plane::PlaneConfig;
use acm_switch::port::memory::{FarEnd, MemoryPort};
use acm_switch::switch::local::{LocalConfig, LocalSwitch};
use acm_switch::wire::build::{self, Link, Segment};
use acm_switch::wire::frame::FrameBuf;
use acm_switch::wire::parse::TcpFlags;

const SERVICES: u8 = 100;
const BINDINGS: u8 = 100;
const CALLS: usize = 20_000;
const LISTED: usize = 50_000;

fn service(n: u8) -> ServiceKey {
    ServiceKey::tcp(SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 1, n, 1)), 80))
}

fn add(n: u8, m: u8) -> Primitive {
    let real = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 2, n, m)), 8080);
    Primitive::Add(Add { health: Some(HealthProfile::link_only()), ..Add::new(service(n), real) })
}

fn remove(n: u8, m: u8) -> Primitive {
    Primitive::Remove(Remove {
        service: service(n),
        real: SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 2, n, m)), 8080),
        deadline: None,
    })
}

/// A switch served on a socket, in threads of its own as in `acm switch`, and the far ends of its two ports.
fn start() -> (NativeClient, FarEnd, FarEnd, tempfile::TempDir) {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("switch.sock");
    let endpoint = Endpoint::Unix(path.clone());
    let (left, near) = MemoryPort::new("left", 65_536).expect("a port");
    let (right, far) = MemoryPort::new("right", 65_536).expect("a port");
    let (ready, is_ready) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let mac = Mac([2, 0xac, 0, 0, 0, 1]);
            let addresses: Vec<IpAddr> = vec![Ipv4Addr::new(10, 0, 0, 2).into()];
            let plane = PlaneConfig::new(mac, addresses.clone(), 41);
            let config = LocalConfig { mac, addresses, plane, boot: 1, seed: 41 };
            let (switch, task) = LocalSwitch::start(config, vec![Box::new(left), Box::new(right)]).expect("a switch");
            tokio::spawn(task.run());
            let listener = Listener::open(&endpoint, None).expect("a socket");
            ready.send(()).expect("somebody waits");
            serve(switch, vec![listener], std::future::pending::<()>()).await;
        });
    });
    is_ready.recv().expect("the switch starts");
    let client = NativeClient::new(format!("unix:{}", path.display()).parse().expect("a target"), None);
    (client, near, far, directory)
}

fn report(what: &str, mut times: Vec<Duration>, whole: Duration) {
    times.sort();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
    let rate = times.len() as f64 / whole.as_secs_f64();
    println!("{what:<44} {rate:>9.0}/s   p50 {:.3} ms   p99 {:.3} ms   max {:.2} ms", at(0.5), at(0.99), at(1.0));
    if what.contains("idle") {
        let met = |met: bool| if met { "met" } else { "MISSED" };
        println!("  bars: at least 10,000/s {}; p99 at most 0.5 ms {}", met(rate >= 10_000.0), met(at(0.99) <= 0.5));
    }
}

async fn one_by_one(client: &NativeClient, what: &str, calls: usize) {
    let mut times = Vec::with_capacity(calls);
    let start = Instant::now();
    for n in 0..calls / 2 {
        for primitive in [add((n % 100) as u8, 200), remove((n % 100) as u8, 200)] {
            let start = Instant::now();
            perform(client, &Caller::default(), primitive).await.expect("accepted");
            times.push(start.elapsed());
        }
    }
    report(what, times, start.elapsed());
}

async fn listed(client: &NativeClient) {
    // New bindings, in two lists, then all of them away again.
    let adds = |from: usize| {
        (from..from + LISTED / 2).map(|n| add((n % 100) as u8, 101 + (n / 100 % 99) as u8)).collect::<Vec<_>>()
    };
    let start = Instant::now();
    for from in [0, LISTED / 2] {
        let outcomes = client.apply(&Caller::default(), adds(from)).await.expect("accepted");
        assert!(outcomes.iter().all(Result::is_ok));
    }
    let rate = LISTED as f64 / start.elapsed().as_secs_f64();
    let met = if rate >= 100_000.0 { "met" } else { "MISSED" };
    println!("{:<44} {rate:>9.0}/s   bar: at least 100,000/s {met}", "Add, as lists of 25,000");
}

/// Floods the left port with bridged frames, as fast as the worker takes them, until told to stop.
fn flood(near: FarEnd, far: FarEnd, stop: Arc<AtomicBool>, through: Arc<AtomicU64>) {
    let mut frame = FrameBuf::with_capacity(128);
    let link = Link { src: Mac([2, 0, 0, 0, 0, 1]), dst: Mac([2, 0, 0, 0, 0, 9]) };
    let segment = Segment {
        from: "10.0.0.1:1000".parse().expect("an address"),
        to: "10.0.0.9:80".parse().expect("an address"),
        seq: Default::default(),
        ack: Default::default(),
        flags: TcpFlags::ACK,
        window: 1000,
        mss: None,
        payload: &[0; 64],
    };
    assert!(build::tcp(&mut frame, link, &segment));
    while !stop.load(Ordering::Relaxed) {
        for _ in 0..256 {
            near.push(frame.bytes());
        }
        through.fetch_add(far.take().len() as u64, Ordering::Relaxed);
    }
}

fn main() {
    let (client, near, far, _directory) = start();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let all: Vec<_> = (0..SERVICES).flat_map(|n| (1..=BINDINGS).map(move |m| add(n, m))).collect();
        let outcomes = client.apply(&Caller::default(), all).await.expect("accepted");
        assert!(outcomes.iter().all(Result::is_ok), "10,000 bindings are there");
        // The first round of ARP for hosts that are not there is over soon; the plane is idle then.
        tokio::time::sleep(Duration::from_secs(3)).await;
        one_by_one(&client, "Add and Remove, one at a time, plane idle", CALLS).await;
        let (stop, through) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let flooding = {
            let (stop, through) = (Arc::clone(&stop), Arc::clone(&through));
            std::thread::spawn(move || flood(near, far, stop, through))
        };
        let start = Instant::now();
        one_by_one(&client, "Add and Remove, one at a time, plane flooded", CALLS / 10).await;
        let rate = through.load(Ordering::Relaxed) as f64 / start.elapsed().as_secs_f64();
        println!("  meanwhile {:.2} million frames a second passed the plane", rate / 1e6);
        stop.store(true, Ordering::Relaxed);
        flooding.join().expect("the flood ends");
        listed(&client).await;
        let primitive = Primitive::ForceRemove(ForceRemove {
            service: service(0),
            real: "10.2.0.1:8080".parse().expect("an address"),
        });
        let start = Instant::now();
        perform(&client, &Caller::default(), primitive).await.expect("accepted");
        println!("{:<44} {:.3} ms", "Force Remove of an empty binding", start.elapsed().as_secs_f64() * 1e3);
    });
}
