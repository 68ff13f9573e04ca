//! Primitives through the Foundry driver and the ServerIron's command line: `cargo bench --bench cli_operations`.
//!
//! The whole path: driver, telnet over loopback, command line, local switch, worker and back, one call at a time on one
//! session, few bindings and many; then the time of a List; then the same driver to the emulator at the pace of the
//! real device, where the driver must add next to nothing.

#![allow(missing_docs, clippy::disallowed_methods)]

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use acm_switch::acm::connect::{Connect, SwitchProfile};
use acm_switch::acm::list::Filter;
use acm_switch::acm::primitive::{Add, Caller, Primitive, Remove};
use acm_switch::acm::switch::{AcmSwitch, perform};
use acm_switch::acm::words::ServiceKey;
use acm_switch::base::addr::Mac;
use acm_switch::cli::console::{CliConfig, open};
use acm_switch::driver::Registry;
use acm_switch::plane::PlaneConfig;
use acm_switch::port::memory::MemoryPort;
use acm_switch::switch::local::{LocalConfig, LocalSwitch};
use switch_sim::chassis::{Chassis, Settings};
use switch_sim::personality::Personality;
use switch_sim::server::{Bell, Device, Listen, Server};
use switch_sim::simbox::{Pace, SimSettings, SimulatedBox};
use switch_sim::terminal;

const BINDINGS: u32 = 10_000;
const CALLS: usize = 10_000;

fn service(n: u32) -> ServiceKey {
    ServiceKey::tcp(SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 1, n as u8, 1)), 80))
}

fn real(n: u32) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 2, (n / 250) as u8, 1 + (n % 250) as u8)), 8080)
}

/// Binding `n` of service `n` modulo 100.
fn add(n: u32) -> Primitive {
    Primitive::Add(Add::new(service(n % 100), real(n)))
}

fn remove(n: u32) -> Primitive {
    Primitive::Remove(Remove { service: service(n % 100), real: real(n), deadline: None })
}

/// Runs a server in a thread of its own; returns its telnet address.
fn serve<S, F>(start: S) -> SocketAddr
where
    S: FnOnce() -> F + Send + 'static,
    F: Future<Output = Server>,
{
    let (ready, is_ready) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let server = start().await;
            ready.send(server.telnet_address().expect("telnet is served")).expect("somebody waits");
            server.run().await;
        });
    });
    is_ready.recv().expect("the device starts")
}

fn own_switch() -> SocketAddr {
    serve(|| async {
        let (left, near) = MemoryPort::new("left", 65_536).expect("a port");
        let (right, far) = MemoryPort::new("right", 65_536).expect("a port");
        // The cables stay plugged in for as long as the process runs.
        std::mem::forget((near, far));
        let mac = Mac([2, 0xac, 0, 0, 0, 1]);
        let addresses: Vec<IpAddr> = vec![Ipv4Addr::new(10, 0, 0, 2).into()];
        let plane = PlaneConfig::new(mac, addresses.clone(), 41);
        let config = LocalConfig { mac, addresses, plane, boot: 1, seed: 41 };
        let (switch, task) = LocalSwitch::start(config, vec![Box::new(left), Box::new(right)]).expect("a switch");
        tokio::spawn(task.run());
        let config = CliConfig { telnet: Some(([127, 0, 0, 1], 0).into()), ..CliConfig::default() };
        open(&config, switch).await.expect("the command line starts").expect("it was asked for")
    })
}

fn device(pace: Pace) -> SocketAddr {
    serve(move || async move {
        let bell = Bell::default();
        let balancer = SimulatedBox::new(SimSettings { pace, ..SimSettings::new(Personality::Xl) });
        let mut chassis = Chassis::new(Settings::new(Personality::Xl), Box::new(balancer));
        let ring = bell.clone();
        chassis.set_waker(Arc::new(move || ring.ring()));
        let listen = Listen { telnet: Some(([127, 0, 0, 1], 0).into()), ..Listen::default() };
        let device = Device::new(chassis, bell);
        Server::bind(device, terminal::Settings::default(), listen).await.expect("the device starts")
    })
}

async fn connect(address: SocketAddr) -> Box<dyn AcmSwitch> {
    let profile = SwitchProfile::new("box".parse().expect("a name"), format!("telnet://{address}?driver=foundry"));
    Registry.connect(&profile).await.expect("the driver logs in")
}

