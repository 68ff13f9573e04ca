//! `acm roll`: restarts a service server by server, while it serves.

#![allow(clippy::disallowed_methods)]

use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use serde::Serialize;
use tokio::signal::unix::{SignalKind, signal};

use super::failure::Failure;
use super::operator::{Operator, Word};
use super::output::{self, Style};
use crate::acm::error::AcmError;
use crate::base::id::Name;
use crate::base::span::Span;
use crate::base::text::escaped;
use crate::base::text::quoted;
use crate::beacon::config::random;
use crate::beacon::message::{Message, Phase};
use crate::operator::plan::{AtOnce, Availability, DRAIN_MAX, Drain, Plan, Target};
use crate::operator::roll::{Action, Change, News, Outcome, Roll, Server, ServerId, Start, State, To, name};

/// Restart a service server by server without losing a request: into a new version, or for a new configuration
///
/// Asks the agents of `acm run` who is bound as SERVICE, and has them, one at a time or --at-once many: take the server
/// out of service, wait until its last connection has ended (or --drain is over: then what is left is cut), restart the
/// command, wait until it is healthy, and announce it. Stops at the first that fails, and says which, where and why.
/// Ctrl-C stops after those under way; a second one at once. Either way --resume goes on later, also from another
/// machine: agents remember how far they are. Managers may fail meanwhile.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  acm roll web\n  acm roll web --at-once 25% --drain 5m --wait-healthy 1m\n  \
                        acm roll web --availability 99.9% --reconnect 2s\n  acm roll web --resume\n  \
                        acm roll web --json | jq '.servers[] | select(.state != \"done\")'\n\n\
                        --availability: at worst no connection ends by itself, and each is cut twice in a whole roll on\n\
                        average; each cut costs --reconnect. So that this is at most 1 - availability of the time the roll\n\
                        takes, drain = 2 * reconnect / (rounds * (1 - availability)), rounds = servers / at once: with three\n\
                        servers and 1s, 67s for 99%, 11 minutes for 99.9%.\n\n\
                        Progress is on stderr, the report on stdout. Exit code 0: all done; 1: stopped; 4: no agent answered.\n\
                        The file needs a key with `operator = true`, which the agents have too.")]
pub(super) struct RollArgs {
    /// The service's name, as the agents' configuration, or --bind of `acm run`, calls it
    service: Name,
    /// Group, network and an operator's key: a manager's configuration has them, or a file of your own
    #[arg(long, value_name = "FILE", env = "ACM_MANAGER_CONFIG", default_value = "/etc/acm/manager.toml")]
    config: PathBuf,
    /// How many servers may be out of service at a time: a number, or a share of them
    #[arg(long, value_name = "N|N%", default_value = "1")]
    at_once: AtOnce,
    /// What is left of connections after this long is cut [default: as each agent is configured]
    #[arg(long, value_name = "TIME", conflicts_with = "availability")]
    drain: Option<Span>,
    /// Derive --drain from what is to be kept of the connections, such as 99.9%; see below
    #[arg(long, value_name = "PERCENT")]
    availability: Option<Availability>,
    /// With --availability: how long a client whose connection is cut is without one
    #[arg(long, value_name = "TIME", default_value = "1s", requires = "availability")]
    reconnect: Span,
    /// How long a server may take from its start until it is healthy
    #[arg(long, value_name = "TIME", default_value = "30s")]
    wait_healthy: Span,
    /// Pause after each server, in which the switches check it themselves
    #[arg(long, value_name = "TIME", default_value = "100ms")]
    settle: Span,
    /// Restart the only server of a service, too; that interrupts it
    #[arg(long)]
    force: bool,
    /// Go on with a roll that was stopped: the latest, or --resume=ID
    #[arg(long, value_name = "ID", num_args = 0..=1, require_equals = true)]
    resume: Option<Option<RollId>>,
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
}

/// A roll's number as people see it: 16 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct RollId(u64);

impl std::str::FromStr for RollId {
    type Err = String;

    fn from_str(text: &str) -> Result<RollId, String> {
        let is_hex = (1..=16).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let id = is_hex.then(|| u64::from_str_radix(text, 16).ok()).flatten();
        id.map(RollId).ok_or_else(|| format!("{} is not a roll's number, such as 1f00a7c2d4e6b812", quoted(text)))
    }
}

/// The report.
#[derive(Debug, Serialize)]
struct Report {
    service: Name,
    roll: Option<String>,
    outcome: &'static str,
    why: Option<String>,
    at_once: usize,
    /// Absent: as each agent is configured.
    drain_ms: Option<u64>,
    seconds: f64,
    servers: Vec<ServerReport>,
}

