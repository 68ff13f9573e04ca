//! The control plane of a lab: managers and agents as processes of their own, over real multicast, with keys and
//! configuration files as in earnest.
//!
//! Managers run in `m1`, `m2`, ...; in each `s<n>` an `acm run` runs a demo server, which serves the version that the
//! lab's version file names when it starts.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::process::Process;
use super::rig::Lab;
use super::{VIP, server};
use crate::acm::list::{BindingRow, Filter, State};
use crate::acm::switch::AcmSwitch;
use crate::acm::words::ServiceKey;

/// The timers of managers and agents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// Of the study behind COMICS: beats of 3 s, beacons of 10 s.
    Normal,
    /// 250 ms.
    Fast,
}

impl Profile {
    fn name(self) -> &'static str {
        match self {
            Profile::Normal => "normal",
            Profile::Fast => "fast",
        }
    }
}

/// How long a demo server takes to start: so that one sees it.
pub const BOOT: Duration = Duration::from_millis(200);

/// The service of [`peer`](super::peer).
const PEER: &str = "10.0.0.100:81";

/// Multicast group, interface, and a buffer that any system grants.
const NETWORK: &str = "[network]\nmulticast = \"239.9.9.9:7946\"\ninterface = \"eth1\"\nreceive_buffer = 131072\n";

/// See the module's documentation. Dropping it kills every process.
pub struct Control {
    directory: PathBuf,
    logs: PathBuf,
    socket: String,
    managers: Vec<Option<Process>>,
    agents: Vec<Option<Process>>,
}

impl Control {
    /// Writes keys and configurations for a lab made with managers. Nothing runs yet. What the processes say goes to
    /// files in `logs`, or away with the lab.
    ///
    /// # Errors
    /// The system's.
    pub fn prepare(lab: &Lab, logs: Option<PathBuf>) -> io::Result<Control> {
        let directory = lab.directory()?;
        let control = Control {
            logs: logs.unwrap_or_else(|| directory.clone()),
            socket: lab.socket(),
            directory,
            managers: Vec::new(),
            agents: (0..lab.server_count()).map(|_| None).collect(),
        };
        for key in ["managers", "web", "operators"] {
            let secret: String = (0..4)
                .map(|_| crate::beacon::config::random().map(|bits| format!("{bits:016x}")))
                .collect::<Result<_, _>>()?;
            control.write(key, &format!("{secret}\n"))?;
        }
        control.set_version("v1")?;
        let operator = format!("group = \"lab\"\n{NETWORK}\n{}", control.key(3, "operators", "operator = true"));
        control.write("operator.toml", &operator)?;
        Ok(control)
    }

    fn path(&self, name: &str) -> String {
        self.directory.join(name).display().to_string()
    }

    fn write(&self, name: &str, text: &str) -> io::Result<()> {
        let mut file = OpenOptions::new().create(true).write(true).truncate(true).mode(0o600).open(self.path(name))?;
        file.write_all(text.as_bytes())
    }

    fn key(&self, id: u16, name: &str, grants: &str) -> String {
        format!("[[key]]\nid = {id}\nsecret_file = {:?}\n{grants}\n\n", self.path(name))
    }

    /// What servers serve that start from now on.
    ///
    /// # Errors
    /// The system's.
    pub fn set_version(&self, version: &str) -> io::Result<()> {
        self.write("version", &format!("{version}\n"))
    }

    fn log(&self, name: &str) -> io::Result<Stdio> {
        Ok(File::options().create(true).append(true).open(self.logs.join(format!("{name}.log")))?.into())
    }

