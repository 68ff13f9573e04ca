//! What goes wrong on the side of the commands: screens that are cut or lie, and another hand in the configuration. When is
//! the quirks' business (`quirk/`), what is said here.

use std::time::Duration;

use super::Chassis;
use super::hand::Line;
use crate::quirk::{Quirk, Quirks};
use crate::slb::words::{Name, Port};
use crate::time::Time;

/// How often the other hand has an occasion.
const OCCASION: Duration = Duration::from_secs(1);

/// Screens that list something.
const TABLES: [&str; 4] = ["show server ", "show running-config", "write terminal", "show cache-group"];

impl Chassis {
    /// The screen, unless a quirk falsifies it.
    pub(super) fn falsified(&self, pattern: &str, mut text: Vec<String>, now: Time) -> Vec<String> {
        if !TABLES.iter().any(|table| pattern.starts_with(table)) {
            return text;
        }
        let quirks = &self.device.settings.quirks;
        if quirks.fires(Quirk::TruncatedTable, now) {
            for _ in 0..quirks.number(Quirk::TruncatedTable) {
                while text.pop().is_some_and(|line| line.trim().is_empty()) {}
            }
        }
        if quirks.fires(Quirk::LyingTable, now) {
            lie(&mut text, quirks);
        }
        text
    }

    /// When the other hand may do something next.
    pub(super) fn next_meddling(&self) -> Option<Time> {
        let settings = &self.device.settings;
        let strike = settings.quirks.next_strike(Quirk::ChangedBehind, self.now);
        let planned = settings.other_hand.iter().map(|(after, _)| Time::after(*after)).min();
        strike.map(|at| at.max(self.meddles_at)).into_iter().chain(planned).min()
    }

    /// Lets the other hand do something, if it is its time.
    pub(super) fn meddle(&mut self, now: Time) {
        if self.next_meddling().is_none_or(|at| at > now) {
            return;
        }
        let planned = std::mem::take(&mut self.device.settings.other_hand);
        let (due, later) = planned.into_iter().partition(|(after, _)| Time::after(*after) <= now);
        self.device.settings.other_hand = later;
        let due: Vec<(Duration, String)> = due;
        self.waiting.extend(due.iter().map(|(_, line)| Line::of_console(line, None)));
        if now < self.meddles_at {
            return;
        }
        self.meddles_at = now + OCCASION;
        if self.device.settings.quirks.fires(Quirk::ChangedBehind, now) {
            let lines = self.mischief();
            self.waiting.extend(lines.iter().map(|line| Line::of_console(line, None)));
        }
    }

    /// What the other hand types: it takes away, switches off or adds.
    fn mischief(&self) -> Vec<String> {
        let quirks = &self.device.settings.quirks;
        let config = &self.device.config;
        let foreign = || {
            let n = 1 + quirks.pick(250);
            vec![format!("server real foreign{n} 198.51.100.{n}"), "port 80".to_owned()]
        };
        let Some((server, port, real, real_port)) = self.some_binding(quirks.pick(config.bind_count())) else {
            return foreign();
        };
        match quirks.pick(4) {
            0 => vec![format!("server virtual {server}"), format!("no bind {port} {real} {real_port}")],
            1 => vec![format!("server real {real}"), format!("port {real_port} disable")],
            2 => vec![format!("server real {real}"), format!("weight {}", 1 + quirks.pick(99))],
            _ => foreign(),
        }
    }

    fn some_binding(&self, n: usize) -> Option<(Name, Port, Name, Port)> {
        let servers = self.device.config.virtuals();
        let ports = servers.flat_map(|(name, server)| server.ports.iter().map(move |(port, row)| (name, *port, row)));
        let mut binds = ports.flat_map(|(name, port, row)| row.binds.iter().map(move |(pair, ())| (name, port, pair)));
        binds.nth(n).map(|(name, port, (real, real_port))| (name.clone(), port, real.clone(), *real_port))
    }
}

/// Changes a digit of some row.
fn lie(text: &mut [String], quirks: &Quirks) {
    let rows: Vec<usize> = (0..text.len()).filter(|n| text[*n].bytes().any(|byte| byte.is_ascii_digit())).collect();
    let Some(row) = rows.get(quirks.pick(rows.len())) else { return };
    let digits: Vec<(usize, char)> = text[*row].char_indices().filter(|(_, c)| c.is_ascii_digit()).collect();
    if let Some((at, digit)) = digits.get(quirks.pick(digits.len())) {
        let other = if *digit == '9' { "0".to_owned() } else { char::from(*digit as u8 + 1).to_string() };
        text[*row].replace_range(at..&(at + 1), &other);
    }
}
