//! What the box's configuration says of content switching: its part of [`config`](super::config), read and kept up to date.
//!
//! The words themselves are [`ironware`](crate::ironware)'s. Lines of policies and maps are kept as they are printed: what of
//! them the contract has no word for is somebody's all the same.

use std::collections::BTreeSet;

use super::command::{BlockKind, Command, Pair, Predictor};
use super::config::{BoxConfig, VirtualServer};
use super::plan::scheduler_of;
use crate::acm::words::{Scheduler, default_group};
use crate::base::id::Name;
use crate::ironware::read::{Wants, is_on, read};
use crate::ironware::{PORT_KEYS, PortLines};

impl BoxConfig {
    /// What a port of a virtual server says of content.
    pub(super) fn lines_of(&self, server: &str, port: u16) -> PortLines {
        self.virtuals.get(server).and_then(|server| server.content.get(&port)).cloned().unwrap_or_default()
    }

    /// Whether a port of a virtual server switches by content.
    pub(super) fn is_switched(&self, server: &str, port: u16) -> bool {
        let lines = self.virtuals.get(server).and_then(|server| server.content.get(&port));
        let is_on = |lines| is_on(lines, |name| self.book.policy(name).is_some(), |name| self.book.map(name).is_some());
        lines.is_some_and(is_on)
    }

    /// How the groups of a virtual server choose unless they hash.
    pub(super) fn plain(&self, server: &str) -> Scheduler {
        // One that is not there yet has the device's own way until it is told another.
        let predictor = self.virtuals.get(server).map(|server| self.predictor_of(server));
        scheduler_of(predictor.or(self.predictor).unwrap_or(Predictor::LeastConn))
    }

    /// What a port wants, as far as it can be read: a line that somebody else put in and that has no equivalent is left
    /// out, so that it shows that the rest is not all.
    pub(super) fn wants(&self, server: &str, port: u16) -> Wants {
        let plain = self.plain(server);
        let mut pass_over = |why| {
            tracing::debug!(server, port, %why, "a line about content has no equivalent");
            Ok(())
        };
        let read = read(&self.book, &self.lines_of(server, port), plain, &mut pass_over);
        // What is passed over is no error.
        read.expect("no line is an error")
    }

    /// The group of a pair that is bound to a port.
    pub(super) fn group_of(&self, server: &str, port: u16, pair: &Pair) -> Name {
        let number = self.real_port(pair).and_then(|port| port.group).filter(|_| self.is_switched(server, port));
        number.map_or_else(default_group, |number| self.book.group(number))
    }

    /// The numbers of groups that real servers are in.
    pub(super) fn groups(&self) -> BTreeSet<u16> {
        self.reals.values().flat_map(|real| real.ports.values()).filter_map(|port| port.group).collect()
    }

    /// Every port's lines about content.
    pub(super) fn all_lines(&self) -> impl Iterator<Item = &PortLines> {
        self.virtuals.values().flat_map(|server| server.content.values())
    }

    /// The configuration after a command about content that succeeded.
    pub(super) fn apply_content(&mut self, command: &Command) {
        use Command as C;
        match command {
            C::CswRule { name, words, .. } => self.book.set_rule(name, words),
            C::NoCswRule(name, _) => self.book.remove_rule(name),
            C::Block(BlockKind::Policy, name) => drop(self.book.policy_mut(name)),
            C::Block(BlockKind::Map, name) => drop(self.book.map_mut(name)),
            C::NoBlock(BlockKind::Policy, name) => self.book.remove_policy(name),
            C::NoBlock(BlockKind::Map, name) => self.book.remove_map(name),
            C::BlockLine(BlockKind::Policy, name, line) => self.book.policy_mut(name).lines.push(line.clone()),
            C::BlockLine(BlockKind::Map, name, line) => self.book.map_mut(name).push(line.clone()),
            C::PortLine { server, port, line, .. } => {
                if let Some(server) = self.virtuals.get_mut(server) {
                    put_line(server, *port, line);
                }
            }
            C::NoPortLine { server, port, line } => {
                let lines = self.virtuals.get_mut(server).and_then(|server| server.content.get_mut(port));
                if let (Some(lines), Some(key)) = (lines, key_of(line)) {
                    lines.remove(key);
                }
            }
            C::GroupId(pair, _, number, _) => self.change_port(pair, |port| port.group = Some(*number)),
            C::NoGroupId(pair, ..) => self.change_port(pair, |port| port.group = None),
            _ => {}
        }
    }
}

/// The key of a line about content behind `port P`.
pub(super) fn key_of(line: &str) -> Option<&'static str> {
    let first = line.split_ascii_whitespace().next()?;
    PORT_KEYS.into_iter().find(|key| *key == first)
}

/// Notes what stands behind `port P` of a virtual server, if it is about content.
pub(super) fn put_line(server: &mut VirtualServer, port: u16, line: &str) {
    if let Some(key) = key_of(line) {
        server.content.entry(port).or_default().insert(key.to_owned(), line.to_owned());
    }
}

/// A name, in quotes or not, at the head of a text, and what follows.
pub(super) fn name_and_rest(text: &str) -> Option<(&str, &str)> {
    let text = text.trim_start();
    let (name, rest) = match text.strip_prefix('"') {
        Some(quoted) => quoted.split_once('"')?,
        None => text.split_once(' ').unwrap_or((text, "")),
    };
    (!name.is_empty()).then_some((name, rest.trim()))
}

/// Takes up a line below `csw-policy` or `url-map`; false if it is none, which ends the block.
pub(super) fn block_line(config: &mut BoxConfig, kind: BlockKind, name: &str, line: &str) -> bool {
    let first = line.split_ascii_whitespace().next().unwrap_or_default();
    match kind {
        BlockKind::Policy if ["match", "default"].contains(&first) => {
            config.book.policy_mut(name).lines.push(line.to_owned());
        }
        BlockKind::Map if ["method", "match", "default"].contains(&first) => {
            config.book.map_mut(name).push(line.to_owned());
        }
        _ => return false,
    }
    true
}
