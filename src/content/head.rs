//! The head of an HTTP/1 request: read line by line as it comes, strictly, and remembered by places only.
//!
//! A [`HeadReader`] is fed the bytes received so far, always from the head's first byte; lines read once are not read
//! again, so that a head that comes byte by byte costs no more than one that comes at once. In the end it gives a
//! [`HeadMap`], plain data, and with the bytes that is a [`Head`]. Nothing is allocated, nothing is copied, nothing is
//! repaired. One empty line before the request line is passed over (RFC 9112, section 2.2).
//!
//! What does not begin like a request of HTTP/1 in the eyes of any server is [`Step::NotHttp`]: a byte that no method and
//! no white space has, or the preface of HTTP/2 (RFC 9113, section 3.4). Everything else that is not a request is refused:
//! a lenient server might find one in it.
//!
//! Not here: what the path means ([`path`]), the body ([`body`](super::body)), what is chosen ([`rules`](super::rules)).

use super::bytes::{Place, check_value, is_target, is_token, trim};
use super::host;
use super::path;
use super::refusal::Refusal;

/// Bounds of a head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the whole head, at most 65,535.
    pub head: u16,
    /// Header fields.
    pub fields: u16,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { head: 16 * 1024, fields: 100 }
    }
}

/// How far a head has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// More bytes are needed.
    More,
    /// It is complete.
    Head(HeadMap),
    /// The client does not speak HTTP/1.
    NotHttp(Stranger),
    /// It is not acceptable. The reader has nothing more to say.
    Refused(Refusal),
}

/// What a client that does not speak HTTP/1 speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stranger {
    /// HTTP/2, without asking.
    Http2,
    /// Something else.
    Other,
}

/// Where the parts of a complete head are. Plain data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeadMap {
    len: u16,
    fields_from: u16,
    method: Place,
    target: Place,
    path: Place,
    query: Option<Place>,
    authority: Option<Place>,
    /// The first `Cookie` field, and how many there are.
    cookie: Place,
    cookies: u16,
    names: NameSet,
    kind: Kind,
    framing: Framing,
    version: Version,
    after: After,
    upgrade: bool,
    expects_continue: bool,
}

/// Field names, roughly: a name that is not in it was not inserted; one that is may have been.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct NameSet(u64);

impl NameSet {
    /// Inserts a name, which has at least one byte.
    #[inline]
    pub(super) fn insert(&mut self, name: &[u8]) {
        // Length and first letter tell most names apart.
        let first = name.first().map_or(0, |byte| u32::from(byte | 0x20));
        self.0 |= 1 << ((first * 5 + name.len() as u32) % 64);
    }

    /// True if some name may be in both.
    #[inline]
    pub(super) fn meets(self, other: NameSet) -> bool {
        self.0 & other.0 != 0
    }
}

/// What about a method matters for framing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Kind {
    /// Its response has no body.
    Head,
    /// If it is granted the connection is a tunnel.
    Connect,
    /// Any other.
    #[default]
    Other,
}

/// HTTP/1.0 or 1.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Version {
    /// 1.0
    Http10,
    /// 1.1
    #[default]
    Http11,
}

/// How long the body of a request is (RFC 9112, section 6.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Framing {
    /// There is none.
    #[default]
    None,
    /// So many bytes.
    Length(u64),
    /// It comes in chunks.
    Chunked,
}

/// What the sender wants of the connection afterwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum After {
    /// It stays for another message.
    #[default]
    Persists,
    /// It ends.
    Closes,
}

/// Reads a head as it comes.
#[derive(Debug, Clone)]
pub struct HeadReader {
    limits: Limits,
    /// Where the line at hand begins, and up to where no line feed was found.
    at: usize,
    scanned: usize,
    lines: Lines,
    facts: Facts,
}

/// Which line is next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lines {
    First,
    Request,
    Field,
}

