//! A client that knows who must answer what: requests drawn from a list, on keep-alive connections, each answer checked for
//! the server that gave it.
//!
//! Prints its ledger as a JSON line five times a second, and a last one, marked done.

#![allow(clippy::disallowed_methods)]

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// A ledger line every so often.
const EVERY: Duration = Duration::from_millis(200);

/// A request and who must answer it: `PATH=s1,s2`, `PATH COOKIE=s1` with a cookie, `=503` for a status of the switch's own,
/// `=reset` for a reset. `#` in path or cookie stands for a number from 0 to 99; with nobody named, anybody may
/// answer, but always the same.
#[derive(Debug, Clone)]
pub struct Want {
    path: String,
    cookie: Option<String>,
    who: Who,
}

#[derive(Debug, Clone)]
enum Who {
    Servers(Vec<String>),
    /// Always the same for one path and cookie.
    One,
    Status(String),
    Reset,
}

impl FromStr for Want {
    type Err = String;
    fn from_str(text: &str) -> Result<Want, String> {
        let wrong = || format!("`{text}` is not PATH=SERVER,... such as /shop/#=s1 or `/account sid=#=`");
        let (what, who) = text.rsplit_once('=').ok_or_else(wrong)?;
        let (path, cookie) = match what.split_once(' ') {
            Some((path, cookie)) => (path, Some(cookie.to_owned())),
            None => (what, None),
        };
        if !path.starts_with('/') {
            return Err(wrong());
        }
        let who = match who {
            "" => Who::One,
            "reset" => Who::Reset,
            status if status.bytes().all(|byte| byte.is_ascii_digit()) => Who::Status(status.to_owned()),
            servers => Who::Servers(servers.split(',').map(str::to_owned).collect()),
        };
        Ok(Want { path: path.to_owned(), cookie, who })
    }
}

/// What became of the requests so far.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Asked {
    /// Answered by who must.
    pub ok: u64,
    /// Answered by somebody else.
    pub misdirected: u64,
    /// Not answered, or not rightly.
    pub failed: u64,
    /// Connections made.
    pub connections: u64,
    /// Answers by server.
    pub by_server: BTreeMap<String, u64>,
    /// The first things that went wrong.
    pub complaints: Vec<String>,
    /// The last line.
    pub done: bool,
}

/// What is to be asked.
#[derive(Debug, Clone)]
pub struct AskOptions {
    /// Where to.
    pub target: SocketAddr,
    /// Connections at a time.
    pub workers: u32,
    /// Requests on a connection before it is closed.
    pub per_connection: u32,
    /// Requests in all.
    pub requests: u64,
    /// What to draw from, each as likely.
    pub wants: Vec<Want>,
    /// Ask for `/cache/N` instead, N of this many drawn by Zipf's law: the n-th is asked for 1/n as often as the first.
    pub zipf: Option<usize>,
    /// Seeds what is drawn.
    pub seed: u64,
}

/// What workers share.
struct Shared {
    options: AskOptions,
    left: u64,
    coins: fastrand::Rng,
    /// Who answered each path and cookie that one server must answer.
    homes: BTreeMap<String, String>,
    /// Up to which share each object of the Zipf load is drawn.
    zipf: Vec<f64>,
    asked: Asked,
}

/// Asks until done.
///
/// # Errors
/// Standard output is gone.
pub async fn ask(options: AskOptions) -> io::Result<()> {
    let shares: Vec<f64> = (1..=options.zipf.unwrap_or(0)).map(|n| 1.0 / n as f64).collect();
    let sum: f64 = shares.iter().sum();
    let zipf = shares.iter().scan(0.0, |up_to, share| {
        *up_to += share / sum;
        Some(*up_to)
    });
    let shared = Rc::new(RefCell::new(Shared {
        left: options.requests,
        coins: fastrand::Rng::with_seed(options.seed),
        homes: BTreeMap::new(),
        zipf: zipf.collect(),
        asked: Asked::default(),
        options,
    }));
    let local = tokio::task::LocalSet::new();
    let count = shared.borrow().options.workers;
    let workers: Vec<_> = (0..count).map(|_| local.spawn_local(worker(Rc::clone(&shared)))).collect();
    let report = async {
        loop {
            tokio::time::sleep(EVERY).await;
            println!("{}", serde_json::to_string(&shared.borrow().asked)?);
        }
    };
    let all_done = async {
        for worker in workers {
            let _ = worker.await;
        }
        Ok::<(), io::Error>(())
    };
    local
        .run_until(async {
            tokio::select! { done = all_done => done, done = report => done }
        })
        .await?;
    shared.borrow_mut().asked.done = true;
    println!("{}", serde_json::to_string(&shared.borrow().asked)?);
    Ok(())
}

