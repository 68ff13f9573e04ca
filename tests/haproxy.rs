//! The HAProxy driver against the real HAProxy, with real traffic, each test in a network namespace of its own; and
//! against things that are not HAProxy.
//!
//! The HAProxy is the one in `PATH`, or the one `HAPROXY` names. Without one, or without namespaces, the tests that need
//! it are reported as ignored, with the reason.

#![allow(missing_docs, unreachable_pub, clippy::disallowed_methods)]

#[path = "support/netns.rs"]
mod netns;
#[path = "support/sockets.rs"]
mod sockets;

use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

use acm_switch::acm::conformance::{Attempt, Bench, Connection, Fate, Plan, Subject, Testbed, run};
use acm_switch::acm::connect::{Connect, SwitchProfile};
use acm_switch::acm::error::{AcmError, Feature};
use acm_switch::acm::list::{Filter, Listing, State};
use acm_switch::acm::primitive::{Add, Caller, Done, ForceRemove, Outcome, Primitive, Remove};
use acm_switch::acm::switch::{AcmSwitch, Answer, perform};
use acm_switch::acm::wait::{until_active, until_drained};
use acm_switch::acm::words::{BindingKey, HealthProfile, ServiceKey};
use acm_switch::base::span::Span;
use acm_switch::driver::Registry;
use libtest_mimic::{Arguments, Failed, Trial};
use sockets::Sockets;
use tempfile::TempDir;

type Verdict = Result<(), Failed>;

const ACM: &str = env!("CARGO_BIN_EXE_acm");
const PATIENCE: Duration = Duration::from_secs(5);

fn expect(what: impl std::fmt::Display, holds: bool) -> Verdict {
    if holds { Ok(()) } else { Err(what.to_string().into()) }
}

fn binary() -> PathBuf {
    std::env::var_os("HAPROXY").map_or_else(|| "haproxy".into(), PathBuf::from)
}

/// Two services, three servers, two clients, all addresses of the loopback of a namespace.
fn plan() -> Plan {
    let address = |text: &str| text.parse::<SocketAddr>().unwrap();
    Plan {
        services: ["198.18.1.100:80", "198.18.1.101:80"].map(|text| text.parse().unwrap()),
        reals: ["198.18.3.11:8080", "198.18.3.12:8080", "198.18.3.13:8080"].map(address),
        clients: ["198.18.2.1", "198.18.2.2"].map(|text| text.parse().unwrap()),
        checks: Some(Plan::quick_checks()),
    }
}

/// `shop` is the name of a frontend and of a backend.
const WEB_AND_SHOP: &str = "
frontend public
  bind 198.18.1.100:80
  default_backend web
backend web
  balance roundrobin
listen shop
  bind 198.18.1.101:80
  balance leastconn
";

/// A running HAProxy.
struct Haproxy {
    child: Child,
    directory: TempDir,
}

impl Haproxy {
    fn start(proxies: &str) -> Result<Haproxy, Failed> {
        Haproxy::start_in(tempfile::tempdir()?, proxies)
    }

    /// The same place, configured anew.
    fn restart(mut self, proxies: &str) -> Result<Haproxy, Failed> {
        self.child.kill()?;
        self.child.wait()?;
        let place = std::mem::replace(&mut self.directory, tempfile::tempdir()?);
        drop(self);
        Haproxy::start_in(place, proxies)
    }

