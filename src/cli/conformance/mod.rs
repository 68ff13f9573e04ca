//! `acm conformance`: the contract's suite against any box that a driver reaches.
//!
//! The suite brings its own addresses (198.18.0.0/15 is for benchmarks and tests, RFC 2544) unless told others, sees
//! nothing else of the box, and removes what it made, also when it is interrupted. Cases that need traffic are skipped:
//! they need a testbed, which only a test program can bring.

#![allow(clippy::disallowed_methods)]

mod guest;
mod report;

use std::io::{self, IsTerminal as _, Write as _};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};

use super::connection::credentials;
use super::failure::Failure;
use super::output::{self, table};
use super::signals;
use crate::acm::conformance::{Case, Ending, Plan, Room, cases, judge};
use crate::acm::connect::{Connect as _, SwitchProfile};
use crate::acm::error::AcmError;
use crate::acm::recent::Recent;
use crate::acm::words::ServiceKey;
use crate::base::text::escaped;
use crate::driver::url::DriverUrl;
use crate::driver::{Driver, Registry, haproxy};
use guest::{Company, Guest, Judged, Services};
use report::{CaseReport, Report};

/// How long one case may take. The longest waits for a binding to drain, 5 s.
const CASE_PATIENCE: Duration = Duration::from_secs(60);
/// How often a run that is not watched on a terminal says where it is.
const PROGRESS_EVERY: Duration = Duration::from_secs(10);

/// Judge a box: run the contract's conformance suite through its driver and report
///
/// What the box answers with `Unsupported` is reported as something it cannot do, not as a failure. The suite uses
/// services and servers of 198.18.0.0/15, or those given, leaves everything else alone, and removes what it made.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    acm conformance --driver native --target unix:/run/acm/switch.sock\n  \
    acm conformance --driver haproxy --target 'unix:/run/haproxy.sock?vip=10.0.0.100:80=web&vip=10.0.0.101:80=shop'\n  \
    ACM_PASSWORD=... acm conformance --driver foundry --target telnet://lb-5 --user admin --report junit > report.xml\n  \
    acm conformance --list\n\n\
    Exit code: 0 if no case failed, 1 if one did or the addresses are refused, 3 if the box is unreachable.")]
pub(super) struct ConformanceArgs {
    /// Who speaks to the box: native, foundry or haproxy
    #[arg(long, value_name = "NAME", required_unless_present = "list")]
    driver: Option<Driver>,
    /// Where it is: unix:PATH, http://HOST:PORT, telnet://HOST, ssh://HOST, tcp://HOST:PORT, with the driver's options
    #[arg(long, value_name = "URL", required_unless_present = "list")]
    target: Option<DriverUrl>,
    /// Who logs in (drivers of command lines); the passwords are in ACM_PASSWORD and ACM_ENABLE_PASSWORD
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// File whose first token is presented (native); or put the token into ACM_TOKEN
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// For whom the report is
    #[arg(long, value_enum, default_value_t = Format::Text)]
    report: Format,
    /// A service the suite may use, at most two [default: what the driver maps, or 198.18.0.100:80 and :81]
    #[arg(long, value_name = "VIP:PORT")]
    vip: Vec<ServiceKey>,
    /// A server the suite may use, at most three [default: 198.18.0.11:8080, .12 and .13]
    #[arg(long, value_name = "REAL:PORT")]
    real: Vec<SocketAddr>,
    /// Only cases whose name has this in it, in any case of letters; may be repeated
    #[arg(long, value_name = "TEXT")]
    filter: Vec<String>,
    /// Claim leadership also on a box that serves others: its manager is fenced off and has to claim again
    #[arg(long)]
    claim: bool,
    /// Show the cases and do nothing
    #[arg(long)]
    list: bool,
}

/// For whom the report is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// People.
    Text,
    /// Programs.
    Json,
    /// Build servers.
    Junit,
}

