//! A lab with keys and configurations for a manager and agents, and processes in it.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitCode, Output, Stdio};
use std::time::{Duration, Instant};

use libtest_mimic::Failed;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

pub(crate) const ACM: &str = env!("CARGO_BIN_EXE_acm");
/// The lab's own VIP is another one, which no manager looks after.
const VIP: &str = "10.0.0.101:80";
const OURS: &str = "10.0.0.101:";

type Outcome<T = ()> = Result<T, Failed>;

pub(crate) fn expect(what: &str, holds: bool) -> Outcome {
    if holds { Ok(()) } else { Err(what.to_owned().into()) }
}

pub(crate) fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Microseconds since 1970, to compare moments between processes.
pub(crate) fn now_us() -> u64 {
    acm_switch::lab::serve::now_us()
}

/// Waits until it holds.
pub(crate) fn until(what: &str, patience: Duration, mut holds: impl FnMut() -> Outcome<bool>) -> Outcome {
    let began = Instant::now();
    while !holds()? {
        expect(&format!("{what}: not within {patience:?}"), began.elapsed() < patience)?;
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

/// A process that ends with the test.
pub(crate) struct Service(Child);

impl Service {
    pub(crate) fn id(&self) -> u32 {
        self.0.id()
    }

    pub(crate) fn try_wait(&mut self) -> io::Result<Option<std::process::ExitStatus>> {
        self.0.try_wait()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        if matches!(self.0.try_wait(), Ok(None)) {
            // Twice ends at once, with what runs below it.
            let _ = kill(self.0.id(), Signal::TERM);
            std::thread::sleep(Duration::from_millis(50));
            let _ = kill(self.0.id(), Signal::TERM);
            std::thread::sleep(Duration::from_millis(100));
            let _ = self.0.kill();
        }
        let _ = self.0.wait();
    }
}

/// A process that has ended, to stand in a place that must not be empty.
pub(crate) fn nothing() -> Service {
    Service(Command::new("true").spawn().expect("true can be run"))
}

pub(crate) fn kill(pid: u32, signal: Signal) -> io::Result<()> {
    let pid = Pid::from_raw(pid as i32).ok_or(io::ErrorKind::NotFound)?;
    Ok(kill_process(pid, signal)?)
}

/// The one child of a process.
pub(crate) fn child_of(pid: u32) -> Outcome<u32> {
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))?;
    let first = children.split_whitespace().next().ok_or("it has no child")?;
    Ok(first.parse()?)
}

pub(crate) struct Field {
    lab: String,
    socket: String,
    dir: TempDir,
    manager: Option<Service>,
}

impl Field {
    /// A lab with a switch that runs, and configurations.
    pub(crate) fn new(servers: u8) -> Outcome<Field> {
        let output = Command::new(ACM).args(["lab", "up", "--json", "--servers", &servers.to_string()]).output()?;
        expect(&text(&output), output.status.success())?;
        let lab: Value = serde_json::from_slice(&output.stdout)?;
        let socket = lab["socket"].as_str().unwrap_or_default().to_owned();
        let field = Field { lab: lab["pid"].to_string(), socket, dir: tempfile::tempdir()?, manager: None };
        field.configure()?;
        Ok(field)
    }

    /// And a manager on the last server, that leads and has reached the switch.
    pub(crate) fn with_manager(servers: u8) -> Outcome<Field> {
        let mut field = Field::new(servers)?;
        let config = field.path("manager.toml").display().to_string();
        let node = format!("s{servers}");
        field.manager = Some(field.start(&node, &["acm", "manager", "--config", &config])?);
        until("a manager leads", Duration::from_secs(10), || {
            let asked = field.exec(&node, &["acm", "managers", "--config", &config, "--wait", "300ms", "--json"])?;
            let report: Value = serde_json::from_slice(&asked.stdout).unwrap_or_default();
            Ok(report["managers"][0]["switches"][0]["epoch"].is_u64())
        })?;
        Ok(field)
    }

