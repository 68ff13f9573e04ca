//! Content switching end to end, on real network namespaces, with the real binary and real clients.
//!
//! Short versions here; `ACM_CONTENT_FULL=1` makes 100,000 requests and transfers 100 MB. Where namespaces cannot be made,
//! or a client is not installed, a test is reported as ignored, with the reason.

#![allow(missing_docs, clippy::disallowed_methods)]

#[path = "support/lab.rs"]
mod lab;

use std::io::{self, BufRead};
use std::ops::Deref;
use std::process::{ExitCode, Stdio};
use std::time::Duration;

use libtest_mimic::{Arguments, Failed, Trial};
use serde_json::Value;

use lab::{Lab, Outcome, VIP, acm, expect, number, obstacle, text};

/// A test's name, what it does, and why it cannot.
type Named = (&'static str, fn() -> Outcome, Option<String>);

fn is_full() -> bool {
    std::env::var_os("ACM_CONTENT_FULL").is_some_and(|value| value == "1")
}

/// A lab with a content service: s1 for the rest, s2 for images, s3 for the shop, s4 and s5 by URL hash.
struct Shop(Lab);

impl Shop {
    fn up(more: &[&str]) -> Result<Shop, Failed> {
        let lab = Lab::up(5, more)?;
        lab.verb(&["service", "set", VIP, "--content", "http", "--group", "hashed", "--scheduler", "url-hash"])?;
        for (real, group) in [("12", "images"), ("13", "shop"), ("14", "hashed"), ("15", "hashed")] {
            lab.verb(&["add", VIP, &format!("10.0.0.{real}:8080"), "--group", group, "--wait", "10s"])?;
        }
        for (condition, group) in [
            (["--url-suffix", ".jpg"], "images"),
            (["--url-prefix", "/shop/"], "shop"),
            (["--url-prefix", "/h/"], "hashed"),
        ] {
            lab.verb(&["rule", "add", VIP, condition[0], condition[1], "--group", group])?;
        }
        Ok(Shop(lab))
    }

    fn counter(&self, name: &str) -> Result<u64, Failed> {
        Ok(self.verb(&["stats"])?["counters"][name].as_u64().unwrap_or(0))
    }

    /// Starts requests of all kinds on keep-alive connections.
    fn asking(&self, requests: u64, per_connection: &str) -> Result<Asking, Failed> {
        let requests_text = requests.to_string();
        let words = [
            "acm",
            "lab",
            "node",
            "ask",
            "--target",
            VIP,
            "--workers",
            "16",
            "--requests",
            &requests_text,
            "--requests-per-connection",
            per_connection,
            "--want",
            "/a/#.jpg=s2",
            "--want",
            "/shop/#=s3",
            "--want",
            "/h/#=",
            "--want",
            "/page/#=s1",
            "--want",
            "/=s1",
        ];
        let child = self.command("client", &words).stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
        Ok(Asking { child, requests })
    }

    /// Memory of the switch's process, in KiB.
    fn switch_memory(&self) -> Result<u64, Failed> {
        let socket = self.socket.trim_start_matches("unix:");
        for entry in std::fs::read_dir("/proc")?.flatten() {
            let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
            let line = String::from_utf8_lossy(&line).replace('\0', " ");
            if line.contains(" switch --address ") && line.contains(socket) {
                let status = std::fs::read_to_string(entry.path().join("status"))?;
                let row = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
                let kib = row.and_then(|row| row.split_whitespace().next()?.parse().ok());
                return kib.ok_or_else(|| "no VmRSS".into());
            }
        }
        Err("the switch's process is not found".into())
    }
}

impl Deref for Shop {
    type Target = Lab;

    fn deref(&self) -> &Lab {
        &self.0
    }
}

/// A client that knows who must answer.
struct Asking {
    child: std::process::Child,
    requests: u64,
}

impl Asking {
    /// Every request was answered, by the server its rule names.
    fn must_succeed(self) -> Result<Value, Failed> {
        let output = self.child.wait_with_output()?;
        let last = String::from_utf8_lossy(&output.stdout).lines().last().unwrap_or_default().to_owned();
        let asked: Value = serde_json::from_str(&last)?;
        let is_right = number(&asked, "ok") == self.requests && number(&asked, "misdirected") == 0;
        expect(&format!("{asked}"), asked["done"] == true && is_right && number(&asked, "failed") == 0)?;
        Ok(asked)
    }
}

/// Requests of all kinds on keep-alive connections: each to the server its rule names, and the rules' hits say so.
fn mixed_requests() -> Outcome {
    let lab = Shop::up(&[])?;
    let requests = if is_full() { 100_000 } else { 20_000 };
    let asked = lab.asking(requests, "100")?.must_succeed()?;
    let connections = number(&asked, "connections");
    expect(&format!("{connections} connections for {requests} requests"), connections <= requests / 90)?;
    let servers = asked["by_server"].as_object().map_or(0, |map| map.len());
    expect(&format!("{asked}"), servers == 5)?;
    let seen = lab.counter("content.requests")?;
    expect(&format!("{seen} requests seen by the switch"), seen == requests)?;
    // Connections that are over are remembered for ten seconds.
    std::thread::sleep(Duration::from_secs(13));
    let left = number(&lab.verb(&["stats"])?, "flows");
    expect(&format!("{left} flows left behind"), left == 0)
}

/// The same, the first request of a connection deciding: with one request a connection there is no other.
fn new_connections() -> Outcome {
    let lab = Shop::up(&[])?;
    lab.asking(if is_full() { 20_000 } else { 4_000 }, "1")?.must_succeed()?;
    lab.verb(&["service", "set", VIP, "--switching", "first-request"])?;
    lab.asking(if is_full() { 20_000 } else { 4_000 }, "1")?.must_succeed().map(drop)
}

/// curl, several URLs on one connection, uploads, HEAD, and what is refused.
fn curl() -> Outcome {
    let lab = Shop::up(&[])?;
    let url = |path: &str| format!("http://{}{path}", "10.0.0.100");
    let urls: Vec<String> = ["/x.jpg", "/shop/1", "/", "/shop/2", "/y.jpg?a=b"].map(url).into();
    let words: Vec<&str> = ["curl", "-sS", "-m", "20"].into_iter().chain(urls.iter().map(String::as_str)).collect();
    let said = text(&lab.exec("client", &words)?);
    let due = "hello from s2\nhello from s3\nhello from s1\nhello from s3\nhello from s2\n";
    expect(&format!("several URLs: {said}"), said == due)?;
    let upload = format!("head -c 3000000 /dev/zero | curl -sS -m 30 --data-binary @- {}", url("/shop/upload"));
    let said = text(&lab.exec("client", &["sh", "-c", &upload])?);
    expect(&format!("an upload: {said}"), said == "hello from s3\n")?;
    let script = format!(
        "for path in /a%2fb /%00 /../x; do curl -sS -m 10 --path-as-is -o /dev/null -w '%{{http_code}} ' {}$path; done",
        url("")
    );
    let said = text(&lab.exec("client", &["sh", "-c", &script])?);
    expect(&format!("refusals: {said}"), said.trim() == "400 400 400")?;
    let smuggled = [
        "curl",
        "-sS",
        "-m",
        "10",
        "-o",
        "/dev/null",
        "-w",
        "%{http_code}",
        "-H",
        "Transfer-Encoding: chunked",
        "-H",
        "Content-Length: 3",
        "-d",
        "abc",
        &url("/shop/x"),
    ]
    .map(str::to_owned);
    let words: Vec<&str> = smuggled.iter().map(String::as_str).collect();
    let said = text(&lab.exec("client", &words)?);
    expect(&format!("both lengths: {said}"), said == "400")
}

/// curl with a jar of cookies: it comes back to its server until that one is drained, then to another.
fn coming_back() -> Outcome {
    let lab = Shop::up(&[])?;
    lab.verb(&["service", "set", VIP, "--group", "hashed", "--persist", "insert", "--persist-cookie", "acm"])?;
    let jar = std::env::temp_dir().join(format!("acm-{}-jar", lab.pid));
    let jar = jar.to_string_lossy().into_owned();
    // Every other time on one connection, else on one each.
    let visit = |first: u32| -> Result<Vec<String>, Failed> {
        let script = format!(
            "curl -sS -m 20 -b {jar} -c {jar} 'http://10.0.0.100/h/[{first}-{}]'; \
             for n in $(seq 20); do curl -sS -m 20 -b {jar} -c {jar} http://10.0.0.100/h/{first}-$n; done",
            first + 19
        );
        let said = text(&lab.exec("client", &["sh", "-c", &script])?);
        Ok(said.lines().map(str::to_owned).collect())
    };
    let without = visit(1)?;
    let kept = std::fs::read_to_string(&jar)?;
    let (token, home) =
        (kept.split_whitespace().last().unwrap_or_default(), without.last().cloned().unwrap_or_default());
    // The first request of all is hashed; every other one goes where that one went.
    expect(
        &format!("{without:?} of one jar: {kept}"),
        without.len() == 40 && without.iter().all(|line| *line == home),
    )?;
    expect(&format!("the jar: {kept}"), kept.contains("#HttpOnly_10.0.0.100") && token.len() == 34)?;
    let real = if home == "hello from s4" { "10.0.0.14:8080" } else { "10.0.0.15:8080" };
    lab.verb(&["remove", VIP, real])?;
    let moved = visit(100)?;
    let _ = std::fs::remove_file(&jar);
    expect(
        &format!("{moved:?} after {home} was drained"),
        moved.len() == 40 && moved.iter().all(|line| *line != home),
    )?;
    let (set, led) = (lab.counter("content.cookie_set")?, lab.counter("content.cookie_led")?);
    expect(&format!("{set} cookies set, {led} requests led"), set == 2 && led >= 76)
}

/// wrk, a thousand URLs in turn on each connection.
fn wrk() -> Outcome {
    let lab = Shop::up(&[])?;
    let script = std::env::temp_dir().join(format!("acm-{}-mixed.lua", lab.pid));
    std::fs::write(
        &script,
        "local n = 0\nlocal kinds = {'/h/%d', '/shop/%d', '/%d.jpg', '/page/%d'}\n\
         request = function()\n  n = n + 1\n  return wrk.format(nil, string.format(kinds[n % 4 + 1], n % 1000))\nend\n",
    )?;
    let seconds = if is_full() { "-d15s" } else { "-d4s" };
    let file = script.to_string_lossy().into_owned();
    let output = lab.exec("client", &["wrk", "-t1", "-c32", seconds, "-s", &file, "http://10.0.0.100/"]);
    let _ = std::fs::remove_file(&script);
    let said = text(&output?);
    let requests: Option<u64> = said.lines().find_map(|line| line.trim().split_once(" requests in ")?.0.parse().ok());
    expect(&said, requests.is_some_and(|requests| requests > 5_000))?;
    expect(&said, !said.contains("Socket errors") && !said.contains("Non-2xx"))
}

/// Bytes both ways are the bytes that were sent.
fn transfer(lab: &Lab, megabytes: u64) -> Outcome {
    let bytes = (megabytes << 20).to_string();
    for direction in ["fetch", "send"] {
        let words = ["acm", "lab", "node", direction, "--target", VIP, "--bytes", &bytes];
        let output = lab.exec("client", &words)?;
        expect(&format!("{direction} {megabytes} MB: {}", text(&output)), output.status.success())?;
    }
    Ok(())
}

fn byte_exact() -> Outcome {
    let lab = Shop::up(&[])?;
    transfer(&lab, 100)?;
    for node in ["client", "s1"] {
        lab.exec(node, &["acm", "lab", "node", "offloads", "eth0", "off"])?;
    }
    transfer(&lab, if is_full() { 100 } else { 20 })
}

/// At 5 % loss, with doubled and overtaken frames; Linux uses window scaling, SACK and timestamps.
fn byte_exact_through_trouble() -> Outcome {
    let lab = Shop::up(&["--fault", "s1:loss=5,duplicate=5,reorder=5,seed=41"])?;
    transfer(&lab, if is_full() { 100 } else { 20 })
}

/// A thousand clients send half a head and stall: others do not notice, memory stays, all are closed at the deadline.
fn stalled_heads() -> Outcome {
    let lab = Shop::up(&[])?;
    lab.asking(2_000, "100")?.must_succeed()?;
    let before = lab.switch_memory()?;
    let words = ["acm", "lab", "node", "stall", "--target", VIP, "--connections", "1000"];
    let mut stall = lab.command("client", &words).stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
    let mut lines = io::BufReader::new(stall.stdout.take().ok_or("no standard output")?).lines();
    let opened: Value = serde_json::from_str(&lines.next().ok_or("nothing opened")??)?;
    let grown = lab.switch_memory()?.saturating_sub(before);
    lab.asking(5_000, "50")?.must_succeed()?;
    let ended: Value = serde_json::from_str(&lines.next().ok_or("nothing ended")??)?;
    let _ = stall.wait();
    expect(&format!("{opened} {ended}"), number(&opened, "open") == 1000 && number(&ended, "ended") == 1000)?;
    expect(&format!("told 408: {ended}"), number(&ended, "told") == 1000)?;
    let (least, most) = (ended["after_ms"][0].as_u64().unwrap_or(0), ended["after_ms"][1].as_u64().unwrap_or(u64::MAX));
    expect(&format!("closed after {least} to {most} ms"), least >= 4_500 && most <= 8_000)?;
    expect(&format!("{grown} KiB for 1,000 of them"), grown < 16 * 1024)
}

/// A SYN flood: nothing is remembered of it, and real clients succeed meanwhile.
fn syn_flood() -> Outcome {
    let lab = Shop::up(&[])?;
    lab.asking(1_000, "10")?.must_succeed()?;
    let (made, cookies) = (lab.counter("content.accepted")?, lab.counter("content.cookie_sent")?);
    let before = lab.switch_memory()?;
    let syns = if is_full() { "2000000" } else { "200000" };
    let words = ["acm", "lab", "node", "flood", "--target", VIP, "--syns", syns];
    let flood = lab.command("client", &words).stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
    let asked = lab.asking(2_000, "10")?.must_succeed()?;
    let flooded = flood.wait_with_output()?;
    let flooded: Value = serde_json::from_slice(&flooded.stdout)?;
    let made = lab.counter("content.accepted")? - made;
    let cookies = lab.counter("content.cookie_sent")? - cookies;
    // The real ones, and the one by which the flood learns the station.
    let real = number(&asked, "connections") + 1;
    expect(&format!("{made} connections made, {real} were real; {flooded}"), made == real)?;
    expect(&format!("{cookies} of {flooded} answered"), cookies > number(&flooded, "syns") / 2)?;
    let grown = lab.switch_memory()?.saturating_sub(before);
    expect(&format!("{grown} KiB grown"), grown < 8 * 1024)
}

/// The story of `acm lab content`.
fn story() -> Outcome {
    let output = acm(&["lab", "content", "--json"])?;
    expect(&text(&output), output.status.success())?;
    let table: Value = serde_json::from_slice(&output.stdout)?;
    let promises = table["promises"].as_array().cloned().unwrap_or_default();
    expect(&format!("{table}"), promises.len() >= 7 && promises.iter().all(|promise| promise["kept"] == true))
}

/// Why a test cannot run although labs can be made.
fn lacks(program: &str) -> Option<String> {
    let dirs = ["/usr/bin", "/bin", "/usr/local/bin"];
    let is_there = dirs.iter().any(|dir| std::path::Path::new(dir).join(program).exists());
    (!is_there).then(|| format!("{program} is not installed"))
}

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // Two cores: labs beside one another would measure each other.
    arguments.test_threads = Some(1);
    let obstacle = if arguments.list { None } else { obstacle() };
    let tests: [Named; 10] = [
        ("mixed_requests", mixed_requests, None),
        ("new_connections", new_connections, None),
        ("curl", curl, lacks("curl")),
        ("coming_back", coming_back, lacks("curl")),
        ("wrk", wrk, lacks("wrk")),
        ("byte_exact", byte_exact, None),
        ("byte_exact_through_trouble", byte_exact_through_trouble, None),
        ("stalled_heads", stalled_heads, None),
        ("syn_flood", syn_flood, None),
        ("story", story, None),
    ];
    let trials = tests.into_iter().map(|(name, test, lacking)| {
        let why = obstacle.clone().or(lacking);
        if let Some(why) = &why {
            eprintln!("ignored: {name}: {}", why.trim());
        }
        let kind = why.as_deref().map_or(String::new(), |why| format!("cannot run: {}", why.trim()));
        Trial::test(name, test).with_ignored_flag(why.is_some()).with_kind(kind)
    });
    libtest_mimic::run(&arguments, trials.collect()).exit_code()
}
