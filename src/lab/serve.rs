//! The demo server: HTTP/1.1 with keep-alive, and a ledger of what it was asked.
//!
//! Any path says who it is, and `GET /cache/KEY` whether KEY was in its cache, too; `GET /bytes/N` sends N bytes of a known
//! pattern; `PUT` or `POST /digest` answers the length and a sum of what was sent. Not a web server: strict about
//! lengths, no chunked bodies.

#![allow(clippy::disallowed_methods)]

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// A request head longer than this is refused.
const HEAD_MAX: usize = 8192;

/// What a server has counted since it started.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Report {
    /// Connections accepted.
    pub accepted: u64,
    /// Requests answered.
    pub requests: u64,
    /// The same by what kind of path was asked for: `.jpg` for images, else the first part, `/shop`.
    #[serde(default)]
    pub by_kind: BTreeMap<String, u64>,
    /// Requests for what was in the cache, and for what was not.
    #[serde(default)]
    pub cache: (u64, u64),
    /// Connections open now.
    pub open: u64,
    /// Connections that ended by a reset.
    pub resets: u64,
    /// When the last connection was accepted, in microseconds since 1970.
    pub last_accept_us: u64,
    /// When the last reset was seen, in microseconds since 1970.
    pub last_reset_us: u64,
}

/// Microseconds since 1970, to compare moments between processes of one machine.
pub fn now_us() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_micros() as u64
}

/// The pattern of `/bytes/N`: byte `n` of the body.
pub fn pattern(n: u64) -> u8 {
    (n ^ (n >> 8).wrapping_mul(31) ^ (n >> 16).wrapping_mul(131)) as u8
}

/// A running sum of a body that notices lost, doubled and swapped bytes (Fletcher, in 64 bits).
#[derive(Debug, Clone, Copy, Default)]
pub struct Digest {
    length: u64,
    low: u64,
    high: u64,
}

impl Digest {
    /// More of the body.
    pub fn add(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.low = self.low.wrapping_add(u64::from(*byte) + 1);
            self.high = self.high.wrapping_add(self.low);
        }
        self.length += bytes.len() as u64;
    }

    /// The digest of this many bytes of the pattern.
    pub fn of_pattern(length: u64) -> Digest {
        let mut digest = Digest::default();
        (0..length).for_each(|n| digest.add(&[pattern(n)]));
        digest
    }
}

impl std::fmt::Display for Digest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {:016x}{:016x}", self.length, self.low, self.high)
    }
}

/// What a server is, besides its counts: its name, and what it has in its cache, the latest last.
struct Demo {
    name: String,
    cache_max: usize,
    cache: RefCell<VecDeque<String>>,
    report: RefCell<Report>,
}

impl Demo {
    /// Whether a key was in the cache; it is now.
    fn look_up(&self, key: &str) -> bool {
        let mut cache = self.cache.borrow_mut();
        let known = cache.iter().position(|cached| cached == key);
        known.map(|at| cache.remove(at));
        cache.push_back(key.to_owned());
        while cache.len() > self.cache_max {
            cache.pop_front();
        }
        known.is_some()
    }
}

/// The kind of a path, for the report.
fn kind(path: &str) -> String {
    let plain = path.split('?').next().unwrap_or_default();
    match plain.rsplit_once('.') {
        Some((_, extension)) if !extension.contains('/') && extension.len() <= 4 => format!(".{extension}"),
        _ => format!("/{}", plain.split('/').nth(1).unwrap_or_default().chars().take(20).collect::<String>()),
    }
}

/// Serves until its standard input ends; without a pipe there, until it is killed. `cache` is how many keys it remembers.
///
/// # Errors
/// The address cannot be listened on.
pub async fn serve(name: String, listen: SocketAddr, cache: usize) -> io::Result<()> {
    let listener = TcpListener::bind(listen).await?;
    let demo = Rc::new(Demo { name, cache_max: cache, cache: RefCell::default(), report: RefCell::default() });
    let local = tokio::task::LocalSet::new();
    let accept = async {
        loop {
            let (stream, _) = match listener.accept().await {
                Ok(accepted) => accepted,
                // Out of descriptors, or the client was gone again: not a reason to stop.
                Err(_) => {
                    tokio::time::sleep(std::time::Duration::from_millis(10)).await;
                    continue;
                }
            };
            {
                let mut report = demo.report.borrow_mut();
                report.accepted += 1;
                report.open += 1;
                report.last_accept_us = now_us();
            }
            tokio::task::spawn_local(connection(stream, Rc::clone(&demo)));
        }
    };
    local
        .run_until(async {
            tokio::select! { () = accept => Ok(()), done = answer_reports(&demo.report) => done }
        })
        .await
}

