//! A desk in front of the chassis: lines in, texts out, in virtual time. No terminal is between them; the terminal's
//! own tests put one there.
#![allow(dead_code, reason = "each test uses its part")]

use std::time::Duration;

use switch_sim::chassis::{Chassis, Settings};
use switch_sim::personality::Personality;
use switch_sim::shell::{Origin, Reply, SessionId, Shell, Transport};
use switch_sim::simbox::{Action, Levers, SimSettings, SimulatedBox};
use switch_sim::slb::balancer::SlbBox;
use switch_sim::time::Time;

pub(crate) struct Desk {
    pub(crate) chassis: Chassis,
    pub(crate) session: SessionId,
    pub(crate) now: Time,
    asked: Option<String>,
    pub(crate) closed: bool,
}

impl Desk {
    pub(crate) fn new(settings: Settings, balancer: Box<dyn SlbBox>) -> Desk {
        Desk::at(Chassis::new(settings, balancer))
    }

    /// A box of this personality without quirks and passwords.
    pub(crate) fn plain(personality: Personality) -> Desk {
        Desk::new(Settings::new(personality), Box::new(SimulatedBox::new(SimSettings::new(personality))))
    }

    pub(crate) fn at(mut chassis: Chassis) -> Desk {
        let origin = Origin { transport: Transport::Telnet, peer: None };
        let session = chassis.connect(origin, Time::ZERO).expect("room for a session");
        Desk { chassis, session, now: Time::ZERO, asked: None, closed: false }
    }

    /// A session that is there already.
    pub(crate) fn in_session(chassis: Chassis, session: SessionId) -> Desk {
        Desk { chassis, session, now: Time::ZERO, asked: None, closed: false }
    }

    /// Hangs up and connects again.
    pub(crate) fn reconnect(&mut self) {
        self.chassis.disconnect(self.session, self.now);
        self.session = self.other_session();
        (self.asked, self.closed) = (None, false);
    }

    /// Another session beside this one.
    pub(crate) fn other_session(&mut self) -> SessionId {
        let origin = Origin { transport: Transport::Telnet, peer: None };
        self.chassis.connect(origin, self.now).expect("room for a session")
    }

    /// The question was given up.
    pub(crate) fn forget_question(&mut self) {
        self.asked = None;
    }

    /// At `(config)#`.
    pub(crate) fn configuring(personality: Personality) -> Desk {
        let mut desk = Desk::plain(personality);
        desk.enter("enable");
        desk.enter("configure terminal");
        desk
    }

    pub(crate) fn prompt(&self) -> String {
        self.asked.clone().unwrap_or_else(|| self.chassis.prompt(self.session))
    }

    /// Types a line and waits for its answer, as long as the device says that there will be one.
    pub(crate) fn enter(&mut self, line: &str) -> Vec<String> {
        let mut reply = match self.asked.take() {
            Some(_) => self.chassis.answer(self.session, line, self.now),
            None => self.chassis.submit(self.session, line, self.now),
        };
        for _ in 0..100_000 {
            match reply {
                Reply::Done(text) => return text,
                Reply::Close(text) => {
                    self.closed = true;
                    return text;
                }
                Reply::Ask { text, question, .. } => {
                    self.asked = Some(question);
                    return text;
                }
                Reply::Pending => {
                    let ready = self.chassis.poll(self.session, self.now);
                    reply = ready.unwrap_or_else(|| {
                        self.now = self.chassis.next_deadline().expect("a pending line has a deadline").max(self.now);
                        self.chassis.poll(self.session, self.now).unwrap_or(Reply::Pending)
                    });
                }
            }
        }
        panic!("`{line}` never came to an end");
    }

    /// Types a line that must succeed in silence.
    pub(crate) fn quietly(&mut self, line: &str) {
        let said = self.enter(line);
        assert!(said.is_empty(), "`{line}` said {said:?}");
    }

    /// Types lines and gives the screen: prompts, lines, answers.
    pub(crate) fn transcript(&mut self, lines: &str) -> String {
        let mut screen = String::new();
        for line in lines.trim().lines().map(str::trim) {
            screen.push_str(&self.prompt());
            screen.push_str(line);
            screen.push('\n');
            for line in self.enter(line) {
                screen.push_str(&line);
                screen.push('\n');
            }
            if self.closed {
                screen.push_str("(closed)\n");
                return screen;
            }
        }
        screen.push_str(&self.prompt());
        screen.push('\n');
        screen
    }

    pub(crate) fn wait(&mut self, millis: u64) -> Vec<String> {
        self.now = self.now + Duration::from_millis(millis);
        self.chassis.notices(self.session, self.now)
    }

    pub(crate) fn running_config(&mut self) -> String {
        self.enter("show running-config").join("\n")
    }

    pub(crate) fn help(&self, line: &str) -> Vec<String> {
        self.chassis.help(self.session, line)
    }

    /// Lets something happen to the box, now.
    pub(crate) fn pull(&mut self, levers: &Levers, action: Action) {
        levers.pull(action);
        self.chassis.notices(self.session, self.now);
    }
}
