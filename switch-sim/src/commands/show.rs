//! The `show` commands. Each brings the box's reports up to date and prints a screen.

use super::{ADX, Action, Call, NEWER, Step, Trouble, XL, run};
use crate::chassis::access::Level;
use crate::grammar::Row;
use crate::screens::{Text, caches, content, server_bind, server_real, server_tables, server_virtual, system};
use crate::slb::balancer::Ability;
use crate::slb::block::BlockKind;

const fn show(pattern: &'static str, help: &'static str, function: super::Function) -> Row<Action> {
    run(pattern, help, function).level(Level::READ_ONLY)
}

/// In every mode.
pub(super) static ROWS: &[Row<Action>] = &[
    show("show version", "Software, hardware, uptime", version),
    show("show chassis", "Power, fans, temperature", chassis),
    show("show flash", "Images in flash", flash),
    show("show module", "Modules", module).on(ADX),
    show("show media", "Transceivers", media).on(NEWER),
    show("show media validation", "Transceivers", media).on(NEWER),
    show("show clock", "Time", clock),
    show("show who", "Sessions", who),
    show("show telnet", "Sessions", who),
    show("show users", "Local users", users),
    show("show user role", "Roles of users", user_role).on(NEWER),
    show("show logging", "The log", logging),
    show("show arp", "Addresses of servers", arp),
    show("show ip", "Addresses of this device", ip),
    show("show interfaces", "Ports", interfaces),
    show("show interfaces brief", "Ports", interfaces),
    show("show span", "Spanning tree", span),
    show("show memory", "Memory", memory),
    show("show cpu-utilization", "Processors", cpu),
    show("show server real [<name>]", "Real servers", real),
    show("show server virtual [<name>]", "Virtual servers", virtual_server),
    show("show server virtual-name-or-ip [<name>]", "Virtual servers", virtual_server).on(NEWER),
    show("show server bind", "Bindings", bind),
    show("show server sessions", "Sessions and states", sessions),
    show("show server conn", "Connections", conn),
    show("show server global", "What holds for all servers", global),
    show("show server traffic", "Counters", traffic),
    show("show server backup", "The other device of a pair", backup),
    show("show server port-policy", "Policies of health checks", port_policy),
    show("show server proxy keep-alive", "Keep-alive connections", keep_alive).on(NEWER),
    show("show healthck", "Elements of health checks", healthck),
    show("show csw-policy [<rule>]", "Policies and how often they matched", csw_policy)
        .on(NEWER)
        .needs(Ability::ContentSwitching),
    show("show csw-rule [<rule>]", "Rules", csw_rule).on(NEWER).needs(Ability::ContentSwitching),
    show("show url-map", "Maps of URLs", url_map).on(super::CLASSIC).needs(Ability::ContentSwitching),
    show("show cache-group", "Groups of cache servers", cache_group).needs(Ability::CacheSwitching),
    show("show cache-hash <1-64> <ip> <ip>", "The cache of a destination and a source", cache_hash)
        .needs(Ability::CacheSwitching),
    show("show client-trl <name>", "Limits of clients", client_trl).on(NEWER).needs(Ability::SynDefence),
    show("show security holddown", "Clients that have to wait", holddown).on(NEWER).needs(Ability::SynDefence),
    show("show backup", "The other device of a pair", backup).on(XL),
];

/// At `#` and in every configuration mode.
pub(super) static PRIVILEGED: &[Row<Action>] = &[
    show("show running-config", "The configuration in force", running_config),
    show("show configuration", "The configuration that was saved", configuration),
];

/// On a barrel processor.
pub(super) static BARREL: &[Row<Action>] = &[
    show("show server proxy keep-alive", "Keep-alive connections", keep_alive),
    show("show session detail <0-2000000>", "A session", session_detail),
];

/// A function that prints this.
macro_rules! screens {
    ($($function:ident: $print:expr;)*) => {
        $(fn $function(_: &mut Call<'_>) -> Result<Step, Trouble> {
            Ok(Step::Show($print))
        })*
    };
}

pub(super) fn running_config(_: &mut Call<'_>) -> Result<Step, Trouble> {
    Ok(Step::Show(|call| call.device.running_config()))
}

screens! {
    configuration: |call| call.device.saved.clone();
    version: |call| system::version(call.device, call.now);
    chassis: |call| call.device.text(Text::Chassis);
    flash: |call| call.device.text(Text::Flash);
    module: |call| call.device.text(Text::Module);
    media: |call| call.device.text(Text::Media);
    clock: |call| system::clock(call.device, call.now);
    who: |call| system::who(call.device, call.session, call.now);
    users: |call| system::users(call.device);
    user_role: |call| system::users(call.device);
    logging: |call| system::log(call.device);
    arp: |call| system::arp(call.device);
    ip: |call| system::ip(call.device);
    interfaces: |call| call.device.text(Text::Interfaces);
    span: |call| call.device.text(Text::Span);
    memory: |call| call.device.text(Text::Memory);
    cpu: |call| call.device.text(Text::Cpu);
    real: |call| server_real::screen(call.device, call.wanted());
    virtual_server: |call| server_virtual::screen(call.device, call.wanted());
    bind: |call| server_bind::screen(call.device);
    sessions: |call| server_tables::sessions(call.device);
    conn: |call| server_tables::connections(call.device);
    global: |call| server_tables::global(call.device);
    traffic: |call| server_tables::traffic(call.device);
    backup: |call| call.device.text(Text::Backup);
    port_policy: |call| content::blocks(call.device, BlockKind::PortPolicy);
    healthck: |call| content::blocks(call.device, BlockKind::HealthCheck);
    url_map: |call| content::blocks(call.device, BlockKind::UrlMap);
    keep_alive: |call| call.device.text(Text::KeepAlive);
    csw_policy: |call| content::policies(call.device, call.wanted());
    csw_rule: |call| content::rules(call.device, call.wanted());
    cache_group: |call| caches::groups(call.device);
    cache_hash: cache_hash_screen;
    client_trl: |call| content::blocks(call.device, BlockKind::HttpTrlPolicy);
    holddown: |call| call.device.text(Text::Holddown);
    session_detail: session_detail_screen;
}

fn cache_hash_screen(call: &Call<'_>) -> Vec<String> {
    let arguments = &call.found.arguments;
    let group = arguments.number(0).copied().unwrap_or_default();
    match (arguments.ip(0), arguments.ip(1)) {
        (Some(destination), Some(source)) => caches::hash(call.device, group, *destination, *source),
        _ => Vec::new(),
    }
}

fn session_detail_screen(call: &Call<'_>) -> Vec<String> {
    let index = call.found.arguments.number(0).copied().unwrap_or_default();
    call.device.templates.lines(Text::SessionDetail, &[&index])
}
