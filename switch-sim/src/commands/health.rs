//! Health checks other than the default ones: port profiles, port policies, match lists, element checks.

use super::{Action, Call, NEWER, Step, Trouble, block, run, set};
use crate::chassis::mode::Mode;
use crate::grammar::Row;
use crate::slb::balancer::Ability;
use crate::slb::block::BlockKind;
use crate::slb::change::Change;
use crate::slb::words::Name;

/// In the configuration mode.
pub(super) static CONFIG: &[Row<Action>] = &[
    run("server port <port>", "Profile of a port", profile),
    run("no server port <port>", "Profile of a port", no_profile),
    block("server port-policy <name*>", "Policy of health checks", BlockKind::PortPolicy).needs(Ability::HealthChecks),
    block("http match-list <name*>", "What a page must say", BlockKind::MatchList).needs(Ability::HealthChecks),
    block("healthck <name*> {tcp|udp|icmp|boolean}", "Element of health checks", BlockKind::HealthCheck)
        .needs(Ability::HealthChecks),
];

/// In `(config-port-N)`.
pub(super) static PORT_PROFILE: &[Row<Action>] = &[
    set("tcp [<2-60>] [<2-20>]", "TCP; minutes until an idle session ends, and a multiplier"),
    set("udp [<2-60>] [<2-20>]", "UDP; minutes until an idle session ends, and a multiplier"),
    set("tcp keepalive <1-120> <1-5>", "Seconds between checks, and retries"),
    set("udp keepalive <1-120> <1-5>", "Seconds between checks, and retries"),
    set("tcp keepalive enable", "Check all the time"),
    set("tcp keepalive disable", "Check at the bind only"),
    set("tcp keepalive use-master-state", "Take the state of the master port"),
    set("tcp keepalive protocol {http|ssl|ftp|smtp|pop3|imap4|ldap|telnet|dns|radius}", "Check at layer 7"),
    set("udp keepalive protocol {dns|radius}", "Check at layer 7"),
    set("udp keepalive enable", "Check all the time"),
    set("udp l4-check-only", "No check at layer 7"),
    set("tcp l4-check-only", "No check at layer 7"),
    set("udp-normal-age", "Keep sessions after the reply"),
    set("no-fast-bringup", "Pass layer 7 before a port is active"),
    set("smooth-factor <1-100>", "How fast response times are forgotten"),
    set("session-sync", "Tell the other device of a pair").on(NEWER),
];

/// In `(config-port-policy-NAME)`.
pub(super) static PORT_POLICY: &[Row<Action>] = &[
    set("port <port>", "The port that is checked"),
    set("protocol {ssl|ftp|smtp|pop3|imap4|ldap|telnet|dns|radius}", "Check at layer 7"),
    set("protocol http", "Check at layer 7"),
    set("protocol http url <text>", "The request"),
    set("protocol http status-code (<100-599> <100-599>)+", "Ranges of good answers"),
    set("protocol http content-match <name>", "What the page must say"),
    set("keepalive-interval <1-120>", "Seconds between checks"),
    set("keepalive-retries <1-5>", "Retries"),
    set("l4-check", "Check at layer 4"),
];

/// In `(config-http-ml-NAME)`.
pub(super) static MATCH_LIST: &[Row<Action>] = &[
    set("default {up|down}", "If nothing matches"),
    set("up simple <text*> [log]", "Up if the page says this"),
    set("down simple <text*> [log]", "Down if the page says this"),
    set("up compound <text*> <text*> [log]", "Up if the page says this and later that"),
    set("down compound <text*> <text*> [log]", "Down if the page says this and later that"),
];

/// In `(config-hc-NAME)`.
pub(super) static HEALTH_CHECK: &[Row<Action>] = &[
    set("dest-ip <ip>", "The address that is checked"),
    set("port <port>", "The port that is checked"),
    set("protocol {ssl|ftp|smtp|pop3|imap4|ldap|telnet|dns|radius}", "Check at layer 7"),
    set("protocol http", "Check at layer 7"),
    set("protocol http url <text>", "The request"),
    set("protocol http status-code (<100-599> <100-599>)+", "Ranges of good answers"),
    set("interval <2-120>", "Seconds between checks"),
    set("retries <1-5>", "Retries"),
    set("l4-check", "Check at layer 4"),
    set("l7-check", "Check at layer 7"),
    set("and <name> <name>", "Both elements"),
    set("or <name> <name>", "One of the elements"),
    set("not <name>", "Not the element"),
];

/// The prompt shows the port as it was typed; the configuration knows it by its number.
fn profile(call: &mut Call<'_>) -> Result<Step, Trouble> {
    let (kind, name) = (BlockKind::PortProfile, number(call)?);
    let shown = call.found.typed.last().cloned().unwrap_or_default();
    let mode = Mode::Block { kind, name: name.clone(), shown };
    let header = call.found.line.clone();
    Ok(Step::Change(Change::AddBlock { kind, name, header }, Some(mode)))
}

fn no_profile(call: &mut Call<'_>) -> Result<Step, Trouble> {
    let change = Change::RemoveBlock { kind: BlockKind::PortProfile, name: number(call)? };
    Ok(Step::Change(change, Some(Mode::Config)))
}

fn number(call: &Call<'_>) -> Result<Name, Trouble> {
    Name::new(&call.port(0)?.number().to_string()).map_err(|_| Trouble::Incomplete)
}
