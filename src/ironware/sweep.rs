//! What of ours nothing leads to any more.

use std::collections::BTreeSet;

use super::book::{Book, number_of};
use super::{PortLines, as_strs, name, words};

/// What may go, in the order in which it goes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Sweepings {
    /// Policies.
    pub policies: Vec<String>,
    /// Maps.
    pub maps: Vec<String>,
    /// Rules, those that name others first.
    pub rules: Vec<String>,
}

/// What may go while these ports and servers' groups stay. What is not ours stays, and so does what it names.
pub fn sweep<'a>(book: &Book, ports: impl IntoIterator<Item = &'a PortLines>, groups: &BTreeSet<u16>) -> Sweepings {
    let (mut policies, mut maps) = (BTreeSet::new(), BTreeSet::new());
    for port in ports {
        let second = |key: &str| port.get(key).and_then(|line| words(line).into_iter().nth(1));
        policies.extend(second("csw-policy"));
        maps.extend(second("url-map"));
    }
    policies.extend(book.policies().filter(|(name, _)| !name::is_ours(name)).map(|(name, _)| name.to_owned()));
    maps.extend(book.maps().filter(|(name, _)| !name::is_ours(name)).map(|(name, _)| name.to_owned()));
    let maps = followed(maps, |map| {
        let lines = book.map(map).into_iter().flatten();
        lines
            .filter_map(|line| line.strip_prefix("default "))
            .map(|to| to.trim().trim_matches('"').to_owned())
            .collect()
    });
    let kept: Vec<&str> = {
        let policies = policies.iter().filter_map(|name| book.policy(name)).flat_map(|policy| &policy.lines);
        policies.chain(maps.iter().filter_map(|name| book.map(name)).flatten()).map(String::as_str).collect()
    };
    let numbers: BTreeSet<u16> = kept.iter().filter_map(|line| number_of(line)).chain(groups.iter().copied()).collect();
    let matched = kept.iter().filter_map(|line| match as_strs(&words(line)).as_slice() {
        ["match", rule, ..] => Some((*rule).to_owned()),
        _ => None,
    });
    let foreign = book.rules().map(|(name, _)| name.to_owned()).filter(|name| !name::is_ours(name));
    let noted = book.rules().map(|(name, _)| name.to_owned());
    let noted = noted.filter(|name| name::read_group(name).is_some_and(|(number, _)| numbers.contains(&number)));
    let rules = followed(matched.chain(foreign).chain(noted).collect(), |rule| parts(book, rule));
    let gone = |name: &&str| name::is_ours(name);
    let mut going: Vec<String> = book
        .rules()
        .map(|(name, _)| name)
        .filter(gone)
        .filter(|name| !rules.contains(*name))
        .map(str::to_owned)
        .collect();
    going.sort_by_key(|rule| std::cmp::Reverse(depth(book, rule, 16)));
    Sweepings {
        policies: book
            .policies()
            .map(|(name, _)| name)
            .filter(gone)
            .filter(|name| !policies.contains(*name))
            .map(str::to_owned)
            .collect(),
        maps: book
            .maps()
            .map(|(name, _)| name)
            .filter(gone)
            .filter(|name| !maps.contains(*name))
            .map(str::to_owned)
            .collect(),
        rules: going,
    }
}

/// These and everything they lead to.
fn followed(begin: BTreeSet<String>, next: impl Fn(&str) -> Vec<String>) -> BTreeSet<String> {
    let mut open: Vec<String> = begin.into_iter().collect();
    let mut seen = BTreeSet::new();
    while let Some(name) = open.pop() {
        if !seen.contains(&name) {
            open.extend(next(&name));
            seen.insert(name);
        }
    }
    seen
}

/// The rules that a rule names.
fn parts(book: &Book, rule: &str) -> Vec<String> {
    let said = words(book.rule(rule).unwrap_or_default());
    match as_strs(&said).as_slice() {
        ["nested-rule", names] => {
            names.split(['&', '|', '(', ')', '!', ' ']).filter(|name| !name.is_empty()).map(str::to_owned).collect()
        }
        _ => Vec::new(),
    }
}

/// The rules that a rule names, and those that they name.
pub fn parts_below(book: &Book, rule: &str) -> BTreeSet<String> {
    followed(parts(book, rule).into_iter().collect(), |part| parts(book, part))
}

/// How many steps there are below a rule.
fn depth(book: &Book, rule: &str, most: usize) -> usize {
    match most {
        0 => 0,
        _ => parts(book, rule).iter().map(|part| 1 + depth(book, part, most - 1)).max().unwrap_or(0),
    }
}
