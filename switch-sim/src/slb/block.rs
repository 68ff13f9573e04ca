//! Blocks of the configuration that are neither real nor virtual servers: a first line, a mode of its own, and lines below it.

use super::lines::Lines;

/// The kinds of block, in the order in which they are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BlockKind {
    /// `server port N`: the profile of a port.
    PortProfile,
    /// `healthck NAME tcp|udp|icmp|boolean`.
    HealthCheck,
    /// `http match-list NAME`.
    MatchList,
    /// `server port-policy NAME`.
    PortPolicy,
    /// `url-map NAME`: the older content switching.
    UrlMap,
    /// `csw-policy NAME`: the newer content switching.
    CswPolicy,
    /// `http-trl-policy NAME`.
    HttpTrlPolicy,
    /// `client-connection-limit NAME`.
    ClientConnectionLimit,
    /// `server cache-group N`.
    CacheGroup,
    /// `interface ethernet N`.
    Interface,
    /// `role template NAME`.
    RoleTemplate,
}

impl BlockKind {
    /// Every kind.
    pub const ALL: [BlockKind; 11] = [
        BlockKind::PortProfile,
        BlockKind::HealthCheck,
        BlockKind::MatchList,
        BlockKind::PortPolicy,
        BlockKind::UrlMap,
        BlockKind::CswPolicy,
        BlockKind::HttpTrlPolicy,
        BlockKind::ClientConnectionLimit,
        BlockKind::CacheGroup,
        BlockKind::Interface,
        BlockKind::RoleTemplate,
    ];

    /// What the prompt shows before the name: `config-csw-` of `(config-csw-p1)`.
    pub fn prompt(self) -> &'static str {
        match self {
            BlockKind::PortProfile => "config-port-",
            BlockKind::HealthCheck => "config-hc-",
            BlockKind::MatchList => "config-http-ml-",
            BlockKind::PortPolicy => "config-port-policy-",
            BlockKind::UrlMap => "config-url-map-",
            BlockKind::CswPolicy => "config-csw-",
            BlockKind::HttpTrlPolicy => "config-http-trl-",
            BlockKind::ClientConnectionLimit => "config-client-max-conn",
            BlockKind::CacheGroup => "config-tc-",
            BlockKind::Interface => "config-if-",
            BlockKind::RoleTemplate => "config-role-template-",
        }
    }

    /// Whether the prompt shows the name.
    pub fn prompt_names_it(self) -> bool {
        self != BlockKind::ClientConnectionLimit
    }

    /// What an error calls it.
    pub fn noun(self) -> &'static str {
        match self {
            BlockKind::PortProfile => "port profile",
            BlockKind::HealthCheck => "health check",
            BlockKind::MatchList => "match list",
            BlockKind::PortPolicy => "port policy",
            BlockKind::UrlMap => "URL map",
            BlockKind::CswPolicy => "CSW policy",
            BlockKind::HttpTrlPolicy => "HTTP TRL policy",
            BlockKind::ClientConnectionLimit => "client connection limit",
            BlockKind::CacheGroup => "cache group",
            BlockKind::Interface => "interface",
            BlockKind::RoleTemplate => "role template",
        }
    }
}

/// One block.
#[derive(Debug, Clone)]
pub struct Block {
    /// The first line as it is printed.
    pub header: String,
    /// The lines below it.
    pub lines: Lines,
}
