//! The binary as a stranger runs it: the command line, the ready line, its ends, and a flood from outside.

#![allow(missing_docs, clippy::disallowed_methods)]

use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

const PASSWORD: &str = "door-key";

fn switch_sim(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_switch-sim"));
    command.args(args).env_remove("SWITCH_SIM_PASSWORD").env_remove("SWITCH_SIM_ENABLE_PASSWORD").stdin(Stdio::null());
    command
}

fn output(args: &[&str]) -> Output {
    switch_sim(args).output().expect("it runs")
}

fn said(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A running device, killed at the end if it has not ended.
struct Device {
    child: Child,
    ready: Value,
}

impl Drop for Device {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

impl Device {
    fn start(args: &[&str]) -> Device {
        let mut command = switch_sim(&["--telnet", "0", "--json"]);
        command.args(args).env("SWITCH_SIM_PASSWORD", PASSWORD).stdout(Stdio::piped());
        let mut child = command.spawn().expect("it starts");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("piped")).read_line(&mut line).expect("a ready line");
        let ready = serde_json::from_str(&line).expect("of JSON");
        Device { child, ready }
    }

    fn address(&self, of: &str) -> SocketAddr {
        self.ready[of].as_str().and_then(|text| text.parse().ok()).expect("an address in the ready line")
    }

    fn signal(&mut self, signal: &str) -> Option<i32> {
        let pid = self.child.id().to_string();
        Command::new("kill").args([signal, &pid]).status().expect("kill runs");
        self.child.wait().expect("it ends").code()
    }

    /// The most memory it has ever had, in KiB.
    fn most_memory(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("procfs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("VmHWM");
        line.trim().trim_end_matches(" kB").parse().expect("a number")
    }
}

fn read_to(stream: &mut TcpStream, end: &str) -> io::Result<String> {
    let mut seen = Vec::new();
    while !said(&seen).ends_with(end) {
        let mut piece = [0; 4096];
        match stream.read(&mut piece)? {
            0 => return Err(io::Error::other(format!("closed after {:?}", said(&seen)))),
            read => seen.extend_from_slice(&piece[..read]),
        }
    }
    Ok(said(&seen))
}

fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    stream.set_write_timeout(Some(Duration::from_secs(10)))?;
    Ok(stream)
}

#[test]
fn it_says_where_it_listens_and_ends_cleanly() {
    for signal in ["-INT", "-TERM"] {
        let mut device = Device::start(&["--ssh", "0"]);
        assert!(device.address("telnet").ip().is_loopback() && device.address("ssh").ip().is_loopback());
        assert!(device.ready["host_key"].as_str().is_some_and(|key| key.starts_with("SHA256:")));
        let mut session = connect(device.address("telnet")).expect("connects");
        read_to(&mut session, "Password: ").expect("a login");
        assert_eq!(device.signal(signal), Some(0));
        assert_eq!(session.read(&mut [0; 16]).expect("closed, not reset"), 0);
    }
}

#[test]
fn what_is_wrong_is_named_with_its_remedy() {
    for (args, code, words) in [
        (&["--quirk", "snow"][..], 2, "there is no quirk `snow`: `switch-sim --list-quirks` names them"),
        (&["--quirk", "cr-and-lf", "--quirk", "cr-and-lf"], 2, "ordered twice"),
        (&["--login", "password"], 2, "SWITCH_SIM_PASSWORD"),
        (&["--login", "user", "--password", "x"], 2, "--user NAME"),
        (&["--telnet", "off"], 2, "--ssh ADDR"),
        (&["--telnet", "nowhere"], 2, "HOST:PORT is wanted"),
        (&["--personality", "cisco"], 2, "serveriron-xl, serveriron-adx, acm"),
        (&["--password-file", "/no/such/file"], 1, "--password-file /no/such/file"),
        (&["--telnet", "192.0.2.1:23"], 1, "cannot listen for telnet at 192.0.2.1:23"),
        (&["--startup-config", "/"], 1, "--startup-config /"),
    ] {
        let output = output(args);
        let why = said(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {why}");
        assert!(why.contains(words), "{args:?}: {why}");
        assert!(output.stdout.is_empty(), "{args:?}");
    }
}

#[test]
fn lists_and_help_need_no_device() {
    for (args, words) in [
        (&["--help"][..], "Examples:"),
        (&["--version"], env!("CARGO_PKG_VERSION")),
        (&["--list-quirks"], "late-deletion=SPAN (300ms)"),
        (&["--completions", "bash"], "--enable-password-file"),
        (&["--print-templates"], "[[error.invalid]]"),
    ] {
        let output = output(args);
        assert_eq!(output.status.code(), Some(0), "{args:?}");
        assert!(said(&output.stdout).contains(words), "{args:?}: {}", said(&output.stdout));
    }
}

#[test]
fn passwords_are_not_shown() {
    let mut command = switch_sim(&["--help"]);
    command.env("SWITCH_SIM_PASSWORD", "s3cr3t").env("SWITCH_SIM_ENABLE_PASSWORD", "s3cr3t");
    let output = command.output().expect("it runs");
    assert!(!said(&output.stdout).contains("s3cr3t"));
    let mut command = switch_sim(&["--telnet", "off"]);
    let output = command.env("SWITCH_SIM_PASSWORD", "s3cr3t").output().expect("it runs");
    assert!(!said(&output.stderr).contains("s3cr3t"));
}

#[test]
fn write_memory_is_what_the_next_start_reads() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("startup-config").display().to_string();
    for round in 0..2 {
        let device = Device::start(&["--login", "none", "--startup-config", &file]);
        let mut session = connect(device.address("telnet")).expect("connects");
        read_to(&mut session, ">").expect("a prompt");
        let lines = match round {
            0 => "enable\r\nconf t\r\nserver real rs1 10.0.0.1\r\nend\r\nwrite memory\r\nexit\r\nexit\r\n",
            _ => "enable\r\nskip\r\nshow running-config\r\nexit\r\nexit\r\n",
        };
        session.write_all(lines.as_bytes()).expect("sent");
        let mut seen = String::new();
        session.read_to_string(&mut seen).expect("text");
        let words = ["Write startup-config done.", "server real rs1 10.0.0.1\r\n"][round];
        assert!(seen.contains(words), "{seen}");
    }
}

#[test]
fn a_flood_from_outside_costs_little_and_keeps_nobody_out() {
    let device = Device::start(&["--ssh", "0", "--login", "user", "--user", "admin"]);
    let (telnet, ssh) = (device.address("telnet"), device.address("ssh"));
    let held: Vec<TcpStream> = (0..1_000).filter_map(|n| connect(if n % 2 == 0 { telnet } else { ssh }).ok()).collect();
    assert_eq!(held.len(), 1_000, "everybody is heard");
    let flood = std::thread::spawn(move || {
        let (line, options) = (vec![b'x'; 1 << 20], [255, 253, 99].repeat(1 << 18));
        for (n, mut stream) in held.into_iter().enumerate().skip(900) {
            // The device may have hung up on it, and does not read without end what is not read back.
            stream.set_write_timeout(Some(Duration::from_millis(20))).ok();
            stream.write_all(if n % 3 == 0 { &options } else { &line }).ok();
        }
    });
    for _ in 0..5 {
        let begin = Instant::now();
        let mut session = connect(telnet).expect("connects");
        read_to(&mut session, "Name: ").expect("a login");
        session.write_all(format!("admin\r\n{PASSWORD}\r\n").as_bytes()).expect("sent");
        read_to(&mut session, "telnet@ServerIron>").expect("an administrator is in");
        assert!(begin.elapsed() < Duration::from_secs(2), "{:?}", begin.elapsed());
        session.write_all(b"exit\r\n").expect("sent");
    }
    flood.join().expect("the flood ends");
    let most = device.most_memory();
    assert!(most < 128 * 1024, "{most} KiB");
}
