//! The conformance suite: what every [`AcmSwitch`] must do, as a library, for implementors here and elsewhere.
//!
//! An implementor describes his switch as a [`Subject`]: how to make a fresh one, which addresses the suite may use, and
//! what it cannot do. A case ends in one of four ways ([`Ending`]):
//!
//! * *passed*;
//! * *cannot*: the switch answered `Unsupported`, and the subject declares that it lacks that feature. An undeclared
//!   one fails, so that a switch which must do everything cannot excuse itself;
//! * *skipped*: the *traffic* cases (drain, Force Remove, Drop) need a [`Testbed`] that opens connections and lets time
//!   pass; without one they are not run. The others need nothing but the trait;
//! * *failed*, and why.
//!
//! Needs a tokio runtime with time enabled, since [`wait`](super::wait) does.
//!
//! ```
//! use acm_switch::acm::conformance::{Bench, Plan, Subject, Testbed, run};
//! use acm_switch::acm::model::ModelSwitch;
//! use acm_switch::acm::switch::{AcmSwitch, Answer};
//!
//! /// Somebody's driver, here the model for want of another.
//! struct Mine;
//! struct MyBench(ModelSwitch);
//!
//! impl Subject for Mine {
//!     fn name(&self) -> &str {
//!         "my switch"
//!     }
//!     fn plan(&self) -> Plan {
//!         Plan::example()
//!     }
//!     fn fresh(&self) -> Answer<'_, Box<dyn Bench>> {
//!         Box::pin(async { Box::new(MyBench(ModelSwitch::new(1))) as Box<dyn Bench> })
//!     }
//! }
//!
//! impl Bench for MyBench {
//!     fn switch(&self) -> &dyn AcmSwitch {
//!         &self.0
//!     }
//!     fn testbed(&self) -> Option<&dyn Testbed> {
//!         None // no traffic here: those cases are skipped
//!     }
//! }
//!
//! let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
//! let report = runtime.block_on(run(&Mine));
//! assert!(report.is_conformant(), "{report}");
//! ```

pub mod content;
pub mod control;
pub mod fencing;
pub mod refusals;
pub mod settings;
pub mod traffic;

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use super::error::{AcmError, Feature};
use super::primitive::Outcome;
use super::rules::request::{Reply, Request, Served};
use super::switch::{AcmSwitch, Answer};
use super::words::{HealthProfile, Refusal, ServiceKey};
use crate::base::span::Span;

/// A switch to be judged.
pub trait Subject: Send + Sync {
    /// Its name in the report.
    fn name(&self) -> &str;

    /// A switch with nothing in it. Each case gets its own.
    fn fresh(&self) -> Answer<'_, Box<dyn Bench>>;

    /// Addresses the suite may use.
    fn plan(&self) -> Plan;

    /// What the switch cannot do, and says so. [`Feature::ALL`] for one that is to be explored.
    fn lacks(&self) -> &[Feature] {
        &[]
    }
}

/// A fresh switch, and perhaps the means to send traffic through it.
pub trait Bench: Send + Sync {
    /// The switch.
    fn switch(&self) -> &dyn AcmSwitch;

    /// Traffic, if there is any.
    fn testbed(&self) -> Option<&dyn Testbed>;
}

/// Addresses the suite may use.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Two TCP services.
    pub services: [ServiceKey; 2],
    /// Servers, on which the testbed listens.
    pub reals: [SocketAddr; 3],
    /// Two clients, in different /32 prefixes.
    pub clients: [IpAddr; 2],
    /// How servers are checked in the cases with traffic; `None` for a switch that checks in its own way, at its own
    /// pace.
    pub checks: Option<HealthProfile>,
}

impl Plan {
    /// Checks that find out within a second, so that the suite is quick.
    pub fn quick_checks() -> HealthProfile {
        let (interval, timeout) = (Span::millis(200), Span::millis(150));
        HealthProfile { interval, timeout, rise: 1, fall: 2, ..HealthProfile::default() }
    }