    fn start_in(directory: TempDir, proxies: &str) -> Result<Haproxy, Failed> {
        let (config, socket) = (directory.path().join("haproxy.cfg"), directory.path().join("admin.sock"));
        let text = format!(
            "global\n  stats socket {} level admin\n  stats socket {} level operator\n  stats socket ipv4@127.0.0.1:9999 \
             level admin\n  maxconn 4000\ndefaults\n  mode tcp\n  timeout connect 1s\n  timeout client 1m\n  \
             timeout server 1m\n  timeout queue 5s\n{proxies}",
            socket.display(),
            directory.path().join("operator.sock").display()
        );
        std::fs::write(&config, text)?;
        let log = std::fs::File::create(directory.path().join("log"))?;
        let mut command = Command::new(binary());
        command.arg("-db").arg("-f").arg(&config).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let mut haproxy = Haproxy { child: command.spawn()?, directory };
        let end = Instant::now() + PATIENCE;
        while haproxy.ask("show info").is_err() {
            if haproxy.child.try_wait()?.is_some() || Instant::now() > end {
                let log = std::fs::read_to_string(haproxy.directory.path().join("log"))?;
                return Err(format!("HAProxy does not start: {log}").into());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(haproxy)
    }

    /// An operator of HAProxy at its socket.
    fn ask(&self, line: &str) -> std::io::Result<String> {
        let mut wire = std::os::unix::net::UnixStream::connect(self.directory.path().join("admin.sock"))?;
        wire.write_all(format!("{line}\n").as_bytes())?;
        let mut answer = String::new();
        wire.read_to_string(&mut answer)?;
        Ok(answer)
    }

    /// The names of a backend's servers.
    fn servers(&self, backend: &str) -> Result<Vec<String>, Failed> {
        let table = self.ask(&format!("show servers state {backend}"))?;
        let rows = table.lines().skip(2).filter(|line| !line.is_empty());
        Ok(rows.map(|row| row.split(' ').nth(3).unwrap_or_default().to_owned()).collect())
    }

    fn url(&self, options: &str) -> String {
        let vips = "vip=198.18.1.100:80=web&vip=198.18.1.101:80=shop";
        format!("unix:{}/admin.sock?driver=haproxy&{vips}{options}", self.directory.path().display())
    }
}

impl Drop for Haproxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn connect(url: &str) -> Result<Box<dyn AcmSwitch>, AcmError> {
    Registry.connect(&SwitchProfile::new("haproxy".parse().unwrap(), url)).await
}

async fn call(switch: &dyn AcmSwitch, primitive: Primitive) -> Outcome {
    perform(switch, &Caller::default(), primitive).await
}

/// An Add of real `n` that needs no check.
fn plain(n: usize) -> Add {
    let plan = plan();
    Add { health: Some(HealthProfile::link_only()), ..Add::new(plan.services[0], plan.reals[n]) }
}

fn remove(n: usize) -> Primitive {
    Primitive::Remove(Remove { service: plan().services[0], real: plan().reals[n], deadline: None })
}

fn force(n: usize) -> Primitive {
    Primitive::ForceRemove(ForceRemove { service: plan().services[0], real: plan().reals[n] })
}

fn key(n: usize) -> BindingKey {
    plain(n).key()
}

/// Attempts from one client; which servers they reached, in order. Refused ones fail.
async fn reached(sockets: &Sockets, ports: std::ops::Range<u16>) -> Result<Vec<(Connection, SocketAddr)>, Failed> {
    let mut found = Vec::new();
    for port in ports {
        match sockets.attempt(SocketAddr::new(plan().clients[0], port), plan().services[0].addr).await {
            Attempt::To(connection, real) => found.push((connection, real)),
            refused => return Err(format!("the attempt from {port} was {refused:?}").into()),
        }
    }
    Ok(found)
}

struct RealHaproxy;

struct RealBench {
    switch: Box<dyn AcmSwitch>,
    sockets: Sockets,
    _haproxy: Haproxy,
}

impl Bench for RealBench {
    fn switch(&self) -> &dyn AcmSwitch {
        &*self.switch
    }

    fn testbed(&self) -> Option<&dyn Testbed> {
        Some(&self.sockets)
    }
}

impl Subject for RealHaproxy {
    fn name(&self) -> &str {
        "HAProxy"
    }

    fn plan(&self) -> Plan {
        plan()
    }

    fn lacks(&self) -> &[Feature] {
        use Feature::*;
        &[Drop, Leases, Fencing, ContentRules, Events, Udp, Services, Option]
    }

    fn fresh(&self) -> Answer<'_, Box<dyn Bench>> {
        Box::pin(async {
            let haproxy = Haproxy::start(WEB_AND_SHOP).expect("HAProxy starts");
            let switch = connect(&haproxy.url("")).await.expect("HAProxy is reached");
            let sockets = Sockets::new(&plan().reals).expect("the addresses are free");
            Box::new(RealBench { switch, sockets, _haproxy: haproxy }) as Box<dyn Bench>
        })
    }
}

/// The contract's suite, with traffic. What HAProxy cannot do is exactly what is declared, and no case is skipped.
async fn conformance() -> Verdict {
    let report = run(&RealHaproxy).await;
    println!("{report}");
    expect(&report, report.is_conformant() && report.skipped() == 0)?;
    let passed = report.endings.len() - report.cannot();
    expect(format!("only {passed} passed\n{report}"), passed >= 38)
}

/// Connections live on while a server drains, nothing new comes to it, and it is deleted when the last one ends.
async fn drain_under_traffic() -> Verdict {
    let haproxy = Haproxy::start(WEB_AND_SHOP)?;
    let (switch, sockets) = (connect(&haproxy.url("")).await?, Sockets::new(&plan().reals)?);
    for n in 0..2 {
        call(&*switch, Primitive::Add(plain(n))).await?;
    }
    let before = reached(&sockets, 2000..2020).await?;
    let on_first: Vec<_> = before.iter().filter(|(_, real)| *real == plan().reals[0]).collect();
    expect(format!("{} of 20", on_first.len()), on_first.len() == 10)?;
    call(&*switch, remove(0)).await?;
    let after = reached(&sockets, 2100..2140).await?;
    expect("new connections only to the other", after.iter().all(|(_, real)| *real == plan().reals[1]))?;
    for (closed, (connection, _)) in on_first.iter().enumerate() {
        expect("what was there lives on", sockets.fate(*connection).await == Fate::Alive)?;
        let listed = row(&*switch, 0).await?.ok_or("the row is gone too early")?;
        expect(format!("{listed:?}"), listed.state == State::Draining && listed.connections == 10 - closed as u64)?;
        sockets.close(*connection).await;
    }
    until_drained(&*switch, &key(0), PATIENCE).await?;
    expect(format!("{:?}", haproxy.servers("web")?), haproxy.servers("web")? == ["acm-198.18.3.12-8080:operator:none"])
}

async fn row(switch: &dyn AcmSwitch, n: usize) -> Result<Option<acm_switch::acm::list::BindingRow>, AcmError> {
    Ok(switch.list(&Filter::service(plan().services[0])).await?.binding(&key(n)).cloned())
}

/// An empty server that is removed is gone from HAProxy when Remove answers.
async fn remove_of_an_idle_server_deletes_it() -> Verdict {
    let haproxy = Haproxy::start(WEB_AND_SHOP)?;
    let switch = connect(&haproxy.url("")).await?;
    call(&*switch, Primitive::Add(plain(0))).await?;
    call(&*switch, remove(0)).await?;
    expect(format!("{:?}", haproxy.servers("web")?), haproxy.servers("web")?.is_empty())
}

/// Force Remove ends 200 connections on both sides, counts them, and leaves the others.
async fn force_remove_cuts() -> Verdict {
    let haproxy = Haproxy::start(WEB_AND_SHOP)?;
    let (switch, sockets) = (connect(&haproxy.url("")).await?, Sockets::new(&plan().reals)?);
    for n in 0..2 {
        call(&*switch, Primitive::Add(plain(n))).await?;
    }
    let all = reached(&sockets, 2000..2400).await?;
    let done = call(&*switch, force(0)).await?;
    expect(format!("{done:?}"), done.cut == Some(200))?;
    expect("the server is gone", !haproxy.servers("web")?.iter().any(|name| name.contains("198.18.3.11")))?;
    for (connection, real) in all.iter().step_by(13) {
        let expected = if *real == plan().reals[0] { Fate::Reset } else { Fate::Alive };
        let fate = sockets.fate(*connection).await;
        expect(format!("{real}: {fate:?}"), fate == expected)?;
    }
    Ok(())
}

/// A server whose check has not passed gets nothing, from the first moment on.
async fn nothing_before_the_check() -> Verdict {
    let haproxy = Haproxy::start(WEB_AND_SHOP)?;
    let (switch, sockets) = (connect(&haproxy.url("")).await?, Sockets::new(&plan().reals)?);
    call(&*switch, Primitive::Add(plain(0))).await?;
    sockets.set_healthy(plan().reals[1], false).await;
    let quick = HealthProfile {
        interval: Span::millis(200),
        timeout: Span::millis(200),
        rise: 1,
        fall: 1,
        ..HealthProfile::default()
    };
    let add = Add { health: Some(quick.clone()), ..plain(1) };
    let adding = async {
        for _ in 0..20 {
            call(&*switch, Primitive::Add(add.clone())).await?;
            call(&*switch, force(1)).await?;
        }
        Ok::<_, Failed>(())
    };
    // A connection given to a server that is not there is refused, and that fails.
    let (added, connected) = tokio::join!(adding, reached(&sockets, 2000..2600));
    added?;
    expect("all to the healthy one", connected?.iter().all(|(_, real)| *real == plan().reals[0]))?;
    call(&*switch, Primitive::Add(add)).await?;
    let listed = row(&*switch, 1).await?.ok_or("not listed")?;
    expect(format!("{listed:?}"), listed.state != State::Active && listed.reason.is_some() && listed.health == quick)?;
    sockets.set_healthy(plan().reals[1], true).await;
    until_active(&*switch, &key(1), PATIENCE).await?;
    Ok(())
}

/// Weights share connections out in proportion, and can be changed.
async fn weights() -> Verdict {
    let haproxy = Haproxy::start(WEB_AND_SHOP)?;
    let (switch, sockets) = (connect(&haproxy.url("")).await?, Sockets::new(&plan().reals)?);
    call(&*switch, Primitive::Add(Add { weight: Some(3), ..plain(0) })).await?;
    call(&*switch, Primitive::Add(plain(1))).await?;
    let share = async |ports| {
        let found = reached(&sockets, ports).await?;
        Ok::<_, Failed>(found.iter().filter(|(_, real)| *real == plan().reals[0]).count())
    };
    let three_of_four = share(2000..2040).await?;
    call(&*switch, Primitive::Add(Add { weight: Some(256), ..plain(1) })).await?;
    call(&*switch, Primitive::Add(Add { weight: Some(64), ..plain(0) })).await?;
    let one_of_five = share(2100..2200).await?;
    expect(
        format!("{three_of_four} of 40, {one_of_five} of 100"),
        (29..=31).contains(&three_of_four) && (18..=22).contains(&one_of_five),
    )
}

/// Servers of HAProxy's own configuration are listed as foreign and never touched.
async fn foreign_servers_stay() -> Verdict {
    let foreign = "backend web\n  balance roundrobin\n  server static 198.18.3.12:8080\n  \
                   server acm-198.18.3.13-8080 198.18.3.13:9090 disabled\n";
    let haproxy = Haproxy::start(&WEB_AND_SHOP.replace("backend web\n  balance roundrobin\n", foreign))?;
    let switch = connect(&haproxy.url("")).await?;
    let before = haproxy.ask("show servers state web")?;
    let listing = switch.list(&Filter::default()).await?;
    let owners: Vec<_> = listing.bindings.iter().map(|row| (row.key.real.to_string(), row.owner.as_str())).collect();
    expect(
        format!("{owners:?}"),
        owners == [("198.18.3.12:8080".to_owned(), "foreign"), ("198.18.3.13:9090".to_owned(), "foreign")],
    )?;
    let outcomes = [
        call(&*switch, Primitive::Add(plain(1))).await,
        call(&*switch, remove(1)).await,
        call(&*switch, force(1)).await,
    ];
    use AcmError::{Exists, Forbidden};
    expect(
        format!("{outcomes:?}"),
        matches!(&outcomes, [Err(Exists { owner, .. }), Err(Forbidden { .. }), Err(Forbidden { .. })] if owner == "foreign"),
    )?;
    // Our name is taken by a server that is somewhere else.
    let taken = call(&*switch, Primitive::Add(Add { health: None, ..plain(2) })).await;
    expect(format!("{taken:?}"), matches!(&taken, Err(Exists { owner, .. }) if owner == "foreign"))?;
    call(&*switch, Primitive::Add(plain(0))).await?;
    call(&*switch, force(0)).await?;
    let after = haproxy.ask("show servers state web")?;
    let without_ages = |table: &str| {
        let cells = |line: &str| {
            let cells = line.split(' ').enumerate().filter(|(n, _)| *n != 9).map(|(_, cell)| cell.to_owned());
            cells.collect::<Vec<_>>()
        };
        table.lines().skip(2).map(cells).collect::<Vec<_>>()
    };
    expect(format!("{before}\n{after}"), without_ages(&before) == without_ages(&after))
}

/// What HAProxy's operator puts into maintenance stays there, is listed so, and an Add brings it back.
async fn maintenance_is_respected() -> Verdict {
    let haproxy = Haproxy::start(WEB_AND_SHOP)?;
    let switch = connect(&haproxy.url("")).await?;
    call(&*switch, Primitive::Add(plain(0))).await?;
    haproxy.ask("set server web/acm-198.18.3.11-8080:operator:none state maint")?;
    for _ in 0..2 {
        let listed = row(&*switch, 0).await?.ok_or("it was deleted")?;
        let why = listed.reason.clone().unwrap_or_default();
        expect(format!("{listed:?}"), listed.state == State::Failed && why.contains("maintenance"))?;
    }
    let again = call(&*switch, Primitive::Add(plain(0))).await?;
    let listed = row(&*switch, 0).await?.ok_or("not listed")?;
    expect(format!("{again:?} {listed:?}"), again.changed && listed.state == State::Active)
}

/// A backend that keeps clients with their servers: drain lets such a client in, maintenance does not.
async fn persistence() -> Verdict {
    let sticky = "backend web\n  balance roundrobin\n  stick-table type ip size 100 expire 1m\n  stick on src\n";
    let haproxy = Haproxy::start(&WEB_AND_SHOP.replace("backend web\n  balance roundrobin\n", sticky))?;
    for (options, comes_back) in [("", true), ("&persistence=yes", false)] {
        let (switch, sockets) = (connect(&haproxy.url(options)).await?, Sockets::new(&plan().reals)?);
        haproxy.ask("clear table web")?;
        call(&*switch, Primitive::Add(plain(0))).await?;
        let (held, _) = reached(&sockets, 2000..2001).await?[0];
        call(&*switch, Primitive::Add(plain(1))).await?;
        call(&*switch, remove(0)).await?;
        let (newcomer, real) = reached(&sockets, 2001..2002).await?[0];
        expect(format!("`{options}`: {real}"), (real == plan().reals[0]) == comes_back)?;
        let listed = row(&*switch, 0).await?.ok_or("gone")?;
        expect(format!("{listed:?}"), listed.state == State::Draining)?;
        for connection in [held, newcomer] {
            sockets.close(connection).await;
        }
        until_drained(&*switch, &key(0), PATIENCE).await?;
        call(&*switch, force(1)).await?;
    }
    Ok(())
}

/// 300 servers in one list, listed whole, removed whole; and numbers that are never given again, also by another driver.
async fn many() -> Verdict {
    let haproxy = Haproxy::start(WEB_AND_SHOP)?;
    let switch = connect(&haproxy.url("")).await?;
    let service = plan().services[0];
    let real = |n: u16| SocketAddr::new("198.18.3.11".parse().unwrap(), 10_000 + n);
    let adds = |range: std::ops::Range<u16>| {
        range.map(|n| Primitive::Add(Add { real: real(n), ..plain(0) })).collect::<Vec<_>>()
    };
    let ids = |outcomes: &[Outcome]| outcomes.iter().flatten().filter_map(|done| done.binding).collect::<Vec<_>>();
    let first = ids(&switch.apply(&Caller::default(), adds(0..300)).await?);
    let listing: Listing = switch.list(&Filter::service(service)).await?;
    let listed: std::collections::BTreeSet<_> = listing.bindings.iter().map(|row| row.id).collect();
    expect(format!("{} added, {} listed", first.len(), listed.len()), first.len() == 300 && listed.len() == 300)?;
    let removes = (0..300).map(|n| Primitive::Remove(Remove { service, real: real(n), deadline: None })).collect();
    let removed = switch.apply(&Caller::default(), removes).await?;
    expect("all removed", removed.iter().all(Result::is_ok))?;
    expect("HAProxy is empty", haproxy.servers("web")?.is_empty())?;
    let other = connect(&haproxy.url("")).await?;
    let second = ids(&switch.apply(&Caller::default(), adds(0..50)).await?);
    let third = ids(&other.apply(&Caller::default(), adds(50..60)).await?);
    let all: std::collections::BTreeSet<_> = first.iter().chain(&second).chain(&third).collect();
    expect(format!("{} of 360", all.len()), all.len() == 360)
}

/// HAProxy is configured anew under a driver: what was added is gone, as HAProxy does it, and everything goes on, though
/// the backends have other numbers now.
async fn a_new_configuration_is_taken_up() -> Verdict {
    let haproxy = Haproxy::start(WEB_AND_SHOP)?;
    let switch = connect(&haproxy.url("")).await?;
    call(&*switch, Primitive::Add(plain(0))).await?;
    let haproxy = haproxy.restart(&format!("backend before\n  balance roundrobin\n{WEB_AND_SHOP}"))?;
    let listing = switch.list(&Filter::default()).await?;
    expect(format!("{listing:?}"), listing.bindings.is_empty() && listing.services.len() == 2)?;
    call(&*switch, Primitive::Add(plain(0))).await?;
    expect(format!("{:?}", haproxy.servers("web")?), haproxy.servers("web")?.len() == 1)?;
    let _smaller = haproxy.restart("backend web\n  balance roundrobin\n")?;
    let listing = switch.list(&Filter::default()).await;
    expect(format!("{listing:?}"), matches!(&listing, Err(AcmError::Invalid { field, .. }) if field == "vip"))
}

/// Two drivers that add the same at the same time make one binding.
async fn two_drivers() -> Verdict {
    let haproxy = Haproxy::start(WEB_AND_SHOP)?;
    let (one, other) = (connect(&haproxy.url("")).await?, connect(&haproxy.url("")).await?);
    for _ in 0..20 {
        let add = || Primitive::Add(plain(0));
        let (a, b) = tokio::join!(call(&*one, add()), call(&*other, add()));
        let (a, b): (Done, Done) = (a?, b?);
        expect(format!("{a:?} {b:?}"), a.binding == b.binding)?;
        let servers = haproxy.servers("web")?;
        expect(format!("{servers:?}"), servers.len() == 1)?;
        call(&*one, force(0)).await?;
    }
    Ok(())
}

/// What HAProxy refuses is told in its own words, and changes nothing.
async fn refusals_are_in_its_words() -> Verdict {
    let haproxy = Haproxy::start(&WEB_AND_SHOP.replace("balance leastconn", "balance static-rr"))?;
    let switch = connect(&haproxy.url("")).await?;
    let fixed = call(&*switch, Primitive::Add(Add { service: plan().services[1], ..plain(0) })).await;
    let words = fixed.as_ref().err().map(ToString::to_string).unwrap_or_default();
    expect(
        format!("{fixed:?}"),
        matches!(fixed, Err(AcmError::Unsupported { .. })) && words.contains("dynamic load balancing"),
    )?;
    let reader = connect(&haproxy.url("").replace("admin.sock", "operator.sock")).await?;
    let denied = call(&*reader, Primitive::Add(plain(0))).await;
    let words = denied.as_ref().err().map(ToString::to_string).unwrap_or_default();
    expect(format!("{denied:?}"), matches!(denied, Err(AcmError::Forbidden { .. })) && words.contains("level admin"))?;
    call(&*switch, Primitive::Add(plain(0))).await?;
    let seen = reader.list(&Filter::default()).await?.bindings.len();
    expect(format!("{seen} rows"), seen == 1)?;
    let elsewhere: ServiceKey = "198.18.1.102:80".parse()?;
    let unmapped = call(&*switch, Primitive::Add(Add { service: elsewhere, ..plain(0) })).await;
    expect(
        format!("{unmapped:?}"),
        matches!(&unmapped, Err(AcmError::Unsupported { feature: Feature::Services, why }) if why.contains("vip=198.18.1.102:80=")),
    )?;
    let absent = connect(&haproxy.url("&vip=198.18.1.103:80=nosuch")).await.err();
    expect(
        format!("{absent:?}"),
        matches!(&absent, Some(AcmError::Invalid { field, why }) if field == "vip" && why.contains("shop, web")),
    )
}

/// The verbs of the command line, over HAProxy's TCP socket.
async fn verbs() -> Verdict {
    let haproxy = Haproxy::start(WEB_AND_SHOP)?;
    let _sockets = Sockets::new(&plan().reals)?;
    let vip = "198.18.1.100:80";
    let url = format!("tcp://127.0.0.1:9999?driver=haproxy&vip={vip}=web");
    let acm = async |words: &[&str]| {
        let mut command = tokio::process::Command::new(ACM);
        command.args(words).args(["--switch", &url]);
        let output = command.output().await?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        match output.status.success() {
            true => Ok(text),
            false => Err::<String, Failed>(format!("{words:?}: {text}").into()),
        }
    };
    let real = "198.18.3.11:8080";
    let added = acm(&["add", vip, real, "--weight", "2", "--wait", "10s"]).await?;
    expect(&added, added.contains("added") && added.contains("active"))?;
    let listed = acm(&["list"]).await?;
    expect(&listed, listed.contains(real) && listed.contains("active") && listed.contains("operator"))?;
    let removed = acm(&["remove", vip, real, "--wait", "10s"]).await?;
    expect(format!("{removed} {:?}", haproxy.servers("web")?), haproxy.servers("web")?.is_empty())?;
    let refused = acm(&["drop", vip, "0.5"]).await;
    let words = refused.err().map(|why| format!("{why:?}")).unwrap_or_default();
    expect(&words, words.contains("this switch cannot do drop"))
}

/// `acm conformance` against HAProxy.
async fn judge_by_command(url: &str, more: &[&str]) -> Result<(Option<i32>, String, String), Failed> {
    let mut command = tokio::process::Command::new(ACM);
    command.args(["conformance", "--driver", "haproxy", "--target", url]).args(more);
    let output = command.output().await?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok((output.status.code(), text(&output.stdout), text(&output.stderr)))
}

/// The command passes, says what HAProxy cannot do, and leaves everything as it was.
async fn judged_by_the_command() -> Verdict {
    let foreign = "backend web\n  balance roundrobin\n  server static 198.18.3.12:8080\n";
    let haproxy = Haproxy::start(&WEB_AND_SHOP.replace("backend web\n  balance roundrobin\n", foreign))?;
    let (code, out, err) = judge_by_command(&haproxy.url(""), &["--report", "json"]).await?;
    expect(format!("{code:?} {out} {err}"), code == Some(0))?;
    let report: serde_json::Value = serde_json::from_str(&out)?;
    let counts = &report["counts"];
    expect(
        &out,
        counts["failed"] == 0 && counts["passed"].as_u64() > Some(30) && counts["cannot"].as_u64() > Some(15),
    )?;
    let cannot = report["cannot"].as_array().cloned().unwrap_or_default();
    expect(&out, cannot.contains(&"leases".into()) && !cannot.contains(&"force-remove".into()))?;
    // Somebody's server is there, so somebody may manage it.
    let fencing = report["cases"].as_array().into_iter().flatten().filter(|case| case["about"] == "fencing");
    expect(&out, fencing.into_iter().all(|case| case["outcome"] == "skipped"))?;
    let left = [haproxy.servers("web")?, haproxy.servers("shop")?];
    expect(format!("{left:?}"), left == [vec!["static".to_owned()], vec![]])?;
    let (code, _, err) = judge_by_command(&haproxy.url(""), &["--real", "198.18.3.12:8080"]).await?;
    expect(&err, code == Some(1) && err.contains("--real") && err.contains("already"))?;
    let (code, _, err) = judge_by_command(&haproxy.url(""), &["--vip", "198.18.1.199:80"]).await?;
    expect(&err, code == Some(1) && err.contains("--vip") && err.contains("198.18.1.199:80=BACKEND"))
}

/// A box that ignores weights fails where weights matter, and the report shows what was said.
async fn a_failure_comes_with_its_transcript() -> Verdict {
    let haproxy = Haproxy::start(WEB_AND_SHOP)?;
    let directory = tempfile::tempdir()?;
    let real = haproxy.directory.path().join("admin.sock");
    let is_weight = |command: &&str| command.starts_with("set server") && command.contains(" weight ");
    let deaf = move |line: &str| {
        let mut wire = std::os::unix::net::UnixStream::connect(&real).ok()?;
        let heard: Vec<_> = line.trim().split(';').filter(|said| !is_weight(said)).collect();
        wire.write_all(format!("{}\n", heard.join(";")).as_bytes()).ok()?;
        let mut answer = Vec::new();
        wire.read_to_end(&mut answer).ok()?;
        Some(answer)
    };
    let url = impostor(directory.path(), deaf)?.replace("10.0.0.100", "198.18.1.100");
    let filter = ["--filter", "changes options", "--filter", "add is idempotent"];
    let (code, out, err) = judge_by_command(&url, &filter).await?;
    expect(format!("{out}{err}"), code == Some(1) && err.contains("1 of 2 cases failed"))?;
    for part in [
        "passed   Add is idempotent",
        "FAILED   Add changes options",
        "1 passed, 0 cannot be done by this box, 0 skipped, 1 failed",
        "| call: {\"op\":\"add\"",
        "| > set server web/acm-198.18.0.11-8080:operator:none weight 5",
        "| answer: {\"generation\"",
    ] {
        expect(format!("`{part}` is not in\n{out}"), out.contains(part))?;
    }
    let (_, out, _) = judge_by_command(&url, &[&filter[..], &["--report", "junit"]].concat()).await?;
    let document = roxmltree::Document::parse(out.trim())?;
    let failures: Vec<_> = document.descendants().filter(|node| node.has_tag_name("failure")).collect();
    expect(&out, failures.len() == 1 && failures[0].text().is_some_and(|text| text.contains("> set server web/")))
}

/// A box that dies under the suite: the report says where, and what was not run.
async fn a_box_that_dies_is_reported() -> Verdict {
    let haproxy = Haproxy::start(WEB_AND_SHOP)?;
    let directory = tempfile::tempdir()?;
    let real = haproxy.directory.path().join("admin.sock");
    let left = std::sync::atomic::AtomicU32::new(40);
    let mortal = move |line: &str| {
        if left.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1)).is_err() {
            return Some(vec![]);
        }
        let mut wire = std::os::unix::net::UnixStream::connect(&real).ok()?;
        wire.write_all(line.as_bytes()).ok()?;
        let mut answer = Vec::new();
        wire.read_to_end(&mut answer).ok()?;
        Some(answer)
    };
    let url = impostor(directory.path(), mortal)?.replace("10.0.0.100", "198.18.1.100");
    let (code, out, err) = judge_by_command(&url, &["--report", "json"]).await?;
    expect(format!("{code:?} {err}"), code == Some(1) && err.contains("cases failed"))?;
    let report: serde_json::Value = serde_json::from_str(&out)?;
    let cases = report["cases"].as_array().cloned().unwrap_or_default();
    let first = cases.iter().position(|case| case["outcome"] == "failed").ok_or("nothing failed")?;
    expect(&out, cases[first]["transcript"].to_string().contains("hung up without a word"))?;
    let last = cases.iter().rposition(|case| case["outcome"] == "failed").unwrap_or_default();
    let rest = &cases[last + 1..];
    expect(&out, first > 1 && !rest.is_empty() && rest.iter().all(|case| case["outcome"] == "skipped"))
}

