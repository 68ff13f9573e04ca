//! The thin I/O around [`Sidecar`]: sockets, clock, signals, processes and their checks.
//!
//! One task runs the machine; each process, and each check, is waited for by a task of its own, which alone may signal
//! it: so no signal ever goes to a process that has taken its number.

#![allow(clippy::disallowed_methods)]

use std::ffi::OsString;
use std::net::SocketAddr;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Pid, Signal as Number, kill_process_group};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tracing::{info, warn};

use super::pass::{Seat, exit_code};
use super::{Action, Event, Exit, Sidecar, Treatment};
use crate::agent::listener::BindError;
use crate::agent::machine::{Agent, Setup};
use crate::agent::task::{Clock, open, read, send, tell};
use crate::base::span::Span;
use crate::base::text::cut;
use crate::beacon::config::Wrong;
use crate::beacon::key::{KeyId, KeyRing};
use crate::beacon::socket::{Reach, Sockets};
use crate::beacon::words::Words;

/// Signals that wait for one process. At the bound the newest is dropped: it has enough to do.
const SIGNALS_MAX: usize = 16;

/// Everything `acm run` is told.
pub struct Run {
    /// The agent's own settings.
    pub setup: Setup,
    /// The network.
    pub reach: Reach,
    /// How instances are treated.
    pub treatment: Treatment,
    /// The program and its arguments.
    pub command: Vec<OsString>,
    /// One for each instance.
    pub seats: Vec<Seat>,
    /// A line for `/bin/sh` that says whether an instance is well.
    pub health: Option<String>,
    /// How long a check may take.
    pub timeout: Duration,
    /// Reads the keys anew, and which to sign with; asked upon SIGHUP.
    pub keys: Keys,
}

/// Reads the keys, and which to sign with.
pub type Keys = Box<dyn Fn() -> Result<(Arc<KeyRing>, KeyId), Wrong>>;

/// What the tasks of an instance bring.
enum News {
    Exited(usize, Exit),
    Checked(usize, Result<(), Words>),
}

/// Runs the command until it ends for good, or until SIGTERM or SIGINT, upon which everything is taken back first. A
/// second one of these kills what runs. SIGHUP, SIGUSR1 and SIGUSR2 are passed on to every instance; SIGHUP reads the keys
/// anew as well. Returns the
/// command's exit code; 0 if it ended because it was told to, and 130 if it was killed by the second signal.
///
/// # Errors
/// [`BindError`].
pub async fn run(run: Run) -> Result<i32, BindError> {
    let (clock, sockets) = (Clock::start(), open(&run.reach)?);
    let agent = Agent::new(run.setup, clock.now())?;
    let serves = run.seats.iter().map(Seat::statements).collect();
    let signals = Signals::take_over()?;
    info!(node = %agent.node(), instances = run.seats.len(), "the agent starts");
    let sidecar = Sidecar::new(agent, &run.treatment, serves, clock.now())?;
    let processes = run.seats.iter().map(|_| None).collect();
    let host = Host {
        sidecar,
        sockets,
        clock,
        command: run.command,
        seats: run.seats,
        health: run.health,
        timeout: run.timeout,
        keys: run.keys,
        processes,
        tasks: JoinSet::new(),
    };
    Ok(host.serve(signals).await)
}

struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hang_up: Signal,
    user_1: Signal,
    user_2: Signal,
}

/// What a signal to us means.
enum Told {
    End,
    Pass(Number),
}

impl Signals {
    fn take_over() -> std::io::Result<Signals> {
        Ok(Signals {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hang_up: signal(SignalKind::hangup())?,
            user_1: signal(SignalKind::user_defined1())?,
            user_2: signal(SignalKind::user_defined2())?,
        })
    }

    async fn next(&mut self) -> Told {
        tokio::select! {
            _ = self.interrupt.recv() => Told::End,
            _ = self.terminate.recv() => Told::End,
            _ = self.hang_up.recv() => Told::Pass(Number::HUP),
            _ = self.user_1.recv() => Told::Pass(Number::USR1),
            _ = self.user_2.recv() => Told::Pass(Number::USR2),
        }
    }
}

