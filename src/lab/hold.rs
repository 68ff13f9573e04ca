//! Clients that hold connections open, and tell which were reset, and when.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::net::TcpStream;

use super::load::{request, stdin};
use super::serve::now_us;

/// How long one connection may take to be opened and answered.
const PATIENCE: Duration = Duration::from_secs(5);

/// What is held.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Held {
    /// Connections by the server they are with.
    pub by_server: BTreeMap<String, u64>,
    /// Those that were reset, by server.
    pub reset: BTreeMap<String, u64>,
    /// Those that ended in another way, by server.
    pub closed: BTreeMap<String, u64>,
    /// When the last reset came, in microseconds since 1970.
    pub last_reset_us: u64,
}

/// Opens connections, reports, then reports again at each word on standard input, until it ends.
///
/// # Errors
/// A connection cannot be opened.
pub async fn hold(target: SocketAddr, connections: u32) -> io::Result<()> {
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    let mut held = Held::default();
    let local = tokio::task::LocalSet::new();
    local
        .run_until(async {
            for _ in 0..connections {
                let opened = tokio::time::timeout(PATIENCE, open(target)).await;
                let (server, stream) = opened.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
                *held.by_server.entry(server.clone()).or_default() += 1;
                let tell = tell.clone();
                tokio::task::spawn_local(async move {
                    // Nobody listens any more at the end.
                    let _ = tell.send((server, watch(stream).await, now_us()));
                });
            }
            println!("{}", serde_json::to_string(&held)?);
            let mut words = BufReader::new(stdin()?).lines();
            loop {
                tokio::select! {
                    Some((server, was_reset, at)) = told.recv() => {
                        let ended = if was_reset { &mut held.reset } else { &mut held.closed };
                        *ended.entry(server).or_default() += 1;
                        if was_reset {
                            held.last_reset_us = held.last_reset_us.max(at);
                        }
                    }
                    word = words.next_line() => match word? {
                        Some(_) => println!("{}", serde_json::to_string(&held)?),
                        None => return Ok(()),
                    },
                }
            }
        })
        .await
}

async fn open(target: SocketAddr) -> io::Result<(String, BufReader<TcpStream>)> {
    let mut stream = BufReader::new(TcpStream::connect(target).await?);
    let server = request(&mut stream, false).await?;
    Ok((server, stream))
}

/// Waits for the end of a connection; true if it was a reset.
async fn watch(mut stream: BufReader<TcpStream>) -> bool {
    let mut byte = [0];
    stream.read(&mut byte).await.is_err_and(|error| error.kind() == io::ErrorKind::ConnectionReset)
}
