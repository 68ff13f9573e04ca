//! Content switching in the ServerIron's words: what they want of the switch, in the contract's.
//!
//! | ServerIron | contract |
//! |---|---|
//! | `port P csw` with `port P csw-policy NAME` | content `http`, the policy's rules and default action |
//! | `port P url-switch` with `port P url-map NAME` | the same with the map's rules, a map named as default behind them |
//! | `port P url-hash`, `port P cookie-hash` with `cookie-name` | scheduler of the default group |
//! | `csw-rule R url ...`, `header ...`, `method eq M`, `nested-rule "A && B"` | the conditions of a rule |
//! | `match R forward N`, `default forward N` | group `N` (0 to 1023) |
//! | `match R reset-client`, `match R redirect DOMAIN URL [ssl]` | the actions of a rule |
//! | `match R hash-persist url ...` | `url-hash` of the group that R forwards to |
//! | `match R rewrite insert-cookie`, `default rewrite insert-cookie` | persistence of that group by a cookie of ours |
//! | `port P group-id N N` of a real server | the group of its bindings to ports that switch by content |
//!
//! Everything else of that grammar is refused: servers by id, ranges of groups, parts of requests that persist, other
//! pages, logs. A rule or policy that is not in use is only kept, and checked all the same. Pure; who performs it is
//! [`plan`](super::plan).

use std::collections::{BTreeMap, BTreeSet};

use switch_sim::slb::block::BlockKind;
use switch_sim::slb::change::{Change, Place, Refusal};
use switch_sim::slb::config::Config;
use switch_sim::slb::lines::Lines;
use switch_sim::slb::words::{Name, Port};

use super::wants::{self, Bind};
use crate::acm::list::ServiceRow;
use crate::acm::primitive::{Add, Primitive, SetService};
use crate::acm::rules::{
    Action, Case, Condition, Content, HashOptions, InsertCookie, Named, Persistence, Redirect, Rule, SameSite,
    TextMatch, UrlPart,
};
use crate::acm::validate;
use crate::acm::words::{Scheduler, ServiceKey, default_group};
use crate::base::id;
use crate::base::text::quoted;

/// The cookie a device inserts unless told another name.
const COOKIE: &str = "ServerID";

/// Maps that name one another as default are followed so far.
const MAPS_MAX: usize = 16;

/// What a port of a virtual server wants of its service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wants {
    rules: Vec<Rule>,
    default_action: Action,
    groups: BTreeMap<id::Name, Group>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Group {
    scheduler: Scheduler,
    hash: HashOptions,
    persist: Persistence,
}

fn no_word(what: impl Into<String>) -> Refusal {
    Refusal::Unsupported { what: what.into() }
}

fn failed(why: impl Into<String>) -> Refusal {
    Refusal::Failed { why: why.into() }
}

/// The words of a line; what is in quotes is one.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    for (n, part) in line.split('"').enumerate() {
        if n % 2 == 1 {
            words.push(part.to_owned());
        } else {
            words.extend(part.split_ascii_whitespace().map(str::to_owned));
        }
    }
    words
}

fn as_strs(words: &[String]) -> Vec<&str> {
    words.iter().map(String::as_str).collect()
}

/// The group of a number; servers by their id have none.
fn group(number: &str) -> Result<id::Name, Refusal> {
    match number.parse::<u16>() {
        Ok(0..=1023) => number.parse().map_err(|_| no_word(format!("server group {number}"))),
        _ => Err(no_word(format!("forwarding to server id {number}"))),
    }
}