/// A socket that answers every connection with these bytes; `None`: with nothing, and without an end.
fn impostor(directory: &Path, answer: impl Fn(&str) -> Option<Vec<u8>> + Send + 'static) -> Result<String, Failed> {
    let path = directory.join("impostor.sock");
    let listener = std::os::unix::net::UnixListener::bind(&path)?;
    std::thread::spawn(move || {
        for wire in listener.incoming().flatten() {
            let mut wire = std::io::BufReader::new(wire);
            let mut line = String::new();
            let _ = std::io::BufRead::read_line(&mut wire, &mut line);
            match answer(&line) {
                Some(bytes) => drop(wire.get_mut().write_all(&bytes)),
                None => while wire.get_mut().write_all(&[b'x'; 65_536]).is_ok() {},
            }
        }
    });
    Ok(format!("unix:{}?driver=haproxy&vip=10.0.0.100:80=web", path.display()))
}

/// HAProxy 2.4 is refused, with a remedy.
async fn an_old_version_is_refused() -> Verdict {
    let directory = tempfile::tempdir()?;
    let old = b"\nName: HAProxy\nVersion: 2.4.22-f8e3218\nCumConns: 5\n\n".to_vec();
    let refused = connect(&impostor(directory.path(), move |_| Some(old.clone()))?).await.err();
    let words = refused.as_ref().map(ToString::to_string).unwrap_or_default();
    expect(
        &words,
        words.contains("2.4.22") && words.contains("2.6") && matches!(refused, Some(AcmError::Invalid { .. })),
    )
}

