//! Content switching on the command line of our switch: what its configuration wants of the switch, by the words of
//! [`ironware`](crate::ironware), which has the table.
//!
//! | ServerIron | contract |
//! |---|---|
//! | a port of a virtual server | content, rules, default action and groups of its service |
//! | `port P group-id N N` of a real server | the group of its bindings to ports that switch by content |
//!
//! What that room cannot read is refused: servers by id, ranges of groups, parts of requests that persist, other pages, logs. A
//! rule or policy that is not in use is only kept, and checked all the same. Pure; who performs it is [`plan`](super::plan), and
//! what others set is put into words by [`reword`](super::reword).

use switch_sim::slb::block::BlockKind;
use switch_sim::slb::change::{Change, Place, Refusal};
use switch_sim::slb::config::{Config, VirtualPort};
use switch_sim::slb::words::{Name, Port};

use super::wants::{self, Bind};
use crate::acm::list::ServiceRow;
use crate::acm::primitive::{Add, Primitive, SetService};
use crate::acm::rules::{Action, Content, HashOptions, Persistence};
use crate::acm::validate;
use crate::acm::words::{Group, Scheduler, ServiceKey, default_group};
use crate::base::id;
use crate::ironware::book::Book;
pub(super) use crate::ironware::read::Wants;
use crate::ironware::read::{self, rule_name};
use crate::ironware::{PORT_KEYS, PortLines, TEXT_MAX, Unread, name, words};

fn no_word(what: impl Into<String>) -> Refusal {
    Refusal::Unsupported { what: what.into() }
}

fn failed(why: impl Into<String>) -> Refusal {
    Refusal::Failed { why: why.into() }
}

fn refusal(why: Unread) -> Refusal {
    match why {
        Unread::NoWord(what) => no_word(what),
        Unread::Wrong(why) => failed(why),
    }
}

/// The names of a configuration's rules, and the words behind them.
fn rules(config: &Config) -> impl Iterator<Item = (&str, &str)> {
    config.system().iter().filter_map(|(key, line)| {
        let name = key.strip_prefix("csw-rule ")?.trim_matches('"');
        Some((name, line.strip_prefix(key).unwrap_or_default()))
    })
}

/// The rules, policies and maps of a configuration.
pub(super) fn book(config: &Config) -> Book {
    let mut book = Book::default();
    rules(config).for_each(|(name, said)| book.set_rule(name, said));
    for (name, block) in config.blocks(BlockKind::CswPolicy) {
        let policy = book.policy_mut(name.as_str());
        policy.any_case = block.header.ends_with("case-insensitive");
        policy.lines.extend(block.lines.iter().map(|(_, line)| line.to_owned()));
    }
    for (name, block) in config.blocks(BlockKind::UrlMap) {
        book.map_mut(name.as_str()).extend(block.lines.iter().map(|(_, line)| line.to_owned()));
    }
    book
}

/// What a virtual server's port says of content.
pub(super) fn port_lines(row: &VirtualPort) -> PortLines {
    let lines = PORT_KEYS.iter().filter_map(|key| Some(((*key).to_owned(), row.lines.get(key)?.to_owned())));
    lines.collect()
}

/// The lines of a port that has any.
fn lines_of(config: &Config, server: &Name, port: Port) -> Option<PortLines> {
    let lines = port_lines(config.virtual_server(server)?.ports.get(&port)?);
    (!lines.is_empty()).then_some(lines)
}

/// How a virtual server chooses in the contract's terms.
pub(super) fn plain(config: &Config, server: &Name) -> Scheduler {
    let predictor = config.virtual_server(server).map(|row| wants::predictor_of(config, row));
    predictor.and_then(wants::scheduler).unwrap_or_default()
}

/// What a port of a virtual server wants; `None` if it neither switches by content nor has a policy or a map that waits for
/// it: rules that are attached and do nothing are the service's all the same.
///
/// # Errors
/// The contract has no equivalent, or something that is named is not there.
pub(super) fn wants(config: &Config, server: &Name, port: Port) -> Result<Option<Wants>, Refusal> {
    let Some(lines) = lines_of(config, server, port) else { return Ok(None) };
    let (book, is_on) = (book(config), is_in_force(config, server, port));
    let is_attached = |key, has: &dyn Fn(&str) -> bool| {
        lines.get(key).is_some_and(|line| words(line).get(1).is_some_and(|name| has(name)))
    };
    if !is_on
        && !is_attached("csw-policy", &|name| book.policy(name).is_some())
        && !is_attached("url-map", &|name| book.map(name).is_some())
    {
        return Ok(None);
    }
    read::read(&book, &lines, plain(config, server), &mut Err::<(), Unread>).map(Some).map_err(refusal)
}

/// Whether a row of List says the same.
pub(super) fn agrees(wants: &Wants, row: &ServiceRow) -> bool {
    let has = |(name, group): (&id::Name, &Group)| {
        let found = row.groups.iter().find(|row| row.group == *name);
        found.is_some_and(|row| {
            (row.scheduler, &row.hash, &row.persist) == (group.scheduler, &group.hash, &group.persist)
        })
    };
    row.content == wants.content
        && row.default_action == wants.default_action
        && row.rules.iter().map(|row| &row.rule).eq(&wants.rules)
        && wants.groups.iter().all(has)
}

