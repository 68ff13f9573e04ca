//! What `acm lab` shows: services enter, leave, are cut off and shed load, all through the primitives, under load,
//! measured at the servers and at the client.

#![allow(clippy::disallowed_methods)]

use std::io;
use std::time::{Duration, Instant};

use super::hold::Held;
use super::load::Ledger;
use super::process::Process;
use super::promises::Promises;
use super::rig::Lab;
use super::serve::now_us;
use super::{VIP, server};
use crate::acm::error::AcmError;
use crate::acm::list::{Filter, State};
use crate::acm::primitive::{Add, Caller, Done, DropNew, ForceRemove, Primitive, Remove, SetService};
use crate::acm::switch::{AcmSwitch, perform};
use crate::acm::wait::{until_active, until_drained};
use crate::acm::words::{BindingKey, DropMode, HealthProfile, Refusal, ServiceKey};
use crate::base::fraction::Fraction;
use crate::base::span::Span;
use crate::driver::native::NativeClient;

/// Connections held for Force Remove.
const HELD: u64 = 300;

/// Connection attempts for Drop in mode `shed`.
const ATTEMPTS: u64 = 2000;

/// How long a handshake may take that was under way when a server was removed.
const HANDSHAKE: Duration = Duration::from_millis(50);

/// How long a step of load lasts.
const STEP: Duration = Duration::from_secs(2);

/// The story's cast and what it has found so far.
pub struct Story {
    lab: Lab,
    switch: NativeClient,
    promises: Promises,
    start: Instant,
    quiet: bool,
}

/// Tells the whole story on a new lab of three servers. `quiet` leaves out the live output.
///
/// # Errors
/// The lab cannot be made, or the switch refuses what it must not refuse.
pub async fn tell(quiet: bool) -> io::Result<Promises> {
    let start = Instant::now();
    let mut lab = Lab::up(3)?;
    let switch = lab.start_switch(&[]).await?;
    let mut story = Story { lab, switch, promises: Promises::default(), start, quiet };
    story.say("a client, three servers and the switch between them, each in a namespace of its own");
    story.gate().await?;
    story.spread().await?;
    story.remove_under_load().await?;
    story.force().await?;
    story.shed().await?;
    story.queue().await?;
    story.crash().await?;
    story.everything_back().await?;
    let mut promises = story.promises;
    promises.seconds = start.elapsed().as_secs_f64();
    Ok(promises)
}

fn service() -> ServiceKey {
    ServiceKey::tcp(VIP)
}

fn binding(n: u8) -> BindingKey {
    BindingKey { service: service(), real: server(n) }
}

fn failed(error: AcmError) -> io::Error {
    io::Error::other(error.to_string())
}

impl Story {
    fn say(&self, text: &str) {
        if !self.quiet {
            println!("{:6.2} s  {text}", self.start.elapsed().as_secs_f64());
        }
    }

    async fn perform(&self, primitive: Primitive) -> io::Result<Done> {
        perform(&self.switch, &Caller::default(), primitive).await.map_err(failed)
    }

    async fn add(&self, n: u8) -> io::Result<Done> {
        // Quick checks, so that the story stays short; the defaults are 2 s, 1 s and 3 failures.
        let profile = HealthProfile {
            interval: Span::millis(500),
            timeout: Span::millis(250),
            fall: 2,
            ..HealthProfile::default()
        };
        self.perform(Primitive::Add(Add { health: Some(profile), ..Add::new(service(), server(n)) })).await
    }

    async fn wait_active(&self, n: u8) -> io::Result<()> {
        until_active(&self.switch, &binding(n), Duration::from_secs(10)).await.map_err(failed)
    }

    fn load(&self, workers: &str, per_connection: &str, more: &[&str]) -> io::Result<Process> {
        let target = VIP.to_string();
        let mut args =
            vec!["load", "--target", &target, "--workers", workers, "--requests-per-connection", per_connection];
        args.extend(more);
        self.lab.start_client(&args)
    }

