//! A real `acm manager`, real sockets, a switch behind the native driver.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use acm_switch::api::listen::{Endpoint, Listener};
use acm_switch::api::task::serve;
use acm_switch::base::addr::Mac;
use acm_switch::base::time::Time;
use acm_switch::plane::PlaneConfig;
use acm_switch::port::memory::MemoryPort;
use acm_switch::switch::local::{LocalConfig, LocalSwitch};
use serde_json::Value;

use super::crowd::{Crowd, secret};
use super::report;

const ACM: &str = env!("CARGO_BIN_EXE_acm");
const LISTEN: &str = "127.0.0.1:7946";
const PERIOD: Duration = Duration::from_secs(10);

/// The manager, its switch, and the clock of the crowd.
struct Site {
    directory: tempfile::TempDir,
    manager: Child,
    socket: UdpSocket,
    began: Instant,
}

impl Drop for Site {
    fn drop(&mut self) {
        let _ = self.manager.kill();
        let _ = self.manager.wait();
    }
}

impl Site {
    fn start() -> Site {
        let directory = tempfile::tempdir().expect("a directory");
        serve_switch(directory.path().join("switch.sock"));
        let dir = directory.path().display();
        for key in 1..=3 {
            let path = directory.path().join(format!("key-{key}"));
            std::fs::write(&path, secret(key)).expect("a key file");
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).expect("its mode");
        }
        let text = format!(
            "node = 1\nsign_with = 1\n[network]\npeers = [\"127.0.0.1:9\"]\nlisten = \"{LISTEN}\"\n\
             [[key]]\nid = 1\nsecret_file = \"{dir}/key-1\"\nmanagers = [1]\n\
             [[key]]\nid = 2\nsecret_file = \"{dir}/key-2\"\nvips = [\"10.0.0.0/16\"]\nreals = [\"10.0.0.0/8\"]\n\
             [[key]]\nid = 3\nsecret_file = \"{dir}/key-3\"\noperator = true\n\
             [[switch]]\nname = \"sw-1\"\nurl = \"unix:{dir}/switch.sock\"\nvips = [\"10.0.0.0/16\"]\n"
        );
        std::fs::write(directory.path().join("manager.toml"), text).expect("a configuration");
        let log = std::fs::File::create(directory.path().join("log")).expect("a log");
        let mut command = Command::new(ACM);
        command.arg("manager").arg("--config").arg(directory.path().join("manager.toml"));
        let manager = command.stdin(Stdio::null()).stderr(log).spawn().expect("the manager starts");
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        socket.set_nonblocking(true).expect("not blocking");
        let site = Site { directory, manager, socket, began: Instant::now() };
        site.until("it leads", || site.status().is_some_and(|status| status["role"] == "leading"));
        site
    }

    fn now(&self) -> Time {
        Time::from_micros(self.began.elapsed().as_micros() as u64)
    }

    fn until(&self, what: &str, mut holds: impl FnMut() -> bool) {
        let begin = Instant::now();
        while !holds() {
            assert!(begin.elapsed() < Duration::from_secs(120), "{what}: {:?}\n{}", self.status(), self.log());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn status(&self) -> Option<Value> {
        let mut command = Command::new(ACM);
        command.arg("managers").arg("--config").arg(self.directory.path().join("manager.toml"));
        let output = command.args(["--json", "--wait", "500ms"]).output().expect("acm managers");
        let all: Value = serde_json::from_slice(&output.stdout).ok()?;
        Some(all["managers"][0].clone())
    }

    fn counter(&self, name: &str) -> u64 {
        self.status().and_then(|status| status["counters"][name].as_u64()).unwrap_or(0)
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }

    /// How much of a core the manager has used so far.
    fn used(&self) -> Duration {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.manager.id())).expect("it lives");
        let after_name = stat.rsplit_once(')').expect("a name").1;
        let field =
            |n: usize| after_name.split_whitespace().nth(n).and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
        // Fields 14 and 15 of proc(5), in hundredths of a second.
        Duration::from_millis((field(11) + field(12)) * 10)
    }

    fn hear(&self, crowd: &mut Crowd) {
        let mut bytes = [0; 2048];
        while let Ok(length) = self.socket.recv(&mut bytes) {
            crowd.hear(&bytes[..length], self.now());
        }
    }

    fn say(&self, crowd: &mut Crowd, agent: usize) {
        let beacon = crowd.beacon(agent, self.now());
        self.socket.send_to(&beacon, LISTEN).expect("loopback takes it");
    }

    /// A crowd that is known to the manager, all bindings on the switch.
    fn crowd(&self, agents: usize, each: usize) -> Crowd {
        let mut crowd = Crowd::new(agents, each, PERIOD, self.now());
        let deadline = Instant::now() + Duration::from_secs(10);
        while !crowd.is_heard() && Instant::now() < deadline {
            self.say(&mut crowd, 0);
            std::thread::sleep(Duration::from_millis(50));
            self.hear(&mut crowd);
        }
        assert!(crowd.is_heard(), "the manager answers");
        self.keep_up(&mut crowd, PERIOD * 2, 0.0);
        let all = (agents * each) as u64;
        let is_there = |status: Value| {
            status["bindings"].as_u64() == Some(all) && status["switches"][0]["bindings"].as_u64() == Some(all)
        };
        let mut tries = 0;
        while !self.status().is_some_and(is_there) {
            tries += 1;
            assert!(tries < 12, "{:?}\n{}", self.status(), self.log());
            self.keep_up(&mut crowd, PERIOD, 0.0);
        }
        crowd
    }

    /// The crowd beacons evenly for so long, with so many changes a second.
    fn keep_up(&self, crowd: &mut Crowd, lasts: Duration, changes: f64) -> Sent {
        let rate = crowd.agents() as f64 / PERIOD.as_secs_f64();
        let (begin, mut sent, mut changed) = (Instant::now(), 0u64, 0u64);
        while begin.elapsed() < lasts {
            std::thread::sleep(Duration::from_millis(2));
            self.hear(crowd);
            let due = (begin.elapsed().as_secs_f64() * rate) as u64;
            while sent < due {
                let agent = (sent % crowd.agents() as u64) as usize;
                if (changed as f64) < begin.elapsed().as_secs_f64() * changes {
                    crowd.change(agent);
                    changed += 1;
                }
                self.say(crowd, agent);
                sent += 1;
            }
        }
        Sent { beacons: sent, changed }
    }

    /// Its share of a core while the crowd goes on.
    fn share(&self, crowd: &mut Crowd, changes: f64, what: &str, bar: Option<(f64, &str)>) {
        let lasts = PERIOD * 3;
        let (used, begin, known) = (self.used(), Instant::now(), self.counter("beacons"));
        let sent = self.keep_up(crowd, lasts, changes);
        let share = (self.used() - used).as_secs_f64() / begin.elapsed().as_secs_f64();
        let heard = self.counter("beacons") - known;
        assert!(heard >= sent.beacons, "{heard} of {} were heard", sent.beacons);
        report(what, &format!("{:.1} % of a core", share * 100.0), bar.map(|(most, text)| (share < most, text)));
        println!(
            "  {:.0} beacons and {:.0} changes a second",
            sent.beacons as f64 / lasts.as_secs_f64(),
            sent.changed as f64 / lasts.as_secs_f64()
        );
        self.nobody_was_taken_for_dead();
    }

    fn nobody_was_taken_for_dead(&self) {
        let log = self.log();
        assert!(!log.contains("a server was looked at"), "a false expiry:\n{log}");
        assert!(!log.contains("leads no more"), "{log}");
    }
}

