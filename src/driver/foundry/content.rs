//! From wishes about content to commands: what is wanted is worked out from what the box has and the call, written by
//! [`ironware`](crate::ironware), and only what differs is typed.
//!
//! A list of rules is changed by one line: the new policy is written beside the one in force, then the port goes over to it,
//! then the old one is taken away. What cannot be written is refused before any of that.

use std::sync::Arc;

use super::command::{BlockKind, Command, Pair, ServerName};
use super::config::{BoxConfig, RealPort};
use super::name;
use super::personality::Personality;
use super::plan::{Planner, VirtualAt, hands_off, shared_option, unsupported};
use crate::acm::error::{AcmError, Feature};
use crate::acm::primitive::SetService;
use crate::acm::rules::check::check_group;
use crate::acm::rules::edit::edited;
use crate::acm::rules::{Content, HashOptions, Persistence, Strangers, Switching};
use crate::acm::words::{Group, Scheduler, ServiceKey, default_group};
use crate::base::id::Name;
use crate::ironware::book::Numbers;
use crate::ironware::read::Wants;
use crate::ironware::say::{Said, say};
use crate::ironware::sweep::sweep;
use crate::ironware::{Grammar, PORT_KEYS, Unsaid, words};

/// The lines of a port that name something; the others switch.
const NAMING: [&str; 3] = ["csw-policy", "url-map", "cookie-name"];

fn unsaid(Unsaid { field, why }: Unsaid) -> AcmError {
    AcmError::unsupported(Feature::Option, format!("{field}: {why}"))
}

fn assign<T: Clone>(slot: &mut T, wanted: Option<&T>) {
    if let Some(wanted) = wanted {
        slot.clone_from(wanted);
    }
}

