//! A Foundry ServerIron, or anything that speaks its command line, over telnet or SSH.
//!
//! ```text
//!  primitive -> plan -> commands -> console -> session <-> (telnet) <-> wire
//!                ^                                |
//!                config, tables  <--------------- answers
//! ```
//!
//! * [`switch`]: the contract: one call at a time, retries, List; `carry`: a plan typed, and taken back if it is refused;
//! * `plan`: from a primitive to commands, with the table of what stands for what; `rows`: from what the box has to rows;
//!   `content`: rules and groups, in the words of [`ironware`](crate::ironware);
//! * `command`: what is typed; `config`, `csw`, `screen`: what is read; `name`, `port_name`, `personality`: the box's words;
//! * [`session`]: the login dialogue and one command at a time, without I/O; `prompt`, `text`, `notice`, [`telnet`]: its
//!   bytes;
//! * `console`: commands in their modes; `task`: the clock and the connection; `ssh`: the other way in;
//! * [`transcript`]: sessions written down and read again; `backoff`: when to connect again.
//!
//! Addresses: `telnet://[USER@]HOST[:23]`, `ssh://USER@HOST[:22]`, and options: `owner=NAME` (whose everything is whose
//! name on the box is ours, default `operator`), `password-file=PATH`, `enable-password-file=PATH`, and for SSH
//! `hostkey=SHA256:...`, `known-hosts=PATH`, `trust-new=yes`. The configuration is not saved to the box's flash: what
//! ACM says is soft state.
//!
//! Not here: an emulator. This driver shares nothing with one but what real boxes were seen to say.

mod backoff;
mod carry;
mod command;
mod config;
mod console;
mod content;
mod csw;
mod name;
mod notice;
pub mod personality;
mod plan;
mod port_name;
mod prompt;
mod rows;
mod screen;
pub mod session;
mod ssh;
pub mod switch;
mod task;
pub mod telnet;
mod text;
pub mod transcript;

use std::path::PathBuf;

use super::target::CONNECT_PATIENCE;
use super::url::{DriverUrl, Place};
use super::{credentials, target::Wire};
use crate::acm::connect::SwitchProfile;
use crate::acm::error::AcmError;
use crate::acm::switch::{AcmSwitch, Answer};
use crate::acm::words::operator;
use crate::base::id::Name;
use session::Login;
use ssh::{NewKeys, SshDial, Trust};
use switch::{Dial, Dialled, FoundrySwitch, Framing, Settings};

/// Options of every address; the two of files of secrets come on top.
const OPTIONS: [&str; 3] = ["owner", credentials::OPTIONS[0], credentials::OPTIONS[1]];
/// Options of an SSH address.
const SSH_OPTIONS: [&str; 3] = ["hostkey", "known-hosts", "trust-new"];

/// Connects to the box that an address names, and logs in.
///
/// # Errors
/// `Invalid` (the address, its options, a file of secrets), `Unreachable`, `Forbidden` (the login, the host key).
pub(super) async fn connect(url: &DriverUrl, profile: &SwitchProfile) -> Result<Box<dyn AcmSwitch>, AcmError> {
    let secrets = credentials::resolve(url, &profile.credentials)?;
    let Place::Host { user, host, port } = url.place() else {
        return Err(AcmError::invalid("switch", format!("`{url}` names no host; write telnet://[USER@]HOST[:PORT]")));
    };
    let login = Login {
        user: user.clone(),
        password: secrets.password.clone(),
        enable_password: secrets.enable_password.clone(),
    };
    let dial: Box<dyn Dial> = match url.scheme() {
        "telnet" => {
            url.only_options(&OPTIONS)?;
            Box::new(TelnetDial { host: host.clone(), port: port.unwrap_or(23) })
        }
        "ssh" => {
            url.only_options(&[OPTIONS, SSH_OPTIONS].concat())?;
            let Some(user) = user.clone() else {
                return Err(AcmError::invalid("switch", format!("`{url}` names nobody; write ssh://USER@HOST")));
            };
            let (port, password) = (port.unwrap_or(22), secrets.password);
            Box::new(SshDial { host: host.clone(), port, user, password, trust: trust(url)? })
        }
        other => {
            let why = format!("a ServerIron is reached by telnet or ssh, not by `{other}`");
            return Err(AcmError::invalid("switch", why));
        }
    };
    let recorder = task::recorder(profile.record.as_deref(), profile.recent.clone(), &login)
        .map_err(|why| AcmError::invalid("record", why.to_string()))?;
    let settings = Settings { address: place_of(url), login, owner: owner(url)? };
    let switch = FoundrySwitch::new(settings, dial).recorded(recorder);
    switch.log_in().await?;
    Ok(Box::new(switch))
}

/// The address without its options, for errors.
fn place_of(url: &DriverUrl) -> String {
    let text = url.to_string();
    text.split('?').next().unwrap_or_default().to_owned()
}

fn owner(url: &DriverUrl) -> Result<Name, AcmError> {
    match url.option("owner") {
        None => Ok(operator()),
        Some(name) if name == plan::FOREIGN => {
            Err(AcmError::invalid("owner", "`foreign` is what is not ours; choose another"))
        }
        Some(name) => {
            name.parse().map_err(|why: crate::base::id::NotAName| AcmError::invalid("owner", why.to_string()))
        }
    }
}

fn trust(url: &DriverUrl) -> Result<Trust, AcmError> {
    let new = match url.option("trust-new") {
        None | Some("no") => NewKeys::Refused,
        Some("yes") => NewKeys::Believed,
        Some(_) => return Err(AcmError::invalid("trust-new", "must be yes or no")),
    };
    if let Some(pinned) = url.option("hostkey") {
        return match pinned.starts_with("SHA256:") {
            true => Ok(Trust::Pinned(pinned.to_owned())),
            false => Err(AcmError::invalid("hostkey", "write the fingerprint as SHA256:...")),
        };
    }
    let home = || std::env::home_dir().map(|home| home.join(".ssh/known_hosts"));
    Ok(Trust::Known { file: url.option("known-hosts").map(PathBuf::from).or_else(home), new })
}

/// Connects over TCP, to telnet.
struct TelnetDial {
    host: String,
    port: u16,
}

impl Dial for TelnetDial {
    fn dial(&self) -> Answer<'_, Result<Dialled, AcmError>> {
        Box::pin(async move {
            let place = || format!("telnet://{}:{}", self.host, self.port);
            let connecting = tokio::net::TcpStream::connect((self.host.as_str(), self.port));
            let stream = match tokio::time::timeout(CONNECT_PATIENCE, connecting).await {
                Ok(Ok(stream)) => stream,
                Ok(Err(why)) => return Err(AcmError::Unreachable { why: format!("{}: {why}", place()) }),
                Err(_) => {
                    let why = format!("{}: no answer within {CONNECT_PATIENCE:?}", place());
                    return Err(AcmError::Unreachable { why });
                }
            };
            // A command is one small write whose answer is awaited.
            let set = stream.set_nodelay(true);
            set.map_err(|why| AcmError::Unreachable { why: format!("{}: {why}", place()) })?;
            let wire: std::pin::Pin<Box<dyn Wire>> = Box::pin(stream);
            Ok(Dialled { wire, framing: Framing::Telnet })
        })
    }
}