/// What the words behind `csw-rule NAME` look at, and how letters compare.
fn conditions(config: &Config, said: &[&str], depth: usize) -> Result<(Vec<Condition>, Case), Refusal> {
    let (said, case) = match said.split_last() {
        Some((&"case-insensitive", rest)) => (rest, Case::Insensitive),
        _ => (said, Case::Sensitive),
    };
    let conditions = match said {
        ["url", "exists"] => vec![],
        ["url", how, text] => vec![Condition::Path(text_match(how, text)?)],
        ["header", name, "equals", text] if name.eq_ignore_ascii_case("host") => vec![Condition::Host((*text).into())],
        ["header", name, "exists"] => vec![header(name, TextMatch::Present)],
        ["header", name, how, text] => vec![header(name, text_match(how, text)?)],
        ["method", "eq", method] => vec![Condition::Method(method.to_ascii_uppercase())],
        ["nested-rule", names] => return nested(config, names, depth),
        [what, ..] => return Err(no_word(format!("csw-rule by {what}"))),
        [] => return Err(no_word("csw-rule without words")),
    };
    Ok((conditions, case))
}

fn header(name: &str, is: TextMatch) -> Condition {
    Condition::Header(Named { name: name.to_owned(), is })
}

/// A trailing `*` says what prefix and pattern say already.
fn text_match(how: &str, text: &str) -> Result<TextMatch, Refusal> {
    let open = || text.strip_suffix('*').unwrap_or(text).to_owned();
    Ok(match how {
        "prefix" => TextMatch::Prefix(open()),
        "pattern" => TextMatch::Contains(open()),
        "suffix" => TextMatch::Suffix(text.to_owned()),
        "equals" => TextMatch::Exact(text.to_owned()),
        other => return Err(no_word(format!("csw-rule with {other}"))),
    })
}

/// `A && B`: the conditions of both. One rule compares letters in one way.
fn nested(config: &Config, names: &str, depth: usize) -> Result<(Vec<Condition>, Case), Refusal> {
    if names.contains("||") || names.contains('(') || names.contains('!') {
        return Err(no_word("nested-rule with anything but &&"));
    }
    if depth == 0 {
        return Err(failed("csw-rules are nested too deeply"));
    }
    let mut all = (Vec::new(), BTreeSet::new());
    for name in names.split("&&") {
        let (conditions, case) = rule_words(config, name.trim(), depth - 1)?;
        all.0.extend(conditions);
        all.1.insert(case == Case::Insensitive);
    }
    let case = match all.1.iter().collect::<Vec<_>>().as_slice() {
        [true] => Case::Insensitive,
        [false] => Case::Sensitive,
        _ => return Err(no_word("nested-rule of rules that compare letters in different ways")),
    };
    Ok((all.0, case))
}

/// What a rule of this name looks at.
fn rule_words(config: &Config, name: &str, depth: usize) -> Result<(Vec<Condition>, Case), Refusal> {
    let line = config.system().get(&format!("csw-rule \"{name}\""));
    let line = line.ok_or_else(|| failed(format!("csw-rule {name} is not configured")))?;
    conditions(config, as_strs(&words(line)).get(2..).unwrap_or_default(), depth)
}

/// What a line of a policy does.
enum Line {
    /// Decides what becomes of what the rule matches.
    Decides(String, Action),
    /// What no rule matches.
    Default(Action),
    /// The rule's group hashes.
    Hashes(String, UrlPart),
    /// The group of the rule, or of all others, keeps clients by a cookie of this name.
    Keeps(Option<String>, Option<String>),
}

fn policy_line(line: &str) -> Result<Line, Refusal> {
    let words = words(line);
    let cannot = || no_word(format!("csw-policy with {}", quoted(line)));
    Ok(match as_strs(&words).as_slice() {
        ["match", rule, "forward", number] => Line::Decides((*rule).into(), Action::Group(group(number)?)),
        ["match", rule, "reset-client"] => Line::Decides((*rule).into(), Action::Reset),
        ["match", rule, "redirect", domain, url, ssl @ ..] => {
            Line::Decides((*rule).into(), redirect(domain, url, !ssl.is_empty()))
        }
        ["match", rule, "hash-persist", how @ ..] => Line::Hashes((*rule).into(), url_part(how).ok_or_else(cannot)?),
        ["match", rule, "rewrite", "insert-cookie", name @ ..] => {
            Line::Keeps(Some((*rule).into()), name.first().map(|name| (*name).into()))
        }
        ["default", "forward", number] => Line::Default(Action::Group(group(number)?)),
        ["default", "reset-client"] => Line::Default(Action::Reset),
        ["default", "rewrite", "insert-cookie", name @ ..] => {
            Line::Keeps(None, name.first().map(|name| (*name).into()))
        }
        _ => return Err(cannot()),
    })
}

