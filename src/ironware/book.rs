//! A configuration's lines about content, by their names; and what its numbers of groups stand for.

use std::collections::{BTreeMap, BTreeSet};

use super::{GROUP_MAX, Unread, Unsaid, as_strs, line, name, rule, words};
use crate::base::id::Name;

/// A `csw-policy`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Policy {
    /// All of its rules compare letters in any case.
    pub any_case: bool,
    /// Its lines, in their order.
    pub lines: Vec<String>,
}

/// The rules, policies and maps of a box.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Book {
    /// The words behind `csw-rule NAME`.
    rules: BTreeMap<String, String>,
    policies: BTreeMap<String, Policy>,
    maps: BTreeMap<String, Vec<String>>,
    groups: BTreeMap<u16, Name>,
}

impl Book {
    /// The words of a rule.
    pub fn rule(&self, name: &str) -> Option<&str> {
        self.rules.get(name).map(String::as_str)
    }

    /// Every rule with its words.
    pub fn rules(&self) -> impl Iterator<Item = (&str, &str)> {
        self.rules.iter().map(|(name, said)| (name.as_str(), said.as_str()))
    }

    /// A policy.
    pub fn policy(&self, name: &str) -> Option<&Policy> {
        self.policies.get(name)
    }

    /// Every policy.
    pub fn policies(&self) -> impl Iterator<Item = (&str, &Policy)> {
        self.policies.iter().map(|(name, policy)| (name.as_str(), policy))
    }

    /// The lines of a map.
    pub fn map(&self, name: &str) -> Option<&[String]> {
        self.maps.get(name).map(Vec::as_slice)
    }

    /// Every map with its lines.
    pub fn maps(&self) -> impl Iterator<Item = (&str, &[String])> {
        self.maps.iter().map(|(name, lines)| (name.as_str(), lines.as_slice()))
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty() && self.policies.is_empty() && self.maps.is_empty()
    }

    /// Takes up a rule, in the place of one of its name.
    pub fn set_rule(&mut self, name: &str, said: &str) {
        self.groups.extend(name::read_group(name));
        self.rules.insert(name.to_owned(), said.trim().to_owned());
    }

    /// Takes a rule out.
    pub fn remove_rule(&mut self, name: &str) {
        if let Some((number, _)) = name::read_group(name) {
            self.groups.remove(&number);
        }
        self.rules.remove(name);
    }

    /// A policy, made if it is not there.
    pub fn policy_mut(&mut self, name: &str) -> &mut Policy {
        self.policies.entry(name.to_owned()).or_default()
    }

    /// Takes a policy out.
    pub fn remove_policy(&mut self, name: &str) {
        self.policies.remove(name);
    }

    /// A map's lines, made if it is not there.
    pub fn map_mut(&mut self, name: &str) -> &mut Vec<String> {
        self.maps.entry(name.to_owned()).or_default()
    }

    /// Takes a map out.
    pub fn remove_map(&mut self, name: &str) {
        self.maps.remove(name);
    }

    /// The group of a number: what was noted, or the number itself.
    pub fn group(&self, number: u16) -> Name {
        let noted = self.groups.get(&number).cloned();
        // The digits of a number are a legal name.
        noted.unwrap_or_else(|| number.to_string().parse().expect("digits are a name"))
    }

    /// Whether the contract has words for what a rule says.
    ///
    /// # Errors
    /// See [`Unread`].
    pub fn check_rule(&self, said: &str) -> Result<(), Unread> {
        rule::check(self, said)
    }

    /// The same for a line of a policy.
    ///
    /// # Errors
    /// See [`Unread`].
    pub fn check_line(&self, said: &str) -> Result<(), Unread> {
        line::read(self, said).map(drop)
    }

    /// The group of a number as it is typed.
    ///
    /// # Errors
    /// It is the number of a server.
    pub fn typed_group(&self, number: &str) -> Result<Name, Unread> {
        line::group(self, number)
    }

    /// The numbers that policies and maps forward to.
    pub fn numbers(&self) -> BTreeSet<u16> {
        let lines = self.policies.values().map(|policy| &policy.lines).chain(self.maps.values()).flatten();
        lines.filter_map(|line| number_of(line)).collect()
    }
}

/// The number at the end of `match R forward N`, `default forward N`, `match T N` and `default N`.
pub fn number_of(line: &str) -> Option<u16> {
    let words = words(line);
    match as_strs(&words).as_slice() {
        ["match", _, "forward", number]
        | ["default", "forward", number]
        | ["match", _, number]
        | ["default", number] => number.parse().ok(),
        _ => None,
    }
}

/// Gives groups their numbers.
#[derive(Debug)]
pub struct Numbers<'a> {
    book: &'a Book,
    /// Numbers that may not be given away.
    taken: BTreeSet<u16>,
    given: BTreeMap<Name, u16>,
    new: Vec<(String, String)>,
}

impl<'a> Numbers<'a> {
    /// `used` are the numbers that servers are in; those that are forwarded to are known.
    pub fn new(book: &'a Book, used: impl IntoIterator<Item = u16>) -> Numbers<'a> {
        let mut taken = book.numbers();
        taken.extend(used);
        taken.extend(book.groups.keys());
        let given = book.groups.iter().map(|(number, name)| (name.clone(), *number)).collect();
        Numbers { book, taken, given, new: Vec::new() }
    }

    /// These names stand for themselves where they are numbers, whatever comes first.
    pub fn reserve<'n>(&mut self, names: impl IntoIterator<Item = &'n Name>) {
        self.taken.extend(names.into_iter().filter_map(plain));
    }

    /// The number of a group.
    ///
    /// # Errors
    /// The default group has none; all of them are taken.
    pub fn number(&mut self, group: &Name, field: &str) -> Result<u16, Unsaid> {
        if *group == crate::acm::words::default_group() {
            let why = "default: on a ServerIron the servers without a group have no number; use another group";
            return Err(Unsaid::new(field, why));
        }
        if let Some(number) = self.given.get(group) {
            return Ok(*number);
        }
        if let Some(number) = plain(group).filter(|number| !self.book.groups.contains_key(number)) {
            self.taken.insert(number);
            return Ok(number);
        }
        let Some(number) = (1..=GROUP_MAX).find(|number| !self.taken.contains(number)) else {
            return Err(Unsaid::new(field, format!("{group}: all {GROUP_MAX} groups of this box are in use")));
        };
        self.taken.insert(number);
        self.given.insert(group.clone(), number);
        self.new.push((name::of_group(number, group), "url exists".to_owned()));
        Ok(number)
    }

    /// The rules that remember what was given.
    pub fn into_rules(self) -> Vec<(String, String)> {
        self.new
    }
}

/// The number that a name is.
pub fn plain(group: &Name) -> Option<u16> {
    let number: u16 = group.as_str().parse().ok()?;
    (number <= GROUP_MAX && number.to_string() == group.as_str()).then_some(number)
}