/// What was read so far.
#[derive(Debug, Clone, Copy, Default)]
struct Facts {
    version: Version,
    kind: Kind,
    method: Place,
    target: Place,
    path: Place,
    query: Option<Place>,
    fields_from: usize,
    fields: u16,
    /// From an absolute target or that of CONNECT.
    target_authority: Option<Place>,
    host: Option<Place>,
    cookie: Place,
    cookies: u16,
    names: NameSet,
    length: Option<u64>,
    is_chunked: bool,
    closes: bool,
    keeps_alive: bool,
    names_upgrade: bool,
    upgrade: bool,
    expects_continue: bool,
}

impl HeadReader {
    /// Expects a head.
    pub fn new(limits: Limits) -> HeadReader {
        HeadReader { limits, at: 0, scanned: 0, lines: Lines::First, facts: Facts::default() }
    }

    /// Reads on. `bytes` is everything received so far, beginning with the head's first byte; what is behind the head is
    /// not looked at.
    pub fn advance(&mut self, bytes: &[u8]) -> Step {
        self.read(bytes).unwrap_or_else(Step::Refused)
    }

    fn read(&mut self, bytes: &[u8]) -> Result<Step, Refusal> {
        let max = usize::from(self.limits.head);
        let window = &bytes[..bytes.len().min(max)];
        if let Some(first) = window.first()
            && !is_token(*first)
            && !matches!(first, b'\r' | b'\n' | b' ' | b'\t')
        {
            return Ok(Step::NotHttp(Stranger::Other));
        }
        while let Some(feed) = memchr::memchr(b'\n', window.get(self.scanned..).unwrap_or_default()) {
            let feed = self.scanned + feed;
            let line = window[self.at..feed].strip_suffix(b"\r").ok_or(Refusal::BareLf)?;
            let start = std::mem::replace(&mut self.at, feed + 1);
            self.scanned = feed + 1;
            match self.lines {
                Lines::First if line.is_empty() => self.lines = Lines::Request,
                Lines::First | Lines::Request if line == b"PRI * HTTP/2.0" => {
                    return Ok(Step::NotHttp(Stranger::Http2));
                }
                Lines::First | Lines::Request => {
                    self.facts.request_line(line, start)?;
                    self.facts.fields_from = self.at;
                    self.lines = Lines::Field;
                }
                Lines::Field if line.is_empty() => return self.facts.complete(window, self.at).map(Step::Head),
                Lines::Field => {
                    self.facts.fields += 1;
                    if self.facts.fields > self.limits.fields {
                        return Err(Refusal::TooManyFields);
                    }
                    self.facts.field(line, start)?;
                }
            }
        }
        self.scanned = window.len().max(self.scanned);
        if window.len() == max { Err(Refusal::HeadTooLarge) } else { Ok(Step::More) }
    }
}

impl Facts {
    /// `method SP target SP version`, with single spaces.
    fn request_line(&mut self, line: &[u8], start: usize) -> Result<(), Refusal> {
        // Every byte is looked at before any is believed, so that the reason is the worst one.
        check_value(line).map_err(|why| if why == Refusal::FieldValue { Refusal::RequestLine } else { why })?;
        let space = line.iter().position(|byte| *byte == b' ').ok_or(Refusal::RequestLine)?;
        let (method, rest) = (&line[..space], &line[space + 1..]);
        let last = rest.iter().rposition(|byte| *byte == b' ').ok_or(Refusal::RequestLine)?;
        let (target, version) = (&rest[..last], &rest[last + 1..]);
        let is_method = |byte: &u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_');
        if method.is_empty() || method.len() > 32 || !method.iter().all(is_method) {
            return Err(Refusal::Method);
        }
        self.version = match version {
            b"HTTP/1.1" => Version::Http11,
            b"HTTP/1.0" => Version::Http10,
            [b'H', b'T', b'T', b'P', b'/', b'0'..=b'9', b'.', b'0'..=b'9'] => return Err(Refusal::Version),
            _ => return Err(Refusal::RequestLine),
        };
        self.kind = match method {
            b"HEAD" => Kind::Head,
            b"CONNECT" => Kind::Connect,
            _ => Kind::Other,
        };
        self.method = Place::new(start, start + space);
        let from = start + space + 1;
        self.target = Place::new(from, from + target.len());
        self.read_target(method, target, from)
    }

