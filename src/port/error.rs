//! Why a port could not be opened, or broke, in words that say what to do about it.

use std::io;

/// What went wrong with a port.
#[derive(Debug, thiserror::Error)]
pub enum PortError {
    /// There is no interface of that name here.
    #[error("there is no interface `{name}` here; there are: {}", list(.there))]
    NoSuchInterface {
        /// The name asked for.
        name: String,
        /// The names there are.
        there: Vec<String>,
    },
    /// The system does not let us.
    #[error(
        "opening {name} needs the capability CAP_NET_RAW: run as root, or give it to the program \
         (`setcap cap_net_raw,cap_net_admin+ep PROGRAM`)"
    )]
    NotPermitted {
        /// The interface.
        name: String,
    },
    /// The interface is down, and stays so until somebody brings it up.
    #[error("{name} is down: bring it up (`ip link set {name} up`)")]
    Down {
        /// The interface.
        name: String,
    },
    /// The interface went away while the port was open.
    #[error("{name} is gone; the port works again when an interface of that name appears and is up")]
    Gone {
        /// The interface.
        name: String,
    },
    /// The interface does not carry Ethernet frames.
    #[error("{name} is not an Ethernet interface, so it cannot be a port of a switch")]
    NotEthernet {
        /// The interface.
        name: String,
    },
    /// Anything else the system refused.
    #[error("{name}: could not {doing}: {source}")]
    System {
        /// The interface.
        name: String,
        /// What was attempted.
        doing: &'static str,
        /// The system's words.
        source: io::Error,
    },
}

fn list(names: &[String]) -> String {
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

impl From<PortError> for io::Error {
    fn from(error: PortError) -> io::Error {
        let kind = match &error {
            PortError::NoSuchInterface { .. } | PortError::Gone { .. } => io::ErrorKind::NotFound,
            PortError::NotPermitted { .. } => io::ErrorKind::PermissionDenied,
            PortError::Down { .. } => io::ErrorKind::NetworkDown,
            PortError::NotEthernet { .. } => io::ErrorKind::Unsupported,
            PortError::System { source, .. } => source.kind(),
        };
        io::Error::new(kind, error)
    }
}

/// The error of an interface that does not exist, with the names that do.
pub(super) fn no_such_interface(name: &str) -> PortError {
    let mut there: Vec<String> = ::pnet::datalink::interfaces().into_iter().map(|interface| interface.name).collect();
    there.sort();
    there.dedup();
    PortError::NoSuchInterface { name: name.to_owned(), there }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_interface_is_answered_with_those_there_are() {
        let text = no_such_interface("acm-none0").to_string();
        assert!(text.contains("`acm-none0`"), "{text}");
        // Where a machine has any interface at all it is named; a bare namespace has at least `lo`.
        assert!(text.contains("lo") || text.ends_with("none"), "{text}");
    }
}
