//! One instance of the command, from its start to its end: when it is announced, taken back, told to end, killed, started
//! anew. Pure: what happens to the process and the time go in, [`Act`]s come out.
//!
//! ```text
//!            start            healthy           restart, end
//!  (Waiting) -----> Checking ---------> Serving ------------> Draining
//!      ^               | too slow, exit    | exit                | nothing left, or exit
//!      |               v                   |                     v
//!      +--- backoff ---+-------------------+                 Stopping --exit--> start, or Over
//!                                                                 (killed after the grace)
//! ```
//!
//! An exit nobody asked for is a crash, and taken out of service at once; with exit code 0 the command is finished, and
//! taken back for good. After a crash it is started again after a pause, and announced when it has lived for as long as
//! that, so that one that crashes again and again is not bound and unbound each time. What the rule of restarts makes of both is in [`Restarts`].

use std::fmt;
use std::time::Duration;

use super::roll::{Roll, Rolls};
use crate::base::span::Span;
use crate::base::time::Time;
use crate::beacon::message::Phase;
use crate::beacon::words::Words;

/// The first pause after a crash,
const BACKOFF_MIN: Duration = Duration::from_millis(100);
/// doubled up to this,
const BACKOFF_MAX: Duration = Duration::from_secs(10);
/// and forgotten after it has run for this long.
const STABLE: Duration = Duration::from_secs(10);

/// While it starts, it is asked this often whether it is healthy.
const CHECK_STARTING: Duration = Duration::from_millis(10);

/// When a command that ended by itself is started again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Restarts {
    /// Unless it ended with exit code 0.
    #[default]
    OnFailure,
    /// Whatever its exit code.
    Always,
    /// Not at all.
    Never,
}

/// How instances are treated.
#[derive(Debug, Clone)]
pub struct Treatment {
    /// When one that ended is started again.
    pub restarts: Restarts,
    /// What is left of connections this long after it was taken back is cut.
    pub drain: Duration,
    /// How long it may take to end when told to; then it is killed.
    pub grace: Duration,
    /// How long it may take from its start until it is healthy; then it is started anew.
    pub start_within: Duration,
    /// Is it checked after it has become healthy?
    pub watched: bool,
    /// From the end of one check to the next.
    pub interval: Duration,
    /// Failed checks in a row after which it fails.
    pub fall: u32,
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// By itself, with this code.
    Code(i32),
    /// By this signal.
    Signal(i32),
    /// It could not be started: exit code 127 (there is no such command) or 126 (it may not be run).
    NotStarted(i32),
}

impl Exit {
    /// As a shell tells it: 128 and the signal's number.
    pub fn code(self) -> i32 {
        match self {
            Exit::Code(code) | Exit::NotStarted(code) => code,
            Exit::Signal(signal) => 128 + signal,
        }
    }

    /// True for the end that a signal of ours makes: SIGTERM, or SIGKILL after the grace.
    fn is_by_our_signal(self) -> bool {
        matches!(self, Exit::Signal(15 | 9))
    }

    fn words(self) -> Words {
        Words::clip(&match self {
            Exit::Code(_) => format!("the command ended with {self}"),
            Exit::Signal(_) => format!("the command was ended by {self}"),
            Exit::NotStarted(_) => "the command cannot be started".to_owned(),
        })
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Exit::Code(code) => write!(f, "exit code {code}"),
            Exit::Signal(signal) => write!(f, "signal {signal}"),
            Exit::NotStarted(code) => write!(f, "exit code {code}, not started"),
        }
    }
}

/// How its bindings stand, all together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Seen {
    /// Nothing is left of any.
    Gone,
    /// Nothing new comes to any.
    Drains,
    /// All are in force.
    Bound,
    /// Anything else.
    Between,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Act {
    /// Start the process.
    Start,
    /// Tell it to end.
    Terminate,
    /// End it.
    Kill,
    /// Look whether it is healthy; tell [`Instance::checked`].
    Check,
    /// Announce its bindings, or say that they serve again.
    Announce,
    /// Say that they fail.
    Fail(Words),
    /// Take them back; what is left after this long is cut.
    Withdraw(Duration),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// No process, until this moment.
    Waiting(Time),
    /// A process that is not healthy yet, and shall be by this moment.
    Checking(Time),
    /// It is announced.
    Serving,
    /// It is taken back, and the process lives.
    Draining,
    /// The process was told to end, and is killed at this moment.
    Stopping(Time),
    /// It is taken back, and there is no process.
    Leaving,
    /// The end.
    Over(i32),
}

