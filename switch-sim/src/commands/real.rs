//! Commands of `(config-rs-NAME)`.

use super::{Action, Call, NEWER, Step, Trouble, XL, both, set};
use crate::grammar::{Form, Row};
use crate::slb::balancer::Ability;
use crate::slb::change::{Change, Place};
use crate::slb::words::Admin;

/// See the module.
pub(super) static ROWS: &[Row<Action>] = &[
    both("port <port*>", "Application port", port),
    both("port <port*> disable", "No new connections to this port", port_disable),
    both("port <port*> max-conn <1-1000000>", "Most connections at one time", port_max_conn).on(XL),
    both("port <port*> max-conn <1-2000000>", "Most connections at one time", port_max_conn).on(NEWER),
    set("port <port*> keepalive", "Check the port's health all the time"),
    set("port <port*> url <text>", "The request of the HTTP health check"),
    set("port <port*> status-code (<100-599> <100-599>)+", "Ranges of good answers").needs(Ability::HealthChecks),
    set("port <port*> content-match <name>", "What the page must say").needs(Ability::HealthChecks),
    set("port <port*> l4-check-only", "No check at layer 7").needs(Ability::HealthChecks),
    set("port <port*> use-port-policy <name>", "Check by a policy").needs(Ability::HealthChecks),
    set("port <port*> healthck <name>", "Check by an element").needs(Ability::HealthChecks),
    set("port <port*> server-id <1024-17407>", "Number of the server in cookies").needs(Ability::ContentSwitching),
    set("port <port*> group-id <0-1023> <0-1023>", "First and last of the server's groups")
        .needs(Ability::ContentSwitching),
    both("disable", "No new connections to this server", disable),
    both("weight <0-65000>", "Share of the connections", weight),
    both("max-conn <1-1000000>", "Most connections at one time", max_conn).on(XL),
    both("max-conn <1-2000000>", "Most connections at one time", max_conn).on(NEWER),
    set("backup", "Use this server if no other is there").needs(Ability::Redundancy),
    set("source-nat", "The server sees an address of this device").needs(Ability::SourceNat),
    set("dest-nat", "The server sees its own address").needs(Ability::SourceNat),
    set("host-range <1-256>", "So many addresses behind one another").needs(Ability::Tuning),
    set("max-tcp-conn-rate <1-65535>", "Most new TCP connections a second").needs(Ability::Tuning),
    set("max-udp-conn-rate <1-65535>", "Most new UDP sessions a second").needs(Ability::Tuning),
    set("reassign-threshold <6-4000>", "Unanswered SYNs until a port has failed").needs(Ability::Tuning),
    set("no-l3-check", "Do not ping this server").needs(Ability::HealthChecks),
    set("asymmetric", "Answers may take another way").needs(Ability::CacheSwitching),
    set("description <text>", "What this server is"),
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

fn port_max_conn(call: &mut Call<'_>) -> Result<Step, Trouble> {
    let place = Place::RealPort(call.real()?, call.port(0)?);
    Ok(Step::Change(Change::SetMaxConn { place, max: call.value()? }, None))
}

fn disable(call: &mut Call<'_>) -> Result<Step, Trouble> {
    let place = Place::Real(call.real()?);
    Ok(Step::Change(Change::SetAdmin { place, admin: admin(call.form()) }, None))
}

fn weight(call: &mut Call<'_>) -> Result<Step, Trouble> {
    Ok(Step::Change(Change::SetWeight { real: call.real()?, weight: call.value()? }, None))
}

fn max_conn(call: &mut Call<'_>) -> Result<Step, Trouble> {
    Ok(Step::Change(Change::SetMaxConn { place: Place::Real(call.real()?), max: call.value()? }, None))
}
