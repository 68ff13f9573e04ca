//! What clients and servers say to each other: HTTP/1.1 in which a request carries everything its answer depends on, so
//! that either side can check every byte. Written and read here, not with the plane's reader.

use std::fmt::Write as _;

use super::hello::Hello;

/// The fatal alert `decode_error` of TLS (RFC 8446, section 6).
const ALERT: [u8; 7] = [21, 3, 1, 0, 2, 2, 50];

/// How a body is delimited, and how long it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Body {
    None,
    Length(usize),
    Chunked(usize),
    UntilClose(usize),
}

impl Body {
    fn code(self) -> String {
        match self {
            Body::None => "n0".into(),
            Body::Length(n) => format!("l{n}"),
            Body::Chunked(n) => format!("c{n}"),
            Body::UntilClose(n) => format!("z{n}"),
        }
    }

    fn read(code: &str) -> Option<Body> {
        let n = code.get(1..)?.parse().ok()?;
        Some(match code.as_bytes()[0] {
            b'n' => Body::None,
            b'l' => Body::Length(n),
            b'c' => Body::Chunked(n),
            b'z' => Body::UntilClose(n),
            _ => return None,
        })
    }

    fn header(self) -> String {
        match self {
            Body::None | Body::UntilClose(_) => String::new(),
            Body::Length(n) => format!("Content-Length: {n}\r\n"),
            Body::Chunked(_) => "Transfer-Encoding: chunked\r\n".into(),
        }
    }

    pub(crate) fn len(self) -> usize {
        match self {
            Body::None => 0,
            Body::Length(n) | Body::Chunked(n) | Body::UntilClose(n) => n,
        }
    }

    /// The body on the wire; `seed` says which bytes, and how chunks are cut.
    fn write(self, seed: u32, to: &mut Vec<u8>) {
        match self {
            Body::None => {}
            Body::Length(n) | Body::UntilClose(n) => to.extend((0..n).map(|at| byte(seed, at))),
            Body::Chunked(n) => {
                let mut at = 0;
                let mut sizes = fastrand::Rng::with_seed(u64::from(seed));
                while at < n {
                    let most = [3, 100, 3000][sizes.usize(0..3)];
                    let size = sizes.usize(1..=most).min(n - at);
                    let extension = if sizes.u8(0..8) == 0 { ";x=\"1;2\"" } else { "" };
                    to.extend(format!("{size:x}{extension}\r\n").bytes());
                    to.extend((at..at + size).map(|at| byte(seed, at)));
                    to.extend(b"\r\n");
                    at += size;
                }
                to.extend(b"0\r\n");
                if sizes.u8(0..4) == 0 {
                    to.extend(b"Checked: no\r\n");
                }
                to.extend(b"\r\n");
            }
        }
    }
}

/// Byte `at` of a body.
fn byte(seed: u32, at: usize) -> u8 {
    ((seed ^ at as u32).wrapping_mul(0x9e37_79b1) >> 24) as u8
}

/// Which client's which request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct AskId {
    pub(crate) client: u32,
    pub(crate) number: u32,
}

impl AskId {
    fn seed(self, speaker: u32) -> u32 {
        speaker.wrapping_mul(0x85eb_ca6b)
            ^ self.client.wrapping_mul(0xc2b2_ae35)
            ^ self.number.wrapping_mul(0x27d4_eb2f)
    }
}

/// Who shall answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Due {
    /// One of these servers.
    From(Vec<u32>),
    /// The switch itself, with this status; then it closes.
    Switch(u16),
    /// The switch itself, with an alert of TLS; then it closes.
    Alert,
    /// Nobody: the switch closes without a word.
    Closed,
    /// Nobody: the connection is reset.
    Reset,
}

