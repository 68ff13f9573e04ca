//! The TLS client hello: the server name and the protocols it offers, read without decrypting anything (RFC 8446, section
//! 4.1.2; RFC 6066, section 3; RFC 7301, section 3.1).
//!
//! It may lie in several records and come in any number of segments. In one record it is read where it lies; of several
//! records the contents are put together in the caller's room first. Bounded, and every length is checked against
//! what is around it. What is encrypted inside (encrypted client hello) stays so: the outer name counts.

use super::host;
use super::refusal::Refusal;

/// Bytes of a client hello, records included, unless the caller wants another bound.
pub const HELLO_MAX: usize = 16 * 1024;

/// A fatal alert of TLS (RFC 8446, section 6), for a client whose hello is refused: `decode_error`.
pub const ALERT: [u8; 7] = [21, 3, 1, 0, 2, 2, 50];

const RECORD_HEADER: usize = 5;
const RECORD_MAX: usize = 1 << 14;
const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;
const SERVER_NAME: u16 = 0;
const PROTOCOLS: u16 = 16;

/// How far a client hello has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step<'a> {
    /// More bytes are needed.
    More,
    /// It is complete.
    Hello(Hello<'a>),
    /// The client does not speak TLS.
    NotTls,
    /// It is not acceptable.
    Refused(Refusal),
}

/// What a client hello says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Hello<'a> {
    /// The server name, without final dot, in the case it has.
    pub server_name: Option<&'a [u8]>,
    protocols: &'a [u8],
}

impl<'a> Hello<'a> {
    /// A hello that says this; `protocols` as in TLS, each behind its length in a byte.
    pub fn new(server_name: Option<&'a [u8]>, protocols: &'a [u8]) -> Hello<'a> {
        Hello { server_name, protocols }
    }

    /// The protocols it offers, in its order of preference.
    pub fn protocols(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let mut rest = Reader(self.protocols);
        std::iter::from_fn(move || rest.prefixed8())
    }
}

/// Reads a client hello from the first bytes of a connection. `bytes` is everything received so far; at most `max` of it
/// is looked at. `room` is needed when the hello lies in several records, and must be as long as `max`.
pub fn read<'a>(bytes: &'a [u8], max: usize, room: &'a mut [u8]) -> Step<'a> {
    match locate(&bytes[..bytes.len().min(max)]) {
        Ok(Located::Inside { start, end }) => parsed(&bytes[start..end]),
        Ok(Located::Split { len }) => {
            let Some(room) = room.get_mut(..len) else { return Step::Refused(Refusal::HelloTooLarge) };
            put_together(bytes, room);
            parsed(&room[4..])
        }
        Ok(Located::NotYet) if bytes.len() >= max => Step::Refused(Refusal::HelloTooLarge),
        Ok(Located::NotYet) => Step::More,
        Ok(Located::NotTls) => Step::NotTls,
        Err(why) => Step::Refused(why),
    }
}

/// Where the body of the hello is.
enum Located {
    NotYet,
    NotTls,
    /// In the first record, from `start` to `end`.
    Inside {
        start: usize,
        end: usize,
    },
    /// In several, `len` bytes with its header.
    Split {
        len: usize,
    },
}

/// Walks the records until the hello is complete.
fn locate(bytes: &[u8]) -> Result<Located, Refusal> {
    // SSL 2.0 hellos and everything else that is not TLS end here: nothing of what we balance begins with them.
    match bytes {
        [] | [HANDSHAKE] => return Ok(Located::NotYet),
        [HANDSHAKE, 3, ..] => {}
        _ => return Ok(Located::NotTls),
    }
    let (mut at, mut have, mut header, mut records) = (0, 0, [0u8; 4], 0);
    loop {
        let Some([kind, major, minor, high, low]) = bytes.get(at..).and_then(|rest| rest.first_chunk()) else {
            return Ok(Located::NotYet);
        };
        let len = usize::from(u16::from_be_bytes([*high, *low]));
        if *kind != HANDSHAKE || *major != 3 || *minor > 4 || len == 0 || len > RECORD_MAX {
            return Err(Refusal::ClientHello);
        }
        records += 1;
        let start = at + RECORD_HEADER;
        let record = &bytes[start..bytes.len().min(start + len)];
        for (place, byte) in header.iter_mut().skip(have).zip(record) {
            *place = *byte;
        }
        have += record.len();
        if have >= 4 {
            if header[0] != CLIENT_HELLO {
                return Err(Refusal::ClientHello);
            }
            let body = usize::from(header[1]) << 16 | usize::from(header[2]) << 8 | usize::from(header[3]);
            if have >= 4 + body {
                // Something else behind it in the record is none of a client's business.
                let excess = have - (4 + body);
                return match (records, excess) {
                    (1, 0) if len == record.len() => {
                        Ok(Located::Inside { start: start + 4, end: start + record.len() })
                    }
                    (_, 0) if len == record.len() => Ok(Located::Split { len: have }),
                    _ => Err(Refusal::ClientHello),
                };
            }
        }
        if record.len() < len {
            return Ok(Located::NotYet);
        }
        at = start + len;
    }
}

