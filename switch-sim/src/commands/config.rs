//! Servers and what holds for all of them: the SLB commands of the configuration mode, which every mode below it understands
//! as well.

use super::{Action, Call, NEWER, Step, Trouble, XL, block, both, run, set};
use crate::chassis::mode::Mode;
use crate::grammar::{Form, Row};
use crate::screens::Text;
use crate::slb::balancer::Ability;
use crate::slb::block::BlockKind;
use crate::slb::change::{Change, Refusal};
use crate::slb::words::{Name, Predictor, RealKind};

/// See the module.
pub(super) static ROWS: &[Row<Action>] = &[
    run("server real <name> [<ip>]", "Real server", local),
    run("server real-name <name> [<ip>]", "Real server", local),
    run("no server real <name> [<ip>]", "Real server", no_real),
    run("no server real-name <name> [<ip>]", "Real server", no_real),
    run("server remote <name> [<ip>]", "Real server behind a router", remote),
    run("server remote-name <name> [<ip>]", "Real server behind a router", remote),
    run("no server remote <name> [<ip>]", "Real server behind a router", no_real),
    run("no server remote-name <name> [<ip>]", "Real server behind a router", no_real),
    run("server cache-name <name> [<ip>]", "Cache server", cache).needs(Ability::CacheSwitching),
    run("no server cache-name <name> [<ip>]", "Cache server", no_real).needs(Ability::CacheSwitching),
    run("server virtual <name> [<ip>]", "Virtual server", virtual_server),
    run("server virtual-name <name> [<ip>]", "Virtual server", virtual_server),
    run("server virtual-name-or-ip <name> [<ip>]", "Virtual server", virtual_server),
    run("no server virtual <name> [<ip>]", "Virtual server", no_virtual),
    run("no server virtual-name <name> [<ip>]", "Virtual server", no_virtual),
    run("no server virtual-name-or-ip <name> [<ip>]", "Virtual server", no_virtual),
    both("server predictor {least-conn|round-robin|weighted|response-time}", "How real servers are chosen", predictor)
        .on(XL),
    both(MANY_PREDICTORS, "How real servers are chosen", predictor).on(NEWER),
    both("server predictor dynamic-weighted {direct|reverse}", "By what the servers report with SNMP", predictor)
        .on(NEWER),
    set("server tcp-age <2-60>", "Minutes until an idle TCP session ends").needs(Ability::Tuning),
    set("server udp-age <2-60>", "Minutes until an idle UDP session ends").needs(Ability::Tuning),
    set("server sticky-age <2-60>", "Minutes until a client is forgotten").needs(Ability::Persistence),
    set("server ping-interval <1-10>", "Seconds between two pings").needs(Ability::HealthChecks),
    set("server ping-retries <2-10>", "Pings until a server has failed").needs(Ability::HealthChecks),
    set("server l4-check", "Check ports at layer 4 when they are bound").needs(Ability::HealthChecks),
    set("server no-fast-bringup", "Pass layer 7 before a port is active").needs(Ability::HealthChecks),
    set("server no-real-l3-check", "Do not ping real servers").needs(Ability::HealthChecks),
    set("server no-remote-l3-check", "Do not ping remote servers").needs(Ability::HealthChecks),
    set("server session-limit <0-1000000>", "Size of the session table").on(XL).needs(Ability::Tuning),
    set("server session-asm-limit <0-1000000>", "Size of the session table").on(NEWER).needs(Ability::Tuning),
    set("server session-max-idle <2-60>", "Minutes until an idle session ends").needs(Ability::Tuning),
    set("server reassign-threshold <6-4000>", "Unanswered SYNs until a port has failed").needs(Ability::Tuning),
    set("server force-delete", "End the connections of deleted ports").needs(Ability::Tuning),
    set("server allow-sticky [refresh-age]", "Keep clients on ports that are leaving").needs(Ability::Persistence),
    set("server port-holddown", "Wait before a port that came back is used").needs(Ability::Tuning),
    set("server port-holddown-timeout <1-86400>", "Seconds of that wait").needs(Ability::Tuning),
    set("server router-ports <line>", "Ports that lead to routers").needs(Ability::Tuning),
    set("server source-nat", "Servers see an address of this device").needs(Ability::SourceNat),
    set("server source-ip <ip*> <ip> <ip>", "Address, mask and gateway for source NAT").needs(Ability::SourceNat),
    set("server backup ethernet <word> <mac> [vlan-id <1-4095>]", "The other device of a pair")
        .needs(Ability::Redundancy),
    set("server syn-limit <1-65535>", "SYNs a second from one client").needs(Ability::SynDefence),
    set("server syn-cookie-check-vport", "No SYN cookie for ports that are not there").needs(Ability::SynDefence),
    set("server syn-def <1-65535>", "Seconds until an embryonic connection ends").needs(Ability::SynDefence),
    set("server syn-def-dont-send-ack", "Leave the last ACK to the client").needs(Ability::SynDefence),
    set("server msl <1-60>", "Maximum segment lifetime").needs(Ability::SynDefence),
    both("ip tcp syn-proxy [<1-65535>]", "Answer SYNs with cookies", syn_proxy).needs(Ability::SynDefence),
    block("server cache-group <1-64>", "Group of cache servers", BlockKind::CacheGroup).needs(Ability::CacheSwitching),
    set("ip policy <1-64*> cache tcp http {global|local}", "Traffic that goes to caches")
        .needs(Ability::CacheSwitching),
    set("server csw request-load-balance", "Balance every request of a connection")
        .on(NEWER)
        .needs(Ability::ContentSwitching),
    set("server l7-hashing-bucket-reassign", "Give the buckets of failed servers away")
        .on(NEWER)
        .needs(Ability::ContentSwitching),
];

