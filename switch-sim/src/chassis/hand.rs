//! The one hand of the device: takes lines one after the other, and waits for the box where a line needs it.

use super::mode::Mode;
use super::session::Session;
use super::{BadLine, CONSOLE, Chassis};
use crate::commands::{self, Action, Call, Step, Trouble};
use crate::grammar::{Found, NotACommand};
use crate::quirk::Quirk;
use crate::screens::{self, Text};
use crate::shell::{Reply, SessionId};
use crate::slb::balancer::{Event, Submitted, Ticket};
use crate::slb::change::{Change, Checked, Refusal};
use crate::time::Time;

/// A line that waits for its turn.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) session: SessionId,
    pub(super) text: String,
    /// Its number in the start-up file.
    number: Option<usize>,
}

/// The line whose turn it is, while the box works on it.
pub(super) struct Running {
    line: Line,
    ticket: Ticket,
    then: Then,
}

impl Running {
    pub(super) fn is_console(&self) -> bool {
        self.line.session == CONSOLE
    }
}

/// What follows when the box has agreed.
enum Then {
    /// The change is applied.
    Apply { change: Change, mode: Option<Mode> },
    /// The screen is printed.
    Print { found: Found<Action>, screen: fn(&Call<'_>) -> Vec<String> },
    /// The device starts anew.
    Restart,
}

/// Lines of the start-up file that are reported.
const BAD_LINES_MAX: usize = 1_000;

impl Chassis {
    /// Takes a line; `None` if its answer comes later.
    pub(super) fn take(&mut self, session: SessionId, text: &str, now: Time) -> Option<Reply> {
        self.work(now);
        let line = Line { session, text: text.to_owned(), number: None };
        if self.running.is_some() || !self.waiting.is_empty() {
            self.waiting.push_back(line);
            return None;
        }
        self.begin(line, now)
    }

    /// Does everything that can be done now.
    pub(super) fn work(&mut self, now: Time) {
        self.hear(now);
        loop {
            if let Some(running) = self.running.take() {
                match self.device.balancer.poll(running.ticket, now) {
                    None => {
                        self.running = Some(running);
                        return;
                    }
                    Some(outcome) => {
                        let reply = self.finish(&running.line, running.then, outcome, now);
                        self.hand_over(running.line, reply, now);
                    }
                }
            }
            let Some(line) = self.waiting.pop_front() else { break };
            if let Some(reply) = self.begin(Line { text: line.text.clone(), ..line }, now) {
                let line = Line { session: line.session, text: line.text, number: line.number };
                self.hand_over(line, reply, now);
            }
        }
        self.amend(now);
    }

    /// Begins a line whose turn it is; `None` if the box works on it now.
    fn begin(&mut self, line: Line, now: Time) -> Option<Reply> {
        let read = commands::with_grammar(&self.device, line.session, |grammar| grammar.read(&line.text));
        let found = match read {
            Ok(found) => found,
            Err(why) => return Some(Reply::Done(self.not_a_command(&why))),
        };
        let mut call = Call { device: &mut self.device, session: line.session, found: &found, now };
        let step = match call.run() {
            Ok(step) => step,
            Err(trouble) => return Some(Reply::Done(self.trouble(trouble))),
        };
        match step {
            Step::Say(text) => Some(Reply::Done(text)),
            Step::Enter(mode) => Some(self.enter(line.session, mode)),
            Step::Close => Some(Reply::Close(Vec::new())),
            Step::Ask { question, echo, asked } => {
                self.session(line.session, |session| session.question = Some(asked));
                Some(Reply::Ask { text: Vec::new(), question, echo })
            }
            Step::Change(change, mode) => match self.device.config.check(&change) {
                Err(refusal) => Some(Reply::Done(self.trouble(refusal.into()))),
                Ok(Checked::AlreadySo) => {
                    Some(mode.map_or(Reply::Done(Vec::new()), |mode| self.enter(line.session, mode)))
                }
                Ok(Checked::Needed) => {
                    let submitted = self.device.balancer.submit(&change, &self.device.config, now);
                    self.wait(line, submitted, Then::Apply { change, mode }, now)
                }
            },
            Step::Show(screen) => {
                let submitted = self.device.balancer.refresh(&self.device.config, now);
                self.wait(line, submitted, Then::Print { found, screen }, now)
            }
            Step::Reload => {
                let submitted = self.device.balancer.restart(&self.device.config, now);
                self.wait(line, submitted, Then::Restart, now)
            }
        }
    }

    fn wait(&mut self, line: Line, submitted: Submitted, then: Then, now: Time) -> Option<Reply> {
        match submitted {
            Submitted::Done(outcome) => Some(self.finish(&line, then, outcome, now)),
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
            Then::Apply { change, mode } => {
                self.device.config.apply(&change);
                self.hear(now);
                mode.map_or(Reply::Done(Vec::new()), |mode| self.enter(line.session, mode))
            }
            Then::Print { found, screen } => {
                self.amend(now);
                let call = Call { device: &mut self.device, session: line.session, found: &found, now };
                Reply::Done(screen(&call))
            }
            Then::Restart => Reply::Close(Vec::new()),
        }
    }

    fn enter(&mut self, session: SessionId, mode: Mode) -> Reply {
        self.session(session, |session| session.mode = mode);
        Reply::Done(Vec::new())
    }

    /// Gives an answer to the session that waits for it.
    fn hand_over(&mut self, line: Line, reply: Reply, now: Time) {
        if let (Some(number), Reply::Done(said)) = (line.number, &reply)
            && !said.is_empty()
            && self.bad_lines.len() < BAD_LINES_MAX
        {
            let said = said.join(" / ");
            self.bad_lines.push(BadLine { number, text: line.text, said });
            return;
        }
        if line.session != CONSOLE {
            self.session(line.session, |session| session.reply = Some((now, reply)));
        }
    }

    fn session(&mut self, id: SessionId, change: impl FnOnce(&mut Session)) {
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
                    let at = now + self.device.settings.quirks.span(Quirk::LateDeletion);
                    let text = self.device.templates.word(Text::Deleted, &[&name]);
                    for (_, session) in self.device.sessions.iter_mut().filter(|(id, _)| **id != CONSOLE) {
                        session.notify(at, text.clone());
                    }
                }
                Event::RealPortDeleted(real, port) => {
                    self.device.config.apply(&Change::ForgetRealPort { real, port });
                }
                Event::Log(_) => {}
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

    /// Reads the start-up file. Bindings come last: a file may name virtual servers before real ones.
    pub(super) fn boot(&mut self, now: Time) {
        self.session(CONSOLE, |session| session.mode = Mode::Config);
        let text = match self.device.flash.load() {
            Ok(text) => text.unwrap_or_default(),
            Err(why) => {
                let said = format!("the start-up file cannot be read: {why}");
                self.bad_lines.push(BadLine { number: 0, text: String::new(), said });
                String::new()
            }
        };
        let mut block = "";
        let mut late = Vec::new();
        let mut late_block = "";
        for (at, line) in text.lines().enumerate() {
            let words = line.trim();
            let line = |text: &str| Line { session: CONSOLE, text: text.to_owned(), number: Some(at + 1) };
            if words.is_empty() || words.starts_with('!') || is_heading(words) {
                continue;
            }
            if words == "end" {
                break;
            }
            if words.starts_with("server virtual") {
                block = words;
            }
            if words.starts_with("bind ") {
                if late_block != block {
                    late_block = block;
                    let name = block.split_whitespace().nth(2).unwrap_or_default();
                    late.push(line(&format!("server virtual {name}")));
                }
                late.push(line(words));
            } else {
                self.waiting.push_back(line(words));
            }
        }
        self.waiting.extend(late);
        self.work(now);
    }
}

/// Lines of a configuration that say nothing: which version wrote it, and what a screen puts before it.
fn is_heading(line: &str) -> bool {
    ["ver ", "module ", "Building configuration", "Current configuration", "Startup-config data"]
        .iter()
        .any(|heading| line.starts_with(heading))
}
