//! Transcripts: what was said in a session, with the time, so that it can be read, sent to somebody, and replayed.
//!
//! ```text
//! # acm transcript 1
//! 0.000000 # telnet://admin@10.0.0.2:23
//! 0.000431 < \r\nUser Access Verification\r\n
//! 0.000502 < \r\nPlease Enter Password:
//! 0.000610 > <secret>\r
//! ```
//!
//! One line a piece: seconds since the recording began, the direction (`<` from the box, `>` to it), the bytes escaped
//! as in a Rust byte string. Telnet's own bytes are not in it. **No secret is**: what the driver types as one is written
//! `<secret>`, and so is every place where the box repeats it, and what stands behind `password`, `community` or `key`
//! in the box's configuration.

use std::io::{self, Write};

use super::session::{Login, Output};
use crate::acm::recent::Recent;
use crate::base::time::Time;

/// The first line of a transcript.
const HEAD: &str = "# acm transcript 1";
/// What stands for a secret.
const SECRET: &str = "<secret>";
/// A piece is written at the latest when it has this many bytes.
const PIECE_MAX: usize = 16 * 1024;
/// What is kept back then, since a secret may have begun in it; no secret is longer.
const KEPT_BACK: usize = 512;

/// Writes a transcript, and leaves the last lines for reports.
pub struct Recorder {
    out: Option<Box<dyn Write + Send>>,
    recent: Option<Recent>,
    secrets: Vec<Vec<u8>>,
    /// Bytes from the box whose line has not ended, and when they began to come.
    pending: Vec<u8>,
    since: Time,
}

impl std::fmt::Debug for Recorder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Recorder").field("pending", &self.pending.len()).finish_non_exhaustive()
    }
}

impl Recorder {
    /// A recording of sessions under this login: to a writer, or to those who ask for the last lines, or to both.
    ///
    /// # Errors
    /// The writer's.
    pub fn new(mut out: Option<Box<dyn Write + Send>>, recent: Option<Recent>, login: &Login) -> io::Result<Recorder> {
        if let Some(out) = &mut out {
            writeln!(out, "{HEAD}")?;
        }
        let secrets = [&login.password, &login.enable_password].into_iter().flatten();
        let secrets = secrets.map(|secret| secret.expose().as_bytes().to_vec()).collect();
        Ok(Recorder { out, recent, secrets, pending: Vec::new(), since: Time::ZERO })
    }

    /// A remark.
    ///
    /// # Errors
    /// The writer's.
    pub fn remark(&mut self, text: &str, now: Time) -> io::Result<()> {
        self.flush()?;
        self.line(now, '#', text)
    }

    /// The box said something.
    ///
    /// # Errors
    /// The writer's.
    pub fn received(&mut self, bytes: &[u8], now: Time) -> io::Result<()> {
        if self.pending.is_empty() {
            self.since = now;
        }
        self.pending.extend_from_slice(bytes);
        if let Some(end) = self.pending.iter().rposition(|byte| *byte == b'\n') {
            self.write_pending(end + 1)?;
            self.since = now;
        }
        if self.pending.len() > PIECE_MAX {
            self.write_pending(self.pending.len() - KEPT_BACK)?;
        }
        Ok(())
    }

    /// Something was typed.
    ///
    /// # Errors
    /// The writer's.
    pub fn sent(&mut self, output: &Output, now: Time) -> io::Result<()> {
        self.flush()?;
        let shown = match output.secret {
            true => format!("{SECRET}\\r"),
            false => output.bytes.escape_ascii().to_string(),
        };
        self.line(now, '>', &shown)
    }

    /// Writes what was kept back.
    ///
    /// # Errors
    /// The writer's.
    pub fn flush(&mut self) -> io::Result<()> {
        self.write_pending(self.pending.len())?;
        self.out.as_mut().map_or(Ok(()), |out| out.flush())
    }

