//! Blocks that are neither servers nor health checks nor content switching: caches, interfaces, limits, roles.

use super::{Action, NEWER, XL, block, set};
use crate::chassis::access::Level;
use crate::grammar::Row;
use crate::slb::balancer::Ability;
use crate::slb::block::BlockKind;

/// In the configuration mode.
pub(super) static CONFIG: &[Row<Action>] = &[
    block("interface ethernet <word*>", "Ethernet port", BlockKind::Interface).level(Level::PORT_CONFIG),
    block("http-trl-policy <name*>", "Limits of HTTP requests", BlockKind::HttpTrlPolicy)
        .on(NEWER)
        .needs(Ability::SynDefence),
    block("client-connection-limit <name*>", "Limits of a client's connections", BlockKind::ClientConnectionLimit)
        .on(NEWER)
        .needs(Ability::SynDefence),
    block("role template <name*>", "What users of a role may do", BlockKind::RoleTemplate).on(NEWER),
];

/// In `(config-tc-N)`.
pub(super) static CACHE_GROUP: &[Row<Action>] = &[
    set("cache-name <name*>", "Cache server of this group"),
    set("hash-mask <ip> <ip>", "Parts of destination and source that choose the cache"),
    set("reselect-server-if-overloaded", "Another cache if this one is full"),
    set("csw-hash url", "Choose the cache by the URL").on(XL),
    set("spoof-support", "Caches use the client's address"),
    set("disable", "Do not use this group"),
];

/// In `(config-if-N)`.
pub(super) static INTERFACE: &[Row<Action>] = &[
    set("port-name <word>", "Name of the port").level(Level::PORT_CONFIG),
    set("disable", "Switch the port off").level(Level::PORT_CONFIG),
    set("speed-duplex {10-full|10-half|100-full|100-half|1000-full|auto}", "Speed").level(Level::PORT_CONFIG),
    set("ip-policy <1-64*>", "Policy of this port").needs(Ability::CacheSwitching),
    set("ip tcp syn-proxy", "Answer SYNs with cookies").needs(Ability::SynDefence),
    set("ip tcp burst-normal <1-100000> burst-max <1-100000> lockup <1-10000>", "Limits of TCP SYNs")
        .needs(Ability::SynDefence),
];

/// In `(config-http-trl-NAME)`.
pub(super) static HTTP_TRL: &[Row<Action>] = &[
    set("client-ip <ip*> <ip> monitor-interval <1-100> <1-100000> <1-100000> <0-10000>", "Limits of clients"),
    set("client-ip <ip*> <ip> max-conn <1-1000000>", "Connections of clients"),
    set("client-ip <ip*> <ip> exclude", "Clients without limits"),
    set("default monitor-interval <1-100> <1-100000> <1-100000> <0-10000>", "Limits of all others"),
    set("default max-conn <1-1000000>", "Connections of all others"),
    set("exceed-action {reset|drop}", "What happens to requests beyond"),
];

/// In `(config-client-max-conn)`.
pub(super) static CONNECTION_LIMIT: &[Row<Action>] = &[
    set("max-conn <1-1000000>", "Connections of a client"),
    set("bind <ip*> <ip> <1-1000000>", "Connections of clients of a network"),
    set("exclude <ip*> <ip>", "Clients without limits"),
];

/// In `(config-role-template-NAME)`.
pub(super) static ROLE_TEMPLATE: &[Row<Action>] = &[
    set("context <word*> {manager|operator|viewer}", "Role in a context"),
    set("global {manager|operator|viewer|default}", "Role everywhere else"),
];
