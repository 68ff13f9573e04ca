//! The device on the network: telnet and SSH listeners over one shared shell.
//!
//! ```text
//!  TcpListener -> slots (bounded; whoever knocks longest makes room)
//!      telnet: Connection ---------------------------\
//!      ssh:    authentication, channels: Connection --+-> session loop -> Device (shell, clock)
//! ```
//!
//! Bounded everywhere: connections ([`SlotLimits`]), what is typed ahead ([`crate::terminal::TYPED_MAX`]), time at the
//! login dialogue, time a peer may refuse to read. Not here: what any byte means (`connection.rs` and below).

mod device;
mod leash;
mod session;
mod slots;
mod ssh;
mod ssh_keys;
mod task;

use std::io;
use std::net::SocketAddr;

use tokio::net::TcpListener;

pub use device::{Bell, Device};
pub use slots::SlotLimits;
pub use ssh_keys::{AuthorizedKeys, HostKey, KeyFileError};

use crate::terminal::Settings;

/// Where to listen.
#[derive(Debug, Default)]
pub struct Listen {
    /// For telnet.
    pub telnet: Option<SocketAddr>,
    /// For SSH.
    pub ssh: Option<SshListen>,
    /// How many connections are held.
    pub limits: SlotLimits,
}

/// Where and as whom to listen for SSH.
#[derive(Debug)]
pub struct SshListen {
    /// The address; port 0 lets the system choose.
    pub address: SocketAddr,
    /// The device's own key.
    pub host_key: HostKey,
    /// Keys that log in without a password.
    pub authorized: AuthorizedKeys,
}

/// Why a server does not start.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen for {what} at {address}: {why}")]
pub struct BindError {
    /// `telnet` or `SSH`.
    pub what: &'static str,
    /// Where.
    pub address: SocketAddr,
    /// The system's words.
    pub why: io::Error,
}

/// Listeners that are bound.
pub struct Server {
    device: Device,
    settings: Settings,
    limits: SlotLimits,
    telnet: Option<TcpListener>,
    ssh: Option<(TcpListener, ssh::Host)>,
}

impl Server {
    /// Binds the listeners; connections wait until [`Server::run`].
    ///
    /// # Errors
    /// [`BindError`] with the address in question.
    pub async fn bind(device: Device, settings: Settings, listen: Listen) -> Result<Self, BindError> {
        let telnet = match listen.telnet {
            Some(address) => Some(bind("telnet", address).await?),
            None => None,
        };
        let ssh = match listen.ssh {
            Some(ssh) => Some((bind("SSH", ssh.address).await?, ssh::Host::new(ssh.host_key, ssh.authorized))),
            None => None,
        };
        Ok(Self { device, settings, limits: listen.limits, telnet, ssh })
    }

    /// Where telnet is served.
    pub fn telnet_address(&self) -> Option<SocketAddr> {
        self.telnet.as_ref().and_then(|listener| listener.local_addr().ok())
    }

    /// Where SSH is served.
    pub fn ssh_address(&self) -> Option<SocketAddr> {
        self.ssh.as_ref().and_then(|(listener, _)| listener.local_addr().ok())
    }

    /// Serves for ever. When the future is dropped, every connection is closed.
    pub async fn run(self) {
        task::run(self).await;
    }
}

async fn bind(what: &'static str, address: SocketAddr) -> Result<TcpListener, BindError> {
    TcpListener::bind(address).await.map_err(|why| BindError { what, address, why })
}