/// `*` is what the client asked for.
fn redirect(domain: &str, url: &str, ssl: bool) -> Action {
    let scheme = if ssl { "https" } else { "http" };
    let domain = if domain == "*" { "{host}" } else { domain };
    let url = if url == "*" { "{uri}".to_owned() } else { format!("/{}", url.trim_start_matches('/')) };
    Action::Redirect(Redirect { to: format!("{scheme}://{domain}{url}"), status: 302 })
}

fn url_part(words: &[&str]) -> Option<UrlPart> {
    match words.iter().copied().find(|word| *word != "url") {
        Some("complete") => Some(UrlPart::Full),
        None | Some("path-and-parameters") => Some(UrlPart::Path),
        Some("path-only") => Some(UrlPart::PathOnly),
        Some("host-and-path") => Some(UrlPart::HostPath),
        Some(_) => None,
    }
}

/// What a port of a virtual server wants; `None` if it does not switch by content.
///
/// # Errors
/// The contract has no equivalent, or something that is named is not there.
pub(super) fn wants(config: &Config, server: &Name, port: Port) -> Result<Option<Wants>, Refusal> {
    let Some(row) = config.virtual_server(server) else { return Ok(None) };
    let Some(lines) = row.ports.get(&port).map(|port| &port.lines) else { return Ok(None) };
    let named = |key: &str| lines.get(key).and_then(|line| words(line).into_iter().nth(1));
    let plain = Group {
        scheduler: wants::scheduler(wants::predictor_of(config, row)).unwrap_or_default(),
        hash: HashOptions::default(),
        persist: Persistence::None,
    };
    let mut wants = Wants { rules: Vec::new(), default_action: Action::default_action(), groups: BTreeMap::new() };
    let cookie = named("cookie-name");
    let mut is_content = false;
    if lines.get("csw").is_some()
        && let Some(policy) = named("csw-policy").and_then(|name| block(config, BlockKind::CswPolicy, &name))
    {
        wants.follow_policy(config, policy, cookie.as_deref(), &plain)?;
        is_content = true;
    }
    if lines.get("url-switch").is_some()
        && let Some(map) = named("url-map")
        && block(config, BlockKind::UrlMap, &map).is_some()
    {
        wants.follow_map(config, &map, MAPS_MAX)?;
        is_content = true;
    }
    if lines.get("url-hash").is_some() {
        wants.groups.entry(default_group()).or_insert_with(|| plain.clone()).scheduler = Scheduler::UrlHash;
        is_content = true;
    }
    if lines.get("cookie-hash").is_some() {
        let group = wants.groups.entry(default_group()).or_insert_with(|| plain.clone());
        group.scheduler = Scheduler::CookieHash;
        group.hash.cookie = Some(cookie.unwrap_or_else(|| COOKIE.to_owned()));
        is_content = true;
    }
    let forwards = wants.rules.iter().map(|rule| &rule.then).chain([&wants.default_action]);
    let forwards: Vec<_> = forwards
        .filter_map(|action| if let Action::Group(name) = action { Some(name.clone()) } else { None })
        .collect();
    for name in forwards.into_iter().chain([default_group()]) {
        wants.groups.entry(name).or_insert_with(|| plain.clone());
    }
    Ok(is_content.then_some(wants))
}

/// A block's lines and first line.
fn block<'a>(config: &'a Config, kind: BlockKind, name: &str) -> Option<(&'a str, &'a Lines)> {
    let name = Name::up_to(name, usize::MAX).ok()?;
    config.block(kind, &name).map(|block| (block.header.as_str(), &block.lines))
}

