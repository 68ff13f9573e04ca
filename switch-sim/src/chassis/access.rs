//! Who may come in and what he may do: users, passwords, privilege levels.

use std::fmt;

use crate::shell::LoginAsks;

/// What a session may do: the lower, the more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Level(pub u8);

impl Level {
    /// Everything.
    pub const SUPER_USER: Level = Level(0);
    /// Interfaces, and everything that only shows.
    pub const PORT_CONFIG: Level = Level(4);
    /// Only what shows.
    pub const READ_ONLY: Level = Level(5);
}

/// A password. It is never printed and never shown by `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// This password.
    pub fn new(plain: &str) -> Secret {
        Secret(plain.to_owned())
    }

    /// Whether `typed` is the password. Takes as long for a wrong one as for a right one of the same length.
    pub fn is(&self, typed: &str) -> bool {
        let differences = self.0.bytes().zip(typed.bytes()).fold(0, |all, (a, b)| all | (a ^ b));
        self.0.len() == typed.len() && differences == 0
    }

    /// The characters, for the start-up file alone.
    pub(crate) fn for_flash(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// A local user.
#[derive(Debug, Clone)]
pub struct User {
    /// His name.
    pub name: String,
    /// What he may do.
    pub level: Level,
    /// His password; without one any is right.
    pub secret: Option<Secret>,
}

/// Users and passwords.
#[derive(Debug, Clone)]
pub struct Access {
    /// What is asked before the first prompt.
    pub login: LoginAsks,
    /// The password of a login without a name.
    pub telnet_password: Option<Secret>,
    /// The passwords of `enable`, by the level they give.
    pub enable: Vec<(Level, Secret)>,
    /// Local users.
    pub users: Vec<User>,
    /// `enable` asks for a user.
    pub enable_asks_user: bool,
    /// A login ends at `#`.
    pub login_is_privileged: bool,
}

impl Default for Access {
    fn default() -> Self {
        Access {
            login: LoginAsks::Nothing,
            telnet_password: None,
            enable: Vec::new(),
            users: Vec::new(),
            enable_asks_user: false,
            login_is_privileged: false,
        }
    }
}

/// Users the device holds.
pub const USERS_MAX: usize = 32;

impl Access {
    /// The user of this name, if that is his password.
    pub fn user(&self, name: &str, password: &str) -> Option<&User> {
        let user = self.users.iter().find(|user| user.name == name);
        user.filter(|user| user.secret.as_ref().is_none_or(|secret| secret.is(password)))
    }

    /// Whether a login is right; the user, if it names one.
    pub fn log_in(&self, name: &str, password: &str) -> Option<Option<&User>> {
        match self.login {
            LoginAsks::Nothing => Some(None),
            LoginAsks::Password => {
                self.telnet_password.as_ref().is_none_or(|secret| secret.is(password)).then_some(None)
            }
            LoginAsks::NameAndPassword => self.user(name, password).map(Some),
        }
    }

    /// The level that this password of `enable` gives.
    pub fn enable(&self, password: &str) -> Option<Level> {
        self.enable.iter().find(|(_, secret)| secret.is(password)).map(|(level, _)| *level)
    }

    /// Sets or removes the `enable` password of a level.
    pub fn set_enable(&mut self, level: Level, secret: Option<Secret>) {
        self.enable.retain(|(known, _)| *known != level);
        self.enable.extend(secret.map(|secret| (level, secret)));
        self.enable.sort_by_key(|(level, _)| *level);
    }
}
