//! The HTTP check's words on the wire: the request, and the judgement of a response as far as it has come.
//!
//! Pure functions over bytes. The response is hostile input: nothing is looked at beyond [`HEAD_MAX`] bytes of head
//! and [`BODY_MAX`] bytes of body, every number is bounded, and nothing of it is kept. Tolerant where servers differ
//! (bare LF, absent reason phrase, bytes after the body), strict where a lie could pass: status line, chunk sizes.

use std::net::SocketAddr;

use crate::acm::words::HttpCheck;

use super::reason::HttpFailure;

/// The longest response head that is read.
pub(super) const HEAD_MAX: usize = 4096;
/// How much of a body is searched.
pub(super) const BODY_MAX: usize = 4096;
/// How much of a response can matter: head, body, and as much again for the framing of small chunks.
pub(super) const RESPONSE_MAX: usize = HEAD_MAX + 2 * BODY_MAX;

/// The whole request (RFC 9112, section 3). `Connection: close` because one answer is all we want.
pub(super) fn request(check: &HttpCheck, real: SocketAddr) -> Vec<u8> {
    let host = check.host.clone().unwrap_or_else(|| real.to_string());
    format!(
        "GET {} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: acm-switch\r\nAccept: */*\r\nConnection: close\r\n\r\n",
        check.path
    )
    .into_bytes()
}

/// Whether more bytes can come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stream {
    /// They can.
    Open,
    /// The server has sent all it will, or we have read all we will.
    Ended,
}

/// What a response, as far as it has come, says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Judgement {
    /// Not enough of it is there.
    Undecided,
    /// As expected.
    Pass,
    /// Not as expected.
    Fail(HttpFailure),
}

/// Judges what has come of a response.
pub(super) fn judge(bytes: &[u8], stream: Stream, check: &HttpCheck) -> Judgement {
    let mut rest = bytes;
    // Each round takes one interim response (RFC 9110, section 15.2) off the front, at least 14 bytes of the budget.
    loop {
        let budget = HEAD_MAX - (bytes.len() - rest.len());
        let head = match Head::parse(&rest[..rest.len().min(budget)]) {
            Ok(head) => head,
            Err(Incomplete::Malformed) => return Judgement::Fail(HttpFailure::NotHttp),
            Err(Incomplete::More { status: Some(status) }) if is_wrong(status, check) => {
                return Judgement::Fail(HttpFailure::Status(status));
            }
            Err(Incomplete::More { .. }) if rest.len() >= budget => {
                return Judgement::Fail(HttpFailure::HeadTooLong(HEAD_MAX));
            }
            Err(Incomplete::More { .. }) => return unless_ended(stream),
        };
        if is_wrong(head.status, check) {
            return Judgement::Fail(HttpFailure::Status(head.status));
        }
        if head.status == check.status {
            return judge_body(&head, &rest[head.len..], stream, check);
        }
        rest = &rest[head.len..];
    }
}

/// A final status other than the expected one. 1xx other than 101 announce a final response to come.
fn is_wrong(status: u16, check: &HttpCheck) -> bool {
    status != check.status && (status >= 200 || status == 101)
}

fn unless_ended(stream: Stream) -> Judgement {
    match stream {
        Stream::Open => Judgement::Undecided,
        Stream::Ended => Judgement::Fail(HttpFailure::Closed),
    }
}

fn judge_body(head: &Head, after: &[u8], stream: Stream, check: &HttpCheck) -> Judgement {
    let Some(wanted) = check.contains.as_deref() else { return Judgement::Pass };
    let body = Body::read(head.framing, after);
    let shown = &body.bytes[..body.bytes.len().min(BODY_MAX)];
    if shown.windows(wanted.len().max(1)).any(|window| window == wanted.as_bytes()) {
        return Judgement::Pass;
    }
    let decided = match body.end {
        BodyEnd::Malformed => return Judgement::Fail(HttpFailure::NotHttp),
        BodyEnd::Reached => true,
        BodyEnd::NotYet => body.bytes.len() >= BODY_MAX || stream == Stream::Ended,
    };
    if decided { Judgement::Fail(HttpFailure::BodyLacks) } else { Judgement::Undecided }
}

