//! The `show` commands.

use super::{Action, Call, Step, Trouble, run};
use crate::chassis::access::Level;
use crate::grammar::Row;
use crate::screens::server_bind;

/// See the module.
pub(super) static ROWS: &[Row<Action>] = &[
    run("show running-config", "Display the configuration in force", running_config).level(Level::READ_ONLY),
    run("show server bind", "Display the bindings", bind).level(Level::READ_ONLY),
];

pub(super) fn running_config(_: &mut Call<'_>) -> Result<Step, Trouble> {
    Ok(Step::Show(|call| call.device.running_config()))
}

fn bind(_: &mut Call<'_>) -> Result<Step, Trouble> {
    Ok(Step::Show(|call| {
        let device = &*call.device;
        server_bind::screen(&device.templates, &device.config, device.balancer.as_ref())
    }))
}
