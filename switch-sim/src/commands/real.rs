//! Commands of `(config-rs-NAME)`.

use super::{Action, Call, Step, Trouble, both, set};
use crate::grammar::{Form, Row};
use crate::slb::change::{Change, Place};
use crate::slb::words::Admin;

/// See the module.
pub(super) static ROWS: &[Row<Action>] = &[
    both("port <port*>", "Application port", port),
    both("port <port*> disable", "No new connections to this port", port_disable),
    set("port <port*> keepalive", "Check the port's health all the time"),
    set("port <port*> url <text>", "The request of the HTTP health check"),
    both("disable", "No new connections to this server", disable),
    both("weight <0-65000>", "Share of the connections", weight),
    both("max-conn <1-2000000>", "Most connections at one time", max_conn),
];

fn admin(form: Form) -> Admin {
    match form {
        Form::Plain => Admin::Disabled,
        Form::No => Admin::Enabled,
    }
}

fn port(call: &mut Call<'_>) -> Result<Step, Trouble> {
    let (real, port) = (call.real()?, call.port(0)?);
    let change = match call.form() {
        Form::Plain => Change::AddRealPort { real, port },
        Form::No => Change::RemoveRealPort { real, port },
    };
    Ok(Step::Change(change, None))
}

fn port_disable(call: &mut Call<'_>) -> Result<Step, Trouble> {
    let place = Place::RealPort(call.real()?, call.port(0)?);
    Ok(Step::Change(Change::SetAdmin { place, admin: admin(call.form()) }, None))
}

fn disable(call: &mut Call<'_>) -> Result<Step, Trouble> {
    let place = Place::Real(call.real()?);
    Ok(Step::Change(Change::SetAdmin { place, admin: admin(call.form()) }, None))
}

fn weight(call: &mut Call<'_>) -> Result<Step, Trouble> {
    let weight = call.value()?;
    Ok(Step::Change(Change::SetWeight { real: call.real()?, weight }, None))
}

fn max_conn(call: &mut Call<'_>) -> Result<Step, Trouble> {
    let max = call.value()?;
    Ok(Step::Change(Change::SetMaxConn { place: Place::Real(call.real()?), max }, None))
}
