//! The client module end to end: a real switch, managers, agents and services as processes in the namespaces of a lab,
//! over real multicast.
//!
//! Where namespaces cannot be made, every test is reported as ignored, with the reason. Timings are printed; the bounds
//! here are generous, because a test machine may be busy.

#![allow(missing_docs, clippy::disallowed_methods)]

mod field;
mod operator;
mod service;

use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::Duration;

use libtest_mimic::{Arguments, Failed, Trial};
use serde_json::Value;

use field::{ACM, Field, expect, until};

type Outcome = Result<(), Failed>;
type Named = (&'static str, fn() -> Outcome);

const RUN_WEB: &[&str] = &["acm", "run", "--bind", "web", "--drain", "10s"];

/// A command line of `acm run` for a server of this name.
fn run_web<'a>(more: &[&'a str], name: &'a str, way: &'a str, me: &'a str) -> Vec<&'a str> {
    [RUN_WEB, more, &["--", me, "service", way, name]].concat()
}

fn me() -> String {
    std::env::current_exe().expect("this program has a path").to_string_lossy().into_owned()
}

/// From the start of the process to the first answer through the switch.
fn first_request() -> Outcome {
    let mut field = Field::with_manager(2)?;
    let me = me();
    let mut took = Vec::new();
    for (node, way) in [("s1", "socket"), ("s2", "socket")] {
        let poll = field.poll()?;
        let start = field::now_us();
        let service = field.start(node, &run_web(&["--pass", "socket"], node, way, &me))?;
        let first = field::first_answer(poll)?;
        let took_ms = (first.saturating_sub(start)) as f64 / 1000.0;
        println!("start of the process to its first answer through the switch: {took_ms:.1} ms");
        took.push(took_ms);
        expect("the service ends with 0", field.stop(service)? == Some(0))?;
    }
    expect(&format!("{took:?} ms"), took.iter().all(|ms| *ms < 2000.0))
}

/// Servers of every kind are told to end and started anew under load: no request is lost.
fn nothing_is_lost() -> Outcome {
    let mut field = Field::with_manager(3)?;
    let me = me();
    let python = format!("{}/examples/python/server.py", env!("CARGO_MANIFEST_DIR"));
    let mut lines = vec![
        ("s1", run_web(&["--instances", "2"], "s1", "port", &me)),
        ("s2", run_web(&["--pass", "socket"], "s2", "socket", &me)),
        ("s3", vec![me.as_str(), "service", "library", "s3"]),
    ];
    if has_python() {
        lines.push(("s1", vec!["python3", python.as_str(), "py"]));
    } else {
        println!("without the Python module: no python3 with tomllib here");
    }
    let mut services = Vec::new();
    for (node, line) in &lines {
        services.push(field.start(node, line)?);
    }
    let all = lines.len() + 1;
    field.until_active(all)?;
    let loads = [field.load(&["--requests-per-connection", "50", "--workers", "4"])?, field.load(&["--workers", "4"])?];
    for round in 0..2 {
        for (n, (node, line)) in lines.iter().enumerate() {
            let ended = field.stop(std::mem::replace(&mut services[n], field::nothing()))?;
            expect(&format!("round {round}: {line:?} ended with {ended:?}"), ended == Some(0))?;
            services[n] = field.start(node, line)?;
            field.until_active(all)?;
        }
    }
    let ledgers = loads.map(field::final_ledger);
    let mut served = std::collections::BTreeSet::new();
    let mut requests = 0;
    for ledger in ledgers {
        let ledger = ledger?;
        for fate in ["refused", "connect_timeouts", "reset", "timeouts", "other"] {
            expect(&format!("{fate}: {ledger}"), ledger[fate] == 0)?;
        }
        requests += ledger["ok"].as_u64().unwrap_or(0);
        served.extend(ledger["by_server"].as_object().into_iter().flat_map(|by| by.keys().cloned()));
    }
    println!("{requests} requests while {} services were restarted twice each: none lost", lines.len());
    expect(&format!("{served:?} served"), served.len() == lines.len())?;
    expect(&format!("{requests} requests are too few"), requests > 1000)
}

fn has_python() -> bool {
    Command::new("python3").args(["-c", "import tomllib"]).output().is_ok_and(|output| output.status.success())
}

/// `kill -9` of the command: out of service at once, and back when it runs again.
fn a_dead_command_is_taken_out() -> Outcome {
    let mut field = Field::with_manager(2)?;
    let me = me();
    let _other = field.start("s2", &run_web(&[], "s2", "port", &me))?;
    let service = field.start("s1", &run_web(&[], "s1", "port", &me))?;
    field.until_active(2)?;
    let child = field::child_of(service.id())?;
    let killed = field::now_us();
    field::kill(child, rustix::process::Signal::KILL)?;
    until("it is out of service", Duration::from_secs(5), || Ok(field.active()? < 2))?;
    println!("kill -9 to out of service, as seen by List: {:.1} ms", (field::now_us() - killed) as f64 / 1000.0);
    field.until_active(2)?;
    let again = field::child_of(service.id())?;
    expect("another process runs", again != child)?;
    expect("it ends with 0", field.stop(service)? == Some(0))?;
    expect("and is not bound any more", field.active()? == 1)
}

