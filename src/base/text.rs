//! Text of somebody else in a sentence of ours: what was typed, sent or read from a file, as an error repeats it.
//!
//! Whoever writes an error message takes [`cut`] or [`quoted`] for what he repeats: a value can be as long as a request
//! may be, and control characters in it must not command a terminal or begin another line of a log.

/// Characters of a value that are repeated. More tells nobody more: the field is named beside it.
pub const SHOWN_MAX: usize = 80;

/// The text's beginning, [`SHOWN_MAX`] characters at most, then `…` if that is not all; control characters escaped.
pub fn cut(text: &str) -> String {
    match text.char_indices().nth(SHOWN_MAX) {
        None => escaped(text),
        Some((end, _)) => escaped(&text[..end]) + "…",
    }
}

/// The same in backquotes.
pub fn quoted(text: &str) -> String {
    format!("`{}`", cut(text))
}

/// The whole text with control characters escaped.
pub fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c.is_control() {
            true => out.extend(c.escape_default()),
            false => out.push(c),
        }
    }
    out
}

/// A message of somebody else's (a parser's) that repeats this value, with the value cut if it is long.
pub fn with_cut(message: &str, value: &str) -> String {
    let is_long = value.char_indices().nth(SHOWN_MAX).is_some();
    if !is_long {
        return message.to_owned();
    }
    let shown = cut(value);
    // As it is, and as Rust writes a string's inside.
    let debugged = format!("{value:?}");
    let inside = debugged.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(value);
    message.replace(value, &shown).replace(inside, &shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_text_is_cut_and_control_characters_are_shown() {
        assert_eq!(cut("a\u{1b}[31m\nb"), "a\\u{1b}[31m\\nb");
        assert_eq!(cut(&"é".repeat(80)), "é".repeat(80));
        assert_eq!(cut(&"é".repeat(81)), "é".repeat(80) + "…");
        assert_eq!(quoted(""), "``");
        assert_eq!(escaped(&"\n".repeat(100)), "\\n".repeat(100));
    }

    #[test]
    fn a_parsers_message_is_cut_where_it_repeats_the_value() {
        let long = "x\n".repeat(100);
        let shown = "x\\n".repeat(40) + "…";
        assert_eq!(
            with_cut(&format!("unknown field `{long}`, expected a"), &long),
            format!("unknown field `{shown}`, expected a")
        );
        assert_eq!(with_cut(&format!("string {long:?}, expected a"), &long), format!("string \"{shown}\", expected a"));
        assert_eq!(with_cut("unknown field `x`", "x"), "unknown field `x`");
    }
}