impl Shared {
    /// The next request, if there is one left: path, cookie, and who must answer.
    fn next(&mut self) -> Option<Want> {
        self.left = self.left.checked_sub(1)?;
        if !self.zipf.is_empty() {
            let draw = self.coins.f64();
            let n = self.zipf.partition_point(|up_to| *up_to < draw);
            return Some(Want { path: format!("/cache/{n}"), cookie: None, who: Who::Servers(vec![]) });
        }
        let mut want = self.options.wants[self.coins.usize(0..self.options.wants.len())].clone();
        let n = self.coins.u8(0..100).to_string();
        want.path = want.path.replace('#', &n);
        want.cookie = want.cookie.map(|cookie| cookie.replace('#', &n));
        Some(want)
    }

    fn judge(&mut self, want: &Want, answer: io::Result<String>) {
        let is_right = match (&want.who, &answer) {
            (Who::Servers(servers), Ok(who)) => servers.is_empty() || servers.contains(who),
            (Who::One, Ok(who)) => {
                let key = format!("{} {:?}", want.path, want.cookie);
                self.homes.entry(key).or_insert_with(|| who.clone()) == who
            }
            (Who::Status(status), Err(error)) => error.to_string() == *status,
            (Who::Reset, Err(error)) => error.kind() == io::ErrorKind::ConnectionReset,
            _ => false,
        };
        let asked = &mut self.asked;
        match (&answer, is_right) {
            (_, true) => asked.ok += 1,
            (Ok(_), false) => asked.misdirected += 1,
            (Err(_), false) => asked.failed += 1,
        }
        if !is_right && asked.complaints.len() < 10 {
            asked.complaints.push(format!("{} {:?}: {:?}, but {answer:?}", want.path, want.cookie, want.who));
        }
        if let Ok(who) = answer {
            *asked.by_server.entry(who).or_default() += 1;
        }
    }
}

async fn worker(shared: Rc<RefCell<Shared>>) {
    let (target, per_connection) = {
        let options = &shared.borrow().options;
        (options.target, options.per_connection)
    };
    loop {
        let Some(mut want) = shared.borrow_mut().next() else { return };
        let connected = tokio::time::timeout(PATIENCE, TcpStream::connect(target)).await;
        let stream = match connected.map_err(|_| io::Error::from(io::ErrorKind::TimedOut)).and_then(|done| done) {
            Ok(stream) => stream,
            Err(error) => {
                shared.borrow_mut().judge(&want, Err(error));
                continue;
            }
        };
        shared.borrow_mut().asked.connections += 1;
        let _ = stream.set_nodelay(true);
        let mut stream = BufReader::new(stream);
        for n in 1..=per_connection {
            let answer = tokio::time::timeout(PATIENCE, request(&mut stream, &want, n == per_connection)).await;
            let answer = answer.map_err(|_| io::Error::from(io::ErrorKind::TimedOut)).and_then(|done| done);
            let goes_on = answer.is_ok() && n < per_connection;
            shared.borrow_mut().judge(&want, answer);
            if !goes_on {
                break;
            }
            match shared.borrow_mut().next() {
                Some(next) => want = next,
                None => return,
            }
        }
    }
}

/// One request; the server's name. A status other than 200 is an error that says the status.
async fn request(stream: &mut BufReader<TcpStream>, want: &Want, closes: bool) -> io::Result<String> {
    let close = if closes { "Connection: close\r\n" } else { "" };
    let cookie = want.cookie.as_ref().map_or(String::new(), |cookie| format!("Cookie: {cookie}\r\n"));
    let head = format!("GET {} HTTP/1.1\r\nHost: demo\r\n{cookie}{close}\r\n", want.path);
    stream.write_all(head.as_bytes()).await?;
    let wrong = |why: &str| io::Error::new(io::ErrorKind::InvalidData, why.to_owned());
    let (mut line, mut status, mut length) = (String::new(), String::new(), None);
    loop {
        line.clear();
        if (&mut *stream).take(4096).read_line(&mut line).await? == 0 {
            return Err(wrong("the connection ended before the answer"));
        }
        if status.is_empty() {
            status = line.split(' ').nth(1).unwrap_or_default().to_owned();
        }
        if line == "\r\n" {
            break;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse::<usize>().ok().filter(|length| *length < 4096);
        }
    }
    let mut body = vec![0; length.ok_or_else(|| wrong("no length"))?];
    stream.read_exact(&mut body).await?;
    if status != "200" {
        return Err(io::Error::other(status));
    }
    let text = String::from_utf8(body).map_err(|_| wrong("not text"))?;
    text.trim().strip_prefix("hello from ").map(str::to_owned).ok_or_else(|| wrong("not our server"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wants_read_as_written() {
        let want: Want = "/shop/#=s1,s2".parse().unwrap();
        assert!(matches!(&want.who, Who::Servers(servers) if servers == &["s1", "s2"]) && want.cookie.is_none());
        let want: Want = "/account sid=#=".parse().unwrap();
        assert!(matches!(want.who, Who::One) && want.cookie.as_deref() == Some("sid=#"));
        assert!(matches!("/full=503".parse::<Want>().unwrap().who, Who::Status(_)));
        for bad in ["", "shop=s1", "/shop"] {
            assert!(bad.parse::<Want>().is_err(), "{bad}");
        }
    }
}
