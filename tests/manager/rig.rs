//! The processes, the switch they look after, and agents on threads.

use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use acm_switch::acm::list::Filter;
use acm_switch::acm::model::ModelSwitch;
use acm_switch::acm::switch::AcmSwitch;
use acm_switch::api::listen::{Endpoint, Listener};
use acm_switch::api::task::serve;
use acm_switch::beacon::socket::{Reach, Sockets, Way};
use serde_json::Value;

use super::agents::{Running, Told};

/// How the processes reach each other.
pub(crate) enum Network {
    Peers,
    Multicast(SocketAddr),
}

impl Network {
    /// A group on loopback, if there can be one here.
    pub(crate) fn multicast() -> io::Result<Network> {
        let group: SocketAddr = format!("239.255.9.9:{}", free_port()).parse().expect("an address");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let reach = Reach { interface: Some("lo".into()), ..reach(Way::Multicast(group)) };
            let hear = Sockets::open(&reach).map_err(|why| io::Error::other(why.to_string()))?;
            hear.send_to_all(b"anybody there?");
            match tokio::time::timeout(Duration::from_secs(1), hear.readable()).await {
                Ok(()) => Ok(Network::Multicast(group)),
                Err(_) => Err(io::Error::other("nothing comes back")),
            }
        })
    }
}

fn reach(way: Way) -> Reach {
    Reach { way, listen: SocketAddr::from(([127, 0, 0, 1], 0)), buffer: 1 << 18, ..Reach::default() }
}

fn free_port() -> u16 {
    std::net::UdpSocket::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a free port").port()
}

fn secret(n: u16) -> String {
    format!("0123456789abcdef0123456789abcde{n}")
}

/// A switch that can be made to forget.
struct Served {
    model: ModelSwitch,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Served {
    fn start(path: PathBuf, seed: u64) -> Served {
        let model = ModelSwitch::new(seed);
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let switch = Arc::new(model.clone());
        let (opened, is_open) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = Listener::open(&Endpoint::Unix(path), None).unwrap();
                opened.send(()).unwrap();
                serve(switch, vec![listener], async move { drop(stopped.await) }).await;
            });
        });
        is_open.recv().unwrap();
        Served { model, stop: Some(stop), thread: Some(thread) }
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

pub(crate) struct Rig {
    dir: tempfile::TempDir,
    way: Way,
    served: Option<Served>,
    forgotten: u64,
    managers: Vec<Option<Child>>,
}

impl Rig {
    pub(crate) fn start(network: Network) -> Rig {
        let dir = tempfile::tempdir().unwrap();
        let served = Some(Served::start(dir.path().join("switch.sock"), 1));
        let ports = [free_port(), free_port()];
        let way = match &network {
            Network::Multicast(group) => Way::Multicast(*group),
            Network::Peers => Way::Peers(ports.map(|port| SocketAddr::from(([127, 0, 0, 1], port))).to_vec()),
        };
        for n in 1..=4 {
            let path = dir.path().join(format!("key-{n}"));
            std::fs::write(&path, secret(n) + "\n").unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        }
        let mut rig = Rig { dir, way, served, forgotten: 1, managers: Vec::new() };
        for (n, port) in ports.iter().enumerate() {
            let network = match &network {
                Network::Multicast(group) => format!("multicast = \"{group}\"\ninterface = \"lo\"\n"),
                Network::Peers => {
                    format!("peers = [\"127.0.0.1:{}\"]\nlisten = \"127.0.0.1:{port}\"\n", ports[1 - n])
                }
            };
            std::fs::write(rig.config(n as u64 + 1), rig.text(n + 1, &network)).unwrap();
            let child = rig.acm("manager", n as u64 + 1).spawn().unwrap();
            rig.managers.push(Some(child));
        }
        rig
    }

    fn config(&self, node: u64) -> PathBuf {
        self.dir.path().join(format!("manager-{node}.toml"))
    }

