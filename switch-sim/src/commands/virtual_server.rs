//! Commands of `(config-vs-NAME)`.

use super::config::chosen_predictor;
use super::{Action, CLASSIC, Call, NEWER, Step, Trouble, XL, both, run, set};
use crate::grammar::{Form, Row};
use crate::screens::Text;
use crate::slb::balancer::Ability;
use crate::slb::change::{Change, Place};
use crate::slb::words::{Admin, Name, Port, Sticky};

const fn content(pattern: &'static str, help: &'static str) -> Row<Action> {
    set(pattern, help).needs(Ability::ContentSwitching)
}

/// See the module.
pub(super) static ROWS: &[Row<Action>] = &[
    both("port <port*>", "Application port", port),
    both("port <port*> disable", "No new connections to this port", port_disable),
    both("port <port*> sticky", "Clients stay with their real server", sticky).needs(Ability::Persistence),
    set("port <port*> concurrent", "Clients may open further connections to the same server")
        .needs(Ability::Persistence),
    set("port <port*> client-subnet-sticky subnet-mask <ip>", "Networks stay with their real server")
        .needs(Ability::Persistence),
    set("port <port*> dsr [fast-delete]", "Servers answer clients directly").needs(Ability::DirectServerReturn),
    set("port <port*> stateless", "No sessions").needs(Ability::Tuning),
    set("port <port*> no-translation", "The port stays as it is").needs(Ability::Tuning),
    set("port <port*> tcp-only", "TCP alone").needs(Ability::Tuning),
    set("port <port*> udp-only", "UDP alone").needs(Ability::Tuning),
    set("port <port*> reset-on-port-fail", "Reset clients when the real port fails").needs(Ability::Tuning),
    set("port <port*> use-port-policy <name>", "Check real servers by a policy").needs(Ability::HealthChecks),
    set("port <port*> ssl-proxy <name> <name>", "Profiles of TLS to clients and to servers")
        .on(NEWER)
        .needs(Ability::TlsProxy),
    content("port <port*> csw-policy <rule>", "Policy of content switching").on(NEWER),
    run("port <port*> csw", "Switch by content", csw).on(NEWER).needs(Ability::ContentSwitching),
    run("no port <port*> csw", "Switch by content", no_csw).on(NEWER).needs(Ability::ContentSwitching),
    content("port <port*> cookie-name <text>", "Name of the cookie"),
    content("port <port*> url-map <text>", "Map of URLs").on(CLASSIC),
    run("port <port*> url-switch", "Switch by URL", url_switch).on(CLASSIC).needs(Ability::ContentSwitching),
    run("no port <port*> url-switch", "Switch by URL", no_url_switch).on(CLASSIC).needs(Ability::ContentSwitching),
    content("port <port*> url-hash [<line>]", "The URL chooses the server").on(CLASSIC),
    content("port <port*> cookie-switch", "The cookie names the server").on(CLASSIC),
    content("port <port*> cookie-hash", "The cookie chooses the server").on(CLASSIC),
    content("port <port*> session-id-switch", "The TLS session chooses the server").on(CLASSIC),
    both("disable", "No new connections to this server", disable),
    both("predictor {least-conn|round-robin|weighted|response-time}", "How real servers are chosen", predictor).on(XL),
    both(MANY_PREDICTORS, "How real servers are chosen", predictor).on(NEWER),
    both("predictor dynamic-weighted {direct|reverse}", "By what the servers report with SNMP", predictor).on(NEWER),
    set("track <port*> (<port>)+", "Ports that follow the first").needs(Ability::Persistence),
    set("track-group <port*> (<port>)+", "Ports that stay together").needs(Ability::Persistence),
    set("track source-ip", "Every port of a client on one server").on(NEWER).needs(Ability::Persistence),
    set("sym-priority <0-255>", "Priority of this device").needs(Ability::Redundancy),
    set("sym-active", "Both devices serve").needs(Ability::Redundancy),
    set("httpredirect", "Send clients to a remote server").needs(Ability::ContentSwitching),
    set("cache-enable", "Caches first").needs(Ability::CacheSwitching),
    set("acl-id <1-199>", "Who may come").needs(Ability::Tuning),
    set("host-range <1-256>", "So many addresses behind one another").needs(Ability::Tuning),
    set("description <text>", "What this server is"),
    run("bind <port> (<name> <port>)+", "Bind the port to ports of real servers", bind),
    run("no bind <port> (<name> <port>)+", "Bind the port to ports of real servers", unbind),
];

const MANY_PREDICTORS: &str = "predictor {least-conn|round-robin|weighted|weighted-round-robin|enhanced-weighted|least-local-conn|least-local-sess|response-time}";

fn port(call: &mut Call<'_>) -> Result<Step, Trouble> {
    let (server, port) = (call.virtual_server()?, call.port(0)?);
    let change = match call.form() {
        Form::Plain => Change::AddVirtualPort { server, port },
        Form::No => Change::RemoveVirtualPort { server, port },
    };
    Ok(Step::Change(change, None))
}

fn admin(form: Form) -> Admin {
    match form {
        Form::Plain => Admin::Disabled,
        Form::No => Admin::Enabled,
    }
}

fn port_disable(call: &mut Call<'_>) -> Result<Step, Trouble> {
    let place = Place::VirtualPort(call.virtual_server()?, call.port(0)?);
    Ok(Step::Change(Change::SetAdmin { place, admin: admin(call.form()) }, None))
}

fn disable(call: &mut Call<'_>) -> Result<Step, Trouble> {
    let place = Place::Virtual(call.virtual_server()?);
    Ok(Step::Change(Change::SetAdmin { place, admin: admin(call.form()) }, None))
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

fn csw(call: &mut Call<'_>) -> Result<Step, Trouble> {
    switch_by_content(call, "csw", "url-switch")
}

fn no_csw(call: &mut Call<'_>) -> Result<Step, Trouble> {
    do_not_switch(call, "csw")
}

fn url_switch(call: &mut Call<'_>) -> Result<Step, Trouble> {
    switch_by_content(call, "url-switch", "csw")
}

fn no_url_switch(call: &mut Call<'_>) -> Result<Step, Trouble> {
    do_not_switch(call, "url-switch")
}

/// The two grammars of content switching exclude each other on one virtual server (vendor's manual).
fn switch_by_content(call: &mut Call<'_>, this: &str, other: &str) -> Result<Step, Trouble> {
    let (server, port) = (call.virtual_server()?, call.port(0)?);
    let ports = call.device.config.virtual_server(&server).into_iter().flat_map(|server| server.ports.values());
    if ports.into_iter().any(|row| row.lines.get(other).is_some()) {
        return Err(Trouble::Said(call.device.templates.lines(Text::OtherSwitching, &[&other, &server])));
    }
    let place = Place::VirtualPort(server, port);
    Ok(Step::Change(Change::SetLine { place, key: this.into(), line: Some(this.into()) }, None))
}

fn do_not_switch(call: &mut Call<'_>, this: &str) -> Result<Step, Trouble> {
    let place = Place::VirtualPort(call.virtual_server()?, call.port(0)?);
    Ok(Step::Change(Change::SetLine { place, key: this.into(), line: None }, None))
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
