//! `Set-Cookie` in a response's head, as it passes: where one can be put in, and what those say that are there.
//!
//! A [`Seeker`] is fed the server's bytes in order, from the first one behind the request's turn, and holds no more of them
//! than the line at hand. Interim responses (RFC 9110, section 15.2) are passed over. What is no response of HTTP/1, or
//! turns into another protocol, ends the search; whether the response is sound is not judged here
//! ([`response`](super::response)).

use super::bytes::trim;
use super::response::status_of;

/// Bytes of a line that are kept; a longer one says nothing. Browsers keep cookies of 4,096 bytes.
const LINE_MAX: usize = 4096 + 512;

/// Bytes of a head, interim responses included, that are looked at.
const HEAD_MAX: usize = 64 * 1024;

/// Looks for something in a response's head.
#[derive(Debug, Clone)]
pub struct Seeker {
    /// The cookie whose value is wanted; `None`: the place where a field can be put in.
    cookie: Option<Box<str>>,
    line: Vec<u8>,
    /// The line at hand is longer than what is kept.
    is_cut: bool,
    within: Within,
    looked_at: usize,
    found: Option<Box<[u8]>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Within {
    Status,
    Interim,
    Fields,
}

/// How far a search has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sought {
    /// It goes on.
    More,
    /// Behind so many bytes of the piece is where the first field of the final response begins.
    Place(usize),
    /// The head is read, and the cookie is set to this.
    Value(Box<[u8]>),
    /// It is not there, or not to be found.
    Nothing,
}

impl Seeker {
    /// Looks for the place where a field can be put in.
    pub fn of_place() -> Seeker {
        Seeker::new(None)
    }

    /// Looks for the value that a cookie is set to; the last, if there are several, as browsers do (RFC 6265, section 5.3).
    pub fn of_cookie(name: &str) -> Seeker {
        Seeker::new(Some(name.into()))
    }

    fn new(cookie: Option<Box<str>>) -> Seeker {
        Seeker { cookie, line: Vec::new(), is_cut: false, within: Within::Status, looked_at: 0, found: None }
    }

    /// Takes the next piece. Not to be asked again after it has ended.
    pub fn feed(&mut self, piece: &[u8]) -> Sought {
        let mut at = 0;
        while let Some(feed) = memchr::memchr(b'\n', &piece[at..]) {
            self.keep(&piece[at..at + feed]);
            at += feed + 1;
            let line = std::mem::take(&mut self.line);
            // Without the carriage return nobody should put in a line that has one.
            let text = match line.strip_suffix(b"\r") {
                _ if std::mem::take(&mut self.is_cut) => b"cut",
                Some(text) => text,
                None => return Sought::Nothing,
            };
            match self.take_line(text) {
                Sought::More => {}
                Sought::Place(_) => return Sought::Place(at),
                ended => return ended,
            }
            self.line = line;
            self.line.clear();
        }
        self.keep(&piece[at..]);
        self.looked_at += piece.len();
        if self.looked_at > HEAD_MAX { Sought::Nothing } else { Sought::More }
    }

    fn keep(&mut self, more: &[u8]) {
        let room = LINE_MAX.saturating_sub(self.line.len());
        self.is_cut |= more.len() > room;
        self.line.extend_from_slice(&more[..more.len().min(room)]);
    }

    fn take_line(&mut self, line: &[u8]) -> Sought {
        match (self.within, line) {
            (Within::Status, _) => match status_of(line) {
                None | Some(101) => return Sought::Nothing,
                Some(100..=199) => self.within = Within::Interim,
                Some(_) if self.cookie.is_none() => return Sought::Place(0),
                Some(_) => self.within = Within::Fields,
            },
            (Within::Interim, []) => self.within = Within::Status,
            (Within::Interim, _) => {}
            (Within::Fields, []) => return self.found.take().map_or(Sought::Nothing, Sought::Value),
            (Within::Fields, _) => self.take_field(line),
        }
        Sought::More
    }