struct Sent {
    beacons: u64,
    changed: u64,
}

/// A switch on a socket, in threads of its own.
fn serve_switch(path: PathBuf) {
    let (ready, is_ready) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let mac = Mac([2, 0xac, 0, 0, 0, 1]);
            let addresses: Vec<IpAddr> = vec![Ipv4Addr::new(10, 9, 0, 2).into()];
            let plane = PlaneConfig::new(mac, addresses.clone(), 41);
            let config = LocalConfig { mac, addresses, plane, boot: 1, seed: 41 };
            let (port, _far) = MemoryPort::new("port", 1024).expect("a port");
            let (switch, task) = LocalSwitch::start(config, vec![Box::new(port)]).expect("a switch");
            tokio::spawn(task.run());
            let listener = Listener::open(&Endpoint::Unix(path), None).expect("a socket");
            ready.send(()).expect("somebody waits");
            serve(switch, vec![listener], std::future::pending::<()>()).await;
        });
    });
    is_ready.recv().expect("the switch starts");
}

pub(crate) fn run() {
    println!(
        "A manager process; times of the kernel's account, {} on the way",
        SocketAddr::V4(LISTEN.parse().expect("an address"))
    );
    burst();
    for (agents, each, changes, bar) in
        [(50_000, 1, 0.0, None), (3_000, 8, 40.0, Some((0.05, "5 %"))), (30_000, 8, 400.0, Some((0.5, "50 %")))]
    {
        let site = Site::start();
        let mut crowd = site.crowd(agents, each);
        let what = format!("{} instances, {each} to a beacon, every 10 s", agents * each);
        site.share(&mut crowd, changes, &what, bar);
    }
}

/// Ten thousand beacons at once, again and again.
fn burst() {
    let site = Site::start();
    let mut crowd = site.crowd(10_000, 1);
    if let Some(line) = site.log().lines().find(|line| line.contains("receive buffer")) {
        println!("  {line}");
    }
    for _ in 0..3 {
        let beacons: Vec<_> = (0..10_000).map(|agent| crowd.beacon(agent, site.now())).collect();
        let known = site.counter("beacons");
        let (begin, used) = (Instant::now(), site.used());
        for beacon in &beacons {
            site.socket.send_to(beacon, LISTEN).expect("loopback takes it");
        }
        let sending = begin.elapsed();
        std::thread::sleep(Duration::from_millis(500));
        let heard = site.counter("beacons") - known;
        let each = (site.used() - used) / 10_000;
        let measured = format!("{heard} taken up");
        report(&format!("a burst of 10,000 within {sending:.0?}"), &measured, Some((heard == 10_000, "all")));
        println!("  {:.1} us of a core for each, system calls and all", each.as_secs_f64() * 1e6);
    }
    site.nobody_was_taken_for_dead();
}
