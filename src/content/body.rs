//! The end of a message's body: followed as it passes, byte by byte where it must be and in strides where it can.
//!
//! A [`BodyReader`] is fed consecutive pieces of whatever size and says how much of each belongs to the body. It keeps
//! some forty bytes of state and no content. Chunks are read strictly (RFC 9112, section 7.1): sizes of 1 to 16 digits,
//! nothing but an extension or CRLF behind them, extensions of at most 256 bytes, trailers that are header fields and
//! neither long nor about framing.

use super::bytes::is_token;
use super::head::{Framing, is_disguised};
use super::refusal::Refusal;

/// Bytes of one chunk's extensions. Nobody uses them; long ones are how lenient parsers are led astray.
const EXTENSION_MAX: u16 = 256;
/// Bytes of all trailers together.
const TRAILERS_MAX: u16 = 8 * 1024;
/// The longest name that is forbidden in a trailer: `transfer-encoding`.
const NAME_KEPT: usize = 17;

/// Follows one body.
#[derive(Debug, Clone)]
pub struct BodyReader {
    state: State,
}

#[derive(Debug, Clone)]
enum State {
    Length(u64),
    Chunks(Chunks),
    Done,
}

/// What a piece was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fed {
    /// Bytes of the piece that belong to the body; all of them unless the body is over.
    pub used: usize,
    /// Whether the body is over.
    pub now: Now,
}

/// Whether a body is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Now {
    /// More of it is to come.
    Within,
    /// It is; what follows is the next message.
    Over,
}

impl BodyReader {
    /// Expects a body framed so.
    pub fn new(framing: Framing) -> BodyReader {
        let state = match framing {
            Framing::None | Framing::Length(0) => State::Done,
            Framing::Length(length) => State::Length(length),
            Framing::Chunked => State::Chunks(Chunks::new()),
        };
        BodyReader { state }
    }

    /// Takes the next piece.
    ///
    /// # Errors
    /// When chunks are malformed; the reader is of no more use then.
    pub fn feed(&mut self, piece: &[u8]) -> Result<Fed, Refusal> {
        let used = match &mut self.state {
            State::Done => 0,
            State::Length(left) => {
                let used = usize::try_from(*left).unwrap_or(usize::MAX).min(piece.len());
                *left -= used as u64;
                if *left == 0 {
                    self.state = State::Done;
                }
                used
            }
            State::Chunks(chunks) => {
                let used = chunks.feed(piece)?;
                if chunks.at == At::End {
                    self.state = State::Done;
                }
                used
            }
        };
        Ok(Fed { used, now: if self.is_over() { Now::Over } else { Now::Within } })
    }

    /// True if nothing more belongs to the body.
    pub fn is_over(&self) -> bool {
        matches!(self.state, State::Done)
    }
}

/// Where in a chunked body the next byte is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    /// In a chunk's size, of which there are so many digits.
    Size(u8),
    Extension,
    /// The line feed that ends a size line.
    SizeEnd,
    Data,
    DataCr,
    DataLf,
    /// At the beginning of a trailer, or of the empty line that ends it all.
    Trailer,
    TrailerName,
    TrailerValue,
    TrailerEnd,
    /// The line feed of the last line.
    LastLf,
    End,
}

#[derive(Debug, Clone)]
struct Chunks {
    at: At,
    /// The size as far as it has come; then what is left of the chunk.
    size: u64,
    extension: u16,
    trailers: u16,
    /// The beginning of a trailer's name, to see that it is not about framing.
    name: [u8; NAME_KEPT],
    name_len: u16,
}

impl Chunks {
    fn new() -> Chunks {
        Chunks { at: At::Size(0), size: 0, extension: 0, trailers: 0, name: [0; NAME_KEPT], name_len: 0 }
    }

    fn feed(&mut self, piece: &[u8]) -> Result<usize, Refusal> {
        let mut used = 0;
        while used < piece.len() && self.at != At::End {
            if self.at == At::Data {
                let stride = usize::try_from(self.size).unwrap_or(usize::MAX).min(piece.len() - used);
                used += stride;
                self.size -= stride as u64;
                if self.size == 0 {
                    self.at = At::DataCr;
                }
                continue;
            }
            self.at = self.step(piece[used])?;
            used += 1;
        }
        Ok(used)
    }