/// A request.
#[derive(Debug, Clone)]
pub(crate) struct Ask {
    pub(crate) id: AskId,
    pub(crate) method: &'static str,
    pub(crate) path: String,
    /// Header lines, each with its end.
    pub(crate) headers: String,
    pub(crate) upload: Body,
    pub(crate) answer: Body,
    /// The server sends `100 Continue` or `103 Early Hints` first.
    pub(crate) interim: bool,
    /// The server shall close afterwards.
    pub(crate) closes: bool,
    pub(crate) due: Due,
}

impl Ask {
    pub(crate) fn write(&self, to: &mut Vec<u8>) {
        let Ask { id, method, path, headers, upload, answer, .. } = self;
        let (up, down, interim) = (upload.code(), answer.code(), u8::from(self.interim));
        let closing = if self.closes { "Connection: close\r\n" } else { "" };
        let head = format!(
            "{method} {path}?q={}.{}.{up}.{down}.{interim} HTTP/1.1\r\nHost: shop.example\r\n{headers}{}{closing}\r\n",
            id.client,
            id.number,
            upload.header()
        );
        to.extend(head.bytes());
        upload.write(id.seed(0), to);
    }
}

/// A request as a server read it from a head.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) id: AskId,
    pub(crate) path: String,
    is_head: bool,
    pub(crate) upload: Body,
    answer: Body,
    interim: bool,
    closes: bool,
}

/// Reads a request's head.
pub(crate) fn read_request(head: &str) -> Result<Asked, String> {
    let wrong = || format!("a request that nobody made: {head:?}");
    let line = head.lines().next().ok_or_else(wrong)?;
    let mut words = line.split(' ');
    let (method, target) = (words.next().ok_or_else(wrong)?, words.next().ok_or_else(wrong)?);
    let (path, query) = target.split_once("?q=").ok_or_else(wrong)?;
    let fields: Vec<&str> = query.split('.').collect();
    let [client, number, upload, answer, interim] = fields[..] else { return Err(wrong()) };
    let read = |text: &str| text.parse().map_err(|_| wrong());
    Ok(Asked {
        id: AskId { client: read(client)?, number: read(number)? },
        path: path.to_owned(),
        is_head: method == "HEAD",
        upload: Body::read(upload).ok_or_else(wrong)?,
        answer: Body::read(answer).ok_or_else(wrong)?,
        interim: interim == "1",
        closes: head.contains("\r\nConnection: close\r\n"),
    })
}

impl Asked {
    /// Server `name`'s answer; whether it closes afterwards.
    pub(crate) fn answer(&self, name: u32, to: &mut Vec<u8>) -> bool {
        let interim = if self.id.number.is_multiple_of(2) { "100 Continue" } else { "103 Early Hints" };
        let mut head = if self.interim { format!("HTTP/1.1 {interim}\r\n\r\n") } else { String::new() };
        let status = if self.answer == Body::None { "204 No Content" } else { "200 OK" };
        let _ = write!(head, "HTTP/1.1 {status}\r\nServer-Name: s{name}\r\n{}", self.answer.header());
        let closes = self.closes || matches!(self.answer, Body::UntilClose(_));
        head.push_str(if closes { "Connection: close\r\n\r\n" } else { "\r\n" });
        to.extend(head.bytes());
        if !self.is_head {
            self.answer.write(self.id.seed(name), to);
        }
        closes
    }
}

/// What a reader found.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    /// A head; [`Reader::body`] must say what follows.
    Head(String),
    /// What a client of TLS says first.
    Hello(Hello),
    /// The switch refuses a hello.
    Alert,
    /// A whole message ended.
    End,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Head,
    Plain(usize),
    ChunkSize,
    Chunk(usize),
    ChunkEnd,
    Trailer,
    ToTheEnd,
}

/// Reads one message after the other, and checks the bytes of bodies.
pub(crate) struct Reader {
    bytes: Vec<u8>,
    state: State,
    seed: u32,
    at: usize,
    length: usize,
}

impl Reader {
    pub(crate) fn new() -> Reader {
        Reader { bytes: vec![], state: State::Head, seed: 0, at: 0, length: 0 }
    }

