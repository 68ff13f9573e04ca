//! Scripted situations with a verdict on what a driver did in them.
//!
//! ```text
//!  Scenario::start(settings, simulated box's settings) -> Judge ... the driver works ... Judge::verdict(now)
//! ```
//!
//! A judge looks at effects (who is in service, who has connections, what was saved), never at the words of commands: there is
//! more than one right way to take a server out.

mod rolling;
mod service;
mod single;

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::chassis::Settings;
use crate::chassis::flash::MemoryFlash;
use crate::chassis::witness::{Deed, Witness};
use crate::shell::SessionId;
use crate::simbox::{Action, Script, SimSettings, Traffic};
use crate::time::Time;

/// A situation.
#[derive(Debug)]
pub struct Scenario {
    /// As it is chosen: `rolling-reboot`.
    pub name: &'static str,
    /// What happens to the device.
    pub about: &'static str,
    /// What the driver is to do.
    pub task: &'static str,
    /// How long it has.
    pub limit: Duration,
    prepare: fn(&mut Settings, &mut SimSettings),
    judge: fn() -> Box<dyn Judging>,
}

/// Every scenario.
pub static ALL: &[Scenario] = &[
    Scenario {
        name: "rolling-reboot",
        about: "An empty device with busy clients.",
        task: "Bind port 80 of three real servers to port 80 of one virtual server. Then, one after the other, take each out \
               gracefully (disable or unbind its port, or delete it), wait until it has no connections, and put it back. \
               Save at the end.",
        limit: Duration::from_secs(600),
        prepare: |_, simulated| simulated.traffic = Traffic { per_second: 4, lasts: Duration::from_secs(1) },
        judge: || Box::new(rolling::Rolling::default()),
    },
    Scenario {
        name: "failed-server",
        about: "rs1, rs2 and rs3 are bound to v1; after two seconds rs2 answers no more.",
        task: "Notice it, take rs2 out of v1, leave rs1 and rs3 alone, and save.",
        limit: Duration::from_secs(300),
        prepare: |settings, simulated| {
            settings.flash = Box::new(MemoryFlash::holding(THREE));
            simulated.script = Script::default().at(Duration::from_secs(2), Action::ServerDown([10, 1, 2, 2].into()));
        },
        judge: || Box::new(single::FailedServer::default()),
    },
    Scenario {
        name: "changed-behind",
        about: "rs1, rs2 and rs3 are bound to v1; after two seconds another hand unbinds rs3 and adds a server of its own.",
        task: "Notice it, bind rs3 again, leave the other hand's server alone, and save.",
        limit: Duration::from_secs(300),
        prepare: |settings, _| {
            settings.flash = Box::new(MemoryFlash::holding(THREE));
            let lines = ["server virtual v1", "no bind http rs3 http", "server real theirs 198.51.100.7", "port http"];
            settings.other_hand = lines.map(|line| (Duration::from_secs(2), line.to_owned())).to_vec();
        },
        judge: || Box::new(single::ChangedBehind::default()),
    },
    Scenario {
        name: "reload",
        about: "rs1, rs2 and rs3 are there, and only rs1 is bound to v1.",
        task: "Bind rs2 and rs3 too, save, reload the device, come back, and look whether all three are still bound.",
        limit: Duration::from_secs(300),
        prepare: |settings, _| {
            settings.flash = Box::new(MemoryFlash::holding(&THREE.replace(" rs2 http rs3 http", "")))
        },
        judge: || Box::new(single::Reload::default()),
    },
    Scenario {
        name: "replace-server",
        about: "rs1, rs2 and rs3 are bound to v1, and clients are busy.",
        task: "Replace rs1 by a server of the same name at 10.1.2.11: delete it gracefully, wait until it has gone, add and \
               bind it anew, and save.",
        limit: Duration::from_secs(300),
        prepare: |settings, simulated| {
            settings.flash = Box::new(MemoryFlash::holding(THREE));
            simulated.traffic = Traffic { per_second: 4, lasts: Duration::from_secs(1) };
        },
        judge: || Box::new(single::ReplaceServer::default()),
    },
];