    /// Addresses for switches that can use any.
    pub fn example() -> Plan {
        let ip = |last| IpAddr::V4(Ipv4Addr::new(10, 0, 0, last));
        let service = |port| ServiceKey::tcp(SocketAddr::new(ip(100), port));
        let real = |last| SocketAddr::new(ip(last), 8080);
        Plan {
            services: [service(80), service(81)],
            reals: [real(11), real(12), real(13)],
            clients: [ip(1), ip(3)],
            checks: Some(Plan::quick_checks()),
        }
    }
}

/// A connection opened by a testbed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Connection(pub u64);

/// What became of an attempt to connect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attempt {
    /// Connected, to this real.
    To(Connection, SocketAddr),
    /// Refused, in this way.
    Refused(Refusal),
}

/// What became of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// Data passes both ways.
    Alive,
    /// Both ends were reset.
    Reset,
    /// Neither.
    Broken,
}

/// Opens connections through the switch and supplies time.
pub trait Testbed: Send + Sync {
    /// One attempt to connect, with one SYN, from this address and port. A repeated attempt from the same ones is a SYN
    /// retry of the first.
    fn open(&self, client: SocketAddr, service: ServiceKey) -> Answer<'_, Attempt>;

    /// Ends a connection in order, both ways.
    fn close(&self, connection: Connection) -> Answer<'_, ()>;

    /// Tries a connection with data both ways.
    fn fate(&self, connection: Connection) -> Answer<'_, Fate>;

    /// Makes a real answer its checks, or not.
    fn set_healthy(&self, real: SocketAddr, healthy: bool) -> Answer<'_, ()>;

    /// Lets this much time pass.
    fn pass(&self, time: Duration) -> Answer<'_, ()>;

    /// Sends a request on the connection from this address and port, which is opened if there is none, and waits for what
    /// becomes of it; `None` if this testbed asks nothing, which skips the cases about requests. A server that is asked with
    /// a header field [`SAYS_COOKIE`](super::rules::request::SAYS_COOKIE) sets the cookie it says.
    fn ask<'a>(&'a self, client: SocketAddr, service: ServiceKey, request: &'a Request) -> Answer<'a, Option<Reply>> {
        let _ = (client, service, request);
        Box::pin(std::future::ready(None))
    }

    /// The same with bytes that are neither HTTP nor TLS.
    fn babble(&self, client: SocketAddr, service: ServiceKey) -> Answer<'_, Option<Served>> {
        let _ = (client, service);
        Box::pin(std::future::ready(None))
    }
}

/// Why a case ended early.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stop {
    /// The switch does not do what it must.
    Failed(String),
    /// The switch says that it cannot.
    Lacks {
        /// What it cannot do.
        feature: Feature,
        /// Why, in its words.
        why: String,
    },
    /// The testbed cannot show it.
    Untestable(String),
}

impl From<AcmError> for Stop {
    fn from(error: AcmError) -> Stop {
        match error {
            AcmError::Unsupported { feature, why } => Stop::Lacks { feature, why },
            error => Stop::Failed(format!("answered: {error}")),
        }
    }
}

/// A case's verdict.
pub type Verdict = Result<(), Stop>;

/// One case.
pub struct Case {
    /// What it claims.
    pub name: &'static str,
    /// What it is about: the module it is in.
    pub room: Room,
    run: Run,
}

/// What cases are about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Room {
    /// [`control`]
    Control,
    /// [`settings`]
    Settings,
    /// [`fencing`]: they claim leadership, which puts whoever manages the switch out of it.
    Fencing,
    /// [`traffic`]
    Traffic,
    /// [`refusals`]
    Refusals,
    /// [`content`]
    Content,
}

impl Room {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Room::Control => "control",
            Room::Settings => "settings",
            Room::Fencing => "fencing",
            Room::Traffic => "traffic",
            Room::Refusals => "refusals",
            Room::Content => "content",
        }
    }
}

