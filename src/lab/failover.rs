//! `acm lab failover`: servers, managers and the switch are killed, hung and cut off, and what clients notice is measured:
//! the moment when the last request that failed was begun, after the moment of the failure.

#![allow(clippy::disallowed_methods)]

use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::control::{Profile, is_active, rows};
use super::experiment::{Experiment, MANAGERS, lost};
use super::load::Ledger;
use super::peer::Seen;
use super::process::Process;
use super::promises::Promises;
use super::record::Load;
use super::serve::now_us;
use super::{links, server};

/// Servers that serve; one more enters when a manager has died.
const SERVERS: [u8; 3] = [1, 2, 3];
/// The one more.
const NEWCOMER: u8 = 4;
/// How long anything may take to be as it was.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long clients are watched after a failure.
const AFTER: Duration = Duration::from_millis(2000);

/// How long the others are watched after a newcomer has come.
const SETTLED: Duration = Duration::from_millis(500);

/// What is wanted.
#[derive(Debug, Clone)]
pub struct Options {
    /// Without the managers' default timers.
    pub quick: bool,
    /// How often each failure with the fast timers, at random moments.
    pub times: u16,
    /// Where to write.
    pub out: Option<PathBuf>,
    /// Without live output.
    pub quiet: bool,
}

/// Tells it all on a new lab.
///
/// # Errors
/// The lab cannot be made, or something in it does not start.
pub async fn tell(options: Options) -> io::Result<Promises> {
    let servers = SERVERS.len() as u8 + 1;
    let mut experiment = Experiment::begin(servers, Profile::Fast, options.quiet, options.out.clone()).await?;
    experiment.say("a switch, two managers, three servers under `acm run`, a client, each in a node of its own");
    for n in SERVERS {
        experiment.control.start_agent(&experiment.lab, n, Profile::Fast)?;
    }
    experiment.until_active(&SERVERS, PATIENCE).await?;
    let mut clients = Clients::start(&experiment).await?;
    for trouble in [Trouble::Killed, Trouble::KilledWithAgent, Trouble::Hung, Trouble::Unplugged] {
        let mut costs = Vec::new();
        for _ in 0..options.times {
            costs.push(experiment.server_fails(&mut clients, trouble).await?);
        }
        experiment.judge_server(trouble, &costs);
    }
    for how in [Death::Killed, Death::Hung, Death::CutOff] {
        let mut costs = Vec::new();
        for _ in 0..options.times {
            costs.push(experiment.manager_dies(&mut clients, how, Profile::Fast).await?);
        }
        experiment.judge_manager(how, Duration::from_millis(1500), &costs);
    }
    experiment.finish(clients.load).await?;
    experiment.switch_forgets().await?;
    if !options.quick {
        experiment.default_timers().await?;
    }
    experiment.close("failover", "Failures of servers, managers and the switch: requests by server", |server| {
        server.split(' ').next().unwrap_or_default().to_owned()
    })
}

/// Load that gives up soon, so that it shows soon what is wrong.
struct Clients {
    load: Load,
}

impl Clients {
    async fn start(experiment: &Experiment) -> io::Result<Clients> {
        let patience = ["--connect-timeout", "250ms", "--patience", "250ms", "--workers", "8", "--pause", "5ms"];
        let mut load = experiment.load(&patience)?;
        load.next().await?;
        Ok(Clients { load })
    }

    /// What has happened by now: a report that was made after this call.
    async fn now(&mut self) -> io::Result<Ledger> {
        let now = now_us();
        loop {
            let ledger = self.load.next().await?;
            if ledger.at_us >= now {
                return Ok(ledger);
            }
        }
    }
}

/// So that failures meet every phase of beacons and checks.
async fn at_random() {
    tokio::time::sleep(Duration::from_millis(fastrand::u64(0..500))).await;
}

/// How a manager goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Death {
    Killed,
    Hung,
    CutOff,
}

