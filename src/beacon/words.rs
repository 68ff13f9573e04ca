//! Text of somebody else: bounded, UTF-8, without control characters, so that it can stand in a log line or on a
//! terminal as it is.

use std::fmt;
use std::sync::Arc;

/// The longest text of a field, in bytes.
pub const WORDS_MAX: usize = 160;

/// A short text: a reason, a version, a note.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Words(Arc<str>);

impl Words {
    /// Makes a text fit: control characters are escaped, what is too long is cut.
    pub fn clip(text: &str) -> Words {
        let mut kept = String::new();
        for c in text.chars() {
            let shown = if c.is_control() { c.escape_default().to_string() } else { c.to_string() };
            if kept.len() + shown.len() > WORDS_MAX {
                break;
            }
            kept.push_str(&shown);
        }
        Words(kept.into())
    }

    /// The text in these bytes, if they are one.
    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Words> {
        let text = std::str::from_utf8(bytes).ok()?;
        let is_fit = text.len() <= WORDS_MAX && !text.chars().any(char::is_control);
        is_fit.then(|| Words(text.into()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Words {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for Words {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_made_fit_and_unfit_text_is_refused() {
        assert_eq!(Words::clip("a\u{1b}[31m\nb").as_str(), "a\\u{1b}[31m\\nb");
        assert_eq!(Words::clip(&"é".repeat(200)).as_str().len(), WORDS_MAX);
        assert!(Words::from_bytes(b"plain").is_some());
        for bad in [&b"a\nb"[..], &[0xff], &[b'x'; WORDS_MAX + 1]] {
            assert!(Words::from_bytes(bad).is_none());
        }
    }
}
