//! A line of input as words, and words as values.

use std::net::IpAddr;

use crate::slb::words::{Name, NotAName, Port};

/// The longest line the grammar looks at; the device's own buffer is smaller.
pub const LINE_MAX: usize = 4_096;

/// Names of content rules and policies are longer than those of servers.
pub const RULE_NAME_MAX: usize = 80;

/// A word of a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word {
    /// Its characters, without the quotes around it, `\?` as `?`.
    pub text: String,
    /// Where it begins in the line.
    pub start: usize,
    /// Whether it stood in double quotes.
    pub quoted: bool,
}

/// Splits a line at its blanks; a part in double quotes is one word. A quote that does not end, ends with the line.
pub fn split(line: &str) -> Vec<Word> {
    let mut words = Vec::new();
    let mut open: Option<Word> = None;
    let mut in_quotes = false;
    let mut chars = line.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        if c.is_ascii_whitespace() && !in_quotes {
            words.extend(open.take());
            continue;
        }
        let word = open.get_or_insert_with(|| Word { text: String::new(), start: at, quoted: false });
        match c {
            '"' => {
                in_quotes = !in_quotes;
                word.quoted = true;
            }
            '\\' if chars.peek().is_some_and(|(_, next)| *next == '?') => {
                chars.next();
                word.text.push('?');
            }
            c => word.text.push(c),
        }
    }
    words.extend(open);
    words
}

/// What may stand at an argument's place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// `<name>`: the name of a server.
    Name,
    /// `<rule>`: the name of a rule or policy; printed in quotes.
    Rule,
    /// `<text>`: a word or a quoted string; printed in quotes.
    Text,
    /// `<word>`: a word, printed as it is.
    Word,
    /// `<secret>`: a word that is never printed.
    Secret,
    /// `<ip>`: an address; also a mask.
    Ip,
    /// `<mac>`: a hardware address, `0010.db12.3456`.
    Mac,
    /// `<port>`: a port's number or name.
    Port,
    /// `<1-60>`: a number of this range.
    Number(u32, u32),
    /// `<line>`: all the rest.
    Line,
}

impl Kind {
    /// The kind of `<spelling>` in a pattern.
    pub(super) fn of(spelling: &str) -> Option<Kind> {
        Some(match spelling {
            "name" => Kind::Name,
            "rule" => Kind::Rule,
            "text" => Kind::Text,
            "word" => Kind::Word,
            "secret" => Kind::Secret,
            "ip" => Kind::Ip,
            "mac" => Kind::Mac,
            "port" => Kind::Port,
            "line" => Kind::Line,
            range => {
                let (low, high) = range.split_once('-')?;
                Kind::Number(low.parse().ok()?, high.parse().ok()?)
            }
        })
    }

    /// How `?` shows it, and what it says.
    pub(super) fn help(self) -> (String, &'static str) {
        match self {
            Kind::Name => ("ASCII string".into(), "Name"),
            Kind::Rule => ("ASCII string".into(), "Name of a rule or policy"),
            Kind::Text => ("\"string\"".into(), "Text, in double quotes if it has blanks"),
            Kind::Word | Kind::Secret => ("ASCII string".into(), "One word"),
            Kind::Ip => ("A.B.C.D".into(), "IP address"),
            Kind::Mac => ("HHHH.HHHH.HHHH".into(), "Ethernet address"),
            Kind::Port => ("DECIMAL or name".into(), "TCP/UDP port"),
            Kind::Number(low, high) => (format!("DECIMAL {low}-{high}"), "Number"),
            Kind::Line => ("LINE".into(), "Text up to the end of the line"),
        }
    }