/// What comes after the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Goal {
    /// It shall run.
    Run,
    /// It shall be started anew, and be healthy within this.
    Restart(Duration),
    /// It shall end; so far with this exit code.
    End(i32),
}

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Instance {
    treatment: Treatment,
    state: State,
    goal: Goal,
    rolls: Rolls,
    started: Time,
    crashes: u32,
    /// Processes started so far.
    starts: u32,
    /// After a crash: how long the next process must have run before it is announced.
    probation: Duration,
    checking: bool,
    /// The check under way is one of the process before.
    check_is_stale: bool,
    check_at: Time,
    failed_checks: u32,
    acts: Vec<Act>,
}

impl Instance {
    /// One that starts now.
    pub(super) fn new(treatment: Treatment, now: Time) -> Instance {
        Instance {
            treatment,
            state: State::Waiting(now),
            goal: Goal::Run,
            rolls: Rolls::default(),
            started: now,
            crashes: 0,
            starts: 0,
            probation: Duration::ZERO,
            checking: false,
            check_is_stale: false,
            check_at: Time::NEVER,
            failed_checks: 0,
            acts: Vec::new(),
        }
    }

    /// What is to be done, in order.
    pub(super) fn acts(&mut self) -> Vec<Act> {
        std::mem::take(&mut self.acts)
    }

    /// The exit code, when there will be no process any more.
    pub(super) fn over(&self) -> Option<i32> {
        match self.state {
            State::Over(code) => Some(code),
            _ => None,
        }
    }

    /// The roll that is told of when this one is asked for.
    pub(super) fn roll(&self, id: Option<u64>) -> Option<&Roll> {
        self.rolls.tell(id)
    }

    /// When it wants to be called next.
    pub(super) fn next_deadline(&self) -> Time {
        let state = match self.state {
            State::Waiting(at) | State::Checking(at) | State::Stopping(at) => at,
            _ => Time::NEVER,
        };
        if self.checking { state } else { state.min(self.check_at) }
    }

    /// Time has passed.
    pub(super) fn tick(&mut self, now: Time) {
        match self.state {
            State::Waiting(at) if now >= at => self.start(now),
            State::Checking(by) if now >= by => {
                let why = Words::clip(&format!("not healthy within {}", Span(by.since(self.started))));
                self.rolls.fail(&why, now);
                self.acts.push(Act::Kill);
                self.state = State::Stopping(Time::NEVER);
            }
            State::Stopping(at) if now >= at => {
                self.acts.push(Act::Kill);
                self.state = State::Stopping(Time::NEVER);
            }
            _ => {}
        }
        if !self.checking && now >= self.check_at {
            self.checking = true;
            self.check_at = Time::NEVER;
            self.acts.push(Act::Check);
        }
    }

    fn start(&mut self, now: Time) {
        let within = match self.goal {
            Goal::Restart(within) => within,
            _ => self.treatment.start_within,
        };
        self.goal = Goal::Run;
        self.rolls.come_to(Phase::Checking, now);
        (self.started, self.starts, self.failed_checks) = (now, self.starts.saturating_add(1), 0);
        self.state = State::Checking(now + within);
        self.check_at = now;
        self.check_is_stale = self.checking;
        self.acts.push(Act::Start);
    }

    /// A check has ended.
    pub(super) fn checked(&mut self, health: Result<(), Words>, now: Time) {
        self.checking = false;
        if std::mem::take(&mut self.check_is_stale) {
            self.check_at = now;
            return;
        }
        self.check_at = match self.state {
            State::Checking(_) => now + CHECK_STARTING.max(self.treatment.interval.min(now.since(self.started) / 10)),
            State::Serving if self.treatment.watched => now + self.treatment.interval,
            _ => Time::NEVER,
        };
        match (self.state, health) {
            // It crashed a moment ago: one that lives as short again is not worth announcing.
            (State::Checking(_), Ok(())) if now.since(self.started) < self.probation => {}
            (State::Checking(_), Ok(())) => {
                self.probation = Duration::ZERO;
                self.state = State::Serving;
                self.check_at = if self.treatment.watched { now + self.treatment.interval } else { Time::NEVER };
                self.rolls.come_to(Phase::Adding, now);
                self.acts.push(Act::Announce);
            }
            (State::Serving, Ok(())) => {
                let was_failing = std::mem::take(&mut self.failed_checks) >= self.treatment.fall;
                self.acts.extend(was_failing.then_some(Act::Announce));
            }
            (State::Serving, Err(why)) => {
                self.failed_checks += 1;
                if self.failed_checks == self.treatment.fall {
                    self.acts.push(Act::Fail(why));
                }
            }
            _ => {}
        }
    }

