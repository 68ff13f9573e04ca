//! A service's rules, made ready: what is done with a request, at a cost that hardly depends on how many there are.
//!
//! Of each rule one condition is its *anchor*, the most selective it has: the one that fewest rules share, and of those
//! the kind that says most. All anchors of one field (the path, the host, a header, ...) are one `TextIndex`, so one pass
//! over each field that rules look at finds the rules whose anchor holds. Only of these are the other conditions
//! looked at, in order, and none behind the best rule found so far. A rule without conditions is always found.
//!
//! Nothing is allocated for a request: the caller brings a [`Scratch`], which grows at most once.
//! [`trace`] says the same as [`Ruleset::decide`] the slow way, with reasons, for people who ask why.

use std::collections::BTreeMap;
use std::hash::Hasher;

use super::cookie;
use super::head::{Head, NameSet};
use super::hello::Hello;
use super::text::{Entry, RuleList, TextIndex};
use crate::acm::rules::{Action, Case, Condition, DropShare, Rule, TextMatch};
use crate::acm::words::DropMode;
use crate::base::hash::{fixed, fixed_hasher};

/// What is known of a client's request.
#[derive(Debug, Clone, Copy)]
pub enum Facts<'a> {
    /// An HTTP request, and its path normalised.
    Http(Head<'a>, &'a [u8]),
    /// A TLS client hello.
    Tls(Hello<'a>),
}

/// The numbers that coins are tossed with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Toss {
    /// The same for every request of a connection, and random among connections.
    pub connection: u64,
    /// Random among requests.
    pub request: u64,
}

/// What is done with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decision<'a> {
    /// The rule that decided, from 0; `None`: no rule did.
    pub rule: Option<usize>,
    /// What is done. A `drop` means that this request is one of those to be refused.
    pub action: &'a Action,
}

/// Room that looking at requests needs. One a worker is enough.
#[derive(Debug, Clone, Default)]
pub struct Scratch {
    /// Cookies whose first occurrence was seen, a bit each.
    seen: Vec<u64>,
}

/// The rules of a service.
#[derive(Debug, Clone)]
pub struct Ruleset {
    rules: Vec<Ready>,
    default: Action,
    always: RuleList,
    path: TextIndex,
    host: TextIndex,
    method: TextIndex,
    sni: TextIndex,
    alpn: TextIndex,
    headers: ByName,
    header_names: NameSet,
    cookies: ByName,
}

/// Why rules cannot be made ready.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the rules are too large: {0}")]
pub struct TooLarge(String);

#[derive(Debug, Clone)]
struct Ready {
    action: Action,
    /// Makes the coins of a rule its own; another policy tosses anew.
    salt: u64,
    /// The conditions besides the anchor.
    rest: Box<[Check]>,
}

/// Indexes of fields that have names. In order of names, for a binary search.
type ByName = Box<[(Box<[u8]>, TextIndex)]>;

/// What a condition looks at. Header names in small letters.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Field {
    Path,
    Host,
    Method,
    Sni,
    Alpn,
    Header(Box<[u8]>),
    Cookie(Box<[u8]>),
}

/// A condition, made ready.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Check {
    field: Field,
    entry: Entry,
}

