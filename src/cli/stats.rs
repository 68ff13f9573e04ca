//! `acm stats`: counters of the whole switch.

use std::time::Duration;

use clap::Args;

use super::connection::Connection;
use super::failure::Failure;
use super::output::{self, Style, table};
use crate::acm::error::Feature;
use crate::acm::switch::{Inspect, Statistics};
use crate::base::span::Span;
use crate::base::text::escaped;

/// Show the counters of the switch: flows, every verdict and drop reason, and each port
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  acm stats --json | jq .counters")]
pub(super) struct StatsArgs {
    #[command(flatten)]
    pub(super) to: Connection,
}

impl StatsArgs {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let statistics = self.to.inspectable(Feature::Statistics)?.statistics().await?;
        match self.to.style() {
            Style::Json => output::json(&statistics),
            Style::Human => output::line(describe(&statistics).trim_end()),
        }
    }
}

fn describe(statistics: &Statistics) -> String {
    let up = Span(Duration::from_secs(statistics.uptime_secs));
    let mut out = format!("up {up}, {} of {} flows\n\n", statistics.flows, statistics.flows_max);
    let counters: Vec<_> =
        statistics.counters.iter().map(|(name, value)| vec![escaped(name), value.to_string()]).collect();
    if !counters.is_empty() {
        out += &table(&["COUNTER", "VALUE"], &counters);
        out.push('\n');
    }
    let head = ["PORT", "RX FRAMES", "RX BYTES", "RX MISSED", "TX FRAMES", "TX BYTES", "TX DROPPED"];
    let ports: Vec<_> = statistics
        .ports
        .iter()
        .map(|port| {
            let numbers =
                [port.rx_frames, port.rx_bytes, port.rx_missed, port.tx_frames, port.tx_bytes, port.tx_dropped];
            std::iter::once(escaped(&port.port)).chain(numbers.map(|number| number.to_string())).collect()
        })
        .collect();
    if !ports.is_empty() {
        out += &table(&head, &ports);
    }
    out
}