    fn write_pending(&mut self, count: usize) -> io::Result<()> {
        let bytes: Vec<u8> = self.pending.drain(..count).collect();
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let shown = self.masked(piece).escape_ascii().to_string();
            self.line(self.since, '<', &shown)?;
        }
        Ok(())
    }

    fn line(&mut self, at: Time, direction: char, text: &str) -> io::Result<()> {
        let micros = at.micros();
        let line = format!("{}.{:06} {direction} {text}", micros / 1_000_000, micros % 1_000_000);
        if let Some(recent) = &self.recent {
            recent.push(&line);
        }
        self.out.as_mut().map_or(Ok(()), |out| writeln!(out, "{line}"))
    }

    /// A piece without secrets.
    fn masked(&self, piece: &[u8]) -> Vec<u8> {
        let mut masked = piece.to_vec();
        for secret in self.secrets.iter().filter(|secret| !secret.is_empty()) {
            masked = replace(&masked, secret, SECRET.as_bytes());
        }
        mask_behind_keywords(masked)
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        // Nobody is left to tell; the file is as long as it is.
        let _ = self.flush();
    }
}

fn replace(bytes: &[u8], what: &[u8], with: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while !rest.is_empty() {
        if rest.starts_with(what) {
            out.extend_from_slice(with);
            rest = &rest[what.len()..];
        } else {
            out.push(rest[0]);
            rest = &rest[1..];
        }
    }
    out
}

/// Masks what stands behind the words that introduce secrets in a configuration, to the end of the line.
fn mask_behind_keywords(piece: Vec<u8>) -> Vec<u8> {
    let lower = piece.to_ascii_lowercase();
    if lower.windows(17).any(|words| words == b"has been assigned") {
        return piece;
    }
    let end = piece.iter().rposition(|byte| !byte.is_ascii_whitespace()).map_or(0, |at| at + 1);
    let keyword = [&b"password "[..], b"community ", b"key ", b"secret "].into_iter().filter_map(|word| {
        let at = lower.windows(word.len()).position(|window| window == word)?;
        Some(at + word.len()).filter(|behind| *behind < end)
    });
    let Some(behind) = keyword.min() else { return piece };
    let mut masked = piece[..behind].to_vec();
    masked.extend_from_slice(SECRET.as_bytes());
    masked.extend_from_slice(&piece[end..]);
    masked
}

/// One piece of a transcript.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// The box said this.
    Received(Vec<u8>),
    /// This was typed; `None` is a secret.
    Sent(Option<Vec<u8>>),
}

/// Reads a transcript; remarks are left out.
///
/// # Errors
/// The number of the line that is not one of a transcript, from 1.
pub fn parse(text: &str) -> Result<Vec<(Time, Piece)>, usize> {
    let mut pieces = Vec::new();
    for (number, line) in (1_usize..).zip(text.lines()) {
        if line.starts_with('#') || line.is_empty() {
            continue;
        }
        pieces.extend(parse_line(line).ok_or(number)?);
    }
    Ok(pieces)
}

/// `Some(None)` is a remark.
fn parse_line(line: &str) -> Option<Option<(Time, Piece)>> {
    let (at, rest) = line.split_once(' ')?;
    let (seconds, micros) = at.split_once('.').filter(|(_, micros)| micros.len() == 6)?;
    let at = Time::from_micros(seconds.parse::<u64>().ok()?.checked_mul(1_000_000)? + micros.parse::<u64>().ok()?);
    let (direction, text) = rest.split_at_checked(1)?;
    let text = text.strip_prefix(' ').unwrap_or(text);
    Some(match direction {
        "#" => None,
        "<" => Some((at, Piece::Received(unescape(text)?))),
        ">" if text.starts_with(SECRET) => Some((at, Piece::Sent(None))),
        ">" => Some((at, Piece::Sent(Some(unescape(text)?)))),
        _ => return None,
    })
}

