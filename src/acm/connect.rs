//! `trait Connect`: from a profile to a switch. A caller that holds unlike switches knows only this; who speaks
//! which protocol is the business of the implementor (`driver::Registry`).

use super::error::AcmError;
use super::switch::{AcmSwitch, Answer};
use crate::base::id::Name;

/// How to reach one switch.
#[derive(Clone, PartialEq, Eq)]
pub struct SwitchProfile {
    /// What people call it.
    pub name: Name,
    /// Where it is: `unix:PATH` or `http://HOST:PORT` for a switch of this kind.
    pub url: String,
    /// The secret it asks for, if it asks for one. Never printed.
    pub token: Option<String>,
}

impl std::fmt::Debug for SwitchProfile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let token = self.token.as_ref().map(|_| "(secret)");
        f.debug_struct("SwitchProfile")
            .field("name", &self.name)
            .field("url", &self.url)
            .field("token", &token)
            .finish()
    }
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
    fn a_profile_does_not_print_its_token() {
        let profile = SwitchProfile {
            name: "s1".parse().unwrap(),
            url: "http://10.0.0.2:8800".into(),
            token: Some("canary-canary-canary".into()),
        };
        assert!(!format!("{profile:?}").contains("canary"));
    }
}