    /// Reads ledgers for a while, showing the rate each second; returns what happened meanwhile.
    async fn watch(&self, load: &mut Process, time: Duration) -> io::Result<Ledger> {
        // Lines written before now may still wait in the pipe.
        let now = now_us();
        let first = loop {
            let line: Ledger = load.next().await?;
            if line.at_us >= now {
                break line;
            }
        };
        let (mut last, mut shown) = (first.clone(), first.clone());
        let (start, mut second) = (Instant::now(), Instant::now());
        while start.elapsed() < time {
            last = load.next().await?;
            if second.elapsed() >= Duration::from_secs(1) {
                let rate = last.since(&shown);
                self.say(&format!(
                    "  {} requests/s, {} failed, by server {:?}",
                    rate.ok,
                    rate.failed(),
                    rate.by_server
                ));
                (shown, second) = (last.clone(), Instant::now());
            }
        }
        Ok(last.since(&first))
    }

    async fn finish(load: &mut Process) -> io::Result<Ledger> {
        load.say("stop").await?;
        loop {
            let ledger: Ledger = load.next().await?;
            if ledger.done {
                return Ok(ledger);
            }
        }
    }

    /// Health before traffic.
    async fn gate(&mut self) -> io::Result<()> {
        self.say("Add three servers that do not run yet: nothing may reach them before their checks pass");
        self.perform(Primitive::SetService(SetService::new(service()))).await?;
        for n in 1..=3 {
            self.add(n).await?;
        }
        let mut load = self.load("4", "1", &["--connect-timeout", "100ms"])?;
        let early = self.watch(&mut load, Duration::from_millis(600)).await?;
        Self::finish(&mut load).await?;
        let rows = self.switch.list(&Filter::service(service())).await.map_err(failed)?.bindings;
        let reason = rows.first().and_then(|row| row.reason.clone()).unwrap_or_default();
        self.say(&format!("  s1 is {}: {reason}", rows.first().map_or("gone", |row| row.state.as_str())));
        let total: u64 = rows.iter().map(|row| row.total).sum();
        let kept = total == 0 && early.connected == 0 && rows.iter().all(|row| row.state != State::Active);
        self.promises.add(
            "no connection before the checks pass",
            format!("{total} of {} attempts let through", early.attempts),
            kept,
        );
        for n in 1..=3 {
            self.lab.start_server(n).await?;
        }
        let start = Instant::now();
        for n in 1..=3 {
            self.wait_active(n).await?;
        }
        let took = start.elapsed();
        self.promises.add(
            "active once the servers run, within 2 s",
            format!("all three after {} ms", took.as_millis()),
            took < Duration::from_secs(2),
        );
        Ok(())
    }

    /// Even spread.
    async fn spread(&mut self) -> io::Result<()> {
        self.say("three servers under load: connections spread evenly");
        let mut load = self.load("16", "1", &[])?;
        self.watch(&mut load, STEP).await?;
        let ledger = Self::finish(&mut load).await?;
        let most = ledger.by_server.values().max().copied().unwrap_or(0) as f64;
        let least = ledger.by_server.values().min().copied().unwrap_or(0) as f64;
        let off = if least > 0.0 { most / least - 1.0 } else { f64::INFINITY };
        let kept = ledger.by_server.len() == 3 && off < 0.02 && ledger.failed() == 0;
        self.promises.add(
            "round-robin over three, within 2 %, none failed",
            format!("{} requests, {:.1} % apart, {} failed", ledger.ok, off * 100.0, ledger.failed()),
            kept,
        );
        Ok(())
    }

    /// Remove under load, keep-alive and short connections.
    async fn remove_under_load(&mut self) -> io::Result<()> {
        self.say("Remove s2 under load, keep-alive and short connections: nothing is lost");
        let mut kept_alive = self.load("8", "200", &[])?;
        let mut short = self.load("8", "1", &[])?;
        self.watch(&mut short, Duration::from_secs(1)).await?;
        self.perform(Primitive::Remove(Remove { service: service(), real: server(2), deadline: None })).await?;
        // What the switch had given it when it acknowledged is exact; what the server has accepted runs behind by the
        // handshakes that were under way, so its count begins a moment later.
        let given = self.given(2).await?;
        tokio::time::sleep(HANDSHAKE).await;
        let (given_later, at_ack) = (self.given(2).await?, self.lab.server_report(2).await?);
        self.say("  acknowledged: a service may stop accepting on that answer");
        until_drained(&self.switch, &binding(2), Duration::from_secs(20)).await.map_err(failed)?;
        self.say("  drained: its last connection has ended");
        self.watch(&mut short, Duration::from_secs(1)).await?;
        let after = self.lab.server_report(2).await?;
        let (kept_alive, short) = (Self::finish(&mut kept_alive).await?, Self::finish(&mut short).await?);
        let failed = kept_alive.failed() + short.failed() + kept_alive.refused + short.refused;
        let late = given_later.zip(given).map_or(0, |(later, given)| later - given) + after.accepted - at_ack.accepted;
        let timeouts = kept_alive.connect_timeouts + short.connect_timeouts;
        self.promises.add(
            "Remove loses no request",
            format!("{failed} failed, {timeouts} timed out, of {}", kept_alive.ok + short.ok),
            failed + timeouts == 0,
        );
        self.promises.add(
            "nothing new after Remove's acknowledgement",
            format!("{late} connections given or accepted later"),
            late == 0,
        );
        self.add(2).await?;
        self.wait_active(2).await
    }

