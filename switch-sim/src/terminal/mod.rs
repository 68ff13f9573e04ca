//! A terminal at the device, without a socket and without a clock.
//!
//! ```text
//!  bytes typed -> Keys -> login dialogue | line editor -> Shell
//!  bytes shown <- Outlet <- pager        <- replies, prompts, notices
//! ```
//!
//! What is typed while a command runs or output waits is kept, up to [`TYPED_MAX`] bytes; [`Terminal::room`] says how
//! many more are taken, and who feeds a terminal reads no more than that from its peer. Nothing is lost, nothing grows.
//!
//! Not here: telnet (`telnet/`), sockets and tasks (`server/`), what commands mean ([`crate::shell::Shell`]).

mod attempts;
mod history;
mod keys;
mod line;
mod login;
mod outlet;
mod pager;
mod prompt;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

pub(crate) use attempts::who;
pub use attempts::{Attempts, DELAY_MAX};
use history::History;
use keys::{Key, Keys, LineEnds};
pub use line::LINE_MAX;
use line::{Line, Looks};
use login::Login;
use outlet::Outlet;
use pager::{After, Pager, Turn};

use crate::quirk::{Quirk, Quirks};
use crate::shell::{Echo, LoginAsks, Origin, Reply, SessionId, Shell};
use crate::time::Time;

/// Bytes typed ahead of the device. Several commands in one write are usual, a pasted configuration comes in pieces.
pub const TYPED_MAX: usize = 4096;
/// While so much output waits, nothing is read from what was typed.
const OUTPUT_HIGH: usize = 64 * 1024;

/// What all terminals of a device have in common. Clones share the quirks and the failed attempts.
#[derive(Debug, Clone)]
pub struct Settings {
    /// What goes wrong.
    pub quirks: Quirks,
    /// Who has failed to log in lately.
    pub attempts: Attempts,
    /// Its words.
    pub texts: Arc<Texts>,
    /// Lines of an answer before the pager stops; at least 1.
    pub page_lines: usize,
    /// How long the login dialogue may take.
    pub login_timeout: Duration,
    /// Wrong passwords before the device hangs up.
    pub login_tries: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            quirks: Quirks::none(),
            attempts: Attempts::default(),
            texts: Arc::default(),
            page_lines: 23,
            login_timeout: Duration::from_secs(60),
            login_tries: 3,
        }
    }
}

/// What a terminal says of its own accord and no capture of a real box vouches for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Texts {
    /// The pager's line. Programs look for `--More--` in it.
    pub more: String,
    /// After a wrong password.
    pub login_failed: String,
    /// In the place of a line of more than [`LINE_MAX`] characters.
    pub line_too_long: String,
}

impl Default for Texts {
    fn default() -> Self {
        Self {
            more: "--More--, next page: Space, next line: Return key, quit: Control-c".into(),
            login_failed: "User login failure.".into(),
            line_too_long: format!("Error - The line is longer than {LINE_MAX} characters."),
        }
    }
}

/// One session's terminal.
#[derive(Debug)]
pub struct Terminal {
    settings: Settings,
    origin: Origin,
    session: SessionId,
    manner: Manner,
    stage: Stage,
    keys: Keys,
    typed: VecDeque<u8>,
    line: Line,
    history: History,
    outlet: Outlet,
    /// Notices that wait for a prompt to land in.
    held: Vec<String>,
    /// Until the next Enter nothing typed has an effect.
    swallowing: bool,
    opened: Time,
    last_input: Time,
    has_typed: bool,
    logged_in: bool,
    /// False once the shell knows that the session has gone.
    connected: bool,
}

/// What a session is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manner {
    /// Prompts, echo, paging.
    Interactive,
    /// One command of `ssh HOST COMMAND`: its answer and nothing else.
    Command,
}

#[derive(Debug)]
enum Stage {
    Login(Login),
    Prompt,
    Question(Echo),
    /// A command runs.
    Working,
    More(Pager),
    Closed,
}

