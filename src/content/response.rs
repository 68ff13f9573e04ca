//! Where a response ends, followed as it passes: that is when a connection may be re-bound to another server.
//!
//! A [`ResponseReader`] is fed the server's bytes in consecutive pieces and holds nothing of them but the beginning of
//! the line at hand. Interim responses (RFC 9110, section 15.2) pass; then comes the final one, with a body framed as in
//! RFC 9112, section 6.3, which for HEAD and for CONNECT depends on the request.
//!
//! A response is the server's word to its client, so nothing is refused here. But where its end is not beyond doubt the
//! reader is [`Progress::Lost`], and the connection must stay with this server until it closes: a client that sees another
//! end than we do must never be given the next server's bytes for the rest of this response.

use super::body::{BodyReader, Now};
use super::bytes::trim;
use super::head::{After, Framing, HeadMap, Kind, length};

/// How much of a line is kept: fields that matter are shorter.
const LINE_KEPT: usize = 96;

/// Follows the response to one request.
#[derive(Debug, Clone)]
pub struct ResponseReader {
    kind: Kind,
    /// The client asked for another protocol.
    asked: bool,
    /// The client's own word about the connection.
    client: After,
    state: State,
}

#[derive(Debug, Clone)]
enum State {
    Head(HeadLines),
    Body(BodyReader, After),
    UntilClose,
    Complete(After),
    Tunnel,
    Lost(Doubt),
}

/// How far a response has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// More is to come.
    Within,
    /// It is complete, and the connection stays, or closes now.
    Complete(After),
    /// From here on the connection is opaque: another protocol, or a tunnel.
    Tunnel,
    /// Its end cannot be told: the connection stays with this server.
    Lost(Doubt),
}

/// Why the end of a response cannot be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Doubt {
    /// Not a status line of HTTP/1.
    StatusLine,
    /// A header line that is none, or a line feed without carriage return.
    HeaderLine,
    /// Lengths that contradict each other, or a malformed one.
    Length,
    /// A transfer coding other than `chunked`.
    Coding,
    /// Malformed chunks.
    Chunks,
    /// A 101 that nobody asked for.
    Upgrade,
}

/// What a piece was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fed {
    /// Bytes of the piece that belong to this response; all of them unless it is complete.
    pub used: usize,
    /// How far it has come.
    pub progress: Progress,
}

impl ResponseReader {
    /// Expects the response to this request.
    pub fn new(request: &HeadMap) -> ResponseReader {
        ResponseReader {
            kind: request.kind(),
            asked: request.asks_upgrade(),
            client: request.after(),
            state: State::Head(HeadLines::new()),
        }
    }

    /// How far it has come.
    pub fn progress(&self) -> Progress {
        match &self.state {
            State::Head(_) | State::Body(..) | State::UntilClose => Progress::Within,
            State::Complete(after) => Progress::Complete(*after),
            State::Tunnel => Progress::Tunnel,
            State::Lost(why) => Progress::Lost(*why),
        }
    }

    /// Takes the next piece.
    pub fn feed(&mut self, piece: &[u8]) -> Fed {
        let mut used = 0;
        while used < piece.len() {
            let rest = &piece[used..];
            match &mut self.state {
                State::Head(lines) => {
                    used += match lines.feed(rest) {
                        Ok((taken, None)) => taken,
                        Ok((taken, Some(head))) => {
                            self.state = self.after_head(&head);
                            taken
                        }
                        Err(why) => {
                            self.state = State::Lost(why);
                            rest.len()
                        }
                    }
                }
                State::Body(body, after) => match body.feed(rest) {
                    Ok(fed) => {
                        used += fed.used;
                        if fed.now == Now::Over {
                            self.state = State::Complete(*after);
                        }
                    }
                    Err(_) => {
                        self.state = State::Lost(Doubt::Chunks);
                        used = piece.len();
                    }
                },
                State::UntilClose | State::Tunnel | State::Lost(_) => used = piece.len(),
                State::Complete(_) => break,
            }
        }
        Fed { used, progress: self.progress() }
    }