    /// How many connections the switch has given a server so far; `None` once its binding is gone.
    async fn given(&self, n: u8) -> io::Result<Option<u64>> {
        let listing = self.switch.list(&Filter::service(service())).await.map_err(failed)?;
        Ok(listing.binding(&binding(n)).map(|row| row.total))
    }

    /// Force Remove with held connections.
    async fn force(&mut self) -> io::Result<()> {
        self.say(&format!("Force Remove s3 while {HELD} connections are held open"));
        let (target, count) = (VIP.to_string(), HELD.to_string());
        let mut holder = self.lab.start_client(&["hold", "--target", &target, "--connections", &count])?;
        let held: Held = holder.next().await?;
        let on_s3 = held.by_server.get("s3").copied().unwrap_or(0);
        let start = now_us();
        let done = self.perform(Primitive::ForceRemove(ForceRemove { service: service(), real: server(3) })).await?;
        let cut = done.cut.unwrap_or(0);
        tokio::time::sleep(Duration::from_millis(200)).await;
        let after: Held = holder.ask("report").await?;
        let report = self.lab.server_report(3).await?;
        let reset = after.reset.get("s3").copied().unwrap_or(0);
        let others = after.reset.values().sum::<u64>() - reset + after.closed.values().sum::<u64>();
        let last = after.last_reset_us.max(report.last_reset_us).saturating_sub(start);
        self.promises.add(
            "Force Remove tells how many it cut",
            format!("{cut} told, {on_s3} were open"),
            cut == on_s3 && on_s3 > 0,
        );
        self.promises.add(
            "both sides are reset, within 50 ms",
            format!("{reset} clients and {} servers, the last after {:.1} ms", report.resets, last as f64 / 1000.0),
            reset == on_s3 && report.resets == on_s3 && last <= 50_000,
        );
        self.promises.add(
            "other connections are untouched",
            format!("{others} of {} others ended", HELD - on_s3),
            others == 0,
        );
        self.add(3).await?;
        self.wait_active(3).await
    }

    async fn set_drop(&self, fraction: f64, mode: DropMode) -> io::Result<()> {
        let fraction = Fraction::new(fraction).map_err(io::Error::other)?;
        let drop = DropNew { service: service(), fraction, mode, from: None, refusal: Refusal::Silent, lasts: None };
        self.perform(Primitive::Drop(drop)).await.map(drop_done)
    }

    /// Drop 0.5, one verdict per attempt.
    async fn shed(&mut self) -> io::Result<()> {
        self.say("Drop 0.5, mode shed: half of the connection attempts are refused, admitted ones are never touched");
        self.set_drop(0.5, DropMode::Shed).await?;
        let attempts = ATTEMPTS.to_string();
        let mut load = self.load("200", "1", &["--connect-timeout", "250ms", "--attempts", &attempts])?;
        let ledger = loop {
            let ledger: Ledger = load.next().await?;
            if ledger.done {
                break ledger;
            }
        };
        let admitted = ledger.connected as f64 / ledger.attempts.max(1) as f64;
        // Four standard deviations of a fair coin over this many attempts: one run in 16,000 is further off by chance.
        let tolerance = 4.0 * (0.25 / ledger.attempts.max(1) as f64).sqrt();
        self.promises.add(
            "Drop 0.5 shed admits half of the attempts",
            format!("{:.1} % of {} (4 sigma: {:.1} %)", admitted * 100.0, ledger.attempts, tolerance * 100.0),
            (admitted - 0.5).abs() <= tolerance,
        );
        self.promises.add(
            "admitted connections are not touched",
            format!("{} of {} failed", ledger.failed(), ledger.ok),
            ledger.failed() == 0,
        );
        Ok(())
    }