    /// The value of a word. A name that is too long, or has characters it may not have, is a value still: what
    /// the device says about it is not `Invalid input`.
    pub(super) fn read(self, word: &Word) -> Option<Value> {
        let text = word.text.as_str();
        Some(match self {
            Kind::Name => Value::Name(name(text, crate::slb::words::NAME_MAX)?),
            Kind::Rule => Value::Name(name(text, RULE_NAME_MAX)?),
            Kind::Text if is_printable(text) => Value::Text(text.to_owned()),
            Kind::Word if is_printable(text) && !text.is_empty() && !text.contains(' ') => Value::Text(text.to_owned()),
            Kind::Secret if is_printable(text) && !text.is_empty() => Value::Text(text.to_owned()),
            Kind::Ip => Value::Ip(text.parse().ok()?),
            Kind::Mac => Value::Text(is_mac(text).then(|| text.to_ascii_lowercase())?),
            Kind::Port => Value::Port(text.to_ascii_lowercase().parse().ok()?),
            Kind::Number(low, high) => {
                let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
                let number: u32 = if digits { text.parse().ok()? } else { return None };
                Value::Number((low..=high).contains(&number).then_some(number)?)
            }
            Kind::Line | Kind::Text | Kind::Word | Kind::Secret => return None,
        })
    }
}

fn name(text: &str, longest: usize) -> Option<Result<Name, BadName>> {
    match Name::up_to(text, longest) {
        Ok(name) => Some(Ok(name)),
        Err(NotAName::Empty) => None,
        Err(why) => Some(Err(BadName { text: text.to_owned(), why })),
    }
}

pub(super) fn is_printable(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"' || byte == b' ')
}

fn is_mac(text: &str) -> bool {
    let groups: Vec<&str> = text.split('.').collect();
    groups.len() == 3
        && groups.iter().all(|group| group.len() == 4 && group.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// A word at a name's place that is no name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadName {
    /// The word.
    pub text: String,
    /// What is wrong with it.
    pub why: NotAName,
}

/// The value of an argument.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// Of [`Kind::Name`] and [`Kind::Rule`].
    Name(Result<Name, BadName>),
    /// Of [`Kind::Text`], [`Kind::Word`], [`Kind::Secret`], [`Kind::Mac`] and [`Kind::Line`].
    Text(String),
    /// Of [`Kind::Ip`].
    Ip(IpAddr),
    /// Of [`Kind::Port`].
    Port(Port),
    /// Of [`Kind::Number`].
    Number(u32),
    /// One of several keywords: `{prefix|suffix}`.
    Choice(&'static str),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(line: &str) -> Vec<String> {
        split(line).into_iter().map(|word| word.text).collect()
    }

    #[test]
    fn blanks_part_words_and_quotes_keep_them_together() {
        assert_eq!(texts("  port http  url \"GET /a b\"  "), ["port", "http", "url", "GET /a b"]);
        assert_eq!(texts(r#"match "a"b"#), ["match", "ab"]);
        assert_eq!(texts(r#"url "GET /x\?y=1"#), ["url", "GET /x?y=1"], "an open quote ends with the line");
        assert_eq!(texts(r#"url "GET /\r\nHost:a""#), ["url", r"GET /\r\nHost:a"]);
        assert_eq!(split("a  b")[1].start, 3);
        assert!(split(r#"x """#)[1].quoted && split(r#"x """#)[1].text.is_empty());
    }

    #[test]
    fn words_are_values_only_of_their_kind() {
        let read = |kind: Kind, text: &str| kind.read(&Word { text: text.into(), start: 0, quoted: false });
        assert_eq!(read(Kind::Port, "HTTP"), Some(Value::Port(Port::HTTP)));
        assert_eq!(read(Kind::Port, "0"), None);
        assert_eq!(read(Kind::Port, "+80"), None);
        assert_eq!(read(Kind::Number(1, 10), "10"), Some(Value::Number(10)));
        assert_eq!(read(Kind::Number(1, 10), "11"), None);
        assert_eq!(read(Kind::Number(1, 10), "99999999999"), None);
        assert_eq!(read(Kind::Ip, "10.0.0.256"), None);
        assert_eq!(read(Kind::Mac, "0010.DB12.3456"), Some(Value::Text("0010.db12.3456".into())));
        assert_eq!(read(Kind::Mac, "0010.db12"), None);
        let long = read(Kind::Name, &"n".repeat(33));
        assert!(matches!(long, Some(Value::Name(Err(BadName { why: NotAName::TooLong, .. })))), "{long:?}");
        assert_eq!(read(Kind::Text, "caf\u{e9}"), None);
    }
}
