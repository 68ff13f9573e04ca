//! Unlike switches under real managers: our own switch, an emulated ServerIron at the pace of the device with its
//! faults, and a real HAProxy; two `acm manager` processes, agents, all in network namespaces and over real multicast
//! that our own switch bridges.
//!
//! ```text
//!   m1, m2: acm manager ----+
//!   host: agents, servers --+-- acm switch (bridges; owns 10.9.0.100)
//!         HAProxy           |
//!   iron: ServerIron -------+
//! ```
//!
//! `ACM_UNPLUG=60s` sets how long a switch is unplugged (default 10 s). Without namespaces everything, and without
//! HAProxy what needs it, is reported as ignored, with the reason.

#![allow(missing_docs, clippy::disallowed_methods)]

#[path = "../manager_sim/agent.rs"]
mod agent;
#[path = "../support/agents.rs"]
mod agents;
mod haproxy;
#[path = "../ironware/mod.rs"]
mod ironware;
#[path = "../support/netns.rs"]
mod netns;
mod site;

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use acm_switch::beacon::message::{Answer, Withdrawal};
use libtest_mimic::{Arguments, Failed, Trial};
use site::{ALL, Site, Timers, Which};

type Verdict = Result<(), Failed>;

/// On two busy cores; the promised time is printed beside what was measured.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) fn expect(what: impl std::fmt::Display, holds: bool) -> Verdict {
    if holds { Ok(()) } else { Err(what.to_string().into()) }
}