const MANY_PREDICTORS: &str = "server predictor {least-conn|round-robin|weighted|weighted-round-robin|enhanced-weighted|least-local-conn|least-local-sess|response-time}";

fn local(call: &mut Call<'_>) -> Result<Step, Trouble> {
    real(call, RealKind::Local)
}

fn remote(call: &mut Call<'_>) -> Result<Step, Trouble> {
    real(call, RealKind::Remote)
}

fn cache(call: &mut Call<'_>) -> Result<Step, Trouble> {
    real(call, RealKind::Cache)
}

/// With an address: a new real server, or the same again. Without: one that is there.
fn real(call: &mut Call<'_>, kind: RealKind) -> Result<Step, Trouble> {
    let name = call.name(0)?;
    match call.found.arguments.ip(0) {
        Some(address) => {
            let change = Change::AddReal { name: name.clone(), address: *address, kind };
            Ok(Step::Change(change, Some(Mode::Real(name))))
        }
        None => match call.device.config.real(&name) {
            Some(real) if real.leaving => Err(Refusal::RealLeaving { name }.into()),
            Some(_) => Ok(Step::Enter(Mode::Real(name))),
            None => Err(Refusal::NoSuchReal { name }.into()),
        },
    }
}

/// A driver that deletes a server it stands in finds itself one level up.
fn no_real(call: &mut Call<'_>) -> Result<Step, Trouble> {
    let name = call.name(0)?;
    Ok(Step::Change(Change::RemoveReal { name }, Some(Mode::Config)))
}

/// With an address: a new virtual server. Without: one that is there.
fn virtual_server(call: &mut Call<'_>) -> Result<Step, Trouble> {
    let name = known_virtual(call)?;
    match call.found.arguments.ip(0) {
        Some(address) => {
            let change = Change::AddVirtual { name: name.clone(), address: *address };
            Ok(Step::Change(change, Some(Mode::Virtual(name))))
        }
        None if call.device.config.virtual_server(&name).is_some() => Ok(Step::Enter(Mode::Virtual(name))),
        None => Err(Refusal::NoSuchVirtual { name }.into()),
    }
}

/// The name that was typed, or the name of the virtual server whose address was.
fn known_virtual(call: &Call<'_>) -> Result<Name, Trouble> {
    let name = call.name(0)?;
    let config = &call.device.config;
    let by_address = name.as_str().parse().ok().and_then(|address| config.at_address(address));
    let by_address = by_address.filter(|known| config.virtual_server(known).is_some());
    Ok(by_address.filter(|_| config.virtual_server(&name).is_none()).cloned().unwrap_or(name))
}

fn no_virtual(call: &mut Call<'_>) -> Result<Step, Trouble> {
    let name = known_virtual(call)?;
    Ok(Step::Change(Change::RemoveVirtual { name }, Some(Mode::Config)))
}

fn predictor(call: &mut Call<'_>) -> Result<Step, Trouble> {
    let predictor = chosen_predictor(call)?;
    Ok(Step::Change(Change::SetPredictor { server: None, predictor }, None))
}

/// The predictor of this line; `None` behind `no`.
pub(super) fn chosen_predictor(call: &Call<'_>) -> Result<Option<Predictor>, Trouble> {
    if call.form() == Form::No {
        return Ok(None);
    }
    let wanted = call.found.line.rsplit("predictor ").next().unwrap_or_default();
    let known = Predictor::ALL.into_iter().find(|predictor| predictor.keyword() == wanted);
    known.map(Some).ok_or(Trouble::Incomplete)
}

/// The line is kept without its value, which is ignored with a warning (vendor's manual, three lines).
fn syn_proxy(call: &mut Call<'_>) -> Result<Step, Trouble> {
    let ignored = call.found.arguments.number(0).copied().filter(|_| call.form() == Form::Plain);
    let change = call.kept(Some("ip tcp syn-proxy".into()))?;
    Ok(match ignored {
        None => Step::Change(change, None),
        Some(value) => {
            let text = call.device.templates.lines(Text::SynProxyWarning, &[&value]);
            Step::ChangeAndSay(change, text)
        }
    })
}
