//! The ServerIron's command line of `acm switch`: what it is told, and from there to its listeners.

#![allow(clippy::disallowed_methods)]

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use clap::Args;
use serde::Deserialize;
use switch_sim::chassis::access::{Access, Level, Secret, User};
use switch_sim::chassis::flash::FileFlash;
use switch_sim::chassis::{Chassis, Settings};
use switch_sim::personality::Personality;
use switch_sim::server::{AuthorizedKeys, Bell, Device, HostKey, Listen, Server, SlotLimits, SshListen};
use switch_sim::shell::{LoginAsks, SessionId, Shell};
use switch_sim::terminal;
use switch_sim::time::Time;
use tracing::{info, warn};

use super::config::{ConfigError, wrong};
use super::failure::Failure;
use crate::acm::switch::AcmSwitch;
use crate::console::AcmBox;

/// The name in the prompt unless another is given.
const HOSTNAME: &str = "acm";

/// Where the ServerIron's command line listens, and for whom.
#[derive(Debug, Clone, PartialEq, Eq, Default, Args, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CliConfig {
    /// Offer the ServerIron's command line over telnet here, such as 127.0.0.1:2323
    #[arg(id = "cli", long = "cli", value_name = "ADDR:PORT")]
    pub telnet: Option<SocketAddr>,
    /// Offer it over SSH here
    #[arg(id = "cli-ssh", long = "cli-ssh", value_name = "ADDR:PORT")]
    pub ssh: Option<SocketAddr>,
    /// Its configuration, read at the start and written by `write memory`
    #[arg(id = "cli-config", long = "cli-config", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Who may log in; with --cli-password-file
    #[arg(id = "cli-user", long = "cli-user", value_name = "NAME", requires = "cli-password-file")]
    pub user: Option<String>,
    /// A file whose first line is the password of the login
    #[arg(id = "cli-password-file", long = "cli-password-file", value_name = "FILE")]
    pub password_file: Option<PathBuf>,
    /// A file whose first line is the password of `enable`
    #[arg(id = "cli-enable-password-file", long = "cli-enable-password-file", value_name = "FILE")]
    pub enable_password_file: Option<PathBuf>,
    /// The SSH host key; made if the file is not there [default: a new one at each start]
    #[arg(id = "cli-ssh-host-key", long = "cli-ssh-host-key", value_name = "FILE")]
    pub ssh_host_key: Option<PathBuf>,
    /// Keys that may log in over SSH without a password, as in authorized_keys
    #[arg(id = "cli-ssh-authorized-keys", long = "cli-ssh-authorized-keys", value_name = "FILE")]
    pub ssh_authorized_keys: Option<PathBuf>,
    /// The name in the prompt [default: acm]
    #[arg(id = "cli-hostname", long = "cli-hostname", value_name = "NAME")]
    pub hostname: Option<String>,
}

impl CliConfig {
    /// What is given here, and for the rest what stands in the file.
    pub fn over(self, file: CliConfig) -> CliConfig {
        CliConfig {
            telnet: self.telnet.or(file.telnet),
            ssh: self.ssh.or(file.ssh),
            config: self.config.or(file.config),
            user: self.user.or(file.user),
            password_file: self.password_file.or(file.password_file),
            enable_password_file: self.enable_password_file.or(file.enable_password_file),
            ssh_host_key: self.ssh_host_key.or(file.ssh_host_key),
            ssh_authorized_keys: self.ssh_authorized_keys.or(file.ssh_authorized_keys),
            hostname: self.hostname.or(file.hostname),
        }
    }

    /// Checks what can be judged without a file or a socket.
    ///
    /// # Errors
    /// The key that is wrong.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let listens = [("cli.telnet", self.telnet), ("cli.ssh", self.ssh)];
        for (key, address) in listens.into_iter().filter_map(|(key, address)| Some((key, address?))) {
            if self.password_file.is_none() && !address.ip().is_loopback() {
                let why = format!(
                    "{address} can be reached by others, and nobody would be asked for a password; name one (with \
                     --cli-user and --cli-password-file), or listen on a loopback address"
                );
                return Err(wrong(key, why));
            }
        }
        if self.user.is_some() && self.password_file.is_none() {
            return Err(wrong("cli.user", "needs cli.password_file"));
        }
        let legal = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_');
        match &self.hostname {
            Some(name) if name.is_empty() || name.len() > 32 || !name.bytes().all(legal) => {
                Err(wrong("cli.hostname", "has 1 to 32 characters of A-Z a-z 0-9 . _ -"))
            }
            _ => Ok(()),
        }
    }

    fn access(&self) -> Result<Access, Failure> {
        let secret = |path: &Option<PathBuf>| path.as_deref().map(secret).transpose();
        let enable = secret(&self.enable_password_file)?;
        let mut access = Access {
            enable: enable.into_iter().map(|secret| (Level::SUPER_USER, secret)).collect(),
            ..Access::default()
        };
        match (&self.user, secret(&self.password_file)?) {
            (Some(name), secret) => {
                access.login = LoginAsks::NameAndPassword;
                access.users.push(User { name: name.clone(), level: Level::SUPER_USER, secret });
            }
            (None, Some(secret)) => {
                access.login = LoginAsks::Password;
                access.telnet_password = Some(secret);
            }
            (None, None) => {}
        }
        Ok(access)
    }
}