impl Ruleset {
    /// Makes rules ready. Milliseconds for a thousand; not for the packet path.
    ///
    /// # Errors
    /// If the texts are too many for the automaton: some 2^31 bytes.
    pub fn compile(rules: &[Rule], default: &Action) -> Result<Ruleset, TooLarge> {
        let checks: Vec<Vec<Check>> = rules.iter().map(checks_of).collect();
        let mut sharers = BTreeMap::<&Check, usize>::new();
        for check in checks.iter().flatten() {
            *sharers.entry(check).or_default() += 1;
        }
        let mut anchored = BTreeMap::<Field, BTreeMap<Entry, Vec<u32>>>::new();
        let mut always = Vec::new();
        let mut ready = Vec::with_capacity(rules.len());
        for ((rule, own), number) in rules.iter().zip(&checks).zip(0u32..) {
            let cost = |check: &&Check| (check.field == Field::Method, sharers[check], check.entry.vagueness());
            let anchor = own.iter().min_by_key(cost);
            match anchor {
                None => always.push(number),
                Some(Check { field, entry }) => {
                    anchored.entry(field.clone()).or_default().entry(entry.clone()).or_default().push(number);
                }
            }
            let rest = own.iter().filter(|check| Some(*check) != anchor).cloned().collect();
            ready.push(Ready { action: rule.then.clone(), salt: salt(rule), rest });
        }
        let (mut headers, mut cookies) = (Vec::new(), Vec::new());
        let mut ruleset = Ruleset {
            rules: ready,
            default: default.clone(),
            always: always.into(),
            path: TextIndex::default(),
            host: TextIndex::default(),
            method: TextIndex::default(),
            sni: TextIndex::default(),
            alpn: TextIndex::default(),
            headers: Box::default(),
            header_names: NameSet::default(),
            cookies: Box::default(),
        };
        for (field, entries) in anchored {
            let index = TextIndex::build(entries).map_err(TooLarge)?;
            match field {
                Field::Path => ruleset.path = index,
                Field::Host => ruleset.host = index,
                Field::Method => ruleset.method = index,
                Field::Sni => ruleset.sni = index,
                Field::Alpn => ruleset.alpn = index,
                // Fields come in their order, so names come in order too.
                Field::Header(name) => {
                    ruleset.header_names.insert(&name);
                    headers.push((name, index));
                }
                Field::Cookie(name) => cookies.push((name, index)),
            }
        }
        (ruleset.headers, ruleset.cookies) = (headers.into(), cookies.into());
        Ok(ruleset)
    }

    /// What is done with a request: the first rule that matches and does not spare it, or the default action.
    pub fn decide(&self, facts: &Facts<'_>, toss: Toss, scratch: &mut Scratch) -> Decision<'_> {
        let mut from = 0;
        while let Some(number) = self.first(facts, from, scratch) {
            let rule = &self.rules[number as usize];
            match rule.action {
                Action::Drop(share) if !toss.hits(share, rule.salt) => from = number + 1,
                _ => return Decision { rule: Some(number as usize), action: &rule.action },
            }
        }
        self.default()
    }

    /// What is done with what no rule looks at.
    pub fn default(&self) -> Decision<'_> {
        Decision { rule: None, action: &self.default }
    }

    /// The first matching rule from this one on.
    fn first(&self, facts: &Facts<'_>, from: u32, scratch: &mut Scratch) -> Option<u32> {
        let mut best = u32::MAX;
        let mut consider = |list: &[u32]| {
            for number in list.iter().copied().skip_while(|number| *number < from) {
                if number >= best {
                    return;
                }
                if self.rules[number as usize].rest.iter().all(|check| check.holds(facts)) {
                    best = number;
                    return;
                }
            }
        };
        consider(&self.always);
        match facts {
            Facts::Http(head, path) => {
                self.path.visit(path, &mut consider);
                self.host.visit(head.host().unwrap_or_default(), &mut consider);
                self.method.visit(head.method(), &mut consider);
                self.visit_headers(head, &mut consider);
                self.visit_cookies(head, scratch, &mut consider);
            }
            Facts::Tls(hello) => {
                if let Some(name) = hello.server_name {
                    self.sni.visit(name, &mut consider);
                }
                hello.protocols().for_each(|protocol| self.alpn.visit(protocol, &mut consider));
            }
        }
        (best != u32::MAX).then_some(best)
    }

    fn visit_headers(&self, head: &Head<'_>, consider: &mut impl FnMut(&[u32])) {
        // Most requests have none of the fields in question.
        if !head.names().meets(self.header_names) {
            return;
        }
        for (name, value) in head.fields() {
            let wanted = self.headers.binary_search_by(|(known, _)| {
                let name = name.iter().map(u8::to_ascii_lowercase);
                known.iter().copied().cmp(name)
            });
            if let Ok(index) = wanted {
                self.headers[index].1.visit(value, &mut *consider);
            }
        }
    }

    fn visit_cookies(&self, head: &Head<'_>, scratch: &mut Scratch, consider: &mut impl FnMut(&[u32])) {
        if self.cookies.is_empty() {
            return;
        }
        scratch.seen.clear();
        scratch.seen.resize(self.cookies.len().div_ceil(64), 0);
        for (name, value) in head.cookie_fields().flat_map(cookie::pairs) {
            let Ok(index) = self.cookies.binary_search_by(|(known, _)| (**known).cmp(name)) else { continue };
            let (word, bit) = (&mut scratch.seen[index / 64], 1 << (index % 64));
            if *word & bit == 0 {
                *word |= bit;
                self.cookies[index].1.visit(value, &mut *consider);
            }
        }
    }
}

