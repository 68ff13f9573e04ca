//! The namespaces, and everything that runs in them.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use acm_switch::acm::connect::{Connect as _, SwitchProfile};
use acm_switch::acm::list::{Filter, Listing, State};
use acm_switch::acm::primitive::{Caller, Primitive, Remove};
use acm_switch::acm::switch::perform;
use acm_switch::beacon::socket::{Reach, Way as By};
use acm_switch::driver::Registry;
use libtest_mimic::Failed;
use rustix::process::Signal;
use serde_json::Value;
use switch_sim::personality::Personality;
use switch_sim::simbox::Pace;
use tokio::sync::oneshot;

use super::agents::{Running, Told};
use super::haproxy::{self, FRONTEND};
use super::ironware::Iron;
use super::netns::Namespace;
use super::{Way, expect, until};

const ACM: &str = env!("CARGO_BIN_EXE_acm");
const VIP: &str = "10.9.0.100:80";
const GROUP: &str = "239.9.9.9:7946";
const IRON: &str = "10.9.0.50:2323";

/// Which switch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Which {
    Acm,
    Iron,
    Haproxy,
}

pub(crate) const ALL: [Which; 3] = [Which::Acm, Which::Iron, Which::Haproxy];

impl Which {
    fn name(self) -> &'static str {
        match self {
            Which::Acm => "acm",
            Which::Iron => "iron",
            Which::Haproxy => "haproxy",
        }
    }
}

/// The managers' and agents' timers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Timers {
    Normal,
    Fast,
}

impl Timers {
    /// How soon after a leader's death an Add is accepted.
    pub(crate) fn promised(self) -> Duration {
        match self {
            Timers::Normal => Duration::from_secs(12),
            Timers::Fast => Duration::from_millis(1500),
        }
    }

    fn beacon(self) -> Duration {
        match self {
            Timers::Normal => Duration::from_secs(10),
            Timers::Fast => Duration::from_millis(250),
        }
    }

    fn profile(self) -> &'static str {
        match self {
            Timers::Normal => "normal",
            Timers::Fast => "fast",
        }
    }
}

/// Long enough for a returned manager to do harm, if it did.
pub(crate) fn settled(timers: Timers) -> Duration {
    timers.beacon().min(Duration::from_secs(1)) * 4
}

/// Server `n`.
pub(crate) fn real(n: u8) -> SocketAddr {
    SocketAddr::from(([10, 9, 0, 11 + n], 8080))
}

fn secret(key: u16) -> String {
    format!("0123456789abcdef0123456789abcde{key}")
}

/// A process that ends with the test.
struct Process(Child);

impl Process {
    fn signal(&self, signal: Signal) -> Result<(), Failed> {
        let pid = rustix::process::Pid::from_raw(self.0.id() as i32).ok_or("no process")?;
        Ok(rustix::process::kill_process(pid, signal)?)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The way to our switch's API, which can be cut while the switch goes on forwarding.
struct Relay(Option<(oneshot::Sender<()>, JoinHandle<()>)>);

impl Relay {
    fn start(at: PathBuf, to: PathBuf) -> Result<Relay, Failed> {
        let _ = std::fs::remove_file(&at);
        let listener = std::os::unix::net::UnixListener::bind(at)?;
        listener.set_nonblocking(true)?;
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            let passing = async {
                let listener = tokio::net::UnixListener::from_std(listener).expect("a listener");
                while let Ok((mut here, _)) = listener.accept().await {
                    let to = to.clone();
                    tokio::spawn(async move {
                        let Ok(mut there) = tokio::net::UnixStream::connect(to).await else { return };
                        let _ = tokio::io::copy_bidirectional(&mut here, &mut there).await;
                    });
                }
            };
            runtime.block_on(async {
                tokio::select! {
                    () = passing => {}
                    _ = stopped => {}
                }
            });
        });
        Ok(Relay(Some((stop, thread))))
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        if let Some((stop, thread)) = self.0.take() {
            drop(stop);
            let _ = thread.join();
        }
    }
}