impl Wants {
    fn follow_policy(
        &mut self,
        config: &Config,
        (header, lines): (&str, &Lines),
        cookie: Option<&str>,
        plain: &Group,
    ) -> Result<(), Refusal> {
        let any_case = header.ends_with("case-insensitive");
        let lines = lines.iter().map(|(_, line)| policy_line(line)).collect::<Result<Vec<_>, _>>()?;
        for line in &lines {
            match line {
                Line::Decides(rule, then) => {
                    let (when, case) = rule_words(config, rule, MAPS_MAX)?;
                    let case = if any_case { Case::Insensitive } else { case };
                    self.rules.push(Rule { name: rule_name(rule)?, when, case, then: then.clone() });
                }
                Line::Default(action) => self.default_action = action.clone(),
                Line::Hashes(..) | Line::Keeps(..) => {}
            }
        }
        // What shapes a group comes behind what names it, wherever it stands.
        for line in lines {
            match line {
                Line::Hashes(rule, url) => {
                    let group = self.groups.entry(self.group_of(&rule)?).or_insert_with(|| plain.clone());
                    (group.scheduler, group.hash.url) = (Scheduler::UrlHash, url);
                }
                Line::Keeps(rule, name) => {
                    let of = match rule {
                        Some(rule) => self.group_of(&rule)?,
                        None => self.default_group()?,
                    };
                    let name = name.as_deref().or(cookie).unwrap_or(COOKIE);
                    self.groups.entry(of).or_insert_with(|| plain.clone()).persist = inserted(name);
                }
                Line::Decides(..) | Line::Default(_) => {}
            }
        }
        Ok(())
    }

    fn group_of(&self, rule: &str) -> Result<id::Name, Refusal> {
        let rule =
            self.rules.iter().find(|known| known.name.as_str() == rule && matches!(known.then, Action::Group(_)));
        match rule.map(|rule| &rule.then) {
            Some(Action::Group(name)) => Ok(name.clone()),
            _ => Err(failed("a rule that hashes or keeps clients needs a forward first")),
        }
    }

    fn default_group(&self) -> Result<id::Name, Refusal> {
        match &self.default_action {
            Action::Group(name) => Ok(name.clone()),
            _ => Err(failed("clients of the default action are kept only if it forwards")),
        }
    }

    /// The rules of a map, and of the map it names as default.
    fn follow_map(&mut self, config: &Config, name: &str, depth: usize) -> Result<(), Refusal> {
        let Some((_, lines)) = block(config, BlockKind::UrlMap, name) else {
            return Err(failed(format!("url-map {name} is not configured")));
        };
        if depth == 0 {
            return Err(failed(format!("url-map {name} leads to itself")));
        }
        let method = lines.get("method").map(words);
        let method = method.as_deref().and_then(|words| words.get(1)).map_or("prefix", String::as_str);
        let mut place = 0;
        for (_, line) in lines.iter() {
            if let ["match", text, number] = as_strs(&words(line)).as_slice() {
                place += 1;
                self.rules.push(Rule {
                    name: rule_name(&format!("{name}-{place}"))?,
                    when: vec![Condition::Path(text_match(method, text)?)],
                    case: Case::Sensitive,
                    then: Action::Group(group(number)?),
                });
            }
        }
        match lines.get("default").map(words).and_then(|words| words.into_iter().nth(1)) {
            Some(number) if number.bytes().all(|b| b.is_ascii_digit()) => {
                self.default_action = Action::Group(group(&number)?);
                Ok(())
            }
            Some(other) => self.follow_map(config, &other, depth - 1),
            None => Ok(()),
        }
    }

    /// Whether a row of List says the same.
    pub(super) fn agrees(&self, row: &ServiceRow) -> bool {
        let has = |(name, group): (&id::Name, &Group)| {
            let found = row.groups.iter().find(|row| row.group == *name);
            found.is_some_and(|row| {
                (row.scheduler, &row.hash, &row.persist) == (group.scheduler, &group.hash, &group.persist)
            })
        };
        row.content == Content::Http
            && row.default_action == self.default_action
            && row.rules.iter().map(|row| &row.rule).eq(&self.rules)
            && self.groups.iter().all(has)
    }