impl Terminal {
    /// A terminal that has just connected: the login dialogue, or the first prompt.
    ///
    /// # Errors
    /// What the device prints before it hangs up.
    pub fn open(settings: Settings, origin: Origin, shell: &mut dyn Shell, now: Time) -> Result<Self, String> {
        let session = shell.connect(origin, now)?;
        let mut terminal = Self::new(settings, origin, session, Manner::Interactive, now);
        match shell.login_asks(session) {
            LoginAsks::Nothing => {
                shell.admit(session, "", now);
                terminal.logged_in = true;
                terminal.prompt(shell, now);
            }
            asks => terminal.greet(asks, now),
        }
        Ok(terminal)
    }

    /// A terminal whose session is connected and logged in already, by SSH.
    pub fn resume(settings: Settings, origin: Origin, session: SessionId, shell: &mut dyn Shell, now: Time) -> Self {
        let mut terminal = Self::new(settings, origin, session, Manner::Interactive, now);
        terminal.logged_in = true;
        // Who has shown a password or a key is no stranger who only sits there.
        terminal.has_typed = shell.login_asks(session) != LoginAsks::Nothing;
        terminal.prompt(shell, now);
        terminal
    }

    /// Runs one command for a session that is logged in already, shows its answer, and closes.
    pub fn command(
        settings: Settings,
        origin: Origin,
        session: SessionId,
        command: &str,
        shell: &mut dyn Shell,
        now: Time,
    ) -> Self {
        let mut terminal = Self::new(settings, origin, session, Manner::Command, now);
        if command.len() > LINE_MAX {
            terminal.refuse_long_line(now);
            terminal.close();
        } else {
            let reply = shell.submit(session, command, now);
            terminal.reply(reply, shell, now);
            terminal.work(shell, now);
        }
        terminal
    }

    fn new(settings: Settings, origin: Origin, session: SessionId, manner: Manner, now: Time) -> Self {
        let outlet = Outlet::new(&settings.quirks, now);
        Self {
            settings,
            origin,
            session,
            manner,
            stage: Stage::Prompt,
            keys: Keys::default(),
            typed: VecDeque::new(),
            line: Line::default(),
            history: History::default(),
            outlet,
            held: Vec::new(),
            swallowing: false,
            opened: now,
            last_input: now,
            has_typed: manner == Manner::Command,
            logged_in: manner == Manner::Command,
            connected: true,
        }
    }

    /// How many more bytes are taken now.
    pub fn room(&self) -> usize {
        match self.outlet.is_silent() {
            true => TYPED_MAX,
            false => TYPED_MAX - self.typed.len(),
        }
    }

    /// Takes bytes typed, at most [`Terminal::room`] of them; says how many were taken.
    pub fn input(&mut self, bytes: &[u8], shell: &mut dyn Shell, now: Time) -> usize {
        self.last_input = now;
        self.has_typed |= !bytes.is_empty();
        if self.outlet.is_silent() || matches!(self.stage, Stage::Closed) {
            return bytes.len();
        }
        let taken = bytes.len().min(self.room());
        self.typed.extend(&bytes[..taken]);
        self.work(shell, now);
        taken
    }

    /// Does what has become due: notices, answers of pending commands, delayed answers to logins, time limits.
    pub fn poll(&mut self, shell: &mut dyn Shell, now: Time) {
        if !self.connected {
            return;
        }
        let over = self.limit(shell).is_some_and(|limit| limit <= now);
        if over || self.outlet.is_cut() || shell.is_ended(self.session) {
            self.close();
        }
        if self.is_logged_in() {
            self.notices(shell, now);
        }
        self.work(shell, now);
        if matches!(self.stage, Stage::Closed) {
            self.hang_up(shell, now);
        }
    }

    /// Takes what may be shown now. Call it again after [`Terminal::poll`]: what was typed meanwhile may have an answer.
    pub fn take_output(&mut self, now: Time) -> Vec<u8> {
        self.outlet.take(&self.settings.quirks, now)
    }

    /// When [`Terminal::poll`] or [`Terminal::take_output`] has something to do without anything being typed.
    pub fn next_deadline(&self, shell: &dyn Shell) -> Option<Time> {
        let due = match &self.stage {
            Stage::Login(login) => login.due(),
            _ => None,
        };
        let device = self.is_logged_in().then(|| shell.next_deadline()).flatten();
        [due, device, self.limit(shell), self.outlet.next_deadline()].into_iter().flatten().min()
    }

