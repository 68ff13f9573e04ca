//! The chassis as the terminals see it.

use std::time::Duration;

use super::access::Level;
use super::hand::What;
use super::mode::Mode;
use super::session::Session;
use super::{CONSOLE, Chassis};
use crate::commands::{self, Question};
use crate::screens::Text;
use crate::shell::{Completion, Echo, LoginAnswer, LoginAsks, Origin, Reply, SessionId, Shell, Transport};
use crate::time::Time;

/// Wrong passwords at the login until the device hangs up.
const LOGIN_FAILURES_MAX: u32 = 3;

/// Wrong passwords at `enable` until it does. Clients that are in use try three times and expect an answer each time.
const ENABLE_FAILURES_MAX: u32 = 5;

impl Shell for Chassis {
    fn connect(&mut self, origin: Origin, now: Time) -> Result<SessionId, String> {
        let logged_in = self.device.sessions.values().filter(|session| session.logged_in).count();
        if logged_in >= self.device.settings.sessions_max {
            return Err(self.device.templates.word(Text::TooManySessions, &[]));
        }
        let id = SessionId(self.next_session);
        self.next_session = self.next_session.wrapping_add(1).max(1);
        self.device.sessions.insert(id, Session::new(Some(origin), now));
        Ok(id)
    }

    fn disconnect(&mut self, session: SessionId, _now: Time) {
        if session != CONSOLE {
            self.device.sessions.remove(&session);
            self.waiting.retain(|line| line.session != session);
        }
    }

    fn login_asks(&self, _session: SessionId) -> LoginAsks {
        self.device.access.login
    }

    fn log_in(&mut self, session: SessionId, name: &str, password: &str, now: Time) -> LoginAnswer {
        let right = self.device.access.log_in(name, password).map(|user| user.map(|user| user.level));
        match right {
            Some(level) => {
                self.welcome(session, name, level, now);
                LoginAnswer::Welcome
            }
            None => match self.failed(session, LOGIN_FAILURES_MAX) {
                Failures::Few => LoginAnswer::Wrong,
                Failures::Enough => LoginAnswer::Enough,
            },
        }
    }

    fn admit(&mut self, session: SessionId, name: &str, now: Time) {
        let level = self.device.access.users.iter().find(|user| user.name == name).map(|user| user.level);
        self.welcome(session, name, level, now);
    }

    fn prompt(&self, session: SessionId) -> String {
        let (mode, _) = self.device.standing(session);
        let origin = self.device.sessions.get(&session).and_then(|session| session.origin);
        let transport = origin.map_or(Transport::Telnet, |origin| origin.transport);
        let glued = self.device.sessions.get(&session).map_or("", |session| session.glued.as_str());
        format!("{glued}{}", mode.prompt(&self.device.settings.prompt_prefix, transport, &self.device.host))
    }

    fn submit(&mut self, session: SessionId, line: &str, now: Time) -> Reply {
        if let Some(session) = self.device.sessions.get_mut(&session) {
            session.last_input = now;
            session.glued.clear();
        }
        self.take(session, What::Typed(line.to_owned()), now).unwrap_or(Reply::Pending)
    }

    fn answer(&mut self, session: SessionId, line: &str, now: Time) -> Reply {
        let Some(question) = self.device.sessions.get_mut(&session).and_then(|session| session.question.take()) else {
            return Reply::Done(Vec::new());
        };
        match question {
            Question::EnableName => {
                let asked = Question::EnablePassword(Some(line.to_owned()));
                let question = self.device.templates.word(Text::EnablePassword, &[]);
                if let Some(session) = self.device.sessions.get_mut(&session) {
                    session.question = Some(asked);
                }
                Reply::Ask { text: Vec::new(), question, echo: Echo::Secret }
            }
            Question::EnablePassword(user) => {
                let access = &self.device.access;
                let level = match &user {
                    Some(name) => access.user(name, line).map(|user| user.level),
                    None => access.enable(line),
                };
                match (level, level.is_none().then(|| self.failed(session, ENABLE_FAILURES_MAX))) {
                    (Some(level), _) => {
                        self.device.promote(session, Some(level));
                        Reply::Done(Vec::new())
                    }
                    (None, Some(Failures::Enough)) => Reply::Close(self.device.templates.lines(Text::EnableWrong, &[])),
                    (None, _) => Reply::Done(self.device.templates.lines(Text::EnableWrong, &[])),
                }
            }
            Question::Reload if line.trim_start().to_ascii_lowercase().starts_with('y') => {
                self.take(session, What::Reload, now).unwrap_or(Reply::Pending)
            }
            Question::Reload => Reply::Done(Vec::new()),
        }
    }

