//! Rules that others set, in the words of the command line: `csw-rule` and `csw-policy` lines that say what the switch does, so
//! that `show running-config` and `acm rule list` agree. Where the words say it already, whoever wrote them, they stay; where
//! there are none, nothing is done here and a remark remains ([`seen`](super::seen)).
//!
//! Only the configuration is changed, never the switch, so lines may come in any order that the configuration takes.

use std::collections::BTreeSet;

use switch_sim::slb::block::BlockKind;
use switch_sim::slb::change::{Change, Place};
use switch_sim::slb::config::Config;
use switch_sim::slb::words::{Name, Port};

use super::amend::Writer;
use super::content::{self, Wants};
use super::wants::{self, Bind};
use crate::acm::list::{BindingRow, GroupRow, ServiceRow};
use crate::acm::rules::{Action, Content};
use crate::acm::words::{Group, default_group};
use crate::ironware::book::{Book, Numbers, number_of};
use crate::ironware::say::{Said, say};
use crate::ironware::sweep::{parts_below, sweep};
use crate::ironware::{Grammar, PORT_KEYS, TEXT_MAX, name, words};

/// Puts into words what a service does with content.
pub(super) fn service(writer: &mut Writer, row: &ServiceRow) {
    let Some((server, port)) = wants::virtual_port_of(&writer.config, &row.service) else { return };
    let Some(policy) = attached(&writer.config, &server, port) else { return reword(writer, row, &server, port) };
    let before = content::book(&writer.config);
    reword(writer, row, &server, port);
    if attached(&writer.config, &server, port).is_none_or(|now| now != policy) {
        tidy(writer, &before, &policy);
    }
}

/// The policy that a port attaches.
fn attached(config: &Config, server: &Name, port: Port) -> Option<String> {
    let line = config.virtual_server(server)?.ports.get(&port)?.lines.get("csw-policy")?;
    words(line).into_iter().nth(1)
}

fn reword(writer: &mut Writer, row: &ServiceRow, server: &Name, port: Port) {
    let place = Place::VirtualPort(server.clone(), port);
    match content::wants(&writer.config, server, port) {
        Ok(Some(known)) if content::agrees(&known, row) => {}
        Ok(None) if is_plain(row) => {}
        _ if is_plain(row) => PORT_KEYS.iter().for_each(|key| writer.line(&place, key, None)),
        _ => {
            let (book, used) = (content::book(&writer.config), used(&writer.config));
            let (plain, numbers) = (content::plain(&writer.config, server), Numbers::new(&book, used));
            if let Ok(said) = say(&wanted(row), plain, &book, numbers, Grammar::Csw) {
                put(writer, &book, &place, &said);
            }
        }
    }
}

/// Whether a service does nothing with content, and has nothing that waits for it.
fn is_plain(row: &ServiceRow) -> bool {
    row.content == Content::None && row.rules.is_empty() && row.default_action == Action::default_action()
}

/// Groups that nothing is sent to any more do nothing, and have no words.
fn wanted(row: &ServiceRow) -> Wants {
    let group = |row: &GroupRow| {
        let group = Group { scheduler: row.scheduler, hash: row.hash.clone(), persist: row.persist.clone() };
        (row.group.clone(), group)
    };
    let mut wanted = Wants {
        content: row.content,
        rules: row.rules.iter().map(|row| row.rule.clone()).collect(),
        default_action: row.default_action.clone(),
        groups: Default::default(),
    };
    let groups = row.groups.iter().filter(|row| wanted.speaks_of(&row.group)).map(group).collect();
    wanted.groups = groups;
    wanted
}

/// The numbers of groups that real servers are in.
fn used(config: &Config) -> BTreeSet<u16> {
    let ports = config.reals().flat_map(|(_, real)| real.ports.values());
    let lines = ports.filter_map(|port| port.lines.get("group-id"));
    lines.flat_map(|line| words(line).into_iter().skip(1)).filter_map(|number| number.parse().ok()).collect()
}

