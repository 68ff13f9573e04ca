//! A text that must not be seen: a password, a token.

use std::fmt;
use std::sync::Arc;

/// A secret. It prints as `(secret)`, so that no log, error or debug output can show it; whoever sends it to where it
/// belongs asks for it by name.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Arc<str>);

impl Secret {
    /// The text itself.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Secret {
        Secret(text.into())
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Secret {
        Secret(text.into())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_does_not_print() {
        let secret = Secret::from("canary-canary-canary");
        assert_eq!(format!("{:?} {:?}", secret, Some(secret.clone())), "(secret) Some((secret))");
        assert_eq!(secret.expose(), "canary-canary-canary");
    }
}
