//! The configuration as text: what `show running-config` prints and what a start-up file holds. Reading that text with the grammar
//! gives the same configuration again.

use std::fmt::Write as _;

use crate::personality::Personality;
use crate::slb::balancer::SlbBox;
use crate::slb::block::BlockKind;
use crate::slb::change::Place;
use crate::slb::config::{Config, Real, Virtual, VirtualPort};
use crate::slb::words::{Admin, Name, Port, Sticky};

/// Pairs of real server and port on one `bind` line; more go on another line.
const PAIRS_A_LINE: usize = 4;

/// The SLB part of the configuration, blocks with `!` behind each.
pub(crate) fn slb(config: &Config, personality: Personality, balancer: &dyn SlbBox) -> Vec<String> {
    let mut lines = Vec::new();
    remarks(&mut lines, balancer, &Place::System, "");
    system(&mut lines, config);
    for kind in BlockKind::ALL {
        for (_, block) in config.blocks(kind) {
            lines.push(block.header.clone());
            lines.extend(block.lines.iter().map(|(_, line)| format!(" {line}")));
            lines.push("!".into());
        }
    }
    for (name, real) in config.reals().filter(|(_, real)| !real.leaving) {
        lines.push(format!("server {} {name} {}", real.kind.keyword(), real.address));
        remarks(&mut lines, balancer, &Place::Real(name.clone()), " ");
        real_server(&mut lines, real);
        lines.push("!".into());
    }
    let indent = personality.virtual_indent();
    for (name, server) in config.virtuals() {
        lines.push(format!("server virtual {name} {}", server.address));
        remarks(&mut lines, balancer, &Place::Virtual(name.clone()), indent);
        virtual_server(&mut lines, server, indent);
        lines.push("!".into());
    }
    lines
}

/// What the configuration's words cannot say, as comments that a reader of configurations passes over.
fn remarks(lines: &mut Vec<String>, balancer: &dyn SlbBox, place: &Place, indent: &str) {
    lines.extend(balancer.remarks(place).into_iter().map(|text| format!("{indent}! {text}")));
}

fn system(lines: &mut Vec<String>, config: &Config) {
    let before = lines.len();
    if let Some(predictor) = config.predictor() {
        lines.push(format!("server predictor {predictor}"));
    }
    lines.extend(config.system().iter().map(|(_, line)| line.to_owned()));
    if lines.len() > before {
        lines.push("!".into());
    }
}

fn real_server(lines: &mut Vec<String>, real: &Real) {
    if real.ports.get(&Port::DEFAULT).is_some_and(|port| port.admin == Admin::Disabled) {
        lines.push(" port default disable".into());
    }
    if real.admin == Admin::Disabled {
        lines.push(" disable".into());
    }
    lines.extend(real.max_conn.map(|max| format!(" max-conn {max}")));
    lines.extend(real.weight.map(|weight| format!(" weight {weight}")));
    lines.extend(real.lines.iter().map(|(_, line)| format!(" {line}")));
    for (port, row) in real.ports.iter().filter(|(_, row)| !row.leaving) {
        // `port P disable` says that the port is there as well.
        match (row.admin, *port) {
            (_, Port::DEFAULT) => {}
            (Admin::Enabled, port) => lines.push(format!(" port {port}")),
            (Admin::Disabled, port) => lines.push(format!(" port {port} disable")),
        }
        lines.extend(row.max_conn.map(|max| format!(" port {port} max-conn {max}")));
        // The device prints `keepalive` first (seen in several configurations).
        let (first, rest): (Vec<_>, Vec<_>) = row.lines.iter().partition(|(key, _)| *key == "keepalive");
        lines.extend(first.into_iter().chain(rest).map(|(_, line)| format!(" port {port} {line}")));
    }
}

fn virtual_server(lines: &mut Vec<String>, server: &Virtual, indent: &str) {
    if server.ports.get(&Port::DEFAULT).is_some_and(|port| port.admin == Admin::Disabled) {
        lines.push(format!("{indent}port default disable"));
    }
    if server.admin == Admin::Disabled {
        lines.push(format!("{indent}disable"));
    }
    lines.extend(server.predictor.map(|predictor| format!("{indent}predictor {predictor}")));
    lines.extend(server.lines.iter().map(|(_, line)| format!("{indent}{line}")));
    for (port, row) in &server.ports {
        match (row.admin, *port) {
            (_, Port::DEFAULT) => {}
            (Admin::Enabled, port) => lines.push(format!("{indent}port {port}")),
            (Admin::Disabled, port) => lines.push(format!("{indent}port {port} disable")),
        }
        match row.sticky {
            Some(Sticky::On) => lines.push(format!("{indent}port {port} sticky")),
            Some(Sticky::Off) => lines.push(format!("{indent}no port {port} sticky")),
            // Stickiness of networks takes the place of that of clients, and the device prints both lines.
            None if row.lines.get("client-subnet-sticky").is_some() => {
                lines.push(format!("{indent}no port {port} sticky"));
            }
            None => {}
        }
        lines.extend(row.lines.iter().map(|(_, line)| format!("{indent}port {port} {line}")));
    }
    for (port, row) in &server.ports {
        binds(lines, *port, row, indent);
    }
}

fn binds(lines: &mut Vec<String>, port: Port, row: &VirtualPort, indent: &str) {
    let pairs: Vec<&(Name, Port)> = row.binds.iter().map(|(pair, ())| pair).collect();
    for pairs in pairs.chunks(PAIRS_A_LINE) {
        let mut line = format!("{indent}bind {port}");
        for (real, real_port) in pairs {
            // Writing into a String cannot fail.
            let _ = write!(line, " {real} {real_port}");
        }
        lines.push(line);
    }
}