/// Writes the lines of a port, and everything they name.
fn put(writer: &mut Writer, book: &Book, place: &Place, said: &Said) {
    for (name, words) in &said.rules {
        writer.line(&Place::System, &rule_key(name), Some(&format!("{} {words}", rule_key(name))));
    }
    if let Some((name, lines)) = said.policy.as_ref().filter(|(name, _)| book.policy(name).is_none()) {
        let Ok(block) = Name::up_to(name, TEXT_MAX) else { return };
        let header = format!("csw-policy \"{name}\"");
        writer.change(Change::AddBlock { kind: BlockKind::CswPolicy, name: block.clone(), header });
        let policy = Place::Block(BlockKind::CswPolicy, block);
        lines.iter().for_each(|line| writer.line(&policy, line_key(line), Some(line)));
    }
    for key in PORT_KEYS {
        writer.line(place, key, said.port.get(key).map(String::as_str));
    }
}

fn rule_key(name: &str) -> String {
    format!("csw-rule \"{name}\"")
}

/// The part of a policy's line that says what it is about, as the grammar has it: up to the first value.
fn line_key(line: &str) -> &str {
    let verbs = [" forward", " redirect", " hash-persist", " insert-cookie"];
    let ends = verbs.iter().filter_map(|verb| line.find(&format!("{verb} ")).map(|at| at + verb.len()));
    ends.min().map_or(line, |end| &line[..end])
}

/// Puts a binding into its group, where the real server's port serves no other service that has it elsewhere.
pub(super) fn binding(writer: &mut Writer, row: &BindingRow, rows: &[&BindingRow]) {
    let Some(bind) = wants::bind_of(&writer.config, &row.key) else { return };
    let is_switched = |bind: &Bind| content::is_in_force(&writer.config, &bind.server, bind.port);
    if !is_switched(&bind) || content::group_of(&writer.config, &bind) == row.group {
        return;
    }
    let others = rows.iter().filter(|other| other.key.real == row.key.real && other.group != row.group);
    let is_shared =
        others.filter_map(|other| wants::bind_of(&writer.config, &other.key)).any(|bind| is_switched(&bind));
    if is_shared {
        return;
    }
    let place = bind.real_port_place();
    if row.group == default_group() {
        return writer.line(&place, "group-id", None);
    }
    let book = content::book(&writer.config);
    let mut numbers = Numbers::new(&book, used(&writer.config));
    let Ok(number) = numbers.number(&row.group, "group") else { return };
    for (name, words) in numbers.into_rules() {
        writer.line(&Place::System, &rule_key(&name), Some(&format!("{} {words}", rule_key(&name))));
    }
    // Two blanks, as the device prints it.
    writer.line(&place, "group-id", Some(&format!("group-id  {number} {number}")));
}

/// Takes away what only this policy, which a port had before, led to. What else nothing leads to may be in somebody's hands:
/// whoever types a policy attaches it last.
fn tidy(writer: &mut Writer, before: &Book, policy: &str) {
    let (book, mut rules) = (content::book(&writer.config), BTreeSet::new());
    for line in before.policy(policy).into_iter().flat_map(|policy| &policy.lines) {
        rules.extend(words(line).into_iter().nth(1));
        rules.extend(number_of(line).map(|number| name::of_group(number, &before.group(number))));
    }
    let parts = rules.iter().flat_map(|rule| parts_below(before, rule)).collect::<Vec<_>>();
    rules.extend(parts);
    let ports = writer.config.virtuals().flat_map(|(_, server)| server.ports.values());
    let ports: Vec<_> = ports.map(content::port_lines).collect();
    let gone = sweep(&book, &ports, &used(&writer.config));
    if let Some(name) =
        gone.policies.iter().find(|name| *name == policy).and_then(|name| Name::up_to(name, TEXT_MAX).ok())
    {
        writer.change(Change::RemoveBlock { kind: BlockKind::CswPolicy, name });
    }
    gone.rules
        .iter()
        .filter(|rule| rules.contains(*rule))
        .for_each(|name| writer.line(&Place::System, &rule_key(name), None));
}
