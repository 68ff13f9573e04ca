//! Prometheus metrics, text exposition format 0.0.4: one snapshot of List and of the switch's counters.

use std::fmt::Write;

use crate::acm::list::{BindingRow, Listing, ServiceRow, State};
use crate::acm::switch::{PortStatistics, Statistics};

/// The media type.
pub(super) const MEDIA_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Everything a scrape shows. `statistics` is absent for a switch that has none.
pub(super) fn render(listing: &Listing, statistics: Option<&Statistics>) -> String {
    let mut page = Page(String::with_capacity(512 + 512 * listing.bindings.len()));
    page.family("acm_generation", Kind::Gauge, "Which change of the service table is in force.");
    page.sample("acm_generation", &[], listing.generation.0);
    if let Some(statistics) = statistics {
        switch(&mut page, statistics);
    }
    services(&mut page, listing);
    bindings(&mut page, listing);
    page.0
}

fn switch(page: &mut Page, statistics: &Statistics) {
    for (name, help, value) in [
        ("acm_uptime_seconds", "Since the switch started.", statistics.uptime_secs),
        ("acm_flows", "Live flows of all services.", statistics.flows),
        ("acm_flows_max", "Flows the table holds.", statistics.flows_max),
    ] {
        page.family(name, Kind::Gauge, help);
        page.sample(name, &[], value);
    }
    page.family("acm_plane_total", Kind::Counter, "Every verdict and drop reason of the forwarding plane.");
    for (counter, value) in &statistics.counters {
        page.sample("acm_plane_total", &[("counter", counter)], *value);
    }
    type Read = fn(&PortStatistics) -> u64;
    let columns: [(&str, &str, Read); 6] = [
        ("acm_port_rx_frames_total", "Frames received.", |port| port.rx_frames),
        ("acm_port_rx_bytes_total", "Bytes received.", |port| port.rx_bytes),
        ("acm_port_tx_frames_total", "Frames sent.", |port| port.tx_frames),
        ("acm_port_tx_bytes_total", "Bytes sent.", |port| port.tx_bytes),
        ("acm_port_rx_missed_total", "Frames lost before they could be read.", |port| port.rx_missed),
        ("acm_port_tx_dropped_total", "Frames that could not be sent.", |port| port.tx_dropped),
    ];
    for (name, help, read) in columns {
        page.family(name, Kind::Counter, help);
        for port in &statistics.ports {
            page.sample(name, &[("port", &port.port)], read(port));
        }
    }
}

fn services(page: &mut Page, listing: &Listing) {
    const STATES: [State; 5] = [State::Pending, State::Active, State::Failed, State::Draining, State::Lapsed];
    page.family("acm_service_bindings", Kind::Gauge, "Bindings of a service in a state.");
    // Rows are in order of service, so each service's are together.
    let mut rows = listing.bindings.as_slice();
    for row in &listing.services {
        let own = rows.iter().take_while(|binding| binding.key.service == row.service).count();
        let (of_service, rest) = rows.split_at(own);
        rows = rest;
        let service = row.service.to_string();
        for state in STATES {
            let count = of_service.iter().filter(|binding| binding.state == state).count();
            page.sample("acm_service_bindings", &[("service", &service), ("state", state.as_str())], count as u64);
        }
    }
    type Read = fn(&ServiceRow) -> u64;
    let columns: [(&str, &str, Read); 3] = [
        ("acm_service_admitted_total", "New connections admitted.", |row| row.admitted),
        ("acm_service_dropped_total", "SYNs (UDP: datagrams) refused by Drop.", |row| row.dropped),
        ("acm_service_refused_total", "New connections no real was eligible for.", |row| row.refused),
    ];
    for (name, help, read) in columns {
        page.family(name, Kind::Counter, help);
        for row in &listing.services {
            page.sample(name, &[("service", &*row.service.to_string())], read(row));
        }
    }
    page.family("acm_rule_hits_total", Kind::Counter, "Requests a content rule decided.");
    for row in &listing.services {
        for rule in &row.rules {
            let labels = [("service", &*row.service.to_string()), ("rule", rule.rule.name.as_str())];
            page.sample("acm_rule_hits_total", &labels, rule.hits);
        }
    }
    page.family("acm_service_drop_fraction", Kind::Gauge, "Fraction of new connections refused; `from` is a prefix.");
    for row in &listing.services {
        for drop in &row.drops {
            let from = drop.from.map(|prefix| prefix.to_string()).unwrap_or_default();
            let labels = [("service", &*row.service.to_string()), ("from", &from)];
            page.sample("acm_service_drop_fraction", &labels, drop.fraction);
        }
    }
}

