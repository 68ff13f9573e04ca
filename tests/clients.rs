//! Real clients, unmodified, at the ServerIron's command line of our own switch: RANCID and netmiko log in, enable, page,
//! configure, save and collect; what they configure is what `acm list` shows.
//!
//! The switch is the real binary on two ports in a network namespace of its own. A client that is not installed is
//! reported as ignored, with the reason; `.ci/clients` installs them all.

#![allow(missing_docs, clippy::disallowed_methods)]

#[path = "support/netns.rs"]
mod netns;

use std::fs;
use std::io::Write;
use std::net::TcpStream;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use libtest_mimic::{Arguments, Failed, Trial};
use netns::Namespace;
use serde_json::Value;
use tempfile::TempDir;

const ACM: &str = env!("CARGO_BIN_EXE_acm");
const PASSWORD: &str = "door-key";
const ENABLE_PASSWORD: &str = "engine-key";
const FLOGIN: &str = "/usr/lib/rancid/bin/flogin";
const RANCID_PATH: &str = "/usr/lib/rancid/bin:/usr/local/bin:/usr/bin:/bin";

type Outcome = Result<(), Failed>;

/// A test's name, what it does, and why it cannot.
type Named<'a> = (&'static str, fn() -> Outcome, &'a Option<String>);

/// A configuration of more than a page.
fn startup_config() -> String {
    let mut text = String::new();
    for n in 1..=20 {
        text += &format!("server real rs{n} 10.1.0.{n}\n port http\n!\n");
    }
    text + "server virtual vs1 10.2.0.1\n port http\n bind http rs1 http rs2 http\n!\nend\n"
}

/// A running switch in a namespace of its own.
struct Switch {
    child: Child,
    namespace: Namespace,
    folder: TempDir,
}