#[derive(Debug, Serialize)]
struct ServerReport {
    agent: u64,
    instance: u16,
    bindings: Vec<String>,
    state: &'static str,
    step: Option<Phase>,
    why: Option<String>,
    took_ms: Option<u64>,
    /// How long in each phase, as far as it was seen.
    phases_ms: BTreeMap<String, u64>,
}

/// Spans accepted.
const WAIT_RANGE: (Span, Span) = (Span::millis(100), Span::secs(3600));

impl RollArgs {
    pub(super) fn style(&self) -> Style {
        if self.json { Style::Json } else { Style::Human }
    }

    fn plan(&self) -> Result<Plan, Failure> {
        let wrong = |what: &str, why: String| Err(Failure::Usage(AcmError::invalid(what, why)));
        let (least, most) = WAIT_RANGE;
        if !(least..=most).contains(&self.wait_healthy) {
            return wrong("--wait-healthy", format!("{} is not from {least} to {most}", self.wait_healthy));
        }
        if self.settle > most {
            return wrong("--settle", format!("{} is more than {most}", self.settle));
        }
        if !(Span::millis(1)..=most).contains(&self.reconnect) {
            return wrong("--reconnect", format!("{} is not from 1ms to {most}", self.reconnect));
        }
        let drain = match (self.drain, self.availability) {
            (Some(drain), _) if drain.0 > DRAIN_MAX => {
                return wrong("--drain", format!("{drain} is more than {}", Span(DRAIN_MAX)));
            }
            (Some(drain), _) => Drain::Fixed(drain.0),
            (None, Some(availability)) => Drain::For(Target { availability, reconnect: self.reconnect.0 }),
            (None, None) => Drain::Agents,
        };
        Ok(Plan {
            service: self.service.clone(),
            at_once: self.at_once,
            drain,
            wait_healthy: self.wait_healthy.0,
            settle: self.settle.0,
            force: self.force,
        })
    }

    pub(super) async fn run(self) -> Result<(), Failure> {
        let (plan, style) = (self.plan()?, self.style());
        let start = match self.resume {
            None => Start::New(random()?),
            Some(Some(RollId(id))) => Start::Resume(id),
            Some(None) => Start::ResumeLatest,
        };
        let operator = Operator::open(&self.config)?;
        let roll = Roll::new(plan, start, operator.now());
        let mut host = Host { operator, roll };
        let ended_at_once = host.serve().await?;
        host.report(&self.service, style, ended_at_once)
    }
}

/// The machine and its voice.
struct Host {
    operator: Operator,
    roll: Roll,
}

impl Host {
    /// Until it is over. True if it was interrupted twice.
    async fn serve(&mut self) -> Result<bool, Failure> {
        let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        let mut was_interrupted = false;
        loop {
            self.perform();
            if self.roll.outcome().is_some() {
                return Ok(false);
            }
            let due = self.operator.instant(self.roll.next_deadline());
            tokio::select! {
                () = self.operator.readable() => self.hear(),
                () = tokio::time::sleep_until(due) => self.roll.tick(self.operator.now()),
                _ = interrupt.recv() => {
                    if was_interrupted {
                        return Ok(true);
                    }
                    was_interrupted = true;
                    self.roll.interrupt();
                    self.roll.tick(self.operator.now());
                }
                // Whoever sends this does not wait.
                _ = terminate.recv() => return Ok(true),
            }
        }
    }

    fn hear(&mut self) {
        for word in self.operator.hear() {
            match word {
                Word::Answer(heard, from) => {
                    if let Message::Standings(standings) = &heard.message {
                        self.roll.standings(heard.sender, from, standings, self.operator.now());
                    }
                }
                Word::Again(sender, from) => {
                    let who = self.roll.question();
                    self.operator.say_to(sender, from, &who);
                }
            }
        }
    }

    fn perform(&mut self) {
        for action in self.roll.actions() {
            match action {
                Action::Say(To::All, message) => self.operator.say_to_all(&message),
                Action::Say(To::One(sender, at), message) => self.operator.say_to(sender, at, &message),
                Action::Tell(news) => {
                    let seconds = self.operator.now().micros() as f64 / 1e6;
                    let line =
                        words(&news, |id| self.roll.servers().get(&id).map_or(String::new(), |one| name(id, one)));
                    // A reader that went away does not end the roll.
                    let _ = writeln!(io::stderr(), "{seconds:7.2} s  {line}");
                }
            }
        }
    }