/// The emulated box on a thread, as long as this lives.
struct IronThread {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for IronThread {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

pub(crate) struct Site {
    directory: tempfile::TempDir,
    timers: Timers,
    profiles: Vec<Which>,
    managers: [Option<Process>; 2],
    switch: Option<Process>,
    relay: Option<Relay>,
    haproxy: Option<Process>,
    _iron: Option<IronThread>,
    switch_space: Arc<Namespace>,
    manager_spaces: [Arc<Namespace>; 2],
    host: Arc<Namespace>,
    iron_space: Arc<Namespace>,
    stop: Arc<AtomicBool>,
}

impl Site {
    /// Everything that is asked for, and two managers over it.
    pub(crate) fn start(timers: Timers, profiles: &[Which]) -> Result<Site, Failed> {
        let space = || Namespace::new().map(Arc::new);
        let (switch_space, host, iron_space) = (space()?, space()?, space()?);
        let manager_spaces = [space()?, space()?];
        for (n, (port, other, name)) in [
            ("p1", &manager_spaces[0], "m"),
            ("p2", &manager_spaces[1], "m"),
            ("p3", &host, "h"),
            ("p4", &iron_space, "i"),
        ]
        .into_iter()
        .enumerate()
        {
            switch_space.cable(port, other, name)?;
            let last = [1, 2, 11, 50][n];
            other.address(name, [10, 9, 0, last], 24)?;
        }
        host.address("h", [10, 9, 0, 12], 24)?;
        host.address("h", [10, 9, 0, 13], 24)?;
        let mut site = Site {
            directory: tempfile::tempdir()?,
            timers,
            profiles: profiles.to_vec(),
            managers: [None, None],
            switch: None,
            relay: None,
            haproxy: None,
            _iron: None,
            switch_space,
            manager_spaces,
            host,
            iron_space,
            stop: Arc::default(),
        };
        site.serve()?;
        // It bridges, so it runs whether it is managed or not.
        site.start_switch()?;
        if profiles.contains(&Which::Haproxy) {
            site.start_haproxy()?;
        }
        if profiles.contains(&Which::Iron) {
            site._iron = Some(site.start_iron());
        }
        for key in 1..=3 {
            let path = site.path(&format!("key-{key}"));
            std::fs::write(&path, secret(key) + "\n")?;
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
        }
        for node in 1..=2 {
            std::fs::write(site.config(node), site.text(node))?;
            site.start_manager(node)?;
        }
        Ok(site)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn config(&self, node: usize) -> PathBuf {
        self.path(&format!("manager-{node}.toml"))
    }

    fn url(&self, which: Which) -> String {
        match which {
            Which::Acm => format!("unix:{}", self.path("relay.sock").display()),
            Which::Iron => format!("telnet://{IRON}"),
            Which::Haproxy => format!("unix:{}?driver=haproxy&vip={VIP}=web", self.path("haproxy.sock").display()),
        }
    }

    fn text(&self, node: usize) -> String {
        let key =
            |id: u16| format!("[[key]]\nid = {id}\nsecret_file = \"{}\"\n", self.path(&format!("key-{id}")).display());
        let switches = self.profiles.iter().map(|which| {
            format!("[[switch]]\nname = \"{}\"\nurl = \"{}\"\nvips = [\"{VIP}\"]\n", which.name(), self.url(*which))
        });
        format!(
            "node = {node}\nsign_with = 1\nprofile = \"{}\"\n[network]\nmulticast = \"{GROUP}\"\ninterface = \"m\"\n\
             {}managers = [1, 2]\n{}vips = [\"{VIP}\"]\nforce = true\n{}operator = true\n{}",
            self.timers.profile(),
            key(1),
            key(2),
            key(3),
            switches.collect::<String>()
        )
    }

    fn start_manager(&mut self, node: usize) -> Result<(), Failed> {
        let log = std::fs::File::options().create(true).append(true).open(self.path(&format!("manager-{node}.log")))?;
        let mut command = Command::new(ACM);
        command.arg("manager").arg("--config").arg(self.config(node)).stdin(Stdio::null()).stderr(log);
        self.managers[node - 1] = Some(Process(self.manager_spaces[node - 1].run(|| command.spawn())?));
        Ok(())
    }

    fn start_switch(&mut self) -> Result<(), Failed> {
        let mut command = Command::new(ACM);
        let api = format!("unix:{}", self.path("switch.sock").display());
        command.arg("switch").args(["--address", "10.9.0.254/24", "--api", &api]);
        for port in ["p1", "p2", "p3", "p4"] {
            command.args(["--port", port]);
        }
        command.stdin(Stdio::null()).stderr(std::fs::File::create(self.path("switch.log"))?);
        self.switch = Some(Process(self.switch_space.run(|| command.spawn())?));
        self.relay = Some(Relay::start(self.path("relay.sock"), self.path("switch.sock"))?);
        until("our switch answers", Duration::from_secs(10), || self.listing(Which::Acm).is_some())?;
        Ok(())
    }

    fn start_haproxy(&mut self) -> Result<(), Failed> {
        self.haproxy = Some(Process(self.host.run(|| haproxy::start(self.directory.path()))?));
        Ok(())
    }

    /// At the pace of the device, with what real ones do.
    fn start_iron(&self) -> IronThread {
        let mut iron = Iron::new(Personality::Xl)
            .with("late-deletion=300ms")
            .with("swallow-input=1%")
            .with("blank-lines=20%")
            .with("slow-command=1s@chance=2%");
        iron.pace = Pace::Device;
        let (stop, stopped) = oneshot::channel::<()>();
        let space = Arc::clone(&self.iron_space);
        let thread = std::thread::spawn(move || {
            space.enter().expect("the namespace can be entered");
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                let running = iron.start();
                tokio::select! {
                    () = running.serve(IRON.parse().expect("an address")) => {}
                    _ = stopped => {}
                }
            });
        });
        IronThread { stop: Some(stop), thread: Some(thread) }
    }