    pub(crate) fn feed(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Bytes nobody has made sense of yet.
    pub(crate) fn left(&self) -> &[u8] {
        &self.bytes
    }

    /// True inside a body that ends with the connection.
    pub(crate) fn is_read_to_the_end(&self) -> bool {
        self.state == State::ToTheEnd && self.at == self.length
    }

    /// How the body after a head is delimited, and what is in it: what `speaker` (0: the client) says about `id`.
    pub(crate) fn body(&mut self, body: Body, id: AskId, speaker: u32) {
        (self.seed, self.at, self.length) = (id.seed(speaker), 0, body.len());
        self.state = match body {
            Body::None => State::Plain(0),
            Body::Length(n) => State::Plain(n),
            Body::Chunked(_) => State::ChunkSize,
            Body::UntilClose(_) => State::ToTheEnd,
        };
    }

    fn check(&mut self, count: usize) -> Result<(), String> {
        for (n, found) in self.bytes.drain(..count).enumerate() {
            let due = byte(self.seed, self.at + n);
            if found != due {
                return Err(format!("byte {} of {} of a body is {found} instead of {due}", self.at + n, self.length));
            }
        }
        self.at += count;
        if self.at > self.length { Err(format!("a body longer than {}", self.length)) } else { Ok(()) }
    }

    fn line(&mut self) -> Option<String> {
        let end = self.bytes.windows(2).position(|two| two == b"\r\n")?;
        let line = self.bytes.drain(..end + 2).take(end).map(char::from).collect();
        Some(line)
    }

    pub(crate) fn next(&mut self) -> Result<Option<Piece>, String> {
        loop {
            let have = self.bytes.len();
            match self.state {
                State::Head if self.bytes.first() == Some(&22) => {
                    let Some((hello, len)) = Hello::read(&self.bytes)? else { return Ok(None) };
                    self.bytes.drain(..len);
                    return Ok(Some(Piece::Hello(hello)));
                }
                State::Head if self.bytes.starts_with(&ALERT) => {
                    self.bytes.drain(..ALERT.len());
                    return Ok(Some(Piece::Alert));
                }
                State::Head => {
                    let Some(end) = self.bytes.windows(4).position(|four| four == b"\r\n\r\n") else { return Ok(None) };
                    return Ok(Some(Piece::Head(self.bytes.drain(..end + 4).map(char::from).collect())));
                }
                State::Plain(0) => {
                    self.state = State::Head;
                    return Ok(Some(Piece::End));
                }
                State::Plain(left) => {
                    self.check(have.min(left))?;
                    self.state = State::Plain(left - have.min(left));
                }
                State::ChunkSize => {
                    let Some(line) = self.line() else { return Ok(None) };
                    let size = line.split(';').next().unwrap_or_default();
                    let size = usize::from_str_radix(size, 16).map_err(|_| format!("chunk size {line:?}"))?;
                    self.state = if size == 0 { State::Trailer } else { State::Chunk(size) };
                }
                State::Chunk(0) => self.state = State::ChunkEnd,
                State::Chunk(left) => {
                    self.check(have.min(left))?;
                    self.state = State::Chunk(left - have.min(left));
                }
                State::ChunkEnd => match self.line() {
                    None => return Ok(None),
                    Some(line) if line.is_empty() => self.state = State::ChunkSize,
                    Some(line) => return Err(format!("{line:?} after a chunk")),
                },
                State::Trailer => {
                    let Some(line) = self.line() else { return Ok(None) };
                    if line.is_empty() {
                        if self.at != self.length {
                            return Err(format!("a body of {} instead of {}", self.at, self.length));
                        }
                        self.state = State::Plain(0);
                    }
                }
                State::ToTheEnd => {
                    self.check(have)?;
                    return Ok(None);
                }
            }
            if matches!(self.state, State::Plain(1..) | State::Chunk(1..)) && self.bytes.is_empty() {
                return Ok(None);
            }
        }
    }
}