/// Copies the contents of complete records one behind the other.
fn put_together(bytes: &[u8], room: &mut [u8]) {
    let (mut at, mut filled) = (0, 0);
    while filled < room.len() {
        let Some([_, _, _, high, low]) = bytes.get(at..).and_then(|rest| rest.first_chunk::<RECORD_HEADER>()) else {
            return;
        };
        let len = usize::from(u16::from_be_bytes([*high, *low]));
        at += RECORD_HEADER;
        let Some((from, to)) = bytes.get(at..at + len).zip(room.get_mut(filled..filled + len)) else { return };
        to.copy_from_slice(from);
        at += len;
        filled += len;
    }
}

fn parsed(body: &[u8]) -> Step<'_> {
    match parse(body) {
        Ok(hello) => Step::Hello(hello),
        Err(why) => Step::Refused(why),
    }
}

/// The hello itself, without its header.
fn parse(body: &[u8]) -> Result<Hello<'_>, Refusal> {
    let mut rest = Reader(body);
    let mut fixed = || {
        rest.take(2 + 32)?; // version and random
        rest.prefixed8().filter(|session| session.len() <= 32)?;
        rest.prefixed16().filter(|suites| suites.len() >= 2 && suites.len() % 2 == 0)?;
        rest.prefixed8().filter(|compressions| !compressions.is_empty())
    };
    fixed().ok_or(Refusal::ClientHello)?;
    let mut hello = Hello::default();
    if rest.0.is_empty() {
        return Ok(hello);
    }
    let mut extensions = Reader(rest.prefixed16().ok_or(Refusal::ClientHello)?);
    if !rest.0.is_empty() {
        return Err(Refusal::ClientHello);
    }
    let (mut names, mut protocols) = (0, 0);
    while !extensions.0.is_empty() {
        let (kind, data) = extensions.extension().ok_or(Refusal::ClientHello)?;
        match kind {
            SERVER_NAME => {
                names += 1;
                hello.server_name = Some(server_name(data)?);
            }
            PROTOCOLS => {
                protocols += 1;
                hello.protocols = protocol_list(data).ok_or(Refusal::ClientHello)?;
            }
            _ => {}
        }
    }
    // RFC 8446, section 4.2: not more than one of a kind.
    if names > 1 || protocols > 1 {
        return Err(Refusal::ClientHello);
    }
    Ok(hello)
}

/// A list of one host name; there is no other kind of name.
fn server_name(data: &[u8]) -> Result<&[u8], Refusal> {
    let mut outer = Reader(data);
    let mut list = Reader(outer.prefixed16().ok_or(Refusal::ClientHello)?);
    let kind = list.take(1).ok_or(Refusal::ClientHello)?;
    let name = list.prefixed16().ok_or(Refusal::ClientHello)?;
    if !outer.0.is_empty() || !list.0.is_empty() || kind != [0] {
        return Err(Refusal::ClientHello);
    }
    let name = name.strip_suffix(b".").unwrap_or(name);
    if host::is_name(name) { Ok(name) } else { Err(Refusal::ServerName) }
}

/// A list of names of at least one byte each.
fn protocol_list(data: &[u8]) -> Option<&[u8]> {
    let mut outer = Reader(data);
    let list = outer.prefixed16().filter(|list| !list.is_empty() && outer.0.is_empty())?;
    let mut rest = Reader(list);
    while !rest.0.is_empty() {
        rest.prefixed8().filter(|name| !name.is_empty())?;
    }
    Some(list)
}

