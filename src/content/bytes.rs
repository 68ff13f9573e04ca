//! Classes of bytes and places in a head, shared by the parsers of this room.

use super::refusal::Refusal;

/// A piece of a head, by its place: heads are at most 64 KiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Place {
    start: u16,
    len: u16,
}

impl Place {
    /// The piece from `start` to `end`, which the head's limit keeps below 64 KiB.
    pub(super) fn new(start: usize, end: usize) -> Place {
        debug_assert!(start <= end && end <= usize::from(u16::MAX));
        Place { start: start as u16, len: end.saturating_sub(start) as u16 }
    }

    /// The piece of these bytes; nothing of others that are too short.
    #[inline]
    pub(super) fn of<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        let start = usize::from(self.start);
        bytes.get(start..start + usize::from(self.len)).unwrap_or_default()
    }
}

const TOKEN: u8 = 1;
const SPECIAL: u8 = 2;
const ILLEGAL: u8 = 4;
const SLASH: u8 = 8;
const DOT: u8 = 16;

/// What each byte may be. TOKEN: of a token (RFC 9110, section 5.6.2). Of a request target: ILLEGAL nowhere; SPECIAL ends
/// the quick look at a path: `%`, `?`, `#`, `;` and `\`.
const CLASSES: [u8; 256] = {
    let mut classes = [0u8; 256];
    let mut byte = 0;
    while byte < 256 {
        let b = byte as u8;
        if b <= b' ' || b >= 0x7f {
            classes[byte] |= ILLEGAL;
        }
        if matches!(b, b'%' | b'?' | b'#' | b'\\' | b';') {
            classes[byte] |= SPECIAL;
        }
        if b == b'/' {
            classes[byte] |= SLASH;
        }
        if b == b'.' {
            classes[byte] |= DOT;
        }
        let mark = matches!(
            b,
            b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~'
        );
        if b.is_ascii_alphanumeric() || mark {
            classes[byte] |= TOKEN;
        }
        byte += 1;
    }
    classes
};

#[inline]
fn class(byte: u8) -> u8 {
    CLASSES[usize::from(byte)]
}

/// True for a byte of a token.
#[inline]
pub(super) fn is_token(byte: u8) -> bool {
    class(byte) & TOKEN != 0
}

/// What a quick look at a path or query says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Look {
    /// It is what it will be when normalised.
    Normal,
    /// It must be read piece by piece.
    NotNormal,
    /// A byte that no target has.
    Illegal,
}

/// Looks at a path: normal if it has no escapes, parameters, empty segments, or segments that begin with a dot.
#[inline]
pub(super) fn look_at_path(path: &[u8]) -> Look {
    let (mut seen, mut after_slash) = (0u8, 0u8);
    let mut before = 0u8;
    for byte in path {
        let class = class(*byte);
        seen |= class;
        // The class of what follows a slash, nothing of what does not.
        after_slash |= class & before.wrapping_neg();
        before = (class & SLASH) >> 3;
    }
    if seen & ILLEGAL != 0 {
        Look::Illegal
    } else if seen & SPECIAL != 0 || after_slash & (SLASH | DOT) != 0 {
        Look::NotNormal
    } else {
        Look::Normal
    }
}

/// True if every byte may stand in a request target.
#[inline]
pub(super) fn is_target(text: &[u8]) -> bool {
    text.iter().fold(0, |seen, byte| seen | class(*byte)) & ILLEGAL == 0
}

/// Checks a field's value, which holds no line feed (RFC 9110, section 5.5: visible characters, space, tab and
/// obs-text).
#[inline]
pub(super) fn check_value(value: &[u8]) -> Result<(), Refusal> {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x8080_8080_8080_8080;
    // True if some byte is below 0x20, or 0x7f. (Hacker's Delight, section 6-1: exact where no byte borrows, and bytes of
    // 0x80 and more are masked out.)
    let suspicious = |word: u64| {
        let below_space = word.wrapping_sub(ONES * 0x20) & !word;
        let del = word ^ (ONES * 0x7f);
        let is_del = del.wrapping_sub(ONES) & !del;
        (below_space | is_del) & HIGH != 0
    };
    let (words, rest) = value.as_chunks::<8>();
    for word in words {
        if suspicious(u64::from_le_bytes(*word)) {
            word.iter().try_for_each(|byte| check_byte(*byte))?;
        }
    }
    rest.iter().try_for_each(|byte| check_byte(*byte))
}

#[inline]
fn check_byte(byte: u8) -> Result<(), Refusal> {
    match byte {
        b'\t' | b' '..=0x7e | 0x80.. => Ok(()),
        0 => Err(Refusal::Nul),
        b'\r' => Err(Refusal::BareCr),
        _ => Err(Refusal::FieldValue),
    }
}

/// Without spaces and tabs at the ends (OWS of RFC 9110, section 5.6.3).
#[inline]
pub(super) fn trim(mut text: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = text {
        text = rest;
    }
    while let [rest @ .., b' ' | b'\t'] = text {
        text = rest;
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_quick_look_misses_nothing() {
        for (path, want) in [
            ("/", Look::Normal),
            ("/a/b.png", Look::Normal),
            ("/a.b/c", Look::Normal),
            ("/.", Look::NotNormal),
            ("/.hidden", Look::NotNormal),
            ("//", Look::NotNormal),
            ("/a//b", Look::NotNormal),
            ("/a/../b", Look::NotNormal),
            ("/%61", Look::NotNormal),
            ("/a;b", Look::NotNormal),
            ("/a\\b", Look::NotNormal),
            ("/a b", Look::Illegal),
            ("/ä", Look::Illegal),
        ] {
            assert_eq!(look_at_path(path.as_bytes()), want, "{path}");
        }
    }

    proptest! {
        #[test]
        fn values_are_checked_as_byte_by_byte(value in proptest::collection::vec(any::<u8>(), 0..40)) {
            let slow = value.iter().try_for_each(|byte| check_byte(*byte));
            prop_assert_eq!(check_value(&value), slow);
        }

        #[test]
        fn one_wrong_byte_is_found(at in 0..40usize, byte: u8) {
            let mut value = [b'x'; 40];
            value[at] = byte;
            prop_assert_eq!(check_value(&value), check_byte(byte));
        }
    }
}
