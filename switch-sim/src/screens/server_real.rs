//! `show server real`.

use super::texts::Text;
use crate::chassis::device::Device;
use crate::personality::Personality;
use crate::slb::config::{Real, RealPort};
use crate::slb::report::{Counters, Mac, PortReport};
use crate::slb::words::{Admin, Name, Port, RealKind};

/// The screen of all servers, or of one. Of a server that is not there the device says nothing.
pub(crate) fn screen(device: &Device, wanted: Option<&str>) -> Vec<String> {
    let mut screen = Vec::new();
    let mut servers =
        device.config.reals().filter(|(name, _)| wanted.is_none_or(|wanted| wanted == name.as_str())).peekable();
    if servers.peek().is_none() && wanted.is_some() {
        return screen;
    }
    device.templates.write(&mut screen, Text::RealHead, &[]);
    for (name, real) in servers {
        server(&mut screen, device, name, real);
    }
    device.templates.write(&mut screen, Text::RealFoot, &[]);
    screen
}

fn server(screen: &mut Vec<String>, device: &Device, name: &Name, real: &Real) {
    let report = device.balancer.real(name);
    let state = report.state.word();
    let mac = report.mac.map_or("0000.0000.0000".into(), |mac| Mac(mac).to_string());
    let max_conn = real.max_conn.unwrap_or(device.settings.personality.max_conn_limit());
    let weight = real.weight.unwrap_or(0);
    let remote = if real.kind == RealKind::Remote { "Yes" } else { "No" };
    let range = number_in(real.lines.get("host-range")).unwrap_or(1);
    let nat = |key: &str| if real.lines.get(key).is_some() { "cfg" } else { "not-cfg" };
    let (source, dest) = (nat("source-nat"), nat("dest-nat"));
    let number = |key: &str| u8::from(real.lines.get(key).is_some());
    let (source_number, dest_number) = (number("source-nat"), number("dest-nat"));
    let values: [&dyn std::fmt::Display; 12] = [
        name,
        &state,
        &real.address,
        &range,
        &mac,
        &weight,
        &max_conn,
        &source,
        &dest,
        &source_number,
        &dest_number,
        &remote,
    ];
    device.templates.write(screen, Text::RealServer, &values);
    let mut total = Counters::default();
    for (port, row) in in_order(device.settings.personality, real) {
        let report = device.balancer.real_port(name, port);
        total = total.plus(report.counters);
        write_port(screen, device, port, row, report);
    }
    let c = total;
    let values: [&dyn std::fmt::Display; 7] =
        [&c.current, &c.total, &c.rx_packets, &c.tx_packets, &c.rx_octets, &c.tx_octets, &c.reassigned];
    device.templates.write(screen, Text::RealTotal, &values);
}

/// The older box prints the default port last, the newer one first.
fn in_order(personality: Personality, real: &Real) -> Vec<(Port, &RealPort)> {
    let mut ports: Vec<(Port, &RealPort)> = real.ports.iter().map(|(port, row)| (*port, row)).collect();
    if personality == Personality::Xl {
        ports.sort_by_key(|(port, _)| *port == Port::DEFAULT);
    }
    ports
}

fn write_port(screen: &mut Vec<String>, device: &Device, port: Port, row: &RealPort, report: PortReport) {
    // The default port of a server is no service of its own.
    let disabled = port == Port::DEFAULT && row.admin == Admin::Disabled && !row.is_bound();
    let (word, code) = if disabled { ("disabled", "DIS") } else { (report.state.word(), report.state.code()) };
    let c = report.counters;
    let values: [&dyn std::fmt::Display; 10] = [
        &port,
        &word,
        &code,
        &c.current,
        &c.total,
        &c.rx_packets,
        &c.tx_packets,
        &c.rx_octets,
        &c.tx_octets,
        &c.reassigned,
    ];
    device.templates.write(screen, Text::RealPort, &values);
}

/// The number at the end of a line.
pub(super) fn number_in(line: Option<&str>) -> Option<u32> {
    line?.rsplit(' ').next()?.parse().ok()
}
