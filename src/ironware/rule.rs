//! What a `csw-rule` looks at, both ways.
//!
//! Letters of a host compare in any case and those of a method in theirs, whatever a rule says of case: such a condition takes
//! no side, and a rule of nothing else is case-sensitive by convention. A trailing `*` of prefix and pattern is a wildcard
//! that says what they say already.

use super::book::Book;
use super::{TEXT_MAX, Unread, Unsaid, as_strs, name, words};
use crate::acm::rules::{Case, Condition, Named, Rule, TextMatch};

/// Rules nested in rules are followed so far.
const DEPTH_MAX: usize = 16;

/// Parts that one `nested-rule` names: their names and `&&` must fit into a text.
const PARTS_MAX: usize = 4;

/// What words look at, and how letters compare if they do.
pub(super) type Meaning = (Vec<Condition>, Option<Case>);

fn no_word<T>(what: impl Into<String>) -> Result<T, Unread> {
    Err(Unread::NoWord(what.into()))
}

/// What a rule of this name looks at.
pub(super) fn read(book: &Book, name: &str) -> Result<Meaning, Unread> {
    read_nested(book, name, DEPTH_MAX)
}

fn read_nested(book: &Book, name: &str, depth: usize) -> Result<Meaning, Unread> {
    let Some(said) = book.rule(name) else { return Err(Unread::Wrong(format!("csw-rule {name} is not configured"))) };
    read_words(book, &as_strs(&words(said)), depth)
}

/// What the words behind `csw-rule NAME` look at.
///
/// # Errors
/// See [`Unread`].
pub(super) fn check(book: &Book, said: &str) -> Result<(), Unread> {
    read_words(book, &as_strs(&words(said)), DEPTH_MAX).map(drop)
}

fn read_words(book: &Book, said: &[&str], depth: usize) -> Result<Meaning, Unread> {
    let (said, case) = match said.split_last() {
        Some((&"case-insensitive", rest)) => (rest, Case::Insensitive),
        _ => (said, Case::Sensitive),
    };
    let compared = |condition| Ok((vec![condition], Some(case)));
    match said {
        ["url", "exists"] => Ok((vec![], None)),
        ["url", how, text] => compared(Condition::Path(text_match(how, text)?)),
        ["header", name, "equals", text] if is_host(name) => Ok((vec![Condition::Host((*text).into())], None)),
        ["header", name, "suffix", text] if is_host(name) && is_below_a_host(text) => {
            Ok((vec![Condition::Host(format!("*{text}"))], None))
        }
        ["header", name, "exists"] => Ok((vec![header(name, TextMatch::Present)], None)),
        ["header", name, how, text] => compared(header(name, text_match(how, text)?)),
        ["method", "eq", method] => Ok((vec![Condition::Method(method.to_ascii_uppercase())], None)),
        ["nested-rule", names] => read_all(book, names, depth),
        [what, ..] => no_word(format!("csw-rule by {what}")),
        [] => no_word("csw-rule without words"),
    }
}

fn is_host(header: &str) -> bool {
    header.eq_ignore_ascii_case("host")
}

/// `.example.com`: the hosts below one.
fn is_below_a_host(text: &str) -> bool {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    text.strip_prefix('.').is_some_and(|host| host.bytes().all(legal) && !host.starts_with('.') && !host.is_empty())
}

fn header(name: &str, is: TextMatch) -> Condition {
    Condition::Header(Named { name: name.to_owned(), is })
}

pub(super) fn text_match(how: &str, text: &str) -> Result<TextMatch, Unread> {
    let open = || text.strip_suffix('*').unwrap_or(text).to_owned();
    Ok(match how {
        "prefix" => TextMatch::Prefix(open()),
        "pattern" => TextMatch::Contains(open()),
        "suffix" => TextMatch::Suffix(text.to_owned()),
        "equals" => TextMatch::Exact(text.to_owned()),
        other => return no_word(format!("csw-rule with {other}")),
    })
}

/// `A && B`: the conditions of both. One rule compares letters in one way.
fn read_all(book: &Book, names: &str, depth: usize) -> Result<Meaning, Unread> {
    if names.contains("||") || names.contains('(') || names.contains('!') {
        return no_word("nested-rule with anything but &&");
    }
    if depth == 0 {
        return Err(Unread::Wrong("csw-rules are nested too deeply".into()));
    }
    let mut all = (Vec::new(), None);
    for name in names.split("&&") {
        let (conditions, case) = read_nested(book, name.trim(), depth - 1)?;
        all.0.extend(conditions);
        match (all.1, case) {
            (Some(one), Some(other)) if one != other => {
                return no_word("nested-rule of rules that compare letters in different ways");
            }
            (one, other) => all.1 = one.or(other),
        }
    }
    Ok(all)
}

