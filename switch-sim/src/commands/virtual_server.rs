//! Commands of `(config-vs-NAME)`.

use super::config::chosen_predictor;
use super::{Action, Call, Step, Trouble, both, run, set};
use crate::grammar::{Form, Row};
use crate::slb::change::{Change, Place};
use crate::slb::words::{Admin, Name, Port, Sticky};

/// See the module.
pub(super) static ROWS: &[Row<Action>] = &[
    both("port <port*>", "Application port", port),
    both("port <port*> disable", "No new connections to this port", port_disable),
    both("port <port*> sticky", "Clients stay with their real server", sticky),
    set("port <port*> dsr [fast-delete]", "Direct server return"),
    both("predictor {least-conn|round-robin|weighted}", "How real servers are chosen", predictor),
    run("bind <port> (<name> <port>)+", "Bind the port to ports of real servers", bind),
    run("no bind <port> (<name> <port>)+", "Bind the port to ports of real servers", unbind),
];

fn port(call: &mut Call<'_>) -> Result<Step, Trouble> {
    let (server, port) = (call.virtual_server()?, call.port(0)?);
    let change = match call.form() {
        Form::Plain => Change::AddVirtualPort { server, port },
        Form::No => Change::RemoveVirtualPort { server, port },
    };
    Ok(Step::Change(change, None))
}

fn port_disable(call: &mut Call<'_>) -> Result<Step, Trouble> {
    let place = Place::VirtualPort(call.virtual_server()?, call.port(0)?);
    let admin = match call.form() {
        Form::Plain => Admin::Disabled,
        Form::No => Admin::Enabled,
    };
    Ok(Step::Change(Change::SetAdmin { place, admin }, None))
}

/// `ssl` is sticky by itself, other ports are not; only the contrary is kept.
fn sticky(call: &mut Call<'_>) -> Result<Step, Trouble> {
    let (server, port) = (call.virtual_server()?, call.port(0)?);
    let sticky = match (call.form(), port == Port::SSL) {
        (Form::Plain, false) => Some(Sticky::On),
        (Form::No, true) => Some(Sticky::Off),
        (Form::Plain, true) | (Form::No, false) => None,
    };
    Ok(Step::Change(Change::SetSticky { server, port, sticky }, None))
}

fn predictor(call: &mut Call<'_>) -> Result<Step, Trouble> {
    let predictor = chosen_predictor(call)?;
    Ok(Step::Change(Change::SetPredictor { server: Some(call.virtual_server()?), predictor }, None))
}

/// The pairs behind `bind P`.
fn pairs(call: &Call<'_>) -> Result<Vec<(Name, Port)>, Trouble> {
    let mut pairs = Vec::new();
    while let Some(port) = call.found.arguments.port(pairs.len() + 1) {
        pairs.push((call.name(pairs.len())?, *port));
    }
    Ok(pairs)
}

fn bind(call: &mut Call<'_>) -> Result<Step, Trouble> {
    let change = Change::Bind { server: call.virtual_server()?, port: call.port(0)?, to: pairs(call)? };
    Ok(Step::Change(change, None))
}

fn unbind(call: &mut Call<'_>) -> Result<Step, Trouble> {
    let change = Change::Unbind { server: call.virtual_server()?, port: call.port(0)?, from: pairs(call)? };
    Ok(Step::Change(change, None))
}