fn at(path: &Path, why: impl std::fmt::Display) -> Failure {
    Failure::Setup(format!("{}: {why}", path.display()))
}

/// The first line of a file that only its owner can read.
fn secret(path: &Path) -> Result<Secret, Failure> {
    use std::os::unix::fs::PermissionsExt;
    let mode = std::fs::metadata(path).map_err(|why| at(path, why))?.permissions().mode();
    if mode & 0o077 != 0 {
        return Err(at(path, format!("mode {:04o} lets others read the password; chmod 0600 it", mode & 0o7777)));
    }
    let text = std::fs::read_to_string(path).map_err(|why| at(path, why))?;
    match text.lines().next() {
        Some(first) if !first.is_empty() => Ok(Secret::new(first, &mut fastrand::Rng::new())),
        _ => Err(at(path, "its first line is to be the password, and is empty")),
    }
}

/// Starts the command line over a switch: reads its configuration, then listens. `None` if it is not asked for.
///
/// # Errors
/// A file or an address is not usable.
pub async fn open(config: &CliConfig, switch: Arc<dyn AcmSwitch>) -> Result<Option<Server>, Failure> {
    if config.telnet.is_none() && config.ssh.is_none() {
        return Ok(None);
    }
    let mut settings = Settings::new(Personality::Acm);
    settings.hostname = config.hostname.clone().unwrap_or_else(|| HOSTNAME.to_owned());
    settings.access = config.access()?;
    if let Some(path) = &config.config {
        settings.flash = Box::new(FileFlash::at(path));
    }
    let listen = Listen { telnet: config.telnet, ssh: ssh(config)?, limits: SlotLimits::default() };
    let bell = Bell::default();
    let chassis = boot(settings, switch, &bell).await;
    let device = Device::new(chassis, bell);
    let server = Server::bind(device, terminal::Settings::default(), listen);
    let server = server.await.map_err(|why| Failure::Setup(why.to_string()))?;
    for (name, address) in [("telnet", server.telnet_address()), ("SSH", server.ssh_address())] {
        if let Some(address) = address {
            info!(%address, "the ServerIron's command line listens on {name}");
            if name == "telnet" && !address.ip().is_loopback() {
                warn!(%address, "telnet is not encrypted: passwords can be read by whoever sees the traffic");
            }
        }
    }
    Ok(Some(server))
}

fn ssh(config: &CliConfig) -> Result<Option<SshListen>, Failure> {
    let Some(address) = config.ssh else { return Ok(None) };
    let setup = |why: switch_sim::server::KeyFileError| Failure::Setup(why.to_string());
    let host_key = match &config.ssh_host_key {
        Some(path) => HostKey::from_file(path).map_err(setup)?,
        None => HostKey::generate().map_err(|why| Failure::Setup(why.to_string()))?,
    };
    let authorized = match &config.ssh_authorized_keys {
        Some(path) => AuthorizedKeys::from_file(path).map_err(setup)?,
        None => AuthorizedKeys::default(),
    };
    Ok(Some(SshListen { address, host_key, authorized }))
}

/// A chassis that has worked off its configuration file.
async fn boot(settings: Settings, switch: Arc<dyn AcmSwitch>, bell: &Bell) -> Chassis {
    let started = Instant::now();
    let woken = Arc::new(tokio::sync::Notify::new());
    let balancer = AcmBox::new(switch, tokio::runtime::Handle::current());
    let mut chassis = Chassis::new(settings, Box::new(balancer));
    let wake = Arc::clone(&woken);
    chassis.set_waker(Arc::new(move || wake.notify_one()));
    // A session that nobody has: asking for its answer lets the device work.
    const NOBODY: SessionId = SessionId(u32::MAX);
    chassis.poll(NOBODY, Time::ZERO);
    while chassis.is_booting() {
        woken.notified().await;
        chassis.poll(NOBODY, Time::after(started.elapsed()));
    }
    for line in chassis.bad_lines() {
        warn!(line = line.number, text = %line.text, said = %line.said, "a line of the command line's configuration was not taken");
    }
    let ring = bell.clone();
    chassis.set_waker(Arc::new(move || ring.ring()));
    chassis
}
