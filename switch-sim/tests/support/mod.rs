//! A device of a dozen commands behind the terminal, and a client in memory and in virtual time.

// Each test binary uses its part of this.
#![allow(dead_code)]

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use switch_sim::connection::Connection;
use switch_sim::shell::{Completion, Echo, LoginAnswer, LoginAsks, Origin, Reply, SessionId, Shell, Transport};
use switch_sim::terminal::Settings;
use switch_sim::time::Time;

pub(crate) const PASSWORD: &str = "open-sesame";
pub(crate) const PEER: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// What the terminal is tested against: it records what reaches it.
#[derive(Default)]
pub(crate) struct SmallShell {
    pub(crate) asks: Option<LoginAsks>,
    pub(crate) idle: Option<Duration>,
    pub(crate) sessions_max: Option<usize>,
    /// Every line submitted or answered.
    pub(crate) lines: Vec<String>,
    sessions: BTreeMap<SessionId, Session>,
    next: u32,
}

struct Session {
    origin: Origin,
    logged_in: bool,
    privileged: bool,
    config: bool,
    pages: bool,
    asked: Option<&'static str>,
    working_until: Option<Time>,
    notices: Vec<(Time, String)>,
    ended: bool,
}

fn text(lines: &[&str]) -> Vec<String> {
    lines.iter().map(|line| (*line).to_owned()).collect()
}

impl SmallShell {
    pub(crate) fn asking(asks: LoginAsks) -> Self {
        Self { asks: Some(asks), ..Self::default() }
    }

    pub(crate) fn sessions(&self) -> usize {
        self.sessions.len()
    }

    pub(crate) fn end_all(&mut self) {
        self.sessions.values_mut().for_each(|session| session.ended = true);
    }

    fn session(&mut self, session: SessionId) -> &mut Session {
        self.sessions.get_mut(&session).expect("the terminal speaks of a session that is connected")
    }
}

impl Shell for SmallShell {
    fn connect(&mut self, origin: Origin, _: Time) -> Result<SessionId, String> {
        let logged_in = self.sessions.values().filter(|session| session.logged_in).count();
        if self.sessions_max.is_some_and(|max| logged_in >= max) {
            return Err("Sorry, the maximum number of sessions is reached.".into());
        }
        let session = SessionId(self.next);
        self.next += 1;
        self.sessions.insert(
            session,
            Session {
                origin,
                logged_in: false,
                privileged: false,
                config: false,
                pages: true,
                asked: None,
                working_until: None,
                notices: Vec::new(),
                ended: false,
            },
        );
        Ok(session)
    }

    fn disconnect(&mut self, session: SessionId, _: Time) {
        self.sessions.remove(&session).expect("a session is disconnected once");
    }

    fn login_asks(&self, _: SessionId) -> LoginAsks {
        self.asks.unwrap_or(LoginAsks::Nothing)
    }

    fn log_in(&mut self, session: SessionId, name: &str, password: &str, _: Time) -> LoginAnswer {
        let name_fits = self.asks != Some(LoginAsks::NameAndPassword) || name == "admin";
        if !name_fits || password != PASSWORD {
            return LoginAnswer::Wrong;
        }
        self.session(session).logged_in = true;
        LoginAnswer::Welcome
    }

    fn admit(&mut self, session: SessionId, _: &str, _: Time) {
        self.session(session).logged_in = true;
    }

    fn prompt(&self, session: SessionId) -> String {
        let session = &self.sessions[&session];
        let transport = match session.origin.transport {
            Transport::Telnet => "telnet",
            Transport::Ssh => "SSH",
        };
        let mode = if session.config { "(config)" } else { "" };
        let sigil = if session.privileged { "#" } else { ">" };
        format!("{transport}@ServerIron{mode}{sigil}")
    }

    fn submit(&mut self, session: SessionId, line: &str, now: Time) -> Reply {
        self.lines.push(line.to_owned());
        let this = self.session(session);
        match line {
            "enable" => {
                this.asked = Some("enable");
                Reply::Ask { text: Vec::new(), question: "Password:".into(), echo: Echo::Secret }
            }
            "reload" => {
                this.asked = Some("reload");
                let question = "Are you sure? (enter 'y' or 'n'): ".into();
                Reply::Ask { text: text(&["This restarts the device."]), question, echo: Echo::Plain }
            }
            "configure terminal" => {
                this.config = true;
                Reply::Done(Vec::new())
            }
            "end" => {
                this.config = false;
                Reply::Done(Vec::new())
            }
            "skip-page-display" => {
                this.pages = false;
                Reply::Done(text(&["Disable page display mode"]))
            }
            "show long" => Reply::Done((1..=60).map(|n| format!("row {n}")).collect()),
            "slow" => {
                this.working_until = Some(now + Duration::from_secs(1));
                Reply::Pending
            }
            "delete" => {
                this.notices.push((now + Duration::from_millis(300), "Server rs1 successfully deleted.".into()));
                Reply::Done(Vec::new())
            }
            "exit" => Reply::Close(Vec::new()),
            _ if line.starts_with("say ") => Reply::Done(vec![line[4..].to_owned()]),
            _ => Reply::Done(vec![format!("Invalid input -> {line}"), "Type ? for a list".into()]),
        }
    }