    /// How many of the next bytes may pass unread: content whose end is known already, or not to be known. 0: the next
    /// byte must be read.
    pub fn passable(&self) -> u64 {
        match &self.state {
            State::Body(body, _) => body.passable(),
            State::UntilClose | State::Tunnel | State::Lost(_) => u64::MAX,
            State::Head(_) | State::Complete(_) => 0,
        }
    }

    /// Lets bytes pass unread, at most [`ResponseReader::passable`].
    pub fn pass(&mut self, bytes: u64) {
        if let State::Body(body, after) = &mut self.state {
            body.pass(bytes);
            if body.is_over() {
                self.state = State::Complete(*after);
            }
        }
    }

    /// The server has sent its last byte.
    pub fn end(&mut self) -> Progress {
        if matches!(self.state, State::UntilClose) {
            self.state = State::Complete(After::Closes);
        }
        self.progress()
    }

    fn after_head(&self, head: &HeadFacts) -> State {
        let after = if self.client == After::Closes { After::Closes } else { head.after() };
        let framing = match head.framing() {
            Ok(framing) => framing,
            Err(why) => return State::Lost(why),
        };
        match (head.status, self.kind) {
            (101, _) if self.asked => State::Tunnel,
            (101, _) => State::Lost(Doubt::Upgrade),
            (100..=199, _) => State::Head(HeadLines::new()),
            (200..=299, Kind::Connect) => State::Tunnel,
            (204 | 304, _) | (_, Kind::Head) => State::Complete(after),
            _ => match framing {
                None => State::UntilClose,
                Some(framing) => match BodyReader::new(framing) {
                    body if body.is_over() => State::Complete(after),
                    body => State::Body(body, after),
                },
            },
        }
    }
}

/// Reads the lines of a response's head.
#[derive(Debug, Clone)]
struct HeadLines {
    line: [u8; LINE_KEPT],
    /// Bytes of the line so far, kept or not.
    len: u32,
    facts: Option<HeadFacts>,
}

/// What a response's head says about its end.
#[derive(Debug, Clone, Copy, Default)]
struct HeadFacts {
    status: u16,
    is_http10: bool,
    length: Option<u64>,
    codings: u8,
    is_chunked: bool,
    closes: bool,
    keeps_alive: bool,
}

impl HeadLines {
    fn new() -> HeadLines {
        HeadLines { line: [0; LINE_KEPT], len: 0, facts: None }
    }

    /// Takes bytes up to the end of the head; returns how many, and the head if it is complete.
    fn feed(&mut self, piece: &[u8]) -> Result<(usize, Option<HeadFacts>), Doubt> {
        let mut at = 0;
        while let Some(feed) = memchr::memchr(b'\n', &piece[at..]) {
            self.keep(&piece[at..at + feed]);
            at += feed + 1;
            if let Some(head) = self.end_line()? {
                return Ok((at, Some(head)));
            }
            self.len = 0;
        }
        self.keep(&piece[at..]);
        Ok((piece.len(), None))
    }

    fn keep(&mut self, more: &[u8]) {
        let room = self.line.get_mut(self.len as usize..).unwrap_or_default();
        let kept = more.len().min(room.len());
        room[..kept].copy_from_slice(&more[..kept]);
        self.len = self.len.saturating_add(u32::try_from(more.len()).unwrap_or(u32::MAX));
    }

    /// A line is complete, up to its line feed.
    fn end_line(&mut self) -> Result<Option<HeadFacts>, Doubt> {
        let kept = &self.line[..LINE_KEPT.min(self.len as usize)];
        let is_whole = self.len as usize <= LINE_KEPT;
        let line = match kept.strip_suffix(b"\r") {
            Some(line) if is_whole => line,
            _ if is_whole => return Err(Doubt::HeaderLine),
            // Its end was not kept; whether a carriage return was there is not known, and clients read it either way.
            _ => kept,
        };
        let Some(facts) = &mut self.facts else {
            self.facts = Some(status_line(line).ok_or(Doubt::StatusLine)?);
            return Ok(None);
        };
        if line.is_empty() {
            return Ok(self.facts);
        }
        facts.field(line, is_whole)?;
        Ok(None)
    }
}