    /// The four forms of RFC 9112, section 3.2.
    fn read_target(&mut self, method: &[u8], target: &[u8], from: usize) -> Result<(), Refusal> {
        if !is_target(target) {
            return Err(if target.contains(&b' ') { Refusal::RequestLine } else { Refusal::Target });
        }
        if memchr::memchr(b'#', target).is_some() {
            return Err(Refusal::Fragment);
        }
        if self.kind == Kind::Connect {
            // host:port, and the port must be there.
            let has_port = target.iter().rposition(|byte| *byte == b':').is_some_and(|colon| colon + 1 < target.len());
            if !has_port || host::name(target).is_err() {
                return Err(Refusal::Target);
            }
            self.target_authority = Some(self.target);
            self.path = Place::new(from, from);
            return Ok(());
        }
        let path_from = match target {
            [b'/', ..] => 0,
            b"*" if method == b"OPTIONS" => {
                self.path = self.target;
                return Ok(());
            }
            _ => self.absolute(target, from)?,
        };
        let question = memchr::memchr(b'?', &target[path_from..]).map(|at| path_from + at);
        let path_end = question.unwrap_or(target.len());
        self.path = Place::new(from + path_from, from + path_end);
        self.query = question.map(|at| Place::new(from + at + 1, from + target.len()));
        Ok(())
    }

    /// `http://authority/path`: the authority is noted; returns where the path begins.
    fn absolute(&mut self, target: &[u8], from: usize) -> Result<usize, Refusal> {
        let begins = |scheme: &[u8]| target.get(..scheme.len()).is_some_and(|it| it.eq_ignore_ascii_case(scheme));
        let start = [&b"http://"[..], b"https://"].into_iter().find(|scheme| begins(scheme));
        let start = start.ok_or(Refusal::Target)?.len();
        let len = target[start..].iter().position(|byte| matches!(byte, b'/' | b'?')).unwrap_or(target.len() - start);
        host::name(&target[start..start + len]).map_err(|_| Refusal::Target)?;
        self.target_authority = Some(Place::new(from + start, from + start + len));
        Ok(start + len)
    }

    fn field(&mut self, line: &[u8], start: usize) -> Result<(), Refusal> {
        if matches!(line[0], b' ' | b'\t') {
            return Err(Refusal::Folded);
        }
        let colon = line.iter().position(|byte| !is_token(*byte)).unwrap_or(line.len());
        let (name, rest) = (&line[..colon], &line[colon..]);
        let value = match rest {
            [b':', value @ ..] if !name.is_empty() => value,
            // Whatever else is in the line, a control character is the worse finding.
            _ => {
                check_value(line)?;
                let spaced = rest.first().is_some_and(|byte| matches!(byte, b' ' | b'\t')) && rest.contains(&b':');
                return Err(if spaced { Refusal::SpaceBeforeColon } else { Refusal::FieldName });
            }
        };
        check_value(value)?;
        let from = start + colon + 1 + (value.len() - value.trim_ascii_start().len());
        let value = trim(value);
        self.names.insert(name);
        self.note(name, value, Place::new(from, from + value.len()))
    }