    fn answer(&mut self, session: SessionId, line: &str, _: Time) -> Reply {
        self.lines.push(line.to_owned());
        let this = self.session(session);
        match (this.asked.take(), line) {
            (Some("enable"), PASSWORD) => {
                this.privileged = true;
                Reply::Done(Vec::new())
            }
            (Some("enable"), _) => Reply::Done(text(&["Error - Incorrect username or password."])),
            (Some("reload"), "y") => Reply::Close(Vec::new()),
            _ => Reply::Done(Vec::new()),
        }
    }

    fn interrupt(&mut self, session: SessionId, key: char, _: Time) -> Reply {
        let this = self.session(session);
        this.asked = None;
        this.config &= key != 'Z';
        Reply::Done(Vec::new())
    }

    fn poll(&mut self, session: SessionId, now: Time) -> Option<Reply> {
        let this = self.session(session);
        this.working_until.take_if(|until| *until <= now).map(|_| Reply::Done(text(&["done"])))
    }

    fn notices(&mut self, session: SessionId, now: Time) -> Vec<String> {
        let this = self.session(session);
        let (due, later) = std::mem::take(&mut this.notices).into_iter().partition(|(at, _)| *at <= now);
        this.notices = later;
        let due: Vec<(Time, String)> = due;
        due.into_iter().map(|(_, notice)| notice).collect()
    }

    fn help(&self, _: SessionId, line: &str) -> Vec<String> {
        vec![format!("  <help for `{line}`>")]
    }

    fn complete(&self, _: SessionId, line: &str) -> Completion {
        match line {
            "skip" => Completion::Rest("-page-display ".into()),
            _ => Completion::Lines(self.help(SessionId(0), line)),
        }
    }

    fn pages(&self, session: SessionId) -> bool {
        self.sessions[&session].pages
    }

    fn idle_limit(&self, _: SessionId) -> Option<Duration> {
        self.idle
    }

    fn is_ended(&self, session: SessionId) -> bool {
        self.sessions[&session].ended
    }

    fn next_deadline(&self) -> Option<Time> {
        let working = self.sessions.values().filter_map(|session| session.working_until);
        let notices = self.sessions.values().flat_map(|session| session.notices.iter().map(|(at, _)| *at));
        working.chain(notices).min()
    }
}

/// A client at the end of a connection that lives in memory; time passes only when it waits.
pub(crate) struct Client {
    pub(crate) shell: SmallShell,
    pub(crate) connection: Connection,
    pub(crate) now: Time,
    seen: Vec<u8>,
}

impl Client {
    /// A client that has seen the opening, which is taken off.
    pub(crate) fn connect(shell: SmallShell, settings: Settings) -> Self {
        let mut client = Self::try_connect(shell, settings);
        let opening = [255, 251, 1, 255, 251, 3];
        assert!(client.seen.starts_with(&opening), "WILL ECHO, WILL SUPPRESS-GO-AHEAD come first");
        client.seen.drain(..opening.len());
        client
    }

    /// A client of a device that may be too broken to greet it.
    pub(crate) fn try_connect(mut shell: SmallShell, settings: Settings) -> Self {
        let now = Time::ZERO;
        let connection =
            Connection::telnet(settings, Some(PEER), &mut shell, now).expect("the device takes the session");
        let mut client = Self { shell, connection, now, seen: Vec::new() };
        client.settle();
        client
    }

    fn settle(&mut self) {
        loop {
            self.connection.poll(&mut self.shell, self.now);
            let output = self.connection.take_output(self.now);
            if output.is_empty() {
                break;
            }
            self.seen.extend(output);
        }
    }

    /// Types the bytes in one piece, and reads what comes at once.
    pub(crate) fn type_bytes(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let taken = self.connection.input(bytes, &mut self.shell, self.now);
            bytes = &bytes[taken..];
            self.settle();
            if taken == 0 {
                assert!(!self.connection.is_waiting(), "a terminal that waits takes input");
                self.wait(Duration::from_millis(100));
            }
        }
    }

    /// Types the bytes in one piece as long as the terminal takes any, or is closed.
    pub(crate) fn offer(&mut self, mut bytes: &[u8]) {
        for _ in 0..1_000 {
            if bytes.is_empty() || self.connection.is_closed() {
                break;
            }
            let taken = self.connection.input(bytes, &mut self.shell, self.now);
            bytes = &bytes[taken..];
            self.settle();
            if taken == 0 {
                self.wait(Duration::from_millis(100));
            }
        }
    }

    /// Types the text, says what appeared.
    pub(crate) fn send(&mut self, text: &str) -> String {
        self.type_bytes(text.as_bytes());
        self.seen()
    }

    /// What has appeared since it was last asked for.
    pub(crate) fn seen(&mut self) -> String {
        String::from_utf8_lossy(&std::mem::take(&mut self.seen)).into_owned()
    }

    /// Lets time pass, deadline by deadline.
    pub(crate) fn wait(&mut self, span: Duration) {
        let until = self.now + span;
        loop {
            self.settle();
            match self.connection.next_deadline(&self.shell) {
                Some(next) if next <= until => {
                    assert!(next > self.now, "what was due is done");
                    self.now = next;
                }
                _ => break,
            }
        }
        self.now = until;
        self.settle();
    }
}