/// Three servers that serve.
const THREE: &str = "\
server real rs1 10.1.2.1
 port http
 port http keepalive
!
server real rs2 10.1.2.2
 port http
 port http keepalive
!
server real rs3 10.1.2.3
 port http
 port http keepalive
!
server virtual v1 10.1.1.1
 port http
 bind http rs1 http rs2 http rs3 http
!
end
";

/// The scenario of this name.
pub fn by_name(name: &str) -> Option<&'static Scenario> {
    ALL.iter().find(|scenario| scenario.name == name)
}

impl Scenario {
    /// Makes the device ready for it. The judge sees everything from then on.
    pub fn start(&self, settings: &mut Settings, simulated: &mut SimSettings) -> Judge {
        (self.prepare)(settings, simulated);
        let judge = Judge { limit: self.limit, judging: Arc::new(Mutex::new((self.judge)())) };
        settings.witness = Some(Box::new(judge.clone()));
        judge
    }
}

/// What a judge of one scenario has seen.
trait Judging: Send {
    fn see(&mut self, by: Option<SessionId>, deed: &Deed<'_>, now: Time);
    /// The steps in their order.
    fn steps(&self) -> Vec<Step>;
}

/// Watches the driver. Clones are the same judge.
#[derive(Clone)]
pub struct Judge {
    limit: Duration,
    judging: Arc<Mutex<Box<dyn Judging>>>,
}

impl Witness for Judge {
    fn see(&mut self, by: Option<SessionId>, deed: &Deed<'_>, now: Time) {
        self.judging.lock().unwrap_or_else(PoisonError::into_inner).see(by, deed, now);
    }
}

impl Judge {
    /// The verdict on what was done until now.
    pub fn verdict(&self, now: Time) -> Verdict {
        let steps = self.judging.lock().unwrap_or_else(PoisonError::into_inner).steps();
        let late = now.since(Time::ZERO) > self.limit;
        let outcome = if steps.iter().any(|step| matches!(step.state, State::Wrong(_))) {
            Outcome::Failed
        } else if steps.iter().all(|step| step.state == State::Done) {
            Outcome::Passed
        } else if late {
            Outcome::Failed
        } else {
            Outcome::Unfinished
        };
        Verdict { outcome, steps, late }
    }
}

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Every step is done.
    Passed,
    /// A step was done wrong, or there was no time left.
    Failed,
    /// Steps are open, and nothing is wrong yet.
    Unfinished,
}

/// A step of the task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// What was to be done.
    pub what: String,
    /// How that went.
    pub state: State,
}

/// See [`Step`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// As it should be.
    Done,
    /// Not yet.
    Open,
    /// This was wrong.
    Wrong(String),
}

impl Step {
    fn new(what: impl Into<String>, state: State) -> Step {
        Step { what: what.into(), state }
    }

    fn done_if(what: impl Into<String>, done: bool) -> Step {
        Step::new(what, if done { State::Done } else { State::Open })
    }
}

/// The verdict: the outcome and the steps behind it. Printed, it is a line for each step and one for the outcome.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// What came of it.
    pub outcome: Outcome,
    /// The steps in their order.
    pub steps: Vec<Step>,
    /// The time is up.
    pub late: bool,
}

impl Verdict {
    /// Whether nothing that still comes can change it.
    pub fn is_final(&self) -> bool {
        self.outcome != Outcome::Unfinished
    }

    /// 0 if it was passed, else 1.
    pub fn exit_code(&self) -> u8 {
        u8::from(self.outcome != Outcome::Passed)
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Step { what, state } in &self.steps {
            match state {
                State::Done => writeln!(f, "done   {what}")?,
                State::Open => writeln!(f, "open   {what}")?,
                State::Wrong(why) => writeln!(f, "wrong  {what}: {why}")?,
            }
        }
        f.write_str(match (self.outcome, self.late) {
            (Outcome::Passed, _) => "passed",
            (Outcome::Failed, true) => "failed: the time is up",
            (Outcome::Failed, false) => "failed",
            (Outcome::Unfinished, _) => "unfinished",
        })
    }
}
