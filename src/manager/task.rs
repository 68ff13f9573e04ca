//! The thin I/O around [`Manager`]: sockets, clock, timers, connections to switches, probes.
//!
//! One task runs the machine. Each switch has a thread of its own that does one job at a time, so one that is slow, or
//! whose table takes long to read (a quarter of a million rows do), delays nobody; a task on that thread passes on its
//! events. Probes are short tasks, `PROBES_AT_ONCE` at a time. All speak to the machine through one bounded channel.

#![allow(clippy::disallowed_methods)]

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::{TcpStream, UdpSocket};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::{AbortHandle, JoinSet};
use tracing::{debug, info, warn};

use super::desk::{Done, Job};
use super::machine::{Action, Manager, Notice, Setup, To};
use super::probe::{Finding, Target};
use crate::acm::connect::{Connect, SwitchProfile};
use crate::acm::error::AcmError;
use crate::acm::event::EventKind;
use crate::acm::switch::{AcmSwitch, EventStream};
use crate::base::addr::Protocol;
use crate::base::id::Name;
use crate::base::span::Span;
use crate::base::time::Time;
use crate::beacon::counters::Cause;
use crate::beacon::datagram::DATAGRAM_MAX;
use crate::beacon::key::{KeyId, KeyRing};
use crate::beacon::message::NodeId;
use crate::beacon::socket::{CannotOpen, Reach, Sockets};

/// Looks at servers at once; more wait.
const PROBES_AT_ONCE: usize = 64;
/// Results and events that wait for the machine. At the bound their senders wait, each for itself.
const INBOX_MAX: usize = 1024;
/// Datagrams read before timers and results have their turn.
const READ_AT_ONCE: usize = 256;
/// How long connecting or claiming may take, login and all.
const CONNECT_PATIENCE: Duration = Duration::from_secs(10);
/// How long a List or a list of primitives may take. Drivers have shorter patience of their own; this is for one that
/// hangs.
const JOB_PATIENCE: Duration = Duration::from_secs(30);
/// How often refused datagrams are told of, if there were any.
const TELL_REFUSED: Duration = Duration::from_secs(10);

/// Everything a manager needs to run.
pub struct Run {
    /// The machine's own settings; `switches` in the order of `profiles`.
    pub setup: Setup,
    /// How to reach the switches.
    pub profiles: Vec<SwitchProfile>,
    /// Who connects to them.
    pub connect: Arc<dyn Connect>,
    /// The network.
    pub reach: Reach,
    /// New keys, and the one to sign with, whenever they change.
    pub keys: mpsc::Receiver<(Arc<KeyRing>, KeyId)>,
}

/// What comes to the machine from its tasks.
enum Inbox {
    Done(usize, Done),
    Event(usize, EventKind),
    Found(Target, Finding),
}

/// The process's monotonic clock.
#[derive(Debug, Clone, Copy)]
struct Clock(Instant);

impl Clock {
    fn now(self) -> Time {
        Time::from_micros(self.0.elapsed().as_micros() as u64)
    }

    fn instant(self, at: Time) -> tokio::time::Instant {
        let latest = Duration::from_secs(3600);
        let wait = at.since(self.now()).min(latest);
        tokio::time::Instant::now() + wait
    }
}

/// Runs a manager until `shutdown` resolves; then it resigns, so that another takes over at once.
///
/// # Errors
/// The sockets cannot be opened, or the key to sign with is missing.
pub async fn run(run: Run, shutdown: impl Future<Output = ()>) -> Result<(), Failure> {
    let sockets = Sockets::open(&run.reach)?;
    if let Some(small) = sockets.small_buffer() {
        warn!(
            asked = small.asked,
            got = small.got,
            "the receive buffer is smaller than asked for: bursts of beacons may be lost; raise net.core.rmem_max or \
             give the process CAP_NET_ADMIN"
        );
    }
    let clock = Clock(Instant::now());
    let (to_machine, inbox) = mpsc::channel(INBOX_MAX);
    let switches = run.profiles.into_iter().enumerate().map(|(n, profile)| {
        let manager = manager_name(run.setup.node);
        let connect = Arc::clone(&run.connect);
        Counter { n, profile, connect, manager, clock, to_machine: to_machine.clone() }.start()
    });
    let switches = switches.collect::<Result<_, _>>()?;
    let node = run.setup.node;
    let probe_patience = run.setup.timing.probe;
    let machine = Manager::new(run.setup, clock.now())?;
    info!(%node, address = %sockets.local_addr()?, "the manager listens");
    let host = Host {
        machine,
        sockets,
        clock,
        switches,
        probes: Arc::new(Semaphore::new(PROBES_AT_ONCE)),
        probe_patience,
        to_machine,
        tasks: JoinSet::new(),
        told_refused: (Vec::new(), clock.now()),
    };
    host.serve(inbox, run.keys, shutdown).await;
    Ok(())
}

