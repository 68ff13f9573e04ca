//! Bounds, each with what happens at the bound.

/// Virtual services a switch holds. At the bound: `AcmError::Full`.
pub const SERVICES_MAX: usize = 65_536;

/// Bindings of one virtual service. At the bound: `AcmError::Full`. 24,000 instances of one service is the
/// largest installation the study behind COMICS speaks of.
pub const BINDINGS_PER_SERVICE_MAX: usize = 32_768;

/// Bindings a switch holds. At the bound: `AcmError::Full`.
pub const BINDINGS_MAX: usize = 262_144;

/// Groups of one service. At the bound: `AcmError::Full`.
pub const GROUPS_PER_SERVICE_MAX: usize = 256;

/// Drop policies of one service, the service's own and those of client prefixes. At the bound: `AcmError::Full`.
pub const DROPS_PER_SERVICE_MAX: usize = 256;

/// Content rules of one service. At the bound: `AcmError::Full`.
pub const RULES_PER_SERVICE_MAX: usize = 1024;

/// Conditions of one content rule. At the bound: `AcmError::Invalid`.
pub const CONDITIONS_PER_RULE_MAX: usize = 16;

/// Bytes of a text a content rule compares with. At the bound: `AcmError::Invalid`.
pub const RULE_TEXT_MAX: usize = 1024;

/// The largest weight of a binding; 0 means no new connections while others can take them.
pub const WEIGHT_MAX: u16 = 1000;

/// Primitives in one list. At the bound the list is refused whole: `AcmError::Invalid`.
pub const BATCH_MAX: usize = 65_536;

/// Events a switch remembers for subscribers that come back. A subscriber that was away longer is told so by
/// an `EventKind::Lost` and lists again.
pub const EVENTS_KEPT: usize = 16_384;

/// Ports of one switch. At the bound: start is refused.
pub const PORTS_MAX: usize = 64;