    /// Remembers what matters of a field.
    fn note(&mut self, name: &[u8], value: &[u8], place: Place) -> Result<(), Refusal> {
        let is = |wanted: &[u8]| name.eq_ignore_ascii_case(wanted);
        match name.len() {
            4 if is(b"host") => {
                if self.host.replace(place).is_some() {
                    return Err(Refusal::RepeatedHost);
                }
                // An empty one belongs to targets without authority, of which there is none here.
                host::name(value)?;
            }
            6 if is(b"cookie") => {
                if self.cookies == 0 {
                    self.cookie = place;
                }
                self.cookies += 1;
            }
            6 if is(b"expect") => self.expects_continue = value.eq_ignore_ascii_case(b"100-continue"),
            7 if is(b"upgrade") => self.upgrade = true,
            10 if is(b"connection") => self.connection(value),
            14 if is(b"content-length") => {
                if self.length.is_some() {
                    return Err(Refusal::RepeatedLength);
                }
                self.length = Some(length(value).ok_or(Refusal::MalformedLength)?);
            }
            17 if is(b"transfer-encoding") => {
                let is_chunked = value.eq_ignore_ascii_case(b"chunked") && self.version == Version::Http11;
                if !is_chunked || std::mem::replace(&mut self.is_chunked, true) {
                    return Err(Refusal::UnknownCoding);
                }
            }
            14 | 17 if is_disguised(name) => return Err(Refusal::DisguisedField),
            _ => {}
        }
        match self.is_chunked && self.length.is_some() {
            true => Err(Refusal::BothLengths),
            false => Ok(()),
        }
    }

    fn connection(&mut self, value: &[u8]) {
        for option in value.split(|byte| *byte == b',').map(trim) {
            self.closes |= option.eq_ignore_ascii_case(b"close");
            self.keeps_alive |= option.eq_ignore_ascii_case(b"keep-alive");
            self.names_upgrade |= option.eq_ignore_ascii_case(b"upgrade");
        }
    }

    /// CONNECT always names a port in its target, and clients differ about repeating it in `Host`.
    fn same_host(&self, host: &[u8], named: &[u8]) -> bool {
        match self.kind {
            Kind::Connect => host::same_name(host, named),
            Kind::Head | Kind::Other => host::same(host, named),
        }
    }

    /// The empty line has come.
    fn complete(&self, head: &[u8], len: usize) -> Result<HeadMap, Refusal> {
        let authority = match (self.host, self.target_authority) {
            (None, _) if self.version == Version::Http11 => return Err(Refusal::MissingHost),
            (Some(host), Some(named)) if !self.same_host(host.of(head), named.of(head)) => {
                return Err(Refusal::HostMismatch);
            }
            (host, named) => named.or(host),
        };
        let framing = match (self.length, self.is_chunked) {
            (_, true) => Framing::Chunked,
            (Some(length), false) => Framing::Length(length),
            (None, false) => Framing::None,
        };
        let method = self.method.of(head);
        if framing != Framing::None && (self.kind == Kind::Connect || method == b"TRACE") {
            return Err(Refusal::UnexpectedBody);
        }
        let persists = !self.closes && (self.version == Version::Http11 || self.keeps_alive);
        Ok(HeadMap {
            len: len as u16,
            fields_from: self.fields_from as u16,
            method: self.method,
            target: self.target,
            path: self.path,
            query: self.query,
            authority,
            cookie: self.cookie,
            cookies: self.cookies,
            names: self.names,
            kind: self.kind,
            framing: if framing == Framing::Length(0) { Framing::None } else { framing },
            version: self.version,
            after: if persists { After::Persists } else { After::Closes },
            upgrade: self.upgrade && self.names_upgrade,
            expects_continue: self.expects_continue,
        })
    }
}