/// What we need of a response's head.
#[derive(Debug, PartialEq, Eq)]
struct Head {
    status: u16,
    /// Bytes up to and with the empty line.
    len: usize,
    framing: Framing,
}

/// How the end of the body is known (RFC 9112, section 6.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Framing {
    Length(usize),
    Chunked,
    UntilClose,
}

enum Incomplete {
    /// More is to come; the status, if its line is whole.
    More {
        status: Option<u16>,
    },
    Malformed,
}

impl Head {
    fn parse(window: &[u8]) -> Result<Head, Incomplete> {
        let Some((line, mut at)) = line(window, 0) else {
            // Give up as soon as it cannot become a status line: a server that greets first (SMTP) need not time out.
            let start = b"HTTP/1.";
            let seen = window.len().min(start.len());
            return if window[..seen] == start[..seen] {
                Err(Incomplete::More { status: None })
            } else {
                Err(Incomplete::Malformed)
            };
        };
        let status = status_line(line).ok_or(Incomplete::Malformed)?;
        let mut framing = Framing::UntilClose;
        while let Some((header, next)) = self::line(window, at) {
            at = next;
            if header.is_empty() {
                let bodyless = status < 200 || status == 204 || status == 304;
                let framing = if bodyless { Framing::Length(0) } else { framing };
                return Ok(Head { status, len: at, framing });
            }
            framing = framing_after(framing, header).ok_or(Incomplete::Malformed)?;
        }
        Err(Incomplete::More { status: Some(status) })
    }
}

/// The line that begins at `from`, without its end, and where the next begins; `None` if its end has not come.
fn line(bytes: &[u8], from: usize) -> Option<(&[u8], usize)> {
    let rest = bytes.get(from..)?;
    let end = rest.iter().position(|&b| b == b'\n')?;
    let line = &rest[..end];
    Some((line.strip_suffix(b"\r").unwrap_or(line), from + end + 1))
}

/// `HTTP/1.x SP 3DIGIT [SP reason]`.
fn status_line(line: &[u8]) -> Option<u16> {
    let rest = line.strip_prefix(b"HTTP/1.")?;
    let [b'0'..=b'9', b' ', a @ b'1'..=b'9', b @ b'0'..=b'9', c @ b'0'..=b'9', reason @ ..] = rest else {
        return None;
    };
    let digit = |byte: &u8| u16::from(byte - b'0');
    matches!(reason.first(), None | Some(b' ')).then(|| digit(a) * 100 + digit(b) * 10 + digit(c))
}

/// The framing after this header line; `None` if the line lies about it. `Transfer-Encoding` overrides
/// `Content-Length` (RFC 9112, section 6.3).
fn framing_after(so_far: Framing, header: &[u8]) -> Option<Framing> {
    let Some(colon) = header.iter().position(|&b| b == b':') else { return Some(so_far) };
    let (name, value) = (&header[..colon], header[colon + 1..].trim_ascii());
    if name.eq_ignore_ascii_case(b"transfer-encoding") {
        let chunked = value.len() >= 7 && value[value.len() - 7..].eq_ignore_ascii_case(b"chunked");
        return Some(if chunked { Framing::Chunked } else { Framing::UntilClose });
    }
    if name.eq_ignore_ascii_case(b"content-length") && so_far != Framing::Chunked {
        let digits = std::str::from_utf8(value).ok().filter(|text| text.bytes().all(|b| b.is_ascii_digit()))?;
        return Some(Framing::Length(digits.parse().ok()?));
    }
    Some(so_far)
}

/// The decoded body as far as it has come.
struct Body {
    bytes: Vec<u8>,
    end: BodyEnd,
}

enum BodyEnd {
    NotYet,
    Reached,
    Malformed,
}

impl Body {
    fn read(framing: Framing, after: &[u8]) -> Body {
        match framing {
            Framing::UntilClose => Body { bytes: after.to_vec(), end: BodyEnd::NotYet },
            Framing::Length(length) => {
                let end = if after.len() >= length { BodyEnd::Reached } else { BodyEnd::NotYet };
                Body { bytes: after[..after.len().min(length)].to_vec(), end }
            }
            Framing::Chunked => Body::dechunk(after),
        }
    }