/// A whole server dies, its agent too. A peer that had a connection to it says so.
fn a_dead_server_is_reported_by_its_peer() -> Outcome {
    let mut field = Field::with_manager(3)?;
    let me = me();
    let _third = field.start("s3", &run_web(&[], "s3", "port", &me))?;
    let service = field.start("s1", &run_web(&[], "s1", "port", &me))?;
    field.until_active(2)?;
    let real = field.real_at("10.0.0.11")?;
    let _witness = field.start("s2", &[&me, "service", "witness", &real])?;
    field.until_active(3)?;
    std::thread::sleep(Duration::from_millis(100));
    let child = field::child_of(service.id())?;
    let killed = field::now_us();
    // The command dies with it.
    field::kill(service.id(), rustix::process::Signal::KILL)?;
    let is_gone = || Ok(!Path::new(&format!("/proc/{child}/fd/0")).is_symlink());
    until("the command has died with its agent", Duration::from_secs(5), is_gone)?;
    until("it is out of service", Duration::from_secs(5), || Ok(field.active()? < 3))?;
    let took_ms = (field::now_us() - killed) as f64 / 1000.0;
    println!("kill -9 of server and agent to out of service, reported by a peer: {took_ms:.1} ms");
    expect(&field.log()?, field.log()?.contains("the peer is gone"))
}

/// An operator's command, over the same control plane: drained, restarted, in force again, once for each roll.
fn an_operator_restarts_it() -> Outcome {
    let mut field = Field::with_manager(2)?;
    let me = me();
    let _other = field.start("s2", &run_web(&[], "s2", "port", &me))?;
    let service = field.start("s1", &run_web(&[], "s1", "port", &me))?;
    field.until_active(2)?;
    let load = field.load(&["--requests-per-connection", "50", "--workers", "4"])?;
    let real = field.real_at("10.0.0.11")?;
    let command = |roll: &str| -> Result<(String, u32), Failed> {
        let output = field.exec("s2", &[&me, "operator", &field.path("operators").to_string_lossy(), &real, roll])?;
        Ok((field::text(&output), field::child_of(service.id())?))
    };
    let before = field::child_of(service.id())?;
    let (said, first) = command("71")?;
    expect(&said, said.contains("71 done") && first != before)?;
    let (said, again) = command("71")?;
    expect(&said, said.contains("71 done") && again == first)?;
    let (said, second) = command("72")?;
    expect(&said, said.contains("72 done") && second != first)?;
    let ledger = field::final_ledger(load)?;
    let lost = ["refused", "connect_timeouts", "reset", "timeouts", "other"].iter().any(|fate| ledger[fate] != 0);
    expect(&format!("{ledger}"), !lost && ledger["ok"].as_u64() > Some(100))
}

/// The health command decides.
fn a_failing_health_command_takes_it_out() -> Outcome {
    let mut field = Field::with_manager(2)?;
    let me = me();
    let flag = field.path("well");
    let check = format!("test -e {} && echo $PORT >&2", flag.display());
    let _other = field.start("s2", &run_web(&[], "s2", "port", &me))?;
    let _service = field.start("s1", &run_web(&["--health-command", &check], "s1", "port", &me))?;
    field.until_active(1)?;
    std::thread::sleep(Duration::from_millis(500));
    expect("not announced before it is well", field.active()? == 1)?;
    std::fs::write(&flag, "")?;
    field.until_active(2)?;
    std::fs::remove_file(&flag)?;
    field.until_active(1)?;
    std::fs::write(&flag, "")?;
    field.until_active(2)
}

/// UDP, by the library and by `acm run`.
fn udp() -> Outcome {
    let mut field = Field::with_manager(2)?;
    let me = me();
    let datagrams = ["acm", "lab", "node", "datagrams", "--target", "10.0.0.101:7", "--count", "200"];
    let lines = [
        ("s1", vec![me.as_str(), "service", "library-udp", "s1"]),
        ("s2", vec!["acm", "run", "--bind", "echo=10.0.0.101:7/udp", "--", &me, "service", "port-udp", "s2"]),
    ];
    for (node, line) in lines {
        let service = field.start(node, &line)?;
        field.until_active(1)?;
        let output = field.exec("client", &datagrams)?;
        expect(&field::text(&output), output.status.success())?;
        // UDP drains until a flow is idle; the deadline is what ends it here.
        expect("it ends with 0", field.stop(service)? == Some(0))?;
        field.until_active(0)?;
    }
    Ok(())
}

