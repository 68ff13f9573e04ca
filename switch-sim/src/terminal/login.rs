//! The login dialogue. Texts: captures of real boxes, the failure text inferred from them.
//!
//! ```text
//!  User Access Verification
//!
//!  Please Enter Login Name: admin
//!  Please Enter Password:
//!
//!  User login successful.
//!
//!  telnet@ServerIron>
//! ```

use super::{Echo, Key, Line, LoginAsks, Quirk, Shell, Stage, Terminal, Time};
use crate::shell::LoginAnswer;
use crate::terminal::line::Entered;

/// How far a login has come.
#[derive(Debug)]
pub(super) struct Login {
    asks: LoginAsks,
    wrong: u32,
    step: Step,
}

#[derive(Debug)]
enum Step {
    Name,
    Password {
        name: String,
    },
    /// The answer waits until then.
    Checking {
        name: String,
        password: String,
        due: Time,
    },
    /// No answer will ever come.
    Hung,
}

impl Login {
    /// When an answer is due.
    pub(super) fn due(&self) -> Option<Time> {
        match self.step {
            Step::Checking { due, .. } => Some(due),
            _ => None,
        }
    }

    /// Whether the dialogue waits for what is typed.
    pub(super) fn reads(&self) -> bool {
        matches!(self.step, Step::Name | Step::Password { .. })
    }
}

impl Terminal {
    pub(super) fn greet(&mut self, asks: LoginAsks, now: Time) {
        self.say("User Access Verification\n\n", now);
        self.ask_again(Login { asks, wrong: 0, step: Step::Hung }, now);
    }

    fn ask_again(&mut self, login: Login, now: Time) {
        let step = match login.asks {
            LoginAsks::NameAndPassword => Step::Name,
            LoginAsks::Password | LoginAsks::Nothing => Step::Password { name: String::new() },
        };
        self.ask(Login { step, ..login }, now);
    }

    fn ask(&mut self, login: Login, now: Time) {
        let what = if matches!(login.step, Step::Name) { "Login Name" } else { "Password" };
        let space = if self.settings.quirks.is_on(Quirk::SpaceBeforeColon, now) { " " } else { "" };
        self.say(&format!("Please Enter {what}{space}: "), now);
        self.line = Line::default();
        self.stage = Stage::Login(login);
    }

    pub(super) fn login_key(&mut self, key: Key, now: Time) {
        let Stage::Login(login) = &self.stage else { return };
        let echo = if matches!(login.step, Step::Name) { Echo::Plain } else { Echo::Secret };
        if key != Key::Enter {
            self.edit(key, echo, now);
            return;
        }
        self.end_line(now);
        let Stage::Login(mut login) = std::mem::replace(&mut self.stage, Stage::Closed) else { return };
        // A name or password of more than a line is nobody's.
        let typed = match self.line.enter() {
            Entered::Text(text) => text,
            Entered::TooLong => String::new(),
        };
        match login.step {
            Step::Name if typed.is_empty() => self.ask_again(login, now),
            Step::Name => self.ask(Login { step: Step::Password { name: typed }, ..login }, now),
            Step::Password { name } => {
                login.step = if self.settings.quirks.fires(Quirk::LoginHung, now) {
                    Step::Hung
                } else {
                    let due = now + self.settings.attempts.delay(self.origin.peer, now);
                    Step::Checking { name, password: typed, due }
                };
                self.stage = Stage::Login(login);
            }
            Step::Checking { .. } | Step::Hung => self.stage = Stage::Login(login),
        }
    }

    /// Answers an attempt whose answer is due.
    pub(super) fn check_login(&mut self, shell: &mut dyn Shell, now: Time) {
        let Stage::Login(mut login) = std::mem::replace(&mut self.stage, Stage::Closed) else { return };
        let Step::Checking { name, password, .. } = std::mem::replace(&mut login.step, Step::Hung) else { return };
        let answer = if self.settings.quirks.fires(Quirk::LoginRefused, now) {
            LoginAnswer::Wrong
        } else {
            shell.log_in(self.session, &name, &password, now)
        };
        if answer == LoginAnswer::Welcome {
            self.logged_in = true;
            self.say("\nUser login successful.\n\n", now);
            self.last_input = now;
            self.prompt(shell, now);
            return;
        }
        self.settings.attempts.failed(self.origin.peer, now);
        login.wrong += 1;
        self.say(&format!("\n{}\n", self.settings.texts.login_failed), now);
        if answer == LoginAnswer::Enough || login.wrong >= self.settings.login_tries {
            self.close();
        } else {
            self.say("\n", now);
            self.ask_again(login, now);
        }
    }
}
