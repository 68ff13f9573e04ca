//! What happened when in an experiment: the ledgers of its load generators, cut into steps of time, as CSV and drawing.

#![allow(clippy::disallowed_methods)]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

use super::load::Ledger;
use super::plot::{FAILED, Line, Mark, Plot};
use super::process::Process;

/// A load generator whose ledgers are kept.
pub struct Load {
    samples: Arc<Mutex<Vec<Ledger>>>,
    latest: watch::Receiver<Ledger>,
    stop: oneshot::Sender<()>,
    ended: JoinHandle<io::Result<Ledger>>,
}

impl Load {
    /// Keeps what this process, a load generator, reports from now on.
    pub fn keep(process: Process) -> Load {
        let samples = Arc::new(Mutex::new(Vec::new()));
        let (tell, latest) = watch::channel(Ledger::default());
        let (stop, stopped) = oneshot::channel();
        let ended = tokio::spawn(keep(process, Arc::clone(&samples), tell, stopped));
        Load { samples, latest, stop, ended }
    }

    /// What it reported last.
    pub fn latest(&self) -> Ledger {
        self.latest.borrow().clone()
    }

    /// A report that it makes from now on.
    ///
    /// # Errors
    /// It has ended.
    pub async fn next(&mut self) -> io::Result<Ledger> {
        self.latest.changed().await.map_err(|_| io::Error::other("the load generator ended"))?;
        Ok(self.latest.borrow_and_update().clone())
    }

    /// Has it end; its final ledger, and all it reported.
    ///
    /// # Errors
    /// It ended before.
    pub async fn finish(self) -> io::Result<(Ledger, Vec<Ledger>)> {
        // If it has ended already, that is told below.
        let _ = self.stop.send(());
        let last = self.ended.await.map_err(io::Error::other)??;
        let samples = std::mem::take(&mut *self.samples.lock().unwrap_or_else(PoisonError::into_inner));
        Ok((last, samples))
    }
}

async fn keep(
    mut process: Process,
    samples: Arc<Mutex<Vec<Ledger>>>,
    tell: watch::Sender<Ledger>,
    mut stopped: oneshot::Receiver<()>,
) -> io::Result<Ledger> {
    let mut is_stopping = false;
    loop {
        tokio::select! {
            ledger = process.next::<Ledger>() => {
                let ledger = ledger?;
                samples.lock().unwrap_or_else(PoisonError::into_inner).push(ledger.clone());
                tell.send_replace(ledger.clone());
                if ledger.done {
                    return Ok(ledger);
                }
            }
            _ = &mut stopped, if !is_stopping => {
                is_stopping = true;
                process.say("stop").await?;
            }
        }
    }
}

/// Rates over time.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    step: f64,
    lines: Vec<Line>,
    marks: Vec<Mark>,
}

impl Record {
    /// Cuts the ledgers of several generators into steps of so many seconds from a moment on, in microseconds since 1970.
    /// `group` names the line that a server's requests belong to.
    pub fn new(
        loads: &[Vec<Ledger>],
        from_us: u64,
        step: f64,
        group: impl Fn(&str) -> String,
        marks: Vec<Mark>,
    ) -> Record {
        let mut lines: BTreeMap<String, Vec<f64>> = BTreeMap::new();
        let seconds = |at_us: u64| at_us.saturating_sub(from_us) as f64 / 1e6;
        for pair in loads.iter().flat_map(|ledgers| ledgers.windows(2)) {
            let (from, to) = (seconds(pair[0].at_us), seconds(pair[1].at_us));
            let since = pair[1].since(&pair[0]);
            for (server, count) in &since.by_server {
                spread(lines.entry(group(server)).or_default(), step, from, to, *count as f64);
            }
            let failed = since.failed() + since.refused + since.connect_timeouts;
            spread(lines.entry(FAILED.into()).or_default(), step, from, to, failed as f64);
        }
        // The last step is left out if it was not whole.
        let end = loads.iter().filter_map(|ledgers| ledgers.last()).map(|last| seconds(last.at_us)).fold(0.0, f64::max);
        let steps = (end / step + 1e-6).floor() as usize;
        let failed = lines.remove(FAILED);
        let mut lines: Vec<_> = lines.into_iter().chain(failed.map(|values| (FAILED.to_owned(), values))).collect();
        lines.iter_mut().for_each(|(_, values)| values.resize(steps, 0.0));
        // Numbers in names count as numbers: v10 comes after v9.
        lines.sort_by_key(|(name, _)| (name == FAILED, name.len(), name.clone()));
        let lines = lines.into_iter().map(|(name, values)| Line { name, values }).collect();
        Record { step, lines, marks }
    }

