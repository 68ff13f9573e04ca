//! From lines to what they want of a service.

use std::collections::BTreeMap;

use super::book::{Book, Policy};
use super::line::{self, COOKIE, Line, inserted};
use super::{MAPS_MAX, PortLines, Unread, as_strs, name, rule, words};
use crate::acm::rules::{Action, Case, Condition, Content, Rule};
use crate::acm::words::{Group, Scheduler, default_group};
use crate::base::id::Name;

/// What a port of a virtual server wants of its service, as far as content goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wants {
    /// Whether it looks into requests.
    pub content: Content,
    /// Its rules, in their order.
    pub rules: Vec<Rule>,
    /// What is done with what none of them decides.
    pub default_action: Action,
    /// The default group, and every group that something is sent to.
    pub groups: BTreeMap<Name, Group>,
}

impl Wants {
    /// Whether a group is one that words can speak of: the default one, and those that something is sent to.
    pub fn speaks_of(&self, group: &Name) -> bool {
        let leads_there = |action: &Action| matches!(action, Action::Group(name) if name == group);
        *group == default_group()
            || self.rules.iter().map(|rule| &rule.then).chain([&self.default_action]).any(leads_there)
    }
}

/// What a port attaches, and what of it is in force.
#[derive(Debug)]
struct Attached {
    policy: Option<String>,
    map: Option<String>,
    is_on: bool,
}

/// Whether a port looks into requests, where these policies and maps are there.
pub fn is_on(port: &PortLines, has_policy: impl Fn(&str) -> bool, has_map: impl Fn(&str) -> bool) -> bool {
    attached(port, has_policy, has_map).is_on
}

/// The second word of a line.
fn named(port: &PortLines, key: &str) -> Option<String> {
    port.get(key).and_then(|line| words(line).into_iter().nth(1))
}

/// The policy and the map that count: those that are switched by; where nothing is, those that wait for it.
fn attached(port: &PortLines, has_policy: impl Fn(&str) -> bool, has_map: impl Fn(&str) -> bool) -> Attached {
    let has = |key: &str| port.contains_key(key);
    let policy = named(port, "csw-policy").filter(|name| has_policy(name));
    let map = named(port, "url-map").filter(|name| has_map(name));
    let (csw, url_switch) = (has("csw") && policy.is_some(), has("url-switch") && map.is_some());
    let is_on = csw || url_switch || has("url-hash") || has("cookie-hash");
    Attached { policy: policy.filter(|_| csw || !is_on), map: map.filter(|_| url_switch || !is_on), is_on }
}

/// What a port wants. `plain` is how its virtual server chooses; `trouble` hears of each line that cannot be read, and whether
/// that is the end of it.
///
/// # Errors
/// What `trouble` makes of it.
pub fn read(
    book: &Book,
    port: &PortLines,
    plain: Scheduler,
    trouble: &mut dyn FnMut(Unread) -> Result<(), Unread>,
) -> Result<Wants, Unread> {
    let Attached { policy, map, is_on } =
        attached(port, |name| book.policy(name).is_some(), |name| book.map(name).is_some());
    let content = if is_on { Content::Http } else { Content::None };
    let wants = Wants { content, rules: Vec::new(), default_action: Action::default_action(), groups: BTreeMap::new() };
    let mut reader = Reader { book, plain: Group::scheduled_by(plain), wants, trouble };
    let cookie = named(port, "cookie-name");
    if let Some(policy) = policy.as_deref().and_then(|name| book.policy(name)) {
        reader.follow_policy(policy, cookie.as_deref())?;
    }
    if let Some(map) = &map {
        reader.follow_map(map, MAPS_MAX)?;
    }
    if port.contains_key("url-hash") {
        reader.group(default_group()).scheduler = Scheduler::UrlHash;
    }
    if port.contains_key("cookie-hash") {
        let group = reader.group(default_group());
        group.scheduler = Scheduler::CookieHash;
        group.hash.cookie = Some(cookie.unwrap_or_else(|| COOKIE.to_owned()));
    }
    Ok(reader.finish())
}

struct Reader<'a> {
    book: &'a Book,
    plain: Group,
    wants: Wants,
    trouble: &'a mut dyn FnMut(Unread) -> Result<(), Unread>,
}