fn unescape(text: &str) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        out.push(match rest.next()? {
            b'r' => b'\r',
            b'n' => b'\n',
            b't' => b'\t',
            b'x' => {
                let (high, low) = (char::from(rest.next()?).to_digit(16)?, char::from(rest.next()?).to_digit(16)?);
                (high * 16 + low) as u8
            }
            plain @ (b'\\' | b'\'' | b'"') => plain,
            _ => return None,
        });
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Page(Arc<Mutex<Vec<u8>>>);

    impl Write for Page {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn record(act: impl FnOnce(&mut Recorder)) -> String {
        let page = Page::default();
        let login =
            Login { password: Some("canary".into()), enable_password: Some("c\u{e9}#1".into()), ..Login::default() };
        act(&mut Recorder::new(Some(Box::new(page.clone())), None, &login).unwrap());
        let bytes = page.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    fn sent(text: &str, secret: bool) -> Output {
        Output { bytes: text.into(), secret }
    }

    #[test]
    fn what_is_recorded_can_be_replayed() {
        let text = record(|recorder| {
            recorder.remark("telnet://host", Time::ZERO).unwrap();
            recorder.received(b"a\r\nb\xff\"", Time::from_millis(1)).unwrap();
            recorder.received(b"\r\n", Time::from_millis(2)).unwrap();
            recorder.sent(&sent("canary\r", true), Time::from_secs(3)).unwrap();
            recorder.sent(&sent("show version\r", false), Time::from_secs(4)).unwrap();
        });
        let pieces: Vec<Piece> = parse(&text).unwrap().into_iter().map(|(_, piece)| piece).collect();
        assert_eq!(
            pieces,
            [
                Piece::Received(b"a\r\n".to_vec()),
                Piece::Received(b"b\xff\"\r\n".to_vec()),
                Piece::Sent(None),
                Piece::Sent(Some(b"show version\r".to_vec())),
            ],
            "{text}"
        );
        assert!(text.starts_with("# acm transcript 1\n0.000000 # telnet://host\n0.001000 < a\\r\\n\n"), "{text}");
    }

    #[test]
    fn no_secret_is_in_it_however_it_comes() {
        for step in 1..9 {
            let text = record(|recorder| {
                recorder.sent(&sent("canary\r", true), Time::ZERO).unwrap();
                let said = b"echo canary\r\nenable super-user-password 8 $1$abc\r\nsnmp-server community hush rw\r\n\
                             No password has been assigned yet...\r\nplain canary";
                for piece in said.chunks(step) {
                    recorder.received(piece, Time::ZERO).unwrap();
                }
            });
            for secret in ["canary", "$1$abc", "hush"] {
                assert!(!text.contains(secret), "{secret} in {text}");
            }
            assert!(text.contains("No password has been assigned yet"), "{text}");
            assert_eq!(text.matches(SECRET).count(), 5, "{text}");
        }
    }

    #[test]
    fn a_flood_without_a_line_end_is_written_in_pieces() {
        let text = record(|recorder| {
            for _ in 0..10_000 {
                recorder.received(b"xxxxxxxx", Time::ZERO).unwrap();
            }
            assert!(recorder.pending.len() <= PIECE_MAX + 8);
        });
        let bytes: usize = parse(&text)
            .unwrap()
            .iter()
            .map(|(_, piece)| match piece {
                Piece::Received(bytes) | Piece::Sent(Some(bytes)) => bytes.len(),
                Piece::Sent(None) => 0,
            })
            .sum();
        assert_eq!(bytes, 80_000);
    }

    #[test]
    fn nonsense_is_refused_by_line() {
        assert_eq!(parse("# acm transcript 1\n0.000001 < a\nx\n"), Err(3));
        assert_eq!(parse("0.1 < a"), Err(1));
        assert_eq!(parse("0.000001 ? a"), Err(1));
        assert_eq!(parse("0.000001 < \\q"), Err(1));
    }
}
