//! The one hand of the device: takes lines one after the other, and waits for the box where a line needs it.

use super::mode::Mode;
use super::session::Session;
use super::witness::Deed;
use super::{BadLine, CONSOLE, Chassis};
use crate::commands::{self, Action, Call, Step, Trouble};
use crate::grammar::{Found, NotACommand};
use crate::quirk::Quirk;
use crate::screens::{self, Text};
use crate::shell::{Reply, SessionId};
use crate::slb::balancer::{Event, Submitted, Ticket};
use crate::slb::change::{Change, Checked, Refusal};
use crate::time::Time;

/// Something that waits for its turn.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) session: SessionId,
    pub(super) what: What,
    /// Its number in the start-up file.
    pub(super) number: Option<usize>,
    /// Its answer is not given before.
    pub(super) answer_at: Time,
}

#[derive(Debug)]
pub(super) enum What {
    /// A line that was typed.
    Typed(String),
    /// `reload`, and a `y`.
    Reload,
}

impl Line {
    /// A line of the start-up file, or of another hand than the sessions'.
    pub(super) fn of_console(text: &str, number: Option<usize>) -> Line {
        Line { session: CONSOLE, what: What::Typed(text.to_owned()), number, answer_at: Time::ZERO }
    }
}

/// The line whose turn it is, while the box works on it.
pub(super) struct Running {
    line: Line,
    ticket: Ticket,
    then: Then,
}

impl Running {
    pub(super) fn session(&self) -> SessionId {
        self.line.session
    }
}

