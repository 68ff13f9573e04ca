//! The load generator: workers in a closed loop against one address, each request's fate counted.
//!
//! Prints its ledger as a JSON line five times a second, and a last one, marked final, after the word `stop` or the end
//! of its standard input.

#![allow(clippy::disallowed_methods)]

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use super::serve::now_us;

/// A ledger line every so often.
const EVERY: Duration = Duration::from_millis(200);

/// How long an answer may take, when nothing else is said.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// What became of every connection and request so far.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Ledger {
    /// Connections tried.
    pub attempts: u64,
    /// Connections established.
    pub connected: u64,
    /// Requests answered, rightly.
    pub ok: u64,
    /// The same by server.
    pub by_server: BTreeMap<String, u64>,
    /// Connections refused by a reset.
    pub refused: u64,
    /// Connections that were not established in time.
    pub connect_timeouts: u64,
    /// Established connections reset.
    pub reset: u64,
    /// Requests without an answer in time.
    pub timeouts: u64,
    /// Anything else that went wrong.
    pub other: u64,
    /// The longest time to a connection, in microseconds.
    pub slowest_connect_us: u64,
    /// When the latest of those that failed was begun, in microseconds since 1970: the connection, or the request on it.
    #[serde(default)]
    pub last_failed_us: u64,
    /// When this line was written, in microseconds since 1970.
    pub at_us: u64,
    /// The last line.
    pub done: bool,
}

impl Ledger {
    /// Requests that failed after their connection was established.
    pub fn failed(&self) -> u64 {
        self.reset + self.timeouts + self.other
    }

    /// What happened since an earlier line.
    #[must_use]
    pub fn since(&self, before: &Ledger) -> Ledger {
        let mut ledger = self.clone();
        ledger.attempts -= before.attempts;
        ledger.connected -= before.connected;
        ledger.ok -= before.ok;
        ledger.refused -= before.refused;
        ledger.connect_timeouts -= before.connect_timeouts;
        ledger.reset -= before.reset;
        ledger.timeouts -= before.timeouts;
        ledger.other -= before.other;
        ledger.by_server.retain(|server, count| {
            *count -= before.by_server.get(server).copied().unwrap_or(0);
            *count > 0
        });
        ledger
    }
}

/// What the load is to be.
#[derive(Debug, Clone)]
pub struct LoadOptions {
    /// Where to.
    pub target: SocketAddr,
    /// Connections at a time.
    pub workers: u32,
    /// Requests on a connection before it is closed; 1: short connections.
    pub per_connection: u32,
    /// How long establishing a connection may take.
    pub connect_timeout: Duration,
    /// Connections to try, all workers together; `None`: until stopped.
    pub attempts: Option<u64>,
    /// A worker's pause after each request.
    pub pause: Duration,
    /// How long an answer may take.
    pub patience: Duration,
}

/// Standard input, to be waited for.
///
/// # Errors
/// It is not open.
pub fn stdin() -> io::Result<tokio::net::unix::pipe::Receiver> {
    use std::os::fd::AsFd;
    let own = io::stdin().as_fd().try_clone_to_owned()?;
    tokio::net::unix::pipe::Receiver::from_owned_fd(own)
}

/// Runs until told to stop, or until the attempts are used up.
///
/// # Errors
/// Standard input or output are gone.
pub async fn load(options: LoadOptions) -> io::Result<()> {
    let ledger = Rc::new(RefCell::new(Ledger::default()));
    let stopping = Rc::new(std::cell::Cell::new(false));
    let local = tokio::task::LocalSet::new();
    let workers: Vec<_> = (0..options.workers)
        .map(|_| local.spawn_local(worker(options.clone(), Rc::clone(&ledger), Rc::clone(&stopping))))
        .collect();
    let report = async {
        loop {
            tokio::time::sleep(EVERY).await;
            ledger.borrow_mut().at_us = now_us();
            println!("{}", serde_json::to_string(&*ledger.borrow())?);
        }
    };
    let told_to_stop = async {
        // Started by hand, without a pipe, it runs until its attempts are used up or it is killed.
        if let Ok(pipe) = stdin() {
            let _ = BufReader::new(pipe).lines().next_line().await;
            stopping.set(true);
        }
        std::future::pending::<io::Result<()>>().await
    };
    let all_done = async {
        for worker in workers {
            let _ = worker.await;
        }
        Ok(())
    };
    local
        .run_until(async {
            tokio::select! { done = all_done => done, done = report => done, done = told_to_stop => done }
        })
        .await?;
    ledger.borrow_mut().done = true;
    println!("{}", serde_json::to_string(&*ledger.borrow())?);
    Ok(())
}

