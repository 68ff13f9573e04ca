//! `acm lab roll`: three servers are restarted into a new version under load, one at a time, again and again. Requests move
//! to the new version step by step, and none is lost.

#![allow(clippy::disallowed_methods)]

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde::Deserialize;

use super::VIP;
use super::control::{BOOT, Profile, is_active, rows};
use super::experiment::{Experiment, lost};
use super::hold::Held;
use super::load::Ledger;
use super::promises::Promises;
use super::record::Load;

/// Servers.
const SERVERS: u8 = 3;
/// Longest time for a roll.
const PATIENCE: Duration = Duration::from_secs(120);
/// Connections of these clients end long before.
const DRAIN: Duration = Duration::from_secs(20);
/// Idle connections do not, and are waited for this long.
const IDLE_DRAIN: Duration = Duration::from_secs(2);
/// When a process is killed in the middle of a roll: the first server is under way or back.
const MIDDLE: Duration = Duration::from_millis(2200);
/// Load before, between and after the rolls.
const BETWEEN: Duration = Duration::from_secs(1);

/// What is wanted.
#[derive(Debug, Clone)]
pub struct Options {
    /// How many rolls.
    pub rolls: u16,
    /// Kill the leading manager in the middle of each.
    pub kill_manager: bool,
    /// Kill the operator in the middle of each, and go on with another one.
    pub kill_operator: bool,
    /// Connections held open that never end by themselves; with them the drain is short.
    pub idle: u32,
    /// Where to write.
    pub out: Option<PathBuf>,
    /// Without live output.
    pub quiet: bool,
}

/// The report of `acm roll`, as far as it matters here.
#[derive(Debug, Deserialize)]
struct Report {
    outcome: String,
    why: Option<String>,
    servers: Vec<Server>,
}

#[derive(Debug, Deserialize)]
struct Server {
    phases_ms: BTreeMap<String, u64>,
}

/// Tells it all on a new lab.
///
/// # Errors
/// The lab cannot be made, or something in it does not start.
pub async fn tell(options: Options) -> io::Result<Promises> {
    let mut experiment = Experiment::begin(SERVERS, Profile::Fast, options.quiet, options.out.clone()).await?;
    experiment.say("a switch, two managers, three servers under `acm run`, a client, each in a node of its own");
    for n in 1..=SERVERS {
        experiment.control.start_agent(&experiment.lab, n, Profile::Fast)?;
    }
    experiment.until_active(&[1, 2, 3], Duration::from_secs(15)).await?;
    experiment.say("they have announced themselves; now load: keep-alive of 50 requests, and one request a connection");
    let mut loads = vec![
        experiment.load(&["--workers", "8", "--requests-per-connection", "50", "--pause", "10ms"])?,
        experiment.load(&["--workers", "8", "--pause", "10ms"])?,
    ];
    watch(&experiment, &mut loads, BETWEEN).await?;
    let mut holder = match options.idle {
        0 => None,
        idle => {
            let (target, count) = (VIP.to_string(), idle.to_string());
            let mut holder = experiment.lab.start_client(&["hold", "--target", &target, "--connections", &count])?;
            let held: Held = holder.next().await?;
            experiment.say(&format!("{idle} idle connections are held open, with {:?}", held.by_server));
            Some(holder)
        }
    };
    let mut found = Found { fewest: SERVERS, ..Found::default() };
    for n in 1..=options.rolls {
        roll(&mut experiment, &mut loads, n, &options, &mut found).await?;
        let after = watch(&experiment, &mut loads, BETWEEN).await?;
        let new = format!("v{}", n + 1);
        found.moved += u16::from(after.by_server.keys().all(|server| version(server) == new));
    }
    if let Some(holder) = &mut holder {
        found.held = Some(holder.ask("report").await?);
    }
    finish(experiment, loads, &options, &found).await
}

/// What was found in all rolls.
#[derive(Debug, Default)]
struct Found {
    /// Rolls that ended well.
    done: u16,
    /// Rolls in which both versions answered for a while.
    gradual: u16,
    /// Rolls after which the new version alone answered.
    moved: u16,
    /// The fewest servers that took connections at a time.
    fewest: u8,
    /// The longest time a server was away beyond its drain and its boot.
    slowest: Duration,
    trouble: Option<String>,
    /// What became of idle connections.
    held: Option<Held>,
}

fn version(server: &str) -> String {
    server.rsplit(' ').next().unwrap_or_default().to_owned()
}

