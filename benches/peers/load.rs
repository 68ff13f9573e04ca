//! Load from the client's namespace: wrk, one thread, 64 connections; what it received is what counts.

use crate::rig::Rig;

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Metric {
    /// Requests a second over kept connections.
    KeepAlive,
    /// Connections a second, one request each.
    NewConnections,
    /// Body bytes a second.
    Bulk,
    /// Requests a second over kept connections, for a thousand URLs one after the other.
    Mixed,
}

impl Metric {
    /// In the order of the table.
    pub const ALL: [Metric; 3] = [Metric::KeepAlive, Metric::NewConnections, Metric::Bulk];

    /// For ways that choose by the request.
    pub const CONTENT: [Metric; 4] = [Metric::KeepAlive, Metric::Mixed, Metric::NewConnections, Metric::Bulk];

    /// Its name in the table.
    pub fn name(self) -> &'static str {
        match self {
            Metric::KeepAlive => "keep-alive req/s",
            Metric::NewConnections => "new conn/s",
            Metric::Bulk => "bulk GB/s",
            Metric::Mixed => "mixed URLs req/s",
        }
    }

    /// A value as people read it.
    pub fn show(self, value: f64) -> String {
        match self {
            Metric::Bulk => format!("{:.2}", value / 1e9),
            _ => format!("{value:.0}"),
        }
    }
}

/// wrk's script for mixed URLs.
const MIXED: &str =
    "local n = 0\nrequest = function()\n  n = (n + 1) % 1000\n  return wrk.format(nil, '/u/' .. n)\nend\n";

/// One measurement.
pub fn measure(rig: &Rig, target: &str, metric: Metric, seconds: u32) -> Result<f64, String> {
    let script = rig.dir.join("mixed.lua");
    std::fs::write(&script, MIXED).map_err(|error| error.to_string())?;
    let (option, path) = match metric {
        Metric::KeepAlive => (String::new(), ""),
        Metric::NewConnections => ("-H \"Connection: close\"".to_owned(), ""),
        Metric::Bulk => (String::new(), "bulk"),
        Metric::Mixed => (format!("-s {}", script.display()), ""),
    };
    let report = rig.run(&rig.client, &format!("wrk -t1 -c64 -d{seconds}s {option} http://{target}/{path}"))?;
    let field = match metric {
        Metric::Bulk => "Transfer/sec:",
        _ => "Requests/sec:",
    };
    let text = report.lines().find_map(|line| line.trim().strip_prefix(field));
    let value = text.and_then(|text| number(text.trim())).ok_or(format!("wrk said no {field}\n{report}"))?;
    if let Some(errors) = report.lines().find(|line| line.contains("Socket errors") || line.contains("Non-2xx")) {
        eprintln!("  {}", errors.trim());
    }
    Ok(value)
}

/// `12.34`, `1.20GB`, `345.60MB`: wrk counts 1024 to the next unit.
fn number(text: &str) -> Option<f64> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let scale = match &text[digits.len()..] {
        "" | "B" => 1.0,
        "KB" => 1024.0,
        "MB" => 1024.0 * 1024.0,
        "GB" => 1024.0 * 1024.0 * 1024.0,
        _ => return None,
    };
    digits.parse::<f64>().ok().map(|value| value * scale)
}
