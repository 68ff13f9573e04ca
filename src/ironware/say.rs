//! From what is wanted of a service to lines. What is written is read again, and must be what it was.

use super::book::{Book, Numbers};
use super::line::{inserted, part_word, redirect_words};
use super::name::{self, MAP_NAME_MAX};
use super::read::{Wants, read};
use super::rule::{self, compared, quoted};
use super::{Grammar, MAPS_MAX, PortLines, Unread, Unsaid};
use crate::acm::rules::{Action, Case, Condition, Content, HashOptions, Persistence, Rule, TextMatch};
use crate::acm::words::{Group, Scheduler, default_group};
use crate::base::id::Name;

/// Lines for one port of a virtual server, in the order in which they are typed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Said {
    /// `csw-rule`s: name and words, those that others name first.
    pub rules: Vec<(String, String)>,
    /// The policy with its lines.
    pub policy: Option<(String, Vec<String>)>,
    /// Maps with their lines, those that others name first.
    pub maps: Vec<(String, Vec<String>)>,
    /// The lines of the port: these, and no others about content.
    pub port: PortLines,
}

/// Says what is wanted. `plain` is how the virtual server chooses.
///
/// # Errors
/// There are no words for it.
pub fn say(
    wants: &Wants,
    plain: Scheduler,
    book: &Book,
    mut numbers: Numbers<'_>,
    grammar: Grammar,
) -> Result<Said, Unsaid> {
    if wants.content == Content::Tls {
        return Err(Unsaid::new("content", "tls: a ServerIron looks into HTTP alone; use http"));
    }
    let groups = || wants.rules.iter().map(|rule| &rule.then).chain([&wants.default_action]).filter_map(group_of);
    numbers.reserve(groups());
    let mut writer = Writer { wants, plain: Group::scheduled_by(plain), book, numbers, said: Said::default() };
    for (name, group) in &wants.groups {
        writer.check_group(name, group, grammar)?;
    }
    let has_words =
        wants.content == Content::Http || !wants.rules.is_empty() || wants.default_action != Action::default_action();
    match grammar {
        Grammar::Csw if has_words => writer.policy()?,
        Grammar::UrlMap if has_words => writer.maps()?,
        _ => {}
    }
    writer.port_hashes();
    let Writer { numbers, mut said, .. } = writer;
    let noted = numbers.into_rules();
    if grammar == Grammar::UrlMap && !noted.is_empty() {
        let why = "the older ServerIrons know groups by number; name them 0 to 1023";
        return Err(Unsaid::new("rules", why));
    }
    said.rules.splice(0..0, noted);
    prove(wants, plain, book, &said)?;
    Ok(said)
}

/// The name of the `csw-rule` that a rule is, if it has words.
pub fn says_as(rule: &Rule) -> Option<String> {
    rule::say(rule, "rule").ok()?.pop().map(|(name, _)| name)
}

fn group_of(action: &Action) -> Option<&Name> {
    if let Action::Group(name) = action { Some(name) } else { None }
}

/// Reads what was said.
fn prove(wants: &Wants, plain: Scheduler, book: &Book, said: &Said) -> Result<(), Unsaid> {
    let mut after = book.clone();
    said.rules.iter().for_each(|(name, words)| after.set_rule(name, words));
    if let Some((name, lines)) = &said.policy {
        *after.policy_mut(name) = super::book::Policy { any_case: false, lines: lines.clone() };
    }
    said.maps.iter().for_each(|(name, lines)| after.map_mut(name).clone_from(lines));
    let read = read(&after, &said.port, plain, &mut Err::<(), Unread>);
    let wanted = Wants { groups: heard_of(wants, plain), ..wants.clone() };
    match read {
        Ok(read) if read == wanted => Ok(()),
        Ok(read) => {
            let differs = wanted.rules.iter().zip(&read.rules).position(|(one, other)| one != other);
            let field = differs.map_or("rules".to_owned(), |at| format!("rules[{at}]"));
            Err(Unsaid::new(field, "a ServerIron would take it for something else; write it in another way"))
        }
        Err(why) => Err(Unsaid::new("rules", why.to_string())),
    }
}

/// The groups that the words of a box speak of: the default one, and those that something is sent to.
fn heard_of(wants: &Wants, plain: Scheduler) -> std::collections::BTreeMap<Name, Group> {
    let forwards = wants.rules.iter().map(|rule| &rule.then).chain([&wants.default_action]).filter_map(group_of);
    let names = forwards.cloned().chain([default_group()]);
    names
        .map(|name| {
            let group = wants.groups.get(&name).cloned().unwrap_or_else(|| Group::scheduled_by(plain));
            (name, group)
        })
        .collect()
}

struct Writer<'a> {
    wants: &'a Wants,
    plain: Group,
    book: &'a Book,
    numbers: Numbers<'a>,
    said: Said,
}

