//! Errors as data: every implementor answers in these words, every interface renders them.

use serde::{Deserialize, Serialize};

/// Things a switch may be unable to do; it then says so instead of pretending.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Feature {
    /// Drop a fraction of new connections at the SYN.
    Drop,
    /// Cut a binding's connections.
    ForceRemove,
    /// Leases kept by the switch.
    Leases,
    /// Storing a manager's epoch.
    Fencing,
    /// Looking into requests.
    ContentRules,
    /// The event stream.
    Events,
    /// UDP services.
    Udp,
    /// IPv6 services.
    Ipv6,
    /// Statistics beyond List.
    Statistics,
    /// Packet capture.
    Capture,
    /// Setting or removing services apart from their bindings.
    Services,
    /// A scheduler, weight or other option the switch has no equivalent for.
    Option,
}

impl Feature {
    /// Every feature, for reports and for switches that are to be explored.
    pub const ALL: [Feature; 12] = [
        Feature::Drop,
        Feature::ForceRemove,
        Feature::Leases,
        Feature::Fencing,
        Feature::ContentRules,
        Feature::Events,
        Feature::Udp,
        Feature::Ipv6,
        Feature::Statistics,
        Feature::Capture,
        Feature::Services,
        Feature::Option,
    ];
}

impl std::fmt::Display for Feature {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Feature::Drop => "drop",
            Feature::ForceRemove => "force remove",
            Feature::Leases => "leases",
            Feature::Fencing => "fencing",
            Feature::ContentRules => "content rules",
            Feature::Events => "events",
            Feature::Udp => "UDP services",
            Feature::Ipv6 => "IPv6 services",
            Feature::Statistics => "statistics",
            Feature::Capture => "packet capture",
            Feature::Services => "service settings",
            Feature::Option => "this option",
        })
    }
}

/// Why a primitive was refused or failed. Nothing was changed unless the variant says otherwise.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(tag = "error", rename_all = "kebab-case")]
pub enum AcmError {
    /// No such service or binding.
    #[error("{what} does not exist")]
    NotFound {
        /// What was looked for.
        what: String,
    },
    /// The binding exists and is somebody else's.
    #[error("{what} exists and belongs to {owner}")]
    Exists {
        /// What exists.
        what: String,
        /// Whose it is.
        owner: String,
    },
    /// A bound of the switch is reached.
    #[error("{what} is full: at most {max}")]
    Full {
        /// Which table.
        what: String,
        /// Its bound.
        max: u64,
    },
    /// The switch cannot do this.
    #[error("this switch cannot do {feature}: {why}")]
    Unsupported {
        /// What it cannot do.
        feature: Feature,
        /// Why, or since when it could.
        why: String,
    },
    /// The caller's tenure is older than one the switch has granted.
    #[error("epoch {given} is stale: {current} is in force")]
    StaleEpoch {
        /// The caller's epoch.
        given: u64,
        /// The epoch in force.
        current: u64,
    },
    /// The caller may not do this.
    #[error("forbidden: {why}")]
    Forbidden {
        /// Why.
        why: String,
    },
    /// A field of the call is not acceptable.
    #[error("{field}: {why}")]
    Invalid {
        /// The field, as the caller wrote it (`fraction`, `real`).
        field: String,
        /// What is wrong with it and what would be right.
        why: String,
    },
    /// The switch cannot be reached or gave no sensible answer; the call may or may not have taken effect.
    #[error("the switch is unreachable: {why}")]
    Unreachable {
        /// The system's or the peer's own words.
        why: String,
    },
    /// Not finished in the time allowed. What was accepted stays in force.
    #[error("timed out: {waited_for}")]
    Timeout {
        /// What did not happen in time.
        waited_for: String,
    },
}

impl AcmError {
    /// Shorthand for [`AcmError::Invalid`].
    pub fn invalid(field: &str, why: impl Into<String>) -> AcmError {
        AcmError::Invalid { field: field.to_owned(), why: why.into() }
    }

    /// Shorthand for [`AcmError::NotFound`].
    pub fn not_found(what: impl ToString) -> AcmError {
        AcmError::NotFound { what: what.to_string() }
    }

    /// Shorthand for [`AcmError::Unsupported`].
    pub fn unsupported(feature: Feature, why: impl Into<String>) -> AcmError {
        AcmError::Unsupported { feature, why: why.into() }
    }
}