    /// The process has ended.
    pub(super) fn exited(&mut self, exit: Exit, now: Time) {
        self.check_at = Time::NEVER;
        match (self.goal, self.state) {
            (_, State::Over(_) | State::Waiting(_) | State::Leaving) => {}
            (Goal::End(_) | Goal::Restart(_), _) => {
                if let Goal::End(code) = &mut self.goal {
                    let as_told = matches!(self.state, State::Stopping(_)) && exit.is_by_our_signal();
                    *code = if as_told { 0 } else { exit.code() };
                }
                self.state = match self.state {
                    State::Stopping(_) => return self.go_on(now),
                    // What is left of its connections is nothing.
                    _ => State::Leaving,
                };
            }
            (Goal::Run, _) => self.crashed(exit, now),
        }
    }

    /// It ended, and nobody had asked for it.
    fn crashed(&mut self, exit: Exit, now: Time) {
        let why = exit.words();
        self.rolls.fail(&why, now);
        let is_finished = match self.treatment.restarts {
            // A typing mistake; later it is an update that is half done.
            _ if matches!(exit, Exit::NotStarted(_)) && self.starts == 1 => true,
            Restarts::Never => true,
            Restarts::OnFailure => exit == Exit::Code(0),
            Restarts::Always => false,
        };
        if is_finished {
            self.goal = Goal::End(exit.code());
            self.state = State::Leaving;
            self.acts.push(Act::Withdraw(Duration::ZERO));
            return;
        }
        if now.since(self.started) >= STABLE {
            self.crashes = 0;
        }
        let pause = (BACKOFF_MIN * 2u32.saturating_pow(self.crashes.min(10))).min(BACKOFF_MAX);
        self.crashes += 1;
        self.probation = pause.min(self.treatment.start_within / 2);
        self.state = State::Waiting(now + pause);
        self.acts.push(Act::Fail(why));
    }

    /// The process is gone, and so are its bindings.
    fn go_on(&mut self, now: Time) {
        match self.goal {
            Goal::End(code) => self.state = State::Over(code),
            Goal::Run | Goal::Restart(_) => {
                self.rolls.come_to(Phase::Restarting, now);
                self.probation = Duration::ZERO;
                self.start(now);
            }
        }
    }

    /// How its bindings stand by now.
    pub(super) fn see(&mut self, seen: Seen, now: Time) {
        match (self.state, seen) {
            (State::Draining, Seen::Gone) => {
                self.rolls.come_to(Phase::Restarting, now);
                self.acts.push(Act::Terminate);
                self.state = State::Stopping(now + self.treatment.grace);
            }
            (State::Leaving, Seen::Gone | Seen::Drains) => self.go_on(now),
            (State::Serving, Seen::Bound) => self.rolls.come_to(Phase::Done, now),
            _ => {}
        }
    }

    /// An operator wants it restarted. Nothing happens if this roll was begun before, or another one is under way, or it
    /// is about to end.
    pub(super) fn restart(&mut self, id: u64, drain: Option<Duration>, within: Duration, now: Time) {
        if matches!(self.goal, Goal::End(_)) || !self.rolls.begin(id, now) {
            return;
        }
        self.goal = Goal::Restart(within);
        match self.state {
            State::Waiting(_) => self.go_on(now),
            State::Checking(_) | State::Serving => self.drain(drain.unwrap_or(self.treatment.drain)),
            // It is being killed because it was too slow; it starts anew then.
            _ => {}
        }
    }

    /// It is to end: taken back, drained, ended.
    pub(super) fn end(&mut self, now: Time) {
        if matches!(self.goal, Goal::End(_)) {
            return;
        }
        self.rolls.fail(&Words::clip("the agent was told to end"), now);
        self.goal = Goal::End(0);
        match self.state {
            State::Waiting(_) => {
                self.state = State::Leaving;
                self.acts.push(Act::Withdraw(Duration::ZERO));
            }
            State::Checking(_) | State::Serving => self.drain(self.treatment.drain),
            _ => {}
        }
    }

    fn drain(&mut self, drain: Duration) {
        self.check_at = Time::NEVER;
        self.state = State::Draining;
        self.acts.push(Act::Withdraw(drain));
    }
}
