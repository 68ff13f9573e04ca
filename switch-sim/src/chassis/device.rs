//! What the commands of all sessions work on.

use std::collections::BTreeMap;

use super::Settings;
use super::access::{Access, Level};
use super::flash::Flash;
use super::mode::Mode;
use super::session::Session;
use crate::screens::{Templates, Text, running_config};
use crate::shell::SessionId;
use crate::slb::balancer::SlbBox;
use crate::slb::config::Config;

/// See the module.
pub(crate) struct Device {
    pub(crate) settings: Settings,
    pub(crate) host: String,
    pub(crate) config: Config,
    pub(crate) access: Access,
    pub(crate) balancer: Box<dyn SlbBox>,
    pub(crate) templates: Templates,
    pub(crate) flash: Box<dyn Flash>,
    pub(crate) sessions: BTreeMap<SessionId, Session>,
}

impl Device {
    /// Where a session stands and what it may do.
    pub(crate) fn standing(&self, session: SessionId) -> (&Mode, Level) {
        self.sessions.get(&session).map_or((&Mode::User, Level::READ_ONLY), |session| (&session.mode, session.level))
    }

    /// Whether `privilege exec level N COMMAND` lets this level use a command.
    pub(crate) fn access_exceptions(&self, _pattern: &str, _level: Level) -> bool {
        false
    }

    /// `enable` was right: the session is at `#` with this level.
    pub(crate) fn promote(&mut self, session: SessionId, level: Level) {
        if let Some(session) = self.sessions.get_mut(&session) {
            session.level = level;
            session.mode = Mode::Privileged;
            session.failures = 0;
        }
    }

    pub(crate) fn set_paging(&mut self, session: SessionId, pages: bool) {
        if let Some(session) = self.sessions.get_mut(&session) {
            session.pages = pages;
        }
    }

    /// The configuration in force, as a file has it.
    fn body(&self) -> Vec<String> {
        let mut lines = vec!["!".to_owned(), "ver 07.3.04T12".to_owned(), "!".to_owned()];
        lines.extend(running_config::slb(&self.config, self.settings.personality, self.balancer.as_ref()));
        lines.push(format!("hostname {}", self.host));
        lines.push("!".into());
        lines.push("end".into());
        lines
    }

    /// `show running-config`.
    pub(crate) fn running_config(&self) -> Vec<String> {
        let body = self.body();
        let bytes: usize = body.iter().map(|line| line.len() + 1).sum();
        let mut screen = vec!["Building configuration...".to_owned(), format!("Current configuration : {bytes} bytes")];
        screen.extend(body);
        screen
    }

    /// `write memory`.
    pub(crate) fn save(&mut self) -> Vec<String> {
        let mut text = self.body().join("\n");
        text.push('\n');
        match self.flash.save(&text) {
            Ok(()) => self.templates.lines(Text::WriteMemory, &[]),
            Err(why) => self.templates.lines(Text::Failed, &[&why]),
        }
    }
}