/// `HTTP/1.x SP 3DIGIT SP [reason]`; the last space is missing from some.
fn status_line(line: &[u8]) -> Option<HeadFacts> {
    let [b'H', b'T', b'T', b'P', b'/', b'1', b'.', minor @ (b'0' | b'1'), b' ', code @ ..] = line else {
        return None;
    };
    let [a @ b'1'..=b'9', b @ b'0'..=b'9', c @ b'0'..=b'9', reason @ ..] = code else { return None };
    if !matches!(reason, [] | [b' ', ..]) || reason.contains(&b'\r') {
        return None;
    }
    let digit = |byte: &u8| u16::from(byte - b'0');
    let status = digit(a) * 100 + digit(b) * 10 + digit(c);
    Some(HeadFacts { status, is_http10: *minor == b'0', ..HeadFacts::default() })
}

/// The status code of a status line of HTTP/1, without its line end.
pub(super) fn status_of(line: &[u8]) -> Option<u16> {
    status_line(line).map(|facts| facts.status)
}

impl HeadFacts {
    fn field(&mut self, line: &[u8], is_whole: bool) -> Result<(), Doubt> {
        // A folded line, or one without a name: clients differ about it.
        let colon = line.iter().position(|byte| *byte == b':').filter(|colon| *colon > 0);
        let Some(colon) = colon.filter(|_| !matches!(line[0], b' ' | b'\t')) else {
            return if is_whole { Err(Doubt::HeaderLine) } else { Ok(()) };
        };
        let (name, value) = (&line[..colon], trim(&line[colon + 1..]));
        if matches!(name.last(), Some(b' ' | b'\t')) || line.contains(&b'\r') || line.contains(&0) {
            return Err(Doubt::HeaderLine);
        }
        if name.eq_ignore_ascii_case(b"content-length") {
            let length = length(value).filter(|_| is_whole).ok_or(Doubt::Length)?;
            if self.length.replace(length).is_some() {
                return Err(Doubt::Length);
            }
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            self.codings += 1;
            self.is_chunked = value.eq_ignore_ascii_case(b"chunked");
            if !is_whole || self.codings > 1 || !self.is_chunked || self.is_http10 {
                return Err(Doubt::Coding);
            }
        } else if name.eq_ignore_ascii_case(b"connection") {
            let has = |option: &[u8]| value.split(|byte| *byte == b',').any(|it| trim(it).eq_ignore_ascii_case(option));
            // What of a long list was not kept might be `close`.
            self.closes |= has(b"close") || !is_whole;
            self.keeps_alive |= has(b"keep-alive");
        }
        Ok(())
    }

    /// `None`: until the connection closes.
    fn framing(&self) -> Result<Option<Framing>, Doubt> {
        match (self.length, self.is_chunked) {
            (Some(_), true) => Err(Doubt::Length),
            (Some(length), false) => Ok(Some(Framing::Length(length))),
            (None, true) => Ok(Some(Framing::Chunked)),
            (None, false) => Ok(None),
        }
    }

