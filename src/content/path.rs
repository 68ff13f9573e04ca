//! The path as a server would read it, for comparison only: what is forwarded is what the client wrote.
//!
//! Percent-decoded once, empty segments dropped, dot segments resolved (RFC 3986, section 5.2.4). What servers read
//! differently is refused, since a rule would then guard one path and a server serve another: an escaped slash or
//! backslash, NUL, `..` above the root, `..` behind an empty segment (some servers keep those and take back another one),
//! dots with parameters (some cut `;x` off before they look), overlong UTF-8, broken escapes.

use super::bytes::{Look, look_at_path};
use super::refusal::Refusal;

/// Normalises a path that begins with `/`, which may be the caller's own bytes when there is nothing to do. `room` is
/// used otherwise, and must be as long as the path.
///
/// # Errors
/// Why servers could read it differently.
pub fn normalise<'a>(path: &'a [u8], room: &'a mut [u8]) -> Result<&'a [u8], Refusal> {
    match look_at_path(path) {
        Look::Normal if path.first() == Some(&b'/') => Ok(path),
        Look::Normal | Look::Illegal => Err(Refusal::Target),
        Look::NotNormal => piece_by_piece(path, room),
    }
}

fn piece_by_piece<'a>(path: &[u8], room: &'a mut [u8]) -> Result<&'a [u8], Refusal> {
    if path.first() != Some(&b'/') || room.len() < path.len() {
        return Err(Refusal::Target);
    }
    let (mut end, mut saw_empty) = (0, false);
    let mut pieces = path[1..].split(|byte| *byte == b'/').peekable();
    while let Some(piece) = pieces.next() {
        let is_last = pieces.peek().is_none();
        // The piece is decoded behind a slash at the end of what is kept; nothing is ever longer than it was.
        room[end] = b'/';
        let len = decode(piece, &mut room[end + 1..])?;
        match &room[end + 1..end + 1 + len] {
            b"" | b"." => {
                saw_empty |= len == 0 && !is_last;
                end += usize::from(is_last);
            }
            b".." if saw_empty => return Err(Refusal::AmbiguousDots),
            b".." => {
                end = room[..end].iter().rposition(|byte| *byte == b'/').ok_or(Refusal::AboveRoot)?;
                room[end] = b'/';
                end += usize::from(is_last);
            }
            _ => end += 1 + len,
        }
    }
    Ok(&room[..end])
}

/// Decodes a piece between slashes; returns its length.
fn decode(piece: &[u8], out: &mut [u8]) -> Result<usize, Refusal> {
    let (mut at, mut len) = (0, 0);
    while at < piece.len() {
        let byte = match piece[at] {
            b'%' => {
                let (Some(high), Some(low)) = (hex(piece.get(at + 1)), hex(piece.get(at + 2))) else {
                    return Err(Refusal::Escape);
                };
                at += 2;
                match high * 16 + low {
                    0 => return Err(Refusal::Nul),
                    b'/' | b'\\' => return Err(Refusal::EncodedSlash),
                    byte => byte,
                }
            }
            b'\\' => return Err(Refusal::EncodedSlash),
            b'#' => return Err(Refusal::Fragment),
            byte => byte,
        };
        out[len] = byte;
        at += 1;
        len += 1;
    }
    let piece = &out[..len];
    if matches!(piece, [b'.', b';', ..] | [b'.', b'.', b';', ..]) {
        return Err(Refusal::AmbiguousDots);
    }
    if has_overlong(piece) {
        return Err(Refusal::Overlong);
    }
    Ok(len)
}

fn hex(digit: Option<&u8>) -> Option<u8> {
    match *digit? {
        digit @ b'0'..=b'9' => Some(digit - b'0'),
        digit @ b'a'..=b'f' => Some(digit - b'a' + 10),
        digit @ b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

/// A UTF-8 sequence longer than it must be (RFC 3629, section 3): an old way to write `/` so that few see it.
fn has_overlong(text: &[u8]) -> bool {
    let mut pairs = text.windows(2);
    text.iter().any(|byte| matches!(byte, 0xc0 | 0xc1))
        || pairs.any(|pair| matches!(pair, [0xe0, 0x80..=0x9f] | [0xf0, 0x80..=0x8f]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(path: &str) -> Result<String, Refusal> {
        let mut room = vec![0xaa; path.len()];
        normalise(path.as_bytes(), &mut room).map(|path| String::from_utf8_lossy(path).into_owned())
    }

    #[test]
    fn spellings_of_one_path_are_one() {
        for (path, want) in [
            ("/", "/"),
            ("/a/b", "/a/b"),
            ("/a/b/", "/a/b/"),
            ("//a///b", "/a/b"),
            ("//", "/"),
            ("/./", "/"),
            ("/.", "/"),
            ("/a/.", "/a/"),
            ("/a/..", "/"),
            ("/a/../", "/"),
            ("/a/b/../c", "/a/c"),
            ("/a/b/../../c", "/c"),
            ("/a/./b", "/a/b"),
            ("/%61%2Eb", "/a.b"),
            ("/a/%2e%2E/b", "/b"),
            ("/%252e", "/%2e"),
            ("/a;v=1/b", "/a;v=1/b"),
            ("/...", "/..."),
            ("/.a/..b", "/.a/..b"),
            ("/a/..b/../c", "/a/c"),
            ("/gr%C3%B6%C3%9Fe", "/größe"),
            ("/a%20b%3Fc%23d", "/a b?c#d"),
        ] {
            assert_eq!(of(path).as_deref(), Ok(want), "{path}");
        }
    }

    #[test]
    fn what_servers_read_differently_is_refused() {
        use Refusal::*;
        for (path, why) in [
            ("/..", AboveRoot),
            ("/../a", AboveRoot),
            ("/a/../../b", AboveRoot),
            ("/%2e%2e/a", AboveRoot),
            ("/a/./../..", AboveRoot),
            ("/a//../b", AmbiguousDots),
            ("//a/../b", AmbiguousDots),
            ("/a/..;/b", AmbiguousDots),
            ("/.;x", AmbiguousDots),
            ("/a/..%3b/b", AmbiguousDots),
            ("/a%2fb", EncodedSlash),
            ("/a%5Cb", EncodedSlash),
            ("/a\\b", EncodedSlash),
            ("/a%00", Nul),
            ("/a%", Escape),
            ("/a%4", Escape),
            ("/a%g1", Escape),
            ("/a%+1", Escape),
            ("/a%c0%af", Overlong),
            ("/a%e0%80%af", Overlong),
            ("/a%f0%80%80%af", Overlong),
            ("a", Target),
            ("", Target),
        ] {
            assert_eq!(of(path), Err(why), "{path}");
        }
    }
}
