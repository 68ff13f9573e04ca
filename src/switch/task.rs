//! The control task: health checks, the workers' notices, deadlines. The thin place where this room reads a clock.
//!
//! A loop of four verbs: take what came in, let the machines decide, send what they want, wait.

#![allow(clippy::disallowed_methods)]

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rtrb::Consumer;

use super::local::Shared;
use super::worker::{Command, Report};
use crate::base::time::{Time, WallMillis};
use crate::health::Finding;
use crate::health::checks::Checks;

/// The switch's clock: monotonic time since it started, and what the wall clock said then.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    origin: Instant,
    wall_at_origin: WallMillis,
}

impl Clock {
    /// A clock that starts now.
    pub fn start() -> Clock {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Clock { origin: Instant::now(), wall_at_origin: wall.as_millis() as WallMillis }
    }

    /// The time since the start.
    pub fn now(&self) -> Time {
        Time::from_micros(self.origin.elapsed().as_micros() as u64)
    }

    /// The wall clock at a time, for people.
    pub fn wall(&self, at: Time) -> WallMillis {
        self.wall_at_origin + at.millis()
    }
}

/// What runs beside the workers until the switch stops.
pub struct ControlTask {
    pub(super) shared: Arc<Shared>,
    pub(super) checks: Checks,
    pub(super) reports: Consumer<Report>,
}

impl ControlTask {
    /// Runs until [`LocalSwitch::stop`](super::local::LocalSwitch::stop) or until the switch is dropped.
    pub async fn run(mut self) {
        let mut frames = Vec::new();
        let mut findings = Vec::new();
        while !self.shared.is_stopping() {
            let now = self.shared.clock.now();
            self.take_reports(now);
            self.take_orders(now);
            self.checks.poll(now, &mut frames, &mut findings);
            self.decide(&mut findings, now);
            for frame in frames.drain(..) {
                // A full ring loses a check's frame as a wire would; the check tries again.
                let _ = self.shared.worker.command(Command::Originate(frame));
            }
            self.wait().await;
        }
    }

    fn take_reports(&mut self, now: Time) {
        while let Ok(report) = self.reports.pop() {
            match report {
                Report::Delivered(frame) => self.checks.handle(&frame, now),
                Report::Notice { notice, seen } => self.shared.notice(notice, seen, now),
            }
        }
    }

    fn take_orders(&mut self, now: Time) {
        use super::control::HealthOrder::{Forget, Watch};
        for order in self.shared.take_health_orders() {
            match order {
                Watch(binding, target) => self.checks.watch(binding, target, now),
                Forget(binding) => self.checks.forget(binding),
            }
        }
    }

    fn decide(&mut self, findings: &mut Vec<Finding>, now: Time) {
        self.shared.change(now, |control| {
            for finding in findings.drain(..) {
                control.observe(&finding, now);
            }
            control.tick(now);
        });
    }

    /// Until something is reported or ordered, or the next deadline.
    async fn wait(&mut self) {
        let deadline = [self.checks.next_deadline(), self.shared.next_deadline()].into_iter().flatten().min();
        let left = deadline.map_or(Duration::from_secs(3600), |at| at.since(self.shared.clock.now()));
        tokio::select! {
            () = self.shared.news.notified() => {}
            // Tokio's timer has a millisecond's resolution; a deadline already due is not slept for.
            () = tokio::time::sleep(left) => {}
        }
    }
}