    fn after(&self) -> After {
        match !self.closes && (!self.is_http10 || self.keeps_alive) {
            true => After::Persists,
            false => After::Closes,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::head::{Limits, Step, read};
    use super::*;

    fn request(text: &str) -> HeadMap {
        match read(format!("{text}\r\nHost: a\r\n\r\n").as_bytes(), Limits::default()) {
            Step::Head(map) => map,
            other => panic!("{text}: {other:?}"),
        }
    }

    /// Feeds in pieces of `stride`; returns what was used and where it came to.
    fn fed(request: &HeadMap, response: &[u8], stride: usize) -> (usize, Progress) {
        let mut reader = ResponseReader::new(request);
        let mut at = 0;
        for piece in response.chunks(stride) {
            let fed = reader.feed(piece);
            at += fed.used;
            if fed.used < piece.len() {
                break;
            }
        }
        (at, reader.progress())
    }

    #[test]
    fn responses_end_where_they_end() {
        use Progress::*;
        let get = request("GET / HTTP/1.1");
        let (persists, closes) = (Complete(After::Persists), Complete(After::Closes));
        for (kind, response, progress) in [
            (&get, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", persists),
            (&get, "HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", persists),
            (&get, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", persists),
            (&get, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok", closes),
            (&get, "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", closes),
            (&get, "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok", persists),
            (&get, "HTTP/1.1 204 No Content\r\n\r\n", persists),
            (&get, "HTTP/1.1 304 Not Modified\r\nContent-Length: 500\r\n\r\n", persists),
            (
                &get,
                "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nLink: x\r\n\r\nHTTP/1.1 204 x\r\n\r\n",
                persists,
            ),
            (&get, "HTTP/1.1 200 OK\r\n\r\nuntil close", Within),
            (&get, "HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\nok", Within),
            (&get, "HTTP/1.1 200 OK\r\nX: 1", Within),
            (&request("HEAD / HTTP/1.1"), "HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n", persists),
            (&request("HEAD / HTTP/1.1"), "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", persists),
            (&request("CONNECT a:1 HTTP/1.1"), "HTTP/1.1 200 OK\r\n\r\nanything", Tunnel),
            (&request("CONNECT a:1 HTTP/1.1"), "HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nno", persists),
            (
                &request("GET / HTTP/1.1\r\nUpgrade: x\r\nConnection: Upgrade"),
                "HTTP/1.1 101 Switching\r\nUpgrade: x\r\n\r\n\u{1}",
                Tunnel,
            ),
            (&request("GET / HTTP/1.1\r\nConnection: close"), "HTTP/1.1 204 x\r\n\r\n", closes),
            (&get, "HTTP/1.1 101 Switching\r\n\r\n", Lost(Doubt::Upgrade)),
            (&get, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok", Lost(Doubt::Length)),
            (&get, "HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\nok", Lost(Doubt::Length)),
            (
                &get,
                "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
                Lost(Doubt::Length),
            ),
            (&get, "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n", Lost(Doubt::Coding)),
            (&get, "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", Lost(Doubt::Coding)),
            (&get, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", Lost(Doubt::Chunks)),
            (&get, "HTTP/1.1 200 OK\nContent-Length: 2\n\nok", Lost(Doubt::HeaderLine)),
            (&get, "HTTP/1.1 200 OK\r\nX: 1\r\n folded\r\n\r\n", Lost(Doubt::HeaderLine)),
            (&get, "HTTP/1.1 200 OK\r\nContent-Length : 2\r\n\r\nok", Lost(Doubt::HeaderLine)),
            (&get, "HTTP/2 200\r\n\r\n", Lost(Doubt::StatusLine)),
            (&get, "SSH-2.0-x\r\n", Lost(Doubt::StatusLine)),
        ] {
            for stride in 1..=response.len() {
                let (used, came_to) = fed(kind, response.as_bytes(), stride);
                assert_eq!((used, came_to), (response.len(), progress), "{response:?} by {stride}");
            }
        }
    }

    #[test]
    fn the_next_response_is_not_touched() {
        let text = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\n";
        for stride in 1..text.len() {
            assert_eq!(fed(&request("GET / HTTP/1.1"), text, stride), (40, Progress::Complete(After::Persists)));
        }
    }

    #[test]
    fn long_lines_pass_and_hide_nothing_that_matters() {
        let get = request("GET / HTTP/1.1");
        let long = "x".repeat(3000);
        let (cookie, list) = (format!("Set-Cookie: {long}\r\n"), format!("Connection: {long}, x\r\n"));
        let with = |lines: &str| format!("HTTP/1.1 200 OK\r\n{lines}Content-Length: 2\r\n\r\nok");
        assert_eq!(fed(&get, with(&cookie).as_bytes(), 7).1, Progress::Complete(After::Persists));
        assert_eq!(fed(&get, with(&list).as_bytes(), 7).1, Progress::Complete(After::Closes));
        let padded = format!("HTTP/1.1 200 OK\r\nContent-Length:{}2\r\n\r\nok", " ".repeat(200));
        assert_eq!(fed(&get, padded.as_bytes(), 7).1, Progress::Lost(Doubt::Length));
    }

    #[test]
    fn a_close_completes_what_lasts_until_then() {
        let mut reader = ResponseReader::new(&request("GET / HTTP/1.1"));
        reader.feed(b"HTTP/1.1 200 OK\r\n\r\nbody");
        assert_eq!(reader.end(), Progress::Complete(After::Closes));
        let mut cut = ResponseReader::new(&request("GET / HTTP/1.1"));
        cut.feed(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nbod");
        assert_eq!(cut.end(), Progress::Within);
    }
}