    /// True when the connection is to be closed: everything has been shown.
    pub fn is_closed(&self) -> bool {
        self.outlet.is_cut() || (matches!(self.stage, Stage::Closed) && self.outlet.len() == 0)
    }

    /// True when a fault has cut the connection.
    pub fn is_cut(&self) -> bool {
        self.outlet.is_cut()
    }

    /// True while only the peer can make something happen: nothing typed waits and nothing runs.
    pub fn is_waiting(&self) -> bool {
        let reads = matches!(self.stage, Stage::Prompt | Stage::Question(_) | Stage::More(_))
            || matches!(&self.stage, Stage::Login(login) if login.reads());
        self.typed.is_empty() && (reads || self.is_closed() || self.outlet.is_silent())
    }

    /// True once a key was pressed, or an SSH client has logged in with a password or a key.
    pub fn has_typed(&self) -> bool {
        self.has_typed
    }

    /// True once the session is past the login dialogue.
    pub fn is_logged_in(&self) -> bool {
        self.connected && self.logged_in
    }

    /// The peer has gone, or the listener wants it gone. Afterwards the shell does not know the session any more.
    pub fn hang_up(&mut self, shell: &mut dyn Shell, now: Time) {
        self.stage = Stage::Closed;
        if std::mem::take(&mut self.connected) {
            shell.disconnect(self.session, now);
        }
    }

    fn close(&mut self) {
        self.stage = Stage::Closed;
        self.typed.clear();
    }

    /// When this session's patience ends.
    fn limit(&self, shell: &dyn Shell) -> Option<Time> {
        match self.stage {
            Stage::Closed => None,
            Stage::Login(_) => Some(self.opened + self.settings.login_timeout),
            _ => shell.idle_limit(self.session).map(|idle| self.last_input + idle),
        }
    }

    /// Works through what was typed, until something has to be waited for.
    fn work(&mut self, shell: &mut dyn Shell, now: Time) {
        while self.outlet.len() < OUTPUT_HIGH {
            match &self.stage {
                Stage::Closed => break,
                // These two also in a silent session: what nobody fetches would be due for ever.
                Stage::Working => match shell.poll(self.session, now) {
                    Some(reply) => self.reply(reply, shell, now),
                    None => break,
                },
                Stage::Login(login) if !login.reads() => {
                    if login.due().is_none_or(|due| due > now) {
                        break;
                    }
                    self.check_login(shell, now);
                }
                _ if self.outlet.is_silent() => break,
                _ => {
                    let Some(byte) = self.typed.pop_front() else { break };
                    let ends = match self.settings.quirks.is_on(Quirk::CrAndLf, now) {
                        true => LineEnds::Each,
                        false => LineEnds::One,
                    };
                    if let Some(key) = self.keys.take(byte, ends) {
                        self.key(key, shell, now);
                    }
                }
            }
        }
    }

    fn key(&mut self, key: Key, shell: &mut dyn Shell, now: Time) {
        match &mut self.stage {
            Stage::Login(_) => self.login_key(key, now),
            Stage::Prompt => self.prompt_key(key, shell, now),
            Stage::Question(_) => self.question_key(key, shell, now),
            Stage::More(_) => self.pager_key(key, shell, now),
            Stage::Working | Stage::Closed => {}
        }
    }

    /// Draws on the screen.
    fn draw(&mut self, now: Time, draw: impl FnOnce(&mut Vec<u8>)) {
        self.outlet.write(&self.settings.quirks, now, draw);
    }

    /// Puts text on the screen; its line ends become CR LF.
    fn say(&mut self, text: &str, now: Time) {
        self.draw(now, |screen| {
            for (at, line) in text.split('\n').enumerate() {
                if at > 0 {
                    screen.extend_from_slice(b"\r\n");
                }
                screen.extend_from_slice(line.strip_suffix('\r').unwrap_or(line).as_bytes());
            }
        });
    }

    fn lines(&mut self, lines: &[String], now: Time) {
        lines.iter().for_each(|line| self.say(&format!("{line}\n"), now));
    }