struct Host {
    sidecar: Sidecar,
    sockets: Sockets,
    clock: Clock,
    command: Vec<OsString>,
    seats: Vec<Seat>,
    health: Option<String>,
    timeout: Duration,
    keys: Keys,
    /// The ways to the processes that run.
    processes: Vec<Option<mpsc::Sender<Number>>>,
    tasks: JoinSet<News>,
}

impl Host {
    async fn serve(mut self, mut signals: Signals) -> i32 {
        let mut ends = false;
        loop {
            self.perform();
            if let Some(code) = self.sidecar.over() {
                return code;
            }
            let due = self.clock.instant(self.sidecar.next_deadline());
            tokio::select! {
                () = self.sockets.readable() => {
                    let (sidecar, clock) = (&mut self.sidecar, self.clock);
                    read(&self.sockets, |bytes, from| sidecar.datagram(bytes, from, clock.now()));
                }
                Some(news) = self.tasks.join_next() => {
                    // A task that panicked has said so on stderr; its process is gone with it.
                    if let Ok(news) = news {
                        self.take(news);
                    }
                }
                told = signals.next() => match told {
                    Told::Pass(number) => self.pass_on(number),
                    Told::End if ends => return self.kill_all().await,
                    Told::End => {
                        info!("asked to end: everything is taken back first; once more ends at once");
                        ends = true;
                        self.sidecar.end(self.clock.now());
                    }
                },
                () = tokio::time::sleep_until(due) => self.sidecar.tick(self.clock.now()),
            }
        }
    }

    fn take(&mut self, news: News) {
        let now = self.clock.now();
        match news {
            News::Exited(n, exit) => {
                info!(instance = n, %exit, "the command ended");
                self.processes[n] = None;
                self.sidecar.exited(n, exit, now);
            }
            News::Checked(n, health) => self.sidecar.checked(n, health, now),
        }
    }

    fn perform(&mut self) {
        loop {
            let actions = self.sidecar.actions();
            if actions.is_empty() {
                return;
            }
            for action in actions {
                match action {
                    Action::Send(to, bytes) => send(&self.sockets, to, &bytes),
                    Action::Notice(notice) => tell(&notice),
                    Action::Told(n, event) => tell_event(n, &event),
                    Action::Start(n) => self.start(n),
                    Action::Terminate(n) => self.signal(n, Number::TERM),
                    Action::Kill(n) => self.signal(n, Number::KILL),
                    Action::Check(n) => self.check(n),
                }
            }
        }
    }

    fn start(&mut self, n: usize) {
        let spawned = self.seats[n].command(&self.command).and_then(|mut command| command.spawn());
        match spawned {
            Ok(child) => {
                info!(instance = n, pid = child.id(), "the command starts");
                let (signals, orders) = mpsc::channel(SIGNALS_MAX);
                self.processes[n] = Some(signals);
                self.tasks.spawn(async move { News::Exited(n, end_of(child, orders).await) });
            }
            Err(why) => {
                let command = self.command.first().map_or(String::new(), |program| cut(&program.to_string_lossy()));
                warn!(instance = n, command, %why, "the command cannot be started");
                self.sidecar.exited(n, Exit::NotStarted(exit_code(&why)), self.clock.now());
            }
        }
    }

    fn signal(&mut self, n: usize, number: Number) {
        if let Some(process) = &self.processes[n] {
            // Full: it has enough to do.
            let _ = process.try_send(number);
        }
    }

    fn pass_on(&mut self, number: Number) {
        (0..self.seats.len()).for_each(|n| self.signal(n, number));
        if number != Number::HUP {
            return;
        }
        match (self.keys)() {
            Ok((ring, sign_with)) => match self.sidecar.rotate(ring, sign_with) {
                Ok(()) => info!(key = %sign_with, "the keys are read anew"),
                Err(why) => warn!(%why, "the keys stay as they are"),
            },
            Err(why) => warn!(%why, "the keys stay as they are"),
        }
    }

