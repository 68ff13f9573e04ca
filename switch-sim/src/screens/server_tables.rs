//! `show server sessions`, `conn`, `global`, `traffic`.

use super::server_real::number_in;
use super::texts::Text;
use crate::chassis::device::Device;
use crate::slb::report::Counters;
use crate::slb::words::Name;

/// `show server sessions`.
pub(crate) fn sessions(device: &Device) -> Vec<String> {
    let totals = device.balancer.totals();
    let c = totals.counters;
    let mut screen = Vec::new();
    let values: [&dyn std::fmt::Display; 6] =
        [&totals.sessions_free, &totals.sessions_max, &c.total, &c.total, &c.reassigned, &totals.unsuccessful];
    device.templates.write(&mut screen, Text::SessionsHead, &values);
    for (name, real) in device.config.reals() {
        let counters = of_server(device, name, real.ports.keys().copied());
        let state = device.balancer.real(name).state as u8;
        // A connection takes a session each way.
        let sessions = 2 * counters.current;
        let values: [&dyn std::fmt::Display; 7] =
            [name, &state, &counters.current, &counters.total, &counters.total, &sessions, &counters.peak];
        device.templates.write(&mut screen, Text::SessionsRow, &values);
    }
    screen
}

fn of_server(device: &Device, name: &Name, ports: impl Iterator<Item = crate::slb::words::Port>) -> Counters {
    ports.fold(Counters::default(), |sum, port| sum.plus(device.balancer.real_port(name, port).counters))
}

/// `show server conn`.
pub(crate) fn connections(device: &Device) -> Vec<String> {
    let mut screen = device.templates.lines(Text::ConnHead, &[]);
    for (name, real) in device.config.reals() {
        let max = real.max_conn.unwrap_or(device.settings.personality.max_conn_limit());
        for port in real.ports.keys() {
            let c = device.balancer.real_port(name, *port).counters;
            let values: [&dyn std::fmt::Display; 6] = [name, port, &max, &c.current, &c.total, &c.peak];
            device.templates.write(&mut screen, Text::ConnRow, &values);
        }
    }
    screen
}

/// `show server global`: the fields of the vendor's table, in its order.
pub(crate) fn global(device: &Device) -> Vec<String> {
    let lines = device.config.system();
    let number = |key: &str, default: u32| number_in(lines.get(key)).unwrap_or(default);
    let predictor = device.config.predictor().unwrap_or_default();
    let force = u8::from(lines.get("server force-delete").is_some());
    let values: [&dyn std::fmt::Display; 9] = [
        &predictor,
        &force,
        &number("server reassign-threshold", 20),
        &number("server tcp-age", 30),
        &number("server udp-age", 5),
        &number("server sticky-age", 5),
        &number("server ping-interval", 2),
        &number("server ping-retries", 4),
        &number("server syn-limit", 65_535),
    ];
    device.templates.lines(Text::Global, &values)
}

/// `show server traffic`: exact fields in exact order (vendor's security guide).
pub(crate) fn traffic(device: &Device) -> Vec<String> {
    let totals = device.balancer.totals();
    let c = totals.counters;
    let finished = c.total.saturating_sub(c.current);
    let values: [&dyn std::fmt::Display; 4] = [&c.tx_packets, &c.rx_packets, &finished, &totals.unsuccessful];
    device.templates.lines(Text::Traffic, &values)
}