async fn worker(options: LoadOptions, ledger: Rc<RefCell<Ledger>>, stopping: Rc<std::cell::Cell<bool>>) {
    while !stopping.get() {
        {
            let mut ledger = ledger.borrow_mut();
            if options.attempts.is_some_and(|attempts| ledger.attempts >= attempts) {
                return;
            }
            ledger.attempts += 1;
        }
        let (start, mut begun_us) = (Instant::now(), now_us());
        let connected = tokio::time::timeout(options.connect_timeout, TcpStream::connect(options.target)).await;
        let stream = match connected {
            Ok(Ok(stream)) => stream,
            failed => {
                let was_refused = count_unconnected(&mut ledger.borrow_mut(), failed, begun_us);
                // Refusals come at once; a client that is refused does not hammer.
                if was_refused {
                    tokio::time::sleep(options.pause).await;
                }
                continue;
            }
        };
        {
            let mut ledger = ledger.borrow_mut();
            ledger.connected += 1;
            ledger.slowest_connect_us = ledger.slowest_connect_us.max(start.elapsed().as_micros() as u64);
        }
        if let Err(error) = talk(stream, &options, &ledger, &stopping, &mut begun_us).await {
            let mut ledger = ledger.borrow_mut();
            ledger.last_failed_us = ledger.last_failed_us.max(begun_us);
            match error.kind() {
                io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => ledger.reset += 1,
                io::ErrorKind::TimedOut => ledger.timeouts += 1,
                _ => ledger.other += 1,
            }
        }
    }
}

/// True if the connection was refused.
fn count_unconnected(
    ledger: &mut Ledger,
    failed: Result<io::Result<TcpStream>, tokio::time::error::Elapsed>,
    begun_us: u64,
) -> bool {
    ledger.last_failed_us = ledger.last_failed_us.max(begun_us);
    let refused = ledger.refused;
    match failed {
        Err(_) => ledger.connect_timeouts += 1,
        Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => ledger.refused += 1,
        Ok(Err(error)) if error.kind() == io::ErrorKind::TimedOut => ledger.connect_timeouts += 1,
        Ok(_) => ledger.other += 1,
    }
    ledger.refused > refused
}

async fn talk(
    stream: TcpStream,
    options: &LoadOptions,
    ledger: &RefCell<Ledger>,
    stopping: &std::cell::Cell<bool>,
    begun_us: &mut u64,
) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut stream = BufReader::new(stream);
    for n in 1..=options.per_connection {
        let is_last = n == options.per_connection || stopping.get();
        *begun_us = now_us();
        let answer = tokio::time::timeout(options.patience, request(&mut stream, is_last)).await;
        let server = answer.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
        {
            let mut ledger = ledger.borrow_mut();
            ledger.ok += 1;
            *ledger.by_server.entry(server).or_default() += 1;
        }
        if !options.pause.is_zero() {
            tokio::time::sleep(options.pause).await;
        }
        if is_last {
            break;
        }
    }
    Ok(())
}

/// One request; returns the server's name.
pub(super) async fn request(stream: &mut BufReader<TcpStream>, closes: bool) -> io::Result<String> {
    let close = if closes { "Connection: close\r\n" } else { "" };
    stream.write_all(format!("GET / HTTP/1.1\r\nHost: demo\r\n{close}\r\n").as_bytes()).await?;
    let wrong = |why: &str| io::Error::new(io::ErrorKind::InvalidData, why.to_owned());
    let mut line = String::new();
    let mut length = None;
    let mut is_first = true;
    loop {
        line.clear();
        if (&mut *stream).take(4096).read_line(&mut line).await? == 0 {
            return Err(wrong("the connection ended before the answer"));
        }
        if is_first && !line.starts_with("HTTP/1.1 200 ") {
            return Err(wrong("not 200"));
        }
        is_first = false;
        if line == "\r\n" {
            break;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse::<usize>().ok().filter(|length| *length < 4096);
        }
    }
    let mut body = vec![0; length.ok_or_else(|| wrong("no length"))?];
    stream.read_exact(&mut body).await?;
    let text = String::from_utf8(body).map_err(|_| wrong("not text"))?;
    text.trim().strip_prefix("hello from ").map(str::to_owned).ok_or_else(|| wrong("not our server"))
}