impl Drop for Switch {
    fn drop(&mut self) {
        // It may have ended already.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

impl Switch {
    fn start() -> Result<Switch, Failed> {
        let (namespace, far) = (Namespace::new()?, Namespace::new()?);
        namespace.cable("e1", &far, "x1")?;
        namespace.cable("e2", &far, "x2")?;
        let folder = tempfile::tempdir()?;
        let path = |name: &str| folder.path().join(name);
        fs::write(path("serveriron.cfg"), startup_config())?;
        for (name, secret) in [("password", PASSWORD), ("enable", ENABLE_PASSWORD)] {
            let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path(name))?;
            writeln!(file, "{secret}")?;
        }
        let mut command = Command::new(ACM);
        command.args(["switch", "--port", "e1", "--port", "e2", "--address", "10.0.0.2/24", "--cli", "127.0.0.1:2323"]);
        command
            .args(["--cli-ssh", "127.0.0.1:2222", "--cli-user", "admin", "--cli-password-file"])
            .arg(path("password"));
        command.arg("--cli-enable-password-file").arg(path("enable")).arg("--cli-config").arg(path("serveriron.cfg"));
        command.arg("--api").arg(format!("unix:{}", path("switch.sock").display()));
        let child = namespace.run(|| command.stdin(Stdio::null()).stderr(Stdio::null()).spawn())?;
        let switch = Switch { child, namespace, folder };
        let end = Instant::now() + Duration::from_secs(10);
        while switch.namespace.run(|| TcpStream::connect("127.0.0.1:2323")).is_err() {
            if Instant::now() > end {
                return Err("the command line does not listen".into());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(switch)
    }

    /// Runs a command beside the switch and wants it to succeed.
    fn run(&self, mut command: Command) -> Result<String, Failed> {
        let output = self.namespace.run(|| command.stdin(Stdio::null()).output())?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).replace('\r', "");
        let text = text(&output.stdout) + &text(&output.stderr);
        if output.status.success() { Ok(text) } else { Err(format!("{}: {text}", output.status).into()) }
    }

    /// `10.9.0.100:80 10.9.0.1:80` and so on.
    fn bindings(&self) -> Result<Vec<String>, Failed> {
        let mut command = Command::new(ACM);
        command
            .args(["list", "--json", "--switch"])
            .arg(format!("unix:{}", self.folder.path().join("switch.sock").display()));
        let listing: Value = serde_json::from_str(&self.run(command)?)?;
        let rows = listing["bindings"].as_array().cloned().unwrap_or_default();
        let word = |row: &Value, name: &str| row[name].as_str().unwrap_or_default().to_owned();
        Ok(rows.iter().map(|row| format!("{} {}", word(row, "service"), word(row, "real"))).collect())
    }

    /// A home for RANCID: how to log in, readable by nobody else.
    fn rancid_home(&self) -> Result<PathBuf, Failed> {
        let home = self.folder.path().join("home");
        fs::create_dir(&home)?;
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(home.join(".cloginrc"))?;
        write!(
            file,
            "add method * {{telnet:2323}}\nadd user * {{admin}}\nadd password * {{{PASSWORD}}} {{{ENABLE_PASSWORD}}}\n"
        )?;
        Ok(home)
    }
}

/// All of these stand in the text, in this order.
fn wants(text: &str, parts: &[&str]) -> Outcome {
    let mut rest = text;
    for part in parts {
        let at = rest.find(part).ok_or_else(|| format!("{part:?} is missing (or out of order) in:\n{text}"))?;
        rest = &rest[at + part.len()..];
    }
    Ok(())
}

fn timed(seconds: u32, program: &str) -> Command {
    let mut command = Command::new("timeout");
    command.arg(seconds.to_string()).arg(program);
    command
}

const AT_THE_START: [&str; 2] = ["10.2.0.1:80 10.1.0.1:80", "10.2.0.1:80 10.1.0.2:80"];

fn flogin_configures_and_saves() -> Outcome {
    let switch = Switch::start()?;
    let home = switch.rancid_home()?;
    let changes = "configure terminal;server real web1 10.9.0.1;port http;server virtual shop 10.9.0.100;port http;\
                   bind http web1 http;end;write memory;show running-config";
    let mut command = timed(120, FLOGIN);
    command.args(["-t", "20", "-c", changes, "127.0.0.1"]).env("HOME", &home).env("PATH", RANCID_PATH);
    command.current_dir(&home);
    let seen = switch.run(command)?;
    wants(&seen, &["Disable page display mode", "(config-vs-shop)#bind http web1 http", "startup-config done."])?;
    wants(
        &seen,
        &["#show running-config", "server real rs20 10.1.0.20", "server real web1 10.9.0.1", "\nend\n", "#exit"],
    )?;
    wants(&fs::read_to_string(switch.folder.path().join("serveriron.cfg"))?, &["server real web1 10.9.0.1"])?;
    let mut expected = AT_THE_START.map(str::to_owned).to_vec();
    expected.push("10.9.0.100:80 10.9.0.1:80".into());
    let listed = switch.bindings()?;
    if listed == expected { Ok(()) } else { Err(format!("{listed:?}").into()) }
}

fn rancid_collects_the_configuration() -> Outcome {
    let switch = Switch::start()?;
    let home = switch.rancid_home()?;
    let mut command = timed(240, "/usr/lib/rancid/bin/rancid");
    command.args(["-d", "-t", "foundry", "127.0.0.1"]).env("HOME", &home).env("PATH", RANCID_PATH).current_dir(&home);
    let said = switch.run(command)?;
    if ["missed", "Error", "error:", "End of run not found", "clean_run=0"].iter().any(|bad| said.contains(bad)) {
        return Err(said.into());
    }
    let collected = fs::read_to_string(home.join("127.0.0.1.new"))?;
    let config = ["server real rs1 10.1.0.1", "server real rs20 10.1.0.20", "bind http rs1 http rs2 http", "\nend\n"];
    wants(&collected, &config)
}

fn netmiko(device_type: &str, port: &str) -> Outcome {
    let switch = Switch::start()?;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("switch-sim/tests/clients/netmiko_session.py");
    let mut command = timed(180, "python3");
    command.arg(script).args([device_type, port, "admin"]);
    command.env("NETMIKO_PASSWORD", PASSWORD).env("NETMIKO_SECRET", ENABLE_PASSWORD);
    let said = switch.run(command)?;
    let seen: Value = serde_json::from_str(&said).map_err(|why| format!("{why}: {said}"))?;
    let part = |name: &str| seen[name].as_str().unwrap_or_default().to_owned();
    wants(&part("prompt"), &["@acm#"])?;
    wants(&part("before"), &["server real rs1 10.1.0.1", "server real rs20 10.1.0.20", "\nend"])?;
    wants(&part("saved"), &["Write startup-config done."])?;
    for screen in ["after", "startup"] {
        wants(
            &part(screen),
            &["server real web1 10.9.0.1", "server virtual shop 10.9.0.100", "bind http web1 http", "\nend"],
        )?;
    }
    let listed = switch.bindings()?;
    let is_there = listed.contains(&"10.9.0.100:80 10.9.0.1:80".to_owned());
    if is_there { Ok(()) } else { Err(format!("{listed:?}").into()) }
}

fn netmiko_over_telnet() -> Outcome {
    netmiko("ruckus_fastiron_telnet", "2323")
}

fn netmiko_over_ssh() -> Outcome {
    netmiko("ruckus_fastiron", "2222")
}

/// Why a client cannot be used here.
fn obstacle(probe: &[&str]) -> Option<String> {
    let ran = Command::new(probe[0]).args(&probe[1..]).stdin(Stdio::null()).output();
    match ran {
        Ok(output) if output.status.success() => None,
        _ => Some(format!("`{}` does not run; `.ci/clients` installs it", probe.join(" "))),
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let no_namespaces = if arguments.list { None } else { netns::prepare().err() };
    let rancid = no_namespaces.clone().or_else(|| obstacle(&["test", "-x", FLOGIN]));
    let netmiko = no_namespaces.or_else(|| obstacle(&["python3", "-c", "import netmiko"]));
    let tests: [Named<'_>; 4] = [
        ("rancid::flogin_configures_and_saves", flogin_configures_and_saves, &rancid),
        ("rancid::collects_the_configuration", rancid_collects_the_configuration, &rancid),
        ("netmiko::over_telnet", netmiko_over_telnet, &netmiko),
        ("netmiko::over_ssh", netmiko_over_ssh, &netmiko),
    ];
    for why in [&rancid, &netmiko].into_iter().flatten() {
        eprintln!("ignored: {why}");
    }
    let trials = tests.into_iter().map(|(name, test, obstacle)| {
        let kind = obstacle.as_deref().map_or(String::new(), |why| format!("cannot run: {why}"));
        Trial::test(name, test).with_ignored_flag(obstacle.is_some()).with_kind(kind)
    });
    libtest_mimic::run(&arguments, trials.collect()).exit_code()
}