impl ConformanceArgs {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let selected = self.selected()?;
        if self.list {
            let rows: Vec<_> = selected.iter().map(|case| vec![case.room.as_str().into(), case.name.into()]).collect();
            return output::line(table(&["ABOUT", "CASE"], &rows).trim_end());
        }
        let (Some(driver), Some(target)) = (self.driver, &self.target) else {
            return Err(Failure::Setup("--driver and --target say what to judge".into()));
        };
        let url = self.address(driver, target)?;
        let began = Instant::now();
        let results = self.judge_all(driver, &url, &selected).await?;
        let report = Report::new(driver.name().to_owned(), url.to_string(), began.elapsed(), results);
        match self.report {
            Format::Text => output::line(&report.text())?,
            Format::Json => output::json(&report)?,
            Format::Junit => output::line(&report.junit())?,
        }
        match report.counts.failed {
            0 => Ok(()),
            failed => Err(Failure::Setup(format!("{failed} of {} cases failed", report.cases.len()))),
        }
    }

    fn selected(&self) -> Result<Vec<&'static Case>, Failure> {
        let wanted: Vec<_> = self.filter.iter().map(|text| text.to_lowercase()).collect();
        let is_wanted = |case: &&Case| {
            wanted.is_empty() || wanted.iter().any(|text| case.name.to_lowercase().contains(text.as_str()))
        };
        let selected: Vec<_> = cases().filter(is_wanted).collect();
        if selected.is_empty() {
            return Err(Failure::Setup("no case has that in its name; `acm conformance --list` shows them".into()));
        }
        Ok(selected)
    }

    /// The target with the driver and the user in it.
    fn address(&self, driver: Driver, target: &DriverUrl) -> Result<DriverUrl, AcmError> {
        let url = target.clone().through(driver.name())?;
        match &self.user {
            Some(user) => url.as_user(user),
            None => Ok(url),
        }
    }

    fn plan(&self, driver: Driver, url: &DriverUrl) -> Result<Plan, AcmError> {
        let mut services = self.vip.clone();
        if services.is_empty() && driver == Driver::Haproxy {
            services = haproxy::mapped_services(url)?;
            services.truncate(2);
        }
        let (services_max, reals_max) = (2, 3);
        if services.len() > services_max || self.real.len() > reals_max {
            return Err(AcmError::invalid("--vip, --real", "the suite uses two services and three servers"));
        }
        let ip = |last| IpAddr::from([198, 18, 0, last]);
        let fill = |n: usize| ServiceKey::tcp(SocketAddr::new(ip(100), 80 + n as u16));
        services.extend((services.len()..services_max).map(fill));
        let mut reals = self.real.clone();
        reals.extend((reals.len()..reals_max).map(|n| SocketAddr::new(ip(11 + n as u8), 8080)));
        Ok(Plan {
            services: [services[0], services[1]],
            reals: [reals[0], reals[1], reals[2]],
            // Clients are for traffic, and for client prefixes in Drop policies.
            clients: [ip(1), ip(2)],
            checks: Some(Plan::quick_checks()),
        })
    }

    async fn judge_all(
        &self,
        driver: Driver,
        url: &DriverUrl,
        selected: &[&'static Case],
    ) -> Result<Vec<CaseReport>, Failure> {
        let recent = Recent::default();
        let name = "target".parse().map_err(|why: crate::base::id::NotAName| Failure::Setup(why.to_string()))?;
        let profile = SwitchProfile {
            credentials: credentials(self.token_file.as_deref())?,
            recent: Some(recent.clone()),
            ..SwitchProfile::new(name, url.to_string())
        };
        let stop = signals::stop_requested()?;
        let target = Registry.connect(&profile).await?;
        let services = if driver == Driver::Haproxy { Services::Fixed } else { Services::Ours };
        let (guest, company) = Guest::enter(target, self.plan(driver, url)?, services, recent.clone()).await?;
        let guest = Arc::new(guest);
        let mut run = Run { guest: &guest, recent, may_claim: self.claim || company == Company::Alone, done: vec![] };
        let interrupted = tokio::select! {
            () = run.cases(selected) => return Ok(run.done),
            () = stop => Failure::Setup("interrupted; what the suite had made was removed".into()),
        };
        guest.clean().await?;
        Err(interrupted)
    }
}

/// A run under way.
struct Run<'a> {
    guest: &'a Arc<Guest>,
    recent: Recent,
    may_claim: bool,
    done: Vec<CaseReport>,
}

impl Run<'_> {
    /// Every case, each on a target that was cleaned up. When it cannot be, that is a failure, and the rest is not run.
    async fn cases(&mut self, selected: &[&'static Case]) {
        let mut progress = Progress::new(selected.len());
        let mut unclean = None;
        for (n, case) in selected.iter().enumerate() {
            progress.at(n, case.name);
            self.recent.take();
            let began = Instant::now();
            let mut ending = match &unclean {
                None => self.one(case).await,
                Some(after) => Ending::Skipped(format!("the target could not be cleaned up after `{after}`")),
            };
            if unclean.is_none()
                && let Err(why) = self.guest.clean().await
            {
                unclean = Some(case.name);
                ending =
                    Ending::Failed(format!("{}afterwards the target could not be cleaned up: {why}", so_far(&ending)));
            }
            self.done.push(CaseReport::new(case, ending, began.elapsed(), self.recent.take()));
        }
        progress.end();
    }

    async fn one(&self, case: &Case) -> Ending {
        if case.room == Room::Fencing && !self.may_claim {
            return Ending::Skipped(
                "the target serves others, whose manager would be fenced off; --claim runs it".into(),
            );
        }
        match tokio::time::timeout(CASE_PATIENCE, judge(&Judged(Arc::clone(self.guest)), case)).await {
            Ok(ending) => ending,
            Err(_) => Ending::Failed(format!("it did not end within {CASE_PATIENCE:?}")),
        }
    }
}

/// What a failed case says before what else went wrong.
fn so_far(ending: &Ending) -> String {
    match ending {
        Ending::Failed(why) => format!("{why}; "),
        _ => String::new(),
    }
}

/// Where a run is, on stderr. What cannot be shown there is not worth failing for.
struct Progress {
    cases: usize,
    is_watched: bool,
    last: Instant,
}

impl Progress {
    fn new(cases: usize) -> Progress {
        Progress { cases, is_watched: io::stderr().is_terminal(), last: Instant::now() }
    }

    fn at(&mut self, done: usize, name: &str) {
        let line = format!("{done} of {} cases done; now: {}", self.cases, escaped(name));
        let mut err = io::stderr().lock();
        if self.is_watched {
            let _ = write!(err, "\r\u{1b}[K{line}");
        } else if self.last.elapsed() >= PROGRESS_EVERY {
            self.last = Instant::now();
            let _ = writeln!(err, "{line}");
        }
        let _ = err.flush();
    }

    fn end(&self) {
        if self.is_watched {
            let _ = write!(io::stderr(), "\r\u{1b}[K");
        }
    }
}
