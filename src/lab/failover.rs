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

/// What is wanted.
#[derive(Debug, Clone)]
pub struct Options {
    /// Without the managers' default timers.
    pub quick: bool,
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
    experiment.killed(&mut clients).await?;
    experiment.seen_by_a_peer(&mut clients).await?;
    experiment.hung(&mut clients).await?;
    experiment.cable(&mut clients).await?;
    for how in [Death::Killed, Death::Hung, Death::CutOff] {
        experiment.manager_dies(&mut clients, how, Profile::Fast, Duration::from_millis(1500)).await?;
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

/// A server's failure: which, when, and what clients had seen until then.
struct Failure {
    server: u8,
    at_us: u64,
    before: Ledger,
}

impl Experiment {
    /// Watches the switch and the clients after a server's failure: when it was out of service, when the last request went
    /// wrong, and whether the others were left alone.
    async fn judge(&mut self, clients: &mut Clients, what: &str, within: Duration, failure: Failure) -> io::Result<()> {
        let Failure { server, at_us, before } = failure;
        let (end, mut out_us, mut others_stayed) = (Instant::now() + AFTER, None, true);
        while Instant::now() < end {
            let rows = rows(&self.switch).await?;
            if !is_active(&rows, server) {
                out_us.get_or_insert(now_us());
            }
            others_stayed &= SERVERS.iter().all(|n| *n == server || is_active(&rows, *n));
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        let after = clients.now().await?;
        let millis = |us: u64| us.saturating_sub(at_us) / 1000;
        let (last, since) = (millis(after.last_failed_us), after.since(&before));
        let out = out_us.map_or("never out of service".to_owned(), |us| format!("after {} ms", millis(us)));
        let measured =
            format!("{out}; the last request that failed was begun after {last} ms ({} of {})", lost(&since), since.ok);
        self.say(&format!("  {measured}"));
        let is_in_time = out_us.is_some_and(|us| u128::from(millis(us).max(last)) <= within.as_millis());
        self.promises.add_time(
            &format!("{what}: out of service within {} ms", within.as_millis()),
            measured,
            is_in_time,
        );
        self.promises.add(
            "  and the others stay",
            format!("{others_stayed}, {} requests answered", since.ok),
            out_us.is_some() && others_stayed && since.ok > 0,
        );
        Ok(())
    }

    /// A server fails now.
    async fn fails(&mut self, clients: &mut Clients, server: u8, how: &str) -> io::Result<Failure> {
        let before = clients.now().await?;
        self.mark(how);
        Ok(Failure { server, at_us: now_us(), before })
    }

    /// A server's process dies; its agent sees it.
    async fn killed(&mut self, clients: &mut Clients) -> io::Result<()> {
        let failure = self.fails(clients, 1, "kill -9 the server of s1; its agent tells").await?;
        self.control.signal_server(1, Signal::KILL)?;
        self.judge(clients, "a killed server, its agent tells", Duration::from_millis(100), failure).await?;
        self.until_active(&SERVERS, PATIENCE).await.map(drop)
    }

    /// A server dies and its agent with it; another server's application sees its connection reset.
    async fn seen_by_a_peer(&mut self, clients: &mut Clients) -> io::Result<()> {
        let rows = rows(&self.switch).await?;
        let real = rows.iter().map(|row| row.key.real).find(|real| real.ip() == server(1).ip());
        let real = real.ok_or_else(|| io::Error::other("s1 is not bound"))?;
        let mut peer = self.control.start_peer(&self.lab, 2, real, Profile::Fast)?;
        peer.next::<Seen>().await?;
        let failure = self.fails(clients, 1, "kill -9 s1 and its agent; a peer tells").await?;
        self.control.kill_agent(1).await?;
        self.judge(clients, "a killed server, a peer tells", Duration::from_millis(100), failure).await?;
        self.control.start_agent(&self.lab, 1, Profile::Fast)?;
        self.until_active(&SERVERS, PATIENCE).await.map(drop)
    }

    /// A server hangs: its socket accepts, and nothing answers. Its agent's health command finds out.
    async fn hung(&mut self, clients: &mut Clients) -> io::Result<()> {
        let failure =
            self.fails(clients, 2, "kill -STOP the server of s2; its agent's health command finds out").await?;
        self.control.signal_server(2, Signal::STOP)?;
        self.judge(clients, "a hung server", Duration::from_secs(1), failure).await?;
        self.control.signal_server(2, Signal::CONT)?;
        self.until_active(&SERVERS, PATIENCE).await.map(drop)
    }

    /// A server's cables are pulled.
    async fn cable(&mut self, clients: &mut Clients) -> io::Result<()> {
        let failure = self.fails(clients, 3, "pull both cables of s3; silence and a failed probe").await?;
        for cable in ["eth0", "eth1"] {
            links::set_down(self.lab.node("s3")?, cable)?;
        }
        self.judge(clients, "a silent server", Duration::from_secs(1), failure).await?;
        for cable in ["eth0", "eth1"] {
            links::set_up(self.lab.node("s3")?, cable)?;
        }
        self.mark("plug them in again");
        self.until_active(&SERVERS, PATIENCE).await.map(drop)
    }

    /// The leading manager goes, and a new server comes.
    async fn manager_dies(
        &mut self,
        clients: &mut Clients,
        how: Death,
        profile: Profile,
        within: Duration,
    ) -> io::Result<()> {
        let leader = self.leader().await?;
        let before = clients.now().await?;
        self.mark(&format!("manager m{leader}, the leader, is {}; s4 starts", how.words()));
        let start = Instant::now();
        match how {
            Death::Killed => self.control.kill_manager(leader).await?,
            Death::Hung => {
                if let Some(process) = self.control.manager(leader) {
                    process.signal(Signal::STOP)?;
                }
            }
            // It reaches the switch still, and believes that it leads: the switch must refuse it.
            Death::CutOff => links::set_down(self.lab.node(&format!("m{leader}"))?, "eth1")?,
        }
        self.control.start_agent(&self.lab, NEWCOMER, profile)?;
        let is_well = |rows: &[_]| SERVERS.iter().all(|n| is_active(rows, *n));
        let mut others_stayed = true;
        while !is_active(&rows(&self.switch).await?, NEWCOMER) && start.elapsed() < PATIENCE {
            others_stayed &= is_well(&rows(&self.switch).await?);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let took = start.elapsed();
        tokio::time::sleep(Duration::from_millis(500)).await;
        others_stayed &= is_well(&rows(&self.switch).await?);
        let since = clients.now().await?.since(&before);
        self.say(&format!("  s4 is in service after {} ms; {} failed of {}", took.as_millis(), lost(&since), since.ok));
        self.promises.add_time(
            &format!("the leader is {}: a new Add is in force within {:.1} s", how.words(), within.as_secs_f64()),
            format!("after {} ms, the start of the server included", took.as_millis()),
            took <= within,
        );
        self.promises.add(
            "  and nothing that is forwarded changes",
            format!("{} of {} requests failed, other bindings stayed: {others_stayed}", lost(&since), since.ok),
            lost(&since) == 0 && since.ok > 0 && others_stayed,
        );
        match how {
            Death::Killed => {}
            Death::Hung => {
                if let Some(process) = self.control.manager(leader) {
                    process.signal(Signal::CONT)?;
                }
            }
            Death::CutOff => links::set_up(self.lab.node(&format!("m{leader}"))?, "eth1")?,
        }
        // As it was before: both managers, three servers, which it must not have changed its mind about.
        self.start_managers(profile).await?;
        self.control.end_agent(NEWCOMER).await?;
        self.until("s4 gone", PATIENCE, |rows| !is_active(rows, NEWCOMER)).await?;
        self.until_active(&SERVERS, PATIENCE).await.map(drop)
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
        self.manager_dies(&mut clients, Death::Killed, Profile::Normal, Duration::from_secs(12)).await?;
        self.finish(clients.load).await.map(drop)
    }
}
