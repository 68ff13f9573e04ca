//! One login session on a box, as a state machine without I/O: bytes and the time go in, bytes to send and what
//! happened come out.
//!
//! ```text
//!  Login (name, password) -> Enable (name, password) -> skip-page-display -> Ready <-> Busy (one command)
//! ```
//!
//! **Reading an answer.** A command is answered when its echo has come and the open line is the prompt; what stands
//! between the two is the answer. The echo is what tells this command's prompt from a late one.
//!
//! **What real boxes do.** They swallow a line without trace: when no echo comes, an empty line is sent, and a prompt
//! without the echo means that the line is to be typed again. They break a prompt with a late notice: an empty line
//! brings a whole one. They page although told not to: a space goes on. On some, CR and LF are each an Enter, so only
//! CR is sent. Nothing may take longer than [`SILENCE_MAX`] without a byte, and no login longer than [`LOGIN_MAX`].
//!
//! Not here: telnet's own bytes (`telnet`), what commands mean (`command`), sockets and clocks (`task`).

use std::time::Duration;

use super::notice::Notices;
use super::prompt::{Prompt, Sureness};
use super::text::Text;
use crate::base::secret::Secret;
use crate::base::span::Span;
use crate::base::time::Time;

/// How long a login may take.
pub const LOGIN_MAX: Duration = Duration::from_secs(10);
/// How long an answer may be silent before it has ended.
pub const SILENCE_MAX: Duration = Duration::from_secs(5);
/// How long an answer may take in all, however steadily it drips.
pub const ANSWER_TIME_MAX: Duration = Duration::from_secs(120);
/// How long to wait for an echo, or for the rest of an answer, before an empty line is sent.
const NUDGE_AFTER: Duration = Duration::from_secs(1);
/// The same at `enable`, where an empty line could be taken for a password.
const ENABLE_NUDGE_AFTER: Duration = Duration::from_secs(3);
/// How long a line at login that only looks like a prompt must stand before it is taken for one.
const PROMPT_SETTLES: Duration = Duration::from_millis(100);
/// How often a swallowed line is typed again.
const RESENDS_MAX: u8 = 4;
/// The longest answer, in bytes: the running configuration and tables of every binding a box can hold.
pub const ANSWER_MAX: usize = 64 * 1024 * 1024;
/// The most a box may say before its first prompt, in bytes.
const GREETING_MAX: usize = 256 * 1024;

/// Who logs in.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Login {
    /// Where a name is asked for.
    pub user: Option<String>,
    /// Where a password is asked for.
    pub password: Option<Secret>,
    /// Where `enable` asks for a password.
    pub enable_password: Option<Secret>,
}

/// Bytes for the box.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// What is typed.
    pub bytes: Vec<u8>,
    /// A password: no transcript may show it.
    pub secret: bool,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Logged in, privileged, without pager: a command may be submitted.
    Ready,
    /// The command's answer; another may be submitted.
    Answer(Answer),
    /// The command was not read or answered as it should; what became of it is not known. The session goes on.
    Garbled {
        /// The command.
        command: String,
        /// The box's words.
        said: String,
    },
    /// The session is over.
    Over(Failure),
}

/// A command's answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The lines between the echo and the prompt.
    pub text: String,
    /// The mode in the prompt, empty outside of configuration.
    pub mode: String,
}

/// Why a session is over.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// A name, password or enable password was refused, or is asked for and not given.
    #[error("{0}")]
    Refused(String),
    /// Nothing came for too long.
    #[error("{0}")]
    TimedOut(String),
    /// The connection ended.
    #[error("it hung up: {0}")]
    Closed(String),
    /// More came than anything a box says.
    #[error("it says more than {0} bytes")]
    TooLong(usize),
}

#[derive(Debug)]
enum Phase {
    Login { sent_password: bool },
    Enable { sent_password: bool, nudged: Option<Time> },
    Ready,
    Busy(Box<InFlight>),
    Over,
}

#[derive(Debug)]
struct InFlight {
    line: String,
    /// It is the driver's own `skip-page-display`, whose answer nobody asked for.
    is_setup: bool,
    begun: Time,
    /// When it was typed last.
    typed: Time,
    /// Where its answer begins: behind the echo.
    answer_at: Option<usize>,
    /// When the last empty line was sent.
    nudged: Option<Time>,
    resends: u8,
}