async fn roll(
    experiment: &mut Experiment,
    loads: &mut [Load],
    n: u16,
    options: &Options,
    found: &mut Found,
) -> io::Result<()> {
    let new = format!("v{}", n + 1);
    experiment.control.set_version(&new)?;
    experiment.mark(&format!("acm roll web, into {new}"));
    let drain = format!("{}ms", if options.idle > 0 { IDLE_DRAIN } else { DRAIN }.as_millis());
    let how = ["--drain", &drain, "--wait-healthy", "10s"];
    let mut operator = experiment.control.start_roll(&experiment.lab, &how)?;
    let before: Vec<Ledger> = loads.iter().map(Load::latest).collect();
    let (mut was_both, mut kill_at) = (false, Some(Instant::now() + MIDDLE));
    let start = Instant::now();
    let report: Report = loop {
        tokio::select! {
            report = operator.next_within(PATIENCE) => break report?,
            () = tokio::time::sleep(Duration::from_millis(25)) => {
                let rows = rows(&experiment.switch).await?;
                let active = (1..=SERVERS).filter(|n| is_active(&rows, *n)).count() as u8;
                found.fewest = found.fewest.min(active);
                was_both |= loads.iter().zip(&before).any(|(load, before)| {
                    let since = load.latest().since(before);
                    let is_new = |server: &String| version(server) == new;
                    since.by_server.keys().any(is_new) && !since.by_server.keys().all(is_new)
                });
            }
        }
        if kill_at.is_none_or(|at| Instant::now() < at) {
            continue;
        }
        kill_at = None;
        if options.kill_manager {
            let leader = experiment.leader().await?;
            experiment.mark(&format!("kill -9 manager m{leader}, the leader"));
            experiment.control.kill_manager(leader).await?;
        }
        if options.kill_operator {
            experiment.mark("kill -9 acm roll; acm roll web --resume");
            operator.kill().await?;
            operator = experiment.control.start_roll(&experiment.lab, &[&how[..], &["--resume"]].concat())?;
        }
    };
    found.done += u16::from(report.outcome == "done");
    found.gradual += u16::from(was_both);
    if let Some(why) = report.why {
        experiment.say(&format!("  {why}"));
        found.trouble.get_or_insert(why);
    }
    for server in &report.servers {
        let away = server.phases_ms.iter().filter(|(phase, _)| *phase != "draining").map(|(_, spent)| spent).sum();
        found.slowest = found.slowest.max(Duration::from_millis(away).saturating_sub(BOOT));
    }
    experiment.say(&format!("  roll {n}: {} in {:.1} s", report.outcome, start.elapsed().as_secs_f64()));
    experiment.start_managers(Profile::Fast).await.map(drop)
}

/// Lets load run for a while; what happened in its last part.
async fn watch(experiment: &Experiment, loads: &mut [Load], time: Duration) -> io::Result<Ledger> {
    let mut before = Vec::new();
    for load in loads.iter_mut() {
        before.push(load.next().await?);
    }
    tokio::time::sleep(time).await;
    let mut all = Ledger::default();
    for (load, before) in loads.iter_mut().zip(&before) {
        let since = load.next().await?.since(before);
        all.ok += since.ok;
        all.reset += lost(&since);
        for (server, count) in since.by_server {
            *all.by_server.entry(server).or_default() += count;
        }
    }
    experiment.say(&format!("  {} requests, {} failed, by {:?}", all.ok, all.reset, all.by_server));
    Ok(all)
}

async fn finish(
    mut experiment: Experiment,
    loads: Vec<Load>,
    options: &Options,
    found: &Found,
) -> io::Result<Promises> {
    let mut ledgers = Vec::new();
    for load in loads {
        ledgers.push(experiment.finish(load).await?);
    }
    let (failed, ok) = ledgers.iter().fold((0, 0), |(failed, ok), one| (failed + lost(one), ok + one.ok));
    let rolls = options.rolls;
    let promises = &mut experiment.promises;
    let trouble = found.trouble.as_ref().map_or(String::new(), |why| format!(": {why}"));
    promises.add(
        &format!("{rolls} rolls of three servers end well"),
        format!("{} of {rolls}{trouble}", found.done),
        found.done == rolls,
    );
    promises.add("no request fails, keep-alive or short", format!("{failed} of {ok} failed"), failed == 0 && ok > 0);
    promises.add(
        "requests move to the new version step by step",
        format!("both versions answered in {} of {rolls} rolls", found.gradual),
        found.gradual == rolls,
    );
    promises.add(
        "and in the end all of them",
        format!("the new version alone after {} of {rolls} rolls", found.moved),
        found.moved == rolls,
    );
    promises.add(
        "never fewer than two servers take connections",
        format!("{} at the fewest", found.fewest),
        found.fewest >= SERVERS - 1,
    );
    if let Some(held) = &found.held {
        let (cut, ended) = (held.reset.values().sum::<u64>(), held.closed.values().sum::<u64>());
        promises.add(
            "connections that never end are cut when the drain is over, and no others",
            format!("{cut} of {} cut, {ended} ended otherwise", options.idle),
            cut == u64::from(options.idle) && ended == 0,
        );
    }
    let within = if options.kill_manager { Duration::from_secs(5) } else { Duration::from_millis(200) };
    promises.add_time(
        &format!("a server is away for its drain, its boot and at most {} ms", within.as_millis()),
        format!("{} ms", found.slowest.as_millis()),
        found.slowest <= within,
    );
    experiment.close("roll", "Rolling restart of three servers: requests by version", version)
}