    /// Everything of it, told to the switch; the rules come last.
    fn settings(&self, service: ServiceKey) -> Vec<Primitive> {
        let groups = self.groups.iter().map(|(name, group)| SetService {
            group: name.clone(),
            scheduler: Some(group.scheduler),
            hash: Some(group.hash.clone()),
            persist: Some(group.persist.clone()),
            ..SetService::new(service)
        });
        let all = SetService {
            content: Some(Content::Http),
            rules: Some(self.rules.clone()),
            default_action: Some(self.default_action.clone()),
            ..SetService::new(service)
        };
        groups.chain([all]).map(Primitive::SetService).collect()
    }
}

fn inserted(name: &str) -> Persistence {
    let name = name.to_owned();
    Persistence::Insert(InsertCookie { name, max_age: None, http_only: true, secure: false, same_site: SameSite::Lax })
}

fn rule_name(name: &str) -> Result<id::Name, Refusal> {
    name.parse().map_err(|why| no_word(format!("a rule named {name}: {why}")))
}

/// The group that a real server's port names.
fn named_group(config: &Config, bind: &Bind) -> Option<id::Name> {
    let port = config.real(&bind.real)?.ports.get(&bind.real_port)?;
    group(words(port.lines.get("group-id")?).get(1)?).ok()
}

/// The group a binding is in where the virtual server's port switches by content: that of the real server's port.
pub(super) fn group_of(config: &Config, bind: &Bind) -> id::Name {
    named_group(config, bind).unwrap_or_else(default_group)
}

/// The group to put a binding into. Where nothing switches by content every server is in the default group, and one
/// whose port names no group is left where it is: somebody else may have put it there.
pub(super) fn group_for(config: &Config, bind: &Bind) -> Option<id::Name> {
    match wants(config, &bind.server, bind.port) {
        Ok(Some(_)) => Some(group_of(config, bind)),
        _ => named_group(config, bind).map(|_| default_group()),
    }
}

/// Whether a change is about content switching at all.
pub(super) fn is_about(change: &Change) -> bool {
    match change {
        Change::SetLine { place: Place::System, key, .. } => {
            key.starts_with("csw-rule ") || key.starts_with("server csw")
        }
        Change::SetLine { place: Place::VirtualPort(..), key, .. } => {
            let ours = ["csw", "csw-policy", "cookie-name", "url-map", "url-switch", "url-hash"];
            ours.contains(&key.as_str())
                || ["cookie-switch", "cookie-hash", "session-id-switch"].contains(&key.as_str())
        }
        Change::SetLine { place: Place::RealPort(..), key, .. } => key == "group-id" || key == "server-id",
        Change::SetLine { place: Place::Virtual(_), key, .. } => key == "httpredirect",
        Change::SetLine { place: Place::Block(kind, _), .. }
        | Change::AddBlock { kind, .. }
        | Change::RemoveBlock { kind, .. } => matches!(kind, BlockKind::CswPolicy | BlockKind::UrlMap),
        _ => false,
    }
}

/// Whether the contract has words for a line, used or not.
fn check_line(change: &Change, after: &Config) -> Result<(), Refusal> {
    let Change::SetLine { place, key, line: Some(line) } = change else { return Ok(()) };
    let words = words(line);
    match (place, as_strs(&words).as_slice()) {
        (Place::System, ["csw-rule", name, said @ ..]) => {
            rule_name(name)?;
            conditions(after, said, MAPS_MAX).map(drop)
        }
        (Place::System, _) => Err(no_word(line.clone())),
        (Place::Block(BlockKind::CswPolicy, _), _) => policy_line(line).map(drop),
        (Place::VirtualPort(..), ["cookie-switch" | "session-id-switch", ..] | ["url-hash", _, ..])
        | (Place::Virtual(_), _) => Err(no_word(line.clone())),
        (Place::RealPort(..), ["group-id", first, last]) if first == last => group(first).map(drop),
        (Place::RealPort(..), _) => Err(no_word(format!("{key} other than one group of its own"))),
        _ => Ok(()),
    }
}

