//! A span of time in text and JSON: `"30s"`, `"500ms"`, `"1m 30s"`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use super::addr::serde_as_text;
use super::text::cut;

/// A duration that reads and writes the way people type it on the command line (`30s`, `500ms`, `2m`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, utoipa::ToSchema)]
#[schema(value_type = String, example = "30s")]
pub struct Span(pub Duration);

/// Spans longer than this are refused: ten years is a typing mistake, and sums of two never overflow.
pub const SPAN_MAX: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

impl Span {
    /// A span of whole seconds.
    pub const fn secs(secs: u64) -> Span {
        Span(Duration::from_secs(secs))
    }

    /// A span of whole milliseconds.
    pub const fn millis(millis: u64) -> Span {
        Span(Duration::from_millis(millis))
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", humantime::format_duration(self.0))
    }
}

/// What was wrong with a text that should have been a span.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a time span such as 30s, 500ms or 2m ({why})")]
pub struct NotASpan {
    text: String,
    why: String,
}

impl FromStr for Span {
    type Err = NotASpan;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = |why: &dyn fmt::Display| NotASpan { text: cut(text), why: why.to_string() };
        let span = humantime::parse_duration(text.trim()).map_err(|why| wrong(&why))?;
        if span > SPAN_MAX {
            return Err(wrong(&"longer than ten years"));
        }
        Ok(Span(span))
    }
}

serde_as_text!(Span);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_survive_their_text() {
        for text in ["30s", "500ms", "1m 30s", "0s"] {
            assert_eq!(text.parse::<Span>().unwrap().to_string(), text);
        }
        for bad in ["", "30", "-1s", "20years", "99999999999999999999s", "s"] {
            assert!(bad.parse::<Span>().is_err(), "{bad}");
        }
    }
}