    /// Drop 0.5, a coin per SYN.
    async fn queue(&mut self) -> io::Result<()> {
        self.say("Drop 0.5, mode queue: a coin per SYN; TCP's retries let nearly everyone in, later");
        let before = self.counts().await?;
        self.set_drop(0.5, DropMode::Queue).await?;
        let mut load = self.load("400", "1", &["--connect-timeout", "8s", "--attempts", "400"])?;
        let ledger = loop {
            let ledger: Ledger = load.next().await?;
            if ledger.done {
                break ledger;
            }
        };
        let after = self.counts().await?;
        let (admitted, dropped) = (after.0 - before.0, after.1 - before.1);
        let share = dropped as f64 / (admitted + dropped).max(1) as f64;
        let tolerance = 4.0 * (0.25 / (admitted + dropped).max(1) as f64).sqrt();
        self.promises.add(
            "Drop 0.5 queue drops half of the SYNs",
            format!("{:.1} % of {} (4 sigma: {:.1} %)", share * 100.0, admitted + dropped, tolerance * 100.0),
            (share - 0.5).abs() <= tolerance,
        );
        let let_in = ledger.connected as f64 / ledger.attempts.max(1) as f64;
        self.promises.add(
            "and nearly every client gets in, with a delay",
            format!(
                "{:.1} % of {}, the slowest after {:.1} s",
                let_in * 100.0,
                ledger.attempts,
                ledger.slowest_connect_us as f64 / 1e6
            ),
            let_in >= 0.95,
        );
        self.set_drop(0.0, DropMode::Queue).await
    }

    /// Connections admitted and SYNs dropped so far.
    async fn counts(&self) -> io::Result<(u64, u64)> {
        let listing = self.switch.list(&Filter::service(service())).await.map_err(failed)?;
        Ok(listing.services.first().map_or((0, 0), |row| (row.admitted, row.dropped)))
    }

    /// A server dies.
    async fn crash(&mut self) -> io::Result<()> {
        self.say("s1 crashes under load: the checks find out, the others carry on");
        let mut load = self.load("8", "1", &["--connect-timeout", "1s"])?;
        self.watch(&mut load, Duration::from_millis(500)).await?;
        self.lab.kill_server(1).await?;
        let killed = Instant::now();
        let (found, reason) = loop {
            let listing = self.switch.list(&Filter::service(service())).await.map_err(failed)?;
            let row = listing.binding(&binding(1)).cloned();
            if let Some(row) = row.filter(|row| row.state == State::Failed) {
                break (killed.elapsed(), row.reason.unwrap_or_default());
            }
            if killed.elapsed() > Duration::from_secs(10) {
                break (killed.elapsed(), "never".into());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        let found_us = now_us();
        self.say(&format!("  s1 failed: {reason}"));
        let after = self.watch(&mut load, Duration::from_secs(1)).await?;
        Self::finish(&mut load).await?;
        self.promises.add(
            "a dead server is found out within 2 s",
            format!("{} ms", found.as_millis()),
            found <= Duration::from_secs(2),
        );
        // What began before that may end later.
        let lost = after.failed() + after.refused + after.connect_timeouts;
        let is_late = after.last_failed_us >= found_us;
        self.promises.add(
            "of what begins from then on nothing is lost",
            format!(
                "{} failed of {}, by {:?}; of before {} ended meanwhile",
                if is_late { lost } else { 0 },
                after.ok,
                after.by_server.keys().collect::<Vec<_>>(),
                if is_late { 0 } else { lost },
            ),
            !is_late && after.ok > 0 && !after.by_server.contains_key("s1"),
        );
        Ok(())
    }

    async fn everything_back(&mut self) -> io::Result<()> {
        self.say("everything back");
        self.lab.start_server(1).await?;
        self.wait_active(1).await?;
        let mut load = self.load("8", "1", &[])?;
        self.watch(&mut load, Duration::from_secs(1)).await?;
        let ledger = Self::finish(&mut load).await?;
        let lost = ledger.failed() + ledger.refused + ledger.connect_timeouts;
        self.promises.add(
            "all three serve again",
            format!("{} requests by {:?}, {lost} failed", ledger.ok, ledger.by_server.keys().collect::<Vec<_>>()),
            ledger.by_server.len() == 3 && lost == 0,
        );
        Ok(())
    }
}

/// Only that it was done matters.
fn drop_done(_: Done) {}