/// Everything that is wanted, told to the switch; the rules come last.
fn settings(wants: &Wants, service: ServiceKey) -> Vec<Primitive> {
    let groups = wants.groups.iter().map(|(name, group)| SetService {
        group: name.clone(),
        scheduler: Some(group.scheduler),
        hash: Some(group.hash.clone()),
        persist: Some(group.persist.clone()),
        ..SetService::new(service)
    });
    let all = SetService {
        content: Some(wants.content),
        rules: Some(wants.rules.clone()),
        default_action: Some(wants.default_action.clone()),
        ..SetService::new(service)
    };
    groups.chain([all]).map(Primitive::SetService).collect()
}

/// The group that a real server's port names.
fn named_group(config: &Config, bind: &Bind) -> Option<id::Name> {
    let port = config.real(&bind.real)?.ports.get(&bind.real_port)?;
    let line = words(port.lines.get("group-id")?);
    let mut noted = Book::default();
    let groups = rules(config).filter(|(name, _)| name::read_group(name).is_some());
    groups.for_each(|(name, said)| noted.set_rule(name, said));
    noted.typed_group(line.get(1)?).ok()
}

/// The group a binding is in where the virtual server's port switches by content: that of the real server's port.
pub(super) fn group_of(config: &Config, bind: &Bind) -> id::Name {
    named_group(config, bind).unwrap_or_else(default_group)
}

/// Whether a port of a virtual server switches by content.
pub(super) fn is_in_force(config: &Config, server: &Name, port: Port) -> bool {
    let has = |kind, name: &str| Name::up_to(name, TEXT_MAX).is_ok_and(|name| config.block(kind, &name).is_some());
    let is_on = |lines: PortLines| {
        read::is_on(&lines, |name| has(BlockKind::CswPolicy, name), |name| has(BlockKind::UrlMap, name))
    };
    lines_of(config, server, port).is_some_and(is_on)
}

/// The group to put a binding into. Where nothing switches by content every server is in the default group, and one
/// whose port names no group is left where it is: somebody else may have put it there.
pub(super) fn group_for(config: &Config, bind: &Bind) -> Option<id::Name> {
    match is_in_force(config, &bind.server, bind.port) {
        true => Some(group_of(config, bind)),
        false => named_group(config, bind).map(|_| default_group()),
    }
}

/// Whether a change is about content switching at all.
pub(super) fn is_about(change: &Change) -> bool {
    match change {
        Change::SetLine { place: Place::System, key, .. } => {
            key.starts_with("csw-rule ") || key.starts_with("server csw")
        }
        Change::SetLine { place: Place::VirtualPort(..), key, .. } => {
            PORT_KEYS.contains(&key.as_str()) || ["cookie-switch", "session-id-switch"].contains(&key.as_str())
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
    let (book, words) = (book(after), words(line));
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match (place, words.as_slice()) {
        (Place::System, ["csw-rule", name, ..]) => {
            rule_name(name).map_err(refusal)?;
            book.check_rule(line.strip_prefix(key.as_str()).unwrap_or_default()).map_err(refusal)
        }
        (Place::System, _) => Err(no_word(line.clone())),
        (Place::Block(BlockKind::CswPolicy, _), _) => book.check_line(line).map_err(refusal),
        (Place::VirtualPort(..), ["cookie-switch" | "session-id-switch", ..] | ["url-hash", _, ..])
        | (Place::Virtual(_), _) => Err(no_word(line.clone())),
        (Place::RealPort(..), ["group-id", first, last]) if first == last => {
            book.typed_group(first).map(drop).map_err(refusal)
        }
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
    let is_on = |wants: &Option<Wants>| wants.as_ref().is_some_and(|wants| wants.content == Content::Http);
    let mut turn = Turn::default();
    for (server, row) in after.virtuals() {
        for port in row.ports.keys().filter(|port| **port != Port::DEFAULT) {
            // What was refused before was never in force.
            let (before, wanted) = (wants(config, server, *port).unwrap_or_default(), wants(&after, server, *port)?);
            let binds = wants::binds_of_virtual_port(&after, server, *port);
            let is_regrouped =
                is_on(&wanted) && binds.iter().any(|bind| group_of(config, bind) != group_of(&after, bind));
            if before == wanted && !is_regrouped {
                continue;
            }
            let service = wants::service(&after, row, *port);
            if is_on(&wanted) && !is_on(&before) {
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
        let is_on = wanted.is_some_and(|wanted| wanted.content == Content::Http);
        let group = if is_on { group_of(config, bind) } else { default_group() };
        Some(Primitive::Add(Add { group: Some(group), ..wants::add_anywhere(config, bind)? }))
    };
    let adds: Vec<_> = binds.filter_map(add).collect();
    let mut all = wanted.map_or_else(|| vec![unset(config, service)], |wanted| settings(wanted, service));
    all.extend(adds);
    all
}

/// A service that has nothing to do with content.
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
                all.extend(settings(&wanted, wants::service(&after, row, *port)));
            }
        }
    }
    Ok(all)
}