async fn answer_reports(report: &RefCell<Report>) -> io::Result<()> {
    let Ok(pipe) = super::load::stdin() else { return std::future::pending().await };
    let mut words = BufReader::new(pipe).lines();
    while words.next_line().await?.is_some() {
        println!("{}", serde_json::to_string(&*report.borrow())?);
    }
    Ok(())
}

async fn connection(stream: TcpStream, demo: Rc<Demo>) {
    let ended = talk(stream, &demo).await;
    let mut report = demo.report.borrow_mut();
    report.open -= 1;
    if ended.is_err_and(|error| error.kind() == io::ErrorKind::ConnectionReset) {
        report.resets += 1;
        report.last_reset_us = now_us();
    }
}

async fn talk(stream: TcpStream, demo: &Demo) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut stream = BufReader::with_capacity(64 * 1024, stream);
    let mut head = String::new();
    loop {
        head.clear();
        while !head.ends_with("\r\n\r\n") {
            let read = (&mut stream).take(HEAD_MAX as u64).read_line(&mut head).await?;
            if read == 0 {
                return Ok(());
            }
            if head.len() > HEAD_MAX {
                return stream
                    .write_all(b"HTTP/1.1 431 Too Large\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
                    .await;
            }
        }
        let closes = field(&head, "connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
        answer(&mut stream, &head, demo).await?;
        if closes {
            return stream.shutdown().await;
        }
    }
}

fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines()
        .skip(1)
        .filter_map(|line| line.split_once(':'))
        .find(|(key, _)| key.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.trim())
}

async fn answer(stream: &mut BufReader<TcpStream>, head: &str, demo: &Demo) -> io::Result<()> {
    let mut words = head.split(' ');
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    {
        let mut report = demo.report.borrow_mut();
        report.requests += 1;
        *report.by_kind.entry(kind(path)).or_default() += 1;
    }
    let length: u64 = field(head, "content-length").and_then(|value| value.parse().ok()).unwrap_or(0);
    let mut digest = Digest::default();
    let mut left = length;
    while left > 0 {
        let waiting = stream.fill_buf().await?;
        if waiting.is_empty() {
            return Ok(());
        }
        let take = waiting.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        digest.add(&waiting[..take]);
        stream.consume(take);
        left -= take as u64;
    }
    let name = &demo.name;
    if let Some(n) = path.strip_prefix("/bytes/").and_then(|n| n.parse::<u64>().ok()) {
        return send_pattern(stream, n).await;
    }
    if let Some(key) = path.strip_prefix("/cache/") {
        let hit = demo.look_up(key);
        let (hits, misses) = &mut demo.report.borrow_mut().cache;
        *if hit { hits } else { misses } += 1;
    }
    match (method, path) {
        ("POST" | "PUT", "/digest") => send(stream, "200 OK", &format!("{digest}\n")).await,
        ("GET" | "POST" | "PUT", _) => send(stream, "200 OK", &format!("hello from {name}\n")).await,
        _ => send(stream, "405 Method Not Allowed", "GET, POST and PUT\n").await,
    }
}

async fn send(stream: &mut BufReader<TcpStream>, status: &str, body: &str) -> io::Result<()> {
    let whole =
        format!("HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    stream.write_all(whole.as_bytes()).await
}

async fn send_pattern(stream: &mut BufReader<TcpStream>, length: u64) -> io::Result<()> {
    let head = format!("HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: {length}\r\n\r\n");
    stream.write_all(head.as_bytes()).await?;
    let mut chunk = vec![0; 64 * 1024];
    let mut sent = 0;
    while sent < length {
        let take = chunk.len().min(usize::try_from(length - sent).unwrap_or(usize::MAX));
        chunk[..take].iter_mut().zip(sent..).for_each(|(byte, n)| *byte = pattern(n));
        stream.write_all(&chunk[..take]).await?;
        sent += take as u64;
    }
    Ok(())
}