    /// Takes one byte that is not data; says where the next one is.
    fn step(&mut self, byte: u8) -> Result<At, Refusal> {
        match self.at {
            At::Size(digits) => self.size(digits, byte),
            At::Extension => self.extension(byte),
            At::SizeEnd if byte == b'\n' => {
                self.extension = 0;
                Ok(if self.size == 0 { At::Trailer } else { At::Data })
            }
            At::DataCr if byte == b'\r' => Ok(At::DataLf),
            At::DataLf if byte == b'\n' => {
                self.size = 0;
                Ok(At::Size(0))
            }
            At::DataCr | At::DataLf => Err(Refusal::ChunkSize),
            At::Trailer | At::TrailerName | At::TrailerValue => self.trailer(byte),
            At::TrailerEnd if byte == b'\n' => Ok(At::Trailer),
            At::LastLf if byte == b'\n' => Ok(At::End),
            At::SizeEnd | At::TrailerEnd | At::LastLf => Err(Refusal::BareCr),
            // Neither takes single bytes.
            At::Data | At::End => Ok(self.at),
        }
    }

    fn size(&mut self, digits: u8, byte: u8) -> Result<At, Refusal> {
        let digit = match byte {
            b'0'..=b'9' => byte - b'0',
            b'a'..=b'f' => byte - b'a' + 10,
            b'A'..=b'F' => byte - b'A' + 10,
            b'\r' if digits > 0 => return Ok(At::SizeEnd),
            b';' if digits > 0 => return Ok(At::Extension),
            b'\n' => return Err(Refusal::BareLf),
            0 => return Err(Refusal::Nul),
            _ => return Err(Refusal::ChunkSize),
        };
        if digits == 16 {
            return Err(Refusal::ChunkSize);
        }
        self.size = self.size << 4 | u64::from(digit);
        Ok(At::Size(digits + 1))
    }

    fn extension(&mut self, byte: u8) -> Result<At, Refusal> {
        self.extension += 1;
        match byte {
            b'\r' => Ok(At::SizeEnd),
            b'\n' => Err(Refusal::BareLf),
            0 => Err(Refusal::Nul),
            _ if self.extension > EXTENSION_MAX => Err(Refusal::ChunkExtension),
            b'\t' | b' '..=0x7e | 0x80.. => Ok(At::Extension),
            _ => Err(Refusal::ChunkExtension),
        }
    }

    fn trailer(&mut self, byte: u8) -> Result<At, Refusal> {
        self.trailers += 1;
        if self.trailers > TRAILERS_MAX {
            return Err(Refusal::Trailer);
        }
        match (self.at, byte) {
            (_, b'\n') => Err(Refusal::BareLf),
            (_, 0) => Err(Refusal::Nul),
            (At::Trailer, b'\r') => Ok(At::LastLf),
            (At::Trailer, b' ' | b'\t') => Err(Refusal::Folded),
            (At::Trailer, _) => {
                self.name_len = 0;
                self.name(byte)
            }
            (At::TrailerName, b':') if self.is_about_framing() => Err(Refusal::Trailer),
            (At::TrailerName, b':') => Ok(At::TrailerValue),
            (At::TrailerName, b' ' | b'\t') => Err(Refusal::SpaceBeforeColon),
            (At::TrailerName, _) => self.name(byte),
            (_, b'\r') => Ok(At::TrailerEnd),
            (_, b'\t' | b' '..=0x7e | 0x80..) => Ok(At::TrailerValue),
            _ => Err(Refusal::FieldValue),
        }
    }

    fn name(&mut self, byte: u8) -> Result<At, Refusal> {
        if !is_token(byte) {
            return Err(Refusal::FieldName);
        }
        if let Some(place) = self.name.get_mut(usize::from(self.name_len)) {
            *place = byte;
        }
        self.name_len += 1;
        Ok(At::TrailerName)
    }

