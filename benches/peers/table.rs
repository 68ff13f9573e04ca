//! The table: medians, spread, and ours over each, against the bars.

use std::collections::BTreeMap;
use std::fmt;

use crate::load::Metric;

/// The bars: ours over this way, at least this much.
const BARS: &[(&str, Metric, f64)] = &[
    ("haproxy", Metric::KeepAlive, 1.0),
    ("haproxy", Metric::NewConnections, 1.2),
    ("haproxy", Metric::Bulk, 1.15),
    ("nftables", Metric::NewConnections, 1.1),
    ("forwarder", Metric::KeepAlive, 0.95),
    ("forwarder", Metric::NewConnections, 0.95),
    ("forwarder", Metric::Bulk, 0.95),
];

/// Everything measured.
pub struct Results {
    machine: String,
    ways: Vec<&'static str>,
    values: BTreeMap<(&'static str, Metric), Vec<f64>>,
}

impl Results {
    /// Nothing yet.
    pub fn new(machine: String) -> Results {
        Results { machine, ways: Vec::new(), values: BTreeMap::new() }
    }

    /// One measurement more.
    pub fn add(&mut self, way: &'static str, metric: Metric, value: f64) {
        if !self.ways.contains(&way) {
            self.ways.push(way);
        }
        self.values.entry((way, metric)).or_default().push(value);
    }

    fn median(&self, way: &'static str, metric: Metric) -> Option<f64> {
        let mut values = self.values.get(&(way, metric))?.clone();
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied()
    }

    fn cell(&self, way: &'static str, metric: Metric) -> String {
        let (Some(median), Some(values)) = (self.median(way, metric), self.values.get(&(way, metric))) else {
            return "-".into();
        };
        let low = values.iter().copied().fold(f64::INFINITY, f64::min);
        let high = values.iter().copied().fold(0.0, f64::max);
        format!("{} ({}-{})", metric.show(median), metric.show(low), metric.show(high))
    }
}

impl fmt::Display for Results {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rounds = self.values.values().map(Vec::len).max().unwrap_or(0);
        writeln!(
            f,
            "\n{}; wrk -t1 -c64, one real server; medians of {rounds} alternating rounds (lowest-highest)\n",
            self.machine
        )?;
        write!(f, "| way       |")?;
        for metric in Metric::ALL {
            write!(f, " {:<24} | acm / way |", metric.name())?;
        }
        writeln!(f, "\n|---|---|---|---|---|---|---|")?;
        for way in &self.ways {
            write!(f, "| {way:<9} |")?;
            for metric in Metric::ALL {
                let ratio =
                    self.median("acm", metric).zip(self.median(way, metric)).map(|(ours, theirs)| ours / theirs);
                let ratio = ratio.map_or("-".into(), |ratio| format!("{ratio:.2}"));
                write!(f, " {:<24} | {ratio:>9} |", self.cell(way, metric))?;
            }
            writeln!(f)?;
        }
        writeln!(f)?;
        for (way, metric, bar) in BARS {
            let Some((ours, theirs)) = self.median("acm", *metric).zip(self.median(way, *metric)) else { continue };
            let ratio = ours / theirs;
            let verdict = if ratio >= *bar { "met" } else { "MISSED" };
            writeln!(f, "bar: {} at least {bar:.2}x {way}: {ratio:.2}x, {verdict}", metric.name())?;
        }
        Ok(())
    }
}
