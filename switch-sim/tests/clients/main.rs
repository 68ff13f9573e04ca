//! Real clients, unmodified, against the real binary: RANCID, netmiko, OpenSSH.
//!
//! A client that is not installed is reported as ignored, with the reason; `.ci/clients` installs them all.

#![allow(missing_docs)]

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Output, Stdio};

use libtest_mimic::{Arguments, Failed, Trial};
use serde_json::Value;
use tempfile::TempDir;

const PASSWORD: &str = "door-key";
const ENABLE_PASSWORD: &str = "engine-key";

type Outcome = Result<(), Failed>;

/// A test's name, what it does, and why it cannot.
type Named<'a> = (&'static str, fn() -> Outcome, &'a Option<String>);

/// A start-up configuration of more than a page.
fn startup_config() -> String {
    let mut text = String::new();
    for n in 1..=20 {
        text += &format!("server real rs{n} 10.1.0.{n}\n port http\n!\n");
    }
    text += "server virtual vs1 10.2.0.1\n port http\n bind http rs1 http rs2 http\n!\nend\n";
    text
}

/// A running `switch-sim` and a folder of its own.
struct Device {
    child: Child,
    folder: TempDir,
    ready: Value,
}

impl Drop for Device {
    fn drop(&mut self) {
        // It may have ended already.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

impl Device {
    fn start(more: &[&str]) -> Result<Device, Failed> {
        let folder = tempfile::tempdir()?;
        let config = folder.path().join("startup-config");
        fs::write(&config, startup_config())?;
        let mut child = Command::new(env!("CARGO_BIN_EXE_switch-sim"))
            .args(["--telnet", "0", "--ssh", "0", "--json", "--startup-config"])
            .arg(&config)
            .args(more)
            .env("SWITCH_SIM_PASSWORD", PASSWORD)
            .env("SWITCH_SIM_ENABLE_PASSWORD", ENABLE_PASSWORD)
            .stdout(Stdio::piped())
            .spawn()?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().ok_or("no output")?).read_line(&mut line)?;
        let ready = serde_json::from_str(&line);
        let device = Device { child, folder, ready: ready.unwrap_or_default() };
        if device.ready["event"] == "ready" { Ok(device) } else { Err(format!("not ready: {line:?}").into()) }
    }

    fn port(&self, of: &str) -> Result<String, Failed> {
        let address = self.ready[of].as_str().ok_or("no address")?;
        Ok(address.rsplit(':').next().unwrap_or_default().to_owned())
    }

    fn saved(&self) -> Result<String, Failed> {
        Ok(fs::read_to_string(self.folder.path().join("startup-config"))?)
    }

    /// A home for RANCID: how to log in, readable by nobody else.
    fn rancid_home(&self, methods: &str) -> Result<PathBuf, Failed> {
        let home = self.folder.path().join("home");
        fs::create_dir(&home)?;
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(home.join(".cloginrc"))?;
        writeln!(file, "{methods}add password * {{{PASSWORD}}} {{{ENABLE_PASSWORD}}}")?;
        Ok(home)
    }
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr)).replace('\r', "")
}

/// Runs a command and wants it to succeed, within a time that only a hanging session needs.
fn run(mut command: Command) -> Result<String, Failed> {
    let output = command.stdin(Stdio::null()).output()?;
    let text = text(&output);
    if output.status.success() { Ok(text) } else { Err(format!("{}: {text}", output.status).into()) }
}