    fn check(&mut self, n: usize) {
        let (ready, timeout) = (self.seats[n].shows_ready(), self.timeout);
        let command = self.health.as_ref().map(|line| {
            let mut command = Command::new("/bin/sh");
            command.args(["-c", line]).envs(self.seats[n].environment());
            command
        });
        self.tasks.spawn(async move {
            let check = async {
                match command {
                    Some(command) => ask(command).await,
                    None => connect(&ready).await,
                }
            };
            let timed_out = |_| Err(Words::clip(&format!("the health check took longer than {}", Span(timeout))));
            News::Checked(n, tokio::time::timeout(timeout, check).await.unwrap_or_else(timed_out))
        });
    }

    /// Ends what runs, and waits for it for a moment.
    async fn kill_all(&mut self) -> i32 {
        const INTERRUPTED: i32 = 130;
        warn!("asked a second time: the command is killed");
        (0..self.seats.len()).for_each(|n| self.signal(n, Number::KILL));
        let ends = async {
            while self.processes.iter().any(Option::is_some) {
                match self.tasks.join_next().await {
                    Some(Ok(News::Exited(n, _))) => self.processes[n] = None,
                    Some(_) => {}
                    None => return,
                }
            }
        };
        // One that hangs in the kernel cannot be waited for.
        let _ = tokio::time::timeout(Duration::from_secs(1), ends).await;
        self.sidecar.leave(self.clock.now());
        self.perform();
        INTERRUPTED
    }
}

fn tell_event(n: usize, event: &Event) {
    match event {
        Event::Healthy => info!(instance = n, "healthy: announced"),
        Event::Fails(why) => warn!(instance = n, %why, "fails: taken out of service"),
        Event::Withdrawn => info!(instance = n, "is being taken back"),
        Event::Rolls(roll) => info!(instance = n, roll = format!("{roll:016x}"), "an operator restarts it"),
    }
}

/// Waits for the end of a process and passes signals on to its group. What it leaves behind in the group is killed, so
/// that it does not hold the port.
async fn end_of(mut child: Child, mut orders: mpsc::Receiver<Number>) -> Exit {
    let group = child.id().and_then(|id| Pid::from_raw(id as i32));
    let to_group = |number| group.map(|group| kill_process_group(group, number));
    let status = loop {
        tokio::select! {
            status = child.wait() => break status,
            // Nothing to be told any more: it has just ended.
            Some(number) = orders.recv() => { let _ = to_group(number); }
        }
    };
    let _ = to_group(Number::KILL);
    status.map_or(Exit::Code(1), exit_of)
}

fn exit_of(status: ExitStatus) -> Exit {
    match (status.code(), status.signal()) {
        // Said by whoever was to become the command: a shell, or this program when it passes sockets on.
        (Some(code @ (126 | 127)), _) => Exit::NotStarted(code),
        (Some(code), _) => Exit::Code(code),
        (None, signal) => Exit::Signal(signal.unwrap_or_default()),
    }
}

/// Runs a health command; 0 is well.
async fn ask(mut command: Command) -> Result<(), Words> {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
    let output = command.output().await.map_err(|why| Words::clip(&format!("the health command: {why}")))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let exit = exit_of(output.status).code();
    let last = said.lines().rfind(|line| !line.trim().is_empty()).map_or(String::new(), |line| format!(": {line}"));
    Err(Words::clip(&format!("the health command ended with exit code {exit}{last}")))
}

/// Connects to every address.
async fn connect(addresses: &[SocketAddr]) -> Result<(), Words> {
    for address in addresses {
        let refused = |why| Words::clip(&format!("nothing listens on {address}: {why}"));
        TcpStream::connect(address).await.map_err(refused)?;
    }
    Ok(())
}