impl Toss {
    fn hits(&self, share: DropShare, salt: u64) -> bool {
        let number = match share.mode {
            DropMode::Shed => self.connection,
            DropMode::Queue => self.request,
        };
        let mut hasher = fixed_hasher();
        hasher.write_u64(number);
        hasher.write_u64(salt);
        share.fraction.hits((hasher.finish() >> 32) as u32)
    }
}

/// A number that changes with a rule's name and policy.
fn salt(rule: &Rule) -> u64 {
    fixed(format!("{} {}", rule.name, rule.then).as_bytes())
}

fn checks_of(rule: &Rule) -> Vec<Check> {
    rule.when.iter().map(|condition| Check::new(condition, rule.case)).collect()
}

impl Check {
    fn new(condition: &Condition, case: Case) -> Check {
        let host = |pattern: &str| match pattern.strip_prefix('*') {
            Some(below) => Entry::new(&TextMatch::Suffix(below.to_owned()), Case::Insensitive),
            None => Entry::new(&TextMatch::Exact(pattern.to_owned()), Case::Insensitive),
        };
        let plain = |text: &str| Entry::new(&TextMatch::Exact(text.to_owned()), Case::Sensitive);
        let (field, entry) = match condition {
            Condition::Path(is) => (Field::Path, Entry::new(is, case)),
            Condition::Host(name) => (Field::Host, host(name)),
            Condition::Sni(name) => (Field::Sni, host(name)),
            Condition::Method(name) => (Field::Method, plain(name)),
            Condition::Alpn(name) => (Field::Alpn, plain(name)),
            Condition::Header(named) => {
                let name = named.name.to_ascii_lowercase().into_bytes().into();
                (Field::Header(name), Entry::new(&named.is, case))
            }
            Condition::Cookie(named) => {
                (Field::Cookie(named.name.clone().into_bytes().into()), Entry::new(&named.is, case))
            }
        };
        Check { field, entry }
    }

    fn holds(&self, facts: &Facts<'_>) -> bool {
        match (&self.field, facts) {
            (Field::Path, Facts::Http(_, path)) => self.entry.holds(path),
            (Field::Host, Facts::Http(head, _)) => self.entry.holds(head.host().unwrap_or_default()),
            (Field::Method, Facts::Http(head, _)) => self.entry.holds(head.method()),
            (Field::Header(name), Facts::Http(head, _)) => {
                let mut fields = head.fields().filter(|(field, _)| field.eq_ignore_ascii_case(name));
                fields.any(|(_, value)| self.entry.holds(value))
            }
            (Field::Cookie(name), Facts::Http(head, _)) => {
                cookie::find(head.cookie_fields(), name).is_some_and(|value| self.entry.holds(value))
            }
            (Field::Sni, Facts::Tls(hello)) => hello.server_name.is_some_and(|name| self.entry.holds(name)),
            (Field::Alpn, Facts::Tls(hello)) => hello.protocols().any(|protocol| self.entry.holds(protocol)),
            _ => false,
        }
    }
}

/// How a rule fares with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fares {
    /// This condition does not hold, from 0; those before it do.
    Fails(usize),
    /// All conditions hold. If it drops a share, the rest goes on.
    Matches,
}

/// How each rule fares with a request, in order, up to the first that decides for certain.
pub fn trace<'a>(rules: &'a [Rule], facts: &'a Facts<'a>) -> impl Iterator<Item = (&'a Rule, Fares)> {
    let mut decided = false;
    rules.iter().map_while(move |rule| {
        if decided {
            return None;
        }
        let fails = rule.when.iter().position(|condition| !Check::new(condition, rule.case).holds(facts));
        decided = fails.is_none() && !matches!(rule.then, Action::Drop(_));
        Some((rule, fails.map_or(Fares::Matches, Fares::Fails)))
    })
}

#[cfg(test)]
#[path = "rules_tests.rs"]
mod tests;