    fn interrupt(&mut self, session: SessionId, key: char, _now: Time) -> Reply {
        if let Some(session) = self.device.sessions.get_mut(&session) {
            session.question = None;
            if key == 'Z' && session.mode.is_config() {
                session.mode = Mode::Privileged;
            }
        }
        Reply::Done(Vec::new())
    }

    fn poll(&mut self, session: SessionId, now: Time) -> Option<Reply> {
        self.work(now);
        let session = self.device.sessions.get_mut(&session)?;
        session.reply.take_if(|(at, _)| *at <= now).map(|(_, reply)| reply)
    }

    fn notices(&mut self, session: SessionId, now: Time) -> Vec<String> {
        self.work(now);
        let Some(session) = self.device.sessions.get_mut(&session) else { return Vec::new() };
        let due = session.notices.partition_point(|(at, _)| *at <= now);
        session.notices.drain(..due).map(|(_, text)| text).collect()
    }

    fn help(&self, session: SessionId, line: &str) -> Vec<String> {
        let hints = commands::with_grammar(&self.device, session, |grammar| grammar.hints(line));
        if hints.is_empty() {
            return self.device.templates.lines(Text::Unrecognized, &[]);
        }
        hints.iter().map(ToString::to_string).collect()
    }

    fn complete(&self, session: SessionId, line: &str) -> Completion {
        let hints = commands::with_grammar(&self.device, session, |grammar| grammar.hints(line));
        let begun = line.rsplit(char::is_whitespace).next().unwrap_or_default();
        match hints.as_slice() {
            [only] if only.literal && !begun.is_empty() => {
                Completion::Rest(format!("{} ", only.word.get(begun.len()..).unwrap_or_default()))
            }
            _ => Completion::Lines(self.help(session, line)),
        }
    }

    fn pages(&self, session: SessionId) -> bool {
        self.device.sessions.get(&session).is_none_or(|session| session.pages)
    }

    fn idle_limit(&self, _session: SessionId) -> Option<Duration> {
        let line = self.device.config.system().get("telnet timeout");
        match line.and_then(|line| line.rsplit(' ').next()?.parse::<u64>().ok()) {
            Some(0) => None,
            Some(minutes) => Some(Duration::from_secs(60 * minutes)),
            None => self.device.settings.idle_limit,
        }
    }

    fn is_ended(&self, session: SessionId) -> bool {
        self.device.sessions.get(&session).is_none_or(|session| session.ended)
    }

    fn next_deadline(&self) -> Option<Time> {
        let sessions = self.device.sessions.values();
        let own = sessions.flat_map(|session| {
            let reply = session.reply.as_ref().map(|(at, _)| *at);
            reply.into_iter().chain(session.notices.front().map(|(at, _)| *at))
        });
        own.chain(self.device.balancer.next_deadline()).chain(self.next_meddling()).min()
    }
}

enum Failures {
    Few,
    Enough,
}

impl Chassis {
    fn welcome(&mut self, session: SessionId, name: &str, level: Option<Level>, now: Time) {
        let privileged = self.device.access.login_is_privileged;
        self.device.log(now, format_args!("login{}{name}", if name.is_empty() { "" } else { " by " }));
        let Some(session) = self.device.sessions.get_mut(&session) else { return };
        session.user = (!name.is_empty()).then(|| name.to_owned());
        session.level = level.unwrap_or(Level::SUPER_USER);
        session.mode = if privileged { Mode::Privileged } else { Mode::User };
        session.logged_in = true;
        session.failures = 0;
        session.last_input = now;
    }

    fn failed(&mut self, session: SessionId, max: u32) -> Failures {
        let Some(session) = self.device.sessions.get_mut(&session) else { return Failures::Enough };
        session.failures += 1;
        if session.failures < max { Failures::Few } else { Failures::Enough }
    }
}
