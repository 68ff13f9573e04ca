//! A local switch on memory ports, with a client machine on port 0 and server machines on the others, pumped by a
//! thread: what the conformance suite needs as a testbed.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use acm_switch::acm::conformance::{Attempt, Bench, Connection, Fate as Verdict, Plan, Testbed};
use acm_switch::acm::rules::request::{Reply, Request, Served};
use acm_switch::acm::switch::{AcmSwitch, Answer, Inspect};
use acm_switch::acm::words::{Refusal, ServiceKey};
use acm_switch::base::addr::Mac;
use acm_switch::plane::PlaneConfig;
use acm_switch::port::Port;
use acm_switch::port::memory::{FarEnd, MemoryPort};
use acm_switch::switch::local::{LocalConfig, LocalSwitch};

use super::hosts::{Fate, Machine, Tuple};

/// The hops of a question and its answer, and one to spare. When everybody on the way has had this many turns, nothing
/// comes any more: that is silence, however slow the machine.
const HOPS: usize = 5;

/// How long anything else may take.
const PATIENCE: Duration = Duration::from_secs(10);

pub struct Fabric {
    pub switch: Arc<LocalSwitch>,
    net: Arc<Net>,
    pump: Option<std::thread::JoinHandle<()>>,
    control: tokio::task::JoinHandle<()>,
}

struct Net {
    switch: Arc<LocalSwitch>,
    ends: Vec<FarEnd>,
    machines: Mutex<Vec<Machine>>,
    /// Which tuple a connection is, by number.
    opened: Mutex<Vec<Tuple>>,
    stop: AtomicBool,
    rounds: AtomicU64,
}

fn v4(addr: SocketAddr) -> SocketAddrV4 {
    match addr {
        SocketAddr::V4(addr) => addr,
        SocketAddr::V6(_) => panic!("IPv4 here"),
    }
}

impl Fabric {
    /// Must be called in a tokio runtime: the control task runs there.
    pub fn new(plan: &Plan) -> Fabric {
        let own = Ipv4Addr::new(10, 0, 0, 2);
        let mac = Mac([2, 0xac, 0, 0, 0, 1]);
        let addresses = |ips: Vec<IpAddr>| {
            ips.into_iter().filter_map(|ip| match ip {
                IpAddr::V4(ip) => Some(ip),
                IpAddr::V6(_) => None,
            })
        };
        let mut machines = vec![Machine::new([2, 0, 0, 0, 0, 1], addresses(plan.clients.to_vec()))];
        for (n, real) in plan.reals.iter().enumerate() {
            let mut machine = Machine::new([2, 0, 0, 0, 1, n as u8], addresses(vec![real.ip()]));
            machine.open_tcp.insert(real.port());
            machines.push(machine);
        }
        let (mut ports, mut ends): (Vec<Box<dyn Port>>, Vec<FarEnd>) = (Vec::new(), Vec::new());
        for n in 0..machines.len() {
            let (port, end) = MemoryPort::new(&format!("m{n}"), 4096).unwrap();
            ports.push(Box::new(port));
            ends.push(end);
        }
        let config = LocalConfig {
            mac,
            addresses: vec![own.into()],
            plane: PlaneConfig { flows_max: 4096, ..PlaneConfig::new(mac, vec![own.into()], 41) },
            boot: 1,
            seed: 41,
        };
        let (switch, task) = LocalSwitch::start(config, ports).unwrap();
        let net = Arc::new(Net {
            switch: Arc::clone(&switch),
            ends,
            machines: Mutex::new(machines),
            opened: Mutex::new(Vec::new()),
            stop: AtomicBool::new(false),
            rounds: AtomicU64::new(0),
        });
        let pumped = Arc::clone(&net);
        let pump = std::thread::spawn(move || pumped.pump());
        Fabric { switch, net, pump: Some(pump), control: tokio::spawn(task.run()) }
    }
}

impl Drop for Fabric {
    fn drop(&mut self) {
        self.switch.stop();
        self.control.abort();
        self.net.stop.store(true, Ordering::SeqCst);
        if let Some(pump) = self.pump.take() {
            pump.join().unwrap();
        }
    }
}

impl Net {
    fn pump(&self) {
        while !self.stop.load(Ordering::SeqCst) {
            let mut idle = true;
            for (n, end) in self.ends.iter().enumerate() {
                for frame in end.take() {
                    idle = false;
                    let mut machines = self.machines.lock().unwrap();
                    let mut answers = machines[n].hear(&frame.bytes);
                    if n > 0 {
                        answers.extend(machines[n].answer_requests());
                    }
                    drop(machines);
                    answers.iter().for_each(|answer| assert!(end.push(answer)));
                }
            }
            self.rounds.fetch_add(1, Ordering::SeqCst);
            if idle {
                std::thread::sleep(Duration::from_micros(200));
            }
        }
    }

