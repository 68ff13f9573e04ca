//! `trait Connect`: from a profile to a switch. A caller that holds unlike switches knows only this; who speaks
//! which protocol is the business of the implementor (`driver::Registry`).

use std::path::PathBuf;

use super::error::AcmError;
use super::recent::Recent;
use super::switch::{AcmSwitch, Answer};
use crate::base::id::Name;
use crate::base::secret::Secret;

/// How to reach one switch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SwitchProfile {
    /// What people call it.
    pub name: Name,
    /// Where it is, and who speaks to it: `unix:PATH`, `http://HOST:PORT`, `telnet://USER@HOST?driver=foundry`.
    pub url: String,
    /// The secrets it asks for, if it asks for any.
    pub credentials: Credentials,
    /// Where a transcript of the conversation is written, secrets masked, for drivers that keep one.
    pub record: Option<PathBuf>,
    /// Where the driver leaves the last lines of the conversation, for drivers that have one.
    pub recent: Option<Recent>,
}

impl SwitchProfile {
    /// A profile of a switch that asks for nothing.
    pub fn new(name: Name, url: impl Into<String>) -> SwitchProfile {
        SwitchProfile { name, url: url.into(), credentials: Credentials::default(), record: None, recent: None }
    }
}

/// The secrets a switch asks for. A driver uses those it knows what to do with.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Credentials {
    /// A bearer token: switches of this kind.
    pub token: Option<Secret>,
    /// The password of the user in the address: command lines.
    pub password: Option<Secret>,
    /// The password that opens the privileged mode: command lines.
    pub enable_password: Option<Secret>,
}

/// Connects to switches.
pub trait Connect: Send + Sync {
    /// Reaches the switch and makes sure that it answers.
    ///
    /// # Errors
    /// `Invalid` (url), `Unreachable`, `Forbidden` when the secret is refused.
    fn connect<'a>(&'a self, profile: &'a SwitchProfile) -> Answer<'a, Result<Box<dyn AcmSwitch>, AcmError>>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_does_not_print_its_secrets() {
        let canary = || Some(Secret::from("canary-canary-canary"));
        let credentials = Credentials { token: canary(), password: canary(), enable_password: canary() };
        let profile = SwitchProfile { credentials, ..SwitchProfile::new("s1".parse().unwrap(), "telnet://10.0.0.2") };
        assert!(!format!("{profile:?}").contains("canary"));
    }
}
