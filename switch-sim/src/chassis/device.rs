//! What the commands of all sessions work on.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt::Display;

use super::access::{Access, Level, Masked};
use super::flash::Flash;
use super::mode::Mode;
use super::session::Session;
use super::witness::Deed;
use super::{CONSOLE, Settings};
use crate::screens::{Templates, Text, running_config};
use crate::shell::SessionId;
use crate::slb::balancer::SlbBox;
use crate::slb::change::Change;
use crate::slb::config::Config;
use crate::slb::words::Name;
use crate::time::Time;

/// Lines of log that the device keeps.
const LOG_MAX: usize = 50;

/// See the module.
pub(crate) struct Device {
    pub(crate) settings: Settings,
    pub(crate) host: String,
    pub(crate) config: Config,
    pub(crate) access: Access,
    pub(crate) balancer: Box<dyn SlbBox>,
    pub(crate) templates: Templates,
    pub(crate) flash: Box<dyn Flash>,
    /// What `show configuration` prints.
    pub(crate) saved: Vec<String>,
    pub(crate) sessions: BTreeMap<SessionId, Session>,
    /// Who deleted a real server that is still leaving: he is told when it has gone.
    pub(crate) deleters: HashMap<Name, SessionId>,
    pub(crate) log: VecDeque<(Time, String)>,
    pub(crate) chance: fastrand::Rng,
    pub(crate) booted_at: Time,
}

impl Device {
    /// Where a session stands and what it may do.
    pub(crate) fn standing(&self, session: SessionId) -> (&Mode, Level) {
        self.sessions.get(&session).map_or((&Mode::User, Level::READ_ONLY), |session| (&session.mode, session.level))
    }

    /// Whether `privilege exec level N COMMAND` lets this level use a command.
    pub(crate) fn is_opened_for(&self, pattern: &str, level: Level) -> bool {
        let lines = self.config.system().iter().filter_map(|(_, line)| line.strip_prefix("privilege exec level "));
        let opened = lines.filter_map(|line| line.split_once(' '));
        opened
            .into_iter()
            .any(|(to, command)| to.parse::<u8>().is_ok_and(|to| level.0 <= to) && pattern.starts_with(command.trim()))
    }

    /// `enable` was right: the session is at `#`, with this level or the one of its user.
    pub(crate) fn promote(&mut self, session: SessionId, level: Option<Level>) {
        if let Some(session) = self.sessions.get_mut(&session) {
            session.level = level.unwrap_or(session.level);
            session.mode = Mode::Privileged;
            session.failures = 0;
        }
    }

    pub(crate) fn set_paging(&mut self, session: SessionId, pages: bool) {
        if let Some(session) = self.sessions.get_mut(&session) {
            session.pages = pages;
        }
    }

    /// A text that stands before the next prompt, without a line end.
    pub(crate) fn glue(&mut self, session: SessionId, text: String) {
        if let Some(session) = self.sessions.get_mut(&session) {
            session.glued = text;
        }
    }

    /// Tells the witness what a session did.
    pub(crate) fn witness(&mut self, by: SessionId, deed: &Deed<'_>, now: Time) {
        let by = Some(by).filter(|by| *by != CONSOLE);
        if let Some(witness) = &mut self.settings.witness {
            witness.see(by, deed, now);
        }
    }

    /// Tells the witness of a change that was applied.
    pub(crate) fn witness_change(&mut self, by: SessionId, change: &Change, now: Time) {
        let by = Some(by).filter(|by| *by != CONSOLE);
        if let Some(witness) = &mut self.settings.witness {
            let deed = Deed::Changed { change, config: &self.config, balancer: self.balancer.as_ref() };
            witness.see(by, &deed, now);
        }
    }

    /// A line for `show logging`.
    pub(crate) fn log(&mut self, now: Time, text: impl Display) {
        if self.log.len() == LOG_MAX {
            self.log.pop_front();
        }
        self.log.push_back((now, text.to_string()));
    }

    /// A screen without anything of this moment.
    pub(crate) fn text(&self, text: Text) -> Vec<String> {
        self.templates.lines(text, &[])
    }

    /// The configuration in force, as a file has it.
    fn body(&self, masked: Masked) -> Vec<String> {
        let mut lines = vec!["!".to_owned()];
        self.templates.write(&mut lines, Text::RunningVersion, &[]);
        lines.push("!".into());
        lines.extend(running_config::slb(&self.config, self.settings.personality, self.balancer.as_ref()));
        lines.extend(self.access.lines(masked));
        lines.push(format!("hostname {}", self.host));
        lines.push("!".into());
        lines.push("end".into());
        lines
    }

    fn with_head(&self, head: Text, body: Vec<String>) -> Vec<String> {
        let bytes: usize = body.iter().map(|line| line.len() + 1).sum();
        let mut screen = self.templates.lines(head, &[&bytes]);
        screen.extend(body);
        screen
    }

    /// `show running-config`.
    pub(crate) fn running_config(&self) -> Vec<String> {
        self.with_head(Text::RunningHead, self.body(Masked::Yes))
    }

    /// `write memory`.
    pub(crate) fn save(&mut self, by: SessionId, now: Time) -> Vec<String> {
        let mut text = self.body(Masked::No).join("\n");
        text.push('\n');
        match self.flash.save(&text) {
            Ok(()) => {
                self.witness(by, &Deed::Saved, now);
                self.saved = self.with_head(Text::StartupHead, self.body(Masked::Yes));
                self.text(Text::WriteMemory)
            }
            Err(why) => self.templates.lines(Text::Failed, &[&why]),
        }
    }

    /// What the start-up file says, with its passwords hidden: for `show configuration`.
    pub(crate) fn show_saved(&mut self, text: Option<&str>) {
        self.saved = match text {
            None => self.text(Text::StartupNone),
            Some(text) => self.with_head(Text::StartupHead, text.lines().map(masked).collect()),
        };
    }
}

/// A line of the start-up file without the password in it.
fn masked(line: &str) -> String {
    let words: Vec<&str> = line.split_whitespace().collect();
    let secret = match words.as_slice() {
        ["enable", which, ..] if which.ends_with("password") => Some(2),
        ["enable", "telnet", "password", ..] => Some(3),
        ["username", ..] => words.iter().position(|word| *word == "password").map(|at| at + 1),
        _ => None,
    };
    match secret {
        Some(at) if at < words.len() => format!("{} {}", words[..at].join(" "), Masked::STARS),
        _ => line.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn saved_passwords_are_not_shown() {
        assert_eq!(masked("enable super-user-password 8 ab$cd"), "enable super-user-password .....");
        assert_eq!(masked("enable telnet password plain"), "enable telnet password .....");
        assert_eq!(masked("username u privilege 5 password 8 ab$cd"), "username u privilege 5 password .....");
        assert_eq!(masked("username u nopassword"), "username u nopassword");
        assert_eq!(masked(" port http url \"HEAD /\""), " port http url \"HEAD /\"");
    }
}