/// No manager: the command runs all the same, and ends when it is told to.
fn without_a_manager() -> Outcome {
    let mut field = Field::new(1)?;
    let me = me();
    let mut service = field.start("s1", &run_web(&[], "s1", "port", &me))?;
    std::thread::sleep(Duration::from_millis(3500));
    expect("it runs", service.try_wait()?.is_none())?;
    let began = field::now_us();
    expect("it ends with 0", field.stop(service)? == Some(0))?;
    let took = (field::now_us() - began) / 1000;
    expect(&format!("it took {took} ms to end"), took < 3000)?;
    let log = field.log()?;
    expect(&format!("it says so: {log}"), log.contains("no manager answers"))
}

/// A manager inside `acm run`: it leads, and goes on until the command is taken back.
fn a_manager_inside() -> Outcome {
    let mut field = Field::new(1)?;
    let me = me();
    let manager = field.path("manager.toml").display().to_string();
    let service = field.start("s1", &run_web(&["--manager", &manager], "s1", "port", &me))?;
    field.until_active(1)?;
    let began = field::now_us();
    expect("it ends with 0", field.stop(service)? == Some(0))?;
    let took = (field::now_us() - began) / 1000;
    expect(&format!("it took {took} ms to end"), took < 5000)?;
    expect("it was taken back", field.active()? == 0)
}

/// Exit codes, and what is told of a wrong command line.
fn exit_codes() -> Outcome {
    let field = Field::new(1)?;
    for (line, code) in [
        (&["--restart", "never", "--", "sh", "-c", "exit 3"][..], 3),
        (&["--", "true"][..], 0),
        (&["--", "/nonexistent/server"][..], 127),
        (&["--pass", "socket", "--", "/nonexistent/server"][..], 127),
        (
            &[
                "--pass",
                "socket",
                "--restart",
                "never",
                "--",
                "sh",
                "-c",
                "test $LISTEN_FDS$LISTEN_FDNAMES$LISTEN_PID = 1web$$ || exit 9",
            ][..],
            0,
        ),
        (&["--instances", "2", "--restart", "never", "--", "sh", "-c", "exit $((ACM_INSTANCE * 5))"][..], 5),
        (&["--bind", "nothing", "--", "true"][..], 1),
        (&["--instances", "0", "--", "true"][..], 2),
        (&["--bind", "web", "--", "true"][..], 2),
    ] {
        let words = [&["timeout", "20", ACM], &RUN_WEB[1..], line].concat();
        let output = field.exec("s1", &words)?;
        expect(
            &format!("{line:?}: {:?}: {}", output.status, field::text(&output)),
            output.status.code() == Some(code),
        )?;
    }
    Ok(())
}

/// The Python module's own tests.
fn python() -> Outcome {
    let test = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/python/test_acm.py");
    let output = Command::new("python3").arg(test).output()?;
    expect(&field::text(&output), output.status.success())
}

/// Why namespaces cannot be made here, if they cannot.
fn obstacle() -> Option<String> {
    let up = Command::new(ACM).args(["lab", "up", "--servers", "1", "--json"]).output();
    match up {
        Ok(output) if output.status.success() => {
            let lab: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
            let _ = Command::new(ACM).args(["lab", "down", "--lab", &lab["pid"].to_string()]).output();
            None
        }
        Ok(output) => Some(field::text(&output)),
        Err(why) => Some(why.to_string()),
    }
}

fn main() -> ExitCode {
    let words: Vec<_> = std::env::args().skip(1).collect();
    let words: Vec<_> = words.iter().map(String::as_str).collect();
    match &words[..] {
        ["service", way, name] => return service::main(way, name),
        ["poll", target] => return field::poll_main(target),
        ["operator", words @ ..] => return operator::main(words),
        _ => {}
    }
    let mut arguments = Arguments::from_args();
    // Two cores: labs beside one another would measure each other.
    arguments.test_threads = Some(1);
    let in_a_lab: &[Named] = &[
        ("first_request", first_request),
        ("nothing_is_lost", nothing_is_lost),
        ("a_dead_command_is_taken_out", a_dead_command_is_taken_out),
        ("a_failing_health_command_takes_it_out", a_failing_health_command_takes_it_out),
        ("udp", udp),
        ("without_a_manager", without_a_manager),
        ("a_manager_inside", a_manager_inside),
        ("a_dead_server_is_reported_by_its_peer", a_dead_server_is_reported_by_its_peer),
        ("an_operator_restarts_it", an_operator_restarts_it),
        ("exit_codes", exit_codes),
    ];
    let obstacle = if arguments.list { None } else { obstacle() };
    if let Some(why) = &obstacle {
        eprintln!("ignored, because the lab cannot be made here: {}", why.trim());
    }
    let has_python = has_python();
    if !has_python {
        eprintln!("python is ignored: no python3 with tomllib (3.11) here");
    }
    let mut trials: Vec<_> =
        in_a_lab.iter().map(|(name, test)| Trial::test(*name, test).with_ignored_flag(obstacle.is_some())).collect();
    trials.push(Trial::test("python", python).with_ignored_flag(!has_python));
    libtest_mimic::run(&arguments, trials).exit_code()
}