    fn take_field(&mut self, line: &[u8]) {
        let Some(colon) = memchr::memchr(b':', line) else { return };
        if !line[..colon].eq_ignore_ascii_case(b"set-cookie") {
            return;
        }
        let pair = line[colon + 1..].split(|byte| *byte == b';').next().unwrap_or_default();
        let Some(equals) = memchr::memchr(b'=', pair) else { return };
        let (name, value) = (trim(&pair[..equals]), trim(&pair[equals + 1..]));
        if self.cookie.as_ref().is_some_and(|cookie| cookie.as_bytes() == name) {
            self.found = Some(value.into()).filter(|_| !value.is_empty());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds in pieces of `stride`: what is found, and how many bytes came before.
    fn sought(mut seeker: Seeker, response: &str, stride: usize) -> (usize, Sought) {
        let mut before = 0;
        for piece in response.as_bytes().chunks(stride) {
            match seeker.feed(piece) {
                Sought::More => before += piece.len(),
                ended => return (before, ended),
            }
        }
        (before, Sought::More)
    }

    #[test]
    fn a_field_goes_behind_the_final_status_line() {
        for (response, place) in [
            ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", Some(17)),
            ("HTTP/1.0 404 No\r\n\r\n", Some(17)),
            ("HTTP/1.1 200 OK\nA: b\n\n", None),
            (
                "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
                Some(25 + 31 + 17),
            ),
            ("HTTP/1.1 101 Switching\r\n\r\n", None),
            ("SSH-2.0-x\r\n", None),
            ("HTTP/2 200\r\n\r\n", None),
        ] {
            for stride in 1..=response.len() {
                let found = match sought(Seeker::of_place(), response, stride) {
                    (before, Sought::Place(at)) => Some(before + at),
                    (_, Sought::Nothing) => None,
                    other => panic!("{response:?} by {stride}: {other:?}"),
                };
                assert_eq!(found, place, "{response:?} by {stride}");
            }
        }
    }

    #[test]
    fn a_cookie_is_read_wherever_it_is_set() {
        let ok = |fields: &str| {
            format!("HTTP/1.1 200 OK\r\nServer: x\r\n{fields}Content-Length: 0\r\n\r\nSet-Cookie: SID=no\r\n\r\n")
        };
        for (response, value) in [
            (ok("Set-Cookie: SID=abc; Path=/\r\n"), Some("abc")),
            (ok("set-cookie:SID=abc\r\n"), Some("abc")),
            (ok("Set-Cookie: other=1\r\nSet-Cookie: SID = a=b ;x\r\n"), Some("a=b")),
            (ok("Set-Cookie: SID=first\r\nSet-Cookie: SID=last\r\n"), Some("last")),
            (ok("Set-Cookie: SID=x\r\nSet-Cookie: SID=; Max-Age=0\r\n"), None),
            (ok("Set-Cookie: sid=abc\r\nCookie: SID=abc\r\nSet-Cookie\r\n"), None),
            (ok(&format!("Set-Cookie: SID={}\r\n", "x".repeat(5000))), None),
            (format!("HTTP/1.1 100 x\r\nSet-Cookie: SID=no\r\n\r\n{}", ok("Set-Cookie: SID=yes\r\n")), Some("yes")),
        ] {
            for stride in [1, 2, 3, 7, 64, response.len()] {
                let found = match sought(Seeker::of_cookie("SID"), &response, stride).1 {
                    Sought::Value(value) => Some(value),
                    Sought::Nothing => None,
                    other => panic!("{response:?} by {stride}: {other:?}"),
                };
                assert_eq!(found.as_deref(), value.map(str::as_bytes), "{response:?} by {stride}");
            }
        }
    }

    #[test]
    fn an_endless_head_is_given_up() {
        let mut seeker = Seeker::of_cookie("SID");
        assert_eq!(seeker.feed(b"HTTP/1.1 200 OK\r\nX: "), Sought::More);
        let ended = (0..2 * HEAD_MAX / 1000).map(|_| seeker.feed(&[b'x'; 1000])).find(|sought| *sought != Sought::More);
        assert_eq!((ended, seeker.line.len()), (Some(Sought::Nothing), LINE_MAX));
    }
}