/// Takes pieces off the front.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }

    fn prefixed8(&mut self) -> Option<&'a [u8]> {
        let [len] = self.take(1)? else { return None };
        self.take(usize::from(*len))
    }

    fn number16(&mut self) -> Option<u16> {
        let bytes = self.take(2)?;
        Some(u16::from_be_bytes(bytes.try_into().ok()?))
    }

    fn prefixed16(&mut self) -> Option<&'a [u8]> {
        let len = self.number16()?;
        self.take(usize::from(len))
    }

    fn extension(&mut self) -> Option<(u16, &'a [u8])> {
        Some((self.number16()?, self.prefixed16()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn prefixed16(data: &[u8]) -> Vec<u8> {
        [&(data.len() as u16).to_be_bytes()[..], data].concat()
    }

    fn extension(kind: u16, data: &[u8]) -> Vec<u8> {
        [&kind.to_be_bytes()[..], &prefixed16(data)].concat()
    }

    fn sni(name: &[u8]) -> Vec<u8> {
        extension(0, &prefixed16(&[&[0][..], &prefixed16(name)].concat()))
    }

    fn alpn(names: &[&str]) -> Vec<u8> {
        let list: Vec<u8> = names.iter().flat_map(|name| [&[name.len() as u8], name.as_bytes()].concat()).collect();
        extension(16, &prefixed16(&list))
    }

    /// The handshake message.
    fn message(extensions: &[u8]) -> Vec<u8> {
        let mut body = vec![3, 3];
        body.extend([7; 32]);
        body.extend([0, 0, 2, 0x13, 0x01, 1, 0]);
        body.extend(prefixed16(extensions));
        let len = (body.len() as u32).to_be_bytes();
        [&[1, len[1], len[2], len[3]], &body[..]].concat()
    }

    /// In records of this size.
    fn records(message: &[u8], size: usize) -> Vec<u8> {
        message.chunks(size).flat_map(|piece| [&[22, 3, 1][..], &prefixed16(piece)].concat()).collect()
    }

    fn seen(bytes: &[u8]) -> Result<(Option<String>, Vec<String>), Step<'_>> {
        let mut room = vec![0; HELLO_MAX];
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        match read(bytes, HELLO_MAX, &mut room) {
            Step::Hello(hello) => Ok((hello.server_name.map(text), hello.protocols().map(text).collect())),
            Step::More => Err(Step::More),
            Step::NotTls => Err(Step::NotTls),
            Step::Refused(why) => Err(Step::Refused(why)),
        }
    }

    #[test]
    fn names_and_protocols_are_found_however_they_are_cut() {
        let grease = extension(0x0a0a, &[]);
        let message = message(&[grease, sni(b"www.Example.com"), alpn(&["h2", "http/1.1"])].concat());
        let want = Ok((Some("www.Example.com".to_owned()), vec!["h2".to_owned(), "http/1.1".to_owned()]));
        for size in [1, 2, 3, 4, 5, 50, message.len() - 1, message.len()] {
            let bytes = records(&message, size);
            assert_eq!(seen(&bytes), want, "records of {size}");
            for end in 0..bytes.len() {
                assert_eq!(seen(&bytes[..end]), Err(Step::More), "{end} bytes in records of {size}");
            }
        }
    }

    #[test]
    fn a_hello_may_say_little() {
        assert_eq!(seen(&records(&message(&[]), 100)), Ok((None, vec![])));
        let final_dot = message(&sni(b"a.example."));
        assert_eq!(seen(&records(&final_dot, 100)), Ok((Some("a.example".into()), vec![])));
    }

    #[test]
    fn what_is_not_acceptable_is_refused() {
        let refused = |bytes: &[u8]| match seen(bytes) {
            Err(Step::Refused(why)) => why.as_str(),
            other => panic!("{other:?}"),
        };
        let of = |extensions: &[u8]| refused(&records(&message(extensions), 1000));
        assert_eq!(of(&sni(b"a b")), "server-name");
        assert_eq!(of(&sni(b"")), "server-name");
        assert_eq!(of(&sni(b"a\0b")), "server-name");
        assert_eq!(of(&[sni(b"a"), sni(b"b")].concat()), "client-hello");
        assert_eq!(of(&[alpn(&["h2"]), alpn(&["h2"])].concat()), "client-hello");
        assert_eq!(of(&alpn(&[""])), "client-hello");
        assert_eq!(of(&extension(16, &[0, 0])), "client-hello");
        assert_eq!(of(&extension(0, &[0])), "client-hello");
        assert_eq!(of(&[0, 0, 9, 9]), "client-hello");
        let mut longer = message(&[]);
        longer.extend([1, 2, 3]);
        assert_eq!(refused(&records(&longer, 1000)), "client-hello");
        assert_eq!(refused(&[22, 3, 1, 0, 0]), "client-hello");
        assert_eq!(refused(&[22, 3, 1, 0xff, 0xff]), "client-hello");
        assert_eq!(refused(&[22, 3, 1, 0, 4, 2, 0, 0, 0]), "client-hello");
        // Announces more than may come, and comes.
        let mut endless = vec![22, 3, 1, 0x40, 0, 1, 0xff, 0xff, 0xff];
        endless.resize(HELLO_MAX + 10, 0);
        assert_eq!(refused(&endless), "hello-too-large");
        assert_eq!(seen(b"GET / HTTP/1.1"), Err(Step::NotTls));
        assert_eq!(seen(b"\x16\x02"), Err(Step::NotTls));
    }

    proptest! {
        /// No bytes make it panic, and a verdict stays when more comes.
        #[test]
        fn any_bytes(tail in proptest::collection::vec(any::<u8>(), 0..300), at in 0..200usize, byte: u8) {
            let mut bytes = records(&message(&[sni(b"www.example.com"), alpn(&["h2"])].concat()), 60);
            let len = bytes.len();
            bytes[at % len] = byte;
            bytes.extend(tail);
            let whole = seen(&bytes);
            for end in 0..bytes.len() {
                let part = seen(&bytes[..end]);
                prop_assert!(part == Err(Step::More) || part == whole, "{end}: {part:?} then {whole:?}");
            }
        }
    }
}