fn quantile(times: &[Duration], share: f64) -> f64 {
    times[((times.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3
}

/// One call at a time: what each took, in order of length, and all of them together.
async fn one_by_one(switch: &dyn AcmSwitch, calls: impl Iterator<Item = Primitive>) -> (Vec<Duration>, Duration) {
    let mut times = Vec::new();
    let whole = Instant::now();
    for primitive in calls {
        let start = Instant::now();
        perform(switch, &Caller::default(), primitive).await.expect("accepted");
        times.push(start.elapsed());
    }
    let whole = whole.elapsed();
    times.sort();
    (times, whole)
}

fn report(what: &str, times: &[Duration], whole: Duration) {
    let rate = times.len() as f64 / whole.as_secs_f64();
    let p99 = quantile(times, 0.99);
    let met = |met: bool| if met { "met" } else { "MISSED" };
    println!(
        "{what:<52} {rate:>7.0}/s  p50 {:.2} ms  p99 {p99:.2} ms  max {:.1} ms   bars: 2,000/s {}, p99 5 ms {}",
        quantile(times, 0.5),
        quantile(times, 1.0),
        met(rate >= 2_000.0),
        met(p99 <= 5.0),
    );
}

/// Adds and removes in turn of a binding beside those that are there.
fn turns(calls: usize) -> impl Iterator<Item = Primitive> {
    (0..calls as u32 / 2).flat_map(|n| [add(BINDINGS + n % 1000), remove(BINDINGS + n % 1000)])
}

async fn on_our_own_switch() {
    let switch = connect(own_switch()).await;
    let (times, whole) = one_by_one(&*switch, turns(CALLS)).await;
    report("Add and Remove, few bindings", &times, whole);
    let start = Instant::now();
    let all: Vec<_> = (0..BINDINGS).map(add).collect();
    let outcomes = switch.apply(&Caller::default(), all).await.expect("accepted");
    assert!(outcomes.iter().all(Result::is_ok), "{:?}", outcomes.iter().find(|outcome| outcome.is_err()));
    println!("{:<52} {:>7.0}/s", "Add, as a list of 10,000", f64::from(BINDINGS) / start.elapsed().as_secs_f64());
    let (times, whole) = one_by_one(&*switch, turns(CALLS)).await;
    report("Add and Remove, 10,000 bindings present", &times, whole);
    let start = Instant::now();
    let listing = switch.list(&Filter::default()).await.expect("a list");
    let took = start.elapsed().as_secs_f64();
    assert!(listing.bindings.len() >= BINDINGS as usize, "{} bindings", listing.bindings.len());
    let met = if took < 2.0 { "met" } else { "MISSED" };
    println!("{:<52} {took:>7.3} s   bar: 2 s {met}", "List of 10,000 bindings");
}

async fn at_the_pace_of_the_device() {
    let switch = connect(device(Pace::Device)).await;
    // The service is made before: a binding alone is what the pace is for.
    perform(&*switch, &Caller::default(), add(0)).await.expect("accepted");
    let calls = 50;
    let others = || (1..=calls).map(|n| n * 100);
    let (_, adding) = one_by_one(&*switch, others().map(add)).await;
    over_the_pace("Add at the pace of the device", adding, calls, 26.0);
    // A Remove disables, at once; what is empty is unbound when the driver looks at it next.
    let start = Instant::now();
    one_by_one(&*switch, others().map(remove)).await;
    let listing = switch.list(&Filter::default()).await.expect("a list");
    assert_eq!(listing.bindings.len(), 1, "the others are unbound");
    over_the_pace("Remove and unbind at the pace of the device", start.elapsed(), calls, 20.0);
}

fn over_the_pace(what: &str, took: Duration, calls: u32, pace: f64) {
    let each = took.as_secs_f64() * 1e3 / f64::from(calls);
    let over = each / pace - 1.0;
    let met = if over.abs() <= 0.05 { "met" } else { "MISSED" };
    println!("{what:<52} {each:>7.2} ms each, {:+.1} % of the pace itself   bar: 5 % {met}", over * 100.0);
}

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        on_our_own_switch().await;
        at_the_pace_of_the_device().await;
    });
}