enum Run {
    Control(for<'a> fn(&'a dyn AcmSwitch, &'a Plan) -> Answer<'a, Verdict>),
    Traffic(for<'a> fn(&'a dyn AcmSwitch, &'a dyn Testbed, &'a Plan) -> Answer<'a, Verdict>),
}

/// Ends a case unless something holds.
pub(super) fn expect(holds: bool, why: impl fmt::Display) -> Verdict {
    if holds { Ok(()) } else { Err(Stop::Failed(why.to_string())) }
}

/// What the switch says it cannot do ends a case; any other outcome is for the case to judge.
pub(super) fn unless_lacking(outcome: &Outcome) -> Verdict {
    match outcome {
        Err(lacking @ AcmError::Unsupported { .. }) => Err(lacking.clone().into()),
        _ => Ok(()),
    }
}

/// How a case ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// As it should.
    Passed,
    /// The switch cannot do what the case is about, and says so.
    Cannot {
        /// What it cannot do.
        feature: Feature,
        /// Why, in its words.
        why: String,
    },
    /// Not run, and why.
    Skipped(String),
    /// Not as it should, and why.
    Failed(String),
}

/// How all cases ended.
#[derive(Debug, Clone)]
pub struct Report {
    /// Whose.
    pub subject: String,
    /// Each case by name.
    pub endings: Vec<(&'static str, Ending)>,
}

impl Report {
    /// True if nothing failed.
    pub fn is_conformant(&self) -> bool {
        !self.endings.iter().any(|(_, ending)| matches!(ending, Ending::Failed(_)))
    }

    /// How many were skipped.
    pub fn skipped(&self) -> usize {
        self.endings.iter().filter(|(_, ending)| matches!(ending, Ending::Skipped(_))).count()
    }

    /// How many are about something the switch cannot do.
    pub fn cannot(&self) -> usize {
        self.endings.iter().filter(|(_, ending)| matches!(ending, Ending::Cannot { .. })).count()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "conformance of {}", self.subject)?;
        for (name, ending) in &self.endings {
            match ending {
                Ending::Passed => writeln!(f, "  passed   {name}")?,
                Ending::Cannot { feature, why } => writeln!(f, "  cannot   {name}: {feature}: {why}")?,
                Ending::Skipped(why) => writeln!(f, "  skipped  {name}: {why}")?,
                Ending::Failed(why) => writeln!(f, "  FAILED   {name}: {why}")?,
            }
        }
        Ok(())
    }
}

/// Every case.
pub fn cases() -> impl Iterator<Item = &'static Case> {
    let rooms = [control::CASES, settings::CASES, fencing::CASES, traffic::CASES, refusals::CASES, content::CASES];
    rooms.into_iter().flatten()
}

/// Runs every case, each on a fresh switch.
pub async fn run(subject: &dyn Subject) -> Report {
    let mut endings = Vec::new();
    for case in cases() {
        endings.push((case.name, judge(subject, case).await));
    }
    Report { subject: subject.name().to_owned(), endings }
}

/// Runs one case on a fresh switch.
pub async fn judge(subject: &dyn Subject, case: &Case) -> Ending {
    let (bench, plan) = (subject.fresh().await, subject.plan());
    let verdict = match (&case.run, bench.testbed()) {
        (Run::Control(run), _) => run(bench.switch(), &plan).await,
        (Run::Traffic(run), Some(testbed)) => run(bench.switch(), testbed, &plan).await,
        (Run::Traffic(_), None) => return Ending::Skipped("needs a testbed that sends traffic".into()),
    };
    match verdict {
        Ok(()) => Ending::Passed,
        Err(Stop::Failed(why)) => Ending::Failed(why),
        Err(Stop::Untestable(why)) => Ending::Skipped(why),
        Err(Stop::Lacks { feature, why }) if subject.lacks().contains(&feature) => Ending::Cannot { feature, why },
        Err(Stop::Lacks { feature, why }) => {
            Ending::Failed(format!("refuses {feature} without declaring that it lacks it: {why}"))
        }
    }
}

/// The examples of the guide for driver authors, compiled and run with those of this documentation.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/driver-authors.md")]
struct DriverGuide;