    /// The lines.
    pub fn lines(&self) -> &[Line] {
        &self.lines
    }

    /// One row a step: when it begins, the rate of each line, and what happened in it.
    pub fn csv(&self) -> String {
        let quoted = |text: &str| format!("\"{}\"", text.replace('"', "\"\""));
        let mut out = String::from("seconds");
        self.lines.iter().for_each(|line| out.push_str(&format!(",{}", quoted(&line.name))));
        out.push_str(",event\n");
        for n in 0..self.lines.first().map_or(0, |line| line.values.len()) {
            let at = n as f64 * self.step;
            // Writing to a String does not fail.
            let _ = write!(out, "{at:.2}");
            for line in &self.lines {
                let _ = write!(out, ",{:.1}", line.values[n]);
            }
            let here = |mark: &&Mark| (at..at + self.step).contains(&mark.at);
            let events: Vec<_> = self.marks.iter().filter(here).map(|mark| mark.text.as_str()).collect();
            let _ = writeln!(out, ",{}", if events.is_empty() { String::new() } else { quoted(&events.join("; ")) });
        }
        out
    }

    /// Writes `NAME.csv` and `NAME.svg` into a directory.
    ///
    /// # Errors
    /// The system's.
    pub fn write(&self, directory: &Path, name: &str, title: &str) -> io::Result<()> {
        std::fs::create_dir_all(directory)?;
        std::fs::write(directory.join(format!("{name}.csv")), self.csv())?;
        let plot = Plot { title, unit: "requests/s", step: self.step, lines: &self.lines, marks: &self.marks };
        std::fs::write(directory.join(format!("{name}.svg")), plot.svg())
    }
}

/// Adds a count that was made evenly between two moments, as rates.
fn spread(values: &mut Vec<f64>, step: f64, from: f64, to: f64, count: f64) {
    let length = (to - from).max(1e-6);
    let last = ((to / step).ceil() as usize).saturating_sub(1);
    if values.len() <= last {
        values.resize(last + 1, 0.0);
    }
    for (n, value) in values.iter_mut().enumerate().skip((from / step).floor() as usize) {
        let (begin, end) = (n as f64 * step, (n + 1) as f64 * step);
        let within = (to.min(end) - from.max(begin)).max(0.0);
        *value += count * within / length / step;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ledger(at_ms: u64, v1: u64, v2: u64, reset: u64) -> Ledger {
        let by_server = [("s1 v1".to_owned(), v1), ("s2 v2".to_owned(), v2)].into();
        Ledger { ok: v1 + v2, by_server, reset, at_us: at_ms * 1000, ..Ledger::default() }
    }

    #[test]
    fn counts_become_rates_and_none_is_lost() {
        let one = vec![ledger(1000, 0, 0, 0), ledger(1300, 30, 0, 0), ledger(1600, 30, 60, 1)];
        let other = vec![ledger(1100, 0, 0, 0), ledger(1600, 50, 0, 0)];
        let version = |server: &str| server.rsplit(' ').next().unwrap_or_default().to_owned();
        let marks = vec![Mark { at: 0.25, text: "a \"mark\"".into() }];
        let record = Record::new(&[one, other], 1_000_000, 0.2, version, marks);
        let sum = |name: &str| {
            let line = record.lines().iter().find(|line| line.name == name).unwrap();
            assert_eq!(line.values.len(), 3);
            line.values.iter().sum::<f64>() * 0.2
        };
        assert!(
            (sum("v1") - 80.0).abs() < 1e-6 && (sum("v2") - 60.0).abs() < 1e-6 && (sum("failed") - 1.0).abs() < 1e-6
        );
        let csv = record.csv();
        assert_eq!(csv.lines().next().unwrap(), "seconds,\"v1\",\"v2\",\"failed\",event");
        assert_eq!(csv.lines().count(), 4);
        assert!(csv.lines().nth(2).unwrap().ends_with("\"a \"\"mark\"\"\""), "{csv}");
    }
}