    /// How a line that is typed in this echo looks.
    fn looks(&self, echo: Echo, now: Time) -> Looks {
        match (self.manner, echo) {
            (Manner::Command, _) => Looks::Nothing,
            (Manner::Interactive, Echo::Plain) => Looks::Plain,
            (Manner::Interactive, Echo::Secret) if self.settings.quirks.is_on(Quirk::PasswordStars, now) => {
                Looks::Stars
            }
            (Manner::Interactive, Echo::Secret) => Looks::Nothing,
        }
    }

    /// An editing key, for the line that is being typed.
    fn edit(&mut self, key: Key, echo: Echo, now: Time) {
        let looks = self.looks(echo, now);
        let line = &mut self.line;
        self.outlet.write(&self.settings.quirks, now, |screen| line.edit(key, looks, screen));
    }

    fn end_line(&mut self, now: Time) {
        if self.manner == Manner::Interactive {
            self.say("\n", now);
        }
    }

    fn refuse_long_line(&mut self, now: Time) {
        self.say(&format!("{}\n", self.settings.texts.line_too_long), now);
    }

    fn notices(&mut self, shell: &mut dyn Shell, now: Time) {
        let held = self.settings.quirks.is_on(Quirk::NoticeInPrompt, now);
        for notice in shell.notices(self.session, now) {
            // A command's output is its answer; a session that closes has no prompt left to wait for.
            match (self.manner, &self.stage) {
                (Manner::Command, _) | (_, Stage::Closed) => {}
                _ if held && self.held.len() < HELD_MAX => self.held.push(notice),
                _ => self.say(&notice, now),
            }
        }
    }

    /// Shows an answer, by pages if the session wants that, and then what comes after it.
    fn answer(&mut self, mut lines: Vec<String>, after: After, shell: &mut dyn Shell, now: Time) {
        if self.manner == Manner::Interactive && self.settings.quirks.fires(Quirk::BlankLines, now) {
            let at = if self.settings.quirks.pick(2) == 0 { 0 } else { lines.len() };
            lines.insert(at, String::new());
        }
        let stuck = self.settings.quirks.is_on(Quirk::PagerStuck, now);
        let pages = self.manner == Manner::Interactive && (stuck || shell.pages(self.session));
        let room = if pages { self.settings.page_lines.max(1) } else { usize::MAX };
        self.turn(Pager::new(lines, after), room, shell, now);
    }

    fn turn(&mut self, mut pager: Pager, lines: usize, shell: &mut dyn Shell, now: Time) {
        let mut is_done = false;
        let texts = Arc::clone(&self.settings.texts);
        self.draw(now, |screen| is_done = pager.show(lines, &texts.more, screen));
        if !is_done {
            self.stage = Stage::More(pager);
            return;
        }
        self.settle(pager.after, shell, now);
    }

    fn settle(&mut self, after: After, shell: &mut dyn Shell, now: Time) {
        match after {
            After::Prompt => self.prompt(shell, now),
            After::Draft => self.redraw(shell, now),
        }
    }

    fn pager_key(&mut self, key: Key, shell: &mut dyn Shell, now: Time) {
        let turn = Pager::turn(key, self.settings.page_lines.max(1));
        if turn == Turn::Nothing {
            return;
        }
        let Stage::More(pager) = std::mem::replace(&mut self.stage, Stage::Prompt) else { return };
        let texts = Arc::clone(&self.settings.texts);
        self.draw(now, |screen| Pager::erase(&texts.more, screen));
        match turn {
            Turn::Lines(lines) => self.turn(pager, lines, shell, now),
            Turn::Quit | Turn::Nothing => self.settle(pager.after, shell, now),
        }
    }

    fn reply(&mut self, reply: Reply, shell: &mut dyn Shell, now: Time) {
        match reply {
            Reply::Done(lines) => self.answer(lines, After::Prompt, shell, now),
            Reply::Pending => self.stage = Stage::Working,
            Reply::Ask { text, question, echo } => {
                self.lines(&text, now);
                self.say(&question, now);
                self.line = Line::default();
                self.stage = Stage::Question(echo);
            }
            Reply::Close(lines) => {
                self.lines(&lines, now);
                self.close();
            }
        }
    }
}

/// Notices that may wait for a prompt; more land at once.
const HELD_MAX: usize = 64;