/// 1 to 19 digits: no sign, no list, nothing that overflows.
pub(super) fn length(value: &[u8]) -> Option<u64> {
    if value.is_empty() || value.len() > 19 || !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(value.iter().fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0')))
}

/// A framing field that gateways of the CGI family would take for the real one (RFC 3875, section 4.1.18).
pub(super) fn is_disguised(name: &[u8]) -> bool {
    let reads_as = |wanted: &[u8]| {
        name.len() == wanted.len()
            && name.iter().zip(wanted).all(|(a, b)| a.eq_ignore_ascii_case(b) || (*a == b'_' && *b == b'-'))
    };
    name.contains(&b'_') && (reads_as(b"content-length") || reads_as(b"transfer-encoding"))
}

impl HeadMap {
    /// Bytes of the head, the empty line included.
    pub fn len(&self) -> usize {
        usize::from(self.len)
    }

    /// Never: a head has at least a request line.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// How long the body is.
    pub fn framing(&self) -> Framing {
        self.framing
    }

    /// What about the method matters for framing.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// What the client wants of the connection afterwards.
    pub fn after(&self) -> After {
        self.after
    }

    /// The client asks for another protocol, so a 101 may come.
    pub fn asks_upgrade(&self) -> bool {
        self.upgrade
    }

    /// The client waits for a 100 before it sends the body.
    pub fn expects_continue(&self) -> bool {
        self.expects_continue
    }

    /// The head itself, of the bytes it was read from.
    pub fn view<'a>(&'a self, bytes: &'a [u8]) -> Head<'a> {
        Head { map: self, bytes: bytes.get(..self.len()).unwrap_or_default() }
    }
}

/// A complete head with its bytes.
#[derive(Debug, Clone, Copy)]
pub struct Head<'a> {
    map: &'a HeadMap,
    bytes: &'a [u8],
}

impl<'a> Head<'a> {
    /// Its places.
    pub fn map(&self) -> &'a HeadMap {
        self.map
    }

    /// The method.
    pub fn method(&self) -> &'a [u8] {
        self.map.method.of(self.bytes)
    }

    /// The request target as it stands there.
    pub fn target(&self) -> &'a [u8] {
        self.map.target.of(self.bytes)
    }

    /// The path as it stands there: without query and authority, `/` where an absolute target has none; `*` or nothing
    /// where there is no path.
    pub fn path(&self) -> &'a [u8] {
        match self.map.path.of(self.bytes) {
            b"" if self.map.kind != Kind::Connect => b"/",
            path => path,
        }
    }

    /// The path as rules compare it: normalised ([`super::path`]); `*` or nothing where there is no path. `room` must be
    /// as long as the head.
    ///
    /// # Errors
    /// Why servers could read it differently.
    pub fn normal_path(&self, room: &'a mut [u8]) -> Result<&'a [u8], Refusal> {
        match self.path() {
            path @ (b"*" | b"") => Ok(path),
            path => path::normalise(path, room),
        }
    }

    /// What is behind the first `?`.
    pub fn query(&self) -> Option<&'a [u8]> {
        self.map.query.map(|query| query.of(self.bytes))
    }

    /// `host[:port]` as the client wrote it.
    pub fn authority(&self) -> Option<&'a [u8]> {
        self.map.authority.map(|authority| authority.of(self.bytes))
    }

    /// The host's name: without port and final dot, in the case it has.
    pub fn host(&self) -> Option<&'a [u8]> {
        host::name(self.authority()?).ok()
    }

    /// Header fields in order: names and trimmed values.
    pub fn fields(&self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> + use<'a> {
        let mut rest = self.bytes.get(usize::from(self.map.fields_from)..).unwrap_or_default();
        std::iter::from_fn(move || {
            let end = memchr::memchr(b'\n', rest)?;
            let line = rest[..end].strip_suffix(b"\r")?;
            rest = &rest[end + 1..];
            let colon = memchr::memchr(b':', line)?;
            Some((&line[..colon], trim(&line[colon + 1..])))
        })
    }

    /// The names of its fields.
    pub(super) fn names(&self) -> NameSet {
        self.map.names
    }

    /// The values of its `Cookie` fields in order.
    pub fn cookie_fields(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let single = (self.map.cookies == 1).then(|| self.map.cookie.of(self.bytes));
        let more = (self.map.cookies > 1).then(|| self.fields());
        let more = more.into_iter().flatten().filter(|(name, _)| name.eq_ignore_ascii_case(b"cookie"));
        single.into_iter().chain(more.map(|(_, value)| value))
    }

    /// All its bytes.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }
}

/// Reads a head that is there as a whole or not yet.
pub fn read(bytes: &[u8], limits: Limits) -> Step {
    HeadReader::new(limits).advance(bytes)
}

#[cfg(test)]
#[path = "head_tests.rs"]
mod tests;
