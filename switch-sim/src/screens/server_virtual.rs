//! `show server virtual`.

use super::texts::Text;
use crate::chassis::device::Device;
use crate::slb::config::Virtual;
use crate::slb::report::Counters;
use crate::slb::words::{Admin, Name, Sticky};

/// The screen of all servers, or of one by name or address. Of a server that is not there the device says nothing.
pub(crate) fn screen(device: &Device, wanted: Option<&str>) -> Vec<String> {
    let is_wanted = |name: &Name, server: &Virtual| {
        wanted.is_none_or(|wanted| wanted == name.as_str() || wanted == server.address.to_string())
    };
    let mut screen = Vec::new();
    let mut servers = device.config.virtuals().filter(|(name, server)| is_wanted(name, server)).peekable();
    if servers.peek().is_none() && wanted.is_some() {
        return screen;
    }
    device.templates.write(&mut screen, Text::VirtualHead, &[]);
    for (name, server) in servers {
        write_server(&mut screen, device, name, server);
    }
    device.templates.write(&mut screen, Text::VirtualFoot, &[]);
    screen
}

fn write_server(screen: &mut Vec<String>, device: &Device, name: &Name, server: &Virtual) {
    let ports: Vec<_> = server
        .ports
        .iter()
        .map(|(port, row)| (port, row, device.balancer.virtual_port(name, *port).counters))
        .collect();
    let total = ports.iter().fold(Counters::default(), |sum, (_, _, counters)| sum.plus(*counters)).total;
    let state = if server.admin == Admin::Enabled { "Enabled" } else { "Disabled" };
    let predictor = server.predictor.or(device.config.predictor()).unwrap_or_default();
    let acl = super::server_real::number_in(server.lines.get("acl-id")).unwrap_or(0);
    let range = super::server_real::number_in(server.lines.get("host-range")).unwrap_or(1);
    let priority = super::server_real::number_in(server.lines.get("sym-priority")).unwrap_or(0);
    let values: [&dyn std::fmt::Display; 8] =
        [name, &state, &server.address, &range, &predictor, &acl, &total, &priority];
    device.templates.write(screen, Text::VirtualServer, &values);
    let yes = |is: bool| if is { "YES" } else { "NO" };
    for (port, row, counters) in ports {
        let state = if row.admin == Admin::Enabled { "enabled" } else { "disabled" };
        let sticky = yes(row.sticky_in_force(*port) == Sticky::On);
        let concurrent = yes(row.lines.get("concurrent").is_some());
        let proxy = yes(row.lines.get("csw").or(row.lines.get("url-switch")).is_some());
        let dsr = yes(row.lines.get("dsr").is_some());
        let values: [&dyn std::fmt::Display; 9] =
            [port, &state, &sticky, &concurrent, &proxy, &dsr, &counters.current, &counters.total, &counters.peak];
        device.templates.write(screen, Text::VirtualPort, &values);
    }
    device.templates.write(screen, Text::VirtualTail, &[]);
}
