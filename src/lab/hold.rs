//! Clients that hold connections open, and tell which were reset, and when; and clients that begin a request and stall.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
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

/// What became of clients that stall.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Stalled {
    /// Connections opened, half a head sent on each.
    pub open: u64,
    /// Those that were closed or reset by the other side.
    pub ended: u64,
    /// Those that were told `408 Request Timeout` before.
    pub told: u64,
    /// From half a head to the end, in milliseconds: the shortest and the longest.
    pub after_ms: (u64, u64),
}

/// Opens connections, sends half a head on each, reports, waits until all were ended, and reports again.
///
/// # Errors
/// A connection cannot be opened.
pub async fn stall(target: SocketAddr, connections: u32) -> io::Result<()> {
    let mut stalled = Stalled { after_ms: (u64::MAX, 0), ..Stalled::default() };
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    let local = tokio::task::LocalSet::new();
    local
        .run_until(async {
            for _ in 0..connections {
                let opened = tokio::time::timeout(PATIENCE, TcpStream::connect(target)).await;
                let mut stream = opened.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
                stream.write_all(b"GET /half-a-head HTTP/1.1\r\nHost: de").await?;
                stalled.open += 1;
                let (tell, since) = (tell.clone(), now_us());
                tokio::task::spawn_local(async move {
                    let mut said = Vec::new();
                    // However it ends, it ended.
                    let _ = stream.read_to_end(&mut said).await;
                    let _ = tell.send((said.starts_with(b"HTTP/1.1 408 "), (now_us() - since) / 1000));
                });
            }
            println!("{}", serde_json::to_string(&stalled)?);
            while stalled.ended < stalled.open {
                let Some((was_told, after)) = told.recv().await else { break };
                stalled.ended += 1;
                stalled.told += u64::from(was_told);
                stalled.after_ms = (stalled.after_ms.0.min(after), stalled.after_ms.1.max(after));
            }
            println!("{}", serde_json::to_string(&stalled)?);
            Ok(())
        })
        .await
}