    fn configure(&self) -> Outcome {
        for (name, letter) in [("managers", "m"), ("web", "w"), ("operators", "o")] {
            let mut options = std::fs::OpenOptions::new();
            let mut file = options.create_new(true).write(true).mode(0o600).open(self.path(name))?;
            file.write_all(letter.repeat(64).as_bytes())?;
        }
        let key = |id: u8, name: &str, grant: &str| {
            format!("[[key]]\nid = {id}\nsecret_file = \"{}\"\n{grant}\n", self.path(name).display())
        };
        let network = "[network]\ninterface = \"eth0\"\n";
        let operators = key(3, "operators", "operator = true");
        let manager = format!(
            "node = 1\nsign_with = 1\nprofile = \"fast\"\n{network}{}{}{operators}\
             [[switch]]\nname = \"sw-1\"\nurl = \"{}\"\nvips = [\"10.0.0.101\"]\n",
            key(1, "managers", "managers = [1]"),
            key(2, "web", "vips = [\"10.0.0.101\"]"),
            self.socket,
        );
        let agent = format!(
            "profile = \"fast\"\ndrain = \"5s\"\n[services]\nweb = \"{VIP}\"\necho = \"10.0.0.101:7/udp\"\n\
             [health]\ninterval = \"200ms\"\n{network}{}{operators}",
            key(2, "web", ""),
        );
        std::fs::write(self.path("manager.toml"), manager)?;
        std::fs::write(self.path("agent.toml"), agent)?;
        Ok(())
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Everything that was said on stderr.
    pub(crate) fn log(&self) -> Outcome<String> {
        Ok(std::fs::read_to_string(self.path("log"))?)
    }

    fn command(&self, node: &str, words: &[&str]) -> Command {
        let mut command = Command::new(ACM);
        command.args(["lab", "exec", "--lab", &self.lab, node, "--"]).args(words);
        command.env("ACM_CONFIG", self.path("agent.toml")).env("NO_COLOR", "1");
        command
    }

    pub(crate) fn exec(&self, node: &str, words: &[&str]) -> io::Result<Output> {
        self.command(node, words).stdin(Stdio::null()).output()
    }

    /// Starts a process in a node.
    pub(crate) fn start(&mut self, node: &str, words: &[&str]) -> io::Result<Service> {
        let log = std::fs::OpenOptions::new().create(true).append(true).open(self.path("log"))?;
        let mut command = self.command(node, words);
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        command.spawn().map(Service)
    }

    /// SIGTERM, and its exit code.
    pub(crate) fn stop(&self, mut service: Service) -> Outcome<Option<i32>> {
        kill(service.id(), Signal::TERM)?;
        let mut status = None;
        until("it ends", Duration::from_secs(30), || {
            status = service.try_wait()?;
            Ok(status.is_some())
        })
        .map_err(|why| format!("{}\n{}", why.message().unwrap_or_default(), self.log().unwrap_or_default()))?;
        Ok(status.and_then(|status| status.code()))
    }

    fn rows(&self) -> Outcome<Vec<Value>> {
        let output = Command::new(ACM).args(["list", "--json", "--switch", &self.socket]).output()?;
        let listing: Value = serde_json::from_slice(&output.stdout).map_err(|_| text(&output))?;
        let rows = listing["bindings"].as_array().cloned().unwrap_or_default();
        let is_ours = |row: &&Value| row["service"].as_str().is_some_and(|service| service.starts_with(OURS));
        Ok(rows.iter().filter(is_ours).cloned().collect())
    }

    /// Bindings of the manager's that are active.
    pub(crate) fn active(&self) -> Outcome<usize> {
        Ok(self.rows()?.iter().filter(|row| row["state"] == "active").count())
    }

    /// The one that is served at this address, with its port.
    pub(crate) fn real_at(&self, address: &str) -> Outcome<String> {
        let rows = self.rows()?;
        let mut reals = rows.iter().filter_map(|row| row["real"].as_str());
        Ok(reals.find(|real| real.starts_with(address)).ok_or("there is none")?.to_owned())
    }

    pub(crate) fn until_active(&self, count: usize) -> Outcome {
        let what = format!("{count} bindings are active");
        until(&what, Duration::from_secs(15), || Ok(self.active()? == count))
            .map_err(|why| format!("{}\n{}", why.message().unwrap_or_default(), self.log().unwrap_or_default()).into())
    }

    /// A load on the virtual service.
    pub(crate) fn load(&self, more: &[&str]) -> io::Result<Child> {
        let words = [&["acm", "lab", "node", "load", "--target", VIP], more].concat();
        self.command("client", &words).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()
    }

    /// A client that tries until it is answered; it has begun when this returns.
    pub(crate) fn poll(&self) -> Outcome<Child> {
        let me = std::env::current_exe()?.to_string_lossy().into_owned();
        let mut child = self.command("client", &[&me, "poll", VIP]).stdout(Stdio::piped()).spawn()?;
        let mut begun = [0; 1];
        child.stdout.as_mut().ok_or("no pipe")?.read_exact(&mut begun)?;
        Ok(child)
    }
}

impl Drop for Field {
    fn drop(&mut self) {
        self.manager = None;
        let _ = Command::new(ACM).args(["lab", "down", "--lab", &self.lab]).output();
    }
}

/// Tells a load generator to stop and reads its final ledger.
pub(crate) fn final_ledger(mut load: Child) -> Outcome<Value> {
    drop(load.stdin.take());
    let output = load.wait_with_output()?;
    let last = String::from_utf8_lossy(&output.stdout).lines().last().unwrap_or_default().to_owned();
    let ledger: Value = serde_json::from_str(&last)?;
    match ledger["done"].as_bool() {
        Some(true) => Ok(ledger),
        _ => Err(format!("not a final ledger: {last}").into()),
    }
}

/// When a poll was answered.
pub(crate) fn first_answer(poll: Child) -> Outcome<u64> {
    let output = poll.wait_with_output()?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().parse()?)
}

/// The poll itself: a dot when it begins, the moment of the first answer.
pub(crate) fn poll_main(target: &str) -> ExitCode {
    let target: SocketAddr = target.parse().expect("an address");
    print!(".");
    io::stdout().flush().expect("stdout is open");
    let end = Instant::now() + Duration::from_secs(20);
    while Instant::now() < end {
        // Shorter than TCP's own repetition: before there is a service the switch is silent.
        if ask(target).is_ok() {
            println!("{}", now_us());
            return ExitCode::SUCCESS;
        }
    }
    ExitCode::FAILURE
}

fn ask(target: SocketAddr) -> io::Result<()> {
    let mut stream = TcpStream::connect_timeout(&target, Duration::from_millis(2))?;
    stream.set_read_timeout(Some(Duration::from_secs(1)))?;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: demo\r\nConnection: close\r\n\r\n")?;
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line)?;
    if line.starts_with("HTTP/1.1 200 ") { Ok(()) } else { Err(io::ErrorKind::InvalidData.into()) }
}