/// Waits until it holds; how long that took.
pub(crate) fn until(what: &str, patience: Duration, mut holds: impl FnMut() -> bool) -> Result<Duration, Failed> {
    let begin = Instant::now();
    while !holds() {
        if begin.elapsed() > patience {
            return Err(format!("not within {patience:?}: {what}").into());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(begin.elapsed())
}

fn unplugged_for() -> Duration {
    let text = std::env::var("ACM_UNPLUG").ok();
    text.and_then(|text| humantime::parse_duration(&text).ok()).unwrap_or(Duration::from_secs(10))
}

/// All switches come to what the agents want, whatever each lacks; and say what they lack.
fn unlike_switches_converge() -> Verdict {
    let mut site = Site::start(Timers::Fast, &ALL)?;
    let agents = site.agents(3);
    let took = until("all three have all three", PATIENCE, || site.all_have(&[0, 1, 2]))?;
    println!("three bindings are on three unlike switches after {took:?}");
    for agent in &agents {
        until("the agent has its answers", PATIENCE, || agent.is_acknowledged())?;
    }
    let report = site.report().ok_or("no manager answers")?;
    let leader = report["managers"].as_array().and_then(|all| all.iter().find(|one| one["role"] == "leading"));
    let rows = leader.and_then(|leader| leader["switches"].as_array()).ok_or("no leader")?;
    let by_name: BTreeMap<_, _> = rows.iter().map(|row| (row["name"].as_str().unwrap_or_default(), row)).collect();
    expect("our switch keeps an epoch", by_name["acm"]["epoch"].as_u64() >= Some(1))?;
    for name in ["iron", "haproxy"] {
        expect(format!("{name} keeps none"), by_name[name]["epoch"].is_null())?;
    }
    let why = by_name["iron"]["why"].as_str().unwrap_or_default();
    expect(format!("what the ServerIron lacks is said: `{why}`"), why.contains("checks"))?;
    expect("no secret is told", !report.to_string().contains("0123456789abcdef"))?;

    // One leaves with a deadline: each switch keeps it in its way, or says that it cannot.
    agents[2].withdraw(Withdrawal::Drain { deadline: Some(Duration::from_secs(1)) });
    until("its farewell is answered", PATIENCE, || agents[2].is_acknowledged())?;
    for (switch, says) in [("acm", None), ("haproxy", Some("the manager does")), ("iron", Some("deadline"))] {
        let row = agents[2].answer_of(switch).ok_or(format!("no answer of {switch}"))?;
        expect(format!("{switch}: {row:?}"), matches!(row.answer, Answer::Done | Answer::NotFound))?;
        let note = row.note.map(|note| note.to_string()).unwrap_or_default();
        expect(format!("{switch} says {says:?}: `{note}`"), says.is_none_or(|says| note.contains(says)))?;
    }
    until("it is gone everywhere", PATIENCE, || site.all_have(&[0, 1]))?;
    site.ends_well()
}

/// A connection that outlives a deadline is cut by the manager where the switch keeps no deadline.
fn a_deadline_is_kept_for_a_switch_that_keeps_none() -> Verdict {
    let site = Site::start(Timers::Fast, &[Which::Haproxy])?;
    let agents = site.agents(2);
    until("both are there", PATIENCE, || site.all_have(&[0, 1]))?;
    // More than one connection, so that each server has some.
    let mut held: Vec<site::Client> = Vec::new();
    until("both have connections", PATIENCE, || {
        held = (0..4).filter_map(|_| site.client().ok()).filter(|one| one.greeting().is_some()).collect();
        let reached = |n| held.iter().any(|one| one.greeting() == Some(&site::real(n).to_string()));
        reached(0) && reached(1)
    })?;
    agents[1].withdraw(Withdrawal::Drain { deadline: Some(Duration::from_secs(2)) });
    let begin = Instant::now();
    let its = |one: &&site::Client| one.greeting().is_some_and(|greeting| greeting == site::real(1).to_string());
    let until_cut =
        until("what is left at the deadline is cut", PATIENCE, || held.iter().filter(its).all(|one| one.is_over()))?;
    expect(format!("not before the deadline: {until_cut:?}"), begin.elapsed() >= Duration::from_millis(1900))?;
    expect("others are not", held.iter().filter(|one| !its(one)).all(|one| !one.is_over()))?;
    until("then it is gone", PATIENCE, || site.all_have(&[0]))?;
    println!("connections left at a deadline of 2 s were cut after {until_cut:?}");
    Ok(())
}

/// One is unplugged for a while: the others are not delayed, and it is right again when it is back.
fn unplugged(which: Which) -> Verdict {
    let mut site = Site::start(Timers::Fast, &ALL)?;
    let mut agents = site.agents(2);
    until("all three have both", PATIENCE, || site.all_have(&[0, 1]))?;
    let others: Vec<_> = ALL.into_iter().filter(|other| *other != which).collect();
    let end = Instant::now() + unplugged_for();
    site.unplug(which)?;
    // The manager learns it in the middle of something.
    std::thread::sleep(Duration::from_millis(300));
    agents.push(site.agent(2));
    let came = until("the others have the third", PATIENCE, || site.have(&others, &[0, 1, 2]))?;
    agents[0].withdraw(Withdrawal::Drain { deadline: None });
    let went = until("the others have lost the first", PATIENCE, || site.have(&others, &[1, 2]))?;
    // Whether the ServerIron is one of the others or not: at its pace and with its faults.
    println!("{which:?} unplugged: a newcomer was on the others after {came:?}, one that left was gone after {went:?}");
    until("its absence is told", PATIENCE, || site.says_lost(which))?;
    std::thread::sleep(end.saturating_duration_since(Instant::now()));
    site.plug(which)?;
    let back = until("it is right again", PATIENCE, || site.have(&[which], &[1, 2]))?;
    until("and the others still", PATIENCE, || site.all_have(&[1, 2]))?;
    println!("{which:?} was unplugged for {:?} and is right {back:?} after its return", unplugged_for());
    // Promised are 2 s for our own; a busy machine may take as much again.
    expect(format!("{back:?}"), which != Which::Acm || back < Duration::from_secs(4))
}

/// The leader dies, stops or is cut off: a new Add is accepted soon, and nothing is removed.
fn takeover(timers: Timers) -> Verdict {
    let mut site = Site::start(timers, &[Which::Acm])?;
    let _agents = site.agents(2);
    let both = site.wait_for_leader()?;
    println!("the first leader is manager {both}");
    until("it has both", timers.promised() * 2, || site.all_have(&[0, 1]))?;
    let ids = site.ids()?;
    let ways: &[Way] = match timers {
        Timers::Fast => &[Way::Kill, Way::Stop, Way::CutOff],
        Timers::Normal => &[Way::Kill],
    };
    for way in ways {
        let leader = site.wait_for_leader()?;
        site.disturb(leader, *way)?;
        let begin = Instant::now();
        let third = site.agent(2);
        // Twice what is promised: other tests run beside this one, on few cores.
        until("a new Add is accepted", timers.promised() * 2, || third.is_acknowledged())?;
        println!("{way:?}: a new Add was accepted after {:?}; promised are {:?}", begin.elapsed(), timers.promised());
        expect("it is on the switch", site.all_have(&[0, 1, 2]))?;
        let now = site.ids()?;
        for (real, id) in &ids {
            expect(format!("{real} was never removed: {ids:?} became {now:?}"), now.get(real) == Some(id))?;
        }
        third.withdraw(Withdrawal::Drain { deadline: None });
        until("it leaves again", PATIENCE, || site.all_have(&[0, 1]))?;
        site.restore(leader, *way)?;
        site.wait_for_leader()?;
        std::thread::sleep(site::settled(timers));
        expect("its return removed nothing", site.ids()? == ids)?;
    }
    Ok(())
}

/// What happens to a leader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    Kill,
    Stop,
    CutOff,
}

/// Our switch is killed and started anew, and knows nothing.
fn a_switch_that_forgot_is_filled_again() -> Verdict {
    let mut site = Site::start(Timers::Fast, &[Which::Acm])?;
    let _agents = site.agents(3);
    until("it has all", PATIENCE, || site.all_have(&[0, 1, 2]))?;
    for _ in 0..3 {
        site.restart_switch()?;
        let took = until("it has all again", Duration::from_secs(4), || site.all_have(&[0, 1, 2]))?;
        println!("a switch that forgot everything was right {took:?} after it could be reached; promised are 2 s");
    }
    Ok(())
}

/// What an operator's slip does is undone within one period.
fn what_changes_behind_its_back_is_repaired() -> Verdict {
    let site = Site::start(Timers::Fast, &ALL)?;
    let _agents = site.agents(3);
    until("all have all", PATIENCE, || site.all_have(&[0, 1, 2]))?;
    for which in ALL {
        site.slip(which, 1)?;
        let took = until("it is repaired", Duration::from_secs(5), || site.have(&[which], &[0, 1, 2]))?;
        println!("{which:?}: a binding that somebody removed was back after {took:?}; the period is 1 s");
    }
    Ok(())
}

/// A flood of what means nothing: an Add is accepted meanwhile, nothing changes, everything is counted.
fn a_flood_delays_nothing() -> Verdict {
    let site = Site::start(Timers::Fast, &[Which::Acm])?;
    let agents = site.agents(2);
    until("it has both", PATIENCE, || site.all_have(&[0, 1]))?;
    let leader = site.wait_for_leader()?;
    let ids = site.ids()?;
    let recorded = agents[0].recorded();
    let lasts = Duration::from_secs(4);
    let flood = site.flood(recorded, lasts);
    std::thread::sleep(Duration::from_millis(500));
    let third = site.agent(2);
    let took = until("an Add is accepted in the flood", lasts, || third.is_acknowledged())?;
    let sent = flood.join().map_err(|_| "the flood broke")?;
    println!("{sent} datagrams in {lasts:?}; an Add in their midst was accepted after {took:?}");
    // Twice its way there, with the proof that it is no recording; the loop is late by a part of this.
    expect(format!("{took:?}"), took < Duration::from_secs(1))?;
    let counted = until("all causes are counted", PATIENCE, || {
        ["short", "long", "magic", "version", "bad-tag", "replayed"].iter().all(|cause| site.counted(leader, cause) > 0)
    });
    expect(format!("counted: {:?}", site.report()), counted.is_ok())?;
    expect("it led all the time", site.wait_for_leader()? == leader)?;
    let mut now = site.ids()?;
    now.remove(&site::real(2));
    expect(format!("nothing changed: {ids:?} became {now:?}"), now == ids)
}

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // Times are measured here; one at a time.
    arguments.test_threads.get_or_insert(1);
    let no_namespaces = if arguments.list { None } else { netns::prepare().err() };
    let no_haproxy = no_namespaces.clone().or_else(haproxy::obstacle);
    let trial = |name: &str, obstacle: &Option<String>, test: fn() -> Verdict| {
        let kind = obstacle.as_ref().map_or(String::new(), |why| format!("cannot run: {why}"));
        Trial::test(name, test).with_ignored_flag(obstacle.is_some()).with_kind(kind)
    };
    let trials = vec![
        trial("unlike switches converge", &no_haproxy, unlike_switches_converge),
        trial(
            "a deadline is kept for a switch that keeps none",
            &no_haproxy,
            a_deadline_is_kept_for_a_switch_that_keeps_none,
        ),
        trial("our switch is unplugged", &no_haproxy, || unplugged(Which::Acm)),
        trial("the ServerIron is unplugged", &no_haproxy, || unplugged(Which::Iron)),
        trial("HAProxy is unplugged", &no_haproxy, || unplugged(Which::Haproxy)),
        trial("what changes behind its back is repaired", &no_haproxy, what_changes_behind_its_back_is_repaired),
        trial("a fast takeover", &no_namespaces, || takeover(Timers::Fast)),
        trial("a takeover with the default timers", &no_namespaces, || takeover(Timers::Normal)),
        trial("a switch that forgot is filled again", &no_namespaces, a_switch_that_forgot_is_filled_again),
        trial("a flood delays nothing", &no_namespaces, a_flood_delays_nothing),
    ];
    libtest_mimic::run(&arguments, trials).exit_code()
}