impl Death {
    fn words(self) -> &'static str {
        match self {
            Death::Killed => "killed",
            Death::Hung => "hung",
            Death::CutOff => "cut off",
        }
    }
}

/// How a server goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trouble {
    /// Its process dies; its agent sees it.
    Killed,
    /// It dies and its agent with it; another server's application sees its connection reset.
    KilledWithAgent,
    /// Its socket accepts, and nothing answers; its agent's health command finds out.
    Hung,
    /// Its cables are pulled.
    Unplugged,
}

impl Trouble {
    fn server(self) -> u8 {
        match self {
            Trouble::Killed | Trouble::KilledWithAgent => 1,
            Trouble::Hung => 2,
            Trouble::Unplugged => 3,
        }
    }

    fn words(self) -> &'static str {
        match self {
            Trouble::Killed => "a killed server, its agent tells",
            Trouble::KilledWithAgent => "a killed server and agent, a peer tells",
            Trouble::Hung => "a hung server, its agent finds out",
            Trouble::Unplugged => "an unplugged server, silence and a failed probe",
        }
    }

    fn within(self) -> Duration {
        match self {
            Trouble::Killed | Trouble::KilledWithAgent => Duration::from_millis(100),
            Trouble::Hung | Trouble::Unplugged => Duration::from_secs(1),
        }
    }
}

/// What a failure cost.
#[derive(Debug)]
struct Cost {
    /// How long until it was mended: the server out of service, or the newcomer in; none: it never was.
    took: Option<Duration>,
    /// Until the last request that failed was begun.
    last: Duration,
    /// Requests that failed,
    lost: u64,
    /// and that did not.
    ok: u64,
    /// No other server left the service meanwhile.
    others_stayed: bool,
}

/// The longest and the median; none if one was never over.
fn longest(costs: &[Cost], time: impl Fn(&Cost) -> Option<Duration>) -> Option<(Duration, Duration)> {
    let mut times = costs.iter().map(time).collect::<Option<Vec<_>>>()?;
    times.sort();
    Some((*times.last()?, times[times.len() / 2]))
}

fn shown(times: Option<(Duration, Duration)>, count: usize) -> String {
    match times {
        None => "never".into(),
        Some((longest, _)) if count == 1 => format!("after {} ms", longest.as_millis()),
        Some((longest, median)) => format!("after {} ms at most, median {}", longest.as_millis(), median.as_millis()),
    }
}

impl Experiment {
    /// A server fails now, and is mended.
    async fn server_fails(&mut self, clients: &mut Clients, trouble: Trouble) -> io::Result<Cost> {
        let n = trouble.server();
        let node = format!("s{n}");
        // Held until the end: the peer lives as long.
        let _peer = match trouble {
            Trouble::KilledWithAgent => Some(self.peer_of(n).await?),
            _ => None,
        };
        at_random().await;
        let before = clients.now().await?;
        self.mark(trouble.words());
        let at_us = now_us();
        match trouble {
            Trouble::Killed => self.control.signal_server(n, Signal::KILL)?,
            Trouble::KilledWithAgent => self.control.kill_agent(n).await?,
            Trouble::Hung => self.control.signal_server(n, Signal::STOP)?,
            Trouble::Unplugged => {
                links::set_down(self.lab.node(&node)?, "eth0")?;
                links::set_down(self.lab.node(&node)?, "eth1")?;
            }
        }
        let cost = self.watch(clients, n, at_us, &before).await?;
        match trouble {
            Trouble::Killed => {}
            Trouble::KilledWithAgent => self.control.start_agent(&self.lab, n, Profile::Fast)?,
            Trouble::Hung => self.control.signal_server(n, Signal::CONT)?,
            Trouble::Unplugged => {
                links::set_up(self.lab.node(&node)?, "eth0")?;
                links::set_up(self.lab.node(&node)?, "eth1")?;
            }
        }
        self.until_active(&SERVERS, PATIENCE).await?;
        Ok(cost)
    }