fn timed(seconds: u32, program: &str) -> Command {
    let mut command = Command::new("timeout");
    command.arg(seconds.to_string()).arg(program);
    command
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

const FLOGIN: &str = "/usr/lib/rancid/bin/flogin";
const RANCID_PATH: &str = "/usr/lib/rancid/bin:/usr/local/bin:/usr/bin:/bin";

fn flogin(device: &Device, methods: &str, commands: &str) -> Result<String, Failed> {
    let home = device.rancid_home(methods)?;
    let mut command = timed(120, FLOGIN);
    command.args(["-t", "20", "-c", commands, "127.0.0.1"]).env("HOME", &home).env("PATH", RANCID_PATH);
    command.current_dir(&home);
    run(command)
}

fn telnet_method(device: &Device, user: &str) -> Result<String, Failed> {
    let user = if user.is_empty() { String::new() } else { format!("add user * {{{user}}}\n") };
    Ok(format!("add method * {{telnet:{}}}\n{user}", device.port("telnet")?))
}

fn flogin_configures_and_saves() -> Outcome {
    let device = Device::start(&["--login", "user", "--user", "admin"])?;
    let methods = telnet_method(&device, "admin")?;
    let commands = "configure terminal;server real web1 10.9.0.1;port http;end;write memory;show running-config";
    let seen = flogin(&device, &methods, commands)?;
    wants(&seen, &["Disable page display mode", "(config-rs-web1)#port http", ".Write startup-config done."])?;
    wants(
        &seen,
        &["#show running-config", "server real rs20 10.1.0.20", "server real web1 10.9.0.1", "\nend\n", "#exit"],
    )?;
    wants(&device.saved()?, &["server real web1 10.9.0.1", " port http"])
}

fn flogin_with_only_a_password() -> Outcome {
    let device = Device::start(&["--login", "password", "--prompt-prefix", "SLB-", "--hostname", "lbf-5.pdq"])?;
    let seen = flogin(&device, &telnet_method(&device, "")?, "show server bind")?;
    wants(&seen, &["User login successful.", "SLB-telnet@lbf-5.pdq>", "SLB-telnet@lbf-5.pdq#show server bind", "#exit"])
}

fn flogin_straight_to_privileged() -> Outcome {
    let device = Device::start(&["--login", "user", "--user", "admin", "--login-privileged"])?;
    let methods = telnet_method(&device, "admin")? + "add autoenable * {1}\n";
    let seen = flogin(&device, &methods, "show server bind")?;
    wants(&seen, &["User login successful.\n\ntelnet@ServerIron#", "#show server bind", "#exit"])
}

fn flogin_at_an_old_box() -> Outcome {
    let quirks = ["cr-and-lf", "space-before-colon", "password-stars", "byte-wise-output=0"];
    let mut args = vec!["--login", "user", "--user", "admin"];
    quirks.iter().for_each(|quirk| args.extend(["--quirk", quirk]));
    let device = Device::start(&args)?;
    // flogin knows the space in front of the colon after the name, and has to be told of the one after the password.
    let methods = telnet_method(&device, "admin")? + "add passprompt * {\"Password ?:\"}\n";
    let seen = flogin(&device, &methods, "show running-config")?;
    wants(&seen, &["Please Enter Password : ", "server real rs20 10.1.0.20", "\nend\n", "#exit"])
}

fn rancid_collects_the_configuration() -> Outcome {
    let device = Device::start(&["--login", "user", "--user", "admin"])?;
    let home = device.rancid_home(&telnet_method(&device, "admin")?)?;
    let mut command = timed(240, "/usr/lib/rancid/bin/rancid");
    command.args(["-d", "-t", "foundry", "127.0.0.1"]).env("HOME", &home).env("PATH", RANCID_PATH).current_dir(&home);
    let said = run(command)?;
    if ["missed", "Error", "error:", "End of run not found", "clean_run=0"].iter().any(|bad| said.contains(bad)) {
        return Err(said.into());
    }
    let collected = fs::read_to_string(home.join("127.0.0.1.new"))?;
    wants(
        &collected,
        &[
            "!RANCID-CONTENT-TYPE: foundry",
            "server real rs1 10.1.0.1",
            "server real rs20 10.1.0.20",
            "server virtual vs1 10.2.0.1",
            "bind http rs1 http rs2 http",
            "\nend\n",
        ],
    )
}

fn netmiko(device_type: &str, listener: &str, secret: &str, more: &[&str]) -> Outcome {
    let mut args = vec!["--login", "user", "--user", "admin"];
    args.extend(more);
    let device = Device::start(&args)?;
    let mut command = timed(180, "python3");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/netmiko_session.py");
    command.arg(script).args([device_type, &device.port(listener)?, "admin"]);
    command.env("NETMIKO_PASSWORD", PASSWORD).env("NETMIKO_SECRET", secret);
    let said = run(command)?;
    let seen: Value = serde_json::from_str(&said).map_err(|why| format!("{why}: {said}"))?;
    let part = |name: &str| seen[name].as_str().unwrap_or_default().to_owned();
    if !part("prompt").ends_with("@ServerIron#") {
        return Err(seen.to_string().into());
    }
    wants(&part("before"), &["server real rs1 10.1.0.1", "server real rs20 10.1.0.20", "\nend"])?;
    wants(&part("changes"), &["(config-vs-shop)#bind http web1 http", "ServerIron(config-vs-shop)#end"])?;
    wants(&part("saved"), &["Write startup-config done."])?;
    let changed = ["server real web1 10.9.0.1", "server virtual shop 10.9.0.100", "bind http web1 http", "\nend"];
    wants(&part("after"), &changed)?;
    wants(&part("startup"), &changed)?;
    wants(&device.saved()?, &changed[..3])
}

fn netmiko_over_telnet() -> Outcome {
    netmiko("ruckus_fastiron_telnet", "telnet", ENABLE_PASSWORD, &[])
}

fn netmiko_over_ssh() -> Outcome {
    netmiko("ruckus_fastiron", "ssh", ENABLE_PASSWORD, &[])
}

fn netmiko_where_enable_asks_for_a_name() -> Outcome {
    netmiko("ruckus_fastiron", "ssh", PASSWORD, &["--enable-asks-user"])
}

fn openssh_with_a_key() -> Outcome {
    let keys = tempfile::tempdir()?;
    let key = keys.path().join("id");
    let mut keygen = Command::new("ssh-keygen");
    keygen.args(["-q", "-t", "rsa", "-b", "2048", "-N", "", "-f"]).arg(&key);
    run(keygen)?;
    let authorized = keys.path().join("id.pub").display().to_string();
    let device = Device::start(&["--login", "user", "--user", "admin", "--ssh-authorized-keys", &authorized])?;
    let mut ssh = timed(60, "ssh");
    ssh.args(["-p", &device.port("ssh")?, "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"]);
    ssh.args(["-o", "BatchMode=yes", "-o", "LogLevel=ERROR", "-i"]).arg(&key);
    ssh.args(["admin@127.0.0.1", "show server bind"]);
    wants(&run(ssh)?, &["vs1", "rs1", "rs2"])
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
    let rancid = obstacle(&["test", "-x", FLOGIN]);
    let netmiko = obstacle(&["python3", "-c", "import netmiko"]);
    let openssh = obstacle(&["ssh", "-V"]);
    let tests: [Named<'_>; 9] = [
        ("rancid::flogin_configures_and_saves", flogin_configures_and_saves, &rancid),
        ("rancid::flogin_with_only_a_password", flogin_with_only_a_password, &rancid),
        ("rancid::flogin_straight_to_privileged", flogin_straight_to_privileged, &rancid),
        ("rancid::flogin_at_an_old_box", flogin_at_an_old_box, &rancid),
        ("rancid::collects_the_configuration", rancid_collects_the_configuration, &rancid),
        ("netmiko::over_telnet", netmiko_over_telnet, &netmiko),
        ("netmiko::over_ssh", netmiko_over_ssh, &netmiko),
        ("netmiko::where_enable_asks_for_a_name", netmiko_where_enable_asks_for_a_name, &netmiko),
        ("openssh::with_a_key", openssh_with_a_key, &openssh),
    ];
    for why in [&rancid, &netmiko, &openssh].into_iter().flatten() {
        eprintln!("ignored: {why}");
    }
    let trials = tests.into_iter().map(|(name, test, obstacle)| {
        let kind = if obstacle.is_some() { "client not installed" } else { "" };
        Trial::test(name, test).with_ignored_flag(obstacle.is_some()).with_kind(kind)
    });
    libtest_mimic::run(&Arguments::from_args(), trials.collect()).exit_code()
}
