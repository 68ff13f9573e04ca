//! What a terminal asks of the device behind it.
//!
//! ```text
//!  telnet, SSH -> terminal (login dialogue, echo, line editing, pager) -> Shell (commands, modes, screens)
//! ```
//!
//! A terminal knows nothing of commands; a shell knows nothing of bytes, echo or paging. Both are pure: bytes, lines
//! and the time go in. [`Shell`] is implemented by the emulated chassis, and by small fakes in the terminal's tests.

use std::net::IpAddr;
use std::time::Duration;

use crate::time::Time;

/// A session of a shell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub u32);

/// How a session reached the device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// Telnet: prompts begin with `telnet@`.
    Telnet,
    /// SSH: prompts begin with `SSH@`.
    Ssh,
}

/// Where a session comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Origin {
    /// How.
    pub transport: Transport,
    /// From which address, if that is known.
    pub peer: Option<IpAddr>,
}

/// What is asked before the first prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoginAsks {
    /// Nothing.
    Nothing,
    /// A password.
    Password,
    /// A name and a password.
    NameAndPassword,
}

/// What came of an attempt to log in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoginAnswer {
    /// The session has a prompt now; whether it is privileged already is the shell's business.
    Welcome,
    /// Wrong; another attempt may follow.
    Wrong,
    /// Wrong once too often: the terminal says so and hangs up.
    Enough,
}

/// Whether what is typed appears.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Echo {
    /// As typed.
    Plain,
    /// Not at all, or as asterisks where the device does that: a password.
    Secret,
}

/// What a line came to. `text` are whole lines without line ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// Done: the text, then the prompt.
    Done(Vec<String>),
    /// Begun: [`Shell::poll`] says when it is done. Nothing is read from the terminal until then.
    Pending,
    /// A question on a line of its own: the text, the question without a line end, and the line typed then goes to [`Shell::answer`].
    Ask {
        /// What is said before.
        text: Vec<String>,
        /// The question, as it stands at the start of the line.
        question: String,
        /// Whether the answer appears.
        echo: Echo,
    },
    /// The text, then the session ends.
    Close(Vec<String>),
}

/// What Tab comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Completion {
    /// The rest of the only word that fits, with a space behind it.
    Rest(String),
    /// Several fit, or none: what `?` would print.
    Lines(Vec<String>),
}

/// The device behind a terminal.
pub trait Shell: Send {
    /// A terminal has connected.
    ///
    /// The device's limit of sessions counts those that are logged in (or need no login): connections that only sit at
    /// the login dialogue are the listener's to bound, and must not keep an administrator out.
    ///
    /// # Errors
    /// What the device prints before it hangs up: too many sessions, say.
    fn connect(&mut self, origin: Origin, now: Time) -> Result<SessionId, String>;

    /// The terminal has gone, for whatever reason.
    fn disconnect(&mut self, session: SessionId, now: Time);

    /// What this session is asked before its first prompt.
    fn login_asks(&self, session: SessionId) -> LoginAsks;

    /// An attempt to log in.
    fn log_in(&mut self, session: SessionId, name: &str, password: &str, now: Time) -> LoginAnswer;

    /// Logs a session in that has proven who it is elsewhere (an SSH key or password checked by the server).
    fn admit(&mut self, session: SessionId, name: &str, now: Time);

    /// The prompt, such as `telnet@ServerIron(config-rs-rs1)#`. Nothing follows it.
    fn prompt(&self, session: SessionId) -> String;

    /// A line was entered at the prompt.
    fn submit(&mut self, session: SessionId, line: &str, now: Time) -> Reply;

    /// A line was entered at a question.
    fn answer(&mut self, session: SessionId, line: &str, now: Time) -> Reply;

    /// Ctrl-C (`'C'`) or Ctrl-Z (`'Z'`): what was typed is gone, a question is given up; with Ctrl-Z a configuration mode is left.
    fn interrupt(&mut self, session: SessionId, key: char, now: Time) -> Reply;

    /// What a pending line came to, once it is done.
    fn poll(&mut self, session: SessionId, now: Time) -> Option<Reply>;

    /// Texts that land on this terminal at any moment, without a line end unless they bring one.
    fn notices(&mut self, session: SessionId, now: Time) -> Vec<String>;

    /// What `?` prints behind this beginning of a line.
    fn help(&self, session: SessionId, line: &str) -> Vec<String>;

    /// What Tab does behind this beginning of a line.
    fn complete(&self, session: SessionId, line: &str) -> Completion;

    /// Whether long answers stop at a full page.
    fn pages(&self, session: SessionId) -> bool;

    /// How long a session may be silent.
    fn idle_limit(&self, session: SessionId) -> Option<Duration>;

    /// True once the device wants this session gone (`kill`, `reload`).
    fn is_ended(&self, session: SessionId) -> bool;

    /// When [`Shell::poll`] or [`Shell::notices`] may have news without anything being typed.
    fn next_deadline(&self) -> Option<Time>;
}
