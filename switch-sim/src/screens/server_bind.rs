//! `show server bind`.

use super::texts::Text;
use crate::chassis::device::Device;
use crate::slb::report::PortState;
use crate::slb::words::Admin;

/// The screen.
pub(crate) fn screen(device: &Device) -> Vec<String> {
    let templates = &device.templates;
    let mut screen = templates.lines(Text::BindHead, &[]);
    for (name, server) in device.config.virtuals() {
        let status = match server.admin {
            Admin::Enabled => "enabled",
            Admin::Disabled => "disabled",
        };
        templates.write(&mut screen, Text::BindVirtual, &[name, &status, &server.address]);
        for (port, row) in &server.ports {
            let mut text = Text::BindFirst;
            for ((real, real_port), ()) in row.binds.iter() {
                let Some(address) = device.config.real(real).map(|real| real.address) else { continue };
                let state = word(device.balancer.binding(name, *port, real, *real_port));
                templates.write(&mut screen, text, &[port, real, &address, real_port, &state]);
                text = Text::BindNext;
            }
            if row.binds.is_empty() {
                templates.write(&mut screen, Text::BindNone, &[port]);
            }
        }
    }
    templates.write(&mut screen, Text::BindFoot, &[]);
    screen
}

/// With a capital letter, but for those with an underscore.
fn word(state: PortState) -> String {
    let word = state.word();
    let mut letters = word.chars();
    match letters.next() {
        Some(first) if !word.contains('_') => first.to_ascii_uppercase().to_string() + letters.as_str(),
        _ => word.to_owned(),
    }
}