    /// Starts manager `n`, from 1, in its node.
    ///
    /// # Errors
    /// The system's.
    pub fn start_manager(&mut self, lab: &Lab, n: u8, profile: Profile) -> io::Result<()> {
        let text = format!(
            "group = \"lab\"\nnode = {n}\nsign_with = 1\nprofile = \"{}\"\n{NETWORK}\n{}{}{}[[switch]]\nname = \"sw\"\nurl = {:?}\nvips = [\"10.0.0.100\"]\n",
            profile.name(),
            self.key(1, "managers", "managers = [1, 2, 3, 4, 5]"),
            self.key(2, "web", "vips = [\"10.0.0.100\"]\nreals = [\"10.0.0.0/24\"]\nforce = true"),
            self.key(3, "operators", "operator = true"),
            self.socket,
        );
        let name = format!("m{n}");
        self.write(&format!("{name}.toml"), &text)?;
        let args = ["manager", "--config", &self.path(&format!("{name}.toml"))];
        let process = Process::start_with(lab.node(&name)?, &args, self.log(&name)?, &[])?;
        let place = usize::from(n);
        self.managers.resize_with(self.managers.len().max(place), || None);
        self.managers[place - 1] = Some(process);
        Ok(())
    }

    /// A manager's process.
    pub fn manager(&mut self, n: u8) -> Option<&mut Process> {
        self.managers.get_mut(usize::from(n) - 1).and_then(Option::as_mut)
    }

    /// Kills a manager, as a crash would.
    ///
    /// # Errors
    /// The system's.
    pub async fn kill_manager(&mut self, n: u8) -> io::Result<()> {
        match self.managers.get_mut(usize::from(n) - 1).and_then(Option::take) {
            Some(mut process) => process.kill().await,
            None => Ok(()),
        }
    }

    /// The configuration of the agents in a server's node.
    fn agent_config(&self, n: u8, profile: Profile) -> io::Result<String> {
        let text = format!(
            "group = \"lab\"\nsign_with = 2\nprofile = \"{}\"\naddress = \"{}\"\ndrain = \"10s\"\n\n[services]\nweb = \"{VIP}\"\npeer = \"{PEER}\"\n\n\
             [health]\ninterval = \"150ms\"\ntimeout = \"200ms\"\n\n{NETWORK}\n{}{}",
            profile.name(),
            server(n).ip(),
            self.key(2, "web", ""),
            self.key(3, "operators", "operator = true"),
        );
        let name = format!("s{n}.toml");
        self.write(&name, &text)?;
        Ok(self.path(&name))
    }

    /// Starts `acm run` with a demo server in node `s<n>`.
    ///
    /// # Errors
    /// The system's.
    pub fn start_agent(&mut self, lab: &Lab, n: u8, profile: Profile) -> io::Result<()> {
        let (name, config, version) = (format!("s{n}"), self.agent_config(n, profile)?, self.path("version"));
        let own = std::env::current_exe()?.display().to_string();
        let health = format!("exec '{own}' lab node fetch --target $ADDRESS:$PORT --bytes 16");
        let boot = format!("{}ms", BOOT.as_millis());
        let args = [
            "run",
            "--bind",
            "web",
            "--config",
            &config,
            "--grace",
            "2s",
            "--health-command",
            &health,
            "--",
            &own,
            "lab",
            "node",
            "serve",
            "--name",
            &name,
            "--version-file",
            &version,
            "--boot",
            &boot,
        ];
        let process = Process::start_with(lab.node(&name)?, &args, self.log(&name)?, &[])?;
        self.agents[usize::from(n) - 1] = Some(process);
        Ok(())
    }

    /// The pids of agent `n` and of its server's process.
    ///
    /// # Errors
    /// One of them does not run.
    pub fn pids(&self, n: u8) -> io::Result<(Pid, Pid)> {
        let none = || io::Error::other(format!("s{n} does not run"));
        let agent = self.agents[usize::from(n) - 1].as_ref().and_then(Process::pid).ok_or_else(none)?;
        let children = fs::read_to_string(format!("/proc/{agent}/task/{agent}/children"))?;
        // A health check may be another child; the server was started first.
        let child = children.split_whitespace().next().and_then(|pid| pid.parse().ok()).and_then(Pid::from_raw);
        Ok((Pid::from_raw(agent as i32).ok_or_else(none)?, child.ok_or_else(none)?))
    }

