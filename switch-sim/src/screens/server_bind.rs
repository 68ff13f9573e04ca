//! `show server bind`.

use super::texts::Text;
use super::{Templates, capitalised};
use crate::slb::balancer::SlbBox;
use crate::slb::config::Config;
use crate::slb::words::Admin;

/// The screen.
pub fn screen(templates: &Templates, config: &Config, balancer: &dyn SlbBox) -> Vec<String> {
    let mut screen = templates.lines(Text::BindHead, &[]);
    for (name, server) in config.virtuals() {
        let status = match server.admin {
            Admin::Enabled => "enabled",
            Admin::Disabled => "disabled",
        };
        templates.write(&mut screen, Text::BindVirtual, &[name, &status, &server.address]);
        for (port, row) in &server.ports {
            let mut text = Text::BindFirst;
            for ((real, real_port), ()) in row.binds.iter() {
                let Some(address) = config.real(real).map(|real| real.address) else { continue };
                let state = capitalised(balancer.binding(name, *port, real, *real_port).word());
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