    /// The three servers: each greets with its address, and holds the connection until the client ends it.
    fn serve(&self) -> Result<(), Failed> {
        for n in 0..3 {
            let listener = self.host.run(|| TcpListener::bind(real(n)))?;
            listener.set_nonblocking(true)?;
            let stop = Arc::clone(&self.stop);
            std::thread::spawn(move || {
                let mut held = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    match listener.accept() {
                        Ok((mut stream, _)) => {
                            let _ = stream.write_all(format!("{}\n", real(n)).as_bytes());
                            // Health checks end at once.
                            held.retain(|old: &TcpStream| !is_ended(old));
                            held.push(stream);
                        }
                        Err(_) => std::thread::sleep(Duration::from_millis(5)),
                    }
                }
            });
        }
        Ok(())
    }

    pub(crate) fn agents(&self, count: u8) -> Vec<Running> {
        (0..count).map(|n| self.agent(n)).collect()
    }

    /// The agent of server `n`, beside it.
    pub(crate) fn agent(&self, n: u8) -> Running {
        let group: SocketAddr = GROUP.parse().expect("an address");
        let reach = Reach {
            way: By::Multicast(group),
            listen: SocketAddr::new(real(n).ip(), 0),
            interface: Some("h".into()),
            buffer: 1 << 18,
            ..Reach::default()
        };
        let (key, period) = (2, self.timers.beacon());
        let told =
            Told { node: 100 + u64::from(n), key, secret: secret(key), service: VIP, real: real(n), period, reach };
        let host = Arc::clone(&self.host);
        Running::start(told, move || host.enter().expect("the namespace can be entered"))
    }

    /// What a switch has of the managers'; `None` if it cannot be asked.
    fn listing(&self, which: Which) -> Option<Listing> {
        let mut url = self.url(which);
        if which == Which::Iron {
            url += "?owner=comics";
        }
        let profile = SwitchProfile::new(which.name().parse().ok()?, url);
        let ask = async {
            let asking = async { Registry.connect(&profile).await?.list(&Filter::default()).await };
            tokio::time::timeout(Duration::from_secs(3), asking).await.ok()?.ok()
        };
        let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build();
        self.manager_spaces[0].run(|| runtime().ok()?.block_on(ask))
    }

    /// True if these switches have exactly the bindings of these servers.
    pub(crate) fn have(&self, switches: &[Which], servers: &[u8]) -> bool {
        switches.iter().all(|which| {
            let Some(listing) = self.listing(*which) else { return false };
            let rows = listing.bindings.iter().filter(|row| row.state != State::Draining);
            let mut has: Vec<_> = rows.filter(|row| row.owner.as_str() == "comics").map(|row| row.key.real).collect();
            has.sort();
            has == servers.iter().map(|n| real(*n)).collect::<Vec<_>>()
        })
    }