    /// RFC 9112, section 7.1. Each round consumes at least the two bytes of a size line, so it ends.
    fn dechunk(after: &[u8]) -> Body {
        let mut bytes = Vec::new();
        let mut at = 0;
        let end = loop {
            let Some((size_line, data)) = line(after, at) else { break BodyEnd::NotYet };
            let Some(size) = chunk_size(size_line) else { break BodyEnd::Malformed };
            if size == 0 {
                break BodyEnd::Reached;
            }
            let have = after.len() - data;
            bytes.extend_from_slice(&after[data..data + have.min(size)]);
            if have <= size {
                break BodyEnd::NotYet;
            }
            match line(after, data + size) {
                None => break BodyEnd::NotYet,
                Some((b"", next)) => at = next,
                Some(_) => break BodyEnd::Malformed,
            }
        };
        Body { bytes, end }
    }
}

/// `1*HEXDIG [;extensions]`, at most eight digits.
fn chunk_size(line: &[u8]) -> Option<usize> {
    let digits = line.split(|&b| b == b';').next()?.trim_ascii_end();
    if digits.is_empty() || digits.len() > 8 || !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    usize::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(status: u16, contains: Option<&str>) -> HttpCheck {
        HttpCheck { path: "/health".into(), host: None, status, contains: contains.map(Into::into) }
    }

    fn open(bytes: &[u8], check: &HttpCheck) -> Judgement {
        judge(bytes, Stream::Open, check)
    }

    fn ended(bytes: &[u8], check: &HttpCheck) -> Judgement {
        judge(bytes, Stream::Ended, check)
    }

    #[test]
    fn the_request_is_what_servers_expect() {
        let text = String::from_utf8(request(&check(200, None), "10.0.0.11:8080".parse().unwrap())).unwrap();
        assert!(text.starts_with("GET /health HTTP/1.1\r\nHost: 10.0.0.11:8080\r\n"), "{text}");
        assert!(text.ends_with("Connection: close\r\n\r\n"));
        let named = HttpCheck { host: Some("web.example".into()), ..check(200, None) };
        assert!(request(&named, "10.0.0.11:80".parse().unwrap()).windows(17).any(|w| w == b"Host: web.example"));
    }

    #[test]
    fn status_decides() {
        use HttpFailure::*;
        use Judgement::*;
        let plain = check(200, None);
        for (bytes, while_open, at_end) in [
            (&b""[..], Undecided, Fail(Closed)),
            (b"HTT", Undecided, Fail(Closed)),
            (b"HTTP/1.1 200 OK\r\n", Undecided, Fail(Closed)),
            (b"HTTP/1.1 200 OK\r\n\r\n", Pass, Pass),
            (b"HTTP/1.0 200\n\n", Pass, Pass),
            (b"HTTP/1.1 503 ", Undecided, Fail(Closed)),
            (b"HTTP/1.1 503 Busy\r\n", Fail(Status(503)), Fail(Status(503))),
            (b"HTTP/1.1 100 Continue\r\n\r\n", Undecided, Fail(Closed)),
            (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", Pass, Pass),
            (b"HTTP/1.1 101 Switching\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", Fail(Status(101)), Fail(Status(101))),
            (b"HTTP/1.1 2000 OK\r\n\r\n", Fail(NotHttp), Fail(NotHttp)),
            (b"HTTP/1.1 099 OK\r\n\r\n", Fail(NotHttp), Fail(NotHttp)),
            (b"HTTP/2 200\r\n\r\n", Fail(NotHttp), Fail(NotHttp)),
            (b"SSH-2.0-x", Fail(NotHttp), Fail(NotHttp)),
            (b"220 mail ESMTP\r\n", Fail(NotHttp), Fail(NotHttp)),
            (b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", Fail(NotHttp), Fail(NotHttp)),
            (b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999999\r\n\r\n", Fail(NotHttp), Fail(NotHttp)),
        ] {
            let shown = String::from_utf8_lossy(bytes);
            assert_eq!(open(bytes, &plain), while_open, "{shown:?} open");
            assert_eq!(ended(bytes, &plain), at_end, "{shown:?} ended");
        }
        assert_eq!(open(b"HTTP/1.1 503 Busy\r\n\r\n", &check(503, None)), Pass);
    }

    #[test]
    fn the_body_is_searched_as_it_is_framed() {
        use Judgement::*;
        let lacks = Fail(HttpFailure::BodyLacks);
        let ready = check(200, Some("ready"));
        let with = |head: &str, body: &str| format!("HTTP/1.1 200 OK\r\n{head}\r\n{body}").into_bytes();
        for (head, body, while_open, at_end) in [
            ("", "not yet rea", Undecided, lacks),
            ("", "we are ready now", Pass, Pass),
            ("X-State: ready\r\n", "", Undecided, lacks),
            ("Content-Length: 4\r\n", "busy", lacks, lacks),
            ("Content-Length: 4\r\n", "busyready", lacks, lacks),
            ("Content-Length: 9\r\n", "rea", Undecided, lacks),
            ("Transfer-Encoding: chunked\r\n", "3\r\nrea\r\n2\r\ndy\r\n", Pass, Pass),
            ("Transfer-Encoding: chunked\r\n", "3;x=y\r\nrea\r\n0\r\n\r\n", lacks, lacks),
            ("Content-Length: 1\r\nTransfer-Encoding: chunked\r\n", "5\r\nready\r\n", Pass, Pass),
            ("Transfer-Encoding: chunked\r\n", "ready\r\n", Fail(HttpFailure::NotHttp), Fail(HttpFailure::NotHttp)),
            ("Transfer-Encoding: chunked\r\n", "3\r\nreadyXX", Fail(HttpFailure::NotHttp), lacks),
        ] {
            let bytes = with(head, body);
            // The last row is malformed only once the line after the chunk is whole.
            let expected_open = if body == "3\r\nreadyXX" { Undecided } else { while_open };
            assert_eq!(open(&bytes, &ready), expected_open, "{head:?} {body:?} open");
            assert_eq!(ended(&bytes, &ready), at_end, "{head:?} {body:?} ended");
        }
        let far = "x".repeat(BODY_MAX - 2) + "ready";
        assert_eq!(open(&with("", &far), &ready), lacks, "beyond the bound it is not there");
        let near = "x".repeat(BODY_MAX - 5) + "ready";
        assert_eq!(open(&with("", &near), &ready), Pass);
    }

    #[test]
    fn an_endless_head_is_given_up() {
        let long = b"HTTP/1.1 200 OK\r\n".iter().copied().chain(b"X: y\r\n".iter().copied().cycle());
        let bytes: Vec<u8> = long.take(HEAD_MAX).collect();
        assert_eq!(open(&bytes, &check(200, None)), Judgement::Fail(HttpFailure::HeadTooLong(HEAD_MAX)));
        let interim = b"HTTP/1.1 100 x\r\n\r\n".repeat(RESPONSE_MAX / 18);
        assert_eq!(open(&interim[..180], &check(200, None)), Judgement::Undecided);
        assert_eq!(open(&interim, &check(200, None)), Judgement::Fail(HttpFailure::HeadTooLong(HEAD_MAX)));
    }

    proptest! {
        /// No bytes make it panic, and a verdict, once reached, is the same when more bytes come.
        #[test]
        fn any_bytes(prefix in prop::sample::select(vec![
                "", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 200 OK\r\n\r\n", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
                "HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n", "HTTP/1.1 100 Continue\r\n\r\n",
            ]),
            tail in prop::collection::vec(prop_oneof![any::<u8>(), prop::sample::select(b"\r\n 0123456789abcdef:;ready".to_vec())], 0..200),
            contains in prop::option::of("[a-z]{1,3}"),
        ) {
            let check = check(200, contains.as_deref());
            let bytes: Vec<u8> = prefix.bytes().chain(tail).collect();
            let mut decided = None;
            for end in 0..=bytes.len() {
                let judgement = open(&bytes[..end], &check);
                if let Some(before) = decided {
                    prop_assert_eq!(judgement, before, "changed its mind at {}", end);
                } else if judgement != Judgement::Undecided {
                    decided = Some(judgement);
                }
            }
            prop_assert_ne!(ended(&bytes, &check), Judgement::Undecided);
        }

        /// Bytes that do not begin like HTTP never pass.
        #[test]
        fn garbage_never_passes(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            prop_assume!(!bytes.starts_with(b"HTTP/1."));
            prop_assert_ne!(open(&bytes, &check(200, None)), Judgement::Pass);
        }
    }
}