impl Writer<'_> {
    /// Whether a group chooses in a way that can be said.
    fn check_group(&self, name: &Name, group: &Group, grammar: Grammar) -> Result<(), Unsaid> {
        let unsaid = |field: &str, why: String| Err(Unsaid::new(field, format!("group {name}: {why}")));
        let (is_default, is_csw) = (*name == default_group(), grammar == Grammar::Csw);
        let is_forwarded = self.wants.rules.iter().any(|rule| group_of(&rule.then) == Some(name));
        let is_rest = group_of(&self.wants.default_action) == Some(name);
        match group.scheduler {
            Scheduler::UrlHash if is_default || (is_csw && is_forwarded && !is_rest) => {}
            Scheduler::CookieHash if is_default => {}
            scheduler if scheduler == self.plain.scheduler => {}
            scheduler => {
                let why = format!(
                    "{scheduler}: all groups of a virtual server choose alike ({}); the default one may hash URLs or a \
                     cookie, one that rules alone send to may hash URLs",
                    self.plain.scheduler
                );
                return unsaid("scheduler", why);
            }
        }
        // What a port hashes is in force, unlike what a policy that waits hashes.
        if is_default && group.scheduler.needs_content() && self.wants.content != Content::Http {
            return unsaid("scheduler", format!("{}: needs content http on a ServerIron; set both", group.scheduler));
        }
        self.check_hash(name, group)?;
        match &group.persist {
            Persistence::None => Ok(()),
            Persistence::Insert(cookie) if inserted(&cookie.name) == group.persist && is_csw => {
                match is_forwarded || is_rest {
                    true => Ok(()),
                    false => unsaid("persist", "nothing is sent there; add a rule first".into()),
                }
            }
            _ => unsaid(
                "persist",
                "a ServerIron inserts a session cookie for scripts to be kept from and no more; it learns none".into(),
            ),
        }
    }

    fn check_hash(&self, name: &Name, group: &Group) -> Result<(), Unsaid> {
        let wrong = |field: &str, why: &str| Err(Unsaid::new(field, format!("group {name}: {why}")));
        let none = HashOptions::default();
        let has_cookie = group.scheduler == Scheduler::CookieHash;
        match &group.hash {
            hash if hash.bounded_load.is_some() => wrong("hash.bounded_load", "a ServerIron bounds none; leave it out"),
            hash if hash.fallback != none.fallback => {
                wrong("hash.fallback", "a ServerIron has no such choice; leave it out")
            }
            hash if hash.cookie.as_deref().is_some_and(|name| quoted(name).is_err()) => {
                wrong("hash.cookie", "a name on a ServerIron has at most 80 characters; choose another cookie")
            }
            hash if hash.cookie.is_some() != has_cookie => {
                wrong("hash.cookie", "a ServerIron knows the cookie of cookie-hash alone; set both or none")
            }
            hash if hash.url != none.url && (*name == default_group() || group.scheduler != Scheduler::UrlHash) => {
                let why =
                    "a ServerIron knows parts of the URL for groups that rules send to and hash alone; leave it out";
                wrong("hash.url", why)
            }
            _ => Ok(()),
        }
    }

    fn group(&self, name: &Name) -> Group {
        self.wants.groups.get(name).unwrap_or(&self.plain).clone()
    }

    fn insert_words(&self, group: &Name) -> Result<Option<String>, Unsaid> {
        let Persistence::Insert(cookie) = self.group(group).persist else { return Ok(None) };
        let name = quoted(&cookie.name).map_err(|why| Unsaid::new("persist.insert.name", why))?;
        Ok(Some(format!("rewrite insert-cookie {name}")))
    }

    fn policy(&mut self) -> Result<(), Unsaid> {
        let mut lines = Vec::new();
        for (n, rule) in self.wants.rules.iter().enumerate() {
            let field = format!("rules[{n}]");
            let rules = rule::say(rule, &field)?;
            let name = rules.last().map(|(name, _)| name.clone()).unwrap_or_default();
            self.said.rules.extend(rules);
            lines.push(format!("match \"{name}\" {}", self.action_words(&rule.then, &format!("{field}.then"))?));
            let Some(group) = group_of(&rule.then) else { continue };
            let Group { scheduler, hash, .. } = self.group(group);
            if scheduler == Scheduler::UrlHash {
                lines.push(format!("match \"{name}\" hash-persist url {}", part_word(hash.url)));
            }
            let insert = self.insert_words(group)?;
            lines.extend(insert.map(|words| format!("match \"{name}\" {words}")));
        }
        match &self.wants.default_action {
            Action::Redirect(_) => {
                let why = "redirect: a ServerIron's default forwards or resets; put a rule without conditions last";
                return Err(Unsaid::new("default_action", why));
            }
            action if *action == Action::default_action() => {}
            action => lines.push(format!("default {}", self.action_words(action, "default_action")?)),
        }
        if let Some(group) = group_of(&self.wants.default_action) {
            lines.extend(self.insert_words(group)?.map(|words| format!("default {words}")));
        }
        let is_free =
            |name: &str| self.book.policy(name).is_none_or(|known| !known.any_case && said_alike(&known.lines, &lines));
        let name = (0..).map(|salt| name::of_policy(&lines, salt)).find(|name| is_free(name)).unwrap_or_default();
        self.attach("csw-policy", &name, "csw");
        self.said.policy = Some((name, lines));
        Ok(())
    }

    fn action_words(&mut self, action: &Action, field: &str) -> Result<String, Unsaid> {
        match action {
            Action::Group(name) => Ok(format!("forward {}", self.numbers.number(name, &format!("{field}.group"))?)),
            Action::Reset => Ok("reset-client".to_owned()),
            Action::Redirect(redirect) => {
                redirect_words(redirect).map_err(|(kind, why)| Unsaid::new(format!("{field}.{kind}"), why))
            }
            Action::Drop(_) => {
                let why = "a ServerIron drops no share of requests; use a group, reset or a redirect";
                Err(Unsaid::new(format!("{field}.drop"), why))
            }
        }
    }

    fn attach(&mut self, key: &str, name: &str, switch: &str) {
        self.said.port.insert(key.to_owned(), format!("{key} \"{name}\""));
        if self.wants.content == Content::Http {
            self.said.port.insert(switch.to_owned(), switch.to_owned());
        }
    }

    /// A chain of maps, each one rule, the last one first.
    fn maps(&mut self) -> Result<(), Unsaid> {
        if self.wants.rules.len() >= MAPS_MAX {
            return Err(Unsaid::new("rules", format!("an older ServerIron has room for {} of them", MAPS_MAX - 1)));
        }
        let mut next = match &self.wants.default_action {
            action if *action == Action::default_action() => None,
            Action::Group(name) => Some(self.numbers.number(name, "default_action.group")?.to_string()),
            _ => {
                let why = "an older ServerIron forwards what no rule decides; use a group";
                return Err(Unsaid::new("default_action", why));
            }
        };
        let rules: Vec<_> = self.wants.rules.iter().enumerate().rev().collect();
        for (n, rule) in rules {
            let mut lines = self.map_lines(rule, &format!("rules[{n}]"))?;
            lines.extend(next.map(|next| format!("default {next}")));
            next = Some(self.map(rule.name.as_str(), lines, &format!("rules[{n}].name"))?);
        }
        if self.wants.rules.is_empty() {
            let lines = next.map(|next| format!("default {next}")).into_iter().collect();
            next = Some(self.map("", lines, "rules")?);
        }
        self.attach("url-map", &next.unwrap_or_default(), "url-switch");
        Ok(())
    }

    fn map(&mut self, rule: &str, lines: Vec<String>, field: &str) -> Result<String, Unsaid> {
        let is_free = |name: &str| self.book.map(name).is_none_or(|known| said_alike(known, &lines));
        let says = |salt: u32| if salt == 0 { lines.join("\n") } else { format!("{}{salt}", lines.join("\n")) };
        let name = (0..).map(|salt| name::of_rule(rule, &says(salt))).find(|name| is_free(name)).unwrap_or_default();
        if name.len() > MAP_NAME_MAX {
            let room = MAP_NAME_MAX + rule.len() - name.len();
            return Err(Unsaid::new(
                field,
                format!("{rule}: an older ServerIron has room for {room} characters; shorten it"),
            ));
        }
        self.said.maps.push((name.clone(), lines));
        Ok(name)
    }

    fn map_lines(&mut self, rule: &Rule, field: &str) -> Result<Vec<String>, Unsaid> {
        let unsaid = |field: String, why: &str| Err(Unsaid::new(field, why));
        let Action::Group(group) = &rule.then else {
            return unsaid(format!("{field}.then"), "an older ServerIron does nothing but forward; use a group");
        };
        let [Condition::Path(is)] = rule.when.as_slice() else {
            return unsaid(
                format!("{field}.when"),
                "an older ServerIron looks at one path in each rule and nothing else",
            );
        };
        if matches!(is, TextMatch::Exact(_)) {
            return unsaid(format!("{field}.when[0].path"), "an older ServerIron compares prefix, suffix or part");
        }
        if rule.case == Case::Insensitive {
            return unsaid(format!("{field}.case"), "an older ServerIron compares letters in their case");
        }
        let (how, text) = compared(is).map_err(|why| Unsaid::new(format!("{field}.when[0].path"), why))?;
        let number = self.numbers.number(group, &format!("{field}.then.group"))?;
        Ok(vec![format!("method {how}"), format!("match {text} {number}")])
    }

    /// What the port itself hashes: the default group.
    fn port_hashes(&mut self) {
        let group = self.group(&default_group());
        let mut put = |key: &str, line: String| drop(self.said.port.insert(key.to_owned(), line));
        match (group.scheduler, group.hash.cookie) {
            (Scheduler::UrlHash, _) => put("url-hash", "url-hash".to_owned()),
            (Scheduler::CookieHash, Some(cookie)) => {
                put("cookie-hash", "cookie-hash".to_owned());
                put("cookie-name", format!("cookie-name \"{cookie}\""));
            }
            _ => {}
        }
    }
}

/// Whether two wordings are one, however they are spaced and quoted.
pub fn said_alike<A: AsRef<str>, B: AsRef<str>>(one: &[A], other: &[B]) -> bool {
    one.len() == other.len()
        && one.iter().zip(other).all(|(one, other)| super::words(one.as_ref()) == super::words(other.as_ref()))
}