impl Planner<'_> {
    /// Whether a call makes sense beside what there is, whatever the box has words for.
    pub(super) fn check_content(&self, set: &SetService) -> Result<(), AcmError> {
        let server = name::encode(name::Kind::Virtual, set.service.vip());
        let plain = self.config.plain(&server);
        merged(&self.config.wants(&server, set.service.addr.port()), set, (plain, plain)).map(drop)
    }

    /// What a call asks of a service's content and groups. `old` is how its virtual server chose so far, `new` how it
    /// will: groups of which nothing was said go along.
    pub(super) fn set_content(
        &mut self,
        set: &SetService,
        server: &ServerName,
        (old, new): (Scheduler, Scheduler),
    ) -> Result<(), AcmError> {
        if set.switching == Some(Switching::FirstRequest) {
            let why = "switching: a ServerIron looks at each request of a connection; use per-request";
            return unsupported(Feature::Option, why);
        }
        if set.strangers.is_some_and(|strangers| strangers != Strangers::Default) {
            let why = "strangers: a ServerIron sends who speaks no HTTP to the default; leave it at `default`";
            return unsupported(Feature::Option, why);
        }
        let port = set.service.addr.port();
        let before = self.config.wants(server, port);
        let wants = merged(&before, set, (old, new))?;
        self.keep_groups(server, port, (before.content, wants.content))?;
        if !wants.speaks_of(&set.group) {
            let why = format!("group {}: a ServerIron knows groups that rules send to; add the rule first", set.group);
            return unsupported(Feature::Option, why);
        }
        if self.rules.personality == Personality::Adx
            && wants.groups.values().any(|group| group.persist != Persistence::None)
        {
            let why = "persist: cookies of a ServerIron name servers by a server-id, which this driver gives none; \
                       hash a cookie of the servers instead (cookie-hash)";
            return unsupported(Feature::Option, why);
        }
        let numbers = Numbers::new(&self.config.book, self.config.groups());
        let grammar = self.rules.personality.grammar();
        let said = say(&wants, new, &self.config.book, numbers, grammar).map_err(unsaid)?;
        self.type_said(server, port, &said);
        Ok(())
    }

    /// Every server must be in the group it was in: a box asks nobody for his group unless it switches by content.
    fn keep_groups(&self, server: &ServerName, port: u16, (was, is): (Content, Content)) -> Result<(), AcmError> {
        let pairs = self.config.virtuals.get(server).and_then(|server| server.ports.get(&port));
        let grouped = |pair: &&Pair| self.config.real_port(pair).is_some_and(|port| port.group.is_some());
        match pairs.into_iter().flatten().find(grouped).filter(|_| was != is) {
            None => Ok(()),
            Some(pair) => {
                let number = self.config.real_port(pair).and_then(|port| port.group).unwrap_or_default();
                let group = self.config.book.group(number);
                let why = format!(
                    "content {is}: port {} of {} is in group {group}, which counts only while a ServerIron switches by \
                     content; remove it first and add it again",
                    pair.port, pair.real
                );
                unsupported(Feature::Option, why)
            }
        }
    }

    /// Types what is not there, goes over to it, and sweeps up.
    fn type_said(&mut self, server: &ServerName, port: u16, said: &Said) {
        for (name, said) in &said.rules {
            let known = self.config.book.rule(name);
            if known.is_none_or(|known| words(known) != words(said)) {
                let was = known.map(str::to_owned);
                self.push(Command::CswRule { name: name.clone(), words: said.clone(), was });
            }
        }
        for (name, lines) in &said.maps {
            if self.config.book.map(name).is_none() {
                self.type_block(BlockKind::Map, name, lines);
            }
        }
        if let Some((name, lines)) = said.policy.as_ref().filter(|(name, _)| self.config.book.policy(name).is_none()) {
            self.type_block(BlockKind::Policy, name, lines);
        }
        self.type_port(server, port, said);
        self.sweep();
    }

    fn type_block(&mut self, kind: BlockKind, name: &str, lines: &[String]) {
        self.push(Command::Block(kind, name.to_owned()));
        for line in lines {
            self.push(Command::BlockLine(kind, name.to_owned(), line.clone()));
        }
    }

    /// What switches goes off before what it needs, and on after it.
    fn type_port(&mut self, server: &ServerName, port: u16, said: &Said) {
        let known = self.config.lines_of(server, port);
        let (naming, switching): (Vec<_>, Vec<_>) = PORT_KEYS.into_iter().partition(|key| NAMING.contains(key));
        for key in switching.iter().chain(&naming) {
            if let Some(line) = known.get(*key).filter(|_| !said.port.contains_key(*key)) {
                self.push(Command::NoPortLine { server: Arc::clone(server), port, line: line.clone() });
            }
        }
        for key in naming.iter().chain(&switching) {
            let Some(line) = said.port.get(*key) else { continue };
            let was = known.get(*key).cloned();
            if was.as_ref().is_none_or(|known| words(known) != words(line)) {
                self.push(Command::PortLine { server: Arc::clone(server), port, line: line.clone(), was });
            }
        }
    }

    /// Takes away what of ours nothing will lead to once the plan is done.
    pub(super) fn sweep(&mut self) {
        let adds = |command: &Command| matches!(command, Command::CswRule { .. } | Command::Block(..));
        if self.config.book.is_empty() && !self.plan.commands.iter().any(adds) {
            return;
        }
        let mut after = self.config.clone();
        self.plan.commands.iter().for_each(|command| after.apply(command));
        let gone = sweep(&after.book, after.all_lines(), &after.groups());
        for name in gone.policies {
            self.push(Command::NoBlock(BlockKind::Policy, name));
        }
        for name in gone.maps {
            self.push(Command::NoBlock(BlockKind::Map, name));
        }
        for name in gone.rules {
            let words = after.book.rule(&name).unwrap_or_default().to_owned();
            self.push(Command::NoCswRule(name, words));
        }
    }

    /// Puts a port of a real server into a group, for a binding to this service.
    pub(super) fn set_group(
        &mut self,
        service: &ServiceKey,
        pair: &Pair,
        port: Option<&RealPort>,
        wanted: &Name,
    ) -> Result<(), AcmError> {
        let server = match self.virtual_at(service.vip()).map_err(hands_off)? {
            VirtualAt::Ours(name, _) => Some(Arc::clone(name)),
            VirtualAt::Nobody => None,
        };
        let place = server.map(|server| (server, service.addr.port()));
        let is_switched = |place: &(ServerName, u16)| self.config.is_switched(&place.0, place.1);
        if !place.as_ref().is_some_and(is_switched) {
            return match *wanted == default_group() {
                true => Ok(()),
                false => unsupported(
                    Feature::Option,
                    format!("group {wanted}: only content gives groups a use on a ServerIron; set content http first"),
                ),
            };
        }
        let now = port.and_then(|port| port.group);
        let group = now.map_or_else(default_group, |number| self.config.book.group(number));
        if group == *wanted {
            return Ok(());
        }
        let ip = service_ip(self.config, pair);
        let others = port.into_iter().flat_map(|port| &port.bound_to).filter(|other| Some(*other) != place.as_ref());
        if others.into_iter().any(is_switched) {
            return shared_option("group", ip.unwrap_or(service.vip()), group);
        }
        let ip = ip.or_else(|| name::decode(name::Kind::Real, &pair.real)).unwrap_or(service.vip());
        if let Some(now) = now.filter(|_| *wanted == default_group()) {
            self.push(Command::NoGroupId(pair.clone(), ip, now));
            return Ok(());
        }
        let mut numbers = Numbers::new(&self.config.book, self.config.groups());
        let number = numbers.number(wanted, "group").map_err(unsaid)?;
        let noted = numbers.into_rules();
        if self.rules.personality.grammar() == Grammar::UrlMap && !noted.is_empty() {
            let why = format!("group {wanted}: an older ServerIron knows groups by number; name it 0 to 1023");
            return unsupported(Feature::Option, why);
        }
        for (name, words) in noted {
            self.push(Command::CswRule { name, words, was: None });
        }
        self.push(Command::GroupId(pair.clone(), ip, number, now));
        Ok(())
    }
}

fn service_ip(config: &BoxConfig, pair: &Pair) -> Option<std::net::IpAddr> {
    config.reals.get(&pair.real).map(|real| real.ip)
}

/// What a service has and what a call wants, together.
fn merged(before: &Wants, set: &SetService, (old, new): (Scheduler, Scheduler)) -> Result<Wants, AcmError> {
    let mut wants = before.clone();
    wants.groups.retain(|_, group| *group != Group::scheduled_by(old));
    let group = wants.groups.entry(set.group.clone()).or_insert_with(|| Group::scheduled_by(new));
    assign(&mut group.scheduler, set.scheduler.as_ref());
    assign(&mut group.persist, set.persist.as_ref());
    match &set.hash {
        Some(hash) => group.hash.clone_from(hash),
        // Nothing on the box holds what a group would hash if it hashed.
        None if !group.scheduler.needs_content() => group.hash = HashOptions::default(),
        None => {}
    }
    check_group(group)?;
    assign(&mut wants.content, set.content.as_ref());
    assign(&mut wants.default_action, set.default_action.as_ref());
    assign(&mut wants.rules, set.rules.as_ref());
    if let Some(edit) = &set.edit {
        wants.rules = edited(&wants.rules, edit)?;
    }
    Ok(wants)
}

#[cfg(test)]
mod tests {
    use super::super::csw::key_of;
    use super::*;

    #[test]
    fn every_line_that_names_something_is_known() {
        assert!(NAMING.iter().all(|key| key_of(&format!("{key} \"x\"")) == Some(*key)));
    }
}
