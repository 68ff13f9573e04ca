//! The syntax of a row, as the manual would print it, read into steps.
//!
//! ```text
//!  server real <name> [<ip>]          keywords, arguments, an optional part
//!  predictor {least-conn|round-robin} one of several keywords
//!  bind <port> (<name> <port>)+       a part that repeats
//!  match <rule*> forward <1-1023>     an argument that belongs to what the line is about, not to what it says
//! ```

use super::word::Kind;

/// One step through a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Token {
    /// This word or an unambiguous beginning of it.
    Keyword(&'static str),
    /// The same, as one of several: a value.
    Choice(&'static str),
    /// A value of this kind.
    Argument(Kind),
}

/// A part of a pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Part {
    /// One step; `key` if it belongs to what the line is about.
    Step { token: Token, key: bool },
    /// One of these.
    OneOf(Vec<&'static str>),
    /// All of it or nothing.
    Optional(Vec<Part>),
    /// All of it, once or more often.
    Repeated(Vec<Part>),
}

/// Reads a pattern.
///
/// # Panics
/// If it is not one: patterns are constants of this crate, and a test reads all of them.
pub(super) fn parse(pattern: &'static str) -> Vec<Part> {
    let mut rest = pattern;
    let parts = sequence(&mut rest, pattern);
    assert!(rest.is_empty(), "pattern `{pattern}`: unexpected `{rest}`");
    parts
}

fn sequence(rest: &mut &'static str, whole: &str) -> Vec<Part> {
    let mut parts = Vec::new();
    loop {
        *rest = rest.trim_start();
        let Some(first) = rest.chars().next() else { return parts };
        match first {
            ']' | ')' => return parts,
            '[' => parts.push(Part::Optional(enclosed(rest, "]", whole))),
            '(' => parts.push(Part::Repeated(enclosed(rest, ")+", whole))),
            '{' => {
                let (inside, after) = rest[1..].split_once('}').unwrap_or_else(|| panic!("pattern `{whole}`: no `}}`"));
                *rest = after;
                parts.push(Part::OneOf(inside.split('|').collect()));
            }
            '<' => {
                let (inside, after) = rest[1..].split_once('>').unwrap_or_else(|| panic!("pattern `{whole}`: no `>`"));
                *rest = after;
                let (spelling, key) = inside.strip_suffix('*').map_or((inside, false), |spelling| (spelling, true));
                let kind = Kind::of(spelling).unwrap_or_else(|| panic!("pattern `{whole}`: no kind `{spelling}`"));
                parts.push(Part::Step { token: Token::Argument(kind), key });
            }
            _ => {
                let end = rest.find([' ', ']', ')']).unwrap_or(rest.len());
                let (word, after) = rest.split_at(end);
                *rest = after;
                parts.push(Part::Step { token: Token::Keyword(word), key: true });
            }
        }
    }
}

fn enclosed(rest: &mut &'static str, end: &str, whole: &str) -> Vec<Part> {
    *rest = &rest[1..];
    let parts = sequence(rest, whole);
    *rest = rest.strip_prefix(end).unwrap_or_else(|| panic!("pattern `{whole}`: no `{end}`"));
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_is_read_as_the_manual_prints_it() {
        let keyword = |word| Part::Step { token: Token::Keyword(word), key: true };
        let argument = |kind, key| Part::Step { token: Token::Argument(kind), key };
        assert_eq!(
            parse("bind <port*> (<name> <port>)+ [{a|b}]"),
            [
                keyword("bind"),
                argument(Kind::Port, true),
                Part::Repeated(vec![argument(Kind::Name, false), argument(Kind::Port, false)]),
                Part::Optional(vec![Part::OneOf(vec!["a", "b"])]),
            ]
        );
        assert_eq!(parse("weight <0-65000>"), [keyword("weight"), argument(Kind::Number(0, 65_000), false)]);
    }
}