    pub(crate) fn all_have(&self, servers: &[u8]) -> bool {
        self.have(&self.profiles, servers)
    }

    /// The identities of our switch's bindings: another one if it was ever removed and added again.
    pub(crate) fn ids(&self) -> Result<BTreeMap<SocketAddr, u64>, Failed> {
        let listing = self.listing(Which::Acm).ok_or("our switch does not answer")?;
        Ok(listing.bindings.iter().map(|row| (row.key.real, row.id.0)).collect())
    }

    /// A client of HAProxy's.
    pub(crate) fn client(&self) -> Result<Client, Failed> {
        let stream = self.host.run(|| TcpStream::connect(FRONTEND))?;
        stream.set_read_timeout(Some(Duration::from_millis(500)))?;
        let mut greeting = [0; 64];
        let length = (&stream).read(&mut greeting).unwrap_or(0);
        let greeting = String::from_utf8_lossy(&greeting[..length]).trim().to_owned();
        Ok(Client { stream, greeting })
    }

    /// Somebody removes the binding of server `n` by hand.
    pub(crate) fn slip(&self, which: Which, n: u8) -> Result<(), Failed> {
        let mut url = self.url(which);
        if which == Which::Iron {
            url += "?owner=comics";
        }
        let profile = SwitchProfile::new("slip".parse()?, url);
        let remove = Primitive::Remove(Remove { service: VIP.parse()?, real: real(n), deadline: None });
        self.manager_spaces[0].run(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async {
                let switch = Registry.connect(&profile).await.map_err(|why| why.to_string())?;
                perform(switch.as_ref(), &Caller::default(), remove).await.map_err(|why| why.to_string())?;
                Ok::<_, Failed>(())
            })
        })
    }

    pub(crate) fn unplug(&mut self, which: Which) -> Result<(), Failed> {
        match which {
            Which::Acm => drop(self.relay.take()),
            Which::Haproxy => drop(self.haproxy.take()),
            Which::Iron => self.iron_space.set_down("i")?,
        }
        Ok(())
    }

    pub(crate) fn plug(&mut self, which: Which) -> Result<(), Failed> {
        match which {
            Which::Acm => {
                self.relay = Some(Relay::start(self.path("relay.sock"), self.path("switch.sock"))?);
                Ok(())
            }
            Which::Haproxy => self.start_haproxy(),
            Which::Iron => Ok(self.iron_space.set_up("i")?),
        }
    }

    /// Our switch is killed, with everything it knew, and started anew.
    pub(crate) fn restart_switch(&mut self) -> Result<(), Failed> {
        (self.relay, self.switch) = (None, None);
        self.start_switch()
    }

    // --- managers ---

    /// What they say of themselves.
    pub(crate) fn report(&self) -> Option<Value> {
        let node = (1..=2).find(|node| self.managers[node - 1].is_some())?;
        let mut command = Command::new(ACM);
        command.arg("managers").arg("--config").arg(self.config(node)).args(["--json", "--wait", "600ms"]);
        let output = self.manager_spaces[node - 1].run(|| command.stdin(Stdio::null()).output()).ok()?;
        serde_json::from_slice(&output.stdout).ok()
    }

    fn leader_of(report: &Value) -> Option<usize> {
        let leads = |one: &&Value| one["role"] == "leading";
        let mut leaders = report["managers"].as_array()?.iter().filter(leads).filter_map(|one| one["node"].as_u64());
        leaders.next().filter(|_| leaders.next().is_none()).map(|node| node as usize)
    }

    pub(crate) fn wait_for_leader(&self) -> Result<usize, Failed> {
        let mut found = None;
        until("one manager leads", Duration::from_secs(30), || {
            found = self.report().as_ref().and_then(Site::leader_of);
            found.is_some()
        })?;
        found.ok_or_else(|| "nobody leads".into())
    }

    /// True if the leader tells why it cannot reach a switch.
    pub(crate) fn says_lost(&self, which: Which) -> bool {
        let Some(report) = self.report() else { return false };
        let all = report["managers"].as_array().cloned().unwrap_or_default();
        let rows = all.iter().filter_map(|one| one["switches"].as_array()).flatten();
        rows.filter(|row| row["name"] == which.name())
            .any(|row| row["lag_ms"].as_u64() > Some(0) && row["why"].is_string())
    }

    /// Datagrams that a manager refused for this cause.
    pub(crate) fn counted(&self, node: usize, cause: &str) -> u64 {
        let Some(report) = self.report() else { return 0 };
        let all = report["managers"].as_array().cloned().unwrap_or_default();
        let one = all.iter().find(|one| one["node"] == node as u64);
        one.and_then(|one| one["counters"][format!("refused.{cause}")].as_u64()).unwrap_or(0)
    }

    pub(crate) fn disturb(&mut self, node: usize, way: Way) -> Result<(), Failed> {
        match way {
            Way::Kill => drop(self.managers[node - 1].take()),
            Way::Stop => self.managers[node - 1].as_ref().ok_or("it does not run")?.signal(Signal::STOP)?,
            Way::CutOff => self.manager_spaces[node - 1].set_down("m")?,
        }
        Ok(())
    }

    pub(crate) fn restore(&mut self, node: usize, way: Way) -> Result<(), Failed> {
        match way {
            Way::Kill => self.start_manager(node),
            Way::Stop => self.managers[node - 1].as_ref().ok_or("it does not run")?.signal(Signal::CONT),
            Way::CutOff => Ok(self.manager_spaces[node - 1].set_up("m")?),
        }
    }

    /// Sends everything that is wrong for so long; how many.
    pub(crate) fn flood(&self, recorded: Vec<Vec<u8>>, lasts: Duration) -> JoinHandle<u64> {
        let socket = self.host.run(|| UdpSocket::bind("10.9.0.13:0")).expect("a socket");
        let host = Arc::clone(&self.host);
        std::thread::spawn(move || {
            host.enter().expect("the namespace can be entered");
            let options = socket2::SockRef::from(&socket);
            options.set_multicast_if_v4(&[10, 9, 0, 13].into()).expect("the interface's address");
            let end = Instant::now() + lasts;
            let mut sent = 0;
            while Instant::now() < end {
                std::thread::sleep(Duration::from_millis(10));
                // Some 20,000 a second.
                for bytes in recorded.iter().take(30) {
                    let mut forged = bytes.clone();
                    forged[60] ^= 1;
                    let mut other = bytes.clone();
                    other[4] = 9;
                    let cut = &bytes[..bytes.len() - 1];
                    for junk in [bytes.as_slice(), &forged, &other, cut, b"short", &[7; 300], &[0; 1401]] {
                        sent += u64::from(socket.send_to(junk, GROUP).is_ok());
                    }
                }
            }
            sent
        })
    }

    /// SIGTERM ends everybody in the orderly way.
    pub(crate) fn ends_well(&mut self) -> Result<(), Failed> {
        for process in self.managers.iter_mut().filter_map(Option::take) {
            let mut process = process;
            process.signal(Signal::TERM)?;
            let mut status = None;
            until("it ends", Duration::from_secs(5), || {
                status = process.0.try_wait().ok().flatten();
                status.is_some()
            })?;
            expect("without an error", status.is_some_and(|status| status.success()))?;
        }
        for node in 1..=2 {
            let log = std::fs::read_to_string(self.path(&format!("manager-{node}.log")))?;
            expect("no secret in a log", !log.contains("0123456789abcdef"))?;
        }
        Ok(())
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if std::env::var_os("ACM_LOGS").is_some() {
            for name in ["manager-1.log", "manager-2.log", "switch.log"] {
                eprintln!("--- {name}\n{}", std::fs::read_to_string(self.path(name)).unwrap_or_default());
            }
        }
    }
}

/// A connection through HAProxy.
pub(crate) struct Client {
    stream: TcpStream,
    greeting: String,
}

impl Client {
    /// Which server it reached.
    pub(crate) fn greeting(&self) -> Option<&str> {
        Some(self.greeting.as_str()).filter(|greeting| !greeting.is_empty())
    }

    /// True if it was ended from the other side.
    pub(crate) fn is_over(&self) -> bool {
        is_ended(&self.stream)
    }
}

fn is_ended(stream: &TcpStream) -> bool {
    let _ = stream.set_nonblocking(true);
    match stream.peek(&mut [0; 1]) {
        Ok(length) => length == 0,
        Err(why) => why.kind() != std::io::ErrorKind::WouldBlock,
    }
}