    fn text(&self, node: usize, network: &str) -> String {
        let dir = self.dir.path().display();
        format!(
            "node = {node}\nsign_with = 1\nprofile = \"fast\"\n[network]\nreceive_buffer = 262144\n{network}\
             [[key]]\nid = 1\nsecret_file = \"{dir}/key-1\"\nmanagers = [1, 2]\n\
             [[key]]\nid = 2\nsecret_file = \"{dir}/key-2\"\nvips = [\"10.0.0.100:80\"]\nreals = [\"10.1.0.0/24\"]\n\
             [[key]]\nid = 3\nsecret_file = \"{dir}/key-3\"\noperator = true\n\
             [[switch]]\nname = \"sw-1\"\nurl = \"unix:{dir}/switch.sock\"\nvips = [\"10.0.0.100\"]\n"
        )
    }

    fn acm(&self, verb: &str, node: u64) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_acm"));
        command.arg(verb).arg("--config").arg(self.config(node)).stdin(Stdio::null());
        command
    }

    /// What the managers say of themselves.
    pub(crate) fn managers(&self) -> Option<Value> {
        let alive = (1..=2u64).find(|node| self.managers[*node as usize - 1].is_some())?;
        let output = self.acm("managers", alive).args(["--json", "--wait", "500ms"]).output().unwrap();
        serde_json::from_slice(&output.stdout).ok()
    }

    pub(crate) fn kill(&mut self, node: u64) {
        let mut child = self.managers[node as usize - 1].take().expect("it lives");
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Asks it to end; true if it does so without an error.
    pub(crate) fn ends_well(&mut self, node: u64) -> bool {
        let mut child = self.managers[node as usize - 1].take().expect("it lives");
        signal(&child, rustix::process::Signal::TERM);
        child.wait().unwrap().success()
    }

    /// The bindings on the switch.
    pub(crate) fn table(&self) -> Vec<String> {
        let model = self.served.as_ref().unwrap().model.clone();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let listing = runtime.block_on(model.list(&Filter::default())).unwrap();
        listing.bindings.iter().map(|row| row.key.to_string()).collect()
    }

    /// The switch restarts and knows nothing.
    pub(crate) fn forget(&mut self) {
        self.served = None;
        self.forgotten += 1;
        self.served = Some(Served::start(self.dir.path().join("switch.sock"), self.forgotten));
    }

    /// Key 4 comes into the managers' files, and they read them.
    pub(crate) fn add_key(&self) {
        for (node, child) in self.managers.iter().enumerate() {
            let Some(child) = child else { continue };
            let path = self.config(node as u64 + 1);
            let key = format!(
                "[[key]]\nid = 4\nsecret_file = \"{}/key-4\"\nvips = [\"10.0.0.100:80\"]\nreals = [\"10.1.0.0/24\"]\n",
                self.dir.path().display()
            );
            std::fs::write(&path, std::fs::read_to_string(&path).unwrap() + &key).unwrap();
            signal(child, rustix::process::Signal::HUP);
        }
    }

    pub(crate) fn agent(&self, n: u8) -> Running {
        self.agent_with_key(n, 2)
    }

    pub(crate) fn agent_with_key(&self, n: u8, key: u16) -> Running {
        let mut reach = reach(self.way.clone());
        if matches!(reach.way, Way::Multicast(_)) {
            reach.interface = Some("lo".into());
        }
        let told = Told {
            node: 100 + u64::from(n),
            key,
            secret: secret(key),
            service: "10.0.0.100:80",
            real: SocketAddr::from(([10, 1, 0, 11 + n], 8080)),
            period: Duration::from_millis(250),
            reach,
        };
        Running::start(told, || {})
    }

    /// Anything, to every manager.
    pub(crate) fn shout(&self, bytes: &[u8]) {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let Way::Peers(peers) = &self.way else { panic!("by unicast only") };
        for peer in peers {
            let _ = socket.send_to(bytes, peer);
        }
        // A receive buffer of this size must not be what decides.
        std::thread::sleep(Duration::from_millis(2));
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        for child in self.managers.iter_mut().flatten() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn signal(child: &Child, signal: rustix::process::Signal) {
    let pid = rustix::process::Pid::from_raw(child.id() as i32).unwrap();
    rustix::process::kill_process(pid, signal).unwrap();
}
