//! The table: medians, spread, and ours over each, against the bars.

use std::collections::BTreeMap;
use std::fmt;

use crate::load::Metric;

/// Bars: ours over this way, at least this much.
pub type Bars = &'static [(&'static str, Metric, f64)];

/// For connections.
pub const BARS: Bars = &[
    ("haproxy", Metric::KeepAlive, 1.0),
    ("haproxy", Metric::NewConnections, 1.2),
    ("haproxy", Metric::Bulk, 1.15),
    ("nftables", Metric::NewConnections, 1.1),
    ("forwarder", Metric::KeepAlive, 0.95),
    ("forwarder", Metric::NewConnections, 0.95),
    ("forwarder", Metric::Bulk, 0.95),
];

/// For requests. Ours opens a connection to a server for each client, which HAProxy in HTTP mode does not.
pub const CONTENT_BARS: Bars = &[
    ("haproxy-http", Metric::KeepAlive, 1.2),
    ("nginx", Metric::KeepAlive, 1.3),
    ("haproxy-http", Metric::Mixed, 1.0),
    ("haproxy-http", Metric::NewConnections, 0.85),
    ("haproxy-http", Metric::Bulk, 2.0),
];

/// Everything measured.
pub struct Results {
    machine: String,
    /// Whose share of the others is shown.
    first: &'static str,
    metrics: &'static [Metric],
    bars: Bars,
    ways: Vec<&'static str>,
    values: BTreeMap<(&'static str, Metric), Vec<f64>>,
}

impl Results {
    /// Nothing yet.
    pub fn new(machine: String, first: &'static str, metrics: &'static [Metric], bars: Bars) -> Results {
        Results { machine, first, metrics, bars, ways: Vec::new(), values: BTreeMap::new() }
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
        writeln!(f, "\n{}; wrk -t1 -c64; medians of {rounds} alternating rounds (lowest-highest)\n", self.machine)?;
        write!(f, "| way          |")?;
        for metric in self.metrics {
            write!(f, " {:<24} | acm / way |", metric.name())?;
        }
        writeln!(f, "\n|---|{}", "---|---|".repeat(self.metrics.len()))?;
        for way in &self.ways {
            write!(f, "| {way:<12} |")?;
            for metric in self.metrics.iter().copied() {
                let ratio =
                    self.median(self.first, metric).zip(self.median(way, metric)).map(|(ours, theirs)| ours / theirs);
                let ratio = ratio.map_or("-".into(), |ratio| format!("{ratio:.2}"));
                write!(f, " {:<24} | {ratio:>9} |", self.cell(way, metric))?;
            }
            writeln!(f)?;
        }
        writeln!(f)?;
        for (way, metric, bar) in self.bars {
            let Some((ours, theirs)) = self.median(self.first, *metric).zip(self.median(way, *metric)) else {
                continue;
            };
            let ratio = ours / theirs;
            let verdict = if ratio >= *bar { "met" } else { "MISSED" };
            writeln!(f, "bar: {} at least {bar:.2}x {way}: {ratio:.2}x, {verdict}", metric.name())?;
        }
        let one = self.median("acm-content", Metric::KeepAlive);
        if let Some((one, thousand)) = one.zip(self.median("acm-rules", Metric::KeepAlive)) {
            let (cost, kept) = (one / thousand, if one / thousand <= 1.2 { "met" } else { "MISSED" });
            writeln!(f, "bar: one rule at most 1.20x as fast as a thousand: {cost:.2}x, {kept}")?;
        }
        Ok(())
    }
}