/// The session.
#[derive(Debug)]
pub struct Session {
    login: Login,
    begun: Time,
    phase: Phase,
    prompt: Option<Prompt>,
    text: Text,
    notices: Notices,
    /// The pager's line that was answered and is still there.
    pager_answered: Option<usize>,
    last_byte: Time,
    output: Vec<Output>,
    events: Vec<Event>,
}

impl Session {
    /// A session on a connection that was just made.
    pub fn new(login: Login, now: Time) -> Session {
        Session {
            login,
            begun: now,
            phase: Phase::Login { sent_password: false },
            prompt: None,
            text: Text::default(),
            notices: Notices::default(),
            pager_answered: None,
            last_byte: now,
            output: Vec::new(),
            events: Vec::new(),
        }
    }

    /// What is to be sent now.
    pub fn take_output(&mut self) -> Vec<Output> {
        std::mem::take(&mut self.output)
    }

    /// What happened since the last call.
    pub fn take_events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }

    /// Servers whose deletion the box announced since the last call.
    pub fn take_deleted(&mut self) -> Vec<String> {
        self.notices.take()
    }

    /// Whether a command may be submitted.
    pub fn is_ready(&self) -> bool {
        matches!(self.phase, Phase::Ready)
    }

    /// When [`Session::tick`] has something to do.
    pub fn deadline(&self) -> Option<Time> {
        match &self.phase {
            Phase::Login { .. } => {
                let login = self.begun + LOGIN_MAX;
                match Prompt::learn(self.text.open_line()) {
                    Some(_) => Some(login.min(self.last_byte + PROMPT_SETTLES)),
                    None => Some(login),
                }
            }
            Phase::Enable { nudged: None, .. } => {
                Some((self.begun + LOGIN_MAX).min(self.last_byte + ENABLE_NUDGE_AFTER))
            }
            Phase::Enable { .. } => Some(self.begun + LOGIN_MAX),
            Phase::Busy(flight) => Some(self.next_nudge(flight).min(self.patience_ends(flight))),
            Phase::Ready | Phase::Over => None,
        }
    }

    fn next_nudge(&self, flight: &InFlight) -> Time {
        flight.nudged.unwrap_or(flight.typed).max(self.last_byte) + NUDGE_AFTER
    }

    fn patience_ends(&self, flight: &InFlight) -> Time {
        let silence = flight.typed.max(self.last_byte) + SILENCE_MAX;
        let whole = flight.begun + ANSWER_TIME_MAX;
        let login = if flight.is_setup { self.begun + LOGIN_MAX } else { Time::NEVER };
        silence.min(whole).min(login)
    }

    /// Types a command. Call it only when ready.
    pub fn submit(&mut self, line: &str, now: Time) {
        debug_assert!(self.is_ready(), "one command at a time");
        self.begin(line, false, now);
    }

    fn begin(&mut self, line: &str, is_setup: bool, now: Time) {
        self.text.clear();
        self.pager_answered = None;
        let line = line.to_owned();
        self.type_line(&line);
        let (answer_at, nudged) = (None, None);
        let flight = InFlight { line, is_setup, begun: now, typed: now, answer_at, nudged, resends: 0 };
        self.phase = Phase::Busy(Box::new(flight));
    }

    fn type_line(&mut self, line: &str) {
        self.output.push(Output { bytes: format!("{line}\r").into_bytes(), secret: false });
    }

    fn type_secret(&mut self, secret: &Secret) {
        self.output.push(Output { bytes: format!("{}\r", secret.expose()).into_bytes(), secret: true });
    }

    fn over(&mut self, failure: Failure) {
        if !matches!(self.phase, Phase::Over) {
            self.phase = Phase::Over;
            self.events.push(Event::Over(failure));
        }
    }

    /// Bytes have come.
    pub fn receive(&mut self, bytes: &[u8], now: Time) {
        self.last_byte = now;
        let mut passed = Vec::with_capacity(bytes.len());
        self.notices.pass(bytes, &mut passed);
        self.text.push(&passed);
        let pager = self.text.pager_at();
        if pager.is_none() {
            self.pager_answered = None;
            self.step(now);
        } else if pager != self.pager_answered {
            self.pager_answered = pager;
            self.output.push(Output { bytes: b" ".to_vec(), secret: false });
        }
    }

    /// Time has passed.
    pub fn tick(&mut self, now: Time) {
        if self.deadline().is_none_or(|deadline| deadline > now) {
            return;
        }
        if !matches!(self.phase, Phase::Busy(_)) && now >= self.begun + LOGIN_MAX {
            let said = self.last_words();
            return self
                .over(Failure::TimedOut(format!("no login within {}; its last words: {said}", Span(LOGIN_MAX))));
        }
        match &mut self.phase {
            Phase::Enable { nudged, .. } => {
                *nudged = Some(now);
                self.type_line("");
            }
            Phase::Busy(_) => self.busy_tick(now),
            Phase::Login { .. } | Phase::Ready | Phase::Over => self.step(now),
        }
    }

    fn busy_tick(&mut self, now: Time) {
        let Phase::Busy(flight) = &self.phase else { return };
        if self.patience_ends(flight) <= now {
            let (line, waited) = (&flight.line, Span::millis(now.since(flight.begun).as_millis() as u64));
            let said = self.last_words();
            let why = format!("no answer to `{line}` within {waited}; its last words: {said}");
            return self.over(Failure::TimedOut(why));
        }
        if let Phase::Busy(flight) = &mut self.phase {
            flight.nudged = Some(now);
        }
        self.type_line("");
    }

    /// The connection has ended.
    pub fn closed(&mut self, why: &str) {
        let said = self.last_words();
        let was_judged =
            matches!(self.phase, Phase::Login { sent_password: true } | Phase::Enable { sent_password: true, .. });
        let lower = said.to_ascii_lowercase();
        let refuses = ["fail", "denied", "incorrect", "invalid", "bad "].iter().any(|word| lower.contains(word));
        match was_judged && refuses {
            true => self.over(Failure::Refused(format!("the login was refused: {said}"))),
            false if said == NOTHING => self.over(Failure::Closed(why.to_owned())),
            false => self.over(Failure::Closed(format!("{why}; its last words: {said}"))),
        }
    }

    /// The end of what the box said, for errors.
    fn last_words(&self) -> String {
        let lines: Vec<&str> = self.text.all().lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        let last = lines[lines.len().saturating_sub(3)..].join(" | ");
        let from = last.len().saturating_sub(200);
        if last.is_empty() { NOTHING.to_owned() } else { last[from..].to_owned() }
    }

    /// Looks at what there is and does what follows.
    fn step(&mut self, now: Time) {
        match &self.phase {
            Phase::Login { sent_password } => self.login_step(*sent_password, now),
            Phase::Enable { sent_password, nudged } => self.enable_step(*sent_password, *nudged, now),
            Phase::Busy(_) => self.busy_step(now),
            Phase::Ready if self.text.all().len() > GREETING_MAX => self.over(Failure::TooLong(GREETING_MAX)),
            Phase::Ready | Phase::Over => {}
        }
    }

    fn login_step(&mut self, sent_password: bool, now: Time) {
        match question(self.text.open_line()) {
            Some(_) if sent_password => {
                let said = self.last_words();
                return self.over(Failure::Refused(format!("the name or the password was refused: {said}")));
            }
            Some(Question::Name) => {
                let Some(user) = self.login.user.clone() else {
                    let why = "it asks for a name; write it into the address, as in telnet://USER@HOST";
                    return self.over(Failure::Refused(why.into()));
                };
                self.text.clear();
                return self.type_line(&user);
            }
            Some(Question::Password) => {
                let Some(password) = self.login.password.clone() else {
                    let why = "it asks for a password; put it into ACM_PASSWORD or a file (?password-file=PATH)";
                    return self.over(Failure::Refused(why.into()));
                };
                self.text.clear();
                self.phase = Phase::Login { sent_password: true };
                return self.type_secret(&password);
            }
            None => {}
        }
        if self.text.all().len() > GREETING_MAX {
            return self.over(Failure::TooLong(GREETING_MAX));
        }
        let Some((prompt, sure)) = Prompt::learn(self.text.open_line()) else { return };
        if sure == Sureness::Likely && now < self.last_byte + PROMPT_SETTLES {
            return;
        }
        let privileged = self.text.open_line().trim_end().ends_with('#');
        self.prompt = Some(prompt);
        match privileged {
            true => self.begin("skip-page-display", true, now),
            false => self.begin_enable(),
        }
    }

    fn begin_enable(&mut self) {
        self.text.clear();
        self.phase = Phase::Enable { sent_password: false, nudged: None };
        self.type_line("enable");
    }

    fn enable_step(&mut self, sent_password: bool, nudged: Option<Time>, now: Time) {
        match question(self.text.open_line()) {
            Some(_) if sent_password => {
                let said = self.last_words();
                return self.over(Failure::Refused(format!("the enable password was refused: {said}")));
            }
            Some(Question::Name) => {
                let Some(user) = self.login.user.clone() else {
                    let why = "`enable` asks for a name; write it into the address, as in telnet://USER@HOST";
                    return self.over(Failure::Refused(why.into()));
                };
                self.text.clear();
                return self.type_line(&user);
            }
            Some(Question::Password) => {
                let Some(password) = self.login.enable_password.clone() else {
                    let why = "`enable` asks for a password; put it into ACM_ENABLE_PASSWORD or a file \
                               (?enable-password-file=PATH)";
                    return self.over(Failure::Refused(why.into()));
                };
                self.text.clear();
                self.phase = Phase::Enable { sent_password: true, nudged };
                return self.type_secret(&password);
            }
            None => {}
        }
        if self.text.all().len() > GREETING_MAX {
            return self.over(Failure::TooLong(GREETING_MAX));
        }
        let seen = self.prompt.as_ref().and_then(|prompt| prompt.find(self.text.open_line()));
        match seen.map(|seen| seen.privileged) {
            Some(true) => self.begin("skip-page-display", true, now),
            Some(false) if sent_password || self.text.all().contains("enable") => {
                let said = self.last_words();
                self.over(Failure::Refused(format!("`enable` was refused: {said}")));
            }
            // The line was swallowed: the empty one brought the prompt again.
            Some(false) if nudged.is_some() => self.begin_enable(),
            _ => {}
        }
    }

    fn busy_step(&mut self, now: Time) {
        let Phase::Busy(flight) = &mut self.phase else { return };
        let Some(prompt) = &self.prompt else { return };
        if self.text.all().len() > ANSWER_MAX {
            return self.over(Failure::TooLong(ANSWER_MAX));
        }
        if flight.answer_at.is_none() {
            flight.answer_at = find_echo(self.text.all(), &flight.line, prompt);
        }
        let Some(seen) = prompt.find(self.text.open_line()) else { return };
        let ended_at = self.text.all().len() - self.text.open_line().len();
        if let Some(answer_at) = flight.answer_at {
            let mut text = self.text.all()[answer_at..ended_at.max(answer_at)].to_owned();
            text.push_str(seen.before);
            let text = text.split_inclusive('\n').filter(|line| !is_noise(line, prompt)).collect();
            let (mode, is_setup) = (seen.mode.to_owned(), flight.is_setup);
            self.phase = Phase::Ready;
            self.text.clear();
            return self.events.push(if is_setup { Event::Ready } else { Event::Answer(Answer { text, mode }) });
        }
        // A prompt without the echo. Before any empty line was sent it is a late one, of an earlier command.
        if flight.nudged.is_none() {
            return;
        }
        let said: String = self.text.all()[..ended_at].lines().filter(|line| !is_noise(line, prompt)).collect();
        let line = flight.line.clone();
        if said.trim().is_empty() && flight.resends < RESENDS_MAX {
            (flight.resends, flight.nudged, flight.typed) = (flight.resends + 1, None, now);
            self.text.clear();
            return self.type_line(&line);
        }
        let is_setup = flight.is_setup;
        self.phase = Phase::Ready;
        self.text.clear();
        self.events.push(if is_setup { Event::Ready } else { Event::Garbled { command: line, said } });
    }
}

const NOTHING: &str = "none";

/// A line that says nothing: a prompt, or what is left of a broken one.
fn is_noise(line: &str, prompt: &Prompt) -> bool {
    !line.trim().is_empty() && prompt.is_remnant(line)
}

/// Where the answer begins: behind the first whole line that is the command, perhaps behind prompts.
fn find_echo(text: &str, line: &str, prompt: &Prompt) -> Option<usize> {
    let mut at = 0;
    for shown in text.split_inclusive('\n') {
        at += shown.len();
        if shown.ends_with('\n') && prompt.strip(shown.trim_end()) == line {
            return Some(at);
        }
    }
    None
}

enum Question {
    Name,
    Password,
}

/// What an open line asks for, in any of the spellings seen: `Please Enter Password :`, `User Name:`, `login: `.
fn question(open_line: &str) -> Option<Question> {
    let line = open_line.trim_end().strip_suffix(':')?.trim_end().to_ascii_lowercase();
    if line.ends_with("password") {
        return Some(Question::Password);
    }
    ["name", "login", "username"].iter().any(|word| line.ends_with(word)).then_some(Question::Name)
}