/// Why a manager cannot run.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The network.
    #[error("{0}")]
    Sockets(#[from] CannotOpen),
    /// The keys.
    #[error("{0}")]
    Keys(#[from] crate::beacon::key::KeyError),
    /// This machine.
    #[error("{0}")]
    System(#[from] io::Error),
}

/// The name under which tenures are claimed.
fn manager_name(node: NodeId) -> Name {
    format!("manager-{node}").parse().expect("letters, a dash and digits are a name")
}

struct Host {
    machine: Manager,
    sockets: Sockets,
    clock: Clock,
    switches: Vec<Orders>,
    probes: Arc<Semaphore>,
    probe_patience: Duration,
    to_machine: mpsc::Sender<Inbox>,
    tasks: JoinSet<()>,
    told_refused: (Vec<(Cause, u64)>, Time),
}

impl Host {
    async fn serve(
        mut self,
        mut inbox: mpsc::Receiver<Inbox>,
        mut keys: mpsc::Receiver<(Arc<KeyRing>, KeyId)>,
        shutdown: impl Future<Output = ()>,
    ) {
        tokio::pin!(shutdown);
        loop {
            let due = self.clock.instant(self.machine.next_deadline(self.clock.now()));
            tokio::select! {
                () = &mut shutdown => break,
                () = self.sockets.readable() => self.read(),
                Some(news) = inbox.recv() => self.take(news),
                Some((ring, sign_with)) = keys.recv() => self.rotate(ring, sign_with),
                () = tokio::time::sleep_until(due) => self.machine.tick(self.clock.now()),
                Some(_) = self.tasks.join_next() => continue,
            }
            self.perform();
            self.tell_refused();
        }
        self.machine.resign(self.clock.now());
        self.perform();
    }

    fn read(&mut self) {
        let mut buffer = [0; DATAGRAM_MAX + 1];
        for turn in 0..READ_AT_ONCE {
            let Some((bytes, from)) = self.sockets.receive(turn, &mut buffer) else { return };
            self.machine.datagram(bytes, from, self.clock.now());
        }
    }

    fn take(&mut self, news: Inbox) {
        let now = self.clock.now();
        match news {
            Inbox::Done(switch, done) => self.machine.job_done(switch, done, now),
            Inbox::Event(switch, event) => self.machine.event(switch, &event, now),
            Inbox::Found(target, finding) => self.machine.probed(target, finding, now),
        }
    }

    fn rotate(&mut self, ring: Arc<KeyRing>, sign_with: KeyId) {
        match self.machine.rotate(ring, sign_with) {
            Ok(()) => info!(key = %sign_with, "new keys are in force"),
            Err(why) => warn!(%why, "the new keys are not used"),
        }
    }

    fn perform(&mut self) {
        for action in self.machine.actions() {
            match action {
                Action::Send(To::All, bytes) => drop(self.sockets.send_to_all(&bytes)),
                Action::Send(To::One(to), bytes) => drop(self.sockets.send_to(&bytes, to)),
                Action::Job(switch, job) => self.switches[switch].give(Order::Do(*job)),
                Action::Disconnect => {
                    for switch in &self.switches {
                        switch.give(Order::LetGo);
                    }
                }
                Action::Probe(target) => self.probe(target),
                Action::Notice(notice) => tell(&self.machine, &notice),
            }
        }
    }

    fn probe(&mut self, target: Target) {
        let (places, to_machine, patience) = (Arc::clone(&self.probes), self.to_machine.clone(), self.probe_patience);
        self.tasks.spawn(async move {
            let Ok(_place) = places.acquire().await else { return };
            let finding = look_at(target, patience).await;
            // Nobody listens when the manager ends.
            let _ = to_machine.send(Inbox::Found(target, finding)).await;
        });
    }

    /// Datagrams refused since the last time, by cause.
    fn tell_refused(&mut self) {
        let now = self.clock.now();
        if now.since(self.told_refused.1) < TELL_REFUSED {
            return;
        }
        let is_trouble = |cause: &Cause| !matches!(cause, Cause::Own | Cause::UnknownKind);
        let counts: Vec<_> = self.machine.counters().iter().filter(|(cause, _)| is_trouble(cause)).collect();
        let before = |cause: Cause| self.told_refused.0.iter().find(|(c, _)| *c == cause).map_or(0, |(_, n)| *n);
        let more: Vec<_> = counts
            .iter()
            .filter(|(cause, count)| *count > before(*cause))
            .map(|(cause, count)| format!("{}={}", cause.as_str(), count - before(*cause)))
            .collect();
        if !more.is_empty() {
            warn!(causes = more.join(" "), "datagrams were refused");
        }
        self.told_refused = (counts, now);
    }
}

/// Log lines. Texts of others are escaped where they came in.
fn tell(machine: &Manager, notice: &Notice) {
    let name = |switch: &usize| machine.switch_name(*switch);
    match notice {
        Notice::Leads(term) => info!(term, "this manager leads"),
        Notice::StepsDown(why) => warn!(%why, "this manager leads no more"),
        Notice::Twin(node) => warn!(%node, "another manager has our number; give each its own"),
        Notice::Granted(switch, tenure) => info!(switch = %name(switch), epoch = tenure.epoch, "tenure granted"),
        Notice::Unfenced(switch) => {
            info!(switch = %name(switch), "keeps no epoch: it is listed before every write");
        }
        Notice::Fenced(switch, why) => warn!(switch = %name(switch), %why, "another manager claimed the switch"),
        Notice::Lost(switch, why) => warn!(switch = %name(switch), %why, "out of reach; trying again"),
        Notice::Reached(switch) => info!(switch = %name(switch), "reached"),
        Notice::Repaired(switch, primitive) => {
            info!(switch = %name(switch), service = %primitive.service(), did = primitive.name(), "repaired");
        }
        Notice::Refused(switch, primitive, why) => {
            warn!(switch = %name(switch), service = %primitive.service(), what = primitive.name(), %why, "refused");
        }
        Notice::Probed(target, finding) => info!(real = %target.real, %finding, "a server was looked at"),
        Notice::NotGranted(sender, why) => debug!(node = %sender.node, key = %sender.key, why, "not granted"),
    }
}

/// Looks at a server.
async fn look_at(target: Target, patience: Duration) -> Finding {
    let looking = async {
        match target.protocol {
            Protocol::Tcp => TcpStream::connect(target.real).await.map(drop),
            Protocol::Udp => refusal_of(target.real).await,
        }
    };
    match tokio::time::timeout(patience, looking).await {
        Ok(Ok(())) => Finding::Alive,
        Ok(Err(why)) if why.kind() == io::ErrorKind::ConnectionRefused => Finding::Refused,
        // A datagram that nobody refuses may have been taken; a connection must be.
        Err(_) if target.protocol == Protocol::Udp => Finding::Alive,
        Ok(Err(_)) | Err(_) => Finding::Silent,
    }
}

/// Waits for the refusal of an empty datagram.
async fn refusal_of(real: SocketAddr) -> io::Result<()> {
    let any: SocketAddr = if real.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { ([0u16; 8], 0).into() };
    let socket = UdpSocket::bind(any).await?;
    socket.connect(real).await?;
    socket.send(&[]).await?;
    socket.recv(&mut [0; 1]).await.map(drop)
}

/// What the machine orders at a switch.
enum Order {
    Do(Job),
    LetGo,
}

/// The way to the thread of a switch, which ends with this, whatever it waits for.
struct Orders {
    /// A desk hands out one job at a time, so this queue holds one job and perhaps one order to let go.
    queue: mpsc::UnboundedSender<Order>,
    _alive: oneshot::Sender<()>,
}

impl Orders {
    fn give(&self, order: Order) {
        // The thread lives as long as this.
        drop(self.queue.send(order));
    }
}

/// The thread of one switch.
struct Counter {
    n: usize,
    profile: SwitchProfile,
    connect: Arc<dyn Connect>,
    manager: Name,
    clock: Clock,
    to_machine: mpsc::Sender<Inbox>,
}

/// A connection, and who passes its events on.
struct Line {
    switch: Box<dyn AcmSwitch>,
    events: Option<AbortHandle>,
}

impl Drop for Line {
    fn drop(&mut self) {
        if let Some(events) = &self.events {
            events.abort();
        }
    }
}

impl Counter {
    fn start(self) -> io::Result<Orders> {
        let (queue, orders) = mpsc::unbounded_channel();
        let (alive, ended) = oneshot::channel::<()>();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let work = move || {
            runtime.block_on(async {
                tokio::select! {
                    () = self.serve(orders) => {}
                    _ = ended => {}
                }
            });
        };
        std::thread::Builder::new().name("switch".into()).spawn(work)?;
        Ok(Orders { queue, _alive: alive })
    }

    async fn serve(self, mut orders: mpsc::UnboundedReceiver<Order>) {
        let mut line: Option<Line> = None;
        while let Some(order) = orders.recv().await {
            let job = match order {
                Order::Do(job) => job,
                Order::LetGo => {
                    line = None;
                    continue;
                }
            };
            let done = self.perform(&mut line, job).await;
            if self.to_machine.send(Inbox::Done(self.n, done)).await.is_err() {
                return;
            }
        }
    }

    async fn perform(&self, line: &mut Option<Line>, job: Job) -> Done {
        match (job, line.as_ref()) {
            (Job::Connect, _) => {
                *line = None;
                let opened = within(CONNECT_PATIENCE, self.open()).await;
                Done::Connect(opened.map(|opened| *line = Some(opened)))
            }
            (Job::Claim, Some(line)) => Done::Claim(within(CONNECT_PATIENCE, line.switch.claim(&self.manager)).await),
            (Job::List(filter), Some(line)) => Done::List(within(JOB_PATIENCE, line.switch.list(&filter)).await),
            (Job::Apply { start_by, .. }, Some(_)) if self.clock.now() > start_by => {
                let waited_for = "this process, which was stopped; another may lead by now".to_owned();
                Done::Apply(Err(AcmError::Timeout { waited_for }))
            }
            (Job::Apply { caller, list, .. }, Some(line)) => {
                Done::Apply(within(JOB_PATIENCE, line.switch.apply(&caller, list)).await)
            }
            (Job::Claim, None) => Done::Claim(Err(let_go())),
            (Job::List(_), None) => Done::List(Err(let_go())),
            (Job::Apply { .. }, None) => Done::Apply(Err(let_go())),
        }
    }

    async fn open(&self) -> Result<Line, AcmError> {
        let switch = self.connect.connect(&self.profile).await?;
        let events = match switch.events(None).await {
            Ok(stream) => Some(self.pass_on(stream)),
            Err(AcmError::Unsupported { .. }) => None,
            Err(why) => return Err(why),
        };
        Ok(Line { switch, events })
    }

    fn pass_on(&self, mut stream: EventStream) -> AbortHandle {
        let (n, to_machine) = (self.n, self.to_machine.clone());
        let passing = tokio::spawn(async move {
            while let Some(event) = std::future::poll_fn(|cx| stream.as_mut().poll_next(cx)).await {
                if to_machine.send(Inbox::Event(n, event.kind)).await.is_err() {
                    return;
                }
            }
        });
        passing.abort_handle()
    }
}

fn let_go() -> AcmError {
    AcmError::Unreachable { why: "the connection was let go".into() }
}

async fn within<T>(patience: Duration, job: impl Future<Output = Result<T, AcmError>>) -> Result<T, AcmError> {
    match tokio::time::timeout(patience, job).await {
        Ok(result) => result,
        Err(_) => Err(AcmError::Timeout { waited_for: format!("the switch; nothing within {}", Span(patience)) }),
    }
}