    /// A service on another server that watches this one, ready.
    async fn peer_of(&self, n: u8) -> io::Result<Process> {
        let rows = rows(&self.switch).await?;
        let real = rows.iter().map(|row| row.key.real).find(|real| real.ip() == server(n).ip());
        let real = real.ok_or_else(|| io::Error::other(format!("s{n} is not bound")))?;
        let mut peer = self.control.start_peer(&self.lab, n % SERVERS.len() as u8 + 1, real, Profile::Fast)?;
        peer.next::<Seen>().await?;
        Ok(peer)
    }

    /// Watches the switch and the clients after a server's failure.
    async fn watch(&mut self, clients: &mut Clients, failed: u8, at_us: u64, before: &Ledger) -> io::Result<Cost> {
        let since_then = |us: u64| Duration::from_micros(us.saturating_sub(at_us));
        let (end, mut took, mut others_stayed) = (Instant::now() + AFTER, None, true);
        while Instant::now() < end {
            let rows = rows(&self.switch).await?;
            if !is_active(&rows, failed) {
                took.get_or_insert(since_then(now_us()));
            }
            others_stayed &= SERVERS.iter().all(|n| *n == failed || is_active(&rows, *n));
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        let after = clients.now().await?;
        let since = after.since(before);
        let cost =
            Cost { took, last: since_then(after.last_failed_us), lost: lost(&since), ok: since.ok, others_stayed };
        let took = took.map_or("never".to_owned(), |took| format!("after {} ms", took.as_millis()));
        self.say(&format!(
            "  out of service {took}; {} failed, the last begun after {} ms; {} did not",
            cost.lost,
            cost.last.as_millis(),
            cost.ok
        ));
        Ok(cost)
    }

    fn judge_server(&mut self, trouble: Trouble, costs: &[Cost]) {
        let (out, last) = (longest(costs, |cost| cost.took), longest(costs, |cost| Some(cost.last)));
        let (lost, ok) = costs.iter().fold((0, 0), |(lost, ok), cost| (lost + cost.lost, ok + cost.ok));
        let stayed = costs.iter().all(|cost| cost.others_stayed);
        let within = trouble.within();
        self.promises.add_time(
            &format!("{}: out of service within {} ms", trouble.words(), within.as_millis()),
            format!("{}; the last failed request begun {}", shown(out, costs.len()), shown(last, costs.len())),
            out.is_some_and(|(out, _)| out <= within) && last.is_some_and(|(last, _)| last <= within),
        );
        self.promises.add(
            "  and the others stay",
            format!("{lost} requests failed, {ok} did not; the others stayed: {stayed}"),
            out.is_some() && stayed && ok > 0,
        );
    }

    /// The leading manager goes, a new server comes, and then the manager comes back.
    async fn manager_dies(&mut self, clients: &mut Clients, how: Death, profile: Profile) -> io::Result<Cost> {
        let leader = self.leader().await?;
        at_random().await;
        let before = clients.now().await?;
        self.mark(&format!("manager m{leader}, the leader, is {}; s4 starts", how.words()));
        let (start, at_us) = (Instant::now(), now_us());
        match how {
            Death::Killed => self.control.kill_manager(leader).await?,
            Death::Hung => self.signal_manager(leader, Signal::STOP)?,
            // It reaches the switch still, and believes that it leads: the switch must refuse it.
            Death::CutOff => links::set_down(self.lab.node(&format!("m{leader}"))?, "eth1")?,
        }
        self.control.start_agent(&self.lab, NEWCOMER, profile)?;
        let (mut took, mut others_stayed) = (None, true);
        while start.elapsed() < PATIENCE && took.is_none_or(|took| start.elapsed() < took + SETTLED) {
            let rows = rows(&self.switch).await?;
            if is_active(&rows, NEWCOMER) {
                took.get_or_insert(start.elapsed());
            }
            others_stayed &= SERVERS.iter().all(|n| is_active(&rows, *n));
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let after = clients.now().await?;
        let since = after.since(&before);
        let last = Duration::from_micros(after.last_failed_us.saturating_sub(at_us));
        let cost = Cost { took, last, lost: lost(&since), ok: since.ok, others_stayed };
        let shown = shown(took.map(|took| (took, took)), 1);
        self.say(&format!("  s4 is in service {shown}; {} failed of {}", cost.lost, cost.lost + cost.ok));
        match how {
            Death::Killed => {}
            Death::Hung => self.signal_manager(leader, Signal::CONT)?,
            Death::CutOff => links::set_up(self.lab.node(&format!("m{leader}"))?, "eth1")?,
        }
        // As it was before: both managers, three servers, which it must not have changed its mind about.
        self.start_managers(profile).await?;
        self.control.end_agent(NEWCOMER).await?;
        self.until("s4 gone", PATIENCE, |rows| !is_active(rows, NEWCOMER)).await?;
        self.until_active(&SERVERS, PATIENCE).await?;
        Ok(cost)
    }

    fn signal_manager(&mut self, n: u8, signal: Signal) -> io::Result<()> {
        self.control.manager(n).map_or(Ok(()), |process| process.signal(signal))
    }

    fn judge_manager(&mut self, how: Death, within: Duration, costs: &[Cost]) {
        let took = longest(costs, |cost| cost.took);
        let (lost, ok) = costs.iter().fold((0, 0), |(lost, ok), cost| (lost + cost.lost, ok + cost.ok));
        let stayed = costs.iter().all(|cost| cost.others_stayed);
        self.promises.add_time(
            &format!("the leader is {}: a new Add is in force within {:.1} s", how.words(), within.as_secs_f64()),
            format!("{}, the server's start included", shown(took, costs.len())),
            took.is_some_and(|(longest, _)| longest <= within),
        );
        self.promises.add(
            "  and nothing that is forwarded changes",
            format!("{lost} of {} requests failed, other bindings stayed: {stayed}", lost + ok),
            took.is_some() && lost == 0 && ok > 0 && stayed,
        );
    }

    /// The switch restarts with an empty table.
    async fn switch_forgets(&mut self) -> io::Result<()> {
        self.mark("kill -9 the switch, and start it again: it has forgotten everything");
        self.lab.kill_switch().await?;
        self.switch = self.lab.start_switch(&[]).await?;
        let took = self.until_active(&SERVERS, PATIENCE).await?;
        self.promises.add_time(
            "a switch that forgot everything is right again within 2 s",
            format!("{} ms after it answered", took.as_millis()),
            took <= Duration::from_secs(2),
        );
        let mut clients = Clients::start(self).await?;
        tokio::time::sleep(Duration::from_millis(500)).await;
        let ledger = clients.now().await?;
        self.promises.add(
            "  and serves as before",
            format!("{} of {} requests failed", lost(&ledger), ledger.ok),
            lost(&ledger) == 0 && ledger.ok > 0,
        );
        self.finish(clients.load).await.map(drop)
    }

    /// The same death with the timers of the study.
    async fn default_timers(&mut self) -> io::Result<()> {
        self.say("everything anew with the default timers: heartbeats of 3 s, beacons of 10 s");
        for n in SERVERS {
            self.control.end_agent(n).await?;
        }
        for n in 1..=MANAGERS {
            self.control.kill_manager(n).await?;
        }
        self.start_managers(Profile::Normal).await?;
        for n in SERVERS {
            self.control.start_agent(&self.lab, n, Profile::Normal)?;
        }
        self.until_active(&SERVERS, PATIENCE).await?;
        let mut clients = Clients::start(self).await?;
        let cost = self.manager_dies(&mut clients, Death::Killed, Profile::Normal).await?;
        self.judge_manager(Death::Killed, Duration::from_secs(12), &[cost]);
        self.finish(clients.load).await.map(drop)
    }
}
