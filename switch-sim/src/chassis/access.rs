//! Who may come in and what he may do: users, passwords, privilege levels.

use std::fmt;
use std::num::NonZeroU32;

use ring::pbkdf2::{self, PBKDF2_HMAC_SHA256};

use crate::shell::LoginAsks;

/// What a session may do: the lower, the more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Level(pub u8);

impl Level {
    /// Everything.
    pub const SUPER_USER: Level = Level(0);
    /// Interfaces, saving, and everything that only shows.
    pub const PORT_CONFIG: Level = Level(4);
    /// Only what shows.
    pub const READ_ONLY: Level = Level(5);
}

/// Rounds of the hash. A guess costs a millisecond, and so does a login.
const ROUNDS: NonZeroU32 = NonZeroU32::new(4_096).unwrap();

/// A password, salted and hashed. What was typed is not kept anywhere.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret {
    salt: [u8; 8],
    hash: [u8; 32],
}

impl Secret {
    /// This password.
    pub fn new(plain: &str, chance: &mut fastrand::Rng) -> Secret {
        let salt = chance.u64(..).to_be_bytes();
        let mut hash = [0; 32];
        pbkdf2::derive(PBKDF2_HMAC_SHA256, ROUNDS, &salt, plain.as_bytes(), &mut hash);
        Secret { salt, hash }
    }

    /// Whether `typed` is the password; takes the same time whatever it is.
    pub fn is(&self, typed: &str) -> bool {
        pbkdf2::verify(PBKDF2_HMAC_SHA256, ROUNDS, &self.salt, typed.as_bytes(), &self.hash).is_ok()
    }

    /// The secret that was saved as this word.
    pub fn saved(word: &str) -> Option<Secret> {
        let (salt, hash) = word.split_once('$')?;
        Some(Secret { salt: bytes(salt)?, hash: bytes(hash)? })
    }

    /// The word that stands for it in the start-up file.
    pub(crate) fn to_saved(&self) -> String {
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        format!("{}${}", hex(&self.salt), hex(&self.hash))
    }
}

fn bytes<const N: usize>(hex: &str) -> Option<[u8; N]> {
    let digits = hex.len() == 2 * N && hex.bytes().all(|byte| byte.is_ascii_hexdigit());
    let mut bytes = [0; N];
    for (n, byte) in bytes.iter_mut().enumerate().take_while(|_| digits) {
        *byte = u8::from_str_radix(&hex[2 * n..2 * n + 2], 16).ok()?;
    }
    digits.then_some(bytes)
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

/// Whether lines of the configuration show passwords.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Masked {
    /// On a screen: [`Masked::STARS`] in their place.
    Yes,
    /// In the start-up file: hashed.
    No,
}

impl Masked {
    /// What screens print in the place of a password.
    pub(crate) const STARS: &'static str = ".....";

    fn word(self, secret: &Secret) -> String {
        match self {
            Masked::Yes => Masked::STARS.into(),
            Masked::No => format!("8 {}", secret.to_saved()),
        }
    }
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
    /// A login ends at `#`, as with TACACS+.
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

    /// The lines of the configuration.
    pub(crate) fn lines(&self, masked: Masked) -> Vec<String> {
        let mut lines = Vec::new();
        for (level, secret) in &self.enable {
            let which = match level.0 {
                0 => "super-user-password",
                1..=4 => "port-config-password",
                _ => "read-only-password",
            };
            lines.push(format!("enable {which} {}", masked.word(secret)));
        }
        lines.extend(
            self.telnet_password.iter().map(|secret| format!("enable telnet password {}", masked.word(secret))),
        );
        for User { name, level, secret } in &self.users {
            let privilege = if level.0 == 0 { String::new() } else { format!("privilege {} ", level.0) };
            let password =
                secret.as_ref().map_or("nopassword".into(), |secret| format!("password {}", masked.word(secret)));
            lines.push(format!("username {name} {privilege}{password}"));
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_known_again_and_never_shown() {
        let mut chance = fastrand::Rng::with_seed(1);
        let secret = Secret::new("open sesame", &mut chance);
        assert!(secret.is("open sesame") && !secret.is("open sesam") && !secret.is(""));
        let again = Secret::saved(&secret.to_saved()).expect("a saved secret");
        assert!(again.is("open sesame"));
        assert_ne!(secret, Secret::new("open sesame", &mut chance), "another salt");
        assert_eq!(format!("{secret:?}"), "Secret(..)");
        assert_eq!(Secret::saved("00$11"), None);
        assert_eq!(Secret::saved(&"é".repeat(40)), None);
    }
}
