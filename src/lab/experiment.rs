//! What the experiments with managers and agents have in common: the lab, the promises, what is said meanwhile.

#![allow(clippy::disallowed_methods)]

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::control::{Control, Profile, is_active, rows};
use super::load::Ledger;
use super::plot::Mark;
use super::promises::Promises;
use super::record::{Load, Record};
use super::rig::Lab;
use super::serve::now_us;
use super::{MANAGERS_MAX, VIP};
use crate::acm::list::BindingRow;
use crate::driver::native::NativeClient;

/// Managers there are.
pub(super) const MANAGERS: u8 = 2;
const _: () = assert!(MANAGERS <= MANAGERS_MAX);

/// From one look at the switch to the next.
const LOOK: Duration = Duration::from_millis(10);

/// Steps of a record, in seconds: as often as load generators report.
const STEP: f64 = 0.2;

/// See the module's documentation.
pub(super) struct Experiment {
    pub(super) lab: Lab,
    pub(super) switch: NativeClient,
    pub(super) control: Control,
    pub(super) promises: Promises,
    marks: Vec<Mark>,
    ledgers: Vec<Vec<Ledger>>,
    start: Instant,
    start_us: u64,
    quiet: bool,
    out: Option<PathBuf>,
}

impl Experiment {
    /// A lab with this many servers, of which none runs yet, the switch, and managers of which one leads.
    pub(super) async fn begin(
        servers: u8,
        profile: Profile,
        quiet: bool,
        out: Option<PathBuf>,
    ) -> io::Result<Experiment> {
        let (start, start_us) = (Instant::now(), now_us());
        if let Some(out) = &out {
            let wrong = |why: io::Error| io::Error::new(why.kind(), format!("--out {}: {why}", out.display()));
            std::fs::create_dir_all(out).map_err(wrong)?;
        }
        let mut lab = Lab::up_with_managers(servers, MANAGERS)?;
        let switch = lab.start_switch(&[]).await?;
        let control = Control::prepare(&lab, out.clone())?;
        let mut experiment = Experiment {
            lab,
            switch,
            control,
            promises: Promises::default(),
            marks: Vec::new(),
            ledgers: Vec::new(),
            start,
            start_us,
            quiet,
            out,
        };
        experiment.start_managers(profile).await?;
        Ok(experiment)
    }

    /// Starts those managers that do not run, and waits until one leads.
    pub(super) async fn start_managers(&mut self, profile: Profile) -> io::Result<u8> {
        for n in 1..=MANAGERS {
            if self.control.manager(n).is_none() {
                self.control.start_manager(&self.lab, n, profile)?;
            }
        }
        self.leader().await
    }

    /// Which manager leads, as soon as one does.
    pub(super) async fn leader(&self) -> io::Result<u8> {
        let end = Instant::now() + Duration::from_secs(30);
        loop {
            match self.control.leader(&self.lab).await {
                Ok(leader) => return Ok(leader),
                Err(why) if Instant::now() > end => return Err(why),
                Err(_) => {}
            }
        }
    }

    pub(super) fn say(&self, text: &str) {
        if !self.quiet {
            println!("{:6.2} s  {text}", self.start.elapsed().as_secs_f64());
        }
    }

    /// Something happens: said, and marked in the drawing.
    pub(super) fn mark(&mut self, text: &str) {
        self.say(text);
        let at = now_us().saturating_sub(self.start_us) as f64 / 1e6;
        self.marks.push(Mark { at, text: text.to_owned() });
    }

    /// A load generator: its further arguments.
    pub(super) fn load(&self, more: &[&str]) -> io::Result<Load> {
        let target = VIP.to_string();
        let mut args = vec!["load", "--target", &target];
        args.extend(more);
        Ok(Load::keep(self.lab.start_client(&args)?))
    }

    /// Ends a load generator and keeps what it recorded; its final ledger.
    pub(super) async fn finish(&mut self, load: Load) -> io::Result<Ledger> {
        let (last, samples) = load.finish().await?;
        self.ledgers.push(samples);
        Ok(last)
    }

    /// Waits until the switch's rows are so; how long it took from this moment.
    pub(super) async fn until(
        &self,
        what: &str,
        patience: Duration,
        is_so: impl Fn(&[BindingRow]) -> bool,
    ) -> io::Result<Duration> {
        let start = Instant::now();
        loop {
            let rows = rows(&self.switch).await?;
            if is_so(&rows) {
                return Ok(start.elapsed());
            }
            if start.elapsed() > patience {
                let told: Vec<_> = rows.iter().map(|row| format!("{} {}", row.key.real, row.state.as_str())).collect();
                return Err(io::Error::other(format!("{what}: not within {patience:?}; there is {}", told.join(", "))));
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Waits until these servers take connections.
    pub(super) async fn until_active(&self, servers: &[u8], patience: Duration) -> io::Result<Duration> {
        let what = format!("servers {servers:?} active");
        self.until(&what, patience, |rows| servers.iter().all(|n| is_active(rows, *n))).await
    }

    /// Draws what was recorded, if that is wanted, and closes.
    pub(super) fn close(mut self, name: &str, title: &str, group: impl Fn(&str) -> String) -> io::Result<Promises> {
        if let Some(out) = self.out.take() {
            // Nothing is shown of the time before the first load.
            let from_us = self.ledgers.iter().filter_map(|ledgers| ledgers.first()).map(|first| first.at_us).min();
            let from_us = from_us.unwrap_or(self.start_us);
            let offset = from_us.saturating_sub(self.start_us) as f64 / 1e6;
            let marks = std::mem::take(&mut self.marks).into_iter().filter(|mark| mark.at >= offset);
            let marks = marks.map(|mark| Mark { at: mark.at - offset, ..mark }).collect();
            Record::new(&self.ledgers, from_us, STEP, group, marks).write(&out, name, title)?;
            self.say(&format!("written: {}", shown(&out, name)));
        }
        self.promises.seconds = self.start.elapsed().as_secs_f64();
        Ok(self.promises)
    }
}

fn shown(out: &Path, name: &str) -> String {
    format!("{} and .svg, and what managers and agents logged", out.join(format!("{name}.csv")).display())
}

/// What went wrong for clients, of every kind.
pub(super) fn lost(ledger: &Ledger) -> u64 {
    ledger.failed() + ledger.refused + ledger.connect_timeouts
}