    /// Sends a signal to a server's process; its agent lives on.
    ///
    /// # Errors
    /// It does not run.
    pub fn signal_server(&self, n: u8, signal: Signal) -> io::Result<()> {
        Ok(kill_process(self.pids(n)?.1, signal)?)
    }

    /// Kills an agent and its server at once: nobody is left there to say so.
    ///
    /// # Errors
    /// It does not run.
    pub async fn kill_agent(&mut self, n: u8) -> io::Result<()> {
        let (agent, child) = self.pids(n)?;
        kill_process(agent, Signal::KILL)?;
        // The server dies with its agent, if it has not been killed before.
        let _ = kill_process(child, Signal::KILL);
        match self.agents[usize::from(n) - 1].take() {
            Some(mut process) => process.ended().await.map(drop),
            None => Ok(()),
        }
    }

    /// Ends an agent and its server as one does: taken back, drained.
    ///
    /// # Errors
    /// The system's.
    pub async fn end_agent(&mut self, n: u8) -> io::Result<()> {
        match self.agents[usize::from(n) - 1].take() {
            Some(mut process) => {
                process.signal(Signal::TERM)?;
                process.ended().await.map(drop)
            }
            None => Ok(()),
        }
    }

    /// Starts a service in a server's node that watches another server.
    ///
    /// # Errors
    /// The system's.
    pub fn start_peer(&self, lab: &Lab, n: u8, watched: SocketAddr, profile: Profile) -> io::Result<Process> {
        let node = format!("s{n}");
        let config = self.agent_config(n, profile)?;
        let watch = watched.to_string();
        // An agent inside a service reads where its configuration is from the environment.
        let args = ["lab", "node", "peer", "--name", "peer", "--watch", &watch];
        Process::start_with(lab.node(&node)?, &args, self.log("peer")?, &[("ACM_CONFIG", &config)])
    }

    /// Starts `acm roll web` at a manager's node, with more arguments; its report is JSON.
    ///
    /// # Errors
    /// The system's.
    pub fn start_roll(&self, lab: &Lab, more: &[&str]) -> io::Result<Process> {
        let config = self.path("operator.toml");
        let mut args = vec!["roll", "web", "--config", &config, "--json"];
        args.extend(more);
        Process::start_with(lab.node("m1")?, &args, self.log("roll")?, &[])
    }

    /// What the managers say of themselves.
    ///
    /// # Errors
    /// None answers.
    pub async fn managers(&self, lab: &Lab) -> io::Result<serde_json::Value> {
        let config = self.path("operator.toml");
        let args = ["managers", "--config", &config, "--json", "--wait", "600ms"];
        let mut process = Process::start_with(lab.node("m1")?, &args, self.log("managers")?, &[])?;
        process.next().await
    }

    /// Which manager leads.
    ///
    /// # Errors
    /// None does.
    pub async fn leader(&self, lab: &Lab) -> io::Result<u8> {
        let told = self.managers(lab).await?;
        let rows = told["managers"].as_array().cloned().unwrap_or_default();
        let leading = rows.iter().filter(|row| row["role"] == "leading").max_by_key(|row| row["term"].as_u64());
        let node = leading.and_then(|row| row["node"].as_u64()).and_then(|node| u8::try_from(node).ok());
        node.ok_or_else(|| io::Error::other("no manager leads"))
    }
}

/// The rows of the lab's virtual service.
///
/// # Errors
/// The switch does not answer.
pub async fn rows(switch: &dyn AcmSwitch) -> io::Result<Vec<BindingRow>> {
    let listing = switch.list(&Filter::service(ServiceKey::tcp(VIP))).await;
    Ok(listing.map_err(|why| io::Error::other(why.to_string()))?.bindings)
}

/// True if server `n` has an active binding.
pub fn is_active(rows: &[BindingRow], n: u8) -> bool {
    rows.iter().any(|row| row.key.real.ip() == server(n).ip() && row.state == State::Active)
}
