//! One check: whom it is for, how it stands, and how often it runs. Pure; its steps are `steps.rs`.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::acm::words::{Health, HealthDepth, TcpAbilities};
use crate::base::addr::Mac;
use crate::base::id::BindingId;
use crate::base::time::Time;

use super::Target;
use super::reason::{Failure, Sentence};
use super::steps::Step;
use super::verdict::{Standing, Verdict};

/// How often a check of depth L2 asks again once answered; it also keeps the bridges' tables in between fresh.
const ARP_REFRESH: Duration = Duration::from_secs(60);
/// The longest pause of a check of depth L2 that nobody answers, unless its interval is longer: ten thousand
/// of them are then a few hundred frames a second.
const ARP_BACKOFF_MAX: Duration = Duration::from_secs(16);
/// Whatever a profile says, a check takes at least this long to come round, so that a poll always ends.
const INTERVAL_MIN: Duration = Duration::from_millis(10);

/// What a finding says.
pub(super) type Told = (Health, Option<Mac>, Option<TcpAbilities>);

/// One check, for all bindings with this target.
#[derive(Debug)]
pub(super) struct Check {
    pub target: Target,
    /// What each binding's watcher was last told.
    pub told: BTreeMap<BindingId, Option<Told>>,
    pub verdict: Verdict,
    /// The verdict in words.
    pub health: Health,
    /// What the last SYN-ACK said.
    pub tcp: Option<TcpAbilities>,
    pub step: Step,
    /// When the check going on, or the last one, started.
    pub started: Time,
    /// Checks finished.
    pub finished: u64,
    /// For a check of depth L2: rounds without an answer, in a row.
    pub silent: u32,
}

impl Check {
    /// True for checks that only need the link address and are never failed once it is known.
    pub(super) fn is_link_only(&self) -> bool {
        self.target.profile.depth == HealthDepth::L2
    }

    /// Counts a result and puts the verdict into words.
    pub(super) fn judge(&mut self, result: Result<(), Failure>) {
        let profile = &self.target.profile;
        match result {
            Ok(()) => {
                self.silent = 0;
                self.verdict.pass(if self.is_link_only() { 1 } else { profile.rise });
            }
            Err(_) => {
                self.silent = self.silent.saturating_add(1);
                if !(self.is_link_only() && self.verdict.standing() == Standing::Up) {
                    self.verdict.fail(profile.fall);
                }
            }
        }
        let reason = |failure| {
            Sentence { failure, real: self.target.real, timeout: profile.timeout, http: profile.http.as_ref() }.text()
        };
        match (self.verdict.standing(), result) {
            (Standing::Up, _) => self.health = Health::Passing,
            (Standing::New, Err(failure)) => self.health = Health::Unknown(reason(failure)),
            (Standing::Down, Err(failure)) => self.health = Health::Failing(reason(failure)),
            // Passing, but not often enough yet: the reason it went out for stands.
            (Standing::New | Standing::Down, Ok(())) => {}
        }
    }

    /// From the start of the check that ended to the start of the next.
    pub(super) fn pause(&self, rng: &mut fastrand::Rng) -> Duration {
        let interval = self.target.profile.interval.0.max(INTERVAL_MIN);
        let part = |of: Duration, rng: &mut fastrand::Rng| of.mul_f64(rng.f64());
        match (self.is_link_only(), self.silent) {
            (true, 0) => ARP_REFRESH - part(ARP_REFRESH / 10, rng),
            (true, silent) => {
                let longer = interval.saturating_mul(1 << (silent - 1).min(16));
                longer.min(ARP_BACKOFF_MAX.max(interval)) + part(interval / 8, rng)
            }
            // Once, after the first check: thousands added at once need not be checked at once ever after.
            (false, _) if self.finished == 1 => interval / 2 + part(interval / 2, rng),
            (false, _) => interval,
        }
    }
}