    /// Something the client machine sends.
    fn client(&self, act: impl FnOnce(&mut Machine) -> Vec<u8>) {
        let frame = act(&mut self.machines.lock().unwrap()[0]);
        assert!(self.ends[0].push(&frame));
    }

    fn tuple(&self, connection: Connection) -> Tuple {
        self.opened.lock().unwrap()[connection.0 as usize]
    }

    /// The server machine a connection is with, and its tuple there.
    fn server_of(&self, tuple: &Tuple) -> Option<(usize, Tuple)> {
        let machines = self.machines.lock().unwrap();
        machines.iter().enumerate().skip(1).find_map(|(n, machine)| {
            let mut tuples = machine.connections.keys();
            tuples.find(|server| server.1 == tuple.0).map(|server| (n, *server))
        })
    }

    async fn until<T>(&self, patience: Duration, mut look: impl FnMut(&[Machine]) -> Option<T>) -> Option<T> {
        let end = Instant::now() + patience;
        loop {
            if let Some(found) = look(&self.machines.lock().unwrap()) {
                return Some(found);
            }
            if Instant::now() > end {
                return None;
            }
            tokio::time::sleep(Duration::from_micros(500)).await;
        }
    }

    /// What is found when all that was sent has come to rest, or before.
    async fn at_rest<T>(&self, mut look: impl FnMut(&[Machine]) -> Option<T>) -> Option<T> {
        for _ in 0..HOPS {
            if let Some(found) = look(&self.machines.lock().unwrap()) {
                return Some(found);
            }
            // Its worker answers before it takes in frames: the second answer comes after those of before the first.
            for _ in 0..2 {
                self.switch.statistics().await.unwrap();
            }
            let rounds = self.rounds.load(Ordering::SeqCst);
            self.until(PATIENCE, |_| Some(()).filter(|()| self.rounds.load(Ordering::SeqCst) > rounds + 1)).await;
        }
        look(&self.machines.lock().unwrap())
    }

    /// One SYN, and what the client hears of it.
    async fn connect(&self, tuple: Tuple) -> Result<(), Refusal> {
        let vip = *tuple.1.ip();
        if !self.machines.lock().unwrap()[0].neighbours.contains_key(&vip) {
            self.client(|machine| machine.ask(*tuple.0.ip(), vip));
            let known = self.at_rest(|machines| machines[0].neighbours.get(&vip).copied()).await;
            if known.is_none() {
                return Err(Refusal::Silent);
            }
        }
        let is_retry =
            self.machines.lock().unwrap()[0].connections.get(&tuple).is_some_and(|known| known.fate == Fate::Opening);
        self.client(|machine| if is_retry { machine.retry(&tuple) } else { machine.open(tuple) });
        let fate = self
            .at_rest(|machines| Some(machines[0].connections[&tuple].fate).filter(|fate| *fate != Fate::Opening))
            .await;
        match fate {
            Some(Fate::Open) => Ok(()),
            Some(_) => Err(Refusal::Reset),
            None => Err(Refusal::Silent),
        }
    }

    async fn open(&self, client: SocketAddr, service: ServiceKey) -> Attempt {
        let tuple: Tuple = (v4(client), v4(service.addr));
        if let Err(how) = self.connect(tuple).await {
            return Attempt::Refused(how);
        }
        let mut opened = self.opened.lock().unwrap();
        opened.push(tuple);
        let connection = Connection(opened.len() as u64 - 1);
        drop(opened);
        let (_, server) = self.server_of(&tuple).expect("an open connection is with a server");
        Attempt::To(connection, SocketAddr::V4(server.0))
    }

    /// A request, or what ends like one, on the connection of this tuple, which is opened if there is none.
    async fn ask(&self, tuple: Tuple, request: &[u8]) -> Reply {
        let is_open =
            self.machines.lock().unwrap()[0].connections.get(&tuple).is_some_and(|known| known.fate == Fate::Open);
        if !is_open && let Err(how) = self.connect(tuple).await {
            return Served::Unconnected(how).into();
        }
        let had = self.machines.lock().unwrap()[0].connections[&tuple].received.len();
        self.client(|machine| machine.send(&tuple, request));
        let served = self.until(PATIENCE, |machines| {
            let connection = &machines[0].connections[&tuple];
            served(&connection.received[had..]).or((connection.fate == Fate::Reset).then_some(Served::Reset.into()))
        });
        served.await.unwrap_or_else(|| panic!("no answer to {}", request.escape_ascii()))
    }