fn bindings(page: &mut Page, listing: &Listing) {
    type Read = fn(&BindingRow) -> u64;
    let columns: [(&str, Kind, &str, Read); 4] = [
        ("acm_binding_up", Kind::Gauge, "1 if the binding takes new connections.", |row| {
            u64::from(matches!(row.state, State::Active | State::Lapsed))
        }),
        ("acm_binding_connections", Kind::Gauge, "Live connections.", |row| row.connections),
        ("acm_binding_connections_total", Kind::Counter, "Connections given to the binding.", |row| row.total),
        ("acm_binding_weight", Kind::Gauge, "Its weight.", |row| u64::from(row.weight)),
    ];
    for (name, kind, help, read) in columns {
        page.family(name, kind, help);
        for row in &listing.bindings {
            let (service, real) = (row.key.service.to_string(), row.key.real.to_string());
            let labels =
                [("service", &*service), ("real", &real), ("group", row.group.as_str()), ("owner", row.owner.as_str())];
            page.sample(name, &labels, read(row));
        }
    }
}

#[derive(Clone, Copy)]
enum Kind {
    Gauge,
    Counter,
}

struct Page(String);

impl Page {
    fn family(&mut self, name: &str, kind: Kind, help: &str) {
        let kind = match kind {
            Kind::Gauge => "gauge",
            Kind::Counter => "counter",
        };
        // Writing to a String cannot fail, here and below.
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl std::fmt::Display) {
        self.0.push_str(name);
        for (index, (label, text)) in labels.iter().enumerate() {
            self.0.push(if index == 0 { '{' } else { ',' });
            let _ = write!(self.0, "{label}=\"");
            self.escaped(text);
            self.0.push('"');
        }
        let _ = writeln!(self.0, "{} {value}", if labels.is_empty() { "" } else { "}" });
    }

    /// A label's value: backslash, quote and line feed are escaped; other control characters could not be told
    /// apart on a terminal and become `?`.
    fn escaped(&mut self, text: &str) {
        for c in text.chars() {
            match c {
                '\\' => self.0.push_str("\\\\"),
                '"' => self.0.push_str("\\\""),
                '\n' => self.0.push_str("\\n"),
                c if c.is_control() => self.0.push('?'),
                c => self.0.push(c),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_escaped() {
        let mut statistics = Statistics { uptime_secs: 3, ..Statistics::default() };
        statistics.counters.insert("verdict.forwarded".into(), 17);
        statistics.ports.push(PortStatistics { port: "e\"1\\\n\u{1b}".into(), rx_frames: 5, ..Default::default() });
        let page = render(&Listing::default(), Some(&statistics));
        assert!(page.contains("\nacm_plane_total{counter=\"verdict.forwarded\"} 17\n"), "{page}");
        assert!(page.contains("\nacm_port_rx_frames_total{port=\"e\\\"1\\\\\\n?\"} 5\n"), "{page}");
        assert!(page.contains("\nacm_uptime_seconds 3\n"), "{page}");
    }

    #[test]
    fn a_switch_without_statistics_still_has_metrics() {
        let page = render(&Listing::default(), None);
        assert!(page.contains("acm_generation 0\n") && !page.contains("acm_uptime"), "{page}");
    }
}