/// What follows when the box has agreed.
enum Then {
    /// The change is applied.
    Apply { change: Change, mode: Option<Mode>, notice: Vec<String> },
    /// The screen is printed.
    Print { found: Found<Action>, screen: fn(&Call<'_>) -> Vec<String> },
    /// The device starts anew.
    Restart,
}

/// Lines of the start-up file that are reported.
const BAD_LINES_MAX: usize = 1_000;

impl Chassis {
    /// Takes a line; `None` if its answer comes later.
    pub(super) fn take(&mut self, session: SessionId, what: What, now: Time) -> Option<Reply> {
        self.work(now);
        let quirks = &self.device.settings.quirks;
        let slow = quirks.fires(Quirk::SlowCommand, now).then(|| quirks.span(Quirk::SlowCommand));
        let line = Line { session, what, number: None, answer_at: now + slow.unwrap_or_default() };
        if self.running.is_some() || !self.waiting.is_empty() {
            self.waiting.push_back(line);
            return None;
        }
        match self.begin(line, now) {
            Some((line, reply)) if line.answer_at > now => {
                self.hand_over(line, reply, now);
                None
            }
            done => done.map(|(_, reply)| reply),
        }
    }

    /// Does everything that can be done now.
    pub(super) fn work(&mut self, now: Time) {
        self.now = self.now.max(now);
        self.hear(now);
        self.meddle(now);
        loop {
            if let Some(running) = self.running.take() {
                let Some(outcome) = self.device.balancer.poll(running.ticket, now) else {
                    self.running = Some(running);
                    return;
                };
                let reply = self.finish(&running.line, running.then, outcome, now);
                self.hand_over(running.line, reply, now);
            }
            let Some(line) = self.waiting.pop_front() else { break };
            if let Some((line, reply)) = self.begin(line, now) {
                self.hand_over(line, reply, now);
            }
        }
        self.amend(now);
    }

    /// Begins a line whose turn it is; `None` if the box works on it now.
    fn begin(&mut self, line: Line, now: Time) -> Option<(Line, Reply)> {
        let What::Typed(text) = &line.what else {
            let submitted = self.device.balancer.restart(&self.device.config, now);
            return self.wait(line, submitted, Then::Restart, now);
        };
        let read = commands::with_grammar(&self.device, line.session, |grammar| grammar.read(text));
        let found = match read {
            Ok(found) => found,
            Err(why) => return Some((line, Reply::Done(self.not_a_command(&why)))),
        };
        let mut call = Call { device: &mut self.device, session: line.session, found: &found, now };
        let step = match call.run() {
            Ok(step) => step,
            Err(trouble) => return Some((line, Reply::Done(self.trouble(trouble)))),
        };
        let reply = match step {
            Step::Say(text) => Reply::Done(text),
            Step::Enter(mode) => self.enter(line.session, mode),
            Step::Close => Reply::Close(Vec::new()),
            Step::Ask { question, echo, asked } => {
                self.session(line.session, |session| session.question = Some(asked));
                Reply::Ask { text: Vec::new(), question, echo }
            }
            Step::Change(change, mode) => return self.change(line, change, mode, Vec::new(), now),
            Step::ChangeAndSay(change, notice) => return self.change(line, change, None, notice, now),
            Step::Show(screen) => {
                let submitted = self.device.balancer.refresh(&self.device.config, now);
                return self.wait(line, submitted, Then::Print { found, screen }, now);
            }
        };
        Some((line, reply))
    }

    fn change(
        &mut self,
        line: Line,
        change: Change,
        mode: Option<Mode>,
        notice: Vec<String>,
        now: Time,
    ) -> Option<(Line, Reply)> {
        match self.device.config.check(&change) {
            Err(refusal) => Some((line, Reply::Done(self.trouble(refusal.into())))),
            Ok(Checked::AlreadySo) => {
                if let Some(mode) = mode {
                    self.enter(line.session, mode);
                }
                Some((line, Reply::Done(notice)))
            }
            Ok(Checked::Needed) => {
                let submitted = self.device.balancer.submit(&change, &self.device.config, now);
                self.wait(line, submitted, Then::Apply { change, mode, notice }, now)
            }
        }
    }

    fn wait(&mut self, line: Line, submitted: Submitted, then: Then, now: Time) -> Option<(Line, Reply)> {
        match submitted {
            Submitted::Done(outcome) => {
                let reply = self.finish(&line, then, outcome, now);
                Some((line, reply))
            }
            Submitted::Later(ticket) => {
                self.running = Some(Running { line, ticket, then });
                None
            }
        }
    }

    /// The box has answered.
    fn finish(&mut self, line: &Line, then: Then, outcome: Result<(), Refusal>, now: Time) -> Reply {
        if let Err(refusal) = outcome {
            return Reply::Done(self.trouble(refusal.into()));
        }
        match then {
            Then::Apply { change, mode, notice } => {
                self.device.config.apply(&change);
                if let Change::RemoveReal { name } = &change {
                    self.device.deleters.insert(name.clone(), line.session);
                }
                self.hear(now);
                self.device.witness_change(line.session, &change, now);
                if let Some(mode) = mode {
                    self.enter(line.session, mode);
                }
                Reply::Done(notice)
            }
            Then::Print { found, screen } => {
                self.amend(now);
                let call = Call { device: &mut self.device, session: line.session, found: &found, now };
                let text = screen(&call);
                self.device.witness(line.session, &Deed::Shown(found.row.pattern), now);
                Reply::Done(self.falsified(found.row.pattern, text, now))
            }
            Then::Restart => {
                self.restart(line.session, now);
                Reply::Close(Vec::new())
            }
        }
    }

    fn enter(&mut self, session: SessionId, mode: Mode) -> Reply {
        self.session(session, |session| session.mode = mode);
        Reply::Done(Vec::new())
    }

    /// Gives an answer to the session that waits for it.
    fn hand_over(&mut self, line: Line, reply: Reply, now: Time) {
        if let (Some(number), Reply::Done(said), What::Typed(text)) = (line.number, &reply, &line.what) {
            if !said.is_empty() && self.bad_lines.len() < BAD_LINES_MAX {
                self.bad_lines.push(BadLine { number, text: text.clone(), said: said.join(" / ") });
            }
        } else if line.session != CONSOLE {
            self.session(line.session, |session| session.reply = Some((line.answer_at.max(now), reply)));
        }
    }

    pub(super) fn session(&mut self, id: SessionId, change: impl FnOnce(&mut Session)) {
        if let Some(session) = self.device.sessions.get_mut(&id) {
            change(session);
        }
    }

    /// What the box tells of its own accord.
    fn hear(&mut self, now: Time) {
        for event in self.device.balancer.events(now) {
            match event {
                Event::RealDeleted(name) => {
                    self.device.config.apply(&Change::ForgetReal { name: name.clone() });
                    let text = self.device.templates.word(Text::Deleted, &[&name]);
                    self.device.log(now, &text);
                    let at = now + self.device.settings.quirks.span(Quirk::LateDeletion);
                    if let Some(deleter) = self.device.deleters.remove(&name) {
                        self.session(deleter, |session| session.notify(at, text));
                    }
                }
                Event::RealPortDeleted(real, port) => {
                    self.device.config.apply(&Change::ForgetRealPort { real, port });
                }
                Event::Log(text) => self.device.log(now, text),
            }
        }
    }

    /// What happened to the box behind the command line's back.
    fn amend(&mut self, now: Time) {
        for change in self.device.balancer.amendments(&self.device.config, now) {
            self.device.config.apply(&change);
        }
    }

    fn not_a_command(&self, why: &NotACommand) -> Vec<String> {
        let templates = &self.device.templates;
        match why {
            NotACommand::Empty => Vec::new(),
            NotACommand::Invalid(input) => templates.lines(Text::Invalid, &[input]),
            NotACommand::Ambiguous(input) => templates.lines(Text::Ambiguous, &[input]),
            NotACommand::Incomplete => templates.lines(Text::Incomplete, &[]),
        }
    }

    fn trouble(&self, trouble: Trouble) -> Vec<String> {
        match trouble {
            Trouble::Incomplete => self.not_a_command(&NotACommand::Incomplete),
            Trouble::Refused(refusal) => screens::refusal(&self.device.templates, &refusal),
            Trouble::Said(text) => text,
        }
    }
}
