//! A service with its agent inside, two lines of code away from any other: it talks to another server, and when that
//! connection is reset it says so to the managers, as an application does that sees its database die.

#![allow(clippy::disallowed_methods)]

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use super::serve::now_us;
use crate::agent;

/// How long it may take until it is in force.
const PATIENCE: Duration = Duration::from_secs(5);

/// What it says: once when it is ready, once when the peer is gone.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Seen {
    /// When that was, in microseconds since 1970.
    pub at_us: u64,
}

fn say() -> io::Result<()> {
    println!("{}", serde_json::to_string(&Seen { at_us: now_us() })?);
    Ok(())
}

/// Serves as `name` of its agent's configuration, holds a connection to a peer, and reports it when it is reset; then
/// until killed.
///
/// # Errors
/// It is not bound, or there is no such peer.
pub async fn watch(name: &str, peer: SocketAddr) -> io::Result<()> {
    let listener = agent::bind(name).map_err(io::Error::other)?;
    if !listener.binding().wait_bound(PATIENCE) {
        return Err(io::Error::other(format!("{name} is not bound within {PATIENCE:?}")));
    }
    let mut held = TcpStream::connect(peer).await?;
    say()?;
    let ended = held.read(&mut [0]).await;
    agent::report_peer_failure(peer, if ended.is_ok() { "its connection ended" } else { "its connection was reset" });
    say()?;
    std::future::pending().await
}