/// What a change of the words comes to.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Turn {
    /// Performed first, alone: a switch that cannot look into requests says so before anything else is done.
    pub(super) first: Vec<Primitive>,
    /// Performed together.
    pub(super) then: Vec<Primitive>,
    /// What takes all of it back.
    pub(super) undo: Vec<Primitive>,
}

/// What a change comes to, in the order of the virtual servers.
///
/// # Errors
/// The contract has no equivalent, or refuses the rules.
pub(super) fn turn(change: &Change, config: &Config) -> Result<Turn, Refusal> {
    let mut after = config.clone();
    after.apply(change);
    check_line(change, &after)?;
    let mut turn = Turn::default();
    for (server, row) in after.virtuals() {
        for port in row.ports.keys().filter(|port| **port != Port::DEFAULT) {
            // What was refused before was never in force.
            let (before, wanted) = (wants(config, server, *port).unwrap_or_default(), wants(&after, server, *port)?);
            let binds = wants::binds_of_virtual_port(&after, server, *port);
            let is_regrouped =
                wanted.is_some() && binds.iter().any(|bind| group_of(config, bind) != group_of(&after, bind));
            if before == wanted && !is_regrouped {
                continue;
            }
            let service = wants::service(&after, row, *port);
            if before.is_none() {
                turn.first.push(Primitive::SetService(SetService {
                    content: Some(Content::Http),
                    ..SetService::new(service)
                }));
            }
            turn.then.extend(told(&after, service, wanted.as_ref(), &binds));
            turn.undo.extend(told(config, service, before.as_ref(), &binds));
        }
    }
    turn.then.iter().try_for_each(|primitive| validate::check(primitive).map_err(|why| failed(why.to_string())))?;
    Ok(turn)
}

/// All that is wanted of a service, with the groups of its bindings.
fn told(config: &Config, service: ServiceKey, wanted: Option<&Wants>, binds: &[Bind]) -> Vec<Primitive> {
    let binds = binds.iter().filter(|bind| wants::is_in_service(config, bind));
    let add = |bind: &Bind| {
        let group = if wanted.is_some() { group_of(config, bind) } else { default_group() };
        Some(Primitive::Add(Add { group: Some(group), ..wants::add_anywhere(config, bind)? }))
    };
    let adds: Vec<_> = binds.filter_map(add).collect();
    let mut all = wanted.map_or_else(|| vec![unset(config, service)], |wanted| wanted.settings(service));
    all.extend(adds);
    all
}

/// A service that does not look into requests: nothing of rules is left.
fn unset(config: &Config, service: ServiceKey) -> Primitive {
    let server = wants::virtual_port_of(config, &service).and_then(|(name, _)| config.virtual_server(&name));
    Primitive::SetService(SetService {
        content: Some(Content::None),
        rules: Some(Vec::new()),
        default_action: Some(Action::default_action()),
        scheduler: server.and_then(|row| wants::scheduler(wants::predictor_of(config, row))),
        hash: Some(HashOptions::default()),
        persist: Some(Persistence::None),
        ..SetService::new(service)
    })
}

/// Everything content switching wants, told again: what else was set has put the default group's way to choose first.
pub(super) fn retold(change: &Change, config: &Config) -> Result<Vec<Primitive>, Refusal> {
    let mut after = config.clone();
    after.apply(change);
    let mut all = Vec::new();
    for (server, row) in after.virtuals() {
        for port in row.ports.keys() {
            if let Some(wanted) = wants(&after, server, *port)? {
                all.extend(wanted.settings(wants::service(&after, row, *port)));
            }
        }
    }
    Ok(all)
}
