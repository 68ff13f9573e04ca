//! End to end, on real network namespaces, with the real binary: what a stranger would try.
//!
//! Where namespaces cannot be made, every test is reported as ignored, with the reason.

#![allow(missing_docs, clippy::disallowed_methods)]

#[path = "support/lab.rs"]
mod lab;

use std::io;
use std::process::{Command, ExitCode, Output, Stdio};
use std::time::{Duration, Instant};

use libtest_mimic::{Arguments, Failed, Trial};
use serde_json::Value;

use lab::{ACM, Lab, Outcome, VIP, acm, expect, number, obstacle, run, text};

/// A test's name and what it does.
type Named = (&'static str, fn() -> Outcome);

/// A client process of the lab, its ledger read at the end.
fn load(lab: &Lab, more: &[&str]) -> io::Result<std::process::Child> {
    let mut words = vec!["acm", "lab", "node", "load", "--target", VIP];
    words.extend(more);
    lab.command("client", &words).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()
}

/// Tells a load generator to stop and reads its final ledger.
fn final_ledger(mut load: std::process::Child) -> Result<Value, Failed> {
    drop(load.stdin.take());
    let output = load.wait_with_output()?;
    let last = String::from_utf8_lossy(&output.stdout).lines().last().unwrap_or_default().to_owned();
    let ledger: Value = serde_json::from_str(&last)?;
    match ledger["done"].as_bool() {
        Some(true) => Ok(ledger),
        _ => Err(format!("not a final ledger: {last}").into()),
    }
}

fn total_of(lab: &Lab, real: &str) -> Result<u64, Failed> {
    let listing = lab.verb(&["list", VIP])?;
    let rows = listing["bindings"].as_array().cloned().unwrap_or_default();
    Ok(rows.iter().find(|row| row["real"] == real).map_or(0, |row| number(row, "total")))
}

/// Servers are removed and added back 20 times under load: nothing is lost, nothing new after the acknowledgement.
fn remove_under_load() -> Outcome {
    let lab = Lab::up(3, &[])?;
    let kept_alive = load(&lab, &["--workers", "8", "--requests-per-connection", "100"])?;
    let short = load(&lab, &["--workers", "8"])?;
    for round in 0..20 {
        let real = format!("10.0.0.{}:8080", 11 + round % 3);
        lab.verb(&["remove", VIP, &real])?;
        // Acknowledged: the count may not grow any more. (The row, and its count, goes when it is drained.)
        let at_ack = total_of(&lab, &real)?;
        std::thread::sleep(Duration::from_millis(40));
        let later = total_of(&lab, &real)?;
        expect(&format!("round {round}: {at_ack} connections at the acknowledgement, {later} later"), later <= at_ack)?;
        lab.verb(&["add", VIP, &real, "--wait", "10s"])?;
        std::thread::sleep(Duration::from_millis(60));
    }
    let (kept_alive, short) = (final_ledger(kept_alive)?, final_ledger(short)?);
    for ledger in [&kept_alive, &short] {
        for fate in ["refused", "connect_timeouts", "reset", "timeouts", "other"] {
            expect(&format!("{fate}: {ledger}"), number(ledger, fate) == 0)?;
        }
    }
    let requests = number(&kept_alive, "ok") + number(&short, "ok");
    expect(&format!("{requests} requests are too few"), requests >= 10_000)
}

/// 1,000 held connections, those of one server cut off: both sides see it within 50 ms, others do not.
fn force_remove() -> Outcome {
    let lab = Lab::up(2, &[])?;
    // All but one server away, so that 1,000 connections are with s1.
    lab.verb(&["remove", VIP, "10.0.0.12:8080", "--wait", "5s"])?;
    let mut on_s1 = Holder::start(&lab, 1000)?;
    lab.verb(&["add", VIP, "10.0.0.12:8080", "--wait", "10s"])?;
    lab.verb(&["remove", VIP, "10.0.0.11:8080"])?;
    let mut on_s2 = Holder::start(&lab, 100)?;
    expect(
        &format!("{:?} {:?}", on_s1.held, on_s2.held),
        number(&on_s1.held["by_server"], "s1") == 1000 && number(&on_s2.held["by_server"], "s2") == 100,
    )?;
    let start = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_micros() as u64;
    let done = lab.verb(&["remove", VIP, "10.0.0.11:8080", "--force"])?;
    expect(&format!("cut {done}"), number(&done, "cut") == 1000)?;
    std::thread::sleep(Duration::from_millis(200));
    let after = on_s1.report()?;
    let took = number(&after, "last_reset_us").saturating_sub(start);
    expect(
        &format!("{after}"),
        number(&after["reset"], "s1") == 1000 && after["closed"].as_object().is_some_and(|map| map.is_empty()),
    )?;
    expect(&format!("the last reset came after {took} us, the call included"), took <= 50_000)?;
    let sockets = lab.exec("s1", &["cat", "/proc/net/tcp"])?;
    let open = String::from_utf8_lossy(&sockets.stdout).lines().filter(|line| line.contains(" 01 ")).count();
    expect(&format!("{open} sockets of s1 are still established"), open == 0)?;
    let others = on_s2.report()?;
    expect(&format!("{others}"), others["reset"].as_object().is_some_and(|map| map.is_empty()))
}

/// A client that holds connections.
struct Holder {
    child: std::process::Child,
    lines: io::Lines<io::BufReader<std::process::ChildStdout>>,
    held: Value,
}

impl Holder {
    fn start(lab: &Lab, connections: u32) -> Result<Holder, Failed> {
        use io::BufRead;
        let words = ["acm", "lab", "node", "hold", "--target", VIP, "--connections", &connections.to_string()];
        let mut child = lab.command("client", &words).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let stdout = child.stdout.take().ok_or("no standard output")?;
        let mut lines = io::BufReader::new(stdout).lines();
        let held = serde_json::from_str(&lines.next().ok_or("the holder ended")??)?;
        Ok(Holder { child, lines, held })
    }

    fn report(&mut self) -> Result<Value, Failed> {
        use io::Write;
        self.child.stdin.as_mut().ok_or("no standard input")?.write_all(b"report\n")?;
        Ok(serde_json::from_str(&self.lines.next().ok_or("the holder ended")??)?)
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Bytes through the switch both ways are the bytes that were sent, and no checksum was wrong at a receiver.
fn transfer(lab: &Lab, megabytes: u64) -> Outcome {
    let bytes = megabytes << 20;
    for direction in ["fetch", "send"] {
        let words = ["acm", "lab", "node", direction, "--target", VIP, "--bytes", &bytes.to_string()];
        let output = lab.exec("client", &words)?;
        expect(&format!("{direction} {megabytes} MB: {}", text(&output)), output.status.success())?;
    }
    for node in ["client", "s1"] {
        let snmp = text(&lab.exec(node, &["cat", "/proc/net/snmp"])?);
        for protocol in ["Tcp", "Udp"] {
            let wrong = snmp_counter(&snmp, protocol, "InCsumErrors");
            expect(&format!("{wrong} {protocol} checksum errors at {node}"), wrong == 0)?;
        }
    }
    Ok(())
}

fn snmp_counter(snmp: &str, protocol: &str, counter: &str) -> u64 {
    let mut lines = snmp.lines().filter_map(|line| line.strip_prefix(protocol)?.strip_prefix(':'));
    let (names, values) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
    let found = names.split_whitespace().zip(values.split_whitespace()).find(|(name, _)| *name == counter);
    found.and_then(|(_, value)| value.parse().ok()).unwrap_or(u64::MAX)
}

fn offloads(lab: &Lab, state: &str) -> Outcome {
    for node in ["client", "s1"] {
        let output = lab.exec(node, &["acm", "lab", "node", "offloads", "eth0", state])?;
        expect(&text(&output), output.status.success())?;
    }
    Ok(())
}

fn byte_exact() -> Outcome {
    let lab = Lab::up(1, &[])?;
    for state in ["on", "off"] {
        offloads(&lab, state)?;
        transfer(&lab, 100)?;
    }
    Ok(())
}

/// The same with 5 % loss, duplication and reordering on the server's port of the switch.
fn byte_exact_through_trouble() -> Outcome {
    for state in ["on", "off"] {
        let lab = Lab::up(1, &["--fault", "s1:loss=5,duplicate=5,reorder=5,seed=41"])?;
        offloads(&lab, state)?;
        transfer(&lab, if state == "on" { 100 } else { 20 })?;
    }
    Ok(())
}

/// UDP through the switch, with and without offloads.
fn udp() -> Outcome {
    let lab = Lab::up(1, &[])?;
    let service = "10.0.0.100:7/udp";
    let mut echo = lab
        .command("s1", &["acm", "lab", "node", "echo", "--listen", "10.0.0.11:7007"])
        .stdin(Stdio::piped())
        .spawn()?;
    let outcome = (|| {
        lab.verb(&["add", service, "10.0.0.11:7007", "--wait", "10s"])?;
        for state in ["on", "off"] {
            offloads(&lab, state)?;
            let words = ["acm", "lab", "node", "datagrams", "--target", "10.0.0.100:7", "--count", "500"];
            let output = lab.exec("client", &words)?;
            expect(&text(&output), output.status.success())?;
        }
        let snmp = text(&lab.exec("s1", &["cat", "/proc/net/snmp"])?);
        let wrong = snmp_counter(&snmp, "Udp", "InCsumErrors");
        expect(&format!("{wrong} UDP checksum errors"), wrong == 0)
    })();
    let _ = echo.kill();
    let _ = echo.wait();
    outcome
}

fn story() -> Outcome {
    let output = acm(&["lab", "--json"])?;
    expect(&text(&output), output.status.success())?;
    let table: Value = serde_json::from_slice(&output.stdout)?;
    let promises = table["promises"].as_array().cloned().unwrap_or_default();
    expect(&format!("{table}"), promises.len() >= 12 && promises.iter().all(|promise| promise["kept"] == true))?;
    expect("the story takes less than a minute", table["seconds"].as_f64().is_some_and(|seconds| seconds < 60.0))
}

/// An experiment of the lab: every promise is kept. Those about time are measured, and told when they are broken: the
/// machine may have been busy with something else.
fn experiment(words: &[&str]) -> Outcome {
    let output = acm(&[&["lab"], words, &["--json"]].concat())?;
    let table: Value = serde_json::from_slice(&output.stdout).map_err(|why| format!("{why}: {}", text(&output)))?;
    let promises = table["promises"].as_array().cloned().unwrap_or_default();
    expect(&format!("{table}"), promises.len() >= 5)?;
    for promise in promises.iter().filter(|promise| promise["kept"] != true) {
        expect(&format!("{promise:#}"), promise["timed"] == true)?;
        eprintln!("{words:?}: late: {promise}");
    }
    Ok(())
}

/// Three servers restart into a new version under load, and no request is lost: `ACM_ROLLS=20` times, default 3.
fn rolling_reboot() -> Outcome {
    let rolls = std::env::var("ACM_ROLLS").unwrap_or_else(|_| "3".into());
    let dir = std::env::temp_dir().join(format!("acm-rolls-{}", std::process::id()));
    let outcome = experiment(&["roll", "--rolls", &rolls, "--out", &dir.display().to_string()]);
    let read = |name: &str| std::fs::read_to_string(dir.join(name)).unwrap_or_default();
    let (csv, svg) = (read("roll.csv"), read("roll.svg"));
    let _ = std::fs::remove_dir_all(&dir);
    outcome?;
    let head = csv.lines().next().unwrap_or_default();
    expect(&csv, head.starts_with("seconds,\"v1\",\"v2\"") && head.ends_with(",\"failed\",event"))?;
    expect(&csv, csv.lines().count() > 20 && csv.contains("acm roll web, into v2"))?;
    expect(&svg, roxmltree::Document::parse(&svg).is_ok() && svg.contains("<polyline"))
}

fn rolling_reboot_while_managers_die() -> Outcome {
    experiment(&["roll", "--rolls", "2", "--kill-manager"])
}

fn rolling_reboot_while_operators_die() -> Outcome {
    experiment(&["roll", "--rolls", "2", "--kill-operator"])
}

fn rolling_reboot_with_idle_connections() -> Outcome {
    experiment(&["roll", "--rolls", "1", "--idle", "60"])
}

/// Servers, managers and the switch fail; `ACM_FAILOVER=full` has the managers' default timers, too.
fn failover() -> Outcome {
    match std::env::var("ACM_FAILOVER").as_deref() {
        Ok("full") => experiment(&["failover"]),
        _ => experiment(&["failover", "--quick"]),
    }
}

/// Two labs with the same addresses do not meet.
fn side_by_side() -> Outcome {
    let (one, other) = (Lab::up(1, &[])?, Lab::up(2, &[])?);
    one.verb(&["drop", VIP, "1", "--reset"])?;
    let get = ["acm", "lab", "node", "load", "--target", VIP, "--attempts", "20"];
    let (refused, served) = (one.exec("client", &get)?, other.exec("client", &get)?);
    let last = |output: &Output| {
        serde_json::from_slice::<Value>(
            output.stdout.split(|byte| *byte == b'\n').rfind(|line| !line.is_empty()).unwrap_or_default(),
        )
    };
    let (refused, served) = (last(&refused)?, last(&served)?);
    expect(&format!("{refused} {served}"), number(&refused, "refused") == 20 && number(&served, "ok") == 20)?;
    let which = acm(&["lab", "exec", "client", "--", "true"])?;
    expect(&text(&which), !which.status.success() && text(&which).contains("--lab"))
}

/// What an owner killed without warning leaves behind goes with the next lab; what lives stays.
fn leftovers() -> Outcome {
    let (killed, living) = (Lab::up(1, &[])?, Lab::up(1, &[])?);
    let names = || -> io::Result<Vec<String>> {
        let entries = std::fs::read_dir("/run/netns")?;
        Ok(entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect())
    };
    let of = |pid: &str| -> io::Result<usize> {
        Ok(names()?.iter().filter(|name| name.starts_with(&format!("acm-{pid}-"))).count())
    };
    let mut kill = Command::new("kill");
    kill.args(["-9", &killed.pid]);
    run(kill)?;
    let end = Instant::now() + Duration::from_secs(5);
    while acm(&["lab", "exec", "--lab", &killed.pid, "client", "--", "true"])?.status.success() && Instant::now() < end
    {
        std::thread::sleep(Duration::from_millis(20));
    }
    expect("names are left behind", of(&killed.pid)? == 3)?;
    let _next = Lab::up(1, &[])?;
    expect("names of the dead are gone", of(&killed.pid)? == 0)?;
    expect("names of the living are there", of(&living.pid)? == 3)
}

/// `exec` passes the command's exit code on and says what there is when a node is unknown.
fn exec_codes() -> Outcome {
    let lab = Lab::up(1, &[])?;
    for (words, code) in [(vec!["sh", "-c", "exit 7"], 7), (vec!["no-such-program"], 127)] {
        let output = lab.exec("client", &words)?;
        expect(&text(&output), output.status.code() == Some(code))?;
    }
    let unknown = lab.exec("s9", &["true"])?;
    expect(&text(&unknown), !unknown.status.success() && text(&unknown).contains("client"))?;
    let inside = lab.exec("switch", &["acm", "list"])?;
    expect(&text(&inside), inside.status.success() && text(&inside).contains("10.0.0.11:8080"))
}

/// The file of a capture begins as pcap does and holds the frames that passed.
fn capture() -> Outcome {
    let lab = Lab::up(1, &[])?;
    let file = std::env::temp_dir().join(format!("acm-{}.pcap", lab.pid));
    let mut child = Command::new(ACM);
    child.args(["capture", "s1", "-w"]).arg(&file).args(["--switch", &lab.socket]);
    let mut child = child.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    let end = Instant::now() + Duration::from_secs(5);
    while std::fs::metadata(&file).map_or(0, |meta| meta.len()) < 24 && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(20));
    }
    lab.exec("client", &["acm", "lab", "node", "load", "--target", VIP, "--attempts", "5"])?;
    std::thread::sleep(Duration::from_millis(300));
    let mut stop = Command::new("kill");
    stop.args(["-INT", &child.id().to_string()]);
    run(stop)?;
    let status = child.wait()?;
    let bytes = std::fs::read(&file)?;
    let _ = std::fs::remove_file(&file);
    expect(&format!("{status}"), status.success())?;
    expect(
        "a pcap file of some frames",
        bytes.starts_with(&0xa1b2_c3d4u32.to_le_bytes()) && bytes.len() > 24 + 20 * (16 + 60),
    )
}

/// The switch refuses to start on an address that the kernel owns, and on ports there are none.
fn refusals() -> Outcome {
    let lab = Lab::up(1, &[])?;
    for (node, port, says) in [("client", "eth0", "10.0.0.1"), ("client", "nosuch0", "nosuch0")] {
        let address = if port == "eth0" { "10.0.0.1/24" } else { "10.0.0.9/24" };
        let socket = format!("unix:{}", std::env::temp_dir().join(format!("acm-refused-{}.sock", lab.pid)).display());
        let output = lab.exec(node, &["acm", "switch", "--port", port, "--address", address, "--api", &socket])?;
        expect(&text(&output), output.status.code() == Some(1) && text(&output).contains(says))?;
    }
    Ok(())
}

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // Two cores: labs beside one another would measure each other.
    arguments.test_threads = Some(1);
    let obstacle = if arguments.list { None } else { obstacle() };
    let tests: &[Named] = &[
        ("remove_under_load", remove_under_load),
        ("force_remove", force_remove),
        ("byte_exact", byte_exact),
        ("byte_exact_through_trouble", byte_exact_through_trouble),
        ("udp", udp),
        ("story", story),
        ("rolling_reboot", rolling_reboot),
        ("rolling_reboot_while_managers_die", rolling_reboot_while_managers_die),
        ("rolling_reboot_while_operators_die", rolling_reboot_while_operators_die),
        ("rolling_reboot_with_idle_connections", rolling_reboot_with_idle_connections),
        ("failover", failover),
        ("side_by_side", side_by_side),
        ("leftovers", leftovers),
        ("exec_codes", exec_codes),
        ("capture", capture),
        ("refusals", refusals),
    ];
    if let Some(why) = &obstacle {
        eprintln!("ignored, because the lab cannot be made here: {}", why.trim());
    }
    let trial = |(name, test): &Named| {
        let kind = obstacle.as_deref().map_or(String::new(), |why| format!("cannot run: {}", why.trim()));
        Trial::test(*name, *test).with_ignored_flag(obstacle.is_some()).with_kind(kind)
    };
    libtest_mimic::run(&arguments, tests.iter().map(trial).collect()).exit_code()
}