/// Whatever is at the other end: an error, soon, with bounded memory, and no panic.
async fn impostors_are_noticed() -> Verdict {
    let answers: [(&str, Option<Vec<u8>>); 5] = [
        ("nothing", Some(vec![])),
        ("noise", Some((0..=255).cycle().take(70_000).collect())),
        ("another server", Some(b"HTTP/1.1 400 Bad Request\r\nServer: x\r\n\r\n".to_vec())),
        ("half an answer", Some(b"\nName: HAProxy\nVersion: 2.".to_vec())),
        ("an endless answer", None),
    ];
    for (what, answer) in answers {
        let directory = tempfile::tempdir()?;
        let url = impostor(directory.path(), move |_| answer.clone())?;
        let refused = tokio::time::timeout(Duration::from_secs(15), connect(&url)).await?.err();
        expect(format!("{what}: {refused:?}"), matches!(refused, Some(AcmError::Unreachable { .. })))?;
    }
    // It is HAProxy, but its tables never agree.
    let directory = tempfile::tempdir()?;
    let lying = |line: &str| {
        let table = "# pxname,svname,iid,sid,type,scur,qcur,stot,\nweb,BACKEND,3,0,1,0,0,0,\n";
        let text = match line {
            line if line.contains("show info") => "\nName: HAProxy\nVersion: 2.6.12\nCumConns: 5\n\n".to_owned(),
            line if line.contains("servers state") => format!("\n1\n# srv_id srv_name\n7 x\n\n{table}\n"),
            _ => format!("\n{table}\n"),
        };
        Some(text.into_bytes())
    };
    let switch = connect(&impostor(directory.path(), lying)?).await?;
    let listed = switch.list(&Filter::default()).await;
    expect(
        format!("{listed:?}"),
        matches!(&listed, Err(AcmError::Unreachable { why }) if why.contains("one table only")),
    )?;
    let absent = connect("unix:/nowhere/at/all.sock?driver=haproxy&vip=10.0.0.100:80=web").await.err();
    expect(format!("{absent:?}"), matches!(absent, Some(AcmError::Unreachable { .. })))
}

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // Two cores, and every HAProxy wants its share of them.
    arguments.test_threads = Some(1);
    let obstacle = if arguments.list { None } else { obstacle() };
    if let Some(why) = &obstacle {
        eprintln!("ignored, because {why}");
    }
    macro_rules! real {
        ($($test:ident),*) => { vec![$(with_haproxy(stringify!($test), obstacle.as_deref(), $test)),*] };
    }
    let mut trials = real![
        conformance,
        drain_under_traffic,
        remove_of_an_idle_server_deletes_it,
        force_remove_cuts,
        nothing_before_the_check,
        weights,
        foreign_servers_stay,
        maintenance_is_respected,
        persistence,
        many,
        two_drivers,
        a_new_configuration_is_taken_up,
        refusals_are_in_its_words,
        verbs,
        judged_by_the_command,
        a_failure_comes_with_its_transcript,
        a_box_that_dies_is_reported
    ];
    trials.push(Trial::test("an_old_version_is_refused", || on_a_runtime(an_old_version_is_refused())));
    trials.push(Trial::test("impostors_are_noticed", || on_a_runtime(impostors_are_noticed())));
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// Why HAProxy cannot be tried here, if it cannot.
fn obstacle() -> Option<String> {
    let version = Command::new(binary()).arg("-v").output();
    match version {
        Err(why) => return Some(format!("`{}` cannot be run: {why}; install haproxy", binary().display())),
        Ok(output) if !output.status.success() => return Some(format!("`{} -v` fails", binary().display())),
        Ok(_) => {}
    }
    netns::prepare().err()
}

/// A test in a namespace whose loopback has all addresses of 198.18.0.0/15 (RFC 2544).
fn with_haproxy<T>(name: &str, obstacle: Option<&str>, test: impl FnOnce() -> T + Send + 'static) -> Trial
where
    T: Future<Output = Verdict>,
{
    let kind = obstacle.map_or(String::new(), |why| format!("cannot run: {why}"));
    let in_namespace = move || {
        let namespace = netns::Namespace::new()?;
        namespace.address("lo", [198, 18, 0, 1], 15)?;
        namespace.run(|| on_a_runtime(test()))
    };
    Trial::test(name, in_namespace).with_ignored_flag(obstacle.is_some()).with_kind(kind)
}

fn on_a_runtime(test: impl Future<Output = Verdict>) -> Verdict {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(test)
}