/// The words of a match, and the text behind them.
fn match_words(is: &TextMatch) -> (&'static str, Option<&str>) {
    match is {
        TextMatch::Present => ("exists", None),
        TextMatch::Exact(text) => ("equals", Some(text)),
        TextMatch::Prefix(text) => ("prefix", Some(text)),
        TextMatch::Suffix(text) => ("suffix", Some(text)),
        TextMatch::Contains(text) => ("pattern", Some(text)),
    }
}

/// A text as it is typed: in quotes.
pub(super) fn quoted(text: &str) -> Result<String, String> {
    if text.is_empty() || text.len() > TEXT_MAX {
        return Err(format!("{text:?}: a text on a ServerIron has 1 to {TEXT_MAX} characters; shorten it"));
    }
    let typed = |byte: u8| (byte.is_ascii_graphic() || byte == b' ') && !b"\"?\\".contains(&byte);
    if !text.bytes().all(typed) || text.contains("group-id ") {
        return Err(format!("{text:?} cannot be typed on a ServerIron: ASCII without \", ? and \\"));
    }
    Ok(format!("\"{text}\""))
}

/// The words and the quoted text of a match that is no `exists`.
pub(super) fn compared(is: &TextMatch) -> Result<(&'static str, String), String> {
    let (how, text) = match_words(is);
    let Some(text) = text else { return Err("present: on a ServerIron headers alone are there or not".into()) };
    if matches!(how, "prefix" | "pattern") && text.ends_with('*') {
        return Err(format!("{text:?}: a trailing * is a wildcard on a ServerIron; leave it out"));
    }
    Ok((how, quoted(text)?))
}

/// A condition's words, and whether it compares letters.
fn condition_words(condition: &Condition, case: Case) -> Result<(String, bool), (&'static str, String)> {
    let mark = if case == Case::Insensitive { " case-insensitive" } else { "" };
    let words = |kind: &'static str, what: String, is: &TextMatch| {
        let (how, text) = compared(is).map_err(|why| (kind, why))?;
        Ok((format!("{what} {how} {text}{mark}"), true))
    };
    match condition {
        Condition::Path(is) => words("path", "url".into(), is),
        Condition::Host(host) => {
            let (how, text) = host.strip_prefix('*').map_or(("equals", host.as_str()), |below| ("suffix", below));
            let text = quoted(text).map_err(|why| ("host", why))?;
            Ok((format!("header \"host\" {how} {text} case-insensitive"), false))
        }
        Condition::Method(method) => Ok((format!("method eq {method}"), false)),
        Condition::Header(Named { name, is }) => {
            let name = quoted(name).map_err(|why| ("header", why))?;
            match is {
                TextMatch::Present => Ok((format!("header {name} exists"), false)),
                TextMatch::Exact(_) | TextMatch::Suffix(_) if is_host(name.trim_matches('"')) => {
                    Err(("header", "a ServerIron's word for this is that for hosts; use a host".into()))
                }
                is => words("header", format!("header {name}"), is),
            }
        }
        Condition::Cookie(_) => Err((
            "cookie",
            "a ServerIron looks at the cookie header as one text; use a condition on that header".into(),
        )),
        Condition::Sni(_) => Err(("sni", "a ServerIron looks into HTTP alone; use a host".into())),
        Condition::Alpn(_) => Err(("alpn", "a ServerIron looks into HTTP alone; leave it out".into())),
    }
}

/// The `csw-rule`s that a rule comes to, parts first: the last bears its name.
pub(super) fn say(rule: &Rule, field: &str) -> Result<Vec<(String, String)>, Unsaid> {
    let (mut parts, mut compares) = (Vec::new(), false);
    for (n, condition) in rule.when.iter().enumerate() {
        let said = condition_words(condition, rule.case);
        let (words, is_compared) = said.map_err(|(kind, why)| Unsaid::new(format!("{field}.when[{n}].{kind}"), why))?;
        compares |= is_compared;
        parts.push(words);
    }
    if rule.case == Case::Insensitive && !compares {
        let why = "nothing in this rule compares letters of a path or a header; leave it out";
        return Err(Unsaid::new(format!("{field}.case"), why));
    }
    let mut rules = Vec::new();
    let top = match parts.as_slice() {
        [] => "url exists".to_owned(),
        [only] => only.clone(),
        _ => nested(parts, &mut rules),
    };
    rules.push((name::of_rule(rule.name.as_str(), &top), top));
    Ok(rules)
}

/// The words that join these; what they name is put into `rules`.
fn nested(parts: Vec<String>, rules: &mut Vec<(String, String)>) -> String {
    let mut parts = parts;
    loop {
        let names: Vec<String> = parts.iter().map(|words| name::of_rule("", words)).collect();
        rules.extend(names.iter().cloned().zip(parts));
        let joined = |names: &[String]| format!("nested-rule \"{}\"", names.join(" && "));
        if names.len() <= PARTS_MAX {
            return joined(&names);
        }
        parts = names.chunks(PARTS_MAX).map(joined).collect();
    }
}