    fn report(&self, service: &Name, style: Style, ended_at_once: bool) -> Result<(), Failure> {
        let (outcome, why) = match self.roll.outcome() {
            _ if ended_at_once => ("stopped", Some("it was interrupted; agents under way go on".to_owned())),
            Some(Outcome::Done) => ("done", None),
            Some(Outcome::Nobody) => {
                let waited_for = format!("no agent of `{service}` answered; do they run, with this operator's key?");
                return Err(AcmError::Timeout { waited_for }.into());
            }
            Some(Outcome::Stopped(why)) => ("stopped", Some(why.clone())),
            None => ("stopped", None),
        };
        let servers: Vec<_> = self.roll.servers().iter().map(|(id, server)| server_report(*id, server)).collect();
        let report = Report {
            service: service.clone(),
            roll: self.roll.id().map(|id| format!("{id:016x}")),
            outcome,
            why: why.clone(),
            at_once: self.roll.at_once(),
            drain_ms: self.roll.drain().map(|drain| drain.as_millis() as u64),
            seconds: self.operator.now().micros() as f64 / 1e6,
            servers,
        };
        match style {
            Style::Json => output::json(&report)?,
            Style::Human => output::text(&table(&report))?,
        }
        let Some(why) = why else { return Ok(()) };
        let left = report.servers.iter().filter(|server| server.state != "done").count();
        let begun = report.servers.iter().any(|server| server.state != "waiting");
        let resume = match &report.roll {
            Some(id) if begun && left > 0 => format!("; {left} are left, go on with: acm roll {service} --resume={id}"),
            _ => "; nothing was begun".to_owned(),
        };
        Err(Failure::Setup(format!("the roll stopped: {why}{resume}")))
    }
}

fn words(news: &News, name: impl Fn(ServerId) -> String) -> String {
    match news {
        News::Begins { roll, servers, at_once, drain } => {
            let drain = drain.map_or("as each agent is configured".to_owned(), |drain| Span(drain).to_string());
            format!("roll {roll:016x}: {servers} servers, {at_once} at a time, drain {drain}")
        }
        News::Told(id) => format!("{}: told to restart", name(*id)),
        News::Changed(id, Change::Came(Phase::Done)) => format!("{}: in force again", name(*id)),
        News::Changed(id, Change::Came(Phase::Failed)) => format!("{}: failed earlier; waiting for it", name(*id)),
        News::Changed(id, Change::Came(phase)) => format!("{}: {phase}", name(*id)),
        News::Changed(id, Change::WasDone) => format!("{}: done before", name(*id)),
        News::Changed(id, Change::Forgot) => format!("{}: its agent started anew and forgot", name(*id)),
        News::Changed(id, Change::Failed) => format!("{}: FAILED", name(*id)),
        News::Back(id) => format!("{}: done", name(*id)),
        News::Waits(why) => format!("waiting: {why}"),
        News::Stops(why) => format!("nothing more is begun: {why}"),
    }
}

fn server_report(id: ServerId, server: &Server) -> ServerReport {
    let (state, step, why) = match server.state() {
        State::Waiting => ("waiting", None, None),
        State::Told => ("told", None, None),
        State::Under(Phase::Failed) => ("failed", None, server.why().map(ToString::to_string)),
        State::Under(phase) => ("under-way", Some(*phase), None),
        State::Settling => ("under-way", Some(Phase::Done), None),
        State::Done => ("done", None, None),
        State::Failed(failure) => ("failed", failure.step, Some(failure.why.clone())),
    };
    ServerReport {
        agent: id.agent.0,
        instance: id.instance,
        bindings: server.bindings().map(ToString::to_string).collect(),
        state,
        step,
        why,
        took_ms: server.took().map(|took: Duration| took.as_millis() as u64),
        phases_ms: server.spent().iter().map(|(phase, spent)| (phase.to_string(), spent.as_millis() as u64)).collect(),
    }
}

fn table(report: &Report) -> String {
    let row = |server: &ServerReport| {
        vec![
            server.bindings.join(", "),
            server.agent.to_string(),
            server.instance.to_string(),
            server.state.to_owned(),
            server.step.map_or(String::new(), |step| step.to_string()),
            server.took_ms.map_or(String::new(), |took| Span::millis(took).to_string()),
            escaped(server.why.as_deref().unwrap_or_default()),
        ]
    };
    let rows: Vec<_> = report.servers.iter().map(row).collect();
    output::table(&["BINDING", "AGENT", "INSTANCE", "STATE", "STEP", "TOOK", "WHY"], &rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_rolls() {
        assert_eq!("1f".parse(), Ok(RollId(0x1f)));
        assert_eq!(format!("{:016x}", 0x1fu64).parse(), Ok(RollId(0x1f)));
        for bad in ["", "x", "+1", "-1", "12345678901234567"] {
            assert!(bad.parse::<RollId>().is_err(), "{bad}");
        }
    }
}