    async fn fate(&self, connection: Connection) -> Verdict {
        let tuple = self.tuple(connection);
        let Some((n, server)) = self.server_of(&tuple) else { return Verdict::Broken };
        let fates =
            |machines: &[Machine]| (machines[0].connections[&tuple].fate, machines[n].connections[&server].fate);
        // A reset may still be on its way.
        let both = self.at_rest(|machines| Some(()).filter(|()| fates(machines) == (Fate::Reset, Fate::Reset))).await;
        if both.is_some() {
            return Verdict::Reset;
        }
        if fates(&self.machines.lock().unwrap()) != (Fate::Open, Fate::Open) {
            return Verdict::Broken;
        }
        let before = |machines: &[Machine]| {
            (machines[0].connections[&tuple].received.len(), machines[n].connections[&server].received.len())
        };
        let (client_had, server_had) = before(&self.machines.lock().unwrap());
        self.client(|machine| machine.send(&tuple, b"there"));
        let frame = self.machines.lock().unwrap()[n].send(&server, b"back");
        assert!(self.ends[n].push(&frame));
        let exchanged = self
            .until(PATIENCE, |machines| Some(()).filter(|()| before(machines) == (client_had + 4, server_had + 5)))
            .await;
        exchanged.map_or(Verdict::Broken, |()| Verdict::Alive)
    }

    async fn close(&self, connection: Connection) {
        let tuple = self.tuple(connection);
        let Some((n, server)) = self.server_of(&tuple) else { return };
        self.client(|machine| machine.close(&tuple));
        self.until(PATIENCE, |machines| Some(()).filter(|()| machines[n].connections[&server].fate == Fate::Closed))
            .await;
        // Both FINs have passed the switch when the client has seen the server's.
        let rounds = self.rounds.load(Ordering::SeqCst);
        self.until(PATIENCE, |_| Some(()).filter(|()| self.rounds.load(Ordering::SeqCst) > rounds + 5)).await;
    }
}

/// A request as its bytes.
fn head(request: &Request) -> Vec<u8> {
    let mut head = format!("{} {} HTTP/1.1\r\nHost: {}\r\n", request.method, request.target, request.host);
    request.headers.iter().for_each(|(name, value)| head.push_str(&format!("{name}: {value}\r\n")));
    (head + "\r\n").into_bytes()
}

/// Who gave this answer, once it is there whole: a server, whose body is its address, or the switch.
fn served(answer: &[u8]) -> Option<Reply> {
    let answer = std::str::from_utf8(answer).expect("text");
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let fields = |name: &'static str| {
        let of = |line: &'_ str| {
            line.split_once(':').map(|(key, value)| (key.to_ascii_lowercase(), value.trim().to_owned()))
        };
        head.lines().filter_map(of).filter(move |(key, _)| key == name).map(|(_, value)| value)
    };
    let field = |name| fields(name).next();
    let length = field("content-length").map_or(0, |length| length.parse().expect("a number"));
    let status: u16 = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    let served = || match body.trim().parse() {
        Ok(real) if status == 200 => Served::By(real),
        _ => Served::Answered(status, field("location")),
    };
    (body.len() >= length).then(|| Reply { served: served(), cookies: fields("set-cookie").collect() })
}

impl Bench for Fabric {
    fn switch(&self) -> &dyn AcmSwitch {
        &*self.switch
    }

    fn testbed(&self) -> Option<&dyn Testbed> {
        Some(self)
    }
}

impl Testbed for Fabric {
    fn open(&self, client: SocketAddr, service: ServiceKey) -> Answer<'_, Attempt> {
        Box::pin(self.net.open(client, service))
    }

    fn close(&self, connection: Connection) -> Answer<'_, ()> {
        Box::pin(self.net.close(connection))
    }

    fn fate(&self, connection: Connection) -> Answer<'_, Verdict> {
        Box::pin(self.net.fate(connection))
    }

    fn set_healthy(&self, real: SocketAddr, healthy: bool) -> Answer<'_, ()> {
        Box::pin(async move {
            let real = v4(real);
            for machine in self.net.machines.lock().unwrap().iter_mut().skip(1) {
                if machine.addresses.contains(real.ip()) {
                    match healthy {
                        true => machine.open_tcp.insert(real.port()),
                        false => machine.open_tcp.remove(&real.port()),
                    };
                }
            }
        })
    }

    fn pass(&self, time: Duration) -> Answer<'_, ()> {
        Box::pin(tokio::time::sleep(time))
    }

    fn ask<'a>(&'a self, client: SocketAddr, service: ServiceKey, request: &'a Request) -> Answer<'a, Option<Reply>> {
        Box::pin(async move { Some(self.net.ask((v4(client), v4(service.addr)), &head(request)).await) })
    }

    fn babble(&self, client: SocketAddr, service: ServiceKey) -> Answer<'_, Option<Served>> {
        // Servers answer what ends with an empty line.
        Box::pin(async move { Some(self.net.ask((v4(client), v4(service.addr)), b"\x05\x01\r\n\r\n").await.served) })
    }
}