    /// Servers that merge trailers into the header would frame anew (RFC 9110, section 6.5.1).
    fn is_about_framing(&self) -> bool {
        let Some(name) = self.name.get(..usize::from(self.name_len)) else { return false };
        let forbidden = [&b"content-length"[..], b"transfer-encoding", b"host", b"trailer", b"connection"];
        forbidden.iter().any(|wanted| name.eq_ignore_ascii_case(wanted)) || is_disguised(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What a chunked body comes to when it is fed in pieces of `stride`.
    fn fed(body: &[u8], stride: usize) -> Result<Option<usize>, Refusal> {
        let mut reader = BodyReader::new(Framing::Chunked);
        let mut at = 0;
        for piece in body.chunks(stride) {
            let fed = reader.feed(piece)?;
            at += fed.used;
            if fed.now == Now::Over {
                return Ok(Some(at));
            }
            assert_eq!(fed.used, piece.len());
        }
        Ok(None)
    }

    #[test]
    fn chunks_end_where_they_end() {
        for (body, want) in [
            ("0\r\n\r\n", Ok(Some(5))),
            ("0\r\n\r\nGET", Ok(Some(5))),
            ("5\r\nhello\r\n0\r\n\r\nX", Ok(Some(15))),
            ("a\r\n0123456789\r\n00\r\n\r\n", Ok(Some(21))),
            ("1;ext=\"v\"\r\nx\r\n0;y\r\n\r\n", Ok(Some(21))),
            ("0\r\nX-Sum: 1\r\nY:\r\n\r\n", Ok(Some(19))),
            ("5\r\nhel", Ok(None)),
            ("", Ok(None)),
            ("0\r\n\r", Ok(None)),
            ("\r\n", Err(Refusal::ChunkSize)),
            (" 5\r\n", Err(Refusal::ChunkSize)),
            ("5 \r\n", Err(Refusal::ChunkSize)),
            ("+5\r\n", Err(Refusal::ChunkSize)),
            ("0x5\r\n", Err(Refusal::ChunkSize)),
            ("5g\r\n", Err(Refusal::ChunkSize)),
            ("5\n", Err(Refusal::BareLf)),
            ("5\rX", Err(Refusal::BareCr)),
            ("5\0", Err(Refusal::Nul)),
            ("00000000000000005\r\n", Err(Refusal::ChunkSize)),
            ("ffffffffffffffff\r\nx", Ok(None)),
            ("10000000000000000\r\n", Err(Refusal::ChunkSize)),
            ("5\r\nhelloX", Err(Refusal::ChunkSize)),
            ("5\r\nhello\n0\r\n\r\n", Err(Refusal::ChunkSize)),
            ("5\r\nhello\rX", Err(Refusal::ChunkSize)),
            ("1;a\nx", Err(Refusal::BareLf)),
            ("1;\u{1}", Err(Refusal::ChunkExtension)),
            ("0\r\nContent-Length: 5\r\n", Err(Refusal::Trailer)),
            ("0\r\ntransfer-encoding: chunked\r\n", Err(Refusal::Trailer)),
            ("0\r\nTransfer_Encoding: chunked\r\n", Err(Refusal::Trailer)),
            ("0\r\n folded\r\n", Err(Refusal::Folded)),
            ("0\r\nX : 1\r\n", Err(Refusal::SpaceBeforeColon)),
            ("0\r\nX\r\n", Err(Refusal::FieldName)),
            ("0\r\nX: 1\n", Err(Refusal::BareLf)),
            ("0\r\n\rX", Err(Refusal::BareCr)),
            ("0\r\nX: \u{7}\r\n", Err(Refusal::FieldValue)),
        ] {
            for stride in 1..=body.len().max(1) {
                assert_eq!(fed(body.as_bytes(), stride), want, "{body:?} by {stride}");
            }
        }
    }

    #[test]
    fn extensions_and_trailers_are_bounded() {
        let extension = |len: usize| format!("1;{}\r\nx\r\n0\r\n\r\n", "e".repeat(len));
        assert!(fed(extension(256).as_bytes(), 64).is_ok_and(|end| end.is_some()));
        assert_eq!(fed(extension(257).as_bytes(), 64), Err(Refusal::ChunkExtension));
        let trailers = |count: usize| format!("0\r\n{}\r\n", "X: 0123456789\r\n".repeat(count));
        assert!(fed(trailers(500).as_bytes(), 64).is_ok_and(|end| end.is_some()));
        assert_eq!(fed(trailers(700).as_bytes(), 64), Err(Refusal::Trailer));
    }

    #[test]
    fn lengths_are_counted_down() {
        let mut reader = BodyReader::new(Framing::Length(10));
        assert_eq!(reader.feed(b"01234"), Ok(Fed { used: 5, now: Now::Within }));
        assert_eq!(reader.feed(b""), Ok(Fed { used: 0, now: Now::Within }));
        assert_eq!(reader.feed(b"56789GET /"), Ok(Fed { used: 5, now: Now::Over }));
        assert_eq!(reader.feed(b"GET /"), Ok(Fed { used: 0, now: Now::Over }));
        assert!(BodyReader::new(Framing::None).is_over() && BodyReader::new(Framing::Length(0)).is_over());
        let mut endless = BodyReader::new(Framing::Length(u64::MAX));
        assert_eq!(endless.feed(&[0; 100]).unwrap().now, Now::Within);
    }

    proptest! {
        /// What is chunked by the book is followed to its end, however it is cut.
        #[test]
        fn any_chunking_is_followed(
            chunks in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..40), 0..6),
            upper: bool,
            stride in 1..50usize,
        ) {
            let mut body = Vec::new();
            for chunk in &chunks {
                let size = if upper { format!("{:X}\r\n", chunk.len()) } else { format!("{:03x}\r\n", chunk.len()) };
                body.extend_from_slice(size.as_bytes());
                body.extend_from_slice(chunk);
                body.extend_from_slice(b"\r\n");
            }
            body.extend_from_slice(b"0\r\n\r\n");
            let len = body.len();
            body.extend_from_slice(b"GET / HTTP/1.1\r\n");
            prop_assert_eq!(fed(&body, stride), Ok(Some(len)));
        }
    }
}