impl Reader<'_> {
    fn group(&mut self, name: Name) -> &mut Group {
        let plain = &self.plain;
        self.wants.groups.entry(name).or_insert_with(|| plain.clone())
    }

    /// Every group that something is sent to has a way to choose.
    fn finish(mut self) -> Wants {
        let forwards = self.wants.rules.iter().map(|rule| &rule.then).chain([&self.wants.default_action]);
        let groups =
            forwards.filter_map(|action| if let Action::Group(name) = action { Some(name.clone()) } else { None });
        for name in groups.chain([default_group()]).collect::<Vec<_>>() {
            self.group(name);
        }
        self.wants
    }

    /// What could be read, or the trouble's word on what could not.
    fn or_trouble<T>(&mut self, read: Result<T, Unread>) -> Result<Option<T>, Unread> {
        match read {
            Ok(read) => Ok(Some(read)),
            Err(why) => (self.trouble)(why).map(|()| None),
        }
    }

    fn follow_policy(&mut self, policy: &Policy, cookie: Option<&str>) -> Result<(), Unread> {
        let mut lines = Vec::new();
        for line in &policy.lines {
            let read = line::read(self.book, line);
            lines.extend(self.or_trouble(read)?);
        }
        for line in &lines {
            match line {
                Line::Decides(rule, then) => {
                    let read = self.rule(rule, policy.any_case, then);
                    let rule = self.or_trouble(read)?;
                    self.wants.rules.extend(rule);
                }
                Line::Default(action) => self.wants.default_action = action.clone(),
                Line::Hashes(..) | Line::Keeps(..) => {}
            }
        }
        // What shapes a group comes behind what names it, wherever it stands.
        for line in lines {
            let read = self.shape(line, cookie);
            self.or_trouble(read)?;
        }
        Ok(())
    }

    fn rule(&self, name: &str, any_case: bool, then: &Action) -> Result<Rule, Unread> {
        let (when, case) = rule::read(self.book, name)?;
        let case = if any_case { case.map(|_| Case::Insensitive) } else { case };
        let name = rule_name(name)?;
        if self.wants.rules.iter().any(|rule| rule.name == name) {
            return Err(Unread::Wrong(format!("{name} decides twice")));
        }
        Ok(Rule { name, when, case: case.unwrap_or_default(), then: then.clone() })
    }

    fn shape(&mut self, line: Line, cookie: Option<&str>) -> Result<(), Unread> {
        match line {
            Line::Hashes(rule, url) => {
                let group = self.group_of(&rule)?;
                let group = self.group(group);
                (group.scheduler, group.hash.url) = (Scheduler::UrlHash, url);
            }
            Line::Keeps(rule, name) => {
                let of = match rule {
                    Some(rule) => self.group_of(&rule)?,
                    None => self.default_group()?,
                };
                self.group(of).persist = inserted(name.as_deref().or(cookie).unwrap_or(COOKIE));
            }
            Line::Decides(..) | Line::Default(_) => {}
        }
        Ok(())
    }

    fn group_of(&self, rule: &str) -> Result<Name, Unread> {
        let name = rule_name(rule)?;
        match self.wants.rules.iter().find(|known| known.name == name).map(|rule| &rule.then) {
            Some(Action::Group(name)) => Ok(name.clone()),
            _ => Err(Unread::Wrong("a rule that hashes or keeps clients needs a forward first".into())),
        }
    }

    fn default_group(&self) -> Result<Name, Unread> {
        match &self.wants.default_action {
            Action::Group(name) => Ok(name.clone()),
            _ => Err(Unread::Wrong("clients of the default action are kept only if it forwards".into())),
        }
    }

    /// The rules of a map, and of the map it names as default.
    fn follow_map(&mut self, name: &str, depth: usize) -> Result<(), Unread> {
        let Some(lines) = self.book.map(name) else {
            return (self.trouble)(Unread::Wrong(format!("url-map {name} is not configured")));
        };
        if depth == 0 {
            return (self.trouble)(Unread::Wrong(format!("url-map {name} leads to itself")));
        }
        let all: Vec<Vec<String>> = lines.iter().map(|line| words(line)).collect();
        let all: Vec<Vec<&str>> = all.iter().map(|words| as_strs(words)).collect();
        let method = all.iter().find_map(|words| if let ["method", how] = words[..] { Some(how) } else { None });
        let matches: Vec<(&str, &str)> = all
            .iter()
            .filter_map(|words| if let ["match", text, to] = words[..] { Some((text, to)) } else { None })
            .collect();
        for (place, (text, to)) in (1..).zip(&matches) {
            let own = name::read_rule(name).filter(|_| matches.len() == 1);
            let read = self.map_rule(own, &format!("{name}-{place}"), method.unwrap_or("prefix"), text, to);
            let rule = self.or_trouble(read)?;
            self.wants.rules.extend(rule);
        }
        match all.iter().find_map(|words| if let ["default", to] = words[..] { Some(to) } else { None }) {
            Some(number) if number.bytes().all(|b| b.is_ascii_digit()) => {
                let read = line::group(self.book, number);
                if let Some(group) = self.or_trouble(read)? {
                    self.wants.default_action = Action::Group(group);
                }
                Ok(())
            }
            Some(other) => self.follow_map(other, depth - 1),
            None => Ok(()),
        }
    }

    fn map_rule(&self, own: Option<Name>, name: &str, method: &str, text: &str, to: &str) -> Result<Rule, Unread> {
        let name = own.map_or_else(|| rule_name(name), Ok)?;
        if self.wants.rules.iter().any(|rule| rule.name == name) {
            return Err(Unread::Wrong(format!("{name} decides twice")));
        }
        let when = vec![Condition::Path(rule::text_match(method, text)?)];
        Ok(Rule { name, when, case: Case::Sensitive, then: Action::Group(line::group(self.book, to)?) })
    }
}

/// The contract's name of a rule: that in a name of ours, or the name as it stands.
///
/// # Errors
/// It is not a name in the contract.
pub fn rule_name(name: &str) -> Result<Name, Unread> {
    match name::read_rule(name) {
        Some(name) => Ok(name),
        None => name.parse().map_err(|why| Unread::NoWord(format!("a rule named {name}: {why}"))),
    }
}
